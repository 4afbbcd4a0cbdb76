package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// pollWait is how long a call waits for messages, and pollBatch how many it may
	// bring. AWS: 20 seconds and 10 messages at most.
	pollWait  = 20 * time.Second
	pollBatch = 10
	// maxHeld is how many messages of a queue are being dealt with at once.
	maxHeld = 1000
	// maxHeldBytes bounds their bodies.
	maxHeldBytes = 64 << 20
	// invisibleFor is how long messages that we have are hidden from others, should we
	// die. It is prolonged for as long as they are being dealt with.
	invisibleFor = time.Minute
	// attributesEvery is how often the queue is asked how much it holds.
	attributesEvery = time.Minute
	// lookEvery is how often it is looked whether another node changed the queues.
	lookEvery = 15 * time.Second
	// The pause after an error of the queue doubles from queueRetryBase to queueRetryCap.
	queueRetryBase = time.Second
	queueRetryCap  = 5 * time.Minute
	// callTime bounds a call beyond what it may wait for messages.
	callTime = 15 * time.Second
	// farewell bounds the calls that are still made once polling is to stop.
	farewell = 5 * time.Second
)

// pollQueues reads the queues of all accounts that are enabled, until ctx ends.
func (x *Exporter) pollQueues(ctx context.Context) error {
	p := x.newPipe()
	defer p.start(ctx)()
	running := map[string]*polling{}
	defer func() {
		for _, r := range running {
			r.end()
		}
	}()
	for {
		changed := x.accountsChanged()
		if err := x.adjustPollers(ctx, p, running); err != nil && ctx.Err() == nil {
			x.log.Warn("the exporter's queues could not be read from the database", "error", err)
		}
		t := time.NewTimer(lookEvery)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// polling is the reading of one queue.
type polling struct {
	queue Queue
	end   func() // stops it and waits
}

// adjustPollers starts and stops the reading of queues.
func (x *Exporter) adjustPollers(ctx context.Context, p *pipe, running map[string]*polling) error {
	queues, err := x.enabledQueues(ctx)
	if err != nil {
		return err
	}
	wanted := map[string]Queue{}
	for _, q := range queues {
		wanted[q.ARN] = q
	}
	for arn, r := range running {
		if q, ok := wanted[arn]; !ok || !q.UpdatedAt.Equal(r.queue.UpdatedAt) {
			r.end()
			delete(running, arn)
		}
	}
	for arn, q := range wanted {
		if running[arn] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			x.pollQueue(ctx, p, q)
		}()
		running[arn] = &polling{queue: q, end: func() { cancel(); <-done }}
	}
	return nil
}

func (x *Exporter) enabledQueues(ctx context.Context) ([]Queue, error) {
	accounts, err := x.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	enabled := map[string]bool{}
	for _, a := range accounts {
		enabled[a.Account] = a.Enabled
	}
	queues, err := x.Queues(ctx)
	if err != nil {
		return nil, err
	}
	var list []Queue
	for _, q := range queues {
		if enabled[q.Account] {
			list = append(list, q)
		}
	}
	return list, nil
}

// poller fetches the messages of one queue.
type poller struct {
	x     *Exporter
	pipe  *pipe
	queue Queue
	ref   cloud.Queue

	mu     sync.Mutex // guards what follows
	status Queue      // as noted in the database, and since
	policy policy
	held   map[*message]bool
	// slots has an element for each message that may still be held; bytes are what their
	// bodies may take.
	slots chan struct{}
	bytes *semaphore.Weighted
	// done, back and dead take messages that were dealt with: to be deleted, to come
	// again, to be kept as dead records.
	done, back chan *message
	dead       chan *message
}

// policy is what a queue does with messages by itself.
type policy struct {
	retention   time.Duration
	deadLetter  string // ARN of its dead-letter queue; empty for none
	maxReceives int    // 0 for no limit
}

// pollQueue fetches a queue's messages until ctx ends. Errors are noted and waited
// out.
func (x *Exporter) pollQueue(ctx context.Context, pipe *pipe, q Queue) {
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := x.pollUntilError(ctx, pipe, q)
		if ctx.Err() != nil {
			return
		}
		x.log.Warn("a queue of event records cannot be read", "queue", q.ARN, "error", err)
		x.noteQueueFailure(ctx, q, err)
		if time.Since(began) > queueRetryCap {
			attempt = 1 // it worked for long
		}
		pause(ctx, work.Backoff(attempt, queueRetryBase, queueRetryCap, nil))
	}
}

// pause returns after d or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (x *Exporter) noteQueueFailure(ctx context.Context, q Queue, cause error) {
	err := x.db.Update(ctx, func(tx *store.Tx) error {
		now, found, err := loadQueue(ctx, tx, q.ARN)
		if err != nil || !found {
			return err
		}
		now.Received = 0
		now.FailedWhy = clip(cause.Error())
		if now.FailedAt.IsZero() {
			now.FailedAt = x.now()
		}
		return noteQueue(ctx, tx, now)
	})
	if err != nil && ctx.Err() == nil {
		x.log.Warn("it could not be noted that a queue cannot be read", "queue", q.ARN, "error", err)
	}
}

func (x *Exporter) pollUntilError(ctx context.Context, pipe *pipe, q Queue) error {
	ref, err := parseQueue(q.ARN)
	if err != nil {
		return err
	}
	p := &poller{
		x: x, pipe: pipe, queue: q, ref: ref, held: map[*message]bool{}, slots: make(chan struct{}, maxHeld), bytes: semaphore.NewWeighted(maxHeldBytes),
		done: make(chan *message, maxHeld), back: make(chan *message, maxHeld), dead: make(chan *message, maxHeld),
	}
	for range maxHeld {
		p.slots <- struct{}{}
	}
	if err := p.attributes(ctx); err != nil {
		return err
	}
	return p.run(ctx)
}

// run fetches messages until something fails, and sees to it that all it has
// fetched are dealt with, or come again.
func (p *poller) run(ctx context.Context) error {
	hands, handsDone := p.startHands(ctx)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.watchAttributes(gctx) })
	g.Go(func() error { return p.keepHidden(gctx) })
	g.Go(func() error { return p.drainDeadLetters(gctx) })
	g.Go(func() error { return cloud.Poll(gctx, pollWait, p.fetch) })
	err := g.Wait()
	// Those still being dealt with end soon if ctx has; otherwise they are waited for.
	for range maxHeld {
		<-p.slots
	}
	hands()
	<-handsDone
	return err
}

// client returns the client for a call: the account's settings may have changed
// since the last.
func (p *poller) client(ctx context.Context) (*sqs.Client, error) {
	return p.x.o.Cloud.SQS(ctx, p.ref.Account, p.ref.Region)
}

// attributes asks the queue what it holds and what it does by itself, and notes that
// it works.
func (p *poller) attributes(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	client, err := p.client(call)
	if err != nil {
		return err
	}
	out, err := client.GetQueueAttributes(call, &sqs.GetQueueAttributesInput{QueueUrl: &p.queue.URL, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameRedrivePolicy, types.QueueAttributeNameMessageRetentionPeriod, types.QueueAttributeNameApproximateNumberOfMessages,
	}})
	if err != nil {
		return fmt.Errorf("ask queue %s for its attributes: %w", p.queue.ARN, err)
	}
	waiting, err := strconv.ParseInt(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessages)], 10, 64)
	if err != nil {
		return fmt.Errorf("queue %s does not say how many messages it holds: %w", p.queue.ARN, err)
	}
	pol, err := readPolicy(out.Attributes)
	if err != nil {
		return fmt.Errorf("attributes of queue %s: %w", p.queue.ARN, err)
	}
	p.mu.Lock()
	p.policy = pol
	p.status.PolledAt, p.status.Waiting, p.status.DeadLetterARN = p.x.now(), waiting, pol.deadLetter
	note := p.status
	p.status.Received = 0
	p.mu.Unlock()
	note.ARN = p.queue.ARN
	return p.x.db.Update(ctx, func(tx *store.Tx) error { return noteQueue(ctx, tx, note) })
}

func readPolicy(attributes map[string]string) (policy, error) {
	pol := policy{retention: 4 * 24 * time.Hour} // AWS: where none is set
	if text := attributes[string(types.QueueAttributeNameMessageRetentionPeriod)]; text != "" {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return pol, fmt.Errorf("MessageRetentionPeriod %q is no number", text)
		}
		pol.retention = time.Duration(seconds) * time.Second
	}
	text := attributes[string(types.QueueAttributeNameRedrivePolicy)]
	if text == "" {
		return pol, nil
	}
	// AWS: maxReceiveCount may be a number or a text.
	var redrive struct {
		DeadLetterTargetARN string `json:"deadLetterTargetArn"`
		MaxReceiveCount     any    `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(text), &redrive); err != nil {
		return pol, fmt.Errorf("RedrivePolicy %q is not JSON: %w", text, err)
	}
	n, err := strconv.Atoi(fmt.Sprint(redrive.MaxReceiveCount))
	if err != nil || n < 1 {
		return pol, fmt.Errorf("RedrivePolicy %q has no usable maxReceiveCount", text)
	}
	pol.deadLetter, pol.maxReceives = redrive.DeadLetterTargetARN, n
	return pol, nil
}

// errPolicyChanged ends the reading of a queue so that it begins anew.
var errPolicyChanged = errors.New("the queue's redrive policy changed; reading begins anew")

// watchAttributes asks for the attributes now and then.
func (p *poller) watchAttributes(ctx context.Context) error {
	tick := time.NewTicker(attributesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		before := p.currentPolicy().deadLetter
		if err := p.attributes(ctx); err != nil {
			return err
		}
		if p.currentPolicy().deadLetter != before {
			return errPolicyChanged
		}
	}
}

// setTrouble notes what does not work although the queue is read; nil for nothing.
func (p *poller) setTrouble(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.status.FailedAt, p.status.FailedWhy = time.Time{}, ""
	case p.status.FailedAt.IsZero():
		p.status.FailedAt = p.x.now()
		fallthrough
	default:
		p.status.FailedWhy = clip(err.Error())
	}
}

func (p *poller) currentPolicy() policy {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.policy
}

// fetch receives messages and hands them on. It calls more if the queue may have more of
// them at once.
func (p *poller) fetch(ctx context.Context, wait time.Duration, more func()) error {
	for n := range pollBatch {
		select {
		case <-p.slots:
		case <-ctx.Done():
			p.giveSlots(n)
			return ctx.Err()
		}
	}
	got, err := p.receive(ctx, wait)
	p.giveSlots(pollBatch - len(got))
	if err != nil {
		return err
	}
	if len(got) == 0 {
		return nil
	}
	if len(got) == pollBatch {
		more()
	}
	p.mu.Lock()
	p.status.Received += int64(len(got))
	for _, m := range got {
		p.held[m] = true
	}
	p.mu.Unlock()
	for i, m := range got {
		if err := p.bytes.Acquire(ctx, m.size()); err != nil {
			p.giveBack(ctx, got[i:])
			got = got[:i]
			break
		}
	}
	p.pipe.take(ctx, got)
	return nil
}

// giveBack shows messages to others at once that were fetched and are not dealt with.
func (p *poller) giveBack(ctx context.Context, list []*message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	p.hide(ctx, list, func(*message) time.Duration { return 0 })
	p.mu.Lock()
	for _, m := range list {
		delete(p.held, m)
	}
	p.mu.Unlock()
	p.giveSlots(len(list))
}

func (p *poller) giveSlots(n int) {
	for range n {
		p.slots <- struct{}{}
	}
}

func (p *poller) receive(ctx context.Context, wait time.Duration) ([]*message, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+callTime)
	defer cancel()
	client, err := p.client(ctx)
	if err != nil {
		return nil, err
	}
	out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &p.queue.URL, MaxNumberOfMessages: pollBatch, WaitTimeSeconds: int32(wait / time.Second),
		VisibilityTimeout: int32(invisibleFor / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp,
			types.MessageSystemAttributeNameApproximateFirstReceiveTimestamp,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("receive messages of queue %s: %w", p.queue.ARN, err)
	}
	now := p.x.now()
	list := make([]*message, len(out.Messages))
	for i, m := range out.Messages {
		list[i] = newMessage(p, m, now)
	}
	return list, nil
}

// keepHidden keeps messages that are held hidden from others.
func (p *poller) keepHidden(ctx context.Context) error {
	tick := time.NewTicker(invisibleFor / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		var old []*message
		now := p.x.now()
		p.mu.Lock()
		for m := range p.held {
			if now.Sub(m.receivedAt) >= invisibleFor/4 || now.Before(m.receivedAt) {
				old = append(old, m)
			}
		}
		p.mu.Unlock()
		p.hide(ctx, old, func(*message) time.Duration { return invisibleFor })
	}
}

// hide sets for how long messages are hidden from now on. One that cannot be hidden
// comes again sooner, and is found to be dealt with then.
func (p *poller) hide(ctx context.Context, list []*message, d func(*message) time.Duration) {
	for len(list) > 0 {
		chunk := list[:min(pollBatch, len(list))]
		list = list[len(chunk):]
		if err := p.hideSome(ctx, chunk, d); err != nil && ctx.Err() == nil {
			p.x.log.Warn("messages of a queue may come again sooner than they should", "queue", p.queue.ARN, "error", err)
		}
	}
}

func (p *poller) hideSome(ctx context.Context, list []*message, d func(*message) time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	client, err := p.client(ctx)
	if err != nil {
		return err
	}
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(list))
	for n, m := range list {
		entries[n] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), ReceiptHandle: &m.handle, VisibilityTimeout: int32(d(m) / time.Second)}
	}
	_, err = client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &p.queue.URL, Entries: entries})
	return err
}
