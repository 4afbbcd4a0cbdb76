package cloud

import (
	"context"
	"sync"
	"time"
)

const (
	// cacheAge bounds how long this node goes on with settings that another node
	// changed.
	cacheAge = time.Second
	cacheMax = 10_000
)

// cache keeps the settings that were asked for in the last second, so that the
// delivery of an event reads none.
type cache struct {
	mu       sync.RWMutex
	accounts map[string]cached
	gen      uint64 // grows with each change
}

type cached struct {
	settings Settings
	found    bool
	read     time.Time
}

func (c *cache) get(account string) (have cached, gen uint64, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	have, ok = c.accounts[account]
	return have, c.gen, ok && time.Since(have.read) < cacheAge
}

// put keeps the settings, unless any were changed since they were read.
func (c *cache) put(account string, have cached, gen uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen != gen {
		return
	}
	if c.accounts == nil || len(c.accounts) >= cacheMax {
		c.accounts = map[string]cached{}
	}
	c.accounts[account] = have
}

// forget drops the account's settings, which have changed.
func (c *cache) forget(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	delete(c.accounts, account)
}

// settings returns an account's settings; found is false for one that is not
// configured as real. A change on this node holds at once, one on another within
// a second.
func (a *Accounts) settings(ctx context.Context, account string) (s Settings, found bool, err error) {
	have, gen, ok := a.known.get(account)
	if ok {
		return have.settings, have.found, nil
	}
	read := time.Now()
	if s, found, err = loadSettings(ctx, a.db, account); err != nil {
		return s, false, err
	}
	a.known.put(account, cached{s, found, read}, gen)
	return s, found, nil
}
