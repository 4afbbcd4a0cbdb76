package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// aggregates computes what is due and returns a property of all entities of a blueprint.
func (w *searchWorld) aggregated(t *testing.T, blueprint, property string) map[string]any {
	t.Helper()
	if err := w.aggregateDue(context.Background(), map[aggregateOf]*pace{}); err != nil {
		t.Fatal(err)
	}
	list := w.all(t, nil, SearchOptions{Blueprint: blueprint})
	if err := w.compute(context.Background(), list); err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for _, e := range list {
		values[e.Identifier] = e.Properties[property]
	}
	return values
}

func (w *searchWorld) aggregation(t *testing.T, blueprint, property, definition string) {
	t.Helper()
	aggregations := "{}"
	if definition != "" {
		aggregations = fmt.Sprintf(`{%q: %s}`, property, definition)
	}
	raw := fmt.Sprintf(`{"aggregationProperties": %s}`, aggregations)
	if _, err := w.PatchBlueprint(context.Background(), Writer{By: "test"}, blueprint, json.RawMessage(raw)); err != nil {
		t.Fatal(err)
	}
}

func TestAggregationProperties(t *testing.T) {
	t.Parallel()
	byPath := `"pathFilter": [{"fromBlueprint": "service", "path": ["team"]}]`
	ofReplicas := func(fn string) string {
		return `{"title": "A", "target": "service", "calculationSpec": {"func": "` + fn + `", "calculationBy": "property", "property": "replicas", "averageOf": "total"}, ` + byPath + `}`
	}
	deployments := func(per string) string {
		return `{"title": "A", "target": "deployment", "calculationSpec": {"func": "average", "calculationBy": "entities", "averageOf": "` + per + `", "measureTimeBy": "finished"}}`
	}
	type values = map[string]any
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		for name, c := range map[string]struct {
			blueprint, definition string
			want                  values
		}{
			"count of whatever leads there, over any relations": {"team", `{"title": "A", "target": "service", "calculationSpec": {"func": "count", "calculationBy": "entities"}}`,
				values{"core": 4.0, "web": 1.0, "ops": 1.0}},
			"count along a path from the target": {"team", `{"title": "A", "target": "service", "calculationSpec": {"func": "count", "calculationBy": "entities"}, ` + byPath + `}`,
				values{"core": 2.0, "web": 1.0, "ops": 1.0}},
			"count along a path of its own": {"service", `{"title": "A", "target": "region", "calculationSpec": {"func": "count", "calculationBy": "entities"}, "pathFilter": [{"path": ["regions"]}]}`,
				values{"auth": 2.0, "api": 1.0, "web": 0.0, "billing": 0.0, "支付": 0.0}},
			"count along a path of two": {"service", `{"title": "A", "target": "team", "calculationSpec": {"func": "count", "calculationBy": "entities"}, "pathFilter": [{"path": ["dependsOn", "team"]}]}`,
				values{"auth": 0.0, "api": 1.0, "web": 1.0, "billing": 1.0, "支付": 0.0}},
			"count of those that a query finds": {"team", `{"title": "A", "target": "service", "calculationSpec": {"func": "count", "calculationBy": "entities"}, "query": {"combinator": "and", "rules": [{"property": "tier", "operator": "=", "value": "gold"}]}}`,
				values{"core": 2.0, "web": 0.0, "ops": 0.0}},
			"count of its own kind, not of itself": {"service", `{"title": "A", "target": "service", "calculationSpec": {"func": "count", "calculationBy": "entities"}}`,
				values{"auth": 3.0, "api": 3.0, "web": 2.0, "billing": 2.0, "支付": 0.0}},
			"sum":                     {"team", ofReplicas("sum"), values{"core": 17.0, "web": 3.0, "ops": 0.0}},
			"min":                     {"team", ofReplicas("min"), values{"core": 5.0, "web": 3.0, "ops": 0.0}},
			"max":                     {"team", ofReplicas("max"), values{"core": 12.0, "web": 3.0, "ops": 0.0}},
			"median of an even count": {"team", ofReplicas("median"), values{"core": 8.5, "web": 3.0, "ops": 0.0}},
			"average":                 {"team", ofReplicas("average"), values{"core": 8.5, "web": 3.0, "ops": 0.0}},
			"average of none is null, and null is left out": {"service", `{"title": "A", "target": "deployment", "calculationSpec": {"func": "average", "calculationBy": "property", "property": "seconds", "averageOf": "total"}, "pathFilter": [{"fromBlueprint": "deployment", "path": ["service"]}]}`,
				values{"auth": nil, "api": 45.25, "web": nil, "billing": nil, "支付": nil}},
			"average of entities a day, from the first to now": {"service", deployments("day"),
				values{"auth": 3.0 / 31, "api": 3.0 / 31, "web": 0.0, "billing": 1.0, "支付": 0.0}},
			"average of entities a week":   {"service", deployments("week"), values{"auth": 3.0 / 5, "api": 3.0 / 5, "web": 0.0, "billing": 1.0, "支付": 0.0}},
			"average of entities in total": {"service", deployments("total"), values{"auth": 3.0, "api": 3.0, "web": 0.0, "billing": 1.0, "支付": 0.0}},
			"sum of a calculation": {"team", `{"title": "A", "target": "service", "calculationSpec": {"func": "sum", "calculationBy": "property", "property": "size"}, ` + byPath + `}`,
				values{"core": 170.0, "web": 30.0, "ops": 0.0}},
		} {
			t.Run(name, func(t *testing.T) {
				w.aggregation(t, c.blueprint, "agg", c.definition)
				if diff := cmp.Diff(c.want, w.aggregated(t, c.blueprint, "agg")); diff != "" {
					t.Error(diff)
				}
				w.aggregation(t, c.blueprint, "agg", "")
			})
		}
	})
}

func TestAggregationPropertiesFollowWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		const sum = `{"title": "Replicas", "target": "service", "calculationSpec": {"func": "sum", "calculationBy": "property", "property": "replicas"}, "pathFilter": [{"fromBlueprint": "service", "path": ["team"]}]}`
		w.aggregation(t, "team", "replicas", sum)
		expect := func(what string, core, web, ops any) {
			t.Helper()
			w.now = w.now.Add(time.Minute)
			if diff := cmp.Diff(map[string]any{"core": core, "web": web, "ops": ops}, w.aggregated(t, "team", "replicas")); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
			for value, teams := range byValue(map[string]any{"core": core, "web": web, "ops": ops}) {
				q, err := ParseQuery([]byte(fmt.Sprintf(`{"combinator": "and", "rules": [{"property": "replicas", "operator": "=", "value": %v}]}`, value)))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(teams, names(w.all(t, q, SearchOptions{Blueprint: "team"}))); diff != "" {
					t.Errorf("%s: search by %v: %s", what, value, diff)
				}
			}
		}
		expect("at first", 17.0, 3.0, 0.0)
		w.put(t, Writer{By: "test"}, EntityChange{Blueprint: "service", Identifier: "api", Merge: true, Upsert: true, Entity: EntityInput{Properties: map[string]any{"replicas": 20.0}}})
		expect("after a change", 25.0, 3.0, 0.0)
		w.put(t, Writer{By: "test"}, EntityChange{Blueprint: "service", Identifier: "api", Merge: true, Upsert: true, Entity: EntityInput{Relations: map[string]any{"team": "web"}}})
		expect("after a move", 5.0, 23.0, 0.0)
		w.put(t, Writer{By: "test"}, EntityChange{Blueprint: "service", Identifier: "web", Delete: true})
		expect("after a deletion", 5.0, 20.0, 0.0)
		w.put(t, Writer{By: "test"}, EntityChange{Blueprint: "team", Identifier: "ops", Delete: true, DeleteDependents: true})
		w.now = w.now.Add(time.Minute)
		w.aggregation(t, "team", "replicas", "")
		w.aggregated(t, "team", "replicas")
		for _, table := range []string{"catalog_aggregates", "catalog_aggregations"} {
			var n int
			if err := db.QueryRow(context.Background(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil || n != 0 {
				t.Errorf("%d rows are left in %s: %v", n, table, err)
			}
		}
	})
}

// A mirror property of the target changes with entities that are on no path of the aggregation.
func TestAggregationPropertyOverComputedOnesFollowsWhatTheyShow(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		if _, err := w.PatchBlueprint(t.Context(), Writer{By: "test"}, "service", json.RawMessage(`{"mirrorProperties": {"teamSize": {"path": "team.size"}}}`)); err != nil {
			t.Fatal(err)
		}
		w.aggregation(t, "region", "people", `{"title": "People", "target": "service",
			"calculationSpec": {"func": "max", "calculationBy": "property", "property": "teamSize"}, "pathFilter": [{"fromBlueprint": "service", "path": ["regions"]}]}`)
		resize := func(size float64) {
			for _, team := range []string{"core", "web", "ops"} {
				w.put(t, Writer{By: "test"}, EntityChange{Blueprint: "team", Identifier: team, Upsert: true, Merge: true, Entity: EntityInput{Properties: map[string]any{"size": size}}})
			}
		}
		for _, size := range []float64{1000, 2000} {
			resize(size)
			w.now = w.now.Add(5 * time.Minute)
			found := byValue(w.aggregated(t, "region", "people"))
			if len(found[size]) == 0 || len(found) > 2 {
				t.Errorf("teams of %v people: the regions have %v", size, found)
			}
			w.now = w.now.Add(5 * time.Minute)
			w.aggregated(t, "region", "people") // nothing has changed since
			w.now = w.now.Add(5 * time.Minute)
		}
	})
}

func byValue(of map[string]any) map[any][]string {
	all := map[any][]string{}
	for _, name := range slices.Sorted(maps.Keys(of)) {
		all[of[name]] = append(all[of[name]], "team/"+name)
	}
	return all
}

func TestAggregationPropertyThatCannotBeComputed(t *testing.T) {
	t.Parallel()
	w := newSearchWorld(t, storetest.SQLite(t))
	w.aggregation(t, "team", "agg", `{"title": "A", "target": "service", "calculationSpec": {"func": "count", "calculationBy": "entities"},
		"query": {"combinator": "and", "rules": [{"property": "color", "operator": "=", "value": "red"}]}}`)
	if v := w.aggregated(t, "team", "agg")["core"]; v != nil {
		t.Errorf("it is %v", v)
	}
	states, err := aggregationStates(context.Background(), w.db)
	if err != nil || len(states) != 1 {
		t.Fatalf("%v: %v", states, err)
	}
	for _, s := range states {
		if !strings.Contains(s.err, `rules[0].property is "color"`) {
			t.Errorf("the error is %q", s.err)
		}
	}
}
