package function

import "sync"

// bells wake what runs in this process when something has changed that it follows. A
// bell that nobody waits at is not heard: who joins looks first.
type bells struct {
	mu     sync.Mutex
	byName map[string]chan struct{}
}

// join returns the bell of that name, at which one waits. Call leave in the end.
func (b *bells) join(name string) (rung <-chan struct{}, leave func()) {
	ch := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.byName == nil {
		b.byName = map[string]chan struct{}{}
	}
	b.byName[name] = ch
	return ch, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.byName[name] == ch {
			delete(b.byName, name)
		}
	}
}

func (b *bells) ring(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.byName[name] <- struct{}{}:
	default:
	}
}
