package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// changeRow is a change as it is stored.
type changeRow struct {
	Change
	cause, fields string
}

func (c Change) row() (changeRow, error) {
	cause, err := encode(c.Cause)
	if err != nil {
		return changeRow{}, err
	}
	fields, err := encode(c.Fields)
	return changeRow{c, string(cause), string(fields)}, err
}

// insertChanges writes entries of the history, all of one datasource.
func insertChanges(ctx context.Context, tx *store.Tx, datasource int64, list []changeRow) error {
	for chunk := range rowChunks(tx.Dialect(), list, func(c changeRow) int { return len(c.cause) + len(c.fields) }) {
		query, args := insertInto(tx.Dialect(), "catalog_changes", changeColumns(datasource, chunk))
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return fmt.Errorf("write the history: %w", err)
		}
	}
	return nil
}

func changeColumns(datasource int64, list []changeRow) []column {
	var (
		resource, blueprint, identifier, action = column{name: "resource"}, column{name: "blueprint"}, column{name: "identifier"}, column{name: "action"}
		by, cause, fields                       = column{name: "changed_by"}, column{name: "cause"}, column{name: "fields"}
		of, at, source                          = column{name: "blueprint_id"}, column{name: "at"}, column{name: "datasource_id"}
	)
	for i := range list {
		c := &list[i]
		for _, v := range []struct {
			in *column
			s  *string
		}{{&resource, &c.Resource}, {&blueprint, &c.Blueprint}, {&identifier, &c.Identifier}, {&action, &c.Action}, {&by, &c.By}, {&cause, &c.cause}, {&fields, &c.fields}} {
			v.in.texts = append(v.in.texts, v.s)
		}
		of.ints, at.ints, source.ints = append(of.ints, c.blueprintID), append(at.ints, millis(c.At)), append(source.ints, datasource)
	}
	return []column{resource, of, blueprint, identifier, action, at, by, source, cause, fields}
}

const selectChange = `SELECT c.id, c.resource, c.blueprint, c.identifier, c.action, c.at, c.changed_by, d.datasource, c.cause, c.fields
	FROM catalog_changes c LEFT JOIN catalog_datasources d ON d.id = c.datasource_id `

func scanChange(row store.Row) (Change, error) {
	var c Change
	var at int64
	var datasource *string
	var cause, fields string
	if err := row.Scan(&c.ID, &c.Resource, &c.Blueprint, &c.Identifier, &c.Action, &at, &c.By, &datasource, &cause, &fields); err != nil {
		return c, err
	}
	c.At = fromMillis(at)
	if datasource != nil {
		c.Datasource = *datasource
	}
	if err := json.Unmarshal([]byte(cause), &c.Cause); err != nil {
		return c, err
	}
	err := json.Unmarshal([]byte(fields), &c.Fields)
	return c, err
}

func listEntityChanges(ctx context.Context, q store.Querier, blueprint int64, identifier string, before int64, limit int) ([]Change, error) {
	rows, err := q.Query(ctx, selectChange+`WHERE c.blueprint_id = $1 AND c.identifier = $2 AND c.resource = 'entity' AND ($3 = 0 OR c.id < $3)
		ORDER BY c.id DESC LIMIT $4`, blueprint, identifier, before, limit)
	return store.All(rows, err, scanChange)
}

// listChanges lists the history by time. What is in the cause is looked at in each
// entry of the time given.
func listChanges(ctx context.Context, q store.Querier, f ChangeFilter) ([]Change, error) {
	var a argList
	var where strings.Builder
	where.WriteString("WHERE 1 = 1")
	if f.blueprintID != 0 {
		where.WriteString(" AND c.blueprint_id = " + a.add(f.blueprintID))
		f.Blueprint = ""
	}
	for _, v := range []struct{ column, text string }{ // in one order: a statement's text is remembered by PostgreSQL
		{"c.resource", f.Resource}, {"c.blueprint", f.Blueprint}, {"c.identifier", f.Identifier}, {"c.action", f.Action}, {"c.changed_by", f.By},
	} {
		if v.text != "" {
			where.WriteString(" AND " + v.column + " = " + a.add(v.text))
		}
	}
	if f.RunID != "" {
		where.WriteString(" AND " + causeMember(q, "run_id") + " = " + a.add(f.RunID))
	}
	if f.Origin != "" {
		where.WriteString(" AND " + causeMember(q, "origin") + a.inTexts(q.Dialect(), strings.Split(f.Origin, ",")))
	}
	if !f.From.IsZero() {
		where.WriteString(" AND c.at >= " + a.add(millis(f.From)))
	}
	if !f.To.IsZero() {
		where.WriteString(" AND c.at <= " + a.add(millis(f.To)))
	}
	if f.Before > 0 {
		where.WriteString(" AND c.id < " + a.add(f.Before))
	}
	where.WriteString(" ORDER BY c.id DESC LIMIT " + a.add(f.Limit))
	rows, err := q.Query(ctx, selectChange+where.String(), a.args...)
	return store.All(rows, err, scanChange)
}

// causeMember is the expression of a member of an entry's cause.
func causeMember(q store.Querier, key string) string {
	if q.Dialect() == store.Postgres {
		return "(c.cause::json ->> '" + key + "')"
	}
	return "json_extract(c.cause, '$." + key + "')"
}

// oldChanges reads which entries are older than the time, the oldest first: at most limit, and at
// most so many bytes unless one alone has more.
func oldChanges(ctx context.Context, q store.Querier, before time.Time, limit, bytes int) (ids []int64, err error) {
	rows, err := q.Query(ctx, `SELECT id, octet_length(fields) FROM catalog_changes WHERE at < $1 ORDER BY at LIMIT $2`, millis(before), limit)
	_, err = store.All(rows, err, func(row store.Row) (none struct{}, err error) {
		var id int64
		var size int
		if err := row.Scan(&id, &size); err != nil {
			return none, err
		}
		if bytes -= size; bytes >= 0 || len(ids) == 0 {
			ids = append(ids, id)
		}
		return none, nil
	})
	return ids, err
}

func deleteChanges(ctx context.Context, tx *store.Tx, ids []int64) error {
	var a argList
	_, err := tx.Exec(ctx, `DELETE FROM catalog_changes WHERE id`+a.in(tx.Dialect(), ids), a.args...)
	return err
}
