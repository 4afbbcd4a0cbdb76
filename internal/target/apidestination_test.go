package target

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

const destinationARN = "arn:aws:events:us-east-1:111122223333:api-destination/catalog/0a1b"

// connections stand for the bus: one API destination, and what was noted of its
// connection.
type connections struct {
	mu      sync.Mutex
	inv     bus.Invocation
	err     error // of Invocation
	noteErr error
	reads   int
	notes   []string
	forward func(rec *event.Record, to event.BusRef) error
}

func (c *connections) Invocation(context.Context, string) (*bus.Invocation, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	if c.err != nil {
		return nil, c.err
	}
	inv := c.inv
	inv.ARN = destinationARN
	return &inv, nil
}

func (c *connections) ConnectionAuthorized(_ context.Context, _ string, version int64) error {
	return c.note(fmt.Sprintf("authorized v%d", version))
}

func (c *connections) ConnectionFailed(_ context.Context, _ string, version int64, reason string, rejected bool) error {
	return c.note(fmt.Sprintf("failed v%d rejected=%t: %s", version, rejected, reason))
}

func (c *connections) note(s string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noteErr != nil {
		return c.noteErr
	}
	c.notes = append(c.notes, s)
	return nil
}

func (c *connections) noted() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.notes)
}

func (c *connections) Forward(_ context.Context, rec *event.Record, _ *bus.Subscription, to event.BusRef) error {
	return c.forward(rec, to)
}

// noCalls is the client of targets that must not call anybody.
type noCalls struct{}

func (noCalls) Do(req *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("%s must not be called", req.URL)
}

func newTargets(buses Buses, client HTTP) *Targets {
	if client == nil {
		client = noCalls{}
	}
	return New(Options{Buses: buses, HTTP: client, Logger: slog.New(slog.DiscardHandler)})
}

func attemptAt(arn string, kind bus.TargetKind, params *bus.HTTPParameters) Attempt {
	body := []byte(`{"version":"0","id":"e1","detail":{"name":"机器 🚀 <a&b>"}}`)
	return Attempt{
		Subscription: &bus.Subscription{
			ID: 1, RuleARN: "arn:aws:events:us-east-1:111122223333:rule/r", RuleName: "r",
			Bus:    event.BusRef{Account: "111122223333", Region: "us-east-1", Name: "default"},
			Target: bus.Target{ID: "t", ARN: arn, Kind: kind, HTTPParameters: params},
		},
		Record: &event.Record{ID: "e1", JSON: body},
		Body:   body,
	}
}

func basic(invocation *bus.ConnectionParameters) bus.Credentials {
	return bus.Credentials{
		ConnectionARN: "c", Version: 1, Type: bus.AuthBasic,
		Basic: &bus.BasicCredentials{Username: "u", Password: "p"}, Invocation: invocation,
	}
}

// failureOf returns the error as the *Failure that it must be, nil for none.
func failureOf(t *testing.T, err error) *Failure {
	t.Helper()
	if err == nil {
		return nil
	}
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("%v is no *Failure", err)
	}
	return f
}

// seen is a request as the endpoint got it.
type seen struct {
	Method, Path, Query, Host string
	Header                    http.Header
	Body                      string
}

// endpoint is a server, over TLS or not, that keeps the last request.
func endpoint(t *testing.T, secure bool, answer http.HandlerFunc) (server *httptest.Server, client *Client, last *seen) {
	t.Helper()
	last = &seen{}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		h := r.Header.Clone()
		if r.Close {
			h.Set("Connection", "close") // the server takes it out
		}
		*last = seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Host, h, string(body)}
		if answer != nil {
			answer(w, r)
		}
	})
	o := ClientOptions{AllowLoopback: func() bool { return true }}
	if secure {
		server = httptest.NewTLSServer(handler)
		o.RootCAs = x509.NewCertPool()
		o.RootCAs.AddCert(server.Certificate())
	} else {
		server = httptest.NewServer(handler)
	}
	t.Cleanup(server.Close)
	return server, newTestClient(t, o), last
}

func TestARequestIsMadeOfTheDestinationTheTargetAndTheConnection(t *testing.T) {
	fixed := http.Header{
		"Accept-Encoding": {"gzip,deflate"}, "Authorization": {"Basic dTpw"}, "Connection": {"close"},
		"Content-Type": {"application/json; charset=utf-8"}, "Range": {"bytes=0-1048575"},
		"User-Agent": {"Amazon/EventBridge/ApiDestinations"},
	}
	with := func(pairs ...string) http.Header {
		h := maps.Clone(fixed)
		for i := 0; i < len(pairs); i += 2 {
			h[http.CanonicalHeaderKey(pairs[i])] = []string{pairs[i+1]}
		}
		return h
	}
	event := string(attemptAt("", 0, nil).Body)
	for name, test := range map[string]struct {
		method, endpoint string
		credentials      bus.Credentials
		params           *bus.HTTPParameters
		want             seen
	}{
		"the event as it is": {
			"POST", "/in", basic(nil), nil, seen{Method: "POST", Path: "/in", Header: fixed, Body: event},
		},
		"another method": {
			"PUT", "/in?a=1&b=x%20y", basic(nil), nil, seen{Method: "PUT", Path: "/in", Query: "a=1&b=x%20y", Header: fixed, Body: event},
		},
		"path values from left to right, escaped, those left over ignored": {
			"POST", "/a/*/b/*?c=*", basic(nil), &bus.HTTPParameters{Path: []string{"x/ä *", "2", "3"}},
			seen{Method: "POST", Path: "/a/x%2F%C3%A4%20%2A/b/2", Query: "c=*", Header: fixed, Body: event},
		},
		"a path value that would go up": {
			"POST", "/a/*/b", basic(nil), &bus.HTTPParameters{Path: []string{".."}},
			seen{Method: "POST", Path: "/a/%2E%2E/b", Header: fixed, Body: event},
		},
		"query of endpoint, target and connection, of which the last wins": {
			"POST", "/in?a=1&b=1&c=1",
			basic(&bus.ConnectionParameters{Query: []bus.Parameter{{Key: "c", Value: "3"}, {Key: "d", Value: "机 &"}}}),
			&bus.HTTPParameters{Query: map[string]string{"b": "2", "c": "2"}},
			seen{Method: "POST", Path: "/in", Query: "a=1&b=2&c=3&d=%E6%9C%BA+%26", Header: fixed, Body: event},
		},
		"an endpoint's query that is to stay as it is": {
			"POST", "/in?sig=a%2fb;c&z=%zz&&b=1&flag&%62=2", basic(nil), &bus.HTTPParameters{Query: map[string]string{"b": "3"}},
			seen{Method: "POST", Path: "/in", Query: "sig=a%2fb;c&z=%zz&flag&b=3", Header: fixed, Body: event},
		},
		"headers of target and connection, of which the last wins": {
			"POST", "/in",
			basic(&bus.ConnectionParameters{Headers: []bus.Parameter{{Key: "x-both", Value: "connection"}, {Key: "Content-Type", Value: "text/plain"}}}),
			&bus.HTTPParameters{Headers: map[string]string{"X-Both": "target", "X-Target": "1"}},
			seen{Method: "POST", Path: "/in", Header: with("X-Both", "connection", "X-Target", "1", "Content-Type", "text/plain"), Body: event},
		},
		"body parameters in an object, in the place of members of their names": {
			"POST", "/in",
			basic(&bus.ConnectionParameters{Body: []bus.Parameter{{Key: "version", Value: "1"}, {Key: "key", Value: `s"x`}}}), nil,
			seen{Method: "POST", Path: "/in", Header: fixed, Body: `{"version":"1","id":"e1","detail":{"name":"机器 🚀 <a&b>"},"key":"s\"x"}`},
		},
		"an API key": {
			"POST", "/in", bus.Credentials{Type: bus.AuthAPIKey, APIKey: &bus.APIKeyCredentials{Name: "x-api-key", Value: "secret"}},
			&bus.HTTPParameters{Headers: map[string]string{"X-Api-Key": "the target's"}},
			seen{Method: "POST", Path: "/in", Header: func() http.Header {
				h := with("X-Api-Key", "secret")
				delete(h, "Authorization")
				return h
			}(), Body: event},
		},
		"the connection's authorization over the parameters'": {
			"POST", "/in", basic(&bus.ConnectionParameters{Headers: []bus.Parameter{{Key: "authorization", Value: "other"}}}), nil,
			seen{Method: "POST", Path: "/in", Header: fixed, Body: event},
		},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tls %t", name, secure), func(t *testing.T) {
				server, client, last := endpoint(t, secure, nil)
				buses := &connections{inv: bus.Invocation{Method: test.method, Endpoint: server.URL + test.endpoint, RateLimit: 300, Credentials: test.credentials}}
				if f := failureOf(t, newTargets(buses, client).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, test.params))); f != nil {
					t.Fatal(f)
				}
				last.Header.Del("Content-Length")
				test.want.Host = strings.TrimPrefix(strings.TrimPrefix(server.URL, "https://"), "http://")
				if diff := cmp.Diff(test.want, *last); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestHeadersThatAWSStripsAreNotSent(t *testing.T) {
	server, client, last := endpoint(t, false, nil)
	params := &bus.HTTPParameters{Headers: map[string]string{}}
	for name := range strippedHeaders {
		params.Headers[strings.ToLower(name)] = "the user's"
	}
	buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: server.URL, RateLimit: 300, Credentials: basic(&bus.ConnectionParameters{
		Headers: []bus.Parameter{{Key: "USER-AGENT", Value: "the user's"}, {Key: "range", Value: "the user's"}},
	})}}
	if err := newTargets(buses, client).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, params)); err != nil {
		t.Fatal(err)
	}
	for name, values := range last.Header {
		if slices.Contains(values, "the user's") {
			t.Errorf("%s was sent", name)
		}
	}
}

func TestARequestThatCannotBeMadeIsFinalAndSaysWhy(t *testing.T) {
	for name, test := range map[string]struct {
		endpoint string
		params   *bus.HTTPParameters
		want     string
	}{
		"an asterisk without a value": {"https://example.com/a/*/b/*", &bus.HTTPParameters{Path: []string{"1"}}, "2 asterisks"},
		"no values at all":            {"example.com/a/*", nil, "1 asterisks"},
		"no URL":                      {"https://example.com/%zz", nil, "not a URL"},
	} {
		t.Run(name, func(t *testing.T) {
			buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: test.endpoint, RateLimit: 300, Credentials: basic(nil)}}
			f := failureOf(t, newTargets(buses, nil).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, test.params)))
			if f == nil || f.Retryable || f.Code != CodeInvalidParameter || !strings.Contains(f.Message, test.want) {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestABodyThatIsNoObjectStaysAsItIs(t *testing.T) {
	extra := []bus.Parameter{{Key: "k", Value: "v"}}
	for body, want := range map[string]string{
		`"text"`: `"text"`, `[1]`: `[1]`, ``: ``, `plain`: `plain`, `{}`: `{"k":"v"}`, ` { "a" : 1e400 } `: `{"a":1e400,"k":"v"}`,
		`{"k":{"k":1},"a":"<"}`: `{"k":"v","a":"<"}`,
	} {
		got, err := mergeBody([]byte(body), extra)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", body, got, err, want)
		}
	}
	for _, broken := range []string{`{`, `{"a":}`, `{"a" 1}`, `{"a":1`, `{"a":1} x`, `{}{}`, `{"a":1,}`} {
		if got, err := mergeBody([]byte(broken), extra); err == nil {
			t.Errorf("%s became %s", broken, got)
		}
	}
}

func TestStatusesFallIntoAWSsClasses(t *testing.T) {
	for status := 200; status < 600; status++ {
		f := answerFailure(&http.Response{StatusCode: status, Header: http.Header{}}, nil, time.Now())
		want := status >= 500 || status == 401 || status == 407 || status == 409 || status == 429
		code := CodeErrorFromTarget
		if status == 429 {
			code = CodeThrottling
		}
		if f.Retryable != want || f.Status != status || f.Code != code {
			t.Errorf("%d: got %+v", status, f)
		}
	}
}

func TestAnswersThatCountAsDelivered(t *testing.T) {
	for status, delivered := range map[int]bool{200: true, 202: true, 204: true, 299: true, 301: false, 304: false, 400: false, 503: false} {
		server, client, _ := endpoint(t, true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: server.URL, RateLimit: 300, Credentials: basic(nil)}}
		f := failureOf(t, newTargets(buses, client).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, nil)))
		if (f == nil) != delivered {
			t.Errorf("%d: got %+v", status, f)
		}
		if f != nil && f.Message != fmt.Sprintf("The API destination answered HTTP status code %d", status) {
			t.Errorf("%d: message %q", status, f.Message)
		}
	}
}

func TestRetryAfterIsReadAsSecondsOrADate(t *testing.T) {
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]struct {
		after     time.Duration
		retryable bool
	}{
		"":                              {0, true},
		"0":                             {0, true},
		"120":                           {2 * time.Minute, true},
		"99999999999":                   {maxRetryAfter, true},
		"99999999999999999999999":       {maxRetryAfter, true},
		"-1":                            {-time.Second, false},
		"-99999999999999999999":         {-time.Second, false},
		"Thu, 15 Jan 2026 12:01:30 GMT": {90 * time.Second, true},
		"Thu, 15 Jan 2026 11:00:00 GMT": {0, true},
		"Thu, 15 Jan 2099 11:00:00 GMT": {maxRetryAfter, true},
		"soon":                          {0, true},
		"1.5":                           {0, true},
	} {
		header := http.Header{}
		header.Set("Retry-After", value)
		f := answerFailure(&http.Response{StatusCode: 503, Header: header}, nil, now)
		if f.RetryAfter != want.after || f.Retryable != want.retryable {
			t.Errorf("%q: got %s, retryable %t", value, f.RetryAfter, f.Retryable)
		}
	}
}

func packed(t *testing.T, w io.WriteCloser, buf *bytes.Buffer, text string) []byte {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestTheAnswerIsQuotedAsText(t *testing.T) {
	var g, z, f bytes.Buffer
	raw, err := flate.NewWriter(&f, -1)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		encoding string
		answer   []byte
		want     string
	}{
		"plain":              {"", []byte("no 机器\nhere"), "no 机器 here"},
		"gzip":               {"gzip", packed(t, gzip.NewWriter(&g), &g, "packed"), "packed"},
		"deflate in zlib":    {"deflate", packed(t, zlib.NewWriter(&z), &z, "packed"), "packed"},
		"deflate without":    {"deflate", packed(t, raw, &f, "packed"), "packed"},
		"gzip that is none":  {"gzip", []byte("plain"), ""},
		"control characters": {"", []byte("a\x00b\x1b[0m\xff\uffff"), "a\ufffdb\ufffd[0m\ufffd\ufffd"},
		"long":               {"", bytes.Repeat([]byte("x"), 5000), strings.Repeat("x", maxQuotedAnswer)},
	} {
		t.Run(name, func(t *testing.T) {
			server, client, _ := endpoint(t, false, func(w http.ResponseWriter, _ *http.Request) {
				if test.encoding != "" {
					w.Header().Set("Content-Encoding", test.encoding)
				}
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write(test.answer)
			})
			buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: server.URL, RateLimit: 300, Credentials: basic(nil)}}
			failure := failureOf(t, newTargets(buses, client).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, nil)))
			want := strings.TrimSuffix("The API destination answered HTTP status code 400: "+test.want, ": ")
			if failure == nil || failure.Message != want {
				t.Errorf("got %+v, want %q", failure, want)
			}
		})
	}
}

func TestADestinationThatCannotBeUsed(t *testing.T) {
	for name, test := range map[string]struct {
		err       error
		code      string
		retryable bool
	}{
		"deleted":                   {fmt.Errorf("x: %w", bus.ErrNoDestination), CodeNoResource, false},
		"its connection is not":     {fmt.Errorf("x: %w", bus.ErrNotAuthorized), CodeNoPermissions, true},
		"the database is away":      {errors.New("no database"), CodeInternalError, true},
		"the database was too slow": {context.DeadlineExceeded, CodeTimeout, true},
	} {
		t.Run(name, func(t *testing.T) {
			targets := newTargets(&connections{err: test.err}, nil)
			targets.limits.set(destinationARN, 1)
			f := failureOf(t, AsFailure(targets.Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, nil))))
			if f.Code != test.code || f.Retryable != test.retryable {
				t.Errorf("got %+v", f)
			}
			if kept := targets.limits.get(destinationARN) != nil; kept != (test.code != CodeNoResource) {
				t.Errorf("its rate limiter is kept: %t", kept)
			}
		})
	}
}

func TestARateLimitIsSharedAndFollowsTheDestination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		buses := &connections{inv: bus.Invocation{RateLimit: 10}}
		targets := newTargets(buses, nil)
		first := attemptAt(destinationARN, bus.KindAPIDestination, nil).Subscription
		second := attemptAt(destinationARN, bus.KindAPIDestination, nil).Subscription
		queue := attemptAt("arn:aws:sqs:us-east-1:111122223333:q", bus.KindQueue, nil).Subscription
		take := func(n int) time.Duration {
			t.Helper()
			start := time.Now()
			for i := range n {
				for _, sub := range []*bus.Subscription{queue, [2]*bus.Subscription{first, second}[i%2]} {
					if err := targets.Wait(t.Context(), sub); err != nil {
						t.Fatal(err)
					}
				}
			}
			return time.Since(start)
		}
		if took := take(31); took != 3*time.Second {
			t.Errorf("31 attempts of two rules at 10 a second took %s", took)
		}
		if buses.reads != 1 {
			t.Errorf("the destination was read %d times to wait for its rate", buses.reads)
		}
		targets.limits.set(destinationARN, 100) // as an attempt does
		if took := take(100); took < 900*time.Millisecond || took > 1100*time.Millisecond {
			t.Errorf("100 attempts at 100 a second took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		take(10)
		start := time.Now()
		for targets.Wait(ctx, first) == nil {
			continue // until the burst is used
		}
		if time.Since(start) > time.Millisecond {
			t.Error("waited although the time would not do")
		}
	})
}

func TestACallThatGetsNoAnswerIsTriedAgain(t *testing.T) {
	server, client, _ := endpoint(t, false, nil)
	url := server.URL
	server.Close()
	buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: url, RateLimit: 300, Credentials: basic(nil)}}
	f := failureOf(t, newTargets(buses, client).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, nil)))
	if f == nil || !f.Retryable || f.Code != CodeConnectionFailure {
		t.Errorf("got %+v", f)
	}
}
