package eventlog

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// lockedBuffer is written to by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func TestReaderSlowerThanTheLogGrowsMissesNothing(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	o := testOptions(t)
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	l := mustOpen(t, o)
	mustAppend(t, l, "first")
	enough := errors.New("enough")
	next := uint64(1)
	err := l.Read(t.Context(), 1, func(b *Batch) error {
		if b.Seq != next {
			t.Errorf("batch %d follows %d", b.Seq, next-1)
		}
		for range 3 {
			mustAppend(t, l, "more")
		}
		if next++; next > 100 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, trouble := range []string{"slow consumer", "reading again"} {
		if n := strings.Count(log.String(), trouble); n > 0 {
			t.Errorf("the log says %q %d times", trouble, n)
		}
	}
}

func TestReaderThatWasHeldUpGetsTheLastBatch(t *testing.T) {
	t.Parallel()
	o := testOptions(t)
	o.readAhead = 3
	l := mustOpen(t, o)
	mustAppend(t, l, "first")
	enough := errors.New("enough")
	err := l.Read(t.Context(), 1, func(b *Batch) error {
		if b.Seq == 2 {
			return enough
		}
		<-time.After(4 * readHeartbeat) // heartbeats fill the client
		mustAppend(t, l, "last")
		<-time.After(readHeartbeat / 4)
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
}
