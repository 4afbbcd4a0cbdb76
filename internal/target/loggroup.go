package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/bus"
)

// putLogEvent writes one event to a log group, into the rule's own stream, which
// is made when it is first needed.
func (t *Targets) putLogEvent(ctx context.Context, a Attempt) error {
	at, err := parseARN(a.Subscription.Target.ARN, "logs")
	if err != nil {
		return err
	}
	group, ok := strings.CutPrefix(strings.TrimSuffix(at.resource, ":*"), "log-group:")
	if !ok {
		return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("%q is not the ARN of a log group.", a.Subscription.Target.ARN)}
	}
	entry, err := logEvent(a)
	if err != nil {
		return &Failure{Code: CodeInvalidParameter, Message: err.Error()}
	}
	services, err := t.servicesFor(ctx, a, at)
	if err != nil {
		return err
	}
	if services.LogGroups == nil {
		return notServed(bus.KindLogGroup, a.Subscription.Target.ARN)
	}
	in := &logs.PutLogEventsInput{LogGroupName: &group, LogStreamName: new(logStream(a.Subscription)), LogEvents: []logs.InputLogEvent{entry}}
	ctx, requestID := asRule(ctx, a, at.account, at.region, "logs", "PutLogEvents")
	out, err := services.LogGroups.PutLogEvents(ctx, in)
	if f := t.logFailure(ctx, err, requestID); f != nil && f.Code == CodeNoResource { // the stream is missing, or the group
		if f := t.createLogStream(ctx, services.LogGroups, in, requestID); f != nil {
			return f
		}
		out, err = services.LogGroups.PutLogEvents(ctx, in)
	}
	if err != nil {
		return t.logFailure(ctx, err, requestID)
	}
	return rejectedLogEvent(out.RejectedLogEventsInfo, *entry.Timestamp)
}

func (t *Targets) logFailure(ctx context.Context, err error, requestID string) *Failure {
	if err == nil {
		return nil
	}
	return t.serviceFailure(ctx, serviceLogs, err, requestID)
}

// createLogStream makes the stream; another attempt may have made it meanwhile.
func (t *Targets) createLogStream(ctx context.Context, groups logs.Service, in *logs.PutLogEventsInput, requestID string) *Failure {
	_, err := groups.CreateLogStream(ctx, &logs.CreateLogStreamInput{LogGroupName: in.LogGroupName, LogStreamName: in.LogStreamName})
	if hasCode(err, logs.CodeResourceAlreadyExistsException) {
		return nil
	}
	return t.logFailure(ctx, err, requestID)
}

// logStream names the stream of a rule: its bus and its name, so that a rule's
// events stand together and a group has no more streams than rules. AWS leaves
// the name open.
func logStream(sub *bus.Subscription) string { return sub.Bus.Name + "/" + sub.RuleName }

// logEvent is what is written: the event with its own time, or what the input
// transformer makes of it. AWS: {"timestamp": …, "message": …}.
func logEvent(a Attempt) (logs.InputLogEvent, error) {
	entry := struct {
		Timestamp json.RawMessage `json:"timestamp"`
		Message   json.RawMessage `json:"message"`
	}{}
	if a.Subscription.Target.Input.Template == nil {
		envelope := struct {
			Time json.RawMessage `json:"time"`
		}{}
		if err := json.Unmarshal(a.Record.JSON, &envelope); err != nil {
			return logs.InputLogEvent{}, fmt.Errorf("the event is not JSON: %w", err)
		}
		at, err := logTime(envelope.Time)
		return logs.InputLogEvent{Timestamp: &at, Message: new(string(a.Body))}, err
	}
	if err := json.Unmarshal(a.Body, &entry); err != nil || entry.Timestamp == nil || entry.Message == nil {
		return logs.InputLogEvent{}, fmt.Errorf(`a log group takes {"timestamp": …, "message": …}, and the input transformer made %s`, quote(a.Body))
	}
	at, err := logTime(entry.Timestamp)
	if err != nil {
		return logs.InputLogEvent{}, err
	}
	var message string
	if json.Unmarshal(entry.Message, &message) != nil {
		message = string(bytes.TrimSpace(entry.Message)) // not a string: its JSON
	}
	if message == "" {
		return logs.InputLogEvent{}, fmt.Errorf("a log event's message must not be empty")
	}
	return logs.InputLogEvent{Timestamp: &at, Message: &message}, nil
}

// logTime reads a time as unix milliseconds or as the events have it, ISO 8601.
func logTime(text json.RawMessage) (int64, error) {
	word := strings.Trim(string(text), `"`)
	if millis, err := strconv.ParseInt(word, 10, 64); err == nil && millis >= 0 {
		return millis, nil
	}
	at, err := time.Parse(time.RFC3339, word)
	if err != nil || at.UnixMilli() < 0 {
		return 0, fmt.Errorf("the timestamp %s is neither unix milliseconds nor a time such as 2026-01-15T21:29:54Z", quote(text))
	}
	return at.UnixMilli(), nil
}

// rejectedLogEvent is the failure of an event whose time the log group does not
// take, which the service reports as success.
func rejectedLogEvent(info *logs.RejectedLogEventsInfo, at int64) error {
	var why string
	switch {
	case info == nil:
		return nil
	case info.TooOldLogEventEndIndex != nil:
		why = "more than 14 days ago"
	case info.TooNewLogEventStartIndex != nil:
		why = "more than 2 hours ahead"
	case info.ExpiredLogEventEndIndex != nil:
		why = "before what the log group's retention keeps"
	default:
		return nil
	}
	return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("The log group rejected the event: its time, %s, is %s.", time.UnixMilli(at).UTC().Format(time.RFC3339), why)}
}
