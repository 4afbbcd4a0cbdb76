package catalog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Aggregation properties are computed in the background, some time after what they depend on
// was changed, and stored: an answer and a search have what was stored last.

const (
	aggregationLease = "catalog aggregations"
	// aggregateEvery is how often is looked for what has to be computed.
	aggregateEvery = 10 * time.Second
	// aggregateOld is when a property is computed again that depends on the time. Port: 15 min.
	aggregateOld = 15 * time.Minute
	// aggregatePause is the least time between two computings of one property.
	aggregatePause = 30 * time.Second
	// aggregateMargin is how long a change may take from its time to being seen, on any node.
	aggregateMargin = time.Minute
	// aggregateTime bounds the computing of one property.
	aggregateTime = 2 * time.Minute
	// maxAggregated is how many entities a blueprint may have for its aggregation properties to be
	// computed. Port: its number.
	maxAggregated = 20_000
	// aggregatesAtOnce is how many entities are computed, and stored in one transaction.
	aggregatesAtOnce = 200
	// maxRelatedPairs bounds what those entities are related to.
	maxRelatedPairs = 500_000
)

// aggregateKey is the property's name in the index of values, which no other property can have.
func aggregateKey(property string) string { return "#" + property }

// aggregateInTurns computes aggregation properties that are due, until ctx ends. One node does.
func (c *Catalog) aggregateInTurns(ctx context.Context) {
	holder := rand.Text()
	_ = c.db.RunLeased(ctx, aggregationLease, holder, func(ctx context.Context) error { // its error is ctx's
		paces := map[aggregateOf]*pace{}
		tick := time.NewTicker(aggregateEvery)
		defer tick.Stop()
		for {
			if err := c.aggregateDue(ctx, paces); err != nil && ctx.Err() == nil {
				c.log.Warn("aggregation properties could not be computed", "error", err)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
}

// aggregateDue computes the aggregation properties that have to be, and forgets those that there
// are no longer.
func (c *Catalog) aggregateDue(ctx context.Context, paces map[aggregateOf]*pace) error {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return err
	}
	states, err := aggregationStates(ctx, c.db)
	if err != nil {
		return err
	}
	changed := map[int64]map[int64]bool{} // blueprints, by the time since which
	for _, b := range m.sorted() {
		for _, name := range sortedKeys(b.Aggregations) {
			of := aggregateOf{b.id, name}
			a := &aggregation{Aggregation: b.Aggregations[name], c: c, m: m, of: b, name: name}
			if paces[of] == nil {
				paces[of] = &pace{}
			}
			due, err := a.due(ctx, states[of], paces[of], changed)
			delete(states, of)
			if err == nil && due {
				start := time.Now()
				err = a.compute(ctx)
				paces[of].took = time.Since(start)
			}
			if err != nil {
				return fmt.Errorf("aggregation property %s of blueprint %s: %w", name, b.Identifier, err)
			}
		}
	}
	for _, gone := range states {
		if err := forgetAggregation(ctx, c.db, gone.key); err != nil {
			return fmt.Errorf("forget an aggregation property: %w", err)
		}
	}
	return nil
}

// pace is how often a property is looked at.
type pace struct {
	took  time.Duration // the last computing
	still time.Time     // nothing that concerns it had changed by then
}

// aggregateOf names an aggregation property.
type aggregateOf struct {
	blueprint int64
	property  string
}

// aggregationState is what was computed of a property last.
type aggregationState struct {
	key        int64
	definition string
	at         time.Time
	err        string
}

// aggregation is a property that is computed for all entities of a blueprint.
type aggregation struct {
	Aggregation
	c    *Catalog
	m    *model
	of   *Blueprint
	name string

	target *Blueprint
	s      *search
	cond   *condition // what an entity must satisfy to be counted
	ways   []way      // the paths that lead to those, if they are given
	back   bool       // the paths lead from those
	values map[int64]aggregated
}

// aggregated is what is known of an entity that may be counted.
type aggregated struct {
	counts  bool
	value   float64
	isValue bool
	at      time.Time
	isTime  bool
}

// definition tells one version of the property from another.
func (a *aggregation) definition() string {
	text, err := encode(a.Aggregation)
	if err != nil {
		return ""
	}
	return string(text)
}

// due says whether the property has to be computed again: what it depends on was changed
// since, or it's so old that the time may have changed it. What takes long has longer pauses.
func (a *aggregation) due(ctx context.Context, state aggregationState, p *pace, changed map[int64]map[int64]bool) (bool, error) {
	now := a.c.now()
	if state.definition != a.definition() {
		return true, nil
	}
	if now.Sub(state.at) < min(max(aggregatePause, 10*p.took), aggregateOld) {
		return false, nil
	}
	if now.Sub(state.at) >= aggregateOld && (len(a.Query) > 0 || a.Func == "average" || a.overComputed() || state.err != "") {
		return true, nil
	}
	from := state.at
	if p.still.After(from) {
		from = p.still
	}
	since := from.Add(-aggregateMargin).UnixMilli()
	if changed[since] == nil {
		var err error
		if changed[since], err = changedBlueprints(ctx, a.c.db, since); err != nil {
			return false, err
		}
	}
	if a.concernedBy(changed[since]) {
		return true, nil
	}
	p.still = now
	return false, nil
}

// concernedBy says whether the property may depend on entities of the blueprints.
func (a *aggregation) concernedBy(changed map[int64]bool) bool {
	if len(a.PathFilter) == 0 || len(a.Query) > 0 || a.overComputed() {
		return len(changed) > 0 // whatever it is, it may lie on a way
	}
	return slices.ContainsFunc(a.concerned(), func(b *Blueprint) bool { return changed[b.id] })
}

// overComputed says whether what is computed over is itself computed, and so depends on who knows what.
func (a *aggregation) overComputed() bool {
	target := a.m.byIdentifier[a.Target]
	for _, name := range []string{a.Property, a.MeasureTimeBy} {
		if target == nil || name == "" {
			continue
		}
		if sub, _, ok := target.subject(name); ok && sub.kind != ofMeta && sub.kind != ofProperty {
			return true
		}
	}
	return false
}

// concerned are the blueprints of the entities that the property is of, of those that it counts,
// and of those on the paths between.
func (a *aggregation) concerned() []*Blueprint {
	list := []*Blueprint{a.of}
	for _, f := range a.PathFilter {
		b := a.of
		if f.FromBlueprint != "" {
			b = a.m.byIdentifier[f.FromBlueprint]
		}
		for _, relation := range f.Path {
			if b == nil {
				break
			}
			list = append(list, b)
			b = a.m.byIdentifier[b.Relations[relation].Target]
		}
		if b != nil {
			list = append(list, b)
		}
	}
	return list
}

// compute computes the property and stores it, together with why it could not be, where that is
// the property's own fault or that of its entities.
func (a *aggregation) compute(ctx context.Context) error {
	began := a.c.now()
	limited, cancel := context.WithTimeout(ctx, aggregateTime)
	defer cancel()
	problem := ""
	err := a.prepare(limited)
	if err == nil {
		err = a.computeAll(limited)
	}
	if told, ok := errors.AsType[*Error](err); ok {
		problem = told.Message
	} else if err != nil && limited.Err() != nil && ctx.Err() == nil {
		problem = fmt.Sprintf("took longer than %s to compute", aggregateTime)
	} else if err != nil {
		return err
	}
	if problem != "" {
		a.c.log.Warn("an aggregation property could not be computed", "blueprint", a.of.Identifier, "property", a.name, "problem", problem)
	}
	return saveAggregation(ctx, a.c.db, aggregateOf{a.of.id, a.name}, aggregationState{definition: a.definition(), at: began, err: problem})
}

// prepare finds out what is counted, and how it is come to.
func (a *aggregation) prepare(ctx context.Context) error {
	a.target = a.m.byIdentifier[a.Target]
	if a.target == nil {
		return invalid("its target, blueprint %q, does not exist", a.Target)
	}
	a.s = a.c.newSearch(a.c.db, a.m, SearchOptions{Blueprint: a.Target})
	root := &rule{combinator: combineAnd}
	if len(a.Query) > 0 {
		q, err := ParseQuery(a.Query)
		if err != nil {
			return err
		}
		root = q.root
	}
	var err error
	if a.cond, err = a.s.conditionFor(ctx, root, a.target); err != nil {
		return err
	}
	a.values = map[int64]aggregated{}
	if len(a.PathFilter) == 0 {
		return nil
	}
	f := a.PathFilter[0]
	start, end := a.of, a.target
	if f.FromBlueprint != "" && f.FromBlueprint != a.of.Identifier || a.of == a.target && f.FromBlueprint != "" {
		start, end, a.back = a.target, a.of, true
		if f.FromBlueprint != a.Target {
			return invalid("its path begins at blueprint %q, which is neither its own nor its target", f.FromBlueprint)
		}
	}
	path := make([]pathHop, 0, len(f.Path))
	for _, relation := range f.Path {
		path = append(path, pathHop{relation, 1})
	}
	for _, w := range a.s.ways(start, path) {
		if w.end == end {
			a.ways = append(a.ways, w)
		}
	}
	if len(a.ways) == 0 {
		return invalid("its path does not lead from blueprint %s to %s", start.Identifier, end.Identifier)
	}
	return nil
}

// computeAll computes the property of all entities of the blueprint.
func (a *aggregation) computeAll(ctx context.Context) error {
	more, err := hasMore(ctx, a.c.db, a.of.id, maxAggregated)
	if err != nil {
		return err
	}
	if more {
		return invalid("its blueprint has more than %d entities; aggregation properties are computed of so many at most", maxAggregated)
	}
	for after := int64(0); ; {
		ids, err := aggregatedAfter(ctx, a.c.db, a.of.id, after, aggregatesAtOnce)
		if err != nil || len(ids) == 0 {
			return err
		}
		if err := a.computeOf(ctx, ids); err != nil {
			return err
		}
		after = ids[len(ids)-1]
	}
}

// computeOf computes the property of some entities, and stores what has changed.
func (a *aggregation) computeOf(ctx context.Context, ids []int64) error {
	related, err := a.related(ctx, ids)
	if err != nil {
		return err
	}
	var unknown []int64
	for _, list := range related {
		for _, id := range list {
			if _, known := a.values[id]; !known {
				unknown = append(unknown, id)
			}
		}
	}
	slices.Sort(unknown)
	if err := a.read(ctx, slices.Compact(unknown)); err != nil {
		return err
	}
	results := make(map[int64]float64, len(ids))
	for _, id := range ids {
		if v, ok := a.result(related[id]); ok {
			results[id] = v
		}
	}
	return a.c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		return storeAggregates(ctx, tx, aggregateOf{a.of.id, a.name}, ids, results)
	})
}

// read finds out what has to be known of entities of the target.
func (a *aggregation) read(ctx context.Context, ids []int64) error {
	const keep = 200_000
	if len(a.values) > keep {
		a.values = map[int64]aggregated{}
	}
	var subjects []subject
	for _, name := range []string{a.Property, a.MeasureTimeBy} {
		if sub, _, ok := a.target.subject(name); ok {
			subjects = append(subjects, sub)
		}
	}
	wanted := &condition{subjects: subjects}
	return inChunks(ids, idsAtOnce, func(chunk []int64) error {
		list, err := candidatesByID(ctx, a.s.q, a.target, chunk, "")
		if err != nil {
			return err
		}
		for _, id := range chunk {
			a.values[id] = aggregated{}
		}
		a.s.computed = 0 // the limit is of one search
		if list, err = a.s.judge(ctx, a.target, a.cond, list); err != nil {
			return err
		}
		for _, fill := range a.s.fills() {
			if err := fill(ctx, a.target, wanted, list); err != nil {
				return err
			}
		}
		for _, e := range list {
			if err := a.note(e); err != nil {
				return err
			}
		}
		return nil
	})
}

// note keeps what has to be known of an entity that counts.
func (a *aggregation) note(e *candidate) error {
	v := aggregated{counts: true, at: e.CreatedAt, isTime: true}
	if sub, _, ok := a.target.subject(a.MeasureTimeBy); ok {
		at, _, err := e.value(sub)
		if err != nil {
			return err
		}
		v.at, v.isTime = timeOf(at)
	}
	if sub, _, ok := a.target.subject(a.Property); ok {
		value, _, err := e.value(sub)
		if err != nil {
			return err
		}
		v.value, v.isValue = number(value)
	}
	a.values[e.id] = v
	return nil
}
