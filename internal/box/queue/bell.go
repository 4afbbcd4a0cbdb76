package queue

import "sync"

// bell wakes callers that wait for a queue's messages. A ring wakes as many as
// there are new messages; one that was woken and leaves without them passes it on.
type bell struct {
	mu      sync.Mutex
	waiting map[int64][]chan struct{} // by queue id, longest waiting first
}

// wait returns a channel that is sent to when the queue has something new.
// Every wait is ended by leave.
func (b *bell) wait(queue int64) chan struct{} {
	c := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[int64][]chan struct{}{}
	}
	b.waiting[queue] = append(b.waiting[queue], c)
	return c
}

// leave ends a wait. Its ring, if it came and was not received, goes to the next.
func (b *bell) leave(queue int64, c chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.waiting[queue]
	for i, other := range list {
		if other == c {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(b.waiting, queue)
	} else {
		b.waiting[queue] = list
	}
	select {
	case <-c:
		b.ringLocked(queue, 1)
	default:
	}
}

// ring wakes up to n of those that wait for the queue.
func (b *bell) ring(queue int64, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringLocked(queue, n)
}

// ringAll wakes all: the queue itself has changed.
func (b *bell) ringAll(queue int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ringLocked(queue, len(b.waiting[queue]))
}

func (b *bell) ringLocked(queue int64, n int) {
	for _, c := range b.waiting[queue] {
		if n == 0 {
			return
		}
		select {
		case c <- struct{}{}:
			n--
		default: // was rung already and has yet to wake
		}
	}
}
