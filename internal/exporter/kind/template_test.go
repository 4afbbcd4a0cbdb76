package kind

import (
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

func render(t testing.TB, f Format, kinds ...*Kind) string {
	t.Helper()
	text, err := RuleSet{Kinds: kinds}.Render(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is written is what is in the table: read again, the patterns and transformers are the
// rules' own, and nothing is wrong with them.
func TestCloudFormationHoldsTheRules(t *testing.T) {
	text := render(t, CloudFormation, All()...)
	declared, problems := ReadRules([]byte(text))
	for _, p := range problems {
		t.Errorf("problem: %s", p)
	}
	byName := map[string]Declared{}
	for _, r := range declared {
		byName[r.Name] = r
	}
	rules := 0
	for _, k := range All() {
		for i := range k.Rules {
			rules++
			r := &k.Rules[i]
			have, ok := byName[logicalID(r.Name)]
			if !ok || len(have.Targets) != 1 {
				t.Errorf("rule %s is not there, or has %d targets", r.Name, len(have.Targets))
				continue
			}
			if d := gocmp.Diff(decoded(t, r.Pattern()), decoded(t, have.Pattern)); d != "" {
				t.Errorf("%s: the pattern (-want +got):\n%s", r.Name, d)
			}
			paths, template := r.Transformer(k.Name)
			if d := gocmp.Diff(DeclaredTarget{ID: targetID, Transforms: true, Paths: paths, Template: template}, withoutLine(have.Targets[0])); d != "" {
				t.Errorf("%s: the target (-want +got):\n%s", r.Name, d)
			}
		}
	}
	if len(declared) != rules {
		t.Errorf("it has %d rules, want %d", len(declared), rules)
	}
	problems, _ = LintRules(declared, nil)
	for _, p := range problems {
		t.Errorf("lint: %s", p)
	}
}

func withoutLine(d DeclaredTarget) DeclaredTarget {
	d.Line = 0
	return d
}

func decoded(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// One kind's rules are well within what CloudFormation takes in a call, and so are those of
// ten.
func TestTemplatesAreWithinTheLimitOfACall(t *testing.T) {
	for _, k := range All() {
		if n := len(render(t, CloudFormation, k)); n > MaxTemplate/10 {
			t.Errorf("%s alone has %d bytes", k.Name, n)
		}
	}
}

func TestTheStackThatExportsTheQueueIsAParameter(t *testing.T) {
	text, err := RuleSet{Kinds: find(t, "AWS::SQS::Queue"), StackName: "mine"}.Render(CloudFormation)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Default: mine\n", `{"Fn::ImportValue": {"Fn::Sub": "${PortAWSExporterStackName}-EventsQueueARN"}}`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("it lacks %s:\n%s", want, text)
		}
	}
	if !strings.Contains(render(t, CloudFormation, find(t, "AWS::SQS::Queue")...), "Default: "+QueueStack+"\n") {
		t.Error("the usual stack is not the default")
	}
}

func TestKindsAreWrittenOnceAndInOrder(t *testing.T) {
	some := find(t, "AWS::SQS::Queue", "AWS::Lambda::Function", "AWS::SQS::Queue")
	if d := gocmp.Diff(render(t, CloudFormation, find(t, "AWS::Lambda::Function", "AWS::SQS::Queue")...), render(t, CloudFormation, some...)); d != "" {
		t.Error(d)
	}
	if some[0].Name != "AWS::SQS::Queue" {
		t.Error("the caller's list has changed")
	}
}

func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	queue := find(t, "AWS::SQS::Queue")
	for _, c := range []struct {
		name   string
		set    RuleSet
		format Format
		want   string
	}{
		{"no kinds", RuleSet{}, CloudFormation, "name at least one kind"},
		{"format", RuleSet{Kinds: queue}, "pulumi", `format "pulumi" is neither cloudformation nor terraform`},
		{"stack with underscore", RuleSet{Kinds: queue, StackName: "a_b"}, CloudFormation, `"a_b" is no name of a stack`},
		{"stack with quote", RuleSet{Kinds: queue, StackName: `a"b`}, Terraform, "is no name of a stack"},
		{"long stack", RuleSet{Kinds: queue, StackName: strings.Repeat("a", 129)}, Terraform, "is no name of a stack"},
		{"stack in Chinese", RuleSet{Kinds: queue, StackName: "队列"}, Terraform, "is no name of a stack"},
	} {
		if out, err := c.set.Render(c.format); err == nil || !strings.Contains(err.Error(), c.want) || out != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestTerraformIsFormatted(t *testing.T) {
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not on this machine")
	}
	cmd := exec.CommandContext(t.Context(), program, "fmt", "-check", "-diff", "-no-color", "-")
	cmd.Stdin = strings.NewReader(render(t, Terraform, All()...))
	if out, err := cmd.Output(); err != nil {
		t.Errorf("terraform fmt: %v\n%s", err, out)
	}
}

// plugins are where machines that test with Terraform have its providers.
var plugins = cmp.Or(os.Getenv("RIALTO_TEST_TERRAFORM_PLUGINS"), "/opt/tf-plugins")

func TestTerraformIsValid(t *testing.T) {
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not on this machine")
	}
	if _, err := os.Stat(filepath.Join(plugins, "registry.terraform.io", "hashicorp", "aws")); err != nil {
		t.Skip("terraform's aws provider is not on this machine")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(render(t, Terraform, All()...)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-input=false", "-no-color", "-plugin-dir=" + plugins}, {"validate", "-no-color"}} {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("terraform %s: %v\n%s", args[0], err, out)
		}
	}
}

func TestCloudFormationPassesTheLinter(t *testing.T) {
	program, err := exec.LookPath("cfn-lint")
	if err != nil {
		t.Skip("cfn-lint is not on this machine")
	}
	if out, err := exec.CommandContext(t.Context(), program, "--version").CombinedOutput(); err != nil {
		t.Skipf("cfn-lint does not run on this machine: %s", out)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(render(t, CloudFormation, find(t, "AWS::Lambda::Function", "AWS::EC2::Instance", "AWS::Events::Rule", "AWS::SNS::Topic")...)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, file).CombinedOutput(); err != nil {
		t.Errorf("cfn-lint: %v\n%s", err, out)
	}
}
