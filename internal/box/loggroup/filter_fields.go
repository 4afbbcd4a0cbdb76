package loggroup

import (
	"strings"
	"unicode"
)

// field is one of the fields that a pattern of space-delimited fields names.
type field struct {
	holds condition[string] // nil: whatever it is
}

// fields is a pattern such as [ip, user, ..., status_code = 4*, bytes]: the
// fields before the ellipsis and those after it.
type fields struct {
	before, after []field
	ellipsis      bool
}

func compileFields(text string) (filter, error) {
	s := &scanner{text: text}
	s.next()
	var p fields
	for {
		s.skipSpace()
		switch {
		case s.take("..."):
			if p.ellipsis {
				return nil, errFilter("it has more than one ellipsis")
			}
			p.ellipsis = true
		default:
			f, err := s.field()
			if err != nil {
				return nil, err
			}
			if p.ellipsis {
				p.after = append(p.after, f)
			} else {
				p.before = append(p.before, f)
			}
		}
		s.skipSpace()
		if s.take("]") {
			break
		}
		if !s.take(",") {
			return nil, errFilter("a comma or ] is expected at character %d", s.at)
		}
	}
	if s.skipSpace(); !s.end() {
		return nil, errFilter("nothing may follow the closing bracket")
	}
	return p.match, nil
}

// fieldEnds are the characters that end a value within brackets.
const fieldEnds = ",]()&|"

// field reads a field's name, alone or with conditions that begin with it.
func (s *scanner) field() (field, error) {
	start := s.at
	name, err := s.fieldName()
	if err != nil && s.peek() != '(' {
		return field{}, err
	}
	if s.skipSpace(); err == nil && (s.peek() == ',' || s.peek() == ']') {
		return field{}, nil
	}
	s.at = start
	holds, err := either(s, func() (condition[string], error) {
		s.skipSpace()
		again, err := s.fieldName()
		if err != nil {
			return nil, err
		}
		if name == "" {
			name = again
		}
		if again != name {
			return nil, errFilter("the conditions of the field %s name %s", name, again)
		}
		s.skipSpace()
		c, compares, err := s.comparison(fieldEnds)
		if err != nil {
			return nil, err
		}
		if !compares {
			return nil, errFilter("an operator is expected after the field %s", name)
		}
		return func(text string) bool {
			n, isNumber := parseNumber(text)
			return c.holds(text, n, isNumber)
		}, nil
	})
	return field{holds}, err
}

func (s *scanner) fieldName() (string, error) {
	start := s.at
	for c := s.peek(); c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c); c = s.peek() {
		s.next()
	}
	if s.at == start {
		return "", errFilter("a field's name of letters, digits and underscores is expected at character %d", s.at)
	}
	return s.text[start:s.at], nil
}

func (p *fields) match(message string) bool {
	values := splitFields(message)
	named := len(p.before) + len(p.after)
	if len(values) < named || len(values) > named && !p.ellipsis {
		return false
	}
	return hold(p.before, values) && hold(p.after, values[len(values)-len(p.after):])
}

func hold(list []field, values []string) bool {
	for i, f := range list {
		if f.holds != nil && !f.holds(values[i]) {
			return false
		}
	}
	return true
}

// splitFields splits a message at its spaces. AWS: what stands between double
// quotes or brackets is one field.
func splitFields(message string) []string {
	var values []string
	for {
		message = strings.TrimLeftFunc(message, unicode.IsSpace)
		if message == "" {
			return values
		}
		closing := ""
		switch message[0] {
		case '"':
			closing = `"`
		case '[':
			closing = "]"
		}
		if closing != "" {
			if inside, rest, closed := strings.Cut(message[1:], closing); closed {
				values, message = append(values, inside), rest
				continue
			}
		}
		end := strings.IndexFunc(message, unicode.IsSpace)
		if end < 0 {
			end = len(message)
		}
		values, message = append(values, message[:end]), message[end:]
	}
}
