package template

import (
	"fmt"
	"strings"
)

// Error is what is wrong with a template or with the parameters given for it, and where.
type Error struct {
	// Path leads to the place: "Resources/Rule/Properties/Targets/0". It is empty for the template
	// as a whole and for text that could not be read.
	Path string
	// Line and Column are counted from 1, columns in characters. Both are 0 where no one place can be
	// named, such as for an unknown parameter in a request.
	Line, Column int
	// Message says what is wrong, in AWS's words where they are known.
	Message string

	cause error
}

// Error returns the message followed by the place: "… (at Resources/Rule/Properties/Targets/0, line 12, column 9)".
func (e *Error) Error() string {
	var at []string
	if e.Path != "" {
		at = append(at, "at "+e.Path)
	}
	if e.Line > 0 {
		at = append(at, fmt.Sprintf("line %d, column %d", e.Line, e.Column))
	}
	if len(at) == 0 {
		return e.Message
	}
	return e.Message + " (" + strings.Join(at, ", ") + ")"
}

// Unwrap returns the Resolver's error if it is one.
func (e *Error) Unwrap() error { return e.cause }
