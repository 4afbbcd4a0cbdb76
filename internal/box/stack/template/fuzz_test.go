package template

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
)

func seeds(f *testing.F) {
	for _, c := range readCases(f) {
		if len(c.template) < 4096 {
			f.Add(string(c.template))
		}
	}
}

// FuzzParse: no text brings Parse down, every error names its place or is about the whole, and what one format
// can say the other can.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, body string) {
		parsed, err := Parse([]byte(body))
		if err != nil {
			checkPlaced(t, err, body)
			return
		}
		parsed.Summary()
	})
}

func checkPlaced(t *testing.T, err error, body string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%T: %v", err, err)
	}
	if e.Message == "" || strings.TrimSpace(body) != "" && len(body) <= MaxBytes && e.Line < 1 {
		t.Fatalf("%q: line %d of %q", e.Message, e.Line, body)
	}
	// A value that is missing at the end stands on the line after it.
	if lines := 2 + len(lineBreak.FindAllString(body, -1)); e.Line > lines {
		t.Fatalf("line %d of %d: %v", e.Line, lines, err)
	}
}

// lineBreak is what YAML 1.1 ends a line with.
var lineBreak = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// FuzzBind: whatever a template says, binding and evaluating it end, give JSON values, and give the same twice.
func FuzzBind(f *testing.F) {
	for _, c := range readCases(f) {
		if len(c.template) < 4096 {
			f.Add(string(c.template), c.parameters["P"])
		}
	}
	f.Fuzz(func(t *testing.T, body, value string) {
		parsed, err := Parse([]byte(body))
		if err != nil {
			return
		}
		given := map[string]string{}
		for _, p := range parsed.Parameters() {
			if p.Default == nil {
				given[p.Name] = value
			}
		}
		b, err := parsed.Bind(Input{Parameters: given, Pseudo: pseudo})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		first, firstErr := evaluateAll(t, b)
		second, secondErr := evaluateAll(t, b)
		if first != second || (firstErr == nil) != (secondErr == nil) {
			t.Fatalf("%s\n%s\n%v\n%v", first, second, firstErr, secondErr)
		}
	})
}

func evaluateAll(t *testing.T, b *Bound) (string, error) {
	var all strings.Builder
	before := map[string]bool{}
	for _, r := range b.Resources() {
		for _, d := range r.DependsOn {
			if !before[d] {
				t.Fatalf("%s comes before %s, which it needs", r.LogicalID, d)
			}
		}
		before[r.LogicalID] = true
		p, err := r.Properties(made{})
		if err != nil {
			return "", err
		}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, o := range b.Outputs() {
		v, err := o.Value(made{})
		if err != nil {
			return "", err
		}
		all.WriteString(v)
	}
	return all.String(), nil
}

// FuzzPattern: no AllowedPattern brings the translation or the match down.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{`^(?=.*[A-Z])(?!-)[a-z]{1,2048}(?<!-)$`, `\p{Alnum}[\u0041-\x{5a}\s\S]+?|(a{2}){3,}`, `[^\]\\]*\$`} {
		f.Add(p, "Aa1 队列")
	}
	f.Fuzz(func(t *testing.T, pattern, value string) {
		p, err := compilePattern(pattern)
		if err == nil {
			p.match(value)
		}
	})
}
