package exporter

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
)

// readTime bounds one read of a resource, waiting for the account's budget included.
const readTime = 2 * time.Minute

// reads are the reads under way: those of one resource are shared.
type reads struct {
	mu      sync.Mutex
	running map[Key]*flight
	over    bool // reads are to end: the lease is lost
	all     sync.WaitGroup
}

// flight is one read on its way.
type flight struct {
	// read and err are set before done is closed.
	read Read
	err  error
	done chan struct{}
	// stop ends the read, and those that follow it; set once it has begun.
	stop context.CancelFunc
	// next is the read that follows for those who came too late for this one; nil for
	// none.
	next *flight
}

// read asks the cloud about a resource. A read that is under way is shared if its
// ticket is higher than notBefore (see tickets.mark): it began after what the caller
// knows of had happened. The Key of the result has the identifier that is the resource's
// own, and Found is false if the cloud says that it does not exist. Other errors
// have a reader.Class.
func (x *Exporter) read(ctx context.Context, key Key, notBefore int64) (Read, error) {
	key.Region = reader.Region(key.Kind, key.Region)
	f := x.reads.join(key, notBefore, func() Read { return x.newRead(key) }, func(f *flight) {
		// The first who asks may not be the last who waits.
		x.fly(context.WithoutCancel(ctx), key, f)
	})
	select {
	case <-f.done:
		return f.read, f.err
	case <-ctx.Done():
		return Read{}, ctx.Err()
	}
}

// join returns the read of a resource that is to be waited for. fly is started for
// one that nobody has begun.
func (r *reads) join(key Key, notBefore int64, begin func() Read, fly func(*flight)) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running == nil {
		r.running = map[Key]*flight{}
	}
	f := r.running[key]
	switch {
	case f == nil:
		f = &flight{done: make(chan struct{}), read: begin()}
		r.running[key] = f
		r.all.Go(func() { fly(f) })
		return f
	case f.read.Ticket > notBefore:
		return f
	case f.next == nil:
		f.next = &flight{done: make(chan struct{})}
	}
	return f.next
}

// fly reads, and then those who came meanwhile are read for.
func (x *Exporter) fly(ctx context.Context, key Key, f *flight) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for f != nil {
		x.reads.started(f, stop)
		x.get(ctx, key, f)
		f = x.reads.land(key, f, func() Read { return x.newRead(key) })
	}
}

func (r *reads) started(f *flight, stop context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.stop = stop
	if r.over {
		stop()
	}
}

// land ends a read and returns the one that follows, begun.
func (r *reads) land(key Key, f *flight, begin func() Read) *flight {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(f.done)
	if f.next == nil {
		delete(r.running, key)
		return nil
	}
	f.next.read = begin()
	r.running[key] = f.next
	return f.next
}

// get makes the read.
func (x *Exporter) get(ctx context.Context, key Key, f *flight) {
	defer func() {
		if p := recover(); p != nil {
			f.err = fmt.Errorf("read %s: panic: %v", key, p)
		}
	}()
	ctx, cancel := context.WithTimeout(cloud.Urgent(ctx), readTime) // before the reads of full syncs
	defer cancel()
	got, err := x.o.Reader.Get(ctx, reader.Scope{Account: key.Account, Region: key.Region, Kind: key.Kind}, key.Identifier)
	switch {
	case err == nil:
		f.read.Identifier, f.read.Found, f.read.Properties = got.Identifier, true, got.Properties
	case reader.ClassOf(err) != reader.NotFound:
		f.err = err
	}
}

// begin lets reads begin.
func (r *reads) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.over = false
}

// end ends the reads under way and waits for them.
func (r *reads) end() {
	r.mu.Lock()
	r.over = true
	for _, f := range r.running {
		if f.stop != nil {
			f.stop()
		}
	}
	r.mu.Unlock()
	r.all.Wait()
}
