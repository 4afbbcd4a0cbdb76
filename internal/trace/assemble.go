package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
)

// assembly is a trace that is being put together.
type assembly struct {
	t  *Traces
	p  auth.Principal
	id string

	events map[place]*history
	nodes  map[string]Found // by name, without entries
	silent []string
	more   int // entries that were left out
	idsCut bool
	hidden bool // part of the way is of accounts that the principal does not see
}

// place is where an event on one bus stands in the log.
type place struct {
	sequence uint64
	index    int
	id       string
}

// history is what was recorded of an event on one bus.
type history struct {
	routed []Entry
	steps  []Entry
}

// gather collects what was recorded of the id, and of the ids that the event had
// before and got later.
func (a *assembly) gather(ctx context.Context) error {
	a.events, a.nodes = map[place]*history{}, map[string]Found{}
	ids := []string{a.id}
	for i := 0; i < len(ids); i++ {
		if i == maxIDs {
			a.idsCut = true
			break
		}
		g, err := a.t.ask(ctx, ids[i], a.silent)
		if err != nil {
			return fmt.Errorf("trace event %s: %w", ids[i], err)
		}
		a.silent = append(a.silent, g.silent...)
		for _, f := range g.found {
			a.more += f.More
			for _, e := range f.Entries {
				for _, next := range a.take(ids[i], e) {
					if !slices.Contains(ids, next) {
						ids = append(ids, next)
					}
				}
			}
			f.Entries = nil
			a.nodes[f.Node] = f
		}
	}
	return nil
}

// take keeps an entry that was found by an id, and returns under which other ids the
// event goes.
func (a *assembly) take(asked string, e Entry) (others []string) {
	if !sees(a.p, e.Bus.Account) {
		a.hidden = true
		return nil
	}
	_, before := splitOrigin(e.Origin)
	if e.ID != asked { // asked was what it had before: the rest is found by its own
		return []string{e.ID}
	}
	if before != "" {
		others = []string{before}
	}
	at := place{e.Sequence, e.Index, e.ID}
	h := a.events[at]
	if h == nil {
		if len(a.events) == maxEvents {
			a.idsCut = true
			return nil
		}
		h = &history{}
		a.events[at] = h
	}
	if e.Step == 0 {
		h.routed = append(h.routed, e)
	} else {
		h.steps = append(h.steps, e)
	}
	return others
}

// build makes the trace of what was gathered. Unsure says that how something ended
// is not recorded, perhaps not yet.
func (a *assembly) build(ctx context.Context) (trace *Trace, unsure bool, err error) {
	trace = &Trace{ID: a.id}
	backlog, err := a.t.Log.Backlog(ctx)
	if err != nil {
		return nil, false, fmt.Errorf("trace event %s: %w", a.id, err)
	}
	explain, cancel := context.WithTimeout(ctx, explainTime)
	defer cancel()
	for at, h := range a.events {
		e, err := a.event(ctx, explain, at, h, backlog)
		if err != nil {
			return nil, false, fmt.Errorf("trace event %s: %w", a.id, err)
		}
		trace.Events = append(trace.Events, e)
		for _, d := range e.Deliveries {
			unsure = unsure || d.Status == DeliveryUnknown
		}
	}
	slices.SortFunc(trace.Events, func(a, b Event) int {
		return cmp.Or(a.Accepted.Compare(b.Accepted), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Index, b.Index))
	})
	link(trace.Events)
	trace.Status = statusOf(a.id, trace.Events)
	trace.Notes = append(a.notes(), a.missing(trace)...)
	return trace, unsure, nil
}

// event makes an event of its history, the log and the rules.
func (a *assembly) event(ctx, explain context.Context, at place, h *history, backlog eventlog.Backlog) (Event, error) {
	e := Event{ID: at.id, Sequence: at.sequence, Index: at.index}
	byTime := func(a, b Entry) int { return a.At.Compare(b.At) }
	slices.SortStableFunc(h.routed, byTime)
	slices.SortStableFunc(h.steps, byTime)
	if len(h.steps) > 0 {
		e.Bus = h.steps[0].Bus
	}
	if len(h.routed) > 0 {
		first := h.routed[0]
		e.Bus, e.Accepted, e.Routed, e.Node = first.Bus, first.Accepted, first.At, first.Node
		e.Origin, e.MoreDeliveries = parseOrigin(first.Origin), first.MoreMatched
	}
	rec, err := a.record(ctx, at, e.Bus)
	if err != nil {
		return e, err
	}
	if err := a.deliveries(ctx, &e, h, backlog); err != nil || rec == nil {
		return e, err
	}
	e.Accepted, e.Origin, e.ReplayRules, e.JSON = rec.Accepted, parseOrigin(rec.Origin), rec.ReplayRules, rec.JSON
	matched := map[string]bool{}
	for _, d := range e.Deliveries {
		matched[d.Subscription.RuleARN] = true
	}
	x, err := a.t.Rules.Explain(explain, rec, matched, explained)
	e.Rules, e.MoreRules, e.UnreadRules = x.Rules, x.More, x.Unread
	return e, err
}

// record returns the event as the log has it, nil if it is trimmed.
func (a *assembly) record(ctx context.Context, at place, ref event.BusRef) (*event.Record, error) {
	b, err := a.t.Log.Get(ctx, at.sequence)
	if errors.Is(err, eventlog.ErrTrimmed) || errors.Is(err, eventlog.ErrNotStored) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if at.index >= len(b.Entries) {
		return nil, nil
	}
	rec, err := event.DecodeRecord(b.Entries[at.index])
	if err != nil || rec.ID != at.id || rec.Bus != ref { // of another log, in its place
		return nil, nil //nolint:nilerr // the rest can be told all the same
	}
	return &rec, nil
}

func parseOrigin(text string) Origin {
	head, id := splitOrigin(text)
	kind, name, _ := strings.Cut(head, " ")
	return Origin{Kind: kind, Name: name, ID: id}
}

// link finds for each event where it came from, and where it was forwarded.
func link(events []Event) {
	for child := range events {
		to := &events[child]
		before := cmp.Or(to.Origin.ID, to.ID)
		switch to.Origin.Kind {
		case event.OriginRule:
			linkForwarded(events, child, before)
		case event.OriginReplay:
			for i := range events {
				if i != child && events[i].ID == before && events[i].Bus == to.Bus {
					to.FromEvent = &i
					break
				}
			}
		}
	}
}

// linkForwarded finds the delivery that brought an event to its bus.
func linkForwarded(events []Event, child int, before string) {
	to := &events[child]
	for i := range events {
		if i == child || events[i].ID != before {
			continue
		}
		for n := range events[i].Deliveries {
			d := &events[i].Deliveries[n]
			if d.ForwardedTo == nil && d.Subscription.RuleARN == to.Origin.Name && d.Subscription.TargetARN == to.Bus.ARN() {
				d.ForwardedTo, to.FromEvent = &child, &i
				return
			}
		}
	}
}

// statusOf sums a trace up: for whoever asked for the id.
func statusOf(id string, events []Event) Status {
	matched, failed := false, false
	for _, e := range events {
		matched = matched || e.ID == id && len(e.Deliveries) > 0
		for _, d := range e.Deliveries {
			if !d.Status.Ended() {
				return Waiting
			}
			failed = failed || d.Status != DeliveryDelivered
		}
	}
	switch {
	case failed:
		return Failed
	case !matched:
		return Unmatched
	}
	return Delivered
}

// notes say which nodes told nothing.
func (a *assembly) notes() []string {
	var notes []string
	for _, name := range a.silent {
		notes = append(notes, fmt.Sprintf("Node %s did not answer: what it recorded is missing here.", name))
	}
	for _, name := range sortedKeys(a.nodes) {
		if a.nodes[name].Off {
			notes = append(notes, fmt.Sprintf("Node %s records nothing for traces (--trace-bytes 0).", name))
		}
	}
	return notes
}

// missing says what else a trace lacks.
func (a *assembly) missing(trace *Trace) []string {
	var notes []string
	if a.hidden {
		notes = append(notes, "Part of its way is on buses of other accounts, which your access key does not see.")
	}
	if a.more > 0 || a.idsCut {
		notes = append(notes, "There is more than is shown: the trace is cut to a size that can be read.")
	}
	from, to := span(trace.Events)
	for _, name := range sortedKeys(a.nodes) {
		f := a.nodes[name]
		if !f.Since.IsZero() && from.Before(f.Since) {
			notes = append(notes, fmt.Sprintf("Node %s keeps what it recorded since %s; what it did before is missing here.", name, stamp(f.Since)))
		}
		for _, g := range f.Gaps {
			if g.To.Before(from) || g.From.After(to) {
				continue
			}
			if g.Entries > 0 {
				notes = append(notes, fmt.Sprintf("Node %s lost %d entries between %s and %s; some may be of this event.", name, g.Entries, stamp(g.From), stamp(g.To)))
			} else {
				notes = append(notes, fmt.Sprintf("Node %s ended without warning before %s; its last entries may be missing here.", name, stamp(g.To)))
			}
		}
	}
	return notes
}

// span is the time that the events took: for ever if something has not ended or its
// end is unknown.
func span(events []Event) (from, to time.Time) {
	for _, e := range events {
		began := e.Accepted
		if began.IsZero() && len(e.Deliveries) > 0 && len(e.Deliveries[0].Steps) > 0 {
			began = e.Deliveries[0].Steps[0].At
		}
		if from.IsZero() || began.Before(from) {
			from = began
		}
		for _, d := range e.Deliveries {
			if !d.Status.Ended() || d.Status == DeliveryUnknown || len(d.Steps) == 0 {
				return from, time.Unix(1<<40, 0)
			}
			if last := d.Steps[len(d.Steps)-1].At; last.After(to) {
				to = last
			}
		}
	}
	return from, to.Add(time.Millisecond)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func sortedKeys(m map[string]Found) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
