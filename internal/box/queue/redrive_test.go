package queue

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

func redrive(dead string, n int) string {
	return fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, Ref{account, region, dead}.ARN(), n)
}

func TestMessageReceivedTooOftenMovesToTheDeadLetterQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, suffix := range []string{"", ".fifo"} {
			dead := q.create("dead"+suffix, nil)
			url := q.create("orders"+suffix, map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": redrive("dead"+suffix, 2)})
			send := q.send
			if suffix != "" {
				send = func(url, body string) *sqs.SendMessageOutput { return q.sendGroup(url, "g", body) }
			}
			began := q.clock.Now()
			sent := send(url, "poison")
			for range 2 {
				q.wantBodies(q.receive(url), "poison")
				q.clock.advance(time.Second)
			}
			send(url, "good")
			q.wantBodies(q.receive(url), "good")
			got := q.receive(dead)
			q.wantBodies(got, "poison")
			a := got[0].Attributes
			if *got[0].MessageId != *sent.MessageId || a["ApproximateReceiveCount"] != "3" ||
				a["DeadLetterQueueSourceArn"] != (Ref{account, region, "orders" + suffix}).ARN() {
				t.Errorf("dead letter %v", a)
			}
			// AWS: a FIFO dead letter is enqueued anew, a standard one keeps its age.
			sentAt := began
			if suffix != "" {
				sentAt = q.clock.Now()
			}
			if want := strconv.FormatInt(sentAt.UnixMilli(), 10); a["SentTimestamp"] != want {
				t.Errorf("sent at %s, want %s", a["SentTimestamp"], want)
			}
		}
	})
}

func TestMessagesStayWhenTheDeadLetterQueueIsGone(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		dead := q.create("dead", nil)
		url := q.create("orders", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": redrive("dead", 1)})
		q.send(url, "a")
		q.receive(url)
		q.clock.advance(time.Second)
		if _, err := q.DeleteQueue(q.ctx, &sqs.DeleteQueueInput{QueueUrl: &dead}); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(url), "a")
	})
}

func TestReceiveFillsUpBehindDeadMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.create("dead", nil)
		url := q.create("orders", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": redrive("dead", 1)})
		for k := range 10 {
			q.send(url, fmt.Sprint("poison", k))
		}
		q.receive(url)
		q.clock.advance(time.Second)
		q.send(url, "good")
		q.wantBodies(q.receive(url), "good")
	})
}

func TestRedrivePolicyIsChecked(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.create("dead", nil)
		q.create("dead.fifo", nil)
		q.create("closed", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
		q.create("chosen", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"byQueue","sourceQueueArns":["` + Ref{account, region, "orders"}.ARN() + `"]}`})
		arn := Ref{account, region, "dead"}.ARN()
		tests := []struct{ policy, reason string }{
			{redrive("dead", 1), ""},
			{`{"deadLetterTargetArn":"` + arn + `","maxReceiveCount":"3"}`, ""},
			{redrive("chosen", 1), ""},
			{"", ""},
			{`nonsense`, "is not a valid JSON map"},
			{`{"deadLetterTargetArn":"` + arn + `"}`, "does not contain mandatory attribute: maxReceiveCount."},
			{`{"maxReceiveCount":3}`, "does not contain mandatory attribute: deadLetterTargetArn."},
			{`{"deadLetterTargetArn":"x","maxReceiveCount":3}`, "Invalid value for deadLetterTargetArn."},
			{redrive("dead", 0), "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive."},
			{redrive("dead", 1001), "valid values are from 1 to 1000"},
			{redrive("nowhere", 1), "Dead letter target does not exist."},
			{redrive("dead.fifo", 1), "must be same type of queue as the source."},
			{redrive("closed", 1), "does not have permission to use"},
			{redrive("orders", 1), "must not be the source queue itself"},
			{`{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:444455556666:dead","maxReceiveCount":3}`, "owner should be same as the source"},
			{`{"deadLetterTargetArn":"arn:aws:sqs:eu-west-2:111122223333:dead","maxReceiveCount":3}`, "same region as the source"},
		}
		url := q.create("orders", nil)
		for _, tt := range tests {
			_, err := q.SetQueueAttributes(q.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"RedrivePolicy": tt.policy}})
			if tt.reason != "" {
				wantError(t, err, "InvalidParameterValue", tt.reason)
			} else if err != nil {
				t.Errorf("%s: %v", tt.policy, err)
			}
		}
		_, err := q.SetQueueAttributes(q.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"RedrivePolicy": `{"maxReceiveCount":"7","deadLetterTargetArn":"` + arn + `"}`}})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := q.attributes(url)["RedrivePolicy"], `{"deadLetterTargetArn":"`+arn+`","maxReceiveCount":7}`; got != want {
			t.Errorf("RedrivePolicy %s, want %s", got, want)
		}
		dead := q.URL(Ref{account, region, "dead"})
		out, err := q.ListDeadLetterSourceQueues(q.ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &dead})
		if err != nil || !slices.Equal(out.QueueUrls, []string{url}) {
			t.Errorf("sources %v, %v", out, err)
		}
	})
}

// deadLetters makes a queue orders and its dead-letter queue dead, which
// holds messages a, b and c of it.
func (q *fixture) deadLetters(suffix string) (orders, dead string) {
	q.t.Helper()
	dead = q.create("dead"+suffix, nil)
	orders = q.create("orders"+suffix, map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": redrive("dead"+suffix, 1)})
	for _, body := range []string{"a", "b", "c"} {
		if suffix == "" {
			q.send(orders, body)
		} else {
			q.sendGroup(orders, "g", body)
		}
	}
	q.wantBodies(q.receive(orders), "a", "b", "c")
	q.clock.advance(time.Second)
	q.wantBodies(q.receive(orders))
	return orders, dead
}

func (q *fixture) listMoves(source string) []sqs.ListMessageMoveTasksResultEntry {
	q.t.Helper()
	out, err := q.ListMessageMoveTasks(q.ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &source, MaxResults: new(int32(10))})
	if err != nil {
		q.t.Fatal(err)
	}
	return out.Results
}

func TestMoveTaskTakesMessagesBackOrElsewhere(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, suffix := range []string{"", ".fifo"} {
			orders, _ := q.deadLetters(suffix)
			elsewhere := q.create("elsewhere"+suffix, nil)
			source := Ref{account, region, "dead" + suffix}.ARN()
			out, err := q.StartMessageMoveTask(q.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := q.StartMessageMoveTask(q.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source}); err == nil {
				t.Error("a second task was started")
			}
			if m := q.listMoves(source)[0]; *m.Status != "RUNNING" || *m.TaskHandle != *out.TaskHandle || *m.ApproximateNumberOfMessagesToMove != 3 {
				t.Errorf("task %+v", m)
			}
			if _, err := q.moveDue(q.ctx); err != nil {
				t.Fatal(err)
			}
			if m := q.listMoves(source)[0]; *m.Status != "COMPLETED" || *m.ApproximateNumberOfMessagesMoved != 3 || m.TaskHandle != nil {
				t.Errorf("task %s moved %d", *m.Status, *m.ApproximateNumberOfMessagesMoved)
			}
			got := q.receive(orders)
			q.wantBodies(got, "a", "b", "c")
			if got[0].Attributes["ApproximateReceiveCount"] != "1" {
				t.Errorf("a moved message counts receives from the start: %v", got[0].Attributes)
			}
			q.clock.advance(time.Second)
			q.wantBodies(q.receive(orders)) // they died again
			if _, err := q.StartMessageMoveTask(q.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source, DestinationArn: new(Ref{account, region, "elsewhere" + suffix}.ARN())}); err != nil {
				t.Fatal(err)
			}
			if _, err := q.moveDue(q.ctx); err != nil {
				t.Fatal(err)
			}
			q.wantBodies(q.receive(elsewhere), "a", "b", "c")
		}
	})
}

func TestMoveTaskKeepsItsRateAndCanBeCancelled(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.deadLetters("")
		source := Ref{account, region, "dead"}.ARN()
		out, err := q.StartMessageMoveTask(q.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source, MaxNumberOfMessagesPerSecond: new(int32(1))})
		if err != nil {
			t.Fatal(err)
		}
		for want := int64(1); want <= 2; want++ {
			next, err := q.moveDue(q.ctx)
			if err != nil || next.Sub(q.clock.Now()) != time.Second {
				t.Fatalf("the next message is due at %v, %v", next, err)
			}
			if m := q.listMoves(source)[0]; *m.ApproximateNumberOfMessagesMoved != want {
				t.Errorf("moved %d messages, want %d", *m.ApproximateNumberOfMessagesMoved, want)
			}
			q.clock.advance(time.Second)
		}
		cancelled, err := q.CancelMessageMoveTask(q.ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: out.TaskHandle})
		if err != nil || *cancelled.ApproximateNumberOfMessagesMoved != 2 {
			t.Fatalf("cancelled %v, %v", cancelled, err)
		}
		if _, err := q.moveDue(q.ctx); err != nil {
			t.Fatal(err)
		}
		if m := q.listMoves(source)[0]; *m.Status != "CANCELLED" || *m.ApproximateNumberOfMessagesMoved != 2 {
			t.Errorf("task %s moved %d", *m.Status, *m.ApproximateNumberOfMessagesMoved)
		}
	})
}

func TestMoveTaskIsChecked(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.create("plain", nil)
		dead := q.create("dead", nil)
		q.create("orders", map[string]string{"RedrivePolicy": redrive("dead", 1)})
		start := func(source, destination string) error {
			in := &sqs.StartMessageMoveTaskInput{SourceArn: new(Ref{account, region, source}.ARN())}
			if destination != "" {
				in.DestinationArn = new(Ref{account, region, destination}.ARN())
			}
			_, err := q.StartMessageMoveTask(q.ctx, in)
			return err
		}
		wantError(t, start("nowhere", ""), "ResourceNotFoundException", "SourceArn parameter doesn't exist")
		wantError(t, start("plain", ""), "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
		wantError(t, start("dead", "nowhere"), "ResourceNotFoundException", "DestinationArn parameter doesn't exist")
		wantError(t, start("dead", "dead"), "InvalidParameterValue", "must not be the same")
		q.send(dead, "not a dead letter")
		if err := start("dead", ""); err != nil {
			t.Fatal(err)
		}
		if _, err := q.moveDue(q.ctx); err != nil {
			t.Fatal(err)
		}
		if m := q.listMoves(Ref{account, region, "dead"}.ARN())[0]; *m.Status != "FAILED" || *m.FailureReason != "CouldNotDetermineMessageSource" {
			t.Errorf("task %+v", m)
		}
		q.wantBodies(q.receive(dead), "not a dead letter")
	})
}

func TestRunMovesAndSweeps(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.opt.Now = time.Now
		dead := q.create("dead", nil)
		orders := q.create("orders", map[string]string{"RedrivePolicy": redrive("dead", 1), "VisibilityTimeout": "0"})
		q.send(orders, "a")
		q.receive(orders)
		q.receive(orders)
		ran := q.start()
		if _, err := q.StartMessageMoveTask(q.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: new(Ref{account, region, "dead"}.ARN())}); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &orders, WaitTimeSeconds: new(int32(20))}), "a")
		q.wantBodies(q.receive(dead))
		ran()
	})
}

func TestDeadLetterComesBehindItsGroupInFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		dead := q.create("dead.fifo", nil)
		orders := q.create("orders.fifo", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": redrive("dead.fifo", 1)})
		q.sendGroup(orders, "g", "older")
		q.sendGroup(dead, "g", "first-here")
		inFlight := q.receive(dead)
		q.wantBodies(inFlight, "first-here")
		q.receive(orders)
		q.clock.advance(time.Second)
		q.wantBodies(q.receive(orders))
		if err := q.visibility(dead, inFlight[0], 60); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(dead)) // the group is locked
		if err := q.delete(dead, inFlight[0]); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(dead), "older")
	})
}

func TestMoveTaskGivesNoNewLifeToWhatIsPastItsRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, suffix := range []string{"", ".fifo"} {
			orders, dead := q.deadLetters(suffix)
			// Received late, so that it stays past its time until someone meets it.
			q.clock.advance(4*24*time.Hour - 10*time.Second)
			q.wantBodies(q.receive(dead), "a", "b", "c")
			q.clock.advance(time.Minute)
			source := Ref{account, region, "dead" + suffix}.ARN()
			if _, err := q.StartMessageMoveTask(q.ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &source}); err != nil {
				t.Fatal(err)
			}
			if _, err := q.moveDue(q.ctx); err != nil {
				t.Fatal(err)
			}
			if m := q.listMoves(source)[0]; *m.Status != "COMPLETED" || *m.ApproximateNumberOfMessagesMoved != 0 {
				t.Errorf("task %s moved %d", *m.Status, *m.ApproximateNumberOfMessagesMoved)
			}
			q.wantBodies(q.receive(orders))
		}
	})
}

func TestOldMoveTasksAreForgotten(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.deadLetters("")
		source := Ref{account, region, "dead"}
		for range keepMoves + 5 {
			q.clock.advance(time.Second)
			if _, err := q.StartMove(q.ctx, source, "", 0); err != nil {
				t.Fatal(err)
			}
			if _, err := q.moveDue(q.ctx); err != nil {
				t.Fatal(err)
			}
		}
		all, err := q.Moves(q.ctx, source, 100)
		if err != nil || len(all) != keepMoves {
			t.Errorf("%d tasks are kept, want %d; %v", len(all), keepMoves, err)
		}
	})
}
