package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
)

func oauth(endpoint, method string, params *bus.ConnectionParameters) bus.Credentials {
	return bus.Credentials{ConnectionARN: "c", Version: 1, Type: bus.AuthOAuth, OAuth: &bus.OAuthCredentials{
		ClientID: "id", ClientSecret: "s&cret", Endpoint: endpoint, Method: method, Parameters: params,
	}}
}

func TestATokenRequestHasTheFormThatTheProviderWants(t *testing.T) {
	form := url.Values{"client_id": {"id"}, "client_secret": {"s&cret"}, "grant_type": {"client_credentials"}}
	for name, test := range map[string]struct {
		method string
		params *bus.ConnectionParameters
		query  url.Values
		form   url.Values // nil: none
		json   map[string]string
		header map[string]string
	}{
		"a form": {method: "POST", form: form, header: map[string]string{"Content-Type": "application/x-www-form-urlencoded", "User-Agent": userAgent}},
		"PUT":    {method: "PUT", form: form},
		"GET, in the query": {
			method: "GET", query: url.Values{"a": {"1"}, "client_id": {"id"}, "client_secret": {"s&cret"}, "grant_type": {"client_credentials"}},
			header: map[string]string{"Content-Type": ""},
		},
		"parameters": {
			method: "POST",
			params: &bus.ConnectionParameters{
				Headers: []bus.Parameter{{Key: "Authorization", Value: "Basic x"}, {Key: "Host", Value: "elsewhere"}, {Key: "Content-Length", Value: "1"}},
				Query:   []bus.Parameter{{Key: "q", Value: "机"}},
				Body:    []bus.Parameter{{Key: "grant_type", Value: "password"}, {Key: "scope", Value: "a b"}},
			},
			query:  url.Values{"a": {"1"}, "q": {"机"}},
			form:   url.Values{"client_id": {"id"}, "client_secret": {"s&cret"}, "grant_type": {"password"}, "scope": {"a b"}},
			header: map[string]string{"Authorization": "Basic x"},
		},
		"the grant type in the query": {
			method: "POST", params: &bus.ConnectionParameters{Query: []bus.Parameter{{Key: "grant_type", Value: "x"}}},
			query: url.Values{"a": {"1"}, "grant_type": {"x"}}, form: url.Values{"client_id": {"id"}, "client_secret": {"s&cret"}},
		},
		"JSON": {
			method: "POST",
			params: &bus.ConnectionParameters{
				Headers: []bus.Parameter{{Key: "content-type", Value: "application/json; charset=utf-8"}},
				Body:    []bus.Parameter{{Key: "audience", Value: "api"}},
			},
			json:   map[string]string{"client_id": "id", "client_secret": "s&cret", "grant_type": "client_credentials", "audience": "api"},
			header: map[string]string{"Content-Type": "application/json; charset=utf-8"},
		},
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tls %t", name, secure), func(t *testing.T) {
				server, client, last := endpoint(t, secure, func(w http.ResponseWriter, _ *http.Request) {
					_, _ = io.WriteString(w, `{"access_token":"tok","token_type":"bearer","expires_in":3600}`)
				})
				buses := &connections{}
				tokens := newTokens(client, buses, nil)
				header, err := tokens.get(t.Context(), oauth(server.URL+"/token?a=1", test.method, test.params))
				if err != nil || header != "Bearer tok" {
					t.Fatalf("got %q, %v", header, err)
				}
				if test.query == nil {
					test.query = url.Values{"a": {"1"}}
				}
				if last.Method != test.method || last.Path != "/token" || last.Query != test.query.Encode() {
					t.Errorf("%s %s?%s", last.Method, last.Path, last.Query)
				}
				if !strings.HasPrefix(server.URL, "http") || strings.Contains(last.Host, "elsewhere") {
					t.Errorf("host %s", last.Host)
				}
				for key, want := range test.header {
					if got := last.Header.Get(key); got != want {
						t.Errorf("%s: %q, want %q", key, got, want)
					}
				}
				if test.json != nil {
					var got map[string]string
					if err := json.Unmarshal([]byte(last.Body), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(test.json) {
						t.Errorf("body %s, %v", last.Body, err)
					}
				} else if last.Body != test.form.Encode() {
					t.Errorf("body %s, want %s", last.Body, test.form.Encode())
				}
			})
		}
	}
}

func TestAnAuthorizationEndpointWithoutASchemeIsHTTPS(t *testing.T) {
	req, err := tokenRequest(t.Context(), oauth("auth.example.com/token", "POST", nil).OAuth)
	if err != nil || req.URL.String() != "https://auth.example.com/token" {
		t.Errorf("got %v, %v", req.URL, err)
	}
}

// provider stands for a token endpoint.
type provider struct {
	calls  atomic.Int32
	answer func(ctx context.Context, call int) (status int, body string, err error)
}

func (p *provider) Do(req *http.Request) (*http.Response, error) {
	status, body, err := p.answer(req.Context(), int(p.calls.Add(1)))
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// numbered answers with tokens t1, t2, …
func numbered(expiresIn string) func(context.Context, int) (int, string, error) {
	return func(_ context.Context, call int) (int, string, error) {
		return 200, fmt.Sprintf(`{"access_token":"t%d"%s}`, call, expiresIn), nil
	}
}

func TestATokenIsReplacedBeforeItEnds(t *testing.T) {
	for name, test := range map[string]struct {
		expiresIn   string
		kept, ended time.Duration
	}{
		"an hour":                 {`,"expires_in":3600`, 59*time.Minute - time.Second, 59 * time.Minute},
		"as a string":             {`,"expires_in":"3600"`, 59*time.Minute - time.Second, 59 * time.Minute},
		"not said":                {``, 59*time.Minute - time.Second, 59 * time.Minute},
		"said to be nothing":      {`,"expires_in":0`, 59*time.Minute - time.Second, 59 * time.Minute},
		"not a number":            {`,"expires_in":"never"`, 59*time.Minute - time.Second, 59 * time.Minute},
		"shorter than the margin": {`,"expires_in":40`, 29 * time.Second, 30 * time.Second},
		"longer than can be":      {`,"expires_in":1e300`, 24*time.Hour - 61*time.Second, 24*time.Hour - 59*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &provider{answer: numbered(test.expiresIn)}
				tokens := newTokens(p, &connections{}, nil)
				get := func(want string) {
					t.Helper()
					if got, err := tokens.get(t.Context(), oauth("https://x", "POST", nil)); got != want || err != nil {
						t.Fatalf("got %q, %v, want %q", got, err, want)
					}
				}
				get("Bearer t1")
				time.Sleep(test.kept)
				get("Bearer t1")
				time.Sleep(test.ended - test.kept)
				get("Bearer t2")
			})
		})
	}
}

func TestOneOfManyCallersFetchesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answer: func(ctx context.Context, call int) (int, string, error) {
			time.Sleep(time.Second)
			return numbered("")(ctx, call)
		}}
		tokens := newTokens(p, &connections{}, nil)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if got, err := tokens.get(t.Context(), oauth("https://x", "POST", nil)); got != "Bearer t1" || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
			})
		}
		wg.Wait()
		if n := p.calls.Load(); n != 1 {
			t.Errorf("%d token requests", n)
		}
	})
}

func TestCallersShareARefusalAndNotTheEndOfAnothersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answer: func(ctx context.Context, call int) (int, string, error) {
			select {
			case <-ctx.Done():
				return 0, "", &CallError{Kind: TimedOut, Host: "x", Err: ctx.Err()}
			case <-time.After(3 * time.Second):
				return 401, "no", nil
			}
		}}
		tokens := newTokens(p, &connections{}, nil)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := tokens.get(impatient, oauth("https://x", "POST", nil))
			if f := AsFailure(err); f.Code != CodeTimeout {
				t.Errorf("the impatient got %v", err)
			}
		})
		synctest.Wait()
		for range 20 {
			wg.Go(func() {
				_, err := tokens.get(t.Context(), oauth("https://x", "POST", nil))
				if f := AsFailure(err); f.Code != CodeNoPermissions || !f.Retryable || f.Status != 401 {
					t.Errorf("the others got %v", err)
				}
			})
		}
		start := time.Now()
		wg.Wait()
		if n := p.calls.Load(); n != 2 {
			t.Errorf("%d token requests, want 2", n)
		}
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestACallerWhoseTimeIsUpDoesNotWaitForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{answer: func(ctx context.Context, call int) (int, string, error) {
			time.Sleep(time.Hour)
			return numbered("")(ctx, call)
		}}
		tokens := newTokens(p, &connections{}, nil)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = tokens.get(t.Context(), oauth("https://x", "POST", nil))
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := tokens.get(ctx, oauth("https://x", "POST", nil)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("took %s", took)
		}
		<-done
	})
}

func TestNewCredentialsGetANewToken(t *testing.T) {
	p := &provider{answer: numbered("")}
	buses := &connections{}
	tokens := newTokens(p, buses, nil)
	for version, want := range []string{1: "Bearer t1", 2: "Bearer t2"} {
		if want == "" {
			continue
		}
		c := oauth("https://x", "POST", nil)
		c.Version = int64(version)
		for range 2 {
			if got, err := tokens.get(t.Context(), c); got != want || err != nil {
				t.Errorf("version %d: got %q, %v", version, got, err)
			}
		}
	}
	if want := []string{"authorized v1", "authorized v2"}; !slices.Equal(buses.noted(), want) {
		t.Errorf("noted %q", buses.noted())
	}
}

func TestHowATokenRequestFailedIsNoted(t *testing.T) {
	for name, test := range map[string]struct {
		status   int
		body     string
		err      error
		note     string
		wantCode string
	}{
		"refused":         {401, "no\x00", nil, "failed v1 rejected=true: The authorization endpoint answered HTTP status code 401: no\ufffd", CodeNoPermissions},
		"a mistake":       {404, "", nil, "failed v1 rejected=true: The authorization endpoint answered HTTP status code 404", CodeNoPermissions},
		"trouble":         {503, "later", nil, "failed v1 rejected=false: The authorization endpoint answered HTTP status code 503: later", CodeErrorFromTarget},
		"too many":        {429, "later", nil, "failed v1 rejected=false: The authorization endpoint answered HTTP status code 429: later", CodeThrottling},
		"no JSON":         {200, "<html>", nil, "failed v1 rejected=true: The authorization endpoint answered HTTP status code 200: the answer holds no usable access_token", CodeNoPermissions},
		"no token":        {200, `{"expires_in":1}`, nil, "failed v1 rejected=true: The authorization endpoint answered HTTP status code 200: the answer holds no usable access_token", CodeNoPermissions},
		"a line break":    {200, `{"access_token":"a\r\nX-Admin: 1"}`, nil, "failed v1 rejected=true: The authorization endpoint answered HTTP status code 200: the answer holds no usable access_token", CodeNoPermissions},
		"no answer":       {0, "", &CallError{Kind: TimedOut, Host: "x"}, "failed v1 rejected=false: Could not connect to the specified endpoint.", CodeTimeout},
		"no such host":    {0, "", &CallError{Kind: NoSuchHost, Host: "x"}, "failed v1 rejected=false: Could not connect to the specified endpoint.", CodeConnectionFailure},
		"not our address": {0, "", &CallError{Kind: Refused, Host: "x"}, "failed v1 rejected=false: Could not connect to the specified endpoint.", CodeConnectionFailure},
	} {
		t.Run(name, func(t *testing.T) {
			p := &provider{answer: func(context.Context, int) (int, string, error) { return test.status, test.body, test.err }}
			buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: "https://y", RateLimit: 1, Credentials: oauth("https://x", "POST", nil)}}
			f := failureOf(t, newTargets(buses, p).Invoke(t.Context(), attemptAt(destinationARN, bus.KindAPIDestination, nil)))
			if f == nil || f.Code != test.wantCode || !f.Retryable {
				t.Errorf("got %+v", f)
			}
			if got := buses.noted(); !slices.Equal(got, []string{test.note}) {
				t.Errorf("noted %q, want %q", got, test.note)
			}
		})
	}
}

func TestAuthorizeFailsUntilTheStateIsStored(t *testing.T) {
	p := &provider{answer: numbered("")}
	buses := &connections{noteErr: errors.New("no database")}
	targets := newTargets(buses, p)
	if err := targets.Authorize(t.Context(), oauth("https://x", "POST", nil)); err == nil {
		t.Error("authorized although that was not stored")
	}
	if token, err := targets.tokens.get(t.Context(), oauth("https://x", "POST", nil)); token != "Bearer t1" || err != nil {
		t.Errorf("the token was lost: %q, %v", token, err)
	}
	buses.mu.Lock()
	buses.noteErr = nil
	buses.mu.Unlock()
	if err := targets.Authorize(t.Context(), oauth("https://x", "POST", nil)); err != nil {
		t.Error(err)
	}
	if got := buses.noted(); !slices.Equal(got, []string{"authorized v1"}) {
		t.Errorf("noted %q", got)
	}
}

func TestATokenThatAnEndpointRefusesIsReplacedForTheNextAttempt(t *testing.T) {
	for _, status := range []int{401, 407} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var issued atomic.Int32
			server, client, _ := endpoint(t, true, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/token":
					fmt.Fprintf(w, `{"access_token":"t%d","token_type":"Bearer","expires_in":3600}`, issued.Add(1))
				case r.Header.Get("Authorization") != "Bearer t2":
					w.WriteHeader(status)
				}
			})
			buses := &connections{inv: bus.Invocation{Method: "POST", Endpoint: server.URL + "/in", RateLimit: 300, Credentials: oauth(server.URL+"/token", "POST", nil)}}
			targets := newTargets(buses, client)
			a := attemptAt(destinationARN, bus.KindAPIDestination, nil)
			if f := failureOf(t, targets.Invoke(t.Context(), a)); f == nil || !f.Retryable || f.Status != status {
				t.Errorf("the first attempt: %+v", f)
			}
			if f := failureOf(t, targets.Invoke(t.Context(), a)); f != nil {
				t.Errorf("the second attempt: %+v", f)
			}
			targets.tokens.forget("c", "Bearer t1") // another attempt was late
			if f := failureOf(t, targets.Invoke(t.Context(), a)); f != nil || issued.Load() != 2 {
				t.Errorf("the third attempt: %+v, %d tokens issued", f, issued.Load())
			}
		})
	}
}
