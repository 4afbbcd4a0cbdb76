package catalog_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestIntegrationIsWhatItSaysOfItself(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "port-ocean/aws-v3/1.2.3/shop/exporter")
		c.refused(404, "not_found", "shop", "GET", "/v1/integration/shop", "")
		made := c.status(201, "POST", "/v1/integration", `{"installationId":"shop","installationAppType":"aws-v3","title":"商店","version":"1.2.3",
			"config":{"resources":[]},"changelogDestination":{"type":"POLLING"},"ownKey":{"kept":true},"_id":"mine","updatedAt":"never"}`)
		in, _ := at(made, "integration").(map[string]any)
		id, _ := in["_id"].(string)
		for _, tt := range []struct {
			what string
			got  any
			want any
		}{
			{"title", in["title"], "商店"}, {"unknown members", in["ownKey"], map[string]any{"kept": true}},
			{"resync state", in["resyncState"], map[string]any{}},
			{"log URL", at(in, "logAttributes", "ingestUrl"), c.url + "/v1/integration/" + id + "/logs"},
			{"metrics URL", at(in, "metricAttributes", "ingestUrl"), c.url + "/v1/integration/" + id + "/metrics"},
			{"ingest URL", at(in, "ingestAttributes", "ingestUrl"), c.url + "/v1/integration/" + id + "/ingest"},
		} {
			if !cmp.Equal(tt.got, tt.want) {
				t.Errorf("%s: %v, want %v", tt.what, tt.got, tt.want)
			}
		}
		if id == "mine" || in["updatedAt"] == "never" {
			t.Errorf("what is ours was taken from the body: %v", in)
		}
		c.refused(409, "identifier_taken", "shop", "POST", "/v1/integration", `{"installationId":"shop"}`)

		again := c.status(200, "POST", "/v1/integration?upsert=true", `{"installationId":"shop","version":"1.2.3"}`)
		if at(again, "integration", "updatedAt") != in["updatedAt"] || !cmp.Equal(at(again, "integration", "config"), in["config"]) {
			t.Errorf("an upsert of the same: %v", again)
		}
		for _, target := range []string{"shop", "shop?byField=installationId", id, at(in, "logAttributes", "ingestId").(string) + "?byField=logIngestId"} {
			if got := c.ok("GET", "/v1/integration/"+target, ""); at(got, "integration", "_id") != id {
				t.Errorf("GET %s: %v", target, got)
			}
		}
		patched := c.ok("PATCH", "/v1/integration/shop", `{"version":"1.2.3"}`)
		if at(patched, "integration", "updatedAt") == in["updatedAt"] {
			t.Error("a patch of the same is no request to sync")
		}
		if got := c.ok("GET", "/v1/integration/shop/resync-request", ""); at(got, "request", "updatedAt") != at(patched, "integration", "updatedAt") {
			t.Errorf("resync request %v", got)
		}
		c.ok("PATCH", "/v1/integration/shop/resync-state", `{"status":"running","lastResyncStart":"2026-11-21T09:00:00Z"}`)
		state := c.ok("PATCH", "/v1/integration/shop/resync-state", `{"resyncState":{"status":"completed"}}`)
		want := map[string]any{"status": "completed", "lastResyncStart": "2026-11-21T09:00:00Z"}
		if !cmp.Equal(at(state, "integration", "resyncState"), any(want)) || at(state, "integration", "updatedAt") != at(patched, "integration", "updatedAt") {
			t.Errorf("resync state %v", state)
		}
		if got := c.ok("PATCH", "/v1/integration/shop/config", `{"config":{"deleteDependentEntities":true}}`); !cmp.Equal(at(got, "integration", "config"), any(map[string]any{"deleteDependentEntities": true})) {
			t.Errorf("config %v", got)
		}
		if got := c.ok("PATCH", "/v1/integration/shop", `{"actionsProcessingEnabled":true}`); at(got, "integration", "actionsProcessingEnabled") != false || at(got, "warnings", 0) == nil {
			t.Errorf("actions %v", got)
		}
		c.ok("POST", "/v1/integration/shop/metrics/heartbeat", `{}`)
		c.ok("POST", "/v1/integration?upsert=true", `{"installationId":"eu-west-1:123456789012","installationAppType":"AWS EXPORTER"}`)
		list := c.ok("GET", "/v1/integration", "")
		if at(list, "integrations", 0, "installationId") != "eu-west-1:123456789012" || at(list, "integrations", 1, "heartbeatAt") == nil {
			t.Errorf("list %v", list)
		}
		if got := c.ok("GET", "/v1/integration/provision-enabled", ""); !cmp.Equal(got["integrations"], any([]any{})) {
			t.Errorf("provision-enabled %v", got)
		}
		c.ok("GET", "/v1/integration/"+esc("eu-west-1:123456789012"), "")
		c.ok("DELETE", "/v1/integration/shop", "")
		c.refused(404, "not_found", "shop", "DELETE", "/v1/integration/shop", "")
		c.refused(404, "not_found", id, "POST", "/v1/integration/"+id+"/logs", `{"logs":[]}`)
	})
}

func TestIntegrationTellsOfItsSyncs(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		c := s.client(t, "port-ocean/k/1/x/exporter")
		c.ok("POST", "/v1/integration", `{"installationId":"a b"}`)
		base := "/v1/integration/a+b" // one of the clients writes a space so

		c.ok("POST", base+"/kinds/pull+request%2Fx/examples", `{"examples":[{"n":1},{"n":"二 🙂"}]}`)
		c.ok("POST", base+"/kinds/pull+request%2Fx/examples", `{"examples":[{"n":2}]}`)
		if got := c.ok("GET", base+"/kinds", ""); !cmp.Equal(at(got, "data", "pull request/x", "examples"), any([]any{map[string]any{"_id": "0", "data": map[string]any{"n": 2.0}}})) {
			t.Errorf("kinds %v", got)
		}

		if got := c.ok("GET", base+"/cursor?kind=k&index=0", ""); got["cursor"] != nil {
			t.Errorf("no cursor: %v", got)
		}
		c.ok("PUT", base+"/cursor?kind=k&index=0", `{"cursor":{"page":3}}`)
		c.ok("POST", base+"/cursor?kind=k&index=1", `{"cursor":"x"}`)
		if got := c.ok("GET", base+"/cursor?kind=k&index=0", ""); !cmp.Equal(got["cursor"], any(map[string]any{"page": 3.0})) {
			t.Errorf("cursor: %v", got)
		}

		c.ok("POST", base+"/logs", `{"logs":[
			{"message":"first","level":"INFO","timestamp":"2026-11-21T09:00:00Z","extra":{"event_id":"r1"}},
			{"message":"third","level":"ERROR","timestamp":"2026-11-21T09:00:02.5Z","eventId":"r2"},
			{"message":"second","level":"INFO","timestamp":"2026-11-21T09:00:01Z"}]}`)
		messages := func(query string) string {
			got := c.ok("GET", base+"/logs?"+query, "")
			var list []string
			for i := 0; at(got, "logs", i) != nil; i++ {
				list = append(list, fmt.Sprint(at(got, "logs", i, "message")))
			}
			return strings.Join(list, " ")
		}
		position := c.ok("GET", base+"/logs?limit=2", "")
		last := at(position, "logs", 1)
		for query, want := range map[string]string{
			"": "third second first", "limit=1": "third", "direction=after&limit=2": "first second", "level=ERROR": "third", "eventId=r1": "first",
			fmt.Sprintf("timestamp=%v&log_id=%v", at(last, "timestamp"), at(last, "_id")):                 "first",
			fmt.Sprintf("timestamp=%v&log_id=%v&direction=after", at(last, "timestamp"), at(last, "_id")): "third",
			"timestamp=2026-11-21T09:00:01Z": "first",
		} {
			if got := messages(query); got != want {
				t.Errorf("logs?%s: %q, want %q", query, got, want)
			}
		}

		c.ok("POST", base+"/metrics/syncMetrics", `{"syncKindsMetrics":[{"eventId":"r1","kindIdentifier":"pod-0","kind":"pod","metrics":{"loaded":1}},{"eventId":"r1","kind":"node"}]}`)
		c.ok("PUT", base+"/metrics/syncMetrics/resync/r1/kind/pod-0", `{"syncKindMetrics":{"metrics":{"loaded":7}}}`)
		c.ok("PUT", base+"/metrics/syncMetrics/resync/r%2B2/kind/a+b", `{"syncKindMetrics":{}}`)
		got := c.ok("GET", base+"/syncMetrics?resyncId=r1", "")
		loaded := map[string]any{}
		for i := 0; at(got, "syncMetrics", i) != nil; i++ {
			loaded[fmt.Sprint(at(got, "syncMetrics", i, "kindIdentifier"))] = at(got, "syncMetrics", i, "metrics", "loaded")
		}
		if want := map[string]any{"pod-0": 7.0, "node": nil}; !cmp.Equal(loaded, want) {
			t.Errorf("metrics %v, want %v", loaded, want)
		}
		if got := c.ok("GET", base+"/syncMetrics?resyncId=r%2B2", ""); at(got, "syncMetrics", 0, "kindIdentifier") != "a b" {
			t.Errorf("metrics of a kind with a space: %v", got)
		}
		syncs := map[any]any{}
		got = c.ok("GET", base+"/syncsMetadata", "")
		for i := 0; at(got, "syncsMetadata", i) != nil; i++ {
			syncs[at(got, "syncsMetadata", i, "eventId")] = at(got, "syncsMetadata", i, "kinds")
		}
		if want := map[any]any{"r1": 2.0, "r+2": 1.0}; !cmp.Equal(syncs, want) {
			t.Errorf("syncs %v, want %v", syncs, want)
		}
		c.ok("DELETE", base, "")
	})
}

func TestIntegrationsBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.ok("POST", "/v1/integration", `{"installationId":"in","version":"1"}`)
	long := strings.Repeat("x", 300)
	before := c.ok("GET", "/v1/integration", "")
	for _, tt := range []struct {
		status       int
		code, says   string
		method, path string
		body         string
	}{
		{422, "invalid_request", "installationId", "POST", "", `{}`},
		{422, "invalid_request", "installationId", "POST", "", `{"installationId":7}`},
		{422, "invalid_request", "installationId", "POST", "", `{"installationId":""}`},
		{422, "invalid_request", "installationId", "POST", "", `{"installationId":".."}`},
		{422, "invalid_request", "installationId", "POST", "", `{"installationId":"provision-enabled"}`},
		{422, "invalid_request", "installationId", "POST", "", `{"installationId":"a\u0000b"}`},
		{422, "invalid_request", "installationId", "POST", "", `{"installationId":"` + long + `"}`},
		{422, "invalid_request", "version", "POST", "?upsert=true", `{"installationId":"in","version":2}`},
		{422, "invalid_request", "title", "POST", "?upsert=true", `{"installationId":"in","title":"` + long + `"}`},
		{422, "invalid_request", "config", "POST", "?upsert=true", `{"installationId":"in","config":"{}"}`},
		{422, "invalid_request", "changelogDestination.type KAFKA", "POST", "?upsert=true", `{"installationId":"in","changelogDestination":{"type":"KAFKA"}}`},
		{422, "invalid_request", "changelogDestination", "POST", "?upsert=true", `{"installationId":"in","changelogDestination":[]}`},
		{422, "invalid_request", "createPortResourcesOrigin", "POST", "?upsert=true", `{"installationId":"in","createPortResourcesOrigin":"Port"}`},
		{422, "invalid_request", "upsert", "POST", "?upsert=perhaps", `{"installationId":"in"}`},
		{400, "invalid_request", "JSON", "POST", "", `{`},
		{422, "invalid_request", "object", "POST", "", `[]`},
		{413, "too_large", "524288", "POST", "?upsert=true", `{"installationId":"in","x":"` + strings.Repeat("x", 600<<10) + `"}`},
		{413, "too_large", "1048576", "POST", "?upsert=true", `{"installationId":"in","x":"` + strings.Repeat("x", 1<<20) + `"}`},
		{422, "invalid_request", "byField", "GET", "/in?byField=isPolling", ""},
		{422, "invalid_request", "installationId", "PATCH", "/in", `{"installationId":"other"}`},
		{422, "invalid_request", "config", "PATCH", "/in/config", `{}`},
		{422, "invalid_request", "config", "PATCH", "/in/config", `{"config":[]}`},
		{422, "invalid_request", "resyncState", "PATCH", "/in/resync-state", `{"resyncState":"x"}`},
		{422, "invalid_request", "examples", "POST", "/in/kinds/k/examples", `{}`},
		{422, "invalid_request", "kind", "POST", "/in/kinds/" + long + "/examples", `{"examples":[]}`},
		{413, "too_large", "examples", "POST", "/in/kinds/k/examples", `{"examples":["` + strings.Repeat("x", 300<<10) + `"]}`},
		{422, "invalid_request", "kind", "PUT", "/in/cursor", `{"cursor":1}`},
		{422, "invalid_request", "cursor", "PUT", "/in/cursor?kind=k", `{}`},
		{422, "invalid_request", "index", "PUT", "/in/cursor?kind=k&index=" + long, `{"cursor":1}`},
		{422, "invalid_request", "logs", "POST", "/in/logs", `{"logs":{}}`},
		{422, "invalid_request", "logs[1]", "POST", "/in/logs", `{"logs":[{},"x"]}`},
		{422, "invalid_request", "logs", "POST", "/in/logs", `{"logs":[` + strings.TrimSuffix(strings.Repeat("{},", 1001), ",") + `]}`},
		{422, "invalid_request", "logs[0]", "POST", "/in/logs", `{"logs":[{"message":"` + strings.Repeat("x", 70<<10) + `"}]}`},
		{422, "invalid_request", "limit", "GET", "/in/logs?limit=0", ""},
		{422, "invalid_request", "timestamp", "GET", "/in/logs?timestamp=now", ""},
		{422, "invalid_request", "log_id", "GET", "/in/logs?log_id=x", ""},
		{422, "invalid_request", "direction", "GET", "/in/logs?direction=up", ""},
		{422, "invalid_request", "syncKindsMetrics[0]", "POST", "/in/metrics/syncMetrics", `{"syncKindsMetrics":[{"kind":"k"}]}`},
		{422, "invalid_request", "kindIdentifier", "POST", "/in/metrics/syncMetrics", `{"syncKindsMetrics":[{"eventId":"k"}]}`},
		{422, "invalid_request", "syncKindMetrics", "PUT", "/in/metrics/syncMetrics/resync/e/kind/k", `{}`},
		{404, "not_found", "none", "GET", "/none/logs", ""},
		{404, "not_found", "none", "PATCH", "/none", `{}`},
		{404, "not_found", "none", "POST", "/none/metrics/heartbeat", `{}`},
		{404, "not_found", "not served", "POST", "/in/ingest/items", `{}`},
	} {
		c.refused(tt.status, tt.code, tt.says, tt.method, "/v1/integration"+tt.path, tt.body)
	}
	if after := c.ok("GET", "/v1/integration", ""); !cmp.Equal(before, after) {
		t.Errorf("refused calls changed something: %s", cmp.Diff(before, after))
	}
	for path, member := range map[string]string{"kinds": "data", "logs": "logs", "syncMetrics": "syncMetrics"} {
		if got := c.ok("GET", "/v1/integration/in/"+path, "")[member]; got != nil && fmt.Sprint(got) != "[]" && fmt.Sprint(got) != "map[]" {
			t.Errorf("%s after refused calls: %v", path, got)
		}
	}
}

func TestIntegrationLogsAreKeptWithinLimits(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "x")
		c.ok("POST", "/v1/integration", `{"installationId":"in"}`)
		c.ok("POST", "/v1/integration", `{"installationId":"other"}`)
		c.ok("POST", "/v1/integration/other/logs", `{"logs":[{"message":"stays"}]}`)
		batch := `{"logs":[` + strings.TrimSuffix(strings.Repeat(`{"level":"INFO"},`, 1000), ",") + `]}`
		for range 12 {
			c.ok("POST", "/v1/integration/in/logs", batch)
		}
		for name, want := range map[string]int{"in": 10_000, "other": 1} {
			var n int
			err := db.QueryRow(t.Context(), `SELECT count(*) FROM catalog_integration_logs l JOIN catalog_integrations i ON i.id = l.integration_id
				WHERE i.installation_id = $1`, name).Scan(&n)
			if err != nil || n != want {
				t.Errorf("%s has %d lines (%v), want %d", name, n, err, want)
			}
		}
		c.ok("DELETE", "/v1/integration/in", "")
		var n int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM catalog_integration_logs`).Scan(&n); err != nil || n != 1 {
			t.Errorf("%d lines are left (%v), want that of the other", n, err)
		}
	})
}

func TestWhatIntegrationsSentIsForgottenInTime(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := startAPI(t, db)
		c := s.client(t, "x")
		c.ok("POST", "/v1/integration", `{"installationId":"in"}`)
		send := func() {
			c.ok("POST", "/v1/integration/in/logs", `{"logs":[{"message":"x"}]}`)
			c.ok("PUT", "/v1/integration/in/metrics/syncMetrics/resync/e/kind/k", `{"syncKindMetrics":{}}`)
		}
		count := func(table string) (n int) {
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		send()
		s.clock.add(15 * 24 * time.Hour)
		if err := s.catalog.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l, m := count("catalog_integration_logs"), count("catalog_sync_metrics"); l != 0 || m != 1 {
			t.Errorf("after 15 days there are %d lines and %d metrics, want 0 and 1", l, m)
		}
		s.clock.add(16 * 24 * time.Hour)
		send2 := s.client(t, "x") // the token of a month ago is no longer good
		send2.ok("POST", "/v1/integration/in/logs", `{"logs":[{"message":"new"}]}`)
		if err := s.catalog.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if l, m := count("catalog_integration_logs"), count("catalog_sync_metrics"); l != 1 || m != 0 {
			t.Errorf("after a month there are %d lines and %d metrics, want the new line alone", l, m)
		}
	})
}

func TestAllIntegrationsAreListedSomeAtATime(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := startAPI(t, db).client(t, "x")
		if list := c.ok("GET", "/v1/integration", "")["integrations"]; fmt.Sprint(list) != "[]" {
			t.Errorf("of none: %v", list)
		}
		for n := 1; n <= 41; n++ {
			c.ok("POST", "/v1/integration", fmt.Sprintf(`{"installationId":"in-%02d"}`, n))
			if n%20 > 1 {
				continue
			}
			list, _ := c.ok("GET", "/v1/integration", "")["integrations"].([]any)
			if len(list) != n {
				t.Fatalf("of %d there are %d", n, len(list))
			}
			for i, v := range list {
				if got := v.(map[string]any)["installationId"]; got != fmt.Sprintf("in-%02d", i+1) {
					t.Errorf("place %d of %d has %v", i, n, got)
				}
			}
		}
	})
}

func TestExamplesOfAnIntegrationAreBoundedTogether(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.ok("POST", "/v1/integration", `{"installationId":"in"}`)
	examples := `{"examples":["` + strings.Repeat("x", 250<<10) + `"]}`
	for n := range 131 {
		c.ok("POST", fmt.Sprintf("/v1/integration/in/kinds/k%d/examples", n), examples)
	}
	c.refused(413, "too_large", "33554432", "POST", "/v1/integration/in/kinds/more/examples", examples)
	c.ok("POST", "/v1/integration/in/kinds/k0/examples", examples) // in place of what is there
}

func TestRefusalsDoNotRepeatWhatIsLong(t *testing.T) {
	t.Parallel()
	c := startAPI(t, storetest.SQLite(t)).client(t, "x")
	c.ok("POST", "/v1/integration", `{"installationId":"in"}`)
	long := strings.Repeat("x", 500_000)
	for _, body := range []string{`{"installationId":"` + long + `"}`, `{"changelogDestination":{"type":"` + long + `"}}`} {
		if text := fmt.Sprint(c.status(422, "PATCH", "/v1/integration/in", body)); len(text) > 1000 {
			t.Errorf("a refusal of %d bytes", len(text))
		}
	}
}
