package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "eu-west-1"
)

// clock is a clock that stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fixture is a set of queues whose clock the test moves.
type fixture struct {
	*Queues
	t     testing.TB
	ctx   context.Context
	clock *clock
}

func newFixture(t testing.TB, db *store.DB) *fixture {
	c := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	q := New(db, Options{BaseURL: func() string { return "http://127.0.0.1:7425" }, Now: c.Now})
	return &fixture{Queues: q, t: t, ctx: as(t.Context(), account), clock: c}
}

// as is a context of a caller of the account.
func as(ctx context.Context, account string) context.Context {
	return awsapi.WithCaller(ctx, awsapi.Caller{Account: account, Region: region, Role: "admin"})
}

// onBoth runs the test with queues on both databases.
func onBoth(t *testing.T, f func(t *testing.T, q *fixture)) {
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newFixture(t, db)) })
}

func (q *fixture) create(name string, attrs map[string]string) (url string) {
	q.t.Helper()
	if strings.HasSuffix(name, ".fifo") {
		if attrs == nil {
			attrs = map[string]string{}
		}
		attrs["FifoQueue"] = "true"
	}
	out, err := q.CreateQueue(q.ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
	if err != nil {
		q.t.Fatalf("create %s: %v", name, err)
	}
	return *out.QueueUrl
}

func (q *fixture) send(url, body string) *sqs.SendMessageOutput {
	q.t.Helper()
	out, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
	if err != nil {
		q.t.Fatalf("send %q: %v", body, err)
	}
	return out
}

func (q *fixture) sendGroup(url, group, body string) *sqs.SendMessageOutput {
	q.t.Helper()
	out, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &body})
	if err != nil {
		q.t.Fatalf("send %q: %v", body, err)
	}
	return out
}

// receive receives up to ten messages with all their attributes.
func (q *fixture) receive(url string) []sqs.Message {
	q.t.Helper()
	return q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: new(int32(10))})
}

func (q *fixture) receiveWith(in *sqs.ReceiveMessageInput) []sqs.Message {
	q.t.Helper()
	in.MessageSystemAttributeNames = []string{"All"}
	in.MessageAttributeNames = []string{"All"}
	out, err := q.ReceiveMessage(q.ctx, in)
	if err != nil {
		q.t.Fatalf("receive: %v", err)
	}
	return out.Messages
}

func (q *fixture) delete(url string, m sqs.Message) error {
	_, err := q.DeleteMessage(q.ctx, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle})
	return err
}

func (q *fixture) visibility(url string, m sqs.Message, secs int32) error {
	_, err := q.ChangeMessageVisibility(q.ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: &secs})
	return err
}

func (q *fixture) attributes(url string) map[string]string {
	q.t.Helper()
	out, err := q.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []string{"All"}})
	if err != nil {
		q.t.Fatalf("get attributes: %v", err)
	}
	return out.Attributes
}

func bodies(list []sqs.Message) []string {
	var all []string
	for _, m := range list {
		all = append(all, *m.Body)
	}
	return all
}

func (q *fixture) wantBodies(got []sqs.Message, want ...string) {
	q.t.Helper()
	if !slices.Equal(bodies(got), want) {
		q.t.Fatalf("received %q, want %q", bodies(got), want)
	}
}

// wantError checks an error's code and that its message holds some text.
func wantError(t testing.TB, err error, code, message string) {
	t.Helper()
	var e *awsapi.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want %s", err, code)
	}
	if e.Code != code || !strings.Contains(e.Message, message) {
		t.Fatalf("error %s: %s; want %s: …%s…", e.Code, e.Message, code, message)
	}
}

func TestMessageIsSentReceivedAndDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		if want := "http://127.0.0.1:7425/111122223333/orders"; url != want {
			t.Fatalf("URL %s, want %s", url, want)
		}
		sent := q.send(url, "你好 👋")
		got := q.receive(url)
		q.wantBodies(got, "你好 👋")
		m := got[0]
		if *m.MessageId != *sent.MessageId || *m.MD5OfBody != *sent.MD5OfMessageBody {
			t.Errorf("received %+v, sent %+v", m, sent)
		}
		if m.Attributes["ApproximateReceiveCount"] != "1" || m.Attributes["SenderId"] != account ||
			m.Attributes["SentTimestamp"] != "1777636800000" || m.Attributes["ApproximateFirstReceiveTimestamp"] != "1777636800000" {
			t.Errorf("attributes %v", m.Attributes)
		}
		q.wantBodies(q.receive(url)) // it is in flight
		if err := q.delete(url, m); err != nil {
			t.Fatal(err)
		}
		q.clock.advance(time.Hour)
		q.wantBodies(q.receive(url))
		if err := q.delete(url, m); err != nil {
			t.Errorf("deleting again: %v", err)
		}
	})
}

func TestMessageComesBackAfterItsVisibilityTimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", map[string]string{"VisibilityTimeout": "5"})
		q.send(url, "a")
		first := q.receive(url)[0]
		q.clock.advance(4999 * time.Millisecond)
		q.wantBodies(q.receive(url))
		q.clock.advance(time.Millisecond)
		second := q.receive(url)
		q.wantBodies(second, "a")
		if second[0].Attributes["ApproximateReceiveCount"] != "2" {
			t.Errorf("attributes %v", second[0].Attributes)
		}
		if err := q.delete(url, first); err != nil {
			t.Errorf("delete with an old handle: %v", err)
		}
		q.clock.advance(5 * time.Second)
		third := q.receive(url)
		q.wantBodies(third, "a") // the old handle did nothing
		q.clock.advance(5 * time.Second)
		if err := q.delete(url, third[0]); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receive(url)) // the latest handle deletes, even late
	})
}

func TestDelay(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", map[string]string{"DelaySeconds": "10"})
		q.send(url, "queue's")
		if _, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("own"), DelaySeconds: new(int32(0))}); err != nil {
			t.Fatal(err)
		}
		if a := q.attributes(url); a["ApproximateNumberOfMessages"] != "1" || a["ApproximateNumberOfMessagesDelayed"] != "1" {
			t.Errorf("attributes %v", a)
		}
		q.wantBodies(q.receive(url), "own")
		if a := q.attributes(url); a["ApproximateNumberOfMessagesNotVisible"] != "1" {
			t.Errorf("attributes %v", a)
		}
		q.clock.advance(10 * time.Second)
		q.wantBodies(q.receive(url), "queue's")
	})
}

func TestChangeVisibility(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		q.send(url, "a")
		m := q.receive(url)[0]
		if err := q.visibility(url, m, 60); err != nil {
			t.Fatal(err)
		}
		q.clock.advance(59 * time.Second)
		q.wantBodies(q.receive(url))
		if err := q.visibility(url, m, 0); err != nil {
			t.Fatal(err)
		}
		wantError(t, q.visibility(url, m, 5), "MessageNotInflight", "isn't in flight")
		again := q.receive(url)
		q.wantBodies(again, "a")
		wantError(t, q.visibility(url, m, 5), "InvalidParameterValue", "not available for visibility timeout change")
		wantError(t, q.visibility(url, again[0], 43201), "InvalidParameterValue", "between 0 and 43200")
		q.clock.advance(time.Second)
		wantError(t, q.visibility(url, again[0], 43200), "InvalidParameterValue", "beyond the limit [43200 seconds]")
		wantError(t, q.visibility(url, sqs.Message{ReceiptHandle: new("nonsense")}, 5), "ReceiptHandleIsInvalid", `"nonsense" is not a valid`)
	})
}

func TestLongPollIsWokenBySend(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		got := make(chan []sqs.Message)
		const pollers = 3
		for range pollers {
			go func() {
				got <- q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: new(int32(20))})
			}()
		}
		for _, body := range []string{"a", "b", "c"} {
			q.send(url, body)
		}
		var all []string
		for range pollers {
			all = append(all, bodies(<-got)...)
		}
		slices.Sort(all)
		if !slices.Equal(all, []string{"a", "b", "c"}) {
			t.Errorf("received %q", all)
		}
	})
}

func TestLongPollEndsWithItsContext(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", map[string]string{"ReceiveMessageWaitTimeSeconds": "20"})
		ctx, cancel := context.WithTimeout(q.ctx, 10*time.Millisecond)
		defer cancel()
		out, err := q.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url})
		if err == nil && len(out.Messages) > 0 {
			t.Errorf("received %v", out.Messages)
		}
	})
}

func TestLongPollSeesMessagesComeDue(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		q := newFixture(t, db)
		q.opt.Now = time.Now
		url := q.create("orders", nil)
		q.send(url, "a")
		m := q.receive(url)[0]
		if err := q.visibility(url, m, 1); err != nil {
			t.Fatal(err)
		}
		q.wantBodies(q.receiveWith(&sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: new(int32(20))}), "a")
	})
}

func TestPurge(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		q.send(url, "in flight")
		m := q.receive(url)[0]
		q.send(url, "waiting")
		purge := func() error {
			_, err := q.PurgeQueue(q.ctx, &sqs.PurgeQueueInput{QueueUrl: &url})
			return err
		}
		if err := purge(); err != nil {
			t.Fatal(err)
		}
		wantError(t, purge(), "PurgeQueueInProgress", "Only one PurgeQueue operation on orders is allowed every 60 seconds.")
		if err := q.delete(url, m); err != nil {
			t.Error(err)
		}
		q.send(url, "new")
		q.clock.advance(time.Minute)
		q.wantBodies(q.receive(url), "new")
		if err := purge(); err != nil {
			t.Error(err)
		}
		q.clock.advance(keepContents)
		if err := q.sweep(q.ctx); err != nil {
			t.Fatal(err)
		}
		q.wantRows("queue_message", 0)
		q.wantRows("queue_contents", 1)
	})
}

func (q *fixture) wantRows(table string, want int) {
	q.t.Helper()
	var n int
	if err := q.db.QueryRow(q.ctx, `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
		q.t.Fatal(err)
	}
	if n != want {
		q.t.Errorf("%s has %d rows, want %d", table, n, want)
	}
}

func TestDeletedQueueIsGoneWithItsMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders.fifo", nil)
		q.sendGroup(url, "g", "a")
		if _, err := q.DeleteQueue(q.ctx, &sqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
			t.Fatal(err)
		}
		_, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("b")})
		wantError(t, err, "QueueDoesNotExist", "does not exist")
		url = q.create("orders.fifo", nil)
		q.wantBodies(q.receive(url))
		q.clock.advance(keepContents)
		if err := q.sweep(q.ctx); err != nil {
			t.Fatal(err)
		}
		q.wantRows("queue_message", 0)
		q.wantRows("queue_group", 0)
		q.wantRows("queue_dedup", 0)
	})
}

func TestSendToContentsDroppedMeanwhileIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		have, err := q.Find(q.ctx, Ref{account, region, "orders"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.DeleteQueue(q.ctx, &sqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
			t.Fatal(err)
		}
		_, err = q.Send(q.ctx, have, account, Draft{Body: "late"})
		wantError(t, err, "QueueDoesNotExist", "")
	})
}

func TestExpiredMessagesAreNotReceivedAndSwept(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, name := range []string{"orders", "orders.fifo"} {
			url := q.create(name, map[string]string{"MessageRetentionPeriod": "60", "VisibilityTimeout": "1"})
			send := func(body string) {
				if strings.HasSuffix(name, ".fifo") {
					q.sendGroup(url, "g", body)
				} else {
					q.send(url, body)
				}
			}
			send("received-before")
			q.receive(url)
			q.clock.advance(30 * time.Second)
			send("young")
			q.clock.advance(30 * time.Second)
			got := q.receive(url)
			q.wantBodies(got, "young")
			if err := q.delete(url, got[0]); err != nil {
				t.Fatal(err)
			}
			send("never-received")
			q.clock.advance(time.Minute)
			if err := q.sweep(q.ctx); err != nil {
				t.Fatal(err)
			}
			q.wantRows("queue_message", 0)
			q.wantRows("queue_group", 0)
		}
	})
}

func TestPolicy(t *testing.T) {
	arn := Ref{account, region, "orders"}.ARN()
	allow := func(principal, condition string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"sqs:SendMessage","Resource":"` + arn + `"` + condition + `}]}`
	}
	rule := "arn:aws:events:eu-west-1:" + account + ":rule/r"
	events := func(ctx context.Context, ruleARN, owner string) context.Context {
		return auth.WithSource(as(ctx, owner), auth.Source{Service: "events.amazonaws.com", ARN: ruleARN, Account: owner})
	}
	tests := []struct {
		name, policy string
		ctx          func(context.Context) context.Context
		denied       string
	}{
		{"owner without policy", "", func(c context.Context) context.Context { return as(c, account) }, ""},
		{"other account without policy", "", func(c context.Context) context.Context { return as(c, other) }, "no resource-based policy allows the sqs:sendmessage action"},
		{"rule of the owner without policy", "", func(c context.Context) context.Context { return events(c, rule, account) }, ""},
		{"rule of another account without policy", "", func(c context.Context) context.Context { return events(c, rule, other) }, "User: events.amazonaws.com is not authorized to perform: sqs:sendmessage on resource: " + arn + " because no resource-based policy allows the sqs:sendmessage action"},
		{"other account allowed", allow(`{"AWS":"`+other+`"}`, ""), func(c context.Context) context.Context { return as(c, other) }, ""},
		{"owner not mentioned", allow(`{"AWS":"`+other+`"}`, ""), func(c context.Context) context.Context { return as(c, account) }, ""},
		{"rule not mentioned", allow(`{"AWS":"`+other+`"}`, ""), func(c context.Context) context.Context { return events(c, rule, account) }, "no resource-based policy"},
		{"rule by its ARN", allow(`{"Service":"events.amazonaws.com"}`, `,"Condition":{"ArnEquals":{"aws:SourceArn":"`+rule+`"}}`), func(c context.Context) context.Context { return events(c, rule, account) }, ""},
		{"another rule", allow(`{"Service":"events.amazonaws.com"}`, `,"Condition":{"ArnEquals":{"aws:SourceArn":"`+rule+`"}}`), func(c context.Context) context.Context { return events(c, rule+"2", account) }, "no resource-based policy"},
		{"owner denied", strings.Replace(allow(`"*"`, ""), "Allow", "Deny", 1), func(c context.Context) context.Context { return as(c, account) }, "explicit deny"},
	}
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, tt := range tests {
			url := q.create("orders", nil)
			if _, err := q.SetQueueAttributes(q.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"Policy": tt.policy}}); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			_, err := q.SendMessage(tt.ctx(t.Context()), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("a")})
			if tt.denied == "" {
				if err != nil {
					t.Errorf("%s: %v", tt.name, err)
				}
				continue
			}
			if !awsapi.HasCode(err, "AccessDenied") || !strings.Contains(err.Error(), tt.denied) {
				t.Errorf("%s: %v, want AccessDenied …%s…", tt.name, err, tt.denied)
			}
		}
	})
}

// start runs the queues' background work until the function returned is called.
func (q *fixture) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); q.Run(ctx) }()
	return func() { cancel(); <-done }
}

func TestConcurrentReceiversShareTheMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		const senders, each, receivers = 4, 50, 8
		url := q.create("orders", nil)
		var wg sync.WaitGroup
		for s := range senders {
			wg.Go(func() {
				for k := range each {
					if _, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new(fmt.Sprint(s, "-", k))}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		var mu sync.Mutex
		seen := map[string]int{}
		for range receivers {
			wg.Go(func() {
				for {
					mu.Lock()
					done := len(seen) == senders*each
					mu.Unlock()
					if done {
						return
					}
					out, err := q.ReceiveMessage(q.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: new(int32(10)), WaitTimeSeconds: new(int32(1))})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, m := range out.Messages {
						seen[*m.Body]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for body, n := range seen {
			if n != 1 {
				t.Errorf("%s was received %d times", body, n)
			}
		}
	})
}

func TestConcurrentCreatesMakeOneQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := q.CreateQueue(q.ctx, &sqs.CreateQueueInput{QueueName: new("orders")}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		q.wantRows("queue", 1)
		q.wantRows("queue_contents", 1)
	})
}

func TestTooManyMessagesInFlight(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		q.maxFlying = 3
		url := q.create("orders", nil)
		for _, body := range []string{"a", "b", "c", "d"} {
			q.send(url, body)
		}
		one := func() ([]sqs.Message, error) {
			out, err := q.ReceiveMessage(q.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url})
			q.flying = recent{} // as a second later
			return out.Messages, err
		}
		var last sqs.Message
		for range 3 {
			got, err := one()
			if err != nil {
				t.Fatal(err)
			}
			last = got[0]
		}
		_, err := q.ReceiveMessage(q.ctx, &sqs.ReceiveMessageInput{QueueUrl: &url})
		wantError(t, err, "OverLimit", "at most 3")
		if err := q.delete(url, last); err != nil {
			t.Fatal(err)
		}
		q.flying = recent{}
		if _, err := one(); err != nil {
			t.Error(err)
		}
	})
}
