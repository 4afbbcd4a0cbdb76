package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const benchTable = `CREATE TABLE bench (id BIGINT PRIMARY KEY, body BYTEA NOT NULL)`

const benchInsert = `INSERT INTO bench (id, body) VALUES ($1, $2)`

var benchCallers = []int{1, 16, 64}

// BenchmarkUpdate inserts one row of 1 KB a transaction, durably, from so many callers.
// BenchmarkRaw does the same without the writer, through database/sql on one
// connection: the ratio is what group commit brings.
func BenchmarkUpdate(b *testing.B) {
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
		for _, callers := range benchCallers {
			b.Run(fmt.Sprintf("%s/callers=%d", kind, callers), func(b *testing.B) {
				db := open[kind](b)
				ctx := b.Context()
				if err := db.Update(ctx, func(tx *store.Tx) error {
					_, err := tx.Exec(ctx, benchTable)
					return err
				}); err != nil {
					b.Fatal(err)
				}
				body := make([]byte, 1024)
				share(b, callers, func(ctx context.Context, id int64) error {
					return db.Update(ctx, func(tx *store.Tx) error {
						_, err := tx.Exec(ctx, benchInsert, id, body)
						return err
					})
				})
			})
		}
	}
}

func BenchmarkRaw(b *testing.B) {
	for _, callers := range benchCallers {
		b.Run(fmt.Sprintf("sqlite/callers=%d", callers), func(b *testing.B) {
			q := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "wal_autocheckpoint(10000)"}}
			db, err := sql.Open("sqlite", "file:"+filepath.Join(b.TempDir(), "raw.db")+"?"+q.Encode())
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			if _, err := db.Exec(benchTable); err != nil {
				b.Fatal(err)
			}
			body := make([]byte, 1024)
			share(b, callers, func(ctx context.Context, id int64) error {
				tx, err := db.BeginTx(ctx, nil)
				if err != nil {
					return err
				}
				defer tx.Rollback()
				if _, err := tx.ExecContext(ctx, benchInsert, id, body); err != nil {
					return err
				}
				return tx.Commit()
			})
		})
	}
}

// share has b.N calls made by so many callers.
func share(b *testing.B, callers int, call func(ctx context.Context, id int64) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				id := next.Add(1)
				if id > int64(b.N) {
					return
				}
				if err := call(b.Context(), id); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}

// BenchmarkQueryRow reads one row by its key.
func BenchmarkQueryRow(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			var db *store.DB
			if kind == "sqlite" {
				db = storetest.SQLite(b)
			} else {
				db = storetest.Postgres(b)
			}
			ctx := b.Context()
			err := db.Update(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec(ctx, benchTable); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, benchInsert, 1, make([]byte, 1024))
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				var body []byte
				if err := db.QueryRow(ctx, `SELECT body FROM bench WHERE id = $1`, 1).Scan(&body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOutbox takes an event through Update, the relay and its deletion. The metric is
// the time from Update's return to the hand-over.
func BenchmarkOutbox(b *testing.B) {
	for _, kind := range []string{"sqlite", "postgres"} {
		b.Run(kind, func(b *testing.B) {
			var db *store.DB
			if kind == "sqlite" {
				db = storetest.SQLite(b)
			} else {
				db = storetest.Postgres(b)
			}
			ctx, cancel := context.WithCancel(b.Context())
			var wg sync.WaitGroup
			put := make(chan time.Time, 1)
			wg.Go(func() {
				_ = db.RunOutbox(ctx, func(context.Context, []event.Record) error {
					put <- time.Now()
					return nil
				})
			})
			var took time.Duration
			rec := event.Record{ID: "id", JSON: make([]byte, 1024)}
			for b.Loop() {
				if err := db.Update(ctx, func(tx *store.Tx) error { return tx.Publish(ctx, rec) }); err != nil {
					b.Fatal(err)
				}
				committed := time.Now()
				took += (<-put).Sub(committed)
			}
			b.ReportMetric(float64(took.Microseconds())/float64(b.N), "µs-to-put")
			cancel()
			wg.Wait()
		})
	}
}
