package eventpattern

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// readText returns the current token's text, reading the string that was only begun.
func (l *lexer) readText() (string, *SyntaxError) {
	if l.stringOpen {
		if err := l.readString(); err != nil {
			return "", err
		}
	}
	return l.text, nil
}

func (l *lexer) readString() *SyntaxError {
	l.stringOpen = false
	text, err := l.readQuoted("string value", "Unexpected end-of-input: was expecting closing quote for a string value")
	l.text = text
	return err
}

func (l *lexer) readName(c byte) *SyntaxError {
	if c != '"' {
		return l.unexpected("was expecting double-quote to start field name")
	}
	name, err := l.readQuoted("name", "Unexpected end-of-input in field name")
	l.name = name
	return err
}

// readQuoted reads up to and with the closing quote; the opening one was read already.
func (l *lexer) readQuoted(what, cutShort string) (string, *SyntaxError) {
	from := l.pos
	var unescaped []byte
	for l.pos < len(l.source) {
		c := l.source[l.pos]
		switch {
		case c == '"':
			l.pos++
			if unescaped == nil {
				return l.source[from : l.pos-1], nil
			}
			return string(append(unescaped, l.source[from:l.pos-1]...)), nil
		case c == '\\':
			unescaped = append(unescaped, l.source[from:l.pos]...)
			l.pos++
			var err *SyntaxError
			if unescaped, err = l.readEscape(unescaped); err != nil {
				return "", err
			}
			from = l.pos
		case c < ' ':
			l.pos++
			return "", l.failAt(fmt.Sprintf(
				"Illegal unquoted character (%s): has to be escaped using backslash to be included in %s", describeChar(rune(c)), what), l.here(1))
		default:
			l.pos++
		}
	}
	return "", l.fail(cutShort)
}

// readEscape reads what follows a backslash and appends the character it stands for.
func (l *lexer) readEscape(dst []byte) ([]byte, *SyntaxError) {
	if l.pos >= len(l.source) {
		return nil, l.fail("Unexpected end-of-input in character escape sequence")
	}
	c := l.source[l.pos]
	l.pos++
	switch c {
	case 'u':
		return l.readUnicodeEscape(dst)
	case '"', '\\', '/':
		return append(dst, c), nil
	case 'b':
		return append(dst, '\b'), nil
	case 'f':
		return append(dst, '\f'), nil
	case 'n':
		return append(dst, '\n'), nil
	case 'r':
		return append(dst, '\r'), nil
	case 't':
		return append(dst, '\t'), nil
	}
	return nil, l.failAt(fmt.Sprintf("Unrecognized character escape %s", describeChar(l.lastRune())), l.here(1))
}

func (l *lexer) readUnicodeEscape(dst []byte) ([]byte, *SyntaxError) {
	r, err := l.readHex()
	if err != nil {
		return nil, err
	}
	if r < 0xd800 || r > 0xdbff || !strings.HasPrefix(l.source[l.pos:], "\\u") {
		return utf8.AppendRune(dst, r), nil
	}
	back := l.pos
	l.pos += 2
	low, err := l.readHex()
	if err != nil {
		return nil, err
	}
	if low < 0xdc00 || low > 0xdfff {
		l.pos = back // an unpaired half; the other escape stands for itself
		return utf8.AppendRune(dst, utf8.RuneError), nil
	}
	return utf8.AppendRune(dst, 0x10000+(r-0xd800)<<10+(low-0xdc00)), nil
}

func (l *lexer) readHex() (rune, *SyntaxError) {
	var r rune
	for range 4 {
		if l.pos >= len(l.source) {
			return 0, l.fail("Unexpected end-of-input in character escape sequence")
		}
		digit := hexDigit(l.source[l.pos])
		l.pos++
		if digit < 0 {
			return 0, l.failAt(fmt.Sprintf("Unexpected character (%s): expected a hex-digit for character escape sequence",
				describeChar(l.lastRune())), l.here(1))
		}
		r = r<<4 | rune(digit)
	}
	return r, nil
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
