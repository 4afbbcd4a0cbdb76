package eventpattern

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestExplainForPeople(t *testing.T) {
	for _, tc := range []struct{ name, pattern, event, want string }{
		{"matches", `{"a":["x"],"b":[{"exists":false}]}`, `{"a":["y","x"]}`, `
The event matches.
  yes  a: one of "y", "x" satisfies ["x"]
  yes  b: the event has no such field`},
		{"missing", `{"a":{"b":["x"]}}`, `{"a":{"c":"x"}}`, `
The event does not match.
  no   a.b: the event has no such field`},
		{"an object", `{"a":["x"]}`, `{"a":{"c":"x"}}`, `
The event does not match.
  no   a: the event has an object there; only its fields can be matched`},
		{"an empty object", `{"a.b":["x"]}`, `{"a":[{"b":{}}]}`, `
The event does not match.
  no   a.b: the event has an empty object there, which counts as no value`},
		{"an empty list", `{"a":[{"exists":true}]}`, `{"a":[[]]}`, `
The event does not match.
  no   a: the event has a list without values there, which counts as no value`},
		{"several values", `{"状态":["绿"]}`, `{"状态":["红","<黄>",3,null]}`, `
The event does not match.
  no   状态: none of "红", "<黄>", 3, null satisfies ["绿"]`},
		{"there although it must not be", `{"a":[{"exists":false}]}`, `{"a":null}`, `
The event does not match.
  no   a: null does not satisfy [{"exists":false}]`},
		{"different elements", `{"a":{"x":[1],"y":[2]}}`, `{"a":[{"x":1,"y":0},{"x":0,"y":2}]}`, `
The event does not match.
  yes  a.x: one of 1, 0 satisfies [1]
  yes  a.y: one of 0, 2 satisfies [2]
  Each condition is satisfied, but not all of them in the same element of an array.`},
		{"$or, the closest first", `{"k":[1],"$or":[{"a":[1],"b":[1]},{"c":[1]}]}`, `{"k":1,"a":2}`, `
The event matches none of the 2 branches of $or; the closest first.
Branch 1:
  yes  k: 1 satisfies [1]
  no   c: the event has no such field
Branch 2:
  yes  k: 1 satisfies [1]
  no   a: 2 does not satisfy [1]
  no   b: the event has no such field`},
		{"$or that matches", `{"$or":[{"a":[1]},{"c":[1]}]}`, `{"c":1}`, `
The event matches.
  yes  c: 1 satisfies [1]`},
		{"no event", `{"a":[1]}`, `[1]`, `
The event cannot be matched: invalid event: an event must be a JSON object (at byte 0)`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := mustCompile(t, tc.pattern).Explain([]byte(tc.event)).String()
			if want := strings.TrimPrefix(tc.want, "\n"); got != want {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestExplainForPrograms(t *testing.T) {
	p := mustCompile(t, `{"a": ["x", {"prefix": "<"}], "b": [{"exists": true}]}`)
	got, err := json.Marshal(p.Explain([]byte(`{"a": "\u0079", "b": 1.50}`)))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"matched":false,"branches":[{"matched":false,"conditions":[` +
		`{"path":"a","expected":["x",{"prefix":"\u003c"}],"matched":false,"found":["y"],"reason":"\"y\" does not satisfy [\"x\", {\"prefix\": \"\u003c\"}]"},` +
		`{"path":"b","expected":[{"exists":true}],"matched":true,"found":[1.50]}]}]}`
	if string(got) != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
}

func TestExplainIsBounded(t *testing.T) {
	p := mustCompile(t, `{"$or":[`+repeat(50, `{"a":["#"]}`)+`]}`)
	report := p.Explain([]byte(fmt.Sprintf(`{"a":[%s]}`, repeat(1000, `"x#"`))))
	if len(report.Branches) != 20 || report.Omitted != 30 {
		t.Fatalf("%d branches, %d left out", len(report.Branches), report.Omitted)
	}
	if c := report.Branches[0].Conditions[0]; len(c.Found) != 10 || c.More != 990 {
		t.Fatalf("%d values, %d more", len(c.Found), c.More)
	}
	if text := report.String(); !strings.HasSuffix(text, "\n30 more branches are left out.") || !strings.Contains(text, `"x9", 990 more satisfies`) {
		t.Fatal(text)
	}
}
