package bus

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/event"
)

func TestCheckDetail(t *testing.T) {
	t.Parallel()
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1) }
	for _, c := range []struct {
		detail string
		ok     bool
	}{
		{`{}`, true},
		{" \t\r\n{ } \n", true},
		{`{"a":1,"b":[true,false,null,"x",{"c":-0.5e+10}]}`, true},
		{`{"订单":"🚚 \u8ba2\ud83d\ude9a \" \\ \/ \b\f\n\r\t"}`, true},
		{`{"a":9223372036854775807,"b":-9223372036854775808}`, true},
		{`{"a":9223372036854775808}`, false},
		{`{"a":-9223372036854775809}`, false},
		{`{"a":[123456789012345678901234567890]}`, false},
		{`{"a":123456789012345678901234567890.0}`, true}, // no integer
		{`{"a":1e400}`, true},
		{nested(999), true},
		{nested(1000), false},
		{`{"a":` + strings.Repeat("[", 998) + strings.Repeat("]", 998) + `}`, true},
		{`{"a":` + strings.Repeat("[", 999) + strings.Repeat("]", 999) + `}`, false},
		{strings.Repeat(`[`, 1<<20), false},
		{strings.Repeat(`{"a":`, 1<<18), false},
		{``, false}, {` `, false}, {`[]`, false}, {`"{}"`, false}, {`1`, false}, {`null`, false},
		{`{`, false}, {`}`, false}, {`{}{}`, false}, {`{} x`, false}, {`{,}`, false}, {`{"a"}`, false}, {`{"a":}`, false},
		{`{"a":1,}`, false}, {`{"a":1 "b":2}`, false}, {`{a:1}`, false}, {`{'a':1}`, false}, {`{"a":[1,]}`, false}, {`{"a":[,1]}`, false},
		{`{"a":01}`, false}, {`{"a":-}`, false}, {`{"a":+1}`, false}, {`{"a":1.}`, false}, {`{"a":.5}`, false}, {`{"a":1e}`, false}, {`{"a":NaN}`, false},
		{`{"a":tru}`, false}, {`{"a":nul`, false}, {`{"a":truex}`, false},
		{"{\"a\":\"\n\"}", false}, {`{"a":"\x"}`, false}, {`{"a":"\u12"}`, false}, {`{"a":"\u+123"}`, false}, {`{"a":"\`, false}, {`{"a":"`, false},
		{"{\"a\":\"\xff\"}", false},
	} {
		if err := checkDetail(c.detail); (err == nil) != c.ok {
			t.Errorf("%.80q: %v", c.detail, err)
		}
		if c.ok {
			canBeDelivered(t, c.detail)
		}
	}
}

// canBeDelivered checks that an event whose detail was taken is one for all that
// comes after: else it would be acknowledged and lost.
func canBeDelivered(t *testing.T, detail string) {
	t.Helper()
	e := event.Event{ID: "1", Source: "shop", DetailType: "t", Account: testAccount, Region: testRegion, Time: testNow, Detail: []byte(detail)}
	text := e.AppendJSON(nil)
	pattern, err := eventpattern.Compile([]byte(`{"source":["shop"],"detail":{"a":[{"exists":true}, {"exists":false}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if matched, err := pattern.Match(text); !matched || err != nil {
		t.Errorf("the event of %.80q matches: %t, %v", detail, matched, err)
	}
	transform, err := inputtransform.Compile(inputtransform.Input{Template: &inputtransform.Template{Text: `{"event":<aws.events.event.json>}`}})
	if err != nil {
		t.Fatal(err)
	}
	if body, err := transform.Render(text, inputtransform.Variables{}); err != nil || string(body) != `{"event":`+string(text)+`}` {
		t.Errorf("the event of %.80q becomes %.200q, %v", detail, body, err)
	}
	if _, err := event.Parse(text); err != nil {
		t.Errorf("the event of %.80q: %v", detail, err)
	}
}

func FuzzCheckDetail(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":[1,2.5e-3,"x\u00e9\n",true,null]}`, `{"订":"🚚"}`, `{"a":9223372036854775808}`, `{"a":01}`, `[`, `{"a":"\ud83d"}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, detail string) {
		ours := checkDetail(detail) == nil
		theirs := json.Valid([]byte(detail)) && utf8.ValidString(detail)
		if ours && !theirs {
			t.Fatalf("%q is not JSON", detail)
		}
		if ours {
			canBeDelivered(t, detail)
		}
		var object map[string]json.RawMessage
		if theirs && !ours && json.Unmarshal([]byte(detail), &object) == nil && object != nil {
			// Only numbers and nesting are reasons to refuse an object.
			if strings.Count(detail, "{")+strings.Count(detail, "[") <= maxDepth && !longInteger(detail) {
				t.Fatalf("%q is refused", detail)
			}
		}
	})
}

// longInteger says whether the text has a run of 19 digits or more.
func longInteger(text string) bool {
	run := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			run = 0
			continue
		}
		if run++; run >= 19 {
			return true
		}
	}
	return false
}
