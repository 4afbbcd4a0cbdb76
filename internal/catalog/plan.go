package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
)

// plan makes the changes in memory, one after the other: each sees what those before it
// did. A change that is refused has its error in its result and changes nothing.
func (b *batch) plan(ctx context.Context, requests []*request) ([]ChangeResult, error) {
	if err := b.prefetch(ctx, requests); err != nil {
		return nil, err
	}
	results := make([]ChangeResult, len(requests))
	common := b.w.Cause
	defer func() { b.w.Cause = common }()
	for i, r := range requests {
		b.w.Cause = common
		if r.Cause != nil {
			b.w.Cause = r.Cause.bounded()
		}
		res := ChangeResult{Blueprint: r.EntityChange.Blueprint, Identifier: r.key(), Warnings: slices.Clone(r.warnings)}
		err := r.err
		if err == nil {
			if r.Delete {
				err = b.delete(ctx, r, &res)
			} else {
				err = b.write(ctx, r, &res)
			}
		}
		if errors.Is(err, errLarge) {
			if !b.validateOnly {
				return nil, &largeError{index: i}
			}
			err = b.c.checkLarge(ctx, b.w, r.EntityChange)
			res.Deleted = err == nil
		}
		if _, refused := errors.AsType[*Error](err); err != nil && !refused {
			return nil, err
		}
		if err != nil {
			res = ChangeResult{Blueprint: res.Blueprint, Identifier: res.Identifier, Warnings: res.Warnings, Err: err}
		}
		results[i] = res
	}
	return results, nil
}

// prefetch reads in few statements what the changes name.
func (b *batch) prefetch(ctx context.Context, requests []*request) error {
	var whole, targets []nodeKey
	var deleted []int64
	for _, r := range requests {
		if r.err != nil {
			continue
		}
		for _, id := range []string{r.Identifier, r.identifier} {
			if id != "" {
				whole = append(whole, nodeKey{r.blueprint.id, id})
			}
		}
		for key, v := range r.relations {
			target := b.m.byIdentifier[r.blueprint.Relations[key].Target]
			for _, id := range v.targets {
				targets = append(targets, nodeKey{target.id, id})
			}
		}
	}
	if err := b.load(ctx, whole, true); err != nil {
		return err
	}
	if err := b.load(ctx, targets, false); err != nil {
		return err
	}
	for _, r := range requests {
		if r.err == nil && r.Delete {
			if n := b.nodes[nodeKey{r.blueprint.id, r.key()}]; n != nil && n.id != 0 {
				deleted = append(deleted, n.id)
			}
		}
	}
	return b.loadIncoming(ctx, deleted)
}

// at returns what a name stands for, whole if it is there.
func (b *batch) at(ctx context.Context, key nodeKey) (*node, error) {
	if err := b.load(ctx, []nodeKey{key}, true); err != nil {
		return nil, err
	}
	n := b.nodes[key]
	if n.there && n.after == nil {
		if err := b.loadWhole(ctx, []int64{n.id}); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// write creates or changes an entity.
func (b *batch) write(ctx context.Context, r *request, res *ChangeResult) error {
	key, err := b.keyOf(ctx, r)
	if err != nil {
		return err
	}
	made := key == ""
	if made {
		key = newIdentifier()
	}
	res.Identifier = key
	n, err := b.at(ctx, nodeKey{r.blueprint.id, key})
	if err != nil {
		return err
	}
	switch {
	case n.there && !r.Upsert && r.Identifier == "":
		return taken("Entity %q of blueprint %q exists already.", key, r.EntityChange.Blueprint)
	case !n.there && !r.Upsert && r.Identifier != "":
		return noEntity(key, r.EntityChange.Blueprint)
	}
	name, err := b.renamed(ctx, r, n)
	if err != nil {
		return err
	}
	next, stubs, err := b.next(ctx, r, n, res)
	if err != nil {
		return err
	}
	return b.settle(r, n, name, next, stubs, res)
}

// keyOf is the identifier of the entity that is meant; empty for one that is to be made.
func (b *batch) keyOf(ctx context.Context, r *request) (string, error) {
	if r.idRule == nil {
		return r.key(), nil
	}
	found, err := b.c.resolve(ctx, b.q, r.blueprint.Identifier, r.idRule)
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", &Error{
			Status: http.StatusNotFound, Code: CodeNotFound, Message: fmt.Sprintf("No entity of blueprint %q is found by the rule of its identifier.", r.EntityChange.Blueprint),
			Details: map[string]any{"identifier": "unknown"},
		}
	case 1:
		return found[0], nil
	}
	return "", invalid("The rule of the identifier finds %d entities of blueprint %q or more; it must find one.", len(found), r.EntityChange.Blueprint)
}

// renamed is the name that the entity is to have.
func (b *batch) renamed(ctx context.Context, r *request, n *node) (string, error) {
	if r.Identifier == "" || r.identifier == "" || r.identifier == n.identifier {
		return n.identifier, nil
	}
	if !n.there {
		return "", invalid("The identifier %q of the entity is not that of the path, %q; there is no entity to rename.", shorten(r.identifier), shorten(n.identifier))
	}
	other, err := b.at(ctx, nodeKey{r.blueprint.id, r.identifier})
	if err != nil {
		return "", err
	}
	if other.there {
		return "", taken("Entity %q of blueprint %q cannot be renamed: %q exists already.", n.identifier, r.EntityChange.Blueprint, r.identifier)
	}
	return r.identifier, nil
}

// next is the state that the entity is to have, and the entities that are made for its relations
// to point to.
func (b *batch) next(ctx context.Context, r *request, n *node, res *ChangeResult) (*state, []*node, error) {
	next := &state{properties: map[string]any{}, relations: map[string][]*node{}}
	if n.there {
		*next = *n.after
		next.properties, next.relations = maps.Clone(n.after.properties), maps.Clone(n.after.relations)
		if !r.Merge {
			next.title, next.icon, next.team = nil, nil, nil
			next.properties, next.relations = map[string]any{}, map[string][]*node{}
		}
	}
	if r.Entity.Title.Given {
		next.title = r.title
	}
	if r.Entity.Icon.Given {
		next.icon = r.icon
	}
	if err := b.setTeam(ctx, r, next); err != nil {
		return nil, nil, err
	}
	maps.Copy(next.properties, r.properties)
	stubs, err := b.setRelations(ctx, r, n, next, res)
	if err != nil {
		return nil, nil, err
	}
	if err := r.complete(n, next); err != nil {
		return nil, nil, err
	}
	return next, stubs, nil
}

// complete checks that what is required is there. A required property that has a default
// takes it.
func (r *request) complete(n *node, next *state) error {
	d := &definition{}
	for _, key := range r.blueprint.Required {
		if next.properties[key] != nil {
			continue
		}
		if p := r.blueprint.Properties[key]; p.HasDefault && p.Default != nil {
			next.properties[key] = p.Default
			continue
		}
		d.wrongf("properties."+key, "is required")
	}
	for key, rel := range r.blueprint.Relations {
		if rel.Required && len(next.relations[key]) == 0 {
			d.wrongf("relations."+key, "is required")
		}
	}
	slices.SortFunc(d.problems, func(a, b Problem) int {
		if a.Path < b.Path {
			return -1
		}
		return 1
	})
	if len(d.problems) > 0 {
		return d.err(fmt.Sprintf("Entity %q of blueprint %q", shorten(n.identifier), r.EntityChange.Blueprint))
	}
	return nil
}

func (b *batch) setTeam(ctx context.Context, r *request, next *state) error {
	if !r.Entity.Team.Given {
		return nil
	}
	next.team = r.team
	if r.teamRule == nil {
		return nil
	}
	// Port: teams are entities of this blueprint.
	const teams = "_team"
	if b.m.byIdentifier[teams] == nil {
		return invalid("The team of entity %q is a search rule, but there is no blueprint %q to search.", shorten(r.key()), teams)
	}
	found, err := b.c.resolve(ctx, b.q, teams, r.teamRule)
	if err != nil {
		return err
	}
	if len(found) > maxTeams {
		return invalid("The team of entity %q is a search rule that finds %d teams; at most %d are allowed.", shorten(r.key()), len(found), maxTeams)
	}
	next.team = found
	return nil
}

// setRelations sets the relations that are given, and returns the entities that have to be made
// for them.
func (b *batch) setRelations(ctx context.Context, r *request, self *node, next *state, res *ChangeResult) (stubs []*node, err error) {
	made := map[nodeKey]bool{}
	for _, key := range sortedKeys(r.relations) {
		v, rel := r.relations[key], r.blueprint.Relations[key]
		target := b.m.byIdentifier[rel.Target]
		names := v.targets
		if v.rule != nil {
			if names, err = b.found(ctx, key, rel, v.rule, res); err != nil {
				return nil, err
			}
		}
		list := make([]*node, 0, len(names))
		for _, name := range names {
			k := nodeKey{target.id, name}
			if err := b.load(ctx, []nodeKey{k}, false); err != nil {
				return nil, err
			}
			n := b.nodes[k]
			// It may point to itself as it is being made, or renamed.
			itself := target == r.blueprint && (name == self.identifier || name == r.identifier)
			if itself {
				n = self
			}
			if slices.Contains(list, n) {
				continue
			}
			if !n.there && !itself && !made[k] {
				if !r.CreateMissingRelated {
					return nil, notFound("Entity %q of blueprint %q does not exist: relation %q of %s cannot point to it.",
						name, target.Identifier, key, r.lowerName())
				}
				if made[k] = true; len(made) > maxStubs {
					return nil, invalid("%s points to more than %d entities that do not exist: so many are made for it at most. Create some of them first.", r.name(), maxStubs)
				}
				stubs = append(stubs, n)
			}
			list = append(list, n)
		}
		if len(list) == 0 {
			delete(next.relations, key)
			continue
		}
		next.relations[key] = list
	}
	return stubs, nil
}

// lowerName is name within a sentence.
func (r *request) lowerName() string {
	name := r.name()
	return string(name[0]|0x20) + name[1:]
}

// found are the entities that the rule of a relation finds.
func (b *batch) found(ctx context.Context, key string, rel Relation, rule map[string]any, res *ChangeResult) ([]string, error) {
	names, err := b.c.resolve(ctx, b.q, rel.Target, rule)
	if err != nil {
		return nil, err
	}
	switch {
	case len(names) == 0:
		res.Warnings = append(res.Warnings, fmt.Sprintf("relations.%s was left empty: its rule finds no entity of blueprint %q", key, rel.Target))
	case len(names) > 1 && !rel.Many:
		return nil, invalid("relations.%s is a rule that finds more than one entity of blueprint %q; the relation is to one.", key, rel.Target)
	case len(names) > maxTargets:
		return nil, invalid("relations.%s is a rule that finds more than %d entities of blueprint %q.", key, maxTargets, rel.Target)
	}
	return names, nil
}

// settle makes a state the node's, unless it is as it was.
func (b *batch) settle(r *request, n *node, name string, next *state, stubs []*node, res *ChangeResult) error {
	created := !n.there
	next.datasource = b.w.Datasource
	if !created && name == n.identifier && b.same(n.after, next) {
		res.Unchanged, res.Entity = true, n.entity(n.after)
		return nil
	}
	if err := next.encodeProperties(); err != nil {
		return fmt.Errorf("encode the properties of %s: %w", r.lowerName(), err)
	}
	if len(next.text) > maxEntityBytes {
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Code: CodeTooLarge,
			Message: fmt.Sprintf("%s would have %d bytes of properties; at most %d are allowed.", r.name(), len(next.text), maxEntityBytes),
		}
	}
	for _, stub := range stubs {
		b.make(stub, &state{properties: map[string]any{}, text: "{}", relations: map[string][]*node{}, datasource: b.w.Datasource})
	}
	if created {
		b.make(n, next)
	} else {
		b.change(n, next)
	}
	if name != n.identifier {
		b.rename(n, name)
	}
	res.Created, res.Identifier, res.Entity = created, n.identifier, b.show(n)
	return nil
}

// encodeProperties makes the JSON that is stored.
func (s *state) encodeProperties() error {
	text, err := encode(s.properties)
	s.text = string(text)
	return err
}

// make gives a node that is not there its first state.
func (b *batch) make(n *node, s *state) {
	s.createdAt, s.createdBy, s.revision = b.now, b.w.By, 0
	if n.before != nil {
		s.revision = n.before.revision // it was deleted in this very batch
	}
	n.there = true
	b.stamp(n, s)
}

// change gives a node another state. Within a batch that is one change.
func (b *batch) change(n *node, s *state) {
	if n.before != nil {
		s.revision = n.before.revision
	}
	b.stamp(n, s)
}

func (b *batch) stamp(n *node, s *state) {
	if n.before != nil || s.revision == 0 {
		s.revision++
	}
	s.updatedAt, s.updatedBy, s.cause = b.now, b.w.By, b.w.Cause
	s.hidden = nil
	n.after = s
	b.touch(n)
}

// rename gives a node another name.
func (b *batch) rename(n *node, name string) {
	b.nodes[nodeKey{n.blueprint.id, n.identifier}] = &node{blueprint: n.blueprint, identifier: n.identifier}
	n.identifier = name
	b.put(n)
	b.touch(n)
}

// same says whether a state says the same of an entity as it is.
func (b *batch) same(is, next *state) bool {
	if b.sameDatasource != nil && b.sameDatasource(is.datasource) {
		kept := *next
		kept.datasource = is.datasource
		next = &kept
	}
	return same(is, next)
}

// same says whether two states say the same of an entity. A property that is null and one
// that is not there are the same.
func same(a, b *state) bool {
	return equalText(a.title, b.title) && equalText(a.icon, b.icon) && slices.Equal(a.team, b.team) &&
		a.datasource == b.datasource && sameProperties(a.properties, b.properties) && sameRelations(a.relations, b.relations)
}

func equalText(a, b *string) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

func sameProperties(a, b map[string]any) bool {
	for key, v := range a {
		if !reflect.DeepEqual(v, b[key]) {
			return false
		}
	}
	for key, v := range b {
		if _, there := a[key]; !there && v != nil {
			return false
		}
	}
	return true
}

func sameRelations(a, b map[string][]*node) bool {
	if len(a) != len(b) {
		return false
	}
	for key, list := range a {
		if !slices.Equal(list, b[key]) {
			return false
		}
	}
	return true
}
