package catalog

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// sweepEvery is how often history that is too old is looked for.
	sweepEvery = time.Hour
	// changesAtOnce is how many entries one transaction deletes, changeBytes how large those are,
	// and sweepPause how long the database is left to others before the next.
	changesAtOnce = 500
	changeBytes   = 8 << 20
	sweepPause    = 5 * time.Millisecond
)

// sweepChanges deletes history that is older than it is kept, until ctx ends.
func (c *Catalog) sweepChanges(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := c.sweepOldChanges(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn("old history of the catalog could not be deleted", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *Catalog) sweepOldChanges(ctx context.Context) error {
	before := c.now().Add(-c.o.KeepChanges)
	for {
		ids, err := oldChanges(ctx, c.db, before, changesAtOnce, changeBytes)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return deleteChanges(ctx, tx, ids) }); err != nil {
			return err
		}
		t := time.NewTimer(sweepPause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}
