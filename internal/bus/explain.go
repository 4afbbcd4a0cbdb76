package bus

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/event"
)

// RuleReport says what a rule, as it is now, makes of an event that went to none of
// its targets.
type RuleReport struct {
	RuleName string
	RuleARN  string
	State    RuleState
	Targets  int
	// Matched says that the event pattern is satisfied. Why then says what kept the
	// event from the rule's targets.
	Matched bool
	Why     Unmatched
	// Closest is the branch of the pattern that is closest to being satisfied, and
	// Failing how many of its conditions are not.
	Closest eventpattern.BranchReport
	Failing int
	// Changed says that rule or targets changed after the event was accepted: then it
	// was not by this form that the event was matched.
	Changed bool
}

// Unmatched is why an event went to no target of a rule whose pattern it satisfies.
type Unmatched string

// What keeps an event from a rule, the first that holds.
const (
	// UnmatchedDisabled: the rule is disabled.
	UnmatchedDisabled Unmatched = "disabled"
	// UnmatchedTargets: the rule has no targets.
	UnmatchedTargets Unmatched = "no targets"
	// UnmatchedReplay: the event is replayed to other rules only.
	UnmatchedReplay Unmatched = "replay"
	// UnmatchedReads: the event tells of a call that only read, and the rule's state
	// leaves those out.
	UnmatchedReads Unmatched = "only reads"
	// UnmatchedChanged: the rule was another when the event was accepted, or the event
	// is not routed yet.
	UnmatchedChanged Unmatched = "changed"
)

// Explanation says what the rules of a bus make of an event.
type Explanation struct {
	// Rules are the closest: those whose pattern is satisfied first, then those with
	// the fewest failing conditions.
	Rules []RuleReport
	// More is how many further rules do not match; Unread how many were not looked at
	// in the time that there was.
	More, Unread int
}

// Explain says what the rules of the record's bus make of its event, by their event
// patterns as they are now, except those that skip names by ARN: at most limit
// of them. Rules without an event pattern are none of its business. When ctx ends it
// returns what it found until then.
func (b *Buses) Explain(ctx context.Context, rec *event.Record, skip map[string]bool, limit int) (Explanation, error) {
	var x Explanation
	now := b.snapshotOf(rec.Bus)
	if now == nil {
		return x, nil
	}
	names := make(map[string]string, limit) // of the rules kept, by ARN
	looked := 0
	for name, r := range now.byName {
		if r.pattern == "" || skip[r.arn] {
			looked++
			continue
		}
		if looked%64 == 0 && ctx.Err() != nil {
			x.Unread = len(now.byName) - looked
			break
		}
		looked++
		pattern, err := eventpattern.Compile([]byte(r.pattern))
		if err != nil { // of a later version of this program; matching has said so
			x.More++
			continue
		}
		report, err := explainRule(pattern, r, rec)
		if err != nil {
			return x, err
		}
		names[r.arn] = name
		x.Rules = append(x.Rules, report)
		if len(x.Rules) >= 4*limit {
			x.More += keepClosest(&x.Rules, limit)
		}
	}
	x.More += keepClosest(&x.Rules, limit)
	for i := range x.Rules {
		if err := b.judgeChanged(ctx, rec, names[x.Rules[i].RuleARN], &x.Rules[i]); err != nil && ctx.Err() == nil {
			return x, err
		}
	}
	return x, nil
}

func explainRule(pattern *eventpattern.Pattern, r *activeRule, rec *event.Record) (RuleReport, error) {
	report := RuleReport{RuleARN: r.arn, State: r.state, Targets: len(r.subscriptions)}
	why := pattern.Explain(rec.JSON)
	if why.Error != "" {
		return report, fmt.Errorf("explain event %s: %s", rec.ID, why.Error)
	}
	report.Matched = why.Matched
	if len(why.Branches) > 0 {
		report.Closest = why.Branches[0]
	}
	if report.Matched {
		report.Why = whyUnmatched(r, rec)
		return report, nil
	}
	for _, c := range report.Closest.Conditions {
		if !c.Matched {
			report.Failing++
		}
	}
	return report, nil
}

func whyUnmatched(r *activeRule, rec *event.Record) Unmatched {
	switch {
	case r.state == RuleDisabled:
		return UnmatchedDisabled
	case len(r.subscriptions) == 0:
		return UnmatchedTargets
	case len(rec.ReplayRules) > 0 && !slices.Contains(rec.ReplayRules, r.arn):
		return UnmatchedReplay
	case r.state != RuleEnabledReads && readsOnly(rec.JSON):
		return UnmatchedReads
	}
	return UnmatchedChanged
}

// keepClosest sorts the reports and cuts them to limit; it returns how many it cut.
func keepClosest(rules *[]RuleReport, limit int) (cut int) {
	rank := func(r RuleReport) int {
		if r.Matched {
			return -1
		}
		return r.Failing
	}
	slices.SortFunc(*rules, func(a, b RuleReport) int {
		return cmp.Or(rank(a)-rank(b), len(b.Closest.Conditions)-len(a.Closest.Conditions), cmp.Compare(a.RuleARN, b.RuleARN))
	})
	cut = max(len(*rules)-limit, 0)
	*rules = (*rules)[:len(*rules)-cut]
	return cut
}

// judgeChanged fills in the rule's name and whether it changed since the event was
// accepted. Targets that were removed since do not show.
func (b *Buses) judgeChanged(ctx context.Context, rec *event.Record, name string, report *RuleReport) error {
	report.RuleName = name
	r, ok, err := selectRule(ctx, b.db, rec.Bus, name)
	if err != nil || !ok {
		return err
	}
	report.Changed = uint64(r.version) > rec.RuleVersion
	if now := b.snapshotOf(rec.Bus); now != nil && now.byName[name] != nil {
		for _, s := range now.byName[name].subscriptions {
			report.Changed = report.Changed || uint64(s.Revision) > rec.RuleVersion
		}
	}
	return nil
}
