package inventory

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// BenchmarkEventToServer measures from a webhook call to the committed change:
// authentication, a durable intake, a read of the instance over HTTP, and a
// durable change, with one event at a time and with many on their way.
func BenchmarkEventToServer(b *testing.B) {
	for _, ahead := range []int{1, 64} {
		b.Run(fmt.Sprintf("on-their-way=%d", ahead), func(b *testing.B) {
			db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close() })
			w := newWorld(b, db)
			_, m, token := w.monitored(nil)
			w.run()
			slots := make(chan struct{}, ahead)
			now := time.Now()
			b.ResetTimer()
			for i := range b.N {
				id := instanceID(i)
				w.ec2.put(testRegion, Instance{ID: id, State: stateRunning})
				slots <- struct{}{}
				go func() {
					defer func() { <-slots }()
					w.post(m.WebhookURL, token, eventBody(id, testAccount, testRegion, id, stateRunning, now))
				}()
				for w.v.counters.added.Load() < int64(i+1-ahead+1) {
					runtime.Gosched()
				}
			}
			for w.v.counters.added.Load() < int64(b.N) {
				runtime.Gosched()
			}
		})
	}
}

// BenchmarkFullSync measures a sync of a region with 5,000 instances: the first,
// which adds them, and one that finds them as they are.
func BenchmarkFullSync(b *testing.B) {
	const n = 5000
	for b.Loop() {
		b.StopTimer()
		db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		w := newWorld(b, db)
		w.instances(testRegion, n)
		w.project(testProject)
		a := w.connect(testProject, testAccount, nil)
		b.StartTimer()
		for _, what := range []string{"add", "same"} {
			run := SyncRun{ID: what, CloudAccountID: a.ID, Trigger: "demand", CreatedAt: w.v.now()}
			began := time.Now()
			w.v.runSync(b.Context(), a, &run)
			if run.Status != SyncSucceeded {
				b.Fatalf("%+v", run)
			}
			b.ReportMetric(float64(time.Since(began).Milliseconds()), what+"-ms")
		}
		b.StopTimer()
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
