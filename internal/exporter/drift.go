package exporter

import (
	"context"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Missed is what events should have told of a resource.
type Missed string

// What events can miss.
const (
	MissedCreate Missed = "create"
	MissedUpdate Missed = "update"
	MissedDelete Missed = "delete"
)

// Drift is a change that a full sync found and no event told of.
type Drift struct {
	// RunID is the run that found it.
	RunID string
	Key
	Missed Missed
	// Since is when the resource, or of one that is new its scope, was last known to be
	// as it was stored: the change happened after it, and before FoundAt.
	Since   time.Time
	FoundAt time.Time
	// Pending: the run's grace is not over, or records about the resource are on their
	// way; an event may yet tell.
	Pending bool

	due time.Time
}

const (
	driftChunk = 25
	// driftAgain is when drift is looked at again that records may yet tell of.
	driftAgain = 5 * time.Second
	// eventResolution is how coarse the time of an event is. AWS: whole seconds.
	eventResolution = time.Second
	// keepDrift is how long drift is kept.
	keepDrift = 60 * 24 * time.Hour
)

// settleDrift looks at the changes whose grace is over: those that an event has told of
// since are no drift.
func (x *Exporter) settleDrift(ctx context.Context) error {
	for {
		now := x.now()
		due, err := dueDrift(ctx, x.db, now, driftChunk)
		if err != nil {
			return fmt.Errorf("look for drift: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		confirmed := 0
		err = x.db.Update(ctx, func(tx *store.Tx) error {
			confirmed = 0
			if err := x.guard(ctx, tx); err != nil {
				return err
			}
			for i := range due {
				drifted, err := x.settleOne(ctx, tx, &due[i], now)
				if err != nil {
					return err
				}
				if drifted {
					confirmed++
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("settle drift: %w", err)
		}
		x.sync.counters.drift.Add(int64(confirmed))
	}
}

func (x *Exporter) settleOne(ctx context.Context, tx *store.Tx, d *Drift, now time.Time) (drifted bool, err error) {
	told, err := lastTold(ctx, tx, d.Key)
	switch {
	case err != nil:
		return false, err
	case !told.Before(d.Since.Truncate(eventResolution)) && !told.IsZero():
		return false, deleteDrift(ctx, tx, d)
	case x.waiting.has(d.Key, now):
		return false, postponeDrift(ctx, tx, d, now.Add(driftAgain))
	}
	if err := confirmDrift(ctx, tx, d); err != nil {
		return false, err
	}
	return true, countDrift(ctx, tx, d)
}

// DriftFilter picks drift; empty fields pick all.
type DriftFilter struct {
	RunID, Account, Region, Kind string
	Missed                       Missed
	// Pending picks what may yet be told instead of what is certain.
	Pending bool
}

// DriftAfter is a place in the list of drift: the one after the entry it is of.
type DriftAfter struct {
	FoundAt time.Time
	RunID   string
	Key
}

// Drift lists what events missed, the latest found first: at most limit after the
// place given, from the first for its zero value.
func (x *Exporter) Drift(ctx context.Context, f DriftFilter, after DriftAfter, limit int) ([]Drift, error) {
	list, err := listDrift(ctx, x.db, f, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list drift: %w", err)
	}
	return list, nil
}
