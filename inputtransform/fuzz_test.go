package inputtransform

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

// readable reports whether an event is one that Render can read; ok is false for those that only one of the two decoders takes.
func readable(event string) (is, ok bool) {
	if strings.Count(event, "{")+strings.Count(event, "[") >= MaxDepth {
		return false, false
	}
	return utf8.ValidString(event) && json.Valid([]byte(event)) && strings.HasPrefix(strings.TrimLeft(event, " \t\r\n"), "{"), true
}

func FuzzPath(f *testing.F) {
	for _, c := range loadCases(f, "paths") {
		f.Add(c.sections["path"], c.sections["event"])
	}
	f.Fuzz(func(t *testing.T, text, event string) {
		path, err := ParsePath(text)
		if err != nil {
			var refusal *PathError
			if !errors.As(err, &refusal) || refusal.Reason == "" || refusal.Offset > len(text) {
				t.Fatalf("error %#v", err)
			}
			return
		}
		is, ok := readable(event)
		if !ok || !utf8.ValidString(text) {
			return
		}
		got, found := path.Get([]byte(event))
		if !is {
			if found {
				t.Fatalf("got %s of an event that cannot be read", got)
			}
			return
		}
		want := oracleGet(json.RawMessage(event), text)
		if found != (want != nil) || string(got) != string(want) {
			t.Fatalf("%s: got %s, %v\nwant %s", text, got, found, want)
		}
	})
}

func FuzzInput(f *testing.F) {
	for _, c := range loadCases(f, "cases") {
		if text := c.section("input"); text != nil {
			f.Add(*text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, ok := readable(text); !ok || !utf8.ValidString(text) || len(text) > MaxInput {
			return
		}
		transform, err := Compile(Input{Text: &text})
		if (err == nil) != (text == "" || json.Valid([]byte(text))) {
			t.Fatalf("error %v", err)
		}
		if err != nil {
			checkError(t, err)
			return
		}
		if body, err := transform.Render(nil, Variables{}); text != "" && (err != nil || string(body) != text) {
			t.Fatalf("got %s, %v", body, err)
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Error() == "" || !strings.Contains(refusal.Message("t1"), " for target t1") {
		t.Fatalf("error %#v", err)
	}
}

func FuzzTemplate(f *testing.F) {
	for _, c := range loadCases(f, "cases") {
		in := c.input(f)
		if in.Template == nil || in.Text != nil || in.Path != nil {
			continue
		}
		var names, paths [2]string
		i := 0
		for name, path := range in.Template.Paths {
			if i < len(names) {
				names[i], paths[i] = name, path
			}
			i++
		}
		f.Add(in.Template.Paths != nil, names[0], paths[0], names[1], paths[1], in.Template.Text, c.sections["event"])
	}
	f.Fuzz(func(t *testing.T, hasMap bool, name1, path1, name2, path2, text, event string) {
		in := Template{Text: text}
		if hasMap {
			in.Paths = map[string]string{}
			for name, path := range map[string]string{name1: path1, name2: path2} {
				if name != "" {
					in.Paths[name] = path
				}
			}
		}
		transform, err := Compile(Input{Template: &in})
		if err != nil {
			checkError(t, err)
			return
		}
		is, ok := readable(event)
		if _, deep := readable(text); !ok || !deep || !utf8.ValidString(text+path1+path2) {
			return
		}
		body, err := transform.Render([]byte(event), caseVariables)
		var unreadable *EventError
		if errors.As(err, &unreadable) != !is {
			t.Fatalf("error %v of an event that can be read: %v", err, is)
		}
		if !is {
			return
		}
		want, valid := oracleRender(in, event, caseVariables)
		if invalid, ok := errors.AsType[*InvalidJSONError](err); ok {
			body = invalid.Body
		}
		if string(body) != want || (err == nil) != valid {
			t.Fatalf("got %s, %v\nwant %s, valid %v", body, err, want, valid)
		}
	})
}
