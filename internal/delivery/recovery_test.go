package delivery_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
)

// caughtUp waits until no subscription needs the log any more.
func (n *node) caughtUp() {
	n.t.Helper()
	n.endpoints.until(n.t, "the end of the catch-up", func(*endpoints) bool {
		_, needed, err := n.delivery.KeepFrom(context.Background())
		return err == nil && !needed
	})
}

// diverted puts events for a target that fails until its lane is off the shared
// path and the log has acknowledged them.
func (n *node) diverted(rule string) []string {
	n.t.Helper()
	ids := n.put(rule, 1500)
	n.endpoints.until(n.t, "the diversion", func(*endpoints) bool { return n.delivery.Stats().Diverted > 0 })
	n.ackedThrough()
	return ids
}

func down(context.Context, int) error { return retryable("down") }

func TestWhatWasLeftToAReaderSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir, offset, e := t.TempDir(), new(atomic.Int64), newEndpoints()
	n := startNode(t, dir, offset, e)
	n.rule("lagging", nil)
	e.behaves(queueARN("lagging"), down)
	ids := n.diverted("lagging")
	n.stop()

	e.behaves(queueARN("lagging"), nil)
	n = startNode(t, dir, offset, e)
	e.until(t, "all events", received(queueARN("lagging"), len(ids)))
	n.caughtUp()
	if got := e.deliveries("lagging"); got != len(ids) {
		t.Errorf("%d events were delivered %d times", len(ids), got)
	}
}

func TestACleanStopInTheMiddleOfACatchUpRepeatsNothing(t *testing.T) {
	t.Parallel()
	dir, offset, e := t.TempDir(), new(atomic.Int64), newEndpoints()
	n := startNode(t, dir, offset, e)
	n.rule("slow", nil)
	e.limit(queueARN("slow"), time.Millisecond)
	n.put("slow", 2000)
	e.until(t, "some events", received(queueARN("slow"), 1200))
	n.stop()

	n = startNode(t, dir, offset, e)
	e.until(t, "all events", received(queueARN("slow"), 2000))
	n.caughtUp()
	if got := e.deliveries("slow"); got != 2000 {
		t.Errorf("2000 events were delivered %d times", got)
	}
}

func TestEventsWithoutRetriesAreDeadLetteredAtOnceHoweverLongTheTargetFails(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("down", func(r *bus.RuleTarget) { r.HasRetryPolicy, r.MaximumRetryAttempts = true, new(int32(0)) })
	n.endpoints.behaves(queueARN("down"), down)
	ids := n.put("down", 3000)
	n.endpoints.until(t, "a dead letter for each event", func(e *endpoints) bool { return len(e.dead) == len(ids) })
	n.caughtUp()
}

func TestEventsThatGrewTooOldDoNotWaitForAFailingTarget(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("down", nil)
	n.endpoints.behaves(queueARN("down"), down)
	n.diverted("down")
	n.offset.Store(int64(72 * time.Hour))
	n.endpoints.until(t, "most dead letters", func(e *endpoints) bool { return len(e.dead) > 1000 })
}

// oddBuses are buses that fail, or know rules that are gone.
type oddBuses struct {
	*bus.Buses
	failures atomic.Int32 // of WaitVersion, to come

	mu    sync.Mutex
	stale *bus.Subscription
}

func (b *oddBuses) WaitVersion(ctx context.Context, ref event.BusRef, version uint64) error {
	if b.failures.Add(-1) >= 0 {
		return errors.New("the database is away")
	}
	return b.Buses.WaitVersion(ctx, ref, version)
}

func (b *oddBuses) Match(rec *event.Record, dst []*bus.Subscription) ([]*bus.Subscription, error) {
	dst, err := b.Buses.Match(rec, dst)
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(dst) > 0 && b.stale == nil {
		b.stale = dst[0]
	}
	if len(dst) == 0 && b.stale != nil {
		dst = append(dst, b.stale)
	}
	return dst, err
}

func TestRulesThatCannotBeReadDelayABatchAndDoNotLoseIt(t *testing.T) {
	t.Parallel()
	buses := &oddBuses{}
	n := newNode(t, func(n *node, o *delivery.Options) {
		buses.Buses = n.buses
		o.Buses = buses
	})
	n.rule("a", nil)
	buses.failures.Store(3)
	n.put("a", 10)
	n.endpoints.until(t, "the events", received(queueARN("a"), 10))
	n.ackedThrough()
}

func TestAnEventMatchedJustBeforeItsTargetWasDeletedLeavesNoRowBehind(t *testing.T) {
	t.Parallel()
	buses := &oddBuses{}
	n := newNode(t, func(n *node, o *delivery.Options) {
		buses.Buses = n.buses
		o.Buses = buses
	})
	n.rule("gone", nil)
	n.put("gone", 1)
	n.endpoints.until(t, "the first event", received(queueARN("gone"), 1))
	if err := n.buses.RemoveTargets(context.Background(), testBus, "gone", []string{"q"}); err != nil {
		t.Fatal(err)
	}
	n.endpoints.behaves(queueARN("gone"), down)
	n.put("gone", 2000) // Match still says where to
	n.endpoints.until(t, "the diversion", func(*endpoints) bool { return n.delivery.Stats().Diverted > 0 })
	n.ackedThrough()
	n.caughtUp()
}

// brokenLog is a log whose consumer the engine ends once.
type brokenLog struct {
	*eventlog.Log
	broken atomic.Bool
}

func (l *brokenLog) Consume(ctx context.Context, handle func(*eventlog.Batch)) error {
	if l.broken.Swap(true) {
		return l.Log.Consume(ctx, handle)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := l.Log.Consume(ctx, func(b *eventlog.Batch) { handle(b); cancel() }); err != nil {
		return err
	}
	return eventlog.ErrUnavailable
}

func TestALogThatEndsItsConsumerIsConsumedAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t, func(n *node, o *delivery.Options) { o.Log = &brokenLog{Log: n.log} })
	n.rule("a", nil)
	n.put("a", 10)
	n.endpoints.until(t, "the first events", received(queueARN("a"), 10))
	n.put("a", 10)
	n.endpoints.until(t, "events after that", received(queueARN("a"), 20))
}

// refuse makes the database refuse to write the tables until mend is called, as
// it does when the disk is full.
func (n *node) refuse(tables ...string) (mend func()) {
	n.t.Helper()
	run := func(sql func(table string) string) {
		n.t.Helper()
		err := n.db.Update(context.Background(), func(tx *store.Tx) error {
			for _, table := range tables {
				if _, err := tx.Exec(context.Background(), sql(table)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			n.t.Fatal(err)
		}
	}
	run(func(table string) string {
		return `CREATE TRIGGER refuse_` + table + ` BEFORE INSERT ON ` + table + ` BEGIN SELECT RAISE(ABORT, 'the disk is full'); END`
	})
	return func() {
		n.t.Helper()
		run(func(table string) string { return `DROP TRIGGER refuse_` + table })
	}
}

func TestWhatCannotBeStoredIsStoredLaterAndTheLogIsAcknowledgedThen(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("hung", nil)
	hung := make(chan struct{})
	n.endpoints.behaves(queueARN("hung"), func(ctx context.Context, _ int) error {
		select {
		case <-hung:
			return nil
		case <-ctx.Done():
			return retryable("no answer")
		}
	})
	mend := n.refuse("job", "catch_up")
	n.put("hung", 1500)
	n.endpoints.until(t, "the diversion", func(*endpoints) bool { return n.delivery.Stats().Diverted > 0 })
	over := time.Now().Add(delivery.Hold + delivery.Hold/2) // the first try to park fails
	n.endpoints.until(t, "the end of the hold", func(*endpoints) bool { return time.Now().After(over) })
	mend()
	n.ackedThrough()
	close(hung)
	n.endpoints.until(t, "all events", received(queueARN("hung"), 1500))
	n.caughtUp()
}

func TestWhatIsLeftToAReaderGoesWhereItsRuleSentItThen(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("moving", nil)
	release := make(chan struct{})
	n.endpoints.behaves(queueARN("moving"), func(_ context.Context, i int) error {
		select {
		case <-release:
			return nil
		default:
			return retryable("down")
		}
	})
	first := n.diverted("moving")
	move := func(to string) []string {
		t.Helper()
		err := n.buses.PutTargets(context.Background(), testBus, "moving", []bus.RuleTarget{{ID: "q", ARN: queueARN(to)}})
		if err != nil {
			t.Fatal(err)
		}
		ids := n.put("moving", 20)
		n.ackedThrough()
		return ids
	}
	move("second")
	move("third")
	close(release)
	n.endpoints.until(t, "all events", func(e *endpoints) bool {
		return received(queueARN("moving"), len(first))(e) && received(queueARN("second"), 20)(e) && received(queueARN("third"), 20)(e)
	})
	n.endpoints.mu.Lock()
	defer n.endpoints.mu.Unlock()
	for to, want := range map[string]int{"moving": len(first), "second": 20, "third": 20} {
		if got := distinct(n.endpoints.got[queueARN(to)]); got != want {
			t.Errorf("%s got %d events, want %d", to, got, want)
		}
	}
}

func TestWhatTheRateAllowsIsNotSpentOnWhatWasParked(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("limited", nil)
	n.endpoints.limit(queueARN("limited"), 40*time.Millisecond)
	n.put("limited", 50) // half of them wait for longer than their batch is held
	n.endpoints.until(t, "all events", received(queueARN("limited"), 50))
	n.endpoints.mu.Lock()
	defer n.endpoints.mu.Unlock()
	if n.endpoints.waits > 55 {
		t.Errorf("50 events took %d attempts of the rate", n.endpoints.waits)
	}
}

func TestObserveIsToldOnceOfEachEventThatLanesTook(t *testing.T) {
	t.Parallel()
	var observed atomic.Int32
	n := newNode(t, func(_ *node, o *delivery.Options) { o.Observe = func(*event.Record) { observed.Add(1) } })
	n.rule("a", nil)
	err := n.buses.PutTargets(context.Background(), testBus, "a", []bus.RuleTarget{{ID: "other", ARN: queueARN("other")}})
	if err != nil {
		t.Fatal(err)
	}
	n.put("a", 10)
	n.put("nobody", 10)
	n.endpoints.until(t, "the events", func(e *endpoints) bool {
		return received(queueARN("a"), 10)(e) && received(queueARN("other"), 10)(e)
	})
	if got := observed.Load(); got != 10 {
		t.Errorf("told of %d events, want 10", got)
	}
}

func TestAPauseThatTheTargetAsksForIsKept(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("busy", nil)
	var times []time.Time
	n.endpoints.behaves(queueARN("busy"), func(_ context.Context, i int) error {
		times = append(times, time.Now())
		if i == 1 {
			return &target.Failure{Code: target.CodeThrottling, Message: "busy", Retryable: true, RetryAfter: 2 * time.Second}
		}
		return nil
	})
	n.put("busy", 1)
	n.endpoints.until(t, "the second attempt", received(queueARN("busy"), 1))
	if pause := times[1].Sub(times[0]); pause < 1900*time.Millisecond {
		t.Errorf("tried again after %s, want 2s", pause)
	}
}

func TestAnAttemptThatPanicsIsTriedAgain(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("odd", nil)
	n.endpoints.behaves(queueARN("odd"), func(_ context.Context, i int) error {
		if i == 1 {
			panic("odd")
		}
		return nil
	})
	n.put("odd", 1)
	n.endpoints.until(t, "the second attempt", received(queueARN("odd"), 1))
}

func TestEventsWithFewRetriesAreDeadLetteredSoonHoweverLongTheTargetFails(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("down", func(r *bus.RuleTarget) { r.HasRetryPolicy, r.MaximumRetryAttempts = true, new(int32(1)) })
	n.endpoints.behaves(queueARN("down"), down)
	first := n.put("down", 20)
	n.endpoints.until(t, "the failing attempts", func(e *endpoints) bool { return e.tried[queueARN("down")] >= 8 })
	rest := n.put("down", 60) // at a pause of half a minute each, they would take as many
	n.endpoints.until(t, "the diversion", func(*endpoints) bool { return n.delivery.Stats().Diverted > 0 })
	n.endpoints.until(t, "a dead letter for each event", func(e *endpoints) bool { return len(e.dead) == len(first)+len(rest) })
	n.caughtUp()
}
