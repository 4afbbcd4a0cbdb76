package app

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// fault is something that goes wrong with a server that targets call, and the
// codes with which events are given up: by an API destination, by one whose tokens
// come from there, and by a queue of an account that is reached there. An empty
// code says that the event is delivered all the same.
type fault struct {
	serve                     http.HandlerFunc
	endpoint                  func(t *testing.T) string // where serve is nil
	destination, token, queue string
	destinationFinal          bool // others are tried again
	queueFinal                bool
	slow                      bool // an attempt takes all the time that it has
}

var faults = map[string]fault{
	"fault":     {serve: status(500), destination: "ERROR_FROM_TARGET", token: "ERROR_FROM_TARGET", queue: "ERROR_FROM_TARGET"},
	"away":      {serve: status(503), destination: "ERROR_FROM_TARGET", token: "ERROR_FROM_TARGET", queue: "ERROR_FROM_TARGET"},
	"throttled": {serve: status(429), destination: "THROTTLING", token: "THROTTLING", queue: "THROTTLING"},
	"redirect":  {serve: status(307, "Location", "http://127.0.0.1:1/"), destination: "ERROR_FROM_TARGET", token: "NO_PERMISSIONS", queue: "ERROR_FROM_TARGET", destinationFinal: true, queueFinal: true},
	"gone":      {serve: status(404), destination: "ERROR_FROM_TARGET", token: "NO_PERMISSIONS", queue: "ERROR_FROM_TARGET", destinationFinal: true, queueFinal: true},
	"hang": {slow: true, destination: "TIMEOUT", token: "TIMEOUT", queue: "TIMEOUT", serve: func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	}},
	"slow-body": {slow: true, token: "TIMEOUT", queue: "TIMEOUT", serve: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}},
	"reset": {destination: "CONNECTION_FAILURE", token: "CONNECTION_FAILURE", queue: "CONNECTION_FAILURE", serve: func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}},
	"certificate": {destination: "CONNECTION_FAILURE", token: "CONNECTION_FAILURE", queue: "CONNECTION_FAILURE", endpoint: func(t *testing.T) string {
		srv := httptest.NewTLSServer(http.NotFoundHandler())
		t.Cleanup(srv.Close)
		return srv.URL
	}},
	"refused": {destination: "CONNECTION_FAILURE", token: "CONNECTION_FAILURE", queue: "CONNECTION_FAILURE", endpoint: func(*testing.T) string { return "http://127.0.0.1:1" }},
	"name":    {destination: "CONNECTION_FAILURE", token: "CONNECTION_FAILURE", queue: "CONNECTION_FAILURE", endpoint: func(*testing.T) string { return "https://nowhere.example" }},
}

// givenUp is how a delivery ended: where, and after how many attempts.
type givenUp struct {
	code     string
	attempts int
}

// Whatever goes wrong with what a target calls, its events end delivered or
// dead-lettered with AWS's code, and the trace tells each attempt.
func TestEveryFaultEndsInADeadLetterThatSaysWhich(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", home)
	dead := c.queue("dead")
	hook := newScriptedEndpoint(t) // is not called without a token
	want := map[string]givenUp{}   // by target ARN
	ids := map[string]string{}     // events by fault
	number := 0
	for name, f := range faults {
		number++
		var url string
		if f.endpoint != nil {
			url = f.endpoint(t)
		} else {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				f.serve(w, r)
			}))
			t.Cleanup(srv.Close)
			url = srv.URL
		}
		retries := int32(1)
		if f.slow {
			retries = 0
		}
		account := fmt.Sprintf("1111%08d", number)
		s.do(t, "PUT", "/v1/cloud/accounts/"+account, map[string]any{"access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": "hush hush", "endpoint_url": url}, nil)
		var targets []ebtypes.Target
		add := func(id, arn, code string, final bool) {
			targets = append(targets, ebtypes.Target{
				Id: &id, Arn: &arn, RoleArn: aws.String(c.role()), DeadLetterConfig: c.deadLetters("dead"),
				RetryPolicy: &ebtypes.RetryPolicy{MaximumRetryAttempts: &retries},
			})
			if code != "" {
				want[arn] = givenUp{code, int(retries) + 1}
				if final {
					want[arn] = givenUp{code, 1}
				}
			}
		}
		add("destination", c.destination("d-"+name, url, apiKeyAuth("X-Key", "x")), f.destination, f.destinationFinal)
		add("token", c.destination("t-"+name, hook.URL, oauth(url+"/token", "id", "secret")), f.token, false)
		add("queue", "arn:aws:sqs:"+home+":"+account+":orders", f.queue, f.queueFinal)
		c.putRule("", name, `{"detail-type":["`+name+`"]}`, targets...)
		ids[c.put("shop", name, "{}")[0]] = name
	}

	c.awaitEvents(dead, func(e arrivedEvent) bool {
		arn := e.attributes["TARGET_ARN"]
		expected, ok := want[arn]
		if !ok {
			t.Errorf("an event at %s is dead-lettered a second time, or should be delivered: %v", arn, e.attributes)
			return false
		}
		delete(want, arn)
		attributes := map[string]string{"RULE_ARN": ruleARN(c, ids[e.ID]), "TARGET_ARN": arn, "ERROR_CODE": expected.code, "ERROR_MESSAGE": e.attributes["ERROR_MESSAGE"]}
		if exhausted := expected.attempts > 1 || faults[ids[e.ID]].slow; exhausted {
			attributes["EXHAUSTED_RETRY_CONDITION"], attributes["RETRY_ATTEMPTS"] = "MaximumRetryAttempts", fmt.Sprint(expected.attempts-1)
		}
		if !maps.Equal(e.attributes, attributes) || e.attributes["ERROR_MESSAGE"] == "" {
			t.Errorf("%s at %s ends with\n%v\nwant\n%v", ids[e.ID], arn, e.attributes, attributes)
		}
		return len(want) == 0
	})
	for id, name := range ids {
		c.on(t).tellsTheStory(s, id, name)
	}
	select {
	case call := <-hook.calls:
		t.Errorf("an endpoint was called without a token: %+v", call)
	default:
	}
}

// tellsTheStory checks the trace of a fault's event: every attempt with its code.
func (c *caller) tellsTheStory(s *testServer, id, name string) {
	c.t.Helper()
	f := faults[name]
	codes := map[string]string{"destination": f.destination, "token": f.token, "queue": f.queue}
	final := map[string]bool{"destination": f.destinationFinal, "queue": f.queueFinal}
	trace := s.trace(c.t, id, ended)
	if len(trace.Events) != 1 || len(trace.Events[0].Deliveries) != 3 {
		c.t.Errorf("%s: the trace is %+v", name, trace)
		return
	}
	for _, d := range trace.Events[0].Deliveries {
		var attempts []string
		for _, step := range d.Steps {
			if step.Step == "attempt" {
				attempts = append(attempts, strings.TrimSpace(fmt.Sprint(step.Attempt, " ", step.Code)))
				if step.Code != "" && step.Message == "" {
					c.t.Errorf("%s at %s: attempt %d says nothing", name, d.Target_ID, step.Attempt)
				}
			}
		}
		code, status := codes[d.Target_ID], "dead_lettered"
		want := []string{"1 " + code, "2 " + code}
		switch {
		case code == "":
			want, status = []string{"1"}, "delivered"
		case final[d.Target_ID] || f.slow:
			want = want[:1]
		}
		if got := strings.Join(attempts, ", "); d.Status != status || got != strings.Join(want, ", ") {
			c.t.Errorf("%s at %s: %s after %s, want %s after %s", name, d.Target_ID, d.Status, got, status, strings.Join(want, ", "))
		}
	}
}

// An endpoint that asks to be left alone for ever is, until the event is too old.
func TestAnEndlessRetryAfterEndsWithTheEventsAge(t *testing.T) {
	t.Parallel()
	var clock clock
	config := NewConfig()
	config.Listen, config.DataDir, config.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	s := startServerAt(t, config, clock.now)
	c := s.caller("000000000000", home)
	dead := c.queue("dead")
	endpoint := newScriptedEndpoint(t, status(503), status(503, "Retry-After", "99999999999"))
	arn := c.destination("busy", endpoint.URL, apiKeyAuth("X-Key", "x"))
	c.toDestination("busy", arn, &ebtypes.RetryPolicy{MaximumEventAgeInSeconds: aws.Int32(60)})
	id := c.put("shop", "busy", "{}")[0]
	endpoint.next(t)
	clock.forward(55 * time.Second)
	endpoint.next(t)
	c.deadLetter(dead, id, map[string]string{
		"RULE_ARN": ruleARN(c, "busy"), "TARGET_ARN": arn, "ERROR_CODE": "ERROR_FROM_TARGET", "ERROR_MESSAGE": "503",
		"EXHAUSTED_RETRY_CONDITION": "MaximumEventAgeInSeconds", "RETRY_ATTEMPTS": "1",
	})
	select {
	case call := <-endpoint.calls:
		t.Errorf("it was called again: %+v", call)
	default:
	}
}

// What can be told to be closed when it is configured is refused then.
func TestAPrivateAddressCannotBeADestination(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", home)
	c.destination("fine", "https://198.51.100.7.example/", apiKeyAuth("k", "v"))
	connection, err := c.events().DescribeConnection(t.Context(), &eventbridge.DescribeConnectionInput{Name: aws.String("fine")})
	if err != nil {
		t.Fatal(err)
	}
	for _, endpoint := range []string{"https://10.0.0.1/", "https://169.254.169.254/latest"} {
		_, err := c.events().CreateApiDestination(t.Context(), &eventbridge.CreateApiDestinationInput{
			Name: aws.String("closed"), ConnectionArn: connection.ConnectionArn, InvocationEndpoint: &endpoint, HttpMethod: ebtypes.ApiDestinationHttpMethodPost,
		})
		refusedAs(t, err, "ValidationException", "--allow-outbound")
	}
}
