package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// A server that is stopped while it is called, as SIGTERM does, ends well; what
// it acknowledged is there after the next start.
func TestAStopUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	for name, engines := range map[string]func(*testing.T, *Config){
		"SQLite": func(*testing.T, *Config) {},
		"PostgreSQL and NATS": func(t *testing.T, c *Config) {
			c.Database, c.NATS, c.EventLogReplicas = storetest.PostgresURL(t), startNATS(t), 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewConfig()
			c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
			engines(t, &c)
			stopUnderLoad(t, c)
		})
	}
}

func stopUnderLoad(t *testing.T, c Config) {
	const rounds, perRound = 2, 300
	queued, called, sent := newArrivals(), newArrivals(), newArrivals()
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e arrivedEvent
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("the endpoint got no event: %v", err)
		}
		called.arrive(e.ID)
	}))
	defer endpoint.Close()

	s := startServerAt(t, c, time.Now)
	client := newAWSClient(func(context.Context) (string, error) { return s.LocalURL(), nil })
	for _, queue := range []string{"orders", "direct", "dead"} {
		client.createQueue(t, queue, 60)
	}
	client.createRule(t, "orders", "order", queueARN("orders"), "dead")
	client.createRule(t, "calls", "order", client.createDestination(t, "endpoint", endpoint.URL, 300), "dead")
	for range rounds {
		enough := make(chan struct{}, 100)
		var load sync.WaitGroup
		for p := range 3 {
			load.Go(func() {
				for n := 0; ; n++ {
					ids, err := client.put(t.Context(), []entry{{"stop.test", "order", "{}"}, {"stop.test", "order", "{}"}})
					if err != nil {
						return // the server is gone
					}
					queued.expect(ids)
					called.expect(ids)
					body := fmt.Sprintf(`{"id":"message-%d-%d-%s"}`, p, n, ids[0])
					if client.call(t.Context(), "sqs", "SendMessage", map[string]string{"QueueUrl": queueURL("direct"), "MessageBody": body}, nil) != nil {
						return
					}
					sent.expect([]string{message{Body: body}.eventID()})
					if n == perRound/6 {
						enough <- struct{}{}
					}
					if n >= perRound/6 {
						// Calls are taken for as long as the stop drains; the endpoint
						// takes no more than 300 events a second.
						pause(t.Context(), 20*time.Millisecond)
					}
				}
			})
		}
		<-enough
		s.stop()
		load.Wait()
		s = startServerAt(t, c, time.Now)
	}
	defer queued.watch(t, client, "orders")()
	defer sent.watch(t, client, "direct")()
	queued.await(t, patience)
	sent.await(t, patience)
	called.await(t, patience)
	if dead, err := client.receive(t.Context(), "dead"); err != nil || len(dead) > 0 {
		t.Errorf("there are dead letters: %v, %v", dead, err)
	}
	t.Logf("%d events and %d messages were acknowledged and arrived", queued.expected, sent.expected)
}
