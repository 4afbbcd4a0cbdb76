package exporter

import (
	"sync/atomic"
	"time"
)

// lagBounds are the upper bounds of the lag histogram's buckets.
var lagBounds = [...]time.Duration{
	100 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, time.Hour,
}

// syncCounters count since the process started.
type syncCounters struct {
	runs, failures, drift             atomic.Int64
	listed, created, updated, removed atomic.Int64
	failed, held, ignored             atomic.Int64

	lag      [len(lagBounds) + 1]atomic.Int64
	lagTotal atomic.Int64 // nanoseconds
}

func (c *syncCounters) observe(lag time.Duration) {
	i := 0
	for i < len(lagBounds) && lag > lagBounds[i] {
		i++
	}
	c.lag[i].Add(1)
	c.lagTotal.Add(int64(lag))
}

// count adds what a run that is over has done.
func (c *syncCounters) count(t *SyncTotals) {
	c.listed.Add(t.Listed)
	c.created.Add(t.Created)
	c.updated.Add(t.Updated)
	c.removed.Add(t.Removed)
	c.failed.Add(t.Failed)
	c.held.Add(t.Held)
}

// SyncMeasures are counts since the process started.
type SyncMeasures struct {
	// Runs are full syncs that began, Failures those of which no scope was listed.
	Runs, Failures int64
	// Listed, Created, Updated, Removed, Failed and Held count resources in full syncs.
	Listed, Created, Updated, Removed, Failed, Held int64
	// Drift counts what full syncs found and events should have told.
	Drift int64
	// Ignored counts event records that changed nothing since the configuration does not
	// select their region and account.
	Ignored int64
	// Lag is the histogram of the time from an event to its stored change.
	Lag Lag
}

// Lag is a histogram. AWS's events have whole seconds, and so has this.
type Lag struct {
	// Bounds are the upper bounds of the buckets; the last of Counts, one longer,
	// is above them all. Counts are not cumulative.
	Bounds []time.Duration
	Counts []int64
	// Total is the sum of all lags.
	Total time.Duration
}

// SyncMeasures returns the counts so far.
func (x *Exporter) SyncMeasures() SyncMeasures {
	c := &x.sync.counters
	m := SyncMeasures{
		Runs: c.runs.Load(), Failures: c.failures.Load(), Listed: c.listed.Load(), Created: c.created.Load(), Updated: c.updated.Load(),
		Removed: c.removed.Load(), Failed: c.failed.Load(), Held: c.held.Load(), Drift: c.drift.Load(), Ignored: c.ignored.Load(),
		Lag: Lag{Bounds: lagBounds[:], Total: time.Duration(c.lagTotal.Load())},
	}
	for i := range c.lag {
		m.Lag.Counts = append(m.Lag.Counts, c.lag[i].Load())
	}
	return m
}
