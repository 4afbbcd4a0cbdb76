package exporter

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

func TestTheLongerReadsTakeTheMoreAreUnderWay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		took []time.Duration // again and again
		want int
	}{
		"none yet":                      {nil, minGets},
		"quick":                         {[]time.Duration{200 * time.Microsecond}, minGets},
		"20 ms":                         {[]time.Duration{20 * time.Millisecond}, 13},
		"slow":                          {[]time.Duration{300 * time.Millisecond}, maxGets},
		"quick on a busy machine":       {[]time.Duration{5 * time.Millisecond, 80 * time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond}, minGets},
		"slow, and some are turned off": {[]time.Duration{300 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}, maxGets},
	} {
		var w width
		for range 300 {
			for _, d := range c.took {
				w.took(d)
			}
		}
		if got := w.gets(); got != c.want {
			t.Errorf("%s: %d reads at once, want %d", name, got, c.want)
		}
	}
}

func TestAFullSyncReadsMoreAtOnceWhereReadsAreSlow(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		const n = 400
		w.cloud.putN(syncScope(queueKind), n)
		var reading, most atomic.Int64
		w.cloud.before = func(op string, _ reader.Scope) {
			if op != "get" {
				return
			}
			now := reading.Add(1)
			for seen := most.Load(); now > seen && !most.CompareAndSwap(seen, now); seen = most.Load() {
			}
			<-time.After(40 * time.Millisecond) // on its way
			reading.Add(-1)
		}
		w.configure(queueKind)
		w.sync(nil)
		w.wantTruth()
		if got := most.Load(); got <= minGets || got > maxGets {
			t.Errorf("%d resources were read at once; at first %d, and no more than %d", got, minGets, maxGets)
		}
	})
}
