package kind

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

// lint reads and checks a template, and returns what is found, one a line.
func lint(t testing.TB, template string, events ...SampleEvent) (found []string, records []config.SampleRecord) {
	t.Helper()
	rules, problems := ReadRules([]byte(template))
	more, records := LintRules(rules, events)
	for _, p := range slices.Concat(problems, more) {
		level := "error "
		if p.Warning {
			level = "warning "
		}
		found = append(found, level+p.String())
	}
	return found, records
}

// ruleWith is a template of one rule, whose properties are given.
func ruleWith(properties string) string {
	return "Resources:\n  R:\n    Type: AWS::Events::Rule\n    Properties:\n" + strings.ReplaceAll("\n"+strings.TrimSpace(properties), "\n", "\n      ")[1:] + "\n"
}

const (
	goodPattern = `EventPattern: {source: [aws.sqs], detail-type: [AWS API Call via CloudTrail], detail: {errorCode: [{exists: false}], eventName: [DeleteQueue]}}`
	goodRecord  = `{"resource_type": "AWS::SQS::Queue", "region": ".awsRegion", "identifier": ".url", "awsRegion": "<awsRegion>", "url": "<url>"}`
)

// target is a target with a template of a record.
func target(record string) string {
	return `
Targets:
  - Id: q
    Arn: {Fn::ImportValue: queue}
    InputTransformer:
      InputPathsMap: {awsRegion: $.detail.awsRegion, url: $.detail.requestParameters.queueUrl}
      InputTemplate: '` + strings.ReplaceAll(record, "'", "''") + `'`
}

func TestLintFindsWhatIsWrongWithRules(t *testing.T) {
	for _, c := range []struct{ name, template, want string }{
		{"no YAML", "{", "error the template is neither YAML nor JSON"},
		{"empty", "", "error Resources: is missing: this is no CloudFormation template"},
		{"a list", "- 1", "error Resources: is missing"},
		{"resources are text", "Resources: 队列", "error Resources: is missing"},
		{"no rule", "Resources: {Q: {Type: AWS::SQS::Queue}}", "error Resources (line 1): has no AWS::Events::Rule"},
		{"terraform", "# x\nresource \"aws_cloudwatch_event_rule\" \"a\" {\n  name = \"a\"\n}\n", "error this is no CloudFormation template but a Terraform configuration"},
		{"no pattern", ruleWith(`Targets: []`), "error R.EventPattern (line 2): is missing"},
		{"no targets", ruleWith(goodPattern), "error R.Targets (line 2): is missing"},
		{"targets by condition", ruleWith(goodPattern + "\nTargets: !If [A, [], []]"), "warning R.Targets (line 6): is a function of CloudFormation"},
		{"targets are a mapping", ruleWith(goodPattern + "\nTargets: {Id: a}"), "error R.Targets (line 6): is no list of targets"},
		{"bad pattern", ruleWith("EventPattern: {source: aws.sqs}" + target(goodRecord)), `error R.EventPattern (line 5): is no event pattern: "source" must be an object or an array`},
		{"bad matcher", ruleWith(`EventPattern: {source: [{prefix: 1}]}` + target(goodRecord)), "error R.EventPattern (line 5): is no event pattern"},
		{"pattern as text", ruleWith("EventPattern: '{\"source\": 1}'" + target(goodRecord)), "error R.EventPattern (line 5): is no event pattern"},
		{"pattern of a parameter", ruleWith("EventPattern: !Ref Pattern" + target(goodRecord)), "warning R.EventPattern (line 5): has functions of CloudFormation in it, and is not checked"},
		{"pattern with a parameter", ruleWith("EventPattern: {source: [{Ref: Source}]}" + target(goodRecord)), "warning R.EventPattern (line 5): has functions of CloudFormation in it"},
		{"failed calls", ruleWith(`EventPattern: {source: [aws.sqs], detail-type: [AWS API Call via CloudTrail]}` + target(goodRecord)), "warning R.EventPattern (line 5): matches calls that failed too"},
		{"long pattern", ruleWith(`EventPattern: {source: ["` + strings.Repeat("a", 2048) + `"]}` + target(goodRecord)), "warning R.EventPattern (line 5): has 2063 characters, and EventBridge takes 2048"},
		{"no transformer", ruleWith(goodPattern + "\nTargets: [{Id: q, Arn: a}]"), "warning R.Targets.q.InputTransformer (line 6): is missing: the event goes as it is"},
		{"template of a parameter", ruleWith(goodPattern + "\nTargets: [{Id: q, Arn: a, InputTransformer: {InputTemplate: !Ref T}}]"), "warning R.Targets.q.InputTransformer (line 6): is not checked: InputTemplate has functions"},
		{"template is a list", ruleWith(goodPattern + "\nTargets: [{Id: q, Arn: a, InputTransformer: {InputTemplate: [1]}}]"), "is not checked: InputTemplate is no text"},
		{"unknown placeholder", ruleWith(goodPattern + target(strings.Replace(goodRecord, "<url>", "<uri>", 1))), "error R.Targets.q.InputTransformer (line 11): InputTemplate contains invalid placeholder uri"},
		{"template is no JSON", ruleWith(goodPattern + target("队列 <url>")), "error R.Targets.q.InputTransformer (line 11): Invalid InputTemplate"},
		{"no record", ruleWith(goodPattern + target(`"queue <url>"`)), "error R.Targets.q.InputTransformer (line 11): makes no record"},
		{"no identifier", ruleWith(goodPattern + target(`{"resource_type": "AWS::SQS::Queue", "region": ".awsRegion", "url": "<url>"}`)), "error R.Targets.q.InputTransformer (line 11): makes a record without a text at identifier"},
		{"jq that is none", ruleWith(goodPattern + target(strings.Replace(goodRecord, `".url"`, `".url |"`, 1))), "makes identifier of a record, which is not jq: line 1"},
		{"text where jq stands", ruleWith(goodPattern + target(strings.Replace(goodRecord, `".url"`, `"<url>"`, 1))), "makes identifier of a record, which is not jq: function not defined"},
		{"text within jq", ruleWith(goodPattern + target(strings.Replace(goodRecord, `".url"`, `"\"<url>\""`, 1))), "warning R.Targets.q.InputTransformer (line 11): identifier has text of the event within its jq"},
		{"good", ruleWith(goodPattern + target(goodRecord)), ""},
	} {
		found, _ := lint(t, c.template)
		if all := strings.Join(found, "\n"); c.want == "" && all != "" || !strings.Contains(all, c.want) {
			t.Errorf("%s: found\n%s\nwant %q", c.name, all, c.want)
		}
	}
}

func TestLintTriesRulesWithEvents(t *testing.T) {
	event := func(name string) SampleEvent {
		c := readCase(t, filepath.Join("testdata", "events", "aws-sqs-queue", name+".json"))
		return SampleEvent{Name: name, Body: c.Event}
	}
	found, records := lint(t, ruleWith(goodPattern+target(goodRecord)), event("delete"), event("failed"), SampleEvent{"broken", []byte("{")})
	want := []string{"warning failed: matches none of the rules", "warning broken: matches none of the rules"}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
	if len(records) != 1 || records[0].Name != "R, delete" || !strings.Contains(string(records[0].Body), "https://sqs.eu-west-1.amazonaws.com/111122223333/orders") {
		t.Errorf("the records are %+v", records)
	}
	ev := evaluator(t)
	if problems := LintRecords(t.Context(), ev, records); len(problems) > 0 {
		t.Errorf("the records have problems: %v", problems)
	}
	_, records = lint(t, ruleWith(goodPattern+target(strings.Replace(goodRecord, ".url", ".uri", 1))), event("delete"))
	if problems := LintRecords(t.Context(), ev, records); len(problems) != 1 || problems[0].Path != "R, delete" || !strings.Contains(problems[0].Message, "identifier gave null") {
		t.Errorf("a record without an identifier: %v", problems)
	}
}

// A template that fills in to what is not JSON is told with the event that shows it.
func TestLintTellsOfTemplatesThatBreak(t *testing.T) {
	c := readCase(t, filepath.Join("testdata", "events", "aws-sqs-queue", "tag.json"))
	found, _ := lint(t, ruleWith(strings.Replace(goodPattern, "DeleteQueue", "TagQueue", 1)+`
Targets:
  - Id: q
    Arn: a
    InputTransformer:
      InputPathsMap: {tags: $.detail.requestParameters.tags}
      InputTemplate: '{"resource_type": "AWS::SQS::Queue", "region": ".r", "identifier": ".i", "tags": "<tags>"}'`), SampleEvent{"tag", c.Event})
	if len(found) != 1 || !strings.Contains(found[0], "cannot be filled in") || !strings.Contains(found[0], "(R, tag)") {
		t.Errorf("found %q", found)
	}
}

func TestTheExampleRuleIsRight(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "exporter", "lambda-rule.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	c := readCase(t, filepath.Join("testdata", "events", "aws-lambda-function", "delete-by-arn.json"))
	found, records := lint(t, string(text), SampleEvent{"delete", c.Event})
	if len(found) > 0 {
		t.Errorf("found %q", found)
	}
	got, err := config.ParseRecords(t.Context(), evaluator(t), records[0].Body)
	if err != nil || len(got) != 1 || got[0].Identifier != "orders" || !got[0].Delete {
		t.Errorf("the record is %+v, %v", got, err)
	}
}

func FuzzReadRules(f *testing.F) {
	f.Add([]byte(render(f, CloudFormation, find(f, "AWS::EC2::Instance", "AWS::Lambda::Function")...)))
	f.Add([]byte(ruleWith(goodPattern + target(goodRecord))))
	f.Add([]byte("Resources: {R: {Type: AWS::Events::Rule, Properties: {EventPattern: &a [*a], Targets: [{InputTransformer: {InputPathsMap: !Sub x, InputTemplate: '<a>'}}]}}}"))
	f.Add([]byte("队列: [🚀"))
	event := SampleEvent{"delete", readCase(f, filepath.Join("testdata", "events", "aws-sqs-queue", "delete.json")).Event}
	f.Fuzz(func(t *testing.T, text []byte) {
		rules, problems := ReadRules(text)
		if len(rules) == 0 && len(problems) == 0 {
			t.Error("no rules, and nothing is wrong")
		}
		more, records := LintRules(rules, []SampleEvent{event})
		for _, p := range slices.Concat(problems, more) {
			if p.Message == "" {
				t.Errorf("a problem says nothing: %+v", p)
			}
		}
		for _, r := range records {
			if r.Name == "" || len(r.Body) == 0 {
				t.Errorf("a record is empty: %+v", r)
			}
		}
	})
}
