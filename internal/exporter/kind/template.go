package kind

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Format is a language that event rules are written in.
type Format string

// The formats.
const (
	CloudFormation Format = "cloudformation"
	Terraform      Format = "terraform"
)

// Formats are all formats.
func Formats() []string { return []string{string(CloudFormation), string(Terraform)} }

// QueueStack is the usual name of the stack that holds the exporter's queue.
const QueueStack = "serverlessrepo-port-aws-exporter"

// MaxTemplate is how long a CloudFormation template may be in a call; a longer one goes by
// way of S3. AWS: TemplateBody.
const MaxTemplate = 51200

// targetID is the id that the rules' targets have.
const targetID = "PortAWSExporterEventsQueue"

// RuleSet says which event rules to write. They are for one region, that of the queue, to which
// EventBridge sends from rules of its own region alone: each region has its queue and its rules.
type RuleSet struct {
	Kinds []*Kind
	// StackName is the stack that exports the queue's ARN; empty stands for QueueStack.
	StackName string
}

var stackForm = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)

func (s RuleSet) check(f Format) error {
	if len(s.Kinds) == 0 {
		return errors.New("name at least one kind")
	}
	if s.StackName != "" && !stackForm.MatchString(s.StackName) {
		return fmt.Errorf("%q is no name of a stack: a letter, then at most 127 letters, digits and hyphens", s.StackName)
	}
	if f != CloudFormation && f != Terraform {
		return fmt.Errorf("format %q is neither %s nor %s", f, CloudFormation, Terraform)
	}
	return nil
}

// Render writes the rules. Errors say what of the set cannot be written.
func (s RuleSet) Render(f Format) ([]byte, error) {
	if err := s.check(f); err != nil {
		return nil, err
	}
	s.StackName = cmp.Or(s.StackName, QueueStack)
	s.Kinds = slices.Clone(s.Kinds)
	slices.SortFunc(s.Kinds, func(a, b *Kind) int { return cmp.Compare(a.Name, b.Name) })
	s.Kinds = slices.Compact(s.Kinds)
	if f == Terraform {
		return s.terraform()
	}
	return s.cloudFormation()
}

// cfnTemplate is a template's sections in the order that people expect.
type cfnTemplate struct {
	Version     string        `yaml:"AWSTemplateFormatVersion"`
	Description string        `yaml:"Description"`
	Parameters  cfnParameters `yaml:"Parameters"`
	Resources   *yaml.Node    `yaml:"Resources"`
}

type cfnParameters struct {
	Stack cfnParameter `yaml:"PortAWSExporterStackName"`
}

type cfnParameter struct {
	Description string `yaml:"Description"`
	Type        string `yaml:"Type"`
	Default     string `yaml:"Default"`
	Pattern     string `yaml:"AllowedPattern"`
}

type cfnRule struct {
	Type       string `yaml:"Type"`
	Properties struct {
		Name         string      `yaml:"Name"`
		Description  string      `yaml:"Description"`
		EventBusName string      `yaml:"EventBusName"`
		State        string      `yaml:"State"`
		EventPattern *yaml.Node  `yaml:"EventPattern"`
		Targets      []cfnTarget `yaml:"Targets"`
	} `yaml:"Properties"`
}

type cfnTarget struct {
	ID          string          `yaml:"Id"`
	ARN         *yaml.Node      `yaml:"Arn"`
	Transformer *cfnTransformer `yaml:"InputTransformer"`
}

type cfnTransformer struct {
	Paths    map[string]string `yaml:"InputPathsMap"`
	Template *yaml.Node        `yaml:"InputTemplate"`
}

func (s RuleSet) cloudFormation() ([]byte, error) {
	t := cfnTemplate{
		Version:     "2010-09-09",
		Description: "Tells the exporter of changes of " + s.words() + ".",
		Resources:   &yaml.Node{Kind: yaml.MappingNode},
	}
	t.Parameters.Stack = cfnParameter{"The stack that holds the exporter's queue.", "String", s.StackName, "^[a-zA-Z][-a-zA-Z0-9]*$"}
	for _, k := range s.Kinds {
		for i := range k.Rules {
			if err := s.addRule(t.Resources, k, &k.Rules[i]); err != nil {
				return nil, err
			}
		}
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(t); err != nil {
		return nil, fmt.Errorf("write the rules: %w", err)
	}
	return b.Bytes(), enc.Close()
}

func (s RuleSet) addRule(resources *yaml.Node, k *Kind, r *Rule) error {
	paths, template := r.Transformer(k.Name)
	rule := cfnRule{Type: "AWS::Events::Rule"}
	p := &rule.Properties
	p.Name, p.Description, p.EventBusName, p.State = r.FullName(), r.About, "default", "ENABLED"
	p.EventPattern = flow(string(r.Pattern()))
	p.Targets = []cfnTarget{{
		ID: targetID, ARN: flow(`{"Fn::ImportValue": {"Fn::Sub": "${PortAWSExporterStackName}-EventsQueueARN"}}`),
		Transformer: &cfnTransformer{Paths: paths, Template: &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.LiteralStyle, Value: template}},
	}}
	return addNode(resources, logicalID(r.Name), rule)
}

// addNode adds a key to a mapping, after those it has.
func addNode(mapping *yaml.Node, key string, value any) error {
	var v yaml.Node
	if err := v.Encode(value); err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	mapping.Content = append(mapping.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &v)
	return nil
}

// flow is JSON as YAML of the same form.
func flow(json string) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(json), &doc); err != nil {
		panic(err) // JSON of ours
	}
	return doc.Content[0]
}

// logicalID is a rule's name as CloudFormation has ids: LambdaFunctionRule.
func logicalID(name string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(name, "-") {
		b.WriteString(strings.ToUpper(part[:1]) + part[1:])
	}
	return b.String() + "Rule"
}

// words name the kinds, a few of them.
func (s RuleSet) words() string {
	const few = 8
	var names []string
	for _, k := range s.Kinds {
		names = append(names, k.Name)
	}
	if len(names) > few {
		return fmt.Sprintf("%s and %d other kinds", strings.Join(names[:few], ", "), len(names)-few)
	}
	return strings.Join(names, ", ")
}

// GlobalRegions are the regions, by kind, where the events of the set's global services
// come, wherever the queue is.
func (s RuleSet) GlobalRegions() map[string]string {
	regions := map[string]string{}
	for _, k := range s.Kinds {
		if k.Region != "" {
			regions[k.Name] = k.Region
		}
	}
	return regions
}

// Names are the kinds' names, sorted.
func Names(kinds []*Kind) []string {
	set := map[string]bool{}
	for _, k := range kinds {
		set[k.Name] = true
	}
	return slices.Sorted(maps.Keys(set))
}
