package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// allowRules lets rules of any account send to a queue.
func (c *caller) allowRules(queueURL string) {
	c.t.Helper()
	_, err := c.queues().SetQueueAttributes(c.t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &queueURL, Attributes: map[string]string{
		"Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*"}]}`,
	}})
	if err != nil {
		c.t.Fatal(err)
	}
}

// An account elsewhere is followed as a real one of AWS is: read with its own
// keys at its own endpoint, with signatures that are checked there; its bus calls
// the webhook from outside. Without the keys, events are taken at their word, and
// a sync that cannot read removes nothing.
func TestAnAccountElsewhereIsFollowed(t *testing.T) {
	t.Parallel()
	const account = "111122223333"
	s := startServer(t, nil)
	address := strings.TrimPrefix(s.LocalURL(), "http://")
	elsewhere := startServer(t, func(c *Config) { c.AllowOutbound = []string{address} })
	admin := elsewhere.key(t, "", "000000000000", "admin")
	adminBearer := elsewhere.login(t, admin.ID, admin.Secret)
	owner := elsewhere.key(t, adminBearer, account, "operator")
	reader := elsewhere.key(t, adminBearer, account, "reader")

	settings := map[string]any{"access_key_id": reader.ID, "secret_access_key": reader.Secret, "endpoint_url": elsewhere.LocalURL(), "regions": []string{home}}
	s.do(t, "PUT", "/v1/cloud/accounts/"+account, settings, nil)
	var who struct {
		AccountID string `json:"account_id"`
	}
	if s.do(t, "POST", "/v1/cloud/accounts/"+account+"/check", nil, &who); who.AccountID != account {
		t.Errorf("the check finds account %q", who.AccountID)
	}
	if _, body := s.get("/v1/cloud/accounts/" + account); strings.Contains(body, reader.Secret) {
		t.Errorf("the account's secret is shown: %s", body)
	}
	m := s.follow(t, "web", account, home)
	// The account's own queues are elsewhere, too: the records go to another's.
	watcher := s.caller("000000000000", home)
	records := watcher.queue("records")
	s.caller(account, home).putRule("", "records", recordEvents, ebtypes.Target{Id: aws.String("queue"), Arn: aws.String(watcher.queueARN("records"))})
	watcher.allowRules(records)
	await := func(detailType, instance string) {
		t.Helper()
		watcher.awaitEvents(records, func(e arrivedEvent) bool {
			var d recordChange
			if e.DetailType != detailType {
				return false
			}
			if err := json.Unmarshal(e.Detail, &d); err != nil {
				t.Fatal(err)
			}
			if d.Server.InstanceID != instance || d.Server.InstanceDetails.AccountID != account || e.Account != account {
				t.Errorf("%s in account %s: %s", e.DetailType, e.Account, e.Detail)
			}
			return true
		})
	}

	there := elsewhere.withKey(account, home, owner.ID, owner.Secret)
	destination := there.destination("inventory", m.WebhookURL, oauth(m.TokenURL, m.ClientID, m.ClientSecret))
	there.putRule("", "ec2", stateChanges, ebtypes.Target{Id: aws.String("inventory"), Arn: &destination, RoleArn: aws.String(there.role())})
	launch := func() string {
		t.Helper()
		out, err := there.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
		if err != nil {
			t.Fatal(err)
		}
		return *out.Instances[0].InstanceId
	}
	first := launch()
	await("server.added", first)
	second := launch()
	await("server.added", second)

	// The keys end: the account can no longer be read.
	if a := elsewhere.rest(t, "DELETE", "/v1/keys/"+reader.ID, adminBearer, nil); a.Status != http.StatusNoContent {
		t.Fatalf("revoke the key: %s", a)
	}
	var run struct{ ID, Status string }
	runs := apiRoot + "/projects/web/cloud_accounts/" + account + "/sync_runs"
	s.do(t, "POST", runs, map[string]bool{}, &run)
	watcher.awaitEvents(records, func(e arrivedEvent) bool {
		var d struct {
			RunID   string `json:"run_id"`
			Status  string `json:"status"`
			Removed int    `json:"removed"`
			Error   string `json:"error"`
		}
		if e.DetailType != "sync.finished" {
			return false
		}
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			t.Fatal(err)
		}
		if d.RunID != run.ID {
			return false
		}
		if d.Status != "failed" || d.Removed != 0 || d.Error == "" {
			t.Errorf("a sync that cannot read ends with %s", e.Detail)
		}
		return true
	})
	if listed := s.servers(t, "web"); len(listed) != 2 {
		t.Errorf("after a sync that could not read the inventory has %+v", listed)
	}
	if _, err := there.ec2().TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{first}}); err != nil {
		t.Fatal(err)
	}
	await("server.removed", first)
	if listed := s.servers(t, "web"); len(listed) != 1 || listed[second].ID == "" {
		t.Errorf("the inventory has %+v, want %s alone", listed, second)
	}
	var health struct {
		UnreadWhy *string `json:"unread_why"`
	}
	s.do(t, "GET", apiRoot+"/projects/web/cloud_accounts/"+account+"/health", nil, &health)
	if health.UnreadWhy == nil || !strings.Contains(*health.UnreadWhy, "AuthFailure") {
		t.Errorf("why the account was not read is %v", health.UnreadWhy)
	}
}
