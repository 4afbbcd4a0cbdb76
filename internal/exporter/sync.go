package exporter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// SyncSettings say when full syncs run and how much they may remove unasked.
type SyncSettings struct {
	// Interval is the time between full syncs of all that is configured; 0 for none
	// but on demand.
	Interval time.Duration
	// RemovalCount and RemovalPercent bound the resources of one scope that a run
	// removes without confirmation: the greater of the two.
	RemovalCount, RemovalPercent int
	// UpdatedAt is zero while nobody has changed them.
	UpdatedAt time.Time
}

// DefaultSyncSettings hold until others are set.
func DefaultSyncSettings() SyncSettings {
	return SyncSettings{Interval: 6 * time.Hour, RemovalCount: 10, RemovalPercent: 20}
}

const (
	minSyncInterval = time.Minute
	maxSyncInterval = 30 * 24 * time.Hour
	maxRemovalCount = 1_000_000
)

func (s SyncSettings) check() error {
	switch {
	case s.Interval != 0 && (s.Interval < minSyncInterval || s.Interval > maxSyncInterval):
		return httpapi.Invalid("Field interval must be 0s, for full syncs on demand only, or from %v to %v.", minSyncInterval, maxSyncInterval)
	case s.RemovalCount < 0 || s.RemovalCount > maxRemovalCount:
		return httpapi.Invalid("Field removal_count must be from 0 to %d.", maxRemovalCount)
	case s.RemovalPercent < 0 || s.RemovalPercent > 100:
		return httpapi.Invalid("Field removal_percent must be from 0 to 100.")
	}
	return nil
}

// limit is how many of a scope's resources may be removed unasked.
func (s SyncSettings) limit(present int64) int64 {
	return max(int64(s.RemovalCount), present*int64(s.RemovalPercent)/100)
}

// SyncSettings returns what full syncs go by.
func (x *Exporter) SyncSettings(ctx context.Context) (SyncSettings, error) {
	return settingsIn(ctx, x.db)
}

func settingsIn(ctx context.Context, q store.Querier) (SyncSettings, error) {
	s, found, err := loadSettings(ctx, q)
	if err != nil {
		return SyncSettings{}, fmt.Errorf("load the settings of full syncs: %w", err)
	}
	if !found {
		return DefaultSyncSettings(), nil
	}
	return s, nil
}

// SetSyncSettings changes what full syncs go by, from the next one on.
func (x *Exporter) SetSyncSettings(ctx context.Context, s SyncSettings) (SyncSettings, error) {
	if err := s.check(); err != nil {
		return SyncSettings{}, err
	}
	s.UpdatedAt = x.now()
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		tx.OnCommit(x.sync.wake)
		return saveSettings(ctx, tx, s)
	})
	if err != nil {
		return SyncSettings{}, fmt.Errorf("set the settings of full syncs: %w", err)
	}
	return s, nil
}

const (
	// syncPoll bounds how late a run is noticed that another node was asked for.
	syncPoll = time.Second
	// syncPause is the pause after a run that the database kept from going on.
	syncPause = 5 * time.Second
	// clockSkew is how far the clocks of nodes may be apart.
	clockSkew = time.Minute
)

// syncs is what a node keeps of full syncs.
type syncs struct {
	wakeup   chan struct{} // has an element when there is something new
	counters syncCounters
	fresh    freshness
	listed   listedScopes
	// retryPause is the pause before a read that failed is tried again; doubled each
	// time.
	retryPause time.Duration
}

func newSyncs() syncs {
	return syncs{wakeup: make(chan struct{}, 1), retryPause: 500 * time.Millisecond}
}

func (s *syncs) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// runSyncs runs full syncs, one after another, when they are asked for or due. One
// that another node had to leave, or that a kill has cut short, goes on where it was.
func (x *Exporter) runSyncs(ctx context.Context) error {
	for ctx.Err() == nil {
		run, due, err := x.dueRun(ctx)
		if err == nil && due {
			err = x.runSync(ctx, &run)
		}
		switch {
		case errors.Is(err, errDeposed):
			return err
		case errors.Is(err, errSuperseded):
			// It was cancelled just as it was to begin: there is nothing left to do of it.
		case err != nil && ctx.Err() == nil:
			x.log.Error("a full sync could not go on; it will be tried again", "run", run.ID, "error", err)
			sleep(ctx, syncPause)
		case err == nil && !due:
			x.sync.idle(ctx)
		}
	}
	return ctx.Err()
}

// idle waits until there may be something to do.
func (s *syncs) idle(ctx context.Context) {
	poll := time.NewTimer(syncPoll)
	defer poll.Stop()
	select {
	case <-ctx.Done():
	case <-s.wakeup:
	case <-poll.C:
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// dueRun returns the oldest open run, or a new one if the schedule asks for it.
func (x *Exporter) dueRun(ctx context.Context) (run SyncRun, due bool, err error) {
	open, err := openRuns(ctx, x.db, 1)
	if err != nil {
		return SyncRun{}, false, fmt.Errorf("look for a full sync: %w", err)
	}
	if len(open) > 0 {
		return open[0], true, nil
	}
	if ready, err := x.scheduleDue(ctx, x.db); err != nil || !ready {
		return SyncRun{}, false, err
	}
	err = x.db.Update(ctx, func(tx *store.Tx) error {
		due = false
		if err := x.guard(ctx, tx); err != nil {
			return err
		}
		ready, err := x.scheduleDue(ctx, tx)
		if err != nil || !ready {
			return err
		}
		run = SyncRun{ID: uuid.NewString(), Trigger: "schedule", Grace: DefaultGrace, Status: SyncWaiting, CreatedAt: x.now()}
		due = true
		return insertRun(ctx, tx, run)
	})
	if err != nil {
		return SyncRun{}, false, fmt.Errorf("begin a scheduled full sync: %w", err)
	}
	return run, due, nil
}

// scheduleDue reports whether the schedule asks for a run: there is something to
// sync, and the last run of everything began an interval ago.
func (x *Exporter) scheduleDue(ctx context.Context, q store.Querier) (bool, error) {
	set, err := settingsIn(ctx, q)
	if err != nil || set.Interval == 0 {
		return false, err
	}
	// What lies in the future was put down under a clock that has jumped since.
	last, err := lastFullRun(ctx, q, x.now().Add(clockSkew))
	if err != nil {
		return false, fmt.Errorf("look for the last full sync: %w", err)
	}
	if !last.IsZero() && x.now().Sub(last) < set.Interval {
		return false, nil
	}
	return configured(ctx, q)
}
