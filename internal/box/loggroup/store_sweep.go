package loggroup

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// groupsAfter reads groups by id: those whose events run out, or those that were
// dropped.
func groupsAfter(ctx context.Context, q store.Querier, dropped bool, after int64, limit int) ([]group, error) {
	which := `dropped_at IS NULL AND retention_days > 0`
	if dropped {
		which = `dropped_at IS NOT NULL`
	}
	rows, err := q.Query(ctx, `SELECT id, account, region, name, retention_days, created_at, 0 FROM log_group
		WHERE `+which+` AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	list, err := store.All(rows, err, scanGroup)
	if err != nil {
		return nil, fmt.Errorf("read log groups: %w", err)
	}
	return list, nil
}

// deleteExpired deletes up to limit events of the group from before the time.
func deleteExpired(ctx context.Context, tx *store.Tx, group, before int64, limit int) (int, error) {
	type gone struct{ stream, bytes int64 }
	rows, err := tx.Query(ctx, `DELETE FROM log_event WHERE id IN
			(SELECT id FROM log_event WHERE group_id = $1 AND event_at < $2 ORDER BY event_at, id LIMIT $3)
		RETURNING stream_id, LENGTH(message)`, group, before, limit)
	list, err := store.All(rows, err, func(row store.Row) (g gone, err error) { return g, row.Scan(&g.stream, &g.bytes) })
	if err != nil {
		return 0, fmt.Errorf("delete log events: %w", err)
	}
	bytes := map[int64]int64{}
	for _, g := range list {
		bytes[g.stream] += g.bytes + eventOverhead
	}
	for stream, n := range bytes {
		_, err := tx.Exec(ctx, `UPDATE log_stream SET stored_bytes = stored_bytes - $2,
			first_event_at = (SELECT MIN(event_at) FROM log_event WHERE stream_id = $1) WHERE id = $1`, stream, n)
		if err != nil {
			return 0, fmt.Errorf("update log stream: %w", err)
		}
	}
	return len(list), nil
}

// dropStreams drops up to limit streams of a group that was dropped.
func dropStreams(ctx context.Context, tx *store.Tx, group, now int64, limit int) (int, error) {
	res, err := tx.Exec(ctx, `UPDATE log_stream SET dropped_at = $2 WHERE id IN
		(SELECT id FROM log_stream WHERE group_id = $1 AND dropped_at IS NULL LIMIT $3)`, group, now, limit)
	return affected(res, err, "drop log streams")
}

// droppedStreams reads dropped streams by id.
func droppedStreams(ctx context.Context, q store.Querier, after int64, limit int) ([]int64, error) {
	rows, err := q.Query(ctx, `SELECT id FROM log_stream WHERE dropped_at IS NOT NULL AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	list, err := store.All(rows, err, func(row store.Row) (id int64, err error) { return id, row.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("read dropped log streams: %w", err)
	}
	return list, nil
}

// deleteEventsOf deletes up to limit events of a stream.
func deleteEventsOf(ctx context.Context, tx *store.Tx, stream int64, limit int) (int, error) {
	res, err := tx.Exec(ctx, `DELETE FROM log_event WHERE id IN (SELECT id FROM log_event WHERE stream_id = $1 LIMIT $2)`, stream, limit)
	return affected(res, err, "delete log events")
}

func deleteStream(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM log_stream WHERE id = $1`, id); err != nil {
		return fmt.Errorf("delete log stream: %w", err)
	}
	return nil
}

// deleteGroup deletes a dropped group once it has no streams.
func deleteGroup(ctx context.Context, tx *store.Tx, id int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM log_group WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM log_stream WHERE group_id = $1)`, id)
	if err != nil {
		return fmt.Errorf("delete log group: %w", err)
	}
	return nil
}

// affected is how many rows a statement changed.
func affected(res interface{ RowsAffected() (int64, error) }, err error, doing string) (int, error) {
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
