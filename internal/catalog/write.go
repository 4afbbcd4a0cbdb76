package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// store writes what the batch changed: rows, relations, the index of values, history and
// events, the last two as reported. It returns errMoved if what the batch has read is no longer so; with hold, also for
// entities that it found unchanged. It must not be called twice.
func (b *batch) store(ctx context.Context, tx *store.Tx, r report, hold bool) error {
	var changed, kept, deleted, unchanged []*node
	for _, n := range b.touched {
		if !n.changed() {
			continue
		}
		changed = append(changed, n)
		if n.there {
			kept = append(kept, n)
		} else {
			deleted = append(deleted, n)
		}
	}
	for _, n := range b.byID {
		if hold && n.before != nil && !n.changed() {
			unchanged = append(unchanged, n)
		}
	}
	if err := b.holdModel(ctx, tx, changed); err != nil {
		return err
	}
	if err := holdUnchanged(ctx, tx, unchanged); err != nil {
		return err
	}
	if len(changed) == 0 {
		return nil
	}
	source, err := datasourceID(ctx, tx, b.w.Datasource)
	if err != nil {
		return fmt.Errorf("find the datasource: %w", err)
	}
	for _, step := range []func() error{
		func() error { return b.storeDeleted(ctx, tx, deleted) },
		func() error { return b.storeRenamed(ctx, tx, kept) },
		func() error { return b.storeEntities(ctx, tx, source, slices.Clone(kept)) },
		func() error { return b.storeRelations(ctx, tx, kept) },
		func() error { return b.storeValues(ctx, tx, changed) },
		func() error { return insertChanges(ctx, tx, source, r.changes) },
		func() error { return tx.Publish(ctx, r.events...) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, s := range b.shown {
		s.entity.id = s.node.id
		if s.node.before != nil && !s.node.changed() {
			*s.entity = *s.node.entity(s.node.before)
		}
	}
	return nil
}

// holdModel makes sure that the blueprints are as the batch knows them, and, for the changed
// entities' sake, that they are not deleted before the transaction ends.
func (b *batch) holdModel(ctx context.Context, tx *store.Tx, changed []*node) error {
	ids := map[int64]bool{}
	for _, n := range changed {
		ids[n.blueprint.id] = true
	}
	if err := holdBlueprints(ctx, tx, sortedIDs(ids)); err != nil {
		return err
	}
	revision, err := modelRevision(ctx, tx)
	if err != nil {
		return err
	}
	if revision != b.m.revision {
		return errMoved
	}
	return nil
}

// holdUnchanged makes sure that entities that were found unchanged still are so.
func holdUnchanged(ctx context.Context, tx *store.Tx, nodes []*node) error {
	want := map[int64]int64{}
	for _, n := range nodes {
		want[n.id] = n.before.revision
	}
	return checkRevisions(ctx, tx, want, false)
}

func (b *batch) storeDeleted(ctx context.Context, tx *store.Tx, nodes []*node) error {
	if len(nodes) == 0 {
		return nil
	}
	want := map[int64]int64{}
	for _, n := range nodes {
		want[n.id] = n.before.revision
	}
	if err := checkRevisions(ctx, tx, want, true); err != nil {
		return err
	}
	ids := sortedIDs(want)
	edges, err := edgesTo(ctx, tx, ids, maxIncoming)
	if err != nil {
		return err
	}
	if len(edges) == maxIncoming {
		return errMoved // and too many for one transaction, which the next plan finds out
	}
	// Whoever points to them must be changed by this batch, too, or it came in the meantime.
	for _, e := range edges {
		rel, live := b.m.relations[e.relation]
		source := b.byID[e.source]
		if live && (source == nil || !source.touched) && rel.blueprint != nil {
			return errMoved
		}
	}
	return deleteEntities(ctx, tx, ids)
}

// maxIncoming bounds what points to the entities that one transaction deletes.
const maxIncoming = 20_000

// storeRenamed gives entities their new names. Several get names that no entity can have first: one's new
// name may be another's old one.
func (b *batch) storeRenamed(ctx context.Context, tx *store.Tx, nodes []*node) error {
	var renamed []*node
	for _, n := range nodes {
		if n.id != 0 && n.identifier != n.stored {
			renamed = append(renamed, n)
		}
	}
	if len(renamed) > 1 {
		for _, n := range renamed {
			if err := renameEntity(ctx, tx, n.id, n.before.revision, fmt.Sprintf("#%d", n.id)); err != nil {
				return fmt.Errorf("rename entity %s: %w", n.stored, err)
			}
		}
	}
	for _, n := range renamed {
		if err := renameEntity(ctx, tx, n.id, n.before.revision, n.identifier); err != nil {
			return fmt.Errorf("rename entity %s to %s: %w", n.stored, n.identifier, err)
		}
	}
	return nil
}

// storeEntities writes the rows of created and updated entities. They are in one order, so
// that two writers wait for one another and not each for the other.
func (b *batch) storeEntities(ctx context.Context, tx *store.Tx, source int64, nodes []*node) error {
	slices.SortFunc(nodes, func(x, y *node) int {
		if x.blueprint != y.blueprint {
			return int(x.blueprint.id - y.blueprint.id)
		}
		return strings.Compare(x.identifier, y.identifier)
	})
	for chunk := range rowChunks(tx.Dialect(), nodes, func(n *node) int { return len(n.after.text) }) {
		if err := upsertEntities(ctx, tx, b.w.Datasource, source, chunk); err != nil {
			return err
		}
	}
	return nil
}

// storeRelations writes what changed in the relations.
func (b *batch) storeRelations(ctx context.Context, tx *store.Tx, nodes []*node) error {
	var gone, come []edge
	targets := map[int64]bool{}
	for _, n := range nodes {
		for key, rel := range n.blueprint.Relations {
			var before []*node
			if n.before != nil {
				before = n.before.relations[key]
			}
			after := n.after.relations[key]
			if slices.Equal(before, after) {
				continue
			}
			for _, t := range before {
				if t.there && !slices.Contains(after, t) {
					gone = append(gone, edge{n.id, rel.id, t.id, 0})
				}
			}
			for i, t := range after {
				if i < len(before) && before[i] == t {
					continue
				}
				come = append(come, edge{n.id, rel.id, t.id, int64(i)})
				targets[t.id] = true
			}
		}
	}
	if err := deleteEdges(ctx, tx, gone); err != nil {
		return err
	}
	if err := holdTargets(ctx, tx, sortedIDs(targets)); err != nil {
		return err
	}
	return insertEdges(ctx, tx, come)
}

func (b *batch) storeValues(ctx context.Context, tx *store.Tx, nodes []*node) error {
	changes := make([]valueChange, len(nodes))
	for i, n := range nodes {
		changes[i] = valueChange{id: n.id, blueprint: n.blueprint, before: n.entity(n.before), after: n.entity(n.after)}
		if before := changes[i].before; before != nil {
			before.Identifier = n.stored
			if n.before.hidden != nil {
				before.Properties = maps.Clone(before.Properties)
				maps.Copy(before.Properties, n.before.hidden)
			}
		}
	}
	return b.c.indexValues(ctx, tx, changes)
}

// report is what is told of a batch: made before the transaction, so as not to hold it.
type report struct {
	changes []changeRow
	events  []event.Record
}

// report makes the history of what the batch changed, and the events about it. What ends comes
// before what begins: an entity may have the name of one that the batch has deleted or renamed.
func (b *batch) report() (report, error) {
	var ends, begins report
	for _, n := range b.touched {
		if !n.changed() {
			continue
		}
		change, err := b.changeOf(n)
		if err != nil {
			return report{}, err
		}
		row, err := change.row()
		if err != nil {
			return report{}, err
		}
		r, state := &begins, n.after
		if !n.there {
			r, state = &ends, n.before
		}
		rec, err := b.c.changeEvent(change, n.entity(state))
		if err != nil {
			return report{}, err
		}
		r.changes, r.events = append(r.changes, row), append(r.events, rec)
		if n.id != 0 && n.there && n.stored != n.identifier {
			// The history under the old name ends with this.
			row.Identifier = n.stored
			ends.changes = append(ends.changes, row)
		}
	}
	return report{append(ends.changes, begins.changes...), append(ends.events, begins.events...)}, nil
}

// changeOf is the entry of the history of a changed entity.
func (b *batch) changeOf(n *node) (Change, error) {
	c := Change{
		Resource: ResourceEntity, Blueprint: n.blueprint.Identifier, blueprintID: n.blueprint.id, Identifier: n.identifier,
		Action: ActionUpdate, At: b.now, By: b.w.By, Datasource: b.w.Datasource, Cause: b.w.Cause,
	}
	switch {
	case n.before == nil:
		c.Action = ActionCreate
	case !n.there:
		c.Action, c.Cause = ActionDelete, n.gone
	}
	if n.after != nil {
		c.Cause = n.after.cause
	}
	f, err := n.fields()
	c.Fields = f
	return c, err
}

// fields are what changed of a node.
func (n *node) fields() (fields, error) {
	before, after := n.before, n.after
	empty := &state{}
	if before == nil {
		before = empty
	}
	if after == nil {
		after = empty
	}
	f := fields{}
	var errs []error
	add := func(name string, x, y any) { errs = append(errs, f.add(name, x, y)) }
	if n.stored != "" && n.stored != n.identifier {
		add("identifier", n.stored, n.identifier)
	}
	add("title", before.title, after.title)
	add("icon", before.icon, after.icon)
	add("team", noneIfEmpty(before.team), noneIfEmpty(after.team))
	if n.before != nil && n.after != nil {
		add("datasource", before.datasource, after.datasource)
	}
	for _, key := range mergedKeys(before.properties, after.properties) {
		add("properties."+key, before.properties[key], after.properties[key])
	}
	for _, key := range mergedKeys(before.relations, after.relations) {
		rel := n.blueprint.Relations[key]
		// By the nodes, whose names may have changed too: that is no change of this one.
		if slices.Equal(before.relations[key], after.relations[key]) {
			continue
		}
		add("relations."+key, relationField(rel, before.relations[key]), relationField(rel, after.relations[key]))
	}
	return f, errors.Join(errs...)
}

func noneIfEmpty(list []string) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

// relationField is a relation in the history: nil if it is empty, also where it is to many.
func relationField(rel Relation, targets []*node) any {
	if len(targets) == 0 {
		return nil
	}
	return relationShape(rel, identifiers(targets))
}

func mergedKeys[V any](a, b map[string]V) []string {
	keys := append(sortedKeys(a), sortedKeys(b)...)
	slices.Sort(keys)
	return slices.Compact(keys)
}
