package port

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// token is the access token that all calls share.
type token struct {
	line chan struct{} // held by whoever gets a new one

	mu    sync.Mutex
	value string
	ends  time.Time
}

// get returns the token if it is good for a while.
func (t *token) get(now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !now.Before(t.ends) {
		return ""
	}
	return t.value
}

func (t *token) set(value string, ends time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.ends = value, ends
}

// forget drops a token that Port has refused, unless there is another by now.
func (t *token) forget(refused string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == refused {
		t.value, t.ends = "", time.Time{}
	}
}

// bearer returns the access token, a new one where the old has ended or is about to.
// One caller gets it, the others wait.
func (s *Sink) bearer(ctx context.Context) (string, error) {
	if have := s.tokens.get(s.o.Now()); have != "" {
		return have, nil
	}
	select {
	case s.tokens.line <- struct{}{}:
		defer func() { <-s.tokens.line }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if have := s.tokens.get(s.o.Now()); have != "" {
		return have, nil
	}
	return s.login(ctx)
}

// login gets a token for the client's id and secret.
func (s *Sink) login(ctx context.Context) (string, error) {
	body, err := json.Marshal(map[string]string{"clientId": s.o.ClientID, "clientSecret": s.o.ClientSecret})
	if err != nil {
		return "", err
	}
	r := request{method: http.MethodPost, path: "/auth/access_token", agent: product}
	for attempt := 1; ; attempt++ {
		var out struct {
			AccessToken string  `json:"accessToken"`
			ExpiresIn   float64 `json:"expiresIn"`
		}
		asked := s.o.Now()
		wait, err := s.attempt(ctx, r, "", body, &out)
		if err == nil && out.AccessToken == "" {
			return "", errors.New("port answered without an access token")
		}
		if err == nil {
			s.tokens.set(out.AccessToken, asked.Add(lifetime(out.ExpiresIn)))
			return out.AccessToken, nil
		}
		answer, refused := errors.AsType[*catalog.Error](err)
		if refused && !passing[answer.Status] {
			return "", &LoginError{answer}
		}
		if ctx.Err() != nil || attempt == attempts {
			return "", err
		}
		if err := s.sleep(ctx, max(wait, backoff(attempt)), err); err != nil {
			return "", err
		}
	}
}

// lifetime is for how long a token is used that Port says is good for so many
// seconds: until a tenth of it, at most five minutes, is left.
func lifetime(seconds float64) time.Duration {
	const longest = 24 * time.Hour
	d := longest
	if seconds < longest.Seconds() {
		d = time.Duration(max(0, seconds) * float64(time.Second))
	}
	return d - min(d/10, 5*time.Minute)
}

// LoginError says that Port refuses the client id and its secret.
type LoginError struct{ Err *catalog.Error }

// Error says what Port answered.
func (e *LoginError) Error() string {
	return "port refuses the client id and its secret: " + e.Err.Message
}
