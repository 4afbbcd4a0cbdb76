package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	syncAccount = "111122223333"
	otherSync   = "444455556666"
	syncRegion  = "eu-west-1"
	queueKind   = "AWS::SQS::Queue"
	topicKind   = "AWS::SNS::Topic"
)

// syncCloud plays cloud accounts: their resources, what they refuse, and how many calls
// are under way.
type syncCloud struct {
	mu        sync.Mutex
	resources map[reader.Scope]map[string]map[string]any
	page      int
	whole     map[string]bool // kinds that are listed whole
	// listFails and getFails refuse calls; nil lets them be.
	listFails func(s reader.Scope, q reader.ListQuery) error
	getFails  func(s reader.Scope, id string) error
	// before is called at the start of each call, without the lock.
	before func(op string, s reader.Scope)

	lists, gets int
}

func newSyncCloud() *syncCloud {
	return &syncCloud{resources: map[reader.Scope]map[string]map[string]any{}, page: 7, whole: map[string]bool{}}
}

func syncScope(kind string) reader.Scope {
	return reader.Scope{Account: syncAccount, Region: syncRegion, Kind: kind}
}

func (c *syncCloud) put(s reader.Scope, id string, properties map[string]any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resources[s] == nil {
		c.resources[s] = map[string]map[string]any{}
	}
	c.resources[s][id] = properties
}

func (c *syncCloud) putN(s reader.Scope, n int) {
	for i := range n {
		id := fmt.Sprintf("r-%04d", i)
		c.put(s, id, map[string]any{"Name": id, "Size": float64(i % 7)})
	}
}

func (c *syncCloud) remove(s reader.Scope, ids ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		delete(c.resources[s], id)
	}
}

func (c *syncCloud) begin(op string, s reader.Scope) {
	c.mu.Lock()
	before := c.before
	c.mu.Unlock()
	if before != nil {
		before(op, s)
	}
}

// Get answers with a resource.
func (c *syncCloud) Get(ctx context.Context, s reader.Scope, id string) (reader.Resource, error) {
	c.begin("get", s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gets++
	if err := ctx.Err(); err != nil {
		return reader.Resource{}, err
	}
	if c.getFails != nil {
		if err := c.getFails(s, id); err != nil {
			return reader.Resource{}, err
		}
	}
	p, ok := c.resources[s][id]
	if !ok {
		return reader.Resource{}, classed(s, reader.NotFound)
	}
	return reader.Resource{Identifier: id, Properties: maps.Clone(p)}, nil
}

// List answers with a page; its token is the last identifier of the page before.
func (c *syncCloud) List(ctx context.Context, s reader.Scope, q reader.ListQuery) (reader.Page, error) {
	c.begin("list", s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists++
	if err := ctx.Err(); err != nil {
		return reader.Page{}, err
	}
	if c.listFails != nil {
		if err := c.listFails(s, q); err != nil {
			return reader.Page{}, err
		}
	}
	var model struct{ Prefix string }
	if q.Model != "" {
		if err := json.Unmarshal([]byte(q.Model), &model); err != nil {
			return reader.Page{}, classed(s, reader.Invalid)
		}
	}
	var page reader.Page
	for _, id := range slices.Sorted(maps.Keys(c.resources[s])) {
		if id <= q.Next || !strings.HasPrefix(id, model.Prefix) {
			continue
		}
		if len(page.Resources) == c.page {
			page.Next = page.Resources[c.page-1].Identifier
			break
		}
		r := reader.Resource{Identifier: id}
		if c.whole[s.Kind] {
			r.Properties = maps.Clone(c.resources[s][id])
		}
		page.Resources = append(page.Resources, r)
	}
	page.Whole = c.whole[s.Kind]
	return page, nil
}

func classed(s reader.Scope, class reader.Class) error {
	return &reader.Error{Scope: s, Op: "play", Class: class, Err: errors.New(class.String())}
}

// syncSink is a sink in memory whose writes are part of the database's transaction.
type syncSink struct {
	db *store.DB

	mu       sync.Mutex
	entities map[catalog.EntityRef]map[string]any
	changed  map[catalog.EntityRef]time.Time
	writes   int
	refuse   func(c *catalog.EntityChange) error
}

// Transactional is true of it.
func (s *syncSink) Transactional() bool { return true }

// Write makes changes.
func (s *syncSink) Write(ctx context.Context, _ catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, changed := maps.Clone(s.entities), maps.Clone(s.changed)
	results := make([]catalog.ChangeResult, len(changes))
	for i := range changes {
		c, r := &changes[i], &results[i]
		ref := catalog.EntityRef{Blueprint: c.Blueprint, Identifier: c.Identifier}
		r.Blueprint, r.Identifier = ref.Blueprint, ref.Identifier
		have, there := next[ref]
		switch {
		case s.refuse != nil && s.refuse(c) != nil:
			r.Err = s.refuse(c)
		case c.Delete && !there:
			r.Err = &catalog.Error{Status: 404, Code: "not_found", Message: "gone"}
		case c.Delete:
			delete(next, ref)
			r.Deleted = true
		case there && reflect.DeepEqual(have, c.Entity.Properties):
			r.Unchanged = true
		default:
			next[ref] = maps.Clone(c.Entity.Properties)
			changed[ref] = time.Now()
			r.Created = !there
		}
	}
	if err := s.db.Update(ctx, func(tx *store.Tx) error { return commit(ctx, tx, results) }); err != nil {
		return err
	}
	s.entities, s.changed = next, changed
	s.writes++
	return nil
}

// Owned yields all entities: they are all ours.
func (s *syncSink) Owned(ctx context.Context, before time.Time, yield func(catalog.EntityRef) error) error {
	s.mu.Lock()
	var refs []catalog.EntityRef
	for ref, at := range s.changed {
		if _, there := s.entities[ref]; there && at.Before(before) {
			refs = append(refs, ref)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(refs, func(a, b catalog.EntityRef) int { return strings.Compare(a.Identifier, b.Identifier) })
	for _, ref := range refs {
		if err := yield(ref); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *syncSink) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for ref := range s.entities {
		ids = append(ids, ref.Blueprint+"/"+ref.Identifier)
	}
	slices.Sort(ids)
	return ids
}

// syncWorld is an exporter with a cloud and a sink, whose runs the test makes.
type syncWorld struct {
	t     *testing.T
	db    *store.DB
	x     *Exporter
	cloud *syncCloud
	sink  *syncSink
	// catalog takes the sink's place if it is set.
	catalog Sink
	ahead   atomic.Int64 // of the clock, in nanoseconds
}

func newSyncWorld(t *testing.T, db *store.DB) *syncWorld {
	t.Helper()
	w := &syncWorld{t: t, db: db, cloud: newSyncCloud()}
	w.sink = &syncSink{db: db, entities: map[catalog.EntityRef]map[string]any{}, changed: map[catalog.EntityRef]time.Time{}}
	w.x = w.node("one")
	w.takeOver(w.x)
	if _, err := w.x.PutAccount(t.Context(), Account{Account: syncAccount, HomeRegion: syncRegion, Enabled: true}); err != nil {
		t.Fatal(err)
	}
	w.configure(queueKind)
	return w
}

// node is one more exporter on the same database.
func (w *syncWorld) node(name string) *Exporter {
	w.t.Helper()
	ev := jq.New(jq.Options{})
	w.t.Cleanup(func() { _ = ev.Close() })
	var sink Sink = w.sink
	if w.catalog != nil {
		sink = w.catalog
	}
	x := New(Options{DB: w.db, Sink: sink, Reader: w.cloud, JQ: ev, Node: name, Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }})
	x.sync.retryPause = time.Microsecond
	return x
}

// useCatalog has the entities go to a catalog with a blueprint for each kind.
func (w *syncWorld) useCatalog(kinds ...string) {
	w.t.Helper()
	ev := jq.New(jq.Options{})
	w.t.Cleanup(func() { _ = ev.Close() })
	c := catalog.New(catalog.Options{DB: w.db, Jobs: work.New(w.db, "catalog", nil), JQ: ev})
	for _, kind := range kinds {
		text := `{"identifier": "` + blueprintOf(kind) + `", "title": "A kind", "schema": {"properties": {"size": {"type": "number"}}}}`
		if _, err := c.CreateBlueprint(w.t.Context(), catalog.Writer{By: "test"}, []byte(text)); err != nil {
			w.t.Fatal(err)
		}
	}
	w.catalog = CatalogSink(c)
	w.x = w.node("catalog")
	w.takeOver(w.x)
}

// entities are those in the sink.
func (w *syncWorld) entities() []string {
	w.t.Helper()
	var ids []string
	err := w.x.o.Sink.Owned(w.t.Context(), time.Now().Add(365*24*time.Hour), func(ref catalog.EntityRef) error {
		ids = append(ids, ref.Blueprint+"/"+ref.Identifier)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(ids)
	return ids
}

// later sets the clock forward.
func (w *syncWorld) later(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *syncWorld) takeOver(x *Exporter) {
	w.t.Helper()
	if err := x.takeOver(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	x.reads.begin()
}

type syncPass struct {
	kind     string
	query    string
	regions  []string
	accounts []string
	models   map[string][]string
}

func (w *syncWorld) configure(kinds ...string) {
	w.t.Helper()
	passes := make([]syncPass, len(kinds))
	for i, kind := range kinds {
		passes[i].kind = kind
	}
	w.configurePasses(passes...)
}

func (w *syncWorld) configurePasses(passes ...syncPass) {
	w.t.Helper()
	w.configureText(func(map[string]any) {}, passes...)
}

func (w *syncWorld) configureText(change func(map[string]any), passes ...syncPass) {
	w.t.Helper()
	var resources []any
	for _, p := range passes {
		aws := map[string]any{}
		if p.regions != nil {
			aws["regions"] = p.regions
		}
		if p.accounts != nil {
			aws["accounts"] = p.accounts
		}
		if p.models != nil {
			by := map[string]any{}
			for region, models := range p.models {
				by[region] = map[string]any{"resources_models": models}
			}
			aws["regions_config"] = by
		}
		selector := map[string]any{"aws": aws}
		if p.query != "" {
			selector["query"] = p.query
		}
		resources = append(resources, map[string]any{
			"kind": p.kind, "selector": selector,
			"port": map[string]any{"entity": map[string]any{"mappings": []any{map[string]any{
				"identifier": ".Name", "title": ".Name", "blueprint": blueprintOf(p.kind), "properties": map[string]any{"size": ".Size"},
			}}}},
		})
	}
	top := map[string]any{"resources": resources}
	change(top)
	text, err := json.Marshal(top)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.x.PutConfig(w.t.Context(), text, "test", -1); err != nil {
		w.t.Fatal(err)
	}
}

func blueprintOf(kind string) string {
	return strings.ToLower(kind[strings.LastIndex(kind, ":")+1:])
}

// sync makes a run and takes it to its end.
func (w *syncWorld) sync(change func(*NewSync)) SyncRun {
	w.t.Helper()
	zero := time.Duration(0)
	n := NewSync{By: "test", Grace: &zero}
	if change != nil {
		change(&n)
	}
	run, err := w.x.RunSync(w.t.Context(), n)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.finish(w.x, run)
}

func (w *syncWorld) finish(x *Exporter, run SyncRun) SyncRun {
	w.t.Helper()
	run, due, err := x.dueRun(w.t.Context())
	if err != nil || !due {
		w.t.Fatalf("no run is due: %v", err)
	}
	if err := x.runSync(w.t.Context(), &run); err != nil {
		w.t.Fatal(err)
	}
	return w.run(run.ID)
}

func (w *syncWorld) confirm(run SyncRun) SyncRun {
	w.t.Helper()
	next, err := w.x.ConfirmSync(w.t.Context(), run.ID, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.finish(w.x, next)
}

func (w *syncWorld) run(id string) SyncRun {
	w.t.Helper()
	run, err := w.x.SyncRun(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

func (w *syncWorld) scope(run SyncRun, kind string) SyncScope {
	w.t.Helper()
	return w.scopeOf(run, ScopeKey{syncAccount, syncRegion, kind})
}

func (w *syncWorld) scopeOf(run SyncRun, k ScopeKey) SyncScope {
	w.t.Helper()
	s, found, err := loadScope(w.t.Context(), w.db, run.ID, k)
	if err != nil || !found {
		w.t.Fatalf("scope %s of run %s: found %v, %v", k, run.ID, found, err)
	}
	return s
}

// event applies a read as the record of an event does that happened at a time.
func (w *syncWorld) event(s reader.Scope, id string, at time.Time) {
	w.t.Helper()
	w.record(s, id, false, at)
	w.x.noteEvent(ScopeKey{s.Account, s.Region, s.Kind}, at, w.x.now(), w.x.now())
	if err := w.x.flushFreshness(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *syncWorld) record(s reader.Scope, id string, deleted bool, at time.Time) {
	w.t.Helper()
	read, err := w.x.read(w.t.Context(), Key{s.Account, s.Region, s.Kind, id}, w.x.tickets.mark())
	if err == nil && deleted {
		read.DeleteAt = at
	} else {
		read.UpsertAt = at
	}
	if err == nil {
		_, err = w.x.apply(w.t.Context(), []Read{read}, catalog.Cause{Origin: "exporter-event"}, applyOptions{})
	}
	if err != nil {
		w.t.Error(err)
	}
}

// truth is what the sink should hold: an entity for each resource of the cloud.
func (w *syncWorld) truth() []string {
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	var ids []string
	for s, resources := range w.cloud.resources {
		for id := range resources {
			ids = append(ids, blueprintOf(s.Kind)+"/"+id)
		}
	}
	slices.Sort(ids)
	return ids
}

func (w *syncWorld) wantTruth() {
	w.t.Helper()
	if got, want := w.entities(), w.truth(); !slices.Equal(got, want) {
		w.t.Errorf("the sink has %d entities, the cloud %d resources:\n%v\n%v", len(got), len(want), got, want)
	}
}

func wantStatus(t *testing.T, run SyncRun, want SyncStatus) {
	t.Helper()
	if run.Status != want {
		t.Fatalf("the run is %s (%s), want %s: %+v", run.Status, run.Error, want, run.Totals)
	}
}

func numbered(n int) string {
	return "r-" + strings.Repeat("0", 4-len(strconv.Itoa(n))) + strconv.Itoa(n)
}
