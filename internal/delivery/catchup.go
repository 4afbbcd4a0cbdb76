package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// catchUpWindow is how many deliveries a catch-up reader has under way.
	catchUpWindow = 256
	// saveEvery is how often a catch-up reader stores how far it is: what it
	// delivered since is delivered again after a crash.
	saveEvery = time.Second
	// maxForms is how many forms of a subscription a catch-up reader tells apart.
	maxForms = 16
	// storePause and storePauseMax bound the pause after the store refused.
	storePause    = 100 * time.Millisecond
	storePauseMax = 10 * time.Second
)

// catchUp is a subscription's way off the shared path: one row that says from
// where, and a reader of the log from there. It ends when the reader has come
// to where the router is and all that it read is settled. Only the reader writes
// the row.
type catchUp struct {
	// These are guarded by the lane's mu.

	// forms are the subscription as it was when events were left, and each time
	// that it changed since, oldest first: what was accepted under one is its.
	forms     []*bus.Subscription
	diverting bool    // the router leaves everything to the reader
	skipped   uint64  // the last batch that the router left to the reader
	stored    bool    // the row is in the database
	left      []*pair // left before the row was stored: they hold their batches
	cancel    context.CancelFunc

	again    chan struct{} // told that the lane has left the shared path again
	progress progress
}

func newCatchUp(forms []*bus.Subscription, from cursor) *catchUp {
	c := &catchUp{forms: forms, diverting: true, again: make(chan struct{}, 1)}
	c.progress.seek(from)
	return c
}

// leave leaves the pair to the reader. Callers hold the lane's mu.
func (c *catchUp) leave(p *pair) {
	c.skipped = p.seq
	c.learn(p.sub)
	if c.stored {
		p.end(done)
		return
	}
	p.leave()
	c.left = append(c.left, p)
}

// learn notes a form of the subscription if it is a new one. Callers hold the
// lane's mu.
func (c *catchUp) learn(sub *bus.Subscription) {
	if n := len(c.forms); n > 0 && c.forms[n-1].Revision >= sub.Revision {
		return
	}
	c.forms = append(c.forms, sub)
	if len(c.forms) > maxForms {
		c.forms = append([]*bus.Subscription(nil), c.forms[1:]...)
	}
}

// form returns the form that was in force at a rule version: the newest that is
// not newer. Callers hold the lane's mu.
func (c *catchUp) form(version uint64) *bus.Subscription {
	for i := len(c.forms) - 1; i > 0; i-- {
		if uint64(c.forms[i].Revision) <= version {
			return c.forms[i]
		}
	}
	return c.forms[0]
}

// divert takes the subscription off the shared path, beginning at p or at what
// waits in the lane: whatever is not being attempted is read again later, so that
// a target that hangs costs one row and no job for each delivery. Callers hold mu.
func (l *lane) divert(ctx, attempts context.Context, p *pair) {
	l.d.counters.diverted.Add(1)
	from := cursor{p.seq, p.index}
	if c := l.catch; c != nil { // its reader still has deliveries under way
		c.diverting, c.stored = true, false
		c.progress.seek(from)
		l.d.trace(p, Step{Kind: StepLeft})
		c.leave(p)
		select {
		case c.again <- struct{}{}:
		default:
		}
		return
	}
	behind := l.takeWaiting()
	for _, q := range behind {
		l.d.trace(q, Step{Kind: StepLeft})
		from = earlier(from, cursor{q.seq, q.index})
	}
	c := newCatchUp(nil, from)
	for _, q := range behind {
		c.learn(q.sub)
	}
	c.left = behind
	l.d.trace(p, Step{Kind: StepLeft})
	c.leave(p)
	l.catch = c
	l.d.Logger.Info("a target is slow or failing; its events wait in the log", "rule", p.sub.RuleARN, "target", p.sub.Target.ARN)
	l.d.wg.Go(func() { l.runCatchUp(ctx, attempts, c) })
}

func earlier(a, b cursor) cursor {
	if b.Sequence < a.Sequence || b.Sequence == a.Sequence && b.Index < a.Index {
		return b
	}
	return a
}

// takeWaiting empties the queue and returns what of it is not being attempted or
// parked, marked as leaving. Callers hold mu.
func (l *lane) takeWaiting() []*pair {
	var taken []*pair
	for _, p := range l.queue {
		if p.leave() {
			taken = append(taken, p)
		}
	}
	l.queue = nil
	return taken
}

// loadCatchUps makes the lanes that an earlier process left off the shared
// path. Rows of subscriptions that are gone are deleted.
func (d *Delivery) loadCatchUps(ctx context.Context) error {
	rows, err := d.store.catchUps(ctx)
	if err != nil {
		return fmt.Errorf("load what waits in the log: %w", err)
	}
	if len(rows) == 0 {
		return nil
	}
	// Whatever the log acknowledged by now may have been left to the readers.
	last, err := d.Log.LastSeq(ctx)
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
		c := newCatchUp(d.formsOf(row, current), row.from)
		c.stored, c.skipped = true, last
		l := d.lane(current)
		l.mu.Lock()
		l.catch = c
		l.mu.Unlock()
	}
	return nil
}

// formsOf reads the forms that a row keeps. Without them the subscription is
// taken as it is now: one row must not keep all others waiting.
func (d *Delivery) formsOf(row catchUpRow, current *bus.Subscription) []*bus.Subscription {
	var forms []*bus.Subscription
	err := json.Unmarshal(row.snapshot, &forms)
	if err == nil && len(forms) > 0 && forms[0] != nil {
		return forms
	}
	d.Logger.Error("how a subscription was when it left the shared path cannot be read; it is taken as it is now",
		"rule", current.RuleARN, "target", current.Target.ARN, "error", err)
	return []*bus.Subscription{current}
}

func (d *Delivery) startCatchUps(ctx, attempts context.Context) {
	for _, l := range d.allLanes() {
		l.mu.Lock()
		if c := l.catch; c != nil && !l.removed {
			d.wg.Go(func() { l.runCatchUp(ctx, attempts, c) })
		}
		l.mu.Unlock()
	}
}

// errRejoined ends the reading when it has come to where the router is.
var errRejoined = errors.New("caught up")

// errRemoved ends a reader whose rule or target was deleted.
var errRemoved = errors.New("the subscription was removed")

// runCatchUp reads the log for the lane until it is back on the shared path, or
// its subscription is removed, or ctx ends.
func (l *lane) runCatchUp(ctx, attempts context.Context, c *catchUp) {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	l.mu.Lock()
	c.cancel = cancel
	removed := l.removed
	l.mu.Unlock()
	if !removed {
		if errors.Is(l.catchUp(reading, attempts, c), errRemoved) {
			l.d.removed(l.id)
		}
	}
	if l.isRemoved() {
		_ = l.dropRow(ctx, func() bool { return true }) // else the next tenure finds it
	}
}

// catchUp returns nil when the lane is back on the shared path.
func (l *lane) catchUp(ctx, attempts context.Context, c *catchUp) error {
	for {
		if err := l.storeRow(ctx, c); err != nil {
			return err
		}
		err := l.readLog(ctx, attempts, c)
		switch {
		case errors.Is(err, errRejoined):
			if l.endCatchUp(ctx, c) {
				return nil
			}
		case errors.Is(err, errRemoved) || ctx.Err() != nil:
			return err
		default:
			l.d.Logger.Error("reading the log for a subscription failed; trying again", "subscription", l.id, "error", err)
			if !sleep(ctx, time.Second) {
				return ctx.Err()
			}
		}
	}
}

// storeRow stores the row if it is not, and then settles what waited for it.
func (l *lane) storeRow(ctx context.Context, c *catchUp) error {
	for tries := 1; ; tries++ {
		l.mu.Lock()
		stored := c.stored
		l.mu.Unlock()
		if stored {
			return nil
		}
		err := l.saveRow(ctx, c)
		if err == nil {
			break
		}
		if ctx.Err() == nil {
			l.d.Logger.Error("a target that lags could not leave the shared path; trying again", "subscription", l.id, "error", err)
		}
		if !sleep(ctx, work.Backoff(tries, storePause, storePauseMax, nil)) {
			return ctx.Err()
		}
	}
	l.rowStored(c)
	return nil
}

// rowStored settles what waited for the row.
func (l *lane) rowStored(c *catchUp) {
	l.mu.Lock()
	c.stored = true
	left := c.left
	c.left = nil
	l.mu.Unlock()
	for _, p := range left {
		p.end(done)
	}
}

// saveRow stores how far the reader is, and by which forms it goes.
func (l *lane) saveRow(ctx context.Context, c *catchUp) error {
	from := c.progress.position()
	l.mu.Lock()
	forms := append([]*bus.Subscription(nil), c.forms...)
	l.mu.Unlock()
	snapshot, err := json.Marshal(forms)
	if err != nil {
		return fmt.Errorf("encode the subscription: %w", err)
	}
	row := catchUpRow{subscription: l.id, from: from, revision: forms[len(forms)-1].Revision, snapshot: snapshot}
	err = l.d.DB.Update(ctx, func(tx *store.Tx) error {
		if err := l.d.store.holdLease(ctx, tx, routerLease, l.d.Node); err != nil {
			return err
		}
		return l.d.store.putCatchUp(ctx, tx, row, l.d.Now())
	})
	if err == nil {
		c.progress.saved(from)
	}
	return err
}

// dropRow deletes the row, however often it takes: one that stays keeps the log
// from being trimmed. It reports false if wanted no more, or if ctx ended.
func (l *lane) dropRow(ctx context.Context, wanted func() bool) (dropped bool) {
	for tries := 1; wanted(); tries++ {
		err := l.d.DB.Update(ctx, func(tx *store.Tx) error {
			if err := l.d.store.holdLease(ctx, tx, routerLease, l.d.Node); err != nil {
				return err
			}
			return l.d.store.deleteCatchUp(ctx, tx, l.id)
		})
		if err == nil {
			return true
		}
		if ctx.Err() == nil {
			l.d.Logger.Error("a subscription reads the log no more but its row remains; trying again", "subscription", l.id, "error", err)
		}
		if !sleep(ctx, work.Backoff(tries, storePause, storePauseMax, nil)) {
			return false
		}
	}
	return false
}

// readLog hands what the log holds for the lane to its workers.
func (l *lane) readLog(ctx, attempts context.Context, c *catchUp) error {
	from := c.progress.nextEntry()
	return l.d.Log.Read(ctx, from.Sequence, func(b *eventlog.Batch) error {
		index := 0
		switch next := c.progress.nextEntry(); {
		case b.Seq == next.Sequence:
			index = next.Index
		case next.Sequence > 0 && b.Seq > next.Sequence:
			l.d.Logger.Error("batches were removed from the log before they were read for a subscription",
				"subscription", l.id, "from", next.Sequence, "to", b.Seq-1)
		}
		if err := l.readBatch(ctx, attempts, c, b, index); err != nil {
			return err
		}
		if l.rejoin(c, b.Seq) {
			return errRejoined
		}
		return nil
	})
}

// readBatch hands over what a batch holds for the lane. After an error it is not
// settled, and the row says so: the next reader begins at it.
func (l *lane) readBatch(ctx, attempts context.Context, c *catchUp, b *eventlog.Batch, index int) error {
	h := newHeld(b.Seq, func() { c.progress.end(b.Seq) })
	c.progress.begin(h, index)
	for i := index; i < len(b.Entries); i++ {
		c.progress.at(i)
		p, err := l.pairOf(ctx, c, b, i)
		if err != nil {
			return err
		}
		if p != nil {
			h.add(p)
			if err := l.handOver(ctx, attempts, p); err != nil {
				return err
			}
		}
		l.saveNow(ctx, c)
	}
	c.progress.at(len(b.Entries))
	h.settle()
	l.saveNow(ctx, c)
	return nil
}

// saveNow stores how far the reader is, if that was a while ago.
func (l *lane) saveNow(ctx context.Context, c *catchUp) {
	if !c.progress.isDue(time.Now()) {
		return
	}
	if err := l.saveRow(ctx, c); err != nil && ctx.Err() == nil {
		l.d.Logger.Warn("how far a subscription caught up was not stored", "subscription", l.id, "error", err)
	}
}

// pairOf returns the delivery that an entry of the log is for the lane, nil if
// it is none. What cannot be read or matched is passed over: it would keep all
// that follows.
func (l *lane) pairOf(ctx context.Context, c *catchUp, b *eventlog.Batch, index int) (*pair, error) {
	rec, err := event.DecodeRecord(b.Entries[index])
	if err != nil {
		return nil, nil //nolint:nilerr // the router has said so
	}
	l.mu.Lock()
	own := rec.Bus == c.forms[0].Bus
	l.mu.Unlock()
	if !own {
		return nil, nil
	}
	sub, err := l.formFor(ctx, c, &rec)
	if err != nil {
		return nil, err
	}
	matches, err := sub.Matches(&rec)
	if err != nil {
		l.d.Logger.Error("an event cannot be matched and is passed over", "event", rec.ID, "rule", sub.RuleARN, "error", err)
	}
	if err != nil || !matches {
		return nil, nil //nolint:nilerr // logged
	}
	return &pair{seq: b.Seq, index: index, rec: rec, sub: sub}, nil
}

// formFor returns the form of the subscription that was in force when the event
// was accepted. It fails with errRemoved, or with ctx.
func (l *lane) formFor(ctx context.Context, c *catchUp, rec *event.Record) (*bus.Subscription, error) {
	if !l.d.awaitRules(ctx, rec) {
		return nil, ctx.Err()
	}
	for tries := 1; ; tries++ {
		current, err := l.d.Buses.Subscription(ctx, l.id)
		if err == nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			c.learn(current)
			return c.form(rec.RuleVersion), nil
		}
		if errors.Is(err, bus.ErrNoSubscription) {
			return nil, errRemoved
		}
		if ctx.Err() == nil {
			l.d.Logger.Error("a subscription cannot be read; trying again", "subscription", l.id, "error", err)
		}
		if !sleep(ctx, work.Backoff(tries, rulesPause, rulesPauseMax, nil)) {
			return nil, ctx.Err()
		}
	}
}

// handOver waits until the lane has room, or its failing target has had its
// pause, and queues the pair.
func (l *lane) handOver(ctx, attempts context.Context, p *pair) error {
	var probe time.Time // when the failing target may be tried
	for {
		handed, wait := l.tryHandOver(attempts, p, &probe)
		if handed {
			return nil
		}
		if err := l.awaitRoom(ctx, wait); err != nil {
			return err
		}
	}
}

// tryHandOver queues the pair if it may be. Otherwise it returns after which
// time, unless the lane changes before; zero for not before it does.
func (l *lane) tryHandOver(attempts context.Context, p *pair, probe *time.Time) (handed bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.removed:
		return false, 0 // ctx ends
	case !l.failing() || l.d.hopeless(p):
		if len(l.queue) >= catchUpWindow {
			return false, 0
		}
	case len(l.queue) > 0 || l.workers > 0:
		return false, 0 // a failing target is probed with one at a time
	default:
		now := time.Now()
		if probe.IsZero() {
			*probe = now.Add(l.pause(p))
		}
		if wait = probe.Sub(now); wait > 0 {
			return false, wait
		}
		l.probes++
	}
	l.push(attempts, p)
	return true, 0
}

// hopeless reports whether nothing is gained by waiting for the target to mend:
// the event is too old, or has one attempt and no retries.
func (d *Delivery) hopeless(p *pair) bool {
	return p.sub.Target.RetryPolicy.MaximumRetryAttempts == 0 || d.expired(p)
}

// awaitRoom returns when the lane has changed, or after the time unless that is
// zero, or with an error when ctx ended.
func (l *lane) awaitRoom(ctx context.Context, wait time.Duration) error {
	var after <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-after:
	case <-l.room:
	}
	return nil
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
// false if the lane left the shared path again meanwhile. The row is deleted
// before the lane may make a new one.
func (l *lane) endCatchUp(ctx context.Context, c *catchUp) bool {
	idle := c.progress.idle()
	for waiting := true; waiting; {
		select {
		case <-idle:
			waiting = false
		case <-c.again: // a token may be from before the last reading
			waiting = !l.isDiverting(c)
		case <-ctx.Done():
			return true
		}
	}
	dropped := l.dropRow(ctx, func() bool { return !l.isDiverting(c) })
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.diverting {
		return false
	}
	if dropped {
		l.catch = nil
	}
	return true
}

func (l *lane) isDiverting(c *catchUp) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.diverting
}

// closeCatchUps is for the end of a tenure, when the readers and the workers have
// ended: it leaves each lane that is off the shared path so that the next tenure
// can go on with it.
func (d *Delivery) closeCatchUps(ctx context.Context) {
	for _, l := range d.allLanes() {
		l.mu.Lock()
		c, removed := l.catch, l.removed
		l.mu.Unlock()
		if c == nil || removed {
			continue
		}
		if err := l.closeCatchUp(ctx, c); err != nil {
			d.Logger.Warn("how far a subscription caught up was not stored; events may be delivered twice", "subscription", l.id, "error", err)
		}
	}
}

// closeCatchUp stores how far the reader is. One that is back on the shared path,
// and waits for the last of what it read only, has that parked: its row would say
// that all that followed is to be read again.
func (l *lane) closeCatchUp(ctx context.Context, c *catchUp) error {
	defer l.stay(c)
	if !l.isDiverting(c) {
		if err := l.d.parkOverdue(ctx, c.progress.batches()); err == nil && c.progress.isIdle() {
			if l.dropRow(ctx, func() bool { return true }) {
				return nil
			}
		}
	}
	if err := l.saveRow(ctx, c); err != nil {
		return err
	}
	l.rowStored(c)
	return nil
}

// stay gives back what was to leave with a row that was not stored.
func (l *lane) stay(c *catchUp) {
	l.mu.Lock()
	left := c.left
	c.left = nil
	l.mu.Unlock()
	for _, p := range left {
		p.stay()
	}
}
