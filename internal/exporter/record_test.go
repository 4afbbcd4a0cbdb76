package exporter

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

func TestARecordBecomesAnEntityAndIsDeleted(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		w.run(w.x)
		k := thing("one")
		w.cloud.put(k, 1)
		w.send(q, body("one", "upsert", ""))
		w.eventually("the entity is there", func() bool { return w.entity("thing", "one") != nil })
		w.cloud.put(k, 2)
		w.send(q, body("one", "upsert", ""))
		w.eventually("the entity is changed", func() bool { return w.things()["one"] == 2.0 })
		w.cloud.remove(k)
		w.send(q, body("one", "delete", ""))
		w.eventually("the entity is gone", func() bool { return w.entity("thing", "one") == nil })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		if dead := w.dead(); len(dead) > 0 {
			t.Fatalf("dead records: %+v", dead)
		}
	})
}

func TestABadRecordDoesNotBlockAGoodOne(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		bad := map[string]string{
			`not json`: "JSON",
			`{"region": "\"eu-west-1\"", "identifier": "\"x\""}`:                              "resource_type",
			body("x", "explode", ""):                                                          "action",
			strings.Replace(body("x", "upsert", ""), testKind, "AWS::Test::Other", 1):         "AWS::Test::Other",
			strings.Replace(body("x", "upsert", ""), testRegion, "Ireland", 1):                "Ireland",
			body("x", "upsert", `, "account": "999999999999"`):                                "999999999999",
			body(strings.Repeat("x", maxIdentifier+1), "upsert", ""):                          "identifier",
			`{"resource_type": "AWS::Test::Thing", "region": "eu-west-1", "identifier": "]"}`: "re",
		}
		for text := range bad {
			w.send(q, text)
			w.cloud.put(thing("good-"+strconv.Itoa(len(w.cloud.resources))), 1)
		}
		for n := range len(bad) {
			w.send(q, body("good-"+strconv.Itoa(n), "upsert", ""))
		}
		w.run(w.x)
		w.eventually("the good ones are there", func() bool { return len(w.things()) == len(bad) })
		w.eventually("the bad ones are dead", func() bool { return len(w.dead()) == len(bad) })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		for _, d := range w.dead() {
			if says, ok := bad[string(d.Body)]; !ok || !strings.Contains(d.Reason, says) || d.QueueARN != q.ARN || d.Attempts != 1 {
				t.Errorf("dead record %+v, want %q in its reason", d, says)
			}
		}
	})
}

func TestFailedCallsChangeNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		k := thing("one")
		w.cloud.put(k, 1)
		w.apply([]Read{w.look(k)}, Created)
		w.cloud.remove(k)
		gets := w.cloud.reads()
		w.send(q, body("one", "delete", `, "errorCode": "AccessDenied"`))
		w.run(w.x)
		w.eventually("the record was dealt with", func() bool { return len(w.heard()) == 1 })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		if got := w.heard()[0]; got.Outcome != Ignored || w.cloud.reads() != gets {
			t.Errorf("it came to %+v, with %d reads", got, w.cloud.reads()-gets)
		}
		w.wantThings(map[string]any{"one": 1.0})
	})
}

func TestADeleteMayNameTheEntity(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		gone, kept := thing("arn:aws:test:eu-west-1:1:thing/x/gone|cluster"), thing("arn:aws:test:eu-west-1:1:thing/x/kept|cluster")
		for name, k := range map[string]Key{"entity-gone": gone, "entity-kept": kept} {
			w.cloud.set(k, map[string]any{"Name": name, "Size": 1.0})
			w.apply([]Read{w.look(k)}, Created)
		}
		w.cloud.remove(gone)
		w.run(w.x)
		w.send(q, body("entity-gone", "delete", ""))
		w.send(q, body("entity-kept", "delete", "")) // it was made again since
		w.eventually("the entity is gone", func() bool { return w.entity("thing", "entity-gone") == nil })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		w.wantThings(map[string]any{"entity-kept": 1.0})
		// By the short name of the identifier, too.
		w.cloud.remove(kept)
		w.send(q, body("kept", "delete", ""))
		w.eventually("the other is gone", func() bool { return len(w.things()) == 0 })
	})
}

func TestOneRecordMayNameManyResources(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		want := map[string]any{}
		var ids []string
		for n := range 30 {
			id := "r-" + strconv.Itoa(n)
			ids, want[id] = append(ids, id), float64(n)
			w.cloud.put(thing(id), float64(n))
		}
		list, _ := json.Marshal(ids)
		w.send(q, `{"resource_type": "AWS::Test::Thing", "region": "\"eu-west-1\"", "identifier": ".ids", "ids": `+string(list)+`}`)
		w.run(w.x)
		w.eventually("all are there", func() bool { return len(w.things()) == len(want) })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		w.wantThings(want)
	})
}

func TestRecordsThatWaitShareARead(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		k := thing("one")
		w.cloud.put(k, 1)
		begun, goOn := make(chan struct{}, 100), make(chan struct{})
		w.cloud.ended = func(Key) {
			begun <- struct{}{}
			<-goOn
		}
		w.run(w.x)
		w.send(q, body("one", "upsert", ""))
		<-begun // a read has its answer
		w.cloud.put(k, 2)
		for range 20 {
			w.send(q, body("one", "upsert", ""))
		}
		w.eventually("all have come", func() bool {
			w.x.waiting.mu.Lock()
			defer w.x.waiting.mu.Unlock()
			return len(w.x.waiting.keys[k]) == 21
		})
		close(goOn)
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
		w.wantThings(map[string]any{"one": 2.0})
		if n := w.cloud.reads(); n > 3 {
			t.Errorf("21 records took %d reads", n)
		}
	})
}

func TestAReadThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		k := thing("one")
		w.cloud.put(k, 1)
		w.cloud.fail(k, reader.Throttled)
		w.send(q, body("one", "upsert", ""))
		w.run(w.x)
		w.eventually("it was tried", func() bool { return w.cloud.reads() > 0 })
		if len(w.dead()) > 0 || w.left(q) != 1 {
			t.Fatalf("dead: %+v, left: %d", w.dead(), w.left(q))
		}
		w.cloud.heal(k)
		w.eventually("the entity is there", func() bool { return w.entity("thing", "one") != nil })
		w.eventually("the queue is empty", func() bool { return w.left(q) == 0 })
	})
}

func TestARecordThatCannotBeMappedDies(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		k := thing("one")
		w.cloud.set(k, map[string]any{"Size": 1.0})
		w.send(q, body("one", "upsert", ""))
		stop := w.run(w.x)
		w.eventually("it is dead", func() bool { return len(w.dead()) == 1 })
		d := w.dead()[0]
		if d.Attempts != permanentAttempts || d.Key != k || !strings.Contains(d.Reason, "identifier") || d.Source != sourceRecord {
			t.Errorf("the dead record is %+v", d)
		}
		stop() // followers are told once it is stored
		if told := w.heard(); len(told) != 1 || told[0].Outcome != Failed || told[0].Err == nil {
			t.Errorf("told: %+v", told)
		}
		// It is put back once what was wrong is mended.
		w.cloud.put(k, 5)
		w.call("POST", "/v1/exporter/records/"+d.ID+"/redrive", "{}", 204, nil)
		w.call("GET", "/v1/exporter/records/"+d.ID, "", 404, nil)
		if n := w.left(q); n != 1 {
			t.Fatalf("the queue holds %d", n)
		}
		w.run(w.x)
		w.eventually("the entity is there", func() bool { return w.things()["one"] == 5.0 })
	})
}

func TestARecordIsGivenUpBeforeItsQueueWould(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		for _, c := range []struct {
			name     string
			policy   policy
			attempts int
			age      time.Duration
			failure  failure
			want     bool
		}{
			{"a first failure", policy{retention: 4 * 24 * time.Hour}, 1, 0, failure{}, false},
			{"many within a day", policy{retention: 4 * 24 * time.Hour}, 50, 80000 * time.Second, failure{}, false},
			{"after a day", policy{retention: 4 * 24 * time.Hour}, 50, 90000 * time.Second, failure{}, true},
			{"a clock that jumped a day", policy{retention: 4 * 24 * time.Hour}, 2, 90000 * time.Second, failure{}, false},
			{"the last receive", policy{retention: 4 * 24 * time.Hour, maxReceives: 5}, 5, 0, failure{}, true},
			{"one before the last", policy{retention: 4 * 24 * time.Hour, maxReceives: 5}, 4, 0, failure{}, false},
			{"a queue that keeps for an hour", policy{retention: time.Hour}, 5, 2000 * time.Second, failure{}, false},
			{"a queue that is about to drop it", policy{retention: time.Hour}, 5, 3300 * time.Second, failure{}, true},
			{"not expected to help", policy{retention: time.Hour}, permanentAttempts, 0, failure{stubborn: true}, true},
		} {
			now := w.x.now()
			m := &message{p: &poller{x: w.x, policy: c.policy}, attempts: c.attempts, sentAt: now.Add(-c.age), firstAt: now.Add(-c.age)}
			if got := m.giveUp(&c.failure); got != c.want {
				t.Errorf("%s: given up: %v, want %v", c.name, got, c.want)
			}
		}
	})
}

func TestTheQueuesOwnDeadLettersAreKept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		dlq := "dead"
		if _, err := w.client().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &dlq}); err != nil {
			t.Fatal(err)
		}
		dead := "arn:aws:sqs:" + testRegion + ":" + testAccount + ":" + dlq
		redrive := map[string]string{"RedrivePolicy": `{"deadLetterTargetArn": "` + dead + `", "maxReceiveCount": 1}`}
		q := w.queue("events", redrive)
		// Somebody receives a record and dies: the queue gives it up at the next receive.
		w.send(q, body("one", "upsert", ""))
		_, err := w.client().ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &q.URL, VisibilityTimeout: 1})
		if err != nil {
			t.Fatal(err)
		}
		w.run(w.x)
		w.eventually("it is a dead record", func() bool { return len(w.dead()) == 1 })
		d := w.dead()[0]
		if d.Source != sourceDeadLetter || d.QueueARN != q.ARN || string(d.Body) != body("one", "upsert", "") || !strings.Contains(d.Reason, "1 times") {
			t.Errorf("the dead record is %+v", d)
		}
		ref, _ := parseQueue(dead)
		w.eventually("the dead-letter queue is empty", func() bool { return w.left(Queue{URL: ref.URL()}) == 0 })
		w.eventually("the queue knows it", func() bool {
			list, err := w.x.Queues(t.Context())
			return err == nil && len(list) == 1 && list[0].DeadLetterARN == dead
		})
		w.cloud.put(thing("one"), 1)
		var out struct {
			Done, Failed int
			After        *string
		}
		w.call("POST", "/v1/exporter/records/redrive", `{"queue": "`+q.ARN+`"}`, 200, &out)
		if out.Done != 1 || out.Failed != 0 || out.After != nil {
			t.Errorf("redriven: %+v", out)
		}
		w.eventually("the entity is there", func() bool { return w.entity("thing", "one") != nil })
	})
}

func TestAQueueThatCannotBeReadIsShownAndWaitedFor(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q, err := w.x.PutQueue(t.Context(), "arn:aws:sqs:"+testRegion+":"+testAccount+":absent", testAccount, "")
		if err != nil {
			t.Fatal(err)
		}
		status := func() Queue {
			list, err := w.x.Queues(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("queues: %+v, %v", list, err)
			}
			return list[0]
		}
		w.run(w.x)
		w.eventually("it is noted", func() bool { s := status(); return s.FailedWhy != "" && !s.FailedAt.IsZero() })
		name := "absent"
		if _, err := w.client().CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name}); err != nil {
			t.Fatal(err)
		}
		w.cloud.put(thing("one"), 1)
		w.send(q, body("one", "upsert", ""))
		w.eventually("the entity is there", func() bool { return w.entity("thing", "one") != nil })
		w.eventually("it works", func() bool { s := status(); return s.FailedWhy == "" && !s.PolledAt.IsZero() })
	})
}

func TestAnAccountThatIsNotEnabledIsNotRead(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		account := Account{Account: testAccount, HomeRegion: testRegion}
		if _, err := w.x.PutAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		w.cloud.put(thing("one"), 1)
		w.send(q, body("one", "upsert", ""))
		stop := w.run(w.x)
		stop()
		if w.left(q) != 1 || w.cloud.reads() != 0 {
			t.Errorf("%d records are left, %d reads", w.left(q), w.cloud.reads())
		}
		w.run(w.x)
		account.Enabled = true
		if _, err := w.x.PutAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		w.eventually("the entity is there", func() bool { return w.entity("thing", "one") != nil })
	})
}

// TestABurstSurvivesAnyStop: nodes come and go while records arrive and full syncs run,
// and SQS fails now and then. In the end all is as in the cloud, and no record is left.
func TestABurstSurvivesAnyStop(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		var calls atomic.Int64
		w.mu.Lock()
		w.trouble = func(operation string, rw http.ResponseWriter) bool {
			if n := calls.Add(1); operation == "DeleteMessageBatch" && n%5 == 0 {
				rw.WriteHeader(http.StatusBadRequest)
				return true
			}
			return false
		}
		w.mu.Unlock()
		want := map[string]any{}
		stop := w.run(w.x)
		for n := range 300 {
			id := "r-" + strconv.Itoa(n%60)
			k := thing(id)
			switch {
			case n%7 == 3:
				w.cloud.remove(k)
				delete(want, id)
				w.send(q, body(id, "delete", ""))
			default:
				w.cloud.put(k, float64(n))
				want[id] = float64(n)
				w.send(q, body(id, "upsert", ""))
			}
			if n%60 == 30 {
				// One that runs already is as good.
				_, _ = w.x.RunSync(t.Context(), NewSync{})
			}
			if n%75 == 50 {
				stop() // as it is in the middle of it
				stop = w.run(w.node("node-" + strconv.Itoa(n)))
			}
		}
		w.eventually("all syncs are over", func() bool {
			runs, err := w.x.SyncRuns(t.Context(), 100)
			return err == nil && !slices.ContainsFunc(runs, func(r SyncRun) bool { return r.FinishedAt.IsZero() })
		})
		// Messages whose answer was on its way to a node as it stopped are hidden for a while.
		w.within(2*invisibleFor, "all is as in the cloud", func() bool { return maps.Equal(w.things(), want) })
		w.mu.Lock()
		w.trouble = nil
		w.mu.Unlock()
		if dead := w.dead(); len(dead) > 0 {
			t.Errorf("dead records: %+v", dead)
		}
	})
}

func TestDeadRecordsAreBounded(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		large := strings.Repeat("火", maxListedBody/3+10)
		keep := func(n int, body string) error {
			return w.db.Update(t.Context(), func(tx *store.Tx) error {
				var list []DeadRecord
				for i := range n {
					list = append(list, DeadRecord{ID: newDeadID(), QueueARN: "q", MessageID: strconv.Itoa(n) + "-" + strconv.Itoa(i), Body: []byte(body), DeadAt: w.now()})
				}
				return keepDead(t.Context(), tx, list)
			})
		}
		if err := keep(2, large); err != nil {
			t.Fatal(err)
		}
		if err := keep(2, large); err != nil { // the same once more
			t.Fatal(err)
		}
		var got struct {
			List []struct {
				ID    string
				Body  string
				Bytes int `json:"body_bytes"`
			}
		}
		w.call("GET", "/v1/exporter/records", "", 200, &got)
		if len(got.List) != 2 || got.List[0].Bytes != len(large) || !strings.HasPrefix(large, got.List[0].Body) || len(got.List[0].Body) < maxListedBody-4 {
			t.Errorf("the list has %d records, the first of %d bytes: %.20q", len(got.List), got.List[0].Bytes, got.List[0].Body)
		}
		var whole struct{ Body string }
		w.call("GET", "/v1/exporter/records/"+got.List[0].ID, "", 200, &whole)
		if whole.Body != large {
			t.Errorf("the record has a body of %d bytes", len(whole.Body))
		}
		total := func() (records, bytes int64) {
			if err := w.db.QueryRow(t.Context(), `SELECT records, bytes FROM exporter_dead_total`).Scan(&records, &bytes); err != nil {
				t.Fatal(err)
			}
			return records, bytes
		}
		if n, bytes := total(); n != 2 || bytes != int64(2*len(large)) {
			t.Errorf("%d records of %d bytes are counted", n, bytes)
		}
		if err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, _, err := addDead(t.Context(), tx, maxDead-3, 0)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := keep(5, "x"); !errors.Is(err, errDeadFull) {
			t.Errorf("more are kept than may be: %v", err)
		}
		for _, r := range got.List {
			w.call("DELETE", "/v1/exporter/records/"+r.ID, "", 204, nil)
		}
		if n, bytes := total(); n != maxDead-3 || bytes != 0 {
			t.Errorf("%d records of %d bytes are counted", n, bytes)
		}
	})
}

func TestOneThatCannotBeRedrivenDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		q := w.queue("events", nil)
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			var list []DeadRecord
			for i, arn := range []string{"arn:aws:sqs:eu-west-1:123456789012:absent", q.ARN, q.ARN} {
				list = append(list, DeadRecord{ID: newDeadID(), QueueARN: arn, MessageID: strconv.Itoa(i), Body: []byte("x"), DeadAt: w.now()})
			}
			return keepDead(t.Context(), tx, list)
		})
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Done, Failed int
			Error        string
		}
		w.call("POST", "/v1/exporter/records/redrive", "{}", 200, &out)
		if out.Done != 2 || out.Failed != 1 || !strings.Contains(out.Error, "absent") || w.left(q) != 2 {
			t.Errorf("redriven: %+v", out)
		}
		w.call("POST", "/v1/exporter/records/redrive", `{"after": "x"}`, 400, nil)
		w.call("POST", "/v1/exporter/records/delete", `{"kind": "AWS::Other::Kind"}`, 200, &out)
		if out.Done != 0 || len(w.dead()) != 1 {
			t.Errorf("deleted: %+v, left: %+v", out, w.dead())
		}
		w.call("POST", "/v1/exporter/records/delete", `{}`, 200, &out)
		if out.Done != 1 || len(w.dead()) != 0 {
			t.Errorf("deleted: %+v, left: %+v", out, w.dead())
		}
	})
}
