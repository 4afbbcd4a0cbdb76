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

func scanMessage(row store.Row) (m message, err error) {
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

// anyInFlightAfter says whether at least n messages are in flight.
func anyInFlightAfter(ctx context.Context, db store.Querier, contents, now int64, n int) (bool, error) {
	var one int
	err := db.QueryRow(ctx, `SELECT 1 FROM queue_message WHERE contents_id = $1 AND visible_at > $2 AND receive_count > 0
		LIMIT 1 OFFSET $3`, contents, now, n-1).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("count messages in flight: %w", err)
	}
	return true, nil
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

// relocate moves a message to another queue, where it's visible at once, and
// writes what the caller has changed of it. In FIFO queues it gets a new number: there
// the order of numbers is the order of arrival.
func relocate(ctx context.Context, tx *store.Tx, m *message, to *Queue, now int64) error {
	if !to.FIFO {
		_, err := tx.Exec(ctx, `UPDATE queue_message SET contents_id = $2, visible_at = $3, receipt = 0, message_id = $4, sent_at = $5,
			first_received_at = $6, receive_count = $7, source_arn = $8 WHERE id = $1`,
			m.id, to.contents, now, m.messageID, m.sentAt, m.firstReceivedAt, m.receiveCount, m.source)
		if err != nil {
			return fmt.Errorf("move message: %w", err)
		}
		return nil
	}
	_, err := tx.Exec(ctx, `INSERT INTO queue_message (contents_id, message_id, sent_at, visible_at, first_received_at, receive_count,
			fifo, group_id, dedup_id, sender, trace, source_arn, attributes, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		to.contents, m.messageID, m.sentAt, now, m.firstReceivedAt, m.receiveCount,
		true, m.groupID, m.dedupID, m.sender, m.trace, m.source, m.attributes, m.body)
	if err != nil {
		return fmt.Errorf("move message: %w", err)
	}
	return deleteMessages(ctx, tx, []message{*m})
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
