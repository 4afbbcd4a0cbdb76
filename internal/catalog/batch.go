package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// batch is some entities in memory while changes are made to them: first as they are
// stored, in the end as they are to be stored.
type batch struct {
	c   *Catalog
	m   *model
	q   store.Querier
	w   Writer
	now time.Time
	// validateOnly: nothing is going to be written.
	validateOnly bool
	// separate and sameDatasource: see ApplyOptions.
	separate       bool
	sameDatasource func(string) bool

	nodes map[nodeKey]*node // what a name stands for by now, also if it is not there
	byID  map[int64]*node
	// touched are those that were changed, in the order of their first change.
	touched  []*node
	incoming map[int64][]edge // stored relations to an entity, as far as they were read
	fan      int              // what deletes concern beside what they are of
	shown    []shownEntity
	dead     []edge // stored relations that the blueprint of their source no longer has
}

// shownEntity is what a result shows of a node, which learns its id when it is stored.
type shownEntity struct {
	entity *Entity
	node   *node
}

type nodeKey struct {
	blueprint  int64
	identifier string
}

// node is one entity of a batch.
type node struct {
	blueprint  *Blueprint
	identifier string
	id         int64  // 0: is not stored yet
	stored     string // the identifier it is stored under
	there      bool
	// before is as it is stored, after as it is by now; both nil unless the whole entity was
	// read, or if it is not there.
	before, after *state
	touched       bool
	// gone is why it is no longer there, if it is not.
	gone Cause
}

// state is what there is of an entity beside its name. It is copied to be changed.
type state struct {
	title, icon *string
	team        []string
	properties  map[string]any
	relations   map[string][]*node // those that are not empty, in order
	datasource  string
	// datasourceID is its number, where it was read.
	datasourceID int64
	revision     int64
	createdAt    time.Time
	createdBy    string
	updatedAt    time.Time
	updatedBy    string
	cause        Cause

	text string // the JSON of properties, once it was encoded
	// hidden are stored values that the blueprint no longer has a property for.
	hidden map[string]any
}

// edge is a stored relation.
type edge struct{ source, relation, target, position int64 }

func (c *Catalog) newBatch(m *model, q store.Querier, w Writer) *batch {
	return &batch{
		c: c, m: m, q: q, w: w, now: c.now(),
		nodes: map[nodeKey]*node{}, byID: map[int64]*node{}, incoming: map[int64][]edge{},
	}
}

// load reads the entities of these names, as far as they are not at hand: whole, or
// just whether they are there.
func (b *batch) load(ctx context.Context, keys []nodeKey, whole bool) error {
	missing := map[int64][]string{}
	for _, k := range keys {
		if b.nodes[k] == nil {
			b.nodes[k] = &node{blueprint: b.m.byID[k.blueprint], identifier: k.identifier}
			missing[k.blueprint] = append(missing[k.blueprint], k.identifier)
		}
	}
	for _, blueprint := range sortedIDs(missing) {
		for chunk := range slices.Chunk(missing[blueprint], readAtOnce) {
			var err error
			if whole {
				err = b.loadRows(ctx, chunk, blueprint)
			} else {
				err = b.loadIDs(ctx, chunk, blueprint)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// readAtOnce is how many entities one statement reads.
const readAtOnce = 500

func (b *batch) loadRows(ctx context.Context, identifiers []string, blueprint int64) error {
	rows, err := entitiesByName(ctx, b.q, blueprint, identifiers)
	if err != nil {
		return err
	}
	return b.take(ctx, rows)
}

func (b *batch) loadIDs(ctx context.Context, identifiers []string, blueprint int64) error {
	ids, err := entityIDs(ctx, b.q, blueprint, identifiers)
	if err != nil {
		return err
	}
	for identifier, id := range ids {
		n := b.nodes[nodeKey{blueprint, identifier}]
		if known := b.byID[id]; known != nil {
			// It is at hand under the name it has by now.
			b.nodes[nodeKey{blueprint, identifier}] = &node{blueprint: n.blueprint, identifier: identifier}
			continue
		}
		n.id, n.stored, n.there = id, identifier, true
		b.byID[id] = n
	}
	return nil
}

// loadWhole reads the entities of these ids whole, as far as they are not.
func (b *batch) loadWhole(ctx context.Context, ids []int64) error {
	var missing []int64
	for _, id := range ids {
		if n := b.byID[id]; n == nil || n.before == nil {
			missing = append(missing, id)
		}
	}
	slices.Sort(missing)
	for chunk := range slices.Chunk(slices.Compact(missing), readAtOnce) {
		rows, err := entitiesByID(ctx, b.q, chunk)
		if err != nil {
			return err
		}
		if err := b.take(ctx, rows); err != nil {
			return err
		}
	}
	return nil
}

// take makes nodes of stored entities, and reads their relations.
func (b *batch) take(ctx context.Context, rows []entityRow) error {
	ids := make([]int64, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		blueprint := b.m.byID[r.blueprintID]
		if blueprint == nil {
			continue // of a blueprint that is newer than the model: the revision will tell
		}
		n := b.byID[r.id]
		if n == nil {
			key := nodeKey{r.blueprintID, r.identifier}
			if n = b.nodes[key]; n == nil || n.id != 0 {
				n = &node{}
				if b.nodes[key] == nil {
					b.nodes[key] = n
				}
			}
			n.blueprint, n.identifier, n.id, n.stored, n.there = blueprint, r.identifier, r.id, r.identifier, true
			b.byID[r.id] = n
		}
		s, err := r.state(blueprint)
		if err != nil {
			return err
		}
		n.before, n.after = s, s
		ids = append(ids, r.id)
	}
	return b.takeRelations(ctx, ids)
}

func (b *batch) takeRelations(ctx context.Context, ids []int64) error {
	targets, err := relationsOf(ctx, b.q, ids)
	if err != nil {
		return err
	}
	for _, t := range targets {
		rel, live := b.m.relations[t.relation]
		source := b.byID[t.source]
		if !live || source == nil || rel.blueprint != source.blueprint {
			b.dead = append(b.dead, edge{source: t.source, relation: t.relation, target: t.target})
			continue
		}
		n := b.byID[t.target]
		if n == nil {
			n = b.nodes[nodeKey{t.targetBlueprint, t.targetIdentifier}]
			if n == nil || n.id != 0 {
				n = &node{}
			}
			n.blueprint, n.identifier = b.m.byID[t.targetBlueprint], t.targetIdentifier
			n.id, n.stored, n.there = t.target, t.targetIdentifier, true
			b.byID[t.target] = n
			if key := (nodeKey{t.targetBlueprint, t.targetIdentifier}); b.nodes[key] == nil {
				b.nodes[key] = n
			}
		}
		source.before.relations[rel.key] = append(source.before.relations[rel.key], n)
	}
	return nil
}

// touch notes that a node is changed.
func (b *batch) touch(n *node) {
	if !n.touched {
		n.touched = true
		b.touched = append(b.touched, n)
	}
}

// put makes a node the one that its name stands for.
func (b *batch) put(n *node) { b.nodes[nodeKey{n.blueprint.id, n.identifier}] = n }

// changed says whether the node is to be written: as it is stored it is something else. What
// a batch changes and changes back is not.
func (n *node) changed() bool {
	switch {
	case n.before == nil:
		return n.after != nil
	case !n.there:
		return true
	}
	return n.identifier != n.stored || n.after != n.before && (n.before.hidden != nil || !same(n.before, n.after))
}

// entity is the node in its state, for those outside of a batch.
func (n *node) entity(s *state) *Entity {
	if s == nil {
		return nil
	}
	e := &Entity{
		Blueprint: n.blueprint.Identifier, Identifier: n.identifier, Title: s.title, Icon: s.icon, Team: s.team,
		Properties: s.properties, Relations: make(map[string]any, len(n.blueprint.Relations)), Datasource: s.datasource,
		CreatedAt: s.createdAt, CreatedBy: s.createdBy, UpdatedAt: s.updatedAt, UpdatedBy: s.updatedBy,
		Revision: s.revision, Cause: s.cause, id: n.id, blueprintID: n.blueprint.id,
	}
	if e.Team == nil {
		e.Team = []string{}
	}
	for key, rel := range n.blueprint.Relations {
		e.Relations[key] = relationShape(rel, identifiers(s.relations[key]))
	}
	return e
}

// show is the node as it is by now, for a result.
func (b *batch) show(n *node) *Entity {
	e := n.entity(n.after)
	b.shown = append(b.shown, shownEntity{e, n})
	return e
}

// relationShape is a relation as readers see it: a list where it is to many, otherwise
// an identifier or nil.
func relationShape(rel Relation, targets []string) any {
	switch {
	case rel.Many && targets == nil:
		return []string{}
	case rel.Many:
		return targets
	case len(targets) == 0:
		return nil
	}
	return targets[0]
}

func identifiers(nodes []*node) []string {
	var list []string
	for _, n := range nodes {
		list = append(list, n.identifier)
	}
	return list
}

func sortedIDs[V any](m map[int64]V) []int64 {
	ids := make([]int64, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
