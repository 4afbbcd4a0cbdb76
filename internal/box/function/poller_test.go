package function

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// send puts messages into a queue, of a FIFO one as GROUP/BODY.
func (f *fixture) send(name string, bodies ...string) {
	f.t.Helper()
	have, err := f.queues.Find(f.t.Context(), queueRef(name))
	if err != nil {
		f.t.Fatal(err)
	}
	for some := range slices.Chunk(bodies, 10) {
		var drafts []queue.Draft
		for _, body := range some {
			d := queue.Draft{Body: body}
			if have.FIFO {
				group, _, _ := strings.Cut(body, "/")
				d.GroupID, d.DedupID = group, strings.ReplaceAll(body, "/", "-")
			}
			drafts = append(drafts, d)
		}
		_, errs, err := f.queues.SendBatch(f.t.Context(), have, account, drafts)
		if err != nil {
			f.t.Fatal(err)
		}
		for _, err := range errs {
			if err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

// counts are the messages of a queue: those that may be received, and those in flight.
func (f *fixture) held(name string) (visible, inFlight int) {
	f.t.Helper()
	err := f.db.QueryRow(f.t.Context(), `SELECT COALESCE(SUM(CASE WHEN visible_at <= $1 THEN 1 ELSE 0 END), 0), COALESCE(SUM(CASE WHEN visible_at > $1 THEN 1 ELSE 0 END), 0)
		FROM queue_message m JOIN queue q ON q.contents_id = m.contents_id WHERE q.name = $2`, f.now(), name).Scan(&visible, &inFlight)
	if err != nil {
		f.t.Fatal(err)
	}
	return visible, inFlight
}

func (f *fixture) empties(name string) {
	f.t.Helper()
	f.until(name+" is empty", func() bool {
		visible, inFlight := f.held(name)
		return visible+inFlight == 0
	})
}

// batches note the batches that a function gets.
type batches struct {
	mu  sync.Mutex
	all [][]record
}

// note decodes a batch.
func (b *batches) note(in runtime.Invocation) []record {
	var event struct{ Records []record }
	if err := json.Unmarshal(in.Payload, &event); err != nil {
		panic(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, event.Records)
	return event.Records
}

func (b *batches) bodies() (all [][]string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, batch := range b.all {
		var list []string
		for _, r := range batch {
			list = append(list, r.Body)
		}
		all = append(all, list)
	}
	return all
}

func (b *batches) messages() []string { return slices.Concat(b.bodies()...) }

// takes has the function take all that it gets.
func (f *fixture) takes() *batches {
	b := &batches{}
	f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
		b.note(in)
		return runtime.Result{Payload: []byte("null")}, nil
	})
	return b
}

func numbers(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("消息 %03d", i))
	}
	return list
}

func TestAFunctionGetsEachMessageOfItsQueue(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		f.queue("orders", nil)
		got := f.takes()
		sent := numbers(95)
		f.send("orders", sent...)
		id := f.newMapping()
		f.start()
		f.empties("orders")
		messages := got.messages()
		slices.Sort(messages)
		if !slices.Equal(messages, sent) {
			t.Errorf("the function got %q", messages)
		}
		f.result(id, resultOK)
		if s := f.Stats(); s.Received != 95 || s.FailedBatches != 0 || s.Batches < 10 {
			t.Errorf("the counts are %+v", s)
		}
		r := got.all[0][0]
		if r.EventSource != "aws:sqs" || r.EventSourceARN != queueRef("orders").ARN() || r.AWSRegion != region || r.Attributes["ApproximateReceiveCount"] != "1" ||
			r.Attributes["SenderId"] != account || r.Attributes["SentTimestamp"] == "" || r.MessageAttributes == nil || len(r.MD5OfBody) != 32 || r.ReceiptHandle == "" {
			t.Errorf("a record is %+v", r)
		}
	})
}

func TestABatchIsFilledWithinItsWindow(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	got := f.takes()
	f.send("orders", numbers(25)...)
	f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {
		in.BatchSize, in.MaximumBatchingWindowInSeconds = new(int32(20)), new(int32(1))
	})
	began := time.Now()
	f.start()
	f.empties("orders")
	if all := got.bodies(); len(all) != 2 || len(all[1]) != 5 {
		t.Errorf("the batches are %q", all)
	}
	if d := time.Since(began); d < time.Second {
		t.Errorf("a batch that was not full waited for %v", d)
	}
}

// AWS: an event has 6 MB at most.
func TestABatchIsSplitByItsSize(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	got := &batches{}
	f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
		if len(in.Payload) > runtime.MaxPayload {
			t.Errorf("an event has %d bytes", len(in.Payload))
		}
		got.note(in)
		return runtime.Result{}, nil
	})
	for i := range 9 {
		f.send("orders", fmt.Sprint(i)+strings.Repeat("x", 1000<<10))
	}
	f.newMapping()
	f.start()
	f.empties("orders")
	if all := got.bodies(); len(all) != 2 || len(all[0]) != 6 || len(all[1]) != 3 {
		t.Errorf("%d batches", len(all))
	}
}

// AWS: what no filter wants is deleted.
func TestMessagesThatNoFilterWantsAreDeleted(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	got := f.takes()
	f.send("orders", `{"城市":"北京"}`, `{"城市":"上海"}`, "北京", `{"n":5}`)
	f.newMapping(filters(`{"body":{"城市":["北京"]}}`, `{"body":{"n":[{"numeric":[">",4]}]}}`))
	f.start()
	f.empties("orders")
	if all := got.messages(); !slices.Equal(all, []string{`{"城市":"北京"}`, `{"n":5}`}) {
		t.Errorf("the function got %q", all)
	}
	if s := f.Stats(); s.Received != 4 || s.Filtered != 2 || s.Batches != 1 {
		t.Errorf("the counts are %+v", s)
	}
}

// A batch that fails comes back as a whole once its visibility timeout is over, as often as the queue's redrive policy says.
func TestAFailedBatchIsLeftToTheQueue(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship", func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(1)) })
		dead := f.queue("dead", nil)
		f.queue("orders", map[string]string{"VisibilityTimeout": "1", "RedrivePolicy": `{"deadLetterTargetArn":"` + dead + `","maxReceiveCount":"2"}`})
		got := &batches{}
		f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
			got.note(in)
			return failing("no")
		})
		f.send("orders", "a", "b")
		id := f.newMapping()
		f.start()
		f.result(id, "PROBLEM: Function call failed")
		if m := f.next("dead"); m.ReceiveCount != 3 && m.Body != "a" && m.Body != "b" {
			t.Errorf("the dead letter is %+v", m)
		}
		f.next("dead")
		if all := got.bodies(); len(all) != 2 || len(all[0]) != 2 || len(all[1]) != 2 {
			t.Errorf("the batches are %q", all)
		}
		if s := f.Stats(); s.Batches != 2 || s.FailedBatches != 2 {
			t.Errorf("the counts are %+v", s)
		}
	})
}

// AWS's conditions of success and failure.
func TestAnAnswerNamesTheMessagesThatFailed(t *testing.T) {
	t.Parallel()
	batch := []*record{{MessageID: "a"}, {MessageID: "b"}, {MessageID: "c"}}
	for answer, want := range map[string]string{
		``: "", `null`: "", `{}`: "", `{"batchItemFailures":[]}`: "", `{"batchItemFailures":null}`: "", `{"batchitemfailures":[{"itemIdentifier":"a"}]}`: "",
		`{"batchItemFailures":[{"itemIdentifier":"b"}]}`:                                      "b",
		` {"x":1,"batchItemFailures":[{"itemIdentifier":"c","y":2},{"itemIdentifier":"a"}]} `: "ac",
		`{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b"}]}`:               "b",
		`{"batchItemFailures":[{"itemIdentifier":""}]}`:                                       "abc",
		`{"batchItemFailures":[{"itemIdentifier":null}]}`:                                     "abc",
		`{"batchItemFailures":[{"itemId":"a"}]}`:                                              "abc",
		`{"batchItemFailures":[{"itemidentifier":"a"}]}`:                                      "abc",
		`{"batchItemFailures":[{}]}`:                                                          "abc",
		`{"batchItemFailures":[null]}`:                                                        "abc",
		`{"batchItemFailures":["a"]}`:                                                         "abc",
		`{"batchItemFailures":[{"itemIdentifier":"消息"}]}`:                                     "abc",
		`{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"z"}]}`:               "abc",
		`{"batchItemFailures":{"itemIdentifier":"a"}}`:                                        "abc",
		`{"batchItemFailures":"a"}`:                                                           "abc",
		`"fine"`:                                                                              "abc",
		`[]`:                                                                                  "abc",
		`{"batchItemFailures":[`:                                                              "abc",
		`fine`:                                                                                "abc",
		`{"batchItemFailures":[{"itemIdentifier":1}]}`:                                        "abc",
	} {
		got := ""
		for _, r := range failedRecords([]byte(answer), batch) {
			got += r.MessageID
		}
		if got != want {
			t.Errorf("%s has failed %q, want %q", answer, got, want)
		}
	}
}

func TestOnlyTheMessagesThatFailedComeAgain(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship", func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(1)) })
	f.queue("orders", map[string]string{"VisibilityTimeout": "1"})
	got := &batches{}
	f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
		var answer lambdaResponse
		for _, r := range got.note(in) {
			if r.Attributes["ApproximateReceiveCount"] == "1" && r.Body != "fine" {
				answer.Failures = append(answer.Failures, failedItem{r.MessageID})
			}
		}
		text, err := json.Marshal(answer)
		return runtime.Result{Payload: text}, err
	})
	f.send("orders", "fine", "no", "not yet", "fine")
	f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {
		in.FunctionResponseTypes = []string{"ReportBatchItemFailures"}
	})
	f.start()
	f.empties("orders")
	all := got.bodies()
	if len(all) != 2 || len(all[0]) != 4 || len(all[1]) != 2 || slices.Contains(all[1], "fine") {
		t.Errorf("the batches are %q", all)
	}
}

type failedItem struct {
	ID string `json:"itemIdentifier"`
}

type lambdaResponse struct {
	Failures []failedItem `json:"batchItemFailures"`
}

// In a FIFO queue the messages of a group that come after one that failed wait for it; other groups do not.
func TestAGroupWaitsForItsFailedMessage(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship", func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(1)) })
		f.queue("orders.fifo", map[string]string{"FifoQueue": "true", "VisibilityTimeout": "1"})
		var mu sync.Mutex
		var done []string
		f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			var failures lambdaResponse
			stopped := map[string]bool{}
			for _, r := range (&batches{}).note(in) {
				group := r.group()
				if stopped[group] || r.Body == "a/1" && r.Attributes["ApproximateReceiveCount"] == "1" {
					stopped[group] = true
					failures.Failures = append(failures.Failures, failedItem{r.MessageID})
					continue
				}
				done = append(done, r.Body)
			}
			text, err := json.Marshal(failures)
			return runtime.Result{Payload: text}, err
		})
		var sent []string
		for i := range 12 {
			sent = append(sent, fmt.Sprintf("a/%d", i), fmt.Sprintf("b/%d", i))
		}
		f.send("orders.fifo", sent...)
		f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {
			in.EventSourceArn, in.FunctionResponseTypes = new(queueRef("orders.fifo").ARN()), []string{"ReportBatchItemFailures"}
		})
		f.start()
		f.empties("orders.fifo")
		mu.Lock()
		defer mu.Unlock()
		for _, group := range []string{"a", "b"} {
			var order []string
			for _, body := range done {
				if strings.HasPrefix(body, group) {
					order = append(order, body)
				}
			}
			if len(order) != 12 || !slices.IsSortedFunc(order, func(x, y string) int { return len(x)*100 + strings.Compare(x, y) - len(y)*100 }) {
				t.Errorf("group %s was done as %q", group, order)
			}
		}
	})
}

// What of a FIFO batch does not fit into one event waits if what comes before it in its group fails.
func TestTheRestOfASplitGroupDoesNotOvertake(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship", func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(1)) })
	f.queue("orders.fifo", map[string]string{"FifoQueue": "true", "VisibilityTimeout": "1"})
	got := &batches{}
	var failed atomic.Bool
	f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
		got.note(in)
		if !failed.Swap(true) {
			return failing("not yet")
		}
		return runtime.Result{}, nil
	})
	have, err := f.queues.Find(t.Context(), queueRef("orders.fifo"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		draft := queue.Draft{Body: fmt.Sprint(i) + strings.Repeat("x", 1000<<10), GroupID: "a", DedupID: fmt.Sprint(i)}
		if _, err := f.queues.Send(t.Context(), have, account, draft); err != nil {
			t.Fatal(err)
		}
	}
	f.newMapping(func(in *lambda.CreateEventSourceMappingInput) { in.EventSourceArn = new(queueRef("orders.fifo").ARN()) })
	f.start()
	f.empties("orders.fifo")
	order := ""
	for _, body := range got.messages() {
		order += body[:1]
	}
	if order != "012345"+"012345678" {
		t.Errorf("the function got %s", order)
	}
}

// A batch that the function cannot be called with is kept from others and does not use up its receives.
func TestABatchThatWaitsForItsFunctionKeepsItsReceives(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"throttled":       {&runtime.Throttled{}, "PROBLEM: Function call was throttled"},
		"no room on disk": {errors.New("unpack code: no space left on device"), "PROBLEM: Function call failed: unpack code: no space left"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newSQLite(t)
			f.newFunction("ship", func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(1)) })
			f.queue("orders", map[string]string{"VisibilityTimeout": "1"})
			got := &batches{}
			until := time.Now().Add(leastHidden + time.Second) // longer than messages are hidden at once
			f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
				if time.Now().Before(until) {
					return runtime.Result{}, tt.err
				}
				got.note(in)
				return runtime.Result{}, nil
			})
			f.send("orders", numbers(30)...)
			id := f.newMapping()
			f.start()
			f.result(id, tt.want)
			f.empties("orders")
			for _, batch := range got.all {
				for _, r := range batch {
					if r.Attributes["ApproximateReceiveCount"] != "1" {
						t.Errorf("message %s was received %s times", r.Body, r.Attributes["ApproximateReceiveCount"])
					}
				}
			}
			if n := len(got.messages()); n != 30 {
				t.Errorf("the function got %d messages, want 30", n)
			}
			f.result(id, resultOK)
		})
	}
}

// What cannot be run comes back to the queue at once, and not when its visibility timeout ends.
func TestABatchWhoseFunctionIsDeletedIsGivenBack(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
		return runtime.Result{}, &runtime.Throttled{}
	})
	f.send("orders", "一")
	id := f.newMapping()
	f.start()
	f.result(id, "PROBLEM: Function call was throttled")
	must[*lambda.DeleteFunctionOutput](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("ship")})
	f.result(id, "PROBLEM: Function not found")
	f.until("the message is back", func() bool {
		visible, _ := f.held("orders")
		return visible == 1
	})
}

// watchedQueues tell of each call that waits for messages.
type watchedQueues struct {
	sqs.Service
	polling chan struct{}
}

func (q watchedQueues) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
	if *in.WaitTimeSeconds > 0 {
		q.polling <- struct{}{}
	}
	return q.Service.ReceiveMessage(ctx, in)
}

// A change of the function holds for the messages that come after it, also for those that were waited for before.
func TestABatchGetsTheFunctionAsItIs(t *testing.T) {
	t.Parallel()
	polling := make(chan struct{}, 100)
	f := newSQLite(t, func(o *Options) { o.Queues = watchedQueues{o.Queues, polling} })
	f.newFunction("ship")
	f.queue("orders", nil)
	timeouts := make(chan time.Duration, 1)
	f.runs.set(func(_ context.Context, fn runtime.Function, _ runtime.Invocation) (runtime.Result, error) {
		timeouts <- fn.Timeout
		return runtime.Result{}, nil
	})
	f.newMapping()
	f.start()
	<-polling
	must[*lambda.UpdateFunctionConfigurationOutput](f, "UpdateFunctionConfiguration", &lambda.UpdateFunctionConfigurationInput{FunctionName: new("ship"), Timeout: new(int32(7))})
	f.send("orders", "一")
	if got := <-timeouts; got != 7*time.Second {
		t.Errorf("the function that ran has a timeout of %v", got)
	}
}

func TestAMappingsConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	var now, most atomic.Int32
	f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		<-time.After(5 * time.Millisecond)
		return runtime.Result{}, nil
	})
	f.send("orders", numbers(60)...)
	f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {
		in.BatchSize, in.ScalingConfig = new(int32(1)), &lambda.ScalingConfig{MaximumConcurrency: new(int32(2))}
	})
	f.start()
	f.empties("orders")
	if most.Load() != 2 {
		t.Errorf("%d batches ran at once, want 2", most.Load())
	}
}

// A mapping that is switched off begins no further batch; one that runs is finished, and its messages are deleted.
func TestADisabledMappingStops(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		f.queue("orders", nil)
		begun, release := make(chan struct{}, 100), make(chan struct{})
		f.runs.set(func(context.Context, runtime.Function, runtime.Invocation) (runtime.Result, error) {
			begun <- struct{}{}
			<-release
			return runtime.Result{}, nil
		})
		f.send("orders", "first")
		id := f.newMapping()
		f.start()
		<-begun
		must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(false)})
		if state := *f.mapping(id).State; state != "Disabling" {
			t.Errorf("while its batch runs it is %s", state)
		}
		close(release)
		f.becomes(id, "Disabled")
		f.empties("orders")
		f.send("orders", "second")
		must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, BatchSize: new(int32(3))})
		f.becomes(id, "Disabled")
		if visible, _ := f.held("orders"); visible != 1 || len(begun) != 0 {
			t.Errorf("%d messages are left, and %d more batches ran", visible, len(begun))
		}
		must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(true)})
		f.empties("orders")
	})
}

// A mapping whose queue goes, or whose function is switched off, says so and goes on when it can.
func TestAMappingRecovers(t *testing.T) {
	t.Parallel()
	f := newSQLite(t)
	f.newFunction("ship")
	source := f.queue("orders", nil)
	f.takes()
	id := f.newMapping()
	f.off.Store(true)
	f.start()
	f.result(id, "PROBLEM: Functions are switched off on this server")
	f.off.Store(false)
	f.result(id, "No records processed")
	deny := `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"sqs:ReceiveMessage","Resource":"` + source + `"}]}`
	set := func(name, value string) {
		t.Helper()
		if err := f.queues.SetAttributes(t.Context(), queueRef("orders"), map[string]string{name: value}); err != nil {
			t.Fatal(err)
		}
	}
	set("Policy", deny)
	f.send("orders", "zero") // for the call that waits already
	f.result(id, "PROBLEM: The function execution role does not have permissions to call ReceiveMessage on SQS")
	f.send("orders", "one")
	set("Policy", "")
	f.result(id, "OK")
	if err := f.queues.Delete(t.Context(), queueRef("orders")); err != nil {
		t.Fatal(err)
	}
	f.result(id, "PROBLEM: Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue.")
	f.queue("orders", nil)
	f.send("orders", "two")
	f.result(id, "OK")
}

// Two nodes poll a mapping as one does.
func TestNodesShareMappings(t *testing.T) {
	t.Parallel()
	db := storetest.Postgres(t)
	f := newFixture(t, db)
	f.newFunction("ship")
	f.queue("orders", nil)
	var now, most atomic.Int32
	got := &batches{}
	f.runs.set(func(_ context.Context, _ runtime.Function, in runtime.Invocation) (runtime.Result, error) {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		got.note(in)
		<-time.After(5 * time.Millisecond)
		return runtime.Result{}, nil
	})
	stop := f.start()
	second := newFixture(t, db, func(o *Options) { o.Runtime = f.runs })
	second.start()
	id := f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {
		in.BatchSize, in.ScalingConfig = new(int32(2)), &lambda.ScalingConfig{MaximumConcurrency: new(int32(2))}
	})
	f.send("orders", numbers(40)...)
	f.empties("orders")
	if most.Load() > 2 || len(got.messages()) != 40 {
		t.Errorf("%d batches ran at once, and there were %d messages", most.Load(), len(got.messages()))
	}
	// The other takes over from one that stops; a change made here is seen there.
	stop()
	f.send("orders", "last")
	f.empties("orders")
	must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(false)})
	f.becomes(id, "Disabled")
}
