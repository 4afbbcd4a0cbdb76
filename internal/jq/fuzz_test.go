package jq

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// counting is a context that counts the steps of the interpreter, which asks it
// before each, and ends after as many as it has.
type counting struct {
	context.Context
	steps, most float64
	done        chan struct{}
}

func (c *counting) Done() <-chan struct{} {
	if c.steps++; c.steps == c.most {
		close(c.done)
	}
	return c.done
}

func (c *counting) Err() error {
	if c.steps >= c.most {
		return context.DeadlineExceeded
	}
	return nil
}

// dense are inputs of which functions make much.
var dense = []string{
	`"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"`, `"\u0001\u0001\u0001\u0001\u0001\u0001\u0001\u0001'\"<>&&&&\"'"`,
	`[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]`, `[null,null,null,null,null,null,null,null,null,null]`, `"[{},{},{},{},{},{},{},{},[],[],[],[],[]]"`, `{"":{"":{"":{"":{"":{"":null}}}}}}`, `[[1],[2],[3],[4],[5]]`, `["a","b","c","d"]`,
}

// What is held to be cheap takes no more steps, and has no larger outputs, than
// was thought.
func FuzzCheapProgramsAreBounded(f *testing.F) {
	for _, text := range []string{
		`.`, `.Tags[]? | select(.Key == "Name") | .Value`, `.Tags | map({(.Key): .Value}) | add`, `.Arn | split(":")[4]`, `[..]`, `to_entries`, `with_entries(.)`,
		`"\(.a) and \(.b)"`, `.a // .b`, `if .a then .b else .c end`, `[.[] as $x | .[] | [$x, .]]`, `{a: .[], b: .[]}`, `.[] + .[]`, `tojson | tojson | tojson`, `[., .] | [., .] | tojson`,
		`.a |= [., .]`, `.[] = 1`, `map_values(.)`, `sort_by(.a)`, `group_by(.)`, `del(.a, .b)`, `sub("a"; "b")`, `gsub("a*"; "b")`, `[match("a"; "g")]`, `explode`, `split("")`, `try error(.) catch .`,
		`first(.[])`, `any(.[]; . == 1)`, `.a * 3`, `. - .`, `. / "a"`, `join(",")`, `contains("a")`, `index("a")`, `fromjson`, `ascii_downcase`, `@base64 "x\(.)"`, `@sh`, `limit(3; .[])`, `..|..`, `flatten`, `IN(.[])`,
		`. as {a: [$x]} | $x`, `.[.a]`, `.[1:]`, `-.a`, `(.[] | .[]?) // 1`, `select(.[])`, `.a and .[]`, `[.[] | (.[]?, .[]?)]`, `tonumber`, `todate`, `unique`, `keys[]`,
		`indices("a")`, `indices(1)`, `group_by(.)`, `[.[] | to_entries]`, `match("(?<a_long_name>a)"; "g")`, `capture("(?<a_long_name>a*)(?<another>b?)")`, `[scan("(a)(a)")]`, `split("a"; "g")`, `[.[] | [.]]`, `@html`, `@uri`, `map(tojson)`, `min_by(.)`, `.[[0]]`, `transpose`, `.a += .`, `.a.b //= .`,
	} {
		for _, s := range slices.Concat(samples, dense) {
			f.Add(text, s)
		}
	}
	f.Fuzz(func(t *testing.T, text, sample string) {
		p, err := Compile(text)
		if err != nil {
			if _, ok := errors.AsType[*SyntaxError](err); !ok {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		var in any
		if p.cheapUpTo == 0 || json.Unmarshal([]byte(sample), &in) != nil {
			return
		}
		v, size, err := normalize(in)
		if err != nil || size > p.cheapUpTo {
			return
		}
		bound := p.bound(t, size)
		ctx := &counting{Context: context.Background(), most: bound.work + 1000, done: make(chan struct{})}
		all := 0
		for outputs := p.code.RunWithContext(ctx, v); ; {
			got, ok := outputs.Next()
			if !ok {
				break
			}
			if err, is := got.(error); is {
				if errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("%s over %s: more than %.0f steps", text, sample, ctx.most)
				}
				break
			}
			left := 1 << 30
			w, err := outward(got, &left)
			if err != nil {
				t.Fatalf("%s over %s: %v", text, sample, err)
			}
			_, large, _ := normalize(w)
			if float64(large) > bound.max {
				t.Fatalf("%s over %s: an output of size %d, at most %.0f was thought", text, sample, large, bound.max)
			}
			if all++; float64(all) > bound.n {
				t.Fatalf("%s over %s: more than %.1f outputs", text, sample, bound.n)
			}
		}
	})
}

type worst struct{ work, max, n float64 }

func (p *Program) bound(t *testing.T, size int) worst {
	a, out := analyzed(t, p.text, size)
	return worst{a.work + out.total, out.max, out.n}
}

// A cheap program gives the same in this process and in a worker.
func FuzzBothWaysGiveTheSame(f *testing.F) {
	for _, text := range []string{
		`.`, `..`, `tojson`, `.[]?`, `"\(.)"`, `@base64d`, `fromjson`, `explode`, `.a + .n`, `-.`, `[.[]? | tostring]`, `error`, `error("\u0000")`, `1e1000`, `nan`, `{a: 1e17}`, `123456789012345678901234567890`, `-0`, `"\ud83d"`, `@uri`, `keys`, `.n / 3`,
	} {
		for _, s := range samples {
			f.Add(text, s)
		}
	}
	e := New(Options{Workers: 1})
	f.Cleanup(func() { e.Close() })
	f.Fuzz(func(t *testing.T, text, sample string) {
		p, err := Compile(text)
		var in any
		if err != nil || strings.Contains(text, "now") || json.Unmarshal([]byte(sample), &in) != nil {
			return
		}
		if _, size, err := normalize(in); err != nil || !p.cheap(size) {
			return
		}
		here, there := inProcess(e, p, in), inWorker(e, p, in)
		if errors.Is(there.Err, ErrTimeout) {
			return
		}
		if !equal(here, there) {
			t.Fatalf("%s over %s:\nhere  %#v %v\nthere %#v %v", text, sample, here.Value, here.Err, there.Value, there.Err)
		}
	})
}
