package target

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

func (t *Targets) sendToQueue(ctx context.Context, a Attempt) error {
	in := sqs.SendMessageInput{MessageBody: new(string(a.Body))}
	if g := a.Subscription.Target.MessageGroupID; g != "" {
		group, err := resolve(g, a.Record.JSON)
		if err != nil || group == "" {
			return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("The event has no value for the message group at %s.", g)}
		}
		in.MessageGroupId = &group
	}
	setTrace(&in, a)
	return t.send(ctx, a, a.Subscription.Target.ARN, &in)
}

// setTrace hands the event's trace header on.
func setTrace(in *sqs.SendMessageInput, a Attempt) {
	if a.Record.Trace != "" {
		in.MessageSystemAttributes = map[string]sqs.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: new("String"), StringValue: &a.Record.Trace},
		}
	}
}

// DeadLetter sends the body of a delivery that failed for good to its
// dead-letter queue, with AWS's attributes and the event's trace header. The error is
// a *Failure.
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
	setTrace(&in, a)
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
	at, err := parseARN(queueARN, "sqs")
	if err != nil {
		return err
	}
	services, err := t.servicesFor(ctx, a, at)
	if err != nil {
		return err
	}
	if services.Queues == nil {
		return notServed(bus.KindQueue, queueARN)
	}
	in.QueueUrl = new("https://sqs." + at.region + "." + event.DNSSuffix(at.region) + "/" + at.account + "/" + at.resource)
	ctx, requestID := asRule(ctx, a, a.Subscription.Bus.Account, at.region, "sqs", "SendMessage")
	if _, err := services.Queues.SendMessage(ctx, in); err != nil {
		return t.serviceFailure(ctx, serviceQueues, err, requestID)
	}
	return nil
}
