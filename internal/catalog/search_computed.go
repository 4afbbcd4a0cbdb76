package catalog

import (
	"context"
	"strings"
	"time"
)

// readRelated reads the relations of candidates, if the condition compares any.
func (s *search) readRelated(ctx context.Context, b *Blueprint, cond *condition, list []*candidate) error {
	if !cond.uses(ofRelation) {
		return nil
	}
	byID := make(map[int64]*candidate, len(list))
	ids := make([]int64, 0, len(list))
	for _, e := range list {
		e.related = map[string]any{}
		byID[e.id] = e
		ids = append(ids, e.id)
	}
	return inChunks(ids, idsAtOnce, func(chunk []int64) error {
		targets, err := relationsOf(ctx, s.q, chunk)
		for _, t := range targets {
			rel, live := s.m.relations[t.relation]
			if !live || rel.blueprint != b {
				continue
			}
			related := byID[t.source].related
			if !rel.Many {
				if related[rel.key] == nil { // others are of when it was to many
					related[rel.key] = t.targetIdentifier
				}
				continue
			}
			many, _ := related[rel.key].([]any)
			related[rel.key] = append(many, t.targetIdentifier)
		}
		return err
	})
}

// readAggregates reads the aggregation properties of candidates, if the condition compares any.
func (s *search) readAggregates(ctx context.Context, b *Blueprint, cond *condition, list []*candidate) error {
	if !cond.uses(ofAggregation) {
		return nil
	}
	ids := make([]int64, 0, len(list))
	for _, e := range list {
		ids = append(ids, e.id)
	}
	values, err := s.aggregates(ctx, b, ids)
	for _, e := range list {
		e.aggregates = values[e.id]
		if e.aggregates == nil {
			e.aggregates = map[string]any{}
		}
	}
	return err
}

// aggregates returns the aggregation properties of entities by id, as they were last computed.
func (s *search) aggregates(ctx context.Context, b *Blueprint, ids []int64) (map[int64]map[string]any, error) {
	stored, err := aggregatesOf(ctx, s.q, ids)
	if err != nil {
		return nil, err
	}
	all := make(map[int64]map[string]any, len(stored))
	for name := range b.Aggregations {
		key, err := s.valueKey(ctx, b, aggregateKey(name))
		if err != nil {
			return nil, err
		}
		for id, values := range stored {
			if all[id] == nil {
				all[id] = map[string]any{}
			}
			if v, ok := values[key]; ok && key != 0 {
				all[id][name] = v
			}
		}
	}
	return all, nil
}

// compute computes mirror and calculation properties of candidates, if the condition compares
// any.
func (s *search) compute(ctx context.Context, b *Blueprint, cond *condition, list []*candidate) error {
	calculates := cond.uses(ofCalculation)
	if !calculates && !cond.uses(ofMirror) {
		return nil
	}
	if calculates {
		if s.computed += len(list); s.computed > maxComputed {
			return tooMany("query", "would have to calculate properties of more than %d entities of blueprint %s; add a rule on a property that is stored", maxComputed, b.Identifier)
		}
	}
	only := map[string]bool{}
	cond.subjectsUsed(func(sub subject) {
		if sub.kind == ofCalculation || sub.kind == ofMirror {
			only[sub.name] = true
		}
	})
	return inChunks(list, idsAtOnce, func(chunk []*candidate) error {
		ids := make([]int64, 0, len(chunk))
		for _, e := range chunk {
			ids = append(ids, e.id)
			e.computed = map[string]any{}
		}
		entities, err := s.c.entities(ctx, s.q, s.m, ids)
		if err != nil {
			return err
		}
		byID := make(map[int64]*Entity, len(entities))
		pointers := make([]*Entity, 0, len(entities))
		for i := range entities {
			byID[entities[i].id] = &entities[i]
			pointers = append(pointers, &entities[i])
		}
		x := s.c.newComputing(s.m, &strikes{})
		x.q, x.until = s.q, time.Now().Add(s.c.plan.time)
		if err := x.all(ctx, pointers, only, 0); err != nil {
			return err
		}
		if err := x.incomplete(b); err != nil {
			return err
		}
		for _, e := range chunk {
			if full := byID[e.id]; full != nil {
				e.computed = full.Properties
			}
		}
		return nil
	})
}

// incomplete refuses to search by what was left null for want of time or of room.
func (x *computing) incomplete(b *Blueprint) error {
	if x.related <= 0 {
		return tooMany("query", "would have to follow more than %d relations for mirror properties of blueprint %s; add a rule on a property that is stored", maxRelated, b.Identifier)
	}
	if x.room < 0 {
		return tooMany("query", "would have to read more than %d MiB for mirror properties of blueprint %s; add a rule on a property that is stored", maxMirrored>>20, b.Identifier)
	}
	if x.strikes.out() {
		return tooMany("query", "asks for a calculation property of blueprint %s that takes too much to calculate", b.Identifier)
	}
	return nil
}

// mirrorPath reads the path of a mirror property: the relations, the blueprint that they lead to,
// and the property there. Where it leads nowhere, the blueprint is nil.
func (s *search) mirrorPath(b *Blueprint, path string) (relations []int64, end *Blueprint, property string) {
	names := strings.Split(path, ".")
	for _, name := range names[:len(names)-1] {
		rel, ok := b.Relations[name]
		target := s.m.byIdentifier[rel.Target]
		if !ok || target == nil {
			return nil, nil, ""
		}
		relations = append(relations, rel.id)
		b = target
	}
	return relations, b, names[len(names)-1]
}
