package catalog

import (
	"context"

	"github.com/rialto-bus/rialto/internal/store"
)

// valueRow is a row of catalog_values.
type valueRow struct {
	key    int64
	value  string
	entity int64
}

func insertValues(ctx context.Context, tx *store.Tx, rows []valueRow) error {
	return inChunks(rows, rowsAtOnce, func(rows []valueRow) error {
		query, args := insertInto(tx.Dialect(), "catalog_values", valueColumns(rows))
		_, err := tx.Exec(ctx, query+` ON CONFLICT DO NOTHING`, args...)
		return err
	})
}

func deleteValues(ctx context.Context, tx *store.Tx, rows []valueRow) error {
	return inChunks(rows, rowsAtOnce, func(rows []valueRow) error {
		source, args := rowsOf(tx.Dialect(), valueColumns(rows))
		_, err := tx.Exec(ctx, `DELETE FROM catalog_values WHERE (key_id, value, entity_id) IN (`+source+`)`, args...)
		return err
	})
}

func valueColumns(rows []valueRow) []column {
	key, value, entity := column{name: "key_id"}, column{name: "value"}, column{name: "entity_id"}
	for i := range rows {
		key.ints, value.texts, entity.ints = append(key.ints, rows[i].key), append(value.texts, &rows[i].value), append(entity.ints, rows[i].entity)
	}
	return []column{key, value, entity}
}

func inChunks[T any](list []T, size int, f func([]T) error) error {
	for len(list) > 0 {
		n := min(size, len(list))
		if err := f(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// valueKeys returns the keys of a blueprint by property, those of the rows among them, and
// makes what is not there.
func (c *Catalog) valueKeys(ctx context.Context, tx *store.Tx, blueprint int64, rows []indexRow) (map[string]int64, error) {
	keys := c.keys.of(blueprint)
	if hasAll(keys, rows) {
		return keys, nil
	}
	// Another node may have made them.
	keys, err := loadValueKeys(ctx, tx, blueprint)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if keys[r.property] != 0 {
			continue
		}
		if keys[r.property], err = makeValueKey(ctx, tx, blueprint, r.property); err != nil {
			return nil, err
		}
	}
	tx.OnCommit(func() { c.keys.add(blueprint, keys) })
	return keys, nil
}

func hasAll(keys map[string]int64, rows []indexRow) bool {
	for _, r := range rows {
		if keys[r.property] == 0 {
			return false
		}
	}
	return true
}

// makeValueKey returns the key of a property, and makes it if it is not there. It looks first: PostgreSQL
// uses up an id, of which there are two thousand million, for each row that it tries to insert.
func makeValueKey(ctx context.Context, tx *store.Tx, blueprint int64, property string) (int64, error) {
	const sel = `SELECT id FROM catalog_value_keys WHERE blueprint_id = $1 AND property = $2`
	id, found, err := store.One(tx.QueryRow(ctx, sel, blueprint, property), scanID)
	if found || err != nil {
		return id, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO catalog_value_keys (blueprint_id, property) VALUES ($1, $2) ON CONFLICT DO NOTHING`, blueprint, property); err != nil {
		return 0, err
	}
	return scanID(tx.QueryRow(ctx, sel, blueprint, property))
}

type propertyKey struct {
	property string
	id       int64
}

func loadValueKeys(ctx context.Context, q store.Querier, blueprint int64) (map[string]int64, error) {
	rows, err := q.Query(ctx, `SELECT property, id FROM catalog_value_keys WHERE blueprint_id = $1`, blueprint)
	list, err := store.All(rows, err, func(row store.Row) (k propertyKey, err error) {
		return k, row.Scan(&k.property, &k.id)
	})
	keys := make(map[string]int64, len(list))
	for _, k := range list {
		keys[k.property] = k.id
	}
	return keys, err
}

// dropAggregates removes what was computed of an entity.
func dropAggregates(ctx context.Context, tx *store.Tx, entity int64) error {
	rows, err := tx.Query(ctx, `DELETE FROM catalog_aggregates WHERE entity_id = $1 RETURNING key_id, value`, entity)
	gone, err := store.All(rows, err, func(row store.Row) (valueRow, error) {
		r := valueRow{entity: entity}
		var value float64
		err := row.Scan(&r.key, &value)
		r.value = numberKey(value)
		return r, err
	})
	if err != nil {
		return err
	}
	return deleteValues(ctx, tx, gone)
}
