package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func scanID(row store.Row) (id int64, err error) {
	err = row.Scan(&id)
	return id, err
}

func modelRevision(ctx context.Context, q store.Querier) (int64, error) {
	var n int64
	if err := q.QueryRow(ctx, `SELECT revision FROM catalog_model WHERE id = 1`).Scan(&n); err != nil {
		return 0, fmt.Errorf("read the revision of the blueprints: %w", err)
	}
	return n, nil
}

// lockModel waits for other changes of blueprints, and returns the revision.
func lockModel(ctx context.Context, tx *store.Tx) (int64, error) {
	var n int64
	err := tx.QueryRow(ctx, `UPDATE catalog_model SET revision = revision + 1 WHERE id = 1 RETURNING revision`).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("lock the blueprints: %w", err)
	}
	return n, nil
}

// blueprintRevisions returns the revision of every blueprint by its id.
func blueprintRevisions(ctx context.Context, q store.Querier) (map[int64]int64, error) {
	rows, err := q.Query(ctx, `SELECT id, revision FROM catalog_blueprints`)
	list, err := store.All(rows, err, func(row store.Row) (p [2]int64, err error) {
		err = row.Scan(&p[0], &p[1])
		return p, err
	})
	if err != nil {
		return nil, fmt.Errorf("list the blueprints: %w", err)
	}
	m := make(map[int64]int64, len(list))
	for _, p := range list {
		m[p[0]] = p[1]
	}
	return m, nil
}

// blueprintsByID reads blueprints with the ids of their relations.
func blueprintsByID(ctx context.Context, q store.Querier, ids []int64) ([]*Blueprint, error) {
	in := store.IDList(ids)
	rows, err := q.Query(ctx, `SELECT id, identifier, definition, revision, created_at, created_by, updated_at, updated_by
		FROM catalog_blueprints WHERE id IN (`+in+`)`)
	list, err := store.All(rows, err, scanBlueprint)
	if err != nil {
		return nil, fmt.Errorf("read blueprints: %w", err)
	}
	rows, err = q.Query(ctx, `SELECT id, blueprint_id, relation FROM catalog_blueprint_relations WHERE blueprint_id IN (`+in+`)`)
	type relationID struct {
		id, blueprint int64
		key           string
	}
	relations, err := store.All(rows, err, func(row store.Row) (r relationID, err error) {
		err = row.Scan(&r.id, &r.blueprint, &r.key)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the relations of blueprints: %w", err)
	}
	byID := map[int64]*Blueprint{}
	for _, b := range list {
		byID[b.id] = b
	}
	for _, r := range relations {
		if b := byID[r.blueprint]; b != nil {
			rel := b.Relations[r.key]
			rel.id = r.id
			b.Relations[r.key] = rel
		}
	}
	return list, nil
}

func scanBlueprint(row store.Row) (*Blueprint, error) {
	var id, revision, created, updated int64
	var identifier, definition, createdBy, updatedBy string
	if err := row.Scan(&id, &identifier, &definition, &revision, &created, &createdBy, &updated, &updatedBy); err != nil {
		return nil, err
	}
	b, err := parseBlueprint(json.RawMessage(definition))
	if err != nil {
		return nil, fmt.Errorf("blueprint %s as stored: %w", identifier, err)
	}
	b.id, b.Identifier, b.Revision = id, identifier, revision
	b.CreatedAt, b.CreatedBy, b.UpdatedAt, b.UpdatedBy = fromMillis(created), createdBy, fromMillis(updated), updatedBy
	return b, nil
}

// insertBlueprint stores a new blueprint and sets its id.
func insertBlueprint(ctx context.Context, tx *store.Tx, b *Blueprint) error {
	return tx.QueryRow(ctx, `INSERT INTO catalog_blueprints (identifier, definition, revision, refit, created_at, created_by, updated_at, updated_by)
		VALUES ($1, $2, $3, '', $4, $5, $6, $7) RETURNING id`,
		b.Identifier, string(b.Raw), b.Revision, millis(b.CreatedAt), b.CreatedBy, millis(b.UpdatedAt), b.UpdatedBy).Scan(&b.id)
}

// updateBlueprint stores a changed blueprint.
func updateBlueprint(ctx context.Context, tx *store.Tx, b *Blueprint) error {
	_, err := tx.Exec(ctx, `UPDATE catalog_blueprints SET identifier = $2, definition = $3, revision = $4, updated_at = $5, updated_by = $6
		WHERE id = $1`, b.id, b.Identifier, string(b.Raw), b.Revision, millis(b.UpdatedAt), b.UpdatedBy)
	return err
}

// loadRefit reads what is still to be done for the entities of a blueprint; found is false if
// that is nothing, or there is no such blueprint.
func loadRefit(ctx context.Context, q store.Querier, blueprint int64) (r refit, found bool, err error) {
	text, found, err := store.One(q.QueryRow(ctx, `SELECT refit FROM catalog_blueprints WHERE id = $1`, blueprint),
		func(row store.Row) (text string, err error) {
			err = row.Scan(&text)
			return text, err
		})
	if err != nil || !found || text == "" {
		return r, false, err
	}
	return r, true, json.Unmarshal([]byte(text), &r)
}

// saveRefit stores what is still to be done; nil is nothing.
func saveRefit(ctx context.Context, tx *store.Tx, blueprint int64, r *refit) error {
	text := ""
	if r != nil {
		b, err := encode(r)
		if err != nil {
			return err
		}
		text = string(b)
	}
	_, err := tx.Exec(ctx, `UPDATE catalog_blueprints SET refit = $2 WHERE id = $1`, blueprint, text)
	return err
}

func deleteBlueprintRow(ctx context.Context, tx *store.Tx, id int64) error {
	for _, stmt := range []string{
		`DELETE FROM catalog_blueprint_relations WHERE blueprint_id = $1`,
		`DELETE FROM catalog_aggregations WHERE key_id IN (SELECT id FROM catalog_value_keys WHERE blueprint_id = $1)`,
		`DELETE FROM catalog_value_keys WHERE blueprint_id = $1`,
		`DELETE FROM catalog_blueprints WHERE id = $1`,
	} {
		if _, err := tx.Exec(ctx, stmt, id); err != nil {
			return err
		}
	}
	return nil
}

// saveRelation stores a relation of a blueprint and returns its id.
func saveRelation(ctx context.Context, tx *store.Tx, blueprint int64, key string, target int64) (id int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO catalog_blueprint_relations (blueprint_id, relation, target) VALUES ($1, $2, $3) RETURNING id`,
		blueprint, key, target).Scan(&id)
	return id, err
}

func deleteRelation(ctx context.Context, tx *store.Tx, id int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM catalog_blueprint_relations WHERE id = $1`, id)
	return err
}

// lockBlueprint waits for transactions that store entities of a blueprint, and keeps others
// from it until the end of this one.
func lockBlueprint(ctx context.Context, tx *store.Tx, id int64) error {
	var n int64
	return tx.QueryRow(ctx, `SELECT id FROM catalog_blueprints WHERE id = $1`+tx.Dialect().ForUpdate(), id).Scan(&n)
}

// hasEntities says whether a blueprint has any.
func hasEntities(ctx context.Context, q store.Querier, blueprint int64) (bool, error) {
	_, found, err := store.One(q.QueryRow(ctx, `SELECT id FROM catalog_entities WHERE blueprint_id = $1 LIMIT 1`, blueprint), scanID)
	return found, err
}

// datasourceID returns the number of a User-Agent, giving it one if it has none.
func datasourceID(ctx context.Context, tx *store.Tx, datasource string) (int64, error) {
	const sel = `SELECT id FROM catalog_datasources WHERE datasource = $1`
	id, found, err := store.One(tx.QueryRow(ctx, sel, datasource), scanID)
	if found || err != nil {
		return id, err
	}
	if _, err := tx.Exec(ctx, `INSERT INTO catalog_datasources (datasource) VALUES ($1) ON CONFLICT (datasource) DO NOTHING`, datasource); err != nil {
		return 0, err
	}
	return scanID(tx.QueryRow(ctx, sel, datasource))
}

// argList collects the arguments of a statement.
type argList struct{ args []any }

// add returns the placeholder of a value.
func (a *argList) add(v any) string {
	a.args = append(a.args, v)
	return "$" + strconv.Itoa(len(a.args))
}
