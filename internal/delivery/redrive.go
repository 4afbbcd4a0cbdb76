package delivery

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// redrive is what a delivery has that was a dead letter: it is another one than the
// delivery that was given up, to the subscription as it is now.
type redrive struct {
	// Nonce tells it from all deliveries of the event before.
	Nonce string `json:"nonce"`
	// Count is how often the event was put on its way again, this time included.
	Count int `json:"count"`
	// At is when; the event's age counts from then.
	At time.Time `json:"at"`
}

// GoneError says that a dead letter has nowhere to go any more.
type GoneError struct{ RuleARN, TargetID string }

// Error names the rule and the target.
func (e *GoneError) Error() string {
	return fmt.Sprintf("Rule %s does not exist any more, or has no target %s any more; one that was made anew is another target.", e.RuleARN, e.TargetID)
}

// Redrive puts the event of one dead letter on its way to the same target of the same
// rule again, as they are now, and not to others. The letter is gone then; if the
// event is given up again, a new one comes. It returns ErrNoDeadLetter, and a
// *GoneError if rule or target were deleted.
func (d *Delivery) Redrive(ctx context.Context, account string, id int64) error {
	l, err := d.letterStore.letter(ctx, account, id)
	if err != nil {
		return err
	}
	p, err := d.again(ctx, l)
	if err != nil {
		return err
	}
	var n int
	err = d.DB.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
		n, err = d.putAgain(ctx, tx, account, map[int64]*pair{id: p})
		return err
	})
	if err != nil {
		return fmt.Errorf("redrive dead letter %d: %w", id, err)
	}
	if n == 0 {
		return ErrNoDeadLetter
	}
	return nil
}

// again makes the delivery of a letter anew.
func (d *Delivery) again(ctx context.Context, l *DeadLetter) (*pair, error) {
	sub, err := d.Buses.Subscription(ctx, l.Subscription)
	if errors.Is(err, bus.ErrNoSubscription) {
		return nil, &GoneError{l.RuleARN, l.TargetID}
	}
	if err != nil {
		return nil, fmt.Errorf("look for the target of dead letter %d: %w", l.ID, err)
	}
	return &pair{
		seq: l.sequence, index: l.index, rec: l.Record, sub: sub, state: attempting,
		redrive: &redrive{Nonce: rand.Text(), Count: l.Redriven + 1, At: d.Now().UTC()},
	}, nil
}

// putAgain deletes the letters and parks their deliveries, as part of the transaction.
// It returns how many of the letters were still there.
func (d *Delivery) putAgain(ctx context.Context, tx *store.Tx, account string, pairs map[int64]*pair) (int, error) {
	ids := make([]int64, 0, len(pairs))
	for id := range pairs {
		ids = append(ids, id)
	}
	gone, err := d.letterStore.delete(ctx, tx, account, ids)
	if err != nil {
		return 0, err
	}
	jobs := make([]work.NewJob, 0, len(gone))
	for _, l := range gone {
		job, err := pairs[l.id].job(0)
		if err != nil {
			return 0, err
		}
		jobs = append(jobs, job)
	}
	if err := d.Work.Enqueue(ctx, tx, jobs...); err != nil {
		return 0, err
	}
	tx.OnCommit(func() {
		d.counters.redriven.Add(int64(len(gone)))
		for _, l := range gone {
			d.trace(pairs[l.id], Step{Kind: StepRedriven, To: strconv.FormatInt(l.id, 10)})
		}
	})
	return len(gone), nil
}

// Discard deletes one dead letter, or returns ErrNoDeadLetter.
func (d *Delivery) Discard(ctx context.Context, account string, id int64) error {
	var n int
	err := d.DB.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		gone, err := d.letterStore.delete(ctx, tx, account, []int64{id})
		n = len(gone)
		return err
	})
	if err != nil {
		return fmt.Errorf("discard dead letter %d: %w", id, err)
	}
	if n == 0 {
		return ErrNoDeadLetter
	}
	d.counters.discarded.Add(1)
	return nil
}
