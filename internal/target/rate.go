package target

import (
	"context"
	"sync"

	"golang.org/x/time/rate"

	"github.com/rialto-bus/rialto/internal/bus"
)

// Wait returns when the target's rate limit allows one more attempt. AWS:
// invocations above the rate wait and are not counted as attempts. If ctx would
// end first it fails at once and takes nothing.
func (t *Targets) Wait(ctx context.Context, sub *bus.Subscription) error {
	if sub.Target.Kind != bus.KindAPIDestination {
		return ctx.Err()
	}
	limiter := t.limits.get(sub.Target.ARN)
	if limiter == nil {
		inv, err := t.buses.Invocation(ctx, sub.Target.ARN)
		if err != nil {
			return ctx.Err() // the attempt says what is wrong with the destination
		}
		limiter = t.limits.set(inv.ARN, inv.RateLimit)
	}
	return limiter.Wait(ctx)
}

// limits are the rate limiters of API destinations, shared by all rules that
// send to one. Each attempt brings the limit up to date.
type limits struct {
	mu    sync.Mutex
	byARN map[string]*rate.Limiter
}

// get returns nil for a destination that was not attempted yet.
func (l *limits) get(arn string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byARN[arn]
}

func (l *limits) set(arn string, perSecond int) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.byARN[arn]
	if !ok {
		limiter = rate.NewLimiter(rate.Limit(perSecond), burst(perSecond))
		l.byARN[arn] = limiter
	}
	if limiter.Limit() != rate.Limit(perSecond) {
		limiter.SetLimit(rate.Limit(perSecond))
		limiter.SetBurst(burst(perSecond))
	}
	return limiter
}

// drop forgets a destination that is gone.
func (l *limits) drop(arn string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.byARN, arn)
}

// burst is what may go at once: a tenth of a second's worth.
func burst(perSecond int) int { return max(1, perSecond/10) }
