package bus

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
}

// schedules is a node whose clock a test sets.
type schedules struct {
	*fixture
	clock *clock
}

func onBothWithClock(t *testing.T, f func(t *testing.T, x schedules)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := &clock{at: testNow}
		f(t, schedules{open(t, db, func(o *Options) { o.Now = c.now }), c})
	})
}

func (x schedules) put(t *testing.T, name, expression string, state RuleState) {
	t.Helper()
	_, err := x.PutRule(t.Context(), Rule{Bus: defaultRef, Name: name, Schedule: expression, State: state, CreatedBy: testAccount}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// fired moves the clock and returns the times of the events of the rules that
// fire, by the rule's name.
func (x schedules) fired(t *testing.T, at time.Time) map[string][]string {
	t.Helper()
	x.clock.set(at)
	if err := x.fireDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	times := map[string][]string{}
	for _, rec := range storetest.TakeOutbox(t, x.db) {
		e, err := event.Parse(rec.JSON)
		if err != nil {
			t.Fatal(err)
		}
		rule := e.Resources[0][len("arn:aws:events:eu-west-1:111122223333:rule/"):]
		times[rule] = append(times[rule], e.Time.Format(time.RFC3339))
	}
	return times
}

func (x schedules) expect(t *testing.T, at time.Time, want map[string][]string) {
	t.Helper()
	if diff := cmp.Diff(want, x.fired(t, at)); diff != "" {
		t.Errorf("at %s: %s", at.Format(time.RFC3339), diff)
	}
}

func TestARuleFiresOnceWhenItIsDue(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "often", "rate(5 minutes)", RuleEnabled)
		x.put(t, "daily", "cron(10 5 * * ? *)", RuleEnabled)
		x.expect(t, testNow.Add(3*time.Minute), map[string][]string{})
		x.expect(t, testNow.Add(5*time.Minute), map[string][]string{"often": {"2026-03-04T05:11:07Z"}, "daily": {"2026-03-04T05:10:00Z"}})
		x.expect(t, testNow.Add(5*time.Minute), map[string][]string{})
		x.expect(t, testNow.Add(10*time.Minute), map[string][]string{"often": {"2026-03-04T05:16:07Z"}})
	})
}

func TestAScheduledEventIsTheOneOfAWS(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "daily", "cron(10 5 * * ? *)", RuleEnabled)
		x.clock.set(testNow.Add(time.Hour))
		if err := x.fireDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		recs := storetest.TakeOutbox(t, x.db)
		if len(recs) != 1 {
			t.Fatalf("%d events, want 1", len(recs))
		}
		want := `{"version":"0","id":"` + recs[0].ID + `","detail-type":"Scheduled Event","source":"aws.events","account":"111122223333",` +
			`"time":"2026-03-04T05:10:00Z","region":"eu-west-1","resources":["arn:aws:events:eu-west-1:111122223333:rule/daily"],"detail":{}}`
		if diff := cmp.Diff(want, string(recs[0].JSON)); diff != "" {
			t.Error(diff)
		}
		if recs[0].Bus != defaultRef || recs[0].Origin != "schedule arn:aws:events:eu-west-1:111122223333:rule/daily" {
			t.Errorf("the record is %+v", recs[0])
		}
	})
}

func TestWhatWasMissedIsMadeUpForByOneEvent(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "often", "rate(1 minute)", RuleEnabled)
		x.put(t, "daily", "cron(10 5 * * ? *)", RuleEnabled)
		x.expect(t, testNow.Add(72*time.Hour), map[string][]string{"often": {"2026-03-07T05:06:07Z"}, "daily": {"2026-03-06T05:10:00Z"}})
		x.expect(t, testNow.Add(72*time.Hour+time.Minute), map[string][]string{"often": {"2026-03-07T05:07:07Z"}})
	})
}

func TestAClockThatIsSetBackFiresNothingTwice(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "often", "rate(1 minute)", RuleEnabled)
		x.expect(t, testNow.Add(time.Minute), map[string][]string{"often": {"2026-03-04T05:07:07Z"}})
		x.expect(t, testNow.Add(-time.Hour), map[string][]string{})
		x.expect(t, testNow.Add(time.Minute), map[string][]string{})
		x.expect(t, testNow.Add(2*time.Minute), map[string][]string{"often": {"2026-03-04T05:08:07Z"}})
	})
}

func TestARateCountsFromWhenTheRuleGotIt(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "r", "rate(10 minutes)", RuleEnabled)
		x.clock.set(testNow.Add(4 * time.Minute))
		x.put(t, "r", "rate(10 minutes)", RuleEnabled) // the same again keeps its time
		x.expect(t, testNow.Add(10*time.Minute), map[string][]string{"r": {"2026-03-04T05:16:07Z"}})
		x.clock.set(testNow.Add(14 * time.Minute))
		x.put(t, "r", "rate(5 minutes)", RuleEnabled) // another begins anew
		x.expect(t, testNow.Add(18*time.Minute), map[string][]string{})
		x.expect(t, testNow.Add(19*time.Minute), map[string][]string{"r": {"2026-03-04T05:25:07Z"}})
	})
}

func TestADisabledRuleMissesItsTimes(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "r", "rate(10 minutes)", RuleEnabled)
		if err := x.SetRuleState(t.Context(), defaultRef, "r", RuleDisabled); err != nil {
			t.Fatal(err)
		}
		x.expect(t, testNow.Add(25*time.Minute), map[string][]string{})
		if err := x.SetRuleState(t.Context(), defaultRef, "r", RuleEnabled); err != nil {
			t.Fatal(err)
		}
		x.expect(t, testNow.Add(26*time.Minute), map[string][]string{})
		x.expect(t, testNow.Add(30*time.Minute), map[string][]string{"r": {"2026-03-04T05:36:07Z"}})
	})
}

func TestARuleWithoutItsScheduleFiresNoMore(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		x.put(t, "deleted", "rate(1 minute)", RuleEnabled)
		x.put(t, "changed", "rate(1 minute)", RuleEnabled)
		if err := x.DeleteRule(t.Context(), defaultRef, "deleted", false); err != nil {
			t.Fatal(err)
		}
		putRule(t, x.fixture, defaultRef, "changed", `{"source":["s"]}`)
		x.expect(t, testNow.Add(time.Hour), map[string][]string{})
	})
}

func TestManyRulesThatAreDueAllFire(t *testing.T) {
	t.Parallel()
	onBothWithClock(t, func(t *testing.T, x schedules) {
		for i := range 2*schedulePart + 1 {
			x.put(t, "r"+string(rune('a'+i%26))+string(rune('a'+i/26)), "rate(1 minute)", RuleEnabled)
		}
		if got := x.fired(t, testNow.Add(time.Minute)); len(got) != 2*schedulePart+1 {
			t.Errorf("%d rules fired, want %d", len(got), 2*schedulePart+1)
		}
	})
}

func TestNodesThatFireAtOnceFireOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := &clock{at: testNow}
		withClock := func(o *Options) { o.Now = c.now }
		first := open(t, db, withClock)
		second := openNode(t, db, first.auth, withClock)
		schedules{first, c}.put(t, "r", "rate(1 minute)", RuleEnabled)
		for minute := 1; minute <= 20; minute++ {
			c.set(testNow.Add(time.Duration(minute) * time.Minute))
			var nodes sync.WaitGroup
			for _, node := range []*fixture{first, second} {
				nodes.Go(func() {
					if err := node.fireDue(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			nodes.Wait()
			if recs := storetest.TakeOutbox(t, db); len(recs) != 1 {
				t.Fatalf("%d events, want 1", len(recs))
			}
		}
	})
}

func TestRunSchedulesFiresWhatIsMadeMeanwhile(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := &clock{at: testNow}
		x := schedules{open(t, db, func(o *Options) { o.Now = c.now }), c}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()
		fired := make(chan event.Record, 10)
		running.Go(func() { _ = x.RunSchedules(ctx, "node") })
		running.Go(func() {
			_ = db.RunOutbox(ctx, func(_ context.Context, recs []event.Record) error {
				for _, rec := range recs {
					fired <- rec
				}
				return nil
			})
		})
		x.put(t, "r", "rate(1 minute)", RuleEnabled)
		c.set(testNow.Add(time.Minute))
		x.put(t, "another", "rate(1 hour)", RuleEnabled) // a change wakes it, and it sees the time
		select {
		case rec := <-fired:
			if rec.Origin != "schedule arn:aws:events:eu-west-1:111122223333:rule/r" {
				t.Errorf("the first to fire is %s", rec.Origin)
			}
		case <-time.After(20 * time.Second):
			t.Error("nothing fired")
		}
	})
}
