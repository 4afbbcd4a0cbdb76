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
				w.took(d, 0)
			}
		}
		if got := w.gets(getsPerAccount); got != c.want {
			t.Errorf("%s: %d reads at once, want %d", name, got, c.want)
		}
	}
}

func TestReadsThatAreHeldBackForLongAreFew(t *testing.T) {
	t.Parallel()
	var w width
	for range 300 {
		w.took(300*time.Millisecond, heldLong)
	}
	if got := w.gets(getsPerAccount); got != maxGets {
		t.Errorf("%d reads at once, where they wait for their budget for %s; want %d", got, heldLong, maxGets)
	}
	if w.took(300*time.Millisecond, heldLong+time.Second); w.gets(getsPerAccount) != minGets {
		t.Errorf("%d reads at once, where they wait for longer; want %d", w.gets(getsPerAccount), minGets)
	}
}

func TestTheScopesOfAnAccountShareItsReads(t *testing.T) {
	t.Parallel()
	var l accountLimits
	var w width
	for range 300 {
		w.took(300*time.Millisecond, 0)
	}
	var ends []func()
	for n := 1; n <= scopesAtOnce; n++ {
		ends = append(ends, l.begin("a"))
		if got := w.gets(l.share("a")); got < minGets || got > maxGets || n*got > getsPerAccount {
			t.Errorf("%d scopes make %d reads at once each, of %d in all", n, got, getsPerAccount)
		}
	}
	if got := w.gets(l.share("b")); got != maxGets {
		t.Errorf("a scope of another account makes %d reads at once", got)
	}
	for _, end := range ends {
		end()
	}
	if got := w.gets(l.share("a")); got != maxGets {
		t.Errorf("the last scope makes %d reads at once", got)
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
