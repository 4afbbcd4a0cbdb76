package jq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

func equal(a, b any) bool { return reflect.DeepEqual(a, b) }

func TestOnlyTheFirstOutputCounts(t *testing.T) {
	e := evaluator(t, Options{})
	for text, want := range map[string]Output{
		`1, 2`:                        {Value: 1, OK: true},
		`1, error("late")`:            {Value: 1, OK: true},
		`.a[]?`:                       {},
		`empty`:                       {},
		`halt`:                        {},
		`null`:                        {OK: true},
		`select(.a == 2)`:             {},
		`first(range(1e9))`:           {Value: 0, OK: true},
		`1, (until(false; .))`:        {Value: 1, OK: true},
		`error("early"), 1`:           {Err: &RuntimeError{Message: "error: early"}},
		`error(null)`:                 {Err: &RuntimeError{Message: "error: null"}},
		`.a.b`:                        {Err: &RuntimeError{Message: "expected an object but got: number (1)"}},
		`try .a.b catch "caught"`:     {Value: "caught", OK: true},
		`reduce (1, 2) as $x (0; $x)`: {Value: 2, OK: true},
	} {
		if o := e.First(t.Context(), compile(t, text), value(t, `{"a":1}`)); !equal(o, want) {
			t.Errorf("%s: got %+v, want %+v", text, o, want)
		}
	}
}

// inProcess and inWorker evaluate a program one way, whatever it costs.
func inProcess(e *Evaluator, p *Program, in any) Output {
	v, _, err := normalize(in)
	if err != nil {
		return Output{Err: err}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	left := e.o.MaxOutput
	return first(ctx, p, v, &left)
}

func inWorker(e *Evaluator, p *Program, in any) Output {
	v, _, err := normalize(in)
	if err != nil {
		return Output{Err: err}
	}
	out := make([]Output, 1)
	e.pool.evaluate(context.Background(), []*Program{p}, []int{0}, v, callOutputs*e.o.MaxOutput, out)
	return out[0]
}

var samples = []string{
	`null`, `true`, `0`, `-0.0`, `1.5`, `1e300`, `9007199254740993`, `"text"`, `"生产 🏭  \u0000"`, `[]`, `{}`, `[1,[2,[3]],"x",null]`,
	`{"Tags":[{"Key":"Name","Value":"web"},{"Key":"owner","Value":"素素"}],"Arn":"arn:aws:lambda:us-east-1:123456789012:function:f","n":3,"Name":"web-1","a":{"b":{"c":[1,2,{"d":null}]}}}`,
}

func TestBothWaysGiveTheSame(t *testing.T) {
	e := evaluator(t, Options{})
	for _, text := range []string{
		`.`, `.a`, `.a.b.c[2]`, `.[0]`, `.[-1]`, `.[1:]`, `[.[]?]`, `keys`, `length`, `type`, `tojson`, `tostring`, `@base64`, `@uri`, `@html`, `@json`, `@csv`, `@sh`,
		`[..]`, `.Tags[]? | select(.Key == "Name") | .Value`, `.Tags | from_entries`, `to_entries`, `with_entries(.key |= ascii_upcase)`, `map(.)`, `add`, `any`, `all`, `sort`, `unique`,
		`group_by(.Key)`, `.Arn | split(":")`, `.Arn | test("lambda")`, `.Arn | sub("arn:"; "")`, `.Arn | gsub("[a-z]"; "x")`, `[.Arn | scan("[0-9]+")]`, `.Arn | capture("(?<account>[0-9]{12})")`,
		`.Name | ltrimstr("web-")`, `.Name | explode | implode`, `.n * 2`, `.n / 2`, `.n % 2`, `-.n`, `. + .`, `. - .`, `. == .`, `. < 1`, `1 / 3`, `.n / 0`,
		`nan`, `infinite`, `[nan] | sort`, `now | type`, `1e1000`, `100000000000000000000`, `"\u0000"`, `@base64d "/w=="`[:0] + `"/w==" | @base64d`, `error({a: 1})`, `error`, `{a: 1} | error`,
		`.a as {b: {c: [$x]}} | $x`, `del(.a)`, `.a.b.c = 1`, `.n |= . + 1`, `if .n then 1 else 2 end`, `.x // "none"`, `(.a, .n)?`, `try error("x") catch .`, `limit(1; .[]?)`, `first(.[]?)`, `input_line`[:0] + `todate`,
		`reduce .[]? as $x (0; . + 1)`, `[paths]`, `path(..)`, `tostream`, `fromjson`, `[splits("a")]`, `ascii_downcase`, `contains("web")`, `inside("x")`, `index("e")`, `[limit(3; repeat(1))]`, `walk(.)`, `transpose`, `env`[:0] + `getpath(["a","b"])`,
		`{(.Name // "x"): 1, b: [1, 2]}`, `"\(.n) and \(.a)"`, `@text "x\(.)"`, `ltrimstr("x")`, `isvalid(.a.b.c.d)`, `min, max`, `flatten`, `range(3)`, `floor`, `sqrt`, `pow(.n; 2)`, `tonumber`, `tojson | fromjson`, `"x" * 3`, `{a: {b: 1}} * {a: {c: 2}}`,
	} {
		p := compile(t, text)
		for _, s := range samples {
			in := value(t, s)
			here, there := inProcess(e, p, in), inWorker(e, p, in)
			if !equal(here, there) {
				t.Errorf("%s of %s:\nhere  %#v %v\nthere %#v %v", text, s, here.Value, here.Err, there.Value, there.Err)
			}
		}
	}
}

func TestInputIsNeitherChangedNorShared(t *testing.T) {
	e := evaluator(t, Options{})
	in := value(t, samples[len(samples)-1])
	before, _ := json.Marshal(in)
	for _, text := range []string{`.`, `.a`, `.Tags`, `.a.b.c |= map(1)`, `del(.Tags)`, `.Tags | sort_by(.Value)`, `. * {a: {b: 1}}`, `walk(1)`} {
		o := e.First(t.Context(), compile(t, text), in)
		scribble(o.Value)
		if after, _ := json.Marshal(in); string(after) != string(before) {
			t.Fatalf("%s changed its input to %s", text, after)
		}
	}
}

func scribble(v any) {
	switch v := v.(type) {
	case []any:
		for i, x := range v {
			scribble(x)
			v[i] = "scribbled"
		}
	case map[string]any:
		for k, x := range v {
			scribble(x)
			v[k] = "scribbled"
		}
	}
}

func TestInputsThatAreNotJSON(t *testing.T) {
	e := evaluator(t, Options{})
	identity := compile(t, `.`)
	for name, c := range map[string]struct{ in, want any }{
		"numbers":        {json.Number("12"), 12},
		"decimals":       {json.Number("1.25"), 1.25},
		"exponents":      {json.Number("1e2"), 100},
		"large numbers":  {json.Number("1e999"), math.MaxFloat64},
		"long integers":  {int64(1) << 60, float64(int64(1) << 60)},
		"lists of texts": {[]string{"a", "b"}, []any{"a", "b"}},
		"maps of texts":  {map[string]string{"a": "b"}, map[string]any{"a": "b"}},
		"lists of maps":  {[]map[string]any{{"a": 1.0}}, []any{map[string]any{"a": 1}}},
		"not a number":   {math.NaN(), nil},
		"infinity":       {math.Inf(-1), -math.MaxFloat64},
		"not UTF-8":      {map[string]any{"\xff": "\xfe\xfe"}, map[string]any{"\uFFFD": "\uFFFD"}},
		"nil maps":       {map[string]any(nil), nil},
		"nil lists":      {[]any(nil), nil},
	} {
		if o := e.First(t.Context(), identity, c.in); o.Err != nil || !equal(o.Value, c.want) {
			t.Errorf("%s: got %#v, %v, want %#v", name, o.Value, o.Err, c.want)
		}
	}
	deep := any(1)
	for range 2000 {
		deep = []any{deep}
	}
	big := make([]any, 5<<20)
	for name, in := range map[string]any{"a channel": make(chan int), "a struct within": []any{struct{}{}}, "a bad number": json.Number("x"), "deep": deep, "big": big} {
		if o := e.First(t.Context(), identity, in); !errors.Is(o.Err, ErrInput) || o.OK {
			t.Errorf("%s: got %v, %v", name, o.OK, o.Err)
		}
	}
}

func TestOutputsAreBounded(t *testing.T) {
	e := evaluator(t, Options{MaxOutput: 1000})
	in := strings.Repeat("x", 400)
	for text, fits := range map[string]bool{
		`.`: true, `[., .]`: true, `[., ., .]`: false, `{a: [., ., .]}`: false, `[.,.,.] | tojson`: false, `[range(2000)]`: false, `[range(2000)] | length`: true,
	} {
		for name, way := range map[string]func(*Evaluator, *Program, any) Output{"here": inProcess, "there": inWorker} {
			o := way(e, compile(t, text), in)
			if fits != (o.Err == nil) || !fits && !errors.Is(o.Err, ErrOutput) {
				t.Errorf("%s %s: %v", text, name, o.Err)
			}
		}
	}
}

func TestOutputsOfOneCallAreBoundedTogether(t *testing.T) {
	e := evaluator(t, Options{MaxOutput: 1000})
	in := strings.Repeat("x", 900)
	for _, text := range []string{`.`, `reduce 1 as $x (.; .)`} {
		ps := make([]*Program, 40)
		for i := range ps {
			ps[i] = compile(t, text)
		}
		good := 0
		for _, o := range e.Each(t.Context(), ps, in) {
			switch {
			case o.Err == nil:
				good++
			case !errors.Is(o.Err, ErrOutput):
				t.Error(o.Err)
			}
		}
		if good < 15 || good > 18 {
			t.Errorf("%s: %d outputs of 900 bytes", text, good)
		}
	}
}

// One that is stopped is so alone, wherever in the list it stands.
func TestProgramsOfOneCallFailAlone(t *testing.T) {
	e := evaluator(t, Options{Workers: 1, Timeout: 500 * time.Millisecond, MaxMemory: 64 << 20})
	texts := []string{
		`.a`, `reduce range(10) as $i (0; . + $i)`, `until(false; .)`, `[range(10)] | length`, `"x" * 2000000000`,
		`reduce range(70) as $i ("x"; . + .)`, `error("mine")`, `def f: .a; f`, `.b.c.d`,
	}
	want := []error{nil, nil, ErrTimeout, nil, ErrMemory, ErrMemory, &RuntimeError{}, nil, nil}
	ps := make([]*Program, len(texts))
	for i, text := range texts {
		ps[i] = compile(t, text)
	}
	for range 2 { // the second time they are known for what they are
		for i, o := range e.Each(t.Context(), ps, map[string]any{"a": 7.0}) {
			var raised *RuntimeError
			switch {
			case want[i] == nil && o.Err != nil, want[i] != nil && o.Err == nil:
				t.Errorf("%s: %v", texts[i], o.Err)
			case errors.As(want[i], &raised) && !errors.As(o.Err, &raised):
				t.Errorf("%s: %v", texts[i], o.Err)
			case want[i] == ErrTimeout && !errors.Is(o.Err, ErrTimeout), // a busy machine may be too slow to run out of memory
				want[i] == ErrMemory && !errors.Is(o.Err, ErrMemory) && !errors.Is(o.Err, ErrTimeout):
				t.Errorf("%s: %v", texts[i], o.Err)
			}
		}
	}
}

// So many programs that stall in one call do not take so many times as long.
func TestProgramsOfOneCallTakeSoMuchTimeTogether(t *testing.T) {
	e := evaluator(t, Options{Workers: 1, Timeout: 100 * time.Millisecond})
	ps := make([]*Program, 40)
	for i := range ps {
		ps[i] = compile(t, fmt.Sprintf(`until(false; %d)`, i))
	}
	left := 0
	for i, o := range e.Each(t.Context(), ps, nil) {
		if !errors.Is(o.Err, ErrTimeout) {
			t.Errorf("%d: %v", i, o.Err)
		} else if strings.Contains(o.Err.Error(), "those before it") {
			left++
		}
	}
	if left < 30 {
		t.Errorf("%d of 40 were not tried", left)
	}
	if good, bad := e.pool.split(ps, []int{0, 39}); len(good) != 1 || len(bad) != 1 {
		t.Errorf("known for stalling are %v, not %v", bad, good)
	}
	if o := e.First(t.Context(), compile(t, `reduce 1 as $x (0; 1)`), nil); o.Err != nil {
		t.Error(o.Err)
	}
}

// Sixteen callers, one of which stalls: the others go on.
func TestOneWhoStallsDoesNotHoldUpOthers(t *testing.T) {
	e := evaluator(t, Options{Workers: 2, Timeout: time.Hour})
	endless, short := compile(t, `until(false; .)`), compile(t, `reduce .[] as $x (0; . + $x)`)
	ctx, stop := context.WithCancel(t.Context())
	var stalling, working sync.WaitGroup
	stalling.Go(func() { e.First(ctx, endless, nil) })
	waitFor(t, "a worker", func() bool { return len(workers(e)) == 1 })
	for range 15 {
		working.Go(func() {
			for range 20 {
				if o := e.First(t.Context(), short, []any{1, 2, 3}); o.Err != nil || o.Value != 6 {
					t.Errorf("got %v, %v", o.Value, o.Err)
				}
			}
		})
	}
	working.Wait()
	stop()
	stalling.Wait()
}

// Many who stall, with a program that is known for it: half of the workers are left
// to others.
func TestProgramsThatWereStoppedLeaveWorkersToOthers(t *testing.T) {
	e := evaluator(t, Options{Workers: 2, Timeout: time.Hour})
	endless, short := compile(t, `until(false; .)`), compile(t, `reduce .[] as $x (0; . + $x)`)
	e.pool.remember(endless.text)
	ctx, stop := context.WithCancel(t.Context())
	var stalling sync.WaitGroup
	for range 8 {
		stalling.Go(func() { e.First(ctx, endless, nil) })
	}
	waitFor(t, "a worker", func() bool { return len(workers(e)) == 1 })
	for range 20 {
		if o := e.First(t.Context(), short, []any{1, 2, 3}); o.Err != nil {
			t.Error(o.Err)
		}
	}
	stop()
	stalling.Wait()
}

// workers are the processes of the evaluator that are at work.
func workers(e *Evaluator) []int {
	e.pool.mu.Lock()
	defer e.pool.mu.Unlock()
	var pids []int
	for w := range e.pool.busy {
		pids = append(pids, w.cmd.Process.Pid)
	}
	return pids
}

// waitFor waits for what a process that is not ours does.
func waitFor(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !done(); {
		if time.Now().After(end) {
			t.Fatalf("%s does not happen", what)
		}
		<-time.After(time.Millisecond)
	}
}

func TestWorkersHaveNothingOfOurEnvironment(t *testing.T) {
	t.Setenv("RIALTO_SECRET_KEY", "secret")
	e := evaluator(t, Options{Workers: 1})
	if o := e.First(t.Context(), compile(t, `reduce 1 as $x (0; 1)`), nil); o.Err != nil {
		t.Fatal(o.Err)
	}
	w := <-e.pool.idle
	defer func() { e.pool.idle <- w }()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", w.cmd.Process.Pid))
	if err != nil {
		t.Skip("the system does not show the environment of processes: ", err)
	}
	if strings.Contains(string(text), "secret") {
		t.Errorf("it has %q", text)
	}
}

func TestCanceledCallersLeaveAtOnce(t *testing.T) {
	e := evaluator(t, Options{Workers: 1, Timeout: time.Minute})
	endless := compile(t, `until(false; .)`)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the caller has gone")
	var both sync.WaitGroup
	for range 2 { // one works, one waits
		both.Go(func() {
			if o := e.First(ctx, endless, nil); !errors.Is(o.Err, gone) {
				t.Errorf("got %v", o.Err)
			}
		})
	}
	waitFor(t, "a worker", func() bool { return len(workers(e)) == 1 })
	cancel(gone)
	both.Wait()
	if o := e.First(t.Context(), compile(t, `reduce 1 as $x (0; 1)`), nil); o.Err != nil {
		t.Error(o.Err)
	}
}

func TestManyCallers(t *testing.T) {
	e := evaluator(t, Options{Workers: 3})
	sum := compile(t, `reduce .[] as $x (0; . + $x)`)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 30 {
				if o := e.First(t.Context(), sum, []any{i, j}); o.Err != nil || o.Value != i+j {
					t.Errorf("%d + %d: %v, %v", i, j, o.Value, o.Err)
				}
			}
		})
	}
	all.Wait()
}
