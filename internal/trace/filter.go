package trace

import "math/bits"

const (
	// filterBits for each entry and filterProbes make at most one lookup in forty of an
	// id that is not there read a segment for nothing.
	filterBits   = 8
	filterProbes = 5
)

// filter is a Bloom filter of ids: what it does not hold is not there.
type filter []uint64

func newFilter(hashes []uint64) filter {
	f := make(filter, (len(hashes)*filterBits+63)/64)
	for _, h := range hashes {
		f.each(h, func(word int, bit uint64) bool {
			f[word] |= bit
			return true
		})
	}
	return f
}

func (f filter) mayHold(h uint64) bool {
	if len(f) == 0 {
		return false
	}
	held := true
	f.each(h, func(word int, bit uint64) bool {
		held = f[word]&bit != 0
		return held
	})
	return held
}

func (f filter) each(h uint64, fn func(word int, bit uint64) bool) {
	n := uint64(len(f)) * 64
	step := bits.RotateLeft64(h, 32) | 1
	for range filterProbes {
		at, _ := bits.Mul64(h, n)
		if !fn(int(at/64), 1<<(at%64)) {
			return
		}
		h += step
	}
}
