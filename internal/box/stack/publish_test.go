package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestStatusesAreEventsOnTheDefaultBus(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		id := p.begin("shop", things("A Name: one, Value: a"), func(in *createInput) { in.ClientRequestToken = new("token-1") })
		p.drive(id)
		rows, err := db.Query(t.Context(), `SELECT record FROM outbox ORDER BY id`)
		records, err := store.All(rows, err, func(row store.Row) (b []byte, err error) { return b, row.Scan(&b) })
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range records {
			rec, err := event.DecodeRecord(b)
			if err != nil {
				t.Fatal(err)
			}
			ev, err := event.Parse(rec.JSON)
			if err != nil {
				t.Fatal(err)
			}
			if want := (event.BusRef{Account: account, Region: region, Name: "default"}); rec.Bus != want || ev.Source != "aws.cloudformation" || !slices.Equal(ev.Resources, []string{id}) {
				t.Errorf("event %s on %+v", rec.JSON, rec.Bus)
			}
			got = append(got, ev.DetailType+" "+string(ev.Detail))
		}
		resource := func(physical, status, reason string) string {
			return fmt.Sprintf(`CloudFormation Resource Status Change {"stack-id":%q,"logical-resource-id":"A","physical-resource-id":%q,"status-details":{"status":%q,"status-reason":%q},"resource-type":"Test::Unit::Thing","client-request-token":"token-1"}`,
				id, physical, status, reason)
		}
		stack := func(status, reason string) string {
			return fmt.Sprintf(`CloudFormation Stack Status Change {"stack-id":%q,"status-details":{"status":%q,"status-reason":%q},"client-request-token":"token-1"}`, id, status, reason)
		}
		want := []string{
			stack("CREATE_IN_PROGRESS", "User Initiated"), resource("", "CREATE_IN_PROGRESS", ""), resource("one", "CREATE_IN_PROGRESS", "Resource creation Initiated"),
			resource("one", "CREATE_COMPLETE", ""), stack("CREATE_COMPLETE", ""),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// services notes the calls that are made of it.
type services struct {
	mu    sync.Mutex
	calls []string
	fail  error
}

func (s *services) Invoke(_ context.Context, c awsapi.Caller, service, operation string, in any) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	p := in.(*sns.PublishInput)
	s.calls = append(s.calls, service+" "+operation+" "+*p.TopicArn+" "+*p.Subject+" by "+c.InvokedBy+"\n"+*p.Message)
	return &sns.PublishOutput{}, nil
}

func TestTopicsAreToldOfEvents(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	told := &services{}
	o := p.options()
	o.Services = told
	jobs := work.New(p.db, "test", nil)
	p.Stacks = New(p.db, jobs, o)
	topic := "arn:aws:sns:eu-west-1:111122223333:t"
	id := p.begin("shop", things("A Name: one, Value: a"), func(in *createInput) { in.NotificationARNs = []string{topic} })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = jobs.Run(ctx) }) // carries out the operation, too
	defer func() { cancel(); wg.Wait() }()
	for end := time.Now().Add(20 * time.Second); ; {
		told.mu.Lock()
		n := len(told.calls)
		told.mu.Unlock()
		if n == 5 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d calls", n)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
	all := strings.Join(told.calls, "\n")
	for _, want := range []string{
		"sns Publish " + topic + " AWS CloudFormation Notification by cloudformation.amazonaws.com\nStackId='" + id + "'\nTimestamp='",
		"LogicalResourceId='A'\nNamespace='111122223333'\nPhysicalResourceId='one'\n", "ResourceStatus='CREATE_COMPLETE'\nResourceStatusReason=''\nResourceType='Test::Unit::Thing'\nStackName='shop'\n",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	p.is(id, CreateComplete)
}

func TestARunThatWasOvertakenDoesNothingMore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		id := p.begin("shop", things("A Value: a", "B Value: b"))
		st, err := p.found(p.ctx, &id)
		if err != nil {
			t.Fatal(err)
		}
		slow, err := p.takeUp(p.ctx, st.id)
		if err != nil {
			t.Fatal(err)
		}
		p.drive(id)
		if err := slow.goOn(p.ctx); err == nil || !strings.Contains(err.Error(), errSuperseded.Error()) {
			t.Errorf("the overtaken run ended with %v", err)
		}
		p.is(id, CreateComplete)
		p.exist("a", "b")
	})
}

func TestAnUpdatePreparedForWhatAStackWasIsPreparedAnew(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Value: a"))
	p.drive(id)
	st, err := p.found(p.ctx, &id)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := p.prepare(p.ctx, awsapi.CallerFrom(p.ctx), "shop", st, change{template: things("A Value: b")})
	if err != nil {
		t.Fatal(err)
	}
	p.change("shop", things("A Value: c"))
	p.drive(id)
	if err := p.update(p.ctx, st, stale, request{}); err != errChanged {
		t.Errorf("got %v", err)
	}
	p.exist("c")
}

func TestOldStacksAndEventsAreForgotten(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		p := newProcess(t, db, newCloud())
		old := p.begin("old", things("A Value: a"))
		p.drive(old)
		p.drop("old")
		p.drive(old)
		kept := p.begin("kept", things("A Value: a"))
		p.drive(kept)
		*p.now = p.now.Add(keepDeleted + time.Hour)
		for i := range maxRemembered + 20 {
			p.change("kept", things(fmt.Sprint("A Value: v", i)))
			p.drive(kept)
		}
		if err := p.sweep(p.ctx); err != nil {
			t.Fatal(err)
		}
		_, err := p.DescribeStacks(p.ctx, &cloudformation.DescribeStacksInput{StackName: &old})
		refusedAs(t, err, "ValidationError", "does not exist")
		for table, want := range map[string]int{"stack": 1, "stack_resource": 1, "stack_operation": maxRemembered + 1} {
			var n int
			if err := db.QueryRow(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil || n > want || n == 0 {
				t.Errorf("%d rows of %s, %v", n, table, err)
			}
		}
		if got := p.told(kept); slices.Contains(got, "kept CREATE_COMPLETE") || len(got) == 0 {
			t.Errorf("told %v", got)
		}
		var previous int
		if err := db.QueryRow(t.Context(), `SELECT count(*) FROM stack_operation WHERE previous IS NOT NULL`).Scan(&previous); err != nil || previous != 0 {
			t.Errorf("%d operations that ended keep what was before: %v", previous, err)
		}
		// Of many events the newest are kept.
		if err := p.inChunks(p.ctx, func(tx *store.Tx) (int64, error) {
			st, err := p.found(p.ctx, &kept)
			if err != nil {
				return 0, err
			}
			return deleteMoreEvents(p.ctx, tx, st.id, 10, 3)
		}); err != nil {
			t.Fatal(err)
		}
		if got := p.told(kept); len(got) != 10 || got[9] != "kept UPDATE_COMPLETE" {
			t.Errorf("told %v", got)
		}
	})
}

func TestPropertiesOfEventsAreJSON(t *testing.T) {
	p := newProcess(t, storetest.SQLite(t), newCloud())
	id := p.begin("shop", things("A Value: a"))
	p.drive(id)
	out, err := p.DescribeStackEvents(p.ctx, &cloudformation.DescribeStackEventsInput{StackName: &id})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range out.StackEvents {
		if e.ResourceProperties != nil && !json.Valid([]byte(*e.ResourceProperties)) {
			t.Errorf("properties %q", *e.ResourceProperties)
		}
	}
}
