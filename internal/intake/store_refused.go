package intake

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// insertRefused keeps a message; one that is kept already is left as it is.
func insertRefused(ctx context.Context, tx *store.Tx, sourceID string, m RefusedMessage) error {
	_, err := tx.Exec(ctx, `INSERT INTO intake_refused (source_id, message_id, body, why, refused_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`, sourceID, m.ID, m.Body, m.Why, millis(m.RefusedAt))
	return err
}

// countRefused returns how many messages a source keeps, and their bytes.
func countRefused(ctx context.Context, q store.Querier, sourceID string) (n int, size int64, err error) {
	err = q.QueryRow(ctx, `SELECT count(*), COALESCE(sum(length(body)), 0) FROM intake_refused WHERE source_id = $1`, sourceID).Scan(&n, &size)
	return n, size, err
}

// listRefused returns messages that a source keeps, in the order of their ids, from
// after the id given.
func listRefused(ctx context.Context, q store.Querier, sourceID, after string, limit int) ([]RefusedMessage, error) {
	rows, err := q.Query(ctx, `SELECT message_id, body, why, refused_at FROM intake_refused
		WHERE source_id = $1 AND message_id > $2 ORDER BY message_id LIMIT $3`, sourceID, after, limit)
	return store.All(rows, err, scanRefused)
}

func loadRefused(ctx context.Context, q store.Querier, sourceID, messageID string) (RefusedMessage, bool, error) {
	return store.One(q.QueryRow(ctx, `SELECT message_id, body, why, refused_at FROM intake_refused
		WHERE source_id = $1 AND message_id = $2`, sourceID, messageID), scanRefused)
}

func scanRefused(row store.Row) (RefusedMessage, error) {
	var m RefusedMessage
	var at int64
	if err := row.Scan(&m.ID, &m.Body, &m.Why, &at); err != nil {
		return RefusedMessage{}, fmt.Errorf("read refused message: %w", err)
	}
	m.RefusedAt = fromMillis(at)
	return m, nil
}

func deleteRefused(ctx context.Context, tx *store.Tx, sourceID, messageID string) (bool, error) {
	res, err := tx.Exec(ctx, `DELETE FROM intake_refused WHERE source_id = $1 AND message_id = $2`, sourceID, messageID)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
