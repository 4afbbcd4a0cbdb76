package eventpattern

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// generator makes patterns and events out of so few names and values that they often match.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 1))} }

func (g generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) name() string {
	return g.one(`"a"`, `"b"`, `"c"`, `"a"`, `"b"`, `"a.b"`, `"b.c"`, `"\u0061"`, `""`, `"状"`)
}

func (g generator) text() string {
	return g.one(`"x"`, `"xy"`, `"X"`, `"xyx"`, `""`, `"ß"`, `"SS"`, `"动x"`, `"10.0.0.1"`, `"10.0.0.01"`, `"::1"`, `"0::1"`, `"5"`, `"x*"`, `"\ud83d\ude80x"`)
}

func (g generator) number() string {
	return g.one("5", "5.0", "0.5e1", "-5", "0", "-0", "6", "5.5", "1e3", "1000", "9007199254740993", "9007199254740992", "0.1234567890123456789")
}

func (g generator) comparable() string { return g.one("5", "5.0", "-5", "0", "6", "1e3") }

func (g generator) scalar() string {
	switch g.IntN(5) {
	case 0:
		return g.number()
	case 1:
		return g.one("true", "false", "null")
	}
	return g.text()
}

func (g generator) list(most int, element func() string) string {
	n := g.IntN(most + 1)
	elements := make([]string, n)
	for i := range elements {
		elements[i] = element()
	}
	return "[" + strings.Join(elements, ",") + "]"
}

func (g generator) event(depth int) string {
	fields := make([]string, g.IntN(4))
	for i := range fields {
		fields[i] = g.name() + ":" + g.value(depth)
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func (g generator) value(depth int) string {
	if depth == 0 {
		return g.scalar()
	}
	switch g.IntN(5) {
	case 0, 1:
		return g.event(depth - 1)
	case 2, 3:
		return g.list(3, func() string { return g.value(depth - 1) })
	}
	return g.scalar()
}

func (g generator) pattern(depth int) string {
	fields := make([]string, 1+g.IntN(3))
	for i := range fields {
		switch k := g.IntN(10); {
		case depth > 0 && k == 0:
			fields[i] = `"$or":[` + g.pattern(depth-1) + "," + g.pattern(depth-1) + "]"
		case depth > 0 && k < 5:
			fields[i] = g.name() + ":" + g.pattern(depth-1)
		default:
			fields[i] = g.name() + ":" + g.alternatives()
		}
	}
	return "{" + strings.Join(fields, ",") + "}"
}

func (g generator) alternatives() string {
	alternatives := make([]string, 1+g.IntN(2))
	for i := range alternatives {
		alternatives[i] = g.alternative()
	}
	return "[" + strings.Join(alternatives, ",") + "]"
}

func (g generator) alternative() string {
	text := func() string { return g.one(`"x"`, `"xy"`, `"y"`, `"ß"`, `"动"`, `"5"`) }
	texts := func() string {
		return g.one(text(), "["+text()+"]", "["+text()+","+text()+"]")
	}
	wild := func() string { return g.one(`"*"`, `"x*"`, `"*x"`, `"*x*"`, `"x\\*"`, `""`, `"*动*"`) }
	switch g.IntN(16) {
	case 0:
		return fmt.Sprintf(`{"prefix":%s}`, text())
	case 1:
		return fmt.Sprintf(`{"suffix":%s}`, text())
	case 2:
		return fmt.Sprintf(`{"%s":{"equals-ignore-case":%s}}`, g.one("prefix", "suffix"), text())
	case 3:
		return fmt.Sprintf(`{"equals-ignore-case":%s}`, text())
	case 4:
		return fmt.Sprintf(`{"wildcard":%s}`, wild())
	case 5:
		return fmt.Sprintf(`{"anything-but":%s}`, texts())
	case 6:
		return fmt.Sprintf(`{"anything-but":%s}`, g.one(g.comparable(), "["+g.comparable()+","+g.comparable()+"]"))
	case 7:
		return fmt.Sprintf(`{"anything-but":{"%s":%s}}`, g.one("prefix", "suffix", "equals-ignore-case"), texts())
	case 8:
		return fmt.Sprintf(`{"anything-but":{"wildcard":%s}}`, wild())
	case 9:
		return fmt.Sprintf(`{"numeric":["%s",%s]}`, g.one("=", "<", "<=", ">", ">="), g.comparable())
	case 10:
		return fmt.Sprintf(`{"numeric":["%s",%s,"%s",7]}`, g.one(">", ">="), g.one("-5", "0", "5"), g.one("<", "<="))
	case 11:
		return fmt.Sprintf(`{"exists":%s}`, g.one("true", "false"))
	case 12:
		return fmt.Sprintf(`{"cidr":"%s"}`, g.one("10.0.0.0/24", "::/0", "0.0.0.0/0", "::1/127"))
	case 13:
		return fmt.Sprintf(`{"exactly":%s}`, g.text())
	}
	return g.scalar()
}

func checkGenerated(t *testing.T, seed uint64) {
	t.Helper()
	g := newGenerator(seed)
	var set Set
	patterns := map[uint64]*Pattern{}
	for range 12 {
		text := g.pattern(2)
		p, err := Compile([]byte(text))
		if err != nil {
			t.Fatalf("seed %d: compile %s: %v", seed, text, err)
		}
		id := g.Uint64N(10) // some replace others
		patterns[id] = p
		set.Add(id, p)
	}
	for id := range uint64(3) {
		delete(patterns, id)
		set.Remove(id)
	}
	if set.Len() != len(patterns) {
		t.Fatalf("seed %d: the set has %d patterns, want %d", seed, set.Len(), len(patterns))
	}
	for range 6 {
		event := g.event(3)
		var want []uint64
		for id, p := range patterns {
			matched := checkAgainstOracle(t, p, event)
			if matched {
				want = append(want, id)
			}
		}
		slices.Sort(want)
		got, err := set.Match(nil, []byte(event))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("seed %d: event %s: set matches %v, %v, want %v", seed, event, got, err, want)
		}
	}
}

func checkAgainstOracle(t *testing.T, p *Pattern, event string) bool {
	t.Helper()
	got, err := p.Match([]byte(event))
	if err != nil {
		t.Fatalf("event %s: %v", event, err)
	}
	want, err := oracleMatch(p.String(), event)
	if err != nil || got != want {
		t.Fatalf("pattern %s\nevent %s\nmatch %v, oracle %v %v", p, event, got, want, err)
	}
	if explained := p.Explain([]byte(event)).Matched; explained != got {
		t.Fatalf("pattern %s\nevent %s\nmatch %v, explain %v", p, event, got, explained)
	}
	return got
}

func TestGeneratedPatternsAgreeWithTheOracle(t *testing.T) {
	for seed := range uint64(600) {
		checkGenerated(t, seed)
	}
}
