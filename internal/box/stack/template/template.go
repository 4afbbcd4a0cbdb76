// Package template reads CloudFormation templates, JSON or YAML with short tags, and works out what they say: which resources a
// stack has, in which order they can be made, and what their properties are once the resources before them exist.
//
// It is pure: it knows no SQL, no API and no resource types. What a Ref or a Fn::GetAtt of a resource
// yields, and the value of another stack's export, come from the caller's [Resolver].
//
// The way of a template: [Parse] reads and checks what can be known without parameters; [Template.Bind] takes parameters and
// pseudo parameters, evaluates conditions and drops what they switch off; [Resource.Properties] evaluates one resource's properties.
// Every error is an *[Error] and names its place.
//
// # What differs from AWS
//
// Refused by name, since nothing here would honour it: transforms and macros except AWS::LanguageExtensions, and of that one Fn::ForEach;
// the section Hooks; CreationPolicy and UpdatePolicy; the policy Snapshot; dynamic references; parameters of the type
// AWS::SSM::Parameter::…; Fn::RefAll, Fn::ValueOf and Fn::ValueOfAll in rules. Parameters of AWS's own types are checked for
// their form, not looked up.
//
// Plain YAML scalars that are meant as text stay text: dates, account ids and modes with a zero in front, 10:30. Numbers keep
// their digits: 1.10 is not 1.1.
//
// An AllowedPattern is matched in linear time, so it can have lookaheads at its beginning and lookbehinds at its
// end only, and no references back to a group.
package template

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of CloudFormation ("Understand CloudFormation quotas" in its user guide).
const (
	// MaxBytes is the size of a template in bytes: what AWS takes from S3. Of a TemplateBody
	// it takes MaxBodyBytes, which is the caller's to check.
	MaxBytes = 1 << 20
	// MaxBodyBytes is the size of a template that is passed as TemplateBody.
	MaxBodyBytes = 51200
	// MaxParameters, MaxResources, MaxOutputs and MaxMappings are how many of each a template may declare.
	MaxParameters = 200
	MaxResources  = 500
	MaxOutputs    = 200
	MaxMappings   = 200
	// MaxMappingAttributes is how many keys a mapping, and how many each of its keys, may have.
	MaxMappingAttributes = 200
	// MaxNameLength is the length of logical ids of parameters, resources, outputs and mappings, and of keys of mappings.
	MaxNameLength = 255
	// MaxDescriptionBytes is the size of the template's description.
	MaxDescriptionBytes = 1024
	// MaxParameterValue is the size of a parameter's value in bytes.
	MaxParameterValue = 4096
	// MaxEvaluated is how many bytes of text the functions of one resource, output or section may produce
	// together. AWS has no such limit in writing; without one a small template can ask for any amount of memory.
	MaxEvaluated = 4 << 20
	// MaxSteps is how many values may be worked out to read a template, those of variables counted each time they are used:
	// as with MaxEvaluated, a small template could otherwise keep a processor for hours. A template of MaxBytes that uses
	// every value once needs half a million.
	MaxSteps = 2 << 20
	// MaxDepth is how deeply objects and lists may be nested. AWS does not name its limit.
	MaxDepth = 200
)

// Template is a template that was read and checked.
type Template struct {
	version, description string
	metadata             *node
	transforms           []string
	extended             bool // AWS::LanguageExtensions is declared

	parameters []*parameter
	mappings   []*mapping
	conditions []*condition
	rules      []*rule
	resources  []*resource
	outputs    []*output

	parameterNamed map[string]*parameter
	mappingNamed   map[string]*mapping
	conditionNamed map[string]*condition
	resourceNamed  map[string]*resource
}

// Parse reads a template in JSON, if it begins with a brace, or else in YAML, and checks all that can be known without parameters: its
// form, the limits, every function and every reference. The error is an *Error.
func Parse(body []byte) (*Template, error) {
	root, err := read(body)
	if err != nil {
		return nil, err
	}
	if root.kind != object {
		return nil, root.errorf("Template format error: unsupported structure. A template is an object with the key Resources; this is %s.", root.kindName())
	}
	root.adopt()
	if err := root.withoutNull(); err != nil {
		return nil, err
	}
	t := &Template{
		parameterNamed: map[string]*parameter{},
		mappingNamed:   map[string]*mapping{},
		conditionNamed: map[string]*condition{},
		resourceNamed:  map[string]*resource{},
	}
	if err := t.sections(root); err != nil {
		return nil, err
	}
	return t, t.checkReferences()
}

func read(body []byte) (*node, error) {
	switch {
	case len(body) > MaxBytes:
		return nil, &Error{Message: fmt.Sprintf("Template may not exceed %d bytes in size; this one has %d.", MaxBytes, len(body))}
	case len(bytes.TrimSpace(body)) == 0:
		return nil, &Error{Message: "Template format error: the template is empty."}
	case !utf8.Valid(body):
		return nil, notUTF8(body)
	}
	s := strings.TrimPrefix(string(body), "\ufeff")
	if strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{") {
		return readJSON(s)
	}
	return readYAML(s)
}

func notUTF8(body []byte) error {
	at := node{line: 1, column: 1}
	for len(body) > 0 {
		r, size := utf8.DecodeRune(body)
		if r == utf8.RuneError && size == 1 {
			break
		}
		if at.column++; r == '\n' {
			at.line, at.column = at.line+1, 1
		}
		body = body[size:]
	}
	return at.errorf("Template format error: the template is not UTF-8: a byte here (0x%02x) belongs to no character. Save the file as UTF-8.", body[0])
}

// withoutNull refuses null, as AWS does everywhere in a template.
func (n *node) withoutNull() error {
	if n.kind == null {
		return n.errorf("[/%s] 'null' values are not allowed in templates", n.path())
	}
	for _, item := range n.items {
		if err := item.withoutNull(); err != nil {
			return err
		}
	}
	return nil
}

// sections reads the top-level keys, those first that others need.
func (t *Template) sections(root *node) error {
	for i := range root.keys {
		switch name := root.keys[i].name; name {
		case "AWSTemplateFormatVersion", "Description", "Metadata", "Transform", "Parameters", "Rules", "Mappings", "Conditions", "Resources", "Outputs":
		case "Hooks":
			return root.keyErrorf(i, "Template format error: the section Hooks is not supported: there are no blue/green deployments here. Remove it.")
		case "Globals":
			return root.keyErrorf(i, "Template format error: the section Globals belongs to AWS::Serverless, which is not supported. Expand the template before you deploy it.")
		case "Fn::Transform":
			return root.keyErrorf(i, "Template error: Fn::Transform is not supported: %s.", refused[name])
		default:
			return root.keyErrorf(i, "Invalid template property or properties [%s]", name)
		}
	}
	if root.get("Resources") == nil {
		return root.errorf("Template format error: At least one Resources member must be defined.")
	}
	for _, section := range []struct {
		name string
		read func(*node) error
	}{
		{"AWSTemplateFormatVersion", t.readVersion},
		{"Description", t.readDescription},
		{"Transform", t.readTransform},
		{"Metadata", t.readMetadata},
		{"Parameters", t.readParameters},
		{"Mappings", t.readMappings},
		{"Conditions", t.readConditions},
		{"Rules", t.readRules},
		{"Resources", t.readResources},
		{"Outputs", t.readOutputs},
	} {
		n := root.get(section.name)
		if n == nil {
			continue
		}
		if err := section.read(n); err != nil {
			return err
		}
	}
	return nil
}

func (t *Template) readVersion(n *node) error {
	if n.kind != text || n.text != "2010-09-09" {
		return n.errorf("Template format error: unsupported value for AWSTemplateFormatVersion. It must be \"2010-09-09\".")
	}
	t.version = n.text
	return nil
}

func (t *Template) readDescription(n *node) error {
	var err error
	if t.description, err = n.textLiteral("Description"); err != nil {
		return err
	}
	if len(t.description) > MaxDescriptionBytes {
		return n.errorf("Template format error: 'Description' length is greater than %d.", MaxDescriptionBytes)
	}
	return nil
}

func (t *Template) readMetadata(n *node) error {
	if n.kind != object {
		return n.errorf("Template format error: Metadata must be an object, not %s.", n.kindName())
	}
	t.metadata = n
	return nil
}

func (t *Template) readTransform(n *node) error {
	names := []*node{n}
	if n.kind == list {
		names = n.items
	}
	for _, name := range names {
		switch {
		case name.kind != text:
			return name.errorf("Template format error: Transform must be the name of a transform or a list of names, not %s.", name.kindName())
		case strings.HasPrefix(name.text, "AWS::Serverless"):
			return name.errorf("Template error: the transform %s is not supported: templates of the Serverless Application Model are not expanded here. Expand the template first, or write its resources as AWS::Lambda::Function, AWS::Events::Rule and so on.", name.text)
		case name.text != languageExtensions:
			return name.errorf("Template error: the transform %s is not supported: of transforms and macros only %s is known here. Expand the template before you deploy it.", name.text, languageExtensions)
		}
		t.extended = true
		t.transforms = append(t.transforms, name.text)
	}
	return nil
}

// section checks the form, size and names of a section; what is one of its members: "Resource".
func section(n *node, what, plural string, most int) error {
	if n.kind != object {
		return n.errorf("Template format error: %s must be an object, not %s.", n.path(), n.kindName())
	}
	if most > 0 && len(n.keys) > most {
		return n.keyErrorf(most, "Template format error: Number of %s, %d, is greater than maximum allowed, %d", plural, len(n.keys), most)
	}
	for i, k := range n.keys {
		if !alphanumeric(k.name) {
			return n.keyErrorf(i, "Template format error: %s name %s is non alphanumeric.", what, k.name)
		}
		if len(k.name) > MaxNameLength {
			return n.keyErrorf(i, "Template format error: %s name is longer than %d characters.", what, MaxNameLength)
		}
	}
	return nil
}

func alphanumeric(s string) bool {
	for _, c := range []byte(s) {
		if !(c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z') {
			return false
		}
	}
	return s != ""
}
