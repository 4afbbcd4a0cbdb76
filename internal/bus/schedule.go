package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/schedule"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// scheduleLease names the lease under which one node of a cluster fires the
	// rules that are due.
	scheduleLease = "bus.schedules"
	// scheduleLook is how often that node looks for rules that others have made and
	// for a clock that was set.
	scheduleLook = 5 * time.Second
	// schedulePart is how many rules fire in one transaction.
	schedulePart = 50
	// scheduleLate is from when on a firing is said to be late.
	scheduleLate = time.Minute
)

// scheduleChanged stores when a rule is next due, in the transaction that changes
// the rule; before is nil for a new one, after for a deleted one. AWS: a rate
// counts from when the rule was given its expression, also if it is put again with
// the same one; while a rule is disabled it is not due, and what it misses is not
// made up for.
func (b *Buses) scheduleChanged(ctx context.Context, tx *store.Tx, before, after *Rule) error {
	if after == nil || after.Schedule == "" {
		if before == nil || before.Schedule == "" {
			return nil
		}
		return deleteSchedule(ctx, tx, before.Bus, before.Name)
	}
	s, exists, err := selectSchedule(ctx, tx, after.Bus, after.Name)
	if err != nil {
		return err
	}
	now := b.now()
	if !exists || s.expression != after.Schedule {
		s = ruleSchedule{account: after.Bus.Account, region: after.Bus.Region, rule: after.Name, expression: after.Schedule, started: now}
	}
	if after.State == RuleDisabled {
		s.next = time.Time{}
	} else if s.next.IsZero() {
		if s.next, err = nextDue(s, now); err != nil {
			return err
		}
	}
	tx.OnCommit(b.wakeSchedules)
	return saveSchedule(ctx, tx, s)
}

// nextDue returns when the rule is due after the time, zero for never.
func nextDue(s ruleSchedule, after time.Time) (time.Time, error) {
	parsed, err := schedule.Parse(s.expression)
	if err != nil {
		return time.Time{}, fmt.Errorf("read schedule %q of rule %s: %w", s.expression, s.rule, err)
	}
	next, _ := parsed.Next(after, s.started)
	return next, nil
}

func (b *Buses) wakeSchedules() {
	select {
	case b.schedules <- struct{}{}:
	default:
	}
}

// RunSchedules fires the rules that are due, on one node of a cluster at a time,
// until ctx ends. Holder names this node.
func (b *Buses) RunSchedules(ctx context.Context, holder string) error {
	return b.db.RunLeased(ctx, scheduleLease, holder, func(ctx context.Context) error {
		for {
			if err := b.fireDue(ctx); err != nil {
				return err
			}
			next, err := firstDue(ctx, b.db)
			if err != nil {
				return fmt.Errorf("look for the next schedule: %w", err)
			}
			if err := b.awaitSchedule(ctx, next); err != nil {
				return err
			}
		}
	})
}

// awaitSchedule returns when a rule is due or was changed, or it is time to look
// again.
func (b *Buses) awaitSchedule(ctx context.Context, next time.Time) error {
	wait := scheduleLook
	if !next.IsZero() {
		wait = min(wait, next.Sub(b.now()))
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-b.schedules:
	case <-timer.C:
	}
	return nil
}

// fireDue fires all rules that are due now.
func (b *Buses) fireDue(ctx context.Context) error {
	for {
		now := b.now()
		due, err := selectDue(ctx, b.db, now, schedulePart)
		if err != nil {
			return fmt.Errorf("look for rules that are due: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		if err := b.fire(ctx, due, now); err != nil {
			return fmt.Errorf("fire %d rules that are due: %w", len(due), err)
		}
	}
}

// fire publishes the events of rules that are due, in the transaction that says
// when they are next: none fires twice, whatever happens. What was missed while
// nobody looked, because no server ran or its clock was set, is made up for by one
// event, for the latest time.
func (b *Buses) fire(ctx context.Context, due []ruleSchedule, now time.Time) error {
	firings := make([]firing, 0, len(due))
	for _, s := range due {
		f, err := newFiring(s, now)
		if err != nil {
			b.logger.Error("a rule has a schedule that this version does not take and is not fired", "rule", ruleARN(s.ref(), s.rule), "error", err)
		}
		firings = append(firings, f)
	}
	return b.db.Update(ctx, func(tx *store.Tx) error {
		for _, f := range firings {
			if err := b.fireOne(ctx, tx, f, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// firing is what comes of a rule that is due.
type firing struct {
	seen ruleSchedule
	at   time.Time // the time that it is for, zero for none
	next time.Time
}

func newFiring(s ruleSchedule, now time.Time) (firing, error) {
	parsed, err := schedule.Parse(s.expression)
	if err != nil {
		return firing{seen: s}, err
	}
	f := firing{seen: s, at: parsed.Latest(s.next, now, s.started)}
	f.next, _ = parsed.Next(now, s.started)
	return f, nil
}

func (b *Buses) fireOne(ctx context.Context, tx *store.Tx, f firing, now time.Time) error {
	s, exists, err := selectSchedule(ctx, tx, f.seen.ref(), f.seen.rule)
	if err != nil || !exists || s != f.seen {
		return err // changed meanwhile: it is looked at again
	}
	s.next = f.next
	if err := saveSchedule(ctx, tx, s); err != nil {
		return err
	}
	if f.at.IsZero() {
		return nil
	}
	if late := now.Sub(f.seen.next); late > scheduleLate {
		b.logger.Warn("a rule fires late", "rule", ruleARN(s.ref(), s.rule), "due", f.seen.next, "late", late)
	}
	return tx.Publish(ctx, scheduledEvent(s, f.at))
}

// The source and the detail type of what schedules put on the bus. AWS: "aws.events"
// and "Scheduled Event".
const (
	scheduledSource     = "aws.events"
	scheduledDetailType = "Scheduled Event"
)

// scheduledEvent is what a rule's schedule puts on the default bus. Its id follows
// from the rule and the time: who sees it twice can tell.
func scheduledEvent(s ruleSchedule, at time.Time) event.Record {
	ref := s.ref()
	arn := ruleARN(ref, s.rule)
	at = at.Truncate(time.Second)
	e := event.Event{
		ID:         uuid.NewSHA1(uuid.NameSpaceURL, []byte(arn+"\n"+at.Format(time.RFC3339))).String(),
		DetailType: scheduledDetailType, Source: scheduledSource, Account: s.account, Region: s.region, Time: at,
		Resources: []string{arn}, Detail: []byte(`{}`),
	}
	return event.Record{Bus: ref, ID: e.ID, Origin: event.OriginSchedule + " " + arn, JSON: e.AppendJSON(nil)}
}
