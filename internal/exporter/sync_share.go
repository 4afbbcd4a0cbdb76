package exporter

import (
	"context"
	"fmt"
	"sync"
)

// sharePage is how many open scopes of an account are loaded at once.
const sharePage = 20

// shares hands out a run's open scopes such that an account which is slow does not keep others
// from their turn: the next is of the account with the fewest under way, and of those the
// one that comes first in the plan.
type shares struct {
	x     *Exporter
	runID string

	mu  sync.Mutex // guards running
	all []*share
}

// share are the open scopes of one account.
type share struct {
	account string
	list    []SyncScope // the next ones
	after   int         // the position of the last that was loaded
	loaded  bool        // none comes after that
	running int
}

func (x *Exporter) shareScopes(ctx context.Context, runID string) (*shares, error) {
	accounts, err := pendingAccounts(ctx, x.db, runID)
	if err != nil {
		return nil, fmt.Errorf("load the scopes of full sync %s: %w", runID, err)
	}
	s := &shares{x: x, runID: runID}
	for _, account := range accounts {
		s.all = append(s.all, &share{account: account})
	}
	return s, nil
}

// next returns the scope to be worked on next, and what is to be called once that is over; nil
// for none.
func (s *shares) next(ctx context.Context) (sc *SyncScope, ended func(), err error) {
	var best *share
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.all {
		if err := s.fill(ctx, a); err != nil {
			return nil, nil, err
		}
		if len(a.list) == 0 {
			continue
		}
		if best == nil || a.running < best.running || a.running == best.running && a.list[0].position < best.list[0].position {
			best = a
		}
	}
	if best == nil {
		return nil, nil, nil
	}
	sc, best.list = &best.list[0], best.list[1:]
	best.running++
	return sc, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		best.running--
	}, nil
}

// fill loads an account's next scopes if it has none.
func (s *shares) fill(ctx context.Context, a *share) (err error) {
	if len(a.list) > 0 || a.loaded {
		return nil
	}
	if a.list, err = pendingScopes(ctx, s.x.db, s.runID, a.account, a.after, sharePage); err != nil {
		return fmt.Errorf("load the scopes of full sync %s: %w", s.runID, err)
	}
	a.loaded = len(a.list) < sharePage
	if n := len(a.list); n > 0 {
		a.after = a.list[n-1].position
	}
	return nil
}
