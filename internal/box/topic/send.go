package topic

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

const (
	// servicePrincipal is the principal under which topics reach queues and functions.
	servicePrincipal = "sns.amazonaws.com"
	// serviceTimeout bounds one attempt at a queue or a function.
	serviceTimeout = 10 * time.Second
	// maxQueueAttributes is how many attributes a queue's message can have.
	maxQueueAttributes = 10
	// maxDrained is how much of an endpoint's answer is read so that its connection
	// can be used again, in bytes.
	maxDrained = 64 << 10
)

// sendToQueue sends a message to a queue, as the topic: the queue's policy decides.
func (t *Topics) sendToQueue(ctx context.Context, s *Subscription, m *storedMessage) *failure {
	body, attributes, failed := t.forQueue(ctx, s, m)
	if failed != nil {
		return failed
	}
	if len(attributes) > maxQueueAttributes {
		return &failure{Code: "InvalidParameterValue", Message: "The message has more than 10 attributes, which raw message delivery cannot hand to a queue."}
	}
	in := &sqs.SendMessageInput{MessageBody: &body, MessageAttributes: attributes}
	if m.content.GroupID != "" {
		in.MessageGroupId = &m.content.GroupID
	}
	return t.send(ctx, s, m, s.Endpoint, in)
}

// forQueue is what a queue gets of a message: the text and attributes themselves
// with raw message delivery, or the document.
func (t *Topics) forQueue(ctx context.Context, s *Subscription, m *storedMessage) (string, map[string]sqs.MessageAttributeValue, *failure) {
	if m.kind == kindNotification && s.raw() {
		attributes := map[string]sqs.MessageAttributeValue{}
		for name, v := range m.content.Attributes {
			wire := sqs.MessageAttributeValue{DataType: &v.Type, BinaryValue: v.Data}
			if len(v.Data) == 0 {
				wire.StringValue = &v.Text
			}
			attributes[name] = wire
		}
		return m.content.textFor(s.Protocol), attributes, nil
	}
	e, err := t.envelope(ctx, s, m)
	if err != nil {
		return "", nil, ourFault(err)
	}
	return e.JSON(), nil, nil
}

// sendDeadLetter sends what the endpoint did not take to the dead-letter queue.
// AWS: with the error in three attributes. The message's own come first where a queue
// has no room for all; more than it takes at all are left out.
func (t *Topics) sendDeadLetter(ctx context.Context, s *Subscription, m *storedMessage, queue string, why *failure) *failure {
	body, attributes, failed := t.forQueue(ctx, s, m)
	if failed != nil {
		return failed
	}
	if len(attributes) > maxQueueAttributes || attributes == nil {
		attributes = map[string]sqs.MessageAttributeValue{}
	}
	for _, e := range []struct{ name, text string }{{"ErrorCode", why.Code}, {"ErrorMessage", why.Message}, {"RequestID", why.RequestID}} {
		if _, own := attributes[e.name]; e.text != "" && !own && len(attributes) < maxQueueAttributes {
			attributes[e.name] = sqs.MessageAttributeValue{DataType: new("String"), StringValue: new(printable(e.text))}
		}
	}
	return t.send(ctx, s, m, queue, &sqs.SendMessageInput{MessageBody: &body, MessageAttributes: attributes})
}

// maxPrintable bounds what is repeated of an endpoint's words, in bytes.
const maxPrintable = 1024

// printable is text that a queue takes.
func printable(s string) string {
	if len(s) > maxPrintable {
		s = s[:maxPrintable]
	}
	return strings.Map(func(r rune) rune {
		if validText(string(r)) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
}

func (t *Topics) send(ctx context.Context, s *Subscription, m *storedMessage, queue string, in *sqs.SendMessageInput) *failure {
	q, ok := parseQueueARN(queue)
	if !ok {
		return &failure{Code: "InvalidParameterValue", Message: queue + " is not the ARN of a queue."}
	}
	in.QueueUrl = new("https://sqs." + q.region + ".amazonaws.com/" + q.account + "/" + q.name)
	if m.content.Trace != "" {
		in.MessageSystemAttributes = map[string]sqs.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: new("String"), StringValue: &m.content.Trace},
		}
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	ctx, requestID := asTopic(ctx, s, q.region, "sqs", "SendMessage")
	_, err := t.opt.Queues.SendMessage(ctx, in)
	if errors.Is(err, context.DeadlineExceeded) {
		return &failure{Code: "Timeout", Message: "The queue did not answer in time.", RequestID: requestID, Retryable: true}
	}
	return serviceFailure(err, requestID)
}

// asTopic makes the call that follows one of the topic's.
func asTopic(ctx context.Context, s *Subscription, region, service, operation string) (context.Context, string) {
	requestID := uuid.NewString()
	ctx = awsapi.WithCaller(ctx, awsapi.Caller{
		Account: s.Topic.Account, Region: region, Role: string(auth.Operator),
		Service: service, Operation: operation, RequestID: requestID,
	})
	return auth.WithSource(ctx, auth.Source{Service: servicePrincipal, ARN: s.Topic.ARN(), Account: s.Topic.Account}), requestID
}

// serviceFailure tells refusals, which are final, from trouble, which passes. AWS:
// client-side errors are not retried.
func serviceFailure(err error, requestID string) *failure {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok {
		f := ourFault(err)
		f.RequestID = requestID
		return f
	}
	code := e.Code
	if modelled := sqs.API.Errors[code]; modelled.QueryCode != "" {
		code = modelled.QueryCode
	}
	passing := e.Fault || e.Status >= http.StatusInternalServerError || strings.Contains(code, "Throttl") || code == "TooManyRequestsException" || code == "OverLimit"
	return &failure{Code: code, Message: e.Message, RequestID: requestID, Retryable: passing}
}

// ourFault is a failure that is not the endpoint's: it is retried.
func ourFault(err error) *failure {
	return &failure{Code: "InternalError", Message: err.Error(), Retryable: true}
}

// callEndpoint posts a message to an http or https endpoint. AWS: 5xx and 429 are
// retried, all other statuses but 2xx are final.
func (t *Topics) callEndpoint(ctx context.Context, s *Subscription, m *storedMessage, policy deliveryPolicy) *failure {
	raw := m.kind == kindNotification && s.raw()
	body := m.content.textFor(s.Protocol)
	if !raw {
		e, err := t.envelope(ctx, s, m)
		if err != nil {
			return ourFault(err)
		}
		body = e.JSON()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint, strings.NewReader(body))
	if err != nil {
		return &failure{Code: "InvalidEndpoint", Message: err.Error()}
	}
	h := req.Header
	h.Set("User-Agent", "Amazon Simple Notification Service Agent")
	h.Set("Content-Type", policy.ContentType)
	h["x-amz-sns-message-type"] = []string{m.kind}
	h["x-amz-sns-message-id"] = []string{m.messageID}
	h["x-amz-sns-topic-arn"] = []string{s.Topic.ARN()}
	if m.kind != kindConfirmation {
		h["x-amz-sns-subscription-arn"] = []string{s.ARN()}
	}
	if raw {
		h["x-amz-sns-rawdelivery"] = []string{"true"}
	}
	resp, err := t.opt.HTTP.Do(req)
	if err != nil {
		return &failure{Code: "ConnectionFailure", Message: err.Error(), Retryable: true, silent: true}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrained) // what it says is not looked at
	status := resp.StatusCode
	if status >= 200 && status <= 299 {
		return nil
	}
	return &failure{
		Code: strconv.Itoa(status), Message: "The endpoint answered " + resp.Status + ".",
		Retryable: status >= http.StatusInternalServerError || status == http.StatusTooManyRequests,
	}
}

// invokeFunction hands a message to a function, as the event that AWS's functions get.
func (t *Topics) invokeFunction(ctx context.Context, s *Subscription, m *storedMessage) *failure {
	if t.opt.Functions == nil {
		return &failure{Code: "ResourceNotFoundException", Message: "There is no service of functions."}
	}
	e, err := t.envelope(ctx, s, m)
	if err != nil {
		return ourFault(err)
	}
	payload, err := e.functionEvent(s)
	if err != nil {
		return ourFault(err)
	}
	ctx, cancel := context.WithTimeout(ctx, serviceTimeout)
	defer cancel()
	ctx, requestID := asTopic(ctx, s, strings.Split(s.Endpoint, ":")[3], "lambda", "Invoke")
	return serviceFailure(t.opt.Functions.Invoke(ctx, s.Endpoint, payload), requestID)
}

// functionEvent is the event of a notification. AWS: with some names of its own.
func (e *envelope) functionEvent(s *Subscription) ([]byte, error) {
	type value struct{ Type, Value string }
	attributes := map[string]value{}
	for name, v := range e.Attributes {
		// AWS: functions get numbers and lists as strings.
		kind := "String"
		if len(v.Data) > 0 {
			kind = "Binary"
		}
		attributes[name] = value{kind, v.wire()}
	}
	type record struct {
		EventSource          string
		EventVersion         string
		EventSubscriptionArn string
		Sns                  any
	}
	return json.Marshal(map[string]any{"Records": []record{{"aws:sns", "1.0", s.ARN(), struct {
		Type, MessageId, TopicArn string
		Subject                   *string
		Message, Timestamp        string
		SignatureVersion          string
		Signature                 string
		SigningCertUrl            string
		UnsubscribeUrl            string
		MessageAttributes         map[string]value
	}{
		e.Type, e.MessageID, e.TopicARN, e.Subject, e.Message, e.Timestamp, e.SignatureVersion, e.Signature, e.CertificateURL, e.UnsubscribeURL, attributes,
	}}}})
}
