package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

// publish publishes the body to a topic, as the rule: its policy decides. AWS: without
// a subject, and without message attributes.
func (t *Targets) publish(ctx context.Context, a Attempt) error {
	arn := a.Subscription.Target.ARN
	parts := strings.Split(arn, ":") // arn:aws:sns:REGION:ACCOUNT:NAME
	if len(parts) != 6 {
		return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("%q is not the ARN of a topic.", arn)}
	}
	requestID := uuid.NewString()
	ctx = awsapi.WithCaller(ctx, awsapi.Caller{
		Account: a.Subscription.Bus.Account, Region: parts[3], Role: string(auth.Operator),
		Service: "sns", Operation: "Publish", RequestID: requestID, TraceHeader: a.Record.Trace,
	})
	ctx = auth.WithSource(ctx, auth.Source{
		Service: servicePrincipal, ARN: a.Subscription.RuleARN, Account: a.Subscription.Bus.Account,
	})
	if _, err := t.topics.Publish(ctx, &sns.PublishInput{TopicArn: &arn, Message: new(string(a.Body))}); err != nil {
		return topicFailure(err, requestID)
	}
	return nil
}

// topicFailure tells a topic's refusals apart. AWS: a missing topic and a missing
// permission are final, throttling and faults are not; the message is the SDK's.
func topicFailure(err error, requestID string) error {
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok {
		return AsFailure(fmt.Errorf("publish the message: %w", err))
	}
	code, status := e.Code, e.Status
	if modelled, ok := sns.API.Errors[code]; ok {
		if modelled.QueryCode != "" {
			code = modelled.QueryCode
		}
		if status == 0 {
			status = modelled.Status
		}
	}
	if status == 0 {
		status = http.StatusBadRequest
	}
	f := &Failure{Status: status, Message: fmt.Sprintf("%s (Service: AmazonSNS; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)", e.Message, status, code, requestID)}
	switch {
	case strings.Contains(code, "Throttl"):
		f.Code, f.Retryable = CodeThrottling, true
	case e.Fault || status >= http.StatusInternalServerError:
		f.Code, f.Retryable = CodeErrorFromTarget, true
	case code == "NotFound":
		f.Code = CodeNoResource
	case status == http.StatusForbidden:
		f.Code = CodeNoPermissions
	default:
		f.Code = CodeInvalidParameter
	}
	return f
}
