package eventpattern

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError is what Compile returns for a pattern that AWS would refuse.
// Its Error is AWS's own text for the reason; an API adapter puts
// "Event pattern is not valid. Reason: " before it.
type SyntaxError struct {
	// Reason is the text without any location, e.g. "Empty arrays are not allowed".
	Reason string
	// Line and Column say where the parser stood, both counted from 1, columns in UTF-16 units as AWS counts them.
	// Both are 0 for the few reasons that AWS reports without a location: those about an IP range and about complexity.
	Line, Column int

	message string
}

// Error returns Reason followed by AWS's location line,
// "\n at [Source: (String)"…"; line: L, column: C]", which AWS leaves out for some reasons
// and writes twice for those found inside an anything-but list.
func (e *SyntaxError) Error() string { return e.message }

// sourceQuoteLimit is how many characters of the pattern a location line quotes (AWS: the JSON parser's limit).
const sourceQuoteLimit = 500

// location is a place in the pattern's text.
type location struct{ line, column int }

func (at location) describe(source string) string {
	return fmt.Sprintf("[Source: (String)\"%s; line: %d, column: %d]", quoteSource(source), at.line, at.column)
}

// quoteSource returns the pattern as AWS quotes it, up to and including the closing quote:
// control characters other than line ends escaped, and a long text cut short.
func quoteSource(source string) string {
	quoted, rest := cutUTF16(source, sourceQuoteLimit)
	var b strings.Builder
	for _, r := range quoted {
		if isControl(r) && r != '\n' && r != '\r' {
			fmt.Fprintf(&b, "\\u%04X", r)
			continue
		}
		b.WriteRune(r)
	}
	b.WriteByte('"')
	if left := lengthUTF16(rest); left > 0 {
		fmt.Fprintf(&b, "[truncated %d chars]", left)
	}
	return b.String()
}

func isControl(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 }

// cutUTF16 splits s after n UTF-16 units, never inside a character.
func cutUTF16(s string, n int) (head, tail string) {
	for i, r := range s {
		if n -= unitsUTF16(r); n < 0 {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func lengthUTF16(s string) int {
	n := utf8.RuneCountInString(s)
	for _, r := range s {
		if r > 0xffff {
			n++
		}
	}
	return n
}

func unitsUTF16(r rune) int {
	if r > 0xffff {
		return 2
	}
	return 1
}
