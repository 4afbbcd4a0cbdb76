package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/rogpeppe/go-internal/testscript"
)

const scriptRegion = "us-east-1"

func scriptEvents(ts *testscript.TestScript) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: scriptRegion, BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
}

func scriptQueues(ts *testscript.TestScript) *sqs.Client {
	return sqs.New(sqs.Options{Region: scriptRegion, BaseEndpoint: aws.String(ts.Getenv("RIALTO_SERVER")), Credentials: scriptCredentials})
}

// scriptQueueRule makes a rule that sends the events of the source of its name to the
// queue of its name, whether there is one or not.
func scriptQueueRule(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: queuerule NAME")
	}
	ctx, c, name := context.Background(), scriptEvents(ts), args[0]
	_, err := c.PutRule(ctx, &eventbridge.PutRuleInput{Name: &name, EventPattern: aws.String(fmt.Sprintf(`{"source":[%q]}`, name))})
	ts.Check(err)
	_, err = c.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: &name, Targets: []ebtypes.Target{{
		Id: aws.String("queue"), Arn: aws.String("arn:aws:sqs:" + scriptRegion + ":" + demoAccount + ":" + name),
	}}})
	ts.Check(err)
}

func scriptDeleteRule(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: deleterule NAME")
	}
	ctx, c := context.Background(), scriptEvents(ts)
	_, err := c.RemoveTargets(ctx, &eventbridge.RemoveTargetsInput{Rule: &args[0], Ids: []string{"queue"}})
	ts.Check(err)
	_, err = c.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: &args[0]})
	ts.Check(err)
}

func scriptCreateQueue(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: createqueue NAME")
	}
	_, err := scriptQueues(ts).CreateQueue(context.Background(), &sqs.CreateQueueInput{QueueName: &args[0]})
	ts.Check(err)
}

// scriptReceived waits for a message with the text in a queue.
func scriptReceived(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: received QUEUE TEXT")
	}
	c := scriptQueues(ts)
	at, err := c.GetQueueUrl(context.Background(), &sqs.GetQueueUrlInput{QueueName: &args[0]})
	ts.Check(err)
	deadline := time.Now().Add(awaitTime)
	for time.Now().Before(deadline) {
		out, err := c.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: at.QueueUrl, WaitTimeSeconds: 1})
		ts.Check(err)
		for _, m := range out.Messages {
			if strings.Contains(*m.Body, args[1]) {
				return
			}
		}
	}
	ts.Fatalf("waited in vain for %s in queue %s", args[1], args[0])
}

func TestTimesAreGivenAsSuchOrAsHowLongAgo(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2h": "2026-03-10T10:00:00Z", "3d": "2026-03-07T12:00:00Z", "90s": "2026-03-10T11:58:30Z", "0d": "2026-03-10T12:00:00Z",
		"2026-01-15T21:29:54Z": "2026-01-15T21:29:54Z", "2026-01-15T22:29:54+01:00": "2026-01-15T21:29:54Z",
	} {
		got, err := timeOrAgo(text, now)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%s is %s, want %s: %v", text, got, want, err)
		}
	}
	for _, text := range []string{"", "yesterday", "-2h", "-1d", "3 days", "2026-01-15", "d", "99999999d"} {
		if got, err := timeOrAgo(text, now); err == nil {
			t.Errorf("%q is %s, want an error", text, got)
		}
	}
}
