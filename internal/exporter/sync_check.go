package exporter

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

// What a complete list lacks is looked for by its identifier, twice: the first time
// to count what would go, so that too much is held, the second time to remove it. A
// resource is known to be missing by its ticket, which is lower than the scope's: no
// list is kept in memory.

// lookChunk is how many resources are looked for at once.
const lookChunk = maxWrite

// look is what was found out about one missing resource.
type look struct {
	read Read
	// unreadable: it cannot be read, now or ever, and is missing from a complete list.
	unreadable bool
	err        error
}

// check looks for what the list lacks, stores what it finds, and counts what would
// go. More than may go unasked is held.
func (r *scopeRun) check(ctx context.Context) error {
	sc := r.sc
	from := *sc
	from.cursor = ""
	_, present, err := countCandidates(ctx, r.x.db, &from, r.run.DryRun)
	if err != nil {
		return fmt.Errorf("count the missing of %s: %w", sc.ScopeKey, err)
	}
	limit := r.settings.limit(present) // what is missing is present still
	for {
		ids, err := candidates(ctx, r.x.db, sc, r.run.DryRun, lookChunk)
		if err != nil {
			return fmt.Errorf("look for the missing of %s: %w", sc.ScopeKey, err)
		}
		if len(ids) == 0 {
			break
		}
		if err := r.checkSome(ctx, ids); err != nil {
			return err
		}
		sc.cursor = ids[len(ids)-1]
		if sc.Counts.Missing > limit && r.run.Confirms == "" && !r.run.DryRun {
			return r.hold(ctx, limit)
		}
		if err := r.checkpointSoon(ctx); err != nil {
			return err
		}
	}
	return r.checked(ctx, limit)
}

// checked decides what follows once all that is missing was looked for.
func (r *scopeRun) checked(ctx context.Context, limit int64) error {
	sc := r.sc
	switch {
	case r.run.DryRun && sc.Counts.Missing > limit:
		sc.Counts.Held = sc.Counts.Missing
		return r.done(ctx, scopeComplete)
	case r.run.DryRun, r.cfg.SkipDelete, sc.Counts.Missing == 0:
		return r.done(ctx, scopeComplete)
	}
	sc.Stage, sc.cursor = stageRemoving, ""
	return r.checkpoint(ctx)
}

func (r *scopeRun) checkSome(ctx context.Context, ids []string) error {
	looks, err := r.look(ctx, ids)
	if err != nil {
		return err
	}
	var found []Read
	var gone []SyncChange
	for i := range looks {
		l := &looks[i]
		switch {
		case l.read.Found:
			found = append(found, l.read)
		case l.err != nil && !l.unreadable:
			r.sc.Counts.Unread++
			r.blame(l.err)
		default:
			r.sc.Counts.Missing++
			if r.run.DryRun {
				gone = append(gone, r.change(ids[i], "removed", r.whyRemoved()))
			}
		}
	}
	if err := r.note(ctx, gone...); err != nil || len(found) == 0 {
		return err
	}
	done, err := r.apply(ctx, found, true)
	for i := range done {
		if done[i].Outcome != Failed && len(done[i].Removed) > 0 {
			r.sc.Counts.Missing++
		}
	}
	return err
}

// look reads resources, several at once. Those of a scope that is no longer
// configured are not read: whether they are there does not matter.
func (r *scopeRun) look(ctx context.Context, ids []string) ([]look, error) {
	looks := make([]look, len(ids))
	if r.sc.Source == sourceUnconfigured {
		for i, id := range ids {
			looks[i].read = r.x.newRead(r.key(id))
		}
		return looks, nil
	}
	var g errgroup.Group
	g.SetLimit(r.getsAtOnce())
	for i, id := range ids {
		g.Go(func() error {
			l := &looks[i]
			l.read, l.err = r.get(ctx, id)
			l.read.Key = r.key(id) // under which it is known
			if l.err != nil {
				l.unreadable = r.absenceCounts() && neverReadable(l.err)
			}
			return ctx.Err()
		})
	}
	return looks, g.Wait()
}

// absenceCounts reports whether what is missing is missing from the list: where some
// that were listed could not be stored, or were left alone, they are missing too.
func (r *scopeRun) absenceCounts() bool {
	return r.sc.Counts.Failed == 0 && r.sc.spared == 0
}

// neverReadable reports whether another read would fail just so.
func neverReadable(err error) bool {
	switch reader.ClassOf(err) {
	case reader.Denied, reader.Unsupported, reader.Invalid:
		return true
	}
	return false
}

// hold leaves all that is missing as it is, until the run is confirmed.
func (r *scopeRun) hold(ctx context.Context, limit int64) error {
	sc := r.sc
	from := *sc
	from.cursor = ""
	missing, present, err := countCandidates(ctx, r.x.db, &from, r.run.DryRun)
	if err != nil {
		return fmt.Errorf("count the missing of %s: %w", sc.ScopeKey, err)
	}
	ids, err := candidates(ctx, r.x.db, &from, r.run.DryRun, maxNoted)
	if err != nil {
		return fmt.Errorf("list the missing of %s: %w", sc.ScopeKey, err)
	}
	changes := make([]SyncChange, len(ids))
	for i, id := range ids {
		changes[i] = r.change(id, "held", "would be removed: "+r.whyRemoved())
	}
	err = r.x.db.Update(ctx, func(tx *store.Tx) error { return noteChanges(ctx, tx, sc, changes) })
	if err != nil {
		return fmt.Errorf("note what is held of %s: %w", sc.ScopeKey, err)
	}
	sc.Counts.Held = missing
	sc.Error = fmt.Sprintf("%d of %d resources would go, more than the %d that may unasked", missing, present, limit)
	return r.done(ctx, scopeHeld)
}

// remove looks for what is missing a second time, and removes it: no more than was
// counted, so that what was counted against the limit holds.
func (r *scopeRun) remove(ctx context.Context) error {
	sc := r.sc
	left := sc.Counts.Missing - sc.Counts.Removed // what a killed process removed counts
	for {
		ids, err := candidates(ctx, r.x.db, sc, false, lookChunk)
		if err != nil {
			return fmt.Errorf("look for the missing of %s: %w", sc.ScopeKey, err)
		}
		if len(ids) == 0 {
			return r.done(ctx, scopeComplete)
		}
		removed, err := r.removeSome(ctx, ids, left)
		if err != nil {
			return err
		}
		left -= removed
		sc.cursor = ids[len(ids)-1]
		if err := r.checkpointSoon(ctx); err != nil {
			return err
		}
	}
}

func (r *scopeRun) removeSome(ctx context.Context, ids []string, left int64) (removed int64, err error) {
	looks, err := r.look(ctx, ids)
	if err != nil {
		return 0, err
	}
	var reads, found []Read
	for i := range looks {
		switch l := &looks[i]; {
		case l.err != nil && !l.unreadable:
			r.sc.Counts.Unread++
			r.blame(l.err)
		case l.read.Found:
			found = append(found, l.read)
		default:
			reads = append(reads, l.read)
		}
	}
	// Those that came back take no room of those that are gone.
	reads = append(reads, found...)
	reads = reads[:min(int64(len(reads)), max(left, 0))]
	if len(reads) == 0 {
		return 0, nil
	}
	done, err := r.apply(ctx, reads, false)
	for i := range done {
		if len(done[i].Removed) > 0 || done[i].Outcome == Deleted {
			removed++
		}
	}
	return removed, err
}

// checkpointSoon writes the scope down if that was a while ago.
func (r *scopeRun) checkpointSoon(ctx context.Context) error {
	if r.x.now().Sub(r.savedAt) < saveEvery {
		return nil
	}
	return r.checkpoint(ctx)
}
