package bus

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// DefaultRegion is where an injected event goes that names no region.
const DefaultRegion = "us-east-1"

// maxInject bounds the events of one injection.
const maxInject = 10_000

// InjectInto says where injected events go.
type InjectInto struct {
	// Bus is a name or an ARN; empty is the default bus.
	Bus string
	// Region is for buses given by name; empty is the region that each event
	// names, and DefaultRegion for one that names none.
	Region string
}

// Injected is what became of an injected event.
type Injected struct {
	ID string
	// Bus is the event bus that took it.
	Bus event.BusRef
	// Notes say what was filled in.
	Notes []string
}

// Inject takes whole envelopes as they are, service events among them, and puts
// them on a bus of the principal, who must be an admin. All are taken or none.
// What an envelope lacks is filled in. The error is an *httpapi.Error for
// whatever the caller is to be told, and names the event by its number from 1.
func (b *Buses) Inject(ctx context.Context, p auth.Principal, raws [][]byte, into InjectInto) ([]Injected, error) {
	if !p.Role.Has(auth.Administer) {
		return nil, httpapi.Forbidden("Injecting events needs an access key with the role admin; this one is %s.", p.Role)
	}
	if len(raws) == 0 {
		return nil, httpapi.Invalid("The request holds no event.")
	}
	if len(raws) > maxInject {
		return nil, httpapi.Invalid("The request holds %d events; send at most %d at once.", len(raws), maxInject)
	}
	now := b.now()
	recs := make([]event.Record, len(raws))
	injected := make([]Injected, len(raws))
	for i, raw := range raws {
		var err error
		if recs[i], injected[i].Notes, err = b.injection(ctx, p, raw, into, now); err != nil {
			return nil, numbered(err, i+1, len(raws))
		}
		injected[i].ID, injected[i].Bus = recs[i].ID, recs[i].Bus
	}
	if err := b.Put(ctx, recs); err != nil {
		return nil, injectError(err)
	}
	return injected, nil
}

func injectError(err error) error {
	switch {
	case errors.Is(err, ErrThrottled):
		return httpapi.Unavailable(time.Second, "The event log takes no events now: too many are waiting to be delivered. Nothing was put; try again.")
	case errors.Is(err, ErrTooLarge):
		return &httpapi.Error{Status: http.StatusRequestEntityTooLarge, Code: httpapi.CodeInvalidRequest, Message: "The events are too large for one request. Nothing was put; send fewer at once."}
	}
	return err
}

// numbered puts the event's number before the error when there are several.
func numbered(err error, number, of int) error {
	var e *httpapi.Error
	if of == 1 || !errors.As(err, &e) {
		return err
	}
	return &httpapi.Error{Status: e.Status, Code: e.Code, Message: "Event " + strconv.Itoa(number) + ": " + e.Message}
}

func (b *Buses) injection(ctx context.Context, p auth.Principal, raw []byte, into InjectInto, now time.Time) (event.Record, []string, error) {
	if !utf8.Valid(raw) {
		return event.Record{}, nil, httpapi.Invalid("The event is not valid UTF-8.")
	}
	region := into.Region
	if region == "" {
		region = DefaultRegion
	}
	ev, notes, err := event.ParseInjected(raw, event.Defaults{Account: p.Account, Region: region, Now: now})
	if err != nil {
		return event.Record{}, nil, httpapi.Invalid("%s.", capital(err.Error()))
	}
	if strings.IndexByte(ev.ID, 0) >= 0 { // PostgreSQL cannot keep it
		return event.Record{}, nil, httpapi.Invalid("The event's id must not hold the character U+0000.")
	}
	if checkDetail(string(ev.Detail)) != nil {
		return event.Record{}, nil, httpapi.Invalid("The detail is malformed: it nests deeper than %d, or holds an integer that does not fit into 64 bits.", maxDepth)
	}
	caller := Caller{Account: p.Account, Region: into.Region}
	if caller.Region == "" {
		caller.Region = ev.Region
	}
	if !regionForm.MatchString(caller.Region) {
		return event.Record{}, nil, httpapi.Invalid("The region %q does not look like us-east-1.", caller.Region)
	}
	ref, ok := caller.bus(into.Bus)
	if !ok || !busName.MatchString(ref.Name) {
		return event.Record{}, nil, httpapi.Invalid("%q is neither the name nor the ARN of an event bus.", into.Bus)
	}
	if ref.Account != p.Account {
		return event.Record{}, nil, httpapi.Forbidden("Event bus %s belongs to another account than your access key (%s).", ref.ARN(), p.Account)
	}
	bus, err := b.lookup(ctx, ref)
	if err != nil {
		return event.Record{}, nil, err
	}
	if bus == nil {
		return event.Record{}, nil, httpapi.NotFound("Event bus %s does not exist.", ref.ARN())
	}
	text := ev.AppendJSON(nil)
	if len(text) > maxEnvelope {
		return event.Record{}, nil, httpapi.Invalid("The event is %d bytes long, more than the %d allowed.", len(text), maxEnvelope)
	}
	return event.Record{Bus: ref, ID: ev.ID, Accepted: now, Origin: event.OriginInjected + " " + p.KeyID, JSON: text}, notes, nil
}

// capital turns an error's text into the start of a sentence.
func capital(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
