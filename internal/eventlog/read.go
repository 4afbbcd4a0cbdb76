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
	readAhead      = 8
	readAheadBytes = embeddedPayload + payloadOverhead
	readHeartbeat  = time.Second
	readRetry      = 200 * time.Millisecond
	readerIdle     = 30 * time.Second // the engine forgets a reader whose process is gone
)

// errReadAgain says that the engine's reader is gone or has missed something, and a new one must go on.
var errReadAgain = errors.New("reader was interrupted")

// Read hands the batches from sequence from on to handle, in order and each once, and follows the log as it grows until
// ctx ends or handle fails; it returns that error. from 0 starts at the oldest batch. Batches trimmed before they are
// reached are passed over: compare Batch.Seq with the one expected where that matters.
// Acking a batch from Read does nothing.
func (l *Log) Read(ctx context.Context, from uint64, handle func(*Batch) error) error {
	return l.read(ctx, from, math.MaxUint64, handle)
}

// ReadRange is Read for the sequences from to to, both included; to 0 stands for the last one stored when it is called.
// It returns nil after the last of them.
func (l *Log) ReadRange(ctx context.Context, from, to uint64, handle func(*Batch) error) error {
	if to == 0 {
		last, err := l.LastSeq(ctx)
		if err != nil {
			return err
		}
		to = last
	}
	return l.read(ctx, from, to, handle)
}

func (l *Log) read(ctx context.Context, from, to uint64, handle func(*Batch) error) error {
	next := max(from, 1)
	for next <= to {
		err := l.readSome(ctx, &next, to, handle)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errReadAgain) {
			return err
		}
		if l.nc.IsClosed() {
			return ErrClosed
		}
		l.opts.Logger.Debug("event log: reading again", "from", next, "reason", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(readRetry):
		}
	}
	return nil
}

// readSome reads with one engine-side reader, moving next past each batch handled. It returns nil when to is reached,
// errReadAgain when another reader must go on, or the error of handle.
func (l *Log) readSome(ctx context.Context, next *uint64, to uint64, handle func(*Batch) error) error {
	consumer, err := l.js.CreateConsumer(ctx, streamName, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       *next,
		AckPolicy:         jetstream.AckNonePolicy,
		InactiveThreshold: readerIdle,
		MemoryStorage:     true,
		Replicas:          1,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errReadAgain, err)
	}
	defer l.forgetReader(consumer.CachedInfo().Name)
	if to != math.MaxUint64 && consumer.CachedInfo().NumPending == 0 {
		return l.nothingLeft(ctx, *next, to)
	}
	messages, err := consumer.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(readAhead, readAheadBytes),
		jetstream.PullHeartbeat(readHeartbeat),
	)
	if err != nil {
		return fmt.Errorf("%w: %w", errReadAgain, err)
	}
	defer messages.Stop()
	for delivered := uint64(1); ; delivered++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("%w: %w", errReadAgain, err)
		}
		b, meta, err := newBatch(msg)
		if meta == nil || meta.Sequence.Consumer != delivered {
			return fmt.Errorf("%w: lost a batch after %d", errReadAgain, *next-1)
		}
		if errors.Is(err, errNewerVersion) {
			return fmt.Errorf("read the event log: %w", err)
		}
		if b.Seq > to {
			return nil
		}
		if b.Seq >= *next && err == nil {
			if err := handle(b); err != nil {
				return err
			}
		}
		*next = max(*next, b.Seq+1)
		if *next > to || to != math.MaxUint64 && meta.NumPending == 0 {
			return l.nothingLeft(ctx, *next, to)
		}
	}
}

// nothingLeft ends a bounded read that has met the end of the log. All that is missing up to to has been trimmed, unless
// to is yet to be written.
func (l *Log) nothingLeft(ctx context.Context, next, to uint64) error {
	if next > to {
		return nil
	}
	last, err := l.LastSeq(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errReadAgain, err)
	}
	if last >= to {
		return nil
	}
	return fmt.Errorf("%w: sequence %d is yet to come", errReadAgain, to)
}

// forgetReader frees the engine's side of a reader. If it fails, the engine does so after readerIdle.
func (l *Log) forgetReader(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := l.js.DeleteConsumer(ctx, streamName, name); err != nil {
		l.opts.Logger.Debug("event log: delete a reader", "reader", name, "error", err)
	}
}

// Get returns one batch. Errors: ErrTrimmed when it has been removed, ErrNotStored when the log does not reach that far.
func (l *Log) Get(ctx context.Context, seq uint64) (*Batch, error) {
	stream, err := l.js.Stream(ctx, streamName)
	if err != nil {
		return nil, fmt.Errorf("get batch %d: %w", seq, err)
	}
	msg, err := stream.GetMsg(ctx, seq)
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
