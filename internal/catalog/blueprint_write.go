package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/store"
)

// maxBlueprints is how many blueprints there are at most.
const maxBlueprints = 2000

// Blueprints returns all blueprints by identifier. What is returned must not be changed.
func (c *Catalog) Blueprints(ctx context.Context) ([]*Blueprint, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	return m.sorted(), nil
}

// Blueprint returns one blueprint, which must not be changed, or a not_found *Error.
func (c *Catalog) Blueprint(ctx context.Context, identifier string) (*Blueprint, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	return m.blueprint(identifier)
}

// CreateBlueprint stores a new blueprint from its JSON. What is wrong with it is an
// *Error: validation_error with each place, or identifier_taken.
func (c *Catalog) CreateBlueprint(ctx context.Context, w Writer, raw json.RawMessage) (*Blueprint, error) {
	w = w.bounded()
	var b *Blueprint
	err := c.changeModel(ctx, func(m *model) (_ change, err error) {
		if b, err = readBlueprint(raw); err != nil {
			return nil, err
		}
		if m.byIdentifier[b.Identifier] != nil {
			return nil, taken("Blueprint %q exists already.", b.Identifier)
		}
		if len(m.byID) >= maxBlueprints {
			return nil, invalid("There are %d blueprints, as many as are allowed.", len(m.byID))
		}
		if err := m.check(b, ""); err != nil {
			return nil, err
		}
		now := c.now()
		b.Revision, b.CreatedAt, b.CreatedBy, b.UpdatedAt, b.UpdatedBy = 1, now, w.By, now, w.By
		return func(ctx context.Context, tx *store.Tx) error {
			if err := insertBlueprint(ctx, tx, b); err != nil {
				return err
			}
			if err := saveRelations(ctx, tx, m, nil, b); err != nil {
				return err
			}
			return c.recordBlueprint(ctx, tx, w, nil, b)
		}, nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// PutBlueprint replaces a blueprint by its JSON, whose identifier may be another one: that
// renames it. Entities are brought into line in the background. A blueprint that is
// the same already is left alone.
func (c *Catalog) PutBlueprint(ctx context.Context, w Writer, identifier string, raw json.RawMessage) (*Blueprint, error) {
	return c.updateBlueprint(ctx, w, identifier, func(old *Blueprint) (json.RawMessage, error) {
		return withIdentifier(raw, old.Identifier)
	})
}

// PatchBlueprint replaces the members of a blueprint that the JSON object has, and
// takes away those that it has as null.
func (c *Catalog) PatchBlueprint(ctx context.Context, w Writer, identifier string, raw json.RawMessage) (*Blueprint, error) {
	var patch map[string]json.RawMessage
	if err := json.Unmarshal(raw, &patch); err != nil || patch == nil {
		return nil, invalid("The blueprint is not a JSON object.")
	}
	return c.updateBlueprint(ctx, w, identifier, func(old *Blueprint) (json.RawMessage, error) {
		var top map[string]json.RawMessage
		if err := json.Unmarshal(old.Raw, &top); err != nil {
			return nil, err
		}
		for key, v := range patch {
			if string(bytes.TrimSpace(v)) == "null" {
				delete(top, key)
				continue
			}
			top[key] = v
		}
		return encode(top)
	})
}

// withIdentifier gives a definition that names no identifier the one of its path.
func withIdentifier(raw json.RawMessage, identifier string) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil || top == nil {
		return nil, invalid("The blueprint is not a JSON object.")
	}
	if _, there := top["identifier"]; there {
		return raw, nil
	}
	text, err := encode(identifier)
	if err != nil {
		return nil, err
	}
	top["identifier"] = text
	return encode(top)
}

// readBlueprint parses a definition that a writer sent.
func readBlueprint(raw json.RawMessage) (*Blueprint, error) {
	if !utf8.Valid(raw) {
		return nil, invalid("The blueprint is not UTF-8.")
	}
	raw, err := withoutServerKeys(raw)
	if err != nil {
		return nil, err
	}
	b, err := parseBlueprint(raw)
	if err != nil {
		return nil, err
	}
	if _, err := b.schema.compile(); err != nil {
		return nil, invalid("Blueprint %q has a schema that cannot be used: %v", b.Identifier, err)
	}
	d := &definition{}
	for _, key := range sortedKeys(b.Properties) {
		if p := b.Properties[key]; p.HasDefault && p.Default != nil {
			problems, err := b.schema.validate(map[string]any{key: p.Default})
			if err != nil {
				return nil, err
			}
			for _, problem := range problems {
				d.wrongf("schema.properties."+key+".default", "%s", problem.Message)
			}
		}
	}
	if err := d.err(fmt.Sprintf("Blueprint %q", b.Identifier)); err != nil {
		return nil, err
	}
	return b, nil
}

// withoutServerKeys takes away what the server alone sets, and the white space.
func withoutServerKeys(raw json.RawMessage) (json.RawMessage, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(raw, &top); err != nil || top == nil {
		return nil, invalid("The blueprint is not a JSON object.")
	}
	n := len(top)
	for _, key := range serverKeys {
		delete(top, key)
	}
	if len(top) < n {
		return encode(top)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// change writes what was planned.
type change func(ctx context.Context, tx *store.Tx) error

// changeModel has a change of the blueprints planned by how they are, and carries it out in a
// transaction that is the only one to change them, if they still are so. A plan without a
// change is done.
func (c *Catalog) changeModel(ctx context.Context, plan func(m *model) (change, error)) error {
	for try := 1; ; try++ {
		m, err := c.model(ctx, c.db)
		if err != nil {
			return err
		}
		write, err := plan(m)
		if err != nil || write == nil {
			return err
		}
		tried := false
		err = c.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			revision, err := lockModel(ctx, tx)
			if err != nil {
				return err
			}
			if tried || revision != m.revision+1 {
				return errMoved
			}
			tried = true
			return write(ctx, tx)
		})
		if !errors.Is(err, errMoved) || try >= maxTries {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// updateBlueprint stores what next makes of a blueprint.
func (c *Catalog) updateBlueprint(ctx context.Context, w Writer, identifier string, next func(old *Blueprint) (json.RawMessage, error)) (*Blueprint, error) {
	w = w.bounded()
	var b *Blueprint
	err := c.changeModel(ctx, func(m *model) (change, error) {
		old, err := m.blueprint(identifier)
		if err != nil {
			return nil, err
		}
		raw, err := next(old)
		if err != nil {
			return nil, err
		}
		if b, err = readBlueprint(raw); err != nil {
			return nil, err
		}
		if sameJSON(old.Raw, b.Raw) {
			b = old
			return nil, nil
		}
		if other := m.byIdentifier[b.Identifier]; other != nil && other != old {
			return nil, taken("Blueprint %q cannot be renamed: %q exists already.", identifier, b.Identifier)
		}
		if err := m.check(b, old.Identifier); err != nil {
			return nil, err
		}
		b.id, b.Revision, b.CreatedAt, b.CreatedBy = old.id, old.Revision+1, old.CreatedAt, old.CreatedBy
		b.UpdatedAt, b.UpdatedBy = c.now(), w.By
		return func(ctx context.Context, tx *store.Tx) error { return c.saveBlueprint(ctx, tx, w, m, old, b) }, nil
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (c *Catalog) saveBlueprint(ctx context.Context, tx *store.Tx, w Writer, m *model, old, b *Blueprint) error {
	// Whoever stores entities by the old definition is waited for, and who comes later reads the new one.
	if err := lockBlueprint(ctx, tx, old.id); err != nil {
		return err
	}
	if old.Identifier != b.Identifier {
		if err := c.renameTargets(ctx, tx, w, m, old, b); err != nil {
			return err
		}
	}
	if err := c.planRefit(ctx, tx, old, b); err != nil {
		return err
	}
	if err := updateBlueprint(ctx, tx, b); err != nil {
		return err
	}
	if err := saveRelations(ctx, tx, m, old, b); err != nil {
		return err
	}
	return c.recordBlueprint(ctx, tx, w, old, b)
}

// saveRelations gives the relations of a blueprint their ids: those of old where they are
// the same.
func saveRelations(ctx context.Context, tx *store.Tx, m *model, old, b *Blueprint) error {
	target := func(of *Blueprint, identifier string) int64 {
		if identifier == of.Identifier {
			return b.id
		}
		return m.byIdentifier[identifier].id
	}
	if old != nil {
		for _, key := range sortedKeys(old.Relations) {
			was, now := old.Relations[key], b.Relations[key]
			if _, kept := b.Relations[key]; kept && target(old, was.Target) == target(b, now.Target) {
				now.id = was.id
				b.Relations[key] = now
				continue
			}
			if err := deleteRelation(ctx, tx, was.id); err != nil {
				return err
			}
		}
	}
	for _, key := range sortedKeys(b.Relations) {
		r := b.Relations[key]
		if r.id != 0 {
			continue
		}
		id, err := saveRelation(ctx, tx, b.id, key, target(b, r.Target))
		if err != nil {
			return err
		}
		r.id = id
		b.Relations[key] = r
	}
	return nil
}

// renameTargets tells the other blueprints of a new identifier.
func (c *Catalog) renameTargets(ctx context.Context, tx *store.Tx, w Writer, m *model, old, b *Blueprint) error {
	for _, other := range m.sorted() {
		if other == old {
			continue
		}
		var top map[string]any
		if err := json.Unmarshal(other.Raw, &top); err != nil {
			return err
		}
		if !retarget(top, old.Identifier, b.Identifier) {
			continue
		}
		raw, err := encode(top)
		if err != nil {
			return err
		}
		renamed, err := parseBlueprint(raw)
		if err != nil {
			return err
		}
		renamed.id, renamed.Revision, renamed.CreatedAt, renamed.CreatedBy = other.id, other.Revision+1, other.CreatedAt, other.CreatedBy
		renamed.UpdatedAt, renamed.UpdatedBy = b.UpdatedAt, w.By
		if err := updateBlueprint(ctx, tx, renamed); err != nil {
			return err
		}
		because := w
		because.Cause.Why = fmt.Sprintf("blueprint %s was renamed %s", old.Identifier, b.Identifier)
		if err := c.recordBlueprint(ctx, tx, because, other, renamed); err != nil {
			return err
		}
	}
	return nil
}

// retarget puts another identifier where a definition names a blueprint.
func retarget(top map[string]any, from, to string) (changed bool) {
	swap := func(o map[string]any, key string) {
		if o[key] == any(from) {
			o[key], changed = to, true
		}
	}
	each := func(section string, f func(map[string]any)) {
		m, _ := top[section].(map[string]any)
		for _, v := range m {
			if o, ok := v.(map[string]any); ok {
				f(o)
			}
		}
	}
	each("relations", func(r map[string]any) { swap(r, "target") })
	each("aggregationProperties", func(a map[string]any) {
		swap(a, "target")
		paths, _ := a["pathFilter"].([]any)
		for _, p := range paths {
			if o, ok := p.(map[string]any); ok {
				swap(o, "fromBlueprint")
			}
		}
	})
	return changed
}

// DeleteBlueprint deletes a blueprint that has no entities and that no other blueprint
// points to; otherwise it returns the *Error has_dependents.
func (c *Catalog) DeleteBlueprint(ctx context.Context, w Writer, identifier string) error {
	w = w.bounded()
	return c.changeModel(ctx, func(m *model) (change, error) {
		b, err := m.blueprint(identifier)
		if err != nil {
			return nil, err
		}
		if by := m.pointersTo(b); len(by) > 0 {
			return nil, hasDependents("Blueprint %q cannot be deleted: it is the target of %s.", identifier, strings.Join(by, ", "))
		}
		return func(ctx context.Context, tx *store.Tx) error { return c.removeBlueprint(ctx, tx, w, b) }, nil
	})
}

func (c *Catalog) removeBlueprint(ctx context.Context, tx *store.Tx, w Writer, b *Blueprint) error {
	if err := lockBlueprint(ctx, tx, b.id); err != nil {
		return err
	}
	some, err := hasEntities(ctx, tx, b.id)
	if err != nil {
		return err
	}
	if some {
		return hasDependents("Blueprint %q cannot be deleted: it has entities. Delete them first.", b.Identifier)
	}
	if err := deleteBlueprintRow(ctx, tx, b.id); err != nil {
		return err
	}
	return c.recordBlueprint(ctx, tx, w, b, nil)
}

// pointersTo names what other blueprints have that needs this one.
func (m *model) pointersTo(b *Blueprint) []string {
	var by []string
	for _, other := range m.sorted() {
		if other == b {
			continue
		}
		for _, key := range sortedKeys(other.Relations) {
			if other.Relations[key].Target == b.Identifier {
				by = append(by, fmt.Sprintf("relation %s of blueprint %s", key, other.Identifier))
			}
		}
		for _, key := range sortedKeys(other.Aggregations) {
			if other.Aggregations[key].Target == b.Identifier {
				by = append(by, fmt.Sprintf("aggregation property %s of blueprint %s", key, other.Identifier))
			}
		}
	}
	return by
}

// check looks at what a blueprint needs of others, and of itself. was is its identifier so far.
func (m *model) check(b *Blueprint, was string) error {
	d := &definition{}
	find := func(identifier string) *Blueprint {
		switch {
		case identifier == b.Identifier, identifier == was && was != "":
			return b
		}
		return m.byIdentifier[identifier]
	}
	for _, key := range sortedKeys(b.Relations) {
		r := b.Relations[key]
		if r.Target == was && was != b.Identifier {
			d.wrongf("relations."+key+".target", "is blueprint %q, which is renamed %q by this", was, b.Identifier)
		} else if find(r.Target) == nil {
			d.wrongf("relations."+key+".target", "is blueprint %q, which does not exist", shorten(r.Target))
		}
	}
	for _, key := range sortedKeys(b.Mirrors) {
		d.mirrorPath("mirrorProperties."+key+".path", b, b.Mirrors[key].Path, find)
	}
	for _, key := range sortedKeys(b.Aggregations) {
		d.aggregationTarget("aggregationProperties."+key+".", b, b.Aggregations[key], find)
	}
	if w := b.Ownership; w != nil && w.Path != "" {
		d.walk("ownership.path", b, strings.Split(strings.TrimSuffix(w.Path, ".$team"), "."), find)
	}
	return d.err(fmt.Sprintf("Blueprint %q", b.Identifier))
}

// walk follows relations from a blueprint and returns where they lead, nil if nowhere.
func (d *definition) walk(at string, b *Blueprint, path []string, find func(string) *Blueprint) *Blueprint {
	for _, step := range path {
		r, there := b.Relations[step]
		if !there {
			d.wrongf(at, "goes by relation %q, which blueprint %q does not have", shorten(step), b.Identifier)
			return nil
		}
		if b = find(r.Target); b == nil {
			return nil // told of already
		}
	}
	return b
}

func (d *definition) mirrorPath(at string, b *Blueprint, path string, find func(string) *Blueprint) {
	steps := strings.Split(path, ".")
	last := steps[len(steps)-1]
	end := d.walk(at, b, steps[:len(steps)-1], find)
	if end != nil && !end.hasProperty(last) {
		d.wrongf(at, "ends in property %q, which blueprint %q does not have", shorten(last), end.Identifier)
	}
}

func (d *definition) aggregationTarget(at string, b *Blueprint, a Aggregation, find func(string) *Blueprint) {
	target := find(a.Target)
	if target == nil {
		d.wrongf(at+"target", "is blueprint %q, which does not exist", shorten(a.Target))
		return
	}
	if a.By == "property" && !target.hasProperty(a.Property) {
		d.wrongf(at+"calculationSpec.property", "is %q, which blueprint %q does not have", shorten(a.Property), a.Target)
	}
	if a.MeasureTimeBy != "" && !target.hasProperty(a.MeasureTimeBy) {
		d.wrongf(at+"calculationSpec.measureTimeBy", "is %q, which blueprint %q does not have", shorten(a.MeasureTimeBy), a.Target)
	}
	for i, f := range a.PathFilter {
		from := b
		if f.FromBlueprint != "" {
			if from = find(f.FromBlueprint); from == nil {
				d.wrongf(fmt.Sprintf("%spathFilter[%d].fromBlueprint", at, i), "is blueprint %q, which does not exist", shorten(f.FromBlueprint))
				continue
			}
		}
		d.walk(fmt.Sprintf("%spathFilter[%d].path", at, i), from, f.Path, find)
	}
}

// hasProperty says whether entities have a property of that key, whatever its kind.
func (b *Blueprint) hasProperty(key string) bool {
	if slices.Contains(metaProperties, key) {
		return true
	}
	_, given := b.Properties[key]
	_, mirrored := b.Mirrors[key]
	_, calculated := b.Calculations[key]
	_, aggregated := b.Aggregations[key]
	return given || mirrored || calculated || aggregated
}

// sameJSON says whether two texts are the same value.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// MarshalJSON writes the definition with what the server knows of it: Port's shape.
func (b *Blueprint) MarshalJSON() ([]byte, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(b.Raw, &top); err != nil {
		return nil, err
	}
	server := map[string]any{"createdAt": b.CreatedAt, "createdBy": b.CreatedBy, "updatedAt": b.UpdatedAt, "updatedBy": b.UpdatedBy}
	for key, v := range server {
		text, err := encode(v)
		if err != nil {
			return nil, err
		}
		top[key] = text
	}
	return encode(top)
}
