package delivery_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// queueARN names the queue to which the rule called name sends.
func queueARN(name string) string { return "arn:aws:sqs:us-east-1:111122223333:" + name }

var testBus = event.BusRef{Account: "111122223333", Region: "us-east-1", Name: event.DefaultBus}

// endpoints stand for the targets behind the queues: each answers as its
// behaviour says.
type endpoints struct {
	mu      sync.Mutex
	behave  map[string]func(ctx context.Context, n int) error // by ARN; n counts attempts from 1
	tried   map[string]int
	got     map[string][]string // event ids by ARN
	dead    map[string]target.DeadLetterReason
	deadErr error
	limits  map[string]*rate.Limiter
	waits   int // tokens taken of a limit
	news    chan struct{}
}

func newEndpoints() *endpoints {
	return &endpoints{
		behave: map[string]func(context.Context, int) error{}, tried: map[string]int{}, got: map[string][]string{},
		dead: map[string]target.DeadLetterReason{}, limits: map[string]*rate.Limiter{},
		news: make(chan struct{}, 1),
	}
}

func (e *endpoints) Invoke(ctx context.Context, a target.Attempt) error {
	arn := a.Subscription.Target.ARN
	e.mu.Lock()
	e.tried[arn]++
	n, behave := e.tried[arn], e.behave[arn]
	e.mu.Unlock()
	if behave != nil {
		ctx, cancel := context.WithTimeout(ctx, target.Timeout)
		defer cancel()
		if err := behave(ctx, n); err != nil {
			return err
		}
	}
	e.mu.Lock()
	e.got[arn] = append(e.got[arn], a.Record.ID)
	e.mu.Unlock()
	e.tell()
	return nil
}

func (e *endpoints) DeadLetter(_ context.Context, a target.Attempt, reason target.DeadLetterReason) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.deadErr != nil {
		return e.deadErr
	}
	e.dead[a.Record.ID] = reason
	e.tell()
	return nil
}

func (e *endpoints) Wait(ctx context.Context, sub *bus.Subscription) error {
	e.mu.Lock()
	limit := e.limits[sub.Target.ARN]
	e.mu.Unlock()
	if limit == nil {
		return ctx.Err()
	}
	if err := limit.Wait(ctx); err != nil {
		return err
	}
	e.mu.Lock()
	e.waits++
	e.mu.Unlock()
	return nil
}

// limit allows the target one attempt in each pause.
func (e *endpoints) limit(arn string, pause time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.limits[arn] = rate.NewLimiter(rate.Every(pause), 1)
}

func (e *endpoints) tell() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

func (e *endpoints) behaves(arn string, fn func(ctx context.Context, n int) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.behave[arn] = fn
}

// until waits for cond, which is asked after each delivery.
func (e *endpoints) until(t *testing.T, what string, cond func(e *endpoints) bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		e.mu.Lock()
		ok := cond(e)
		e.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-e.news:
		case <-tick.C:
		case <-deadline.C:
			e.mu.Lock()
			defer e.mu.Unlock()
			counts := map[string]int{}
			for arn, ids := range e.got {
				counts[arn] = len(ids)
			}
			t.Fatalf("waited in vain for %s; delivered %v, tried %v, dead %d", what, counts, e.tried, len(e.dead))
		}
	}
}

func received(arn string, n int) func(*endpoints) bool {
	return func(e *endpoints) bool { return distinct(e.got[arn]) >= n }
}

func distinct(ids []string) int {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return len(slices.Compact(ids))
}

type plainSecrets struct{}

func (plainSecrets) Seal(_ string, plain []byte) []byte           { return plain }
func (plainSecrets) Open(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// node is a router on its own data directory.
type node struct {
	t         *testing.T
	dir       string
	offset    *atomic.Int64 // of the clock, in nanoseconds
	endpoints *endpoints
	db        *store.DB
	log       *eventlog.Log
	buses     *bus.Buses
	delivery  *delivery.Delivery
	stop      func()
}

// startNode starts a router. Each edit changes what it is made of.
func startNode(t *testing.T, dir string, offset *atomic.Int64, e *endpoints, edits ...func(*node, *delivery.Options)) *node {
	t.Helper()
	ctx := context.Background()
	logger := slog.New(slog.DiscardHandler)
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	n := &node{t: t, dir: dir, offset: offset, endpoints: e}
	var err error
	if n.db, err = store.Open(ctx, store.Options{DataDir: dir}); err != nil {
		t.Fatal(err)
	}
	if n.log, err = eventlog.Open(ctx, eventlog.Options{Dir: dir + "/events", Name: "test", MaxBytes: 64 << 20, Logger: logger}); err != nil {
		t.Fatal(err)
	}
	jobs := work.New(n.db, "test", logger)
	if n.buses, err = bus.Open(ctx, bus.Options{DB: n.db, Log: n.log, Secrets: plainSecrets{}, Jobs: jobs, Now: now}); err != nil {
		t.Fatal(err)
	}
	options := delivery.Options{
		DB: n.db, Log: n.log, Buses: n.buses, Targets: e, Work: jobs, Node: "test", Logger: logger, Now: now,
	}
	for _, edit := range edits {
		edit(n, &options)
	}
	n.delivery = delivery.New(options)
	run, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = jobs.Run(run) })
	wg.Go(func() { _ = n.delivery.Run(run) })
	n.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := n.log.Close(); err != nil {
			t.Error(err)
		}
		if err := n.db.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func newNode(t *testing.T, edits ...func(*node, *delivery.Options)) *node {
	t.Helper()
	return startNode(t, t.TempDir(), new(atomic.Int64), newEndpoints(), edits...)
}

// deliveries counts what the target of the rule took, repetitions included.
func (e *endpoints) deliveries(rule string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.got[queueARN(rule)])
}

// rule makes a rule for a source, which sends to the queue of the same name.
func (n *node) rule(name string, edit func(*bus.RuleTarget)) {
	n.t.Helper()
	ctx := context.Background()
	_, err := n.buses.PutRule(ctx, bus.Rule{Bus: testBus, Name: name, Pattern: fmt.Sprintf(`{"source":[%q]}`, name), State: bus.RuleEnabled}, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	target := bus.RuleTarget{ID: "q", ARN: queueARN(name), DeadLetterARN: queueARN("dead")}
	if edit != nil {
		edit(&target)
	}
	if err := n.buses.PutTargets(ctx, testBus, name, []bus.RuleTarget{target}); err != nil {
		n.t.Fatal(err)
	}
}

// put puts n events of the source and returns their ids.
func (n *node) put(source string, count int) []string {
	n.t.Helper()
	var ids []string
	for len(ids) < count {
		var recs []event.Record
		for range min(100, count-len(ids)) {
			e := event.Event{ID: event.NewID(), Source: source, DetailType: "test", Account: testBus.Account, Region: testBus.Region, Time: time.Now(), Detail: []byte(`{"n":1}`)}
			ids = append(ids, e.ID)
			recs = append(recs, event.Record{Bus: testBus, ID: e.ID, JSON: e.AppendJSON(nil)})
		}
		if err := n.buses.Put(context.Background(), recs); err != nil {
			n.t.Fatal(err)
		}
	}
	return ids
}

func retryable(message string) error {
	return &target.Failure{Code: target.CodeErrorFromTarget, Message: message, Retryable: true}
}

func TestEventsReachTheTargetsOfTheRulesThatMatch(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("a", nil)
	n.rule("b", nil)
	ids := n.put("a", 250)
	n.put("nobody", 10)
	n.endpoints.until(t, "all events of a", received(queueARN("a"), len(ids)))
	if got := n.endpoints.tried[queueARN("b")]; got != 0 {
		t.Errorf("b was tried %d times", got)
	}
}

func TestAFailedAttemptIsRetriedAndTheBatchIsNotHeldForIt(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("flaky", nil)
	n.endpoints.behaves(queueARN("flaky"), func(_ context.Context, i int) error {
		if i <= 2 {
			return retryable("down")
		}
		return nil
	})
	n.put("flaky", 1)
	n.endpoints.until(t, "the third attempt", received(queueARN("flaky"), 1))
	if tried := n.endpoints.tried[queueARN("flaky")]; tried != 3 {
		t.Errorf("tried %d times, want 3", tried)
	}
	n.ackedThrough()
}

// ackedThrough waits until the router has acknowledged everything.
func (n *node) ackedThrough() {
	n.t.Helper()
	ctx := context.Background()
	last, err := n.log.LastSeq(ctx)
	if err != nil {
		n.t.Fatal(err)
	}
	n.endpoints.until(n.t, "the log's acknowledgement", func(*endpoints) bool {
		floor, err := n.log.AckFloor(ctx)
		return err == nil && floor >= last
	})
}

func TestAFinalFailureIsDeadLetteredAtOnceWithoutRetryAttributes(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("gone", nil)
	n.endpoints.behaves(queueARN("gone"), func(context.Context, int) error {
		return &target.Failure{Code: target.CodeNoResource, Message: "no such queue"}
	})
	ids := n.put("gone", 1)
	n.endpoints.until(t, "the dead letter", func(e *endpoints) bool { return len(e.dead) == 1 })
	want := target.DeadLetterReason{Code: target.CodeNoResource, Message: "no such queue"}
	if got := n.endpoints.dead[ids[0]]; got != want {
		t.Errorf("dead letter says %+v, want %+v", got, want)
	}
	if tried := n.endpoints.tried[queueARN("gone")]; tried != 1 {
		t.Errorf("tried %d times, want 1", tried)
	}
}

func TestRetriesThatRunOutAreDeadLetteredWithTheirCount(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("down", func(r *bus.RuleTarget) { r.HasRetryPolicy, r.MaximumRetryAttempts = true, new(int32(1)) })
	n.endpoints.behaves(queueARN("down"), func(context.Context, int) error { return retryable("down") })
	ids := n.put("down", 1)
	n.endpoints.until(t, "the dead letter", func(e *endpoints) bool { return len(e.dead) == 1 })
	want := target.DeadLetterReason{Code: target.CodeErrorFromTarget, Message: "down", Exhausted: "MaximumRetryAttempts", RetryAttempts: 1}
	if got := n.endpoints.dead[ids[0]]; got != want {
		t.Errorf("dead letter says %+v, want %+v", got, want)
	}
}

func TestADeadLetterQueueThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	n := newNode(t, func(_ *node, o *delivery.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	n.rule("gone", nil)
	n.endpoints.behaves(queueARN("gone"), func(context.Context, int) error {
		return &target.Failure{Code: target.CodeNoPermissions, Message: "denied"}
	})
	n.endpoints.mu.Lock()
	n.endpoints.deadErr = retryable("the dead-letter queue is down")
	n.endpoints.mu.Unlock()
	n.put("gone", 1)
	n.endpoints.until(t, "a failed dead letter", func(*endpoints) bool { return n.delivery.Stats().DeadLetterFailed > 0 })
	n.endpoints.mu.Lock()
	n.endpoints.deadErr = nil
	n.endpoints.mu.Unlock()
	n.endpoints.until(t, "the dead letter", func(e *endpoints) bool { return len(e.dead) == 1 })
	if tried := n.endpoints.tried[queueARN("gone")]; tried != 1 {
		t.Errorf("the target was tried %d times, want 1", tried)
	}
	n.stop()
	if warnings := strings.Count(log.String(), "a dead-letter queue could not be written"); warnings != 1 {
		t.Errorf("%d warnings, want one for the event:\n%s", warnings, &log)
	}
}

func TestAHungTargetLeavesItsNeighbourAloneAndGetsEverythingInTheEnd(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("hung", nil)
	n.rule("healthy", nil)
	var hung atomic.Bool
	hung.Store(true)
	release := make(chan struct{})
	n.endpoints.behaves(queueARN("hung"), func(ctx context.Context, _ int) error {
		if !hung.Load() {
			return nil
		}
		select {
		case <-ctx.Done():
			return &target.Failure{Code: target.CodeTimeout, Message: "no answer", Retryable: true}
		case <-release:
			return retryable("was hung")
		}
	})
	const each = 3000
	for range each / 100 {
		n.put("hung", 100)
		n.put("healthy", 100)
	}
	n.endpoints.until(t, "all events of the healthy target", received(queueARN("healthy"), each))
	n.ackedThrough()
	if n.delivery.Stats().Diverted == 0 {
		t.Error("the hung target did not leave the shared path")
	}
	hung.Store(false)
	close(release)
	n.endpoints.until(t, "all events of the hung target", received(queueARN("hung"), each))
}

func TestASlowTargetCatchesUpFromTheLogAndRejoins(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("slow", nil)
	n.endpoints.limit(queueARN("slow"), time.Millisecond)
	n.put("slow", 1500)
	n.endpoints.until(t, "all events of the slow target", received(queueARN("slow"), 1500))
	if got := n.endpoints.deliveries("slow"); got != 1500 {
		t.Errorf("1500 events were delivered %d times", got)
	}
	n.endpoints.until(t, "the end of the catch-up", func(*endpoints) bool {
		_, needed, err := n.delivery.KeepFrom(context.Background())
		return err == nil && !needed
	})
	n.put("slow", 10)
	n.endpoints.until(t, "events after the catch-up", received(queueARN("slow"), 1510))
}

func TestWhatWaitsSurvivesARestartAndAClockThatMovedThreeDays(t *testing.T) {
	t.Parallel()
	dir, offset, e := t.TempDir(), new(atomic.Int64), newEndpoints()
	n := startNode(t, dir, offset, e)
	n.rule("down", nil)
	n.rule("late", nil)
	e.behaves(queueARN("down"), func(context.Context, int) error { return retryable("down") })
	ids := n.put("down", 1500)
	e.until(t, "the diversion", func(*endpoints) bool { return n.delivery.Stats().Diverted > 0 })
	n.stop()

	offset.Store(int64(72 * time.Hour))
	n = startNode(t, dir, offset, e)
	e.until(t, "a dead letter for each event", func(e *endpoints) bool { return len(e.dead) == len(ids) })
	for _, id := range ids {
		if r := e.dead[id]; r.Exhausted != "MaximumEventAgeInSeconds" {
			t.Fatalf("event %s: dead letter says %+v", id, r)
		}
	}
	late := n.put("late", 5)
	e.until(t, "new events", received(queueARN("late"), len(late)))
}

func TestDeletingATargetCancelsWhatWaitsForIt(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.rule("down", nil)
	n.endpoints.behaves(queueARN("down"), func(context.Context, int) error { return retryable("down") })
	n.put("down", 2000)
	n.endpoints.until(t, "the diversion", func(*endpoints) bool { return n.delivery.Stats().Diverted > 0 })
	if err := n.buses.RemoveTargets(context.Background(), testBus, "down", []string{"q"}); err != nil {
		t.Fatal(err)
	}
	n.endpoints.until(t, "the end of the catch-up", func(*endpoints) bool {
		_, needed, err := n.delivery.KeepFrom(context.Background())
		return err == nil && !needed
	})
	n.ackedThrough()
	n.endpoints.mu.Lock()
	defer n.endpoints.mu.Unlock()
	if len(n.endpoints.dead) != 0 {
		t.Errorf("%d cancelled deliveries were dead-lettered", len(n.endpoints.dead))
	}
}
