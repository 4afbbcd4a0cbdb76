package kind

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

func TestARNsAreOfTheRegionsPartition(t *testing.T) {
	for _, place := range []string{"cn-north-1", "us-gov-west-1"} {
		x := newSQLite(t)
		x.caller.Region = place
		t.Run(place, func(t *testing.T) {
			x.each(t, func(t *testing.T, l life) {
				x.nextAccount()
				l.start(x).live(t, x)
			})
		})
	}
}

func TestNamesThatAreLeftOutFollowFromTheRequest(t *testing.T) {
	x := newSQLite(t)
	needBus(x)
	conn := x.must("AWS::Events::Connection", `{"AuthorizationType":"API_KEY","AuthParameters":`+apiKey+`}`)
	for typeName, desired := range map[string]string{
		"AWS::Events::Rule":           `{"ScheduleExpression":"rate(1 day)"}`,
		"AWS::Events::Connection":     `{"AuthorizationType":"API_KEY","AuthParameters":` + apiKey + `}`,
		"AWS::Events::ApiDestination": `{"ConnectionArn":"` + conn["Arn"].(string) + `","InvocationEndpoint":"https://example.com","HttpMethod":"GET"}`,
		"AWS::Events::Archive":        `{"SourceArn":"arn:aws:events:eu-west-1:111122223333:event-bus/orders"}`,
		"AWS::SQS::Queue":             `{"FifoQueue":"true"}`,
		"AWS::SNS::Topic":             `{}`,
		"AWS::Lambda::Function":       `{"Role":"arn:aws:iam::111122223333:role/r","Runtime":"python3.13","Handler":"index.handler","Code":{"ZipFile":"x"}}`,
		"AWS::Logs::LogGroup":         `{}`,
	} {
		r := x.request()
		r.Desired = x.desired(typeName, desired)
		made, err := x.createAs(typeName, r)
		if err != nil {
			t.Errorf("%s: %v", typeName, err)
			continue
		}
		r.Again = true
		again, err := x.createAs(typeName, r)
		if err != nil || x.identifier(typeName, made) != x.identifier(typeName, again) {
			t.Errorf("%s: the repeat made %s beside %s: %v", typeName, shown(again), shown(made), err)
		}
		other := x.must(typeName, desired)
		if x.identifier(typeName, made) == x.identifier(typeName, other) {
			t.Errorf("%s: two requests made the same", typeName)
		}
		if problems := x.types[typeName].Schema.Validate(made); len(problems) > 0 {
			t.Errorf("%s: %s: %v", typeName, shown(made), problems)
		}
	}
	if one, other := random("", "p"), random("", "p"); one == other {
		t.Error("requests without a token have the same name")
	}
}

// TestRepeatsDoNotTakeWhatIsSomebodyElses makes what has a resource's name and other properties.
func TestRepeatsDoNotTakeWhatIsSomebodyElses(t *testing.T) {
	x := newSQLite(t)
	needQueue("q", "r")(x)
	needTopic(x)
	needBus(x)
	conn := x.must("AWS::Events::Connection", `{"Name":"conn","AuthorizationType":"API_KEY","AuthParameters":`+apiKey+`}`)
	hook := `{"Name":"h","ConnectionArn":"` + conn["Arn"].(string) + `","InvocationEndpoint":"https://example.com/%s","HttpMethod":"GET"}`
	fn := `{"FunctionName":"f","Role":"arn:aws:iam::111122223333:role/r","Runtime":"python3.13","Handler":"index.handler","Code":{"ZipFile":"%s"}%s}`
	x.must("AWS::Lambda::Function", strings.Replace(fmt.Sprintf(fn, "x", ""), `"f"`, `"g"`, 1))
	for name, c := range map[string]struct{ typeName, there, asked string }{
		"a bus with other tags":           {"AWS::Events::EventBus", `{"Name":"b","Tags":[{"Key":"a","Value":"1"}]}`, `{"Name":"b"}`},
		"a rule with a description":       {"AWS::Events::Rule", `{"Name":"r1","EventPattern":{"source":["a"]},"Description":"d"}`, `{"Name":"r1","EventPattern":{"source":["a"]}}`},
		"a rule with another target":      {"AWS::Events::Rule", `{"Name":"r2","EventPattern":{"source":["a"]},"Targets":[{"Id":"x","Arn":"arn:aws:sqs:eu-west-1:111122223333:q"}]}`, `{"Name":"r2","EventPattern":{"source":["a"]},"Targets":[{"Id":"x","Arn":"arn:aws:sqs:eu-west-1:111122223333:r"}]}`},
		"a connection of another user":    {"AWS::Events::Connection", `{"Name":"c","AuthorizationType":"BASIC","AuthParameters":{"BasicAuthParameters":{"Username":"a","Password":"p"}}}`, `{"Name":"c","AuthorizationType":"BASIC","AuthParameters":{"BasicAuthParameters":{"Username":"b","Password":"p"}}}`},
		"an API destination elsewhere":    {"AWS::Events::ApiDestination", fmt.Sprintf(hook, "a"), fmt.Sprintf(hook, "b")},
		"an archive that is kept longer":  {"AWS::Events::Archive", `{"ArchiveName":"a","SourceArn":"arn:aws:events:eu-west-1:111122223333:event-bus/orders","RetentionDays":5}`, `{"ArchiveName":"a","SourceArn":"arn:aws:events:eu-west-1:111122223333:event-bus/orders"}`},
		"another statement":               {"AWS::Events::EventBusPolicy", `{"StatementId":"s","Action":"events:PutEvents","Principal":"444455556666"}`, `{"StatementId":"s","Action":"events:PutEvents","Principal":"777788889999"}`},
		"a queue with another delay":      {"AWS::SQS::Queue", `{"QueueName":"x","DelaySeconds":1}`, `{"QueueName":"x"}`},
		"a topic with a subscription":     {"AWS::SNS::Topic", `{"TopicName":"t","Subscription":[{"Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:q"}]}`, `{"TopicName":"t"}`},
		"a subscription with a filter":    {"AWS::SNS::Subscription", `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:q","FilterPolicy":{"a":["b"]}}`, `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:q"}`},
		"a function of other code":        {"AWS::Lambda::Function", fmt.Sprintf(fn, "a", ""), fmt.Sprintf(fn, "b", "")},
		"a mapping with another batch":    {"AWS::Lambda::EventSourceMapping", `{"FunctionName":"g","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:q","BatchSize":1}`, `{"FunctionName":"g","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:q","BatchSize":2}`},
		"a log group of another duration": {"AWS::Logs::LogGroup", `{"LogGroupName":"l","RetentionInDays":1}`, `{"LogGroupName":"l","RetentionInDays":3}`},
		"a queue's own policy":            {"AWS::SQS::QueueInlinePolicy", `{"Queue":"` + queueURL + `q","PolicyDocument":` + queueStatement("Deny") + `}`, `{"Queue":"` + queueURL + `q","PolicyDocument":` + queueStatement("Allow") + `}`},
	} {
		t.Run(name, func(t *testing.T) {
			x.t = t
			before := x.must(c.typeName, c.there)
			r := x.request()
			r.Desired, r.Again = x.desired(c.typeName, c.asked), true
			if have, err := x.createAs(c.typeName, r); !is(err, resource.AlreadyExists) {
				t.Errorf("took %s: %v", shown(have), err)
			}
			if have, err := x.read(c.typeName, x.identifier(c.typeName, before)); err != nil || shown(have) != shown(before) {
				t.Errorf("left %s of %s: %v", shown(have), shown(before), err)
			}
		})
	}
}

func TestPatternsThatDoNotChangeAreKeptAsTheyAre(t *testing.T) {
	x := newSQLite(t)
	const written = `{"source": ["shop"], "detail": {"z": [1.0], "a": [{"numeric": [">", 1e2]}]}}`
	x.must("AWS::Events::Rule", `{"Name":"r","EventPattern":`+quoted(written)+`}`)
	from := `{"Name":"r","EventPattern":` + written + `}`
	if _, err := x.update("AWS::Events::Rule", "r", from, strings.TrimSuffix(from, "}")+`,"Description":"d"}`); err != nil {
		t.Fatal(err)
	}
	out := x.call("events", "DescribeRule", &events.DescribeRuleInput{Name: new("r")}).(*events.DescribeRuleOutput)
	if *out.EventPattern != written || *out.Description != "d" {
		t.Errorf("the pattern is %s", *out.EventPattern)
	}
	have, err := x.read("AWS::Events::Rule", "arn:aws:events:eu-west-1:111122223333:rule/r")
	if err != nil || !strings.Contains(shown(have), `{"detail":{"a":[{"numeric":[">",1e2]}],"z":[1.0]}`) {
		t.Errorf("read %s, %v", shown(have), err)
	}
}

func quoted(s string) string {
	return document(map[string]any{"s": s})[5 : len(document(map[string]any{"s": s}))-1]
}

func TestRulesAreChangedWhereTheyDiffer(t *testing.T) {
	x := newSQLite(t)
	needQueue("q", "r")(x)
	const from = `{"Name":"r","EventPattern":{"source":["a"]},"Targets":[{"Id":"q","Arn":"arn:aws:sqs:eu-west-1:111122223333:q"},{"Id":"r","Arn":"arn:aws:sqs:eu-west-1:111122223333:r"}]}`
	made := x.must("AWS::Events::Rule", from)
	for _, c := range []struct{ to, calls string }{
		{strings.Replace(from, `{"Name"`, `{"Tags":[{"Key":"a","Value":"b"}],"Name"`, 1), "[events:TagResource]"},
		{strings.Replace(from, `"a"`, `"b"`, 1), "[events:PutRule]"},
		{strings.Replace(from, `:r"`, `:q"`, 1), "[events:PutTargets]"},
		{strings.Replace(from, `"Id":"r"`, `"Id":"s"`, 1), "[events:RemoveTargets events:PutTargets]"},
	} {
		x.cut = &cut{at: -1, mutating: true}
		_, err := x.update("AWS::Events::Rule", made["Arn"].(string), from, c.to)
		if calls := fmt.Sprint(x.cut.calls); err != nil || calls != c.calls {
			t.Errorf("%s called %s: %v", c.to, calls, err)
		}
		x.cut = nil
		if _, err := x.update("AWS::Events::Rule", made["Arn"].(string), c.to, from); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRulesAreFoundByARNAndByRef(t *testing.T) {
	x := newSQLite(t)
	needBus(x)
	x.must("AWS::Events::EventBus", `{"Name":"other"}`)
	made := x.must("AWS::Events::Rule", `{"Name":"r","EventBusName":"orders","EventPattern":{"source":["a"]}}`)
	for _, identifier := range []string{"arn:aws:events:eu-west-1:111122223333:rule/orders/r", "orders|r"} {
		if have, err := x.read("AWS::Events::Rule", identifier); err != nil || have["Arn"] != made["Arn"] {
			t.Errorf("%s: %s, %v", identifier, shown(have), err)
		}
	}
	for _, identifier := range []string{"r", "orders|s", "arn:aws:events:eu-west-1:111122223333:rule/r", "other|r"} {
		if have, err := x.read("AWS::Events::Rule", identifier); !is(err, resource.NotFound) {
			t.Errorf("%s: %s, %v", identifier, shown(have), err)
		}
	}
	if _, err := x.read("AWS::Events::Rule", "arn:aws:sqs:eu-west-1:111122223333:q"); !is(err, resource.InvalidRequest) {
		t.Error(err)
	}
}

func TestRulesOnTheBusOfAnotherAccount(t *testing.T) {
	x := newSQLite(t)
	owner := x.caller.Account
	needBus(x)
	x.must("AWS::Events::EventBusPolicy", `{"EventBusName":"orders","StatementId":"s","Statement":{"Effect":"Allow","Principal":{"AWS":"444455556666"},
		"Action":["events:PutRule","events:DescribeRule","events:PutTargets","events:ListTargetsByRule","events:RemoveTargets","events:DeleteRule"],
		"Resource":"arn:aws:events:eu-west-1:111122223333:rule/orders/r"}}`)
	x.caller.Account = "444455556666"
	needQueue("q")(x)
	r := x.request()
	r.Desired = model(t, `{"Name":"r","EventBusName":"arn:aws:events:eu-west-1:`+owner+`:event-bus/orders","EventPattern":{"source":["a"]},
		"Targets":[{"Id":"q","Arn":"arn:aws:sqs:eu-west-1:444455556666:q"}]}`)
	made, err := x.createAs("AWS::Events::Rule", r)
	if err != nil {
		t.Fatal(err)
	}
	if made["Arn"] != "arn:aws:events:eu-west-1:"+owner+":rule/orders/r" || ruleRef(made) != "orders|r" {
		t.Errorf("made %s", shown(made))
	}
	if err := x.delete("AWS::Events::Rule", made["Arn"].(string), false); err != nil {
		t.Error(err)
	}
}

func TestRulesOfAllBusesAreListed(t *testing.T) {
	x := newSQLite(t)
	want := map[string]bool{}
	for _, bus := range []string{"b1", "b2", "empty", "z"} {
		x.must("AWS::Events::EventBus", `{"Name":"`+bus+`"}`)
	}
	for _, bus := range []string{"b1", "default", "z"} {
		for i := range 5 {
			m := x.must("AWS::Events::Rule", fmt.Sprintf(`{"Name":"r%d","EventBusName":"%s","EventPattern":{"source":["a"]}}`, i, bus))
			want[m["Arn"].(string)] = true
		}
	}
	ids := x.list("AWS::Events::Rule")
	for _, id := range ids {
		delete(want, id)
	}
	if len(ids) != 15 || len(want) != 0 {
		t.Errorf("listed %q, not %v", ids, want)
	}
	r := x.request()
	r.Desired = model(t, `{"EventBusName":"b1"}`)
	if models, _, err := x.types["AWS::Events::Rule"].Handler.List(t.Context(), r); err != nil || len(models) != 5 {
		t.Errorf("of b1: %v, %v", models, err)
	}
}

func TestStatementsOfABusCanBeAddedAtOnce(t *testing.T) {
	x := newSQLite(t)
	needBus(x)
	var wg sync.WaitGroup
	for i := range 12 {
		desired := x.desired("AWS::Events::EventBusPolicy", fmt.Sprintf(`{"EventBusName":"orders","StatementId":"s%d","Statement":%s}`, i, allowPut))
		r := x.request()
		r.Desired = desired
		wg.Go(func() {
			if _, err := x.createAs("AWS::Events::EventBusPolicy", r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if ids := x.list("AWS::Events::EventBusPolicy"); len(ids) != 12 {
		t.Errorf("there are %q", ids)
	}
}

func TestQueuePoliciesDoNotTakeAwayWhatReplacedThem(t *testing.T) {
	x := newSQLite(t)
	needQueue("a", "b", "c")(x)
	first := x.must("AWS::SQS::QueuePolicy", `{"Queues":["`+queueURL+`a","`+queueURL+`b"],"PolicyDocument":`+queueStatement("Allow")+`}`)
	second := x.must("AWS::SQS::QueuePolicy", `{"Queues":["`+queueURL+`b","`+queueURL+`c"],"PolicyDocument":`+queueStatement("Deny")+`}`)
	if have, err := x.read("AWS::SQS::QueuePolicy", first["Id"].(string)); err != nil || !same(have["Queues"], []any{queueURL + "a"}) {
		t.Errorf("the first has %s, %v", shown(have), err)
	}
	if err := x.delete("AWS::SQS::QueuePolicy", first["Id"].(string), false); err != nil {
		t.Fatal(err)
	}
	have, err := x.read("AWS::SQS::QueuePolicy", second["Id"].(string))
	if err != nil || shown(have) != shown(second) {
		t.Errorf("the second has %s, %v", shown(have), err)
	}
	if policy := x.queuePolicy("a"); policy != "" {
		t.Errorf("the first left %s", policy)
	}
	// A policy with an Id of its own keeps it.
	own := strings.Replace(queueStatement("Allow"), "{", `{"Id":"mine",`, 1)
	third := x.must("AWS::SQS::QueuePolicy", `{"Queues":["`+queueURL+`a"],"PolicyDocument":`+own+`}`)
	if policy := x.queuePolicy("a"); !same(policy, object(own)) || !same(third["PolicyDocument"], own) {
		t.Errorf("the policy is %s", policy)
	}
	if err := x.delete("AWS::SQS::QueuePolicy", third["Id"].(string), false); err != nil || x.queuePolicy("a") != "" {
		t.Errorf("%v, left %s", err, x.queuePolicy("a"))
	}
	if _, err := x.read("AWS::SQS::QueuePolicy", "TopicPolicy-AAAAAAAAAAAAA/a"); !is(err, resource.NotFound) {
		t.Error(err)
	}
}

func TestQueuePoliciesFollowTheirQueues(t *testing.T) {
	x := newSQLite(t)
	needQueue("a", "b", "c", "d")(x)
	desired := func(effect string, names ...string) string {
		var urls []string
		for _, name := range names {
			urls = append(urls, `"`+queueURL+name+`"`)
		}
		return `{"Queues":[` + strings.Join(urls, ",") + `],"PolicyDocument":` + queueStatement(effect) + `}`
	}
	const typeName = "AWS::SQS::QueuePolicy"
	from := desired("Allow", "a", "b")
	id := x.must(typeName, from)["Id"].(string)
	for i, to := range []struct {
		model string
		on    string
	}{
		{desired("Allow", "b", "c"), "bc"},
		{desired("Deny", "b", "c"), "bc"},
		{desired("Deny", "a", "d"), ""}, // b, by which c would be found, goes: a was there at first
		{desired("Deny", "a", "b"), "ab"},
		{desired("Deny", "d"), "ab"}, // not updatable
		{desired("Allow", "b"), "b"},
	} {
		have, err := x.update(typeName, id, from, to.model)
		switch {
		case to.on == "":
			to.on = "ad"
		case i == 4:
			if !is(err, resource.NotUpdatable) {
				t.Errorf("update %d: %v", i, err)
			}
			have, err = x.read(typeName, id)
			to.model = from
		}
		if err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		from = to.model
		wants(x, have, x.desired(typeName, from))
		l := life{typeName: typeName}
		l.reads(t, x, id, have)
		for _, name := range []string{"a", "b", "c", "d"} {
			if policy := x.queuePolicy(name); (policy != "") != strings.Contains(to.on, name) {
				t.Errorf("after update %d queue %s has %q", i, name, policy)
			}
		}
	}
	if _, err := x.update(typeName, id, from, strings.Replace(desired("Allow", "a", "b"), `{"Version"`, `{"Id":"mine","Version"`, 1)); err != nil {
		t.Errorf("the queues of the beginning with an Id of the policy's own: %v", err)
	}
	if _, err := x.update(typeName, id, from, strings.Replace(desired("Allow", "a", "c"), `{"Version"`, `{"Id":"mine","Version"`, 1)); !is(err, resource.NotUpdatable) {
		t.Errorf("other queues with an Id of the policy's own: %v", err)
	}
	if err := x.delete(typeName, id, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d"} {
		if policy := x.queuePolicy(name); policy != "" {
			t.Errorf("the delete left %s at %s", policy, name)
		}
	}
}

func (x *fixture) queuePolicy(name string) string {
	out := x.call("sqs", "GetQueueAttributes", &sqs.GetQueueAttributesInput{QueueUrl: new(queueURL + name), AttributeNames: []string{"Policy"}})
	return out.(*sqs.GetQueueAttributesOutput).Attributes["Policy"]
}

func TestQueuePoliciesWhoseQueuesAreGone(t *testing.T) {
	x := newSQLite(t)
	needQueue("a", "b")(x)
	made := x.must("AWS::SQS::QueuePolicy", `{"Queues":["`+queueURL+`a","`+queueURL+`b"],"PolicyDocument":`+queueStatement("Allow")+`}`)
	id := made["Id"].(string)
	if err := x.delete("AWS::SQS::Queue", queueURL+"a", false); err != nil {
		t.Fatal(err)
	}
	if have, err := x.read("AWS::SQS::QueuePolicy", id); err != nil || !same(have["Queues"], []any{queueURL + "b"}) {
		t.Errorf("%s, %v", shown(have), err)
	}
	if err := x.delete("AWS::SQS::QueuePolicy", id, false); err != nil {
		t.Error(err)
	}
}

// TestTopicPoliciesMayHaveTheIDOfTheDefaultOne: examples in AWS's documentation have it.
func TestTopicPoliciesMayHaveTheIDOfTheDefaultOne(t *testing.T) {
	x := newSQLite(t)
	needTopic(x)
	policy := strings.Replace(topicStatement("Allow"), "{", `{"Id":"__default_policy_ID",`, 1)
	made := x.must("AWS::SNS::TopicPolicy", `{"Topics":["arn:aws:sns:eu-west-1:111122223333:news"],"PolicyDocument":`+policy+`}`)
	if !same(made["PolicyDocument"], object(policy)) {
		t.Errorf("made %s", shown(made))
	}
	if err := x.delete("AWS::SNS::TopicPolicy", made["Id"].(string), false); err != nil {
		t.Fatal(err)
	}
	if have, err := x.read("AWS::SNS::TopicInlinePolicy", "arn:aws:sns:eu-west-1:111122223333:news"); !is(err, resource.NotFound) {
		t.Errorf("left %s, %v", shown(have), err)
	}
}

func TestSourcesArePackedByRuntime(t *testing.T) {
	for runtime, file := range map[string]string{"nodejs22.x": "index.js", "python3.13": "index.py"} {
		code, err := codeIn(resource.Model{"Runtime": runtime, "Code": map[string]any{"ZipFile": "源码\n"}})
		if err != nil {
			t.Fatal(err)
		}
		z, err := zip.NewReader(bytes.NewReader(code.ZipFile), int64(len(code.ZipFile)))
		if err != nil || len(z.File) != 1 || z.File[0].Name != file || z.File[0].Mode().Perm() != 0o644 {
			t.Fatalf("%s: %v, %v", runtime, z, err)
		}
		f, err := z.File[0].Open()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != "源码\n" {
			t.Errorf("%s: %q, %v", runtime, got, err)
		}
		again, _ := codeIn(resource.Model{"Runtime": runtime, "Code": map[string]any{"ZipFile": "源码\n"}})
		if !bytes.Equal(code.ZipFile, again.ZipFile) {
			t.Error("the same source makes different packages")
		}
	}
	if _, err := codeIn(resource.Model{"Runtime": "nodejs22.x", "Code": map[string]any{"ZipFile": strings.Repeat("x", maxSource+1)}}); !is(err, resource.InvalidRequest) {
		t.Error(err)
	}
}

func TestFunctionsGetNewCodeOnlyIfItChanges(t *testing.T) {
	x := newSQLite(t)
	const from = `{"FunctionName":"f","Role":"arn:aws:iam::111122223333:role/r","Runtime":"python3.13","Handler":"index.handler","Code":{"ZipFile":"a"}}`
	x.must("AWS::Lambda::Function", from)
	x.cut = &cut{at: -1, mutating: true}
	for to, want := range map[string]string{
		strings.Replace(from, `"a"`, `"b"`, 1):                      "[lambda:UpdateFunctionCode]",
		strings.Replace(from, `{"Fun`, `{"Timeout":5,"Fun`, 1):      "[lambda:UpdateFunctionConfiguration]",
		strings.Replace(from, `python3.13`, `nodejs22.x`, 1):        "[lambda:UpdateFunctionConfiguration lambda:UpdateFunctionCode]",
		strings.Replace(from, `{"Fun`, `{"Tags":[],"Fun`, 1):        "[]",
		strings.Replace(from, `{"Fun`, `{"MemorySize":128,"Fun`, 1): "[lambda:UpdateFunctionConfiguration]",
	} {
		x.cut.calls = nil
		if _, err := x.update("AWS::Lambda::Function", "f", from, to); err != nil || fmt.Sprint(x.cut.calls) != want {
			t.Errorf("%s called %v, %v", to, x.cut.calls, err)
		}
	}
	x.cut = nil
	// Cloud Control's model before has nothing of what is write-only.
	have, err := x.read("AWS::Lambda::Function", "f")
	if err != nil {
		t.Fatal(err)
	}
	before := x.call("lambda", "GetFunctionConfiguration", &lambda.GetFunctionConfigurationInput{FunctionName: new("f")}).(*lambda.GetFunctionConfigurationOutput)
	r := x.request()
	r.Identifier, r.Previous, r.Desired = "f", plain(t, have), plain(t, have)
	r.Desired["Timeout"] = "7"
	if _, err := x.types["AWS::Lambda::Function"].Handler.Update(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	after := x.call("lambda", "GetFunctionConfiguration", &lambda.GetFunctionConfigurationInput{FunctionName: new("f")}).(*lambda.GetFunctionConfigurationOutput)
	if *after.CodeSha256 != *before.CodeSha256 || *after.Timeout != 7 {
		t.Errorf("%+v", after)
	}
}

func TestRetentionCannotBeTakenAway(t *testing.T) {
	x := newSQLite(t)
	x.must("AWS::Logs::LogGroup", `{"LogGroupName":"l","RetentionInDays":7}`)
	_, err := x.update("AWS::Logs::LogGroup", "l", `{"LogGroupName":"l","RetentionInDays":7}`, `{"LogGroupName":"l"}`)
	if !is(err, resource.InvalidRequest) || !strings.Contains(err.Error(), "RetentionInDays") {
		t.Error(err)
	}
	if _, err := x.update("AWS::Logs::LogGroup", "l", `{"LogGroupName":"l"}`, `{"LogGroupName":"l"}`); err != nil {
		t.Error(err)
	}
}

func TestSubscriptionsOfAnotherRegion(t *testing.T) {
	x := newSQLite(t)
	needTopic(x)
	x.caller.Region = "eu-central-1"
	needQueue("q")(x)
	r := x.request()
	r.Desired = model(t, `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-central-1:111122223333:q","Region":"eu-west-1"}`)
	made, err := x.createAs("AWS::SNS::Subscription", r)
	if err != nil {
		t.Fatal(err)
	}
	arn := made["Arn"].(string)
	if have, err := x.read("AWS::SNS::Subscription", arn); err != nil || shown(have) != shown(made) {
		t.Errorf("%s, %v", shown(have), err)
	}
	if err := x.delete("AWS::SNS::Subscription", arn, false); err != nil {
		t.Error(err)
	}
	delete(r.Desired, "Region")
	if _, err := x.createAs("AWS::SNS::Subscription", r); !is(err, resource.InvalidRequest) {
		t.Errorf("a topic of another region: %v", err)
	}
}

func TestPendingSubscriptions(t *testing.T) {
	x := newSQLite(t)
	needTopic(x)
	const desired = `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"https","Endpoint":"https://example.com/hook"}`
	r := x.request()
	r.Desired = x.desired("AWS::SNS::Subscription", desired)
	made, err := x.createAs("AWS::SNS::Subscription", r)
	if err != nil {
		t.Fatal(err)
	}
	r.Again = true
	if again, err := x.createAs("AWS::SNS::Subscription", r); err != nil || again["Arn"] != made["Arn"] {
		t.Errorf("the repeat made %s, %v", shown(again), err)
	}
	if _, err := x.create("AWS::SNS::Subscription", desired); !is(err, resource.AlreadyExists) {
		t.Errorf("made twice: %v", err)
	}
	if err := x.delete("AWS::SNS::Subscription", made["Arn"].(string), false); err != nil {
		t.Error(err)
	}
}

func TestTagsOfOthersStay(t *testing.T) {
	x := newSQLite(t)
	x.must("AWS::SNS::Topic", `{"TopicName":"t","Tags":[{"Key":"a","Value":"1"}]}`)
	arn := "arn:aws:sns:eu-west-1:111122223333:t"
	x.call("sns", "TagResource", &sns.TagResourceInput{ResourceArn: &arn, Tags: []sns.Tag{{Key: new("by hand"), Value: new("x")}}})
	have, err := x.update("AWS::SNS::Topic", arn, `{"TopicName":"t","Tags":[{"Key":"a","Value":"1"}]}`, `{"TopicName":"t","Tags":[{"Key":"b","Value":"2"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	wants(x, have, map[string]any{"Tags": []any{map[string]any{"Key": "b", "Value": "2"}, map[string]any{"Key": "by hand", "Value": "x"}}})
}

func TestDriftIsSeen(t *testing.T) {
	x := newSQLite(t)
	needQueue("q")(x)
	x.call("sqs", "SetQueueAttributes", &sqs.SetQueueAttributesInput{QueueUrl: new(queueURL + "q"), Attributes: map[string]string{"VisibilityTimeout": "77"}})
	have, err := x.read("AWS::SQS::Queue", queueURL+"q")
	if err != nil {
		t.Fatal(err)
	}
	wants(x, have, map[string]any{"VisibilityTimeout": "77"})
	// The server may have another address by now.
	elsewhere := "https://rialto.example.com/" + account + "/q"
	if have, err := x.read("AWS::SQS::Queue", elsewhere); err != nil || have["QueueUrl"] != elsewhere {
		t.Errorf("%s, %v", shown(have), err)
	}
}

func TestInstancesThatAreTerminatedAreNoMore(t *testing.T) {
	x := newSQLite(t)
	made := x.must("AWS::EC2::Instance", `{"ImageId":"ami-0abcdef1234567890"}`)
	id := made["InstanceId"].(string)
	x.call("ec2", "TerminateInstances", &ec2.TerminateInstancesInput{InstanceIds: []string{id}})
	if err := x.delete("AWS::EC2::Instance", id, true); err != nil {
		t.Error(err)
	}
	if have, err := x.read("AWS::EC2::Instance", id); !is(err, resource.NotFound) {
		t.Errorf("%s, %v", shown(have), err)
	}
	if _, err := x.read("AWS::EC2::Instance", "i-0123"); !is(err, resource.InvalidRequest) {
		t.Errorf("what is no id: %v", err)
	}
}

func TestCallersOfARoleAreRefusedWhatItDoesNotAllow(t *testing.T) {
	x := newSQLite(t)
	x.caller.Role = "reader"
	for name, l := range lives {
		if l.before != nil {
			continue
		}
		if _, err := x.create(l.typeName, l.create); !is(err, resource.AccessDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
