package loggroup

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
)

// selector is a path into a log event, such as $.users[0].email.
type selector []step

// step leads to a member, to an item, or to all of them.
type step struct {
	name  string
	index int // used when item is set
	item  bool
	all   bool
}

// maxWildcards is AWS's number of selectors with a wildcard in a pattern; one
// selector may have one.
const maxWildcards = 3

// compileJSON reads a pattern such as { $.a = 1 && ($.b = "x*" || $.c NOT EXISTS) }.
func compileJSON(text string) (filter, error) {
	s := &jsonScanner{scanner: &scanner{text: text}}
	s.next()
	holds, err := either(s.scanner, s.condition)
	if err != nil {
		return nil, err
	}
	if s.skipSpace(); !s.take("}") {
		return nil, errFilter("&&, || or } is expected at character %d", s.at)
	}
	if s.skipSpace(); !s.end() {
		return nil, errFilter("nothing may follow the closing brace")
	}
	return func(message string) bool {
		v, ok := parseDocument(message)
		return ok && holds(v)
	}, nil
}

// parseDocument reads a log event that is a JSON object or array, as a whole.
func parseDocument(message string) (v any, ok bool) {
	if !json.Valid([]byte(message)) { // a Decoder does not look behind the first value
		return nil, false
	}
	d := json.NewDecoder(strings.NewReader(message))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	switch v.(type) {
	case map[string]any, []any:
		return v, true
	}
	return nil, false
}

type jsonScanner struct {
	*scanner
	wildcards int
}

// condition reads a selector and what is asked of it.
func (s *jsonScanner) condition() (condition[any], error) {
	path, err := s.selector()
	if err != nil {
		return nil, err
	}
	s.skipSpace()
	c, compares, err := s.comparison("(){}&|")
	if err != nil {
		return nil, err
	}
	if compares {
		return func(v any) bool { return c.anyHolds(path.of(v)) }, nil
	}
	words := s.word("(){}&|")
	s.skipSpace()
	if word := s.word("(){}&|"); word != "" {
		words += " " + word
	}
	switch words {
	case "IS NULL":
		return isValue(path, nil), nil
	case "IS TRUE":
		return isValue(path, true), nil
	case "IS FALSE":
		return isValue(path, false), nil
	case "NOT EXISTS":
		return func(v any) bool { return len(path.of(v)) == 0 }, nil
	}
	return nil, errFilter("an operator is expected after a property: one of = != < <= > >=, IS NULL, IS TRUE, IS FALSE or NOT EXISTS")
}

func isValue(path selector, want any) condition[any] {
	return func(v any) bool {
		for _, found := range path.of(v) {
			switch found.(type) {
			case nil, bool:
				if found == want {
					return true
				}
			}
		}
		return false
	}
}

// selector reads a path that begins with $.
func (s *jsonScanner) selector() (selector, error) {
	if !s.take("$") {
		return nil, errFilter("a property such as $.name is expected at character %d", s.at)
	}
	var path selector
	wildcards := 0
	for {
		var next step
		var err error
		switch {
		case s.take("."):
			next, err = s.member()
		case s.take("["):
			next, err = s.item()
		default:
			if s.wildcards += min(wildcards, 1); s.wildcards > maxWildcards {
				return nil, errFilter("it has more than %d properties with a wildcard", maxWildcards)
			}
			if len(path) == 0 {
				return nil, errFilter("a property's name must follow $")
			}
			return path, nil
		}
		if err != nil {
			return nil, err
		}
		if next.all {
			if wildcards++; wildcards > 1 {
				return nil, errFilter("a property has more than one wildcard")
			}
		}
		path = append(path, next)
	}
}

func (s *jsonScanner) member() (step, error) {
	if s.take("*") {
		return step{all: true}, nil
	}
	start := s.at
	for c := s.peek(); c == '_' || c == '-' || unicode.IsLetter(c) || unicode.IsDigit(c); c = s.peek() {
		s.next()
	}
	if s.at == start {
		return step{}, errFilter("a property's name has letters, digits, hyphens and underscores; that at character %d has not", s.at)
	}
	return step{name: s.text[start:s.at]}, nil
}

func (s *jsonScanner) item() (step, error) {
	inside := s.word("]")
	if !s.take("]") {
		return step{}, errFilter("a bracket is not closed")
	}
	if inside == "*" {
		return step{all: true, item: true}, nil
	}
	n, err := strconv.ParseUint(inside, 10, 31)
	if err != nil {
		return step{}, errFilter("[%s] is not the number of an item", inside)
	}
	return step{item: true, index: int(n)}, nil
}

// of returns the values that the path leads to.
func (p selector) of(v any) []any {
	values := []any{v}
	for _, st := range p {
		var next []any
		for _, v := range values {
			next = append(next, st.of(v)...)
		}
		values = next
	}
	return values
}

func (st step) of(v any) []any {
	switch v := v.(type) {
	case map[string]any:
		if st.item {
			return nil
		}
		if member, ok := v[st.name]; ok && !st.all {
			return []any{member}
		}
		if !st.all {
			return nil
		}
		var members []any
		for _, member := range v {
			members = append(members, member)
		}
		return members
	case []any:
		if st.all {
			return v
		}
		if st.item && st.index < len(v) {
			return v[st.index : st.index+1]
		}
	}
	return nil
}

// anyHolds compares each value that is a text, a number or a boolean.
func (c *comparison) anyHolds(values []any) bool {
	for _, v := range values {
		switch v := v.(type) {
		case string:
			if c.holds(v, 0, false) {
				return true
			}
		case json.Number:
			n, err := v.Float64()
			if c.holds(v.String(), n, err == nil) {
				return true
			}
		case bool:
			if c.holds(strconv.FormatBool(v), 0, false) {
				return true
			}
		}
	}
	return false
}
