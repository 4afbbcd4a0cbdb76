package intake

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// BenchmarkAccept takes events of 1 KB in, durably, so many in a call and from so many
// callers at once: judged, known by their ids, published. BenchmarkPublish puts the
// same events into the outbox and does nothing else: the ratio is what knowing
// duplicates costs.
func BenchmarkAccept(b *testing.B) {
	detail := `{"text":"` + strings.Repeat("x", 800) + `"}`
	benchmark(b, func(b *testing.B, db *store.DB) func(ids []string) error {
		w := newWorld(b, db)
		s, _ := w.endpoint("bench", Settings{})
		return func(ids []string) error {
			bodies := make([]string, len(ids))
			for n, id := range ids {
				bodies[n] = eventBody(id, testAccount, testRegion, detail)
			}
			src, err := w.i.opened(s)
			if err != nil {
				return err
			}
			list := make([]candidate, len(ids))
			for n := range ids {
				if list[n], err = w.i.judge(b.Context(), src, arrival{body: []byte(bodies[n])}); err != nil {
					return err
				}
			}
			_, err = w.i.accept(b.Context(), src, list)
			return err
		}
	})
}

// BenchmarkPublish: see BenchmarkAccept.
func BenchmarkPublish(b *testing.B) {
	detail := `{"text":"` + strings.Repeat("x", 800) + `"}`
	benchmark(b, func(b *testing.B, db *store.DB) func(ids []string) error {
		return func(ids []string) error {
			recs := make([]event.Record, len(ids))
			for n, id := range ids {
				recs[n] = event.Record{Bus: event.BusRef{Account: testAccount, Region: testRegion, Name: "default"}, ID: id, JSON: []byte(eventBody(id, testAccount, testRegion, detail))}
			}
			return db.UpdateReadCommitted(b.Context(), func(tx *store.Tx) error { return tx.Publish(b.Context(), recs...) })
		}
	})
}

func benchmark(b *testing.B, prepare func(*testing.B, *store.DB) func(ids []string) error) {
	open := map[string]func(b *testing.B) *store.DB{
		"sqlite": func(b *testing.B) *store.DB {
			db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close() })
			return db
		},
		"postgres": func(b *testing.B) *store.DB { return storetest.Postgres(b) },
	}
	for _, kind := range []string{"sqlite", "postgres"} {
		for _, shape := range []struct{ callers, batch int }{{1, 1}, {64, 1}, {8, 10}, {8, 100}} {
			b.Run(fmt.Sprintf("%s/callers=%d/batch=%d", kind, shape.callers, shape.batch), func(b *testing.B) {
				call := prepare(b, open[kind](b))
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ResetTimer()
				for range shape.callers {
					wg.Go(func() {
						for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
							ids := make([]string, shape.batch)
							for i := range ids {
								ids[i] = event.NewID()
							}
							if err := call(ids); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(b.N*shape.batch)/b.Elapsed().Seconds(), "events/s")
			})
		}
	}
}
