package inventory

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// MaxSelector is the longest selector accepted, in bytes.
const MaxSelector = 4096

// Selector picks servers by their labels, or instances by their tags, in the
// syntax of Kubernetes' label selectors: requirements joined by commas, all of
// which must hold. The zero value picks everything.
type Selector struct {
	text  string
	terms []requirement
}

type operator int

const (
	opIn operator = iota
	opNotIn
	opExists
	opAbsent
)

type requirement struct {
	key    string
	op     operator
	values []string
}

// ParseSelector reads a selector: `key=value`, `key==value`, `key!=value`,
// `key in (a,b)`, `key notin (a,b)`, `key`, `!key`. As in Kubernetes, `!=` and
// `notin` also hold where the key is missing. Beyond Kubernetes, a key or value
// may be put in double quotes, for AWS tags that hold spaces or punctuation.
func ParseSelector(s string) (Selector, error) {
	if len(s) > MaxSelector {
		return Selector{}, invalid("the selector is %d bytes long, more than the %d allowed", len(s), MaxSelector)
	}
	p := selectorParser{rest: s}
	sel := Selector{text: strings.TrimSpace(s)}
	if sel.text == "" {
		return sel, nil
	}
	for {
		r, err := p.requirement()
		if err != nil {
			return Selector{}, invalid("selector %q: %s", s, err)
		}
		sel.terms = append(sel.terms, r)
		p.space()
		if p.rest == "" {
			return sel, nil
		}
		if !p.take(",") {
			return Selector{}, invalid("selector %q: expected a comma before %q", s, p.rest)
		}
	}
}

// String returns the selector as it was written.
func (s Selector) String() string { return s.text }

// Empty reports whether the selector picks everything.
func (s Selector) Empty() bool { return len(s.terms) == 0 }

// Matches reports whether every requirement holds for labels.
func (s Selector) Matches(labels map[string]string) bool {
	for _, r := range s.terms {
		if !r.holds(labels) {
			return false
		}
	}
	return true
}

func (r requirement) holds(labels map[string]string) bool {
	v, ok := labels[r.key]
	switch r.op {
	case opExists:
		return ok
	case opAbsent:
		return !ok
	case opIn:
		return ok && slices.Contains(r.values, v)
	default:
		return !ok || !slices.Contains(r.values, v)
	}
}

type selectorParser struct{ rest string }

func (p *selectorParser) space() { p.rest = strings.TrimLeftFunc(p.rest, unicode.IsSpace) }

func (p *selectorParser) take(s string) bool {
	p.space()
	rest, ok := strings.CutPrefix(p.rest, s)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *selectorParser) requirement() (requirement, error) {
	if p.take("!") {
		key, err := p.word("a key after !")
		return requirement{key: key, op: opAbsent}, err
	}
	key, err := p.word("a key")
	if err != nil {
		return requirement{}, err
	}
	switch {
	case p.take("!="):
		return p.single(key, opNotIn)
	case p.take("=="), p.take("="):
		return p.single(key, opIn)
	}
	p.space()
	if p.rest == "" || p.rest[0] == ',' {
		return requirement{key: key, op: opExists}, nil
	}
	op, err := p.word("an operator")
	if err != nil {
		return requirement{}, err
	}
	switch op {
	case "in":
		return p.set(key, opIn)
	case "notin":
		return p.set(key, opNotIn)
	}
	return requirement{}, fmt.Errorf("%q is not an operator; there are =, ==, !=, in and notin", op)
}

func (p *selectorParser) single(key string, op operator) (requirement, error) {
	p.space()
	if p.rest == "" || p.rest[0] == ',' {
		return requirement{key: key, op: op, values: []string{""}}, nil
	}
	v, err := p.word("a value")
	return requirement{key: key, op: op, values: []string{v}}, err
}

func (p *selectorParser) set(key string, op operator) (requirement, error) {
	if !p.take("(") {
		return requirement{}, fmt.Errorf("expected ( after in or notin")
	}
	r := requirement{key: key, op: op}
	for {
		v, err := p.word("a value")
		if err != nil {
			return requirement{}, err
		}
		r.values = append(r.values, v)
		if p.take(")") {
			return r, nil
		}
		if !p.take(",") {
			return requirement{}, fmt.Errorf("expected , or ) in a list of values")
		}
	}
}

// word reads a key, value or operator: quoted, or up to the next character
// that means something.
func (p *selectorParser) word(what string) (string, error) {
	p.space()
	if strings.HasPrefix(p.rest, `"`) {
		end := strings.IndexByte(p.rest[1:], '"')
		if end < 0 {
			return "", fmt.Errorf("a quote is not closed")
		}
		w := p.rest[1 : 1+end]
		p.rest = p.rest[end+2:]
		return w, nil
	}
	end := strings.IndexFunc(p.rest, endsWord)
	if end < 0 {
		end = len(p.rest)
	}
	if end == 0 {
		return "", fmt.Errorf("expected %s", what)
	}
	w := p.rest[:end]
	p.rest = p.rest[end:]
	return w, nil
}

// endsWord reports whether a character cannot be part of a word without quotes.
func endsWord(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`=!,()"`, r) }
