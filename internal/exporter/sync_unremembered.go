package exporter

import (
	"context"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// unrememberedChunk is how many entities are deleted in one write.
	unrememberedChunk = 50
	// ownedBatch is how many entities are looked up at once.
	ownedBatch = 250
)

// errRemembered undoes the deletion of entities one of which a resource has made
// anew meanwhile.
var errRemembered = errors.New("an entity has come to belong to a resource")

// unremembered removes entities from the sink that are ours and of no resource that
// is known: of a state that was lost, or of a crash between sink and state. Only a
// run of everything that was listed wholly can tell them from those not yet read.
func (s *syncing) unremembered(ctx context.Context, sc *SyncScope) error {
	r := &scopeRun{syncing: s, sc: sc}
	if sc.StartedAt.IsZero() {
		sc.StartedAt = s.x.now()
	}
	totals, err := runTotals(ctx, s.x.db, s.run.ID)
	if err != nil {
		return fmt.Errorf("count full sync %s: %w", s.run.ID, err)
	}
	if totals.ScopesFailed > 0 || totals.Failed > 0 {
		sc.Error = "entities of no known resource are left alone, as not everything could be listed and stored"
		return r.done(ctx, scopeSkipped)
	}
	sc.Stage, sc.Counts.Missing = stageChecking, 0
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	var changes []SyncChange
	all, err := r.owned(ctx, func(ref catalog.EntityRef) error {
		sc.Counts.Missing++
		if len(changes) < maxNoted {
			changes = append(changes, r.change(ref.Blueprint+"/"+ref.Identifier, "held", "it is of no known resource"))
		}
		return ctx.Err()
	})
	if err != nil {
		return r.failed(ctx, fmt.Errorf("list the entities that are ours: %w", err))
	}
	limit := s.settings.limit(all)
	tooMany := sc.Counts.Missing > limit && s.run.Confirms == ""
	switch {
	case sc.Counts.Missing == 0:
		return r.done(ctx, scopeComplete)
	case !tooMany && !s.run.DryRun:
		return r.forget(ctx)
	}
	for i := range changes {
		if !tooMany {
			changes[i].Change = "removed"
		}
	}
	if err := r.note(ctx, changes...); err != nil {
		return err
	}
	if !tooMany {
		return r.done(ctx, scopeComplete)
	}
	sc.Counts.Held = sc.Counts.Missing
	if s.run.DryRun {
		return r.done(ctx, scopeComplete)
	}
	sc.Error = fmt.Sprintf("%d of the %d entities that are ours are of no known resource, more than the %d that may go unasked", sc.Counts.Missing, all, limit)
	return r.done(ctx, scopeHeld)
}

// owned yields the entities in the sink that are ours, were last written before the
// run began, and are of no known resource. It returns how many are ours.
func (r *scopeRun) owned(ctx context.Context, yield func(catalog.EntityRef) error) (all int64, err error) {
	var batch []catalog.EntityRef
	flush := func() error {
		owners, err := loadOwners(ctx, r.x.db, batch)
		if err != nil {
			return err
		}
		for _, ref := range batch {
			if len(owners[ref]) > 0 {
				continue
			}
			if err := yield(ref); err != nil {
				return err
			}
		}
		batch = batch[:0]
		return nil
	}
	err = r.x.o.Sink.Owned(ctx, r.run.StartedAt, func(ref catalog.EntityRef) error {
		all++
		if batch = append(batch, ref); len(batch) < ownedBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	return all, err
}

// forget deletes them.
func (r *scopeRun) forget(ctx context.Context) error {
	r.sc.Stage = stageRemoving
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	var batch []catalog.EntityRef
	flush := func() error {
		err := r.deleteUnremembered(ctx, batch)
		batch = batch[:0]
		return err
	}
	_, err := r.owned(ctx, func(ref catalog.EntityRef) error {
		if batch = append(batch, ref); len(batch) < unrememberedChunk {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return r.failed(ctx, fmt.Errorf("delete entities of no known resource: %w", err))
	}
	return r.done(ctx, scopeComplete)
}

func (r *scopeRun) deleteUnremembered(ctx context.Context, refs []catalog.EntityRef) error {
	if len(refs) == 0 {
		return nil
	}
	changes := make([]catalog.EntityChange, len(refs))
	for i, ref := range refs {
		changes[i] = catalog.EntityChange{Delete: true, Blueprint: ref.Blueprint, Identifier: ref.Identifier, DeleteDependents: true}
	}
	w := catalog.Writer{By: writer, Datasource: product, Cause: r.cause()}
	var results []catalog.ChangeResult
	err := r.x.o.Sink.Write(ctx, w, changes, func(ctx context.Context, tx *store.Tx, made []catalog.ChangeResult) error {
		results = made
		if tx == nil {
			return nil
		}
		return r.commitUnremembered(ctx, tx, refs, made)
	})
	if errors.Is(err, errRemembered) {
		return nil // the next run sees to what is left of them
	}
	if err != nil || r.x.o.Sink.Transactional() {
		return err
	}
	return r.x.db.Update(ctx, func(tx *store.Tx) error { return r.countUnremembered(ctx, tx, refs, results) })
}

func (r *scopeRun) commitUnremembered(ctx context.Context, tx *store.Tx, refs []catalog.EntityRef, made []catalog.ChangeResult) error {
	for _, ref := range refs {
		known, err := remembered(ctx, tx, ref)
		if err != nil {
			return err
		}
		if known {
			return errRemembered
		}
	}
	return r.countUnremembered(ctx, tx, refs, made)
}

func (r *scopeRun) countUnremembered(ctx context.Context, tx *store.Tx, refs []catalog.EntityRef, made []catalog.ChangeResult) error {
	if err := r.x.guard(ctx, tx); err != nil {
		return err
	}
	var changes []SyncChange
	for i, ref := range refs {
		if made[i].Err == nil {
			changes = append(changes, r.change(ref.Blueprint+"/"+ref.Identifier, "removed", "it was of no known resource"))
		}
	}
	if err := r.noteIn(ctx, tx, changes); err != nil || len(changes) == 0 {
		return err
	}
	return addBatch(ctx, tx, r.sc, r.x.tickets.next(), 0, 0, len(changes))
}
