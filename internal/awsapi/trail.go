package awsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Trail leaves an "AWS API Call via CloudTrail" event for each call of a service's
// management: on the default bus of the caller's account and region, for calls that change
// something or would have, had they not been refused; for those that only read where
// somebody wants to know of them. Calls that move data, such as messages, leave none. Use
// NewTrail; a nil Trail leaves nothing.
type Trail struct {
	o              TrailOptions
	recorded, lost atomic.Int64
}

// TrailOptions are what a Trail needs.
type TrailOptions struct {
	// DB takes the events: those of changes with the change, in its transaction. Required.
	DB *store.DB
	// Reads, if any, says whether calls that only read are to be recorded for an account and
	// region. It is asked at each of them and must be quick.
	Reads  func(account, region string) bool
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
}

// NewTrail returns a trail.
func NewTrail(o TrailOptions) *Trail {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Trail{o: o}
}

// TrailStats counts what a Trail has done since it was made.
type TrailStats struct {
	Recorded int64 // calls whose events were stored
	// Lost counts the calls whose events could not be stored: refused ones, those that changed
	// nothing and those that only read. An event of a change is stored with it or the
	// change is not made.
	Lost int64
}

// Stats returns the counts.
func (t *Trail) Stats() TrailStats {
	return TrailStats{Recorded: t.recorded.Load(), Lost: t.lost.Load()}
}

// wants reports whether a call is recorded.
func (t *Trail) wants(call *Call) bool {
	switch {
	case t == nil || call.Operation.Data:
		return false
	case call.Operation.changes():
		return true
	}
	return t.o.Reads != nil && t.o.Reads(call.Caller.Account, call.Caller.Region)
}

// changes reports whether the operation changes something.
func (op *Operation) changes() bool {
	return op.Access == Write || op.Access == Administer
}

// recording is what one call leaves. The handler makes one for each call that is recorded and
// puts it into the call's context.
type recording struct {
	trail *Trail
	call  *Call
	// The event's id and CloudTrail's own for it, fixed so that it has them however often
	// a transaction runs.
	id, eventID string
	parameters  []byte // what was asked for, as JSON; nil: null

	mu        sync.Mutex
	out       any  // what the call will answer, from Answers
	committed bool // the event is stored
	ended     bool // the call is answered: what still runs is not part of it
}

// begin starts to record a call.
func (t *Trail) begin(call *Call) *recording {
	r := &recording{trail: t, call: call, id: event.NewID(), eventID: event.NewID()}
	r.parameters = requestParameters(call)
	return r
}

// record makes a call and sees to it that it leaves its event.
func (t *Trail) record(ctx context.Context, call *Call, next func(context.Context) (any, error)) (out any, err error) {
	r := t.begin(call)
	err = errPanicked
	defer func() { r.end(ctx, out, err) }()
	out, err = next(r.within(ctx))
	return out, err
}

// errPanicked is of a call that did not return.
var errPanicked = errors.New("the call panicked")

type recordingKey struct{}

// within returns the context for the call itself.
func (r *recording) within(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, recordingKey{}, r)
	if !r.call.Operation.changes() {
		return store.WithHook(ctx, nil)
	}
	return store.WithHook(ctx, r.publish)
}

// unrecorded returns ctx without the recording of a call within which another one
// is made.
func unrecorded(ctx context.Context) context.Context {
	if recordingOf(ctx) == nil {
		return ctx
	}
	return store.WithHook(context.WithValue(ctx, recordingKey{}, (*recording)(nil)), nil)
}

func recordingOf(ctx context.Context) *recording {
	r, _ := ctx.Value(recordingKey{}).(*recording)
	return r
}

// Answers tells the trail what the call in ctx will answer. out is the operation's output,
// such as *lambda.CreateFunctionOutput; it is read when the transaction of the change ends, so
// its fields must be set by then, inside the function given to Update at the latest. A
// context without a recorded call is left alone. Operations that answer nothing need no call.
func Answers(ctx context.Context, out any) {
	r := recordingOf(ctx)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out = out
}

// AnswersWith returns ctx for a call whose answer follows from what its change makes, a T: once
// the change has said so by Made, the trail has what wire makes of it. It is Answers for code
// that knows the wire's shapes where the change is made by code that does not.
func AnswersWith[T, Out any](ctx context.Context, wire func(T) Out) context.Context {
	r := recordingOf(ctx)
	if r == nil {
		return ctx
	}
	return context.WithValue(ctx, madeKey[T]{}, made[T]{r, func(v T) any { return wire(v) }})
}

// Made tells the trail what the transaction of a call's change makes; see AnswersWith. To be
// called inside the function given to Update, the last time with what will be.
func Made[T any](ctx context.Context, v T) {
	m, _ := ctx.Value(madeKey[T]{}).(made[T])
	if m.of != nil && m.of == recordingOf(ctx) {
		Answers(ctx, m.wire(v))
	}
}

type madeKey[T any] struct{}

// made turns what the call of a recording makes into its answer.
type made[T any] struct {
	of   *recording
	wire func(T) any
}

// Untrailed returns ctx for those transactions of a call that are not its change, such as
// preparation before it or clearing up in parts after it: the first other one carries the
// call's event.
func Untrailed(ctx context.Context) context.Context {
	return store.WithHook(ctx, nil)
}

// publish is the hook of the call's transactions: the first one that commits has the event.
func (r *recording) publish(ctx context.Context, tx *store.Tx) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.committed || r.ended {
		return nil
	}
	if err := tx.Publish(ctx, r.event(r.out, nil)); err != nil {
		return fmt.Errorf("record the call: %w", err)
	}
	tx.OnCommit(r.stored)
	return nil
}

func (r *recording) stored() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.committed = true
	r.trail.recorded.Add(1)
}

// end leaves the event of a call that changed nothing.
func (r *recording) end(ctx context.Context, out any, err error) {
	r.mu.Lock()
	r.ended = true
	committed := r.committed
	r.mu.Unlock()
	if !committed {
		r.trail.publishAlone(ctx, r.event(out, err))
		return
	}
	if e, refused := errors.AsType[*Error](err); refused && !e.Fault {
		r.trail.o.Logger.Error("a call was refused although its change was made: the trail says that it succeeded",
			"service", r.call.API.Name, "operation", r.call.Operation.Name, "request_id", r.call.Caller.RequestID, "error", err)
	}
}

// aloneTime bounds the wait for an event that is stored by itself.
const aloneTime = 10 * time.Second

// publishAlone stores the event of a call that has no transaction of its own. The call's
// answer stands even if that fails.
func (t *Trail) publishAlone(ctx context.Context, rec event.Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(unrecorded(ctx)), aloneTime)
	defer cancel()
	err := t.o.DB.Update(ctx, func(tx *store.Tx) error { return tx.Publish(ctx, rec) })
	if err == nil {
		t.recorded.Add(1)
		return
	}
	t.lost.Add(1)
	caller := CallerFrom(ctx)
	t.o.Logger.Error("the event of a call that changed nothing could not be stored",
		"service", caller.Service, "operation", caller.Operation, "request_id", caller.RequestID, "error", err)
}

// refused records a call whose input could not be read.
func (t *Trail) refused(ctx context.Context, call *Call, err error) {
	if t.wants(call) {
		t.begin(call).end(WithCaller(ctx, call.Caller), nil, err)
	}
}
