package topic

import (
	"math"
	"math/rand/v2"
	"time"
)

// retryPolicy is when failed deliveries are tried again. AWS: in four phases,
// without delay, at the least delay, backing off, and at the greatest delay.
type retryPolicy struct {
	retries                                   int
	noDelay, minDelayRetries, maxDelayRetries int
	minDelay, maxDelay                        time.Duration
	function                                  string // one of backoffFunctions
}

// backoffFunctions say how delays grow in the backoff phase.
var backoffFunctions = []string{"linear", "arithmetic", "geometric", "exponential"}

// managedRetry is AWS's policy for queues and functions: 100,015 retries in 23 days.
var managedRetry = retryPolicy{
	retries: 100_015, noDelay: 3, minDelayRetries: 2, maxDelayRetries: 100_000,
	minDelay: time.Second, maxDelay: 20 * time.Second, function: "exponential",
}

// mailRetry is AWS's policy for e-mail: 50 retries in 6 hours.
var mailRetry = retryPolicy{
	retries: 50, minDelayRetries: 2, maxDelayRetries: 38, minDelay: 10 * time.Second, maxDelay: 10 * time.Minute, function: "exponential",
}

func (r retryPolicy) backoffRetries() int {
	return r.retries - r.noDelay - r.minDelayRetries - r.maxDelayRetries
}

// delay returns the pause before retry n, from 1; false when there is none.
func (r retryPolicy) delay(n int) (time.Duration, bool) {
	switch backoff := n - r.noDelay - r.minDelayRetries; {
	case n > r.retries:
		return 0, false
	case n <= r.noDelay:
		return 0, true
	case backoff <= 0:
		return r.minDelay, true
	case backoff > r.backoffRetries():
		return r.maxDelay, true
	default:
		return r.minDelay + time.Duration(float64(r.maxDelay-r.minDelay)*r.growth(backoff-1)), true
	}
}

// growth is how far the delay of the backoff phase has come, from 0 at the first
// retry to 1 at the last.
func (r retryPolicy) growth(i int) float64 {
	last := float64(r.backoffRetries() - 1)
	if last <= 0 {
		return 0
	}
	x := float64(i)
	switch r.function {
	case "arithmetic":
		return x * (x + 1) / (last * (last + 1))
	case "geometric":
		span := float64(r.maxDelay) / float64(r.minDelay)
		if span == 1 {
			return 0
		}
		return (math.Pow(span, x/last) - 1) / (span - 1)
	case "exponential":
		return (math.Exp2(x) - 1) / (math.Exp2(last) - 1)
	}
	return x / last
}

// total is the time that all retries take.
func (r retryPolicy) total() time.Duration {
	var sum time.Duration
	for n := 1; n <= r.retries; n++ {
		d, _ := r.delay(n)
		sum += d
	}
	return sum
}

// jittered spreads retries that would fall on the same moment. AWS: "applies
// jittering to delivery retries".
func jittered(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d - time.Duration(rand.Int64N(int64(d)/10+1))
}
