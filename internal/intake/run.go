package intake

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/store"
)

// Run polls the queues and keeps house until ctx ends, and then returns ctx's
// error. A stop waits for the messages that are being taken in.
func (i *Intake) Run(ctx context.Context) error {
	var g errgroup.Group
	g.Go(func() error { return i.writeDown(ctx) })
	g.Go(func() error { return i.db.RunLeased(ctx, "intake seen", i.holder, i.sweep) })
	g.Go(func() error { return i.followSources(ctx) })
	return g.Wait()
}

// refreshEvery is how often a node looks for sources that others changed: told of
// them it is too, but what it is told may get lost.
const refreshEvery = 10 * time.Second

// polling is a queue that this node polls, or would if it held the lease.
type polling struct {
	updatedAt time.Time
	cancel    context.CancelFunc
	ended     chan struct{}
}

func (p *polling) stop() {
	p.cancel()
	<-p.ended
}

// followSources keeps one poller for each queue that is to be polled.
func (i *Intake) followSources(ctx context.Context) error {
	running := map[string]*polling{}
	defer func() {
		for _, p := range running {
			p.cancel()
		}
		for _, p := range running {
			<-p.ended
		}
	}()
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		if err := i.adjust(ctx, running); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
			i.log.Warn("sources that may have changed cannot be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-i.refresh:
		case <-tick.C:
		}
	}
}

// adjust stops pollers whose sources changed or are no more, and starts those that
// are missing.
func (i *Intake) adjust(ctx context.Context, running map[string]*polling) error {
	all, err := listSources(ctx, i.db)
	if err != nil {
		return err
	}
	there, wanted := map[string]bool{}, map[string]Source{}
	for _, s := range all {
		there[s.ID] = true
		if s.Kind == KindQueue && s.Enabled {
			wanted[s.ID] = s
		}
	}
	i.forget(there)
	for id, p := range running {
		if s, ok := wanted[id]; !ok || !s.UpdatedAt.Equal(p.updatedAt) {
			p.stop()
			delete(running, id)
		}
	}
	for id, s := range wanted {
		if running[id] == nil {
			running[id] = i.startPolling(ctx, s)
		}
	}
	return nil
}

func (i *Intake) startPolling(ctx context.Context, s Source) *polling {
	ctx, cancel := context.WithCancel(ctx)
	p := &polling{updatedAt: s.UpdatedAt, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		_ = i.db.RunLeased(ctx, "intake "+s.ID, i.holder, func(ctx context.Context) error {
			return i.poll(ctx, s)
		})
	}()
	return p
}

const (
	// seenFor is how long an event is known to have come. AWS: EventBridge tries for
	// up to 24 hours.
	seenFor = 24 * time.Hour
	// sweepEvery is the pause between sweeps, sweepChunk how many rows go in one
	// transaction.
	sweepEvery = time.Minute
	sweepChunk = 500
)

// sweep forgets events that came long ago, until ctx ends.
func (i *Intake) sweep(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := i.forgetSeen(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (i *Intake) forgetSeen(ctx context.Context) error {
	before := i.now().Add(-seenFor)
	for {
		var n int64
		err := i.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
			n, err = deleteSeen(ctx, tx, before, sweepChunk)
			return err
		})
		if err != nil || n < sweepChunk {
			return err
		}
	}
}
