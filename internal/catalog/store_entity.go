package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// entityRow is an entity as its row has it.
type entityRow struct {
	id, blueprintID      int64
	identifier           string
	title, icon          *string
	team, properties     string
	datasourceID         int64
	datasource           string
	revision             int64
	createdAt, updatedAt int64
	createdBy, updatedBy string
	cause                string
}

const selectEntity = `SELECT e.id, e.blueprint_id, e.identifier, e.title, e.icon, e.team, e.properties, e.datasource_id, d.datasource,
	e.revision, e.created_at, e.created_by, e.updated_at, e.updated_by, e.cause
	FROM catalog_entities e LEFT JOIN catalog_datasources d ON d.id = e.datasource_id `

func scanEntity(row store.Row) (r entityRow, err error) {
	var datasource *string
	err = row.Scan(&r.id, &r.blueprintID, &r.identifier, &r.title, &r.icon, &r.team, &r.properties, &r.datasourceID, &datasource,
		&r.revision, &r.createdAt, &r.createdBy, &r.updatedAt, &r.updatedBy, &r.cause)
	if datasource != nil {
		r.datasource = *datasource
	}
	return r, err
}

// state decodes a row, but for the relations. Values of properties that the blueprint does
// not have, or not with that type, are left out: it was changed, and its entities
// are still being brought into line.
func (r *entityRow) state(b *Blueprint) (*state, error) {
	s := &state{
		title: r.title, icon: r.icon, relations: map[string][]*node{}, datasource: r.datasource, datasourceID: r.datasourceID,
		revision:  r.revision,
		createdAt: fromMillis(r.createdAt), createdBy: r.createdBy, updatedAt: fromMillis(r.updatedAt), updatedBy: r.updatedBy,
	}
	for _, f := range []struct {
		text string
		into any
	}{{r.team, &s.team}, {r.properties, &s.properties}, {r.cause, &s.cause}} {
		if err := json.Unmarshal([]byte(f.text), f.into); err != nil {
			return nil, fmt.Errorf("read entity %s of blueprint %s: %w", r.identifier, b.Identifier, err)
		}
	}
	for key, v := range s.properties {
		if p, there := b.Properties[key]; !there || !p.takes(v) {
			delete(s.properties, key)
			if s.hidden == nil {
				s.hidden = map[string]any{}
			}
			s.hidden[key] = v
		}
	}
	return s, nil
}

// takes says whether a value is of the property's type.
func (p *Property) takes(v any) bool {
	switch v.(type) {
	case nil:
		return true
	case string:
		return p.Type == "string"
	case float64:
		return p.Type == "number"
	case bool:
		return p.Type == "boolean"
	case []any:
		return p.Type == "array"
	case map[string]any:
		return p.Type == "object"
	}
	return false
}

// entitiesByName reads entities of a blueprint.
func entitiesByName(ctx context.Context, q store.Querier, blueprint int64, identifiers []string) ([]entityRow, error) {
	var a argList
	where := `WHERE e.blueprint_id = ` + a.add(blueprint) + ` AND e.identifier` + a.inTexts(q.Dialect(), identifiers)
	rows, err := q.Query(ctx, selectEntity+where, a.args...)
	list, err := store.All(rows, err, scanEntity)
	if err != nil {
		return nil, fmt.Errorf("read entities: %w", err)
	}
	return list, nil
}

// entitiesByID reads entities in no order.
func entitiesByID(ctx context.Context, q store.Querier, ids []int64) ([]entityRow, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var a argList
	rows, err := q.Query(ctx, selectEntity+`WHERE e.id`+a.in(q.Dialect(), ids), a.args...)
	list, err := store.All(rows, err, scanEntity)
	if err != nil {
		return nil, fmt.Errorf("read entities: %w", err)
	}
	return list, nil
}

// entityRowsAfter reads entities of a blueprint in the order of their identifiers.
func entityRowsAfter(ctx context.Context, q store.Querier, blueprint int64, after string, limit int) ([]entityRow, error) {
	rows, err := q.Query(ctx, selectEntity+`WHERE e.blueprint_id = $1 AND e.identifier > $2 ORDER BY e.identifier LIMIT $3`, blueprint, after, limit)
	list, err := store.All(rows, err, scanEntity)
	if err != nil {
		return nil, fmt.Errorf("read entities: %w", err)
	}
	return list, nil
}

// entityIDs returns the ids of the entities of a blueprint that are there.
func entityIDs(ctx context.Context, q store.Querier, blueprint int64, identifiers []string) (map[string]int64, error) {
	var a argList
	where := ` WHERE blueprint_id = ` + a.add(blueprint) + ` AND identifier` + a.inTexts(q.Dialect(), identifiers)
	rows, err := q.Query(ctx, `SELECT id, identifier FROM catalog_entities`+where, a.args...)
	list, err := store.All(rows, err, func(row store.Row) (r entityRow, err error) {
		err = row.Scan(&r.id, &r.identifier)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("find entities: %w", err)
	}
	ids := make(map[string]int64, len(list))
	for _, r := range list {
		ids[r.identifier] = r.id
	}
	return ids, nil
}

// targetRow is a relation of an entity and what it points to.
type targetRow struct {
	source, relation, target int64
	targetBlueprint          int64
	targetIdentifier         string
}

// relationsOf reads the relations of entities, each in its order, with those that their
// blueprint has no longer.
func relationsOf(ctx context.Context, q store.Querier, ids []int64) ([]targetRow, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var a argList
	rows, err := q.Query(ctx, `SELECT r.source_id, r.relation_id, r.target_id, t.blueprint_id, t.identifier
		FROM catalog_relations r JOIN catalog_entities t ON t.id = r.target_id
		WHERE r.source_id`+a.in(q.Dialect(), ids)+` ORDER BY r.source_id, r.relation_id, r.position`, a.args...)
	list, err := store.All(rows, err, func(row store.Row) (r targetRow, err error) {
		err = row.Scan(&r.source, &r.relation, &r.target, &r.targetBlueprint, &r.targetIdentifier)
		return r, err
	})
	if err != nil {
		return nil, fmt.Errorf("read relations: %w", err)
	}
	return list, nil
}

// edgesTo reads what points to entities, at most limit.
func edgesTo(ctx context.Context, q store.Querier, ids []int64, limit int) ([]edge, error) {
	var a argList
	rows, err := q.Query(ctx, `SELECT source_id, relation_id, target_id FROM catalog_relations
		WHERE target_id`+a.in(q.Dialect(), ids)+` LIMIT `+a.add(limit), a.args...)
	list, err := store.All(rows, err, func(row store.Row) (e edge, err error) {
		err = row.Scan(&e.source, &e.relation, &e.target)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what points to entities: %w", err)
	}
	return list, nil
}

// edgesFrom reads what points to an entity, in order, after the relation given.
func edgesFrom(ctx context.Context, q store.Querier, target int64, after edge, limit int) ([]edge, error) {
	rows, err := q.Query(ctx, `SELECT source_id, relation_id, target_id FROM catalog_relations
		WHERE target_id = $1 AND (relation_id, source_id) > ($2, $3) ORDER BY relation_id, source_id LIMIT $4`,
		target, after.relation, after.source, limit)
	list, err := store.All(rows, err, func(row store.Row) (e edge, err error) {
		err = row.Scan(&e.source, &e.relation, &e.target)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what points to an entity: %w", err)
	}
	return list, nil
}
