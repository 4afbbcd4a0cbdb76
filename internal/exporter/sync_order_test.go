package exporter

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// interleaving changes the cloud while full syncs run, and delivers the events of
// these changes late, twice or in another order.
type interleaving struct {
	w     *syncWorld
	rnd   *rand.Rand
	mu    sync.Mutex // one step at a time
	steps int
	next  int
	// sent are events on their way.
	sent []func()
}

var interleaved = []reader.Scope{syncScope(queueKind), syncScope(topicKind)}

// step does one thing, maybe.
func (v *interleaving) step() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.steps == 0 {
		return
	}
	v.steps--
	s := interleaved[v.rnd.IntN(len(interleaved))]
	switch v.rnd.IntN(5) {
	case 0: // made
		v.next++
		v.put(s, fmt.Sprintf("new-%03d", v.next))
	case 1: // changed
		if id := v.any(s); id != "" {
			v.put(s, id)
		}
	case 2: // deleted
		if id := v.any(s); id != "" {
			v.w.cloud.remove(s, id)
			v.tell(s, id, true)
		}
	default:
		v.deliver()
	}
}

func (v *interleaving) put(s reader.Scope, id string) {
	v.w.cloud.put(s, id, map[string]any{"Name": id, "Size": float64(v.rnd.IntN(1000))})
	v.tell(s, id, false)
}

func (v *interleaving) any(s reader.Scope) string {
	v.w.cloud.mu.Lock()
	defer v.w.cloud.mu.Unlock()
	for id := range v.w.cloud.resources[s] {
		return id
	}
	return ""
}

func (v *interleaving) tell(s reader.Scope, id string, deleted bool) {
	at := v.w.x.now()
	v.sent = append(v.sent, func() { v.w.record(s, id, deleted, at) })
}

// deliver delivers an event, and once in a while leaves it to be delivered again.
func (v *interleaving) deliver() {
	if len(v.sent) == 0 {
		return
	}
	i := v.rnd.IntN(len(v.sent))
	v.sent[i]()
	if v.rnd.IntN(4) > 0 {
		v.sent = append(v.sent[:i], v.sent[i+1:]...)
	}
}

func TestSyncsAndEventsInAnyOrderEndInTheTruth(t *testing.T) {
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.useCatalog(queueKind, topicKind)
		w.configure(queueKind, topicKind)
		w.cloud.whole[topicKind] = true
		w.cloud.page = 4
		set := DefaultSyncSettings()
		set.RemovalCount = 1000
		if _, err := w.x.SetSyncSettings(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(12) {
			v := &interleaving{w: w, rnd: rand.New(rand.NewPCG(seed, 1)), steps: 60}
			w.cloud.putN(interleaved[seed%2], 10)
			w.cloud.before = func(string, reader.Scope) {
				if v.mu.TryLock() { // not from within a step
					v.mu.Unlock()
					v.step()
				}
			}
			for range 3 {
				if run := w.sync(nil); run.Status != SyncSucceeded {
					t.Fatalf("seed %d: %+v", seed, run)
				}
			}
			w.cloud.before = nil
			v.rnd.Shuffle(len(v.sent), func(i, j int) { v.sent[i], v.sent[j] = v.sent[j], v.sent[i] })
			for _, deliver := range v.sent {
				deliver()
			}
			// What is not found a moment after it was made is looked for again later.
			w.later(time.Hour)
			w.recheck()
			if w.wantTruth(); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}
