package app

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/auth"
)

// portToken asks for a token as Port's clients do.
func (s *testServer) portToken(t *testing.T, id, secret string) string {
	t.Helper()
	a := s.rest(t, "POST", auth.PortTokenPath, "", map[string]string{"clientId": id, "clientSecret": secret})
	var out struct {
		OK          bool   `json:"ok"`
		AccessToken string `json:"accessToken"`
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || !out.OK || out.AccessToken == "" {
		t.Fatalf("token: %s", a)
	}
	return out.AccessToken
}

// portError checks that an answer is an error in Port's shape.
func portError(t *testing.T, a answer, status int, code string) {
	t.Helper()
	var out struct {
		OK      *bool  `json:"ok"`
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != status || out.OK == nil || *out.OK || out.Error != code || out.Message == "" {
		t.Errorf("%s, want %d %s in Port's shape", a, status, code)
	}
}

// One key opens the catalog to Port's clients, to those of the REST API and by HTTP
// Basic; each API refuses in its own shape.
func TestCatalogTakesTheKeysOfTheServer(t *testing.T) {
	s := startServer(t, nil)
	admin := s.key(t, "", "000000000000", "admin")
	foreign := s.key(t, s.login(t, admin.ID, admin.Secret), "111111111111", "admin")
	port, rest := s.portToken(t, admin.ID, admin.Secret), s.login(t, admin.ID, admin.Secret)
	for _, token := range []string{port, rest} {
		for _, path := range []string{"/v1/blueprints", "/v1/organization", "/v1/keys", "/v1/teams/default/servers"} {
			if a := s.rest(t, "GET", path, token, nil); a.Status != http.StatusOK {
				t.Errorf("GET %s: %s", path, a)
			}
		}
	}
	basic := s.request(t, "GET", "/v1/blueprints", nil)
	basic.SetBasicAuth(admin.ID, admin.Secret)
	if a := s.send(t, basic); a.Status != http.StatusOK {
		t.Errorf("by HTTP Basic: %s", a)
	}
	portError(t, s.rest(t, "GET", "/v1/blueprints", "", nil), 401, "unauthorized")
	portError(t, s.rest(t, "GET", "/v1/entities/none", port, nil), 404, "not_found")
	portError(t, s.rest(t, "GET", "/v1/teams", port, nil), 404, "not_found")
	portError(t, s.rest(t, "GET", "/v1/webhooks", port, nil), 404, "not_found")
	portError(t, s.rest(t, "GET", "/v1/blueprints", s.portToken(t, foreign.ID, foreign.Secret), nil), 403, "forbidden")
	if a := s.rest(t, "GET", "/v1/keys", "", nil); a.Status != http.StatusUnauthorized || !strings.Contains(string(a.Body), `"authentication_error"`) {
		t.Errorf("the REST API refuses with %s", a)
	}
	if a := s.rest(t, "DELETE", "/v1/keys/"+admin.ID, port, nil); a.Status != http.StatusNoContent {
		t.Fatalf("revoke: %s", a)
	}
	portError(t, s.rest(t, "GET", "/v1/blueprints", port, nil), 401, "unauthorized")
}

// Clients of Port's API read its errors at whatever path they call; those of our own keep
// the shape of theirs.
func TestWhatIsNotServedUnderV1IsSaidInTheShapeOfItsAPI(t *testing.T) {
	s := startServer(t, nil)
	admin := s.key(t, "", "000000000000", "admin")
	port := s.portToken(t, admin.ID, admin.Secret)
	for _, call := range []string{
		"GET /v1/nothing", "POST /v1/nothing/订单", "DELETE /v1/blueprint/x", "PATCH /v1/kafka", "GET /v1/", "GET /v1/auth/none", "GET /v1/users/x/y",
	} {
		method, path, _ := strings.Cut(call, " ")
		portError(t, s.rest(t, method, path, port, nil), 404, "not_found")
		portError(t, s.rest(t, method, path, "", nil), 401, "unauthorized")
	}
	for path, shape := range map[string]string{"/v1/nothing": `{"ok":false,"error":"unsupported_media_type"`, "/v1/keys": `{"error":{"code":`} {
		req := s.request(t, "POST", path, nil)
		req.Header.Del("Content-Type")
		if a := s.send(t, req); a.Status != 415 || !strings.HasPrefix(string(a.Body), shape) {
			t.Errorf("POST %s without a content type: %s, want %s…", path, a, shape)
		}
	}
	for call, want := range map[string]int{
		"GET /v1/keys/a/b/c": 404, "GET /v1/teams/default/none": 404, "DELETE /v1/events": 405, "GET /v1/exporter/none": 404, "GET /v1/cloud": 404,
		"PATCH /v1/sources": 405, "GET /v1/dead-letters/a/b/c/d": 404, "GET /v1/replays/a/b/c": 404,
	} {
		method, path, _ := strings.Cut(call, " ")
		if a := s.rest(t, method, path, port, nil); a.Status != want || !strings.Contains(string(a.Body), `{"error":{"code":`) {
			t.Errorf("%s: %s, want %d in the shape of our own API", call, a, want)
		}
	}
}

// What changes in the catalog is an event like any other, and identifiers keep what
// is special in paths through the whole server.
func TestChangesOfTheCatalogReachRules(t *testing.T) {
	s := startServer(t, nil)
	ctx := t.Context()
	events, queues := s.events("us-east-1"), s.queues("us-east-1")
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("changes")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("catalog"), EventPattern: aws.String(`{"source":["rialto"],"detail-type":[{"prefix":"entity."}]}`)}); err != nil {
		t.Fatal(err)
	}
	if _, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("catalog"), Targets: []ebtypes.Target{
		{Id: aws.String("q"), Arn: aws.String("arn:aws:sqs:us-east-1:000000000000:changes")},
	}}); err != nil {
		t.Fatal(err)
	}
	s.do(t, "POST", "/v1/blueprints", map[string]any{"identifier": "fn", "title": "Fn", "schema": map[string]any{"properties": map[string]any{"n": map[string]any{"type": "number"}}}}, nil)
	const id = `arn:aws:lambda:eu-west-1:123456789012:function/a+b=c@d\e:订单`
	path := "/v1/blueprints/fn/entities/" + strings.ReplaceAll(url.QueryEscape(id), "+", "%20")
	s.do(t, "POST", "/v1/blueprints/fn/entities?upsert=true", map[string]any{"identifier": id, "properties": map[string]any{"n": 1}}, nil)
	s.do(t, "PATCH", path, map[string]any{"properties": map[string]any{"n": 2}}, nil)
	s.do(t, "PATCH", path, map[string]any{"properties": map[string]any{"n": 2}}, nil) // changes nothing
	s.do(t, "DELETE", path, nil, nil)
	got := map[string]int{}
	for len(got) < 3 {
		out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 10, MaxNumberOfMessages: 10})
		if err != nil || len(out.Messages) == 0 {
			t.Fatalf("of the changes there came %v (%v)", got, err)
		}
		for _, m := range out.Messages {
			var e struct {
				DetailType string `json:"detail-type"`
				Detail     struct {
					Blueprint  string `json:"blueprint"`
					Identifier string `json:"identifier"`
				} `json:"detail"`
			}
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil || e.Detail.Identifier != id || e.Detail.Blueprint != "fn" {
				t.Errorf("event %s (%v)", *m.Body, err)
			}
			got[e.DetailType]++
		}
	}
	for _, detailType := range []string{"entity.created", "entity.updated", "entity.deleted"} {
		if got[detailType] != 1 {
			t.Errorf("%d events %s, want one", got[detailType], detailType)
		}
	}
}
