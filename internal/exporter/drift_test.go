package exporter

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// queued gives the account a queue of records, so that events should tell of changes.
func (w *syncWorld) queued() {
	w.t.Helper()
	_, err := w.x.PutQueue(w.t.Context(), "arn:aws:sqs:"+syncRegion+":"+syncAccount+":records", syncAccount, "")
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *syncWorld) drift(run SyncRun, pending bool) map[string]Drift {
	w.t.Helper()
	list, err := w.x.Drift(w.t.Context(), DriftFilter{RunID: run.ID, Pending: pending}, DriftAfter{}, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[string]Drift{}
	for _, d := range list {
		found[d.Identifier] = d
	}
	return found
}

func TestDriftIsFoundAndDated(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.queued()
		w.later(time.Hour)
		s := syncScope(queueKind)
		w.cloud.putN(s, 20)
		first := w.sync(nil)
		if d := w.drift(first, false); len(d) != 0 {
			t.Fatalf("the first sync found drift: %v", d)
		}
		firstAt := w.scope(first, queueKind).StartedAt
		w.later(time.Hour)
		w.cloud.remove(s, numbered(1))
		w.cloud.put(s, numbered(2), map[string]any{"Name": numbered(2), "Size": 99.0})
		w.cloud.put(s, "r-new", map[string]any{"Name": "r-new", "Size": 1.0})
		// Of this one an event tells.
		w.cloud.put(s, numbered(3), map[string]any{"Name": numbered(3), "Size": 77.0})
		w.event(s, numbered(3), w.x.now())
		w.later(time.Hour)
		run := w.sync(nil)
		wantStatus(t, run, SyncSucceeded)
		got := w.drift(run, false)
		want := map[string]Missed{numbered(1): MissedDelete, numbered(2): MissedUpdate, "r-new": MissedCreate}
		if len(got) != len(want) || run.Totals.Drift != 3 {
			t.Fatalf("drift %v, total %d; want %v", got, run.Totals.Drift, want)
		}
		for id, missed := range want {
			d := got[id]
			if d.Missed != missed {
				t.Errorf("%s: missed %q, want %q", id, d.Missed, missed)
			}
			if d.Since.Before(firstAt) || d.Since.Sub(firstAt) > 10*time.Minute {
				t.Errorf("%s: since %v, want since the sync at %v", id, d.Since, firstAt)
			}
		}
		f := w.freshness(queueKind)
		if f.Status != FreshBroken || f.Drift != 3 || f.Events != 1 {
			t.Errorf("freshness %+v, want broken by 3", f)
		}
		// An event says nothing of those that are missing.
		w.later(time.Hour)
		w.event(s, numbered(3), w.x.now())
		if f := w.freshness(queueKind); f.Status != FreshBroken || f.Drift != 3 {
			t.Errorf("freshness after an event is %s, drift %d", f.Status, f.Drift)
		}
		w.sync(nil)
		if f := w.freshness(queueKind); f.Status != FreshOK || f.Drift != 0 {
			t.Errorf("freshness after a full sync that finds nothing is %s, drift %d", f.Status, f.Drift)
		}
	})
}

func TestChangeThatAnEventTellsOfWithinTheGraceIsNoDrift(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		w.queued()
		w.later(time.Hour)
		s := syncScope(queueKind)
		w.cloud.putN(s, 5)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.put(s, "late", map[string]any{"Name": "late"})
		w.cloud.put(s, "never", map[string]any{"Name": "never"})
		happened := w.x.now()
		grace := DefaultGrace
		run := w.sync(func(n *NewSync) { n.Grace = &grace })
		if run.Totals.Drift != 0 || run.Totals.DriftPending != 2 {
			t.Fatalf("drift %d, pending %d; want 2 pending", run.Totals.Drift, run.Totals.DriftPending)
		}
		w.later(time.Minute)
		w.event(s, "late", happened)
		w.later(2 * time.Minute)
		// Records about this one have come and wait.
		w.x.waiting.add(Key{syncAccount, syncRegion, queueKind, "never"}, "message", w.x.now())
		if err := w.x.settleDrift(t.Context()); err != nil {
			t.Fatal(err)
		}
		if run := w.run(run.ID); run.Totals.Drift != 0 || run.Totals.DriftPending != 1 {
			t.Fatalf("drift %d, pending %d; want 1 pending while its records wait", run.Totals.Drift, run.Totals.DriftPending)
		}
		w.x.waiting.forget("message")
		w.later(time.Minute)
		if err := w.x.settleDrift(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := w.drift(run, false); len(d) != 1 || d["never"].Missed != MissedCreate {
			t.Errorf("drift %v, want that of which no event told", d)
		}
	})
}

func TestChangesThatNoEventCouldTellOfAreNoDrift(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		w.cloud.putN(s, 5)
		w.sync(nil)
		w.later(time.Hour)
		w.cloud.put(s, "new", map[string]any{"Name": "new"})
		if run := w.sync(nil); run.Totals.Drift != 0 {
			t.Errorf("drift %d without a queue", run.Totals.Drift)
		}
		// The queue is there since after the last sync.
		w.later(time.Hour)
		w.queued()
		w.cloud.put(s, "new-2", map[string]any{"Name": "new-2"})
		w.later(time.Hour)
		if run := w.sync(nil); run.Totals.Drift != 0 {
			t.Errorf("drift %d from before there was a queue", run.Totals.Drift)
		}
		// Another configuration makes other entities of the same resources.
		w.later(time.Hour)
		w.configurePasses(syncPass{kind: queueKind, query: ".Size != 1"})
		if run := w.sync(nil); run.Totals.Drift != 0 || run.Totals.Removed != 1 {
			t.Errorf("drift %d, removed %d by another configuration", run.Totals.Drift, run.Totals.Removed)
		}
	})
}

func (w *syncWorld) freshness(kind string) Freshness {
	w.t.Helper()
	list, err := w.x.Freshness(w.t.Context(), FreshnessFilter{Kind: kind}, ScopeKey{}, 10)
	if err != nil || len(list) != 1 {
		w.t.Fatalf("freshness of %s: %v, %v", kind, list, err)
	}
	return list[0]
}

func TestFreshnessSaysHowEachScopeFares(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		s := syncScope(queueKind)
		want := func(status FreshnessStatus) Freshness {
			t.Helper()
			f := w.freshness(queueKind)
			if f.Status != status || !f.Configured {
				t.Fatalf("freshness %+v, want %s", f, status)
			}
			return f
		}
		want(FreshNeverSynced)
		w.cloud.putN(s, 3)
		w.cloud.listFails = func(reader.Scope, reader.ListQuery) error { return classed(s, reader.Denied) }
		w.sync(nil)
		if f := want(FreshFailing); f.LastSyncError == "" {
			t.Error("it does not say why")
		}
		w.cloud.listFails = nil
		run := w.sync(nil)
		if f := want(FreshNoEvents); f.LastSyncRun != run.ID || f.LastSyncAt.IsZero() {
			t.Errorf("freshness %+v, want the run %s", f, run.ID)
		}
		at := w.x.now().Add(-3 * time.Second)
		w.event(s, numbered(1), at)
		f := want(FreshOK)
		if f.Events != 1 || !f.LastEventAt.Equal(at) || f.Lag.Count != 1 || f.Lag.P50 < 3*time.Second || f.Lag.P99 > 5*time.Second {
			t.Errorf("freshness %+v, want one event with a lag of 3 s", f)
		}
		w.later(time.Minute)
		w.x.noteFailure(ScopeKey{syncAccount, syncRegion, queueKind}, "the record is dead")
		if err := w.x.flushFreshness(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := want(FreshFailing); f.LastFailure != "the record is dead" {
			t.Errorf("it says %q", f.LastFailure)
		}
		w.x.noteIgnored(ScopeKey{syncAccount, syncRegion, queueKind}, w.x.now())
		if err := w.x.flushFreshness(t.Context()); err != nil {
			t.Fatal(err)
		}
		if f := want(FreshFailing); f.Ignored != 1 {
			t.Errorf("%d records were ignored", f.Ignored)
		}
		w.later(time.Minute)
		w.sync(nil)
		if f := want(FreshOK); f.Ignored != 0 {
			t.Errorf("%d records were ignored since the full sync", f.Ignored)
		}
	})
}

func TestFreshnessOfWhatIsNotConfiguredGoesWithTheNextFullSync(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *syncWorld) {
		mistyped := ScopeKey{syncAccount, syncRegion, "AWS::SQS::Quue"}
		unselected := ScopeKey{syncAccount, "sa-east-1", queueKind}
		fail := func() {
			t.Helper()
			w.x.noteFailure(mistyped, "there is no such kind")
			if err := w.x.flushFreshness(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := func(about string, kinds ...string) {
			t.Helper()
			list, err := w.x.Freshness(t.Context(), FreshnessFilter{}, ScopeKey{}, 10)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range list {
				if f.Configured == (f.Status == FreshNotConfigured) {
					t.Errorf("%s: %s is %s, configured: %v", about, f.Kind, f.Status, f.Configured)
				}
				got = append(got, f.Kind)
			}
			if !slices.Equal(got, kinds) {
				t.Errorf("%s: freshness of %v, want of %v", about, got, kinds)
			}
		}
		w.configure(queueKind, topicKind)
		w.cloud.putN(syncScope(queueKind), 15)
		w.cloud.putN(syncScope(topicKind), 3)
		fail()
		w.later(time.Minute)
		for name, other := range map[string]func(*NewSync){
			"a dry run":       func(n *NewSync) { n.DryRun = true },
			"a run of a kind": func(n *NewSync) { n.Selection.Kinds = []string{topicKind} },
		} {
			w.sync(other)
			want("after "+name, topicKind, queueKind, mistyped.Kind)
		}
		w.sync(nil)
		want("after a run of everything", topicKind, queueKind)

		// What has resources yet stays, and so does what a record came of since.
		w.configure(topicKind)
		w.cloud.before = func(op string, s reader.Scope) {
			if s.Kind == topicKind {
				w.x.noteFailure(mistyped, "there is no such kind")
				w.x.noteIgnored(unselected, w.x.now())
				if err := w.x.flushFreshness(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		held := w.sync(nil)
		wantStatus(t, held, SyncHeld)
		want("after a run that held", topicKind, queueKind, mistyped.Kind, unselected.Kind)
		w.cloud.before = nil
		w.confirm(held)
		w.later(time.Minute)
		w.sync(nil)
		want("once the resources are gone", topicKind)

		if err := w.x.DeleteAccount(t.Context(), syncAccount); err != nil {
			t.Fatal(err)
		}
		w.sync(nil)
		fail()
		w.later(time.Minute)
		wantStatus(t, w.sync(nil), SyncFailed)
		want("after a run that has nothing to sync")
	})
}

func TestLagsAreSummedUpByBuckets(t *testing.T) {
	t.Parallel()
	counts := map[int]int64{}
	for i := 1; i <= 1000; i++ {
		counts[lagBucket(time.Duration(i)*time.Millisecond)]++
	}
	s := summarize(counts)
	if s.Count != 1000 || s.P50 < 500*time.Millisecond || s.P50 > 630*time.Millisecond || s.P99 < 990*time.Millisecond || s.P99 > 1300*time.Millisecond {
		t.Errorf("of 1 to 1000 ms: %+v", s)
	}
	for _, lag := range []time.Duration{0, time.Millisecond, time.Second, time.Minute, 24 * time.Hour, math.MaxInt64} {
		if b := lagBucket(lag); b < 0 || b >= lagBuckets || lag < 24*time.Hour && lagBound(b) < lag {
			t.Errorf("%v is in bucket %d, to %v", lag, b, lagBound(b))
		}
	}
	if s := summarize(nil); s != (LagSummary{}) {
		t.Errorf("of nothing: %+v", s)
	}
}
