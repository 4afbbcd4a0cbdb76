package jq

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/itchyny/gojq"
)

// MaxProgram is how long the text of a program may be, in bytes.
const MaxProgram = 32 << 10

// Program is a compiled jq program. It is safe for concurrent use.
type Program struct {
	text string
	code *gojq.Code
	// cheapUpTo is the largest input, as measured by normalize, for which what the
	// program can cost is known to be little; 0 where there is none.
	cheapUpTo int
	// costly is set when that turned out to be wrong.
	costly atomic.Bool
}

// cheap reports whether the program may run in this process over an input of the
// size.
func (p *Program) cheap(size int) bool { return size <= p.cheapUpTo && !p.costly.Load() }

// String returns the text that the program was compiled from.
func (p *Program) String() string { return p.text }

// SyntaxError says what is wrong with the text of a program, and where. Line
// and Column count from 1, columns in characters; both are 0 where what is
// wrong has no one place.
type SyntaxError struct {
	Line, Column int
	Message      string
}

// Error returns the message after its place.
func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return e.Message
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message)
}

// Compile makes a program of its text. What would reach beyond the input is
// refused by name: $ENV, env, input, inputs, input_filename, debug, stderr,
// modules. The error is a *SyntaxError.
func Compile(text string) (*Program, error) {
	if len(text) > MaxProgram {
		return nil, &SyntaxError{Message: fmt.Sprintf("a jq program is at most %d bytes long, this is %d", MaxProgram, len(text))}
	}
	q, err := gojq.Parse(text)
	if err != nil {
		return nil, syntaxError(text, err)
	}
	if err := check(q); err != nil {
		return nil, &SyntaxError{Message: clip(err.Error())}
	}
	code, err := gojq.Compile(q, functions()...)
	if err != nil {
		return nil, &SyntaxError{Message: clip(err.Error())}
	}
	return &Program{text: text, code: code, cheapUpTo: cheapUpTo(q)}, nil
}

// syntaxError gives the parser's error its place in text.
func syntaxError(text string, err error) error {
	var pe *gojq.ParseError
	if !errors.As(err, &pe) {
		return &SyntaxError{Message: clip(err.Error())}
	}
	at := max(0, min(pe.Offset-len(pe.Token), len(text)))
	before := strings.ToValidUTF8(text[:at], "\uFFFD")
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	return &SyntaxError{Line: line, Column: column, Message: clip(pe.Error())}
}
