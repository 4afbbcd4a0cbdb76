package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/target"
)

// route hands each event of a batch to the lanes of the subscriptions that
// match it. The attempts that follow live under their own context, so that a
// stop lets them end.
func (d *Delivery) route(ctx, attempts context.Context, b *eventlog.Batch) {
	h := &held{seq: b.Seq, arrived: time.Now(), done: b.Ack}
	h.open.Store(1)
	d.holds.add(h)
	defer h.settle()

	var subs []*bus.Subscription
	for i, entry := range b.Entries {
		rec, err := event.DecodeRecord(entry)
		if err != nil {
			d.Logger.Error("a record of the log cannot be read and is passed over", "sequence", b.Seq, "index", i, "error", err)
			continue
		}
		if err := d.Buses.WaitVersion(ctx, rec.Bus, rec.RuleVersion); err != nil {
			h.abandon()
			return
		}
		d.counters.routed.Add(1)
		if subs, err = d.Buses.Match(&rec, subs[:0]); err != nil {
			d.Logger.Error("an event cannot be matched and is passed over", "event", rec.ID, "error", err)
			continue
		}
		for _, sub := range subs {
			d.counters.matched.Add(1)
			p := &pair{seq: b.Seq, index: i, rec: rec, sub: sub}
			h.add(p)
			d.lane(sub).offer(ctx, attempts, p)
		}
		if d.Observe != nil && len(subs) > 0 {
			d.Observe(&rec)
		}
	}
}

// held is a batch between its arrival and its acknowledgement.
type held struct {
	seq     uint64
	arrived time.Time
	done    func()
	// open counts the deliveries that are not settled, and one while the router
	// is still handing the batch out.
	open atomic.Int32

	mu    sync.Mutex
	pairs []*pair
}

func (h *held) add(p *pair) {
	p.held = h
	h.open.Add(1)
	h.mu.Lock()
	h.pairs = append(h.pairs, p)
	h.mu.Unlock()
}

func (h *held) settle() {
	if h.open.Add(-1) == 0 {
		h.done()
	}
}

// abandon leaves the batch unacknowledged: the log delivers it again.
func (h *held) abandon() { h.open.Add(1) }

func (h *held) unsettled() []*pair {
	if h.open.Load() == 0 {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var open []*pair
	for _, p := range h.pairs {
		if !p.isSettled() {
			open = append(open, p)
		}
	}
	return open
}

// pair is one delivery: one event on its way to one subscription.
type pair struct {
	seq   uint64
	index int
	rec   event.Record
	sub   *bus.Subscription // as it was when it matched
	held  *held

	mu              sync.Mutex
	state           pairState
	jobbed          bool // a job exists for it already
	queued          time.Time
	tries           int             // attempts made
	deadLetterTries int             // failed tries to dead-letter it
	failure         *target.Failure // of the last attempt
}

type pairState uint8

const (
	waiting    pairState = iota // in its lane
	attempting                  // a worker has it
	leaving                     // its lane leaves the shared path; the row that says so is being stored
	settled                     // delivered, dead-lettered, parked, cancelled, or behind a stored cursor
)

// begin takes the pair for an attempt; false if it was parked meanwhile.
func (p *pair) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != waiting {
		return false
	}
	p.state = attempting
	return true
}

func (p *pair) isSettled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == settled || p.jobbed
}

// settle ends the pair's part in its batch. It is safe to call twice.
func (p *pair) settle() {
	p.mu.Lock()
	already := p.state == settled
	jobbed := p.jobbed
	p.state = settled
	p.mu.Unlock()
	if !already && !jobbed && p.held != nil {
		p.held.settle()
	}
}

// holdList keeps the batches that are not acknowledged, oldest first.
type holdList struct {
	mu   sync.Mutex
	list []*held
	wake chan struct{}
}

func (l *holdList) add(h *held) {
	l.mu.Lock()
	first := len(l.list) == 0
	l.list = append(l.list, h)
	l.mu.Unlock()
	if first {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// overdue removes the settled batches at the front and returns those that have
// been held since before the time, and when the next will have been.
func (l *holdList) overdue(before time.Time) (due []*held, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := l.list[:0]
	for _, h := range l.list {
		switch {
		case h.open.Load() == 0:
		case h.arrived.After(before):
			if next.IsZero() {
				next = h.arrived.Add(Hold)
			}
			keep = append(keep, h)
		default:
			due = append(due, h)
		}
	}
	clear(l.list[len(keep):])
	l.list = keep
	return due, next
}

func (l *holdList) all() []*held {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*held(nil), l.list...)
}

// drain waits until all batches are settled or ctx ends.
func (l *holdList) drain(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		l.overdue(time.Time{})
		if len(l.all()) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// watchHolds parks what batches still wait for once they were held for Hold.
func (d *Delivery) watchHolds(ctx context.Context) {
	timer := time.NewTimer(Hold)
	defer timer.Stop()
	for {
		due, next := d.holds.overdue(time.Now().Add(-Hold))
		if len(due) > 0 {
			d.parkOverdue(ctx, due)
		}
		pause := Hold
		if !next.IsZero() {
			pause = max(time.Until(next), time.Millisecond)
		}
		timer.Reset(pause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.holds.wake:
		}
	}
}
