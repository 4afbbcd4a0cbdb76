package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// orderModel is the truth about a few resources of a cloud, which move on by
// themselves, the events that they have sent, and the reads that are under way.
type orderModel struct {
	w     *world
	x     *Exporter
	clock time.Time
	run   int
	truth []*modelResource
	// unsent are the events that did not arrive yet; events all of them.
	events []modelEvent
	unsent []int
	// flying are reads that have begun and are not applied.
	flying []*modelRead
	// listed are reads of a list that are not applied, listing the ticket of that list, 0 if
	// none runs.
	listed  []Read
	listing int64
	// synced: a full sync has ended.
	synced bool
	// unreadable: the cloud cannot be asked.
	unreadable bool
	sink       *crashingSink
	log        []string
}

func (m *orderModel) notef(format string, args ...any) {
	m.log = append(m.log, m.clock.Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

type modelResource struct {
	key     Key
	present bool
	name    string // of its entity
	size    float64
	hidden  bool
	// changedAt is when it last came or went.
	changedAt time.Time
	// before are the properties that it had before it was deleted.
	before map[string]any
}

type modelEvent struct {
	resource int
	delete   bool
	entity   string // as it was called then
	at       time.Time
}

type modelRead struct {
	read  Read
	event int // that it answers; -1 for none
}

func (r *modelResource) properties() map[string]any {
	return map[string]any{"Name": r.name, "Size": r.size, "Hidden": r.hidden}
}

func (m *orderModel) tick(t *rapid.T, most time.Duration) {
	m.clock = m.clock.Add(time.Duration(rapid.Int64Range(1, int64(most/time.Millisecond)).Draw(t, "pass")) * time.Millisecond)
}

// change moves a resource on, and sends an event.
func (m *orderModel) change(t *rapid.T) {
	i := rapid.IntRange(0, len(m.truth)-1).Draw(t, "resource")
	r := m.truth[i]
	kind := rapid.IntRange(0, 3).Draw(t, "change")
	e := modelEvent{resource: i, at: m.clock.Truncate(time.Second), entity: r.name}
	if m.unreadable && !r.changedAt.IsZero() && m.clock.Truncate(time.Second).Equal(r.changedAt.Truncate(time.Second)) {
		// Where nothing can be read, the order of events within a second is not known.
		m.clock = m.clock.Add(time.Second)
		e.at = m.clock.Truncate(time.Second)
	}
	switch {
	case r.present && kind == 0:
		r.before = r.properties()
		r.present, r.changedAt, e.delete = false, m.clock, true
	case !r.present:
		r.present, r.changedAt = true, m.clock
		fallthrough
	default:
		r.size = float64(rapid.IntRange(1, 1000).Draw(t, "size"))
		r.hidden = rapid.IntRange(0, 4).Draw(t, "hidden") == 0
		if rapid.IntRange(0, 3).Draw(t, "rename") == 0 {
			r.name = m.entityName(rapid.IntRange(0, 3).Draw(t, "name"))
		}
	}
	m.notef("event %d: %s is there: %v, %v (delete %v)", len(m.events), r.key.Identifier, r.present, r.properties(), e.delete)
	m.unsent = append(m.unsent, len(m.events))
	m.events = append(m.events, e)
}

func (m *orderModel) entityName(n int) string { return fmt.Sprintf("e-%d-%d", m.run, n) }

// see is what the cloud answers now.
func (m *orderModel) see(t *rapid.T, r Read) Read {
	if m.unreadable {
		r.Unread = errors.New("denied")
		return r
	}
	res := m.resource(r.Identifier)
	if res == nil {
		return r // it is the name of an entity, or nothing
	}
	age := m.clock.Sub(res.changedAt)
	switch {
	case res.present && age < 20*time.Second && rapid.IntRange(0, 2).Draw(t, "not visible yet") == 0:
	case res.present:
		r.Found, r.Properties = true, res.properties()
	case res.before != nil && age < 10*time.Minute && rapid.IntRange(0, 2).Draw(t, "still visible") == 0:
		r.Found, r.Properties = true, res.before
	}
	return r
}

func (m *orderModel) resource(identifier string) *modelResource {
	for _, r := range m.truth {
		if r.key.Identifier == identifier {
			return r
		}
	}
	return nil
}

// arrive has an event arrive, perhaps for the second time: a read of what it names begins.
func (m *orderModel) arrive(t *rapid.T) {
	if len(m.events) > 0 {
		m.receive(t, rapid.IntRange(0, len(m.events)-1).Draw(t, "event"))
	}
}

func (m *orderModel) receive(t *rapid.T, i int) {
	e := m.events[i]
	rec := record{Record: config.Record{Delete: e.delete}, Key: m.truth[e.resource].key, at: e.at}
	if e.delete && !m.unreadable && rapid.Bool().Draw(t, "names the entity") {
		rec.Key.Identifier = e.entity
	}
	rec.Record.Identifier = rec.Key.Identifier
	list := []record{rec}
	if e.delete {
		var err error
		if list, err = m.x.newPipe().candidates(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range list {
		read := m.see(t, m.x.newRead(c.Key))
		switch {
		case c.unsure:
		case e.delete:
			read.DeleteAt, read.ByName = e.at, c.byName
		default:
			read.UpsertAt = e.at
		}
		m.notef("event %d arrives; read %d of %s begins: found %v %v", i, read.Ticket, read.Identifier, read.Found, read.Properties)
		m.flying = append(m.flying, &modelRead{read, i})
	}
	m.unsent = slices.DeleteFunc(m.unsent, func(n int) bool { return n == i })
}

// land applies one of the reads under way, or several together.
func (m *orderModel) land(t *rapid.T) {
	if len(m.flying) == 0 {
		return
	}
	n := rapid.IntRange(1, len(m.flying)).Draw(t, "how many")
	var batch []*modelRead
	for range n {
		i := rapid.IntRange(0, len(m.flying)-1).Draw(t, "which")
		batch = append(batch, m.flying[i])
		m.flying = slices.Delete(m.flying, i, i+1)
	}
	m.apply(t, batch)
}

// apply applies reads. When the process dies in it, the events come again.
func (m *orderModel) apply(t *rapid.T, batch []*modelRead) {
	reads := make([]Read, len(batch))
	for i, b := range batch {
		reads[i] = b.read
	}
	m.sink.crashAt(rapid.IntRange(-12, 4).Draw(t, "crash"))
	out, err := m.x.apply(t.Context(), reads, catalog.Cause{Origin: "test"}, applyOptions{NoRecheck: true})
	m.sink.crashAt(-1)
	for i, b := range batch {
		outcome := "error"
		if err == nil {
			outcome = string(out[i].Outcome)
		}
		m.notef("read %d of %s is applied: %s %v", b.read.Ticket, b.read.Identifier, outcome, err)
	}
	if errors.Is(err, errCrash) {
		m.again(batch)
		m.die(t)
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		if out[i].Outcome == Failed && out[i].Retry {
			m.again(batch[i : i+1])
		} else if out[i].Outcome == Failed {
			t.Fatalf("%s failed: %v", out[i].Key, out[i].Err)
		}
	}
}

func (m *orderModel) again(batch []*modelRead) {
	for _, b := range batch {
		if b.event >= 0 && !slices.Contains(m.unsent, b.event) {
			m.unsent = append(m.unsent, b.event)
		}
	}
}

// die ends the process, and another one takes over: reads under way come to nothing, and
// their events come again.
func (m *orderModel) die(t *rapid.T) {
	m.notef("dies")
	old := m.x
	m.synced = false
	m.again(m.flying)
	var late []Read
	for _, f := range m.flying {
		late = append(late, f.read)
	}
	late = append(late, m.listed...)
	m.flying, m.listed, m.listing = nil, nil, 0
	m.x = m.w.node("again")
	m.x.o.Now, m.x.o.Reader, m.x.o.Sink = old.o.Now, old.o.Reader, old.o.Sink
	if err := m.x.takeOver(t.Context()); err != nil {
		t.Fatal(err)
	}
	// It was not dead, only slow: what it writes now is refused.
	if len(late) > 0 {
		if _, err := old.apply(t.Context(), late[:1], catalog.Cause{}, applyOptions{}); !errors.Is(err, errDeposed) {
			t.Fatalf("a deposed node wrote: %v", err)
		}
	}
}

// list begins a full sync: all that is there is listed.
func (m *orderModel) list(t *rapid.T) {
	if m.unreadable {
		return
	}
	base := m.x.newRead(Key{})
	m.listing, m.listed = base.Ticket, nil
	m.notef("sync %d", base.Ticket)
	for _, r := range m.truth {
		if got := m.see(t, Read{Key: r.key, Ticket: base.Ticket, At: base.At}); got.Found {
			m.listed = append(m.listed, got)
		}
	}
}

// store applies a part of what was listed; at the end what was missing is looked at.
func (m *orderModel) store(t *rapid.T) {
	if m.listing == 0 {
		return
	}
	if len(m.listed) > 0 {
		r := m.listed[0]
		m.listed = m.listed[1:]
		m.apply(t, []*modelRead{{r, -1}})
		return
	}
	before := m.listing
	m.listing, m.synced = 0, true
	for _, r := range m.truth {
		known := m.w.resource(r.key)
		if known != nil && known.Present && known.Ticket < before {
			m.flying = append(m.flying, &modelRead{m.see(t, m.x.newRead(r.key)), -1})
		}
	}
}

// recheck reads what is due without an event.
func (m *orderModel) recheck(t *rapid.T) {
	m.x.o.Reader = modelReader{m, t}
	m.x.reads.begin()
	for {
		due, _, err := dueRechecks(t.Context(), m.w.db, m.clock, 100)
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
			if err := m.x.recheckOne(t.Context(), due[i]); err != nil {
				t.Fatal(err)
			}
			due = slices.Delete(due, i, i+1)
		}
	}
}

// modelReader answers as the cloud does now.
type modelReader struct {
	m *orderModel
	t *rapid.T
}

// Get implements Reader.
func (r modelReader) Get(_ context.Context, s reader.Scope, identifier string) (reader.Resource, error) {
	got := r.m.see(r.t, Read{Key: Key{Account: s.Account, Region: s.Region, Kind: s.Kind, Identifier: identifier}})
	r.m.notef("recheck of %s: found %v %v", identifier, got.Found, got.Properties)
	switch {
	case got.Unread != nil:
		return reader.Resource{}, &reader.Error{Scope: s, Class: reader.Denied, Err: got.Unread}
	case !got.Found:
		return reader.Resource{}, &reader.Error{Scope: s, Class: reader.NotFound, Err: errors.New("not found")}
	}
	return reader.Resource{Identifier: identifier, Properties: got.Properties}, nil
}

// List implements Reader.
func (modelReader) List(context.Context, reader.Scope, reader.ListQuery) (reader.Page, error) {
	return reader.Page{}, errors.New("not listed by this test")
}

// settle has all events arrive and all reads end, and time pass until nothing is
// to be read again.
func (m *orderModel) settle(t *rapid.T, lose bool) {
	m.x.o.Reader = modelReader{m, t}
	m.synced = false
	if lose {
		m.listing, m.listed = 0, nil
	}
	for range 400 {
		switch {
		case len(m.flying) > 0:
			m.land(t)
		case m.listing != 0:
			m.store(t)
		case len(m.unsent) > 0 && !lose:
			m.receive(t, rapid.SampledFrom(m.unsent).Draw(t, "late event"))
		case lose && !m.synced:
			m.unsent = nil
			m.clock = m.clock.Add(time.Hour) // what comes and goes is seen by all
			m.list(t)
		default:
			m.recheck(t)
			next := m.nextRecheck(t)
			if next.IsZero() {
				return
			}
			m.clock = latest(m.clock, next).Add(time.Second)
		}
	}
	t.Fatal("it never settles")
}

func (m *orderModel) nextRecheck(t *rapid.T) time.Time {
	due, next, err := dueRechecks(t.Context(), m.w.db, m.clock, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(due) > 0 {
		return m.clock
	}
	return next
}

// check compares the entities with the truth.
func (m *orderModel) check(t *rapid.T) {
	makers := map[string][]float64{}
	for _, r := range m.truth {
		if r.present && !r.hidden {
			makers[r.name] = append(makers[r.name], r.size)
		}
	}
	for n := range 4 {
		name := m.entityName(n)
		size, found := m.sink.entity(t, name)
		want := makers[name]
		switch {
		case found != (len(want) > 0):
			t.Fatalf("entity %s is there: %v; it is made of %v; %s", name, found, want, m.dump(t))
		case found && !slices.Contains(want, size):
			t.Fatalf("entity %s has size %v, want %v; %s", name, size, want, m.dump(t))
		}
	}
}

func (m *orderModel) dump(t *rapid.T) string {
	s := "\n" + strings.Join(m.log, "\n")
	for _, r := range m.truth {
		s += fmt.Sprintf("\n  truth %+v", *r)
		if known := m.w.resource(r.key); known != nil {
			s += fmt.Sprintf("\n  known present %v, ticket %d, upsert %s, delete %s, recheck %s %q, %v", known.Present, known.Ticket,
				known.UpsertAt, known.DeleteAt, known.RecheckAt, known.RecheckWhy, known.Entities)
		}
	}
	return s
}
