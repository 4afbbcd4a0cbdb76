package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

const (
	// What the client fetches ahead of the handler.
	prefetchBatches = 256
	prefetchBytes   = 16 << 20
	// recentAcks is how many acked sequences are remembered: more than can be on their way to the handler.
	recentAcks = 4 * prefetchBatches
	// returnDelay keeps what a stopping consumer gives back from being sent straight to it again: what the engine sends to
	// a consumer that has just gone is missing until its ack deadline.
	returnDelay = 100 * time.Millisecond
)

// Batch is what one write of the log carries: the entries of one or more calls of Append.
type Batch struct {
	Seq     uint64    // position in the log, from 1
	Time    time.Time // when the engine stored it
	Entries [][]byte  // share one buffer: whoever keeps one entry keeps them all; never change them

	log     *Log // set while Consume owns the batch
	msg     jetstream.Msg
	weight  int64
	touched time.Time // when its ack deadline was last set; guarded by inFlight.mu
}

// Ack tells the log that the batch is done with: delivered or parked. Acks of one batch after the first do nothing, and so
// does the Ack of a batch that Consume did not hand out. An ack that is lost on its way, or in a crash soon after, means that the batch comes again.
func (b *Batch) Ack() {
	if b.log != nil {
		b.log.inFlight.ack(b)
	}
}

func newBatch(msg jetstream.Msg) (*Batch, *jetstream.MsgMetadata, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, nil, fmt.Errorf("read a batch's position: %w", err)
	}
	b := &Batch{Seq: meta.Sequence.Stream, Time: meta.Timestamp, msg: msg, weight: int64(len(msg.Data()))}
	b.Entries, err = decodeRecord(msg.Data())
	if err != nil {
		return b, meta, fmt.Errorf("batch %d: %w", b.Seq, err)
	}
	return b, meta, nil
}

// inFlight knows the batches that Consume has handed out and that are not acked, and bounds their bytes.
type inFlight struct {
	limit int64
	room  *semaphore.Weighted

	mu      sync.Mutex
	batches map[uint64]*Batch
	acked   map[uint64]struct{} // the last recentAcks acked sequences
	ring    [recentAcks]uint64
	ringPos int
	ackedCh chan struct{} // pinged by each ack
}

func (f *inFlight) init(limit int64) {
	f.limit = limit
	f.room = semaphore.NewWeighted(limit)
	f.batches = make(map[uint64]*Batch)
	f.acked = make(map[uint64]struct{}, recentAcks)
	f.ackedCh = make(chan struct{}, 1)
}

// add waits for room and takes the batch in.
func (f *inFlight) add(ctx context.Context, b *Batch) error {
	b.weight = min(b.weight, f.limit)
	if err := f.room.Acquire(ctx, b.weight); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	b.touched = time.Now()
	f.batches[b.Seq] = b
	return nil
}

// again deals with a batch that the engine delivers once more. It reports whether this process has it in flight or has
// acked it, and so must not handle it again.
func (f *inFlight) again(seq uint64, msg jetstream.Msg) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, done := f.acked[seq]; done {
		_ = msg.Ack() // a lost one is repeated at the next delivery
		return true
	}
	b, held := f.batches[seq]
	if !held {
		return false
	}
	b.touched = time.Now()
	_ = msg.InProgress() // likewise
	return true
}

func (f *inFlight) ack(b *Batch) {
	if !f.remove(b) {
		return
	}
	_ = b.msg.Ack() // lost only with the connection: then the batch comes again
	f.room.Release(b.weight)
	select {
	case f.ackedCh <- struct{}{}:
	default:
	}
}

// remove forgets a batch that is acked. It reports whether it was in flight.
func (f *inFlight) remove(b *Batch) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.batches[b.Seq] != b {
		return false
	}
	delete(f.batches, b.Seq)
	delete(f.acked, f.ring[f.ringPos])
	f.ring[f.ringPos] = b.Seq
	f.acked[b.Seq] = struct{}{}
	f.ringPos = (f.ringPos + 1) % recentAcks
	return true
}

// waitAck returns at the next ack, at most after d.
func (f *inFlight) waitAck(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-f.ackedCh:
	case <-t.C:
	}
}

// keepAlive extends the deadline of every batch whose deadline was set more than age ago.
func (f *inFlight) keepAlive(age time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	for _, b := range f.batches {
		if now.Sub(b.touched) >= age {
			b.touched = now
			_ = b.msg.InProgress() // a lost one is repeated at the next round
		}
	}
}

// giveBack returns what is not acked to the log, to be delivered again at once, here or on another node.
func (f *inFlight) giveBack() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq, b := range f.batches {
		delete(f.batches, seq)
		f.room.Release(b.weight)
		_ = b.msg.Nak() // a lost one comes back at its ack deadline
	}
}

// Consume hands each batch of the log to handle, in order, until ctx ends, and then returns nil. All processes that
// consume one log share its batches. Each batch is handed out at least once: it comes again, on whatever node, when a
// process ends before b.Ack(). A batch that this process still holds never comes twice.
//
// handle is called by one goroutine and should not block for long; it may keep the batch and Ack later, also after
// Consume has returned. When the batches not acked reach Options.InFlightBytes, Consume waits.
//
// It fails on a batch written by a newer version of Rialto, leaving it in the log. A message that is no batch at all, which
// only a foreign publisher can have put there, is logged and passed over.
func (l *Log) Consume(ctx context.Context, handle func(*Batch)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	cc, err := l.router.Consume(
		func(msg jetstream.Msg) {
			if err := l.receive(ctx, msg, handle); err != nil {
				cancel(err)
			}
		},
		jetstream.PullMaxMessagesWithBytesLimit(prefetchBatches, prefetchBytes),
		jetstream.PullHeartbeat(2*time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			l.opts.Logger.Warn("event log consumer", "error", err)
		}),
	)
	if err != nil {
		return fmt.Errorf("consume the event log: %w", err)
	}
	l.keepAliveUntil(ctx, cc.Closed())
	// What was fetched ahead reaches the callback now, which gives it back.
	cc.Drain()
	<-cc.Closed()
	switch err := context.Cause(ctx); {
	case err == nil:
		return fmt.Errorf("consume the event log: %w: the engine ended the consumer", ErrUnavailable)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	default:
		return fmt.Errorf("consume the event log: %w", err)
	}
}

// receive takes one message from the engine. An error ends Consume.
func (l *Log) receive(ctx context.Context, msg jetstream.Msg, handle func(*Batch)) error {
	if ctx.Err() != nil {
		_ = msg.NakWithDelay(returnDelay) // a lost one comes back at its ack deadline
		return nil                        //nolint:nilerr // the caller ends it
	}
	b, meta, err := newBatch(msg)
	if errors.Is(err, errNotRecord) {
		l.opts.Logger.Error("event log: passed over a message that another program has put there", "sequence", b.Seq)
		_ = msg.TermWithReason("not a batch of Rialto's event log")
		return nil
	}
	if err != nil {
		_ = msg.NakWithDelay(returnDelay)
		return err
	}
	if meta.NumDelivered > 1 && l.inFlight.again(b.Seq, msg) {
		return nil
	}
	b.log = l
	if err := l.inFlight.add(ctx, b); err != nil {
		_ = msg.NakWithDelay(returnDelay)
		return nil //nolint:nilerr // only ctx ends the wait
	}
	handle(b)
	return nil
}

func (l *Log) keepAliveUntil(ctx context.Context, closed <-chan struct{}) {
	age := l.opts.ackWait / 3
	tick := time.NewTicker(age)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-closed:
			return
		case <-tick.C:
			l.inFlight.keepAlive(age)
		}
	}
}
