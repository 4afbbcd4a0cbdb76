package inventory

import (
	"sync/atomic"
	"time"
)

// lagBounds are the upper bounds of the lag histogram's buckets.
var lagBounds = [...]time.Duration{
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour,
}

// counters count since the process started.
type counters struct {
	stored, duplicates, rejected, unauthorized atomic.Int64
	added, updated, removed, enrolled          atomic.Int64
	syncRuns, syncFailures, drift              atomic.Int64

	lag      [len(lagBounds) + 1]atomic.Int64
	lagTotal atomic.Int64 // nanoseconds
}

func (c *counters) changed(kind string, cause Cause, at time.Time) {
	switch kind {
	case changeAdded:
		c.added.Add(1)
	case changeUpdated, changeLabeled:
		c.updated.Add(1)
	case changeRemoved:
		c.removed.Add(1)
	case changeEnrolled:
		c.enrolled.Add(1)
	}
	if cause.eventTime.IsZero() {
		return
	}
	// An event's time is in whole seconds, so its lag may come out below zero.
	lag := max(at.Sub(cause.eventTime), 0)
	i := 0
	for i < len(lagBounds) && lag > lagBounds[i] {
		i++
	}
	c.lag[i].Add(1)
	c.lagTotal.Add(int64(lag))
}

// Measures are counts since the process started.
type Measures struct {
	// EventsStored, EventsDuplicate and EventsRejected count webhook calls with a
	// good token, Unauthorized those without.
	EventsStored, EventsDuplicate, EventsRejected, Unauthorized int64
	// ServersAdded and so on count changes.
	ServersAdded, ServersUpdated, ServersRemoved, AgentsEnrolled int64
	SyncRuns, SyncFailures                                       int64
	// Drift counts what syncs found and events should have told.
	Drift int64
	// Lag is the histogram of the time from an event to the change that it caused.
	Lag Lag
}

// Lag is a histogram. AWS's own clock has whole seconds, and so has this.
type Lag struct {
	// Bounds are the upper bounds of the buckets; the last of Counts, one longer,
	// is above them all. Counts are not cumulative.
	Bounds []time.Duration
	Counts []int64
	// Total is the sum of all lags.
	Total time.Duration
}

// Measures returns the counts so far.
func (v *Inventory) Measures() Measures {
	c := &v.counters
	m := Measures{
		EventsStored: c.stored.Load(), EventsDuplicate: c.duplicates.Load(), EventsRejected: c.rejected.Load(),
		Unauthorized: c.unauthorized.Load(),
		ServersAdded: c.added.Load(), ServersUpdated: c.updated.Load(), ServersRemoved: c.removed.Load(), AgentsEnrolled: c.enrolled.Load(),
		SyncRuns: c.syncRuns.Load(), SyncFailures: c.syncFailures.Load(), Drift: c.drift.Load(),
		Lag: Lag{Bounds: lagBounds[:], Total: time.Duration(c.lagTotal.Load())},
	}
	for i := range c.lag {
		m.Lag.Counts = append(m.Lag.Counts, c.lag[i].Load())
	}
	return m
}
