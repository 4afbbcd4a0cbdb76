package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseQueryRefuses(t *testing.T) {
	t.Parallel()
	rule := func(s string) string { return `{"combinator": "and", "rules": [` + s + `]}` }
	many := func(n int, s string) string { return strings.Repeat(s+",", n-1) + s }
	nested := func(n int) string {
		return strings.Repeat(`{"combinator": "or", "rules": [`, n) + `{"property": "a", "operator": "isEmpty"}` + strings.Repeat(`]}`, n)
	}
	for name, c := range map[string]struct{ query, want string }{
		"no JSON":                            {`{`, "query is not JSON"},
		"no object":                          {`[]`, "query must be an object"},
		"no combinator":                      {`{"rules": []}`, "combinator must be text, not null or missing"},
		"another combinator":                 {`{"combinator": "xor", "rules": []}`, `combinator is "xor"`},
		"no rules":                           {`{"combinator": "and"}`, "rules must be an array"},
		"rules no array":                     {`{"combinator": "and", "rules": {}}`, "rules must be an array of rules, not an object"},
		"an empty or":                        {`{"combinator": "or", "rules": []}`, "rules is empty"},
		"an empty group within":              {rule(`{"combinator": "and", "rules": []}`), "rules[0].rules is empty"},
		"an unknown key of a group":          {`{"combinator": "and", "rules": [], "limit": 3}`, "limit is not known here"},
		"a rule that is text":                {rule(`"a"`), "rules[0] must be an object, not text"},
		"no operator":                        {rule(`{"property": "a", "value": 1}`), "rules[0].operator must be text"},
		"an unknown operator":                {rule(`{"property": "a", "operator": "like", "value": 1}`), `rules[0].operator "like" is not an operator`},
		"deep down":                          {rule(`{"property": "a", "operator": "isEmpty"}, {"combinator": "or", "rules": [{"property": "a", "operator": "like"}]}`), `rules[1].rules[0].operator "like" is not`},
		"no subject":                         {rule(`{"operator": "=", "value": 1}`), "rules[0] must name one of property, propertySchema and relation"},
		"two subjects":                       {rule(`{"property": "a", "relation": "b", "operator": "=", "value": 1}`), "rules[0] must name one of"},
		"an empty property":                  {rule(`{"property": "", "operator": "=", "value": 1}`), "rules[0].property is empty"},
		"a property that is a number":        {rule(`{"property": 1, "operator": "=", "value": 1}`), "rules[0].property must be text, not a number"},
		"an unknown meta property":           {rule(`{"property": "$color", "operator": "=", "value": 1}`), `rules[0].property "$color" is not a meta property`},
		"an unknown key of a rule":           {rule(`{"property": "a", "operator": "=", "value": 1, "not": true}`), "rules[0].not is not known here"},
		"a scorecard":                        {rule(`{"scorecard": "a", "operator": "=", "value": "Gold"}`), "rules[0].scorecard cannot be searched by"},
		"a rule of a scorecard":              {rule(`{"scorecardRule": "a", "operator": "=", "value": "x"}`), "rules[0].scorecardRule cannot be searched by"},
		"no value":                           {rule(`{"property": "a", "operator": "="}`), "rules[0].value is missing; = needs it"},
		"an object to equal":                 {rule(`{"property": "a", "operator": "=", "value": {"a": 1}}`), "rules[0].value.a is not known here"},
		"null to contain":                    {rule(`{"property": "a", "operator": "contains", "value": null}`), "rules[0].value must be text of one character at least, a number or a boolean"},
		"nothing to contain":                 {rule(`{"property": "a", "operator": "contains", "value": ""}`), "rules[0].value must be text of one character at least"},
		"an array to contain":                {rule(`{"property": "a", "operator": "contains", "value": ["a"]}`), "rules[0].value must not be an array for contains"},
		"a number to begin with":             {rule(`{"property": "a", "operator": "beginsWith", "value": 1}`), "rules[0].value must be text of one character at least"},
		"nothing to end with":                {rule(`{"property": "a", "operator": "endsWith", "value": ""}`), "rules[0].value must be text of one character at least"},
		"in of text":                         {rule(`{"property": "a", "operator": "in", "value": "a"}`), "rules[0].value must be an array for in, not text"},
		"in of arrays":                       {rule(`{"property": "a", "operator": "in", "value": ["a", ["b"]]}`), "rules[0].value[1] must be null, text, a number or a boolean, not an array"},
		"greater than text":                  {rule(`{"property": "a", "operator": ">", "value": "many"}`), `rules[0].value is "many"; > needs a number or a time`},
		"greater than a boolean":             {rule(`{"property": "a", "operator": ">", "value": true}`), "rules[0].value must be a number or a time"},
		"between of text":                    {rule(`{"property": "a", "operator": "between", "value": "today"}`), "rules[0].value must be {"},
		"between without an end":             {rule(`{"property": "a", "operator": "between", "value": {"from": "2026-01-01"}}`), "rules[0].value.to must be text"},
		"between of what is no time":         {rule(`{"property": "a", "operator": "between", "value": {"from": "2026-02-30", "to": "2026-03-01"}}`), `rules[0].value.from is "2026-02-30"`},
		"between backwards":                  {rule(`{"property": "a", "operator": "between", "value": {"from": "2026-01-02", "to": "2026-01-01"}}`), "rules[0].value.to is before from"},
		"an unknown preset":                  {rule(`{"property": "a", "operator": "=", "value": {"preset": "nextWeek"}}`), `rules[0].value.preset is "nextWeek"; use one of last12Months`},
		"a preset with more":                 {rule(`{"property": "a", "operator": "=", "value": {"preset": "today", "from": "x"}}`), "rules[0].value.from is not known here"},
		"greater than a preset":              {rule(`{"property": "a", "operator": ">", "value": {"preset": "today"}}`), "rules[0].value must not be an object for >"},
		"an unknown context":                 {rule(`{"property": "a", "operator": "=", "value": {"context": "org", "property": "id"}}`), `rules[0].value.context is "org"`},
		"a context without a property":       {rule(`{"property": "a", "operator": "=", "value": {"context": "user"}}`), "rules[0].value.property must be text"},
		"teams to equal":                     {rule(`{"property": "a", "operator": "=", "value": {"context": "userTeams", "property": "name"}}`), "rules[0].value.context userTeams does not go with ="},
		"a schema with in":                   {rule(`{"propertySchema": {"type": "string"}, "operator": "in", "value": ["a"]}`), `rules[0].operator "in" does not go with propertySchema`},
		"a schema without a type":            {rule(`{"propertySchema": {}, "operator": "=", "value": "a"}`), "rules[0].propertySchema.type must be text"},
		"a schema of more":                   {rule(`{"propertySchema": {"type": "string", "enum": []}, "operator": "=", "value": "a"}`), "rules[0].propertySchema.enum is not known here"},
		"related to no blueprint":            {rule(`{"operator": "relatedTo", "value": "a"}`), "rules[0].blueprint must be text"},
		"related to nothing":                 {rule(`{"operator": "relatedTo", "blueprint": "a"}`), "rules[0].value must be an entity's identifier"},
		"related to an empty list":           {rule(`{"operator": "relatedTo", "blueprint": "a", "value": []}`), "rules[0].value has 0 identifiers"},
		"related in another direction":       {rule(`{"operator": "relatedTo", "blueprint": "a", "value": "b", "direction": "up"}`), `rules[0].direction is "up"`},
		"related and perhaps required":       {rule(`{"operator": "relatedTo", "blueprint": "a", "value": "b", "required": "maybe"}`), `rules[0].required is "maybe"`},
		"a match without a path":             {rule(`{"operator": "matchAny", "property": {}, "value": "b"}`), "rules[0].property.path must be an array of relations"},
		"a match of a property's name":       {rule(`{"operator": "matchAny", "property": "team", "value": "b"}`), "rules[0].property must be an object with the path, not text"},
		"a match of an empty path":           {rule(`{"operator": "matchAny", "property": {"path": []}, "value": "b"}`), "rules[0].property.path must be an array of relations"},
		"a match of too long a path":         {rule(`{"operator": "matchAny", "property": {"path": [` + many(16, `"a"`) + `]}, "value": "b"}`), "rules[0].property.path has 16 relations"},
		"a match with too many hops":         {rule(`{"operator": "matchAny", "property": {"path": [{"relation": "a", "maxHops": 16}]}, "value": "b"}`), "rules[0].property.path[0].maxHops is 16"},
		"a match with half a hop":            {rule(`{"operator": "matchAny", "property": {"path": [{"relation": "a", "maxHops": 1.5}]}, "value": "b"}`), "rules[0].property.path[0].maxHops is 1.5"},
		"a match that repeats twice":         {rule(`{"operator": "matchAny", "property": {"path": [{"relation": "a", "maxHops": 2}, {"relation": "b", "maxHops": 2}]}, "value": "b"}`), "rules[0].property.path[1].maxHops is given twice"},
		"more groups than allowed":           {nested(11), "is nested deeper than 10 groups"},
		"more rules than allowed":            {rule(many(201, `{"property": "a", "operator": "isEmpty"}`)), "rules[200] is one rule too many"},
		"more values than allowed":           {rule(`{"property": "a", "operator": "in", "value": [` + many(1001, `1`) + `]}`), "rules[0].value has 1001 elements"},
		"more identifiers than allowed":      {rule(`{"operator": "relatedTo", "blueprint": "a", "value": [` + many(1001, `"a"`) + `]}`), "rules[0].value has 1001 identifiers"},
		"text that is too long":              {rule(`{"property": "a", "operator": "=", "value": "` + strings.Repeat("文", 1400) + `"}`), "rules[0].value has 4200 bytes"},
		"text with U+0000":                   {rule(`{"property": "a", "operator": "=", "value": "a\u0000"}`), "rules[0].value has the character U+0000"},
		"text within that is too long":       {rule(`{"property": "a", "operator": "in", "value": ["a", "` + strings.Repeat("a", 4097) + `"]}`), "rules[0].value[1] has 4097 bytes"},
		"a property's name that is too long": {rule(`{"property": "` + strings.Repeat("a", 4097) + `", "operator": "isEmpty"}`), "rules[0].property has 4097 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseQuery([]byte(c.query))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Status != 422 || e.Code != CodeInvalidRequest {
				t.Fatalf("the error is %#v", err)
			}
			if !strings.Contains(e.Message, c.want) {
				t.Errorf("it says %q, want %q", e.Message, c.want)
			}
		})
	}
}

func TestParseQueryTakes(t *testing.T) {
	t.Parallel()
	for name, query := range map[string]string{
		"a value where none is needed": `{"combinator": "and", "rules": [{"property": "a", "operator": "isEmpty", "value": null}]}`,
		"ten groups":                   strings.Repeat(`{"combinator": "or", "rules": [`, 10) + `{"property": "a", "operator": "isEmpty"}` + strings.Repeat(`]}`, 10),
		"an unknown property":          `{"combinator": "or", "rules": [{"property": "没有", "operator": "=", "value": "🦀"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ParseQuery([]byte(query)); err != nil {
				t.Error(err)
			}
		})
	}
}

func FuzzParseQuery(f *testing.F) {
	files, err := filepath.Glob("testdata/search/cases/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var c searchCase
		if err := json.Unmarshal(text, &c); err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(c.Query))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		q, err := ParseQuery(text)
		if err == nil {
			if rules, deepest := sizeOf(q.root); rules > maxQueryRules+1 || deepest > maxQueryDepth {
				t.Fatalf("%d rules, %d deep", rules, deepest)
			}
			return
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Message == "" || len(e.Message) > 16<<10 {
			t.Fatalf("not an error for a caller: %v", err)
		}
	})
}

func sizeOf(r *rule) (rules, deepest int) {
	rules = 1
	for _, child := range r.rules {
		n, d := sizeOf(child)
		rules += n
		deepest = max(deepest, d)
	}
	if r.combinator != "" {
		deepest++
	}
	return rules, deepest
}

func ExampleParseQuery() {
	_, err := ParseQuery([]byte(`{"combinator": "and", "rules": [{"property": "$title", "operator": "resembles", "value": "api"}]}`))
	fmt.Println(strings.Split(err.Error(), ";")[0])
	// Output: rules[0].operator "resembles" is not an operator
}

func TestTextOfTheLastCharacterIsFound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.fill("domain", 10, `{"identifier": "d%d", "title": "nothing"}`)
		w.do(upsert(t, "domain", `{"identifier": "last", "title": "\udbff\udfff\udbff\udfff and more"}`, false))
		w.plan = searchPlan{fewest: 5, few: 5, many: 5, first: 1, time: defaultPlan.time}
		for _, rule := range []string{
			`{"property": "$title", "operator": "contains", "value": "more"}`,
			`{"property": "$title", "operator": "endsWith", "value": "more"}`,
			`{"property": "$title", "operator": "beginsWith", "value": "\udbff\udfff"}`,
		} {
			q, err := ParseQuery([]byte(`{"combinator": "and", "rules": [` + rule + `]}`))
			if err != nil {
				t.Fatal(err)
			}
			page, err := w.Search(t.Context(), q, SearchOptions{Blueprint: "domain"})
			if err != nil || len(page.Entities) != 1 {
				t.Errorf("%s finds %d: %v", rule, len(page.Entities), err)
			}
		}
	})
}
