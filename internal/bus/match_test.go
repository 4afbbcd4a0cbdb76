package bus

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestMatchSeesAChangeBeforeTheCallReturns(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx, rec := t.Context(), record(defaultRef, "my.app")
		expect := func(step string, want ...string) {
			t.Helper()
			if want == nil {
				want = []string{}
			}
			if diff := cmp.Diff(want, matched(t, x, rec)); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", step, diff)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		expect("no rule")
		putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`)
		expect("a rule without targets")
		must(x.PutTargets(ctx, defaultRef, "r", []RuleTarget{toQueue("a"), toQueue("b")}))
		expect("two targets", "r/a", "r/b")
		putRule(t, x, defaultRef, "r", `{"source":["other"]}`)
		expect("another pattern")
		putRule(t, x, defaultRef, "r", `{"source":[{"prefix":"my"}]}`)
		expect("a matching pattern, targets kept", "r/a", "r/b")
		must(x.SetRuleState(ctx, defaultRef, "r", RuleDisabled))
		expect("disabled")
		must(x.SetRuleState(ctx, defaultRef, "r", RuleEnabled))
		expect("enabled", "r/a", "r/b")
		must(x.RemoveTargets(ctx, defaultRef, "r", []string{"a", "unknown"}))
		expect("one target", "r/b")
		putRule(t, x, defaultRef, "s", `{"source":["my.app"]}`, toQueue("c"))
		expect("two rules", "r/b", "s/c")
		must(x.RemoveTargets(ctx, defaultRef, "r", []string{"b"}))
		must(x.DeleteRule(ctx, defaultRef, "r", false))
		expect("one rule deleted", "s/c")
	})
}

func TestMatchKeepsBusesAccountsAndRegionsApart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		custom := event.BusRef{Account: testAccount, Region: testRegion, Name: "orders"}
		if err := x.CreateBus(t.Context(), custom, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
		elsewhere := event.BusRef{Account: testAccount, Region: "us-east-1", Name: "default"}
		putRule(t, x, defaultRef, "here", `{"source":["my.app"]}`, toQueue("t"))
		putRule(t, x, custom, "custom", `{"source":["my.app"]}`, toQueue("t"))
		for ref, want := range map[event.BusRef][]string{
			defaultRef: {"here/t"}, custom: {"custom/t"}, elsewhere: {},
			{Account: "999999999999", Region: testRegion, Name: "default"}: {},
		} {
			if diff := cmp.Diff(want, matched(t, x, record(ref, "my.app"))); diff != "" {
				t.Errorf("%v (-want +got):\n%s", ref, diff)
			}
		}
	})
}

func TestMatchHonoursReplayRules(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	putRule(t, x, defaultRef, "a", `{"source":["my.app"]}`, toQueue("t"))
	putRule(t, x, defaultRef, "b", `{"source":["my.app"]}`, toQueue("t"))
	rec := record(defaultRef, "my.app")
	rec.ReplayRules = []string{ruleARN(defaultRef, "b")}
	if diff := cmp.Diff([]string{"b/t"}, matched(t, x, rec)); diff != "" {
		t.Error(diff)
	}
}

func TestMatchLeavesReadOnlyManagementEventsToRulesThatAskForThem(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	pattern := `{"source":["aws.ec2"]}`
	putRule(t, x, defaultRef, "plain", pattern, toQueue("t"))
	putRule(t, x, defaultRef, "all", pattern, toQueue("t"))
	if err := x.SetRuleState(t.Context(), defaultRef, "all", RuleEnabledReads); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		detailType, detail string
		want               []string
	}{
		{"AWS API Call via CloudTrail", `{"readOnly":true,"eventName":"DescribeInstances"}`, []string{"all/t"}},
		{"AWS API Call via CloudTrail", `{"readOnly":false,"eventName":"RunInstances"}`, []string{"all/t", "plain/t"}},
		{"AWS API Call via CloudTrail", `{"readOnly":true,"managementEvent":false}`, []string{"all/t", "plain/t"}},
		{"Other", `{"readOnly":true}`, []string{"all/t", "plain/t"}},
	} {
		e := event.Event{ID: "1", Source: "aws.ec2", DetailType: c.detailType, Account: testAccount, Region: testRegion, Time: testNow, Detail: []byte(c.detail)}
		if diff := cmp.Diff(c.want, matched(t, x, &event.Record{Bus: defaultRef, JSON: e.AppendJSON(nil)})); diff != "" {
			t.Errorf("%s %s (-want +got):\n%s", c.detailType, c.detail, diff)
		}
	}
}

func TestSubscriptionsKeepTheirIDAndRaiseTheirRevision(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		find := func() *Subscription {
			t.Helper()
			subs, err := x.Match(record(defaultRef, "my.app"), nil)
			if err != nil || len(subs) != 1 {
				t.Fatal(subs, err)
			}
			return subs[0]
		}
		putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("t"))
		first := find()
		putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, RuleTarget{ID: "t", ARN: queueARN("other")})
		second := find()
		if second.ID != first.ID || second.Revision <= first.Revision || second.Target.ARN != queueARN("other") {
			t.Errorf("after a change of the target: %+v, before: %+v", second, first)
		}
		if first.Target.ARN != queueARN("queue") {
			t.Error("a snapshot has changed")
		}
		putRule(t, x, defaultRef, "r", `{"source":["my.app"],"detail-type":["t"]}`)
		if third := find(); third.ID != first.ID || third.Revision <= second.Revision {
			t.Errorf("after a change of the rule: %+v, before: %+v", third, second)
		}
		if err := x.RemoveTargets(ctx, defaultRef, "r", []string{"t"}); err != nil {
			t.Fatal(err)
		}
		putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("t"))
		if again := find(); again.ID == first.ID {
			t.Error("the ID of a removed subscription was used again")
		}
	})
}

func TestRemovedSubscriptionsAreToldAndNotFound(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		var told []int64
		x.OnRemoved(func(id int64) { told = append(told, id) })
		putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("a"), toQueue("b"))
		subs, _ := x.Match(record(defaultRef, "my.app"), nil)
		if got, err := x.Subscription(ctx, subs[0].ID); err != nil || got != subs[0] {
			t.Fatal(got, err)
		}
		if err := x.RemoveTargets(ctx, defaultRef, "r", []string{subs[0].Target.ID}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]int64{subs[0].ID}, told); diff != "" {
			t.Error(diff)
		}
		if _, err := x.Subscription(ctx, subs[0].ID); err != ErrNoSubscription {
			t.Error(err)
		}
		if _, err := x.Subscription(ctx, subs[1].ID); err != nil {
			t.Error(err)
		}
	})
}

func TestAnotherNodeCatchesUp(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		var told []uint64
		other := openNode(t, x.db, x.auth)
		third := openNode(t, x.db, x.auth, func(o *Options) {
			o.Changed = func(_ event.BusRef, v uint64) { told = append(told, v) }
		})
		custom := event.BusRef{Account: testAccount, Region: testRegion, Name: "orders"}
		if err := x.CreateBus(ctx, custom, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
		putRule(t, x, custom, "r", `{"source":["my.app"]}`, toQueue("a"), toQueue("b"))
		if err := other.WaitVersion(ctx, custom, x.RuleVersion(custom)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"r/a", "r/b"}, matched(t, other, record(custom, "my.app"))); diff != "" {
			t.Error(diff)
		}
		// A change on a node that is behind brings the others' changes in, too.
		var removed int
		other.OnRemoved(func(int64) { removed++ })
		if err := x.RemoveTargets(ctx, custom, "r", []string{"a"}); err != nil {
			t.Fatal(err)
		}
		putRule(t, other, custom, "s", `{"source":["my.app"]}`, toQueue("c"))
		if diff := cmp.Diff([]string{"r/b", "s/c"}, matched(t, other, record(custom, "my.app"))); diff != "" {
			t.Error(diff)
		}
		if removed != 1 {
			t.Errorf("%d subscriptions removed, want 1", removed)
		}
		// A subscription that a node has not heard of is found in SQL.
		subs, _ := other.Match(record(custom, "my.app"), nil)
		for _, s := range subs {
			if got, err := third.Subscription(ctx, s.ID); err != nil || got.Target.ID != s.Target.ID {
				t.Error(got, err)
			}
		}
		// So is a bus that a node has not heard of.
		results, err := openNode(t, x.db, x.auth).PutEvents(ctx, Caller{Account: testAccount, Region: testRegion},
			[]Entry{{Source: "my.app", DetailType: "t", Detail: "{}", Bus: "orders"}})
		if err != nil || results[0].EventID == "" {
			t.Error(results, err)
		}
		putRule(t, third, custom, "u", `{"source":["my.app"]}`)
		if len(told) != 1 || told[0] != third.RuleVersion(custom) {
			t.Errorf("told of versions %v, want %d", told, third.RuleVersion(custom))
		}
	})
}

func TestOpenLoadsWhatWasThere(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("a"), toQueue("b"))
		again := openNode(t, x.db, x.auth)
		if diff := cmp.Diff([]string{"r/a", "r/b"}, matched(t, again, record(defaultRef, "my.app"))); diff != "" {
			t.Error(diff)
		}
		if got, want := again.RuleVersion(defaultRef), x.RuleVersion(defaultRef); got != want {
			t.Errorf("rule version %d, want %d", got, want)
		}
	})
}

func TestVersionsOfARecreatedBusGoOn(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		ref := event.BusRef{Account: testAccount, Region: testRegion, Name: "orders"}
		if err := x.CreateBus(ctx, ref, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
		before := x.RuleVersion(ref)
		if err := x.DeleteBus(ctx, ref); err != nil {
			t.Fatal(err)
		}
		if err := x.CreateBus(ctx, ref, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
		if after := x.RuleVersion(ref); after <= before {
			t.Errorf("version %d after %d", after, before)
		}
	})
}

func TestMatchNeverMissesARuleThatIsBeingChanged(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	patterns := []string{`{"source":["my.app"]}`, `{"source":[{"prefix":"my."}]}`, `{"detail-type":["t"]}`}
	putRule(t, x, defaultRef, "r", patterns[0], toQueue("a"))
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			rec := record(defaultRef, "my.app")
			for !stop.Load() {
				if subs, err := x.Match(rec, nil); err != nil || len(subs) != 1 {
					t.Errorf("%d subscriptions, want 1 (%v)", len(subs), err)
					return
				}
			}
		})
	}
	for i := range 100 {
		putRule(t, x, defaultRef, "r", patterns[i%len(patterns)])
	}
	stop.Store(true)
	wg.Wait()
}

func TestConcurrentChangesOfOneBusAllCount(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		x := open(t, db)
		other := openNode(t, db, x.auth)
		var wg sync.WaitGroup
		for i := range 8 {
			node := []*fixture{x, other}[i%2]
			wg.Go(func() {
				name := fmt.Sprint("r", i)
				if _, err := node.PutRule(t.Context(), Rule{Bus: defaultRef, Name: name, Pattern: `{"source":["my.app"]}`}, nil); err != nil {
					t.Error(err)
				}
				if err := node.PutTargets(t.Context(), defaultRef, name, []RuleTarget{toQueue("t")}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, node := range []*fixture{x, other} {
			if err := node.WaitVersion(t.Context(), defaultRef, 16); err != nil {
				t.Fatal(err)
			}
			if got := matched(t, node, record(defaultRef, "my.app")); len(got) != 8 {
				t.Errorf("matched %v", got)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	x := open(b, storetest.SQLite(b), func(o *Options) { o.Limits.Rules = 1000 })
	for i := range 300 {
		putRule(b, x, defaultRef, fmt.Sprint("r", i), fmt.Sprintf(`{"source":["app.%d"],"detail":{"state":["running"]}}`, i), toQueue("t"))
	}
	e := event.Event{ID: event.NewID(), Source: "app.7", DetailType: "t", Account: testAccount, Region: testRegion, Time: testNow,
		Detail: []byte(`{"state":"running","instance-id":"i-0123456789abcdef0","tags":{"team":"orders","env":"prod"}}`)}
	rec := &event.Record{Bus: defaultRef, ID: e.ID, JSON: e.AppendJSON(nil)}
	var subs []*Subscription
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		var err error
		if subs, err = x.Match(rec, subs[:0]); err != nil || len(subs) != 1 {
			b.Fatal(subs, err)
		}
	}
}
