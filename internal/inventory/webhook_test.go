package inventory

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const testInstance = "i-0abcd1234ef567890"

func TestAnEventBecomesAServer(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		a, m, token := w.monitored(nil)
		w.run()
		w.ec2.put(testRegion, Instance{
			ID: testInstance, State: stateRunning, PrivateIP: "10.0.0.5", PublicIP: "203.0.113.5", PrivateDNS: "ip-10-0-0-5.internal",
			AvailabilityZone: "eu-west-1a", Tags: map[string]string{"Name": "web 一号 🚀", "env": "prod"},
		})
		now := time.Now()
		status, answer, _ := w.post(m.WebhookURL, token, eventBody("e-1", testAccount, testRegion, testInstance, statePending, now))
		if status != http.StatusAccepted {
			t.Fatalf("answered %d %s, want 202", status, answer)
		}
		w.settled()
		s, ok := w.server(testProject, testInstance)
		if !ok {
			t.Fatal("no server")
		}
		if s.EC2State != stateRunning || s.AccessAddress != "10.0.0.5" || s.Hostname != "ip-10-0-0-5.internal" || s.unconfirmed() {
			t.Errorf("server is %+v", s)
		}
		if got := s.Labels()["aws.tag.Name"]; got != "web 一号 🚀" {
			t.Errorf("label aws.tag.Name is %q", got)
		}
		if s.Active(now) {
			t.Error("a server without an agent is active")
		}
		history, err := w.v.History(t.Context(), s.ID, 0, 10)
		if err != nil || len(history) != 1 {
			t.Fatalf("history: %v, %v", history, err)
		}
		if c := history[0].Cause; c.Kind != causeEvent || c.EventID != "e-1" || c.WebhookID != a.WebhookID {
			t.Errorf("cause is %+v", c)
		}
		var added map[string]any
		for _, e := range w.published() {
			if e["detail-type"] == "server.added" {
				added = e
			}
		}
		if added == nil {
			t.Fatal("server.added was not published")
		}
		if added["source"] != "rialto" || added["account"] != testAccount || added["region"] != testRegion {
			t.Errorf("published %v", added)
		}
		if cause := added["detail"].(map[string]any)["cause"].(map[string]any); cause["event_id"] != "e-1" {
			t.Errorf("published cause %v", cause)
		}

		w.ec2.put(testRegion, Instance{ID: testInstance, State: stateTerminated})
		if status, answer, _ := w.post(m.WebhookURL, token, eventBody("e-2", testAccount, testRegion, testInstance, stateTerminated, now.Add(time.Second))); status != http.StatusAccepted {
			t.Fatalf("answered %d %s", status, answer)
		}
		w.settled()
		if _, ok := w.server(testProject, testInstance); ok {
			t.Error("the terminated instance is still in the inventory")
		}
		history, err = w.v.History(t.Context(), s.ID, 0, 10)
		if err != nil || len(history) != 2 || history[0].Kind != changeRemoved || history[0].Cause.Reason != reasonTerminated {
			t.Errorf("history of the removed server: %+v, %v", history, err)
		}

		// A late pending must not bring it back, although the cloud (wrongly, late) still shows it.
		w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning})
		w.post(m.WebhookURL, token, eventBody("e-3", testAccount, testRegion, testInstance, statePending, now.Add(-time.Second)))
		w.settled()
		if _, ok := w.server(testProject, testInstance); ok {
			t.Error("a late pending brought a terminated instance back")
		}
		if got := w.v.Measures(); got.EventsStored != 3 || got.ServersAdded != 1 || got.ServersRemoved != 1 || len(got.Lag.Counts) != len(got.Lag.Bounds)+1 {
			t.Errorf("measures are %+v", got)
		}
	})
}

func TestWebhookAnswers(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(nil)
	other := w.connect(testProject, "210987654321", nil)
	otherMonitor, err := w.v.StartMonitor(t.Context(), testProject, other.ID)
	if err != nil {
		t.Fatal(err)
	}
	otherToken := w.token(otherMonitor.Account.ClientID, otherMonitor.ClientSecret)
	now := time.Date(2026, 1, 15, 21, 29, 54, 0, time.UTC)
	good := eventBody("first", testAccount, testRegion, testInstance, stateRunning, now)
	edit := func(old, with string) string {
		s := strings.Replace(good, `"id":"first"`, `"id":"`+fmt.Sprint(len(old), with)[:1]+`-x"`, 1)
		if !strings.Contains(good, old) {
			t.Fatalf("%q is not in the event", old)
		}
		return strings.Replace(s, old, with, 1)
	}
	tests := []struct {
		name, url, token, body string
		status                 int
		says                   string
	}{
		{"stored", m.WebhookURL, token, good, 202, "stored"},
		{"the same event again", m.WebhookURL, token, good, 200, "duplicate"},
		{"another event that means the same", m.WebhookURL, token, strings.Replace(good, "first", "second", 1), 200, "duplicate"},
		{"no token", m.WebhookURL, "", good, 401, "token"},
		{"not a token", m.WebhookURL, "nonsense", good, 401, "token"},
		{"the token of another webhook", m.WebhookURL, otherToken, good, 403, "another webhook"},
		{"no such webhook", w.http.URL + "/v1/webhooks/none", token, good, 404, "no webhook"},
		{"no such webhook, no token", w.http.URL + "/v1/webhooks/none", "", good, 401, ""},
		{"not JSON", m.WebhookURL, token, "hello", 400, "not one EventBridge event"},
		{"a list", m.WebhookURL, token, "[" + good + "]", 400, "it is JSON of type array, not an object"},
		{"a member of another type", m.WebhookURL, token, `{"id":1}`, 400, "its id is of type number"},
		{"no id", m.WebhookURL, token, strings.Replace(good, `"id":"first",`, "", 1), 400, "no id"},
		{"no source, as after an input transformer", m.WebhookURL, token, `{"instance":"i-1"}`, 400, "input transformer"},
		{"no region", m.WebhookURL, token, edit(`"region":"eu-west-1",`, ""), 400, "no region"},
		{"a time that is none", m.WebhookURL, token, edit("2026-01-15T21:29:54Z", "yesterday"), 400, "time"},
		{"an account that is none", m.WebhookURL, token, edit(`"account":"123456789012"`, `"account":"12"`), 400, "12 digits"},
		{"an instance id that is none", m.WebhookURL, token, edit(`"instance-id":"i-0abcd1234ef567890"`, `"instance-id":"web-1"`), 400, "instance-id"},
		{"a resource that is another", m.WebhookURL, token, edit("instance/i-0abcd1234ef567890", "instance/i-0abcd1234ef567891"), 400, "resource"},
		{"another version", m.WebhookURL, token, edit(`"version":"0"`, `"version":"1"`), 400, "version"},
		{"no version, as in one of AWS's examples", m.WebhookURL, token, edit(`"version":"0",`, ""), 200, "duplicate"},
		{"an instance id with a space, as in another", m.WebhookURL, token, edit(`"instance-id":"`, `"instance-id":" `), 200, "duplicate"},
		{"a replayed event", m.WebhookURL, token, edit(`"resources"`, `"replay-name":"r","resources"`), 200, "duplicate"},
		{"another partition", m.WebhookURL, token, strings.NewReplacer("arn:aws:", "arn:aws-cn:", testRegion, "cn-north-1", "first", "cn").Replace(good), 202, "stored"},
		{"a region that is new to us", m.WebhookURL, token, strings.NewReplacer(testRegion, "xx-central-9", "first", "new").Replace(good), 202, "stored"},
		{"a state that is none of ours", m.WebhookURL, token, edit(`"state":"running"`, `"state":"hibernating"`), 200, "ignored"},
		{"another kind of event", m.WebhookURL, token, edit("EC2 Instance State-change Notification", "EC2 Spot Instance Interruption Warning"), 200, "ignored"},
		{"another account", m.WebhookURL, token, strings.NewReplacer(testAccount, "210987654321", "first", "foreign").Replace(good), 403, "account 210987654321"},
		{"too large", m.WebhookURL, token, good + strings.Repeat(" ", MaxWebhookBody), 413, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, answer, header := w.post(tt.url, tt.token, tt.body)
			if status != tt.status || !strings.Contains(answer, tt.says) {
				t.Errorf("answered %d %s, want %d and %q", status, answer, tt.status, tt.says)
			}
			if status == 401 && header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if !json.Valid([]byte(answer)) {
				t.Errorf("the answer is not JSON: %s", answer)
			}
		})
	}
	h, err := w.v.Health(t.Context(), testProject, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int64{}
	for _, r := range h.Rejections {
		counts[strings.TrimRight(r.Reason+" "+r.Subject, " ")] = r.Count
	}
	want := map[string]int64{"malformed": 11, "not_acted_on": 2, "foreign_account 210987654321": 1}
	if d := cmp.Diff(want, counts); d != "" {
		t.Errorf("rejections (-want +got):\n%s", d)
	}
}

func TestSecretsRotateWithOverlapAndEndAtOnceWhenRevoked(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(nil)
	ctx := t.Context()
	body := func(id string) string {
		return eventBody(id, testAccount, testRegion, testInstance, stateRunning, time.Now())
	}
	if _, err := w.v.StartMonitor(ctx, testProject, a.ID); err == nil {
		t.Error("monitored twice")
	}
	if len(m.Notes) == 0 || !strings.Contains(m.Notes[0], "AWS cannot reach") {
		t.Errorf("a loopback URL is not warned about: %v", m.Notes)
	}
	rotated, err := w.v.RotateMonitor(ctx, testProject, a.ID, DefaultOverlap)
	if err != nil {
		t.Fatal(err)
	}
	if rotated.ClientSecret == m.ClientSecret || rotated.WebhookURL != m.WebhookURL {
		t.Errorf("rotated from %+v to %+v", m, rotated)
	}
	newToken := w.token(a.ClientID, rotated.ClientSecret)
	for name, tok := range map[string]string{"old": token, "new": newToken} {
		if status, answer, _ := w.post(m.WebhookURL, tok, body("r-"+name)); status >= 300 {
			t.Errorf("%s token during the overlap: %d %s", name, status, answer)
		}
	}
	if len(rotated.Secrets) != 2 || rotated.Secrets[0].ExpiresAt.IsZero() || !rotated.Secrets[1].ExpiresAt.IsZero() {
		t.Fatalf("secrets after a rotation: %+v", rotated.Secrets)
	}
	if err := w.v.RevokeMonitorSecret(ctx, testProject, a.ID, rotated.Secrets[0].ID); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := w.post(m.WebhookURL, token, body("revoked")); status != 401 {
		t.Errorf("a token of a revoked secret: %d, want 401", status)
	}
	if status, _, _ := w.post(m.WebhookURL, newToken, body("kept")); status >= 300 {
		t.Errorf("the token of the other secret: %d", status)
	}
	if err := w.v.StopMonitor(ctx, testProject, a.ID); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := w.post(m.WebhookURL, newToken, body("stopped")); status != 401 {
		t.Errorf("after the monitor was stopped: %d, want 401", status)
	}
	if _, err := w.v.Monitor(ctx, testProject, a.ID); err == nil {
		t.Error("a stopped monitor is still there")
	}
}

func TestEventsOfSiblingsAreRoutedOnlyWhenAsked(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, m, token := w.monitored(func(a *CloudAccount) { a.Options.RouteSiblings = true })
	sibling := w.connect(testProject, "210987654321", nil)
	w.run()
	w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning})
	status, answer, _ := w.post(m.WebhookURL, token, eventBody("e", sibling.AccountID, testRegion, testInstance, statePending, time.Now()))
	if status != 202 {
		t.Fatalf("answered %d %s", status, answer)
	}
	w.settled()
	w.eventually("the sibling has a server", func() bool {
		s, ok := w.server(testProject, testInstance)
		return ok && s.AccountID == sibling.AccountID
	})
	if status, _, _ := w.post(m.WebhookURL, token, eventBody("f", "999999999999", testRegion, testInstance, statePending, time.Now())); status != 403 {
		t.Errorf("an account that nobody has: %d, want 403", status)
	}
}

func FuzzParseNotification(f *testing.F) {
	now := time.Date(2026, 1, 15, 21, 29, 54, 0, time.UTC)
	f.Add([]byte(eventBody("e", testAccount, testRegion, testInstance, statePending, now)))
	f.Add([]byte(`{"detail":null}`))
	f.Add([]byte(`{"source":"aws.ec2","detail-type":"EC2 Instance State-change Notification"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := parseNotification(body)
		if err != nil {
			return
		}
		if !accountForm.MatchString(n.Account) || !instanceIDForm.MatchString(n.InstanceID) || stateRank(n.State) == 0 || n.ID == "" || n.Time.IsZero() && !strings.Contains(string(body), "0001") {
			t.Errorf("accepted %+v", n)
		}
	})
}
