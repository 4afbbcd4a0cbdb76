package inputtransform

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// The limits of what Compile takes, in characters (AWS), and of what Render makes, in bytes.
const (
	MaxInput    = 8192
	MaxTemplate = 8192
	// MaxPaths is how many paths a template may have (AWS).
	MaxPaths = 100
	// MaxBody is how many bytes a filled-in template may have. AWS names no limit, but its targets have one, and none of them takes more;
	// without one, a template that has the event hundreds of times would fill the memory.
	MaxBody = 6 << 20
)

// Input is what a target makes of an event; at most one of Text, Path and Template is set. If none is, the target gets the event itself.
type Input struct {
	// Text is a JSON text that is sent as it stands (AWS: Input).
	Text *string `json:"text,omitempty"`
	// Path names the part of the event that is sent (AWS: InputPath). {} is sent for an empty path, for null and where the event has nothing.
	Path *string `json:"path,omitempty"`
	// Template is filled in with parts of the event (AWS: InputTransformer).
	Template *Template `json:"template,omitempty"`
}

// Template is a text with placeholders, and the paths that they stand for (AWS: InputTransformer).
type Template struct {
	// Paths are the paths by the names of their placeholders (AWS: InputPathsMap). It matters whether there is a map: if it is nil,
	// placeholders that stand for nothing are left as they are; if it is not, they are refused.
	Paths map[string]string `json:"paths"`
	// Text is the template (AWS: InputTemplate).
	Text string `json:"text"`
}

// Variables are the values of reserved variables that the event does not have itself.
type Variables struct {
	RuleARN, RuleName string
	// Ingestion is when the bus took the event; it is written in UTC with milliseconds.
	Ingestion time.Time
}

// Transform is a compiled Input. It never changes and any number of goroutines may use it.
type Transform struct {
	text     *string
	path     *Path
	empty    bool // the path is empty
	template *template
}

// Compile reads an Input. What AWS would refuse is refused with an *Error.
func Compile(in Input) (*Transform, error) {
	if count(in.Text != nil, in.Path != nil, in.Template != nil) > 1 {
		return nil, &Error{before: "Only one of Input, InputPath, or InputTransformer must be provided", after: "."}
	}
	switch {
	case in.Text != nil:
		return compileText(*in.Text)
	case in.Path != nil:
		return compilePath(*in.Path)
	case in.Template != nil:
		t, err := compileTemplate(*in.Template)
		if err != nil {
			return nil, err
		}
		return &Transform{template: t}, nil
	}
	return &Transform{}, nil
}

func count(set ...bool) int {
	n := 0
	for _, is := range set {
		if is {
			n++
		}
	}
	return n
}

// compileText takes an empty text as AWS does, although nothing is ever delivered then.
func compileText(text string) (*Transform, error) {
	if n := utf8.RuneCountInString(text); n > MaxInput {
		return nil, tooLong("Input", n, MaxInput)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if s, ok := checkJSON([]byte(text), false, MaxDepth); !ok && text != "" {
		return nil, syntaxError("JSON syntax error in input", ": ", "", text, &s)
	}
	return &Transform{text: &text}, nil
}

func compilePath(text string) (*Transform, error) {
	if text == "" {
		return &Transform{empty: true}, nil
	}
	path, err := ParsePath(text)
	if err != nil {
		return nil, invalidPath(err)
	}
	return &Transform{path: path}, nil
}

func invalidPath(err error) *Error {
	return &Error{before: "InputPath", after: " is invalid.", Detail: err.Error()}
}

func tooLong(member string, is, most int) *Error {
	return &Error{before: member, after: fmt.Sprintf(" is too long: it has %d characters, the most is %d.", is, most)}
}

// Render returns what the target gets of an event, a JSON object. It may share the memory of the event or of the Transform: do not change it.
// The error is an *InvalidJSONError if the filled-in template is not JSON, which an empty Input is not either; a *TooLargeError if it
// would be too large; an *EventError if the event cannot be read.
func (t *Transform) Render(event []byte, v Variables) ([]byte, error) {
	switch {
	case t.text != nil:
		if *t.text == "" {
			return nil, &InvalidJSONError{Line: 1, Column: 1, Reason: "the input is empty"}
		}
		return []byte(*t.text), nil
	case t.empty:
		return []byte("{}"), nil
	case t.path != nil:
		return t.renderPath(event)
	case t.template != nil:
		return t.template.render(event, v)
	}
	return event, nil
}

func (t *Transform) renderPath(event []byte) ([]byte, error) {
	value, err := t.path.get(event)
	if err != nil {
		return nil, err
	}
	if value == nil || value[0] == 'n' {
		return []byte("{}"), nil
	}
	return value, nil
}

// checkJSON reports whether a text is one JSON value or, if several are allowed, values on lines of their own, and nests at most so many
// levels deep; if not, the scanner says what is wrong.
func checkJSON(text []byte, several bool, depth int) (s scanner, ok bool) {
	s.text, s.most = text, depth
	s.skipSpace()
	for {
		if !s.skipValue() {
			return s, false
		}
		end := s.pos
		s.skipSpace()
		if s.pos == len(text) {
			return s, true
		}
		if !several || !hasLineEnd(text[end:s.pos]) {
			s.fail(s.pos, "something follows the JSON value")
			return s, false
		}
	}
}

func hasLineEnd(space []byte) bool {
	for _, c := range space {
		if c == '\n' || c == '\r' {
			return true
		}
	}
	return false
}
