package queue

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// The digests are those that AWS's own SDKs compute and check: of the length
// and bytes of each name, type and value in order of name.
func TestDigests(t *testing.T) {
	values := map[string]Value{
		"timestamp": {Type: "Number", Text: "1493147359900"},
	}
	if got, want := valuesDigest(values), "235c5c510d26fb653d073faed50ae77c"; got != want {
		t.Errorf("digest of a number %s, want %s", got, want)
	}
	if got, want := bodyDigest("This is a test message"), "fafb00f5732ab283681e124bf8747ed1"; got != want {
		t.Errorf("digest of a body %s, want %s", got, want)
	}
	binary := map[string]Value{"b": {Type: "Binary.x", Data: []byte{1, 2}}}
	asText := map[string]Value{"b": {Type: "String.x", Text: "\x01\x02"}}
	if valuesDigest(binary) == valuesDigest(asText) || valuesDigest(nil) != "" {
		t.Error("digests do not tell values apart")
	}
}

func TestMessageIsChecked(t *testing.T) {
	text := func(s string) sqs.MessageAttributeValue {
		return sqs.MessageAttributeValue{DataType: new("String"), StringValue: &s}
	}
	attr := func(name string, v sqs.MessageAttributeValue) *sqs.SendMessageInput {
		return &sqs.SendMessageInput{MessageBody: new("a"), MessageAttributes: map[string]sqs.MessageAttributeValue{name: v}}
	}
	body := func(s string) *sqs.SendMessageInput { return &sqs.SendMessageInput{MessageBody: &s} }
	eleven := &sqs.SendMessageInput{MessageBody: new("a"), MessageAttributes: map[string]sqs.MessageAttributeValue{}}
	for k := range 11 {
		eleven.MessageAttributes[fmt.Sprint("a", k)] = text("v")
	}
	withAttributes := body(strings.Repeat("x", MaxMessageSize-10))
	withAttributes.MessageAttributes = map[string]sqs.MessageAttributeValue{"name": text("1")}
	fifo := func(in sqs.SendMessageInput) *sqs.SendMessageInput { in.QueueUrl = new("fifo"); return &in }
	tests := []struct {
		name          string
		in            *sqs.SendMessageInput
		code, message string
	}{
		{"smallest", body("x"), "", ""},
		{"largest", body(strings.Repeat("x", MaxMessageSize)), "", ""},
		{"too large", body(strings.Repeat("x", MaxMessageSize+1)), "InvalidParameterValue", "Message must be shorter than 1048576 bytes."},
		{"too large with attributes", withAttributes, "InvalidParameterValue", "must be shorter"},
		{"empty", body(""), "MissingParameter", "The request must contain the parameter MessageBody."},
		{"emoji and Chinese", body("订单 🚚\t\n\r"), "", ""},
		{"control character", body("a\x01"), "InvalidMessageContents", "Invalid characters found."},
		{"null character", body("a\x00"), "InvalidMessageContents", "Invalid characters found."},
		{"noncharacter", body("a\uFFFF"), "InvalidMessageContents", "Invalid characters found."},
		{"not UTF-8", body("a\xff"), "InvalidMessageContents", "Invalid characters found."},
		{"delay too long", &sqs.SendMessageInput{MessageBody: new("a"), DelaySeconds: new(int32(901))}, "InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
		{"delay negative", &sqs.SendMessageInput{MessageBody: new("a"), DelaySeconds: new(int32(-1))}, "InvalidParameterValue", "DelaySeconds"},
		{"eleven attributes", eleven, "InvalidParameterValue", "Number of message attributes [11] exceeds the allowed maximum [10]."},
		{"label on a type", attr("n", sqs.MessageAttributeValue{DataType: new("Number.float"), StringValue: new("-1.5e3")}), "", ""},
		{"no type", attr("n", sqs.MessageAttributeValue{StringValue: new("1")}), "InvalidParameterValue", "must contain a non-empty message attribute type"},
		{"unknown type", attr("n", sqs.MessageAttributeValue{DataType: new("Date"), StringValue: new("1")}), "InvalidParameterValue", "the set of supported type prefixes is Binary, Number, and String."},
		{"not a number", attr("n", sqs.MessageAttributeValue{DataType: new("Number"), StringValue: new("one")}), "InvalidParameterValue", "Can't cast the value of message (user) attribute 'n' to a number."},
		{"number too large", attr("n", sqs.MessageAttributeValue{DataType: new("Number"), StringValue: new("1e127")}), "InvalidParameterValue", "Can't cast"},
		{"empty value", attr("n", text("")), "InvalidParameterValue", "The message attribute 'n' must contain a non-empty message attribute value for message attribute type 'String'."},
		{"empty binary", attr("n", sqs.MessageAttributeValue{DataType: new("Binary")}), "InvalidParameterValue", "'Binary'"},
		{"list value", attr("n", sqs.MessageAttributeValue{DataType: new("String"), StringListValues: []string{"a"}}), "UnsupportedOperation", "list values"},
		{"reserved name", attr("AWS.x", text("1")), "InvalidParameterValue", "AWS.x"},
		{"dots", attr("a..b", text("1")), "InvalidParameterValue", "a..b"},
		{"space in name", attr("a b", text("1")), "InvalidParameterValue", "#x20"},
		{"name too long", attr(strings.Repeat("n", 257), text("1")), "InvalidParameterValue", "256 bytes"},
		{"group on a standard queue", &sqs.SendMessageInput{MessageBody: new("a"), MessageGroupId: new("g")}, "", ""},
		{"deduplication id on a standard queue", &sqs.SendMessageInput{MessageBody: new("a"), MessageDeduplicationId: new("d")}, "InvalidParameterValue", "not valid for this queue type"},
		{"system attribute", &sqs.SendMessageInput{MessageBody: new("a"), MessageSystemAttributes: map[string]sqs.MessageSystemAttributeValue{"Colour": {DataType: new("String"), StringValue: new("x")}}}, "InvalidParameterValue", "Colour"},
		{"without a group", fifo(sqs.SendMessageInput{MessageBody: new("a"), MessageDeduplicationId: new("d")}), "MissingParameter", "The request must contain the parameter MessageGroupId."},
		{"without deduplication", fifo(sqs.SendMessageInput{MessageBody: new("a"), MessageGroupId: new("g")}), "InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
		{"delay of one message", fifo(sqs.SendMessageInput{MessageBody: new("a"), MessageGroupId: new("g"), MessageDeduplicationId: new("d"), DelaySeconds: new(int32(1))}), "InvalidParameterValue", "Value 1 for parameter DelaySeconds is invalid."},
		{"space in the group", fifo(sqs.SendMessageInput{MessageBody: new("a"), MessageGroupId: new("g 1"), MessageDeduplicationId: new("d")}), "InvalidParameterValue", "MessageGroupId can only include alphanumeric and punctuation characters."},
		{"empty deduplication id", fifo(sqs.SendMessageInput{MessageBody: new("a"), MessageGroupId: new("g"), MessageDeduplicationId: new("")}), "InvalidParameterValue", "MessageDeduplicationId"},
	}
	onBoth(t, func(t *testing.T, q *fixture) {
		standard, fifo := q.create("orders", nil), q.create("orders.fifo", nil)
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				in := *tt.in
				if in.QueueUrl == nil {
					in.QueueUrl = &standard
				} else {
					in.QueueUrl = &fifo
				}
				_, err := q.SendMessage(q.ctx, &in)
				if tt.code == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				wantError(t, err, tt.code, tt.message)
			})
		}
	})
}

func TestMessageAttributesAreChosenByName(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", map[string]string{"VisibilityTimeout": "0"})
		in := &sqs.SendMessageInput{
			QueueUrl: &url, MessageBody: new("a"),
			MessageAttributes: map[string]sqs.MessageAttributeValue{
				"shop.city": {DataType: new("String"), StringValue: new("上海")},
				"shop.id":   {DataType: new("Number"), StringValue: new("7")},
				"photo":     {DataType: new("Binary.png"), BinaryValue: []byte{0, 1, 2}},
			},
			MessageSystemAttributes: map[string]sqs.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: new("String"), StringValue: new("Root=1-2-3")}},
		}
		sent, err := q.SendMessage(q.ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		if sent.MD5OfMessageAttributes == nil || sent.MD5OfMessageSystemAttributes == nil {
			t.Fatalf("sent %+v", sent)
		}
		for _, tt := range []struct {
			names []string
			want  int
			same  bool
		}{
			{nil, 0, false},
			{[]string{"All"}, 3, true},
			{[]string{".*"}, 3, true},
			{[]string{"shop.*"}, 2, false},
			{[]string{"photo", "nothing"}, 1, false},
		} {
			out, err := q.ReceiveMessage(q.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MessageAttributeNames: tt.names, AttributeNames: []string{"AWSTraceHeader"}})
			if err != nil {
				t.Fatal(err)
			}
			m := out.Messages[0]
			if len(m.MessageAttributes) != tt.want || (m.MD5OfMessageAttributes != nil) != (tt.want > 0) {
				t.Errorf("%v chooses %v", tt.names, m.MessageAttributes)
			}
			if tt.same != (m.MD5OfMessageAttributes != nil && *m.MD5OfMessageAttributes == *sent.MD5OfMessageAttributes) {
				t.Errorf("%v: the digest is not that of the attributes returned", tt.names)
			}
			if len(m.Attributes) != 1 || m.Attributes["AWSTraceHeader"] != "Root=1-2-3" {
				t.Errorf("system attributes %v", m.Attributes)
			}
		}
		_, err = q.ReceiveMessage(q.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MessageSystemAttributeNames: []string{"Colour"}})
		wantError(t, err, "InvalidAttributeName", "Unknown Attribute Colour.")
	})
}

func TestReceiveIsChecked(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		for _, tt := range []struct {
			in      sqs.ReceiveMessageInput
			message string
		}{
			{sqs.ReceiveMessageInput{MaxNumberOfMessages: new(int32(0))}, "Value 0 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."},
			{sqs.ReceiveMessageInput{MaxNumberOfMessages: new(int32(11))}, "MaxNumberOfMessages"},
			{sqs.ReceiveMessageInput{WaitTimeSeconds: new(int32(21))}, "Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided."},
			{sqs.ReceiveMessageInput{VisibilityTimeout: new(int32(43201))}, "VisibilityTimeout"},
			{sqs.ReceiveMessageInput{ReceiveRequestAttemptId: new("a")}, "not valid for this queue type"},
		} {
			tt.in.QueueUrl = &url
			_, err := q.ReceiveMessage(q.ctx, &tt.in)
			wantError(t, err, "InvalidParameterValue", tt.message)
		}
	})
}

func TestBatches(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		entry := func(id, body string) sqs.SendMessageBatchRequestEntry {
			return sqs.SendMessageBatchRequestEntry{Id: &id, MessageBody: &body}
		}
		send := func(entries ...sqs.SendMessageBatchRequestEntry) (*sqs.SendMessageBatchOutput, error) {
			return q.SendMessageBatch(q.ctx, &sqs.SendMessageBatchInput{QueueUrl: &url, Entries: entries})
		}
		out, err := send(entry("1", "a"), entry("2", ""), entry("3", "b"))
		if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 {
			t.Fatalf("sent %+v, %v", out, err)
		}
		if f := out.Failed[0]; *f.Id != "2" || *f.Code != "MissingParameter" || !*f.SenderFault {
			t.Errorf("failed %+v", f)
		}
		_, err = send()
		wantError(t, err, "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")
		var eleven []sqs.SendMessageBatchRequestEntry
		for k := range 11 {
			eleven = append(eleven, entry(fmt.Sprint(k), "a"))
		}
		_, err = send(eleven...)
		wantError(t, err, "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11.")
		_, err = send(entry("1", "a"), entry("1", "b"))
		wantError(t, err, "BatchEntryIdsNotDistinct", "Id 1 repeated.")
		_, err = send(entry("a b", "a"))
		wantError(t, err, "InvalidBatchEntryId", "can only contain alphanumeric characters")
		half := strings.Repeat("x", MaxMessageSize/2)
		_, err = send(entry("1", half), entry("2", half), entry("3", "x"))
		wantError(t, err, "BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.")

		got := q.receive(url)
		q.wantBodies(got, "a", "b")
		changed, err := q.ChangeMessageVisibilityBatch(q.ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: []sqs.ChangeMessageVisibilityBatchRequestEntry{
			{Id: new("1"), ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: new(int32(60))},
			{Id: new("2"), ReceiptHandle: new("nonsense"), VisibilityTimeout: new(int32(60))},
		}})
		if err != nil || len(changed.Successful) != 1 || *changed.Failed[0].Code != "ReceiptHandleIsInvalid" {
			t.Errorf("changed %+v, %v", changed, err)
		}
		deleted, err := q.DeleteMessageBatch(q.ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []sqs.DeleteMessageBatchRequestEntry{
			{Id: new("1"), ReceiptHandle: got[0].ReceiptHandle},
			{Id: new("2"), ReceiptHandle: got[1].ReceiptHandle},
			{Id: new("3"), ReceiptHandle: new("nonsense")},
		}})
		if err != nil || len(deleted.Successful) != 2 || *deleted.Failed[0].Id != "3" {
			t.Errorf("deleted %+v, %v", deleted, err)
		}
		q.wantRows("queue_message", 0)
	})
}
