package exporter

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// TestTheEntitiesEqualTheCloudInTheEnd: whatever the order, delay, loss and
// duplication of events, however reads and syncs interleave with them, and wherever
// the process dies.
func TestTheEntitiesEqualTheCloudInTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	run := 0
	for _, mode := range []struct {
		name                          string
		transactional, lose, readable bool
	}{
		{"events in any order", true, false, true},
		{"events lost, found by a sync", true, true, true},
		{"a sink without transactions", false, false, true},
		{"a sink without transactions, events lost", false, true, true},
	} {
		t.Run(mode.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				run++
				m := newOrderModel(w, run, mode.transactional)
				m.unreadable = !mode.readable
				if err := m.x.takeOver(t.Context()); err != nil {
					t.Fatal(err)
				}
				t.Repeat(map[string]func(*rapid.T){
					"the cloud moves on": m.change,
					"an event arrives":   m.arrive,
					"reads are applied":  m.land,
					"time passes":        func(t *rapid.T) { m.tick(t, 20*time.Second) },
					"a sync lists":       m.list,
					"a sync stores":      m.store,
					"something is due":   m.recheck,
					"the process dies":   m.die,
				})
				m.settle(t, mode.lose)
				m.check(t)
			})
		})
	}
}

func newOrderModel(w *world, run int, transactional bool) *orderModel {
	m := &orderModel{w: w, run: run, clock: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(run) * 24 * time.Hour)}
	m.sink = &crashingSink{w: w, at: -1, stored: map[catalog.EntityRef]map[string]any{}}
	if transactional {
		m.sink.below = w.sink
	}
	// What an earlier run left due would be drawn by this one, which then could not be run again.
	err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(w.t.Context(), `UPDATE exporter_resources SET recheck_at = 0 WHERE recheck_at > 0`)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	m.x = w.node("model")
	m.x.o.Now = func() time.Time { return m.clock }
	m.x.o.Sink = m.sink
	for i := range 3 {
		m.truth = append(m.truth, &modelResource{key: thing(fmt.Sprintf("r-%d-%d", run, i)), name: m.entityName(i)})
	}
	return m
}

// TestWhereNothingCanBeReadTheLatestEventDecides: whatever the order and duplication
// of events, what was deleted last is gone, and what no event says was deleted is there.
func TestWhereNothingCanBeReadTheLatestEventDecides(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		m := newOrderModel(w, 1_000_000+run, true)
		if err := m.x.takeOver(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.x.o.Reader = modelReader{m, t}
		r := m.truth[0]
		r.present, r.size = true, 1
		m.apply(t, []*modelRead{{m.see(t, m.x.newRead(r.key)), -1}})
		for known := w.resource(r.key); known == nil || len(known.Entities) == 0; known = w.resource(r.key) {
			m.clock = m.clock.Add(time.Minute)
			m.apply(t, []*modelRead{{m.see(t, m.x.newRead(r.key)), -1}})
		}
		m.unreadable = true
		deleted := rapid.SliceOfN(rapid.Bool(), 1, 6).Draw(t, "deletes")
		for _, d := range deleted {
			m.clock = m.clock.Add(time.Minute)
			m.events = append(m.events, modelEvent{delete: d, at: m.clock, entity: r.name})
		}
		order := rapid.Permutation(slices.Repeat([]int{0, 1, 2, 3, 4, 5}, 2)).Draw(t, "order")
		for _, i := range order {
			if i < len(m.events) {
				m.receive(t, i)
				for len(m.flying) > 0 {
					m.land(t)
				}
			}
			m.unsent = nil
		}
		for i := range m.events { // those that were lost when the process died come again
			m.receive(t, i)
			m.sink.crashAt(-1)
			for _, f := range m.flying {
				if _, err := m.x.apply(t.Context(), []Read{f.read}, catalog.Cause{}, applyOptions{NoRecheck: true}); err != nil {
					t.Fatal(err)
				}
			}
			m.flying = nil
		}
		_, found := m.sink.entity(t, r.name)
		switch {
		case deleted[len(deleted)-1] && found:
			t.Fatalf("it was deleted last and is there: %v%s", deleted, m.dump(t))
		case !slices.Contains(deleted, true) && !found:
			t.Fatalf("nothing says that it was deleted, and it is gone: %v%s", deleted, m.dump(t))
		}
	})
}
