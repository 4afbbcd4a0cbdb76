package exporter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// A record that fails is tried again after retryBase, doubling up to retryCap, until
	// giveUpAfter since it first came.
	retryBase   = time.Second
	retryCap    = 15 * time.Minute
	giveUpAfter = 24 * time.Hour
	// minAttempts are made however old a record is by our clock, which may be wrong.
	minAttempts = 10
	// permanentAttempts are made of one for which trying again is not expected to help.
	permanentAttempts = 3
)

// message is a message of a queue that is being dealt with.
type message struct {
	p          *poller
	id, handle string
	body       string
	attempts   int
	// sentAt is when it was put on the queue, firstAt when it first came off it.
	sentAt, firstAt, receivedAt time.Time
	// mark is the last ticket when it came: a read with a higher one knows what it tells.
	mark int64

	mu      sync.Mutex // guards what follows
	open    int        // how many of its resources are not dealt with
	records []record   // what it says, where that could be read
	failure *failure   // the worst so far; nil for none
}

// failure is why a record could not be dealt with.
type failure struct {
	err error
	// fatal: trying again cannot help. stubborn: it is not expected to.
	fatal, stubborn bool
	// away: this node stops; it is no fault of the record.
	away bool
	// pause is how long to wait at least; 0 for the usual.
	pause time.Duration
	// putOff: it was not tried, and waits for no longer than pause.
	putOff bool
}

func (f *failure) worse(g *failure) bool {
	rank := func(f *failure) int {
		switch {
		case f == nil:
			return 0
		case f.away:
			return 4
		case f.fatal:
			return 1
		case f.stubborn:
			return 2
		}
		return 3
	}
	return rank(f) > rank(g)
}

func newMessage(p *poller, m types.Message, now time.Time) *message {
	at := func(name types.MessageSystemAttributeName) time.Time {
		ms, err := strconv.ParseInt(m.Attributes[string(name)], 10, 64)
		if err != nil {
			return now
		}
		return fromMillis(ms)
	}
	n, err := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if err != nil {
		n = 1
	}
	return &message{
		p: p, id: aws.ToString(m.MessageId), handle: aws.ToString(m.ReceiptHandle), body: aws.ToString(m.Body), attempts: n,
		sentAt: at(types.MessageSystemAttributeNameSentTimestamp), firstAt: at(types.MessageSystemAttributeNameApproximateFirstReceiveTimestamp),
		receivedAt: now, mark: p.x.tickets.mark(),
	}
}

// settle notes how it went with one of the resources that the message is about; the last
// decides what becomes of it.
func (m *message) settle(f *failure) {
	m.mu.Lock()
	if f.worse(m.failure) {
		m.failure = f
	}
	m.open--
	last := m.open == 0
	f = m.failure
	m.mu.Unlock()
	if last {
		m.end(f)
	}
}

// end decides what becomes of the message.
func (m *message) end(f *failure) {
	switch {
	case f == nil:
		m.p.done <- m
	case f.away:
		m.p.back <- m
	case f.fatal, m.giveUp(f):
		m.p.dead <- m
	default:
		m.p.back <- m
	}
}

// giveUp reports whether a record that failed is not to be tried again.
func (m *message) giveUp(f *failure) bool {
	pol := m.p.currentPolicy()
	age := m.p.x.now().Sub(m.firstAt)
	switch {
	case f.stubborn && m.attempts >= permanentAttempts:
		return true
	case pol.maxReceives > 0 && m.attempts >= pol.maxReceives:
		return true // the queue would, without a word of why
	case m.attempts >= minAttempts && age >= giveUpAfter:
		return true
	}
	// The queue would drop it before it comes again. Its clock and ours may differ.
	left := pol.retention - m.p.x.now().Sub(m.sentAt)
	return m.attempts > 1 && left < min(2*retryCap, pol.retention/5)
}

// mayWait reports whether a message may come again without having been tried: not where it is
// about to be given up for its age, or for how often it came.
func (m *message) mayWait() bool {
	pol, now := m.p.currentPolicy(), m.p.x.now()
	return (pol.maxReceives == 0 || 2*m.attempts < pol.maxReceives) &&
		now.Sub(m.firstAt) < giveUpAfter/2 && now.Sub(m.sentAt) < pol.retention/2
}

// pauseFor is how long a message is hidden before it comes again.
func (m *message) pauseFor() time.Duration {
	m.mu.Lock()
	f := m.failure
	m.mu.Unlock()
	if f == nil || f.away {
		return 0
	}
	d := f.pause
	if !f.putOff {
		d = max(d, work.Backoff(m.attempts, retryBase, retryCap, nil))
	}
	// A queue that drops its messages soon must not do so in between.
	d = min(d, max(m.p.currentPolicy().retention/10, time.Second))
	return d.Truncate(time.Second) + time.Second
}

// startHands starts what deletes messages, has them come again, and keeps dead records.
// They end once stop is called and all is done.
func (p *poller) startHands(ctx context.Context) (stop func(), ended chan struct{}) {
	var all sync.WaitGroup
	// What is stored here is deleted there also when polling is to stop.
	calm := context.WithoutCancel(ctx)
	for range 4 {
		all.Go(func() { collect(p.done, pollBatch, func(list []*message) { p.remove(calm, list) }) })
	}
	all.Go(func() {
		collect(p.back, pollBatch, func(list []*message) {
			ctx, cancel := context.WithTimeout(calm, farewell)
			defer cancel()
			p.hide(ctx, list, (*message).pauseFor)
			p.release(list)
		})
	})
	all.Go(func() { collect(p.dead, pollBatch, func(list []*message) { p.bury(calm, list) }) })
	ended = make(chan struct{})
	go func() {
		defer close(ended)
		all.Wait()
	}()
	return func() {
		close(p.done)
		close(p.back)
		close(p.dead)
	}, ended
}

// collect calls fn with what comes, several at a time where they are there, until the
// channel is closed.
func collect[T any](from <-chan T, most int, fn func([]T)) {
	for first := range from {
		list := []T{first}
		for more := true; more && len(list) < most; {
			select {
			case next, ok := <-from:
				if more = ok; ok {
					list = append(list, next)
				}
			default:
				more = false
			}
		}
		fn(list)
	}
}

// release lets go of messages.
func (p *poller) release(list []*message) {
	p.mu.Lock()
	for _, m := range list {
		delete(p.held, m)
	}
	p.mu.Unlock()
	for _, m := range list {
		p.bytes.Release(m.size())
	}
	p.giveSlots(len(list))
}

// size is what the message takes of maxHeldBytes.
func (m *message) size() int64 { return int64(min(len(m.body), maxHeldBytes)) }

// remove deletes messages that were dealt with. What cannot be deleted comes back and
// is found to change nothing then.
func (p *poller) remove(ctx context.Context, list []*message) {
	defer p.release(list)
	for _, m := range list {
		p.x.waiting.forget(m.id)
	}
	if err := p.removeFrom(ctx, p.queue.URL, list); err != nil {
		p.x.log.Warn("messages were not deleted and come again", "queue", p.queue.ARN, "error", err)
	}
}

func (p *poller) removeFrom(ctx context.Context, url string, list []*message) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	client, err := p.client(ctx)
	if err != nil {
		return err
	}
	entries := make([]types.DeleteMessageBatchRequestEntry, len(list))
	for n, m := range list {
		entries[n] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), ReceiptHandle: &m.handle}
	}
	out, err := client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
	if err != nil {
		return err
	}
	for _, f := range out.Failed {
		err = errors.Join(err, errors.New(aws.ToString(f.Code)+": "+aws.ToString(f.Message)))
	}
	return err
}

// bury keeps messages as dead records, and then deletes them. Those that cannot be
// kept come again.
func (p *poller) bury(ctx context.Context, list []*message) {
	now := p.x.now()
	dead := make([]DeadRecord, len(list))
	for i, m := range list {
		dead[i] = m.dead(now)
	}
	err := p.x.db.Update(ctx, func(tx *store.Tx) error { return keepDead(ctx, tx, dead) })
	if err != nil {
		p.x.log.Warn("dead records could not be kept, and stay in their queue", "queue", p.queue.ARN, "error", err)
		p.setTrouble(fmt.Errorf("dead records cannot be kept: %w", err))
		ctx, cancel := context.WithTimeout(ctx, farewell)
		defer cancel()
		p.hide(ctx, list, func(*message) time.Duration { return retryCap })
		p.release(list)
		return
	}
	p.setTrouble(nil)
	for _, m := range list {
		p.x.tell(m.settled(now))
	}
	p.remove(ctx, list)
}

// dead is the message as a dead record.
func (m *message) dead(now time.Time) DeadRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := DeadRecord{
		ID: newDeadID(), QueueARN: m.p.queue.ARN, MessageID: m.id, Body: []byte(m.body), Source: sourceRecord, Reason: clip(m.failure.err.Error()),
		Attempts: m.attempts, SentAt: m.sentAt, DeadAt: now,
	}
	if len(m.records) > 0 {
		d.Key = m.records[0].Key
	}
	return d
}
