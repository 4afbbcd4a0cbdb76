package eventpattern

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzCompile(f *testing.F) {
	for _, c := range loadCases(f) {
		f.Add(c.pattern)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		p, err := Compile([]byte(pattern))
		var syntax *SyntaxError
		switch {
		case err == nil:
			if p.String() != pattern {
				t.Fatal("the text is not kept")
			}
			if report := p.Explain([]byte(`{"a":{"b":[1,"x"]}}`)); report.String() == "" {
				t.Fatal("an empty report")
			} else if _, err := json.Marshal(report); err != nil {
				t.Fatal(err)
			}
		case !errors.As(err, &syntax) || syntax.Reason == "" || !strings.HasPrefix(syntax.Error(), syntax.Reason):
			t.Fatalf("error %#v", err)
		}
	})
}

func FuzzMatch(f *testing.F) {
	for _, c := range loadCases(f) {
		if !strings.HasPrefix(c.want, "rejected") {
			f.Add(c.pattern, c.event)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, event string) {
		// The oracle tries out every choice of values, which takes long when there are many.
		if len(pattern) > 200 || len(event) > 300 || !utf8.ValidString(pattern) || strings.Count(event, "[") > 6 {
			return
		}
		p, err := Compile([]byte(pattern))
		if err != nil {
			return
		}
		matched, err := p.Match([]byte(event))
		valid := json.Valid([]byte(event)) && utf8.ValidString(event) && strings.HasPrefix(strings.TrimLeft(event, " \t\r\n"), "{")
		if valid != (err == nil) {
			t.Fatalf("event %q: valid %v, error %v", event, valid, err)
		}
		if err == nil && checkAgainstOracle(t, p, event) != matched {
			t.Fatal("two answers")
		}
	})
}

func FuzzSet(f *testing.F) {
	f.Add("{\"a\":[1]}\n{\"a\":[\"x\",\"y\"],\"b\":[1]}\n{\"$or\":[{\"a\":[\"x\"]},{\"a.b\":[\"y\"]}]}", "\x01", `{"a":["x",1,{"b":"y"}]}`)
	for seed := range uint64(50) {
		g := newGenerator(seed)
		var patterns []string
		for range 8 {
			patterns = append(patterns, g.pattern(2))
		}
		f.Add(strings.Join(patterns, "\n"), g.one("", "\x00\x02", "\x01\x01\x03"), g.event(3))
	}
	f.Fuzz(func(t *testing.T, patterns, removed, event string) {
		if len(patterns) > 4000 {
			return
		}
		var set Set
		kept := map[uint64]*Pattern{}
		for i, text := range strings.Split(patterns, "\n") {
			if p, err := Compile([]byte(text)); err == nil {
				set.Add(uint64(i%16), p)
				kept[uint64(i%16)] = p
			}
		}
		for _, id := range []byte(removed) {
			set.Remove(uint64(id))
			delete(kept, uint64(id))
		}
		got, err := set.Match(nil, []byte(event))
		var want []uint64
		for id, p := range kept {
			matched, matchErr := p.Match([]byte(event))
			if (matchErr == nil) != (err == nil) {
				t.Fatalf("set error %v, pattern error %v", err, matchErr)
			}
			if matched {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("set matches %v, want %v", got, want)
		}
	})
}

func FuzzGenerated(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(checkGenerated)
}
