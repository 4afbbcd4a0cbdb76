package catalog

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// sources returns what names, by indexes, all entities that may satisfy a condition; nil where
// no index does or all of them name more than most.
func (s *search) sources(ctx context.Context, c *condition, b *Blueprint, most int) ([]source, error) {
	list, _, err := s.sourcesOf(ctx, c, b, most)
	return list, err
}

func (s *search) sourcesOf(ctx context.Context, c *condition, b *Blueprint, most int) (list []source, count int, err error) {
	switch {
	case c.fixed != nil:
		if *c.fixed == no {
			return []source{{}}, 0, nil
		}
		return nil, 0, nil
	case c.combinator == combineAnd:
		return s.cheapest(ctx, c, b, most)
	case c.combinator == combineOr:
		return s.together(ctx, c, b, most)
	case c.set != nil:
		if len(c.set) > most {
			return nil, 0, nil
		}
		ids := make([]int64, 0, len(c.set))
		for id := range c.set {
			ids = append(ids, id)
		}
		return []source{{ids: ids}}, len(ids), nil
	}
	if c.negative {
		return nil, 0, nil
	}
	for _, sub := range c.subjects {
		one, err := s.sourceOf(ctx, c, sub, b, most)
		if err != nil || one == nil {
			return nil, 0, err
		}
		n, err := s.countOf(ctx, one, most-count)
		if err != nil {
			return nil, 0, err
		}
		if count += n; count > most {
			return nil, 0, nil
		}
		list = append(list, *one)
	}
	return list, count, nil
}

// countOf returns how many a source names, or more than the most.
func (s *search) countOf(ctx context.Context, one *source, most int) (int, error) {
	if one.query == "" {
		return len(one.ids), nil
	}
	if one.slow && (!s.patient || s.scans > 0) {
		return most + 1, nil
	}
	if !one.slow && most > s.c.plan.few {
		return one.count(ctx, s.q, most)
	}
	ids, err := one.readSome(ctx, s.q, most+1) // not again later
	*one = source{ids: ids}
	return len(ids), err
}

// cheapest is the best source of the parts of an "and". A slow one is asked when no other is
// there.
func (s *search) cheapest(ctx context.Context, c *condition, b *Blueprint, most int) (list []source, count int, err error) {
	children := joined(c.children, b)
	for _, slow := range []bool{false, true} {
		for _, child := range children {
			if child.slow(b) != slow {
				continue
			}
			other, n, err := s.sourcesOf(ctx, child, b, most)
			if err != nil {
				return nil, 0, err
			}
			if other == nil {
				continue
			}
			list, count = other, n
			if most = n - 1; most < 0 {
				return list, count, nil
			}
		}
		if list != nil {
			return list, count, nil
		}
	}
	return nil, 0, nil
}

// joined puts comparisons of one value that must all hold together where they are one range: two
// that are selective together may be neither alone.
func joined(children []*condition, b *Blueprint) []*condition {
	var list []*condition
	ranges := map[subject]*condition{}
	for _, child := range children {
		sub, ok := child.bounds(b)
		if !ok {
			list = append(list, child)
			continue
		}
		if ranges[sub] == nil {
			ranges[sub] = &condition{path: child.path, subjects: child.subjects}
			list = append(list, ranges[sub])
		}
		ranges[sub].all = append(ranges[sub].all, child)
	}
	return list
}

// bounds says whether the condition bounds one value, and which. Of arrays each bound may hold
// for another element.
func (c *condition) bounds(b *Blueprint) (s subject, ok bool) {
	if len(c.subjects) != 1 || c.negative || c.fixed != nil {
		return s, false
	}
	s = c.subjects[0]
	switch s.kind {
	case ofMeta:
		ok = s.name == metaCreatedAt || s.name == metaUpdatedAt
	case ofProperty:
		ok = b.Properties[s.name].Type != "array"
	case ofAggregation:
		ok = true
	}
	switch c.op {
	case opGreater, opGreaterEqual, opLess, opLessEqual, opBetween:
		return s, ok
	}
	return s, false
}

// slow says whether the condition's source may be one that reads a whole index.
func (c *condition) slow(b *Blueprint) bool {
	if len(c.children) > 0 {
		return slices.ContainsFunc(c.children, func(child *condition) bool { return child.slow(b) })
	}
	return c.op == opContains || c.op == opEnds
}

// together are the sources of all parts of an "or".
func (s *search) together(ctx context.Context, c *condition, b *Blueprint, most int) (list []source, count int, err error) {
	for _, child := range c.children {
		part, n, err := s.sourcesOf(ctx, child, b, most-count)
		if err != nil || part == nil {
			return nil, 0, err
		}
		if count += n; count > most {
			return nil, 0, nil
		}
		list = append(list, part...)
	}
	return list, count, nil
}

// sourceOf is the index that a comparison of one subject can be answered by; nil for none.
func (s *search) sourceOf(ctx context.Context, c *condition, sub subject, b *Blueprint, most int) (*source, error) {
	switch sub.kind {
	case ofMeta:
		return s.metaSource(ctx, c, sub.name, b)
	case ofProperty:
		return s.indexed(ctx, c, sub.name, b, b.Properties[sub.name].Type == "array")
	case ofAggregation:
		return s.indexed(ctx, c, aggregateKey(sub.name), b, false)
	case ofRelation:
		return s.relationSource(c, sub.name, b), nil
	case ofMirror:
		return s.mirrorSource(ctx, c, sub.name, b, most)
	}
	return nil, nil
}

func (s *search) metaSource(ctx context.Context, c *condition, name string, b *Blueprint) (*source, error) {
	switch name {
	case metaTitle:
		return s.indexed(ctx, c, name, b, false)
	case metaTeam:
		return s.indexed(ctx, c, name, b, true)
	case metaDatasource:
		ids, err := s.writersThat(ctx, c)
		if err != nil || len(ids) == 0 {
			return &source{}, err
		}
		return new(datasourceSource(s.q.Dialect(), b.id, ids)), nil
	case metaIdentifier:
		if prefix, ok := c.value.value.(string); ok && c.op == opBegins {
			return new(identifierSource(s.q.Dialect(), b.id, nil, prefix)), nil
		}
		if names, ok := c.wantedTexts(); ok {
			return new(identifierSource(s.q.Dialect(), b.id, names, "")), nil
		}
	case metaCreatedAt:
		return timeRange(c, s.now, b, "created_at"), nil
	case metaUpdatedAt:
		return timeRange(c, s.now, b, "updated_at"), nil
	}
	return nil, nil
}

// wantedTexts are those that a value must equal one of.
func (c *condition) wantedTexts() ([]string, bool) {
	list := []any{c.value.value}
	switch c.op {
	case opEqual:
	case opIn, opContainsAny:
		list, _ = c.value.value.([]any)
	default:
		return nil, false
	}
	texts := []string{"."} // no entity is called that: an empty list is no SQL
	for _, v := range list {
		if t, ok := v.(string); ok {
			texts = append(texts, t)
		} else if v == nil {
			return nil, false
		}
	}
	return texts, true
}

// writersThat are the datasources that satisfy a condition.
func (s *search) writersThat(ctx context.Context, c *condition) ([]int64, error) {
	if s.writers == nil {
		var err error
		if s.writers, err = datasources(ctx, s.q); err != nil {
			return nil, err
		}
	}
	var ids []int64
	for _, w := range s.writers {
		if holds(c.op, w.name, &c.value, s.now) {
			ids = append(ids, w.id)
		}
	}
	return ids, nil
}

func timeRange(c *condition, now time.Time, b *Blueprint, column string) *source {
	lo, hi, ok := c.moments(now)
	for _, one := range c.all {
		from, to, isTime := one.moments(now)
		if !isTime {
			continue // compared with a number, which holds for no time
		}
		if !ok {
			lo, hi, ok = firstTime, lastTime, true
		}
		if from.After(lo) {
			lo = from
		}
		if to.Before(hi) {
			hi = to
		}
	}
	if !ok {
		return nil
	}
	return new(timeSource(b.id, column, lo.UnixMilli(), hi.UnixMilli()))
}

// lastText sorts behind every text that the index has.
var lastText = strings.Repeat("\U0010FFFF", maxIndexText/4+1)

// The ends of time as the index has it.
var (
	firstTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC)
)

// moments is the range of time that a condition asks for, to the millisecond and with both
// ends.
func (c *condition) moments(now time.Time) (lo, hi time.Time, ok bool) {
	lo, hi = firstTime, lastTime
	if c.value.span != nil {
		return c.value.span.from, c.value.span.to, true
	}
	if c.op == opExpired || c.op == opExpiredNot {
		if c.op == opExpired {
			return lo, now, true
		}
		return now, hi, true
	}
	text, _ := c.value.value.(string)
	t, ok := parseTime(text)
	switch c.op {
	case opGreater, opGreaterEqual:
		return t, hi, ok
	case opLess, opLessEqual:
		return lo, t, ok
	case opEqual:
		return t, t, ok
	}
	return lo, hi, false
}

// indexed is the index of values, asked what a condition asks. list says that the property's
// values are arrays.
func (s *search) indexed(ctx context.Context, c *condition, name string, b *Blueprint, list bool) (*source, error) {
	values, ranges, part, ok := c.keys(s.now, list)
	if len(c.all) > 0 {
		ranges, ok = []keyRange{c.common(s.now)}, true
	}
	if !ok {
		return nil, nil
	}
	key, err := s.valueKey(ctx, b, name)
	if err != nil || key == 0 {
		return &source{}, err // no entity has a value
	}
	if part != "" {
		return new(textSource(s.q.Dialect(), key, part, c.op == opEnds)), nil
	}
	return new(valueSource(s.q.Dialect(), key, values, ranges)), nil
}

func (s *search) valueKey(ctx context.Context, b *Blueprint, name string) (int64, error) {
	if key := s.c.keys.of(b.id)[name]; key != 0 {
		return key, nil
	}
	keys, err := loadValueKeys(ctx, s.q, b.id)
	if _, changing := s.q.(*store.Tx); err == nil && !changing {
		s.c.keys.add(b.id, keys)
	}
	return keys[name], err
}

// keys is what a condition asks of the index of values: values, ranges, or a part of a text;
// false where the index does not know.
func (c *condition) keys(now time.Time, list bool) (values []string, ranges []keyRange, part string, ok bool) {
	want := c.value.value
	switch c.op {
	case opContains:
		text, isText := want.(string)
		if isText && !list {
			return nil, nil, indexable(text), true
		}
		return valueKeysOf(want), nil, "", true
	case opEnds:
		text, _ := want.(string)
		return nil, nil, indexable(text), true
	case opBegins:
		text, _ := want.(string)
		prefix := textKey(text)
		return nil, []keyRange{{prefix, prefix + lastText}}, "", true
	case opIn, opContainsAny:
		wanted, _ := want.([]any)
		for _, v := range wanted {
			if v == nil {
				return nil, nil, "", false
			}
			values = append(values, valueKeysOf(v)...)
		}
		return values, nil, "", true
	case opEqual:
		if c.value.span == nil {
			values = equalKeys(want)
			return values, nil, "", len(values) > 0
		}
	case opGreater, opGreaterEqual, opLess, opLessEqual:
		if f, isNumber := number(want); isNumber {
			if c.op == opGreater || c.op == opGreaterEqual {
				return nil, []keyRange{{numberKey(f), indexNumber + "~"}}, "", true
			}
			return nil, []keyRange{{indexNumber, numberKey(f)}}, "", true
		}
	}
	lo, hi, ok := c.moments(now)
	return nil, []keyRange{{timeKey(lo), timeKey(hi)}}, "", ok
}

// common is the range that is in all of those joined. Where some are of numbers and some of
// times, it's empty, as both hold for no value.
func (c *condition) common(now time.Time) keyRange {
	var all keyRange
	for i, one := range c.all {
		_, ranges, _, _ := one.keys(now, false)
		if i == 0 {
			all = ranges[0]
		}
		all = keyRange{max(all.from, ranges[0].from), min(all.to, ranges[0].to)}
	}
	return all
}

// equalKeys are the forms that what equals a value may have in the index; none of null. What
// equals an array has the same elements, so the first that is indexed will do.
func equalKeys(want any) []string {
	list, ok := want.([]any)
	if !ok {
		return valueKeysOf(want)
	}
	for _, v := range list {
		if keys := valueKeysOf(v); len(keys) > 0 {
			return keys
		}
	}
	return nil
}

// indexable is text as the index of values has it, wherever in a value it stands.
func indexable(text string) string { return strings.TrimPrefix(textKey(text), indexText) }

func (s *search) relationSource(c *condition, name string, b *Blueprint) *source {
	rel := b.Relations[name]
	target := s.m.byIdentifier[rel.Target]
	op := c.op
	if op == opContains && rel.Many {
		op = opEqual // to one of them
	}
	names, ok := (&condition{op: op, value: c.value}).wantedTexts()
	if _, isList := c.value.value.([]any); !ok || target == nil || op == opEqual && isList {
		return nil
	}
	return new(relationSource(s.q.Dialect(), rel.id, target.id, names))
}

// mirrorSource asks the index of the blueprint that a mirror property shows something of, and
// goes back along the relations.
func (s *search) mirrorSource(ctx context.Context, c *condition, name string, b *Blueprint, most int) (*source, error) {
	relations, end, property := s.mirrorPath(b, b.Mirrors[name].Path)
	if end == nil {
		return nil, nil
	}
	sub, _, ok := end.subject(property)
	if !ok || c.op == opEmpty {
		return nil, nil
	}
	far := *c
	far.subjects = []subject{sub}
	list, _, err := s.sourcesOf(ctx, &far, end, min(most, s.c.plan.few))
	if err != nil || list == nil {
		return nil, err
	}
	var ids []int64
	for i := range list {
		more, err := list[i].read(ctx, s.q)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	ids, err = s.follow(ctx, c.path, ids, relations, false)
	return &source{ids: ids}, err
}
