package delivery

import (
	"context"
	"time"
)

// Wait is where a delivery waits that has not ended.
type Wait struct {
	// Parked says that it waits as a job, or is attempted as one when Running, and
	// Due when its next attempt is due.
	Parked, Running bool
	Due             time.Time
	// InLog says that it is left in the log for the subscription's catch-up reader,
	// which is at the batch ReaderAt.
	InLog    bool
	ReaderAt uint64
}

// Waits returns where the delivery of an event, given by its place in the log, to a
// subscription waits. The zero Wait says that it is not put aside: it is under way on
// the shared path, or over.
func (d *Delivery) Waits(ctx context.Context, subscription int64, seq uint64, index int) (Wait, error) {
	jobs, err := d.Work.Pending(ctx, jobQueue, jobKey(subscription, seq, index), 1)
	if err != nil {
		return Wait{}, err
	}
	if len(jobs) > 0 {
		return Wait{Parked: true, Running: jobs[0].Running, Due: jobs[0].RunAt}, nil
	}
	at, ok, err := d.store.readsFrom(ctx, subscription)
	if err != nil || !ok || earlier(at, cursor{seq, index}) != at {
		return Wait{}, err
	}
	return Wait{InLog: true, ReaderAt: at.Sequence}, nil
}
