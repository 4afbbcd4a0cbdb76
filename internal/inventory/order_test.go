package inventory

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// cloudModel is the truth about one instance, which moves on by itself, and the
// events that it has sent.
type cloudModel struct {
	v        *Inventory
	a        CloudAccount
	id       string
	clock    *time.Time
	state    string // "" before the launch
	launched time.Time
	changed  time.Time
	events   []notification
	unsent   []int

	job, sync *inFlight
	attempt   int
	reads     bool // whether the cloud can be read
}

// inFlight is a read that has started and is not applied yet.
type inFlight struct {
	read       reading
	all, fresh []stateEvent
}

func (m *cloudModel) tick(t *rapid.T, most time.Duration) {
	*m.clock = m.clock.Add(time.Duration(rapid.Int64Range(1, int64(most/time.Millisecond)).Draw(t, "pass")) * time.Millisecond)
}

// next moves the instance on, and sends an event.
func (m *cloudModel) next(t *rapid.T) {
	quick := m.state == statePending || m.state == stateStopping || m.state == stateShuttingDown
	if !quick && m.changed.Truncate(time.Second).Equal(m.clock.Truncate(time.Second)) {
		// Within one second an instance passes through at most two states.
		*m.clock = m.clock.Add(time.Second)
	}
	choices := map[string][]string{
		"": {statePending}, statePending: {stateRunning, stateTerminated}, stateRunning: {stateStopping, stateShuttingDown},
		stateStopping: {stateStopped}, stateStopped: {statePending, stateTerminated}, stateShuttingDown: {stateTerminated},
	}[m.state]
	if len(choices) == 0 {
		return
	}
	m.state = rapid.SampledFrom(choices).Draw(t, "state")
	m.changed = *m.clock
	if m.state == statePending {
		m.launched = *m.clock
	}
	m.unsent = append(m.unsent, len(m.events))
	m.events = append(m.events, notification{
		ID: fmt.Sprintf("%s-%d", m.id, len(m.events)), Account: m.a.AccountID, Region: testRegion,
		Time: m.clock.Truncate(time.Second), InstanceID: m.id, State: m.state,
	})
}

// deliver stores one of the events, perhaps for the second time.
func (m *cloudModel) deliver(t *rapid.T) {
	if len(m.events) == 0 {
		return
	}
	m.store(t, rapid.IntRange(0, len(m.events)-1).Draw(t, "event"))
}

func (m *cloudModel) store(t *rapid.T, i int) {
	stored, err := m.v.store(t.Context(), m.a, "hook", m.events[i])
	if err != nil {
		t.Fatal(err)
	}
	if stored {
		m.attempt = 0
	}
	for k, n := range m.unsent {
		if n == i {
			m.unsent = append(m.unsent[:k], m.unsent[k+1:]...)
			break
		}
	}
}

func (m *cloudModel) look(t *rapid.T) reading {
	r := reading{started: m.v.now(), outcome: readFound, instance: Instance{ID: m.id, State: m.state, LaunchTime: m.launched}}
	switch {
	case !m.reads:
		return reading{started: r.started, outcome: readImpossible}
	case m.state == "":
		r.outcome = readNotFound
	case m.state == statePending && m.clock.Sub(m.launched) < time.Minute && rapid.Bool().Draw(t, "not visible yet"):
		r.outcome = readNotFound
	case m.state == stateTerminated && rapid.Bool().Draw(t, "forgotten"):
		r.outcome = readNotFound
	}
	return r
}

func (m *cloudModel) startJob(t *rapid.T) {
	if m.job != nil {
		return
	}
	all, fresh, _, err := instanceEvents(t.Context(), m.v.db, m.a.ID, testRegion, m.id)
	if err != nil {
		t.Fatal(err)
	}
	if len(fresh) > 0 {
		m.job = &inFlight{m.look(t), all, fresh}
	}
}

func (m *cloudModel) finishJob(t *rapid.T) {
	if m.job == nil {
		return
	}
	f := m.job
	m.job = nil
	m.attempt++
	m.apply(t, situation{events: f.all, fresh: f.fresh, read: f.read, attempt: m.attempt}, causeEvent)
}

func (m *cloudModel) startSync(t *rapid.T) {
	if r := m.look(t); r.outcome == readFound {
		m.sync = &inFlight{read: r}
	}
}

func (m *cloudModel) finishSync(t *rapid.T) {
	if m.sync == nil {
		return
	}
	r := m.sync.read
	m.sync = nil
	all, fresh, _, err := instanceEvents(t.Context(), m.v.db, m.a.ID, testRegion, m.id)
	if err != nil {
		t.Fatal(err)
	}
	if len(fresh) == 0 {
		m.apply(t, situation{events: all, read: r, attempt: 1, bySync: true}, causeSync)
	}
}

func (m *cloudModel) apply(t *rapid.T, s situation, kind string) {
	k := InstanceKey{m.a.ProjectID, m.a.AccountID, testRegion, m.id}
	err := m.v.db.Update(t.Context(), func(tx *store.Tx) error {
		d, err := m.v.apply(t.Context(), tx, m.a, k, s, Cause{Kind: kind})
		if err != nil || d.do == doRetry {
			return err
		}
		outcome := d.why
		if d.anomaly {
			outcome = outcomeContradicted
		}
		return settleEvents(t.Context(), tx, m.a.ID, s.fresh, m.v.now(), outcome)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settle runs jobs until every event is dealt with.
func (m *cloudModel) settle(t *rapid.T) {
	for range 100 {
		m.finishJob(t)
		*m.clock = m.clock.Add(90 * time.Second)
		m.startJob(t)
		if m.job == nil {
			m.finishSync(t) // with what it read long ago
			return
		}
	}
	t.Fatal("the events are never settled")
}

func (m *cloudModel) check(t *rapid.T) {
	k := InstanceKey{m.a.ProjectID, m.a.AccountID, testRegion, m.id}
	s, found, err := serverOf(t.Context(), m.v.db, k)
	if err != nil {
		t.Fatal(err)
	}
	if found != isLive(m.state) || found && s.EC2State != m.state {
		t.Fatalf("the instance is %q; in the inventory: %v, %q", m.state, found, s.EC2State)
	}
}

// TestTheInventoryEqualsTheCloudInTheEnd: whatever the order, delay, loss and
// duplication of events, and however reads and syncs interleave with them.
func TestTheInventoryEqualsTheCloudInTheEnd(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	clock := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	w.v.o.Now = func() time.Time { return clock }
	w.project(testProject)
	a := w.connect(testProject, testAccount, nil)
	n := 0
	for _, mode := range []struct {
		name        string
		reads, lose bool
	}{{"events in any order, confirmed by reads", true, false}, {"events lost, found by a sync", true, true}, {"events trusted", false, false}} {
		t.Run(mode.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				n++
				m := &cloudModel{v: w.v, a: a, id: instanceID(n), clock: &clock, reads: mode.reads}
				t.Repeat(map[string]func(*rapid.T){
					"the cloud moves on": m.next,
					"an event arrives":   m.deliver,
					"time passes":        func(t *rapid.T) { m.tick(t, 20*time.Second) },
					"a read starts":      m.startJob,
					"a read is applied":  m.finishJob,
					"a sync starts":      m.startSync,
					"a sync is applied":  m.finishSync,
				})
				for m.state != "" && m.state != stateRunning && m.state != stateStopped && m.state != stateTerminated {
					m.next(t) // to a state that lasts
				}
				for len(m.unsent) > 0 && !mode.lose {
					m.store(t, rapid.SampledFrom(m.unsent).Draw(t, "late event"))
				}
				m.settle(t)
				if mode.lose {
					m.finalSync(t)
				}
				m.check(t)
			})
		})
	}
}

// finalSync is what a full sync does about this instance.
func (m *cloudModel) finalSync(t *rapid.T) {
	*m.clock = m.clock.Add(time.Hour)
	r := m.look(t)
	for range 2 { // what is not found is looked for twice
		m.apply(t, situation{read: r, attempt: 1, bySync: true, missedTwice: true}, causeSync)
		*m.clock = m.clock.Add(time.Minute)
	}
}
