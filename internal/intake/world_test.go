package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	sqsapi "github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testAccount = "111122223333"
	testRegion  = "eu-west-1"
)

// world is an intake with all that it needs around it: the real store and auth,
// HTTP in front, and the box's SQS behind an endpoint that can be made to fail.
type world struct {
	t    testing.TB
	db   *store.DB
	auth *auth.Auth
	i    *Intake
	// accounts are those of the last node made.
	accounts *cloud.Accounts
	http     *httptest.Server

	mu    sync.Mutex
	buses map[string]bool // that exist beside the default ones, by ARN
	// trouble, if set, may answer a call of SQS instead of SQS.
	trouble func(operation string, w http.ResponseWriter) (answered bool)
	calls   map[string]int // of SQS, by operation
}

// testCloud hands out clients of the box.
type testCloud struct{ accounts *cloud.Accounts }

// SQS returns a client that tries once.
func (c testCloud) SQS(ctx context.Context, account, region string) (*sqs.Client, error) {
	cfg, err := c.accounts.Config(ctx, account, region)
	if err != nil {
		return nil, err
	}
	return sqs.NewFromConfig(cfg, func(o *sqs.Options) { o.RetryMaxAttempts = 1 }), nil
}

func newWorld(t testing.TB, db *store.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, buses: map[string]bool{}, calls: map[string]int{}}
	var err error
	w.auth, err = auth.Open(t.Context(), db, auth.Options{KeyFile: filepath.Join(t.TempDir(), "secret.key")})
	if err != nil {
		t.Fatal(err)
	}
	w.i = w.node("a")
	rest, mux := http.NewServeMux(), http.NewServeMux()
	w.i.Register(rest)
	known := httpapi.KnownRoutes(rest)
	mux.Handle("/v1/intake/", known)
	mux.Handle("/v1/", w.auth.Middleware(known))
	mux.Handle(httpapi.TokenPath, w.auth.TokenHandler())
	queues := queue.New(db, queue.Options{BaseURL: func() string { return w.http.URL }})
	api := awsapi.New(awsapi.Config{Keys: w.auth, DevMode: w.auth.DevMode})
	api.Register(sqsapi.Bind(queues))
	mux.HandleFunc("/", func(rw http.ResponseWriter, r *http.Request) {
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		w.mu.Lock()
		w.calls[operation]++
		trouble := w.trouble
		w.mu.Unlock()
		if trouble == nil || !trouble(operation, rw) {
			api.ServeHTTP(rw, r)
		}
	})
	w.http = httptest.NewServer(mux)
	t.Cleanup(w.http.Close)
	return w
}

// node is an intake on the world's database.
func (w *world) node(name string) *Intake {
	accounts := cloud.Open(w.db, cloud.Options{
		BoxEndpoint: func() string { return w.http.URL }, BoxCredentials: w.auth.InternalCredentials, Sealer: w.auth.Sealer(),
	})
	w.t.Cleanup(accounts.Close)
	w.accounts = accounts
	return New(name, Options{
		DB: w.db, Cloud: testCloud{accounts}, Auth: w.auth,
		PublicURL: func() string { return w.http.URL },
		BusExists: func(_ context.Context, ref event.BusRef) (bool, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.buses[ref.ARN()], nil
		},
	})
}

// run runs a node until the test ends or stop is called.
func (w *world) run(i *Intake) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = i.Run(ctx)
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) add(s Source) (Source, string) {
	w.t.Helper()
	s.Enabled = true
	if s.Settings.Accounts == nil {
		s.Settings.Accounts = []string{testAccount}
	}
	s, secret, err := w.i.Add(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, secret
}

// endpoint adds an endpoint and returns it with a token.
func (w *world) endpoint(name string, settings Settings) (Source, string) {
	w.t.Helper()
	s, secret := w.add(Source{Name: name, Kind: KindEndpoint, Settings: settings})
	return s, w.token(s.ClientID, secret)
}

func (w *world) token(clientID, secret string) string {
	w.t.Helper()
	resp, err := http.PostForm(w.http.URL+httpapi.TokenPath, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.AccessToken == "" {
		w.t.Fatalf("no token: %s, %v", resp.Status, err)
	}
	return out.AccessToken
}

// answer is an answer over HTTP.
type answer struct {
	status int
	body   string
	header http.Header
}

// call makes a request as EventBridge does, or as a caller of the REST API.
func (w *world) call(method, path, token, body string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, string(text), resp.Header}
}

func (w *world) post(s Source, token, body string) answer {
	w.t.Helper()
	return w.call("POST", "/v1/intake/"+s.ID, token, body)
}

// records are what the outbox holds, in the order in which it came.
func (w *world) records() []event.Record {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT record FROM outbox ORDER BY id`)
	recs, err := store.All(rows, err, func(row store.Row) (event.Record, error) {
		var b []byte
		if err := row.Scan(&b); err != nil {
			return event.Record{}, err
		}
		return event.DecodeRecord(b)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return recs
}

func (w *world) activity(s Source) Activity {
	w.t.Helper()
	a, err := w.i.Activity(w.t.Context(), s)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// eventually waits until ok holds.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("did not come true: %s", what)
		}
	}
}

// eventBody is an event as AWS writes it.
func eventBody(id, account, region, detail string) string {
	return fmt.Sprintf(`{"version":"0","id":%q,"detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","account":%q,"time":"2026-01-15T21:29:54Z","region":%q,"resources":["arn:aws:ec2:%s:%s:instance/i-0abcd1234ef567890"],"detail":%s}`,
		id, account, region, region, account, detail)
}

// queueOf makes a queue and a source of it.
func (w *world) queueOf(name string, settings Settings, attributes map[string]string) (Source, *sqs.Client, string) {
	w.t.Helper()
	client, err := w.i.o.Cloud.SQS(w.t.Context(), testAccount, testRegion)
	if err != nil {
		w.t.Fatal(err)
	}
	made, err := client.CreateQueue(w.t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		w.t.Fatal(err)
	}
	settings.Queue = "arn:aws:sqs:" + testRegion + ":" + testAccount + ":" + name
	s, _ := w.add(Source{Name: name, Kind: KindQueue, Settings: settings})
	return s, client, *made.QueueUrl
}

func (w *world) send(client *sqs.Client, queueURL string, bodies ...string) {
	w.t.Helper()
	for _, b := range bodies {
		if _, err := client.SendMessage(w.t.Context(), &sqs.SendMessageInput{QueueUrl: &queueURL, MessageBody: aws.String(b)}); err != nil {
			w.t.Fatal(err)
		}
	}
}
