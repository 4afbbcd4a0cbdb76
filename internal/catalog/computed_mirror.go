package catalog

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// hop is a relation on the way of mirror properties. Those that begin with the same
// relations share them.
type hop struct {
	relation Relation
	target   *Blueprint
	next     map[string]*hop
	links    map[int64][]int64 // entity → those that it points to, in order
	unread   map[int64]bool    // entities whose links were too many to be read
}

func (b *Blueprint) hop(m *model, step string) *hop {
	r, there := b.Relations[step]
	target := m.byIdentifier[r.Target]
	if !there || target == nil {
		return nil
	}
	return &hop{relation: r, target: target, next: map[string]*hop{}, links: map[int64][]int64{}, unread: map[int64]bool{}}
}

// mirror is a mirror property with its way.
type mirror struct {
	key      string
	way      []*hop
	property string
}

func (m mirror) end() *hop { return m.way[len(m.way)-1] }

// mirrors adds mirror properties: what they show of the entities at the end of their
// paths. Over a relation to many it is a list, without the nulls.
func (x *computing) mirrors(ctx context.Context, b *Blueprint, list []*Entity, keys []string, depth int) error {
	root := &hop{target: b, next: map[string]*hop{}}
	var ways []mirror
	for _, key := range keys {
		if w, ok := x.way(root, key, b.Mirrors[key].Path); ok {
			ways = append(ways, w)
			continue
		}
		for _, e := range list { // a blueprint on the way was changed
			e.Properties[key] = nil
			x.tellf(e, key, "its path %s leads nowhere any more", b.Mirrors[key].Path)
		}
	}
	ids := make([]int64, len(list))
	for i, e := range list {
		ids[i] = e.id
	}
	if err := x.follow(ctx, root, ids); err != nil {
		return err
	}
	ends, err := x.ends(ctx, ways, list, depth)
	if err != nil {
		return err
	}
	for _, e := range list {
		for _, w := range ways {
			e.Properties[w.key] = x.shown(e, w, ends)
		}
	}
	return nil
}

// way finds, or makes, the hops of a path.
func (x *computing) way(root *hop, key, path string) (mirror, bool) {
	steps := strings.Split(path, ".")
	w := mirror{key: key, property: steps[len(steps)-1]}
	at := root
	for _, step := range steps[:len(steps)-1] {
		if at.next[step] == nil {
			h := at.target.hop(x.m, step)
			if h == nil {
				return mirror{}, false
			}
			at.next[step] = h
		}
		at = at.next[step]
		w.way = append(w.way, at)
	}
	return w, len(w.way) > 0 && at.target.hasProperty(w.property)
}

// follow reads the relations behind a hop, level by level.
func (x *computing) follow(ctx context.Context, from *hop, ids []int64) error {
	if len(from.next) == 0 || len(ids) == 0 {
		return nil
	}
	hops := map[int64]*hop{}
	for _, h := range from.next {
		hops[h.relation.id] = h
	}
	relations := slices.Sorted(maps.Keys(hops))
	err := inChunks(ids, idsAtOnce, func(chunk []int64) error {
		left := x.related
		found, err := relationsAlong(ctx, x.q, chunk, relations, left+1)
		if err != nil {
			return err
		}
		x.related -= min(len(found), left)
		for _, r := range found {
			h := hops[r.relation]
			if !h.relation.Many && len(h.links[r.source]) > 0 {
				continue // it is of when the relation was to many
			}
			h.links[r.source] = append(h.links[r.source], r.target)
		}
		if len(found) <= left {
			return nil
		}
		for _, id := range chunk {
			if id < found[left].source {
				continue // it was read whole
			}
			for _, h := range hops {
				delete(h.links, id)
				h.unread[id] = true
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, h := range hops {
		if err := x.follow(ctx, h, h.targets()); err != nil {
			return err
		}
	}
	return nil
}

// targets are the entities that a hop leads to, each once.
func (h *hop) targets() []int64 {
	seen := map[int64]bool{}
	for _, targets := range h.links {
		for _, id := range targets {
			seen[id] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// ends reads the entities whose properties are shown, with those of them computed that
// have to be.
func (x *computing) ends(ctx context.Context, ways []mirror, list []*Entity, depth int) (map[int64]*Entity, error) {
	ids := map[int64]bool{}
	shown := map[string]map[string]bool{} // by blueprint
	computed := map[*Blueprint]map[string]bool{}
	for _, w := range ways {
		h := w.end()
		if shown[h.target.Identifier] == nil {
			shown[h.target.Identifier] = map[string]bool{}
		}
		shown[h.target.Identifier][w.property] = true
		for _, id := range h.targets() {
			ids[id] = true
		}
		if h.target.isComputed(w.property) {
			if computed[h.target] == nil {
				computed[h.target] = map[string]bool{}
			}
			computed[h.target][w.property] = true
		}
	}
	ends := make(map[int64]*Entity, len(ids))
	byBlueprint := map[string][]*Entity{}
	err := inChunks(slices.Sorted(maps.Keys(ids)), endsAtOnce, func(chunk []int64) error {
		if x.room < 0 {
			return nil
		}
		entities, err := x.c.entities(ctx, x.q, x.m, chunk)
		for i := range entities {
			e := &entities[i]
			x.keep(e, shown[e.Blueprint], computed)
			ends[e.id] = e
			byBlueprint[e.Blueprint] = append(byBlueprint[e.Blueprint], e)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for b, properties := range computed {
		if depth+1 >= maxComputeDepth {
			for _, e := range list {
				x.tellf(e, strings.Join(sortedKeys(properties), ", "), "mirror properties show each other more than %d times", maxComputeDepth)
			}
			continue
		}
		if err := x.all(ctx, byBlueprint[b.Identifier], properties, depth+1); err != nil {
			return nil, err
		}
	}
	return ends, nil
}

// endsAtOnce is how many entities whose properties are shown are read at once: each
// may be a mebibyte.
const endsAtOnce = 200

// keep leaves of an entity what is shown of it, and takes that out of the room. An
// entity of which something has to be computed is kept whole.
func (x *computing) keep(e *Entity, shown map[string]bool, computed map[*Blueprint]map[string]bool) {
	if computed[x.m.byIdentifier[e.Blueprint]] == nil {
		maps.DeleteFunc(e.Properties, func(key string, _ any) bool { return !shown[key] })
	}
	x.room -= valueSize(e.Properties)
}

// valueSize is about how many bytes a value of JSON has in memory.
func valueSize(v any) int {
	n := 16
	switch v := v.(type) {
	case string:
		n += len(v)
	case []any:
		for _, x := range v {
			n += valueSize(x)
		}
	case map[string]any:
		for key, x := range v {
			n += len(key) + valueSize(x)
		}
	}
	return n
}

func (b *Blueprint) isComputed(key string) bool {
	_, given := b.Properties[key]
	return !given && !strings.HasPrefix(key, "$")
}

// shown is the value of a mirror property of an entity.
func (x *computing) shown(e *Entity, w mirror, ends map[int64]*Entity) any {
	many := false
	at := []int64{e.id}
	for _, h := range w.way {
		many = many || h.relation.Many
		var next []int64
		for _, id := range at {
			if h.unread[id] {
				x.tellf(e, w.key, "there are more relations to follow than the %d for one answer", maxRelated)
				return nil
			}
			next = append(next, h.links[id]...)
		}
		at = next
	}
	values := make([]any, 0, len(at))
	for _, id := range at {
		end := ends[id]
		if x.room < 0 {
			x.tellf(e, w.key, "mirror properties have more than %d MiB for one answer", maxMirrored>>20)
			return nil
		}
		if end != nil {
			if v := end.shows(w.property); v != nil {
				values = append(values, v)
				x.room -= valueSize(v) // each time that it is shown: it is written as often
			}
		}
	}
	switch {
	case many:
		return values
	case len(values) == 0:
		return nil
	}
	return values[0]
}

// shows is a property of an entity, also a meta property, as an answer has it.
func (e *Entity) shows(property string) any {
	if !strings.HasPrefix(property, "$") {
		return e.Properties[property]
	}
	if at, ok := e.meta(property).(time.Time); ok {
		return stamp(at)
	}
	return e.meta(property)
}
