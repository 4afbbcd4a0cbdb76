package exporter

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

var errCrash = errors.New("the process dies")

// crashingSink is a sink in which the process dies at a step. Without a catalog below
// it, it has no transactions.
type crashingSink struct {
	below Sink
	w     *world
	// at is the change before which it dies; after the last one, before the commit; and
	// one more, after the commit.
	at      int
	storing sync.Mutex // guards stored
	stored  map[catalog.EntityRef]map[string]any
}

func (s *crashingSink) crashAt(n int) { s.at = n }

// Transactional implements Sink.
func (s *crashingSink) Transactional() bool { return s.below != nil }

// Write implements Sink.
func (s *crashingSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	if s.below != nil {
		return s.writeBelow(ctx, w, changes, commit)
	}
	results, crashed := s.make(changes)
	if crashed {
		return errCrash
	}
	return commit(ctx, nil, results)
}

// make makes changes in memory.
func (s *crashingSink) make(changes []catalog.EntityChange) (results []catalog.ChangeResult, crashed bool) {
	s.storing.Lock()
	defer s.storing.Unlock()
	results = make([]catalog.ChangeResult, len(changes))
	for i, c := range changes {
		if s.at == i {
			return nil, true
		}
		ref := catalog.EntityRef{Blueprint: c.Blueprint, Identifier: c.Identifier}
		results[i] = catalog.ChangeResult{Blueprint: c.Blueprint, Identifier: c.Identifier}
		if c.Delete {
			if _, ok := s.stored[ref]; !ok {
				results[i].Err = &catalog.Error{Status: 404, Code: catalog.CodeNotFound, Message: "not found"}
			}
			delete(s.stored, ref)
			continue
		}
		if s.stored[ref] == nil {
			s.stored[ref] = map[string]any{}
		}
		maps.Copy(s.stored[ref], c.Entity.Properties)
	}
	return results, s.at >= len(changes)
}

func (s *crashingSink) writeBelow(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	err := s.below.Write(ctx, w, changes, func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error {
		if s.at == 0 {
			return errCrash
		}
		if err := commit(ctx, tx, results); err != nil {
			return err
		}
		if s.at == 1 {
			return errCrash
		}
		return nil
	})
	if err == nil && s.at >= 2 {
		return errCrash
	}
	return err
}

// Owned implements Sink.
func (s *crashingSink) Owned(ctx context.Context, before time.Time, yield func(catalog.EntityRef) error) error {
	return s.below.Owned(ctx, before, yield)
}

func (s *crashingSink) entity(t *rapid.T, name string) (float64, bool) {
	var properties map[string]any
	if s.below == nil {
		properties = s.stored[catalog.EntityRef{Blueprint: "thing", Identifier: name}]
	} else if e := s.w.entity("thing", name); e != nil {
		properties = e.Properties
	}
	if properties == nil {
		return 0, false
	}
	size, ok := properties["size"].(float64)
	if !ok {
		n, _ := properties["size"].(int)
		size = float64(n)
	}
	return size, true
}
