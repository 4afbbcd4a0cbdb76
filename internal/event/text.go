package event

import (
	"bytes"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	eachByte = 0x0101010101010101
	highBits = 0x8080808080808080
)

// PlainRun returns how many bytes at the start of s stand for themselves inside
// a JSON string: all but the quote, the backslash and the control characters.
// It looks at eight bytes at a time, since the details of events are mostly such text.
func PlainRun[T string | []byte](s T) int {
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, backslash := x^'"'*eachByte, x^'\\'*eachByte
		// A byte's high bit is set where the byte is below the one subtracted: exact for
		// the first such byte, and only that one counts.
		special := ((x - ' '*eachByte) | (quote - eachByte) | (backslash - eachByte)) &^ x & highBits
		if special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

const hexDigits = "0123456789abcdef"

// AppendText appends s as a JSON string, escaping what JSON must have escaped and
// no more. What is not UTF-8 becomes U+FFFD.
func AppendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, `\ufffd`...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
		i++
		start = i
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// appendUnescaped appends the inside of a JSON string with no more escapes than
// JSON asks for.
func appendUnescaped(dst, text []byte) []byte {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 {
			return append(dst, text...)
		}
		dst = append(dst, text[:i]...)
		var n int
		dst, n = appendEscape(dst, text[i:])
		text = text[i+n:]
	}
}

// appendEscape appends what the escape at the start of text stands for, and
// returns the escape's length.
func appendEscape(dst, text []byte) ([]byte, int) {
	r, n := escaped(text)
	if utf16.IsSurrogate(r) {
		second, m := escaped(text[n:])
		whole := utf16.DecodeRune(r, second)
		if whole == utf8.RuneError { // half a character: there is no other way to write it
			return append(dst, text[:n]...), n
		}
		r, n = whole, n+m
	}
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r)), n
	case r < ' ':
		return append(dst, text[:n]...), n
	}
	return utf8.AppendRune(dst, r), n
}

// escaped reads the escape that text begins with: the character, or -1 if it is
// written by a letter or is none, and the length.
func escaped(text []byte) (rune, int) {
	if len(text) < 2 || text[0] != '\\' {
		return -1, min(len(text), 1)
	}
	switch text[1] {
	case '"', '\\', '/':
		return rune(text[1]), 2
	case 'u':
		if len(text) >= 6 {
			if code, err := strconv.ParseUint(string(text[2:6]), 16, 16); err == nil {
				return rune(code), 6
			}
		}
	}
	return -1, 2
}
