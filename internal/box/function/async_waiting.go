package function

import (
	"context"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// waitingCounts remember, for a moment, for which functions as much waits as may.
type waitingCounts struct {
	mu      sync.Mutex
	byID    map[int64]waitingCount
	checked time.Time // when byID was last emptied
}

type waitingCount struct {
	full bool
	at   time.Time
}

// full says whether no more may wait for the function; what it says is at most waitingFor old.
func (c *waitingCounts) full(ctx context.Context, db *store.DB, function int64) (bool, error) {
	now := time.Now()
	c.mu.Lock()
	have, known := c.byID[function]
	c.mu.Unlock()
	if known && now.Sub(have.at) < waitingFor {
		return have.full, nil
	}
	n, err := countInvocations(ctx, db, function, maxWaiting)
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byID == nil || now.Sub(c.checked) > time.Minute {
		c.byID, c.checked = map[int64]waitingCount{}, now
	}
	c.byID[function] = waitingCount{n >= maxWaiting, now}
	return n >= maxWaiting, nil
}
