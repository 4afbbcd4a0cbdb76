package catalog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// newestEntity is an id that no entity is above; 0 if there are none.
func newestEntity(ctx context.Context, q store.Querier) (id int64, err error) {
	err = q.QueryRow(ctx, `SELECT COALESCE(max(id), 0) FROM catalog_entities`).Scan(&id)
	return id, err
}

// entityPlace is where an entity stands among those of its blueprint, by age.
type entityPlace struct{ createdAt, id int64 }

// olderEntities lists entities of a blueprint that are older than the place, up to an
// id, the newest first, and the place of the last.
func olderEntities(ctx context.Context, q store.Querier, blueprint int64, than entityPlace, upTo int64, limit int) (last entityPlace, identifiers []string, err error) {
	rows, err := q.Query(ctx, `SELECT created_at, id, identifier FROM catalog_entities
		WHERE blueprint_id = $1 AND created_at <= $2 AND (created_at < $2 OR id < $3) AND id <= $4
		ORDER BY created_at DESC, id DESC LIMIT $5`, blueprint, than.createdAt, than.id, upTo, limit)
	identifiers, err = store.All(rows, err, func(row store.Row) (identifier string, err error) {
		return identifier, row.Scan(&last.createdAt, &last.id, &identifier)
	})
	return last, identifiers, err
}

func insertMigration(ctx context.Context, tx *store.Tx, m Migration) error {
	by, err := json.Marshal(m.Writer)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO catalog_migrations (id, blueprint, delete_blueprint, status, writer, last_entity_id, deleted, error, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		m.ID, m.Blueprint, m.DeleteBlueprint, string(m.Status), string(by), m.lastEntityID, m.Deleted, m.Error, m.CreatedAt.UnixMilli(), m.UpdatedAt.UnixMilli())
	return err
}

func updateMigration(ctx context.Context, tx *store.Tx, m Migration) error {
	_, err := tx.Exec(ctx, `UPDATE catalog_migrations SET status = $2, deleted = $3, error = $4, updated_at = $5 WHERE id = $1`,
		m.ID, string(m.Status), m.Deleted, m.Error, m.UpdatedAt.UnixMilli())
	return err
}

func loadMigration(ctx context.Context, q store.Querier, id string) (Migration, bool, error) {
	row := q.QueryRow(ctx, `SELECT id, blueprint, delete_blueprint, status, writer, last_entity_id, deleted, error, created_at, updated_at
		FROM catalog_migrations WHERE id = $1`, id)
	return store.One(row, func(row store.Row) (Migration, error) {
		var m Migration
		var by string
		var created, updated int64
		if err := row.Scan(&m.ID, &m.Blueprint, &m.DeleteBlueprint, &m.Status, &by, &m.lastEntityID, &m.Deleted, &m.Error, &created, &updated); err != nil {
			return m, err
		}
		m.CreatedAt, m.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
		return m, json.Unmarshal([]byte(by), &m.Writer)
	})
}

// deleteMigrationsBefore deletes ended migrations, sweepRows at most.
func deleteMigrationsBefore(ctx context.Context, tx *store.Tx, before time.Time) (int64, error) {
	res, err := tx.Exec(ctx, `DELETE FROM catalog_migrations WHERE id IN (SELECT id FROM catalog_migrations
		WHERE updated_at < $1 AND status IN ('COMPLETED', 'FAILURE') ORDER BY updated_at LIMIT $2)`, before.UnixMilli(), sweepRows)
	return changed(res, err)
}
