package catalog

import (
	"context"
	"fmt"
)

// attachTitles puts {identifier, title} in place of the identifiers in relations, as a
// caller may ask for.
func (c *Catalog) attachTitles(ctx context.Context, entities []Entity) error {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return err
	}
	wanted := map[*Blueprint]map[string]string{} // titles by target
	for i := range entities {
		mapTargets(m, &entities[i], func(target *Blueprint, identifier string) any {
			if wanted[target] == nil {
				wanted[target] = map[string]string{}
			}
			wanted[target][identifier] = identifier
			return nil
		})
	}
	for target, titles := range wanted {
		if err := loadTitles(ctx, c.db, target.id, titles); err != nil {
			return fmt.Errorf("read titles of entities of blueprint %s: %w", target.Identifier, err)
		}
	}
	for i := range entities {
		entities[i].Relations = mapTargets(m, &entities[i], func(target *Blueprint, identifier string) any {
			return map[string]any{"identifier": identifier, "title": wanted[target][identifier]}
		})
	}
	return nil
}

// mapTargets are an entity's relations with what shown returns in place of each
// identifier.
func mapTargets(m *model, e *Entity, shown func(target *Blueprint, identifier string) any) map[string]any {
	relations := make(map[string]any, len(e.Relations))
	b := m.byIdentifier[e.Blueprint]
	for key, v := range e.Relations {
		relations[key] = v
		if b == nil {
			continue
		}
		target := m.byIdentifier[b.Relations[key].Target]
		if target == nil {
			continue
		}
		switch v := v.(type) {
		case string:
			relations[key] = shown(target, v)
		case []string:
			list := make([]any, len(v))
			for k, identifier := range v {
				list[k] = shown(target, identifier)
			}
			relations[key] = list
		}
	}
	return relations
}
