package topic

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

// storedMessage is a message as the table holds it.
type storedMessage struct {
	id, topic   int64
	messageID   string // AWS's MessageId, a UUID
	kind        string // kindNotification, kindConfirmation or kindUnsubscribed
	content     Message
	token       []byte // sealed, of a confirmation
	fannedTo    *int64 // the last subscription that it was fanned out to; nil when done
	publishedAt int64  // unix milliseconds
}

// delivery is a message on its way to a subscription.
type delivery struct {
	id, subscription, message int64
	attempt                   int // how many failed
	dueAt                     int64
	failure                   *failure // why it goes to the dead-letter queue; nil while it does not
	size                      int      // of the message, in bytes
	protocol                  string   // of the endpoint; told when the delivery is added
}

// insertMessages adds messages and sets their ids.
func insertMessages(ctx context.Context, tx *store.Tx, list []*storedMessage) error {
	for _, m := range list {
		content, err := json.Marshal(m.content)
		if err != nil {
			return fmt.Errorf("encode message: %w", err)
		}
		err = tx.QueryRow(ctx, `INSERT INTO topic_message (topic_id, message_id, kind, content, size, token, fanned_to, published_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`, m.topic, m.messageID, m.kind, string(content), len(content), m.token, m.fannedTo, m.publishedAt).Scan(&m.id)
		if err != nil {
			return fmt.Errorf("insert message: %w", err)
		}
	}
	return nil
}

const messageColumns = `m.id, m.topic_id, m.message_id, m.kind, m.content, m.token, m.fanned_to, m.published_at`

func scanMessage(row store.Row) (*storedMessage, error) {
	var m storedMessage
	var content string
	if err := row.Scan(&m.id, &m.topic, &m.messageID, &m.kind, &content, &m.token, &m.fannedTo, &m.publishedAt); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(content), &m.content); err != nil {
		return nil, fmt.Errorf("message %s: %w", m.messageID, err)
	}
	return &m, nil
}

// messageByID returns nil when the message is gone.
func messageByID(ctx context.Context, db store.Querier, id int64) (*storedMessage, error) {
	m, err := scanMessage(db.QueryRow(ctx, `SELECT `+messageColumns+` FROM topic_message m WHERE m.id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	return m, nil
}

// errFannedOut says that another run of the job has come further.
var errFannedOut = errors.New("the message is being fanned out by another run")

// advanceFanOut notes that the message was fanned out to next; nil ends it.
func advanceFanOut(ctx context.Context, tx *store.Tx, id, from int64, next *int64) error {
	n, err := affected(tx.Exec(ctx, `UPDATE topic_message SET fanned_to = $3 WHERE id = $1 AND fanned_to = $2`, id, from, next))
	if err != nil {
		return fmt.Errorf("advance fan-out: %w", err)
	}
	if n == 0 {
		return errFannedOut
	}
	return nil
}

// forgetMessage deletes the message unless deliveries of it are left or to come.
func forgetMessage(ctx context.Context, tx *store.Tx, id int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM topic_message WHERE id = $1 AND fanned_to IS NULL
		AND NOT EXISTS (SELECT 1 FROM topic_delivery WHERE message_id = $1)`, id)
	if err != nil {
		return fmt.Errorf("delete message: %w", err)
	}
	return nil
}

// finishedMessages returns up to limit messages that no deliveries are left of. On
// PostgreSQL, transactions that end the last two at once each see the other's.
func finishedMessages(ctx context.Context, db store.Querier, limit int) ([]int64, error) {
	rows, err := db.Query(ctx, `SELECT m.id FROM topic_message m
		WHERE m.fanned_to IS NULL AND NOT EXISTS (SELECT 1 FROM topic_delivery d WHERE d.message_id = m.id) ORDER BY m.id LIMIT $1`, limit)
	list, err := store.All(rows, err, scanID)
	if err != nil {
		return nil, fmt.Errorf("read finished messages: %w", err)
	}
	return list, nil
}

// insertDeliveries adds deliveries that were not attempted yet.
func insertDeliveries(ctx context.Context, tx *store.Tx, list []delivery) error {
	const columns = 5
	for len(list) > 0 {
		n := min(len(list), fanChunk)
		args := make([]any, 0, n*columns)
		for _, d := range list[:n] {
			args = append(args, d.subscription, d.message, 0, d.dueAt, "")
		}
		_, err := tx.Exec(ctx, `INSERT INTO topic_delivery (subscription_id, message_id, attempt, due_at, failure) VALUES `+tuples(n, columns), args...)
		if err != nil {
			return fmt.Errorf("insert deliveries: %w", err)
		}
		list = list[n:]
	}
	return nil
}

// messagesByID returns messages by their id.
func messagesByID(ctx context.Context, db store.Querier, ids []int64) (map[int64]*storedMessage, error) {
	rows, err := db.Query(ctx, `SELECT `+messageColumns+` FROM topic_message m WHERE m.id IN `+in(1, len(ids)), appendIDs(nil, ids)...)
	list, err := store.All(rows, err, func(row store.Row) (*storedMessage, error) { return scanMessage(row) })
	if err != nil {
		return nil, fmt.Errorf("read messages: %w", err)
	}
	found := make(map[int64]*storedMessage, len(list))
	for _, m := range list {
		found[m.id] = m
	}
	return found, nil
}

// dueDeliveries returns up to limit deliveries of a subscription that are due, but for
// those that are being made.
func dueDeliveries(ctx context.Context, db store.Querier, subscription, now int64, making []int64, limit int) ([]delivery, error) {
	but := ""
	if len(making) > 0 {
		but = ` AND d.id NOT IN ` + in(4, len(making))
	}
	rows, err := db.Query(ctx, `SELECT d.id, d.message_id, d.attempt, d.due_at, d.failure, m.size
		FROM topic_delivery d JOIN topic_message m ON m.id = d.message_id
		WHERE d.subscription_id = $1 AND d.due_at <= $2`+but+` ORDER BY d.due_at, d.id LIMIT $3`,
		appendIDs([]any{subscription, now, limit}, making)...)
	list, err := store.All(rows, err, func(row store.Row) (delivery, error) {
		d := delivery{subscription: subscription}
		var text string
		if err := row.Scan(&d.id, &d.message, &d.attempt, &d.dueAt, &text, &d.size); err != nil || text == "" {
			return d, err
		}
		return d, json.Unmarshal([]byte(text), &d.failure)
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return list, nil
}

// nextDue returns when the subscription's next delivery is due; false without one.
func nextDue(ctx context.Context, db store.Querier, subscription int64) (int64, bool, error) {
	var at sql.NullInt64
	err := db.QueryRow(ctx, `SELECT MIN(due_at) FROM topic_delivery WHERE subscription_id = $1`, subscription).Scan(&at)
	if err != nil {
		return 0, false, fmt.Errorf("read deliveries: %w", err)
	}
	return at.Int64, at.Valid, nil
}

// deleteDelivery ends a delivery, and its message with the last one.
func deleteDelivery(ctx context.Context, tx *store.Tx, d *delivery) error {
	if _, err := tx.Exec(ctx, `DELETE FROM topic_delivery WHERE id = $1`, d.id); err != nil {
		return fmt.Errorf("delete delivery: %w", err)
	}
	return forgetMessage(ctx, tx, d.message)
}

// postponeDelivery notes when a delivery is to be tried again.
func postponeDelivery(ctx context.Context, tx *store.Tx, d *delivery) error {
	text := ""
	if d.failure != nil {
		text = encode(d.failure)
	}
	_, err := tx.Exec(ctx, `UPDATE topic_delivery SET attempt = $2, due_at = $3, failure = $4 WHERE id = $1`, d.id, d.attempt, d.dueAt, text)
	if err != nil {
		return fmt.Errorf("postpone delivery: %w", err)
	}
	return nil
}

// dropDeliveries deletes up to limit deliveries of a subscription that is gone.
func dropDeliveries(ctx context.Context, tx *store.Tx, subscription int64, limit int) (int, error) {
	rows, err := tx.Query(ctx, `DELETE FROM topic_delivery WHERE id IN
		(SELECT id FROM topic_delivery WHERE subscription_id = $1 ORDER BY due_at, id LIMIT $2) RETURNING message_id`, subscription, limit)
	messages, err := store.All(rows, err, scanID)
	if err != nil {
		return 0, fmt.Errorf("delete deliveries: %w", err)
	}
	for _, id := range messages {
		if err := forgetMessage(ctx, tx, id); err != nil {
			return 0, err
		}
	}
	return len(messages), nil
}
