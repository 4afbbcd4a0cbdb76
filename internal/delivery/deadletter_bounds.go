package delivery

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// DeadLetterLimits bound the built-in store of dead letters. What is beyond them is
// dropped, the oldest first, and a record of that is kept.
type DeadLetterLimits struct {
	// Age is how long dead letters are kept.
	Age time.Duration
	// Bytes is how much they may take together. With 0 there is no store: a delivery
	// that is given up is dropped unless its target has a dead-letter queue.
	Bytes int64
}

const (
	// boundsPause is how often the bounds are looked after when little comes.
	boundsPause = time.Minute
	// dropChunk and dropChunkBytes bound what one transaction drops.
	dropChunk      = 200
	dropChunkBytes = 2 << 20
	// keepRecords is how long it is remembered that letters were dropped, after the
	// last of them, and how long a finished run.
	keepRecords = 30 * 24 * time.Hour
)

// keepBounds drops what is beyond the limits until ctx ends.
func (d *Delivery) keepBounds(ctx context.Context) {
	for {
		if err := d.dropBeyond(ctx); err != nil && ctx.Err() == nil {
			d.Logger.Error("dead letters beyond the limits were not dropped; trying again", "error", err)
		}
		timer := time.NewTimer(boundsPause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-d.letters.grown:
			timer.Stop()
		}
	}
}

// dropBeyond drops the letters that are beyond the limits, and old records of runs and
// of drops.
func (d *Delivery) dropBeyond(ctx context.Context) error {
	d.letters.added.Store(0)
	p := dropping{before: d.Now().Add(-d.DeadLetters.Age).UnixMilli(), limit: d.DeadLetters.Bytes, records: dropRecords{}}
	var err error
	for more := true; more && err == nil; {
		more, err = d.dropSome(ctx, &p)
	}
	p.report(d)
	if err != nil {
		return err
	}
	return d.letterStore.forget(ctx, d.Now().Add(-keepRecords))
}

// dropping is one pass over the oldest letters.
type dropping struct {
	before  int64 // those given up before are too old
	limit   int64 // bytes that may be there; 0 for any number
	full    bool  // there were more
	records dropRecords
}

// excess returns how many bytes are to go of those that there are now: other nodes
// drop too.
func (p *dropping) excess(bytes int64) int64 {
	if p.limit == 0 || !p.full && bytes <= p.limit {
		return 0
	}
	p.full = true
	return bytes - p.limit + p.limit/100 // so that it is not to be done again at once
}

// choose returns the first of the letters, the oldest, that are to go, and for which
// reason each.
func (p *dropping) choose(oldest []deletedLetter, excess int64) map[int64]string {
	reasons, size := map[int64]string{}, int64(0)
	for _, l := range oldest {
		switch {
		case size >= dropChunkBytes:
			return reasons
		case l.at < p.before:
			reasons[l.id] = DroppedForAge
		case excess > 0:
			reasons[l.id] = DroppedForSize
		default:
			return reasons
		}
		excess -= l.size
		size += l.size
	}
	return reasons
}

// dropSome drops what one transaction does; false when nothing is left to drop.
func (d *Delivery) dropSome(ctx context.Context, p *dropping) (more bool, err error) {
	_, bytes, err := d.letterStore.bytes(ctx)
	if err != nil {
		return false, fmt.Errorf("count dead letters: %w", err)
	}
	oldest, err := d.letterStore.oldest(ctx, dropChunk)
	if err != nil {
		return false, fmt.Errorf("find the oldest dead letters: %w", err)
	}
	reasons := p.choose(oldest, p.excess(bytes))
	if len(reasons) == 0 {
		return false, nil
	}
	var records dropRecords
	err = d.DB.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
		records, err = d.letterStore.drop(ctx, tx, reasons, d.Now())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("drop dead letters: %w", err)
	}
	for key, r := range records {
		p.records.merge(key, r)
		d.counters.lettersDropped.Add(r.letters)
	}
	return true, nil
}

// report says what was dropped.
func (p *dropping) report(d *Delivery) {
	for _, key := range slices.SortedFunc(maps.Keys(p.records), dropKey.compare) {
		r := p.records[key]
		d.Logger.Warn("dead letters were dropped; raise --dead-letter-age or --dead-letter-bytes to keep more",
			"reason", key.reason, "rule", key.ruleARN, "target", key.targetID, "letters", r.letters, "bytes", r.bytes,
			"oldest", time.UnixMilli(r.oldest).UTC(), "newest", time.UnixMilli(r.newest).UTC())
	}
}
