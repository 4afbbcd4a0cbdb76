package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

const (
	// readsAtOnce is how many resources of an account, region and kind are read for records
	// at once: those that have to wait for a rate budget do not hold up others.
	readsAtOnce = 64
	// recordAppliers is how many transactions store what was read at once.
	recordAppliers = 4
	// A quarter of what is held of a queue may wait for reads of one account, region and kind
	// that are slow, as they are where AWS throttles them: such that the last of them has to
	// wait for longer than slowReads. Further records of it come again later, after
	// maxPutOff at most, and leave room for those of others.
	crowd     = maxHeld / 4
	slowReads = 10 * time.Second
	maxPutOff = 5 * time.Minute
)

// pipe takes records from all queues to what is stored. The records of one resource
// are dealt with one after the other, and those that wait share a read.
type pipe struct {
	x     *Exporter
	all   sync.WaitGroup
	items chan *item

	mu   sync.Mutex
	keys map[Key][]*job // those that wait; present while somebody deals with the resource
	// readers are by the key without its identifier.
	readers map[Key]*readers
}

// readers are the reads of an account, region and kind.
type readers struct {
	slots chan struct{} // has an element for each read under way
	// resources are being dealt with; each is how long a read takes of late. Both are guarded
	// by the pipe's mu.
	resources int
	each      time.Duration
}

// job is one resource that a message is about.
type job struct {
	message *message
	record  record
}

// item is a read that is to be applied.
type item struct {
	read Read
	out  Applied
	err  error
	done chan struct{}
}

func (x *Exporter) newPipe() *pipe {
	return &pipe{x: x, items: make(chan *item, maxHeld), keys: map[Key][]*job{}, readers: map[Key]*readers{}}
}

// start begins to apply what was read. The function that it returns ends that, once no
// more messages come and all that were taken in are dealt with.
func (p *pipe) start(ctx context.Context) (end func()) {
	var all sync.WaitGroup
	for range recordAppliers {
		all.Go(func() { collect(p.items, applyBatch, func(list []*item) { p.apply(ctx, list) }) })
	}
	return func() {
		p.all.Wait()
		close(p.items)
		all.Wait()
	}
}

// enqueue has a job dealt with.
func (p *pipe) enqueue(ctx context.Context, j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiting, busy := p.keys[j.record.Key]
	p.keys[j.record.Key] = append(waiting, j)
	if !busy {
		p.readersOf(j.record.Key).resources++
		p.all.Go(func() { p.work(ctx, j.record.Key) })
	}
}

// next takes the jobs that wait for a resource; none ends the work on it.
func (p *pipe) next(key Key) []*job {
	p.mu.Lock()
	defer p.mu.Unlock()
	jobs := p.keys[key]
	if len(jobs) == 0 {
		delete(p.keys, key)
		p.readersOf(key).resources--
		return nil
	}
	p.keys[key] = []*job{}
	return jobs
}

// work deals with all jobs of a resource.
func (p *pipe) work(ctx context.Context, key Key) {
	for jobs := p.next(key); len(jobs) > 0; jobs = p.next(key) {
		p.settle(jobs, p.deal(ctx, key, jobs))
	}
}

// dealt is how it went with the jobs of a resource: the read and what came of it, or a
// failure; refused is that of records which say that the resource lives.
type dealt struct {
	out              Applied
	failure, refused *failure
}

// deal reads a resource for jobs and applies what was read.
func (p *pipe) deal(ctx context.Context, key Key, jobs []*job) (d dealt) {
	defer func() {
		if r := recover(); r != nil {
			d.failure = &failure{err: fmt.Errorf("dealing with %s: panic: %v", key, r), stubborn: true}
		}
	}()
	read, f := p.readFor(ctx, key, jobs)
	if f != nil && f.refused() {
		d.refused = f
	} else if f != nil {
		d.failure = f
		return d
	}
	sum := sumUp(jobs)
	if d.refused != nil && !anyDelete(jobs) {
		return d
	}
	read.UpsertAt, read.DeleteAt, read.ByName, read.Cause = sum.upsertAt, sum.deleteAt, sum.byName, sum.last.record.cause(sum.last.message.id)
	if d.refused != nil {
		read.UpsertAt = time.Time{}
	}
	it := &item{read: read, done: make(chan struct{})}
	select {
	case p.items <- it:
	case <-ctx.Done():
		d.failure = &failure{err: ctx.Err(), away: true}
		return d
	}
	<-it.done
	d.out = it.out
	switch {
	case it.err != nil:
		d.failure = &failure{err: it.err, away: ctx.Err() != nil || errors.Is(it.err, errDeposed)}
	case it.out.Outcome == Failed && read.Unread != nil:
		d.refused = &failure{err: it.out.Err}
	case it.out.Outcome == Failed:
		d.failure = &failure{err: it.out.Err, stubborn: !it.out.Retry}
	}
	return d
}

// readersOf are those of a resource's account, region and kind. It is called with mu held.
func (p *pipe) readersOf(key Key) *readers {
	key.Identifier = ""
	if p.readers[key] == nil {
		p.readers[key] = &readers{slots: make(chan struct{}, readsAtOnce)}
	}
	return p.readers[key]
}

// begin waits until a resource may be read, and returns what is to be called once it was.
func (p *pipe) begin(ctx context.Context, key Key) (end func(), err error) {
	p.mu.Lock()
	r := p.readersOf(key)
	p.mu.Unlock()
	select {
	case r.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	return func() {
		<-r.slots
		p.mu.Lock()
		defer p.mu.Unlock()
		r.each += (time.Since(began) - r.each) / 8
	}, nil
}

// putOff is for how long a record of a resource is put off, as too many others of its account,
// region and kind wait; 0 for not.
func (p *pipe) putOff(key Key) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, busy := p.keys[key]; busy {
		return 0 // it shares a read
	}
	r := p.readersOf(key)
	wait := time.Duration(r.resources/readsAtOnce) * r.each
	if r.resources < crowd || wait < slowReads {
		return 0
	}
	return min(wait, maxPutOff)
}

// readFor reads a resource, with a read that knows what the jobs tell. Where the cloud
// cannot be asked, the events are taken at their word.
func (p *pipe) readFor(ctx context.Context, key Key, jobs []*job) (Read, *failure) {
	end, err := p.begin(ctx, key)
	if err != nil {
		return Read{}, &failure{err: err, away: true}
	}
	defer end()
	var mark int64
	for _, j := range jobs {
		mark = max(mark, j.message.mark)
	}
	read, err := p.x.read(ctx, key, mark)
	switch {
	case err == nil:
		return read, nil
	case ctx.Err() != nil:
		return Read{}, &failure{err: err, away: true}
	case reader.ClassOf(err) == reader.Invalid:
		// No resource can be called that: what a delete tells is true, anything else is not.
		return p.x.newRead(key), &failure{err: err, fatal: true}
	case unreadable(err):
		read = p.x.newRead(key)
		read.Unread = err
		for _, j := range jobs {
			if j.record.unsure {
				return Read{}, &failure{err: fmt.Errorf("several resources are called so, and which of them the record means cannot be read: %w", err)}
			}
		}
		return read, nil
	}
	return Read{}, &failure{err: err}
}

// refused: the cloud says that no resource can be called so.
func (f *failure) refused() bool { return f.fatal }

// told is what jobs tell about a resource.
type told struct {
	upsertAt, deleteAt time.Time
	byName             bool
	last               *job // by the time of its event
}

func sumUp(jobs []*job) told {
	var t told
	for _, j := range jobs {
		switch r := &j.record; {
		case !r.Delete:
			t.upsertAt = latest(t.upsertAt, r.at)
		case !r.unsure:
			t.deleteAt, t.byName = latest(t.deleteAt, r.at), t.byName || r.byName
		}
		if t.last == nil || !j.record.at.Before(t.last.record.at) {
			t.last = j
		}
	}
	return t
}

func anyDelete(jobs []*job) bool {
	return slices.ContainsFunc(jobs, func(j *job) bool { return j.record.Delete })
}

// settle tells jobs how it went.
func (p *pipe) settle(jobs []*job, d dealt) {
	now := p.x.now()
	for _, j := range jobs {
		f := d.failure
		if f == nil && !j.record.Delete {
			f = d.refused
		}
		if f == nil {
			out := d.out.Outcome
			p.x.tell([]settled{{Key: j.record.Key, Delete: j.record.Delete, Unselected: j.record.unselected, EventAt: j.record.at, ReceivedAt: j.message.receivedAt, StoredAt: now, Outcome: out}})
		}
		j.message.settle(f)
	}
}

// apply applies reads together, or, where that fails, each alone.
func (p *pipe) apply(ctx context.Context, list []*item) {
	reads := make([]Read, len(list))
	for i, it := range list {
		reads[i] = it.read
	}
	out, err := p.applySafely(ctx, reads)
	if err != nil && len(list) > 1 && ctx.Err() == nil && !errors.Is(err, errDeposed) {
		for _, it := range list {
			p.apply(ctx, []*item{it})
		}
		return
	}
	for i, it := range list {
		it.err = err
		if err == nil {
			it.out = out[i]
		}
		close(it.done)
	}
}

func (p *pipe) applySafely(ctx context.Context, reads []Read) (out []Applied, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("store what was read: panic: %v", r)
		}
	}()
	return p.x.apply(ctx, reads, reads[0].Cause, applyOptions{NoRecheck: true})
}

// waiting are the records that came and are not dealt with yet, also those that come
// again later.
type waiting struct {
	mu   sync.Mutex
	keys map[Key]map[string]time.Time // by message id, when it came last
	of   map[string][]Key
	most int // messages; more than that are looked through for what does not come again
}

// waitingFor bounds how long a record that does not come again is waited for.
const waitingFor = 2 * retryCap

func (w *waiting) add(key Key, messageID string, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.keys == nil {
		w.keys, w.of = map[Key]map[string]time.Time{}, map[string][]Key{}
	}
	if len(w.of) >= w.most {
		w.prune(now)
	}
	if w.keys[key] == nil {
		w.keys[key] = map[string]time.Time{}
	}
	if _, known := w.keys[key][messageID]; !known {
		w.of[messageID] = append(w.of[messageID], key)
	}
	w.keys[key][messageID] = now
}

// prune forgets messages that have not come again for long: their queue gave them up.
func (w *waiting) prune(now time.Time) {
	for id, keys := range w.of {
		if now.Sub(w.keys[keys[0]][id]) >= 2*waitingFor {
			w.drop(id)
		}
	}
	w.most = max(2*len(w.of), maxHeld)
}

func (w *waiting) forget(messageID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop(messageID)
}

func (w *waiting) drop(messageID string) {
	for _, key := range w.of[messageID] {
		if delete(w.keys[key], messageID); len(w.keys[key]) == 0 {
			delete(w.keys, key)
		}
	}
	delete(w.of, messageID)
}

// has reports whether records about a resource wait. Only the node with the lease knows.
func (w *waiting) has(key Key, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, at := range w.keys[key] {
		if now.Sub(at) < waitingFor {
			return true
		}
	}
	return false
}
