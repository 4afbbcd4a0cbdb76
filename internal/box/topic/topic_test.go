package topic

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "eu-west-1"
)

// patience bounds how long a test waits for what is to happen.
const patience = 20 * time.Second

// web is an HTTP client without guards.
type web struct{ client *http.Client }

func (w web) Do(req *http.Request) (*http.Response, error) { return w.client.Do(req) }

func (w web) CheckURL(url string) error {
	if strings.Contains(url, "metadata") {
		return errors.New("the address is closed")
	}
	return nil
}

// fixture is a set of topics beside queues, with a server for links. Its clock
// is ahead of the machine's as far as the test says.
type fixture struct {
	*Topics
	t      testing.TB
	ctx    context.Context
	queues *queue.Queues
	url    string
	ahead  atomic.Int64 // nanoseconds
	logs   *logBuffer

	stop func() // ends the jobs
}

// logBuffer is what was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func sealer(t testing.TB, db *store.DB) Sealer {
	t.Helper()
	a, err := auth.Open(t.Context(), db, auth.Options{MasterKey: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	return a.Sealer()
}

func newFixture(t testing.TB, db *store.DB, change ...func(*Options)) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: as(t.Context(), account), logs: &logBuffer{}}
	f.queues = queue.New(db, queue.Options{BaseURL: func() string { return "http://127.0.0.1:7425" }})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !IsLink(r) {
			http.Error(w, "no link", http.StatusTeapot)
			return
		}
		f.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	client := &http.Client{Transport: &http.Transport{}, Timeout: 5 * time.Second}
	t.Cleanup(client.CloseIdleConnections)
	opt := Options{
		BaseURL: func() string { return server.URL + "/" }, Queues: f.queues, HTTP: web{client}, Sealer: sealer(t, db),
		Logger: slog.New(slog.NewTextHandler(f.logs, nil)),
		Now:    func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) },
	}
	for _, fn := range change {
		fn(&opt)
	}
	f.start(db, opt)
	return f
}

// start runs the topics of a process.
func (f *fixture) start(db *store.DB, opt Options) {
	jobs := work.New(db, "test", opt.Logger)
	f.Topics = New(db, jobs, opt)
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = jobs.Run(ctx)
	}()
	f.stop = sync.OnceFunc(func() { cancel(); <-done })
	f.t.Cleanup(f.stop)
}

// as is a context of a caller of the account.
func as(ctx context.Context, account string) context.Context {
	return awsapi.WithCaller(ctx, awsapi.Caller{Account: account, Region: region, Role: "admin"})
}

// onBoth runs the test with topics on both databases.
func onBoth(t *testing.T, f func(t *testing.T, f *fixture), change ...func(*Options)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newFixture(t, db, change...)) })
}

// newSQLite is a fixture for what no database has a part in.
func newSQLite(t *testing.T, change ...func(*Options)) *fixture {
	t.Helper()
	return newFixture(t, storetest.SQLite(t), change...)
}

func (f *fixture) topic(name string, attrs map[string]string) (arn string) {
	f.t.Helper()
	out, err := f.CreateTopic(f.ctx, &sns.CreateTopicInput{Name: &name, Attributes: attrs})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.TopicArn
}

func queueRef(name string) queue.Ref { return queue.Ref{Account: account, Region: region, Name: name} }

func (f *fixture) queue(name string) (arn string) {
	f.t.Helper()
	if err := f.queues.Create(f.ctx, queueRef(name), nil, nil); err != nil {
		f.t.Fatal(err)
	}
	return queueRef(name).ARN()
}

func (f *fixture) subscribe(topic, protocol, endpoint string, attrs map[string]string) (arn string) {
	f.t.Helper()
	out, err := f.Subscribe(f.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: attrs, ReturnSubscriptionArn: new(true)})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.SubscriptionArn
}

func (f *fixture) publish(topic, message string) (id string) {
	f.t.Helper()
	out, err := f.Publish(f.ctx, &sns.PublishInput{TopicArn: &topic, Message: &message})
	if err != nil {
		f.t.Fatal(err)
	}
	return *out.MessageId
}

var receiveNow = queue.ReceiveRequest{Max: 10, Wait: new(time.Duration(0))}

// receive waits for the next message of a queue and takes it.
func (f *fixture) receive(name string) queue.Received {
	f.t.Helper()
	for end := time.Now().Add(patience); ; {
		got, err := f.queues.Receive(f.ctx, queueRef(name), queue.ReceiveRequest{Max: 1, Wait: new(time.Second)})
		if err != nil {
			f.t.Fatal(err)
		}
		if len(got) > 0 {
			return got[0]
		}
		if time.Now().After(end) {
			f.t.Fatalf("queue %s got nothing; logged: %s", name, f.logs)
		}
	}
}

// receivedDocument is what endpoints get.
type receivedDocument struct {
	Type, MessageId, TopicArn, Message, Timestamp string
	Subject                                       *string
	Token, SubscribeURL                           string
	SignatureVersion, Signature, SigningCertURL   string
	UnsubscribeURL                                string
	MessageAttributes                             map[string]struct{ Type, Value string }
}

func parseDocument(t testing.TB, body string) receivedDocument {
	t.Helper()
	var d receivedDocument
	dec := json.NewDecoder(strings.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return d
}

// quiet waits until nothing is on its way, and sees that nothing of it is kept.
func (f *fixture) quiet() {
	f.t.Helper()
	count := func(query string) int {
		var n int
		if err := f.db.QueryRow(f.ctx, query).Scan(&n); err != nil {
			f.t.Fatal(err)
		}
		return n
	}
	f.until("nothing is on its way", func() bool {
		return count(`SELECT (SELECT COUNT(*) FROM topic_delivery) + (SELECT COUNT(*) FROM topic_message WHERE fanned_to IS NOT NULL)`) == 0
	})
	if f.db.Dialect() == store.Postgres {
		if err := f.sweepMessages(f.ctx); err != nil {
			f.t.Fatal(err)
		}
	}
	if n := count(`SELECT COUNT(*) FROM topic_message`); n > 0 {
		f.t.Fatalf("%d messages are kept that nobody waits for", n)
	}
}

// wake has the lane of a subscription look at the clock, which the test has moved.
func (f *fixture) wake(subscription int64) {
	f.t.Helper()
	s, err := subscriptionByID(f.ctx, f.db, subscription)
	if err != nil || s == nil {
		f.t.Fatalf("subscription %d: %+v, %v", subscription, s, err)
	}
	err = f.db.Update(f.ctx, func(tx *store.Tx) error {
		return f.Topics.wake(f.ctx, tx, map[int64]string{subscription: laneOf(s.Protocol)})
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			f.t.Fatalf("waited in vain until %s; logged: %s", what, f.logs)
		}
	}
}

// refused checks code and message of an error.
func refused(t testing.TB, err error, code, message string) {
	t.Helper()
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok {
		t.Fatalf("got %v, want %s", err, code)
	}
	if e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("got %s: %s\nwant %s: %s", e.Code, e.Message, code, message)
	}
}

func get(t testing.TB, url string) (status int, body string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)[:n]
}

func TestATopicIsMadeOnceAndFoundByItsARN(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		arn := f.topic("orders", map[string]string{"DisplayName": "订单 🏙"})
		if want := "arn:aws:sns:eu-west-1:111122223333:orders"; arn != want {
			t.Fatalf("ARN %s, want %s", arn, want)
		}
		if again := f.topic("orders", nil); again != arn {
			t.Errorf("made again: %s", again)
		}
		if again := f.topic("orders", map[string]string{"DisplayName": "订单 🏙", "SignatureVersion": "1", "FifoTopic": "false"}); again != arn {
			t.Errorf("made again with the same attributes: %s", again)
		}
		_, err := f.CreateTopic(f.ctx, &sns.CreateTopicInput{Name: new("orders"), Attributes: map[string]string{"DisplayName": "x"}})
		refused(t, err, sns.CodeInvalidParameterException, "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
		_, err = f.CreateTopic(f.ctx, &sns.CreateTopicInput{Name: new("orders"), Tags: []sns.Tag{{Key: new("team"), Value: new("a")}}})
		refused(t, err, sns.CodeInvalidParameterException, "Invalid parameter: Tags Reason: Topic already exists with different tags")

		f.subscribe(arn, "sqs", f.queue("q"), nil)
		out, err := f.GetTopicAttributes(f.ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{
			"TopicArn": arn, "Owner": account, "DisplayName": "订单 🏙", "SubscriptionsConfirmed": "1", "SubscriptionsPending": "0", "SubscriptionsDeleted": "0",
			"EffectiveDeliveryPolicy": `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":20,"maxDelayTarget":20,"numRetries":3,"numMaxDelayRetries":0,"numNoDelayRetries":0,"numMinDelayRetries":0,"backoffFunction":"linear"},"disableSubscriptionOverrides":false,"defaultRequestPolicy":{"headerContentType":"text/plain; charset=UTF-8"}}}`,
		} {
			if got := out.Attributes[name]; got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		// What AWS reports as the policy can be set as the policy.
		if _, err := f.SetTopicAttributes(f.ctx, &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: new("Policy"), AttributeValue: new(out.Attributes["Policy"])}); err != nil {
			t.Error(err)
		}
		f.publish(arn, "hello")
		f.receive("q")

		for range 2 { // deleting is idempotent
			if _, err := f.DeleteTopic(f.ctx, &sns.DeleteTopicInput{TopicArn: &arn}); err != nil {
				t.Fatal(err)
			}
		}
		_, err = f.GetTopicAttributes(f.ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
		refused(t, err, sns.CodeNotFoundException, "Topic does not exist")
		f.topic("orders", nil)
		list, err := f.ListSubscriptions(f.ctx, &sns.ListSubscriptionsInput{})
		if err != nil || len(list.Subscriptions) != 0 {
			t.Errorf("the new topic has the old one's subscriptions: %+v, %v", list, err)
		}
		f.until("the old subscriptions are gone", func() bool {
			ids, err := someOf(f.ctx, f.db, 1, 10)
			return err == nil && len(ids) == 0
		})
	})
}

func TestListsHavePagesOfAHundred(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("a-000", nil)
		for i := range 150 {
			f.topic(strings.Repeat("b", 1+i), nil)
			f.subscribe(topic, "sqs", queueRef("q-"+random(12)).ARN(), nil)
		}
		seen := map[string]bool{}
		pages := 0
		for token := (*string)(nil); pages == 0 || token != nil; pages++ {
			out, err := f.ListTopics(f.ctx, &sns.ListTopicsInput{NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			for _, topic := range out.Topics {
				seen[*topic.TopicArn] = true
			}
			token = out.NextToken
		}
		if len(seen) != 151 || pages != 2 {
			t.Errorf("%d topics on %d pages", len(seen), pages)
		}
		seen, pages = map[string]bool{}, 0
		for token := (*string)(nil); pages == 0 || token != nil; pages++ {
			out, err := f.ListSubscriptionsByTopic(f.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic, NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			all, err := f.ListSubscriptions(f.ctx, &sns.ListSubscriptionsInput{NextToken: token})
			if err != nil || len(all.Subscriptions) != len(out.Subscriptions) {
				t.Fatalf("%d of the account, %d of the topic: %v", len(all.Subscriptions), len(out.Subscriptions), err)
			}
			for _, s := range out.Subscriptions {
				seen[*s.SubscriptionArn] = true
			}
			token = out.NextToken
		}
		if len(seen) != 150 || pages != 2 {
			t.Errorf("%d subscriptions on %d pages", len(seen), pages)
		}
		out, err := f.ListTopics(as(t.Context(), other), &sns.ListTopicsInput{})
		if err != nil || len(out.Topics) != 0 {
			t.Errorf("another account sees %+v, %v", out, err)
		}
	})
}

func TestTags(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		out, err := f.CreateTopic(f.ctx, &sns.CreateTopicInput{Name: new("t"), Tags: []sns.Tag{{Key: new("team"), Value: new("仓库")}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.TagResource(f.ctx, &sns.TagResourceInput{ResourceArn: out.TopicArn, Tags: []sns.Tag{{Key: new("env"), Value: new("")}, {Key: new("x"), Value: new("y")}}}); err != nil {
			t.Fatal(err)
		}
		if _, err := f.UntagResource(f.ctx, &sns.UntagResourceInput{ResourceArn: out.TopicArn, TagKeys: []string{"x", "absent"}}); err != nil {
			t.Fatal(err)
		}
		tags, err := f.ListTagsForResource(f.ctx, &sns.ListTagsForResourceInput{ResourceArn: out.TopicArn})
		if err != nil || len(tags.Tags) != 2 || *tags.Tags[0].Key != "env" || *tags.Tags[1].Value != "仓库" {
			t.Errorf("tags %+v, %v", tags, err)
		}
	})
}
