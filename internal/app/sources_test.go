package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// addedSource is a source as its API shows it.
type addedSource struct {
	ID           string `json:"id"`
	EndpointURL  string `json:"endpoint_url"`
	TokenURL     string `json:"token_url"`
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
	Activity     struct {
		Accepted, Duplicates, Refused int
		FailingWhy                    string `json:"failing_why"`
	} `json:"activity"`
}

const awsAccount = "111122223333"

// bodies takes so many messages off a queue and returns their bodies by the ids of
// their events, which must all differ.
func (c *caller) bodies(queueURL string, n int) map[string]string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	found := map[string]string{}
	for len(found) < n {
		for _, m := range c.receive(ctx, queueURL) {
			var e arrivedEvent
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				c.t.Fatalf("the queue holds %s: %v", *m.Body, err)
			}
			if found[e.ID] != "" {
				c.t.Errorf("event %s came twice", e.ID)
			}
			found[e.ID] = *m.Body
		}
	}
	return found
}

func sameBodies(t *testing.T, got, want map[string]string) {
	t.Helper()
	for id, body := range want {
		if got[id] != body {
			t.Errorf("event %s came as\n%s\nwant\n%s", id, got[id], body)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d events came, want %d", len(got), len(want))
	}
}

// A second server plays AWS: rules there send service events and others, of two
// regions, to an API destination with OAuth, which leads to a source's endpoint.
// On the buses here they are what they were there.
func TestEventsComeByAnEndpointAsTheyAre(t *testing.T) {
	t.Parallel()
	there, s := startServer(t, nil), startServer(t, nil)
	var source addedSource
	s.do(t, "POST", "/v1/sources", map[string]any{"name": "aws", "kind": "endpoint", "allow_accounts": []string{awsAccount}}, &source)

	const everything = `{"detail-type":[{"anything-but":"AWS API Call via CloudTrail"}]}` // but the calls that this makes
	central, other := there.caller(awsAccount, "us-east-1"), there.caller(awsAccount, "eu-west-1")
	destination := central.destination("rialto", source.EndpointURL, oauth(source.TokenURL, source.ClientID, source.ClientSecret))
	central.putRule("", "rialto", everything,
		ebtypes.Target{Id: aws.String("rialto"), Arn: &destination, RoleArn: aws.String(central.role())},
		ebtypes.Target{Id: aws.String("witness"), Arn: aws.String(central.queueARN("witness"))})
	witness := central.queue("witness")
	other.putRule("", "forward", everything, ebtypes.Target{Id: aws.String("central"), Arn: aws.String(central.busARN("default")), RoleArn: aws.String(central.role())})

	here := map[string]string{}
	for _, region := range []string{"us-east-1", "eu-west-1"} {
		here[region] = s.caller(awsAccount, region).ruleToQueue("all", everything)
	}
	central.put("shop", "订单 🛒", `{"n": 1.50, "big": 9007199254740993, "nested": {"a": [null, "\u00e9\n"]}}`, `{}`)
	other.put("shop", "elsewhere", `{"n": 2}`)
	if _, err := central.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	want := central.bodies(witness, 5) // pending and running among them
	got := s.caller(awsAccount, "us-east-1").bodies(here["us-east-1"], 4)
	for id, body := range s.caller(awsAccount, "eu-west-1").bodies(here["eu-west-1"], 1) {
		got[id] = body
		if !strings.Contains(body, `"region":"eu-west-1"`) {
			t.Errorf("the forwarded event is %s", body)
		}
	}
	sameBodies(t, got, want)

	// The same calls again.
	token, _ := s.token(t, source.ClientID, source.ClientSecret)
	for _, body := range want {
		if a := s.rest(t, "POST", source.EndpointURL, token, body); a.Status != http.StatusOK || !strings.Contains(string(a.Body), `"duplicates":1`) {
			t.Errorf("an event that came before: %s", a)
		}
	}
	s.do(t, "GET", "/v1/sources/aws", nil, &source)
	if a := source.Activity; a.Accepted != len(want) || a.Duplicates != len(want) || a.Refused != 0 {
		t.Errorf("what came of the source is %+v", a)
	}
	if _, body := s.get("/metrics"); !strings.Contains(body, "rialto_intake_events_accepted_total 5") {
		t.Error("the metrics do not count what was accepted")
	}
}

// A rule of the other server fills a queue there, which is polled with the keys of
// its account, at its endpoint.
func TestEventsComeByAQueueAsTheyAre(t *testing.T) {
	t.Parallel()
	there, s := startServer(t, nil), startServer(t, nil)
	admin := there.key(t, "", "000000000000", "admin")
	bearer := there.login(t, admin.ID, admin.Secret)
	owner := there.key(t, bearer, awsAccount, "operator")
	s.do(t, "PUT", "/v1/cloud/accounts/"+awsAccount, map[string]any{
		"access_key_id": owner.ID, "secret_access_key": owner.Secret, "endpoint_url": there.LocalURL(),
	}, nil)

	remote := there.withKey(awsAccount, "eu-west-1", owner.ID, owner.Secret)
	queue, witness := remote.queue("rialto"), remote.queue("witness")
	remote.putRule("", "rialto", `{"source":["shop","aws.ec2"],"detail-type":[{"anything-but":"AWS API Call via CloudTrail"}]}`,
		ebtypes.Target{Id: aws.String("rialto"), Arn: aws.String(remote.queueARN("rialto"))},
		ebtypes.Target{Id: aws.String("witness"), Arn: aws.String(remote.queueARN("witness"))})
	// Not on the bus of the account itself: its queues are the real ones.
	here := s.caller("000000000000", "eu-west-1")
	arrived := here.ruleToQueue("all", `{"source":[{"prefix":""}],"account":["`+awsAccount+`"]}`)
	var source addedSource
	s.do(t, "POST", "/v1/sources", map[string]any{
		"name": "orders", "kind": "queue", "queue": queueAt(remote, "rialto"), "allow_accounts": []string{awsAccount}, "bus": here.busARN("default"),
	}, &source)

	remote.put("shop", "订单 🛒", `{"n": 1.50}`, `{"n": 2}`, `{"n": 3}`)
	if _, err := remote.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	want := remote.bodies(witness, 5)
	sameBodies(t, here.bodies(arrived, 5), want)
	for _, body := range want {
		if _, err := remote.queues().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the duplicates to be found", func() bool {
		s.do(t, "GET", "/v1/sources/orders", nil, &source)
		return source.Activity.Duplicates == len(want)
	})
	if a := source.Activity; a.Accepted != len(want) || a.Refused != 0 || a.FailingWhy != "" {
		t.Errorf("what came of the source is %+v", a)
	}

	// The keys end: it is said, and nothing else happens.
	if a := there.rest(t, "DELETE", "/v1/keys/"+owner.ID, bearer, nil); a.Status != http.StatusNoContent {
		t.Fatalf("revoke the key: %s", a)
	}
	s.do(t, "PUT", "/v1/sources/orders", map[string]any{"description": "polled anew"}, nil)
	eventually(t, "the failure to be told", func() bool {
		s.do(t, "GET", "/v1/sources/orders", nil, &source)
		return strings.Contains(source.Activity.FailingWhy, "InvalidClientTokenId") || strings.Contains(source.Activity.FailingWhy, "UnrecognizedClient")
	})
}

// queueAt is the URL by which AWS knows a queue.
func queueAt(c *caller, name string) string {
	return "https://sqs." + c.region + ".amazonaws.com/" + c.account + "/" + name
}

// deleteGate stands before SQS and holds deletions back until it is opened.
type deleteGate struct {
	*httptest.Server
	mu      sync.Mutex
	open    bool
	handles map[string]bool // of the messages that were to be deleted
}

func newDeleteGate(t *testing.T, to string) *deleteGate {
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	g := &deleteGate{handles: map[string]bool{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host // which is signed
	}}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".DeleteMessageBatch") {
			proxy.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if g.pass(t, body) {
			proxy.ServeHTTP(w, r)
			return
		}
		<-r.Context().Done() // until who deletes is killed
	}))
	t.Cleanup(g.Close)
	return g
}

// pass notes what is to be deleted, and reports whether it may be.
func (g *deleteGate) pass(t *testing.T, body []byte) bool {
	var in struct {
		Entries []struct{ ReceiptHandle string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		t.Errorf("DeleteMessageBatch with %s: %v", body, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range in.Entries {
		g.handles[e.ReceiptHandle] = true
	}
	return g.open
}

// A server that is killed after it accepted messages and before it deleted them
// finds them in the queue again, and accepts none twice.
func TestKilledBetweenAcceptingAndDeleting(t *testing.T) {
	t.Parallel()
	there := startServer(t, nil)
	admin := there.key(t, "", "000000000000", "admin")
	owner := there.key(t, there.login(t, admin.ID, admin.Secret), awsAccount, "operator")
	remote := there.withKey(awsAccount, "eu-west-1", owner.ID, owner.Secret)
	queue := remote.queue("rialto")
	remote.putRule("", "rialto", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("rialto"), Arn: aws.String(remote.queueARN("rialto"))})
	gate := newDeleteGate(t, there.LocalURL())

	dir := t.TempDir()
	process := startProcess(t, serverSettings{DataDir: dir})
	rest := func(method, path string, in, out any) {
		t.Helper()
		a := send(t, http.DefaultClient, newRequest(t, method, process.url+path, in))
		if a.Status/100 != 2 {
			t.Fatalf("%s %s: %s", method, path, a)
		}
		if out != nil {
			if err := json.Unmarshal(a.Body, out); err != nil {
				t.Fatal(err)
			}
		}
	}
	here := &caller{t: t, url: process.url, account: "000000000000", region: "eu-west-1", key: credentials.NewStaticCredentialsProvider("000000000000", "any", "")}
	arrived := here.ruleToQueue("all", `{"source":["shop"]}`)
	rest("PUT", "/v1/cloud/accounts/"+awsAccount, map[string]any{
		"access_key_id": owner.ID, "secret_access_key": owner.Secret, "endpoint_url": gate.URL,
	}, nil)
	const events = 25
	for n := range events {
		remote.put("shop", "order", fmt.Sprintf(`{"n":%d}`, n))
	}
	waiting := func() string {
		t.Helper()
		out, err := remote.queues().GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queue, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes["ApproximateNumberOfMessages"] + "+" + out.Attributes["ApproximateNumberOfMessagesNotVisible"]
	}
	eventually(t, "the queue to be full", func() bool { return waiting() == fmt.Sprint(events, "+0") })
	rest("POST", "/v1/sources", map[string]any{
		"name": "orders", "kind": "queue", "queue": queueAt(remote, "rialto"), "allow_accounts": []string{awsAccount}, "bus": here.busARN("default"),
	}, nil)
	source := func() (s addedSource) {
		rest("GET", "/v1/sources/orders", nil, &s)
		return s
	}
	eventually(t, "all to be accepted and none deleted", func() bool {
		gate.mu.Lock()
		defer gate.mu.Unlock()
		return source().Activity.Accepted == events && len(gate.handles) == events
	})
	process.kill()
	gate.mu.Lock()
	gate.open = true
	handles := gate.handles
	gate.handles = map[string]bool{}
	gate.mu.Unlock()
	// Their minute is over.
	for handle := range handles {
		_, err := remote.queues().ChangeMessageVisibility(t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &queue, ReceiptHandle: &handle})
		if err != nil {
			t.Fatal(err)
		}
	}
	process = startProcess(t, serverSettings{DataDir: dir})
	here.url = process.url
	eventually(t, "the queue to be empty", func() bool { return waiting() == "0+0" })
	if a := source().Activity; a.Accepted != events || a.Duplicates != events || a.Refused != 0 {
		t.Errorf("what came of the source is %+v, want %d accepted and as many duplicates", a, events)
	}
	// A rule may be served twice after a kill, but each event is there.
	found := map[string]bool{}
	deadline := time.Now().Add(patience)
	for len(found) < events && time.Now().Before(deadline) {
		for _, m := range here.receive(t.Context(), arrived) {
			var e arrivedEvent
			if err := json.Unmarshal([]byte(*m.Body), &e); err != nil {
				t.Fatal(err)
			}
			found[e.ID] = true
		}
	}
	if len(found) != events {
		t.Errorf("%d events arrived, want %d", len(found), events)
	}
}
