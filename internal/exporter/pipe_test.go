package exporter

import (
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestRecordsOfAKindWhoseReadsAreSlowLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	p := w.x.newPipe()
	crowded := func(resources int, each time.Duration) {
		p.mu.Lock()
		defer p.mu.Unlock()
		r := p.readersOf(thing(""))
		r.resources, r.each = resources, each
	}
	far := thing("far")
	far.Region = "us-east-1"
	for _, c := range []struct {
		name      string
		resources int
		each      time.Duration
		key       Key
		want      time.Duration
	}{
		{"few wait", crowd - 1, time.Minute, thing("new"), 0},
		{"many wait and are quick", maxHeld, 100 * time.Millisecond, thing("new"), 0},
		{"many wait and are slow", crowd, 5 * time.Second, thing("new"), 15 * time.Second},
		{"they wait for hours", maxHeld, time.Hour, thing("new"), maxPutOff},
		{"those of another region wait", maxHeld, time.Hour, far, 0},
		{"it shares a read", maxHeld, time.Hour, thing("busy"), 0},
	} {
		p.keys[thing("busy")] = []*job{}
		crowded(c.resources, c.each)
		if got := p.putOff(c.key); got != c.want {
			t.Errorf("%s: put off for %s, want %s", c.name, got, c.want)
		}
	}
}

func TestARecordThatIsPutOffComesAgainAndIsNotGivenUpForIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	cfg, err := w.x.Config(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		policy   policy
		attempts int
		age      time.Duration
		putOff   bool
	}{
		{"the first time", policy{retention: 4 * 24 * time.Hour}, 1, 0, true},
		{"often", policy{retention: 4 * 24 * time.Hour, maxReceives: 500}, 200, time.Hour, true},
		{"its queue lets it come two times", policy{retention: 4 * 24 * time.Hour, maxReceives: 2}, 1, 0, false},
		{"its queue keeps it for an hour", policy{retention: time.Hour}, 3, 40 * time.Minute, false},
		{"it has waited for half a day", policy{retention: 4 * 24 * time.Hour}, 20, 13 * time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := w.x.newPipe()
			end := p.start(t.Context())
			now := w.x.now()
			from := &poller{x: w.x, pipe: p, queue: Queue{Account: testAccount}, policy: c.policy, done: make(chan *message, 1), back: make(chan *message, 1), dead: make(chan *message, 1)}
			m := &message{
				p: from, id: c.name, body: body("nobody", "upsert", ""), attempts: c.attempts, mark: w.x.tickets.mark(),
				sentAt: now.Add(-c.age), firstAt: now.Add(-c.age), receivedAt: now,
			}
			p.mu.Lock()
			r := p.readersOf(thing(""))
			r.resources, r.each = crowd, 5*time.Second
			p.mu.Unlock()
			p.parse(t.Context(), m, cfg.Parsed(), map[string]Account{testAccount: {Account: testAccount, HomeRegion: testRegion, Enabled: true}})
			end()
			switch {
			case !c.putOff && len(from.done) == 1: // read, and not there
			case c.putOff && len(from.back) == 1:
				if d := m.pauseFor(); d < 15*time.Second || d > 17*time.Second || !strings.Contains(m.failure.err.Error(), testKind) {
					t.Errorf("it comes again after %s: %v", d, m.failure.err)
				}
			default:
				t.Errorf("done %d, back %d, dead %d: %+v", len(from.done), len(from.back), len(from.dead), m.failure)
			}
		})
	}
}
