package work

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"golang.org/x/time/rate"
)

const (
	// pollOthers bounds how late a node notices what another one enqueued, paused
	// or left behind.
	pollOthers = time.Second
	// idleMax bounds how long a lane sleeps: timers do not see that the clock was set, or that the
	// machine slept, and the times of jobs go by the clock.
	idleMax = time.Minute
	// contended is the pause when due jobs are all in other nodes' hands.
	contended = 50 * time.Millisecond
	// dbPause is the pause after the database has failed.
	dbPause = time.Second
	// finishFor bounds how long the outcomes of jobs are written once Run is to stop.
	finishFor   = 10 * time.Second
	pruneEvery  = time.Hour
	pruneChunk  = 500
	stoppedText = "the process stopped during the attempt"
)

// lane runs one queue's jobs in this process.
type lane struct {
	r       *Runner
	queue   string
	opts    QueueOptions
	fn      func(context.Context, Job) Outcome
	limiter *rate.Limiter // nil without a limit
	wake    chan struct{}

	mu   sync.Mutex
	next time.Time // the earliest time told by due since the database was last asked
	told bool
	held map[int64]*heldJob
}

// heldJob is a job leased to this process, running or being finished.
type heldJob struct {
	job    Job
	cancel context.CancelCauseFunc
}

func newLane(r *Runner, queue string, opts QueueOptions, fn func(context.Context, Job) Outcome) *lane {
	l := &lane{r: r, queue: queue, opts: opts, fn: fn, wake: make(chan struct{}, 1), held: map[int64]*heldJob{}}
	if opts.Rate > 0 {
		l.limiter = rate.NewLimiter(opts.Rate, opts.Burst)
	}
	return l
}

// due tells the lane that a job is due at the time, or that the queue changed.
func (l *lane) due(at time.Time) {
	l.mu.Lock()
	earlier := !l.told || at.Before(l.next)
	if earlier {
		l.next, l.told = at, true
	}
	l.mu.Unlock()
	if earlier {
		l.signal()
	}
}

func (l *lane) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// takeTold returns the earliest time told since the last call.
func (l *lane) takeTold() (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok = l.next, l.told
	l.told = false
	return at, ok
}

func (l *lane) run(ctx context.Context) {
	upkeep, stop := context.WithCancel(context.WithoutCancel(ctx))
	var jobs, others sync.WaitGroup
	others.Go(func() { l.renewLeases(upkeep) })
	others.Go(func() { l.pruneFailed(ctx) })
	for ctx.Err() == nil {
		if started, next := l.startDue(ctx, &jobs); !started {
			l.sleep(ctx, next)
		}
	}
	jobs.Wait()
	stop() // leases are renewed until the last handler has returned
	others.Wait()
}

// sleep returns at the time, or as soon as a job comes due earlier or ends, or ctx ends.
func (l *lane) sleep(ctx context.Context, until time.Time) {
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			return
		case <-l.wake:
		}
		at, told := l.takeTold()
		if !told || !at.After(time.Now()) {
			return
		}
		if at.Before(until) {
			until = at
			t.Reset(time.Until(at))
		}
	}
}

// startDue leases and starts as many due jobs as there is room for. If it
// started none it returns when to look again.
func (l *lane) startDue(ctx context.Context, wg *sync.WaitGroup) (started bool, next time.Time) {
	now := time.Now()
	room, next := l.room(now)
	if room == 0 {
		return false, next
	}
	l.takeTold() // what was told until now, the database knows
	paused, dueAt, found, err := l.r.queueState(ctx, l.queue)
	if err != nil {
		return false, l.databaseFailed(ctx, "look for jobs", err)
	}
	next = now.Add(idleMax)
	if l.r.db.Dialect() == store.Postgres {
		next = now.Add(pollOthers)
	}
	if paused || !found {
		return false, next
	}
	if dueAt.After(now) {
		if dueAt.Before(next) {
			next = dueAt
		}
		return false, next
	}
	jobs, err := l.lease(ctx, room, now)
	if err != nil {
		return false, l.databaseFailed(ctx, "lease jobs", err)
	}
	for _, j := range jobs {
		l.start(ctx, wg, j, now)
	}
	if len(jobs) == 0 {
		return false, now.Add(contended)
	}
	return true, next
}

// room returns how many jobs may be started now; if none, when to look again at the latest.
func (l *lane) room(now time.Time) (n int, next time.Time) {
	if l.opts.When != nil && !l.opts.When() {
		return 0, now.Add(idleMax) // Wake wakes us
	}
	l.mu.Lock()
	n = l.opts.Concurrency - len(l.held)
	l.mu.Unlock()
	if n <= 0 {
		return 0, now.Add(idleMax) // a job that ends wakes us
	}
	if l.limiter == nil {
		return n, now
	}
	tokens := l.limiter.TokensAt(now)
	if tokens < 1 {
		wait := time.Duration((1 - tokens) / float64(l.limiter.Limit()) * float64(time.Second))
		return 0, now.Add(wait + time.Microsecond)
	}
	return min(n, int(tokens)), now
}

func (l *lane) databaseFailed(ctx context.Context, doing string, err error) (next time.Time) {
	if ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
		l.r.log.Warn("jobs wait for the database", "queue", l.queue, "doing", doing, "error", err)
	}
	return time.Now().Add(dbPause)
}

// lease takes due jobs: those that no one holds, and those whose lease has ended. A lease of our
// own that has ended is taken over too unless the job runs here: it comes of a commit whose
// answer was lost.
func (l *lane) lease(ctx context.Context, n int, now time.Time) (jobs []Job, err error) {
	running := l.runningIDs()
	err = l.r.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		due, err := selectDue(ctx, tx, l.queue, now, n+len(running))
		if err != nil {
			return err
		}
		due = slices.DeleteFunc(due, func(j Job) bool { return running[j.ID] })
		jobs = due[:min(n, len(due))]
		return leaseJobs(ctx, tx, jobs, l.r.holder, now.Add(l.opts.LeaseFor))
	})
	if err == nil && l.limiter != nil && len(jobs) > 0 {
		l.limiter.AllowN(now, len(jobs))
	}
	return jobs, err
}

// exhausted says whether a job that has made its Attempts is to be given up.
func (l *lane) exhausted(j Job, now time.Time) (cause Cause, over bool) {
	if l.opts.MaxAttempts > 0 && j.Attempt >= l.opts.MaxAttempts {
		return CauseAttempts, true
	}
	if l.opts.MaxAge > 0 && now.Sub(j.CreatedAt) >= l.opts.MaxAge {
		return CauseAge, true
	}
	return "", false
}

func (l *lane) start(ctx context.Context, wg *sync.WaitGroup, j Job, now time.Time) {
	jobCtx, cancel := context.WithCancelCause(ctx)
	h := &heldJob{job: j, cancel: cancel}
	l.mu.Lock()
	l.held[j.ID] = h
	l.mu.Unlock()
	wg.Go(func() {
		defer cancel(nil)
		var out Outcome
		if cause, over := l.exhausted(j, now); over {
			// Its last process died, or it was not looked at in time.
			out = Outcome{kind: outcomeGiveUp, cause: cause, reason: j.Reason}
			if cause == CauseAttempts {
				out.reason = stoppedText
			}
		} else {
			j.Attempt++
			out = l.call(jobCtx, j)
		}
		stopped := jobCtx.Err() != nil
		l.finish(ctx, j, out, stopped)
		l.mu.Lock()
		if l.held[j.ID] == h { // or else it was put back and leased anew meanwhile
			delete(l.held, j.ID)
		}
		l.mu.Unlock()
		l.due(time.Time{}) // there is room for another
	})
}

func (l *lane) call(ctx context.Context, j Job) (out Outcome) {
	defer func() {
		if v := recover(); v != nil {
			l.r.log.Error("a job panicked", "queue", l.queue, "key", j.Key, "panic", v, "stack", string(debug.Stack()))
			out = Retry(fmt.Sprintf("panic: %v", v))
		}
	}()
	return l.fn(ctx, j)
}

// finish writes a job's outcome, again and again if the database fails.
func (l *lane) finish(ctx context.Context, j Job, out Outcome, stopped bool) {
	if out.kind == outcomeCompleted {
		return
	}
	write, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		t := time.AfterFunc(finishFor, cancel)
		context.AfterFunc(write, func() { t.Stop() })
	})()
	for attempt := 1; ; attempt++ {
		err := l.r.db.UpdateReadCommitted(write, func(tx *store.Tx) error {
			return l.apply(write, tx, j, out, stopped)
		})
		if err == nil || errors.Is(err, ErrLost) {
			return
		}
		l.r.log.Warn("could not write the outcome of a job", "queue", l.queue, "key", j.Key, "error", err)
		if errors.Is(err, store.ErrClosed) || write.Err() != nil {
			return
		}
		pause := time.NewTimer(Backoff(attempt, 100*time.Millisecond, 10*time.Second, nil))
		select {
		case <-pause.C:
		case <-write.Done():
			pause.Stop()
		}
	}
}

// apply writes an outcome within a transaction.
func (l *lane) apply(ctx context.Context, tx *store.Tx, j Job, out Outcome, stopped bool) error {
	if out.kind == outcomeDone {
		return l.r.complete(ctx, tx, j)
	}
	if err := l.r.keepHeld(ctx, tx, j); err != nil {
		return err
	}
	again, err := l.r.runAgain(ctx, tx, j)
	if err != nil || again {
		return err
	}
	g := GivenUp{Job: j, Cause: out.cause, Reason: cutReason(out.reason)}
	if out.kind == outcomeGiveUp {
		return l.giveUp(ctx, tx, g)
	}
	now := time.Now()
	if stopped {
		return l.r.putBack(ctx, tx, j, now, j.Attempt-1, j.Reason)
	}
	at := out.at
	if at.IsZero() {
		at = now.Add(Backoff(j.Attempt, l.opts.BackoffBase, l.opts.BackoffCap, nil))
	}
	// A try that would begin past the job's age will not be made.
	var over bool
	if g.Cause, over = l.exhausted(j, later(now, at)); over {
		return l.giveUp(ctx, tx, g)
	}
	return l.r.putBack(ctx, tx, j, at, j.Attempt, g.Reason)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (l *lane) giveUp(ctx context.Context, tx *store.Tx, g GivenUp) error {
	if l.opts.OnGiveUp == nil {
		tx.OnCommit(func() {
			l.r.log.Warn("a job was given up", "queue", l.queue, "key", g.Job.Key, "cause", g.Cause, "reason", g.Reason)
		})
		return l.r.markFailed(ctx, tx, g.Job, g.Reason)
	}
	if err := l.r.deleteHeld(ctx, tx, g.Job); err != nil {
		return err
	}
	if err := l.opts.OnGiveUp(ctx, tx, g); err != nil {
		return fmt.Errorf("give up job %s: %w", g.Job.Key, err)
	}
	return nil
}

// renewLeases keeps the leases of running jobs, and ends the contexts of those that
// turn out to be lost.
func (l *lane) renewLeases(ctx context.Context) {
	t := time.NewTicker(l.opts.LeaseFor / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		ids := l.heldIDs()
		if len(ids) == 0 {
			continue
		}
		kept, err := l.r.renew(ctx, ids, time.Now().Add(l.opts.LeaseFor))
		if err != nil {
			if ctx.Err() == nil {
				l.r.log.Warn("could not renew the leases of jobs", "queue", l.queue, "error", err)
			}
			continue
		}
		for _, id := range ids {
			if !kept[id] {
				l.cancelHeld(func(j Job) bool { return j.ID == id })
			}
		}
	}
}

func (l *lane) runningIDs() map[int64]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make(map[int64]bool, len(l.held))
	for id := range l.held {
		ids[id] = true
	}
	return ids
}

func (l *lane) heldIDs() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ids := make([]int64, 0, len(l.held))
	for id := range l.held {
		ids = append(ids, id)
	}
	return ids
}

// cancelHeld ends the contexts of running jobs that are no longer to be run.
func (l *lane) cancelHeld(which func(Job) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.held {
		if which(h.job) {
			h.cancel(ErrLost)
		}
	}
}

func (l *lane) pruneFailed(ctx context.Context) {
	t := time.NewTicker(pruneEvery)
	defer t.Stop()
	for {
		for {
			n, err := l.r.prune(ctx, l.queue, time.Now().Add(-l.opts.KeepFailed))
			if err != nil {
				l.databaseFailed(ctx, "delete old failed jobs", err)
			}
			if err != nil || n < pruneChunk {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// cutReason bounds what is stored, and makes it text that PostgreSQL takes.
func cutReason(s string) string {
	if len(s) > MaxReason {
		s = s[:MaxReason]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, ""), "\x00", "")
}
