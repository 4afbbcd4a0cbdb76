package catalog

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestBlueprintsKeepWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		b, err := w.Blueprint(t.Context(), "service")
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]json.RawMessage
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(serviceBlueprint), &want); err != nil {
			t.Fatal(err)
		}
		for key := range want {
			if !sameJSON(got[key], want[key]) {
				t.Errorf("%s is %s, want %s", key, got[key], want[key])
			}
		}
		if string(got["createdBy"]) != `"anna"` || !strings.HasPrefix(string(got["createdAt"]), `"2026-01-15T`) {
			t.Errorf("created at %s by %s", got["createdAt"], got["createdBy"])
		}
		t.Run("what the server sets is not taken from a writer", func(t *testing.T) {
			before := w.trace()
			same, err := w.PutBlueprint(t.Context(), w.w, "service", text)
			if err != nil || same.Revision != 1 {
				t.Errorf("%+v, %v", same, err)
			}
			if after := w.trace(); !maps.Equal(before, after) {
				t.Errorf("the same blueprint was written: %v, before %v", after, before)
			}
		})
		t.Run("a patch replaces members and null removes them", func(t *testing.T) {
			b, err := w.PatchBlueprint(t.Context(), w.w, "service", json.RawMessage(`{"title": "S", "icon": null}`))
			if err != nil || b.Title != "S" || b.Icon != "" || len(b.Properties) != 12 || b.Revision != 2 {
				t.Errorf("%+v, %v", b, err)
			}
		})
		t.Run("a put without an identifier keeps that of the path", func(t *testing.T) {
			b, err := w.PutBlueprint(t.Context(), w.w, "domain", json.RawMessage(`{"title": "领域", "schema": {"properties": {}}}`))
			if err != nil || b.Identifier != "domain" || b.Title != "领域" {
				t.Errorf("%+v, %v", b, err)
			}
		})
		list, err := w.Blueprints(t.Context())
		if err != nil || len(list) != 3 || list[0].Identifier != "domain" {
			t.Errorf("%v, %v", list, err)
		}
	})
}

func TestBadBlueprintsNameThePlaceAndChangeNothing(t *testing.T) {
	t.Parallel()
	with := func(member string) string {
		return `{"identifier": "x", "title": "X", "schema": {"properties": {"p": {"type": "string"}, "n": {"type": "number"}}}, ` + member + `}`
	}
	property := func(definition string) string {
		return `{"identifier": "x", "title": "X", "schema": {"properties": {"p": ` + definition + `}}}`
	}
	cases := map[string]struct {
		body  string
		code  string
		texts []string
	}{
		"no object":                {`[]`, CodeInvalidRequest, []string{"object"}},
		"no identifier":            {`{"title": "X", "schema": {"properties": {}}}`, CodeValidation, []string{"identifier"}},
		"identifier with =":        {`{"identifier": "a=b", "title": "X", "schema": {"properties": {}}}`, CodeValidation, []string{"identifier", "a=b"}},
		"identifier too long":      {`{"identifier": "` + strings.Repeat("x", 101) + `", "title": "X", "schema": {"properties": {}}}`, CodeValidation, []string{"identifier", "101"}},
		"no title":                 {`{"identifier": "x", "schema": {"properties": {}}}`, CodeValidation, []string{"title"}},
		"title too long":           {with(`"title": "` + strings.Repeat("题", 101) + `"`), CodeValidation, []string{"title", "101"}},
		"description too long":     {with(`"description": "` + strings.Repeat("d", 201) + `"`), CodeValidation, []string{"description", "201"}},
		"no schema":                {`{"identifier": "x", "title": "X"}`, CodeValidation, []string{"schema"}},
		"exists":                   {`{"identifier": "pod", "title": "X", "schema": {"properties": {}}}`, CodeIdentifierTaken, []string{"pod"}},
		"property of no type":      {property(`{}`), CodeValidation, []string{"schema.properties.p.type"}},
		"property of another type": {property(`{"type": "integer"}`), CodeValidation, []string{"schema.properties.p.type", "integer"}},
		"property no object":       {property(`"string"`), CodeValidation, []string{"schema.properties.p"}},
		"key with a dot":           {`{"identifier": "x", "title": "X", "schema": {"properties": {"a.b": {"type": "string"}}}}`, CodeValidation, []string{"schema.properties.a.b"}},
		"unknown format":           {property(`{"type": "string", "format": "uri-reference"}`), CodeValidation, []string{"schema.properties.p.format", "uri-reference"}},
		"format of another type":   {property(`{"type": "number", "format": "url"}`), CodeValidation, []string{"schema.properties.p.format", "number"}},
		"unknown spec":             {property(`{"type": "string", "spec": "raml"}`), CodeValidation, []string{"schema.properties.p.spec"}},
		"spec without a client":    {property(`{"type": "string", "spec": "embedded-url", "specAuthentication": {"tokenUrl": "https://t", "authorizationUrl": "https://a"}}`), CodeValidation, []string{"specAuthentication.clientId"}},
		"no colour":                {property(`{"type": "string", "enum": ["a"], "enumColors": {"a": "mauve"}}`), CodeValidation, []string{"enumColors.a"}},
		"enum empty":               {property(`{"type": "string", "enum": []}`), CodeValidation, []string{"schema.properties.p.enum"}},
		"enum by jq":               {property(`{"type": "string", "enum": {"jqQuery": "."}}`), CodeValidation, []string{"schema.properties.p.enum", "jq"}},
		"pattern that looks ahead": {property(`{"type": "string", "pattern": "^(?!x)"}`), CodeValidation, []string{"schema.properties.p.pattern", "ahead"}},
		"pattern that is none":     {property(`{"type": "string", "pattern": "("}`), CodeValidation, []string{"schema.properties.p.pattern"}},
		"pattern too large":        {property(`{"type": "string", "pattern": "((a{100}){100}){100}"}`), CodeValidation, []string{"schema.properties.p.pattern"}},
		"minLength negative":       {property(`{"type": "string", "minLength": -1}`), CodeValidation, []string{"schema.properties.p.minLength"}},
		"maximum a string":         {property(`{"type": "number", "maximum": "3"}`), CodeValidation, []string{"schema.properties.p.maximum"}},
		"a reference":              {property(`{"type": "array", "items": {"$ref": "#"}}`), CodeValidation, []string{"schema.properties.p.items.$ref"}},
		"alternatives":             {property(`{"type": "object", "anyOf": [{}]}`), CodeValidation, []string{"schema.properties.p.anyOf"}},
		"items of no type":         {property(`{"type": "array", "items": {"type": "text"}}`), CodeValidation, []string{"schema.properties.p.items.type"}},
		"default of another type":  {property(`{"type": "string", "default": 1}`), CodeValidation, []string{"schema.properties.p.default"}},
		"required of no property":  {`{"identifier": "x", "title": "X", "schema": {"properties": {}, "required": ["p"]}}`, CodeValidation, []string{"schema.required[0]"}},
		"relation to nowhere":      {with(`"relations": {"r": {"target": "nope"}}`), CodeValidation, []string{"relations.r.target", "nope"}},
		"relation without target":  {with(`"relations": {"r": {}}`), CodeValidation, []string{"relations.r.target"}},
		"relation many a string":   {with(`"relations": {"r": {"target": "pod", "many": "yes"}}`), CodeValidation, []string{"relations.r.many"}},
		"mirror of no relation":    {with(`"mirrorProperties": {"m": {"path": "r.title"}}`), CodeValidation, []string{"mirrorProperties.m.path", "r"}},
		"mirror of no property":    {with(`"relations": {"r": {"target": "pod"}}, "mirrorProperties": {"m": {"path": "r.nope"}}`), CodeValidation, []string{"mirrorProperties.m.path", "nope"}},
		"mirror of no path":        {with(`"mirrorProperties": {"m": {"path": "title"}}`), CodeValidation, []string{"mirrorProperties.m.path"}},
		"mirror with another key":  {with(`"relations": {"r": {"target": "pod"}}, "mirrorProperties": {"p": {"path": "r.$title"}}`), CodeValidation, []string{"mirrorProperties.p"}},
		"calculation no jq":        {with(`"calculationProperties": {"c": {"calculation": ".a |", "type": "string"}}`), CodeValidation, []string{"calculationProperties.c.calculation"}},
		"calculation of no type":   {with(`"calculationProperties": {"c": {"calculation": ".a"}}`), CodeValidation, []string{"calculationProperties.c.type"}},
		"calculation reads env":    {with(`"calculationProperties": {"c": {"calculation": "$ENV.HOME", "type": "string"}}`), CodeValidation, []string{"calculationProperties.c.calculation"}},
		"aggregation of nothing":   {with(`"aggregationProperties": {"a": {"title": "A", "target": "nope", "calculationSpec": {"func": "count", "calculationBy": "entities"}}}`), CodeValidation, []string{"aggregationProperties.a.target"}},
		"aggregation without spec": {with(`"aggregationProperties": {"a": {"title": "A", "target": "pod"}}`), CodeValidation, []string{"aggregationProperties.a.calculationSpec"}},
		"aggregation func":         {with(`"aggregationProperties": {"a": {"title": "A", "target": "pod", "calculationSpec": {"func": "product", "calculationBy": "property"}}}`), CodeValidation, []string{"calculationSpec.func", "product"}},
		"sum of entities":          {with(`"aggregationProperties": {"a": {"title": "A", "target": "pod", "calculationSpec": {"func": "sum", "calculationBy": "entities"}}}`), CodeValidation, []string{"calculationSpec.func"}},
		"sum of no property":       {with(`"aggregationProperties": {"a": {"title": "A", "target": "pod", "calculationSpec": {"func": "sum", "calculationBy": "property", "property": "nope"}}}`), CodeValidation, []string{"calculationSpec.property", "nope"}},
		"two path filters":         {with(`"aggregationProperties": {"a": {"title": "A", "target": "pod", "calculationSpec": {"func": "count", "calculationBy": "entities"}, "pathFilter": [{"path": ["a"]}, {"path": ["b"]}]}}`), CodeValidation, []string{"pathFilter"}},
		"changelog to nowhere":     {with(`"changelogDestination": {"type": "WEBHOOK"}`), CodeValidation, []string{"changelogDestination.url"}},
		"ownership by no path":     {with(`"ownership": {"type": "Inherited"}`), CodeValidation, []string{"ownership.path"}},
		"ownership of a kind":      {with(`"ownership": {"type": "Shared"}`), CodeValidation, []string{"ownership.type", "Shared"}},
		"too large":                {with(`"x": "` + strings.Repeat("x", maxDefinition) + `"`), CodeTooLarge, []string{"bytes"}},
	}
	onBoth(t, func(t *testing.T, w *world) {
		before := w.trace()
		for name, c := range cases {
			t.Run(name, func(t *testing.T) {
				_, err := w.CreateBlueprint(t.Context(), w.w, json.RawMessage(c.body))
				refused(t, err, c.code, c.texts...)
			})
		}
		for name, c := range cases {
			if c.code == CodeIdentifierTaken || !strings.HasPrefix(c.body, `{"identifier": "x"`) {
				continue
			}
			t.Run("put: "+name, func(t *testing.T) {
				_, err := w.PutBlueprint(t.Context(), w.w, "domain", json.RawMessage(strings.Replace(c.body, `"identifier": "x"`, `"identifier": "domain"`, 1)))
				refused(t, err, c.code, c.texts...)
			})
		}
		t.Run("of what is not there", func(t *testing.T) {
			_, err := w.PutBlueprint(t.Context(), w.w, "nope", json.RawMessage(domainBlueprint))
			refused(t, err, CodeNotFound, "nope")
			_, err = w.PatchBlueprint(t.Context(), w.w, "nope", json.RawMessage(`{}`))
			refused(t, err, CodeNotFound, "nope")
			_, err = w.Blueprint(t.Context(), "nope")
			refused(t, err, CodeNotFound, "nope")
			refused(t, w.DeleteBlueprint(t.Context(), w.w, "nope"), CodeNotFound, "nope")
		})
		if after := w.trace(); !maps.Equal(before, after) {
			t.Errorf("something was written: %v, before %v", after, before)
		}
	})
}

func TestEveryTypeAndFormatOfPropertyIsTaken(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		for format, types := range formatTypes {
			for _, typ := range types {
				id := format + "-" + typ
				body := `{"identifier": "` + id + `", "title": "F", "schema": {"properties": {"p": {"type": "` + typ + `", "format": "` + format + `"}}}}`
				if _, err := w.CreateBlueprint(t.Context(), w.w, json.RawMessage(body)); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		}
		values := map[string][2]string{ // right and wrong; no wrong one where the format is for show
			"date-time": {`"2026-01-15T21:29:54.5+08:00"`, `"2026-01-15"`}, "url": {`"https://例子.测试/a?b#c"`, `"/a"`},
			"email": {`"anna@example.com"`, `"Anna <anna@example.com>"`}, "idn-email": {`"用户@例子.测试"`, `"x"`},
			"ipv4": {`"10.0.0.1"`, `"10.0.0"`}, "ipv6": {`"::1"`, `"10.0.0.1"`}, "timer": {`"2026-01-15T21:29:54Z"`, `"soon"`},
			"markdown": {`"# 标题 🚀"`, ``}, "yaml": {`"a: [1"`, ``}, "user": {`"anna"`, ``}, "team": {`"blue"`, ``}, "blueprints": {`"pod"`, ``},
			"proto": {`"syntax"`, ``}, "labeled-url": {`"https://a"`, `"x"`},
		}
		for format, v := range values {
			w.do(upsert(t, format+"-string", `{"identifier": "x", "properties": {"p": `+v[0]+`}}`, false))
			if v[1] != "" {
				refused(t, w.try(upsert(t, format+"-string", `{"identifier": "x", "properties": {"p": `+v[1]+`}}`, false))[0].Err, CodeValidation, "properties.p")
			}
			refused(t, w.try(upsert(t, format+"-string", `{"identifier": "x", "properties": {"p": 1}}`, false))[0].Err, CodeValidation, "properties.p", "string")
		}
		w.do(upsert(t, "labeled-url-object", `{"identifier": "x", "properties": {"p": {"url": "https://a", "displayText": "A"}}}`, false))
		refused(t, w.try(upsert(t, "labeled-url-object", `{"identifier": "x", "properties": {"p": {"displayText": "A"}}}`, false))[0].Err, CodeValidation, "properties.p", "url")
	})
}

func TestBlueprintsThatAreNeededAreNotDeleted(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		refused(t, w.DeleteBlueprint(t.Context(), w.w, "domain"), CodeHasDependents, "has_dependents", "domain", "relation domain of blueprint service")
		w.do(upsert(t, "service", `{"identifier": "s"}`, false), upsert(t, "pod", `{"identifier": "p", "relations": {"service": "s"}}`, false))
		refused(t, w.DeleteBlueprint(t.Context(), w.w, "pod"), CodeHasDependents, "has_dependents", "pod", "entities")
		w.do(remove("pod", "p", false), remove("service", "s", false))
		for _, id := range []string{"pod", "service", "domain"} {
			if err := w.DeleteBlueprint(t.Context(), w.w, id); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.count("catalog_blueprint_relations"); n != 0 {
			t.Errorf("%d relations are left", n)
		}
		refused(t, w.try(upsert(t, "pod", `{"identifier": "p"}`, false))[0].Err, CodeNotFound, "pod")
	})
}

func TestBlueprintRenameReachesThoseWhoPointToIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.do(upsert(t, "domain", `{"identifier": "d"}`, false), upsert(t, "service", `{"identifier": "s", "relations": {"domain": "d"}}`, false))
		b, err := w.PatchBlueprint(t.Context(), w.w, "domain", json.RawMessage(`{"identifier": "领域"}`))
		if err != nil || b.Identifier != "领域" {
			t.Fatalf("%+v, %v", b, err)
		}
		w.want("service", "s", `{"relations": {"domain": "d", "uses": []}}`)
		if w.get("领域", "d") == "" {
			t.Error("its entities are gone")
		}
		s, err := w.Blueprint(t.Context(), "service")
		if err != nil || s.Relations["domain"].Target != "领域" {
			t.Errorf("%+v, %v", s.Relations, err)
		}
		w.do(upsert(t, "领域", `{"identifier": "e"}`, false), patch(t, "service", "s", `{"relations": {"domain": "e"}}`))
		_, err = w.PatchBlueprint(t.Context(), w.w, "领域", json.RawMessage(`{"identifier": "pod"}`))
		refused(t, err, CodeIdentifierTaken, "pod")
	})
}

func TestBlueprintChangesAreAuditedAndPublished(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		storetest.TakeOutbox(t, w.db)
		if _, err := w.PatchBlueprint(t.Context(), w.w, "domain", json.RawMessage(`{"schema": {"properties": {"rank": {"type": "number"}, "vip": {"type": "boolean"}}}}`)); err != nil {
			t.Fatal(err)
		}
		audits, err := w.Audits(t.Context(), ChangeFilter{Resource: ResourceBlueprint, Blueprint: "domain"})
		if err != nil || len(audits) != 2 {
			t.Fatalf("%+v, %v", audits, err)
		}
		f, ok := audits[0].Fields["schema.properties.vip"]
		if !ok || audits[0].Action != ActionUpdate || len(audits[0].Fields) != 1 || !strings.Contains(string(f.After), "boolean") || audits[0].By != "anna" {
			t.Errorf("%+v", audits[0])
		}
		if audits[1].Action != ActionCreate {
			t.Errorf("%+v", audits[1])
		}
		if types := eventTypes(t, w); len(types) != 1 || types[0] != "blueprint.updated" {
			t.Errorf("events %v", types)
		}
	})
}
