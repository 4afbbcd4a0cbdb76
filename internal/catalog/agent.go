package catalog

import (
	"context"
	"fmt"
	"sync"
)

const (
	// maxAgents is how many different User-Agents of the API's callers are told apart as $datasource.
	maxAgents = 10_000
	// otherAgent is the $datasource of those that came when there were so many.
	otherAgent = "other"
)

// agents remembers User-Agents that are stored already: those are never removed.
type agents struct {
	most int

	mu     sync.Mutex // guards stored
	stored map[string]bool
}

// datasourceOf is what is kept of a caller's User-Agent: itself, unless it is new and there are as many as
// are kept. Callers who are the first at the same moment may make it a few more.
func (c *Catalog) datasourceOf(ctx context.Context, agent string) (string, error) {
	a := &c.agents
	a.mu.Lock()
	stored := a.stored[agent]
	a.mu.Unlock()
	if stored {
		return agent, nil
	}
	stored, n, err := countDatasources(ctx, c.db, agent)
	switch {
	case err != nil:
		return "", fmt.Errorf("look up the User-Agent: %w", err)
	case stored:
		a.mu.Lock()
		if a.stored == nil {
			a.stored = map[string]bool{}
		}
		a.stored[agent] = true
		a.mu.Unlock()
	case n >= a.most:
		return otherAgent, nil
	}
	return agent, nil
}
