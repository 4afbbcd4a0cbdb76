package catalog

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// aggregationStates reads what was computed last of the aggregation properties.
func aggregationStates(ctx context.Context, q store.Querier) (map[aggregateOf]aggregationState, error) {
	all := map[aggregateOf]aggregationState{}
	rows, err := q.Query(ctx, `SELECT k.blueprint_id, k.property, a.key_id, a.definition, a.computed_at, a.error
		FROM catalog_aggregations a JOIN catalog_value_keys k ON k.id = a.key_id`)
	_, err = store.All(rows, err, func(row store.Row) (none struct{}, err error) {
		var of aggregateOf
		var s aggregationState
		var at int64
		if err := row.Scan(&of.blueprint, &of.property, &s.key, &s.definition, &at, &s.err); err != nil {
			return none, err
		}
		s.at = fromMillis(at)
		of.property = of.property[len(aggregateKey("")):]
		all[of] = s
		return none, nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was aggregated: %w", err)
	}
	return all, nil
}

func saveAggregation(ctx context.Context, db *store.DB, of aggregateOf, s aggregationState) error {
	return db.Update(ctx, func(tx *store.Tx) error {
		key, err := makeValueKey(ctx, tx, of.blueprint, aggregateKey(of.property))
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO catalog_aggregations (key_id, definition, computed_at, error) VALUES ($1, $2, $3, $4)
			ON CONFLICT (key_id) DO UPDATE SET definition = excluded.definition, computed_at = excluded.computed_at, error = excluded.error`,
			key, s.definition, s.at.UnixMilli(), s.err)
		return err
	})
}

// forgetAggregation removes what was computed of a property that there is no longer, some
// entities at a time.
func forgetAggregation(ctx context.Context, db *store.DB, key int64) error {
	for {
		done := false
		err := db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			rows, err := tx.Query(ctx, `SELECT entity_id, value FROM catalog_values WHERE key_id = $1 LIMIT $2`, key, aggregatesAtOnce)
			gone, err := store.All(rows, err, func(row store.Row) (r valueRow, err error) {
				r.key = key
				return r, row.Scan(&r.entity, &r.value)
			})
			if err != nil {
				return err
			}
			if done = len(gone) == 0; done {
				_, err := tx.Exec(ctx, `DELETE FROM catalog_aggregations WHERE key_id = $1`, key)
				return err
			}
			ids := make([]int64, 0, len(gone))
			for _, r := range gone {
				ids = append(ids, r.entity)
			}
			var a argList
			if _, err := tx.Exec(ctx, `DELETE FROM catalog_aggregates WHERE key_id = `+a.add(key)+` AND entity_id`+a.in(tx.Dialect(), ids), a.args...); err != nil {
				return err
			}
			return deleteValues(ctx, tx, gone)
		})
		if err != nil || done {
			return err
		}
	}
}

// changedBlueprints are those with entities that changed since a time, in unix milliseconds, or
// that changed themselves.
func changedBlueprints(ctx context.Context, q store.Querier, since int64) (map[int64]bool, error) {
	rows, err := q.Query(ctx, `SELECT DISTINCT blueprint_id FROM catalog_changes WHERE at >= $1`, since)
	list, err := store.All(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("ask what has changed: %w", err)
	}
	changed := make(map[int64]bool, len(list))
	for _, id := range list {
		changed[id] = true
	}
	return changed, nil
}

// aggregatedAfter returns ids of a blueprint's entities, in order.
func aggregatedAfter(ctx context.Context, q store.Querier, blueprint, after int64, limit int) ([]int64, error) {
	rows, err := q.Query(ctx, `SELECT id FROM catalog_entities WHERE blueprint_id = $1 AND id > $2 ORDER BY id LIMIT $3`, blueprint, after, limit)
	list, err := store.All(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("list entities: %w", err)
	}
	return list, nil
}

// storeAggregates stores the property of entities; those without a result have none.
func storeAggregates(ctx context.Context, tx *store.Tx, of aggregateOf, ids []int64, results map[int64]float64) error {
	key, err := makeValueKey(ctx, tx, of.blueprint, aggregateKey(of.property))
	if err != nil {
		return err
	}
	// They may have been deleted meanwhile, and must not come back by what is known of them.
	var a argList
	rows, err := tx.Query(ctx, `SELECT id FROM catalog_entities WHERE id`+a.in(tx.Dialect(), ids)+` ORDER BY id`+tx.Dialect().ForUpdate(), a.args...)
	if ids, err = store.All(rows, err, scanID); err != nil || len(ids) == 0 {
		return err
	}
	stored, err := aggregatesOf(ctx, tx, ids)
	if err != nil {
		return err
	}
	var gone, come []valueRow
	for _, id := range ids {
		old, had := stored[id][key]
		v, has := results[id]
		if had == has && old == v {
			continue
		}
		if had {
			gone = append(gone, valueRow{key, numberKey(old), id})
		}
		if !has {
			_, err = tx.Exec(ctx, `DELETE FROM catalog_aggregates WHERE entity_id = $1 AND key_id = $2`, id, key)
		} else {
			come = append(come, valueRow{key, numberKey(v), id})
			_, err = tx.Exec(ctx, `INSERT INTO catalog_aggregates (entity_id, key_id, value) VALUES ($1, $2, $3)
				ON CONFLICT (entity_id, key_id) DO UPDATE SET value = excluded.value`, id, key, v)
		}
		if err != nil {
			return err
		}
	}
	if err := deleteValues(ctx, tx, gone); err != nil {
		return err
	}
	return insertValues(ctx, tx, come)
}
