package exporter

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// killAfter makes a context that ends when the cloud is called for the nth time.
func (w *syncWorld) killAfter(ctx context.Context, n int64) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	var calls atomic.Int64
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	w.cloud.before = func(string, reader.Scope) {
		if calls.Add(1) == n {
			cancel()
		}
	}
	return ctx, cancel
}

func TestRunGoesOnAfterAKillAtAnyStepOnAnotherNode(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.useCatalog(queueKind, topicKind)
		w.configure(queueKind, topicKind)
		w.cloud.whole[topicKind] = true
		queues, topics := syncScope(queueKind), syncScope(topicKind)
		size := 0.0
		for n := int64(1); ; n++ {
			size++
			w.later(time.Hour)
			// Each round has something to create, to update and to remove.
			w.cloud.putN(queues, 20)
			w.cloud.put(queues, fmt.Sprintf("q-%03d", n), map[string]any{"Name": fmt.Sprintf("q-%03d", n), "Size": size})
			w.cloud.put(queues, numbered(2), map[string]any{"Name": numbered(2), "Size": size})
			w.cloud.put(topics, fmt.Sprintf("t-%03d", n), map[string]any{"Name": fmt.Sprintf("t-%03d", n), "Size": size})
			w.cloud.remove(queues, fmt.Sprintf("q-%03d", n-1))
			w.cloud.remove(topics, fmt.Sprintf("t-%03d", n-1))
			asked, err := w.x.RunSync(t.Context(), NewSync{})
			if err != nil {
				t.Fatal(err)
			}
			run, _, err := w.x.dueRun(t.Context())
			if err != nil || run.ID != asked.ID {
				t.Fatalf("due is %s, %v", run.ID, err)
			}
			ctx, cancel := w.killAfter(t.Context(), n)
			err = w.x.runSync(ctx, &run)
			killed := ctx.Err() != nil
			cancel()
			w.cloud.before = nil
			if killed {
				if err == nil {
					t.Fatalf("killed at call %d, the run is over", n)
				}
				w.x = w.node(fmt.Sprintf("node-%d", n))
				w.takeOver(w.x)
				run = w.finish(w.x, run)
			} else {
				if err != nil {
					t.Fatal(err)
				}
				run = w.run(run.ID)
			}
			wantStatus(t, run, SyncSucceeded)
			w.wantTruth()
			c := run.Totals
			want := [3]int64{2, 1, 2}
			if n == 1 {
				want = [3]int64{22, 0, 0}
			}
			if got := [3]int64{c.Created, c.Updated, c.Removed}; got != want {
				t.Errorf("killed at call %d: created, updated and removed %v, want %v", n, got, want)
			}
			if !killed {
				return
			}
		}
	})
}

func TestResumedRunDoesNotListFromTheStart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.page = 100
		w.cloud.putN(s, 2000)
		run, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		// Time passes, so that how far it is is written down often. It is killed once 800
		// resources are, however slow one of the batches is.
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var lists, gets atomic.Int64
		w.cloud.before = func(op string, _ reader.Scope) {
			if op == "get" {
				if gets.Add(1)%50 == 0 {
					w.later(2 * time.Second)
				}
				return
			}
			if lists.Add(1) <= 15 {
				return
			}
			for stop := time.Now().Add(20 * time.Second); w.run(run.ID).Totals.Listed < 800 && time.Now().Before(stop); {
				w.later(2 * time.Second)
			}
			cancel()
		}
		due, _, err := w.x.dueRun(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_ = w.x.runSync(ctx, &due)
		w.cloud.before = nil
		before := w.cloud.lists
		w.x = w.node("two")
		w.takeOver(w.x)
		run = w.finish(w.x, run)
		wantStatus(t, run, SyncSucceeded)
		w.wantTruth()
		if again := w.cloud.lists - before; again > 12 {
			t.Errorf("%d pages were listed again of 20", again)
		}
	})
}

func TestEarlierHolderOfTheLeaseCanWriteNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 30)
		run, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		run, _, err = w.x.dueRun(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		two := w.node("two")
		taken := false
		w.cloud.listFails = func(_ reader.Scope, q reader.ListQuery) error {
			if q.Next != "" && !taken {
				taken = true
				w.takeOver(two)
			}
			return nil
		}
		if err := w.x.runSync(t.Context(), &run); err == nil {
			t.Error("the earlier holder took the run to its end")
		}
		w.x = two
		wantStatus(t, w.finish(two, run), SyncSucceeded)
		w.wantTruth()
	})
}

func TestRunsDoNotOverlap(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 3)
		first, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		w.later(time.Second)
		second, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []SyncRun{first, second} {
			run, due, err := w.x.dueRun(t.Context())
			if err != nil || !due || run.ID != want.ID {
				t.Fatalf("due is %s, %v, want %s", run.ID, err, want.ID)
			}
			if err := w.x.runSync(t.Context(), &run); err != nil {
				t.Fatal(err)
			}
		}
		if run, due, _ := w.x.dueRun(t.Context()); due {
			t.Errorf("run %s is due: the schedule asks for none so soon", run.ID)
		}
		w.later(7 * time.Hour)
		run, due, err := w.x.dueRun(t.Context())
		if err != nil || !due || run.Trigger != "schedule" {
			t.Errorf("after the interval due is %v, %v, %s", due, err, run.Trigger)
		}
		for i := range maxWaitingRuns + 1 {
			if _, err = w.x.RunSync(t.Context(), NewSync{}); err != nil && i < maxWaitingRuns {
				t.Fatal(err)
			}
		}
		if err == nil {
			t.Error("any number of runs may wait")
		}
	})
}

func TestCancelledRunStopsAndKeepsWhatItDid(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 30)
		run, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		w.cloud.listFails = func(_ reader.Scope, q reader.ListQuery) error {
			if q.Next == numbered(20) {
				return classed(s, reader.Throttled)
			}
			return nil
		}
		w.x.sync.retryPause = time.Minute
		started := make(chan struct{})
		w.cloud.before = func(string, reader.Scope) {
			select {
			case started <- struct{}{}:
			default:
			}
		}
		done := make(chan error)
		go func() {
			run, _, err := w.x.dueRun(t.Context())
			if err == nil {
				err = w.x.runSync(t.Context(), &run)
			}
			done <- err
		}()
		<-started
		if _, err := w.x.CancelSync(t.Context(), run.ID); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		wantStatus(t, w.run(run.ID), SyncCancelled)
		if _, err := w.x.CancelSync(t.Context(), run.ID); err == nil {
			t.Error("a run that is over can be cancelled")
		}
		waiting, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := w.x.CancelSync(t.Context(), waiting.ID); err != nil || got.Status != SyncCancelled {
			t.Errorf("a waiting run is %s after it was cancelled, %v", got.Status, err)
		}
	})
}

func TestEventsMeanwhileWinOrLoseByTheirTickets(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.whole[queueKind] = true
		w.cloud.putN(s, 14)
		// The page says 0; before it is stored an event's read says 42, and it began later.
		done := false
		w.cloud.listFails = func(_ reader.Scope, q reader.ListQuery) error {
			if q.Next == numbered(6) && !done {
				done = true
				w.cloud.resources[s][numbered(9)] = map[string]any{"Name": numbered(9), "Size": 0.0}
			}
			return nil
		}
		page := w.x.newRead(Key{})
		w.cloud.put(s, numbered(9), map[string]any{"Name": numbered(9), "Size": 42.0})
		w.event(s, numbered(9), w.x.now())
		page.Key, page.Found = Key{syncAccount, syncRegion, queueKind, numbered(9)}, true
		page.Properties = map[string]any{"Name": numbered(9), "Size": 0.0}
		r := &scopeRun{syncing: &syncing{x: w.x, run: &SyncRun{ID: "x"}}, sc: &SyncScope{RunID: "x", ScopeKey: ScopeKey{syncAccount, syncRegion, queueKind}}}
		applied, err := w.x.apply(t.Context(), []Read{page}, r.cause(), applyOptions{HoldRemovals: true})
		if err != nil || applied[0].Outcome != Stale {
			t.Fatalf("an older page's outcome is %v, %v; want stale", applied, err)
		}
		wantStatus(t, w.sync(nil), SyncSucceeded)
		w.wantTruth()
	})
}

func TestWhatIsHeldInMemoryDoesNotGrowWithTheScope(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.page = 50
		w.cloud.whole[queueKind] = true
		w.cloud.putN(s, 3000)
		// What was listed and is not stored: pages ahead and batches under way.
		var most int
		w.cloud.listFails = func(reader.Scope, reader.ListQuery) error {
			w.sink.mu.Lock()
			stored := len(w.sink.entities)
			w.sink.mu.Unlock()
			most = max(most, w.cloud.lists*w.cloud.page-stored)
			return nil
		}
		wantStatus(t, w.sync(nil), SyncSucceeded)
		if bound := (4 + appliers) * maxWrite; most > bound {
			t.Errorf("%d resources were held at once, more than %d", most, bound)
		}
	})
}

func TestModelsAreListedEachAndResumedWhereTheyWere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configurePasses(
			syncPass{kind: queueKind, models: map[string][]string{syncRegion: {`{"Prefix":"a"}`, `{"Prefix":"b"}`}}},
			syncPass{kind: queueKind, query: "false", models: map[string][]string{syncRegion: {`{"Prefix":"b"}`}}},
		)
		s := syncScope(queueKind)
		for _, id := range []string{"a-1", "a-2", "b-1", "c-1"} {
			w.cloud.put(s, id, map[string]any{"Name": id})
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		if got := w.sink.ids(); !slices.Equal(got, []string{"queue/a-1", "queue/a-2", "queue/b-1"}) {
			t.Errorf("entities %v", got)
		}
		if w.cloud.lists != 2 {
			t.Errorf("%d lists for 2 models that passes share", w.cloud.lists)
		}
	})
}

func TestListThatDoesNotEndFails(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 3)
		endless := &endlessList{w.cloud}
		w.x.o.Reader = endless
		run := w.sync(nil)
		wantStatus(t, run, SyncFailed)
	})
}

// endlessList gives the same page for ever.
type endlessList struct{ *syncCloud }

// List answers with a page that another follows.
func (c *endlessList) List(ctx context.Context, s reader.Scope, q reader.ListQuery) (reader.Page, error) {
	page, err := c.syncCloud.List(ctx, s, reader.ListQuery{})
	page.Next = "again"
	return page, err
}
