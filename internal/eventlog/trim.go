package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	trimInterval = time.Second
	ageInterval  = 30 * time.Second
	trimWait     = 5 * time.Second
	// maxTrimSteps bounds one pass. Each step removes at most a quarter of the log, so this is more than enough to empty it.
	maxTrimSteps = 40
)

// Hold says from which sequence on batches must stay although they are delivered: the oldest place a catch-up reader or
// replay still needs. ok is false when nothing is held.
type Hold func(ctx context.Context) (seq uint64, ok bool, err error)

// trimmer is how the committer and the trimming loop speak to each other.
type trimmer struct {
	running  atomic.Bool
	size     atomic.Int64     // about how many bytes the log has
	kick     chan struct{}    // asks for a pass soon
	requests chan chan<- bool // asks for a pass that makes room; answered with whether it did
}

func (t *trimmer) init() {
	t.kick = make(chan struct{}, 1)
	t.requests = make(chan chan<- bool)
}

// grew counts what was written, and asks for a pass when four fifths of the log are used.
func (t *trimmer) grew(n int, limit int64) {
	if t.size.Add(int64(n)) < limit/5*4 {
		return
	}
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// makeRoom has delivered batches removed now, kept ones included. It reports whether any were.
func (l *Log) makeRoom() bool {
	if !l.trimmer.running.Load() {
		return false
	}
	timeout := time.NewTimer(trimWait)
	defer timeout.Stop()
	answer := make(chan bool, 1)
	select {
	case l.trimmer.requests <- answer:
	case <-timeout.C:
		return false
	}
	select {
	case freed := <-answer:
		return freed
	case <-timeout.C:
		return false
	}
}

// Trim removes every batch below keepFrom that the consumer has acked. The newest batch always stays, so that the log
// remembers where it is.
func (l *Log) Trim(ctx context.Context, keepFrom uint64) error {
	st, err := l.Stats(ctx)
	if err != nil {
		return err
	}
	floor, err := l.AckFloor(ctx)
	if err != nil {
		return err
	}
	return l.purgeTo(ctx, st, min(keepFrom, floor+1, st.Last))
}

func (l *Log) purgeTo(ctx context.Context, st Stats, keepFrom uint64) error {
	if keepFrom <= st.First {
		return nil
	}
	if err := l.stream.Purge(ctx, jetstream.WithPurgeSequence(keepFrom)); err != nil {
		return fmt.Errorf("trim the event log up to %d: %w", keepFrom, err)
	}
	return nil
}

// RunTrimmer keeps the log within its limits until ctx ends, and then returns nil. It removes batches that are acked and
// that hold does not need: those older than Options.Keep, the oldest while the log is larger than Options.KeepBytes, and,
// when Append finds the log or the disk full, as many as it takes. One per process; each node may run its own.
// Failed passes are logged and tried again.
func (l *Log) RunTrimmer(ctx context.Context, hold Hold) error {
	if !l.trimmer.running.CompareAndSwap(false, true) {
		return errors.New("event log: its trimmer is already running")
	}
	defer l.trimmer.running.Store(false)
	tick := time.NewTicker(trimInterval)
	defer tick.Stop()
	var agedAt time.Time
	for {
		var answer chan<- bool
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-l.trimmer.kick:
		case answer = <-l.trimmer.requests:
		}
		p := trimPass{log: l, hold: hold, urgent: answer != nil, byAge: time.Since(agedAt) >= ageInterval}
		if p.byAge {
			agedAt = time.Now()
		}
		freed, err := p.run(ctx)
		if err != nil && ctx.Err() == nil {
			l.opts.Logger.Warn("event log: trimming", "error", err)
		}
		if answer != nil {
			answer <- freed
		}
	}
}

// trimPass is one look at the log and what is removed then.
type trimPass struct {
	log    *Log
	hold   Hold
	urgent bool // make room at the cost of what is kept for tail and trace
	byAge  bool // also remove what is older than Options.Keep
}

// run reports whether anything was removed.
func (p trimPass) run(ctx context.Context) (bool, error) {
	l := p.log
	st, err := l.Stats(ctx)
	if err != nil {
		return false, err
	}
	l.trimmer.size.Store(st.Bytes)
	target := l.opts.KeepBytes
	if p.urgent {
		target = st.Bytes / 2
	}
	old := p.byAge && st.Batches > 0 && time.Since(st.FirstTime) > l.opts.Keep
	if st.Bytes <= target && !old {
		return false, nil
	}
	upper, err := p.upper(ctx, st)
	if err != nil || upper <= st.First {
		return false, err
	}
	first := st.First
	if old {
		if st, err = p.removeOld(ctx, st, upper); err != nil {
			return st.First > first, err
		}
	}
	st, err = p.shrink(ctx, st, upper, target)
	l.trimmer.size.Store(st.Bytes)
	return st.First > first, err
}

// upper is the first sequence that must stay: not acked, held, or the newest.
func (p trimPass) upper(ctx context.Context, st Stats) (uint64, error) {
	floor, err := p.log.AckFloor(ctx)
	if err != nil {
		return 0, err
	}
	upper := min(floor+1, st.Last)
	held, ok, err := p.hold(ctx)
	if err != nil {
		return 0, fmt.Errorf("find what must stay in the event log: %w", err)
	}
	if ok {
		upper = min(upper, held)
	}
	return upper, nil
}

func (p trimPass) removeOld(ctx context.Context, st Stats, upper uint64) (Stats, error) {
	seq, err := p.log.seqAt(ctx, time.Now().Add(-p.log.opts.Keep))
	if err != nil {
		return st, err
	}
	if seq == 0 {
		seq = upper
	}
	if err := p.log.purgeTo(ctx, st, min(seq, upper)); err != nil {
		return st, err
	}
	return p.log.Stats(ctx)
}

// shrink removes the oldest batches until the log has at most target bytes. The engine does not say how large a range of
// sequences is, so it goes by the average, in steps small enough not to remove much more than it must.
func (p trimPass) shrink(ctx context.Context, st Stats, upper uint64, target int64) (Stats, error) {
	for range maxTrimSteps {
		if st.Bytes <= target || st.First >= upper || st.Batches == 0 {
			return st, nil
		}
		average := max(st.Bytes/int64(st.Batches), 1)
		count := uint64((st.Bytes-target)/average) + 1
		count = min(count, st.Batches/4+1)
		if err := p.log.purgeTo(ctx, st, min(st.First+count, upper)); err != nil {
			return st, err
		}
		var err error
		if st, err = p.log.Stats(ctx); err != nil {
			return st, err
		}
	}
	return st, nil
}

// seqAt is the sequence of the first batch stored at or after t, 0 when there is none.
func (l *Log) seqAt(ctx context.Context, t time.Time) (uint64, error) {
	req, err := json.Marshal(map[string]any{"start_time": t.UTC(), "next_by_subj": subject, "no_hdr": true})
	if err != nil {
		return 0, fmt.Errorf("find the batch of %s: %w", t, err)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	msg, err := l.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+streamName, req)
	if err != nil {
		return 0, fmt.Errorf("find the batch of %s: %w", t, err)
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq uint64 `json:"seq"`
		} `json:"message"`
	}
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return 0, fmt.Errorf("find the batch of %s: %w", t, err)
	}
	if resp.Error != nil && resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return 0, nil
	}
	if resp.Error != nil {
		return 0, fmt.Errorf("find the batch of %s: %w", t, resp.Error)
	}
	return resp.Message.Seq, nil
}
