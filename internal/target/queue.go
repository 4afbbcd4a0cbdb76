package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/bus"
)

// servicePrincipal is the principal under which rules reach their targets.
const servicePrincipal = "events.amazonaws.com"

func (t *Targets) sendToQueue(ctx context.Context, a Attempt) error {
	in := sqs.SendMessageInput{MessageBody: new(string(a.Body))}
	if g := a.Subscription.Target.MessageGroupID; g != "" {
		group, err := resolve(g, a.Record.JSON)
		if err != nil || group == "" {
			return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("The event has no value for the message group at %s.", g)}
		}
		in.MessageGroupId = &group
	}
	if a.Record.Trace != "" {
		in.MessageSystemAttributes = map[string]sqs.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: new("String"), StringValue: &a.Record.Trace},
		}
	}
	return t.send(ctx, a, a.Subscription.Target.ARN, &in)
}

// DeadLetter sends the body of a delivery that failed for good to its
// dead-letter queue, with AWS's attributes. The error is a *Failure.
func (t *Targets) DeadLetter(ctx context.Context, a Attempt, reason DeadLetterReason) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	attributes := map[string]string{
		"RULE_ARN":      a.Subscription.RuleARN,
		"TARGET_ARN":    a.Subscription.Target.ARN,
		"ERROR_CODE":    reason.Code,
		"ERROR_MESSAGE": cut(printable(reason.Message), maxErrorMessage),
	}
	if reason.Exhausted != "" {
		attributes["EXHAUSTED_RETRY_CONDITION"] = reason.Exhausted
		attributes["RETRY_ATTEMPTS"] = fmt.Sprint(reason.RetryAttempts)
	}
	in := sqs.SendMessageInput{
		MessageBody:       new(string(a.Body)),
		MessageAttributes: make(map[string]sqs.MessageAttributeValue, len(attributes)),
	}
	for name, value := range attributes {
		in.MessageAttributes[name] = sqs.MessageAttributeValue{DataType: new("String"), StringValue: &value}
	}
	return t.send(ctx, a, a.Subscription.Target.DeadLetterARN, &in)
}

// maxErrorMessage bounds ERROR_MESSAGE, in bytes: attributes count against the
// size of a message.
const maxErrorMessage = 1024

// cut returns the beginning of a text, in whole characters.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// DeadLetterReason is why a delivery was given up.
type DeadLetterReason struct {
	// Code is one of AWS's ERROR_CODE values.
	Code    string
	Message string
	// Exhausted is MaximumRetryAttempts or MaximumEventAgeInSeconds when retries
	// ran out, empty when the failure was final at once.
	Exhausted string
	// RetryAttempts counts the tries after the first.
	RetryAttempts int
}

// send sends to the queue with the ARN as the rule: its policy decides.
func (t *Targets) send(ctx context.Context, a Attempt, queueARN string, in *sqs.SendMessageInput) error {
	if t.queues == nil {
		return notServed(bus.KindQueue, queueARN)
	}
	parts := strings.Split(queueARN, ":") // arn:aws:sqs:REGION:ACCOUNT:NAME
	if len(parts) != 6 {
		return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("%q is not the ARN of a queue.", queueARN)}
	}
	region, account, name := parts[3], parts[4], parts[5]
	in.QueueUrl = new("https://sqs." + region + ".amazonaws.com/" + account + "/" + name)
	requestID := uuid.NewString()
	ctx = awsapi.WithCaller(ctx, awsapi.Caller{
		Account: a.Subscription.Bus.Account, Region: region, Role: string(auth.Operator),
		Service: "sqs", Operation: "SendMessage", RequestID: requestID,
	})
	ctx = auth.WithSource(ctx, auth.Source{
		Service: servicePrincipal, ARN: a.Subscription.RuleARN, Account: a.Subscription.Bus.Account,
	})
	if _, err := t.queues.SendMessage(ctx, in); err != nil {
		return queueFailure(err, requestID)
	}
	return nil
}

// queueFailure tells a queue's refusals apart. AWS: a missing queue and a
// missing permission are final, throttling and faults are not; the message is
// the SDK's, with the code that the query protocol has for the error.
func queueFailure(err error, requestID string) error {
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok {
		return AsFailure(fmt.Errorf("send the message: %w", err))
	}
	code := e.Code
	if modelled := sqs.API.Errors[code]; modelled.QueryCode != "" {
		code = modelled.QueryCode
	}
	status := e.Status
	if status == 0 {
		status = http.StatusBadRequest
		if e.Fault {
			status = http.StatusInternalServerError
		}
	}
	f := &Failure{Status: status, Message: fmt.Sprintf("%s (Service: AmazonSQS; Status Code: %d; Error Code: %s; Request ID: %s; Proxy: null)", e.Message, status, code, requestID)}
	switch {
	case code == "AWS.SimpleQueueService.NonExistentQueue":
		f.Code = CodeNoResource
	case strings.Contains(code, "Throttl") || code == "OverLimit":
		f.Code, f.Retryable = CodeThrottling, true
	case code == "AccessDenied" || code == "AccessDeniedException" || status == http.StatusForbidden:
		f.Code = CodeNoPermissions
	case e.Fault || status >= http.StatusInternalServerError:
		f.Code, f.Retryable = CodeErrorFromTarget, true
	default:
		f.Code = CodeInvalidParameter
	}
	return f
}
