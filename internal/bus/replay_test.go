package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// runJobs runs the fixture's jobs until the test ends or stop is called.
func runJobs(t testing.TB, x *fixture) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = x.jobs.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func startReplay(t testing.TB, x *fixture, name string, change ...func(*ReplayRequest)) Replay {
	t.Helper()
	q := ReplayRequest{Name: name, Archive: archiveARN(defaultRef, "a"), Destination: defaultRef.ARN(), From: testNow.AddDate(-1, 0, 0), Until: testNow.AddDate(1, 0, 0)}
	for _, c := range change {
		c(&q)
	}
	r, err := x.StartReplay(t.Context(), testAccount, testRegion, q)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func describeReplay(t testing.TB, x *fixture, name string) Replay {
	t.Helper()
	r, err := x.DescribeReplay(t.Context(), testAccount, testRegion, name)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func awaitReplay(t testing.TB, x *fixture, name string, state ReplayState) Replay {
	t.Helper()
	var r Replay
	eventually(t, "replay "+name+" is "+string(state), func() bool {
		r = describeReplay(t, x, name)
		return r.State == state
	})
	return r
}

// fill archives n events, one each second before testNow.
func fill(t testing.TB, x *fixture, sub *Subscription, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := w; i < n; i += 32 {
				if err := x.Archive(t.Context(), happened(fmt.Sprint("id-", i), testNow.Add(time.Duration(i-n)*time.Second), `{}`), sub); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestAReplaySendsTheEventsOfItsTimeOlderOnesFirst(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		start := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
		for _, e := range []struct {
			id string
			at time.Duration
		}{
			{"before", -time.Second}, {"d", 2 * time.Minute}, {"c", time.Minute + time.Second}, {"a", 0}, {"b", time.Minute},
			{"last", 3*time.Minute - time.Second}, {"end", 3 * time.Minute},
		} {
			archive(t, x, sub, happened(e.id, start.Add(e.at), `{}`))
		}
		// What happened in the second that it begins in may have been later in it.
		r := startReplay(t, x, "again", func(q *ReplayRequest) { q.From, q.Until = start.Add(700*time.Millisecond), start.Add(3*time.Minute) })
		if r.State != ReplayStarting || !r.EndedAt.IsZero() || !r.StartedAt.Equal(testNow) {
			t.Errorf("it starts as %+v", r)
		}
		runJobs(t, x)
		r = awaitReplay(t, x, "again", ReplayCompleted)
		if r.Total != 5 || r.Replayed != 5 || !r.LastEventAt.Equal(start.Add(3*time.Minute-time.Second)) || !r.EndedAt.Equal(testNow) || r.StateReason != "" {
			t.Errorf("it ended as %+v", r)
		}
		var ids []string
		for _, rec := range x.log.take() {
			ids = append(ids, rec.ID)
		}
		var want []string
		for _, id := range []string{"a", "b", "c", "d", "last"} {
			want = append(want, r.replayedID(id))
		}
		if diff := cmp.Diff(want, ids); diff != "" {
			t.Errorf("order of the events (-want +got):\n%s", diff)
		}
	})
}

func TestAReplayedEventIsTheOldOneWithAnIDAndTheReplaysName(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		rule := ruleARN(defaultRef, "r")
		putRule(t, x, defaultRef, "r", `{"source":["shop"]}`, toQueue("q"))
		putRule(t, x, defaultRef, "other", `{"source":["shop"]}`, toQueue("q"))
		rec := happened("旧的-1", testNow.Add(-time.Hour), `{"名":"张三 🛒","n":1.50,"a":{"b":[1,2,{"c":"\"引号\"\\"}]},"half":"\ud83d","长":"`+strings.Repeat("很长的文字 🚚 ", 200)+`"}`)
		rec.Trace, rec.AccountHops = "Root=1-2-3", 1
		archive(t, x, sub, rec)
		startReplay(t, x, "again", func(q *ReplayRequest) { q.Rules = []string{rule} })
		runJobs(t, x)
		r := awaitReplay(t, x, "again", ReplayCompleted)
		got := x.log.take()
		if len(got) != 1 {
			t.Fatalf("%d events were replayed", len(got))
		}
		id := r.replayedID("旧的-1")
		json := strings.Replace(string(rec.JSON), `"id":"旧的-1"`, `"id":"`+id+`"`, 1)
		json = strings.Replace(json, `"region":"eu-west-1",`, `"region":"eu-west-1","replay-name":"again",`, 1)
		want := event.Record{
			Bus: defaultRef, ID: id, Accepted: testNow.UTC().Truncate(time.Millisecond), RuleVersion: x.RuleVersion(defaultRef),
			Origin: "replay " + r.ARN() + " 旧的-1", ReplayRules: []string{rule}, JSON: []byte(json),
		}
		if diff := cmp.Diff(want, got[0]); diff != "" {
			t.Errorf("the record (-want +got):\n%s", diff)
		}
		if names := matched(t, x, &got[0]); !slices.Equal(names, []string{"r/q"}) {
			t.Errorf("it goes to %v", names)
		}
	})
}

func TestReplayedEventsNeverEnterAnArchive(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		fill(t, x, sub, 10)
		startReplay(t, x, "all")
		startReplay(t, x, "named", func(q *ReplayRequest) { q.Rules = []string{ruleARN(defaultRef, "Events-Archive-a")} })
		runJobs(t, x)
		awaitReplay(t, x, "all", ReplayCompleted)
		awaitReplay(t, x, "named", ReplayCompleted)
		recs := x.log.take()
		if len(recs) != 20 {
			t.Errorf("%d events were replayed, want 20", len(recs))
		}
		for i := range recs {
			if names := matched(t, x, &recs[i]); len(names) > 0 {
				t.Errorf("a replayed event goes to %v", names)
			}
		}
	})
}

// gateLog is an event log that stops before an append until it is let on.
type gateLog struct {
	memoryLog
	reached chan int // told the number of each append that waits
	let     chan error
	open    atomic.Bool // stops no more
	n       int
}

func newGateLog() *gateLog { return &gateLog{reached: make(chan int), let: make(chan error)} }

func (l *gateLog) Append(ctx context.Context, entries [][]byte) error {
	if l.open.Load() {
		return l.memoryLog.Append(ctx, entries)
	}
	l.n++
	select {
	case l.reached <- l.n:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-l.let:
		if err != nil {
			return err
		}
		return l.memoryLog.Append(ctx, entries)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *gateLog) pass(t *testing.T, appends int) {
	t.Helper()
	for range appends {
		l.await(t)
		l.let <- nil
	}
}

func (l *gateLog) await(t *testing.T) {
	t.Helper()
	select {
	case <-l.reached:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is appended")
	}
}

func withLog(l Appender) func(*Options) { return func(o *Options) { o.Log = l } }

func TestAReplayIsCancelledInEachState(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		log := newGateLog()
		x := open(t, db, withLog(log))
		fill(t, x, createArchive(t, x, Archive{Name: "a"}), 5*replaySlice)
		cancel := func(name string) error {
			r, err := x.CancelReplay(t.Context(), testAccount, testRegion, name)
			if err == nil && r.State != ReplayCancelling {
				t.Errorf("a cancelled replay is %s", r.State)
			}
			return err
		}
		startReplay(t, x, "starting")
		if err := cancel("starting"); err != nil {
			t.Error(err)
		}
		if err := cancel("starting"); !awsapi.HasCode(err, "IllegalStatusException") {
			t.Errorf("cancelled twice: %v", err)
		}
		runJobs(t, x)
		if r := awaitReplay(t, x, "starting", ReplayCancelled); r.Replayed != 0 || r.EndedAt.IsZero() || !r.LastEventAt.IsZero() {
			t.Errorf("cancelled before it ran: %+v", r)
		}
		startReplay(t, x, "running")
		log.pass(t, 1)
		log.await(t)
		if r := describeReplay(t, x, "running"); r.State != ReplayRunning || r.Total != 5*replaySlice {
			t.Errorf("it runs as %+v", r)
		}
		if err := cancel("running"); err != nil {
			t.Error(err)
		}
		log.let <- nil // what is under way is put
		if r := awaitReplay(t, x, "running", ReplayCancelled); r.Replayed != 2*replaySlice || r.EndedAt.IsZero() || r.LastEventAt.IsZero() {
			t.Errorf("cancelled while it ran: %+v", r)
		}
		log.open.Store(true)
		startReplay(t, x, "done")
		awaitReplay(t, x, "done", ReplayCompleted)
		for _, name := range []string{"starting", "running", "done"} {
			if err := cancel(name); !awsapi.HasCode(err, "IllegalStatusException") {
				t.Errorf("replay %s, which has ended, was cancelled: %v", name, err)
			}
		}
	})
}

func TestAReplayFailsWhenItsArchiveGoes(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		log := newGateLog()
		x := open(t, db, withLog(log))
		fill(t, x, createArchive(t, x, Archive{Name: "a"}), replayChunk+1)
		startReplay(t, x, "r")
		runJobs(t, x)
		log.await(t)
		if err := x.DeleteArchive(t.Context(), testAccount, testRegion, "a"); err != nil {
			t.Fatal(err)
		}
		createArchive(t, x, Archive{Name: "a"}) // another of its name is not it
		log.open.Store(true)
		log.let <- nil
		r := awaitReplay(t, x, "r", ReplayFailed)
		if r.StateReason != "Archive a was deleted before all events were replayed." || r.EndedAt.IsZero() || r.Replayed != replayChunk {
			t.Errorf("it failed as %+v", r)
		}
	})
}

func TestAReplayFailsWhenItsBusGoes(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		log := newGateLog()
		x := open(t, db, withLog(log))
		ref := event.BusRef{Account: testAccount, Region: testRegion, Name: "orders"}
		if err := x.CreateBus(t.Context(), ref, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
		fill(t, x, createArchive(t, x, Archive{Name: "a", Bus: ref}), replayChunk+1)
		startReplay(t, x, "r", func(q *ReplayRequest) { q.Destination = ref.ARN() })
		runJobs(t, x)
		log.await(t)
		rule := Archive{Name: "a"}.ruleName()
		if err := x.removeTargets(t.Context(), ref, rule, []string{rule}, true); err != nil {
			t.Fatal(err)
		}
		if err := x.DeleteRule(t.Context(), ref, rule, true); err != nil {
			t.Fatal(err)
		}
		if err := x.DeleteBus(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
		log.open.Store(true)
		log.let <- nil
		r := awaitReplay(t, x, "r", ReplayFailed)
		if r.StateReason != "Event bus orders was deleted before all events were replayed." || r.Replayed != replayChunk {
			t.Errorf("it failed as %+v", r)
		}
	})
}

func TestAReplayFailsAtAnEventThatCannotBeRead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		fill(t, x, sub, 3)
		err := x.db.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE archived_events SET body = $1 WHERE event_id = 'id-1'`, []byte("\x01rubbish"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		startReplay(t, x, "r")
		runJobs(t, x)
		r := awaitReplay(t, x, "r", ReplayFailed)
		if !strings.Contains(r.StateReason, "read archived event id-1") || r.Replayed != 1 {
			t.Errorf("it failed as %+v", r)
		}
	})
}

func TestAStoppedReplayGoesOnWithoutSendingTwice(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		log := newGateLog()
		x := open(t, db, withLog(log))
		fill(t, x, createArchive(t, x, Archive{Name: "a"}), 2*replayChunk)
		startReplay(t, x, "r")
		stop := runJobs(t, x)
		log.pass(t, 3)
		log.await(t)
		stop()
		if r := describeReplay(t, x, "r"); r.State != ReplayRunning || r.Replayed != 3*replaySlice {
			t.Errorf("it stopped as %+v", r)
		}
		log.open.Store(true)
		runJobs(t, openNode(t, db, x.auth, withLog(log)))
		r := awaitReplay(t, x, "r", ReplayCompleted)
		sent := map[string]int{}
		for _, rec := range log.take() {
			sent[rec.ID]++
		}
		for id, n := range sent {
			if n > 1 {
				t.Errorf("event %s was sent %d times", id, n)
			}
		}
		if len(sent) != 2*replayChunk || r.Replayed != 2*replayChunk {
			t.Errorf("%d events were sent, %d noted", len(sent), r.Replayed)
		}
	})
}

// A process that dies has put events of which the database knows nothing.
func TestAReplayThatDiedSendsTheSameIDsAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reopen := func() *store.DB {
		db, err := store.Open(t.Context(), store.Options{DataDir: dir, UnsafeNoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := reopen()
	log := newGateLog()
	x := open(t, db, withLog(log))
	fill(t, x, createArchive(t, x, Archive{Name: "a"}), 3*replayChunk)
	startReplay(t, x, "r")
	runJobs(t, x)
	log.pass(t, replayChunk/replaySlice+2)
	log.await(t)
	if err := db.Close(); err != nil { // nothing is noted from here on
		t.Fatal(err)
	}
	log.open.Store(true)
	log.let <- nil

	db = reopen()
	defer db.Close()
	again := openNode(t, db, x.auth, withLog(log))
	if r := describeReplay(t, again, "r"); r.State != ReplayRunning || r.Replayed != replayChunk {
		t.Errorf("it died as %+v", r)
	}
	stop := runJobs(t, again)
	defer stop()
	r := awaitReplay(t, again, "r", ReplayCompleted)
	sent := map[string]int{}
	for _, rec := range log.take() {
		sent[rec.ID]++
	}
	twice := 0
	for _, n := range sent {
		if n == 2 {
			twice++
		}
	}
	if len(sent) != 3*replayChunk || r.Replayed != 3*replayChunk || twice != 3*replaySlice {
		t.Errorf("%d events were sent, %d noted, %d sent twice", len(sent), r.Replayed, twice)
	}
}

func TestAReplayWaitsWhileTheLogTakesNothing(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		log := newGateLog()
		x := open(t, db, withLog(log))
		fill(t, x, createArchive(t, x, Archive{Name: "a"}), 10)
		startReplay(t, x, "r")
		runJobs(t, x)
		log.await(t)
		log.open.Store(true)
		log.let <- eventlog.ErrFull
		if r := awaitReplay(t, x, "r", ReplayCompleted); r.Replayed != 10 {
			t.Errorf("%d events were replayed", r.Replayed)
		}
	})
}

func TestTenReplaysAreActiveAtOnceAndNamesAreKeptFor90Days(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		now := testNow
		var mu sync.Mutex
		x := open(t, db, func(o *Options) {
			o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		})
		at := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = testNow.Add(d) }
		createArchive(t, x, Archive{Name: "a"})
		for i := range 10 {
			startReplay(t, x, fmt.Sprint("r", i))
		}
		start := func(name string) error {
			_, err := x.StartReplay(t.Context(), testAccount, testRegion, ReplayRequest{
				Name: name, Archive: archiveARN(defaultRef, "a"), Destination: defaultRef.ARN(), From: testNow, Until: testNow.Add(1),
			})
			return err
		}
		if err := start("r10"); !awsapi.HasCode(err, "LimitExceededException") || !strings.Contains(err.Error(), "The requested resource exceeds the maximum number allowed.") {
			t.Errorf("an eleventh replay: %v", err)
		}
		at(-time.Hour) // the clock is set back before they end
		runJobs(t, x)
		for i := range 10 {
			if r := awaitReplay(t, x, fmt.Sprint("r", i), ReplayCompleted); r.EndedAt.Before(r.StartedAt) {
				t.Errorf("it ended at %s and started at %s", r.EndedAt, r.StartedAt)
			}
		}
		if err := start("r1"); !awsapi.HasCode(err, "ResourceAlreadyExistsException") {
			t.Errorf("a second replay of one name: %v", err)
		}
		if err := start("r10"); err != nil {
			t.Error(err)
		}
		for _, d := range []time.Duration{89 * 24 * time.Hour, 91 * 24 * time.Hour} {
			at(d)
			if err := x.forgetReplays(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := x.DescribeReplay(t.Context(), testAccount, testRegion, "r1")
			if gone := awsapi.HasCode(err, "ResourceNotFoundException"); gone != (d > keepReplays) {
				t.Errorf("after %s: %v", d, err)
			}
		}
		if err := start("r1"); err != nil {
			t.Errorf("a forgotten name cannot be used again: %v", err)
		}
	})
}

func TestEventsArchivedMeanwhileAreReplayedIfTheyAreAhead(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		log := newGateLog()
		x := open(t, db, withLog(log))
		sub := createArchive(t, x, Archive{Name: "a"})
		fill(t, x, sub, 1)
		startReplay(t, x, "r")
		runJobs(t, x)
		log.await(t)
		archive(t, x, sub, happened("behind", testNow.Add(-time.Minute), `{}`), happened("ahead", testNow.Add(time.Minute), `{}`))
		log.open.Store(true)
		log.let <- nil
		if r := awaitReplay(t, x, "r", ReplayCompleted); r.Replayed != 2 || r.Total != 2 {
			t.Errorf("%d of %d were replayed", r.Replayed, r.Total)
		}
	})
}

func TestReplayPagesAndFilters(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		createArchive(t, x, Archive{Name: "a"})
		for _, name := range []string{"c", "B", "a", "a.1"} {
			startReplay(t, x, name)
		}
		var names []string
		for page := (Page{Limit: 2}); ; {
			found, next, err := x.ListReplays(t.Context(), testAccount, testRegion, ReplayFilter{}, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range found {
				names = append(names, r.Name)
			}
			if page.Token = next; next == "" {
				break
			}
		}
		if want := []string{"B", "a", "a.1", "c"}; !slices.Equal(names, want) {
			t.Errorf("listed %v, want %v", names, want)
		}
	})
}

// A node that lost the lease and does not know it yet notes nothing over what the other did.
func TestAChunkIsNotedOnceWhoeverSentIt(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		sub := createArchive(t, x, Archive{Name: "a"})
		fill(t, x, sub, 3)
		r := startReplay(t, x, "r")
		for range 2 {
			if err := x.noteReplayed(t.Context(), r, archivedEvent{at: r.cursor.at + 1, id: "7"}, 2); err != nil {
				t.Fatal(err)
			}
		}
		if got := describeReplay(t, x, "r"); got.Replayed != 2 || got.cursor != (archiveCursor{at: r.cursor.at + 1, id: "7"}) {
			t.Errorf("%d events are noted, up to %+v", got.Replayed, got.cursor)
		}
	})
}
