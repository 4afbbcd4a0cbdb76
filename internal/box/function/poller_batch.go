package function

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// pollWait is how long a call waits for messages, and receiveMax how many it may bring.
	// AWS: 20 seconds and 10 messages at most.
	pollWait   = 20 * time.Second
	receiveMax = 10
	// windowStep is how often the queue is asked in the last second of a batching window.
	windowStep = 200 * time.Millisecond
	// A batch that is throttled tries again after a pause that doubles from throttleBase
	// to throttleCap.
	throttleBase, throttleCap = 100 * time.Millisecond, 10 * time.Second
	// settleTime bounds the calls by which messages are deleted or given back, and
	// settleTries how often they are made.
	settleTime  = 5 * time.Second
	settleTries = 3
	// leastHidden is the least time that messages are hidden for at once: a moment's delay
	// must not show them to others while the function has them.
	leastHidden = 6 * time.Second
)

// batch is the messages of one receive, or of some within a window, on their way to the
// function.
type batch struct {
	p *poller
	m *Mapping
	// hidden is for how long the messages are hidden from others, which is prolonged for as long as
	// they wait for the function or it has them; visibility is after how long those come back that it failed.
	hidden, visibility time.Duration

	mu      sync.Mutex
	records []*record // those that are neither deleted nor left to the queue

	// What follows is set by collect alone.
	sizes map[*record]int
	size  int       // of all, in the event
	held  time.Time // since when the first of them is hidden
}

// collect receives messages until the batch is full or its window is over, or ctx
// ends. None stands for a queue that had none to give within the wait.
func (b *batch) collect(ctx context.Context, f filter, wait time.Duration) error {
	b.sizes = map[*record]int{}
	s := &b.m.settings
	var end time.Time
	for {
		got, err := b.receive(ctx, min(receiveMax, s.Batch-len(b.records)), wait)
		if err != nil && len(b.records) == 0 {
			return err
		}
		if err := b.add(ctx, f, got); err != nil {
			return err
		}
		if err != nil || len(b.records) == 0 && len(got) == 0 || ctx.Err() != nil {
			return nil //nolint:nilerr // what was received before the error is processed
		}
		if len(b.records) == 0 {
			continue // all were filtered out
		}
		if end.IsZero() {
			end = time.Now().Add(time.Duration(s.Window) * time.Second)
		}
		left := time.Until(end)
		if left <= 0 || len(b.records) >= s.Batch || b.size >= runtime.MaxPayload {
			return nil
		}
		wait = min(left, pollWait, b.hidden/3).Truncate(time.Second)
		if wait == 0 {
			pause(ctx, min(left, windowStep))
		}
		if time.Since(b.held) > b.hidden/3 {
			b.held = time.Now()
			b.hide(ctx, b.open(), b.hidden)
		}
	}
}

func (b *batch) receive(ctx context.Context, n int, wait time.Duration) ([]sqs.Message, error) {
	out, err := b.p.f.o.Queues.ReceiveMessage(asFunction(ctx, b.m.Function, "sqs", "ReceiveMessage"), &sqs.ReceiveMessageInput{
		QueueUrl: new(b.m.Source.url()), MaxNumberOfMessages: new(int32(n)), WaitTimeSeconds: new(int32(wait / time.Second)),
		VisibilityTimeout:           new(int32(b.hidden / time.Second)),
		MessageSystemAttributeNames: []string{sqs.MessageSystemAttributeNameAll}, MessageAttributeNames: []string{"All"},
	})
	if err != nil && ctx.Err() != nil {
		return nil, nil //nolint:nilerr // the mapping changed, or the server stops
	}
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// add takes in the messages that pass the filter and deletes the others. AWS: "deletes the
// message from the queue".
func (b *batch) add(ctx context.Context, f filter, messages []sqs.Message) error {
	if len(messages) > 0 && b.held.IsZero() {
		b.held = time.Now()
	}
	counts := &b.p.f.counts
	counts.received.Add(int64(len(messages)))
	var unwanted []*record
	for i := range messages {
		r := newRecord(&messages[i], b.m.Source)
		wanted, err := f.matches(r)
		if err != nil {
			return err
		}
		if !wanted {
			unwanted = append(unwanted, r)
			continue
		}
		text, err := r.json()
		if err != nil {
			return err
		}
		b.records = append(b.records, r)
		b.sizes[r] = len(text) + 1
		b.size += len(text) + 1
	}
	counts.filtered.Add(int64(len(unwanted)))
	b.remove(ctx, unwanted)
	return nil
}

// run has the function run with the messages, and sees to it that those that it took are
// deleted. Where they are too large for one event there are several, one after another.
func (b *batch) run(ctx, unchanged context.Context) {
	release := b.keepHidden(ctx)
	defer release()
	stuck := map[string]bool{} // groups whose later messages must wait
	for _, part := range b.parts() {
		if b.m.Source.fifo() {
			part = slices.DeleteFunc(part, func(r *record) bool { return stuck[r.group()] })
		}
		if len(part) == 0 {
			continue
		}
		failed, again := b.invoke(ctx, unchanged, part)
		if again {
			release()
			b.giveBack(ctx)
			return
		}
		for _, r := range failed {
			stuck[r.group()] = true
		}
	}
	release()
	b.leave(ctx, b.open()) // what must wait
}

// eventOverhead is what an event has around its records.
const eventOverhead = len(`{"Records":[]}`)

// parts splits the batch into events that a function can get, in order.
func (b *batch) parts() [][]*record {
	var parts [][]*record
	size := runtime.MaxPayload
	for _, r := range b.records {
		if size += b.sizes[r]; len(parts) == 0 || size > runtime.MaxPayload {
			parts, size = append(parts, nil), eventOverhead+b.sizes[r]
		}
		last := len(parts) - 1
		parts[last] = append(parts[last], r)
	}
	return parts
}

// invoke runs the function with one event. It returns the messages that are not done,
// which are left to the queue; again says that the function could not be called, or was cut off
// when the server stopped.
func (b *batch) invoke(ctx, unchanged context.Context, part []*record) (failed []*record, again bool) {
	p, counts := b.p, &b.p.f.counts
	payload, err := encode(map[string][]*record{"Records": part})
	if err != nil {
		p.noteProblem(ctx, b.m, err)
		b.leave(ctx, part)
		return part, false
	}
	result, err := b.call(ctx, unchanged, payload)
	switch {
	case err != nil && ctx.Err() != nil: // it may be running still
		b.forget(part)
		return part, false
	case err != nil:
		return part, true
	}
	counts.batches.Add(1)
	if result.FunctionError != "" {
		counts.failedBatches.Add(1)
		b.leave(ctx, part)
		p.note(ctx, b.m, resultProblem+functionFailed)
		return part, false
	}
	if b.m.settings.ReportFailures {
		failed = failedRecords(result.Payload, part)
	}
	b.leave(ctx, failed)
	b.remove(ctx, without(part, failed))
	p.slots.grow()
	p.note(ctx, b.m, resultOK)
	return failed, false
}

// call invokes the function. While that cannot be done, as when it is throttled, the messages are
// kept, so that they do not use up their receives, until the mapping changes or the function is gone.
func (b *batch) call(ctx, unchanged context.Context, payload []byte) (runtime.Result, error) {
	in := runtime.Invocation{RequestID: uuid.NewString(), Payload: payload, FunctionARN: b.m.functionARN()}
	for attempt := 1; ; attempt++ {
		result, err := b.callOnce(ctx, in)
		if err == nil || unchanged.Err() != nil || awsapi.HasCode(err, lambda.CodeResourceNotFoundException) {
			return result, err
		}
		b.noteNotCalled(ctx, err)
		pause(unchanged, work.Backoff(attempt, throttleBase, throttleCap, nil))
	}
}

// callOnce invokes the function as it is now: it may have changed while messages were waited for.
func (b *batch) callOnce(ctx context.Context, in runtime.Invocation) (runtime.Result, error) {
	fn, err := b.p.f.find(ctx, b.m.Function)
	if err != nil {
		return runtime.Result{}, err
	}
	return b.p.f.run(ctx, fn, in)
}

func (b *batch) noteNotCalled(ctx context.Context, err error) {
	switch {
	case errors.Is(err, runtime.ErrStopped): // the mapping is about to stop too
	case errors.Is(err, runtime.ErrTooManyRequests):
		b.p.f.counts.throttled.Add(1)
		b.p.slots.shrink()
		b.p.note(ctx, b.m, resultProblem+resultThrottled)
	default:
		b.p.noteProblem(ctx, b.m, problem(functionFailed+": "+err.Error()))
	}
}

// leave leaves messages to the queue, also when the server is to stop: they come back when their
// visibility timeout ends.
func (b *batch) leave(ctx context.Context, list []*record) {
	b.forget(list)
	if b.hidden <= b.visibility {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	b.hide(ctx, list, b.visibility)
}

// forget takes messages out of the batch.
func (b *batch) forget(list []*record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records = without(b.records, list)
}

// without returns those of the records that are not in the list.
func without(records, list []*record) []*record {
	gone := make(map[*record]bool, len(list))
	for _, r := range list {
		gone[r] = true
	}
	return slices.DeleteFunc(slices.Clone(records), func(r *record) bool { return gone[r] })
}

func (b *batch) open() []*record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records
}

// keepHidden keeps the messages from others until release is called.
func (b *batch) keepHidden(ctx context.Context) (release func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for next := b.hidden/3 - time.Since(b.held); ; next = b.hidden / 3 {
			pause(ctx, next)
			if ctx.Err() != nil {
				return
			}
			b.hide(ctx, b.open(), b.hidden)
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// hide sets the visibility timeout of messages. One that can no longer be hidden is another's
// now, or deleted.
func (b *batch) hide(ctx context.Context, list []*record, d time.Duration) {
	b.eachTen(list, func(some []*record) {
		entries := make([]sqs.ChangeMessageVisibilityBatchRequestEntry, len(some))
		for i, r := range some {
			entries[i] = sqs.ChangeMessageVisibilityBatchRequestEntry{Id: new(strconv.Itoa(i)), ReceiptHandle: &r.ReceiptHandle, VisibilityTimeout: new(int32(d / time.Second))}
		}
		ctx := asFunction(ctx, b.m.Function, "sqs", "ChangeMessageVisibilityBatch")
		_, err := b.p.f.o.Queues.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: new(b.m.Source.url()), Entries: entries})
		if err != nil && ctx.Err() == nil {
			b.p.f.o.Logger.Warn("messages that wait for their function may come again", "queue", b.m.Source.String(), "error", err)
		}
	})
}

// giveBack shows the messages to others at once.
func (b *batch) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	b.hide(ctx, b.open(), 0)
}

// remove deletes messages, also when the server is to stop. What cannot be deleted comes again.
func (b *batch) remove(ctx context.Context, list []*record) {
	if len(list) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	b.eachTen(list, func(some []*record) {
		entries := make([]sqs.DeleteMessageBatchRequestEntry, len(some))
		for i, r := range some {
			entries[i] = sqs.DeleteMessageBatchRequestEntry{Id: new(strconv.Itoa(i)), ReceiptHandle: &r.ReceiptHandle}
		}
		if err := b.removeTen(ctx, entries); err != nil {
			b.p.f.o.Logger.Warn("messages that a function has processed could not be deleted, and come again", "queue", b.m.Source.String(), "error", err)
		}
	})
	b.forget(list)
}

func (b *batch) removeTen(ctx context.Context, entries []sqs.DeleteMessageBatchRequestEntry) error {
	ctx = asFunction(ctx, b.m.Function, "sqs", "DeleteMessageBatch")
	for attempt := 1; ; attempt++ {
		out, err := b.p.f.o.Queues.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: new(b.m.Source.url()), Entries: entries})
		if err == nil && len(out.Failed) > 0 {
			return errors.New(text(out.Failed[0].Code) + ": " + text(out.Failed[0].Message))
		}
		if err == nil || attempt == settleTries || ctx.Err() != nil {
			return err
		}
		pause(ctx, work.Backoff(attempt, throttleBase, throttleCap, nil))
	}
}

func (b *batch) eachTen(list []*record, do func([]*record)) {
	for some := range slices.Chunk(list, receiveMax) {
		do(some)
	}
}
