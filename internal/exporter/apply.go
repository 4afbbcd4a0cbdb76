package exporter

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

// writer is who the exporter's changes are by.
const writer = "exporter"

var (
	// errMoved says that what a plan was made from has changed since.
	errMoved = errors.New("what is known of the resources has changed meanwhile")
	// errReconfigured says that another configuration is in force than the one mapped with.
	errReconfigured = errors.New("the configuration has changed meanwhile")
)

// applyBatch is how many reads go into one transaction, which must not hold SQLite's
// writer for longer than 20 ms.
const applyBatch = 40

// maxPlans bounds how often apply plans anew because others changed the same things.
const maxPlans = 20

// applyOptions are about a call of apply.
type applyOptions struct {
	// DryRun: nothing is written; the results are what would come of it.
	DryRun bool
	// HoldRemovals leaves a resource that was found as it was if an entity of it would go. That
	// is told as Removed.
	HoldRemovals bool
	// Certain: what was not found was looked for in other ways too, or is no longer configured, so
	// that it is gone however new it is.
	Certain bool
	// NoRecheck: the caller sees to it that what failed is tried again.
	NoRecheck bool
	// Commit, if not nil, runs in each transaction that stores results, of which there may be
	// several, with those of that transaction; its error undoes them. It may run more than once.
	Commit func(ctx context.Context, tx *store.Tx, applied []Applied) error
}

// apply brings entities, and what is known of resources, into line with at most
// maxWrite reads. cause is that of the reads which have none of their own. The
// results are in the order of the reads. Its error says why nothing certain was
// written: errDeposed if the lease is another's.
func (x *Exporter) apply(ctx context.Context, reads []Read, cause catalog.Cause, o applyOptions) ([]Applied, error) {
	if len(reads) > maxWrite {
		return nil, fmt.Errorf("apply %d reads at once: at most %d", len(reads), maxWrite)
	}
	reads = slices.Clone(reads)
	for i := range reads {
		reads[i].Region = reader.Region(reads[i].Kind, reads[i].Region)
		if reads[i].Cause == (catalog.Cause{}) {
			reads[i].Cause = cause
		}
	}
	out := make([]Applied, len(reads))
	if err := x.applyPlaces(ctx, reads, out, o); err != nil {
		return nil, err
	}
	return out, x.applySuperseded(ctx, reads, out, o)
}

// applyPlaces applies reads, with what came of each at its place in out: those of one account
// and region together, as they are written under one datasource.
func (x *Exporter) applyPlaces(ctx context.Context, reads []Read, out []Applied, o applyOptions) error {
	var datasources []string
	of := map[string][]int{}
	for i := range reads {
		d := Datasource(reads[i].Account, reads[i].Region)
		if of[d] == nil {
			datasources = append(datasources, d)
		}
		of[d] = append(of[d], i)
	}
	for _, d := range datasources {
		for chunk := range slices.Chunk(of[d], applyBatch) {
			some := make([]Read, len(chunk))
			for n, i := range chunk {
				some[n] = reads[i]
			}
			done, err := x.applyOnce(ctx, some, o)
			if err != nil {
				return err
			}
			for n, i := range chunk {
				out[i] = done[n]
			}
		}
	}
	return nil
}

// applySuperseded reads again what was read before a record said, by another name, that
// it was deleted, or before a full sync began that does not know it.
func (x *Exporter) applySuperseded(ctx context.Context, reads []Read, out []Applied, o applyOptions) error {
	for range 3 {
		var again []Read
		var at []int
		for i := range out {
			if !out[i].superseded {
				continue
			}
			r, err := x.read(ctx, reads[i].Key, x.tickets.mark())
			if err != nil {
				out[i].unwrite(err)
				continue
			}
			r.Cause, r.UpsertAt, r.DeleteAt = reads[i].Cause, reads[i].UpsertAt, reads[i].DeleteAt
			again, at = append(again, r), append(at, i)
		}
		if len(again) == 0 {
			return nil
		}
		results := make([]Applied, len(again))
		if err := x.applyPlaces(ctx, again, results, o); err != nil {
			return err
		}
		for n, i := range at {
			out[i] = results[n]
		}
	}
	for i := range out {
		if out[i].superseded {
			out[i].unwrite(errors.New("records kept saying, by another name, that it was deleted, or full syncs kept listing its scope, while it was being read"))
		}
	}
	return nil
}

// unwrite says that nothing could be said of a resource whose read was superseded.
func (a *Applied) unwrite(err error) {
	a.Outcome, a.Err, a.Retry, a.superseded, a.unwritten = Failed, err, true, false, true
}

// applyOnce plans and writes until nobody has changed the same things meanwhile.
func (x *Exporter) applyOnce(ctx context.Context, reads []Read, o applyOptions) ([]Applied, error) {
	var cfg *StoredConfig
	var ms []mapped
	for try := 0; ; try++ {
		now, err := x.Config(ctx)
		if err != nil {
			return nil, err
		}
		if cfg == nil || cfg.Revision != now.Revision {
			if ms, err = x.mapAll(ctx, now.Parsed(), reads); err != nil {
				return nil, fmt.Errorf("map resources: %w", err)
			}
			cfg = now
		}
		p := &plan{x: x, reads: reads, mapped: ms, o: o, revision: cfg.Revision}
		out, err := x.carryOut(ctx, p)
		moved := errors.Is(err, errMoved) || errors.Is(err, errReconfigured)
		if !moved || try == maxPlans {
			return out, err
		}
	}
}

// carryOut makes a plan and writes it.
func (x *Exporter) carryOut(ctx context.Context, p *plan) ([]Applied, error) {
	snap, err := x.snapshot(ctx, x.db, p)
	if err != nil {
		return nil, err
	}
	p.make(snap)
	if p.o.DryRun {
		results, err := x.preview(ctx, p)
		if err != nil {
			return nil, err
		}
		out, _ := p.finish(results)
		return out, nil
	}
	defer x.locks.acquire(p.names())()
	if err := x.write(ctx, p); err != nil {
		return nil, err
	}
	for i, s := range p.steps {
		// Its scope was listed while it was being written, and what was missing may have been
		// looked for before that was stored.
		p.out[i].superseded = p.out[i].superseded || s.after != nil && p.unlisted(s)
	}
	x.noteRechecks(p)
	return p.out, nil
}

// write makes the changes of a plan. Where they do not fit one transaction together
// with the state, what is meant to be is stored first.
func (x *Exporter) write(ctx context.Context, p *plan) error {
	w := p.writer()
	whole := x.o.Sink.Transactional() && len(p.changes) <= maxWrite
	switch {
	case len(p.changes) == 0:
		return x.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return x.commit(ctx, tx, p, nil, true) })
	case whole:
		return x.o.Sink.Write(ctx, w, p.changes, func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error {
			return x.commit(ctx, tx, p, results, true)
		})
	}
	if err := x.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return x.intend(ctx, tx, p) }); err != nil {
		return err
	}
	var results []catalog.ChangeResult
	for chunk := range slices.Chunk(p.changes, applyBatch) {
		var got []catalog.ChangeResult
		err := x.o.Sink.Write(ctx, w, chunk, func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error {
			got = results
			if tx == nil {
				return nil
			}
			return x.guard(ctx, tx)
		})
		if err != nil {
			return err
		}
		results = append(results, got...)
	}
	return x.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return x.commit(ctx, tx, p, results, false) })
}

// preview returns what would come of a plan's changes, and nil where the sink cannot tell.
// What they would be related to may be made by others before; it is taken to be there.
func (x *Exporter) preview(ctx context.Context, p *plan) ([]catalog.ChangeResult, error) {
	sink, ok := x.o.Sink.(Previewer)
	if !ok {
		return nil, nil
	}
	changes := slices.Clone(p.changes)
	for i := range changes {
		changes[i].CreateMissingRelated = true
	}
	var results []catalog.ChangeResult
	for chunk := range slices.Chunk(changes, maxWrite) {
		some, err := sink.Preview(ctx, p.writer(), chunk)
		if err != nil {
			return nil, err
		}
		results = append(results, some...)
	}
	return results, nil
}

// check makes sure that what a plan was made from still holds.
func (x *Exporter) check(ctx context.Context, tx *store.Tx, s state, p *plan) error {
	if s.configRevision != p.revision {
		return errReconfigured
	}
	snap, err := x.snapshot(ctx, tx, p)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(snap, p.snap) {
		return errMoved
	}
	return nil
}

// intend stores that entities are being written: whose they will be, and that the
// resources are read again if nobody comes back to say how it went.
func (x *Exporter) intend(ctx context.Context, tx *store.Tx, p *plan) error {
	s, err := x.holdOurs(ctx, tx)
	if err != nil {
		return err
	}
	if err := x.check(ctx, tx, s, p); err != nil {
		return err
	}
	var rows []*Resource
	for _, s := range p.steps {
		if s.after == nil {
			continue
		}
		r := &Resource{Key: s.read.Key, Cause: s.read.Cause, UpdatedAt: x.now()}
		if s.before != nil {
			*r = *s.before
		}
		r.RecheckAt, r.RecheckWhy = x.now().Add(intentFor), "its entities were being written"
		rows = append(rows, r)
		s.intent = r
	}
	if err := saveResources(ctx, tx, rows); err != nil {
		return fmt.Errorf("store what is to be written: %w", err)
	}
	var claims []claim
	for _, s := range p.steps {
		for _, ref := range s.wanted {
			if s.intent != nil {
				claims = append(claims, claim{s.intent.id, ref})
			}
		}
	}
	if err := insertClaims(ctx, tx, claims); err != nil {
		return fmt.Errorf("store what is to be written: %w", err)
	}
	return nil
}

// commit stores what came of a plan, in the transaction that stores its changes where
// there is one (whole).
func (x *Exporter) commit(ctx context.Context, tx *store.Tx, p *plan, results []catalog.ChangeResult, whole bool) error {
	s, err := x.holdOurs(ctx, tx)
	if err != nil {
		return err
	}
	if whole {
		if err := x.check(ctx, tx, s, p); err != nil {
			return err
		}
	}
	out, end := p.finish(results)
	if s.configRevision != p.revision {
		end.recheckAll(x.now(), "the configuration changed while its entities were being written")
	}
	if err := saveResources(ctx, tx, end.rows); err != nil {
		return fmt.Errorf("store what is known of resources: %w", err)
	}
	if err := deleteClaims(ctx, tx, end.dropped()); err != nil {
		return fmt.Errorf("store the entities of resources: %w", err)
	}
	if err := insertClaims(ctx, tx, end.claimed()); err != nil {
		return fmt.Errorf("store the entities of resources: %w", err)
	}
	if err := x.recheckOthers(ctx, tx, end); err != nil {
		return err
	}
	if p.o.Commit != nil {
		if err := p.o.Commit(ctx, tx, out); err != nil {
			return err
		}
	}
	p.out, p.due = out, end.due()
	return nil
}

// recheckOthers has the resources read again whose entities went with others, or which
// are left with an entity that was another's too.
func (x *Exporter) recheckOthers(ctx context.Context, tx *store.Tx, end *ending) error {
	if err := askRecheck(ctx, tx, end.left, x.now(), "another resource of its entity is gone"); err != nil {
		return err
	}
	if len(end.cascade) == 0 {
		return nil
	}
	owners, err := loadOwners(ctx, tx, end.cascade)
	if err != nil {
		return err
	}
	var keys []Key
	for _, list := range owners {
		keys = append(keys, list...)
	}
	slices.SortFunc(keys, compareKeys)
	return askRecheck(ctx, tx, slices.Compact(keys), x.now(), "its entity was deleted with one that it depends on")
}
