package intake

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// pollWait is how long a call waits for messages, and pollBatch how many it may
	// bring. AWS: 20 seconds and 10 messages at most.
	pollWait  = 20 * time.Second
	pollBatch = 10
	// invisibleFor is how long messages that we have are hidden from others. It is
	// prolonged for as long as they are being taken in.
	invisibleFor = time.Minute
	// attributesEvery is how often the queue is asked how much it holds.
	attributesEvery = time.Minute
	// The pause after an error doubles from retryBase to retryCap.
	retryBase = time.Second
	retryCap  = 5 * time.Minute
	// callTime bounds a call beyond what it may wait for messages: a queue that
	// hangs must not stop the source without a word.
	callTime = 15 * time.Second
	// farewell bounds the calls that are still made once polling is to stop.
	farewell = 5 * time.Second
)

// poller fetches the messages of one queue. One of them runs for a source, on one
// node.
type poller struct {
	i     *Intake
	src   *openSource
	queue cloud.Queue
	url   string
	// redrive: the queue has a redrive policy.
	redrive bool
	// works: messages were received. full: a refused one could not be kept.
	works, full atomic.Bool
}

// poll fetches a source's messages until ctx ends. Errors are noted and waited out.
func (i *Intake) poll(ctx context.Context, s Source) error {
	for attempt := 1; ; attempt++ {
		began := time.Now()
		err := i.pollUntilError(ctx, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.noteFailure(s, err)
		if time.Since(began) > retryCap {
			attempt = 1 // it worked for long
		}
		pause(ctx, work.Backoff(attempt, retryBase, retryCap, nil))
		if ctx.Err() != nil {
			return ctx.Err()
		}
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

// noteFailure notes why a source does not work, or with nil that it does.
func (i *Intake) noteFailure(s Source, err error) {
	var at time.Time
	why := ""
	if err != nil {
		at, why = i.now(), plain(err.Error())
		i.log.Warn("a source does not work", "source", s.Name, "error", err)
	}
	i.activities.note(s.ID, func(t *tally) { t.judged, t.failedAt, t.failedWhy = true, at, why })
}

func (i *Intake) pollUntilError(ctx context.Context, s Source) error {
	src, err := i.opened(s)
	if err != nil {
		return err
	}
	ref, err := parseQueue(s.Settings.Queue)
	if err != nil {
		return err
	}
	p := &poller{i: i, src: src, queue: ref, url: ref.URL()}
	if p.redrive, err = p.attributes(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return p.watchAttributes(ctx) })
	g.Go(func() error { return cloud.Poll(ctx, i.pollWait, p.fetch) })
	return g.Wait()
}

// client returns the client for a round of calls: the account's settings may have
// changed since the last.
func (p *poller) client(ctx context.Context) (*sqs.Client, error) {
	return p.i.o.Cloud.SQS(ctx, p.queue.Account, p.queue.Region)
}

// attributes asks the queue whether it has a redrive policy and how much it holds.
func (p *poller) attributes(ctx context.Context) (redrive bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.i.callTime)
	defer cancel()
	client, err := p.client(ctx)
	if err != nil {
		return false, err
	}
	out, err := client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &p.url, AttributeNames: []types.QueueAttributeName{
		types.QueueAttributeNameRedrivePolicy, types.QueueAttributeNameApproximateNumberOfMessages,
	}})
	if err != nil {
		return false, fmt.Errorf("ask queue %s for its attributes: %w", p.queue.ARN(), err)
	}
	waiting, err := strconv.ParseInt(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessages)], 10, 64)
	if err != nil {
		return false, fmt.Errorf("queue %s does not say how many messages it holds: %w", p.queue.ARN(), err)
	}
	now := p.i.now()
	p.i.activities.note(p.src.ID, func(t *tally) { t.waiting, t.polledAt = waiting, now })
	return out.Attributes[string(types.QueueAttributeNameRedrivePolicy)] != "", nil
}

// watchAttributes ends the polling when the queue's redrive policy comes or goes,
// so that it begins anew.
func (p *poller) watchAttributes(ctx context.Context) error {
	tick := time.NewTicker(attributesEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		redrive, err := p.attributes(ctx)
		if err != nil {
			return err
		}
		if redrive != p.redrive {
			return errRedriveChanged
		}
	}
}

var errRedriveChanged = errors.New("the queue's redrive policy changed; polling begins anew")

// fetch receives messages and takes them in. It calls more if the queue may have more of
// them at once.
func (p *poller) fetch(ctx context.Context, wait time.Duration, more func()) error {
	client, err := p.client(ctx)
	if err != nil {
		return err
	}
	messages, err := p.receive(ctx, client, wait)
	if err != nil {
		return err
	}
	if !p.works.Swap(true) {
		p.i.noteFailure(p.src.Source, nil)
	}
	if len(messages) == 0 {
		return nil
	}
	if len(messages) == pollBatch {
		more()
	}
	return p.take(ctx, &batch{client: client, messages: messages})
}

func (p *poller) receive(ctx context.Context, client *sqs.Client, wait time.Duration) ([]types.Message, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+p.i.callTime)
	defer cancel()
	out, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &p.url, MaxNumberOfMessages: pollBatch, WaitTimeSeconds: int32(wait / time.Second), VisibilityTimeout: int32(p.i.invisible / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameAWSTraceHeader,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("receive messages of queue %s: %w", p.queue.ARN(), err)
	}
	return out.Messages, nil
}

// batch is messages on their way in.
type batch struct {
	client   *sqs.Client // that they came by
	messages []types.Message
	// judged counts those that are judged; done holds those that may be deleted.
	judged int
	done   []types.Message
	// accepted are those whose events, in list, are to be accepted.
	accepted []types.Message
	list     []candidate
}

// take takes messages in and deletes those that are durable here.
func (p *poller) take(ctx context.Context, b *batch) error {
	release := p.hold(ctx, b)
	err := p.settle(ctx, b)
	release()
	return errors.Join(err, p.remove(ctx, b))
}

// settle sees to it that all that comes of the messages is durable, trying again
// for as long as the trouble is ours: a message that came back for it would use up
// its receives.
func (p *poller) settle(ctx context.Context, b *batch) error {
	for attempt := 1; ; attempt++ {
		err := p.settleOnce(ctx, b)
		if err == nil && attempt > 1 {
			p.i.noteFailure(p.src.Source, nil)
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			p.giveBack(ctx, b)
			return err
		}
		p.i.noteFailure(p.src.Source, err)
		pause(ctx, work.Backoff(attempt, retryBase, invisibleFor/2, nil))
	}
}

func (p *poller) settleOnce(ctx context.Context, b *batch) error {
	for ; b.judged < len(b.messages); b.judged++ {
		if err := p.judge(ctx, b, b.messages[b.judged]); err != nil {
			return err
		}
	}
	if err := p.admit(ctx, len(b.list)); err != nil {
		return err
	}
	if _, err := p.i.accept(ctx, p.src, b.list); err != nil {
		return err
	}
	b.done = append(b.done, b.accepted...)
	b.accepted, b.list = nil, nil
	return nil
}

// judge decides what becomes of one message.
func (p *poller) judge(ctx context.Context, b *batch, m types.Message) error {
	c, err := p.i.judge(ctx, p.src, arrival{
		body: unwrap([]byte(aws.ToString(m.Body))), trace: m.Attributes[string(types.MessageSystemAttributeNameAWSTraceHeader)],
	})
	if e, theirs := refusal(err); theirs {
		off, err := p.refuse(ctx, m, e.Message)
		if off {
			b.done = append(b.done, m)
		}
		return err
	}
	if err != nil {
		return err
	}
	b.accepted, b.list = append(b.accepted, m), append(b.list, c)
	return nil
}

// giveBack shows messages that could not be taken in before polling was to stop to
// others at once.
func (p *poller) giveBack(ctx context.Context, b *batch) {
	back := append(b.accepted, b.messages[b.judged:]...)
	if len(back) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	if err := p.hide(ctx, b.client, back, 0); err != nil {
		p.i.log.Warn("messages that were not taken in come again in a minute", "source", p.src.Name, "error", err)
	}
}

// admit waits until so many events may come.
func (p *poller) admit(ctx context.Context, n int) error {
	if p.src.limiter != nil {
		if err := p.src.limiter.WaitN(ctx, n); err != nil {
			return fmt.Errorf("wait for the rate of source %s: %w", p.src.Name, err)
		}
	}
	held, err := p.i.heldBack(ctx)
	if err == nil && held {
		err = errors.New("the event log takes no events now: too many are waiting to be delivered")
	}
	return err
}

// refuse settles a message that is refused. Where the queue has a redrive policy it
// is left, so that SQS moves it to the dead-letter queue; where it has none, the
// message is kept here and off reports that it may be deleted.
func (p *poller) refuse(ctx context.Context, m types.Message, why string) (off bool, err error) {
	why = plain(why)
	if p.redrive {
		if m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)] == "1" {
			p.i.countRefused(p.src, 1, why)
		}
		return false, nil
	}
	err = p.i.keepRefused(ctx, p.src, RefusedMessage{ID: aws.ToString(m.MessageId), Body: []byte(aws.ToString(m.Body)), Why: why, RefusedAt: p.i.now()})
	if errors.Is(err, errRefusedFull) {
		p.full.Store(true)
		p.i.noteFailure(p.src.Source, fmt.Errorf("%w; refused messages stay in the queue until some of those that are kept are taken in or discarded", err))
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("keep message %s: %w", aws.ToString(m.MessageId), err)
	}
	if p.full.Swap(false) {
		p.i.noteFailure(p.src.Source, nil)
	}
	p.i.countRefused(p.src, 1, why)
	return true, nil
}

// hold keeps messages hidden from others until release is called.
func (p *poller) hold(ctx context.Context, b *batch) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(p.i.invisible / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			// What cannot be prolonged comes back, and is found to be a duplicate then.
			if err := p.hide(ctx, b.client, b.messages, p.i.invisible); err != nil && ctx.Err() == nil {
				p.i.log.Warn("messages that take long may come again", "source", p.src.Name, "error", err)
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (p *poller) hide(ctx context.Context, client *sqs.Client, messages []types.Message, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, p.i.callTime)
	defer cancel()
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for n, m := range messages {
		entries[n] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: int32(d / time.Second)}
	}
	_, err := client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &p.url, Entries: entries})
	return err
}

// remove deletes the messages that are done. What cannot be deleted comes back and is found to be a
// duplicate then, so an error of one message is only logged.
func (p *poller) remove(ctx context.Context, b *batch) error {
	if len(b.done) == 0 {
		return nil
	}
	// Also when polling is to stop: they are durable here.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	entries := make([]types.DeleteMessageBatchRequestEntry, len(b.done))
	for n, m := range b.done {
		entries[n] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(n)), ReceiptHandle: m.ReceiptHandle}
	}
	out, err := b.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &p.url, Entries: entries})
	if err != nil {
		return fmt.Errorf("delete messages of queue %s: %w", p.queue.ARN(), err)
	}
	for _, f := range out.Failed {
		p.i.log.Warn("a message was not deleted and comes again", "source", p.src.Name, "code", aws.ToString(f.Code), "reason", aws.ToString(f.Message))
	}
	return nil
}
