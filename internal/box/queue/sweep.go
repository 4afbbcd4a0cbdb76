package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	sweepEvery = 15 * time.Second
	// movePoll bounds how late another node's move is taken up.
	movePoll = time.Second
	// keepContents is how long dropped contents are remembered, so that a
	// message that was on its way into them is swept too.
	keepContents = 5 * time.Minute
	// Chunks of deletions are sized so that they hold the writer only briefly.
	minChunk, maxChunk = 10, 500
	longChunk          = 10 * time.Millisecond
)

// Run removes messages past their retention and what purges and deletions left
// behind, and moves messages for move tasks, until ctx ends. It returns ctx's
// error. Each node may run it.
func (q *Queues) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { q.sweepLoop(ctx) })
	wg.Go(func() { q.moveLoop(ctx) })
	wg.Wait()
	return ctx.Err()
}

func (q *Queues) sweepLoop(ctx context.Context) {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		q.report(ctx, "sweep queues", q.sweep(ctx))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (q *Queues) moveLoop(ctx context.Context) {
	rung := q.moves.wait(0)
	defer q.moves.leave(0, rung)
	for {
		next, err := q.moveDue(ctx)
		q.report(ctx, "move messages", err)
		pause := movePoll
		if !next.IsZero() {
			pause = min(pause, max(next.Sub(q.opt.Now()), time.Millisecond))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-rung:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

func (q *Queues) report(ctx context.Context, doing string, err error) {
	if err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		q.opt.Logger.Warn("queues will be tried again", "doing", doing, "error", err)
	}
}

// sweep removes everything that is due now.
func (q *Queues) sweep(ctx context.Context) error {
	now := q.now()
	return errors.Join(q.sweepExpired(ctx, now), q.sweepDropped(ctx, now), q.sweepNotes(ctx, now))
}

// sweepExpired deletes messages past their queue's retention. What was visible
// before the cutoff was sent before it; what has been received since is
// removed by the receive that meets it, or here once it's visible that long.
func (q *Queues) sweepExpired(ctx context.Context, now int64) error {
	after := int64(0)
	for {
		list, err := queuesAfter(ctx, q.db, after, 100)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			have := &list[i]
			after = have.id
			cutoff := now - have.Retention.Milliseconds()
			some, err := anyVisibleBy(ctx, q.db, have.contents, cutoff)
			if err != nil {
				return err
			}
			if !some {
				continue
			}
			err = q.inChunks(ctx, func(tx *store.Tx, limit int) (int, error) { return expire(ctx, tx, have, cutoff, limit, now) })
			if err != nil {
				return err
			}
		}
	}
}

// expire deletes up to limit messages that became visible by cutoff.
func expire(ctx context.Context, tx *store.Tx, have *Queue, cutoff int64, limit int, now int64) (int, error) {
	if !have.FIFO {
		return deleteVisibleBy(ctx, tx, have.contents, cutoff, limit)
	}
	groups, err := readyGroups(ctx, tx, have.contents, cutoff, limit)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, g := range groups {
		head, err := groupHead(ctx, tx, have.contents, g, limit)
		if err != nil {
			return n, err
		}
		var old []message
		for _, m := range head {
			if m.sentAt <= cutoff && m.visibleAt <= cutoff {
				old = append(old, m)
			}
		}
		if err := deleteMessages(ctx, tx, old); err != nil {
			return n, err
		}
		if err := settleGroup(ctx, tx, have.contents, g, now); err != nil {
			return n, err
		}
		if n += len(old); n >= limit {
			return n, nil
		}
	}
	return n, nil
}

// sweepDropped deletes the contents of purged and deleted queues.
func (q *Queues) sweepDropped(ctx context.Context, now int64) error {
	list, err := droppedContents(ctx, q.db)
	if err != nil {
		return err
	}
	for _, c := range list {
		err := q.inChunks(ctx, func(tx *store.Tx, limit int) (int, error) { return deleteContents(ctx, tx, c.id, limit) })
		if err != nil {
			return err
		}
		if now-c.droppedAt < keepContents.Milliseconds() {
			continue
		}
		if err := q.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return forgetContents(ctx, tx, c.id) }); err != nil {
			return err
		}
	}
	return nil
}

// sweepNotes deletes deduplication ids and receive attempts that have run out.
func (q *Queues) sweepNotes(ctx context.Context, now int64) error {
	return q.inChunks(ctx, func(tx *store.Tx, limit int) (int, error) { return deleteNotes(ctx, tx, now, limit) })
}

// inChunks calls do in transactions of their own until it has less to do than
// it may, with a limit that keeps each of them short.
func (q *Queues) inChunks(ctx context.Context, do func(tx *store.Tx, limit int) (int, error)) error {
	limit := maxChunk / 5
	for {
		var n int
		var took time.Duration
		err := q.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
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
