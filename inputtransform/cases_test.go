package inputtransform

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testCase is a file below testdata: the rule that it holds, then its sections, each after a line that names it.
//
// Of testdata/cases these are one of input, path, and template with paths, the latter as JSON; the event; and what is wanted: a first line
// of body, invalid json, refused or unreadable (the event), and then the body, the broken body or the message.
//
// Of testdata/paths these are the path, the event, and what is wanted: none, or a first line of value or refused and then the value or reason.
type testCase struct {
	name     string
	sections map[string]string
}

// caseVariables are those of all cases.
var caseVariables = Variables{
	RuleARN: "arn:aws:events:eu-west-1:123456789012:rule/orders", RuleName: "orders",
	Ingestion: time.Date(2026, 9, 13, 14, 17, 30, 408_999_999, time.FixedZone("", 2*60*60)),
}

func loadCases(t testing.TB, dir string) []testCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var cases []testCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := testCase{name: strings.TrimSuffix(filepath.Base(file), ".txt"), sections: map[string]string{}}
		_, rest, _ := strings.Cut(string(text), "\n-- ")
		for section := range strings.SplitSeq(rest, "\n-- ") {
			name, body, ok := strings.Cut(section, " --\n")
			if !ok {
				t.Fatalf("%s: section %q has no end of its name", file, section)
			}
			c.sections[name] = body
		}
		c.sections["want"] = strings.TrimSuffix(c.sections["want"], "\n")
		if c.sections["want"] == "" {
			t.Fatalf("%s: nothing wanted", file)
		}
		cases = append(cases, c)
	}
	return cases
}

// section returns nil for a section that is not there.
func (c testCase) section(name string) *string {
	if s, ok := c.sections[name]; ok {
		return &s
	}
	return nil
}

func (c testCase) input(t testing.TB) Input {
	t.Helper()
	in := Input{Text: c.section("input"), Path: c.section("path")}
	if text := c.section("template"); text != nil {
		in.Template = &Template{Text: *text}
		if paths := c.section("paths"); paths != nil {
			if err := json.Unmarshal([]byte(*paths), &in.Template.Paths); err != nil {
				t.Fatal(err)
			}
		}
	}
	return in
}

func TestCases(t *testing.T) {
	for _, c := range loadCases(t, "cases") {
		t.Run(c.name, func(t *testing.T) {
			transform, err := Compile(stored(t, c.input(t)))
			verdict, want, _ := strings.Cut(c.sections["want"], "\n")
			if verdict == "refused" {
				checkRefused(t, transform, err, want)
				return
			}
			if err != nil {
				t.Fatalf("compile: %v", err)
			}
			event := []byte(c.sections["event"])
			body, err := transform.Render(event, caseVariables)
			checkRendered(t, body, err, verdict, want)
			if string(event) != c.sections["event"] {
				t.Error("the event was changed")
			}
		})
	}
}

// stored returns the input as it is after it was stored as JSON.
func stored(t *testing.T, in Input) Input {
	t.Helper()
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out Input
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func checkRefused(t *testing.T, transform *Transform, err error, want string) {
	t.Helper()
	var refusal *Error
	if transform != nil || !errors.As(err, &refusal) {
		t.Fatalf("got %v, %v, want an error", transform, err)
	}
	if got := refusal.Message("t1"); got != want {
		t.Fatalf("got message\n%s\nwant\n%s", got, want)
	}
	if got := refusal.Error(); !strings.HasPrefix(got, strings.Replace(want, " for target t1", "", 1)) || strings.Contains(got, "t1") {
		t.Fatalf("got error %s", got)
	}
	place := fmt.Sprintf("; line: %d, column: %d]", refusal.Line, refusal.Column)
	if strings.Contains(want, "[Source: ") != (refusal.Line > 0) || refusal.Line > 0 && !strings.Contains(want, place) {
		t.Fatalf("line %d and column %d do not fit the message", refusal.Line, refusal.Column)
	}
}

func checkRendered(t *testing.T, body []byte, err error, verdict, want string) {
	t.Helper()
	var invalid *InvalidJSONError
	var unreadable *EventError
	switch verdict {
	case "body":
		if err != nil || string(body) != want {
			t.Fatalf("got %s, %v\nwant %s", body, err, want)
		}
	case "invalid json":
		if !errors.As(err, &invalid) || body != nil || string(invalid.Body) != want || invalid.Line < 1 || invalid.Column < 1 || invalid.Reason == "" {
			t.Fatalf("got %s, %#v\nwant it invalid as %s", body, err, want)
		}
	case "unreadable":
		if !errors.As(err, &unreadable) || body != nil {
			t.Fatalf("got %s, %v, want an error about the event", body, err)
		}
	default:
		t.Fatalf("unknown want %q", verdict)
	}
}

func TestPaths(t *testing.T) {
	for _, c := range loadCases(t, "paths") {
		t.Run(c.name, func(t *testing.T) {
			path, err := ParsePath(c.sections["path"])
			verdict, want, _ := strings.Cut(c.sections["want"], "\n")
			if verdict == "refused" {
				var refusal *PathError
				if !errors.As(err, &refusal) || refusal.Reason != want || refusal.Path != c.sections["path"] || refusal.Offset > len(refusal.Path) {
					t.Fatalf("got %v, %#v, want %s", path, err, want)
				}
				return
			}
			if err != nil || path.String() != c.sections["path"] {
				t.Fatalf("got %v, %v", path, err)
			}
			got, ok := path.Get([]byte(c.sections["event"]))
			if ok != (verdict == "value") || string(got) != want {
				t.Fatalf("got %s, %v, want %s %s", got, ok, verdict, want)
			}
		})
	}
}
