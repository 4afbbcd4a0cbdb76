package runtime

import (
	"context"
	"fmt"
	"time"
)

// comeBack is how long a process that has answered is given to ask for its next
// invocation before another is started. What asks later is not lost, only idle.
const comeBack = 100 * time.Millisecond

// call is one invocation on its way through a process.
type call struct {
	Invocation
	timeout  time.Duration
	began    time.Time // when its time started to run
	init     time.Duration
	logged   bool        // its START line is written
	answered chan answer // one at most
}

// answer is what a process says of a call.
type answer struct {
	payload []byte
	failed  bool
	kind    string // the error's type, as far as it is known
}

func (c *call) deadline() time.Time { return c.began.Add(c.timeout) }

// Invoke runs the function once and returns what came of it: also an error that the
// function made, a timeout and a crash are results. The error is one of this package's, or
// ctx's. When ctx ends, the function goes on, as Lambda has it; only its result is
// lost.
func (p *Pool) Invoke(ctx context.Context, fn Function, in Invocation) (Result, error) {
	if len(in.Payload) > MaxPayload {
		return Result{}, fmt.Errorf("invoke %s: %w", fn.Name, ErrPayloadTooLarge)
	}
	if err := p.Available(fn.Runtime); err != nil {
		return Result{}, err
	}
	select {
	case <-p.opened:
	case <-p.stopping:
		return Result{}, ErrStopped
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
	withDefaults(&fn, &in, p.opt.Now())
	c := &call{Invocation: in, timeout: fn.Timeout, answered: make(chan answer, 1)}
	type outcome struct {
		result Result
		err    error
	}
	done := make(chan outcome, 1)
	err := p.admit(&fn, func(f *fleet) {
		result, err := p.carryOut(f, &fn, c)
		p.count(result, err)
		done <- outcome{result, err}
	})
	if err != nil {
		return Result{}, err
	}
	select {
	case out := <-done:
		return out.result, out.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

func (p *Pool) count(r Result, err error) {
	if err != nil {
		return
	}
	p.counts.invocations.Add(1)
	if r.FunctionError != "" {
		p.counts.failed.Add(1)
	}
}

func withDefaults(fn *Function, in *Invocation, now time.Time) {
	if fn.Timeout <= 0 {
		fn.Timeout = defaultTimeout
	}
	if fn.MemoryMB <= 0 {
		fn.MemoryMB = defaultMemoryMB
	}
	if fn.Version == "" {
		fn.Version = "$LATEST"
	}
	if fn.LogGroup == "" {
		fn.LogGroup = "/aws/lambda/" + fn.Name
	}
	if in.FunctionARN == "" {
		in.FunctionARN = fn.ARN
	}
	if in.TraceHeader == "" {
		in.TraceHeader = newTraceHeader(now)
	}
}

// carryOut has an idle process do the call, or a new one.
func (p *Pool) carryOut(f *fleet, fn *Function, c *call) (Result, error) {
	for {
		s, err := p.take(f, fn)
		if err != nil {
			return Result{}, err
		}
		if s == nil {
			return p.cold(fn, c)
		}
		if s.hand(c, comeBack) == nil {
			return p.await(s, c)
		}
		p.setAside(s)
	}
}

// setAside is for an idle process that does not ask for work. It may still be busy with
// its last invocation, as long as the time of that is not over.
func (p *Pool) setAside(s *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.left || p.stopped {
		return // it has ended, or ends with all others
	}
	p.wg.Go(func() {
		if s.asksUntil(s.busyUntil(), p.stopping) {
			p.giveBack(s)
			return
		}
		p.leave(s)
		s.terminate()
	})
}

// cold starts a process for the call. AWS: a process that fails to initialize, or
// takes 10 seconds, is started once more within the time of the invocation, whose
// result tells what went wrong then.
func (p *Pool) cold(fn *Function, c *call) (Result, error) {
	out := p.newStream(fn)
	begun := time.Now()
	s, failed := p.ready(fn, out, begun.Add(maxInit))
	if failed == nil {
		c.init = time.Since(begun)
		if failed = s.hand(c, maxInit); failed == nil {
			return p.await(s, c)
		}
		s.kill()
		<-s.exited
	}
	if failed.cause != nil {
		return Result{}, failed.cause
	}
	out.initReport(time.Since(begun), "init", failed)
	p.mu.Lock()
	p.processes++ // in the place of the one that failed
	p.mu.Unlock()
	return p.coldAgain(fn, c, out)
}

// coldAgain is the second try at initializing, which is a part of the invocation.
func (p *Pool) coldAgain(fn *Function, c *call, out *stream) (Result, error) {
	c.began = time.Now()
	out.begin(c, fn)
	c.logged = true
	s, failed := p.ready(fn, out, c.deadline())
	if failed == nil {
		if failed = s.hand(c, time.Until(c.deadline())); failed == nil {
			return p.await(s, c)
		}
		s.kill()
		<-s.exited
	}
	if failed.cause != nil {
		return Result{}, failed.cause
	}
	out.initReport(time.Since(c.began), "invoke", failed)
	return p.fail(s, fn, c, out, failed), nil
}

// ready starts a process and waits until it asks for its first invocation. The process
// is counted already. If it fails it is gone; it is nil if there never was one.
func (p *Pool) ready(fn *Function, out *stream, until time.Time) (*process, *failure) {
	s, failed := p.start(fn, out)
	if failed != nil {
		p.notStarted()
		return nil, failed
	}
	if failed = s.awaitReady(until, p.cutOff); failed != nil {
		s.kill()
		<-s.exited
		return s, failed
	}
	return s, nil
}

// await waits for what becomes of a call that the process has.
func (p *Pool) await(s *process, c *call) (Result, error) {
	timer := time.NewTimer(time.Until(c.deadline()))
	defer timer.Stop()
	select {
	case a := <-c.answered:
		return p.finish(s, c, a), nil
	case <-s.exited:
		select {
		case a := <-c.answered: // and then it ended
			return p.finish(s, c, a), nil
		default:
			return p.fail(s, s.fn, c, s.out, s.exitFailure()), nil
		}
	case <-timer.C:
		s.kill()
		<-s.exited
		return p.fail(s, s.fn, c, s.out, timedOut), nil
	case <-p.cutOff:
		s.terminate()
		return Result{}, ErrStopped
	}
}

// finish ends a call that was answered, and makes the process idle.
func (p *Pool) finish(s *process, c *call, a answer) Result {
	r := Result{Payload: a.payload, Duration: time.Since(c.began), Init: c.init}
	rep := report{status: "success", duration: r.Duration, init: c.init, memoryMB: s.fn.MemoryMB}
	if a.failed {
		r.FunctionError = unhandled
		rep.status, rep.kind = "error", a.kind
	}
	tail := make(chan []byte, 1)
	s.pipe.then(func() {
		rep.used = s.peakMemory()
		tail <- s.out.end(c, &rep)
	})
	p.giveBack(s)
	if c.Tail {
		r.LogTail = <-tail
	}
	return r
}

// fail ends a call whose process is gone. s is nil if there never was one.
func (p *Pool) fail(s *process, fn *Function, c *call, out *stream, failed *failure) Result {
	r := Result{Payload: failed.payload(c), FunctionError: unhandled, Duration: time.Since(c.began), Init: c.init}
	rep := report{status: failed.status(), kind: failed.kind, init: c.init, memoryMB: fn.MemoryMB, ended: true}
	if failed.timeout {
		r.Duration = c.timeout
	}
	rep.duration = r.Duration
	if s != nil {
		rep.used = s.peakMemory()
	}
	out.failed(c, failed)
	tail := out.end(c, &rep)
	if c.Tail {
		r.LogTail = tail
	}
	return r
}
