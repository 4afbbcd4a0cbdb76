package intake

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// EndpointPath is the pattern under which endpoints are served.
const EndpointPath = "POST /v1/intake/{id}"

// acceptTime bounds the taking in of a call. AWS: EventBridge gives an API
// destination five seconds.
const acceptTime = 4 * time.Second

// disabledPause is how long AWS is asked to wait for a source that is disabled.
const disabledPause = time.Minute

// takenJSON answers a call of an endpoint.
type takenJSON struct {
	Accepted   int `json:"accepted"`
	Duplicates int `json:"duplicates"`
}

// serveURL answers a GET of an endpoint with the URL itself. Version 1 of the AWS
// CLI fetches parameters that are URLs and passes on what it gets; so
// --invocation-endpoint with an endpoint's URL means the same in all versions.
func (i *Intake) serveURL(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !idForm.MatchString(id) {
		httpapi.WriteError(w, r, noEndpoint())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, i.endpointURL(id)) //nolint:gosec // plain text; an error is that the caller is gone
}

func noEndpoint() error { return httpapi.NotFound("There is no source with this URL.") }

// serveEndpoint takes a call in. AWS: 401 makes EventBridge fetch a new token;
// 409, 429 and 5xx make it try again, for a day if need be; other 4xx make it give
// the event up, into the rule's dead-letter queue where there is one.
func (i *Intake) serveEndpoint(w http.ResponseWriter, r *http.Request) {
	taken, err := i.takeIn(w, r)
	if err != nil {
		if e, ok := errors.AsType[*httpapi.Error](err); ok && e.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="rialto", error="invalid_token"`)
		}
		httpapi.WriteError(w, r, err)
		return
	}
	status := http.StatusOK
	if taken.Accepted > 0 {
		status = http.StatusAccepted
	}
	httpapi.JSON(w, status, taken)
}

func (i *Intake) takeIn(w http.ResponseWriter, r *http.Request) (takenJSON, error) {
	ctx, cancel := context.WithTimeout(r.Context(), acceptTime)
	defer cancel()
	src, err := i.endpointOf(ctx, r)
	if err != nil {
		return takenJSON{}, err
	}
	select {
	case i.calls <- struct{}{}:
		defer func() { <-i.calls }()
	default:
		return takenJSON{}, tooMany("Too many events arrive at once. Try again.")
	}
	body, err := readBody(w, r)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		i.countRefused(src, 1, "A call was larger than an event can be.")
	}
	if err != nil {
		return takenJSON{}, err
	}
	return i.receive(ctx, src.Source, body, r.Header.Get("X-Amzn-Trace-Id"))
}

// readBody reads the body of a call, which must arrive in acceptTime: it holds a
// place that others wait for.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(acceptTime)) // else the server's own holds
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err == nil {
		_ = conn.SetReadDeadline(time.Time{}) // when it passed, the request would end
		return body, nil
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, err
	}
	// Not the events' doing, so that AWS is to try again.
	return nil, httpapi.Unavailable(time.Second, "The body did not arrive whole within %s. Nothing was taken; try again.", acceptTime)
}

// receive takes the body of a call in: one event or a JSON array of them, all of
// which are accepted or none. It returns once what is new is durable. The error is
// an *httpapi.Error; where it is not the events' doing its status is 429 or 503.
func (i *Intake) receive(ctx context.Context, s Source, body []byte, trace string) (takenJSON, error) {
	src, err := i.opened(s)
	if err != nil {
		return takenJSON{}, i.unavailable(ctx, s, err)
	}
	bodies, err := splitBody(body)
	if err != nil {
		i.countRefused(src, 1, told(err))
		return takenJSON{}, err
	}
	list := make([]candidate, len(bodies))
	for n, b := range bodies {
		if list[n], err = i.judge(ctx, src, arrival{body: b, trace: trace}); err != nil {
			return takenJSON{}, i.refuse(ctx, src, err, n+1, len(bodies))
		}
	}
	if err := i.admit(ctx, src, len(list)); err != nil {
		return takenJSON{}, err
	}
	fresh, err := i.accept(ctx, src, list)
	if err != nil {
		return takenJSON{}, i.unavailable(ctx, s, err)
	}
	var taken takenJSON
	for _, isNew := range fresh {
		if isNew {
			taken.Accepted++
		} else {
			taken.Duplicates++
		}
	}
	return taken, nil
}

// refuse counts what is refused for good, with all that came with it, and words it
// for the sender.
func (i *Intake) refuse(ctx context.Context, src *openSource, err error, number, of int) error {
	if noBus, ok := errors.AsType[errNoBus](err); ok {
		// The events are good: AWS keeps them until somebody has made the bus.
		now := i.now()
		i.activities.note(src.ID, func(t *tally) { t.refusedAt, t.refusedWhy = now, plain(noBus.refusal.Message) })
		return httpapi.Unavailable(disabledPause, "%s", noBus.refusal.Message)
	}
	if _, theirs := refusal(err); !theirs {
		return i.unavailable(ctx, src.Source, err)
	}
	err = numbered(err, number, of)
	i.countRefused(src, of, told(err))
	return err
}

// told is what the sender of an event is told, as it is kept.
func told(err error) string {
	if e, ok := errors.AsType[*httpapi.Error](err); ok {
		return plain(e.Message)
	}
	return plain(err.Error())
}

func tooMany(format string, args ...any) *httpapi.Error {
	e := httpapi.Unavailable(time.Second, format, args...)
	e.Status, e.Code = http.StatusTooManyRequests, httpapi.CodeTooManyRequests
	return e
}

// admit holds events back that may not come now.
func (i *Intake) admit(ctx context.Context, src *openSource, n int) error {
	held, err := i.heldBack(ctx)
	if err != nil {
		return i.unavailable(ctx, src.Source, err)
	}
	if held {
		return tooMany("The event log takes no events now: too many are waiting to be delivered. Nothing was taken; try again.")
	}
	if src.limiter != nil && !src.limiter.AllowN(time.Now(), n) {
		return tooMany("Source %s takes %d events a second. Nothing was taken; try again.", src.Name, src.Settings.MaxPerSecond)
	}
	return nil
}

// unavailable logs an error of ours and words it for the sender.
func (i *Intake) unavailable(ctx context.Context, s Source, err error) error {
	i.log.ErrorContext(ctx, "events not taken in", "source", s.Name, "error", err)
	if store.IsFull(err) {
		return httpapi.Unavailable(time.Minute, "The disk of this server is full; nothing was taken.")
	}
	return httpapi.Unavailable(5*time.Second, "The events could not be stored. Try again.")
}

// endpointOf authenticates a call and returns its source.
func (i *Intake) endpointOf(ctx context.Context, r *http.Request) (*openSource, error) {
	id := r.PathValue("id")
	_, err := i.o.Auth.VerifyToken(ctx, auth.BearerToken(r.Header.Get("Authorization")), audience(id))
	switch {
	case errors.Is(err, auth.ErrToken):
		i.totals.unauthorized.Add(1)
		return nil, httpapi.Unauthenticated("%s; get a new one from %s.", err, i.o.PublicURL()+httpapi.TokenPath)
	case err != nil && !errors.Is(err, auth.ErrAudience):
		return nil, i.unavailable(ctx, Source{ID: id}, err)
	}
	wrongAudience := err != nil
	if wrongAudience {
		i.totals.unauthorized.Add(1)
	}
	if !idForm.MatchString(id) {
		return nil, noEndpoint()
	}
	s, found, err := loadSource(ctx, i.db, id)
	switch {
	case err != nil:
		return nil, i.unavailable(ctx, Source{ID: id}, err)
	case !found || s.Kind != KindEndpoint:
		return nil, noEndpoint()
	case wrongAudience:
		return nil, httpapi.Forbidden("The token is valid, but not for this source.")
	case !s.Enabled:
		return nil, httpapi.Unavailable(disabledPause, "Source %s is disabled. Nothing was taken; try again later.", s.Name)
	}
	return i.opened(s)
}
