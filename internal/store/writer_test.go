package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestGoexitInUpdateDoesNotStopTheWriter(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		var wg sync.WaitGroup
		wg.Go(func() {
			inner := &testing.T{}
			err := db.Update(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); err != nil {
					return err
				}
				inner.FailNow()
				return nil
			})
			// On PostgreSQL the function runs in this goroutine, which has ended.
			if err == nil {
				t.Error("Update returned nil")
			}
		})
		wg.Wait()
		if err := execStmt(ctx, db, `INSERT INTO n (id) VALUES (2)`); err != nil {
			t.Fatal(err)
		}
		if got := numbers(t, db); !slices.Equal(got, []int{2}) {
			t.Fatalf("rows %v", got)
		}
	})
}

func TestOneFailingJobOfACommitFailsAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createTable(t, db)
		const callers = 200
		no := errors.New("no")
		var wg sync.WaitGroup
		var hooks atomic.Int32
		for i := range callers {
			wg.Go(func() {
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					tx.OnCommit(func() { hooks.Add(1) })
					if _, err := tx.Exec(context.Background(), `INSERT INTO n (id) VALUES ($1)`, i); err != nil {
						return err
					}
					switch i % 4 {
					case 1:
						return no
					case 2:
						_, _ = tx.Exec(context.Background(), `INSERT INTO nowhere VALUES (1)`)
					}
					return nil
				})
				if failed := i%4 == 1 || i%4 == 2; failed != (err != nil) {
					t.Errorf("update %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		got := numbers(t, db)
		if len(got) != callers/2 || int(hooks.Load()) != callers/2 {
			t.Fatalf("%d rows, %d hooks, want %d", len(got), hooks.Load(), callers/2)
		}
		for _, id := range got {
			if id%4 == 1 || id%4 == 2 {
				t.Fatalf("row %d is there though its update failed", id)
			}
		}
	})
}

func TestHooksRunInCommitOrderOnSQLite(t *testing.T) {
	db := storetest.SQLite(t)
	createTable(t, db)
	var order []int
	var wg sync.WaitGroup
	next := 0
	for range 100 {
		wg.Go(func() {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				next++
				id := next
				tx.OnCommit(func() { order = append(order, id) })
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(order) != 100 || !slices.IsSorted(order) {
		t.Fatalf("order %v", order)
	}
}

func TestWaitingUpdateIsGivenUpWithItsContext(t *testing.T) {
	db := storetest.SQLite(t)
	started, goOn := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.Update(context.Background(), func(*store.Tx) error {
			close(started)
			<-goOn
			return nil
		})
	})
	receive(t, started)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	ran := false
	wg.Go(func() { done <- db.Update(ctx, func(*store.Tx) error { ran = true; return nil }) })
	cancel()
	if err := receive(t, done); !errors.Is(err, context.Canceled) {
		t.Fatalf("Update = %v", err)
	}
	close(goOn)
	wg.Wait()
	if err := db.Update(t.Context(), func(*store.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if ran {
		t.Fatal("the update ran after its caller had gone")
	}
}

func TestCloseWaitsForAcceptedUpdates(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		started, goOn := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			done <- db.Update(context.Background(), func(tx *store.Tx) error {
				close(started)
				<-goOn
				_, err := tx.Exec(context.Background(), `INSERT INTO lease (name, holder, expires_at) VALUES ('a', 'b', 0)`)
				return err
			})
		})
		receive(t, started)
		closed := make(chan error, 1)
		wg.Go(func() { closed <- db.Close() })
		close(goOn)
		if err := receive(t, done); err != nil {
			t.Errorf("the accepted update: %v", err)
		}
		if err := receive(t, closed); err != nil {
			t.Errorf("Close = %v", err)
		}
		wg.Wait()
		if err := db.Update(t.Context(), func(*store.Tx) error { return nil }); err != store.ErrClosed {
			t.Errorf("Update after Close = %v", err)
		}
	})
}

func TestFullDatabaseFailsItsUpdatesAndRecovers(t *testing.T) {
	db := storetest.SQLite(t)
	ctx := t.Context()
	if err := execStmt(ctx, db, `CREATE TABLE b (body BLOB NOT NULL)`); err != nil {
		t.Fatal(err)
	}
	pages := func(n int) {
		t.Helper()
		err := db.Update(ctx, func(tx *store.Tx) error {
			var got int
			return tx.QueryRow(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, n)).Scan(&got)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages(200)
	var wg sync.WaitGroup
	var full, stored atomic.Int32
	for range 64 {
		wg.Go(func() {
			err := execStmt(ctx, db, `INSERT INTO b (body) VALUES ($1)`, make([]byte, 100_000))
			switch {
			case err == nil:
				stored.Add(1)
			case store.IsFull(err):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	count := func() (n int32) {
		if err := db.QueryRow(ctx, `SELECT count(*) FROM b`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if full.Load() == 0 || count() != stored.Load() {
		t.Fatalf("%d updates found the database full, %d said stored, %d are", full.Load(), stored.Load(), count())
	}
	pages(100_000)
	if err := execStmt(ctx, db, `INSERT INTO b (body) VALUES ($1)`, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	if count() != stored.Load()+1 {
		t.Fatal("the update after making room is not there")
	}
}

func TestReadPoolDoesNotWriteOnSQLite(t *testing.T) {
	db := storetest.SQLite(t)
	createTable(t, db)
	var id int
	if err := db.QueryRow(t.Context(), `INSERT INTO n (id) VALUES (1) RETURNING id`).Scan(&id); err == nil {
		t.Fatal("the read pool wrote")
	}
}

func TestKeptStatements(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		if err := execStmt(ctx, db, `INSERT INTO n (id) VALUES (1), (2), (3)`); err != nil {
			t.Fatal(err)
		}
		var pairs int
		const q = `SELECT id FROM n WHERE id > $1 ORDER BY id`
		outer, err := db.Query(ctx, q, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer outer.Close()
		for outer.Next() {
			inner, err := db.Query(ctx, q, 0)
			if err != nil {
				t.Fatal(err)
			}
			for inner.Next() {
				pairs++
			}
			inner.Close()
		}
		if pairs != 9 {
			t.Fatalf("%d pairs, want 9", pairs)
		}
		for range 3 {
			if err := execStmt(ctx, db, `ALTER TABLE n ADD COLUMN x TEXT`); err != nil {
				t.Fatal(err)
			}
			if got := numbers(t, db); len(got) != 3 {
				t.Fatal(got)
			}
			if err := execStmt(ctx, db, `ALTER TABLE n DROP COLUMN x`); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 300 { // more than are kept
			var got int
			if err := db.QueryRow(ctx, fmt.Sprintf(`SELECT CAST(%d AS INTEGER)`, i)).Scan(&got); err != nil || got != i {
				t.Fatalf("got %d, %v", got, err)
			}
		}
	})
}
