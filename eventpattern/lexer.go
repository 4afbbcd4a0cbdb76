package eventpattern

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type token uint8

const (
	tokenEnd token = iota // nothing left
	tokenObjectStart
	tokenObjectEnd
	tokenArrayStart
	tokenArrayEnd
	tokenName
	tokenString
	tokenNumber
	tokenTrue
	tokenFalse
	tokenNull
)

// maxPatternDepth is how deep a pattern may nest (AWS: its JSON parser's limit).
const maxPatternDepth = 1000

const validValues = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"

// lexer reads a pattern's JSON as a stream of tokens. AWS's messages say where its parser (Jackson) stood when it gave
// up, so this one moves exactly as that one does: a field's name is read together with the start of its value,
// numbers and literals are read whole, and the inside of a string only when its text is asked for or the next token is.
type lexer struct {
	source   string
	pos      int // next byte to read
	line     int
	lineFrom int // where the current line starts

	kind       token // current token
	value      token // of the field whose name is the current token
	name       string
	text       string // of the current number, literal, mark or read string
	tokenFrom  int    // first byte of the latest value token
	stringOpen bool   // the current string was only begun

	scopes []scope
}

// scope is an object or array that is being read.
type scope struct {
	root     bool
	object   bool
	entries  int
	from     int // where it starts
	line     int // on this line
	lineFrom int // which starts here
}

func newLexer(source string) *lexer { return &lexer{source: source, line: 1} }

// here returns where the lexer stands, some bytes back.
func (l *lexer) here(back int) location {
	return location{l.line, lengthUTF16(l.source[l.lineFrom:max(l.pos-back, l.lineFrom)]) + 1}
}

// start describes where a scope starts.
func (l *lexer) start(s scope) string {
	if s.root {
		return location{line: 1}.describe(l.source)
	}
	return location{s.line, lengthUTF16(l.source[s.lineFrom:s.from]) + 1}.describe(l.source)
}

// fail returns the error for a reason found where the lexer stands.
func (l *lexer) fail(reason string) *SyntaxError { return l.failAt(reason, l.here(0)) }

func (l *lexer) failAt(reason string, at location) *SyntaxError {
	return &SyntaxError{
		Reason: reason, Line: at.line, Column: at.column,
		message: reason + "\n at " + at.describe(l.source),
	}
}

// again adds where the lexer stands to an error that has a location already.
func (l *lexer) again(err *SyntaxError) *SyntaxError {
	twice := *err
	twice.message += "\n at " + l.here(0).describe(l.source)
	return &twice
}

func (l *lexer) inObject() bool { return l.top().object }

// next moves to the next token. After the value that makes up the whole text it need not be called: what follows is ignored.
func (l *lexer) next() (token, *SyntaxError) {
	kind, err := l.advance()
	if err != nil {
		return tokenEnd, err
	}
	l.kind = kind
	return kind, nil
}

func (l *lexer) advance() (token, *SyntaxError) {
	if l.kind == tokenName {
		return l.value, l.enter(l.value)
	}
	if l.stringOpen {
		if err := l.readString(); err != nil {
			return 0, err
		}
	}
	c, ok, err := l.skipSpace()
	if err != nil {
		return 0, err
	}
	if !ok {
		return tokenEnd, l.endInScope()
	}
	if c == '}' || c == ']' {
		return l.leave(c)
	}
	if c, err = l.skipComma(c); err != nil {
		return 0, err
	}
	if !l.inObject() {
		kind, err := l.readValue(c)
		if err != nil {
			return 0, err
		}
		return kind, l.enter(kind)
	}
	if err := l.readName(c); err != nil {
		return 0, err
	}
	if c, err = l.skipColon(); err != nil {
		return 0, err
	}
	if l.value, err = l.readValue(c); err != nil {
		return 0, err
	}
	return tokenName, nil
}

// enter opens the scope that a token starts, if any.
func (l *lexer) enter(kind token) *SyntaxError {
	if kind != tokenObjectStart && kind != tokenArrayStart {
		return nil
	}
	if len(l.scopes) >= maxPatternDepth {
		reason := fmt.Sprintf("Document nesting depth (%d) exceeds the maximum allowed (%d, from `StreamReadConstraints.getMaxNestingDepth()`)",
			len(l.scopes)+1, maxPatternDepth)
		return &SyntaxError{Reason: reason, message: reason}
	}
	l.scopes = append(l.scopes, scope{object: kind == tokenObjectStart, from: l.tokenFrom, line: l.line, lineFrom: l.lineFrom})
	return nil
}

func (l *lexer) leave(c byte) (token, *SyntaxError) {
	l.tokenFrom = l.pos - 1
	l.text = string(c)
	open := c - 2 // of { and }, [ and ], each pair is two apart
	if top := l.top(); top.kind() == "root" || top.object != (open == '{') {
		want := '}'
		if c == '}' {
			want = ']'
		}
		return 0, l.failAt(fmt.Sprintf("Unexpected close marker '%c': expected '%c' (for %s starting at %s)",
			c, want, top.kind(), l.start(top)), l.here(1))
	}
	top := l.top()
	l.scopes = l.scopes[:len(l.scopes)-1]
	if top.object {
		return tokenObjectEnd, nil
	}
	return tokenArrayEnd, nil
}

func (l *lexer) endInScope() *SyntaxError {
	if len(l.scopes) == 0 {
		return nil
	}
	top := l.top()
	return l.fail(fmt.Sprintf("Unexpected end-of-input: expected close marker for %s (start marker at %s)",
		top.kind(), l.start(top)))
}

// top returns the innermost scope; outside of all, one that stands for the whole text.
func (l *lexer) top() scope {
	if len(l.scopes) == 0 {
		return scope{root: true}
	}
	return l.scopes[len(l.scopes)-1]
}

func (s scope) kind() string {
	switch {
	case s.root:
		return "root"
	case s.object:
		return "Object"
	}
	return "Array"
}

// skipSpace reads past white space and one more byte, which it returns; false at the end of the text.
func (l *lexer) skipSpace() (byte, bool, *SyntaxError) {
	for l.pos < len(l.source) {
		c := l.source[l.pos]
		l.pos++
		switch {
		case c == '/':
			return 0, false, l.unexpected("maybe a (non-standard) comment? (not recognized as one since Feature 'ALLOW_COMMENTS' not enabled for parser)")
		case c > ' ':
			return c, true, nil
		case c == '\n':
			l.newLine()
		case c == '\r':
			if l.pos < len(l.source) && l.source[l.pos] == '\n' {
				l.pos++
			}
			l.newLine()
		case c != ' ' && c != '\t':
			return 0, false, l.failAt(fmt.Sprintf(
				"Illegal character (%s): only regular white space (\\r, \\n, \\t) is allowed between tokens", describeChar(rune(c))), l.here(1))
		}
	}
	return 0, false, nil
}

func (l *lexer) newLine() {
	l.line++
	l.lineFrom = l.pos
}

// mustSkipSpace is skipSpace where the text may not end.
func (l *lexer) mustSkipSpace() (byte, *SyntaxError) {
	c, ok, err := l.skipSpace()
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, l.fail("Unexpected end-of-input within/between " + l.top().kind() + " entries")
	}
	return c, nil
}

func (l *lexer) skipComma(c byte) (byte, *SyntaxError) {
	if len(l.scopes) == 0 {
		return c, nil
	}
	top := &l.scopes[len(l.scopes)-1]
	top.entries++
	if top.entries == 1 {
		return c, nil
	}
	if c != ',' {
		return 0, l.unexpected("was expecting comma to separate " + top.kind() + " entries")
	}
	return l.mustSkipSpace()
}

func (l *lexer) skipColon() (byte, *SyntaxError) {
	c, err := l.mustSkipSpace()
	if err != nil {
		return 0, err
	}
	if c != ':' {
		return 0, l.unexpected("was expecting a colon to separate field name and value")
	}
	return l.mustSkipSpace()
}

// unexpected reports the character whose first byte was read last.
func (l *lexer) unexpected(expectation string) *SyntaxError {
	return l.failAt(fmt.Sprintf("Unexpected character (%s): %s", describeChar(l.lastRune()), expectation), l.here(1))
}

// lastRune returns the character whose first byte was read last.
func (l *lexer) lastRune() rune {
	r, _ := utf8.DecodeRuneInString(l.source[l.pos-1:])
	return r
}

func describeChar(r rune) string {
	if r > 0xffff { // AWS counts in UTF-16 and meets the first half of the pair
		r = 0xd800 + (r-0x10000)>>10
		return fmt.Sprintf("'?' (code %d / 0x%x)", r, r)
	}
	switch {
	case isControl(r):
		return fmt.Sprintf("(CTRL-CHAR, code %d)", r)
	case r > 255:
		return fmt.Sprintf("'%c' (code %d / 0x%x)", r, r, r)
	}
	return fmt.Sprintf("'%c' (code %d)", r, r)
}

// readValue reads a value's first token; its first byte c was read already.
func (l *lexer) readValue(c byte) (token, *SyntaxError) {
	l.tokenFrom = l.pos - 1
	switch c {
	case '"':
		l.stringOpen = true
		return tokenString, nil
	case '[':
		l.text = "["
		return tokenArrayStart, nil
	case '{':
		l.text = "{"
		return tokenObjectStart, nil
	case 't':
		return tokenTrue, l.readLiteral("true")
	case 'f':
		return tokenFalse, l.readLiteral("false")
	case 'n':
		return tokenNull, l.readLiteral("null")
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return tokenNumber, l.readNumber(c)
	case '}':
		return 0, l.unexpected("expected a value")
	case 'N':
		return 0, l.refuseLiteral("NaN")
	case 'I':
		return 0, l.refuseLiteral("Infinity")
	case '+':
		return 0, l.refusePlus()
	}
	if isWordStart(l.lastRune()) {
		l.pos--
		return 0, l.unrecognized()
	}
	return 0, l.unexpected("expected a valid value " + validValues)
}

func (l *lexer) readLiteral(literal string) *SyntaxError {
	l.text = literal
	rest := l.source[l.tokenFrom:]
	if !strings.HasPrefix(rest, literal) {
		n := 1
		for n < len(rest) && n < len(literal) && rest[n] == literal[n] {
			n++
		}
		l.pos = l.tokenFrom + n
		return l.unrecognized()
	}
	l.pos = l.tokenFrom + len(literal)
	if l.pos == len(l.source) || l.source[l.pos] < '0' {
		return nil
	}
	if r, _ := utf8.DecodeRuneInString(l.source[l.pos:]); isWordPart(r) {
		return l.unrecognized()
	}
	return nil
}

// unrecognized reports the word that starts at the current token and goes on at least to where the lexer stands.
func (l *lexer) unrecognized() *SyntaxError {
	for l.pos < len(l.source) {
		r, size := utf8.DecodeRuneInString(l.source[l.pos:])
		if !isWordPart(r) {
			break
		}
		l.pos += size
	}
	word, rest := cutUTF16(l.source[l.tokenFrom:l.pos], 256)
	if rest != "" {
		l.pos = l.tokenFrom + len(word)
		word += "..."
	}
	return l.fail("Unrecognized token '" + word + "': was expecting " + validValues)
}

// isWordStart and isWordPart are Java's Character.isJavaIdentifierStart and isJavaIdentifierPart, of one UTF-16 unit.
func isWordStart(r rune) bool {
	return r <= 0xffff && unicode.In(r, unicode.L, unicode.Nl, unicode.Sc, unicode.Pc)
}

func isWordPart(r rune) bool {
	return isWordStart(r) || r <= 0xffff && unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Cf) ||
		r < 0x09 || r > 0x0d && r < 0x1c || r > 0x7e && r < 0xa0
}

func (l *lexer) refuseLiteral(literal string) *SyntaxError {
	if err := l.readLiteral(literal); err != nil {
		return err
	}
	return l.fail("Non-standard token '" + literal + "': enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow")
}
