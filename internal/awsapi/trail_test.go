package awsapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
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

func createChanges(t testing.TB, db *store.DB) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `CREATE TABLE changes (id BIGINT PRIMARY KEY, note BIGINT NOT NULL DEFAULT 0)`)
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
	recs = storetest.TakeOutbox(t, x.db)
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
	answered, changed := make(chan struct{}), make(chan error)
	x.do = func(ctx context.Context, _ string, _ any) (any, error) {
		go func() {
			<-answered
			changed <- x.change(ctx)
		}()
		return nil, nil
	}
	if _, err := x.call(t, trailCaller, "sqs", "DeleteQueue", `{"QueueUrl":"x"}`); err != nil {
		t.Fatal(err)
	}
	close(answered)
	if err := <-changed; err != nil {
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
