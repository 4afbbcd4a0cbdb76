package resource

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// shop is a handler whose resources are in memory and which does as it is told.
type shop struct {
	mu      sync.Mutex
	made    map[string]Model
	tokens  map[string]string // the resource that an operation made
	calls   []Request
	fail    []error // of the next calls that change something
	block   bool    // until ctx ends
	entered chan struct{}
}

const shopType = "Acme::Shop::Item"

func newShop(t testing.TB) (*shop, Type) {
	s := &shop{made: map[string]Model{}, tokens: map[string]string{}, entered: make(chan struct{}, 100)}
	return s, Type{Name: shopType, Schema: parse(t, schemaOf(shopType)), Handler: s}
}

func (s *shop) enter(ctx context.Context, r Request) error {
	s.mu.Lock()
	s.calls = append(s.calls, r)
	var err error
	if len(s.fail) > 0 {
		err, s.fail = s.fail[0], s.fail[1:]
	}
	block := s.block
	s.mu.Unlock()
	s.entered <- struct{}{}
	if block {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *shop) set(block bool, fail ...error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block, s.fail = block, fail
}

func (s *shop) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = nil
}

func (s *shop) seen() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Create makes the item, also when it then fails.
func (s *shop) Create(ctx context.Context, r Request) (Model, error) {
	name := r.Desired["Name"].(string)
	s.mu.Lock()
	_, there := s.made[name]
	mine := s.tokens[r.Token] == name
	if there && !(r.Again && mine) {
		s.mu.Unlock()
		return nil, Errorf(AlreadyExists, "%s is there", name)
	}
	m := Without(r.Desired, nil)
	m["Arn"] = "arn:" + name
	s.made[name], s.tokens[r.Token] = m, name
	s.mu.Unlock()
	return m, s.enter(ctx, r)
}

func (s *shop) Read(_ context.Context, r Request) (Model, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.made[r.Identifier]
	if !ok {
		return nil, Errorf(NotFound, "no item %s", r.Identifier)
	}
	return m, nil
}

func (s *shop) Update(ctx context.Context, r Request) (Model, error) {
	if err := s.enter(ctx, r); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := Without(r.Desired, nil)
	m["Arn"] = "arn:" + r.Identifier
	s.made[r.Identifier] = m
	return m, nil
}

func (s *shop) Delete(ctx context.Context, r Request) error {
	if err := s.enter(ctx, r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.made[r.Identifier]; !ok {
		return Errorf(NotFound, "no item %s", r.Identifier)
	}
	delete(s.made, r.Identifier)
	return nil
}

func (s *shop) List(context.Context, Request) ([]Model, string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var models []Model
	for _, m := range s.made {
		models = append(models, m)
	}
	return models, "", nil
}

// shopOnBoth runs the test with a shop on both databases.
func shopOnBoth(t *testing.T, test func(t *testing.T, f *fixture, s *shop)) {
	t.Helper()
	s, typ := newShop(t)
	onBoth(t, func(t *testing.T, f *fixture) {
		s.mu.Lock()
		s.made, s.tokens, s.calls, s.fail, s.block = map[string]Model{}, map[string]string{}, nil, nil, false
		s.entered = make(chan struct{}, 100)
		s.mu.Unlock()
		test(t, f, s)
	}, typ)
}

func (f *fixture) cc() CloudControl { return f.CloudControl() }

func (f *fixture) create(typeName, desired string) *cloudcontrol.ProgressEvent {
	f.t.Helper()
	out, err := f.cc().CreateResource(f.ctx, &cloudcontrol.CreateResourceInput{TypeName: &typeName, DesiredState: &desired})
	if err != nil {
		f.t.Fatalf("create %s %s: %v", typeName, desired, err)
	}
	return out.ProgressEvent
}

func (f *fixture) patch(identifier, document string) (*cloudcontrol.ProgressEvent, error) {
	out, err := f.cc().UpdateResource(f.ctx, &cloudcontrol.UpdateResourceInput{TypeName: new(shopType), Identifier: &identifier, PatchDocument: &document})
	if err != nil {
		return nil, err
	}
	return out.ProgressEvent, nil
}

func (f *fixture) remove(identifier string) *cloudcontrol.ProgressEvent {
	f.t.Helper()
	out, err := f.cc().DeleteResource(f.ctx, &cloudcontrol.DeleteResourceInput{TypeName: new(shopType), Identifier: &identifier})
	if err != nil {
		f.t.Fatalf("delete %s: %v", identifier, err)
	}
	return out.ProgressEvent
}

func (f *fixture) status(token *string) *cloudcontrol.ProgressEvent {
	f.t.Helper()
	out, err := f.cc().GetResourceRequestStatus(f.ctx, &cloudcontrol.GetResourceRequestStatusInput{RequestToken: token})
	if err != nil {
		f.t.Fatal(err)
	}
	return out.ProgressEvent
}

// await returns the request once its status is one of those given.
func (f *fixture) await(token *string, statuses ...string) *cloudcontrol.ProgressEvent {
	f.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for {
		e := f.status(token)
		if slices.Contains(statuses, *e.OperationStatus) {
			return e
		}
		select {
		case <-tick.C:
		case <-late:
			f.t.Fatalf("the request is %s, not one of %v: %s", *e.OperationStatus, statuses, text(e.StatusMessage))
		}
	}
}

// wait returns the request once it has ended.
func (f *fixture) wait(e *cloudcontrol.ProgressEvent) *cloudcontrol.ProgressEvent {
	f.t.Helper()
	return f.await(e.RequestToken, "SUCCESS", "FAILED", "CANCEL_COMPLETE")
}

// enteredBy waits until the handler was called.
func (s *shop) enteredBy(t testing.TB) {
	t.Helper()
	select {
	case <-s.entered:
	case <-time.After(patience):
		t.Fatal("the handler was not called")
	}
}

func TestARequestIsCarriedOutAndTold(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		s.set(true)
		waiting := f.create(shopType, `{"Name":"waits","Secret":"geheim99"}`)
		s.enteredBy(t)
		f.wantSealed("geheim99")
		f.cancelled(waiting.RequestToken)
		s.set(false)
		s.forget()
		begun := f.create(shopType, `{"Name":"书","Secret":"geheim99","Size":3}`)
		if *begun.OperationStatus != "PENDING" || *begun.Operation != "CREATE" || *begun.Identifier != "书" || *begun.TypeName != shopType || begun.EventTime == nil || begun.ResourceModel != nil {
			t.Errorf("begun: %+v", begun)
		}
		e := f.wait(begun)
		if *e.OperationStatus != "SUCCESS" || *e.Identifier != "书" || text(e.ResourceModel) != `{"Arn":"arn:书","Name":"书","Size":3}` || e.ErrorCode != nil {
			t.Errorf("ended: %s %s %s", *e.OperationStatus, text(e.ResourceModel), text(e.StatusMessage))
		}
		r := s.seen()[0]
		if r.Caller.InvokedBy != "cloudcontrolapi.amazonaws.com" || r.Caller.Account != account || r.Caller.SourceIP != "192.0.2.7" || r.Token != *e.RequestToken || r.Again || r.Desired["Secret"] != "geheim99" {
			t.Errorf("the handler got %+v", r)
		}

		begun, err := f.patch("书", `[{"op":"replace","path":"/Size","value":4},{"op":"add","path":"/Secret","value":"neu"},{"op":"test","path":"/Name","value":"书"}]`)
		if err != nil {
			t.Fatal(err)
		}
		if e = f.wait(begun); text(e.ResourceModel) != `{"Arn":"arn:书","Name":"书","Size":4}` {
			t.Errorf("updated: %+v", e)
		}
		r = s.seen()[1]
		wantModel(t, "desired", r.Desired, `{"Name":"书","Secret":"neu","Size":4}`)
		wantModel(t, "previous", r.Previous, `{"Name":"书","Size":3}`)

		got, err := f.cc().GetResource(f.ctx, &cloudcontrol.GetResourceInput{TypeName: new(shopType), Identifier: new("书")})
		if err != nil || *got.ResourceDescription.Properties != `{"Arn":"arn:书","Name":"书","Size":4}` || *got.ResourceDescription.Identifier != "书" {
			t.Errorf("read %+v, %v", got, err)
		}
		if e = f.wait(f.remove("书")); *e.OperationStatus != "SUCCESS" || e.ResourceModel != nil {
			t.Errorf("deleted: %+v", e)
		}
		e = f.wait(f.remove("书"))
		if *e.OperationStatus != "FAILED" || text(e.ErrorCode) != "NotFound" || text(e.StatusMessage) != "no item 书" {
			t.Errorf("deleted twice: %s %s %s", *e.OperationStatus, text(e.ErrorCode), text(e.StatusMessage))
		}
		f.wantSealed("geheim99", "neu")
	})
}

// wantSealed checks that no request's row holds a text.
func (f *fixture) wantSealed(secrets ...string) {
	f.t.Helper()
	rows, err := f.db.Query(f.ctx, `SELECT input, model, ended, input IS NULL FROM resource_request`)
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var input []byte
		var told string
		var ended, gone bool
		err := row.Scan(&input, &told, &ended, &gone)
		for _, secret := range secrets {
			if strings.Contains(string(input)+told, secret) {
				f.t.Errorf("a row holds %s: %s %s", secret, input, told)
			}
		}
		if ended != gone {
			f.t.Errorf("ended %v, its input gone %v", ended, gone)
		}
		return struct{}{}, err
	})
	if err != nil {
		f.t.Error(err)
	}
}

func TestAClientTokenStandsForOneRequest(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		create := func(token, desired string) (*cloudcontrol.ProgressEvent, error) {
			out, err := f.cc().CreateResource(f.ctx, &cloudcontrol.CreateResourceInput{TypeName: new(shopType), DesiredState: &desired, ClientToken: &token})
			if err != nil {
				return nil, err
			}
			return out.ProgressEvent, nil
		}
		first, err := create("one", `{"Name":"a","Size":1}`)
		if err != nil {
			t.Fatal(err)
		}
		f.wait(first)
		again, err := create("one", `{ "Size": 1, "Name": "a" }`)
		if err != nil || *again.RequestToken != *first.RequestToken || *again.OperationStatus != "SUCCESS" {
			t.Errorf("repeated: %+v, %v", again, err)
		}
		if _, err := create("one", `{"Name":"b"}`); !awsapi.HasCode(err, cloudcontrol.CodeClientTokenConflictException) {
			t.Errorf("for something else: %v", err)
		}
		// An update whose patch no longer applies is still the one that was made.
		update := func(document string) (*cloudcontrol.UpdateResourceOutput, error) {
			return f.cc().UpdateResource(f.ctx, &cloudcontrol.UpdateResourceInput{TypeName: new(shopType), Identifier: new("a"), PatchDocument: &document, ClientToken: new("two")})
		}
		once, err := update(`[{"op":"remove","path":"/Size"}]`)
		if err != nil {
			t.Fatal(err)
		}
		f.wait(once.ProgressEvent)
		twice, err := update(`[{"op":"remove","path":"/Size"}]`)
		if err != nil || *twice.ProgressEvent.RequestToken != *once.ProgressEvent.RequestToken {
			t.Errorf("a repeated update: %+v, %v", twice, err)
		}
		if _, err := update(`[{"op":"add","path":"/Size","value":1}]`); !awsapi.HasCode(err, cloudcontrol.CodeClientTokenConflictException) {
			t.Errorf("another update: %v", err)
		}
		if n := len(s.seen()); n != 2 {
			t.Errorf("the handler was called %d times", n)
		}
		f.ahead.Add(int64(37 * time.Hour))
		if late, err := create("one", `{"Name":"c"}`); err != nil || *late.RequestToken == *first.RequestToken {
			t.Errorf("37 hours later: %+v, %v", late, err)
		}
	})
}

func TestTwoRequestsForOneResourceDoNotRunTogether(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		f.wait(f.create(shopType, `{"Name":"a"}`))
		s.set(true)
		first := f.remove("a")
		<-s.entered
		s.enteredBy(t)
		if _, err := f.patch("a", `[{"op":"add","path":"/Size","value":1}]`); !awsapi.HasCode(err, cloudcontrol.CodeConcurrentOperationException) {
			t.Errorf("an update beside a delete: %v", err)
		}
		_, err := f.cc().DeleteResource(f.ctx, &cloudcontrol.DeleteResourceInput{TypeName: new(shopType), Identifier: new("a")})
		if !awsapi.HasCode(err, cloudcontrol.CodeConcurrentOperationException) {
			t.Errorf("two deletes: %v", err)
		}
		f.cancelled(first.RequestToken)
		s.set(false)
		if e := f.wait(f.remove("a")); *e.OperationStatus != "SUCCESS" {
			t.Errorf("after the cancel: %+v", e)
		}
	})
}

func (f *fixture) cancelled(token *string) *cloudcontrol.ProgressEvent {
	f.t.Helper()
	out, err := f.cc().CancelResourceRequest(f.ctx, &cloudcontrol.CancelResourceRequestInput{RequestToken: token})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.wait(out.ProgressEvent)
}

// Of many that want one name at once, one gets it.
func TestOneOfManyConcurrentCreatesSucceeds(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		var done sync.WaitGroup
		var made atomic.Int64
		for i := range 12 {
			done.Go(func() {
				r := request("")
				r.Desired, r.Token = Model{"ClusterName": "main"}, fmt.Sprint(i)
				_, err := f.Create(f.ctx, "AWS::ECS::Cluster", r)
				switch {
				case err == nil:
					made.Add(1)
				case CodeOf(err) != AlreadyExists:
					t.Error(err)
				}
			})
		}
		done.Wait()
		if made.Load() != 1 || len(f.published()) != 1 {
			t.Errorf("%d were made, events %v", made.Load(), f.published())
		}
	})
}

func TestACancelledRequestEnds(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		s.set(true)
		begun := f.create(shopType, `{"Name":"a"}`)
		s.enteredBy(t)
		if e := f.status(begun.RequestToken); *e.OperationStatus != "IN_PROGRESS" {
			t.Errorf("it is %s", *e.OperationStatus)
		}
		if e := f.cancelled(begun.RequestToken); *e.OperationStatus != "CANCEL_COMPLETE" || e.ErrorCode != nil {
			t.Errorf("cancelled: %+v", e)
		}
		_, err := f.cc().CancelResourceRequest(f.ctx, &cloudcontrol.CancelResourceRequestInput{RequestToken: begun.RequestToken})
		if !awsapi.HasCode(err, "ValidationException") || !strings.Contains(err.Error(), "its status is CANCEL_COMPLETE") {
			t.Errorf("cancelled twice: %v", err)
		}
		// One that has not begun never does.
		f.stop()
		waiting := f.create(shopType, `{"Name":"b"}`)
		if e := f.cancelled(waiting.RequestToken); *e.OperationStatus != "CANCEL_COMPLETE" {
			t.Errorf("cancelled before it began: %+v", e)
		}
		s.set(false)
		calls := len(s.seen())
		f.start()
		f.wait(f.create(shopType, `{"Name":"c"}`))
		if n := len(s.seen()); n != calls+1 {
			t.Errorf("the handler was called %d times", n-calls)
		}
	})
}

// A process that dies leaves requests that the next one goes on with.
func TestARequestGoesOnAfterTheProcessDied(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		s.set(true)
		create := f.create(shopType, `{"Name":"a"}`)
		s.enteredBy(t)
		cancelled := f.create(shopType, `{"Name":"b"}`)
		s.enteredBy(t)
		f.stop() // the handler has made both, and could not say so
		for _, token := range []*string{create.RequestToken, cancelled.RequestToken} {
			if e := f.status(token); *e.OperationStatus != "IN_PROGRESS" {
				t.Fatalf("it is %s", *e.OperationStatus)
			}
		}
		if _, err := f.cc().CancelResourceRequest(f.ctx, &cloudcontrol.CancelResourceRequestInput{RequestToken: cancelled.RequestToken}); err != nil {
			t.Fatal(err)
		}
		s.set(false)
		f.start()
		if e := f.wait(create); *e.OperationStatus != "SUCCESS" || text(e.ResourceModel) != `{"Arn":"arn:a","Name":"a"}` {
			t.Errorf("it ended %+v", e)
		}
		if e := f.wait(cancelled); *e.OperationStatus != "CANCEL_COMPLETE" {
			t.Errorf("the other ended %+v", e)
		}
		calls := s.seen()
		if last := calls[len(calls)-1]; len(calls) != 3 || !last.Again || last.Token != *create.RequestToken {
			t.Errorf("%d calls, the last %+v", len(calls), last)
		}
	})
}

func TestTransientFailuresAreTriedAgain(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		s.set(false, errors.New("the database is away"), Errorf(Throttling, "slow down"), errors.New("x"))
		begun := f.create(shopType, `{"Name":"a"}`)
		if e := f.wait(begun); *e.OperationStatus != "SUCCESS" || e.RetryAfter != nil {
			t.Errorf("it ended %+v", e)
		}
		if calls := s.seen(); len(calls) != 4 || calls[0].Again || !calls[3].Again {
			t.Errorf("%d calls", len(calls))
		}
	})
}

func TestFinalFailuresAreTold(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		for _, c := range []struct {
			err           error
			code, message string
		}{
			{Errorf(ServiceLimitExceeded, "no more\x00 items"), "ServiceLimitExceeded", "no more items"},
			{awsapi.Errorf("ResourceNotFoundException", "Rule r does not exist."), "NotFound", "Rule r does not exist."},
			{awsapi.Errorf("AccessDeniedException", "no"), "AccessDenied", "no"},
			{awsapi.ValidationException("bad"), "InvalidRequest", "bad"},
			{fmt.Errorf("deeper: %w", Errorf(NotStabilized, "still moving")), "NotStabilized", "still moving"},
			{Errorf(InvalidRequest, "%s", strings.Repeat("文", 2000)), "InvalidRequest", strings.Repeat("文", 341) + "…"},
		} {
			s.set(false, c.err)
			e := f.wait(f.create(shopType, `{"Name":"`+c.code+fmt.Sprint(len(c.message))+`"}`))
			if *e.OperationStatus != "FAILED" || text(e.ErrorCode) != c.code || text(e.StatusMessage) != c.message {
				t.Errorf("%v: %s %s %s", c.err, *e.OperationStatus, text(e.ErrorCode), text(e.StatusMessage))
			}
		}
	})
}

// What goes wrong for longer than an operation may take fails it, and what hangs is ended.
func TestAnOperationTakesBoundedTime(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		f.stop()
		f.opt.OperationTime = 300 * time.Millisecond
		f.start()
		s.set(true)
		e := f.wait(f.create(shopType, `{"Name":"hangs"}`))
		if *e.OperationStatus != "FAILED" || text(e.ErrorCode) != "NotStabilized" {
			t.Errorf("what hangs: %s %s %s", *e.OperationStatus, text(e.ErrorCode), text(e.StatusMessage))
		}
		s.set(false, slices.Repeat([]error{errors.New("secret detail")}, 50)...)
		e = f.wait(f.create(shopType, `{"Name":"fails"}`))
		if *e.OperationStatus != "FAILED" || strings.Contains(text(e.StatusMessage), "secret") || text(e.ErrorCode) == "" {
			t.Errorf("what fails: %s %s %s", *e.OperationStatus, text(e.ErrorCode), text(e.StatusMessage))
		}
	})
}

func TestRequestsAreListedFilteredAndForgotten(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		for _, name := range []string{"a", "b", "c"} {
			f.wait(f.create(shopType, `{"Name":"`+name+`"}`))
		}
		f.wait(f.remove("a"))
		f.wait(f.remove("a")) // fails
		list := func(in *cloudcontrol.ListResourceRequestsInput) (lines []string, next *string) {
			t.Helper()
			out, err := f.cc().ListResourceRequests(f.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range out.ResourceRequestStatusSummaries {
				lines = append(lines, *e.Operation+" "+*e.Identifier+" "+*e.OperationStatus)
			}
			return lines, out.NextToken
		}
		want := []string{"DELETE a FAILED", "DELETE a SUCCESS", "CREATE c SUCCESS", "CREATE b SUCCESS", "CREATE a SUCCESS"}
		var all []string
		in := &cloudcontrol.ListResourceRequestsInput{MaxResults: new(int32(2))}
		for {
			lines, next := list(in)
			all = append(all, lines...)
			if next == nil {
				break
			}
			in.NextToken = next
		}
		if !slices.Equal(all, want) {
			t.Errorf("listed %q", all)
		}
		for _, c := range []struct {
			operations, statuses []string
			want                 int
		}{
			{[]string{"DELETE"}, nil, 2}, {nil, []string{"FAILED", "FAILED"}, 1}, {[]string{"CREATE", "UPDATE"}, []string{"SUCCESS"}, 3}, {[]string{"UPDATE"}, nil, 0},
		} {
			lines, _ := list(&cloudcontrol.ListResourceRequestsInput{ResourceRequestStatusFilter: &cloudcontrol.ResourceRequestStatusFilter{
				Operations: c.operations, OperationStatuses: c.statuses,
			}})
			if len(lines) != c.want {
				t.Errorf("%v %v: %q", c.operations, c.statuses, lines)
			}
		}
		f.ahead.Add(int64(6 * 24 * time.Hour))
		if err := f.sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if lines, _ := list(&cloudcontrol.ListResourceRequestsInput{}); len(lines) != 5 {
			t.Errorf("after six days: %q", lines)
		}
		f.ahead.Add(int64(2 * 24 * time.Hour))
		if err := f.sweep(f.ctx); err != nil {
			t.Fatal(err)
		}
		if lines, _ := list(&cloudcontrol.ListResourceRequestsInput{}); len(lines) != 0 {
			t.Errorf("after eight days: %q", lines)
		}
	})
}

// Another node can be asked to cancel what runs here.
func TestACancelReachesTheNodeThatRuns(t *testing.T) {
	shopOnBoth(t, func(t *testing.T, f *fixture, s *shop) {
		s.set(true)
		begun := f.create(shopType, `{"Name":"a"}`)
		s.enteredBy(t)
		elsewhere := New(f.db, work.New(f.db, "elsewhere", f.opt.Logger), f.opt)
		out, err := elsewhere.CloudControl().CancelResourceRequest(f.ctx, &cloudcontrol.CancelResourceRequestInput{RequestToken: begun.RequestToken})
		if err != nil || *out.ProgressEvent.OperationStatus != "CANCEL_IN_PROGRESS" {
			t.Fatalf("%+v, %v", out, err)
		}
		if e := f.wait(begun); *e.OperationStatus != "CANCEL_COMPLETE" {
			t.Errorf("it ended %s", *e.OperationStatus)
		}
	})
}
