package bus

import (
	"errors"
	"strconv"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/event"
)

// maxDepth is how deep a detail may nest. AWS: what is deeper in an event than 1000
// levels is not processed. The event itself is one of them.
const maxDepth = eventpattern.MaxEventDepth - 1

var errDetail = errors.New("detail is malformed")

// checkDetail checks that detail is one JSON object, that it nests no deeper than
// maxDepth and that its integers fit into 64 bits, signed, as AWS requires.
func checkDetail(detail string) error {
	s := detailScanner{text: detail}
	s.space()
	if s.at >= len(s.text) || s.text[s.at] != '{' {
		return errDetail
	}
	if !s.value(0) {
		return errDetail
	}
	s.space()
	if s.at != len(s.text) || !utf8.ValidString(detail) {
		return errDetail
	}
	return nil
}

// detailScanner reads JSON (RFC 8259). Its methods say false at the first fault.
type detailScanner struct {
	text string
	at   int
}

func (s *detailScanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take steps over c after white space, if it is next.
func (s *detailScanner) take(c byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == c {
		s.at++
		return true
	}
	return false
}

func (s *detailScanner) value(depth int) bool {
	s.space()
	if s.at >= len(s.text) {
		return false
	}
	switch c := s.text[s.at]; {
	case c == '{':
		return depth < maxDepth && s.object(depth)
	case c == '[':
		return depth < maxDepth && s.array(depth)
	case c == '"':
		return s.string()
	case c == 't':
		return s.word("true")
	case c == 'f':
		return s.word("false")
	case c == 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *detailScanner) object(depth int) bool {
	s.at++
	if s.take('}') {
		return true
	}
	for {
		s.space()
		if !s.string() || !s.take(':') || !s.value(depth+1) {
			return false
		}
		if s.take('}') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *detailScanner) array(depth int) bool {
	s.at++
	if s.take(']') {
		return true
	}
	for {
		if !s.value(depth + 1) {
			return false
		}
		if s.take(']') {
			return true
		}
		if !s.take(',') {
			return false
		}
	}
}

func (s *detailScanner) word(w string) bool {
	if len(s.text)-s.at < len(w) || s.text[s.at:s.at+len(w)] != w {
		return false
	}
	s.at += len(w)
	return true
}

func (s *detailScanner) string() bool {
	if s.at >= len(s.text) || s.text[s.at] != '"' {
		return false
	}
	for s.at++; ; s.at++ {
		s.at += event.PlainRun(s.text[s.at:])
		switch {
		case s.at >= len(s.text):
			return false
		case s.text[s.at] == '"':
			s.at++
			return true
		case s.text[s.at] != '\\' || !s.escape():
			return false
		}
	}
}

// escape leaves at on the escape's last character.
func (s *detailScanner) escape() bool {
	s.at++
	if s.at >= len(s.text) {
		return false
	}
	switch s.text[s.at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if len(s.text)-s.at < 5 {
			return false
		}
		_, err := strconv.ParseUint(s.text[s.at+1:s.at+5], 16, 16)
		s.at += 4
		return err == nil
	}
	return false
}

func (s *detailScanner) number() bool {
	start := s.at
	if s.at < len(s.text) && s.text[s.at] == '-' {
		s.at++
	}
	if s.at < len(s.text) && s.text[s.at] == '0' {
		s.at++
	} else if !s.digits() {
		return false
	}
	integer := true
	if s.at < len(s.text) && s.text[s.at] == '.' {
		integer = false
		s.at++
		if !s.digits() {
			return false
		}
	}
	if s.at < len(s.text) && (s.text[s.at] == 'e' || s.text[s.at] == 'E') {
		integer = false
		s.at++
		if s.at < len(s.text) && (s.text[s.at] == '+' || s.text[s.at] == '-') {
			s.at++
		}
		if !s.digits() {
			return false
		}
	}
	if !integer || s.at-start < 19 {
		return true
	}
	_, err := strconv.ParseInt(s.text[start:s.at], 10, 64)
	return err == nil
}

func (s *detailScanner) digits() bool {
	start := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.at > start
}
