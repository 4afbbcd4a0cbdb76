// Package trace answers where an event went: where it entered, which rules matched
// it, which nearly did and why not, each attempt and how every delivery ended. Each
// node records what it does in a Recorder: compact files of its own, bounded,
// written behind the deliveries and never waited for. A Trace is put together from
// what all nodes recorded, the event log while it keeps the event, the rules, and what
// still waits.
//
// It is for people: no delivery depends on it, and where entries were lost a trace
// says so.
package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
)

// Rules are what a trace needs of the bus; a *bus.Buses.
type Rules interface {
	// Explain says what the rules of the record's bus make of its event.
	Explain(ctx context.Context, rec *event.Record, skip map[string]bool, limit int) (bus.Explanation, error)
	// Subscription returns bus.ErrNoSubscription once rule or target is gone.
	Subscription(ctx context.Context, id int64) (*bus.Subscription, error)
}

// Log is what a trace needs of the event log; an *eventlog.Log.
type Log interface {
	Get(ctx context.Context, seq uint64) (*eventlog.Batch, error)
	Backlog(ctx context.Context) (eventlog.Backlog, error)
	Ask(ctx context.Context, topic string, question []byte, take func(answer []byte) (enough bool)) error
	Answer(topic string, answer func(question []byte) []byte) (stop func(), err error)
	MaxAnswerBytes() int
}

// Deliveries say what still waits; a *delivery.Delivery.
type Deliveries interface {
	Waits(ctx context.Context, subscription int64, seq uint64, index int) (delivery.Wait, error)
}

// Options are what Traces are made of. All but Recorder are required.
type Options struct {
	// Recorder is this node's; nil where recording is switched off.
	Recorder   *Recorder
	DB         *store.DB
	Log        Log
	Rules      Rules
	Deliveries Deliveries
	// Node names this process. Cluster says that there may be others.
	Node    string
	Cluster bool
	Logger  *slog.Logger
	Now     func() time.Time
}

// Traces answer for events. Use New, then Run.
type Traces struct {
	Options
	nodes nodeStore
	slots chan struct{} // one for each trace that is being put together
}

// New returns Traces; other nodes hear of this one once it runs.
func New(o Options) *Traces {
	return &Traces{Options: o, nodes: nodeStore{o.DB}, slots: make(chan struct{}, maxAtOnce)}
}

// ErrNotFound says that nothing is known of an event.
var ErrNotFound = errors.New("nothing is known of the event")

// Trace is what is known of an event: wherever it went under its id, and under those
// that it got on its way.
type Trace struct {
	ID     string
	Status Status
	// Events are the event on each bus that took it, in the order in which they did.
	Events []Event
	// Notes say what is missing, in words.
	Notes []string
}

// Status says how far a trace is.
type Status string

// The states of a trace.
const (
	// Delivered: all that was to be delivered was.
	Delivered Status = "delivered"
	// Waiting: something waits or is under way.
	Waiting Status = "waiting"
	// Failed: nothing waits, and something was not delivered.
	Failed Status = "failed"
	// Unmatched: no rule matched the event.
	Unmatched Status = "unmatched"
)

// Event is the event on one bus.
type Event struct {
	ID  string
	Bus event.BusRef
	// Sequence and Index are its place in the log.
	Sequence uint64
	Index    int
	// Accepted is when the bus took it, Routed when it was first matched, and Node
	// where; both are zero if that was not recorded.
	Accepted, Routed time.Time
	Node             string
	// Origin is how it came: a word, what that names, and the id that it had before.
	Origin Origin
	// FromEvent is the event of the trace that it came from, an index of Trace.Events;
	// nil if that is not in the trace.
	FromEvent  *int
	Deliveries []Delivery
	// MoreDeliveries is how many further subscriptions it went to.
	MoreDeliveries int
	// JSON is the event, nil if it is no longer kept.
	JSON json.RawMessage
	// Rules are those that did not match, the closest first; MoreRules and UnreadRules
	// how many others did not, and were not looked at.
	Rules                  []bus.RuleReport
	MoreRules, UnreadRules int
	// ReplayRules are the only rules that a replay meant; empty for all.
	ReplayRules []string
}

// Origin is a record's origin, taken apart.
type Origin struct {
	// Kind is one of event.Origin…, empty for an event of before there were any.
	Kind string
	// Name is what it names: an access key, a rule, a replay.
	Name string
	// ID is the id that the event had there, if it was another.
	ID string
}

// Delivery is what became of an event at one subscription.
type Delivery struct {
	Subscription Subscription
	Status       DeliveryStatus
	Steps        []Entry
	// Due is when the next attempt is due, if that is known; Behind is how many batches
	// of the log its catch-up reader has before it.
	Due    time.Time
	InLog  bool
	Behind uint64
	// ForwardedTo is the event of the trace that it went on as, an index of
	// Trace.Events, where the target is an event bus; nil if that is not in the trace.
	ForwardedTo *int
}

// DeliveryStatus says how far a delivery is.
type DeliveryStatus string

// The states of a delivery.
const (
	// DeliveryDelivered: the target took the event.
	DeliveryDelivered DeliveryStatus = "delivered"
	// DeliveryUnderWay: an attempt is made, or about to be.
	DeliveryUnderWay DeliveryStatus = "under_way"
	// DeliveryWaiting: it waits for its next attempt.
	DeliveryWaiting DeliveryStatus = "waiting"
	// DeliveryDeadLettered: it was given up, and the event is in a dead-letter queue or
	// in the built-in store.
	DeliveryDeadLettered DeliveryStatus = "dead_lettered"
	// DeliveryDropped: it was given up, and the event kept nowhere.
	DeliveryDropped DeliveryStatus = "dropped"
	// DeliveryCancelled: rule or target was deleted first.
	DeliveryCancelled DeliveryStatus = "cancelled"
	// DeliveryUnknown: how it ended was not recorded.
	DeliveryUnknown DeliveryStatus = "unknown"
)

// Ended reports whether nothing more becomes of the delivery by itself.
func (s DeliveryStatus) Ended() bool { return s != DeliveryUnderWay && s != DeliveryWaiting }

// sees reports whether the principal may see what happens on the buses of an account.
func sees(p auth.Principal, account string) bool {
	return p.Account == account || p.Role.Has(auth.Administer) && p.Governs(account)
}

const (
	// maxID is how long an id may be that is asked for, in bytes: that of an event has
	// at most 64 characters.
	maxID = 256
	// maxEntries bounds what one node tells of one id.
	maxEntries = 2000
	// maxIDs and maxEvents bound how far an event is followed.
	maxIDs    = 16
	maxEvents = 50
	// maxAtOnce bounds the traces that are put together at a time; more wait.
	maxAtOnce = 8
	// explained is how many rules that did not match are told of each event, and
	// explainTime what looking for them may take in all.
	explained   = 10
	explainTime = 2 * time.Second
)

// Trace returns what is known of the event with the id on the buses that the
// principal may see, or ErrNotFound.
func (t *Traces) Trace(ctx context.Context, p auth.Principal, id string) (*Trace, error) {
	if id == "" || len(id) > maxID {
		return nil, fmt.Errorf("%w: an event's id has 1 to 64 characters", ErrNotFound)
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("trace event %s: %w", id, ctx.Err())
	}
	a := &assembly{t: t, p: p, id: id}
	if err := a.gather(ctx); err != nil {
		return nil, err
	}
	if len(a.events) == 0 {
		return nil, t.notFound(ctx, id, a)
	}
	trace, unsure, err := a.build(ctx)
	if err != nil || !unsure {
		return trace, err
	}
	// What ended while it was being looked for is recorded by now.
	again := &assembly{t: t, p: p, id: id}
	if err := again.gather(ctx); err != nil {
		return nil, err
	}
	trace, _, err = again.build(ctx)
	return trace, err
}

// notFound says what the caller may want to know.
func (t *Traces) notFound(ctx context.Context, id string, a *assembly) error {
	text := fmt.Sprintf("Nothing is known of an event %s: it never came to a bus of your account, or so long ago that its trace was dropped", id)
	if b, err := t.Log.Backlog(ctx); err == nil && b.Waiting+uint64(b.InFlight) > 0 {
		text += fmt.Sprintf(", or it is among the %d batches of events that are not routed yet", b.Waiting+uint64(b.InFlight))
	}
	return notFound{strings.Join(append([]string{text + "."}, a.notes()...), " ")}
}

// notFound is ErrNotFound with what may be told of it.
type notFound struct{ text string }

// Error returns the sentences.
func (e notFound) Error() string { return e.text }

// Unwrap returns ErrNotFound.
func (e notFound) Unwrap() error { return ErrNotFound }
