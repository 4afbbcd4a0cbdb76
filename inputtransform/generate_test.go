package inputtransform

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// generator makes events and templates that have much to do with one another.
type generator struct{ *rand.Rand }

func (g generator) one(of ...string) string { return of[g.IntN(len(of))] }

func (g generator) space() string { return g.one("", "", "", "", " ", "\n", "\t ", "\r\n") }

// name is a field's name as it stands in an event; names of letters a to c come again and again.
func (g generator) name() string { return g.one("a", "b", "c", "a", "b", `\u0061`, "城", `a\/b`, "") }

func (g generator) value(depth int) string {
	kind := g.IntN(8)
	if depth == 0 {
		kind = g.IntN(5)
	}
	var members []string
	switch kind {
	case 0, 1:
		return `"` + g.one("", "x", `say \"hi\"`, "上海 🛒", `\u4e0a\ud83d\uded2`, `\n`, `\\`, "<a>", "1 2", `{\"a\":1}`, `\ud800`) + `"`
	case 2:
		return g.one("0", "-0", "42", "1.50", "3e2", "12345678901234567890")
	case 3:
		return g.one("true", "false", "null")
	case 4:
		return g.one("{}", "[]", "{ }", "[ ]")
	case 5:
		for range g.IntN(4) {
			members = append(members, g.space()+g.value(depth-1)+g.space())
		}
		return "[" + strings.Join(members, ",") + "]"
	}
	for range g.IntN(4) {
		members = append(members, g.space()+`"`+g.name()+`"`+g.space()+":"+g.space()+g.value(depth-1)+g.space())
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (g generator) event() string {
	var members []string
	for range 1 + g.IntN(5) {
		members = append(members, g.space()+`"`+g.one(g.name(), "id", "time", "detail-type")+`"`+g.space()+":"+g.space()+g.value(4))
	}
	return g.space() + "{" + strings.Join(members, ",") + "}" + g.space()
}

func (g generator) path() string {
	path := "$"
	for range g.IntN(4) {
		path += g.one(".a", ".b", ".c", ".a", ".b", ".城", ".a/b", "[0]", "[1]", "[*]", "[00]")
	}
	return path
}

func (g generator) placeholder() string {
	return g.one("<a>", "<b>", "<c>", "<a>", "<b>", "<aws.events.rule-name>", "<aws.events.event.ingestion-time>")
}

// text is the inside of a string of a template.
func (g generator) text() string {
	text := ""
	for range g.IntN(4) {
		text += g.one("x", " ", `\"`, `\\`, "上", "🛒", "< >", ":", g.placeholder(), g.placeholder())
	}
	return text
}

func (g generator) templateValue(depth int, placeholder func() string) string {
	var members []string
	switch kind := g.IntN(7); {
	case kind < 2 || depth == 0:
		return placeholder()
	case kind < 4:
		return `"` + g.text() + `"`
	case kind < 5:
		return g.one("1", "null", `""`)
	case kind < 6:
		for range g.IntN(3) {
			members = append(members, g.space()+g.templateValue(depth-1, placeholder)+g.space())
		}
		return "[" + strings.Join(members, ",") + "]"
	}
	for i := range g.IntN(3) {
		members = append(members, g.space()+fmt.Sprintf(`"k%d"`, i)+g.space()+":"+g.templateValue(depth-1, placeholder))
	}
	return "{" + strings.Join(members, ",") + "}"
}

func (g generator) template() string {
	if g.IntN(2) == 0 {
		return g.space() + `{"k":` + g.templateValue(3, func() string {
			return g.one(g.placeholder(), g.placeholder(), "<aws.events.event>", "<aws.events.event.json>")
		}) + "}" + g.space()
	}
	lines := []string{}
	for range 1 + g.IntN(3) {
		lines = append(lines, g.space()+g.one(`"`+g.text()+`"`, g.templateValue(2, g.placeholder)))
	}
	return strings.Join(lines, g.one("\n", "\r\n", "\n\n"))
}

// checkGenerated compares what both implementations make of one template and a few events, and reports how many bodies were JSON.
func checkGenerated(t *testing.T, seed uint64) (valid, invalid int) {
	t.Helper()
	g := generator{rand.New(rand.NewPCG(seed, 1))}
	in := Template{Text: g.template()}
	if g.IntN(8) > 0 {
		in.Paths = map[string]string{"a": g.path(), "b": g.path(), "c": g.path()}
	}
	transform, err := Compile(Input{Template: &in})
	if err != nil {
		checkError(t, err)
		return 0, 0
	}
	for range 5 {
		event := g.event()
		body, err := transform.Render([]byte(event), caseVariables)
		broken, isBroken := errors.AsType[*InvalidJSONError](err)
		if isBroken {
			body, err = broken.Body, nil
			invalid++
		} else {
			valid++
		}
		want, isValid := oracleRender(in, event, caseVariables)
		if err != nil || string(body) != want || isValid == isBroken {
			t.Fatalf("seed %d: %q of %q by %v\ngot  %q, %v, broken %v\nwant %q, valid %v", seed, in.Text, event, in.Paths, body, err, isBroken, want, isValid)
		}
	}
	return valid, invalid
}

func TestGeneratedTemplatesAgreeWithTheOracle(t *testing.T) {
	valid, invalid := 0, 0
	for seed := range uint64(4000) {
		v, i := checkGenerated(t, seed)
		valid, invalid = valid+v, invalid+i
	}
	if valid < 4000 || invalid < 2000 {
		t.Errorf("only %d bodies were JSON and %d were not", valid, invalid)
	}
}

func FuzzGenerated(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { checkGenerated(t, seed) })
}
