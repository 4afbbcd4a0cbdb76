package resource

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Where a schema's keywords have schemas below them.
var (
	holdsOne  = []string{"additionalProperties", "additionalItems", "items", "contains", "propertyNames", "not", "if", "then", "else"}
	holdsList = []string{"allOf", "anyOf", "oneOf", "items"}
	holdsMap  = []string{"properties", "patternProperties", "definitions", "dependencies"}
)

// assertions are the members at a resource type's top that models are checked against; the rest
// says what the type is.
var assertions = []string{
	"properties", "definitions", "required", "additionalProperties", "patternProperties", "propertyNames", "dependencies",
	"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "minProperties", "maxProperties",
}

// documentURL names the document within the compiler; nothing is loaded from there.
const documentURL = "urn:rialto:type"

// compile makes ready to check models.
func (s *Schema) compile() error {
	top := map[string]any{"type": "object"}
	for _, name := range assertions {
		if v, there := s.document[name]; there {
			top[name] = v
		}
	}
	s.budget, s.refs, s.patterns = &budget{}, map[string]any{}, map[string]*pattern{}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	c.UseLoader(noLoader{})
	c.UseRegexpEngine(s.regexp)
	prepare := preparation{schema: s, compiler: c, formats: map[string]bool{}}
	document, err := prepare.subschema("", top)
	if err != nil {
		return err
	}
	if err := c.AddResource(documentURL, document); err != nil {
		return schemaErrorf("", "%v", err)
	}
	if s.compiled, err = c.Compile(documentURL); err != nil {
		return compileError(err)
	}
	return nil
}

// regexp is the library's way to a pattern.
func (s *Schema) regexp(text string) (jsonschema.Regexp, error) {
	p, err := s.pattern(text)
	if err != nil {
		return nil, err // and no pattern that is nil
	}
	return p, nil
}

// pattern compiles a pattern of the schema, once while it is parsed.
func (s *Schema) pattern(text string) (*pattern, error) {
	if p := s.patterns[text]; p != nil {
		return p, nil
	}
	return compilePattern(text)
}

// noLoader refuses to load anything.
type noLoader struct{}

// Load returns an error.
func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: references to other documents are not available", url)
}

// compileError words what the compiler found.
func compileError(err error) error {
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if e, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err); ok {
			if problems := newProblems(e, finding{}); len(problems) > 0 {
				return schemaErrorf(strings.TrimPrefix(problems[0].At, "#"), "%s", problems[0].Message)
			}
		}
	}
	text := strings.ReplaceAll(err.Error(), documentURL, "")
	return schemaErrorf("", "%s", text)
}

// preparation copies a document for the compiler: names are taken away that would make it
// another document, and each schema gets a format that counts what it costs.
type preparation struct {
	schema   *Schema
	compiler *jsonschema.Compiler
	formats  map[string]bool // those the compiler knows
	count    int
	patterns int // the size of all patterns
}

func (p *preparation) subschema(at string, schema any) (any, error) {
	object, ok := schema.(map[string]any)
	if !ok {
		return schema, nil // true and false; anything else the compiler refuses
	}
	if p.count++; p.count > maxSubschemas {
		return nil, schemaErrorf("", "it is made of more than %d schemas", maxSubschemas)
	}
	if ref, there := object["$ref"]; there {
		return p.reference(at, ref)
	}
	out := maps.Clone(object)
	for _, name := range []string{"$id", "$schema", "id"} {
		delete(out, name)
	}
	size, err := p.patternsOf(at, object)
	if err != nil {
		return nil, err
	}
	children := 1 + size/50 // what a larger program takes longer
	for _, name := range holdsOne {
		child, there := object[name].(map[string]any)
		if !there {
			continue
		}
		if out[name], err = p.subschema(at+"/"+name, child); err != nil {
			return nil, err
		}
		children++
	}
	for _, name := range holdsList {
		list, there := object[name].([]any)
		if !there {
			continue
		}
		copied := make([]any, len(list))
		for i := range list {
			if copied[i], err = p.subschema(at+"/"+name+"/"+strconv.Itoa(i), list[i]); err != nil {
				return nil, err
			}
		}
		out[name] = copied
		children += len(list)
	}
	for _, name := range holdsMap {
		members, there := object[name].(map[string]any)
		if !there {
			continue
		}
		copied := make(map[string]any, len(members))
		for _, member := range slices.Sorted(maps.Keys(members)) {
			if copied[member], err = p.subschema(at+"/"+name+"/"+escapeStep(member), members[member]); err != nil {
				return nil, err
			}
		}
		out[name] = copied
		if name == "patternProperties" || name == "dependencies" {
			children += len(members)
		}
	}
	return p.priced(at, out, children)
}

// reference checks that a reference stays within the document and names something.
func (p *preparation) reference(at string, ref any) (any, error) {
	text, _ := ref.(string)
	if !strings.HasPrefix(text, "#") {
		return nil, schemaErrorf(at+"/$ref", "%q is not within the document: it must begin with #/definitions/", text)
	}
	target := p.schema.lookup(text)
	switch target.(type) {
	case map[string]any, bool:
		p.schema.refs[text] = target
	default:
		return nil, schemaErrorf(at+"/$ref", "%q names no schema of the document", text)
	}
	steps := strings.SplitN(text, "/", 3)
	if text != "#" && (len(steps) < 3 || !slices.Contains(assertions, steps[1])) {
		return nil, schemaErrorf(at+"/$ref", "%q names no schema of the document", text)
	}
	return map[string]any{"$ref": text}, nil
}

// patternsOf checks the patterns of a schema and returns their size together.
func (p *preparation) patternsOf(at string, object map[string]any) (size int, err error) {
	check := func(at, text string) error {
		pattern, err := p.schema.pattern(text)
		if err != nil {
			return schemaErrorf(at, "%v", err)
		}
		p.schema.patterns[text] = pattern
		size += pattern.size
		if p.patterns += pattern.size; p.patterns > maxPatterns {
			return schemaErrorf(at, "the patterns of the schema are too large together")
		}
		return nil
	}
	if text, ok := object["pattern"].(string); ok {
		if err := check(at+"/pattern", text); err != nil {
			return 0, err
		}
	}
	byPattern, _ := object["patternProperties"].(map[string]any)
	for _, text := range slices.Sorted(maps.Keys(byPattern)) {
		if err := check(at+"/patternProperties/"+escapeStep(text), text); err != nil {
			return 0, err
		}
	}
	return size, nil
}

// priced gives the schema a format that takes from the budget and checks the format it had.
func (p *preparation) priced(at string, object map[string]any, price int) (any, error) {
	format := ""
	if v, there := object["format"]; there {
		var ok bool
		if format, ok = v.(string); !ok {
			return nil, schemaErrorf(at+"/format", "must be a text")
		}
	}
	if formats[format] == nil {
		format = "" // AWS has names of its own, such as int64, that say nothing about JSON
	}
	name := strconv.Itoa(price) + " " + format
	object["format"] = name
	if !p.formats[name] {
		p.formats[name] = true
		budget, check := p.schema.budget, formats[format]
		p.compiler.RegisterFormat(&jsonschema.Format{Name: name, Validate: func(v any) error {
			budget.take(price, v)
			if text, ok := v.(string); ok && check != nil {
				return check(text)
			}
			return nil
		}})
	}
	return object, nil
}
