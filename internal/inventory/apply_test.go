package inventory

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestWhereTheCloudCannotBeReadEventsAreTrustedAndItIsSaid(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(nil)
	w.run()
	w.ec2.failWith("UnauthorizedOperation")
	now := time.Now()
	w.post(m.WebhookURL, token, eventBody("e-1", testAccount, testRegion, testInstance, stateRunning, now))
	w.settled()
	s, ok := w.server(testProject, testInstance)
	if !ok || !s.unconfirmed() || s.EC2State != stateRunning || s.Hostname != testInstance {
		t.Fatalf("server %+v, %v", s, ok)
	}
	got, err := w.v.Monitor(t.Context(), testProject, a.ID)
	if err != nil || got.Account.UnreadAt.IsZero() || !strings.Contains(got.Account.UnreadWhy, "UnauthorizedOperation") {
		t.Errorf("monitor %+v, %v", got, err)
	}
	// An earlier event that comes later changes nothing, and terminated removes.
	w.post(m.WebhookURL, token, eventBody("e-0", testAccount, testRegion, testInstance, statePending, now.Add(-time.Minute)))
	w.settled()
	if s, _ := w.server(testProject, testInstance); s.EC2State != stateRunning {
		t.Errorf("a late event set the state to %q", s.EC2State)
	}
	w.post(m.WebhookURL, token, eventBody("e-2", testAccount, testRegion, testInstance, stateTerminated, now.Add(time.Minute)))
	w.settled()
	if _, ok := w.server(testProject, testInstance); ok {
		t.Error("the terminated instance is still there")
	}
	w.ec2.failWith("")
	w.ec2.put(testRegion, Instance{ID: instanceID(1), State: stateRunning})
	w.post(m.WebhookURL, token, eventBody("e-3", testAccount, testRegion, instanceID(1), stateRunning, now))
	w.settled()
	if got, err = w.v.Monitor(t.Context(), testProject, a.ID); err != nil || got.Account.UnreadWhy != "" {
		t.Errorf("the account can be read again, and the monitor says %q, %v", got.Account.UnreadWhy, err)
	}
}

func TestTrustedEventsAreNotConfirmed(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a, m, token := w.monitored(func(a *CloudAccount) { a.Options.TrustEvents = true })
	w.run()
	w.post(m.WebhookURL, token, eventBody("e-1", testAccount, testRegion, testInstance, statePending, time.Now()))
	w.settled()
	if _, ok := w.server(testProject, testInstance); !ok || w.ec2.count() != 0 {
		t.Errorf("there is a server: %v; the cloud was asked %d times", ok, w.ec2.count())
	}
	if _, err := w.v.RunSync(t.Context(), testProject, a.ID, false); err == nil {
		t.Error("an account that is not to be read was synced")
	}
}

func TestAnInstanceThatIsNotThereYetIsLookedForAgain(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, m, token := w.monitored(nil)
	w.run()
	asked := w.ec2.count()
	w.post(m.WebhookURL, token, eventBody("e-1", testAccount, testRegion, testInstance, statePending, time.Now()))
	w.eventually("the first read", func() bool { return w.ec2.count() > asked })
	if len(w.states(testProject)) != 0 {
		t.Error("a server that the cloud does not know was added")
	}
	w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning})
	w.eventually("it is found by a later read", func() bool { return len(w.states(testProject)) == 1 })
}

func TestEventsOfOneInstanceShareReads(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, m, token := w.monitored(nil)
	w.run()
	w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning})
	asked := w.ec2.count()
	release := make(chan struct{})
	var once sync.Once
	w.ec2.mu.Lock()
	w.ec2.onCall = func() { once.Do(func() { <-release }) }
	w.ec2.mu.Unlock()
	const n = 40
	now := time.Now()
	for i := range n {
		w.post(m.WebhookURL, token, eventBody(fmt.Sprint("e-", i), testAccount, testRegion, testInstance, stateRunning, now.Add(time.Duration(i)*time.Second)))
	}
	close(release)
	w.settled()
	if reads := w.ec2.count() - asked; reads > 3 {
		t.Errorf("%d events caused %d reads", n, reads)
	}
}

func TestNothingIsAcceptedThatIsNotStored(t *testing.T) {
	db, err := store.Open(t.Context(), store.Options{DataDir: filepath.Join(t.TempDir(), "data"), UnsafeNoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, db)
	_, m, token := w.monitored(nil)
	for range maxIntake {
		w.v.intake <- struct{}{}
	}
	body := eventBody("e", testAccount, testRegion, testInstance, statePending, time.Now())
	status, _, header := w.post(m.WebhookURL, token, body)
	if status != http.StatusTooManyRequests || header.Get("Retry-After") == "" {
		t.Errorf("with all places taken: %d, Retry-After %q", status, header.Get("Retry-After"))
	}
	for range maxIntake {
		<-w.v.intake
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	status, answer, header := w.post(m.WebhookURL, token, body)
	if status != http.StatusServiceUnavailable || header.Get("Retry-After") == "" {
		t.Errorf("with the store closed: %d %s, Retry-After %q", status, answer, header.Get("Retry-After"))
	}
}

func TestOldEventsAndTombstonesAreForgotten(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		_, m, token := w.monitored(nil)
		w.run()
		w.ec2.put(testRegion, Instance{ID: testInstance, State: stateTerminated})
		w.post(m.WebhookURL, token, eventBody("e", testAccount, testRegion, testInstance, stateTerminated, time.Now()))
		w.settled()
		count := func() (n int) {
			if err := db.QueryRow(t.Context(), `SELECT (SELECT COUNT(*) FROM inventory_events) + (SELECT COUNT(*) FROM inventory_instances)`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := count(); n != 2 {
			t.Fatalf("%d rows, want an event and a tombstone", n)
		}
		for _, tt := range []struct {
			age  time.Duration
			left int
		}{{29 * 24 * time.Hour, 2}, {61 * 24 * time.Hour, 0}} {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := deleteOld(t.Context(), tx, time.Now().Add(tt.age).Add(-keepTombstones), time.Now().Add(-keepHistory), purgeChunk)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			if n := count(); n != tt.left {
				t.Errorf("after %s: %d rows, want %d", tt.age, n, tt.left)
			}
		}
	})
}

func TestOldChangesAndRemovedServersAreForgotten(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		w.project(testProject)
		kept, err := w.v.CreateServer(t.Context(), testProject, ManualFacts{Hostname: "kept"}, "key")
		if err != nil {
			t.Fatal(err)
		}
		gone, err := w.v.CreateServer(t.Context(), testProject, ManualFacts{Hostname: "gone"}, "key")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.v.DeleteServer(t.Context(), testProject, gone.ID, false, "key"); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			age              time.Duration
			servers, changes int
		}{{keepHistory - time.Hour, 2, 3}, {keepHistory + time.Hour, 1, 0}} {
			later := time.Now().Add(tt.age)
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				_, err := deleteOld(t.Context(), tx, later, later.Add(-keepHistory), purgeChunk)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			var servers, changes int
			if err := db.QueryRow(t.Context(), `SELECT (SELECT COUNT(*) FROM inventory_servers), (SELECT COUNT(*) FROM inventory_history)`).Scan(&servers, &changes); err != nil {
				t.Fatal(err)
			}
			if servers != tt.servers || changes != tt.changes {
				t.Errorf("after %s: %d servers and %d changes, want %d and %d", tt.age, servers, changes, tt.servers, tt.changes)
			}
		}
		if list := w.servers(testProject); len(list) != 1 || list[0].ID != kept.ID {
			t.Errorf("left: %+v", list)
		}
	})
}

func TestAStateThatIsReachedTwiceInASecondIsReadTwice(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		_, m, token := w.monitored(nil)
		w.run()
		at := time.Now()
		send := func(id, ip string, want int) {
			t.Helper()
			w.ec2.put(testRegion, Instance{ID: testInstance, State: stateRunning, PublicIP: ip})
			if status, answer, _ := w.post(m.WebhookURL, token, eventBody(id, testAccount, testRegion, testInstance, stateRunning, at)); status != want {
				t.Fatalf("%s: %d %s", id, status, answer)
			}
			w.settled()
		}
		ip := func() string {
			s, _ := w.server(testProject, testInstance)
			return s.Facts.EC2.PublicIP
		}
		send("first", "203.0.113.1", 202)
		send("second", "203.0.113.2", 200)
		w.eventually("the second event's read", func() bool { return ip() == "203.0.113.2" })
	})
}

func TestOnlyAnEventWithANewIDSchedulesARead(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db) // no job runs
		_, m, token := w.monitored(nil)
		at := time.Now()
		for _, tt := range []struct {
			id           string
			status, jobs int
		}{{"first", 202, 1}, {"first", 200, 0}, {"second", 200, 1}} {
			if status, answer, _ := w.post(m.WebhookURL, token, eventBody(tt.id, testAccount, testRegion, testInstance, stateRunning, at)); status != tt.status {
				t.Errorf("%s: %d %s", tt.id, status, answer)
			}
			var jobs int64
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				res, err := tx.Exec(t.Context(), `DELETE FROM job WHERE queue = $1`, queueApply)
				if err == nil {
					jobs, err = res.RowsAffected()
				}
				return err
			})
			if err != nil || jobs != int64(tt.jobs) {
				t.Errorf("%s: %d reads scheduled, want %d; %v", tt.id, jobs, tt.jobs, err)
			}
		}
	})
}

func TestCallersCannotFillTheCountsOfRegionsAndRejections(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		count := func(table string) (n int) {
			if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM `+table).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		now := time.Now()
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			for i := range maxCountedRegions + 10 {
				if err := countEvent(t.Context(), tx, "a", fmt.Sprint("r-", i), now, now); err != nil {
					return err
				}
			}
			for i := range maxCountedSubjects + 10 {
				if err := countRejection(t.Context(), tx, "a", "foreign_account", fmt.Sprintf("%012d", i), "no", now); err != nil {
					return err
				}
			}
			return countEvent(t.Context(), tx, "a", "r-0", now, now)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := count("inventory_regions"); n != maxCountedRegions {
			t.Errorf("%d regions are counted", n)
		}
		if n := count("inventory_rejections"); n != maxCountedSubjects+1 {
			t.Errorf("%d subjects are counted", n)
		}
		list, err := listRejections(t.Context(), db, "a")
		if i := slices.IndexFunc(list, func(r Rejection) bool { return r.Subject == otherSubjects }); err != nil || i < 0 || list[i].Count != 10 {
			t.Errorf("others: %+v, %v", list, err)
		}
		regions, err := listRegions(t.Context(), db, "a")
		if err != nil || regions[0].Events != 2 {
			t.Errorf("the first region: %+v, %v", regions[0], err)
		}
	})
}

func TestAStoppedInstanceThatStartsAgainKeepsItsServer(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, m, token := w.monitored(nil)
	w.run()
	now := time.Now()
	send := func(i int, state, ip string) {
		t.Helper()
		w.ec2.put(testRegion, Instance{ID: testInstance, State: state, PrivateIP: "10.0.0.5", PublicIP: ip, LaunchTime: now.Add(-time.Hour).UTC().Truncate(time.Second)})
		if status, answer, _ := w.post(m.WebhookURL, token, eventBody(fmt.Sprint("e-", i), testAccount, testRegion, testInstance, state, now.Add(time.Duration(i)*time.Second))); status != 202 {
			t.Fatalf("%d %s", status, answer)
		}
		w.settled()
	}
	send(1, stateRunning, "203.0.113.1")
	first, _ := w.server(testProject, testInstance)
	if err := w.v.SetLabels(t.Context(), testProject, first.ID, map[string]string{"tier": "1"}, "key"); err != nil {
		t.Fatal(err)
	}
	send(2, stateStopped, "")
	send(3, stateRunning, "203.0.113.2")
	s, ok := w.server(testProject, testInstance)
	if !ok || s.ID != first.ID || s.APILabels["api.tier"] != "1" || s.Facts.EC2.PublicIP != "203.0.113.2" || s.EC2State != stateRunning {
		t.Errorf("after a stop and a start: %+v", s)
	}
	h, err := w.v.History(t.Context(), s.ID, 0, 10)
	if err != nil || len(h) != 4 {
		t.Fatalf("history %+v, %v", h, err)
	}
	change := h[0].Fields["instance_details.public_ip"]
	if h[0].Cause.EventID != "e-3" || string(change.Before) != "null" || string(change.After) != `"203.0.113.2"` {
		t.Errorf("the last change is %+v", h[0])
	}
}
