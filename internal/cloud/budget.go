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

// budget holds the calls to one service of one account to a rate: those of all
// regions, retries included. Calls wait in the order in which they came. When AWS
// throttles, the rate is halved, and it grows again slowly.
type budget struct {
	full, burst float64 // calls a second, and calls at once

	line    chan struct{} // held by the first in line; a channel serves its senders in order
	waiting atomic.Int64

	mu      sync.Mutex
	rate    float64 // calls a second at the time at
	tokens  float64 // calls that may go at the time at
	at      time.Time
	lowered time.Time // when throttling last lowered the rate
}

func newBudget(rate float64, burst int) *budget {
	return &budget{
		full: rate, burst: float64(burst), line: make(chan struct{}, 1), rate: rate, tokens: float64(burst), at: time.Now(),
	}
}

// wait returns once a call may go, or ErrBudget where it could not go before the
// context's deadline, or the context's error. admitted is the time it may go at.
func (b *budget) wait(ctx context.Context) (admitted time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	ahead := b.waiting.Add(1) - 1
	defer b.waiting.Add(-1)
	deadline, limited := ctx.Deadline()
	if limited && b.until(float64(ahead)) > time.Until(deadline) {
		return time.Time{}, ErrBudget
	}
	select {
	case b.line <- struct{}{}:
		defer func() { <-b.line }()
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
	for {
		now := time.Now()
		left := b.take(now)
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

// until is how long it takes for a call that has others ahead of it.
func (b *budget) until(ahead float64) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(time.Now())
	return b.missing(ahead + 1)
}

// take takes a call out of the budget, or returns how long until it can.
func (b *budget) take(now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advance(now)
	if left := b.missing(1); left > 0 {
		return left
	}
	b.tokens--
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
