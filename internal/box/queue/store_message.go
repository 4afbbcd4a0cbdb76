package queue

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// message is a row of queue_message. Times are unix milliseconds.
type message struct {
	id                          int64
	messageID                   string
	sentAt, visibleAt           int64
	receivedAt, firstReceivedAt int64
	receiveCount, receipt       int64
	groupID, dedupID            string
	sender, trace, source       string
	attributes, body            string
}

const messageColumns = `id, message_id, sent_at, visible_at, received_at, first_received_at, receive_count, receipt,
	group_id, dedup_id, sender, trace, source_arn, attributes, body`

func scanMessage(row scanner) (m message, err error) {
	return m, row.Scan(&m.id, &m.messageID, &m.sentAt, &m.visibleAt, &m.receivedAt, &m.firstReceivedAt, &m.receiveCount, &m.receipt,
		&m.groupID, &m.dedupID, &m.sender, &m.trace, &m.source, &m.attributes, &m.body)
}

// insertMessage returns QueueDoesNotExist when the contents were dropped since
// the queue was read.
func insertMessage(ctx context.Context, tx *store.Tx, have *Queue, m *newMessage, now int64) (id int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO queue_message
			(contents_id, message_id, sent_at, visible_at, fifo, group_id, dedup_id, sender, trace, attributes, body)
		SELECT id, CAST($2 AS TEXT), CAST($3 AS BIGINT), CAST($4 AS BIGINT), CAST($5 AS BOOLEAN), CAST($6 AS TEXT), CAST($7 AS TEXT),
			CAST($8 AS TEXT), CAST($9 AS TEXT), CAST($10 AS TEXT), CAST($11 AS TEXT)
		FROM queue_contents WHERE id = $1 AND dropped_at IS NULL RETURNING id`,
		have.contents, m.messageID, now, now+m.delay.Milliseconds(), have.FIFO, m.groupID, m.dedupID,
		m.sender, m.trace, m.attributes, m.body).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errNoQueue()
	}
	if err != nil {
		return 0, fmt.Errorf("insert message: %w", err)
	}
	return id, nil
}

// taking is what a receive writes on the messages that it takes.
type taking struct {
	now, visibleAt, receipt int64
}

const takeColumns = `visible_at = $1, receipt = $2, received_at = $3, receive_count = receive_count + 1,
	first_received_at = CASE WHEN first_received_at = 0 THEN $3 ELSE first_received_at END`

// takeVisible puts up to limit visible messages in flight and returns them as
// they are then. Called again with the same receipt it passes over those that
// it took, which a visibility timeout of 0 has left visible.
func takeVisible(ctx context.Context, tx *store.Tx, contents int64, limit int, t taking) ([]message, error) {
	return selectAll(ctx, tx, scanMessage, `WITH due AS MATERIALIZED (
			SELECT id FROM queue_message WHERE contents_id = $4 AND visible_at <= $3 AND receipt <> $2
				ORDER BY visible_at, id LIMIT $5`+
		tx.Dialect().SkipLocked()+`)
		UPDATE queue_message SET `+takeColumns+` WHERE id IN (SELECT id FROM due) RETURNING `+messageColumns,
		t.visibleAt, t.receipt, t.now, contents, limit)
}

// takeMessages puts the messages given in flight.
func takeMessages(ctx context.Context, tx *store.Tx, list []message, t taking) ([]message, error) {
	if len(list) == 0 {
		return nil, nil
	}
	return selectAll(ctx, tx, scanMessage, `UPDATE queue_message SET `+takeColumns+` WHERE id IN `+in(4, len(list))+
		` RETURNING `+messageColumns, withIDs([]any{t.visibleAt, t.receipt, t.now}, list)...)
}

// nextDue returns when the first message is or becomes visible; of a FIFO
// queue, when the first group becomes ready. False when nothing waits.
func nextDue(ctx context.Context, db store.Querier, have *Queue) (at int64, ok bool, err error) {
	query := `SELECT MIN(visible_at) FROM queue_message WHERE contents_id = $1`
	if have.FIFO {
		query = `SELECT MIN(ready_at) FROM queue_group WHERE contents_id = $1`
	}
	var found sql.NullInt64
	if err := db.QueryRow(ctx, query, have.contents).Scan(&found); err != nil {
		return 0, false, fmt.Errorf("read next message: %w", err)
	}
	return found.Int64, found.Valid, nil
}

func deleteMessages(ctx context.Context, tx *store.Tx, list []message) error {
	if len(list) == 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `DELETE FROM queue_message WHERE id IN `+in(1, len(list)), withIDs(nil, list)...); err != nil {
		return fmt.Errorf("delete messages: %w", err)
	}
	return nil
}

// deleteReceived deletes the message if the handle is of its latest receive.
func deleteReceived(ctx context.Context, tx *store.Tx, h handle) error {
	_, err := tx.Exec(ctx, `DELETE FROM queue_message WHERE id = $1 AND contents_id = $2 AND receipt = $3`, h.message, h.contents, h.receipt)
	if err != nil {
		return fmt.Errorf("delete message: %w", err)
	}
	return nil
}

// deadMessages moves messages to another queue's contents, where they are
// visible at once. sentAt of 0 leaves when they were sent. counted receives are
// taken back: the one that finds a message dead gives it to nobody.
func deadMessages(ctx context.Context, tx *store.Tx, list []message, to *Queue, source Ref, now, sentAt, counted int64) error {
	if len(list) == 0 {
		return nil
	}
	args := withIDs([]any{to.contents, now, source.ARN(), sentAt, counted}, list)
	_, err := tx.Exec(ctx, `UPDATE queue_message SET contents_id = $1, visible_at = $2, receipt = 0, source_arn = $3,
		receive_count = receive_count - $5,
		sent_at = CASE WHEN CAST($4 AS BIGINT) = 0 THEN sent_at ELSE CAST($4 AS BIGINT) END WHERE id IN `+in(6, len(list)), args...)
	if err != nil {
		return fmt.Errorf("move to dead-letter queue: %w", err)
	}
	return nil
}

// inFlight is what changing the visibility of a message needs to know.
type inFlight struct {
	groupID               string
	visibleAt, receivedAt int64
	receipt               int64
}

// findInFlight returns false when the message is gone.
func findInFlight(ctx context.Context, tx *store.Tx, h handle) (m inFlight, ok bool, err error) {
	err = tx.QueryRow(ctx, `SELECT group_id, visible_at, received_at, receipt FROM queue_message WHERE id = $1 AND contents_id = $2`+
		tx.Dialect().ForUpdate(), h.message, h.contents).Scan(&m.groupID, &m.visibleAt, &m.receivedAt, &m.receipt)
	if errors.Is(err, sql.ErrNoRows) {
		return m, false, nil
	}
	if err != nil {
		return m, false, fmt.Errorf("read message: %w", err)
	}
	return m, true, nil
}

func updateVisibility(ctx context.Context, tx *store.Tx, h handle, visibleAt int64) error {
	if _, err := tx.Exec(ctx, `UPDATE queue_message SET visible_at = $2 WHERE id = $1`, h.message, visibleAt); err != nil {
		return fmt.Errorf("change visibility: %w", err)
	}
	return nil
}
