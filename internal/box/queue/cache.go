package queue

import (
	"sync"
	"time"
)

const (
	// cacheAge bounds how long this node goes on with what another node changed.
	cacheAge = time.Second
	cacheMax = 10_000
)

// cache keeps the queues that were used in the last second, so that sending a
// message reads no configuration.
type cache struct {
	mu     sync.RWMutex
	queues map[Ref]cached
	gen    uint64 // grows with each forget
}

type cached struct {
	queue *Queue
	read  time.Time
}

func (c *cache) get(r Ref) *Queue {
	c.mu.RLock()
	have, ok := c.queues[r]
	c.mu.RUnlock()
	if !ok || time.Since(have.read) > cacheAge {
		return nil
	}
	return have.queue
}

// generation is taken before reading a queue and handed to put with it.
func (c *cache) generation() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.gen
}

// put keeps the queue, unless any queue was changed since it was read.
func (c *cache) put(queue *Queue, gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != gen {
		return
	}
	if c.queues == nil || len(c.queues) >= cacheMax {
		c.queues = map[Ref]cached{}
	}
	c.queues[queue.Ref] = cached{queue, time.Now()}
}

func (c *cache) forget(r Ref) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	delete(c.queues, r)
}

// recent remembers facts about contents for as long as the cache does.
type recent struct {
	mu    sync.Mutex
	facts map[int64]fact
}

type fact struct {
	holds bool
	read  time.Time
}

func (r *recent) get(contents int64) (holds, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, ok := r.facts[contents]
	return f.holds, ok && time.Since(f.read) < cacheAge
}

func (r *recent) put(contents int64, holds bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.facts == nil || len(r.facts) >= cacheMax {
		r.facts = map[int64]fact{}
	}
	r.facts[contents] = fact{holds, time.Now()}
}
