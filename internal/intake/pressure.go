package intake

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// maxOutbox and maxOutboxBytes are how many events may wait in the outbox, and how
	// large, before sources are held back: the event log takes none then, and AWS keeps
	// what we do not take.
	maxOutbox      = 10_000
	maxOutboxBytes = 256 << 20
	// pressureAge is how old the count of waiting events may be.
	pressureAge = time.Second
)

// pressure remembers whether too many events waited in the outbox.
type pressure struct {
	mu   sync.Mutex
	at   time.Time
	held bool
}

// heldBack reports whether no more events should be accepted now.
func (i *Intake) heldBack(ctx context.Context) (bool, error) {
	p := &i.pressure
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.at) >= pressureAge {
		n, size, err := i.db.OutboxSize(ctx)
		if err != nil {
			return false, fmt.Errorf("count the events in the outbox: %w", err)
		}
		p.at, p.held = now, n >= maxOutbox || size >= maxOutboxBytes
	}
	return p.held, nil
}
