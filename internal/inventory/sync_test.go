package inventory

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// sync runs a full sync and returns what came of it.
func (w *world) sync(project, id string, dryRun bool) SyncRun {
	w.t.Helper()
	run, err := w.v.RunSync(w.t.Context(), project, id, dryRun)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.finished(project, id, run.ID)
}

func (w *world) finished(project, id, runID string) SyncRun {
	w.t.Helper()
	var run SyncRun
	w.eventually("the run finishes", func() bool {
		var err error
		if run, err = w.v.SyncRun(w.t.Context(), project, id, runID); err != nil {
			w.t.Fatal(err)
		}
		return !run.FinishedAt.IsZero()
	})
	return run
}

func instanceID(n int) string { return fmt.Sprintf("i-%017x", n) }

func (w *world) instances(region string, n int) {
	for i := range n {
		w.ec2.put(region, Instance{ID: instanceID(i), State: stateRunning, PrivateIP: fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)})
	}
}

func TestSyncFindsChangesRemovesAndReports(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.project(testProject)
		a := w.connect(testProject, testAccount, nil)
		w.instances(testRegion, 25)
		w.ec2.pageSize = 10
		w.run()

		first, err := w.v.SyncRuns(t.Context(), testProject, a.ID)
		if err != nil || len(first) != 1 || first[0].Status != SyncSucceeded || first[0].Added != 25 || first[0].Trigger != "schedule" {
			t.Fatalf("the run after connecting: %+v, %v", first, err)
		}
		again := w.sync(testProject, a.ID, false)
		if again.Added+again.Updated+again.Removed != 0 || again.Regions[0].Listed != 25 {
			t.Errorf("nothing changed, and the run says %+v", again)
		}

		// One terminated and shown so, one gone without trace, one stopped, one new.
		w.ec2.put(testRegion, Instance{ID: instanceID(0), State: stateTerminated})
		w.ec2.remove(testRegion, instanceID(1))
		w.ec2.put(testRegion, Instance{ID: instanceID(2), State: stateStopped, PrivateIP: "10.0.0.3"})
		w.ec2.put(testRegion, Instance{ID: instanceID(99), State: stateRunning, PrivateIP: "10.0.9.9"})
		w.aged()
		before := w.states(testProject)
		dry := w.sync(testProject, a.ID, true)
		if d := cmp.Diff(before, w.states(testProject)); d != "" {
			t.Errorf("a dry run changed the inventory:\n%s", d)
		}
		wet := w.sync(testProject, a.ID, false)
		for name, run := range map[string]SyncRun{"dry": dry, "wet": wet} {
			if run.Added != 1 || run.Updated != 1 || run.Removed != 2 || run.Status != SyncSucceeded {
				t.Errorf("%s run: %+v", name, run)
			}
		}
		after := w.states(testProject)
		if len(after) != 24 || after[instanceID(2)] != stateStopped || after[instanceID(99)] != stateRunning || after[instanceID(0)] != "" {
			t.Errorf("inventory after the sync: %v", after)
		}
		s, _ := w.server(testProject, instanceID(99))
		h, err := w.v.History(t.Context(), s.ID, 0, 10)
		if err != nil || len(h) != 1 || h[0].Cause.Kind != causeSync || h[0].Cause.RunID != wet.ID {
			t.Errorf("history of a server found by a sync: %+v, %v", h, err)
		}
	})
}

// aged makes all servers old enough that not finding them counts.
func (w *world) aged() {
	w.t.Helper()
	err := w.db.Update(w.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(w.t.Context(), `UPDATE inventory_servers SET told_at = told_at - 3600000, registered_at = registered_at - 3600000`)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestAnAccountWithoutRegionsIsListedInAllOfThem(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.project(testProject)
		a := w.connect(testProject, testAccount, func(a *CloudAccount) { a.Regions = nil })
		w.instances(testRegion, 1)
		w.ec2.put("ap-south-1", Instance{ID: instanceID(7), State: stateRunning})
		w.run()
		if n := len(w.servers(testProject)); n != 2 {
			t.Errorf("%d servers, want one of each region", n)
		}
		h, err := w.v.Health(t.Context(), testProject, a.ID)
		if err != nil || len(h.Regions) != 2 || !h.Regions[0].InScope || !h.Regions[1].InScope {
			t.Errorf("health %+v, %v", h, err)
		}
		w.ec2.failWith("InternalError")
		if run := w.sync(testProject, a.ID, false); run.Status != SyncFailed || !strings.Contains(run.Error, "list the regions") {
			t.Errorf("with no answer about the regions: %+v", run)
		}
		if n := len(w.servers(testProject)); n != 2 {
			t.Errorf("%d servers after a failed run, want 2", n)
		}
	})
}

func TestSyncNeverTakesAFailureForAbsence(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	a := w.connect(testProject, testAccount, nil)
	w.instances(testRegion, 4)
	w.run()
	w.aged()
	for _, code := range []string{"UnauthorizedOperation", "InvalidParameterValue"} {
		w.ec2.failWith(code)
		run := w.sync(testProject, a.ID, false)
		if run.Status != SyncFailed || run.Removed != 0 || !strings.Contains(run.Error, code) {
			t.Errorf("%s: %+v", code, run)
		}
		if n := len(w.states(testProject)); n != 4 {
			runs, err := w.v.SyncRuns(t.Context(), testProject, a.ID)
			t.Errorf("%s: %d servers are left; runs %+v, %v", code, n, runs, err)
		}
	}
	h, err := w.v.Health(t.Context(), testProject, a.ID)
	if err != nil || len(h.Regions) != 1 || !strings.Contains(h.Regions[0].LastSyncError, "InvalidParameterValue") {
		t.Errorf("health: %+v, %v", h, err)
	}
}

func TestSyncHoldsAMassRemovalUntilItIsConfirmed(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	a := w.connect(testProject, testAccount, nil)
	w.instances(testRegion, 10)
	w.run()
	w.aged()
	for i := range 4 {
		w.ec2.remove(testRegion, instanceID(i))
	}
	held := w.sync(testProject, a.ID, false)
	if held.Status != SyncHeld || held.Held != 4 || held.Removed != 0 || len(w.states(testProject)) != 10 {
		t.Fatalf("40 %% missing: %+v", held)
	}
	w.instances(testRegion, 1) // number 0 comes back before the confirmation
	confirmed, err := w.v.ConfirmSync(t.Context(), testProject, a.ID, held.ID)
	if err != nil {
		t.Fatal(err)
	}
	run := w.finished(testProject, a.ID, confirmed.ID)
	if run.Status != SyncSucceeded || run.Removed != 3 || len(w.states(testProject)) != 7 {
		t.Errorf("confirmed: %+v", run)
	}
	if _, err := w.v.ConfirmSync(t.Context(), testProject, a.ID, run.ID); err == nil {
		t.Error("a run that is not held was confirmed")
	}
	// Terminations that the cloud itself reports need no confirmation.
	for i := range 10 {
		w.ec2.put(testRegion, Instance{ID: instanceID(i), State: stateTerminated})
	}
	if run := w.sync(testProject, a.ID, false); run.Status != SyncSucceeded || len(w.states(testProject)) != 0 {
		t.Errorf("all terminated: %+v", run)
	}
}

func TestSyncReportsDriftWhereEventsShouldHaveTold(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(nil)
	w.run()
	hour := func(h int) time.Time { return time.Now().UTC().Add(time.Duration(h) * time.Hour).Truncate(time.Second) }
	err := w.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), `UPDATE inventory_cloud_accounts SET monitored_at = $1`, millis(hour(-2)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	status := func() RegionHealth {
		t.Helper()
		h, err := w.v.Health(t.Context(), testProject, a.ID)
		if err != nil || len(h.Regions) != 1 {
			t.Fatalf("health %+v, %v", h, err)
		}
		return h.Regions[0]
	}
	if got := status().Status; got != RegionNeverSeen {
		t.Errorf("before any event: %s", got)
	}
	// Launched before the credential was made: no event could have told.
	w.ec2.put(testRegion, Instance{ID: instanceID(1), State: stateRunning, LaunchTime: hour(-3)})
	// Launched a moment ago: its event may be on the way.
	w.ec2.put(testRegion, Instance{ID: instanceID(2), State: stateRunning, LaunchTime: time.Now().UTC().Truncate(time.Second)})
	if run := w.sync(testProject, a.ID, false); run.Added != 2 || run.Drift != 0 || run.Regions[0].Drift != 0 {
		t.Errorf("nothing was missed: %+v", run)
	}
	// Missed, in a region that never sent an event: the rule is missing.
	w.ec2.put(testRegion, Instance{ID: instanceID(3), State: stateRunning, LaunchTime: hour(-1)})
	if run := w.sync(testProject, a.ID, false); run.Drift != 0 || run.Regions[0].Drift != 1 {
		t.Errorf("missed in a region that is not live: %+v", run)
	}
	if got := status(); got.Status != RegionSilent || got.Drift != 1 {
		t.Errorf("a region whose changes only syncs find: %+v", got)
	}
	w.ec2.put(testRegion, Instance{ID: instanceID(4), State: stateRunning, LaunchTime: hour(-1)})
	w.post(m.WebhookURL, token, eventBody("e", testAccount, testRegion, instanceID(4), stateRunning, time.Now()))
	w.settled()
	if got := status(); got.Status != RegionLive || got.Events != 1 {
		t.Errorf("after an event: %+v", got)
	}
	// Missed in a live region: drift.
	w.ec2.put(testRegion, Instance{ID: instanceID(5), State: stateRunning, LaunchTime: hour(-1)})
	w.ec2.put(testRegion, Instance{ID: instanceID(4), State: stateTerminated})
	run := w.sync(testProject, a.ID, false)
	if run.Drift != 2 || run.Added != 1 || run.Removed != 1 {
		t.Errorf("a launch and a termination were missed: %+v", run)
	}
	if got := status().Status; got != RegionSilent {
		t.Errorf("after drift: %s", got)
	}
}

func TestSyncInterval(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 30, 0, 0, time.UTC)
	a := CloudAccount{ConnectedAt: at, Options: AccountOptions{SyncInterval: 24 * time.Hour}}
	for _, tt := range []struct{ now, want time.Time }{
		{at, at.Add(24 * time.Hour)},
		{at.Add(time.Minute), at.Add(24 * time.Hour)},
		{at.Add(24 * time.Hour), at.Add(48 * time.Hour)},
		{at.Add(-time.Hour), at},
		{at.Add(100*24*time.Hour + time.Second), at.Add(101 * 24 * time.Hour)},
	} {
		if got := nextSync(a, tt.now); !got.Equal(tt.want) {
			t.Errorf("after %s the next sync is at %s, want %s", tt.now, got, tt.want)
		}
	}
}

func TestTagSelectorsApplyToEventsAndSyncsAlike(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(func(a *CloudAccount) { a.Options.TagExclude = "kubernetes.io/cluster" })
	w.run()
	w.ec2.put(testRegion, Instance{ID: instanceID(1), State: stateRunning, Tags: map[string]string{"kubernetes.io/cluster": "x"}})
	w.post(m.WebhookURL, token, eventBody("e", testAccount, testRegion, instanceID(1), statePending, time.Now()))
	w.settled()
	w.ec2.put(testRegion, Instance{ID: instanceID(2), State: stateRunning, Tags: map[string]string{"kubernetes.io/cluster": "y"}})
	w.ec2.put(testRegion, Instance{ID: instanceID(3), State: stateRunning})
	w.sync(testProject, a.ID, false)
	if d := cmp.Diff(map[string]string{instanceID(3): stateRunning}, w.states(testProject)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if _, err := w.v.UpdateAccount(t.Context(), testProject, a.ID, func(a *CloudAccount) { a.Options.TagExclude = "" }); err != nil {
		t.Fatal(err)
	}
	w.sync(testProject, a.ID, false)
	if got := len(w.states(testProject)); got != 3 {
		t.Errorf("without the selector there are %d servers, want 3", got)
	}
}

func TestAnOlderServerLosesItsAddressToANewerOne(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	a := w.connect(testProject, testAccount, nil)
	w.run()
	now := time.Now().UTC().Truncate(time.Second)
	w.ec2.put(testRegion, Instance{ID: instanceID(1), State: stateRunning, PrivateIP: "10.0.0.1", LaunchTime: now.Add(-2 * time.Hour)})
	w.sync(testProject, a.ID, false)
	w.ec2.put(testRegion, Instance{ID: instanceID(2), State: stateRunning, PrivateIP: "10.0.0.1", LaunchTime: now.Add(-time.Hour)})
	for range 2 { // the second must not give it back
		w.sync(testProject, a.ID, false)
		older, _ := w.server(testProject, instanceID(1))
		newer, _ := w.server(testProject, instanceID(2))
		if older.AccessAddress != "" || older.Facts.AddressTakenBy != newer.ID || newer.AccessAddress != "10.0.0.1" {
			t.Errorf("older %q taken by %q, newer %q", older.AccessAddress, older.Facts.AddressTakenBy, newer.AccessAddress)
		}
	}
}

func TestProjectsWithTheSameAccountAreIndependent(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, m, token := w.monitored(nil)
	w.project("other")
	other := w.connect("other", testAccount, nil)
	w.run()
	w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning})
	w.post(m.WebhookURL, token, eventBody("e", testAccount, testRegion, testInstance, statePending, time.Now()))
	w.settled()
	if len(w.states(testProject)) != 1 || len(w.states("other")) != 0 {
		t.Error("an event of one project's webhook reached another project")
	}
	w.sync("other", other.ID, false)
	s, ok := w.server("other", testInstance)
	if !ok {
		t.Fatal("the other project's sync did not find the instance")
	}
	if err := w.v.DeleteServer(t.Context(), "other", s.ID, true, "key"); err != nil {
		t.Fatal(err)
	}
	w.sync("other", other.ID, false)
	if len(w.states(testProject)) != 1 || len(w.states("other")) != 0 {
		t.Error("a server that is to be ignored came back, or was removed elsewhere")
	}
}

func TestADisconnectedAccountLeavesItsServersOrphaned(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(nil)
	w.instances(testRegion, 2)
	w.run()
	if err := w.v.DisconnectAccount(t.Context(), testProject, a.ID); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := w.post(m.WebhookURL, token, eventBody("e", testAccount, testRegion, testInstance, statePending, time.Now())); status != 401 {
		t.Errorf("the webhook of a disconnected account answers %d, want 401", status)
	}
	for _, s := range w.servers(testProject) {
		if !s.Orphaned {
			t.Errorf("server %s is not marked as orphaned", s.InstanceID)
		}
	}
	w.connect(testProject, testAccount, nil)
	w.synced()
	for _, s := range w.servers(testProject) {
		if s.Orphaned {
			t.Errorf("server %s was not taken over by the new connection", s.InstanceID)
		}
	}
	if n := len(w.servers(testProject)); n != 2 {
		t.Errorf("%d servers, want the same 2", n)
	}
}

func TestWhatListingsLackIsRemovedAfterFourDaysWhereNothingBetterIsKnown(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.project(testProject)
	a := w.connect(testProject, testAccount, nil)
	w.instances(testRegion, 4)
	w.run()
	w.aged()
	w.ec2.remove(testRegion, instanceID(0))
	w.ec2.mu.Lock()
	w.ec2.failByID = true
	w.ec2.mu.Unlock()
	pass := func(hours int64) {
		t.Helper()
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE inventory_servers SET absent_since_at = absent_since_at - $1 WHERE absent_since_at > 0`, hours*3600_000)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		hours   int64
		removed int
	}{{0, 0}, {95, 0}, {2, 1}} {
		pass(step.hours)
		run := w.sync(testProject, a.ID, false)
		if run.Removed != step.removed || run.Error == "" {
			t.Errorf("%d hours later: %+v", step.hours, run)
		}
	}
	if n := len(w.states(testProject)); n != 3 {
		t.Errorf("%d servers are left, want 3", n)
	}
	// Absence for long is no way around the guard: the role may be wrong since days.
	for i := 1; i < 4; i++ {
		w.ec2.remove(testRegion, instanceID(i))
	}
	w.sync(testProject, a.ID, false)
	pass(97)
	if run := w.sync(testProject, a.ID, false); run.Status != SyncHeld || run.Held != 3 || run.Removed != 0 {
		t.Errorf("with all that is left absent for long: %+v", run)
	}
	if n := len(w.states(testProject)); n != 3 {
		t.Errorf("%d servers are left, want 3", n)
	}
}

func TestReadsOfAnAccountThatWasDisconnectedMeanwhileAddNothing(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.project(testProject)
		a := w.connect(testProject, testAccount, nil)
		if err := w.v.DisconnectAccount(t.Context(), testProject, a.ID); err != nil {
			t.Fatal(err)
		}
		s := &syncing{v: w.v, a: a, run: &SyncRun{ID: "run"}}
		read := reading{started: w.v.now(), outcome: readFound, instance: Instance{ID: testInstance, State: stateRunning}}
		if err := s.applyReads(t.Context(), &RegionResult{Region: testRegion}, []reading{read}, false); !errors.Is(err, errDisconnected) {
			t.Errorf("applied with error %v", err)
		}
		if n := len(w.servers(testProject)); n != 0 {
			t.Errorf("%d servers were added", n)
		}
	})
}

func TestARunThatACrashCutShortIsRunAgain(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.project(testProject)
		a := w.connect(testProject, testAccount, nil)
		w.instances(testRegion, 3)
		run := SyncRun{ID: "r", CloudAccountID: a.ID, Trigger: "demand", Status: SyncRunning, CreatedAt: w.v.now(), StartedAt: w.v.now(), Added: 2}
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return saveRun(t.Context(), tx, run) }); err != nil {
			t.Fatal(err)
		}
		w.run()
		if got := w.finished(testProject, a.ID, "r"); got.Status != SyncSucceeded || got.Added != 3 {
			t.Errorf("%+v", got)
		}
	})
}
