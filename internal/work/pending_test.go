package work_test

import (
	"context"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestPendingFindsAJobAndThoseUnderItsKey(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		r := work.New(db, "test", nil)
		at := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
		for _, key := range []string{"7/1/2", "7/1/2/again", "7/1/20", "7/1", "8/1/2"} {
			enqueue(t, db, r, work.NewJob{Queue: "q", Key: key, RunAt: at})
		}
		enqueue(t, db, r, work.NewJob{Queue: "other", Key: "7/1/2", RunAt: at})
		got, err := r.Pending(ctx, "q", "7/1/2", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].Key != "7/1/2" || got[1].Key != "7/1/2/again" || !got[0].RunAt.Equal(at) || got[0].Running {
			t.Errorf("got %+v", got)
		}
		if got, err = r.Pending(ctx, "q", "7/1/2", 1); err != nil || len(got) != 1 {
			t.Errorf("with a limit of 1: %+v, %v", got, err)
		}
	})
}
