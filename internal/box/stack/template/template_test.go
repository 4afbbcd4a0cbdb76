package template

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustBind(t testing.TB, body string, parameters map[string]string) *Bound {
	t.Helper()
	parsed, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := parsed.Bind(Input{Parameters: parameters, Pseudo: pseudo})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// resource returns a resource by its logical id.
func (b *Bound) resource(t testing.TB, id string) *Resource {
	t.Helper()
	for _, r := range b.Resources() {
		if r.LogicalID == id {
			return r
		}
	}
	t.Fatalf("no resource %s", id)
	return nil
}

func TestLimitsAreAWSs(t *testing.T) {
	numbered := func(format string, n int) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = strings.ReplaceAll(format, "%d", fmt.Sprint(i))
		}
		return strings.Join(parts, "")
	}
	const one = "Resources: {Q: {Type: 'AWS::SQS::Queue'}}\n"
	for _, c := range []struct {
		name string
		body func(n int) string
		most int
		want string
	}{
		{"resources", func(n int) string { return "Resources:\n" + numbered("  Q%d: {Type: 'AWS::SQS::Queue'}\n", n) }, MaxResources, "Number of resources, 501,"},
		{"parameters", func(n int) string { return one + "Parameters:\n" + numbered("  P%d: {Type: String, Default: a}\n", n) }, MaxParameters, "Number of parameters, 201,"},
		{"outputs", func(n int) string { return one + "Outputs:\n" + numbered("  O%d: {Value: a}\n", n) }, MaxOutputs, "Number of outputs, 201,"},
		{"mappings", func(n int) string { return one + "Mappings:\n" + numbered("  M%d: {a: {b: c}}\n", n) }, MaxMappings, "Number of mappings, 201,"},
		{"keys of a mapping", func(n int) string { return one + "Mappings:\n  M:\n" + numbered("    k%d: {b: c}\n", n) }, MaxMappingAttributes, "Number of attributes in a mapping, 201,"},
		{"values of a mapping's key", func(n int) string { return one + "Mappings:\n  M:\n    k:\n" + numbered("      v%d: c\n", n) }, MaxMappingAttributes, "Number of attributes in a mapping, 201,"},
		{"characters of a name", func(n int) string { return "Resources: {" + strings.Repeat("Q", n) + ": {Type: 'AWS::SQS::Queue'}}" }, MaxNameLength, "longer than 255"},
		{"bytes of the description", func(n int) string { return "Description: '" + strings.Repeat("x", n) + "'\n" + one }, MaxDescriptionBytes, "greater than 1024"},
		{"bytes", func(n int) string { return one + strings.Repeat("#", n-len(one)) }, MaxBytes, "may not exceed 1048576 bytes"},
		{"depth", func(n int) string {
			n -= 5 // the template, its resources, the resource, its properties, V
			return "Resources: {R: {Type: Test::A::B, Properties: {V: " + strings.Repeat("[", n) + "x" + strings.Repeat("]", n) + "}}}"
		}, MaxDepth, "nested more than"},
		{"depth of JSON", func(n int) string {
			n -= 5
			return `{"Resources": {"R": {"Type": "Test::A::B", "Properties": {"V": ` + strings.Repeat("[", n) + "1" + strings.Repeat("]", n) + "}}}}"
		}, MaxDepth, "nested more than"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := Parse([]byte(c.body(c.most))); err != nil {
				t.Errorf("%d: %v", c.most, err)
			}
			_, err := Parse([]byte(c.body(c.most + 1)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d: %v", c.most+1, err)
			}
		})
	}
}

func TestTextThatIsNotUTF8NamesThePlace(t *testing.T) {
	_, err := Parse([]byte("Description: 队列\nResources: {\xe9}"))
	var e *Error
	if !errors.As(err, &e) || e.Line != 2 || e.Column != 13 || !strings.Contains(e.Message, "0xe9") {
		t.Errorf("%v", err)
	}
}

func TestBrokenYAMLNamesItsLine(t *testing.T) {
	head := "Resources:\n" + strings.Repeat("  # a comment\n", 50)
	for name, c := range map[string]struct {
		body string
		line int
	}{
		"indentation":         {head + "  Q:\n    Type: a::b\n   Properties: {}\n  R:\n    Type: c::d\n", 54},
		"a tab":               {head + "  Q:\n\tType: a::b\n", 53},
		"two colons":          {head + "  Q:\n    Type: a: b\n    DependsOn: x\n", 53},
		"a list in an object": {head + "  Q:\n    Type: a::b\n    - x\n  R: {}\n", 54},
		"an at sign":          {head + "  Q:\n    Type: @a\n", 53},
		"a control character": {head + "  Q:\n    Type: a\x01b\n", 53},
		"a later document":    {"Resources: {Q: {Type: a::b}}\n...\n---\na: [b\n", 4},
		"an undefined anchor": {head + "  Q: *nothing\n", 52},
	} {
		_, err := Parse([]byte(c.body))
		var e *Error
		if !errors.As(err, &e) || e.Line != c.line {
			t.Errorf("%s: want line %d: %v", name, c.line, err)
		}
	}
}

const shop = `
Parameters:
  Env: {Type: String, Default: dev}
  Size: {Type: Number, Default: 3}
Conditions:
  Prod: !Equals [!Ref Env, prod]
Resources:
  Rule:
    Type: AWS::Events::Rule
    Metadata: {Owner: !Ref Env}
    Properties:
      Name: !Sub "${AWS::StackName}-${Env}"
      State: ENABLED
      Description: !If [Prod, !Ref Unused, !Ref "AWS::NoValue"]
      Targets:
        - {Id: !Ref Env, Arn: !GetAtt Queue.Arn}
        - {Id: b, Arn: !GetAtt Queue.Arn, RoleArn: !Sub "${Queue}/${Size}"}
  Queue: {Type: "AWS::SQS::Queue"}
  Unused: {Type: "AWS::SQS::Queue", Condition: Prod}
`

func TestReferencesAreThoseOfTheBranchesTaken(t *testing.T) {
	rule := mustBind(t, shop, nil).resource(t, "Rule")
	want := []Reference{
		{"Name", ParameterReference, "Env", ""},
		{"Targets", ParameterReference, "Env", ""},
		{"Targets", ResourceAttribute, "Queue", "Arn"},
		{"Targets", ResourceReference, "Queue", ""},
		{"Targets", ParameterReference, "Size", ""},
		{"", ParameterReference, "Env", ""},
	}
	if diff := cmp.Diff(want, rule.References()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"Name", "State", "Description", "Targets"}, rule.PropertyNames()); diff != "" {
		t.Error(diff)
	}
	rule = mustBind(t, shop, map[string]string{"Env": "prod"}).resource(t, "Rule")
	if diff := cmp.Diff([]string{"Unused", "Queue"}, rule.DependsOn); diff != "" {
		t.Error(diff)
	}
}

func TestOnePropertyAtATime(t *testing.T) {
	rule := mustBind(t, shop, nil).resource(t, "Rule")
	for name, want := range map[string]any{"Name": "shop-dev", "State": "ENABLED", "Description": nil, "Absent": nil} {
		v, ok, err := rule.Property(name, nothingMade{})
		if err != nil || ok != (want != nil) || v != want {
			t.Errorf("%s: %v %v %v", name, v, ok, err)
		}
	}
	if _, _, err := rule.Property("Targets", nothingMade{}); !errors.Is(err, errNotMade) {
		t.Errorf("Targets: %v", err)
	}
}

var errNotMade = errors.New("not made yet")

// nothingMade is a stack before its first resource.
type nothingMade struct{}

func (nothingMade) Ref(string) (any, error)            { return nil, errNotMade }
func (nothingMade) GetAtt(string, string) (any, error) { return nil, errNotMade }
func (nothingMade) Import(string) (string, error)      { return "", errNotMade }

func TestTheResolversErrorIsFoundInOursWithThePlace(t *testing.T) {
	b := mustBind(t, shop, nil)
	_, err := b.resource(t, "Rule").Properties(nothingMade{})
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, errNotMade) || e.Path != "Resources/Rule/Properties/Targets/0/Arn" || e.Line != 16 {
		t.Errorf("%v", err)
	}
	if want := "not made yet (at Resources/Rule/Properties/Targets/0/Arn, line 16, column 31)"; err.Error() != want {
		t.Errorf("got %s\nwant %s", err, want)
	}
}

func TestAResolverThatYieldsNothingIsAnError(t *testing.T) {
	b := mustBind(t, "Resources: {A: {Type: T::A::B, Properties: {V: !Ref B}}, B: {Type: T::A::B}}", nil)
	if _, err := b.resource(t, "A").Properties(empty{}); err == nil || !strings.Contains(err.Error(), "yields no value") {
		t.Errorf("%v", err)
	}
}

type empty struct{ nothingMade }

func (empty) Ref(string) (any, error) { return nil, nil }

func TestParametersAreShownWithoutSecrets(t *testing.T) {
	b := mustBind(t, `
Parameters:
  B: {Type: String, NoEcho: true}
  A: {Type: Number, Default: 1.0}
Resources: {Q: {Type: "AWS::SQS::Queue"}}
`, map[string]string{"B": "hunter2"})
	want := []BoundParameter{
		{Name: "B", Type: "String", Value: "hunter2", Shown: "****", NoEcho: true},
		{Name: "A", Type: "Number", Value: "1.0", Shown: "1.0", Default: true},
	}
	if diff := cmp.Diff(want, b.Parameters()); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryHasWhatTheAPINeeds(t *testing.T) {
	parsed, err := Parse([]byte(`
AWSTemplateFormatVersion: 2010-09-09
Description: 商店 🛒
Transform: AWS::LanguageExtensions
Metadata: {b: 1.0, a: [!Ref x, "<y>"]}
Parameters:
  Env: {Type: String, Description: 环境, Default: dev, AllowedValues: [dev, prod], AllowedPattern: "[a-z]+", MinLength: 1, MaxLength: 9, ConstraintDescription: c}
  Secret: {Type: String, NoEcho: true}
  N: {Type: Number, MinValue: 1, MaxValue: 2.5}
Resources:
  B: {Type: "AWS::SQS::Queue"}
  A: {Type: "AWS::SQS::Queue"}
  R: {Type: "AWS::IAM::Role", Properties: {RoleName: r}}
  P: {Type: "AWS::IAM::Policy"}
`))
	if err != nil {
		t.Fatal(err)
	}
	dev := "dev"
	want := Summary{
		Version: "2010-09-09", Description: "商店 🛒", Metadata: `{"b":1.0,"a":[{"Ref":"x"},"<y>"]}`,
		Parameters: []Parameter{
			{
				Name: "Env", Type: "String", Description: "环境", Default: &dev, AllowedValues: []string{"dev", "prod"},
				AllowedPattern: "[a-z]+", ConstraintDescription: "c", MinLength: "1", MaxLength: "9",
			},
			{Name: "Secret", Type: "String", NoEcho: true},
			{Name: "N", Type: "Number", MinValue: "1", MaxValue: "2.5"},
		},
		ResourceTypes:      []string{"AWS::IAM::Policy", "AWS::IAM::Role", "AWS::SQS::Queue"},
		Resources:          map[string][]string{"AWS::SQS::Queue": {"B", "A"}, "AWS::IAM::Role": {"R"}, "AWS::IAM::Policy": {"P"}},
		DeclaredTransforms: []string{"AWS::LanguageExtensions"},
		Capabilities:       []string{"CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"},
		CapabilitiesReason: "The following resource(s) require capabilities: [AWS::IAM::Policy, AWS::IAM::Role]; the following transform(s) require capabilities: [AWS::LanguageExtensions]",
	}
	if diff := cmp.Diff(want, parsed.Summary()); diff != "" {
		t.Error(diff)
	}
}

func TestCapabilitiesFollowTheTypesAndNames(t *testing.T) {
	for resource, want := range map[string][]string{
		"{Type: 'AWS::SQS::Queue'}":                                          nil,
		"{Type: 'AWS::IAM::Role'}":                                           {"CAPABILITY_IAM"},
		"{Type: 'AWS::IAM::Role', Properties: {Path: /}}":                    {"CAPABILITY_IAM"},
		"{Type: 'AWS::IAM::User', Properties: {UserName: x}}":                {"CAPABILITY_NAMED_IAM"},
		"{Type: 'AWS::SQS::Queue', Properties: {RoleName: x}}":               nil,
		"{Type: 'AWS::IAM::ManagedPolicy', Properties: {PolicyDocument: 1}}": {"CAPABILITY_IAM"},
	} {
		parsed, err := Parse([]byte("Resources: {R: " + resource + "}"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, parsed.Summary().Capabilities); diff != "" {
			t.Errorf("%s: %s", resource, diff)
		}
	}
}

func TestBoundTemplatesAreUsedByManyAtOnce(t *testing.T) {
	b := mustBind(t, shop, map[string]string{"Env": "prod"})
	want, err := b.resource(t, "Rule").Properties(made{})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 50 {
				got, err := b.resource(t, "Rule").Properties(made{})
				if err != nil || !cmp.Equal(want, got) {
					t.Errorf("%v %v", got, err)
				}
			}
		})
	}
	wait.Wait()
}

// What a caller does to a value it was given is not seen by the next.
func TestValuesAreTheCallersOwn(t *testing.T) {
	b := mustBind(t, `
Mappings: {M: {a: {b: [x, y]}}}
Parameters: {L: {Type: CommaDelimitedList, Default: "x,y"}}
Resources: {A: {Type: T::A::B, Properties: {V: !FindInMap [M, a, b], W: !Ref L}}}
`, nil)
	for range 2 {
		got, err := b.resource(t, "A").Properties(made{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"V": []any{"x", "y"}, "W": []any{"x", "y"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		got["V"].([]any)[0], got["W"].([]any)[0] = "z", "z"
	}
}

func TestSmallTemplatesCannotAskForAnyAmountOfMemory(t *testing.T) {
	nest := func(n int, open, inner, end string) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
	}
	const head = "Transform: AWS::LanguageExtensions\nParameters: {P: {Type: String}}\nResources:\n  R:\n    Type: T::A::B\n    Properties:\n      V: "
	long := strings.Repeat("x", MaxParameterValue)
	for name, value := range map[string]string{
		"JSON in JSON":     nest(90, `{"Fn::ToJsonString": [`, `"a\"b"`, `]}`),
		"base64 of base64": nest(150, `{"Fn::Base64": `, `{"Ref": "P"}`, `}`),
		"sub in sub":       nest(60, `{"Fn::Sub": ["${a}${a}${a}${a}", {"a": `, `{"Ref": "P"}`, `}]}`),
		"join in join":     nest(20, `{"Fn::Join": ["", [{"Ref": "P"}, {"Ref": "P"}, `, `{"Ref": "P"}`, `]]}`),
		"one long sub":     `{"Fn::Sub": "` + strings.Repeat("${P}", 2000) + `"}`,
		"one wide join":    `{"Fn::Join": ["` + strings.Repeat("-", 4000) + `", [` + strings.Repeat(`"a",`, 4000) + `"b"]]}`,
	} {
		parsed, err := Parse([]byte(head + value))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err = parsed.Bind(Input{Parameters: map[string]string{"P": long}})
		if name == "join in join" {
			if err != nil {
				t.Errorf("%s: %v", name, err) // within the limit
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "produce more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Values that are worked out again wherever a variable is used cost no memory, but time.
func TestSmallTemplatesCannotAskForAnyAmountOfTime(t *testing.T) {
	subs := func(n int, inner string) string {
		return `{"Fn::Sub": ["` + strings.Repeat("${a}", n) + `", {"a": ` + inner + `}]}`
	}
	many := strings.TrimSuffix(strings.Repeat(`"",`, 2000), ",")
	const head = "Parameters: {P: {Type: CommaDelimitedList, Default: ''}}\n"
	resource := func(value string) string {
		return head + "Resources: {R: {Type: T::A::B, Properties: {V: " + value + "}}}"
	}
	const one = "\nResources: {R: {Type: T::A::B}}"
	var spread strings.Builder
	spread.WriteString(head + "Resources:\n")
	for i := range 100 {
		fmt.Fprintf(&spread, "  R%d: {Type: T::A::B, Properties: {V: %s}}\n", i, subs(20, subs(20, subs(20, subs(5, `""`)))))
	}
	for name, template := range map[string]string{
		"sub in sub":         resource(subs(2000, subs(2000, `""`))),
		"a join in subs":     resource(subs(200, subs(200, `{"Fn::Join": ["", [`+many+`]]}`))),
		"a list in subs":     resource(subs(2000, `{"Fn::Select": [0, [`+many+`]]}`)),
		"a condition":        head + "Conditions: {C: {Fn::Equals: ['', " + subs(2000, subs(2000, `""`)) + "]}}" + one,
		"an output":          head + "Outputs: {O: {Value: " + subs(2000, subs(2000, `""`)) + "}}" + one,
		"members in members": head + "Rules: {R: {Assertions: [{Assert: {Fn::EachMemberIn: [[" + many + "], [" + strings.Repeat("x,", 2000) + "'']]}}]}}" + one,
		"many resources":     spread.String(),
	} {
		parsed, err := Parse([]byte(template))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := parsed.Bind(Input{Pseudo: pseudo}); err == nil || !strings.Contains(err.Error(), "work out more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestExamplesOfTheExporter(t *testing.T) {
	read := func(name string) string {
		body, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "examples", "exporter", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	queue := mustBind(t, read("queue.yaml"), nil)
	rule := mustBind(t, read("lambda-rule.yaml"), map[string]string{"PortAWSExporterStackName": pseudo.StackName})
	var exported string
	for _, o := range queue.Outputs() {
		if o.Export != "" {
			exported = o.Export
		}
	}
	if diff := cmp.Diff([]string{exported}, rule.Imports()); diff != "" || exported != "shop-EventsQueueARN" {
		t.Errorf("export %q: %s", exported, diff)
	}
	if diff := cmp.Diff([]string{"EventsQueue"}, queue.resource(t, "EventsQueuePolicy").DependsOn); diff != "" {
		t.Error(diff)
	}
	p, err := rule.resource(t, "LambdaFunctionRule").Properties(made{})
	if err != nil {
		t.Fatal(err)
	}
	target := p["Targets"].([]any)[0].(map[string]any)
	if target["Id"] != "PortAWSExporterEventsQueue" || target["Arn"] != "<shop-EventsQueueARN>" {
		t.Errorf("%v", target)
	}
	parsed, err := Parse([]byte(read("lambda-rule.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parsed.Bind(Input{Parameters: map[string]string{"PortAWSExporterStackName": "1-stack"}})
	if err == nil || !strings.Contains(err.Error(), "Parameter PortAWSExporterStackName failed to satisfy constraint") {
		t.Errorf("%v", err)
	}
}
