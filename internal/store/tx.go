package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
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
	err      error // the first failed statement
	done     bool
	onCommit []func()
}

type execQuerier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

var errTxDone = errors.New("transaction used after its function returned")

// Dialect says which database this is.
func (tx *Tx) Dialect() Dialect { return tx.db.dialect }

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
	return rows, tx.fail(err)
}

// QueryRow runs a statement that returns at most one row. Scan returns
// sql.ErrNoRows when there is none, which leaves the transaction usable.
func (tx *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if tx.usable(ctx) != nil {
		// sql.Row can only be made by a query, so let one fail.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return tx.q.QueryRowContext(ended, query, args...)
	}
	row := tx.q.QueryRowContext(tx.stmtContext(ctx), query, args...)
	if err := row.Err(); err != nil && !errors.Is(err, sql.ErrNoRows) {
		tx.fail(err)
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
	return ctx.Err()
}

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
// gets the error. Calling Update inside fn returns ErrNested (from the same goroutine;
// fn must not wait for another goroutine that calls Update, either).
// After Close it returns ErrClosed.
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
	id := goroutineID()
	if _, nested := db.updating.Load(id); nested {
		return ErrNested
	}
	if db.dialect == SQLite {
		return db.writer.do(ctx, fn)
	}
	db.updating.Store(id, struct{}{})
	defer db.updating.Delete(id)
	return db.updatePostgres(ctx, level, fn)
}

// run calls fn and turns a panic into an error; runtime.Goexit passes through.
func (tx *Tx) run(fn func(*Tx) error) (err error) {
	defer func() {
		tx.done = true
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.err
}

// panicError carries a panic from the function of an Update to its caller.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string {
	return fmt.Sprintf("panic in a transaction: %v\n\n%s", p.value, p.stack)
}

func (p *panicError) Unwrap() error {
	err, _ := p.value.(error)
	return err
}

// rethrow panics in the caller of Update if its function did.
func rethrow(err error) error {
	if p, ok := err.(*panicError); ok {
		panic(p)
	}
	return err
}

// goroutineID reads the id that the runtime prints at the head of a stack:
// there is no other way to see that a function called us back.
func goroutineID() uint64 {
	var buf [64]byte
	b := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	b, _, _ = bytes.Cut(b, []byte(" "))
	id, _ := strconv.ParseUint(string(b), 10, 64)
	return id
}
