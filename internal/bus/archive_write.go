package bus

import (
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// archiveWriter stores what many callers archive, in few transactions: whoever finds
// nobody writing writes what all wait for. It needs no goroutine of its own.
type archiveWriter struct {
	db *store.DB
	// shards holds the counts' shards that nobody writes in. Who takes one may write.
	shards chan int

	mu      sync.Mutex
	waiting []*archiveCall
	// bySubscription knows the archives of subscriptions; neither changes.
	bySubscription map[int64]int64
}

// archiveCall is one caller's event on its way into an archive.
type archiveCall struct {
	event archivedEvent
	done  chan struct{} // closed once err is set
	err   error
}

const (
	// One transaction stores so much at most, unless one event alone is larger: it
	// holds the writer of the database for a few milliseconds.
	archiveBatch      = 128
	archiveBatchBytes = 1 << 20
	// archiveTimeout bounds one transaction.
	archiveTimeout = 5 * time.Second
	// archiveWriters is how many transactions a process has under way on PostgreSQL,
	// where each waits for a sync of its own.
	archiveWriters = 4
	// sweeperShard counts off what is deleted.
	sweeperShard = -1
)

func newArchiveWriter(db *store.DB) *archiveWriter {
	n := 1
	if db.Dialect() == store.Postgres {
		n = archiveWriters
	}
	w := &archiveWriter{db: db, shards: make(chan int, n), bySubscription: map[int64]int64{}}
	for shard := range n {
		w.shards <- shard
	}
	return w
}

// Archive puts the record's event into the archive that the subscription fills, and
// returns nil once it is durable. An event that the archive has is not stored
// again; one for an archive that is gone is dropped.
func (b *Buses) Archive(ctx context.Context, rec *event.Record, sub *Subscription) error {
	archive, found, err := b.archiver.archiveOf(ctx, sub.ID)
	if err != nil {
		return fmt.Errorf("look for the archive of rule %s: %w", sub.RuleARN, err)
	}
	if !found {
		return nil
	}
	e, err := event.Parse(rec.JSON)
	if err != nil {
		return fmt.Errorf("archive event %s: %w", rec.ID, err)
	}
	err = b.archiver.add(ctx, archivedEvent{
		archive: archive, at: e.Time.UnixMilli(), ingested: rec.Accepted.UnixMilli(),
		// PostgreSQL takes no zero bytes in text; the body has the id as it is.
		id: strings.ReplaceAll(e.ID, "\x00", "\uFFFD"), size: len(rec.JSON), body: packEvent(rec.JSON),
	})
	if err != nil {
		return fmt.Errorf("archive event %s: %w", rec.ID, err)
	}
	return nil
}

func (w *archiveWriter) archiveOf(ctx context.Context, subscription int64) (archive int64, found bool, err error) {
	w.mu.Lock()
	archive, found = w.bySubscription[subscription]
	w.mu.Unlock()
	if found {
		return archive, true, nil
	}
	archive, found, err = selectArchiveOfSubscription(ctx, w.db, subscription)
	if found && err == nil {
		w.mu.Lock()
		w.bySubscription[subscription] = archive
		w.mu.Unlock()
	}
	return archive, found, err
}

// forget forgets a subscription that is gone.
func (w *archiveWriter) forget(subscription int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.bySubscription, subscription)
}

// add returns once the event is stored.
func (w *archiveWriter) add(ctx context.Context, e archivedEvent) error {
	call := &archiveCall{event: e, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting = append(w.waiting, call)
	w.mu.Unlock()
	for {
		select {
		case <-call.done:
			return call.err
		case <-ctx.Done():
			w.withdraw(call)
			return ctx.Err()
		case shard := <-w.shards:
			wrote := w.write(ctx, shard)
			w.shards <- shard
			if !wrote {
				return call.await(ctx) // another writes it
			}
		}
	}
}

func (c *archiveCall) await(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// withdraw takes back a call that nobody writes yet.
func (w *archiveWriter) withdraw(call *archiveCall) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(c *archiveCall) bool { return c == call })
}

// write stores the first of what waits. It returns false if nothing does. The
// caller's ctx does not end it, for others wait too.
func (w *archiveWriter) write(ctx context.Context, shard int) bool {
	calls := w.take()
	if len(calls) == 0 {
		return false
	}
	batch := make([]archivedEvent, len(calls))
	for i, c := range calls {
		batch[i] = c.event
	}
	// In one order everywhere, so that transactions with the same events wait for one
	// another and do not lock each other out.
	slices.SortFunc(batch, func(x, y archivedEvent) int {
		return cmp.Or(cmp.Compare(x.archive, y.archive), cmp.Compare(x.at, y.at), cmp.Compare(x.id, y.id))
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), archiveTimeout)
	defer cancel()
	err := w.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return storeArchived(ctx, tx, shard, batch) })
	for _, c := range calls {
		c.err = err
		close(c.done)
	}
	return true
}

// take takes what one transaction stores.
func (w *archiveWriter) take() []*archiveCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, 0
	for n < len(w.waiting) && n < archiveBatch {
		if size += len(w.waiting[n].event.body); size > archiveBatchBytes && n > 0 {
			break
		}
		n++
	}
	calls := slices.Clone(w.waiting[:n])
	w.waiting = slices.Delete(w.waiting, 0, n)
	return calls
}

// packed begins the stored form of an event that is compressed; one that is not
// begins with its own brace.
const packed = 1

// minPacked is the size in bytes below which compressing saves too little.
const minPacked = 512

// The fastest level saves nearly as much as the best does, in half the time or less.
var packers = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // there is such a level
	}
	return w
}}

// packEvent returns the form of an envelope in which it is stored.
func packEvent(envelope []byte) []byte {
	if len(envelope) < minPacked {
		return envelope
	}
	w := packers.Get().(*flate.Writer)
	defer packers.Put(w)
	out := bytes.NewBuffer(make([]byte, 0, len(envelope)*3/4))
	out.WriteByte(packed)
	w.Reset(out)
	// Writing to memory does not fail.
	_, _ = w.Write(envelope)
	_ = w.Close()
	if out.Len() >= len(envelope) {
		return envelope
	}
	return out.Bytes()
}

// unpackEvent undoes packEvent.
func unpackEvent(stored []byte, size int) ([]byte, error) {
	if len(stored) == 0 || stored[0] != packed {
		return stored, nil
	}
	if size < 0 || size > event.MaxSize {
		return nil, fmt.Errorf("its size is %d, which no event has", size)
	}
	r := flate.NewReader(bytes.NewReader(stored[1:]))
	envelope := make([]byte, size)
	if _, err := io.ReadFull(r, envelope); err != nil {
		return nil, fmt.Errorf("unpack it: %w", err)
	}
	if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return nil, errors.New("unpack it: it is longer than its size says")
	}
	return envelope, nil
}
