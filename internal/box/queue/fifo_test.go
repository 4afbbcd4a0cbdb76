package queue

import (
	"fmt"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

func TestGroupKeepsItsOrderAndWaitsForWhatIsInFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", map[string]string{"VisibilityTimeout": "30"})
		for _, m := range [][2]string{{"a", "a1"}, {"a", "a2"}, {"b", "b1"}, {"a", "a3"}} {
			q.sendGroup(url, m[0], m[1])
		}
		one := func() []sqs.Message {
			return q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &url})
		}
		first := one()
		q.wantBodies(first, "a1")
		second := one()
		q.wantBodies(second, "b1") // a is locked
		q.wantBodies(one())
		q.clock.advance(time.Second)
		if err := q.delete(url, first[0]); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(url), "a2", "a3")
		q.clock.advance(30 * time.Second)
		q.wantBodies(q.receive(url), "b1", "a2", "a3")
	})
}

func TestGroupIsLockedUntilTheLastOfABatchIsSettled(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", nil)
		for _, body := range []string{"1", "2", "3"} {
			q.sendGroup(url, "g", body)
		}
		got := q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: new(int32(2))})
		q.wantBodies(got, "1", "2")
		if err := q.visibility(url, got[0], 0); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(url)) // 2 is still in flight
		if err := q.delete(url, got[1]); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(url), "1", "3")
	})
}

func TestDuplicatesAreAcceptedAndNotDelivered(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", nil)
		send := func(group, dedup, body string) *sqs.SendMessageOutput {
			t.Helper()
			out, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &dedup})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		first := send("g", "d", "a")
		again := send("h", "d", "b")
		if *again.MessageId != *first.MessageId || *again.SequenceNumber != *first.SequenceNumber {
			t.Errorf("duplicate %s %s, first %s %s", *again.MessageId, *again.SequenceNumber, *first.MessageId, *first.SequenceNumber)
		}
		got := q.receive(url)
		q.wantBodies(got, "a")
		if err := q.delete(url, got[0]); err != nil {
			t.Fatal(err)
		}
		send("g", "d", "still a duplicate")
		q.wantBodies(q.receive(url))
		q.wantRows("queue_group", 0)
		q.clock.advance(dedupInterval)
		later := send("g", "d", "new")
		if *later.SequenceNumber <= *first.SequenceNumber || len(*later.SequenceNumber) != 20 {
			t.Errorf("sequence numbers %s, then %s", *first.SequenceNumber, *later.SequenceNumber)
		}
		q.wantBodies(q.receive(url), "new")
	})
}

func TestDeduplicationByContentAndByGroup(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", map[string]string{
			"ContentBasedDeduplication": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
		})
		for _, group := range []string{"g", "h", "g"} {
			if _, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("same"), MessageGroupId: &group}); err != nil {
				t.Fatal(err)
			}
		}
		got := q.receive(url)
		q.wantBodies(got, "same", "same")
		if got[0].Attributes["MessageGroupId"] == got[1].Attributes["MessageGroupId"] {
			t.Errorf("received %v and %v", got[0].Attributes, got[1].Attributes)
		}
		if want := "0967115f2813a3541eaef77de9d9d5773f1c0c04314b0bbfe4ff3b3b1c55b5d5"; got[0].Attributes["MessageDeduplicationId"] != want {
			t.Errorf("deduplication id %s, want %s", got[0].Attributes["MessageDeduplicationId"], want)
		}
	})
}

func TestRepeatedAttemptReceivesTheSame(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", map[string]string{"VisibilityTimeout": "30"})
		q.sendGroup(url, "g", "1")
		q.sendGroup(url, "g", "2")
		attempt := func(id string) []sqs.Message {
			return q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: new(int32(10)), ReceiveRequestAttemptId: &id})
		}
		first := attempt("try")
		q.wantBodies(first, "1", "2")
		q.clock.advance(20 * time.Second)
		again := attempt("try")
		q.wantBodies(again, "1", "2")
		if *again[0].ReceiptHandle != *first[0].ReceiptHandle {
			t.Error("the repeated attempt has another handle")
		}
		q.clock.advance(20 * time.Second)
		q.wantBodies(attempt("other")) // the repetition began the timeout anew
		if err := q.delete(url, again[0]); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(attempt("try")) // a part is gone: a receive of its own, and the group is locked
	})
}

func TestFIFOHandleExpires(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", map[string]string{"VisibilityTimeout": "30"})
		q.sendGroup(url, "g", "1")
		m := q.receive(url)[0]
		q.clock.advance(30 * time.Second)
		wantError(t, q.delete(url, m), "InvalidParameterValue", "The receipt handle has expired.")
		m = q.receive(url)[0]
		if err := q.delete(url, m); err != nil {
			t.Fatal(err)
		}
		if err := q.delete(url, m); err != nil {
			t.Errorf("deleting again: %v", err)
		}
		q.wantRows("queue_group", 0)
	})
}

func TestFIFOQueueDelay(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", map[string]string{"DelaySeconds": "10"})
		q.sendGroup(url, "g", "1")
		q.clock.advance(5 * time.Second)
		q.sendGroup(url, "g", "2")
		q.wantBodies(q.receive(url))
		q.clock.advance(5 * time.Second)
		got := q.receive(url)
		q.wantBodies(got, "1") // 2 is still delayed
		if err := q.delete(url, got[0]); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(url))
		q.clock.advance(5 * time.Second)
		q.wantBodies(q.receive(url), "2")
	})
}

func TestConcurrentReceiversKeepTheOrderOfGroups(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		const groups, each, receivers = 5, 12, 8
		url := q.create("orders.fifo", map[string]string{"VisibilityTimeout": "3600"})
		for k := range each {
			for g := range groups {
				q.sendGroup(url, fmt.Sprint("g", g), fmt.Sprintf("%d-%03d", g, k))
			}
		}
		type receipt struct{ group, body string }
		got := make(chan receipt, groups*each)
		errs := make(chan error, receivers)
		for range receivers {
			go func() {
				errs <- func() error {
					for len(got) < groups*each {
						out, err := q.ReceiveMessage(q.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: new(int32(3)), MessageSystemAttributeNames: []string{"MessageGroupId"}})
						if err != nil {
							return err
						}
						for _, m := range out.Messages {
							got <- receipt{m.Attributes["MessageGroupId"], *m.Body}
						}
						for _, m := range out.Messages {
							if err := q.delete(url, m); err != nil {
								return err
							}
						}
					}
					return nil
				}()
			}()
		}
		for range receivers {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		close(got)
		last := map[string]string{}
		n := 0
		for r := range got {
			if n++; r.body <= last[r.group] {
				t.Errorf("%s came after %s", r.body, last[r.group])
			}
			last[r.group] = r.body
		}
		if n != groups*each {
			t.Errorf("received %d messages, want %d", n, groups*each)
		}
	})
}
