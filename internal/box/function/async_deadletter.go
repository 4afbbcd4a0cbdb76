package function

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

const (
	// A dead-letter queue or topic that cannot be reached is tried again after
	// deadLetterPause, deadLetterTries times in all.
	deadLetterPause = 20 * time.Second
	deadLetterTries = 50
	// deadLetterTime bounds one attempt.
	deadLetterTime = 10 * time.Second
	// maxErrorMessage is how much of the error goes along. AWS: its first KB.
	maxErrorMessage = 1024
)

// giveUp ends an invocation that failed for good: for the dead-letter queue or topic, if
// there is one.
func (l *lane) giveUp(ctx context.Context, fn *Function, w *waitingInvocation, why *invocationFailure) error {
	l.f.counts.failed.Add(1)
	if fn.deadLetterARN() != "" {
		w.failure, w.tries, w.dueAt = why, 0, l.f.now()
		return l.settle(ctx, w, postponeInvocation)
	}
	l.f.counts.dropped.Add(1)
	l.f.o.Logger.Warn("an asynchronous invocation failed and is dropped: its function has no dead-letter queue", "function", fn.ARN(),
		"request", w.requestID, "code", why.Code, "reason", why.Message)
	return l.settle(ctx, w, deleteInvocation)
}

// bury sends the event of an invocation that was given up to the function's dead-letter
// queue or topic. AWS: where that is refused, the event is dropped.
func (l *lane) bury(ctx context.Context, fn *Function, w *waitingInvocation) error {
	arn := fn.deadLetterARN()
	if arn == "" { // it was taken away meanwhile
		l.f.counts.dropped.Add(1)
		return l.settle(ctx, w, deleteInvocation)
	}
	err := l.f.sendDeadLetter(ctx, fn, arn, w)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		l.f.counts.deadLettered.Add(1)
		return l.settle(ctx, w, deleteInvocation)
	}
	if w.tries++; w.tries < deadLetterTries && !isRefusal(err) {
		w.dueAt = l.f.now() + deadLetterPause.Milliseconds()
		return l.settle(ctx, w, postponeInvocation)
	}
	l.f.counts.dropped.Add(1)
	l.f.o.Logger.Warn("an asynchronous invocation failed, its dead-letter queue did not take it, and it is dropped", "function", fn.ARN(),
		"request", w.requestID, "target", arn, "error", err)
	return l.settle(ctx, w, deleteInvocation)
}

// isRefusal tells what is final from trouble that passes.
func isRefusal(err error) bool {
	e, ok := errors.AsType[*awsapi.Error](err)
	return ok && !e.Fault && e.Status < http.StatusInternalServerError && !strings.Contains(e.Code, "Throttl") && e.Code != "OverLimit"
}

// sendDeadLetter sends the event with AWS's attributes, as the function's account.
func (f *Functions) sendDeadLetter(ctx context.Context, fn *Function, arn string, w *waitingInvocation) error {
	ctx, cancel := context.WithTimeout(ctx, deadLetterTime)
	defer cancel()
	type attribute struct{ kind, value string }
	attributes := map[string]attribute{
		"RequestID": {"String", w.requestID}, "ErrorCode": {"Number", strconv.Itoa(w.failure.Code)}, "ErrorMessage": {"String", printable(w.failure.Message)},
	}
	body := string(w.payload)
	if q, ok := parseQueueARN(arn); ok {
		in := &sqs.SendMessageInput{QueueUrl: new(q.url()), MessageBody: &body, MessageAttributes: map[string]sqs.MessageAttributeValue{}}
		for name, a := range attributes {
			in.MessageAttributes[name] = sqs.MessageAttributeValue{DataType: &a.kind, StringValue: &a.value}
		}
		_, err := f.o.Queues.SendMessage(asFunction(ctx, Ref{Account: fn.Account, Region: q.region}, "sqs", "SendMessage"), in)
		return err
	}
	in := &sns.PublishInput{TopicArn: &arn, Message: &body, MessageAttributes: map[string]sns.MessageAttributeValue{}}
	for name, a := range attributes {
		in.MessageAttributes[name] = sns.MessageAttributeValue{DataType: &a.kind, StringValue: &a.value}
	}
	_, err := f.o.Topics.Publish(asFunction(ctx, fn.Ref, "sns", "Publish"), in)
	return err
}

// errorMessage is what a function's answer says went wrong.
func errorMessage(answer []byte) string {
	var e struct {
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(answer, &e) == nil && e.Message != "" {
		return e.Message
	}
	return string(answer)
}

// printable is text that can be the value of a message attribute: not empty, not too long,
// and of characters that queues take.
func printable(s string) string {
	if len(s) > maxErrorMessage {
		s = s[:maxErrorMessage]
	}
	s = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r != 0xFFFE && r != 0xFFFF {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
	if s == "" || !utf8.ValidString(s) {
		return "The function gave no error message."
	}
	return s
}
