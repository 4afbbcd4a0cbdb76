package eventpattern

import (
	"fmt"
	"strings"
	"testing"
)

func repeat(n int, format string) string {
	all := make([]string, n)
	for i := range all {
		all[i] = strings.ReplaceAll(format, "#", fmt.Sprint(i))
	}
	return strings.Join(all, ",")
}

// These would take minutes, or all memory, if the work grew faster than the text.
func TestCompileOfHugePatternsEnds(t *testing.T) {
	for _, tc := range []struct {
		name, pattern string
		reason        string // how it begins, if the pattern is refused
	}{
		{"$or lists and long wildcards", `{` + repeat(9, `"$or":[{"a#":[1]},{"b#":[1]}]`) +
			`,"z":[{"wildcard":"*` + strings.Repeat("yz", 200) + `*x"}]}`, "Rule is too complex - try using fewer wildcard"},
		{"$or lists and one wildcard", `{` + repeat(9, `"$or":[{"a#":[1]},{"b#":[1]}]`) + `,"z":[{"wildcard":"*` + alphabet(2000) + `*x"}]}`, ""},
		{"long parts between stars", `{"z":[{"wildcard":"*abc` + alphabet(900) + `*abd` + alphabet(900) + `*abe` + alphabet(900) + `"}]}`, ""},
		{"very many wildcards", `{"a":[` + repeat(50_000, `{"wildcard":"#*"}`) + `]}`, "Rule is too complex - try using fewer wildcard"},
		{"very many fields with wildcards", `{` + repeat(20_000, `"a#":[{"wildcard":"a*b"}]`) + `}`, ""},
		{"very many fields, then $or", `{` + repeat(50_000, `"z#":[1]`) + `,"$or":[` + repeat(900, `{"a#":[1]}`) + `]}`, "Rule is too complex - its $or lists"},
		{"$or in $or in $or", strings.Repeat(`{"$or":[{"a":[1]},`, 300) + `{"b":[1]}` + strings.Repeat(`]}`, 300), ""},
		{"very many strings", `{"a":[` + repeat(100_000, `"#"`) + `]}`, ""},
		{"very many prefixes", `{"a":[` + repeat(50_000, `{"prefix":"#"}`) + `]}`, ""},
		{"as deep as can be", strings.Repeat(`{"a":`, 999) + "[1]" + strings.Repeat("}", 999), ""},
		{"too deep", strings.Repeat(`{"a":`, 1000) + "[1]" + strings.Repeat("}", 1000), "Document nesting depth (1001) exceeds the maximum allowed (1000"},
		{"a key of dots", `{"` + strings.Repeat(".", 10_000) + `":[1]}`, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Compile([]byte(tc.pattern))
			if tc.reason == "" && err != nil || tc.reason != "" && (err == nil || !strings.HasPrefix(err.Error(), tc.reason)) {
				t.Fatalf("error %v, want %q", err, tc.reason)
			}
		})
	}
}

// alphabet returns n characters of which no two neighbours come again, so that a wildcard stays simple.
func alphabet(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteRune(rune(0x4e00 + i))
	}
	return b.String()
}

func TestMatchOfHugeEventsEnds(t *testing.T) {
	p := mustCompile(t, `{"a":{"x":[1],"y":[2],"z":[3]}}`)
	for _, tc := range []struct {
		name, event string
		want        bool
	}{
		{"very many elements", `{"a":[` + repeat(40_000, `{"x":1,"y":#},{"y":2}`) + `,{"x":1,"z":3}]}`, false},
		{"very many elements and one that fits", `{"a":[` + repeat(40_000, `{"x":1},{"y":2}`) + `,{"x":1,"z":3,"y":2}]}`, true},
		{"very many arrays in arrays", `{"a":[` + repeat(20_000, `[{"x":1},{"y":2}]`) + `,[[{"z":3}]]]}`, false},
		{"the same array again and again", `{` + repeat(20_000, `"a":[{"x":1},{"y":2}]`) + `}`, false},
		{"the same array again and again, and the third field", `{` + repeat(20_000, `"a":[{"x":1},{"y":2}]`) + `,"a":[{"z":3}]}`, true},
		{"very many elements, very deep", `{"a":` + strings.Repeat("[", 900) + repeat(40_000, `{"x":1},{"y":2}`) + strings.Repeat("]", 900) + `}`, false},
		{"as deep as can be", strings.Repeat(`{"a":[`, 500) + strings.Repeat("]}", 500), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := p.Match([]byte(tc.event))
			if err != nil || got != tc.want {
				t.Fatalf("got %v, %v, want %v", got, err, tc.want)
			}
		})
	}
}

func TestEventsMayNestUpToALimit(t *testing.T) {
	p := mustCompile(t, `{"b":[{"exists":false}]}`)
	for _, unwanted := range []string{"a", "b"} {
		for depth, ok := range map[int]bool{MaxEventDepth: true, MaxEventDepth + 1: false, 100_000: false} {
			event := `{"` + unwanted + `":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
			_, err := p.Match([]byte(event))
			if (err == nil) != ok {
				t.Errorf("%d levels: error %v", depth, err)
			}
		}
	}
}
