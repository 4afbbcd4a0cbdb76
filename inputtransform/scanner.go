package inputtransform

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how many objects and arrays may lie within one another (AWS: deeper events are not processed), in events as in templates.
// In a body, where an event may lie within a template, it is twice as many.
const MaxDepth = 1000

// scanner reads past JSON values and checks them. Its methods return false where the text is not JSON.
type scanner struct {
	text   []byte
	pos    int
	depth  int
	most   int  // how deep it may be
	spaced bool // there was white space between tokens

	reason string // what is wrong
	at     int    // where the token starts that is
}

func (s *scanner) fail(at int, reason string) bool {
	s.at, s.reason = at, reason
	if at >= len(s.text) {
		s.reason = "it ends too early"
	}
	return false
}

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.pos >= len(s.text) {
		return 0
	}
	return s.text[s.pos]
}

func (s *scanner) skipSpace() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
			s.spaced = true
		default:
			return
		}
	}
}

// enter reads an opening brace or bracket; more is false if its closing one follows, which is read, too.
func (s *scanner) enter(closing byte) (more, ok bool) {
	if s.depth++; s.depth > s.most {
		return false, s.fail(s.pos, "it is nested too deeply")
	}
	s.pos++
	s.skipSpace()
	if s.peek() != closing {
		return true, true
	}
	s.pos++
	s.depth--
	return false, true
}

// next reads the comma or the closing mark that follows a field or an element.
func (s *scanner) next(closing byte) (more, ok bool) {
	s.skipSpace()
	switch s.peek() {
	case ',':
		s.pos++
		s.skipSpace()
		return true, true
	case closing:
		s.pos++
		s.depth--
		return false, true
	}
	return false, s.fail(s.pos, "a comma or a closing mark must follow a value")
}

// name reads a field's name with its quotes and the colon.
func (s *scanner) name() (name []byte, ok bool) {
	from := s.pos
	if s.peek() != '"' {
		return nil, s.fail(s.pos, "a field's name must be a string")
	}
	if !s.skipString() {
		return nil, false
	}
	name = s.text[from:s.pos]
	s.skipSpace()
	if s.peek() != ':' {
		return nil, s.fail(s.pos, "a colon must follow a field's name")
	}
	s.pos++
	s.skipSpace()
	return name, true
}

func (s *scanner) skipValue() bool {
	switch s.peek() {
	case '{':
		more, ok := s.enter('}')
		for more && ok {
			if _, ok = s.name(); !ok || !s.skipValue() {
				return false
			}
			more, ok = s.next('}')
		}
		return ok
	case '[':
		more, ok := s.enter(']')
		for more && ok {
			if !s.skipValue() {
				return false
			}
			more, ok = s.next(']')
		}
		return ok
	}
	return s.skipScalar()
}

func (s *scanner) skipScalar() bool {
	switch s.peek() {
	case '"':
		return s.skipString()
	case 't':
		return s.skipLiteral("true")
	case 'f':
		return s.skipLiteral("false")
	case 'n':
		return s.skipLiteral("null")
	}
	return s.skipNumber()
}

func (s *scanner) skipLiteral(literal string) bool {
	from := s.pos
	end := from + len(literal)
	if end > len(s.text) || string(s.text[from:end]) != literal || end < len(s.text) && isWordPart(s.text[end]) {
		return s.fail(from, "a value is neither an object, an array, a string, a number, true, false nor null")
	}
	s.pos = end
	return true
}

// isWordPart reports whether c goes on a word: a literal with more after it is another word, as nullnull.
func isWordPart(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$' || c >= utf8.RuneSelf
}

func (s *scanner) skipNumber() bool {
	from := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	switch c := s.peek(); {
	case c == '0':
		s.pos++
		if s.skipDigits() {
			return s.fail(from, "a number has no leading zeros")
		}
	case !s.skipDigits():
		return s.fail(from, "a value is neither an object, an array, a string, a number, true, false nor null")
	}
	if s.peek() == '.' {
		s.pos++
		if !s.skipDigits() {
			return s.fail(from, "a digit must follow a decimal point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.skipDigits() {
			return s.fail(from, "an exponent needs digits")
		}
	}
	return true
}

func (s *scanner) skipDigits() bool {
	from := s.pos
	for s.pos < len(s.text) && s.text[s.pos] >= '0' && s.text[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > from
}

func (s *scanner) skipString() bool {
	from := s.pos
	s.pos++
	for {
		s.pos += plainRun(s.text[s.pos:])
		if s.pos >= len(s.text) {
			return s.fail(from, "a string has no closing quote")
		}
		switch s.text[s.pos] {
		case '"':
			s.pos++
			return true
		case '\\':
			if !s.skipEscape() {
				return s.fail(from, "a string has an unknown escape")
			}
		default:
			return s.fail(from, "a string has a control character that is not escaped")
		}
	}
}

func (s *scanner) skipEscape() bool {
	s.pos++
	if s.pos >= len(s.text) {
		return false
	}
	c := s.text[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if hexDigit(s.peek()) < 0 {
				return false
			}
			s.pos++
		}
		return true
	}
	return false
}

// plainRun returns how many bytes at the start of text are neither a quote, a backslash nor a control
// character. It looks at eight at a time: events are mostly such text.
func plainRun(text []byte) int {
	const eachByte, highBits = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(text)-i >= 8; i += 8 {
		x := binary.LittleEndian.Uint64(text[i:])
		quote, backslash := x^'"'*eachByte, x^'\\'*eachByte
		// A byte's high bit is set where the byte is below the one subtracted: exact for the first such
		// byte, and only that one counts.
		special := ((x - ' '*eachByte) | (quote - eachByte) | (backslash - eachByte)) &^ x & highBits
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// appendUnescaped appends what the inside of a JSON string stands for.
func appendUnescaped(dst, inside []byte) []byte {
	for {
		n := plainRun(inside)
		dst = append(dst, inside[:n]...)
		if n == len(inside) {
			return dst
		}
		char, size := unescape(inside[n:])
		dst = utf8.AppendRune(dst, char)
		inside = inside[n+size:]
	}
}

// unescape returns the character that the escape at the start of text stands for and the escape's length. Half a character is U+FFFD.
func unescape(text []byte) (char rune, size int) {
	switch c := text[1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		char = hexRune(text[2:6])
		if !utf16.IsSurrogate(char) {
			return char, 6
		}
		if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
			if pair := utf16.DecodeRune(char, hexRune(text[8:12])); pair != utf8.RuneError {
				return pair, 12
			}
		}
		return utf8.RuneError, 6
	default:
		return rune(c), 2
	}
}

func hexRune(digits []byte) rune {
	var char rune
	for _, c := range digits {
		char = char<<4 | rune(hexDigit(c))
	}
	return char
}

// appendCompact appends a JSON text without the white space between its tokens.
func appendCompact(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		from := i
		switch c := text[i]; c {
		case ' ', '\t', '\n', '\r':
			i++
			continue
		case '"':
			i = stringEnd(text, i)
		default:
			i++
		}
		dst = append(dst, text[from:i]...)
	}
	return dst
}

// stringEnd returns where the string of a JSON text ends that starts at the given place.
func stringEnd(text []byte, at int) int {
	for i := at + 1; i < len(text); {
		i += plainRun(text[i:])
		if i >= len(text) || text[i] == '"' {
			return i + 1
		}
		i += 2
	}
	return len(text)
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s { // what is not UTF-8 becomes U+FFFD
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&0xf])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
