package catalog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// entityRows is how many rows of entities one statement writes.
	entityRows = 50
	// edgeRows is how many relations one statement writes.
	edgeRows = 500
)

// holdBlueprints keeps blueprints from being deleted until the transaction ends.
func holdBlueprints(ctx context.Context, tx *store.Tx, ids []int64) error {
	if tx.Dialect() != store.Postgres || len(ids) == 0 {
		return nil // SQLite has one writer
	}
	rows, err := tx.Query(ctx, `SELECT id FROM catalog_blueprints WHERE id IN (`+store.IDList(ids)+`) ORDER BY id FOR KEY SHARE`)
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
	for chunk := range slices.Chunk(ids, edgeRows) {
		rows, err := tx.Query(ctx, `SELECT id FROM catalog_entities WHERE id IN (`+store.IDList(chunk)+`)`+lock)
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
	for chunk := range slices.Chunk(sortedIDs(want), edgeRows) {
		rows, err := tx.Query(ctx, `SELECT id, revision FROM catalog_entities WHERE id IN (`+store.IDList(chunk)+`) ORDER BY id`+forUpdate)
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
// the datasource, that of the batch's writer. It returns errMoved if one is not of the revision that it was read with, or there though it was not.
func upsertEntities(ctx context.Context, tx *store.Tx, datasource string, source int64, nodes []*node) error {
	var a argList
	var q strings.Builder
	q.WriteString(`INSERT INTO catalog_entities (blueprint_id, identifier, title, icon, team, properties, datasource_id, revision,
		created_at, created_by, updated_at, updated_by, cause) VALUES `)
	byKey := make(map[nodeKey]*node, len(nodes))
	for i, n := range nodes {
		byKey[nodeKey{n.blueprint.id, n.identifier}] = n
		s := n.after
		if s.text == "" {
			if err := s.encodeProperties(); err != nil {
				return err
			}
		}
		team, err := encode(s.team)
		if err != nil {
			return err
		}
		if s.team == nil {
			team = []byte("[]")
		}
		cause, err := encode(s.cause)
		if err != nil {
			return err
		}
		of := s.datasourceID
		if s.datasource == datasource && source != 0 {
			of = source
		}
		if i > 0 {
			q.WriteString(", ")
		}
		fmt.Fprintf(&q, "(%d, %s, %s, %s, %s, %s, %d, %d, %d, %s, %d, %s, %s)", n.blueprint.id, a.text(n.identifier), a.optional(s.title), a.optional(s.icon),
			a.text(string(team)), a.text(s.text), of, s.revision, millis(s.createdAt), a.text(s.createdBy), millis(s.updatedAt), a.text(s.updatedBy), a.text(string(cause)))
	}
	q.WriteString(` ON CONFLICT (blueprint_id, identifier) DO UPDATE SET title = excluded.title, icon = excluded.icon, team = excluded.team,
		properties = excluded.properties, datasource_id = excluded.datasource_id, revision = excluded.revision, created_at = excluded.created_at,
		created_by = excluded.created_by, updated_at = excluded.updated_at, updated_by = excluded.updated_by, cause = excluded.cause
		WHERE catalog_entities.revision = excluded.revision - 1 RETURNING id, blueprint_id, identifier`)
	rows, err := tx.Query(ctx, q.String(), a.args...)
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
	for _, r := range written {
		n := byKey[nodeKey{r.blueprintID, r.identifier}]
		if n.id != 0 && n.id != r.id {
			return errMoved
		}
		n.id = r.id
	}
	return nil
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
	for chunk := range slices.Chunk(ids, edgeRows) {
		in := store.IDList(chunk)
		for _, stmt := range []string{
			`DELETE FROM catalog_relations WHERE source_id IN (` + in + `)`,
			`DELETE FROM catalog_relations WHERE target_id IN (` + in + `)`,
		} {
			if _, err := tx.Exec(ctx, stmt); err != nil {
				return fmt.Errorf("delete relations of entities: %w", err)
			}
		}
	}
	for chunk := range slices.Chunk(ids, edgeRows) {
		if _, err := tx.Exec(ctx, `DELETE FROM catalog_entities WHERE id IN (`+store.IDList(chunk)+`)`); err != nil {
			return fmt.Errorf("delete entities: %w", err)
		}
	}
	return nil
}

func deleteEdges(ctx context.Context, tx *store.Tx, edges []edge) error {
	for chunk := range slices.Chunk(edges, edgeRows) {
		if _, err := tx.Exec(ctx, `DELETE FROM catalog_relations WHERE (source_id, relation_id, target_id) IN (VALUES `+triples(chunk, false)+`)`); err != nil {
			return fmt.Errorf("delete relations: %w", err)
		}
	}
	return nil
}

func insertEdges(ctx context.Context, tx *store.Tx, edges []edge) error {
	for chunk := range slices.Chunk(edges, edgeRows) {
		_, err := tx.Exec(ctx, `INSERT INTO catalog_relations (source_id, relation_id, target_id, position) VALUES `+triples(chunk, true)+
			` ON CONFLICT (source_id, relation_id, target_id) DO UPDATE SET position = excluded.position`)
		if err != nil {
			return fmt.Errorf("write relations: %w", err)
		}
	}
	return nil
}

// triples are relations as rows of VALUES.
func triples(edges []edge, position bool) string {
	b := make([]byte, 0, 40*len(edges))
	for i, e := range edges {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(b, '('), e.source, 10)
		b = strconv.AppendInt(append(b, ','), e.relation, 10)
		b = strconv.AppendInt(append(b, ','), e.target, 10)
		if position {
			b = strconv.AppendInt(append(b, ','), e.position, 10)
		}
		b = append(b, ')')
	}
	return string(b)
}
