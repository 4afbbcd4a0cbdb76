package loggroup

import (
	"strconv"
	"strings"
	"unicode"
)

// comparison is what a value of a log event is compared with: = and != compare
// numbers, texts with asterisks and regular expressions, the others numbers.
type comparison struct {
	op     string
	number *float64
	text   func(string) bool
}

// operators, the longer ones first.
var operators = []string{"!=", "<=", ">=", "=", "<", ">"}

// comparison reads an operator and its value. False when no operator comes next.
func (s *scanner) comparison(ends string) (comparison, bool, error) {
	var c comparison
	for _, op := range operators {
		if s.take(op) {
			c.op = op
			break
		}
	}
	if c.op == "" {
		return c, false, nil
	}
	s.skipSpace()
	switch s.peek() {
	case '"':
		text, err := s.quoted()
		if err != nil {
			return c, false, err
		}
		c.text = globPattern(text)
	case '%':
		re, err := s.regexp()
		if err != nil {
			return c, false, err
		}
		c.text = re.MatchString
	default:
		word := s.word(ends)
		if word == "" {
			return c, false, errFilter("a value must follow %s", c.op)
		}
		if n, ok := parseNumber(word); ok {
			c.number = &n
		} else {
			c.text = globPattern(word)
		}
	}
	if c.number == nil && c.op != "=" && c.op != "!=" {
		return c, false, errFilter("%s compares with a number", c.op)
	}
	return c, true, nil
}

// word reads up to a space or one of the characters that end a value.
func (s *scanner) word(ends string) string {
	start := s.at
	for !s.end() && !unicode.IsSpace(s.peek()) && !strings.ContainsRune(ends, s.peek()) {
		s.next()
	}
	return s.text[start:s.at]
}

// parseNumber reads a decimal number, with or without an exponent.
func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

// holds compares a value: its text, and its number if it is one.
func (c *comparison) holds(text string, number float64, isNumber bool) bool {
	if c.number == nil {
		return c.text(text) == (c.op == "=")
	}
	if !isNumber {
		return c.op == "!="
	}
	switch n := *c.number; c.op {
	case "=":
		return number == n
	case "!=":
		return number != n
	case "<":
		return number < n
	case "<=":
		return number <= n
	case ">":
		return number > n
	default:
		return number >= n
	}
}

// condition is a part of a pattern that holds or not of what it is asked about.
type condition[T any] func(T) bool

// either reads conditions joined by && and ||. AWS: parentheses come first, then
// &&, then ||.
func either[T any](s *scanner, one func() (condition[T], error)) (condition[T], error) {
	var alternatives []condition[T]
	for {
		c, err := both(s, one)
		if err != nil {
			return nil, err
		}
		alternatives = append(alternatives, c)
		if s.skipSpace(); !s.take("||") {
			break
		}
	}
	if len(alternatives) == 1 {
		return alternatives[0], nil
	}
	return func(v T) bool {
		for _, c := range alternatives {
			if c(v) {
				return true
			}
		}
		return false
	}, nil
}

func both[T any](s *scanner, one func() (condition[T], error)) (condition[T], error) {
	var all []condition[T]
	for {
		c, err := unit(s, one)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
		if s.skipSpace(); !s.take("&&") {
			break
		}
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return func(v T) bool {
		for _, c := range all {
			if !c(v) {
				return false
			}
		}
		return true
	}, nil
}

func unit[T any](s *scanner, one func() (condition[T], error)) (condition[T], error) {
	s.skipSpace()
	if !s.take("(") {
		return one()
	}
	c, err := either(s, one)
	if err != nil {
		return nil, err
	}
	if s.skipSpace(); !s.take(")") {
		return nil, errFilter("a parenthesis is not closed at character %d", s.at)
	}
	return c, nil
}
