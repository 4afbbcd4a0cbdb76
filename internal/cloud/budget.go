package cloud

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// recovery is how long a budget takes from nothing back to its full rate.
	recovery = time.Minute
	// slowest is the part of the full rate below which throttling takes none.
	slowest = 1.0 / 64
)

// urgentKey is under which a context says that its calls are urgent.
type urgentKey struct{}

// Urgent returns a context whose calls go before those of others where calls wait for
// an account's rate budget: three of them for each of the others. For reads that
// someone waits for, beside a listing of everything.
func Urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

// heldKey is under which a context notes how long its calls were held back.
type heldKey struct{}

// HeldBack returns a context, and what tells how long the calls that were made with it had to wait
// until they could go: for an account's rate budget, or before they were made again.
func HeldBack(ctx context.Context) (context.Context, func() time.Duration) {
	held := new(atomic.Int64)
	return context.WithValue(ctx, heldKey{}, held), func() time.Duration { return time.Duration(held.Load()) }
}

// noteHeld notes that a call was held back since a time.
func noteHeld(ctx context.Context, since time.Time) {
	if held, ok := ctx.Value(heldKey{}).(*atomic.Int64); ok {
		held.Add(int64(time.Since(since)))
	}
}

// line is one of the two in which calls wait.
type line struct {
	head    chan struct{} // held by the first; a channel serves its senders in order
	waiting atomic.Int64  // those in it, the first too
}

const (
	ordinary = iota
	urgent
)

// urgentTurns is how many urgent calls go for one that is not.
const urgentTurns = 3

// budget holds the calls to one service of one account to a rate: those of all
// regions, retries included. Calls wait in the order in which they came, the urgent
// ones in a line of their own. When AWS throttles, the rate is halved, and it grows
// again slowly.
type budget struct {
	full, burst float64 // calls a second, and calls at once

	lines [2]line

	mu      sync.Mutex
	rate    float64 // calls a second at the time at
	tokens  float64 // calls that may go at the time at
	at      time.Time
	lowered time.Time // when throttling last lowered the rate
	turns   int       // urgent calls since the last other one
}

func newBudget(rate float64, burst int) *budget {
	b := &budget{full: rate, burst: float64(burst), rate: rate, tokens: float64(burst), at: time.Now()}
	for i := range b.lines {
		b.lines[i].head = make(chan struct{}, 1)
	}
	return b
}

// wait returns once a call may go, or ErrBudget where it could not go before the
// context's deadline, or the context's error. admitted is the time it may go at.
func (b *budget) wait(ctx context.Context) (admitted time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	kind := ordinary
	if ctx.Value(urgentKey{}) != nil {
		kind = urgent
	}
	defer noteHeld(ctx, time.Now())
	l := &b.lines[kind]
	ahead := b.ahead(kind, l.waiting.Add(1)-1)
	defer l.waiting.Add(-1)
	deadline, limited := ctx.Deadline()
	if limited && b.until(ahead) > time.Until(deadline) {
		return time.Time{}, ErrBudget
	}
	select {
	case l.head <- struct{}{}:
		defer func() { <-l.head }()
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
	for {
		now := time.Now()
		left := b.take(now, kind)
		switch {
		case left == 0:
			return now, nil
		case limited && left > deadline.Sub(now):
			return time.Time{}, ErrBudget
		}
		timer := time.NewTimer(left)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return time.Time{}, ctx.Err()
		}
	}
}

// ahead is how many calls go before one that has so many of its own kind before it.
func (b *budget) ahead(kind int, same int64) float64 {
	others := b.lines[1-kind].waiting.Load()
	if kind == urgent {
		return float64(same + min(others, same/urgentTurns))
	}
	return float64(same + min(others, urgentTurns*(same+1)))
}

// until is how long it takes for a call that has others ahead of it.
func (b *budget) until(ahead float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(time.Now())
	return b.missing(ahead + 1)
}

// take takes a call of a kind out of the budget, or returns how long until it should
// try again.
func (b *budget) take(now time.Time, kind int) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	if left := b.missing(1); left > 0 {
		return left
	}
	// Where there is but one call left, the other line may have the turn.
	if (kind == urgent) == (b.turns >= urgentTurns) && b.lines[1-kind].waiting.Load() > 0 && b.tokens < 2 {
		return b.missing(2)
	}
	b.tokens--
	b.turns++
	if kind == ordinary {
		b.turns = 0
	}
	return 0
}

// missing is how long it takes until there are n tokens.
func (b *budget) missing(n float64) time.Duration {
	if b.tokens >= n {
		return 0
	}
	// At least a nanosecond, or rounding would have the first in line spin.
	return max(1, time.Duration((n-b.tokens)/b.rate*float64(time.Second)))
}

// advance brings rate and tokens to now.
func (b *budget) advance(now time.Time) {
	elapsed := now.Sub(b.at).Seconds()
	if elapsed <= 0 {
		return
	}
	b.at = now
	rate := min(b.full, b.rate+b.full*elapsed/recovery.Seconds())
	b.tokens = min(b.burst, b.tokens+(b.rate+rate)/2*elapsed)
	b.rate = rate
}

// throttled is told of a call that AWS throttled. Those that went before the rate
// was last lowered say nothing about the rate that there is now.
func (b *budget) throttled(admitted time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !admitted.After(b.lowered) {
		return
	}
	now := time.Now()
	b.advance(now)
	b.lowered = now
	b.rate = max(b.rate/2, b.full*slowest)
	b.tokens = min(b.tokens, 0)
}
