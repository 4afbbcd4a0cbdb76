package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// MaxChanges is how many changes one call of Apply takes.
const MaxChanges = 100

// Limits of what a writer says of itself; what is longer is cut.
const (
	maxDatasource = 1000
	maxBy         = 300
	maxCause      = 2000 // each text of a Cause
)

// errMoved says that what was read has changed since: the changes are planned anew.
var errMoved = errors.New("entities changed while others were being written")

// maxTries bounds how often changes are planned anew; the first try plans outside of the
// transaction, so that it holds the database's writer as short as can be, and after
// outsideTries they are planned within it.
const (
	maxTries     = 40
	outsideTries = 3
)

// Apply makes changes of entities, one after the other, in one transaction; at most
// MaxChanges. A change that is refused has its *Error in its result, leaves no trace and
// does not spoil its neighbours. The error that Apply itself returns means that nothing at
// all was done.
//
// A change that changes nothing writes nothing: no row, no history, no event. Deletes that
// concern very many entities go from their dependents to themselves in several
// transactions, each of which leaves the catalog whole.
func (c *Catalog) Apply(ctx context.Context, w Writer, changes []EntityChange, o ApplyOptions) ([]ChangeResult, error) {
	if len(changes) > MaxChanges {
		return nil, invalid("There are %d changes; at most %d are allowed at once.", len(changes), MaxChanges)
	}
	return c.applyDeep(ctx, w.bounded(), changes, o, 0)
}

// applyDeep is Apply; deep tells how many large deletes it is part of.
func (c *Catalog) applyDeep(ctx context.Context, w Writer, changes []EntityChange, o ApplyOptions, deep int) ([]ChangeResult, error) {
	refusals := map[int]*Error{} // of large deletes
	shrunk := 0
	for try := 1; ; {
		results, err := c.apply(ctx, w, changes, o, refusals, try > outsideTries)
		var large *largeError
		switch {
		case err == nil:
			return results, nil
		case errors.As(err, &large) && shrunk < 2*len(changes):
			shrunk++
			err := c.shrink(ctx, w, changes[large.index], deep)
			if refusal, ok := errors.AsType[*Error](err); ok {
				refusals[large.index] = refusal
			} else if err != nil {
				return nil, err
			}
			continue
		case isRefusal(err):
			return nil, err
		case !errors.Is(err, errMoved) && !store.IsUnique(err) || try >= maxTries:
			return nil, fmt.Errorf("change entities: %w", err)
		}
		try++
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*Error](err)
	return ok
}

// pause waits a little, at random, so that writers who got in each other's way do so no more.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(time.Duration(rand.Int64N(int64(time.Millisecond) * int64(min(try, 50)))))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bounded is the writer in texts that both databases keep.
func (w Writer) bounded() Writer {
	w.By, w.Datasource = boundText(w.By, maxBy), boundText(w.Datasource, maxDatasource)
	w.Cause = w.Cause.bounded()
	return w
}

// bounded is the cause in texts that both databases keep.
func (c Cause) bounded() Cause {
	for _, s := range []*string{&c.Origin, &c.EventID, &c.EventTime, &c.RuleARN, &c.RunID, &c.Record, &c.Why} {
		*s = boundText(*s, maxCause)
	}
	return c
}

func boundText(s string, most int) string {
	s = strings.ReplaceAll(s, "\x00", "")
	if len(s) > most {
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "")
}

// apply plans the changes and writes them. It returns errMoved if what it read has changed
// in the meantime.
func (c *Catalog) apply(ctx context.Context, w Writer, changes []EntityChange, o ApplyOptions, refusals map[int]*Error, inside bool) (results []ChangeResult, err error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	requests := make([]*request, len(changes))
	for i := range changes {
		requests[i] = m.read(changes[i])
		if refusal := refusals[i]; refusal != nil {
			requests[i].err = refusal
		}
	}
	// PostgreSQL has no single writer to be spared. A rule that needs a search is looked up
	// outside all the same, where a search may take its time.
	if c.db.Dialect() == store.Postgres && !slices.ContainsFunc(requests, (*request).hasRule) {
		inside = true
	}
	b := c.newBatch(m, c.db, w)
	b.validateOnly, b.separate, b.sameDatasource = o.ValidateOnly, o.Separate, o.SameDatasource
	if !inside || o.ValidateOnly {
		if results, err = b.plan(ctx, requests); err != nil {
			return nil, err
		}
		if o.ValidateOnly || o.Commit == nil && !b.hasChanges() {
			return results, nil
		}
	}
	said, err := b.report()
	if err != nil {
		return nil, err
	}
	tried := false
	err = c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		if err := planForSize(ctx, tx); err != nil {
			return err
		}
		if inside {
			b = c.newBatch(m, tx, w)
			b.separate, b.sameDatasource = o.Separate, o.SameDatasource
			if results, err = b.plan(ctx, requests); err != nil {
				return err
			}
			if o.Commit == nil && !b.hasChanges() {
				return nil
			}
			if said, err = b.report(); err != nil {
				return err
			}
		} else if tried {
			return errMoved // the batch has ids of rows that were taken back
		}
		tried = true
		if err := b.store(ctx, tx, said, o.Commit != nil); err != nil {
			return err
		}
		if o.Commit == nil {
			return nil
		}
		return o.Commit(ctx, tx, slices.Clone(results))
	})
	return results, err
}

func (b *batch) hasChanges() bool {
	return slices.ContainsFunc(b.touched, (*node).changed)
}
