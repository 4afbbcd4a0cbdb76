package queue

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// SendMessage puts a message into a queue.
func (q *Queues) SendMessage(ctx context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "SendMessage")
	if err != nil {
		return nil, err
	}
	d, err := draftOf(in)
	if err != nil {
		return nil, err
	}
	sent, err := q.Send(ctx, have, senderOf(ctx), d)
	if err != nil {
		return nil, err
	}
	return &sqs.SendMessageOutput{
		MessageId:                    &sent.MessageID,
		MD5OfMessageBody:             new(bodyDigest(d.Body)),
		MD5OfMessageAttributes:       optional(valuesDigest(d.Attributes)),
		MD5OfMessageSystemAttributes: optional(traceDigest(d.Trace)),
		SequenceNumber:               optional(sent.Sequence),
	}, nil
}

// senderOf is the account that the attribute SenderId names.
func senderOf(ctx context.Context) string {
	if src, ok := auth.SourceFrom(ctx); ok {
		return src.Account
	}
	return awsapi.CallerFrom(ctx).Account
}

// optional is nil for an empty string.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func seconds(n *int32) *time.Duration {
	if n == nil {
		return nil
	}
	return new(time.Duration(*n) * time.Second)
}

func draftOf(in *sqs.SendMessageInput) (Draft, error) {
	d := Draft{
		Body: text(in.MessageBody), GroupID: text(in.MessageGroupId), DedupID: text(in.MessageDeduplicationId),
		Delay: seconds(in.DelaySeconds),
	}
	// The fields of an id must not be given empty. AWS: 1 to 128 characters.
	if in.MessageGroupId != nil && d.GroupID == "" {
		return d, errParameter("MessageGroupId", "", "MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	if in.MessageDeduplicationId != nil && d.DedupID == "" {
		return d, errParameter("MessageDeduplicationId", "", "MessageDeduplicationId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	for name, v := range in.MessageAttributes {
		if len(v.StringListValues) > 0 || len(v.BinaryListValues) > 0 {
			return d, errUnsupported("Message attribute list values in SendMessage operation are not supported.")
		}
		if d.Attributes == nil {
			d.Attributes = make(map[string]Value, len(in.MessageAttributes))
		}
		value, err := valueOf(name, v)
		if err != nil {
			return d, err
		}
		d.Attributes[name] = value
	}
	trace, err := traceOf(in.MessageSystemAttributes)
	d.Trace = trace
	return d, err
}

func valueOf(name string, v sqs.MessageAttributeValue) (Value, error) {
	value := Value{Type: text(v.DataType), Text: text(v.StringValue), Data: v.BinaryValue}
	if value.Text != "" && len(value.Data) > 0 {
		return value, errInvalid("The message attribute '%s' must have one value: StringValue or BinaryValue.", name)
	}
	return value, nil
}

// maxTrace bounds AWSTraceHeader, which does not count as part of the message.
const maxTrace = 1024

func traceOf(values map[string]sqs.MessageSystemAttributeValue) (string, error) {
	for name, v := range values {
		if name != sqs.MessageSystemAttributeNameForSendsAWSTraceHeader {
			return "", errInvalid("Message system attribute name '%s' is invalid.", name)
		}
		if text(v.DataType) != "String" || text(v.StringValue) == "" {
			return "", errInvalid("The message system attribute 'AWSTraceHeader' must be a String with a value.")
		}
		if len(*v.StringValue) > maxTrace || !validText(*v.StringValue) {
			return "", errInvalid("The message system attribute 'AWSTraceHeader' must be at most %d bytes of valid characters.", maxTrace)
		}
		return *v.StringValue, nil
	}
	return "", nil
}

// SendMessageBatch puts messages into a queue, each taken or refused by itself.
func (q *Queues) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "SendMessage")
	if err != nil {
		return nil, err
	}
	if err := checkBatch("SendMessageBatchRequestEntry", in.Entries, func(e sqs.SendMessageBatchRequestEntry) *string { return e.Id }); err != nil {
		return nil, err
	}
	out := &sqs.SendMessageBatchOutput{Successful: []sqs.SendMessageBatchResultEntry{}, Failed: []sqs.BatchResultErrorEntry{}}
	var drafts []Draft
	var ids []*string
	for _, e := range in.Entries {
		d, err := draftOf(&sqs.SendMessageInput{
			DelaySeconds: e.DelaySeconds, MessageAttributes: e.MessageAttributes, MessageBody: e.MessageBody,
			MessageDeduplicationId: e.MessageDeduplicationId, MessageGroupId: e.MessageGroupId,
			MessageSystemAttributes: e.MessageSystemAttributes,
		})
		if err != nil {
			out.Failed = append(out.Failed, failure(e.Id, err))
			continue
		}
		drafts, ids = append(drafts, d), append(ids, e.Id)
	}
	sent, errs, err := q.SendBatch(ctx, have, senderOf(ctx), drafts)
	if err != nil {
		return nil, err
	}
	for i, id := range ids {
		if errs[i] != nil {
			out.Failed = append(out.Failed, failure(id, errs[i]))
			continue
		}
		out.Successful = append(out.Successful, sqs.SendMessageBatchResultEntry{
			Id: id, MessageId: &sent[i].MessageID,
			MD5OfMessageBody:             new(bodyDigest(drafts[i].Body)),
			MD5OfMessageAttributes:       optional(valuesDigest(drafts[i].Attributes)),
			MD5OfMessageSystemAttributes: optional(traceDigest(drafts[i].Trace)),
			SequenceNumber:               optional(sent[i].Sequence),
		})
	}
	return out, nil
}

var validEntryID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkBatch checks the number of entries and their ids.
func checkBatch[T any](kind string, entries []T, id func(T) *string) error {
	if len(entries) == 0 {
		return sqs.ErrEmptyBatchRequest("There should be at least one %s in the request.", kind)
	}
	if len(entries) > maxBatch {
		return sqs.ErrTooManyEntriesInBatchRequest("Maximum number of entries per request are %d. You have sent %d.", maxBatch, len(entries))
	}
	seen := map[string]bool{}
	for _, e := range entries {
		name := text(id(e))
		if !validEntryID.MatchString(name) {
			return sqs.ErrInvalidBatchEntryId("A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.")
		}
		if seen[name] {
			return sqs.ErrBatchEntryIdsNotDistinct("Id %s repeated.", name)
		}
		seen[name] = true
	}
	return nil
}

// failure is a batch's entry that was refused.
func failure(id *string, err error) sqs.BatchResultErrorEntry {
	var e *awsapi.Error
	if !errors.As(err, &e) {
		return sqs.BatchResultErrorEntry{Id: id, Code: new("InternalError"), Message: new("An internal error occurred."), SenderFault: new(false)}
	}
	return sqs.BatchResultErrorEntry{Id: id, Code: &e.Code, Message: &e.Message, SenderFault: new(!e.Fault)}
}

// ReceiveMessage puts messages in flight and returns them.
func (q *Queues) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "ReceiveMessage")
	if err != nil {
		return nil, err
	}
	system, err := systemNames(in.AttributeNames, in.MessageSystemAttributeNames)
	if err != nil {
		return nil, err
	}
	req := ReceiveRequest{Max: 1, Visibility: seconds(in.VisibilityTimeout), Wait: seconds(in.WaitTimeSeconds), AttemptID: text(in.ReceiveRequestAttemptId)}
	if in.MaxNumberOfMessages != nil {
		req.Max = int(*in.MaxNumberOfMessages)
	}
	got, err := q.Receive(ctx, have.Ref, req)
	if err != nil {
		return nil, err
	}
	out := &sqs.ReceiveMessageOutput{}
	for i := range got {
		out.Messages = append(out.Messages, wireMessage(&got[i], system, in.MessageAttributeNames))
	}
	return out, nil
}

var systemAttributes = map[string]func(*Received) string{
	sqs.MessageSystemAttributeNameSenderId:                func(r *Received) string { return r.Sender },
	sqs.MessageSystemAttributeNameSentTimestamp:           func(r *Received) string { return strconv.FormatInt(r.SentAt, 10) },
	sqs.MessageSystemAttributeNameApproximateReceiveCount: func(r *Received) string { return strconv.FormatInt(r.ReceiveCount, 10) },
	sqs.MessageSystemAttributeNameApproximateFirstReceiveTimestamp: func(r *Received) string {
		return strconv.FormatInt(r.FirstReceivedAt, 10)
	},
	sqs.MessageSystemAttributeNameSequenceNumber:           func(r *Received) string { return r.Sequence },
	sqs.MessageSystemAttributeNameMessageDeduplicationId:   func(r *Received) string { return r.DedupID },
	sqs.MessageSystemAttributeNameMessageGroupId:           func(r *Received) string { return r.GroupID },
	sqs.MessageSystemAttributeNameAWSTraceHeader:           func(r *Received) string { return r.Trace },
	sqs.MessageSystemAttributeNameDeadLetterQueueSourceArn: func(r *Received) string { return r.Source },
}

// systemNames returns which system attributes are asked for, by either of the two lists.
func systemNames(lists ...[]string) (map[string]bool, error) {
	names := map[string]bool{}
	for _, list := range lists {
		for _, name := range list {
			if name != sqs.MessageSystemAttributeNameAll && systemAttributes[name] == nil {
				return nil, errAttributeName(name)
			}
			names[name] = true
		}
	}
	return names, nil
}

func wireMessage(r *Received, system map[string]bool, names []string) sqs.Message {
	m := sqs.Message{MessageId: &r.MessageID, ReceiptHandle: &r.Handle, Body: &r.Body, MD5OfBody: new(bodyDigest(r.Body))}
	if len(system) > 0 {
		m.Attributes = map[string]string{}
		for name, value := range systemAttributes {
			if v := value(r); v != "" && (system[name] || system[sqs.MessageSystemAttributeNameAll]) {
				m.Attributes[name] = v
			}
		}
	}
	chosen := map[string]Value{}
	for name, v := range r.Attributes {
		if !asksFor(names, name) {
			continue
		}
		chosen[name] = v
		wire := sqs.MessageAttributeValue{DataType: &v.Type}
		if strings.HasPrefix(v.Type, "Binary") {
			wire.BinaryValue = v.Data
		} else {
			wire.StringValue = &v.Text
		}
		if m.MessageAttributes == nil {
			m.MessageAttributes = map[string]sqs.MessageAttributeValue{}
		}
		m.MessageAttributes[name] = wire
	}
	m.MD5OfMessageAttributes = optional(valuesDigest(chosen))
	return m
}

// asksFor says whether MessageAttributeNames take in the name. AWS: All and .*
// take in every one, bar.* those that begin with bar.
func asksFor(names []string, name string) bool {
	for _, n := range names {
		prefix, all := strings.CutSuffix(n, ".*")
		if n == "All" || n == name || all && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// DeleteMessage deletes a message by its receipt handle.
func (q *Queues) DeleteMessage(ctx context.Context, in *sqs.DeleteMessageInput) (*sqs.DeleteMessageOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "DeleteMessage")
	if err != nil {
		return nil, err
	}
	errs, err := q.DeleteMessages(ctx, have, []string{*in.ReceiptHandle})
	if err != nil {
		return nil, err
	}
	return &sqs.DeleteMessageOutput{}, errs[0]
}

// DeleteMessageBatch deletes messages, each by itself.
func (q *Queues) DeleteMessageBatch(ctx context.Context, in *sqs.DeleteMessageBatchInput) (*sqs.DeleteMessageBatchOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "DeleteMessage")
	if err != nil {
		return nil, err
	}
	if err := checkBatch("DeleteMessageBatchRequestEntry", in.Entries, func(e sqs.DeleteMessageBatchRequestEntry) *string { return e.Id }); err != nil {
		return nil, err
	}
	handles := make([]string, len(in.Entries))
	for i, e := range in.Entries {
		handles[i] = text(e.ReceiptHandle)
	}
	errs, err := q.DeleteMessages(ctx, have, handles)
	if err != nil {
		return nil, err
	}
	out := &sqs.DeleteMessageBatchOutput{Successful: []sqs.DeleteMessageBatchResultEntry{}, Failed: []sqs.BatchResultErrorEntry{}}
	for i, e := range in.Entries {
		if errs[i] != nil {
			out.Failed = append(out.Failed, failure(e.Id, errs[i]))
			continue
		}
		out.Successful = append(out.Successful, sqs.DeleteMessageBatchResultEntry{Id: e.Id})
	}
	return out, nil
}

// ChangeMessageVisibility changes how long a message in flight stays so.
func (q *Queues) ChangeMessageVisibility(ctx context.Context, in *sqs.ChangeMessageVisibilityInput) (*sqs.ChangeMessageVisibilityOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "ChangeMessageVisibility")
	if err != nil {
		return nil, err
	}
	errs, err := q.ChangeVisibility(ctx, have, []VisibilityChange{{*in.ReceiptHandle, *seconds(in.VisibilityTimeout)}})
	if err != nil {
		return nil, err
	}
	return &sqs.ChangeMessageVisibilityOutput{}, errs[0]
}

// ChangeMessageVisibilityBatch changes messages, each by itself.
func (q *Queues) ChangeMessageVisibilityBatch(ctx context.Context, in *sqs.ChangeMessageVisibilityBatchInput) (*sqs.ChangeMessageVisibilityBatchOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "ChangeMessageVisibility")
	if err != nil {
		return nil, err
	}
	if err := checkBatch("ChangeMessageVisibilityBatchRequestEntry", in.Entries, func(e sqs.ChangeMessageVisibilityBatchRequestEntry) *string { return e.Id }); err != nil {
		return nil, err
	}
	changes := make([]VisibilityChange, len(in.Entries))
	for i, e := range in.Entries {
		changes[i].Handle = text(e.ReceiptHandle)
		if e.VisibilityTimeout != nil {
			changes[i].Timeout = *seconds(e.VisibilityTimeout)
		}
	}
	errs, err := q.ChangeVisibility(ctx, have, changes)
	if err != nil {
		return nil, err
	}
	out := &sqs.ChangeMessageVisibilityBatchOutput{Successful: []sqs.ChangeMessageVisibilityBatchResultEntry{}, Failed: []sqs.BatchResultErrorEntry{}}
	for i, e := range in.Entries {
		if errs[i] != nil {
			out.Failed = append(out.Failed, failure(e.Id, errs[i]))
			continue
		}
		out.Successful = append(out.Successful, sqs.ChangeMessageVisibilityBatchResultEntry{Id: e.Id})
	}
	return out, nil
}
