package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	rule := func(s string) string { return `{"combinator": "and", "rules": [` + s + `]}` }
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		for name, c := range map[string]struct {
			query  string
			o      SearchOptions
			status int
			code   string
			want   string
		}{
			"a blueprint that is not there":     {rule(`{"property": "tier", "operator": "isEmpty"}`), SearchOptions{Blueprint: "nope"}, 404, CodeNotFound, `Blueprint "nope" does not exist`},
			"a property that is not there":      {rule(`{"property": "color", "operator": "isEmpty"}`), SearchOptions{Blueprint: "service"}, 422, CodeInvalidRequest, `rules[0].property is "color", but blueprint service has no such property`},
			"a relation that is not there":      {rule(`{"relation": "owner", "operator": "isEmpty"}`), SearchOptions{Blueprint: "service"}, 422, CodeInvalidRequest, `rules[0].relation is "owner", but blueprint service has no such relation`},
			"what is not a timer":               {rule(`{"combinator": "or", "rules": [{"property": "launched", "operator": "isExpired"}]}`), SearchOptions{Blueprint: "service"}, 422, CodeInvalidRequest, `rules[0].rules[0].property is "launched", which is not a timer`},
			"a path that leads nowhere":         {rule(`{"operator": "matchAny", "property": {"path": ["team", "boss"]}, "value": "x"}`), SearchOptions{Blueprint: "service"}, 422, CodeInvalidRequest, `rules[0].property.path is not a path of relations that leads from blueprint service`},
			"a path that leads elsewhere":       {rule(`{"operator": "matchAny", "property": {"path": ["service"], "fromBlueprint": "deployment"}, "value": "d1"}`), SearchOptions{Blueprint: "team"}, 422, CodeInvalidRequest, `leads from blueprint deployment to team`},
			"a path from nowhere":               {rule(`{"operator": "matchAny", "property": {"path": ["service"], "fromBlueprint": "nope"}, "value": "d1"}`), SearchOptions{}, 422, CodeInvalidRequest, `rules[0].property.fromBlueprint is "nope", which does not exist`},
			"relations to what is no blueprint": {rule(`{"operator": "relatedTo", "blueprint": "nope", "value": "d1"}`), SearchOptions{}, 422, CodeInvalidRequest, `rules[0].blueprint is "nope", which does not exist`},
			"a user who is not known":           {rule(`{"property": "owner", "operator": "=", "value": {"context": "user", "property": "email"}}`), SearchOptions{}, 422, CodeInvalidRequest, `rules[0].value asks for the property "email" of the user`},
			"too large a page":                  {rule(``), SearchOptions{Limit: 1001}, 422, CodeInvalidRequest, "limit is 1001; it must be from 1 to 1000"},
			"a negative page":                   {rule(``), SearchOptions{Limit: -1}, 422, CodeInvalidRequest, "limit is -1"},
			"a cursor of another kind":          {rule(``), SearchOptions{From: "文"}, 422, CodeInvalidRequest, `from "文" is not the next of another page`},
			"a cursor that is made up":          {rule(``), SearchOptions{From: "YWJj"}, 422, CodeInvalidRequest, `is not the next of another page`},
		} {
			t.Run(name, func(t *testing.T) {
				q, err := ParseQuery([]byte(c.query))
				if err != nil {
					t.Fatal(err)
				}
				_, err = w.Search(context.Background(), q, c.o)
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Status != c.status || e.Code != c.code || !strings.Contains(e.Message, c.want) {
					t.Errorf("the error is %#v", err)
				}
			})
		}
	})
}

// crowd makes a blueprint with so many entities, by hundreds.
func (w *searchWorld) crowd(t *testing.T, count int) {
	t.Helper()
	w.blueprint(t, `{"identifier": "crowd", "title": "Crowd", "schema": {"properties": {"n": {"type": "number"}, "even": {"type": "boolean"}, "name": {"type": "string"}}, "required": []},
		"calculationProperties": {"twice": {"calculation": ".properties.n * 2", "type": "number"}}}`)
	for from := 0; from < count; from += 100 {
		var changes []EntityChange
		for i := from; i < from+100; i++ {
			changes = append(changes, EntityChange{Blueprint: "crowd", Upsert: true, Entity: EntityInput{Identifier: Given(fmt.Sprintf("c%05d", i)),
				Properties: map[string]any{"n": float64(i), "even": i%2 == 0, "name": fmt.Sprintf("one of many, number %d", i)}}})
		}
		w.put(t, Writer{By: "test", Datasource: fmt.Sprint("crowd/", from/1000)}, changes...)
	}
}

func TestSearchAmongMany(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		w.crowd(t, 3000)
		search := func(rules string, o SearchOptions) ([]string, error) {
			t.Helper()
			q, err := ParseQuery([]byte(`{"combinator": "and", "rules": [` + rules + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			page, err := w.Search(context.Background(), q, o)
			return names(page.Entities), err
		}
		const byNumber = `{"property": "n", "operator": ">=", "value": 1998}, {"property": "even", "operator": "=", "value": true}, {"property": "n", "operator": "<", "value": 2002}`
		// Where nothing may be read through, indexes find what is selective.
		w.plan = searchPlan{fewest: 10, few: 10, many: 10, first: 1, time: time.Minute}
		for w.plan.first <= 4000 {
			got, err := search(byNumber, SearchOptions{Blueprint: "crowd"})
			if diff := cmp.Diff([]string{"crowd/c01998", "crowd/c02000"}, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
			w.plan.first *= 64
		}
		w.plan = defaultPlan
		for name, c := range map[string]struct{ rules, want string }{
			"contains":            {`{"property": "name", "operator": "contains", "value": "number 1234"}`, "crowd/c01234"},
			"ends":                {`{"property": "name", "operator": "endsWith", "value": " 2345"}`, "crowd/c02345"},
			"calculation, of few": {`{"property": "twice", "operator": "=", "value": 46}, {"property": "n", "operator": "<", "value": 50}`, "crowd/c00023"},
		} {
			got, err := search(c.rules, SearchOptions{})
			if len(got) != 1 || got[0] != c.want || err != nil {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	})
}

func TestSearchIsBounded(t *testing.T) {
	t.Parallel()
	w := newSearchWorld(t, storetest.SQLite(t))
	w.crowd(t, 300)
	q, err := ParseQuery([]byte(`{"combinator": "and", "rules": [{"property": "even", "operator": "!=", "value": true}, {"property": "$createdBy", "operator": "!=", "value": "nobody"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	w.plan = searchPlan{first: 10, time: time.Millisecond}
	for range maxScans { // others have the places
		w.scans <- struct{}{}
	}
	if _, err := w.Search(context.Background(), q, SearchOptions{Blueprint: "crowd", Limit: 1000}); err == nil || !strings.Contains(err.Error(), "query took longer than 1ms; make it more selective") {
		t.Errorf("out of time: %v", err)
	}
	page, err := w.Search(context.Background(), q, SearchOptions{Partial: true, Limit: 1000})
	if err != nil || !slices.Contains(page.FailedBlueprints, "crowd") {
		t.Errorf("in part: %v: %v", page.FailedBlueprints, err)
	}
	w.plan.time = time.Minute
	<-w.scans
	page, err = w.Search(context.Background(), q, SearchOptions{Blueprint: "crowd", Limit: 1000})
	if err != nil || len(page.Entities) != 150 {
		t.Errorf("%d are found: %v", len(page.Entities), err)
	}
	if len(w.scans) != maxScans-1 {
		t.Errorf("%d of %d places are taken", len(w.scans), maxScans)
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newSearchWorld(t, db)
		w.crowd(t, 3000)
		for name, c := range map[string]struct {
			blueprint string
			rule      map[string]any
			want      []string
			refusal   string
		}{
			"by a property":     {"service", one("language", "=", "Go"), []string{"api", "auth"}, ""},
			"by one of several": {"team", one("$identifier", "in", []any{"core", "nobody"}), []string{"core"}, ""},
			"by an element":     {"service", one("tags", "containsAny", []any{"edge", "login"}), []string{"api", "auth"}, ""},
			"in groups": {"service", map[string]any{"combinator": "or", "rules": []any{one("tier", "=", "bronze"), one("$title", "contains", "Bill")}},
				[]string{"billing", "支付"}, ""},
			"of none":                         {"service", one("language", "=", "COBOL"), []string{}, ""},
			"among many, by index":            {"crowd", one("n", "=", 2999.0), []string{"c02999"}, ""},
			"by another operator":             {"service", one("language", "!=", "Go"), nil, `rules[0].operator is "!="; a write's rules have =, in, contains and containsAny`},
			"by a range":                      {"service", one("replicas", ">", 1.0), nil, `rules[0].operator is ">"`},
			"by no rule":                      {"service", map[string]any{"combinator": "and", "rules": []any{}}, nil, "rules is empty"},
			"by the graph":                    {"service", map[string]any{"combinator": "and", "rules": []any{map[string]any{"operator": "relatedTo", "blueprint": "team", "value": "core"}}}, nil, "rules[0] must have a property"},
			"by what is not there":            {"service", one("color", "=", "red"), nil, `rules[0].property is "color", but blueprint service has no such property`},
			"in a blueprint that's not there": {"nope", one("color", "=", "red"), nil, `Blueprint "nope" does not exist`},
			"by a calculation":                {"crowd", one("twice", "=", 2.0), nil, "rules ask for a calculation property"},
			"among many, by reading an index": {"crowd", one("name", "contains", "number 12"), nil, "query would have to read more than 2000 entities"},
			"among many, by reading":          {"crowd", one("$createdBy", "=", "nobody"), nil, "query would have to read more than 2000 entities of blueprint crowd"},
		} {
			t.Run(name, func(t *testing.T) {
				err := db.Update(context.Background(), func(tx *store.Tx) error {
					got, err := w.resolve(context.Background(), tx, c.blueprint, c.rule)
					if c.refusal != "" {
						if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), c.refusal) {
							t.Errorf("the error is %v", err)
						}
						return nil
					}
					if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
						t.Errorf("%v %s", err, diff)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	})
}

func one(property, operator string, value any) map[string]any {
	rule := map[string]any{"property": property, "operator": operator, "value": value}
	return map[string]any{"combinator": "and", "rules": []any{rule}}
}
