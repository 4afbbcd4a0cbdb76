package template

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// jsonReader reads strict JSON (RFC 8259) into nodes that know their place, which encoding/json does not tell.
type jsonReader struct {
	s            string
	at           int
	line, column int
	depth        int
}

func readJSON(s string) (*node, error) {
	r := &jsonReader{s: s, line: 1, column: 1}
	n, err := r.value()
	if err != nil {
		return nil, err
	}
	r.space()
	if r.at < len(r.s) {
		return nil, r.fail("unexpected %s after the end of the template", r.peek())
	}
	return n, nil
}

// fail returns AWS's text for broken JSON with the reason that AWS leaves out.
func (r *jsonReader) fail(format string, args ...any) error {
	return r.failAt(r.line, r.column, format, args...)
}

func (r *jsonReader) failAt(line, column int, format string, args ...any) error {
	n := node{line: line, column: column}
	return n.errorf("Template format error: JSON not well-formed: "+format, args...)
}

// peek describes what stands at the reader.
func (r *jsonReader) peek() string {
	if r.at >= len(r.s) {
		return "end of text"
	}
	c, _ := utf8.DecodeRuneInString(r.s[r.at:])
	return strconv.QuoteRune(c)
}

func (r *jsonReader) advance(n int) {
	for _, c := range r.s[r.at : r.at+n] {
		r.column++
		if c == '\n' {
			r.line++
			r.column = 1
		}
	}
	r.at += n
}

func (r *jsonReader) space() {
	end := r.at
	for end < len(r.s) && strings.IndexByte(" \t\r\n", r.s[end]) >= 0 {
		end++
	}
	r.advance(end - r.at)
}

func (r *jsonReader) next() byte {
	r.space()
	if r.at >= len(r.s) {
		return 0
	}
	return r.s[r.at]
}

func (r *jsonReader) value() (*node, error) {
	c := r.next()
	n := &node{line: r.line, column: r.column}
	if r.depth++; r.depth > MaxDepth {
		return nil, n.errorf("Template format error: objects and lists are nested more than %d levels deep.", MaxDepth)
	}
	defer func() { r.depth-- }()
	switch {
	case c == '{':
		return n, r.object(n)
	case c == '[':
		return n, r.list(n)
	case c == '"':
		n.kind = text
		var err error
		n.text, err = r.string()
		return n, err
	case c == '-' || c >= '0' && c <= '9':
		n.kind = number
		return n, r.number(n)
	}
	for word, k := range map[string]kind{"true": boolean, "false": boolean, "null": null} {
		if strings.HasPrefix(r.s[r.at:], word) {
			n.kind, n.text = k, word
			r.advance(len(word))
			return n, nil
		}
	}
	return nil, r.fail("expected a value, found %s", r.peek())
}

func (r *jsonReader) object(n *node) error {
	n.kind = object
	r.advance(1)
	if r.next() == '}' {
		r.advance(1)
		return nil
	}
	seen := map[string]bool{}
	for {
		if r.next() != '"' {
			return r.fail("expected a key in double quotes, found %s", r.peek())
		}
		k := key{line: r.line, column: r.column}
		var err error
		if k.name, err = r.string(); err != nil {
			return err
		}
		if seen[k.name] {
			return duplicateKey(k)
		}
		seen[k.name] = true
		if r.next() != ':' {
			return r.fail("expected ':' after the key %q, found %s", k.name, r.peek())
		}
		r.advance(1)
		v, err := r.value()
		if err != nil {
			return err
		}
		n.keys, n.items = append(n.keys, k), append(n.items, v)
		switch r.next() {
		case ',':
			r.advance(1)
		case '}':
			r.advance(1)
			return nil
		default:
			return r.fail("expected ',' or '}' after the value of %q, found %s", k.name, r.peek())
		}
	}
}

func duplicateKey(k key) error {
	n := node{line: k.line, column: k.column}
	return n.errorf("Template format error: duplicate key %q in one object. Every key may be given once.", k.name)
}

func (r *jsonReader) list(n *node) error {
	n.kind = list
	r.advance(1)
	if r.next() == ']' {
		r.advance(1)
		return nil
	}
	for {
		v, err := r.value()
		if err != nil {
			return err
		}
		n.items = append(n.items, v)
		switch r.next() {
		case ',':
			r.advance(1)
		case ']':
			r.advance(1)
			return nil
		default:
			return r.fail("expected ',' or ']' in a list, found %s", r.peek())
		}
	}
}

func (r *jsonReader) number(n *node) error {
	end := r.at
	for end < len(r.s) && strings.IndexByte("+-.0123456789eE", r.s[end]) >= 0 {
		end++
	}
	n.text = r.s[r.at:end]
	if !isJSONNumber(n.text) {
		return r.fail("%q is not a number", n.text)
	}
	r.advance(end - r.at)
	return nil
}

// string reads a string in quotes.
func (r *jsonReader) string() (string, error) {
	line, column := r.line, r.column
	r.advance(1)
	var b strings.Builder
	for r.at < len(r.s) {
		end := r.at
		for end < len(r.s) && r.s[end] != '"' && r.s[end] != '\\' && r.s[end] >= ' ' {
			end++
		}
		b.WriteString(r.s[r.at:end])
		r.advance(end - r.at)
		switch {
		case r.at >= len(r.s):
		case r.s[r.at] == '"':
			r.advance(1)
			return b.String(), nil
		case r.s[r.at] == '\\':
			c, err := r.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(c)
		default:
			return "", r.fail("a string holds the control character %s, which must be escaped", r.peek())
		}
	}
	return "", r.failAt(line, column, "the string that begins here has no closing quote")
}

func (r *jsonReader) escape() (rune, error) {
	if r.at+1 >= len(r.s) {
		return 0, r.fail("unexpected end of text in a string")
	}
	c := r.s[r.at+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		r.advance(2)
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, r.fail(`\%c is not an escape sequence`, c)
	}
	first, err := r.unit()
	if err != nil || !utf16.IsSurrogate(first) {
		return first, err
	}
	if strings.HasPrefix(r.s[r.at:], `\u`) {
		second, err := r.unit()
		if err != nil {
			return 0, err
		}
		if c := utf16.DecodeRune(first, second); c != utf8.RuneError {
			return c, nil
		}
	}
	return 0, r.fail(`\u%04x is half of a surrogate pair`, first)
}

// unit reads \u and four hexadecimal digits.
func (r *jsonReader) unit() (rune, error) {
	if len(r.s) < r.at+6 {
		return 0, r.fail(`\u needs four hexadecimal digits`)
	}
	v, err := strconv.ParseUint(r.s[r.at+2:r.at+6], 16, 16)
	if err != nil {
		return 0, r.fail(`\u needs four hexadecimal digits`)
	}
	r.advance(6)
	return rune(v), nil
}
