package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestLeaseHasOneHolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		ask := func(holder string, want bool) {
			t.Helper()
			got, err := db.Acquire(ctx, "sync", holder, time.Minute)
			if err != nil || got != want {
				t.Fatalf("Acquire by %s = %v, %v; want %v", holder, got, err, want)
			}
		}
		release := func(holder string) {
			t.Helper()
			if err := db.Release(ctx, "sync", holder); err != nil {
				t.Fatal(err)
			}
		}
		ask("a", true)
		ask("b", false)
		ask("a", true)
		release("b")
		ask("b", false)
		release("a")
		ask("b", true)
		if got, err := db.Acquire(ctx, "another", "a", time.Minute); err != nil || !got {
			t.Fatal(got, err)
		}
	})
}

func TestLeaseExpires(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		if got, err := db.Acquire(t.Context(), "l", "a", time.Millisecond); err != nil || !got {
			t.Fatal(got, err)
		}
		eventually(t, "an expired lease is another's", func() bool {
			got, err := db.Acquire(t.Context(), "l", "b", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			return got
		})
	})
}

// bubble runs f on a clock that only goes on when everyone waits.
func bubble(t *testing.T, f func(ctx context.Context, db *store.DB)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		db, err := store.Open(ctx, store.Options{DataDir: dir, UnsafeNoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		f(ctx, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestLeasedWorkRunsInOnePlace(t *testing.T) {
	bubble(t, func(ctx context.Context, db *store.DB) {
		var running, runs atomic.Int32
		var wg sync.WaitGroup
		for _, holder := range []string{"a", "b", "c"} {
			wg.Go(func() {
				for range 3 {
					err := db.RunLeased(ctx, "l", holder, func(context.Context) error {
						if running.Add(1) > 1 {
							t.Error("two run at once")
						}
						time.Sleep(time.Minute) // of the bubble's clock: longer than a lease
						running.Add(-1)
						runs.Add(1)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if runs.Load() != 9 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestLeasedWorkIsRunAgainAfterAnError(t *testing.T) {
	bubble(t, func(ctx context.Context, db *store.DB) {
		n := 0
		err := db.RunLeased(ctx, "l", "a", func(context.Context) error {
			if n++; n < 3 {
				return errors.New("not yet")
			}
			return nil
		})
		if err != nil || n != 3 {
			t.Errorf("RunLeased = %v after %d runs", err, n)
		}
	})
}

func TestWorkWhoseLeaseIsLostIsStopped(t *testing.T) {
	bubble(t, func(ctx context.Context, db *store.DB) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		started, lost := make(chan struct{}), make(chan error)
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = db.RunLeased(ctx, "l", "a", func(ctx context.Context) error {
				started <- struct{}{}
				<-ctx.Done()
				lost <- context.Cause(ctx)
				return ctx.Err()
			})
		})
		<-started
		begun := time.Now()
		select {
		case err := <-lost:
			t.Fatalf("lost after %v: %v", time.Since(begun), err)
		case <-time.After(time.Minute): // the lease is renewed all the while
		}
		err := execStmt(ctx, db, `UPDATE lease SET holder = 'thief', expires_at = $1`, time.Now().Add(20*time.Second).UnixMilli())
		if err != nil {
			t.Fatal(err)
		}
		stolen := time.Now()
		if err := <-lost; err == nil || err.Error() != "lease l was taken by another" {
			t.Errorf("stopped with %v", err)
		}
		if d := time.Since(stolen); d > 3*time.Second {
			t.Errorf("stopped after %v", d)
		}
		<-started // once the thief's lease has ended
		if d := time.Since(stolen); d < 20*time.Second || d > 22*time.Second {
			t.Errorf("began again after %v", d)
		}
		cancel()
		<-lost
		wg.Wait()
	})
}
