package awsapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// everyAPI are all services.
var everyAPI = []*awsapi.API{events.API, sqs.API, sns.API, logs.API, ec2.API, lambda.API, cloudcontrol.API, cloudformation.API, sts.API}

// trailCaller calls in the tests of the trail.
var trailCaller = awsapi.Caller{
	AccessKeyID: "AKIDEXAMPLE", Account: "123456789012", Region: "eu-west-1", Role: awsapi.RoleAdmin,
	RequestID: "1b2c3d4e-0000-4000-8000-000000000001", SourceIP: "203.0.113.10", UserAgent: "aws-cli/2.15.0",
}

// trailed is a handler with a trail whose operations all do what do says.
type trailed struct {
	*awsapi.Handler
	db    *store.DB
	trail *awsapi.Trail
	log   *bytes.Buffer
	reads bool
	do    func(ctx context.Context, op string, in any) (any, error)
}

func newTrailed(t *testing.T, db *store.DB) *trailed {
	t.Helper()
	x := &trailed{db: db, log: new(bytes.Buffer), do: func(context.Context, string, any) (any, error) { return nil, nil }}
	logger := slog.New(slog.NewTextHandler(x.log, nil))
	now := func() time.Time { return testTime }
	x.trail = awsapi.NewTrail(awsapi.TrailOptions{DB: db, Now: now, Logger: logger, Reads: func(account, region string) bool {
		return x.reads && account == trailCaller.Account && region == trailCaller.Region
	}})
	x.Handler = awsapi.New(awsapi.Config{Keys: keyring{}, DevMode: dev, Trail: x.trail, Now: now, Logger: logger})
	for _, api := range everyAPI {
		stubbed := *api
		stubbed.Operations = slices.Clone(api.Operations)
		for i := range stubbed.Operations {
			name := stubbed.Operations[i].Name
			stubbed.Operations[i].Invoke = func(ctx context.Context, _, in any) (any, error) { return x.do(ctx, name, in) }
		}
		x.Register(awsapi.NewBinding(&stubbed, nil))
	}
	return x
}

// call calls an operation with an input given as JSON.
func (x *trailed) call(t *testing.T, c awsapi.Caller, service, op, input string) (any, error) {
	t.Helper()
	i := slices.IndexFunc(everyAPI, func(a *awsapi.API) bool { return a.Name == service })
	o := operation(everyAPI[i], op)
	in := o.New()
	if err := awsapi.DecodeJSON(o.Input, []byte(input), in); err != nil {
		t.Fatal(err)
	}
	return x.Invoke(t.Context(), c, service, op, in)
}

// change is a transaction that changes something.
func (x *trailed) change(ctx context.Context) error {
	return x.db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO changes (id) SELECT count(*) FROM changes`)
		return err
	})
}

func (x *trailed) changes(t *testing.T) (n int) {
	t.Helper()
	if err := x.db.QueryRow(t.Context(), `SELECT count(*) FROM changes`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func createChanges(t *testing.T, db *store.DB) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `CREATE TABLE changes (id BIGINT PRIMARY KEY)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// detail is a CloudTrail record.
type detail struct {
	UserIdentity       map[string]any
	EventName          string
	SourceIPAddress    string
	UserAgent          string
	ErrorCode          *string
	ErrorMessage       *string
	RequestParameters  json.RawMessage
	ResponseElements   json.RawMessage
	RequestID, EventID string
	ReadOnly           bool
	TLSDetails         map[string]string
}

// taken takes the events out of the outbox.
func (x *trailed) taken(t *testing.T) (recs []event.Record, details []detail) {
	t.Helper()
	err := x.db.Update(t.Context(), func(tx *store.Tx) error {
		rows, err := tx.Query(t.Context(), `SELECT record FROM outbox ORDER BY id`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var b []byte
			if err := rows.Scan(&b); err != nil {
				return err
			}
			rec, err := event.DecodeRecord(bytes.Clone(b))
			if err != nil {
				return err
			}
			recs = append(recs, rec)
		}
		rows.Close()
		_, err = tx.Exec(t.Context(), `DELETE FROM outbox`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range recs {
		e, err := event.Parse(rec.JSON)
		if err != nil {
			t.Fatalf("%s: %v", rec.JSON, err)
		}
		var d detail
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			t.Fatalf("%s: %v", e.Detail, err)
		}
		details = append(details, d)
	}
	return recs, details
}

// one takes the only event.
func (x *trailed) one(t *testing.T) (event.Record, detail) {
	t.Helper()
	recs, details := x.taken(t)
	if len(recs) != 1 {
		t.Fatalf("%d events, want one: %s", len(recs), x.log)
	}
	return recs[0], details[0]
}

func TestACallLeavesAnEventAsCloudTrailHasIt(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	x.do = func(context.Context, string, any) (any, error) {
		return &lambda.CreateFunctionOutput{FunctionName: new("orders"), State: new("Pending")}, nil
	}
	if _, err := x.call(t, trailCaller, "lambda", "CreateFunction", `{"FunctionName":"orders","Runtime":"provided.al2023","Role":"arn:aws:iam::123456789012:role/orders","Code":{"ZipFile":"UEsD"}}`); err != nil {
		t.Fatal(err)
	}
	rec, d := x.one(t)
	if rec.Bus != (event.BusRef{Account: "123456789012", Region: "eu-west-1", Name: "default"}) || rec.Origin != "service trail" || d.EventID == "" || d.EventID == rec.ID {
		t.Errorf("the record is %+v", rec)
	}
	want := `{"version":"0","id":"` + rec.ID + `","detail-type":"AWS API Call via CloudTrail","source":"aws.lambda","account":"123456789012",` +
		`"time":"2026-01-02T03:04:05Z","region":"eu-west-1","resources":[],"detail":{"eventVersion":"1.08",` +
		`"userIdentity":{"type":"IAMUser","principalId":"AKIDEXAMPLE","arn":"arn:aws:iam::123456789012:user/AKIDEXAMPLE","accountId":"123456789012","accessKeyId":"AKIDEXAMPLE","userName":"AKIDEXAMPLE"},` +
		`"eventTime":"2026-01-02T03:04:05Z","eventSource":"lambda.amazonaws.com","eventName":"CreateFunction20150331","awsRegion":"eu-west-1",` +
		`"sourceIPAddress":"203.0.113.10","userAgent":"aws-cli/2.15.0",` +
		`"requestParameters":{"code":{},"functionName":"orders","role":"arn:aws:iam::123456789012:role/orders","runtime":"provided.al2023"},` +
		`"responseElements":{"functionName":"orders","state":"Pending"},` +
		`"requestID":"1b2c3d4e-0000-4000-8000-000000000001","eventID":"` + d.EventID + `","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,` +
		`"recipientAccountId":"123456789012","eventCategory":"Management"}}`
	if diff := cmp.Diff(want, string(rec.JSON)); diff != "" {
		t.Errorf("the event (-want +got):\n%s", diff)
	}
}

func TestParametersAndResponsesAreInCloudTrailsCasing(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	at := time.Date(2026, 2, 20, 13, 9, 13, 0, time.UTC)
	for name, tt := range map[string]struct {
		service, op, input string
		out                any
		request, response  string // JSON
	}{
		"first letters are lower, also of acronyms": {
			"sqs", "AddPermission", `{"QueueUrl":"http://x/1/q","Label":"l","AWSAccountIds":["111122223333"],"Actions":["SendMessage"]}`, nil,
			`{"aWSAccountIds":["111122223333"],"actions":["SendMessage"],"label":"l","queueUrl":"http://x/1/q"}`, `null`,
		},
		"keys of maps are as given": {
			"sqs", "CreateQueue", `{"QueueName":"订单","Attributes":{"VisibilityTimeout":"30"},"tags":{"Team 🛒":"A"}}`, &sqs.CreateQueueOutput{QueueUrl: new("http://x/1/q")},
			`{"attributes":{"VisibilityTimeout":"30"},"queueName":"订单","tags":{"Team 🛒":"A"}}`, `{"queueUrl":"http://x/1/q"}`,
		},
		"an answer without members is null": {
			"sns", "TagResource", `{"ResourceArn":"arn:aws:sns:eu-west-1:123456789012:t","Tags":[{"Key":"K","Value":"v"}]}`, &sns.TagResourceOutput{},
			`{"resourceArn":"arn:aws:sns:eu-west-1:123456789012:t","tags":[{"key":"K","value":"v"}]}`, `null`,
		},
		"times are written out": {
			"events", "UpdateArchive", `{"ArchiveName":"a","RetentionDays":3}`, &events.UpdateArchiveOutput{ArchiveArn: new("arn"), CreationTime: &at},
			`{"archiveName":"a","retentionDays":3}`, `{"archiveArn":"arn","creationTime":"Feb 20, 2026, 1:09:13 PM"}`,
		},
		"what a rule matches is text": {
			"events", "PutRule", `{"Name":"r","EventPattern":"{\"source\":[\"shop\"]}","State":"ENABLED"}`, &events.PutRuleOutput{RuleArn: new("arn")},
			`{"eventPattern":"{\"source\":[\"shop\"]}","name":"r","state":"ENABLED"}`, `{"ruleArn":"arn"}`,
		},
		"failed entries are those of the answer": {
			"events", "PutTargets", `{"Rule":"r","Targets":[{"Id":"1","Arn":"a"}]}`, &events.PutTargetsOutput{FailedEntryCount: new(int32(0)), FailedEntries: []events.PutTargetsResultEntry{}},
			`{"rule":"r","targets":[{"arn":"a","id":"1"}]}`, `{"failedEntryCount":0,"failedEntries":[]}`,
		},
		"secrets of a connection are hidden": {
			"events", "CreateConnection", `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":{"ApiKeyAuthParameters":{"ApiKeyName":"X-Key","ApiKeyValue":"s3cr3t"},` +
				`"InvocationHttpParameters":{"HeaderParameters":[{"Key":"h","Value":"s3cr3t","IsValueSecret":true}],"QueryStringParameters":[{"Key":"q","Value":"s3cr3t"}],"BodyParameters":[{"Key":"b","Value":"s3cr3t"}]}}}`,
			&events.CreateConnectionOutput{ConnectionState: new("AUTHORIZED")},
			`{"authParameters":{"apiKeyAuthParameters":{"apiKeyName":"X-Key","apiKeyValue":"HIDDEN_DUE_TO_SECURITY_REASONS"},` +
				`"invocationHttpParameters":{"bodyParameters":[{"key":"b","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}],"headerParameters":[{"isValueSecret":true,"key":"h","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}],` +
				`"queryStringParameters":[{"key":"q","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}]}},"authorizationType":"API_KEY","name":"c"}`,
			`{"connectionState":"AUTHORIZED"}`,
		},
		"a subscription's endpoint is hidden": {
			"sns", "Subscribe", `{"TopicArn":"t","Protocol":"https","Endpoint":"https://me:s3cr3t@example.com"}`, &sns.SubscribeOutput{SubscriptionArn: new("pending confirmation")},
			`{"endpoint":"HIDDEN_DUE_TO_SECURITY_REASONS","protocol":"https","topicArn":"t"}`, `{"subscriptionArn":"pending confirmation"}`,
		},
		"the token of a confirmation is hidden": {
			"sns", "ConfirmSubscription", `{"TopicArn":"t","Token":"s3cr3t"}`, &sns.ConfirmSubscriptionOutput{SubscriptionArn: new("arn")},
			`{"token":"HIDDEN_DUE_TO_SECURITY_REASONS","topicArn":"t"}`, `{"subscriptionArn":"arn"}`,
		},
		"code is left out": {
			"lambda", "UpdateFunctionCode", `{"FunctionName":"f","ZipFile":"czNjcjN0","Publish":false}`, &lambda.UpdateFunctionCodeOutput{CodeSize: new(int64(7))},
			`{"functionName":"f","publish":false}`, `{"codeSize":7}`,
		},
		"variables of an environment are left out": {
			"lambda", "UpdateFunctionConfiguration", `{"FunctionName":"f","Environment":{"Variables":{"PASSWORD":"s3cr3t"}},"KMSKeyArn":""}`,
			&lambda.UpdateFunctionConfigurationOutput{Environment: &lambda.EnvironmentResponse{Variables: map[string]string{"PASSWORD": "s3cr3t"}}},
			`{"environment":{},"functionName":"f","kMSKeyArn":""}`, `{"environment":{}}`,
		},
		"a stack's parameters have no values": {
			"cloudformation", "CreateStack", `{"StackName":"s","TemplateBody":"s3cr3t","Parameters":[{"ParameterKey":"Password","ParameterValue":"s3cr3t"}]}`, &cloudformation.CreateStackOutput{StackId: new("arn")},
			`{"parameters":[{"parameterKey":"Password"}],"stackName":"s"}`, `{"stackId":"arn"}`,
		},
		"a resource's model is hidden": {
			"cloudcontrolapi", "CreateResource", `{"TypeName":"AWS::SQS::Queue","DesiredState":"{\"s3cr3t\":1}"}`,
			&cloudcontrol.CreateResourceOutput{ProgressEvent: &cloudcontrol.ProgressEvent{TypeName: new("AWS::SQS::Queue"), ResourceModel: new("s3cr3t")}},
			`{"desiredState":"HIDDEN_DUE_TO_SECURITY_REASONS","typeName":"AWS::SQS::Queue"}`, `{"progressEvent":{"resourceModel":"HIDDEN_DUE_TO_SECURITY_REASONS","typeName":"AWS::SQS::Queue"}}`,
		},
		"an operation on the path has its members": {
			"lambda", "TagResource", `{"Resource":"arn:aws:lambda:eu-west-1:123456789012:function:f","Tags":{"a":"b"}}`, nil,
			`{"resource":"arn:aws:lambda:eu-west-1:123456789012:function:f","tags":{"a":"b"}}`, `null`,
		},
		"EC2 tags": {
			"ec2", "CreateTags", `{"Resources":["i-1","i-2"],"Tags":[{"Key":"Name","Value":"名"}]}`, nil,
			`{"resourcesSet":{"items":[{"resourceId":"i-1"},{"resourceId":"i-2"}]},"tagSet":{"items":[{"key":"Name","value":"名"}]}}`,
			`{"requestId":"1b2c3d4e-0000-4000-8000-000000000001","_return":true}`,
		},
		"EC2 instances": {
			"ec2", "StopInstances", `{"InstanceIds":["i-1"],"Force":true}`,
			&ec2.StopInstancesOutput{StoppingInstances: []ec2.InstanceStateChange{{InstanceId: new("i-1"), CurrentState: &ec2.InstanceState{Code: new(int32(64)), Name: new("stopping")}}}},
			`{"force":true,"instancesSet":{"items":[{"instanceId":"i-1"}]}}`,
			`{"requestId":"1b2c3d4e-0000-4000-8000-000000000001","instancesSet":{"items":[{"currentState":{"code":64,"name":"stopping"},"instanceId":"i-1"}]}}`,
		},
		"an EC2 launch": {
			"ec2", "RunInstances", `{"ImageId":"ami-1","MinCount":1,"MaxCount":2,"InstanceType":"t3.micro","UserData":"s3cr3t","SecurityGroupIds":["sg-1"],"SecurityGroups":["default"],` +
				`"Placement":{"AvailabilityZone":"eu-west-1a"},"TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"Name","Value":"web"}]}]}`,
			&ec2.RunInstancesOutput{ReservationId: new("r-1"), Instances: []ec2.Instance{{
				InstanceId: new("i-1"), LaunchTime: &at, Tags: []ec2.Tag{{Key: new("Name"), Value: new("web")}},
			}}},
			`{"instanceType":"t3.micro","placement":{"availabilityZone":"eu-west-1a"},"tagSpecificationSet":{"items":[{"resourceType":"instance","tags":[{"key":"Name","value":"web"}]}]},` +
				`"userData":"<sensitiveDataRemoved>","instancesSet":{"items":[{"imageId":"ami-1","maxCount":2,"minCount":1}]},"groupSet":{"items":[{"groupId":"sg-1"},{"groupName":"default"}]}}`,
			`{"requestId":"1b2c3d4e-0000-4000-8000-000000000001","reservationId":"r-1","instancesSet":{"items":[{"instanceId":"i-1","launchTime":1771592953000,"tagSet":{"items":[{"key":"Name","value":"web"}]}}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x.do = func(context.Context, string, any) (any, error) { return tt.out, nil }
			if _, err := x.call(t, trailCaller, tt.service, tt.op, tt.input); err != nil {
				t.Fatal(err)
			}
			rec, d := x.one(t)
			sameJSON(t, "requestParameters", string(d.RequestParameters), tt.request)
			sameJSON(t, "responseElements", string(d.ResponseElements), tt.response)
			if strings.Contains(string(rec.JSON), "s3cr3t") || strings.Contains(string(rec.JSON), "czNjcjN0") {
				t.Errorf("a secret is in the trail: %s", rec.JSON)
			}
		})
	}
}

func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// secretFill stands in every place of an input that a model marks as sensitive.
const secretFill = "s3cr3t 秘密"

// fill fills all members of an input: secrets with secretFill.
func fill(v reflect.Value, shape *awsapi.Shape, secret bool) {
	secret = secret || shape.Sensitive
	text := "x"
	if secret {
		text = secretFill
	}
	switch shape.Kind {
	case awsapi.Structure:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		for i, m := range shape.Members {
			if m.Shape != shape && m.Shape.Elem != shape { // some shapes hold themselves
				fill(v.Field(i), m.Shape, secret)
			}
		}
	case awsapi.List:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), shape.Elem, secret)
	case awsapi.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, shape.Elem, secret)
		v.SetMapIndex(reflect.ValueOf(text), value)
	case awsapi.Blob:
		v.SetBytes([]byte(text))
	case awsapi.String:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		v.SetString(text)
	}
}

// Whatever is marked as sensitive in a model is blanked, in every operation's input and
// wherever it is, and so is what is a secret without being marked.
func TestNothingSensitiveReachesTheTrail(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	secrets := []string{secretFill, base64.StdEncoding.EncodeToString([]byte(secretFill))}
	for _, api := range everyAPI {
		for i := range api.Operations {
			op := &api.Operations[i]
			if op.Data || op.Access != awsapi.Write && op.Access != awsapi.Administer {
				continue
			}
			in := op.New()
			fill(reflect.ValueOf(in).Elem(), op.Input, false)
			_, _ = x.Invoke(t.Context(), trailCaller, api.Name, op.Name, in) // most are refused, for their values
			rec, d := x.one(t)
			if want := op.TrailName; want != "" && d.EventName != want || want == "" && d.EventName != op.Name {
				t.Errorf("%s is recorded as %s", op.Name, d.EventName)
			}
			for _, secret := range secrets {
				if strings.Contains(string(rec.JSON), secret) {
					t.Errorf("%s %s: a secret is in the trail: %s", api.Name, op.Name, rec.JSON)
				}
			}
			if len(op.Input.Members) > 0 && string(d.RequestParameters) == "null" {
				t.Errorf("%s %s has no parameters in the trail", api.Name, op.Name)
			}
		}
	}
}

func TestARefusedCallLeavesItsError(t *testing.T) {
	long := strings.Repeat("长", 1000)
	for name, tt := range map[string]struct {
		caller             func(*awsapi.Caller)
		service, op, input string
		err                error
		code, message      string
	}{
		"by the role": {
			func(c *awsapi.Caller) { c.Role = awsapi.RoleReader }, "events", "PutRule", `{"Name":"r","EventPattern":"{}"}`, nil,
			"AccessDenied", "User: arn:aws:iam::123456789012:user/AKIDEXAMPLE is not authorized to perform: events:PutRule because no identity-based policy allows the events:PutRule action",
		},
		"by the role, at SNS": {
			func(c *awsapi.Caller) { c.Role = awsapi.RoleReader }, "sns", "CreateTopic", `{"Name":"r"}`, nil,
			"AccessDenied", "User: arn:aws:iam::123456789012:user/AKIDEXAMPLE is not authorized to perform: sns:CreateTopic because no identity-based policy allows the sns:CreateTopic action",
		},
		"by the role, at EC2": {
			func(c *awsapi.Caller) { c.Role = awsapi.RoleReader }, "ec2", "CreateTags", `{"Resources":["i-1"],"Tags":[]}`, nil,
			"Client.UnauthorizedOperation", "User: arn:aws:iam::123456789012:user/AKIDEXAMPLE is not authorized to perform: ec2:CreateTags because no identity-based policy allows the ec2:CreateTags action",
		},
		"by its values": {
			nil, "events", "PutRule", `{"EventPattern":"{}"}`, nil,
			"ValidationException", "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null",
		},
		"by the service": {nil, "lambda", "DeleteFunction", `{"FunctionName":"f"}`, lambda.ErrResourceNotFoundException("Function not found"), "ResourceNotFoundException", "Function not found"},
		"by EC2": {
			nil, "ec2", "StopInstances", `{"InstanceIds":["i-1"]}`, awsapi.Errorf("InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist"),
			"Client.InvalidInstanceID.NotFound", "The instance ID 'i-1' does not exist",
		},
		"of a fault":                      {nil, "sqs", "DeleteQueue", `{"QueueUrl":"x"}`, errors.New("disk 7 is on fire"), "InternalFailure", "The request processing has failed because of an unknown error, exception or failure."},
		"of a fault of Lambda":            {nil, "lambda", "DeleteFunction", `{"FunctionName":"f"}`, errors.New("disk 7 is on fire"), "ServiceException", "The request processing has failed because of an unknown error, exception or failure."},
		"of a fault of EC2":               {nil, "ec2", "StopInstances", `{"InstanceIds":["i-1"]}`, errors.New("disk 7 is on fire"), "Server.InternalError", "The request processing has failed because of an unknown error, exception or failure."},
		"with a message that is too long": {nil, "logs", "DeleteLogGroup", `{"logGroupName":"g"}`, awsapi.ValidationException("%s", long), "ValidationException", long[:1023]},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTrailed(t, storetest.SQLite(t))
			x.do = func(context.Context, string, any) (any, error) { return nil, tt.err }
			c := trailCaller
			if tt.caller != nil {
				tt.caller(&c)
			}
			if _, err := x.call(t, c, tt.service, tt.op, tt.input); err == nil {
				t.Fatal("it was not refused")
			}
			_, d := x.one(t)
			if d.ErrorCode == nil || *d.ErrorCode != tt.code || *d.ErrorMessage != tt.message {
				t.Errorf("recorded as %v: %v", d.ErrorCode, d.ErrorMessage)
			}
			if string(d.ResponseElements) != "null" || string(d.RequestParameters) == "null" {
				t.Errorf("requestParameters %s, responseElements %s", d.RequestParameters, d.ResponseElements)
			}
		})
	}
}

// The event is stored if and only if the change is.
func TestTheEventIsInTheTransactionOfTheChange(t *testing.T) {
	no := errors.New("no")
	type step = func(x *trailed, ctx context.Context) error
	queue := func(ctx context.Context) { awsapi.Answers(ctx, &sqs.CreateQueueOutput{QueueUrl: new("url")}) }
	for name, tt := range map[string]struct {
		do       step
		changes  int
		response string
		code     string
		logged   string
	}{
		"a change": {func(x *trailed, ctx context.Context) error { queue(ctx); return x.change(ctx) }, 1, `{"queueUrl":"url"}`, "", ""},
		"a change whose answer is known at its end": {func(x *trailed, ctx context.Context) error {
			return x.db.Update(awsapi.AnswersWith(ctx, func(url string) *sqs.CreateQueueOutput { return &sqs.CreateQueueOutput{QueueUrl: &url} }), func(tx *store.Tx) error { return nil })
		}, 0, `null`, "", ""},
		"what is made gives the answer": {func(x *trailed, ctx context.Context) error {
			ctx = awsapi.AnswersWith(ctx, func(url string) *sqs.CreateQueueOutput { return &sqs.CreateQueueOutput{QueueUrl: &url} })
			return x.db.Update(ctx, func(*store.Tx) error {
				awsapi.Made(ctx, "first")
				awsapi.Made(ctx, "url")
				awsapi.Made(ctx, 7) // nobody asked for numbers
				return nil
			})
		}, 0, `{"queueUrl":"url"}`, "", ""},
		"a change that fails": {func(x *trailed, ctx context.Context) error {
			return x.db.Update(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO changes (id) VALUES (1)`); err != nil {
					return err
				}
				return sqs.ErrQueueNameExists("it is there")
			})
		}, 0, `null`, "QueueNameExists", ""},
		"a preparation, then a change": {func(x *trailed, ctx context.Context) error {
			if err := x.change(awsapi.Untrailed(ctx)); err != nil {
				return err
			}
			queue(ctx)
			return x.change(ctx)
		}, 2, `{"queueUrl":"url"}`, "", ""},
		"a preparation, then a refusal": {func(x *trailed, ctx context.Context) error {
			return errors.Join(x.change(awsapi.Untrailed(ctx)), sqs.ErrQueueNameExists("it is there"))
		}, 1, `null`, "QueueNameExists", ""},
		"a change and clearing up": {func(x *trailed, ctx context.Context) error {
			queue(ctx)
			return errors.Join(x.change(ctx), x.change(ctx))
		}, 2, `{"queueUrl":"url"}`, "", ""},
		"a refusal after the change": {func(x *trailed, ctx context.Context) error {
			queue(ctx)
			return errors.Join(x.change(ctx), sqs.ErrQueueNameExists("it is there"))
		}, 1, `{"queueUrl":"url"}`, "", "refused although its change was made"},
		"a failure after the change": {func(x *trailed, ctx context.Context) error {
			queue(ctx)
			return errors.Join(x.change(ctx), no)
		}, 1, `{"queueUrl":"url"}`, "", ""},
		"no change": {func(*trailed, context.Context) error { return nil }, 0, `{"queueUrl":"final"}`, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, db *store.DB) {
				createChanges(t, db)
				x := newTrailed(t, db)
				x.do = func(ctx context.Context, _ string, _ any) (any, error) {
					return &sqs.CreateQueueOutput{QueueUrl: new("final")}, tt.do(x, ctx)
				}
				_, err := x.call(t, trailCaller, "sqs", "CreateQueue", `{"QueueName":"q"}`)
				_, d := x.one(t)
				if x.changes(t) != tt.changes || string(d.ResponseElements) != tt.response || (d.ErrorCode == nil) != (tt.code == "") || d.ErrorCode != nil && *d.ErrorCode != tt.code {
					t.Errorf("%d changes, answered %v; recorded responseElements %s, errorCode %v", x.changes(t), err, d.ResponseElements, d.ErrorCode)
				}
				if !strings.Contains(x.log.String(), tt.logged) || tt.logged == "" && x.log.Len() > 0 {
					t.Errorf("logged %s", x.log)
				}
			})
		})
	}
}

// Where its event cannot be stored, a change is not made.
func TestAChangeWithoutItsEventIsNotMade(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createChanges(t, db)
		if err := db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `ALTER TABLE outbox RENAME TO elsewhere`)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		x := newTrailed(t, db)
		x.do = func(ctx context.Context, _ string, _ any) (any, error) { return nil, x.change(ctx) }
		_, err := x.call(t, trailCaller, "sqs", "CreateQueue", `{"QueueName":"q"}`)
		if err == nil || x.changes(t) != 0 || x.trail.Stats() != (awsapi.TrailStats{Lost: 1}) {
			t.Errorf("answered %v, %d changes, %+v", err, x.changes(t), x.trail.Stats())
		}
		// A call that changes nothing is answered all the same, and that its event is lost is said.
		x.do = func(context.Context, string, any) (any, error) { return nil, nil }
		if _, err := x.call(t, trailCaller, "sqs", "DeleteQueue", `{"QueueUrl":"x"}`); err != nil || !strings.Contains(x.log.String(), "operation=DeleteQueue") {
			t.Errorf("answered %v, logged %s", err, x.log)
		}
	})
}

// On PostgreSQL the transaction of a change may run again: the event is there once.
func TestATransactionThatRunsAgainLeavesOneEvent(t *testing.T) {
	db := storetest.Postgres(t)
	createChanges(t, db)
	x := newTrailed(t, db)
	tries := 0
	x.do = func(ctx context.Context, _ string, _ any) (any, error) {
		out := &sqs.CreateQueueOutput{}
		awsapi.Answers(ctx, out)
		return out, db.Update(ctx, func(tx *store.Tx) error {
			n := 0
			if err := tx.QueryRow(ctx, `SELECT count(*) FROM changes`).Scan(&n); err != nil {
				return err
			}
			if tries++; tries == 1 {
				done := make(chan error)
				go func() { done <- x.change(context.Background()) }()
				if err := <-done; err != nil {
					return err
				}
			}
			out.QueueUrl = new(strings.Repeat("x", n))
			_, err := tx.Exec(ctx, `INSERT INTO changes (id) VALUES ($1)`, 10+n)
			return err
		})
	}
	if _, err := x.call(t, trailCaller, "sqs", "CreateQueue", `{"QueueName":"q"}`); err != nil || tries != 2 {
		t.Fatalf("%v after %d tries", err, tries)
	}
	if _, d := x.one(t); string(d.ResponseElements) != `{"queueUrl":"x"}` {
		t.Errorf("responseElements are %s", d.ResponseElements)
	}
	if s := x.trail.Stats(); s != (awsapi.TrailStats{Recorded: 1}) {
		t.Errorf("counted %+v", s)
	}
}

func TestReadsAreRecordedOnlyWhereSomebodyWantsThem(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	createChanges(t, x.db)
	x.do = func(ctx context.Context, _ string, _ any) (any, error) {
		return &events.DescribeRuleOutput{Name: new("r")}, x.change(ctx) // a read that notes when it was last asked
	}
	describe := func(c awsapi.Caller) {
		t.Helper()
		if _, err := x.call(t, c, "events", "DescribeRule", `{"Name":"r"}`); err != nil {
			t.Fatal(err)
		}
	}
	describe(trailCaller)
	if recs, _ := x.taken(t); len(recs) != 0 {
		t.Errorf("nobody wants %s", recs[0].JSON)
	}
	x.reads = true
	elsewhere := trailCaller
	elsewhere.Region = "us-east-1"
	describe(elsewhere)
	describe(trailCaller)
	_, d := x.one(t)
	if !d.ReadOnly || string(d.ResponseElements) != "null" || string(d.RequestParameters) != `{"name":"r"}` || d.EventName != "DescribeRule" {
		t.Errorf("recorded %+v", d)
	}
	if _, err := x.call(t, trailCaller, "sts", "GetCallerIdentity", `{}`); err != nil {
		t.Fatal(err)
	}
	if _, d = x.one(t); d.EventName != "GetCallerIdentity" || !d.ReadOnly || string(d.RequestParameters) != "null" {
		t.Errorf("recorded %+v", d)
	}
	reader := trailCaller
	reader.Role = awsapi.RolePublisher
	if _, err := x.call(t, reader, "events", "DescribeRule", `{"Name":"r"}`); err == nil {
		t.Error("a publisher may read")
	}
	if _, d = x.one(t); d.ErrorCode == nil || *d.ErrorCode != "AccessDenied" || !d.ReadOnly {
		t.Errorf("recorded %+v", d)
	}
}

func TestCallsThatMoveDataLeaveNothing(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	createChanges(t, x.db)
	x.reads = true
	x.do = func(ctx context.Context, _ string, _ any) (any, error) { return nil, x.change(ctx) }
	n := 0
	for _, api := range everyAPI {
		for _, op := range api.Operations {
			if op.Data {
				n++
				_, _ = x.Invoke(t.Context(), trailCaller, api.Name, op.Name, op.New())
			}
		}
	}
	recs, _ := x.taken(t)
	if n != 13 || len(recs) != 0 {
		t.Errorf("%d operations move data and left %d events", n, len(recs))
	}
}

// A call within a call has its own event, and its transactions carry only that.
func TestACallWithinACallHasItsOwnEvent(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createChanges(t, db)
		x := newTrailed(t, db)
		x.do = func(ctx context.Context, op string, _ any) (any, error) {
			switch op {
			case "SendMessage", "GetQueueUrl":
				return nil, x.change(ctx)
			case "CreateQueue":
				awsapi.Made(ctx, "inner") // it is not this call that answers by it
				return nil, x.change(ctx)
			}
			ctx = awsapi.AnswersWith(ctx, func(s string) *cloudcontrol.CreateResourceOutput {
				return &cloudcontrol.CreateResourceOutput{ProgressEvent: &cloudcontrol.ProgressEvent{Identifier: &s}}
			})
			c := trailCaller
			c.InvokedBy, c.RequestID = "cloudformation.amazonaws.com", ""
			for service, in := range map[string]map[string]any{"sqs": {
				"SendMessage": &sqs.SendMessageInput{QueueUrl: new("x"), MessageBody: new("m")}, "GetQueueUrl": &sqs.GetQueueUrlInput{QueueName: new("q")},
				"CreateQueue": &sqs.CreateQueueInput{QueueName: new("q")},
			}} {
				for op, in := range in {
					if _, err := x.Invoke(ctx, c, service, op, in); err != nil {
						return nil, err
					}
				}
			}
			return nil, x.db.Update(ctx, func(*store.Tx) error { awsapi.Made(ctx, "outer"); return nil })
		}
		if _, err := x.call(t, trailCaller, "cloudcontrolapi", "CreateResource", `{"TypeName":"AWS::SQS::Queue","DesiredState":"{}"}`); err != nil {
			t.Fatal(err)
		}
		_, details := x.taken(t)
		if len(details) != 2 || details[0].EventName != "CreateQueue" || details[1].EventName != "CreateResource" || x.changes(t) != 3 {
			t.Fatalf("%d changes, recorded %+v", x.changes(t), details)
		}
		inner, outer := details[0], details[1]
		if string(inner.ResponseElements) != "null" || string(outer.ResponseElements) != `{"progressEvent":{"identifier":"outer"}}` {
			t.Errorf("answered %s and %s", inner.ResponseElements, outer.ResponseElements)
		}
		const service = "cloudformation.amazonaws.com"
		if inner.SourceIPAddress != service || inner.UserAgent != service || inner.UserIdentity["invokedBy"] != service || inner.UserIdentity["userName"] != "AKIDEXAMPLE" {
			t.Errorf("a call on behalf is recorded as %+v", inner)
		}
		if _, ok := outer.UserIdentity["invokedBy"]; ok || outer.SourceIPAddress != "203.0.113.10" || inner.RequestID == outer.RequestID {
			t.Errorf("a user's call is recorded as %+v", outer)
		}
	})
}

func TestACallByAServiceItself(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	c := awsapi.Caller{Account: "123456789012", Region: "eu-west-1", Role: awsapi.RoleAdmin, InvokedBy: "lambda.amazonaws.com"}
	if _, err := x.call(t, c, "logs", "CreateLogGroup", `{"logGroupName":"/aws/lambda/f"}`); err != nil {
		t.Fatal(err)
	}
	_, d := x.one(t)
	if diff := cmp.Diff(map[string]any{"type": "AWSService", "invokedBy": "lambda.amazonaws.com"}, d.UserIdentity); diff != "" {
		t.Errorf("userIdentity (-want +got):\n%s", diff)
	}
}

// What is too large for a record is said to be left out: no call goes without its event.
func TestWhatIsTooLargeIsOmitted(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	x.do = func(context.Context, string, any) (any, error) {
		return &sqs.CreateQueueOutput{QueueUrl: new(strings.Repeat("x", 300_000))}, nil
	}
	c := trailCaller
	c.UserAgent = strings.Repeat("客", 1000)
	if _, err := x.call(t, c, "sqs", "CreateQueue", `{"QueueName":"`+strings.Repeat("q", 102_400-len(`{"queueName":""}`))+`"}`); err != nil {
		t.Fatal(err)
	}
	rec, d := x.one(t)
	if len(d.RequestParameters) != 102_400 || string(d.ResponseElements) != `{"omitted":true,"originalSize":300015,"reason":"responseElements too large"}` {
		t.Errorf("requestParameters of %d bytes, responseElements %s", len(d.RequestParameters), d.ResponseElements)
	}
	if len(d.UserAgent) != 1023 || len(rec.JSON) > 256<<10 {
		t.Errorf("a user agent of %d bytes in an event of %d", len(d.UserAgent), len(rec.JSON))
	}
	if _, err := x.call(t, c, "sqs", "CreateQueue", `{"QueueName":"`+strings.Repeat("q", 102_401-len(`{"queueName":""}`))+`"}`); err != nil {
		t.Fatal(err)
	}
	if _, d = x.one(t); string(d.RequestParameters) != `{"omitted":true,"originalSize":102401,"reason":"requestParameters too large"}` {
		t.Errorf("requestParameters are %.100s", d.RequestParameters)
	}
}

func TestAPanicIsRecorded(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	x.do = func(context.Context, string, any) (any, error) { panic("unexpected") }
	func() {
		defer func() {
			if recover() != "unexpected" {
				t.Error("the panic was swallowed")
			}
		}()
		_, _ = x.call(t, trailCaller, "sqs", "DeleteQueue", `{"QueueUrl":"x"}`)
	}()
	if _, d := x.one(t); d.ErrorCode == nil || *d.ErrorCode != "InternalFailure" {
		t.Errorf("recorded %+v", d)
	}
}

// What goes on after the answer, in the background, is no part of the call.
func TestTransactionsAfterTheAnswerCarryNothing(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	createChanges(t, x.db)
	var kept context.Context
	x.do = func(ctx context.Context, _ string, _ any) (any, error) { kept = ctx; return nil, nil }
	if _, err := x.call(t, trailCaller, "sqs", "DeleteQueue", `{"QueueUrl":"x"}`); err != nil {
		t.Fatal(err)
	}
	if err := x.change(kept); err != nil {
		t.Fatal(err)
	}
	x.one(t)
}

func TestRequestsLeaveWhatIsKnownOfThem(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	send := func(edit func(*request), with func(*http.Request)) *httptest.ResponseRecorder {
		q := putRule()
		q.header["X-Amz-Target"], q.header["User-Agent"] = "AWSEvents.DeleteRule", "test/1"
		edit(&q)
		r := q.sign(t)
		with(r)
		w := httptest.NewRecorder()
		x.ServeHTTP(w, r)
		return w
	}
	nothing := func(*http.Request) {}

	w := send(func(q *request) { q.body = `{"Name":"r"}` }, func(r *http.Request) {
		r.RemoteAddr = "198.51.100.7:1234"
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
	})
	_, d := x.one(t)
	if d.RequestID != w.Header().Get("x-amzn-RequestId") || d.SourceIPAddress != "198.51.100.7" || d.UserAgent != "test/1" {
		t.Errorf("recorded %+v for request %s", d, w.Header().Get("x-amzn-RequestId"))
	}
	if diff := cmp.Diff(map[string]string{"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256", "clientProvidedHostHeader": "rialto.test:7425"}, d.TLSDetails); diff != "" {
		t.Errorf("tlsDetails (-want +got):\n%s", diff)
	}

	send(func(q *request) { q.body = `{"Name":` }, nothing)
	if _, d = x.one(t); d.ErrorCode == nil || *d.ErrorCode != "SerializationException" || string(d.RequestParameters) != "null" || d.TLSDetails != nil {
		t.Errorf("a body that breaks off is recorded as %+v", d)
	}
	// Before it is known who calls and what, there is nothing to record.
	send(func(q *request) { q.body = `{"Name":"r"}` }, func(r *http.Request) { r.Header.Del("Authorization") })
	send(func(q *request) { q.header["X-Amz-Target"] = "AWSEvents.MakeCoffee" }, nothing)
	if recs, _ := x.taken(t); len(recs) != 0 {
		t.Errorf("recorded %s", recs[0].JSON)
	}
}
