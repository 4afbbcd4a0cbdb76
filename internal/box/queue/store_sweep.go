package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// queuesAfter returns up to limit queues in order of id.
func queuesAfter(ctx context.Context, db store.Querier, after int64, limit int) ([]Queue, error) {
	return selectAll(ctx, db, func(row store.Row) (Queue, error) {
		have, err := scanQueue(row)
		if err != nil {
			return Queue{}, err
		}
		return *have, nil
	}, `SELECT `+queueColumns+` FROM queue WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

func anyVisibleBy(ctx context.Context, db store.Querier, contents, at int64) (bool, error) {
	var one int
	err := db.QueryRow(ctx, `SELECT 1 FROM queue_message WHERE contents_id = $1 AND visible_at <= $2 LIMIT 1`, contents, at).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

func deleteVisibleBy(ctx context.Context, tx *store.Tx, contents, at int64, limit int) (int, error) {
	return deleteSome(ctx, tx, `DELETE FROM queue_message WHERE id IN (
		SELECT id FROM queue_message WHERE contents_id = $1 AND visible_at <= $2 ORDER BY visible_at LIMIT $3`+tx.Dialect().SkipLocked()+`)`,
		contents, at, limit)
}

type dropped struct{ id, droppedAt int64 }

func droppedContents(ctx context.Context, db store.Querier) ([]dropped, error) {
	return selectAll(ctx, db, func(row store.Row) (d dropped, err error) { return d, row.Scan(&d.id, &d.droppedAt) },
		`SELECT id, dropped_at FROM queue_contents WHERE dropped_at IS NOT NULL ORDER BY dropped_at LIMIT 1000`)
}

// deleteContents deletes up to limit rows each of what hangs on dropped
// contents, and returns the greatest number.
func deleteContents(ctx context.Context, tx *store.Tx, contents int64, limit int) (int, error) {
	most := 0
	for _, stmt := range []string{
		`DELETE FROM queue_message WHERE id IN (SELECT id FROM queue_message WHERE contents_id = $1 LIMIT $2` + tx.Dialect().SkipLocked() + `)`,
		`DELETE FROM queue_group WHERE contents_id = $1 AND group_id IN (
			SELECT group_id FROM queue_group WHERE contents_id = $1 LIMIT $2` + tx.Dialect().SkipLocked() + `)`,
		`DELETE FROM queue_attempt WHERE contents_id = $1 AND attempt_id IN (
			SELECT attempt_id FROM queue_attempt WHERE contents_id = $1 LIMIT $2` + tx.Dialect().SkipLocked() + `)`,
	} {
		n, err := deleteSome(ctx, tx, stmt, contents, limit)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

func forgetContents(ctx context.Context, tx *store.Tx, contents int64) error {
	_, err := deleteSome(ctx, tx, `DELETE FROM queue_contents WHERE id = $1
		AND NOT EXISTS (SELECT 1 FROM queue_message WHERE contents_id = $1)`, contents)
	return err
}

// deleteNotes deletes up to limit each of deduplication ids and attempts that
// have run out, and returns the greater number.
func deleteNotes(ctx context.Context, tx *store.Tx, now int64, limit int) (int, error) {
	ids, err := deleteSome(ctx, tx, `DELETE FROM queue_dedup WHERE (queue_id, scope, dedup_id) IN (
		SELECT queue_id, scope, dedup_id FROM queue_dedup WHERE expires_at <= $1 LIMIT $2`+tx.Dialect().SkipLocked()+`)`, now, limit)
	if err != nil {
		return 0, err
	}
	attempts, err := deleteSome(ctx, tx, `DELETE FROM queue_attempt WHERE (contents_id, attempt_id) IN (
		SELECT contents_id, attempt_id FROM queue_attempt WHERE expires_at <= $1 LIMIT $2`+tx.Dialect().SkipLocked()+`)`, now, limit)
	return max(ids, attempts), err
}

func deleteSome(ctx context.Context, tx *store.Tx, stmt string, args ...any) (int, error) {
	res, err := tx.Exec(ctx, stmt, args...)
	if err != nil {
		return 0, fmt.Errorf("sweep queues: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
