package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// rechecksAtOnce is how many resources are read again at once.
	rechecksAtOnce = 32
	// recheckIdle is how long the loop waits when nothing is to be read again: another
	// node may ask for it.
	recheckIdle = time.Minute
	// recheckPause is the pause after an error of the database.
	recheckPause = 5 * time.Second
	// goneFor is how long a resource that is gone is remembered, so that what was read
	// or told before cannot bring it back.
	goneFor = 14 * 24 * time.Hour
	// sweepEvery is how often what is remembered long enough is forgotten, sweepChunk rows
	// at a time.
	sweepEvery = time.Hour
	sweepChunk = 500
)

// originRecheck is the origin of changes that were found without an event.
const originRecheck = "exporter-recheck"

// runRechecks reads resources again that are due, until ctx ends.
func (x *Exporter) runRechecks(ctx context.Context) error {
	for {
		next, err := x.recheckDue(ctx)
		wait := recheckIdle
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errDeposed):
			return err
		case err != nil:
			x.log.Error("what is due could not be read again; it will be tried again", "error", err)
			wait = recheckPause
		case !next.IsZero():
			wait = min(max(next.Sub(x.now()), 0), recheckIdle)
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-x.recheck:
		case <-t.C:
		}
		t.Stop()
	}
}

// noteRechecks wakes the loop where a plan has something read again.
func (x *Exporter) noteRechecks(p *plan) {
	if p.due.IsZero() {
		return
	}
	select {
	case x.recheck <- struct{}{}:
	default:
	}
}

// recheckDue reads what is due, and returns when the next one is; zero if none is.
func (x *Exporter) recheckDue(ctx context.Context) (time.Time, error) {
	for {
		due, next, err := dueRechecks(ctx, x.db, x.now(), 4*rechecksAtOnce)
		if err != nil || len(due) == 0 {
			return next, err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(rechecksAtOnce)
		for _, r := range due {
			g.Go(func() error { return x.recheckOne(gctx, r) })
		}
		if err := g.Wait(); err != nil {
			return time.Time{}, err
		}
	}
}

// recheckOne reads one resource again and applies what was read. Its error is that of
// the exporter: what the cloud refuses is tried again later.
func (x *Exporter) recheckOne(ctx context.Context, r *Resource) error {
	cause := r.Cause
	cause.Origin, cause.Why = originRecheck, r.RecheckWhy
	read, err := x.read(ctx, r.Key, x.tickets.mark())
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return x.putOff(ctx, r, err)
	}
	out, err := x.apply(ctx, []Read{read}, cause, applyOptions{})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errDeposed):
		return err
	case err != nil:
		return x.putOff(ctx, r, err) // others go on
	}
	if out[0].unwritten {
		return x.putOff(ctx, r, out[0].Err)
	}
	if out[0].Key != r.Key || out[0].Outcome == Stale {
		// What was read is of another name, or older than what is known.
		return x.putOff(ctx, r, nil)
	}
	return nil
}

// putOff has a resource that could not be read again, or need not be, read later or no more.
func (x *Exporter) putOff(ctx context.Context, r *Resource, cause error) error {
	at, rechecks, why := time.Time{}, 0, ""
	if cause != nil && r.Rechecks < maxRechecks {
		at, rechecks, why = x.now().Add(recheckDelay(r.Rechecks)), r.Rechecks+1, r.RecheckWhy
	}
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		if err := x.guard(ctx, tx); err != nil {
			return err
		}
		return saveRecheck(ctx, tx, r, at, rechecks, why)
	})
	if err != nil {
		return fmt.Errorf("put off reading %s again: %w", r.Key, err)
	}
	if cause != nil && at.IsZero() {
		x.log.Warn("a resource could not be read again; a full sync will", "resource", r.Key.String(), "error", cause)
	}
	return nil
}

// unreadable: the cloud does not let us read that, now or later.
func unreadable(err error) bool {
	switch reader.ClassOf(err) {
	case reader.Denied, reader.Unsupported, reader.RegionOff:
		return true
	}
	return false
}

// sweep forgets what has been gone for long, until ctx ends.
func (x *Exporter) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		for {
			n, err := x.sweepOnce(ctx)
			if errors.Is(err, errDeposed) {
				return err
			}
			if err != nil && ctx.Err() == nil {
				x.log.Error("what is gone could not be forgotten; it will be tried again", "error", err)
			}
			if err != nil || n < sweepChunk {
				break
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (x *Exporter) sweepOnce(ctx context.Context) (int, error) {
	var n int
	err := x.db.Update(ctx, func(tx *store.Tx) (err error) {
		if err := x.guard(ctx, tx); err != nil {
			return err
		}
		n, err = dropGone(ctx, tx, x.now().Add(-goneFor), sweepChunk)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forget what is gone: %w", err)
	}
	return n, nil
}
