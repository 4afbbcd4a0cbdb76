package exporter

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// Queue is a queue of event records.
type Queue struct {
	// ARN is arn:aws:sqs:REGION:ACCOUNT:NAME; URL is its URL, as AWS has it if none was
	// given.
	ARN, URL string
	// Account is the followed account that a record is about which names none.
	Account string
	// Stack is the name of the stack that made the queue; empty for none.
	Stack                string
	CreatedAt, UpdatedAt time.Time

	// DeadLetterARN is the queue's own dead-letter queue, as its redrive policy says; its
	// messages become dead records.
	DeadLetterARN string
	// PolledAt is when the queue last answered, Waiting what it held then, Received
	// how many records came from it.
	PolledAt          time.Time
	Waiting, Received int64
	// FailedAt and FailedWhy say since when and why it is not read; zero when it is.
	FailedAt  time.Time
	FailedWhy string
}

// parseQueue reads the ARN of a queue, or its URL at AWS.
func parseQueue(text string) (cloud.Queue, error) {
	q, err := cloud.ParseQueue(text)
	if err != nil {
		return q, httpapi.Invalid("%s.", err)
	}
	if q.FIFO() {
		return q, httpapi.Invalid("queue %q is a FIFO queue: a record that has to wait would hold up those behind it. Use a standard queue.", text)
	}
	return q, nil
}

// PutQueue has a queue of event records read. queue is its ARN, or its URL at AWS;
// account is the followed account that its records are about, stack the stack that made it,
// "" for none. It does not ask the queue: Queues says how it fares. Its errors are
// *httpapi.Error where it is not usable.
func (x *Exporter) PutQueue(ctx context.Context, queue, account, stack string) (Queue, error) {
	ref, err := parseQueue(queue)
	if err != nil {
		return Queue{}, err
	}
	if utf8.RuneCountInString(stack) > maxDescription {
		return Queue{}, httpapi.Invalid("stack is longer than %d characters.", maxDescription)
	}
	q := Queue{ARN: ref.ARN(), URL: ref.URL(), Account: account, Stack: stack}
	err = x.db.Update(ctx, func(tx *store.Tx) error {
		if _, found, err := loadAccount(ctx, tx, account); err != nil {
			return err
		} else if !found {
			return noAccount(account)
		}
		list, err := listQueues(ctx, tx)
		if err != nil {
			return err
		}
		q.CreatedAt, q.UpdatedAt = x.now(), x.now()
		known := false
		for _, old := range list {
			if old.ARN == q.ARN {
				q.CreatedAt, known = old.CreatedAt, true
			}
		}
		if !known && len(list) >= maxQueues {
			return httpapi.Invalid("The exporter reads at most %d queues.", maxQueues)
		}
		return saveQueue(ctx, tx, q)
	})
	if err != nil {
		return q, fmt.Errorf("put queue %s: %w", q.ARN, err)
	}
	x.wakePollers()
	return q, nil
}

// Queues lists the queues that are read, by account.
func (x *Exporter) Queues(ctx context.Context) ([]Queue, error) {
	list, err := listQueues(ctx, x.db)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	return list, nil
}

// DeleteQueue stops reading a queue, which stays where it is with what it holds.
func (x *Exporter) DeleteQueue(ctx context.Context, arn string) error {
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		found, err := deleteQueue(ctx, tx, arn)
		if err == nil && !found {
			err = httpapi.NotFound("The exporter does not read queue %q.", arn)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete queue %s: %w", arn, err)
	}
	x.wakePollers()
	return nil
}

// wakePollers tells that accounts or queues have changed.
func (x *Exporter) wakePollers() {
	x.mu.Lock()
	defer x.mu.Unlock()
	close(x.changed)
	x.changed = make(chan struct{})
}

// accountsChanged returns a channel that is closed at the next change of accounts or
// queues on this node.
func (x *Exporter) accountsChanged() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.changed
}
