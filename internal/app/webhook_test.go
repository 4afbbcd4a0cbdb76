package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// stateChange is an event as a rule sends it to the webhook.
func stateChange(id, account, region, instance, state string, at time.Time) string {
	return fmt.Sprintf(`{"version":"0","id":%q,"detail-type":"EC2 Instance State-change Notification","source":"aws.ec2",`+
		`"account":%q,"time":%q,"region":%q,"resources":["arn:aws:ec2:%s:%s:instance/%s"],"detail":{"instance-id":%q,"state":%q}}`,
		id, account, at.UTC().Format(time.RFC3339), region, region, account, instance, instance, state)
}

const noInstance = "i-0abcd1234ef567890"

// A token that a refresh can mend is 401, which makes EventBridge fetch a new
// one; whatever it cannot mend is another 4xx, which makes it give up.
func TestWebhookTokens(t *testing.T) {
	t.Parallel()
	var clock clock
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	s := startServerAt(t, c, clock.now)
	mine := s.follow(t, "web", "000000000000", "us-east-1")
	other := s.follow(t, "batch", "111122223333", "us-east-1")
	token := func(m monitored) string {
		token, a := s.token(t, m.ClientID, m.ClientSecret)
		if token == "" {
			t.Fatalf("no token: %s", a)
		}
		return token
	}
	var n int
	call := func(webhook, token string) answer {
		n++
		body := stateChange(fmt.Sprint("event-", n), "000000000000", "us-east-1", noInstance, "pending", clock.now().Add(time.Duration(n)*time.Second))
		return s.rest(t, "POST", webhook, token, body)
	}
	good := token(mine)
	if a := call(mine.WebhookURL, good); a.Status != http.StatusAccepted {
		t.Fatalf("a good token: %s", a)
	}
	check := func(name string, a answer, status int, what string) {
		t.Helper()
		if a.Status != status || !strings.Contains(a.Message, what) || a.Code == "" {
			t.Errorf("%s: %s\nwant %d with %q", name, a, status, what)
		}
	}
	check("no token", call(mine.WebhookURL, ""), 401, "there is none; get a new one from "+s.LocalURL()+"/v1/oauth_token")
	check("a made-up token", call(mine.WebhookURL, "abc.def.ghi"), 401, "not issued here")
	check("a changed token", call(mine.WebhookURL, good[:len(good)-4]+"AAAA"), 401, "not issued here")
	check("an access key's token", call(mine.WebhookURL, s.login(t, "000000000000", "any")), 401, "not issued here")
	check("another project's token", call(mine.WebhookURL, token(other)), 403, "for another webhook")
	check("a webhook that does not exist", call(strings.TrimRight(mine.WebhookURL, "0123456789abcdef")+"000000000000", good), 404, "There is no webhook")

	// Rotated without overlap: the token that the old secret got is over too.
	var rotated monitored
	account := apiRoot + "/projects/web/cloud_accounts/000000000000"
	s.do(t, "POST", account+"/monitor/secrets", map[string]string{"overlap": "0s"}, &rotated)
	check("a token of a secret that was rotated away", call(mine.WebhookURL, good), 401, "revoked or replaced")
	if _, a := s.token(t, mine.ClientID, mine.ClientSecret); a.Status != 401 || !strings.Contains(string(a.Body), `"error":"invalid_client"`) {
		t.Errorf("the secret that was rotated away got %s", a)
	}
	second := token(rotated)
	if a := call(mine.WebhookURL, second); a.Status != http.StatusAccepted {
		t.Errorf("a token of the new secret: %s", a)
	}
	// With an overlap both are good, until it ends.
	s.do(t, "POST", account+"/monitor/secrets", map[string]string{"overlap": "30m"}, &rotated)
	if a := call(mine.WebhookURL, second); a.Status != http.StatusAccepted {
		t.Errorf("a token of the older secret in the overlap: %s", a)
	}
	third := token(rotated)
	clock.forward(31 * time.Minute)
	check("after the overlap", call(mine.WebhookURL, second), 401, "")
	if a := call(mine.WebhookURL, third); a.Status != http.StatusAccepted {
		t.Errorf("a token of the newest secret: %s", a)
	}
	clock.forward(30 * time.Minute)
	check("a token that is an hour old", call(mine.WebhookURL, third), 401, "expired")

	// Revoked, then not monitored any more.
	third = token(rotated)
	var shown monitored
	s.do(t, "GET", account+"/monitor", nil, &shown)
	for _, secret := range shown.Secrets {
		if secret.LastFour == rotated.ClientSecret[len(rotated.ClientSecret)-4:] {
			s.do(t, "DELETE", account+"/monitor/secrets/"+secret.ID, nil, nil)
		}
	}
	check("a token of a revoked secret", call(mine.WebhookURL, third), 401, "revoked or replaced")
	s.do(t, "DELETE", account+"/monitor", nil, nil)
	if a := call(mine.WebhookURL, third); a.Status != 401 && a.Status != 404 {
		t.Errorf("a webhook that is no more: %s", a)
	}
	for name, form := range map[string]string{
		"no grant type":       "client_id=" + other.ClientID + "&client_secret=" + other.ClientSecret,
		"another grant type":  "grant_type=password&client_id=" + other.ClientID + "&client_secret=" + other.ClientSecret,
		"a scope":             "grant_type=client_credentials&scope=all&client_id=" + other.ClientID + "&client_secret=" + other.ClientSecret,
		"a wrong secret":      "grant_type=client_credentials&client_id=" + other.ClientID + "&client_secret=wrong",
		"no client":           "grant_type=client_credentials",
		"a parameter twice":   "grant_type=client_credentials&grant_type=client_credentials",
		"a broken escape":     "grant_type=%zz",
		"too much of a thing": "x=" + strings.Repeat("x", 100<<10),
	} {
		req := s.request(t, "POST", "/v1/oauth_token", form)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a := s.send(t, req)
		var e struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		if err := json.Unmarshal(a.Body, &e); err != nil || e.Error == "" || e.Description == "" || a.Status < 400 || a.Status >= 500 {
			t.Errorf("a token request with %s: %s", name, a)
		}
	}
}

// login gets an access key's bearer token.
func (s *testServer) login(t *testing.T, id, secret string) string {
	t.Helper()
	var out struct {
		BearerToken string `json:"bearer_token"`
	}
	a := s.rest(t, "POST", apiRoot+"/service_token", "", map[string]string{"key_id": id, "key_secret": secret})
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &out) != nil {
		t.Fatalf("log in as %s: %s", id, a)
	}
	return out.BearerToken
}

// Bodies that are no state change of this account are refused or ignored, and
// counted; nothing of them reaches the inventory.
func TestWebhookBodies(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	m := s.follow(t, "web", "000000000000", "us-east-1")
	token, _ := s.token(t, m.ClientID, m.ClientSecret)
	at := time.Now()
	good := stateChange("event-1", "000000000000", "us-east-1", noInstance, "pending", at)
	replace := func(old, with string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the event has no %s", old)
		}
		return strings.Replace(good, old, with, 1)
	}
	for name, tt := range map[string]struct {
		body       string
		status     int
		code, what string
	}{
		"nothing":                    {"", 400, "invalid_request", "not one EventBridge event"},
		"no JSON":                    {"instance started", 400, "invalid_request", "not one EventBridge event"},
		"a list":                     {"[" + good + "]", 400, "invalid_request", "not one EventBridge event"},
		"what a transformer left":    {`{"instance":"` + noInstance + `"}`, 400, "invalid_request", "input transformer"},
		"another version":            {replace(`"version":"0"`, `"version":"1"`), 400, "invalid_request", "version"},
		"no id":                      {replace(`"event-1"`, `""`), 400, "invalid_request", "no id"},
		"a time in words":            {replace(at.UTC().Format(time.RFC3339), "yesterday"), 400, "invalid_request", "yesterday"},
		"an instance id":             {strings.ReplaceAll(good, noInstance, "i-订单"), 400, "invalid_request", "instance-id"},
		"a resource of another":      {replace("instance/"+noInstance, "instance/i-0000000000000000"), 400, "invalid_request", "resource"},
		"no state":                   {replace(`"state":"pending"`, `"state":""`), 400, "invalid_request", "state"},
		"another account":            {strings.ReplaceAll(good, "000000000000", "111122223333"), 403, "forbidden_error", "111122223333"},
		"too much":                   {replace(`"state":`, `"x":"`+strings.Repeat("x", 300<<10)+`","state":`), 413, "invalid_request", "larger"},
		"an event of something else": {replace("EC2 Instance State-change Notification", "EC2 Spot Instance Interruption Warning"), 200, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.rest(t, "POST", m.WebhookURL, token, tt.body)
			if a.Status != tt.status || a.Code != tt.code || !strings.Contains(a.Message, tt.what) {
				t.Errorf("answered %s\nwant %d %s …%s…", a, tt.status, tt.code, tt.what)
			}
		})
	}
	if len(s.servers(t, "web")) != 0 {
		t.Errorf("the inventory has servers: %v", s.servers(t, "web"))
	}
	var health struct {
		Rejections []struct {
			Reason, Subject string
			Count           int
		}
	}
	s.do(t, "GET", apiRoot+"/projects/web/cloud_accounts/000000000000/health", nil, &health)
	counts := map[string]int{}
	for _, r := range health.Rejections {
		counts[r.Reason+" "+r.Subject] += r.Count
	}
	if counts["malformed "] != 10 || counts["foreign_account 111122223333"] != 1 || counts["not_acted_on "] != 1 {
		t.Errorf("the rejections are counted as %v", counts)
	}
}

// Events that come twice, late and in the wrong order leave the inventory as the
// cloud is.
func TestWebhookEventsInAnyOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	m := s.follow(t, "web", "000000000000", "us-east-1")
	records := c.ruleToQueue("records", recordEvents)
	token, _ := s.token(t, m.ClientID, m.ClientSecret)
	call := func(id, instance, state string, at time.Time) string {
		t.Helper()
		a := s.rest(t, "POST", m.WebhookURL, token, stateChange(id, "000000000000", "us-east-1", instance, state, at))
		var out struct{ Status string }
		if err := json.Unmarshal(a.Body, &out); err != nil || a.Status/100 != 2 {
			t.Fatalf("event %s: %s", id, a)
		}
		return out.Status
	}
	await := func(detailType, instance string) recordChange {
		t.Helper()
		var found recordChange
		c.awaitEvents(records, func(e arrivedEvent) bool {
			var d recordChange
			if !strings.HasPrefix(e.DetailType, "server.") {
				return false
			}
			if err := json.Unmarshal(e.Detail, &d); err != nil {
				t.Fatal(err)
			}
			if d.Server.InstanceID != instance {
				t.Errorf("%s of %s, while waiting for %s of %s", e.DetailType, d.Server.InstanceID, detailType, instance)
			}
			found = d
			return e.DetailType == detailType
		})
		return found
	}
	launch := func() string {
		t.Helper()
		out, err := c.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Instances[0].InstanceId
	}
	terminate := func(id string) {
		t.Helper()
		if _, err := c.ec2().TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{id}}); err != nil {
			t.Fatal(err)
		}
		gone := ec2.NewInstanceTerminatedWaiter(c.ec2(), func(o *ec2.InstanceTerminatedWaiterOptions) {
			o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
		})
		if err := gone.Wait(t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, patience); err != nil {
			t.Fatal(err)
		}
	}
	at := time.Now().Add(-time.Hour)

	// Twice, by its id and by its meaning.
	live := launch()
	if got := call("a-1", live, "pending", at); got != "stored" {
		t.Errorf("the first is %s", got)
	}
	if got := call("a-1", live, "pending", at); got != "duplicate" {
		t.Errorf("the same again is %s", got)
	}
	if got := call("a-2", live, "pending", at); got != "duplicate" {
		t.Errorf("the same with another id is %s", got)
	}
	if got := await("server.added", live); got.Cause.EventID != "a-1" {
		t.Errorf("the server is put down to %+v", got.Cause)
	}

	// Terminated before pending: the row goes, and the late event does not bring
	// it back. A third instance shows that the late one was looked at.
	terminate(live)
	call("b-2", live, "terminated", at.Add(time.Minute))
	await("server.removed", live)
	call("b-1", live, "running", at.Add(time.Second))
	never := launch()
	terminate(never)
	call("c-2", never, "terminated", at.Add(time.Minute))
	call("c-1", never, "pending", at)
	last := launch()
	call("d-1", last, "pending", at)
	await("server.added", last) // and nothing of the others before it
	if listed := s.servers(t, "web"); len(listed) != 1 || listed[last].InstanceID != last {
		t.Errorf("the inventory has %+v, want %s alone", listed, last)
	}

	// An event that says terminated of an instance that runs is the liar.
	call("e-1", last, "terminated", at.Add(time.Minute))
	after := launch()
	call("f-1", after, "pending", at)
	await("server.added", after)
	if listed := s.servers(t, "web"); len(listed) != 2 {
		t.Errorf("the inventory has %+v, want %s and %s", listed, last, after)
	}
}
