// Package intake takes events in from real AWS: a *source* is an HTTPS endpoint
// that EventBridge API destinations call, or an SQS queue that is polled. An
// event keeps what it is (id, time, account, region, resources, detail) and
// comes onto a bus once, however often it arrives within a day.
//
// It does not deliver events, nor make up any: PutEvents and injection are
// package bus's, and what follows from an event is for rules to say.
package intake

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Cloud reaches the queues of AWS accounts.
type Cloud interface {
	// SQS returns a client for a 12-digit account in a region, as it is configured
	// now: it is asked before each round of calls.
	SQS(ctx context.Context, account, region string) (*sqs.Client, error)
}

// Options are what New needs.
type Options struct {
	DB    *store.DB
	Cloud Cloud
	// Auth keeps the credentials of endpoints and checks their tokens.
	Auth *auth.Auth
	// BusExists reports whether there is an event bus; default buses always are.
	BusExists func(ctx context.Context, ref event.BusRef) (bool, error)
	// PublicURL returns the URL under which AWS reaches this server, without a
	// trailing slash.
	PublicURL func() string
	// Changed is called after each change of a source, so that other nodes can be
	// told to call Refresh. Nil: there are none.
	Changed func()
	// Now is the clock; nil stands for time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Intake is the service. Its methods are safe for concurrent use. Errors that
// are a caller's doing are an *httpapi.Error.
type Intake struct {
	o      Options
	db     *store.DB
	log    *slog.Logger
	holder string // of leases

	// calls has one element for each call of an endpoint that is being taken in.
	calls chan struct{}
	// refresh is told that sources changed.
	refresh chan struct{}
	// These are invisibleFor, pollWait and callTime, but in tests.
	invisible, pollWait, callTime time.Duration

	activities activities
	totals     totals
	pressure   pressure

	mu   sync.Mutex
	open map[string]*openSource // by id
}

// maxCalls is how many calls of endpoints are taken in at once; more are asked
// to come again.
const maxCalls = 256

// New returns the sources kept in o.DB. Whoever calls it also runs [Intake.Run].
// Node names this process in leases.
func New(node string, o Options) *Intake {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Intake{
		o: o, db: o.DB, log: o.Logger, holder: node,
		calls: make(chan struct{}, maxCalls), refresh: make(chan struct{}, 1), invisible: invisibleFor, pollWait: pollWait, callTime: callTime, open: map[string]*openSource{},
	}
}

// now is the time in the resolution that the database keeps.
func (i *Intake) now() time.Time { return i.o.Now().UTC().Truncate(time.Millisecond) }

// Refresh has this node look for sources that another node changed.
func (i *Intake) Refresh() {
	select {
	case i.refresh <- struct{}{}:
	default:
	}
}

// changed tells of a source that was changed here.
func (i *Intake) changed() {
	i.Refresh()
	if i.o.Changed != nil {
		i.o.Changed()
	}
}
