package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// large is a template of 500 resources: a queue, a rule and a policy that need one another, over and over.
func large() string {
	var b strings.Builder
	b.WriteString("AWSTemplateFormatVersion: 2010-09-09\nParameters:\n  Env: {Type: String, Default: dev, AllowedPattern: '[a-z]{1,20}'}\n")
	b.WriteString("Conditions:\n  Prod: !Equals [!Ref Env, prod]\nResources:\n  Bus:\n    Type: AWS::Events::EventBus\n    Properties: {Name: !Sub '${AWS::StackName}-bus'}\n")
	for i := range 166 {
		fmt.Fprintf(&b, `
  Rule%[1]d:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      State: !If [Prod, ENABLED, DISABLED]
      EventPattern:
        source: [shop]
        detail: {total: [{numeric: [">=", %[1]d.0]}], city: ["上海", {prefix: "北"}]}
      Targets:
        - Id: q
          Arn: !GetAtt Queue%[1]d.Arn
          InputTransformer:
            InputPathsMap: {id: $.detail.id}
            InputTemplate: '{"id": <id>}'
  Policy%[1]d:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Queue%[1]d]
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Queue%[1]d.Arn
            Condition: {ArnEquals: {"aws:SourceArn": !GetAtt Rule%[1]d.Arn}}
  Queue%[1]d:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: !Join ["-", [!Ref "AWS::StackName", !Ref Env, "%[1]d"]]
`, i)
	}
	return b.String()
}

func largeJSON(b testing.TB) []byte {
	n, err := read([]byte(large()))
	if err != nil {
		b.Fatal(err)
	}
	var out bytes.Buffer
	if err := encode(&out, n.literal()); err != nil {
		b.Fatal(err)
	}
	return out.Bytes()
}

// The readers beside which ours stands know neither functions nor references.
func BenchmarkParse500Resources(b *testing.B) {
	y, j := []byte(large()), largeJSON(b)
	for _, c := range []struct {
		name string
		body []byte
		run  func([]byte) error
	}{
		{"yaml", y, func(body []byte) error { _, err := Parse(body); return err }},
		{"yaml-reader-alone", y, func(body []byte) error { var n yaml.Node; return yaml.Unmarshal(body, &n) }},
		{"json", j, func(body []byte) error { _, err := Parse(body); return err }},
		{"json-reader-alone", j, func(body []byte) error { var v any; return json.Unmarshal(body, &v) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(c.body)))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.run(c.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkBind500Resources(b *testing.B) {
	parsed, err := Parse([]byte(large()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		bound, err := parsed.Bind(Input{Pseudo: pseudo})
		if err != nil {
			b.Fatal(err)
		}
		if n := len(bound.Resources()); n != 499 {
			b.Fatal(n)
		}
	}
}

func BenchmarkProperties500Resources(b *testing.B) {
	bound := mustBind(b, large(), nil)
	b.ReportAllocs()
	for b.Loop() {
		for _, r := range bound.Resources() {
			if _, err := r.Properties(made{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
