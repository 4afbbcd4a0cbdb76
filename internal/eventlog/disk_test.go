package eventlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a file system of its own for one test.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		t.Skipf("needs the right to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillDisk leaves only so many bytes free. The returned file gives the rest back when it is removed.
func fillDisk(t *testing.T, dir string, leave int64) string {
	t.Helper()
	free, err := freeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "filler")
	if err := os.WriteFile(name, make([]byte, free-leave), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNearlyFullDiskThrottlesUntilThereIsSpace(t *testing.T) {
	o := testOptions(t)
	o.Dir = smallDisk(t, 64<<20)
	o.ReserveBytes = 8 << 20
	l := mustOpen(t, o)
	mustAppend(t, l, "before")
	filler := fillDisk(t, o.Dir, 7<<20)
	if err := l.Append(t.Context(), toEntries("refused")); !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, l, "after")
	if got := readAll(t, l); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("log holds %q", got)
	}
}

func TestNearlyFullDiskIsFreedOfWhatIsDelivered(t *testing.T) {
	o := testOptions(t)
	o.Dir = smallDisk(t, 64<<20)
	o.MaxBytes = 1 << 30
	o.ReserveBytes = 8 << 20
	l := mustOpen(t, o)
	background(t, func(ctx context.Context) error { return l.RunTrimmer(ctx, noHold) })
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { b.Ack() })
	})
	payload := string(bytes.Repeat([]byte("x"), 1<<20))
	for range 150 {
		mustAppend(t, l, payload)
	}
}

func TestFailedWriteAcknowledgesNothingAndTheLogRecovers(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.Dir = smallDisk(t, 64<<20)
	l := mustOpen(t, o)
	consumed := make(chan string, 1000)
	background(t, func(ctx context.Context) error {
		return l.Consume(ctx, func(b *Batch) { consumed <- string(b.Entries[0][:8]); b.Ack() })
	})
	followed := make(chan string, 1000)
	background(t, func(ctx context.Context) error {
		return l.Read(ctx, 0, func(b *Batch) error { followed <- string(b.Entries[0][:8]); return nil })
	})
	mustAppend(t, l, "entry  0")
	receive(t, consumed)
	receive(t, followed)

	// Without the reserve the engine runs into the end of the disk, as it does when others fill it between two writes.
	l.opts.ReserveBytes = -1 << 40
	filler := fillDisk(t, o.Dir, 4<<20)
	var want []string
	var err error
	for i := 1; err == nil; i++ {
		id := fmt.Sprintf("entry %2d", i)
		if err = l.Append(t.Context(), [][]byte{append([]byte(id), make([]byte, 1<<20)...)}); err == nil {
			want = append(want, id)
		}
	}
	if !errors.Is(err, ErrUnavailable) || len(want) > 4 {
		t.Fatalf("after %d MiB of 4: %v, want ErrUnavailable", len(want), err)
	}
	l.opts.ReserveBytes = 1 << 20
	if err := l.Append(t.Context(), toEntries("refused")); !errors.Is(err, ErrFull) {
		t.Errorf("while the disk is full: %v, want ErrFull", err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	want = append(want, "recovers")
	if err := appendUntilStored(t, l, "recovers"); err != nil {
		t.Fatal(err)
	}
	for name, ch := range map[string]chan string{"consumer": consumed, "reader": followed} {
		seen := map[string]bool{}
		for !seen["recovers"] {
			seen[receive(t, ch)] = true
		}
		for _, id := range want {
			if !seen[id] {
				t.Errorf("%s: acknowledged entry %q did not arrive", name, id)
			}
		}
	}
}

// appendUntilStored does what a client does that is told to try again.
func appendUntilStored(t *testing.T, l *Log, entry string) error {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := l.Append(t.Context(), toEntries(entry))
		if err == nil || time.Now().After(deadline) {
			return err
		}
	}
}
