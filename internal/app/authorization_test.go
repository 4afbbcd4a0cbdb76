package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	ec2api "github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	eventsapi "github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	sqsapi "github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	stsapi "github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

// heldKey is a key with its secret and a bearer token.
type heldKey struct{ account, id, secret, bearer string }

func (s *testServer) held(t *testing.T, account string, role auth.Role) heldKey {
	t.Helper()
	k, secret, err := s.auth.CreateKey(t.Context(), auth.NewKey{Account: account, Role: role})
	if err != nil {
		t.Fatal(err)
	}
	bearer, _, err := s.auth.Login(t.Context(), k.ID, secret)
	if err != nil {
		t.Fatal(err)
	}
	return heldKey{account, k.ID, secret, bearer}
}

func (s *testServer) as(k heldKey, region string) *caller {
	return s.withKey(k.account, region, k.id, k.secret)
}

// The accounts of these tests: two tenants beside the installation's own.
const (
	tenantA = "111111111111"
	tenantB = "222222222222"
)

func TestEveryRouteAsksForARole(t *testing.T) {
	s := startServer(t, nil)
	keys := map[auth.Role]heldKey{}
	for _, role := range auth.Roles() {
		keys[role] = s.held(t, auth.HomeAccount, role)
	}
	const project, account = apiRoot + "/projects/p", apiRoot + "/projects/p/cloud_accounts/a"
	for permission, routes := range map[auth.Permission][]string{
		auth.Read: {
			"GET /metrics", "GET /v1/events/stream?pattern=no",
			"GET " + apiRoot + "/projects", "GET " + project, "GET " + project + "/cloud_accounts", "GET " + account,
			"GET " + account + "/monitor", "GET " + account + "/health", "GET " + account + "/sync_runs", "GET " + account + "/sync_runs/r",
			"GET " + project + "/server_enrollment_tokens", "GET " + project + "/server_enrollment_tokens/t",
			"GET " + apiRoot + "/servers", "GET " + apiRoot + "/servers/s", "GET " + apiRoot + "/servers/s/history",
			"GET " + project + "/servers", "GET " + project + "/servers/s", "GET " + project + "/servers/s/history",
			"GET /v1/sources", "GET /v1/sources/s", "GET /v1/sources/s/refused",
		},
		auth.Write: {
			"POST " + apiRoot + "/projects", "PUT " + project, "DELETE " + project,
			"POST " + project + "/cloud_accounts", "PUT " + account, "DELETE " + account,
			"POST " + account + "/monitor", "DELETE " + account + "/monitor",
			"POST " + account + "/monitor/secrets", "DELETE " + account + "/monitor/secrets/s",
			"POST " + account + "/sync_runs", "POST " + account + "/sync_runs/r/confirm",
			"POST " + project + "/server_enrollment_tokens", "DELETE " + project + "/server_enrollment_tokens/t",
			"POST " + project + "/servers", "PUT " + project + "/servers/s", "DELETE " + project + "/servers/s", "PUT " + apiRoot + "/servers/s",
		},
		auth.Administer: {
			"POST /v1/events",
			"POST /v1/sources", "PUT /v1/sources/s", "DELETE /v1/sources/s", "POST /v1/sources/s/secrets", "DELETE /v1/sources/s/secrets/x",
			"POST /v1/sources/s/refused/m/retry", "DELETE /v1/sources/s/refused/m",
			"GET /v1/keys", "POST /v1/keys", "GET /v1/keys/k", "POST /v1/keys/k/rotate", "DELETE /v1/keys/k",
			"GET /v1/cloud/accounts", "GET /v1/cloud/accounts/a", "PUT /v1/cloud/accounts/a", "DELETE /v1/cloud/accounts/a", "POST /v1/cloud/accounts/a/check",
		},
	} {
		for _, route := range routes {
			method, path, _ := strings.Cut(route, " ")
			if got := s.rest(t, method, path, "", `{"no such field":1}`); got.Status != http.StatusUnauthorized {
				t.Errorf("%s without a token: %s, want 401", route, got)
			}
			for role, k := range keys {
				got := s.rest(t, method, path, k.bearer, `{"no such field":1}`)
				if allowed := role.Has(permission); (got.Status == http.StatusForbidden) == allowed || got.Status == http.StatusUnauthorized || got.Status >= 500 {
					t.Errorf("%s as %s: %s, allowed should be %v", route, role, got, allowed)
				}
			}
		}
	}
}

func TestEveryAWSOperationAsksForARole(t *testing.T) {
	s := startServer(t, nil)
	keys := map[auth.Role]heldKey{}
	for _, role := range auth.Roles() {
		keys[role] = s.held(t, auth.HomeAccount, role)
	}
	for _, api := range []*awsapi.API{eventsapi.API, sqsapi.API, ec2api.API, stsapi.API} {
		for _, op := range api.Operations {
			for role, k := range keys {
				got := s.awsCall(t, k, api, op.Name)
				denied := strings.Contains(string(got.Body), "AccessDenied") || strings.Contains(string(got.Body), "UnauthorizedOperation")
				if want := !roleMay(role, op.Name); denied != want || strings.Contains(string(got.Body), "Signature") || got.Status >= 500 {
					t.Errorf("%s %s as %s: %s, denied should be %v", api.Name, op.Name, role, got, want)
				}
			}
		}
	}
}

// roleMay is what the guide says of roles, told by the names of operations.
func roleMay(role auth.Role, operation string) bool {
	switch {
	case operation == "GetCallerIdentity" || role == auth.Admin || role == auth.Operator:
		return true
	case slices.Contains([]string{"PutEvents", "PutPartnerEvents", "SendMessage", "SendMessageBatch"}, operation):
		return role == auth.Publisher
	}
	for _, verb := range []string{"Describe", "List", "Get", "Test"} {
		if strings.HasPrefix(operation, verb) {
			return role == auth.Reader
		}
	}
	return false
}

// awsCall calls an operation without parameters.
func (s *testServer) awsCall(t *testing.T, k heldKey, api *awsapi.API, operation string) answer {
	t.Helper()
	body := "{}"
	if api.TargetPrefix == "" {
		body = "Action=" + operation + "&Version=" + api.Version
	}
	req := s.request(t, "POST", "/", body)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	if api.TargetPrefix == "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	} else {
		req.Header.Set("X-Amz-Target", api.TargetPrefix+"."+operation)
	}
	sum := sha256.Sum256([]byte(body))
	credentials := aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, req, hex.EncodeToString(sum[:]), api.Name, "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	return s.send(t, req)
}

func TestAccountsDoNotReachOneAnother(t *testing.T) {
	s := startServer(t, nil)
	s.held(t, auth.HomeAccount, auth.Admin)
	adminA := s.held(t, tenantA, auth.Admin)
	a, b := s.as(adminA, "us-east-1"), s.as(s.held(t, tenantB, auth.Operator), "us-east-1")

	queueB := b.queue("b")
	b.ruleToQueue("r", `{"source":["b"]}`)
	destinationB := b.destination("d", "https://example.com/hook", apiKeyAuth("X-Key", "b's key"))
	ran, err := b.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-1234567890abcdef0"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	instanceB := *ran.Instances[0].InstanceId
	busB := aws.String(b.busARN("default"))
	events, queues := a.events(), a.queues()
	ctx := t.Context()

	for name, try := range map[string]func() error{
		"sends to its queue": func() error {
			_, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &queueB, MessageBody: aws.String("x")})
			return err
		},
		"receives from its queue": func() error {
			_, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &queueB})
			return err
		},
		"reads its queue's attributes": func() error {
			_, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &queueB})
			return err
		},
		"opens its queue": func() error {
			_, err := queues.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &queueB, Attributes: map[string]string{"Policy": ""}})
			return err
		},
		"deletes its queue": func() error {
			_, err := queues.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &queueB})
			return err
		},
		"puts events on its bus": func() error {
			_, err := events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
				{EventBusName: busB, Source: aws.String("b"), DetailType: aws.String("t"), Detail: aws.String("{}")}}})
			return err
		},
		"describes its bus": func() error {
			_, err := events.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{Name: busB})
			return err
		},
		"opens its bus": func() error {
			_, err := events.PutPermission(ctx, &eventbridge.PutPermissionInput{EventBusName: busB, StatementId: aws.String("x"), Action: aws.String("events:PutEvents"), Principal: aws.String("*")})
			return err
		},
		"lists its rules": func() error {
			_, err := events.ListRules(ctx, &eventbridge.ListRulesInput{EventBusName: busB})
			return err
		},
		"puts a rule on its bus": func() error {
			_, err := events.PutRule(ctx, &eventbridge.PutRuleInput{EventBusName: busB, Name: aws.String("spy"), EventPattern: aws.String(`{"source":["b"]}`)})
			return err
		},
		"deletes its rule": func() error {
			_, err := events.DeleteRule(ctx, &eventbridge.DeleteRuleInput{EventBusName: busB, Name: aws.String("r")})
			return err
		},
		"adds a target to its rule": func() error {
			_, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{EventBusName: busB, Rule: aws.String("r"), Targets: []ebtypes.Target{{Id: aws.String("spy"), Arn: aws.String(a.queueARN("spy"))}}})
			return err
		},
		"calls with its connection": func() error {
			a.putRule("", "own", `{"source":["a"]}`)
			_, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("own"), Targets: []ebtypes.Target{{Id: aws.String("x"), Arn: &destinationB, RoleArn: aws.String(a.role())}}})
			return err
		},
		"passes its role": func() error {
			a.putRule("", "own", `{"source":["a"]}`)
			_, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("own"), Targets: []ebtypes.Target{{Id: aws.String("x"), Arn: busB, RoleArn: aws.String(b.role())}}})
			return err
		},
		"describes its connection": func() error {
			_, err := events.DescribeConnection(ctx, &eventbridge.DescribeConnectionInput{Name: aws.String("d")})
			return err
		},
		"tags its bus": func() error {
			_, err := events.TagResource(ctx, &eventbridge.TagResourceInput{ResourceARN: busB, Tags: []ebtypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}})
			return err
		},
		"terminates its instance": func() error {
			_, err := a.ec2().TerminateInstances(ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{instanceB}})
			return err
		},
		"describes its instance": func() error {
			_, err := a.ec2().DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instanceB}})
			return err
		},
	} {
		if try() == nil {
			t.Errorf("an admin of account A %s, account B's", name)
		}
	}
	for route, want := range map[string]int{
		"POST /v1/events?bus=" + *busB:         http.StatusForbidden,
		"GET /v1/keys?account=" + tenantB:      http.StatusForbidden,
		"GET /v1/cloud/accounts/" + tenantB:    http.StatusForbidden,
		"DELETE /v1/cloud/accounts/" + tenantB: http.StatusForbidden,
	} {
		method, path, _ := strings.Cut(route, " ")
		if got := s.rest(t, method, path, adminA.bearer, `{"source":"b","detail-type":"t","detail":{}}`); got.Status != want {
			t.Errorf("%s as an admin of account A: %s, want %d", route, got, want)
		}
	}
}

func TestAQueueOfAnotherAccountTakesWhatItsPolicyLetsIn(t *testing.T) {
	s := startServer(t, nil)
	s.held(t, auth.HomeAccount, auth.Admin)
	a, b := s.as(s.held(t, tenantA, auth.Operator), "us-east-1"), s.as(s.held(t, tenantB, auth.Operator), "us-east-1")
	queueB := b.queue("b")
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},
		"Action":"sqs:SendMessage","Resource":"` + b.queueARN("b") + `",
		"Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:events:us-east-1:` + tenantA + `:rule/let-in"},"StringEquals":{"aws:SourceAccount":"` + tenantA + `"}}}]}`
	if _, err := b.queues().SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &queueB, Attributes: map[string]string{"Policy": policy}}); err != nil {
		t.Fatal(err)
	}
	dead := a.queue("dead")
	target := ebtypes.Target{Id: aws.String("t"), Arn: aws.String(b.queueARN("b")), DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String(a.queueARN("dead"))}}
	// The second rule is another's deputy: its account may send to B, it may not.
	a.putRule("", "let-in", `{"source":["good"]}`, target)
	a.putRule("", "other", `{"source":["bad"]}`, target)
	a.put("bad", "t", `{"n":1}`)
	a.put("good", "t", `{"n":2}`)
	if got := b.nextEvent(queueB); got.Source != "good" {
		t.Errorf("account B's queue got %+v", got)
	}
	if got := a.nextEvent(dead); got.Source != "bad" {
		t.Errorf("the dead-letter queue got %+v", got)
	}
}

func TestPublicURLsThatCannotBeServed(t *testing.T) {
	for url, ok := range map[string]bool{
		"https://rialto.example.com": true, "https://rialto.example.com:8443/": true, "http://[::1]:7425": true,
		// It is printed, and is in every webhook's URL.
		"https://admin:hunter2@rialto.example.com": false,
		"https://rialto.example.com?x=1":           false, "ftp://rialto.example.com": false, "rialto.example.com": false, "https://": false,
	} {
		c := NewConfig()
		c.PublicURL = url
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAStreamCarriesTheCallersAccountOnly(t *testing.T) {
	s := startServer(t, nil)
	s.held(t, auth.HomeAccount, auth.Admin)
	readerA := s.held(t, tenantA, auth.Reader)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req := s.request(t, "GET", "/v1/events/stream", nil).WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+readerA.bearer)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	s.as(s.held(t, tenantB, auth.Publisher), "us-east-1").put("b", "secret of B", `{"whose":"B's"}`)
	s.as(s.held(t, tenantA, auth.Publisher), "us-east-1").put("a", "seen", `{"whose":"A's"}`)
	var seen bytes.Buffer
	for buf := make([]byte, 4096); !bytes.Contains(seen.Bytes(), []byte("A's")); {
		n, err := resp.Body.Read(buf)
		if err != nil {
			t.Fatalf("after %q: %v", &seen, err)
		}
		seen.Write(buf[:n])
	}
	if bytes.Contains(seen.Bytes(), []byte("B's")) {
		t.Errorf("account A is told %q", &seen)
	}
}

// logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

func TestSecretsAreNeitherLoggedNorStoredReadably(t *testing.T) {
	var log logBuffer
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes, c.LogLevel = "127.0.0.1:0", t.TempDir(), 64<<20, "debug"
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	logger, err := NewLogger(c, &log)
	if err != nil {
		t.Fatal(err)
	}
	a, err := start(ctx, c, logger, hooks{now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	s := &testServer{App: a, t: t}

	secrets := map[string]string{ // by what they are
		"an API key": "api-key-4711", "an OAuth client's secret": "oauth-secret-4711", "a cloud account's secret key": "cloud-secret-key-4711",
		"a wrong login": "wrong-secret-4711", "a made-up bearer token": "made.up.bearer-4711",
	}
	admin := s.held(t, auth.HomeAccount, auth.Admin)
	secrets["an access key's secret"], secrets["a login token"] = admin.secret, admin.bearer
	home := s.as(admin, "us-east-1")
	home.destination("k", "https://example.com/", apiKeyAuth("X-Key", secrets["an API key"]))
	home.destination("o", "https://example.com/", oauth(s.LocalURL()+"/v1/oauth_token", "client", secrets["an OAuth client's secret"]))
	s.rest(t, "PUT", "/v1/cloud/accounts/"+tenantB, admin.bearer, map[string]any{
		"access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": secrets["a cloud account's secret key"], "endpoint_url": "http://127.0.0.1:1"})
	s.rest(t, "POST", apiRoot+"/service_token", "", map[string]string{"key_id": admin.id, "key_secret": secrets["a wrong login"]})
	s.rest(t, "GET", "/v1/keys", secrets["a made-up bearer token"], nil)

	for _, step := range []struct{ path, body string }{
		{"/projects", `{"name":"p"}`}, {"/projects/p/cloud_accounts", `{"account_id":"` + tenantA + `","regions":["us-east-1"]}`},
	} {
		if got := s.rest(t, "POST", apiRoot+step.path, admin.bearer, step.body); got.Status/100 != 2 {
			t.Fatalf("%s: %s", step.path, got)
		}
	}
	m := decoded[monitored](t, s.rest(t, "POST", apiRoot+"/projects/p/cloud_accounts/"+tenantA+"/monitor", admin.bearer, nil))
	secrets["a real-time credential"] = m.ClientSecret
	token, _ := s.token(t, m.ClientID, m.ClientSecret)
	secrets["a webhook token"] = token
	s.rest(t, "POST", strings.TrimPrefix(m.WebhookURL, s.URL()), token, `{"not":"an event"}`)
	enrollment := decoded[struct{ Token string }](t, s.rest(t, "POST", apiRoot+"/projects/p/server_enrollment_tokens", admin.bearer, `{}`))
	secrets["an enrollment token"] = enrollment.Token

	cancel()
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	for what, secret := range secrets {
		if len(secret) < 10 {
			t.Fatalf("%s was not made: %q", what, secret)
		}
		if bytes.Contains(log.bytes(), []byte(secret)) {
			t.Errorf("%s is in the log", what)
		}
	}
	if !checkFiles(t, c.DataDir, secrets, admin.id) {
		t.Error("the key's id is in no file: secrets would not be found either")
	}
}

func decoded[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal(a.Body, &v); err != nil {
		t.Fatalf("%s: %v", a, err)
	}
	return v
}

// checkFiles looks for secrets in all files below dir, and for files that others
// may read. It reports whether a file holds known, which is no secret.
func checkFiles(t *testing.T, dir string, secrets map[string]string, known string) (found bool) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
		if d.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		found = found || bytes.Contains(content, []byte(known))
		for what, secret := range secrets {
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s is in %s", what, path)
			}
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return found
}
