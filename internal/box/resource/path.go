package resource

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Path names properties of a model: the steps from its top, where * stands for each
// item of a list or each member of a map.
type Path []string

// parsePointer reads a JSON pointer of a schema such as /properties/Tags/*/Key.
func parsePointer(pointer string) (Path, error) {
	rest, ok := strings.CutPrefix(pointer, "/properties/")
	if !ok || rest == "" {
		return nil, fmt.Errorf("%q is no JSON pointer to a property: it must begin with /properties/", pointer)
	}
	p := Path(strings.Split(rest, "/"))
	for i, step := range p {
		if step == "" {
			return nil, fmt.Errorf("%q has an empty step", pointer)
		}
		p[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
	}
	return p, nil
}

// String is the JSON pointer that schemas name the path by: /properties/Tags/*/Key.
func (p Path) String() string {
	var b strings.Builder
	b.WriteString("/properties")
	for _, step := range p {
		b.WriteByte('/')
		b.WriteString(escapeStep(step))
	}
	return b.String()
}

func escapeStep(step string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
}

// Get returns the value at the path, which has no *.
func (p Path) Get(m Model) (any, bool) {
	var v any = m
	for _, step := range p {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = object[step]; !ok {
			return nil, false
		}
	}
	return v, true
}

// in says whether the model has a value at the path.
func (p Path) in(v any) bool {
	if len(p) == 0 {
		return v != nil
	}
	switch v := v.(type) {
	case map[string]any:
		if p[0] != "*" {
			next, ok := v[p[0]]
			return ok && p[1:].in(next)
		}
		for _, next := range v {
			if p[1:].in(next) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, p.step().in)
	}
	return false
}

// step is the path below a list's items, which schemas name by * or not at all.
func (p Path) step() Path {
	if p[0] == "*" {
		return p[1:]
	}
	return p
}

// without returns v without what is at the path. v itself is not changed.
func (p Path) without(v any) any {
	switch v := v.(type) {
	case map[string]any:
		return p.withoutMember(v)
	case []any:
		below := p.step()
		if len(below) == 0 {
			return []any{}
		}
		list := make([]any, len(v))
		for i := range v {
			list[i] = below.without(v[i])
		}
		return list
	}
	return v
}

func (p Path) withoutMember(v map[string]any) map[string]any {
	object := make(map[string]any, len(v))
	for name, member := range v {
		switch {
		case p[0] != "*" && p[0] != name:
			object[name] = member
		case len(p) > 1:
			object[name] = p[1:].without(member)
		}
	}
	return object
}

// Without returns a copy of the model that lacks what is at the paths. What is deeper is
// shared where no path leads.
func Without(m Model, paths []Path) Model {
	out := maps.Clone(m)
	for _, p := range paths {
		out = p.withoutMember(out)
	}
	return out
}

// encode writes a value as compact JSON with its members in order.
func encode(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "null" // models hold JSON values only
	}
	return strings.TrimSuffix(b.String(), "\n")
}
