package topic

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
)

// call is a request that an endpoint got.
type call struct {
	header http.Header
	body   string
	at     time.Time
}

// endpoint is a web server that notes its calls.
type endpoint struct {
	*httptest.Server
	t     testing.TB
	calls chan call

	mu     sync.Mutex
	answer func(n int) int // the status of call n, from 1
	n      int
}

func newEndpoint(t testing.TB) *endpoint {
	e := &endpoint{t: t, calls: make(chan call, 1000), answer: func(int) int { return http.StatusOK }}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		status := e.status()
		e.calls <- call{r.Header, string(body), time.Now()}
		w.WriteHeader(status)
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) status() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n++
	return e.answer(e.n)
}

func (e *endpoint) answers(fn func(n int) int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.n, e.answer = 0, fn
}

func (e *endpoint) next() call {
	e.t.Helper()
	select {
	case c := <-e.calls:
		return c
	case <-time.After(patience):
		e.t.Fatal("the endpoint was not called")
		return call{}
	}
}

// confirmed subscribes the endpoint and visits the link that it is sent.
func (f *fixture) confirmed(topic string, e *endpoint, attrs map[string]string) (subscription string) {
	f.t.Helper()
	subscription = f.subscribe(topic, "http", e.URL+"/hook?a=1", attrs)
	d := parseDocument(f.t, e.next().body)
	if status, body := get(f.t, d.SubscribeURL); status != http.StatusOK {
		f.t.Fatalf("%d %s", status, body)
	}
	return subscription
}

func TestAWebEndpointConfirmsByTheLink(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		e := newEndpoint(t)
		topic := f.topic("t", nil)
		out, err := f.Subscribe(f.ctx, &sns.SubscribeInput{TopicArn: &topic, Protocol: new("http"), Endpoint: new(e.URL + "/")})
		if err != nil || *out.SubscriptionArn != "pending confirmation" {
			t.Fatalf("%+v, %v", out, err)
		}
		f.publish(topic, "too early")
		list, err := f.ListSubscriptionsByTopic(f.ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
		if err != nil || len(list.Subscriptions) != 1 || *list.Subscriptions[0].SubscriptionArn != "PendingConfirmation" {
			t.Fatalf("%+v, %v", list, err)
		}
		c := e.next()
		d := parseDocument(t, c.body)
		for name, want := range map[string]string{
			"X-Amz-Sns-Message-Type": "SubscriptionConfirmation", "X-Amz-Sns-Message-Id": d.MessageId, "X-Amz-Sns-Topic-Arn": topic,
			"X-Amz-Sns-Subscription-Arn": "", "Content-Type": "text/plain; charset=UTF-8", "User-Agent": "Amazon Simple Notification Service Agent",
		} {
			if got := c.header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if d.Type != "SubscriptionConfirmation" || !strings.HasPrefix(d.Message, "You have chosen to subscribe to the topic "+topic+".\nTo confirm") ||
			d.SubscribeURL != f.url+"/?Action=ConfirmSubscription&TopicArn="+topic+"&Token="+d.Token || d.UnsubscribeURL != "" {
			t.Errorf("got %s", c.body)
		}
		verify(t, d)
		for range 2 { // a link may be visited again
			status, body := get(t, d.SubscribeURL)
			if status != http.StatusOK || !strings.Contains(body, "<ConfirmSubscriptionResult><SubscriptionArn>"+topic+":") {
				t.Fatalf("%d %s", status, body)
			}
		}
		f.publish(topic, "你好")
		c = e.next()
		d = parseDocument(t, c.body)
		if d.Message != "你好" || c.header.Get("X-Amz-Sns-Message-Type") != "Notification" || !strings.HasPrefix(c.header.Get("X-Amz-Sns-Subscription-Arn"), topic+":") {
			t.Errorf("got %s %v", c.body, c.header)
		}
		verify(t, d)

		// The link of the message unsubscribes; the endpoint is told and may come back.
		if status, body := get(t, d.UnsubscribeURL); status != http.StatusOK || !strings.Contains(body, "<UnsubscribeResponse") {
			t.Fatalf("%d %s", status, body)
		}
		c = e.next()
		d = parseDocument(t, c.body)
		if d.Type != "UnsubscribeConfirmation" || !strings.HasPrefix(d.Message, "You have chosen to deactivate subscription "+topic+":") {
			t.Errorf("got %s", c.body)
		}
		verify(t, d)
		attributes, err := f.GetTopicAttributes(f.ctx, &sns.GetTopicAttributesInput{TopicArn: &topic})
		if err != nil || attributes.Attributes["SubscriptionsConfirmed"] != "0" || attributes.Attributes["SubscriptionsDeleted"] != "1" {
			t.Errorf("%+v, %v", attributes, err)
		}
		f.publish(topic, "nobody hears")
		// This time with the API, which asks for signed requests from now on.
		confirmed, err := f.ConfirmSubscription(f.ctx, &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: &d.Token, AuthenticateOnUnsubscribe: new("true")})
		if err != nil {
			t.Fatal(err)
		}
		f.publish(topic, "back")
		d = parseDocument(t, e.next().body)
		if d.Message != "back" {
			t.Errorf("got %+v", d)
		}
		if status, body := get(t, d.UnsubscribeURL); status != http.StatusForbidden || !strings.Contains(body, "<Code>AuthorizationError</Code>") {
			t.Errorf("%d %s", status, body)
		}
		_, err = f.Unsubscribe(as(t.Context(), other), &sns.UnsubscribeInput{SubscriptionArn: confirmed.SubscriptionArn})
		refused(t, err, sns.CodeAuthorizationErrorException, "SNS:Unsubscribe")
		for range 2 { // unsubscribing is idempotent
			if _, err := f.Unsubscribe(f.ctx, &sns.UnsubscribeInput{SubscriptionArn: confirmed.SubscriptionArn}); err != nil {
				t.Fatal(err)
			}
		}
		f.publish(topic, "gone")
		f.quiet()
		if len(e.calls) > 0 {
			t.Errorf("the endpoint got %s", e.next().body)
		}
	})
}

func TestLinksThatAreWrong(t *testing.T) {
	f := newSQLite(t)
	e := newEndpoint(t)
	topic := f.topic("t", nil)
	f.subscribe(topic, "http", e.URL, nil)
	d := parseDocument(t, e.next().body)
	for name, url := range map[string]string{
		"another token":             f.url + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=" + strings.Repeat("0", len(d.Token)),
		"an empty token":            f.url + "/?Action=ConfirmSubscription&TopicArn=" + topic + "&Token=",
		"another topic":             strings.Replace(d.SubscribeURL, ":t&", ":u&", 1),
		"no ARN":                    f.url + "/?Action=ConfirmSubscription&TopicArn=t&Token=" + d.Token,
		"guarded without signature": d.SubscribeURL + "&AuthenticateOnUnsubscribe=true",
		"no subscription":           f.url + "/?Action=Unsubscribe&SubscriptionArn=" + topic,
	} {
		status, body := get(t, url)
		if status != http.StatusBadRequest || !strings.Contains(body, "<Code>InvalidParameter</Code>") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	if status, _ := get(t, f.url+"/SimpleNotificationService-0.pem"); status != http.StatusNotFound {
		t.Errorf("another certificate: %d", status)
	}
	// Neither a request that is signed nor another operation is a link.
	for _, url := range []string{"/?Action=ListTopics", d.SubscribeURL[len(f.url):] + "&X-Amz-Signature=0", "/x?Action=Unsubscribe&SubscriptionArn=a", "/?Action=Unsubscribe"} {
		if IsLink(httptest.NewRequest("GET", url, nil)) {
			t.Errorf("%s is taken for a link", url)
		}
	}
	f.ahead.Store(int64(tokenLife + time.Minute))
	if status, body := get(t, d.SubscribeURL); status != http.StatusBadRequest || !strings.Contains(body, "Token") {
		t.Errorf("an expired link: %d %s", status, body)
	}
	if err := f.sweepSubscriptions(f.ctx); err != nil {
		t.Fatal(err)
	}
	out, err := f.ListSubscriptions(f.ctx, &sns.ListSubscriptionsInput{})
	if err != nil || len(out.Subscriptions) != 0 {
		t.Errorf("what nobody confirmed is still there: %+v, %v", out, err)
	}
}

func TestPeopleReadPagesBehindLinks(t *testing.T) {
	f := newSQLite(t)
	e := newEndpoint(t)
	topic := f.topic("t", nil)
	f.subscribe(topic, "http", e.URL, nil)
	req, err := http.NewRequestWithContext(t.Context(), "GET", parseDocument(t, e.next().body).SubscribeURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(body), "<h1>Subscription confirmed</h1>") || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("%s, %v", body, err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestRawDeliveryOverHTTP(t *testing.T) {
	f := newSQLite(t)
	e := newEndpoint(t)
	topic := f.topic("t", map[string]string{"DeliveryPolicy": `{"http":{"defaultRequestPolicy":{"headerContentType":"application/json"}}}`})
	f.confirmed(topic, e, map[string]string{"RawMessageDelivery": "true"})
	if _, err := f.Publish(f.ctx, &sns.PublishInput{TopicArn: &topic, Message: new(`{"订":1}`), MessageAttributes: map[string]sns.MessageAttributeValue{"a": {DataType: new("String"), StringValue: new("b")}}}); err != nil {
		t.Fatal(err)
	}
	c := e.next()
	if c.body != `{"订":1}` || c.header.Get("x-amz-sns-rawdelivery") != "true" || c.header.Get("Content-Type") != "application/json" || c.header.Get("x-amz-sns-message-type") != "Notification" {
		t.Errorf("got %s %v", c.body, c.header)
	}
}

// eager retries at once, so that tests do not wait.
const eager = `{"healthyRetryPolicy":{"numRetries":4,"numNoDelayRetries":4}}`

func TestFailedCallsAreRetriedAsThePolicySays(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(n int) int
		calls  int
		code   string // of the dead letter, if there is one
	}{
		"5xx passes":          {func(n int) int { return []int{503, 500, 200}[n-1] }, 3, ""},
		"429 passes":          {func(n int) int { return []int{429, 201}[n-1] }, 2, ""},
		"4xx is final":        {func(int) int { return 404 }, 1, "404"},
		"redirects are final": {func(int) int { return 302 }, 1, "302"},
		"retries run out":     {func(int) int { return 502 }, 5, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newSQLite(t)
			e := newEndpoint(t)
			topic := f.topic("t", nil)
			f.confirmed(topic, e, map[string]string{"DeliveryPolicy": eager, "RedrivePolicy": redriveTo(f.queue("dead"))})
			e.answers(tt.answer)
			id := f.publish(topic, "hello")
			for n := range tt.calls {
				if d := parseDocument(t, e.next().body); d.MessageId != id {
					t.Errorf("call %d is of message %s", n, d.MessageId)
				}
			}
			if tt.code != "" {
				got := f.receive("dead")
				if d := parseDocument(t, got.Body); d.MessageId != id || got.Attributes["ErrorCode"].Text != tt.code {
					t.Errorf("dead letter %s %+v", got.Body, got.Attributes)
				}
			}
			f.quiet()
			if len(e.calls) > 0 {
				t.Errorf("the endpoint was called %d times more", len(e.calls))
			}
		})
	}
}

// A retry that is not due yet survives, and a lane takes up what comes meanwhile.
func TestARetryWaitsForItsTime(t *testing.T) {
	f := newSQLite(t)
	e := newEndpoint(t)
	topic := f.topic("t", nil)
	f.confirmed(topic, e, nil) // retries after 20 s
	e.answers(func(n int) int {
		if n == 1 {
			return 500
		}
		return 200
	})
	first := f.publish(topic, "first")
	e.next()
	f.until("the retry is put off", func() bool {
		at, some, err := nextDue(f.ctx, f.db, 1)
		return err == nil && some && at > f.now()+15_000 && at < f.now()+25_000
	})
	second := f.publish(topic, "second")
	if d := parseDocument(t, e.next().body); d.MessageId != second {
		t.Errorf("got %+v", d)
	}
	f.ahead.Store(int64(30 * time.Second))
	third := f.publish(topic, "third") // wakes the lane
	got := map[string]bool{parseDocument(t, e.next().body).MessageId: true, parseDocument(t, e.next().body).MessageId: true}
	if !got[first] || !got[third] {
		t.Errorf("got %v", got)
	}
	f.quiet()
}

func TestThrottledEndpointsGetSoManyASecond(t *testing.T) {
	f := newSQLite(t)
	e := newEndpoint(t)
	topic := f.topic("t", nil)
	f.confirmed(topic, e, map[string]string{"DeliveryPolicy": `{"throttlePolicy":{"maxReceivesPerSecond":50}}`})
	for i := range 5 {
		f.publish(topic, fmt.Sprint(i))
	}
	for range 5 {
		e.next()
	}
	if p := f.pace.byID[1]; p == nil || p.Limit() != 50 || p.Burst() != 1 {
		t.Errorf("the endpoint was called without its limit: %+v", p)
	}
	synctest.Test(t, func(t *testing.T) {
		var p paces
		took := func(perSecond, n int) time.Duration {
			start := time.Now()
			for range n {
				if err := p.wait(t.Context(), 1, perSecond); err != nil {
					t.Fatal(err)
				}
			}
			return time.Since(start).Round(time.Millisecond)
		}
		if d := took(20, 9); d != 400*time.Millisecond {
			t.Errorf("9 calls took %s at 20 a second", d)
		}
		if d := took(2, 4); d != 2*time.Second {
			t.Errorf("4 more took %s at 2 a second", d)
		}
		if d := took(0, 100); d != 0 {
			t.Errorf("100 took %s without a limit", d)
		}
	})
}

// Endpoints that never answer keep nobody waiting but themselves.
func TestASlowEndpointDelaysNobodyElse(t *testing.T) {
	patient := &http.Client{Transport: &http.Transport{}}
	defer patient.CloseIdleConnections()
	f := newSQLite(t, func(o *Options) { o.HTTP = web{patient} })
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if !strings.Contains(string(body), "SubscriptionConfirmation") {
			<-r.Context().Done()
		}
	}))
	defer slow.Close()
	const endpoints = maxLanes + 4 // more than are called at once
	topic := f.topic("t", nil)
	for i := range endpoints {
		f.subscribe(topic, "http", fmt.Sprint(slow.URL, "/", i), nil)
	}
	f.quiet() // the confirmations are there
	err := f.db.Update(f.ctx, func(tx *store.Tx) error {
		for id := range int64(endpoints) {
			if err := confirmSubscription(f.ctx, tx, id+1, false, false); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f.subscribe(topic, "sqs", f.queue("q"), map[string]string{"RawMessageDelivery": "true"})
	for i := range 40 {
		f.publish(topic, fmt.Sprint(i))
	}
	for range 40 {
		f.receive("q")
	}
	// What is in hand when the process stops is not lost: it is made again.
	f.stop()
	var waiting int
	if err := f.db.QueryRow(f.ctx, `SELECT COUNT(*) FROM topic_delivery`).Scan(&waiting); err != nil || waiting != endpoints*40 {
		t.Errorf("%d of %d deliveries wait, %v", waiting, endpoints*40, err)
	}
}

// A message that an endpoint takes its time for does not hold up what is published after it.
func TestACallThatHangsHoldsUpNoOtherMessage(t *testing.T) {
	f := newSQLite(t)
	release, began := make(chan struct{}), make(chan struct{})
	quick := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Header.Get("x-amz-sns-message-type") != kindNotification:
		case string(body) == "hang":
			close(began)
			<-release
		default:
			quick <- string(body)
		}
	}))
	defer server.Close()
	defer close(release)
	topic := f.topic("t", nil)
	f.subscribe(topic, "http", server.URL, map[string]string{"RawMessageDelivery": "true"})
	f.quiet() // the confirmation is there
	err := f.db.Update(f.ctx, func(tx *store.Tx) error { return confirmSubscription(f.ctx, tx, 1, false, false) })
	if err != nil {
		t.Fatal(err)
	}
	f.publish(topic, "hang")
	<-began
	f.publish(topic, "快")
	select {
	case got := <-quick:
		if got != "快" {
			t.Errorf("got %q", got)
		}
	case <-time.After(patience):
		t.Error("the second message waits for the first one's answer")
	}
}

// A lane that is at work when a subscription is confirmed does not judge the next message
// by the state that it has read before.
func TestAMessageIsNotJudgedByTheStateBeforeIt(t *testing.T) {
	var meanwhile atomic.Pointer[func()]
	f := newSQLite(t, func(o *Options) {
		now := o.Now
		o.Now = func() time.Time { // the lane asks for it when it looks for what is due
			if do := meanwhile.Swap(nil); do != nil {
				(*do)()
			}
			return now()
		}
	})
	e := newEndpoint(t)
	topic := f.topic("t", nil)
	f.subscribe(topic, "http", e.URL, nil)
	d := parseDocument(t, e.next().body)
	f.quiet()
	do := func() {
		if status, body := get(t, d.SubscribeURL); status != http.StatusOK {
			t.Errorf("%d %s", status, body)
		}
		f.publish(topic, "m")
	}
	meanwhile.Store(&do)
	f.wake(1)
	if d := parseDocument(t, e.next().body); d.Message != "m" {
		t.Errorf("got %+v", d)
	}
}
