package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const pattern = `{"source":["aws.ec2"],"detail":{"名":["值 🚀","${a}","%{b}","\u0085","🫪󰀀",{"numeric":[">",0,"<=",5]},{"exists":false}]}}`

func endpoint(l Layout) Endpoint {
	return Endpoint{
		Name: "rialto-aws", Description: `Events for Rialto: "aws", ${x}, 订单 🛒`, InvocationURL: "https://rialto.example.com/v1/intake/6d4fd2f8-0d1c-4d5b-9a54-5a6f3f9f8a01",
		TokenURL: "https://rialto.example.com/v1/oauth_token", ClientID: "rlc-1", Pattern: pattern, Layout: l,
	}
}

func queue(l Layout) Queue {
	return Queue{Name: "rialto-aws", Description: "Events for Rialto", QueueName: "events", Region: "us-east-1", Pattern: pattern, Layout: l}
}

type rendered interface {
	Render(f Format) ([]byte, error)
}

// all are the templates of each layout.
func all(f Format) map[string]rendered {
	var regions []string
	if f == Terraform {
		regions = []string{"eu-west-1", "ap-southeast-2"}
	}
	list := map[string]rendered{
		"endpoint":         endpoint(Layout{}),
		"endpoint-central": endpoint(Layout{Central: "us-east-1", Regions: regions}),
		"queue":            queue(Layout{}),
		"queue-central":    queue(Layout{Central: "us-east-1", Regions: regions}),
	}
	if f == Terraform {
		list["endpoint-regions"] = endpoint(Layout{Regions: regions})
	}
	return list
}

func text(t *testing.T, r rendered, f Format) string {
	t.Helper()
	b, err := r.Render(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stack is a CloudFormation template as far as it is looked at.
type stack struct {
	Version     string                    `yaml:"AWSTemplateFormatVersion"`
	Description string                    `yaml:"Description"`
	Parameters  map[string]map[string]any `yaml:"Parameters"`
	Conditions  map[string]any            `yaml:"Conditions"`
	Resources   map[string]resource       `yaml:"Resources"`
	Outputs     map[string]map[string]any `yaml:"Outputs"`
}

type resource struct {
	Type       string         `yaml:"Type"`
	Condition  string         `yaml:"Condition"`
	Properties map[string]any `yaml:"Properties"`
}

func parseStack(t *testing.T, text string) stack {
	t.Helper()
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	var s stack
	if err := dec.Decode(&s); err != nil {
		t.Fatalf("not YAML of a template: %v\n%s", err, text)
	}
	return s
}

// attributes are the GetAtt names of the resource types that are used.
var attributes = map[string][]string{
	"AWS::Events::Connection": {"Arn"}, "AWS::Events::ApiDestination": {"Arn"}, "AWS::Events::Rule": {"Arn"},
	"AWS::IAM::Role": {"Arn"}, "AWS::IAM::ManagedPolicy": nil, "AWS::SQS::Queue": {"Arn"}, "AWS::SQS::QueuePolicy": nil,
}

var pseudo = []string{"AWS::Region", "AWS::AccountId", "AWS::Partition", "AWS::NoValue"}

// checkReferences walks v, which stands under a condition or none, and says what
// refers to nothing, or to what is not there when v is.
func (s *stack) checkReferences(v any, condition string) (faults []string) {
	refer := func(name string) {
		r, isResource := s.Resources[name]
		_, isParameter := s.Parameters[name]
		switch {
		case !isResource && !isParameter && !slices.Contains(pseudo, name):
			faults = append(faults, name+" is not there")
		case isResource && r.Condition != "" && r.Condition != condition:
			faults = append(faults, fmt.Sprintf("%s is there under %q only, not under %q", name, r.Condition, condition))
		}
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			faults = append(faults, s.checkReferences(item, condition)...)
		}
	case map[string]any:
		for name, item := range v {
			switch name {
			case "Ref":
				refer(item.(string))
			case "Fn::GetAtt":
				list := item.([]any)
				refer(list[0].(string))
				if !slices.Contains(attributes[s.Resources[list[0].(string)].Type], list[1].(string)) {
					faults = append(faults, fmt.Sprintf("%v has no such attribute", list))
				}
			case "Fn::Sub":
				for _, m := range regexp.MustCompile(`\$\{([^}]+)\}`).FindAllStringSubmatch(item.(string), -1) {
					refer(m[1])
				}
			case "Fn::If":
				if s.Conditions[item.([]any)[0].(string)] == nil {
					faults = append(faults, fmt.Sprintf("condition %v is not there", item))
				}
				faults = append(faults, s.checkReferences(item.([]any)[1:], condition)...)
			case "Condition":
				if c, ok := item.(string); ok && s.Conditions[c] == nil {
					faults = append(faults, fmt.Sprintf("condition %s is not there", c))
				}
				faults = append(faults, s.checkReferences(item, condition)...)
			case "EventPattern": // of which nothing is a reference
			default:
				faults = append(faults, s.checkReferences(item, condition)...)
			}
		}
	}
	return faults
}

func TestCloudFormationHoldsTogether(t *testing.T) {
	for name, r := range all(CloudFormation) {
		t.Run(name, func(t *testing.T) {
			s := parseStack(t, text(t, r, CloudFormation))
			if s.Version != "2010-09-09" || s.Description == "" || len(s.Description) > 1024 {
				t.Errorf("version %q, description %q", s.Version, s.Description)
			}
			rules := 0
			for id, r := range s.Resources {
				if _, known := attributes[r.Type]; !known {
					t.Errorf("%s is of type %s", id, r.Type)
				}
				if r.Condition != "" && s.Conditions[r.Condition] == nil {
					t.Errorf("%s has condition %s, which is not there", id, r.Condition)
				}
				for _, fault := range s.checkReferences(r.Properties, r.Condition) {
					t.Errorf("%s: %s", id, fault)
				}
				if r.Type == "AWS::Events::Rule" {
					rules++
					checkRule(t, r.Properties)
				}
			}
			for id, c := range s.Conditions {
				for _, fault := range s.checkReferences(c, "") {
					t.Errorf("condition %s: %s", id, fault)
				}
			}
			for id, o := range s.Outputs {
				condition, _ := o["Condition"].(string)
				for _, fault := range s.checkReferences(o["Value"], condition) {
					t.Errorf("output %s: %s", id, fault)
				}
			}
			if want := 1 + strings.Count(name, "central"); rules != want {
				t.Errorf("there are %d rules, want %d", rules, want)
			}
		})
	}
}

func checkRule(t *testing.T, properties map[string]any) {
	t.Helper()
	var want any
	if err := json.Unmarshal([]byte(pattern), &want); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(properties["EventPattern"])
	if err != nil {
		t.Fatal(err)
	}
	var got any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the pattern (-want +got):\n%s", d)
	}
	for _, target := range properties["Targets"].([]any) {
		target := target.(map[string]any)
		_, toBus := target["Arn"].(map[string]any)["Fn::Sub"]
		if target["DeadLetterConfig"] == nil || (target["RetryPolicy"] == nil) != toBus {
			t.Errorf("target %v lacks a dead-letter queue, or its retry policy is not as its kind has it", target)
		}
	}
}

func TestTheSecretIsAParameterThatIsNotShown(t *testing.T) {
	s := parseStack(t, text(t, endpoint(Layout{}), CloudFormation))
	secret := s.Parameters["ClientSecret"]
	if secret["NoEcho"] != true || secret["Default"] != nil {
		t.Errorf("the parameter is %v", secret)
	}
	oauth := s.Resources["Connection"].Properties["AuthParameters"].(map[string]any)["OAuthParameters"].(map[string]any)
	want := map[string]any{"ClientID": map[string]any{"Ref": "ClientId"}, "ClientSecret": map[string]any{"Ref": "ClientSecret"}}
	if d := cmp.Diff(want, oauth["ClientParameters"]); d != "" {
		t.Error(d)
	}
	variable := regexp.MustCompile(`(?s)variable "client_secret" \{.*?\n\}`).FindString(text(t, endpoint(Layout{}), Terraform))
	if !strings.Contains(variable, "sensitive   = true") || strings.Contains(variable, "default") {
		t.Errorf("the variable is %s", variable)
	}
}

// Roles can be assumed for rules of the account alone.
func TestRolesAreForRulesOfTheAccount(t *testing.T) {
	roles := 0
	for name, r := range all(CloudFormation) {
		s := parseStack(t, text(t, r, CloudFormation))
		for id, resource := range s.Resources {
			if resource.Type != "AWS::IAM::Role" {
				continue
			}
			roles++
			statement := resource.Properties["AssumeRolePolicyDocument"].(map[string]any)["Statement"].([]any)[0].(map[string]any)
			want := map[string]any{
				"StringEquals": map[string]any{"aws:SourceAccount": map[string]any{"Ref": "AWS::AccountId"}},
				"ArnLike":      map[string]any{"aws:SourceArn": map[string]any{"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*"}},
			}
			if d := cmp.Diff(want, statement["Condition"]); d != "" {
				t.Errorf("%s of %s: %s", id, name, d)
			}
		}
	}
	for name, r := range all(Terraform) {
		text := text(t, r, Terraform)
		trusts, conditions := strings.Count(text, `"sts:AssumeRole"`), strings.Count(text, `{ "aws:SourceAccount" = data.aws_caller_identity.current.account_id }`)
		roles += trusts
		if trusts != conditions {
			t.Errorf("%s: %d of %d roles name the account", name, conditions, trusts)
		}
	}
	if roles < 8 {
		t.Errorf("there are only %d roles", roles)
	}
}

var (
	tfDeclared = regexp.MustCompile(`(?m)^(resource|data|variable|provider) "([\w-]+)"(?: "([\w-]+)")? \{`)
	tfAlias    = regexp.MustCompile(`(?m)^  alias  = "(\w+)"`)
	tfLocal    = regexp.MustCompile(`(?m)^  (\w+) += `)
	tfUsed     = regexp.MustCompile(`(?:data\.)?\baws_\w+\.\w+|\b(?:var|local)\.\w+|provider = aws\.\w+`)
	tfString   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
)

func TestTerraformHoldsTogether(t *testing.T) {
	for name, r := range all(Terraform) {
		t.Run(name, func(t *testing.T) {
			text := text(t, r, Terraform)
			declared := map[string]bool{}
			for _, m := range tfDeclared.FindAllStringSubmatch(text, -1) {
				key := map[string]string{"resource": m[2] + "." + m[3], "data": "data." + m[2] + "." + m[3], "variable": "var." + m[2], "provider": ""}[m[1]]
				if key != "" && declared[key] {
					t.Errorf("%s is there twice", key)
				}
				declared[key] = true
			}
			for _, m := range tfAlias.FindAllStringSubmatch(text, -1) {
				declared["provider = aws."+m[1]] = true
			}
			for _, block := range regexp.MustCompile(`(?s)\nlocals \{.*?\n\}`).FindAllString(text, -1) {
				for _, m := range tfLocal.FindAllStringSubmatch(block, -1) {
					declared["local."+m[1]] = true
				}
			}
			for _, use := range tfUsed.FindAllString(text, -1) {
				if !declared[use] {
					t.Errorf("%s is not declared", use)
				}
			}
			code := tfString.ReplaceAllString(regexp.MustCompile(`(?s)<<-JSON.*?JSON`).ReplaceAllString(text, `""`), `""`)
			for _, pair := range []string{"{}", "[]", "()"} {
				if strings.Count(code, pair[:1]) != strings.Count(code, pair[1:]) {
					t.Errorf("%s do not pair", pair)
				}
			}
			if !strings.Contains(text, `"$${a}","%%{b}"`) {
				t.Error("the pattern is taken for a template")
			}
		})
	}
}

func TestTerraformIsFormatted(t *testing.T) {
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not on this machine")
	}
	for name, r := range all(Terraform) {
		cmd := exec.Command(program, "fmt", "-check", "-diff", "-no-color", "-")
		cmd.Stdin = strings.NewReader(text(t, r, Terraform))
		if out, err := cmd.Output(); err != nil {
			t.Errorf("%s: terraform fmt: %v\n%s", name, err, out)
		}
	}
}

func TestCloudFormationPassesTheLinter(t *testing.T) {
	program, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not on this machine")
	}
	if out, err := exec.Command(program, "--version").CombinedOutput(); err != nil {
		t.Skipf("cfn-lint does not run on this machine: %s", bytes.TrimSpace(out))
	}
	dir := t.TempDir()
	args := []string{}
	for name, r := range all(CloudFormation) {
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(text(t, r, CloudFormation)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}

func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	change := func(f func(*Endpoint)) Endpoint {
		e := endpoint(Layout{})
		f(&e)
		return e
	}
	fifo := queue(Layout{})
	fifo.QueueName = "events.fifo"
	for name, tt := range map[string]struct {
		template rendered
		format   Format
		says     string
	}{
		"another format":                      {endpoint(Layout{}), "pulumi", "pulumi"},
		"a pattern that is no JSON":           {change(func(e *Endpoint) { e.Pattern = "{" }), CloudFormation, "pattern"},
		"a pattern that is no object":         {change(func(e *Endpoint) { e.Pattern = "[1]" }), Terraform, "pattern"},
		"a pattern without members":           {change(func(e *Endpoint) { e.Pattern = "{}" }), Terraform, "pattern"},
		"a description of two lines":          {change(func(e *Endpoint) { e.Description = "a\nb" }), Terraform, "one line"},
		"CloudFormation of regions":           {endpoint(Layout{Regions: []string{"eu-west-1"}}), CloudFormation, "deploy the one template"},
		"a region twice":                      {endpoint(Layout{Regions: []string{"eu-west-1", "eu-west-1"}}), Terraform, "twice"},
		"a region that forwards to itself":    {endpoint(Layout{Central: "eu-west-1", Regions: []string{"eu-west-1"}}), Terraform, "twice"},
		"a central region of nothing":         {endpoint(Layout{Central: "eu-west-1"}), Terraform, "name the regions"},
		"a region that is none":               {endpoint(Layout{Regions: []string{`x" {}`}}), Terraform, "does not look like a region"},
		"a central region that is none":       {endpoint(Layout{Central: `us-east-1"`}), CloudFormation, "does not look like a region"},
		"a reference in a pattern":            {change(func(e *Endpoint) { e.Pattern = `{"detail":{"Ref":["x"]}}` }), CloudFormation, `"Ref"`},
		"a function in a pattern":             {change(func(e *Endpoint) { e.Pattern = `{"$or":[{"a":["b"]},{"a":{"Fn::If":["IsCentral","a","b"]}}]}` }), CloudFormation, `"Fn::If"`},
		"a secret in a pattern":               {change(func(e *Endpoint) { e.Pattern = `{"a":["\u007b{resolve:secretsmanager:s}}"]}` }), CloudFormation, "resolve:secretsmanager"},
		"a secret in a pattern's name":        {change(func(e *Endpoint) { e.Pattern = `{"{{resolve:ssm:s}}":["a"]}` }), CloudFormation, "resolve:ssm"},
		"a secret in a description":           {change(func(e *Endpoint) { e.Description = "{{resolve:ssm:s}}" }), CloudFormation, "resolve:ssm"},
		"a queue with another central region": {queue(Layout{Central: "eu-west-1"}), CloudFormation, "that of the queue, us-east-1"},
		"a queue of several regions":          {queue(Layout{Regions: []string{"eu-west-1"}}), Terraform, "us-east-1 as the central region"},
		"a FIFO queue":                        {fifo, CloudFormation, "FIFO"},
	} {
		if _, err := tt.template.Render(tt.format); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want an error with %q", name, err, tt.says)
		}
	}
}

func TestPatternsOfAccountsAndNames(t *testing.T) {
	if got := PatternOf([]string{"111122223333"}, nil); got != `{"account":["111122223333"]}` {
		t.Error(got)
	}
	if got := PatternOf([]string{"111122223333"}, []string{"us-east-1"}); got != `{"account":["111122223333"],"region":["us-east-1"]}` {
		t.Error(got)
	}
	if got := ResourceName("aws"); got != "rialto-aws" {
		t.Error(got)
	}
	if got := ResourceName(strings.Repeat("x", 70)); got != strings.Repeat("x", 64) {
		t.Error(got)
	}
}
