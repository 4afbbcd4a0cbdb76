package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"
)

const defaultBusARN = "arn:aws:events:" + testRegion + ":" + testAccount + ":event-bus/default"

// createArchive makes an archive of the default bus's events but those of API calls.
func (c *awsClient) createArchive(t *testing.T, name string) {
	t.Helper()
	c.must(t, "events", "CreateArchive", map[string]any{"ArchiveName": name, "EventSourceArn": defaultBusARN, "EventPattern": `{"detail-type":[{"anything-but":"AWS API Call via CloudTrail"}]}`})
}

// awaitArchived waits until an archive holds as many events.
func (c *awsClient) awaitArchived(t *testing.T, name string, events int) {
	t.Helper()
	awaitThat(t, fmt.Sprintf("archive %s holds %d events", name, events), func() bool {
		return c.must(t, "events", "DescribeArchive", map[string]any{"ArchiveName": name})["EventCount"] == float64(events)
	})
}

func (c *awsClient) startReplay(t *testing.T, name, archive string) {
	t.Helper()
	c.must(t, "events", "StartReplay", map[string]any{
		"ReplayName": name, "EventSourceArn": "arn:aws:events:" + testRegion + ":" + testAccount + ":archive/" + archive,
		"EventStartTime": 0, "EventEndTime": time.Now().Add(time.Hour).Unix(), "Destination": map[string]string{"Arn": defaultBusARN},
	})
}

func awaitThat(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !done(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// replayShown is how far a replay is.
type replayShown struct {
	State           string
	Replayed, Total int
}

func (p *serverProcess) replay(t *testing.T, name string) (r replayShown) {
	t.Helper()
	resp, err := http.Get(p.url + "/v1/replays/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status, err)
	}
	return r
}

// A replay whose server is killed goes on where it was: each event arrives, and
// what arrives twice has one id.
func TestAReplayOutlivesItsServer(t *testing.T) {
	t.Parallel()
	const events = 4000
	dir := t.TempDir()
	p := startProcess(t, serverSettings{DataDir: dir})
	c := p.client()
	c.createArchive(t, "all")
	entries := make([]entry, 10)
	for n := 0; n < events; n += len(entries) {
		for i := range entries {
			entries[i] = entry{"订单.test", "order 🛒", fmt.Sprintf(`{"n":%d,"名":"张三"}`, n+i)}
		}
		if _, err := c.put(t.Context(), entries); err != nil {
			t.Fatal(err)
		}
	}
	c.awaitArchived(t, "all", events)
	c.createQueue(t, "orders", 60)
	c.createRule(t, "orders", "order 🛒", queueARN("orders"), "orders")
	c.startReplay(t, "again", "all")
	awaitThat(t, "the replay is under way", func() bool { return p.replay(t, "again").Replayed > 0 })
	p.kill()

	p = startProcess(t, serverSettings{DataDir: dir})
	c = p.client()
	if r := p.replay(t, "again"); r.State != "RUNNING" || r.Replayed == 0 || r.Replayed >= events || r.Total != events {
		t.Errorf("after the kill the replay is %+v", r)
	}
	var mu sync.Mutex
	ids := map[int]string{}
	got := newArrivals()
	var expected []string
	for n := range events {
		expected = append(expected, fmt.Sprint(n))
	}
	got.expect(expected)
	twice := 0
	got.check = func(m message) {
		var e struct {
			ID         string
			ReplayName string `json:"replay-name"`
			Detail     struct{ N int }
		}
		if err := json.Unmarshal([]byte(m.Body), &e); err != nil || e.ReplayName != "" && e.ReplayName != "again" {
			t.Errorf("arrived: %s, %v", m.Body, err)
		}
		if e.ReplayName == "" {
			return // the event itself was under way to its archive at the kill, and is routed again
		}
		mu.Lock()
		defer mu.Unlock()
		if id, ok := ids[e.Detail.N]; ok {
			if twice++; id != e.ID {
				t.Errorf("event %d came as %s and as %s", e.Detail.N, id, e.ID)
			}
		}
		ids[e.Detail.N] = e.ID
		got.arrive(fmt.Sprint(e.Detail.N))
	}
	stop := got.watch(t, c, "orders")
	awaitThat(t, "the replay has ended", func() bool { return p.replay(t, "again").State == "COMPLETED" })
	got.await(t, 30*time.Second)
	stop()
	if r := p.replay(t, "again"); r.Replayed != events {
		t.Errorf("it ended as %+v", r)
	}
	c.awaitArchived(t, "all", events) // nothing of it was archived again
	t.Logf("%d of %d events came twice", twice, events)
}
