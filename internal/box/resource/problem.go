package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// maxProblems is how many problems of one model are told.
const maxProblems = 20

// Problem is something in a model that breaks its schema.
type Problem struct {
	At      string // #/Tags/0/Key; # is the model as a whole
	Message string // expected type: String, found: Integer
}

// String is the problem as AWS words it: "#/Name: expected type: String, found: Integer".
func (p Problem) String() string { return p.At + ": " + p.Message }

// Problems is what is wrong with a model, as an error.
type Problems []Problem

// Error lists the problems, a line each.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Validate checks a model against the schema and returns what is wrong, none if nothing is. It does
// not look at what properties are for: see CheckDesired.
func (s *Schema) Validate(m Model) Problems {
	v, err := normalize(m)
	if err != nil {
		return Problems{{At: "#", Message: err.Error()}}
	}
	err = s.budget.spend(func() error { return s.compiled.Validate(v) })
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return newProblems(e, finding{v, Without(v, s.WriteOnly)})
	}
	return Problems{{At: "#", Message: err.Error()}}
}

// newProblems takes apart what the library found in a value.
func newProblems(e *jsonschema.ValidationError, f finding) Problems {
	problems := f.collect(e, nil)
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return strings.Compare(a.At+a.Message, b.At+b.Message)
	})
	problems = slices.Compact(problems)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems:maxProblems], Problem{At: "#", Message: fmt.Sprintf("%d more problems", more)})
	}
	return problems
}

// finding is what problems are found in, and what of it may be told.
type finding struct{ in, told Model }

// valueAt is what a value has at a place.
func valueAt(m Model, at []string) any {
	var v any = m
	for _, step := range at {
		switch in := v.(type) {
		case map[string]any:
			v = in[step]
		case []any:
			v = item(in, step)
		default:
			return nil
		}
	}
	return v
}

// place is a place in a model: #/Tags/0/Key.
func place(steps []string) string {
	var b strings.Builder
	b.WriteByte('#')
	for _, step := range steps {
		b.WriteByte('/')
		b.WriteString(escapeStep(step))
	}
	return b.String()
}

func (f finding) collect(e *jsonschema.ValidationError, problems Problems) Problems {
	if len(problems) > 10*maxProblems {
		return problems
	}
	at := place(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, cause := range e.Causes {
			problems = f.collect(cause, problems)
		}
		return problems
	case *kind.Required:
		for _, name := range k.Missing {
			problems = append(problems, Problem{at, fmt.Sprintf("required key [%s] not found", name)})
		}
		return problems
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			problems = append(problems, Problem{at, fmt.Sprintf("extraneous key [%s] is not permitted", name)})
		}
		return problems
	case *kind.AnyOf:
		return f.alternatives(problems, at, fmt.Sprintf("no subschema matched out of the total %d subschemas", len(e.Causes)), e)
	case *kind.OneOf:
		return f.alternatives(problems, at, fmt.Sprintf("%d subschemas matched instead of one", len(k.Subschemas)), e)
	}
	if k, ok := e.ErrorKind.(*kind.Type); ok {
		found := typeWord(k.Got)
		if n, ok := valueAt(f.in, e.InstanceLocation).(json.Number); ok && isInteger(n) {
			found = "Integer"
		}
		return append(problems, Problem{at, fmt.Sprintf("expected type: %s, found: %s", typeWords(k.Want), found)})
	}
	if valueAt(f.in, e.InstanceLocation) != nil && valueAt(f.told, e.InstanceLocation) == nil {
		e = hidden(e)
	}
	return append(problems, Problem{at, sentence(e)})
}

// hidden is a problem without the value that has it: messages are kept in events and records.
func hidden(e *jsonschema.ValidationError) *jsonschema.ValidationError {
	const value = "****"
	h := *e
	switch k := e.ErrorKind.(type) {
	case *kind.Enum:
		h.ErrorKind = &kind.Enum{Got: value, Want: k.Want}
	case *kind.Pattern:
		h.ErrorKind = &kind.Pattern{Got: value, Want: k.Want}
	case *kind.Format:
		h.ErrorKind = &kind.Format{Got: value, Want: k.Want}
	}
	return &h
}

// alternatives says that none of several schemas holds, and what each of them lacks where
// that can tell.
func (f finding) alternatives(problems Problems, at, message string, e *jsonschema.ValidationError) Problems {
	problems = append(problems, Problem{at, message})
	for _, cause := range e.Causes {
		problems = f.collect(cause, problems)
	}
	return problems
}

// sentence is the problem in the words of AWS's validator.
func sentence(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Enum:
		return fmt.Sprintf("%s is not a valid enum value", display(k.Got))
	case *kind.Const:
		return fmt.Sprintf("expected value: %s", display(k.Want))
	case *kind.Pattern:
		return fmt.Sprintf("string [%s] does not match pattern %s", shorten(k.Got), shorten(k.Want))
	case *kind.Format:
		_, format, _ := strings.Cut(k.Want, " ")
		return fmt.Sprintf("[%s] is not a valid %s", display(k.Got), format)
	case *kind.MinLength:
		return fmt.Sprintf("expected minLength: %d, actual: %d", k.Want, k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("expected maxLength: %d, actual: %d", k.Want, k.Got)
	case *kind.MinItems:
		return fmt.Sprintf("expected minimum item count: %d, found: %d", k.Want, k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("expected maximum item count: %d, found: %d", k.Want, k.Got)
	case *kind.UniqueItems:
		return "array items are not unique"
	case *kind.MinProperties:
		return fmt.Sprintf("minimum size: [%d], found: [%d]", k.Want, k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("maximum size: [%d], found: [%d]", k.Want, k.Got)
	case *kind.Dependency:
		return fmt.Sprintf("property [%s] is required", strings.Join(k.Missing, ", "))
	case *kind.FalseSchema:
		return "false schema always fails"
	case *kind.Not:
		return "subject must not be valid against schema"
	}
	return numberSentence(e)
}

func numberSentence(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *kind.Minimum:
		return fmt.Sprintf("%s is not greater or equal to %s", k.Got.RatString(), k.Want.RatString())
	case *kind.Maximum:
		return fmt.Sprintf("%s is not less or equal to %s", k.Got.RatString(), k.Want.RatString())
	case *kind.ExclusiveMinimum:
		return fmt.Sprintf("%s is not greater than %s", k.Got.RatString(), k.Want.RatString())
	case *kind.ExclusiveMaximum:
		return fmt.Sprintf("%s is not less than %s", k.Got.RatString(), k.Want.RatString())
	case *kind.MultipleOf:
		return fmt.Sprintf("%s is not a multiple of %s", k.Got.RatString(), k.Want.RatString())
	}
	text := e.Error()
	if i := strings.Index(text, ": "); i > 0 {
		return shorten(text[i+2:])
	}
	return shorten(text)
}

// typeWord is what AWS's validator calls a type.
func typeWord(name string) string {
	switch name {
	case "object":
		return "JSONObject"
	case "array":
		return "JSONArray"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

func typeWords(names []string) string {
	words := make([]string, len(names))
	for i := range names {
		words[i] = typeWord(names[i])
	}
	return strings.Join(words, " or ")
}

// display is a value as it stands in a message.
func display(v any) string {
	if text, ok := v.(string); ok {
		return shorten(text)
	}
	return shorten(encode(v))
}

// shorten bounds what of a value is told.
func shorten(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
