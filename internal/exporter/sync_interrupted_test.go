package exporter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

// distantSink is a sink elsewhere, which cannot always be reached, and does not tell what was as
// it was to be.
type distantSink struct {
	Sink
	away atomic.Bool
	// before is called before each write that succeeds, if set.
	before func()
}

func (s *distantSink) Transactional() bool { return false }

// Write fails while the sink is away.
func (s *distantSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	if s.away.Load() {
		return errors.New("the sink cannot be reached")
	}
	if s.before != nil {
		s.before()
	}
	return s.Sink.Write(ctx, w, changes, func(ctx context.Context, tx *store.Tx, results []catalog.ChangeResult) error {
		for i := range results {
			results[i].Unchanged = false
		}
		return commit(ctx, nil, results)
	})
}

func TestARunSaysWhatKeepsItFromGoingOn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configure(queueKind)
		w.cloud.putN(syncScope(queueKind), 10*maxWrite)
		sink := &distantSink{Sink: w.sink}
		w.x.o.Sink = sink
		sink.away.Store(true)
		asked, err := w.x.RunSync(t.Context(), NewSync{By: "test"})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			run, _, err := w.x.dueRun(t.Context())
			if err == nil {
				err = w.x.runSync(t.Context(), &run)
			}
			if err == nil {
				t.Fatal("the run does not fail")
			}
			if run := w.run(asked.ID); run.Status != SyncRunning || !strings.HasPrefix(run.Error, "it will be tried again: ") || !strings.Contains(run.Error, "the sink cannot be reached") {
				t.Errorf("the run is %s, and says %q", run.Status, run.Error)
			}
		}
		var writes atomic.Int64
		var last atomic.Value
		sink.before = func() {
			writes.Add(1)
			last.Store(w.run(asked.ID).Error)
		}
		sink.away.Store(false)
		if run := w.finish(w.x, asked); run.Status != SyncSucceeded || run.Error != "" {
			t.Errorf("the run is %s in the end, and says %q", run.Status, run.Error)
		}
		if why := last.Load(); writes.Load() < 4 || why != "" {
			t.Errorf("at the last of %d writes it still says %q", writes.Load(), why)
		}
		w.wantTruth()
	})
}

func TestOfASinkElsewhereWhatHasChangedInTheCloudIsUpdated(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configure(queueKind)
		s := syncScope(queueKind)
		w.cloud.putN(s, 10)
		w.x.o.Sink = &distantSink{Sink: w.sink}
		want := func(about string, created, updated, unchanged int64) {
			t.Helper()
			if got := w.sync(nil).Totals; got.Created != created || got.Updated != updated || got.Unchanged != unchanged {
				t.Errorf("%s: %d created, %d updated, %d unchanged; want %d, %d and %d", about, got.Created, got.Updated, got.Unchanged, created, updated, unchanged)
			}
			w.wantTruth()
		}
		want("all new", 10, 0, 0)
		want("all as they were", 0, 0, 10)
		w.cloud.put(s, "r-0001", map[string]any{"Name": "r-0001", "Size": 77.0})
		want("one changed", 0, 1, 9)
		w.sink.mu.Lock()
		maps.DeleteFunc(w.sink.entities, func(e catalog.EntityRef, _ map[string]any) bool { return strings.HasSuffix(e.Identifier, "r-0002") })
		w.sink.mu.Unlock()
		want("one gone from the sink", 0, 1, 9)
		w.sink.refuse = func(c *catalog.EntityChange) error {
			if strings.HasSuffix(c.Identifier, "r-0003") {
				return &catalog.Error{Status: 422, Code: "invalid_request", Message: "no"}
			}
			return nil
		}
		w.cloud.put(s, "r-0003", map[string]any{"Name": "r-0003", "Size": 78.0})
		if got := w.sync(nil).Totals; got.Failed != 1 || got.Unchanged != 9 {
			t.Errorf("one refused: %+v", got)
		}
		w.sink.refuse = nil
		want("one no longer refused", 0, 1, 9)
	})
}

func TestWhatARunSaysIsWrittenByOneAtATime(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		run, err := w.x.RunSync(t.Context(), NewSync{By: "test"})
		if err != nil {
			t.Fatal(err)
		}
		s := &syncing{x: w.x, run: &run}
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				s.say(t.Context(), fmt.Sprintf("why %d", i))
				s.goesOn(t.Context())
				if err := s.save(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if run.Error != "" || w.run(run.ID).Error != "" {
			t.Errorf("the run says %q, and %q is stored", run.Error, w.run(run.ID).Error)
		}
	})
}

// stuckReader does not answer for the second page of a list.
type stuckReader struct{ *syncCloud }

// List answers with the first page.
func (r stuckReader) List(ctx context.Context, s reader.Scope, q reader.ListQuery) (reader.Page, error) {
	if q.Next != "" {
		<-ctx.Done()
		return reader.Page{}, ctx.Err()
	}
	return r.syncCloud.List(ctx, s, q)
}

func TestARunEndsAtOnceWhereTheLeaseIsLostWhileAListIsWaitedFor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configure(queueKind)
		w.cloud.putN(syncScope(queueKind), 20)
		other := w.node("other")
		var taken sync.Once
		w.cloud.getFails = func(s reader.Scope, id string) error {
			if !strings.HasSuffix(id, "6") {
				return classed(s, reader.Denied)
			}
			// With the last of the page nothing more comes to be read.
			taken.Do(func() {
				w.takeOver(other)
				w.later(2 * saveEvery) // how far it has come is to be written down
			})
			return classed(s, reader.Denied)
		}
		w.x.o.Reader = stuckReader{w.cloud}
		if _, err := w.x.RunSync(t.Context(), NewSync{By: "test"}); err != nil {
			t.Fatal(err)
		}
		run, _, err := w.x.dueRun(t.Context())
		if err == nil {
			err = w.x.runSync(t.Context(), &run)
		}
		if !errors.Is(err, errDeposed) {
			t.Errorf("the run ends with %v", err)
		}
	})
}
