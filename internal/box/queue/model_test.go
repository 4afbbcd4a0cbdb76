package queue

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// model is what a queue should do, kept in a plain list in the order of
// sending.
type model struct {
	q       *fixture
	have    *Queue
	fifo    bool
	dead    int64 // maxReceiveCount, 0 without a dead-letter queue
	n       int
	waiting []*modelMessage
	handles []modelHandle
}

type modelMessage struct {
	body, group string
	visibleAt   int64
	receives    int64
	handle      string // of the latest receive
}

type modelHandle struct {
	m      *modelMessage
	handle string
}

func (m *model) now() int64 { return m.q.now() }

// inFlight says whether a message was received and is not visible yet.
func (m *model) inFlight(msg *modelMessage) bool { return msg.receives > 0 && msg.visibleAt > m.now() }

// receivable returns what a receive may take now, of FIFO groups the prefix
// that is due in groups with nothing in flight.
func (m *model) receivable() []*modelMessage {
	var list []*modelMessage
	locked := map[string]bool{}
	for _, msg := range m.waiting {
		if m.inFlight(msg) {
			locked[msg.group] = true
		}
	}
	for _, msg := range m.waiting {
		if m.fifo {
			if locked[msg.group] || msg.visibleAt > m.now() {
				locked[msg.group] = true // later ones wait for it
				continue
			}
		} else if msg.visibleAt > m.now() {
			continue
		}
		list = append(list, msg)
	}
	return list
}

func (m *model) send(t *rapid.T) {
	m.n++
	msg := &modelMessage{body: fmt.Sprint("m", m.n), visibleAt: m.now()}
	d := Draft{Body: msg.body}
	if m.fifo {
		msg.group = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "group")
		d.GroupID, d.DedupID = msg.group, msg.body
	} else if delay := rapid.IntRange(0, 3).Draw(t, "delay"); delay > 0 {
		d.Delay = new(time.Duration(delay) * time.Second)
		msg.visibleAt += int64(delay) * 1000
	}
	if _, err := m.q.Send(m.q.ctx, m.have, account, d); err != nil {
		t.Fatal(err)
	}
	m.waiting = append(m.waiting, msg)
}

func (m *model) receive(t *rapid.T) {
	limit := rapid.IntRange(1, 10).Draw(t, "max")
	timeout := rapid.IntRange(0, 4).Draw(t, "visibility")
	could := m.receivable()
	got, err := m.q.Receive(m.q.ctx, m.have.Ref, ReceiveRequest{Max: limit, Visibility: new(time.Duration(timeout) * time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var alive int
	for _, msg := range could {
		if m.dead == 0 || msg.receives < m.dead {
			alive++
		}
	}
	// Dead messages in the way may use up the receive; without them it takes
	// all that it may.
	if want := min(limit, alive); len(got) > want || len(got) < want && alive == len(could) {
		t.Fatalf("received %d messages of %d alive and %d that may be, at most %d", len(got), alive, len(could), limit)
	}
	m.checkOrder(t, got, could)
	for _, r := range got {
		i := slices.IndexFunc(could, func(msg *modelMessage) bool { return msg.body == r.Body })
		if i < 0 {
			t.Fatalf("received %s, which may not be", r.Body)
		}
		msg := could[i]
		msg.receives++
		msg.visibleAt, msg.handle = m.now()+int64(timeout)*1000, r.Handle
		if r.ReceiveCount != msg.receives {
			t.Fatalf("%s was received %d times, it says %d", r.Body, msg.receives, r.ReceiveCount)
		}
		m.handles = append(m.handles, modelHandle{msg, r.Handle})
	}
	m.bury(t)
}

// checkOrder checks that of each FIFO group the first messages came, in order.
func (m *model) checkOrder(t *rapid.T, got []Received, could []*modelMessage) {
	if !m.fifo {
		return
	}
	next := map[string][]string{}
	for _, msg := range could {
		if m.dead == 0 || msg.receives < m.dead {
			next[msg.group] = append(next[msg.group], msg.body)
		}
	}
	for _, r := range got {
		if len(next[r.GroupID]) == 0 || next[r.GroupID][0] != r.Body {
			t.Fatalf("group %s: received %s before %v", r.GroupID, r.Body, next[r.GroupID])
		}
		next[r.GroupID] = next[r.GroupID][1:]
	}
}

// bury looks into the dead-letter queue: what is there must have been
// received often enough, and is no longer here.
func (m *model) bury(t *rapid.T) {
	if m.dead == 0 {
		return
	}
	got, err := m.q.Receive(m.q.ctx, m.have.Redrive.DeadLetter, ReceiveRequest{Max: 10, Visibility: new(12 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) == 10 {
		defer m.bury(t) // there may be more
	}
	for _, r := range got {
		i := slices.IndexFunc(m.waiting, func(msg *modelMessage) bool { return msg.body == r.Body })
		if i < 0 || m.waiting[i].receives != m.dead {
			t.Fatalf("%s died before its time", r.Body)
		}
		m.waiting = slices.Delete(m.waiting, i, i+1)
	}
	if m.fifo { // so that the group is free for the next one
		dead, err := m.q.Find(m.q.ctx, m.have.Redrive.DeadLetter)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if errs, err := m.q.DeleteMessages(m.q.ctx, dead, []string{r.Handle}); errors.Join(append(errs, err)...) != nil {
				t.Fatal(errs, err)
			}
		}
	}
}

func (m *model) handleOf(t *rapid.T) modelHandle {
	if len(m.handles) == 0 {
		t.Skip("nothing was received")
	}
	return rapid.SampledFrom(m.handles).Draw(t, "handle")
}

func (m *model) delete(t *rapid.T) {
	h := m.handleOf(t)
	errs, err := m.q.DeleteMessages(m.q.ctx, m.have, []string{h.handle})
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(m.waiting, h.m)
	current := i >= 0 && h.m.handle == h.handle
	expired := m.fifo && i >= 0 && (!current || !m.inFlight(h.m))
	if expired != (errs[0] != nil) {
		t.Fatalf("delete of %s: %v", h.m.body, errs[0])
	}
	if current && !expired {
		m.waiting = slices.Delete(m.waiting, i, i+1)
	}
}

func (m *model) changeVisibility(t *rapid.T) {
	h := m.handleOf(t)
	timeout := rapid.IntRange(0, 5).Draw(t, "timeout")
	errs, err := m.q.ChangeVisibility(m.q.ctx, m.have, []VisibilityChange{{h.handle, time.Duration(timeout) * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	switch {
	case !slices.Contains(m.waiting, h.m) || h.m.handle != h.handle:
		want = "InvalidParameterValue"
	case !m.inFlight(h.m):
		want = "MessageNotInflight"
	default:
		h.m.visibleAt = m.now() + int64(timeout)*1000
	}
	if want == "" && errs[0] != nil || want != "" && !awsapi.HasCode(errs[0], want) {
		t.Fatalf("change of visibility of %s: %v, want %q", h.m.body, errs[0], want)
	}
}

func (m *model) advance(t *rapid.T) {
	m.q.clock.advance(time.Duration(rapid.IntRange(1, 3).Draw(t, "seconds")) * time.Second)
}

// check compares the counts with the model's.
func (m *model) check(t *rapid.T) {
	var want counts
	for _, msg := range m.waiting {
		switch {
		case msg.visibleAt <= m.now():
			want.visible++
		case m.inFlight(msg):
			want.inFlight++
		default:
			want.delayed++
		}
	}
	got, err := countMessages(m.q.ctx, m.q.db, m.have, m.now())
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Fatalf("the queue counts %+v, want %+v", got, want)
	}
	if !m.fifo {
		return
	}
	var groups int
	if err := m.q.db.QueryRow(m.q.ctx, `SELECT COUNT(*) FROM queue_group WHERE contents_id = $1`, m.have.contents).Scan(&groups); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, msg := range m.waiting {
		seen[msg.group] = true
	}
	if groups != len(seen) {
		t.Fatalf("the queue has %d groups, want %d", groups, len(seen))
	}
}

func TestQueueBehavesLikeItsModel(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		n := 0
		rapid.Check(t, func(t *rapid.T) {
			n++
			suffix := ""
			m := &model{q: q, fifo: rapid.Bool().Draw(t, "fifo")}
			if m.fifo {
				suffix = ".fifo"
			}
			attrs := map[string]string{}
			if m.dead = int64(rapid.IntRange(0, 3).Draw(t, "maxReceiveCount")); m.dead > 0 {
				q.create(fmt.Sprintf("dead-%d%s", n, suffix), nil)
				attrs["RedrivePolicy"] = redrive(fmt.Sprintf("dead-%d%s", n, suffix), int(m.dead))
			}
			name := fmt.Sprintf("orders-%d%s", n, suffix)
			q.create(name, attrs)
			var err error
			if m.have, err = q.Find(q.ctx, Ref{account, region, name}); err != nil {
				t.Fatal(err)
			}
			t.Repeat(map[string]func(*rapid.T){
				"send": m.send, "receive": m.receive, "delete": m.delete,
				"change visibility": m.changeVisibility, "advance": m.advance, "": m.check,
			})
		})
	})
}
