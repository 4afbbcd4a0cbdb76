package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
)

// newMessage is a draft that was checked and awaits its transaction.
type newMessage struct {
	messageID, groupID, dedupID string
	sender, trace               string
	attributes, body            string
	delay                       time.Duration
}

// Send puts a message into the queue and returns once it is durable. sender
// is the account that the attribute SenderId names. It returns AWS's error
// for a draft that the queue does not take.
func (q *Queues) Send(ctx context.Context, have *Queue, sender string, d Draft) (Sent, error) {
	if err := d.check(have); err != nil {
		return Sent{}, err
	}
	sent, err := q.put(ctx, have, []newMessage{d.message(have, sender)})
	if err != nil {
		return Sent{}, err
	}
	return sent[0], nil
}

// message makes of a checked draft what is stored.
func (d *Draft) message(have *Queue, sender string) newMessage {
	m := newMessage{
		messageID: uuid.NewString(),
		groupID:   d.GroupID,
		dedupID:   d.DedupID,
		sender:    sender,
		trace:     d.Trace,
		body:      d.Body,
		delay:     have.Delay,
	}
	if d.Delay != nil && !have.FIFO {
		m.delay = *d.Delay
	}
	if len(d.Attributes) > 0 {
		text, _ := json.Marshal(d.Attributes) // of checked text and bytes
		m.attributes = string(text)
	}
	if have.FIFO && m.dedupID == "" {
		sum := sha256.Sum256([]byte(d.Body))
		m.dedupID = hex.EncodeToString(sum[:])
	}
	return m
}

// put stores messages in one transaction.
func (q *Queues) put(ctx context.Context, have *Queue, list []newMessage) ([]Sent, error) {
	sent := make([]Sent, len(list))
	err := q.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		now := q.now()
		for i := range list {
			var err error
			if have.FIFO {
				sent[i], err = putFIFO(ctx, tx, have, &list[i], now)
			} else {
				sent[i], err = putStandard(ctx, tx, have, &list[i], now)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("send to %s: %w", have.ARN(), err)
	}
	q.bell.ring(have.id, len(list))
	return sent, nil
}

func putStandard(ctx context.Context, tx *store.Tx, have *Queue, m *newMessage, now int64) (Sent, error) {
	if _, err := insertMessage(ctx, tx, have, m, now); err != nil {
		return Sent{}, err
	}
	return Sent{MessageID: m.messageID}, nil
}

// maxBatch is AWS's number of entries in a batch.
const maxBatch = 10

// SendBatch puts up to 10 messages into the queue in one transaction, less those that
// it does not take: the errors are AWS's, one a draft, nil where it was taken. The
// last result is a failure of the whole.
func (q *Queues) SendBatch(ctx context.Context, have *Queue, sender string, drafts []Draft) ([]Sent, []error, error) {
	errs := make([]error, len(drafts))
	var list []newMessage
	total := 0
	for i := range drafts {
		total += drafts[i].size()
		if errs[i] = drafts[i].check(have); errs[i] == nil {
			list = append(list, drafts[i].message(have, sender))
		}
	}
	if total > MaxMessageSize {
		return nil, nil, errBatchSize(total)
	}
	sent := make([]Sent, len(drafts))
	if len(list) == 0 {
		return sent, errs, nil
	}
	taken, err := q.put(ctx, have, list)
	if err != nil {
		return nil, nil, err
	}
	for i := range drafts {
		if errs[i] == nil {
			sent[i], taken = taken[0], taken[1:]
		}
	}
	return sent, errs, nil
}
