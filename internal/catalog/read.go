package catalog

import (
	"context"

	"github.com/rialto-bus/rialto/internal/store"
)

// Entity returns one entity as it is stored, or a not_found *Error.
func (c *Catalog) Entity(ctx context.Context, blueprint, identifier string) (*Entity, error) {
	m, err := c.model(ctx, c.db)
	if err != nil {
		return nil, err
	}
	bp, err := m.blueprint(blueprint)
	if err != nil {
		return nil, err
	}
	if checkIdentifier(identifier) != "" {
		return nil, noEntity(identifier, blueprint)
	}
	b := c.newBatch(m, c.db, Writer{})
	n, err := b.at(ctx, nodeKey{bp.id, identifier})
	if err != nil {
		return nil, err
	}
	if !n.there {
		return nil, noEntity(identifier, blueprint)
	}
	return n.entity(n.after), nil
}

// entities returns the entities of these ids, in their order, without those that are gone.
func (c *Catalog) entities(ctx context.Context, q store.Querier, m *model, ids []int64) ([]Entity, error) {
	b := c.newBatch(m, q, Writer{})
	if err := b.loadWhole(ctx, ids); err != nil {
		return nil, err
	}
	list := make([]Entity, 0, len(ids))
	for _, id := range ids {
		if n := b.byID[id]; n != nil && n.after != nil {
			list = append(list, *n.entity(n.after))
		}
	}
	return list, nil
}
