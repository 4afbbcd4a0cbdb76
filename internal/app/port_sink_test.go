package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/port"
	"github.com/rialto-bus/rialto/internal/store"
)

// portWorld is a sink for Port whose Port is the catalog of a running server.
type portWorld struct {
	*port.Sink
	t      *testing.T
	s      *testServer
	bearer string
	calls  int // of the sink, but for those of its start
}

// RoundTrip counts the sink's calls.
func (w *portWorld) RoundTrip(r *http.Request) (*http.Response, error) {
	w.calls++
	return http.DefaultTransport.RoundTrip(r)
}

// tick waits until the clock shows another millisecond, which is how entities are
// dated.
func tick() time.Time {
	now := time.Now().UnixMilli()
	for time.Now().UnixMilli() == now {
		runtime.Gosched()
	}
	return time.Now()
}

func startPort(t *testing.T) *portWorld {
	t.Helper()
	s := startServer(t, nil)
	admin := s.key(t, "", "000000000000", "admin")
	client := s.key(t, s.login(t, admin.ID, admin.Secret), "000000000000", "operator")
	w := &portWorld{t: t, s: s, bearer: s.login(t, client.ID, client.Secret)}
	var err error
	w.Sink, err = port.New(port.Options{
		BaseURL: s.LocalURL(), ClientID: client.ID, ClientSecret: client.Secret, HTTP: &http.Client{Transport: w},
		Place: port.Place{Account: "111122223333", Region: home},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.call("POST", "/v1/blueprints", map[string]any{
		"identifier": "service", "title": "服务 🛒",
		"schema": map[string]any{"properties": map[string]any{
			"arn": map[string]any{"type": "string"}, "size": map[string]any{"type": "number"}, "made": map[string]any{"type": "string", "format": "date-time"},
		}},
		"relations": map[string]any{"needs": map[string]any{"target": "service", "many": false, "required": false}},
	}, http.StatusCreated)
	return w
}

func (w *portWorld) call(method, path string, in any, status int) map[string]any {
	w.t.Helper()
	a := w.s.rest(w.t, method, path, w.bearer, in)
	var out map[string]any
	if err := json.Unmarshal(a.Body, &out); err != nil || a.Status != status {
		w.t.Fatalf("%s %s: %s", method, path, a)
	}
	return out
}

func (w *portWorld) write(agent string, changes ...catalog.EntityChange) []catalog.ChangeResult {
	w.t.Helper()
	var results []catalog.ChangeResult
	err := w.Write(w.t.Context(), catalog.Writer{Datasource: agent}, changes, func(_ context.Context, _ *store.Tx, rs []catalog.ChangeResult) error {
		results = rs
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return results
}

func (w *portWorld) owned(before time.Time) []string {
	w.t.Helper()
	var ids []string
	err := w.Owned(w.t.Context(), before, func(e catalog.EntityRef) error {
		ids = append(ids, e.Identifier)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

func portStatus(err error) int {
	if e, ok := errors.AsType[*catalog.Error](err); ok {
		return e.Status
	}
	return 0
}

// What the sink writes to Port is what the catalog's own API takes: the two were made
// from the same documentation, and neither from the other.
func TestThePortSinkWritesToOurCatalog(t *testing.T) {
	t.Parallel()
	w := startPort(t)
	upsert := func(id string, edit ...func(e *catalog.EntityInput)) catalog.EntityChange {
		c := catalog.EntityChange{Blueprint: "service", Upsert: true, Merge: true}
		c.Entity.Identifier = catalog.Given(id)
		for _, f := range edit {
			f(&c.Entity)
		}
		return c
	}
	needs := func(id string) func(e *catalog.EntityInput) {
		return func(e *catalog.EntityInput) { e.Relations = map[string]any{"needs": id} }
	}
	property := func(name string, v any) func(e *catalog.EntityInput) {
		return func(e *catalog.EntityInput) { e.Properties = map[string]any{name: v} }
	}
	gone := func(id string) catalog.EntityChange {
		return catalog.EntityChange{Blueprint: "service", Identifier: id, Delete: true, DeleteDependents: true}
	}

	const odd = `https://sqs.eu-west-1.amazonaws.com/1/队列+a@b=c\d`
	rs := w.write("", upsert(odd, func(e *catalog.EntityInput) {
		e.Title = catalog.Given("队列 🛒")
		e.Properties = map[string]any{"arn": nil, "size": 3, "made": "2026-11-20T23:16:55.905Z"}
	}))
	if rs[0].Err != nil || !rs[0].Created || rs[0].Identifier != odd {
		t.Fatalf("one entity: %+v", rs)
	}
	entity := w.call("GET", "/v1/blueprints/service/entities/"+url.PathEscape(odd), nil, http.StatusOK)["entity"].(map[string]any)
	if diff := cmp.Diff(map[string]any{"arn": nil, "size": 3.0, "made": "2026-11-20T23:16:55.905Z"}, entity["properties"]); diff != "" || entity["title"] != "队列 🛒" {
		t.Errorf("the entity is %v: %s", entity, diff)
	}
	if rs := w.write("", upsert(odd)); rs[0].Err != nil || rs[0].Created {
		t.Errorf("again: %+v", rs)
	}

	var many []catalog.EntityChange
	for i := range 45 {
		many = append(many, upsert(fmt.Sprintf("s/%02d", i), property("size", i)))
	}
	w.calls = 0
	for i, r := range w.write("", many...) {
		if r.Err != nil || !r.Created || r.Identifier != fmt.Sprintf("s/%02d", i) {
			t.Errorf("entity %d: %+v", i, r)
		}
	}
	if w.calls != 3 {
		t.Errorf("45 entities took %d calls", w.calls)
	}

	rs = w.write("", upsert("good"), upsert("not good"), upsert("child", needs("parent")), upsert("parent"), upsert("orphan", needs("nobody")),
		upsert("text", property("size", "large")), gone("absent"), upsert("last"))
	want := []int{0, http.StatusUnprocessableEntity, 0, 0, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusNotFound, 0}
	for i, r := range rs {
		if portStatus(r.Err) != want[i] || (r.Err == nil) != (want[i] == 0) {
			t.Errorf("change %d ended with %v, want status %d", i, r.Err, want[i])
		}
	}
	child := w.call("GET", "/v1/blueprints/service/entities/child", nil, http.StatusOK)["entity"].(map[string]any)
	if child["relations"].(map[string]any)["needs"] != "parent" {
		t.Errorf("the child is %v", child)
	}

	// An entity that another wrote is not ours, nor is one that changed since.
	w.call("POST", "/v1/blueprints/service/entities", map[string]any{"identifier": "foreign", "properties": map[string]any{}}, http.StatusCreated)
	w.write(port.UserAgent("111122223333", "ap-south-1"), upsert("elsewhere"))
	before := tick()
	ours := w.owned(before)
	if len(ours) != 1+45+4 || slices.Contains(ours, "foreign") || slices.Contains(ours, "elsewhere") || !slices.Contains(ours, odd) {
		t.Errorf("ours are %d: %v", len(ours), ours)
	}
	tick()
	w.write("", upsert("good", property("size", 1)))
	if now := w.owned(before); len(now) != len(ours)-1 || slices.Contains(now, "good") {
		t.Errorf("unchanged of ours are %v", now)
	}

	var deletes []catalog.EntityChange
	for _, id := range ours {
		deletes = append(deletes, gone(id))
	}
	for i, r := range w.write("", deletes...) {
		// The child went with its parent, or before it.
		if r.Err != nil && ours[i] != "child" || r.Err == nil && !r.Deleted {
			t.Errorf("delete %s: %+v", ours[i], r)
		}
	}
	if left := w.owned(time.Now().Add(time.Hour)); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	integration := w.call("GET", "/v1/integration/"+url.PathEscape(home+":111122223333"), nil, http.StatusOK)["integration"].(map[string]any)
	if integration["installationAppType"] != "AWS EXPORTER" {
		t.Errorf("the integration is %v", integration)
	}
}

// outage stands in front of Port and fails as many calls as it is told to.
type outage struct {
	to    *httputil.ReverseProxy
	fails atomic.Int64
}

func (o *outage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.fails.Add(-1) >= 0 {
		http.Error(w, "upstream is away", http.StatusBadGateway)
		return
	}
	o.to.ServeHTTP(w, r)
}

const tableMapping = `{"resources":[{"kind":"AWS::DynamoDB::Table","port":{"entity":{"mappings":[
	{"identifier":".TableName","title":".TableName","blueprint":"table","properties":{"arn":".Arn","mode":".BillingMode"}}]}}}]}`

// The exporter with Port as its sink: records and full syncs end in Port, past calls
// that it fails, and what nobody remembers goes.
func TestTheExporterWritesToPort(t *testing.T) {
	t.Parallel()
	const account = "000000000000"
	there := startServer(t, nil)
	admin := there.key(t, "", account, "admin")
	bearer := there.login(t, admin.ID, admin.Secret)
	target, err := url.Parse(there.LocalURL())
	if err != nil {
		t.Fatal(err)
	}
	gate := &outage{to: httputil.NewSingleHostReverseProxy(target)}
	gate.to.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	front := httptest.NewServer(gate)
	t.Cleanup(front.Close)
	made := there.rest(t, "POST", "/v1/blueprints", bearer, map[string]any{
		"identifier": "table", "title": "表", "schema": map[string]any{"properties": map[string]any{"arn": map[string]any{"type": "string"}, "mode": map[string]any{"type": "string"}}},
	})
	if made.Status != http.StatusCreated {
		t.Fatalf("blueprint: %s", made)
	}
	title := func(id string) string {
		a := there.rest(t, "GET", "/v1/blueprints/table/entities/"+id, bearer, nil)
		var out struct {
			Entity struct{ Title string }
		}
		if err := json.Unmarshal(a.Body, &out); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		return out.Entity.Title
	}

	s := startServer(t, func(c *Config) { c.PortBaseURL, c.PortClientID, c.PortClientSecret = front.URL, admin.ID, admin.Secret })
	c := s.caller(account, home)
	s.do(t, "PUT", "/v1/exporter/config", map[string]any{"config": json.RawMessage(tableMapping)}, nil)
	s.do(t, "PUT", "/v1/exporter/accounts/"+account, map[string]any{"home_region": home}, nil)
	queue := c.queue("exporter")
	s.do(t, "PUT", "/v1/exporter/accounts/"+account+"/queues", map[string]any{"queue": c.queueARN("exporter")}, nil)
	table := func(name string) {
		c.made("AWS::DynamoDB::Table", `{"TableName":"`+name+`","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}`)
	}
	drop := func(name string) {
		out, err := c.resources().DeleteResource(t.Context(), &cloudcontrol.DeleteResourceInput{TypeName: aws.String("AWS::DynamoDB::Table"), Identifier: &name})
		if err != nil {
			t.Fatal(err)
		}
		c.ended(out.ProgressEvent, nil)
	}
	record := func(name, action string) {
		body := fmt.Sprintf(`{"resource_type":"AWS::DynamoDB::Table","region":"\"us-east-1\"","identifier":"\"%s\"","action":"\"%s\""}`, name, action)
		if _, err := c.queues().SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
	}

	table("orders")
	record("orders", "upsert")
	eventually(t, "the entity of a record", func() bool { return title("orders") == "orders" })
	drop("orders")
	gate.fails.Store(2)
	record("orders", "delete")
	eventually(t, "the entity to go past failed calls", func() bool { return title("orders") == "" })

	for i := range 30 {
		table(fmt.Sprint("table-", i))
	}
	sink, err := port.New(port.Options{BaseURL: there.LocalURL(), ClientID: admin.ID, ClientSecret: admin.Secret, HTTP: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	stray := catalog.EntityChange{Blueprint: "table", Identifier: "stray", Upsert: true, Merge: true}
	if err := sink.Write(t.Context(), catalog.Writer{}, []catalog.EntityChange{stray}, nil); err != nil {
		t.Fatal(err)
	}
	tick()
	sync := func() {
		var run struct{ ID, Status string }
		s.do(t, "POST", "/v1/exporter/sync_runs", map[string]any{"grace_seconds": 0}, &run)
		eventually(t, "the full sync", func() bool {
			s.do(t, "GET", "/v1/exporter/sync_runs/"+run.ID, nil, &run)
			return run.Status != "waiting" && run.Status != "running"
		})
		if run.Status != "succeeded" {
			_, text := s.get("/v1/exporter/sync_runs/" + run.ID)
			t.Errorf("the full sync ended as %s: %s", run.Status, text)
		}
	}
	gate.fails.Store(2)
	sync()
	drop("table-0")
	record("table-0", "delete")
	eventually(t, "an entity of the full sync to go by a record", func() bool { return title("table-0") == "" })
	sync()
	for i := range 30 {
		if got := title(fmt.Sprint("table-", i)); (got == "") != (i == 0) {
			t.Errorf("table %d has the entity %q", i, got)
		}
	}
	if a := there.rest(t, "GET", "/v1/blueprints/table/entities/stray", bearer, nil); a.Status != http.StatusNotFound {
		t.Errorf("what nobody remembers: %s", a)
	}
}
