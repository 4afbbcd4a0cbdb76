package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/jq"
)

// The limits of an event record.
const (
	// maxRecord is how long its body may be, in bytes: as long as Amazon SQS allows.
	maxRecord = 1 << 20
	// maxIdentifiers is how many resources one record may name.
	maxIdentifiers = 1000
	// maxIdentifier is how long an identifier may be, in bytes.
	maxIdentifier = 4096
)

// Record is an event record: what a rule's input transformer put on the
// exporter's queue. It says that something happened to a resource.
type Record struct {
	// Kind, Region and Identifier name the resource. The identifier may be an
	// alias, or, of a record that deletes, that of the entity.
	Kind, Region, Identifier string
	// Delete says that the resource was deleted; otherwise it was made or changed.
	Delete bool
	// Account is the cloud account; "" where the record does not say.
	Account string
	// EventID, EventName, EventTime and ErrorCode are those of the event, and
	// RuleARN is the rule that it matched; "" and zero where the record does not say.
	EventID, EventName, RuleARN, ErrorCode string
	EventTime                              time.Time
}

// RecordError says what is wrong with an event record. Trying it again does not
// help.
type RecordError struct {
	// Key is the record's key, as identifier; "" is the whole.
	Key     string
	Message string
}

// Error returns the message after the key.
func (e *RecordError) Error() string {
	if e.Key == "" {
		return e.Message
	}
	return e.Key + " " + e.Message
}

func badRecord(key, format string, args ...any) error {
	return &RecordError{Key: key, Message: fmt.Sprintf(format, args...)}
}

// ParseRecords reads the body of a message of the exporter's queue: a JSON object
// with resource_type, region, identifier and action. The last three are jq over
// the object itself, so that a rule can put the event's values into their text, or
// beside them under keys of its own choice:
//
//	{"resource_type": "AWS::SQS::Queue", "region": "\"us-east-1\"", "identifier": "\"…/orders\""}
//	{"resource_type": "AWS::SQS::Queue", "region": ".awsRegion", "awsRegion": "us-east-1",
//	 "identifier": ".requestQueueUrl", "requestQueueUrl": "…/orders",
//	 "action": "if .eventName | startswith(\"Delete\") then \"delete\" else \"upsert\" end", "eventName": "SetQueueAttributes"}
//
// action may be left out, which is upsert. Beside them the keys account, event_id
// (or eventId), event_time (eventTime), event_name (eventName), rule_arn (ruleArn)
// and error_code (errorCode) are understood, as plain texts.
//
// An identifier that is an array of texts gives a record for each distinct one;
// of none, none. The error is a *RecordError, except where trying again may help:
// ctx ended, ev is closed, or an expression took too long.
func ParseRecords(ctx context.Context, ev *jq.Evaluator, body []byte) ([]Record, error) {
	object, err := readRecord(body)
	if err != nil {
		return nil, err
	}
	r, err := recordExtras(object)
	if err != nil {
		return nil, err
	}
	programs, err := recordPrograms(object)
	if err != nil {
		return nil, err
	}
	out := outputs(ev.Each(ctx, programs, object))
	if err := out.interrupted(ctx); err != nil {
		return nil, fmt.Errorf("read an event record: %w", err)
	}
	if r.Region, err = recordRegion(out.of(programs[0])); err != nil {
		return nil, err
	}
	identifiers, err := recordIdentifiers(out.of(programs[1]))
	if err != nil {
		return nil, err
	}
	if len(programs) > 2 {
		if r.Delete, err = recordAction(out.of(programs[2])); err != nil {
			return nil, err
		}
	}
	records := make([]Record, len(identifiers))
	for i, id := range identifiers {
		records[i] = r
		records[i].Identifier = id
	}
	return records, nil
}

// notEvaluated is the error of an expression of a record. One that was stopped on
// a busy machine may succeed when it is tried again; others will not.
func notEvaluated(key string, err error) error {
	if errors.Is(err, jq.ErrTimeout) || errors.Is(err, jq.ErrWorker) {
		return fmt.Errorf("%s of an event record: %w", key, err)
	}
	return badRecord(key, "cannot be evaluated: %v", err)
}

func readRecord(body []byte) (map[string]any, error) {
	if len(body) > maxRecord {
		return nil, badRecord("", "the record is %d bytes long, at most %d are possible", len(body), maxRecord)
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return nil, badRecord("", "the record must be a JSON object, not %s", kind.Value)
		}
		return nil, badRecord("", "the record is not JSON: %s", jsonMessage(err))
	}
	if decoder.More() {
		return nil, badRecord("", "the record is not JSON: something follows the object")
	}
	if object == nil {
		return nil, badRecord("", "the record must be a JSON object, not null")
	}
	return object, nil
}

// recordPrograms compiles region, identifier and, where there is one, action.
func recordPrograms(object map[string]any) ([]*jq.Program, error) {
	var programs []*jq.Program
	for _, key := range []string{"region", "identifier", "action"} {
		v := object[key]
		if v == nil && key == "action" {
			break
		}
		if v == nil {
			return nil, badRecord(key, "is missing: it must be a jq expression over the record")
		}
		text, ok := v.(string)
		if !ok {
			return nil, badRecord(key, "must be a jq expression, as text, not %s", kindOf(v))
		}
		program, err := jq.Compile(text)
		if err != nil {
			return nil, badRecord(key, "is not jq: %v (in %s)%s", err, shorten(text), quotingHint(text))
		}
		programs = append(programs, program)
	}
	return programs, nil
}

// quotingHint tells those who gave a text where jq stands that it takes quotes of
// its own, which is what goes wrong most often in a rule's template.
func quotingHint(text string) string {
	if text == "" || strings.ContainsAny(text, `"|(){}[]$ `) || strings.HasPrefix(text, ".") {
		return ""
	}
	return `; a text needs quotes of its own: "\"` + shorten(text) + `\""`
}

// recordExtras reads what is plain text in a record.
func recordExtras(object map[string]any) (Record, error) {
	var r Record
	if object["resource_type"] == nil {
		hint := ""
		if object["detail-type"] != nil {
			hint = "; this is an event as it came, the rule's target has no input transformer"
		}
		return r, badRecord("resource_type", "is missing: it must be the type of the resource, as AWS::SQS::Queue%s", hint)
	}
	var when string
	texts := []struct {
		to   *string
		keys []string
	}{
		{&r.Kind, []string{"resource_type"}},
		{&r.Account, []string{"account"}},
		{&r.EventID, []string{"event_id", "eventId"}},
		{&when, []string{"event_time", "eventTime"}},
		{&r.EventName, []string{"event_name", "eventName"}},
		{&r.RuleARN, []string{"rule_arn", "ruleArn"}},
		{&r.ErrorCode, []string{"error_code", "errorCode"}},
	}
	for _, t := range texts {
		for _, key := range t.keys {
			s, err := recordText(key, object[key])
			if err != nil {
				return r, err
			}
			if *t.to == "" {
				*t.to = s
			}
		}
	}
	switch {
	case !kindPattern.MatchString(r.Kind):
		return r, badRecord("resource_type", "%q is not a resource type, as AWS::SQS::Queue", shorten(r.Kind))
	case r.Account != "" && !accountPattern.MatchString(r.Account):
		return r, badRecord("account", "%q is not an account id of twelve digits", shorten(r.Account))
	case when == "":
		return r, nil
	}
	at, err := time.Parse(time.RFC3339, when)
	if err != nil {
		return r, badRecord("event_time", "%q is not a time, as 2026-11-21T09:30:00Z", shorten(when))
	}
	r.EventTime = at.UTC()
	return r, nil
}

func recordText(key string, v any) (string, error) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		if len(v) > maxIdentifier {
			return "", badRecord(key, "is %d bytes long, at most %d are possible", len(v), maxIdentifier)
		}
		if strings.ContainsFunc(v, unicode.IsControl) {
			return "", badRecord(key, "has a control character")
		}
		return v, nil
	}
	return "", badRecord(key, "must be a text, not %s", kindOf(v))
}

func recordRegion(o jq.Output) (string, error) {
	if o.Err != nil {
		return "", notEvaluated("region", o.Err)
	}
	region, _ := o.Value.(string)
	if !event.IsRegion(region) {
		return "", badRecord("region", "gave %s, not a region, as us-east-1", show(o))
	}
	return region, nil
}

// recordAction reports whether the action is delete. Port's exporter: upper and
// lower case are the same.
func recordAction(o jq.Output) (bool, error) {
	if o.Err != nil {
		return false, notEvaluated("action", o.Err)
	}
	action, _ := o.Value.(string)
	switch strings.ToLower(action) {
	case "upsert":
		return false, nil
	case "delete":
		return true, nil
	}
	return false, badRecord("action", `gave %s, not "upsert" or "delete"`, show(o))
}

func recordIdentifiers(o jq.Output) ([]string, error) {
	if o.Err != nil {
		return nil, notEvaluated("identifier", o.Err)
	}
	list, many := o.Value.([]any)
	if !many {
		id, ok := scalar(o.Value)
		if !ok || !truth(o.Value) {
			return nil, badRecord("identifier", "gave %s, which identifies nothing", show(o))
		}
		list = []any{id}
	}
	if len(list) > maxIdentifiers {
		return nil, badRecord("identifier", "gave %d identifiers, at most %d are possible", len(list), maxIdentifiers)
	}
	identifiers := make([]string, 0, len(list))
	for i, v := range list {
		id, ok := scalar(v)
		switch {
		case !ok && v != nil:
			return nil, badRecord("identifier", "gave %s as element %d, not a text", kindOf(v), i)
		case len(id) > maxIdentifier:
			return nil, badRecord("identifier", "is %d bytes long, at most %d are possible", len(id), maxIdentifier)
		case strings.ContainsFunc(id, unicode.IsControl):
			return nil, badRecord("identifier", "gave %s, which has a control character", shorten(strconv.Quote(id)))
		case id != "" && !slices.Contains(identifiers, id):
			identifiers = append(identifiers, id)
		}
	}
	return identifiers, nil
}
