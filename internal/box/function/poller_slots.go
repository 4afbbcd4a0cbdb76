package function

import (
	"context"
	"sync"
)

// slots bound how many batches of a mapping run at once. The bound adapts: it grows while
// batches succeed and is halved when an invocation is throttled. One goroutine
// acquires and waits.
type slots struct {
	freed chan struct{}

	mu                   sync.Mutex
	running, limit, most int
}

func newSlots() *slots { return &slots{freed: make(chan struct{}, 1)} }

// allow sets the most batches that may run at once.
func (s *slots) allow(most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.most = most
	if s.limit = min(s.limit, most); s.limit == 0 {
		s.limit = min(startBatches, most)
	}
}

// acquire returns false when ctx ends first.
func (s *slots) acquire(ctx context.Context) bool {
	return s.wait(ctx, func() bool {
		if s.running >= s.limit {
			return false
		}
		s.running++
		return true
	})
}

// idle waits until nothing runs; it returns false when ctx ends first.
func (s *slots) idle(ctx context.Context) bool {
	return s.wait(ctx, func() bool { return s.running == 0 })
}

func (s *slots) wait(ctx context.Context, ready func() bool) bool {
	for {
		s.mu.Lock()
		ok := ready()
		s.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (s *slots) release() { s.change(func() { s.running-- }) }

func (s *slots) grow() { s.change(func() { s.limit = min(s.limit+1, s.most) }) }

func (s *slots) shrink() { s.change(func() { s.limit = max(s.limit/2, 1) }) }

func (s *slots) change(how func()) {
	s.mu.Lock()
	how()
	s.mu.Unlock()
	select {
	case s.freed <- struct{}{}:
	default:
	}
}
