package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/inputtransform"
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
	Input          inputtransform.Input
	MessageGroupID string
	HTTPParameters *HTTPParameters
	// HasRetryPolicy says that a policy was given; each of its limits may still be
	// missing and is then AWS's default.
	HasRetryPolicy         bool
	MaximumRetryAttempts   *int32
	MaximumEventAgeSeconds *int32
	DeadLetterARN          string

	// foreign names a parameter that was given and that only kinds of target have
	// which are not served.
	foreign string
	id      int64
	ruleID  int64
	version int64
}

// target is what delivery needs of t, with the defaults filled in.
func (t RuleTarget) target(ruleRole string) Target {
	out := Target{
		ID: t.ID, ARN: t.ARN, RoleARN: t.RoleARN, Kind: t.Kind, Input: t.Input, MessageGroupID: t.MessageGroupID,
		HTTPParameters: t.HTTPParameters, DeadLetterARN: t.DeadLetterARN,
		RetryPolicy: RetryPolicy{MaximumRetryAttempts: DefaultMaximumRetryAttempts, MaximumEventAge: DefaultMaximumEventAge},
	}
	if out.RoleARN == "" {
		out.RoleARN = ruleRole
	}
	if t.Kind == KindArchive {
		out.Input = inputtransform.Input{} // an archive keeps the event; its input is what AWS shows
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
		if err := r.changeable(false); err != nil {
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

// RemoveTargets removes targets from a rule of a user's own; IDs it lacks are
// ignored.
func (b *Buses) RemoveTargets(ctx context.Context, ref event.BusRef, rule string, ids []string) error {
	return b.removeTargets(ctx, ref, rule, ids, false)
}

// removeTargets is RemoveTargets, by force also for a rule that a service manages.
func (b *Buses) removeTargets(ctx context.Context, ref event.BusRef, rule string, ids []string, force bool) error {
	return b.change(ctx, ref, func(tx *store.Tx, _ int64) ([]string, error) {
		r, err := b.rule(ctx, tx, ref, rule)
		if err != nil {
			return nil, err
		}
		if err := r.changeable(force); err != nil {
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
	if err := checkTargetKind(ref, t); err != nil {
		return err
	}
	if err := t.checkParameters(); err != nil {
		return err
	}
	if t.RoleARN != "" {
		if err := checkRole(t.RoleARN, ref.Account); err != nil {
			return err
		}
	}
	if err := checkInput(t); err != nil {
		return err
	}
	return checkDeadLetter(ref, t)
}

// checkInput checks what the target is to get of an event. AWS: an input is
// checked as far as that goes without an event.
func checkInput(t *RuleTarget) error {
	transform, err := inputtransform.Compile(t.Input)
	if e, ok := errors.AsType[*inputtransform.Error](err); ok {
		return awsapi.ValidationException("%s", e.Message(t.ID))
	}
	if err != nil {
		return fmt.Errorf("compile the input of target %s: %w", t.ID, err)
	}
	if t.Kind == KindLogGroup && t.Input.Template != nil {
		return checkLogEntry(t.ID, transform)
	}
	return nil
}

func checkDeadLetter(ref event.BusRef, t *RuleTarget) error {
	if t.DeadLetterARN == "" {
		return nil
	}
	return checkDeadLetterQueue("Parameter DeadLetterConfig.Arn of target "+t.ID, t.DeadLetterARN, ref)
}

// checkDeadLetterQueue checks the dead-letter queue of a bus or of a target of its
// rules. AWS: a standard queue in the region of the bus, of any account.
func checkDeadLetterQueue(parameter, queueARN string, ref event.BusRef) error {
	arn, ok := parseARN(queueARN)
	switch {
	case !ok || arn.service != "sqs" || !queueName.MatchString(arn.resource):
		return awsapi.ValidationException("%s is not valid. Reason: Provided Arn is not in correct format.", parameter)
	case strings.HasSuffix(arn.resource, ".fifo"):
		return awsapi.ValidationException("%s is not valid. Reason: a dead-letter queue must be a standard queue.", parameter)
	case arn.region != ref.Region:
		return awsapi.ValidationException("%s is not valid. Reason: the queue must be in %s.", parameter, ref.Region)
	}
	return nil
}
