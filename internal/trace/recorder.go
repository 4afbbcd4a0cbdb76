package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
)

const (
	// flushEvery is how often what was recorded is written, flushBytes how much of it
	// at once: what a killed process loses.
	flushEvery = 250 * time.Millisecond
	flushBytes = 256 << 10
	// maxPending bounds what waits to be written, in bytes; beyond it entries are
	// dropped.
	maxPending = 8 << 20
	// MinBytes and MaxBytes bound RecorderOptions.Bytes: what is told apart by ids takes
	// about a thirtieth of it in memory.
	MinBytes = 1 << 20
	MaxBytes = 16 << 30
	// segmentsKept is about how many segments the space is cut into, so that dropping
	// the oldest costs little, as long as one can be read at once.
	segmentsKept    = 256
	minSegmentBytes = 256 << 10
	maxSegmentBytes = 16 << 20
	// minSegments bounds the segments where restarts made small ones: that many, or
	// twice those that fill the space.
	minSegments = 1024
	// maxSpare bounds the buffers that are kept to be used again, spareBytes their size.
	maxSpare   = 4
	spareBytes = 2 * flushBytes
	// maxGaps bounds the gaps that are remembered.
	maxGaps = 100
	// warnEvery is how often the log is told that entries are lost.
	warnEvery = time.Minute
)

// RecorderOptions are what a Recorder is made of; all are required.
type RecorderOptions struct {
	// Dir is the directory of the segments, made when missing.
	Dir string
	// Bytes is the most that the segments may take, MinBytes to MaxBytes.
	Bytes int64
	// Node names this process among the nodes of a cluster.
	Node   string
	Logger *slog.Logger
	Now    func() time.Time
}

// Recorder records what becomes of events in files of its own: bounded, written
// behind, not synced, the oldest dropped first. It implements delivery.Tracer. Use
// OpenRecorder, then Run.
type Recorder struct {
	RecorderOptions
	segmentBytes int
	store        *segments

	mu      sync.Mutex
	enc     *encoder
	sealed  []chunk // wait to be written, in order
	pending int     // bytes in sealed
	spare   []buffers
	lost    Gap   // dropped since the last gap was written
	gaps    []Gap // written by this process

	entries, dropped atomic.Int64

	wake    chan struct{}
	flushes chan chan struct{}
	ended   chan struct{} // closed when Run has ended
	indexed chan struct{} // closed once Run has read what an earlier process recorded
	warned  time.Time     // belongs to the writer
}

// chunk is a piece of a segment.
type chunk struct {
	buffers
	entries int
	first   time.Time // of the entries
	last    bool      // the segment ends with it
}

// buffers hold entries, and the hashes of the ids by which they can be asked for.
type buffers struct {
	buf    []byte
	hashes []uint64
}

// Stats are the recorder's figures since the process started, and what it holds.
type Stats struct {
	// Entries counts what was recorded, Dropped what was not, because the disk took
	// no more or not fast enough.
	Entries, Dropped int64
	// Bytes is what the segments take.
	Bytes int64
}

// OpenRecorder finds the segments that earlier processes left. It returns an error if the
// directory cannot be made or read.
func OpenRecorder(o RecorderOptions) (*Recorder, error) {
	if o.Bytes < MinBytes || o.Bytes > MaxBytes {
		return nil, fmt.Errorf("open the traces: %d bytes are not between %d and %d", o.Bytes, MinBytes, int64(MaxBytes))
	}
	h := newHasher()
	r := &Recorder{
		RecorderOptions: o, segmentBytes: int(min(max(o.Bytes/segmentsKept, minSegmentBytes), maxSegmentBytes)), enc: newEncoder(h),
		wake: make(chan struct{}, 1), flushes: make(chan chan struct{}), ended: make(chan struct{}), indexed: make(chan struct{}),
	}
	var err error
	if r.store, err = openSegments(o.Dir, o.Bytes-int64(r.segmentBytes), max(minSegments, 2*int(o.Bytes)/r.segmentBytes), h); err != nil {
		return nil, fmt.Errorf("open the traces: %w", err)
	}
	return r, nil
}

// Stats returns the recorder's figures.
func (r *Recorder) Stats() Stats {
	return Stats{Entries: r.entries.Load(), Dropped: r.dropped.Load(), Bytes: r.store.bytes()}
}

// Routed records that an event was routed.
func (r *Recorder) Routed(seq uint64, index int, rec *event.Record, matched []*bus.Subscription) {
	at := r.Now()
	r.mu.Lock()
	wake := false
	if r.room(at) {
		r.enc.routed(at, seq, index, rec, matched)
		wake = len(r.enc.buf) >= flushBytes
	}
	r.mu.Unlock()
	if wake {
		r.signal()
	}
}

// Step records a step of a delivery.
func (r *Recorder) Step(s delivery.Step) {
	at := s.At
	if at.IsZero() {
		at = r.Now()
	}
	r.mu.Lock()
	wake := false
	if r.room(at) {
		r.enc.step(at, &s)
		wake = len(r.enc.buf) >= flushBytes
	}
	r.mu.Unlock()
	if wake {
		r.signal()
	}
}

func (r *Recorder) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// room makes ready for one more entry; false if it is to be dropped. Callers hold mu.
func (r *Recorder) room(at time.Time) bool {
	if r.pending+len(r.enc.buf) >= maxPending {
		r.drop(at, at, 1)
		return false
	}
	if r.enc.size+len(r.enc.buf) >= r.segmentBytes {
		r.seal(true)
	}
	if r.lost.Entries > 0 {
		r.enc.gap(r.lost)
		if r.gaps = append(r.gaps, r.lost); len(r.gaps) > maxGaps {
			r.gaps = r.gaps[1:]
		}
		r.lost = Gap{}
	}
	r.entries.Add(1)
	return true
}

// drop counts entries that were not kept. Callers hold mu.
func (r *Recorder) drop(from, to time.Time, n int64) {
	r.dropped.Add(n)
	if n == 0 {
		return
	}
	if r.lost.Entries == 0 {
		r.lost = Gap{Node: r.Node, From: from}
	}
	r.lost.Entries += n
	if to.After(r.lost.To) {
		r.lost.To = to
	}
	if from.Before(r.lost.From) {
		r.lost.From = from
	}
}

// seal hands the buffer to the writer; last ends the segment. Callers hold mu.
func (r *Recorder) seal(last bool) {
	if last {
		r.enc.buf = append(r.enc.buf, kindEnd)
	}
	var next buffers
	if n := len(r.spare); n > 0 {
		next, r.spare = r.spare[n-1], r.spare[:n-1]
	} else {
		next.buf = make([]byte, 0, flushBytes+maxMessage)
	}
	c := r.enc.take(next)
	c.last = last
	r.pending += len(c.buf)
	r.sealed = append(r.sealed, c)
	if last {
		r.enc.beginSegment()
	}
}

// Run writes what is recorded until ctx ends, and then the rest. What is recorded
// after that is lost.
func (r *Recorder) Run(ctx context.Context) error {
	defer close(r.ended)
	var index sync.WaitGroup
	index.Go(func() {
		defer close(r.indexed)
		r.store.index(ctx, r.Node, r.Now())
	})
	defer index.Wait()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			r.close()
			return ctx.Err()
		case <-tick.C:
			r.write(r.takeAll(false))
		case <-r.wake:
			r.write(r.takeAll(false))
		case done := <-r.flushes:
			r.write(r.takeAll(false))
			close(done)
		}
	}
}

func (r *Recorder) close() {
	r.write(r.takeAll(true))
	if err := r.store.close(); err != nil {
		r.Logger.Warn("the last entries of traces may be lost", "error", err)
	}
}

// takeAll returns what waits to be written.
func (r *Recorder) takeAll(end bool) []chunk {
	r.mu.Lock()
	defer r.mu.Unlock()
	if end && r.enc.size+len(r.enc.buf) > 0 || len(r.enc.buf) > 0 {
		r.seal(end)
	}
	chunks := r.sealed
	r.sealed, r.pending = nil, 0
	return chunks
}

// write writes chunks. When one cannot be written, what follows of its segment cannot
// be read either.
func (r *Recorder) write(chunks []chunk) {
	from := r.Now().Add(-flushEvery)
	for _, c := range chunks {
		err := r.store.write(c, r.Now())
		if err == nil {
			r.recycle(c.buffers)
			continue
		}
		r.mu.Lock()
		r.drop(from, r.Now(), int64(c.entries))
		if !c.last {
			r.seal(true) // the next entries are of a segment of their own
		}
		r.mu.Unlock()
		if now := r.Now(); !errors.Is(err, errBroken) && now.Sub(r.warned) >= warnEvery {
			r.warned = now
			r.Logger.Warn("entries of traces are lost: they cannot be written", "error", err)
		}
	}
}

func (r *Recorder) recycle(b buffers) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cap(b.buf) <= spareBytes && len(r.spare) < maxSpare {
		r.spare = append(r.spare, b)
	}
}

// flush returns when all that was recorded before is written, or ctx has ended.
func (r *Recorder) flush(ctx context.Context) error {
	done := make(chan struct{})
	select {
	case r.flushes <- done:
	case <-r.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// find returns the entries of the event with the id and of those that had it before
// they got one of their own, oldest first and at most limit of them; and what is
// known to be missing.
func (r *Recorder) find(ctx context.Context, id string, limit int) (Found, error) {
	found := Found{Node: r.Node}
	if err := r.flush(ctx); err != nil {
		return found, fmt.Errorf("write what was recorded: %w", err)
	}
	// Before that it is not known what an earlier process lost.
	select {
	case <-r.indexed:
	case <-ctx.Done():
		return found, fmt.Errorf("read what was recorded before the start: %w", ctx.Err())
	}
	written := appendID(nil, cut(id, maxText))
	for _, s := range r.store.holding(written) {
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
		file, err := os.ReadFile(s.path)
		if errors.Is(err, os.ErrNotExist) {
			continue // dropped meanwhile
		}
		if err != nil {
			return found, fmt.Errorf("read a trace: %w", err)
		}
		// What cannot be read of a segment is among the gaps.
		_, _ = scan(file, func(d *decoder) {
			if d.raw.kind == kindGap || !d.holds(written) {
				return
			}
			if len(found.Entries) < limit {
				found.Entries = append(found.Entries, d.full(r.Node))
			} else {
				found.More++
			}
		})
	}
	found.Since, found.Gaps = r.store.kept()
	found.Gaps = append(found.Gaps, r.ownGaps()...)
	return found, nil
}

// ownGaps returns what this process lost.
func (r *Recorder) ownGaps() []Gap {
	r.mu.Lock()
	defer r.mu.Unlock()
	gaps := slices.Clone(r.gaps)
	if r.lost.Entries > 0 {
		gaps = append(gaps, r.lost)
	}
	return gaps
}

// Found is what one node recorded of an event.
type Found struct {
	Node    string  `json:"node"`
	Entries []Entry `json:"entries"`
	// Off says that the node does not record.
	Off bool `json:"off,omitempty"`
	// More is how many further entries there are.
	More int `json:"more,omitempty"`
	// Since is how far back the node's entries reach; zero if it dropped none yet.
	Since time.Time `json:"since,omitzero"`
	Gaps  []Gap     `json:"gaps,omitempty"`
}
