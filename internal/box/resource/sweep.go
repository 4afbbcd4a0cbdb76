package resource

import (
	"context"
	"errors"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	sweepEvery = 10 * time.Minute
	sweepChunk = 20 // of requests, whose models may be large
)

// Run forgets old requests of Cloud Control until ctx ends. It returns ctx's error. Each node may
// run it.
func (g *Registry) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if err := g.sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			g.opt.Logger.Warn("old requests for resources are deleted later", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (g *Registry) sweep(ctx context.Context) error {
	before := g.opt.Now().Add(-keepRequests).UnixMilli()
	for {
		var n int64
		err := g.db.Update(ctx, func(tx *store.Tx) (err error) {
			n, err = forgetRequests(ctx, tx, before, sweepChunk)
			return err
		})
		if err != nil || n < sweepChunk {
			return err
		}
	}
}
