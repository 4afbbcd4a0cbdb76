package inventory

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// call makes a REST call and decodes the answer.
func (w *world) call(token, method, path, body string) (int, map[string]any, http.Header) {
	w.t.Helper()
	url := path
	if strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "/v1/") {
		url = "/v1/teams/default" + path
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+url, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	var out map[string]any
	if len(text) > 0 {
		if err := json.Unmarshal(text, &out); err != nil {
			w.t.Fatalf("%s %s: %s: %s", method, path, err, text)
		}
	}
	return resp.StatusCode, out, resp.Header
}

// login makes a key of a role and returns a bearer token for it.
func (w *world) login(role auth.Role) string {
	w.t.Helper()
	k, secret, err := w.auth.CreateKey(w.t.Context(), auth.NewKey{Account: auth.DefaultAccount, Role: role})
	if err != nil {
		w.t.Fatal(err)
	}
	token, _, err := w.auth.Login(w.t.Context(), k.ID, secret)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

func TestRESTFromProjectToServer(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		admin, reader := w.login(auth.Admin), w.login(auth.Reader)
		w.run()
		var account, webhook, server, secretID string
		get := func(m map[string]any, key string) string { s, _ := m[key].(string); return s }
		steps := []struct {
			token, method, path, body string
			status                    int
			look                      func(out map[string]any)
		}{
			{reader, "POST", "/projects", `{"name":"web"}`, 403, nil},
			{"", "GET", "/projects", "", 401, nil},
			{admin, "POST", "/projects", `{"name":"web","description":"前端 🚀"}`, 201, nil},
			{admin, "POST", "/projects", `{"name":"web"}`, 409, nil},
			{admin, "POST", "/projects", `{"name":"a b"}`, 400, nil},
			{admin, "POST", "/projects", `{"name":"ok","next_unix_uid":1}`, 400, nil},
			{reader, "GET", "/projects/web", "", 200, func(out map[string]any) {
				if get(out, "description") != "前端 🚀" || out["deleted_at"] != nil {
					t.Errorf("project %v", out)
				}
			}},
			{reader, "GET", "/projects?count=1", "", 200, func(out map[string]any) {
				if list := out["list"].([]any); len(list) != 1 || get(list[0].(map[string]any), "name") != "web" {
					t.Errorf("projects %v", out)
				}
			}},
			{admin, "PUT", "/projects/web", `{"description":"b"}`, 204, nil},
			{reader, "GET", "/projects/none", "", 404, nil},
			{reader, "GET", "/v1/teams/other/projects", "", 404, nil},
			{admin, "POST", "/projects/web/cloud_accounts", `{"account_id":"12","regions":["eu-west-1"]}`, 400, nil},
			{admin, "POST", "/projects/web/cloud_accounts", `{"account_id":"123456789012","regions":["everywhere"]}`, 400, nil},
			{admin, "POST", "/projects/web/cloud_accounts", `{"account_id":"999999999999","provider":"aws"}`, 200, func(out map[string]any) {
				if regions, ok := out["regions"].([]any); !ok || len(regions) != 0 {
					t.Errorf("an account connected as ASA's clients do: %v", out)
				}
			}},
			{admin, "DELETE", "/projects/web/cloud_accounts/999999999999", "", 204, nil},
			{admin, "POST", "/projects/web/cloud_accounts", `{"account_id":"123456789012","regions":["eu-west-1"],"sync_interval":"1m"}`, 400, nil},
			{admin, "POST", "/projects/web/cloud_accounts", `{"provider":"aws","account_id":"123456789012","regions":["eu-west-1"],"address_preference":"public","canonical_name_from":"tag:Name"}`, 200,
				func(out map[string]any) {
					account = get(out, "id")
					if get(out, "sync_interval") != "24h0m0s" || out["removal_threshold_percent"] != 30.0 || out["webhook_url"] != nil {
						t.Errorf("cloud account %v", out)
					}
					w.synced()
					w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning, PrivateIP: "10.0.0.5", PublicIP: "203.0.113.9", PrivateDNS: "ip-10-0-0-5.internal",
						Tags: map[string]string{"Name": "前端", "env": "prod"}})
				}},
			{admin, "POST", "/projects/web/cloud_accounts/ACCOUNT/monitor", "", 201, func(out map[string]any) {
				webhook = get(out, "webhook_url")
				if get(out, "client_id") == "" || get(out, "client_secret") == "" || get(out, "token_url") != w.http.URL+"/v1/oauth_token" {
					t.Errorf("monitor %v", out)
				}
				tok := w.token(get(out, "client_id"), get(out, "client_secret"))
				if status, answer, _ := w.post(webhook, tok, eventBody("e", testAccount, testRegion, testInstance, statePending, time.Now())); status != 202 {
					t.Errorf("webhook: %d %s", status, answer)
				}
				w.settled()
			}},
			{admin, "POST", "/projects/web/cloud_accounts/123456789012/monitor", "", 409, nil},
			{reader, "GET", "/projects/web/cloud_accounts/ACCOUNT/monitor", "", 200, func(out map[string]any) {
				if _, shown := out["client_secret"]; shown || get(out, "webhook_url") != webhook {
					t.Errorf("monitor shown again: %v", out)
				}
				secret := out["secrets"].([]any)[0].(map[string]any)
				secretID = get(secret, "id")
				if len(get(secret, "last_four")) != 4 || secret["last_used_at"] == nil {
					t.Errorf("secret %v", secret)
				}
			}},
			{admin, "POST", "/projects/web/cloud_accounts/ACCOUNT/monitor/secrets", `{"overlap":"0s"}`, 201, func(out map[string]any) {
				if len(out["secrets"].([]any)) != 2 || get(out, "client_secret") == "" {
					t.Errorf("rotated %v", out)
				}
			}},
			{admin, "DELETE", "/projects/web/cloud_accounts/ACCOUNT/monitor/secrets/SECRET", "", 204, nil},
			{admin, "DELETE", "/projects/web/cloud_accounts/ACCOUNT/monitor/secrets/none", "", 404, nil},
			{reader, "GET", "/projects/web/servers", "", 200, func(out map[string]any) {
				list := out["list"].([]any)
				if len(list) != 1 {
					t.Fatalf("servers %v", out)
				}
				s := list[0].(map[string]any)
				server = get(s, "id")
				details := s["instance_details"].(map[string]any)
				if get(s, "instance_id") != testInstance || get(s, "state") != "INACTIVE" || get(s, "access_address") != "203.0.113.9" || get(s, "canonical_name") != "前端" ||
					get(s, "cloud_provider") != "aws" || s["sftd_version"] != nil || get(details, "ec2_state") != stateRunning || get(details, "private_ip") != "10.0.0.5" {
					t.Errorf("server %v", s)
				}
			}},
			{admin, "PUT", "/projects/web/servers/SERVER", `{"labels":{"tier":"1","api.team":"x"}}`, 204, nil},
			{admin, "PUT", "/projects/web/servers/SERVER", `{"labels":{"aws.tag.env":"dev"}}`, 400, nil},
			{reader, "GET", "/servers?selector=api.tier%3D1,aws.tag.env+in+(prod)&project_name=web", "", 200, func(out map[string]any) {
				if len(out["list"].([]any)) != 1 {
					t.Errorf("by selector: %v", out)
				}
			}},
			{reader, "GET", "/servers?selector=api.tier%3D2", "", 200, func(out map[string]any) {
				if len(out["list"].([]any)) != 0 {
					t.Errorf("by selector: %v", out)
				}
			}},
			{reader, "GET", "/servers?selector=(", "", 400, nil},
			{reader, "GET", "/servers?host_name=x", "", 400, nil},
			{reader, "GET", "/projects/web/servers?project_name=web", "", 200, nil},
			{reader, "GET", "/projects/web/servers?project_name=other", "", 400, nil},
			{reader, "GET", "/servers?state=ACTIVE", "", 200, func(out map[string]any) {
				if len(out["list"].([]any)) != 0 {
					t.Errorf("active: %v", out)
				}
			}},
			{reader, "GET", "/projects/web/servers/SERVER/history", "", 200, func(out map[string]any) {
				list := out["list"].([]any)
				if len(list) != 2 || get(list[1].(map[string]any)["cause"].(map[string]any), "event_id") != "e" || get(list[0].(map[string]any), "change") != "labeled" {
					t.Errorf("history %v", out)
				}
			}},
			{reader, "GET", "/projects/web/servers/" + testInstance, "", 200, func(out map[string]any) {
				if get(out, "id") != server {
					t.Errorf("by instance id: %v", out)
				}
			}},
			{reader, "GET", "/projects/web/servers/i-0123456789abcdef9", "", 404, nil},
			{admin, "POST", "/projects/web/servers", `{"hostname":"bastion-1","access_address":"198.51.100.7"}`, 200, func(out map[string]any) {
				if get(out, "state") != "ACTIVE" || out["managed"] != false || out["instance_details"] != nil {
					t.Errorf("unmanaged server %v", out)
				}
			}},
			{admin, "POST", "/projects/web/servers", `{"hostname":"a b"}`, 400, nil},
			{admin, "POST", "/projects/web/server_enrollment_tokens", `{"description":"d"}`, 201, func(out map[string]any) {
				text, err := decodeToken(get(out, "token"))
				if err != nil || text.URL != w.http.URL || text.ID != get(out, "id") {
					t.Errorf("token %v, %v", text, err)
				}
			}},
			{reader, "GET", "/projects/web/server_enrollment_tokens", "", 200, func(out map[string]any) {
				if tok := out["list"].([]any)[0].(map[string]any); tok["token"] != nil || get(tok, "description") != "d" {
					t.Errorf("token shown again: %v", tok)
				}
			}},
			{admin, "POST", "/projects/web/cloud_accounts/ACCOUNT/sync_runs", `{"dry_run":true}`, 202, func(out map[string]any) {
				w.finished("web", account, get(out, "id"))
			}},
			{reader, "GET", "/projects/web/cloud_accounts/ACCOUNT/sync_runs", "", 200, func(out map[string]any) {
				if list := out["list"].([]any); len(list) != 2 || list[0].(map[string]any)["dry_run"] != true {
					t.Errorf("runs %v", out)
				}
			}},
			{reader, "GET", "/projects/web/cloud_accounts/ACCOUNT/health", "", 200, func(out map[string]any) {
				if r := out["list"].([]any)[0].(map[string]any); get(r, "status") != "live" || r["events"] != 1.0 {
					t.Errorf("health %v", out)
				}
			}},
			{admin, "PUT", "/projects/web/cloud_accounts/ACCOUNT", `{"sync_interval":"30m"}`, 200, func(out map[string]any) {
				if get(out, "sync_interval") != "30m0s" || get(out, "address_preference") != "public" {
					t.Errorf("cloud account %v", out)
				}
			}},
			{admin, "DELETE", "/projects/web", "", 400, nil},
			{admin, "DELETE", "/projects/web/servers/SERVER?ignore=true", "", 204, nil},
			{admin, "DELETE", "/projects/web/servers/SERVER", "", 404, nil},
			{reader, "GET", "/servers/SERVER/history", "", 200, nil},
			{reader, "GET", "/servers/" + testInstance + "/history", "", 200, func(out map[string]any) {
				if list := out["list"].([]any); get(list[0].(map[string]any), "server_id") != server || get(list[0].(map[string]any), "change") != "removed" {
					t.Errorf("history of a removed server by instance id: %v", out)
				}
			}},
			{reader, "GET", "/servers/" + testInstance, "", 404, nil},
			{admin, "DELETE", "/projects/web/cloud_accounts/ACCOUNT", "", 204, nil},
			{reader, "GET", "/projects/web/cloud_accounts/ACCOUNT", "", 404, nil},
		}
		for _, s := range steps {
			replace := strings.NewReplacer("ACCOUNT", account, "SERVER", server, "SECRET", secretID)
			path := replace.Replace(s.path)
			status, out, _ := w.call(s.token, s.method, path, s.body)
			if status != s.status {
				t.Fatalf("%s %s %s: %d %v, want %d", s.method, path, s.body, status, out, s.status)
			}
			if s.look != nil {
				s.look(out)
			}
			if status >= 400 && out["error"] == nil {
				t.Errorf("%s %s: an error without its body: %v", s.method, path, out)
			}
		}
	})
}

var linkForm = regexp.MustCompile(`<([^>]+)>; rel="(next|prev)"`)

func TestListsArePagedInBothDirections(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	var want []string
	for i := range 7 {
		name := fmt.Sprintf("host-%d", i)
		if _, err := w.v.CreateServer(t.Context(), testProject, ManualFacts{Hostname: name}, "key"); err != nil {
			t.Fatal(err)
		}
		want = append(want, name)
	}
	follow := func(path, rel string) (names []string, last string) {
		for path != "" {
			status, out, header := w.call("dev", "GET", path, "")
			if status != 200 {
				t.Fatalf("%s: %d %v", path, status, out)
			}
			var page []string
			for _, s := range out["list"].([]any) {
				page = append(page, s.(map[string]any)["hostname"].(string))
			}
			if rel == "prev" {
				names = append(page, names...)
			} else {
				names = append(names, page...)
			}
			last, path = path, ""
			for _, m := range linkForm.FindAllStringSubmatch(header.Get("Link"), -1) {
				if m[2] == rel {
					path = m[1]
				}
			}
		}
		return names, last
	}
	for _, query := range []string{"?count=3", "?count=3&selector=system.hostname", "?count=100", "?count=7"} {
		all, last := follow("/projects/web/servers"+query, "next")
		slices.Sort(all)
		if !slices.Equal(all, want) {
			t.Errorf("%s: following next gives %v", query, all)
		}
		back, _ := follow(last, "prev")
		slices.Sort(back)
		if !slices.Equal(back, want) {
			t.Errorf("%s: following prev from the end gives %v", query, back)
		}
	}
	up, _ := follow("/projects/web/servers?count=2", "next")
	down, _ := follow("/projects/web/servers?count=2&descending=true", "next")
	slices.Reverse(down)
	if !slices.Equal(up, down) {
		t.Errorf("descending is not the reverse: %v and %v", up, down)
	}
}
