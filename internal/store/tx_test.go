package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"pgregory.net/rapid"
)

func TestFailedUpdateLeavesNothing(t *testing.T) {
	no := errors.New("no")
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		hooks := 0
		err := db.Update(ctx, func(tx *store.Tx) error {
			tx.OnCommit(func() { hooks++ })
			if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); err != nil {
				return err
			}
			if got := numbers(t, tx); !slices.Equal(got, []int{1}) {
				t.Errorf("the transaction sees %v", got)
			}
			if got := numbers(t, db); got != nil {
				t.Errorf("others see %v before the commit", got)
			}
			return no
		})
		if err != no {
			t.Fatalf("Update = %v", err)
		}
		if got := numbers(t, db); got != nil || hooks != 0 {
			t.Fatalf("left behind: %v, %d hooks", got, hooks)
		}
	})
}

func TestPanicRollsBackAndReachesTheCaller(t *testing.T) {
	cause := errors.New("the cause")
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		func() {
			defer func() {
				err, _ := recover().(error)
				if !errors.Is(err, cause) || !strings.Contains(err.Error(), "tx_test.go") {
					t.Errorf("recovered %v", err)
				}
			}()
			_ = db.Update(ctx, func(tx *store.Tx) error {
				if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); err != nil {
					return err
				}
				panic(cause)
			})
			t.Error("Update returned")
		}()
		if err := execStmt(ctx, db, `INSERT INTO n (id) VALUES (2)`); err != nil {
			t.Fatal(err)
		}
		if got := numbers(t, db); !slices.Equal(got, []int{2}) {
			t.Fatalf("rows %v", got)
		}
	})
}

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

func TestUpdateInsideUpdateIsRefused(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		var inner, hook error
		err := db.Update(ctx, func(tx *store.Tx) error {
			inner = db.Update(ctx, func(*store.Tx) error { return nil })
			tx.OnCommit(func() { hook = db.Update(ctx, func(*store.Tx) error { return nil }) })
			return nil
		})
		if err != nil || inner != store.ErrNested || hook != store.ErrNested {
			t.Fatalf("Update = %v, inner %v, in a hook %v", err, inner, hook)
		}
		if err := db.Update(ctx, func(*store.Tx) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}

func TestNothingFollowsAFailedStatement(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		err := db.Update(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); err != nil {
				t.Error(err)
			}
			if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); !store.IsUnique(err) {
				t.Errorf("second insert: %v", err)
			}
			if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (2)`); err == nil {
				t.Error("a statement after a failed one succeeded")
			}
			var one int
			if err := tx.QueryRow(ctx, `SELECT 1`).Scan(&one); !store.IsUnique(err) {
				t.Errorf("QueryRow after a failed statement: %v", err)
			}
			return nil
		})
		if !store.IsUnique(err) {
			t.Fatalf("Update = %v, want the first failure", err)
		}
		if got := numbers(t, db); got != nil {
			t.Fatalf("rows %v", got)
		}
	})
}

func TestNoRowsIsNoFailure(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		err := db.Update(ctx, func(tx *store.Tx) error {
			var id int
			if err := tx.QueryRow(ctx, `SELECT id FROM n WHERE id = $1`, 7).Scan(&id); err != sql.ErrNoRows {
				t.Errorf("Scan = %v", err)
			}
			_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (7)`)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestRowsLeftOpen(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		if err := execStmt(ctx, db, `INSERT INTO n (id) VALUES (1), (2)`); err != nil {
			t.Fatal(err)
		}
		// At the end they are closed for the function.
		err := db.Update(ctx, func(tx *store.Tx) error {
			rows, err := tx.Query(ctx, `SELECT id FROM n`)
			if err == nil && !rows.Next() {
				t.Error("no row")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		// Before another statement that is a mistake.
		err = db.Update(ctx, func(tx *store.Tx) error {
			if _, err := tx.Query(ctx, `SELECT id FROM n`); err != nil {
				t.Error(err)
			}
			_, err := tx.Exec(ctx, `DELETE FROM n`)
			return err
		})
		if err == nil {
			t.Fatal("a statement ran while rows were open")
		}
		if got := numbers(t, db); len(got) != 2 {
			t.Fatalf("rows %v", got)
		}
	})
}

func TestTxIsOverAfterItsFunction(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		var kept *store.Tx
		if err := db.Update(ctx, func(tx *store.Tx) error { kept = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if _, err := kept.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); err == nil {
			t.Fatal("a statement ran in a transaction that is over")
		}
		var one int
		if err := kept.QueryRow(ctx, `SELECT 1`).Scan(&one); err == nil {
			t.Fatal("a query ran in a transaction that is over")
		}
	})
}

func TestUpdatesAreSerial(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		createTable(t, db)
		// Each adds the next number: a lost update or a stale read would collide or leave a gap.
		const callers, each = 8, 10
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				for range each {
					err := db.Update(ctx, func(tx *store.Tx) error {
						var top int
						if err := tx.QueryRow(ctx, `SELECT COALESCE(MAX(id), 0) FROM n`).Scan(&top); err != nil {
							return err
						}
						_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES ($1)`, top+1)
						if store.IsUnique(err) {
							// PostgreSQL may see this before it sees the conflict.
							return err
						}
						return err
					})
					if err != nil && !store.IsUnique(err) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		got := numbers(t, db)
		for i, id := range got {
			if id != i+1 {
				t.Fatalf("number %d is %d", i+1, id)
			}
		}
		if db.Dialect() == store.SQLite && len(got) != callers*each {
			t.Fatalf("%d numbers, want %d", len(got), callers*each)
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

func TestCancelledUpdate(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createTable(t, db)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		ran := false
		if err := db.Update(ended, func(*store.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
			t.Fatalf("Update = %v, ran %v", err, ran)
		}
		// Between statements the context is looked at; what was done is undone.
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Update(ctx, func(tx *store.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`); err != nil {
				return err
			}
			cancel()
			_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (2)`)
			return err
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("Update = %v", err)
		}
		if got := numbers(t, db); got != nil {
			t.Fatalf("rows %v", got)
		}
	})
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

// A full disk is played by a bound on the file's size.
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

func TestErrorsAreTold(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		for _, ddl := range []string{
			`CREATE TABLE parent (id BIGINT PRIMARY KEY, name TEXT UNIQUE)`,
			`CREATE TABLE child (parent BIGINT NOT NULL REFERENCES parent (id))`,
			`INSERT INTO parent (id, name) VALUES (1, 'a')`,
		} {
			if err := execStmt(ctx, db, ddl); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range []struct {
			query                string
			isUnique, isForeignK bool
		}{
			{`INSERT INTO parent (id, name) VALUES (1, 'b')`, true, false},
			{`INSERT INTO parent (id, name) VALUES (2, 'a')`, true, false},
			{`INSERT INTO child (parent) VALUES (2)`, false, true},
			{`INSERT INTO child (parent) VALUES (NULL)`, false, false},
			{`INSERT INTO nowhere (id) VALUES (1)`, false, false},
		} {
			err := execStmt(ctx, db, c.query)
			err = fmt.Errorf("wrapped: %w", err)
			if store.IsUnique(err) != c.isUnique || store.IsForeignKey(err) != c.isForeignK || store.IsFull(err) {
				t.Errorf("%s: %v", c.query, err)
			}
		}
	})
}

func TestReadPoolDoesNotWriteOnSQLite(t *testing.T) {
	db := storetest.SQLite(t)
	createTable(t, db)
	var id int
	if err := db.QueryRow(t.Context(), `INSERT INTO n (id) VALUES (1) RETURNING id`).Scan(&id); err == nil {
		t.Fatal("the read pool wrote")
	}
}

// Statements are kept between uses: two results of one text may be open at once, and a
// changed table must not be read by an old plan.
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

// Any sequence of updates, some of which fail, leaves what a map would hold.
func TestUpdatesBehaveLikeAMap(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		if err := execStmt(ctx, db, `CREATE TABLE kv (k BIGINT PRIMARY KEY, v BIGINT NOT NULL)`); err != nil {
			t.Fatal(err)
		}
		no := errors.New("no")
		rapid.Check(t, func(rt *rapid.T) {
			if err := execStmt(ctx, db, `DELETE FROM kv`); err != nil {
				rt.Fatal(err)
			}
			want := map[int]int{}
			for range rapid.IntRange(1, 8).Draw(rt, "updates") {
				changed := map[int]int{}
				for k, v := range want {
					changed[k] = v
				}
				fails := rapid.Bool().Draw(rt, "fails")
				n := rapid.IntRange(0, 5).Draw(rt, "statements")
				type op struct{ k, v int }
				ops := make([]op, n)
				for i := range ops {
					ops[i] = op{rapid.IntRange(0, 4).Draw(rt, "k"), rapid.IntRange(-1, 9).Draw(rt, "v")}
				}
				err := db.Update(ctx, func(tx *store.Tx) error {
					for _, o := range ops {
						var err error
						if o.v < 0 {
							_, err = tx.Exec(ctx, `DELETE FROM kv WHERE k = $1`, o.k)
							delete(changed, o.k)
						} else {
							_, err = tx.Exec(ctx, `INSERT INTO kv (k, v) VALUES ($2, $1) ON CONFLICT (k) DO UPDATE SET v = excluded.v`, o.v, o.k)
							changed[o.k] = o.v
						}
						if err != nil {
							return err
						}
					}
					if fails {
						return no
					}
					return nil
				})
				if fails != (err == no) {
					rt.Fatalf("Update = %v", err)
				}
				if !fails {
					want = changed
				}
				got := map[int]int{}
				rows, err := db.Query(ctx, `SELECT k, v FROM kv`)
				if err != nil {
					rt.Fatal(err)
				}
				for rows.Next() {
					var k, v int
					if err := rows.Scan(&k, &v); err != nil {
						rt.Fatal(err)
					}
					got[k] = v
				}
				rows.Close()
				if fmt.Sprint(got) != fmt.Sprint(want) {
					rt.Fatalf("the table holds %v, want %v", got, want)
				}
			}
		})
	})
}
