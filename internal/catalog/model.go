package catalog

import (
	"context"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/internal/store"
)

// model is all blueprints at one revision. It does not change: readers keep theirs.
type model struct {
	revision     int64
	byIdentifier map[string]*Blueprint
	byID         map[int64]*Blueprint
	relations    map[int64]relationOf // the relations that there are, by id
}

// relationOf is a relation and the blueprint that has it.
type relationOf struct {
	blueprint *Blueprint
	key       string
	Relation
}

// toMany are those of some relations that are to many.
func (m *model) toMany(relations []int64) []int64 {
	many := make([]int64, 0, len(relations))
	for _, id := range relations {
		if m.relations[id].Many {
			many = append(many, id)
		}
	}
	return many
}

// blueprint returns the blueprint of an identifier, or a not_found *Error.
func (m *model) blueprint(identifier string) (*Blueprint, error) {
	if b := m.byIdentifier[identifier]; b != nil {
		return b, nil
	}
	return nil, notFound("Blueprint %q does not exist.", shorten(identifier))
}

// sorted returns the blueprints by identifier.
func (m *model) sorted() []*Blueprint {
	list := make([]*Blueprint, 0, len(m.byID))
	for _, b := range m.byID {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *Blueprint) int {
		if a.Identifier < b.Identifier {
			return -1
		}
		return 1
	})
	return list
}

// model returns the blueprints as they are now: the ones at hand if no blueprint was
// changed since, which costs one small query.
func (c *Catalog) model(ctx context.Context, q store.Querier) (*model, error) {
	const tries = 10
	for try := 0; ; try++ {
		revision, err := modelRevision(ctx, q)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		known := c.known
		c.mu.Unlock()
		if known != nil && known.revision == revision {
			return known, nil
		}
		m, err := loadModel(ctx, q, known, revision)
		if err != nil {
			return nil, err
		}
		// What was read is of one revision if it is still the same.
		if again, err := modelRevision(ctx, q); err != nil || again != revision && try < tries {
			if err != nil {
				return nil, err
			}
			continue
		} else if again != revision {
			return nil, fmt.Errorf("read the blueprints: they change all the time")
		}
		// Within a transaction they may be such as never become durable.
		if _, inside := q.(*store.Tx); !inside {
			c.mu.Lock()
			if c.known == nil || c.known.revision < revision {
				c.known = m
			}
			c.mu.Unlock()
		}
		return m, nil
	}
}

// loadModel reads the blueprints, but for those that are known in the same revision.
func loadModel(ctx context.Context, q store.Querier, known *model, revision int64) (*model, error) {
	rows, err := blueprintRevisions(ctx, q)
	if err != nil {
		return nil, err
	}
	m := &model{
		revision: revision, byIdentifier: make(map[string]*Blueprint, len(rows)),
		byID: make(map[int64]*Blueprint, len(rows)), relations: map[int64]relationOf{},
	}
	var missing []int64
	for id, rev := range rows {
		if known != nil {
			if b := known.byID[id]; b != nil && b.Revision == rev {
				m.byID[id], m.byIdentifier[b.Identifier] = b, b
				continue
			}
		}
		missing = append(missing, id)
	}
	slices.Sort(missing)
	for chunk := range slices.Chunk(missing, 100) {
		list, err := blueprintsByID(ctx, q, chunk)
		if err != nil {
			return nil, err
		}
		for _, b := range list {
			m.byID[b.id], m.byIdentifier[b.Identifier] = b, b
		}
	}
	for _, b := range m.byID {
		for key, r := range b.Relations {
			m.relations[r.id] = relationOf{blueprint: b, key: key, Relation: r}
		}
	}
	return m, nil
}
