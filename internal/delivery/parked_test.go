package delivery

import (
	"testing"
	"time"
)

func TestParkedDeliveriesWithoutASlotComeOneAfterAnother(t *testing.T) {
	for name, test := range map[string]struct {
		slots, times int
		took         time.Duration
		most         time.Duration // of the last of 10,000
		inASecond    int
	}{
		"soon the first time":                {1, 1, 5 * time.Second, putOffBase, 10_000},
		"slowly for a target that hangs":     {1, 20, 5 * time.Second, backoffMax, 1},
		"as fast as a target that is slow":   {8, 20, 800 * time.Millisecond, backoffMax, 11},
		"quickly for a target that is quick": {8, 20, time.Millisecond, 11 * time.Second, 1001},
	} {
		t.Run(name, func(t *testing.T) {
			turns := jobTurns{took: test.took}
			now := time.Now()
			soon, latest := 0, now
			for range 10_000 {
				at := turns.give(now, test.slots, test.times)
				if at.Before(now.Add(time.Second)) {
					soon++
				}
				if at.After(latest) {
					latest = at
				}
			}
			if soon > test.inASecond {
				t.Errorf("%d come within a second, want at most %d", soon, test.inASecond)
			}
			if latest.Sub(now) > test.most {
				t.Errorf("one comes after %s, want at most %s", latest.Sub(now), test.most)
			}
		})
	}
}

func TestAfterAQuietTimeTheNextTurnIsSoon(t *testing.T) {
	now := time.Now()
	turns := jobTurns{took: time.Second}
	for range 1000 {
		turns.give(now, jobsPerLane, 20)
	}
	later := now.Add(time.Hour)
	if wait := turns.give(later, jobsPerLane, 1).Sub(later); wait > time.Second {
		t.Errorf("the first turn after a quiet time is in %s", wait)
	}
}
