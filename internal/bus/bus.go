package bus

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Appender is the event log: Append returns nil once the entries are durable,
// and then keeps nothing of them.
type Appender interface {
	Append(ctx context.Context, entries [][]byte) error
}

// Secrets seals what must be readable again: the authorization of connections.
type Secrets interface {
	Seal(purpose string, plain []byte) (sealed []byte)
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Limits are the quotas of AWS. The zero value of a field stands for AWS's default.
type Limits struct {
	// Buses per account and region, the default bus included. Default 100.
	Buses int
	// Rules per bus. Default 300.
	Rules int
	// Targets per rule. Default 5.
	Targets int
	// PatternLength is the longest event pattern in characters. Default 2048.
	PatternLength int
	// PutEventsBytes is the most that the entries of one PutEvents call may take.
	// Default 1 MiB; AWS before 2026: 256 KiB.
	PutEventsBytes int
	// Connections and APIDestinations per account and region. Default 3000.
	Connections, APIDestinations int
	// Archives per account and region. Default 100.
	Archives int
	// Replays that are active at once, per account and region. Default 10.
	Replays int
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		field *int
		value int
	}{
		{&l.Buses, 100}, {&l.Rules, 300}, {&l.Targets, 5}, {&l.PatternLength, 2048},
		{&l.PutEventsBytes, 1 << 20}, {&l.Connections, 3000}, {&l.APIDestinations, 3000}, {&l.Archives, 100}, {&l.Replays, 10},
	} {
		if *f.field <= 0 {
			*f.field = f.value
		}
	}
	return l
}

// Options configure Open. DB, Log, Secrets and Jobs are required.
type Options struct {
	DB      *store.DB
	Log     Appender
	Secrets Secrets
	// Jobs runs the fetch of a connection's first token, see HandleAuthorization.
	Jobs *work.Runner
	// CheckEndpoint refuses URLs that may not be called, such as http:// to a host
	// that is not allowed; nil accepts every http and https URL.
	CheckEndpoint func(url string) error
	// Changed is told of each change of a bus once it is committed here, so that
	// other nodes can be told to call WaitVersion. It must not block. May be nil.
	Changed func(ref event.BusRef, version uint64)
	// Progress paces replays by how far the router is; nil lets them go as fast as
	// the log takes them.
	Progress Progress
	// Lagging says whether one of the subscriptions has as much to do as its target
	// takes: replays wait for it for a while. May be nil.
	Lagging func(ctx context.Context, subscriptions []int64) (bool, error)
	// OrgID is the organization that all accounts here belong to, for policies
	// with aws:PrincipalOrgID; empty: none.
	OrgID  string
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now    func() time.Time
	Limits Limits
}

// Buses holds all event buses of all accounts and regions. Use Open.
type Buses struct {
	db       *store.DB
	log      Appender
	secrets  Secrets
	jobs     *work.Runner
	endpoint func(string) error
	changed  func(event.BusRef, uint64)
	logger   *slog.Logger
	now      func() time.Time
	limits   Limits
	orgID    string
	since    time.Time // default buses exist since then
	archiver *archiveWriter
	pace     *replayPace

	schedules chan struct{} // told that a rule's schedule changed

	// changing[i] is held by whoever changes a bus that hashes to i, in SQL and
	// then in memory, so that memory follows SQL in order.
	changing [64]sync.Mutex
	seed     maphash.Seed

	memory atomic.Pointer[map[event.BusRef]*busMemory]
	adding sync.Mutex // guards replacing the map behind memory

	subscriptions struct {
		sync.RWMutex
		byID map[int64]*Subscription
	}
	removed struct {
		sync.RWMutex
		callbacks []func(id int64)
	}
}

// Open loads all buses, rules and targets from the database.
func Open(ctx context.Context, o Options) (*Buses, error) {
	if o.DB == nil || o.Log == nil || o.Secrets == nil || o.Jobs == nil {
		return nil, errors.New("open buses: database, event log, secrets and jobs are required")
	}
	b := &Buses{
		db: o.DB, log: o.Log, secrets: o.Secrets, jobs: o.Jobs, endpoint: o.CheckEndpoint, changed: o.Changed,
		logger: o.Logger, now: o.Now, limits: o.Limits.withDefaults(), orgID: o.OrgID, seed: maphash.MakeSeed(),
	}
	if b.logger == nil {
		b.logger = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.endpoint == nil {
		b.endpoint = func(string) error { return nil }
	}
	if b.changed == nil {
		b.changed = func(event.BusRef, uint64) {}
	}
	b.schedules = make(chan struct{}, 1)
	b.archiver, b.pace = newArchiveWriter(o.DB), newReplayPace(&o)
	b.OnRemoved(b.archiver.forget)
	b.handleArchives()
	b.memory.Store(&map[event.BusRef]*busMemory{})
	b.subscriptions.byID = map[int64]*Subscription{}
	err := b.db.Update(ctx, func(tx *store.Tx) (err error) {
		b.since, err = installedAt(ctx, tx, b.now())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open buses: %w", err)
	}
	if err := b.loadAll(ctx); err != nil {
		return nil, fmt.Errorf("open buses: %w", err)
	}
	return b, nil
}

// EventBus is an event bus as it is described.
type EventBus struct {
	Ref         event.BusRef
	Description string
	// Policy is the resource policy as JSON, empty without.
	Policy string
	// DeadLetterARN is the queue for events that cannot be decrypted, which does not
	// happen here; empty without.
	DeadLetterARN string
	// Log says what AWS would log of the bus.
	Log        LogConfig
	CreatedAt  time.Time
	ModifiedAt time.Time
}

// LogConfig is how much a bus is to log, in AWS's words; empty where nothing was
// said. AWS logs only once a delivery of logs is set up with CloudWatch Logs, which
// cannot be done here.
type LogConfig struct {
	// Level is OFF, ERROR, INFO or TRACE.
	Level string
	// IncludeDetail is NONE or FULL.
	IncludeDetail string
}

// BusChange is what creating or updating a bus sets. Nil members leave what is
// there; an empty text or LogConfig takes it away.
type BusChange struct {
	Description, DeadLetterARN *string
	Log                        *LogConfig
}

func (c BusChange) apply(e *EventBus) {
	set(&e.Description, c.Description)
	set(&e.DeadLetterARN, c.DeadLetterARN)
	if c.Log != nil {
		e.Log = *c.Log
	}
}

func (c BusChange) check(ref event.BusRef) error {
	if err := checkText("Description", c.Description); err != nil {
		return err
	}
	if c.DeadLetterARN == nil || *c.DeadLetterARN == "" {
		return nil
	}
	return checkDeadLetterQueue("Parameter DeadLetterConfig.Arn", *c.DeadLetterARN, ref)
}

// CreateBus creates a custom event bus. AWS: ResourceAlreadyExistsException
// when the name is taken (the default bus always is), LimitExceededException
// when there are too many.
func (b *Buses) CreateBus(ctx context.Context, ref event.BusRef, change BusChange, tags []Tag) error {
	if strings.Contains(ref.Name, "/") {
		return awsapi.ValidationException("Event bus name must not contain '/'.")
	}
	if ref.Name == event.DefaultBus {
		return alreadyExists("Event bus %s already exists.", ref.Name)
	}
	if err := change.check(ref); err != nil {
		return err
	}
	if err := checkTags(tags); err != nil {
		return err
	}
	return b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		now := b.now()
		e := EventBus{Ref: ref, CreatedAt: now, ModifiedAt: now}
		change.apply(&e)
		created, err := insertBus(ctx, tx, e)
		if err != nil {
			return nil, err
		}
		if !created {
			return nil, alreadyExists("Event bus %s already exists.", ref.Name)
		}
		n, err := countBuses(ctx, tx, ref.Account, ref.Region)
		if err != nil {
			return nil, err
		}
		if n+1 > b.limits.Buses { // and the default bus
			return nil, limitExceeded()
		}
		return nil, putTags(ctx, tx, ref.ARN(), tags)
	})
}

// Bus describes a bus. AWS: ResourceNotFoundException when there is none.
func (b *Buses) Bus(ctx context.Context, ref event.BusRef) (EventBus, error) {
	return b.bus(ctx, b.db, ref)
}

func (b *Buses) bus(ctx context.Context, q store.Querier, ref event.BusRef) (EventBus, error) {
	found, ok, err := selectBus(ctx, q, ref)
	if err != nil {
		return EventBus{}, err
	}
	if !ok && ref.Name == event.DefaultBus {
		return b.untouchedDefault(ref), nil
	}
	if !ok {
		return EventBus{}, noBus(ref.Name)
	}
	return found, nil
}

// untouchedDefault is a default bus of which nothing was ever set.
func (b *Buses) untouchedDefault(ref event.BusRef) EventBus {
	return EventBus{Ref: ref, CreatedAt: b.since, ModifiedAt: b.since}
}

// ListBuses returns the buses of an account and region whose names have the
// prefix, by name.
func (b *Buses) ListBuses(ctx context.Context, account, region, prefix string, page Page) ([]EventBus, string, error) {
	after, err := page.after(busPages)
	if err != nil {
		return nil, "", err
	}
	all, err := selectBuses(ctx, b.db, account, region)
	if err != nil {
		return nil, "", fmt.Errorf("list event buses: %w", err)
	}
	isDefault := func(e EventBus) bool { return e.Ref.Name == event.DefaultBus }
	if !slices.ContainsFunc(all, isDefault) {
		all = append(all, b.untouchedDefault(event.BusRef{Account: account, Region: region, Name: event.DefaultBus}))
	}
	all = slices.DeleteFunc(all, func(e EventBus) bool {
		return !strings.HasPrefix(e.Ref.Name, prefix) || e.Ref.Name <= after
	})
	slices.SortFunc(all, func(x, y EventBus) int { return strings.Compare(x.Ref.Name, y.Ref.Name) })
	found, next := cutPage(all, page, busPages, func(e EventBus) string { return e.Ref.Name })
	return found, next, nil
}

// UpdateBus changes what change names.
func (b *Buses) UpdateBus(ctx context.Context, ref event.BusRef, change BusChange) (EventBus, error) {
	var updated EventBus
	if err := change.check(ref); err != nil {
		return updated, err
	}
	err := b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		var err error
		updated, err = b.changeBus(ctx, tx, ref, func(e *EventBus) error {
			change.apply(e)
			return nil
		})
		awsapi.Made(ctx, updated)
		return nil, err
	})
	return updated, err
}

// changeBus edits the bus's row, making it first for a default bus without one.
func (b *Buses) changeBus(ctx context.Context, tx *store.Tx, ref event.BusRef, edit func(*EventBus) error) (EventBus, error) {
	e, err := b.bus(ctx, tx, ref)
	if err != nil {
		return EventBus{}, err
	}
	if err := edit(&e); err != nil {
		return EventBus{}, err
	}
	e.ModifiedAt = b.now()
	return e, saveBus(ctx, tx, e)
}

// DeleteBus deletes a custom bus. AWS: a missing bus is no error, a bus with
// rules and the default bus are refused.
func (b *Buses) DeleteBus(ctx context.Context, ref event.BusRef) error {
	if ref.Name == event.DefaultBus {
		return awsapi.ValidationException("Cannot delete event bus default.")
	}
	_, ok, err := selectBus(ctx, b.db, ref)
	if err != nil {
		return fmt.Errorf("delete event bus %s: %w", ref.Name, err)
	}
	if !ok {
		return nil
	}
	return b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		n, err := countRules(ctx, tx, ref)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return nil, awsapi.ValidationException("EventBus can't be deleted since it has rules.")
		}
		if err := deleteTags(ctx, tx, ref.ARN()); err != nil {
			return nil, err
		}
		return nil, deleteBus(ctx, tx, ref)
	})
}
