package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rialto-bus/rialto/internal/auth"
)

// newKey is a key that was made through the REST API.
type newKey struct {
	ID     string `json:"key_id"`
	Secret string `json:"key_secret"`
}

// key makes an access key as whoever has the bearer token.
func (s *testServer) key(t *testing.T, bearer, account, role string) newKey {
	t.Helper()
	a := s.rest(t, "POST", "/v1/keys", bearer, map[string]string{"account": account, "role": role})
	var k newKey
	if err := json.Unmarshal(a.Body, &k); err != nil || a.Status != http.StatusCreated || k.Secret == "" {
		t.Fatalf("make a key with role %s: %s", role, a)
	}
	return k
}

func listRules(c *caller) error {
	_, err := c.events().ListRules(c.t.Context(), &eventbridge.ListRulesInput{})
	return err
}

func describeInstances(c *caller) error {
	_, err := c.ec2().DescribeInstances(c.t.Context(), &ec2.DescribeInstancesInput{})
	return err
}

func whoAmI(c *caller) error {
	_, err := c.sts().GetCallerIdentity(c.t.Context(), &sts.GetCallerIdentityInput{})
	return err
}

// The first admin key closes dev mode, at once and for good; from then on
// signatures count.
func TestTheFirstAdminKeyClosesTheServer(t *testing.T) {
	t.Parallel()
	var clock clock
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	s := startServerAt(t, c, clock.now)
	anybody := s.caller("000000000000", "us-east-1")
	s.key(t, "", "000000000000", "reader")
	if err := listRules(anybody); err != nil || !s.DevMode() {
		t.Fatalf("a reader's key closed dev mode: %v", err)
	}
	admin := s.key(t, "", "000000000000", "admin")
	refusedAs(t, listRules(anybody), "UnrecognizedClientException", "security token")
	refusedAs(t, describeInstances(anybody), "AuthFailure", "credentials")
	refusedAs(t, whoAmI(anybody), "InvalidClientTokenId", "security token")
	for _, bearer := range []string{"", "000000000000", "x.y.z"} {
		if a := s.rest(t, "GET", "/v1/keys", bearer, nil); a.Status != http.StatusUnauthorized || a.Code != "authentication_error" {
			t.Errorf("a bearer token %q is answered: %s", bearer, a)
		}
	}

	good := s.withKey("000000000000", "us-east-1", admin.ID, admin.Secret)
	for name, call := range map[string]func(*caller) error{"ListRules": listRules, "DescribeInstances": describeInstances, "GetCallerIdentity": whoAmI} {
		if err := call(good); err != nil {
			t.Errorf("%s with the admin's key: %v", name, err)
		}
	}
	wrong := s.withKey("000000000000", "us-east-1", admin.ID, admin.Secret+"x")
	refusedAs(t, listRules(wrong), "InvalidSignatureException", "does not match")
	refusedAs(t, whoAmI(wrong), "SignatureDoesNotMatch", "does not match")
	refusedAs(t, describeInstances(wrong), "AuthFailure", "credentials")

	presigned, err := sts.NewPresignClient(good.sts()).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	presignedCall := func() answer {
		req, err := http.NewRequestWithContext(t.Context(), presigned.Method, presigned.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.send(t, req)
	}
	if a := presignedCall(); a.Status != http.StatusOK || !strings.Contains(string(a.Body), "<Account>000000000000</Account>") {
		t.Errorf("a presigned call: %s", a)
	}
	bearer := s.login(t, admin.ID, admin.Secret)
	clock.forward(20 * time.Minute)
	refusedAs(t, listRules(good), "InvalidSignatureException", "Signature expired")
	refusedAs(t, whoAmI(good), "SignatureDoesNotMatch", "Signature expired")
	refusedAs(t, describeInstances(good), "RequestExpired", "")
	if a := presignedCall(); a.Status != http.StatusBadRequest || !strings.Contains(string(a.Body), "RequestExpired") {
		t.Errorf("a presigned call that has expired: %s", a)
	}
	clock.forward(-20 * time.Minute)

	// A key that is replaced works until the overlap ends, one that is revoked no more.
	var replaced newKey
	if a := s.rest(t, "POST", "/v1/keys/"+admin.ID+"/rotate", bearer, map[string]int{"overlap_seconds": 60}); json.Unmarshal(a.Body, &replaced) != nil || replaced.Secret == "" {
		t.Fatalf("rotate: %s", a)
	}
	next := s.withKey("000000000000", "us-east-1", replaced.ID, replaced.Secret)
	for name, c := range map[string]*caller{"new": next, "old": good} {
		if err := listRules(c); err != nil {
			t.Errorf("the %s key in the overlap: %v", name, err)
		}
	}
	nextBearer := s.login(t, replaced.ID, replaced.Secret)
	if a := s.rest(t, "DELETE", "/v1/keys/"+admin.ID, nextBearer, nil); a.Status != http.StatusNoContent {
		t.Fatalf("revoke: %s", a)
	}
	refusedAs(t, listRules(good), "UnrecognizedClientException", "security token")
	if a := s.rest(t, "GET", "/v1/keys", bearer, nil); a.Status != http.StatusUnauthorized {
		t.Errorf("the bearer token of a revoked key is answered: %s", a)
	}

	// With no valid admin key left the server stays closed, also after a restart.
	if a := s.rest(t, "DELETE", "/v1/keys/"+replaced.ID, nextBearer, nil); a.Status != http.StatusNoContent {
		t.Fatalf("revoke the last: %s", a)
	}
	s.stop()
	s = startServerAt(t, c, clock.now)
	refusedAs(t, listRules(s.caller("000000000000", "us-east-1")), "UnrecognizedClientException", "security token")
	if s.DevMode() {
		t.Error("dev mode is back")
	}
}

// Each role may do what it is for, in every protocol.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	admin := s.key(t, "", "000000000000", "admin")
	bearer := s.login(t, admin.ID, admin.Secret)
	owner := s.withKey("000000000000", "us-east-1", admin.ID, admin.Secret)
	queue := owner.queue("orders")
	instances := &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}
	entries := []ebtypes.PutEventsRequestEntry{{Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String("{}")}}
	operations := []struct {
		name    string
		allowed string // roles
		refusal string
		call    func(c *caller) error
	}{
		{"ListRules", "admin operator reader", "AccessDeniedException", listRules},
		{"PutRule", "admin operator", "AccessDeniedException", func(c *caller) error {
			_, err := c.events().PutRule(t.Context(), &eventbridge.PutRuleInput{Name: aws.String("r"), EventPattern: aws.String(`{"source":["x"]}`)})
			return err
		}},
		{"PutEvents", "admin operator publisher", "AccessDeniedException", func(c *caller) error {
			_, err := c.events().PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: entries})
			return err
		}},
		{"SendMessage", "admin operator publisher", "AccessDenied", func(c *caller) error {
			_, err := c.queues().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: aws.String("x")})
			return err
		}},
		{"ReceiveMessage", "admin operator", "AccessDenied", func(c *caller) error {
			_, err := c.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue})
			return err
		}},
		{"GetQueueAttributes", "admin operator reader", "AccessDenied", func(c *caller) error {
			_, err := c.queues().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue})
			return err
		}},
		{"DescribeInstances", "admin operator reader", "UnauthorizedOperation", describeInstances},
		{"RunInstances", "admin operator", "UnauthorizedOperation", func(c *caller) error {
			_, err := c.ec2().RunInstances(t.Context(), instances)
			return err
		}},
		{"GetCallerIdentity", "admin operator publisher reader", "", whoAmI},
	}
	type restCall struct {
		name, allowed, method, path string
		in                          any
	}
	restCalls := []restCall{
		{"list projects", "admin operator reader", "GET", apiRoot + "/projects", nil},
		{"create a project", "admin operator", "POST", apiRoot + "/projects", map[string]string{"name": "web"}},
		{"inject an event", "admin", "POST", "/v1/events", `{"source":"aws.ec2","detail-type":"x","detail":{}}`},
		{"list keys", "admin", "GET", "/v1/keys", nil},
		{"make a key", "admin", "POST", "/v1/keys", map[string]string{"account": "000000000000", "role": "admin"}},
	}
	for _, role := range []string{"admin", "operator", "publisher", "reader"} {
		t.Run(role, func(t *testing.T) {
			k := s.key(t, bearer, "000000000000", role)
			c := s.withKey("000000000000", "us-east-1", k.ID, k.Secret).on(t)
			for _, op := range operations {
				err := op.call(c)
				if strings.Contains(op.allowed, role) {
					if err != nil {
						t.Errorf("%s: %v", op.name, err)
					}
					continue
				}
				refusedAs(t, err, op.refusal, "not authorized to perform: ")
				refusedAs(t, err, op.refusal, ":"+op.name)
			}
			token := s.login(t, k.ID, k.Secret)
			for _, call := range restCalls {
				a := s.rest(t, call.method, call.path, token, call.in)
				allowed := strings.Contains(call.allowed, role)
				if allowed && a.Status >= 300 && a.Status != http.StatusConflict || !allowed && (a.Status != http.StatusForbidden || a.Code != "forbidden_error") {
					t.Errorf("%s, allowed: %t: %s", call.name, allowed, a)
				}
			}
		})
	}
}

// signedForm posts a form of the query protocol as older clients do.
func (s *testServer) signedForm(t *testing.T, k newKey, service, form string, at time.Time) answer {
	t.Helper()
	req := s.request(t, "POST", "/", form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(form))
	credential := aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), credential, req, hex.EncodeToString(sum[:]), service, "us-east-1", at); err != nil {
		t.Fatal(err)
	}
	return s.send(t, req)
}

// Keys and roles count in the query protocol, in its words.
func TestKeysInTheQueryProtocol(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	admin := s.key(t, "", "000000000000", "admin")
	reader := s.key(t, s.login(t, admin.ID, admin.Secret), "000000000000", "reader")
	now := time.Now()
	create, list := "Action=CreateQueue&QueueName=orders&Version=2012-11-05", "Action=ListQueues&Version=2012-11-05"
	for _, tt := range []struct {
		name, service, form string
		key                 newKey
		at                  time.Time
		status              int
		want                string
	}{
		{"an admin", "sqs", create, admin, now, 200, "/000000000000/orders</QueueUrl>"},
		{"a reader who looks", "sqs", list, reader, now, 200, "/000000000000/orders</QueueUrl>"},
		{"a reader who writes", "sqs", create, reader, now, 403, "<Code>AccessDenied</Code>"},
		{"a reader who writes to EC2", "ec2", "Action=RunInstances&ImageId=ami-0abcdef1234567890&MinCount=1&MaxCount=1&Version=2016-11-15", reader, now, 403, "<Code>UnauthorizedOperation</Code>"},
		{"a wrong secret", "sqs", list, newKey{admin.ID, "wrong"}, now, 403, "<Code>SignatureDoesNotMatch</Code>"},
		{"an unknown key", "sqs", list, newKey{"RLTO0000000000000000", "x"}, now, 403, "<Code>InvalidClientTokenId</Code>"},
		{"the signature of another service", "sts", list, admin, now, 400, "<Code>InvalidAction</Code>"},
		{"a signature of yesterday", "sqs", list, admin, now.Add(-24 * time.Hour), 403, "Signature expired"},
		{"a signature of tomorrow", "sqs", list, admin, now.Add(24 * time.Hour), 403, "Signature not yet current"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := s.signedForm(t, tt.key, tt.service, tt.form, tt.at)
			if a.Status != tt.status || !strings.Contains(string(a.Body), tt.want) {
				t.Errorf("answered %s\nwant %d …%s…", a, tt.status, tt.want)
			}
		})
	}
}

// What one account has, another does not see.
func TestAccountsAreApart(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	one, two := s.caller("111122223333", "us-east-1"), s.caller("444455556666", "us-east-1")
	queue := one.ruleToQueue("orders", `{"source":["shop"]}`)
	two.ruleToQueue("orders", `{"source":["shop"]}`)
	id := one.put("shop", "order", `{"n":1}`)[0]
	if e := one.nextEvent(queue); e.ID != id || e.Account != "111122223333" {
		t.Errorf("the account's queue got %+v", e)
	}
	_, err := two.queues().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &queue})
	if err == nil {
		t.Error("another account reads the queue")
	}
	out, err := two.queues().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(two.queue("orders")), AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessages"},
	})
	if err != nil || out.Attributes["ApproximateNumberOfMessages"] != "0" {
		t.Errorf("the other account's queue of the name has %v: %v", out, err)
	}
}

// Secrets are kept under one key; a start with another, or without, is refused
// and changes nothing.
func TestAnotherSecretKeyIsRefused(t *testing.T) {
	t.Parallel()
	const first, second = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "/////////////////////////////////////////w8="
	s := startServer(t, func(c *Config) { c.SecretKey = first })
	c := s.config
	s.caller("000000000000", "us-east-1").destination("d", "https://example.com/", apiKeyAuth("X-Key", "secret"))
	s.stop()
	logger := slog.New(slog.DiscardHandler)
	for name, key := range map[string]string{"another key": second, "no key": "", "half a key": "AAEC"} {
		c.SecretKey = key
		if _, err := Start(t.Context(), c, logger); err == nil || !strings.Contains(err.Error(), "key") {
			t.Fatalf("with %s it starts, or fails with: %v", name, err)
		}
	}
	c.SecretKey = first
	s = startServerAt(t, c, time.Now)
	if got, err := s.caller("000000000000", "us-east-1").events().ListConnections(t.Context(), &eventbridge.ListConnectionsInput{}); err != nil || len(got.Connections) != 1 {
		t.Errorf("with the right key there are connections %+v: %v", got, err)
	}
}

// The key file is made at the first start, for its owner only, and needed from then on.
func TestTheKeyFileIsNeeded(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	path := filepath.Join(s.DataDir(), auth.KeyFileName)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the key file has mode %v: %v", info.Mode(), err)
	}
	s.stop()
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), s.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("with a key file that others can read it starts, or fails with: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), s.config, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), auth.KeyFileName) {
		t.Errorf("without its key file it starts, or fails with: %v", err)
	}
}

func TestAPublicURLNeedsAnAdminKey(t *testing.T) {
	t.Parallel()
	c := NewConfig()
	c.Listen, c.DataDir, c.PublicURL, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), "https://rialto.example.com", 64<<20
	if _, err := Start(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "rialto keys create") {
		t.Fatalf("it starts, or fails with: %v", err)
	}
	id, secret, err := CreateKey(t.Context(), c, "000000000000", "admin", "")
	if err != nil {
		t.Fatal(err)
	}
	s := startServerAt(t, c, time.Now)
	req := s.request(t, "GET", "/healthz", nil)
	req.Host = "rialto.example.com"
	if a := s.send(t, req); a.Status != http.StatusOK {
		t.Errorf("called by its public name it answers %s", a)
	}
	bearer := s.login(t, id, secret)
	var m monitored
	for _, call := range []struct {
		path string
		in   any
	}{
		{"/projects", map[string]string{"name": "web"}},
		{"/projects/web/cloud_accounts", map[string]any{"account_id": "000000000000", "regions": []string{"us-east-1"}}},
		{"/projects/web/cloud_accounts/000000000000/monitor", nil},
	} {
		a := s.rest(t, "POST", apiRoot+call.path, bearer, call.in)
		if a.Status/100 != 2 {
			t.Fatalf("%s: %s", call.path, a)
		}
		if err := json.Unmarshal(a.Body, &m); err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(m.WebhookURL, "https://rialto.example.com/v1/webhooks/") || m.TokenURL != "https://rialto.example.com/v1/oauth_token" {
		t.Errorf("the URLs that are told are %s and %s", m.WebhookURL, m.TokenURL)
	}
	if url := s.withKey("000000000000", "us-east-1", id, secret).queue("q"); url != "https://rialto.example.com/000000000000/q" {
		t.Errorf("a queue's URL is %s", url)
	}
}

// Rules call no private address unless --allow-outbound says so; what they would
// have sent becomes a dead letter that says how to allow it.
func TestOutboundCallsAreGuarded(t *testing.T) {
	t.Parallel()
	called := make(chan string, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { called <- r.Header.Get("X-Key") }))
	defer endpoint.Close()
	_, port, err := net.SplitHostPort(endpoint.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{
		"metadata": "http://169.254.169.254/latest/meta-data", "private": "http://10.255.255.1:8080/hook",
		"name": "http://localhost:" + port + "/hook", "loopback": endpoint.URL + "/hook",
	}
	// In dev mode, and with the first two allowed, all of them can be made.
	s := startServer(t, func(c *Config) { c.AllowOutbound = []string{"169.254.169.254/32", "10.255.255.1:8080"} })
	c := s.caller("000000000000", "us-east-1")
	c.queue("dead")
	for name, url := range urls {
		destination := c.destination(name, url, apiKeyAuth("X-Key", name))
		c.putRule("", name, `{"detail-type":["`+name+`"]}`, ebtypes.Target{
			Id: aws.String("t"), Arn: &destination, RoleArn: aws.String(c.role()),
			DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String(c.queueARN("dead"))},
		})
	}
	s.stop()
	config := s.config
	config.AllowOutbound = nil
	id, secret, err := CreateKey(t.Context(), config, "000000000000", "admin", "")
	if err != nil {
		t.Fatal(err)
	}

	s = startServerAt(t, config, time.Now)
	c = s.withKey("000000000000", "us-east-1", id, secret)
	dead := c.queue("dead")
	for name, want := range map[string]string{
		"metadata": "--allow-outbound 169.254.169.254", "private": "--allow-outbound 10.255.255.1",
		"name": "--allow-outbound 127.0.0.1/32 or --allow-outbound localhost:" + port, "loopback": "--allow-outbound 127.0.0.1",
	} {
		event := c.put("shop", name, "{}")[0]
		e := c.nextEvent(dead)
		if e.ID != event || e.attributes["ERROR_CODE"] != "CONNECTION_FAILURE" || !strings.Contains(e.attributes["ERROR_MESSAGE"], want) {
			t.Errorf("%s: the dead letter of event %s is %s with %v, want one with %q", name, event, e.ID, e.attributes, want)
		}
	}
	_, err = c.events().CreateApiDestination(t.Context(), &eventbridge.CreateApiDestinationInput{
		Name: aws.String("new"), ConnectionArn: aws.String("arn:aws:events:us-east-1:000000000000:connection/a/0b1c2d3e-0000-4000-8000-000000000000"),
		InvocationEndpoint: aws.String(endpoint.URL), HttpMethod: ebtypes.ApiDestinationHttpMethodPost,
	})
	refusedAs(t, err, "ValidationException", "--allow-outbound")
	s.stop()

	config.AllowOutbound = []string{"localhost:" + port}
	s = startServerAt(t, config, time.Now)
	c = s.withKey("000000000000", "us-east-1", id, secret)
	c.put("shop", "name", "{}")
	select {
	case key := <-called:
		if key != "name" {
			t.Errorf("the call came with key %q", key)
		}
	case <-time.After(patience):
		t.Error("what is allowed was not called")
	}
	select {
	case key := <-called:
		t.Errorf("the endpoint was called with key %q as well", key)
	default:
	}
}
