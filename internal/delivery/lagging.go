package delivery

import (
	"context"
	"fmt"
	"slices"
)

// Lagging says whether one of the subscriptions has as much to do as its target
// takes: deliveries wait in its lane here, or it is off the shared path, which any
// node knows.
func (d *Delivery) Lagging(ctx context.Context, subscriptions []int64) (bool, error) {
	if slices.ContainsFunc(subscriptions, d.isBusy) {
		return true, nil
	}
	lags, err := d.store.anyReads(ctx, subscriptions)
	if err != nil {
		return false, fmt.Errorf("look which targets lag: %w", err)
	}
	return lags, nil
}

// isBusy reports whether more waits in a lane than its workers have taken.
func (d *Delivery) isBusy(subscription int64) bool {
	d.mu.Lock()
	l := d.lanes[subscription]
	d.mu.Unlock()
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) > 0
}
