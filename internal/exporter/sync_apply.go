package exporter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// apply brings reads of the scope into the sink, one for each in its order, and in
// as many transactions as the pace of the run asks for. With hold, a resource of which an
// entity would go is left as it was; without, what was not found is gone: a complete list
// lacked it, and it was looked for before.
func (r *scopeRun) apply(ctx context.Context, reads []Read, hold bool) ([]Applied, error) {
	all := make([]Applied, 0, len(reads))
	for len(reads) > 0 {
		n := min(r.pace.size(), len(reads))
		done, err := r.applySome(ctx, reads[:n], hold)
		if err != nil {
			if done, err = r.applyEach(ctx, reads[:n], hold, err); err != nil {
				return nil, err
			}
		}
		all, reads = append(all, done...), reads[n:]
	}
	for i := range all {
		if all[i].Err != nil {
			r.blame(all[i].Err)
		}
	}
	return all, nil
}

func (r *scopeRun) applySome(ctx context.Context, reads []Read, hold bool) ([]Applied, error) {
	if err := r.applies.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer r.applies.Release(1)
	var stored time.Time
	done, err := r.x.apply(ctx, reads, r.cause(), applyOptions{
		DryRun: r.run.DryRun, HoldRemovals: hold, Certain: !hold,
		Commit: func(ctx context.Context, tx *store.Tx, done []Applied) error {
			err := r.commit(ctx, tx, done, hold)
			stored = time.Now()
			r.pace.took(len(done), stored.Sub(tx.StartedAt()))
			return err
		},
	})
	if err == nil && !stored.IsZero() {
		r.pace.committed(time.Since(stored))
	}
	if err == nil && r.run.DryRun {
		err = r.x.db.Update(ctx, func(tx *store.Tx) error { return r.commitDry(ctx, tx, done) })
	}
	if err == nil {
		r.goesOn(ctx)
	}
	return done, err
}

// applyEach brings reads into the sink one by one that together could not be, for a
// reason: what cannot be stored alone either has failed, and keeps no other from being
// stored. Its error is the reason where it is not of a resource: the database does not
// answer, the lease is another's, or the sink, which has no transactions, is down.
func (r *scopeRun) applyEach(ctx context.Context, reads []Read, hold bool, reason error) ([]Applied, error) {
	all := make([]Applied, 0, len(reads))
	for i := range reads {
		if ctx.Err() != nil || errors.Is(reason, errDeposed) || !r.x.o.Sink.Transactional() || r.save(ctx) != nil {
			return nil, reason
		}
		done, err := r.applySome(ctx, reads[i:i+1], hold)
		if err != nil {
			reason = fmt.Errorf("store %s: %w", reads[i].Key, err)
			done = []Applied{{Key: reads[i].Key, Ticket: reads[i].Ticket, Outcome: Failed, Err: reason, Retry: true}}
		}
		all = append(all, done...)
	}
	if ctx.Err() != nil || errors.Is(reason, errDeposed) || r.save(ctx) != nil {
		return nil, reason
	}
	return all, nil
}

// pace keeps a run's transactions short where others wait for them: SQLite has one
// writer, and whoever comes waits for one of them at most.
type pace struct {
	dialect store.Dialect
	// least is how many resources go together however long that takes.
	least int

	mu sync.Mutex
	// each is what a resource takes in a transaction: the least of late, as on a busy
	// machine most of a transaction's time is others', of which shorter ones would only
	// have more.
	each time.Duration
	// commit is what it takes to commit one, likewise.
	commit time.Duration
}

const (
	// writerTime is how long a transaction should hold a writer that others wait for. With one
	// new resource in it, it takes most of that: fewer than minWrite gain little.
	writerTime = 400 * time.Microsecond
	minWrite   = 2
	// minCall is minWrite where each is a call to a sink elsewhere, and the transaction of its outcome is
	// short. Port: a bulk call takes so many entities.
	minCall = 20
)

func newPace(d store.Dialect, sink Sink) *pace {
	p := &pace{dialect: d, least: minWrite, each: writerTime / minWrite}
	if !sink.Transactional() {
		p.least = minCall
	}
	return p
}

// size is how many resources go into the next transaction.
func (p *pace) size() int {
	if p.dialect != store.SQLite {
		return maxWrite
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// Where a commit takes long, as on a slow disk, others wait for that anyway.
	return min(max(int(max(writerTime, p.commit/2)/p.each), p.least), applyBatch)
}

// took tells how long a transaction of n resources took.
func (p *pace) took(n int, d time.Duration) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.each = leastOfLate(p.each, max(d/time.Duration(n), time.Microsecond))
}

// committed tells how long it took to commit a transaction.
func (p *pace) committed(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commit = leastOfLate(p.commit, d)
}

func leastOfLate(least, d time.Duration) time.Duration {
	if d < least {
		return d
	}
	return least + (d-least)/64
}

// commit writes down what a transaction has changed, as part of it: whoever stores what came of
// the reads has made sure there that the lease is ours.
func (r *scopeRun) commit(ctx context.Context, tx *store.Tx, done []Applied, hold bool) error {
	changes, sum := r.changesOf(done, hold)
	if err := r.noteIn(ctx, tx, changes); err != nil {
		return err
	}
	if sum != (changeSum{}) {
		if err := addBatch(ctx, tx, r.sc, r.x.tickets.next(), sum.created, sum.updated, sum.removed); err != nil {
			return err
		}
	}
	now := r.x.now()
	for i := range done {
		if d, ok := r.driftOf(&done[i], hold, now); ok {
			if err := insertDrift(ctx, tx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// commitDry writes down what a dry run would have changed.
func (r *scopeRun) commitDry(ctx context.Context, tx *store.Tx, done []Applied) error {
	if err := r.x.guard(ctx, tx); err != nil {
		return err
	}
	changes, sum := r.changesOf(done, false)
	if err := r.noteIn(ctx, tx, changes); err != nil {
		return err
	}
	if sum != (changeSum{}) {
		if err := addBatch(ctx, tx, r.sc, r.x.tickets.next(), sum.created, sum.updated, sum.removed); err != nil {
			return err
		}
	}
	listed := make([]string, len(done))
	for i := range done {
		listed[i] = done[i].Identifier
	}
	return noteListed(ctx, tx, r.sc, listed)
}

type changeSum struct{ created, updated, removed int }

// changesOf sums up what was changed, or would be in a dry run. With hold, what would
// remove an entity was not done.
func (r *scopeRun) changesOf(done []Applied, hold bool) (list []SyncChange, sum changeSum) {
	for i := range done {
		a := &done[i]
		switch {
		case a.Outcome == Failed:
			why := "it could not be stored"
			if a.Err != nil {
				why = a.Err.Error()
			}
			list = append(list, r.change(a.Identifier, "failed", why))
		case hold && len(a.Removed) > 0:
		case a.Outcome == Created:
			sum.created++
			list = append(list, r.change(a.Identifier, "created", "found in the cloud"))
		case a.Outcome == Updated:
			sum.updated++
			list = append(list, r.change(a.Identifier, "updated", whyUpdated(a)))
		case a.Outcome == Deleted:
			sum.removed++
			list = append(list, r.change(a.Identifier, "removed", r.whyRemoved()))
		case a.Outcome == Deselected && len(a.Removed) > 0:
			sum.removed++
			list = append(list, r.change(a.Identifier, "removed", "no longer selected"))
		}
	}
	return list, sum
}

func whyUpdated(a *Applied) string {
	if a.Changed {
		return "the resource differs from what was known"
	}
	return "its entities were not as the configuration makes them"
}

func (r *scopeRun) whyRemoved() string {
	if r.sc.Source == sourceUnconfigured {
		return "no longer configured"
	}
	return "not there any more"
}

// driftOf says what events should have told of what a read has changed.
func (r *scopeRun) driftOf(a *Applied, hold bool, now time.Time) (Drift, bool) {
	if !a.Changed || hold && len(a.Removed) > 0 || !r.hasEvents || r.sc.Source != sourceConfigured {
		return Drift{}, false
	}
	known := a.Before != nil && a.Before.Present
	if a.Before != nil && !a.Before.RecheckAt.IsZero() {
		return Drift{}, false // an event has told, and is being followed up
	}
	d := Drift{RunID: r.run.ID, Key: a.Key, FoundAt: now, due: now.Add(r.run.Grace)}
	switch {
	case a.Outcome == Deleted && known:
		d.Missed, d.Since = MissedDelete, lastKnown(a.Before)
	case a.Outcome == Created && !known:
		d.Missed, d.Since = MissedCreate, r.syncedAt
		if a.Before != nil && !r.syncedAt.IsZero() {
			d.Since = latest(d.Since, a.Before.ReadAt) // it was gone then
		}
	case known && (a.Outcome == Updated || a.Outcome == Created || a.Outcome == Deselected && len(a.Removed) > 0):
		d.Missed, d.Since = MissedUpdate, lastKnown(a.Before)
	}
	return d, d.Missed != "" && !d.Since.IsZero() && !d.Since.Before(r.eventsSince)
}

// lastKnown is when a resource was last known to be as it was stored.
func lastKnown(r *Resource) time.Time {
	if !r.ReadAt.IsZero() {
		return r.ReadAt
	}
	return r.UpsertAt
}
