package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// shrinkSize is how many relations to an entity are looked at, and their entities changed,
	// at a time.
	shrinkSize = MaxChanges
	// maxShrinkDepth is how deep large deletes lie in one another: dependents of dependents.
	maxShrinkDepth = 20
)

// shrink prepares a delete that concerns too many entities for one transaction: dependents are
// deleted before, and other relations emptied, some at a time. Whenever it ends, the catalog
// is whole.
func (c *Catalog) shrink(ctx context.Context, w Writer, ch EntityChange, deep int) error {
	if deep > maxShrinkDepth {
		return invalid("Entity %q of blueprint %q cannot be deleted: dependents of dependents by the hundred lie more than %d deep. Delete some of them first.",
			shorten(ch.Identifier), ch.Blueprint, maxShrinkDepth)
	}
	if ch.Cause != nil {
		w.Cause = ch.Cause.bounded()
	}
	if err := c.checkLarge(ctx, w, ch); err != nil {
		return err
	}
	for moved := 0; ; {
		m, n, err := c.largeTarget(ctx, w, ch)
		if err != nil || n == nil {
			return err
		}
		edges, err := edgesFrom(ctx, c.db, n.id, edge{}, shrinkSize)
		if err != nil {
			return err
		}
		progress, err := c.shrinkPage(ctx, w, m, n, edges, deep)
		if errors.Is(err, errMoved) && moved < maxTries {
			moved++
			continue
		}
		if err != nil || !progress || len(edges) < shrinkSize {
			return err
		}
	}
}

// largeTarget is the entity that is to be deleted, nil if it is not there.
func (c *Catalog) largeTarget(ctx context.Context, w Writer, ch EntityChange) (*model, *node, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, nil, err
	}
	r := m.read(ch)
	if r.err != nil {
		return nil, nil, r.err
	}
	b := c.newBatch(m, c.db, w)
	key, err := b.keyOf(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	n, err := b.at(ctx, nodeKey{r.blueprint.id, key})
	if err != nil || !n.there {
		return nil, nil, err
	}
	return m, n, nil
}

// checkLarge returns has_dependents if an entity depends on the one to be deleted, and is not to go too.
func (c *Catalog) checkLarge(ctx context.Context, w Writer, ch EntityChange) error {
	if ch.DeleteDependents {
		return nil
	}
	m, n, err := c.largeTarget(ctx, w, ch)
	if err != nil || n == nil {
		return err
	}
	for after := (edge{}); ; {
		edges, err := edgesFrom(ctx, c.db, n.id, after, readAtOnce)
		if err != nil {
			return err
		}
		b := c.newBatch(m, c.db, w)
		sources, _, err := b.split(ctx, n.id, edges)
		if err != nil {
			return err
		}
		if len(sources) > 0 {
			return hasDependents("Entity %q of blueprint %q cannot be deleted: entity %q of blueprint %q and perhaps others depend on it by a required relation. "+
				"Delete those first, or delete with its dependents.", n.identifier, n.blueprint.Identifier, sources[0].identifier, sources[0].blueprint.Identifier)
		}
		if len(edges) < readAtOnce {
			return nil
		}
		after = edges[len(edges)-1]
	}
}

// split tells those who depend on an entity from those who just point to it.
func (b *batch) split(ctx context.Context, target int64, edges []edge) (dependents, others []*node, err error) {
	var ids []int64
	for _, e := range edges {
		if _, live := b.m.relations[e.relation]; live {
			ids = append(ids, e.source)
		}
	}
	if err := b.loadWhole(ctx, append(ids, target)); err != nil {
		return nil, nil, err
	}
	gone := map[*node]bool{b.byID[target]: true}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		n := b.byID[id]
		switch {
		case n == nil || n.after == nil || id == target || !n.pointsTo(gone):
		case n.depends(gone) != "":
			dependents = append(dependents, n)
		default:
			others = append(others, n)
		}
	}
	return dependents, others, nil
}

// shrinkPage deletes the dependents among the sources of some relations to an entity, empties the
// relations of the others, and deletes those relations that no blueprint has any more. It says
// whether there was anything to do.
func (c *Catalog) shrinkPage(ctx context.Context, w Writer, m *model, target *node, edges []edge, deep int) (progress bool, err error) {
	b := c.newBatch(m, c.db, w)
	dependents, others, err := b.split(ctx, target.id, edges)
	if err != nil {
		return false, err
	}
	if err := c.deleteDependents(ctx, w, target, dependents, deep+1); err != nil {
		return false, err
	}
	self := b.byID[target.id]
	if len(others) > 0 && self != nil {
		b.empty(&removal{doomed: []*node{self}, isDoomed: map[*node]bool{self: true}, detached: others})
	}
	var dead []edge
	for _, e := range edges {
		if _, live := m.relations[e.relation]; !live {
			dead = append(dead, e)
		}
	}
	if !b.hasChanges() && len(dead) == 0 {
		return len(dependents) > 0, nil
	}
	said, err := b.report()
	if err != nil {
		return false, err
	}
	err = c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		if err := planForSize(ctx, tx); err != nil {
			return err
		}
		if err := deleteEdges(ctx, tx, dead); err != nil {
			return err
		}
		return b.store(ctx, tx, said, false)
	})
	if err != nil {
		return false, fmt.Errorf("empty relations to entity %s: %w", target.identifier, err)
	}
	return true, nil
}

// deleteDependents deletes entities with what depends on them.
func (c *Catalog) deleteDependents(ctx context.Context, w Writer, of *node, nodes []*node, deep int) error {
	if len(nodes) == 0 {
		return nil
	}
	w.Cause.Why = fmt.Sprintf("entity %s of blueprint %s is being deleted", of.identifier, of.blueprint.Identifier)
	changes := make([]EntityChange, len(nodes))
	for i, n := range nodes {
		changes[i] = EntityChange{Delete: true, Blueprint: n.blueprint.Identifier, Identifier: n.identifier, DeleteDependents: true}
	}
	for chunk := range slices.Chunk(changes, MaxChanges) {
		results, err := c.applyDeep(ctx, w, chunk, ApplyOptions{}, deep)
		if err != nil {
			return err
		}
		for _, r := range results {
			// It may have gone with one before it.
			if e, ok := errors.AsType[*Error](r.Err); ok && e.Code != CodeNotFound {
				return e
			}
		}
	}
	return nil
}
