package work_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// BenchmarkJobs enqueues and runs jobs while so many others wait for later.
func BenchmarkJobs(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, waiting := range []int{0, 100_000} {
			b.Run(fmt.Sprintf("%s/waiting=%d", kind, waiting), func(b *testing.B) {
				var db *store.DB
				if kind == "sqlite" {
					var err error
					if db, err = store.Open(b.Context(), store.Options{DataDir: b.TempDir()}); err != nil {
						b.Fatal(err)
					}
					b.Cleanup(func() { db.Close() })
				} else {
					db = storetest.Postgres(b)
				}
				benchJobs(b, db, waiting)
			})
		}
	}
}

func benchJobs(b *testing.B, db *store.DB, waiting int) {
	r := work.New(db, "bench", nil)
	later := time.Now().Add(time.Hour)
	add := func(n int, runAt time.Time) {
		for n > 0 {
			jobs := make([]work.NewJob, min(n, 500))
			for i := range jobs {
				jobs[i] = work.NewJob{Queue: "q", Payload: make([]byte, 500), RunAt: runAt}
			}
			n -= len(jobs)
			if err := db.Update(b.Context(), func(tx *store.Tx) error { return r.Enqueue(b.Context(), tx, jobs...) }); err != nil {
				b.Fatal(err)
			}
		}
	}
	add(waiting, later)
	var ran atomic.Int64
	all := make(chan struct{})
	r.Handle("q", work.QueueOptions{Concurrency: 64}, func(context.Context, work.Job) work.Outcome {
		if ran.Add(1) == int64(b.N) {
			close(all)
		}
		return work.Done()
	})
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	b.ResetTimer()
	wg.Go(func() { _ = r.Run(ctx) })
	add(b.N, time.Time{})
	<-all
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	cancel()
	wg.Wait()
}

// BenchmarkWake measures the time from the call that enqueues a job to its start.
func BenchmarkWake(b *testing.B) {
	db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	r := work.New(db, "bench", nil)
	started := make(chan struct{})
	r.Handle("q", work.QueueOptions{}, func(context.Context, work.Job) work.Outcome {
		started <- struct{}{}
		return work.Done()
	})
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) })
	for b.Loop() {
		if err := db.Update(ctx, func(tx *store.Tx) error { return r.Enqueue(ctx, tx, work.NewJob{Queue: "q"}) }); err != nil {
			b.Fatal(err)
		}
		<-started
	}
	cancel()
	wg.Wait()
}
