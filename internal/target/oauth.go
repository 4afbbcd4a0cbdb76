package target

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
)

const (
	// tokenMargin is how long before its end a token is replaced; a quarter of its
	// life if that is shorter.
	tokenMargin = time.Minute
	// tokenLife is assumed of a token whose answer does not say, tokenLifeMax is
	// the longest that is believed.
	tokenLife    = time.Hour
	tokenLifeMax = 24 * time.Hour
	// noteTime bounds the storing of how a token request went; the request may have
	// used up the attempt's time.
	noteTime = 2 * time.Second
	// maxTokenAnswer bounds a token endpoint's answer, in bytes.
	maxTokenAnswer = 64 << 10
)

// tokens fetches and keeps the access tokens of OAuth connections, one for each
// connection, by the newest version of its credentials that was asked for.
type tokens struct {
	http   HTTP
	buses  Buses
	logger *slog.Logger

	mu   sync.Mutex
	held map[string]*heldToken // by connection ARN
}

// heldToken is a connection's token; the mutex of tokens guards it.
type heldToken struct {
	version  int64
	header   string    // value of Authorization; empty without a token
	replace  time.Time // when another is to be fetched
	noted    bool      // the connection is noted as authorized
	fetching *fetch    // while a caller fetches
}

// fetch is one token request, which one caller makes and others wait for.
type fetch struct {
	version int64
	done    chan struct{} // closed when the rest is set
	header  string
	err     error
	gaveUp  bool // the caller's time was up, which says nothing to others
}

func newTokens(http HTTP, buses Buses, logger *slog.Logger) *tokens {
	return &tokens{http: http, buses: buses, logger: logger, held: make(map[string]*heldToken)}
}

// get returns the value of the Authorization header, fetching a token if there
// is none, or it belongs to older credentials, or it is about to expire. Of many
// callers one fetches; the others share what comes of it, unless that one gave up.
// The error is a *Failure or ctx's.
func (t *tokens) get(ctx context.Context, c bus.Credentials) (string, error) {
	for {
		header, f, mine := t.begin(c)
		switch {
		case f == nil:
			return header, nil
		case mine:
			t.run(ctx, c, f)
			if f.err == nil {
				t.noteOrLog(ctx, c)
			}
			return f.header, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		if f.version == c.Version && !f.gaveUp {
			return f.header, f.err
		}
	}
}

// begin returns the token that is held, or the request that is to be waited for;
// mine says that the caller is to make it.
func (t *tokens) begin(c bus.Credentials) (header string, f *fetch, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.held[c.ConnectionARN]
	if !ok {
		h = &heldToken{}
		t.held[c.ConnectionARN] = h
	}
	if h.header != "" && h.version == c.Version && time.Now().Before(h.replace) {
		return h.header, nil, false
	}
	if h.fetching == nil {
		h.fetching = &fetch{version: c.Version, done: make(chan struct{})}
		return "", h.fetching, true
	}
	return "", h.fetching, false
}

// run makes a token request and notes how it went.
func (t *tokens) run(ctx context.Context, c bus.Credentials, f *fetch) {
	var life time.Duration
	f.err, f.gaveUp = errors.New("the token request was broken off"), true
	defer func() { // also when it panics: others wait
		t.mu.Lock()
		h := t.held[c.ConnectionARN]
		h.fetching = nil
		if f.err == nil {
			h.version, h.header, h.noted = c.Version, f.header, false
			h.replace = time.Now().Add(life - min(tokenMargin, life/4))
		}
		t.mu.Unlock()
		close(f.done)
	}()
	header, lasts, err := t.fetch(ctx, c.OAuth)
	f.gaveUp = ctx.Err() != nil
	if err != nil {
		f.err = t.failed(ctx, c, err)
		return
	}
	life = lasts
	f.header, f.err, f.gaveUp = header, nil, false
}

// note stores that the connection is authorized, if that is not done.
func (t *tokens) note(ctx context.Context, c bus.Credentials) error {
	t.mu.Lock()
	noted := t.held[c.ConnectionARN].noted
	t.mu.Unlock()
	if noted {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	if err := t.buses.ConnectionAuthorized(ctx, c.ConnectionARN, c.Version); err != nil {
		return fmt.Errorf("note that connection %s is authorized: %w", c.ConnectionARN, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.held[c.ConnectionARN]; h.version == c.Version {
		h.noted = true
	}
	return nil
}

func (t *tokens) noteOrLog(ctx context.Context, c bus.Credentials) {
	if err := t.note(ctx, c); err != nil {
		t.logger.Warn("a connection has a token but its state was not stored", "connection", c.ConnectionARN, "error", err)
	}
}

// forget drops a token that an endpoint refused, unless a newer one is there.
func (t *tokens) forget(connectionARN, header string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.held[connectionARN]; h != nil && h.header == header {
		h.header = ""
	}
}

// failed notes why the connection has no token. The event is tried again: the
// credentials may be mended meanwhile. That the caller was stopped says nothing of
// the connection.
func (t *tokens) failed(ctx context.Context, c bus.Credentials, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTime)
	defer cancel()
	f, reason := callFailure(err), "Could not connect to the specified endpoint."
	refused, answered := errors.AsType[*tokenRefused](err)
	if answered {
		f, reason = refused.failure(), refused.Error()
	}
	f.Retryable = true
	rejected := answered && !refused.passing()
	if err := t.buses.ConnectionFailed(ctx, c.ConnectionARN, c.Version, reason, rejected); err != nil {
		t.logger.Warn("a connection has no token but its state was not stored", "connection", c.ConnectionARN, "error", err)
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
	return strings.TrimSuffix(fmt.Sprintf("The authorization endpoint answered HTTP status code %d: %s", e.status, e.answer), ": ")
}

// passing says that the endpoint had troubles of its own or was asked too
// often, which says nothing about the credentials.
func (e *tokenRefused) passing() bool {
	switch e.status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.status >= http.StatusInternalServerError
}

func (e *tokenRefused) failure() *Failure {
	f := &Failure{Code: CodeNoPermissions, Message: e.Error(), Status: e.status}
	switch {
	case e.status == http.StatusTooManyRequests:
		f.Code = CodeThrottling
	case e.passing():
		f.Code = CodeErrorFromTarget
	}
	return f
}

// Authorize fetches a token for the connection, so that a new connection comes
// to be authorized before its first event. The error is a *Failure, or says that
// the connection's state could not be stored.
func (t *Targets) Authorize(ctx context.Context, c bus.Credentials) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	if _, err := t.tokens.get(ctx, c); err != nil {
		return AsFailure(err)
	}
	return t.tokens.note(ctx, c)
}

// fetch makes the token request.
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
	answer, err := readAnswer(resp, maxTokenAnswer)
	if err != nil {
		return "", 0, err
	}
	if resp.StatusCode/100 != 2 {
		return "", 0, &tokenRefused{resp.StatusCode, quote(answer)}
	}
	header, life, ok := readToken(answer)
	if !ok {
		return "", 0, &tokenRefused{resp.StatusCode, "the answer holds no usable access_token"}
	}
	return header, life, nil
}

// readToken reads a token endpoint's answer: the value of Authorization, and how
// long it lasts.
func readToken(answer []byte) (header string, life time.Duration, ok bool) {
	var token struct {
		AccessToken string          `json:"access_token"`
		TokenType   string          `json:"token_type"`
		ExpiresIn   json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(answer, &token); err != nil {
		return "", 0, false
	}
	if token.TokenType == "" || strings.EqualFold(token.TokenType, "bearer") {
		token.TokenType = "Bearer"
	}
	if !isVisible(token.AccessToken) || !isVisible(token.TokenType) {
		return "", 0, false
	}
	return token.TokenType + " " + token.AccessToken, lifeOf(token.ExpiresIn), true
}

// isVisible reports whether the text is visible ASCII, as a header may hold it.
func isVisible(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	return s != ""
}

// lifeOf reads expires_in: seconds, which some providers send as a string.
func lifeOf(expiresIn json.RawMessage) time.Duration {
	seconds, err := strconv.ParseFloat(strings.Trim(string(expiresIn), `"`), 64)
	if err != nil || !(seconds > 0) {
		return tokenLife
	}
	if seconds >= tokenLifeMax.Seconds() {
		return tokenLifeMax
	}
	return time.Duration(seconds * float64(time.Second))
}

// tokenRequest builds the token request. AWS: client id and secret go in the form,
// for GET in the query; grant_type is added where the user's parameters lack it. A
// header parameter that says so has the form sent as JSON.
func tokenRequest(ctx context.Context, c *bus.OAuthCredentials) (*http.Request, error) {
	endpoint, err := url.Parse(withScheme(c.Endpoint))
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
	if c.Method == http.MethodGet {
		maps.Copy(query, form)
	}
	endpoint.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, c.Method, endpoint.String(), http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("the authorization endpoint cannot be called: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if c.Method != http.MethodGet {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, p := range extra.Headers {
		setHeader(req, p.Key, p.Value)
	}
	req.Header.Set("User-Agent", userAgent)
	if c.Method != http.MethodGet {
		return req, setForm(req, form)
	}
	return req, nil
}

// setForm sets the form as the body, in the format that the content type says.
func setForm(req *http.Request, form url.Values) error {
	body := []byte(form.Encode())
	if mediaType, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type")); mediaType == "application/json" || strings.HasSuffix(mediaType, "+json") {
		fields := make(map[string]string, len(form))
		for key := range form {
			fields[key] = form.Get(key)
		}
		var err error
		if body, err = json.Marshal(fields); err != nil {
			return fmt.Errorf("encode the token request: %w", err)
		}
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return nil
}
