package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
)

const (
	// tokenMargin is how long before its end a token is replaced.
	tokenMargin = time.Minute
	// tokenLife is assumed of a token whose answer does not say.
	tokenLife = time.Hour
	// maxTokenAnswer bounds a token endpoint's answer, in bytes.
	maxTokenAnswer = 64 << 10
)

// tokens fetches and keeps the access tokens of OAuth connections, one for each
// version of a connection's credentials.
type tokens struct {
	http  HTTP
	buses Buses

	mu   sync.Mutex
	held map[string]*heldToken // by connection ARN
}

// heldToken is a connection's token; its lock makes one caller fetch while the
// others wait.
type heldToken struct {
	mu      sync.Mutex
	version int64
	header  string // value of Authorization
	expires time.Time
}

func newTokens(http HTTP, buses Buses) *tokens {
	return &tokens{http: http, buses: buses, held: make(map[string]*heldToken)}
}

func (t *tokens) slot(connectionARN string) *heldToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.held[connectionARN]
	if !ok {
		h = &heldToken{}
		t.held[connectionARN] = h
	}
	return h
}

// get returns the value of the Authorization header, fetching a token if there
// is none, or it belongs to older credentials, or it is about to expire.
func (t *tokens) get(ctx context.Context, c bus.Credentials) (string, error) {
	h := t.slot(c.ConnectionARN)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.header != "" && h.version == c.Version && time.Until(h.expires) > tokenMargin {
		return h.header, nil
	}
	header, life, err := t.fetch(ctx, c.OAuth)
	if err != nil {
		return "", t.failed(ctx, c, err)
	}
	if err := t.buses.ConnectionAuthorized(ctx, c.ConnectionARN, c.Version); err != nil {
		return "", fmt.Errorf("note that connection %s is authorized: %w", c.ConnectionARN, err)
	}
	h.version, h.header, h.expires = c.Version, header, time.Now().Add(life)
	return header, nil
}

// forget drops a token that an endpoint refused, unless a newer one is there.
func (t *tokens) forget(connectionARN, header string) {
	if header == "" {
		return
	}
	h := t.slot(connectionARN)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.header == header {
		h.header = ""
	}
}

// failed notes why the connection has no token. The event is tried again: the
// credentials may be mended meanwhile.
func (t *tokens) failed(ctx context.Context, c bus.Credentials, err error) error {
	reason := "Could not connect to the specified endpoint."
	f := callFailure(err)
	refused, answered := errors.AsType[*tokenRefused](err)
	if answered {
		reason = refused.Error()
		f = refused.failure()
	}
	rejected := answered && !refused.passing()
	if noteErr := t.buses.ConnectionFailed(ctx, c.ConnectionARN, c.Version, reason, rejected); noteErr != nil {
		return fmt.Errorf("note that connection %s has no token: %w", c.ConnectionARN, noteErr)
	}
	return f
}

// tokenRefused says that the authorization endpoint answered, and not with a
// token.
type tokenRefused struct {
	status int
	answer string
}

// Error quotes the endpoint's answer.
func (e *tokenRefused) Error() string {
	return fmt.Sprintf("The authorization endpoint answered HTTP status code %d: %s", e.status, e.answer)
}

// passing says that the endpoint had troubles of its own or was asked too
// often, which says nothing about the credentials.
func (e *tokenRefused) passing() bool {
	return e.status >= http.StatusInternalServerError || e.status == http.StatusTooManyRequests || e.status == http.StatusRequestTimeout
}

func (e *tokenRefused) failure() *Failure {
	f := &Failure{Code: CodeNoPermissions, Message: e.Error(), Retryable: true, Status: e.status}
	switch {
	case e.status == http.StatusTooManyRequests:
		f.Code = CodeThrottling
	case e.passing():
		f.Code = CodeErrorFromTarget
	}
	return f
}

// Authorize fetches a token for the connection, so that a new connection comes
// to be authorized before its first event. The error is a *Failure.
func (t *Targets) Authorize(ctx context.Context, c bus.Credentials) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	_, err := t.tokens.get(ctx, c)
	return err
}

// fetch makes the token request. AWS: client id and secret go in the form, for
// GET in the query; grant_type is added where the user's parameters lack it. A
// Content-Type of application/json among the parameters makes the body JSON.
func (t *tokens) fetch(ctx context.Context, c *bus.OAuthCredentials) (header string, life time.Duration, err error) {
	req, err := tokenRequest(ctx, c)
	if err != nil {
		return "", 0, err
	}
	resp, err := t.http.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxTokenAnswer))
	if err != nil {
		return "", 0, err
	}
	if resp.StatusCode/100 != 2 {
		return "", 0, &tokenRefused{resp.StatusCode, quote(answer)}
	}
	var token struct {
		AccessToken string      `json:"access_token"`
		TokenType   string      `json:"token_type"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	if err := json.Unmarshal(answer, &token); err != nil || token.AccessToken == "" {
		return "", 0, &tokenRefused{resp.StatusCode, "the answer holds no access_token"}
	}
	life = tokenLife
	if seconds, err := token.ExpiresIn.Float64(); err == nil && seconds > 0 {
		life = time.Duration(seconds * float64(time.Second))
	}
	if token.TokenType == "" || strings.EqualFold(token.TokenType, "bearer") {
		token.TokenType = "Bearer"
	}
	return token.TokenType + " " + token.AccessToken, life, nil
}

func quote(answer []byte) string {
	return strings.ToValidUTF8(string(answer[:min(len(answer), maxQuotedAnswer)]), "�")
}

func tokenRequest(ctx context.Context, c *bus.OAuthCredentials) (*http.Request, error) {
	endpoint, err := url.Parse(c.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("the authorization endpoint %q is not a URL: %w", c.Endpoint, err)
	}
	extra := c.Parameters
	if extra == nil {
		extra = &bus.ConnectionParameters{}
	}
	form := url.Values{"client_id": {c.ClientID}, "client_secret": {c.ClientSecret}}
	for _, p := range extra.Body {
		form.Set(p.Key, p.Value)
	}
	query := endpoint.Query()
	for _, p := range extra.Query {
		query.Set(p.Key, p.Value)
	}
	if !form.Has("grant_type") && !query.Has("grant_type") {
		form.Set("grant_type", "client_credentials")
	}
	body := []byte(form.Encode())
	if contentType := headerOf(extra.Headers, "Content-Type"); isJSON(contentType) {
		if body, err = json.Marshal(fieldsOf(form)); err != nil {
			return nil, fmt.Errorf("encode the token request: %w", err)
		}
	}
	if c.Method == http.MethodGet {
		maps.Copy(query, form)
		body = nil
	}
	endpoint.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, c.Method, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("the authorization endpoint cannot be called: %w", err)
	}
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	for _, p := range extra.Headers {
		req.Header.Set(p.Key, p.Value)
	}
	req.Header.Set("User-Agent", userAgent)
	return req, nil
}

func headerOf(headers []bus.Parameter, key string) string {
	value := ""
	for _, p := range headers {
		if strings.EqualFold(p.Key, key) {
			value = p.Value
		}
	}
	return value
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

// fieldsOf is the form as an object, for providers that read JSON only.
func fieldsOf(form url.Values) map[string]string {
	fields := make(map[string]string, len(form))
	for key := range form {
		fields[key] = form.Get(key)
	}
	return fields
}
