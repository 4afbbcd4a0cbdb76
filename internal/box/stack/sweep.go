package stack

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	sweepEvery = time.Hour
	// sweepChunk is how many rows one transaction deletes.
	sweepChunk = 200
	// sweepStacks is how many stacks are looked for at once.
	sweepStacks = 100
)

// Run forgets what is older than it is kept, until ctx ends; it returns ctx's error.
func (s *Stacks) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.opt.Logger.Warn("old stacks and events were not deleted", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// sweep deletes deleted stacks and events that are old, and events that are too many.
func (s *Stacks) sweep(ctx context.Context) error {
	before := s.now() - keepDeleted.Milliseconds()
	for {
		gone, err := selectDeleted(ctx, s.db, before, sweepStacks)
		if err != nil {
			return err
		}
		for _, id := range gone {
			if err := s.inChunks(ctx, func(tx *store.Tx) (int64, error) { return deleteStackRows(ctx, tx, id, sweepChunk) }); err != nil {
				return err
			}
		}
		if len(gone) < sweepStacks {
			break
		}
	}
	if err := s.inChunks(ctx, func(tx *store.Tx) (int64, error) { return deleteOldEvents(ctx, tx, before, sweepChunk) }); err != nil {
		return err
	}
	many, err := stacksWithManyEvents(ctx, s.db, maxEvents, sweepStacks)
	if err != nil {
		return err
	}
	for _, id := range many {
		if err := s.inChunks(ctx, func(tx *store.Tx) (int64, error) { return deleteMoreEvents(ctx, tx, id, maxEvents, sweepChunk) }); err != nil {
			return err
		}
	}
	return nil
}

// inChunks calls fn in transactions of their own until it deletes nothing more.
func (s *Stacks) inChunks(ctx context.Context, fn func(tx *store.Tx) (int64, error)) error {
	for {
		var n int64
		err := s.db.Update(ctx, func(tx *store.Tx) (err error) {
			n, err = fn(tx)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
	}
}
