package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// RefusedMessage is a message of a queue without a redrive policy that was
// refused. It was taken off the queue, where it would only come back until it
// expires, and is kept until it is taken in after all or discarded.
type RefusedMessage struct {
	// ID is the message's id at SQS.
	ID        string
	Body      []byte
	Why       string
	RefusedAt time.Time
}

// How much a source keeps of what it refused. Beyond it, refused messages stay in
// their queue.
const (
	maxRefused      = 1000
	maxRefusedBytes = 16 << 20
)

// errRefusedFull says that a source keeps as many refused messages as it may.
var errRefusedFull = errors.New("the source keeps as many refused messages as it may")

// keepRefused keeps a message that is to be taken off its queue.
func (i *Intake) keepRefused(ctx context.Context, src *openSource, m RefusedMessage) error {
	return i.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		n, size, err := countRefused(ctx, tx, src.ID)
		if err != nil {
			return err
		}
		if n >= maxRefused || size+int64(len(m.Body)) > maxRefusedBytes {
			return errRefusedFull
		}
		return insertRefused(ctx, tx, src.ID, m)
	})
}

// Refused lists messages that a source keeps, in the order of their ids, from after
// the id given; at most limit.
func (i *Intake) Refused(ctx context.Context, s Source, after string, limit int) ([]RefusedMessage, error) {
	list, err := listRefused(ctx, i.db, s.ID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list the refused messages of source %s: %w", s.Name, err)
	}
	return list, nil
}

// RetryRefused judges a kept message anew and, if the source takes it now,
// accepts its event. The error is the refusal if it does not.
func (i *Intake) RetryRefused(ctx context.Context, s Source, messageID string) error {
	m, err := i.refusedMessage(ctx, s, messageID)
	if err != nil {
		return err
	}
	src, err := i.opened(s)
	if err != nil {
		return err
	}
	c, err := i.judge(ctx, src, arrival{body: unwrap(m.Body)})
	if err != nil {
		return err
	}
	// Accepted first: an end between the two leaves a duplicate, which the next try
	// finds to be one.
	if _, err := i.accept(ctx, src, []candidate{c}); err != nil {
		return err
	}
	return i.DiscardRefused(ctx, s, messageID)
}

func (i *Intake) refusedMessage(ctx context.Context, s Source, messageID string) (RefusedMessage, error) {
	if !messageIDForm.MatchString(messageID) {
		return RefusedMessage{}, noRefused(s, messageID)
	}
	m, found, err := loadRefused(ctx, i.db, s.ID, messageID)
	if err == nil && !found {
		err = noRefused(s, messageID)
	}
	return m, err
}

func noRefused(s Source, messageID string) error {
	return httpapi.NotFound("Source %s keeps no message %q.", s.Name, messageID)
}

// DiscardRefused forgets a kept message.
func (i *Intake) DiscardRefused(ctx context.Context, s Source, messageID string) error {
	if !messageIDForm.MatchString(messageID) {
		return noRefused(s, messageID)
	}
	return i.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		found, err := deleteRefused(ctx, tx, s.ID, messageID)
		if err == nil && !found {
			err = noRefused(s, messageID)
		}
		return err
	})
}
