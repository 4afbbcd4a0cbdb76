package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
)

// Progress tells how full the event log is and how far its router; an *eventlog.Log.
type Progress interface {
	Backlog(ctx context.Context) (eventlog.Backlog, error)
	Stats(ctx context.Context) (eventlog.Stats, error)
}

// replayPace keeps replays from holding up live events. All replays of a process
// take turns: a slice is put on the bus once the router is done with the one
// before, so that live events find at most a slice ahead of them.
type replayPace struct {
	progress Progress // nil: without pacing
	lagging  func(ctx context.Context, subscriptions []int64) (bool, error)
	turn     chan struct{} // holds a token that whoever puts takes

	// The rest belongs to who has the turn.

	open []uint64 // ends in the log of slices that the router is not done with
	full bool     // the log had little room when last looked at
}

const (
	// replayPoll is how often the router's progress is asked for, lanePoll that of the
	// targets.
	replayPoll = 2 * time.Millisecond
	lanePoll   = 5 * time.Millisecond
	// replayWait is how long a slice waits before the replay looks whether it is
	// cancelled. One for a target that lags is put then.
	replayWait = time.Second
	// The router is not done while any target is slow, one that no replay is about too.
	// Once nothing waits for the router itself for replayPatience, slices go out up to
	// replayOpen ahead.
	replayPatience = 10 * time.Millisecond
	replayOpen     = 64
)

func newReplayPace(o *Options) *replayPace {
	p := &replayPace{progress: o.Progress, lagging: o.Lagging, turn: make(chan struct{}, 1)}
	p.turn <- struct{}{}
	return p
}

// putReplayed puts replayed events on their bus when their turn has come. It returns
// false if that took too long: the caller sees whether they are still wanted, and
// tries again.
func (b *Buses) putReplayed(ctx context.Context, recs []event.Record) (put bool, err error) {
	p := b.pace
	if p.progress == nil {
		err := b.Put(ctx, recs)
		return err == nil, err
	}
	if err := b.awaitLanes(ctx, recs); err != nil {
		return false, err
	}
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if admitted, err := p.admit(ctx); err != nil || !admitted {
		return false, err
	}
	err = b.Put(ctx, recs)
	if errors.Is(err, ErrThrottled) {
		p.full = true
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put replayed events: %w", err)
	}
	return true, p.sent(ctx)
}

// awaitLanes waits while a target of the events lags behind, but not for ever: one
// that is broken must not keep the others from being replayed to.
func (b *Buses) awaitLanes(ctx context.Context, recs []event.Record) error {
	if b.pace.lagging == nil {
		return nil
	}
	ids, err := b.subscriptionsOf(recs)
	if err != nil || len(ids) == 0 {
		return err
	}
	for began := time.Now(); time.Since(began) < replayWait; {
		lags, err := b.pace.lagging(ctx, ids)
		if err != nil || !lags {
			return err
		}
		if err := pause(ctx, lanePoll); err != nil {
			return err
		}
	}
	return nil
}

func (b *Buses) subscriptionsOf(recs []event.Record) ([]int64, error) {
	var subs []*Subscription
	var err error
	for i := range recs {
		if subs, err = b.Match(&recs[i], subs); err != nil {
			return nil, err
		}
	}
	ids := make([]int64, 0, len(subs))
	for _, s := range subs {
		ids = append(ids, s.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// admit waits until a slice may be put; false if that takes longer than replayWait.
func (p *replayPace) admit(ctx context.Context) (bool, error) {
	for began := time.Now(); ; {
		waited := time.Since(began)
		free, err := p.free(ctx, waited)
		if free || err != nil {
			return free, err
		}
		if waited >= replayWait {
			return false, nil
		}
		if err := pause(ctx, replayPoll); err != nil {
			return false, err
		}
	}
}

func (p *replayPace) free(ctx context.Context, waited time.Duration) (bool, error) {
	if p.full {
		if err := p.look(ctx); err != nil || p.full {
			return false, err
		}
	}
	backlog, err := p.progress.Backlog(ctx)
	if err != nil {
		return false, err
	}
	p.open = slices.DeleteFunc(p.open, func(seq uint64) bool { return seq <= backlog.AckFloor })
	if len(p.open) == 0 {
		return true, nil
	}
	return waited >= replayPatience && backlog.Waiting == 0 && len(p.open) < replayOpen, nil
}

// sent notes where in the log a slice ends that was put.
func (p *replayPace) sent(ctx context.Context) error {
	stats, err := p.progress.Stats(ctx)
	if err != nil {
		return err
	}
	p.see(stats)
	p.open = append(p.open, stats.Last)
	return nil
}

func (p *replayPace) look(ctx context.Context) error {
	stats, err := p.progress.Stats(ctx)
	if err == nil {
		p.see(stats)
	}
	return err
}

// see leaves the last quarter of the log to live events. What is delivered takes no
// more than half of it, so the rest is waiting for targets.
func (p *replayPace) see(stats eventlog.Stats) { p.full = stats.Bytes > stats.Limit/4*3 }
