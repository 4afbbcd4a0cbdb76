package queue

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// On PostgreSQL a group's row is the lock of its messages: whoever changes
// them takes it first.

// joinGroup locks the message group, making it if it has no messages yet.
func joinGroup(ctx context.Context, tx *store.Tx, contents int64, group string, readyAt int64) error {
	_, err := tx.Exec(ctx, `INSERT INTO queue_group (contents_id, group_id, ready_at) VALUES ($1, $2, $3)
		ON CONFLICT (contents_id, group_id) DO UPDATE SET group_id = excluded.group_id`, contents, group, readyAt)
	if err != nil {
		return fmt.Errorf("join message group: %w", err)
	}
	return nil
}

// lockGroup locks the group until the transaction ends.
func lockGroup(ctx context.Context, tx *store.Tx, contents int64, group string) error {
	if tx.Dialect() == store.SQLite {
		return nil
	}
	var one int
	err := tx.QueryRow(ctx, `SELECT 1 FROM queue_group WHERE contents_id = $1 AND group_id = $2`+tx.Dialect().ForUpdate(), contents, group).Scan(&one)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("lock message group: %w", err)
	}
	return nil
}

// readyGroups locks and returns up to limit groups that may be received from,
// longest ready first.
func readyGroups(ctx context.Context, tx *store.Tx, contents, now int64, limit int) ([]string, error) {
	return selectAll(ctx, tx, func(row store.Row) (g string, err error) { return g, row.Scan(&g) },
		`SELECT group_id FROM queue_group WHERE contents_id = $1 AND ready_at <= $2 ORDER BY ready_at, group_id LIMIT $3`+
			tx.Dialect().SkipLocked(), contents, now, limit)
}

// groupHead returns the group's first messages.
func groupHead(ctx context.Context, db store.Querier, contents int64, group string, limit int) ([]message, error) {
	return selectAll(ctx, db, scanMessage, `SELECT `+messageColumns+` FROM queue_message
		WHERE fifo AND contents_id = $1 AND group_id = $2 ORDER BY id LIMIT $3`, contents, group, limit)
}

// maxInFlight is how many messages of a group can be in flight: one receive's,
// which are the group's first.
const maxInFlight = maxReceive

// settleGroup sets when the group, which the caller has locked, is next ready,
// or removes it when it has no messages left.
func settleGroup(ctx context.Context, tx *store.Tx, contents int64, group string, now int64) error {
	type state struct{ visibleAt, receiveCount int64 }
	head, err := selectAll(ctx, tx, func(row store.Row) (s state, err error) { return s, row.Scan(&s.visibleAt, &s.receiveCount) },
		`SELECT visible_at, receive_count FROM queue_message
		WHERE fifo AND contents_id = $1 AND group_id = $2 ORDER BY id LIMIT $3`, contents, group, maxInFlight)
	if err != nil {
		return err
	}
	if len(head) == 0 {
		if _, err := tx.Exec(ctx, `DELETE FROM queue_group WHERE contents_id = $1 AND group_id = $2`, contents, group); err != nil {
			return fmt.Errorf("delete message group: %w", err)
		}
		return nil
	}
	readyAt := head[0].visibleAt
	for _, m := range head {
		if m.receiveCount > 0 && m.visibleAt > now {
			readyAt = max(readyAt, m.visibleAt)
		}
	}
	if _, err := tx.Exec(ctx, `UPDATE queue_group SET ready_at = $3 WHERE contents_id = $1 AND group_id = $2`, contents, group, readyAt); err != nil {
		return fmt.Errorf("update message group: %w", err)
	}
	return nil
}

// groupOf returns the message's group, empty when the message is gone.
func groupOf(ctx context.Context, tx *store.Tx, h handle) (group string, err error) {
	err = tx.QueryRow(ctx, `SELECT group_id FROM queue_message WHERE id = $1 AND contents_id = $2`, h.message, h.contents).Scan(&group)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read message: %w", err)
	}
	return group, nil
}

// rememberDedup notes the message under its deduplication id. When an earlier
// message holds the id it returns that one and false.
func rememberDedup(ctx context.Context, tx *store.Tx, queue int64, scope, dedupID, messageID string, sequence, now, expires int64) (Sent, bool, error) {
	res, err := tx.Exec(ctx, `INSERT INTO queue_dedup (queue_id, scope, dedup_id, message_id, sequence, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (queue_id, scope, dedup_id) DO UPDATE
			SET message_id = excluded.message_id, sequence = excluded.sequence, expires_at = excluded.expires_at
			WHERE queue_dedup.expires_at <= $7`, queue, scope, dedupID, messageID, sequence, expires, now)
	if err != nil {
		return Sent{}, false, fmt.Errorf("remember deduplication id: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return Sent{}, false, err
	}
	if n > 0 {
		return Sent{MessageID: messageID, Sequence: sequenceNumber(sequence)}, true, nil
	}
	var first Sent
	err = tx.QueryRow(ctx, `SELECT message_id, sequence FROM queue_dedup WHERE queue_id = $1 AND scope = $2 AND dedup_id = $3`,
		queue, scope, dedupID).Scan(&first.MessageID, &sequence)
	if err != nil {
		return Sent{}, false, fmt.Errorf("read deduplication id: %w", err)
	}
	first.Sequence = sequenceNumber(sequence)
	return first, false, nil
}

// saveAttempt notes what a receive attempt was answered.
func saveAttempt(ctx context.Context, tx *store.Tx, contents int64, attempt string, receipt int64, list []message, expires int64) error {
	ids := make([]int64, len(list))
	for i := range list {
		ids[i] = list[i].id
	}
	text, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO queue_attempt (contents_id, attempt_id, receipt, messages, expires_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (contents_id, attempt_id) DO UPDATE SET receipt = excluded.receipt, messages = excluded.messages, expires_at = excluded.expires_at`,
		contents, attempt, receipt, string(text), expires)
	if err != nil {
		return fmt.Errorf("save receive attempt: %w", err)
	}
	return nil
}

// findAttempt returns the messages of an earlier attempt of the same id, as
// they are now; none when it is unknown or too long ago.
func findAttempt(ctx context.Context, tx *store.Tx, contents int64, attempt string, now int64) (receipt int64, list []message, all bool, err error) {
	var text string
	err = tx.QueryRow(ctx, `SELECT receipt, messages FROM queue_attempt WHERE contents_id = $1 AND attempt_id = $2 AND expires_at > $3`,
		contents, attempt, now).Scan(&receipt, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil, false, nil
	}
	if err != nil {
		return 0, nil, false, fmt.Errorf("read receive attempt: %w", err)
	}
	var ids []int64
	if err := json.Unmarshal([]byte(text), &ids); err != nil {
		return 0, nil, false, fmt.Errorf("read receive attempt: %w", err)
	}
	args := []any{contents, receipt, now}
	for _, id := range ids {
		args = append(args, id)
	}
	list, err = selectAll(ctx, tx, scanMessage, `SELECT `+messageColumns+` FROM queue_message
		WHERE contents_id = $1 AND receipt = $2 AND visible_at > $3 AND id IN `+in(4, len(ids))+tx.Dialect().ForUpdate(), args...)
	return receipt, list, len(list) == len(ids), err
}

func updateAllVisibility(ctx context.Context, tx *store.Tx, list []message, visibleAt int64) error {
	_, err := tx.Exec(ctx, `UPDATE queue_message SET visible_at = $1 WHERE id IN `+in(2, len(list)), withIDs([]any{visibleAt}, list)...)
	if err != nil {
		return fmt.Errorf("change visibility: %w", err)
	}
	return nil
}
