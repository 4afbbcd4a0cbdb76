package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
)

// Reading costs no fsync and is bound by processors; more connections than
// this only cost memory.
const readConns = 8

func (db *DB) openSQLite(ctx context.Context, path string, noSync bool) error {
	db.dialect = SQLite
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	// SQLite gives its log the file's permissions.
	if err := createPrivate(abs); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	sync := "FULL"
	if noSync {
		sync = "OFF"
	}
	pragmas := []string{"journal_mode(WAL)", "synchronous(" + sync + ")", "wal_autocheckpoint(10000)", "journal_size_limit(67108864)", "cache_size(-65536)"}
	if db.write, err = openSQLitePool(sqliteDSN(abs, "immediate", pragmas...)); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	if err := migrate(ctx, db.write, SQLite); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	// The migrations may have used several; from here on there is one writer.
	db.write.SetMaxOpenConns(1)
	// This process holds the directory's lock, so whoever held a lease is gone.
	if _, err := db.write.ExecContext(ctx, `DELETE FROM lease`); err != nil {
		return fmt.Errorf("open database %s: release leases of the previous process: %w", path, err)
	}
	if db.read, err = openSQLitePool(sqliteDSN(abs, "deferred", "query_only(1)", "cache_size(-16384)")); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	db.read.SetMaxOpenConns(readConns)
	db.read.SetMaxIdleConns(readConns)
	if db.checkpoints, err = startCheckpointer(db, sqliteDSN(abs, "deferred", "synchronous("+sync+")")); err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("open database %s: %w", path, err)
	}
	// What undoes a job that fails is kept in memory: a file for it would be made and deleted in each
	// transaction. Not so for migrations, which may sort whole tables.
	if _, err := conn.ExecContext(ctx, `PRAGMA temp_store = MEMORY`); err != nil {
		return fmt.Errorf("open database %s: %w", path, errors.Join(err, conn.Close()))
	}
	return conn.Raw(func(c any) error {
		db.writer = startWriter(db, conn, c.(*sqliteConn))
		return nil
	})
}

func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// sqliteDSN escapes the path, which may hold characters that a URI gives a
// meaning to. The driver sets busy_timeout before the other pragmas, which may
// have to wait for a lock.
func sqliteDSN(path, txlock string, pragmas ...string) string {
	q := url.Values{
		"_txlock": {txlock},
		"_pragma": append([]string{"busy_timeout(10000)", "foreign_keys(1)"}, pragmas...),
	}
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath() + "?" + q.Encode()
}

// sqliteSync asks the writer's connection: the setting belongs to a
// connection, not to the file.
func (db *DB) sqliteSync(ctx context.Context) (string, error) {
	var journal string
	var sync int
	err := db.Update(ctx, func(tx *Tx) error {
		if err := tx.QueryRow(ctx, `PRAGMA journal_mode`).Scan(&journal); err != nil {
			return err
		}
		return tx.QueryRow(ctx, `PRAGMA synchronous`).Scan(&sync)
	})
	if err != nil {
		return "", fmt.Errorf("read the sync setting: %w", err)
	}
	names := []string{"OFF", "NORMAL", "FULL", "EXTRA"}
	if sync < 0 || sync >= len(names) {
		return "", fmt.Errorf("read the sync setting: unknown value %d", sync)
	}
	return fmt.Sprintf("journal_mode=%s synchronous=%s", journal, names[sync]), nil
}
