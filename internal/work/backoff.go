package work

import (
	"math/rand/v2"
	"time"
)

// Backoff returns how long to wait after the given failed attempt, the first of which is 1:
// base doubled with each attempt, at most limit, of which the second half is random,
// so that what failed together is not tried again together. A nil rnd uses the process's.
func Backoff(attempt int, base, limit time.Duration, rnd *rand.Rand) time.Duration {
	if base <= 0 || limit <= 0 {
		return 0
	}
	d := min(base, limit)
	for i := 1; i < attempt && d < limit; i++ {
		// Halving the limit instead of doubling d cannot overflow.
		if d > limit/2 {
			d = limit
			break
		}
		d *= 2
	}
	half := d / 2
	if rnd == nil {
		return half + rand.N(d-half+1)
	}
	return half + time.Duration(rnd.Int64N(int64(d-half)+1))
}
