package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/rialto-bus/rialto/internal/jq"
)

const (
	// maxItems is how many items of one resource may become entities.
	maxItems = 1000
	// maxMapped is how large the entities of one resource may be together, in bytes
	// of their texts and 16 for each value: each of many items may have the whole
	// resource in it.
	maxMapped = 64 << 20
)

// Map makes the entities of a resource. An expression without output is null;
// one that fails is null too and a problem; one that was stopped (too slow, too
// large) is a problem and its key is left out, for what it would have given is
// not known. An entity that the mappings make twice is merged, as upserting it
// twice would.
//
// The error says that nothing can be told of the resource, so that no entity of
// it may be taken for gone: the selector, an identifier or a list of items
// failed, the entities are too large together, or ctx ended.
func (r *Resource) Map(ctx context.Context, ev *jq.Evaluator, resource map[string]any) (Mapped, error) {
	selected, err := r.selects(ctx, ev, resource)
	if err != nil || !selected {
		return Mapped{}, err
	}
	m := &mapper{ev: ev, mapped: Mapped{Selected: true}, at: map[[2]string]int{}}
	for i := range r.Mappings {
		if err := m.apply(ctx, &r.Mappings[i], resource); err != nil {
			return Mapped{}, err
		}
	}
	return m.mapped, nil
}

func (r *Resource) selects(ctx context.Context, ev *jq.Evaluator, resource map[string]any) (bool, error) {
	if r.Query == nil {
		return true, nil
	}
	o := ev.First(ctx, r.Query, resource)
	if o.Err != nil {
		return false, fmt.Errorf("resources[%d].selector.query: %w", r.Index, o.Err)
	}
	return truth(o.Value), nil
}

// truth is Python's, by which Port's exporter takes what a selector gives: also
// 0, "" and what is empty are false.
func truth(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case int:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

// mapper applies the mappings of a pass to one resource.
type mapper struct {
	ev     *jq.Evaluator
	mapped Mapped
	at     map[[2]string]int // blueprint and identifier → place among the entities
	size   int               // of the entities
}

func (m *mapper) problemf(path, format string, args ...any) {
	if len(m.mapped.Problems) < maxProblems {
		m.mapped.Problems = append(m.mapped.Problems, Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
}

func (m *mapper) apply(ctx context.Context, mapping *Mapping, resource map[string]any) error {
	if mapping.Items == nil {
		e, err := m.entity(ctx, mapping, resource, "")
		if err != nil {
			return err
		}
		return m.add(mapping, e)
	}
	items, err := m.items(ctx, mapping, resource)
	if err != nil {
		return err
	}
	for i, item := range items {
		input := maps.Clone(resource)
		if input == nil {
			input = map[string]any{}
		}
		input["item"] = item
		e, err := m.entity(ctx, mapping, input, fmt.Sprintf(" (item %d)", i))
		if none, ok := errors.AsType[*noIdentifierError](err); ok {
			m.problemf(none.path, "%s; the item is left out", none.why)
			continue
		}
		if err != nil {
			return err
		}
		if err := m.add(mapping, e); err != nil {
			return err
		}
	}
	return nil
}

// items evaluates itemsToParse. Port's exporter: what is not a list has no items.
func (m *mapper) items(ctx context.Context, mapping *Mapping, resource map[string]any) ([]any, error) {
	path := mapping.Path + ".itemsToParse"
	o := m.ev.First(ctx, mapping.Items, resource)
	if o.Err != nil {
		return nil, fmt.Errorf("%s: %w", path, o.Err)
	}
	items, ok := o.Value.([]any)
	if !ok && o.Value != nil {
		m.problemf(path, "gave %s, not an array: there are no items", kindOf(o.Value))
	}
	if len(items) > maxItems {
		return nil, fmt.Errorf("%s: gave %d items, at most %d are possible", path, len(items), maxItems)
	}
	return items, nil
}

// noIdentifierError says that a mapping gives no identifier, and will not however
// often it is tried.
type noIdentifierError struct{ path, why string }

// Error returns why, after the path.
func (e *noIdentifierError) Error() string { return e.path + ": " + e.why }

// entity evaluates one mapping over one input. suffix tells an item from others.
func (m *mapper) entity(ctx context.Context, mapping *Mapping, input map[string]any, suffix string) (Entity, error) {
	outputs := outputs(m.ev.Each(ctx, mapping.programs(), input))
	if err := outputs.interrupted(ctx); err != nil {
		return Entity{}, fmt.Errorf("%s%s: %w", mapping.Path, suffix, err)
	}
	id, err := identifier(mapping.Path+".identifier"+suffix, outputs.of(mapping.Identifier))
	if err != nil {
		return Entity{}, err
	}
	e := Entity{Blueprint: mapping.Blueprint, Identifier: id, Properties: make(map[string]any, len(mapping.Properties))}
	e.Title = m.text(mapping.Path+".title"+suffix, outputs.of(mapping.Title))
	e.Icon = m.text(mapping.Path+".icon"+suffix, outputs.of(mapping.Icon))
	e.Team = m.team(mapping.Path+".team"+suffix, outputs.of(mapping.Team))
	for _, f := range mapping.Properties {
		o := outputs.of(f.Value)
		if m.known(mapping.Path+".properties."+f.Key+suffix, o) {
			e.Properties[f.Key] = o.Value
		}
	}
	if len(mapping.Relations) > 0 {
		e.Relations = make(map[string]any, len(mapping.Relations))
	}
	for _, f := range mapping.Relations {
		path, o := mapping.Path+".relations."+f.Key+suffix, outputs.of(f.Value)
		if m.known(path, o) {
			e.Relations[f.Key] = m.relation(path, o.Value)
		}
	}
	return e, nil
}

// programs are the expressions of a mapping over one input, in the order in which
// entity asks for their outputs.
func (m *Mapping) programs() []*jq.Program {
	ps := make([]*jq.Program, 0, 4+len(m.Properties)+len(m.Relations))
	for _, p := range []*jq.Program{m.Identifier, m.Title, m.Icon, m.Team} {
		if p != nil {
			ps = append(ps, p)
		}
	}
	for _, f := range m.Properties {
		ps = append(ps, f.Value)
	}
	for _, f := range m.Relations {
		ps = append(ps, f.Value)
	}
	return ps
}

// outputs are those of a mapping's programs that were not asked for yet.
type outputs []jq.Output

// of is the output of the next program, or none where the mapping has no such one.
func (o *outputs) of(p *jq.Program) jq.Output {
	if p == nil {
		return jq.Output{}
	}
	next := (*o)[0]
	*o = (*o)[1:]
	return next
}

// interrupted is why programs were not evaluated that could have been.
func (o outputs) interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, out := range o {
		if errors.Is(out.Err, jq.ErrClosed) {
			return out.Err
		}
	}
	return nil
}

// known reports whether it is known what an expression gives. That is null for
// one that fails, and for one that was stopped it is not.
func (m *mapper) known(path string, o jq.Output) bool {
	if o.Err == nil {
		return true
	}
	if _, failed := errors.AsType[*jq.RuntimeError](o.Err); failed {
		m.problemf(path, "%v; it is null", o.Err)
		return true
	}
	m.problemf(path, "%v; it is left as it is", o.Err)
	return false
}

// identifier is what an identifier's expression gave, as text. Port's exporter: it
// must be what Python takes for true.
func identifier(path string, o jq.Output) (string, error) {
	var failed *jq.RuntimeError
	switch {
	case errors.As(o.Err, &failed):
		return "", &noIdentifierError{path, o.Err.Error()}
	case o.Err != nil:
		return "", fmt.Errorf("%s: %w", path, o.Err)
	case !truth(o.Value):
		return "", &noIdentifierError{path, "gave " + show(o) + ", which identifies nothing"}
	}
	s, ok := scalar(o.Value)
	if !ok {
		return "", &noIdentifierError{path, "gave " + kindOf(o.Value) + ", not a text"}
	}
	return s, nil
}

// text is a title or an icon; numbers are written as text.
func (m *mapper) text(path string, o jq.Output) *string {
	if o.Value == nil {
		m.known(path, o)
		return nil
	}
	s, ok := scalar(o.Value)
	if !ok {
		m.problemf(path, "gave %s, not a text; it is left out", kindOf(o.Value))
		return nil
	}
	return &s
}

// team is a text, a list of texts, or a search rule, which the catalog resolves.
func (m *mapper) team(path string, o jq.Output) any {
	if o.Value == nil {
		m.known(path, o)
		return nil
	}
	return m.reference(path, o.Value)
}

// relation is what a relation is given: nil, a text, a list of texts, or a search
// rule. An empty text is nil: it is how AWS says that there is none.
func (m *mapper) relation(path string, v any) any {
	if v == "" {
		return nil
	}
	return m.reference(path, v)
}

func (m *mapper) reference(path string, v any) any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return m.references(path, v)
	case map[string]any:
		if _, ok := v["rules"].([]any); ok {
			return v
		}
	}
	s, ok := scalar(v)
	if !ok {
		m.problemf(path, "gave %s, not a text, an array of texts or a search rule; it is null", kindOf(v))
		return nil
	}
	return s
}

func (m *mapper) references(path string, list []any) []string {
	texts := make([]string, 0, len(list))
	for i, v := range list {
		s, ok := scalar(v)
		switch {
		case !ok && v != nil:
			m.problemf(path, "gave %s as element %d, not a text; it is left out", kindOf(v), i)
		case s != "":
			texts = append(texts, s)
		}
	}
	return texts
}

// scalar writes a text, number or boolean as text.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case int:
		return strconv.Itoa(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// show is an output as a message shows it.
func show(o jq.Output) string {
	if !o.OK {
		return "nothing"
	}
	text, err := json.Marshal(o.Value)
	if err != nil {
		return kindOf(o.Value)
	}
	return shorten(string(text))
}

// add appends an entity, or merges it into the one that it is already.
func (m *mapper) add(mapping *Mapping, e Entity) error {
	if m.size += size(e.Properties) + size(e.Relations); m.size > maxMapped {
		return fmt.Errorf("%s: the entities of the resource are larger than %d MiB together", mapping.Path, maxMapped>>20)
	}
	key := [2]string{e.Blueprint, e.Identifier}
	i, ok := m.at[key]
	if !ok {
		m.at[key] = len(m.mapped.Entities)
		m.mapped.Entities = append(m.mapped.Entities, e)
		return nil
	}
	merge(&m.mapped.Entities[i], e)
	return nil
}

// size is about how large a value of an entity is.
func size(v any) int {
	n := 16
	switch v := v.(type) {
	case string:
		n += len(v)
	case []string:
		for _, s := range v {
			n += 16 + len(s)
		}
	case []any:
		for _, x := range v {
			n += size(x)
		}
	case map[string]any:
		for key, x := range v {
			n += len(key) + size(x)
		}
	}
	return n
}

// merge changes e as upserting next after it would: what next gives, it takes.
func merge(e *Entity, next Entity) {
	if next.Title != nil {
		e.Title = next.Title
	}
	if next.Icon != nil {
		e.Icon = next.Icon
	}
	if next.Team != nil {
		e.Team = next.Team
	}
	maps.Copy(e.Properties, next.Properties)
	if e.Relations == nil {
		e.Relations = next.Relations
		return
	}
	maps.Copy(e.Relations, next.Relations)
}
