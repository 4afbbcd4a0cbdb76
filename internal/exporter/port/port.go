// Package port writes entities to Port, the hosted software catalog, as its clients
// do: upserts and deletes in bulk, one token for as long as it lasts, retries that
// keep to what Port says of its rate limit.
//
// It takes the catalog's own changes, keeps no state, and knows nothing of where
// entities come from.
package port

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
)

// DefaultURL is Port's API for organizations in its European region.
const DefaultURL = "https://api.getport.io"

// Place is an account and a region that an exporter writes for.
type Place struct{ Account, Region string }

// UserAgent is what an exporter for an account and region calls itself, and Port
// keeps as the $datasource of entities. Port's AWS exporter: in this form.
func UserAgent(account, region string) string {
	return product + " (" + Place{account, region}.suffix() + ")"
}

const (
	product        = "port-aws-exporter/0.1"
	productName    = "port-aws-exporter"
	productVersion = "0.1"
)

func (p Place) suffix() string { return "accountid/" + p.Account + " region/" + p.Region }

// datasourceForm is that of whoever writes for an account and region.
var datasourceForm = regexp.MustCompile(`^\S+ \(accountid/([0-9]{12}) region/([a-z0-9-]+)\)$`)

// Options are what New needs.
type Options struct {
	// BaseURL is Port's API, with or without its /v1; empty for DefaultURL.
	BaseURL string
	// ClientID and ClientSecret are credentials of an organization.
	ClientID, ClientSecret string
	// Place is what is written for where a writer's Datasource does not end in the
	// (accountid/<account> region/<region>) of another; the installation's own account in
	// us-east-1 where it is not set.
	Place Place
	// Places returns the other accounts and regions that are written for, of whose
	// entities Owned tells, too; nil for none.
	Places func(ctx context.Context) ([]Place, error)
	// HTTP makes the calls, and should follow no redirects. Its time limit is not kept:
	// each call has one of its own.
	HTTP *http.Client
	// Logger is told of what does not stop anything; nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Sink writes entities to Port. Its methods are safe for concurrent use.
type Sink struct {
	o    Options
	base string // without a slash at its end, with /v1
	log  *slog.Logger

	tokens token
	pace   pace

	mu         sync.Mutex
	registered map[Place]bool // those whose integration Port knows
}

// New returns a sink. The error says which setting makes no sense.
func New(o Options) (*Sink, error) {
	if o.BaseURL == "" {
		o.BaseURL = DefaultURL
	}
	u, err := url.Parse(o.BaseURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("port base URL %q is not an http or https URL", o.BaseURL)
	}
	switch {
	case o.ClientID == "" || o.ClientSecret == "":
		return nil, errors.New("port needs a client id and its secret")
	case o.HTTP == nil:
		return nil, errors.New("port needs an HTTP client")
	case o.Place == Place{}:
		o.Place = Place{auth.HomeAccount, "us-east-1"}
	case !placeForm.MatchString(o.Place.Account + " " + o.Place.Region):
		return nil, fmt.Errorf("port needs the account and region that it is written for, not %q and %q", o.Place.Account, o.Place.Region)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	client := *o.HTTP
	client.Timeout, o.HTTP = 0, &client
	base := strings.TrimRight(o.BaseURL, "/")
	if !strings.HasSuffix(base, "/v1") {
		base += "/v1"
	}
	s := &Sink{o: o, base: base, log: o.Logger, registered: map[Place]bool{}}
	s.tokens.line, s.pace.now = make(chan struct{}, 1), o.Now
	return s, nil
}

var placeForm = regexp.MustCompile(`^[0-9]{12} [a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)

// Transactional reports that Port stores nothing of ours in one transaction with
// entities.
func (s *Sink) Transactional() bool { return false }

// agent returns the User-Agent of a writer with this datasource, and the place that
// it names.
func (s *Sink) agent(datasource string) (string, Place) {
	if m := datasourceForm.FindStringSubmatch(datasource); m != nil {
		p := Place{m[1], m[2]}
		return UserAgent(p.Account, p.Region), p
	}
	return UserAgent(s.o.Place.Account, s.o.Place.Region), s.o.Place
}

// register tells Port once who writes for a place. Nothing is held up by a failure:
// the next write tries again.
func (s *Sink) register(ctx context.Context, agent string, p Place) {
	s.mu.Lock()
	done := s.registered[p]
	s.registered[p] = true // others do not wait for it
	s.mu.Unlock()
	if done {
		return
	}
	id := p.Region + ":" + p.Account
	err := s.call(ctx, request{method: http.MethodPost, path: "/integration?upsert=true", agent: agent, body: map[string]string{
		"installationId": id, "installationAppType": "AWS EXPORTER", "title": id, "version": productVersion,
	}}, nil)
	if err != nil {
		s.mu.Lock()
		delete(s.registered, p)
		s.mu.Unlock()
		s.log.WarnContext(ctx, "port does not know the integration yet", "installation", id, "error", err)
	}
}

// escape makes an identifier one segment of a path. Port's exporter: with everything
// encoded that could be taken for anything else.
func escape(id string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(id) {
		c := id[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-._~", c) >= 0:
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
