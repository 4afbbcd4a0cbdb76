package queue

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// Move is a message move task: it takes what is visible in a dead-letter queue
// to another queue, or each message back to the queue that it died in.
type Move struct {
	Handle      string
	Source      Ref
	Destination string // an ARN; empty: back to where each came from
	// Rate is messages per second; 0 leaves it to the queue.
	Rate int64
	// Status is RUNNING, COMPLETED, CANCELLED or FAILED.
	Status, Failure string
	// ToMove is how many there were at the start, Moved how many have been moved.
	ToMove, Moved int64
	Started       int64 // unix milliseconds

	id int64
}

const (
	moveRunning   = "RUNNING"
	moveCompleted = "COMPLETED"
	moveCancelled = "CANCELLED"
	moveFailed    = "FAILED"

	// maxMoveRate is AWS's highest rate of a move.
	maxMoveRate = 500
	// moveChunk is how many messages are moved in one transaction.
	moveChunk = 50
	// keepMoves is how many tasks of a source are remembered. AWS: the ten most recent are listed.
	keepMoves = 10
)

// StartMove starts moving what source holds, and returns the task's handle. AWS:
// the source must be another queue's dead-letter queue and has one task at a time.
func (q *Queues) StartMove(ctx context.Context, source Ref, destination string, rate int64) (string, error) {
	if rate < 0 || rate > maxMoveRate {
		return "", errParameter("MaxNumberOfMessagesPerSecond", rate, "Must be between 1 and %d, if provided.", maxMoveRate)
	}
	m := Move{Source: source, Destination: destination, Rate: rate, Status: moveRunning}
	err := q.db.Update(ctx, func(tx *store.Tx) error {
		from, err := findQueue(ctx, tx, source)
		if err != nil {
			return err
		}
		if from == nil {
			return errNoResource("SourceArn")
		}
		if err := checkMove(ctx, tx, from, destination); err != nil {
			return err
		}
		m.Started = q.now()
		c, err := countMessages(ctx, tx, from, m.Started)
		if err != nil {
			return err
		}
		m.ToMove, m.Handle = c.visible, newMoveHandle(source)
		awsapi.Made(ctx, m)
		return insertMove(ctx, tx, &m)
	})
	if err != nil {
		return "", fmt.Errorf("start to move messages of %s: %w", source.ARN(), err)
	}
	q.moves.ring(0, 1)
	return m.Handle, nil
}

func checkMove(ctx context.Context, tx *store.Tx, from *Queue, destination string) error {
	sources, err := listSources(ctx, tx, from.Ref, "", 1)
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return errInvalid("Source queue must be configured as a Dead Letter Queue.")
	}
	if destination != "" {
		r, ok := ParseARN(destination)
		if !ok || r.Account != from.Account || r.Region != from.Region {
			return errNoResource("DestinationArn")
		}
		if r == from.Ref {
			return errInvalid("Source queue arn and destination queue arn must not be the same.")
		}
		to, err := findQueue(ctx, tx, r)
		if err != nil {
			return err
		}
		if to == nil {
			return errNoResource("DestinationArn")
		}
		if to.FIFO != from.FIFO {
			return errInvalid("Source and destination must be queues of the same type.")
		}
	}
	active, err := movesOf(ctx, tx, from.Ref, 1)
	if err != nil {
		return err
	}
	if len(active) > 0 && active[0].Status == moveRunning {
		return errUnsupported("There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
	}
	return nil
}

// newMoveHandle returns a handle that tells the source, as AWS's does.
func newMoveHandle(source Ref) string {
	text, _ := json.Marshal(map[string]string{"taskId": rand.Text(), "sourceArn": source.ARN()})
	return base64.StdEncoding.EncodeToString(text)
}

// moveSource reads the source of a task's handle.
func moveSource(moveHandle string) (Ref, bool) {
	var in struct{ SourceArn string }
	text, err := base64.StdEncoding.DecodeString(moveHandle)
	if err != nil || json.Unmarshal(text, &in) != nil {
		return Ref{}, false
	}
	return ParseARN(in.SourceArn)
}

// CancelMove ends a running task and returns how many messages it has moved.
func (q *Queues) CancelMove(ctx context.Context, moveHandle string) (moved int64, err error) {
	err = q.db.Update(ctx, func(tx *store.Tx) error {
		m, err := findMove(ctx, tx, moveHandle)
		if err != nil {
			return err
		}
		if m == nil {
			return errNoResource("TaskHandle")
		}
		if m.Status != moveRunning {
			return errUnsupported("Only active tasks can be cancelled; the status of this one is %s.", m.Status)
		}
		moved = m.Moved
		m.Status = moveCancelled
		awsapi.Made(ctx, *m)
		return saveMove(ctx, tx, m, 0)
	})
	return moved, err
}

// Moves returns up to limit tasks of the source, the newest first.
func (q *Queues) Moves(ctx context.Context, source Ref, limit int) ([]Move, error) {
	return movesOf(ctx, q.db, source, limit)
}

// moveDue advances the tasks that are due by one chunk each and returns when
// the next one is.
func (q *Queues) moveDue(ctx context.Context) (next time.Time, err error) {
	for {
		var again bool
		err := q.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			m, err := dueMove(ctx, tx, q.now())
			if again = m != nil; err != nil || m == nil {
				return err
			}
			return q.advance(ctx, tx, m)
		})
		if err != nil {
			return time.Time{}, fmt.Errorf("move messages: %w", err)
		}
		if !again {
			return nextMove(ctx, q.db)
		}
	}
}

// advance moves one chunk of a task.
func (q *Queues) advance(ctx context.Context, tx *store.Tx, m *Move) error {
	now := q.now()
	from, err := findQueue(ctx, tx, m.Source)
	if err != nil {
		return err
	}
	if from == nil {
		m.Status, m.Failure = moveFailed, "AWS.SimpleQueueService.NonExistentQueue"
		return saveMove(ctx, tx, m, 0)
	}
	limit, pause := moveChunk, int64(0)
	if m.Rate > 0 {
		limit = int(min(max(m.Rate/10, 1), moveChunk))
		pause = int64(limit) * 1000 / m.Rate
	}
	list, err := movable(ctx, tx, from, now, limit)
	if err != nil {
		return err
	}
	found := len(list)
	if list, err = dropExpired(ctx, tx, from, list, now); err != nil {
		return err
	}
	for i := range list {
		err := q.moveOne(ctx, tx, from, &list[i], m.Destination, now)
		if stuck, ok := errors.AsType[*moveError](err); ok {
			m.Status, m.Failure = moveFailed, stuck.reason
			return saveMove(ctx, tx, m, 0)
		}
		if err != nil {
			return err
		}
		m.Moved++
	}
	if found < limit {
		m.Status = moveCompleted
	}
	return saveMove(ctx, tx, m, now+pause)
}

// dropExpired deletes what is past the queue's retention and has not been swept yet,
// and returns the rest: a move would give it a new life.
func dropExpired(ctx context.Context, tx *store.Tx, from *Queue, list []message, now int64) ([]message, error) {
	cutoff := now - from.Retention.Milliseconds()
	var keep, expired []message
	for _, m := range list {
		if m.sentAt <= cutoff {
			expired = append(expired, m)
		} else {
			keep = append(keep, m)
		}
	}
	if err := deleteMessages(ctx, tx, expired); err != nil || !from.FIFO {
		return keep, err
	}
	for _, m := range expired {
		if err := settleGroup(ctx, tx, from.contents, m.groupID, now); err != nil {
			return nil, err
		}
	}
	return keep, nil
}

// moveError is why a message cannot be moved, as ListMessageMoveTasks tells it.
type moveError struct{ reason string }

// Error returns what the task's failure says.
func (e *moveError) Error() string { return e.reason }

// moveOne moves a message as a new one: AWS gives it a new id and time.
func (q *Queues) moveOne(ctx context.Context, tx *store.Tx, from *Queue, m *message, destination string, now int64) error {
	if destination == "" {
		destination = m.source
	}
	r, ok := ParseARN(destination)
	if !ok {
		return &moveError{"CouldNotDetermineMessageSource"}
	}
	to, err := findQueue(ctx, tx, r)
	if err != nil {
		return err
	}
	if to == nil || to.FIFO != from.FIFO {
		return &moveError{"AWS.SimpleQueueService.NonExistentQueue"}
	}
	if from.FIFO {
		if err := joinGroup(ctx, tx, to.contents, m.groupID, now); err != nil {
			return err
		}
	}
	m.messageID, m.source = uuid.NewString(), ""
	m.sentAt, m.firstReceivedAt, m.receiveCount = now, 0, 0
	if err := relocate(ctx, tx, m, to, now); err != nil {
		return err
	}
	tx.OnCommit(func() { q.bell.ring(to.id, 1) })
	if !from.FIFO {
		return nil
	}
	return settleGroup(ctx, tx, from.contents, m.groupID, now)
}
