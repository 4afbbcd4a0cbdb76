package exporter

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// listOf is any list of the API.
type listOf struct {
	List []map[string]any `json:"list"`
}

func TestSyncsOverTheAPI(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.run(w.x)
		for n := range 12 {
			w.cloud.put(thing(fmt.Sprintf("t-%02d", n)), float64(n))
		}
		finished := func(id string) map[string]any {
			t.Helper()
			var run map[string]any
			w.eventually("the run is over", func() bool {
				w.call("GET", "/v1/exporter/sync_runs/"+id, "", 200, &run)
				return run["finished_at"] != nil
			})
			return run
		}
		var made map[string]any
		w.call("POST", "/v1/exporter/sync_runs", "", 202, &made)
		run := finished(made["id"].(string))
		kinds, _ := run["kinds"].([]any)
		if run["status"] != "succeeded" || len(kinds) == 0 || run["config_revision"] != 1.0 || run["grace_seconds"] != 120.0 {
			t.Fatalf("the run is %v", run)
		}
		w.call("POST", "/v1/exporter/sync_runs", `{"accounts": ["`+testAccount+`"], "kinds": ["`+testKind+`"], "dry_run": true, "grace_seconds": 0.5}`, 202, &made)
		if dry := finished(made["id"].(string)); dry["dry_run"] != true || dry["unchanged"] != 12.0 || dry["grace_seconds"] != 0.5 {
			t.Errorf("the dry run is %v", dry)
		}
		for n := range 11 {
			w.cloud.remove(thing(fmt.Sprintf("t-%02d", n)))
		}
		w.pass(time.Hour)
		w.call("POST", "/v1/exporter/sync_runs", `{}`, 202, &made)
		held := finished(made["id"].(string))
		if held["status"] != "held" || held["held"] != 11.0 || held["error"] == nil {
			t.Fatalf("the run is %v", held)
		}
		var list listOf
		path := "/v1/exporter/sync_runs/" + held["id"].(string)
		w.call("GET", path+"/scopes?status=held", "", 200, &list)
		if len(list.List) != 1 || list.List[0]["kind"] != testKind || list.List[0]["stage"] != "done" {
			t.Errorf("held scopes: %v", list.List)
		}
		// Page by page.
		seen := map[any]bool{}
		for next := path + "/changes?change=held&count=4"; next != ""; {
			list = listOf{}
			next = w.page(next, &list)
			for _, c := range list.List {
				seen[c["identifier"]] = true
			}
			if len(list.List) > 4 {
				t.Errorf("a page of 4 has %d", len(list.List))
			}
		}
		if len(seen) != 11 {
			t.Errorf("%d changes are held, want 11", len(seen))
		}
		w.call("POST", path+"/confirm", "", 202, &made)
		if done := finished(made["id"].(string)); done["status"] != "succeeded" || done["removed"] != 11.0 || done["confirms"] != held["id"] {
			t.Errorf("confirmed, the run is %v", done)
		}
		w.call("GET", "/v1/exporter/sync_runs?count=2", "", 200, &list)
		if len(list.List) != 2 || list.List[0]["id"] != made["id"] {
			t.Errorf("the last runs are %v", list.List)
		}
		w.call("GET", "/v1/exporter/freshness?kind="+testKind, "", 200, &list)
		if len(list.List) != 1 || list.List[0]["status"] != "no_events" || list.List[0]["last_sync_run"] != made["id"] {
			t.Errorf("freshness: %v", list.List)
		}
	})
}

// page gets a page of a list, and returns where the next one is; empty for none.
func (w *world) page(path string, into any) (next string) {
	w.t.Helper()
	w.call("GET", path, "", 200, into)
	resp, err := http.Get(w.http.URL + path)
	if err != nil {
		w.t.Fatal(err)
	}
	_ = resp.Body.Close()
	link, _, found := strings.Cut(resp.Header.Get("Link"), ">; rel=\"next\"")
	if !found {
		return ""
	}
	return strings.TrimPrefix(link, "<")
}

func TestSyncSettingsOverTheAPI(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		var got map[string]any
		w.call("GET", "/v1/exporter/sync_settings", "", 200, &got)
		if got["interval"] != "0s" || got["removal_count"] != 10.0 || got["removal_percent"] != 20.0 {
			t.Errorf("the settings are %v", got)
		}
		w.call("PUT", "/v1/exporter/sync_settings", `{"interval": "30m"}`, 200, &got)
		w.call("PUT", "/v1/exporter/sync_settings", `{"removal_percent": 0, "removal_count": 3}`, 200, &got)
		if got["interval"] != "30m0s" || got["removal_count"] != 3.0 || got["removal_percent"] != 0.0 || got["updated_at"] == nil {
			t.Errorf("the settings are %v", got)
		}
		set, err := w.x.SyncSettings(t.Context())
		if err != nil || set.limit(1000) != 3 {
			t.Errorf("of 1000 may go %d, %v", set.limit(1000), err)
		}
	})
}

func TestBadRequestsAboutSyncsNameTheFieldAndChangeNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		before, err := w.x.SyncSettings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		many := `"` + strings.Repeat(`AWS::SQS::Queue", "`, maxSelected) + `AWS::SQS::Queue"`
		for _, c := range []struct {
			method, path, body string
			status             int
			says               string
		}{
			{"POST", "/sync_runs", `{"accounts": ["12"]}`, 400, `accounts[0] must be a 12-digit account id, not \"12\"`},
			{"POST", "/sync_runs", `{"regions": ["eu-west-1", "here"]}`, 400, `regions[1]`},
			{"POST", "/sync_runs", `{"kinds": ["queue"]}`, 400, `kinds[0]`},
			{"POST", "/sync_runs", `{"kinds": [` + many + `]}`, 400, `kinds has 501 items`},
			{"POST", "/sync_runs", `{"grace_seconds": -1}`, 400, `grace_seconds`},
			{"POST", "/sync_runs", `{"grace_seconds": 1e300}`, 400, `grace_seconds`},
			{"POST", "/sync_runs", `{"dryrun": true}`, 400, `\"dryrun\" is not known`},
			{"POST", "/sync_runs", `{"dry_run": "yes"}`, 400, `dry_run`},
			{"GET", "/sync_runs?cuont=1", ``, 400, `cuont`},
			{"GET", "/sync_runs/none", ``, 404, `no full sync none`},
			{"GET", "/sync_runs/none/scopes", ``, 404, `no full sync none`},
			{"GET", "/sync_runs/none/changes", ``, 404, `no full sync none`},
			{"POST", "/sync_runs/none/confirm", ``, 404, `no full sync none`},
			{"POST", "/sync_runs/none/cancel", ``, 404, `no full sync none`},
			{"PUT", "/sync_settings", `{"interval": "often"}`, 400, `interval must be a length of time`},
			{"PUT", "/sync_settings", `{"interval": "10s"}`, 400, `interval`},
			{"PUT", "/sync_settings", `{"interval": "9000h"}`, 400, `interval`},
			{"PUT", "/sync_settings", `{"removal_count": -1}`, 400, `removal_count`},
			{"PUT", "/sync_settings", `{"removal_percent": 101}`, 400, `removal_percent`},
			{"PUT", "/sync_settings", ``, 415, `Content-Type`},
			{"GET", "/drift?missed=all", ``, 400, `missed must be create, update or delete`},
			{"GET", "/drift?pending=maybe", ``, 400, `pending`},
			{"GET", "/drift?offset=x", ``, 400, `offset`},
			{"GET", "/drift?prev=true", ``, 400, `prev`},
			{"GET", "/freshness?status=fine", ``, 400, `status must be ok, no_events, broken, failing, never_synced or not_configured`},
			{"GET", "/freshness?kinds=x", ``, 400, `kinds`},
			{"GET", "/freshness?count=1000", ``, 400, `count`},
		} {
			var got struct {
				Error struct{ Code, Message string }
			}
			w.call(c.method, "/v1/exporter"+c.path, c.body, c.status, &got)
			if !strings.Contains(got.Error.Message, strings.ReplaceAll(c.says, `\"`, `"`)) {
				t.Errorf("%s %s %s: %q does not say %q", c.method, c.path, c.body, got.Error.Message, c.says)
			}
		}
		var list listOf
		w.call("GET", "/v1/exporter/sync_runs", "", 200, &list)
		if len(list.List) != 0 {
			t.Errorf("runs were made: %v", list.List)
		}
		if set, err := w.x.SyncSettings(t.Context()); err != nil || set != before {
			t.Errorf("the settings are %+v, %v; they were %+v", set, err, before)
		}
	})
}
