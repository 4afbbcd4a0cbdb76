package eventlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// A batch ends at the first of these. One call may pass maxBatchBytes, in a batch of its own.
	maxBatchEntries = 4000
	maxBatchBytes   = 1 << 20

	// fullPatience is how long a full log is given to free space before callers are refused: a consumer that keeps up is
	// at most this far behind, so it never causes an ErrFull.
	fullPatience = time.Second
	fullRecheck  = 20 * time.Millisecond
	// answerCheck is how long the engine may take to confirm before it is asked for its health. A failed write is never
	// answered.
	answerCheck    = 250 * time.Millisecond
	reviveInterval = time.Second

	codeStoreFailed           = 10077
	codeInsufficientResources = 10023
	codeStorageExceeded       = 10047
)

// appendCall is one caller waiting for its entries to be stored.
type appendCall struct {
	entries [][]byte
	size    int
	done    chan error
}

// committer writes what all callers of Append bring, one batch at a time.
type committer struct {
	intake  chan *appendCall
	stopped chan struct{}

	mu     sync.RWMutex
	closed bool

	// The rest belongs to the loop.
	refusing bool      // the last batch was refused because the log was full
	fault    error     // why the engine takes no writes
	revived  time.Time // when its restart was last tried
}

// Append stores the entries, in order and next to one another in one batch, and returns nil once they are on stable
// storage. Calls that arrive while a batch is being written share the next one. The entries must not be changed until
// Append returns, nor after it returned early because of ctx.
//
// Errors: ErrFull and ErrTooLarge (nothing was stored), ErrClosed (nothing was stored), ErrUnavailable (it may have been
// stored), and the error of ctx (it may be stored all the same).
func (l *Log) Append(ctx context.Context, entries [][]byte) error {
	if len(entries) == 0 {
		return nil
	}
	call := &appendCall{entries: entries, done: make(chan error, 1)}
	for _, e := range entries {
		call.size += entrySize(e)
	}
	if limit := l.MaxCallBytes(); call.size > limit {
		return fmt.Errorf("%w: %d bytes of at most %d", ErrTooLarge, call.size, limit)
	}
	if err := l.enqueue(ctx, call); err != nil {
		return err
	}
	select {
	case err := <-call.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// MaxCallBytes is the most that one call of Append may bring, in bytes, counting each entry with up to 5 bytes more.
func (l *Log) MaxCallBytes() int {
	limit := min(l.nc.MaxPayload(), l.opts.MaxBytes/2)
	return int(limit) - payloadOverhead
}

func (l *Log) enqueue(ctx context.Context, call *appendCall) error {
	l.committer.mu.RLock()
	defer l.committer.mu.RUnlock()
	if l.committer.closed {
		return ErrClosed
	}
	select {
	case l.committer.intake <- call:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Log) startCommitter() {
	l.committer.intake = make(chan *appendCall, 256)
	l.committer.stopped = make(chan struct{})
	go l.commitLoop()
}

// stopCommitter returns when every accepted call has its answer.
func (l *Log) stopCommitter() {
	c := &l.committer
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.intake)
	}
	c.mu.Unlock()
	<-c.stopped
}

// commitLoop has no timer: while one batch is being synced, callers queue, and the next batch takes them all.
func (l *Log) commitLoop() {
	defer close(l.committer.stopped)
	var (
		calls []*appendCall
		next  *appendCall
		buf   []byte
	)
	for {
		first := next
		if first == nil {
			var ok bool
			if first, ok = <-l.committer.intake; !ok {
				return
			}
		}
		calls, next = l.committer.gather(calls[:0], first)
		buf = appendRecord(buf[:0], calls)
		err := l.commit(buf)
		for _, c := range calls {
			c.done <- err
		}
		clear(calls)
		if err != nil || cap(buf) > 2*maxBatchBytes {
			buf = nil // after an error the client may still hold it
		}
	}
}

// gather adds to first what is waiting, up to the size of a batch. next is a call that was taken but did not fit.
func (c *committer) gather(calls []*appendCall, first *appendCall) (batch []*appendCall, next *appendCall) {
	batch = append(calls, first)
	count, size := len(first.entries), first.size
	for count < maxBatchEntries && size < maxBatchBytes {
		select {
		case call, ok := <-c.intake:
			if !ok {
				return batch, nil
			}
			if count+len(call.entries) > maxBatchEntries || size+call.size > maxBatchBytes {
				return batch, call
			}
			batch = append(batch, call)
			count, size = count+len(call.entries), size+call.size
		default:
			return batch, nil
		}
	}
	return batch, nil
}

// commit stores one record. When the log is full it has delivered batches removed, and waits a little for the consumer to
// deliver more, before it gives up.
func (l *Log) commit(record []byte) error {
	c := &l.committer
	patience := fullPatience
	if c.refusing {
		patience = 0
	}
	for deadline := time.Now().Add(patience); ; {
		err := l.write(record)
		if !errors.Is(err, ErrFull) {
			c.refusing = false
			return err
		}
		if l.makeRoom() {
			deadline = time.Now().Add(patience)
			continue
		}
		if !l.trimmer.running.Load() || !time.Now().Before(deadline) {
			c.refusing = true
			return err
		}
		l.inFlight.waitAck(fullRecheck)
	}
}

// write stores one record if the engine is well and the disk has room.
func (l *Log) write(record []byte) error {
	if l.engine == nil {
		return l.publish(record)
	}
	free, err := freeSpace(l.opts.Dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if free < l.opts.ReserveBytes+int64(len(record)) {
		return fmt.Errorf("%w: its disk has %d bytes free and must keep %d", ErrFull, free, l.opts.ReserveBytes)
	}
	if err := l.revive(); err != nil {
		return err
	}
	err = l.publish(record)
	if errors.Is(err, ErrUnavailable) {
		l.committer.fault = l.engine.fault()
	}
	return err
}

// revive restarts an embedded engine that has stopped taking writes, as it does for good when a write to the disk fails.
func (l *Log) revive() error {
	c := &l.committer
	if c.fault == nil {
		return nil
	}
	if time.Since(c.revived) < reviveInterval {
		return fmt.Errorf("%w: %w", ErrUnavailable, c.fault)
	}
	c.revived = time.Now()
	l.opts.Logger.Warn("event log: restarting the engine after a failed write", "error", c.fault)
	if err := l.engine.restart(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := l.awaitStream(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c.fault = nil
	return nil
}

// awaitStream returns when the client has found its way to a restarted engine.
func (l *Log) awaitStream(ctx context.Context) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, answerCheck)
		_, err := l.js.Stream(attempt, streamName)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("engine did not come back: %w", err)
		case <-time.After(fullRecheck):
		}
	}
}

// publish hands one record to the engine and waits until it confirms.
func (l *Log) publish(record []byte) error {
	future, err := l.js.PublishAsync(subject, record)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	check := time.NewTicker(answerCheck)
	defer check.Stop()
	for {
		select {
		case <-future.Ok():
			l.trimmer.grew(len(record), l.opts.MaxBytes)
			return nil
		case err := <-future.Err():
			return publishError(err)
		case <-check.C:
			if l.engine == nil {
				continue
			}
			if err := l.engine.fault(); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
	}
}

func publishError(err error) error {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	switch {
	case api.ErrorCode == codeInsufficientResources, api.ErrorCode == codeStorageExceeded,
		api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum bytes"):
		return fmt.Errorf("%w: %s", ErrFull, api.Description)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
