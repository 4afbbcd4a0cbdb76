package bus

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/event"
)

// Subscription is one (rule, target) pair, the unit of delivery. It is a
// snapshot: it does not change, a change of rule or target makes a new one with
// the same ID and a higher Revision.
type Subscription struct {
	// ID stays the same while the rule has a target with that id, and is never
	// used again afterwards.
	ID int64
	// Revision grows with each change of the rule or the target.
	Revision int64
	// Bus is the event bus of the rule; its account owns the rule.
	Bus      event.BusRef
	RuleName string
	RuleARN  string
	// Pattern is the rule's event pattern and State its state, for Matches.
	Pattern string
	State   RuleState
	Target  Target

	compiled atomic.Pointer[eventpattern.Pattern]
}

// Matches reports whether the record's event goes to the subscription as it was
// when the snapshot was made. It is for readers of the log that are behind;
// Match is for all others. The error says that pattern or event cannot be read.
func (s *Subscription) Matches(rec *event.Record) (bool, error) {
	if s.State == RuleDisabled || rec.Bus != s.Bus || s.Pattern == "" {
		return false, nil
	}
	if len(rec.ReplayRules) > 0 && !slices.Contains(rec.ReplayRules, s.RuleARN) {
		return false, nil
	}
	if s.State != RuleEnabledReads && readsOnly(rec.JSON) {
		return false, nil
	}
	pattern := s.compiled.Load()
	if pattern == nil {
		var err error
		if pattern, err = eventpattern.Compile([]byte(s.Pattern)); err != nil {
			return false, fmt.Errorf("compile the pattern of rule %s: %w", s.RuleARN, err)
		}
		s.compiled.Store(pattern)
	}
	return pattern.Match(rec.JSON)
}

// TargetKind says how a target is invoked.
type TargetKind uint8

// The kinds of target that are served.
const (
	// KindQueue is an SQS queue.
	KindQueue TargetKind = iota + 1
	// KindAPIDestination is an HTTP endpoint behind a connection.
	KindAPIDestination
	// KindBus is another event bus.
	KindBus
)

// String returns the kind's word: queue, API destination or event bus.
func (k TargetKind) String() string {
	switch k {
	case KindQueue:
		return "queue"
	case KindAPIDestination:
		return "API destination"
	case KindBus:
		return "event bus"
	}
	return "unknown"
}

// Target is where a rule sends the events that it matches.
type Target struct {
	// ID names the target within its rule.
	ID  string
	ARN string
	// RoleARN is the role under which the target is invoked: the target's own,
	// or else the rule's. May be empty for queues.
	RoleARN string
	Kind    TargetKind
	// MessageGroupID is the message group for a FIFO queue, empty otherwise.
	MessageGroupID string
	// HTTPParameters are for API destinations; nil without.
	HTTPParameters *HTTPParameters
	RetryPolicy    RetryPolicy
	// DeadLetterARN is the standard queue for events that could not be
	// delivered; empty without.
	DeadLetterARN string
}

// RetryPolicy bounds the attempts of one delivery. AWS: whichever limit is
// reached first ends it.
type RetryPolicy struct {
	// MaximumRetryAttempts counts attempts after the first, 0 to 185.
	MaximumRetryAttempts int
	// MaximumEventAge counts from the event's acceptance, 60 seconds to 24 hours.
	MaximumEventAge time.Duration
}

// The retry policy of a target that names none. AWS: 185 retries, 24 hours.
const (
	DefaultMaximumRetryAttempts = 185
	DefaultMaximumEventAge      = 24 * time.Hour
)

// HTTPParameters are added to the calls of an API destination.
type HTTPParameters struct {
	// Path values replace the endpoint's asterisks from left to right.
	Path    []string          `json:"path,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Query   map[string]string `json:"query,omitempty"`
}
