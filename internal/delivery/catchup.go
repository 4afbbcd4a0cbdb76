package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// catchUpWindow is how many deliveries a catch-up reader has under way.
const catchUpWindow = 256

// saveEvery is how often a catch-up reader stores how far it is: what it
// delivered since is delivered again after a crash.
const saveEvery = time.Second

// catchUp is a subscription's way off the shared path: one row that says from
// where, and a reader of the log from there. It ends when the reader has come
// to where the router is.
type catchUp struct {
	// sub is the subscription as it was when it left the shared path: events
	// accepted before its rule or target changed are still its.
	sub *bus.Subscription

	// The rest is guarded by the lane's mu.
	diverting bool    // the router leaves everything to the reader
	from      cursor  // where the reader begins
	skipped   uint64  // the last batch that the router left to the reader
	stored    bool    // the row is in the database
	left      []*pair // left before the row was stored: they hold their batches

	progress progress
}

// cursor is a place in the log: the entry at Index of the batch at Sequence.
type cursor struct {
	Sequence uint64
	Index    int
}

// leave leaves the pair to the reader. Callers hold the lane's mu.
func (c *catchUp) leave(p *pair) {
	c.skipped = p.seq
	if c.stored {
		p.settle()
		return
	}
	p.mu.Lock()
	p.state = leaving
	p.mu.Unlock()
	c.left = append(c.left, p)
}

// divert takes the subscription off the shared path, beginning at p. Callers
// hold mu.
func (l *lane) divert(ctx, attempts context.Context, p *pair) {
	l.d.counters.diverted.Add(1)
	from := cursor{p.seq, p.index}
	if l.catch != nil { // a reader still finishes what it read before
		l.catch.diverting, l.catch.from, l.catch.stored = true, from, false
		l.catch.sub = p.sub
		l.catch.leave(p)
		return
	}
	c := &catchUp{sub: p.sub, diverting: true, from: from}
	c.leave(p)
	l.catch = c
	l.d.Logger.Info("a target is slow or failing; its events wait in the log", "rule", p.sub.RuleARN, "target", p.sub.Target.ARN)
	l.d.wg.Go(func() { l.runCatchUp(ctx, attempts, c) })
}

// loadCatchUps makes the lanes that an earlier process left off the shared
// path. Rows of subscriptions that are gone are deleted.
func (d *Delivery) loadCatchUps(ctx context.Context) error {
	rows, err := d.store.catchUps(ctx)
	if err != nil {
		return fmt.Errorf("load what waits in the log: %w", err)
	}
	for _, row := range rows {
		current, err := d.Buses.Subscription(ctx, row.subscription)
		if errors.Is(err, bus.ErrNoSubscription) {
			d.removed(row.subscription)
			continue
		}
		if err != nil {
			return err
		}
		var sub bus.Subscription
		if err := json.Unmarshal(row.snapshot, &sub); err != nil {
			return fmt.Errorf("read what waits in the log for subscription %d: %w", row.subscription, err)
		}
		l := d.lane(current)
		l.catch = &catchUp{sub: &sub, diverting: true, from: row.from, stored: true}
	}
	return nil
}

func (d *Delivery) startCatchUps(ctx, attempts context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lanes {
		if c := l.catch; c != nil {
			d.wg.Go(func() { l.runCatchUp(ctx, attempts, c) })
		}
	}
}

// errRejoined ends a reader that has come to where the router is.
var errRejoined = errors.New("caught up")

// runCatchUp reads the log for the lane until it is back on the shared path
// and all that was read is settled.
func (l *lane) runCatchUp(ctx, attempts context.Context, c *catchUp) {
	for {
		if !l.storeCatchUp(ctx, c) {
			return
		}
		err := l.readLog(ctx, attempts, c)
		if l.isRemoved() {
			return // cleanUp deletes the row
		}
		if err != nil && !errors.Is(err, errRejoined) {
			if ctx.Err() != nil {
				l.saveProgress(context.WithoutCancel(ctx), c)
				return
			}
			l.d.Logger.Error("reading the log for a subscription failed; trying again", "rule", c.sub.RuleARN, "error", err)
			if !sleep(ctx, time.Second) {
				return
			}
			l.restart(c)
			continue
		}
		if l.endCatchUp(ctx, c) {
			return
		}
	}
}

func (l *lane) isRemoved() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.removed
}

// restart makes the reader begin where its unsettled deliveries begin.
func (l *lane) restart(c *catchUp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if seq, ok := c.progress.first(); ok && seq > c.from.Sequence {
		c.from = cursor{Sequence: seq}
	}
}

// storeCatchUp stores the row, and then settles what waited for it.
func (l *lane) storeCatchUp(ctx context.Context, c *catchUp) bool {
	for tries := 1; ; tries++ {
		l.mu.Lock()
		stored, from, sub := c.stored, c.from, c.sub
		l.mu.Unlock()
		if stored {
			return true
		}
		if seq, ok := c.progress.first(); ok && seq < from.Sequence {
			from = cursor{Sequence: seq}
		}
		err := l.d.saveCatchUp(ctx, sub, from)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return false
		}
		l.d.Logger.Error("a target that lags could not leave the shared path; trying again", "rule", sub.RuleARN, "error", err)
		if !sleep(ctx, work.Backoff(tries, 100*time.Millisecond, 10*time.Second, nil)) {
			return false
		}
	}
	l.mu.Lock()
	c.stored = true
	left := c.left
	c.left = nil
	l.mu.Unlock()
	for _, p := range left {
		p.settle()
	}
	return true
}

func (d *Delivery) saveCatchUp(ctx context.Context, sub *bus.Subscription, from cursor) error {
	snapshot, err := json.Marshal(sub)
	if err != nil {
		return fmt.Errorf("encode the subscription: %w", err)
	}
	return d.DB.Update(ctx, func(tx *store.Tx) error {
		return d.store.putCatchUp(ctx, tx, catchUpRow{subscription: sub.ID, from: from, revision: sub.Revision, snapshot: snapshot}, d.Now())
	})
}

// readLog hands what the log holds for the lane to its workers.
func (l *lane) readLog(ctx, attempts context.Context, c *catchUp) error {
	l.mu.Lock()
	from := c.from
	l.mu.Unlock()
	saved := time.Now()
	return l.d.Log.Read(ctx, from.Sequence, func(b *eventlog.Batch) error {
		index := 0
		if b.Seq == from.Sequence {
			index = from.Index
		}
		if err := l.readBatch(ctx, attempts, c, b, index); err != nil {
			return err
		}
		if l.rejoin(c, b.Seq) {
			return errRejoined
		}
		if time.Since(saved) >= saveEvery {
			saved = time.Now()
			l.saveProgress(ctx, c)
		}
		return nil
	})
}

func (l *lane) readBatch(ctx, attempts context.Context, c *catchUp, b *eventlog.Batch, index int) error {
	h := &held{seq: b.Seq, done: func() { c.progress.end(b.Seq) }}
	h.open.Store(1)
	c.progress.begin(b.Seq)
	defer h.settle()
	for i := index; i < len(b.Entries); i++ {
		rec, err := event.DecodeRecord(b.Entries[i])
		if err != nil {
			continue // the router has said so
		}
		if rec.Bus != c.sub.Bus {
			continue
		}
		sub, err := l.matching(ctx, c, &rec)
		if err != nil {
			h.abandon()
			return err
		}
		if sub == nil {
			continue
		}
		p := &pair{seq: b.Seq, index: i, rec: rec, sub: sub}
		h.add(p)
		if err := l.handOver(ctx, attempts, p); err != nil {
			h.abandon()
			return err
		}
	}
	return nil
}

// errRemoved ends a reader whose rule or target was deleted.
var errRemoved = errors.New("the subscription was removed")

// matching returns the form of the subscription that the record goes to, nil
// if it does not. What was accepted before the rule or target changed is
// matched with what it was.
func (l *lane) matching(ctx context.Context, c *catchUp, rec *event.Record) (*bus.Subscription, error) {
	if err := l.d.Buses.WaitVersion(ctx, rec.Bus, rec.RuleVersion); err != nil {
		return nil, err
	}
	sub, err := l.d.Buses.Subscription(ctx, l.id)
	if errors.Is(err, bus.ErrNoSubscription) {
		return nil, errRemoved
	}
	if err != nil {
		return nil, err
	}
	if rec.RuleVersion < uint64(sub.Revision) {
		sub = c.sub
	}
	matches, err := sub.Matches(rec)
	if err != nil || !matches {
		return nil, err
	}
	return sub, nil
}

// handOver waits until the lane has room, or its failing target has had its
// pause, and queues the pair.
func (l *lane) handOver(ctx, attempts context.Context, p *pair) error {
	for {
		if pause := l.pause(); pause > 0 {
			if err := l.waitIdle(ctx); err != nil {
				return err
			}
			if pause = l.pause(); pause > 0 && !l.sleepUnlessGone(ctx, pause) {
				return l.stopped(ctx)
			}
			l.probed()
			return l.queuePair(attempts, p)
		}
		l.mu.Lock()
		full := len(l.queue) >= catchUpWindow
		l.mu.Unlock()
		if !full {
			return l.queuePair(attempts, p)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.gone:
			return errRemoved
		case <-l.room:
		}
	}
}

func (l *lane) queuePair(attempts context.Context, p *pair) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.removed {
		return errRemoved
	}
	l.push(attempts, p)
	return nil
}

// waitIdle waits until no attempt of the lane waits or is under way: a failing
// target is probed with one at a time.
func (l *lane) waitIdle(ctx context.Context) error {
	for {
		l.mu.Lock()
		idle := len(l.queue) == 0 && l.workers == 0
		l.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.gone:
			return errRemoved
		case <-l.room:
		}
	}
}

// probed makes the next pause longer, unless the probe succeeds.
func (l *lane) probed() {
	l.mu.Lock()
	l.probes++
	l.mu.Unlock()
}

func (l *lane) sleepUnlessGone(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-l.gone:
		return false
	case <-timer.C:
		return true
	}
}

func (l *lane) stopped(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return errRemoved
}

// rejoin puts the lane back on the shared path if the reader has read what the
// router left to it.
func (l *lane) rejoin(c *catchUp, read uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if read < c.skipped {
		return false
	}
	c.diverting = false
	l.covered = read
	return true
}

// endCatchUp waits until all that was read is settled and deletes the row;
// false if the lane left the shared path again meanwhile.
func (l *lane) endCatchUp(ctx context.Context, c *catchUp) bool {
	for {
		if l.again(c) {
			return false
		}
		ended := c.progress.ended()
		select {
		case <-ended:
		case <-l.gone:
			return true
		case <-ctx.Done():
			l.saveProgress(context.WithoutCancel(ctx), c)
			return true
		}
		l.mu.Lock()
		if c.diverting || !c.progress.empty() {
			l.mu.Unlock()
			continue
		}
		l.catch = nil
		l.mu.Unlock()
		l.d.dropCatchUp(ctx, l)
		return true
	}
}

func (l *lane) again(c *catchUp) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.diverting
}

// dropCatchUp deletes the row of a lane that is back on the shared path. A row
// that stays is read again at the next start, and its events delivered twice.
func (d *Delivery) dropCatchUp(ctx context.Context, l *lane) {
	err := d.DB.Update(ctx, func(tx *store.Tx) error { return d.store.deleteCatchUp(ctx, tx, l.id) })
	if err != nil && ctx.Err() == nil {
		d.Logger.Error("a subscription is back on the shared path but its row remains", "subscription", l.id, "error", err)
	}
}

// saveProgress stores how far the reader is.
func (l *lane) saveProgress(ctx context.Context, c *catchUp) {
	seq, ok := c.progress.first()
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := l.d.saveCatchUp(ctx, c.sub, cursor{Sequence: seq}); err != nil {
		l.d.Logger.Warn("how far a subscription caught up was not stored", "rule", c.sub.RuleARN, "error", err)
	}
}

// progress knows which batches of a reader are not settled.
type progress struct {
	mu   sync.Mutex
	open []uint64 // ascending
	next uint64   // after the last batch begun
	idle chan struct{}
}

func (p *progress) begin(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, seq)
	p.next = seq + 1
}

func (p *progress) end(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, s := range p.open {
		if s == seq {
			p.open = append(p.open[:i], p.open[i+1:]...)
			break
		}
	}
	if len(p.open) == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// first returns where a reader would have to begin again, false before it began.
func (p *progress) first() (uint64, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) > 0 {
		return p.open[0], true
	}
	return p.next, p.next > 0
}

func (p *progress) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0
}

// ended returns a channel that is closed once nothing is open.
func (p *progress) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) == 0 {
		done := make(chan struct{})
		close(done)
		return done
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	return p.idle
}
