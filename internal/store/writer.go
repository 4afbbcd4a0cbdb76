package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
)

// One commit takes what queues up while the one before it is being synced, within these
// bounds: they keep the wait of the first job of a commit short.
const (
	maxCommitJobs = 64
	maxCommitTime = 20 * time.Millisecond
	// slowJob is how long a job may hold the writer before the log says so.
	slowJob = 250 * time.Millisecond
	// maxPassed is how many commits may go before a bulk job that waits.
	maxPassed = 8
)

// writer owns the only writing connection of a SQLite database.
type writer struct {
	db   *DB
	conn *sql.Conn
	raw  *sqliteConn // the same
	jobs chan *job
	bulk chan *job // see Bulk
	done chan struct{}

	// batch holds the jobs that ran in the open transaction.
	batch []*job
	// passed counts the commits since the last bulk job.
	passed int
}

type job struct {
	ctx  context.Context
	fn   func(*Tx) error
	tx   Tx
	err  error
	done chan struct{}
	// state makes sure that a job is either run or given up by its caller.
	state atomic.Int32
}

const (
	jobQueued int32 = iota
	jobRunning
	jobGivenUp
)

var errGoexit = errors.New("the function of the update ended its goroutine (runtime.Goexit, as t.FailNow does)")

func startWriter(db *DB, conn *sql.Conn, raw *sqliteConn) *writer {
	w := &writer{db: db, conn: conn, raw: raw, jobs: make(chan *job, 4*maxCommitJobs), bulk: make(chan *job), done: make(chan struct{})}
	go w.supervise()
	return w
}

// do hands fn to the writer and waits until it is committed.
func (w *writer) do(ctx context.Context, fn func(*Tx) error) error {
	j := &job{ctx: ctx, fn: fn, done: make(chan struct{})}
	if err := w.enqueue(ctx, j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobQueued, jobGivenUp) {
			return ctx.Err()
		}
		<-j.done
	}
	return rethrow(j.err)
}

func (w *writer) enqueue(ctx context.Context, j *job) error {
	w.db.mu.RLock()
	defer w.db.mu.RUnlock()
	if w.db.closed {
		return ErrClosed
	}
	queue := w.jobs
	if isBulk(ctx) {
		queue = w.bulk
	}
	select {
	case queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close runs the jobs that are queued and ends the writer. The caller has seen
// to it that no new ones come.
func (w *writer) close() error {
	close(w.jobs)
	<-w.done
	return w.conn.Close()
}

// supervise starts the loop anew when a job has ended its goroutine, so that a
// t.FailNow in one test's update does not hang every later one.
func (w *writer) supervise() {
	defer close(w.done)
	for ended := false; !ended; {
		finished := make(chan bool, 1)
		go func() {
			ok := false
			defer func() { finished <- ok }()
			w.loop()
			ok = true
		}()
		ended = <-finished
	}
}

func (w *writer) loop() {
	for j := w.next(); j != nil; j = w.next() {
		w.commitWith(j)
	}
}

// next waits for the job that the next commit begins with; nil is the end. Bulk jobs come when no
// others wait, or enough of those have gone before.
func (w *writer) next() *job {
	if w.passed >= maxPassed {
		select {
		case j := <-w.bulk:
			w.passed = 0
			return j
		default:
		}
	}
	select {
	case j := <-w.jobs:
		w.passed++
		return j
	default:
	}
	select {
	case j := <-w.jobs:
		w.passed++
		return j
	case j := <-w.bulk:
		w.passed = 0
		return j
	}
}

// commitWith runs the job and those queued behind it, but for bulk ones, in one transaction.
func (w *writer) commitWith(first *job) {
	err := errGoexit
	defer func() {
		if err != nil {
			w.rollback(err)
		}
		for _, j := range w.batch {
			close(j.done)
		}
		clear(w.batch)
		w.batch = w.batch[:0]
	}()
	if err = w.exec("BEGIN IMMEDIATE"); err != nil {
		err = fmt.Errorf("begin transaction: %w", err)
		if first.state.CompareAndSwap(jobQueued, jobRunning) {
			w.batch = append(w.batch, first)
		}
		return
	}
	err = errGoexit // what remains if a job ends this goroutine
	err = w.runQueued(first)
	if err != nil {
		return
	}
	if err = w.exec("COMMIT"); err != nil {
		err = fmt.Errorf("commit transaction: %w", err)
		return
	}
	w.db.checkpoints.committed()
	for _, j := range w.batch {
		if j.err == nil {
			j.tx.runHooks()
		}
	}
}

func (w *writer) runQueued(j *job) error {
	start := time.Now()
	for {
		if j.state.CompareAndSwap(jobQueued, jobRunning) {
			w.batch = append(w.batch, j)
			if err := w.runJob(j); err != nil {
				return err
			}
		}
		if len(w.batch) >= maxCommitJobs || time.Since(start) >= maxCommitTime {
			return nil
		}
		select {
		case next, ok := <-w.jobs:
			if !ok {
				return nil
			}
			j = next
		default:
			return nil
		}
	}
}

// runJob runs one job inside a savepoint. It returns an error only when the
// transaction that the job shares with others is lost.
func (w *writer) runJob(j *job) error {
	if err := w.exec("SAVEPOINT job"); err != nil {
		return fmt.Errorf("begin savepoint: %w", err)
	}
	j.err = errGoexit
	start := time.Now()
	j.tx = Tx{db: w.db, q: w.conn, started: start}
	j.err = j.tx.run(j.ctx, j.fn)
	if d := time.Since(start); d > slowJob {
		who := runtime.FuncForPC(reflect.ValueOf(j.fn).Pointer()).Name()
		w.db.log.Warn("an update held the database's writer for long", "function", who, "duration", d)
	}
	if j.err == nil {
		if err := w.exec("RELEASE job"); err != nil {
			return fmt.Errorf("release savepoint: %w", err)
		}
		return nil
	}
	// A full disk or an I/O error may have rolled back everything, in
	// which case the savepoint is gone.
	if err := w.exec("ROLLBACK TO job"); err != nil {
		if isDatabaseTrouble(j.tx.err) {
			err = j.tx.err
		}
		return fmt.Errorf("the transaction was lost: %w", err)
	}
	if err := w.exec("RELEASE job"); err != nil {
		return fmt.Errorf("release savepoint: %w", err)
	}
	return nil
}

// rollback ends the transaction after a failure that concerns every job in it.
func (w *writer) rollback(cause error) {
	for _, j := range w.batch {
		if j.err == nil {
			j.err = cause
		}
	}
	// The error, if any, says that there is nothing to roll back any more.
	_ = w.exec("ROLLBACK")
}

func (w *writer) exec(stmt string) error {
	_, err := w.conn.ExecContext(context.Background(), stmt)
	return err
}
