package bus

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/inputtransform"
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
	// Pattern is the rule's event pattern, Schedule its schedule expression, either
	// of which may be empty, and State its state, for Matches.
	Pattern  string
	Schedule string
	State    RuleState
	Target   Target

	patterns  atomic.Pointer[[]*eventpattern.Pattern]
	transform atomic.Pointer[inputtransform.Transform]
}

// Matches reports whether the record's event goes to the subscription as it was
// when the snapshot was made. It is for readers of the log that are behind;
// Match is for all others. The error says that pattern or event cannot be read.
func (s *Subscription) Matches(rec *event.Record) (bool, error) {
	if s.State == RuleDisabled || rec.Bus != s.Bus {
		return false, nil
	}
	if len(rec.ReplayRules) > 0 && !slices.Contains(rec.ReplayRules, s.RuleARN) {
		return false, nil
	}
	if s.State != RuleEnabledReads && readsOnly(rec.JSON) {
		return false, nil
	}
	patterns := s.patterns.Load()
	if patterns == nil {
		var err error
		if patterns, err = compilePatterns(s.RuleARN, s.Pattern, s.Schedule); err != nil {
			return false, err
		}
		s.patterns.Store(patterns)
	}
	for _, p := range *patterns {
		if matched, err := p.Match(rec.JSON); matched || err != nil {
			return matched, err
		}
	}
	return false, nil
}

// compilePatterns returns what a rule with that pattern and that schedule matches.
func compilePatterns(ruleARN, pattern, schedule string) (*[]*eventpattern.Pattern, error) {
	var compiled []*eventpattern.Pattern
	for _, text := range matchedBy(ruleARN, pattern, schedule) {
		p, err := eventpattern.Compile([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("compile the pattern of rule %s: %w", ruleARN, err)
		}
		compiled = append(compiled, p)
	}
	return &compiled, nil
}

// matchedBy returns the event patterns that a rule matches by: its own, and that
// of its scheduled events.
func matchedBy(ruleARN, pattern, schedule string) []string {
	var patterns []string
	if pattern != "" {
		patterns = append(patterns, pattern)
	}
	if schedule != "" {
		patterns = append(patterns, scheduledEvents(ruleARN))
	}
	return patterns
}

// scheduledEvents is the pattern of the events that the rule's schedule makes.
func scheduledEvents(ruleARN string) string {
	return `{"source":["` + scheduledSource + `"],"detail-type":["` + scheduledDetailType + `"],"resources":["` + ruleARN + `"]}`
}

// Render returns what the target gets of the record's event: the event itself,
// or what the target's input makes of it. An *inputtransform.InvalidJSONError
// says that its template came out as something that is not JSON.
func (s *Subscription) Render(rec *event.Record) ([]byte, error) {
	if s.Target.Input == (inputtransform.Input{}) {
		return rec.JSON, nil
	}
	transform := s.transform.Load()
	if transform == nil {
		var err error
		if transform, err = inputtransform.Compile(s.Target.Input); err != nil {
			return nil, fmt.Errorf("compile the input of target %s of rule %s: %w", s.Target.ID, s.RuleARN, err)
		}
		s.transform.Store(transform)
	}
	return transform.Render(rec.JSON, inputtransform.Variables{RuleARN: s.RuleARN, RuleName: s.RuleName, Ingestion: rec.Accepted})
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
	// KindTopic is an SNS topic.
	KindTopic
	// KindFunction is a Lambda function, a version or an alias of one.
	KindFunction
	// KindLogGroup is a CloudWatch Logs log group.
	KindLogGroup
	// KindArchive is what the rule of an archive has as its target; the rule's own
	// input says which archive.
	KindArchive
)

// String returns the kind's word, such as "queue" or "API destination".
func (k TargetKind) String() string {
	switch k {
	case KindQueue:
		return "queue"
	case KindAPIDestination:
		return "API destination"
	case KindBus:
		return "event bus"
	case KindTopic:
		return "topic"
	case KindFunction:
		return "function"
	case KindLogGroup:
		return "log group"
	case KindArchive:
		return "archive"
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
	// Input is what the target gets of an event, see Subscription.Render.
	Input inputtransform.Input
	// MessageGroupID is the message group for a FIFO queue, or the path of one in the
	// event, see DynamicPath; empty otherwise.
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

// HTTPParameters are added to the calls of an API destination. A value may be a
// path into the event, see DynamicPath.
type HTTPParameters struct {
	// Path values replace the endpoint's asterisks from left to right.
	Path    []string          `json:"path,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Query   map[string]string `json:"query,omitempty"`
}
