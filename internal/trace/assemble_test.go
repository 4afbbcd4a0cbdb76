package trace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/target"
)

// world is what a trace is put together from, beside the recorder.
type world struct {
	records map[uint64]*event.Record // the first entry of each batch
	floor   uint64
	waits   map[int64]delivery.Wait // by subscription
	gone    map[int64]bool          // subscriptions
	answers []Found                 // of other nodes
	small   int                     // the most that an answer may hold
}

func (w *world) Get(_ context.Context, seq uint64) (*eventlog.Batch, error) {
	rec := w.records[seq]
	if rec == nil {
		return nil, fmt.Errorf("%w: %d", eventlog.ErrTrimmed, seq)
	}
	return &eventlog.Batch{Seq: seq, Entries: [][]byte{rec.Append(nil)}}, nil
}

func (w *world) Backlog(context.Context) (eventlog.Backlog, error) {
	return eventlog.Backlog{AckFloor: w.floor, Waiting: 3}, nil
}

func (w *world) Ask(_ context.Context, _ string, question []byte, take func([]byte) bool) error {
	var q struct{ ID string }
	if err := json.Unmarshal(question, &q); err != nil {
		return err
	}
	take([]byte("not an answer"))
	for _, f := range w.answers {
		f.Entries = slices.DeleteFunc(slices.Clone(f.Entries), func(e Entry) bool { return e.ID != q.ID })
		b, err := json.Marshal(f)
		if err != nil || take(b) {
			return err
		}
	}
	return nil
}

func (w *world) Answer(string, func([]byte) []byte) (func(), error) {
	return nil, errors.New("not asked")
}
func (w *world) MaxAnswerBytes() int { return w.small }

func (w *world) Explain(context.Context, *event.Record, map[string]bool, int) (bus.Explanation, error) {
	return bus.Explanation{More: 1}, nil
}

func (w *world) Subscription(_ context.Context, id int64) (*bus.Subscription, error) {
	if w.gone[id] {
		return nil, bus.ErrNoSubscription
	}
	return subscription(id, "r"), nil
}

func (w *world) Waits(_ context.Context, id int64, _ uint64, _ int) (delivery.Wait, error) {
	return w.waits[id], nil
}

var reader = auth.Principal{KeyID: "k", Account: testBus.Account, Role: auth.Reader}

func traces(t *testing.T, w *world) (*Traces, *Recorder) {
	t.Helper()
	r, _ := open(t, t.TempDir(), MinBytes)
	return New(Options{Recorder: r, Log: w, Rules: w, Deliveries: w, Node: "node-1", Logger: slog.New(slog.DiscardHandler), Now: time.Now}), r
}

func ask(t *testing.T, x *Traces, id string) *Trace {
	t.Helper()
	trace, err := x.Trace(context.Background(), reader, id)
	if err != nil {
		t.Fatal(err)
	}
	return trace
}

func step(kind delivery.StepKind, sub int64, failure *target.Failure) delivery.Step {
	return delivery.Step{Kind: kind, Sequence: 5, Record: record("e"), Subscription: subscription(sub, fmt.Sprint("r", sub)), Attempt: 1, Failure: failure, To: "to"}
}

func TestDeliveriesEndAsTheirStepsSay(t *testing.T) {
	failed := &target.Failure{Code: "TIMEOUT"}
	const attempt, kept, dropped, cancelled, redriven = delivery.StepAttempt, delivery.StepKept, delivery.StepDropped, delivery.StepCancelled, delivery.StepRedriven
	type told struct {
		kind   delivery.StepKind
		failed bool
	}
	for name, c := range map[string]struct {
		steps []told
		wait  delivery.Wait
		gone  bool
		floor uint64
		want  DeliveryStatus
		whole Status
	}{
		"delivered":                            {steps: []told{{attempt, false}}, want: DeliveryDelivered, whole: Delivered},
		"delivered after a failure":            {steps: []told{{attempt, true}, {attempt, false}}, want: DeliveryDelivered, whole: Delivered},
		"delivered once and repeated in vain":  {steps: []told{{attempt, false}, {attempt, true}, {dropped, true}}, want: DeliveryDelivered, whole: Delivered},
		"kept":                                 {steps: []told{{attempt, true}, {kept, true}}, want: DeliveryDeadLettered, whole: Failed},
		"sent to its queue":                    {steps: []told{{attempt, true}, {delivery.StepDeadLettered, true}}, want: DeliveryDeadLettered, whole: Failed},
		"dropped":                              {steps: []told{{attempt, true}, {dropped, true}}, want: DeliveryDropped, whole: Failed},
		"cancelled":                            {steps: []told{{cancelled, false}}, want: DeliveryCancelled, whole: Failed},
		"redriven and delivered":               {steps: []told{{kept, true}, {redriven, false}, {attempt, false}}, want: DeliveryDelivered, whole: Delivered},
		"redriven and waiting":                 {steps: []told{{kept, true}, {redriven, false}}, wait: delivery.Wait{Parked: true, Due: start}, want: DeliveryWaiting, whole: Waiting},
		"parked":                               {steps: []told{{attempt, true}}, wait: delivery.Wait{Parked: true, Due: start}, floor: 9, want: DeliveryWaiting, whole: Waiting},
		"attempted as a job":                   {steps: []told{{attempt, true}}, wait: delivery.Wait{Parked: true, Running: true}, floor: 9, want: DeliveryUnderWay, whole: Waiting},
		"left in the log":                      {wait: delivery.Wait{InLog: true, ReaderAt: 3}, floor: 9, want: DeliveryWaiting, whole: Waiting},
		"in its lane":                          {floor: 4, want: DeliveryUnderWay, whole: Waiting},
		"nowhere, and its rule is gone":        {steps: []told{{attempt, true}}, gone: true, floor: 9, want: DeliveryCancelled, whole: Failed},
		"nowhere, since its end was lost":      {steps: []told{{attempt, true}}, floor: 9, want: DeliveryUnknown, whole: Failed},
		"its dead-letter queue takes nothing":  {steps: []told{{attempt, true}, {delivery.StepDeadLetterFailed, true}}, wait: delivery.Wait{Parked: true}, want: DeliveryWaiting, whole: Waiting},
		"cancelled while it was being settled": {steps: []told{{attempt, false}, {cancelled, false}}, want: DeliveryDelivered, whole: Delivered},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{floor: c.floor, waits: map[int64]delivery.Wait{1: c.wait}, gone: map[int64]bool{1: c.gone}}
			x, r := traces(t, w)
			r.Routed(5, 0, record("e"), []*bus.Subscription{subscription(1, "r1")})
			for _, s := range c.steps {
				var f *target.Failure
				if s.failed {
					f = failed
				}
				r.Step(step(s.kind, 1, f))
			}
			got := ask(t, x, "e")
			if len(got.Events) != 1 || len(got.Events[0].Deliveries) != 1 {
				t.Fatalf("%+v", got)
			}
			d := got.Events[0].Deliveries[0]
			if d.Status != c.want || got.Status != c.whole || len(d.Steps) != len(c.steps) {
				t.Errorf("the delivery is %s, the trace %s, want %s and %s", d.Status, got.Status, c.want, c.whole)
			}
			if c.wait.InLog && (!d.InLog || d.Behind != 2) || !d.Due.Equal(c.wait.Due) && d.Status == DeliveryWaiting {
				t.Errorf("it waits as %+v", d)
			}
		})
	}
}

func TestATraceTellsWhatIsLeftOnceTheLogIsTrimmed(t *testing.T) {
	w := &world{records: map[uint64]*event.Record{}, floor: 9}
	x, r := traces(t, w)
	r.Routed(5, 0, record("e"), []*bus.Subscription{subscription(1, "r1")})
	r.Step(step(delivery.StepAttempt, 1, nil))
	got := ask(t, x, "e").Events[0]
	if got.JSON != nil || got.Accepted != record("e").Accepted || got.Origin.Name != "AKIA1" || got.Bus != testBus || got.MoreRules != 0 {
		t.Errorf("trimmed: %+v", got)
	}
	w.records[5] = record("e")
	if got = ask(t, x, "e").Events[0]; string(got.JSON) != "{}" || got.MoreRules != 1 {
		t.Errorf("kept: %+v", got)
	}
	w.records[5] = record("of another log")
	if got = ask(t, x, "e").Events[0]; got.JSON != nil {
		t.Errorf("in another log's place: %+v", got)
	}
}

func TestATraceWithoutTheRoutingStillTellsTheSteps(t *testing.T) {
	x, r := traces(t, &world{floor: 9})
	r.Step(step(delivery.StepAttempt, 1, nil))
	got := ask(t, x, "e")
	if got.Status != Delivered || got.Events[0].Bus != testBus || !got.Events[0].Accepted.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestATraceSaysWhatIsMissing(t *testing.T) {
	w := &world{floor: 9, small: 1 << 20}
	x, r := traces(t, w)
	r.Routed(5, 0, record("e"), []*bus.Subscription{subscription(1, "r1")})
	r.Step(step(delivery.StepAttempt, 1, nil))
	x.DB, x.Cluster = storetest.SQLite(t), true
	x.nodes = nodeStore{x.DB}
	ctx := context.Background()
	for _, node := range []string{"node-1", "node-2", "node-3", "node-4"} {
		if err := x.nodes.register(ctx, node); err != nil {
			t.Fatal(err)
		}
	}
	later := Entry{At: start.Add(time.Second), Node: "node-2", Sequence: 5, ID: "e", Bus: testBus, Step: delivery.StepCancelled, Subscription: Subscription{ID: 2, RuleName: "r2"}}
	foreign := Entry{At: start, Node: "node-2", Sequence: 6, ID: "e", Bus: event.BusRef{Account: "999999999999"}}
	w.answers = []Found{
		{Node: "node-2", Entries: []Entry{later, foreign}, Since: start.Add(time.Hour), Gaps: []Gap{
			{Node: "node-2", From: start.Add(-time.Hour), To: start.Add(-time.Minute)}, // before the event
			{Node: "node-2", From: start, To: start.Add(time.Hour), Entries: 7},
			{Node: "node-2", From: start, To: start.Add(time.Hour)},
		}},
		{Node: "node-3", Off: true, More: 2},
	}
	got := ask(t, x, "e")
	if len(got.Events) != 1 || len(got.Events[0].Deliveries) != 2 || got.Status != Failed {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{
		"Node node-4 did not answer", "Node node-3 records nothing", "buses of other accounts", "more than is shown",
		"Node node-2 keeps what it recorded since 2026-03-04T06:06:07.000Z", "Node node-2 lost 7 entries", "Node node-2 ended without warning",
	} {
		if n := strings.Count(strings.Join(got.Notes, "\n"), want); n != 1 {
			t.Errorf("%d notes with %q: %q", n, want, got.Notes)
		}
	}
	if len(got.Notes) != 7 {
		t.Errorf("%d notes: %q", len(got.Notes), got.Notes)
	}
	_, err := x.Trace(ctx, reader, "missing")
	if !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "node-4 did not answer") || !strings.Contains(err.Error(), "3 batches of events that are not routed") {
		t.Errorf("an event that is not there: %v", err)
	}
}

func TestWhoSeesWhat(t *testing.T) {
	x, r := traces(t, &world{floor: 9})
	r.Routed(5, 0, record("e"), nil)
	for name, c := range map[string]struct {
		p    auth.Principal
		sees bool
	}{
		"its reader":              {reader, true},
		"another account":         {auth.Principal{Account: "999999999999", Role: auth.Admin}, false},
		"the home account":        {auth.Principal{Account: auth.HomeAccount, Role: auth.Admin}, true},
		"the home account's rest": {auth.Principal{Account: auth.HomeAccount, Role: auth.Operator}, false},
	} {
		_, err := x.Trace(context.Background(), c.p, "e")
		if c.sees && err != nil || !c.sees && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", strings.Repeat("x", maxID+1)} {
		if _, err := x.Trace(context.Background(), reader, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("an id of %d bytes: %v", len(id), err)
		}
	}
}

func TestAnEventIsFollowedSoFarAndNoFurther(t *testing.T) {
	x, r := traces(t, &world{floor: 9})
	for i := range 40 { // each a replay of the one before
		rec := record(fmt.Sprint("e", i))
		if i > 0 {
			rec.Origin = fmt.Sprintf("replay arn:aws:events:eu-west-1:111122223333:replay/r e%d", i-1)
		}
		r.Routed(uint64(i+1), 0, rec, nil)
	}
	got := ask(t, x, "e20")
	if len(got.Events) != maxIDs || len(got.Notes) != 1 {
		t.Errorf("%d events, notes %q", len(got.Events), got.Notes)
	}
	many, r := traces(t, &world{floor: 9})
	for i := range 200 {
		r.Routed(uint64(i+1), 0, record("same"), nil)
	}
	if got = ask(t, many, "same"); len(got.Events) != maxEvents || len(got.Notes) != 1 {
		t.Errorf("%d events, notes %q", len(got.Events), got.Notes)
	}
}

func TestAnAnswerFitsItsMessage(t *testing.T) {
	w := &world{small: 20_000}
	x, r := traces(t, w)
	for i := range 500 {
		r.Step(step(delivery.StepAttempt, int64(i), &target.Failure{Code: "X", Message: strings.Repeat("词", 50)}))
	}
	answer := x.answer(context.Background(), []byte(`{"id":"e"}`))
	var f Found
	if err := json.Unmarshal(answer, &f); err != nil || len(answer) > w.small || len(f.Entries) == 0 || len(f.Entries)+f.More != 500 {
		t.Errorf("%d bytes, %d entries and %d more: %v", len(answer), len(f.Entries), f.More, err)
	}
	for _, question := range []string{"", "[]", `{"id":"` + strings.Repeat("x", maxID+1) + `"}`} {
		if answer := x.answer(context.Background(), []byte(question)); answer != nil {
			t.Errorf("%q was answered with %s", question, answer)
		}
	}
}
