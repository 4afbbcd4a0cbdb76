package resource

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// Coerce returns a copy of a model in which texts, numbers and booleans are of the type that the
// schema asks for, where their text can be read as one: "5" becomes 5 for an integer, 80
// becomes "80" for a text, "true" becomes true. AWS: CloudFormation does this with the
// properties of templates, Cloud Control does not. Values that do not fit stay as they are.
func (s *Schema) Coerce(m Model) (Model, error) {
	v, err := normalize(m)
	if err != nil {
		return nil, err
	}
	top := map[string]any{}
	for _, name := range assertions {
		if member, there := s.document[name]; there {
			top[name] = member
		}
	}
	c := coercion{schema: s, left: maxCost}
	out, _ := c.value(v, []any{top}).(map[string]any)
	return out, nil
}

// coercion is bounded like a validation: once nothing is left, values stay as they are.
type coercion struct {
	schema *Schema
	left   int
}

// value converts v for the schemas that may apply to it.
func (c *coercion) value(v any, schemas []any) any {
	applied := c.flatten(nil, schemas, 0)
	if c.left -= 1 + len(applied); c.left < 0 || len(applied) == 0 {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) {
			out[name] = c.value(v[name], c.members(applied, name))
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = c.value(v[i], items(applied, i))
		}
		return out
	case nil:
		return nil
	}
	return convert(v, wantedTypes(applied))
}

// flatten follows references and adds the alternatives of schemas.
func (c *coercion) flatten(into []map[string]any, schemas []any, depth int) []map[string]any {
	for _, schema := range schemas {
		object := c.schema.resolve(schema)
		if c.left--; object == nil || depth > maxSchemaDepth || c.left < 0 {
			continue
		}
		into = append(into, object)
		for _, name := range []string{"allOf", "anyOf", "oneOf"} {
			if list, ok := object[name].([]any); ok {
				into = c.flatten(into, list, depth+1)
			}
		}
		for _, name := range []string{"then", "else"} {
			if branch, ok := object[name].(map[string]any); ok {
				into = c.flatten(into, []any{branch}, depth+1)
			}
		}
	}
	return into
}

// members are the schemas of an object's member.
func (c *coercion) members(applied []map[string]any, name string) []any {
	var schemas []any
	for _, schema := range applied {
		properties, _ := schema["properties"].(map[string]any)
		if member, there := properties[name]; there {
			schemas = append(schemas, member)
			continue
		}
		matched := false
		byPattern, _ := schema["patternProperties"].(map[string]any)
		if c.left -= len(byPattern) * (1 + len(name)/64); c.left < 0 {
			return nil
		}
		for text, member := range byPattern {
			if p, err := c.schema.pattern(text); err == nil && p.MatchString(name) {
				schemas, matched = append(schemas, member), true
			}
		}
		if others, ok := schema["additionalProperties"].(map[string]any); ok && !matched {
			schemas = append(schemas, others)
		}
	}
	return schemas
}

// items are the schemas of a list's item.
func items(applied []map[string]any, i int) []any {
	var schemas []any
	for _, schema := range applied {
		switch all := schema["items"].(type) {
		case map[string]any:
			schemas = append(schemas, all)
		case []any:
			if i < len(all) {
				schemas = append(schemas, all[i])
			}
		}
	}
	return schemas
}

// wantedTypes are the types that the schemas name, in their order.
func wantedTypes(applied []map[string]any) []string {
	var wanted []string
	for _, schema := range applied {
		switch t := schema["type"].(type) {
		case string:
			wanted = append(wanted, t)
		case []any:
			for _, name := range t {
				if text, ok := name.(string); ok {
					wanted = append(wanted, text)
				}
			}
		}
	}
	return wanted
}

// convert makes a scalar one of the wanted types, unless it is one or cannot be.
func convert(v any, wanted []string) any {
	if slices.ContainsFunc(wanted, func(t string) bool { return isType(v, t) }) {
		return v
	}
	for _, t := range wanted {
		if converted := readAs(v, t); converted != nil {
			return converted
		}
	}
	return v
}

func isType(v any, t string) bool {
	switch v := v.(type) {
	case string:
		return t == "string"
	case bool:
		return t == "boolean"
	case json.Number:
		return t == "number" || t == "integer" && isInteger(v)
	}
	return false
}

// readAs returns nil when the value cannot be read as the type.
func readAs(v any, t string) any {
	text := scalar(v)
	switch t {
	case "string":
		return text
	case "boolean":
		switch strings.ToLower(text) {
		case "true":
			return true
		case "false":
			return false
		}
	case "integer", "number":
		n := json.Number(text)
		if _, isText := v.(string); isText && isNumberText(text) && (t == "number" || isInteger(n)) {
			return n
		}
	}
	return nil
}

// isNumberText says whether a text is a number as JSON has them.
func isNumberText(text string) bool {
	v, err := decodeJSON([]byte(text), 0)
	n, ok := v.(json.Number)
	return err == nil && ok && string(n) == text
}

// maxDigits bounds numbers, as does hugeExponent: they are compared exactly, and 1e999999999
// would fill the memory.
const maxDigits = 64

// number reads a JSON number exactly.
func number(v any) (*big.Rat, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return nil, false
	}
	return new(big.Rat).SetString(string(n))
}

// hugeExponent says whether a number has an exponent of more than three digits.
func hugeExponent(text string) bool {
	i := strings.IndexAny(text, "eE")
	return i >= 0 && len(strings.TrimLeft(text[i+1:], "+-0")) > 3
}

func isInteger(n json.Number) bool {
	r, ok := number(n)
	return ok && r.IsInt()
}
