package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// TestSearchFindsWhatIsThere compares searches of random catalogs, after random changes, with
// those of one in memory: by index, by reading in order, and page by page.
func TestSearchFindsWhatIsThere(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchCatalog(t, db)
		w.now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
		w.blueprint(t, `{"identifier": "b", "title": "B", "schema": {"properties": {"s": {"type": "string"}, "n": {"type": "number"}}, "required": []},
			"relations": {"up": {"target": "b", "required": false, "many": false}}}`)
		w.blueprint(t, `{"identifier": "a", "title": "A", "schema": {"properties": {"s": {"type": "string"}, "n": {"type": "number"}, "f": {"type": "boolean"},
			"l": {"type": "array"}, "d": {"type": "string", "format": "date-time"}, "t": {"type": "string", "format": "timer"}}, "required": []},
			"relations": {"one": {"target": "b", "required": false, "many": false}, "many": {"target": "a", "required": false, "many": true}},
			"mirrorProperties": {"m": {"path": "one.s"}, "mt": {"path": "one.$title"}}}`)
		rapid.Check(t, func(rt *rapid.T) {
			w.plan = rapid.SampledFrom([]searchPlan{defaultPlan, {fewest: 1, few: 3, many: 6, first: 2}, {fewest: -1, few: -1, many: -1, first: 1}, {few: 2, many: 1000, first: 1}, {few: 2, many: 1000, first: 1, pageBytes: 1200}}).Draw(rt, "plan")
			w.plan.time = time.Minute
			n := &naive{now: w.now, entities: map[string]*worldEntity{}}
			w.empty(rt, db)
			for range 3 {
				w.change(rt, n)
				w.checkIndex(rt)
				for range 8 {
					w.compare(rt, n)
				}
			}
		})
	})
}

func (w *searchWorld) empty(rt *rapid.T, db *store.DB) {
	ctx := context.Background()
	err := db.Update(ctx, func(tx *store.Tx) error {
		for _, table := range []string{"catalog_values", "catalog_relations", "catalog_entities", "catalog_changes"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}

var (
	drawText   = rapid.SampledFrom([]string{"", "a", "b", "ab", "abc", "文", "文字", "🦀a", "%", "A", "2026-11-21T10:00:00Z", "12", "true", "~", long + "x", long + "y", "s" + long})
	drawNumber = rapid.SampledFrom([]float64{0, 1, -1, 2.5, -2.5, 12, 1e300, -1e300, 1e-9, 9007199254740993})
	drawTime   = rapid.SampledFrom([]string{"2026-11-21T10:00:00Z", "2026-11-21T12:00:00+02:00", "2026-11-21T12:00:00Z", "2026-11-21T12:00:00.0004Z", "2026-11-22T00:00:00Z", "1999-12-31T23:59:59-08:00"})
	drawName   = rapid.SampledFrom([]string{"x", "y", "z", "文", "w-1"})
	drawTeam   = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"core", "web", "队"}), 0, 2, rapid.ID)
	long       = string(slices.Repeat([]byte("0123456789abcdef"), 16)) // as long as the index goes
)

func drawScalar() *rapid.Generator[any] {
	return rapid.OneOf(rapid.Map(drawText, asAny), rapid.Map(drawNumber, asAny), rapid.Map(rapid.Bool(), asAny), rapid.Map(drawTime, asAny))
}

func asAny[T any](v T) any { return v }

func maybe(g *rapid.Generator[any]) *rapid.Generator[any] {
	return rapid.OneOf(g, g, g, rapid.Just[any](nil))
}

// change makes some random changes to both catalogs.
func (w *searchWorld) change(rt *rapid.T, n *naive) {
	for range rapid.IntRange(1, 8).Draw(rt, "changes") {
		e := &worldEntity{
			At: w.now, Blueprint: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "blueprint"), Identifier: drawName.Draw(rt, "identifier"),
			Datasource: rapid.SampledFrom([]string{"k8s/1 (x)", "k8s/2 (x)", "port-ocean", "文"}).Draw(rt, "datasource"),
			Properties: map[string]any{}, Relations: map[string]any{}, Team: drawTeam.Draw(rt, "team"),
		}
		name := e.Blueprint + "/" + e.Identifier
		if n.entities[name] != nil && rapid.IntRange(0, 3).Draw(rt, "deletes") == 0 {
			w.remove(rt, n, name)
			continue
		}
		if old := n.entities[name]; old != nil {
			e.At = old.At
		}
		if title := drawText.Draw(rt, "title"); title != "" {
			e.Title = &title
		}
		values := map[string]*rapid.Generator[any]{
			"s": rapid.Map(drawText, asAny), "n": rapid.Map(drawNumber, asAny), "f": rapid.Map(rapid.Bool(), asAny),
			"l": rapid.Map(rapid.SliceOfN(drawScalar(), 0, 4), asAny), "d": rapid.Map(drawTime, asAny), "t": rapid.Map(drawTime, asAny),
		}
		for _, key := range naiveProperties[e.Blueprint] {
			e.Properties[key] = maybe(values[key]).Draw(rt, key)
		}
		for _, relation := range slices.Sorted(maps.Keys(naiveTargets[e.Blueprint])) {
			there := identifiersOfBlueprint(n, naiveTargets[e.Blueprint][relation])
			if len(there) == 0 {
				continue
			}
			one := rapid.SampledFrom(there)
			if relation == "many" {
				e.Relations[relation] = toAny(rapid.SliceOfNDistinct(one, 0, 3, rapid.ID).Draw(rt, relation))
			} else {
				e.Relations[relation] = maybe(rapid.Map(one, asAny)).Draw(rt, relation)
			}
		}
		results, err := w.Apply(context.Background(), Writer{By: "test", Datasource: e.Datasource}, []EntityChange{e.change()}, ApplyOptions{})
		if err == nil {
			err = results[0].Err
		}
		if err != nil {
			rt.Fatal(err)
		}
		if old := n.entities[name]; old != nil && results[0].Unchanged {
			e.Datasource = old.Datasource
		}
		n.entities[name] = e
	}
}

func toAny(list []string) []any { return anyList(list) }

func identifiersOfBlueprint(n *naive, blueprint string) []string {
	var ids []string
	for _, name := range slices.Sorted(maps.Keys(n.entities)) {
		if e := n.entities[name]; e.Blueprint == blueprint {
			ids = append(ids, e.Identifier)
		}
	}
	return ids
}

func (w *searchWorld) remove(rt *rapid.T, n *naive, name string) {
	e := n.entities[name]
	results, err := w.Apply(context.Background(), Writer{By: "test"}, []EntityChange{{Delete: true, Blueprint: e.Blueprint, Identifier: e.Identifier}}, ApplyOptions{})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		rt.Fatal(err)
	}
	delete(n.entities, name)
	for _, other := range n.entities { // what pointed to it points to nothing
		for relation := range naiveTargets[other.Blueprint] {
			if naiveTargets[other.Blueprint][relation] != e.Blueprint {
				continue
			}
			if other.Relations[relation] == any(e.Identifier) {
				other.Relations[relation] = nil
			}
			if list, ok := other.Relations[relation].([]any); ok {
				other.Relations[relation] = slices.DeleteFunc(list, func(v any) bool { return v == any(e.Identifier) })
			}
		}
	}
}

// checkIndex compares the index of values with what the entities say.
func (w *searchWorld) checkIndex(rt *rapid.T) {
	ctx := context.Background()
	rows, err := w.db.Query(ctx, `SELECT b.identifier || '/' || k.property || '/' || v.value || '/' || v.entity_id FROM catalog_values v
		JOIN catalog_value_keys k ON k.id = v.key_id JOIN catalog_blueprints b ON b.id = k.blueprint_id`)
	got, err := store.All(rows, err, func(row store.Row) (s string, err error) { return s, row.Scan(&s) })
	if err != nil {
		rt.Fatal(err)
	}
	var want []string
	list := w.all(rt, nil, SearchOptions{Limit: MaxPage})
	for i := range list {
		e := &list[i]
		for _, r := range indexRows(e) {
			want = append(want, fmt.Sprintf("%s/%s/%s/%d", e.Blueprint, r.property, r.value, e.id))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		rt.Fatalf("the index of values: %s", diff)
	}
}

// compare runs a random search in both catalogs.
func (w *searchWorld) compare(rt *rapid.T, n *naive) {
	query := drawGroup(rt, 1)
	text, err := json.Marshal(query)
	if err != nil {
		rt.Fatal(err)
	}
	q, err := ParseQuery(text)
	if err != nil {
		rt.Fatalf("%s: %v", text, err)
	}
	var got []string
	o := SearchOptions{Limit: rapid.SampledFrom([]int{1, 3, 1000}).Draw(rt, "limit")}
	for {
		page, err := w.Search(context.Background(), q, o)
		if err != nil {
			rt.Fatalf("%s: %v", text, err)
		}
		got = append(got, names(page.Entities)...)
		if page.Next == "" {
			break
		}
		o.From = page.Next
	}
	if diff := cmp.Diff(n.search(query), append([]string{}, got...)); diff != "" {
		for name, e := range n.entities {
			rt.Logf("%s %v %v", name, e.Properties, e.Relations)
		}
		rt.Fatalf("%s\n%s", text, diff)
	}
}

func drawGroup(rt *rapid.T, depth int) map[string]any {
	rules := []any{}
	for range rapid.IntRange(1, 3).Draw(rt, "rules") {
		if depth < 3 && rapid.IntRange(0, 3).Draw(rt, "nests") == 0 {
			rules = append(rules, drawGroup(rt, depth+1))
			continue
		}
		r := drawRule(rt)
		rules = append(rules, r)
		if operators[operator(r["operator"].(string))].operand == operandComparable { // a second bound
			v, _ := drawOperand(rt, operandComparable)
			rules = append(rules, map[string]any{"property": r["property"], "operator": rapid.SampledFrom([]string{">", ">=", "<", "<="}).Draw(rt, "operator"), "value": v})
		}
	}
	return map[string]any{"combinator": rapid.SampledFrom([]string{"and", "or"}).Draw(rt, "combinator"), "rules": rules}
}

func drawRule(rt *rapid.T) map[string]any {
	switch rapid.IntRange(0, 9).Draw(rt, "kind") {
	case 0:
		r := map[string]any{"operator": "relatedTo", "blueprint": rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "blueprint"), "value": drawIdentifiers(rt)}
		if d := rapid.SampledFrom([]string{"", "upstream", "downstream"}).Draw(rt, "direction"); d != "" {
			r["direction"] = d
		}
		return r
	case 1:
		path := rapid.SampledFrom([][]any{{"one"}, {"many"}, {"one", "up"}, {"many", "one"}, {map[string]any{"relation": "up", "maxHops": 3.0}}, {map[string]any{"relation": "many", "maxHops": 2.0}, "one"}}).Draw(rt, "path")
		property := map[string]any{"path": path}
		if from := rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "from"); from != "" {
			property["fromBlueprint"] = from
		}
		return map[string]any{"operator": "matchAny", "property": property, "value": drawIdentifiers(rt)}
	case 2:
		return map[string]any{"propertySchema": map[string]any{"type": "string"}, "operator": rapid.SampledFrom([]string{"contains"}).Draw(rt, "operator"), "value": "a"}
	}
	r := map[string]any{
		"property": rapid.SampledFrom([]string{"s", "n", "f", "l", "d", "t", "m", "mt", "$identifier", "$title", "$team", "$blueprint", "$datasource", "$createdAt"}).Draw(rt, "property"),
		"operator": rapid.SampledFrom(slices.Sorted(func(yield func(string) bool) {
			for op := range operators {
				if !yield(string(op)) {
					return
				}
			}
		})).Draw(rt, "operator"),
	}
	if v, has := drawOperand(rt, operators[operator(r["operator"].(string))].operand); has {
		r["value"] = v
	}
	return r
}

func drawIdentifiers(rt *rapid.T) any {
	if rapid.Bool().Draw(rt, "one") {
		return drawName.Draw(rt, "value")
	}
	return anyList(rapid.SliceOfNDistinct(drawName, 1, 3, rapid.ID).Draw(rt, "value"))
}

func drawOperand(rt *rapid.T, kind operandKind) (v any, has bool) {
	scalar := drawScalar()
	notEmpty := drawText.Filter(func(s string) bool { return s != "" })
	span := rapid.Custom(func(rt *rapid.T) any {
		from, to := drawTime.Draw(rt, "from"), drawTime.Draw(rt, "to")
		if moment(to).Before(moment(from)) {
			from, to = to, from
		}
		return map[string]any{"from": from, "to": to}
	})
	var g *rapid.Generator[any]
	switch kind {
	case operandNone:
		return nil, false
	case operandEqual:
		g = rapid.OneOf(maybe(scalar), rapid.Map(drawName, asAny), rapid.Map(rapid.SliceOfN(scalar, 0, 2), asAny), span)
	case operandScalar:
		g = rapid.OneOf(scalar.Filter(func(v any) bool { return v != "" }), rapid.Map(drawName, asAny))
	case operandText:
		g = rapid.Map(notEmpty, asAny)
	case operandList:
		g = rapid.Map(rapid.SliceOfN(maybe(scalar), 0, 4), asAny)
	case operandComparable:
		g = rapid.OneOf(rapid.Map(drawNumber, asAny), rapid.Map(drawTime, asAny))
	case operandRange:
		g = span
	default:
		panic(fmt.Sprint(kind))
	}
	return g.Draw(rt, "value"), true
}
