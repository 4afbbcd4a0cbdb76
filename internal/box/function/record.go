package function

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// record is one message in the event that a function gets of a queue, with AWS's names.
type record struct {
	MessageID         string                     `json:"messageId"`
	ReceiptHandle     string                     `json:"receiptHandle"`
	Body              string                     `json:"body"`
	Attributes        map[string]string          `json:"attributes"`
	MessageAttributes map[string]recordAttribute `json:"messageAttributes"`
	// MD5OfMessageAttributes is empty where there are none.
	MD5OfMessageAttributes string `json:"md5OfMessageAttributes,omitempty"`
	MD5OfBody              string `json:"md5OfBody"`
	EventSource            string `json:"eventSource"`
	EventSourceARN         string `json:"eventSourceARN"`
	AWSRegion              string `json:"awsRegion"`
}

// recordAttribute is a message attribute. AWS: the lists are always empty.
type recordAttribute struct {
	StringValue      *string  `json:"stringValue,omitempty"`
	BinaryValue      []byte   `json:"binaryValue,omitempty"`
	StringListValues []string `json:"stringListValues"`
	BinaryListValues []string `json:"binaryListValues"`
	DataType         string   `json:"dataType"`
}

func newRecord(m *sqs.Message, source queueARN) *record {
	r := &record{
		MessageID: text(m.MessageId), ReceiptHandle: text(m.ReceiptHandle), Body: text(m.Body), MD5OfBody: text(m.MD5OfBody),
		MD5OfMessageAttributes: text(m.MD5OfMessageAttributes), Attributes: maps.Clone(m.Attributes),
		MessageAttributes: map[string]recordAttribute{},
		EventSource:       "aws:sqs", EventSourceARN: source.String(), AWSRegion: source.region,
	}
	for name, v := range m.MessageAttributes {
		a := recordAttribute{StringListValues: []string{}, BinaryListValues: []string{}, DataType: text(v.DataType)}
		if strings.HasPrefix(a.DataType, "Binary") {
			a.BinaryValue = v.BinaryValue
		} else {
			a.StringValue = v.StringValue
		}
		r.MessageAttributes[name] = a
	}
	return r
}

// group is the message's group; empty on standard queues.
func (r *record) group() string { return r.Attributes[sqs.MessageSystemAttributeNameMessageGroupId] }

// json is the record as it stands in an event.
func (r *record) json() ([]byte, error) { return encode(r) }

// withBody is the record with JSON in place of the body's text, for filters.
func (r *record) withBody(body []byte) ([]byte, error) {
	return encode(struct {
		*record
		Body json.RawMessage `json:"body"`
	}{r, body})
}

// encode writes JSON as it is, without escapes that are meant for web pages.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
