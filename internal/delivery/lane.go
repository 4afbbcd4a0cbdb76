package delivery

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
)

const (
	// laneCapacity is how many deliveries wait in process for one subscription.
	laneCapacity = 1024
	// laneWait is how long the first of them may have waited: a lane that is
	// slower leaves the shared path before the hold of its batches ends.
	laneWait = Hold / 2
	// laneWorkers is how many attempts a subscription has under way at once.
	laneWorkers = 64
	// failuresToDivert is how many attempts in a row fail before a subscription
	// leaves the shared path.
	failuresToDivert = 8
	// probePause and probePauseMax bound the pause between attempts at a target
	// that keeps failing; it doubles.
	probePause    = time.Second
	probePauseMax = 30 * time.Second
	// fewRetries are over within half of the longest pause. Who asks for so few wants to
	// hear soon of what cannot be delivered: such events follow one another after
	// briefPause, which bounds what a failing target costs its neighbours.
	fewRetries = 4
	briefPause = 100 * time.Millisecond
)

// lane is the way to one subscription: a bounded queue and workers that exist
// only while it has something to do.
type lane struct {
	d  *Delivery
	id int64

	// turn is held while a worker waits for the target's rate and takes a pair: of
	// many workers one waits, so that what is parked meanwhile costs at most one of
	// the attempts that the rate allows. It is taken before mu.
	turn sync.Mutex

	mu      sync.Mutex
	sub     *bus.Subscription // the newest seen
	queue   []*pair
	workers int
	removed bool
	room    chan struct{} // told that the queue got shorter, a worker ended, or an attempt did

	failures int // attempts failed in a row
	probes   int // pauses taken since the last success

	jobs  int // parked deliveries under way
	turns jobTurns

	catch *catchUp // while the subscription is off the shared path
	// covered: what the router brings up to here was read by the catch-up reader.
	covered uint64
}

func newLane(d *Delivery, sub *bus.Subscription) *lane {
	return &lane{d: d, id: sub.ID, sub: sub, turns: jobTurns{took: jobTimeGuess}, room: make(chan struct{}, 1)}
}

// offer is the router's way in. It never waits: a lane that cannot take the
// pair leaves the shared path at it. It reports whether the lane took it.
func (l *lane) offer(ctx, attempts context.Context, p *pair) (taken bool) {
	l.mu.Lock()
	switch {
	case l.removed:
		l.mu.Unlock()
		l.cancel(p)
		return false
	case p.seq <= l.covered:
		l.mu.Unlock()
		p.end(done)
		return false
	case l.catch != nil && l.catch.diverting:
		l.d.trace(p, Step{Kind: StepLeft})
		l.catch.leave(p)
		l.mu.Unlock()
		return false
	case l.overloaded():
		l.divert(ctx, attempts, p)
		l.mu.Unlock()
		return false
	}
	l.push(attempts, p)
	l.mu.Unlock()
	return true
}

// overloaded reports whether the lane is full, too slow or failing. Callers
// hold mu.
func (l *lane) overloaded() bool {
	l.skipOver()
	if len(l.queue) == 0 {
		return l.failing()
	}
	return len(l.queue) >= laneCapacity || time.Since(l.queue[0].queued) > laneWait || l.failing()
}

// failing reports whether so many attempts failed in a row that the target is
// left alone for a while after each. Callers hold mu.
func (l *lane) failing() bool { return l.failures >= failuresToDivert }

// push queues the pair and sees that a worker comes for it. Callers hold mu.
func (l *lane) push(ctx context.Context, p *pair) {
	if p.sub.Revision >= l.sub.Revision {
		l.sub = p.sub
	}
	p.queued = time.Now()
	l.queue = append(l.queue, p)
	if l.workers < laneWorkers {
		l.workers++
		l.d.wg.Go(func() { l.work(ctx) })
	}
}

// work attempts what waits and ends when nothing does.
func (l *lane) work(ctx context.Context) {
	for p := l.next(ctx); p != nil; p = l.next(ctx) {
		l.d.attempt(ctx, l, p)
	}
}

// next waits until the target's rate allows an attempt and takes the first pair.
// It returns nil when the worker is to end, and counts it off. The rate is waited
// for before the pair is taken: one that waits can still be parked.
func (l *lane) next(ctx context.Context) *pair {
	l.turn.Lock()
	defer l.turn.Unlock()
	for {
		sub, ok := l.wanted(ctx)
		if !ok {
			l.signalRoom()
			return nil
		}
		if err := l.d.Targets.Wait(ctx, sub); err != nil && ctx.Err() != nil {
			continue
		}
		if p := l.pop(); p != nil {
			l.signalRoom()
			return p
		}
	}
}

// wanted reports whether a worker has something to do, and by which form of the
// subscription the rate is limited; otherwise it counts the worker off.
func (l *lane) wanted(ctx context.Context) (*bus.Subscription, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipOver()
	if len(l.queue) == 0 || ctx.Err() != nil || l.d.stopping.Load() {
		l.workers--
		return nil, false
	}
	return l.sub, true
}

// skipOver drops from the front of the queue what was parked. Callers hold mu.
func (l *lane) skipOver() {
	for len(l.queue) > 0 && l.queue[0].isSettled() {
		l.drop()
	}
}

func (l *lane) drop() {
	l.queue[0] = nil
	l.queue = l.queue[1:]
}

// pop takes the first pair that is not being parked.
func (l *lane) pop() *pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		p := l.queue[0]
		l.drop()
		if p.begin() {
			return p
		}
	}
	return nil
}

func (l *lane) signalRoom() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// succeeded and failed keep count of failures in a row.
func (l *lane) succeeded() {
	l.mu.Lock()
	l.failures, l.probes = 0, 0
	l.mu.Unlock()
	l.signalRoom()
}

func (l *lane) failed() {
	l.mu.Lock()
	l.failures++
	l.mu.Unlock()
	l.signalRoom()
}

// pause is how long to leave a failing target alone before the next attempt, with the
// pair. Callers hold mu.
func (l *lane) pause(p *pair) time.Duration {
	d := probePauseMax
	if l.probes < 5 {
		d = min(probePause<<l.probes, probePauseMax)
	}
	if p.sub.Target.RetryPolicy.MaximumRetryAttempts <= fewRetries {
		d = min(d, briefPause)
	}
	return d/2 + rand.N(d/2)
}

// remove ends the lane: its rule or target was deleted.
func (l *lane) remove() {
	l.mu.Lock()
	if l.removed {
		l.mu.Unlock()
		return
	}
	l.removed = true
	left := l.queue
	l.queue = nil
	if c := l.catch; c != nil {
		left = append(left, c.left...)
		c.left = nil
		if c.cancel != nil {
			c.cancel()
		}
	}
	l.mu.Unlock()
	for _, p := range left {
		l.cancel(p)
	}
}

func (l *lane) isRemoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.removed
}

// cancel ends a pair whose rule or target is gone; one that was parked is
// cancelled as a job.
func (l *lane) cancel(p *pair) {
	if p.is(parked) {
		return
	}
	l.d.counters.cancelled.Add(1)
	l.d.trace(p, Step{Kind: StepCancelled})
	p.end(done)
}
