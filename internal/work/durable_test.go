package work_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
	"pgregory.net/rapid"
)

// abandon leaves a job as a killed process would: leased, and never finished.
func abandon(t *testing.T, db *store.DB, leaseEnds time.Time) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		_, err := tx.Exec(context.Background(), `UPDATE job SET holder = 'killed', attempt = attempt + 1, run_at = $1`, leaseEnds.UnixMilli())
		return err
	})
}

func TestJobOfAKilledProcessComesBack(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Payload: []byte("x")})
		ends := time.Now().Add(300 * time.Millisecond)
		if db.Dialect() == store.SQLite {
			// Nobody else can hold it there: it comes back at once.
			ends = time.Now().Add(time.Hour)
		}
		abandon(t, db, ends)
		ran := make(chan work.Job, 1)
		r.Handle("q", work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
			ran <- j
			return work.Done()
		})
		run(t, r)
		j := receive(t, ran)
		if j.Attempt != 2 || string(j.Payload) != "x" {
			t.Fatalf("ran %+v", j)
		}
		if db.Dialect() == store.Postgres && time.Now().Before(ends) {
			t.Fatal("it ran before its lease had ended")
		}
		count(t, r, work.Count{Queue: "q"})
	})
}

func TestJobThatKillsItsProcessIsGivenUp(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", nil)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k"})
		abandon(t, db, time.Now())
		abandon(t, db, time.Now())
		r.Handle("q", work.QueueOptions{MaxAttempts: 2}, func(context.Context, work.Job) work.Outcome {
			t.Error("it was run a third time")
			return work.Done()
		})
		run(t, r)
		count(t, r, work.Count{Queue: "q", Failed: 1})
		failed, err := r.Failed(t.Context(), "q", 1)
		if err != nil || failed[0].Reason != "the process stopped during the attempt" {
			t.Fatalf("failed %+v, %v", failed, err)
		}
	})
}

func TestCompleteInTheHandlersTransaction(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `CREATE TABLE effect (key TEXT)`)
			return err
		})
		r := work.New(db, "node", logger())
		lost := make(chan error, 10)
		ended := make(chan struct{}, 10)
		cancelled := false
		r.Handle("q", work.QueueOptions{}, func(_ context.Context, j work.Job) work.Outcome {
			defer func() { ended <- struct{}{} }()
			ctx := context.Background()
			err := db.Update(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO effect (key) VALUES ($1)`, j.Key); err != nil {
					return err
				}
				if !cancelled && j.Key == "cancelled" {
					if _, err := r.Cancel(ctx, tx, "q", j.Key); err != nil {
						return err
					}
				}
				return r.Complete(ctx, tx, j)
			})
			if err != nil {
				lost <- err
			}
			return work.Completed()
		})
		run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "a"})
		receive(t, ended)
		count(t, r, work.Count{Queue: "q"})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "cancelled"})
		if err := receive(t, lost); !errors.Is(err, work.ErrLost) {
			t.Fatalf("Complete of a cancelled job = %v", err)
		}
		var n int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM effect`).Scan(&n); err != nil || n != 1 {
			t.Fatalf("%d effects, %v; want that of the job that was not cancelled", n, err)
		}
	})
}

func TestOldJobIsGivenUp(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", nil)
		gaveUp := make(chan work.GivenUp, 2)
		calls := 0
		r.Handle("q", work.QueueOptions{
			MaxAge: time.Hour, BackoffBase: 10 * time.Minute, BackoffCap: 10 * time.Minute,
			OnGiveUp: func(_ context.Context, tx *store.Tx, g work.GivenUp) error {
				if calls++; calls == 1 {
					return errors.New("the dead-letter queue is away") // asked again
				}
				tx.OnCommit(func() { gaveUp <- g })
				return nil
			},
		}, func(_ context.Context, j work.Job) work.Outcome {
			if j.Key == "too old" {
				t.Error("an old job was run")
			}
			return work.Retry("still down")
		})
		run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "too old", CreatedAt: time.Now().Add(-2 * time.Hour)})
		if g := receive(t, gaveUp); g.Cause != work.CauseAge || g.Job.Key != "too old" {
			t.Fatalf("gave up %+v", g)
		}
		// The next try would come too late, so there will be none.
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "soon", CreatedAt: time.Now().Add(-59 * time.Minute)})
		if g := receive(t, gaveUp); g.Cause != work.CauseAge || g.Reason != "still down" || g.Job.Attempt != 1 {
			t.Fatalf("gave up %+v", g)
		}
	})
}

func TestNodesShareAQueue(t *testing.T) {
	url := storetest.PostgresURL(t)
	const jobs = 500
	var ran [jobs]atomic.Int32
	left := make(chan struct{}, jobs)
	var runners []*work.Runner
	var dbs []*store.DB
	for range 3 {
		db, err := store.Open(t.Context(), store.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		r := work.New(db, "same name", logger())
		r.Handle("q", work.QueueOptions{Concurrency: 4}, func(_ context.Context, j work.Job) work.Outcome {
			var i int
			fmt.Sscan(j.Key, &i)
			ran[i].Add(1)
			left <- struct{}{}
			return work.Done()
		})
		runners, dbs = append(runners, r), append(dbs, db)
	}
	var all []work.NewJob
	for i := range jobs {
		all = append(all, work.NewJob{Queue: "q", Key: fmt.Sprint(i)})
	}
	enqueue(t, dbs[0], runners[0], all...)
	for _, r := range runners {
		run(t, r)
	}
	for range jobs {
		receive(t, left)
	}
	count(t, runners[0], work.Count{Queue: "q"})
	for i := range ran {
		if n := ran[i].Load(); n != 1 {
			t.Errorf("job %d ran %d times", i, n)
		}
	}
	// What one node enqueues or pauses, the others notice soon.
	update(t, dbs[0], func(tx *store.Tx) error { return runners[0].Pause(t.Context(), tx, "q") })
	enqueue(t, dbs[0], runners[0], work.NewJob{Queue: "q", Key: "0"})
	count(t, runners[1], work.Count{Queue: "q", Paused: true, Due: 1})
	update(t, dbs[2], func(tx *store.Tx) error { return runners[2].Resume(t.Context(), tx, "q") })
	receive(t, left)
}

func TestLimits(t *testing.T) {
	db := storetest.SQLite(t)
	r := work.New(db, "node", nil)
	long := func(n int) string { return string(make([]byte, n)) }
	for name, j := range map[string]work.NewJob{
		"no queue":     {Key: "k"},
		"long queue":   {Queue: long(work.MaxQueueName + 1)},
		"long key":     {Queue: "q", Key: long(work.MaxKey + 1)},
		"long payload": {Queue: "q", Payload: make([]byte, work.MaxPayload+1)},
	} {
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			return r.Enqueue(t.Context(), tx, work.NewJob{Queue: "q", Key: "fine"}, j)
		})
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	count(t, r, work.Count{Queue: "q"})
}

// bubble runs f on a clock that goes on only when everyone waits.
func bubble(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(context.Background(), store.Options{DataDir: dir, UnsafeNoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		f(t, db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestRateLimit(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		var mu sync.Mutex
		var at []time.Duration
		begun := time.Now()
		r.Handle("q", work.QueueOptions{Rate: 10, Burst: 5}, func(context.Context, work.Job) work.Outcome {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Since(begun))
			return work.Done()
		})
		for range 25 {
			enqueue(t, db, r, work.NewJob{Queue: "q"})
		}
		stop := run(t, r)
		time.Sleep(10 * time.Second) // of the bubble's clock
		stop()
		if len(at) != 25 {
			t.Fatalf("%d ran", len(at))
		}
		for i := range at {
			if earliest := time.Duration(max(0, i-4)) * 100 * time.Millisecond; at[i] < earliest-time.Millisecond {
				t.Errorf("job %d ran after %v, before %v", i, at[i], earliest)
			}
		}
		if at[24] > 2100*time.Millisecond {
			t.Errorf("the last ran after %v", at[24])
		}
	})
}

func TestLongJobKeepsItsLease(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		runs := 0
		r.Handle("q", work.QueueOptions{LeaseFor: 30 * time.Second}, func(ctx context.Context, _ work.Job) work.Outcome {
			runs++
			select {
			case <-time.After(time.Hour):
			case <-ctx.Done():
				t.Error(context.Cause(ctx))
			}
			return work.Done()
		})
		stop := run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q"})
		for range 50 {
			time.Sleep(time.Minute)
			var ends int64
			if err := db.QueryRow(t.Context(), `SELECT run_at FROM job`).Scan(&ends); err != nil {
				t.Fatal(err)
			}
			if left := time.Until(time.UnixMilli(ends)); left <= 0 {
				t.Fatalf("the lease ended %v ago", -left)
			}
		}
		time.Sleep(time.Hour)
		stop()
		if runs != 1 {
			t.Errorf("%d runs", runs)
		}
	})
}

func TestStolenLeaseEndsTheHandler(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		ended := make(chan error)
		r.Handle("q", work.QueueOptions{}, func(ctx context.Context, _ work.Job) work.Outcome {
			<-ctx.Done()
			ended <- context.Cause(ctx)
			return work.Done()
		})
		stop := run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q"})
		time.Sleep(time.Second)
		abandon(t, db, time.Now().Add(time.Hour))
		if err := <-ended; err != work.ErrLost {
			t.Errorf("ended with %v", err)
		}
		time.Sleep(time.Second)
		var holder string
		if err := db.QueryRow(t.Context(), `SELECT holder FROM job`).Scan(&holder); err != nil || holder != "killed" {
			t.Errorf("the job is held by %q, %v: its outcome was written by who had lost it", holder, err)
		}
		stop()
	})
}

func TestRetriesArePutOff(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		var at []time.Time
		r.Handle("q", work.QueueOptions{BackoffBase: 10 * time.Second, BackoffCap: time.Minute}, func(_ context.Context, j work.Job) work.Outcome {
			at = append(at, time.Now())
			if j.Attempt == 6 {
				return work.RetryAt(time.Now().Add(24*time.Hour), "tomorrow")
			}
			if j.Attempt == 7 {
				return work.Done()
			}
			return work.Retry("")
		})
		stop := run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q"})
		time.Sleep(48 * time.Hour)
		stop()
		if len(at) != 7 {
			t.Fatalf("%d attempts", len(at))
		}
		for i, most := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, time.Minute, time.Minute} {
			if d := at[i+1].Sub(at[i]); d < most/2-time.Millisecond || d > most+time.Millisecond {
				t.Errorf("pause %d is %v, want %v to %v", i+1, d, most/2, most)
			}
		}
		if d := at[6].Sub(at[5]); d < 24*time.Hour-time.Millisecond || d > 24*time.Hour+time.Millisecond {
			t.Errorf("the time asked for was %v away", d)
		}
	})
}

func TestFailedJobsAreDeletedInTime(t *testing.T) {
	bubble(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", nil)
		r.Handle("q", work.QueueOptions{KeepFailed: 24 * time.Hour}, func(context.Context, work.Job) work.Outcome { return work.Fail("no") })
		stop := run(t, r)
		enqueue(t, db, r, work.NewJob{Queue: "q"})
		time.Sleep(23 * time.Hour)
		count(t, r, work.Count{Queue: "q", Failed: 1})
		time.Sleep(3 * time.Hour)
		count(t, r, work.Count{Queue: "q"})
		stop()
	})
}

func TestBackoff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		attempt := rapid.IntRange(-1, 1_000_000).Draw(t, "attempt")
		base := time.Duration(rapid.Int64Range(1, 1<<62).Draw(t, "base"))
		limit := time.Duration(rapid.Int64Range(1, 1<<62).Draw(t, "limit"))
		rnd := rand.New(rand.NewPCG(1, rapid.Uint64().Draw(t, "seed")))
		got := work.Backoff(attempt, base, limit, rnd)
		full := min(base, limit)
		for i := 1; i < min(attempt, 100) && full < limit; i++ {
			if full > limit/2 {
				full = limit
			} else {
				full *= 2
			}
		}
		if got < full/2 || got > full {
			t.Fatalf("Backoff = %v, want %v to %v", got, full/2, full)
		}
	})
	if got := work.Backoff(3, 0, time.Second, nil); got != 0 {
		t.Errorf("Backoff without a base = %v", got)
	}
	if got := work.Backoff(3, time.Second, time.Minute, nil); got < 2*time.Second || got > 4*time.Second {
		t.Errorf("Backoff = %v", got)
	}
}

func TestLeaseOfOurOwnThatWeDoNotKnowOfComesBack(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		holder, ran := make(chan string, 1), make(chan work.Job, 1)
		r.Handle("q", work.QueueOptions{}, func(ctx context.Context, j work.Job) work.Outcome {
			if j.Key == "lost" {
				ran <- j
				return work.Done()
			}
			var h string
			if err := db.QueryRow(ctx, `SELECT holder FROM job WHERE key = $1`, j.Key).Scan(&h); err != nil {
				return work.Fail(err.Error())
			}
			holder <- h
			return work.Done()
		})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "first"})
		run(t, r)
		us := receive(t, holder)
		// As a commit leaves it whose answer did not reach us.
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "lost", RunAt: time.Now().Add(time.Hour)})
		update(t, db, func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE job SET holder = $1, attempt = 1, run_at = $2 WHERE key = 'lost'`, us, time.Now().UnixMilli())
			return err
		})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "second"}) // has the lane look
		receive(t, holder)
		if j := receive(t, ran); j.Attempt != 2 {
			t.Fatalf("ran %+v", j)
		}
		count(t, r, work.Count{Queue: "q"})
	})
}

func TestJobThatIsReplacedWhileItRunsKeepsItsLeaseTheSecondTime(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		r := work.New(db, "node", logger())
		const lease = 150 * time.Millisecond
		started, release := make(chan struct{}, 2), make(chan struct{})
		r.Handle("q", work.QueueOptions{LeaseFor: lease}, func(ctx context.Context, j work.Job) work.Outcome {
			started <- struct{}{}
			select {
			case <-release:
			case <-ctx.Done():
			}
			return work.Done()
		})
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k"})
		run(t, r)
		receive(t, started)
		enqueue(t, db, r, work.NewJob{Queue: "q", Key: "k", Replace: true})
		release <- struct{}{}
		receive(t, started)
		// Its lease is renewed: it ends ever later.
		first := time.Now().Add(lease)
		tick, timeout := time.NewTicker(5*time.Millisecond), time.After(10*time.Second)
		defer tick.Stop()
		for renewed := false; !renewed; {
			select {
			case <-tick.C:
			case <-timeout:
				t.Fatal("the lease was not renewed")
			}
			var at int64
			if err := db.QueryRow(t.Context(), `SELECT run_at FROM job WHERE key = 'k'`).Scan(&at); err != nil {
				t.Fatal(err)
			}
			renewed = time.UnixMilli(at).After(first.Add(lease))
		}
		release <- struct{}{}
	})
}
