package store_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// However many others there are, bulk updates come to their turn.
func TestBulkUpdatesAreNotPutOffForever(t *testing.T) {
	db := storetest.SQLite(t)
	createTable(t, db)
	var done atomic.Bool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for !done.Load() {
				if err := db.Update(t.Context(), func(*store.Tx) error { return nil }); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 20 {
		if err := execStmt(store.Bulk(t.Context()), db, `INSERT INTO n (id) VALUES ($1)`, i); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	wg.Wait()
	if got := numbers(t, db); len(got) != 20 {
		t.Errorf("%d rows", len(got))
	}
}
