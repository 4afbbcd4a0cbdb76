package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultProcesses = 64
	defaultIdleTime  = 5 * time.Minute
	defaultTimeout   = 3 * time.Second
	defaultMemoryMB  = 128
	// stopGrace is how long invocations may go on when the server stops.
	stopGrace = 5 * time.Second
)

// Pool holds the processes of all functions. Its methods are safe for concurrent use.
type Pool struct {
	opt          Options
	interpreters interpreters
	starts       chan start
	opened       chan struct{} // closed: the directory is ours
	asked        chan struct{} // closed: Run is to end
	askOnce      sync.Once
	stopping     chan struct{} // closed: nothing new begins, idle processes end
	cutOff       chan struct{} // closed: what still runs is ended
	wg           sync.WaitGroup

	mu        sync.Mutex
	stopped   bool
	fleets    map[string]*fleet // by the function's ARN
	processes int               // that run or are being started, without those that were told to end
	counts    counts
}

// fleet are the processes of one function.
type fleet struct {
	revision string
	running  int        // invocations
	idle     []*process // the one used last is the last
}

type counts struct {
	invocations, failed, throttled, started, lostLines atomic.Int64
	logsFail                                           atomic.Bool
}

// Stats are figures of a pool since it was made, and how many processes there are now.
type Stats struct {
	Invocations, Failed, Throttled, ProcessesStarted, LogLinesLost int64
	Processes                                                      int
}

// New returns a pool without processes. Invocations wait until [Pool.Run] runs.
func New(o Options) *Pool {
	if o.MaxProcesses <= 0 {
		o.MaxProcesses = defaultProcesses
	}
	if o.IdleTime <= 0 {
		o.IdleTime = defaultIdleTime
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Pool{
		opt: o, fleets: map[string]*fleet{}, starts: make(chan start),
		opened: make(chan struct{}), asked: make(chan struct{}), stopping: make(chan struct{}), cutOff: make(chan struct{}),
	}
}

// Stats returns the pool's figures.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Invocations: p.counts.invocations.Load(), Failed: p.counts.failed.Load(), Throttled: p.counts.throttled.Load(),
		ProcessesStarted: p.counts.started.Load(), LogLinesLost: p.counts.lostLines.Load(), Processes: p.processes,
	}
}

// Run starts and ends processes until ctx ends or [Pool.Stop] is called; then invocations that run get a few
// seconds, and no process is left when it returns. It may be called once. It fails if
// the directory cannot be used, or another server uses it.
func (p *Pool) Run(ctx context.Context) error {
	unlock, err := p.takeDir(ctx)
	if err != nil {
		p.stop()
		return fmt.Errorf("directory of running functions: %w", err)
	}
	defer unlock()
	close(p.opened)
	threadEnds := make(chan struct{})
	var thread sync.WaitGroup
	thread.Go(func() { p.startProcesses(threadEnds) })
	p.endIdle(ctx)
	p.stop()
	close(threadEnds)
	thread.Wait()
	return nil
}

// Stop has Run end as the end of its context does, and does not wait for it.
func (p *Pool) Stop() { p.askOnce.Do(func() { close(p.asked) }) }

// endIdle ends processes that have been idle for long, until the pool is to stop.
func (p *Pool) endIdle(ctx context.Context) {
	ticker := time.NewTicker(max(p.opt.IdleTime/4, 5*time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.asked:
			return
		case <-ticker.C:
			p.endIdleSince(time.Now().Add(-p.opt.IdleTime))
		}
	}
}

func (p *Pool) endIdleSince(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for arn, f := range p.fleets {
		p.retireLocked(f, func(s *process) bool { return s.idleSince.Before(since) })
		if f.running == 0 && len(f.idle) == 0 {
			delete(p.fleets, arn)
		}
	}
}

// stop ends everything, and returns when it has ended.
func (p *Pool) stop() {
	p.mu.Lock()
	p.stopped = true
	close(p.stopping)
	for _, f := range p.fleets {
		p.retireLocked(f, func(*process) bool { return true })
	}
	p.mu.Unlock()
	over := time.AfterFunc(stopGrace, func() { close(p.cutOff) })
	p.wg.Wait()
	over.Stop()
}

// Forget ends the processes of a function that is deleted, each when it has finished
// what it does.
func (p *Pool) Forget(arn string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.fleets[arn]; f != nil {
		p.retireLocked(f, func(*process) bool { return true })
		delete(p.fleets, arn)
	}
}

// admit counts one more invocation of the function and runs it as do, unless that
// would be too many. p.wg knows of do before the pool can stop.
func (p *Pool) admit(fn *Function, do func(*fleet)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return ErrStopped
	}
	f := p.fleets[fn.ARN]
	if f == nil {
		f = &fleet{revision: fn.Revision}
		p.fleets[fn.ARN] = f
	}
	if fn.Concurrency > 0 && f.running >= fn.Concurrency {
		p.counts.throttled.Add(1)
		return &Throttled{Reason: "ReservedFunctionConcurrentInvocationLimitExceeded", Limit: fn.Concurrency}
	}
	f.running++
	p.wg.Go(func() {
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			f.running--
		}()
		do(f)
	})
	return nil
}

// take returns an idle process of the function, or none after it has made room for a
// new one, which is counted.
func (p *Pool) take(f *fleet, fn *Function) (*process, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return nil, ErrStopped
	}
	if f.revision != fn.Revision {
		f.revision = fn.Revision
		p.retireLocked(f, func(s *process) bool { return s.fn.Revision != fn.Revision })
	}
	if n := len(f.idle); n > 0 {
		s := f.idle[n-1]
		f.idle = f.idle[:n-1]
		return s, nil
	}
	if p.processes >= p.opt.MaxProcesses && !p.evictLocked() {
		p.counts.throttled.Add(1)
		return nil, &Throttled{Reason: "ConcurrentInvocationLimitExceeded", Limit: p.opt.MaxProcesses}
	}
	p.processes++
	return nil, nil
}

// evictLocked ends the process that has been idle longest, and returns false if none is idle.
func (p *Pool) evictLocked() bool {
	var from *fleet
	for _, f := range p.fleets {
		if len(f.idle) > 0 && (from == nil || f.idle[0].idleSince.Before(from.idle[0].idleSince)) {
			from = f
		}
	}
	if from == nil {
		return false
	}
	oldest := from.idle[0]
	p.retireLocked(from, func(s *process) bool { return s == oldest })
	return true
}

// retireLocked ends the idle processes of which a function says so.
func (p *Pool) retireLocked(f *fleet, which func(*process) bool) {
	f.idle = slices.DeleteFunc(f.idle, func(s *process) bool {
		if !which(s) {
			return false
		}
		p.leaveLocked(s)
		p.wg.Go(s.terminate)
		return true
	})
}

func (p *Pool) leave(s *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(s)
}

// leaveLocked stops counting a process.
func (p *Pool) leaveLocked(s *process) {
	if !s.left {
		s.left = true
		p.processes--
	}
}

// giveBack makes a process that has answered idle, or ends it if it is no longer wanted.
func (p *Pool) giveBack(s *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.left {
		return // it has ended meanwhile
	}
	s.idleSince = time.Now()
	f := p.fleets[s.fn.ARN]
	if p.stopped || f == nil || f.revision != s.fn.Revision {
		p.leaveLocked(s)
		p.wg.Go(s.terminate)
		return
	}
	f.idle = append(f.idle, s)
}

// hasEnded takes a process that is gone out of the books.
func (p *Pool) hasEnded(s *process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leaveLocked(s)
	if f := p.fleets[s.fn.ARN]; f != nil {
		f.idle = slices.DeleteFunc(f.idle, func(other *process) bool { return other == s })
	}
}

// notStarted gives back the room of a process that could not be started.
func (p *Pool) notStarted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.processes--
}
