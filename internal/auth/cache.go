package auth

import (
	"sync"
	"time"
)

const (
	// cacheTTL bounds how long a node goes on trusting what another has changed.
	cacheTTL = time.Second
	// cacheSize bounds the memory of a cache; beyond it, it starts afresh.
	cacheSize = 10_000
)

// cache keeps what was read from SQL for cacheTTL.
type cache[K comparable, V any] struct {
	now func() time.Time

	mu         sync.Mutex
	generation uint64 // grows with every change
	entries    map[K]cached[V]
}

type cached[V any] struct {
	value V
	until time.Time
}

func newCache[K comparable, V any](now func() time.Time) *cache[K, V] {
	return &cache[K, V]{now: now, entries: map[K]cached[V]{}}
}

// get returns the value of k, from load where it is not fresh. What load read
// before a change is not kept, and neither are failures.
func (c *cache[K, V]) get(k K, load func() (V, error)) (V, error) {
	now := c.now()
	c.mu.Lock()
	entry, ok := c.entries[k]
	generation := c.generation
	c.mu.Unlock()
	if ok && now.Before(entry.until) {
		return entry.value, nil
	}
	v, err := load()
	if err != nil {
		return v, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != generation {
		return v, nil
	}
	if len(c.entries) >= cacheSize {
		clear(c.entries)
	}
	c.entries[k] = cached[V]{value: v, until: now.Add(cacheTTL)}
	return v, nil
}

// changed forgets everything: changes are rare, and reading again is cheap.
func (c *cache[K, V]) changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	clear(c.entries)
}
