package target

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// topics note what is published and answer with an error.
type topics struct {
	sns.Unimplemented
	err    error
	in     *sns.PublishInput
	caller awsapi.Caller
	source auth.Source
}

func (t *topics) Publish(ctx context.Context, in *sns.PublishInput) (*sns.PublishOutput, error) {
	t.in, t.caller = in, awsapi.CallerFrom(ctx)
	t.source, _ = auth.SourceFrom(ctx)
	return &sns.PublishOutput{MessageId: new("m")}, t.err
}

const topicARN = "arn:aws:sns:eu-west-1:444455556666:orders"

func publishAttempt(body string) Attempt {
	return Attempt{
		Subscription: &bus.Subscription{
			Bus: event.BusRef{Account: "111122223333", Region: "us-east-1", Name: "default"}, RuleARN: "arn:aws:events:us-east-1:111122223333:rule/r",
			Target: bus.Target{ARN: topicARN, Kind: bus.KindTopic},
		},
		Record: &event.Record{Trace: "Root=1-5759e988-bd862e3fe1be46a994272793"}, Body: []byte(body),
	}
}

func TestATopicGetsTheBodyAsTheRule(t *testing.T) {
	t.Parallel()
	service := &topics{}
	if err := New(Options{Topics: service}).Invoke(t.Context(), publishAttempt(`{"订单":"🏙"}`)); err != nil {
		t.Fatal(err)
	}
	if *service.in.TopicArn != topicARN || *service.in.Message != `{"订单":"🏙"}` || service.in.Subject != nil || service.in.MessageAttributes != nil {
		t.Errorf("published %+v", service.in)
	}
	if c := service.caller; c.Account != "111122223333" || c.Region != "eu-west-1" || !strings.HasPrefix(c.TraceHeader, "Root=1-") {
		t.Errorf("the caller is %+v", c)
	}
	if s := service.source; s.Service != "events.amazonaws.com" || s.ARN != "arn:aws:events:us-east-1:111122223333:rule/r" || s.Account != "111122223333" {
		t.Errorf("the source is %+v", s)
	}
}

func TestATopicsRefusalsHaveAWSsCodes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err     error
		code    string
		retry   bool
		message string
	}{
		"missing": {sns.ErrNotFoundException("Topic does not exist"), CodeNoResource, false,
			"Topic does not exist (Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: "},
		"denied": {sns.ErrAuthorizationErrorException("User: events.amazonaws.com is not authorized to perform: SNS:Publish on resource: " + topicARN), CodeNoPermissions, false,
			"(Service: AmazonSNS; Status Code: 403; Error Code: AuthorizationError; Request ID: "},
		"too large":   {sns.ErrInvalidParameterException("Invalid parameter: Message too long"), CodeInvalidParameter, false, "Error Code: InvalidParameter;"},
		"throttled":   {awsapi.Errorf("ThrottlingException", "Rate exceeded"), CodeThrottling, true, "Rate exceeded"},
		"fault":       {sns.ErrInternalErrorException("Try again"), CodeErrorFromTarget, true, "Status Code: 500"},
		"our own":     {errors.New("disk"), CodeInternalError, true, "AmazonSNS could not be called: disk"},
		"interrupted": {context.DeadlineExceeded, CodeTimeout, true, "did not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := New(Options{Topics: &topics{err: tt.err}}).Invoke(t.Context(), publishAttempt("{}"))
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Code != tt.code || f.Retryable != tt.retry || !strings.Contains(f.Message, tt.message) {
				t.Errorf("got %+v (%v), want %s %v %q", f, err, tt.code, tt.retry, tt.message)
			}
		})
	}
	if err := New(Options{}).Invoke(t.Context(), publishAttempt("{}")); AsFailure(err).Code != CodeInvalidParameter {
		t.Errorf("without topics: %v", err)
	}
}
