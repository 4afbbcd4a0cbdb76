package delivery_test

import (
	"context"
	"testing"
)

func TestATargetThatHangsCostsNoJobForWhatIsNotAttempted(t *testing.T) {
	n := newNode(t)
	n.rule("hung", nil)
	release := make(chan struct{})
	n.endpoints.behaves(queueARN("hung"), func(ctx context.Context, _ int) error {
		select {
		case <-ctx.Done():
			return retryable("hung")
		case <-release:
			return nil
		}
	})
	const events, workers = 3000, 64
	for range events / 100 {
		n.put("hung", 100)
	}
	n.ackedThrough()
	if s := n.delivery.Stats(); s.Diverted != 1 || s.Parked > workers {
		t.Errorf("diverted %d times and parked %d deliveries, want 1 and at most the %d that were attempted", s.Diverted, s.Parked, workers)
	}
	close(release)
	n.endpoints.until(t, "all events", received(queueARN("hung"), events))
}
