package inventory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// SyncRun is one full sync of a cloud account.
type SyncRun struct {
	// ID is a UUID.
	ID             string
	CloudAccountID string
	// Trigger is schedule, demand or confirm.
	Trigger string
	// DryRun: the run says what it would change and changes nothing.
	DryRun bool
	// Confirmed: an admin wants the removals, however many.
	Confirmed  bool
	Status     SyncStatus
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	Added      int
	Updated    int
	Removed    int
	// Held are the removals that wait for confirmation.
	Held int
	// Drift counts what events should have told and did not.
	Drift   int
	Error   string
	Regions []RegionResult
}

// SyncStatus is how far a run has come.
type SyncStatus string

// The statuses of a run.
const (
	SyncWaiting SyncStatus = "waiting"
	SyncRunning SyncStatus = "running"
	// SyncSucceeded: every region was listed completely.
	SyncSucceeded SyncStatus = "succeeded"
	// SyncPartial: some regions were; the others are as they were.
	SyncPartial SyncStatus = "partial"
	// SyncFailed: no region was.
	SyncFailed SyncStatus = "failed"
	// SyncHeld: too many servers are missing; nothing that is missing was removed.
	SyncHeld SyncStatus = "held"
)

// RegionResult is what a run found in one region.
type RegionResult struct {
	Region string `json:"region"`
	// Complete: the whole region was listed, so that its changes were applied.
	Complete bool   `json:"complete"`
	Listed   int    `json:"listed"`
	Added    int    `json:"added"`
	Updated  int    `json:"updated"`
	Removed  int    `json:"removed"`
	Missing  int    `json:"missing"`
	Drift    int    `json:"drift"`
	Error    string `json:"error,omitempty"`
	// Changes are the first of the changes made, or those a dry run would make.
	Changes []SyncChange `json:"changes,omitempty"`
}

// SyncChange is one change of a run.
type SyncChange struct {
	InstanceID string `json:"instance_id"`
	// Change is added, updated, removed or held.
	Change string `json:"change"`
	Why    string `json:"why"`
	Drift  bool   `json:"drift,omitempty"`
}

const (
	// maxRunChanges bounds the changes that a run lists for each region.
	maxRunChanges = 100
	// keepRuns is how many runs are kept for each cloud account.
	keepRuns = 100
	// maxWaitingRuns bounds how many runs of one cloud account may wait.
	maxWaitingRuns = 10
)

func (r *RegionResult) note(instanceID, change, why string, drift bool) {
	switch change {
	case changeAdded:
		r.Added++
	case changeUpdated:
		r.Updated++
	case changeRemoved:
		r.Removed++
	}
	if drift {
		r.Drift++
	}
	if len(r.Changes) < maxRunChanges {
		r.Changes = append(r.Changes, SyncChange{InstanceID: instanceID, Change: change, Why: why, Drift: drift})
	}
}

// RunSync schedules a full sync of a cloud account at once, after those that
// wait already.
func (v *Inventory) RunSync(ctx context.Context, project, id string, dryRun bool) (SyncRun, error) {
	return v.newRun(ctx, project, id, SyncRun{Trigger: "demand", DryRun: dryRun})
}

func (v *Inventory) newRun(ctx context.Context, project, id string, run SyncRun) (SyncRun, error) {
	run.ID, run.Status = uuid.NewString(), SyncWaiting
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		a, err := accountIn(ctx, tx, project, id)
		if err != nil {
			return err
		}
		if a.Options.TrustEvents {
			return invalid("Cloud account %s takes events at their word (trust_events), so it is not read and cannot be synced.", a.AccountID)
		}
		waiting, err := countOpenRuns(ctx, tx, a.ID)
		if err != nil {
			return err
		}
		if waiting >= maxWaitingRuns {
			return invalid("%d runs of cloud account %s wait already.", waiting, a.AccountID)
		}
		run.CloudAccountID, run.CreatedAt = a.ID, v.now()
		if err := saveRun(ctx, tx, run); err != nil {
			return err
		}
		return v.o.Work.Enqueue(ctx, tx, work.NewJob{Queue: queueSync, Key: a.ID, Replace: true})
	})
	if err != nil {
		return SyncRun{}, fmt.Errorf("sync account %s: %w", id, err)
	}
	return run, nil
}

// ConfirmSync runs a sync again whose removals were held, this time with them.
// What has come back since stays.
func (v *Inventory) ConfirmSync(ctx context.Context, project, id, runID string) (SyncRun, error) {
	held, err := v.SyncRun(ctx, project, id, runID)
	if err != nil {
		return SyncRun{}, err
	}
	if held.Status != SyncHeld {
		return SyncRun{}, invalid("Run %s is %s; only a run that is held can be confirmed.", runID, held.Status)
	}
	return v.newRun(ctx, project, id, SyncRun{Trigger: "confirm", Confirmed: true})
}

// SyncRun returns one run of a cloud account, or ErrNotFound.
func (v *Inventory) SyncRun(ctx context.Context, project, id, runID string) (SyncRun, error) {
	a, err := accountIn(ctx, v.db, project, id)
	if err != nil {
		return SyncRun{}, err
	}
	run, found, err := loadRun(ctx, v.db, runID)
	if err != nil {
		return SyncRun{}, fmt.Errorf("load run %s: %w", runID, err)
	}
	if !found || run.CloudAccountID != a.ID {
		return SyncRun{}, notFound("Cloud account %s has no run %s.", a.AccountID, runID)
	}
	return run, nil
}

// SyncRuns lists the last runs of a cloud account, the last first.
func (v *Inventory) SyncRuns(ctx context.Context, project, id string) ([]SyncRun, error) {
	a, err := accountIn(ctx, v.db, project, id)
	if err != nil {
		return nil, err
	}
	list, err := listRuns(ctx, v.db, a.ID, keepRuns)
	if err != nil {
		return nil, fmt.Errorf("list runs of account %s: %w", a.AccountID, err)
	}
	return list, nil
}

// syncJob runs a cloud account's open run, or the one that its schedule asks for,
// and schedules the next. There is one such job per cloud account, so its runs
// come one after another.
func (v *Inventory) syncJob(ctx context.Context, j work.Job) work.Outcome {
	a, found, err := loadAccount(ctx, v.db, j.Key)
	if err != nil {
		return work.Retry(err.Error())
	}
	if !found || !a.DeletedAt.IsZero() {
		return work.Done()
	}
	run, due, err := v.dueRun(ctx, a)
	if err != nil {
		return work.Retry(err.Error())
	}
	if due {
		v.runSync(ctx, a, &run)
		if ctx.Err() != nil {
			return work.Retry(ctx.Err().Error())
		}
	}
	err = v.db.Update(ctx, func(tx *store.Tx) error { return v.finishSync(ctx, tx, j, a, run, due) })
	if err != nil && !errors.Is(err, work.ErrLost) {
		return work.Retry(err.Error())
	}
	return work.Completed()
}

// dueRun returns the oldest open run, one that a crash cut short included, or a
// new one if the schedule's last time has seen none.
func (v *Inventory) dueRun(ctx context.Context, a CloudAccount) (run SyncRun, due bool, err error) {
	err = v.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		run, due, err = openRun(ctx, tx, a.ID)
		if err != nil || due || a.Options.TrustEvents {
			return err
		}
		now := v.now()
		slot := nextSync(a, now).Add(-a.Options.SyncInterval)
		last, err := lastScheduledRun(ctx, tx, a.ID)
		if err != nil || !last.Before(slot) {
			return err
		}
		run, due = SyncRun{ID: uuid.NewString(), CloudAccountID: a.ID, Trigger: "schedule", Status: SyncWaiting, CreatedAt: now}, true
		return saveRun(ctx, tx, run)
	})
	return run, due, err
}

func (v *Inventory) finishSync(ctx context.Context, tx *store.Tx, j work.Job, a CloudAccount, run SyncRun, ran bool) error {
	if ran {
		if err := saveRun(ctx, tx, run); err != nil {
			return err
		}
		if err := deleteOldRuns(ctx, tx, a.ID, keepRuns); err != nil {
			return err
		}
		if err := v.announce(ctx, tx, a, "sync.finished", map[string]any{
			"run_id": run.ID, "status": run.Status, "dry_run": run.DryRun, "added": run.Added, "updated": run.Updated,
			"removed": run.Removed, "held": run.Held, "drift": run.Drift, "error": run.Error,
		}); err != nil {
			return err
		}
	}
	if err := v.o.Work.Complete(ctx, tx, j); err != nil {
		return err
	}
	return v.scheduleSync(ctx, tx, a)
}
