package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// A change that is there was told of, and no success was told of a change that is not there,
// whenever the server is killed.
func TestTheTrailIsTrueThoughTheServerIsKilled(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { testKilledTrail(t, serverSettings{DataDir: t.TempDir()}) })
	t.Run("postgres", func(t *testing.T) {
		c := NewConfig()
		c.Listen, c.DataDir, c.Database, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), storetest.PostgresURL(t), 64<<20
		testKilledTrail(t, serverSettings{DataDir: c.DataDir, Config: &c})
	})
}

const trailKills = 3

func testKilledTrail(t *testing.T, settings serverSettings) {
	t.Parallel()
	p := startProcess(t, settings)
	c := p.client()
	c.createQueue(t, "calls", 600)
	c.must(t, "events", "PutRule", map[string]any{
		"Name": "trail", "EventPattern": `{"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventName":["CreateQueue","DeleteQueue","PutRule"]}}`,
	})
	c.must(t, "events", "PutTargets", map[string]any{"Rule": "trail", "Targets": []map[string]string{{"Id": "calls", "Arn": queueARN("calls")}}})
	var n, cut atomic.Int64
	for range trailKills {
		done := make(chan struct{})
		var answered atomic.Int64
		var enough sync.Once
		var load sync.WaitGroup
		for range 6 {
			load.Go(func() {
				for callOnce(c, n.Add(1)) {
					if answered.Add(1) == 60 {
						enough.Do(func() { close(done) })
					}
				}
				cut.Add(1)
			})
		}
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Error("the server answered few calls")
		}
		p.kill()
		load.Wait()
		p = startProcess(t, settings)
		c = p.client()
	}
	last := fmt.Sprint("last-", n.Load())
	c.must(t, "events", "PutRule", map[string]any{"Name": last, "EventPattern": `{"source":["nobody"]}`})

	told := newTold(c)
	told.made["queue calls"], told.made["rule trail"] = true, true
	there := map[string]bool{}
	for _, url := range listed(t, c, "sqs", "ListQueues", "QueueUrls") {
		there["queue "+url[strings.LastIndexByte(url, '/')+1:]] = true
	}
	for _, name := range listed(t, c, "events", "ListRules", "Rules") {
		there["rule "+name] = true
	}
	told.await(t, func() bool {
		for name := range there {
			if !told.made[name] {
				return false
			}
		}
		return told.made["rule "+last]
	}, there)
	told.drain(t) // what was made and deleted again

	for name := range told.made {
		if !there[name] && !told.deleted[name] {
			t.Errorf("%s is told of as made, and is not there", name)
		}
	}
	for name := range told.deleted {
		if there[name] {
			t.Errorf("%s is told of as deleted, and is there", name)
		}
		if !told.made[name] {
			t.Errorf("%s is told of as deleted, and not as made", name)
		}
	}
	if cut.Load() == 0 || len(told.refused) == 0 || len(told.deleted) == 0 || len(there) < 60 {
		t.Errorf("too little happened: %d calls cut off, %d refused, %d deleted, %d there", cut.Load(), len(told.refused), len(told.deleted), len(there))
	}
	t.Logf("%d calls, %d cut off by %d kills; %d queues and rules are there, %d were deleted, %d refused",
		n.Load(), cut.Load(), trailKills, len(there), len(told.deleted), len(told.refused))
}

// callOnce makes one of the calls of the load, or two, and says whether the server answered.
func callOnce(c *awsClient, n int64) bool {
	name := fmt.Sprint("n", n)
	calls := []struct {
		service, operation string
		in                 map[string]any
	}{{"sqs", "CreateQueue", map[string]any{"QueueName": name}}}
	switch n % 4 {
	case 1:
		calls = append(calls, calls[0])
		calls[1].operation, calls[1].in = "DeleteQueue", map[string]any{"QueueUrl": queueURL(name)}
	case 2: // refused: it exists with other attributes
		calls = append(calls, calls[0])
		calls[1].in = map[string]any{"QueueName": name, "Attributes": map[string]string{"VisibilityTimeout": "7"}}
	case 3:
		calls[0].service, calls[0].operation = "events", "PutRule"
		calls[0].in = map[string]any{"Name": name, "EventPattern": `{"source":["nobody"]}`}
	}
	for _, call := range calls {
		err := c.call(context.Background(), call.service, call.operation, call.in, nil)
		if _, answered := err.(*refusal); err != nil && !answered {
			return false
		}
	}
	return true
}

// listed are the names or URLs that a listing has.
func listed(t *testing.T, c *awsClient, service, operation, member string) (all []string) {
	t.Helper()
	next := ""
	for {
		in := map[string]any{"MaxResults": 1000}
		if service == "events" {
			in = map[string]any{"Limit": 100}
		}
		if next != "" {
			in["NextToken"] = next
		}
		out := c.must(t, service, operation, in)
		items, _ := out[member].([]any)
		for _, item := range items {
			switch item := item.(type) {
			case string:
				all = append(all, item)
			case map[string]any:
				all = append(all, item["Name"].(string))
			}
		}
		if next, _ = out["NextToken"].(string); next == "" {
			return all
		}
	}
}

// told is what the events of calls have told.
type told struct {
	c             *awsClient
	made, deleted map[string]bool
	refused       map[string]bool // by event id: after a kill some come twice
}

func newTold(c *awsClient) *told {
	return &told{c: c, made: map[string]bool{}, deleted: map[string]bool{}, refused: map[string]bool{}}
}

// await takes events until enough says so.
func (k *told) await(t *testing.T, enough func() bool, there map[string]bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !enough(); {
		k.take(t)
		if time.Now().After(deadline) {
			for name := range there {
				if !k.made[name] {
					t.Errorf("%s is there, and nothing told of it", name)
				}
			}
			t.Fatal("the events of some changes do not come")
		}
	}
}

// drain takes events until none comes for a second.
func (k *told) drain(t *testing.T) {
	t.Helper()
	for k.take(t) > 0 {
	}
}

func (k *told) take(t *testing.T) int {
	t.Helper()
	messages, err := k.c.receive(t.Context(), "calls")
	if err != nil {
		t.Fatal(err)
	}
	if len(messages) == 0 {
		return 0
	}
	for _, m := range messages {
		var e struct {
			Detail struct {
				EventName, ErrorCode string
				RequestParameters    struct{ QueueName, QueueURL, Name string }
			}
		}
		if err := json.Unmarshal([]byte(m.Body), &e); err != nil {
			t.Fatalf("%s: %v", m.Body, err)
		}
		d := e.Detail
		switch {
		case d.ErrorCode == "QueueNameExists":
			k.refused[m.eventID()] = true
		case d.ErrorCode != "":
			t.Errorf("a call was refused: %s", m.Body)
		case d.EventName == "CreateQueue":
			k.made["queue "+d.RequestParameters.QueueName] = true
		case d.EventName == "DeleteQueue":
			url := d.RequestParameters.QueueURL
			k.deleted["queue "+url[strings.LastIndexByte(url, '/')+1:]] = true
		case d.EventName == "PutRule":
			k.made["rule "+d.RequestParameters.Name] = true
		}
	}
	if _, err := k.c.remove(t.Context(), "calls", messages); err != nil {
		t.Fatal(err)
	}
	return len(messages)
}
