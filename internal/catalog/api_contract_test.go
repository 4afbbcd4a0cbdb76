package catalog_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// These tests call as clients of Port's API are documented to: the same calls, in the
// same order, with their parameters and their ways of escaping.

const (
	exporterAgent  = "port-aws-exporter/0.1 (accountid/123456789012 region/eu-west-1)"
	oceanAgent     = "port-ocean/aws-v3/1.2.3/shop/exporter"
	terraformAgent = "terraform-provider-port-labs/2.0.0"
	kubeAgent      = "port-k8s-exporter/^0.3.4 (statekey/shop)"
)

// percentEncoded is how Python's urllib.parse.quote(s, safe="") escapes: everything
// but letters, digits and _.-~.
func percentEncoded(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}

// quotePlus is Python's urllib.parse.quote_plus.
func quotePlus(s string) string { return url.QueryEscape(s) }

func TestContractOfTheAWSExporter(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		admin := s.client(t, "test")
		admin.blueprint("lambda", `"arn":{"type":"string"},"memory":{"type":"number"},"link":{"type":"string","format":"url"},`+
			`"arch":{"type":"string","enum":["x86_64","arm64"]},"tags":{"type":"array"}`)
		admin.entity("lambda", `{"identifier":"of-another"}`)

		// Each invocation: a token, the integration, then what there is to do.
		x := s.client(t, exporterAgent)
		for range 2 {
			x.ok("POST", "/v1/integration?upsert=true", `{"installationId":"eu-west-1:123456789012","installationAppType":"AWS EXPORTER",
				"title":"AWS EXPORTER - eu-west-1:123456789012","version":"0.1"}`)
		}
		for _, id := range []string{"arn:aws:lambda:eu-west-1:123456789012:function:订单", "a/b+c=d@e", "https://example.com//a/../b/", "plain"} {
			body := fmt.Sprintf(`{"identifier":%q,"properties":{"arn":%q,"memory":128,"link":null,"arch":null,"tags":[{"Key":"k","Value":"上海"}]}}`, id, id)
			made := x.status(201, "POST", "/v1/blueprints/lambda/entities?upsert=true&merge=true", body)
			if at(made, "entity", "blueprint") != "lambda" || at(made, "entity", "identifier") != id {
				t.Errorf("upsert answers %v", made)
			}
			again := x.status(200, "POST", "/v1/blueprints/lambda/entities?upsert=true&merge=true", fmt.Sprintf(`{"identifier":%q,"properties":{"memory":256,"arn":null}}`, id))
			want := map[string]any{"arn": nil, "memory": 256.0, "link": nil, "arch": nil, "tags": []any{map[string]any{"Key": "k", "Value": "上海"}}}
			got, _ := at(again, "entity", "properties").(map[string]any)
			for key, v := range want {
				if !cmp.Equal(got[key], v) {
					t.Errorf("%s: property %s is %v after the merge, want %v", id, key, got[key], v)
				}
			}
		}

		// What was not seen is looked for by its data source, and deleted.
		found := x.ok("POST", "/v1/entities/search?exclude_calculated_properties=true&include=blueprint&include=identifier",
			`{"combinator":"and","rules":[{"property":"$datasource","operator":"contains","value":"port-aws-exporter"},
			{"property":"$datasource","operator":"contains","value":"accountid/123456789012 region/eu-west-1"}]}`)
		ids := identifiersIn(found)
		slices.Sort(ids)
		if want := []string{"a/b+c=d@e", "arn:aws:lambda:eu-west-1:123456789012:function:订单", "https://example.com//a/../b/", "plain"}; !cmp.Equal(ids, want) {
			t.Errorf("found %v, want %v", ids, want)
		}
		if e, _ := at(found, "entities", 0).(map[string]any); len(e) != 2 || e["blueprint"] != "lambda" {
			t.Errorf("an entity has more than was included: %v", e)
		}
		for _, id := range ids {
			x.ok("DELETE", "/v1/blueprints/lambda/entities/"+percentEncoded(id)+"?delete_dependents=true", "")
			x.refused(404, "not_found", "", "DELETE", "/v1/blueprints/lambda/entities/"+percentEncoded(id)+"?delete_dependents=true", "")
		}
		if got := admin.found(`{"property":"$blueprint","operator":"=","value":"lambda"}`); !cmp.Equal(got, []string{"of-another"}) {
			t.Errorf("left are %v", got)
		}
	})
}

func TestContractOfTerraform(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, terraformAgent)
		schema := `{"properties":{"s":{"type":"string","title":"S","icon":"Lambda","x-unknown":{"kept":true}},"n":{"type":"number"},"l":{"type":"array","items":{"type":"string"}}},"required":[]}`
		body := `{"identifier":"svc","title":"Service 服务","icon":"","description":"","schema":` + schema + `,"relations":{},"mirrorProperties":{},"calculationProperties":{},"aggregationProperties":{}}`
		made := c.status(201, "POST", "/v1/blueprints?create_catalog_page=true", body)
		var want any
		if err := json.Unmarshal([]byte(schema), &want); err != nil {
			t.Fatal(err)
		}
		read := c.ok("GET", "/v1/blueprints/svc?exclude_calculated_properties=0xc000123456", "")
		for what, b := range map[string]any{"created": made["blueprint"], "read": read["blueprint"]} {
			if got := at(b, "schema"); !cmp.Equal(got, want) {
				t.Errorf("%s: schema %s", what, cmp.Diff(want, got))
			}
			for _, name := range []string{"createdAt", "updatedAt"} {
				if _, err := time.Parse(time.RFC3339, fmt.Sprint(at(b, name))); err != nil {
					t.Errorf("%s: %s: %v", what, name, err)
				}
			}
		}
		c.refused(409, "identifier_taken", "svc", "POST", "/v1/blueprints", body)
		c.ok("PUT", "/v1/blueprints/svc", body)

		// The flags are sent as they are, an empty run among them; then it reads back.
		e := c.status(201, "POST", "/v1/blueprints/svc/entities?upsert=true&run_id=", `{"identifier":"e","title":"","blueprint":"svc","team":[],"properties":{"s":"v","n":1.5,"l":["b","a"]},"relations":{}}`)
		back := c.ok("GET", "/v1/blueprints/svc/entities/e?exclude_calculated_properties=true", "")
		for what, got := range map[string]any{"written": e["entity"], "read back": back["entity"]} {
			if p := at(got, "properties"); !cmp.Equal(p, any(map[string]any{"s": "v", "n": 1.5, "l": []any{"b", "a"}})) {
				t.Errorf("%s: properties %v: a client sees drift", what, p)
			}
			if team := at(got, "team"); !cmp.Equal(team, any([]any{})) {
				t.Errorf("%s: team %v, want a list", what, team)
			}
		}
		c.status(200, "POST", "/v1/blueprints/svc/entities?upsert=true&run_id=r_1", `{"identifier":"e","blueprint":"svc","properties":{"s":"w"}}`)
		audits := c.ok("GET", "/v1/audit-log?run_id=r_1", "")
		if at(audits, "audits", 0, "context", "runId") != "r_1" || at(audits, "audits", 1) != nil {
			t.Errorf("audits of a run: %v", audits)
		}

		// Pointers in place of booleans, and names joined by commas.
		found := c.ok("POST", "/v1/entities/search?include=identifier,title&exclude_calculated_properties=0xc0001&attach_title_to_relation=0xc0002&attach_identifier_to_title_mirror_properties=0xc0003",
			`{"combinator":"and","rules":[{"property":"$blueprint","operator":"=","value":"svc"}]}`)
		if !cmp.Equal(found["matchingBlueprints"], any([]any{"svc"})) || !cmp.Equal(at(found, "entities"), any([]any{map[string]any{"identifier": "e", "title": "e"}})) {
			t.Errorf("found %v", found)
		}

		auto := c.status(201, "POST", "/v1/blueprints/svc/entities", `{"title":"made","blueprint":"svc","properties":{}}`)
		id, _ := at(auto, "entity", "identifier").(string)
		if len(id) < 8 {
			t.Fatalf("an entity without an identifier got %q", id)
		}
		c.ok("PUT", "/v1/blueprints/svc/entities/"+esc(id), `{"identifier":"renamed","title":"t","properties":{"n":1}}`)
		c.refused(404, "not_found", id, "GET", "/v1/blueprints/svc/entities/"+esc(id), "")
		c.ok("PATCH", "/v1/blueprints/svc/entities/renamed", `{"properties":{"s":"x"}}`)
		if got := at(c.ok("GET", "/v1/blueprints/svc/entities/renamed", ""), "entity", "properties"); at(got, "n") != 1.0 || at(got, "s") != "x" {
			t.Errorf("PATCH left %v", got)
		}
		c.ok("PUT", "/v1/blueprints/svc/entities/renamed", `{"identifier":"renamed","properties":{"s":"y"}}`)
		if got := at(c.ok("GET", "/v1/blueprints/svc/entities/renamed", ""), "entity", "properties", "n"); got != nil {
			t.Errorf("PUT left n at %v", got)
		}
		c.refused(404, "not_found", "none", "PUT", "/v1/blueprints/svc/entities/none", `{"properties":{}}`)

		c.refused(409, "has_dependents", "has_dependents", "DELETE", "/v1/blueprints/svc?delete_actions=false", "")
		answer := c.ok("DELETE", "/v1/blueprints/svc/all-entities?delete_blueprint=true", "")
		awaitMigration(c, answer, "COMPLETED")
		c.refused(404, "not_found", "svc", "GET", "/v1/blueprints/svc", "")
	})
}

// awaitMigration polls as clients do.
func awaitMigration(c *apiClient, answer map[string]any, want string) map[string]any {
	c.t.Helper()
	id, _ := answer["migrationId"].(string)
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		m, _ := c.ok("GET", "/v1/migrations/"+id, "")["migration"].(map[string]any)
		switch m["status"] {
		case want:
			if m["id"] != id || m["actor"] == "" || m["sourceBlueprint"] == "" || m["mapping"] == nil {
				c.t.Errorf("migration %v", m)
			}
			return m
		case "PENDING", "INITIALIZING", "RUNNING":
		default:
			c.t.Fatalf("migration %v, want %s", m, want)
		}
		select {
		case <-deadline:
			c.t.Fatalf("the migration is still %v", m)
		case <-tick.C:
		}
	}
}

func TestContractOfOcean(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		c := s.client(t, oceanAgent)
		if got := c.ok("GET", "/v1/organization", ""); !cmp.Equal(at(got, "organization", "featureFlags"), any([]any{})) || at(got, "organization", "id") == nil {
			t.Errorf("organization %v", got)
		}
		c.refused(404, "not_found", "", "GET", "/v1/integration/shop", "")
		made := c.ok("POST", "/v1/integration", `{"installationId":"shop","installationAppType":"aws-v3","version":"1.2.3","changelogDestination":{"type":"POLLING"},
			"config":{},"actionsProcessingEnabled":false,"createPortResourcesOrigin":"Ocean"}`)
		c.ok("PATCH", "/v1/integration/shop", `{"installationAppType":"aws-v3","changelogDestination":{"type":"POLLING"},"actionsProcessingEnabled":false,"version":"1.2.4"}`)

		// Defaults at boot: blueprints without relations first, then patched.
		c.status(201, "POST", "/v1/blueprints", `{"identifier":"cluster","title":"Cluster","schema":{"properties":{},"required":[]},"relations":{}}`)
		c.status(201, "POST", "/v1/blueprints", `{"identifier":"service","title":"Service","schema":{"properties":{"n":{"type":"number"}},"required":[]}}`)
		c.ok("PATCH", "/v1/blueprints/service", `{"identifier":"service","relations":{"cluster":{"target":"cluster","required":false,"many":false,"title":"C"}}}`)
		if b := c.ok("GET", "/v1/blueprints/service", ""); at(b, "blueprint", "schema", "properties", "n") == nil || at(b, "blueprint", "relations", "cluster", "target") != "cluster" {
			t.Errorf("patched %v", b)
		}

		flags := "?upsert=true&merge=true&create_missing_related_entities=false&validation_only=false&ocean_info_event_type=resync&ocean_info_resync_id=r1"
		c.refused(404, "not_found", "c1", "POST", "/v1/blueprints/service/entities"+flags, `{"identifier":"s0","blueprint":"service","relations":{"cluster":"c1"}}`)
		if got := c.found(`{"property":"$blueprint","operator":"=","value":"service"}`); len(got) != 0 {
			t.Errorf("a refused entity was written: %v", got)
		}

		var bulk []string
		for i := range 19 {
			bulk = append(bulk, fmt.Sprintf(`{"identifier":"s%d","blueprint":"service","properties":{"n":%d}}`, i, i))
		}
		bulk = append(bulk, `{"identifier":{"combinator":"and","rules":[{"property":"n","operator":"=","value":-1}]},"properties":{"n":1}}`)
		got := c.status(207, "POST", "/v1/blueprints/service/entities/bulk"+flags, `{"entities":[`+strings.Join(bulk, ",")+`]}`)
		if at(got, "entities", 18, "index") != 18.0 || at(got, "entities", 0, "created") != true || at(got, "errors", 0, "identifier") != "unknown" || at(got, "errors", 0, "index") != 19.0 {
			t.Errorf("bulk with an identifier that finds nothing: %v", got)
		}
		if code, _ := at(got, "errors", 0, "statusCode").(float64); code < 400 || at(got, "errors", 0, "error") == nil || at(got, "errors", 0, "message") == nil {
			t.Errorf("error of a bulk: %v", at(got, "errors", 0))
		}
		bulk[19] = `{"identifier":"s19","relations":{"cluster":"none"}}`
		got = c.status(207, "POST", "/v1/blueprints/service/entities/bulk"+flags, `{"entities":[`+strings.Join(bulk, ",")+`]}`)
		if at(got, "entities", 0, "created") != false || at(got, "errors", 0, "error") != "not_found" || at(got, "errors", 0, "statusCode") != 404.0 || at(got, "errors", 0, "identifier") != "s19" {
			t.Errorf("bulk with a missing relation: %v", got)
		}
		got = c.status(200, "POST", "/v1/blueprints/service/entities/bulk"+flags, `{"entities":[`+strings.Join(bulk[:19], ",")+`]}`)
		if !cmp.Equal(got["errors"], any([]any{})) {
			t.Errorf("a good bulk: %v", got)
		}
		c.refused(422, "invalid_request", "entities", "POST", "/v1/blueprints/service/entities/bulk"+flags, `{"entities":[`+strings.Join(append(bulk, bulk[0]), ",")+`]}`)
		c.refused(413, "too_large", "1048576", "POST", "/v1/blueprints/service/entities/bulk"+flags, `{"entities":[{"identifier":"big","properties":{"x":"`+strings.Repeat("x", 1<<20)+`"}}]}`)
		c.status(201, "POST", "/v1/blueprints/service/entities?upsert=true&merge=true&create_missing_related_entities=true", `{"identifier":"late","relations":{"cluster":"c1"}}`)
		c.ok("GET", "/v1/blueprints/cluster/entities/c1", "")

		// The state of the full sync, by pages of what the integration wrote.
		seen := map[string]int{}
		page := map[string]any{"datasource_prefix": "port-ocean/aws-v3", "datasource_suffix": "/shop/exporter", "limit": 7}
		for {
			body, _ := json.Marshal(page)
			got := c.ok("POST", "/v1/blueprints/entities/datasource-entities", string(body))
			for _, id := range identifiersIn(got) {
				seen[id]++
			}
			if got["next"] == nil {
				break
			}
			page["from"] = got["next"]
		}
		if len(seen) != 21 || seen["late"] != 1 || seen["c1"] != 1 {
			t.Errorf("the data source has %d entities: %v", len(seen), seen)
		}
		if got := c.ok("POST", "/v1/blueprints/entities/datasource-entities", `{"datasource_prefix":"port-ocean/aws-v3","datasource_suffix":"/shop/exporter","limit":5000,"before":"2020-01-01T00:00:00.000Z"}`); len(identifiersIn(got)) != 0 {
			t.Errorf("before all of them: %v", got)
		}

		// Deletes, one with what quote_plus leaves of a space and a plus.
		c.ok("POST", "/v1/blueprints/service/entities"+flags, `{"identifier":"a+b/c:d"}`)
		c.ok("DELETE", "/v1/blueprints/service/entities/"+quotePlus("a+b/c:d")+"?delete_dependents=true", "")
		c.refused(404, "not_found", "a+b", "GET", "/v1/blueprints/service/entities/"+quotePlus("a+b/c:d"), "")
		gone := c.ok("POST", "/v1/blueprints/service/bulk/entities/delete?delete_dependents=true", `{"entities":["s0","s1","never"]}`)
		if !cmp.Equal(gone["deletedEntities"], any([]any{"s0", "s1"})) {
			t.Errorf("deleted %v", gone)
		}

		ingest, _ := at(made, "integration", "metricAttributes", "ingestUrl").(string)
		target := strings.TrimPrefix(ingest, c.url)
		c.ok("POST", target+"/syncMetrics", `{"syncKindsMetrics":[{"eventId":"r1","kindIdentifier":"service-0","kind":"service","syncStatus":"completed"}]}`)
		c.ok("PUT", target+"/syncMetrics/resync/r1/kind/service-0", `{"syncKindMetrics":{"eventId":"r1","kindIdentifier":"service-0","syncStatus":"completed"}}`)
		logs, _ := at(made, "integration", "logAttributes", "ingestUrl").(string)
		c.ok("POST", strings.TrimPrefix(logs, c.url), `{"logs":[{"message":"resync","level":"INFO"}]}`)
		c.ok("PATCH", "/v1/integration/shop/resync-state", `{"status":"completed","lastResyncEnd":"2026-11-21T10:00:00Z","intervalInMinuets":60}`)
	})
}

func TestContractOfTheKubernetesExporter(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		k := s.client(t, kubeAgent)
		k.ok("POST", "/v1/integration?upsert=true", `{"title":"shop","installationAppType":"K8S EXPORTER","installationId":"shop","version":"0.3.4","config":{"resources":[]},"changelogDestination":{"type":"POLLING"}}`)
		k.blueprint("node", "")
		// What is false and empty is left out, and must come back all the same.
		made := k.status(201, "POST", "/v1/blueprints", `{"identifier":"pod","title":"Pod","icon":"","description":"","schema":{"properties":{"phase":{"type":"string"}}},"relations":{"on":{"target":"node"}}}`)
		for what, b := range map[string]any{"made": made["blueprint"], "read": k.ok("GET", "/v1/blueprints/pod", "")["blueprint"], "listed": at(k.ok("GET", "/v1/blueprints", ""), "blueprints", 1)} {
			if at(b, "relations", "on", "required") != false || at(b, "relations", "on", "many") != false || at(b, "schema", "required") == nil {
				t.Errorf("%s: %v lacks what a client needs of a relation and a schema", what, b)
			}
		}
		for i := range 3 {
			got := k.ok("POST", "/v1/blueprints/pod/entities?upsert=true&merge=true&run_id=&create_missing_related_entities=true",
				fmt.Sprintf(`{"identifier":"shop-pod-%d","blueprint":"pod","title":"p","icon":"","properties":{"phase":"Running"},"relations":{}}`, i))
			if got["ok"] != true || at(got, "entity", "identifier") == nil {
				t.Errorf("upsert: %v", got)
			}
		}
		other := s.client(t, "port-k8s-exporter/^0.3.4 (statekey/other)")
		other.entity("pod", `{"identifier":"foreign"}`)
		rules := `{"property":"$datasource","operator":"contains","value":"port-k8s-exporter"},{"property":"$datasource","operator":"contains","value":"(statekey/shop)"}`
		got := k.ok("POST", "/v1/entities/search?exclude_calculated_properties=true&include=blueprint&include=identifier", `{"combinator":"and","rules":[`+rules+`]}`)
		ids := identifiersIn(got)
		slices.Sort(ids)
		if !cmp.Equal(ids, []string{"shop-pod-0", "shop-pod-1", "shop-pod-2"}) {
			t.Errorf("found %v", ids)
		}
		k.ok("DELETE", "/v1/blueprints/pod/entities/shop-pod-0?delete_dependents=true", "")
		if got := k.call("GET", "/v1/blueprints/pod/entities/shop-pod-0", ""); got.status != 404 || got.body["ok"] != false {
			t.Errorf("deleted: %v", got)
		}
		bulk := k.status(200, "POST", "/v1/blueprints/pod/entities/bulk?upsert=true&merge=true", `{"entities":[{"identifier":"shop-pod-1","properties":{"phase":"Failed"}}]}`)
		if at(bulk, "entities", 0, "created") != false {
			t.Errorf("bulk %v", bulk)
		}
	})
}

// Ocean writes up to 50 entities at once; none of these may be lost or fail for the
// others.
func TestContractConcurrentWrites(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, oceanAgent)
		c.blueprint("cluster", "")
		c.blueprint("svc", `"n":{"type":"number"}`, `"relations":{"in":{"target":"cluster","required":false,"many":false}}`)
		const writers, each = 50, 4
		var wg sync.WaitGroup
		statuses := make([][]int, writers)
		for i := range writers {
			wg.Go(func() {
				for k := range each {
					// All point to the same few clusters, which are made as they come, and all change one entity.
					body := fmt.Sprintf(`{"identifier":"s%d-%d","properties":{"n":%d},"relations":{"in":"c%d"}}`, i, k, k, k)
					if k == 0 {
						body = fmt.Sprintf(`{"identifier":"shared","properties":{"n":%d}}`, i)
					}
					got := c.call("POST", "/v1/blueprints/svc/entities?upsert=true&merge=true&create_missing_related_entities=true", body)
					statuses[i] = append(statuses[i], got.status)
				}
			})
		}
		wg.Wait()
		for i, list := range statuses {
			for k, status := range list {
				if status/100 != 2 {
					t.Errorf("writer %d: call %d was answered %d", i, k, status)
				}
			}
		}
		if got := c.ok("GET", "/v1/blueprints/svc/entities-count", ""); got["count"] != float64(writers*(each-1)+1) {
			t.Errorf("there are %v entities", got["count"])
		}
		if got := c.ok("GET", "/v1/blueprints/cluster/entities-count", ""); got["count"] != float64(each-1) {
			t.Errorf("there are %v clusters", got["count"])
		}
	})
}

// Clients that see x-ratelimit-reset take it for seconds to sleep, or for a time:
// none is sent, so that none of them sleeps.
func TestContractNoRateLimitHeaders(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, terraformAgent)
	for _, a := range []apiAnswer{c.call("GET", "/v1/blueprints", ""), c.call("GET", "/v1/blueprints/none", "")} {
		for name := range a.header {
			if strings.HasPrefix(http.CanonicalHeaderKey(name), "X-Ratelimit") {
				t.Errorf("header %s", name)
			}
		}
	}
}
