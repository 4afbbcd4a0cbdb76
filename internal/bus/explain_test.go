package bus

import (
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestExplainOrdersRulesByHowCloseTheyAre(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	putRule(t, x, defaultRef, "two-off", `{"source":["other"],"detail-type":["other"],"region":["eu-west-1"]}`, toQueue("t"))
	putRule(t, x, defaultRef, "one-off", `{"source":["my.app"],"detail-type":["other"]}`, toQueue("t"))
	putRule(t, x, defaultRef, "nearest", `{"source":["my.app"],"detail-type":["other"],"region":["eu-west-1"]}`, toQueue("t"))
	putRule(t, x, defaultRef, "switched-off", `{"source":["my.app"]}`, toQueue("t"))
	putRule(t, x, defaultRef, "no-targets", `{"source":["my.app"]}`)
	putRule(t, x, defaultRef, "delivered", `{"source":["my.app"]}`, toQueue("t"))
	putRule(t, x, defaultRef, "not-replayed", `{"source":["my.app"]}`, toQueue("t"))
	if err := x.SetRuleState(t.Context(), defaultRef, "switched-off", RuleDisabled); err != nil {
		t.Fatal(err)
	}
	rec := record(defaultRef, "my.app")
	rec.RuleVersion = x.RuleVersion(defaultRef)
	arn := func(name string) string { return ruleARN(defaultRef, name) }
	rec.ReplayRules = []string{arn("delivered")}
	putRule(t, x, defaultRef, "newer", `{"source":["my.app"],"region":["us-east-1"]}`, toQueue("t"))

	explain := func(limit int) (got []string, more int) {
		t.Helper()
		e, err := x.Explain(t.Context(), rec, map[string]bool{arn("delivered"): true}, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range e.Rules {
			got = append(got, fmt.Sprintf("%s %d %s changed=%v targets=%d", r.RuleName, r.Failing, r.Why, r.Changed, r.Targets))
		}
		return got, e.More
	}
	want := []string{
		"no-targets 0 no targets changed=false targets=0",
		"not-replayed 0 replay changed=false targets=1",
		"switched-off 0 disabled changed=false targets=1",
		"nearest 1  changed=false targets=1",
		"newer 1  changed=true targets=1",
		"one-off 1  changed=false targets=1",
		"two-off 2  changed=false targets=1",
	}
	got, more := explain(10)
	if diff := cmp.Diff(want, got); diff != "" || more != 0 {
		t.Errorf("%d more (-want +got):\n%s", more, diff)
	}
	got, more = explain(1)
	if diff := cmp.Diff(want[:1], got); diff != "" || more != len(want)-1 {
		t.Errorf("%d more of a limit of 1 (-want +got):\n%s", more, diff)
	}
}

func TestExplainStopsWhenItsTimeIsUp(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	for i := range 100 {
		putRule(t, x, defaultRef, fmt.Sprint("r", i), `{"source":["other"]}`, toQueue("t"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := x.Explain(ctx, record(defaultRef, "my.app"), nil, 5)
	if err != nil || e.Unread == 0 || e.Unread+e.More+len(e.Rules) != 100 {
		t.Errorf("%d rules, %d more, %d unread, error %v", len(e.Rules), e.More, e.Unread, err)
	}
}
