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
	// heldLong is how long reads may wait for their rate budget: where they wait longer, they are few,
	// as those that a budget cannot let go within readTime fail.
	heldLong = 5 * time.Second
)

// width is how many resources of a scope are read at once: the more, the longer an answer is on
// its way.
type width struct {
	mu sync.Mutex
	// each is what a read takes: the least of late, as on a busy machine the rest is others'.
	each time.Duration
}

// took tells how long a read took once it could go, and how long it was held back before.
func (w *width) took(d, held time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if held > heldLong {
		d = 0 // more of them would only wait with it
	}
	w.each = leastOfLate(w.each, d)
}

// gets is how many resources are to be read at once, most at most.
func (w *width) gets(most int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(min(int(w.each/getEvery), maxGets, most), minGets)
}

// getsAtOnce is how many resources of the scope are to be read at once.
func (r *scopeRun) getsAtOnce() int { return r.width.gets(r.gets.share(r.sc.Account)) }
