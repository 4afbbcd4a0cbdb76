package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	cfntypes "github.com/aws/aws-sdk-go-v2/service/cloudformation/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func (c *caller) stacks() *cloudformation.Client {
	return cloudformation.New(cloudformation.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

// deploy does what aws cloudformation deploy does: a change set, and what it says, with the waiters of the SDK.
func (c *caller) deploy(name, body string, parameters ...cfntypes.Parameter) error {
	c.t.Helper()
	client, ctx := c.stacks(), c.t.Context()
	kind := cfntypes.ChangeSetTypeUpdate
	out, err := client.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil && strings.Contains(err.Error(), "Stack with id "+name+" does not exist") || err == nil && out.Stacks[0].StackStatus == cfntypes.StackStatusReviewInProgress {
		kind = cfntypes.ChangeSetTypeCreate
	} else if err != nil {
		c.t.Fatal(err)
	}
	made, err := client.CreateChangeSet(ctx, &cloudformation.CreateChangeSetInput{
		StackName: &name, ChangeSetName: new(fmt.Sprint("deploy-", time.Now().UnixNano())), ChangeSetType: kind, TemplateBody: &body, Parameters: parameters,
		Capabilities: []cfntypes.Capability{cfntypes.CapabilityCapabilityNamedIam},
	})
	if err != nil {
		return err
	}
	err = cloudformation.NewChangeSetCreateCompleteWaiter(client, func(o *cloudformation.ChangeSetCreateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).Wait(ctx, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id}, patience)
	if err != nil {
		return err
	}
	if _, err := client.ExecuteChangeSet(ctx, &cloudformation.ExecuteChangeSetInput{ChangeSetName: made.Id}); err != nil {
		return err
	}
	in := &cloudformation.DescribeStacksInput{StackName: &name}
	if kind == cfntypes.ChangeSetTypeCreate {
		return cloudformation.NewStackCreateCompleteWaiter(client, func(o *cloudformation.StackCreateCompleteWaiterOptions) {
			o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
		}).Wait(ctx, in, patience)
	}
	return cloudformation.NewStackUpdateCompleteWaiter(client, func(o *cloudformation.StackUpdateCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).Wait(ctx, in, patience)
}

func (c *caller) mustDeploy(name, body string, parameters ...cfntypes.Parameter) {
	c.t.Helper()
	if err := c.deploy(name, body, parameters...); err != nil {
		c.t.Fatalf("deploy %s: %v\n%s", name, err, strings.Join(c.stackEvents(name), "\n"))
	}
}

// undeploy deletes a stack and waits until it is gone.
func (c *caller) undeploy(name string) {
	c.t.Helper()
	client := c.stacks()
	if _, err := client.DeleteStack(c.t.Context(), &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
		c.t.Fatal(err)
	}
	err := cloudformation.NewStackDeleteCompleteWaiter(client, func(o *cloudformation.StackDeleteCompleteWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).Wait(c.t.Context(), &cloudformation.DescribeStacksInput{StackName: &name}, patience)
	if err != nil {
		c.t.Fatalf("delete %s: %v\n%s", name, err, strings.Join(c.stackEvents(name), "\n"))
	}
}

// stackEvents are the last of a stack's events, newest first.
func (c *caller) stackEvents(name string) (lines []string) {
	out, err := c.stacks().DescribeStackEvents(c.t.Context(), &cloudformation.DescribeStackEventsInput{StackName: &name})
	if err != nil {
		return []string{err.Error()}
	}
	for _, e := range out.StackEvents {
		line := *e.LogicalResourceId + " " + string(e.ResourceStatus)
		if e.ResourceStatusReason != nil {
			line += ": " + *e.ResourceStatusReason
		}
		lines = append(lines, line)
	}
	return lines
}

// stackOutputs are a stack's outputs.
func (c *caller) stackOutputs(name string) map[string]string {
	c.t.Helper()
	out, err := c.stacks().DescribeStacks(c.t.Context(), &cloudformation.DescribeStacksInput{StackName: &name})
	if err != nil {
		c.t.Fatal(err)
	}
	outputs := map[string]string{}
	for _, o := range out.Stacks[0].Outputs {
		outputs[*o.OutputKey] = *o.OutputValue
	}
	return outputs
}

// account is what an account has of what the stacks of these tests make.
func (c *caller) inventory() []string {
	c.t.Helper()
	ctx := c.t.Context()
	var all []string
	queues, err := c.queues().ListQueues(ctx, &sqs.ListQueuesInput{MaxResults: new(int32(1000))})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, url := range queues.QueueUrls {
		all = append(all, "queue "+url[strings.LastIndex(url, "/")+1:])
	}
	rules, err := c.events().ListRules(ctx, &eventbridge.ListRulesInput{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, r := range rules.Rules {
		all = append(all, "rule "+*r.Name)
	}
	topics, err := c.topics().ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, topic := range topics.Topics {
		all = append(all, "topic "+*topic.TopicArn)
	}
	functions, err := c.functions().ListFunctions(ctx, &lambda.ListFunctionsInput{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range functions.Functions {
		all = append(all, "function "+*f.FunctionName)
	}
	buses, err := c.events().ListEventBuses(ctx, &eventbridge.ListEventBusesInput{})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, b := range buses.EventBuses {
		if *b.Name != "default" {
			all = append(all, "bus "+*b.Name)
		}
	}
	return all
}

func example(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../examples/exporter/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The exporter's rule is deployed as it is once its queue is, and puts its records there.
func TestTheExportersRuleDeploysBesideItsQueue(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "eu-west-1")
	if err := c.deploy("rule", example(t, "lambda-rule.yaml")); err == nil {
		t.Fatal("the rule was deployed without its queue")
	}
	c.mustDeploy("serverlessrepo-port-aws-exporter", example(t, "queue.yaml"))
	c.mustDeploy("rule", example(t, "lambda-rule.yaml"))
	if err := c.deploy("rule", example(t, "lambda-rule.yaml")); err == nil || !strings.Contains(err.Error(), "Failure") {
		t.Errorf("the same once more: %v", err)
	}
	if _, err := c.stacks().DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: new("serverlessrepo-port-aws-exporter")}); err == nil ||
		!strings.Contains(err.Error(), "Export serverlessrepo-port-aws-exporter-EventsQueueARN cannot be deleted as it is in use by rule") {
		t.Errorf("deleting the queue: %v", err)
	}

	name := "orders"
	_, err := c.functions().CreateFunction(t.Context(), &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: new("bootstrap"), Role: new("arn:aws:iam::111122223333:role/f"),
		Code: &lambdatypes.FunctionCode{ZipFile: zipped(t, map[string][]byte{"bootstrap": []byte("#!/bin/sh\n")})},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.functions().UpdateFunctionConfiguration(t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Timeout: new(int32(5))}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.functions().DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
		t.Fatal(err)
	}
	record := func(event, response, action string) map[string]any {
		return map[string]any{
			"resource_type": "AWS::Lambda::Function", "awsRegion": "eu-west-1", "eventName": event, "requestFunctionName": "orders", "responseFunctionName": response,
			"region":     `"eu-west-1"`,
			"identifier": `if .responseFunctionName == "" then .requestFunctionName | split(":") | last else .responseFunctionName end`,
			"action":     `if .eventName | startswith("DeleteFunction") then "delete" else "upsert" end`,
		}
	}
	want := map[string]map[string]any{}
	for _, r := range []map[string]any{
		record("CreateFunction20150331", "orders", ""), record("UpdateFunctionConfiguration20150331v2", "orders", ""), record("DeleteFunction20150331", "", ""),
	} {
		want[r["eventName"].(string)] = r
	}
	url := c.stackOutputs("serverlessrepo-port-aws-exporter")["EventsQueueURL"]
	got := map[string]map[string]any{}
	eventually(t, "three records", func() bool {
		out, err := c.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			var r map[string]any
			if err := json.Unmarshal([]byte(*m.Body), &r); err != nil {
				t.Fatalf("%s: %v", *m.Body, err)
			}
			got[r["eventName"].(string)] = r
		}
		return len(got) == 3
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	c.undeploy("rule")
	c.undeploy("serverlessrepo-port-aws-exporter")
	if left := c.inventory(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// everything has a resource of each type that our services back.
const everything = `
Parameters:
  Seconds: {Type: Number, Default: 30}
  BusName: {Type: String, Default: shop}
  Extra: {Type: String, Default: 'no', AllowedValues: ['yes', 'no']}
Conditions:
  Extra: !Equals [!Ref Extra, 'yes']
Resources:
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: !Ref BusName}}
  BusPolicy:
    Type: AWS::Events::EventBusPolicy
    Properties: {EventBusName: !Ref Bus, StatementId: others, Action: events:PutEvents, Principal: '444455556666'}
  Archive: {Type: AWS::Events::Archive, Properties: {SourceArn: !GetAtt Bus.Arn, RetentionDays: 7}}
  Connection:
    Type: AWS::Events::Connection
    Properties:
      AuthorizationType: API_KEY
      AuthParameters: {ApiKeyAuthParameters: {ApiKeyName: x-key, ApiKeyValue: secret}}
  Destination:
    Type: AWS::Events::ApiDestination
    Properties: {ConnectionArn: !GetAtt Connection.Arn, InvocationEndpoint: https://example.com/, HttpMethod: POST}
  Dead: {Type: AWS::SQS::Queue}
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: !Ref Seconds
      RedrivePolicy: {deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 3}
  Fifo: {Type: AWS::SQS::Queue, Properties: {FifoQueue: true}}
  Rule:
    Type: AWS::Events::Rule
    Properties:
      EventBusName: !Ref Bus
      EventPattern: {source: [shop], detail: {amount: [{numeric: ['>', 10]}]}}
      Targets: [{Id: q, Arn: !GetAtt Queue.Arn}]
  Allow:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Queue]
      PolicyDocument:
        Statement:
          - {Effect: Allow, Principal: {Service: events.amazonaws.com}, Action: sqs:SendMessage, Resource: !GetAtt Queue.Arn, Condition: {ArnEquals: {aws:SourceArn: !GetAtt Rule.Arn}}}
  Topic: {Type: AWS::SNS::Topic, Properties: {DisplayName: 订单}}
  Subscription: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref Topic, Protocol: sqs, Endpoint: !GetAtt Queue.Arn}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 7}}
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      Role: arn:aws:iam::111122223333:role/f
      Timeout: 20
      Code: {ZipFile: "def handler(event, context): return event"}
  Permission:
    Type: AWS::Lambda::Permission
    Properties: {FunctionName: !Ref Function, Action: lambda:InvokeFunction, Principal: events.amazonaws.com, SourceArn: !GetAtt Rule.Arn}
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {FunctionName: !Ref Function, EventSourceArn: !GetAtt Dead.Arn, Enabled: false}
  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: []}}
  Bucket: {Type: AWS::S3::Bucket}
  Cluster: {Type: AWS::ECS::Cluster}
  Service:
    Type: AWS::ECS::Service
    Properties: {Cluster: !Ref Cluster, DesiredCount: 2, TaskDefinition: web}
  Spare: {Type: AWS::SQS::Queue, Condition: Extra}
Outputs:
  Rule: {Value: !Ref Rule}
  Queue: {Value: !Ref Queue}
  Service: {Value: !GetAtt Service.ServiceArn}
`

func TestAStackHasEveryTypeOfTheBox(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "eu-west-1")
	c.mustDeploy("all", everything)
	if got := c.stackOutputs("all")["Rule"]; !strings.HasPrefix(got, "shop|all-Rule-") {
		t.Errorf("the rule's Ref is %s", got)
	}
	before := c.stackOutputs("all")
	parameter := func(key, value string) cfntypes.Parameter {
		return cfntypes.Parameter{ParameterKey: &key, ParameterValue: &value}
	}
	// In place.
	c.mustDeploy("all", everything, parameter("Seconds", "60"), parameter("Extra", "yes"))
	if diff := cmp.Diff(before, c.stackOutputs("all")); diff != "" {
		t.Errorf("what is changed in place has other names: %s", diff)
	}
	// Another bus takes all that is on it with it.
	c.mustDeploy("all", everything, parameter("BusName", "market"), parameter("Extra", "yes"))
	if got := c.stackOutputs("all")["Rule"]; !strings.HasPrefix(got, "market|all-Rule-") {
		t.Errorf("the rule's Ref is %s", got)
	}
	if got := c.inventory(); slices.Contains(got, "bus shop") || !slices.Contains(got, "bus market") {
		t.Errorf("there are %v", got)
	}
	// What fails is as it was: the bus of a rule that cannot be.
	have := c.inventory()
	broken := strings.Replace(everything, "numeric: ['>', 10]", "numeric: ['>', ten]", 1)
	if err := c.deploy("all", broken, parameter("BusName", "bazaar")); err == nil {
		t.Error("a broken pattern was deployed")
	}
	if diff := cmp.Diff(have, c.inventory()); diff != "" {
		t.Errorf("after the rollback: %s\n%s", diff, strings.Join(c.stackEvents("all"), "\n"))
	}
	c.undeploy("all")
	if left := c.inventory(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if err := c.deploy("all", broken); err == nil {
		t.Error("a broken pattern was deployed")
	}
	if left := c.inventory(); len(left) > 0 {
		t.Errorf("left of a failed creation: %v\n%s", left, strings.Join(c.stackEvents("all"), "\n"))
	}
}

// queuesTemplate has n queues in chains of three, and a rule that sends to each first one.
func queuesTemplate(n, seconds int, suffix string) string {
	var b strings.Builder
	b.WriteString("Resources:\n")
	for i := range n {
		fmt.Fprintf(&b, "  Q%d: {Type: 'AWS::SQS::Queue', Properties: {QueueName: 'q%d%s', VisibilityTimeout: %d", i, i, suffix, seconds)
		if i%3 > 0 {
			fmt.Fprintf(&b, ", RedrivePolicy: {deadLetterTargetArn: !GetAtt Q%d.Arn, maxReceiveCount: 3}", i-1)
			b.WriteString("}}\n")
			continue
		}
		b.WriteString("}}\n")
		fmt.Fprintf(&b, "  R%d: {Type: 'AWS::Events::Rule', Properties: {EventPattern: {source: [s]}, Targets: [{Id: q, Arn: !GetAtt Q%d.Arn}]}}\n", i, i)
	}
	return b.String()
}

// An operation on a stack goes on where it was after the server was killed, and makes nothing twice.
func TestStackOperationsGoOnAfterAKill(t *testing.T) {
	t.Parallel()
	const queues = 30
	dir := t.TempDir()
	var p *serverProcess
	var c *caller
	client := &http.Client{Transport: &http.Transport{}} // others end the idle connections of the usual one
	t.Cleanup(client.CloseIdleConnections)
	begin := func() {
		p = startProcess(t, serverSettings{DataDir: dir, EventLogBytes: 64 << 20})
		c = &caller{t: t, url: p.url, account: testAccount, region: testRegion, key: credentials.NewStaticCredentialsProvider("test", "any", ""), http: client}
	}
	begin()
	kills := 0
	// killed kills the server once so many events of the operation are there, three times, and returns how it ended.
	killed := func(id string, base int) cfntypes.StackStatus {
		for _, more := range []int{3, 25, 60} {
			eventually(t, "the operation goes on", func() bool {
				n, status := c.progress(id)
				return n >= base+more || !strings.HasSuffix(string(status), "_IN_PROGRESS")
			})
			if _, status := c.progress(id); strings.HasSuffix(string(status), "_IN_PROGRESS") {
				kills++
			}
			p.kill()
			begin()
		}
		var status cfntypes.StackStatus
		eventually(t, "the operation ends", func() bool {
			_, status = c.progress(id)
			return !strings.HasSuffix(string(status), "_IN_PROGRESS")
		})
		return status
	}
	holds := func(what string, n int) {
		t.Helper()
		have := c.inventory()
		if len(have) != n {
			t.Fatalf("%s: there are %d: %v", what, len(have), have)
		}
	}
	name := "shop"
	made, err := c.stacks().CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: &name, TemplateBody: new(queuesTemplate(queues, 30, ""))})
	if err != nil {
		t.Fatal(err)
	}
	if got := killed(*made.StackId, 0); got != cfntypes.StackStatusCreateComplete {
		t.Fatalf("created: %s\n%s", got, strings.Join(c.stackEvents(name), "\n"))
	}
	holds("created", queues+queues/3)

	// Half of them are replaced, and then something fails.
	n, _ := c.progress(*made.StackId)
	body := queuesTemplate(queues, 60, "-new") + "  Bad: {Type: 'AWS::Events::Rule', DependsOn: [Q29, R27], Properties: {EventPattern: {source: [s]}, EventBusName: nobody}}\n"
	if _, err := c.stacks().UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: &body}); err != nil {
		t.Fatal(err)
	}
	if got := killed(*made.StackId, n); got != cfntypes.StackStatusUpdateRollbackComplete {
		t.Fatalf("rolled back: %s\n%s", got, strings.Join(c.stackEvents(name), "\n"))
	}
	holds("rolled back", queues+queues/3)
	if have := c.inventory(); slices.ContainsFunc(have, func(s string) bool { return strings.HasSuffix(s, "-new") }) {
		t.Fatalf("new ones are left: %v", have)
	}

	n, _ = c.progress(*made.StackId)
	if _, err := c.stacks().UpdateStack(t.Context(), &cloudformation.UpdateStackInput{StackName: &name, TemplateBody: new(queuesTemplate(queues, 60, "-new"))}); err != nil {
		t.Fatal(err)
	}
	if got := killed(*made.StackId, n); got != cfntypes.StackStatusUpdateComplete {
		t.Fatalf("updated: %s\n%s", got, strings.Join(c.stackEvents(name), "\n"))
	}
	holds("updated", queues+queues/3)

	n, _ = c.progress(*made.StackId)
	if _, err := c.stacks().DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: &name}); err != nil {
		t.Fatal(err)
	}
	if got := killed(*made.StackId, n); got != cfntypes.StackStatusDeleteComplete {
		t.Fatalf("deleted: %s\n%s", got, strings.Join(c.stackEvents(*made.StackId), "\n"))
	}
	holds("deleted", 0)
	t.Logf("%d kills in the middle of operations", kills)
	if kills == 0 {
		t.Error("no kill came in the middle of an operation")
	}
}

// What a killed node was doing on a stack, another one does once the lease of its job is over.
func TestAnotherNodeTakesOverAStackOperation(t *testing.T) {
	t.Parallel()
	const queues = 30
	nats, database := startNATS(t), storetest.PostgresURL(t)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	node := func() (*serverProcess, *caller) {
		c := NewConfig()
		c.Listen, c.DataDir, c.Database, c.NATS, c.EventLogReplicas, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), database, nats, 1, 64<<20
		c.SecretKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
		p := startProcess(t, serverSettings{Config: &c})
		return p, &caller{t: t, url: p.url, account: testAccount, region: testRegion, key: credentials.NewStaticCredentialsProvider("test", "any", ""), http: client}
	}
	one, c := node()
	_, d := node()
	made, err := c.stacks().CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: new("shop"), TemplateBody: new(queuesTemplate(queues, 30, ""))})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the operation to be under way", func() bool {
		n, _ := d.progress(*made.StackId)
		return n > 10
	})
	one.kill()
	var status cfntypes.StackStatus
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); strings.HasSuffix(string(status), "_IN_PROGRESS") || status == ""; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("the stack is %s\n%s", status, strings.Join(d.stackEvents("shop"), "\n"))
		}
		_, status = d.progress(*made.StackId)
	}
	if have := d.inventory(); status != cfntypes.StackStatusCreateComplete || len(have) != queues+queues/3 {
		t.Errorf("the stack is %s, and there are %d: %v", status, len(have), have)
	}
}

// progress is how many events a stack has and its status.
func (c *caller) progress(id string) (events int, status cfntypes.StackStatus) {
	c.t.Helper()
	// The SDK ends a connection whose answer comes before it has closed the request's body, as
	// here where answers take no time; it knows this error as one to try again after.
	again := func(o *cloudformation.Options) { o.RetryMaxAttempts = 5 }
	for pages := cloudformation.NewDescribeStackEventsPaginator(c.stacks(), &cloudformation.DescribeStackEventsInput{StackName: &id}); pages.HasMorePages(); {
		page, err := pages.NextPage(c.t.Context(), again)
		if err != nil {
			c.t.Fatal(err)
		}
		events += len(page.StackEvents)
	}
	out, err := c.stacks().DescribeStacks(c.t.Context(), &cloudformation.DescribeStacksInput{StackName: &id}, again)
	if err != nil {
		c.t.Fatal(err)
	}
	if len(out.Stacks) == 0 {
		c.t.Fatal(errors.New("no such stack"))
	}
	return events, out.Stacks[0].StackStatus
}

// What a stack makes is made by who asked for it, and told as such.
func TestAStackMayDoWhatItsCallerMay(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *Config) { c.Functions = new(true) })
	admin := s.key(t, "", testAccount, "admin")
	bearer := s.login(t, admin.ID, admin.Secret)
	key := s.key(t, bearer, "111122223333", "operator")
	c := s.withKey("111122223333", "eu-west-1", key.ID, key.Secret)
	calls := c.ruleToQueue("calls", `{"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventName":["CreateTopic","CreateFunction20150331"]}}`)
	statuses := c.ruleToQueue("statuses", `{"source":["aws.cloudformation"],"detail-type":["CloudFormation Stack Status Change"],"detail":{"status-details":{"status":["ROLLBACK_COMPLETE"]}}}`)
	const body = `
Resources:
  Topic: {Type: AWS::SNS::Topic}
  Function:
    Type: AWS::Lambda::Function
    DependsOn: Topic
    Properties: {Runtime: python3.12, Handler: index.handler, Role: 'arn:aws:iam::111122223333:role/f', Code: {ZipFile: 'def handler(e, c): return e'}}
`
	if err := c.deploy("shop", body); err == nil {
		t.Fatal("an operator's stack made a function")
	}
	events := strings.Join(c.stackEvents("shop"), "\n")
	if !strings.Contains(events, "is not authorized to perform: lambda:CreateFunction") || !strings.Contains(events, "HandlerErrorCode: AccessDenied") {
		t.Error(events)
	}
	for range 2 {
		_, d := c.nextCall(calls)
		if d.UserIdentity.UserName != key.ID || d.SourceIPAddress != "cloudformation.amazonaws.com" || (d.ErrorCode != "") != (d.EventName == "CreateFunction20150331") {
			t.Errorf("told %+v", d)
		}
	}
	if e := c.nextEvent(statuses); !strings.Contains(string(e.Detail), `:stack/shop/`) {
		t.Errorf("told %s", e.Detail)
	}
	if topics, err := c.topics().ListTopics(t.Context(), &sns.ListTopicsInput{}); err != nil || len(topics.Topics) != 0 {
		t.Errorf("left %v, %v", topics, err)
	}
	if _, err := s.withKey("111122223333", "eu-west-1", s.key(t, bearer, "111122223333", "reader").ID, "x").stacks().DeleteStack(t.Context(), &cloudformation.DeleteStackInput{StackName: new("shop")}); err == nil {
		t.Error("a reader deleted it")
	}
}

// Topics are told of a stack's events as they are of others'.
func TestAStackNotifiesATopic(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "eu-west-1")
	topic, queue := c.topic("stacks"), c.queue("told")
	c.subscribe(topic, "sqs", c.queueARN("told"), map[string]string{"RawMessageDelivery": "true"})
	body := "Resources: {Q: {Type: AWS::SQS::Queue}}"
	if _, err := c.stacks().CreateStack(t.Context(), &cloudformation.CreateStackInput{StackName: new("shop"), TemplateBody: &body, NotificationARNs: []string{topic}}); err != nil {
		t.Fatal(err)
	}
	var told []string
	eventually(t, "five messages", func() bool {
		out, err := c.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range out.Messages {
			told = append(told, *m.Body)
		}
		return len(told) == 5
	})
	if all := strings.Join(told, "\n"); !strings.Contains(all, "ResourceStatus='CREATE_COMPLETE'\nResourceStatusReason=''\nResourceType='AWS::CloudFormation::Stack'\nStackName='shop'") {
		t.Error(all)
	}
}
