package topic

import (
	"context"
	"maps"
	"regexp"
	"slices"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

// Publish publishes a message to a topic.
func (t *Topics) Publish(ctx context.Context, in *sns.PublishInput) (*sns.PublishOutput, error) {
	parameter, arn, err := publishTo(in)
	if err != nil {
		return nil, err
	}
	m, err := messageOf(ctx, entryOf(in))
	if err != nil {
		return nil, err
	}
	have, err := t.openFor(ctx, parameter, arn, "Publish", nil)
	if err != nil {
		return nil, err
	}
	ids, err := t.PublishMessages(ctx, have, []*Message{m})
	if err != nil {
		return nil, err
	}
	return &sns.PublishOutput{MessageId: &ids[0]}, nil
}

// publishTo says which parameter names the topic.
func publishTo(in *sns.PublishInput) (parameter, arn string, err error) {
	given := 0
	for _, p := range []*string{in.TopicArn, in.TargetArn, in.PhoneNumber} {
		if text(p) != "" {
			given++
		}
	}
	switch {
	case given > 1:
		return "", "", errInvalid("Only one of TopicArn, TargetArn and PhoneNumber can be given")
	case text(in.PhoneNumber) != "":
		return "", "", errParameter("PhoneNumber", "Text messages (SMS) are not available here")
	case text(in.TopicArn) != "":
		return "TopicArn", *in.TopicArn, nil
	case text(in.TargetArn) != "":
		return "TargetArn", *in.TargetArn, nil
	}
	return "", "", errParameter("TopicArn or TargetArn", "no value for required parameter")
}

// entryOf is the message of a Publish as an entry of a batch has it.
func entryOf(in *sns.PublishInput) *sns.PublishBatchRequestEntry {
	return &sns.PublishBatchRequestEntry{
		Message: in.Message, MessageAttributes: in.MessageAttributes, MessageDeduplicationId: in.MessageDeduplicationId,
		MessageGroupId: in.MessageGroupId, MessageStructure: in.MessageStructure, Subject: in.Subject,
	}
}

// maxTrace bounds the trace header that is handed on; queues take no longer one.
const maxTrace = 1024

// messageOf reads and checks a message.
func messageOf(ctx context.Context, in *sns.PublishBatchRequestEntry) (*Message, error) {
	if in.MessageDeduplicationId != nil {
		return nil, errParameter("MessageDeduplicationId", "The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	}
	m := &Message{Text: *in.Message, Subject: in.Subject, GroupID: text(in.MessageGroupId)}
	if in.MessageGroupId != nil && m.GroupID == "" {
		return nil, errParameter("MessageGroupId", "The message group can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	if trace := awsapi.CallerFrom(ctx).TraceHeader; len(trace) <= maxTrace && validText(trace) {
		m.Trace = trace
	}
	for name, v := range in.MessageAttributes {
		if m.Attributes == nil {
			m.Attributes = make(map[string]Value, len(in.MessageAttributes))
		}
		m.Attributes[name] = Value{Type: *v.DataType, Text: text(v.StringValue), Data: v.BinaryValue}
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if in.MessageStructure == nil {
		return m, nil
	}
	if *in.MessageStructure != "json" {
		return nil, errParameter("MessageStructure", "It must be json, or left out")
	}
	var err error
	m.Text, m.ByProtocol, err = parseStructure(m.Text)
	return m, err
}

const maxBatch = 10

var validEntryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// PublishBatch publishes messages to a topic, each taken or refused by itself.
func (t *Topics) PublishBatch(ctx context.Context, in *sns.PublishBatchInput) (*sns.PublishBatchOutput, error) {
	have, err := t.open(ctx, in.TopicArn, "Publish")
	if err != nil {
		return nil, err
	}
	if err := checkBatch(in.PublishBatchRequestEntries); err != nil {
		return nil, err
	}
	out := &sns.PublishBatchOutput{Successful: []sns.PublishBatchResultEntry{}, Failed: []sns.BatchResultErrorEntry{}}
	var messages []*Message
	var taken []*string
	for i := range in.PublishBatchRequestEntries {
		e := &in.PublishBatchRequestEntries[i]
		m, err := messageOf(ctx, e)
		if err != nil {
			out.Failed = append(out.Failed, refusedEntry(e.Id, err))
			continue
		}
		messages, taken = append(messages, m), append(taken, e.Id)
	}
	if len(messages) == 0 {
		return out, nil
	}
	ids, err := t.PublishMessages(ctx, have, messages)
	if err != nil {
		return nil, err
	}
	for i := range ids {
		out.Successful = append(out.Successful, sns.PublishBatchResultEntry{Id: taken[i], MessageId: &ids[i]})
	}
	return out, nil
}

// checkBatch checks number, ids and size of the entries.
func checkBatch(entries []sns.PublishBatchRequestEntry) error {
	if len(entries) == 0 {
		return sns.ErrEmptyBatchRequestException("The batch request doesn't contain any entries.")
	}
	if len(entries) > maxBatch {
		return sns.ErrTooManyEntriesInBatchRequestException("The batch request contains more entries than permissible.")
	}
	seen := map[string]bool{}
	size := 0
	for _, e := range entries {
		if !validEntryID.MatchString(*e.Id) {
			return sns.ErrInvalidBatchEntryIdException("The Id of a batch entry in a batch request doesn't abide by the specification.")
		}
		if seen[*e.Id] {
			return sns.ErrBatchEntryIdsNotDistinctException("Two or more batch entries in the request have the same Id.")
		}
		seen[*e.Id] = true
		size += len(text(e.Message))
		for name, v := range e.MessageAttributes {
			size += len(name) + len(text(v.DataType)) + len(text(v.StringValue)) + len(v.BinaryValue)
		}
	}
	if size > maxMessage {
		return sns.ErrBatchRequestTooLongException("The length of all the batch messages put together is more than the limit.")
	}
	return nil
}

// refusedEntry is a batch's entry that was refused.
func refusedEntry(id *string, err error) sns.BatchResultErrorEntry {
	e, ok := asError(err)
	if !ok {
		return sns.BatchResultErrorEntry{Id: id, Code: new("InternalError"), Message: new("An internal error occurred."), SenderFault: new(false)}
	}
	code := e.Code
	if modelled := sns.API.Errors[code]; modelled.QueryCode != "" {
		code = modelled.QueryCode
	}
	return sns.BatchResultErrorEntry{Id: id, Code: &code, Message: &e.Message, SenderFault: new(!e.Fault)}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
