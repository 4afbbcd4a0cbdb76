package store_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestLeaseHasOneHolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		ask := func(holder string, want bool) {
			t.Helper()
			got, err := db.Acquire(ctx, "sync", holder, time.Minute)
			if err != nil || got != want {
				t.Fatalf("Acquire by %s = %v, %v; want %v", holder, got, err, want)
			}
		}
		ask("a", true)
		ask("b", false)
		ask("a", true)
		if err := db.Release(ctx, "sync", "b"); err != nil {
			t.Fatal(err)
		}
		ask("b", false)
		if err := db.Release(ctx, "sync", "a"); err != nil {
			t.Fatal(err)
		}
		ask("b", true)
	})
}

func TestOutboxRelaysWhatWasCommitted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := make(chan string, 100)
		var wg sync.WaitGroup
		wg.Go(func() {
			err := db.RunOutbox(ctx, func(_ context.Context, recs []event.Record) error {
				for _, r := range recs {
					got <- r.ID
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		rolledBack := errors.New("no")
		for _, id := range []string{"one", "two"} {
			err := db.Update(ctx, func(tx *store.Tx) error {
				if err := tx.Publish(ctx, event.Record{ID: "not " + id, JSON: []byte("{}")}); err != nil {
					return err
				}
				return rolledBack
			})
			if err != rolledBack {
				t.Fatal(err)
			}
			err = db.Update(ctx, func(tx *store.Tx) error {
				return tx.Publish(ctx, event.Record{ID: id, JSON: []byte("{}")})
			})
			if err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != id {
				t.Fatalf("relayed %q, want %q", g, id)
			}
		}
		cancel()
		wg.Wait()
	})
}
