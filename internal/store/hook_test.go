package store_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// insertHook inserts what it counts to, and notes which of its runs were committed.
func insertHook(runs *int, committed *[]int) store.Hook {
	return func(ctx context.Context, tx *store.Tx) error {
		*runs++
		run := *runs
		tx.OnCommit(func() { *committed = append(*committed, run) })
		_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES ($1)`, 100+run)
		return err
	}
}

func TestHookRunsAtTheEndOfTheTransaction(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createTable(t, db)
		runs, committed := 0, []int(nil)
		ctx := store.WithHook(t.Context(), insertHook(&runs, &committed))
		err := db.Update(ctx, func(tx *store.Tx) error {
			_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`)
			if runs != 0 {
				t.Error("the hook ran before the function had returned")
			}
			return err
		})
		if err != nil || runs != 1 || !slices.Equal(committed, []int{1}) {
			t.Fatalf("Update = %v, %d runs, committed %v", err, runs, committed)
		}
		if got := numbers(t, db); !slices.Equal(got, []int{1, 101}) {
			t.Errorf("rows %v", got)
		}
		if err := execStmt(store.WithHook(ctx, nil), db, `INSERT INTO n (id) VALUES (2)`); err != nil || runs != 1 {
			t.Errorf("with the hook taken away: %v, %d runs", err, runs)
		}
	})
}

func TestHookDoesNotRunForATransactionThatFails(t *testing.T) {
	no := errors.New("no")
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createTable(t, db)
		runs, committed := 0, []int(nil)
		ctx := store.WithHook(t.Context(), insertHook(&runs, &committed))
		if err := db.Update(ctx, func(*store.Tx) error { return no }); err != no {
			t.Errorf("Update = %v", err)
		}
		err := db.Update(ctx, func(tx *store.Tx) error {
			_, _ = tx.Exec(ctx, `INSERT INTO nowhere (id) VALUES (1)`)
			return nil
		})
		if err == nil || runs != 0 || numbers(t, db) != nil {
			t.Errorf("Update = %v after a failed statement, %d runs, rows %v", err, runs, numbers(t, db))
		}
	})
}

func TestFailedHookEndsTheTransaction(t *testing.T) {
	no := errors.New("no")
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		createTable(t, db)
		inner := error(nil)
		ctx := store.WithHook(t.Context(), func(ctx context.Context, tx *store.Tx) error {
			inner = db.Update(ctx, func(*store.Tx) error { return nil })
			return no
		})
		if err := execStmt(ctx, db, `INSERT INTO n (id) VALUES (1)`); err != no || numbers(t, db) != nil {
			t.Errorf("Update = %v, rows %v", err, numbers(t, db))
		}
		if !errors.Is(inner, store.ErrNested) {
			t.Errorf("Update inside the hook = %v", inner)
		}
	})
}

// On PostgreSQL both transactions read what the other writes, so that one of them has to run
// again, and its hook with it.
func TestHookRunsAgainWithItsFunction(t *testing.T) {
	db := storetest.Postgres(t)
	createTable(t, db)
	runs, committed := 0, []int(nil)
	ctx := store.WithHook(t.Context(), insertHook(&runs, &committed))
	tries := 0
	err := db.Update(ctx, func(tx *store.Tx) error {
		tries++
		_ = numbers(t, tx)
		if tries == 1 {
			other := make(chan error)
			go func() {
				other <- db.Update(t.Context(), func(tx *store.Tx) error {
					_ = numbers(t, tx)
					_, err := tx.Exec(t.Context(), `INSERT INTO n (id) VALUES (50)`)
					return err
				})
			}()
			if err := <-other; err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES ($1)`, tries)
		return err
	})
	if err != nil || tries != 2 || len(committed) != 1 {
		t.Fatalf("Update = %v after %d tries, hook committed in %v", err, tries, committed)
	}
	if got := numbers(t, db); !slices.Equal(got, []int{2, 50, 100 + committed[0]}) {
		t.Errorf("rows %v", got)
	}
}
