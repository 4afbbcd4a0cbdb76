package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestStepsAreDoneAfterThoseTheyWaitFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 30).Draw(t, "steps")
		limit := rapid.IntRange(1, 8).Draw(t, "limit")
		var mu sync.Mutex
		done := map[string]bool{}
		var running, most atomic.Int32
		o := order{limit: limit}
		for i := range n {
			var after []string
			for j := range i {
				if rapid.IntRange(0, 3).Draw(t, "waits") == 0 {
					after = append(after, fmt.Sprint(j))
				}
			}
			o.steps = append(o.steps, step{name: fmt.Sprint(i), after: append(after, "nobody"), do: func(context.Context) error {
				if now := running.Add(1); now > most.Load() {
					most.Store(now)
				}
				defer running.Add(-1)
				mu.Lock()
				defer mu.Unlock()
				for _, name := range after {
					if !done[name] {
						return fmt.Errorf("%d was begun before %s", i, name)
					}
				}
				done[fmt.Sprint(i)] = true
				return nil
			}})
		}
		// They may be given in any order.
		o.steps = rapid.Permutation(o.steps).Draw(t, "order")
		if errs := o.run(context.Background()); len(errs) > 0 {
			t.Fatal(errs)
		}
		if len(done) != n || int(most.Load()) > limit {
			t.Fatalf("%d of %d done, %d at once of %d allowed", len(done), n, most.Load(), limit)
		}
	})
}

func TestStepsThatDoNotWaitForOneAnotherAreDoneTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		o := order{limit: 8}
		for i := range 16 {
			o.steps = append(o.steps, step{name: fmt.Sprint(i), do: func(context.Context) error { time.Sleep(time.Minute); return nil }})
		}
		if errs := o.run(t.Context()); len(errs) > 0 || time.Since(begun) != 2*time.Minute {
			t.Errorf("%v after %v", errs, time.Since(begun))
		}
	})
}

func TestAfterAnErrorNoMoreIsBegunOrAllElse(t *testing.T) {
	for _, goOn := range []bool{false, true} {
		var mu sync.Mutex
		var done []string
		did := func(name string, err error) step {
			return step{name: name, do: func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				done = append(done, name)
				return err
			}}
		}
		bad, waits, other := did("bad", errors.New("bad")), did("waits", nil), did("other", nil)
		waits.after = []string{"bad"}
		errs := (&order{limit: 1, goOn: goOn, steps: []step{bad, waits, other}}).run(t.Context())
		want := []string{"bad"}
		if goOn {
			want = []string{"bad", "other"}
		}
		if len(errs) != 1 || errs["bad"] == nil || !slices.Equal(done, want) {
			t.Errorf("going on %t: %v done, %v", goOn, done, errs)
		}
	}
}

func TestStepsThatWaitForOneAnotherAreDoneAllTheSame(t *testing.T) {
	n := 0
	do := func(context.Context) error { n++; return nil }
	errs := (&order{limit: 1, steps: []step{{"a", []string{"b"}, do}, {"b", []string{"a"}, do}, {"c", []string{"c"}, do}}}).run(t.Context())
	if len(errs) > 0 || n != 3 {
		t.Errorf("%d done, %v", n, errs)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if (&order{limit: 1, steps: []step{{"a", nil, do}}}).run(ended); n != 3 {
		t.Error("a step was begun after the end")
	}
}
