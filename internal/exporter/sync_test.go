package exporter

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func onBoth(t *testing.T, f func(t *testing.T, w *syncWorld)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newSyncWorld(t, db)) })
}

func TestFullSyncBringsAllResourcesIntoTheSink(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configure(queueKind, topicKind)
		w.cloud.whole[topicKind] = true
		w.cloud.putN(syncScope(queueKind), 30)
		w.cloud.putN(syncScope(topicKind), 20)
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		w.wantTruth()
		if run.Totals.Listed != 50 || run.Totals.Created != 50 {
			t.Errorf("totals %+v, want 50 listed and created", run.Totals)
		}
		again := w.sync(nil)
		wantStatus(t, again, SyncSucceeded)
		if again.Totals.Unchanged != 50 || again.Totals.Created+again.Totals.Updated+again.Totals.Removed != 0 {
			t.Errorf("a second run changed something: %+v", again.Totals)
		}
	})
}

func TestWhatIsGoneGoesAndWhatChangedIsUpdated(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 40)
		w.sync(nil)
		w.cloud.remove(s, numbered(3), numbered(39)) // moments after they were found
		w.cloud.put(s, numbered(5), map[string]any{"Name": numbered(5), "Size": 99.0})
		w.cloud.put(s, "r-new", map[string]any{"Name": "r-new", "Size": 1.0})
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		w.wantTruth()
		if c := run.Totals; c.Removed != 2 || c.Updated != 1 || c.Created != 1 || c.Missing != 2 {
			t.Errorf("totals %+v, want 2 removed, 1 updated, 1 created", c)
		}
		changes, err := w.x.SyncChanges(t.Context(), run.ID, ScopeFilter{}, Key{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range changes {
			got = append(got, c.Change+" "+c.Identifier)
		}
		want := []string{"removed r-0003", "updated r-0005", "removed r-0039", "created r-new"}
		if !slices.Equal(got, want) {
			t.Errorf("changes %v, want %v", got, want)
		}
	})
}

func TestTooManyRemovalsAreHeldUntilConfirmed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 40)
		w.sync(nil)
		w.later(time.Hour)
		for i := range 11 {
			w.cloud.remove(s, numbered(i))
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncHeld)
		if n := len(w.sink.ids()); n != 40 {
			t.Fatalf("a held run left %d of 40 entities", n)
		}
		if run.Totals.Held != 11 || run.Totals.Removed != 0 {
			t.Errorf("totals %+v, want 11 held", run.Totals)
		}
		held, err := w.x.SyncChanges(t.Context(), run.ID, ScopeFilter{Status: "held"}, Key{}, 100)
		if err != nil || len(held) != 11 {
			t.Errorf("%d changes are held, %v; want 11", len(held), err)
		}
		// One has come back since.
		w.cloud.put(s, numbered(4), map[string]any{"Name": numbered(4), "Size": 4.0})
		done := w.confirm(run)
		wantStatus(t, done, SyncSucceeded)
		w.wantTruth()
		if done.Totals.Removed != 10 {
			t.Errorf("confirmed, %d were removed, want 10", done.Totals.Removed)
		}
	})
}

func TestAsManyAsTheLimitMayGoUnasked(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 20)
		w.sync(nil)
		w.later(time.Hour)
		for i := range 10 {
			w.cloud.remove(s, numbered(i))
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		w.wantTruth()
	})
}

func TestDryRunChangesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 30)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(s, numbered(1), numbered(2))
		w.cloud.put(s, numbered(5), map[string]any{"Name": numbered(5), "Size": 99.0})
		w.cloud.put(s, "r-new", map[string]any{"Name": "r-new", "Size": 1.0})
		entities, rows := w.sink.ids(), w.dump("exporter_resources", "exporter_entities", "exporter_freshness", "exporter_drift")
		run := w.sync(func(n *NewSync) { n.DryRun = true })
		wantStatus(t, run, SyncSucceeded)
		if !slices.Equal(entities, w.sink.ids()) {
			t.Error("a dry run changed the sink")
		}
		if after := w.dump("exporter_resources", "exporter_entities", "exporter_freshness", "exporter_drift"); after != rows {
			t.Errorf("a dry run changed what is known:\n%s\n%s", rows, after)
		}
		if c := run.Totals; c.Created != 1 || c.Updated != 1 || c.Missing != 2 {
			t.Errorf("totals %+v, want 1 created, 1 updated, 2 missing", c)
		}
		if left := w.dump("exporter_sync_listed"); left != "" {
			t.Errorf("a dry run left behind what it listed: %s", left)
		}
	})
}

func TestIncompleteScopeDeletesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 30)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(s, numbered(1))
		w.cloud.put(s, numbered(2), map[string]any{"Name": numbered(2), "Size": 99.0})
		w.cloud.listFails = func(_ reader.Scope, q reader.ListQuery) error {
			if q.Next > numbered(15) {
				return classed(s, reader.Failed)
			}
			return nil
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncFailed)
		if n := len(w.sink.ids()); n != 30 {
			t.Errorf("an incomplete list left %d of 30 entities", n)
		}
		if run.Totals.Updated != 1 {
			t.Errorf("what was listed was not stored: %+v", run.Totals)
		}
	})
}

func TestEmptyListIsNotADeniedOne(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 5)
		w.sync(nil)
		w.later(time.Hour)
		for i := range 5 {
			w.cloud.remove(s, numbered(i))
		}
		w.cloud.listFails = func(reader.Scope, reader.ListQuery) error { return classed(s, reader.Denied) }
		wantStatus(t, w.sync(nil), SyncFailed)
		if n := len(w.sink.ids()); n != 5 {
			t.Errorf("a denied list left %d of 5 entities", n)
		}
		w.cloud.listFails = nil
		wantStatus(t, w.sync(nil), SyncSucceeded)
		w.wantTruth()
	})
}

func TestOneScopeThatFailsDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	for _, class := range []reader.Class{reader.Denied, reader.RegionOff, reader.Unsupported, reader.Throttled} {
		t.Run(class.String(), func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *syncWorld) {
				w.configurePasses(syncPass{kind: queueKind, regions: []string{syncRegion, "us-east-1"}})
				good, bad := syncScope(queueKind), reader.Scope{Account: syncAccount, Region: "us-east-1", Kind: queueKind}
				w.cloud.putN(good, 8)
				w.cloud.put(bad, "x-1", map[string]any{"Name": "x-1"})
				w.cloud.put(bad, "x-2", map[string]any{"Name": "x-2"})
				w.sync(nil)
				w.later(time.Hour)
				w.cloud.remove(good, numbered(1))
				w.cloud.remove(bad, "x-1")
				w.cloud.listFails = func(s reader.Scope, _ reader.ListQuery) error {
					if s == bad {
						return classed(s, class)
					}
					return nil
				}
				run := w.sync(nil)
				wantStatus(t, run, SyncPartial)
				if got := w.sink.ids(); slices.Contains(got, "queue/"+numbered(1)) || !slices.Contains(got, "queue/x-1") {
					t.Errorf("entities %v: want what is gone of the good region gone, and the bad region as it was", got)
				}
				if sc := w.scopeOf(run, ScopeKey{syncAccount, "us-east-1", queueKind}); sc.Status != scopeFailed || !strings.Contains(sc.Error, class.String()) {
					t.Errorf("the bad scope is %s: %s", sc.Status, sc.Error)
				}
			})
		})
	}
}

func TestOneResourceThatCannotBeReadDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 20)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(s, numbered(1))
		w.cloud.getFails = func(_ reader.Scope, id string) error {
			if id == numbered(7) {
				return classed(s, reader.Denied)
			}
			return nil
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncPartial)
		w.wantTruth()
		if run.Totals.Failed != 1 || run.Totals.Removed != 1 {
			t.Errorf("totals %+v, want 1 failed and 1 removed", run.Totals)
		}
	})
}

func TestWhatCannotBeReadGoesByItsAbsenceAlone(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.whole[queueKind] = true
		w.cloud.putN(s, 20)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(s, numbered(1))
		for _, c := range []struct {
			class reader.Class
			gone  bool
		}{{reader.Failed, false}, {reader.RegionOff, false}, {reader.Denied, true}} {
			w.cloud.getFails = func(reader.Scope, string) error { return classed(s, c.class) }
			w.sync(nil)
			if gone := !slices.Contains(w.sink.ids(), "queue/"+numbered(1)); gone != c.gone {
				t.Errorf("%s: gone is %v, want %v", c.class, gone, c.gone)
			}
		}
	})
}

func TestEntityMadeByAnEventAfterTheListSurvives(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 12)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(s, numbered(0)) // so that there is something to look for
		var made, told atomic.Bool
		listed := 0
		w.cloud.listFails = func(_ reader.Scope, q reader.ListQuery) error {
			if listed++; q.Next > numbered(5) && !made.Load() {
				made.Store(true)
				// The list has passed the place where this one would be.
				w.cloud.resources[s]["r-0000a"] = map[string]any{"Name": "r-0000a", "Size": 1.0}
			}
			return nil
		}
		w.cloud.before = func(op string, _ reader.Scope) {
			if op == "get" && made.Load() && told.CompareAndSwap(false, true) {
				w.event(s, "r-0000a", w.x.now())
			}
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		w.wantTruth()
		if !made.Load() {
			t.Fatal("nothing was made")
		}
	})
}

func TestKindNoLongerConfiguredIsHeld(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configure(queueKind, topicKind)
		w.cloud.putN(syncScope(queueKind), 15)
		w.cloud.putN(syncScope(topicKind), 15)
		w.sync(nil)
		w.configure(topicKind) // moments after they were made
		run := w.sync(nil)
		wantStatus(t, run, SyncHeld)
		if n := len(w.sink.ids()); n != 30 {
			t.Fatalf("%d of 30 entities are left", n)
		}
		if sc := w.scope(run, queueKind); sc.Source != sourceUnconfigured || sc.Counts.Held != 15 {
			t.Errorf("scope %+v", sc)
		}
		done := w.confirm(run)
		wantStatus(t, done, SyncSucceeded)
		if got := w.sink.ids(); len(got) != 15 || !strings.HasPrefix(got[0], "topic/") {
			t.Errorf("entities %v, want the topics", got)
		}
	})
}

func TestFewOfWhatIsNoLongerConfiguredGoUnasked(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.configurePasses(syncPass{kind: queueKind, regions: []string{syncRegion, "us-east-1"}})
		w.cloud.putN(syncScope(queueKind), 3)
		w.cloud.put(reader.Scope{Account: syncAccount, Region: "us-east-1", Kind: queueKind}, "x-1", map[string]any{"Name": "x-1"})
		w.sync(nil)
		w.later(time.Hour)
		w.configure(queueKind)
		wantStatus(t, w.sync(nil), SyncSucceeded)
		if got := w.sink.ids(); len(got) != 3 {
			t.Errorf("entities %v, want those of the home region", got)
		}
	})
}

func TestAccountThatIsNotEnabledIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 3)
		other := reader.Scope{Account: otherSync, Region: syncRegion, Kind: queueKind}
		w.cloud.put(other, "o-1", map[string]any{"Name": "o-1"})
		account := Account{Account: otherSync, HomeRegion: syncRegion, Enabled: true}
		if _, err := w.x.PutAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(other, "o-1")
		account.Enabled = false
		if _, err := w.x.PutAccount(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		if got := w.sink.ids(); !slices.Contains(got, "queue/o-1") {
			t.Errorf("entities %v: the disabled account's is gone", got)
		}
	})
}

func TestDeselectedResourcesGoByTheSameLimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 35)
		w.sync(nil)
		w.later(time.Hour)
		w.configurePasses(syncPass{kind: queueKind, query: ".Size < 3"})
		run := w.sync(nil)
		wantStatus(t, run, SyncHeld)
		if n := len(w.sink.ids()); n != 35 {
			t.Fatalf("%d of 35 entities are left", n)
		}
		done := w.confirm(run)
		wantStatus(t, done, SyncSucceeded)
		if n := len(w.sink.ids()); n != 15 {
			t.Errorf("%d entities are left, want 15", n)
		}
		// A few may go unasked.
		w.configurePasses(syncPass{kind: queueKind, query: ".Size < 2"})
		wantStatus(t, w.sync(nil), SyncSucceeded)
		if n := len(w.sink.ids()); n != 10 {
			t.Errorf("%d entities are left, want 10", n)
		}
	})
}

func TestSkipDeleteRemovesNothing(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 5)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.remove(s, numbered(1))
		w.configureText(func(top map[string]any) { top["skip_delete"] = true }, syncPass{kind: queueKind})
		wantStatus(t, w.sync(nil), SyncSucceeded)
		if n := len(w.sink.ids()); n != 5 {
			t.Errorf("%d of 5 entities are left", n)
		}
	})
}

func TestEntitiesThatNobodyRemembersGo(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 5)
		w.sink.entities[catalog.EntityRef{Blueprint: "queue", Identifier: "lost"}] = nil
		w.sink.changed[catalog.EntityRef{Blueprint: "queue", Identifier: "lost"}] = time.Now().Add(-time.Hour)
		bad := errors.New("not now")
		w.cloud.listFails = func(reader.Scope, reader.ListQuery) error { return bad }
		w.sync(nil)
		if !slices.Contains(w.sink.ids(), "queue/lost") {
			t.Fatal("an entity was taken for lost although not all was listed")
		}
		w.cloud.listFails = nil
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		w.wantTruth()
		if run.Totals.Removed != 1 {
			t.Errorf("totals %+v, want 1 removed", run.Totals)
		}
	})
}

func TestManyEntitiesThatNobodyRemembersAreHeld(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.cloud.putN(syncScope(queueKind), 5)
		for i := range 60 {
			ref := catalog.EntityRef{Blueprint: "queue", Identifier: fmt.Sprintf("lost-%d", i)}
			w.sink.entities[ref], w.sink.changed[ref] = nil, time.Now().Add(-time.Hour)
		}
		run := w.sync(nil)
		wantStatus(t, run, SyncHeld)
		if n := len(w.sink.ids()); n != 65 {
			t.Fatalf("%d of 65 entities are left", n)
		}
		wantStatus(t, w.confirm(run), SyncSucceeded)
		w.wantTruth()
	})
}

// dump is the content of tables as text.
func (w *syncWorld) dump(tables ...string) string {
	w.t.Helper()
	var b strings.Builder
	for _, table := range tables {
		rows, err := w.db.Query(w.t.Context(), `SELECT * FROM `+table+` ORDER BY 1, 2, 3`)
		if err != nil {
			w.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			for i := range values {
				values[i] = new(any)
			}
			if err := rows.Scan(values...); err != nil {
				w.t.Fatal(err)
			}
			for _, v := range values {
				fmt.Fprintf(&b, "%v ", *v.(*any))
			}
			b.WriteByte('\n')
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			w.t.Fatal(err)
		}
	}
	return b.String()
}
