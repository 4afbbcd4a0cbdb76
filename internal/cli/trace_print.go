package cli

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// stampFormat is how a trace shows times.
const stampFormat = "2006-01-02T15:04:05.000Z"

// statusWords are the states of deliveries and traces as they are printed.
var statusWords = map[string]string{
	"delivered": "delivered", "under_way": "under way", "waiting": "waiting", "dead_lettered": "dead-lettered", "dropped": "dropped",
	"cancelled": "cancelled", "unknown": "unknown", "failed": "not all delivered", "unmatched": "no rule matched",
}

// tracePrinter prints a trace as a tree.
type tracePrinter struct {
	out   io.Writer
	trace *traced
	err   error
}

func printTrace(out io.Writer, t *traced) error {
	p := &tracePrinter{out: out, trace: t}
	p.linef("Event %s: %s", t.ID, statusWords[t.Status])
	for i := range t.Events {
		p.linef("")
		p.event(i)
	}
	for i, note := range t.Notes {
		if i == 0 {
			p.linef("")
		}
		p.linef("Note: %s", note)
	}
	return p.err
}

func (p *tracePrinter) linef(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.out, plain(fmt.Sprintf(format, args...)))
	}
}

// number names an event of a trace that holds several.
func (p *tracePrinter) number(i int) string {
	if len(p.trace.Events) == 1 {
		return ""
	}
	return fmt.Sprintf("[%d] ", i+1)
}

func (p *tracePrinter) event(i int) {
	e := &p.trace.Events[i]
	head := p.number(i) + e.Bus
	if e.ID != p.trace.ID {
		head += " as " + e.ID
	}
	p.linef("%s", head)
	switch {
	case e.Event != nil:
		p.linef("  %s, %s", e.Event.Source, e.Event.DetailType)
	default:
		p.linef("  the event itself is no longer kept in the event log")
	}
	p.entered(e)
	if len(e.ReplayRules) > 0 {
		p.linef("  replayed to %s only", strings.Join(e.ReplayRules, ", "))
	}
	last := len(e.Deliveries) - 1
	for n := range e.Deliveries {
		p.delivery(e, &e.Deliveries[n], n == last && e.MoreDeliveries == 0)
	}
	if e.MoreDeliveries > 0 {
		p.linef("  └─ and %d more deliveries, which are not shown", e.MoreDeliveries)
	}
	if len(e.Deliveries) == 0 {
		p.linef("  no rule matched")
	}
	p.notMatched(e)
}

// entered says how the event came to the bus.
func (p *tracePrinter) entered(e *tracedEvent) {
	how := map[string]string{
		"PutEvents": "by PutEvents, access key", "injected": "injected, access key", "service": "from", "schedule": "by the schedule of",
		"rule": "forwarded by rule", "replay": "by replay", "source": "from source",
	}[e.Origin.Kind]
	if how == "" {
		how = e.Origin.Kind
	}
	line := "  accepted " + strings.TrimSpace(how+" "+e.Origin.Name)
	if e.FromEvent != nil {
		line += fmt.Sprintf(" of [%d]", *e.FromEvent+1)
	} else if e.Origin.EventID != "" {
		line += ", where it was " + e.Origin.EventID
	}
	if e.AcceptedAt != nil {
		line += " at " + e.AcceptedAt.UTC().Format(stampFormat)
	}
	if e.RoutedAt != nil && e.AcceptedAt != nil {
		line += fmt.Sprintf(", routed after %s on %s", after(e.RoutedAt.Sub(*e.AcceptedAt)), e.Node)
	}
	p.linef("%s", line)
}

func (p *tracePrinter) delivery(e *tracedEvent, d *tracedDelivery, last bool) {
	branch, rest := "├─ ", "│    "
	if last {
		branch, rest = "└─ ", "     "
	}
	p.linef("  %srule %s → %s %s: %s", branch, d.Rule, d.TargetKind, d.TargetARN, d.state())
	from, said := e.AcceptedAt, ""
	for _, s := range d.Steps {
		if s.Message == said && s.Step != "attempt" {
			s.Message = "" // as the attempt before it
		} else {
			said = s.Message
		}
		at, since := s.At, s.At.UTC().Format(stampFormat)
		if s.StartedAt != nil {
			at = *s.StartedAt
		}
		if from != nil {
			since = "+" + after(at.Sub(*from))
		}
		p.linef("  %s%8s  %s", rest, since, s.words(at))
	}
}

// state says how far the delivery is and where to look next.
func (d *tracedDelivery) state() string {
	text := statusWords[d.Status]
	switch {
	case d.ForwardedTo != nil:
		text += fmt.Sprintf(", goes on as [%d]", *d.ForwardedTo+1)
	case d.Status == "delivered" && d.TargetKind == "event bus":
		text += "; nothing more is known of it there"
	case d.Status == "waiting" && d.InLog:
		text += fmt.Sprintf(" in the event log: the target is slow or failing, %d batches are before it", d.BatchesBehind)
	case d.Status == "waiting" && d.DueAt != nil:
		text += ", next attempt at " + d.DueAt.UTC().Format(stampFormat)
	case d.DeadLetter.ID != "":
		text += ", built-in dead letter " + d.DeadLetter.ID
	case d.DeadLetter.Queue != "":
		text += " in " + d.DeadLetter.Queue
	case d.Status == "cancelled":
		text += ": the rule or the target was deleted"
	case d.Status == "unknown":
		text += ": how it ended was not recorded"
	}
	return text
}

// words tell a step that is shown at a time.
func (s *tracedStep) words(at time.Time) string {
	why := s.Code
	if s.HTTPStatus > 0 {
		why += fmt.Sprintf(", HTTP %d", s.HTTPStatus)
	}
	if s.Message != "" {
		why += ": " + s.Message
	}
	switch s.Step {
	case "attempt":
		took := after(time.Duration(s.DurationMS * float64(time.Millisecond)))
		if s.Delivered {
			text := fmt.Sprintf("attempt %d delivered it in %s", s.Attempt, took)
			if s.HTTPStatus > 0 {
				text += fmt.Sprintf(": HTTP %d", s.HTTPStatus)
			}
			return text
		}
		return fmt.Sprintf("attempt %d failed in %s: %s", s.Attempt, took, why)
	case "parked":
		if s.Until != nil && s.Until.After(at) {
			return "waits " + after(s.Until.Sub(at)) + " for the next attempt"
		}
		return "put aside: the attempts before it took too long"
	case "left_in_log":
		return "left in the event log: the target is slow or failing"
	case "dead_lettered":
		return "given up: " + why + s.exhausted() + "; sent to " + s.To
	case "dead_letter_failed":
		return "dead-letter queue " + s.To + " did not take it: " + why
	case "kept":
		return "given up: " + why + s.exhausted() + "; kept as dead letter " + s.To
	case "dropped":
		return "given up: " + why + s.exhausted() + "; kept nowhere"
	case "cancelled":
		return "cancelled: the rule or the target was deleted"
	case "redriven":
		return "dead letter " + s.To + " was redriven"
	}
	return s.Step
}

func (s *tracedStep) exhausted() string {
	if s.Exhausted == "" {
		return ""
	}
	return " (" + s.Exhausted + " reached)"
}

func (p *tracePrinter) notMatched(e *tracedEvent) {
	if len(e.NotMatched) == 0 {
		return
	}
	p.linef("  did not match, by the rules as they are now:")
	width := 0
	for i := range e.NotMatched {
		width = max(width, utf8.RuneCountInString(e.NotMatched[i].Rule))
	}
	for i := range e.NotMatched {
		r := &e.NotMatched[i]
		for n, why := range r.reasons() {
			name := r.Rule
			if n > 0 {
				name = ""
			}
			p.linef("    %-*s  %s", width, name, why)
		}
	}
	if e.MoreNotMatched > 0 {
		p.linef("    and %d more rules, which are further off", e.MoreNotMatched)
	}
	if e.RulesUnread > 0 {
		p.linef("    %d rules were not looked at, for want of time", e.RulesUnread)
	}
}

// reasons say, a line each, why the rule did not get the event.
func (r *tracedRule) reasons() []string {
	var reasons []string
	why := map[string]string{
		"disabled": "its pattern matches, but the rule is disabled", "no targets": "it matches, but has no targets",
		"replay":     "its pattern matches, but the replay is for other rules",
		"only reads": "its pattern matches, but its state leaves out calls that only read",
		"changed":    "its pattern matches now",
	}[r.Why]
	switch {
	case r.PatternMatches:
		reasons = append(reasons, why)
	case r.DifferentElements:
		reasons = append(reasons, "each condition is satisfied, but by different elements of an array")
	}
	for _, c := range r.Conditions {
		if !c.Satisfied {
			reasons = append(reasons, c.Path+": "+c.Reason)
		}
	}
	if len(reasons) == 0 {
		reasons = []string{"it does not match"}
	}
	if r.State == "DISABLED" && !r.PatternMatches {
		reasons[0] += " (and it is disabled)"
	}
	if r.ChangedSince {
		reasons[0] += " (changed since the event came)"
	}
	return reasons
}

// after shows a length of time with the precision that one reads it with.
func after(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + after(-d)
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
