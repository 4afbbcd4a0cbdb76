package catalog

import (
	"context"
	"encoding/json"
)

// CheckBlueprint makes the checks of CreateBlueprint, or with the identifier of a
// blueprint those of PutBlueprint, and writes nothing. It returns the blueprint as it
// would be.
func (c *Catalog) CheckBlueprint(ctx context.Context, identifier string, raw json.RawMessage) (*Blueprint, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	var old *Blueprint
	if identifier != "" {
		if old, err = m.blueprint(identifier); err != nil {
			return nil, err
		}
		if raw, err = withIdentifier(raw, identifier); err != nil {
			return nil, err
		}
	}
	b, err := readBlueprint(raw)
	if err != nil {
		return nil, err
	}
	if other := m.byIdentifier[b.Identifier]; other != nil && other != old {
		return nil, taken("Blueprint %q exists already.", b.Identifier)
	}
	if old != nil {
		b.CreatedAt, b.CreatedBy, b.UpdatedAt, b.UpdatedBy = old.CreatedAt, old.CreatedBy, old.UpdatedAt, old.UpdatedBy
	}
	return b, m.check(b, identifier)
}
