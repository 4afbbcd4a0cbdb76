package cloud

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPollFetchesBesideWhileThereIsMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var waits []time.Duration
		left, most, under := 100, 0, 0
		err := Poll(ctx, 20*time.Second, func(ctx context.Context, wait time.Duration, more func()) error {
			mu.Lock()
			waits = append(waits, wait)
			full := left > 0
			left--
			under++
			most = max(most, under)
			mu.Unlock()
			if full {
				more()
				wait = time.Second // it deals with what it has fetched
			}
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			mu.Lock()
			defer mu.Unlock()
			if under--; left < -10 {
				cancel()
			}
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) || waits[0] != 0 || most != pollers {
			t.Errorf("it ended with %v; the first call waited for %s, at most %d were under way", err, waits[0], most)
		}
		if n := len(slices.DeleteFunc(slices.Clone(waits), func(d time.Duration) bool { return d == 0 })); n == 0 {
			t.Error("no call waited for messages")
		}
	})
}

func TestPollEndsWithTheFirstFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failure := errors.New("the queue is gone")
		calls := 0
		err := Poll(t.Context(), time.Second, func(_ context.Context, wait time.Duration, _ func()) error {
			if calls++; calls == 3 {
				return failure
			}
			time.Sleep(wait)
			return nil
		})
		if !errors.Is(err, failure) || calls != 3 {
			t.Errorf("it ended with %v after %d calls", err, calls)
		}
	})
}
