package trace

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// Register adds GET /v1/events/{id}/trace to mux: what is known of an event, for
// callers that may read, of the buses of their own account; admins of the
// installation's own account see those of all.
func (t *Traces) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/events/{id}/trace", auth.Require(auth.Read, t.serve))
}

func (t *Traces) serve(w http.ResponseWriter, r *http.Request) {
	p, _ := auth.PrincipalFrom(r.Context())
	trace, err := t.Trace(r.Context(), p, r.PathValue("id"))
	if errors.Is(err, ErrNotFound) {
		err = httpapi.NotFound("%v", err)
	}
	if err != nil {
		httpapi.WriteError(w, r, err)
		return
	}
	httpapi.JSON(w, http.StatusOK, toTraceJSON(trace))
}

// traceJSON is a trace as the API shows it. Events are referred to by their index in
// the list.
type traceJSON struct {
	ID     string      `json:"id"`
	Status Status      `json:"status"`
	Events []eventJSON `json:"events"`
	Notes  []string    `json:"notes"`
}

type eventJSON struct {
	ID             string          `json:"id"`
	Bus            string          `json:"bus"` // ARN
	Sequence       uint64          `json:"sequence"`
	Index          int             `json:"index"`
	AcceptedAt     *time.Time      `json:"accepted_at"`
	RoutedAt       *time.Time      `json:"routed_at"`
	Node           string          `json:"node,omitempty"`
	Origin         originJSON      `json:"origin"`
	FromEvent      *int            `json:"from_event"`
	ReplayRules    []string        `json:"replay_rules,omitempty"`
	Deliveries     []deliveryJSON  `json:"deliveries"`
	MoreDeliveries int             `json:"more_deliveries,omitempty"`
	NotMatched     []ruleJSON      `json:"not_matched"`
	MoreNotMatched int             `json:"more_not_matched,omitempty"`
	RulesUnread    int             `json:"rules_unread,omitempty"`
	Event          json.RawMessage `json:"event"` // null once it is not kept any more
}

type originJSON struct {
	Kind    string `json:"kind"`
	Name    string `json:"name,omitempty"`
	EventID string `json:"event_id,omitempty"`
}

type deliveryJSON struct {
	Rule       string         `json:"rule"`
	RuleARN    string         `json:"rule_arn"`
	TargetID   string         `json:"target_id"`
	TargetARN  string         `json:"target_arn"`
	TargetKind string         `json:"target_kind"`
	Status     DeliveryStatus `json:"status"`
	// DueAt is when the next attempt is due; null if none is or nobody knows.
	DueAt *time.Time `json:"due_at"`
	// InLog says that it waits in the event log, with so many batches before it.
	InLog         bool            `json:"in_log,omitempty"`
	BatchesBehind uint64          `json:"batches_behind,omitempty"`
	DeadLetter    *deadLetterJSON `json:"dead_letter,omitempty"`
	ForwardedTo   *int            `json:"forwarded_to,omitempty"`
	Steps         []stepJSON      `json:"steps"`
}

// deadLetterJSON says where the event is: in the queue of an ARN, or in the built-in
// store under an id.
type deadLetterJSON struct {
	Queue string `json:"queue,omitempty"`
	ID    string `json:"id,omitempty"`
}

type stepJSON struct {
	Step string    `json:"step"`
	At   time.Time `json:"at"`
	Node string    `json:"node"`
	// Of an attempt: its number, when it began, how long it took, and whether the
	// target took the event.
	Attempt    int        `json:"attempt,omitempty"`
	StartedAt  *time.Time `json:"started_at,omitempty"`
	DurationMS *float64   `json:"duration_ms,omitempty"`
	Delivered  *bool      `json:"delivered,omitempty"`
	HTTPStatus int        `json:"http_status,omitempty"`
	Code       string     `json:"code,omitempty"`
	Message    string     `json:"message,omitempty"`
	Exhausted  string     `json:"exhausted,omitempty"`
	Until      *time.Time `json:"until,omitempty"`
	To         string     `json:"to,omitempty"`
}

// ruleJSON is a rule that the event did not go by, as the rule is now.
type ruleJSON struct {
	Rule    string        `json:"rule"`
	RuleARN string        `json:"rule_arn"`
	State   bus.RuleState `json:"state"`
	Targets int           `json:"targets"`
	// PatternMatches says that the event satisfies the pattern; Why what kept it from
	// the targets then.
	PatternMatches bool            `json:"pattern_matches"`
	Why            bus.Unmatched   `json:"why,omitempty"`
	Failing        int             `json:"failing"`
	Conditions     []conditionJSON `json:"conditions"`
	// DifferentElements says that all conditions are satisfied, but by different
	// elements of an array.
	DifferentElements bool `json:"different_elements,omitempty"`
	ChangedSince      bool `json:"changed_since"`
}

type conditionJSON struct {
	Path      string            `json:"path"`
	Expected  json.RawMessage   `json:"expected"`
	Satisfied bool              `json:"satisfied"`
	Found     []json.RawMessage `json:"found,omitempty"`
	Reason    string            `json:"reason,omitempty"`
}

// stepNames are the steps as the API calls them.
var stepNames = map[delivery.StepKind]string{
	delivery.StepAttempt: "attempt", delivery.StepParked: "parked", delivery.StepLeft: "left_in_log",
	delivery.StepDeadLettered: "dead_lettered", delivery.StepDeadLetterFailed: "dead_letter_failed", delivery.StepKept: "kept",
	delivery.StepDropped: "dropped", delivery.StepCancelled: "cancelled", delivery.StepRedriven: "redriven",
}

func toTraceJSON(t *Trace) traceJSON {
	out := traceJSON{ID: t.ID, Status: t.Status, Events: make([]eventJSON, len(t.Events)), Notes: append([]string{}, t.Notes...)}
	for i := range t.Events {
		out.Events[i] = toEventJSON(&t.Events[i])
	}
	return out
}

func toEventJSON(e *Event) eventJSON {
	out := eventJSON{
		ID: e.ID, Bus: e.Bus.ARN(), Sequence: e.Sequence, Index: e.Index, AcceptedAt: timeOrNull(e.Accepted), RoutedAt: timeOrNull(e.Routed), Node: e.Node,
		Origin: originJSON{e.Origin.Kind, e.Origin.Name, e.Origin.ID}, FromEvent: e.FromEvent, ReplayRules: e.ReplayRules,
		Deliveries: make([]deliveryJSON, len(e.Deliveries)), MoreDeliveries: e.MoreDeliveries,
		NotMatched: make([]ruleJSON, len(e.Rules)), MoreNotMatched: e.MoreRules, RulesUnread: e.UnreadRules, Event: e.JSON,
	}
	for i := range e.Deliveries {
		out.Deliveries[i] = toDeliveryJSON(&e.Deliveries[i])
	}
	for i := range e.Rules {
		out.NotMatched[i] = toRuleJSON(&e.Rules[i])
	}
	return out
}

func toDeliveryJSON(d *Delivery) deliveryJSON {
	s := d.Subscription
	out := deliveryJSON{
		Rule: s.RuleName, RuleARN: s.RuleARN, TargetID: s.TargetID, TargetARN: s.TargetARN, TargetKind: s.Kind.String(),
		Status: d.Status, DueAt: timeOrNull(d.Due), InLog: d.InLog, BatchesBehind: d.Behind, ForwardedTo: d.ForwardedTo, Steps: make([]stepJSON, len(d.Steps)),
	}
	for i := range d.Steps {
		e := &d.Steps[i]
		out.Steps[i] = toStepJSON(e)
		switch {
		case d.Status != DeliveryDeadLettered:
		case e.Step == delivery.StepDeadLettered:
			out.DeadLetter = &deadLetterJSON{Queue: e.To}
		case e.Step == delivery.StepKept:
			out.DeadLetter = &deadLetterJSON{ID: e.To}
		}
	}
	return out
}

func toStepJSON(e *Entry) stepJSON {
	out := stepJSON{
		Step: stepNames[e.Step], At: e.At, Node: e.Node, Attempt: e.Attempt, HTTPStatus: e.Status,
		Code: e.Code, Message: e.Message, Exhausted: e.Exhausted, Until: timeOrNull(e.Until), To: e.To,
	}
	if e.Step == delivery.StepAttempt {
		out.StartedAt, out.DurationMS, out.Delivered = new(e.began()), new(float64(e.Took.Microseconds())/1000), new(!e.Failed)
	}
	return out
}

func toRuleJSON(r *bus.RuleReport) ruleJSON {
	out := ruleJSON{
		Rule: r.RuleName, RuleARN: r.RuleARN, State: r.State, Targets: r.Targets, PatternMatches: r.Matched, Why: r.Why, Failing: r.Failing,
		DifferentElements: r.Closest.DifferentElements, ChangedSince: r.Changed, Conditions: make([]conditionJSON, len(r.Closest.Conditions)),
	}
	for i, c := range r.Closest.Conditions {
		out.Conditions[i] = conditionJSON{c.Path, c.Expected, c.Matched, c.Found, c.Reason}
	}
	return out
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
