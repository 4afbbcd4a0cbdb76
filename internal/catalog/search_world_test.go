package catalog

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// searchWorld is a catalog filled from testdata/search/catalog.json.
type searchWorld struct {
	*Catalog
	now time.Time
}

type worldFile struct {
	Now        time.Time         `json:"now"`
	Blueprints []json.RawMessage `json:"blueprints"`
	Entities   []worldEntity     `json:"entities"`
}

type worldEntity struct {
	At         time.Time      `json:"at"`
	By         string         `json:"by"`
	Datasource string         `json:"datasource"`
	Blueprint  string         `json:"blueprint"`
	Identifier string         `json:"identifier"`
	Title      *string        `json:"title"`
	Icon       *string        `json:"icon"`
	Team       []string       `json:"team"`
	Properties map[string]any `json:"properties"`
	Relations  map[string]any `json:"relations"`
}

func newSearchCatalog(t testing.TB, db *store.DB) *searchWorld {
	t.Helper()
	w := &searchWorld{}
	evaluator := jq.New(jq.Options{Workers: 1})
	t.Cleanup(func() { evaluator.Close() })
	w.Catalog = New(Options{DB: db, JQ: evaluator, Jobs: work.New(db, "test", nil), Now: func() time.Time { return w.now }})
	return w
}

func newSearchWorld(t testing.TB, db *store.DB) *searchWorld {
	t.Helper()
	text, err := os.ReadFile("testdata/search/catalog.json")
	if err != nil {
		t.Fatal(err)
	}
	var file worldFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	w := newSearchCatalog(t, db)
	w.now = file.Now
	for _, b := range file.Blueprints {
		w.blueprint(t, string(b))
	}
	for _, e := range file.Entities {
		w.now = e.At
		w.put(t, Writer{By: e.By, Datasource: e.Datasource}, e.change())
	}
	w.now = file.Now
	return w
}

func (e worldEntity) change() EntityChange {
	in := EntityInput{Identifier: Given(e.Identifier), Properties: e.Properties, Relations: e.Relations}
	if e.Title != nil {
		in.Title = Given(*e.Title)
	}
	if e.Icon != nil {
		in.Icon = Given(*e.Icon)
	}
	if e.Team != nil {
		in.Team = Given(anyList(e.Team))
	}
	return EntityChange{Blueprint: e.Blueprint, Entity: in, Upsert: true}
}

func (w *searchWorld) blueprint(t testing.TB, raw string) {
	t.Helper()
	if _, err := w.CreateBlueprint(context.Background(), Writer{By: "test"}, json.RawMessage(raw)); err != nil {
		t.Fatal(err)
	}
}

func (w *searchWorld) put(t testing.TB, by Writer, changes ...EntityChange) []ChangeResult {
	t.Helper()
	results, err := w.Apply(context.Background(), by, changes, ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return results
}

// names are those of entities: blueprint/identifier.
func names(list []Entity) []string {
	all := []string{}
	for _, e := range list {
		all = append(all, e.Blueprint+"/"+e.Identifier)
	}
	return all
}

// failer is what a test and a property test have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
}

// all reads every page of a search.
func (w *searchWorld) all(t failer, q *Query, o SearchOptions) []Entity {
	t.Helper()
	var list []Entity
	for {
		page, err := w.Search(context.Background(), q, o)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, page.Entities...)
		if page.Next == "" {
			return list
		}
		o.From = page.Next
	}
}
