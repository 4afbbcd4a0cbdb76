package function

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// asyncQueue has a job for each function that has invocations waiting: its lane.
	asyncQueue = "function.async"
	// maxLanes is how many functions one node runs asynchronously at once.
	maxLanes = 1000
	// maxAsyncPayload is AWS's limit of an asynchronous invocation's payload: 1 MiB.
	maxAsyncPayload = 1 << 20
	// maxWaiting is how many invocations can wait for one function; further ones
	// are throttled. It is counted at most once in waitingFor.
	maxWaiting = 100_000
	waitingFor = time.Second
	dropChunk  = 20
)

// asyncInvocation is an invocation to be made later.
type asyncInvocation struct {
	// RequestID is the id of the call, which all its attempts have; empty for a new one.
	RequestID string
	Qualifier string
	Payload   []byte
	// Trace is the caller's trace header; empty without one.
	Trace string
}

// enqueue accepts an invocation of the function: it's durable once enqueue returns nil. The caller has
// been authorized. AWS's errors are RequestTooLargeException and TooManyRequestsException.
func (f *Functions) enqueue(ctx context.Context, fn *Function, in asyncInvocation) error {
	if len(in.Payload) > maxAsyncPayload {
		return lambda.ErrRequestTooLargeException("%d byte payload is too large for the Event invocation type (limit %d bytes)", len(in.Payload), maxAsyncPayload)
	}
	full, err := f.waiting.full(ctx, f.db, fn.id)
	if err != nil {
		return err
	}
	if full {
		return lambda.ErrTooManyRequestsException("Rate Exceeded.")
	}
	w := &waitingInvocation{function: fn.id, requestID: in.RequestID, qualifier: in.Qualifier, payload: in.Payload, trace: plainTrace(in.Trace), acceptedAt: f.now()}
	if w.requestID == "" {
		w.requestID = uuid.NewString()
	}
	if w.payload == nil {
		w.payload = []byte{}
	}
	err = f.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		if err := insertInvocation(ctx, tx, w); err != nil {
			return err
		}
		return f.wakeLane(ctx, tx, fn.id)
	})
	if err == nil {
		f.counts.accepted.Add(1)
	}
	return err
}

// maxTrace bounds a trace header that is kept, in bytes.
const maxTrace = 1024

// plainTrace is a trace header as it can be kept; one that is none is dropped.
func plainTrace(header string) string {
	if len(header) > maxTrace || strings.ContainsFunc(header, func(r rune) bool { return r < ' ' || r > '~' }) {
		return ""
	}
	return header
}

// wakeLane has the function's lane look for what is due.
func (f *Functions) wakeLane(ctx context.Context, tx *store.Tx, function int64) error {
	key := strconv.FormatInt(function, 10)
	tx.OnCommit(func() { f.bells.ring(key) })
	return f.o.Jobs.Enqueue(ctx, tx, work.NewJob{Queue: asyncQueue, Key: key, Replace: true})
}

// endInvocations ends what waits for a function, as part of the transaction that deletes it.
func (f *Functions) endInvocations(ctx context.Context, tx *store.Tx, fn *Function) error {
	return f.wakeLane(ctx, tx, fn.id) // which finds the function gone
}

// dropWaiting deletes what waits for a function that is gone.
func (f *Functions) dropWaiting(ctx context.Context, function int64) error {
	for {
		var n int
		err := f.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
			n, err = dropInvocations(ctx, tx, function, dropChunk)
			return err
		})
		if err != nil || n < dropChunk {
			return err
		}
	}
}

// Invoker invokes functions for services: rules and topics.
type Invoker struct{ f *Functions }

// Invoker returns what rules and topics invoke functions by.
func (f *Functions) Invoker() Invoker { return Invoker{f} }

// Invoke accepts the event for a function, which may be named with a qualifier, and returns nil
// once that is durable. The function's policy must allow it to the auth.Source in
// ctx. AWS's errors are ResourceNotFoundException, AccessDeniedException,
// TooManyRequestsException and RequestTooLargeException.
func (i Invoker) Invoke(ctx context.Context, functionARN string, event []byte) error {
	r, qualifier, ok := ParseARN(functionARN)
	if !ok {
		return lambda.ErrResourceNotFoundException("Function not found: %s", functionARN)
	}
	if err := checkQualifier(r, qualifier); err != nil {
		return err
	}
	fn, err := i.f.find(ctx, r)
	if err != nil {
		return err
	}
	if err := i.f.authorize(ctx, fn, actionInvoke); err != nil {
		return err
	}
	if !i.f.o.Enabled() {
		// Not the caller's fault, and it may pass: rules and topics try again as their
		// policies say, so that a restart without functions loses nothing.
		e := errDisabled()
		e.Code, e.Status, e.Fault = lambda.CodeServiceException, http.StatusServiceUnavailable, true
		return e
	}
	c := awsapi.CallerFrom(ctx)
	return i.f.enqueue(ctx, fn, asyncInvocation{RequestID: requestID(ctx), Qualifier: qualifier, Payload: event, Trace: c.TraceHeader})
}

// errGone says that the function of a lane was deleted.
var errGone = errors.New("the function was deleted")
