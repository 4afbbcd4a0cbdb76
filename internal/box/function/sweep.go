package function

import (
	"context"
	"errors"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// sweepEvery is how often code that nobody needs is looked for.
const sweepEvery = 10 * time.Minute

// runSweeps deletes deployment packages that no function has, until ctx ends.
func (f *Functions) runSweeps(ctx context.Context) error {
	if err := f.code.dropOthers(); err != nil {
		f.o.Logger.Warn("code that an earlier run unpacked stays", "error", err)
	}
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		err := errors.Join(f.sweepCode(ctx), f.sweepDirs(ctx))
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			f.o.Logger.Warn("code of functions is swept again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// sweepCode deletes packages from SQL, in parts.
func (f *Functions) sweepCode(ctx context.Context) error {
	const atOnce = 100
	since := f.o.Now().Add(-codeKept).UnixMilli()
	for {
		list, err := staleCode(ctx, f.db, since, atOnce)
		if err != nil {
			return err
		}
		for _, sha256 := range list {
			if err := f.dropCode(ctx, sha256, since); err != nil {
				return err
			}
		}
		if len(list) < atOnce {
			return nil
		}
	}
}

func (f *Functions) dropCode(ctx context.Context, sha256 string, since int64) error {
	for more := true; more; {
		err := f.db.Update(ctx, func(tx *store.Tx) (err error) {
			more, err = dropChunks(ctx, tx, sha256, since, dropAtOnce)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepDirs deletes packages that are unpacked on this node.
func (f *Functions) sweepDirs(ctx context.Context) error {
	since := f.o.Now().Add(-codeKept)
	for _, sha256 := range f.code.idle(since) {
		needed, err := referenced(ctx, f.db, sha256)
		if err == nil && !needed {
			err = f.code.drop(sha256, since)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
