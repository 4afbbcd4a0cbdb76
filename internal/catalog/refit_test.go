package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/work"
)

// refit runs the job that brings entities into line.
func (w *world) refit(blueprint string) {
	w.t.Helper()
	b, err := w.Blueprint(w.t.Context(), blueprint)
	if err != nil {
		w.t.Fatal(err)
	}
	if out := w.refitJob(w.t.Context(), work.Job{Key: fmt.Sprint(b.id)}); out != work.Done() {
		w.t.Fatalf("the job ended with %+v", out)
	}
}

func (w *world) patchBlueprint(identifier, body string) {
	w.t.Helper()
	if _, err := w.PatchBlueprint(w.t.Context(), w.w, identifier, json.RawMessage(body)); err != nil {
		w.t.Fatal(err)
	}
}

func TestEntitiesAreBroughtIntoLineWithTheirBlueprint(t *testing.T) {
	t.Parallel()
	const many = 2*refitAtOnce + 5
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false))
		w.patchBlueprint("pod", `{"schema": {"properties": {"n": {"type": "number"}, "name": {"type": "string"}, "size": {"type": "string"}}},
			"relations": {"host": {"target": "domain"}}}`)
		w.fill("pod", many, `{"identifier": "p%d", "properties": {"n": 1, "name": "x", "size": "big"}, "relations": {"host": "shop"}}`)
		values, was := w.count("catalog_values"), w.entity("pod", "p7")

		w.patchBlueprint("pod", `{"schema": {"properties": {"n": {"type": "number"}, "size": {"type": "number"}}}, "relations": {}}`)
		t.Run("readers do not see what is gone, at once", func(t *testing.T) {
			w.want("pod", "p7", `{"properties": {"n": 1}, "relations": {}}`)
			w.do(remove("domain", "shop", false))
		})
		t.Run("what is gone cannot come back before", func(t *testing.T) {
			_, err := w.PatchBlueprint(t.Context(), w.w, "pod", json.RawMessage(`{"schema": {"properties": {"name": {"type": "string"}}}}`))
			refused(t, err, CodeInvalidRequest, "name", "pod", "again")
		})
		t.Run("entities that are written meanwhile are in line", func(t *testing.T) {
			w.do(upsert(t, "pod", `{"identifier": "p7", "properties": {"size": 3}}`, true))
			w.want("pod", "p7", `{"properties": {"n": 1, "size": 3}}`)
		})
		w.refit("pod")
		if n := w.count("catalog_values"); n != values-2*many {
			t.Errorf("the index has %d values, had %d", n, values) // one of p7 more, one of the domain less
		}
		var text string
		if err := w.db.QueryRow(t.Context(), `SELECT properties FROM catalog_entities WHERE identifier = 'p9'`).Scan(&text); err != nil || strings.Contains(text, "big") || strings.Contains(text, "name") {
			t.Errorf("stored is %s, %v", text, err)
		}
		w.patchBlueprint("pod", `{"schema": {"properties": {"n": {"type": "number"}, "name": {"type": "string"}, "size": {"type": "number"}}}}`)
		w.want("pod", "p9", `{"properties": {"n": 1}}`)
		w.want("pod", "p7", `{"properties": {"n": 1, "size": 3}}`)
		if e := w.entity("pod", "p9"); e.UpdatedAt.After(was.UpdatedAt.Add(1e12)) || e.Datasource != "test/1" {
			t.Errorf("%+v", e)
		}
		h, err := w.History(t.Context(), "pod", "p9", 0, 0)
		if err != nil || len(h) != 1 {
			t.Errorf("%d changes, %v", len(h), err)
		}
	})
}

func TestRelationsThatAreRemovedAreGone(t *testing.T) {
	t.Parallel()
	const many = refitAtOnce + 3
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "shop"}`, false))
		w.fill("service", many, `{"identifier": "s%d", "relations": {"domain": "shop", "uses": ["s%[1]d"]}}`)
		w.patchBlueprint("service", `{"relations": {"uses": {"target": "service", "many": true}}}`)
		w.want("service", "s1", `{"relations": {"uses": ["s1"]}}`)
		t.Run("a relation made again begins empty", func(t *testing.T) {
			w.patchBlueprint("service", `{"relations": {"domain": {"target": "domain", "required": true}, "uses": {"target": "service", "many": true}}}`)
			w.want("service", "s1", `{"relations": {"domain": null, "uses": ["s1"]}}`)
		})
		w.refit("service")
		if n := w.count("catalog_relations"); n != many {
			t.Errorf("%d relations, want %d", n, many)
		}
		t.Run("a relation to another blueprint begins empty, too", func(t *testing.T) {
			w.patchBlueprint("service", `{"relations": {"uses": {"target": "domain", "many": true}}}`)
			w.want("service", "s1", `{"relations": {"uses": []}}`)
			w.refit("service")
			if n := w.count("catalog_relations"); n != 0 {
				t.Errorf("%d relations are left", n)
			}
		})
		t.Run("of many one is seen when it is to one", func(t *testing.T) {
			w.do(upsert(t, "domain", `{"identifier": "bank"}`, false), patch(t, "service", "s1", `{"relations": {"uses": ["shop", "bank"]}}`))
			w.patchBlueprint("service", `{"relations": {"uses": {"target": "domain"}}}`)
			w.want("service", "s1", `{"relations": {"uses": "shop"}}`)
			w.do(patch(t, "service", "s1", `{"relations": {"uses": "bank"}}`))
			w.want("service", "s1", `{"relations": {"uses": "bank"}}`)
		})
		if out := w.refitJob(t.Context(), work.Job{Key: "x"}); out == work.Done() {
			t.Error("a job of no blueprint is done")
		}
	})
}

func TestRelationThatIsNoLongerToManyIsSearchedAsItIsShown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.patchBlueprint("domain", `{"schema": {"properties": {"tier": {"type": "string"}}}}`)
		w.do(upsert(t, "domain", `{"identifier": "one"}`, false), upsert(t, "domain", `{"identifier": "two", "properties": {"tier": "gold"}}`, false),
			upsert(t, "service", `{"identifier": "s"}`, false))
		w.do(upsert(t, "pod", `{"identifier": "p", "relations": {"service": "s", "hosts": ["one", "two"]}}`, false))
		w.patchBlueprint("pod", `{"relations": {"service": {"target": "service", "required": true}, "hosts": {"target": "domain", "many": false}},
			"mirrorProperties": {"tier": {"path": "hosts.tier"}}}`)
		w.want("pod", "p", `{"relations": {"service": "s", "hosts": "one"}}`)
		page, err := w.Search(t.Context(), &Query{root: &rule{combinator: combineAnd}}, SearchOptions{Blueprint: "pod"})
		if err == nil {
			err = w.compute(t.Context(), page.Entities)
		}
		if err != nil || page.Entities[0].Properties["tier"] != nil {
			t.Errorf("the mirror property shows %v: %v", page.Entities, err)
		}
		for rule, want := range map[string][]string{
			`{"relation": "hosts", "operator": "=", "value": "one"}`:                                          {"pod/p"},
			`{"relation": "hosts", "operator": "=", "value": "two"}`:                                          {},
			`{"operator": "relatedTo", "blueprint": "domain", "value": "one", "direction": "downstream"}`:     {"pod/p"},
			`{"operator": "relatedTo", "blueprint": "domain", "value": "two"}`:                                {},
			`{"operator": "relatedTo", "blueprint": "pod", "value": "p", "direction": "upstream"}`:            {"domain/one", "service/s"},
			`{"operator": "matchAny", "property": {"path": ["hosts"]}, "value": "two"}`:                       {},
			`{"operator": "matchAny", "property": {"path": ["hosts"], "fromBlueprint": "pod"}, "value": "p"}`: {"domain/one"},
		} {
			q, err := ParseQuery([]byte(`{"combinator": "and", "rules": [` + rule + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			o := SearchOptions{}
			if strings.Contains(rule, `"relation"`) {
				o.Blueprint = "pod"
			}
			page, err := w.Search(t.Context(), q, o)
			if diff := cmp.Diff(want, names(page.Entities)); diff != "" || err != nil {
				t.Errorf("%s: %v %s", rule, err, diff)
			}
		}
	})
}
