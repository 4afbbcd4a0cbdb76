package inputtransform

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Error is what Compile returns for an Input that AWS's PutTargets would refuse.
type Error struct {
	// Line and Column say where a text is not JSON, both counted from 1, columns in UTF-16 units as AWS counts them.
	// Both are 0 for other errors.
	Line, Column int
	// Detail says what AWS's words leave out, such as which path is invalid and why; "" if nothing.
	Detail string

	before, after string // of AWS's text, around the words about the target
}

// Message returns AWS's words for the error, which name the target by its ID.
func (e *Error) Message(targetID string) string {
	return e.before + " for target " + targetID + e.after
}

// Error returns AWS's words without those about the target, and what they leave out.
func (e *Error) Error() string {
	text := e.before + e.after
	if e.Detail != "" {
		text += " (" + e.Detail + ")"
	}
	return text
}

// InvalidJSONError is what Render returns if a filled-in template is not JSON (AWS: not delivered, INVALID_JSON).
type InvalidJSONError struct {
	// Body is the text that is not JSON, which goes to the dead-letter queue.
	Body []byte
	// Line and Column say where it is not, both counted from 1, columns in UTF-16 units.
	Line, Column int
	// Reason says what is wrong there, e.g. "a string has no closing quote".
	Reason string
}

// Error returns the reason and the place.
func (e *InvalidJSONError) Error() string {
	return fmt.Sprintf("the filled-in template is not JSON: %s (line %d, column %d)", e.Reason, e.Line, e.Column)
}

// TooLargeError is what Render returns if a body would have more than MaxBody bytes.
type TooLargeError struct {
	// Size is an upper bound of what the body would have, in bytes.
	Size int
}

// Error returns the size and the limit.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the filled-in template would have about %d bytes, the most is %d", e.Size, MaxBody)
}

// syntaxError returns the error for a text that is not JSON where the scanner says.
func syntaxError(before, after, end, source string, s *scanner) *Error {
	line, column := location(source, s.at)
	return &Error{
		Line: line, Column: column, Detail: s.reason,
		before: before,
		after:  fmt.Sprintf("%s[Source: (String)\"%s; line: %d, column: %d]%s", after, quoteSource(source), line, column, end),
	}
}

// location returns the line and column of an offset.
func location(text string, at int) (line, column int) {
	line, lineFrom := 1, 0
	for i := range at {
		if text[i] == '\n' || text[i] == '\r' && !strings.HasPrefix(text[i+1:], "\n") {
			line++
			lineFrom = i + 1
		}
	}
	return line, lengthUTF16(text[lineFrom:at]) + 1
}

// sourceQuoteLimit is how many characters of a text a location quotes (AWS: the JSON parser's limit).
const sourceQuoteLimit = 500

// quoteSource returns a text as AWS quotes it, up to and including the closing quote:
// control characters other than line ends escaped, and a long text cut short.
func quoteSource(source string) string {
	quoted, rest := cutUTF16(source, sourceQuoteLimit)
	var b strings.Builder
	for _, r := range quoted {
		if (r < 0x20 || r >= 0x7f && r < 0xa0) && r != '\n' && r != '\r' {
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

// cutUTF16 splits s after n UTF-16 units, never inside a character.
func cutUTF16(s string, n int) (head, tail string) {
	for i, r := range s {
		n--
		if r > 0xffff {
			n--
		}
		if n < 0 {
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
