package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
)

func TestTwoWritersOnTheSameKeyLoseNothing(t *testing.T) {
	t.Parallel()
	const writers, rounds = 4, 15
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false))
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for r := range rounds {
					// Each adds to what it read last, and to the same entity, which any of them creates.
					body := fmt.Sprintf(`{"identifier": "cart", "properties": {"config": {"w": %d, "r": %d}}, "relations": {"domain": "shop"}}`, i, r)
					own := fmt.Sprintf(`{"identifier": "own%d", "properties": {"replicas": %d}, "relations": {"domain": "shop"}}`, i, r)
					results, err := w.Apply(t.Context(), w.w, []EntityChange{upsert(t, "service", body, true), upsert(t, "service", own, true)}, ApplyOptions{})
					if err != nil || results[0].Err != nil || results[1].Err != nil {
						t.Errorf("%v, %+v", err, results)
						return
					}
				}
			})
		}
		wg.Wait()
		if e := w.entity("service", "cart"); e.Revision != writers*rounds {
			t.Errorf("the revision is %d, want %d", e.Revision, writers*rounds)
		}
		h, err := w.History(t.Context(), "service", "cart", 0, 1000)
		if err != nil || len(h) != writers*rounds {
			t.Fatalf("%d changes, %v", len(h), err)
		}
		for i := range h[:len(h)-1] {
			before, after := h[i].Fields["properties.config"].Before, h[i+1].Fields["properties.config"].After
			if !sameJSON(before, after) {
				t.Errorf("change %d says it was %s before, which had become %s", i, before, after)
			}
		}
		for i := range writers {
			w.want("service", fmt.Sprintf("own%d", i), fmt.Sprintf(`{"properties": {"tier": "gold", "replicas": %d}}`, rounds-1))
		}
		if n := w.count("catalog_relations"); n != writers+1 {
			t.Errorf("%d relations", n)
		}
	})
}

// Whatever order they come in: an entity that is there has its required target, and no
// relation points to nothing.
func TestDeletesAndWritesOfRelatedEntitiesAtOnce(t *testing.T) {
	t.Parallel()
	const rounds = 25
	onBoth(t, func(t *testing.T, w *world) {
		accept := func(r ChangeResult) {
			if e, ok := errors.AsType[*Error](r.Err); r.Err != nil && (!ok || e.Code != CodeNotFound && e.Code != CodeHasDependents) {
				t.Errorf("%+v", r.Err)
			}
		}
		var wg sync.WaitGroup
		run := func(changes func(r int) EntityChange) {
			wg.Go(func() {
				for r := range rounds {
					results, err := w.Apply(t.Context(), w.w, []EntityChange{changes(r)}, ApplyOptions{})
					if err != nil {
						t.Error(err)
						return
					}
					accept(results[0])
				}
			})
		}
		run(func(int) EntityChange { return upsert(t, "service", `{"identifier": "cart"}`, false) })
		run(func(r int) EntityChange {
			return upsert(t, "pod", fmt.Sprintf(`{"identifier": "p%d", "relations": {"service": "cart"}}`, r%5), false)
		})
		run(func(r int) EntityChange {
			return upsert(t, "service", fmt.Sprintf(`{"identifier": "s%d", "relations": {"uses": ["cart"]}}`, r%5), false)
		})
		run(func(r int) EntityChange { return remove("service", "cart", r%2 == 0) })
		wg.Wait()
		w.consistent()
		if w.get("service", "cart") == "" {
			if n := w.count("catalog_relations"); n != 0 {
				t.Errorf("%d relations to what is gone", n)
			}
		}
	})
}

// consistent checks that required relations have their target, and that the history of each entity leads to
// what there is of it.
func (w *world) consistent() {
	w.t.Helper()
	ctx := w.t.Context()
	m, err := w.model(ctx, w.db)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, b := range m.sorted() {
		rows, err := entityRowsAfter(ctx, w.db, b.id, "", 10_000)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, row := range rows {
			e := w.entity(b.Identifier, row.identifier)
			for key, rel := range b.Relations {
				if rel.Required && e.Relations[key] == nil {
					w.t.Errorf("%s %s has no %s", b.Identifier, e.Identifier, key)
				}
			}
			h, err := w.History(ctx, b.Identifier, e.Identifier, 0, 1)
			if err != nil || len(h) == 0 || h[0].Action == ActionDelete {
				w.t.Errorf("the history of %s %s ends in %+v, %v", b.Identifier, e.Identifier, h, err)
			}
		}
	}
}

func TestBlueprintsThatChangeUnderWriters(t *testing.T) {
	t.Parallel()
	const rounds = 12
	onBoth(t, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		wg.Go(func() {
			for r := range rounds {
				body := fmt.Sprintf(`{"identifier": "domain", "title": "D%d", "schema": {"properties": {"rank": {"type": "number", "maximum": %d}}}}`, r, 1000+r)
				if _, err := w.PutBlueprint(t.Context(), w.w, "domain", json.RawMessage(body)); err != nil {
					t.Error(err)
				}
			}
		})
		for i := range 2 {
			wg.Go(func() {
				for r := range rounds {
					results, err := w.Apply(t.Context(), w.w, []EntityChange{
						upsert(t, "domain", fmt.Sprintf(`{"identifier": "d%d-%d", "properties": {"rank": %d}}`, i, r, r), false),
					}, ApplyOptions{})
					if err != nil || results[0].Err != nil {
						t.Errorf("%v, %+v", err, results)
					}
				}
			})
		}
		wg.Go(func() {
			for range rounds {
				raw := json.RawMessage(`{"identifier": "brief", "title": "B", "schema": {"properties": {}}}`)
				if _, err := w.CreateBlueprint(t.Context(), w.w, raw); err != nil && !isRefusal(err) {
					t.Error(err)
				}
				if err := w.DeleteBlueprint(t.Context(), w.w, "brief"); err != nil && !isRefusal(err) {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for r := range rounds {
				results, err := w.Apply(t.Context(), w.w, []EntityChange{upsert(t, "brief", fmt.Sprintf(`{"identifier": "b%d"}`, r), false)}, ApplyOptions{})
				if err != nil {
					t.Error(err)
					return
				}
				if e, ok := errors.AsType[*Error](results[0].Err); results[0].Err != nil && (!ok || e.Code != CodeNotFound) {
					t.Error(results[0].Err)
				}
			}
		})
		wg.Wait()
		w.consistent()
	})
}

func TestFailureAtAnyStepLeavesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "a"}`, false), upsert(t, "service", `{"identifier": "s", "relations": {"domain": "a"}}`, false))
		before := w.trace()
		down := errors.New("the database is down")
		ctx := store.WithHook(t.Context(), func(context.Context, *store.Tx) error { return down })
		_, err := w.Apply(ctx, w.w, []EntityChange{
			upsert(t, "domain", `{"identifier": "b"}`, false), patch(t, "service", "s", `{"identifier": "t", "relations": {"domain": "b"}}`), remove("domain", "a", true),
		}, ApplyOptions{})
		if !errors.Is(err, down) {
			t.Errorf("the error is %v", err)
		}
		if _, err := w.PatchBlueprint(ctx, w.w, "domain", json.RawMessage(`{"title": "X"}`)); !errors.Is(err, down) {
			t.Errorf("the error is %v", err)
		}
		for table, n := range w.trace() {
			if n != before[table] {
				t.Errorf("%s has %d rows, had %d", table, n, before[table])
			}
		}
		w.want("service", "s", `{"relations": {"domain": "a", "uses": []}}`)
		if b, err := w.Blueprint(t.Context(), "domain"); err != nil || b.Title != "Domain" {
			t.Errorf("%+v, %v", b, err)
		}
	})
}
