package bus

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const archiveColumns = `SELECT a.id, a.account, a.region, a.name, a.bus, a.uuid, a.description, a.pattern, a.retention_days,
	a.rule_id, a.created_at,
	(SELECT CAST(COALESCE(SUM(c.events), 0) AS BIGINT) FROM archive_counts c WHERE c.archive_id = a.id),
	(SELECT CAST(COALESCE(SUM(c.bytes), 0) AS BIGINT) FROM archive_counts c WHERE c.archive_id = a.id)
	FROM archives a`

func scanArchive(row store.Row) (Archive, error) {
	var a Archive
	var created int64
	err := row.Scan(&a.id, &a.Bus.Account, &a.Bus.Region, &a.Name, &a.Bus.Name, &a.uuid, &a.Description, &a.Pattern, &a.RetentionDays,
		&a.ruleID, &created, &a.Events, &a.Bytes)
	a.CreatedAt = time.UnixMilli(created).UTC()
	return a, err
}

func selectArchive(ctx context.Context, q store.Querier, account, region, name string) (Archive, bool, error) {
	a, found, err := store.One(q.QueryRow(ctx, archiveColumns+` WHERE a.account = $1 AND a.region = $2 AND a.name = $3`,
		account, region, name), scanArchive)
	if err != nil {
		return a, false, fmt.Errorf("read archive %s: %w", name, err)
	}
	return a, found, nil
}

// selectArchives returns up to limit archives of an account and region by name,
// those after the given one. An empty bus stands for all.
func selectArchives(ctx context.Context, q store.Querier, account, region, bus, prefix, after string, limit int) ([]Archive, error) {
	rows, err := q.Query(ctx, archiveColumns+` WHERE a.account = $1 AND a.region = $2 AND (a.bus = $3 OR $3 = '')
		AND a.name >= $4 AND a.name < $5 AND a.name > $6 ORDER BY a.name LIMIT $7`,
		account, region, bus, prefix, store.PrefixEnd(prefix), after, limit)
	return store.All(rows, err, scanArchive)
}

func countArchives(ctx context.Context, q store.Querier, account, region string) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM archives WHERE account = $1 AND region = $2`, account, region).Scan(&n)
	return n, err
}

func insertArchive(ctx context.Context, tx *store.Tx, a Archive) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO archives (account, region, name, bus, uuid, description, pattern, retention_days, rule_id, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		a.Bus.Account, a.Bus.Region, a.Name, a.Bus.Name, a.uuid, a.Description, a.Pattern, a.RetentionDays, a.ruleID, a.CreatedAt.UnixMilli())
	return err
}

func updateArchive(ctx context.Context, tx *store.Tx, a Archive) error {
	_, err := tx.Exec(ctx, `UPDATE archives SET description = $1, pattern = $2, retention_days = $3, rule_id = $4 WHERE id = $5`,
		a.Description, a.Pattern, a.RetentionDays, a.ruleID, a.id)
	return err
}

func deleteArchive(ctx context.Context, tx *store.Tx, id int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM archives WHERE id = $1`, id)
	return err
}

func deleteTargetsOf(ctx context.Context, tx *store.Tx, ruleID int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM targets WHERE rule_id = $1`, ruleID)
	return err
}

func archiveExists(ctx context.Context, q store.Querier, id int64) (bool, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM archives WHERE id = $1`, id).Scan(&n)
	return n > 0, err
}

// selectArchiveOfSubscription returns the archive that the subscription fills.
func selectArchiveOfSubscription(ctx context.Context, q store.Querier, subscription int64) (id int64, found bool, err error) {
	return store.One(q.QueryRow(ctx, `SELECT a.id FROM targets t JOIN archives a ON a.rule_id = t.rule_id WHERE t.id = $1`, subscription),
		func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
}

// archivedEvent is an event as an archive holds it.
type archivedEvent struct {
	archive int64
	// at is the event's own time and ingested when its bus took it, both in unix
	// milliseconds.
	at, ingested int64
	id           string
	size         int // of the envelope, in bytes
	body         []byte
}

// tally is what an archive gains or loses.
type tally struct{ events, bytes int64 }

// archiveInsert is how many events one INSERT carries.
const archiveInsert = 32

// storeArchived stores the events that are not there yet, those of archives that
// are gone excepted, and counts them in the shard.
func storeArchived(ctx context.Context, tx *store.Tx, shard int, batch []archivedEvent) error {
	kept, err := lockArchives(ctx, tx, batch)
	if err != nil {
		return err
	}
	present := make([]archivedEvent, 0, len(batch))
	for _, e := range batch {
		if kept[e.archive] {
			present = append(present, e)
		}
	}
	gained := map[int64]tally{}
	for len(present) > 0 {
		n := min(archiveInsert, len(present))
		if err := insertArchived(ctx, tx, present[:n], gained); err != nil {
			return err
		}
		present = present[n:]
	}
	return addCounts(ctx, tx, shard, gained)
}

// lockArchives returns which archives of the events exist, and keeps those from
// being deleted before the transaction ends.
func lockArchives(ctx context.Context, tx *store.Tx, batch []archivedEvent) (map[int64]bool, error) {
	ids := map[int64]bool{}
	for _, e := range batch {
		ids[e.archive] = true
	}
	query := `SELECT id FROM archives WHERE id IN (` + store.IDList(slices.Sorted(maps.Keys(ids))) + `) ORDER BY id`
	if tx.Dialect() == store.Postgres {
		query += ` FOR KEY SHARE`
	}
	rows, err := tx.Query(ctx, query)
	found, err := store.All(rows, err, func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
	clear(ids)
	for _, id := range found {
		ids[id] = true
	}
	return ids, err
}

func insertArchived(ctx context.Context, tx *store.Tx, batch []archivedEvent, gained map[int64]tally) error {
	var q strings.Builder
	q.WriteString(`INSERT INTO archived_events (archive_id, event_at, event_id, ingested_at, size, body) VALUES `)
	args := make([]any, 0, 6*len(batch))
	for i, e := range batch {
		if i > 0 {
			q.WriteString(", ")
		}
		n := len(args)
		fmt.Fprintf(&q, "($%d, $%d, $%d, $%d, $%d, $%d)", n+1, n+2, n+3, n+4, n+5, n+6)
		args = append(args, e.archive, e.at, e.id, e.ingested, e.size, e.body)
	}
	q.WriteString(` ON CONFLICT (archive_id, event_at, event_id) DO NOTHING RETURNING archive_id, size`)
	rows, err := tx.Query(ctx, q.String(), args...)
	if err != nil {
		return err
	}
	return addTallies(rows, gained, 1)
}

// addTallies adds up the archives and sizes of rows, and closes them.
func addTallies(rows *sql.Rows, into map[int64]tally, sign int64) error {
	defer rows.Close()
	for rows.Next() {
		var archive, size int64
		if err := rows.Scan(&archive, &size); err != nil {
			return err
		}
		t := into[archive]
		into[archive] = tally{t.events + sign, t.bytes + sign*size}
	}
	return rows.Err()
}

// addCounts changes the counts of archives in a shard.
func addCounts(ctx context.Context, tx *store.Tx, shard int, changes map[int64]tally) error {
	for _, archive := range slices.Sorted(maps.Keys(changes)) {
		_, err := tx.Exec(ctx, `
			INSERT INTO archive_counts (archive_id, shard, events, bytes) VALUES ($1, $2, $3, $4)
			ON CONFLICT (archive_id, shard) DO UPDATE
			SET events = archive_counts.events + excluded.events, bytes = archive_counts.bytes + excluded.bytes`,
			archive, shard, changes[archive].events, changes[archive].bytes)
		if err != nil {
			return err
		}
	}
	return nil
}

// selectOldest returns the numbers of the archive's first ingested events, from
// before the time: up to limit, and fewer when they come to more than maxBytes, but
// one at least.
func selectOldest(ctx context.Context, q store.Querier, archive int64, before time.Time, limit, maxBytes int) ([]int64, error) {
	rows, err := q.Query(ctx, `SELECT id, size FROM archived_events WHERE archive_id = $1 AND ingested_at < $2 ORDER BY ingested_at LIMIT $3`,
		archive, before.UnixMilli(), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []int64
	total := 0
	for rows.Next() {
		var id int64
		var size int
		if err := rows.Scan(&id, &size); err != nil {
			return nil, err
		}
		if total += size; total > maxBytes && len(ids) > 0 {
			return ids, nil
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// deleteArchived deletes events, those that are there, and counts them off.
func deleteArchived(ctx context.Context, tx *store.Tx, ids []int64) error {
	rows, err := tx.Query(ctx, `DELETE FROM archived_events WHERE id IN (`+store.IDList(ids)+`) RETURNING archive_id, size`)
	if err != nil {
		return err
	}
	lost := map[int64]tally{}
	if err := addTallies(rows, lost, -1); err != nil {
		return err
	}
	return addCounts(ctx, tx, sweeperShard, lost)
}

// deleteCounts deletes the counts of an archive that is gone.
func deleteCounts(ctx context.Context, tx *store.Tx, archive int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM archive_counts WHERE archive_id = $1`, archive)
	return err
}

// retention is an archive that does not keep events for ever.
type retention struct {
	archive int64
	days    int
}

func selectRetentions(ctx context.Context, q store.Querier) ([]retention, error) {
	rows, err := q.Query(ctx, `SELECT id, retention_days FROM archives WHERE retention_days > 0 ORDER BY id`)
	return store.All(rows, err, func(row store.Row) (r retention, err error) { return r, row.Scan(&r.archive, &r.days) })
}
