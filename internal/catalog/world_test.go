package catalog

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// world is a catalog of a few blueprints, on a clock that goes on by a second with every look.
type world struct {
	*Catalog
	t    testing.TB
	db   *store.DB
	jobs *work.Runner
	w    Writer
}

const serviceBlueprint = `{
	"identifier": "service", "title": "服务 🚀", "icon": "Service", "x-unknown": {"kept": [1, 2]},
	"schema": {"properties": {
		"language": {"type": "string", "enum": ["go", "rust", "火"], "enumColors": {"go": "blue"}},
		"url": {"type": "string", "format": "url"},
		"since": {"type": "string", "format": "date-time"},
		"owner": {"type": "string", "format": "email"},
		"code": {"type": "string", "pattern": "^[a-z]{2,4}\\u002d\\d+$", "minLength": 4, "maxLength": 9},
		"replicas": {"type": "number", "minimum": 0, "maximum": 100},
		"public": {"type": "boolean"},
		"tags": {"type": "array", "items": {"type": "string", "maxLength": 10}, "maxItems": 3},
		"ports": {"type": "array", "items": {"type": "object", "properties": {"port": {"type": "number"}}, "required": ["port"]}},
		"config": {"type": "object"},
		"address": {"type": "string", "format": "ipv4"},
		"tier": {"type": "string", "default": "gold"}
	}, "required": ["tier"]},
	"relations": {
		"domain": {"target": "domain", "required": false, "many": false},
		"uses": {"target": "service", "many": true}
	}
}`

const domainBlueprint = `{"identifier": "domain", "title": "Domain", "schema": {"properties": {"rank": {"type": "number"}}}}`

const podBlueprint = `{"identifier": "pod", "title": "Pod", "schema": {"properties": {"n": {"type": "number"}}},
	"relations": {"service": {"target": "service", "required": true}, "hosts": {"target": "domain", "many": true}}}`

func newWorld(t testing.TB, db *store.DB) *world {
	t.Helper()
	var mu sync.Mutex
	at := time.Date(2026, 1, 15, 21, 29, 54, 0, time.UTC)
	jobs := work.New(db, "test", nil)
	w := &world{t: t, db: db, jobs: jobs, w: Writer{By: "anna", Datasource: "test/1", Cause: Cause{Origin: "api"}}}
	w.Catalog = New(Options{DB: db, Jobs: jobs, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}})
	for _, b := range []string{domainBlueprint, serviceBlueprint, podBlueprint} {
		if _, err := w.CreateBlueprint(t.Context(), w.w, json.RawMessage(b)); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// onBoth runs a test in a fresh world on each database.
func onBoth(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newWorld(t, db)) })
}

// upsert is a change as POST makes it with upsert and merge as given.
func upsert(t testing.TB, blueprint, body string, merge bool) EntityChange {
	t.Helper()
	ch := EntityChange{Blueprint: blueprint, Upsert: true, Merge: merge}
	if err := json.Unmarshal([]byte(body), &ch.Entity); err != nil {
		t.Fatal(err)
	}
	return ch
}

// patch is a change as PATCH makes it, put as PUT.
func patch(t testing.TB, blueprint, identifier, body string) EntityChange {
	ch := upsert(t, blueprint, body, true)
	ch.Identifier, ch.Upsert = identifier, false
	return ch
}

func put(t testing.TB, blueprint, identifier, body string) EntityChange {
	ch := patch(t, blueprint, identifier, body)
	ch.Merge = false
	return ch
}

func remove(blueprint, identifier string, dependents bool) EntityChange {
	return EntityChange{Delete: true, Blueprint: blueprint, Identifier: identifier, DeleteDependents: dependents}
}

// do applies changes, of which none may be refused.
func (w *world) do(changes ...EntityChange) []ChangeResult {
	w.t.Helper()
	results := w.try(changes...)
	for _, r := range results {
		if r.Err != nil {
			w.t.Fatalf("%s %s: %v", r.Blueprint, r.Identifier, r.Err)
		}
	}
	return results
}

func (w *world) try(changes ...EntityChange) []ChangeResult {
	w.t.Helper()
	results, err := w.Apply(w.t.Context(), w.w, changes, ApplyOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return results
}

// get returns an entity as JSON without what is always different; "" if it is not there.
func (w *world) get(blueprint, identifier string) string {
	w.t.Helper()
	e, err := w.Entity(w.t.Context(), blueprint, identifier)
	if e, ok := errors.AsType[*Error](err); ok && e.Code == CodeNotFound {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := encode(map[string]any{"title": e.Title, "icon": e.Icon, "team": e.Team, "properties": e.Properties, "relations": e.Relations})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

func (w *world) entity(blueprint, identifier string) *Entity {
	w.t.Helper()
	e, err := w.Entity(w.t.Context(), blueprint, identifier)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// want checks an entity's JSON as get gives it, the members that are not named aside.
func (w *world) want(blueprint, identifier, members string) {
	w.t.Helper()
	var want, got map[string]json.RawMessage
	if err := json.Unmarshal([]byte(members), &want); err != nil {
		w.t.Fatal(err)
	}
	text := w.get(blueprint, identifier)
	if text == "" {
		w.t.Fatalf("%s %s is not there", blueprint, identifier)
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		w.t.Fatal(err)
	}
	for key := range want {
		if !sameJSON(want[key], got[key]) {
			w.t.Errorf("%s %s: %s is %s, want %s", blueprint, identifier, key, got[key], want[key])
		}
	}
}

// count returns how many rows a table has.
func (w *world) count(table string) (n int) {
	w.t.Helper()
	if err := w.db.QueryRow(w.t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// trace is how much there is of all that a change leaves.
func (w *world) trace() map[string]int {
	counts := map[string]int{}
	for _, table := range []string{
		"catalog_entities", "catalog_relations", "catalog_changes", "catalog_values", "catalog_datasources", "catalog_blueprints",
		"catalog_blueprint_relations", "outbox",
	} {
		counts[table] = w.count(table)
	}
	return counts
}

// refused checks a refusal: its code, and that the text names the thing.
func refused(t testing.TB, err error, code string, texts ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("the error is %v, want %s", err, code)
	}
	if e.Code != code {
		t.Errorf("the code is %s (%s), want %s", e.Code, e.Message, code)
	}
	for _, text := range texts {
		if !strings.Contains(e.Message, text) {
			t.Errorf("the error %q does not name %q", e.Message, text)
		}
	}
}
