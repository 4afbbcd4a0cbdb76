package intake

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// sourceJSON is a source as the API shows it. ClientSecret is there only in the
// answer that made it; what belongs to endpoints is null for queues, and the other
// way round.
type sourceJSON struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Kind         Kind          `json:"kind"`
	Enabled      bool          `json:"enabled"`
	Description  string        `json:"description"`
	Bus          string        `json:"bus"`
	Accounts     []string      `json:"allow_accounts"`
	Regions      []string      `json:"allow_regions"`
	Pattern      string        `json:"pattern"`
	MaxPerSecond int           `json:"max_events_per_second"`
	QueueARN     *string       `json:"queue_arn"`
	EndpointURL  *string       `json:"endpoint_url"`
	TokenURL     *string       `json:"token_url"`
	ClientID     *string       `json:"client_id"`
	ClientSecret string        `json:"client_secret,omitempty"`
	Secrets      []secretJSON  `json:"secrets,omitempty"`
	CreatedAt    time.Time     `json:"created_at"`
	UpdatedAt    time.Time     `json:"updated_at"`
	Activity     *activityJSON `json:"activity,omitempty"`
	Notes        []string      `json:"notes"`
}

type secretJSON struct {
	ID         string     `json:"id"`
	LastFour   string     `json:"last_four"`
	CreatedAt  *time.Time `json:"created_at"`
	ExpiresAt  *time.Time `json:"expires_at"`
	RevokedAt  *time.Time `json:"revoked_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
}

// activityJSON is what came of a source. Received is the sum of the three after it.
type activityJSON struct {
	Received   int64      `json:"received"`
	Accepted   int64      `json:"accepted"`
	Duplicates int64      `json:"duplicates"`
	Refused    int64      `json:"refused"`
	AcceptedAt *time.Time `json:"last_accepted_at"`
	Lag        float64    `json:"lag_seconds"`
	RefusedAt  *time.Time `json:"last_refused_at"`
	RefusedWhy *string    `json:"last_refused_why"`
	FailedAt   *time.Time `json:"failing_since"`
	FailedWhy  *string    `json:"failing_why"`
	Waiting    *int64     `json:"waiting"`
	PolledAt   *time.Time `json:"polled_at"`
	Kept       *int       `json:"refused_kept"`
}

// settingsJSON is what a caller may set; what is missing keeps its value, or its
// default at first.
type settingsJSON struct {
	Enabled      *bool    `json:"enabled"`
	Description  *string  `json:"description"`
	Bus          *string  `json:"bus"`
	Accounts     []string `json:"allow_accounts"`
	Regions      []string `json:"allow_regions"`
	Pattern      *string  `json:"pattern"`
	MaxPerSecond *int     `json:"max_events_per_second"`
}

// newSourceJSON is a source that is to be made.
type newSourceJSON struct {
	settingsJSON
	Name  string `json:"name"`
	Kind  Kind   `json:"kind"`
	Queue string `json:"queue"`
}

func (in *settingsJSON) apply(s *Source) {
	setIf(&s.Enabled, in.Enabled)
	setIf(&s.Settings.Description, in.Description)
	setIf(&s.Settings.Bus, in.Bus)
	setIf(&s.Settings.Pattern, in.Pattern)
	setIf(&s.Settings.MaxPerSecond, in.MaxPerSecond)
	if in.Accounts != nil {
		s.Settings.Accounts = in.Accounts
	}
	if in.Regions != nil {
		s.Settings.Regions = in.Regions
	}
}

func setIf[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// toJSON is a source without what came of it.
func (i *Intake) toJSON(s Source) sourceJSON {
	j := sourceJSON{
		ID: s.ID, Name: s.Name, Kind: s.Kind, Enabled: s.Enabled, Description: s.Settings.Description, Bus: s.Settings.Bus,
		Accounts: s.Settings.Accounts, Regions: append([]string{}, s.Settings.Regions...), Pattern: s.Settings.Pattern,
		MaxPerSecond: s.Settings.MaxPerSecond, QueueARN: textOrNull(s.Settings.Queue), ClientID: textOrNull(s.ClientID),
		CreatedAt: s.CreatedAt, UpdatedAt: s.UpdatedAt, Notes: i.notes(s),
	}
	if s.Kind == KindEndpoint {
		j.EndpointURL, j.TokenURL = new(i.endpointURL(s.ID)), new(i.o.PublicURL()+httpapi.TokenPath)
	}
	return j
}

// notes say what keeps a source's events from arriving.
func (i *Intake) notes(s Source) []string {
	notes := []string{}
	public := i.o.PublicURL()
	switch {
	case s.Kind != KindEndpoint:
	case isLoopback(public):
		notes = append(notes, "AWS cannot reach "+public+": start the server with --public-url https://… to receive events from AWS.")
	case !strings.HasPrefix(public, "https://"):
		notes = append(notes, "EventBridge calls https:// only, not "+public+": start the server with --public-url https://….")
	}
	if !s.Enabled {
		notes = append(notes, "The source is disabled: what AWS sends waits there.")
	}
	return notes
}

func isLoopback(publicURL string) bool {
	u, err := url.Parse(publicURL)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// show is a source with all that there is to know of it.
func (i *Intake) show(r *http.Request, s Source) (sourceJSON, error) {
	j := i.toJSON(s)
	a, err := i.Activity(r.Context(), s)
	if err != nil {
		return sourceJSON{}, err
	}
	j.Activity = &activityJSON{
		Received: a.Accepted + a.Duplicates + a.Refused, Accepted: a.Accepted, Duplicates: a.Duplicates, Refused: a.Refused,
		AcceptedAt: timeOrNull(a.AcceptedAt), Lag: a.Lag.Seconds(), RefusedAt: timeOrNull(a.RefusedAt), RefusedWhy: textOrNull(a.RefusedWhy),
		FailedAt: timeOrNull(a.FailedAt), FailedWhy: textOrNull(a.FailedWhy), PolledAt: timeOrNull(a.PolledAt),
	}
	if s.Kind == KindQueue {
		kept, _, err := countRefused(r.Context(), i.db, s.ID)
		if err != nil {
			return sourceJSON{}, err
		}
		j.Activity.Waiting, j.Activity.Kept = &a.Waiting, &kept
	}
	secrets, err := i.Secrets(r.Context(), s)
	for _, x := range secrets {
		j.Secrets = append(j.Secrets, secretJSON{x.ID, x.LastFour, timeOrNull(x.CreatedAt), timeOrNull(x.ExpiresAt), timeOrNull(x.RevokedAt), timeOrNull(x.LastUsedAt)})
	}
	return j, err
}

// Register adds the endpoints, which authenticate by their tokens, and the REST API
// of sources, which expects the caller's principal in the context. A source brings
// service events, so that making and changing one is for admins; and for those alone,
// as looking at it is, who govern all accounts that it has to do with.
//
//	GET    /v1/sources                           {list: [source]}
//	POST   /v1/sources                           201 the source, with client_secret
//	GET    /v1/sources/{source}                  by name or id
//	PUT    /v1/sources/{source}                  changes what is given
//	DELETE /v1/sources/{source}                  204
//	POST   /v1/sources/{source}/secrets          {overlap} → 201 the source, with client_secret
//	DELETE /v1/sources/{source}/secrets/{secret} 204
//	GET    /v1/sources/{source}/refused          {list: [message]} kept of a queue
//	POST   /v1/sources/{source}/refused/{message}/retry
//	DELETE /v1/sources/{source}/refused/{message}
func (i *Intake) Register(mux *http.ServeMux) {
	mux.HandleFunc(EndpointPath, i.serveEndpoint)
	mux.HandleFunc("GET /v1/intake/{id}", i.serveURL)
	handle := func(pattern string, p auth.Permission, serve func(http.ResponseWriter, *http.Request) error) {
		mux.HandleFunc(pattern, auth.Require(p, func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r); err != nil {
				httpapi.WriteError(w, r, err)
			}
		}))
	}
	handle("GET /v1/sources", auth.Read, i.serveList)
	handle("POST /v1/sources", auth.Administer, i.serveAdd)
	handle("GET /v1/sources/{source}", auth.Read, i.serveShow)
	handle("PUT /v1/sources/{source}", auth.Administer, i.serveUpdate)
	handle("DELETE /v1/sources/{source}", auth.Administer, i.serveRemove)
	handle("POST /v1/sources/{source}/secrets", auth.Administer, i.serveRotate)
	handle("DELETE /v1/sources/{source}/secrets/{secret}", auth.Administer, i.serveRevoke)
	handle("GET /v1/sources/{source}/refused", auth.Read, i.serveRefused)
	handle("POST /v1/sources/{source}/refused/{message}/retry", auth.Administer, i.serveRetry)
	handle("DELETE /v1/sources/{source}/refused/{message}", auth.Administer, i.serveDiscard)
}

// governs reports whether the caller may have to do with all of these accounts.
func governs(r *http.Request, accounts []string) bool {
	who, _ := auth.PrincipalFrom(r.Context())
	return !slices.ContainsFunc(accounts, func(a string) bool { return !who.Governs(a) })
}

// mayMake refuses a source that has to do with accounts that are none of the
// caller's business.
func mayMake(r *http.Request, s *Source) error {
	for _, a := range s.accounts() {
		if err := auth.CheckAccount(r.Context(), a); err != nil {
			return err
		}
	}
	return nil
}

// named finds the source of the path. To a caller who may not see it, it is not
// there.
func (i *Intake) named(r *http.Request) (Source, error) {
	s, err := i.Source(r.Context(), r.PathValue("source"))
	if err == nil && !governs(r, s.accounts()) {
		err = noSource(r.PathValue("source"))
	}
	return s, err
}

func (i *Intake) serveList(w http.ResponseWriter, r *http.Request) error {
	all, err := i.Sources(r.Context())
	if err != nil {
		return err
	}
	list := make([]sourceJSON, 0, len(all))
	for _, s := range all {
		if !governs(r, s.accounts()) {
			continue
		}
		j, err := i.show(r, s)
		if err != nil {
			return err
		}
		list = append(list, j)
	}
	httpapi.JSON(w, http.StatusOK, map[string]any{"list": list})
	return nil
}

func (i *Intake) serveAdd(w http.ResponseWriter, r *http.Request) error {
	var in newSourceJSON
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	s := Source{Name: in.Name, Kind: in.Kind, Enabled: true, Settings: Settings{Queue: in.Queue}}
	in.apply(&s)
	// Bad input is told before what the caller may not do with it.
	if err := s.validate(); err != nil {
		return err
	}
	if err := mayMake(r, &s); err != nil {
		return err
	}
	s, secret, err := i.Add(r.Context(), s)
	if err != nil {
		return err
	}
	return i.answer(w, r, http.StatusCreated, s, secret)
}

// answer shows a source, with its client secret where one was just made.
func (i *Intake) answer(w http.ResponseWriter, r *http.Request, status int, s Source, secret string) error {
	j, err := i.show(r, s)
	if err != nil {
		return err
	}
	j.ClientSecret = secret
	httpapi.JSON(w, status, j)
	return nil
}

func (i *Intake) serveShow(w http.ResponseWriter, r *http.Request) error {
	s, err := i.named(r)
	if err != nil {
		return err
	}
	return i.answer(w, r, http.StatusOK, s, "")
}

func (i *Intake) serveUpdate(w http.ResponseWriter, r *http.Request) error {
	var in settingsJSON
	if err := httpapi.Decode(w, r, &in, 0); err != nil {
		return err
	}
	s, err := i.named(r)
	if err != nil {
		return err
	}
	// Whether a bus is there is told only to those who may send to it.
	wanted := s
	if in.apply(&wanted); wanted.validate() == nil {
		if err := mayMake(r, &wanted); err != nil {
			return err
		}
	}
	// A bus that the source has already may be gone; it can be changed nevertheless.
	if in.Bus != nil && *in.Bus != s.Settings.Bus {
		if err := i.checkBus(r.Context(), Settings{Bus: *in.Bus}); err != nil {
			return err
		}
	}
	s, err = i.Update(r.Context(), s.ID, func(s *Source) error {
		in.apply(s)
		if err := s.validate(); err != nil {
			return err
		}
		return mayMake(r, s)
	})
	if err != nil {
		return err
	}
	return i.answer(w, r, http.StatusOK, s, "")
}

func (i *Intake) serveRemove(w http.ResponseWriter, r *http.Request) error {
	s, err := i.named(r)
	if err != nil {
		return err
	}
	if err := i.Remove(r.Context(), s.ID); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (i *Intake) serveRotate(w http.ResponseWriter, r *http.Request) error {
	in := struct {
		Overlap string `json:"overlap"`
	}{DefaultOverlap.String()}
	if r.ContentLength != 0 {
		if err := httpapi.Decode(w, r, &in, 0); err != nil {
			return err
		}
	}
	overlap, err := time.ParseDuration(in.Overlap)
	if err != nil {
		return httpapi.Invalid("overlap %q is not a length of time such as \"48h\" or \"5m\".", in.Overlap)
	}
	s, err := i.named(r)
	if err != nil {
		return err
	}
	s, secret, err := i.RotateSecret(r.Context(), s.ID, overlap)
	if err != nil {
		return err
	}
	return i.answer(w, r, http.StatusCreated, s, secret)
}

func (i *Intake) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	s, err := i.named(r)
	if err != nil {
		return err
	}
	if err := i.RevokeSecret(r.Context(), s.ID, r.PathValue("secret")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

// refusedJSON is a message that a source keeps. Body is text: what is not UTF-8 in
// it is replaced.
type refusedJSON struct {
	ID        string    `json:"message_id"`
	Why       string    `json:"why"`
	RefusedAt time.Time `json:"refused_at"`
	Body      string    `json:"body"`
}

// refusedPage is how many messages a page shows: each may be as large as a message.
const refusedPage = 10

func (i *Intake) serveRefused(w http.ResponseWriter, r *http.Request) error {
	page, err := httpapi.ParsePage(r)
	if err != nil {
		return err
	}
	if page.Prev || page.Descending {
		return httpapi.Invalid("Refused messages are listed forwards only.")
	}
	if page.Offset != "" && !messageIDForm.MatchString(page.Offset) {
		return httpapi.Invalid("Query parameter offset is none that this server gives out; follow the Link header.")
	}
	s, err := i.named(r)
	if err != nil {
		return err
	}
	limit := min(page.Count, refusedPage)
	list, err := i.Refused(r.Context(), s, page.Offset, limit)
	if err != nil {
		return err
	}
	out := make([]refusedJSON, len(list))
	for n, m := range list {
		out[n] = refusedJSON{m.ID, m.Why, m.RefusedAt, strings.ToValidUTF8(string(m.Body), "\ufffd")}
	}
	if len(list) == limit {
		httpapi.SetLinks(w, r, list[limit-1].ID, "")
	}
	httpapi.JSON(w, http.StatusOK, map[string]any{"list": out})
	return nil
}

func (i *Intake) serveRetry(w http.ResponseWriter, r *http.Request) error {
	s, err := i.named(r)
	if err != nil {
		return err
	}
	if err := i.RetryRefused(r.Context(), s, r.PathValue("message")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}

func (i *Intake) serveDiscard(w http.ResponseWriter, r *http.Request) error {
	s, err := i.named(r)
	if err != nil {
		return err
	}
	if err := i.DiscardRefused(r.Context(), s, r.PathValue("message")); err != nil {
		return err
	}
	httpapi.NoContent(w)
	return nil
}
