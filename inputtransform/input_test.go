package inputtransform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func mustCompile(t testing.TB, in Input) *Transform {
	t.Helper()
	transform, err := Compile(in)
	if err != nil {
		t.Fatal(err)
	}
	return transform
}

func withTemplate(text string, paths map[string]string) Input {
	return Input{Template: &Template{Text: text, Paths: paths}}
}

func manyPaths(n int) map[string]string {
	paths := map[string]string{}
	for i := range n {
		paths[fmt.Sprint("p", i)] = fmt.Sprintf("$.detail.p%d", i)
	}
	return paths
}

func TestLimitsAreAWSs(t *testing.T) {
	text := func(n int) *string { return new(`"` + strings.Repeat("上", n-2) + `"`) }
	for _, tc := range []struct {
		name    string
		in      Input
		message string // of the refusal
	}{
		{"the longest input", Input{Text: text(MaxInput)}, ""},
		{"an input too long", Input{Text: text(MaxInput + 1)}, "Input for target t is too long: it has 8193 characters, the most is 8192."},
		{"the longest template", withTemplate(*text(MaxTemplate), nil), ""},
		{"a template too long", withTemplate(*text(MaxTemplate + 1), nil), "InputTemplate for target t is too long: it has 8193 characters, the most is 8192."},
		{"the most paths", withTemplate(`"<p99>"`, manyPaths(MaxPaths)), ""},
		{"too many paths", withTemplate(`"x"`, manyPaths(MaxPaths+1)), "InputPathsMap for target t has 101 paths, the most is 100."},
		{"the longest name", withTemplate(`"x"`, map[string]string{strings.Repeat("n", 256): "$.a"}), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Compile(tc.in)
			if tc.message == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var refusal *Error
			if !errors.As(err, &refusal) || refusal.Message("t") != tc.message {
				t.Fatalf("got %v, want %s", err, tc.message)
			}
		})
	}
	if _, err := Compile(withTemplate(`"x"`, map[string]string{strings.Repeat("n", 257): "$.a"})); err == nil {
		t.Error("a name of 257 characters is taken")
	}
}

func TestAnErrorSaysWhatAWSLeavesOut(t *testing.T) {
	for _, tc := range []struct {
		in   Input
		want string
	}{
		{withTemplate(`"x"`, map[string]string{"b": "$..y", "a": "$.x"}),
			`InputPath is invalid. (<b>: invalid path "$..y": the name of a field must follow the dot (at byte 2))`},
		{Input{Path: new("$['a']")}, `InputPath is invalid. (invalid path "$['a']": [ must be followed by the number of an element or *, and ] (at byte 1))`},
		{withTemplate(`{"a": <b>, "c"}`, nil), `Invalid InputTemplate : [Source: (String)"{"a": null, "c"}"; line: 1, column: 16]. (a colon must follow a field's name)`},
	} {
		if _, err := Compile(tc.in); err == nil || err.Error() != tc.want {
			t.Errorf("got %v\nwant %s", err, tc.want)
		}
	}
}

// The event is a megabyte of white space and strings; a template of the largest size has it hundreds of times.
func TestABodyHasALimit(t *testing.T) {
	event := []byte(`{"detail": [` + strings.Repeat(`"0123456789", `, 70_000) + `1]}`)
	for name, in := range map[string]Input{
		"the event again and again": withTemplate(`{"a":[`+strings.Repeat(`<aws.events.event.json>,`, 300)+`1]}`, nil),
		"a path again and again":    withTemplate(`"`+strings.Repeat(`<v>`, 2000)+`"`, map[string]string{"v": "$.detail"}),
		"many paths": withTemplate(func() string {
			var b strings.Builder
			for i := range MaxPaths {
				fmt.Fprintf(&b, "<p%d>", i)
			}
			return `"` + b.String() + `"`
		}(), func() map[string]string {
			paths := map[string]string{}
			for i := range MaxPaths {
				paths[fmt.Sprint("p", i)] = "$.detail[*]"
			}
			return paths
		}()),
	} {
		t.Run(name, func(t *testing.T) {
			body, err := mustCompile(t, in).Render(event, Variables{})
			var large *TooLargeError
			if body != nil || !errors.As(err, &large) || large.Size <= MaxBody {
				t.Fatalf("got %d bytes, %v", len(body), err)
			}
		})
	}
	body, err := mustCompile(t, withTemplate(`{"a":[<aws.events.event.json>,<aws.events.event.json>]}`, nil)).Render(event, Variables{})
	if err != nil || len(body) < 2*70_000*len(`"0123456789",`) {
		t.Fatalf("got %d bytes, %v", len(body), err)
	}
}

func TestDepthHasALimit(t *testing.T) {
	nest := func(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
	get, err := ParsePath("$.a[0][0]")
	if err != nil {
		t.Fatal(err)
	}
	for depth, want := range map[int]bool{MaxDepth - 1: true, MaxDepth: false, 200_000: false} {
		event := []byte(`{"a":` + nest(depth) + `}`)
		if _, ok := get.Get(event); ok != want {
			t.Errorf("an event with arrays %d deep can be read: %v", depth, ok)
		}
		for _, path := range []string{"$.a", "$.a[*][*]", "$.b", "$"} {
			var unreadable *EventError
			if _, err := mustCompile(t, Input{Path: &path}).Render(event, Variables{}); errors.As(err, &unreadable) == want {
				t.Errorf("%s of an event with arrays %d deep: %v", path, depth, err)
			}
		}
	}
	for depth, want := range map[int]bool{MaxDepth: true, MaxDepth + 1: false, MaxTemplate/2 - 10: false} {
		if _, err := Compile(withTemplate(nest(depth), nil)); (err == nil) != want {
			t.Errorf("a template %d deep: %v", depth, err)
		}
		if _, err := Compile(Input{Text: new(nest(depth))}); (err == nil) != want {
			t.Errorf("an input %d deep: %v", depth, err)
		}
	}
	transform := mustCompile(t, withTemplate("<v>", map[string]string{"v": "$.v"}))
	for depth, want := range map[int]bool{2 * MaxDepth: true, 2*MaxDepth + 1: false, 500_000: false} {
		var invalid *InvalidJSONError
		if _, err := transform.Render([]byte(`{"v":"`+nest(depth)+`"}`), Variables{}); errors.As(err, &invalid) == want {
			t.Errorf("a body %d deep: %v", depth, err)
		}
	}
}

// An event that can be read can also be put into a template.
func TestTheDeepestEventFitsIntoTheDeepestTemplate(t *testing.T) {
	event := `{"a":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`
	template := strings.Repeat(`{"b":`, MaxDepth) + "<aws.events.event.json>" + strings.Repeat("}", MaxDepth)
	body, err := mustCompile(t, withTemplate(template, nil)).Render([]byte(event), Variables{})
	if want := strings.Replace(template, "<aws.events.event.json>", event, 1); err != nil || string(body) != want {
		t.Fatalf("got %s, %v", body, err)
	}
}

// These would take minutes if the work grew faster than the text.
func TestHugeEventsAndTemplatesEnd(t *testing.T) {
	repeat := func(n int, text string) string { return strings.TrimSuffix(strings.Repeat(text+",", n), ",") }
	for _, tc := range []struct {
		name  string
		in    Input
		event string
	}{
		{"very many elements of elements", Input{Path: new("$.a[*][*][*].b")}, `{"a":[` + repeat(500, `[`+repeat(100, `[{"b":1},{"c":2}]`)+`]`) + `]}`},
		{"the same field again and again", withTemplate(`"`+strings.Repeat("<p1>", 50)+`"`, manyPaths(MaxPaths)), `{"detail":{"p1":1},` + repeat(50_000, `"detail":{"p1":2}`) + `}`},
		{"very many placeholders", withTemplate(`{"a":"`+strings.Repeat(`<v>`, 2700)+`"}`, map[string]string{"v": "$.v"}), `{"v":"\u4e0a"}`},
		{"very many names", withTemplate(`{`+repeat(1300, `"":1`)+`}`, nil), `{}`},
		{"very many open strings", withTemplate(`{"a":"`+strings.Repeat(`<v>:`, 2000)+`"}`, map[string]string{"v": "$.v"}), `{"v":1}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := mustCompile(t, tc.in).Render([]byte(tc.event), Variables{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestATransformServesManyAtOnce(t *testing.T) {
	transform := mustCompile(t, withTemplate(`{"n":"<n>","e":<aws.events.event>,"all":<all>,"each":<each>}`,
		map[string]string{"n": "$.n", "all": "$.all", "each": "$.all[*].x"}))
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			event := fmt.Appendf(nil, `{ "id": "%d", "n": %d, "all": [ {"x": "%s"} ] }`, i, i, strings.Repeat("海", i))
			first, err := transform.Render(event, Variables{})
			if err != nil {
				t.Error(err)
				return
			}
			kept := bytes.Clone(first)
			for range 500 {
				if again, err := transform.Render(event, Variables{}); err != nil || !bytes.Equal(again, first) {
					t.Errorf("got %s, %v\nwant %s", again, err, first)
				}
			}
			if !bytes.Equal(first, kept) {
				t.Error("a body was overwritten by later ones")
			}
		})
	}
	group.Wait()
}

func TestABodyOutlivesLaterReadings(t *testing.T) {
	path, err := ParsePath("$.a[*].b")
	if err != nil {
		t.Fatal(err)
	}
	event := []byte(`{"a": [ {"b": "first"}, {"b": [ "second" ]} ]}`)
	value, ok := path.Get(event)
	for range 10 {
		path.Get([]byte(`{"a": [ {"b": "other"}, {"b": [ "others" ]} ]}`))
	}
	if !ok || string(value) != `["first",["second"]]` {
		t.Fatalf("got %s", value)
	}
}

// What is no JSON is refused wherever it stands; the standard library is the judge.
func TestEventsAndInputsMustBeJSON(t *testing.T) {
	path, err := ParsePath("$.x.y")
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{
		"", "1.", ".5", "+1", "-", "-a", "01", "1e", "1e+", "1E5", "-0.0e-0", "0x1", "NaN", "tru", "truex", "true1", "nul", "falsé",
		`"`, `"\`, `"\x"`, `"\u12"`, `"\u12G4"`, `"\uABcd"`, "\"\t\"", "\"\x7f\"", `"\b\f\n\r\t\/\\\""`, "'a'",
		"[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "]", "[}", "{", "{a:1}", `{"a"`, `{"a" 1}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, "{]", "{1:2}",
		"/**/1", "1//", "\ufeff1", "\u00a01", "1\v", "true false", "{}{}",
	} {
		for _, event := range []string{`{"x":{"y":` + value + `}}`, `{"a":` + value + `}`, `{"x":[` + value + `]}`} {
			transform := mustCompile(t, Input{Path: new("$.x.y")})
			_, err := transform.Render([]byte(event), Variables{})
			var unreadable *EventError
			if valid := json.Valid([]byte(event)); (err == nil) != valid || !valid && (!errors.As(err, &unreadable) || !strings.HasPrefix(err.Error(), "invalid event: it is not JSON: ")) {
				t.Errorf("%s is JSON: %v, error %v", event, valid, err)
			}
			if _, ok := path.Get([]byte(event)); ok && !json.Valid([]byte(event)) {
				t.Errorf("%s has a value", event)
			}
			if _, err := Compile(Input{Text: &event}); (err == nil) != json.Valid([]byte(event)) {
				t.Errorf("%s as an input: %v", event, err)
			}
		}
	}
	var unreadable *EventError
	if _, err := mustCompile(t, Input{Path: new("$")}).Render([]byte("{\"a\":\"\xff\"}"), Variables{}); !errors.As(err, &unreadable) {
		t.Errorf("an event that is not UTF-8: %v", err)
	}
}

func TestVariablesAreFilledInAsJSON(t *testing.T) {
	v := Variables{RuleName: "\"上\\海\"\n\x01\xff", RuleARN: "a\\"}
	body, err := mustCompile(t, withTemplate(`{"a":<aws.events.rule-name>,"b":"<aws.events.rule-arn>"}`, nil)).Render([]byte("{}"), v)
	if want := `{"a":"\"上\\海\"\u000a\u0001` + "\ufffd" + `","b":"a\\"}`; err != nil || string(body) != want {
		t.Errorf("got %s, %v\nwant %s", body, err, want)
	}
}
