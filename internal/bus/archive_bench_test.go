package bus

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// benchWorkers is as many as a lane has.
const benchWorkers = 64

// benchEvents are events of 1 KB whose details differ as those of shops do.
func benchEvents() []*event.Record {
	words := strings.Fields("order placed shipped customer region state pending amount currency EUR 订单 🚚 created street city zip items price tag")
	recs := make([]*event.Record, 256)
	for i := range recs {
		var detail strings.Builder
		detail.WriteString(`{"id":` + fmt.Sprint(i))
		for detail.Len() < 700 {
			fmt.Fprintf(&detail, `,"%s-%d":"%s %s %d"`, words[rand.IntN(len(words))], rand.IntN(100), words[rand.IntN(len(words))], words[rand.IntN(len(words))], rand.IntN(1e6))
		}
		recs[i] = happened("", testNow, detail.String()+"}")
	}
	return recs
}

// shareBench has n workers call fn until the benchmark has run.
func shareBench(b *testing.B, n int, fn func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkArchive archives events of 1 KB from 64 workers, durably on SQLite;
// "alone" has each in a transaction of its own. BenchmarkArchiveLog appends the same
// to the event log: the ratio says what an archive costs beside it.
func BenchmarkArchive(b *testing.B) {
	databases := map[string]func(b *testing.B) *store.DB{
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
		b.Run(kind, func(b *testing.B) {
			x := open(b, databases[kind](b))
			sub := createArchive(b, x, Archive{Name: "a"})
			recs := benchEvents()
			shareBench(b, benchWorkers, func(i int) error { return x.Archive(b.Context(), benchEvent(recs, i), sub) })
		})
		b.Run(kind+"/alone", func(b *testing.B) {
			x := open(b, databases[kind](b))
			createArchive(b, x, Archive{Name: "a"})
			recs := benchEvents()
			shareBench(b, benchWorkers, func(i int) error {
				rec := benchEvent(recs, i)
				e := archivedEvent{archive: 1, at: testNow.UnixMilli(), id: rec.ID, size: len(rec.JSON), body: packEvent(rec.JSON)}
				return x.db.UpdateReadCommitted(b.Context(), func(tx *store.Tx) error {
					return storeArchived(b.Context(), tx, i%16, []archivedEvent{e})
				})
			})
		})
	}
}

// benchEvent is one of the records as an event of its own.
func benchEvent(recs []*event.Record, i int) *event.Record {
	rec := *recs[i%len(recs)]
	rec.ID = event.NewID()
	rec.JSON = []byte(strings.Replace(string(rec.JSON), `"id":""`, `"id":"`+rec.ID+`"`, 1))
	return &rec
}

// BenchmarkArchiveLog is described at BenchmarkArchive.
func BenchmarkArchiveLog(b *testing.B) {
	log, err := eventlog.Open(b.Context(), eventlog.Options{Dir: b.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	recs := benchEvents()
	shareBench(b, benchWorkers, func(i int) error {
		return log.Append(context.Background(), [][]byte{benchEvent(recs, i).Append(nil)})
	})
}

// BenchmarkArchiveHold shows for how long one transaction of a full batch holds the
// writer of SQLite.
func BenchmarkArchiveHold(b *testing.B) {
	db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	x := open(b, db)
	createArchive(b, x, Archive{Name: "a"})
	for name, size := range map[string]int{"events=128x1KB": 700, "events=8x128KB": 128 << 10} {
		b.Run(name, func(b *testing.B) {
			var held time.Duration
			n := min(archiveBatch, archiveBatchBytes/size)
			for i := 0; b.Loop(); i++ {
				batch := make([]archivedEvent, n)
				for k := range batch {
					batch[k] = archivedEvent{archive: 1, at: int64(i), id: event.NewID(), size: size, body: make([]byte, size)}
				}
				err := db.Update(b.Context(), func(tx *store.Tx) error {
					began := time.Now()
					defer func() { held += time.Since(began) }()
					return storeArchived(b.Context(), tx, 0, batch)
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(held.Microseconds())/float64(b.N)/1000, "ms-held")
		})
	}
}

func BenchmarkPackEvent(b *testing.B) {
	recs := benchEvents()
	stored, plain := 0, 0
	for i := 0; b.Loop(); i++ {
		rec := recs[i%len(recs)]
		plain, stored = plain+len(rec.JSON), stored+len(packEvent(rec.JSON))
	}
	b.ReportMetric(float64(stored)/float64(plain), "of-size")
}

// BenchmarkSweep shows for how long one transaction of the sweeper holds the writer of
// SQLite.
func BenchmarkSweep(b *testing.B) {
	db, err := store.Open(b.Context(), store.Options{DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	createArchive(b, open(b, db), Archive{Name: "a"})
	rec := benchEvents()[0]
	batch := make([]archivedEvent, sweepChunk)
	var held time.Duration
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		for k := range batch {
			batch[k] = archivedEvent{archive: 1, at: int64(i), ingested: int64(i), id: event.NewID(), size: len(rec.JSON), body: packEvent(rec.JSON)}
		}
		if err := db.Update(b.Context(), func(tx *store.Tx) error { return storeArchived(b.Context(), tx, 0, batch) }); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		ids, err := selectOldest(b.Context(), db, 1, testNow, sweepChunk, sweepBytes)
		if err != nil {
			b.Fatal(err)
		}
		err = db.Update(b.Context(), func(tx *store.Tx) error {
			began := time.Now()
			defer func() { held += time.Since(began) }()
			return deleteArchived(b.Context(), tx, ids)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(held.Microseconds())/float64(b.N)/1000, "ms-held")
}
