package delivery

import (
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestASubscriptionLagsWhileItReadsTheLogOrItsLaneIsFull(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		d := &Delivery{store: deliveryStore{db}, lanes: map[int64]*lane{5: {}, 9: {queue: []*pair{{}}}}}
		lags := func(want bool, ids ...int64) {
			t.Helper()
			if got, err := d.Lagging(t.Context(), ids); err != nil || got != want {
				t.Errorf("Lagging(%v) = %t, %v", ids, got, err)
			}
		}
		lags(false)
		lags(false, 5, 7)
		lags(true, 5, 9)
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			return d.store.putCatchUp(t.Context(), tx, catchUpRow{subscription: 7, snapshot: []byte(`[]`)}, time.Now())
		})
		if err != nil {
			t.Fatal(err)
		}
		lags(true, 6, 7)
		lags(false, 6, 8)
	})
}
