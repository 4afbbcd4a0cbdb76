package exporter

import (
	"maps"
	"slices"
	"sync"
)

// locks let one writer at a time at each of many things, which are named by texts.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	mu   sync.Mutex
	uses int
}

// acquire waits until nobody else has any of the names. They are taken in their
// order, so that two who want the same do not wait for each other.
func (l *locks) acquire(names map[string]bool) (release func()) {
	sorted := slices.Sorted(maps.Keys(names))
	taken := make([]*lock, len(sorted))
	for i, name := range sorted {
		taken[i] = l.use(name)
		taken[i].mu.Lock()
	}
	return func() {
		for i, name := range sorted {
			taken[i].mu.Unlock()
			l.drop(name)
		}
	}
}

func (l *locks) use(name string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[name]
	if k == nil {
		k = &lock{}
		l.held[name] = k
	}
	k.uses++
	return k
}

func (l *locks) drop(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.held[name]
	if k.uses--; k.uses == 0 {
		delete(l.held, name)
	}
}
