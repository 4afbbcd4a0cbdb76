package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/internal/store"
)

// holdBlueprints keeps blueprints from being deleted until the transaction ends.
func holdBlueprints(ctx context.Context, tx *store.Tx, ids []int64) error {
	if tx.Dialect() != store.Postgres || len(ids) == 0 {
		return nil // SQLite has one writer
	}
	var a argList
	rows, err := tx.Query(ctx, `SELECT id FROM catalog_blueprints WHERE id`+a.in(tx.Dialect(), ids)+` ORDER BY id FOR KEY SHARE`, a.args...)
	found, err := store.All(rows, err, scanID)
	if err != nil {
		return fmt.Errorf("hold blueprints: %w", err)
	}
	if len(found) < len(ids) {
		return errMoved
	}
	return nil
}

// holdTargets keeps entities from being deleted until the transaction ends, and returns errMoved if
// one of them is gone.
func holdTargets(ctx context.Context, tx *store.Tx, ids []int64) error {
	lock := ""
	if tx.Dialect() == store.Postgres {
		lock = " ORDER BY id FOR KEY SHARE"
	}
	for chunk := range slices.Chunk(ids, rowsAtOnce) {
		var a argList
		rows, err := tx.Query(ctx, `SELECT id FROM catalog_entities WHERE id`+a.in(tx.Dialect(), chunk)+lock, a.args...)
		found, err := store.All(rows, err, scanID)
		if err != nil {
			return fmt.Errorf("hold related entities: %w", err)
		}
		if len(found) < len(chunk) {
			return errMoved
		}
	}
	return nil
}

// checkRevisions returns errMoved unless all entities have the revision wanted. With lock
// nobody else changes them, or points to them, before the transaction ends.
func checkRevisions(ctx context.Context, tx *store.Tx, want map[int64]int64, lock bool) error {
	forUpdate := ""
	if lock {
		forUpdate = tx.Dialect().ForUpdate()
	}
	for chunk := range slices.Chunk(sortedIDs(want), rowsAtOnce) {
		var a argList
		rows, err := tx.Query(ctx, `SELECT id, revision FROM catalog_entities WHERE id`+a.in(tx.Dialect(), chunk)+` ORDER BY id`+forUpdate, a.args...)
		found, err := store.All(rows, err, func(row store.Row) (p [2]int64, err error) {
			err = row.Scan(&p[0], &p[1])
			return p, err
		})
		if err != nil {
			return fmt.Errorf("check entities: %w", err)
		}
		if len(found) < len(chunk) {
			return errMoved
		}
		for _, p := range found {
			if want[p[0]] != p[1] {
				return errMoved
			}
		}
	}
	return nil
}

// upsertEntities writes rows of entities and sets the ids of new ones. source is the number of
// the datasource, that of the batch's writer. It returns errMoved if one is not of the revision that it
// was read with, or there though it was not.
func upsertEntities(ctx context.Context, tx *store.Tx, datasource string, source int64, nodes []*node) error {
	columns, err := entityColumns(datasource, source, nodes)
	if err != nil {
		return err
	}
	query, args := insertInto(tx.Dialect(), "catalog_entities", columns)
	rows, err := tx.Query(ctx, query+` ON CONFLICT (blueprint_id, identifier) DO UPDATE SET title = excluded.title, icon = excluded.icon,
		team = excluded.team, properties = excluded.properties, datasource_id = excluded.datasource_id, revision = excluded.revision,
		created_at = excluded.created_at, created_by = excluded.created_by, updated_at = excluded.updated_at, updated_by = excluded.updated_by,
		cause = excluded.cause WHERE catalog_entities.revision = excluded.revision - 1 RETURNING id, blueprint_id, identifier`, args...)
	written, err := store.All(rows, err, func(row store.Row) (r entityRow, err error) {
		err = row.Scan(&r.id, &r.blueprintID, &r.identifier)
		return r, err
	})
	if err != nil {
		return fmt.Errorf("write entities: %w", err)
	}
	if len(written) < len(nodes) {
		return errMoved
	}
	byKey := make(map[nodeKey]*node, len(nodes))
	for _, n := range nodes {
		byKey[nodeKey{n.blueprint.id, n.identifier}] = n
	}
	for _, r := range written {
		n := byKey[nodeKey{r.blueprintID, r.identifier}]
		if n.id != 0 && n.id != r.id {
			return errMoved
		}
		n.id = r.id
	}
	return nil
}

// entityColumns are the rows of entities.
func entityColumns(datasource string, source int64, nodes []*node) ([]column, error) {
	texts := func(name string, of func(n *node, s *state) *string) column {
		c := column{name: name, texts: make([]*string, len(nodes))}
		for i, n := range nodes {
			c.texts[i] = of(n, n.after)
		}
		return c
	}
	ints := func(name string, of func(n *node, s *state) int64) column {
		c := column{name: name, ints: make([]int64, len(nodes))}
		for i, n := range nodes {
			c.ints[i] = of(n, n.after)
		}
		return c
	}
	var errs []error
	asJSON := func(v any) *string {
		text, err := encode(v)
		errs = append(errs, err)
		return new(string(text))
	}
	columns := []column{
		ints("blueprint_id", func(n *node, _ *state) int64 { return n.blueprint.id }),
		texts("identifier", func(n *node, _ *state) *string { return &n.identifier }),
		texts("title", func(_ *node, s *state) *string { return s.title }),
		texts("icon", func(_ *node, s *state) *string { return s.icon }),
		texts("team", func(_ *node, s *state) *string { return asJSON(append([]string{}, s.team...)) }),
		texts("properties", func(_ *node, s *state) *string {
			if s.text == "" {
				errs = append(errs, s.encodeProperties())
			}
			return &s.text
		}),
		ints("datasource_id", func(_ *node, s *state) int64 {
			if s.datasource == datasource && source != 0 {
				return source
			}
			return s.datasourceID
		}),
		ints("revision", func(_ *node, s *state) int64 { return s.revision }),
		ints("created_at", func(_ *node, s *state) int64 { return millis(s.createdAt) }),
		texts("created_by", func(_ *node, s *state) *string { return &s.createdBy }),
		ints("updated_at", func(_ *node, s *state) int64 { return millis(s.updatedAt) }),
		texts("updated_by", func(_ *node, s *state) *string { return &s.updatedBy }),
		texts("cause", func(_ *node, s *state) *string { return asJSON(s.cause) }),
	}
	return columns, errors.Join(errs...)
}

// renameEntity gives a row another identifier, or returns errMoved if its revision is another.
func renameEntity(ctx context.Context, tx *store.Tx, id, revision int64, identifier string) error {
	res, err := tx.Exec(ctx, `UPDATE catalog_entities SET identifier = $1 WHERE id = $2 AND revision = $3`, identifier, id, revision)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		err = errMoved
	}
	return err
}

// deleteEntities deletes rows of entities and all relations from and to them.
func deleteEntities(ctx context.Context, tx *store.Tx, ids []int64) error {
	for chunk := range slices.Chunk(ids, rowsAtOnce) {
		for _, end := range []string{"source_id", "target_id"} {
			var a argList
			if _, err := tx.Exec(ctx, `DELETE FROM catalog_relations WHERE `+end+a.in(tx.Dialect(), chunk), a.args...); err != nil {
				return fmt.Errorf("delete relations of entities: %w", err)
			}
		}
	}
	for chunk := range slices.Chunk(ids, rowsAtOnce) {
		var a argList
		if _, err := tx.Exec(ctx, `DELETE FROM catalog_entities WHERE id`+a.in(tx.Dialect(), chunk), a.args...); err != nil {
			return fmt.Errorf("delete entities: %w", err)
		}
	}
	return nil
}

func deleteEdges(ctx context.Context, tx *store.Tx, edges []edge) error {
	for chunk := range slices.Chunk(edges, rowsAtOnce) {
		rows, args := rowsOf(tx.Dialect(), edgeColumns(chunk)[:3])
		if _, err := tx.Exec(ctx, `DELETE FROM catalog_relations WHERE (source_id, relation_id, target_id) IN (`+rows+`)`, args...); err != nil {
			return fmt.Errorf("delete relations: %w", err)
		}
	}
	return nil
}

func insertEdges(ctx context.Context, tx *store.Tx, edges []edge) error {
	for chunk := range slices.Chunk(edges, rowsAtOnce) {
		query, args := insertInto(tx.Dialect(), "catalog_relations", edgeColumns(chunk))
		_, err := tx.Exec(ctx, query+` ON CONFLICT (source_id, relation_id, target_id) DO UPDATE SET position = excluded.position`, args...)
		if err != nil {
			return fmt.Errorf("write relations: %w", err)
		}
	}
	return nil
}

func edgeColumns(edges []edge) []column {
	columns := []column{{name: "source_id"}, {name: "relation_id"}, {name: "target_id"}, {name: "position"}}
	for _, e := range edges {
		for i, v := range []int64{e.source, e.relation, e.target, e.position} {
			columns[i].ints = append(columns[i].ints, v)
		}
	}
	return columns
}
