package intake

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// inQueue is how many messages a queue holds, those being received among them.
func (w *world) inQueue(client *sqs.Client, queueURL string) int {
	w.t.Helper()
	out, err := client.GetQueueAttributes(w.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &queueURL, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil {
		w.t.Fatal(err)
	}
	total := 0
	for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"} {
		var n int
		if _, err := fmt.Sscan(out.Attributes[name], &n); err != nil {
			w.t.Fatal(err)
		}
		total += n
	}
	return total
}

func TestAQueueIsEmptiedOntoTheBus(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, client, url := w.queueOf("events", Settings{}, nil)
		const events = 100
		for n := range events {
			body := eventBody(fmt.Sprint("e-", n), testAccount, testRegion, fmt.Sprintf(`{"n":%d,"text":"订单 🛒"}`, n))
			if n%2 == 0 { // as a topic sends it on
				wrapped, err := json.Marshal(map[string]string{"Type": "Notification", "MessageId": "m", "TopicArn": "arn:aws:sns:eu-west-1:111122223333:events", "Message": body})
				if err != nil {
					t.Fatal(err)
				}
				body = string(wrapped)
			}
			w.send(client, url, body)
		}
		w.send(client, url, eventBody("e-0", testAccount, testRegion, `{}`)) // once more
		w.run(w.i)
		w.run(w.node("b"))
		w.eventually("the queue is empty", func() bool { return w.inQueue(client, url) == 0 })
		seen := map[string]bool{}
		for _, rec := range w.records() {
			if seen[rec.ID] {
				t.Errorf("event %s came twice", rec.ID)
			}
			seen[rec.ID] = true
			if !strings.HasPrefix(string(rec.JSON), `{"version":"0","id":"`+rec.ID+`"`) || rec.Origin != "source events" {
				t.Errorf("%s as %s", rec.JSON, rec.Origin)
			}
		}
		if len(seen) != events {
			t.Errorf("%d events came, want %d", len(seen), events)
		}
		w.eventually("the counts", func() bool {
			a := w.activity(s)
			return a.Accepted+a.Duplicates == events+1 && a.Accepted >= events/2 && !a.PolledAt.IsZero() && a.FailedWhy == ""
		})
	})
}

func TestWhatIsRefusedOfAQueueIsKept(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, client, url := w.queueOf("events", Settings{}, nil)
		foreign := eventBody("foreign", "999999999999", testRegion, `{"名":"值"}`)
		w.send(client, url, "hello", foreign, eventBody("good", testAccount, testRegion, "{}"))
		w.run(w.i)
		w.eventually("the queue is empty", func() bool { return w.inQueue(client, url) == 0 })
		list, err := w.i.Refused(t.Context(), s, "", 10)
		if err != nil || len(list) != 2 {
			t.Fatalf("kept are %+v, %v", list, err)
		}
		byBody := map[string]RefusedMessage{}
		for _, m := range list {
			byBody[string(m.Body)] = m
		}
		if m := byBody["hello"]; !strings.Contains(m.Why, "not a whole EventBridge event") {
			t.Errorf("no event is kept as %+v", m)
		}
		m := byBody[foreign]
		if !strings.Contains(m.Why, "account 999999999999, which source events does not take") {
			t.Errorf("another account's event is kept as %+v", m)
		}
		if a := w.activity(s); a.Accepted != 1 || a.Refused != 2 || a.RefusedWhy == "" {
			t.Errorf("activity is %+v", a)
		}
		if err := w.i.Remove(t.Context(), s.Name); err == nil || !strings.Contains(err.Error(), "keeps 2 messages") {
			t.Errorf("a source that keeps messages was removed: %v", err)
		}
		if err := w.i.RetryRefused(t.Context(), s, m.ID); err == nil || !strings.Contains(err.Error(), "999999999999") {
			t.Errorf("tried again while it is not allowed: %v", err)
		}
		s, err = w.i.Update(t.Context(), s.Name, func(s *Source) error {
			s.Settings.Accounts = []string{testAccount, "999999999999"}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.i.RetryRefused(t.Context(), s, m.ID); err != nil {
			t.Errorf("tried again once it is allowed: %v", err)
		}
		recs := w.records()
		if last := recs[len(recs)-1]; last.ID != "foreign" || string(last.JSON) != foreign {
			t.Errorf("the last event is %s", last.JSON)
		}
		if err := w.i.DiscardRefused(t.Context(), s, byBody["hello"].ID); err != nil {
			t.Error(err)
		}
		if err := w.i.DiscardRefused(t.Context(), s, byBody["hello"].ID); err == nil {
			t.Error("discarded twice")
		}
		if err := w.i.Remove(t.Context(), s.Name); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatIsRefusedIsLeftToTheQueuesRedrivePolicy(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	client, err := w.i.o.Cloud.SQS(t.Context(), testAccount, testRegion)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("dead")}); err != nil {
		t.Fatal(err)
	}
	s, client, url := w.queueOf("events", Settings{}, map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead","maxReceiveCount":"1"}`,
	})
	w.send(client, url, "hello", eventBody("good", testAccount, testRegion, "{}"))
	w.run(w.i)
	w.eventually("both are judged", func() bool {
		a := w.activity(s)
		return a.Accepted == 1 && a.Refused == 1
	})
	w.eventually("the good one is deleted", func() bool { return w.inQueue(client, url) == 1 })
	if list, err := w.i.Refused(t.Context(), s, "", 10); err != nil || len(list) != 0 {
		t.Errorf("kept are %+v, %v", list, err)
	}
}

func TestAQueueThatDoesNotAnswerIsTriedAgain(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	s, client, url := w.queueOf("events", Settings{}, nil)
	w.trouble = func(operation string, rw http.ResponseWriter) bool {
		if operation != "ReceiveMessage" {
			return false
		}
		rw.Header().Set("Content-Type", "application/x-amz-json-1.0")
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = rw.Write([]byte(`{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"not today\u0000"}`))
		return true
	}
	w.run(w.i)
	w.eventually("the failure is shown", func() bool {
		a := w.activity(s)
		return strings.Contains(a.FailedWhy, "receive messages of queue arn:aws:sqs:eu-west-1:111122223333:events") && strings.Contains(a.FailedWhy, "not today") && !a.FailedAt.IsZero()
	})
	w.mu.Lock()
	w.trouble = nil
	w.mu.Unlock()
	w.send(client, url, eventBody("e", testAccount, testRegion, "{}"))
	w.eventually("the event came", func() bool { return len(w.records()) == 1 })
	w.eventually("it works again", func() bool { return w.activity(s).FailedAt.IsZero() })
}

// While a source fails, it is said since when.
func TestAFailureIsToldSinceItBegan(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s, _ := w.endpoint("a", Settings{})
		began := time.UnixMilli(1_800_000_000_000).UTC()
		for n, test := range []struct {
			after time.Duration
			err   error
			since time.Duration
		}{
			{0, errors.New("one"), 0}, {time.Minute, errors.New("two"), 0}, {2 * time.Minute, nil, -1}, {3 * time.Minute, errors.New("three"), 3 * time.Minute},
			{time.Minute, errors.New("the clock was set back"), time.Minute},
		} {
			w.i.o.Now = func() time.Time { return began.Add(test.after) }
			w.i.noteFailure(s, test.err)
			a := w.activity(s)
			if test.err == nil {
				if !a.FailedAt.IsZero() || a.FailedWhy != "" {
					t.Errorf("%d: failing since %s: %s", n, a.FailedAt, a.FailedWhy)
				}
				continue
			}
			if !a.FailedAt.Equal(began.Add(test.since)) || a.FailedWhy != test.err.Error() {
				t.Errorf("%d: failing since %s: %s", n, a.FailedAt, a.FailedWhy)
			}
		}
	})
}

// A source that could not keep a refused message works again once it can.
func TestASourceThatIsFullOfRefusedMessagesWorksAgain(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.i.invisible, w.i.pollWait = time.Second, time.Second
	s, client, url := w.queueOf("events", Settings{}, nil)
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $2)
			INSERT INTO intake_refused (source_id, message_id, body, why, refused_at) SELECT $1, 'm-' || i, x'00', 'why', 0 FROM n`, s.ID, maxRefused)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.run(w.i)
	w.send(client, url, "hello")
	w.eventually("it says that it is full", func() bool { return strings.Contains(w.activity(s).FailedWhy, "as many refused messages as it may") })
	if n := w.inQueue(client, url); n != 1 {
		t.Errorf("%d messages are in the queue, want the one that is not kept", n)
	}
	if err := w.i.DiscardRefused(t.Context(), s, "m-1"); err != nil {
		t.Fatal(err)
	}
	w.eventually("it is kept", func() bool { return w.inQueue(client, url) == 0 })
	w.eventually("it works", func() bool { return w.activity(s).FailedAt.IsZero() })
}

func TestPollingFollowsTheConfiguration(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	// SQS may give a message to a call that was hung up on.
	w.i.invisible = 2 * time.Second
	w.run(w.i)
	began := time.Now()
	s, client, url := w.queueOf("events", Settings{}, nil) // while it runs
	w.send(client, url, eventBody("1", testAccount, testRegion, "{}"))
	w.eventually("the event came", func() bool { return len(w.records()) == 1 })
	set := func(enabled bool) {
		t.Helper()
		if _, err := w.i.Update(t.Context(), s.ID, func(s *Source) error { s.Enabled = enabled; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(false)
	w.eventually("nobody polls", func() bool {
		var n int
		if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM lease WHERE name = $1`, "intake "+s.ID).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
	w.send(client, url, eventBody("2", testAccount, testRegion, "{}"))
	set(true)
	w.eventually("the next event came", func() bool { return len(w.records()) == 2 })
	if took := time.Since(began); took > refreshEvery-time.Second {
		t.Errorf("it took %s; changes should be followed at once", took)
	}
	if err := w.i.Remove(t.Context(), s.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := w.i.Source(t.Context(), s.Name); err == nil {
		t.Error("a removed source is still there")
	}
}

// What takes longer than messages are hidden for stays hidden: it is received once.
func TestMessagesStayHiddenWhileTheyAreTakenIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	w.i.invisible = 3 * time.Second
	s, client, url := w.queueOf("events", Settings{}, nil)
	w.send(client, url, eventBody("e", testAccount, testRegion, "{}"))
	w.i.pressure.at, w.i.pressure.held = time.Now().Add(time.Hour), true
	w.run(w.i)
	w.eventually("they were hidden for longer than once", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.calls["ChangeMessageVisibilityBatch"] >= 5
	})
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
	if err != nil || len(out.Messages) != 0 {
		t.Errorf("another received %+v, %v", out, err)
	}
	w.i.pressure.mu.Lock()
	w.i.pressure.at = time.Time{}
	w.i.pressure.mu.Unlock()
	w.eventually("it is accepted and deleted", func() bool { return w.inQueue(client, url) == 0 })
	if a := w.activity(s); a.Accepted != 1 || a.Duplicates != 0 || a.FailedWhy != "" {
		t.Errorf("activity is %+v", a)
	}
}

func TestMessagesStayOursWhileTheyCannotBeStored(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	s, client, url := w.queueOf("events", Settings{}, nil)
	w.send(client, url, eventBody("e", testAccount, testRegion, "{}"))
	w.i.pressure.at, w.i.pressure.held = time.Now().Add(time.Hour), true
	stop := w.run(w.i)
	w.eventually("the failure is shown", func() bool { return strings.Contains(w.activity(s).FailedWhy, "takes no events now") })
	if n := w.inQueue(client, url); n != 1 || len(w.records()) != 0 {
		t.Errorf("%d messages are in the queue and %d events in the outbox", n, len(w.records()))
	}
	stop()
	// Given back at once, not after its minute.
	out, err := client.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
	if err != nil || len(out.Messages) != 1 {
		t.Errorf("after a stop the queue gives %+v, %v", out, err)
	}
}

// A call that is never answered is given up, said to be, and made again.
func TestAQueueThatHangsIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, hanging := range []string{"ReceiveMessage", "GetQueueAttributes", "DeleteMessageBatch"} {
		t.Run(hanging, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, storetest.SQLite(t))
			w.i.invisible, w.i.pollWait, w.i.callTime = time.Second, time.Second, 200*time.Millisecond
			s, client, url := w.queueOf("events", Settings{}, nil)
			w.send(client, url, eventBody("e", testAccount, testRegion, "{}"))
			ends := make(chan struct{})
			t.Cleanup(func() { close(ends) })
			var hung atomic.Bool
			w.trouble = func(operation string, _ http.ResponseWriter) (answered bool) {
				if operation != hanging || hung.Swap(true) {
					return false
				}
				<-ends
				return true
			}
			w.run(w.i)
			w.eventually("the event came", func() bool { return len(w.records()) == 1 })
			w.eventually("it hung", hung.Load)
			w.eventually("the queue is empty", func() bool { return w.inQueue(client, url) == 0 })
			w.eventually("it works", func() bool { return w.activity(s).FailedAt.IsZero() })
			if n := len(w.records()); n != 1 {
				t.Errorf("%d events came, want 1", n)
			}
		})
	}
}

// A source goes where its account is now: here to another endpoint.
func TestPollingFollowsTheAccountsSettings(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, client, url := w.queueOf("events", Settings{}, nil)
	elsewhere := make(chan string, 1000)
	there := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		rw.Header().Set("Content-Type", "application/x-amz-json-1.0")
		switch operation {
		case "GetQueueAttributes":
			_, _ = rw.Write([]byte(`{"Attributes":{"ApproximateNumberOfMessages":"0"}}`))
		default:
			_, _ = rw.Write([]byte(`{}`))
		}
		select {
		case elsewhere <- operation:
		default:
		}
	}))
	t.Cleanup(there.Close)
	w.run(w.i)
	w.send(client, url, eventBody("1", testAccount, testRegion, "{}"))
	w.eventually("the first event came", func() bool { return len(w.records()) == 1 })
	if _, err := w.accounts.Put(t.Context(), cloud.Settings{AccountID: testAccount, AccessKeyID: "AKIAEXAMPLEEXAMPLE00", EndpointURL: there.URL}, "secret"); err != nil {
		t.Fatal(err)
	}
	w.send(client, url, eventBody("2", testAccount, testRegion, "{}")) // ends a call that waits
	w.eventually("it is polled elsewhere", func() bool {
		select {
		case operation := <-elsewhere:
			return operation == "ReceiveMessage"
		default:
			return false
		}
	})
}
