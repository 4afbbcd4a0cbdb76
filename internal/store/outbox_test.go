package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// relay runs the outbox until the test ends, or stop is called.
func relay(t *testing.T, db *store.DB, put func(context.Context, []event.Record) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := db.RunOutbox(ctx, put); !errors.Is(err, context.Canceled) {
			t.Errorf("RunOutbox = %v", err)
		}
	})
	stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return stop
}

func publish(t *testing.T, db *store.DB, recs ...event.Record) {
	t.Helper()
	err := db.Update(context.Background(), func(tx *store.Tx) error { return tx.Publish(context.Background(), recs...) })
	if err != nil {
		t.Fatal(err)
	}
}

func record(id string) event.Record {
	return event.Record{
		Bus: event.BusRef{Account: "000000000000", Region: "eu-central-1", Name: "default"}, ID: id,
		Accepted: time.UnixMilli(1700000000123).UTC(), JSON: []byte(`{"detail":{"名":"值 🚀"}}`),
	}
}

func waitEmpty(t *testing.T, db *store.DB) {
	t.Helper()
	eventually(t, "the outbox is empty", func() bool {
		n, err := db.OutboxLen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

func TestOutboxRelaysWhatWasCommitted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		got := make(chan event.Record, 100)
		relay(t, db, func(_ context.Context, recs []event.Record) error {
			for _, r := range recs {
				got <- r
			}
			return nil
		})
		rolledBack := errors.New("no")
		for i := range 5 {
			id := fmt.Sprint("event ", i)
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				if err := tx.Publish(t.Context(), record("not "+id)); err != nil {
					return err
				}
				return rolledBack
			})
			if err != rolledBack {
				t.Fatal(err)
			}
			publish(t, db, record(id))
			if diff := cmp.Diff(record(id), receive(t, got)); diff != "" {
				t.Fatal(diff)
			}
		}
		waitEmpty(t, db)
	})
}

func TestOutboxRelaysInOrderAndInChunks(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		var want []string
		for i := range 12 {
			recs := make([]event.Record, 60)
			for k := range recs {
				recs[k] = record(fmt.Sprint(i, ".", k))
				want = append(want, recs[k].ID)
			}
			publish(t, db, recs...)
		}
		var got []string
		all := make(chan struct{})
		stop := relay(t, db, func(_ context.Context, recs []event.Record) error {
			if len(recs) > 256 {
				t.Errorf("%d at once", len(recs))
			}
			for _, r := range recs {
				got = append(got, r.ID)
			}
			if len(got) == len(want) {
				close(all)
			}
			return nil
		})
		receive(t, all)
		waitEmpty(t, db)
		stop()
		if !slices.Equal(got, want) {
			t.Fatalf("relayed %v", got)
		}
	})
}

func TestOutboxHandsOverNoMoreBytesThanTheLogTakes(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		var recs []event.Record
		for i, size := range []int{700_000, 700_000, 1_500_000, 100, 100} {
			r := record(fmt.Sprint("id-", i))
			r.JSON = fmt.Appendf(nil, "%q", strings.Repeat("x", size))
			recs = append(recs, r)
		}
		publish(t, db, recs...)
		var mu sync.Mutex
		var calls [][]string
		relay(t, db, func(_ context.Context, recs []event.Record) error {
			var ids []string
			for _, r := range recs {
				ids = append(ids, r.ID)
			}
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, ids)
			return nil
		})
		waitEmpty(t, db)
		mu.Lock()
		defer mu.Unlock()
		want := [][]string{{"id-0"}, {"id-1"}, {"id-2"}, {"id-3", "id-4"}}
		if diff := cmp.Diff(want, calls); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOutboxKeepsWhatCouldNotBeHandedOver(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		tries := make(chan []event.Record, 100)
		n := 0
		stop := relay(t, db, func(_ context.Context, recs []event.Record) error {
			tries <- recs
			if n++; n < 3 {
				return errors.New("the log is full")
			}
			return nil
		})
		publish(t, db, record("a"), record("b"))
		for range 3 {
			if recs := receive(t, tries); len(recs) != 2 || recs[0].ID != "a" || recs[1].ID != "b" {
				t.Fatalf("tried %v", recs)
			}
		}
		waitEmpty(t, db)
		stop()
		publish(t, db, record("c")) // with no relay running
		relay(t, db, func(_ context.Context, recs []event.Record) error {
			tries <- recs
			return nil
		})
		if recs := receive(t, tries); len(recs) != 1 || recs[0].ID != "c" {
			t.Fatalf("relayed %v", recs)
		}
	})
}

func TestPublishRefusesAnEventWithoutID(t *testing.T) {
	db := storetest.SQLite(t)
	err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Publish(t.Context(), event.Record{}) })
	if err == nil {
		t.Fatal("accepted")
	}
}

// What a stopped node left behind is relayed by another, but not before it's old enough
// that the node itself will not do it.
func TestOutboxOfAStoppedNodeIsRelayedByAnother(t *testing.T) {
	url := storetest.PostgresURL(t)
	open := func() *store.DB {
		db, err := store.Open(t.Context(), store.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	stopped, other := open(), open()
	publish(t, stopped, record("old"))
	if err := execStmt(t.Context(), stopped, `UPDATE outbox SET created_at = created_at - 60000`); err != nil {
		t.Fatal(err)
	}
	publish(t, stopped, record("young"))
	if err := stopped.Close(); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	relay(t, other, func(_ context.Context, recs []event.Record) error {
		for _, r := range recs {
			got <- r.ID
		}
		return nil
	})
	if id := receive(t, got); id != "old" {
		t.Fatalf("relayed %q", id)
	}
	publish(t, other, record("own"))
	if id := receive(t, got); id != "own" {
		t.Fatalf("relayed %q", id)
	}
}

func TestTheSizeOfTheOutbox(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		if n, size, err := db.OutboxSize(t.Context()); err != nil || n != 0 || size != 0 {
			t.Errorf("of nothing: %d events, %d bytes, %v", n, size, err)
		}
		want := int64(0)
		for _, id := range []string{"a", "b", "订单"} {
			rec := record(id)
			want += int64(len(rec.Append(nil)))
			if err := db.Update(t.Context(), func(tx *store.Tx) error { return tx.Publish(t.Context(), rec) }); err != nil {
				t.Fatal(err)
			}
		}
		if n, size, err := db.OutboxSize(t.Context()); err != nil || n != 3 || size != want {
			t.Errorf("%d events, %d bytes, %v, want 3 and %d", n, size, err, want)
		}
	})
}
