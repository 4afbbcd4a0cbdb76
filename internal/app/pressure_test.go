package app

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const smallLog = 16 << 20

// A log of 16 MiB takes five times as much while its events are delivered: what
// was delivered makes room.
func TestLogTakesFiveTimesItsSizePastAHealthyTarget(t *testing.T) {
	t.Parallel()
	p := startProcess(t, serverSettings{DataDir: t.TempDir(), EventLogBytes: smallLog})
	c := p.client()
	c.createQueue(t, "orders", 30)
	c.createQueue(t, "orders-dead", 30)
	c.createRule(t, "orders", "order", queueARN("orders"), "orders-dead")

	const size = 64 << 10
	detail := fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", size))
	arrived := newArrivals()
	defer arrived.watch(t, c, "orders")()
	calls, events := 0, 0
	for events*size < 5*smallLog {
		ids, err := c.put(t.Context(), []entry{{"log.test", "order", detail}, {"log.test", "order", detail}, {"log.test", "order", detail}, {"log.test", "order", detail}})
		if err != nil {
			t.Fatalf("after %d events: %v", events, err)
		}
		arrived.expect(ids)
		calls, events = calls+1, events+len(ids)
	}
	arrived.await(t, 30*time.Second)
	t.Logf("%d events of 64 KiB in %d calls", events, calls)
}

// With a target that hangs and one that fails, the log fills and PutEvents is
// throttled; nothing that was taken before is lost, and three days later it is all
// dead-lettered.
func TestWhatWaitsIsDeadLetteredWhenItIsTooOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	endpoint := newEndpoint(t)
	p := startProcess(t, serverSettings{DataDir: dir, EventLogBytes: smallLog})
	c := p.client()
	for _, kind := range []string{"hung", "failing"} {
		c.createQueue(t, kind+"-dead", 60)
		c.createRule(t, kind, kind, c.createDestination(t, kind, endpoint.URL+"/"+kind, 300), kind+"-dead")
	}
	hung, failing := newArrivals(), newArrivals()
	detail := fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 20<<10))
	throttled := false
	for n := 0; !throttled; n++ {
		if n > 1000 {
			t.Fatal("the log took more than it holds")
		}
		entries := make([]entry, 10)
		for i := range entries {
			entries[i] = entry{"log.test", []string{"hung", "failing"}[i%2], detail}
		}
		ids, err := c.put(t.Context(), entries)
		var refused *refusal
		if throttled = errors.As(err, &refused) && strings.HasPrefix(refused.Type, "ThrottlingException"); throttled {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			if i%2 == 0 {
				hung.expect([]string{id})
			} else {
				failing.expect([]string{id})
			}
		}
	}
	if endpoint.hung.Load() == 0 || endpoint.failed.Load() == 0 {
		t.Errorf("the endpoint was called %d and %d times", endpoint.hung.Load(), endpoint.failed.Load())
	}
	p.stop(t)

	p = startProcess(t, serverSettings{DataDir: dir, EventLogBytes: smallLog, ClockAhead: 72 * time.Hour})
	c = p.client()
	check := func(m message) {
		if got := m.MessageAttributes["EXHAUSTED_RETRY_CONDITION"].StringValue; got != "MaximumEventAgeInSeconds" {
			t.Errorf("a dead letter says EXHAUSTED_RETRY_CONDITION=%q: %v", got, m.MessageAttributes)
		}
	}
	hung.check, failing.check = check, check
	defer hung.watch(t, c, "hung-dead")()
	defer failing.watch(t, c, "failing-dead")()
	hung.await(t, 50*time.Second)
	failing.await(t, 50*time.Second)
	t.Logf("%d and %d dead letters; the endpoint hung %d and failed %d times", hung.expected, failing.expected, endpoint.hung.Load(), endpoint.failed.Load())
	if ids, err := c.put(t.Context(), []entry{{"log.test", "other", `{}`}}); err != nil || ids[0] == "" {
		t.Errorf("the log takes no events after what waited is gone: %v", err)
	}
}

// While one target hangs and one takes 20 a second, a third gets everything.
func TestHungAndSlowTargetsDoNotHoldUpAHealthyOne(t *testing.T) {
	t.Parallel()
	endpoint := newEndpoint(t)
	p := startProcess(t, serverSettings{DataDir: t.TempDir()})
	c := p.client()
	c.createQueue(t, "healthy", 60)
	c.createQueue(t, "dead", 60)
	c.createRule(t, "hung", "order", c.createDestination(t, "hung", endpoint.URL+"/hung", 300), "dead")
	c.createRule(t, "slow", "order", c.createDestination(t, "slow", endpoint.URL+"/slow", 20), "dead")
	c.createRule(t, "healthy", "order", queueARN("healthy"), "dead")
	arrived := newArrivals()
	defer arrived.watch(t, c, "healthy")()

	entries := make([]entry, 10)
	for i := range entries {
		entries[i] = entry{"neighbour.test", "order", fmt.Sprintf(`{"n":%d}`, i)}
	}
	for range 300 {
		ids, err := c.put(t.Context(), entries)
		if err != nil {
			t.Fatal(err)
		}
		arrived.expect(ids)
	}
	arrived.await(t, 30*time.Second)
	if endpoint.hung.Load() == 0 || endpoint.released() {
		t.Error("the hung target did not hang")
	}
	if n := endpoint.slow.Load(); n == 0 || n == 3000 {
		t.Errorf("the slow target had got %d of 3000 events when the healthy one had all", n)
	}
}

// endpoint is an HTTP endpoint that hangs at /hung, fails at /failing, and works
// elsewhere.
type endpoint struct {
	*httptest.Server
	hung, failed, slow atomic.Int64
	release            chan struct{}
}

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{release: make(chan struct{})}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hung":
			e.hung.Add(1)
			<-e.release
		case "/failing":
			e.failed.Add(1)
			w.WriteHeader(http.StatusInternalServerError)
		default:
			e.slow.Add(1)
		}
	}))
	t.Cleanup(func() {
		close(e.release)
		e.Close()
	})
	return e
}

func (e *endpoint) released() bool {
	select {
	case <-e.release:
		return true
	default:
		return false
	}
}

// arrivals waits for events in a queue.
type arrivals struct {
	check func(message) // may be nil

	mu       sync.Mutex
	expected int
	arrived  map[string]bool
	missing  map[string]bool
	none     chan struct{}
}

func newArrivals() *arrivals {
	return &arrivals{arrived: map[string]bool{}, missing: map[string]bool{}, none: make(chan struct{}, 1)}
}

func (a *arrivals) expect(ids []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, id := range ids {
		a.expected++
		if !a.arrived[id] {
			a.missing[id] = true
		}
	}
}

func (a *arrivals) arrive(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.arrived[id] = true
	delete(a.missing, id)
	if len(a.missing) == 0 {
		select {
		case a.none <- struct{}{}:
		default:
		}
	}
}

// watch drains the queue until what it returns is called.
func (a *arrivals) watch(t *testing.T, c *awsClient, queue string) (stop func()) {
	var wg sync.WaitGroup
	var stopped atomic.Bool
	for range 4 {
		wg.Go(func() {
			for !stopped.Load() {
				messages, err := c.receive(t.Context(), queue)
				if err != nil {
					t.Errorf("receive from %s: %v", queue, err)
					return
				}
				for _, m := range messages {
					if a.check != nil {
						a.check(m)
					}
					a.arrive(m.eventID())
				}
				if len(messages) == 0 {
					continue
				}
				if _, err := c.remove(t.Context(), queue, messages); err != nil {
					t.Errorf("delete from %s: %v", queue, err)
					return
				}
			}
		})
	}
	return func() { stopped.Store(true); wg.Wait() }
}

// await waits until nothing is missing.
func (a *arrivals) await(t *testing.T, atMost time.Duration) {
	t.Helper()
	deadline := time.After(atMost)
	for {
		a.mu.Lock()
		open := len(a.missing)
		a.mu.Unlock()
		if open == 0 {
			return
		}
		select {
		case <-a.none:
		case <-deadline:
			t.Fatalf("%d of %d events have not arrived", open, a.expected)
		}
	}
}
