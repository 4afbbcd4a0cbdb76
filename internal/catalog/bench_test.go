package catalog

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// benchBatch is how many entities a call of Apply carries: what the exporter sends.
const benchBatch = 100

func benchChanges(b *testing.B, from int, n int) []EntityChange {
	changes := make([]EntityChange, benchBatch)
	for i := range changes {
		changes[i] = upsert(b, "service", fmt.Sprintf(`{"identifier": "arn:aws:lambda:us-east-1:123456789012:function:fn-%d", "title": "fn-%[1]d",
			"properties": {"language": "go", "url": "https://console.aws.amazon.com/lambda/fn-%[1]d", "since": "2026-01-15T21:29:54Z", "replicas": %d,
			"public": true, "tags": ["a", "b"], "config": {"memory": 128, "arch": "arm64"}, "tier": "gold"}, "relations": {"domain": "shop"}}`, from+i, n), true)
	}
	return changes
}

func benchWorld(b *testing.B, db *store.DB) *world {
	w := newWorld(b, db)
	w.do(upsert(b, "domain", `{"identifier": "shop"}`, false))
	return w
}

const bareTable = `CREATE TABLE bare (blueprint_id BIGINT NOT NULL, identifier TEXT NOT NULL, title TEXT, icon TEXT, team TEXT NOT NULL, properties TEXT NOT NULL,
	datasource_id BIGINT NOT NULL, revision BIGINT NOT NULL, created_at BIGINT NOT NULL, created_by TEXT NOT NULL, updated_at BIGINT NOT NULL,
	updated_by TEXT NOT NULL, cause TEXT NOT NULL, UNIQUE (blueprint_id, identifier))`

// bareInsert stores the same rows of entities, and nothing else, by a prepared statement in one
// transaction a batch.
func bareInsert(b *testing.B, driver, url string) {
	ctx := b.Context()
	db, err := sql.Open(driver, url)
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, bareTable); err != nil {
		b.Fatal(err)
	}
	text := `{"config":{"arch":"arm64","memory":128},"language":"go","public":true,"replicas":1,"since":"2026-01-15T21:29:54Z","tags":["a","b"],"tier":"gold","url":"https://console.aws.amazon.com/lambda/fn-1"}`
	n := 0
	for b.Loop() {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			b.Fatal(err)
		}
		stmt, err := tx.PrepareContext(ctx, `INSERT INTO bare (blueprint_id, identifier, title, icon, team, properties, datasource_id, revision,
			created_at, created_by, updated_at, updated_by, cause) VALUES (1, $1, $2, NULL, '[]', $3, 1, 1, 1, 'a', 1, 'a', '{}')`)
		if err != nil {
			b.Fatal(err)
		}
		for range benchBatch {
			n++
			id := fmt.Sprintf("arn:aws:lambda:us-east-1:123456789012:function:fn-%d", n)
			if _, err := stmt.ExecContext(ctx, id, id, text); err != nil {
				b.Fatal(err)
			}
		}
		if err := tx.Commit(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*benchBatch), "µs/entity")
}

// BenchmarkApply stores entities beside a bare INSERT of the same row: with their relation, index
// of values, history and events, as new ones, unchanged ones, and changed ones.
func BenchmarkApply(b *testing.B) {
	for name, open := range map[string]func(testing.TB) *store.DB{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		b.Run(name+"/bare", func(b *testing.B) {
			if name == "postgres" {
				bareInsert(b, "pgx", storetest.PostgresURL(b))
				return
			}
			bareInsert(b, "sqlite", "file:"+filepath.Join(b.TempDir(), "raw.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
		})
		apply := func(changes func(b *testing.B, i int) []EntityChange) func(b *testing.B) {
			return func(b *testing.B) {
				w := benchWorld(b, open(b))
				w.do(benchChanges(b, 0, 0)...)
				i := 0
				for b.Loop() {
					i++
					b.StopTimer()
					list := changes(b, i)
					b.StartTimer()
					results, err := w.Apply(context.Background(), w.w, list, ApplyOptions{})
					if err != nil || results[0].Err != nil {
						b.Fatal(err, results[0].Err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*benchBatch), "µs/entity")
			}
		}
		b.Run(name+"/create", apply(func(b *testing.B, i int) []EntityChange { return benchChanges(b, i*benchBatch, 1) }))
		b.Run(name+"/unchanged", apply(func(b *testing.B, _ int) []EntityChange { return benchChanges(b, 0, 0) }))
		b.Run(name+"/update", apply(func(b *testing.B, i int) []EntityChange { return benchChanges(b, 0, 1+i%90) }))
	}
}
