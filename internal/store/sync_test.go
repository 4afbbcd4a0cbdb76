package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	syncDirEnv = "RIALTO_STORE_SYNC_DIR"
	unsafeEnv  = "RIALTO_STORE_SYNC_UNSAFE"
	syncAcks   = 20
)

// SIGKILL cannot show that a commit is on the disk, as what the kernel holds outlives the process. So
// the system calls are watched: the log is synced before each acknowledgement.
func TestCommitIsSyncedBeforeItIsAcknowledged(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is not installed")
	}
	if synced, acked := tracedAcks(t, false); synced != syncAcks || acked != syncAcks {
		t.Errorf("%d of %d acknowledgements came after a sync, want all of %d", synced, acked, syncAcks)
	}
	// The check itself must be able to fail.
	if synced, acked := tracedAcks(t, true); synced != 0 || acked != syncAcks {
		t.Errorf("with syncing off %d of %d acknowledgements came after a sync", synced, acked)
	}
}

var (
	syncCall    = regexp.MustCompile(`^(\d+) +(?:fsync|fdatasync)\(\d+<[^>]*rialto\.db-wal>(.*)`)
	syncResumed = regexp.MustCompile(`^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>(.*)`)
	ackWrite    = regexp.MustCompile(`^\d+ +write\(1<.*"(begin|ack \d+)\\n"`)
)

// tracedAcks returns how many acknowledgements a process wrote, and before how many of them the
// log was synced since the one before.
func tracedAcks(t *testing.T, noSync bool) (synced, acked int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.CommandContext(ctx, "strace", "-f", "-y", "-e", "trace=write,fsync,fdatasync", "-o", log, os.Args[0])
	cmd.Env = append(os.Environ(), syncDirEnv+"="+t.TempDir())
	if noSync {
		cmd.Env = append(cmd.Env, unsafeEnv+"=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "ptrace") {
			t.Skipf("strace may not trace here: %s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := os.Open(log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begun, fresh := false, false
	pending := map[string]bool{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		if m := syncCall.FindStringSubmatch(line); m != nil {
			pending[m[1]] = strings.Contains(m[2], "unfinished")
			fresh = fresh || strings.HasSuffix(m[2], "= 0")
		} else if m := syncResumed.FindStringSubmatch(line); m != nil {
			fresh = fresh || pending[m[1]] && strings.HasSuffix(m[2], "= 0")
			delete(pending, m[1])
		} else if m := ackWrite.FindStringSubmatch(line); m != nil {
			if begun {
				acked++
				if fresh {
					synced++
				}
			}
			begun, fresh = true, false
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return synced, acked
}

// syncChild commits rows one after the other and says so after each.
func syncChild(dir string) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{DataDir: dir, UnsafeNoSync: os.Getenv(unsafeEnv) != ""})
	if err == nil {
		err = execStmt(ctx, db, `CREATE TABLE n (id BIGINT PRIMARY KEY)`)
	}
	fmt.Println("begin")
	for i := 0; i < syncAcks && err == nil; i++ {
		if err = execStmt(ctx, db, `INSERT INTO n (id) VALUES ($1)`, i); err == nil {
			fmt.Println("ack", i)
		}
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
