package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	sqsapi "github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	testAccount = "123456789012"
	testRegion  = "eu-west-1"
	testKind    = "AWS::Test::Thing"
	testConfig  = `{"resources": [{"kind": "AWS::Test::Thing", "selector": {"query": ".Hidden != true"}, "port": {"entity": {"mappings": [
		{"identifier": ".Name", "title": ".Title", "blueprint": "thing", "properties": {"size": ".Size", "arn": ".Arn"}}]}}}]}`
)

// world is an exporter with all that it needs around it: the real store and catalog,
// the box's SQS behind HTTP, and a cloud whose resources a test puts in.
type world struct {
	t       testing.TB
	db      *store.DB
	auth    *auth.Auth
	catalog *catalog.Catalog
	cloud   *simCloud
	queues  *cloud.Accounts
	http    *httptest.Server
	x       *Exporter
	sink    Sink

	mu    sync.Mutex
	clock time.Duration // how far the exporters' clock is ahead of the time
	// trouble, if set, may answer a call of SQS instead of SQS.
	trouble func(operation string, w http.ResponseWriter) (answered bool)
	told    []settled
}

func newWorld(t testing.TB, db *store.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, cloud: &simCloud{resources: map[Key]map[string]any{}, failures: map[Key]error{}}}
	var err error
	w.auth, err = auth.Open(t.Context(), db, auth.Options{KeyFile: filepath.Join(t.TempDir(), "secret.key")})
	if err != nil {
		t.Fatal(err)
	}
	evaluator := jq.New(jq.Options{})
	t.Cleanup(func() { _ = evaluator.Close() })
	w.catalog = catalog.New(catalog.Options{DB: db, Jobs: work.New(db, "test", nil), JQ: evaluator, Now: w.now})
	w.blueprint(`{"identifier": "thing", "title": "Thing", "schema": {"properties": {"size": {"type": "number"}, "arn": {"type": "string"}}}}`)
	w.sink = CatalogSink(w.catalog)
	w.queues = cloud.Open(db, cloud.Options{
		BoxEndpoint: func() string { return w.http.URL }, BoxCredentials: w.auth.InternalCredentials, Sealer: w.auth.Sealer(),
	})
	t.Cleanup(w.queues.Close)
	api := awsapi.New(awsapi.Config{Keys: w.auth, DevMode: w.auth.DevMode, Logger: slog.New(slog.DiscardHandler)})
	api.Register(sqsapi.Bind(queue.New(db, queue.Options{BaseURL: func() string { return w.http.URL }})))
	rest, mux := http.NewServeMux(), http.NewServeMux()
	mux.Handle("/v1/", w.auth.Middleware(rest))
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		w.mu.Lock()
		trouble := w.trouble
		w.mu.Unlock()
		if trouble == nil || !trouble(operation, rw) {
			api.ServeHTTP(rw, r)
		}
	})
	w.http = httptest.NewServer(mux)
	t.Cleanup(w.http.Close)
	w.x = w.node("a")
	w.x.Register(rest)
	w.configure(testConfig)
	if _, err := w.x.PutAccount(t.Context(), Account{Account: testAccount, HomeRegion: testRegion, Enabled: true}); err != nil {
		t.Fatal(err)
	}
	if err := w.x.takeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	onDemand := DefaultSyncSettings()
	onDemand.Interval = 0
	if _, err := w.x.SetSyncSettings(t.Context(), onDemand); err != nil {
		t.Fatal(err)
	}
	return w
}

// onEach runs a test in a fresh world on each database.
func onEach(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newWorld(t, db)) })
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.clock)
}

// pass lets time pass for the exporters.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock += d
}

// node is an exporter on the world's database.
func (w *world) node(name string) *Exporter {
	evaluator := jq.New(jq.Options{})
	w.t.Cleanup(func() { _ = evaluator.Close() })
	x := New(Options{
		DB: w.db, Sink: w.sink, Cloud: w.queues, Reader: w.cloud, JQ: evaluator, Jobs: work.New(w.db, name, nil), Node: name, Now: w.now,
		Logger: slog.New(slog.DiscardHandler),
	})
	x.followers = append(x.followers, func(s settled) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.told = append(w.told, s)
	})
	return x
}

// run runs a node until the test ends or stop is called.
func (w *world) run(x *Exporter) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = x.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) configure(text string) {
	w.t.Helper()
	if _, err := w.x.PutConfig(w.t.Context(), []byte(text), "test", -1); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) blueprint(text string) {
	w.t.Helper()
	if _, err := w.catalog.CreateBlueprint(w.t.Context(), catalog.Writer{By: "test"}, json.RawMessage(text)); err != nil {
		w.t.Fatal(err)
	}
}

// entity returns an entity of the catalog; nil if there is none.
func (w *world) entity(blueprint, identifier string) *catalog.Entity {
	w.t.Helper()
	e, err := w.catalog.Entity(w.t.Context(), blueprint, identifier)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// things are the entities of blueprint thing, with their sizes.
func (w *world) things() map[string]any {
	w.t.Helper()
	out := map[string]any{}
	err := w.sink.Owned(w.t.Context(), w.now().Add(time.Hour), func(ref catalog.EntityRef) error {
		if e := w.entity(ref.Blueprint, ref.Identifier); e != nil && ref.Blueprint == "thing" {
			out[ref.Identifier] = e.Properties["size"]
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) wantThings(want map[string]any) {
	w.t.Helper()
	got := w.things()
	if !maps.Equal(got, want) {
		w.t.Fatalf("things are %v, want %v", got, want)
	}
}

func thing(id string) Key {
	return Key{Account: testAccount, Region: testRegion, Kind: testKind, Identifier: id}
}

// eventually waits until ok holds.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	w.within(20*time.Second, what, ok)
}

// within waits until ok holds, for so long at most.
func (w *world) within(d time.Duration, what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(d)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("did not come true: %s", what)
		}
	}
}

// resource returns what is known of a resource; nil for nothing.
func (w *world) resource(k Key) *Resource {
	w.t.Helper()
	known, err := loadResources(w.t.Context(), w.db, []Key{k})
	if err != nil {
		w.t.Fatal(err)
	}
	return known[k]
}

// apply applies reads and wants their outcomes.
func (w *world) apply(reads []Read, want ...Outcome) []Applied {
	w.t.Helper()
	return w.applyWith(reads, applyOptions{}, want...)
}

func (w *world) applyWith(reads []Read, o applyOptions, want ...Outcome) []Applied {
	w.t.Helper()
	out, err := w.x.apply(w.t.Context(), reads, catalog.Cause{Origin: "test"}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	got := make([]Outcome, len(out))
	for i := range out {
		got[i] = out[i].Outcome
		if (out[i].Err != nil) != (got[i] == Failed) {
			w.t.Fatalf("%s is %s with error %v", out[i].Key, got[i], out[i].Err)
		}
	}
	if !slices.Equal(got, want) {
		for i := range out {
			w.t.Logf("%s is %s: %v", out[i].Key, got[i], out[i].Err)
		}
		w.t.Fatalf("outcomes are %v, want %v", got, want)
	}
	return out
}

// look reads a resource, as it is in the cloud now.
func (w *world) look(k Key) Read {
	w.t.Helper()
	r, err := w.x.read(w.t.Context(), k, w.x.tickets.mark())
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// client is a client of SQS.
func (w *world) client() *sqs.Client {
	w.t.Helper()
	c, err := w.queues.SQS(w.t.Context(), testAccount, testRegion)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// queue makes a queue and has it read. attributes are those of CreateQueue.
func (w *world) queue(name string, attributes map[string]string) Queue {
	w.t.Helper()
	if _, err := w.client().CreateQueue(w.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}); err != nil {
		w.t.Fatal(err)
	}
	q, err := w.x.PutQueue(w.t.Context(), "arn:aws:sqs:"+testRegion+":"+testAccount+":"+name, testAccount, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

func (w *world) send(q Queue, body string) {
	w.t.Helper()
	if _, err := w.client().SendMessage(w.t.Context(), &sqs.SendMessageInput{QueueUrl: &q.URL, MessageBody: &body}); err != nil {
		w.t.Fatal(err)
	}
}

// left is how many messages a queue holds, hidden ones too.
func (w *world) left(q Queue) (n int) {
	w.t.Helper()
	out, err := w.client().GetQueueAttributes(w.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &q.URL, AttributeNames: []types.QueueAttributeName{
		"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed",
	}})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, v := range out.Attributes {
		var i int
		fmt.Sscan(v, &i)
		n += i
	}
	return n
}

// body is an event record about a thing; extra are more keys, as JSON members.
func body(id, action, extra string) string {
	name, _ := json.Marshal(id)
	return fmt.Sprintf(`{"resource_type": %q, "region": "\"%s\"", "identifier": ".id", "id": %s, "action": "\"%s\""%s}`, testKind, testRegion, name, action, extra)
}

func (w *world) dead() []DeadRecord {
	w.t.Helper()
	list, err := w.x.DeadRecords(w.t.Context(), DeadFilter{}, "", 1000, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// heard is what the followers were told.
func (w *world) heard() []settled {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

func (c *simCloud) reads() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gets
}

// simCloud is a cloud whose resources a test puts in.
type simCloud struct {
	mu        sync.Mutex
	resources map[Key]map[string]any
	aliases   map[string]string
	failures  map[Key]error
	gets      int
	// began, if set, is called when a read has begun, and ended when it has its answer.
	began, ended func(k Key)
}

func (c *simCloud) put(k Key, size float64) {
	c.set(k, map[string]any{"Name": shortName(k.Identifier), "Size": size})
}

func (c *simCloud) set(k Key, properties map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resources[k] = properties
}

func (c *simCloud) remove(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.resources, k)
}

func (c *simCloud) fail(k Key, class reader.Class) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures[k] = &reader.Error{Class: class, Op: "read", Err: errors.New("said the test: " + class.String())}
}

func (c *simCloud) heal(k Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failures, k)
}

// Get implements Reader.
func (c *simCloud) Get(ctx context.Context, s reader.Scope, identifier string) (reader.Resource, error) {
	k := Key{Account: s.Account, Region: s.Region, Kind: s.Kind, Identifier: identifier}
	if c.began != nil {
		c.began(k)
	}
	if err := ctx.Err(); err != nil {
		return reader.Resource{}, err
	}
	c.mu.Lock()
	c.gets++
	if to, ok := c.aliases[identifier]; ok {
		k.Identifier = to
	}
	properties, found := c.resources[k]
	err := c.failures[k]
	c.mu.Unlock()
	if c.ended != nil {
		c.ended(k)
	}
	switch {
	case err != nil:
		return reader.Resource{}, err
	case !found:
		return reader.Resource{}, &reader.Error{Scope: s, Class: reader.NotFound, Op: "read", Err: errors.New("not found")}
	}
	return reader.Resource{Identifier: k.Identifier, Properties: maps.Clone(properties)}, nil
}

// List implements Reader.
func (c *simCloud) List(_ context.Context, s reader.Scope, _ reader.ListQuery) (reader.Page, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	page := reader.Page{Whole: true}
	for k, properties := range c.resources {
		if k.Account == s.Account && k.Region == s.Region && k.Kind == s.Kind {
			page.Resources = append(page.Resources, reader.Resource{Identifier: k.Identifier, Properties: maps.Clone(properties)})
		}
	}
	return page, nil
}

// call makes a request of the REST API and wants a status.
func (w *world) call(method, path, body string, status int, into any) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != status {
		w.t.Fatalf("%s %s: %d, want %d: %s", method, path, resp.StatusCode, status, text)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			w.t.Fatalf("%s %s: %s: %v", method, path, text, err)
		}
	}
}
