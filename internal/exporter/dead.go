package exporter

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// Where dead records come from.
const (
	sourceRecord     = "record"
	sourceDeadLetter = "dead-letter queue"
)

// maxListedBody is how many bytes of each record a list has.
const maxListedBody = 16 << 10

// How many dead records are kept, and how many bytes of them. Beyond it, records that
// are given up stay in their queues.
const (
	maxDead      = 20_000
	maxDeadBytes = 256 << 20
)

// errDeadFull says that as many dead records are kept as may be.
var errDeadFull = errors.New("as many dead records are kept as may be; redrive or delete some of them")

// DeadRecord is an event record that was given up. It was taken off its queue, and is
// kept until it is put back or deleted.
type DeadRecord struct {
	ID string
	// QueueARN is the queue that it came from, and goes back to.
	QueueARN  string
	MessageID string
	// Body is as it came; in lists at most the first maxListedBody bytes of Size.
	Body []byte
	Size int
	// Source is how it came here: "record", if the exporter gave it up, or "dead-letter
	// queue", if the queue did.
	Source string
	Reason string
	// Key is the resource that it names, as far as that could be read.
	Key Key
	// Attempts is how often it was received.
	Attempts int
	SentAt   time.Time
	DeadAt   time.Time
}

// DeadFilter says which dead records are meant; empty fields mean all.
type DeadFilter struct{ QueueARN, Account, Region, Kind, Identifier string }

func newDeadID() string { return uuid.Must(uuid.NewV7()).String() }

var deadIDForm = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// keepDead stores dead records; those of messages that are kept already change nothing.
func keepDead(ctx context.Context, tx *store.Tx, list []DeadRecord) error {
	records, bytes, err := insertDead(ctx, tx, list)
	if err != nil {
		return err
	}
	if records > maxDead || bytes > maxDeadBytes {
		return errDeadFull
	}
	return nil
}

// DeadRecords lists dead records, the oldest first, from after an id, or with
// descending the newest first from before it; at most limit.
func (x *Exporter) DeadRecords(ctx context.Context, f DeadFilter, after string, limit int, descending bool) ([]DeadRecord, error) {
	list, err := listDead(ctx, x.db, f, after, limit, descending)
	if err != nil {
		return nil, fmt.Errorf("list dead records: %w", err)
	}
	return list, nil
}

// DeadRecord returns one dead record; an *httpapi.Error if there is none.
func (x *Exporter) DeadRecord(ctx context.Context, id string) (DeadRecord, error) {
	if !deadIDForm.MatchString(id) {
		return DeadRecord{}, noDead(id)
	}
	d, found, err := loadDead(ctx, x.db, id)
	if err != nil {
		return d, fmt.Errorf("read dead record %s: %w", id, err)
	}
	if !found {
		return d, noDead(id)
	}
	return d, nil
}

func noDead(id string) error {
	return httpapi.NotFound("There is no dead record %q; it may have been redriven or deleted.", id)
}

// RedriveDead puts a dead record back on the queue that it came from. It is deleted here
// after that: an end between the two leaves it twice, which changes nothing.
func (x *Exporter) RedriveDead(ctx context.Context, id string) error {
	d, err := x.DeadRecord(ctx, id)
	if err != nil {
		return err
	}
	ref, err := parseQueue(d.QueueARN)
	if err != nil {
		return err
	}
	client, err := x.o.Cloud.SQS(ctx, ref.Account, ref.Region)
	if err != nil {
		return fmt.Errorf("redrive record %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err = client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String(ref.URL()), MessageBody: aws.String(string(d.Body))})
	if err != nil {
		x.log.Warn("a dead record could not be put back", "record", id, "queue", d.QueueARN, "error", err)
		return httpapi.Unavailable(time.Minute, "Record %s is not redriven: queue %s did not take it (%s).", id, d.QueueARN, clip(err.Error()))
	}
	if err := x.DeleteDead(ctx, id); err != nil {
		if e, ok := errors.AsType[*httpapi.Error](err); !ok || e.Code != httpapi.CodeNotFound {
			return err
		}
	}
	return nil
}

// DeleteDead forgets a dead record.
func (x *Exporter) DeleteDead(ctx context.Context, id string) error {
	if !deadIDForm.MatchString(id) {
		return noDead(id)
	}
	return x.db.Update(ctx, func(tx *store.Tx) error {
		found, err := deleteDead(ctx, tx, id)
		if err != nil {
			return fmt.Errorf("delete dead record %s: %w", id, err)
		}
		if !found {
			return noDead(id)
		}
		return nil
	})
}

// deadBatch is how many dead records are redriven, or deleted, for one request.
const deadBatch = 100

// DeadBatch is what came of doing something with some dead records.
type DeadBatch struct {
	Done, Failed int
	// Err is why the first of those failed; nil for none.
	Err error
	// Next is the id after which there may be more; empty if there are none.
	Next string
}

// RedriveAll puts dead records back on their queues, the oldest first, at most deadBatch
// of them: those of a filter, from after an id, that were given up by a time.
func (x *Exporter) RedriveAll(ctx context.Context, f DeadFilter, after string, until time.Time) (DeadBatch, error) {
	return x.eachDead(ctx, f, after, until, x.RedriveDead)
}

// DeleteAllDead forgets dead records, as RedriveAll puts them back.
func (x *Exporter) DeleteAllDead(ctx context.Context, f DeadFilter, after string, until time.Time) (DeadBatch, error) {
	return x.eachDead(ctx, f, after, until, x.DeleteDead)
}

func (x *Exporter) eachDead(ctx context.Context, f DeadFilter, after string, until time.Time, do func(context.Context, string) error) (b DeadBatch, err error) {
	list, err := x.DeadRecords(ctx, f, after, deadBatch+1, false)
	if err != nil {
		return b, err
	}
	for i := range list {
		switch {
		case list[i].DeadAt.After(until):
			return b, nil
		case i == deadBatch:
			b.Next = list[i-1].ID
			return b, nil
		}
		err := do(ctx, list[i].ID)
		if ctx.Err() != nil {
			return b, ctx.Err()
		}
		if err == nil {
			b.Done++
			continue
		}
		if b.Failed++; b.Err == nil {
			b.Err = err
		}
	}
	return b, nil
}

// drainDeadLetters keeps what the queue's own dead-letter queue holds as dead records,
// until ctx ends. What it holds of other queues is left there.
func (p *poller) drainDeadLetters(ctx context.Context) error {
	arn := p.currentPolicy().deadLetter
	if arn == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	ref, err := parseQueue(arn)
	if err != nil {
		return fmt.Errorf("dead-letter queue of queue %s: %w", p.queue.ARN, err)
	}
	for failures := 0; ctx.Err() == nil; {
		err := p.drainOnce(ctx, ref)
		if err == nil {
			failures = 0
			p.setTrouble(nil)
			continue
		}
		if ctx.Err() != nil {
			break
		}
		// The queue itself is read all the same.
		failures++
		p.x.log.Warn("a dead-letter queue cannot be emptied", "queue", arn, "error", err)
		p.setTrouble(fmt.Errorf("its dead-letter queue %s cannot be emptied: %w", arn, err))
		pause(ctx, min(queueRetryCap, queueRetryBase<<min(failures, 10)))
	}
	return ctx.Err()
}

func (p *poller) drainOnce(ctx context.Context, ref cloud.Queue) error {
	call, cancel := context.WithTimeout(ctx, pollWait+callTime)
	defer cancel()
	client, err := p.client(call)
	if err != nil {
		return err
	}
	url := ref.URL()
	out, err := client.ReceiveMessage(call, &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: pollBatch, WaitTimeSeconds: int32(pollWait / time.Second), VisibilityTimeout: int32(retryCap / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp,
			types.MessageSystemAttributeNameDeadLetterQueueSourceArn,
		},
	})
	if err != nil {
		return err
	}
	var ours []*message
	var dead []DeadRecord
	now := p.x.now()
	for _, m := range out.Messages {
		from := m.Attributes[string(types.MessageSystemAttributeNameDeadLetterQueueSourceArn)]
		if from != "" && from != p.queue.ARN {
			continue
		}
		msg := newMessage(p, m, now)
		reason := "the queue gave it up: it was received too often without being dealt with"
		if pol := p.currentPolicy(); pol.maxReceives > 0 {
			reason = "the queue gave it up: it was received " + strconv.Itoa(pol.maxReceives) + " times without being dealt with"
		}
		ours = append(ours, msg)
		dead = append(dead, DeadRecord{
			ID: newDeadID(), QueueARN: p.queue.ARN, MessageID: msg.id, Body: []byte(msg.body), Source: sourceDeadLetter, Reason: reason,
			Attempts: msg.attempts, SentAt: msg.sentAt, DeadAt: now,
		})
	}
	if len(ours) == 0 {
		return nil
	}
	err = p.x.db.Update(ctx, func(tx *store.Tx) error { return keepDead(ctx, tx, dead) })
	if err != nil {
		return err
	}
	return p.removeFrom(context.WithoutCancel(ctx), url, ours)
}
