package catalog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// queueRefit brings entities into line with a blueprint that lost a property or relation, or
// changed its type; key: blueprint id. Until it is done readers leave out what is not right.
const queueRefit = "catalog.refit"

// refit is what is to be done for the entities of a blueprint.
type refit struct {
	// Drop are the properties whose old values go.
	Drop []string `json:"drop"`
	// After is the identifier of the last entity that was done.
	After string `json:"after"`
}

// refitAtOnce is how many entities one transaction brings into line.
const refitAtOnce = 50

// planRefit notes that entities hold what a changed blueprint has no longer. A property whose
// old values are still there cannot be added again: they would come back.
func (c *Catalog) planRefit(ctx context.Context, tx *store.Tx, old, b *Blueprint) error {
	pending, _, err := loadRefit(ctx, tx, old.id)
	if err != nil {
		return fmt.Errorf("read what is to be done for blueprint %s: %w", old.Identifier, err)
	}
	next := refit{Drop: pending.Drop}
	for _, key := range pending.Drop {
		_, had := old.Properties[key]
		if _, has := b.Properties[key]; has && !had {
			return &Error{
				Status: http.StatusConflict, Code: CodeInvalidRequest,
				Message: fmt.Sprintf("Property %q of blueprint %q was removed a moment ago, and its values are still being removed. Try again in some seconds.", key, old.Identifier),
			}
		}
	}
	changed := false
	for _, key := range sortedKeys(old.Properties) {
		now, kept := b.Properties[key]
		if kept && now.Type == old.Properties[key].Type {
			continue
		}
		changed = true
		if !slices.Contains(next.Drop, key) {
			next.Drop = append(next.Drop, key)
		}
	}
	for key, r := range old.Relations {
		if now, kept := b.Relations[key]; !kept || now.Target != r.Target {
			changed = true
		}
	}
	if !changed {
		return nil
	}
	if err := saveRefit(ctx, tx, b.id, &next); err != nil {
		return fmt.Errorf("note what is to be done for blueprint %s: %w", b.Identifier, err)
	}
	return c.o.Jobs.Enqueue(ctx, tx, work.NewJob{Queue: queueRefit, Key: strconv.FormatInt(b.id, 10), Replace: true})
}

// refitJob brings all entities of a blueprint into line.
func (c *Catalog) refitJob(ctx context.Context, j work.Job) work.Outcome {
	id, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail("the key is no blueprint's id: " + j.Key)
	}
	for {
		done, err := c.refitSome(ctx, id)
		switch {
		case errors.Is(err, errMoved) && ctx.Err() == nil:
			if err := pause(ctx, maxTries); err != nil {
				return work.Retry(err.Error())
			}
		case err != nil:
			return work.Retry(err.Error())
		case done:
			return work.Done()
		}
	}
}

// refitSome brings the next entities of a blueprint into line. That is no change of
// theirs: it has no history, and what it takes away nobody saw any more.
func (c *Catalog) refitSome(ctx context.Context, blueprint int64) (done bool, err error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return false, err
	}
	r, found, err := loadRefit(ctx, c.db, blueprint)
	if err != nil || !found {
		return true, err
	}
	rows, err := entityRowsAfter(ctx, c.db, blueprint, r.After, refitAtOnce)
	if err != nil {
		return false, err
	}
	b := c.newBatch(m, c.db, Writer{})
	if err := b.take(ctx, rows); err != nil {
		return false, err
	}
	for i := range rows {
		n := b.byID[rows[i].id]
		if n != nil && n.before.hidden != nil {
			next := *n.before
			next.hidden = nil
			next.revision++
			n.after = &next
			b.touch(n)
		}
	}
	err = c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		if err := planForSize(ctx, tx); err != nil {
			return err
		}
		return b.storeRefit(ctx, tx, blueprint, r, rows)
	})
	return len(rows) < refitAtOnce, err
}

func (b *batch) storeRefit(ctx context.Context, tx *store.Tx, blueprint int64, r refit, rows []entityRow) error {
	// The blueprint is not to be changed meanwhile, nor was it since its entities were read.
	if err := lockBlueprint(ctx, tx, blueprint); err != nil {
		return err
	}
	revision, err := modelRevision(ctx, tx)
	if err != nil {
		return err
	}
	now, found, err := loadRefit(ctx, tx, blueprint)
	if err != nil {
		return err
	}
	if revision != b.m.revision || !found || now.After != r.After {
		return errMoved
	}
	if err := deleteEdges(ctx, tx, b.dead); err != nil {
		return err
	}
	if len(b.touched) > 0 {
		if err := b.storeEntities(ctx, tx, 0, slices.Clone(b.touched)); err != nil {
			return err
		}
		if err := b.storeValues(ctx, tx, b.touched); err != nil {
			return err
		}
	}
	if len(rows) < refitAtOnce {
		return saveRefit(ctx, tx, blueprint, nil)
	}
	r.After = rows[len(rows)-1].identifier
	return saveRefit(ctx, tx, blueprint, &r)
}
