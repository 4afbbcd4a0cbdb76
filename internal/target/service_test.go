package target

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// realAccount stands for the configuration of real accounts, of which there is
// one.
type realAccount struct {
	account  string
	services Services
	err      error
	failure  *Failure // of every error
	asked    []string // account and region
}

func (r *realAccount) Services(_ context.Context, account, region string) (*Services, error) {
	r.asked = append(r.asked, account+" "+region)
	if r.err != nil || account != r.account {
		return nil, r.err
	}
	return &r.services, nil
}

func (r *realAccount) AccountFailure(error) *Failure { return r.failure }

// functions note what is invoked.
type functions struct {
	arn, event string
	err        error
}

func (f *functions) Invoke(_ context.Context, arn string, event []byte) error {
	f.arn, f.event = arn, string(event)
	return f.err
}

// eventBuses stand for EventBridge of a real account.
type eventBuses struct {
	events.Unimplemented
	in  *events.PutEventsInput
	out events.PutEventsOutput
	err error
}

func (b *eventBuses) PutEvents(_ context.Context, in *events.PutEventsInput) (*events.PutEventsOutput, error) {
	b.in = in
	return &b.out, b.err
}

const realOne = "444455556666"

// fromHome is an attempt of a rule in the installation's own account.
func fromHome(arn string, kind bus.TargetKind) Attempt {
	a := logAttempt("", false)
	a.Subscription.Bus = event.BusRef{Account: "000000000000", Region: "us-east-1", Name: "default"}
	a.Subscription.Target = bus.Target{ARN: arn, Kind: kind, DeadLetterARN: queueARN}
	return a
}

func TestTargetsInARealAccountAreInvokedThere(t *testing.T) {
	q, top, g, f, b := &queues{}, &topics{}, &logGroups{}, &functions{}, &eventBuses{}
	real := &realAccount{account: realOne, services: Services{Queues: q, Topics: top, LogGroups: g, Functions: f, Buses: b}}
	targets := New(Options{Real: real, Buses: &connections{}, Queues: &queues{err: errors.New("the box's")}})
	invoke := func(kind bus.TargetKind, arn string) Attempt {
		t.Helper()
		a := fromHome(arn, kind)
		if err := targets.Invoke(t.Context(), a); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		return a
	}
	a := invoke(bus.KindQueue, queueARN)
	if *q.in.MessageBody != string(a.Body) || *q.in.QueueUrl != "https://sqs.us-east-1.amazonaws.com/444455556666/orders" {
		t.Errorf("the queue got %+v", q.in)
	}
	invoke(bus.KindTopic, topicARN)
	if *top.in.TopicArn != topicARN {
		t.Errorf("the topic got %+v", top.in)
	}
	invoke(bus.KindLogGroup, strings.Replace(logGroupARN, "111122223333", realOne, 1))
	if len(g.put) != 1 || !g.streams["default/r"] {
		t.Errorf("the log group got %+v", g.put)
	}
	function := "arn:aws:lambda:us-east-1:444455556666:function:f:live"
	if a := invoke(bus.KindFunction, function); f.arn != function || f.event != string(a.Body) {
		t.Errorf("the function got %+v", f)
	}
	busARN := "arn:aws:events:eu-west-1:444455556666:event-bus/orders"
	a = invoke(bus.KindBus, busARN)
	e := b.in.Entries[0]
	if len(b.in.Entries) != 1 || *e.EventBusName != busARN || *e.Source != "s" || *e.DetailType != "t" || *e.Detail != "{}" || !strings.Contains(string(a.Body), e.Time.Format("2006-01-02T15:04:05Z")) {
		t.Errorf("the bus got %+v", b.in)
	}
	if err := targets.DeadLetter(t.Context(), fromHome(topicARN, bus.KindTopic), DeadLetterReason{Code: "NO_RESOURCE"}); err != nil || *q.in.MessageAttributes["ERROR_CODE"].StringValue != "NO_RESOURCE" {
		t.Errorf("the dead-letter queue got %+v, %v", q.in, err)
	}
	want := []string{realOne + " us-east-1", realOne + " eu-west-1", realOne + " us-east-1", realOne + " us-east-1", realOne + " eu-west-1", realOne + " us-east-1"}
	if diff := cmp.Diff(want, real.asked); diff != "" {
		t.Error(diff)
	}
	if f := failureOf(t, targets.Invoke(t.Context(), fromHome("arn:aws:sqs:us-east-1:777788889999:q", bus.KindQueue))); f == nil || !strings.Contains(f.Message, "the box's") {
		t.Errorf("an account that is not real: %+v", f)
	}
}

// Only the account's own rules and those of the installation's account reach a
// real account: a policy there cannot tell whose rule it was.
func TestARealAccountIsClosedToOthersRules(t *testing.T) {
	q := &queues{}
	targets := New(Options{Real: &realAccount{account: realOne, services: Services{Queues: q}}, Buses: &connections{}})
	for account, open := range map[string]bool{"000000000000": true, realOne: true, "111122223333": false} {
		for _, arn := range []string{queueARN, "arn:aws:events:us-east-1:" + realOne + ":event-bus/x"} {
			a := fromHome(arn, bus.KindQueue)
			if strings.Contains(arn, ":events:") {
				if open {
					continue
				}
				a.Subscription.Target.Kind = bus.KindBus
			}
			a.Subscription.Bus.Account = account
			f := failureOf(t, targets.Invoke(t.Context(), a))
			if open != (f == nil) || f != nil && (f.Code != CodeNoPermissions || f.Retryable) {
				t.Errorf("a rule of %s at %s: %+v", account, arn, f)
			}
			if f := failureOf(t, targets.DeadLetter(t.Context(), a, DeadLetterReason{})); open != (f == nil) {
				t.Errorf("a dead letter of %s: %+v", account, f)
			}
		}
	}
}

func TestAnAccountThatCannotBeReached(t *testing.T) {
	real := &realAccount{account: realOne, err: errors.New("no database")}
	targets := New(Options{Real: real, Queues: &queues{}})
	if f := failureOf(t, targets.Invoke(t.Context(), fromHome(queueARN, bus.KindQueue))); f == nil || f.Code != CodeInternalError || !f.Retryable {
		t.Errorf("our own trouble: %+v", f)
	}
	real.failure = &Failure{Code: CodeNoPermissions, Message: "region"}
	if f := failureOf(t, targets.Invoke(t.Context(), fromHome(queueARN, bus.KindQueue))); f != real.failure {
		t.Errorf("the account's trouble: %+v", f)
	}
	real.err, real.failure = nil, &Failure{Code: CodeFailedToAssumeRole, Message: "role"}
	real.services = Services{Queues: &queues{err: errors.New("no credentials")}}
	if f := failureOf(t, targets.Invoke(t.Context(), fromHome(queueARN, bus.KindQueue))); f != real.failure {
		t.Errorf("no credentials: %+v", f)
	}
	if f := failureOf(t, targets.Invoke(t.Context(), fromHome(topicARN, bus.KindTopic))); f == nil || f.Code != CodeInvalidParameter {
		t.Errorf("a service that the account lacks: %+v", f)
	}
}

func TestHowPuttingOnARealBusFails(t *testing.T) {
	entry := func(code, message string) events.PutEventsOutput {
		return events.PutEventsOutput{FailedEntryCount: new(int32(1)), Entries: []events.PutEventsResultEntry{{ErrorCode: &code, ErrorMessage: &message}}}
	}
	for name, test := range map[string]struct {
		buses     eventBuses
		edit      func(a *Attempt)
		code      string
		retryable bool
		message   string
	}{
		"an event of AWS": {edit: func(a *Attempt) {
			a.Record.JSON = []byte(strings.Replace(string(a.Record.JSON), `"s"`, `"aws.ec2"`, 1))
		},
			code: CodeNoPermissions, message: "such as this one of aws.ec2, cannot be put on the event bus of a real account. (Service: AmazonEventBridge; Status Code: 400; Error Code: NotAuthorizedForSourceException"},
		"an event from another bus":    {edit: func(a *Attempt) { a.Record.AccountHops = 1 }, code: CodeThirdAccountHop},
		"an event from another region": {edit: func(a *Attempt) { a.Record.RegionHops, a.Subscription.Bus.Region = 1, "eu-west-1" }, code: CodeThirdRegionHop},
		"throttled":                    {buses: eventBuses{out: entry("ThrottlingException", "slow")}, code: CodeThrottling, retryable: true},
		"an internal failure":          {buses: eventBuses{out: entry("InternalFailure", "oops")}, code: CodeErrorFromTarget, retryable: true},
		"denied":                       {buses: eventBuses{out: entry("AccessDeniedException", "no")}, code: CodeNoPermissions},
		"a malformed entry":            {buses: eventBuses{out: entry("MalformedDetail", "Detail is malformed.")}, code: CodeRequestRejected, message: "Detail is malformed."},
		"the call":                     {buses: eventBuses{err: context.DeadlineExceeded}, code: CodeTimeout, retryable: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := fromHome("arn:aws:events:us-east-1:"+realOne+":event-bus/x", bus.KindBus)
			if test.edit != nil {
				test.edit(&a)
			}
			f := failureOf(t, New(Options{Real: &realAccount{account: realOne, services: Services{Buses: &test.buses}}, Buses: &connections{}}).Invoke(t.Context(), a))
			if f == nil || f.Code != test.code || f.Retryable != test.retryable || !strings.Contains(f.Message, test.message) {
				t.Errorf("got %+v", f)
			}
		})
	}
}
