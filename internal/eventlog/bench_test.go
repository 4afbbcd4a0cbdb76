package eventlog

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// randomEntries are what compresses as little as real events under encryption would.
func randomEntries(n, size int) [][]byte {
	rnd := rand.NewChaCha8([32]byte{})
	entries := make([][]byte, n)
	for i := range entries {
		entries[i] = make([]byte, size)
		_, _ = rnd.Read(entries[i])
	}
	return entries
}

// BenchmarkAppend measures what callers see: one operation is one call. Compare with BenchmarkRawAppend at its ev/batch.
func BenchmarkAppend(b *testing.B) {
	for _, bb := range []struct {
		callers, entries, size int
		consumed               bool
	}{{1, 1, 1 << 10, false}, {64, 1, 1 << 10, false}, {64, 10, 1 << 10, false}, {64, 10, 1 << 10, true}, {256, 10, 1 << 10, false}} {
		b.Run(fmt.Sprintf("callers=%d/entries=%d/size=%d/consumed=%t", bb.callers, bb.entries, bb.size, bb.consumed), func(b *testing.B) {
			o := testOptions(b)
			o.MaxBytes = 32 << 30
			l := mustOpen(b, o)
			if bb.consumed {
				ctx, cancel := context.WithCancel(b.Context())
				var consumer sync.WaitGroup
				consumer.Go(func() {
					if err := l.Consume(ctx, (*Batch).Ack); err != nil {
						b.Error(err)
					}
				})
				defer func() { cancel(); consumer.Wait() }()
			}
			entries := randomEntries(bb.entries, bb.size)
			b.SetBytes(int64(bb.entries * bb.size))
			b.ResetTimer()
			var wg sync.WaitGroup
			for c := range bb.callers {
				wg.Go(func() {
					for i := c; i < b.N; i += bb.callers {
						if err := l.Append(b.Context(), entries); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			last, err := l.LastSeq(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			events := float64(b.N * bb.entries)
			b.ReportMetric(events/b.Elapsed().Seconds(), "ev/s")
			b.ReportMetric(events/float64(last), "ev/batch")
		})
	}
}

// BenchmarkRawAppend is what the disk allows: a write and an fdatasync for each batch, with nothing else. One operation is
// one batch of that many events of 1 KB.
func BenchmarkRawAppend(b *testing.B) {
	for _, events := range []int{1, 32, 320, 640, 1000} {
		b.Run(fmt.Sprintf("ev/batch=%d", events), func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			batch := bytes.Join(randomEntries(events, 1<<10), nil)
			b.SetBytes(int64(len(batch)))
			for b.Loop() {
				if _, err := f.Write(batch); err != nil {
					b.Fatal(err)
				}
				if err := unix.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "ev/s")
		})
	}
}
