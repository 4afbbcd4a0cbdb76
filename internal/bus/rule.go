package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/schedule"
	"github.com/rialto-bus/rialto/internal/store"
)

// RuleState says whether a rule matches events.
type RuleState string

// The states of a rule.
const (
	RuleEnabled  RuleState = "ENABLED"
	RuleDisabled RuleState = "DISABLED"
	// RuleEnabledReads is AWS's ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS: the
	// rule also matches CloudTrail's management events that only read.
	RuleEnabledReads RuleState = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
)

// Rule sends the events of a bus that match a pattern to its targets.
type Rule struct {
	Bus  event.BusRef
	Name string
	// Pattern is the event pattern exactly as it was submitted, Schedule the
	// schedule expression; either may be empty.
	Pattern  string
	Schedule string
	// Description is nil when none was given.
	Description *string
	// RoleARN is used for targets that have no role of their own; may be empty.
	RoleARN string
	State   RuleState
	// ManagedBy is the service that the rule belongs to; empty for users' own rules.
	ManagedBy string
	// CreatedBy is the account that made the rule.
	CreatedBy string

	id      int64
	version int64
	// blankPattern and blankSchedule say that the one that the rule lacks was given
	// as an empty text, which AWS shows again.
	blankPattern, blankSchedule bool
}

// ARN returns the rule's ARN. AWS: rules on the default bus leave its name out.
func (r Rule) ARN() string { return ruleARN(r.Bus, r.Name) }

func ruleARN(ref event.BusRef, name string) string {
	if ref.Name != event.DefaultBus {
		name = ref.Name + "/" + name
	}
	return "arn:" + event.Partition(ref.Region) + ":events:" + ref.Region + ":" + ref.Account + ":rule/" + name
}

// PutRule creates the rule or replaces all of it but its targets and tags; tags
// only count for a new rule. An empty State is ENABLED. AWS: the errors are
// ValidationException, InvalidEventPatternException, ResourceNotFoundException
// for the bus and LimitExceededException.
func (b *Buses) PutRule(ctx context.Context, r Rule, tags []Tag) (arn string, err error) {
	if err := b.checkRule(&r, tags); err != nil {
		return "", err
	}
	err = b.change(ctx, r.Bus, func(tx *store.Tx, version int64) ([]string, error) {
		if _, err := b.bus(ctx, tx, r.Bus); err != nil {
			return nil, err
		}
		old, exists, err := selectRule(ctx, tx, r.Bus, r.Name)
		if err != nil {
			return nil, err
		}
		put := r
		put.id, put.version = old.id, version
		if exists {
			if err := old.changeable(false); err != nil {
				return nil, err
			}
			if err := b.scheduleChanged(ctx, tx, &old, &put); err != nil {
				return nil, err
			}
			return []string{r.Name}, updateRule(ctx, tx, put)
		}
		if err := b.createRule(ctx, tx, put, tags); err != nil {
			return nil, err
		}
		if err := b.scheduleChanged(ctx, tx, nil, &put); err != nil {
			return nil, err
		}
		return []string{r.Name}, nil
	})
	return r.ARN(), err
}

func (b *Buses) createRule(ctx context.Context, tx *store.Tx, r Rule, tags []Tag) error {
	n, err := countOwnRules(ctx, tx, r.Bus)
	if err != nil {
		return err
	}
	if n >= b.limits.Rules {
		return limitExceeded()
	}
	if err := insertRule(ctx, tx, r); err != nil {
		return err
	}
	return putTags(ctx, tx, r.ARN(), tags)
}

// changeable says whether a user may change the rule. AWS: what a service manages
// only by force, where the operation knows that.
func (r Rule) changeable(force bool) error {
	if r.ManagedBy == "" || force {
		return nil
	}
	return events.ErrManagedRuleException("%s is a managed rule. Set 'force' parameter to true to override.", r.Name)
}

func (b *Buses) checkRule(r *Rule, tags []Tag) error {
	if r.State == "" {
		r.State = RuleEnabled
	}
	if r.Pattern == "" && r.Schedule == "" {
		return awsapi.ValidationException("Parameter(s) EventPattern or ScheduleExpression must be specified.")
	}
	if err := checkSchedule(r); err != nil {
		return err
	}
	if r.Pattern != "" {
		if err := b.checkPattern(r.Pattern); err != nil {
			return err
		}
	}
	if err := checkText("Description", r.Description); err != nil {
		return err
	}
	if r.RoleARN != "" {
		if err := checkRole(r.RoleARN, r.Bus.Account); err != nil {
			return err
		}
	}
	return checkTags(tags)
}

func checkSchedule(r *Rule) error {
	if r.Schedule == "" && !r.blankSchedule {
		return nil
	}
	if r.Bus.Name != event.DefaultBus {
		return awsapi.ValidationException("ScheduleExpression is supported only on the default event bus.")
	}
	if r.Schedule == "" {
		return nil
	}
	if _, err := schedule.Parse(r.Schedule); err != nil {
		return awsapi.ValidationException("Parameter ScheduleExpression is not valid.")
	}
	if r.State == RuleEnabledReads {
		return awsapi.ValidationException("Parameter State is not valid. Reason: %s cannot be combined with a ScheduleExpression.", r.State)
	}
	return nil
}

func (b *Buses) checkPattern(text string) error {
	if err := checkText("EventPattern", &text); err != nil { // AWS takes any text behind a pattern
		return err
	}
	if utf8.RuneCountInString(text) > b.limits.PatternLength {
		return events.ErrLimitExceededException("The event pattern is longer than the %d characters allowed.", b.limits.PatternLength)
	}
	_, err := compilePattern(text)
	return err
}

// compilePattern turns the compiler's error into AWS's.
func compilePattern(text string) (*eventpattern.Pattern, error) {
	p, err := eventpattern.Compile([]byte(text))
	if err != nil {
		return nil, events.ErrInvalidEventPatternException("Event pattern is not valid. Reason: %s", err)
	}
	return p, nil
}

// Rule describes a rule. AWS: ResourceNotFoundException for the bus or the rule.
func (b *Buses) Rule(ctx context.Context, ref event.BusRef, name string) (Rule, error) {
	return b.rule(ctx, b.db, ref, name)
}

func (b *Buses) rule(ctx context.Context, q store.Querier, ref event.BusRef, name string) (Rule, error) {
	if _, err := b.bus(ctx, q, ref); err != nil {
		return Rule{}, err
	}
	r, ok, err := selectRule(ctx, q, ref, name)
	if err != nil {
		return Rule{}, err
	}
	if !ok {
		return Rule{}, noRule(ref, name)
	}
	return r, nil
}

// ListRules returns the rules of a bus whose names have the prefix, by name.
func (b *Buses) ListRules(ctx context.Context, ref event.BusRef, prefix string, page Page) ([]Rule, string, error) {
	after, err := page.after(rulePages)
	if err != nil {
		return nil, "", err
	}
	if _, err := b.Bus(ctx, ref); err != nil {
		return nil, "", err
	}
	found, err := selectRules(ctx, b.db, ref, prefix, after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list rules of %s: %w", ref.Name, err)
	}
	found, next := cutPage(found, page, rulePages, func(r Rule) string { return r.Name })
	return found, next, nil
}

// ListRuleNamesByTarget returns the names of a bus's rules that have a target
// with exactly that ARN, disabled rules among them.
func (b *Buses) ListRuleNamesByTarget(ctx context.Context, ref event.BusRef, targetARN string, page Page) ([]string, string, error) {
	after, err := page.after(ruleNamePages)
	if err != nil {
		return nil, "", err
	}
	if err := checkText("TargetArn", &targetARN); err != nil {
		return nil, "", err
	}
	if _, err := b.Bus(ctx, ref); err != nil {
		return nil, "", err
	}
	names, err := selectRuleNamesByTarget(ctx, b.db, ref, targetARN, after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list rules of %s by target: %w", ref.Name, err)
	}
	names, next := cutPage(names, page, ruleNamePages, func(name string) string { return name })
	return names, next, nil
}

// SetRuleState enables or disables a rule.
func (b *Buses) SetRuleState(ctx context.Context, ref event.BusRef, name string, state RuleState) error {
	return b.change(ctx, ref, func(tx *store.Tx, version int64) ([]string, error) {
		r, err := b.rule(ctx, tx, ref, name)
		if err != nil {
			return nil, err
		}
		if err := r.changeable(false); err != nil {
			return nil, err
		}
		old := r
		r.State, r.version = state, version
		if err := b.scheduleChanged(ctx, tx, &old, &r); err != nil {
			return nil, err
		}
		return []string{name}, updateRule(ctx, tx, r)
	})
}

// DeleteRule deletes a rule without targets, one that a service manages by force
// only. AWS: a missing rule is no error, a missing bus is.
func (b *Buses) DeleteRule(ctx context.Context, ref event.BusRef, name string, force bool) error {
	if _, err := b.Bus(ctx, ref); err != nil {
		return err
	}
	_, exists, err := selectRule(ctx, b.db, ref, name)
	if err != nil || !exists {
		return err
	}
	return b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		r, exists, err := selectRule(ctx, tx, ref, name)
		if err != nil || !exists {
			return nil, err
		}
		if err := r.changeable(force); err != nil {
			return nil, err
		}
		n, err := countTargets(ctx, tx, r.id)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			return nil, awsapi.ValidationException("Rule can't be deleted since it has targets.")
		}
		if err := b.scheduleChanged(ctx, tx, &r, nil); err != nil {
			return nil, err
		}
		if err := deleteTags(ctx, tx, r.ARN()); err != nil {
			return nil, err
		}
		return []string{name}, deleteRule(ctx, tx, r.id)
	})
}

// testable says whether AWS would test a pattern with the event: a JSON object
// that has the members every event has, whatever their values.
func testable(text string) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil {
		return false
	}
	for _, name := range []string{"id", "account", "source", "time", "region", "detail-type"} {
		if members[name] == nil {
			return false
		}
	}
	return true
}
