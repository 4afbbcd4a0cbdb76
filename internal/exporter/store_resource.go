package exporter

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

const resourceColumns = `account, region, kind, identifier, name, present, ticket, hash, first_at, read_at, changed_at, upsert_at,
	delete_at, recheck_at, rechecks, recheck_why, error, cause, updated_at`

const resourceWidth = 19

const selectResource = `SELECT id, ` + resourceColumns + ` FROM exporter_resources`

func scanResource(row store.Row) (*Resource, error) {
	var r Resource
	var first, read, changed, upsert, deleted, recheck, updated int64
	var name, cause string
	err := row.Scan(&r.id, &r.Account, &r.Region, &r.Kind, &r.Identifier, &name, &r.Present, &r.Ticket, &r.Hash, &first, &read, &changed,
		&upsert, &deleted, &recheck, &r.Rechecks, &r.RecheckWhy, &r.Error, &cause, &updated)
	if err != nil {
		return nil, err
	}
	r.FirstAt, r.ReadAt, r.ChangedAt, r.UpsertAt = fromMillis(first), fromMillis(read), fromMillis(changed), fromMillis(upsert)
	r.DeleteAt, r.RecheckAt, r.UpdatedAt = fromMillis(deleted), fromMillis(recheck), fromMillis(updated)
	if err := json.Unmarshal([]byte(cause), &r.Cause); err != nil {
		return nil, fmt.Errorf("cause of %s: %w", r.Key, err)
	}
	return &r, nil
}

func (r *Resource) values() ([]any, error) {
	cause, err := toJSON(r.Cause)
	return []any{
		r.Account, r.Region, r.Kind, r.Identifier, shortName(r.Identifier), r.Present, r.Ticket, r.Hash, millis(r.FirstAt), millis(r.ReadAt),
		millis(r.ChangedAt), millis(r.UpsertAt), millis(r.DeleteAt), millis(r.RecheckAt), r.Rechecks, r.RecheckWhy, r.Error, cause, millis(r.UpdatedAt),
	}, err
}

// rowsAtOnce is how many rows one statement stores: for PostgreSQL many, as each is a
// round trip; for SQLite few, as what it takes to find parameters by name grows with
// their square.
func rowsAtOnce(tx *store.Tx) int {
	if tx.Dialect() == store.SQLite {
		return 4
	}
	return 100
}

// saveResources stores resources and sets their ids.
func saveResources(ctx context.Context, tx *store.Tx, list []*Resource) error {
	for chunk := range slices.Chunk(list, rowsAtOnce(tx)) {
		if err := saveSome(ctx, tx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func saveSome(ctx context.Context, tx *store.Tx, list []*Resource) error {
	args := make([]any, 0, len(list)*resourceWidth)
	byKey := make(map[Key]*Resource, len(list))
	for _, r := range list {
		values, err := r.values()
		if err != nil {
			return err
		}
		args = append(args, values...)
		byKey[r.Key] = r
	}
	rows, err := tx.Query(ctx, `INSERT INTO exporter_resources (`+resourceColumns+`) VALUES `+tuples(1, len(list), resourceWidth)+`
		ON CONFLICT (account, region, kind, identifier) DO UPDATE SET present = excluded.present, ticket = excluded.ticket,
			hash = excluded.hash, first_at = excluded.first_at, read_at = excluded.read_at, changed_at = excluded.changed_at,
			upsert_at = excluded.upsert_at, delete_at = excluded.delete_at, recheck_at = excluded.recheck_at,
			rechecks = excluded.rechecks, recheck_why = excluded.recheck_why, error = excluded.error, cause = excluded.cause,
			updated_at = excluded.updated_at
		RETURNING id, account, region, kind, identifier`, args...)
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var id int64
		var k Key
		err := row.Scan(&id, &k.Account, &k.Region, &k.Kind, &k.Identifier)
		if r := byKey[k]; r != nil {
			r.id = id
		}
		return struct{}{}, err
	})
	return err
}

// claim says that an entity is made of a resource.
type claim struct {
	resource int64
	catalog.EntityRef
}

func insertClaims(ctx context.Context, tx *store.Tx, list []claim) error {
	for chunk := range slices.Chunk(list, 5*rowsAtOnce(tx)) {
		args := make([]any, 0, 3*len(chunk))
		for _, c := range chunk {
			args = append(args, c.resource, c.Blueprint, c.Identifier)
		}
		_, err := tx.Exec(ctx, `INSERT INTO exporter_entities (resource_id, blueprint, identifier) VALUES `+tuples(1, len(chunk), 3)+`
			ON CONFLICT DO NOTHING`, args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func deleteClaims(ctx context.Context, tx *store.Tx, list []claim) error {
	for _, c := range list {
		_, err := tx.Exec(ctx, `DELETE FROM exporter_entities WHERE resource_id = $1 AND blueprint = $2 AND identifier = $3`,
			c.resource, c.Blueprint, c.Identifier)
		if err != nil {
			return err
		}
	}
	return nil
}

// condition builds WHERE clauses of many alternatives, one for each group of values.
type condition struct {
	groups map[string]*group
	order  []*group
}

type group struct {
	columns []string
	heads   []any
	values  map[string]bool
}

// add adds the alternative that all columns but the last equal heads and the last is
// value, among others.
func (c *condition) add(columns []string, heads []string, value string) {
	key := strings.Join(heads, "\x00")
	g := c.groups[key]
	if g == nil {
		g = &group{columns: columns, values: map[string]bool{}}
		for _, h := range heads {
			g.heads = append(g.heads, h)
		}
		if c.groups == nil {
			c.groups = map[string]*group{}
		}
		c.groups[key] = g
		c.order = append(c.order, g)
	}
	g.values[value] = true
}

// sql returns the condition and its arguments.
func (c *condition) sql() (string, []any) {
	var b strings.Builder
	var args []any
	for i, g := range c.order {
		b.WriteString([]string{"(", " OR ("}[min(i, 1)])
		for j, h := range g.heads {
			args = append(args, h)
			fmt.Fprintf(&b, "%s = $%d AND ", g.columns[j], len(args))
		}
		fmt.Fprintf(&b, "%s IN %s)", g.columns[len(g.heads)], tuples(len(args)+1, 1, len(g.values)))
		for v := range g.values {
			args = append(args, v)
		}
	}
	return b.String(), args
}

var (
	keyColumns  = []string{"account", "region", "kind", "identifier"}
	nameColumns = []string{"account", "region", "kind", "name"}
)

func (k Key) scope() []string { return []string{k.Account, k.Region, k.Kind} }

// loadResources reads resources with their entities, by key. Within a transaction they do
// not change until it ends.
func loadResources(ctx context.Context, q store.Querier, keys []Key) (map[Key]*Resource, error) {
	var c condition
	for _, k := range keys {
		c.add(keyColumns, k.scope(), k.Identifier)
	}
	where, args := c.sql()
	if where == "" {
		return map[Key]*Resource{}, nil
	}
	lock := ""
	if _, writing := q.(*store.Tx); writing {
		lock = q.Dialect().ForUpdate()
	}
	rows, err := q.Query(ctx, selectResource+` WHERE (`+where+`) ORDER BY id `+lock, args...)
	list, err := store.All(rows, err, scanResource)
	if err != nil {
		return nil, fmt.Errorf("read what is known of resources: %w", err)
	}
	if err := loadEntities(ctx, q, list); err != nil {
		return nil, err
	}
	byKey := make(map[Key]*Resource, len(list))
	for _, r := range list {
		byKey[r.Key] = r
	}
	return byKey, nil
}

// loadEntities reads the entities of resources.
func loadEntities(ctx context.Context, q store.Querier, list []*Resource) error {
	if len(list) == 0 {
		return nil
	}
	ids := make([]int64, len(list))
	byID := make(map[int64]*Resource, len(list))
	for i, r := range list {
		ids[i], byID[r.id] = r.id, r
	}
	condition, arg := q.Dialect().In("$1", ids)
	rows, err := q.Query(ctx, `SELECT resource_id, blueprint, identifier FROM exporter_entities WHERE resource_id`+condition+`
		ORDER BY resource_id, blueprint, identifier`, arg)
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var id int64
		var e catalog.EntityRef
		err := row.Scan(&id, &e.Blueprint, &e.Identifier)
		if r := byID[id]; r != nil {
			r.Entities = append(r.Entities, e)
		}
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("read the entities of resources: %w", err)
	}
	return nil
}

// loadOwners reads of which resources entities are made.
func loadOwners(ctx context.Context, q store.Querier, refs []catalog.EntityRef) (map[catalog.EntityRef][]Key, error) {
	owners := map[catalog.EntityRef][]Key{}
	for chunk := range slices.Chunk(refs, 1000) {
		var c condition
		for _, e := range chunk {
			c.add([]string{"e.blueprint", "e.identifier"}, []string{e.Blueprint}, e.Identifier)
		}
		where, args := c.sql()
		rows, err := q.Query(ctx, `SELECT e.blueprint, e.identifier, r.account, r.region, r.kind, r.identifier
			FROM exporter_entities e JOIN exporter_resources r ON r.id = e.resource_id WHERE `+where, args...)
		_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
			var e catalog.EntityRef
			var k Key
			err := row.Scan(&e.Blueprint, &e.Identifier, &k.Account, &k.Region, &k.Kind, &k.Identifier)
			owners[e] = append(owners[e], k)
			return struct{}{}, err
		})
		if err != nil {
			return nil, fmt.Errorf("read whose entities they are: %w", err)
		}
	}
	for _, keys := range owners {
		slices.SortFunc(keys, compareKeys)
	}
	return owners, nil
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Identifier, b.Identifier))
}

// tombstone is a resource that is gone, as records may have named it.
type tombstone struct {
	key    Key
	name   string
	ticket int64
	// deleteAt is when an event said so.
	deleteAt time.Time
}

// loadTombstones reads what is gone in the scopes of keys under any of their names.
func loadTombstones(ctx context.Context, q store.Querier, names map[Key][]string) ([]tombstone, error) {
	seen := map[Key]bool{} // a scope, with a name for the identifier
	var all []Key
	for k, list := range names {
		for _, name := range list {
			k.Identifier = name
			if !seen[k] {
				seen[k] = true
				all = append(all, k)
			}
		}
	}
	slices.SortFunc(all, compareKeys)
	var out []tombstone
	for chunk := range slices.Chunk(all, 1000) {
		list, err := tombstonesNamed(ctx, q, chunk)
		if err != nil {
			return nil, err
		}
		out = append(out, list...)
	}
	return out, nil
}

// tombstonesNamed reads what is gone in scopes under a name, which stands for the
// identifier in each key.
func tombstonesNamed(ctx context.Context, q store.Querier, names []Key) ([]tombstone, error) {
	var c condition
	for _, k := range names {
		c.add(nameColumns, k.scope(), k.Identifier)
	}
	where, args := c.sql()
	if where == "" {
		return nil, nil
	}
	rows, err := q.Query(ctx, `SELECT account, region, kind, identifier, name, ticket, delete_at FROM exporter_resources
		WHERE NOT present AND ticket > 0 AND (`+where+`) ORDER BY id`, args...)
	list, err := store.All(rows, err, func(row store.Row) (t tombstone, err error) {
		var deleted int64
		err = row.Scan(&t.key.Account, &t.key.Region, &t.key.Kind, &t.key.Identifier, &t.name, &t.ticket, &deleted)
		t.deleteAt = fromMillis(deleted)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("read what is gone: %w", err)
	}
	return list, nil
}

// askRecheck has resources read again at a time, unless they are to be sooner.
func askRecheck(ctx context.Context, tx *store.Tx, keys []Key, at time.Time, why string) error {
	for _, k := range keys {
		_, err := tx.Exec(ctx, `UPDATE exporter_resources SET recheck_at = $5, recheck_why = $6, rechecks = 0
			WHERE account = $1 AND region = $2 AND kind = $3 AND identifier = $4 AND (recheck_at = 0 OR recheck_at > $5)`,
			k.Account, k.Region, k.Kind, k.Identifier, millis(at), why)
		if err != nil {
			return fmt.Errorf("have %s read again: %w", k, err)
		}
	}
	return nil
}

// dueRechecks returns resources that are to be read again by now, and when the next
// one is after them; zero if there is none. What is due much later than any delay was
// put down under a clock that has jumped since, and is due too.
func dueRechecks(ctx context.Context, q store.Querier, now time.Time, limit int) (due []*Resource, next time.Time, err error) {
	horizon := now.Add(2 * createGrace)
	rows, err := q.Query(ctx, selectResource+` WHERE recheck_at > 0 AND (recheck_at <= $1 OR recheck_at > $2) ORDER BY recheck_at LIMIT $3`,
		millis(now), millis(horizon), limit)
	if due, err = store.All(rows, err, scanResource); err != nil {
		return nil, time.Time{}, fmt.Errorf("list what is to be read again: %w", err)
	}
	var at int64
	err = q.QueryRow(ctx, `SELECT COALESCE(MIN(recheck_at), 0) FROM exporter_resources WHERE recheck_at > $1 AND recheck_at <= $2`,
		millis(now), millis(horizon)).Scan(&at)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("find what is to be read again next: %w", err)
	}
	return due, fromMillis(at), nil
}

// saveRecheck sets when a resource is read again, unless that has changed meanwhile.
func saveRecheck(ctx context.Context, tx *store.Tx, r *Resource, at time.Time, rechecks int, why string) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_resources SET recheck_at = $2, rechecks = $3, recheck_why = $4 WHERE id = $1 AND recheck_at = $5`,
		r.id, millis(at), rechecks, why, millis(r.RecheckAt))
	return err
}

// dropGone forgets resources that are gone since before a time, at most limit, and
// returns how many there were.
func dropGone(ctx context.Context, tx *store.Tx, before time.Time, limit int) (int, error) {
	res, err := tx.Exec(ctx, `DELETE FROM exporter_resources WHERE id IN (
		SELECT id FROM exporter_resources r WHERE NOT present AND updated_at < $1 AND recheck_at = 0
			AND NOT EXISTS (SELECT 1 FROM exporter_entities e WHERE e.resource_id = r.id) LIMIT $2)`, millis(before), limit)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// resourcesOfEntity returns the resources of a key's scope of which an entity with an
// identifier is made, whatever its blueprint.
func resourcesOfEntity(ctx context.Context, q store.Querier, k Key, entity string, limit int) ([]Key, error) {
	rows, err := q.Query(ctx, `SELECT DISTINCT r.account, r.region, r.kind, r.identifier FROM exporter_entities e
		JOIN exporter_resources r ON r.id = e.resource_id
		WHERE e.identifier = $1 AND r.account = $2 AND r.region = $3 AND r.kind = $4 ORDER BY r.identifier LIMIT $5`,
		entity, k.Account, k.Region, k.Kind, limit)
	list, err := store.All(rows, err, scanKey)
	if err != nil {
		return nil, fmt.Errorf("find the resources of entity %s: %w", entity, err)
	}
	return list, nil
}

// resourcesNamed returns the resources of a key's scope that exist and have the short
// name of its identifier.
func resourcesNamed(ctx context.Context, q store.Querier, k Key, limit int) ([]Key, error) {
	rows, err := q.Query(ctx, `SELECT account, region, kind, identifier FROM exporter_resources
		WHERE account = $1 AND region = $2 AND kind = $3 AND name = $4 AND present ORDER BY identifier LIMIT $5`,
		k.Account, k.Region, k.Kind, shortName(k.Identifier), limit)
	list, err := store.All(rows, err, scanKey)
	if err != nil {
		return nil, fmt.Errorf("find the resources called %s: %w", k.Identifier, err)
	}
	return list, nil
}

func scanKey(row store.Row) (Key, error) {
	var k Key
	return k, row.Scan(&k.Account, &k.Region, &k.Kind, &k.Identifier)
}

func listResources(ctx context.Context, q store.Querier, f ResourceFilter, after int64, limit int) ([]*Resource, error) {
	where, args := `id > $1`, []any{after}
	for _, c := range []struct{ column, value string }{{"account", f.Account}, {"region", f.Region}, {"kind", f.Kind}, {"identifier", f.Identifier}} {
		if c.value != "" {
			args = append(args, c.value)
			where += fmt.Sprintf(" AND %s = $%d", c.column, len(args))
		}
	}
	if f.Entity.Blueprint != "" {
		args = append(args, f.Entity.Blueprint, f.Entity.Identifier)
		where += fmt.Sprintf(" AND id IN (SELECT resource_id FROM exporter_entities WHERE blueprint = $%d AND identifier = $%d)", len(args)-1, len(args))
	}
	if f.Failed {
		where += " AND error <> ''"
	}
	if !f.Gone {
		where += " AND present"
	}
	args = append(args, limit)
	rows, err := q.Query(ctx, fmt.Sprintf(selectResource+` WHERE %s ORDER BY id LIMIT $%d`, where, len(args)), args...)
	list, err := store.All(rows, err, scanResource)
	if err != nil {
		return nil, err
	}
	return list, loadEntities(ctx, q, list)
}
