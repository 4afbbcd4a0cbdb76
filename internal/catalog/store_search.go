package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// idsAtOnce bounds the ids that one statement lists.
const idsAtOnce = 500

// maxLinks bounds the links that one statement reads.
const maxLinks = 500_000

// link joins an entity to another one by a relation.
type link struct{ near, far, relation int64 }

// linksOf reads what entities point to, or with forward unset what points to them, by relations. The
// blueprint of the other end is that of the relation; to ask for it here would have PostgreSQL
// read all entities where it expects many links. There are at most maxLinks and one more.
// toMany are those of the relations that are to many; of others only the first link counts, the rest is
// of when they were.
func linksOf(ctx context.Context, q store.Querier, ids, relations, toMany []int64, forward bool) ([]link, error) {
	near, far := "source_id", "target_id"
	if !forward {
		near, far = far, near
	}
	var a argList
	where := ` WHERE ` + near + a.in(q.Dialect(), ids) + ` AND relation_id` + a.in(q.Dialect(), relations)
	if len(toMany) < len(relations) {
		where += ` AND (relation_id` + a.in(q.Dialect(), toMany) + ` OR position = 0)`
	}
	where += ` LIMIT ` + a.add(maxLinks+1)
	rows, err := q.Query(ctx, `SELECT `+near+`, `+far+`, relation_id FROM catalog_relations`+where, a.args...)
	list, err := store.All(rows, err, func(row store.Row) (l link, err error) {
		return l, row.Scan(&l.near, &l.far, &l.relation)
	})
	if err != nil {
		return nil, fmt.Errorf("follow relations: %w", err)
	}
	return list, nil
}

// source selects ids of entities by an index: a superset of those that satisfy a condition.
type source struct {
	// ids, where there is no statement.
	ids []int64
	// query is a SELECT of one column; args are its arguments.
	query string
	args  []any
	// slow: it has to read a whole index to find a few.
	slow bool
}

// count returns how many there are, or one more than the most.
func (s *source) count(ctx context.Context, q store.Querier, most int) (int, error) {
	if s.query == "" {
		return len(s.ids), nil
	}
	var n int
	a := argList{args: slices.Clip(s.args)}
	err := q.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM (`+s.query+`) AS one LIMIT `+a.add(most+1)+`) AS found`, a.args...).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("ask how selective a rule is: %w", err)
	}
	return n, nil
}

// read returns the ids.
func (s *source) read(ctx context.Context, q store.Querier) ([]int64, error) {
	if s.query == "" {
		return s.ids, nil
	}
	rows, err := q.Query(ctx, s.query, s.args...)
	list, err := store.All(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("read an index: %w", err)
	}
	return list, nil
}

// keyRange is a part of the index of values: from and to are in it.
type keyRange struct{ from, to string }

// readSome returns so many of the ids at most.
func (s *source) readSome(ctx context.Context, q store.Querier, most int) ([]int64, error) {
	a := argList{args: slices.Clip(s.args)}
	rows, err := q.Query(ctx, `SELECT * FROM (`+s.query+`) AS found LIMIT `+a.add(most), a.args...)
	list, err := store.All(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("read an index: %w", err)
	}
	return list, nil
}

// valueSource selects the entities that have one of the values, or one in the ranges, or
// values that are not indexed.
func valueSource(d store.Dialect, key int64, values []string, ranges []keyRange) source {
	a := argList{}
	k := a.add(key)
	var q strings.Builder
	q.WriteString(`SELECT entity_id FROM catalog_values WHERE key_id = ` + k + ` AND value` + a.inTexts(d, append(values, indexMore)))
	for _, r := range ranges {
		q.WriteString(` UNION ALL SELECT entity_id FROM catalog_values WHERE key_id = ` + k + ` AND value >= ` + a.add(r.from) + ` AND value <= ` + a.add(r.to))
	}
	return source{query: q.String(), args: a.args}
}

// textSource selects the entities that have a text with the part in it, at its end or anywhere.
func textSource(d store.Dialect, key int64, part string, atEnd bool) source {
	a := argList{}
	k, p := a.add(key), a.add(part)
	var has string
	switch {
	case atEnd:
		has = `substr(value, -length(` + p + `)) = ` + p
		if d == store.Postgres {
			has = `right(value, length(` + p + `)) = ` + p
		}
	case d == store.Postgres:
		has = `strpos(value, ` + p + `) > 0`
	default:
		has = `instr(value, ` + p + `) > 0`
	}
	return source{slow: true, args: a.args, query: `SELECT entity_id FROM catalog_values WHERE key_id = ` + k + ` AND value >= '` + indexText + `' AND value < '` + indexTextEnd + `' AND ` + has +
		` UNION ALL SELECT entity_id FROM catalog_values WHERE key_id = ` + k + ` AND value IN ('` + indexMore + `', '` + indexLong + `')`}
}

// identifierSource selects entities by their identifiers, or by what they begin with.
func identifierSource(d store.Dialect, blueprint int64, identifiers []string, prefix string) source {
	a := argList{}
	where := `SELECT id FROM catalog_entities WHERE blueprint_id = ` + a.add(blueprint)
	if prefix != "" {
		where += ` AND identifier >= ` + a.add(prefix) + ` AND identifier < ` + a.add(store.PrefixEnd(prefix))
	} else {
		where += ` AND identifier` + a.inTexts(d, identifiers)
	}
	return source{query: where, args: a.args}
}

// timeSource selects entities by created_at or updated_at, in unix milliseconds, both ends in it.
func timeSource(blueprint int64, column string, from, to int64) source {
	a := argList{}
	return source{query: `SELECT id FROM catalog_entities WHERE blueprint_id = ` + a.add(blueprint) +
		` AND ` + column + ` >= ` + a.add(from) + ` AND ` + column + ` <= ` + a.add(to), args: a.args}
}

// datasourceSource selects entities by the writers that wrote them last.
func datasourceSource(d store.Dialect, blueprint int64, datasources []int64) source {
	a := argList{}
	return source{query: `SELECT id FROM catalog_entities WHERE blueprint_id = ` + a.add(blueprint) +
		` AND datasource_id` + a.in(d, datasources), args: a.args}
}

// relationSource selects the entities that point to one of others by a relation.
func relationSource(d store.Dialect, relation, target int64, identifiers []string) source {
	a := argList{}
	return source{query: `SELECT r.source_id FROM catalog_entities t JOIN catalog_relations r ON r.target_id = t.id AND r.relation_id = ` + a.add(relation) +
		` WHERE t.blueprint_id = ` + a.add(target) + ` AND t.identifier` + a.inTexts(d, identifiers), args: a.args}
}

type datasource struct {
	id   int64
	name string
}

func datasources(ctx context.Context, q store.Querier) ([]datasource, error) {
	rows, err := q.Query(ctx, `SELECT id, datasource FROM catalog_datasources ORDER BY id`)
	list, err := store.All(rows, err, func(row store.Row) (d datasource, err error) {
		return d, row.Scan(&d.id, &d.name)
	})
	if err != nil {
		return nil, fmt.Errorf("list the datasources: %w", err)
	}
	return list, nil
}

// countDatasources says whether there is a datasource, and how many there are.
func countDatasources(ctx context.Context, q store.Querier, name string) (found bool, n int, err error) {
	err = q.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM catalog_datasources WHERE datasource = $1), (SELECT COUNT(*) FROM catalog_datasources)`, name).Scan(&found, &n)
	return found, n, err
}

func scanCandidate(b *Blueprint) func(store.Row) (*candidate, error) {
	return func(row store.Row) (*candidate, error) {
		r, err := scanEntity(row)
		if err != nil {
			return nil, err
		}
		e := &candidate{row: r, of: b, Entity: Entity{
			Blueprint: b.Identifier, Identifier: r.identifier, Title: r.title, Icon: r.icon, Datasource: r.datasource,
			CreatedAt: fromMillis(r.createdAt), CreatedBy: r.createdBy, UpdatedAt: fromMillis(r.updatedAt), UpdatedBy: r.updatedBy,
			id: r.id, blueprintID: b.id,
		}}
		if r.team != "[]" {
			if err := json.Unmarshal([]byte(r.team), &e.Team); err != nil {
				return nil, fmt.Errorf("read the team of entity %s: %w", e.Identifier, err)
			}
		}
		return e, nil
	}
}

// candidatesByID reads entities of a blueprint after one in their order, in no order; those of
// others are left out. Here and not in SQL, where an index of them would seem better to SQLite.
func candidatesByID(ctx context.Context, q store.Querier, b *Blueprint, ids []int64, after string) ([]*candidate, error) {
	var a argList
	rows, err := q.Query(ctx, selectEntity+`WHERE e.id`+a.in(q.Dialect(), ids), a.args...)
	list, err := store.All(rows, err, scanCandidate(b))
	return slices.DeleteFunc(list, func(e *candidate) bool { return e.row.blueprintID != b.id || e.Identifier <= after }), err
}

// candidatesAfter reads entities of a blueprint in the order of their identifiers.
func candidatesAfter(ctx context.Context, q store.Querier, b *Blueprint, after string, limit int) ([]*candidate, error) {
	rows, err := q.Query(ctx, selectEntity+`WHERE e.blueprint_id = $1 AND e.identifier > $2 ORDER BY e.identifier LIMIT $3`, b.id, after, limit)
	return store.All(rows, err, scanCandidate(b))
}

// named is an entity's id and identifier.
type named struct {
	id         int64
	identifier string
}

// identifiersByID reads the identifiers of entities of a blueprint, of those after one given.
func identifiersByID(ctx context.Context, q store.Querier, blueprint int64, ids []int64, after string) ([]named, error) {
	var all []named
	err := inChunks(ids, idsAtOnce, func(chunk []int64) error {
		var a argList
		rows, err := q.Query(ctx, `SELECT id, blueprint_id, identifier FROM catalog_entities WHERE id`+a.in(q.Dialect(), chunk), a.args...)
		_, err = store.All(rows, err, func(row store.Row) (none struct{}, err error) {
			var n named
			var of int64
			if err := row.Scan(&n.id, &of, &n.identifier); err != nil {
				return none, err
			}
			if of == blueprint && n.identifier > after {
				all = append(all, n)
			}
			return none, nil
		})
		return err
	})
	return all, err
}

// aggregatesOf reads aggregation properties of entities, by entity and key.
func aggregatesOf(ctx context.Context, q store.Querier, ids []int64) (map[int64]map[int64]float64, error) {
	all := map[int64]map[int64]float64{}
	err := inChunks(ids, idsAtOnce, func(chunk []int64) error {
		var a argList
		rows, err := q.Query(ctx, `SELECT entity_id, key_id, value FROM catalog_aggregates WHERE entity_id`+a.in(q.Dialect(), chunk), a.args...)
		_, err = store.All(rows, err, func(row store.Row) (none struct{}, err error) {
			var entity, key int64
			var value float64
			if err := row.Scan(&entity, &key, &value); err != nil {
				return none, err
			}
			if all[entity] == nil {
				all[entity] = map[int64]float64{}
			}
			all[entity][key] = value
			return none, nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read aggregation properties: %w", err)
	}
	return all, nil
}

// entitiesOfWriter returns the places of entities after one, of its writer, in order.
func entitiesOfWriter(ctx context.Context, q store.Querier, after datasourcePlace, before time.Time, limit int) ([]datasourcePlace, error) {
	a := argList{}
	where := `datasource_id = ` + a.add(after.writer) + ` AND (blueprint_id, id) > (` + a.add(after.blueprint) + `, ` + a.add(after.entity) + `)`
	if !before.IsZero() {
		where += ` AND updated_at < ` + a.add(before.UnixMilli())
	}
	rows, err := q.Query(ctx, `SELECT datasource_id, blueprint_id, id FROM catalog_entities WHERE `+where+` ORDER BY blueprint_id, id LIMIT `+a.add(limit), a.args...)
	list, err := store.All(rows, err, func(row store.Row) (p datasourcePlace, err error) {
		return p, row.Scan(&p.writer, &p.blueprint, &p.entity)
	})
	if err != nil {
		return nil, fmt.Errorf("list entities by their writer: %w", err)
	}
	return list, nil
}

func countEntities(ctx context.Context, q store.Querier, blueprint int64) (n int, err error) {
	err = q.QueryRow(ctx, `SELECT COUNT(*) FROM catalog_entities WHERE blueprint_id = $1`, blueprint).Scan(&n)
	return n, err
}

// hasMore says whether a blueprint has more entities than so many.
func hasMore(ctx context.Context, q store.Querier, blueprint int64, most int) (bool, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM catalog_entities WHERE blueprint_id = $1 LIMIT $2) AS found`, blueprint, most+1).Scan(&n)
	return n > most, err
}
