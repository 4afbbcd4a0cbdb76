package resource

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of a schema.
const (
	// MaxSchema is how many bytes a schema has at most.
	MaxSchema = 1 << 20
	// maxSchemaDepth is how deep its JSON is nested at most.
	maxSchemaDepth = 64
	// maxSubschemas is how many schemas it is made of at most.
	maxSubschemas = 5000
	// maxPointers is how many pointers each of its lists of properties has at most.
	maxPointers = 1000
)

// Schema is the schema of a resource type. AWS: the resource type definition schema, a
// JSON schema of draft 7 with some lists that say what properties are for.
type Schema struct {
	Text        string // as given
	TypeName    string
	Description string
	// PrimaryIdentifier is the properties that together name a resource.
	PrimaryIdentifier []Path
	// AdditionalIdentifiers are other ways to name one.
	AdditionalIdentifiers [][]Path
	// ReadOnly properties are set by the service alone.
	ReadOnly []Path
	// WriteOnly properties are given and never returned.
	WriteOnly []Path
	// CreateOnly properties cannot be changed: another value needs another resource.
	CreateOnly []Path
	// ConditionalCreateOnly properties can be changed in some cases, which only the handler knows.
	ConditionalCreateOnly []Path
	Deprecated            []Path
	// Required are the top-level properties that must be given.
	Required []string
	// Handlers are the operations that the type says it has: create, read, update, delete and
	// list. Empty: it says nothing about them.
	Handlers []string
	// ListRequired are the properties that narrow a List and must be given.
	ListRequired []string
	// Taggable says whether resources have tags, TagProperty where they are: Tags.
	Taggable    bool
	TagProperty Path

	document map[string]any // the parsed text
	refs     map[string]any // what its references name
	patterns map[string]*pattern
	compiled *jsonschema.Schema
	budget   *budget
}

// SchemaError says what is wrong with a schema.
type SchemaError struct {
	// At is a JSON pointer into the schema: /properties/Name/pattern. Empty for the whole.
	At      string
	Message string
}

// Error names the place.
func (e *SchemaError) Error() string {
	if e.At == "" {
		return "the schema: " + e.Message
	}
	return e.At + ": " + e.Message
}

func schemaErrorf(at, format string, args ...any) error {
	return &SchemaError{At: at, Message: fmt.Sprintf(format, args...)}
}

// typeNameForm is AWS's form of a type's name.
var typeNameForm = regexp.MustCompile(`^[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}$`)

// ParseSchema reads a schema and checks that models can be checked against it. What is
// wrong is a *SchemaError.
func ParseSchema(text []byte) (*Schema, error) {
	document, err := readSchema(text)
	if err != nil {
		return nil, err
	}
	s := &Schema{Text: string(text), document: document}
	if err := s.read(); err != nil {
		return nil, err
	}
	if err := s.compile(); err != nil {
		return nil, err
	}
	return s, nil
}

// readSchema reads the JSON of a schema within its limits.
func readSchema(text []byte) (map[string]any, error) {
	if len(text) > MaxSchema {
		return nil, schemaErrorf("", "it is %d bytes long; %d are allowed", len(text), MaxSchema)
	}
	v, err := decodeJSON(text, maxSchemaDepth)
	if err != nil {
		return nil, schemaErrorf("", "%v", err)
	}
	document, ok := v.(map[string]any)
	if !ok {
		return nil, schemaErrorf("", "it is no JSON object")
	}
	return document, nil
}

// decodeJSON reads one JSON value with numbers as they stand. No object may have
// a member twice.
func decodeJSON(text []byte, depth int) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := decodeValue(dec, depth)
	if err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the JSON ends too early")
		}
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more after the JSON value")
	}
	return v, nil
}

func decodeValue(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	number, isNumber := token.(json.Number)
	switch {
	case isNumber && (len(number) > maxDigits || hugeExponent(string(number))):
		return nil, fmt.Errorf("the number %.20s… is too long", number)
	case !ok:
		return token, nil
	case depth == 0:
		return nil, errors.New("the JSON is nested too deep")
	case delim == '[':
		return decodeList(dec, depth-1)
	default:
		return decodeObject(dec, depth-1)
	}
}

func decodeList(dec *json.Decoder, depth int) (any, error) {
	list := []any{}
	for dec.More() {
		v, err := decodeValue(dec, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := dec.Token()
	return list, err
}

func decodeObject(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("%v is no member's name", token)
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("the member %q is there twice", name)
		}
		if object[name], err = decodeValue(dec, depth); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}

// schemaMembers are what a schema may say at its top. AWS: the provider definition's
// meta-schema, but for remote.
var schemaMembers = []string{
	"$schema", "$id", "$comment", "typeName", "type", "title", "description", "sourceUrl", "documentationUrl", "taggable", "tagging",
	"replacementStrategy", "additionalProperties", "properties", "definitions", "propertyTransform", "required", "allOf", "anyOf", "oneOf",
	"not", "if", "then", "else", "dependencies", "minProperties", "maxProperties", "patternProperties", "propertyNames",
	"primaryIdentifier", "additionalIdentifiers", "readOnlyProperties", "writeOnlyProperties", "createOnlyProperties",
	"conditionalCreateOnlyProperties", "deprecatedProperties", "nonPublicProperties", "nonPublicDefinitions",
	"handlers", "resourceLink", "typeConfiguration",
}

// read takes out of the document what is said at its top.
func (s *Schema) read() error {
	for name := range s.document {
		if !slices.Contains(schemaMembers, name) {
			return schemaErrorf("/"+escapeStep(name), "a resource type's schema has no such member")
		}
	}
	name, _ := s.document["typeName"].(string)
	if !typeNameForm.MatchString(name) {
		return schemaErrorf("/typeName", "must be given, as in Acme::Database::Cluster")
	}
	s.TypeName = name
	s.Description, _ = s.document["description"].(string)
	if s.Description == "" {
		return schemaErrorf("/description", "must be given")
	}
	if s.document["additionalProperties"] != false {
		return schemaErrorf("/additionalProperties", "must be given, and be false")
	}
	if properties, ok := s.document["properties"].(map[string]any); !ok || len(properties) == 0 {
		return schemaErrorf("/properties", "must be given, with at least one property")
	}
	var err error
	if s.Required, err = texts(s.document, "required"); err != nil {
		return err
	}
	if err := s.readPaths(); err != nil {
		return err
	}
	if err := s.readTagging(); err != nil {
		return err
	}
	return s.readHandlers()
}

// texts returns a member that is a list of texts.
func texts(object map[string]any, name string) ([]string, error) {
	v, there := object[name]
	if !there {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) > maxPointers {
		return nil, schemaErrorf("/"+name, "must be a list of at most %d texts", maxPointers)
	}
	out := make([]string, len(list))
	for i := range list {
		if out[i], ok = list[i].(string); !ok {
			return nil, schemaErrorf(fmt.Sprintf("/%s/%d", name, i), "must be a text")
		}
	}
	return out, nil
}

// readPaths reads the lists of properties.
func (s *Schema) readPaths() error {
	for _, list := range []struct {
		name string
		into *[]Path
	}{
		{"primaryIdentifier", &s.PrimaryIdentifier},
		{"readOnlyProperties", &s.ReadOnly},
		{"writeOnlyProperties", &s.WriteOnly},
		{"createOnlyProperties", &s.CreateOnly},
		{"conditionalCreateOnlyProperties", &s.ConditionalCreateOnly},
		{"deprecatedProperties", &s.Deprecated},
	} {
		pointers, err := texts(s.document, list.name)
		if err != nil {
			return err
		}
		if *list.into, err = s.paths(list.name, pointers); err != nil {
			return err
		}
	}
	if len(s.PrimaryIdentifier) == 0 {
		return schemaErrorf("/primaryIdentifier", "must be given, with at least one property")
	}
	return s.readAdditionalIdentifiers()
}

func (s *Schema) readAdditionalIdentifiers() error {
	v, there := s.document["additionalIdentifiers"]
	if !there {
		return nil
	}
	list, ok := v.([]any)
	if !ok || len(list) > maxPointers {
		return schemaErrorf("/additionalIdentifiers", "must be a list of lists of texts")
	}
	for i := range list {
		at := fmt.Sprintf("additionalIdentifiers/%d", i)
		pointers, err := texts(map[string]any{at: list[i]}, at)
		if err != nil {
			return err
		}
		paths, err := s.paths(at, pointers)
		if err != nil {
			return err
		}
		s.AdditionalIdentifiers = append(s.AdditionalIdentifiers, paths)
	}
	return nil
}

// paths reads pointers and checks that they begin with properties that there are.
func (s *Schema) paths(list string, pointers []string) ([]Path, error) {
	properties, _ := s.document["properties"].(map[string]any)
	var paths []Path
	for i, pointer := range pointers {
		at := fmt.Sprintf("/%s/%d", list, i)
		p, err := parsePointer(pointer)
		if err != nil {
			return nil, schemaErrorf(at, "%v", err)
		}
		if _, ok := properties[p[0]]; !ok {
			return nil, schemaErrorf(at, "there is no property %s", p[0])
		}
		paths = append(paths, s.plain(p))
	}
	return paths, nil
}

// readTagging reads where a resource's tags are. AWS: they are in Tags, and there may be
// some, unless the schema says something else.
func (s *Schema) readTagging() error {
	s.Taggable, s.TagProperty = true, Path{"Tags"}
	if v, there := s.document["taggable"]; there {
		taggable, ok := v.(bool)
		if !ok {
			return schemaErrorf("/taggable", "must be true or false")
		}
		s.Taggable = taggable
	}
	v, there := s.document["tagging"]
	if there {
		tagging, ok := v.(map[string]any)
		if !ok {
			return schemaErrorf("/tagging", "must be an object")
		}
		if taggable, ok := tagging["taggable"].(bool); ok {
			s.Taggable = taggable
		}
		if pointer, ok := tagging["tagProperty"].(string); ok {
			p, err := parsePointer(pointer)
			if err != nil {
				return schemaErrorf("/tagging/tagProperty", "%v", err)
			}
			s.TagProperty = p
		}
	}
	properties, _ := s.document["properties"].(map[string]any)
	if _, ok := properties[s.TagProperty[0]]; !ok {
		s.Taggable, s.TagProperty = false, nil
	}
	return nil
}

// handlerNames are the operations that a type can have, in the order of a resource's life.
var handlerNames = []string{"create", "read", "update", "delete", "list"}

func (s *Schema) readHandlers() error {
	v, there := s.document["handlers"]
	if !there {
		return nil
	}
	handlers, ok := v.(map[string]any)
	if !ok {
		return schemaErrorf("/handlers", "must be an object")
	}
	for name := range handlers {
		if !slices.Contains(handlerNames, name) {
			return schemaErrorf("/handlers/"+escapeStep(name), "there is no such handler: there are %s", strings.Join(handlerNames, ", "))
		}
	}
	for _, name := range handlerNames {
		if _, has := handlers[name]; has {
			s.Handlers = append(s.Handlers, name)
		}
	}
	list, _ := handlers["list"].(map[string]any)
	narrowed, _ := list["handlerSchema"].(map[string]any)
	var err error
	if s.ListRequired, err = texts(narrowed, "required"); err != nil {
		return schemaErrorf("/handlers/list/handlerSchema/required", "must be a list of texts")
	}
	return nil
}

// Has says whether the type has the operation: create, read, update, delete or list. AWS: a
// type whose schema names no handler for an operation lacks it.
func (s *Schema) Has(operation string) bool {
	return len(s.Handlers) == 0 || slices.Contains(s.Handlers, operation)
}

// Identifier joins the primary identifier's parts of a model by |. It returns an error
// that names the part the model lacks.
func (s *Schema) Identifier(m Model) (string, error) {
	parts := make([]string, len(s.PrimaryIdentifier))
	for i, p := range s.PrimaryIdentifier {
		v, ok := p.Get(m)
		if parts[i] = scalar(v); !ok || parts[i] == "" {
			return "", fmt.Errorf("the model lacks %s, which is part of the primary identifier", p)
		}
	}
	return strings.Join(parts, "|"), nil
}

// scalar is a text, number or boolean as text; empty for anything else.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil, map[string]any, []any:
		return ""
	default:
		return encode(v)
	}
}
