package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// maxFan is how many entities one delete takes with it, or changes, in a single transaction, twice at
// most. So is it for all deletes of a batch that take their dependents with them, or are separate; else,
// where dependents refuse a delete, nothing is to be done before all are looked at.
const maxFan = 200

// errLarge says that a delete concerns more entities than one transaction takes.
var errLarge = errors.New("the delete concerns too many entities for one transaction")

// largeError is errLarge, of one of the changes.
type largeError struct{ index int }

// Error says what errLarge does.
func (e *largeError) Error() string { return errLarge.Error() }

// removal is what a delete comes to: the entities that go, the first of which is the one that was
// asked for, and those that lose a relation to them.
type removal struct {
	doomed   []*node
	isDoomed map[*node]bool
	detached []*node
}

// delete deletes an entity. Port: entities with a required relation to it are its
// dependents, which go too or refuse it; other relations to it become empty. A required
// relation to many that still has another target is no dependence.
func (b *batch) delete(ctx context.Context, r *request, res *ChangeResult) error {
	key, err := b.keyOf(ctx, r)
	if err != nil {
		return err
	}
	res.Identifier = key
	n, err := b.at(ctx, nodeKey{r.blueprint.id, key})
	if err != nil {
		return err
	}
	if !n.there {
		return noEntity(key, r.EntityChange.Blueprint)
	}
	rm, err := b.closure(ctx, n, r.DeleteDependents)
	if err != nil {
		return err
	}
	res.Entity = n.entity(n.after)
	for _, d := range rm.doomed[1:] {
		res.Also = append(res.Also, EntityRef{d.blueprint.Identifier, d.identifier})
	}
	b.remove(rm)
	res.Deleted = true
	return nil
}

// closure finds what goes with an entity and what loses a relation to it.
func (b *batch) closure(ctx context.Context, n *node, dependents bool) (*removal, error) {
	rm := &removal{doomed: []*node{n}, isDoomed: map[*node]bool{n: true}}
	seen := map[*node]bool{}
	for level := rm.doomed; len(level) > 0; {
		sources, err := b.sourcesOf(ctx, level)
		if err != nil {
			return nil, err
		}
		var next []*node
		for _, s := range sources {
			if rm.isDoomed[s] {
				continue
			}
			if !seen[s] {
				seen[s] = true
				rm.detached = append(rm.detached, s)
			}
			key := s.depends(rm.isDoomed)
			if key == "" {
				continue
			}
			if !dependents {
				return nil, hasDependents("Entity %q of blueprint %q cannot be deleted: entity %q of blueprint %q depends on it by its required relation %q. "+
					"Delete that first, or delete with its dependents.", n.identifier, n.blueprint.Identifier, s.identifier, s.blueprint.Identifier, key)
			}
			rm.isDoomed[s] = true
			next = append(next, s)
		}
		rm.doomed = append(rm.doomed, next...)
		if len(rm.doomed)+len(rm.detached) > 2*maxFan || (dependents || b.separate) && !b.validateOnly && b.fan+rm.fan() > 2*maxFan {
			return nil, errLarge
		}
		level = next
	}
	rm.detached = slices.DeleteFunc(rm.detached, func(s *node) bool { return rm.isDoomed[s] })
	return rm, nil
}

// fan is how many entities a removal concerns that the batch has not changed before, beside the one that
// was asked for.
func (rm *removal) fan() (n int) {
	for _, s := range slices.Concat(rm.doomed[1:], rm.detached) {
		if !s.touched {
			n++
		}
	}
	return n
}

// depends returns the required relation of a node that would be left with no target, or "".
func (n *node) depends(gone map[*node]bool) string {
	for _, key := range sortedKeys(n.after.relations) {
		if !n.blueprint.Relations[key].Required {
			continue
		}
		if !slices.ContainsFunc(n.after.relations[key], func(t *node) bool { return !gone[t] }) {
			return key
		}
	}
	return ""
}

// sourcesOf are the entities that point to some others by now, whole.
func (b *batch) sourcesOf(ctx context.Context, targets []*node) ([]*node, error) {
	var ids []int64
	isTarget := make(map[*node]bool, len(targets))
	for _, t := range targets {
		isTarget[t] = true
		if t.id != 0 {
			ids = append(ids, t.id)
		}
	}
	if err := b.loadIncoming(ctx, ids); err != nil {
		return nil, err
	}
	var candidates []int64
	for _, id := range ids {
		edges, known := b.incoming[id]
		if !known {
			return nil, errLarge
		}
		for _, e := range edges {
			if rel, live := b.m.relations[e.relation]; live && rel.blueprint != nil {
				candidates = append(candidates, e.source)
			}
		}
	}
	if err := b.loadWhole(ctx, candidates); err != nil {
		return nil, err
	}
	var sources []*node
	seen := map[*node]bool{}
	consider := func(s *node) {
		if s == nil || seen[s] || !s.there || s.after == nil || !s.pointsTo(isTarget) {
			return
		}
		seen[s] = true
		sources = append(sources, s)
	}
	slices.Sort(candidates)
	for _, id := range slices.Compact(candidates) {
		consider(b.byID[id])
	}
	for _, s := range b.touched {
		consider(s)
	}
	return sources, nil
}

func (n *node) pointsTo(targets map[*node]bool) bool {
	for _, list := range n.after.relations {
		if slices.ContainsFunc(list, func(t *node) bool { return targets[t] }) {
			return true
		}
	}
	return false
}

// loadIncoming reads what points to stored entities. Those to which too much points are left
// unknown.
func (b *batch) loadIncoming(ctx context.Context, ids []int64) error {
	var missing []int64
	for _, id := range ids {
		if _, known := b.incoming[id]; !known {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	const most = 4 * maxFan
	edges, err := edgesTo(ctx, b.q, missing, most)
	if err != nil {
		return err
	}
	if len(edges) == most {
		// Perhaps but one of them is to blame.
		if len(missing) == 1 {
			return nil
		}
		half := len(missing) / 2
		if err := b.loadIncoming(ctx, missing[:half]); err != nil {
			return err
		}
		return b.loadIncoming(ctx, missing[half:])
	}
	for _, id := range missing {
		b.incoming[id] = nil
	}
	for _, e := range edges {
		b.incoming[e.target] = append(b.incoming[e.target], e)
	}
	return nil
}

// remove carries a removal out.
func (b *batch) remove(rm *removal) {
	b.fan += rm.fan()
	for i, n := range rm.doomed {
		n.there, n.after, n.gone = false, nil, b.w.Cause
		if i > 0 {
			n.gone.Why = rm.why()
		}
		b.touch(n)
	}
	b.empty(rm)
}

// why is the reason of what follows from a removal.
func (rm *removal) why() string {
	return fmt.Sprintf("entity %s of blueprint %s was deleted", rm.doomed[0].identifier, rm.doomed[0].blueprint.Identifier)
}

// empty takes the relations to what goes from those that stay.
func (b *batch) empty(rm *removal) {
	because := b.w.Cause
	because.Why = rm.why()
	for _, s := range rm.detached {
		next := *s.after
		next.relations = maps.Clone(s.after.relations)
		for key, list := range next.relations {
			left := slices.DeleteFunc(slices.Clone(list), func(t *node) bool { return rm.isDoomed[t] })
			if len(left) == len(list) {
				continue
			}
			if len(left) == 0 {
				delete(next.relations, key)
				continue
			}
			next.relations[key] = left
		}
		b.change(s, &next)
		s.after.cause = because
	}
}
