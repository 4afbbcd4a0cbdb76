package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/jq"
)

func TestTextsThatAreNoConfiguration(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for name, c := range map[string]struct{ text, want string }{
		"empty":         {"", "the file is empty"},
		"blank":         {" \n\t", "the file is empty"},
		"not UTF-8":     {"{\"a\": \"\xff\"}", "the file is not UTF-8"},
		"cut":           {"{\"resources\": [\n{\"kind\":\n", "(line 3): the file is not JSON: it ends too early"},
		"a comma":       {"{\n\"resources\": [],\n}", "(line 3): the file is not JSON"},
		"two values":    {"{\"resources\": []}\n{}", "(line 2): the file is not JSON: something follows the value"},
		"comments":      {"{\n// nothing\n\"resources\": []}", "(line 2): the file is not JSON: invalid character '/'"},
		"too long":      {`{"resources":[],"x":"` + strings.Repeat("x", MaxText) + `"}`, "at most 1048576 are possible"},
		"too deep":      {`{"resources":[],"x":` + deep + `}`, "nested more than 100 deep"},
		"key twice":     {"{\"resources\": [],\n\"resources\": []}", "resources (line 2): is given twice"},
		"key below":     {"{\"resources\": [{\"kind\": \"a\",\n\n\"kind\": \"b\"}]}", "resources[0].kind (line 3): is given twice"},
		"a text":        {`"x"`, "(line 1): config.json must be an object with resources, not a text"},
		"kind":          {"{\"resources\": [\n  {\"kind\":\n   \"Lambda\",\n   \"port\": null}]}", "resources[0].kind (line 2): \"Lambda\" is not a resource type"},
		"many passes":   {`{"resources":[` + strings.TrimSuffix(strings.Repeat(`1,`, 1001), ",") + `]}`, "resources (line 1): has 1001 elements, at most 1000 are possible"},
		"many problems": {`{"resources":[` + strings.TrimSuffix(strings.Repeat(`1,`, 1000), ",") + `]}`, "resources[99] (line 1): must be an object"},
	} {
		cfg, err := Parse([]byte(c.text))
		if err == nil || cfg != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if wrong := (*Errors)(nil); !errors.As(err, &wrong) || len(wrong.Problems) > maxProblems {
			t.Errorf("%s: %T with %d problems", name, err, len(wrong.Problems))
		}
	}
}

const whole = "\uFEFF" + `{"resources": [
  {"kind": "AWS::Lambda::Function", "selector": {"query": ".Runtime", "aws": {"regions": ["us-east-1", "eu-west-1"], "accounts": ["123456789012"],
    "regions_config": {"eu-west-1": {"resources_models": ["{}", "{\"A\":\"b\"}"]}}, "list_parameters": {"Marker": "x"}}},
   "port": {"entity": {"mappings": [
     {"identifier": ".Arn", "blueprint": "\"函数\"", "title": ".FunctionName", "properties": {"b": ".B", "a": ".A"}, "relations": {"vpc": ".Vpc"}},
     {"identifier": ".item", "blueprint": "layer", "itemsToParse": ".Layers", "properties": {}}]}}},
  {"kind": "AWS::S3::Bucket", "selector": {"aws": {"regions": []}}, "port": {"entity": {"mappings": [{"identifier": ".Arn", "blueprint": "bucket"}]}}},
  {"kind": "AWS::Lambda::Function", "port": {"entity": {"mappings": [{"identifier": ".Arn", "blueprint": "second"}]}}}
], "port_api_url": "http://127.0.0.1:7425/v1/", "skip_delete": true}`

func TestAConfigurationIsReadWhole(t *testing.T) {
	cfg, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.PortAPIURL != "http://127.0.0.1:7425/v1" || !cfg.SkipDelete || len(cfg.Warnings) != 0 {
		t.Errorf("%+v", cfg)
	}
	if diff := cmp.Diff([]string{"AWS::Lambda::Function", "AWS::S3::Bucket"}, cfg.Kinds()); diff != "" {
		t.Error(diff)
	}
	passes := cfg.Of("AWS::Lambda::Function")
	if len(passes) != 2 || passes[0].Index != 0 || passes[1].Index != 2 || cfg.Of("AWS::EC2::VPC") != nil {
		t.Fatalf("%+v", passes)
	}
	p := passes[0]
	if p.Query.String() != ".Runtime" || p.ListParameters["Marker"] != "x" {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff(map[string][]string{"eu-west-1": {"{}", `{"A":"b"}`}}, p.Models); diff != "" {
		t.Error(diff)
	}
	if p.Mappings[0].Blueprint != "函数" || p.Mappings[1].Blueprint != "layer" {
		t.Errorf("%+v", p.Mappings)
	}
	m := p.Mappings[0]
	if m.Identifier.String() != ".Arn" || m.Title.String() != ".FunctionName" || m.Icon != nil || m.Items != nil || m.Properties[0].Key != "a" || m.Properties[1].Value.String() != ".B" || m.Relations[0].Key != "vpc" {
		t.Errorf("%+v", m)
	}
	if p.Mappings[1].Items.String() != ".Layers" || p.Mappings[1].Path != "resources[0].port.entity.mappings[1]" {
		t.Errorf("%+v", p.Mappings[1])
	}
}

func TestWhatAPassSelects(t *testing.T) {
	for name, c := range map[string]struct {
		pass                  Resource
		account, region, home string
		want                  bool
	}{
		"home region without regions":  {Resource{}, "1", "us-east-1", "us-east-1", true},
		"other region without regions": {Resource{}, "1", "eu-west-1", "us-east-1", false},
		"named region":                 {Resource{Regions: []string{"eu-west-1"}}, "1", "eu-west-1", "us-east-1", true},
		"home region not named":        {Resource{Regions: []string{"eu-west-1"}}, "1", "us-east-1", "us-east-1", false},
		"no region":                    {Resource{Regions: []string{}}, "1", "us-east-1", "us-east-1", false},
		"named account":                {Resource{Accounts: []string{"1", "2"}}, "2", "us-east-1", "us-east-1", true},
		"other account":                {Resource{Accounts: []string{"1", "2"}}, "3", "us-east-1", "us-east-1", false},
		"no account":                   {Resource{Accounts: []string{}}, "1", "us-east-1", "us-east-1", false},
	} {
		if got := c.pass.Selects(c.account, c.region, c.home); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestMappingEndsWithItsContext(t *testing.T) {
	ev := evaluator(t)
	cfg, err := Parse([]byte(whole))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cfg.Resources[0].Map(ctx, ev, map[string]any{"Runtime": "go", "Arn": "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := ParseRecords(ctx, ev, []byte(`{"resource_type":"AWS::S3::Bucket","region":"\"us-east-1\"","identifier":"\"b\""}`)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	closed := jq.New(jq.Options{})
	closed.Close()
	endless := []byte(strings.Replace(whole, `".B"`, `"until(false; .)"`, 1))
	if cfg, err = Parse(endless); err != nil {
		t.Fatal(err)
	}
	if _, err := cfg.Resources[0].Map(t.Context(), closed, map[string]any{"Runtime": "go", "Arn": "a"}); !errors.Is(err, jq.ErrClosed) {
		t.Errorf("with a closed evaluator: %v", err)
	}
}

func TestLongRecordsAreRefused(t *testing.T) {
	ev := evaluator(t)
	long := func(n int) string { return strings.Repeat("x", n) }
	for body, want := range map[string]string{
		`{"resource_type":"` + long(maxRecord) + `"}`:                                                                            "at most 1048576 are possible",
		`{"resource_type":"AWS::S3::Bucket","region":"\"us-east-1\"","identifier":"\"` + long(5000) + `\""}`:                     "identifier is 5000 bytes long, at most 4096",
		`{"resource_type":"AWS::S3::Bucket","region":"\"us-east-1\"","identifier":"\"a\"","eventName":"` + long(5000) + `"}`:     "eventName is 5000 bytes long",
		`{"resource_type":"AWS::S3::Bucket","region":"\"us-east-1\"","identifier":"` + strings.Repeat(" ", 33000) + `.a","a":1}`: "identifier is not jq: a jq program is at most 32768 bytes long",
	} {
		if _, err := ParseRecords(t.Context(), ev, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestLint(t *testing.T) {
	ev := evaluator(t)
	cfg, err := Parse([]byte(`{"colour": 1, "resources": [
	  {"kind": "AWS::ECS::Service", "selector": {"query": ".Status == \"ACTIVE\""}, "port": {"entity": {"mappings": [
	    {"identifier": ".ServiceArn + \"|\" + .Cluster", "blueprint": "service", "properties": {"name": ".ServiceName", "typo": ".servicename", "fails": ".ServiceName.x"}, "relations": {"cluster": ".Cluster", "role": ".Role"}}]}}},
	  {"kind": "AWS::SQS::Queue", "selector": {"query": ".None", "aws": {"regions": ["eu-west-1"]}}, "port": {"entity": {"mappings": [{"identifier": "\"same\"", "blueprint": "queue"}]}}},
	  {"kind": "AWS::SQS::Queue", "port": {"entity": {"mappings": [{"identifier": "\"same\"", "blueprint": "queue"}]}}},
	  {"kind": "AWS::SNS::Topic", "selector": {"aws": {"regions": [], "accounts": []}}, "port": {"entity": {"mappings": [{"identifier": ".TopicArn.x", "blueprint": "topic"}]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	record := func(kind, region, id, action string) []byte {
		text, err := json.Marshal(map[string]string{"resource_type": kind, "region": fmt.Sprintf("%q", region), "identifier": id, "action": fmt.Sprintf("%q", action)})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	problems := Lint(t.Context(), ev, cfg, map[string][]map[string]any{
		"AWS::ECS::Service": {
			{"ServiceArn": "arn:a", "Cluster": "c 1", "ServiceName": "支付", "Status": "ACTIVE"},
			{"ServiceArn": "arn:b", "Cluster": "c", "ServiceName": "b", "Status": "INACTIVE"},
		},
		"AWS::SQS::Queue": {{"QueueName": "a"}, {"QueueName": "b"}},
		"AWS::SNS::Topic": {{"TopicArn": "arn"}},
		"AWS::S3::Bucket": {{"BucketName": "b"}},
	}, []SampleRecord{
		{Name: "good", Body: record("AWS::SQS::Queue", "eu-west-1", `"q"`, "delete"), Want: &Record{Kind: "AWS::SQS::Queue", Identifier: "q", Delete: true}},
		{Name: "broken", Body: record("AWS::SQS::Queue", "eu-west-1", `q`, "delete")},
		{Name: "wrong", Body: record("AWS::SQS::Queue", "eu-west-1", `"q"`, "upsert"), Want: &Record{Kind: "AWS::SQS::Queue", Region: "eu-west-1", Identifier: "q", Delete: true, Account: "123456789012"}},
		{Name: "kind", Body: record("AWS::S3::Bucket", "eu-west-1", `"q"`, "upsert")},
		{Name: "region", Body: record("AWS::SNS::Topic", "eu-west-1", `"q"`, "upsert")},
		{Name: "none", Body: record("AWS::SQS::Queue", "eu-west-1", `[]`, "upsert"), Want: &Record{Kind: "AWS::SQS::Queue", Identifier: "q"}},
	})
	var errs, warnings []Problem
	for _, p := range problems {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	const m0 = "resources[0].port.entity.mappings[0]"
	saysAll(t, "problem", errs, []string{
		m0 + `.properties.fails: expected an object but got: string ("支付"); it is null (sample 1 of AWS::ECS::Service)`,
		m0 + `.identifier: gave "arn:a|c 1", which is not the identifier of an entity`,
		m0 + `.relations.cluster: gave "c 1", which is not the identifier of an entity`,
		"resources[3]: sample 1 of AWS::SNS::Topic cannot be mapped: resources[3].port.entity.mappings[0].identifier: expected an object",
		"broken: identifier is not jq",
		`wrong: says upsert of AWS::SQS::Queue "q" in eu-west-1; it should say delete of AWS::SQS::Queue "q" in eu-west-1 of account 123456789012`,
		"kind: is of kind AWS::S3::Bucket, which the configuration does not export",
		`none: names no resource; it should say upsert of AWS::SQS::Queue "q"`,
	})
	saysAll(t, "warning", warnings, []string{
		"colour: is not a key that is known",
		m0 + ".properties.typo: is null for all the samples (.servicename)",
		m0 + ".properties.fails: is null for all the samples",
		m0 + ".relations.role: is null for all the samples",
		"resources[1].selector.query: selects none of the 2 samples",
		`resources[2].port.entity.mappings[0].identifier: gave "same" for sample 1 too`,
		"resources[3].selector.aws.regions: is empty: nothing is exported",
		"resources[3].selector.aws.accounts: is empty: nothing is exported",
		"AWS::S3::Bucket: there are samples of this kind",
		"region: is of region eu-west-1, from which the configuration does not export AWS::SNS::Topic",
	})
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{whole, `{}`, `[]`, `{"resources":[{"kind":"AWS::S3::Bucket","port":{"entity":{"mappings":[{"identifier":".a","blueprint":"b"}]}}}]}`, "{\"a\":\n[1,{\"b\":null}]}", "\xff"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		cfg, err := Parse(text)
		if err == nil {
			for _, r := range cfg.Resources {
				if len(r.Mappings) == 0 || !kindPattern.MatchString(r.Kind) {
					t.Errorf("%+v", r)
				}
				for _, m := range r.Mappings {
					if m.Identifier == nil || m.Blueprint == "" {
						t.Errorf("%+v", m)
					}
				}
			}
			return
		}
		wrong := (*Errors)(nil)
		if !errors.As(err, &wrong) || cfg != nil || len(wrong.Problems) == 0 || len(wrong.Problems) > maxProblems {
			t.Errorf("%v, %v", cfg, err)
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	for _, text := range []string{
		`{"resource_type":"AWS::S3::Bucket","region":"\"us-east-1\"","identifier":".b","b":"订单","action":"\"delete\""}`, `{}`, `[]`, `null`, "{", `{"resource_type":"AWS::S3::Bucket","region":".r","r":"us-east-1","identifier":"[.a,.b]"}`,
	} {
		f.Add([]byte(text))
	}
	ev := jq.New(jq.Options{Workers: 1})
	f.Cleanup(func() { ev.Close() })
	f.Fuzz(func(t *testing.T, body []byte) {
		records, err := ParseRecords(t.Context(), ev, body)
		if err != nil {
			if wrong := (*RecordError)(nil); !errors.As(err, &wrong) && !errors.Is(err, jq.ErrTimeout) && !errors.Is(err, jq.ErrWorker) {
				t.Errorf("%T %v", err, err)
			}
			return
		}
		for _, r := range records {
			if r.Identifier == "" || !event.IsRegion(r.Region) || !kindPattern.MatchString(r.Kind) {
				t.Errorf("%+v", r)
			}
		}
	})
}

func FuzzMap(f *testing.F) {
	f.Add(`.Name`, `{"Name":"x"}`)
	f.Add(`[.Name, .Other]`, `{"Name":"x","Other":null}`)
	f.Add(`.Tags[]?`, `{"Tags":[{"Key":"生产"}]}`)
	ev := jq.New(jq.Options{Workers: 1})
	f.Cleanup(func() { ev.Close() })
	f.Fuzz(func(t *testing.T, text, sample string) {
		p, err := jq.Compile(text)
		var resource map[string]any
		if err != nil || json.Unmarshal([]byte(sample), &resource) != nil {
			return
		}
		r := Resource{Mappings: []Mapping{{Path: "m", Blueprint: "b", Identifier: p, Title: p, Team: p, Properties: []Field{{"p", p}}, Relations: []Field{{"r", p}}}}}
		got, err := r.Map(t.Context(), ev, resource)
		if err != nil {
			return
		}
		for _, e := range got.Entities {
			switch e.Relations["r"].(type) {
			case nil, string, []string, map[string]any:
			default:
				t.Errorf("a relation is %T", e.Relations["r"])
			}
			if e.Identifier == "" {
				t.Error("no identifier")
			}
		}
	})
}
