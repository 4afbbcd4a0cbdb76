package exporter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

// One resource, one call or one table that fails must not hold up the others.

func TestWhateverAnErrorSaysCanBeStored(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.configure(strings.Replace(testConfig, `".Hidden != true"`, `"if .Hidden then error(\"bad \" + .Title) else true end"`, 1))
		w.cloud.set(thing("one"), map[string]any{"Name": "one", "Hidden": true, "Title": "a\x00b \xff 名"})
		w.cloud.put(thing("two"), 2)
		w.apply([]Read{w.look(thing("one")), w.look(thing("two"))}, Failed, Created)
		r := w.resource(thing("one"))
		if r == nil || !strings.Contains(r.Error, "bad a\uFFFDb") {
			t.Errorf("what is known of it is %+v", r)
		}
		w.wantThings(map[string]any{"two": 2.0})

		q := w.queue("events", nil)
		w.run(w.x)
		w.send(q, `{"resource_type": "AWS::Test::Thing", "region": "error(\"a\\u0000b\")", "identifier": ".x"}`)
		w.eventually("the record is dead", func() bool { return len(w.dead()) == 1 })
	})
}

// brokenSink is a sink that takes nothing.
type brokenSink struct{ Sink }

// Write refuses.
func (brokenSink) Write(context.Context, catalog.Writer, []catalog.EntityChange, Commit) error {
	return errors.New("the sink is down")
}

func TestOneThatCannotBeStoredIsPutOffAndOthersGoOn(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		w.apply([]Read{w.look(k)}, Created)
		if err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			return askRecheck(t.Context(), tx, []Key{k}, w.now(), "the test asks for it")
		}); err != nil {
			t.Fatal(err)
		}
		w.cloud.put(k, 2)
		w.x.o.Sink = brokenSink{w.sink}
		w.pass(time.Second)
		if _, err := w.x.recheckDue(t.Context()); err != nil {
			t.Fatalf("all rechecks end with %v", err)
		}
		if r := w.resource(k); r.Rechecks != 1 || !r.RecheckAt.After(w.now()) {
			t.Errorf("it is read again at %v, for the %d. time", r.RecheckAt, r.Rechecks)
		}
		w.x.o.Sink = w.sink
		w.pass(time.Minute)
		if _, err := w.x.recheckDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantThings(map[string]any{"one": 2.0})
	})
}

func TestNamesOfManyEntitiesAreLookedUp(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("gone-07")
		read := w.x.newRead(k)
		read.DeleteAt = w.now()
		w.apply([]Read{read}, Absent)
		names := map[Key][]string{}
		for i := range applyBatch {
			var list []string
			for j := range 1000 {
				list = append(list, fmt.Sprintf("gone-%d%d", i, j))
			}
			names[thing(fmt.Sprint(i))] = list
		}
		list, err := loadTombstones(t.Context(), w.db, names)
		if err != nil || len(list) != 1 || list[0].key != k {
			t.Errorf("what is gone under %d names is %+v, %v", 1000*len(names), list, err)
		}
	})
}

func TestFreshnessThatCouldNotBeWrittenIsNotLost(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		k := ScopeKey{syncAccount, syncRegion, queueKind}
		at := w.x.now()
		w.x.noteEvent(k, at, at, at)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := w.x.flushFreshness(ended); err == nil {
			t.Fatal("it was written down after the end")
		}
		w.x.noteEvent(k, at, at, at)
		if err := w.x.flushFreshness(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.x.flushFreshness(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := w.x.Freshness(t.Context(), FreshnessFilter{}, ScopeKey{}, 10)
		if err != nil || len(list) != 1 || list[0].Events != 2 || list[0].Lag.Count != 2 {
			t.Errorf("freshness is %+v, %v; want 2 events", list, err)
		}
	})
}

func TestListWhoseTokensAreRefusedFails(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 30)
		w.cloud.listFails = func(s reader.Scope, q reader.ListQuery) error {
			if q.Next == numbered(13) {
				return classed(s, reader.Invalid)
			}
			return nil
		}
		wantStatus(t, w.endedRun(t), SyncFailed)
	})
}

func TestRunThatIsCancelledAsItBeginsStopsNothingElse(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 3)
		first, err := w.x.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		two := w.node("two")
		now, cancelled := w.x.o.Now, atomic.Bool{}
		w.x.o.Now = func() time.Time {
			if cancelled.CompareAndSwap(false, true) {
				// It is due already, and not begun.
				if _, err := two.CancelSync(t.Context(), first.ID); err != nil {
					t.Error(err)
				}
			}
			return now()
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.x.runSyncs(ctx) }()
		second, err := two.RunSync(t.Context(), NewSync{})
		if err != nil {
			t.Fatal(err)
		}
		for stop := time.Now().Add(20 * time.Second); w.run(second.ID).FinishedAt.IsZero() && time.Now().Before(stop); {
			select {
			case err := <-ended:
				t.Fatalf("full syncs end with %v", err)
			default:
			}
		}
		cancel()
		<-ended
		wantStatus(t, w.run(first.ID), SyncCancelled)
		wantStatus(t, w.run(second.ID), SyncSucceeded)
	})
}

func TestEarlierHolderCannotDeleteThePlanOfALater(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 3)
		run := w.sync(nil)
		one := w.x
		w.takeOver(w.node("two"))
		if err := one.deleteRunRows(t.Context(), run.ID, "exporter_sync_scopes"); !errors.Is(err, errDeposed) {
			t.Errorf("it is told %v", err)
		}
		w.scope(run, queueKind)
	})
}

func TestClockThatWasAheadDoesNotStopTheSchedule(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 3)
		const year = 365 * 24 * time.Hour
		due := func(want bool) {
			t.Helper()
			run, due, err := w.x.dueRun(t.Context())
			if err != nil || due != want {
				t.Fatalf("due is %v, %v; want %v", due, err, want)
			}
			if due {
				if err := w.x.runSync(t.Context(), &run); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.later(year)
		due(true)
		due(false)
		w.later(-year)
		due(true)
		due(false)
		w.later(7 * time.Hour)
		due(true)
	})
}

func TestSlowAccountDoesNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		if _, err := w.x.PutAccount(t.Context(), Account{Account: otherSync, HomeRegion: syncRegion, Enabled: true}); err != nil {
			t.Fatal(err)
		}
		regions := []string{"eu-west-1", "eu-west-2", "eu-west-3", "eu-north-1", "us-east-1"}
		w.configurePasses(syncPass{kind: queueKind, regions: regions})
		var fast atomic.Int64
		var waited atomic.Bool
		release := make(chan struct{})
		open := sync.OnceFunc(func() { close(release) })
		defer open()
		for _, region := range regions {
			slow := reader.Scope{Account: syncAccount, Region: region, Kind: queueKind}
			w.cloud.putN(slow, 40)
			quick := slow
			quick.Account = otherSync
			w.cloud.putN(quick, 40)
		}
		w.cloud.before = func(op string, s reader.Scope) {
			if op != "get" {
				return
			}
			if s.Account == otherSync {
				if fast.Add(1) == int64(40*len(regions)) {
					open()
				}
				return
			}
			select {
			case <-release:
			case <-time.After(30 * time.Second):
				waited.Store(true)
				open()
			}
		}
		wantStatus(t, w.sync(nil), SyncSucceeded)
		if waited.Load() {
			t.Error("the other account waited for the slow one")
		}
	})
}

// poisonedSink fails whole writes that have an entity in them.
type poisonedSink struct {
	*syncSink
	entity string
}

// Write fails if it is asked to write the entity.
func (s poisonedSink) Write(ctx context.Context, w catalog.Writer, changes []catalog.EntityChange, commit Commit) error {
	for i := range changes {
		if changes[i].Identifier == s.entity {
			return errors.New("the database does not take it")
		}
	}
	return s.syncSink.Write(ctx, w, changes, commit)
}

func TestResourceThatCannotBeStoredDoesNotKeepARunFromEnding(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.whole[queueKind] = true
		w.cloud.putN(syncScope(queueKind), 20)
		w.x.o.Sink = poisonedSink{w.sink, numbered(9)}
		run := w.sync(nil)
		wantStatus(t, run, SyncPartial)
		if run.Totals.Created != 19 || run.Totals.Failed != 1 || !strings.Contains(w.scope(run, queueKind).Error, "does not take it") {
			t.Errorf("created %d, failed %d, error %q", run.Totals.Created, run.Totals.Failed, w.scope(run, queueKind).Error)
		}
		w.x.o.Sink = w.sink
		wantStatus(t, w.sync(nil), SyncSucceeded)
		w.wantTruth()
	})
}

func TestResourceThatCameBackDoesNotTakeTheRoomOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configurePasses(syncPass{kind: queueKind, models: map[string][]string{syncRegion: {`{"Prefix":"b"}`}}})
		s := syncScope(queueKind)
		w.cloud.put(s, "a-1", map[string]any{"Name": "a-1"})
		w.cloud.put(s, "b-1", map[string]any{"Name": "b-1"})
		w.event(s, "a-1", w.x.now())
		w.event(s, "b-1", w.x.now())
		w.later(time.Hour)
		w.cloud.remove(s, "b-1")
		tries := 0
		w.cloud.getFails = func(s reader.Scope, id string) error {
			if id == "a-1" && tries < readTries { // it cannot be looked for the first time
				tries++
				return classed(s, reader.Failed)
			}
			return nil
		}
		w.sync(nil)
		w.wantTruth()
	})
}

func TestRunsAreNotPaged(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.call("GET", "/v1/exporter/sync_runs?count=5", "", 200, nil)
		for _, query := range []string{"offset=x", "prev=true", "descending=true"} {
			w.call("GET", "/v1/exporter/sync_runs?"+query, "", 400, nil)
		}
	})
}

func TestEntitiesOfNoResourceAreFoundAmongMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.whole[queueKind] = true
		w.cloud.page = 100
		w.cloud.putN(syncScope(queueKind), 2*ownedBatch+20)
		wantStatus(t, w.sync(nil), SyncSucceeded)
		lost := []int{0, ownedBatch - 1, ownedBatch, 2*ownedBatch + 19}
		for _, n := range lost {
			ref := catalog.EntityRef{Blueprint: "queue", Identifier: "lost-" + numbered(n)}
			w.sink.entities[ref], w.sink.changed[ref] = map[string]any{}, time.Now().Add(-time.Hour)
		}
		w.later(time.Hour)
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		if run.Totals.Removed != int64(len(lost)) {
			t.Errorf("%d were removed, want %d", run.Totals.Removed, len(lost))
		}
		w.wantTruth()
	})
}
