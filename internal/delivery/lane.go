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
)

// lane is the way to one subscription: a bounded queue and workers that exist
// only while it has something to do.
type lane struct {
	d  *Delivery
	id int64

	mu      sync.Mutex
	sub     *bus.Subscription // the newest seen
	queue   []*pair
	workers int
	removed bool
	gone    chan struct{} // closed by remove
	room    chan struct{} // told that the queue got shorter

	failures int // attempts failed in a row
	probes   int // pauses taken since the last success
	jobs     int // parked deliveries under way

	catch *catchUp // while the subscription is off the shared path
	// covered: what the router brings up to here was read by the catch-up reader.
	covered uint64
}

func newLane(d *Delivery, sub *bus.Subscription) *lane {
	return &lane{d: d, id: sub.ID, sub: sub, gone: make(chan struct{}), room: make(chan struct{}, 1)}
}

// offer is the router's way in. It never waits: a lane that cannot take the
// pair leaves the shared path at it.
func (l *lane) offer(ctx, attempts context.Context, p *pair) {
	l.mu.Lock()
	switch {
	case l.removed:
		l.mu.Unlock()
		l.cancel(p)
		return
	case p.seq <= l.covered:
		l.mu.Unlock()
		p.settle()
		return
	case l.catch != nil && l.catch.diverting:
		l.catch.leave(p)
		l.mu.Unlock()
		return
	case l.overloaded():
		l.divert(ctx, attempts, p)
		l.mu.Unlock()
		return
	}
	l.push(attempts, p)
	l.mu.Unlock()
}

// overloaded reports whether the lane is full, too slow or failing. Callers
// hold mu.
func (l *lane) overloaded() bool {
	if len(l.queue) == 0 {
		return l.failures >= failuresToDivert
	}
	return len(l.queue) >= laneCapacity || time.Since(l.queue[0].queued) > laneWait || l.failures >= failuresToDivert
}

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
	for {
		l.mu.Lock()
		if len(l.queue) == 0 || ctx.Err() != nil {
			l.workers--
			l.mu.Unlock()
			return
		}
		sub := l.sub
		l.mu.Unlock()
		// The rate is waited for before a delivery is taken: one that waits can
		// still be parked.
		if err := l.d.Targets.Wait(ctx, sub); err != nil {
			continue
		}
		if p := l.pop(); p != nil {
			l.d.attempt(ctx, l, p)
		}
	}
}

// pop takes the first pair that was not parked meanwhile.
func (l *lane) pop() *pair {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.queue) > 0 {
		p := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		if p.begin() {
			l.signalRoom()
			return p
		}
	}
	l.signalRoom()
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

// pause is how long to leave a failing target alone before the next attempt;
// zero for one that works.
func (l *lane) pause() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failures < failuresToDivert {
		return 0
	}
	d := probePauseMax
	if l.probes < 5 {
		d = min(probePause<<l.probes, probePauseMax)
	}
	return d/2 + rand.N(d/2) //nolint:gosec // jitter, not a secret
}

// remove ends the lane: its rule or target was deleted.
func (l *lane) remove() {
	l.mu.Lock()
	if l.removed {
		l.mu.Unlock()
		return
	}
	l.removed = true
	close(l.gone)
	waitingPairs := l.queue
	l.queue = nil
	if l.catch != nil {
		waitingPairs = append(waitingPairs, l.catch.left...)
		l.catch.left = nil
	}
	l.mu.Unlock()
	for _, p := range waitingPairs {
		l.cancel(p)
	}
}

func (l *lane) cancel(p *pair) {
	l.d.counters.cancelled.Add(1)
	p.settle()
}
