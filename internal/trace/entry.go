package trace

import (
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
)

// Entry is what a node recorded of an event: that it was routed, or a step of one of
// its deliveries. Its JSON form goes between nodes.
type Entry struct {
	// Step is the kind of step; 0 for an event that was routed.
	Step delivery.StepKind `json:"step,omitempty"`
	// At is when it happened, in microseconds; of an attempt its end.
	At time.Time `json:"at"`
	// Node names the node that recorded it.
	Node string `json:"node"`
	// Sequence and Index are the event's place in the log: the same for all entries of
	// one event on one bus.
	Sequence uint64       `json:"sequence"`
	Index    int          `json:"index"`
	ID       string       `json:"id"`
	Bus      event.BusRef `json:"bus"`

	// Of an event that was routed: when the bus accepted it, how it came there
	// (event.Record.Origin), under which version of the rules, and where it goes.
	Accepted    time.Time      `json:"accepted,omitzero"`
	Origin      string         `json:"origin,omitempty"`
	RuleVersion uint64         `json:"rule_version,omitempty"`
	Matched     []Subscription `json:"matched,omitempty"`
	// MoreMatched is how many further subscriptions it goes to.
	MoreMatched int `json:"more_matched,omitempty"`

	// Of a step: the same as in delivery.Step. Failed says that there was a failure.
	Subscription Subscription  `json:"subscription,omitzero"`
	Attempt      int           `json:"attempt,omitempty"`
	Took         time.Duration `json:"took,omitempty"`
	Failed       bool          `json:"failed,omitempty"`
	Code         string        `json:"code,omitempty"`
	Message      string        `json:"message,omitempty"`
	Status       int           `json:"status,omitempty"` // HTTP status of the answer
	Exhausted    string        `json:"exhausted,omitempty"`
	Until        time.Time     `json:"until,omitzero"`
	To           string        `json:"to,omitempty"`
}

// Subscription is a rule and one of its targets, as they were called when the entry
// was made.
type Subscription struct {
	ID        int64          `json:"id"`
	RuleName  string         `json:"rule_name"`
	RuleARN   string         `json:"rule_arn"`
	TargetID  string         `json:"target_id"`
	TargetARN string         `json:"target_arn"`
	Kind      bus.TargetKind `json:"kind"`
}

// Gap is a time for which entries are missing.
type Gap struct {
	Node string    `json:"node"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Entries is how many were dropped; 0 if that is not known, because the node ended
	// without warning or what it wrote was damaged.
	Entries int64 `json:"entries,omitempty"`
}
