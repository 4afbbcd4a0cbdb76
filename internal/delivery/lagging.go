package delivery

import (
	"context"
	"fmt"
)

// Lagging says whether one of the subscriptions is off the shared path: its events
// wait in the log for a target that is slow or failing. Any node may be asked.
func (d *Delivery) Lagging(ctx context.Context, subscriptions []int64) (bool, error) {
	lags, err := d.store.anyReads(ctx, subscriptions)
	if err != nil {
		return false, fmt.Errorf("look which targets lag: %w", err)
	}
	return lags, nil
}
