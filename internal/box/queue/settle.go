package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// DeleteMessages deletes messages by the handles of their latest receives. The
// errors are AWS's, one a handle, nil where it succeeded: a message that is
// gone already, and on standard queues one that was received again since, is
// a success. The last result is a failure of the whole.
func (q *Queues) DeleteMessages(ctx context.Context, have *Queue, handles []string) ([]error, error) {
	return q.settle(ctx, have, handles, func(tx *store.Tx, i int, h handle, now int64) error {
		if !have.FIFO {
			return deleteReceived(ctx, tx, h)
		}
		group, err := groupOf(ctx, tx, h)
		if err != nil || group == "" {
			return err
		}
		if err := lockGroup(ctx, tx, h.contents, group); err != nil {
			return err
		}
		m, ok, err := findInFlight(ctx, tx, h)
		if err != nil || !ok {
			return err
		}
		if m.receipt != h.receipt || m.visibleAt <= now {
			return errParameter("ReceiptHandle", handles[i], "The receipt handle has expired.")
		}
		if err := deleteReceived(ctx, tx, h); err != nil {
			return err
		}
		return settleGroup(ctx, tx, h.contents, group, now)
	})
}

// VisibilityChange is a message's new visibility timeout, counted from now.
type VisibilityChange struct {
	Handle  string
	Timeout time.Duration
}

// ChangeVisibility changes visibility timeouts of messages in flight. Results
// are as those of DeleteMessages.
func (q *Queues) ChangeVisibility(ctx context.Context, have *Queue, changes []VisibilityChange) ([]error, error) {
	handles := make([]string, len(changes))
	for i, c := range changes {
		handles[i] = c.Handle
	}
	return q.settle(ctx, have, handles, func(tx *store.Tx, i int, h handle, now int64) error {
		return changeVisibility(ctx, tx, have, changes[i], h, now)
	})
}

func changeVisibility(ctx context.Context, tx *store.Tx, have *Queue, c VisibilityChange, h handle, now int64) error {
	secs := int64(c.Timeout / time.Second)
	if c.Timeout < 0 || c.Timeout > maxVisibility {
		return errParameter("VisibilityTimeout", secs, "VisibilityTimeout must be an integer between 0 and 43200.")
	}
	gone := errParameter("ReceiptHandle", c.Handle, "Message does not exist or is not available for visibility timeout change.")
	if have.FIFO {
		group, err := groupOf(ctx, tx, h)
		if err != nil {
			return err
		}
		if err := lockGroup(ctx, tx, h.contents, group); err != nil {
			return err
		}
	}
	m, ok, err := findInFlight(ctx, tx, h)
	if err != nil {
		return err
	}
	if !ok || m.receipt != h.receipt {
		return gone
	}
	if m.visibleAt <= now {
		return errNotInFlight()
	}
	if now+c.Timeout.Milliseconds() > m.receivedAt+maxVisibility.Milliseconds() {
		return errParameter("VisibilityTimeout", secs, "Total VisibilityTimeout for the message is beyond the limit [43200 seconds].")
	}
	if err := updateVisibility(ctx, tx, h, now+c.Timeout.Milliseconds()); err != nil || !have.FIFO {
		return err
	}
	return settleGroup(ctx, tx, h.contents, m.groupID, now)
}

// settle runs do for each handle in one transaction.
func (q *Queues) settle(ctx context.Context, have *Queue, handles []string, do func(tx *store.Tx, i int, h handle, now int64) error) ([]error, error) {
	errs := make([]error, len(handles))
	err := q.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		now := q.now()
		for i, text := range handles {
			h, err := parseHandle(have, text)
			if err == nil {
				err = do(tx, i, h, now)
			}
			if err != nil && !isFault(err) {
				return err
			}
			errs[i] = err
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("settle messages of %s: %w", have.ARN(), err)
	}
	q.bell.ring(have.id, len(handles))
	return errs, nil
}
