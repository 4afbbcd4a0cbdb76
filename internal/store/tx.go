package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"runtime/debug"
	"time"
)

// Tx is a transaction in progress. It is for the goroutine and the duration of
// the function that Update gave it to.
//
// After a statement has failed nothing more can be done in the transaction:
// PostgreSQL refuses further statements, so SQLite does here too, and Update
// returns the first failure even when the function returns nil.
type Tx struct {
	db       *DB
	q        execQuerier
	started  time.Time
	err      error // the first failed statement
	done     bool
	results  []io.Closer // to be closed at the end, should fn have left them open
	onCommit []func()
}

type execQuerier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// errRowsOpen is PostgreSQL's rule, held to on SQLite too.
var errRowsOpen = errors.New("the rows of an earlier query are still open; close them before the transaction's next statement")

var errTxDone = errors.New("transaction used after its function returned")

// Dialect says which database this is.
func (tx *Tx) Dialect() Dialect { return tx.db.dialect }

// StartedAt is when the transaction, or its part of a commit on SQLite, began.
func (tx *Tx) StartedAt() time.Time { return tx.started }

// Exec runs a statement that returns no rows.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	res, err := tx.q.ExecContext(tx.stmtContext(ctx), query, args...)
	return res, tx.fail(err)
}

// Query runs a statement that returns rows, SELECT or RETURNING. The caller
// reads and closes them before the transaction's next statement: PostgreSQL
// has one conversation per transaction.
func (tx *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if err := tx.usable(ctx); err != nil {
		return nil, err
	}
	rows, err := tx.q.QueryContext(tx.stmtContext(ctx), query, args...)
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.results = append(tx.results, rows)
	return rows, nil
}

// QueryRow runs a statement that returns at most one row. Scan returns
// sql.ErrNoRows when there is none, which leaves the transaction usable.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if err := tx.usable(ctx); err != nil {
		// Only a query can make a sql.Row, so let one fail with the error.
		return tx.q.QueryRowContext(endedContext{ctx, err}, query, args...)
	}
	row := tx.q.QueryRowContext(tx.stmtContext(ctx), query, args...)
	tx.results = append(tx.results, unreadRow{row})
	if err := row.Err(); err != nil && !errors.Is(err, sql.ErrNoRows) {
		_ = tx.fail(err) // the row has it, too
	}
	return row
}

// OnCommit calls f once the transaction is durable, before Update returns, and
// never if it is not. On SQLite the functions run in the order of the commits; on
// PostgreSQL those of concurrent transactions may run in any order, so what
// they set in memory carries a version. f must be quick, as it holds up
// other writers, and must not call Update.
func (tx *Tx) OnCommit(f func()) { tx.onCommit = append(tx.onCommit, f) }

func (tx *Tx) usable(ctx context.Context) error {
	if tx.done {
		return errTxDone
	}
	if tx.err != nil {
		return fmt.Errorf("transaction failed before: %w", tx.err)
	}
	if tx.db.dialect == SQLite && tx.db.writer.raw.openRows > 0 {
		return tx.fail(errRowsOpen)
	}
	return ctx.Err()
}

// endedContext has ended with an error of ours.
type endedContext struct {
	context.Context
	err error
}

var alreadyClosed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done is closed from the start.
func (c endedContext) Done() <-chan struct{} { return alreadyClosed }

// Err returns the error that the query is to fail with.
func (c endedContext) Err() error { return c.err }

// unreadRow closes a row that was perhaps never scanned.
type unreadRow struct{ row *sql.Row }

// Close reads the row to its end.
func (r unreadRow) Close() error { return r.row.Scan() }

func (tx *Tx) fail(err error) error {
	if err != nil && tx.err == nil {
		tx.err = err
	}
	return err
}

// stmtContext hides cancellation from SQLite: interrupting a statement rolls
// the whole transaction back, and with it the other callers' jobs that
// share it. The context is looked at between statements instead.
func (tx *Tx) stmtContext(ctx context.Context) context.Context {
	if tx.db.dialect == SQLite {
		return context.WithoutCancel(ctx)
	}
	return ctx
}

// Update runs fn in a transaction and returns nil only once the commit is
// durable. When fn returns an error or panics, nothing of it remains, and
// Update returns that error or panics in turn.
//
// fn may run several times, when PostgreSQL finds that transactions got in
// each other's way. It must not wait for anything but the database: on SQLite
// it holds the only writer, for at most 20 ms.
//
// Many callers share one commit on SQLite. If that commit fails, each of them
// gets the error. Calling Update inside fn, for whichever DB, returns ErrNested; fn must
// not wait for another goroutine that calls it, either. After Close it returns ErrClosed.
func (db *DB) Update(ctx context.Context, fn func(tx *Tx) error) error {
	return db.update(ctx, sql.LevelSerializable, fn)
}

// UpdateReadCommitted is Update for hot paths on PostgreSQL whose statements are right
// by their own row locks: each sees what was committed when it began,
// and concurrent transactions do not fail each other. Use it where rows are taken with
// SkipLocked or changed by single statements. On SQLite it is Update.
func (db *DB) UpdateReadCommitted(ctx context.Context, fn func(tx *Tx) error) error {
	return db.update(ctx, sql.LevelReadCommitted, fn)
}

func (db *DB) update(ctx context.Context, level sql.IsolationLevel, fn func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if insideUpdate() {
		return ErrNested
	}
	if db.dialect == SQLite {
		return db.writer.do(ctx, fn)
	}
	return db.updatePostgres(ctx, level, fn)
}

// callFn has a place of its own on the stack, by which insideUpdate knows it.
//
//go:noinline
func callFn(tx *Tx, fn func(*Tx) error) error {
	return fn(tx)
}

// run calls fn, and then the hook of ctx, and turns a panic into an error; runtime.Goexit
// passes through.
func (tx *Tx) run(ctx context.Context, fn func(*Tx) error) (err error) {
	defer func() {
		for _, r := range tx.results {
			_ = r.Close()
		}
		tx.done, tx.results = true, nil
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	if err := callFn(tx, fn); err != nil {
		return err
	}
	if hook := hookOf(ctx); hook != nil && tx.err == nil {
		if err := callFn(tx, func(tx *Tx) error { return hook(ctx, tx) }); err != nil {
			return err
		}
	}
	return tx.err
}

// runHooks calls what OnCommit registered. The transaction is committed: a hook
// that panics changes nothing about it, and must not take the writer with it.
func (tx *Tx) runHooks() {
	call := func(f func()) {
		defer func() {
			if v := recover(); v != nil {
				tx.db.log.Error("a function to run after a commit panicked", "panic", v, "stack", string(debug.Stack()))
			}
		}()
		f()
	}
	for _, f := range tx.onCommit {
		_ = callFn(tx, func(*Tx) error { call(f); return nil })
	}
}

// panicError carries a panic from the function of an Update to its caller.
type panicError struct {
	value any
	stack []byte
}

// Error says what the function panicked with.
func (p *panicError) Error() string {
	return fmt.Sprintf("panic in a transaction: %v\n\n%s", p.value, p.stack)
}

// Unwrap returns the value of the panic, if it is an error.
func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// rethrow panics in the caller of Update if its function did.
func rethrow(err error) error {
	if p, ok := errors.AsType[*panicError](err); ok {
		panic(p)
	}
	return err
}

var callFnEntry = reflect.ValueOf(callFn).Pointer()

// insideUpdate says whether the function of an Update is among our callers:
// on SQLite it would then wait for itself forever.
func insideUpdate() bool {
	var pcs [128]uintptr
	for _, pc := range pcs[:runtime.Callers(3, pcs[:])] {
		if f := runtime.FuncForPC(pc - 1); f != nil && f.Entry() == callFnEntry {
			return true
		}
	}
	return false
}
