package delivery

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// held is a batch between its arrival and its acknowledgement.
type held struct {
	seq     uint64
	arrived time.Time
	done    func() // called once, when nothing is open
	// open counts the deliveries that are not settled, and one while the batch is
	// still being handed out.
	open atomic.Int32

	mu    sync.Mutex
	pairs []*pair
}

func newHeld(seq uint64, done func()) *held {
	h := &held{seq: seq, arrived: time.Now(), done: done}
	h.open.Store(1)
	return h
}

func (h *held) add(p *pair) {
	p.held = h
	h.open.Add(1)
	h.mu.Lock()
	h.pairs = append(h.pairs, p)
	h.mu.Unlock()
}

func (h *held) settle() {
	if h.open.Add(-1) > 0 {
		return
	}
	h.mu.Lock()
	h.pairs = nil // whoever still looks at the batch need not keep its events
	h.mu.Unlock()
	h.done()
}

// unsettled returns the deliveries that the batch waits for, in their order.
func (h *held) unsettled() []*pair {
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

// holdList keeps the batches that are not acknowledged, oldest first.
type holdList struct {
	mu   sync.Mutex
	list []*held
	open int
	wake chan struct{} // told that there is a batch to watch
	idle chan struct{} // closed once none is open; nil while nobody waits for that
}

// begin holds a batch; done is called when all its deliveries are settled.
func (l *holdList) begin(seq uint64, done func()) *held {
	h := newHeld(seq, func() {
		done()
		l.ended()
	})
	l.mu.Lock()
	first := len(l.list) == 0
	l.list = append(l.list, h)
	l.open++
	l.mu.Unlock()
	if first {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return h
}

func (l *holdList) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.open == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// overdue forgets the settled batches and returns those that have been held
// since before the time, and when the next will have been.
func (l *holdList) overdue(before time.Time) (due []*held, next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := l.list[:0]
	for _, h := range l.list {
		if h.open.Load() == 0 {
			continue
		}
		keep = append(keep, h)
		switch {
		case !h.arrived.After(before):
			due = append(due, h)
		case next.IsZero():
			next = h.arrived.Add(Hold)
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
	l.mu.Lock()
	if l.open == 0 {
		l.mu.Unlock()
		return
	}
	if l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// watchHolds parks what batches still wait for once they were held for Hold.
func (d *Delivery) watchHolds(ctx context.Context) {
	timer := time.NewTimer(Hold)
	defer timer.Stop()
	for {
		due, next := d.holds.overdue(time.Now().Add(-Hold))
		pause := Hold
		if !next.IsZero() {
			pause = max(time.Until(next), time.Millisecond)
		}
		if err := d.parkOverdue(ctx, due); err != nil {
			if ctx.Err() == nil {
				d.Logger.Error("overdue deliveries were not parked; trying again", "error", err)
			}
			pause = Hold
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
