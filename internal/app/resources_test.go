package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	cctypes "github.com/aws/aws-sdk-go-v2/service/cloudcontrol/types"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func (c *caller) resources() *cloudcontrol.Client {
	return cloudcontrol.New(cloudcontrol.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

// ended waits for a request's end with the SDK's waiter, and returns how it ended.
func (c *caller) ended(begun *cctypes.ProgressEvent, err error) *cctypes.ProgressEvent {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
	in := &cloudcontrol.GetResourceRequestStatusInput{RequestToken: begun.RequestToken}
	err = cloudcontrol.NewResourceRequestSuccessWaiter(c.resources(), func(o *cloudcontrol.ResourceRequestSuccessWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, 100*time.Millisecond
	}).Wait(c.t.Context(), in, patience)
	out, statusErr := c.resources().GetResourceRequestStatus(c.t.Context(), in)
	if statusErr != nil {
		c.t.Fatalf("%v, %v", err, statusErr)
	}
	return out.ProgressEvent
}

func (c *caller) made(typeName, desired string) *cctypes.ProgressEvent {
	c.t.Helper()
	out, err := c.resources().CreateResource(c.t.Context(), &cloudcontrol.CreateResourceInput{TypeName: &typeName, DesiredState: &desired})
	if err != nil {
		c.t.Fatal(err)
	}
	return c.ended(out.ProgressEvent, nil)
}

func TestCloudControlThroughTheSDK(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "eu-west-1")
	ctx, client := t.Context(), c.resources()
	for _, r := range []struct{ typ, desired, patch, identifier, read string }{
		{
			"AWS::ECS::Cluster", `{"ClusterName":"main"}`, `[{"op":"add","path":"/Tags","value":[{"Key":"团队","Value":"🚀"}]}]`, "main",
			`{"Arn":"arn:aws:ecs:eu-west-1:111122223333:cluster/main","ClusterName":"main","Tags":[{"Key":"团队","Value":"🚀"}]}`,
		},
		{
			"AWS::Logs::LogGroup", `{"LogGroupName":"/shop"}`, `[{"op":"add","path":"/RetentionInDays","value":7}]`, "/shop",
			`{"Arn":"arn:aws:logs:eu-west-1:111122223333:log-group:/shop:*","LogGroupName":"/shop","RetentionInDays":7}`,
		},
	} {
		e := c.made(r.typ, r.desired)
		if e.OperationStatus != cctypes.OperationStatusSuccess || *e.Identifier != r.identifier || e.ResourceModel == nil {
			t.Fatalf("create %s: %+v %s", r.typ, e, aws.ToString(e.StatusMessage))
		}
		out, err := client.UpdateResource(ctx, &cloudcontrol.UpdateResourceInput{TypeName: &r.typ, Identifier: &r.identifier, PatchDocument: &r.patch})
		if err != nil {
			t.Fatal(err)
		}
		if e := c.ended(out.ProgressEvent, nil); e.OperationStatus != cctypes.OperationStatusSuccess {
			t.Fatalf("update %s: %s", r.typ, aws.ToString(e.StatusMessage))
		}
		got, err := client.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: &r.typ, Identifier: &r.identifier})
		if err != nil || !holds(*got.ResourceDescription.Properties, r.read) {
			t.Errorf("read %+v, %v\nwant %s", got, err, r.read)
		}
		var listed []string
		for pages := cloudcontrol.NewListResourcesPaginator(client, &cloudcontrol.ListResourcesInput{TypeName: &r.typ, MaxResults: new(int32(1))}); pages.HasMorePages(); {
			page, err := pages.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range page.ResourceDescriptions {
				listed = append(listed, *d.Identifier)
			}
		}
		if !slices.Contains(listed, r.identifier) {
			t.Errorf("listed %v", listed)
		}
		if e := c.made(r.typ, r.desired); e.OperationStatus != cctypes.OperationStatusFailed || e.ErrorCode != cctypes.HandlerErrorCodeAlreadyExists {
			t.Errorf("created twice: %s %s %s", e.OperationStatus, e.ErrorCode, aws.ToString(e.StatusMessage))
		}
		gone, err := client.DeleteResource(ctx, &cloudcontrol.DeleteResourceInput{TypeName: &r.typ, Identifier: &r.identifier})
		if err != nil {
			t.Fatal(err)
		}
		if e := c.ended(gone.ProgressEvent, nil); e.OperationStatus != cctypes.OperationStatusSuccess {
			t.Errorf("delete %s: %s", r.typ, aws.ToString(e.StatusMessage))
		}
		_, err = client.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: &r.typ, Identifier: &r.identifier})
		if _, ok := errors.AsType[*cctypes.ResourceNotFoundException](err); !ok {
			t.Errorf("read after the delete: %v", err)
		}
	}
	_, err := client.CreateResource(ctx, &cloudcontrol.CreateResourceInput{TypeName: new("AWS::Nothing::Here"), DesiredState: new("{}")})
	if _, ok := errors.AsType[*cctypes.TypeNotFoundException](err); !ok {
		t.Errorf("an unknown type: %v", err)
	}
	requests, err := client.ListResourceRequests(ctx, &cloudcontrol.ListResourceRequestsInput{
		ResourceRequestStatusFilter: &cctypes.ResourceRequestStatusFilter{OperationStatuses: []cctypes.OperationStatus{cctypes.OperationStatusFailed}},
	})
	if err != nil || len(requests.ResourceRequestStatusSummaries) != 2 {
		t.Errorf("requests %+v, %v", requests, err)
	}
}

// holds says whether a JSON object has all members of another.
func holds(text, want string) bool {
	var have, wanted map[string]any
	if json.Unmarshal([]byte(text), &have) != nil || json.Unmarshal([]byte(want), &wanted) != nil {
		return false
	}
	for name, v := range wanted {
		if fmt.Sprint(have[name]) != fmt.Sprint(v) {
			return false
		}
	}
	return true
}

// A rule as users of the exporter write it turns the calls that a document stands for into records.
func TestRulesMatchTheCallsOfDocuments(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "eu-west-1")
	url := c.queue("records")
	c.putRule("", "ecs", `{"source":["aws.ecs"],"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventSource":["ecs.amazonaws.com"],
		"eventName":[{"prefix":"CreateCluster"},{"prefix":"DeleteCluster"},{"prefix":"TagResource"},{"prefix":"CreateService"}]}}`, ebtypes.Target{
		Id: aws.String("records"), Arn: aws.String(c.queueARN("records")),
		InputTransformer: &ebtypes.InputTransformer{
			InputPathsMap: map[string]string{
				"event": "$.detail.eventName", "cluster": "$.detail.responseElements.cluster.clusterName", "resource": "$.detail.requestParameters.resourceArn",
				"service": "$.detail.responseElements.service.serviceArn", "by": "$.detail.userIdentity.invokedBy", "region": "$.detail.awsRegion",
			},
			InputTemplate: aws.String(`"<event> <cluster><service><resource> <by> <region>"`),
		},
	})
	c.made("AWS::ECS::Cluster", `{"ClusterName":"main"}`)
	c.made("AWS::ECS::Service", `{"ServiceName":"web","Cluster":"main"}`)
	out, err := c.resources().UpdateResource(t.Context(), &cloudcontrol.UpdateResourceInput{
		TypeName: new("AWS::ECS::Cluster"), Identifier: new("main"), PatchDocument: new(`[{"op":"add","path":"/Tags","value":[{"Key":"a","Value":"b"}]}]`),
	})
	if err != nil {
		t.Fatal(err)
	}
	c.ended(out.ProgressEvent, nil)
	gone, err := c.resources().DeleteResource(t.Context(), &cloudcontrol.DeleteResourceInput{TypeName: new("AWS::ECS::Cluster"), Identifier: new("main")})
	if err != nil {
		t.Fatal(err)
	}
	c.ended(gone.ProgressEvent, nil)
	const by = " cloudcontrolapi.amazonaws.com eu-west-1"
	want := []string{
		`"CreateCluster main` + by + `"`,
		`"CreateService arn:aws:ecs:eu-west-1:111122223333:service/main/web` + by + `"`,
		`"TagResource arn:aws:ecs:eu-west-1:111122223333:cluster/main` + by + `"`,
		`"DeleteCluster main` + by + `"`,
	}
	got := map[string]int{}
	eventually(t, "the records", func() bool {
		for body := range c.taken(url) {
			got[body]++
		}
		return len(got) >= len(want)
	})
	for _, line := range want {
		if got[line] == 0 {
			t.Errorf("there is no %s among %q", line, slices.Collect(maps.Keys(got)))
		}
	}
}

// taken takes the messages that are there.
func (c *caller) taken(url string) map[string]int {
	c.t.Helper()
	bodies := map[string]int{}
	out, err := c.queues().ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, m := range out.Messages {
		bodies[*m.Body]++
		if _, err := c.queues().DeleteMessage(c.t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
			c.t.Fatal(err)
		}
	}
	return bodies
}

// Every request that was answered is carried out once, though the server is killed among them.
func TestResourceRequestsGoOnAfterAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client := &http.Client{Transport: &http.Transport{}} // others end the idle connections of the usual one
	t.Cleanup(client.CloseIdleConnections)
	var p *serverProcess
	var c *caller
	begin := func() {
		p = startProcess(t, serverSettings{DataDir: dir, EventLogBytes: 64 << 20})
		c = &caller{t: t, url: p.url, account: testAccount, region: testRegion, key: credentials.NewStaticCredentialsProvider("test", "any", ""), http: client}
	}
	begin()
	calls := c.ruleToQueue("calls", `{"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventSource":["ecs.amazonaws.com"],"eventName":["CreateCluster"]}}`)
	tokens := map[string]string{} // of requests that were answered, by type and name
	var mu sync.Mutex
	for round := range 3 {
		var load sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for worker := range 4 {
			load.Go(func() {
				for i := range 200 {
					typ, name := "AWS::ECS::Cluster", fmt.Sprintf("r%d-%d-%d", round, worker, i)
					desired := `{"ClusterName":"` + name + `"}`
					if i%2 == 1 {
						typ, desired = "AWS::SQS::Queue", `{"QueueName":"`+name+`"}`
					}
					out, err := c.resources().CreateResource(t.Context(), &cloudcontrol.CreateResourceInput{TypeName: &typ, DesiredState: &desired, ClientToken: &name})
					if err != nil {
						return // killed
					}
					mu.Lock()
					tokens[typ+" "+name] = *out.ProgressEvent.RequestToken
					if len(tokens) >= 40*(round+1) {
						once.Do(func() { close(enough) })
					}
					mu.Unlock()
				}
			})
		}
		select {
		case <-enough:
		case <-time.After(patience):
			t.Error("few requests were answered")
		}
		p.kill()
		load.Wait()
		begin()
	}
	made := 0
	for key, token := range tokens {
		typ, _, _ := strings.Cut(key, " ")
		e := c.ended(&cctypes.ProgressEvent{RequestToken: &token}, nil)
		if e.OperationStatus != cctypes.OperationStatusSuccess {
			t.Errorf("%s ended %s: %s", key, e.OperationStatus, aws.ToString(e.StatusMessage))
			continue
		}
		if _, err := c.resources().GetResource(t.Context(), &cloudcontrol.GetResourceInput{TypeName: &typ, Identifier: e.Identifier}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		if typ == "AWS::ECS::Cluster" {
			made++
		}
	}
	t.Logf("%d requests, of them %d clusters", len(tokens), made)
	// Every cluster was told of, and none that is not there.
	told := map[string]int{}
	clusters := map[string]bool{}
	for pages := cloudcontrol.NewListResourcesPaginator(c.resources(), &cloudcontrol.ListResourcesInput{TypeName: new("AWS::ECS::Cluster"), MaxResults: new(int32(100))}); pages.HasMorePages(); {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.ResourceDescriptions {
			clusters[*d.Identifier] = true
		}
	}
	if len(clusters) < made {
		t.Errorf("%d clusters are there, %d requests made one", len(clusters), made)
	}
	eventually(t, "an event of each cluster", func() bool {
		for body := range c.taken(calls) {
			var e struct {
				Detail struct {
					RequestParameters struct{ ClusterName string }
				}
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil {
				t.Fatal(err)
			}
			told[e.Detail.RequestParameters.ClusterName]++
		}
		return len(told) >= len(clusters)
	})
	for name := range told {
		if !clusters[name] {
			t.Errorf("%s was told of and is not there", name)
		}
	}
}

// Whatever identifier is asked for, each type answers that there is no such resource, or that it cannot be one.
func TestStrangeIdentifiersNameNoResources(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, database string) {
		s := startServer(t, func(c *Config) { c.Database = database })
		c := s.caller("111122223333", "eu-west-1").on(t)
		types, _, err := s.resources.Types(t.Context(), c.account, c.region, resource.TypeFilter{Public: true, Limit: 100})
		if err != nil || len(types) < 20 {
			t.Fatalf("%d types, %v", len(types), err)
		}
		for _, d := range types {
			for _, identifier := range []string{"x", "a|b|c", "|", "x\x00y", "文\xff", "arn:aws:sqs:eu-west-1:111122223333:x", "http://127.0.0.1/111122223333/x", strings.Repeat("x", 1024)} {
				_, err := c.resources().GetResource(t.Context(), &cloudcontrol.GetResourceInput{TypeName: &d.TypeName, Identifier: &identifier})
				if err == nil || strings.Contains(err.Error(), "StatusCode: 500") {
					t.Errorf("%s %.30q: %v", d.TypeName, identifier, err)
				}
			}
			_, err := c.resources().ListResources(t.Context(), &cloudcontrol.ListResourcesInput{TypeName: &d.TypeName, ResourceModel: new(`{"EventBusName":[],"FunctionName":{},"Cluster":5}`)})
			if err != nil && strings.Contains(err.Error(), "StatusCode: 500") {
				t.Errorf("%s, listed by what is none: %v", d.TypeName, err)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) { test(t, "") })
	t.Run("postgres", func(t *testing.T) { test(t, storetest.PostgresURL(t)) })
}
