package bus

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// TestMemoryFollowsSQL makes random changes on two nodes and expects each node
// to match what the rules in SQL say, by its own memory.
func TestMemoryFollowsSQL(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	nodes := []*fixture{x, openNode(t, x.db, x.auth)}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		ref := event.BusRef{Account: testAccount, Region: fmt.Sprint("eu-run-", run), Name: event.DefaultBus}
		m := &memoryModel{ref: ref, rules: map[string]*modelRule{}}
		for range rapid.IntRange(1, 12).Draw(rt, "changes") {
			node := nodes[rapid.IntRange(0, 1).Draw(rt, "node")]
			m.change(t, rt, node)
			for i, n := range nodes {
				if err := n.WaitVersion(t.Context(), ref, node.RuleVersion(ref)); err != nil {
					rt.Fatal(err)
				}
				byPattern := func(_ string, r *modelRule) bool { return r.matches }
				if diff := cmp.Diff(m.matched(byPattern), matched(t, n, record(ref, "a"))); diff != "" {
					rt.Fatalf("node %d (-want +got):\n%s", i, diff)
				}
				bySchedule := func(name string, r *modelRule) bool { return r.scheduled && name == "r" || r.matchesClock }
				if diff := cmp.Diff(m.matched(bySchedule), matched(t, n, firedOn(ref, "r"))); diff != "" {
					rt.Fatalf("node %d, a scheduled event (-want +got):\n%s", i, diff)
				}
			}
		}
	})
}

// memoryModel is what the rules of a bus should be.
type memoryModel struct {
	ref   event.BusRef
	rules map[string]*modelRule
}

type modelRule struct {
	matches, matchesClock, scheduled, disabled bool

	targets map[string]bool
}

func (m *memoryModel) change(t *testing.T, rt *rapid.T, x *fixture) {
	name := rapid.SampledFrom([]string{"r", "s"}).Draw(rt, "rule")
	id := rapid.SampledFrom([]string{"1", "2"}).Draw(rt, "target")
	r := m.rules[name]
	var err error
	switch op := rapid.SampledFrom([]string{"put", "enable", "disable", "target", "untarget", "delete"}).Draw(rt, "op"); {
	case op == "put" || r == nil:
		pattern := rapid.SampledFrom([]string{`{"source":["a"]}`, `{"source":["b"]}`, `{"source":[{"prefix":"a"}]}`, ""}).Draw(rt, "pattern")
		schedule := rapid.SampledFrom([]string{"rate(1 hour)", "cron(0 2 ? * SAT *)", ""}).Draw(rt, "schedule")
		if pattern == "" && schedule == "" {
			schedule = "rate(2 hours)"
		}
		_, err = x.PutRule(t.Context(), Rule{Bus: m.ref, Name: name, Pattern: pattern, Schedule: schedule}, nil)
		if r == nil {
			r = &modelRule{targets: map[string]bool{}}
			m.rules[name] = r
		}
		r.matches, r.matchesClock = pattern != "" && pattern != `{"source":["b"]}`, pattern == `{"source":[{"prefix":"a"}]}`
		r.scheduled, r.disabled = schedule != "", false
	case op == "enable":
		err, r.disabled = x.SetRuleState(t.Context(), m.ref, name, RuleEnabled), false
	case op == "disable":
		err, r.disabled = x.SetRuleState(t.Context(), m.ref, name, RuleDisabled), true
	case op == "target":
		err = x.PutTargets(t.Context(), m.ref, name, []RuleTarget{{ID: id, ARN: "arn:aws:sqs:" + m.ref.Region + ":" + testAccount + ":q"}})
		r.targets[id] = true
	case op == "untarget":
		err = x.RemoveTargets(t.Context(), m.ref, name, []string{id})
		delete(r.targets, id)
	case len(r.targets) > 0: // a delete that is refused
		if err := x.DeleteRule(t.Context(), m.ref, name, false); !refused(err) {
			rt.Fatal("a rule with targets was deleted:", err)
		}
	default:
		err = x.DeleteRule(t.Context(), m.ref, name, false)
		delete(m.rules, name)
	}
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *memoryModel) matched(matches func(name string, r *modelRule) bool) []string {
	names := []string{}
	for name, r := range m.rules {
		for id := range r.targets {
			if matches(name, r) && !r.disabled {
				names = append(names, name+"/"+id)
			}
		}
	}
	slices.Sort(names)
	return names
}

func TestRefreshReadsWhatAnotherNodeChanged(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		other := openNode(t, x.db, x.auth)
		orders := event.BusRef{Account: testAccount, Region: testRegion, Name: "orders"}
		if err := x.CreateBus(t.Context(), orders, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
		putRule(t, x, orders, "r", `{"source":["my.app"]}`, toQueue("t"))
		if err := other.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"r/t"}, matched(t, other, record(orders, "my.app"))); diff != "" {
			t.Error(diff)
		}
		if err := x.RemoveTargets(t.Context(), orders, "r", []string{"t"}); err != nil {
			t.Fatal(err)
		}
		if err := other.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{}, matched(t, other, record(orders, "my.app"))); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAChangeThatFailsLeavesTheRulesAlone(t *testing.T) {
	t.Parallel()
	db := storetest.SQLite(t)
	x := open(t, db)
	putRule(t, x, defaultRef, "r", `{"source":["my.app"]}`, toQueue("t"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := x.PutRule(t.Context(), Rule{Bus: defaultRef, Name: "r", Pattern: `{"source":["other"]}`}, nil)
	if err == nil || refused(err) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"r/t"}, matched(t, x, record(defaultRef, "my.app"))); diff != "" {
		t.Error(diff)
	}
}
