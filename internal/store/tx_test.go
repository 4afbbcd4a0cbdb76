package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
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

// A full disk is played by a bound on the file's size.
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
			query    string
			isUnique bool
		}{
			{`INSERT INTO parent (id, name) VALUES (1, 'b')`, true},
			{`INSERT INTO parent (id, name) VALUES (2, 'a')`, true},
			{`INSERT INTO child (parent) VALUES (2)`, false},
			{`INSERT INTO child (parent) VALUES (NULL)`, false},
			{`INSERT INTO nowhere (id) VALUES (1)`, false},
		} {
			err := execStmt(ctx, db, c.query)
			err = fmt.Errorf("wrapped: %w", err)
			if store.IsUnique(err) != c.isUnique || store.IsFull(err) {
				t.Errorf("%s: %v", c.query, err)
			}
		}
	})
}

// Statements are kept between uses: two results of one text may be open at once, and a
// changed table must not be read by an old plan.
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
				maps.Copy(changed, want)
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
