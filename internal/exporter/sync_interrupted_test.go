package exporter

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rialto-bus/rialto/internal/catalog"
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
	})
}
