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

// RuleSet says which event rules to write.
type RuleSet struct {
	Kinds []*Kind
	// StackName is the stack that exports the queue's ARN; empty stands for QueueStack.
	StackName string
	// Central is the region of the queue. Rules elsewhere forward the events to the
	// default event bus there, as EventBridge sends to queues of its own region alone.
	// Empty: the rules are for the region of the queue.
	Central string
	// Regions are those that a Terraform configuration with a Central region has rules in
	// besides it. A CloudFormation template is deployed to each region.
	Regions []string
}

var (
	stackForm  = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)
	regionForm = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
)

func (s RuleSet) check(f Format) error {
	if len(s.Kinds) == 0 {
		return errors.New("name at least one kind")
	}
	if s.StackName != "" && !stackForm.MatchString(s.StackName) {
		return fmt.Errorf("%q is no name of a stack: a letter, then at most 127 letters, digits and hyphens", s.StackName)
	}
	if s.Central != "" && !regionForm.MatchString(s.Central) {
		return fmt.Errorf("%q does not look like a region such as us-east-1", s.Central)
	}
	for i, r := range s.Regions {
		if !regionForm.MatchString(r) {
			return fmt.Errorf("%q does not look like a region such as us-east-1", r)
		}
		if slices.Contains(s.Regions[:i], r) || r == s.Central {
			return fmt.Errorf("region %s is there twice", r)
		}
	}
	switch {
	case f != CloudFormation && f != Terraform:
		return fmt.Errorf("format %q is neither %s nor %s", f, CloudFormation, Terraform)
	case len(s.Regions) > 0 && f == CloudFormation:
		return errors.New("a CloudFormation template names no regions: deploy the one template to each of them, as a stack set for example")
	case len(s.Regions) > 0 && s.Central == "":
		return errors.New("events of other regions come by way of the queue's own: name it as the central region")
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
	Version     string                `yaml:"AWSTemplateFormatVersion"`
	Description string                `yaml:"Description"`
	Parameters  cfnParameters         `yaml:"Parameters"`
	Conditions  map[string]*yaml.Node `yaml:"Conditions,omitempty"`
	Resources   *yaml.Node            `yaml:"Resources"`
}

type cfnParameters struct {
	Stack   cfnParameter  `yaml:"PortAWSExporterStackName"`
	Central *cfnParameter `yaml:"CentralRegion,omitempty"`
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
		Name         string     `yaml:"Name"`
		Description  string     `yaml:"Description"`
		EventBusName string     `yaml:"EventBusName"`
		State        string     `yaml:"State"`
		EventPattern *yaml.Node `yaml:"EventPattern"`
		Targets      any        `yaml:"Targets"`
	} `yaml:"Properties"`
}

type cfnTarget struct {
	ID          string          `yaml:"Id"`
	ARN         *yaml.Node      `yaml:"Arn"`
	Role        *yaml.Node      `yaml:"RoleArn,omitempty"`
	Transformer *cfnTransformer `yaml:"InputTransformer,omitempty"`
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
	if s.Central != "" {
		t.Parameters.Central = &cfnParameter{
			"The region of the exporter's queue; deployed elsewhere, the rules forward events to it.", "String", s.Central, `^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`,
		}
		t.Conditions = map[string]*yaml.Node{
			"Central":   flow(`{"Fn::Equals": [{"Ref": "AWS::Region"}, {"Ref": "CentralRegion"}]}`),
			"Elsewhere": flow(`{"Fn::Not": [{"Condition": "Central"}]}`),
		}
	}
	for _, k := range s.Kinds {
		for i := range k.Rules {
			if err := s.addRule(t.Resources, k, &k.Rules[i]); err != nil {
				return nil, err
			}
		}
	}
	if s.Central != "" {
		if err := addNode(t.Resources, "ForwardRole", flow(forwardRole)); err != nil {
			return nil, err
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

// forwardRole lets EventBridge put events of rules elsewhere on the central event bus.
const forwardRole = `{"Type": "AWS::IAM::Role", "Condition": "Elsewhere", "Properties": {
"Description": "Lets EventBridge forward events to the region of the exporter's queue",
"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole",
"Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}, "ArnLike": {"aws:SourceArn": {"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/exporter-*"}}}}]},
"Policies": [{"PolicyName": "forward", "PolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "events:PutEvents",
"Resource": {"Fn::Sub": "arn:${AWS::Partition}:events:${CentralRegion}:${AWS::AccountId}:event-bus/default"}}]}}]}}`

func (s RuleSet) addRule(resources *yaml.Node, k *Kind, r *Rule) error {
	paths, template := r.Transformer(k.Name)
	rule := cfnRule{Type: "AWS::Events::Rule"}
	p := &rule.Properties
	p.Name, p.Description, p.EventBusName, p.State = r.FullName(), r.About, "default", "ENABLED"
	p.EventPattern = flow(string(r.Pattern()))
	toQueue := []cfnTarget{{
		ID: targetID, ARN: flow(`{"Fn::ImportValue": {"Fn::Sub": "${PortAWSExporterStackName}-EventsQueueARN"}}`),
		Transformer: &cfnTransformer{Paths: paths, Template: &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.LiteralStyle, Value: template}},
	}}
	p.Targets = toQueue
	if s.Central != "" {
		forward := []cfnTarget{{
			ID: "central", ARN: flow(`{"Fn::Sub": "arn:${AWS::Partition}:events:${CentralRegion}:${AWS::AccountId}:event-bus/default"}`),
			Role: flow(`{"Fn::GetAtt": ["ForwardRole", "Arn"]}`),
		}}
		p.Targets = map[string]any{"Fn::If": []any{"Central", toQueue, forward}}
	}
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
