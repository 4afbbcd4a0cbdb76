// Package work runs durable jobs: rows in SQL that are enqueued in the same
// transaction as the state they are about, and run at least once, also after a
// crash, on any node.
//
// A job belongs to a queue and has a key, unique in its queue, which makes
// enqueueing idempotent. When it's due it is leased to a process, which runs the
// queue's handler; the handler's outcome deletes the job, puts it
// off, or gives it up. A job whose process dies comes back when its lease ends.
// Jobs run roughly in the order they come due; nothing more is promised, and a
// job may run twice, so handlers are idempotent or use [Runner.Complete].
//
// It is not a message queue with many readers of many queues (package
// box/queue), nor a scheduler: the time of a job is given by who enqueues it.
package work

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"golang.org/x/time/rate"
)

// Limits of one job.
const (
	MaxQueueName = 128     // bytes
	MaxKey       = 1024    // bytes
	MaxPayload   = 2 << 20 // bytes
	// MaxReason is how many bytes of a reason are kept.
	MaxReason = 2048
)

// ErrLost means that the job is no longer this process's to finish: it was
// cancelled, or its lease ran out and another process has it.
var ErrLost = errors.New("the job was cancelled or its lease was lost")

// Job is one that is being run.
type Job struct {
	ID         int64
	Queue, Key string
	Payload    []byte
	// Attempt is 1 at the first run. A run that the process did not survive counts.
	Attempt int
	// CreatedAt is when it was enqueued, or what NewJob.CreatedAt said.
	CreatedAt time.Time
	// RunAt is when it came due.
	RunAt time.Time
	// Reason is why the attempt before this one did not finish it, if it said so.
	Reason string

	// fence is the row's attempt while we hold the lease: no one else's lease has it.
	fence int
}

// NewJob is a job to enqueue.
type NewJob struct {
	// Queue is up to MaxQueueName bytes.
	Queue string
	// Key names the job within its queue, up to MaxKey bytes. Enqueueing a key that is there
	// already changes nothing, unless Replace is set or that job has failed; empty
	// stands for a key that is never there.
	Key     string
	Payload []byte
	// RunAt is when the job is due; zero means now.
	RunAt time.Time
	// CreatedAt is what the job's age counts from; zero means now.
	CreatedAt time.Time
	// Replace makes this job take the place of one with the same key: payload, time and
	// attempts are as new. If that one is running, this one runs after it, so
	// what was asked for during a run is not taken for done.
	Replace bool
}

// Runner runs the jobs of the queues it handles. Make it with New, register
// handlers with Handle, then call Run once. The other methods may be used before and
// during Run, and without handlers: another node may have them.
type Runner struct {
	db     *store.DB
	holder string
	log    *slog.Logger

	mu      sync.RWMutex
	lanes   map[string]*lane
	running bool
}

// New returns a runner. The holder names this process in leases; the runner makes it
// unique.
func New(db *store.DB, holder string, logger *slog.Logger) *Runner {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{db: db, holder: holder + "/" + rand.Text(), log: logger, lanes: map[string]*lane{}}
}

// QueueOptions say how a queue's jobs are run by this process. Zero values
// stand for the defaults.
type QueueOptions struct {
	// Concurrency is how many jobs run at once in this process; 8 by default.
	Concurrency int
	// LeaseFor is how long after the death of a process its jobs come back; 30 s by
	// default. A handler may run for longer: its lease is renewed.
	LeaseFor time.Duration
	// MaxAttempts is how many times a job is run before it is given up; 0 means no limit.
	MaxAttempts int
	// MaxAge is how long after CreatedAt a job is given up; 0 means never.
	MaxAge time.Duration
	// BackoffBase and BackoffCap bound the pause before another attempt, see Backoff;
	// 1 s and 5 min by default.
	BackoffBase, BackoffCap time.Duration
	// Rate bounds how many jobs this process starts per second, Burst at once; 0 means
	// no limit.
	Rate  rate.Limit
	Burst int
	// When, if set, is asked before jobs are started: while it returns false this
	// process leaves the queue to others. Call Wake when it comes to return true.
	When func() bool
	// OnGiveUp is called in the transaction that deletes a job which is given up. Without
	// it, the job stays as failed (Runner.Failed) for KeepFailed. While it
	// returns an error, it is called again.
	OnGiveUp func(ctx context.Context, tx *store.Tx, g GivenUp) error
	// KeepFailed is how long failed jobs are kept; 14 days by default.
	KeepFailed time.Duration
}

func (o QueueOptions) withDefaults() QueueOptions {
	def := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	def(&o.LeaseFor, 30*time.Second)
	def(&o.BackoffBase, time.Second)
	def(&o.BackoffCap, 5*time.Minute)
	def(&o.KeepFailed, 14*24*time.Hour)
	if o.Concurrency <= 0 {
		o.Concurrency = 8
	}
	if o.Burst <= 0 {
		o.Burst = 1
	}
	return o
}

// Cause is why a job was given up.
type Cause string

const (
	// CauseAttempts means that MaxAttempts were made.
	CauseAttempts Cause = "attempts"
	// CauseAge means that the job grew older than MaxAge.
	CauseAge Cause = "age"
	// CauseFailed means that the handler returned Fail.
	CauseFailed Cause = "failed"
)

// GivenUp is a job that will not be run again.
type GivenUp struct {
	Job   Job
	Cause Cause
	// Reason is what the last attempt said, if it said something.
	Reason string
}

// Outcome is what a handler returns. The zero Outcome is Done.
type Outcome struct {
	kind   outcomeKind
	at     time.Time
	reason string
	cause  Cause // of outcomeGiveUp
}

type outcomeKind int

const (
	outcomeDone outcomeKind = iota
	outcomeCompleted
	outcomeRetry
	outcomeGiveUp
)

// Done deletes the job.
func Done() Outcome { return Outcome{} }

// Completed says that the handler has called Complete in a transaction of its own.
func Completed() Outcome { return Outcome{kind: outcomeCompleted} }

// Retry has the job run again after a pause that grows with each attempt, unless it's
// given up because of its attempts or age.
func Retry(reason string) Outcome { return Outcome{kind: outcomeRetry, reason: reason} }

// RetryAt is Retry with a time.
func RetryAt(at time.Time, reason string) Outcome {
	return Outcome{kind: outcomeRetry, at: at, reason: reason}
}

// Fail gives the job up.
func Fail(reason string) Outcome {
	return Outcome{kind: outcomeGiveUp, reason: reason, cause: CauseFailed}
}

// Handle sets the function that runs a queue's jobs in this process. It must be
// called before Run, once for a queue. fn's context ends when Run is to stop, and when the job
// is cancelled or its lease lost; a Retry returned after that does not count as an attempt. A
// panic counts as Retry.
func (r *Runner) Handle(queue string, opts QueueOptions, fn func(ctx context.Context, j Job) Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.lanes[queue]; twice || r.running {
		panic("work: Handle(" + queue + ") called twice or after Run")
	}
	r.lanes[queue] = newLane(r, queue, opts.withDefaults(), fn)
}

// Run runs jobs until ctx ends, waits for the handlers to return and returns ctx's error.
func (r *Runner) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.running {
		r.mu.Unlock()
		return errors.New("the runner runs already")
	}
	r.running = true
	lanes := r.lanes
	r.mu.Unlock()
	if r.db.Dialect() == store.SQLite {
		// Only this process uses the database, and it has not begun: whoever held
		// these is dead.
		if err := r.releaseAll(ctx); err != nil {
			return fmt.Errorf("release the jobs of the previous process: %w", err)
		}
	}
	var wg sync.WaitGroup
	for _, l := range lanes {
		wg.Go(func() { l.run(ctx) })
	}
	wg.Wait()
	return ctx.Err()
}

// Wake has this process look at the queue now.
func (r *Runner) Wake(queue string) {
	if l := r.lane(queue); l != nil {
		l.due(time.Time{})
	}
}

func (r *Runner) lane(queue string) *lane {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.lanes[queue]
}

// Enqueue adds jobs as part of the transaction: they run if and only if it
// commits, those that are due at once. Errors name what is too long.
func (r *Runner) Enqueue(ctx context.Context, tx *store.Tx, jobs ...NewJob) error {
	now := time.Now()
	rows := make([]NewJob, len(jobs))
	for i, j := range jobs {
		if err := j.check(); err != nil {
			return fmt.Errorf("enqueue job: %w", err)
		}
		if j.Key == "" {
			j.Key = rand.Text()
		}
		if j.RunAt.IsZero() {
			j.RunAt = now
		}
		if j.CreatedAt.IsZero() {
			j.CreatedAt = now
		}
		rows[i] = j
	}
	if err := insertJobs(ctx, tx, rows); err != nil {
		return fmt.Errorf("enqueue jobs: %w", err)
	}
	tx.OnCommit(func() {
		for _, j := range rows {
			if l := r.lane(j.Queue); l != nil {
				l.due(j.RunAt)
			}
		}
	})
	return nil
}

func (j *NewJob) check() error {
	switch {
	case j.Queue == "":
		return errors.New("it names no queue")
	case len(j.Queue) > MaxQueueName:
		return fmt.Errorf("its queue's name is %d bytes long, more than the %d allowed", len(j.Queue), MaxQueueName)
	case len(j.Key) > MaxKey:
		return fmt.Errorf("its key is %d bytes long, more than the %d allowed", len(j.Key), MaxKey)
	case len(j.Payload) > MaxPayload:
		return fmt.Errorf("its payload is %d bytes long, more than the %d allowed", len(j.Payload), MaxPayload)
	}
	return nil
}

// Complete deletes a running job in the handler's own transaction, so that
// what the job does to the database happens exactly once. The handler then returns
// Completed. It returns ErrLost, and the transaction must not commit, if
// the job is no longer the handler's.
func (r *Runner) Complete(ctx context.Context, tx *store.Tx, j Job) error {
	return r.complete(ctx, tx, j)
}

// Cancel deletes the job with the key, failed or not, and returns whether there
// was one. If it's running in this process its context ends; elsewhere within a third
// of its lease.
func (r *Runner) Cancel(ctx context.Context, tx *store.Tx, queue, key string) (bool, error) {
	return r.cancelKey(ctx, tx, queue, key)
}

// CancelPrefix is Cancel for every key that begins with prefix; empty means the
// whole queue. It returns how many there were. At most limit are deleted: call it in
// another transaction while it returns limit.
func (r *Runner) CancelPrefix(ctx context.Context, tx *store.Tx, queue, prefix string, limit int) (int, error) {
	return r.cancelPrefix(ctx, tx, queue, prefix, limit)
}

// Pause stops the queue's jobs from being started, on all nodes, until Resume;
// those that run go on. It is kept over restarts.
func (r *Runner) Pause(ctx context.Context, tx *store.Tx, queue string) error {
	return r.setPaused(ctx, tx, queue, true)
}

// Resume undoes Pause.
func (r *Runner) Resume(ctx context.Context, tx *store.Tx, queue string) error {
	return r.setPaused(ctx, tx, queue, false)
}

func (r *Runner) setPaused(ctx context.Context, tx *store.Tx, queue string, paused bool) error {
	if err := storePaused(ctx, tx, queue, paused); err != nil {
		return err
	}
	tx.OnCommit(func() {
		if l := r.lane(queue); l != nil {
			l.due(time.Time{})
		}
	})
	return nil
}

// RetryFailed makes a failed job due again, as if new. It returns false if
// there's none with the key.
func (r *Runner) RetryFailed(ctx context.Context, tx *store.Tx, queue, key string) (bool, error) {
	now := time.Now()
	ok, err := reviveJob(ctx, tx, queue, key, now)
	if err != nil || !ok {
		return ok, err
	}
	tx.OnCommit(func() {
		if l := r.lane(queue); l != nil {
			l.due(now)
		}
	})
	return true, nil
}
