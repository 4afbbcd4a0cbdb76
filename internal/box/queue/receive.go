package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// ReceiveRequest says what to receive.
type ReceiveRequest struct {
	// Max is 1 to 10 messages.
	Max int
	// Visibility overrides the queue's; nil leaves it.
	Visibility *time.Duration
	// Wait is how long to wait for a first message, at most 20 s; nil stands for the queue's.
	Wait *time.Duration
	// AttemptID lets a receive from a FIFO queue be repeated; empty without one.
	AttemptID string
}

const (
	maxReceive    = 10
	maxWait       = 20 * time.Second
	maxVisibility = 12 * time.Hour
)

// Received is a message as a receive gives it out.
type Received struct {
	MessageID, Handle, Body string
	Attributes              map[string]Value
	// Sender is an account; Trace, GroupID, DedupID and Source (an ARN: the
	// queue that the message died in) are empty without one, Sequence on standard queues.
	Sender, Trace, GroupID, DedupID, Source, Sequence string
	// SentAt and FirstReceivedAt are unix milliseconds.
	SentAt, FirstReceivedAt int64
	// ReceiveCount includes this receive.
	ReceiveCount int64
}

func (r ReceiveRequest) check(have *Queue) error {
	if r.Max < 1 || r.Max > maxReceive {
		return errParameter("MaxNumberOfMessages", r.Max, "Must be between 1 and 10, if provided.")
	}
	if r.Wait != nil && (*r.Wait < 0 || *r.Wait > maxWait) {
		return errParameter("WaitTimeSeconds", int64(*r.Wait/time.Second), "Must be >= 0 and <= 20, if provided.")
	}
	if r.Visibility != nil && (*r.Visibility < 0 || *r.Visibility > maxVisibility) {
		return errParameter("VisibilityTimeout", int64(*r.Visibility/time.Second), "Must be >= 0 and <= 43200, if provided.")
	}
	if r.AttemptID == "" {
		return nil
	}
	if !have.FIFO {
		return errParameter("ReceiveRequestAttemptId", r.AttemptID, "The request includes a parameter that is not valid for this queue type.")
	}
	if !validID.MatchString(r.AttemptID) {
		return errParameter("ReceiveRequestAttemptId", r.AttemptID, "ReceiveRequestAttemptId can only include alphanumeric and punctuation characters. 1 to 128 in length.")
	}
	return nil
}

// pollEvery bounds a wait when another node sends: its ring is not heard here.
const pollEvery = time.Second

// Receive puts messages in flight and returns them. With nothing to receive it
// waits as the request or the queue says, and then returns none. When ctx ends
// it returns none, or its error.
func (q *Queues) Receive(ctx context.Context, r Ref, req ReceiveRequest) ([]Received, error) {
	have, err := q.Find(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := req.check(have); err != nil {
		return nil, err
	}
	wait := have.Wait
	if req.Wait != nil {
		wait = *req.Wait
	}
	end := time.Now().Add(wait)
	for {
		got, err := q.receiveOrWait(ctx, have, req, end)
		if err != nil || len(got) > 0 || ctx.Err() != nil || !time.Now().Before(end) {
			return got, err
		}
		if have, err = q.Find(ctx, r); err != nil {
			return nil, err
		}
	}
}

// receiveOrWait looks for messages and, with none, waits until there may be
// some or until end.
func (q *Queues) receiveOrWait(ctx context.Context, have *Queue, req ReceiveRequest, end time.Time) ([]Received, error) {
	left := time.Until(end)
	var rung chan struct{}
	if left > 0 {
		// Joined before looking, so that no message comes in between.
		rung = q.bell.wait(have.id)
		defer q.bell.leave(have.id, rung)
	}
	at, some, err := nextDue(ctx, q.db, have)
	if err != nil {
		return nil, err
	}
	if some && at <= q.now() || req.AttemptID != "" {
		if err := q.checkInFlight(ctx, have); err != nil {
			return nil, err
		}
		got, err := q.take(ctx, have, req)
		if err != nil || len(got) > 0 {
			return got, err
		}
	} else if some {
		left = min(left, time.Duration(at-q.now())*time.Millisecond)
	}
	if left <= 0 {
		return nil, nil
	}
	timer := time.NewTimer(min(left, pollEvery))
	defer timer.Stop()
	select {
	case <-rung:
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil, nil
}

// maxFlying is how many messages of a standard queue can be in flight. AWS: 120,000.
const maxFlying = 120_000

// checkInFlight returns OverLimit when too many messages are in flight. The
// count is at most a second old.
func (q *Queues) checkInFlight(ctx context.Context, have *Queue) error {
	if have.FIFO {
		return nil // its groups bound it
	}
	full, known := q.flying.get(have.contents)
	if !known {
		var err error
		if full, err = anyInFlightAfter(ctx, q.db, have.contents, q.now(), q.maxFlying); err != nil {
			return err
		}
		q.flying.put(have.contents, full)
	}
	if full {
		return errOverLimit(q.maxFlying)
	}
	return nil
}

// take puts messages in flight, if there are any.
func (q *Queues) take(ctx context.Context, have *Queue, req ReceiveRequest) ([]Received, error) {
	visibility := have.Visibility
	if req.Visibility != nil {
		visibility = *req.Visibility
	}
	var got []message
	err := q.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		now := q.now()
		t := taking{now: now, visibleAt: now + visibility.Milliseconds(), receipt: newReceipt()}
		var err error
		if have.FIFO {
			got, err = q.takeFIFO(ctx, tx, have, req, t)
		} else {
			got, err = q.takeStandard(ctx, tx, have, req.Max, t)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("receive from %s: %w", have.ARN(), err)
	}
	if len(got) == req.Max {
		q.bell.ring(have.id, 1) // there may be more, for the next one that waits
	}
	return have.received(got)
}

// takeRounds bounds how often a receive looks for more after it met messages
// that were to be removed.
const takeRounds = 4

func (q *Queues) takeStandard(ctx context.Context, tx *store.Tx, have *Queue, limit int, t taking) ([]message, error) {
	var got []message
	for range takeRounds {
		want := limit - len(got)
		some, err := takeVisible(ctx, tx, have.contents, want, t)
		if err != nil {
			return nil, err
		}
		found := len(some)
		some, err = q.discard(ctx, tx, have, some, t.now, 1)
		if err != nil {
			return nil, err
		}
		got = append(got, some...)
		if found < want || len(some) == found {
			break
		}
	}
	sortByID(got)
	return got, nil
}

// discard removes what has expired, moves to the dead-letter queue what was
// received too often, and returns the rest. counted is 1 when the receive in
// progress has been counted on the messages already.
func (q *Queues) discard(ctx context.Context, tx *store.Tx, have *Queue, list []message, now, counted int64) ([]message, error) {
	cutoff := now - have.Retention.Milliseconds()
	var keep, expired, dead []message
	for _, m := range list {
		switch {
		case m.sentAt <= cutoff:
			expired = append(expired, m)
		case have.Redrive != nil && m.receiveCount-counted >= have.Redrive.MaxReceives:
			dead = append(dead, m)
		default:
			keep = append(keep, m)
		}
	}
	if err := deleteMessages(ctx, tx, expired); err != nil {
		return nil, err
	}
	if len(dead) == 0 {
		return keep, nil
	}
	moved, err := q.bury(ctx, tx, have, dead, now, counted)
	if err != nil {
		return nil, err
	}
	if !moved {
		keep = append(keep, dead...)
		sortByID(keep)
	}
	return keep, nil
}

// bury moves messages to the dead-letter queue. It returns false when that
// queue is gone: then they stay, as in AWS.
func (q *Queues) bury(ctx context.Context, tx *store.Tx, have *Queue, list []message, now, counted int64) (bool, error) {
	dead, err := findQueue(ctx, tx, have.Redrive.DeadLetter)
	if err != nil || dead == nil || dead.FIFO != have.FIFO || !dead.mayRedrive(have.Ref) {
		return false, err
	}
	for i := range list {
		m := list[i]
		m.source = have.ARN()
		m.receiveCount -= counted // this receive gives it to nobody
		if have.FIFO {
			// AWS: a FIFO message is enqueued anew, a standard one keeps its age.
			m.sentAt = now
			if err := joinGroup(ctx, tx, dead.contents, m.groupID, now); err != nil {
				return false, err
			}
		}
		if err := relocate(ctx, tx, &m, dead, now); err != nil {
			return false, err
		}
	}
	tx.OnCommit(func() { q.bell.ring(dead.id, len(list)) })
	return true, nil
}

// received makes of rows what a receive returns.
func (have *Queue) received(list []message) ([]Received, error) {
	var out []Received
	for _, m := range list {
		h := handle{queue: have.id, contents: have.contents, message: m.id, receipt: m.receipt}
		r := Received{
			MessageID: m.messageID, Handle: h.String(), Body: m.body,
			Sender: m.sender, Trace: m.trace, GroupID: m.groupID, DedupID: m.dedupID, Source: m.source,
			SentAt: m.sentAt, FirstReceivedAt: m.firstReceivedAt, ReceiveCount: m.receiveCount,
		}
		if have.FIFO {
			r.Sequence = sequenceNumber(m.id)
		}
		if m.attributes != "" {
			if err := json.Unmarshal([]byte(m.attributes), &r.Attributes); err != nil {
				return nil, fmt.Errorf("attributes of message %s: %w", m.messageID, err)
			}
		}
		out = append(out, r)
	}
	return out, nil
}
