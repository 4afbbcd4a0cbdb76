package catalog

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// sweepEvery is how often history that is too old is looked for.
	sweepEvery = time.Hour
	// changesAtOnce is how many entries one transaction deletes.
	changesAtOnce = 500
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
		var n int64
		err := c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
			n, err = deleteOldChanges(ctx, tx, before, changesAtOnce)
			return err
		})
		if err != nil || n < changesAtOnce {
			return err
		}
	}
}
