package function

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

// patience bounds how long a test waits for what is to happen.
const patience = 20 * time.Second

// impatient has what functions failed be tried again at once.
func impatient(o *Options) { o.RetryWaits = []time.Duration{time.Millisecond, 2 * time.Millisecond} }

// start runs the jobs until stop is called or the test ends.
func (f *fixture) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.t.Context()))
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.jobs.Run(ctx) })
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	f.t.Cleanup(stop)
	return stop
}

// until waits for what another goroutine brings about.
func (f *fixture) until(what string, cond func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !cond(); {
		if time.Now().After(end) {
			f.t.Fatalf("%s: it did not come to that", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func queueRef(name string) queue.Ref { return queue.Ref{Account: account, Region: region, Name: name} }

func (f *fixture) queue(name string, attributes map[string]string) (arn string) {
	f.t.Helper()
	if err := f.queues.Create(f.t.Context(), queueRef(name), attributes, nil); err != nil {
		f.t.Fatal(err)
	}
	return queueRef(name).ARN()
}

// next takes the next message of a queue.
func (f *fixture) next(name string) queue.Received {
	f.t.Helper()
	var got []queue.Received
	f.until("a message in "+name, func() bool {
		var err error
		if got, err = f.queues.Receive(f.t.Context(), queueRef(name), queue.ReceiveRequest{Max: 1, Wait: new(time.Second)}); err != nil {
			f.t.Fatal(err)
		}
		return len(got) > 0
	})
	return got[0]
}

func (f *fixture) invokeLater(name, payload string) {
	f.t.Helper()
	out := must[*lambda.InvokeOutput](f, "Invoke", &lambda.InvokeInput{FunctionName: &name, InvocationType: new("Event"), Payload: []byte(payload)})
	if *out.StatusCode != 202 {
		f.t.Fatalf("Invoke answered %d", *out.StatusCode)
	}
}

// waits are the asynchronous invocations that wait for any function.
func (f *fixture) waits() []*waitingInvocation {
	f.t.Helper()
	rows, err := f.db.Query(f.t.Context(), `SELECT id, function_id, request_id, qualifier, size, trace, errors, tries, failure, accepted_at, due_at FROM function_invocation ORDER BY id`)
	list, err := store.All(rows, err, scanInvocation)
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

// failing is a function's answer that says it failed.
func failing(message string) (runtime.Result, error) {
	return runtime.Result{FunctionError: "Unhandled", Payload: []byte(fmt.Sprintf(`{"errorMessage":%q,"errorType":"Error"}`, message))}, nil
}

func TestAnAsynchronousInvocationIsRunOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		got := make(chan runtime.Invocation, 10)
		f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
			got <- in
			return runtime.Result{Payload: []byte("null")}, nil
		})
		f.start()
		f.invokeLater("ship:$LATEST", `{"订单":"🛒"}`)
		in := <-got
		if string(in.Payload) != `{"订单":"🛒"}` || in.FunctionARN != "arn:aws:lambda:eu-west-1:111122223333:function:ship:$LATEST" || len(in.RequestID) != 36 {
			t.Errorf("the function got %+v", in)
		}
		f.until("nothing waits", func() bool { return len(f.waits()) == 0 })
		if s := f.Stats(); s.Accepted != 1 || s.Invoked != 1 || s.Failed != 0 || len(got) != 0 {
			t.Errorf("the counts are %+v, and %d more runs", s, len(got))
		}
	})
}

// AWS: a failed run is retried after one minute, and after two more; by then the event is given up.
func TestWhatAFunctionFailsIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.queue("dead", nil)
		f.newFunction("ship", func(in *lambda.CreateFunctionInput) {
			in.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: new(queueRef("dead").ARN())}
		})
		f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
			return failing("没有库存 💥 " + strings.Repeat("x", 2000))
		})
		f.invokeLater("ship", `{"n":1}`)
		id := f.waits()[0].requestID
		for i, wait := range []time.Duration{time.Minute, 2 * time.Minute} {
			before := f.now()
			stop := f.start()
			f.until("a failed run", func() bool { return f.waits()[0].errors == i+1 })
			if w := f.waits()[0]; w.dueAt < before+wait.Milliseconds() || w.dueAt > f.now()+wait.Milliseconds() || w.requestID != id {
				t.Errorf("after %d runs it waits until %d, %v after", i+1, w.dueAt, time.Duration(w.dueAt-before)*time.Millisecond)
			}
			stop()
			f.ahead.Add(int64(wait))
			f.again()
		}
		f.start()
		m := f.next("dead")
		a := m.Attributes
		if m.Body != `{"n":1}` || a["RequestID"].Text != id || a["ErrorCode"].Text != "200" || a["ErrorCode"].Type != "Number" ||
			!strings.HasPrefix(a["ErrorMessage"].Text, "没有库存 💥 xx") || len(a["ErrorMessage"].Text) > 1024 {
			t.Errorf("the dead letter is %q with %+v", m.Body, a)
		}
		f.until("nothing waits", func() bool { return len(f.waits()) == 0 })
		if s := f.Stats(); s.Failed != 1 || s.DeadLettered != 1 || s.Dropped != 0 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// again makes the functions anew, as after a restart, with jobs that are due at once.
func (f *fixture) again() {
	f.t.Helper()
	f.jobs = work.New(f.db, "node", nil)
	o := f.o
	o.Jobs = f.jobs
	f.Functions = New(f.db, o)
	err := f.db.Update(f.t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(f.t.Context(), `UPDATE job SET run_at = 0 WHERE holder IS NULL`)
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestThrottledInvocationsAreTriedForSixHours(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err     error
		code    string
		message string
	}{
		"throttled": {&runtime.Throttled{Reason: "ConcurrentInvocationLimitExceeded", Limit: 1}, "429", "Rate Exceeded."},
		"our fault": {errors.New("the disk is full"), "500", "the disk is full"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSQLite(t, impatient)
			f.queue("dead", nil)
			f.newFunction("ship", func(in *lambda.CreateFunctionInput) {
				in.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: new(queueRef("dead").ARN())}
			})
			var tries atomic.Int32
			f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
				tries.Add(1)
				return runtime.Result{}, tt.err
			})
			f.invokeLater("ship", `{}`)
			stop := f.start()
			f.until("a try", func() bool { return f.waits()[0].tries == 1 })
			w := f.waits()[0]
			if d := time.Duration(w.dueAt-f.now()) * time.Millisecond; d > time.Second || w.errors != 0 {
				t.Errorf("it waits %v with %d errors", d, w.errors)
			}
			stop()
			f.ahead.Add(int64(6*time.Hour - 2*time.Second))
			f.again()
			f.start()
			a := f.next("dead").Attributes
			if a["ErrorCode"].Text != tt.code || a["ErrorMessage"].Text != tt.message || tries.Load() < 2 {
				t.Errorf("the dead letter has %+v after %d tries", a, tries.Load())
			}
		})
	}
}

func TestWithoutADeadLetterQueueAFailedInvocationIsDroppedAndCounted(t *testing.T) {
	f := newSQLite(t, impatient)
	f.newFunction("ship")
	f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
		return failing("no")
	})
	f.start()
	f.invokeLater("ship", `{}`)
	f.until("it is dropped", func() bool { return len(f.waits()) == 0 })
	if s := f.Stats(); s.Invoked != 3 || s.Failed != 1 || s.Dropped != 1 || s.DeadLettered != 0 {
		t.Errorf("the counts are %+v", s)
	}
}

func TestADeadLetterCanBeATopicsMessage(t *testing.T) {
	f := newSQLite(t, impatient)
	queueARN := f.queue("letters", nil)
	ctx := awsapi.WithCaller(t.Context(), admin(account))
	topic, err := f.topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: new("dead")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: new("sqs"), Endpoint: &queueARN, Attributes: map[string]string{"RawMessageDelivery": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	f.newFunction("ship", func(in *lambda.CreateFunctionInput) {
		in.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: topic.TopicArn}
	})
	f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
		return failing("no")
	})
	f.start()
	f.invokeLater("ship", `{"n":"🛒"}`)
	if m := f.next("letters"); m.Body != `{"n":"🛒"}` || m.Attributes["ErrorMessage"].Text != "no" || m.Attributes["ErrorCode"].Text != "200" {
		t.Errorf("the topic sent %q with %+v", m.Body, m.Attributes)
	}
}

// AWS: what a dead-letter queue refuses is dropped.
func TestADeadLetterQueueThatIsGoneDropsTheEvent(t *testing.T) {
	f := newSQLite(t, impatient)
	f.newFunction("ship", func(in *lambda.CreateFunctionInput) {
		in.DeadLetterConfig = &lambda.DeadLetterConfig{TargetArn: new(queueRef("missing").ARN())}
	})
	f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
		return failing("no")
	})
	f.start()
	f.invokeLater("ship", `{}`)
	f.until("it is dropped", func() bool { return len(f.waits()) == 0 })
	if s := f.Stats(); s.Failed != 1 || s.Dropped != 1 {
		t.Errorf("the counts are %+v", s)
	}
}

func TestADeletedFunctionsInvocationsEnd(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		var ran atomic.Int32
		f.runs.set(func(_ context.Context, fn runtime.Function, in runtime.Invocation) (runtime.Result, error) {
			ran.Add(1)
			return runtime.Result{Payload: []byte("null")}, nil
		})
		for range 3 * dropChunk {
			f.invokeLater("ship", `{}`)
		}
		must[*lambda.DeleteFunctionOutput](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("ship")})
		f.newFunction("ship") // another, to which they do not belong
		f.start()
		f.until("nothing waits", func() bool { return len(f.waits()) == 0 })
		if ran.Load() != 0 {
			t.Errorf("%d invocations of the deleted function ran", ran.Load())
		}
	})
}

// A function that hangs holds up its own invocations and nobody else's.
func TestASlowFunctionHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("slow")
	f.newFunction("quick")
	release := make(chan struct{})
	defer close(release)
	var most, now, quick atomic.Int32
	f.runs.set(func(ctx context.Context, fn runtime.Function, _ runtime.Invocation) (runtime.Result, error) {
		if fn.Name == "quick" {
			quick.Add(1)
			return runtime.Result{}, nil
		}
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		return runtime.Result{}, ctx.Err()
	})
	f.start()
	for range 3 * maxInvoking {
		f.invokeLater("slow", `{}`)
	}
	f.until("the slow ones run", func() bool { return now.Load() == maxInvoking })
	for range 20 {
		f.invokeLater("quick", `{}`)
	}
	f.until("the quick ones have run", func() bool { return quick.Load() == 20 })
	if most.Load() != maxInvoking {
		t.Errorf("%d invocations of one function ran at once, want %d", most.Load(), maxInvoking)
	}
}

// Those that a stop cuts off, and those that were waiting, run after it.
func TestInvocationsSurviveAStop(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		begun := make(chan struct{}, 100)
		f.runs.set(func(ctx context.Context, _ runtime.Function, _ runtime.Invocation) (runtime.Result, error) {
			begun <- struct{}{}
			return runtime.Result{}, runtime.ErrStopped
		})
		stop := f.start()
		for range 15 {
			f.invokeLater("ship", `{}`)
		}
		<-begun
		stop()
		if n := len(f.waits()); n != 15 {
			t.Fatalf("%d invocations wait, want 15", n)
		}
		f.runs.set(nil)
		f.again()
		f.start()
		f.until("all have run", func() bool { return len(f.waits()) == 0 })
		if s := f.Stats(); s.Invoked != 15 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

func TestServicesInvokeByTheFunctionsPolicy(t *testing.T) {
	f := newSQLite(t)
	arn := f.newFunction("ship")
	rule := "arn:aws:events:eu-west-1:111122223333:rule/orders"
	ctx := auth.WithSource(awsapi.WithCaller(t.Context(), awsapi.Caller{Account: account, Region: region, RequestID: "not a uuid", TraceHeader: "Root=1-2-3"}),
		auth.Source{Service: "events.amazonaws.com", ARN: rule, Account: account})
	for name, tt := range map[string]struct{ arn, code string }{
		"no permission": {arn, "AccessDeniedException"},
		"missing":       {strings.Replace(arn, "ship", "gone", 1), lambda.CodeResourceNotFoundException},
		"an alias":      {arn + ":live", lambda.CodeResourceNotFoundException},
		"no function":   {"arn:aws:sqs:eu-west-1:111122223333:ship", lambda.CodeResourceNotFoundException},
	} {
		if err := f.Invoker().Invoke(ctx, tt.arn, []byte("{}")); !awsapi.HasCode(err, tt.code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must[*lambda.AddPermissionOutput](f, "AddPermission", &lambda.AddPermissionInput{
		FunctionName: new("ship"), StatementId: new("rule"), Action: new(actionInvoke), Principal: new("events.amazonaws.com"), SourceArn: &rule,
	})
	if err := f.Invoker().Invoke(ctx, arn, []byte(`{"id":1}`)); err != nil {
		t.Fatal(err)
	}
	if w := f.waits(); len(w) != 1 || w[0].trace != "Root=1-2-3" || len(w[0].requestID) != 36 {
		t.Errorf("what waits is %+v", w)
	}
	other := auth.WithSource(ctx, auth.Source{Service: "events.amazonaws.com", ARN: rule + "2", Account: account})
	if err := f.Invoker().Invoke(other, arn, []byte("{}")); !awsapi.HasCode(err, "AccessDeniedException") {
		t.Errorf("another rule: %v", err)
	}
	f.off.Store(true)
	if err := f.Invoker().Invoke(ctx, arn, []byte("{}")); !awsapi.HasCode(err, "ServiceException") || !strings.Contains(err.Error(), "--functions") {
		t.Errorf("switched off, which is tried again after: %v", err)
	}
}

func TestAsynchronousInvocationsAreBounded(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("ship")
	in := &lambda.InvokeInput{FunctionName: new("ship"), InvocationType: new("Event"), Payload: []byte(`"` + strings.Repeat("x", maxAsyncPayload-1) + `"`)}
	if _, err := call[*lambda.InvokeOutput](f, "Invoke", in); !awsapi.HasCode(err, lambda.CodeRequestTooLargeException) {
		t.Errorf("a payload of %d bytes: %v", len(in.Payload), err)
	}
	in.Payload = []byte(`"` + strings.Repeat("x", maxAsyncPayload-2) + `"`)
	if _, err := call[*lambda.InvokeOutput](f, "Invoke", in); err != nil {
		t.Errorf("a payload of %d bytes: %v", len(in.Payload), err)
	}
	fn, err := f.find(t.Context(), Ref{account, region, "ship"})
	if err != nil {
		t.Fatal(err)
	}
	f.waiting.byID[fn.id] = waitingCount{full: true, at: time.Now()}
	if _, err := call[*lambda.InvokeOutput](f, "Invoke", in); !awsapi.HasCode(err, lambda.CodeTooManyRequestsException) {
		t.Errorf("with too many waiting: %v", err)
	}
}

// Of several nodes one runs a function's invocations at a time, each of them once; another takes over.
func TestNodesShareInvocations(t *testing.T) {
	t.Parallel()
	db := storetest.Postgres(t)
	f := newFixture(t, db)
	f.newFunction("ship")
	f.newFunction("count")
	var mu sync.Mutex
	ran := map[string]int{}
	f.runs.set(func(_ context.Context, fn runtime.Function, in runtime.Invocation) (runtime.Result, error) {
		mu.Lock()
		defer mu.Unlock()
		ran[fn.Name+string(in.Payload)]++
		return runtime.Result{}, nil
	})
	stop := f.start()
	newFixture(t, db, func(o *Options) { o.Runtime = f.runs }).start()
	for i := range 30 {
		f.invokeLater("ship", fmt.Sprint(i))
		f.invokeLater("count", fmt.Sprint(i))
		if i == 15 {
			stop()
		}
	}
	f.until("nothing waits", func() bool { return len(f.waits()) == 0 })
	mu.Lock()
	defer mu.Unlock()
	for what, n := range ran {
		if n != 1 {
			t.Errorf("%s ran %d times", what, n)
		}
	}
	if len(ran) != 60 {
		t.Errorf("%d ran, want 60", len(ran))
	}
}
