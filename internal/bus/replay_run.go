package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// maxReplayJobs is how many replays a process has under way; more wait.
	maxReplayJobs = 16
	// replayBackoff bounds the pause before a replay that failed for a while goes on.
	replayBackoff = 30 * time.Second
	// replayChunk and replayChunkBytes bound what is read of an archive at once. A
	// crash has as much sent again, under the same ids.
	replayChunk      = 512
	replayChunkBytes = 4 << 20
	// noteTime bounds how long is tried to note what was sent, once the process is to
	// stop.
	noteTime = 5 * time.Second
)

// runReplay is the job of a replay. It ends with the replay; a process that goes on
// in its place finds in the database how far it was.
func (b *Buses) runReplay(ctx context.Context, j work.Job) work.Outcome {
	id, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail("the key is not a replay's number")
	}
	for {
		r, found, err := selectReplayByID(ctx, b.db, id)
		if err == nil && !found {
			return work.Done()
		}
		over := false
		if err == nil {
			over, err = b.stepReplay(ctx, r)
		}
		if err != nil {
			if ctx.Err() == nil {
				b.logger.Warn("a replay waits and will go on", "replay", r.ARN(), "error", err)
			}
			return work.Retry(err.Error())
		}
		if over {
			return work.Done()
		}
	}
}

// stepReplay takes a replay one step further. It returns true if there is none.
func (b *Buses) stepReplay(ctx context.Context, r Replay) (over bool, err error) {
	switch r.State {
	case ReplayStarting:
		return false, b.beginReplay(ctx, r)
	case ReplayRunning:
		return false, b.replayChunk(ctx, r)
	case ReplayCancelling:
		return false, b.finishReplay(ctx, r, ReplayCancelled, "")
	default:
		return true, nil
	}
}

func (b *Buses) beginReplay(ctx context.Context, r Replay) error {
	total, err := countArchived(ctx, b.db, r.archiveID, r.cursor, r.Until)
	if err != nil {
		return fmt.Errorf("count the events to replay: %w", err)
	}
	return b.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return letReplayRun(ctx, tx, r.id, total) })
}

func (b *Buses) finishReplay(ctx context.Context, r Replay, to ReplayState, reason string) error {
	if text := []rune(reason); len(text) > maxStateReason {
		reason = string(text[:maxStateReason])
	}
	return b.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		return endReplay(ctx, tx, r.id, r.State, to, reason, b.now())
	})
}

// unreadableError is an archived event that cannot be replayed.
type unreadableError struct{ error }

// replayChunk sends the next events, and notes how far it came. Without any it ends
// the replay.
func (b *Buses) replayChunk(ctx context.Context, r Replay) error {
	gone, err := b.goneOf(ctx, r)
	if err != nil {
		return err
	}
	if gone != "" {
		return b.finishReplay(ctx, r, ReplayFailed, gone+" was deleted before all events were replayed.")
	}
	next, err := selectArchived(ctx, b.db, r.archiveID, r.cursor, r.Until, replayChunk, replayChunkBytes)
	if err != nil {
		return fmt.Errorf("read the archive: %w", err)
	}
	if len(next) == 0 {
		return b.finishReplay(ctx, r, ReplayCompleted, "")
	}
	n, err := b.sendReplayed(ctx, r, next)
	if n > 0 {
		err = errors.Join(err, b.noteReplayed(ctx, r, next[n-1], n))
	}
	if unreadable, ok := errors.AsType[unreadableError](err); ok {
		return b.finishReplay(ctx, r, ReplayFailed, unreadable.Error())
	}
	return err
}

// goneOf returns what a replay needs that was deleted; empty if it is all there.
func (b *Buses) goneOf(ctx context.Context, r Replay) (string, error) {
	exists, err := archiveExists(ctx, b.db, r.archiveID)
	if err != nil {
		return "", fmt.Errorf("look for archive %s: %w", r.Archive, err)
	}
	if !exists {
		return "Archive " + r.Archive, nil
	}
	_, err = b.Bus(ctx, r.Bus)
	if awsapi.HasCode(err, "ResourceNotFoundException") {
		return "Event bus " + r.Bus.Name, nil
	}
	return "", err
}

// noteReplayed notes what was sent also when ctx has ended, so that a stop sends
// nothing twice.
func (b *Buses) noteReplayed(ctx context.Context, r Replay, last archivedEvent, n int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	err := b.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		return advanceReplay(ctx, tx, r.id, r.cursor, archiveCursor{at: last.at, id: last.id}, n)
	})
	if err != nil {
		return fmt.Errorf("note how far the replay is: %w", err)
	}
	return nil
}

// sendReplayed puts events on the bus, a slice at a time, while the replay runs. It
// returns how many.
func (b *Buses) sendReplayed(ctx context.Context, r Replay, next []archivedEvent) (sent int, err error) {
	var slice []event.Record
	for sent < len(next) {
		if len(slice) == 0 {
			if slice, err = r.slice(next[sent:]); err != nil {
				return sent, err
			}
		}
		state, err := selectReplayState(ctx, b.db, r.id)
		if err != nil || state != ReplayRunning {
			return sent, err
		}
		put, err := b.putReplayed(ctx, slice)
		if put {
			sent += len(slice)
			slice = nil
		}
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

const (
	// replaySlice and replaySliceBytes bound what is put on the bus at once: live
	// events wait behind that much, see replayPace. A lane has workers for more.
	replaySlice      = 16
	replaySliceBytes = 256 << 10
)

// slice makes records of the first events. The error is an unreadableError of the
// very first.
func (r Replay) slice(next []archivedEvent) ([]event.Record, error) {
	var recs []event.Record
	size := 0
	for _, e := range next {
		rec, err := r.record(e)
		if err != nil && len(recs) == 0 {
			return nil, unreadableError{err}
		}
		size += len(rec.JSON)
		if err != nil || len(recs) == replaySlice || size > replaySliceBytes && len(recs) > 0 {
			return recs, nil //nolint:nilerr // the next slice begins with it
		}
		recs = append(recs, rec)
	}
	return recs, nil
}
