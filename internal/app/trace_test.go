package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// tracedEvent is an event of a trace.
type tracedEvent struct {
	ID         string
	Bus        string
	Node       string
	Origin     struct{ Kind, Name, Event_ID string }
	From_Event *int
	Deliveries []struct {
		Rule, Target_ID, Status string
		Due_At                  *string
		Dead_Letter             struct{ Queue, ID string }
		Forwarded_To            *int
		Steps                   []struct {
			Step        string
			Attempt     int
			Delivered   *bool
			Duration_MS *float64
			HTTP_Status int
			Code        string
			Message     string
			To          string
		}
	}
	Not_Matched []struct {
		Rule            string
		Failing         int
		Pattern_Matches bool
		Why             string
		Conditions      []struct {
			Path, Reason string
			Satisfied    bool
		}
	}
	Event json.RawMessage
}

type traced struct {
	Status string
	Events []tracedEvent
	Notes  []string
}

// story is a delivery in words: its status, and its attempts and end with number and
// code. Where it waited between depends on how busy the machine is.
func (e tracedEvent) story(rule string) string {
	for _, d := range e.Deliveries {
		if d.Rule != rule {
			continue
		}
		words := []string{d.Status}
		for _, s := range d.Steps {
			if s.Step == "parked" || s.Step == "left_in_log" {
				continue
			}
			word := s.Step
			if s.Step == "attempt" {
				word += fmt.Sprint(" ", s.Attempt)
			}
			words = append(words, strings.TrimSpace(word+" "+s.Code))
		}
		return strings.Join(words, ", ")
	}
	return "no delivery"
}

func tracePath(id string) string { return "/v1/events/" + url.PathEscape(id) + "/trace" }

// trace asks for a trace until it satisfies cond.
func (s *testServer) trace(t *testing.T, id string, cond func(traced) bool) (last traced) {
	t.Helper()
	eventually(t, "the trace of "+id, func() bool {
		a := s.rest(t, "GET", tracePath(id), "", nil)
		last = traced{}
		if a.Status != http.StatusOK {
			return false
		}
		if err := json.Unmarshal(a.Body, &last); err != nil {
			t.Fatal(err)
		}
		return cond(last)
	})
	return last
}

func ended(t traced) bool { return t.Status != "waiting" }

func TestATraceTellsHowEveryDeliveryEnded(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	var asked atomic.Int64
	flaky := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "later", http.StatusServiceUnavailable)
		}
	}))
	defer flaky.Close()
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }))
	defer down.Close()
	const pattern = `{"source":["shop"]}`
	c.ruleToQueue("good", pattern)
	c.queue("dead")
	dead := &ebtypes.DeadLetterConfig{Arn: aws.String(c.queueARN("dead"))}
	missing := aws.String(c.queueARN("missing"))
	c.putRule("", "flaky", pattern, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(c.destination("flaky", flaky.URL, apiKeyAuth("k", "v"))), RoleArn: aws.String(c.role())})
	c.putRule("", "doomed", pattern, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(c.destination("down", down.URL, apiKeyAuth("k", "v"))), RoleArn: aws.String(c.role())})
	c.putRule("", "own-queue", pattern, ebtypes.Target{Id: aws.String("t"), Arn: missing, DeadLetterConfig: dead})
	c.putRule("", "built-in", pattern, ebtypes.Target{Id: aws.String("t"), Arn: missing})
	c.putRule("", "broken", pattern, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(c.queueARN("good")), DeadLetterConfig: dead, InputTransformer: &ebtypes.InputTransformer{
		InputPathsMap: map[string]string{"n": "$.detail"}, InputTemplate: aws.String(`{"n": "an object in quotes: <n>"}`),
	}})
	c.putRule("", "near", `{"source":["shop"],"detail":{"text":["something else"]}}`, ebtypes.Target{Id: aws.String("t"), Arn: missing})
	c.putRule("", "far", `{"source":["bank"],"detail-type":["x"],"detail":{"text":["something else"]}}`, ebtypes.Target{Id: aws.String("t"), Arn: missing})
	c.putRule("", "off", pattern, ebtypes.Target{Id: aws.String("t"), Arn: missing})
	if _, err := c.events().DisableRule(t.Context(), &eventbridge.DisableRuleInput{Name: aws.String("off")}); err != nil {
		t.Fatal(err)
	}

	id := c.put("shop", "order", `{"text":"a \"quoted\" 词"}`)[0]
	waiting := s.trace(t, id, func(x traced) bool {
		return len(x.Events) == 1 && strings.HasPrefix(x.Events[0].story("doomed"), "waiting, attempt 1")
	})
	for _, d := range waiting.Events[0].Deliveries {
		if d.Rule == "doomed" && d.Due_At == nil {
			t.Error("a delivery waits, and the trace does not say until when")
		}
	}
	if _, err := c.events().RemoveTargets(t.Context(), &eventbridge.RemoveTargetsInput{Rule: aws.String("doomed"), Ids: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	check := func(s *testServer, when string) {
		t.Helper()
		x := s.trace(t, id, ended)
		if x.Status != "failed" || len(x.Events) != 1 || len(x.Notes) != 0 {
			t.Fatalf("%s: %+v", when, x)
		}
		e := x.Events[0]
		for rule, want := range map[string]string{
			"good": "delivered, attempt 1", "flaky": "delivered, attempt 1 ERROR_FROM_TARGET, attempt 2",
			"own-queue": "dead_lettered, attempt 1 NO_RESOURCE, dead_lettered NO_RESOURCE",
			"built-in":  "dead_lettered, attempt 1 NO_RESOURCE, kept NO_RESOURCE",
			"broken":    "dead_lettered, dead_lettered INVALID_JSON",
			"near":      "no delivery", "far": "no delivery", "off": "no delivery",
		} {
			if got := e.story(rule); got != want {
				t.Errorf("%s, %s: %s, want %s", when, rule, got, want)
			}
		}
		if got := e.story("doomed"); !strings.HasPrefix(got, "cancelled, attempt 1 ERROR_FROM_TARGET") {
			t.Errorf("%s, doomed: %s", when, got)
		}
		for _, d := range e.Deliveries {
			steps := d.Steps
			for len(steps) > 0 && steps[0].Step != "attempt" {
				steps = steps[1:]
			}
			switch d.Rule {
			case "flaky":
				first := steps[0]
				if first.HTTP_Status != 503 || first.Duration_MS == nil || *first.Delivered || first.Message == "" {
					t.Errorf("%s: the first attempt of flaky: %+v", when, first)
				}
				if steps[1].Step != "parked" || steps[len(steps)-1].HTTP_Status != 200 {
					t.Errorf("%s: after the first attempt of flaky: %+v", when, steps[1:])
				}
			case "own-queue", "broken":
				if d.Dead_Letter.Queue != c.queueARN("dead") {
					t.Errorf("%s: %s went to %+v", when, d.Rule, d.Dead_Letter)
				}
			case "built-in":
				if d.Dead_Letter.ID == "" {
					t.Errorf("%s: built-in went to %+v", when, d.Dead_Letter)
				}
			}
		}
		if e.Origin.Kind != "PutEvents" || e.Origin.Name != "000000000000" || e.Node == "" || !strings.Contains(string(e.Event), "词") {
			t.Errorf("%s: entered as %+v on node %q: %s", when, e.Origin, e.Node, e.Event)
		}
		var near []string
		for _, r := range e.Not_Matched {
			near = append(near, fmt.Sprint(r.Rule, " ", r.Failing, " ", r.Why))
		}
		// The rule without its target is not doomed any more: it is another rule's name.
		if want := []string{"off 0 disabled", "near 1 ", "far 3 "}; !slices.Equal(near, want) {
			t.Errorf("%s: rules that did not match %q, want %q", when, near, want)
		}
	}
	check(s, "before a restart")
	s.stop()
	check(startServerAt(t, s.config, time.Now), "after a restart")
}

func TestATraceFollowsAnEventFromBusToBus(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	const account = "111122223333"
	here, there := s.caller(account, "us-east-1"), s.caller(account, "eu-west-1")
	if _, err := here.events().CreateEventBus(t.Context(), &eventbridge.CreateEventBusInput{Name: aws.String("orders")}); err != nil {
		t.Fatal(err)
	}
	toBus := func(arn string) ebtypes.Target {
		return ebtypes.Target{Id: aws.String("bus"), Arn: &arn, RoleArn: aws.String(here.role())}
	}
	const pattern = `{"source":["shop"]}`
	here.putRule("", "near", pattern, toBus(here.busARN("orders")))
	here.putRule("", "far", pattern, toBus(there.busARN("default")))
	there.ruleToQueue("arrived", pattern)
	id := here.put("shop", "order", `{}`)[0]

	bearer := func(account string, role auth.Role) string { return s.held(t, account, role).bearer }
	x := s.traceAs(t, account, id, func(x traced) bool { return len(x.Events) == 3 && ended(x) })
	if x.Status != "delivered" {
		t.Fatalf("%+v", x)
	}
	first := x.Events[0]
	for _, d := range first.Deliveries {
		if d.Forwarded_To == nil {
			t.Fatalf("rule %s is not followed: %+v", d.Rule, x)
		}
		to := x.Events[*d.Forwarded_To]
		if to.From_Event == nil || *to.From_Event != 0 || to.Origin.Kind != "rule" {
			t.Errorf("%s came from %+v", to.Bus, to.From_Event)
		}
		if same := to.ID == id; same != (d.Rule == "near") {
			t.Errorf("by rule %s the event became %s", d.Rule, to.ID)
		}
		if d.Rule == "far" {
			if got := to.story("arrived"); got != "delivered, attempt 1" || to.Origin.Event_ID != id {
				t.Errorf("in the other region: %s, origin %+v", got, to.Origin)
			}
			// Asked for by its later id, the way is the same.
			if y := s.traceAs(t, account, to.ID, ended); len(y.Events) != 3 {
				t.Errorf("by its later id: %+v", y)
			}
		}
	}

	// From here on keys count.
	home, reader, stranger, publisher := bearer("000000000000", auth.Admin), bearer(account, auth.Reader), bearer("444455556666", auth.Admin), bearer(account, auth.Publisher)
	for name, c := range map[string]struct {
		bearer string
		status int
	}{
		"its reader": {reader, 200}, "the installation's admin": {home, 200}, "another account's admin": {stranger, 404}, "a publisher": {publisher, 403}, "nobody": {"", 401},
	} {
		if a := s.rest(t, "GET", tracePath(id), c.bearer, nil); a.Status != c.status {
			t.Errorf("%s: %s, want %d", name, a, c.status)
		}
	}
}

func TestATraceShowsTheReplaysOfAnEvent(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	url := c.ruleToQueue("orders", `{"source":["shop"]}`)
	made, err := c.events().CreateArchive(t.Context(), &eventbridge.CreateArchiveInput{ArchiveName: aws.String("all"), EventSourceArn: aws.String(c.busARN("default"))})
	if err != nil {
		t.Fatal(err)
	}
	id := c.put("shop", "order", `{}`)[0]
	c.nextEvent(url)
	s.trace(t, id, func(x traced) bool { return ended(x) && len(x.Events[0].Deliveries) == 2 })
	_, err = c.events().StartReplay(t.Context(), &eventbridge.StartReplayInput{
		ReplayName: aws.String("again"), EventSourceArn: made.ArchiveArn, Destination: &ebtypes.ReplayDestination{Arn: aws.String(c.busARN("default"))},
		EventStartTime: aws.Time(time.Now().Add(-time.Hour)), EventEndTime: aws.Time(time.Now().Add(time.Hour)),
	})
	if err != nil {
		t.Fatal(err)
	}
	x := s.trace(t, id, func(x traced) bool { return len(x.Events) == 2 && ended(x) })
	again := x.Events[1]
	if again.From_Event == nil || *again.From_Event != 0 || again.ID == id || again.Origin.Kind != "replay" || again.story("orders") != "delivered, attempt 1" {
		t.Errorf("the replay: %+v", again)
	}
	if y := s.trace(t, again.ID, ended); len(y.Events) != 2 {
		t.Errorf("asked for by the id of the replayed: %+v", y)
	}
}

// traceAs is trace as somebody of an account, in dev mode.
func (s *testServer) traceAs(t *testing.T, account, id string, cond func(traced) bool) (last traced) {
	t.Helper()
	eventually(t, "the trace of "+id, func() bool {
		a := s.rest(t, "GET", tracePath(id), account, nil)
		last = traced{}
		return a.Status == http.StatusOK && json.Unmarshal(a.Body, &last) == nil && cond(last)
	})
	return last
}

func TestEventsThatShareAnIDAreAllShown(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	const id = "order 7/八 🛒?x=1%"
	one := fmt.Sprintf(`{"id":%q,"source":"shop","detail-type":"t","detail":{"n":1}}`, id)
	s.do(t, "POST", "/v1/events", one, nil)
	s.do(t, "POST", "/v1/events", strings.Replace(one, `"n":1`, `"n":2`, 1), nil)
	x := s.trace(t, id, func(x traced) bool { return len(x.Events) == 2 })
	if x.Status != "unmatched" || x.Events[0].Origin.Kind != "injected" || !strings.Contains(string(x.Events[1].Event), `"n":2`) {
		t.Errorf("%+v", x)
	}
	if a := s.rest(t, "GET", tracePath("never-was"), "", nil); a.Status != http.StatusNotFound || !strings.Contains(a.Message, "never-was") {
		t.Errorf("an id that never was: %s", a)
	}
}

func TestATraceIsAskedOfAnyNode(t *testing.T) {
	t.Parallel()
	nats, database := startNATS(t), storetest.PostgresURL(t)
	node := func() *testServer {
		return startServer(t, func(c *Config) {
			c.Database, c.NATS, c.EventLogReplicas = database, nats, 1
			c.SecretKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
		})
	}
	one, two := node(), node()
	c := one.caller("000000000000", "us-east-1")
	url := c.ruleToQueue("orders", `{"source":["shop"]}`)
	id := c.put("shop", "order", `{}`)[0]
	c.nextEvent(url)
	for _, s := range []*testServer{one, two} {
		x := s.trace(t, id, ended)
		if x.Status != "delivered" || len(x.Notes) != 0 || x.Events[0].story("orders") != "delivered, attempt 1" {
			t.Errorf("node %s: %+v", s.node, x)
		}
	}
	routed := one
	if x := one.trace(t, id, ended); x.Events[0].Node == two.node {
		routed = two
	}
	other := two
	if routed == two {
		other = one
	}
	routed.stop()
	a := other.rest(t, "GET", tracePath(id), "", nil)
	if a.Status != http.StatusNotFound || !strings.Contains(a.Message, routed.node+" did not answer") {
		t.Errorf("after the node that routed stopped: %s", a)
	}
	d := other.caller("000000000000", "us-east-1")
	eventually(t, "the other node to route", func() bool {
		id := d.put("shop", "order", `{"n":2}`)[0]
		d.nextEvent(url)
		x := other.trace(t, id, ended)
		return x.Status == "delivered" && len(x.Notes) == 1 && strings.Contains(x.Notes[0], routed.node)
	})
}

func TestATraceSurvivesTheDeletionOfItsRule(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("000000000000", "us-east-1")
	url := c.ruleToQueue("orders", `{"source":["shop"]}`)
	id := c.put("shop", "order", `{}`)[0]
	c.nextEvent(url)
	s.trace(t, id, ended)
	if _, err := c.events().RemoveTargets(t.Context(), &eventbridge.RemoveTargetsInput{Rule: aws.String("orders"), Ids: []string{"queue"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.events().DeleteRule(t.Context(), &eventbridge.DeleteRuleInput{Name: aws.String("orders")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.queues().DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
		t.Fatal(err)
	}
	if x := s.trace(t, id, ended); x.Status != "delivered" || x.Events[0].story("orders") != "delivered, attempt 1" {
		t.Errorf("%+v", x)
	}
}

func TestWithoutARecorderATraceSaysWhy(t *testing.T) {
	t.Parallel()
	s := startServer(t, func(c *Config) { c.TraceBytes = 0 })
	c := s.caller("000000000000", "us-east-1")
	url := c.ruleToQueue("orders", `{"source":["shop"]}`)
	id := c.put("shop", "order", `{}`)[0]
	c.nextEvent(url)
	if a := s.rest(t, "GET", tracePath(id), "", nil); a.Status != http.StatusNotFound || !strings.Contains(a.Message, "--trace-bytes 0") {
		t.Errorf("%s", a)
	}
}

func TestATraceSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := startProcess(t, serverSettings{DataDir: dir})
	c := p.client()
	c.createQueue(t, "orders", 30)
	c.createRule(t, "orders", "order", queueARN("orders"), "dead")
	ids, err := c.put(t.Context(), []entry{{Source: "shop", DetailType: "order", Detail: `{}`}})
	if err != nil {
		t.Fatal(err)
	}
	read := func(p *serverProcess) (x traced) {
		eventually(t, "the trace", func() bool {
			a := send(t, http.DefaultClient, newRequest(t, "GET", p.url+tracePath(ids[0]), nil))
			x = traced{}
			return a.Status == http.StatusOK && json.Unmarshal(a.Body, &x) == nil && ended(x)
		})
		return x
	}
	read(p) // written then
	p.kill()
	x := read(startProcess(t, serverSettings{DataDir: dir}))
	if x.Status != "delivered" || !strings.HasPrefix(x.Events[0].story("orders"), "delivered, attempt 1") {
		t.Errorf("%+v", x)
	}
	if len(x.Notes) != 1 || !strings.Contains(x.Notes[0], "ended without warning") {
		t.Errorf("notes %q", x.Notes)
	}
}
