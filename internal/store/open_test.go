package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func openDir(t *testing.T, dir string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestOpenKeepsWhatIsThere(t *testing.T) {
	// Characters that mean something in a URI, and some that are not ASCII.
	dir := filepath.Join(t.TempDir(), "数据 ?mode=memory&x=%41#🚀", "deep")
	db := openDir(t, dir)
	createTable(t, db)
	if err := execStmt(t.Context(), db, `INSERT INTO n (id) VALUES (1)`); err != nil {
		t.Fatal(err)
	}
	if ok, err := db.Acquire(t.Context(), "lease", "the former process", 1<<40); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(filepath.Join(dir, "rialto.db")); err != nil || fi.Mode().Perm()&0o077 != 0 {
		t.Fatalf("the file is %v, %v", fi.Mode(), err)
	}
	db = openDir(t, dir)
	if got := numbers(t, db); len(got) != 1 {
		t.Fatalf("rows %v", got)
	}
	if ok, err := db.Acquire(t.Context(), "lease", "this process", 1<<40); !ok || err != nil {
		t.Fatalf("the lease of a process that is gone: %v, %v", ok, err)
	}
}

func TestDataDirIsLocked(t *testing.T) {
	dir := t.TempDir()
	openDir(t, dir)
	_, err := store.Open(t.Context(), store.Options{DataDir: dir})
	want := fmt.Sprintf("data directory %s is in use by process %d; stop it or choose another --data-dir", dir, os.Getpid())
	if err == nil || err.Error() != want {
		t.Fatalf("second Open = %v\nwant %s", err, want)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	garbage := t.TempDir()
	if err := os.WriteFile(filepath.Join(garbage, "rialto.db"), []byte(strings.Repeat("not a database ", 400)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		o    store.Options
		want string
	}{
		"neither":       {store.Options{}, "neither a data directory nor a database URL"},
		"a file":        {store.Options{DataDir: file}, "it is a file"},
		"not SQLite":    {store.Options{DataDir: garbage}, "rialto.db"},
		"mysql":         {store.Options{URL: "mysql://host/db"}, `scheme is "mysql"`},
		"no such host":  {store.Options{URL: "postgres://user:secret@127.0.0.1:1/db"}, "open database db on 127.0.0.1"},
		"malformed URL": {store.Options{URL: "postgres://user:secret@host:port/db"}, "open database"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := store.Open(t.Context(), c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Open = %v, want something with %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Fatalf("the error tells the password: %v", err)
			}
		})
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	newer := `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)`
	check := func(t *testing.T, o store.Options) {
		t.Helper()
		_, err := store.Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "the database has schema 99999 and was written by a newer Rialto") {
			t.Fatalf("Open = %v", err)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		db := openDir(t, dir)
		if err := execStmt(t.Context(), db, newer); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, store.Options{DataDir: dir})
	})
	t.Run("postgres", func(t *testing.T) {
		url := storetest.PostgresURL(t)
		db, err := store.Open(t.Context(), store.Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := execStmt(t.Context(), db, newer); err != nil {
			t.Fatal(err)
		}
		check(t, store.Options{URL: url})
	})
}

func TestNodesOpenOnePostgresTogether(t *testing.T) {
	url := storetest.PostgresURL(t)
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() {
			db, err := store.Open(t.Context(), store.Options{URL: url})
			if err == nil {
				err = db.Close()
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSyncSettingIsReadFromTheRunningDatabase(t *testing.T) {
	check := func(t *testing.T, o store.Options, want string) {
		t.Helper()
		db, err := store.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if got, err := db.SyncSetting(t.Context()); err != nil || !strings.HasSuffix(got, want) {
			t.Errorf("SyncSetting = %q, %v; want %q", got, err, want)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		check(t, store.Options{DataDir: t.TempDir()}, "journal_mode=wal synchronous=FULL")
		check(t, store.Options{DataDir: t.TempDir(), UnsafeNoSync: true}, "journal_mode=wal synchronous=OFF")
	})
	t.Run("postgres", func(t *testing.T) {
		url := storetest.PostgresURL(t)
		check(t, store.Options{URL: url}, "synchronous_commit=on")
		check(t, store.Options{URL: url, UnsafeNoSync: true}, "synchronous_commit=off")
		_, err := store.Open(t.Context(), store.Options{URL: url + "&synchronous_commit=off"})
		if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
			t.Errorf("Open with synchronous_commit off = %v", err)
		}
	})
}

func TestSize(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		if n, err := db.Size(t.Context()); err != nil || n < 4096 {
			t.Fatalf("Size = %d, %v", n, err)
		}
	})
}

// Both folders make the same tables, with the same columns.
func TestMigrationsOfBothDialectsAgree(t *testing.T) {
	columns := func(db *store.DB, query string) map[string]bool {
		rows, err := db.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		got := map[string]bool{}
		for rows.Next() {
			var table, column string
			if err := rows.Scan(&table, &column); err != nil {
				t.Fatal(err)
			}
			if table != "goose_db_version" && table != "sqlite_sequence" {
				got[table+"."+column] = true
			}
		}
		return got
	}
	lite := columns(storetest.SQLite(t), `SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'`)
	pg := columns(storetest.Postgres(t), `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'`)
	for c := range lite {
		if !pg[c] {
			t.Errorf("%s is only in sqlite", c)
		}
	}
	for c := range pg {
		if !lite[c] {
			t.Errorf("%s is only in postgres", c)
		}
	}
}
