// Package delivery carries events from the log to the targets of the rules
// that they match. Its router reads the log once for all subscriptions; each
// subscription has a lane in process; what cannot be delivered at once is
// parked as a job or left for the lane's own catch-up reader, so that one slow
// target costs its neighbours nothing and the hot path writes nothing.
//
// It does not decide what matches (package bus) nor how a target is called
// (package target). It delivers at least once, in no promised order.
package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

// Hold is how long a batch of the log may stay unacknowledged: by then each of
// its deliveries is done, parked, or left to a catch-up reader.
const Hold = time.Second

// routerLease names the lease under which one node of a cluster routes.
const routerLease = "delivery.router"

// Buses is what delivery needs of the bus.
type Buses interface {
	// WaitVersion returns once the rules of the bus are at least at the version.
	WaitVersion(ctx context.Context, ref event.BusRef, version uint64) error
	// Match appends the subscriptions that the record goes to.
	Match(rec *event.Record, dst []*bus.Subscription) ([]*bus.Subscription, error)
	// Subscription returns the current form of a subscription,
	// bus.ErrNoSubscription once its rule or target is gone.
	Subscription(ctx context.Context, id int64) (*bus.Subscription, error)
	// OnRemoved registers what is called after a subscription was removed.
	OnRemoved(func(id int64))
}

// Log is what delivery needs of the event log; an *eventlog.Log.
type Log interface {
	Consume(ctx context.Context, handle func(*eventlog.Batch)) error
	Read(ctx context.Context, from uint64, handle func(*eventlog.Batch) error) error
	LastSeq(ctx context.Context) (uint64, error)
}

// Targets makes attempts; a *target.Targets.
type Targets interface {
	Invoke(ctx context.Context, a target.Attempt) error
	DeadLetter(ctx context.Context, a target.Attempt, reason target.DeadLetterReason) error
	// Wait returns when the target's rate limit allows one more attempt.
	Wait(ctx context.Context, sub *bus.Subscription) error
}

// Options are what a Delivery is made of. All but DeadLetters, Trace and the two that
// observe are required.
type Options struct {
	DB      *store.DB
	Log     Log
	Buses   Buses
	Targets Targets
	Work    *work.Runner
	// Node names this process among the nodes of a cluster.
	Node   string
	Logger *slog.Logger
	// Now is the clock that ages are measured by.
	Now func() time.Time
	// DeadLetters bound the built-in store; the zero value is none.
	DeadLetters DeadLetterLimits
	// Trace, if set, is told what becomes of each event.
	Trace Tracer
	// Observe, if set, is told once of each event that a lane took on the shared
	// path, however many did, when it was handed to the last: the end of the way
	// from PutEvents that performance is measured on.
	Observe func(rec *event.Record)
	// ObserveDelivered, if set, is told of each delivery that its target took.
	ObserveDelivered func(rec *event.Record, sub *bus.Subscription)
}

// Delivery delivers events. Use New, then Run.
type Delivery struct {
	Options
	store    deliveryStore
	counters counters

	letterStore letterStore
	letters     *letterWriter

	mu    sync.Mutex
	lanes map[int64]*lane

	holds       holdList
	interrupted []unrouted     // belongs to whoever routes
	routing     atomic.Bool    // this node has the router's lease
	stopping    atomic.Bool    // no worker begins another attempt
	wg          sync.WaitGroup // lanes' workers and catch-up readers
	cleanup     removals
}

// counters count since start.
type counters struct {
	routed, matched, attempts, delivered, failed, parked, deadLettered, deadLetterFailed, dropped, cancelled, diverted atomic.Int64
	retried, kept, lettersDropped, redriven, discarded                                                                 atomic.Int64
}

// Stats are counts since the process started.
type Stats struct {
	// Routed counts events read from the log, Matched pairs of event and
	// subscription.
	Routed, Matched int64
	// Attempts counts tries, Delivered those that succeeded, Failed those that
	// did not.
	Attempts, Delivered, Failed int64
	// Parked counts deliveries put aside as jobs, Diverted lanes that left the
	// shared path.
	Parked, Diverted int64
	// DeadLettered counts deliveries given up into a dead-letter queue,
	// DeadLetterFailed failed tries to write there, Kept deliveries given up into
	// the built-in store, Dropped those that nothing took, Cancelled those whose
	// rule or target was deleted.
	DeadLettered, DeadLetterFailed, Kept, Dropped, Cancelled int64
	// Retried counts attempts after the first of their delivery.
	Retried int64
	// LettersDropped counts dead letters that the limits of the built-in store ended,
	// Redriven and Discarded those that people did.
	LettersDropped, Redriven, Discarded int64
}

// GivenUp counts deliveries that were given up.
func (s Stats) GivenUp() int64 { return s.DeadLettered + s.Kept + s.Dropped }

// New returns a Delivery that Run starts.
func New(o Options) *Delivery {
	d := &Delivery{
		Options: o,
		store:   deliveryStore{o.DB},
		lanes:   make(map[int64]*lane),
		cleanup: removals{wake: make(chan struct{}, 1)},

		letterStore: letterStore{o.DB},
		letters:     newLetterWriter(letterStore{o.DB}, o.DeadLetters.Bytes),
	}
	d.holds.wake = make(chan struct{}, 1)
	o.Work.Handle(jobQueue, work.QueueOptions{Concurrency: 64, LeaseFor: time.Minute, When: d.routing.Load}, d.runJob)
	o.Work.Handle(runQueue, work.QueueOptions{Concurrency: 8, BackoffCap: 10 * time.Second}, d.workOn)
	return d
}

// Stats returns the counts since the process started.
func (d *Delivery) Stats() Stats {
	c := &d.counters
	return Stats{
		Routed: c.routed.Load(), Matched: c.matched.Load(), Attempts: c.attempts.Load(),
		Delivered: c.delivered.Load(), Failed: c.failed.Load(), Parked: c.parked.Load(),
		Diverted: c.diverted.Load(), DeadLettered: c.deadLettered.Load(),
		DeadLetterFailed: c.deadLetterFailed.Load(), Dropped: c.dropped.Load(), Cancelled: c.cancelled.Load(),
		Kept: c.kept.Load(), Retried: c.retried.Load(),
		LettersDropped: c.lettersDropped.Load(), Redriven: c.redriven.Load(), Discarded: c.discarded.Load(),
	}
}

// Run routes and delivers until ctx ends, while this node holds the lease to
// do so. On return no attempt is under way and everything unfinished is parked
// or still unacknowledged in the log.
func (d *Delivery) Run(ctx context.Context) error {
	d.Buses.OnRemoved(d.removed)
	var own sync.WaitGroup
	defer own.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own.Go(func() { d.cleanUp(ctx) })
	return d.DB.RunLeased(ctx, routerLease, d.Node, d.run)
}

// run is one tenure of the router's lease. The attempts have a context of their
// own, so that those under way can end.
func (d *Delivery) run(ctx context.Context) error {
	d.forgetLanes()
	if err := d.loadCatchUps(ctx); err != nil {
		return err
	}
	d.stopping.Store(false)
	attempts, stopAttempts := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAttempts()
	var watch sync.WaitGroup
	watch.Go(func() { d.watchHolds(attempts) })
	watch.Go(func() { d.keepBounds(attempts) })
	// Parked deliveries are attempted where the others are: the rates of targets
	// hold for all nodes together then.
	d.routing.Store(true)
	d.Work.Wake(jobQueue)
	err := d.consume(ctx, attempts)
	d.routing.Store(false)
	d.windDown()
	stopAttempts()
	watch.Wait()
	d.wg.Wait()
	d.leave()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// consume routes until ctx ends or the log fails, and ends the readers then.
func (d *Delivery) consume(ctx, attempts context.Context) error {
	ctx, stopReaders := context.WithCancel(ctx)
	defer stopReaders()
	d.startCatchUps(ctx, attempts)
	d.resume(ctx, attempts)
	return d.Log.Consume(ctx, func(b *eventlog.Batch) { d.route(ctx, attempts, b) })
}

// windDown gives what is held the time of one attempt, and then lets the workers
// end the attempts that they are at.
func (d *Delivery) windDown() {
	ctx, cancel := context.WithTimeout(context.Background(), target.Timeout)
	defer cancel()
	d.holds.drain(ctx)
	d.stopping.Store(true)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.wg.Wait()
	}()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

// leave parks or stores what is left when nothing runs any more. What it does not
// come to stays held, and the next tenure parks it, or the log brings it again to
// another process.
func (d *Delivery) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), target.Timeout)
	defer cancel()
	d.closeCatchUps(ctx)
	if err := d.parkOverdue(ctx, d.holds.all()); err != nil {
		d.Logger.Warn("deliveries were not parked at the stop and stay in the log", "error", err)
	}
	d.forgetLanes()
}

func (d *Delivery) forgetLanes() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.lanes)
}

func (d *Delivery) allLanes() []*lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.lanes))
}

// lane returns the subscription's lane, made at its first event.
func (d *Delivery) lane(sub *bus.Subscription) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	l, ok := d.lanes[sub.ID]
	if !ok {
		l = newLane(d, sub)
		d.lanes[sub.ID] = l
	}
	return l
}

func (d *Delivery) removed(id int64) {
	d.mu.Lock()
	l := d.lanes[id]
	delete(d.lanes, id)
	d.mu.Unlock()
	if l != nil {
		l.remove()
	}
	d.cleanup.add(id)
}

// removals are the subscriptions removed whose rows and jobs are to go.
type removals struct {
	mu   sync.Mutex
	ids  []int64
	wake chan struct{}
}

func (r *removals) add(id int64) {
	r.mu.Lock()
	r.ids = append(r.ids, id)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *removals) take() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := r.ids
	r.ids = nil
	return ids
}

// cleanUp deletes the rows and the jobs of removed subscriptions. A row that
// stayed would keep the log from being trimmed, so it tries until it is gone.
func (d *Delivery) cleanUp(ctx context.Context) {
	for {
		for _, id := range d.cleanup.take() {
			err := d.cancelWaiting(ctx, id)
			for tries := 1; err != nil; tries++ {
				if ctx.Err() == nil {
					d.Logger.Error("waiting deliveries of a removed target were not cancelled; trying again", "subscription", id, "error", err)
				}
				if !sleep(ctx, work.Backoff(tries, storePause, storePauseMax, nil)) {
					return // the next tenure finds the row, and each job that its subscription is gone
				}
				err = d.cancelWaiting(ctx, id)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-d.cleanup.wake:
		}
	}
}

func (d *Delivery) cancelWaiting(ctx context.Context, id int64) error {
	err := d.DB.Update(ctx, func(tx *store.Tx) error { return d.store.deleteCatchUp(ctx, tx, id) })
	for n := jobChunk; err == nil && n == jobChunk; {
		err = d.DB.Update(ctx, func(tx *store.Tx) (err error) {
			n, err = d.Work.CancelPrefix(ctx, tx, jobQueue, jobPrefix(id), jobChunk)
			return err
		})
		d.counters.cancelled.Add(int64(n))
	}
	return err
}

// KeepFrom returns the first sequence that a catch-up reader still needs, false
// if none reads: the log's trimmer keeps what lies above.
func (d *Delivery) KeepFrom(ctx context.Context) (uint64, bool, error) {
	seq, ok, err := d.store.firstNeeded(ctx)
	if err != nil {
		return 0, false, fmt.Errorf("find what catch-up readers need of the log: %w", err)
	}
	return seq, ok, nil
}
