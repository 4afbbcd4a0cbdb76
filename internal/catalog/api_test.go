package catalog_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestAPIRoles(t *testing.T) {
	t.Parallel()
	s := startAPI(t, storetest.SQLite(t))
	s.client(t, "x").blueprint("b", "")
	admin := s.as(t, auth.HomeAccount, auth.Admin)
	operator := s.as(t, auth.HomeAccount, auth.Operator)
	reader := s.as(t, auth.HomeAccount, auth.Reader)
	publisher := s.as(t, auth.HomeAccount, auth.Publisher)
	stranger := s.as(t, "111111111111", auth.Admin)
	nobody := &apiClient{t: t, url: s.url}

	operator.ok("POST", "/v1/blueprints/b/entities", `{"identifier":"by-operator"}`)
	admin.ok("POST", "/v1/blueprints/b/entities", `{"identifier":"by-admin"}`)
	for _, read := range []struct{ method, path, body string }{
		{"GET", "/v1/blueprints", ""}, {"GET", "/v1/blueprints/b", ""}, {"GET", "/v1/blueprints/b/entities", ""}, {"GET", "/v1/blueprints/b/entities-count", ""},
		{"GET", "/v1/blueprints/b/entities/by-admin", ""}, {"POST", "/v1/entities/search", `{"combinator":"and","rules":[]}`},
		{"POST", "/v1/blueprints/b/entities/search", `{}`}, {"POST", "/v1/blueprints/entities/datasource-entities", `{"datasource_prefix":"x"}`},
		{"GET", "/v1/audit-log", ""}, {"GET", "/v1/integration", ""}, {"GET", "/v1/organization", ""},
	} {
		reader.ok(read.method, read.path, read.body)
		publisher.refused(403, "forbidden", "publisher", read.method, read.path, read.body)
		stranger.refused(403, "forbidden", "111111111111", read.method, read.path, read.body)
		nobody.refused(401, "unauthorized", "access_token", read.method, read.path, read.body)
	}
	for _, write := range []struct{ method, path, body string }{
		{"POST", "/v1/blueprints", `{"identifier":"c","title":"c","schema":{"properties":{}}}`}, {"PUT", "/v1/blueprints/b", `{}`}, {"PATCH", "/v1/blueprints/b", `{}`},
		{"DELETE", "/v1/blueprints/b", ""}, {"DELETE", "/v1/blueprints/b/all-entities", ""}, {"POST", "/v1/blueprints/b/entities", `{"identifier":"x"}`},
		{"PUT", "/v1/blueprints/b/entities/by-admin", `{}`}, {"PATCH", "/v1/blueprints/b/entities/by-admin", `{}`}, {"DELETE", "/v1/blueprints/b/entities/by-admin", ""},
		{"POST", "/v1/blueprints/b/entities/bulk", `{"entities":[{}]}`}, {"POST", "/v1/blueprints/b/bulk/entities/delete", `{"entities":["x"]}`},
		{"POST", "/v1/integration", `{"installationId":"x"}`},
	} {
		reader.refused(403, "forbidden", "reader", write.method, write.path, write.body)
		nobody.refused(401, "unauthorized", "access_token", write.method, write.path, write.body)
	}
	if got := reader.ok("GET", "/v1/blueprints/b/entities-count", ""); got["count"] != 2.0 {
		t.Errorf("after what was refused there are %v entities, want 2", got["count"])
	}
}

func TestAPIRefusesWhatIsNotServedByName(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	for _, r := range []struct{ method, path, says string }{
		{"POST", "/v1/blueprints/b/scorecards", "/v1/blueprints/b/scorecards"}, {"GET", "/v1/scorecards", "Scorecards"}, {"POST", "/v1/actions", "Actions"},
		{"PATCH", "/v1/actions/runs/r_1", "Actions"}, {"GET", "/v1/pages/x", "Pages"}, {"POST", "/v1/sidebars/catalog/folders", "Pages"}, {"GET", "/v1/webhooks", "Webhooks"},
		{"GET", "/v1/teams", "Teams"}, {"GET", "/v1/users/x", "users"}, {"GET", "/v1/apps", "Apps"}, {"GET", "/v1/kafka-credentials", "Kafka"},
		{"GET", "/v1/organization/secrets", "secrets"}, {"POST", "/v1/entities/aggregate", "aggregate"}, {"POST", "/v1/migrations", "POST /v1/migrations"},
		{"PATCH", "/v1/blueprints/b/properties/p/rename", "rename"}, {"POST", "/v1/blueprints/b/entities/e", "POST"}, {"GET", "/v1/data-sources", "Data sources"},
	} {
		body := ""
		if r.method != "GET" {
			body = "{}"
		}
		c.refused(404, "not_found", r.says, r.method, r.path, body)
	}
}

func TestAPIBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		c := s.client(t, "x")
		c.blueprint("team", "")
		c.blueprint("svc", `"n":{"type":"number","minimum":0},"mail":{"type":"string","format":"email"},"kind":{"type":"string","enum":["a","b"]}`,
			`"relations":{"owner":{"target":"team","required":false,"many":false},"users":{"target":"team","required":false,"many":true}}`)
		c.entity("svc", `{"identifier":"there","properties":{"n":1}}`)
		state := func() string {
			return fmt.Sprint(c.ok("GET", "/v1/blueprints", ""), c.ok("POST", "/v1/entities/search", `{"combinator":"and","rules":[]}`), c.ok("GET", "/v1/audit-log", ""))
		}
		before := state()
		long := strings.Repeat("x", 1001)
		const entities, search = "/v1/blueprints/svc/entities", "/v1/entities/search"
		for _, tt := range []struct {
			status             int
			code, says         string
			method, path, body string
		}{
			{400, "invalid_request", "JSON", "POST", entities, `{`},
			{400, "invalid_request", "twice", "POST", entities, `{"identifier":"a","identifier":"b"}`},
			{400, "invalid_request", "deeper", "POST", entities, strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)},
			{400, "invalid_request", "UTF-8", "POST", entities, "{\"identifier\":\"\xff\"}"},
			{422, "invalid_request", "object", "POST", entities, `"x"`},
			{422, "invalid_request", "object", "POST", entities, `null`},
			{413, "too_large", "1048576", "POST", entities, `{"identifier":"` + strings.Repeat("x", 1<<20) + `"}`},
			{404, "not_found", "none", "POST", "/v1/blueprints/none/entities", `{"identifier":"x"}`},
			{422, "invalid_request", "blueprint", "POST", entities, `{"identifier":"x","blueprint":"team"}`},
			{422, "", "identifier", "POST", entities, `{"identifier":"a b"}`},
			{422, "", "identifier", "POST", entities, `{"identifier":"` + long + `"}`},
			{422, "", "identifier", "POST", entities, `{"identifier":".."}`},
			{422, "", "identifier", "POST", entities, `{"identifier":7}`},
			{422, "", "title", "POST", entities, `{"identifier":"x","title":7}`},
			{422, "", "team", "POST", entities, `{"identifier":"x","team":7}`},
			{422, "", "properties", "POST", entities, `{"identifier":"x","properties":[]}`},
			{422, "", "relations", "POST", entities, `{"identifier":"x","relations":"y"}`},
			{422, "", "n", "POST", entities, `{"identifier":"x","properties":{"n":"1"}}`},
			{422, "", "n", "POST", entities, `{"identifier":"x","properties":{"n":-1}}`},
			{422, "", "mail", "POST", entities, `{"identifier":"x","properties":{"mail":"no"}}`},
			{422, "", "kind", "POST", entities, `{"identifier":"x","properties":{"kind":"c"}}`},
			{422, "", "users", "POST", entities, `{"identifier":"x","relations":{"users":7}}`},
			{404, "not_found", "nobody", "POST", entities, `{"identifier":"x","relations":{"owner":"nobody"}}`},
			{409, "identifier_taken", "there", "POST", entities, `{"identifier":"there"}`},
			{422, "invalid_request", "upsert", "POST", entities + "?upsert=si", `{"identifier":"x"}`},
			{422, "invalid_request", "validation_only", "POST", entities + "?validation_only=0xc000", `{"identifier":"x"}`},
			{422, "invalid_request", "run_id", "POST", entities + "?run_id=" + long, `{"identifier":"x"}`},
			{404, "not_found", "none", "GET", entities + "/none", ""},
			{404, "not_found", "none", "PUT", entities + "/none", `{"properties":{}}`},
			{404, "not_found", "none", "PATCH", entities + "/none", `{"properties":{}}`},
			{422, "", "n", "PATCH", entities + "/there", `{"properties":{"n":"x"}}`},
			{422, "", "identifier", "PUT", entities + "/there", `{"identifier":"a b"}`},
			{404, "not_found", "none", "DELETE", entities + "/none", ""},
			{422, "invalid_request", "delete_dependents", "DELETE", entities + "/there?delete_dependents=maybe", ""},
			{422, "invalid_request", "entities", "POST", entities + "/bulk", `{"entities":[]}`},
			{422, "invalid_request", "entities", "POST", entities + "/bulk", `{}`},
			{404, "not_found", "none", "POST", "/v1/blueprints/none/entities/bulk", `{"entities":[{}]}`},
			{422, "invalid_request", "entities[1]", "POST", "/v1/blueprints/svc/bulk/entities/delete", `{"entities":["there",7]}`},
			{422, "invalid_request", "entities", "POST", "/v1/blueprints/svc/bulk/entities/delete", `{"entities":[` + strings.TrimSuffix(strings.Repeat(`"x",`, 101), ",") + `]}`},
			{404, "not_found", "none", "POST", "/v1/blueprints/none/bulk/entities/delete", `{"entities":["x"]}`},
			{422, "", "identifier", "POST", "/v1/blueprints", `{"title":"x","schema":{"properties":{}}}`},
			{422, "", "identifier", "POST", "/v1/blueprints", `{"identifier":"b c","title":"x","schema":{"properties":{}}}`},
			{422, "", "type", "POST", "/v1/blueprints", `{"identifier":"x","title":"x","schema":{"properties":{"p":{"type":"text"}}}}`},
			{422, "", "nowhere", "POST", "/v1/blueprints", `{"identifier":"x","title":"x","schema":{"properties":{}},"relations":{"r":{"target":"nowhere","required":false,"many":false}}}`},
			{409, "identifier_taken", "svc", "POST", "/v1/blueprints", `{"identifier":"svc","title":"x","schema":{"properties":{}}}`},
			{404, "not_found", "none", "GET", "/v1/blueprints/none", ""},
			{404, "not_found", "none", "PUT", "/v1/blueprints/none", `{"title":"x","schema":{"properties":{}}}`},
			{404, "not_found", "none", "PATCH", "/v1/blueprints/none", `{"title":"x"}`},
			{404, "not_found", "none", "DELETE", "/v1/blueprints/none", ""},
			{404, "not_found", "none", "DELETE", "/v1/blueprints/none/all-entities", ""},
			{409, "has_dependents", "has_dependents", "DELETE", "/v1/blueprints/team", ""},
			{409, "has_dependents", "has_dependents", "DELETE", "/v1/blueprints/team/all-entities?delete_blueprint=true", ""},
			{422, "invalid_request", "delete_blueprint", "DELETE", "/v1/blueprints/svc/all-entities?delete_blueprint=x", ""},
			{404, "not_found", "none", "GET", "/v1/migrations/none", ""},
			{422, "", "combinator", "POST", search, `{"combinator":"xor","rules":[]}`},
			{422, "", "rules[0].rules[0]", "POST", search, `{"combinator":"and","rules":[{"combinator":"or","rules":[{"property":"x","operator":"near","value":1}]}]}`},
			{400, "invalid_request", "JSON", "POST", search, `x`},
			{422, "invalid_request", "limit", "POST", entities + "/search", `{"limit":0}`},
			{422, "invalid_request", "limit", "POST", entities + "/search", `{"limit":1001}`},
			{422, "invalid_request", "limit", "POST", entities + "/search", `{"limit":"9"}`},
			{422, "invalid_request", "from", "POST", entities + "/search", `{"from":7}`},
			{422, "invalid_request", "from", "POST", entities + "/search", `{"from":"not ours"}`},
			{422, "invalid_request", "include[0]", "POST", entities + "/search", `{"include":[7]}`},
			{422, "", "rules[0]", "POST", entities + "/search", `{"query":{"combinator":"and","rules":[7]}}`},
			{404, "not_found", "none", "POST", "/v1/blueprints/none/entities/search", `{}`},
			{404, "not_found", "none", "GET", "/v1/blueprints/none/entities", ""},
			{404, "not_found", "none", "GET", "/v1/blueprints/none/entities-count", ""},
			{422, "invalid_request", "datasource_prefix", "POST", "/v1/blueprints/entities/datasource-entities", `{}`},
			{422, "invalid_request", "datasource_suffix", "POST", "/v1/blueprints/entities/datasource-entities", `{"datasource_prefix":"x","datasource_suffix":1}`},
			{422, "invalid_request", "before", "POST", "/v1/blueprints/entities/datasource-entities", `{"datasource_prefix":"x","before":"yesterday"}`},
			{422, "invalid_request", "limit", "POST", "/v1/blueprints/entities/datasource-entities", `{"datasource_prefix":"x","limit":5001}`},
			{422, "invalid_request", "from", "POST", "/v1/blueprints/entities/datasource-entities", `{"datasource_prefix":"x","from":"x"}`},
			{422, "invalid_request", "action", "GET", "/v1/audit-log?action=LOOK", ""},
			{422, "invalid_request", "status", "GET", "/v1/audit-log?status=MAYBE", ""},
			{422, "invalid_request", "from", "GET", "/v1/audit-log?from=now", ""},
			{422, "invalid_request", "limit", "GET", "/v1/audit-log?limit=0", ""},
			{422, "invalid_request", "before", "GET", "/v1/audit-log?before=x", ""},
			{422, "invalid_request", "includes", "GET", "/v1/audit-log?includes[]=secret", ""},
			{422, "invalid_request", "webhookId", "GET", "/v1/audit-log?webhookId=w", ""},
		} {
			got := c.status(tt.status, tt.method, tt.path, tt.body)
			if text := fmt.Sprint(got); tt.code != "" && got["error"] != tt.code || !strings.Contains(text, tt.says) {
				t.Errorf("%s %s %.100s: %s, want %s that says %q", tt.method, tt.path, tt.body, text, tt.code, tt.says)
			}
		}
		agent := *c
		agent.agent = strings.Repeat("a", 501)
		agent.refused(422, "invalid_request", "User-Agent", "POST", entities, `{"identifier":"x"}`)
		if after := state(); after != before {
			t.Errorf("refused calls changed something:\n%s\n%s", before, after)
		}
	})
}

func TestAPIOfANonJSONContentTypeIsRefused(t *testing.T) {
	t.Parallel()
	s := startAPI(t, storetest.SQLite(t))
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/v1/blueprints", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != 415 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestAPIIncludeAndExclude(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.blueprint("team", "")
	c.blueprint("svc", `"a":{"type":"string"},"b":{"type":"object"}`, `"relations":{"owner":{"target":"team","required":false,"many":false},"users":{"target":"team","required":false,"many":true}}`)
	c.entity("team", `{"identifier":"t1","title":"第一 🥇"}`)
	c.entity("team", `{"identifier":"t2"}`)
	c.entity("svc", `{"identifier":"s","properties":{"a":"x","b":{"c":1}},"relations":{"owner":"t1","users":["t2","t1"]}}`)
	for query, want := range map[string]map[string]any{
		"include=identifier":                                     {"identifier": "s"},
		"include=identifier&include=blueprint":                   {"identifier": "s", "blueprint": "svc"},
		"include=identifier,blueprint":                           {"identifier": "s", "blueprint": "svc"},
		"include=%24identifier,+title":                           {"identifier": "s", "title": "s"},
		"include=properties.a":                                   {"properties": map[string]any{"a": "x"}},
		"include=properties.a,properties":                        {"properties": map[string]any{"a": "x", "b": map[string]any{"c": 1.0}}},
		"include=properties,properties.a":                        {"properties": map[string]any{"a": "x", "b": map[string]any{"c": 1.0}}},
		"include=relations.owner,nothing":                        {"relations": map[string]any{"owner": "t1"}},
		"include=properties&exclude=properties.b":                {"properties": map[string]any{"a": "x"}},
		"include=relations&attach_title_to_relation=true":        {"relations": map[string]any{"owner": map[string]any{"identifier": "t1", "title": "第一 🥇"}, "users": []any{map[string]any{"identifier": "t2", "title": "t2"}, map[string]any{"identifier": "t1", "title": "第一 🥇"}}}},
		"include=relations.users&attach_title_to_relation=0xc00": {"relations": map[string]any{"users": []any{"t2", "t1"}}},
	} {
		for _, call := range []func() any{
			func() any { return at(c.ok("GET", "/v1/blueprints/svc/entities/s?"+query, ""), "entity") },
			func() any { return at(c.ok("GET", "/v1/blueprints/svc/entities?"+query, ""), "entities", 0) },
			func() any {
				return at(c.ok("POST", "/v1/entities/search?"+query, `{"combinator":"and","rules":[{"property":"$blueprint","operator":"=","value":"svc"}]}`), "entities", 0)
			},
			func() any { return at(c.ok("POST", "/v1/blueprints/svc/entities/search?"+query, `{}`), "entities", 0) },
		} {
			if got := call(); !cmp.Equal(got, any(want)) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
	}
	for _, path := range []string{"/v1/blueprints/svc/entities", "/v1/blueprints/svc/entities/s"} {
		if got := c.ok("GET", path+"?attach_identifier_to_title_mirror_properties=true", ""); !strings.Contains(fmt.Sprint(got["warnings"]), "attach_identifier") {
			t.Errorf("%s does not tell what is passed over: %v", path, got)
		}
	}
	got := at(c.ok("POST", "/v1/blueprints/svc/entities/search", `{"include":["identifier","properties.a"],"exclude":["properties"]}`), "entities", 0)
	if !cmp.Equal(got, any(map[string]any{"identifier": "s"})) {
		t.Errorf("in the body: %v", got)
	}
	whole := at(c.ok("GET", "/v1/blueprints/svc/entities/s", ""), "entity").(map[string]any)
	for _, member := range []string{"identifier", "title", "icon", "team", "blueprint", "properties", "relations", "scorecards", "createdAt", "createdBy", "updatedAt", "updatedBy"} {
		if _, ok := whole[member]; !ok {
			t.Errorf("an entity has no %s", member)
		}
	}
}

func TestAPIPagesInAStableOrder(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "many/1")
		c.blueprint("item", `"n":{"type":"number"}`)
		const n = 60
		var want []string
		for i := 0; i < n; i += 20 {
			var list []string
			for k := i; k < i+20; k++ {
				want = append(want, fmt.Sprintf("i%03d", k))
				list = append(list, fmt.Sprintf(`{"identifier":"i%03d","properties":{"n":%d}}`, k, k))
			}
			c.ok("POST", "/v1/blueprints/item/entities/bulk", `{"entities":[`+strings.Join(list, ",")+`]}`)
		}
		for _, path := range []string{"/v1/blueprints/item/entities/search", "/v1/blueprints/entities/datasource-entities"} {
			var got []string
			from, pages := "", 0
			for {
				page := c.ok("POST", path, `{"datasource_prefix":"many/","limit":7`+from+`}`)
				got = append(got, identifiersIn(page)...)
				pages++
				if page["next"] == nil {
					break
				}
				from = fmt.Sprintf(`,"from":%q`, page["next"])
			}
			if slices.Sort(got); !cmp.Equal(got, want) || pages != 9 {
				t.Errorf("%s: %d entities in %d pages, want %d in 9", path, len(got), pages, n)
			}
		}
		if got := c.ok("GET", "/v1/blueprints/item/entities-count", ""); got["count"] != float64(n) {
			t.Errorf("count %v", got)
		}
	})
}

func TestAPIAnswersWithoutPagesHoldEverything(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	s := startAPI(t, db)
	c := s.client(t, "many/1")
	c.blueprint("item", `"n":{"type":"number"}`)
	const n = 2 * catalog.MaxPage
	for i := 0; i < n; i += 100 {
		var changes []catalog.EntityChange
		for k := i; k < i+100; k++ {
			changes = append(changes, catalog.EntityChange{Blueprint: "item", Entity: catalog.EntityInput{Identifier: catalog.Given(fmt.Sprint("i", k))}})
		}
		if _, err := s.catalog.Apply(t.Context(), catalog.Writer{By: "test"}, changes, catalog.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for _, got := range []map[string]any{
		c.ok("POST", "/v1/entities/search?include=identifier", `{"combinator":"and","rules":[]}`), c.ok("GET", "/v1/blueprints/item/entities?include=identifier", ""),
	} {
		ids := identifiersIn(got)
		slices.Sort(ids)
		if len(slices.Compact(ids)) != n || !cmp.Equal(got["matchingBlueprints"], any([]any{"item"})) || !cmp.Equal(got["failedBlueprints"], any([]any{})) {
			t.Errorf("%d entities, matching %v", len(ids), got["matchingBlueprints"])
		}
	}
	if got := c.ok("POST", "/v1/entities/search", `{"combinator":"and","rules":[{"property":"$identifier","operator":"=","value":"none"}]}`); len(identifiersIn(got)) != 0 || got["entities"] == nil {
		t.Errorf("nothing found: %v", got)
	}
}

func TestAPIBulkDeletesAllOrNone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "x")
		c.blueprint("node", "")
		c.ok("PATCH", "/v1/blueprints/node", `{"relations":{"parent":{"target":"node","required":false,"many":false}}}`)
		c.blueprint("leaf", "", `"relations":{"of":{"target":"node","required":true,"many":false}}`)
		c.blueprint("twig", "", `"relations":{"of":{"target":"leaf","required":true,"many":false}}`)
		for _, id := range []string{"a", "b", "c"} {
			c.entity("node", `{"identifier":"`+id+`"}`)
		}
		c.entity("leaf", `{"identifier":"l","relations":{"of":"b"}}`)
		c.entity("twig", `{"identifier":"t","relations":{"of":"l"}}`)
		c.refused(409, "has_dependents", "has_dependents", "POST", "/v1/blueprints/node/bulk/entities/delete", `{"entities":["a","b","c"]}`)
		if got := c.found(`{"property":"$blueprint","operator":"=","value":"node"}`); len(got) != 3 {
			t.Errorf("left are %v, want all: one could not go", got)
		}
		got := c.ok("POST", "/v1/blueprints/node/bulk/entities/delete?delete_dependents=true", `{"entities":["a","b","never"]}`)
		if !cmp.Equal(got["deletedEntities"], any([]any{"a", "b"})) {
			t.Errorf("deleted %v", got)
		}
		if got := c.found(""); !cmp.Equal(got, []string{"c"}) {
			t.Errorf("left are %v, want c alone", got)
		}
	})
}

// Where entities of the list need one another, the order in the list does not count.
func TestAPIBulkDeletesWhatNeedsOneAnother(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.blueprint("link", "")
	c.entity("link", `{"identifier":"l0"}`)
	c.ok("PATCH", "/v1/blueprints/link", `{"relations":{"next":{"target":"link","required":true,"many":false}}}`)
	var ids []string
	for i := 1; i < 30; i++ {
		c.entity("link", fmt.Sprintf(`{"identifier":"l%d","relations":{"next":"l%d"}}`, i, i-1))
		ids = append(ids, fmt.Sprintf(`"l%d"`, i-1))
	}
	c.refused(409, "has_dependents", "depends on", "POST", "/v1/blueprints/link/bulk/entities/delete", `{"entities":[`+strings.Join(ids, ",")+`]}`)
	got := c.ok("POST", "/v1/blueprints/link/bulk/entities/delete", `{"entities":[`+strings.Join(append(ids, `"l29"`), ",")+`]}`)
	if list, _ := got["deletedEntities"].([]any); len(list) != 30 {
		t.Errorf("deleted %d", len(list))
	}
}

func TestAPIAuditLog(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		c := s.client(t, "agent/1")
		c.blueprint("svc", `"a":{"type":"string"}`)
		c.blueprint("other", "")
		c.entity("svc", `{"identifier":"e","title":"T","properties":{"a":"x"}}`)
		c.ok("PATCH", "/v1/blueprints/svc/entities/e?run_id=run-7", `{"properties":{"a":"y"}}`)
		c.ok("PATCH", "/v1/blueprints/svc/entities/e", `{"properties":{"a":"y"}}`) // changes nothing
		c.ok("DELETE", "/v1/blueprints/svc/entities/e", "")
		actions := func(query string) string {
			got := c.ok("GET", "/v1/audit-log?"+query, "")
			var list []string
			for i := 0; at(got, "audits", i) != nil; i++ {
				list = append(list, fmt.Sprint(at(got, "audits", i, "resourceType"), " ", at(got, "audits", i, "action")))
			}
			return strings.Join(list, ", ")
		}
		for query, want := range map[string]string{
			"blueprint=svc":                       "entity DELETE, entity UPDATE, entity CREATE, blueprint CREATE",
			"entity=e&blueprint=svc":              "entity DELETE, entity UPDATE, entity CREATE",
			"identifier=e":                        "entity DELETE, entity UPDATE, entity CREATE",
			"identifier=e&entity=f":               "",
			"run_id=run-7":                        "entity UPDATE",
			"action=DELETE":                       "entity DELETE",
			"resources[]=blueprint":               "blueprint CREATE, blueprint CREATE",
			"resources=entity&action=CREATE":      "entity CREATE",
			"resources=page":                      "",
			"status=FAILURE":                      "",
			"status=SUCCESS&action=UPDATE":        "entity UPDATE",
			"origin[]=API&action=UPDATE":          "entity UPDATE",
			"origin=exporter-event":               "",
			"from=2000-01-01T00:00:00Z&limit=1":   "entity DELETE",
			"to=2000-01-01T00:00:00Z":             "",
			"blueprint=none":                      "",
			"entity=e&unknown=parameter&limit=10": "entity DELETE, entity UPDATE, entity CREATE",
		} {
			if got := actions(query); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
		update := at(c.ok("GET", "/v1/audit-log?run_id=run-7", ""), "audits", 0)
		for what, tt := range map[string]struct{ got, want any }{
			"before":     {at(update, "diff", "before"), map[string]any{"properties": map[string]any{"a": "x"}}},
			"after":      {at(update, "diff", "after"), map[string]any{"properties": map[string]any{"a": "y"}}},
			"context":    {at(update, "context"), map[string]any{"blueprint": "svc", "entity": "e", "runId": "run-7"}},
			"origin":     {at(update, "trigger", "origin"), "api"},
			"status":     {at(update, "status"), "SUCCESS"},
			"datasource": {at(update, "additionalData", "datasource"), "agent/1"},
		} {
			if !cmp.Equal(tt.got, tt.want) {
				t.Errorf("%s: %v, want %v", what, tt.got, tt.want)
			}
		}
		only := at(c.ok("GET", "/v1/audit-log?includes[]=action&includes=status&limit=1", ""), "audits", 0)
		if !cmp.Equal(only, any(map[string]any{"action": "DELETE", "status": "SUCCESS"})) {
			t.Errorf("includes: %v", only)
		}
		var paged []string
		before := ""
		for {
			page := c.ok("GET", "/v1/audit-log?limit=2&includes=identifier"+before, "")
			for i := 0; at(page, "audits", i) != nil; i++ {
				paged = append(paged, fmt.Sprint(at(page, "audits", i, "identifier")))
			}
			if page["next"] == nil {
				break
			}
			before = fmt.Sprint("&before=", page["next"])
		}
		if len(paged) != 5 || len(slices.Compact(slices.Sorted(slices.Values(paged)))) != 5 {
			t.Errorf("pages hold %v", paged)
		}
	})
}

func TestAPIValidationOnlyWritesNothing(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.blueprint("svc", `"n":{"type":"number"}`)
	c.status(200, "POST", "/v1/blueprints/svc/entities?validation_only=true", `{"identifier":"x","properties":{"n":1}}`)
	c.status(422, "POST", "/v1/blueprints/svc/entities?validation_only=true", `{"identifier":"x","properties":{"n":"1"}}`)
	got := c.status(207, "POST", "/v1/blueprints/svc/entities/bulk?validation_only=true&upsert=true", `{"entities":[{"identifier":"x"},{"identifier":"y","properties":{"n":"1"}}]}`)
	if at(got, "entities", 0, "identifier") != "x" || at(got, "errors", 0, "identifier") != "y" {
		t.Errorf("bulk: %v", got)
	}
	if got := c.found(""); len(got) != 0 {
		t.Errorf("written was %v", got)
	}
}

func TestAPIUnknownPropertiesAreAWarning(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.blueprint("svc", `"n":{"type":"number"}`)
	got := c.status(201, "POST", "/v1/blueprints/svc/entities?unknown=1", `{"identifier":"x","properties":{"n":1,"cluster":"c"},"unknown":{}}`)
	if !strings.Contains(fmt.Sprint(got["warnings"]), "cluster") || !cmp.Equal(at(got, "entity", "properties"), any(map[string]any{"n": 1.0})) {
		t.Errorf("%v", got)
	}
}

func TestDeletionOfAllEntities(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "x")
		c.blueprint("node", "")
		c.ok("PATCH", "/v1/blueprints/node", `{"relations":{"parent":{"target":"node","required":false,"many":false}}}`)
		c.blueprint("leaf", "", `"relations":{"of":{"target":"node","required":true,"many":false}}`)
		for i := range 130 {
			c.entity("node", fmt.Sprintf(`{"identifier":"n%d","relations":{"parent":%s}}`, i, map[bool]string{true: "null", false: `"n0"`}[i == 0]))
		}
		c.entity("leaf", `{"identifier":"l","relations":{"of":"n7"}}`)
		m := awaitMigration(c, c.ok("DELETE", "/v1/blueprints/node/all-entities", ""), "FAILURE")
		if m["deletedEntities"] != 129.0 || !strings.Contains(fmt.Sprint(m["message"]), "has_dependents") {
			t.Errorf("with an entity that another one needs: %v", m)
		}
		c.ok("GET", "/v1/blueprints/node/entities/n7", "")
		awaitMigration(c, c.ok("DELETE", "/v1/blueprints/leaf/all-entities?delete_blueprint=true", ""), "COMPLETED")
		awaitMigration(c, c.ok("DELETE", "/v1/blueprints/node/all-entities?delete_blueprint=true", ""), "COMPLETED")
		if got := c.ok("GET", "/v1/blueprints", ""); !cmp.Equal(got["blueprints"], any([]any{})) {
			t.Errorf("left are %v", got)
		}
		if got := at(c.ok("GET", "/v1/audit-log?entity=n7&action=DELETE", ""), "audits", 0, "additionalData", "cause", "why"); got == nil {
			t.Error("the deletion has no cause in the history")
		}
	})
}

// A server that stops in the middle goes on where it was when it is back.
func TestDeletionOfAllEntitiesGoesOnAfterAStop(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		first := startAPI(t, db)
		c := first.client(t, "x")
		c.blueprint("node", "")
		const n = 400
		for i := 0; i < n; i += 100 {
			var changes []catalog.EntityChange
			for k := i; k < i+100; k++ {
				changes = append(changes, catalog.EntityChange{Blueprint: "node", Entity: catalog.EntityInput{Identifier: catalog.Given(fmt.Sprint("n", k))}})
			}
			if _, err := first.catalog.Apply(t.Context(), catalog.Writer{By: "test"}, changes, catalog.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		asked := c.ok("DELETE", "/v1/blueprints/node/all-entities", "")
		first.stop()
		c = startAPI(t, db).client(t, "x")
		c.entity("node", `{"identifier":"later"}`)
		if m := awaitMigration(c, asked, "COMPLETED"); m["deletedEntities"] != float64(n) {
			t.Errorf("deleted %v, want %d", m["deletedEntities"], n)
		}
		if got := identifiersIn(c.ok("GET", "/v1/blueprints/node/entities", "")); !cmp.Equal(got, []string{"later"}) {
			t.Errorf("left are %d entities, want the one that was made later", len(got))
		}
	})
}

func TestAPIPagesOfADatasourceAreReadInParts(t *testing.T) {
	t.Parallel()
	s := startAPI(t, storetest.SQLite(t))
	c := s.client(t, "port-ocean/x/1/y/exporter")
	c.blueprint("b", "")
	want := map[string]bool{}
	for i := range 21 {
		var list []string
		for j := range 20 {
			id := fmt.Sprintf("e%d-%d", i, j)
			want[id] = true
			list = append(list, `{"identifier":"`+id+`"}`)
		}
		c.ok("POST", "/v1/blueprints/b/entities/bulk", `{"entities":[`+strings.Join(list, ",")+`]}`)
	}
	for _, limit := range []int{199, 200, 201, 420, 5000} {
		got := map[string]bool{}
		from := "null"
		for {
			page := c.ok("POST", "/v1/blueprints/entities/datasource-entities", fmt.Sprintf(`{"datasource_prefix":"port-ocean/x/","limit":%d,"from":%s}`, limit, from))
			ids := identifiersIn(page)
			next, more := page["next"].(string)
			if len(ids) > limit || more && len(ids) < limit {
				t.Errorf("limit %d: a page of %d, more %v", limit, len(ids), more)
			}
			for _, id := range ids {
				if got[id] {
					t.Errorf("limit %d: %s comes twice", limit, id)
				}
				got[id] = true
			}
			if !more {
				break
			}
			from = `"` + next + `"`
		}
		if !maps.Equal(want, got) {
			t.Errorf("limit %d: %d entities, want %d", limit, len(got), len(want))
		}
	}
}
