package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// syncModel is a cloud that changes while full syncs run, events that arrive late, twice or
// never, and nodes that die or are taken for dead.
type syncModel struct {
	w       *syncWorld
	x       *Exporter
	catalog *catalog.Catalog
	sink    *modelSink
	number  int
	scope   reader.Scope
	lose    bool
	clock   atomic.Int64 // milliseconds

	mu     sync.Mutex // held while the model does something
	events []syncEvent
	unsent []int // events that have not arrived
	flying []syncFlight
	open   bool // a full sync
	// trouble: the node dies, or is no longer the one that may write.
	trouble bool
	log     []string
}

type syncEvent struct {
	id     string
	delete bool
	at     time.Time
}

// syncFlight is a read for an event that has begun.
type syncFlight struct {
	read  Read
	event int
}

// syncStep is what happens meanwhile.
type syncStep struct {
	do string
	n  int
}

func drawStep() *rapid.Generator[syncStep] {
	return rapid.Custom(func(t *rapid.T) syncStep {
		do := rapid.SampledFrom([]string{"nothing", "upsert", "upsert", "delete", "bury", "begin", "begin", "apply", "apply", "wait", "die", "depose", "crash"}).Draw(t, "do")
		return syncStep{do, rapid.IntRange(0, 1000).Draw(t, "n")}
	})
}

// changing are the resources that come and go. Besides there is one that stays, and one
// that is deleted for good.
const changing = 4

func (m *syncModel) id(name any) string { return fmt.Sprintf("%d-%v", m.number, name) }

func (m *syncModel) now() time.Time { return time.UnixMilli(m.clock.Load()).UTC() }

func (m *syncModel) notef(format string, args ...any) {
	m.log = append(m.log, m.now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// modelSink is the catalog, or a sink in memory without transactions, in which the process
// may die. It watches for what must never happen.
type modelSink struct {
	crashingSink
	steady, gone string

	mu     sync.Mutex // guards what follows, and crashAt
	crash  int        // before which change the process dies; -1 for none
	buried bool       // the deletion of gone is stored
	broken string
}

// Write implements Sink.
func (s *modelSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range changes {
		if changes[i].Identifier == s.steady && changes[i].Delete {
			s.broken = "what is there all the time is deleted"
		}
		if changes[i].Identifier == s.gone && !changes[i].Delete && s.buried {
			s.broken = "what was deleted comes back"
		}
	}
	s.crashAt(s.crash)
	s.crash = -1
	return s.crashingSink.Write(ctx, w, changes, commit)
}

func (s *modelSink) die(before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crash = before
}

func (s *modelSink) bury() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buried = true
}

func (s *modelSink) check(t *rapid.T, m *syncModel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != "" {
		t.Fatalf("%s:\n%s", s.broken, strings.Join(m.log, "\n"))
	}
}

// TestFullSyncsAndEventsEndInTheTruth: whatever the cloud does while full syncs run, however
// events are delayed, doubled and lost, and wherever the process dies, the entities equal the
// cloud in the end; meanwhile nothing that stays is deleted, and nothing that was deleted
// comes back.
func TestFullSyncsAndEventsEndInTheTruth(t *testing.T) {
	t.Parallel()
	w := newSyncWorld(t, storetest.SQLite(t))
	w.configurePasses(syncPass{kind: queueKind, query: ".Hidden != true"})
	ev := jq.New(jq.Options{})
	t.Cleanup(func() { _ = ev.Close() })
	cat := catalog.New(catalog.Options{DB: w.db, Jobs: work.New(w.db, "catalog", nil), JQ: ev})
	blueprint := `{"identifier": "queue", "title": "Queue", "schema": {"properties": {"size": {"type": "number"}}}}`
	if _, err := cat.CreateBlueprint(t.Context(), catalog.Writer{By: "test"}, []byte(blueprint)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.x.SetSyncSettings(t.Context(), SyncSettings{RemovalCount: 10, RemovalPercent: 20}); err != nil {
		t.Fatal(err)
	}
	w.cloud.page = 2
	number := 0
	rapid.Check(t, func(t *rapid.T) {
		number++
		m := newSyncModel(t, w, cat, number, rapid.Bool().Draw(t, "the catalog"))
		m.lose = rapid.Bool().Draw(t, "events are lost")
		t.Repeat(map[string]func(*rapid.T){
			"":                 func(t *rapid.T) { m.sink.check(t, m) },
			"something":        func(t *rapid.T) { m.step(t, drawStep().Draw(t, "step")) },
			"more":             func(t *rapid.T) { m.step(t, drawStep().Draw(t, "step")) },
			"something is due": m.recheck,
			"a full sync runs": func(t *rapid.T) { m.sync(t, rapid.SliceOfN(drawStep(), 0, 12).Draw(t, "meanwhile")) },
		})
		m.settle(t)
		m.check(t)
	})
}

func newSyncModel(t *rapid.T, w *syncWorld, cat *catalog.Catalog, number int, transactional bool) *syncModel {
	m := &syncModel{w: w, catalog: cat, number: number, scope: reader.Scope{Account: fmt.Sprintf("%012d", number), Region: syncRegion, Kind: queueKind}}
	m.clock.Store(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(number) * 24 * time.Hour).UnixMilli())
	m.sink = &modelSink{crashingSink: crashingSink{at: -1, stored: map[catalog.EntityRef]map[string]any{}}, crash: -1, steady: m.id("steady"), gone: m.id("gone")}
	if transactional {
		m.sink.below = CatalogSink(cat)
	}
	m.forget(t)
	m.takeOver()
	if _, err := m.x.PutAccount(t.Context(), Account{Account: m.scope.Account, HomeRegion: syncRegion, Enabled: true}); err != nil {
		t.Fatal(err)
	}
	m.put(m.sink.steady, m.sink.steady, 1, false)
	m.put(m.sink.gone, m.sink.gone, 1, false)
	m.sync(t, nil)
	return m
}

// forget ends what an earlier try has left, which this one would go on with: it could not be
// run again then.
func (m *syncModel) forget(t *rapid.T) {
	m.w.cloud.before = nil
	err := m.w.db.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(t.Context(), `UPDATE exporter_resources SET recheck_at = 0 WHERE recheck_at > 0`); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), `UPDATE exporter_sync_runs SET status = 'cancelled', finished_at = created_at WHERE finished_at = 0`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (m *syncModel) put(id, name string, size int, hidden bool) {
	m.w.cloud.put(m.scope, id, map[string]any{"Name": name, "Size": float64(size), "Hidden": hidden})
}

func (m *syncModel) there(id string) bool {
	m.w.cloud.mu.Lock()
	defer m.w.cloud.mu.Unlock()
	return m.w.cloud.resources[m.scope][id] != nil
}

// takeOver has another node begin; what the one before had in memory is lost.
func (m *syncModel) takeOver() {
	for _, f := range m.flying {
		m.again(f.event)
	}
	m.flying = nil
	m.x = m.w.node("model")
	m.x.o.Now, m.x.o.Sink = m.now, m.sink
	m.w.takeOver(m.x)
}

func (m *syncModel) again(event int) {
	if !slices.Contains(m.unsent, event) {
		m.unsent = append(m.unsent, event)
	}
}

func (m *syncModel) send(id string, gone bool) {
	m.unsent = append(m.unsent, len(m.events))
	m.events = append(m.events, syncEvent{id, gone, m.now().Truncate(time.Second)})
}

// step does one thing while no full sync runs.
func (m *syncModel) step(t *rapid.T, s syncStep) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.do(t, s, func() { m.trouble = true })
	if m.trouble {
		m.revive()
	}
}

func (m *syncModel) revive() {
	m.trouble = false
	m.sink.die(-1)
	m.takeOver()
}

// do does one thing; kill ends the node that runs.
func (m *syncModel) do(t *rapid.T, s syncStep, kill func()) {
	m.clock.Add(int64(s.n))
	id := m.id(s.n % changing)
	switch s.do {
	case "upsert":
		m.put(id, m.id(fmt.Sprint("entity-", s.n/changing%changing)), s.n, s.n%7 == 0)
		m.send(id, false)
	case "delete":
		if m.there(id) {
			m.w.cloud.remove(m.scope, id)
			m.send(id, true)
		}
	case "bury":
		if m.there(m.sink.gone) {
			m.w.cloud.remove(m.scope, m.sink.gone)
			m.send(m.sink.gone, true)
		}
	case "begin":
		if len(m.events) > 0 {
			m.begin(t, s.n%len(m.events))
		}
	case "apply":
		m.land(t, s.n, kill)
	case "wait":
		m.clock.Add(int64(s.n) * 100)
	case "crash":
		m.sink.die(s.n % 6)
	case "die":
		kill()
	case "depose":
		// What a sink without transactions is told too late cannot be refused.
		if m.sink.Transactional() {
			m.trouble = true
			m.takeOver()
		}
	default:
		return
	}
	m.notef("%s %d", s.do, s.n)
}

// begin has an event arrive: the read of its resource begins.
func (m *syncModel) begin(t *rapid.T, i int) {
	e := m.events[i]
	read, err := m.x.read(t.Context(), Key{m.scope.Account, m.scope.Region, m.scope.Kind, e.id}, m.x.tickets.mark())
	if err != nil {
		t.Fatal(err)
	}
	if e.delete {
		read.DeleteAt = e.at
	} else {
		read.UpsertAt = e.at
	}
	m.notef("event %d (%+v) arrives: read %d finds %v", i, e, read.Ticket, read.Properties)
	m.flying = append(m.flying, syncFlight{read, i})
	m.unsent = slices.DeleteFunc(m.unsent, func(n int) bool { return n == i })
}

// land applies reads of events, not in their order.
func (m *syncModel) land(t *rapid.T, n int, kill func()) {
	var batch []syncFlight
	for range min(1+n%3, len(m.flying)) {
		i := n % len(m.flying)
		batch = append(batch, m.flying[i])
		m.flying = slices.Delete(m.flying, i, i+1)
	}
	if len(batch) == 0 {
		return
	}
	reads := make([]Read, len(batch))
	for i := range batch {
		reads[i] = batch[i].read
	}
	out, err := m.x.apply(t.Context(), reads, catalog.Cause{Origin: originEvent}, applyOptions{NoRecheck: true})
	if err != nil {
		m.notef("apply fails: %v", err)
		for i := range batch {
			m.again(batch[i].event)
		}
		if !errors.Is(err, errCrash) {
			t.Fatal(err)
		}
		kill()
		return
	}
	for i := range out {
		m.notef("read %d of %s: %s", batch[i].read.Ticket, batch[i].read.Identifier, out[i].Outcome)
		switch {
		case out[i].Outcome == Failed && out[i].Retry:
			m.again(batch[i].event)
		case out[i].Outcome == Failed:
			t.Fatalf("%s failed: %v", out[i].Key, out[i].Err)
		case batch[i].read.Identifier == m.sink.gone && (out[i].Outcome == Deleted || out[i].Outcome == Absent):
			m.sink.bury()
		}
	}
}

// recheck reads what is due without an event.
func (m *syncModel) recheck(t *rapid.T) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		due, _, err := dueRechecks(t.Context(), m.w.db, m.now(), 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(due) == 0 {
			return
		}
		// One after the other, in an order that is drawn: side by side, no failure would come again.
		slices.SortFunc(due, func(a, b *Resource) int { return compareKeys(a.Key, b.Key) })
		for len(due) > 0 {
			i := 0
			if len(due) > 1 {
				i = rapid.IntRange(0, len(due)-1).Draw(t, "due")
			}
			m.notef("recheck of %s: %s", due[i].Identifier, due[i].RecheckWhy)
			err := m.x.recheckOne(t.Context(), due[i])
			if errors.Is(err, errCrash) {
				m.notef("dies when it rechecks")
				m.revive()
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			due = slices.Delete(due, i, i+1)
		}
	}
}

// sync begins a full sync, or goes on with the one that is open, while something else
// happens at each call of the cloud.
func (m *syncModel) sync(t *rapid.T, meanwhile []syncStep) {
	m.mu.Lock()
	if !m.open {
		if _, err := m.x.RunSync(t.Context(), NewSync{By: "test", Selection: Selection{Accounts: []string{m.scope.Account}}}); err != nil {
			t.Fatal(err)
		}
		m.open = true
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.w.cloud.mu.Lock()
	m.w.cloud.before = func(string, reader.Scope) {
		if !m.mu.TryLock() {
			return // it is the model that reads, or it does something just now
		}
		defer m.mu.Unlock()
		m.clock.Add(1100) // so that the run writes down where it is
		if len(meanwhile) == 0 {
			return
		}
		s := meanwhile[0]
		meanwhile = meanwhile[1:]
		m.do(t, s, func() {
			m.trouble = true
			cancel()
		})
	}
	m.w.cloud.mu.Unlock()
	x := m.x
	m.mu.Unlock()

	run, due, err := x.dueRun(t.Context())
	if err != nil || !due {
		t.Fatalf("no run is due: %v", err)
	}
	err = x.runSync(ctx, &run)

	m.mu.Lock()
	defer m.mu.Unlock()
	m.w.cloud.before = nil
	m.notef("the full sync ends: %v, %s", err, run.Status)
	switch {
	case err == nil && run.Status != SyncSucceeded:
		t.Fatalf("the full sync is %s: %s\n%s", run.Status, run.Error, strings.Join(m.log, "\n"))
	case err == nil:
		m.open = false
	case !m.trouble && !errors.Is(err, errCrash):
		t.Fatal(err)
	}
	if err != nil || m.trouble {
		m.revive()
	}
}

// settle has what was sent arrive, full syncs end, and time pass until nothing is to be
// read again.
func (m *syncModel) settle(t *rapid.T) {
	m.sink.die(-1)
	if m.lose {
		m.unsent = nil
	}
	kill := func() { t.Fatal("it dies although nothing kills it") }
	for m.open {
		m.sync(t, nil)
	}
	if m.lose {
		m.clock.Add(time.Hour.Milliseconds())
		m.sync(t, nil)
	}
	m.mu.Lock()
	for len(m.flying)+len(m.unsent) > 0 {
		if len(m.unsent) > 0 {
			m.begin(t, m.unsent[0])
		}
		m.land(t, len(m.flying), kill)
	}
	m.mu.Unlock()
	for range 200 {
		m.recheck(t)
		due, next, err := dueRechecks(t.Context(), m.w.db, m.now(), 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(due) == 0 && next.IsZero() {
			return
		}
		m.clock.Store(max(m.clock.Load(), next.UnixMilli()) + 1000)
	}
	t.Fatal("it never settles")
}

// check compares the entities with the cloud.
func (m *syncModel) check(t *rapid.T) {
	m.sink.check(t, m)
	want := map[string][]any{}
	m.w.cloud.mu.Lock()
	for _, p := range m.w.cloud.resources[m.scope] {
		if hidden, _ := p["Hidden"].(bool); !hidden {
			want[p["Name"].(string)] = append(want[p["Name"].(string)], p["Size"])
		}
	}
	m.w.cloud.mu.Unlock()
	names := []string{m.sink.steady, m.sink.gone}
	for n := range changing {
		names = append(names, m.id(fmt.Sprint("entity-", n)))
	}
	for _, name := range names {
		size, there := m.entity(t, name)
		if there != (len(want[name]) > 0) || there && !slices.Contains(want[name], size) {
			t.Fatalf("entity %s is there: %v, of size %v; the cloud has %v\n%s", name, there, size, want[name], strings.Join(m.log, "\n"))
		}
	}
}

func (m *syncModel) entity(t *rapid.T, name string) (size any, there bool) {
	properties := m.sink.stored[catalog.EntityRef{Blueprint: "queue", Identifier: name}]
	if m.sink.below != nil {
		e, err := m.catalog.Entity(t.Context(), "queue", name)
		if err != nil && !isNotFound(err) {
			t.Fatal(err)
		}
		if err == nil {
			properties = e.Properties
		}
	}
	if n, whole := properties["size"].(int); whole {
		return float64(n), true
	}
	return properties["size"], properties != nil
}

// duringSink has something happen before the next write.
type duringSink struct {
	Sink
	during func()
}

// Write implements Sink.
func (s *duringSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	if do := s.during; do != nil {
		s.during = nil
		do()
	}
	return s.Sink.Write(ctx, w, changes, commit)
}

// TestWhatAFullSyncDidNotListIsNotMadeByAnOlderRead: a new resource is read, deleted without an
// event, and a full sync runs before the read is stored, or while it is.
func TestWhatAFullSyncDidNotListIsNotMadeByAnOlderRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		during bool
	}{{"before it is stored", false}, {"while it is stored", true}} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *syncWorld) {
				s := syncScope(queueKind)
				w.cloud.putN(s, 3)
				w.sync(nil)
				sink := &duringSink{Sink: w.sink}
				w.x.o.Sink = sink
				w.cloud.put(s, "new", map[string]any{"Name": "new", "Size": 1.0})
				read, err := w.x.read(t.Context(), Key{s.Account, s.Region, s.Kind, "new"}, w.x.tickets.mark())
				if err != nil {
					t.Fatal(err)
				}
				read.UpsertAt = w.x.now()
				w.cloud.remove(s, "new")
				sync := func() { wantStatus(t, w.sync(nil), SyncSucceeded) }
				if c.during {
					sink.during = sync
				} else {
					sync()
				}
				out, err := w.x.apply(t.Context(), []Read{read}, catalog.Cause{Origin: originEvent}, applyOptions{NoRecheck: true})
				if err != nil || out[0].Outcome != Pending {
					t.Errorf("it is %s, %v; want that it is read again", out[0].Outcome, err)
				}
				w.later(createGrace)
				if _, err := w.x.recheckDue(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.wantTruth()
			})
		})
	}
}
