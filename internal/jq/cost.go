package jq

import (
	"math"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
)

// A program's cost is bounded from its syntax tree, for inputs up to a size: how
// many outputs each part of it can have, how large they are, and how much work it
// is to make them. Whatever is not understood costs infinitely much, which is
// right for all that loops, recurses or defines functions, and only slower for the
// rest.
//
// Sizes are those of values written out, as measured by normalize: a value that
// shares parts is as large as it would be without. A unit of work is about a
// nanosecond.
const (
	maxWork   = 16 << 20 // what a program may cost here, in units of work
	largest   = 1 << 22  // of the inputs that are considered
	nodeSize  = 16       // a value; what it holds comes on top
	arraySize = 24
	mapSize   = 48
	keySize   = 32 // an entry of an object, without its key's text
	step      = 50 // the work of one step of the interpreter
)

var inf = math.Inf(1)

// cheapUpTo is the largest input size for which q is cheap.
func cheapUpTo(q *gojq.Query) int {
	up := 0
	for size := 256; size <= largest; size *= 2 {
		a, out := analyze(q, size)
		if cost := a.work + out.total; !(cost <= maxWork) { // also where it is not a number
			break
		}
		up = size
	}
	return up
}

// analyze bounds what q does with an input of the size.
func analyze(q *gojq.Query, size int) (*analysis, bound) {
	a := &analysis{vars: map[string]float64{}, peak: float64(size)}
	return a, a.query(q, bound{n: 1, max: float64(size), total: float64(size), each: 1})
}

// bound is what can come out of a part of a program, over all that goes in.
type bound struct {
	n     float64 // how many outputs
	max   float64 // size of the largest
	total float64 // sizes together
	each  float64 // how many for one input
}

var unbounded = bound{n: inf, max: inf, total: inf, each: inf}

// none is the bound of empty and error.
var none = bound{}

// times is b with each output k times.
func (b bound) times(k float64) bound {
	return bound{n: b.n * k, max: b.max, total: b.total * k, each: b.each * k}
}

// fixed is one output of the size for each input.
func fixed(in bound, size float64) bound {
	return bound{n: in.n, max: size, total: in.n * size, each: 1}
}

// grown is b with its outputs made larger, by a factor and a constant.
func (b bound) grown(factor, plus float64) bound {
	return bound{n: b.n, max: b.max*factor + plus, total: b.total*factor + b.n*plus, each: b.each}
}

// either is the outputs of both.
func either(a, b bound) bound {
	return bound{n: a.n + b.n, max: max(a.max, b.max), total: a.total + b.total, each: a.each + b.each}
}

// product is what is made of one output of each of bs, in all combinations: as
// large as they are together.
func product(in bound, bs ...bound) bound {
	others := withoutEach(bs, func(b bound) float64 { return b.each })
	p := bound{n: in.n, each: 1}
	for _, b := range bs {
		p.each *= b.each
		p.max += b.max
	}
	p.n *= p.each
	for i, b := range bs {
		p.n = min(p.n, b.n*others[i])
		p.total += b.total * others[i]
	}
	return p
}

// withoutEach are, for each of bs, the factors of all others multiplied.
func withoutEach(bs []bound, factor func(bound) float64) []float64 {
	others := make([]float64, len(bs))
	before := 1.0
	for i, b := range bs {
		others[i] = before
		before *= factor(b)
	}
	after := 1.0
	for i := len(bs) - 1; i >= 0; i-- {
		others[i] *= after
		after *= factor(bs[i])
	}
	return others
}

// analysis goes through a program once, for one size.
type analysis struct {
	work float64
	peak float64            // the largest value there can be so far
	vars map[string]float64 // sizes of variables

	regexps int // bytes of regular expressions that were read
}

// did adds the work of something, and notes how large its outputs are.
func (a *analysis) did(work float64, b bound) bound {
	a.work += work + step*b.n
	a.peak = max(a.peak, b.max)
	return b
}

func (a *analysis) query(q *gojq.Query, in bound) bound {
	switch {
	case q == nil:
		return in
	case len(q.FuncDefs) > 0 || a.work > maxWork:
		a.work = inf
		return unbounded
	case q.Term != nil:
		return a.term(q.Term, in)
	case q.Op == gojq.OpPipe && len(q.Patterns) > 0:
		return a.bind(q, in)
	case q.Op == gojq.OpPipe:
		return a.over(q.Right, a.query(q.Left, in))
	case q.Op == gojq.OpComma:
		return either(a.query(q.Left, in), a.query(q.Right, in))
	case q.Op == gojq.OpAlt:
		return a.did(step*in.n, either(a.query(q.Left, in), a.query(q.Right, in)))
	case q.Op == gojq.OpAnd || q.Op == gojq.OpOr:
		p := product(in, a.operands(a.evaluated(q.Left, in), a.evaluated(q.Right, in))...)
		return a.did(0, bound{n: p.n, max: nodeSize, total: p.n * nodeSize, each: p.each})
	}
	return a.operator(q, in)
}

// bind is "left as $x | right".
func (a *analysis) bind(q *gojq.Query, in bound) bound {
	if len(q.Patterns) != 1 {
		a.work = inf
		return unbounded
	}
	value := a.query(q.Left, in)
	names, ok := patternNames(q.Patterns[0], nil)
	if !ok {
		a.work = inf
		return unbounded
	}
	before := map[string]float64{}
	for _, name := range names {
		if size, had := a.vars[name]; had {
			before[name] = size
		}
		a.vars[name] = value.max
	}
	a.work += step * value.n * float64(2*len(names)+2)
	right := a.again(q.Right, in, max(1, value.each))
	for _, name := range names {
		delete(a.vars, name)
		if size, had := before[name]; had {
			a.vars[name] = size
		}
	}
	return right
}

// patternNames are the variables of a pattern whose keys are fixed.
func patternNames(p *gojq.Pattern, names []string) ([]string, bool) {
	if p.Name != "" {
		return append(names, p.Name), true
	}
	var ok bool
	for _, e := range p.Array {
		if names, ok = patternNames(e, names); !ok {
			return nil, false
		}
	}
	for _, o := range p.Object {
		if o.KeyQuery != nil || o.KeyString != nil && o.KeyString.Queries != nil {
			return nil, false
		}
		if strings.HasPrefix(o.Key, "$") {
			names = append(names, o.Key)
		}
		if o.Val == nil {
			continue
		}
		if names, ok = patternNames(o.Val, names); !ok {
			return nil, false
		}
	}
	return names, true
}

func (a *analysis) operator(q *gojq.Query, in bound) bound {
	switch q.Op {
	case gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAdd, gojq.OpUpdateAlt:
		return a.update(q, in)
	}
	sides := a.operands(a.evaluated(q.Left, in), a.evaluated(q.Right, in))
	l, r, p := sides[0], sides[1], product(in, sides...)
	small := bound{n: p.n, max: 2 * keySize, total: p.n * 2 * keySize, each: p.each}
	switch q.Op {
	case gojq.OpEq, gojq.OpNe, gojq.OpGt, gojq.OpLt, gojq.OpGe, gojq.OpLe:
		return a.did(comparison(p.total), small)
	case gojq.OpAdd:
		return a.did(p.total, p)
	case gojq.OpSub:
		// of arrays: each element of one with each of the other
		return a.did(l.total*r.each*max(1, r.max/nodeSize)*4, bound{n: p.n, max: max(l.max, keySize), total: l.total*r.each + small.total, each: p.each})
	case gojq.OpMul:
		return a.multiply(q, p)
	case gojq.OpDiv: // of texts: split, into characters at worst; of long numbers: the square of their digits
		return a.did(40*p.total+p.total*p.max/64, p.grown(40, arraySize))
	case gojq.OpMod:
		return a.did(p.total*p.max/64, p)
	}
	a.work = inf
	return unbounded
}

// multiply is bounded where one factor is a small literal number, or where one is
// an object, so that neither can be a text and a number.
func (a *analysis) multiply(q *gojq.Query, p bound) bound {
	for _, side := range []*gojq.Query{q.Left, q.Right} {
		if side.Term != nil && len(side.Term.SuffixList) == 0 && side.Term.Object != nil {
			return a.did(p.total, p)
		}
		if n, ok := literalNumber(side); ok {
			k := max(1, math.Abs(n)) + 1
			return a.did(p.total*k, p.grown(k, nodeSize))
		}
	}
	a.work = inf
	return unbounded
}

func literalNumber(q *gojq.Query) (float64, bool) {
	if q == nil || q.Term == nil || q.Term.Type != gojq.TermTypeNumber || len(q.Term.SuffixList) > 0 {
		return 0, false
	}
	n, err := strconv.ParseFloat(q.Term.Number, 64)
	return n, err == nil
}

// literalText is the text of a query that is nothing but one.
func literalText(q *gojq.Query) (string, bool) {
	if q == nil || q.Term == nil || q.Term.Type != gojq.TermTypeString || len(q.Term.SuffixList) > 0 || q.Term.Str.Queries != nil {
		return "", false
	}
	return q.Term.Str.Str, true
}

// comparison is the work of comparing values of the size: the keys of objects are
// sorted for it.
func comparison(size float64) float64 { return size * math.Log2(size+2) }

// update is an assignment. The paths must be made of names and .[] only: a number
// could be beyond an array's end.
func (a *analysis) update(q *gojq.Query, in bound) bound {
	if !isPath(q.Left, false) {
		a.work = inf
		return unbounded
	}
	paths := a.query(q.Left, in)
	value := in
	if q.Op == gojq.OpModify {
		value = paths
	}
	value = a.query(q.Right, bound{n: value.n, max: value.max, total: value.total, each: 1})
	outs := 1.0
	if q.Op != gojq.OpModify {
		outs = max(1, value.each)
	}
	set := bound{n: in.n * outs, each: outs}
	made := float64(mapSize+keySize) * float64(len(q.Left.String())) // objects on the way that are not there yet
	set.max = in.max + max(1, paths.each)*(value.max+made)
	if q.Op == gojq.OpUpdateAdd {
		set.max += paths.total
	}
	set.total = set.max * set.n
	// at worst each path copies what is on its way
	return a.did(set.total+paths.n*outs*(step*10+in.max/4), set)
}

// isPath reports whether q is a path made of names, .[] and, where numbers are
// allowed, literal indexes.
func isPath(q *gojq.Query, numbers bool) bool {
	switch {
	case q == nil || len(q.FuncDefs) > 0 || len(q.Patterns) > 0:
		return false
	case q.Op == gojq.OpPipe || q.Op == gojq.OpComma:
		return isPath(q.Left, numbers) && isPath(q.Right, numbers)
	case q.Term == nil:
		return false
	}
	for _, s := range q.Term.SuffixList {
		if s.Index != nil && !isPathIndex(s.Index, numbers) {
			return false
		}
	}
	switch q.Term.Type {
	case gojq.TermTypeIdentity:
		return true
	case gojq.TermTypeIndex:
		return isPathIndex(q.Term.Index, numbers)
	case gojq.TermTypeQuery:
		return isPath(q.Term.Query, numbers)
	}
	return false
}

func isPathIndex(x *gojq.Index, numbers bool) bool {
	if x.IsSlice {
		return false
	}
	if x.Name != "" || x.Str != nil && x.Str.Queries == nil {
		return true
	}
	if _, ok := literalText(x.Start); ok {
		return true
	}
	_, ok := literalNumber(x.Start)
	return ok && numbers
}
