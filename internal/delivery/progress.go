package delivery

import (
	"sync"
	"time"
)

// cursor is a place in the log: the entry at Index of the batch at Sequence.
type cursor struct {
	Sequence uint64
	Index    int
}

// progress knows how far a reader is: which entry comes next, and which of the
// batches before are not settled.
type progress struct {
	mu      sync.Mutex
	open    []*openBatch // in the order of the log
	next    cursor
	stored  cursor // as the row has it
	when    time.Time
	settled chan struct{} // closed once nothing is open; nil while nobody waits for that
}

// openBatch is a batch with unsettled deliveries.
type openBatch struct {
	held  *held
	index int // of the entry that is being handed over; those before were
}

// seek says where the reader goes on.
func (p *progress) seek(to cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = to
}

// nextEntry returns where the reader goes on.
func (p *progress) nextEntry() cursor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}

// begin opens a batch that is read from the entry at index.
func (p *progress) begin(h *held, index int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open = append(p.open, &openBatch{h, index})
	p.next = cursor{Sequence: h.seq + 1}
}

// at says which entry of the last batch is handed over next.
func (p *progress) at(index int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.open); n > 0 {
		p.open[n-1].index = index
	}
}

// end closes a batch that is settled.
func (p *progress) end(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, b := range p.open {
		if b.held.seq == seq {
			p.open = append(p.open[:i], p.open[i+1:]...)
			break
		}
	}
	if len(p.open) == 0 && p.settled != nil {
		close(p.settled)
		p.settled = nil
	}
}

// position returns where another reader would have to begin so that it misses
// nothing.
func (p *progress) position() cursor {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) == 0 {
		return p.next
	}
	first := p.open[0]
	index := first.index
	if left := first.held.unsettled(); len(left) > 0 {
		index = min(index, left[0].index)
	}
	return cursor{first.held.seq, index}
}

// batches returns the batches that are not settled.
func (p *progress) batches() []*held {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*held
	for _, b := range p.open {
		all = append(all, b.held)
	}
	return all
}

func (p *progress) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open) == 0
}

// saved says what the row has.
func (p *progress) saved(c cursor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stored, p.when = c, time.Now()
}

// isDue reports whether the row should be stored again.
func (p *progress) isDue(now time.Time) bool {
	p.mu.Lock()
	due := now.Sub(p.when) >= saveEvery
	stored := p.stored
	p.mu.Unlock()
	return due && p.position() != stored
}

// idle returns a channel that is closed once nothing is open.
func (p *progress) idle() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) == 0 {
		settled := make(chan struct{})
		close(settled)
		return settled
	}
	if p.settled == nil {
		p.settled = make(chan struct{})
	}
	return p.settled
}
