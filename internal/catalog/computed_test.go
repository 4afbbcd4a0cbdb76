package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// computedWorld is a catalog of accounts, networks and functions: a function is in a
// network and may use several layers, a network is in an account.
func computedWorld(t *testing.T, db *store.DB) *searchWorld {
	t.Helper()
	ev := jq.New(jq.Options{Timeout: 200 * time.Millisecond})
	t.Cleanup(func() { ev.Close() })
	w := &searchWorld{now: time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)}
	w.Catalog = New(Options{DB: db, Jobs: work.New(db, "test", nil), JQ: ev, Now: func() time.Time { return w.now }})
	for _, text := range []string{
		`{"identifier":"account","title":"Account","schema":{"properties":{"owner":{"type":"string"},"tags":{"type":"array"}}}}`,
		`{"identifier":"network","title":"Network","schema":{"properties":{"cidr":{"type":"string"}}},
			"relations":{"account":{"target":"account","title":"Account"}},
			"mirrorProperties":{"owner":{"title":"Owner","path":"account.owner"}},
			"calculationProperties":{"label":{"title":"Label","type":"string","calculation":".identifier + \" \" + .properties.cidr"}}}`,
		`{"identifier":"layer","title":"Layer","schema":{"properties":{"size":{"type":"number"}}},
			"relations":{"accounts":{"target":"account","many":true}}}`,
		`{"identifier":"function","title":"Function","schema":{"properties":{"memory":{"type":"number"},"runtime":{"type":"string"}}},
			"relations":{"network":{"target":"network"},"layers":{"target":"layer","many":true}},
			"mirrorProperties":{
				"owner":{"title":"Owner","path":"network.account.owner"},
				"ownerOfNetwork":{"title":"Owner","path":"network.owner"},
				"networkLabel":{"title":"Label","path":"network.label"},
				"accountTitle":{"title":"Account","path":"network.account.$title"},
				"networkCreated":{"title":"Created","path":"network.$createdAt"},
				"sizes":{"title":"Sizes","path":"layers.size"},
				"layerOwners":{"title":"Owners","path":"layers.accounts.owner"},
				"tags":{"title":"Tags","path":"network.account.tags"}},
			"calculationProperties":{
				"half":{"title":"Half","type":"number","calculation":".properties.memory / 2"},
				"total":{"title":"Total","type":"number","calculation":".properties.sizes | add"},
				"where":{"title":"Where","type":"string","calculation":".relations.network"},
				"count":{"title":"Layers","type":"number","calculation":".relations.layers | length"},
				"console":{"title":"Console","type":"string","format":"url","calculation":"\"https://console.test/\" + .identifier"},
				"wrongType":{"title":"Wrong","type":"number","calculation":".identifier"},
				"wrongFormat":{"title":"Wrong","type":"string","format":"url","calculation":"\"no url\""},
				"failing":{"title":"Failing","type":"string","calculation":".properties.memory | keys"},
				"none":{"title":"None","type":"string","calculation":"empty"}}}`,
	} {
		w.blueprint(t, text)
	}
	for _, e := range []worldEntity{
		{Blueprint: "account", Identifier: "a1", Title: new("生产 🏭"), Properties: map[string]any{"owner": "素素", "tags": []any{"x", "y"}}},
		{Blueprint: "account", Identifier: "a2", Properties: map[string]any{"owner": "ops"}},
		{Blueprint: "account", Identifier: "a3"},
		{Blueprint: "network", Identifier: "n1", Properties: map[string]any{"cidr": "10.0.0.0/8"}, Relations: map[string]any{"account": "a1"}},
		{Blueprint: "network", Identifier: "n2", Properties: map[string]any{"cidr": "10.1.0.0/16"}},
		{Blueprint: "layer", Identifier: "l1", Properties: map[string]any{"size": 10}, Relations: map[string]any{"accounts": []any{"a2", "a1"}}},
		{Blueprint: "layer", Identifier: "l2", Properties: map[string]any{"size": 32}, Relations: map[string]any{"accounts": []any{"a3"}}},
		{Blueprint: "layer", Identifier: "l3"},
		{Blueprint: "function", Identifier: "f1", Properties: map[string]any{"memory": 512}, Relations: map[string]any{"network": "n1", "layers": []any{"l2", "l1", "l3"}}},
		{Blueprint: "function", Identifier: "f2", Properties: map[string]any{"memory": 128}, Relations: map[string]any{"network": "n2"}},
		{Blueprint: "function", Identifier: "f3"},
	} {
		w.put(t, Writer{By: "test"}, e.change())
	}
	return w
}

// computedOf are the properties of a function, as an answer has them, and the keys of
// those that could not be computed.
func (w *searchWorld) computedOf(t *testing.T, identifier string) (map[string]any, map[string]string) {
	t.Helper()
	e, err := w.Entity(t.Context(), "function", identifier)
	if err != nil {
		t.Fatal(err)
	}
	list := []Entity{*e}
	problems, err := w.computeTelling(t.Context(), list, &strikes{})
	if err != nil {
		t.Fatal(err)
	}
	why := map[string]string{}
	for _, p := range problems {
		why[strings.TrimPrefix(p.Path, "function/"+identifier+".properties.")] = p.Message
	}
	return list[0].Properties, why
}

func TestPropertiesAreComputed(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		created := "2026-11-20T08:30:00.000Z"
		for name, want := range map[string]map[string]any{
			"f1": {
				"memory": 512.0, "owner": "素素", "ownerOfNetwork": "素素", "networkLabel": "n1 10.0.0.0/8", "accountTitle": "生产 🏭",
				"networkCreated": created, "sizes": []any{32.0, 10.0}, "layerOwners": []any{"ops", "素素"}, "tags": []any{"x", "y"},
				"half": 256.0, "total": 42.0, "where": "n1", "count": 3.0, "console": "https://console.test/f1",
				"wrongType": nil, "wrongFormat": nil, "failing": nil, "none": nil,
			},
			"f2": {
				"memory": 128.0, "owner": nil, "ownerOfNetwork": nil, "networkLabel": "n2 10.1.0.0/16", "accountTitle": nil,
				"networkCreated": created, "sizes": []any{}, "layerOwners": []any{}, "tags": nil,
				"half": 64.0, "total": nil, "where": "n2", "count": 0.0, "console": "https://console.test/f2",
				"wrongType": nil, "wrongFormat": nil, "failing": nil, "none": nil,
			},
			"f3": {
				"owner": nil, "ownerOfNetwork": nil, "networkLabel": nil, "accountTitle": nil, "networkCreated": nil,
				"sizes": []any{}, "layerOwners": []any{}, "tags": nil,
				"half": nil, "total": nil, "where": nil, "count": 0.0, "console": "https://console.test/f3",
				"wrongType": nil, "wrongFormat": nil, "failing": nil, "none": nil,
			},
		} {
			got, _ := w.computedOf(t, name)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	})
}

func TestWhatCannotBeComputedIsNullAndSaysWhy(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		_, why := w.computedOf(t, "f1")
		for key, want := range map[string]string{
			"wrongType":   "text, not a number",
			"wrongFormat": "format url",
			"failing":     "keys",
		} {
			if !strings.Contains(why[key], want) {
				t.Errorf("%s: %q does not say %q", key, why[key], want)
			}
			delete(why, key)
		}
		if len(why) > 0 {
			t.Errorf("and %v", why)
		}
	})
}

func TestOneEntityAndManyAreComputedAlike(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		all := w.all(t, nil, SearchOptions{})
		if err := w.compute(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		seen := 0
		for _, e := range all {
			if e.Blueprint != "function" {
				continue
			}
			seen++
			alone, _ := w.computedOf(t, e.Identifier)
			if diff := cmp.Diff(alone, e.Properties); diff != "" {
				t.Errorf("%s (-alone +together):\n%s", e.Identifier, diff)
			}
		}
		if seen != 3 {
			t.Errorf("saw %d functions", seen)
		}
	})
}

// A calculation that never ends costs an answer as little as it can.
func TestCalculationsThatAreStoppedDoNotHoldUpTheAnswer(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		w.blueprint(t, `{"identifier":"endless","title":"Endless","schema":{"properties":{}},"calculationProperties":{
			"never":{"title":"Never","type":"number","calculation":"until(false; .)"},
			"fine":{"title":"Fine","type":"string","calculation":".identifier"}}}`)
		var changes []EntityChange
		for i := range 50 {
			changes = append(changes, worldEntity{Blueprint: "endless", Identifier: fmt.Sprintf("e%02d", i)}.change())
		}
		w.put(t, Writer{By: "test"}, changes...)
		list := w.all(t, nil, SearchOptions{Blueprint: "endless"})
		problems, err := w.computeTelling(t.Context(), list, &strikes{})
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) != 50 {
			t.Errorf("%d problems", len(problems))
		}
		left := 0
		for _, p := range problems {
			if strings.Contains(p.Message, "stopped for other entities") {
				left++
			}
		}
		if left < 40 {
			t.Errorf("the calculation was left out for %d entities only", left)
		}
		for _, e := range list {
			if e.Properties["never"] != nil || e.Properties["fine"] != e.Identifier {
				t.Errorf("%s: %v", e.Identifier, e.Properties)
			}
		}
	})
}

func TestMirrorsOfMirrorsEnd(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		ctx := context.Background()
		w.blueprint(t, `{"identifier":"node","title":"Node","schema":{"properties":{"name":{"type":"string"}}},"relations":{"next":{"target":"node"}}}`)
		_, err := w.PatchBlueprint(ctx, Writer{By: "test"}, "node", json.RawMessage(`{"mirrorProperties":{
			"around":{"title":"Around","path":"next.around"},"nextName":{"title":"Next","path":"next.name"},
			"nextNext":{"title":"Next","path":"next.nextName"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range []worldEntity{
			{Blueprint: "node", Identifier: "x", Properties: map[string]any{"name": "X"}},
			{Blueprint: "node", Identifier: "y", Properties: map[string]any{"name": "Y"}, Relations: map[string]any{"next": "x"}},
			{Blueprint: "node", Identifier: "x", Properties: map[string]any{"name": "X"}, Relations: map[string]any{"next": "y"}},
		} {
			w.put(t, Writer{By: "test"}, e.change())
		}
		list := w.all(t, nil, SearchOptions{Blueprint: "node"})
		problems, err := w.computeTelling(ctx, list, &strikes{})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]any{"name": "X", "around": nil, "nextName": "Y", "nextNext": "X"}
		if diff := cmp.Diff(want, list[0].Properties); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if len(problems) == 0 {
			t.Error("nothing is told of the mirror that shows itself")
		}
	})
}

// What is not followed is told, and what was followed in part is not shown.
func TestMirrorsFollowSoManyRelations(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		for most, want := range map[int]map[string][]any{
			0: {"f1": nil, "f2": nil},
			2: {"f1": nil, "f2": nil}, // f1 points to three layers, and comes first
			3: {"f1": {32.0, 10.0}, "f2": {}},
		} {
			m, err := w.model(t.Context(), w.db)
			if err != nil {
				t.Fatal(err)
			}
			list := w.all(t, nil, SearchOptions{Blueprint: "function"})
			x := w.newComputing(m, &strikes{})
			x.related = most
			var pointers []*Entity
			for i := range list {
				pointers = append(pointers, &list[i])
			}
			if err := x.all(t.Context(), pointers, map[string]bool{"sizes": true}, 0); err != nil {
				t.Fatal(err)
			}
			for _, e := range list {
				if sizes, there := want[e.Identifier]; there {
					var got []any
					if v := e.Properties["sizes"]; v != nil {
						got = v.([]any)
					}
					if diff := cmp.Diff(sizes, got); diff != "" {
						t.Errorf("%s of %d (-want +got):\n%s", e.Identifier, most, diff)
					}
				}
			}
			if told := len(x.problems) > 0; told != (want["f1"] == nil) {
				t.Errorf("with %d, it is told: %v", most, x.problems)
			}
		}
	})
}

// Entities may have a mebibyte each, and mirror properties show thousands of them.
func TestMirrorsHaveSoMuchRoom(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := computedWorld(t, db)
		for room, want := range map[int]any{1 << 20: []any{32.0, 10.0}, 0: nil, 100: nil} {
			m, err := w.model(t.Context(), w.db)
			if err != nil {
				t.Fatal(err)
			}
			list := w.all(t, nil, SearchOptions{Blueprint: "function"})
			x := w.newComputing(m, &strikes{})
			x.room = room
			var f1 *Entity
			for i := range list {
				if list[i].Identifier == "f1" {
					f1 = &list[i]
				}
			}
			if err := x.all(t.Context(), []*Entity{f1}, map[string]bool{"sizes": true}, 0); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, f1.Properties["sizes"]); diff != "" {
				t.Errorf("room %d (-want +got):\n%s", room, diff)
			}
			if told := len(x.problems) > 0; told != (want == nil) {
				t.Errorf("with room %d, it is told: %v", room, x.problems)
			}
			if refused := x.incomplete(m.byIdentifier["function"]) != nil; refused != (want == nil) {
				t.Errorf("with room %d, a search is refused: %v", room, refused)
			}
		}
	})
}

// BenchmarkCompute computes the properties of a page of 1,000 entities: a mirror over
// one relation and calculations, beside reading the page without them.
func BenchmarkCompute(b *testing.B) {
	ev := jq.New(jq.Options{})
	b.Cleanup(func() { ev.Close() })
	w := &searchWorld{now: time.Date(2026, 11, 20, 8, 30, 0, 0, time.UTC)}
	db := storetest.SQLite(b)
	w.Catalog = New(Options{DB: db, Jobs: work.New(db, "test", nil), JQ: ev, Now: func() time.Time { return w.now }})
	w.blueprint(b, `{"identifier":"team","title":"Team","schema":{"properties":{"mail":{"type":"string"}}}}`)
	w.blueprint(b, `{"identifier":"service","title":"Service","schema":{"properties":{"memory":{"type":"number"}}},
		"relations":{"team":{"target":"team"}},"mirrorProperties":{"mail":{"title":"Mail","path":"team.mail"}},
		"calculationProperties":{
			"gib":{"title":"GiB","type":"number","calculation":".properties.memory / 1024"},
			"label":{"title":"Label","type":"string","calculation":"\"\\(.identifier) \\(.properties.mail)\""}}}`)
	for i := range 20 {
		w.put(b, Writer{By: "test"}, worldEntity{Blueprint: "team", Identifier: fmt.Sprintf("t%d", i), Properties: map[string]any{"mail": "a@b.test"}}.change())
	}
	for i := range 10 {
		var changes []EntityChange
		for j := range 100 {
			changes = append(changes, worldEntity{
				Blueprint: "service", Identifier: fmt.Sprintf("s%d-%d", i, j), Properties: map[string]any{"memory": j}, Relations: map[string]any{"team": fmt.Sprintf("t%d", j%20)},
			}.change())
		}
		w.put(b, Writer{By: "test"}, changes...)
	}
	for _, computed := range []bool{false, true} {
		b.Run(fmt.Sprintf("computed=%v", computed), func(b *testing.B) {
			for b.Loop() {
				page, err := w.Search(b.Context(), nil, SearchOptions{Blueprint: "service", Limit: 1000})
				if err != nil {
					b.Fatal(err)
				}
				if !computed {
					continue
				}
				if err := w.compute(b.Context(), page.Entities); err != nil || page.Entities[0].Properties["gib"] == nil {
					b.Fatal(err, page.Entities[0])
				}
			}
		})
	}
}
