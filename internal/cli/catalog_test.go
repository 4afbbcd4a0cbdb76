package cli

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCondition(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]map[string]any{
		`memory>=512`:                           {"property": "memory", "operator": ">=", "value": 512.0},
		`memory > 512`:                          {"property": "memory", "operator": ">", "value": 512.0},
		`memory<0.5`:                            {"property": "memory", "operator": "<", "value": 0.5},
		`a<=-1`:                                 {"property": "a", "operator": "<=", "value": -1.0},
		`name=订单 🛒`:                             {"property": "name", "operator": "=", "value": "订单 🛒"},
		`name=`:                                 {"property": "name", "operator": "=", "value": ""},
		`name="443"`:                            {"property": "name", "operator": "=", "value": "443"},
		`name=a=b`:                              {"property": "name", "operator": "=", "value": "a=b"},
		`on=true`:                               {"property": "on", "operator": "=", "value": true},
		`owner!=null`:                           {"property": "owner", "operator": "!=", "value": nil},
		`$datasource~port-aws`:                  {"property": "$datasource", "operator": "contains", "value": "port-aws"},
		`runtime!~go`:                           {"property": "runtime", "operator": "doesNotContains", "value": "go"},
		`owner isEmpty`:                         {"property": "owner", "operator": "isEmpty"},
		`tags containsAny ["red","blue"]`:       {"property": "tags", "operator": "containsAny", "value": []any{"red", "blue"}},
		`$updatedAt between {"preset":"today"}`: {"property": "$updatedAt", "operator": "between", "value": map[string]any{"preset": "today"}},
		`name beginsWith two words`:             {"property": "name", "operator": "beginsWith", "value": "two words"},
	} {
		got, err := parseCondition(text)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s: %v (%v), want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "name", "=5", "owner isEmpty 7", "name contains", "name contains "} {
		if got, err := parseCondition(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func FuzzCondition(f *testing.F) {
	for _, text := range []string{`memory>=512`, `name="443"`, `owner isEmpty`, `tags containsAny ["红"]`, `a b c`, `=`, "\x00=\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := parseCondition(text)
		if err != nil {
			return
		}
		if rule["property"] == "" || rule["operator"] == "" {
			t.Errorf("%q has no property or operator: %v", text, rule)
		}
		if _, err := json.Marshal(rule); err != nil {
			t.Errorf("%q cannot be sent: %v", text, err)
		}
	})
}

func TestYAMLDocumentsAreJSONValues(t *testing.T) {
	t.Parallel()
	got, err := yamlDocuments([]byte("a: 1\nd: 2026-11-21\nt: 2026-11-21T09:30:00Z\nn: ~\nb: yes\n---\n---\n[x, {y: 1.5}]\n---\n\"文\"\n"))
	want := []any{
		map[string]any{"a": 1.0, "d": "2026-11-21", "t": "2026-11-21T09:30:00Z", "n": nil, "b": "yes"},
		[]any{"x", map[string]any{"y": 1.5}}, "文",
	}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("%v (%v): %s", got, err, cmp.Diff(want, got))
	}
	for _, text := range []string{"a: [", "? [x]\n: y", "x: .nan", "a: *b", "a: 1\na: 2"} {
		if got, err := yamlDocuments([]byte(text)); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func FuzzYAMLDocuments(f *testing.F) {
	for _, text := range []string{"a: 1\n---\nb: [x]", `{"a":{"b":[1,2.5,null,"文 🙂"]}}`, "? {a: b}\n: c", "&a [*a]", "x: !!binary aGk=", "d: 2026-11-21"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		docs, err := yamlDocuments(text)
		if err != nil {
			return
		}
		if _, err := json.Marshal(docs); err != nil {
			t.Errorf("%q cannot be sent: %v", text, err)
		}
	})
}

func TestWouldBe(t *testing.T) {
	t.Parallel()
	there := map[string]any{"identifier": "a", "title": "A", "relations": map[string]any{}, "createdAt": "x", "updatedAt": "y", "schema": map[string]any{"properties": map[string]any{}}}
	for want, body := range map[string]map[string]any{
		appliedUnchanged: {"identifier": "a", "title": "A", "schema": map[string]any{"properties": map[string]any{}}},
		appliedUpdated:   {"identifier": "a", "title": "B", "schema": map[string]any{"properties": map[string]any{}}},
	} {
		if got := wouldBe(there, body); got != want {
			t.Errorf("%v: %s, want %s", body, got, want)
		}
	}
	if got := wouldBe(nil, there); got != appliedCreated {
		t.Errorf("of nothing: %s", got)
	}
}

func TestApplyPartsEntitiesIntoBulks(t *testing.T) {
	t.Parallel()
	a := &applier{}
	big := make([]byte, 500<<10)
	for i := range big {
		big[i] = 'x'
	}
	var list []*applied
	for i := range 45 {
		e := &applied{Blueprint: []string{"a", "b"}[i%2], body: map[string]any{"identifier": "e"}}
		if i >= 40 {
			e.body["big"] = string(big)
		}
		list = append(list, e)
	}
	total := 0
	for _, batch := range a.batches(list) {
		size := 0
		for _, e := range batch {
			text, _ := json.Marshal(e.body)
			size += len(text)
			if e.Blueprint != batch[0].Blueprint {
				t.Error("a bulk has entities of two blueprints")
			}
		}
		if len(batch) > bulkEntities || size > bulkBytes {
			t.Errorf("a bulk has %d entities of %d bytes", len(batch), size)
		}
		total += len(batch)
	}
	if total != len(list) {
		t.Errorf("%d of %d are sent", total, len(list))
	}
}
