package intake

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/store"
)

// Activity is what came of a source.
type Activity struct {
	// Accepted, Duplicates and Refused count events. What AWS is to send again, as
	// the server could not take it, is in none of them.
	Accepted, Duplicates, Refused int64
	// AcceptedAt is when the last event was accepted, Lag how long before that it
	// had happened.
	AcceptedAt time.Time
	Lag        time.Duration
	// RefusedAt and RefusedWhy are of the last refused event.
	RefusedAt  time.Time
	RefusedWhy string
	// FailedAt and FailedWhy say since when and why the source does not work; zero
	// while it does.
	FailedAt  time.Time
	FailedWhy string
	// Waiting is about how many messages the queue held at PolledAt.
	Waiting  int64
	PolledAt time.Time
}

// Activity returns what came of a source up to now.
func (i *Intake) Activity(ctx context.Context, s Source) (Activity, error) {
	if err := i.flush(ctx); err != nil {
		return Activity{}, err
	}
	return loadActivity(ctx, i.db, s.ID)
}

// Totals count what came of all sources of this node since it started.
type Totals struct{ Accepted, Duplicates, Refused, Unauthorized int64 }

type totals struct{ accepted, duplicates, refused, unauthorized atomic.Int64 }

// Totals returns the counts of this node.
func (i *Intake) Totals() Totals {
	t := &i.totals
	return Totals{t.accepted.Load(), t.duplicates.Load(), t.refused.Load(), t.unauthorized.Load()}
}

// tally is what came of a source and is not yet written down.
type tally struct {
	accepted, duplicates, refused int64
	acceptedAt                    time.Time
	lag                           time.Duration
	refusedAt                     time.Time
	refusedWhy                    string
	// judged: failedAt and failedWhy say how the source stands.
	judged    bool
	failedAt  time.Time
	failedWhy string
	waiting   int64
	polledAt  time.Time
}

// add adds what came before later.
func (t *tally) add(earlier *tally) {
	t.accepted += earlier.accepted
	t.duplicates += earlier.duplicates
	t.refused += earlier.refused
	if t.acceptedAt.IsZero() {
		t.acceptedAt, t.lag = earlier.acceptedAt, earlier.lag
	}
	if t.refusedAt.IsZero() {
		t.refusedAt, t.refusedWhy = earlier.refusedAt, earlier.refusedWhy
	}
	if !t.judged {
		t.judged, t.failedAt, t.failedWhy = earlier.judged, earlier.failedAt, earlier.failedWhy
	}
	if t.polledAt.IsZero() {
		t.waiting, t.polledAt = earlier.waiting, earlier.polledAt
	}
}

// activities hold what is to be written down of each source: written for each
// event, the one row of a busy source would hold up all who accept.
type activities struct {
	mu      sync.Mutex
	pending map[string]*tally
	writing sync.Mutex // held by the one who writes down
}

func (a *activities) note(sourceID string, change func(*tally)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.pending[sourceID]
	if t == nil {
		t = &tally{}
		if a.pending == nil {
			a.pending = map[string]*tally{}
		}
		a.pending[sourceID] = t
	}
	change(t)
}

func (a *activities) take() map[string]*tally {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken := a.pending
	a.pending = nil
	return taken
}

// flush writes down what came of the sources.
func (i *Intake) flush(ctx context.Context) error {
	i.activities.writing.Lock()
	defer i.activities.writing.Unlock()
	taken := i.activities.take()
	if len(taken) == 0 {
		return nil
	}
	err := i.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		// In one order on all nodes, so that they do not wait for each other.
		for _, id := range slices.Sorted(maps.Keys(taken)) {
			if err := addActivity(ctx, tx, id, taken[id]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for id, t := range taken {
			i.activities.note(id, func(later *tally) { later.add(t) })
		}
	}
	return err
}

// flushEvery is how old counts in the database may be.
const flushEvery = time.Second

// writeDown flushes until ctx ends, and once more then.
func (i *Intake) writeDown(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := i.flush(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				i.log.Warn("counts of sources are not written down yet", "error", err)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return errors.Join(ctx.Err(), i.flush(last))
		}
	}
}

// maxWhy bounds a text that is kept, in bytes.
const maxWhy = 1024

// plain makes a text that others had a hand in fit to be kept and shown.
func plain(s string) string {
	s = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "\ufffd"), "\ufffd")
	if len(s) <= maxWhy {
		return s
	}
	cut := maxWhy
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}
