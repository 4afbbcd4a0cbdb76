package storetest

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// TakeOutbox takes the events out of the outbox, in the order of their publication.
func TakeOutbox(t testing.TB, db *store.DB) (recs []event.Record) {
	t.Helper()
	ctx := t.Context()
	err := db.Update(ctx, func(tx *store.Tx) error {
		rows, err := tx.Query(ctx, `SELECT record FROM outbox ORDER BY id`)
		recs, err = store.All(rows, err, func(row store.Row) (event.Record, error) {
			var b []byte
			if err := row.Scan(&b); err != nil {
				return event.Record{}, err
			}
			return event.DecodeRecord(b)
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `DELETE FROM outbox`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}
