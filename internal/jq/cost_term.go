package jq

import (
	"strings"

	"github.com/itchyny/gojq"
)

// written is how much larger a value can be as text than as a value: a byte of a
// text becomes \u0000 as JSON, and that is escaped once more by some formats.
const written = 8

func (a *analysis) term(t *gojq.Term, in bound) bound {
	b := a.ofTerm(t, in)
	for _, s := range t.SuffixList {
		switch {
		case s.Iter:
			b = a.iterate(b)
		case s.Index != nil:
			b = a.index(s.Index, in, b)
		}
	}
	return b
}

func (a *analysis) ofTerm(t *gojq.Term, in bound) bound {
	switch t.Type {
	case gojq.TermTypeIdentity:
		return bound{n: in.n, max: in.max, total: in.total, each: 1}
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse:
		return a.did(0, fixed(in, nodeSize))
	case gojq.TermTypeNumber:
		return a.did(0, fixed(in, nodeSize+float64(len(t.Number))))
	case gojq.TermTypeIndex:
		return a.index(t.Index, in, bound{n: in.n, max: in.max, total: in.total, each: 1})
	case gojq.TermTypeFunc:
		return a.call(t.Func, in)
	case gojq.TermTypeObject:
		return a.object(t.Object, in)
	case gojq.TermTypeArray:
		return a.array(t.Array, in)
	case gojq.TermTypeUnary:
		return a.did(0, a.term(t.Unary.Term, in))
	case gojq.TermTypeString:
		return a.text(t.Str, in)
	case gojq.TermTypeFormat:
		if t.Str != nil {
			return a.text(t.Str, in)
		}
		return a.did(written*in.total, bound{n: in.n, max: in.max, total: in.total, each: 1}.grown(written, arraySize))
	case gojq.TermTypeIf:
		return a.condition(t.If, in)
	case gojq.TermTypeTry:
		return a.try(t.Try, in)
	case gojq.TermTypeQuery:
		return a.query(t.Query, in)
	case gojq.TermTypeRecurse:
		return a.recurse(in)
	}
	a.work = inf
	return unbounded
}

// iterate is .[] over b.
func (a *analysis) iterate(b bound) bound {
	elements := b.total / nodeSize
	out := bound{n: elements, max: b.max, total: b.total, each: b.each * b.max / nodeSize}
	return a.did(4*step*elements, out)
}

// recurse is "..": each value is as large as all that is in it, level by level.
func (a *analysis) recurse(in bound) bound {
	nodes := in.total/nodeSize + in.n
	out := bound{n: nodes, max: in.max, total: nodes * in.max, each: in.max/nodeSize + 1}
	return a.did(20*step*nodes, out)
}

// index is b[x], where x is evaluated over in.
func (a *analysis) index(x *gojq.Index, in, b bound) bound {
	_, isText := literalText(x.Start)
	_, isNumber := literalNumber(x.Start)
	switch {
	case x.Name != "" || x.Str != nil && x.Str.Queries == nil || isText:
		return a.did(0, b)
	case isNumber && !x.IsSlice:
		return a.did(2*b.total, b) // a text is gone through by character
	}
	parts := []func() bound{func() bound { return b }}
	if x.Str != nil {
		parts = append(parts, func() bound { return a.text(x.Str, in) })
	}
	for _, q := range []*gojq.Query{x.Start, x.End} {
		if q != nil {
			parts = append(parts, a.evaluated(q, in))
		}
	}
	p := product(in, a.operands(parts...)...)
	if x.IsSlice {
		return a.did(4*p.total, p)
	}
	// by an array: where it occurs
	work := p.total * max(1, p.max/nodeSize)
	return a.did(work, p.grown(2, arraySize))
}

func (a *analysis) object(o *gojq.Object, in bound) bound {
	parts := make([]func() bound, 0, 2*len(o.KeyVals))
	for _, kv := range o.KeyVals {
		parts = append(parts,
			func() bound { return a.key(kv, in).grown(1, keySize) },
			func() bound { return a.value(kv, in) })
	}
	p := product(in, a.operands(parts...)...)
	return a.did(float64(len(o.KeyVals))*step*4*p.n, p.grown(1, mapSize))
}

func (a *analysis) key(kv *gojq.ObjectKeyVal, in bound) bound {
	switch {
	case kv.KeyString != nil:
		return a.text(kv.KeyString, in)
	case kv.KeyQuery != nil:
		return a.query(kv.KeyQuery, in)
	}
	return fixed(in, float64(len(kv.Key)))
}

func (a *analysis) value(kv *gojq.ObjectKeyVal, in bound) bound {
	switch {
	case kv.Val != nil:
		return a.query(kv.Val, in)
	case strings.HasPrefix(kv.Key, "$"):
		return a.variable(kv.Key, in)
	}
	return bound{n: in.n, max: in.max, total: in.total, each: 1} // {name}: .name
}

func (a *analysis) array(x *gojq.Array, in bound) bound {
	if x.Query == nil {
		return a.did(0, fixed(in, arraySize))
	}
	b := a.query(x.Query, in)
	return a.did(step*b.n, bound{
		n: in.n, each: 1,
		max:   min(b.total, b.each*b.max) + arraySize,
		total: b.total + in.n*arraySize,
	})
}

// text is a text with what is interpolated in it, or formatted.
func (a *analysis) text(s *gojq.String, in bound) bound {
	if s.Queries == nil {
		return a.did(0, fixed(in, nodeSize+float64(len(s.Str))))
	}
	parts := make([]func() bound, 0, len(s.Queries))
	for _, q := range s.Queries {
		parts = append(parts, func() bound { return a.query(q, in).grown(written, arraySize) })
	}
	p := product(in, a.operands(parts...)...)
	// one part is added to the next
	return a.did(p.total*float64(len(parts)), p)
}

func (a *analysis) condition(x *gojq.If, in bound) bound {
	type branch struct{ cond, then *gojq.Query }
	branches := []branch{{x.Cond, x.Then}}
	for _, e := range x.Elif {
		branches = append(branches, branch{e.Cond, e.Then})
	}
	var out bound
	times := 1.0 // a branch is taken for each output of its condition
	for _, b := range branches {
		times *= max(1, a.again(b.cond, in, times).each/times)
		out = either(out, a.again(b.then, in, times))
	}
	if x.Else == nil {
		return a.did(step*in.n, either(out, in.times(times)))
	}
	return a.did(step*in.n, either(out, a.again(x.Else, in, times)))
}

// try also gives what was raised: a message, or anything there is.
func (a *analysis) try(x *gojq.Try, in bound) bound {
	body := a.query(x.Body, in)
	if x.Catch == nil {
		return a.did(step*in.n, body)
	}
	raised := a.peak + 512
	caught := a.query(x.Catch, bound{n: in.n, max: raised, total: in.n * raised, each: 1})
	return a.did(step*in.n, either(body, caught))
}

// again is q evaluated k times over each of in.
func (a *analysis) again(q *gojq.Query, in bound, k float64) bound {
	b := a.query(q, bound{n: in.n * k, max: in.max, total: in.total * k, each: 1})
	b.each *= k
	return b
}

// over is q evaluated over each output of b.
func (a *analysis) over(q *gojq.Query, b bound) bound {
	out := a.query(q, bound{n: b.n, max: b.max, total: b.total, each: 1})
	out.each *= b.each
	return out
}

// operands evaluates parts that are combined with each other: one is evaluated
// again for each output of another.
func (a *analysis) operands(parts ...func() bound) []bound {
	bounds, work := make([]bound, len(parts)), make([]float64, len(parts))
	for i, part := range parts {
		before := a.work
		bounds[i] = part()
		work[i] = a.work - before
	}
	for i, times := range withoutEach(bounds, func(b bound) float64 { return max(1, b.each) }) {
		a.work += work[i] * (times - 1)
	}
	return bounds
}

// evaluated is q over in, as an operand.
func (a *analysis) evaluated(q *gojq.Query, in bound) func() bound {
	return func() bound { return a.query(q, in) }
}
