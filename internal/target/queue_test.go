package target

import (
	"context"
	"errors"
	"regexp"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// refusingQueues answers each send with err.
type refusingQueues struct {
	sqs.Unimplemented
	err error
}

func (q refusingQueues) SendMessage(context.Context, *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	return nil, q.err
}

// The messages were recorded from AWS; only the request's id differs.
func TestQueueFailures(t *testing.T) {
	tests := map[string]struct {
		err       error
		code      string
		retryable bool
		message   string // a regular expression
	}{
		"a missing queue is final": {
			err:  sqs.ErrQueueDoesNotExist("The specified queue does not exist or you do not have access to it."),
			code: CodeNoResource,
			message: `^The specified queue does not exist or you do not have access to it\. \(Service: AmazonSQS; Status Code: 400; ` +
				`Error Code: AWS\.SimpleQueueService\.NonExistentQueue; Request ID: [0-9a-f-]{36}; Proxy: null\)$`,
		},
		"a missing permission is final": {
			err:     &awsapi.Error{Code: "AccessDenied", Status: 403, Message: "User: events.amazonaws.com is not authorized"},
			code:    CodeNoPermissions,
			message: `Status Code: 403; Error Code: AccessDenied; Request ID: [0-9a-f-]{36}; Proxy: null\)$`,
		},
		"a message that the queue cannot take is final": {
			err: sqs.ErrInvalidParameterValueException("too long"), code: CodeInvalidParameter,
			message: `^too long \(.* Error Code: InvalidParameterValue; `,
		},
		"throttling passes":            {err: sqs.ErrRequestThrottled("slow down"), code: CodeThrottling, retryable: true},
		"too many in flight pass":      {err: sqs.ErrOverLimit("full"), code: CodeThrottling, retryable: true},
		"a fault passes":               {err: &awsapi.Error{Code: "InternalError", Status: 500, Fault: true}, code: CodeErrorFromTarget, retryable: true},
		"an error without a wire form": {err: errors.New("database is locked"), code: CodeInternalError, retryable: true, message: "database is locked"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := Attempt{
				Subscription: &bus.Subscription{Target: bus.Target{Kind: bus.KindQueue, ARN: "arn:aws:sqs:us-east-1:000000000000:orders"}},
				Record:       &event.Record{}, Body: []byte(`{}`),
			}
			f := AsFailure(New(refusingQueues{err: tt.err}, nil, nil, nil).Invoke(t.Context(), a))
			if f.Code != tt.code || f.Retryable != tt.retryable || !regexp.MustCompile(tt.message).MatchString(f.Message) {
				t.Errorf("got %+v, want %s, retryable %v, message like %s", f, tt.code, tt.retryable, tt.message)
			}
		})
	}
}
