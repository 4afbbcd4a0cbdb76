package resource

import (
	"strings"
)

// resolve follows references from a schema to the one that is meant; nil if there is none.
func (s *Schema) resolve(schema any) map[string]any {
	for range maxSchemaDepth {
		object, ok := schema.(map[string]any)
		if !ok {
			return nil
		}
		ref, ok := object["$ref"].(string)
		if !ok {
			return object
		}
		target, known := s.refs[ref]
		if !known {
			target = s.lookup(ref)
		}
		schema = target
	}
	return nil // a circle
}

// lookup finds what a reference within the document names; nil if there is none.
func (s *Schema) lookup(ref string) any {
	rest, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return nil
	}
	var v any = s.document
	for step := range strings.SplitSeq(strings.TrimPrefix(rest, "/"), "/") {
		if rest == "" {
			break
		}
		step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
		switch at := v.(type) {
		case map[string]any:
			v = at[step]
		case []any:
			v = item(at, step)
		default:
			return nil
		}
	}
	return v
}

// item is the item of a list that a pointer's step names.
func item(list []any, step string) any {
	n := 0
	for _, c := range step {
		if c < '0' || c > '9' || n > len(list) {
			return nil
		}
		n = 10*n + int(c-'0')
	}
	if step == "" || n >= len(list) {
		return nil
	}
	return list[n]
}

// plain takes the words properties and items out of a path as some schemas have them:
// /properties/Code/properties/ZipFile is the property ZipFile of Code.
func (s *Schema) plain(p Path) Path {
	out := Path{p[0]}
	properties, _ := s.document["properties"].(map[string]any)
	at := s.resolve(properties[p[0]])
	for _, step := range p[1:] {
		members, _ := at["properties"].(map[string]any)
		_, isMember := members[step]
		switch {
		case isMember:
			at = s.resolve(members[step])
		case step == "properties":
			continue
		case step == "items" || step == "*" || isNumber(step):
			step = "*"
			at = s.resolve(at["items"])
		default:
			at = nil
		}
		out = append(out, step)
	}
	return out
}

func isNumber(step string) bool {
	return step != "" && strings.Trim(step, "0123456789") == ""
}
