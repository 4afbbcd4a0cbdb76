package bus

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// busMemory is what this node holds of one bus so that accepting and matching
// events needs no SQL. Readers take now and never wait; whoever holds the bus's
// lock in Buses.changing replaces it.
type busMemory struct {
	now atomic.Pointer[snapshot]
}

// snapshot is a bus at one rule version. Snapshots that follow one another share
// the set, which is changed in place; see Match for how readers bear that.
type snapshot struct {
	version uint64
	exists  bool
	policy  *auth.Policy // nil without
	set     *eventpattern.Set
	// byName holds all rules; matching those in the set, by id.
	byName   map[string]*activeRule
	matching map[uint64]*activeRule
	reads    bool // one of those matching also takes calls that only read
}

// activeRule is a rule and its targets, ready to match. It does not change.
type activeRule struct {
	id            uint64
	arn           string
	pattern       string
	schedule      string
	state         RuleState
	subscriptions []*Subscription
}

// scheduled marks the set id under which a rule matches its scheduled events.
const scheduled = 1 << 63

// patterns returns what of the rule belongs in the set, by set id; r may be nil.
func (r *activeRule) patterns() map[uint64]string {
	if r == nil || r.state == RuleDisabled || len(r.subscriptions) == 0 {
		return nil
	}
	texts := make(map[uint64]string, 1)
	if r.pattern != "" {
		texts[r.id] = r.pattern
	}
	if r.schedule != "" {
		texts[r.id|scheduled] = scheduledEvents(r.arn)
	}
	return texts
}

// snapshotOf returns the bus as this node knows it, nil when it knows nothing of it.
func (b *Buses) snapshotOf(ref event.BusRef) *snapshot {
	if m := (*b.memory.Load())[ref]; m != nil {
		return m.now.Load()
	}
	return nil
}

// memoryOf returns the bus's place in memory, made if missing.
func (b *Buses) memoryOf(ref event.BusRef) *busMemory {
	b.adding.Lock()
	defer b.adding.Unlock()
	all := *b.memory.Load()
	if m := all[ref]; m != nil {
		return m
	}
	all = maps.Clone(all)
	m := new(busMemory)
	m.now.Store(emptySnapshot())
	all[ref] = m
	b.memory.Store(&all)
	return m
}

func emptySnapshot() *snapshot {
	return &snapshot{set: eventpattern.NewSet(), byName: map[string]*activeRule{}, matching: map[uint64]*activeRule{}}
}

// lock locks changes of the bus and returns the unlock.
func (b *Buses) lock(ref event.BusRef) func() {
	mu := &b.changing[maphash.Comparable(b.seed, ref)%uint64(len(b.changing))]
	mu.Lock()
	return mu.Unlock
}

// busPatch is what a committed change leaves to be done in memory.
type busPatch struct {
	version uint64
	exists  bool
	policy  *auth.Policy
	rules   map[string]*ruleState // nil value: the rule is gone
}

type ruleState struct {
	rule    Rule
	targets []RuleTarget
}

// change runs fn in a transaction that raises the bus's version, and lets Match
// see the rules that fn names before it returns. Fn may run more than once.
func (b *Buses) change(ctx context.Context, ref event.BusRef, fn func(tx *store.Tx, version int64) (rules []string, err error)) error {
	patch, removed, err := b.changeLocked(ctx, ref, fn)
	b.tellRemoved(removed)
	if patch != nil {
		b.changed(ref, patch.version)
	}
	return err
}

// changeLocked returns the patch once it is committed, even with an error.
func (b *Buses) changeLocked(ctx context.Context, ref event.BusRef, fn func(tx *store.Tx, version int64) ([]string, error)) (patch *busPatch, removed []int64, err error) {
	defer b.lock(ref)()
	var made *busPatch
	err = b.db.Update(ctx, func(tx *store.Tx) error {
		version, err := bumpVersion(ctx, tx, ref)
		if err != nil {
			return err
		}
		rules, err := fn(tx, version)
		if err != nil {
			return err
		}
		made, err = b.readPatch(ctx, tx, ref, uint64(version), rules)
		return err
	})
	if err != nil && refused(err) {
		return nil, nil, err
	}
	if err != nil {
		// Whether it was committed may be unknown: memory follows SQL either way.
		removed, reloadErr := b.reload(ctx, ref)
		return nil, removed, errors.Join(fmt.Errorf("change event bus %s: %w", ref.Name, err), reloadErr)
	}
	cur := b.memoryOf(ref).now.Load()
	if cur.version+1 == made.version {
		return made, b.apply(ref, cur, made), nil
	}
	// Another node changed the bus in between, or this is all new.
	if removed, err = b.reload(ctx, ref); err != nil {
		return made, nil, fmt.Errorf("event bus %s was changed, but this node could not read it back: %w", ref.Name, err)
	}
	return made, removed, nil
}

// readPatch reads within the transaction what it changed.
func (b *Buses) readPatch(ctx context.Context, tx *store.Tx, ref event.BusRef, version uint64, rules []string) (*busPatch, error) {
	e, exists, err := selectBus(ctx, tx, ref)
	if err != nil {
		return nil, err
	}
	p := &busPatch{version: version, exists: exists || ref.Name == event.DefaultBus, policy: b.policyOf(e), rules: map[string]*ruleState{}}
	for _, name := range rules {
		r, ok, err := selectRule(ctx, tx, ref, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			p.rules[name] = nil
			continue
		}
		targets, err := selectTargets(ctx, tx, r.id, "", allTargets)
		if err != nil {
			return nil, err
		}
		p.rules[name] = &ruleState{rule: r, targets: targets}
	}
	return p, nil
}

// allTargets is more than a rule can have under any limit.
const allTargets = 1 << 20

// apply puts a change into memory and returns the subscriptions that are gone.
// The order of set and snapshot is the one that Match relies on.
func (b *Buses) apply(ref event.BusRef, cur *snapshot, p *busPatch) (removed []int64) {
	next := &snapshot{version: p.version, exists: p.exists, policy: p.policy, set: cur.set, byName: cur.byName, matching: cur.matching, reads: cur.reads}
	if len(p.rules) > 0 {
		next.byName, next.matching = maps.Clone(cur.byName), maps.Clone(cur.matching)
	}
	var leave []uint64 // ids that leave the set once nobody looks for them
	for name, state := range p.rules {
		old := next.byName[name]
		var now *activeRule
		if state != nil {
			now = b.activate(ref, state)
		}
		leave = append(leave, b.enter(next, old, now)...)
		delete(next.byName, name)
		if now != nil {
			next.byName[name] = now
		}
		removed = append(removed, b.keepSubscriptions(old, now)...)
	}
	if len(p.rules) > 0 {
		next.reads = takesReads(next.matching)
	}
	b.memoryOf(ref).now.Store(next)
	for _, id := range leave {
		next.set.Remove(id)
	}
	return removed
}

func takesReads(matching map[uint64]*activeRule) bool {
	for _, r := range matching {
		if r.state == RuleEnabledReads {
			return true
		}
	}
	return false
}

// enter brings the set and matching from the old form of a rule to the new one;
// nil is none. It returns the ids that are to leave the set afterwards.
func (b *Buses) enter(next *snapshot, old, now *activeRule) (leave []uint64) {
	had, has := old.patterns(), now.patterns()
	for id := range had {
		if _, stays := has[id]; !stays && next.matching[id] != nil {
			delete(next.matching, id)
			leave = append(leave, id)
		}
	}
	for id, text := range has {
		if next.matching[id] == nil || had[id] != text {
			pattern, err := compilePattern(text)
			if err != nil {
				b.logger.Error("rule has an event pattern that this version does not take and matches nothing", "rule", now.arn, "error", err)
				delete(next.matching, id)
				leave = append(leave, id)
				continue
			}
			next.set.Add(id, pattern)
		}
		next.matching[id] = now
	}
	return leave
}

func (b *Buses) activate(ref event.BusRef, s *ruleState) *activeRule {
	r := &activeRule{id: uint64(s.rule.id), arn: s.rule.ARN(), pattern: s.rule.Pattern, schedule: s.rule.Schedule, state: s.rule.State}
	for _, t := range s.targets {
		r.subscriptions = append(r.subscriptions, &Subscription{
			ID: t.id, Revision: max(t.version, s.rule.version), Bus: ref,
			RuleName: s.rule.Name, RuleARN: r.arn, Pattern: s.rule.Pattern, Schedule: s.rule.Schedule, State: s.rule.State,
			Target: t.target(s.rule.RoleARN),
		})
	}
	return r
}

// keepSubscriptions makes the rule's subscriptions findable by id and returns
// those that are gone.
func (b *Buses) keepSubscriptions(old, now *activeRule) (removed []int64) {
	b.subscriptions.Lock()
	defer b.subscriptions.Unlock()
	if now != nil {
		for _, s := range now.subscriptions {
			b.subscriptions.byID[s.ID] = s
		}
	}
	if old == nil {
		return nil
	}
	for _, s := range old.subscriptions {
		if now == nil || !now.has(s.ID) {
			delete(b.subscriptions.byID, s.ID)
			removed = append(removed, s.ID)
		}
	}
	return removed
}

func (r *activeRule) has(subscription int64) bool {
	for _, s := range r.subscriptions {
		if s.ID == subscription {
			return true
		}
	}
	return false
}

// reload reads the whole bus from SQL. The caller holds its lock. It goes on
// when ctx ends, so that memory does not stay behind what was committed.
func (b *Buses) reload(ctx context.Context, ref event.BusRef) (removed []int64, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	// The version first: what is read after it is at least that new.
	version, err := selectVersion(ctx, b.db, ref)
	if err != nil {
		return nil, err
	}
	e, exists, err := selectBus(ctx, b.db, ref)
	if err != nil {
		return nil, err
	}
	rules, err := selectRulesOf(ctx, b.db, ref)
	if err != nil {
		return nil, err
	}
	targets, err := selectTargetsOf(ctx, b.db, ref)
	if err != nil {
		return nil, err
	}
	p := &busPatch{
		version: uint64(version), exists: exists || ref.Name == event.DefaultBus,
		policy: b.policyOf(e), rules: ruleStates(rules, targets),
	}
	cur := b.memoryOf(ref).now.Load()
	for name := range cur.byName {
		if p.rules[name] == nil {
			p.rules[name] = nil
		}
	}
	return b.apply(ref, cur, p), nil
}

func ruleStates(rules []Rule, targets []RuleTarget) map[string]*ruleState {
	byID := make(map[int64]*ruleState, len(rules))
	byName := make(map[string]*ruleState, len(rules))
	for _, r := range rules {
		s := &ruleState{rule: r}
		byID[r.id], byName[r.Name] = s, s
	}
	for _, t := range targets {
		if s := byID[t.ruleID]; s != nil {
			s.targets = append(s.targets, t)
		}
	}
	return byName
}

// loadAll fills the memory at start.
func (b *Buses) loadAll(ctx context.Context) error {
	versions, err := selectVersions(ctx, b.db)
	if err != nil {
		return err
	}
	buses, err := selectAllBuses(ctx, b.db)
	if err != nil {
		return err
	}
	rules, err := selectAllRules(ctx, b.db)
	if err != nil {
		return err
	}
	targets, err := selectAllTargets(ctx, b.db)
	if err != nil {
		return err
	}
	patches := map[event.BusRef]*busPatch{}
	for ref, version := range versions {
		patches[ref] = &busPatch{version: uint64(version), exists: ref.Name == event.DefaultBus, rules: map[string]*ruleState{}}
	}
	for _, e := range buses {
		if p := patches[e.Ref]; p != nil {
			p.exists, p.policy = true, b.policyOf(e)
		}
	}
	byID := make(map[int64]*ruleState, len(rules))
	for _, r := range rules {
		if p := patches[r.Bus]; p != nil {
			s := &ruleState{rule: r}
			byID[r.id], p.rules[r.Name] = s, s
		}
	}
	for _, t := range targets {
		if s := byID[t.ruleID]; s != nil {
			s.targets = append(s.targets, t)
		}
	}
	for ref, p := range patches {
		b.apply(ref, b.memoryOf(ref).now.Load(), p)
	}
	return nil
}

// OnRemoved registers f to be called with the id of each subscription whose rule
// or target is gone, after the change is committed. F must not block and may be
// called from several goroutines at once. To be called before events flow.
func (b *Buses) OnRemoved(f func(id int64)) {
	b.removed.Lock()
	defer b.removed.Unlock()
	b.removed.callbacks = append(b.removed.callbacks, f)
}

func (b *Buses) tellRemoved(ids []int64) {
	if len(ids) == 0 {
		return
	}
	b.removed.RLock()
	defer b.removed.RUnlock()
	for _, f := range b.removed.callbacks {
		for _, id := range ids {
			f(id)
		}
	}
}
