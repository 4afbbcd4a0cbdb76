package bus

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLimits(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		x := open(t, db, func(o *Options) {
			o.Limits = Limits{Buses: 2, Rules: 2, Targets: 1, PatternLength: 40, Connections: 1, APIDestinations: 1}
		})
		ctx := t.Context()
		pattern := `{"source":["` + strings.Repeat("订", 25) + `"]}` // 40 characters
		basic := ConnectionChange{Type: AuthBasic, Basic: &BasicChange{Username: new("u"), Password: new("p")}}
		var connection Connection
		for _, c := range []struct {
			name string
			put  func(i int) error
			most int
		}{
			{"buses, the default one among them", func(i int) error {
				return x.CreateBus(ctx, event.BusRef{Account: testAccount, Region: testRegion, Name: fmt.Sprint("b", i)}, BusChange{}, nil)
			}, 1},
			{"rules", func(i int) error {
				_, err := x.PutRule(ctx, Rule{Bus: defaultRef, Name: fmt.Sprint("r", i), Pattern: pattern}, nil)
				return err
			}, 2},
			{"characters of a pattern", func(i int) error {
				_, err := x.PutRule(ctx, Rule{Bus: defaultRef, Name: "r1", Pattern: strings.Repeat(" ", i) + pattern}, nil)
				return err
			}, 1},
			{"targets", func(i int) error {
				return x.PutTargets(ctx, defaultRef, "r1", []RuleTarget{toQueue(fmt.Sprint("t", i))})
			}, 1},
			{"connections", func(i int) error {
				c, err := x.CreateConnection(ctx, testCaller, fmt.Sprint("c", i), basic)
				if i == 0 {
					connection = c
				}
				return err
			}, 1},
			{"API destinations", func(i int) error {
				_, err := x.CreateAPIDestination(ctx, testCaller, fmt.Sprint("d", i), APIDestinationChange{
					ConnectionARN: new(connection.ARN()), Endpoint: new("https://example.com/"), Method: new("POST"),
				})
				return err
			}, 1},
		} {
			for i := range c.most + 1 {
				err := c.put(i)
				if i < c.most && err != nil {
					t.Fatalf("%s: %d: %v", c.name, i, err)
				}
				if i == c.most && !awsapi.HasCode(err, "LimitExceededException") {
					t.Errorf("%s: %d: %v", c.name, i, err)
				}
			}
		}
		// A rule that is there can be put again when there are no more to be had.
		if _, err := x.PutRule(ctx, Rule{Bus: defaultRef, Name: "r0", Pattern: pattern}, nil); err != nil {
			t.Error(err)
		}
		if _, ok, err := selectRule(ctx, x.db, defaultRef, "r2"); ok || err != nil {
			t.Error("a refused rule is there", err)
		}
	})
}

func TestTagLimit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		arn := defaultRef.ARN()
		tags := func(from, to int) (list []Tag) {
			for i := from; i < to; i++ {
				list = append(list, Tag{Key: fmt.Sprint(i), Value: "v"})
			}
			return list
		}
		if err := x.TagResource(t.Context(), testCaller, arn, tags(0, 51)); !refused(err) {
			t.Error(err)
		}
		if err := x.TagResource(t.Context(), testCaller, arn, tags(0, 50)); err != nil {
			t.Error(err)
		}
		if err := x.TagResource(t.Context(), testCaller, arn, tags(49, 51)); !refused(err) {
			t.Error(err)
		}
		if got, err := x.Tags(t.Context(), testCaller, arn); err != nil || len(got) != 50 {
			t.Error(len(got), err)
		}
	})
}

func TestPolicyLimit(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	var err error
	for i := 0; err == nil && i < 100; i++ {
		err = x.PutPermission(t.Context(), defaultRef, Permission{StatementID: fmt.Sprint("s", i), Action: ActionPutEvents, Principal: "*"})
	}
	if !awsapi.HasCode(err, "PolicyLengthExceededException") {
		t.Error(err)
	}
	if e, err := x.Bus(t.Context(), defaultRef); err != nil || len(e.Policy) > maxPolicy {
		t.Error(len(e.Policy), err)
	}
}
