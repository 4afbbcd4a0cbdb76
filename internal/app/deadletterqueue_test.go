package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// rawMessage takes the next message off a queue, with all that came with it.
func (c *caller) rawMessage(queueURL string) sqstypes.Message {
	c.t.Helper()
	var message sqstypes.Message
	eventually(c.t, "a message", func() bool {
		out, err := c.queues().ReceiveMessage(c.t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: &queueURL, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{sqstypes.MessageSystemAttributeNameAll},
		})
		if err != nil {
			c.t.Fatal(err)
		}
		if len(out.Messages) > 0 {
			message = out.Messages[0]
		}
		return len(out.Messages) > 0
	})
	return message
}

// A template that comes out as no JSON: the broken text is what is dead-lettered, with
// AWS's four attributes; the trace header goes with it.
func TestABrokenTemplateIsDeadLetteredAsItCameOut(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("111122223333", "us-east-1")
	dead := c.queue("dead")
	c.queue("target")
	c.putRule("", "broken", `{"source":["shop"]}`, ebtypes.Target{
		Id: aws.String("t"), Arn: aws.String(c.queueARN("target")), DeadLetterConfig: c.deadLetters("dead"),
		InputTransformer: &ebtypes.InputTransformer{InputTemplate: aws.String(`{"v":<undefined>,"é":"订单"}`)},
	})
	const trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	_, err := c.events().PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
		Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String("{}"), TraceHeader: aws.String(trace),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	m := c.rawMessage(dead)
	if *m.Body != `{"v":<undefined>,"é":"订单"}` {
		t.Errorf("the body is %s", *m.Body)
	}
	got := map[string]string{}
	for name, value := range m.MessageAttributes {
		got[name] = *value.StringValue
	}
	want := map[string]string{
		"RULE_ARN": ruleARN(c, "broken"), "TARGET_ARN": c.queueARN("target"), "ERROR_CODE": "INVALID_JSON", "ERROR_MESSAGE": "Invalid input for target.",
	}
	if !maps.Equal(got, want) {
		t.Errorf("the attributes are %v\nwant %v", got, want)
	}
	if m.Attributes["AWSTraceHeader"] != trace {
		t.Errorf("the trace header is %q", m.Attributes["AWSTraceHeader"])
	}
}

// A dead-letter queue of another account takes what its policy lets in. One that
// refuses, or is not there, loses nothing here.
func TestDeadLetterQueuesOfAnotherAccountAndThoseThatRefuse(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c, other := s.caller("111122223333", "us-east-1"), s.caller("444455556666", "us-east-1")
	dead := other.queue("dead")
	rule := func(name, deadLetters string) {
		c.putRule("", name, fmt.Sprintf(`{"detail-type":[%q]}`, name), ebtypes.Target{
			Id: aws.String("t"), Arn: aws.String(c.queueARN("missing")), DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: &deadLetters},
		})
	}
	rule("denied", other.queueARN("dead"))
	rule("allowed", other.queueARN("dead"))
	rule("gone", c.queueARN("gone"))
	document := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},
		"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":%q}}}]}`, ruleARN(c, "allowed"))
	_, err := other.queues().SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &dead, Attributes: map[string]string{"Policy": document}})
	if err != nil {
		t.Fatal(err)
	}
	allowed := c.put("shop", "allowed", "{}")[0]
	other.deadLetter(dead, allowed, map[string]string{
		"RULE_ARN": ruleARN(c, "allowed"), "TARGET_ARN": c.queueARN("missing"), "ERROR_CODE": "NO_RESOURCE", "ERROR_MESSAGE": "NonExistentQueue",
	})

	kept := map[string]string{c.put("shop", "denied", "{}")[0]: "NO_PERMISSIONS: ", c.put("shop", "gone", "{}")[0]: "NO_RESOURCE: "}
	type letter struct {
		EventID    string `json:"event_id"`
		Code       string `json:"code"`
		QueueError string `json:"dead_letter_queue_error"`
	}
	var letters struct{ List []letter }
	eventually(t, "dead letters of what the queues did not take", func() bool {
		if err := json.Unmarshal(s.rest(t, "GET", "/v1/dead-letters", c.account, nil).Body, &letters); err != nil {
			t.Fatal(err)
		}
		return len(letters.List) == len(kept)
	})
	for _, l := range letters.List {
		want := kept[l.EventID]
		if want == "" || l.Code != "NO_RESOURCE" || len(l.QueueError) <= len(want) || l.QueueError[:len(want)] != want {
			t.Errorf("got %+v, want a queue error that begins with %q", l, want)
		}
	}
}
