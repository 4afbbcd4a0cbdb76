package app

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// testServer is a whole server on a free port.
type testServer struct {
	*App
	t    *testing.T
	stop func()
}

// startServer starts a server on its own data directory. edit may change its
// settings.
func startServer(t *testing.T, edit func(*Config)) *testServer {
	t.Helper()
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	if edit != nil {
		edit(&c)
	}
	return startServerAt(t, c, time.Now)
}

func startServerAt(t *testing.T, c Config, now func() time.Time) *testServer {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a, err := start(ctx, c, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})), hooks{now: now})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	s := &testServer{App: a, t: t}
	s.stop = sync.OnceFunc(func() {
		// A connection that was opened and never used would be waited for.
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := a.Wait(ctx); err != nil {
			t.Errorf("the server stopped with: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) events(region string) *eventbridge.Client {
	return eventbridge.New(eventbridge.Options{Region: region, BaseEndpoint: aws.String(s.LocalURL()), Credentials: testCredentials})
}

func (s *testServer) queues(region string) *sqs.Client {
	return sqs.New(sqs.Options{Region: region, BaseEndpoint: aws.String(s.LocalURL()), Credentials: testCredentials})
}

var testCredentials = credentials.NewStaticCredentialsProvider("test", "test", "")

// get returns the status and the body of a plain GET.
func (s *testServer) get(path string) (int, string) {
	s.t.Helper()
	resp, err := http.Get(s.LocalURL() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestAnEventReachesAQueueThroughARule(t *testing.T) {
	s := startServer(t, nil)
	ctx := t.Context()
	events, queues := s.events("eu-west-1"), s.queues("eu-west-1")
	queue, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = events.PutRule(ctx, &eventbridge.PutRuleInput{Name: aws.String("orders"), EventPattern: aws.String(`{"source":["shop"]}`)})
	if err != nil {
		t.Fatal(err)
	}
	put, err := events.PutTargets(ctx, &eventbridge.PutTargetsInput{Rule: aws.String("orders"), Targets: []ebtypes.Target{
		{Id: aws.String("q"), Arn: aws.String("arn:aws:sqs:eu-west-1:000000000000:orders")},
	}})
	if err != nil || put.FailedEntryCount != 0 {
		t.Fatal(put, err)
	}
	out, err := events.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
		{Source: aws.String("shop"), DetailType: aws.String("订单 🛒"), Detail: aws.String(`{"id": "42"}`)},
		{Source: aws.String("other"), DetailType: aws.String("x"), Detail: aws.String(`{}`)},
	}})
	if err != nil || out.FailedEntryCount != 0 {
		t.Fatal(out, err)
	}
	got, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: queue.QueueUrl, WaitTimeSeconds: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Messages) != 1 {
		t.Fatalf("received %d messages, want 1", len(got.Messages))
	}
	body := aws.ToString(got.Messages[0].Body)
	for _, want := range []string{
		`{"version":"0","id":"` + *out.Entries[0].EventId + `","detail-type":"订单 🛒","source":"shop","account":"000000000000"`,
		`"region":"eu-west-1","resources":[],"detail":{"id":"42"}}`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("body %s lacks %s", body, want)
		}
	}
}

func TestHealthIsToldWithoutCredentials(t *testing.T) {
	s := startServer(t, nil)
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": "rialto_events_routed_total", "/": "AWS_ENDPOINT_URL"} {
		status, body := s.get(path)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("GET %s answered %d %q, want 200 with %q", path, status, body, want)
		}
	}
}

func TestAServerReachableByOthersDoesNotStartWithoutAnAdminKey(t *testing.T) {
	c := NewConfig()
	c.Listen, c.DataDir = "0.0.0.0:0", t.TempDir()
	logger := slog.New(slog.DiscardHandler)
	if _, err := Start(t.Context(), c, logger); err == nil || !strings.Contains(err.Error(), "rialto keys create") {
		t.Fatalf("it started, or failed with: %v", err)
	}
	if _, _, err := CreateKey(t.Context(), c, "000000000000", "admin", ""); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	a, err := Start(ctx, c, logger)
	if err != nil {
		t.Fatalf("it does not start with an admin key: %v", err)
	}
	cancel()
	if err := a.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestASecondServerOnTheSameDataDirectoryIsRefused(t *testing.T) {
	s := startServer(t, nil)
	c := NewConfig()
	c.Listen, c.DataDir = "127.0.0.1:0", s.DataDir()
	if _, err := Start(t.Context(), c, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("it started, or failed with: %v", err)
	}
}
