package catalog

import (
	"context"
	"net/http"
	"slices"
)

// maxReached bounds the entities of one walk over relations.
const maxReached = 100_000

// related returns the entities of a blueprint that a relatedTo rule reaches.
func (s *search) related(ctx context.Context, r *rule, b *Blueprint) (map[int64]struct{}, error) {
	reached, done := s.reached[r]
	if !done {
		var err error
		if reached, err = s.reach(ctx, r); err != nil {
			return nil, err
		}
		s.reached[r] = reached
	}
	return reached[b.id], nil
}

// reach walks from the rule's entities, and returns by blueprint what it comes to. Port:
// upstream is what they point to, over any number of relations, downstream what points to
// them.
func (s *search) reach(ctx context.Context, r *rule) (map[int64]map[int64]struct{}, error) {
	g := r.related
	b := s.m.byIdentifier[g.blueprint]
	if b == nil {
		return nil, queryError(at(r.path, "blueprint"), "is %q, which does not exist", shorten(g.blueprint))
	}
	from, err := s.named(ctx, b, g.identifiers)
	if err != nil {
		return nil, err
	}
	var relations []int64
	for id, rel := range s.m.relations {
		if g.required == nil || *g.required == rel.Required {
			relations = append(relations, id)
		}
	}
	reached := map[int64]map[int64]struct{}{}
	for _, d := range []struct{ wanted, forward bool }{{g.upstream, true}, {g.downstream, false}} {
		if !d.wanted {
			continue
		}
		if err := s.walk(ctx, r, from, relations, d.forward, reached); err != nil {
			return nil, err
		}
	}
	return reached, nil
}

// named returns the ids of those entities of a blueprint that exist.
func (s *search) named(ctx context.Context, b *Blueprint, identifiers []string) ([]int64, error) {
	var ids []int64
	err := inChunks(identifiers, idsAtOnce, func(chunk []string) error {
		list, err := entityIDs(ctx, s.q, b.id, chunk)
		for _, id := range list {
			ids = append(ids, id)
		}
		return err
	})
	return ids, err
}

// walk adds to reached all that can be come to from the entities in one direction.
func (s *search) walk(ctx context.Context, r *rule, from, relations []int64, forward bool, reached map[int64]map[int64]struct{}) error {
	seen := map[int64]struct{}{} // in this direction
	for len(from) > 0 && len(relations) > 0 {
		next, err := s.neighbours(ctx, from, relations, forward, seen)
		if err != nil {
			return err
		}
		if len(seen) > maxReached {
			return tooMany(r.path, "reaches more than %d entities; begin at ones with fewer relations, or name a direction", maxReached)
		}
		from = from[:0:0]
		for _, n := range next {
			if n.b == nil {
				continue
			}
			if reached[n.b.id] == nil {
				reached[n.b.id] = map[int64]struct{}{}
			}
			reached[n.b.id][n.id] = struct{}{}
			from = append(from, n.id)
		}
	}
	return nil
}

// tooMany refuses a rule that has to look at too much.
func tooMany(path, format string, args ...any) *Error {
	e := queryError(path, format, args...)
	e.Status, e.Code = http.StatusUnprocessableEntity, CodeTooBroad
	return e
}

// matching returns the entities of a blueprint that a matchAny rule selects.
func (s *search) matching(ctx context.Context, r *rule, b *Blueprint) (map[int64]struct{}, error) {
	set := map[int64]struct{}{}
	start, forward := b, false
	if r.match.fromBlueprint != "" {
		start, forward = s.m.byIdentifier[r.match.fromBlueprint], true
		if start == nil {
			return nil, queryError(at(r.path, "property.fromBlueprint"), "is %q, which does not exist", shorten(r.match.fromBlueprint))
		}
	}
	ways := s.ways(start, r.match.path)
	led := false
	for _, w := range ways {
		ends := w.end
		if forward {
			if w.end != b {
				continue
			}
			ends = start
		}
		led = true
		ids, err := s.named(ctx, ends, r.match.identifiers)
		if err != nil {
			return nil, err
		}
		if ids, err = s.follow(ctx, r.path, ids, w.relations, forward); err != nil {
			return nil, err
		}
		for _, id := range ids {
			set[id] = struct{}{}
		}
	}
	if !led && s.o.Blueprint != "" {
		return nil, queryError(at(r.path, "property.path"), "is not a path of relations that leads from blueprint %s%s", start.Identifier, toward(forward, b))
	}
	return set, nil
}

func toward(forward bool, b *Blueprint) string {
	if !forward {
		return ""
	}
	return " to " + b.Identifier
}

// way is a sequence of relations from one blueprint to another.
type way struct {
	relations []int64
	end       *Blueprint
}

// ways returns the sequences that a path stands for from a blueprint: none where it lacks a
// relation, several where one may be followed more than once.
func (s *search) ways(start *Blueprint, path []pathHop) []way {
	ways := []way{{end: start}}
	for _, hop := range path {
		var longer []way
		for _, w := range ways {
			for range hop.maxHops {
				rel, ok := w.end.Relations[hop.relation]
				target := s.m.byIdentifier[rel.Target]
				if !ok || target == nil {
					break
				}
				w = way{append(slices.Clip(w.relations), rel.id), target}
				longer = append(longer, w)
			}
		}
		ways = longer
	}
	return ways
}

// follow goes from entities along relations, or back along them from the last one.
func (s *search) follow(ctx context.Context, path string, ids, relations []int64, forward bool) ([]int64, error) {
	for i := range relations {
		relation := relations[i]
		if !forward {
			relation = relations[len(relations)-1-i]
		}
		next, err := s.neighbours(ctx, ids, []int64{relation}, forward, map[int64]struct{}{})
		if err != nil {
			return nil, err
		}
		if len(next) > maxReached {
			return nil, tooMany(path, "leads to more than %d entities", maxReached)
		}
		ids = ids[:0:0]
		for _, n := range next {
			ids = append(ids, n.id)
		}
	}
	return ids, nil
}

// place is an entity and its blueprint.
type place struct {
	id int64
	b  *Blueprint
}

// neighbours returns what entities are joined to by relations, without those seen, to which it adds
// them. It ends once more than maxReached are seen.
func (s *search) neighbours(ctx context.Context, ids, relations []int64, forward bool, seen map[int64]struct{}) ([]place, error) {
	var found []place
	err := inChunks(ids, idsAtOnce, func(chunk []int64) error {
		if len(seen) > maxReached {
			return nil
		}
		list, err := linksOf(ctx, s.q, chunk, relations, s.m.toMany(relations), forward)
		if len(list) > maxLinks {
			return tooMany("query", "has to follow more than %d relations of %d entities; begin at ones with fewer", maxLinks, len(chunk))
		}
		for _, l := range list {
			if _, again := seen[l.far]; !again {
				seen[l.far] = struct{}{}
				found = append(found, place{l.far, s.m.far(l.relation, forward)})
			}
		}
		return err
	})
	return found, err
}

// far is the blueprint of what a relation leads to, or with forward unset of what has it.
func (m *model) far(relation int64, forward bool) *Blueprint {
	rel := m.relations[relation]
	if forward {
		return m.byIdentifier[rel.Target]
	}
	return rel.blueprint
}
