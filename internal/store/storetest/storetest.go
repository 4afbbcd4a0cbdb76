// Package storetest opens databases for tests: a test written with Run holds
// on SQLite and on PostgreSQL.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
)

// Run runs f as a subtest on each kind of database, with a fresh migrated one
// that is gone when the subtest ends. PostgreSQL is the server in
// RIALTO_TEST_POSTGRES (a postgres:// URL whose user may create databases), or else one that is
// started for this test process from the server programs on this machine; where there is
// neither, its subtest is skipped with the reason.
func Run(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// SQLite opens a fresh SQLite database. It does not sync, as tests do
// not cut the power.
func SQLite(t testing.TB) *store.DB {
	t.Helper()
	migrated, err := migratedSQLite()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "rialto.db"), migrated, 0o600); err != nil {
		t.Fatal(err)
	}
	return open(t, store.Options{DataDir: dir, UnsafeNoSync: true})
}

// migratedSQLite is a fresh database's file, made once for this process.
var migratedSQLite = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "rialto-sqlite-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := store.Open(context.Background(), store.Options{DataDir: dir, UnsafeNoSync: true})
	if err != nil {
		return nil, err
	}
	// Closing moves all of the log into the file.
	if err := db.Close(); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "rialto.db"))
})

// Postgres opens a fresh PostgreSQL database, or skips the test.
func Postgres(t testing.TB) *store.DB {
	t.Helper()
	return open(t, store.Options{URL: PostgresURL(t)})
}

func open(t testing.TB, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
