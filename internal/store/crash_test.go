package store_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

const crashDirEnv = "RIALTO_STORE_CRASH_DIR"

// A process is killed in the middle of its work, several times over: what it had
// acknowledged is there, each row with the event that was published with it.
func TestKilledProcessKeepsWhatItAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := map[int]bool{}
	for round := range 3 {
		for _, id := range killedChild(t, dir, 300) {
			acked[id] = true
		}
		if len(acked) < 300*(round+1) {
			t.Fatalf("%d acknowledged after round %d", len(acked), round)
		}
	}
	db := openDir(t, dir)
	there := map[int]bool{}
	for _, id := range numbers(t, db) {
		there[id] = true
	}
	for id := range acked {
		if !there[id] {
			t.Errorf("row %d was acknowledged and is gone", id)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	published := map[string]bool{}
	err := db.RunOutbox(ctx, func(_ context.Context, recs []event.Record) error {
		for _, r := range recs {
			published[r.ID] = true
		}
		if len(published) == len(there) {
			cancel()
		}
		return nil
	})
	if ctx.Err() == nil {
		t.Fatal(err)
	}
	for id := range there {
		if !published[strconv.Itoa(id)] {
			t.Errorf("row %d is there and its event is not", id)
		}
	}
}

// killedChild has a process write until it has acknowledged so many rows, and kills it.
func killedChild(t *testing.T, dir string, rows int) (acked []int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), crashDirEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	killed := false
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line that was cut short acknowledged nothing
		}
		id, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("the process said %q", line)
		}
		acked = append(acked, id)
		if len(acked) >= rows && !killed {
			killed = true
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // it was killed
	return acked
}

// crashChild writes rows from many goroutines and prints the id of each after its commit.
func crashChild(dir string) {
	ctx := context.Background()
	db, err := store.Open(ctx, store.Options{DataDir: dir})
	if err == nil {
		err = execStmt(ctx, db, `CREATE TABLE IF NOT EXISTS n (id BIGINT PRIMARY KEY)`)
	}
	var last int64
	if err == nil {
		err = db.QueryRow(ctx, `SELECT COALESCE(MAX(id), 0) FROM n`).Scan(&last)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var next atomic.Int64
	next.Store(last)
	var out sync.Mutex
	for range 16 {
		go func() {
			for {
				id := next.Add(1)
				err := db.Update(ctx, func(tx *store.Tx) error {
					if _, err := tx.Exec(ctx, `INSERT INTO n (id) VALUES ($1)`, id); err != nil {
						return err
					}
					return tx.Publish(ctx, event.Record{ID: strconv.FormatInt(id, 10), JSON: []byte("{}")})
				})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println(id)
				out.Unlock()
			}
		}()
	}
	select {}
}
