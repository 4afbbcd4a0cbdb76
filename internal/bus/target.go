package bus

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// RuleTarget is a target as it was put: what the user gave and nothing else.
type RuleTarget struct {
	// ID names the target within its rule.
	ID      string
	ARN     string
	RoleARN string
	// Kind follows from the ARN; PutTargets sets it.
	Kind           TargetKind
	MessageGroupID string
	HTTPParameters *HTTPParameters
	// HasRetryPolicy says that a policy was given; each of its limits may still be
	// missing and is then AWS's default.
	HasRetryPolicy         bool
	MaximumRetryAttempts   *int32
	MaximumEventAgeSeconds *int32
	DeadLetterARN          string

	id      int64
	ruleID  int64
	version int64
}

// target is what delivery needs of t, with the defaults filled in.
func (t RuleTarget) target(ruleRole string) Target {
	out := Target{
		ID: t.ID, ARN: t.ARN, RoleARN: t.RoleARN, Kind: t.Kind, MessageGroupID: t.MessageGroupID,
		HTTPParameters: t.HTTPParameters, DeadLetterARN: t.DeadLetterARN,
		RetryPolicy: RetryPolicy{MaximumRetryAttempts: DefaultMaximumRetryAttempts, MaximumEventAge: DefaultMaximumEventAge},
	}
	if out.RoleARN == "" {
		out.RoleARN = ruleRole
	}
	if t.MaximumRetryAttempts != nil {
		out.RetryPolicy.MaximumRetryAttempts = int(*t.MaximumRetryAttempts)
	}
	if t.MaximumEventAgeSeconds != nil {
		out.RetryPolicy.MaximumEventAge = time.Duration(*t.MaximumEventAgeSeconds) * time.Second
	}
	return out
}

// PutTargets adds targets to a rule; one whose ID the rule has is replaced
// whole. All are put or none.
func (b *Buses) PutTargets(ctx context.Context, ref event.BusRef, rule string, targets []RuleTarget) error {
	targets, err := checkTargets(ref, targets)
	if err != nil {
		return err
	}
	return b.change(ctx, ref, func(tx *store.Tx, version int64) ([]string, error) {
		r, err := b.rule(ctx, tx, ref, rule)
		if err != nil {
			return nil, err
		}
		for _, t := range targets {
			t.ruleID, t.version = r.id, version
			if err := saveTarget(ctx, tx, t); err != nil {
				return nil, fmt.Errorf("put target %s: %w", t.ID, err)
			}
		}
		n, err := countTargets(ctx, tx, r.id)
		if err != nil {
			return nil, err
		}
		if n > b.limits.Targets {
			return nil, limitExceeded()
		}
		return []string{rule}, nil
	})
}

// RemoveTargets removes targets from a rule; IDs it lacks are ignored.
func (b *Buses) RemoveTargets(ctx context.Context, ref event.BusRef, rule string, ids []string) error {
	return b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		r, err := b.rule(ctx, tx, ref, rule)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if err := deleteTarget(ctx, tx, r.id, id); err != nil {
				return nil, err
			}
		}
		return []string{rule}, nil
	})
}

// ListTargets returns a rule's targets as they were put, by ID.
func (b *Buses) ListTargets(ctx context.Context, ref event.BusRef, rule string, page Page) ([]RuleTarget, string, error) {
	after, err := page.after(targetPages)
	if err != nil {
		return nil, "", err
	}
	r, err := b.Rule(ctx, ref, rule)
	if err != nil {
		return nil, "", err
	}
	found, err := selectTargets(ctx, b.db, r.id, after, page.limit()+1)
	if err != nil {
		return nil, "", fmt.Errorf("list targets of rule %s: %w", rule, err)
	}
	found, next := cutPage(found, page, targetPages, func(t RuleTarget) string { return t.ID })
	return found, next, nil
}

// checkTargets returns the targets with their kinds. Of two with the same ID the
// last one counts, as in AWS.
func checkTargets(ref event.BusRef, targets []RuleTarget) ([]RuleTarget, error) {
	checked := make([]RuleTarget, 0, len(targets))
	at := map[string]int{}
	for _, t := range targets {
		if err := checkTarget(ref, &t); err != nil {
			return nil, err
		}
		if i, ok := at[t.ID]; ok {
			checked[i] = t
			continue
		}
		at[t.ID] = len(checked)
		checked = append(checked, t)
	}
	return checked, nil
}

func checkTarget(ref event.BusRef, t *RuleTarget) error {
	arn, ok := parseARN(t.ARN)
	if !ok {
		return invalidARN(t.ARN)
	}
	if t.RoleARN != "" {
		if err := checkRole(t.RoleARN, ref.Account); err != nil {
			return err
		}
	}
	if err := checkTargetKind(ref, t, arn); err != nil {
		return err
	}
	return checkDeadLetter(ref, t)
}

// checkTargetKind sets the kind and checks what only that kind may have.
func checkTargetKind(ref event.BusRef, t *RuleTarget, arn arn) error {
	switch {
	case arn.service == "sqs":
		t.Kind = KindQueue
		return checkQueueTarget(ref, t, arn)
	case arn.service == "events" && strings.HasPrefix(arn.resource, "api-destination/"):
		t.Kind = KindAPIDestination
		return checkAPIDestinationTarget(ref, t, arn)
	case arn.service == "events" && strings.HasPrefix(arn.resource, "event-bus/"):
		t.Kind = KindBus
		return checkBusTarget(ref, t, arn)
	}
	return awsapi.ValidationException("Targets of service %s are not served by Rialto yet (target %s). Targets can be SQS queues, API destinations and event buses.", arn.service, t.ID)
}

// maxMessageGroup is AWS's limit for a target's message group, in characters.
const maxMessageGroup = 100

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}(\.fifo)?$`)

func checkQueueTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !queueName.MatchString(arn.resource) || len(arn.resource) > 80 {
		return invalidARN(t.ARN)
	}
	if arn.region != ref.Region {
		return awsapi.ValidationException("Target %s is not valid. Reason: the queue is in %s, and the rule in %s reaches queues of its own region only.", t.ID, arn.region, ref.Region)
	}
	if t.HTTPParameters != nil {
		return unsupported("HttpParameters", t.ID)
	}
	fifo := strings.HasSuffix(arn.resource, ".fifo")
	if fifo && t.MessageGroupID == "" {
		return awsapi.ValidationException("Parameter(s) SqsParameters must be specified for target: %s.", t.ID)
	}
	if !fifo && t.MessageGroupID != "" {
		return unsupported("SqsParameters", t.ID)
	}
	if strings.HasPrefix(t.MessageGroupID, "$") {
		return notServed("SqsParameters.MessageGroupId with a JSON path", t.ID)
	}
	if utf8.RuneCountInString(t.MessageGroupID) > maxMessageGroup {
		return awsapi.ValidationException("Parameter SqsParameters.MessageGroupId of target %s is longer than %d characters.", t.ID, maxMessageGroup)
	}
	return nil
}

var apiDestinationResource = regexp.MustCompile(`^api-destination/[\.\-_A-Za-z0-9]{1,64}/[\-A-Za-z0-9]+$`)

func checkAPIDestinationTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !apiDestinationResource.MatchString(arn.resource) {
		return invalidARN(t.ARN)
	}
	if arn.region != ref.Region || arn.account != ref.Account {
		return awsapi.ValidationException("Target %s is not valid. Reason: an API destination must be of the rule's own account and region.", t.ID)
	}
	if t.MessageGroupID != "" {
		return unsupported("SqsParameters", t.ID)
	}
	if t.RoleARN == "" {
		return roleRequired(t.ARN)
	}
	return checkHTTPParameters(t)
}

func checkHTTPParameters(t *RuleTarget) error {
	if t.HTTPParameters == nil {
		return nil
	}
	for _, v := range t.HTTPParameters.Path {
		if strings.TrimSpace(v) == "" {
			return awsapi.ValidationException("Parameter HttpParameters.PathParameterValues of target %s must not hold blank values.", t.ID)
		}
		if isPath(v) {
			return notServed("HttpParameters.PathParameterValues with a JSON path", t.ID)
		}
	}
	for _, v := range t.HTTPParameters.Headers {
		if isPath(v) {
			return notServed("HttpParameters.HeaderParameters with a JSON path", t.ID)
		}
	}
	for _, v := range t.HTTPParameters.Query {
		if isPath(v) {
			return notServed("HttpParameters.QueryStringParameters with a JSON path", t.ID)
		}
	}
	return nil
}

// isPath says whether AWS would take the value as a path into the event.
func isPath(v string) bool {
	return v == "$" || strings.HasPrefix(v, "$.") || strings.HasPrefix(v, "$[")
}

var busName = regexp.MustCompile(`^[\.\-_A-Za-z0-9]{1,256}$`)

func checkBusTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !busName.MatchString(arn.bus()) {
		return invalidARN(t.ARN)
	}
	if t.ARN == ref.ARN() {
		return awsapi.ValidationException("Target %s is not valid. Reason: an event bus cannot be a target of its own rules.", t.ID)
	}
	if t.RoleARN == "" {
		return roleRequired(t.ARN)
	}
	if t.HasRetryPolicy {
		return unsupported("RetryPolicy", t.ID)
	}
	if t.HTTPParameters != nil {
		return unsupported("HttpParameters", t.ID)
	}
	if t.MessageGroupID != "" {
		return unsupported("SqsParameters", t.ID)
	}
	return nil
}

func checkDeadLetter(ref event.BusRef, t *RuleTarget) error {
	if t.DeadLetterARN == "" {
		return nil
	}
	arn, ok := parseARN(t.DeadLetterARN)
	if !ok || arn.service != "sqs" || !queueName.MatchString(arn.resource) {
		return awsapi.ValidationException("Parameter DeadLetterConfig.Arn of target %s is not valid. Reason: Provided Arn is not in correct format.", t.ID)
	}
	if strings.HasSuffix(arn.resource, ".fifo") {
		return awsapi.ValidationException("Parameter DeadLetterConfig.Arn of target %s is not valid. Reason: a dead-letter queue must be a standard queue.", t.ID)
	}
	if arn.region != ref.Region {
		return awsapi.ValidationException("Parameter DeadLetterConfig.Arn of target %s is not valid. Reason: the queue must be in the rule's region, %s.", t.ID, ref.Region)
	}
	return nil
}

func invalidARN(arn string) error {
	return awsapi.ValidationException("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", arn)
}

func unsupported(parameter, id string) error {
	return awsapi.ValidationException("Parameter %s is not supported for target %s.", parameter, id)
}

// notServed refuses what AWS has and we do not.
func notServed(parameter, id string) error {
	return awsapi.ValidationException("Parameter %s is not served by Rialto yet for target %s.", parameter, id)
}

func roleRequired(arn string) error {
	return awsapi.ValidationException("RoleArn is required for target %s.", arn)
}

// arn is an ARN taken apart: arn:partition:service:region:account:resource.
type arn struct {
	service, region, account, resource string
}

var accountForm = regexp.MustCompile(`^[0-9]{12}$`)

// parseARN reads an ARN that names a region and an account.
func parseARN(s string) (arn, bool) {
	parts := strings.SplitN(s, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] == "" || parts[5] == "" {
		return arn{}, false
	}
	a := arn{service: parts[2], region: parts[3], account: parts[4], resource: parts[5]}
	ok := a.region != "" && parts[1] == event.Partition(a.region) && accountForm.MatchString(a.account)
	return a, ok
}

// bus returns the name of the event bus that the ARN names, empty for others.
func (a arn) bus() string {
	name, _ := strings.CutPrefix(a.resource, "event-bus/")
	return name
}

var roleForm = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):role/[\x21-\x7e]+$`)

// checkRole checks a role's form and that it is the account's own. AWS: passing
// a role of another account is refused.
func checkRole(roleARN, account string) error {
	m := roleForm.FindStringSubmatch(roleARN)
	if m == nil {
		return awsapi.ValidationException("Parameter RoleArn is not valid. Reason: Provided Arn is not in correct format.")
	}
	if m[1] != account {
		return awsapi.ValidationException("Parameter RoleArn is not valid. Reason: Cross-account pass role is not allowed.")
	}
	return nil
}
