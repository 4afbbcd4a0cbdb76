package function

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// BenchmarkAsync accepts asynchronous invocations, 16 at a time, and runs them with a function
// that does nothing; beside it, bare durable jobs of the same payload.
func BenchmarkAsync(b *testing.B) {
	payload := []byte(`{"detail":"订单"}`)
	b.Run("jobs", func(b *testing.B) {
		f := benchFixture(b)
		var ran atomic.Int64
		all := make(chan struct{})
		f.jobs.Handle("bare", work.QueueOptions{Concurrency: 64}, func(context.Context, work.Job) work.Outcome {
			if ran.Add(1) == int64(b.N) {
				close(all)
			}
			return work.Done()
		})
		f.start()
		inParallel(b, func() error {
			return f.db.UpdateReadCommitted(b.Context(), func(tx *store.Tx) error {
				return f.jobs.Enqueue(b.Context(), tx, work.NewJob{Queue: "bare", Payload: payload})
			})
		})
		<-all
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	for _, functions := range []int{1, 16} {
		b.Run(fmt.Sprintf("functions=%d", functions), func(b *testing.B) {
			f := benchFixture(b)
			var fns []*Function
			for i := range functions {
				f.newFunction(fmt.Sprint("f", i))
				fn, err := f.find(b.Context(), Ref{account, region, fmt.Sprint("f", i)})
				if err != nil {
					b.Fatal(err)
				}
				fns = append(fns, fn)
			}
			var ran, next atomic.Int64
			all := make(chan struct{})
			f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
				if ran.Add(1) == int64(b.N) {
					close(all)
				}
				return runtime.Result{}, nil
			})
			f.start()
			inParallel(b, func() error {
				fn := fns[int(next.Add(1))%functions]
				return f.enqueue(awsapi.WithCaller(b.Context(), admin(account)), fn, asyncInvocation{Payload: payload})
			})
			<-all
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// inParallel calls do b.N times from 16 goroutines.
func inParallel(b *testing.B, do func() error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := do(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func benchFixture(b *testing.B) *fixture {
	db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return newFixture(b, db)
}

// BenchmarkMapping feeds a function that does nothing from a queue, ten messages a batch; beside it,
// the same messages received and deleted one batch after another.
func BenchmarkMapping(b *testing.B) {
	fill := func(b *testing.B, f *fixture) {
		f.queue("orders", nil)
		f.send("orders", numbers(b.N)...)
	}
	b.Run("queue", func(b *testing.B) {
		f := benchFixture(b)
		fill(b, f)
		have, err := f.queues.Find(b.Context(), queueRef("orders"))
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for n := 0; n < b.N; {
			got, err := f.queues.Receive(b.Context(), queueRef("orders"), queue.ReceiveRequest{Max: 10, Wait: new(time.Duration(0))})
			if err != nil {
				b.Fatal(err)
			}
			var handles []string
			for _, m := range got {
				handles = append(handles, m.Handle)
			}
			if _, err := f.queues.DeleteMessages(b.Context(), have, handles); err != nil {
				b.Fatal(err)
			}
			n += len(got)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("mapping", func(b *testing.B) {
		f := benchFixture(b)
		fill(b, f)
		f.newFunction("ship")
		f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {})
		b.ResetTimer()
		f.start()
		for {
			if visible, inFlight := f.held("orders"); visible+inFlight == 0 {
				break
			}
			<-time.After(time.Millisecond)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	})
}
