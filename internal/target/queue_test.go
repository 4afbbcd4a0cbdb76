package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

const queueARN = "arn:aws:sqs:us-east-1:444455556666:orders"

// queues stand for the queue service.
type queues struct {
	sqs.Unimplemented
	err    error
	in     *sqs.SendMessageInput
	caller awsapi.Caller
	source auth.Source
}

func (q *queues) SendMessage(ctx context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	q.in, q.caller = in, awsapi.CallerFrom(ctx)
	q.source, _ = auth.SourceFrom(ctx)
	return &sqs.SendMessageOutput{}, q.err
}

func withQueues(q *queues) *Targets {
	return New(Options{Queues: q, Buses: &connections{}, Logger: slog.New(slog.DiscardHandler)})
}

func TestAQueueGetsTheBodyAsTheRule(t *testing.T) {
	q := &queues{}
	a := attemptAt(queueARN, bus.KindQueue, nil)
	if err := withQueues(q).Invoke(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	want := &sqs.SendMessageInput{
		QueueUrl: new("https://sqs.us-east-1.amazonaws.com/444455556666/orders"), MessageBody: new(string(a.Body)),
	}
	if diff := cmp.Diff(want, q.in); diff != "" {
		t.Error(diff)
	}
	if q.source != (auth.Source{Service: "events.amazonaws.com", ARN: a.Subscription.RuleARN, Account: "111122223333"}) {
		t.Errorf("source %+v", q.source)
	}
	if q.caller.Account != "111122223333" || q.caller.Region != "us-east-1" {
		t.Errorf("caller %+v", q.caller)
	}
}

func TestAQueueGetsGroupAndTrace(t *testing.T) {
	q := &queues{}
	a := attemptAt(queueARN+".fifo", bus.KindQueue, nil)
	a.Subscription.Target.MessageGroupID, a.Record.Trace = "g", "Root=1-2-3"
	if err := withQueues(q).Invoke(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if *q.in.MessageGroupId != "g" || *q.in.MessageSystemAttributes["AWSTraceHeader"].StringValue != "Root=1-2-3" || q.in.MessageDeduplicationId != nil {
		t.Errorf("sent %+v", q.in)
	}
}

// The first two messages were recorded from AWS; only the request id differs.
func TestAQueuesRefusalsFallIntoAWSsClasses(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		code      string
		retryable bool
		message   string
	}{
		"missing": {
			sqs.ErrQueueDoesNotExist("The specified queue does not exist or you do not have access to it."), CodeNoResource, false,
			"The specified queue does not exist or you do not have access to it. (Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.NonExistentQueue; Request ID: ID; Proxy: null)",
		},
		"denied": {
			&awsapi.Error{Code: "AccessDenied", Message: "no", Status: 403}, CodeNoPermissions, false,
			"no (Service: AmazonSQS; Status Code: 403; Error Code: AccessDenied; Request ID: ID; Proxy: null)",
		},
		"forbidden by another name": {&awsapi.Error{Code: "Odd", Message: "no", Status: 403}, CodeNoPermissions, false, ""},
		"throttled":                 {sqs.ErrRequestThrottled("slow"), CodeThrottling, true, ""},
		"over its limit":            {sqs.ErrOverLimit("full"), CodeThrottling, true, ""},
		"a fault": {
			&awsapi.Error{Code: "InternalFailure", Message: "oops", Fault: true}, CodeErrorFromTarget, true,
			"oops (Service: AmazonSQS; Status Code: 500; Error Code: InternalFailure; Request ID: ID; Proxy: null)",
		},
		"unavailable":      {&awsapi.Error{Code: "ServiceUnavailable", Message: "later", Status: 503}, CodeErrorFromTarget, true, ""},
		"too large":        {sqs.ErrInvalidParameterValueException("too large"), CodeInvalidParameter, false, ""},
		"wrapped":          {fmt.Errorf("send: %w", sqs.ErrInvalidMessageContents("bad")), CodeInvalidParameter, false, ""},
		"no database":      {errors.New("no database"), CodeInternalError, true, "AmazonSQS could not be called: no database"},
		"not in time":      {context.DeadlineExceeded, CodeTimeout, true, ""},
		"message is UTF-8": {sqs.ErrUnsupportedOperation("机器"), CodeInvalidParameter, false, "机器 (Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.UnsupportedOperation; Request ID: ID; Proxy: null)"},
	} {
		t.Run(name, func(t *testing.T) {
			q := &queues{err: test.err}
			f := failureOf(t, withQueues(q).Invoke(t.Context(), attemptAt(queueARN, bus.KindQueue, nil)))
			if f != nil {
				f.Message = strings.ReplaceAll(f.Message, q.caller.RequestID, "ID")
			}
			if f == nil || f.Code != test.code || f.Retryable != test.retryable || test.message != "" && f.Message != test.message {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestADeadLetterSaysWhy(t *testing.T) {
	long := strings.Repeat("机", 1000)
	for name, test := range map[string]struct {
		reason DeadLetterReason
		want   map[string]string
	}{
		"a final failure": {
			DeadLetterReason{Code: CodeNoResource, Message: "gone"},
			map[string]string{"ERROR_CODE": "NO_RESOURCE", "ERROR_MESSAGE": "gone"},
		},
		"retries that ran out": {
			DeadLetterReason{Code: CodeTimeout, Message: "slow", Exhausted: "MaximumRetryAttempts", RetryAttempts: 185},
			map[string]string{"ERROR_CODE": "TIMEOUT", "ERROR_MESSAGE": "slow", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "185"},
		},
		"an age that was reached before an attempt": {
			DeadLetterReason{Code: CodeUnknown, Message: "old", Exhausted: "MaximumEventAgeInSeconds"},
			map[string]string{"ERROR_CODE": "UNKNOWN", "ERROR_MESSAGE": "old", "EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds", "RETRY_ATTEMPTS": "0"},
		},
		"a message that a queue would refuse": {
			DeadLetterReason{Code: CodeErrorFromTarget, Message: "a\x00b\xff" + long},
			map[string]string{"ERROR_CODE": "ERROR_FROM_TARGET", "ERROR_MESSAGE": cut("a\ufffdb\ufffd"+long, maxErrorMessage)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := &queues{}
			a := attemptAt("arn:aws:sqs:us-east-1:111122223333:main", bus.KindQueue, nil)
			a.Subscription.Target.DeadLetterARN = queueARN
			if err := withQueues(q).DeadLetter(t.Context(), a, test.reason); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for name, v := range q.in.MessageAttributes {
				if *v.DataType != "String" || !utf8.ValidString(*v.StringValue) {
					t.Errorf("%s is %s %q", name, *v.DataType, *v.StringValue)
				}
				got[name] = *v.StringValue
			}
			test.want["RULE_ARN"], test.want["TARGET_ARN"] = a.Subscription.RuleARN, a.Subscription.Target.ARN
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			if *q.in.MessageBody != string(a.Body) || !strings.HasSuffix(*q.in.QueueUrl, "/444455556666/orders") {
				t.Errorf("sent %s to %s", *q.in.MessageBody, *q.in.QueueUrl)
			}
		})
	}
}

func TestAnEventIsForwardedToTheBusThatTheARNNames(t *testing.T) {
	var got event.BusRef
	buses := &connections{forward: func(_ *event.Record, to event.BusRef) error { got = to; return nil }}
	err := newTargets(buses, nil).Invoke(t.Context(), attemptAt("arn:aws:events:eu-west-1:444455556666:event-bus/orders", bus.KindBus, nil))
	if want := (event.BusRef{Account: "444455556666", Region: "eu-west-1", Name: "orders"}); err != nil || got != want {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestHowForwardingFailed(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		code      string
		retryable bool
	}{
		"a third bus":          {&bus.ForwardError{Code: bus.CodeThirdAccountHop, Message: "third"}, CodeThirdAccountHop, false},
		"a third region":       {&bus.ForwardError{Code: bus.CodeThirdRegionHop, Message: "third"}, CodeThirdRegionHop, false},
		"denied":               {&bus.ForwardError{Code: bus.CodeNoPermissions, Message: "denied"}, CodeNoPermissions, false},
		"the log is full":      {fmt.Errorf("%w: full", bus.ErrThrottled), CodeThrottling, true},
		"too large":            {fmt.Errorf("%w: large", bus.ErrTooLarge), CodeInvalidParameter, false},
		"the database":         {errors.New("away"), CodeInternalError, true},
		"not within 5 seconds": {context.DeadlineExceeded, CodeTimeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			buses := &connections{forward: func(*event.Record, event.BusRef) error { return test.err }}
			f := failureOf(t, newTargets(buses, nil).Invoke(t.Context(), attemptAt("arn:aws:events:us-east-1:444455556666:event-bus/orders", bus.KindBus, nil)))
			if f == nil || f.Code != test.code || f.Retryable != test.retryable {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestWhatIsNoTargetIsFinal(t *testing.T) {
	for _, a := range []Attempt{
		attemptAt("arn:aws:lambda:us-east-1:111122223333:function:f", 99, nil),
		attemptAt("arn:aws:sqs:us-east-1", bus.KindQueue, nil),
		attemptAt("arn:aws:events:us-east-1:111122223333:rule/x", bus.KindBus, nil),
	} {
		f := failureOf(t, withQueues(&queues{}).Invoke(t.Context(), a))
		if f == nil || f.Retryable || f.Code != CodeInvalidParameter {
			t.Errorf("%s: got %+v", a.Subscription.Target.ARN, f)
		}
	}
}

func TestAKindWhoseServiceIsAbsentIsFinal(t *testing.T) {
	for kind, arn := range map[bus.TargetKind]string{
		bus.KindQueue: queueARN, bus.KindAPIDestination: destinationARN, bus.KindBus: "arn:aws:events:us-east-1:444455556666:event-bus/orders",
		bus.KindTopic: topicARN, bus.KindLogGroup: logGroupARN, bus.KindArchive: "arn:aws:events:us-east-1:::",
	} {
		a := attemptAt(arn, kind, nil)
		a.Record.JSON = []byte(`{"time":"2026-05-01T12:00:00Z"}`)
		f := failureOf(t, New(Options{}).Invoke(t.Context(), a))
		if f == nil || f.Retryable || f.Code != CodeInvalidParameter || !strings.Contains(f.Message, kind.String()) {
			t.Errorf("kind %v: got %+v", kind, f)
		}
	}
	a := attemptAt(queueARN, bus.KindQueue, nil)
	a.Subscription.Target.DeadLetterARN = queueARN
	if f := failureOf(t, New(Options{}).DeadLetter(t.Context(), a, DeadLetterReason{})); f == nil || f.Retryable {
		t.Errorf("dead letter: got %+v", f)
	}
}
