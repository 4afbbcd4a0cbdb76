package target

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// faults are what can go wrong with a server that is called, and where each is
// found.
var faults = map[string]func(t *testing.T) (url string){
	"500":                          answering(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "oops", http.StatusInternalServerError) }),
	"503":                          answering(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
	"429 with endless Retry-After": answering(status(http.StatusTooManyRequests, "Retry-After", "99999999999")),
	"503 with Retry-After in 2999": answering(status(http.StatusServiceUnavailable, "Retry-After", "Tue, 01 Jan 2999 00:00:00 GMT")),
	"404 without a word":           answering(status(http.StatusNotFound)),
	"409":                          answering(status(http.StatusConflict)),
	"a redirect":                   answering(status(http.StatusFound, "Location", "http://127.0.0.1:1/")),
	"a redirect of the body":       answering(status(http.StatusTemporaryRedirect, "Location", "http://127.0.0.1:1/")),
	"no answer":                    answering(hang),
	"a slow body":                  answering(drip),
	"an answer cut off":            answering(cutOff),
	"a reset connection":           answering(reset),
	"a page of HTML":               answering(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html><body>Welcome</body></html>") }),
	"a wrong certificate": func(t *testing.T) string {
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv.URL
	},
	"nobody listens":             func(*testing.T) string { return "http://127.0.0.1:1" }, // no free port: another case may be given it
	"a name that does not exist": func(*testing.T) string { return "https://nowhere.example" },
	"a private address":          func(*testing.T) string { return "https://10.0.0.1" },
}

func answering(serve http.HandlerFunc) func(t *testing.T) string {
	return func(t *testing.T) string {
		srv := httptest.NewServer(serve)
		t.Cleanup(srv.Close)
		return srv.URL
	}
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// hang answers nothing until the caller goes away.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then is it noticed
	<-r.Context().Done()
}

// drip answers with a body that does not end in time.
func drip(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Length", "1000000")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
		if _, err := fmt.Fprint(w, "{"); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	fmt.Fprint(w, `{"`)
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
}

// outcome is what a fault means for a delivery; without a code the event counts
// as delivered.
type outcome struct {
	code      string
	retryable bool
}

// String is for messages.
func (o outcome) String() string {
	switch {
	case o.code == "":
		return "delivered"
	case o.retryable:
		return o.code + ", to be tried again"
	}
	return o.code + ", final"
}

// AWS: an API destination's body is not waited for. What a token endpoint says may
// change once its credentials are mended, and so is never final.
var outcomes = map[string]struct{ destination, token, service outcome }{
	"500":                          {outcome{CodeErrorFromTarget, true}, outcome{CodeErrorFromTarget, true}, outcome{CodeErrorFromTarget, true}},
	"503":                          {outcome{CodeErrorFromTarget, true}, outcome{CodeErrorFromTarget, true}, outcome{CodeErrorFromTarget, true}},
	"429 with endless Retry-After": {outcome{CodeThrottling, true}, outcome{CodeThrottling, true}, outcome{CodeThrottling, true}},
	"503 with Retry-After in 2999": {outcome{CodeErrorFromTarget, true}, outcome{CodeErrorFromTarget, true}, outcome{CodeErrorFromTarget, true}},
	"404 without a word":           {outcome{CodeErrorFromTarget, false}, outcome{CodeNoPermissions, true}, outcome{CodeErrorFromTarget, false}},
	"409":                          {outcome{CodeErrorFromTarget, true}, outcome{CodeNoPermissions, true}, outcome{CodeErrorFromTarget, true}},
	"a redirect":                   {outcome{CodeErrorFromTarget, false}, outcome{CodeNoPermissions, true}, outcome{CodeErrorFromTarget, false}},
	"a redirect of the body":       {outcome{CodeErrorFromTarget, false}, outcome{CodeNoPermissions, true}, outcome{CodeErrorFromTarget, false}},
	"no answer":                    {outcome{CodeTimeout, true}, outcome{CodeTimeout, true}, outcome{CodeTimeout, true}},
	"a slow body":                  {outcome{}, outcome{CodeTimeout, true}, outcome{CodeTimeout, true}},
	"an answer cut off":            {outcome{}, outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}},
	"a reset connection":           {outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}},
	"a page of HTML":               {outcome{}, outcome{CodeNoPermissions, true}, outcome{CodeErrorFromTarget, true}},
	"a wrong certificate":          {outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}},
	"nobody listens":               {outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}},
	"a name that does not exist":   {outcome{CodeConnectionFailure, false}, outcome{CodeConnectionFailure, true}, outcome{CodeConnectionFailure, true}},
	"a private address":            {outcome{CodeConnectionFailure, false}, outcome{CodeConnectionFailure, true}, outcome{}}, // admins name the endpoints of accounts
}

// accountsOf stand for the program's own: real accounts as package cloud has them.
type accountsOf struct{ *cloud.Accounts }

func (a accountsOf) Services(ctx context.Context, account, region string) (*Services, error) {
	s, err := a.Accounts.Services(ctx, account, region)
	if err != nil || s == nil {
		return nil, err
	}
	return &Services{Queues: s.Queues, Topics: s.Topics, LogGroups: s.LogGroups, Functions: s.Functions, Buses: s.Buses}, nil
}

func (accountsOf) AccountFailure(error) *Failure { return nil }

type plainSealer struct{}

func (plainSealer) Seal(_ string, plain []byte) []byte           { return plain }
func (plainSealer) Open(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// Every fault of whatever a delivery calls has AWS's class: one that passes is
// tried again, and one that does not is final.
func TestFaultsOfEachKindOfTarget(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	usual := net.DefaultResolver
	net.DefaultResolver = nameServer(t, "")
	t.Cleanup(func() { net.DefaultResolver = usual })
	accounts := cloud.Open(storetest.SQLite(t), cloud.Options{BoxEndpoint: func() string { return "http://127.0.0.1:1" }, Sealer: plainSealer{}})
	t.Cleanup(accounts.Close)

	number := 0
	for name, url := range faults {
		number++
		account := fmt.Sprintf("%012d", number)
		want := outcomes[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endpoint := url(t)
			client := newTestClient(t, ClientOptions{Allow: rules(t, "127.0.0.0/8")})
			t.Run("API destination", func(t *testing.T) {
				t.Parallel()
				buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: endpoint, RateLimit: 300, Credentials: basic(nil)}}
				expect(t, newTargets(buses, client), attemptAt(destinationARN, bus.KindAPIDestination, nil), want.destination)
			})
			t.Run("token", func(t *testing.T) {
				t.Parallel()
				hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called without a token") }))
				t.Cleanup(hook.Close)
				buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: hook.URL, RateLimit: 300, Credentials: oauth(endpoint, "POST", nil)}}
				expect(t, newTargets(buses, client), attemptAt(destinationARN, bus.KindAPIDestination, nil), want.token)
				if notes := buses.noted(); len(notes) != 1 || !strings.HasPrefix(notes[0], "failed") {
					t.Errorf("of the connection is noted %q", notes)
				}
			})
			if want.service.code == "" {
				return
			}
			if _, err := accounts.Put(t.Context(), cloud.Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00", EndpointURL: endpoint, Burst: 1000}, "secret"); err != nil {
				t.Fatal(err)
			}
			targets := New(Options{Buses: &connections{}, Real: accountsOf{accounts}})
			for kind, arn := range map[bus.TargetKind]string{
				bus.KindQueue: queueARN, bus.KindTopic: topicARN, bus.KindLogGroup: logGroupARN, bus.KindFunction: "arn:aws:lambda:us-east-1:444455556666:function:f",
				bus.KindBus: "arn:aws:events:us-east-1:444455556666:event-bus/b",
			} {
				parts := strings.Split(arn, ":")
				parts[4] = account
				a := fromHome(strings.Join(parts, ":"), kind)
				t.Run(kind.String(), func(t *testing.T) {
					t.Parallel()
					expect(t, targets, a, want.service)
				})
				if kind == bus.KindQueue {
					t.Run("dead-letter queue", func(t *testing.T) {
						t.Parallel()
						a.Subscription.Target.DeadLetterARN = a.Subscription.Target.ARN
						checkOutcome(t, failureOf(t, targets.DeadLetter(inTime(t, want.service), a, DeadLetterReason{Code: "X", Message: "x"})), want.service)
					})
				}
			}
		})
	}
}

// inTime is a context for one attempt. A fault whose outcome is that the time is up
// gets less of it.
func inTime(t *testing.T, want outcome) context.Context {
	limit := Timeout
	if want.code == CodeTimeout {
		limit = 300 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

func expect(t *testing.T, targets *Targets, a Attempt, want outcome) {
	t.Helper()
	checkOutcome(t, failureOf(t, targets.Invoke(inTime(t, want), a)), want)
}

func checkOutcome(t *testing.T, f *Failure, want outcome) {
	t.Helper()
	got := outcome{}
	if f != nil {
		got = outcome{f.Code, f.Retryable}
		if f.Message == "" || f.RetryAfter > maxRetryAfter {
			t.Errorf("the failure says %+v", f)
		}
	}
	if got != want {
		t.Errorf("%s (%v), want %s", got, f, want)
	}
}

// A clock that is off makes AWS refuse signatures, which passes: the SDK signs by
// AWS's time once it has seen it.
func TestAClockThatIsOff(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for name, test := range map[string]struct {
		ahead time.Duration
		code  string
		want  []outcome // of one attempt after another
	}{
		"AWS's clock is ahead":  {time.Hour, "InvalidSignatureException", []outcome{{CodeSDKClientError, true}, {}}},
		"AWS's clock is behind": {-time.Hour, "InvalidSignatureException", []outcome{{CodeSDKClientError, true}, {}}},
		"it was not the clock":  {0, "InvalidSignatureException", []outcome{{CodeNoPermissions, false}, {CodeNoPermissions, false}}},
		"not about signatures":  {time.Hour, "AccessDenied", []outcome{{CodeNoPermissions, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			url := answering(func(w http.ResponseWriter, r *http.Request) {
				now := time.Now().Add(test.ahead)
				w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
				w.Header().Set("Content-Type", "application/x-amz-json-1.0")
				signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
				if err != nil {
					t.Error(err)
				}
				if test.ahead != 0 && test.code == "InvalidSignatureException" && signed.Sub(now).Abs() < time.Minute {
					fmt.Fprint(w, `{"MessageId":"m"}`)
					return
				}
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprintf(w, `{"__type":"com.amazon.coral.service#%s","message":"Signature expired"}`, test.code)
			})(t)
			accounts := cloud.Open(storetest.SQLite(t), cloud.Options{BoxEndpoint: func() string { return "http://127.0.0.1:1" }, Sealer: plainSealer{}})
			t.Cleanup(accounts.Close)
			if _, err := accounts.Put(t.Context(), cloud.Settings{AccountID: realOne, AccessKeyID: "AKIAEXAMPLEEXAMPLE00", EndpointURL: url}, "secret"); err != nil {
				t.Fatal(err)
			}
			targets := New(Options{Buses: &connections{}, Real: accountsOf{accounts}})
			for _, want := range test.want {
				expect(t, targets, fromHome(queueARN, bus.KindQueue), want)
			}
		})
	}
}
