package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Connections one node opens to PostgreSQL. Reading has its own, so that a
// read inside an update never waits for a connection that updates hold.
const (
	postgresWriteConns = 16
	postgresReadConns  = 8
)

func (db *DB) openPostgres(ctx context.Context, url string, noSync bool) error {
	db.dialect = Postgres
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "rialto"
	}
	if noSync {
		cfg.RuntimeParams["synchronous_commit"] = "off"
	}
	where := fmt.Sprintf("open database %s on %s", cfg.Database, cfg.Host)
	db.write = stdlib.OpenDB(*cfg)
	db.write.SetMaxOpenConns(postgresWriteConns)
	db.write.SetMaxIdleConns(postgresWriteConns)
	db.read = stdlib.OpenDB(*cfg)
	db.read.SetMaxOpenConns(postgresReadConns)
	db.read.SetMaxIdleConns(postgresReadConns)
	for _, p := range []*sql.DB{db.read, db.write} {
		p.SetConnMaxIdleTime(5 * time.Minute)
	}
	if err := db.checkPostgres(ctx, noSync); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if err := migrate(ctx, db.write, Postgres); err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

func (db *DB) checkPostgres(ctx context.Context, noSync bool) error {
	var commit, fsync, encoding string
	err := db.write.QueryRowContext(ctx, `SELECT current_setting('synchronous_commit'), current_setting('fsync'), current_setting('server_encoding')`).
		Scan(&commit, &fsync, &encoding)
	if err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("its encoding is %s; Rialto needs UTF8: create the database with ENCODING 'UTF8'", encoding)
	}
	if commit == "off" && !noSync {
		return errors.New("synchronous_commit is off, so a crash would lose acknowledged changes: set it to on for this user or database")
	}
	if fsync != "on" {
		db.log.Warn("PostgreSQL runs with fsync off: a power cut may lose the database")
	}
	return nil
}

func postgresSync(ctx context.Context, db *sql.DB) (string, error) {
	var s string
	err := db.QueryRowContext(ctx, `SELECT 'fsync=' || current_setting('fsync') || ' synchronous_commit=' || current_setting('synchronous_commit')`).Scan(&s)
	if err != nil {
		return "", fmt.Errorf("read the sync setting: %w", err)
	}
	return s, nil
}

// maxTries bounds how often a transaction is tried that keeps losing: with the
// pauses below that is some ten seconds.
const maxTries = 50

// uniqueTries is how often a transaction is tried that inserts a key which exists. If another
// one inserted it since this one began, fn can see it at the next try, as it
// would have had they run one after the other.
const uniqueTries = 3

func (db *DB) updatePostgres(ctx context.Context, level sql.IsolationLevel, fn func(*Tx) error) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.closed {
		return ErrClosed
	}
	for try := 1; ; try++ {
		failed, err := db.tryPostgres(ctx, level, fn)
		again := isConflict(failed) && try < maxTries ||
			level == sql.LevelSerializable && IsUnique(failed) && try < uniqueTries
		if !again {
			return rethrow(err)
		}
		pause := time.Duration(rand.Int64N(int64(min(time.Millisecond<<min(try, 9), 400*time.Millisecond))))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryPostgres returns, beside the error, the one of the database: fn may have put its own
// words in the place of it.
func (db *DB) tryPostgres(ctx context.Context, level sql.IsolationLevel, fn func(*Tx) error) (failed, err error) {
	sqlTx, err := db.write.BeginTx(ctx, &sql.TxOptions{Isolation: level})
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	// After a commit this does nothing; it is for errors and runtime.Goexit.
	defer sqlTx.Rollback()
	tx := &Tx{db: db, q: sqlTx, started: time.Now()}
	if err := tx.run(ctx, fn); err != nil {
		if tx.err == nil {
			return err, err // perhaps of reading rows
		}
		return tx.err, err
	}
	if err := sqlTx.Commit(); err != nil {
		return err, fmt.Errorf("commit transaction: %w", err)
	}
	tx.runHooks()
	return nil, nil
}
