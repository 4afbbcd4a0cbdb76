package intake

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// Kind is how a source's events arrive.
type Kind string

// The kinds of sources.
const (
	// KindEndpoint: EventBridge calls us, as an API destination.
	KindEndpoint Kind = "endpoint"
	// KindQueue: we poll an SQS queue.
	KindQueue Kind = "queue"
)

// Source is where events come from, and which it may bring.
type Source struct {
	// ID is a UUID: the last part of an endpoint's URL.
	ID   string
	Name string
	Kind Kind
	// Enabled: a source that is not takes nothing; what AWS sends waits there.
	Enabled  bool
	Settings Settings
	// ClientID is the service client that calls an endpoint; empty for queues.
	ClientID             string
	CreatedAt, UpdatedAt time.Time
}

// Settings are what may be chosen of a source. All but Queue can be changed.
type Settings struct {
	Description string `json:"description,omitempty"`
	// Bus is where the events go: an ARN; or the name of a bus in the event's own
	// account and region, of which empty stands for the default one.
	Bus string `json:"bus,omitempty"`
	// Accounts are the 12-digit accounts whose events are taken; at least one.
	Accounts []string `json:"accounts"`
	// Regions are those whose events are taken; empty for all.
	Regions []string `json:"regions,omitempty"`
	// Pattern is an event pattern that events must match; empty for all.
	Pattern string `json:"pattern,omitempty"`
	// MaxPerSecond is how many events are taken in a second, by each node; 0 for no
	// limit. What is more waits at AWS.
	MaxPerSecond int `json:"max_per_second,omitempty"`
	// Queue is the ARN of the queue that is polled; empty for endpoints.
	Queue string `json:"queue,omitempty"`
}

// The bounds of sources.
const (
	MaxSources      = 200
	maxAccounts     = 1000
	maxRegions      = 64
	maxDescription  = 512
	maxPattern      = 4096
	maxMaxPerSecond = 100_000
)

var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	busNameForm = regexp.MustCompile(`^[.\-_A-Za-z0-9]{1,256}$`)
	busARNForm  = regexp.MustCompile(`^arn:aws[a-z-]*:events:([a-z0-9-]+):([0-9]{12}):event-bus/([.\-_A-Za-z0-9]{1,256})$`)
	idForm      = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

func (s *Source) validate() error {
	if !nameForm.MatchString(s.Name) || idForm.MatchString(s.Name) {
		return httpapi.Invalid("name %q must be 1 to 64 letters, digits, '.', '_' and '-', begin with a letter or digit, and not look like an id.", s.Name)
	}
	switch {
	case s.Kind != KindEndpoint && s.Kind != KindQueue:
		return httpapi.Invalid("kind must be %s or %s, not %q.", KindEndpoint, KindQueue, s.Kind)
	case s.Kind == KindEndpoint && s.Settings.Queue != "":
		return httpapi.Invalid("queue is for sources of kind %s; this one is of kind %s.", KindQueue, s.Kind)
	case s.Kind == KindQueue:
		q, err := parseQueue(s.Settings.Queue)
		if err != nil {
			return err
		}
		s.Settings.Queue = q.ARN()
	}
	return s.Settings.validate()
}

func (s *Settings) validate() error {
	if utf8.RuneCountInString(s.Description) > maxDescription || strings.ContainsRune(s.Description, 0) {
		return httpapi.Invalid("description must be text of at most %d characters.", maxDescription)
	}
	if s.Bus != "" && !busNameForm.MatchString(s.Bus) && !busARNForm.MatchString(s.Bus) {
		return httpapi.Invalid("bus %q is neither the name nor the ARN of an event bus.", s.Bus)
	}
	if len(s.Accounts) == 0 {
		return httpapi.Invalid("allow_accounts is empty; name the accounts, 12 digits each, whose events the source takes.")
	}
	if err := checkList("allow_accounts", s.Accounts, maxAccounts, auth.IsAccount, "12 digits"); err != nil {
		return err
	}
	if err := checkList("allow_regions", s.Regions, maxRegions, event.IsRegion, "a region such as us-east-1"); err != nil {
		return err
	}
	if s.MaxPerSecond < 0 || s.MaxPerSecond > maxMaxPerSecond {
		return httpapi.Invalid("max_events_per_second must be from 0 (no limit) to %d, not %d.", maxMaxPerSecond, s.MaxPerSecond)
	}
	if s.Pattern == "" {
		return nil
	}
	if len(s.Pattern) > maxPattern {
		return httpapi.Invalid("pattern is %d bytes long, more than the %d allowed.", len(s.Pattern), maxPattern)
	}
	if _, err := eventpattern.Compile([]byte(s.Pattern)); err != nil {
		return httpapi.Invalid("pattern is not valid: %s", strings.ToValidUTF8(err.Error(), "\ufffd"))
	}
	return nil
}

func checkList(name string, list []string, most int, ok func(string) bool, form string) error {
	if len(list) > most {
		return httpapi.Invalid("%s names %d, more than the %d allowed.", name, len(list), most)
	}
	seen := make(map[string]bool, len(list))
	for _, v := range list {
		if !ok(v) {
			return httpapi.Invalid("%s: %q is not %s.", name, v, form)
		}
		if seen[v] {
			return httpapi.Invalid("%s: %s is there twice.", name, v)
		}
		seen[v] = true
	}
	return nil
}

// accounts are all accounts that the source has to do with: whoever sees or
// changes it must govern them.
func (s *Source) accounts() []string {
	list := slices.Clone(s.Settings.Accounts)
	if ref, ok := parseBusARN(s.Settings.Bus); ok {
		list = append(list, ref.Account)
	}
	if q, err := parseQueue(s.Settings.Queue); err == nil {
		list = append(list, q.Account)
	}
	return list
}

func parseBusARN(arn string) (event.BusRef, bool) {
	m := busARNForm.FindStringSubmatch(arn)
	if m == nil {
		return event.BusRef{}, false
	}
	return event.BusRef{Region: m[1], Account: m[2], Name: m[3]}, true
}

// busOf is where an event goes.
func (s *Settings) busOf(ev *event.Event) event.BusRef {
	if ref, ok := parseBusARN(s.Bus); ok {
		return ref
	}
	ref := event.BusRef{Account: ev.Account, Region: ev.Region, Name: event.DefaultBus}
	if s.Bus != "" {
		ref.Name = s.Bus
	}
	return ref
}

// checkBus refuses a bus, given by its ARN, that is not there.
func (i *Intake) checkBus(ctx context.Context, s Settings) error {
	ref, pinned := parseBusARN(s.Bus)
	if !pinned {
		return nil
	}
	exists, err := i.busExists(ctx, ref)
	if err == nil && !exists {
		err = httpapi.NotFound("Event bus %s does not exist.", s.Bus)
	}
	return err
}

func (i *Intake) busExists(ctx context.Context, ref event.BusRef) (bool, error) {
	if ref.Name == event.DefaultBus {
		return true, nil
	}
	exists, err := i.o.BusExists(ctx, ref)
	if err != nil {
		return false, fmt.Errorf("look for event bus %s: %w", ref.ARN(), err)
	}
	return exists, nil
}

// Add makes a source. An endpoint's client secret is returned here and never
// again.
func (i *Intake) Add(ctx context.Context, s Source) (made Source, secret string, err error) {
	if err := s.validate(); err != nil {
		return Source{}, "", err
	}
	if err := i.checkBus(ctx, s.Settings); err != nil {
		return Source{}, "", err
	}
	s.ID, s.CreatedAt = uuid.NewString(), i.now()
	s.UpdatedAt = s.CreatedAt
	err = i.db.Update(ctx, func(tx *store.Tx) error {
		n, err := countSources(ctx, tx)
		if err != nil {
			return err
		}
		if n >= MaxSources {
			return &httpapi.Error{Status: http.StatusForbidden, Code: httpapi.CodeQuotaExceeded, Message: fmt.Sprintf("There are %d sources, as many as are allowed; remove some first.", n)}
		}
		if err := checkQueueFree(ctx, tx, s); err != nil {
			return err
		}
		s.ClientID, secret = "", ""
		if s.Kind == KindEndpoint {
			if s.ClientID, secret, err = i.o.Auth.Clients().CreateClient(ctx, tx, audience(s.ID)); err != nil {
				return err
			}
		}
		inserted, err := insertSource(ctx, tx, s)
		if err == nil && !inserted {
			err = &httpapi.Error{Status: http.StatusConflict, Code: httpapi.CodeAlreadyExists, Message: "Source " + s.Name + " already exists."}
		}
		return err
	})
	if err != nil {
		return Source{}, "", fmt.Errorf("add source %s: %w", s.Name, err)
	}
	i.changed()
	return s, secret, nil
}

// checkQueueFree refuses a queue that another source polls: each of the two would
// get some of the messages, and refuse what is the other's.
func checkQueueFree(ctx context.Context, tx *store.Tx, s Source) error {
	if s.Kind != KindQueue {
		return nil
	}
	all, err := listSources(ctx, tx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(other Source) bool { return other.Settings.Queue == s.Settings.Queue }) {
		return &httpapi.Error{Status: http.StatusConflict, Code: httpapi.CodeAlreadyExists, Message: "Queue " + s.Settings.Queue + " is polled by another source already."}
	}
	return nil
}

// Source finds a source by its name or id.
func (i *Intake) Source(ctx context.Context, nameOrID string) (Source, error) {
	return sourceNamed(ctx, i.db, nameOrID)
}

func sourceNamed(ctx context.Context, q store.Querier, nameOrID string) (Source, error) {
	var s Source
	var found bool
	var err error
	switch {
	case idForm.MatchString(nameOrID):
		s, found, err = loadSource(ctx, q, nameOrID)
	case nameForm.MatchString(nameOrID):
		s, found, err = loadSourceNamed(ctx, q, nameOrID)
	}
	if err != nil {
		return Source{}, fmt.Errorf("load source %s: %w", nameOrID, err)
	}
	if !found {
		return Source{}, noSource(nameOrID)
	}
	return s, nil
}

func noSource(nameOrID string) error { return httpapi.NotFound("There is no source %q.", nameOrID) }

// Sources lists all sources, by name.
func (i *Intake) Sources(ctx context.Context) ([]Source, error) {
	list, err := listSources(ctx, i.db)
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	return list, nil
}

// Update changes a source; its id, name, kind and queue stay.
func (i *Intake) Update(ctx context.Context, nameOrID string, change func(*Source) error) (Source, error) {
	var s Source
	err := i.db.Update(ctx, func(tx *store.Tx) error {
		old, err := sourceNamed(ctx, tx, nameOrID)
		if err != nil {
			return err
		}
		s = old
		if err := change(&s); err != nil {
			return err
		}
		if err := s.validate(); err != nil {
			return err
		}
		// The time is also the version by which nodes see a change.
		if s.UpdatedAt = i.now(); !s.UpdatedAt.After(old.UpdatedAt) {
			s.UpdatedAt = old.UpdatedAt.Add(time.Millisecond)
		}
		return saveSource(ctx, tx, s)
	})
	if err != nil {
		return Source{}, fmt.Errorf("update source %s: %w", nameOrID, err)
	}
	i.changed()
	return s, nil
}

// Remove ends a source and the credential of its endpoint. One that keeps refused
// messages stays until they are taken in or discarded.
func (i *Intake) Remove(ctx context.Context, nameOrID string) error {
	err := i.db.Update(ctx, func(tx *store.Tx) error {
		s, err := sourceNamed(ctx, tx, nameOrID)
		if err != nil {
			return err
		}
		kept, _, err := countRefused(ctx, tx, s.ID)
		if err != nil {
			return err
		}
		if kept > 0 {
			return &httpapi.Error{Status: http.StatusConflict, Code: httpapi.CodeInvalidRequest, Message: fmt.Sprintf(
				"Source %s keeps %d messages that it refused and that are nowhere else; take them in or discard them first.", s.Name, kept)}
		}
		if s.ClientID != "" {
			if err := i.o.Auth.Clients().DeleteClient(ctx, tx, s.ClientID); err != nil {
				return err
			}
		}
		return deleteSource(ctx, tx, s.ID)
	})
	if err != nil {
		return fmt.Errorf("remove source %s: %w", nameOrID, err)
	}
	i.changed()
	return nil
}

// encode is the settings as their row holds them.
func (s *Settings) encode() (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}
