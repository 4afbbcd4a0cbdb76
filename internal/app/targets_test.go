package app

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func (c *caller) deadLetters(name string) *ebtypes.DeadLetterConfig {
	return &ebtypes.DeadLetterConfig{Arn: aws.String(c.queueARN(name))}
}

// deadLetter takes the next dead letter off a queue and checks its attributes:
// AWS's, and no others.
func (c *caller) deadLetter(queueURL, eventID string, want map[string]string) {
	c.t.Helper()
	e := c.nextEvent(queueURL)
	got := maps.Clone(e.attributes)
	if e.ID != eventID || !strings.Contains(got["ERROR_MESSAGE"], want["ERROR_MESSAGE"]) || got["ERROR_MESSAGE"] == "" {
		c.t.Errorf("the dead letter is of event %s with %v\nwant %s with %v", e.ID, got, eventID, want)
	}
	got["ERROR_MESSAGE"] = want["ERROR_MESSAGE"]
	if !maps.Equal(got, want) {
		c.t.Errorf("the dead letter has\n%v\nwant\n%v", got, want)
	}
}

func ruleARN(c *caller, name string) string {
	return "arn:aws:events:" + c.region + ":" + c.account + ":rule/" + name
}

// A bus of another account takes what its policy lets in.
func TestAnotherAccountsBus(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	from, to := s.caller("111122223333", "eu-west-1"), s.caller("444455556666", "us-east-1")
	arrivedAt := to.ruleToQueue("orders", `{"source":["shop"]}`)
	dead := from.queue("dead")
	from.putRule("", "forward", `{"source":["shop"]}`, ebtypes.Target{
		Id: aws.String("t"), Arn: aws.String(to.busARN("default")), RoleArn: aws.String(from.role()), DeadLetterConfig: from.deadLetters("dead"),
	})
	direct := func() (*eventbridge.PutEventsOutput, error) {
		return from.events().PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
			Source: aws.String("direct"), DetailType: aws.String("order"), Detail: aws.String("{}"),
			EventBusName: aws.String("arn:aws:events:eu-west-1:444455556666:event-bus/default"),
		}}})
	}
	refused := map[string]string{
		"RULE_ARN": ruleARN(from, "forward"), "TARGET_ARN": to.busARN("default"), "ERROR_CODE": "NO_PERMISSIONS",
		"ERROR_MESSAGE": "not authorized to perform: events:PutEvents on resource: " + to.busARN("default"),
	}
	from.deadLetter(dead, from.put("shop", "order", `{"n":1}`)[0], refused)
	if out, err := direct(); err == nil && out.FailedEntryCount == 0 {
		t.Error("PutEvents to another account's bus without its policy is taken")
	}

	for _, region := range []string{"us-east-1", "eu-west-1"} {
		_, err := s.caller("444455556666", region).events().PutPermission(t.Context(), &eventbridge.PutPermissionInput{
			Action: aws.String("events:PutEvents"), Principal: aws.String("111122223333"), StatementId: aws.String("shop"),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	from.put("shop", "order", `{"n":2}`)
	if e := to.nextEvent(arrivedAt); e.Account != "111122223333" || e.Region != "eu-west-1" || string(e.Detail) != `{"n":2}` {
		t.Errorf("what arrived is %+v", e)
	}
	if out, err := direct(); err != nil || out.FailedEntryCount != 0 {
		t.Errorf("PutEvents to another account's bus with its policy: %+v, %v", out, err)
	}
	if _, err := to.events().RemovePermission(t.Context(), &eventbridge.RemovePermissionInput{StatementId: aws.String("shop")}); err != nil {
		t.Fatal(err)
	}
	from.deadLetter(dead, from.put("shop", "order", `{"n":3}`)[0], refused)
}

// A queue takes what its policy lets in: of its own account where it has none.
func TestQueuePoliciesAndMissingQueues(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c, other := s.caller("111122223333", "us-east-1"), s.caller("444455556666", "us-east-1")
	dead := c.queue("dead")
	target := func(rule, arn string) {
		c.putRule("", rule, `{"detail-type":["`+rule+`"]}`, ebtypes.Target{Id: aws.String("t"), Arn: &arn, DeadLetterConfig: c.deadLetters("dead")})
	}
	policy := func(owner *caller, url, effect, condition string) {
		document := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":%q}}}]}`, effect, condition)
		_, err := owner.queues().SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"Policy": document}})
		if err != nil {
			t.Fatal(err)
		}
	}
	denied := func(rule, arn, why string) {
		t.Helper()
		c.deadLetter(dead, c.put("shop", rule, "{}")[0], map[string]string{
			"RULE_ARN": ruleARN(c, rule), "TARGET_ARN": arn, "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": why,
		})
	}
	own := c.queue("own")
	target("own", c.queueARN("own"))
	id := c.put("shop", "own", "{}")[0]
	if e := c.nextEvent(own); e.ID != id {
		t.Errorf("a queue of the same account without a policy got %+v", e)
	}
	policy(c, own, "Deny", ruleARN(c, "own"))
	denied("own", c.queueARN("own"), "explicit deny")

	theirs := other.queue("theirs")
	target("theirs", other.queueARN("theirs"))
	denied("theirs", other.queueARN("theirs"), "AccessDenied")
	policy(other, theirs, "Allow", ruleARN(c, "another"))
	denied("theirs", other.queueARN("theirs"), "AccessDenied")
	policy(other, theirs, "Allow", ruleARN(c, "theirs"))
	id = c.put("shop", "theirs", "{}")[0]
	if e := other.nextEvent(theirs); e.ID != id {
		t.Errorf("a queue of another account whose policy allows it got %+v", e)
	}

	target("missing", c.queueARN("missing"))
	c.deadLetter(dead, c.put("shop", "missing", `{"text":"订单 🛒"}`)[0], map[string]string{
		"RULE_ARN": ruleARN(c, "missing"), "TARGET_ARN": c.queueARN("missing"), "ERROR_CODE": "NO_RESOURCE", "ERROR_MESSAGE": "AWS.SimpleQueueService.NonExistentQueue",
	})
}

// scriptedEndpoint answers calls one after another as a test says.
type scriptedEndpoint struct {
	*httptest.Server
	calls chan scriptedCall

	mu     sync.Mutex
	script []func(w http.ResponseWriter, r *http.Request)
}

// scriptedCall is a call as it came.
type scriptedCall struct {
	at     time.Time
	header http.Header
	url    string
	body   string
}

// newScriptedEndpoint answers with 200 once the script is over.
func newScriptedEndpoint(t *testing.T, script ...func(http.ResponseWriter, *http.Request)) *scriptedEndpoint {
	e := &scriptedEndpoint{calls: make(chan scriptedCall, 1000), script: script}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		e.mu.Lock()
		answer := func(http.ResponseWriter, *http.Request) {}
		if len(e.script) > 0 {
			answer, e.script = e.script[0], e.script[1:]
		}
		e.mu.Unlock()
		e.calls <- scriptedCall{time.Now(), r.Header, r.URL.String(), string(body)}
		answer(w, r)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *scriptedEndpoint) next(t *testing.T) scriptedCall {
	t.Helper()
	select {
	case c := <-e.calls:
		return c
	case <-time.After(patience):
		t.Fatal("the endpoint was not called")
		return scriptedCall{}
	}
}

func status(code int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, "answer %d", code)
	}
}

// toDestination makes a rule of the destination's name for the detail type of the
// same name, with a dead-letter queue that is there.
func (c *caller) toDestination(name, arn string, policy *ebtypes.RetryPolicy) {
	c.t.Helper()
	c.putRule("", name, `{"detail-type":["`+name+`"]}`, ebtypes.Target{
		Id: aws.String("t"), Arn: &arn, RoleArn: aws.String(c.role()), RetryPolicy: policy, DeadLetterConfig: c.deadLetters("dead"),
	})
}

// Each kind of authorization arrives at the endpoint as AWS sends it.
func TestAPIDestinationsAuthorizeAsTheirConnectionsSay(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	c.queue("dead")
	e := newScriptedEndpoint(t)
	basic := &ebtypes.CreateConnectionAuthRequestParameters{BasicAuthParameters: &ebtypes.CreateConnectionBasicAuthRequestParameters{
		Username: aws.String("ann"), Password: aws.String("pässword 🔑"),
	}}
	key := apiKeyAuth("X-Api-Key", "secret")
	key.InvocationHttpParameters = &ebtypes.ConnectionHttpParameters{
		HeaderParameters:      []ebtypes.ConnectionHeaderParameter{{Key: aws.String("X-Tenant"), Value: aws.String("web")}},
		QueryStringParameters: []ebtypes.ConnectionQueryStringParameter{{Key: aws.String("tenant"), Value: aws.String("a b")}},
		BodyParameters:        []ebtypes.ConnectionBodyParameter{{Key: aws.String("tenant"), Value: aws.String("订单")}},
	}
	for name, auth := range map[string]*ebtypes.CreateConnectionAuthRequestParameters{"basic": basic, "key": key} {
		c.toDestination(name, c.destination(name, e.URL+"/hook", auth), nil)
	}
	id := c.put("shop", "basic", `{"n":1}`)[0]
	call := e.next(t)
	req := http.Request{Header: call.header}
	if user, password, _ := req.BasicAuth(); user != "ann" || password != "pässword 🔑" {
		t.Errorf("BASIC came as %q", call.header["Authorization"])
	}
	var body arrivedEvent
	if err := json.Unmarshal([]byte(call.body), &body); err != nil || body.ID != id {
		t.Errorf("the body is %s: %v", call.body, err)
	}
	if got := call.header.Get("User-Agent"); got != "Amazon/EventBridge/ApiDestinations" {
		t.Errorf("the user agent is %q", got)
	}
	if got := call.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("the content type is %q", got)
	}
	c.put("shop", "key", `{"n":2}`)
	call = e.next(t)
	if call.header.Get("X-Api-Key") != "secret" || call.header.Get("X-Tenant") != "web" || call.url != "/hook?tenant=a+b" || !strings.Contains(call.body, `"tenant":"订单"`) {
		t.Errorf("API_KEY with parameters came as %+v", call)
	}
}

// A token that the endpoint refuses is replaced, and the event delivered with the
// new one.
func TestAnOAuthTokenThatIsRefusedIsReplaced(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	c.queue("dead")
	tokens := 0
	token := func(w http.ResponseWriter, _ *http.Request) {
		tokens++ // one call at a time
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, tokens)
	}
	issuer := newScriptedEndpoint(t, token, token, token)
	hook := newScriptedEndpoint(t, status(200), status(401))
	c.toDestination("hook", c.destination("hook", hook.URL, oauth(issuer.URL+"/token", "client", "s3cr3t")), nil)
	first := issuer.next(t) // when the connection was made
	if first.body != "client_id=client&client_secret=s3cr3t&grant_type=client_credentials" || first.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("the token was asked for with %+v", first)
	}
	for i, want := range []string{"token-1", "token-1", "token-2"} {
		if i < 2 {
			c.put("shop", "hook", fmt.Sprintf(`{"n":%d}`, i))
		}
		call := hook.next(t)
		if got := call.header.Get("Authorization"); got != "Bearer "+want {
			t.Errorf("call %d came with %q, want %s", i, got, want)
		}
		if want := fmt.Sprintf(`"detail":{"n":%d}`, min(i, 1)); !strings.Contains(call.body, want) {
			t.Errorf("call %d carried %s, want %s", i, call.body, want)
		}
	}
	issuer.next(t)
	select {
	case call := <-issuer.calls:
		t.Errorf("a third token was asked for: %+v", call)
	default:
	}
}

// Retries end, are waited for and are final as AWS has it, and dead letters say
// which it was.
func TestRetriesOfAPIDestinations(t *testing.T) {
	t.Parallel()
	var clock clock
	config := NewConfig()
	config.Listen, config.DataDir, config.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	s := startServerAt(t, config, clock.now)
	c := s.caller("000000000000", "us-east-1")
	dead := c.queue("dead")
	attributes := func(rule, arn string, more ...string) map[string]string {
		m := map[string]string{"RULE_ARN": ruleARN(c, rule), "TARGET_ARN": arn}
		for i := 0; i+1 < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	scripted := func(name string, policy *ebtypes.RetryPolicy, script ...func(http.ResponseWriter, *http.Request)) (*scriptedEndpoint, string) {
		e := newScriptedEndpoint(t, script...)
		arn := c.destination(name, e.URL, apiKeyAuth("X-Key", "x"))
		c.toDestination(name, arn, policy)
		return e, arn
	}

	final, arn := scripted("final", nil, status(400))
	id := c.put("shop", "final", "{}")[0]
	final.next(t)
	c.deadLetter(dead, id, attributes("final", arn, "ERROR_CODE", "ERROR_FROM_TARGET", "ERROR_MESSAGE", "400: answer 400"))

	_, arn = scripted("once", &ebtypes.RetryPolicy{MaximumRetryAttempts: aws.Int32(0)}, status(500))
	id = c.put("shop", "once", "{}")[0]
	c.deadLetter(dead, id, attributes("once", arn, "ERROR_CODE", "ERROR_FROM_TARGET", "ERROR_MESSAGE", "500: answer 500",
		"EXHAUSTED_RETRY_CONDITION", "MaximumRetryAttempts", "RETRY_ATTEMPTS", "0"))

	_, arn = scripted("negative", nil, status(429, "Retry-After", "-1"))
	id = c.put("shop", "negative", "{}")[0]
	c.deadLetter(dead, id, attributes("negative", arn, "ERROR_CODE", "THROTTLING", "ERROR_MESSAGE", "429"))

	_, arn = scripted("redirect", nil, status(302, "Location", "http://127.0.0.1:1/"))
	id = c.put("shop", "redirect", "{}")[0]
	c.deadLetter(dead, id, attributes("redirect", arn, "ERROR_CODE", "ERROR_FROM_TARGET", "ERROR_MESSAGE", "302"))

	after, _ := scripted("after", nil, status(503, "Retry-After", "2"))
	c.put("shop", "after", "{}")
	first, second := after.next(t), after.next(t)
	if wait := second.at.Sub(first.at); wait < 2*time.Second {
		t.Errorf("asked to wait 2 seconds, it called again after %s", wait)
	}

	old, arn := scripted("old", &ebtypes.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(60)}, status(500), status(500), status(500), status(500))
	id = c.put("shop", "old", "{}")[0]
	old.next(t)
	clock.forward(2 * time.Minute)
	c.awaitEvents(dead, func(e arrivedEvent) bool {
		if e.ID != id || e.attributes["EXHAUSTED_RETRY_CONDITION"] != "MaximumEventAgeInSeconds" || e.attributes["ERROR_CODE"] != "ERROR_FROM_TARGET" || e.attributes["RETRY_ATTEMPTS"] == "" {
			t.Errorf("the dead letter of an event that is too old: %s %v, want %s of %s", e.ID, e.attributes, id, arn)
		}
		return true
	})
}

// An endpoint gets no more calls a second than its destination allows, and all
// of them in the end.
func TestTheRateOfAnAPIDestinationIsKept(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	c.queue("dead")
	e := newScriptedEndpoint(t)
	const rate, events = 20, 50
	arn := c.destination("slow", e.URL, apiKeyAuth("X-Key", "x"))
	if _, err := c.events().UpdateApiDestination(t.Context(), &eventbridge.UpdateApiDestinationInput{Name: aws.String("slow"), InvocationRateLimitPerSecond: aws.Int32(rate)}); err != nil {
		t.Fatal(err)
	}
	c.toDestination("slow", arn, nil)
	start := time.Now()
	for n := 0; n < events; n += 10 {
		c.put("shop", "slow", "{}", "{}", "{}", "{}", "{}", "{}", "{}", "{}", "{}", "{}")
	}
	for range events {
		e.next(t)
	}
	// A tenth of a second's worth may go at once.
	if took, least := time.Since(start), time.Second*(events-1-rate/10)/rate; took < least {
		t.Errorf("%d calls came within %s, although %d a second are allowed, which takes %s", events, took, rate, least)
	}
}

// A policy may open a bus to all accounts of the organization that the server
// was told of, and of no other.
func TestABusIsOpenToItsOrganization(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *Config) { c.Organization = "o-a1b2c3d4e5" })
	home, guest := s.caller("444455556666", "us-east-1"), s.caller("111122223333", "us-east-1")
	for organization, open := range map[string]bool{"o-a1b2c3d4e5": true, "o-zzzzzzzzzz": false} {
		_, err := home.events().PutPermission(t.Context(), &eventbridge.PutPermissionInput{
			Action: aws.String("events:PutEvents"), Principal: aws.String("*"), StatementId: aws.String("organization"),
			Condition: &ebtypes.Condition{Type: aws.String("StringEquals"), Key: aws.String("aws:PrincipalOrgID"), Value: &organization},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = guest.events().PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{{
			EventBusName: aws.String(home.busARN("default")), Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String("{}"),
		}}})
		if (err == nil) != open {
			t.Errorf("a bus that is open to %s, from %s: %v", organization, "o-a1b2c3d4e5", err)
		}
	}
}
