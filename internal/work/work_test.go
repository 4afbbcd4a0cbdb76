package work_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run runs the runner until the test ends, or until the returned function is called.
func run(t *testing.T, r *work.Runner) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func update(t *testing.T, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func enqueue(t *testing.T, db *store.DB, r *work.Runner, jobs ...work.NewJob) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error { return r.Enqueue(context.Background(), tx, jobs...) })
}

// receive fails the test when nothing comes, instead of hanging until go test gives up.
func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came within 20 s")
		panic("unreachable")
	}
}

// count waits until the queue's counts are as wanted.
func count(t *testing.T, r *work.Runner, want work.Count) {
	t.Helper()
	var got work.Count
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		counts, err := r.Counts(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		got = work.Count{Queue: want.Queue}
		for _, c := range counts {
			if c.Queue == want.Queue {
				got = c
			}
		}
		got.OldestDue = time.Time{}
		if got == want {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("counts stay %+v, want %+v", got, want)
		}
	}
}

func logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func TestJobRunsOnceItsTransactionCommitted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		ran := make(chan work.Job, 10)
		r.Handle("q", work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- j
			return work.Done()
		})
		run(t, r)
		no := errors.New("no")
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			if err := r.Enqueue(t.Context(), tx, work.NewJob{Queue: "q", Key: "rolled back"}); err != nil {
				return err
			}
			return no
		})
		if err != no {
			t.Fatal(err)
		}
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "服务器 🚀", Payload: []byte("hello")})
		j := receive(t, ran)
		if j.Key != "服务器 🚀" || string(j.Payload) != "hello" || j.Attempt != 1 {
			t.Fatalf("ran %+v", j)
		}
		count(t, r, work.Count{Queue: "q"})
	})
}

func TestKeyIsEnqueuedOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		for i := range 3 {
			enqueue(t, db, r,
				work.NewJob{Queue: "q", Key: "a", Payload: fmt.Append(nil, i)},
				work.NewJob{Queue: "q", Key: "a", Payload: []byte("again")})
		}
		enqueue(t, db, r, work.NewJob{Queue: "other", Key: "a"})
		count(t, r, work.Count{Queue: "q", Due: 1})
		ran := make(chan work.Job, 10)
		r.Handle("q", work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- j
			return work.Done()
		})
		run(t, r)
		if j := receive(t, ran); string(j.Payload) != "0" {
			t.Fatalf("payload %q, want that of the first", j.Payload)
		}
		count(t, r, work.Count{Queue: "q"})
		count(t, r, work.Count{Queue: "other", Due: 1})
	})
}

func TestReplaceDuringARunRunsAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		ran, goOn := make(chan string), make(chan struct{})
		r.Handle("q", work.QueueOptions{Concurrency: 4}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- fmt.Sprint(string(j.Payload), j.Attempt)
			<-goOn
			return work.Done()
		})
		run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Payload: []byte("first")})
		if got := receive(t, ran); got != "first1" {
			t.Fatal(got)
		}
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Payload: []byte("kept out")})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Payload: []byte("second"), Replace: true})
		count(t, r, work.Count{Queue: "q", Running: 1})
		goOn <- struct{}{}
		if got := receive(t, ran); got != "second1" {
			t.Fatal(got)
		}
		goOn <- struct{}{}
		count(t, r, work.Count{Queue: "q"})
	})
}

func TestRetriesUntilGivenUp(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		attempts := make(chan work.Job, 10)
		gaveUp := make(chan work.GivenUp, 1)
		r.Handle("q", work.QueueOptions{
			MaxAttempts: 3, BackoffBase: time.Millisecond, BackoffCap: 2 * time.Millisecond,
			OnGiveUp: func(ctx context.Context, tx *store.Tx, g work.GivenUp) error {
				tx.OnCommit(func() { gaveUp <- g })
				return nil
			},
		}, func(_ context.Context, j work.Job) work.Outcome {
			attempts <- j
			if j.Attempt == 2 {
				panic("oh")
			}
			return work.Retry(fmt.Sprint("reason ", j.Attempt))
		})
		run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k"})
		for i, want := range []string{"", "reason 1", "panic: oh"} {
			if j := receive(t, attempts); j.Attempt != i+1 || j.Reason != want {
				t.Fatalf("attempt %d with reason %q, want %d with %q", j.Attempt, j.Reason, i+1, want)
			}
		}
		g := receive(t, gaveUp)
		if g.Cause != work.CauseAttempts || g.Reason != "reason 3" || g.Job.Attempt != 3 {
			t.Fatalf("gave up %+v", g)
		}
		count(t, r, work.Count{Queue: "q"})
	})
}

func TestFailedJobIsKeptAndCanBeRetried(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", nil)
		ran := make(chan work.Job, 10)
		fail := true
		r.Handle("q", work.QueueOptions{Concurrency: 1}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- j
			if fail {
				return work.Fail("it is no good\x00")
			}
			return work.Done()
		})
		run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Payload: []byte("x")})
		receive(t, ran)
		count(t, r, work.Count{Queue: "q", Failed: 1})
		failed, err := r.Failed(t.Context(), "q", 10)
		if err != nil || len(failed) != 1 || failed[0].Reason != "it is no good" || failed[0].Job.Key != "k" {
			t.Fatalf("Failed = %+v, %v", failed, err)
		}
		fail = false
		update(t, db, func(tx *store.Tx) error {
			ok, err := r.RetryFailed(t.Context(), tx, "q", "k")
			if !ok {
				t.Error("there was none to retry")
			}
			return err
		})
		if j := receive(t, ran); j.Attempt != 1 || string(j.Payload) != "x" {
			t.Fatalf("ran %+v", j)
		}
		count(t, r, work.Count{Queue: "q"})
	})
}

func TestJobRunsWhenItComesDue(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		ran := make(chan string, 10)
		r.Handle("q", work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
			if time.Now().Before(j.RunAt) {
				t.Errorf("%s ran %v early", j.Key, time.Until(j.RunAt))
			}
			ran <- j.Key
			return work.Done()
		})
		run(t, r)
		now := time.Now()
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "never", RunAt: now.Add(time.Hour)})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "second", RunAt: now.Add(120 * time.Millisecond)})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "first", RunAt: now.Add(60 * time.Millisecond)})
		if a, b := receive(t, ran), receive(t, ran); a != "first" || b != "second" {
			t.Fatal(a, b)
		}
		count(t, r, work.Count{Queue: "q", Later: 1})
	})
}

func TestPausedQueueStartsNothing(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		ran := make(chan string, 10)
		for _, q := range []string{"paused", "other"} {
			r.Handle(q, work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
				ran <- j.Queue
				return work.Done()
			})
		}
		run(t, r)
		update(t, db, func(tx *store.Tx) error { return r.Pause(t.Context(), tx, "paused") })
		enqueue(t, db, r, work.NewJob{Queue: "paused"})
		enqueue(t, db, r, work.NewJob{Queue: "other"})
		if q := receive(t, ran); q != "other" {
			t.Fatal(q)
		}
		count(t, r, work.Count{Queue: "paused", Paused: true, Due: 1})
		update(t, db, func(tx *store.Tx) error { return r.Resume(t.Context(), tx, "paused") })
		if q := receive(t, ran); q != "paused" {
			t.Fatal(q)
		}
	})
}

func TestCancel(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		started, ended := make(chan string), make(chan error)
		r.Handle("q", work.QueueOptions{}, func(ctx context.Context, j work.Job) work.Outcome {
			started <- j.Key
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return work.Retry("cancelled")
		})
		run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "a/1"})
		receive(t, started)
		later := time.Now().Add(time.Hour)
		enqueue(t, db, r,
			work.NewJob{Queue: "q", Key: "a/2", RunAt: later}, work.NewJob{Queue: "q", Key: "a/3", RunAt: later},
			work.NewJob{Queue: "q", Key: "b/1", RunAt: later}, work.NewJob{Queue: "q", Key: "a", RunAt: later})
		update(t, db, func(tx *store.Tx) error {
			n, err := r.CancelPrefix(t.Context(), tx, "q", "a/", 100)
			if n != 3 {
				t.Errorf("cancelled %d, want 3", n)
			}
			return err
		})
		if err := receive(t, ended); !errors.Is(err, work.ErrLost) {
			t.Fatalf("the running job's context ended with %v", err)
		}
		count(t, r, work.Count{Queue: "q", Later: 2})
		update(t, db, func(tx *store.Tx) error {
			ok, err := r.Cancel(t.Context(), tx, "q", "b/1")
			if !ok {
				t.Error("b/1 was not there")
			}
			return err
		})
		count(t, r, work.Count{Queue: "q", Later: 1})
	})
}

func TestStopPutsRunningJobsBack(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		started := make(chan struct{})
		r.Handle("q", work.QueueOptions{MaxAttempts: 1}, func(ctx context.Context, j work.Job) work.Outcome {
			close(started)
			<-ctx.Done()
			return work.Retry("stopped")
		})
		stop := run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k"})
		receive(t, started)
		stop()
		count(t, r, work.Count{Queue: "q", Due: 1})
	})
}

func TestAProcessLeavesAQueueToOthersWhileItsWhenIsFalse(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		var mine atomic.Bool
		ran := make(chan string, 2)
		r := work.New(db, "a", slog.New(slog.DiscardHandler))
		r.Handle("q", work.QueueOptions{When: mine.Load}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- j.Key
			return work.Done()
		})
		r.Handle("other", work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- j.Key
			return work.Done()
		})
		run(t, r)
		update(t, db, func(tx *store.Tx) error { return r.Enqueue(t.Context(), tx, work.NewJob{Queue: "q", Key: "left"}) })
		update(t, db, func(tx *store.Tx) error {
			return r.Enqueue(t.Context(), tx, work.NewJob{Queue: "other", Key: "taken"})
		})
		if got := <-ran; got != "taken" {
			t.Fatalf("ran %s", got)
		}
		mine.Store(true)
		r.Wake("q")
		if got := <-ran; got != "left" {
			t.Fatalf("ran %s", got)
		}
	})
}

// A job that is replaced while its outcome is written runs again, whichever comes first.
func TestReplaceAsARunEndsRunsAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		ran := make(chan string, 1000)
		r.Handle("q", work.QueueOptions{Concurrency: 4}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- string(j.Payload)
			return work.RetryAt(time.Now().Add(time.Hour), "later")
		})
		run(t, r)
		for i := range 300 {
			payload := fmt.Sprint(i)
			enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Payload: []byte(payload), Replace: true})
			for receive(t, ran) != payload {
			}
		}
	})
}
