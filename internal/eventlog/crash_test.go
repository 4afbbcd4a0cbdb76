package eventlog

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const (
	crashDir   = "EVENTLOG_TEST_CRASH_DIR"
	crashRound = "EVENTLOG_TEST_CRASH_ROUND"
)

// runCrashChild is the process that TestKilledProcessLosesNothingAcknowledged kills. It prints each entry once Append has
// acknowledged it.
func runCrashChild() bool {
	dir := os.Getenv(crashDir)
	if dir == "" {
		return false
	}
	l, err := Open(context.Background(), Options{Dir: dir, Name: "child", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for c := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s/%d/%d", os.Getenv(crashRound), c, i)
				if err := l.Append(context.Background(), toEntries(id+strings.Repeat(" ", 500))); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(id)
				mu.Unlock()
			}
		}()
	}
	if err := l.Consume(context.Background(), func(b *Batch) { b.Ack() }); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(1)
	return true
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	acked := map[string]bool{}
	for round := range 3 {
		for _, id := range runAndKill(t, o.Dir, round, 2000) {
			acked[id] = true
		}
	}
	for _, e := range readAll(t, mustOpen(t, o)) {
		delete(acked, strings.TrimSpace(e))
	}
	if len(acked) > 0 {
		t.Errorf("%d acknowledged entries are gone", len(acked))
	}
}

// runAndKill starts a child on dir, kills it after it has printed n entries, and returns all that it printed.
func runAndKill(t *testing.T, dir string, round, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprint(crashRound, "=", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		ids = append(ids, lines.Text())
		if len(ids) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait() // killed
	if len(ids) < n {
		t.Fatalf("the child ended after %d entries", len(ids))
	}
	return ids
}
