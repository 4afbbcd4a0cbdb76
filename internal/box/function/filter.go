package function

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/rialto-bus/rialto/eventpattern"
)

// maxFilters is how many patterns a mapping can have. AWS: 5, unless more are asked for.
const maxFilters = 5

// filter is a mapping's FilterCriteria. AWS: a record that matches one of the patterns
// is for the function, any other is deleted.
type filter []filterPattern

type filterPattern struct {
	pattern *eventpattern.Pattern
	body    bodyFormat // what the pattern says of the body; bodyAny if it does not ask
}

// bodyFormat is the form of a message's body, or the one that a pattern is for. AWS: where the two
// differ, the record does not match, whatever else the pattern says.
type bodyFormat int

const (
	bodyAny bodyFormat = iota
	bodyText
	bodyJSON
)

// compileFilter reads the patterns; its errors are for the caller.
func compileFilter(patterns []string) (filter, error) {
	var f filter
	for _, text := range patterns {
		p, err := eventpattern.Compile([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("Invalid filter pattern definition. %w", err)
		}
		f = append(f, filterPattern{p, patternBody(text)})
	}
	return f, nil
}

// patternBody says which form of body a pattern is for: an object asks for the fields of
// a body in JSON, a list for texts.
func patternBody(pattern string) bodyFormat {
	var top struct {
		Body json.RawMessage `json:"body"`
	}
	if json.Unmarshal([]byte(pattern), &top) != nil || len(top.Body) == 0 {
		return bodyAny
	}
	if top.Body[0] == '{' {
		return bodyJSON
	}
	return bodyText
}

// matches says whether a record is for the function.
func (f filter) matches(r *record) (bool, error) {
	if len(f) == 0 {
		return true, nil
	}
	text, err := r.json()
	if err != nil {
		return false, err
	}
	form, parsed := bodyText, text
	if body := bytes.TrimSpace([]byte(r.Body)); len(body) > 0 && (body[0] == '{' || body[0] == '[') && json.Valid(body) {
		with, err := r.withBody(body)
		if err != nil {
			return false, err
		}
		form, parsed = bodyJSON, with
	}
	for _, p := range f {
		if p.body != bodyAny && p.body != form {
			continue
		}
		// What cannot be read, nested too deeply for example, matches no pattern.
		if ok, err := p.pattern.Match(parsed); err == nil && ok {
			return true, nil
		}
	}
	return false, nil
}
