package awsapi

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/event"
)

// maxJSONDepth bounds how deep values that no member wants may nest.
const maxJSONDepth = 1000

var errNotJSON = serialization("The request body is not valid JSON.")

// scanner reads JSON text token by token. It accepts what RFC 8259 accepts and
// nothing else, but for strings that are not UTF-8, which it mends.
type scanner struct {
	data    []byte
	pos     int
	depth   int
	scratch []byte // the last string that held an escape
}

// peek moves to the next token and returns its first byte, or 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// end reports whether only white space is left.
func (s *scanner) end() bool {
	s.peek()
	return s.pos == len(s.data)
}

// object reads the object that starts here and calls each with every key, at its
// value, which each must read. The key is good until the next string is read.
func (s *scanner) object(each func(key []byte) error) error {
	s.pos++
	if s.peek() == '}' {
		s.pos++
		return nil
	}
	for {
		if s.peek() != '"' {
			return errNotJSON
		}
		key, err := s.string()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return errNotJSON
		}
		s.pos++
		if err := each(key); err != nil {
			return err
		}
		if more, err := s.comma('}'); !more {
			return err
		}
	}
}

// array reads the list that starts here and calls each at every item.
func (s *scanner) array(each func(i int) error) error {
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return nil
	}
	for i := 0; ; i++ {
		if err := each(i); err != nil {
			return err
		}
		if more, err := s.comma(']'); !more {
			return err
		}
	}
}

// comma reads what follows a value: a comma, or the closing bracket.
func (s *scanner) comma(closing byte) (more bool, err error) {
	switch s.peek() {
	case ',':
		s.pos++
		return true, nil
	case closing:
		s.pos++
		return false, nil
	}
	return false, errNotJSON
}

// skip reads a value of any kind.
func (s *scanner) skip() error {
	switch s.peek() {
	case '{', '[':
		return s.skipNested()
	case '"':
		_, err := s.string()
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	_, err := s.number()
	return err
}

func (s *scanner) skipNested() error {
	if s.depth++; s.depth > maxJSONDepth {
		return serialization("The request body nests too deep.")
	}
	defer func() { s.depth-- }()
	if s.data[s.pos] == '{' {
		return s.object(func([]byte) error { return s.skip() })
	}
	return s.array(func(int) error { return s.skip() })
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return errNotJSON
	}
	s.pos += len(word)
	return nil
}

// number reads a number and returns its text.
func (s *scanner) number() ([]byte, error) {
	start := s.pos
	s.accept('-')
	if !s.accept('0') && s.digits() == 0 {
		return nil, errNotJSON
	}
	if s.accept('.') && s.digits() == 0 {
		return nil, errNotJSON
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if s.digits() == 0 {
			return nil, errNotJSON
		}
	}
	return s.data[start:s.pos], nil
}

func (s *scanner) accept(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) digits() (n int) {
	for s.pos < len(s.data) && s.data[s.pos] >= '0' && s.data[s.pos] <= '9' {
		s.pos++
		n++
	}
	return n
}

// string reads the string that starts here. What it returns is UTF-8, shares
// memory with the scanner, and is good until the next string is read.
func (s *scanner) string() ([]byte, error) {
	s.pos++
	start := s.pos
	s.passPlain()
	if s.accept('"') {
		return mend(s.data[start : s.pos-1]), nil
	}
	if s.scratch == nil {
		s.scratch = make([]byte, 0, min(len(s.data)-start, scratchSize))
	}
	text := append(s.scratch[:0], s.data[start:s.pos]...)
	for !s.accept('"') {
		if !s.accept('\\') || s.pos == len(s.data) {
			return nil, errNotJSON
		}
		if c := escapes[s.data[s.pos]]; c != 0 {
			s.pos++
			text = append(text, c)
		} else {
			var ok bool
			if text, ok = s.escapeCode(text); !ok {
				return nil, errNotJSON
			}
		}
		start = s.pos
		s.passPlain()
		text = append(text, s.data[start:s.pos]...)
	}
	s.scratch = text
	return mend(text), nil
}

// scratchSize is enough for most details of events.
const scratchSize = 2 << 10

// passPlain steps over the bytes that stand for themselves.
func (s *scanner) passPlain() {
	s.pos += event.PlainRun(s.data[s.pos:])
}

// mend returns text as UTF-8.
func mend(text []byte) []byte {
	if utf8.Valid(text) {
		return text
	}
	return bytes.ToValidUTF8(text, []byte("\uFFFD"))
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escapeCode reads the u and its four digits after a backslash and adds its character to text.
func (s *scanner) escapeCode(text []byte) ([]byte, bool) {
	if !s.accept('u') {
		return text, false
	}
	r, ok := s.hex()
	if utf16.IsSurrogate(r) {
		r = s.secondHalf(r)
	}
	return utf8.AppendRune(text, r), ok
}

// secondHalf reads the escape that completes a surrogate pair. Half a pair alone
// becomes U+FFFD and what follows it is left.
func (s *scanner) secondHalf(first rune) rune {
	at := s.pos
	if s.accept('\\') && s.accept('u') {
		if second, ok := s.hex(); ok {
			if r := utf16.DecodeRune(first, second); r != utf8.RuneError {
				return r
			}
		}
	}
	s.pos = at
	return utf8.RuneError
}

// hex reads four hexadecimal digits.
func (s *scanner) hex() (r rune, ok bool) {
	if len(s.data)-s.pos < 4 {
		return 0, false
	}
	for range 4 {
		c := s.data[s.pos]
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
		s.pos++
	}
	return r, true
}
