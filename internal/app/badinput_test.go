package app

import (
	"encoding/base64"
	"encoding/json"

	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
)

// What the SDK sends is refused by the name that AWS has for it, and changes
// nothing.
func TestBadInputIsRefusedByAWSName(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	c.putRule("", "rule", `{"source":["nobody"]}`)
	ctx := t.Context()
	events, queues, cloud := c.events(), c.queues(), c.ec2()
	putRule := func(name, pattern string) error {
		_, err := events.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern})
		return err
	}
	putTarget := func(target ebtypes.Target) error {
		if target.Id == nil {
			target.Id = aws.String("t")
		}
		_, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("rule"), Targets: []ebtypes.Target{target}})
		return err
	}
	queueARN := aws.String(c.queueARN("orders"))
	putEntries := func(entries ...ebtypes.PutEventsRequestEntry) error {
		_, err := events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
		return err
	}
	entry := func(detail string) ebtypes.PutEventsRequestEntry {
		return ebtypes.PutEventsRequestEntry{Source: aws.String("shop"), DetailType: aws.String("order"), Detail: &detail}
	}
	createConnection := func(name string, auth *ebtypes.CreateConnectionAuthRequestParameters) error {
		_, err := events.CreateConnection(ctx, &eventbridge.CreateConnectionInput{
			Name: &name, AuthorizationType: ebtypes.ConnectionAuthorizationTypeApiKey, AuthParameters: auth,
		})
		return err
	}
	tests := []struct {
		name       string
		err        error
		code, what string
	}{
		{"a pattern whose value is no list", putRule("a", `{"source":"x"}`), "InvalidEventPatternException", "Event pattern is not valid. Reason: "},
		{"a pattern that is no JSON", putRule("a", `{"source":`), "InvalidEventPatternException", "Event pattern is not valid. Reason: "},
		{"a pattern with an unknown operator", putRule("a", `{"source":[{"postfix":"x"}]}`), "InvalidEventPatternException", "Event pattern is not valid. Reason: "},
		{"an empty pattern", putRule("a", `{}`), "InvalidEventPatternException", ""},
		{"a rule's name with a space", putRule("a b", `{"source":["x"]}`), "ValidationException", "Value 'a b' at 'name' failed to satisfy constraint"},
		{"a rule's name that is too long", putRule(strings.Repeat("a", 65), `{"source":["x"]}`), "ValidationException", "Member must have length less than or equal to 64"},
		{"a target that is no ARN", putTarget(ebtypes.Target{Arn: aws.String("queue")}), "ValidationException", "Provided Arn is not in correct format"},
		{"a target in another region", putTarget(ebtypes.Target{Arn: aws.String("arn:aws:sqs:eu-west-1:000000000000:orders")}), "ValidationException", "eu-west-1"},
		{"a target of a kind that is not served", putTarget(ebtypes.Target{Arn: aws.String("arn:aws:kinesis:us-east-1:000000000000:stream/s")}), "ValidationException", "Targets of service kinesis are not served"},
		{"an input that is no JSON", putTarget(ebtypes.Target{Arn: queueARN, Input: aws.String("not-json")}), "ValidationException", "JSON syntax error in input for target t: "},
		{"an input path with brackets", putTarget(ebtypes.Target{Arn: queueARN, InputPath: aws.String("$['detail']")}), "ValidationException", "InputPath for target t is invalid."},
		{"a template that makes no JSON", putTarget(ebtypes.Target{Arn: queueARN, InputTransformer: &ebtypes.InputTransformer{InputTemplate: aws.String("x")}}), "ValidationException", "Invalid InputTemplate for target t : "},
		{"KinesisParameters", putTarget(ebtypes.Target{Arn: queueARN, KinesisParameters: &ebtypes.KinesisParameters{PartitionKeyPath: aws.String("$.id")}}), "ValidationException", "KinesisParameters is not supported for target arn:aws:sqs:"},
		{"EcsParameters", putTarget(ebtypes.Target{Arn: queueARN, EcsParameters: &ebtypes.EcsParameters{TaskDefinitionArn: aws.String("arn:aws:ecs:us-east-1:000000000000:task-definition/x")}}), "ValidationException", "EcsParameters is not supported for target arn:aws:sqs:"},
		{"BatchParameters", putTarget(ebtypes.Target{Arn: queueARN, BatchParameters: &ebtypes.BatchParameters{JobDefinition: aws.String("j"), JobName: aws.String("j")}}), "ValidationException", "BatchParameters is not supported for target arn:aws:sqs:"},
		{"RedshiftDataParameters", putTarget(ebtypes.Target{Arn: queueARN, RedshiftDataParameters: &ebtypes.RedshiftDataParameters{Database: aws.String("d")}}), "ValidationException", "RedshiftDataParameters is not supported for target arn:aws:sqs:"},
		{"AppSyncParameters", putTarget(ebtypes.Target{Arn: queueARN, AppSyncParameters: &ebtypes.AppSyncParameters{GraphQLOperation: aws.String("q")}}), "ValidationException", "AppSyncParameters is not supported for target arn:aws:sqs:"},
		{"HttpParameters of a queue", putTarget(ebtypes.Target{Arn: queueARN, HttpParameters: &ebtypes.HttpParameters{}}), "ValidationException", "HttpParameters is not supported for target arn:aws:sqs:"},
		{"a role of another account", putTarget(ebtypes.Target{Arn: queueARN, RoleArn: aws.String("arn:aws:iam::111122223333:role/x")}), "ValidationException", "Cross-account pass role is not allowed"},
		{"a dead-letter queue in another region", putTarget(ebtypes.Target{Arn: queueARN, DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String("arn:aws:sqs:eu-west-1:000000000000:dead")}}), "ValidationException", "DeadLetterConfig.Arn"},
		{"an endpoint that no call would reach", func() error {
			_, err := events.CreateApiDestination(ctx, &eventbridge.CreateApiDestinationInput{
				Name: aws.String("a"), ConnectionArn: aws.String("arn:aws:events:us-east-1:000000000000:connection/a/0b1c2d3e-0000-4000-8000-000000000000"),
				InvocationEndpoint: aws.String("http://169.254.169.254/latest"), HttpMethod: ebtypes.ApiDestinationHttpMethodPost,
			})
			return err
		}(), "ValidationException", "169.254.169.254"},
		{"a connection without its parameters", createConnection("a", &ebtypes.CreateConnectionAuthRequestParameters{}), "ValidationException", ""},
		{"eleven entries", putEntries(entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}"), entry("{}")), "ValidationException", "Member must have length less than or equal to 10"},
		{"entries that are too large together", putEntries(entry(`"` + strings.Repeat("x", 1<<20) + `"`)), "ValidationException", "Total size of the entries in the request is over the limit."},
		{"a bus that does not exist", func() error {
			_, err := events.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: aws.String("nowhere")})
			return err
		}(), "ResourceNotFoundException", "Event bus nowhere does not exist"},
		{"a default bus to be deleted", func() error {
			_, err := events.DeleteEventBus(ctx, &eventbridge.DeleteEventBusInput{Name: aws.String("default")})
			return err
		}(), "ValidationException", "default"},
		{"an operation that is not served", func() error {
			_, err := events.ListEndpoints(ctx, &eventbridge.ListEndpointsInput{})
			return err
		}(), "UnknownOperationException", ""},

		{"a queue's name", func() error {
			_, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("订单")})
			return err
		}(), "InvalidParameterValue", "1 to 80"},
		{"a queue's attribute", func() error {
			_, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("a"), Attributes: map[string]string{"VisibilityTimeout": "-1"}})
			return err
		}(), "InvalidAttributeValue", "VisibilityTimeout"},
		{"a queue that does not exist", func() error {
			_, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(s.LocalURL() + "/000000000000/nowhere"), MessageBody: aws.String("x")})
			return err
		}(), "AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist"},

		{"an instance's id", func() error {
			_, err := cloud.TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{"x-1"}})
			return err
		}(), "InvalidInstanceID.Malformed", "x-1"},
		{"an instance that does not exist", func() error {
			_, err := cloud.StopInstances(ctx, &ec2.StopInstancesInput{InstanceIds: []string{"i-0abcd1234ef567890"}})
			return err
		}(), "InvalidInstanceID.NotFound", "i-0abcd1234ef567890"},
		{"more instances at least than at most", func() error {
			_, err := cloud.RunInstances(ctx, &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(3), MaxCount: aws.Int32(2)})
			return err
		}(), "InvalidParameterValue", ""},
		{"an EC2 operation that is not served", func() error {
			_, err := cloud.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{})
			return err
		}(), "InvalidAction", "DescribeVolumes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { refusedAs(t, tt.err, tt.code, tt.what) })
	}
	out, err := events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
		{Source: aws.String("aws.ec2"), DetailType: aws.String("x"), Detail: aws.String("{}")},
		{Source: aws.String("shop"), DetailType: aws.String("x"), Detail: aws.String("[1]")},
		{Source: aws.String("shop"), Detail: aws.String("{}")},
	}})
	if err != nil || out.FailedEntryCount != 3 {
		t.Fatalf("PutEvents: %+v, %v", out, err)
	}
	for i, want := range []string{"NotAuthorizedForSourceException", "MalformedDetail", "InvalidArgument"} {
		if got := aws.ToString(out.Entries[i].ErrorCode); got != want || out.Entries[i].EventId != nil {
			t.Errorf("entry %d is refused with %q, want %q", i, got, want)
		}
	}
	s.unchanged(t, c, "rule")
}

// unchanged checks that a caller has the rules named, without targets, and that
// there is nothing else.
func (s *testServer) unchanged(t *testing.T, c *caller, rules ...string) {
	t.Helper()
	ctx := t.Context()
	found, err := c.events().ListRules(ctx, &eventbridge.ListRulesInput{})
	if err != nil || len(found.Rules) != len(rules) {
		t.Errorf("there are rules %+v, want %v: %v", found, rules, err)
	}
	for _, rule := range rules {
		targets, err := c.events().ListTargetsByRule(ctx, &eventbridge.ListTargetsByRuleInput{Rule: &rule})
		if err != nil || len(targets.Targets) != 0 {
			t.Errorf("rule %s has targets: %+v, %v", rule, targets, err)
		}
	}
	connections, err := c.events().ListConnections(ctx, &eventbridge.ListConnectionsInput{})
	if err != nil || len(connections.Connections) != 0 {
		t.Errorf("there are connections: %+v, %v", connections, err)
	}
	queues, err := c.queues().ListQueues(ctx, &sqs.ListQueuesInput{})
	if err != nil || len(queues.QueueUrls) != 0 {
		t.Errorf("there are queues: %+v, %v", queues, err)
	}
	instances, err := c.ec2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{})
	if err != nil || len(instances.Reservations) != 0 {
		t.Errorf("there are instances: %+v, %v", instances, err)
	}
	for _, rec := range s.logged(t) {
		if rec.Origin != event.OriginService+" trail" {
			t.Errorf("the event log has, beside the trail of these calls, %s", rec.JSON)
		}
	}
	if _, body := s.get("/v1/teams/default/projects"); body != "{\"list\":[]}\n" {
		t.Errorf("there are projects: %s", body)
	}
}

// logged is what the event log has.
func (s *testServer) logged(t *testing.T) []event.Record {
	t.Helper()
	var recs []event.Record
	err := s.log.ReadRange(t.Context(), 0, 0, func(b *eventlog.Batch) error {
		for _, entry := range b.Entries {
			rec, err := event.DecodeRecord(entry)
			if err != nil {
				return err
			}
			recs = append(recs, rec)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// rawRequest is a request as a broken or hostile client makes it.
type rawRequest struct {
	method, path string
	header       map[string]string
	body         string
}

func signedNow(service string) string {
	return authorization(service, time.Now().UTC().Format("20060102T150405Z"))
}

func jsonCall(target, body string) rawRequest {
	return rawRequest{"POST", "/", map[string]string{
		"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target, "Authorization": signedNow(strings.ToLower(strings.TrimPrefix(target[:6], "AWSE"))),
		"X-Amz-Date": time.Now().UTC().Format("20060102T150405Z"),
	}, body}
}

func queryCall(service, form string) rawRequest {
	return rawRequest{"POST", "/", map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Authorization": signedNow(service),
		"X-Amz-Date": time.Now().UTC().Format("20060102T150405Z"),
	}, form}
}

func restCall(method, path, body string) rawRequest {
	return rawRequest{method, path, map[string]string{
		"Authorization": signedNow("lambda"), "X-Amz-Date": time.Now().UTC().Format("20060102T150405Z"),
	}, body}
}

func (r rawRequest) with(header, value string) rawRequest {
	copied := map[string]string{}
	maps.Copy(copied, r.header)
	copied[header] = value
	r.header = copied
	return r
}

func (r rawRequest) without(header string) rawRequest {
	r = r.with(header, "")
	delete(r.header, header)
	return r
}

// send returns the answer's status, content type and body.
func (r rawRequest) send(t *testing.T, url string) (status int, contentType, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), r.method, url+r.path, strings.NewReader(r.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range r.header {
		if k == "Host" {
			req.Host = v
			continue
		}
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Content-Type"), string(b)
}

// What no SDK would send is refused in the shape of the protocol that it is in.
func TestBrokenRequestsAreRefusedInTheirProtocolsShape(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	queryError := func(code string) string { return "<Error><Type>Sender</Type><Code>" + code + "</Code>" }
	ec2Error := func(code string) string { return "<Errors><Error><Code>" + code + "</Code>" }
	restError := func(code string) string { return `{"error":{"code":"` + code + `","message":"` }
	project := rawRequest{"POST", "/v1/teams/default/projects", map[string]string{"Content-Type": "application/json"}, `{"name":"web"}`}
	large := strings.Repeat("x", 12<<20)
	form := rawRequest{"POST", "/", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, "Action=CreateQueue&QueueName=x&Version=2012-11-05"}
	for name, tt := range map[string]struct {
		request           rawRequest
		status            int
		contentType, want string
	}{
		"JSON that breaks off":        {jsonCall("AWSEvents.PutEvents", `{"Entries":[`), 400, "application/x-amz-json-1.1", `{"__type":"SerializationException"`},
		"JSON of another type":        {jsonCall("AWSEvents.PutEvents", `{"Entries":"x"}`), 400, "application/x-amz-json-1.1", `{"__type":"SerializationException"`},
		"no JSON at all":              {jsonCall("AWSEvents.PutRule", `Name=x`), 400, "application/x-amz-json-1.1", `{"__type":"SerializationException"`},
		"an unknown operation":        {jsonCall("AWSEvents.MakeCoffee", `{}`), 400, "application/x-amz-json-1.1", `{"__type":"UnknownOperationException"`},
		"an unknown service":          {jsonCall("AWSCoffee.Make", `{}`), 400, "application/x-amz-json-1.1", `{"__type":"UnknownOperationException"`},
		"JSON without a signature":    {jsonCall("AWSEvents.ListRules", `{}`).without("Authorization"), 403, "application/x-amz-json-1.1", `{"__type":"MissingAuthenticationTokenException"`},
		"JSON with half a signature":  {jsonCall("AWSEvents.ListRules", `{}`).with("Authorization", "AWS4-HMAC-SHA256 Credential=x"), 400, "application/x-amz-json-1.1", `{"__type":"IncompleteSignatureException"`},
		"a JSON body that is too big": {jsonCall("AWSEvents.PutEvents", `{"Entries":[{"Detail":"`+large+`"}]}`), 413, "application/x-amz-json-1.1", `{"__type":"RequestEntityTooLargeException"`},
		"SQS in JSON, broken":         {jsonCall("AmazonSQS.SendMessage", `{`), 400, "application/x-amz-json-1.0", `"__type":"com.amazon`},

		"a form without an action":     {queryCall("sqs", "QueueName=x"), 400, "text/xml", queryError("MissingAction")},
		"a form with an unknown one":   {queryCall("sqs", "Action=MakeCoffee&Version=2012-11-05"), 400, "text/xml", queryError("InvalidAction")},
		"a form with a broken escape":  {queryCall("sqs", "Action=CreateQueue&QueueName=%zz"), 400, "text/xml", queryError("MalformedQueryString")},
		"a form with a broken number":  {queryCall("sqs", "Action=ReceiveMessage&MaxNumberOfMessages=many&QueueUrl=http%3A%2F%2Fx%2F000000000000%2Fq&Version=2012-11-05"), 400, "text/xml", "<Code>"},
		"a form that is too big":       {queryCall("sqs", "Action=CreateQueue&QueueName="+large), 413, "text/xml", queryError("RequestEntityTooLarge")},
		"an EC2 form, unknown action":  {queryCall("ec2", "Action=MakeCoffee&Version=2016-11-15"), 400, "text/xml;charset=UTF-8", ec2Error("InvalidAction")},
		"an EC2 form, broken number":   {queryCall("ec2", "Action=RunInstances&ImageId=ami-1&MinCount=x&MaxCount=1&Version=2016-11-15"), 400, "text/xml;charset=UTF-8", "<Errors><Error><Code>"},
		"a form that a web page posts": {form, 403, "text/xml", "MissingAuthenticationToken"},
		"and its GET":                  {rawRequest{"GET", "/?Action=CreateQueue&QueueName=x&Version=2012-11-05", nil, ""}, 403, "text/xml", "MissingAuthenticationToken"},
		"a form of another origin":     {form.with("Origin", "https://evil.example"), 403, "application/json", restError("forbidden_error")},
		"a presigned form that writes": {rawRequest{"POST", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F" + time.Now().UTC().Format("20060102") + "%2Fus-east-1%2Fsqs%2Faws4_request&X-Amz-Date=" + time.Now().UTC().Format("20060102T150405Z") + "&X-Amz-SignedHeaders=host&X-Amz-Signature=00", form.header, form.body}, 403, "text/xml", "AccessDenied"},

		"a function without a name":      {restCall("GET", "/2015-03-31/functions//configuration", ""), 404, "application/json", `{"Type":"User","message":"The operation GET /2015-03-31/functions//configuration of lambda`},
		"a function beside the others":   {restCall("DELETE", "/2015-03-31/functions/a/../b", ""), 404, "application/json", `{"Type":"User","message":"The operation DELETE`},
		"a function with half signature": {restCall("GET", "/2015-03-31/functions", "").with("Authorization", "AWS4-HMAC-SHA256 Credential=x"), 400, "application/json", `{"Type":"User","message":`},
		"a function of broken JSON":      {restCall("POST", "/2015-03-31/functions", `{"FunctionName":`), 400, "application/json", `{"Type":"User","message":`},
		"a presigned invocation":         {rawRequest{"POST", "/2015-03-31/functions/f/invocations?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=test%2F" + time.Now().UTC().Format("20060102") + "%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=" + time.Now().UTC().Format("20060102T150405Z") + "&X-Amz-SignedHeaders=host&X-Amz-Signature=00", nil, "{}"}, 403, "application/json", "Presigned requests cannot change anything"},

		"a foreign host":                   {project.with("Host", "evil.example"), 403, "application/json", restError("forbidden_error")},
		"a foreign host, AWS":              {jsonCall("AWSEvents.ListRules", `{}`).with("Host", "evil.example:7425"), 403, "application/json", restError("forbidden_error")},
		"a cross-site fetch":               {project.with("Sec-Fetch-Site", "cross-site"), 403, "application/json", restError("forbidden_error")},
		"a same-site fetch":                {project.with("Sec-Fetch-Site", "same-site"), 403, "application/json", restError("forbidden_error")},
		"a fetch of another origin":        {project.with("Origin", "https://evil.example"), 403, "application/json", restError("forbidden_error")},
		"a fetch of a null origin":         {project.with("Origin", "null"), 403, "application/json", restError("forbidden_error")},
		"a REST body that is no JSON":      {project.with("Content-Type", "text/plain"), 415, "application/json", restError("unsupported_content_type")},
		"a REST body that breaks off":      {rawRequest{"POST", project.path, project.header, `{"name":"we`}, 400, "application/json", restError("invalid_request")},
		"a REST body with an unknown name": {rawRequest{"POST", project.path, project.header, `{"name":"web","colour":"red"}`}, 400, "application/json", restError("invalid_request")},
		"a REST body with a name twice":    {rawRequest{"POST", project.path, project.header, `{"name":"web","name":"wob"}`}, 400, "application/json", restError("invalid_request")},
		"a REST body that is too big":      {rawRequest{"POST", project.path, project.header, `{"name":"` + large + `"}`}, 413, "application/json", restError("invalid_request")},
		"a project's name":                 {rawRequest{"POST", project.path, project.header, `{"name":"a/b 🛒"}`}, 400, "application/json", restError("invalid_request")},
		"another team":                     {rawRequest{"GET", "/v1/teams/nobody/projects", nil, ""}, 404, "application/json", restError("resource_does_not_exist")},
		"another path":                     {rawRequest{"GET", "/v1/nothing", nil, ""}, 404, "", ""},
		"events that are too big":          {rawRequest{"POST", "/v1/events", project.header, `{"source":"x","detail-type":"x","detail":{"x":"` + large + `"}}`}, 413, "application/json", restError("invalid_request")},
		"an injected event that lacks all": {rawRequest{"POST", "/v1/events", project.header, `{}`}, 400, "application/json", restError("invalid_request")},
		"an injected event of no JSON":     {rawRequest{"POST", "/v1/events", project.header, `{"source":`}, 400, "application/json", restError("invalid_request")},
	} {
		t.Run(name, func(t *testing.T) {
			status, contentType, body := tt.request.send(t, s.LocalURL())
			if status != tt.status || !strings.HasPrefix(contentType, tt.contentType) || !strings.Contains(body, tt.want) {
				t.Errorf("answered %d %s %.300s\nwant %d %s …%s…", status, contentType, body, tt.status, tt.contentType, tt.want)
			}
			if strings.HasPrefix(contentType, "application/") && !json.Valid([]byte(body)) {
				t.Errorf("the answer is no JSON: %s", body)
			}
		})
	}
	s.unchanged(t, s.caller("000000000000", "us-east-1"))
}

// gate is an HTTP endpoint that hangs until it is opened, and keeps what it took.
type gate struct {
	*httptest.Server
	open    func()
	opened  chan struct{}
	waiting chan struct{} // told of calls that wait

	mu    sync.Mutex
	taken map[string]int // how often, by event id
	some  chan struct{}  // told of each
}

func newGate(t *testing.T) *gate {
	g := &gate{opened: make(chan struct{}), waiting: make(chan struct{}, 1), taken: map[string]int{}, some: make(chan struct{}, 1)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller hung up: it stops, or its time for the attempt was over
		}
		var e arrivedEvent
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("the endpoint was called with no event: %v", err)
		}
		select {
		case g.waiting <- struct{}{}:
		default:
		}
		select {
		case <-g.opened:
		case <-r.Context().Done():
			return
		}
		g.mu.Lock()
		g.taken[e.ID]++
		g.mu.Unlock()
		select {
		case g.some <- struct{}{}:
		default:
		}
	}))
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(func() { g.open(); g.Close() })
	return g
}

// await waits until the endpoint took as many different events.
func (g *gate) await(t *testing.T, n int) map[string]int {
	t.Helper()
	deadline := time.After(patience)
	for {
		g.mu.Lock()
		taken := maps.Clone(g.taken)
		g.mu.Unlock()
		if len(taken) >= n {
			return taken
		}
		select {
		case <-g.some:
		case <-deadline:
			t.Fatalf("the endpoint took %d events, want %d", len(taken), n)
		}
	}
}

// A log full of what cannot be delivered throttles, loses nothing of what it
// acknowledged, and takes events again once they went.
func TestAFullLogThrottlesAndRecovers(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *Config) { c.EventLogBytes = 16 << 20 })
	c := s.caller("000000000000", "us-east-1")
	g := newGate(t)
	destination := c.destination("hung", g.URL, apiKeyAuth("X-Key", "secret"))
	c.putRule("", "hung", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("hung"), Arn: &destination, RoleArn: aws.String(c.role())})
	random := rand.NewChaCha8([32]byte{})
	detail := func() string { // what repeats would take less of the log
		b := make([]byte, 75<<10)
		_, _ = random.Read(b) // it cannot fail
		return `{"x":"` + base64.StdEncoding.EncodeToString(b) + `"}`
	}
	put := func() ([]string, error) {
		entries := make([]ebtypes.PutEventsRequestEntry, 9)
		for i := range entries {
			entries[i] = ebtypes.PutEventsRequestEntry{Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String(detail())}
		}
		out, err := c.events().PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: entries})
		if err != nil {
			return nil, err
		}
		var ids []string
		for _, e := range out.Entries {
			if e.EventId == nil {
				t.Fatalf("an entry was refused: %s", aws.ToString(e.ErrorMessage))
			}
			ids = append(ids, *e.EventId)
		}
		return ids, nil
	}
	var acknowledged []string
	// fill puts events until the log takes no more.
	fill := func() {
		for {
			ids, err := put()
			if err != nil {
				refusedAs(t, err, "ThrottlingException", "")
				return
			}
			if acknowledged = append(acknowledged, ids...); len(acknowledged) > 1000 {
				t.Fatal("a log of 16 MiB took 100 MiB")
			}
		}
	}
	fill()
	if len(acknowledged) < 50 {
		t.Errorf("a log of 16 MiB was full after %d events of 100 KiB", len(acknowledged))
	}
	if status, body := s.get("/healthz"); status != http.StatusOK {
		t.Errorf("with a full log the server's health is %d: %s", status, body)
	}
	// Attempts that end in between make room, which is filled again.
	for {
		var injected strings.Builder
		for range 9 {
			injected.WriteString(`{"source":"shop","detail-type":"x","detail":` + detail() + `}`)
		}
		a := s.rest(t, "POST", "/v1/events", "", injected.String())
		if a.Status != http.StatusOK {
			if a.Status != http.StatusServiceUnavailable || a.Code != "service_offline" {
				t.Errorf("rialto put is answered: %s", a)
			}
			break
		}
		var taken struct {
			Events []struct{ ID string }
		}
		if err := json.Unmarshal(a.Body, &taken); err != nil {
			t.Fatal(err)
		}
		for _, e := range taken.Events {
			acknowledged = append(acknowledged, e.ID)
		}
		fill()
	}

	g.open()
	taken := g.await(t, len(acknowledged))
	for _, id := range acknowledged {
		if taken[id] == 0 {
			t.Errorf("event %s was acknowledged and did not arrive", id)
		}
	}
	if len(taken) > len(acknowledged) {
		t.Errorf("%d events arrived, only %d were acknowledged", len(taken), len(acknowledged))
	}
	deadline := time.After(patience)
	for {
		_, err := put()
		if err == nil {
			break
		}
		refusedAs(t, err, "ThrottlingException", "")
		select {
		case <-deadline:
			t.Fatal("the log takes no events although all were delivered")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
