package catalog

import (
	"encoding/json"
	"errors"
	"testing"
)

// FuzzBlueprint reads definitions: what is refused is refused by an *Error, and what is taken
// can be read again and checks values.
func FuzzBlueprint(f *testing.F) {
	for _, seed := range []string{
		serviceBlueprint, domainBlueprint, podBlueprint, `{}`, `[]`, `{"identifier": "领域", "title": "🚀", "schema": {"properties": {"p": {"type": "array", "items": {"type": "string", "pattern": "^\\u4e00"}}}}}`,
		`{"identifier": "x", "title": "X", "schema": {"properties": {}}, "calculationProperties": {"c": {"calculation": ".a", "type": "string"}},
			"aggregationProperties": {"a": {"title": "A", "target": "x", "calculationSpec": {"func": "count", "calculationBy": "entities"}, "pathFilter": [{"path": ["r"]}]}}}`,
	} {
		f.Add([]byte(seed), []byte(`{"p": ["a"], "language": "go", "config": {"a": [1, null]}}`))
	}
	f.Fuzz(func(t *testing.T, raw, values []byte) {
		b, err := readBlueprint(raw)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("the error is %T: %v", err, err)
			}
			return
		}
		again, err := parseBlueprint(b.Raw)
		if err != nil || again.Identifier != b.Identifier {
			t.Fatalf("stored it is %v", err)
		}
		var properties map[string]any
		if json.Unmarshal(values, &properties) != nil {
			return
		}
		if _, err := b.schema.validate(properties); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzEntityInput reads entities as writers send them.
func FuzzEntityInput(f *testing.F) {
	for _, seed := range []string{
		`{"identifier": "a/长:1", "title": "🚀", "icon": null, "team": ["a", "b"], "properties": {"replicas": 1e3, "config": {"a": {}}}, "relations": {"uses": ["a"], "domain": null}}`,
		`{"identifier": {"combinator": "and", "rules": []}, "team": "x"}`, `{"properties": []}`, `null`, `{"relations": {"domain": {"rules": 1}}}`,
	} {
		f.Add([]byte(seed))
	}
	m := &model{byIdentifier: map[string]*Blueprint{}, byID: map[int64]*Blueprint{}}
	for i, raw := range []string{serviceBlueprint, domainBlueprint} {
		b, err := readBlueprint([]byte(raw))
		if err != nil {
			f.Fatal(err)
		}
		b.id = int64(i + 1)
		m.byIdentifier[b.Identifier], m.byID[b.id] = b, b
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ch := EntityChange{Blueprint: "service"}
		if json.Unmarshal(body, &ch.Entity) != nil {
			return
		}
		r := m.read(ch)
		if r.err != nil {
			if _, ok := errors.AsType[*Error](r.err); !ok {
				t.Fatalf("the error is %T: %v", r.err, r.err)
			}
			return
		}
		for key, v := range r.properties {
			p := r.blueprint.Properties[key]
			if !p.takes(v) {
				t.Fatalf("%s took %v", key, v)
			}
		}
	})
}

// FuzzPattern compiles patterns and matches with them.
func FuzzPattern(f *testing.F) {
	for _, seed := range []string{`^[a-z]+$`, `\u4e00`, `\u{1f600}`, `\cJ`, `(?!x)`, `\`, `(a{100}){100}`, `[\d\-/]`, `\p{L}`} {
		f.Add(seed, "a一😀")
	}
	f.Fuzz(func(t *testing.T, text, in string) {
		p, err := compilePattern(text)
		if err == nil {
			p.MatchString(in)
		}
	})
}
