package port

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

const (
	// attempts is how often a call is made that fails in a way that may pass.
	attempts = 6
	// firstDelay is the first delay between attempts, about; each is twice the one
	// before, up to maxDelay.
	firstDelay = 500 * time.Millisecond
	maxDelay   = 30 * time.Second
	// maxPause bounds how long Port may have us wait. It counts calls by minutes.
	maxPause = 5 * time.Minute
	// callTime bounds one attempt, its answer included.
	callTime = 30 * time.Second
	// maxAnswer bounds what is read of an answer.
	maxAnswer = 8 << 20
	// maxDetails is how long the details of a refusal may be that are kept: there is
	// one for each entity.
	maxDetails = 10 << 10
)

// request is one call of Port's API.
type request struct {
	method, path string
	agent        string        // User-Agent
	body         any           // JSON; nil for none
	tries        int           // at most so many attempts; 0 for the usual
	time         time.Duration // of one attempt; 0 for the usual
	// stream is given the answer instead of it being decoded; it must not keep it.
	stream func(io.Reader) error
}

// call makes a call, again while it fails in a way that may pass, and decodes the
// answer into out where that is not nil. The error of an answer is a *catalog.Error;
// any other says that Port could not be asked.
func (s *Sink) call(ctx context.Context, r request, out any) error {
	var body []byte
	if r.body != nil {
		var err error
		if body, err = json.Marshal(r.body); err != nil {
			return err
		}
	}
	refreshed, faults := false, 0
	for attempt := 1; ; attempt++ {
		token, err := s.bearer(ctx)
		if err != nil {
			return err
		}
		wait, err := s.attempt(ctx, r, token, body, out)
		answer, refused := errors.AsType[*catalog.Error](err)
		switch {
		case err == nil:
			return nil
		case refused && answer.Status == http.StatusUnauthorized && !refreshed:
			refreshed = true // the token was revoked, or our clock is off
			s.tokens.forget(token)
			continue
		case ctx.Err() != nil, attempt == attempts, refused && !passing[answer.Status]:
			return err
		case refused && answer.Status >= http.StatusInternalServerError:
			if faults++; faults == r.tries {
				return err
			}
		}
		if err := s.sleep(ctx, max(wait, backoff(attempt)), err); err != nil {
			return err
		}
	}
}

// passing are the statuses that may be others the next time.
var passing = map[int]bool{
	http.StatusRequestTimeout: true, http.StatusTooManyRequests: true, http.StatusInternalServerError: true,
	http.StatusBadGateway: true, http.StatusServiceUnavailable: true, http.StatusGatewayTimeout: true,
}

func backoff(attempt int) time.Duration {
	d := min(firstDelay<<(attempt-1), maxDelay)
	return d/2 + rand.N(d)
}

// sleep waits for the next attempt, or returns why the last one failed where there
// is no time for another.
func (s *Sink) sleep(ctx context.Context, d time.Duration, last error) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < d {
		return last
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), last)
	}
}

// attempt makes one call, and returns also how long Port wants us to wait.
func (s *Sink) attempt(ctx context.Context, r request, token string, body []byte, out any) (wait time.Duration, err error) {
	if err := s.pace.wait(ctx); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.time, callTime))
	defer cancel()
	resp, err := s.send(ctx, r, token, body)
	if err != nil {
		return 0, fmt.Errorf("%s %s: %w", r.method, s.base+r.path, err)
	}
	defer resp.Body.Close()
	wait = s.pace.heed(resp)
	if resp.StatusCode == http.StatusOK && r.stream != nil {
		return wait, r.stream(resp.Body)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return wait, fmt.Errorf("%s %s: read the answer: %w", r.method, s.base+r.path, err)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return wait, refusal(resp.StatusCode, text)
	case len(text) > maxAnswer:
		return wait, fmt.Errorf("%s %s: the answer is longer than %d bytes", r.method, s.base+r.path, maxAnswer)
	}
	return wait, decode(r, resp.StatusCode, text, out)
}

func (s *Sink) send(ctx context.Context, r request, token string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, s.base+r.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", r.agent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return s.o.HTTP.Do(req)
}

// answered is what callers want of an answer besides its body.
type answered struct {
	status int
	body   any
}

func decode(r request, status int, text []byte, out any) error {
	if a, ok := out.(*answered); ok {
		a.status, out = status, a.body
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not Port's: %w", r.method, r.path, err)
	}
	return nil
}

// refusal is the error of an answer. Port: {ok: false, error, message, details}.
func refusal(status int, text []byte) *catalog.Error {
	e := &catalog.Error{Status: status}
	var body struct {
		Error   string          `json:"error"`
		Message string          `json:"message"`
		Details json.RawMessage `json:"details"`
	}
	if json.Unmarshal(text, &body) == nil {
		e.Code, e.Message = clip(body.Error), clip(body.Message)
		if len(body.Details) > 0 && len(body.Details) <= maxDetails {
			e.Details = body.Details
		}
	}
	if e.Code == "" {
		e.Code = strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_"))
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("Port answered with status %d.", status)
	}
	return e
}

// clip bounds a text that Port answered, and makes it fit to be stored.
func clip(text string) string {
	const most = 2000
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// pace holds calls back for as long as Port says that none is left.
type pace struct {
	now func() time.Time

	mu    sync.Mutex
	until time.Time
}

// wait returns once calls may be made again.
func (p *pace) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		left := p.until.Sub(p.now())
		p.mu.Unlock()
		if left <= 0 {
			return ctx.Err()
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// heed reads what an answer says of the rate limit, holds further calls back where
// none is left, and returns how long this one should wait.
func (p *pace) heed(resp *http.Response) time.Duration {
	now := p.now()
	wait := retryAfter(resp.Header.Get("Retry-After"), now)
	remaining, err := strconv.Atoi(resp.Header.Get("X-Ratelimit-Remaining"))
	limited := resp.StatusCode == http.StatusTooManyRequests
	if limited && wait == 0 || err == nil && remaining <= 0 {
		wait = max(wait, reset(resp.Header.Get("X-Ratelimit-Reset"), now))
	}
	wait = min(wait, maxPause)
	if wait > 0 && (limited || err == nil && remaining <= 0) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if until := now.Add(wait); until.After(p.until) {
			p.until = until
		}
	}
	return wait
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return span(seconds)
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// reset reads when calls are counted anew: the time in seconds since 1970, as Port
// documents it, or seconds from now, as its Terraform provider takes it.
func reset(text string, now time.Time) time.Duration {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	if n > 1e8 { // three years would be too long to wait
		n -= float64(now.UnixMilli()) / 1000
	}
	return span(n)
}

// span is a number of seconds, within bounds.
func span(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, maxPause.Seconds()) * float64(time.Second))
}
