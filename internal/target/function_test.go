package target

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/bus"
)

const functionARN = "arn:aws:lambda:eu-west-1:444455556666:function:ship"

// boxFunctions note who invokes what and answer with an error.
type boxFunctions struct {
	err    error
	arn    string
	event  string
	caller awsapi.Caller
	source auth.Source
}

func (f *boxFunctions) Invoke(ctx context.Context, arn string, event []byte) error {
	f.arn, f.event, f.caller = arn, string(event), awsapi.CallerFrom(ctx)
	f.source, _ = auth.SourceFrom(ctx)
	return f.err
}

func functionAttempt(body string) Attempt {
	a := publishAttempt(body)
	a.Subscription.Target = bus.Target{ARN: functionARN, Kind: bus.KindFunction}
	return a
}

func TestAFunctionOfTheBoxIsInvokedAsTheRule(t *testing.T) {
	t.Parallel()
	f := &boxFunctions{}
	if err := New(Options{Functions: f}).Invoke(t.Context(), functionAttempt(`{"订单":"🏙"}`)); err != nil {
		t.Fatal(err)
	}
	if f.arn != functionARN || f.event != `{"订单":"🏙"}` {
		t.Errorf("invoked %s with %s", f.arn, f.event)
	}
	if c := f.caller; c.Account != "111122223333" || c.Region != "eu-west-1" || !strings.HasPrefix(c.TraceHeader, "Root=1-") {
		t.Errorf("the caller is %+v", c)
	}
	if s := f.source; s.Service != "events.amazonaws.com" || s.ARN != "arn:aws:events:us-east-1:111122223333:rule/r" || s.Account != "111122223333" {
		t.Errorf("the source is %+v", s)
	}
}

func TestAFunctionsRefusalsHaveAWSsCodes(t *testing.T) {
	t.Parallel()
	denied := awsapi.Errorf("AccessDeniedException", "User: events.amazonaws.com is not authorized to perform: lambda:InvokeFunction on resource: %s", functionARN)
	denied.Status = 403
	for name, tt := range map[string]struct {
		err     error
		code    string
		retry   bool
		message string
	}{
		"missing":   {lambda.ErrResourceNotFoundException("Function not found: %s", functionARN), CodeNoResource, false, "(Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; Request ID: "},
		"denied":    {denied, CodeNoPermissions, false, "Error Code: AccessDeniedException"},
		"throttled": {lambda.ErrTooManyRequestsException("Rate Exceeded."), CodeThrottling, true, "Status Code: 429"},
		"too large": {lambda.ErrRequestTooLargeException("1048577 byte payload is too large for the Event invocation type"), CodeInvalidParameter, false, "Status Code: 413"},
		"updating":  {lambda.ErrResourceConflictException("An update is in progress"), CodeErrorFromTarget, true, "Status Code: 409"},
		"fault":     {lambda.ErrServiceException("try again"), CodeErrorFromTarget, true, "Status Code: 500"},
		"our own":   {errors.New("disk"), CodeInternalError, true, "AWSLambda could not be called: disk"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := New(Options{Functions: &boxFunctions{err: tt.err}}).Invoke(t.Context(), functionAttempt("{}"))
			f, ok := errors.AsType[*Failure](err)
			if !ok || f.Code != tt.code || f.Retryable != tt.retry || !strings.Contains(f.Message, tt.message) {
				t.Errorf("got %+v (%v), want %s %v %q", f, err, tt.code, tt.retry, tt.message)
			}
		})
	}
}
