package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
)

// ErrThrottled says that the event log takes no events now. Nothing of the call
// is acknowledged; the sender may try again.
var ErrThrottled = errors.New("the event log takes no events now")

// ErrTooLarge says that the events of one call are too large for the event log.
var ErrTooLarge = errors.New("the events are too large for one write to the event log")

// maxEnvelope is how large an event may be when it comes in, in bytes: less than it
// may be when it is read again, for a replay adds its name.
const maxEnvelope = event.MaxSize - 4<<10

// Put is the way in for every event. It stamps Accepted, where it is zero, and
// RuleVersion, and returns nil once all records are durable. The error is, or
// wraps, ErrThrottled, ErrTooLarge or the context's; it acknowledges none of
// them, but some may be delivered.
func (b *Buses) Put(ctx context.Context, recs []event.Record) error {
	if len(recs) == 0 {
		return nil
	}
	size := 0
	for i := range recs {
		size += recordSize(len(recs[i].JSON))
	}
	out := newBatch(len(recs), size)
	for i := range recs {
		b.stamp(&recs[i])
		out.buf = recs[i].Append(out.buf)
		out.cut()
	}
	return b.append(ctx, out)
}

// stamp fills in what acceptance decides.
func (b *Buses) stamp(rec *event.Record) {
	if rec.Accepted.IsZero() {
		rec.Accepted = b.now()
	}
	rec.RuleVersion = b.RuleVersion(rec.Bus)
}

// batch is one call's records, encoded one after another.
type batch struct {
	buf     []byte
	ends    []int
	entries [][]byte
}

// batches keeps the memory of batches that are stored.
var batches = sync.Pool{New: func() any { return new(batch) }}

// maxKeptBatch is the size in bytes above which a batch's memory is not kept.
const maxKeptBatch = 256 << 10

// recordSize is about how much a record with that much JSON takes.
func recordSize(json int) int { return json + 256 }

func newBatch(records, size int) *batch {
	o := batches.Get().(*batch)
	o.buf, o.ends, o.entries = slices.Grow(o.buf[:0], size), slices.Grow(o.ends[:0], records), slices.Grow(o.entries[:0], records)
	return o
}

// free gives the batch's memory back. The log must not have it any more.
func (o *batch) free() {
	if cap(o.buf) > maxKeptBatch {
		return
	}
	clear(o.entries)
	batches.Put(o)
}

// cut ends a record.
func (o *batch) cut() { o.ends = append(o.ends, len(o.buf)) }

func (b *Buses) append(ctx context.Context, out *batch) error {
	if len(out.ends) == 0 {
		return nil
	}
	start := 0
	for _, end := range out.ends {
		out.entries = append(out.entries, out.buf[start:end:end])
		start = end
	}
	err := b.log.Append(ctx, out.entries)
	switch {
	case err == nil:
		out.free() // after an error the log may still read it
		return nil
	case errors.Is(err, eventlog.ErrFull), errors.Is(err, eventlog.ErrUnavailable), errors.Is(err, eventlog.ErrClosed):
		return fmt.Errorf("%w: %w", ErrThrottled, err)
	case errors.Is(err, eventlog.ErrTooLarge):
		return fmt.Errorf("%w: %w", ErrTooLarge, err)
	}
	return fmt.Errorf("put %d events: %w", len(out.ends), err)
}
