package eventlog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// defaultReadAhead is in batches. Asked for a number of bytes, the engine answers one message more than the client has room
	// for, and the client drops what is one too many.
	defaultReadAhead = 8
	readHeartbeat    = time.Second
	readRetry        = 200 * time.Millisecond
	readerIdle       = 30 * time.Second // the engine forgets a reader whose process is gone
)

// errReadAgain says that the engine's reader is gone or has missed something, and a new one must go on.
var errReadAgain = errors.New("reader was interrupted")

// Read hands the batches from sequence from on to handle, in order and each once, and follows the log as it grows until
// ctx ends or handle fails; it returns that error. from 0 starts at the oldest batch. Batches trimmed before they are
// reached are passed over: compare Batch.Seq with the one expected where that matters.
// Acking a batch from Read does nothing.
func (l *Log) Read(ctx context.Context, from uint64, handle func(*Batch) error) error {
	r := reader{log: l, next: max(from, 1), to: math.MaxUint64, handle: handle}
	return r.run(ctx)
}

// ReadRange is Read for the sequences from to to, both included; to 0 stands for the last one stored when it is called.
// It returns nil after the last of them, having waited for those that are not written yet.
func (l *Log) ReadRange(ctx context.Context, from, to uint64, handle func(*Batch) error) error {
	last, err := l.LastSeq(ctx)
	if err != nil {
		return err
	}
	if to == 0 {
		to = last
	}
	r := reader{log: l, next: max(from, 1), to: to, stored: to <= last, handle: handle}
	return r.run(ctx)
}

// reader is one run of Read or ReadRange, over one or, when it is interrupted, several readers of the engine.
type reader struct {
	log    *Log
	next   uint64 // the next sequence to hand out
	to     uint64 // the last one
	stored bool   // all up to to was stored at the start, so the end of the log is the end of the reading
	handle func(*Batch) error
}

func (r *reader) run(ctx context.Context) error {
	for r.next <= r.to {
		err := r.some(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errReadAgain) {
			return err
		}
		if r.log.nc.IsClosed() {
			return ErrClosed
		}
		r.log.opts.Logger.Debug("event log: reading again", "from", r.next, "reason", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readRetry):
		}
	}
	return nil
}

// some reads with one reader of the engine. It returns nil when the end is reached, errReadAgain when another must go on,
// or the error of handle.
func (r *reader) some(ctx context.Context) error {
	consumer, err := r.log.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.next,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: readerIdle,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errReadAgain, err)
	}
	defer r.log.forgetReader(consumer.CachedInfo().Name)
	if r.stored && consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(r.log.opts.readAhead),
		jetstream.PullHeartbeat(readHeartbeat),
	)
	if err != nil {
		return fmt.Errorf("%w: %w", errReadAgain, err)
	}
	defer messages.Stop()
	for delivered := uint64(1); ; delivered++ {
		msg, err := nextMessage(ctx, consumer, messages, delivered)
		if err != nil {
			return fmt.Errorf("%w: %w", errReadAgain, err)
		}
		done, err := r.take(msg, delivered)
		if err != nil || done {
			return err
		}
	}
}

// nextMessage returns the message that the engine's reader delivers as number delivered. While handle holds the reader up, the
// engine's heartbeats fill the client, which drops what comes then: that shows when another batch follows, and after the last
// batch the engine is asked, once for each time that nothing comes.
func nextMessage(ctx context.Context, consumer jetstream.Consumer, messages jetstream.MessagesContext, delivered uint64) (jetstream.Msg, error) {
	soon, cancel := context.WithTimeout(ctx, readHeartbeat)
	defer cancel()
	msg, err := messages.Next(jetstream.NextContext(soon))
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return msg, err
	}
	info, err := consumer.Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.Delivered.Consumer >= delivered {
		return nil, errors.New("the client dropped the last batch")
	}
	return messages.Next(jetstream.NextContext(ctx))
}

// take handles the message that the engine's reader should have delivered as number delivered.
func (r *reader) take(msg jetstream.Msg, delivered uint64) (done bool, err error) {
	b, meta, err := newBatch(msg)
	if meta == nil || meta.Sequence.Consumer != delivered {
		return false, fmt.Errorf("%w: lost a batch after %d", errReadAgain, r.next-1)
	}
	if errors.Is(err, errNewerVersion) {
		return false, fmt.Errorf("read the event log: %w", err)
	}
	if b.Seq > r.to {
		return true, nil
	}
	// What is not a record is not an event: Consume reports it.
	if b.Seq >= r.next && err == nil {
		if err := r.handle(b); err != nil {
			return false, err
		}
	}
	r.next = max(r.next, b.Seq+1)
	return r.next > r.to || r.stored && meta.NumPending == 0, nil
}

// forgetReader frees the engine's side of a reader. If it fails, the engine does so after readerIdle.
func (l *Log) forgetReader(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.stream.DeleteConsumer(ctx, name); err != nil {
		l.opts.Logger.Debug("event log: delete a reader", "reader", name, "error", err)
	}
}

// Get returns one batch. Errors: ErrTrimmed when it has been removed, ErrNotStored when the log does not reach that far.
func (l *Log) Get(ctx context.Context, seq uint64) (*Batch, error) {
	msg, err := l.stream.GetMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, l.whyMissing(ctx, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("get batch %d: %w", seq, err)
	}
	b := &Batch{Seq: msg.Sequence, Time: msg.Time}
	b.Entries, err = decodeRecord(msg.Data)
	if err != nil {
		return nil, fmt.Errorf("get batch %d: %w", seq, err)
	}
	return b, nil
}

func (l *Log) whyMissing(ctx context.Context, seq uint64) error {
	last, err := l.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("get batch %d: %w", seq, err)
	}
	if seq > last {
		return fmt.Errorf("%w: %d, the last is %d", ErrNotStored, seq, last)
	}
	return fmt.Errorf("%w: %d", ErrTrimmed, seq)
}
