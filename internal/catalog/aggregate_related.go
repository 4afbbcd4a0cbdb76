package catalog

import (
	"context"
	"slices"
)

// related returns, for each of some entities, those of the target that it's related to, each once.
func (a *aggregation) related(ctx context.Context, ids []int64) (map[int64][]int64, error) {
	found := &pairs{of: map[pair]struct{}{}}
	if len(a.PathFilter) > 0 {
		for _, w := range a.ways {
			if err := a.along(ctx, ids, w, found); err != nil {
				return nil, err
			}
		}
		return found.byRoot(), nil
	}
	for _, forward := range []bool{true, false} {
		if err := a.anyWay(ctx, ids, forward, found); err != nil {
			return nil, err
		}
	}
	return found.byRoot(), nil
}

// pair is an entity, and one that it's related to.
type pair struct{ root, id int64 }

// pairs are a set, of a bounded size.
type pairs struct{ of map[pair]struct{} }

// add says whether the pair is new.
func (p *pairs) add(x pair) bool {
	if _, again := p.of[x]; again {
		return false
	}
	p.of[x] = struct{}{}
	return true
}

// byRoot is what each is related to beside itself.
func (p *pairs) byRoot() map[int64][]int64 {
	all := map[int64][]int64{}
	for x := range p.of {
		if x.id != x.root {
			all[x.root] = append(all[x.root], x.id)
		}
	}
	return all
}

// along follows a path from the entities, or back to them.
func (a *aggregation) along(ctx context.Context, ids []int64, w way, found *pairs) error {
	here := make([]pair, 0, len(ids))
	for _, id := range ids {
		here = append(here, pair{id, id})
	}
	relations := slices.Clone(w.relations)
	if a.back {
		slices.Reverse(relations)
	}
	for _, relation := range relations {
		next := &pairs{of: map[pair]struct{}{}}
		if err := a.step(ctx, here, []int64{relation}, !a.back, func(p pair, _ *Blueprint) { next.add(p) }); err != nil {
			return err
		}
		if len(next.of) > maxRelatedPairs {
			return a.tooMuch()
		}
		here = here[:0]
		for p := range next.of {
			here = append(here, p)
		}
	}
	for _, p := range here {
		found.add(p)
	}
	return nil
}

func (a *aggregation) tooMuch() error {
	return tooMany("", "has to go over more than %d relations of %d entities; give it a path", maxRelatedPairs, aggregatesAtOnce)
}

// anyWay follows all relations, any number of them, that can lead to the target.
func (a *aggregation) anyWay(ctx context.Context, ids []int64, forward bool, found *pairs) error {
	relations := a.leading(forward)
	seen := &pairs{of: map[pair]struct{}{}}
	here := make([]pair, 0, len(ids))
	for _, id := range ids {
		here = append(here, pair{id, id})
	}
	for len(here) > 0 && len(relations) > 0 {
		var next []pair
		err := a.step(ctx, here, relations, forward, func(p pair, b *Blueprint) {
			if !seen.add(p) {
				return
			}
			next = append(next, p)
			if b == a.target {
				found.add(p)
			}
		})
		if err != nil {
			return err
		}
		if len(seen.of) > maxRelatedPairs {
			return a.tooMuch()
		}
		here = next
	}
	return nil
}

// leading are the relations that lie on a way between the blueprint and the target: those of
// blueprints that can be come to from the one, to blueprints from which the other can be.
func (a *aggregation) leading(forward bool) []int64 {
	start, end := a.of, a.target
	if !forward {
		start, end = end, start
	}
	from := a.reachable(start, func(rel relationOf) (*Blueprint, *Blueprint) { return rel.blueprint, a.m.byIdentifier[rel.Target] })
	to := a.reachable(end, func(rel relationOf) (*Blueprint, *Blueprint) { return a.m.byIdentifier[rel.Target], rel.blueprint })
	var list []int64
	for id, rel := range a.m.relations {
		if from[rel.blueprint] && to[a.m.byIdentifier[rel.Target]] {
			list = append(list, id)
		}
	}
	return list
}

// reachable are the blueprints that can be come to, the one itself among them.
func (a *aggregation) reachable(start *Blueprint, ends func(relationOf) (from, to *Blueprint)) map[*Blueprint]bool {
	seen := map[*Blueprint]bool{start: true}
	for grown := true; grown; {
		grown = false
		for _, rel := range a.m.relations {
			if from, to := ends(rel); seen[from] && to != nil && !seen[to] {
				seen[to], grown = true, true
			}
		}
	}
	return seen
}

// step calls f with what the entities of pairs are joined to by relations, and its blueprint.
func (a *aggregation) step(ctx context.Context, here []pair, relations []int64, forward bool, f func(p pair, b *Blueprint)) error {
	roots := map[int64][]int64{} // by entity
	for _, p := range here {
		roots[p.id] = append(roots[p.id], p.root)
	}
	return inChunks(sortedIDs(roots), idsAtOnce, func(chunk []int64) error {
		links, err := linksOf(ctx, a.c.db, chunk, relations, a.m.toMany(relations), forward)
		if len(links) > maxLinks {
			return a.tooMuch()
		}
		for _, l := range links {
			for _, root := range roots[l.near] {
				f(pair{root, l.far}, a.m.far(l.relation, forward))
			}
		}
		return err
	})
}
