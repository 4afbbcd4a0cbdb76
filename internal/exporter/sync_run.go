package exporter

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// SyncRun is one full sync: all that is configured, or a selection of it, read
// from the cloud and brought into the sink.
type SyncRun struct {
	// ID is a UUID.
	ID string
	// Trigger is schedule, demand or confirm.
	Trigger string
	// Confirms is the run whose held removals this one lets; empty without.
	Confirms string
	// DryRun: the run says what it would change and changes nothing.
	DryRun bool
	// Grace is how long after the run found a change its event may still come
	// before the change counts as drift.
	Grace     time.Duration
	Selection Selection
	Status    SyncStatus
	// CreatedBy is who asked for it; empty for the schedule.
	CreatedBy string
	// ConfigRevision is of the configuration that it was planned with.
	ConfigRevision int64
	Error          string
	CreatedAt      time.Time
	StartedAt      time.Time
	FinishedAt     time.Time
	Totals         SyncTotals

	planned, cancelled bool
	epoch              int64
}

// Selection says what a run is about; an empty list stands for all that is
// configured.
type Selection struct {
	Accounts []string `json:"accounts,omitempty"`
	Regions  []string `json:"regions,omitempty"`
	Kinds    []string `json:"kinds,omitempty"`
}

func (s Selection) all() bool { return len(s.Accounts)+len(s.Regions)+len(s.Kinds) == 0 }

// SyncStatus is how far a run has come.
type SyncStatus string

// The statuses of a run.
const (
	SyncWaiting SyncStatus = "waiting"
	SyncRunning SyncStatus = "running"
	// SyncSucceeded: every scope was listed completely, and all of it stored.
	SyncSucceeded SyncStatus = "succeeded"
	// SyncPartial: some scopes, or some resources, could not be read or stored; they
	// are as they were.
	SyncPartial SyncStatus = "partial"
	// SyncFailed: no scope was listed.
	SyncFailed SyncStatus = "failed"
	// SyncHeld: more would go than may unasked; what would go is still there.
	SyncHeld SyncStatus = "held"
	// SyncCancelled: it was stopped; what it had changed stays changed.
	SyncCancelled SyncStatus = "cancelled"
)

// SyncTotals count over scopes.
type SyncTotals struct {
	Scopes, ScopesDone, ScopesFailed, ScopesHeld, ScopesSkipped int64
	// Expected is how many resources were known before, Listed how many were seen.
	Expected, Listed, Unchanged int64
	// Created, Updated and Removed count resources whose entities changed.
	Created, Updated, Removed int64
	// Failed are resources that were listed and could not be read or stored.
	Failed int64
	// Missing are known resources that a complete listing lacked, Unread those of
	// them that could not be looked for, and Held what would be removed and waits.
	Missing, Unread, Held int64
	// Drift is what events should have told; DriftPending may yet be told.
	Drift, DriftPending int64
}

// maxSelected bounds each list of a selection.
const maxSelected = 500

var kindName = regexp.MustCompile(`^[A-Za-z0-9]{2,64}(::[A-Za-z0-9]{2,64}){2,3}$`)

func (s Selection) check() error {
	for _, list := range []struct {
		field  string
		values []string
		is     func(string) bool
		what   string
	}{
		{"accounts", s.Accounts, auth.IsAccount, "a 12-digit account id"},
		{"regions", s.Regions, event.IsRegion, "a region such as eu-west-1"},
		{"kinds", s.Kinds, kindName.MatchString, "a kind such as AWS::Lambda::Function"},
	} {
		if len(list.values) > maxSelected {
			return httpapi.Invalid("Field %s has %d items, more than the %d allowed.", list.field, len(list.values), maxSelected)
		}
		for i, v := range list.values {
			if !list.is(v) {
				return httpapi.Invalid("Field %s[%d] must be %s, not %q.", list.field, i, list.what, v)
			}
		}
	}
	return nil
}

const (
	// keepRuns is how many runs are kept, those that wait not counted.
	keepRuns = 100
	// maxWaitingRuns bounds how many runs may wait.
	maxWaitingRuns = 10
	// DefaultGrace is how long an event may take before what a run found counts as
	// drift.
	DefaultGrace = 2 * time.Minute
	maxGrace     = 24 * time.Hour
)

// NewSync is a run to schedule.
type NewSync struct {
	Selection Selection
	DryRun    bool
	// Grace is as in SyncRun; nil stands for DefaultGrace.
	Grace *time.Duration
	// By is who asks.
	By string
}

// RunSync schedules a full sync, after those that wait already: runs never
// overlap.
func (x *Exporter) RunSync(ctx context.Context, n NewSync) (SyncRun, error) {
	run := SyncRun{Trigger: "demand", DryRun: n.DryRun, Selection: n.Selection, Grace: DefaultGrace, CreatedBy: n.By}
	if n.Grace != nil {
		run.Grace = *n.Grace
	}
	if run.Grace < 0 || run.Grace > maxGrace {
		return SyncRun{}, graceRange()
	}
	if err := n.Selection.check(); err != nil {
		return SyncRun{}, err
	}
	return x.newRun(ctx, run)
}

func graceRange() error {
	return httpapi.Invalid("Field grace_seconds must be from 0 to %d.", int(maxGrace.Seconds()))
}

func (x *Exporter) newRun(ctx context.Context, run SyncRun) (SyncRun, error) {
	run.ID, run.Status = uuid.NewString(), SyncWaiting
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		open, err := openRuns(ctx, tx, maxWaitingRuns+1)
		if err != nil {
			return err
		}
		if len(open) > maxWaitingRuns {
			return httpapi.Invalid("%d full syncs wait already; wait for them, or cancel some.", maxWaitingRuns)
		}
		run.CreatedAt = x.now()
		tx.OnCommit(x.sync.wake)
		return insertRun(ctx, tx, run)
	})
	if err != nil {
		return SyncRun{}, fmt.Errorf("schedule a full sync: %w", err)
	}
	return run, nil
}

// ConfirmSync schedules a run of the scopes that a run held, this time with the
// removals. It reads them again: what has come back since stays.
func (x *Exporter) ConfirmSync(ctx context.Context, id, by string) (SyncRun, error) {
	held, err := x.SyncRun(ctx, id)
	if err != nil {
		return SyncRun{}, err
	}
	if held.Status != SyncHeld {
		return SyncRun{}, httpapi.Invalid("Full sync %s is %s; only one that is held can be confirmed.", id, held.Status)
	}
	return x.newRun(ctx, SyncRun{Trigger: "confirm", Confirms: held.ID, Selection: held.Selection, Grace: held.Grace, CreatedBy: by})
}

// CancelSync stops a run that waits or runs. What it has changed stays changed.
func (x *Exporter) CancelSync(ctx context.Context, id string) (SyncRun, error) {
	var run SyncRun
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if run, err = runIn(ctx, tx, id); err != nil {
			return err
		}
		if !run.FinishedAt.IsZero() {
			return httpapi.Invalid("Full sync %s is over: it is %s.", id, run.Status)
		}
		if run.Status == SyncWaiting {
			run.Status, run.FinishedAt = SyncCancelled, x.now()
		}
		run.cancelled = true
		tx.OnCommit(x.sync.wake)
		return markCancelled(ctx, tx, run)
	})
	if err != nil {
		return SyncRun{}, fmt.Errorf("cancel full sync %s: %w", id, err)
	}
	return run, nil
}

// SyncRun returns a run with its totals so far, or ErrNotFound.
func (x *Exporter) SyncRun(ctx context.Context, id string) (SyncRun, error) {
	run, err := runIn(ctx, x.db, id)
	if err != nil {
		return SyncRun{}, err
	}
	if run.Totals, err = runTotals(ctx, x.db, id); err != nil {
		return SyncRun{}, fmt.Errorf("count full sync %s: %w", id, err)
	}
	return run, nil
}

func runIn(ctx context.Context, q store.Querier, id string) (SyncRun, error) {
	run, found, err := loadRun(ctx, q, id)
	if err != nil {
		return SyncRun{}, fmt.Errorf("load full sync %s: %w", id, err)
	}
	if !found {
		return SyncRun{}, httpapi.NotFound("There is no full sync %s; the last %d are kept.", id, keepRuns)
	}
	return run, nil
}

// SyncRuns lists the last runs, the last first, at most limit.
func (x *Exporter) SyncRuns(ctx context.Context, limit int) ([]SyncRun, error) {
	list, err := listRuns(ctx, x.db, limit)
	if err != nil {
		return nil, fmt.Errorf("list full syncs: %w", err)
	}
	for i := range list {
		if list[i].Totals, err = runTotals(ctx, x.db, list[i].ID); err != nil {
			return nil, fmt.Errorf("count full sync %s: %w", list[i].ID, err)
		}
	}
	return list, nil
}

// KindTotals is what a run did for a kind, over its accounts and regions.
type KindTotals struct {
	Kind string
	SyncTotals
	// StartedAt and FinishedAt are of its first scope and of its last; zero before.
	StartedAt, FinishedAt time.Time
	// Error is one of its scopes' errors.
	Error string
}

// SyncKinds returns a run's totals by kind, in the order of their names.
func (x *Exporter) SyncKinds(ctx context.Context, id string) ([]KindTotals, error) {
	list, err := kindTotals(ctx, x.db, id)
	if err != nil {
		return nil, fmt.Errorf("count the kinds of full sync %s: %w", id, err)
	}
	return list, nil
}

// ScopeFilter picks scopes of a run; empty fields pick all.
type ScopeFilter struct{ Account, Region, Kind, Status string }

// SyncScopes lists a run's scopes in the order of account, region and kind: at most
// limit after the one given.
func (x *Exporter) SyncScopes(ctx context.Context, id string, f ScopeFilter, after ScopeKey, limit int) ([]SyncScope, error) {
	if _, err := runIn(ctx, x.db, id); err != nil {
		return nil, err
	}
	list, err := listScopes(ctx, x.db, id, f, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the scopes of full sync %s: %w", id, err)
	}
	return list, nil
}

// SyncChange is one change that a run made, would make, holds back, or failed at.
type SyncChange struct {
	Key
	// Change is created, updated, removed, held or failed.
	Change string
	Why    string
	At     time.Time
}

// SyncChanges lists changes of a run in the order of account, region, kind and
// identifier: at most limit after the key given. A run keeps the first
// hundred or so of each scope.
func (x *Exporter) SyncChanges(ctx context.Context, id string, f ScopeFilter, after Key, limit int) ([]SyncChange, error) {
	if _, err := runIn(ctx, x.db, id); err != nil {
		return nil, err
	}
	list, err := listChanges(ctx, x.db, id, f, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the changes of full sync %s: %w", id, err)
	}
	return list, nil
}

// ScopeKey names a scope.
type ScopeKey struct{ Account, Region, Kind string }

// String returns account/region/kind.
func (k ScopeKey) String() string { return k.Account + "/" + k.Region + "/" + k.Kind }

// The sources of a scope.
const (
	// sourceConfigured: the configuration asks for it.
	sourceConfigured = "configured"
	// sourceUnconfigured: there are resources of it, and the configuration no longer
	// asks for it.
	sourceUnconfigured = "unconfigured"
	// sourceUnremembered: entities in the sink that are ours and of no resource.
	sourceUnremembered = "unremembered"
)

// The stages of a scope.
const (
	stageWaiting  = "waiting"
	stageListing  = "listing"
	stageChecking = "checking"
	stageRemoving = "removing"
	stageDone     = "done"
)

// The statuses of a scope that is done.
const (
	scopeComplete = "complete"
	// scopeFailed: it was not listed to its end, so nothing was removed.
	scopeFailed = "failed"
	scopeHeld   = "held"
	// scopeSkipped: it is no longer as it was planned.
	scopeSkipped = "skipped"
)

// SyncScope is what a run does in one account, region and kind.
type SyncScope struct {
	RunID string
	ScopeKey
	// Source is configured, unconfigured (the configuration no longer asks for it)
	// or unremembered (entities in the sink that are ours and of no resource).
	Source string
	// Stage is waiting, listing, checking, removing or done.
	Stage string
	// Status, once done, is complete, failed, held or skipped.
	Status string
	// Counts has no scopes in it.
	Counts                SyncTotals
	Error                 string
	StartedAt, FinishedAt time.Time

	position int
	ticket   int64
	queries  string // digest of what is listed
	query    int    // the list that comes next …
	next     string // … and its page
	cursor   string // the missing have been looked at up to this identifier
	// spared counts listed resources that were left alone, as an entity of theirs would go.
	spared int64
}

// firstLine keeps an error short enough for a table.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return clip(s)
}

// errSuperseded: the run is over, or another node has it.
var errSuperseded = errors.New("the full sync is over, or another node has taken it over")
