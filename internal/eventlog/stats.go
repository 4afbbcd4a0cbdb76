package eventlog

import (
	"context"
	"fmt"
	"time"
)

// Stats is the state of the log at one moment.
type Stats struct {
	Bytes   int64 // size of the batches in the log, with the engine's overhead
	Limit   int64 // Options.MaxBytes as the engine has it
	Batches uint64
	First   uint64 // sequence of the oldest batch; Last+1 when the log is empty
	Last    uint64 // sequence of the newest batch; 0 when there never was one
	// FirstTime and LastTime are when those were stored; zero when the log is empty.
	FirstTime, LastTime time.Time
}

// Stats asks the engine for the state of the log.
func (l *Log) Stats(ctx context.Context) (Stats, error) {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("read the state of the event log: %w", err)
	}
	return Stats{
		Bytes:     int64(info.State.Bytes),
		Limit:     info.Config.MaxBytes,
		Batches:   info.State.Msgs,
		First:     info.State.FirstSeq,
		Last:      info.State.LastSeq,
		FirstTime: info.State.FirstTime,
		LastTime:  info.State.LastTime,
	}, nil
}

// FirstSeq is the sequence of the oldest batch in the log, or the next one to be written when it is empty.
func (l *Log) FirstSeq(ctx context.Context) (uint64, error) {
	st, err := l.Stats(ctx)
	return max(st.First, 1), err
}

// LastSeq is the sequence of the newest batch, 0 when there never was one.
func (l *Log) LastSeq(ctx context.Context) (uint64, error) {
	st, err := l.Stats(ctx)
	return st.Last, err
}

// Backlog is what the consumer has not finished.
type Backlog struct {
	AckFloor uint64 // every batch up to this sequence is acked
	InFlight int    // batches handed out, on all nodes, and not acked
	Waiting  uint64 // batches not handed out yet
}

// Backlog asks the engine how far the consumer is.
func (l *Log) Backlog(ctx context.Context) (Backlog, error) {
	info, err := l.router.Info(ctx)
	if err != nil {
		return Backlog{}, fmt.Errorf("read the state of the event log's consumer: %w", err)
	}
	return Backlog{AckFloor: info.AckFloor.Stream, InFlight: info.NumAckPending, Waiting: info.NumPending}, nil
}

// AckFloor is the sequence up to which every batch is acked.
func (l *Log) AckFloor(ctx context.Context) (uint64, error) {
	b, err := l.Backlog(ctx)
	return b.AckFloor, err
}
