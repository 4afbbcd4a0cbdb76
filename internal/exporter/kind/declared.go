package kind

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

// MaxRules is how long a file of event rules may be, in bytes: as long as a template in S3.
const MaxRules = 1 << 20

// Declared is an event rule of a CloudFormation template.
type Declared struct {
	// Name is its logical id.
	Name string
	// Line is where it is in the file.
	Line int
	// Pattern is its event pattern, JSON, at PatternLine; nil where it has none that can be
	// read.
	Pattern     []byte
	PatternLine int
	Targets     []DeclaredTarget
}

// DeclaredTarget is a target of an event rule.
type DeclaredTarget struct {
	ID   string
	Line int
	// Transforms: it has an input transformer, of Paths and Template.
	Transforms bool
	Paths      map[string]string
	Template   string
	// Unread says why the transformer cannot be read; empty if it can.
	Unread string
}

// ReadRules reads the event rules of a CloudFormation template, JSON or YAML. Problems name
// what cannot be read, with lines.
func ReadRules(text []byte) ([]Declared, []config.Problem) {
	if len(text) > MaxRules {
		return nil, []config.Problem{{Message: fmt.Sprintf("the file has %d bytes, at most %d are possible", len(text), MaxRules)}}
	}
	var doc yaml.Node
	err := yaml.Unmarshal(text, &doc)
	resources := member(&doc, "Resources")
	switch {
	case (err != nil || resources == nil) && looksLikeTerraform(text):
		return nil, []config.Problem{{Message: "this is no CloudFormation template but a Terraform configuration: check what 'rialto exporter rules' prints as CloudFormation of the same kinds"}}
	case err != nil:
		return nil, []config.Problem{{Message: "the template is neither YAML nor JSON: " + err.Error()}}
	case resources == nil || resources.Kind != yaml.MappingNode:
		return nil, []config.Problem{{Path: "Resources", Message: "is missing: this is no CloudFormation template"}}
	}
	var rules []Declared
	var problems []config.Problem
	for i := 0; i+1 < len(resources.Content); i += 2 {
		name, body := resources.Content[i], resources.Content[i+1]
		if t := member(body, "Type"); t == nil || t.Value != "AWS::Events::Rule" {
			continue
		}
		r, found := readRule(name, member(body, "Properties"))
		rules, problems = append(rules, r), append(problems, found...)
	}
	if len(rules) == 0 {
		problems = append(problems, config.Problem{Path: "Resources", Line: resources.Line, Message: "has no AWS::Events::Rule"})
	}
	return rules, problems
}

func looksLikeTerraform(text []byte) bool {
	return slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.HasPrefix(line, `resource "aws_`) || strings.HasPrefix(line, "terraform {")
	})
}

func readRule(name, properties *yaml.Node) (Declared, []config.Problem) {
	r := Declared{Name: name.Value, Line: name.Line}
	var problems []config.Problem
	fail := func(n *yaml.Node, path, format string, args ...any) {
		problems = append(problems, config.Problem{Path: r.Name + path, Line: n.Line, Message: fmt.Sprintf(format, args...)})
	}
	pattern := member(properties, "EventPattern")
	switch text, err := patternOf(pattern); {
	case pattern == nil:
		fail(name, ".EventPattern", "is missing: the rule matches no event")
	case errors.Is(err, errFunction):
		problems = append(problems, config.Problem{
			Path: r.Name + ".EventPattern", Line: pattern.Line, Warning: true, Message: "has functions of CloudFormation in it, and is not checked",
		})
	case err != nil:
		fail(pattern, ".EventPattern", "cannot be read: %v", err)
	default:
		r.Pattern, r.PatternLine = text, pattern.Line
	}
	targets := member(properties, "Targets")
	switch {
	case targets == nil:
		fail(name, ".Targets", "is missing: the rule sends to nobody")
	case isFunction(targets):
		problems = append(problems, config.Problem{
			Path: r.Name + ".Targets", Line: targets.Line, Warning: true, Message: "is a function of CloudFormation, and is not checked",
		})
	case targets.Kind != yaml.SequenceNode:
		fail(targets, ".Targets", "is no list of targets")
	default:
		for _, n := range targets.Content {
			r.Targets = append(r.Targets, readTarget(n))
		}
	}
	return r, problems
}

func readTarget(n *yaml.Node) DeclaredTarget {
	t := DeclaredTarget{Line: n.Line}
	if id := member(n, "Id"); id != nil {
		t.ID = id.Value
	}
	transformer := member(n, "InputTransformer")
	if transformer == nil {
		return t
	}
	t.Transforms, t.Line = true, transformer.Line
	if v, err := plainValue(member(transformer, "InputPathsMap")); err != nil {
		t.Unread = "InputPathsMap " + err.Error()
	} else if paths, ok := v.(map[string]any); ok {
		t.Paths = map[string]string{}
		for key, path := range paths {
			t.Paths[key], _ = path.(string)
		}
	}
	template := member(transformer, "InputTemplate")
	text, err := plainValue(template)
	switch s, ok := text.(string); {
	case err != nil:
		t.Unread = "InputTemplate " + err.Error()
	case !ok:
		t.Unread = "InputTemplate is no text"
	default:
		t.Template, t.Line = s, template.Line
	}
	return t
}

// errFunction: a value is known to CloudFormation alone.
var errFunction = errors.New("has functions of CloudFormation in it")

// patternOf is a pattern as JSON: it may be written as an object, or as JSON in a text.
func patternOf(n *yaml.Node) ([]byte, error) {
	v, err := plainValue(n)
	if err != nil {
		return nil, err
	}
	if s, ok := v.(string); ok {
		return []byte(s), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return text, nil
}

// member is a member of a mapping, or of the one that a document holds; nil if it has none.
func member(n *yaml.Node, name string) *yaml.Node {
	if n == nil {
		return nil
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil
		}
		return member(n.Content[0], name)
	case yaml.AliasNode:
		return member(n.Alias, name)
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// isFunction reports whether a value is a function of CloudFormation, in its short or its long
// form.
func isFunction(n *yaml.Node) bool {
	if strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!") {
		return true
	}
	return n.Kind == yaml.MappingNode && len(n.Content) == 2 && (n.Content[0].Value == "Ref" || strings.HasPrefix(n.Content[0].Value, "Fn::"))
}

// maxDepth is how deep what is read of a template may be nested.
const maxDepth = 100

// plainValue is a node as JSON has it; an error where it holds a function.
func plainValue(n *yaml.Node) (any, error) { return plainAt(n, 0) }

func plainAt(n *yaml.Node, depth int) (any, error) {
	switch {
	case n == nil:
		return nil, nil
	case depth > maxDepth || n.Kind == yaml.AliasNode:
		return nil, errors.New("is nested too deep, or has aliases, which CloudFormation does not take")
	case isFunction(n):
		return nil, errFunction
	}
	switch n.Kind {
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, item := range n.Content {
			v, err := plainAt(item, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			v, err := plainAt(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			object[n.Content[i].Value] = v
		}
		return object, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return nil, err
	}
	return v, nil
}
