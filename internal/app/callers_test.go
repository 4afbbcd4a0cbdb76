package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// patience is how long a test waits for what has to happen.
const patience = 30 * time.Second

// caller calls a server with the AWS SDK as one access key, in one region, and
// without trying again.
type caller struct {
	t       *testing.T
	url     string
	account string
	region  string
	key     aws.CredentialsProvider
	http    *http.Client // nil: the usual one
}

// caller is anybody of an account, as dev mode has it.
func (s *testServer) caller(account, region string) *caller {
	return s.withKey(account, region, account, "any")
}

func (s *testServer) withKey(account, region, id, secret string) *caller {
	return &caller{t: s.t, url: s.LocalURL(), account: account, region: region, key: credentials.NewStaticCredentialsProvider(id, secret, "")}
}

// on is the same caller on behalf of a subtest.
func (c *caller) on(t *testing.T) *caller {
	other := *c
	other.t = t
	return &other
}

func (c *caller) httpClient() *http.Client {
	if c.http != nil {
		return c.http
	}
	return http.DefaultClient
}

func (c *caller) events() *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

func (c *caller) queues() *sqs.Client {
	return sqs.New(sqs.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

func (c *caller) ec2() *ec2.Client {
	return ec2.New(ec2.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

func (c *caller) sts() *sts.Client {
	return sts.New(sts.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

func (c *caller) role() string { return "arn:aws:iam::" + c.account + ":role/events" }

func (c *caller) queueARN(name string) string {
	return "arn:aws:sqs:" + c.region + ":" + c.account + ":" + name
}

func (c *caller) busARN(name string) string {
	return "arn:aws:events:" + c.region + ":" + c.account + ":event-bus/" + name
}

// queue makes a queue and returns its URL.
func (c *caller) queue(name string) string {
	c.t.Helper()
	out, err := c.queues().CreateQueue(c.t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		c.t.Fatal(err)
	}
	return *out.QueueUrl
}

// putRule puts a rule on a bus (a name or an ARN; empty is the default one) with
// targets.
func (c *caller) putRule(bus, name, pattern string, targets ...ebtypes.Target) {
	c.t.Helper()
	var busName *string
	if bus != "" {
		busName = &bus
	}
	_, err := c.events().PutRule(c.t.Context(), &eventbridge.PutRuleInput{Name: &name, EventPattern: &pattern, EventBusName: busName})
	if err != nil {
		c.t.Fatal(err)
	}
	if len(targets) == 0 {
		return
	}
	out, err := c.events().PutTargets(c.t.Context(), &eventbridge.PutTargetsInput{Rule: &name, EventBusName: busName, Targets: targets})
	if err != nil || out.FailedEntryCount != 0 {
		c.t.Fatalf("PutTargets: %+v, %v", out, err)
	}
}

// ruleToQueue makes a queue and a rule on the default bus that fills it, both of
// the same name, and returns the queue's URL.
func (c *caller) ruleToQueue(name, pattern string) string {
	c.t.Helper()
	url := c.queue(name)
	c.putRule("", name, pattern, ebtypes.Target{Id: aws.String("queue"), Arn: aws.String(c.queueARN(name))})
	return url
}

// destination makes an API destination with a connection, both of the same name,
// and returns the destination's ARN.
func (c *caller) destination(name, endpoint string, auth *ebtypes.CreateConnectionAuthRequestParameters) string {
	c.t.Helper()
	kind := ebtypes.ConnectionAuthorizationTypeOauthClientCredentials
	switch {
	case auth.ApiKeyAuthParameters != nil:
		kind = ebtypes.ConnectionAuthorizationTypeApiKey
	case auth.BasicAuthParameters != nil:
		kind = ebtypes.ConnectionAuthorizationTypeBasic
	}
	connection, err := c.events().CreateConnection(c.t.Context(), &eventbridge.CreateConnectionInput{
		Name: &name, AuthorizationType: kind, AuthParameters: auth,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := c.events().CreateApiDestination(c.t.Context(), &eventbridge.CreateApiDestinationInput{
		Name: &name, ConnectionArn: connection.ConnectionArn, InvocationEndpoint: &endpoint, HttpMethod: ebtypes.ApiDestinationHttpMethodPost,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return *out.ApiDestinationArn
}

func apiKeyAuth(name, value string) *ebtypes.CreateConnectionAuthRequestParameters {
	return &ebtypes.CreateConnectionAuthRequestParameters{
		ApiKeyAuthParameters: &ebtypes.CreateConnectionApiKeyAuthRequestParameters{ApiKeyName: &name, ApiKeyValue: &value},
	}
}

func oauth(tokenURL, clientID, secret string) *ebtypes.CreateConnectionAuthRequestParameters {
	return &ebtypes.CreateConnectionAuthRequestParameters{OAuthParameters: &ebtypes.CreateConnectionOAuthRequestParameters{
		AuthorizationEndpoint: &tokenURL, HttpMethod: ebtypes.ConnectionOAuthHttpMethodPost,
		ClientParameters: &ebtypes.CreateConnectionOAuthClientRequestParameters{ClientID: &clientID, ClientSecret: &secret},
		OAuthHttpParameters: &ebtypes.ConnectionHttpParameters{BodyParameters: []ebtypes.ConnectionBodyParameter{
			{Key: aws.String("grant_type"), Value: aws.String("client_credentials")},
		}},
	}}
}

// put puts events that the bus must take, and returns their ids.
func (c *caller) put(source, detailType string, details ...string) []string {
	c.t.Helper()
	entries := make([]ebtypes.PutEventsRequestEntry, len(details))
	for i := range details {
		entries[i] = ebtypes.PutEventsRequestEntry{Source: &source, DetailType: &detailType, Detail: &details[i]}
	}
	out, err := c.events().PutEvents(c.t.Context(), &eventbridge.PutEventsInput{Entries: entries})
	if err != nil || out.FailedEntryCount != 0 {
		c.t.Fatalf("PutEvents: %+v, %v", out, err)
	}
	ids := make([]string, len(out.Entries))
	for i, e := range out.Entries {
		ids[i] = *e.EventId
	}
	return ids
}

// arrived is an event in a queue.
type arrivedEvent struct {
	ID         string          `json:"id"`
	DetailType string          `json:"detail-type"`
	Source     string          `json:"source"`
	Account    string          `json:"account"`
	Time       string          `json:"time"`
	Region     string          `json:"region"`
	Resources  []string        `json:"resources"`
	Detail     json.RawMessage `json:"detail"`

	attributes map[string]string
}

// awaitEvents takes events off a queue until enough says so; it fails once none
// has come for long.
func (c *caller) awaitEvents(queueURL string, enough func(arrivedEvent) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		for _, m := range c.receive(ctx, queueURL) {
			e := arrivedEvent{attributes: map[string]string{}}
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				c.t.Fatalf("the queue holds %s: %v", *m.Body, err)
			}
			for name, v := range m.MessageAttributes {
				e.attributes[name] = *v.StringValue
			}
			if enough(e) {
				return
			}
		}
	}
}

// receive takes one message at a time, so that what comes after the one waited
// for stays in the queue.
func (c *caller) receive(ctx context.Context, queueURL string) []sqstypes.Message {
	c.t.Helper()
	out, err := c.queues().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &queueURL, MaxNumberOfMessages: 1, WaitTimeSeconds: 10, MessageAttributeNames: []string{"All"},
	})
	if err != nil {
		c.t.Fatalf("waiting for a message in %s: %v", queueURL, err)
	}
	for _, m := range out.Messages {
		if _, err := c.queues().DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &queueURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
			c.t.Fatal(err)
		}
	}
	return out.Messages
}

// nextEvent takes the next event off a queue.
func (c *caller) nextEvent(queueURL string) arrivedEvent {
	c.t.Helper()
	var found arrivedEvent
	c.awaitEvents(queueURL, func(e arrivedEvent) bool { found = e; return true })
	return found
}

// refusedAs fails the test unless err is the service's error with the code, and
// its message holds what.
func refusedAs(t *testing.T, err error, code, what string) {
	t.Helper()
	var e smithy.APIError
	if !errors.As(err, &e) {
		t.Errorf("got %v, want %s", err, code)
		return
	}
	if e.ErrorCode() != code || !strings.Contains(e.ErrorMessage(), what) {
		t.Errorf("refused with %s: %s\nwant %s: …%s…", e.ErrorCode(), e.ErrorMessage(), code, what)
	}
}

// answer is an answer of the REST API.
type answer struct {
	Status int
	Body   []byte
	// Code and Message are those of an error.
	Code, Message string
}

func (a answer) String() string {
	return fmt.Sprintf("%d %s", a.Status, a.Body)
}

// rest calls the REST API with a bearer token; in is sent as JSON, a string or
// bytes as they are.
func (s *testServer) rest(t *testing.T, method, path, bearer string, in any) answer {
	t.Helper()
	req := s.request(t, method, path, in)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	return s.send(t, req)
}

func (s *testServer) request(t *testing.T, method, path string, in any) *http.Request {
	t.Helper()
	if !strings.Contains(path, "://") {
		path = s.LocalURL() + path
	}
	return newRequest(t, method, path, in)
}

func newRequest(t *testing.T, method, url string, in any) *http.Request {
	t.Helper()
	var body []byte
	switch v := in.(type) {
	case nil:
	case string:
		body = []byte(v)
	case []byte:
		body = v
	default:
		var err error
		if body, err = json.Marshal(in); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func (s *testServer) send(t *testing.T, req *http.Request) answer {
	t.Helper()
	return send(t, http.DefaultClient, req)
}

func send(t *testing.T, client *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Body: b}
	var e struct {
		Error struct{ Code, Message string }
	}
	if a.Status >= 300 && json.Unmarshal(b, &e) == nil {
		a.Code, a.Message = e.Error.Code, e.Error.Message
	}
	return a
}

// do makes a call that must succeed and reads its answer into out, unless nil.
func (s *testServer) do(t *testing.T, method, path string, in, out any) {
	t.Helper()
	a := s.rest(t, method, path, "", in)
	if a.Status/100 != 2 {
		t.Fatalf("%s %s: %s", method, path, a)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		t.Fatalf("%s %s: %s: %v", method, path, a, err)
	}
}

const apiRoot = "/v1/teams/default"

// monitored is a cloud account's real-time credential.
type monitored struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	WebhookURL   string `json:"webhook_url"`
	TokenURL     string `json:"token_url"`
	Secrets      []struct {
		ID       string `json:"id"`
		LastFour string `json:"last_four"`
	} `json:"secrets"`
}

// follow makes a project that follows an account, and its webhook.
func (s *testServer) follow(t *testing.T, project, account string, regions ...string) monitored {
	t.Helper()
	s.do(t, "POST", apiRoot+"/projects", map[string]string{"name": project}, nil)
	s.do(t, "POST", apiRoot+"/projects/"+project+"/cloud_accounts", map[string]any{"account_id": account, "regions": regions}, nil)
	awaitFirstSync(t, func(out any) {
		s.do(t, "GET", apiRoot+"/projects/"+project+"/cloud_accounts/"+account+"/sync_runs", nil, out)
	})
	var m monitored
	s.do(t, "POST", apiRoot+"/projects/"+project+"/cloud_accounts/"+account+"/monitor", nil, &m)
	return m
}

// awaitFirstSync waits for the end of the sync that runs when an account is
// connected, so that what follows is found by events and not by it. list reads
// the account's sync runs.
func awaitFirstSync(t *testing.T, list func(out any)) {
	t.Helper()
	eventually(t, "the first sync", func() bool {
		var runs struct {
			List []struct{ Status string }
		}
		list(&runs)
		return len(runs.List) > 0 && runs.List[0].Status != "waiting" && runs.List[0].Status != "running"
	})
}

// eventually asks until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// token gets an access token for a webhook, or the refusal.
func (s *testServer) token(t *testing.T, clientID, secret string) (token string, a answer) {
	t.Helper()
	form := "grant_type=client_credentials&client_id=" + clientID + "&client_secret=" + secret
	req := s.request(t, "POST", "/v1/oauth_token", form)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	a = s.send(t, req)
	var out struct {
		AccessToken string `json:"access_token"`
	}
	if a.Status == http.StatusOK {
		if err := json.Unmarshal(a.Body, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out.AccessToken, a
}

// listedServer is a server of the inventory.
type listedServer struct {
	ID              string            `json:"id"`
	State           string            `json:"state"`
	InstanceID      string            `json:"instance_id"`
	Labels          map[string]string `json:"labels"`
	InstanceDetails struct {
		AccountID string `json:"account_id"`
		Region    string `json:"region"`
		EC2State  string `json:"ec2_state"`
		PublicIP  string `json:"public_ip"`
	} `json:"instance_details"`
}

// servers lists a project's servers by instance.
func (s *testServer) servers(t *testing.T, project string) map[string]listedServer {
	t.Helper()
	var out struct{ List []listedServer }
	s.do(t, "GET", apiRoot+"/projects/"+project+"/servers?count=100", nil, &out)
	byInstance := map[string]listedServer{}
	for _, sv := range out.List {
		byInstance[sv.InstanceID] = sv
	}
	if len(byInstance) != len(out.List) {
		t.Fatalf("an instance is listed twice: %+v", out.List)
	}
	return byInstance
}
