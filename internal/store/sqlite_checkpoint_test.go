package store_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// The writer itself would not copy so little before the database is closed.
func TestWhatIsCommittedIsCopiedIntoTheFileMeanwhile(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(t.Context(), store.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	const size = 1 << 20
	if err := execStmt(t.Context(), db, `CREATE TABLE blob (b BLOB)`); err != nil {
		t.Fatal(err)
	}
	if err := execStmt(t.Context(), db, `INSERT INTO blob VALUES ($1)`, bytes.Repeat([]byte{1}, size)); err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for deadline := time.After(time.Minute); ; {
		fi, err := os.Stat(filepath.Join(dir, "rialto.db"))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Size() > size {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("the file has %d bytes", fi.Size())
		}
	}
}
