package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/target"
)

// keeping gives a node a built-in store of dead letters.
func keeping(_ *node, o *delivery.Options) {
	o.DeadLetters = delivery.DeadLetterLimits{Age: 14 * 24 * time.Hour, Bytes: 1 << 30}
}

func withoutQueue(r *bus.RuleTarget) { r.DeadLetterARN = "" }

// letters waits until there are so many dead letters and returns them, the newest
// first.
func (n *node) letters(count int) []delivery.DeadLetter {
	n.t.Helper()
	var list []delivery.DeadLetter
	n.endpoints.until(n.t, fmt.Sprint(count, " dead letters"), func(*endpoints) bool {
		var err error
		list, _, err = n.delivery.DeadLetterPage(context.Background(), testBus.Account, delivery.DeadLetterFilter{}, "", 100)
		if err != nil {
			n.t.Fatal(err)
		}
		return len(list) == count
	})
	return list
}

func (n *node) letter(id int64) *delivery.DeadLetter {
	n.t.Helper()
	l, err := n.delivery.DeadLetter(context.Background(), testBus.Account, id)
	if err != nil {
		n.t.Fatal(err)
	}
	return l
}

func final(code, message string) func(context.Context, int) error {
	return func(context.Context, int) error { return &target.Failure{Code: code, Message: message} }
}

func TestWhatIsGivenUpWithoutAQueueIsKept(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("gone", withoutQueue)
	n.rule("down", func(r *bus.RuleTarget) {
		withoutQueue(r)
		r.HasRetryPolicy, r.MaximumRetryAttempts = true, new(int32(1))
	})
	n.endpoints.behaves(queueARN("gone"), final(target.CodeNoResource, "no such queue"))
	n.endpoints.behaves(queueARN("down"), down)
	before := time.Now()
	ids := append(n.put("gone", 1), n.put("down", 1)...)
	n.letters(2)
	n.ackedThrough()
	for i, want := range []delivery.DeadLetter{
		{RuleName: "gone", Code: target.CodeNoResource, Message: "no such queue", Attempts: 1},
		{RuleName: "down", Code: target.CodeErrorFromTarget, Message: "down", Exhausted: "MaximumRetryAttempts", Attempts: 2},
	} {
		list, _, err := n.delivery.DeadLetterPage(t.Context(), testBus.Account, delivery.DeadLetterFilter{EventID: ids[i]}, "", 10)
		if err != nil || len(list) != 1 {
			t.Fatal(list, err)
		}
		l := n.letter(list[0].ID)
		if l.RuleName != want.RuleName || l.Code != want.Code || l.Message != want.Message || l.Exhausted != want.Exhausted || l.Attempts != want.Attempts {
			t.Errorf("got %+v\nwant %+v", l, want)
		}
		if l.EventID != ids[i] || l.Record.ID != ids[i] || l.Source != want.RuleName || l.DetailType != "test" || l.Body != nil || l.Redriven != 0 || l.QueueARN != "" {
			t.Errorf("got %+v", l)
		}
		if l.FirstAttempt().Before(before.Add(-time.Millisecond)) || l.LastAttempt().Before(l.FirstAttempt()) || l.At.Before(l.LastAttempt()) {
			t.Errorf("attempts from %s to %s, given up at %s", l.FirstAttempt(), l.LastAttempt(), l.At)
		}
	}
	n.counted(2)
	if s := n.delivery.Stats(); s.Kept != 2 || s.Dropped != 0 || s.DeadLettered != 0 || s.Retried != 1 {
		t.Errorf("got %+v", s)
	}
}

// counted waits until so many letters are counted: that follows their storing.
func (n *node) counted(letters int64) {
	n.endpoints.until(n.t, "the count of dead letters", func(*endpoints) bool { return n.delivery.Stats().Kept >= letters })
}

func TestWhatItsOwnQueueDoesNotTakeIsKept(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("gone", nil)
	n.endpoints.behaves(queueARN("gone"), final(target.CodeNoResource, "no such queue"))
	n.endpoints.mu.Lock()
	n.endpoints.deadErr = &target.Failure{Code: target.CodeNoPermissions, Message: "denied"}
	n.endpoints.mu.Unlock()
	n.put("gone", 1)
	l := n.letters(1)[0]
	if l.Code != target.CodeNoResource || l.QueueARN != queueARN("dead") || l.QueueError != "NO_PERMISSIONS: denied" {
		t.Errorf("got %+v", l)
	}
	n.counted(1)
	if s := n.delivery.Stats(); s.Kept != 1 || s.DeadLetterFailed != 1 || s.DeadLettered != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestAQueueThatIsDownIsTriedUntilTheEventIsTooOldAndThenItIsKept(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("gone", nil)
	n.endpoints.behaves(queueARN("gone"), final(target.CodeNoResource, "no such queue"))
	n.endpoints.mu.Lock()
	n.endpoints.deadErr = retryable("the dead-letter queue is down")
	n.endpoints.mu.Unlock()
	n.put("gone", 1)
	n.endpoints.until(t, "a failed dead letter", func(*endpoints) bool { return n.delivery.Stats().DeadLetterFailed > 0 })
	if n.delivery.Stats().Kept != 0 {
		t.Error("kept at once")
	}
	n.offset.Store(int64(72 * time.Hour))
	if l := n.letters(1)[0]; l.QueueError != "ERROR_FROM_TARGET: the dead-letter queue is down" || l.Attempts != 1 {
		t.Errorf("got %+v", l)
	}
}

func TestAFullDiskLosesNoDeadLetter(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("gone", withoutQueue)
	n.endpoints.behaves(queueARN("gone"), final(target.CodeNoResource, "no such queue"))
	mend := n.refuse("dead_letter", "job", "catch_up")
	n.put("gone", 200)
	n.endpoints.until(t, "attempts", func(e *endpoints) bool { return e.tried[queueARN("gone")] > 0 })
	over := time.Now().Add(2 * delivery.Hold)
	n.endpoints.until(t, "the end of the hold", func(*endpoints) bool { return time.Now().After(over) })
	mend()
	n.endpoints.until(t, "all dead letters", func(*endpoints) bool {
		count, err := n.delivery.CountDeadLetters(t.Context(), testBus.Account, delivery.DeadLetterFilter{})
		return err == nil && count == 200
	})
	n.ackedThrough()
}

func TestThousandsOfFailuresAreKeptAndTheNeighbourDoesNotWait(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("gone", withoutQueue)
	n.rule("healthy", nil)
	n.endpoints.behaves(queueARN("gone"), final(target.CodeNoResource, "no such queue"))
	for range 20 {
		n.put("gone", 100)
		n.put("healthy", 100)
	}
	n.endpoints.until(t, "the neighbour's events", received(queueARN("healthy"), 2000))
	n.counted(2000) // asking the database all the while would hold up what is waited for
	n.endpoints.until(t, "all dead letters", func(*endpoints) bool {
		count, err := n.delivery.CountDeadLetters(t.Context(), testBus.Account, delivery.DeadLetterFilter{})
		return err == nil && count == 2000
	})
	n.ackedThrough()
}

// bodies keeps what the targets got.
type bodies struct {
	*endpoints
	mu  sync.Mutex
	all []string
}

func (b *bodies) Invoke(ctx context.Context, a target.Attempt) error {
	b.mu.Lock()
	b.all = append(b.all, string(a.Body))
	b.mu.Unlock()
	return b.endpoints.Invoke(ctx, a)
}

func (b *bodies) got() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.all...)
}

func template(text string, paths map[string]string) func(*bus.RuleTarget) {
	return func(r *bus.RuleTarget) {
		withoutQueue(r)
		r.Input = inputtransform.Input{Template: &inputtransform.Template{Paths: paths, Text: text}}
	}
}

func TestABodyIsMadeAtTheFirstAttemptAndStays(t *testing.T) {
	t.Parallel()
	var seen *bodies
	n := newNode(t, keeping, func(n *node, o *delivery.Options) {
		seen = &bodies{endpoints: n.endpoints}
		o.Targets = seen
	})
	n.rule("shop", template(`{"first":<n>}`, map[string]string{"n": "$.detail.n"}))
	release := make(chan struct{})
	n.endpoints.behaves(queueARN("shop"), func(_ context.Context, i int) error {
		if i == 1 {
			<-release
		}
		if i <= 2 {
			return retryable("down")
		}
		return &target.Failure{Code: target.CodeNoResource, Message: "gone"}
	})
	n.put("shop", 1)
	n.endpoints.until(t, "the first attempt", func(e *endpoints) bool { return e.tried[queueARN("shop")] == 1 })
	changed := bus.RuleTarget{ID: "q", ARN: queueARN("shop")}
	template(`{"second":<n>}`, map[string]string{"n": "$.detail.n"})(&changed)
	if err := n.buses.PutTargets(t.Context(), testBus, "shop", []bus.RuleTarget{changed}); err != nil {
		t.Fatal(err)
	}
	close(release)
	l := n.letter(n.letters(1)[0].ID)
	if diff := cmp.Diff([]string{`{"first":1}`, `{"first":1}`, `{"first":1}`}, seen.got()); diff != "" {
		t.Error(diff)
	}
	if string(l.Body) != `{"first":1}` || l.Attempts != 3 {
		t.Errorf("the dead letter has %q after %d attempts", l.Body, l.Attempts)
	}
	if err := n.delivery.Redrive(t.Context(), testBus.Account, l.ID); err != nil {
		t.Fatal(err)
	}
	n.endpoints.until(t, "the redriven attempt", func(e *endpoints) bool { return e.tried[queueARN("shop")] == 4 })
	if got := seen.got()[3]; got != `{"second":1}` {
		t.Errorf("the redriven delivery got %q, want what the target is now", got)
	}
}

func TestATemplateThatMakesNoJSONIsNotSentAndKeepsItsText(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("kept", template(`{"v":<undefined>}`, nil))
	n.rule("queued", func(r *bus.RuleTarget) {
		template(`{"v":<undefined>}`, nil)(r)
		r.DeadLetterARN = queueARN("dead")
	})
	n.put("kept", 1)
	queued := n.put("queued", 1)
	l := n.letter(n.letters(1)[0].ID)
	if l.Code != "INVALID_JSON" || l.Message != "Invalid input for target." || l.Exhausted != "" || l.Attempts != 0 || string(l.Body) != `{"v":<undefined>}` {
		t.Errorf("got %+v with %q", l, l.Body)
	}
	n.endpoints.until(t, "the dead letter in the queue", func(e *endpoints) bool { return len(e.dead) == 1 })
	if got, want := n.endpoints.dead[queued[0]], (target.DeadLetterReason{Code: "INVALID_JSON", Message: "Invalid input for target."}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if n.endpoints.tried[queueARN("kept")] != 0 || n.delivery.Stats().Attempts != 0 {
		t.Error("it was sent")
	}
}

func TestARedrivenEventBeginsAnew(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("shop", func(r *bus.RuleTarget) {
		withoutQueue(r)
		r.HasRetryPolicy, r.MaximumRetryAttempts, r.MaximumEventAgeSeconds = true, new(int32(1)), new(int32(60))
	})
	n.rule("neighbour", nil)
	n.endpoints.behaves(queueARN("shop"), down)
	id := n.put("shop", 1)[0]
	first := n.letters(1)[0]
	n.offset.Store(int64(2 * time.Hour)) // the event is too old by now, the redrive is not
	if err := n.delivery.Redrive(t.Context(), testBus.Account, first.ID); err != nil {
		t.Fatal(err)
	}
	if err := n.delivery.Redrive(t.Context(), testBus.Account, first.ID); !errors.Is(err, delivery.ErrNoDeadLetter) {
		t.Errorf("redriven twice: %v", err)
	}
	n.endpoints.until(t, "the attempts of the redrive", func(e *endpoints) bool { return e.tried[queueARN("shop")] == 4 })
	second := n.letters(1)[0]
	if second.ID == first.ID || second.Redriven != 1 || second.Attempts != 2 || second.Exhausted != "MaximumRetryAttempts" || second.EventID != id {
		t.Errorf("got %+v", second)
	}
	n.endpoints.behaves(queueARN("shop"), nil)
	if err := n.delivery.Redrive(t.Context(), testBus.Account, second.ID); err != nil {
		t.Fatal(err)
	}
	n.endpoints.until(t, "the event", received(queueARN("shop"), 1))
	n.letters(0)
	if got := n.endpoints.deliveries("neighbour"); got != 0 {
		t.Errorf("a redrive reached the rest of the bus %d times", got)
	}
	if s := n.delivery.Stats(); s.Redriven != 2 {
		t.Errorf("%d are counted as redriven", s.Redriven)
	}
}

func TestARedriveToADeletedTargetIsRefusedByName(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("shop", withoutQueue)
	n.endpoints.behaves(queueARN("shop"), final(target.CodeNoResource, "gone"))
	n.put("shop", 1)
	l := n.letters(1)[0]
	if err := n.buses.RemoveTargets(t.Context(), testBus, "shop", []string{"q"}); err != nil {
		t.Fatal(err)
	}
	err := n.delivery.Redrive(t.Context(), testBus.Account, l.ID)
	gone, ok := errors.AsType[*delivery.GoneError](err)
	if !ok || gone.RuleARN != l.RuleARN || gone.TargetID != "q" || !strings.Contains(err.Error(), "rule/shop") {
		t.Errorf("got %v", err)
	}
	if n.letters(1)[0].ID != l.ID {
		t.Error("the letter is gone")
	}
}

// finished waits for the end of a run.
func (n *node) finished(r *delivery.LetterRun) *delivery.LetterRun {
	n.t.Helper()
	n.endpoints.until(n.t, "the end of the run", func(*endpoints) bool {
		var err error
		if r, err = n.delivery.LetterRun(context.Background(), r.Account, r.ID); err != nil {
			n.t.Fatal(err)
		}
		return r.Status != delivery.RunRunning
	})
	return r
}

func start(t *testing.T, n *node, action delivery.RunAction, f delivery.DeadLetterFilter, rate float64) *delivery.LetterRun {
	t.Helper()
	r, err := n.delivery.StartRun(t.Context(), delivery.NewRun{Account: testBus.Account, Action: action, Filter: f, Rate: rate, Count: -1})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestARunRedrivesWhatItMeansAndRefusesWhatIsGone(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	for _, rule := range []string{"mended", "deleted", "other"} {
		n.rule(rule, withoutQueue)
		n.endpoints.behaves(queueARN(rule), final(target.CodeNoResource, "gone"))
	}
	mended := n.put("mended", 70) // more than one step
	n.put("deleted", 3)
	n.put("other", 5)
	n.endpoints.until(t, "the dead letters", func(*endpoints) bool {
		count, err := n.delivery.CountDeadLetters(t.Context(), testBus.Account, delivery.DeadLetterFilter{})
		return err == nil && count == 78
	})
	n.endpoints.behaves(queueARN("mended"), nil)
	if err := n.buses.RemoveTargets(t.Context(), testBus, "deleted", []string{"q"}); err != nil {
		t.Fatal(err)
	}
	r := n.finished(start(t, n, delivery.ActionRedrive, delivery.DeadLetterFilter{Code: target.CodeNoResource}, 0))
	if r.Status != delivery.RunDone || r.Total != 78 || r.Done != 75 || r.Refused != 3 || len(r.Refusals) != 1 || r.Refusals[0].Letters != 3 ||
		!strings.HasSuffix(r.Refusals[0].RuleARN, "rule/deleted") {
		t.Errorf("got %+v", r)
	}
	n.endpoints.until(t, "the redriven events", received(queueARN("mended"), len(mended)))
	n.letters(8) // those of other failed again, and did not make the run go on for ever
	if got := n.endpoints.deliveries("mended"); got != len(mended) {
		t.Errorf("%d events were delivered %d times", len(mended), got)
	}

	r = n.finished(start(t, n, delivery.ActionDiscard, delivery.DeadLetterFilter{Rule: "deleted"}, 0))
	if r.Total != 3 || r.Done != 3 {
		t.Errorf("got %+v", r)
	}
	n.letters(5)
	r = start(t, n, delivery.ActionDiscard, delivery.DeadLetterFilter{Rule: "nobody"}, 0)
	if r.Status != delivery.RunDone || r.Total != 0 || r.FinishedAt.IsZero() {
		t.Errorf("a run over nothing is %+v", r)
	}
}

func TestARunKeepsItsRateIsCancelledAndGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	dir, offset, e := t.TempDir(), new(atomic.Int64), newEndpoints()
	n := startNode(t, dir, offset, e, keeping)
	n.rule("shop", withoutQueue)
	e.behaves(queueARN("shop"), final(target.CodeNoResource, "gone"))
	ids := n.put("shop", 60)
	n.letters(60)
	e.behaves(queueARN("shop"), nil)
	began := time.Now()
	r := start(t, n, delivery.ActionRedrive, delivery.DeadLetterFilter{}, 20)
	e.until(t, "some of them", received(queueARN("shop"), 10))
	n.stop()
	n = startNode(t, dir, offset, e, keeping)
	e.until(t, "more of them", received(queueARN("shop"), 30))
	if took := time.Since(began); took < time.Second {
		t.Errorf("30 letters at 20 a second took %s", took)
	}
	cancelled, err := n.delivery.CancelRun(t.Context(), testBus.Account, r.ID)
	if err != nil || cancelled.Status != delivery.RunCancelled || cancelled.Done < 30 || cancelled.Done == cancelled.Total {
		t.Fatalf("got %+v, %v", cancelled, err)
	}
	if _, err := n.delivery.CancelRun(t.Context(), "444455556666", r.ID); !errors.Is(err, delivery.ErrNoRun) {
		t.Errorf("another account cancels it: %v", err)
	}
	n.letters(len(ids) - int(cancelled.Done))
	n.finished(start(t, n, delivery.ActionRedrive, delivery.DeadLetterFilter{}, delivery.MaxRunRate))
	e.until(t, "all of them", received(queueARN("shop"), len(ids)))
	n.letters(0)
}

func TestARunIsNotBegunOverOtherLettersThanWereMeant(t *testing.T) {
	t.Parallel()
	n := newNode(t, keeping)
	n.rule("shop", withoutQueue)
	n.endpoints.behaves(queueARN("shop"), final(target.CodeNoResource, "gone"))
	n.put("shop", 50) // more than the runs take
	n.letters(50)
	_, err := n.delivery.StartRun(t.Context(), delivery.NewRun{Account: testBus.Account, Action: delivery.ActionDiscard, Count: 1})
	if wrong, ok := errors.AsType[*delivery.CountError](err); !ok || wrong.Count != 50 || wrong.Expected != 1 {
		t.Errorf("got %v", err)
	}
	for range delivery.MaxOpenRuns {
		start(t, n, delivery.ActionRedrive, delivery.DeadLetterFilter{}, 0.001)
	}
	_, err = n.delivery.StartRun(t.Context(), delivery.NewRun{Account: testBus.Account, Action: delivery.ActionRedrive, Count: -1})
	if !errors.Is(err, delivery.ErrTooManyRuns) {
		t.Errorf("got %v", err)
	}
}
