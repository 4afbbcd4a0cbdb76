package store_test

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// together runs two updates whose first tries have both read before either writes.
func together(db *store.DB, fn func(ctx context.Context, tx *store.Tx, who int, bothHaveRead func()) error) (errs [2]error, tries [2]int) {
	var both, all sync.WaitGroup
	both.Add(2)
	for who := range 2 {
		all.Go(func() {
			ctx := context.Background()
			errs[who] = db.Update(ctx, func(tx *store.Tx) error {
				tries[who]++
				return fn(ctx, tx, who, func() {
					if tries[who] == 1 {
						both.Done()
						both.Wait()
					}
				})
			})
		})
	}
	all.Wait()
	return errs, tries
}

func TestInsertOfWhatAnotherInsertedIsTriedAgain(t *testing.T) {
	db := storetest.Postgres(t)
	createTable(t, db)
	exists := errors.New("exists")
	for range 10 {
		if err := execStmt(t.Context(), db, `DELETE FROM n`); err != nil {
			t.Fatal(err)
		}
		errs, tries := together(db, func(ctx context.Context, tx *store.Tx, _ int, bothHaveRead func()) error {
			var id int
			err := tx.QueryRow(ctx, `SELECT id FROM n WHERE id = 1`).Scan(&id)
			if err == nil {
				return exists
			}
			if err != sql.ErrNoRows {
				return err
			}
			bothHaveRead()
			_, err = tx.Exec(ctx, `INSERT INTO n (id) VALUES (1)`)
			return err
		})
		if (errs[0] == nil) == (errs[1] == nil) || errs[0] != nil && errs[0] != exists || errs[1] != nil && errs[1] != exists {
			t.Fatalf("updates returned %v after %v tries", errs, tries)
		}
	}
}

// Each takes a seat if less than two are taken; both see one taken, and one must look again.
func TestUpdatesThatReadWhatTheOtherWritesAreSerial(t *testing.T) {
	db := storetest.Postgres(t)
	createTable(t, db)
	if err := execStmt(t.Context(), db, `INSERT INTO n (id) VALUES (0)`); err != nil {
		t.Fatal(err)
	}
	errs, tries := together(db, func(ctx context.Context, tx *store.Tx, who int, bothHaveRead func()) error {
		var taken int
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM n`).Scan(&taken); err != nil {
			return err
		}
		bothHaveRead()
		if taken >= 2 {
			return nil
		}
		_, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES ($1)`, who+1)
		return err
	})
	if got := numbers(t, db); len(got) != 2 || errs[0] != nil || errs[1] != nil {
		t.Fatalf("seats %v, %v, after %v tries", got, errs, tries)
	}
}

func TestDeadlockIsTriedAgain(t *testing.T) {
	db := storetest.Postgres(t)
	createTable(t, db)
	if err := execStmt(t.Context(), db, `ALTER TABLE n ADD COLUMN x BIGINT NOT NULL DEFAULT 0`); err != nil {
		t.Fatal(err)
	}
	if err := execStmt(t.Context(), db, `INSERT INTO n (id) VALUES (0), (1)`); err != nil {
		t.Fatal(err)
	}
	errs, tries := together(db, func(ctx context.Context, tx *store.Tx, who int, bothHaveRead func()) error {
		for i, id := range []int{who, 1 - who} {
			if _, err := tx.Exec(ctx, `UPDATE n SET x = x + 1 WHERE id = $1`, id); err != nil {
				return err
			}
			if i == 0 {
				bothHaveRead()
			}
		}
		return nil
	})
	var sum int
	if err := db.QueryRow(t.Context(), `SELECT sum(x) FROM n`).Scan(&sum); err != nil || sum != 4 || errs[0] != nil || errs[1] != nil {
		t.Fatalf("sum %d, %v, %v after %v tries", sum, err, errs, tries)
	}
}
