package topic

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	sweepEvery = 5 * time.Minute
	sweepChunk = 50
)

// Run removes subscriptions that nobody confirmed in time, and what nothing
// refers to any more, until ctx ends. It returns ctx's error. Each node may run it.
func (t *Topics) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		err := errors.Join(t.sweepSubscriptions(ctx), t.sweepMessages(ctx))
		if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			t.opt.Logger.Warn("topics are swept again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// sweepSubscriptions removes those whose token has expired: AWS deletes them, too.
func (t *Topics) sweepSubscriptions(ctx context.Context) error {
	for {
		n := 0
		err := t.db.Update(ctx, func(tx *store.Tx) error {
			topics, ids, err := expired(ctx, tx, t.now(), sweepChunk)
			if err != nil {
				return err
			}
			for i, id := range ids {
				if err := deleteSubscriptions(ctx, tx, topics[i], []int64{id}); err != nil {
					return err
				}
			}
			n = len(ids)
			return t.clearLanes(ctx, tx, ids)
		})
		if err != nil || n < sweepChunk {
			return err
		}
	}
}

// sweepMessages removes messages that were delivered and not forgotten. It looks for
// them outside of transactions: they are few among many.
func (t *Topics) sweepMessages(ctx context.Context) error {
	for {
		ids, err := finishedMessages(ctx, t.db, sweepChunk)
		if err != nil || len(ids) == 0 {
			return err
		}
		err = t.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			for _, id := range ids {
				if err := forgetMessage(ctx, tx, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || len(ids) < sweepChunk {
			return err
		}
	}
}

// dropSubscriptions is the job that removes the subscriptions of a deleted topic.
func (t *Topics) dropSubscriptions(ctx context.Context, j work.Job) work.Outcome {
	topic, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail(err.Error())
	}
	for {
		n := 0
		err := t.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			ids, err := someOf(ctx, tx, topic, sweepChunk)
			if err != nil {
				return err
			}
			if err := deleteSubscriptions(ctx, tx, topic, ids); err != nil {
				return err
			}
			n = len(ids)
			return t.clearLanes(ctx, tx, ids)
		})
		if err != nil {
			return work.Retry(err.Error())
		}
		if n < sweepChunk {
			return work.Done()
		}
	}
}
