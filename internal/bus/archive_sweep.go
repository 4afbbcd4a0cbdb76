package bus

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// sweepEvery is how often what is too old is looked for.
	sweepEvery = time.Minute
	// sweepChunk is how many events one transaction deletes, sweepBytes their size
	// unless one alone is larger, and sweepPause how long the database is left to others
	// before the next.
	sweepChunk = 200
	sweepBytes = 8 << 20
	sweepPause = 5 * time.Millisecond
	// archiveLease names the lease under which one node sweeps.
	archiveLease = "bus.archives"
)

// RunArchives deletes what archives keep no longer, and replays that ended long ago,
// until ctx ends. One node of a cluster does so at a time.
func (b *Buses) RunArchives(ctx context.Context, node string) error {
	return b.db.RunLeased(ctx, archiveLease, node, func(ctx context.Context) error {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			if err := errors.Join(b.sweepArchives(ctx), b.forgetReplays(ctx)); err != nil && ctx.Err() == nil {
				b.logger.Warn("what archives keep no longer was not deleted; trying again", "error", err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-tick.C:
			}
		}
	})
}

// sweepArchives deletes the events that are older than the retention of their
// archives. AWS: the age counts from ingestion, not from the event's time.
func (b *Buses) sweepArchives(ctx context.Context) error {
	all, err := selectRetentions(ctx, b.db)
	if err != nil {
		return err
	}
	for _, r := range all {
		before := b.now().UTC().AddDate(0, 0, -r.days) // days without daylight saving
		if err := b.deleteOldest(ctx, r.archive, before); err != nil {
			return err
		}
	}
	return nil
}

// deleteOldest deletes the archive's events that were ingested before the time. It
// reads which they are first: what a transaction deletes is bounded by its size too.
func (b *Buses) deleteOldest(ctx context.Context, archive int64, before time.Time) error {
	for {
		ids, err := selectOldest(ctx, b.db, archive, before, sweepChunk, sweepBytes)
		if err != nil || len(ids) == 0 {
			return err
		}
		err = b.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return deleteArchived(ctx, tx, ids) })
		if err != nil {
			return err
		}
		if err := pause(ctx, sweepPause); err != nil {
			return err
		}
	}
}

// pause returns after d, or with ctx's error.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// deletionQueue holds a job for each deleted archive whose events are not deleted
// yet, under the archive's number.
const deletionQueue = "archive-deletion"

func (b *Buses) deleteLater(ctx context.Context, tx *store.Tx, archive int64) error {
	return b.jobs.Enqueue(ctx, tx, work.NewJob{Queue: deletionQueue, Key: strconv.FormatInt(archive, 10)})
}

// deleteLeftovers is the job that deletes the events of a deleted archive.
func (b *Buses) deleteLeftovers(ctx context.Context, j work.Job) work.Outcome {
	archive, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail("the key is not an archive's number")
	}
	if err := b.deleteOldest(ctx, archive, time.UnixMilli(math.MaxInt64)); err != nil {
		return work.Retry(err.Error())
	}
	err = b.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return deleteCounts(ctx, tx, archive) })
	if err != nil {
		return work.Retry(err.Error())
	}
	return work.Done()
}

// handleArchives has this process run the jobs of archives and replays.
func (b *Buses) handleArchives() {
	b.jobs.Handle(deletionQueue, work.QueueOptions{Concurrency: 1}, b.deleteLeftovers)
	b.jobs.Handle(replayQueue, work.QueueOptions{Concurrency: maxReplayJobs, BackoffCap: replayBackoff}, b.runReplay)
}
