package target

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/bus"
)

// resolve returns what a parameter's value stands for: itself, or what the
// original event has at the path that it is. AWS: a text goes without its quotes,
// an object or a list as compact JSON; what is missing or null is empty.
func resolve(value string, event []byte) (string, error) {
	path, err := bus.DynamicPath(value)
	if path == nil || err != nil {
		return value, err
	}
	found, ok := path.Get(event)
	if !ok || string(found) == "null" {
		return "", nil
	}
	if found[0] != '"' {
		return string(found), nil
	}
	var text string
	if err := json.Unmarshal(found, &text); err != nil {
		return "", fmt.Errorf("read the event at %s: %w", value, err)
	}
	return text, nil
}

// resolveParameters resolves all values. Each path value must come to something:
// a segment that vanishes would call what nobody meant.
func resolveParameters(p *bus.HTTPParameters, event []byte) (*bus.HTTPParameters, error) {
	resolved := &bus.HTTPParameters{}
	if p == nil {
		return resolved, nil
	}
	for _, value := range p.Path {
		segment, err := resolve(value, event)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(segment) == "" {
			return nil, fmt.Errorf("the event has no value for the path parameter at %s", value)
		}
		resolved.Path = append(resolved.Path, segment)
	}
	var err error
	if resolved.Headers, err = resolveAll(p.Headers, event); err != nil {
		return nil, err
	}
	for name, value := range resolved.Headers {
		if strings.ContainsFunc(value, isControl) {
			return nil, fmt.Errorf("what the event has at %s cannot be the value of header %s: it holds a control character", p.Headers[name], name)
		}
	}
	resolved.Query, err = resolveAll(p.Query, event)
	return resolved, err
}

func resolveAll(values map[string]string, event []byte) (map[string]string, error) {
	resolved := make(map[string]string, len(values))
	for name, value := range values {
		var err error
		if resolved[name], err = resolve(value, event); err != nil {
			return nil, err
		}
	}
	return resolved, nil
}

// isControl says that a character may not be in a header's value.
func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
