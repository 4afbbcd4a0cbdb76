package function

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// maxInvoking is how many asynchronous invocations of one function run at once, as
	// long as their payloads have no more than maxInvokingBytes in all.
	maxInvoking      = 10
	maxInvokingBytes = 16 << 20
	// lookAgain is how often a lane looks for what has come due, or has come from another
	// node, while invocations take their time.
	lookAgain = time.Second
	// maxAsyncAge is how long an invocation is tried. AWS: 6 hours.
	maxAsyncAge = 6 * time.Hour
	// The pause after an attempt that did not reach the function doubles from
	// reachBase to reachCap. AWS: 1 second and 5 minutes.
	reachBase, reachCap = time.Second, 5 * time.Minute
)

// defaultRetryWaits are the pauses after an asynchronous invocation that the function failed. AWS:
// it is retried twice, "with a one-minute wait between the first two attempts, and two
// minutes between the second and third".
var defaultRetryWaits = []time.Duration{time.Minute, 2 * time.Minute}

// lane is one run of the job that makes one function's asynchronous invocations. Each
// function has its own, so that a slow one delays nobody else.
type lane struct {
	f        *Functions
	function int64
	invoking map[int64]int // sizes of what is being invoked, by id
	ended    chan int64

	mu      sync.Mutex
	limit   int   // of invoking: halved when one is throttled
	failing error // since lookAgain at most
}

// runLane makes the invocations of one function that are due, several at a time.
func (f *Functions) runLane(ctx context.Context, j work.Job) work.Outcome {
	id, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail(err.Error())
	}
	rung, leave := f.bells.join(j.Key)
	defer leave()
	running, cut := outlive(ctx, stopGrace)
	defer cut()
	l := &lane{f: f, function: id, invoking: map[int64]int{}, ended: make(chan int64), limit: maxInvoking}
	switch err := l.run(ctx, running, rung); {
	case errors.Is(err, errGone):
		err = f.dropWaiting(ctx, id)
		if err != nil {
			return work.Retry(err.Error())
		}
		return work.Done()
	case err != nil:
		return work.Retry(err.Error())
	}
	at, some, err := nextInvocation(ctx, f.db, id)
	if err != nil {
		return work.Retry(err.Error())
	}
	if !some {
		return work.Done()
	}
	return work.RetryAt(time.Now().Add(time.Duration(at-f.now())*time.Millisecond), "invocations wait for their time")
}

// run returns when nothing is due, or something failed that is not the function's fault.
// Invocations that run may go on under a context that outlives ctx for a while.
func (l *lane) run(ctx, running context.Context, rung <-chan struct{}) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	for {
		if ctx.Err() == nil && l.failure() == nil {
			if err := l.startDue(ctx, running, &wg); err != nil {
				l.fail(err)
			}
		}
		if len(l.invoking) == 0 {
			return l.failure()
		}
		select {
		case id := <-l.ended:
			delete(l.invoking, id)
		case <-rung:
		case <-again.C:
			l.fail(nil)
		}
	}
}

// fail notes what has failed, so that nothing is begun for a moment: nil forgets it.
func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failing = err
}

func (l *lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}

// room is how many further invocations may run.
func (l *lane) room() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.limit - len(l.invoking)
}

// adapt changes how many may run at once after one was throttled, or not.
func (l *lane) adapt(throttled bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if throttled {
		l.limit = max(l.limit/2, 1)
	} else {
		l.limit = min(l.limit+1, maxInvoking)
	}
}

// startDue starts the invocations that are due, as far as there is room. The function is read
// each time, so that what it is changed to holds at once.
func (l *lane) startDue(ctx, running context.Context, wg *sync.WaitGroup) error {
	room := l.room()
	if room <= 0 {
		return nil
	}
	fn, err := l.f.functionByID(ctx, l.f.db, l.function)
	if err != nil {
		return err
	}
	if fn == nil {
		return errGone
	}
	list, err := dueInvocations(ctx, l.f.db, l.function, l.f.now(), slices.Collect(maps.Keys(l.invoking)), room)
	if err != nil {
		return err
	}
	bytes := 0
	for _, n := range l.invoking {
		bytes += n
	}
	for _, w := range list {
		if bytes += w.size; bytes > maxInvokingBytes && len(l.invoking) > 0 {
			return nil
		}
		l.invoking[w.id] = w.size
		wg.Go(func() {
			if err := l.attempt(running, fn, w); err != nil {
				l.fail(err)
			}
			l.ended <- w.id
		})
	}
	return nil
}

// attempt makes one attempt and writes down how it went. Its error is of our own making.
func (l *lane) attempt(ctx context.Context, fn *Function, w *waitingInvocation) error {
	var found bool
	var err error
	if w.payload, found, err = invocationPayload(ctx, l.f.db, w.id); err != nil || !found {
		return err // another run of the lane was faster
	}
	if w.failure != nil {
		return l.bury(ctx, fn, w)
	}
	if l.f.now()-w.acceptedAt >= maxAsyncAge.Milliseconds() {
		return l.giveUp(ctx, fn, w, &invocationFailure{Code: 500, Message: "The event is older than the 6 hours that it is tried for."})
	}
	result, err := l.f.run(ctx, fn, runtime.Invocation{
		RequestID: w.requestID, Payload: w.payload, TraceHeader: w.trace, FunctionARN: qualified(fn, w.qualifier),
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err() // what ended is us
	case errors.Is(err, runtime.ErrStopped):
		return err
	case err != nil:
		return l.notReached(ctx, fn, w, err)
	}
	l.adapt(false)
	l.f.counts.invoked.Add(1)
	if result.FunctionError == "" {
		return l.settle(ctx, w, deleteInvocation)
	}
	return l.failed(ctx, fn, w, result.Payload)
}

// failed puts off an invocation that the function failed, or gives it up.
func (l *lane) failed(ctx context.Context, fn *Function, w *waitingInvocation, answer []byte) error {
	waits := l.f.o.RetryWaits
	w.errors, w.tries = w.errors+1, 0
	why := &invocationFailure{Code: 200, Message: errorMessage(answer)}
	if w.errors > len(waits) {
		return l.giveUp(ctx, fn, w, why)
	}
	return l.putOff(ctx, fn, w, waits[w.errors-1], why)
}

// notReached puts off an invocation that was throttled, or failed for another reason that is not the
// function's.
func (l *lane) notReached(ctx context.Context, fn *Function, w *waitingInvocation, err error) error {
	why := &invocationFailure{Code: 500, Message: err.Error()}
	if errors.Is(err, runtime.ErrTooManyRequests) {
		l.adapt(true)
		l.f.counts.throttled.Add(1)
		why = &invocationFailure{Code: 429, Message: "Rate Exceeded."}
	} else if w.tries == 0 {
		l.f.o.Logger.Warn("an asynchronous invocation could not be made and is tried again", "function", fn.ARN(), "request", w.requestID, "error", err)
	}
	w.tries++
	return l.putOff(ctx, fn, w, work.Backoff(w.tries, reachBase, reachCap, nil), why)
}

// putOff has an invocation tried again after a pause, unless that would be too late.
func (l *lane) putOff(ctx context.Context, fn *Function, w *waitingInvocation, d time.Duration, why *invocationFailure) error {
	w.dueAt = l.f.now() + d.Milliseconds()
	if w.dueAt-w.acceptedAt > maxAsyncAge.Milliseconds() {
		return l.giveUp(ctx, fn, w, why)
	}
	return l.settle(ctx, w, postponeInvocation)
}

func (l *lane) settle(ctx context.Context, w *waitingInvocation, how func(context.Context, *store.Tx, *waitingInvocation) error) error {
	return l.f.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return how(ctx, tx, w) })
}
