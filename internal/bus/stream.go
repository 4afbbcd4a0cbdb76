package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// LogReader follows the event log; an *eventlog.Log.
type LogReader interface {
	LastSeq(ctx context.Context) (uint64, error)
	Read(ctx context.Context, from uint64, handle func(*eventlog.Batch) error) error
}

// streamedEvent is one message of the stream of events.
type streamedEvent struct {
	Bus   string          `json:"bus"` // ARN
	Event json.RawMessage `json:"event"`
}

// Each stream holds a reader of the log, and while its caller is slow up to
// streamBuffer events.
const (
	maxStreams   = 100
	streamBuffer = 8
)

// StreamHandler answers GET /v1/events/stream with the events of the caller's
// account as they arrive, as server-sent events: data is {"bus", "event"}. The
// query may name a bus (name, of all regions, or ARN), answered 404 where there is none, and an event pattern. A caller that reads
// more slowly than events arrive gets them late, not fewer, as long as the log
// keeps them. No more than maxStreams are open at once.
//
// All streams end when stopping is closed.
func (b *Buses) StreamHandler(log LogReader, stopping <-chan struct{}) http.HandlerFunc {
	slots := make(chan struct{}, maxStreams)
	return func(w http.ResponseWriter, r *http.Request) {
		filter, err := b.newStreamFilter(r)
		if err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			httpapi.WriteError(w, r, httpapi.Unavailable(10*time.Second, "%d callers follow events already; end one of them or try again.", maxStreams))
			return
		}
		last, err := log.LastSeq(r.Context())
		if err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		messages := make(chan httpapi.Message, streamBuffer)
		done := make(chan struct{})
		go func() {
			select {
			case <-stopping:
				cancel()
			case <-ctx.Done():
			}
		}()
		go func() {
			defer close(done)
			defer close(messages)
			_ = log.Read(ctx, last+1, func(b *eventlog.Batch) error { return filter.send(ctx, b, messages) })
		}()
		_ = httpapi.Stream(w, r, messages) // the caller is gone
		cancel()
		<-done
	}
}

type streamFilter struct {
	account string
	bus     string // name or ARN; empty for all
	pattern *eventpattern.Pattern
}

func (b *Buses) newStreamFilter(r *http.Request) (*streamFilter, error) {
	p, ok := auth.PrincipalFrom(r.Context())
	if !ok {
		return nil, httpapi.Unauthenticated("log in to follow events")
	}
	if !p.Role.Has(auth.Read) {
		return nil, httpapi.Forbidden("a %s key may not follow events; use one that may read", p.Role)
	}
	f := &streamFilter{account: p.Account, bus: r.URL.Query().Get("bus")}
	if err := b.checkStreamed(r.Context(), f); err != nil {
		return nil, err
	}
	text := r.URL.Query().Get("pattern")
	if text == "" {
		return f, nil
	}
	if len(text) > maxPattern {
		return nil, httpapi.Invalid("the event pattern is longer than %d characters", maxPattern)
	}
	var err error
	if f.pattern, err = eventpattern.Compile([]byte(text)); err != nil {
		return nil, httpapi.Invalid("the event pattern is not valid: %v", err)
	}
	return f, nil
}

// checkStreamed refuses a bus that the account does not have; a name is one of any region.
func (b *Buses) checkStreamed(ctx context.Context, f *streamFilter) error {
	if f.bus == "" || f.bus == event.DefaultBus {
		return nil
	}
	if ref, ok := (Caller{Account: f.account}).bus(f.bus); ok && ref.Account == f.account && ref.Name == event.DefaultBus {
		return nil
	}
	all, err := selectAllBuses(ctx, b.db)
	if err != nil {
		return fmt.Errorf("look for event bus %s: %w", f.bus, err)
	}
	for _, e := range all {
		if e.Ref.Account == f.account && f.names(e.Ref) {
			return nil
		}
	}
	return httpapi.NotFound("Event bus %s does not exist in account %s.", f.bus, f.account)
}

// names reports whether the filter's bus is this one.
func (f *streamFilter) names(ref event.BusRef) bool {
	return f.bus == ref.Name || strings.EqualFold(f.bus, ref.ARN())
}

// maxPattern is how long a pattern may be, in bytes. AWS: the model's maximum.
const maxPattern = 4096

func (f *streamFilter) send(ctx context.Context, b *eventlog.Batch, to chan<- httpapi.Message) error {
	for _, entry := range b.Entries {
		rec, err := event.DecodeRecord(entry)
		if err != nil || !f.wants(&rec) {
			continue
		}
		data, err := json.Marshal(streamedEvent{Bus: rec.Bus.ARN(), Event: rec.JSON})
		if err != nil {
			return err
		}
		select {
		case to <- httpapi.Message{ID: rec.ID, Data: data}:
		case <-ctx.Done():
			return errors.New("the caller is gone")
		}
	}
	return nil
}

func (f *streamFilter) wants(rec *event.Record) bool {
	if rec.Bus.Account != f.account {
		return false
	}
	if f.bus != "" && !f.names(rec.Bus) {
		return false
	}
	if f.pattern == nil {
		return true
	}
	ok, err := f.pattern.Match(rec.JSON)
	return ok && err == nil
}
