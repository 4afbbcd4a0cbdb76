// Package store is the SQL state of Rialto: it opens SQLite or PostgreSQL,
// migrates the schema, runs transactions, and relays the outbox. Every package
// that keeps state does so through it, with its own hand-written SQL in its
// own store.go; this package knows no domain.
//
// # Writing SQL that both databases take
//
//   - Placeholders are $1, $2, … and may repeat; both drivers bind by number.
//   - Times are BIGINT unix milliseconds, UTC, in columns named *_at.
//     Booleans are BOOLEAN (scan into bool), JSON is TEXT, 64-bit numbers BIGINT.
//   - Only DDL differs: BLOB and INTEGER PRIMARY KEY AUTOINCREMENT on SQLite, BYTEA
//     and BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY on PostgreSQL. Both
//     migration folders hold the same file names.
//   - INSERT … RETURNING id instead of LastInsertId, which PostgreSQL lacks.
//   - INSERT … ON CONFLICT (key) DO UPDATE SET x = excluded.x for upserts. A unique
//     violation ends the transaction on both databases: to go on after a
//     conflict, use ON CONFLICT DO NOTHING and look at RowsAffected.
//   - Rows that several workers take are selected with [Dialect.SkipLocked] at the end
//     of the SELECT; a row that must not change under you with [Dialect.ForUpdate].
//     Both are empty on SQLite, which has one writer.
//   - On PostgreSQL, TEXT columns that are ordered or compared by range are declared
//     TEXT COLLATE "C", so that both databases order by code point.
//   - LIKE ignores ASCII case on SQLite only. For prefixes write
//     name >= $1 AND name < $2 with [PrefixEnd].
//   - Untyped parameters in a SELECT list need a CAST on PostgreSQL.
//
// # Transactions
//
// All writing goes through [DB.Update]. It behaves on both databases as if
// transactions ran one after another. Its function may run more than once, so
// it must only touch the database and variables that it sets anew each time. Both
// databases hold it to PostgreSQL's rules: rows are closed before the next
// statement, and nothing follows a statement that failed.
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// Options say which database to open.
type Options struct {
	// DataDir is the directory of this node's files. It is created if missing and
	// locked while the DB is open. Required for SQLite; may be empty for PostgreSQL.
	DataDir string
	// URL is postgres://user:password@host/database?…; empty means SQLite in
	// DataDir/rialto.db.
	URL string
	// Logger takes warnings about the database. Nil discards them.
	Logger *slog.Logger
	// UnsafeNoSync turns off syncing to disk, so that commits no longer survive a
	// power cut. For tests only: it lets a test of durability see itself fail.
	UnsafeNoSync bool
}

// DB is an open database. Its methods are safe for concurrent use.
type DB struct {
	dialect     Dialect
	log         *slog.Logger
	read        *sql.DB
	write       *sql.DB
	writer      *writer       // SQLite only
	checkpoints *checkpointer // SQLite only
	lock        io.Closer
	node        string // marks our rows in the outbox
	outbox      chan struct{}
	// outboxSoon: the relay is going to be woken.
	outboxSoon atomic.Bool

	// mu is held for reading by whoever begins an update, so that Close waits.
	mu     sync.RWMutex
	closed bool
}

// Querier reads: a DB, or a Tx that sees its own changes. Functions that only
// read take one, so that they work inside and outside a transaction.
type Querier interface {
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
	Dialect() Dialect
}

// Open opens the database, creating it if it's missing, and migrates it to
// this program's schema. It fails when another process uses the data
// directory, when the schema was written by a newer Rialto, and when the
// database isn't set to make commits durable.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	db := &DB{log: o.Logger, outbox: make(chan struct{}, 1)}
	if o.URL == "" && o.DataDir == "" {
		return nil, errors.New("open database: neither a data directory nor a database URL is given")
	}
	if o.DataDir != "" {
		lock, err := lockDataDir(o.DataDir)
		if err != nil {
			return nil, err
		}
		db.lock = lock
	}
	if err := db.open(ctx, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, o Options) error {
	if o.URL == "" {
		return db.openSQLite(ctx, filepath.Join(o.DataDir, "rialto.db"), o.UnsafeNoSync)
	}
	scheme, _, _ := strings.Cut(o.URL, "://")
	if scheme != "postgres" && scheme != "postgresql" {
		return fmt.Errorf("open database: the URL's scheme is %q; Rialto speaks postgres://", scheme)
	}
	db.node = rand.Text()
	return db.openPostgres(ctx, o.URL, o.UnsafeNoSync)
}

// Close waits for the updates that were accepted, refuses new ones with
// ErrClosed, and closes the database. A second Close does nothing.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	db.mu.Unlock()
	var errs []error
	if db.writer != nil {
		errs = append(errs, db.writer.close())
	}
	if db.checkpoints != nil {
		errs = append(errs, db.checkpoints.close())
	}
	for _, p := range []*sql.DB{db.read, db.write} {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close database: %w", err)
	}
	return nil
}

// Dialect says which database this is.
func (db *DB) Dialect() Dialect { return db.dialect }

// Query reads outside any transaction, from a pool of its own that a writer
// never blocks. The caller closes the rows, and before its next query: the pool is
// small, and callers who each hold a connection and wait for another wait forever. Inside
// Update it does not see what the transaction did. Writing through it fails on SQLite.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return db.read.QueryContext(ctx, query, args...)
}

// QueryRow reads one row outside any transaction. Scan returns sql.ErrNoRows
// when there is none.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	return db.read.QueryRowContext(ctx, query, args...)
}

// SyncSetting reads back from the running database what makes commits
// durable: "journal_mode=wal synchronous=FULL" on SQLite, "fsync=on
// synchronous_commit=on" on PostgreSQL when all is well.
func (db *DB) SyncSetting(ctx context.Context) (string, error) {
	if db.dialect == SQLite {
		return db.sqliteSync(ctx)
	}
	return postgresSync(ctx, db.write)
}

// Size returns how many bytes the database takes on disk, its log included.
func (db *DB) Size(ctx context.Context) (int64, error) {
	var n int64
	if db.dialect == Postgres {
		err := db.QueryRow(ctx, `SELECT pg_database_size(current_database())`).Scan(&n)
		return n, err
	}
	var file string
	if err := db.QueryRow(ctx, `SELECT file FROM pragma_database_list WHERE name = 'main'`).Scan(&file); err != nil {
		return 0, err
	}
	for _, f := range []string{file, file + "-wal"} {
		fi, err := os.Stat(f)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		n += fi.Size()
	}
	return n, nil
}
