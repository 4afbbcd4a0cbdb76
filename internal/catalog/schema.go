package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// schema checks the values of a blueprint's properties. It is compiled at its first use, once
// for each revision of the blueprint.
type schema struct {
	properties map[string]Property

	once     sync.Once
	compiled *jsonschema.Schema
	patterns map[string]int // the size of the largest pattern of a property, where there is one
	err      error
}

// honoured are the keywords that values are checked against; the rest of a property's
// definition says how it is shown.
var honoured = []string{
	"enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
	"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "additionalProperties", "required",
}

// schemaURL names the schema within the compiler; nothing is loaded from there.
const schemaURL = "urn:rialto:blueprint"

func (s *schema) compile() (*jsonschema.Schema, error) {
	s.once.Do(func() {
		properties := map[string]any{}
		s.patterns = map[string]int{}
		for key, p := range s.properties {
			properties[key] = checked(p.Raw)
			if size := largestPattern(p.Raw); size > 0 {
				s.patterns[key] = size
			}
		}
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft7)
		c.UseLoader(noLoader{})
		c.UseRegexpEngine(func(text string) (jsonschema.Regexp, error) { return compilePattern(text) })
		c.AssertFormat()
		for name, check := range formatChecks {
			c.RegisterFormat(&jsonschema.Format{Name: name, Validate: check})
		}
		if s.err = c.AddResource(schemaURL, map[string]any{"type": "object", "properties": properties}); s.err == nil {
			s.compiled, s.err = c.Compile(schemaURL)
		}
	})
	return s.compiled, s.err
}

// checked is the part of a property's definition that values are checked against.
func checked(raw map[string]any) map[string]any {
	out := map[string]any{}
	for _, name := range honoured {
		if v, there := raw[name]; there && v != nil {
			out[name] = v
		}
	}
	if t, ok := raw["type"].(string); ok && t != "" {
		out["type"] = t
	}
	if f, ok := raw["format"].(string); ok && formatChecks[f] != nil {
		out["format"] = f
	}
	if items, ok := raw["items"].(map[string]any); ok {
		out["items"] = checked(items)
	}
	if members, ok := raw["properties"].(map[string]any); ok {
		below := map[string]any{}
		for key, m := range members {
			if m, ok := m.(map[string]any); ok {
				below[key] = checked(m)
			}
		}
		out["properties"] = below
	}
	return out
}

// noLoader refuses to load anything.
type noLoader struct{}

// Load returns an error.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: other documents are not available", url)
}

// validate returns what is wrong with values of properties. Null is right for each.
func (s *schema) validate(values map[string]any) ([]Problem, error) {
	compiled, err := s.compile()
	if err != nil {
		return nil, fmt.Errorf("compile the blueprint's schema: %w", err)
	}
	given := make(map[string]any, len(values))
	for key, v := range values {
		if v == nil {
			continue
		}
		if size := s.patterns[key]; size > 0 && size*textBytes(v) > maxPatternWork {
			return []Problem{{"properties." + key, fmt.Sprintf("has %d bytes of text, too many to be matched with its pattern", textBytes(v))}}, nil
		}
		given[key] = v
	}
	err = compiled.Validate(given)
	if err == nil {
		return nil, nil
	}
	e, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return nil, err
	}
	problems := collect(e, nil)
	slices.SortStableFunc(problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return problems, nil
}

// collect takes apart what the library found.
func collect(e *jsonschema.ValidationError, problems []Problem) []Problem {
	if len(problems) >= maxProblems {
		return problems
	}
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			problems = collect(cause, problems)
		}
		return problems
	}
	return append(problems, Problem{Path: placeOf(e.InstanceLocation), Message: sentence(e)})
}

// placeOf names a place in the properties: properties.tags[0].key.
func placeOf(steps []string) string {
	var b strings.Builder
	b.WriteString("properties")
	for _, step := range steps {
		if _, err := strconv.ParseUint(step, 10, 32); err == nil {
			b.WriteString("[" + step + "]")
			continue
		}
		b.WriteString("." + shorten(step))
	}
	return b.String()
}

// sentence says what is wrong with a value.
func sentence(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or ") + ", not " + k.Got
	case *kind.Enum:
		return "must be one of " + displayAll(k.Want) + ", not " + display(k.Got)
	case *kind.Format:
		return fmt.Sprintf("must be of format %s: %s is not: %v", k.Want, display(k.Got), k.Err)
	case *kind.Pattern:
		return fmt.Sprintf("must match the pattern %s, which %s does not", shorten(k.Want), display(k.Got))
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters; at least %d are needed", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters; at most %d are allowed", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has %d items; at least %d are needed", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d items; at most %d are allowed", k.Got, k.Want)
	case *kind.UniqueItems:
		return "has an item twice"
	case *kind.Minimum:
		return fmt.Sprintf("is %s; at least %s is needed", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("is %s; at most %s is allowed", k.Got.RatString(), k.Want.RatString())
	case *kind.Required:
		return "lacks " + strings.Join(k.Missing, ", ")
	case *kind.AdditionalProperties:
		return "has members that are not allowed: " + shorten(strings.Join(k.Properties, ", "))
	}
	text := e.Error()
	if _, after, ok := strings.Cut(text, ": "); ok {
		text = after
	}
	return shorten(text)
}

// displayAll is values as they stand in a message.
func displayAll(values []any) string {
	const most = 20
	var texts []string
	for _, v := range values[:min(len(values), most)] {
		texts = append(texts, display(v))
	}
	if len(values) > most {
		texts = append(texts, "…")
	}
	return strings.Join(texts, ", ")
}

// display is a value as it stands in a message.
func display(v any) string {
	text, err := encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return shorten(string(text))
}

// sortedKeys are the keys of a map in their order.
func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
