package target

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/bus"
)

// notedConnection is a connection that remembers what became of it.
type notedConnection struct {
	Buses
	authorized bool
	rejected   bool
	reason     string
}

func (n *notedConnection) ConnectionAuthorized(context.Context, string, int64) error {
	n.authorized = true
	return nil
}

func (n *notedConnection) ConnectionFailed(_ context.Context, _ string, _ int64, reason string, rejected bool) error {
	n.reason, n.rejected = reason, rejected
	return nil
}

// tokenEndpoint answers each request with the same status and body.
type tokenEndpoint struct {
	status int
	body   string
	got    *http.Request
	sent   string
}

func (e *tokenEndpoint) Do(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	e.got, e.sent = req, string(body)
	return &http.Response{StatusCode: e.status, Body: io.NopCloser(strings.NewReader(e.body)), Header: http.Header{}}, nil
}

func oauthCredentials() bus.Credentials {
	return bus.Credentials{
		ConnectionARN: "arn:aws:events:us-east-1:000000000000:connection/orders/1", Version: 1, Type: bus.AuthOAuth,
		OAuth: &bus.OAuthCredentials{ClientID: "id&1", ClientSecret: "秘=密", Endpoint: "https://auth.example/token?tenant=a", Method: http.MethodPost},
	}
}

// A provider that is down has not refused the credentials: the connection goes
// on asking.
func TestTokenAnswersTellRejectionFromTrouble(t *testing.T) {
	tests := map[string]struct {
		status   int
		body     string
		rejected bool
		code     string // of the failure; empty for none
	}{
		"a token":               {status: 200, body: `{"access_token":"t"}`},
		"wrong credentials":     {status: 401, body: `{"error":"invalid_client"}`, rejected: true, code: CodeNoPermissions},
		"a wrong grant":         {status: 400, body: `{"error":"invalid_grant"}`, rejected: true, code: CodeNoPermissions},
		"no such page":          {status: 404, rejected: true, code: CodeNoPermissions},
		"an answer but no JSON": {status: 200, body: `<html>`, rejected: true, code: CodeNoPermissions},
		"a fault":               {status: 500, code: CodeErrorFromTarget},
		"being restarted":       {status: 503, code: CodeErrorFromTarget},
		"too many requests":     {status: 429, code: CodeThrottling},
		"a slow request":        {status: 408, code: CodeErrorFromTarget},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := &notedConnection{}
			targets := New(Options{Buses: c, HTTP: &tokenEndpoint{status: tt.status, body: tt.body}})
			err := targets.Authorize(t.Context(), oauthCredentials())
			if c.rejected != tt.rejected || c.authorized != (tt.code == "") {
				t.Errorf("rejected %v, authorized %v (%s), want %v, %v", c.rejected, c.authorized, c.reason, tt.rejected, tt.code == "")
			}
			if tt.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if f := AsFailure(err); f.Code != tt.code || !f.Retryable || f.Status != tt.status {
				t.Errorf("failure %+v, want code %s, retryable", f, tt.code)
			}
		})
	}
}

func TestTokenRequests(t *testing.T) {
	tests := map[string]struct {
		method      string
		parameters  *bus.ConnectionParameters
		url, body   string
		contentType string
	}{
		"a form": {
			method: "POST", url: "https://auth.example/token?tenant=a", contentType: "application/x-www-form-urlencoded",
			body: "client_id=id%261&client_secret=" + url.QueryEscape("秘=密") + "&grant_type=client_credentials",
		},
		"with the user's parameters": {
			method: "PUT", url: "https://auth.example/token?q=1+2&tenant=a", contentType: "application/x-www-form-urlencoded",
			parameters: &bus.ConnectionParameters{
				Body:  []bus.Parameter{{Key: "grant_type", Value: "password"}, {Key: "scope", Value: "a b"}},
				Query: []bus.Parameter{{Key: "q", Value: "1 2"}},
			},
			body: "client_id=id%261&client_secret=" + url.QueryEscape("秘=密") + "&grant_type=password&scope=a+b",
		},
		"GET has them in the query": {
			method: "GET",
			url:    "https://auth.example/token?client_id=id%261&client_secret=" + url.QueryEscape("秘=密") + "&grant_type=client_credentials&tenant=a",
		},
		"JSON where the user's header says so": {
			method: "POST", url: "https://auth.example/token?tenant=a", contentType: "application/json; charset=utf-8",
			parameters: &bus.ConnectionParameters{Headers: []bus.Parameter{{Key: "content-type", Value: "application/json; charset=utf-8"}}},
			body:       `{"client_id":"id\u00261","client_secret":"秘=密","grant_type":"client_credentials"}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			endpoint := &tokenEndpoint{status: 200, body: `{"access_token":"t"}`}
			c := oauthCredentials()
			c.OAuth.Method, c.OAuth.Parameters = tt.method, tt.parameters
			if err := New(Options{Buses: &notedConnection{}, HTTP: endpoint}).Authorize(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got := endpoint.got.URL.String(); endpoint.got.Method != tt.method || got != tt.url {
				t.Errorf("%s %s, want %s %s", endpoint.got.Method, got, tt.method, tt.url)
			}
			if endpoint.sent != tt.body || endpoint.got.Header.Get("Content-Type") != tt.contentType {
				t.Errorf("sends %s as %q, want %s as %q", endpoint.sent, endpoint.got.Header.Get("Content-Type"), tt.body, tt.contentType)
			}
			if got := endpoint.got.Header.Get("User-Agent"); got != userAgent {
				t.Errorf("User-Agent %q", got)
			}
		})
	}
}

func TestBodyParametersKeepTheOrderOfTheBody(t *testing.T) {
	extra := []bus.Parameter{{Key: "source", Value: "\"新\""}, {Key: "tenant", Value: "a&b"}}
	tests := map[string]struct{ body, want string }{
		"an envelope":   {`{"version":"0","source":"shop","detail":{"n":1.50,"b":[1,2]}}`, `{"version":"0","source":"\"新\"","detail":{"n":1.50,"b":[1,2]},"tenant":"a&b"}`},
		"an empty one":  {`{}`, `{"source":"\"新\"","tenant":"a&b"}`},
		"a list stays":  {`[1]`, `[1]`},
		"a string too":  {`"x"`, `"x"`},
		"a key twice":   {`{"a":1,"b":2,"a":3}`, `{"a":3,"b":2,"source":"\"新\"","tenant":"a&b"}`},
		"a key escaped": {`{"\u0061\"":1}`, `{"a\"":1,"source":"\"新\"","tenant":"a&b"}`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := mergeBody([]byte(tt.body), extra)
			if err != nil || string(got) != tt.want {
				t.Errorf("got %s, %v; want %s", got, err, tt.want)
			}
		})
	}
	if got, err := mergeBody([]byte(`{"a":`), extra); err == nil {
		t.Errorf("half an object becomes %s", got)
	}
}
