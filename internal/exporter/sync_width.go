package exporter

import (
	"sync"
	"time"
)

// minGets and maxGets bound the reads under way in a scope. A full sync is in no hurry, and is to
// leave the processors to those who are: reads that are answered at once are few. getEvery is the
// time from one read to the next that is aimed at.
const (
	minGets, maxGets = 4, 32
	getEvery         = 1500 * time.Microsecond
)

// width is how many resources of a scope are read at once: the more, the longer an answer is on
// its way.
type width struct {
	mu sync.Mutex
	// each is what a read takes: the least of late, as on a busy machine the rest is others'.
	each time.Duration
}

// took tells how long a read took.
func (w *width) took(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.each = leastOfLate(w.each, d)
}

// gets is how many resources are to be read at once.
func (w *width) gets() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return min(max(int(w.each/getEvery), minGets), maxGets)
}
