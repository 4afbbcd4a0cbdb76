package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// verdict is what is known of whether an entity satisfies a condition.
type verdict int

const (
	no verdict = iota
	yes
	// unread: it depends on what was not read or computed yet.
	unread
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

func (v verdict) negated() verdict {
	switch v {
	case no:
		return yes
	case yes:
		return no
	}
	return unread
}

// condition is a rule made for the entities of one blueprint.
type condition struct {
	path string

	// A group.
	combinator string
	children   []*condition

	// What holds, or does not, whichever the entity.
	fixed *verdict

	// A comparison of subjects, of which one must hold.
	op       operator // a positive one
	negative bool
	subjects []subject
	value    operand
	// all are the comparisons of one value that were put together for an index.
	all []*condition

	// A set of entities.
	set map[int64]struct{}
}

// subjectKind is where a value comes from.
type subjectKind int

const (
	ofMeta subjectKind = iota
	ofProperty
	ofAggregation
	ofMirror
	ofCalculation
	ofRelation
)

// subject is one value of an entity.
type subject struct {
	kind subjectKind
	name string
}

// conditionFor makes the condition of a rule for the entities of a blueprint. Where the rule
// asks for what the blueprint does not have, it is an error if the caller named the
// blueprint, and else holds for none of its entities.
func (s *search) conditionFor(ctx context.Context, r *rule, b *Blueprint) (*condition, error) {
	cond := &condition{path: r.path, combinator: r.combinator}
	switch {
	case r.combinator != "":
		for _, child := range r.rules {
			made, err := s.conditionFor(ctx, child, b)
			if err != nil {
				return nil, err
			}
			cond.children = append(cond.children, made)
		}
		return cond.settled(), nil
	case r.related != nil:
		set, err := s.related(ctx, r, b)
		return cond.of(set), err
	case r.match != nil:
		set, err := s.matching(ctx, r, b)
		return cond.of(set), err
	}
	return cond, s.compare(cond, r, b)
}

// of makes the condition hold for a set of entities.
func (c *condition) of(set map[int64]struct{}) *condition {
	if c.set = set; len(set) == 0 {
		c.fixed = new(no)
	}
	return c
}

// settled takes out of a group what is known of every entity of the blueprint.
func (c *condition) settled() *condition {
	decides := no // what decides an "and" by itself
	if c.combinator == combineOr {
		decides = yes
	}
	var open []*condition
	for _, child := range c.children {
		switch {
		case child.fixed == nil:
			open = append(open, child)
		case *child.fixed == decides:
			return &condition{path: c.path, fixed: child.fixed}
		}
	}
	if len(open) == 0 {
		return &condition{path: c.path, fixed: new(decides.negated())}
	}
	c.children = open
	return c
}

func (s *search) compare(cond *condition, r *rule, b *Blueprint) error {
	cond.op = r.op
	if positive := operators[r.op].negates; positive != "" {
		cond.op, cond.negative = positive, true
	}
	var err error
	if cond.value, err = s.bound(r); err != nil {
		return err
	}
	if r.property == metaTeam && r.value.value == myTeams && cond.op != opIn {
		cond.op = opIn // of several, for one name
	}
	cond.subjects, err = s.subjectsOf(r, b)
	if err != nil {
		return err
	}
	if len(cond.subjects) == 0 {
		cond.fixed = new(no)
		return nil
	}
	if r.property == metaBlueprint {
		v := verdictOf(holds(cond.op, b.Identifier, &cond.value, s.now))
		if cond.negative {
			v = v.negated()
		}
		cond.fixed = &v
	}
	return nil
}

// subjectsOf returns what a rule compares; none where the blueprint has no such thing.
func (s *search) subjectsOf(r *rule, b *Blueprint) ([]subject, error) {
	missing := func(key, what, name string) error {
		if s.o.Blueprint == "" {
			return nil
		}
		return queryError(at(r.path, key), "is %q, but blueprint %s has no such %s", shorten(name), b.Identifier, what)
	}
	switch {
	case r.schema != nil:
		return r.schema.subjects(b), nil
	case r.relation != "":
		if _, ok := b.Relations[r.relation]; !ok {
			return nil, missing("relation", "relation", r.relation)
		}
		return []subject{{ofRelation, r.relation}}, nil
	}
	sub, format, ok := b.subject(r.property)
	if !ok {
		return nil, missing("property", "property", r.property)
	}
	if (r.op == opExpired || r.op == opExpiredNot) && format != "timer" {
		if s.o.Blueprint == "" {
			return nil, nil
		}
		return nil, queryError(at(r.path, "property"), "is %q, which is not a timer; %s asks for one", r.property, r.op)
	}
	return []subject{sub}, nil
}

// subject finds a property by its name.
func (b *Blueprint) subject(name string) (s subject, format string, ok bool) {
	if slices.Contains(metaProperties, name) {
		return subject{ofMeta, name}, "", true
	}
	if p, ok := b.Properties[name]; ok {
		return subject{ofProperty, name}, p.Format, true
	}
	if _, ok := b.Mirrors[name]; ok {
		return subject{ofMirror, name}, "", true
	}
	if p, ok := b.Calculations[name]; ok {
		return subject{ofCalculation, name}, p.Format, true
	}
	if _, ok := b.Aggregations[name]; ok {
		return subject{ofAggregation, name}, "", true
	}
	return s, "", false
}

// subjects are the properties of a blueprint with the schema.
func (p *propertySchema) subjects(b *Blueprint) []subject {
	var list []subject
	for name, property := range b.Properties {
		items, _ := property.Items["type"].(string)
		if property.Type == p.Type && (p.Format == "" || property.Format == p.Format) && (p.Items == "" || items == p.Items) {
			list = append(list, subject{ofProperty, name})
		}
	}
	slices.SortFunc(list, func(a, b subject) int { return strings.Compare(a.name, b.name) })
	return list
}

// myTeams stands for the teams of the caller in a rule on $team. Port: its name.
const myTeams = "My Teams"

// bound returns the value of a rule with what the caller and the clock say.
func (s *search) bound(r *rule) (operand, error) {
	o := r.value
	switch {
	case o.preset != "":
		o.span = new(presets[o.preset](s.now))
	case o.context == contextUser:
		v, ok := s.o.Caller.User[o.field]
		if !ok {
			return o, queryError(at(r.path, "value"), "asks for the property %q of the user, which is not known of this caller", shorten(o.field))
		}
		o.value = v
		if operators[r.op].operand == operandList {
			o.value = []any{v}
		}
	case o.context == contextTeams:
		o.value = anyList(s.o.Caller.Teams)
	}
	if r.property != metaTeam {
		return o, nil
	}
	if o.value == myTeams {
		o.value = anyList(s.o.Caller.Teams)
		return o, nil
	}
	if list, ok := o.value.([]any); ok && slices.Contains(list, any(myTeams)) {
		list = slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == myTeams })
		o.value = append(list, anyList(s.o.Caller.Teams)...)
	}
	return o, nil
}

// candidate is an entity that is looked at.
type candidate struct {
	Entity
	of         *Blueprint
	row        entityRow
	values     map[string]any
	related    map[string]any // its relations, once they are read
	aggregates map[string]any // its aggregation properties, once they are read
	computed   map[string]any // its mirror and calculation properties, once they are computed
}

// judge says whether the entity satisfies the condition.
func (c *condition) judge(e *candidate, now time.Time) (verdict, error) {
	switch {
	case c.fixed != nil:
		return *c.fixed, nil
	case c.combinator != "":
		return c.judgeGroup(e, now)
	case c.set != nil:
		_, in := c.set[e.id]
		return verdictOf(in), nil
	}
	found := no
	for _, sub := range c.subjects {
		v, known, err := e.value(sub)
		if err != nil {
			return no, err
		}
		if !known {
			found = unread
			continue
		}
		if holds(c.op, v, &c.value, now) {
			found = yes
			break
		}
	}
	if c.negative {
		return found.negated(), nil
	}
	return found, nil
}

func (c *condition) judgeGroup(e *candidate, now time.Time) (verdict, error) {
	decides := no
	if c.combinator == combineOr {
		decides = yes
	}
	all := decides.negated()
	for _, child := range c.children {
		v, err := child.judge(e, now)
		if err != nil || v == decides {
			return v, err
		}
		if v == unread {
			all = unread
		}
	}
	return all, nil
}

// value returns one value; known is false where it was not read yet.
func (e *candidate) value(s subject) (v any, known bool, err error) {
	switch s.kind {
	case ofMeta:
		return e.meta(s.name), true, nil
	case ofRelation:
		return e.related[s.name], e.related != nil, nil
	case ofProperty:
		v, err := e.property(s.name)
		return v, true, err
	}
	if s.kind == ofAggregation {
		return e.aggregates[s.name], e.aggregates != nil, nil
	}
	return e.computed[s.name], e.computed != nil, nil
}

// property reads only what is asked for.
func (e *candidate) property(name string) (any, error) {
	if v, ok := e.values[name]; ok {
		return v, nil
	}
	text, ok := member(e.row.properties, name)
	if !ok {
		var all map[string]json.RawMessage
		if err := json.Unmarshal([]byte(e.row.properties), &all); err != nil {
			return nil, fmt.Errorf("read the properties of entity %s: %w", e.Identifier, err)
		}
		text = string(all[name])
	}
	var v any
	if text != "" {
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("read property %s of entity %s: %w", name, e.Identifier, err)
		}
	}
	// While a changed blueprint's entities are brought into line, what does not fit is not there.
	if p := e.of.Properties[name]; !p.takes(v) {
		v = nil
	}
	if e.values == nil {
		e.values = map[string]any{}
	}
	e.values[name] = v
	return v, nil
}

// subjectsUsed calls f with each subject of the condition.
func (c *condition) subjectsUsed(f func(subject)) {
	for _, child := range c.children {
		child.subjectsUsed(f)
	}
	if c.fixed == nil {
		for _, s := range c.subjects {
			f(s)
		}
	}
}
