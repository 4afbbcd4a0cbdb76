package bus

import (
	"errors"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestForwardFollowsAWSHopRules(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	ctx := t.Context()
	ref := func(account, region, name string) event.BusRef {
		return event.BusRef{Account: account, Region: region, Name: name}
	}
	orders := ref(testAccount, testRegion, "orders")
	open := ref("444455556666", testRegion, "open")
	limited := ref("444455556666", testRegion, "limited")
	for _, r := range []event.BusRef{orders, open, limited} {
		if err := x.CreateBus(ctx, r, BusChange{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.PutPermission(ctx, open, Permission{StatementID: "a", Action: ActionPutEvents, Principal: testAccount}); err != nil {
		t.Fatal(err)
	}
	byKeys := strings.NewReplacer("ARN", limited.ARN()).Replace(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},
		"Action":"events:PutEvents","Resource":"ARN","Condition":{"StringEquals":{"events:source":"my.app","events:eventBusInvocation":"true"}}}]}`)
	if err := x.PutPolicy(ctx, limited, byKeys); err != nil {
		t.Fatal(err)
	}
	from := &Subscription{
		Bus: defaultRef, RuleName: "r", RuleARN: ruleARN(defaultRef, "r"),
		Target: Target{Kind: KindBus, RoleARN: "arn:aws:iam::" + testAccount + ":role/r"},
	}
	for _, c := range []struct {
		name                    string
		to                      event.BusRef
		source                  string
		accountHops, regionHops uint8
		code                    string
		dropped, newID          bool
	}{
		{name: "same account, same region", to: orders},
		{name: "a second hop within the region", to: orders, accountHops: 1, code: CodeThirdAccountHop},
		{name: "a hop within the region after one between regions", to: orders, regionHops: 1},
		{name: "another region", to: ref(testAccount, "us-east-1", "default"), newID: true},
		{name: "another region after a hop within the first", to: ref(testAccount, "us-east-1", "default"), accountHops: 1, newID: true},
		{name: "a third region", to: ref(testAccount, "us-east-1", "default"), regionHops: 1, code: CodeThirdRegionHop},
		{name: "another account that allows it", to: open},
		{name: "another account that does not", to: ref("444455556666", testRegion, "default"), code: CodeNoPermissions},
		{name: "another account whose policy allows the source", to: limited, source: "my.app"},
		{name: "another account whose policy allows another source", to: limited, source: "other", code: CodeNoPermissions},
		{name: "an own bus that does not exist", to: ref(testAccount, testRegion, "missing"), dropped: true},
		{name: "another account's bus that does not exist", to: ref("444455556666", testRegion, "missing"), code: CodeNoPermissions},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := record(defaultRef, orElse(c.source, "my.app"))
			rec.AccountHops, rec.RegionHops, rec.Trace = c.accountHops, c.regionHops, "trace"
			rec.ReplayRules = []string{"arn"}
			err := x.Forward(ctx, rec, from, c.to)
			records := x.log.take()
			if refused, ok := errors.AsType[*ForwardError](err); ok {
				if refused.Code != c.code || len(records) != 0 {
					t.Error(refused, len(records))
				}
				return
			}
			if err != nil || c.code != "" {
				t.Fatal(err)
			}
			if c.dropped {
				if len(records) != 0 {
					t.Error("the event was put")
				}
				return
			}
			got := records[0]
			before, _ := event.Parse(rec.JSON)
			after, err := event.Parse(got.JSON)
			if err != nil {
				t.Fatal(err)
			}
			if got.Bus != c.to || got.ID != after.ID || got.Trace != "trace" || len(got.ReplayRules) != 0 || !got.Accepted.Equal(testNow) {
				t.Errorf("%+v", got)
			}
			if int(got.AccountHops)+int(got.RegionHops) != int(c.accountHops)+int(c.regionHops)+1 {
				t.Errorf("hops %d and %d", got.AccountHops, got.RegionHops)
			}
			if (after.ID != before.ID) != c.newID || after.Account != before.Account || after.Region != before.Region {
				t.Errorf("%+v from %+v", after, before)
			}
			if !c.newID && string(got.JSON) != string(rec.JSON) {
				t.Error("the envelope has changed")
			}
			if c.newID {
				if err := x.Forward(ctx, rec, from, c.to); err != nil || x.log.take()[0].ID != got.ID {
					t.Error("another attempt got another id")
				}
			}
		})
	}
	x.log.err = eventlog.ErrFull
	var refused *ForwardError
	if err := x.Forward(ctx, record(defaultRef, "a"), from, orders); err == nil || errors.As(err, &refused) {
		t.Errorf("with a full log: %v, want an error that can be tried again", err)
	}
	bad := record(defaultRef, "a")
	bad.JSON = []byte(`{"version":"0"}`)
	if err := x.Forward(ctx, bad, from, orders); !errors.As(err, &refused) || refused.Code != CodeInvalidEvent {
		t.Error(err)
	}
}
