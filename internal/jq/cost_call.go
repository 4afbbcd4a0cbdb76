package jq

import (
	"math"
	"strings"

	"github.com/itchyny/gojq"
)

// What calls of functions cost, by name and number of arguments.
var (
	// small have a number, a boolean or a short text as output, and look at their
	// input and arguments once.
	small = names("length/0 utf8bytelength/0 type/0 not/0 startswith/1 endswith/1 has/1 " +
		"isnan/0 isinfinite/0 isfinite/0 isnormal/0 infinite/0 nan/0 now/0 toboolean/0 " +
		"floor/0 ceil/0 round/0 trunc/0 fabs/0 sqrt/0 log/0 log2/0 log10/0 exp/0 exp2/0 exp10/0 pow/2 " +
		"fromdate/0 fromdateiso8601/0 todate/0 todateiso8601/0 mktime/0")
	// parts have their input, or parts of it, or nothing as output, in one pass.
	parts = names("first/0 last/0 min/0 max/0 arrays/0 objects/0 iterables/0 booleans/0 numbers/0 " +
		"finites/0 normals/0 strings/0 nulls/0 values/0 scalars/0 abs/0 reverse/0 " +
		"ltrim/0 rtrim/0 trim/0 trimstr/1 " + trimPrefix + "/1 " + trimSuffix + "/1 " +
		"ascii_downcase/0 ascii_upcase/0 add/0 flatten/0 flatten/1 keys/0")
	// texts write their input as text.
	texts = names("tostring/0 tojson/0")
	// pieces take a text apart, into characters at worst.
	pieces = names("split/1 explode/0 implode/0")
	// sorts compare their elements.
	sorts = names("sort/0 unique/0")
	// sortsBy compare what f gives for each element.
	sortsBy = names("sort_by/1 unique_by/1 group_by/1 min_by/1 max_by/1")
	// searches compare each part of one value with each of another.
	searches = names("contains/1 inside/1 index/1 rindex/1 indices/1 getpath/1")
)

type call struct {
	name  string
	arity int
}

func names(list string) map[call]bool {
	set := map[call]bool{}
	for f := range strings.FieldsSeq(list) {
		i := strings.LastIndexByte(f, '/')
		set[call{f[:i], int(f[i+1] - '0')}] = true
	}
	return set
}

func (a *analysis) variable(name string, in bound) bound {
	size, ok := a.vars[name]
	if !ok {
		size = inf
	}
	return a.did(0, fixed(in, size))
}

func (a *analysis) call(f *gojq.Func, in bound) bound {
	if strings.HasPrefix(f.Name, "$") {
		return a.variable(f.Name, in)
	}
	id := call{f.Name, len(f.Args)}
	switch {
	case small[id]:
		p := a.arguments(f, in)
		return a.did(2*p.total, bound{n: p.n, max: 2 * keySize, total: p.n * 2 * keySize, each: p.each})
	case parts[id]:
		p := a.arguments(f, in)
		return a.did(4*p.total, p)
	case texts[id]:
		p := a.arguments(f, in)
		return a.did(written*p.total, p.grown(written, arraySize))
	case pieces[id]:
		p := a.arguments(f, in)
		return a.did(60*p.total, p.grown(60, mapSize))
	case sorts[id]:
		return a.sorted(in, in)
	case sortsBy[id]:
		return a.sorted(in, a.array(&gojq.Array{Query: f.Args[0]}, a.iterate(in)))
	case searches[id]:
		what := a.query(f.Args[0], in)
		p := product(in, in.once(), what)
		return a.did(20*in.total*max(1, what.each)*max(1, what.max)+60*p.total, p.grown(20, arraySize))
	}
	return a.control(f, id, in)
}

// arguments is the input together with the arguments, in all combinations.
func (a *analysis) arguments(f *gojq.Func, in bound) bound {
	ps := []func() bound{func() bound { return bound{n: in.n, max: in.max, total: in.total, each: 1} }}
	for _, q := range f.Args {
		ps = append(ps, a.evaluated(q, in))
	}
	return product(in, a.operands(ps...)...)
}

func (a *analysis) sorted(in, keys bound) bound {
	log := math.Log2(keys.max + 2)
	out := in.once().grown(3, arraySize) // group_by makes an array of each element
	return a.did(keys.total*log*log+10*in.total, out)
}

// control is for the functions that decide whether, or how often, their arguments
// are evaluated.
func (a *analysis) control(f *gojq.Func, id call, in bound) bound {
	switch id {
	case call{"tonumber", 0}, call{"fromjson", 0}: // a number of many digits takes the square of them
		return a.did(60*in.total+in.total*in.max/nodeSize, in.once().grown(60, mapSize))
	case call{"nth", 1}:
		if _, ok := literalNumber(f.Args[0]); ok {
			return a.did(2*in.total, in.once())
		}
	case call{"empty", 0}:
		return none
	case call{"error", 0}:
		return none
	case call{"error", 1}:
		a.query(f.Args[0], in)
		return none
	case call{"select", 1}:
		return a.did(step*in.n, in.once().times(max(1, a.query(f.Args[0], in).each)))
	case call{"map", 1}:
		return a.array(&gojq.Array{Query: &gojq.Query{
			Op: gojq.OpPipe, Left: elements, Right: f.Args[0],
		}}, in)
	case call{"map_values", 1}:
		return a.update(&gojq.Query{Op: gojq.OpModify, Left: elements, Right: f.Args[0]}, in)
	case call{"to_entries", 0}:
		return a.entries(in)
	case call{"from_entries", 0}:
		return a.did(20*in.total, in.once().grown(4, mapSize))
	case call{"with_entries", 1}:
		each := a.over(f.Args[0], a.iterate(a.entries(in)))
		return a.did(20*each.total+10*step*each.n, bound{n: in.n, max: 4*each.total + mapSize, total: 4*each.total + in.n*mapSize, each: 1})
	case call{"join", 1}:
		between := a.query(f.Args[0], in)
		out := in.once().grown(written, arraySize)
		out.max += in.max / nodeSize * between.max
		out.total += in.total / nodeSize * between.max
		return a.did(4*out.total, out.times(max(1, between.each)))
	case call{"first", 1}, call{"last", 1}, call{"limit", 2}, call{"isempty", 1}:
		b := a.query(f.Args[len(f.Args)-1], in)
		if len(f.Args) == 2 {
			b = b.times(max(1, a.query(f.Args[0], in).each))
		}
		return a.did(4*step*b.n, either(b, fixed(in, nodeSize)))
	case call{"any", 0}, call{"all", 0}, call{"any", 1}, call{"all", 1}, call{"any", 2}, call{"all", 2}:
		return a.quantified(f, in)
	case call{"del", 1}:
		if isPath(f.Args[0], true) {
			paths := a.query(f.Args[0], in)
			return a.did(4*in.total+paths.n*(10*step+in.max/2), in.once())
		}
	case call{"IN", 1}:
		b := a.query(f.Args[0], in)
		return a.did(comparison(b.total+in.total*max(1, b.each)), fixed(in, nodeSize))
	}
	return a.matching(f, id, in)
}

// elements is the query .[]
var elements = &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity, SuffixList: []*gojq.Suffix{{Iter: true}}}}

// once is b as the input of something.
func (b bound) once() bound { return bound{n: b.n, max: b.max, total: b.total, each: 1} }

// entries is to_entries.
func (a *analysis) entries(in bound) bound {
	return a.did(10*in.total, in.once().grown(10, arraySize))
}

// quantified is any or all: over elements or a generator, with a condition or none.
func (a *analysis) quantified(f *gojq.Func, in bound) bound {
	var over bound
	if len(f.Args) == 2 {
		over = a.query(f.Args[0], in)
	} else {
		over = a.iterate(in)
	}
	if len(f.Args) > 0 {
		over = a.over(f.Args[len(f.Args)-1], over)
	}
	return a.did(4*step*over.n, fixed(in, nodeSize))
}
