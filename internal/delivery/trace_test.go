package delivery_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/target"
)

// steps is a tracer that keeps what it is told, by event.
type steps struct {
	mu   sync.Mutex
	told map[string][]string
	last map[string]delivery.Step
}

func traced() (*steps, func(*node, *delivery.Options)) {
	s := &steps{told: map[string][]string{}, last: map[string]delivery.Step{}}
	return s, func(_ *node, o *delivery.Options) { o.Trace = s }
}

func (s *steps) Routed(_ uint64, _ int, rec *event.Record, matched []*bus.Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[rec.ID] = append(s.told[rec.ID], fmt.Sprint("routed to ", len(matched)))
}

func (s *steps) Step(x delivery.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[delivery.StepKind]string{
		delivery.StepAttempt: "attempt", delivery.StepParked: "parked", delivery.StepLeft: "left", delivery.StepDeadLettered: "dead-lettered",
		delivery.StepDeadLetterFailed: "dead letter failed", delivery.StepKept: "kept", delivery.StepDropped: "dropped",
		delivery.StepCancelled: "cancelled", delivery.StepRedriven: "redriven",
	}
	text := fmt.Sprint(names[x.Kind], " ", x.Attempt)
	if x.Failure != nil {
		text += " " + x.Failure.Code
	}
	s.told[x.Record.ID] = append(s.told[x.Record.ID], text)
	s.last[x.Record.ID] = x
}

func (s *steps) of(id string) (told string, last delivery.Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.told[id], ", "), s.last[id]
}

// until waits for the story of an event.
func (s *steps) until(t *testing.T, n *node, id, want string) delivery.Step {
	t.Helper()
	n.endpoints.until(t, "the story of the event", func(*endpoints) bool {
		told, _ := s.of(id)
		if len(told) >= len(want) && told != want {
			t.Fatalf("the tracer was told: %s\nwant: %s", told, want)
		}
		return told == want
	})
	_, last := s.of(id)
	return last
}

func TestTheTracerIsToldOfEachStep(t *testing.T) {
	t.Parallel()
	s, edit := traced()
	n := newNode(t, edit)
	for _, rule := range []string{"flaky", "gone", "down", "good"} {
		n.rule(rule, func(r *bus.RuleTarget) { r.HasRetryPolicy, r.MaximumRetryAttempts = true, new(int32(1)) })
	}
	n.endpoints.behaves(queueARN("flaky"), func(_ context.Context, i int) error {
		if i == 1 {
			return &target.Failure{Code: target.CodeErrorFromTarget, Message: "busy", Retryable: true, Status: 503}
		}
		return nil
	})
	n.endpoints.behaves(queueARN("gone"), func(context.Context, int) error {
		return &target.Failure{Code: target.CodeNoResource, Message: "no such queue"}
	})
	n.endpoints.behaves(queueARN("down"), func(context.Context, int) error { return retryable("down") })
	good, flaky, gone, down, nobody := n.put("good", 1)[0], n.put("flaky", 1)[0], n.put("gone", 1)[0], n.put("down", 1)[0], n.put("nobody", 1)[0]

	s.until(t, n, nobody, "routed to 0")
	s.until(t, n, good, "routed to 1, attempt 1")
	s.until(t, n, flaky, "routed to 1, attempt 1 ERROR_FROM_TARGET, parked 1, attempt 2")
	last := s.until(t, n, gone, "routed to 1, attempt 1 NO_RESOURCE, dead-lettered 1 NO_RESOURCE")
	if last.To != queueARN("dead") || last.Exhausted != "" || last.Sequence == 0 || last.Subscription.RuleName != "gone" {
		t.Errorf("given up: %+v", last)
	}
	last = s.until(t, n, down, "routed to 1, attempt 1 ERROR_FROM_TARGET, parked 1, attempt 2 ERROR_FROM_TARGET, dead-lettered 2 ERROR_FROM_TARGET")
	if last.Exhausted != "MaximumRetryAttempts" {
		t.Errorf("retries ran out: %+v", last)
	}
}

func TestADeliveryThatWaitsSaysWhereAndUntilWhen(t *testing.T) {
	t.Parallel()
	s, edit := traced()
	n := newNode(t, edit)
	n.rule("down", nil)
	n.endpoints.behaves(queueARN("down"), func(context.Context, int) error { return retryable("down") })
	first := n.put("down", 1)[0]
	parked := s.until(t, n, first, "routed to 1, attempt 1 ERROR_FROM_TARGET, parked 1")
	ctx := context.Background()
	w, err := n.delivery.Waits(ctx, parked.Subscription.ID, parked.Sequence, parked.Index)
	if err != nil || !w.Parked || w.Due.Sub(parked.Until).Abs() > 2*time.Second {
		t.Errorf("parked until %s, and waits: %+v, %v", parked.Until, w, err)
	}
	if w, err = n.delivery.Waits(ctx, parked.Subscription.ID+1, parked.Sequence, parked.Index); err != nil || w != (delivery.Wait{}) {
		t.Errorf("another subscription: %+v, %v", w, err)
	}

	ids := n.put("down", 2000)
	var left delivery.Step
	n.endpoints.until(t, "an event left in the log", func(*endpoints) bool {
		var told string
		told, left = s.of(ids[len(ids)-1])
		return strings.HasSuffix(told, "left 0")
	})
	n.endpoints.until(t, "the row that says so", func(*endpoints) bool {
		w, err = n.delivery.Waits(ctx, left.Subscription.ID, left.Sequence, left.Index)
		return err == nil && w.InLog
	})
	if w.ReaderAt == 0 || w.ReaderAt > left.Sequence {
		t.Errorf("left in batch %d, and waits: %+v", left.Sequence, w)
	}
	if err := n.buses.RemoveTargets(ctx, testBus, "down", []string{"q"}); err != nil {
		t.Fatal(err)
	}
	n.endpoints.until(t, "the end of what waited", func(*endpoints) bool {
		w, err = n.delivery.Waits(ctx, left.Subscription.ID, left.Sequence, left.Index)
		return err == nil && w == delivery.Wait{}
	})
}
