package target

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/bus"
)

// AWS: the trace header is part of the SendMessage that dead-letters an event.
func TestADeadLetterCarriesTheTraceHeaderAndNoOtherAttribute(t *testing.T) {
	q := &queues{}
	a := attemptAt("arn:aws:lambda:us-east-1:111122223333:function:gone", bus.KindFunction, nil)
	a.Subscription.Target.DeadLetterARN, a.Record.Trace = queueARN, "Root=1-2-3"
	if err := withQueues(q).DeadLetter(t.Context(), a, DeadLetterReason{Code: CodeNoResource, Message: "gone"}); err != nil {
		t.Fatal(err)
	}
	if got := q.in.MessageSystemAttributes["AWSTraceHeader"].StringValue; got == nil || *got != "Root=1-2-3" {
		t.Errorf("the trace header is %v", got)
	}
	if len(q.in.MessageAttributes) != 4 {
		t.Errorf("the attributes are %v", q.in.MessageAttributes)
	}
	a.Record.Trace = ""
	if err := withQueues(q).DeadLetter(t.Context(), a, DeadLetterReason{}); err != nil || q.in.MessageSystemAttributes != nil {
		t.Errorf("without a trace it has %v, %v", q.in.MessageSystemAttributes, err)
	}
}
