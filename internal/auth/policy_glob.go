package auth

import (
	"fmt"
	"strings"
)

// glob is a text of a policy with its wildcards and variables: * is any run of
// characters, ? any one.
type glob struct{ parts []globPart }

type globPart struct {
	kind     partKind
	text     string // literal text, or the lower-case name of a variable
	fallback string // of a variable
	hasFall  bool
}

type partKind uint8

const (
	literal partKind = iota
	anyRun
	anyOne
	variable
)

// compileGlob reads a pattern. With variables, ${key} and ${key, 'default'} stand
// for a condition key's value, and ${*}, ${?} and ${$} for the character itself.
func compileGlob(s string, variables bool) (glob, error) {
	var g glob
	for s != "" {
		i := strings.IndexAny(s, "*?$")
		if i < 0 {
			i = len(s)
		}
		g.addText(s[:i])
		if s = s[i:]; s == "" {
			break
		}
		switch {
		case s[0] == '*':
			g.parts = append(g.parts, globPart{kind: anyRun})
		case s[0] == '?':
			g.parts = append(g.parts, globPart{kind: anyOne})
		case variables && strings.HasPrefix(s, "${"):
			name, rest, ok := strings.Cut(s[2:], "}")
			if !ok {
				return g, fmt.Errorf("variable ${ has no end")
			}
			if err := g.addVariable(name); err != nil {
				return g, err
			}
			s = rest
			continue
		default:
			g.addText("$")
		}
		s = s[1:]
	}
	return g, nil
}

// literalGlob takes s as it stands, apart from variables.
func literalGlob(s string, variables bool) (glob, error) {
	if !variables {
		return glob{parts: []globPart{{kind: literal, text: s}}}, nil
	}
	g, err := compileGlob(s, true)
	for i, p := range g.parts {
		switch p.kind {
		case anyRun:
			g.parts[i] = globPart{kind: literal, text: "*"}
		case anyOne:
			g.parts[i] = globPart{kind: literal, text: "?"}
		}
	}
	return g, err
}

func (g *glob) addText(s string) {
	if s != "" {
		g.parts = append(g.parts, globPart{kind: literal, text: s})
	}
}

func (g *glob) addVariable(name string) error {
	switch name {
	case "*", "?", "$":
		g.addText(name)
		return nil
	}
	key, fallback, hasFall := strings.Cut(name, ",")
	fallback = strings.TrimSpace(fallback)
	if hasFall {
		if len(fallback) < 2 || fallback[0] != '\'' || fallback[len(fallback)-1] != '\'' {
			return fmt.Errorf("variable ${%s}: write the default in single quotes", name)
		}
		fallback = fallback[1 : len(fallback)-1]
	}
	key = strings.ToLower(strings.TrimSpace(key))
	if !conditionKeyPattern.MatchString(key) {
		return fmt.Errorf("variable ${%s}: want a condition key", name)
	}
	g.parts = append(g.parts, globPart{kind: variable, text: key, fallback: fallback, hasFall: hasFall})
	return nil
}

// resolve puts values in the place of variables. AWS: one without a value, or with
// several, makes the whole statement match nothing.
func (g glob) resolve(keys conditionKeys) ([]globPart, bool) {
	for i, p := range g.parts {
		if p.kind == variable {
			return g.resolveFrom(i, keys)
		}
	}
	return g.parts, true
}

func (g glob) resolveFrom(first int, keys conditionKeys) ([]globPart, bool) {
	parts := append([]globPart(nil), g.parts...)
	for i := first; i < len(parts); i++ {
		if parts[i].kind != variable {
			continue
		}
		text := parts[i].fallback
		if values := keys[parts[i].text]; len(values) == 1 {
			text = values[0]
		} else if !parts[i].hasFall {
			return nil, false
		}
		parts[i] = globPart{kind: literal, text: text}
	}
	return parts, true
}

// match reports whether the whole of s fits the pattern.
func (g glob) match(s string, keys conditionKeys, ignoreCase bool) bool {
	parts, ok := g.resolve(keys)
	return ok && matchParts(flatten(parts, ignoreCase), foldIf(s, ignoreCase))
}

// matchARN reports whether an ARN fits the pattern. AWS: each of the six parts
// that colons divide must fit by itself; a wildcard does not reach across.
func (g glob) matchARN(arn string, keys conditionKeys) bool {
	parts, ok := g.resolve(keys)
	if !ok {
		return false
	}
	pattern := flatten(parts, false)
	if len(pattern) == 1 && pattern[0].run {
		return true
	}
	segments := splitPattern(pattern, 6)
	values := strings.SplitN(arn, ":", 6)
	if len(segments) != 6 || len(values) != 6 {
		return false
	}
	for i := range segments {
		if !matchParts(segments[i], values[i]) {
			return false
		}
	}
	return true
}

// unit is one step of a flattened pattern: any run, any one, or one character.
type unit struct {
	run, one bool
	char     rune
}

func flatten(parts []globPart, ignoreCase bool) []unit {
	var units []unit
	for _, p := range parts {
		switch p.kind {
		case anyRun:
			units = append(units, unit{run: true})
		case anyOne:
			units = append(units, unit{one: true})
		default:
			for _, c := range foldIf(p.text, ignoreCase) {
				units = append(units, unit{char: c})
			}
		}
	}
	return units
}

// splitPattern divides a pattern at its first n-1 literal colons.
func splitPattern(units []unit, n int) [][]unit {
	var segments [][]unit
	start := 0
	for i, u := range units {
		if u.char == ':' && len(segments) < n-1 {
			segments = append(segments, units[start:i])
			start = i + 1
		}
	}
	return append(segments, units[start:])
}

// matchParts takes time proportional to pattern times text: on a mismatch only the
// last run is extended, as an earlier one could not do better.
func matchParts(pattern []unit, s string) bool {
	text := []rune(s)
	p, t, lastRun, resume := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p].run:
			lastRun, resume = p, t
			p++
		case p < len(pattern) && (pattern[p].one || pattern[p].char == text[t]):
			p++
			t++
		case lastRun >= 0:
			resume++
			p, t = lastRun+1, resume
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p].run {
		p++
	}
	return p == len(pattern)
}

func foldIf(s string, fold bool) string {
	if fold {
		return strings.ToLower(s)
	}
	return s
}
