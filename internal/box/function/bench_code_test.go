package function

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// BenchmarkStoreCode stores packages of 50 MiB, and reports how long the longest of their
// transactions held the writer.
func BenchmarkStoreCode(b *testing.B) {
	f := newFixture(b, storetest.SQLite(b))
	packed := make([]byte, maxPacked)
	random := rand.NewChaCha8([32]byte{})
	longest := time.Duration(0)
	b.SetBytes(maxPacked)
	for range b.N {
		_, _ = random.Read(packed[:64])
		sum := sha256.Sum256(packed)
		name := hex.EncodeToString(sum[:])
		number := 0
		for part := range bytesChunks(packed) {
			err := f.db.Update(b.Context(), func(tx *store.Tx) error {
				began := time.Now()
				defer func() { longest = max(longest, time.Since(began)) }()
				return insertChunk(b.Context(), tx, name, number, part)
			})
			if err != nil {
				b.Fatal(err)
			}
			number++
		}
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest")
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/float64(maxPacked/chunkSize), "ms/chunk")
}

// BenchmarkUnpack unpacks what a small function with its libraries may hold: 2,000 files.
func BenchmarkUnpack(b *testing.B) {
	entries := make([]entry, 2000)
	for i := range entries {
		entries[i] = entry{name: fmt.Sprintf("node_modules/m%d/lib/f%d.js", i%100, i), text: string(make([]byte, 4<<10)), mode: 0o644}
	}
	packed := zipOf(entries...)
	b.SetBytes(int64(len(packed)))
	for range b.N {
		if _, err := unpacked(b, packed); err != nil {
			b.Fatal(err)
		}
	}
}
