package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestDeleteEmptiesRelationsAndRefusesDependents(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false), upsert(t, "domain", `{"identifier": "bank"}`, false),
			upsert(t, "service", `{"identifier": "cart", "relations": {"domain": "shop"}}`, false),
			upsert(t, "pod", `{"identifier": "p1", "relations": {"service": "cart", "hosts": ["shop", "bank"]}}`, false),
			upsert(t, "pod", `{"identifier": "p2", "relations": {"service": "cart"}}`, false))
		storetest.TakeOutbox(t, w.db)

		t.Run("a relation that is not required becomes empty, with history", func(t *testing.T) {
			r := w.do(remove("domain", "shop", false))[0]
			if !r.Deleted || r.Entity == nil || len(r.Also) != 0 {
				t.Errorf("%+v", r)
			}
			w.want("service", "cart", `{"relations": {"domain": null, "uses": []}}`)
			w.want("pod", "p1", `{"relations": {"service": "cart", "hosts": ["bank"]}}`)
			h, err := w.History(t.Context(), "service", "cart", 0, 1)
			if err != nil || string(h[0].Fields["relations.domain"].Before) != `"shop"` || h[0].Cause.Why == "" || h[0].Cause.Origin != "api" {
				t.Errorf("history %+v, %v", h, err)
			}
			if types := eventTypes(t, w); !slices.Equal(types, []string{"entity.deleted", "entity.updated", "entity.updated"}) {
				t.Errorf("events %v", types)
			}
		})
		t.Run("dependents refuse it", func(t *testing.T) {
			before := w.trace()
			refused(t, w.try(remove("service", "cart", false))[0].Err, CodeHasDependents, "has_dependents", "cart", "service")
			if after := w.trace(); !maps.Equal(before, after) {
				t.Errorf("something was written: %v, before %v", after, before)
			}
		})
		t.Run("or go with it", func(t *testing.T) {
			r := w.do(remove("service", "cart", true))[0]
			slices.SortFunc(r.Also, func(a, b EntityRef) int { return int(a.Identifier[1]) - int(b.Identifier[1]) })
			if !slices.Equal(r.Also, []EntityRef{{"pod", "p1"}, {"pod", "p2"}}) {
				t.Errorf("also %v", r.Also)
			}
			for _, id := range []string{"p1", "p2"} {
				if w.get("pod", id) != "" {
					t.Errorf("pod %s is there", id)
				}
			}
			if n := w.count("catalog_relations"); n != 0 {
				t.Errorf("%d relations are left", n)
			}
			h, err := w.History(t.Context(), "pod", "p1", 0, 1)
			if err != nil || h[0].Action != ActionDelete || !strings.Contains(h[0].Cause.Why, "cart") {
				t.Errorf("history %+v, %v", h, err)
			}
		})
		t.Run("dependents that go before it in the same batch are none", func(t *testing.T) {
			w.do(upsert(t, "service", `{"identifier": "cart"}`, false), upsert(t, "pod", `{"identifier": "p1", "relations": {"service": "cart"}}`, false))
			w.do(remove("pod", "p1", false), remove("service", "cart", false))
		})
		t.Run("dependents that come before it in the same batch are some", func(t *testing.T) {
			w.do(upsert(t, "service", `{"identifier": "cart"}`, false))
			results := w.try(upsert(t, "pod", `{"identifier": "p1", "relations": {"service": "cart"}}`, false), remove("service", "cart", false))
			refused(t, results[1].Err, CodeHasDependents, "p1")
			r := w.do(upsert(t, "pod", `{"identifier": "p3", "relations": {"service": "cart"}}`, false), remove("service", "cart", true))[1]
			if len(r.Also) != 2 || w.get("pod", "p3") != "" {
				t.Errorf("also %v", r.Also)
			}
		})
	})
}

func eventTypes(t *testing.T, w *world) []string {
	t.Helper()
	var types []string
	for _, rec := range storetest.TakeOutbox(t, w.db) {
		var e struct {
			Type string `json:"detail-type"`
		}
		if err := json.Unmarshal(rec.JSON, &e); err != nil {
			t.Fatal(err)
		}
		types = append(types, e.Type)
	}
	return types
}

func TestRequiredRelationToManyDependsOnItsLastTarget(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		if _, err := w.CreateBlueprint(t.Context(), w.w, json.RawMessage(`{"identifier": "team", "title": "T", "schema": {"properties": {}},
			"relations": {"in": {"target": "domain", "many": true, "required": true}}}`)); err != nil {
			t.Fatal(err)
		}
		w.do(upsert(t, "domain", `{"identifier": "a"}`, false), upsert(t, "domain", `{"identifier": "b"}`, false),
			upsert(t, "team", `{"identifier": "x", "relations": {"in": ["a", "b"]}}`, false))
		w.do(remove("domain", "a", false))
		w.want("team", "x", `{"relations": {"in": ["b"]}}`)
		refused(t, w.try(remove("domain", "b", false))[0].Err, CodeHasDependents, "x")
		w.do(remove("domain", "b", true))
		if w.get("team", "x") != "" {
			t.Error("the team is there")
		}
	})
}

func TestCyclesOfRequiredRelationsGoTogether(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		if _, err := w.CreateBlueprint(t.Context(), w.w, json.RawMessage(`{"identifier": "ring", "title": "R", "schema": {"properties": {}},
			"relations": {"next": {"target": "ring", "required": true}}}`)); err != nil {
			t.Fatal(err)
		}
		w.do(upsert(t, "ring", `{"identifier": "a", "relations": {"next": "a"}}`, false),
			upsert(t, "ring", `{"identifier": "b", "relations": {"next": "a"}}`, false),
			upsert(t, "ring", `{"identifier": "c", "relations": {"next": "b"}}`, false),
			patch(t, "ring", "a", `{"relations": {"next": "c"}}`))
		refused(t, w.try(remove("ring", "b", false))[0].Err, CodeHasDependents, "c")
		if r := w.do(remove("ring", "b", true))[0]; len(r.Also) != 2 {
			t.Errorf("also %v", r.Also)
		}
		w.do(upsert(t, "ring", `{"identifier": "self", "relations": {"next": "self"}}`, false))
		w.do(remove("ring", "self", false))
		if n := w.count("catalog_entities"); n != 0 {
			t.Errorf("%d entities are left", n)
		}
	})
}

// fill creates entities whose bodies are made from a number.
func (w *world) fill(blueprint string, n int, body string) {
	w.t.Helper()
	for from := 0; from < n; from += MaxChanges {
		var changes []EntityChange
		for i := from; i < min(n, from+MaxChanges); i++ {
			changes = append(changes, upsert(w.t, blueprint, fmt.Sprintf(body, i), false))
		}
		w.do(changes...)
	}
}

func TestLargeDeletesGoInSeveralTransactions(t *testing.T) {
	t.Parallel()
	const many = 5*maxFan + 7
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false), upsert(t, "service", `{"identifier": "cart"}`, false))
		w.fill("service", many, `{"identifier": "s%d", "relations": {"domain": "shop"}}`)
		w.fill("pod", many, `{"identifier": "p%d", "relations": {"service": "cart"}}`)
		t.Run("many relations become empty", func(t *testing.T) {
			w.do(remove("domain", "shop", false))
			if w.get("domain", "shop") != "" {
				t.Error("it is there")
			}
			w.want("service", fmt.Sprintf("s%d", many-1), `{"relations": {"domain": null, "uses": []}}`)
			if n := w.count("catalog_relations"); n != many {
				t.Errorf("%d relations are left", n)
			}
		})
		t.Run("many dependents refuse it", func(t *testing.T) {
			before := w.trace()
			refused(t, w.try(remove("service", "cart", false))[0].Err, CodeHasDependents, "cart")
			if after := w.trace(); !maps.Equal(before, after) {
				t.Errorf("something was written: %v, before %v", after, before)
			}
		})
		t.Run("and can be validated", func(t *testing.T) {
			results, err := w.Apply(t.Context(), w.w, []EntityChange{remove("service", "cart", true)}, ApplyOptions{ValidateOnly: true})
			if err != nil || !results[0].Deleted {
				t.Errorf("%+v, %v", results, err)
			}
		})
		t.Run("or go with it", func(t *testing.T) {
			w.do(remove("service", "cart", true))
			if n := w.count("catalog_relations"); n != 0 {
				t.Errorf("%d relations are left", n)
			}
			if n := w.count("catalog_entities"); n != many {
				t.Errorf("%d entities are left, want the %d services", n, many)
			}
		})
	})
}

// Each of the deletes is small enough by itself.
func TestDeletesOfABatchAreSmallTogether(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		const many, each = 20, 100
		check := func(what string, deletes []EntityChange, o ApplyOptions) {
			seen, largest := w.count("catalog_changes"), 0
			ctx := store.WithHook(t.Context(), func(ctx context.Context, tx *store.Tx) error {
				var n int
				err := tx.QueryRow(ctx, `SELECT count(*) FROM catalog_changes`).Scan(&n)
				largest, seen = max(largest, n-seen), n
				return err
			})
			results, err := w.Apply(ctx, w.w, deletes, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				if r.Err != nil || !r.Deleted {
					t.Errorf("%s: %s: %+v", what, r.Identifier, r)
				}
			}
			if most := 2*maxFan + len(deletes); largest > most {
				t.Errorf("%s: a transaction changes %d entities, more than %d", what, largest, most)
			}
		}
		var withPods, domains []EntityChange
		for i := range many {
			name := fmt.Sprintf("s%d", i)
			w.do(upsert(t, "service", fmt.Sprintf(`{"identifier": %q}`, name), false), upsert(t, "domain", fmt.Sprintf(`{"identifier": %q}`, name), false))
			w.fill("pod", each, `{"identifier": "`+name+`-%d", "relations": {"service": "`+name+`", "hosts": ["`+name+`"]}}`)
			withPods, domains = append(withPods, remove("service", name, true)), append(domains, remove("domain", name, false))
		}
		check("relations to them are emptied", domains, ApplyOptions{Separate: true})
		if n := w.count("catalog_relations"); n != many*each {
			t.Errorf("%d relations are left", n)
		}
		check("their dependents go", withPods, ApplyOptions{})
		if n := w.count("catalog_entities"); n != 0 {
			t.Errorf("%d entities are left", n)
		}
	})
}

func TestStubsAreMadeForMissingRelatedEntities(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		ch := upsert(t, "pod", `{"identifier": "p1", "relations": {"service": "cart/1", "hosts": ["a", "b", "a"]}}`, true)
		ch.CreateMissingRelated = true
		w.do(ch)
		w.want("pod", "p1", `{"relations": {"service": "cart/1", "hosts": ["a", "b"]}}`)
		w.want("service", "cart/1", `{"title": null, "properties": {}}`)
		if types := eventTypes(t, w); !slices.Equal(types[len(types)-4:], []string{"entity.created", "entity.created", "entity.created", "entity.created"}) {
			t.Errorf("events %v", types)
		}
		t.Run("a change that is refused leaves no stub", func(t *testing.T) {
			bad := upsert(t, "pod", `{"identifier": "p2", "relations": {"hosts": ["c"]}}`, true)
			bad.CreateMissingRelated = true
			refused(t, w.try(bad)[0].Err, CodeValidation, "relations.service")
			if w.get("domain", "c") != "" {
				t.Error("there is a stub")
			}
		})
		t.Run("a stub is completed later", func(t *testing.T) {
			w.do(upsert(t, "service", `{"identifier": "cart/1", "title": "Cart"}`, true))
			w.want("service", "cart/1", `{"title": "Cart", "properties": {"tier": "gold"}}`)
		})
	})
}

func TestStubsOfOneEntityAreBounded(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		targets := func(n int) []any {
			list := make([]any, n)
			for i := range list {
				list[i] = fmt.Sprintf("t%d", i)
			}
			return list
		}
		ch := upsert(t, "service", `{"identifier": "cart"}`, true)
		ch.CreateMissingRelated = true
		ch.Entity.Relations = map[string]any{"uses": targets(maxTargets), "domain": "shop"}
		before := w.trace()
		refused(t, w.try(ch)[0].Err, CodeInvalidRequest, "cart", "1000")
		if after := w.trace(); !maps.Equal(before, after) {
			t.Errorf("something was written: %v, before %v", after, before)
		}
		ch.Entity.Relations["uses"] = targets(maxStubs - 1)
		w.do(ch)
	})
}

func TestSearchRulesInWrites(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "d1", "title": "One", "properties": {"rank": 1}}`, false),
			upsert(t, "domain", `{"identifier": "d2", "title": "Two", "properties": {"rank": 2}}`, false))
		byTitle := `{"combinator": "and", "rules": [{"property": "$title", "operator": "=", "value": "%s"}]}`
		w.do(upsert(t, "service", `{"identifier": "s", "relations": {"domain": `+fmt.Sprintf(byTitle, "Two")+`}}`, false))
		w.want("service", "s", `{"relations": {"domain": "d2", "uses": []}}`)
		r := w.do(upsert(t, "service", `{"identifier": "s", "relations": {"domain": `+fmt.Sprintf(byTitle, "Three")+`}}`, false))[0]
		if len(r.Warnings) != 1 {
			t.Errorf("warnings %q", r.Warnings)
		}
		w.want("service", "s", `{"relations": {"domain": null, "uses": []}}`)

		w.do(upsert(t, "domain", `{"identifier": `+fmt.Sprintf(byTitle, "One")+`, "properties": {"rank": 7}}`, true))
		w.want("domain", "d1", `{"properties": {"rank": 7}}`)
		none := w.try(upsert(t, "domain", `{"identifier": `+fmt.Sprintf(byTitle, "None")+`}`, true))[0]
		refused(t, none.Err, CodeNotFound, "domain")
		e, _ := errors.AsType[*Error](none.Err)
		if !maps.Equal(e.Details.(map[string]any), map[string]any{"identifier": "unknown"}) {
			t.Errorf("details %v", e.Details)
		}
		w.do(upsert(t, "domain", `{"identifier": "d3", "title": "One"}`, false))
		refused(t, w.try(upsert(t, "domain", `{"identifier": `+fmt.Sprintf(byTitle, "One")+`}`, true))[0].Err, CodeInvalidRequest, "domain")
		refused(t, w.try(upsert(t, "service", `{"identifier": "s", "relations": {"domain": `+fmt.Sprintf(byTitle, "One")+`}}`, false))[0].Err, CodeInvalidRequest, "relations.domain")
	})
}
