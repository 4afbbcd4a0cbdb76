package app

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crashRoundsVariable says how many times TestKilledServerLosesNothingAcknowledged
// kills the server; without it, a few.
const crashRoundsVariable = "RIALTO_CRASH_ROUNDS"

func crashRounds(t *testing.T) int {
	text := os.Getenv(crashRoundsVariable)
	if text == "" {
		return 4
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number of rounds", crashRoundsVariable, text)
	}
	return n
}

// Every event and message that was acknowledged arrives, whenever the server is
// killed; and what was acknowledged as deleted stays so.
func TestKilledServerLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	rounds := crashRounds(t)
	c := newCrash(t)
	for range rounds {
		c.killUnderLoad(t)
	}
	c.stopLoad()
	c.awaitArrivals(t)
	c.report(t, rounds)
}

// crash is a server that is killed again and again, with its clients.
type crash struct {
	*mortal
	client   *awsClient
	endpoint *httptest.Server

	events, calls, messages tally // to the queue, to the endpoint, by SendMessage

	deleted sync.Map // when a message's deletion was acknowledged, by message id
	revived atomic.Int64
	cut     atomic.Int64 // calls that the kills cut off
	refused atomic.Int64 // calls of the endpoint that it did not take

	load, all       sync.WaitGroup
	endLoad, endAll context.CancelFunc
}

// tally compares what was acknowledged with what arrived.
type tally struct {
	mu      sync.Mutex
	acked   int
	arrived map[string]map[string]bool // by id: the deliveries, by message id
	dead    int                        // in the dead-letter queue
	missing map[string]bool
	none    chan struct{} // told when nothing is missing
}

func newTally() tally {
	return tally{arrived: map[string]map[string]bool{}, missing: map[string]bool{}, none: make(chan struct{}, 1)}
}

func (y *tally) ack(id string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.acked++
	if y.arrived[id] == nil {
		y.missing[id] = true
	}
}

func (y *tally) arrive(id, delivery string, dead bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.arrived[id] == nil {
		y.arrived[id] = map[string]bool{}
	}
	if dead && !y.arrived[id][delivery] {
		y.dead++
	}
	y.arrived[id][delivery] = true
	delete(y.missing, id)
	if len(y.missing) == 0 {
		select {
		case y.none <- struct{}{}:
		default:
		}
	}
}

// count is how many were acknowledged.
func (y *tally) count() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.acked
}

func (y *tally) open() int {
	y.mu.Lock()
	defer y.mu.Unlock()
	return len(y.missing)
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	twice := 0
	for _, deliveries := range y.arrived {
		twice += len(deliveries) - 1
	}
	return fmt.Sprintf("%d acknowledged, %d arrived, %d of them dead letters, %d duplicates, %d missing",
		y.acked, len(y.arrived), y.dead, twice, len(y.missing))
}

const (
	crashPublishers = 4
	crashSenders    = 2
	// crashPause is what each client waits between its calls.
	crashPause = 4 * time.Millisecond
)

func newCrash(t *testing.T) *crash {
	c := &crash{mortal: newMortal(serverSettings{DataDir: t.TempDir()}), events: newTally(), calls: newTally(), messages: newTally()}
	c.endpoint = httptest.NewServer(http.HandlerFunc(c.answer))
	t.Cleanup(c.endpoint.Close)
	c.client = newAWSClient(c.url)
	c.restart(t)
	for _, queue := range []string{"orders", "orders-dead", "calls-dead", "direct"} {
		c.client.createQueue(t, queue, 2)
	}
	c.client.createRule(t, "orders", "order", queueARN("orders"), "orders-dead")
	c.client.createRule(t, "calls", "call", c.client.createDestination(t, "endpoint", c.endpoint.URL, 300), "calls-dead")

	var load, all context.Context
	load, c.endLoad = context.WithCancel(context.Background())
	all, c.endAll = context.WithCancel(context.Background())
	for i := range crashPublishers {
		c.load.Go(func() { c.publish(load, i) })
	}
	for i := range crashSenders {
		c.load.Go(func() { c.send(load, i) })
	}
	for range 4 {
		c.all.Go(func() { c.drain(all, "orders", func(m message) { c.events.arrive(m.eventID(), m.MessageId, false) }) })
	}
	c.all.Go(func() {
		c.drain(all, "orders-dead", func(m message) { c.events.arrive(m.eventID(), m.MessageId, true) })
	})
	c.all.Go(func() { c.drain(all, "calls-dead", func(m message) { c.calls.arrive(m.eventID(), m.MessageId, true) }) })
	c.all.Go(func() { c.drain(all, "direct", func(m message) { c.messages.arrive(m.Body, m.MessageId, false) }) })
	t.Cleanup(func() {
		c.stopLoad()
		c.endAll()
		c.all.Wait()
	})
	return c
}

func (c *crash) stopLoad() {
	c.endLoad()
	c.load.Wait()
}

// killUnderLoad kills the server at a random moment once there was load, and
// starts it again; now and then it is also killed while it starts.
func (c *crash) killUnderLoad(t *testing.T) {
	events, messages := c.events.count(), c.messages.count()
	<-time.After(100*time.Millisecond + rand.N(700*time.Millisecond))
	eventually(t, "load on the server", func() bool {
		return c.events.count() >= events+50 && c.messages.count() >= messages+10
	})
	c.kill()
	if rand.N(3) == 0 {
		p, _ := launch(t, c.settings)
		<-time.After(rand.N(150 * time.Millisecond))
		p.kill()
	}
	c.restart(t)
}

// publish puts events, of which every twentieth goes to the endpoint.
func (c *crash) publish(ctx context.Context, client int) {
	for n := 0; ctx.Err() == nil; {
		entries := make([]entry, 5)
		for i := range entries {
			entries[i] = entry{"crash.test", "order", fmt.Sprintf(`{"client":%d,"n":%d,"text":"水曜 %s"}`, client, n, strings.Repeat("x", rand.N(800)))}
			if n%20 == 0 {
				entries[i].DetailType = "call"
			}
			n++
		}
		// Not under ctx: the end of the load must not make an acknowledged call look like one that was not.
		ids, err := c.client.put(context.Background(), entries)
		if err != nil {
			c.cut.Add(1)
		}
		for i, id := range ids {
			if entries[i].DetailType == "call" {
				c.calls.ack(id)
			} else {
				c.events.ack(id)
			}
		}
		pause(ctx, crashPause)
	}
}

func (c *crash) send(ctx context.Context, client int) {
	for n := 0; ctx.Err() == nil; n++ {
		body := fmt.Sprintf("%d/%d", client, n)
		err := c.client.call(context.Background(), "sqs", "SendMessage", map[string]any{"QueueUrl": queueURL("direct"), "MessageBody": body}, nil)
		if err != nil {
			c.cut.Add(1)
		} else {
			c.messages.ack(body)
		}
		pause(ctx, crashPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// drain receives and deletes messages.
func (c *crash) drain(ctx context.Context, queue string, arrived func(message)) {
	for ctx.Err() == nil {
		began := time.Now()
		messages, err := c.client.receive(ctx, queue)
		if err != nil || len(messages) == 0 {
			pause(ctx, time.Millisecond)
			continue
		}
		for _, m := range messages {
			if at, deleted := c.deleted.Load(m.MessageId); deleted && began.After(at.(time.Time)) {
				c.revived.Add(1)
			}
			arrived(m)
		}
		gone, err := c.client.remove(ctx, queue, messages)
		if err != nil {
			c.cut.Add(1)
		}
		for _, id := range gone {
			c.deleted.Store(id, time.Now())
		}
	}
}

// answer is the endpoint: it takes most events, puts some off and refuses a few
// for good.
func (c *crash) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.refused.Add(1)
		return // the server was killed while it called
	}
	switch n := rand.N(100); {
	case n < 2:
		c.refused.Add(1)
		w.WriteHeader(http.StatusBadRequest)
	case n < 12:
		c.refused.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	default:
		c.calls.arrive(message{Body: string(body)}.eventID(), fmt.Sprint("call at ", time.Now().UnixNano()), false)
	}
}

// awaitArrivals waits until nothing is missing.
func (c *crash) awaitArrivals(t *testing.T) {
	deadline := time.After(45 * time.Second)
	for _, y := range []*tally{&c.events, &c.calls, &c.messages} {
		for y.open() > 0 {
			select {
			case <-y.none:
			case <-deadline:
				t.Errorf("what was acknowledged has not arrived:\nevents:   %s\ncalls:    %s\nmessages: %s", &c.events, &c.calls, &c.messages)
				return
			}
		}
	}
}

func (c *crash) report(t *testing.T, rounds int) {
	t.Logf("after %d kills, which cut off %d calls; the endpoint refused %d times:", rounds, c.cut.Load(), c.refused.Load())
	t.Logf("events to a queue:     %s", &c.events)
	t.Logf("events to an endpoint: %s", &c.calls)
	t.Logf("SendMessage:           %s", &c.messages)
	if n := c.revived.Load(); n > 0 {
		t.Errorf("%d messages came back after their deletion was acknowledged", n)
	}
	if c.events.acked < 50*rounds || c.calls.acked == 0 || c.messages.acked < 10*rounds || c.cut.Load() == 0 {
		t.Errorf("there was too little load to show anything")
	}
}
