package loggroup

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const groupColumns = `g.id, g.account, g.region, g.name, g.retention_days, g.created_at,
	(SELECT COALESCE(SUM(s.stored_bytes), 0) FROM log_stream s WHERE s.group_id = g.id AND s.dropped_at IS NULL)`

func scanGroup(row store.Row) (have group, err error) {
	return have, row.Scan(&have.id, &have.Account, &have.Region, &have.Name, &have.retentionDays, &have.createdAt, &have.storedBytes)
}

// findGroup reads the group without its storedBytes, which only lists show.
func findGroup(ctx context.Context, q store.Querier, r Ref) (have group, found bool, err error) {
	row := q.QueryRow(ctx, `SELECT id, account, region, name, retention_days, created_at, 0 FROM log_group
		WHERE account = $1 AND region = $2 AND name = $3 AND dropped_at IS NULL`, r.Account, r.Region, r.Name)
	if have, found, err = store.One(row, scanGroup); err != nil {
		return have, false, fmt.Errorf("read log group %s: %w", r.ARN(), err)
	}
	return have, found, nil
}

// insertGroup returns false when there is one of that name.
func insertGroup(ctx context.Context, tx *store.Tx, r Ref, now int64) (made bool, err error) {
	res, err := tx.Exec(ctx, `INSERT INTO log_group (account, region, name, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
		r.Account, r.Region, r.Name, now)
	if err != nil {
		return false, fmt.Errorf("insert log group %s: %w", r.ARN(), err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func dropGroup(ctx context.Context, tx *store.Tx, id, now int64) error {
	if _, err := tx.Exec(ctx, `UPDATE log_group SET dropped_at = $2 WHERE id = $1`, id, now); err != nil {
		return fmt.Errorf("drop log group: %w", err)
	}
	return nil
}

func updateRetention(ctx context.Context, tx *store.Tx, id, days int64) error {
	if _, err := tx.Exec(ctx, `UPDATE log_group SET retention_days = $2 WHERE id = $1`, id, days); err != nil {
		return fmt.Errorf("set retention of log group: %w", err)
	}
	return nil
}

// listGroups reads up to limit groups by name, of those with the prefix.
func listGroups(ctx context.Context, q store.Querier, by groupQuery, limit int) ([]group, error) {
	rows, err := q.Query(ctx, `SELECT `+groupColumns+` FROM log_group g WHERE g.account = $1 AND g.region = $2
		AND g.name >= $3 AND g.name < $4 AND g.name > $5 AND g.dropped_at IS NULL ORDER BY g.name LIMIT $6`,
		by.account, by.region, by.prefix, store.PrefixEnd(by.prefix), by.after, limit)
	list, err := store.All(rows, err, scanGroup)
	if err != nil {
		return nil, fmt.Errorf("list log groups: %w", err)
	}
	return list, nil
}

const streamColumns = `id, name, created_at, first_event_at, last_event_at, last_ingested_at`

func scanStream(row store.Row) (s stream, err error) {
	return s, row.Scan(&s.id, &s.name, &s.createdAt, &s.firstEventAt, &s.lastEventAt, &s.lastIngestedAt)
}

func findStream(ctx context.Context, q store.Querier, group int64, name string) (s stream, found bool, err error) {
	row := q.QueryRow(ctx, `SELECT `+streamColumns+` FROM log_stream WHERE group_id = $1 AND name = $2 AND dropped_at IS NULL`, group, name)
	if s, found, err = store.One(row, scanStream); err != nil {
		return s, false, fmt.Errorf("read log stream: %w", err)
	}
	return s, found, nil
}

// insertStream returns false when there is one of that name.
func insertStream(ctx context.Context, tx *store.Tx, group int64, name string, now int64) (made bool, err error) {
	res, err := tx.Exec(ctx, `INSERT INTO log_stream (group_id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, group, name, now)
	if err != nil {
		return false, fmt.Errorf("insert log stream: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func dropStream(ctx context.Context, tx *store.Tx, id, now int64) error {
	if _, err := tx.Exec(ctx, `UPDATE log_stream SET dropped_at = $2 WHERE id = $1`, id, now); err != nil {
		return fmt.Errorf("drop log stream: %w", err)
	}
	return nil
}

// touchStream notes on the stream that the events are put into it, and holds its
// row, so that it is not dropped meanwhile. It returns false when it or its group
// was dropped before.
func touchStream(ctx context.Context, tx *store.Tx, id int64, events []logEvent, now int64) (there bool, err error) {
	bytes := 0
	for i := range events {
		bytes += events[i].size()
	}
	res, err := tx.Exec(ctx, `UPDATE log_stream SET stored_bytes = stored_bytes + $2, last_ingested_at = $3,
			first_event_at = CASE WHEN first_event_at <= CAST($4 AS BIGINT) THEN first_event_at ELSE CAST($4 AS BIGINT) END,
			last_event_at = CASE WHEN last_event_at >= CAST($5 AS BIGINT) THEN last_event_at ELSE CAST($5 AS BIGINT) END
		WHERE id = $1 AND dropped_at IS NULL
			AND EXISTS (SELECT 1 FROM log_group g WHERE g.id = log_stream.group_id AND g.dropped_at IS NULL)`,
		id, bytes, now, events[0].at, events[len(events)-1].at)
	if err != nil {
		return false, fmt.Errorf("update log stream: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// listStreams reads a page of a group's streams in the order asked for.
func listStreams(ctx context.Context, q store.Querier, group int64, by streamQuery) ([]stream, error) {
	order, compare := "ASC", ">"
	if by.descending {
		order, compare = "DESC", "<"
	}
	query := `SELECT ` + streamColumns + ` FROM log_stream WHERE group_id = $1 AND dropped_at IS NULL AND name >= $2 AND name < $3`
	args := []any{group, by.prefix, store.PrefixEnd(by.prefix), by.limit}
	sortBy := "name " + order
	if by.byLastTime {
		sortBy = "COALESCE(last_event_at, -1) " + order + ", name " + order
	}
	switch {
	case by.after == nil:
	case by.byLastTime:
		query += ` AND (COALESCE(last_event_at, -1), name) ` + compare + ` ($5, $6)`
		args = append(args, by.after.At, by.after.Name)
	default:
		query += ` AND name ` + compare + ` $5`
		args = append(args, by.after.Name)
	}
	rows, err := q.Query(ctx, query+` ORDER BY `+sortBy+` LIMIT $4`, args...)
	list, err := store.All(rows, err, scanStream)
	if err != nil {
		return nil, fmt.Errorf("list log streams: %w", err)
	}
	return list, nil
}
