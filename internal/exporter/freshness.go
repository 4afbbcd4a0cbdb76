package exporter

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Freshness says how fresh the entities of one account, region and kind are.
type Freshness struct {
	ScopeKey
	Status FreshnessStatus
	// Configured: the configuration asks for it.
	Configured bool
	// Events counts those whose change was stored.
	Events int64
	// Ignored counts records that changed nothing since the configuration does not select
	// their region and account.
	Ignored int64
	// LastEventAt is the time of the latest event, LastReceivedAt when a record last
	// came, LastStoredAt when its change was stored.
	LastEventAt, LastReceivedAt, LastStoredAt time.Time
	// LastFailureAt and LastFailure say when and why a record last could not be
	// followed.
	LastFailureAt time.Time
	LastFailure   string
	// LastSyncAt is when the last complete sync of it began, LastSyncRun which it was,
	// and LastSyncError what the last one could not do.
	LastSyncAt    time.Time
	LastSyncRun   string
	LastSyncError string
	// Drift counts what syncs found since the last event that events should have told,
	// DriftSince since when the first of it may have happened.
	Drift       int64
	LastDriftAt time.Time
	DriftSince  time.Time
	// Lag is of the events of the last 24 hours.
	Lag LagSummary

	lastAttemptAt time.Time
	revision      int64
}

// LagSummary is the lag from an event to its stored change. Both are upper bounds, at
// most a quarter too high. AWS: events have whole seconds, and so has their lag.
type LagSummary struct {
	Count    int64
	P50, P99 time.Duration
}

// FreshnessStatus sums freshness up.
type FreshnessStatus string

// The statuses of freshness.
const (
	// FreshOK: events come, and the last sync found nothing that they missed.
	FreshOK FreshnessStatus = "ok"
	// FreshNoEvents: no event has ever come, and none was missed.
	FreshNoEvents FreshnessStatus = "no_events"
	// FreshBroken: the last sync found changes of which no event told; a rule is missing or broken.
	FreshBroken FreshnessStatus = "broken"
	// FreshFailing: the last sync could not read it, or a record since could not be followed.
	FreshFailing FreshnessStatus = "failing"
	// FreshNeverSynced: no sync has been through it.
	FreshNeverSynced FreshnessStatus = "never_synced"
	// FreshNotConfigured: the configuration does not ask for it, or no longer.
	FreshNotConfigured FreshnessStatus = "not_configured"
)

func (f *Freshness) status() FreshnessStatus {
	switch {
	case !f.Configured:
		return FreshNotConfigured
	case f.LastSyncError != "", f.LastFailureAt.After(latest(f.LastStoredAt, f.LastSyncAt)):
		return FreshFailing
	case f.Drift > 0:
		return FreshBroken
	case f.LastSyncAt.IsZero():
		return FreshNeverSynced
	case f.Events == 0:
		return FreshNoEvents
	}
	return FreshOK
}

// FreshnessFilter picks scopes; empty fields pick all.
type FreshnessFilter struct {
	Account, Region, Kind string
	Status                FreshnessStatus
}

func (f *FreshnessFilter) matches(x *Freshness) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.Account, x.Account) && is(f.Region, x.Region) && is(f.Kind, x.Kind) && is(string(f.Status), string(x.Status))
}

// Freshness lists how fresh each scope is that is configured, or was synced or had
// events, in the order of account, region and kind: at most limit after the one
// given.
func (x *Exporter) Freshness(ctx context.Context, f FreshnessFilter, after ScopeKey, limit int) ([]Freshness, error) {
	rows, err := listFreshness(ctx, x.db)
	if err != nil {
		return nil, fmt.Errorf("list freshness: %w", err)
	}
	wanted, err := x.wanted(ctx)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Configured = wanted[rows[i].ScopeKey]
		delete(wanted, rows[i].ScopeKey)
	}
	for k := range wanted {
		rows = append(rows, Freshness{ScopeKey: k, Configured: true})
	}
	slices.SortFunc(rows, func(a, b Freshness) int { return compareScopes(a.ScopeKey, b.ScopeKey) })
	list := make([]Freshness, 0, limit)
	for i := range rows {
		rows[i].Status = rows[i].status()
		if compareScopes(rows[i].ScopeKey, after) > 0 && f.matches(&rows[i]) && len(list) < limit {
			list = append(list, rows[i])
		}
	}
	now := x.now()
	for i := range list {
		if list[i].Lag, err = lagOf(ctx, x.db, list[i].ScopeKey, now.Add(-lagWindow)); err != nil {
			return nil, fmt.Errorf("lag of %s: %w", list[i].ScopeKey, err)
		}
	}
	return list, nil
}

func compareScopes(a, b ScopeKey) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind))
}

// wanted are the scopes that the configuration in force asks for.
func (x *Exporter) wanted(ctx context.Context) (map[ScopeKey]bool, error) {
	cfg, err := x.Config(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := x.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	set := map[ScopeKey]bool{}
	for _, k := range wantedScopes(cfg.Parsed(), accounts) {
		set[k] = true
	}
	return set, nil
}

const (
	lagWindow = 24 * time.Hour
	// lagBase is the upper bound of the first bucket of lags; ten buckets more are ten
	// times as long.
	lagBase    = 10 * time.Millisecond
	lagBuckets = 71 // to 10 ms × 10⁷, more than a day

	// freshFlush is how often what was noted of events is written down.
	freshFlush = 2 * time.Second
	flushChunk = 25
	// maxSaid bounds how many scopes the log tells of whose records are ignored.
	maxSaid = 1000
)

func lagBucket(lag time.Duration) int {
	if lag <= lagBase {
		return 0
	}
	return min(int(math.Ceil(10*math.Log10(float64(lag)/float64(lagBase))-1e-9)), lagBuckets-1)
}

func lagBound(bucket int) time.Duration {
	return time.Duration(float64(lagBase) * math.Pow(10, float64(bucket)/10))
}

// summarize reads percentiles off counts by bucket.
func summarize(counts map[int]int64) LagSummary {
	var s LagSummary
	for _, n := range counts {
		s.Count += n
	}
	if s.Count == 0 {
		return s
	}
	at := func(share float64) time.Duration {
		left := int64(math.Ceil(share * float64(s.Count)))
		for b := range lagBuckets {
			if left -= counts[b]; left <= 0 {
				return lagBound(b).Round(time.Millisecond)
			}
		}
		return lagBound(lagBuckets - 1)
	}
	s.P50, s.P99 = at(0.5), at(0.99)
	return s
}

// freshness is what was noted of events and not yet written down.
type freshness struct {
	mu    sync.Mutex
	notes map[ScopeKey]*eventNotes
	// said are the scopes of which it was said that their records are ignored.
	said map[ScopeKey]bool
}

type eventNotes struct {
	events, ignored               int64
	eventAt, receivedAt, storedAt time.Time
	failedAt                      time.Time
	failure                       string
	lags                          map[int]int64
}

func (f *freshness) of(k ScopeKey) *eventNotes {
	if f.notes == nil {
		f.notes = map[ScopeKey]*eventNotes{}
	}
	n := f.notes[k]
	if n == nil {
		n = &eventNotes{lags: map[int]int64{}}
		f.notes[k] = n
	}
	return n
}

// followRecord notes a record that was dealt with.
func (x *Exporter) followRecord(s settled) {
	k := ScopeKey{s.Account, s.Region, s.Kind}
	if s.Err != nil {
		x.noteFailure(k, s.Err.Error())
		return
	}
	if s.Unselected && (s.Outcome == Ignored || s.Outcome == Absent) {
		x.noteIgnored(k, s.ReceivedAt)
		return
	}
	x.noteEvent(k, s.EventAt, s.ReceivedAt, s.StoredAt)
}

// noteEvent notes that the change of which an event told is stored. A zero eventAt
// stands for a record that does not say when its event was.
func (x *Exporter) noteEvent(k ScopeKey, eventAt, receivedAt, storedAt time.Time) {
	f := &x.sync.fresh
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.of(k)
	n.events++
	n.eventAt, n.receivedAt, n.storedAt = latest(n.eventAt, eventAt), latest(n.receivedAt, receivedAt), latest(n.storedAt, storedAt)
	if eventAt.IsZero() {
		return
	}
	// An event's time is in whole seconds, so its lag may come out below zero.
	lag := max(storedAt.Sub(eventAt), 0)
	n.lags[lagBucket(lag)]++
	x.sync.counters.observe(lag)
}

// noteIgnored notes that a record changed nothing, as the configuration does not select its
// region and account, and says so the first time.
func (x *Exporter) noteIgnored(k ScopeKey, receivedAt time.Time) {
	f := &x.sync.fresh
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.of(k)
	n.ignored++
	n.receivedAt = latest(n.receivedAt, receivedAt)
	x.sync.counters.ignored.Add(1)
	if f.said[k] || len(f.said) == maxSaid {
		return
	}
	if f.said == nil {
		f.said = map[ScopeKey]bool{}
	}
	f.said[k] = true
	x.log.Info("event records change nothing, as the configuration does not select their region and account", "account", k.Account, "region", k.Region, "kind", k.Kind)
}

// noteFailure notes that a record could not be followed.
func (x *Exporter) noteFailure(k ScopeKey, why string) {
	f := &x.sync.fresh
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.of(k)
	n.failedAt, n.failure = x.now(), firstLine(why)
}

// take hands over what was noted.
func (f *freshness) take() map[ScopeKey]*eventNotes {
	f.mu.Lock()
	defer f.mu.Unlock()
	notes := f.notes
	f.notes = nil
	return notes
}

// giveBack has what could not be written down noted still.
func (f *freshness) giveBack(k ScopeKey, n *eventNotes) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := f.of(k)
	m.events += n.events
	m.ignored += n.ignored
	m.eventAt, m.receivedAt, m.storedAt = latest(m.eventAt, n.eventAt), latest(m.receivedAt, n.receivedAt), latest(m.storedAt, n.storedAt)
	if n.failedAt.After(m.failedAt) {
		m.failedAt, m.failure = n.failedAt, n.failure
	}
	for bucket, count := range n.lags {
		m.lags[bucket] += count
	}
}

// flushFreshness writes down what was noted. What cannot be is noted still.
func (x *Exporter) flushFreshness(ctx context.Context) error {
	notes := x.sync.fresh.take()
	defer func() {
		for k, n := range notes {
			x.sync.fresh.giveBack(k, n)
		}
	}()
	keys := make([]ScopeKey, 0, len(notes))
	for k := range notes {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, compareScopes)
	for chunk := range slices.Chunk(keys, flushChunk) {
		err := x.db.Update(ctx, func(tx *store.Tx) error {
			for _, k := range chunk {
				if err := addFreshness(ctx, tx, k, notes[k]); err != nil {
					return err
				}
				if err := addLags(ctx, tx, k, x.now().Truncate(time.Hour), notes[k].lags); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("write down when events came: %w", err)
		}
		for _, k := range chunk {
			delete(notes, k)
		}
	}
	return nil
}

// forgetUnconfigured deletes the freshness of what the configuration does not ask for, unless
// a resource of it is known still or a record of it came since a time.
func (x *Exporter) forgetUnconfigured(ctx context.Context, since time.Time) error {
	rows, err := listFreshness(ctx, x.db)
	if err != nil {
		return fmt.Errorf("list freshness: %w", err)
	}
	wanted, err := x.wanted(ctx)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(f Freshness) bool { return wanted[f.ScopeKey] })
	for chunk := range slices.Chunk(rows, flushChunk) {
		err := x.db.Update(ctx, func(tx *store.Tx) error {
			if err := x.guard(ctx, tx); err != nil {
				return err
			}
			for i := range chunk {
				if err := deleteFreshness(ctx, tx, chunk[i].ScopeKey, since); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("delete the freshness of what is not configured: %w", err)
		}
	}
	return nil
}

// runFreshness writes down what was noted of events, settles drift and deletes what is
// old, until ctx ends.
func (x *Exporter) runFreshness(ctx context.Context) error {
	tick := time.NewTicker(freshFlush)
	defer tick.Stop()
	var swept time.Time
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), freshFlush)
			defer cancel()
			if err := x.flushFreshness(last); err != nil {
				x.log.Warn("what was noted of the last events is lost", "error", err)
			}
			return ctx.Err()
		case <-tick.C:
		}
		err := x.flushFreshness(ctx)
		if err == nil {
			err = x.settleDrift(ctx)
		}
		if err == nil && x.now().Sub(swept) > time.Hour {
			swept = x.now()
			err = x.sweepFreshness(ctx)
		}
		if err != nil && ctx.Err() == nil {
			x.log.Warn("freshness could not be kept; it will be tried again", "error", err)
		}
	}
}

// sweepFreshness deletes old lags and drift, a little at a time.
func (x *Exporter) sweepFreshness(ctx context.Context) error {
	for more := true; more; {
		err := x.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			now := x.now()
			drift, err := deleteOldDrift(ctx, tx, now.Add(-keepDrift), deleteChunk)
			if err != nil {
				return err
			}
			lags, err := deleteOldLags(ctx, tx, now.Add(-2*lagWindow), deleteChunk)
			more = drift || lags
			return err
		})
		if err != nil {
			return fmt.Errorf("delete old freshness: %w", err)
		}
	}
	return nil
}
