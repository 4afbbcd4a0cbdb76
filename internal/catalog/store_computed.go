package catalog

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// relationsAlong reads where relations lead from entities, each in its order, at most
// limit of them.
func relationsAlong(ctx context.Context, q store.Querier, ids, relations []int64, limit int) ([]edge, error) {
	var a argList
	where := `source_id` + a.in(q.Dialect(), ids) + ` AND relation_id` + a.in(q.Dialect(), relations)
	rows, err := q.Query(ctx, `SELECT source_id, relation_id, target_id FROM catalog_relations
		WHERE `+where+` ORDER BY source_id, relation_id, position LIMIT `+a.add(limit), a.args...)
	list, err := store.All(rows, err, func(row store.Row) (e edge, err error) {
		return e, row.Scan(&e.source, &e.relation, &e.target)
	})
	if err != nil {
		return nil, fmt.Errorf("read relations that are followed: %w", err)
	}
	return list, nil
}
