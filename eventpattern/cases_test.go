package eventpattern

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testCase is a file below testdata/cases: the rule that it holds, then the pattern, the event and what is wanted,
// each after a line that names it.
type testCase struct {
	name    string
	pattern string
	event   string
	want    string // match, no match, unreadable (the event), or rejected followed by the message
}

func loadCases(t testing.TB) []testCase {
	t.Helper()
	files, err := filepath.Glob("testdata/cases/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var cases []testCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := testCase{name: strings.TrimSuffix(filepath.Base(file), ".txt")}
		_, rest, ok := strings.Cut(string(text), "\n-- pattern --\n")
		if !ok {
			t.Fatalf("%s: no pattern", file)
		}
		rest, c.want, ok = cutLast(rest, "-- want --\n")
		if !ok {
			t.Fatalf("%s: nothing wanted", file)
		}
		c.want = strings.TrimSuffix(c.want, "\n")
		c.pattern, c.event, _ = strings.Cut(rest, "\n-- event --\n")
		c.pattern, c.event = strings.TrimSuffix(c.pattern, "\n"), strings.TrimSuffix(c.event, "\n")
		cases = append(cases, c)
	}
	return cases
}

func cutLast(s, sep string) (before, after string, found bool) {
	at := strings.LastIndex(s, sep)
	if at < 0 {
		return s, "", false
	}
	return s[:at], s[at+len(sep):], true
}

func TestCases(t *testing.T) {
	for _, c := range loadCases(t) {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile([]byte(c.pattern))
			if message, ok := strings.CutPrefix(c.want, "rejected\n"); ok {
				checkRejected(t, p, err, message)
				return
			}
			if err != nil {
				t.Fatalf("compile: %v", err)
			}
			checkMatch(t, c, p)
		})
	}
}

func checkRejected(t *testing.T, p *Pattern, err error, message string) {
	t.Helper()
	var syntax *SyntaxError
	if p != nil || !errors.As(err, &syntax) {
		t.Fatalf("got %v, %v, want a syntax error", p, err)
	}
	if syntax.Error() != message {
		t.Fatalf("got message\n%s\nwant\n%s", syntax.Error(), message)
	}
	if (syntax.Line == 0) != (syntax.Reason == message) || !strings.HasPrefix(message, syntax.Reason) {
		t.Fatalf("reason %q and line %d do not fit the message", syntax.Reason, syntax.Line)
	}
}

func checkMatch(t *testing.T, c testCase, p *Pattern) {
	t.Helper()
	event := []byte(c.event)
	got, err := p.Match(event)
	report := p.Explain(event)
	var set Set
	set.Add(42, p)
	ids, setErr := set.Match([]uint64{7}, event)
	if c.want == "unreadable" {
		var unreadable *EventError
		if !errors.As(err, &unreadable) || !errors.As(setErr, &unreadable) || report.Error == "" || len(ids) != 1 {
			t.Fatalf("got %v, set %v %v, report %q, want errors", err, ids, setErr, report.Error)
		}
		return
	}
	want := c.want == "match"
	if !want && c.want != "no match" {
		t.Fatalf("unknown want %q", c.want)
	}
	if err != nil || got != want {
		t.Errorf("Match: got %v, %v, want %v", got, err, want)
	}
	if setErr != nil || ids[0] != 7 || (len(ids) == 2 && ids[1] == 42) != want {
		t.Errorf("Set.Match: got %v, %v, want %v", ids, setErr, want)
	}
	if report.Matched != want || report.Error != "" {
		t.Errorf("Explain: got %v %q, want %v", report.Matched, report.Error, want)
	}
	if accepted, err := oracleMatch(c.pattern, c.event); err != nil || accepted != want {
		t.Errorf("the oracle says %v, %v, want %v", accepted, err, want)
	}
}
