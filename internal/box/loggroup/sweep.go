package loggroup

import (
	"context"
	"errors"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	sweepEvery = time.Minute
	// Chunks of deletions are sized so that they hold the writer only briefly.
	minChunk, maxChunk = 10, 500
	longChunk          = 10 * time.Millisecond
)

// Run removes events past their group's retention and what deletions left
// behind, until ctx ends, and returns ctx's error. Every node runs it; one at a
// time does the work.
func (g *Groups) Run(ctx context.Context) error {
	return g.db.RunLeased(ctx, "log groups", g.opt.Node, func(ctx context.Context) error {
		t := time.NewTicker(sweepEvery)
		defer t.Stop()
		for {
			if err := g.sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				g.opt.Logger.Warn("old log events will be removed later", "error", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-t.C:
			}
		}
	})
}

// sweep removes everything that is due now.
func (g *Groups) sweep(ctx context.Context) error {
	now := g.now()
	return errors.Join(g.sweepExpired(ctx, now), g.sweepGroups(ctx, now), g.sweepStreams(ctx))
}

// sweepExpired deletes events past the retention of their groups.
func (g *Groups) sweepExpired(ctx context.Context, now int64) error {
	return g.eachGroup(ctx, false, func(have group) error {
		return g.inChunks(ctx, func(tx *store.Tx, limit int) (int, error) {
			return deleteExpired(ctx, tx, have.id, have.keptFrom(now), limit)
		})
	})
}

// sweepGroups drops the streams of dropped groups, and removes the groups once
// those are gone. A stream that is dropped takes no more events: putting them
// holds its row.
func (g *Groups) sweepGroups(ctx context.Context, now int64) error {
	return g.eachGroup(ctx, true, func(have group) error {
		err := g.inChunks(ctx, func(tx *store.Tx, limit int) (int, error) { return dropStreams(ctx, tx, have.id, now, limit) })
		if err != nil {
			return err
		}
		return g.db.Update(ctx, func(tx *store.Tx) error { return deleteGroup(ctx, tx, have.id) })
	})
}

// sweepStreams removes dropped streams and their events.
func (g *Groups) sweepStreams(ctx context.Context) error {
	after := int64(0)
	for {
		list, err := droppedStreams(ctx, g.db, after, listChunk)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, id := range list {
			after = id
			err := g.inChunks(ctx, func(tx *store.Tx, limit int) (int, error) { return deleteEventsOf(ctx, tx, id, limit) })
			if err == nil {
				err = g.db.Update(ctx, func(tx *store.Tx) error { return deleteStream(ctx, tx, id) })
			}
			if err != nil {
				return err
			}
		}
	}
}

// eachGroup calls do for each group that has a retention, or was dropped.
func (g *Groups) eachGroup(ctx context.Context, dropped bool, do func(group) error) error {
	after := int64(0)
	for {
		list, err := groupsAfter(ctx, g.db, dropped, after, listChunk)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, have := range list {
			after = have.id
			if err := do(have); err != nil {
				return err
			}
		}
	}
}

// inChunks calls do in transactions of their own until it has less to do than
// it may, with a limit that keeps each of them short.
func (g *Groups) inChunks(ctx context.Context, do func(tx *store.Tx, limit int) (int, error)) error {
	limit := maxChunk / 5
	for {
		var n int
		var took time.Duration
		err := g.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
			start := time.Now()
			n, err = do(tx, limit)
			took = time.Since(start)
			return err
		})
		if err != nil || n < limit {
			return err
		}
		if took > longChunk {
			limit = max(limit/2, minChunk)
		} else if took < longChunk/4 {
			limit = min(limit*2, maxChunk)
		}
	}
}
