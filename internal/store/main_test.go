package store_test

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirEnv); dir != "" {
		crashChild(dir)
		return
	}
	if dir := os.Getenv(syncDirEnv); dir != "" {
		syncChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// createTable makes the table n with one number column.
func createTable(t testing.TB, db *store.DB) {
	t.Helper()
	if err := execStmt(t.Context(), db, `CREATE TABLE n (id BIGINT PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
}

func execStmt(ctx context.Context, db *store.DB, query string, args ...any) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
}

func numbers(t testing.TB, q store.Querier) []int {
	t.Helper()
	rows, err := q.Query(context.Background(), `SELECT id FROM n ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var ids []int
	for rows.Next() {
		var id int
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

// receive fails the test when nothing comes, instead of hanging.
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

// eventually waits until a condition holds that nothing tells about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}
