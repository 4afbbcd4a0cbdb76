package intake

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// openSource is a source as this node works with it. It does not change: an
// update of the source makes another one.
type openSource struct {
	Source
	pattern *eventpattern.Pattern // nil without
	limiter *rate.Limiter         // nil without a limit
}

// opened returns the source ready to work with, made anew if it changed.
func (i *Intake) opened(s Source) (*openSource, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if o := i.open[s.ID]; o != nil && o.UpdatedAt.Equal(s.UpdatedAt) {
		return o, nil
	}
	o := &openSource{Source: s}
	if s.Settings.Pattern != "" {
		p, err := eventpattern.Compile([]byte(s.Settings.Pattern))
		if err != nil {
			return nil, fmt.Errorf("compile the pattern of source %s: %w", s.Name, err)
		}
		o.pattern = p
	}
	if n := s.Settings.MaxPerSecond; n > 0 {
		o.limiter = rate.NewLimiter(rate.Limit(n), max(n, maxEvents))
	}
	i.open[s.ID] = o
	return o, nil
}

// forget drops what is held of sources that are no more.
func (i *Intake) forget(ids map[string]bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for id := range i.open {
		if !ids[id] {
			delete(i.open, id)
		}
	}
}

// arrival is an event as it came.
type arrival struct {
	body []byte
	// trace is the X-Ray trace header that came with it, if any.
	trace string
}

// candidate is an event that its source may bring.
type candidate struct {
	ev  *event.Event
	rec event.Record
	key []byte
}

// errNoBus is the refusal of an event whose bus does not exist.
type errNoBus struct{ refusal *httpapi.Error }

// Error names the bus.
func (e errNoBus) Error() string { return e.refusal.Error() }

// Unwrap makes it an *httpapi.Error.
func (e errNoBus) Unwrap() error { return e.refusal }

// refusal returns what the sender of an event is to be told, if the error is the
// event's and not ours.
func refusal(err error) (*httpapi.Error, bool) {
	e, ok := errors.AsType[*httpapi.Error](err)
	return e, ok && e.Status < http.StatusInternalServerError && e.Status != http.StatusTooManyRequests
}

// judge reads an event and decides whether its source may bring it. Where it may
// not, the error is an *httpapi.Error with a status below 500.
func (i *Intake) judge(ctx context.Context, src *openSource, a arrival) (candidate, error) {
	ev, err := parse(a.body)
	if err != nil {
		return candidate{}, err
	}
	s := &src.Settings
	if !slices.Contains(s.Accounts, ev.Account) {
		return candidate{}, httpapi.Forbidden("Event %s is of account %s, which source %s does not take. Allow it, or look at the rule that sends the event.", ev.ID, ev.Account, src.Name)
	}
	if len(s.Regions) > 0 && !slices.Contains(s.Regions, ev.Region) {
		return candidate{}, httpapi.Forbidden("Event %s is of region %s, which source %s does not take. Allow it, or look at the rule that sends the event.", ev.ID, ev.Region, src.Name)
	}
	json := ev.AppendJSON(make([]byte, 0, len(a.body)))
	if len(json) > maxEvent {
		e := httpapi.Invalid("Event %s is %d bytes long, more than the %d that an event may be.", ev.ID, len(json), maxEvent)
		e.Status = http.StatusRequestEntityTooLarge
		return candidate{}, e
	}
	if src.pattern != nil {
		matches, err := src.pattern.Match(json)
		if err != nil {
			return candidate{}, httpapi.Invalid("Event %s cannot be matched: %s.", ev.ID, err)
		}
		if !matches {
			return candidate{}, httpapi.Forbidden("Event %s does not match the pattern of source %s.", ev.ID, src.Name)
		}
	}
	ref := s.busOf(ev)
	exists, err := i.busExists(ctx, ref)
	if err != nil {
		return candidate{}, err
	}
	if !exists {
		return candidate{}, errNoBus{httpapi.NotFound("Event %s is for event bus %s, which does not exist. Create it, or change the bus of source %s.", ev.ID, ref.ARN(), src.Name)}
	}
	rec := event.Record{Bus: ref, ID: ev.ID, Accepted: i.now(), Trace: traceHeader(a.trace), Origin: event.OriginSource + " " + src.Name, JSON: json}
	return candidate{ev: ev, rec: rec, key: seenKey(src.ID, ref, ev)}, nil
}

// maxTrace is the longest trace header that is carried. AWS: 500 characters.
const maxTrace = 500

func traceHeader(s string) string {
	if len(s) > maxTrace || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return s
}

// seenKey is what an event is known by: its source, its bus, its id, and the replay
// that sent it, since a replay sends events again on purpose.
func seenKey(sourceID string, ref event.BusRef, ev *event.Event) []byte {
	sum := sha256.Sum256([]byte(strings.Join([]string{sourceID, ref.Account, ref.Region, ref.Name, ev.ReplayName, ev.ID}, "\n")))
	return sum[:16]
}

// accept puts events on their buses, by way of the outbox, those that came before
// excepted. It returns once they are durable, and says of each whether it was new.
// All are accepted or none.
func (i *Intake) accept(ctx context.Context, src *openSource, list []candidate) (fresh []bool, err error) {
	if len(list) == 0 {
		return nil, nil
	}
	keys := make([][]byte, len(list))
	for n, c := range list {
		keys[n] = c.key
	}
	slices.SortFunc(keys, slices.Compare[[]byte])
	keys = slices.CompactFunc(keys, slices.Equal[[]byte])
	now := i.now()
	err = i.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		inserted, err := insertSeen(ctx, tx, keys, now)
		if err != nil {
			return err
		}
		fresh = make([]bool, len(list))
		recs := make([]event.Record, 0, len(inserted))
		for n, c := range list {
			if inserted[string(c.key)] {
				delete(inserted, string(c.key)) // the same again in this list is a duplicate
				fresh[n], recs = true, append(recs, c.rec)
			}
		}
		return tx.Publish(ctx, recs...)
	})
	if err != nil {
		return nil, fmt.Errorf("accept %d events of source %s: %w", len(list), src.Name, err)
	}
	i.countAccepted(src, list, fresh, now)
	return fresh, nil
}

func (i *Intake) countAccepted(src *openSource, list []candidate, fresh []bool, now time.Time) {
	var accepted int64
	var lag time.Duration
	for n, c := range list {
		if fresh[n] {
			accepted++
			lag = max(now.Sub(c.ev.Time), 0)
		}
	}
	duplicates := int64(len(list)) - accepted
	i.totals.accepted.Add(accepted)
	i.totals.duplicates.Add(duplicates)
	i.activities.note(src.ID, func(t *tally) {
		t.accepted += accepted
		t.duplicates += duplicates
		if accepted > 0 {
			t.acceptedAt, t.lag = now, lag
		}
	})
}

// countRefused notes that events were refused.
func (i *Intake) countRefused(src *openSource, n int, why string) {
	i.totals.refused.Add(int64(n))
	now := i.now()
	i.activities.note(src.ID, func(t *tally) {
		t.refused += int64(n)
		t.refusedAt, t.refusedWhy = now, why
	})
}

// numbered puts the event's number before the error when there are several.
func numbered(err error, number, of int) error {
	e, ok := errors.AsType[*httpapi.Error](err)
	if of == 1 || !ok {
		return err
	}
	return &httpapi.Error{Status: e.Status, Code: e.Code, RetryAfter: e.RetryAfter, Message: "Event " + strconv.Itoa(number) + ": " + e.Message}
}
