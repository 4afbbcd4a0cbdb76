package exporter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/store"
)

// A scope is listed, read and stored at once: while a page's resources are read
// the next page is listed, and those read before are stored in batches. What is held in
// memory at any time is bounded by two pages, the reads under way and the batches
// being stored, however many resources the scope has.

const (
	// applyLinger is how long a batch waits to be filled.
	applyLinger = 25 * time.Millisecond
	// readTries is how many times a list or a read is tried.
	readTries = 4
	// maxRestarts is how often the lists of a scope begin anew because a page's token is
	// refused.
	maxRestarts = 2
	appliers    = 3
)

// listing is a scope being listed.
type listing struct {
	*scopeRun
	queries []reader.ListQuery
	pages   chan *listedPage // listed, one ahead
	todo    chan listedItem  // to be read
	ready   chan readItem    // to be stored

	open []*listedPage // pages not yet stored wholly, in their order; guarded by mu
}

// listedPage is a page on its way.
type listedPage struct {
	resources []reader.Resource
	ticket    Read // taken before the page was asked for
	// query and next are where the page after it is.
	query int
	next  string
	// left are its resources that are not stored yet; guarded by mu, like counts.
	left   int
	counts SyncTotals
	spared int64
}

type listedItem struct {
	page       *listedPage
	identifier string
}

type readItem struct {
	page *listedPage
	read Read
}

// list lists the scope from where it was left, and stores what it finds, but removes
// nothing: resources of which something would go are left for the stages after it.
func (r *scopeRun) list(ctx context.Context) error {
	l := &listing{scopeRun: r, pages: make(chan *listedPage, 1), todo: make(chan listedItem), ready: make(chan readItem, maxWrite)}
	a, followed := r.accounts[r.sc.Account]
	var digest string
	var err error
	if followed && a.Enabled {
		l.queries, digest, err = listQueries(r.cfg, a, r.sc.ScopeKey)
	}
	if err != nil {
		return r.failed(ctx, err)
	}
	if len(l.queries) == 0 {
		r.sc.Error = "the configuration no longer asks for it"
		return r.done(ctx, scopeSkipped)
	}
	if digest != r.sc.queries {
		// Begun with another configuration, if at all: pages of one list are none of another's.
		r.sc.queries, r.sc.query, r.sc.next = digest, 0, ""
	}
	broken, err := l.run(ctx)
	if err != nil {
		return err
	}
	if broken != nil {
		return r.failed(ctx, broken)
	}
	// Before what is missing is looked for: what is stored after that is not seen there.
	r.x.sync.listed.note(r.sc.ScopeKey, r.sc.ticket)
	r.sc.Stage, r.sc.cursor = stageChecking, ""
	return r.checkpoint(ctx)
}

// listedScopes are the scopes that full syncs have listed to their end on this node, with
// the ticket of when the last one began. A read that is older than such a list, and of a
// resource of which nothing is known, may be of one that was gone by then. Other nodes
// need not know: reads do not outlive the lease.
type listedScopes struct {
	mu     sync.Mutex
	ticket map[ScopeKey]int64
}

func (l *listedScopes) note(k ScopeKey, ticket int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ticket == nil {
		l.ticket = map[ScopeKey]int64{}
	}
	l.ticket[k] = max(l.ticket[k], ticket)
}

func (l *listedScopes) last(k ScopeKey) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ticket[k]
}

// run moves the scope's resources through its steps. broken says that a list failed:
// what was listed before is stored. An error is of the run.
func (l *listing) run(ctx context.Context) (broken, err error) {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(l.pages)
		broken = l.lister(ctx)
		return ctx.Err()
	})
	var sending sync.WaitGroup // into ready
	sending.Add(2)
	g.Go(func() error {
		defer sending.Done()
		defer close(l.todo)
		return l.feed(ctx)
	})
	g.Go(func() error {
		defer sending.Done()
		return l.getAll(ctx)
	})
	g.Go(func() error {
		sending.Wait()
		close(l.ready)
		return nil
	})
	for range appliers {
		g.Go(func() error { return l.applier(ctx) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return broken, nil
}

// lister lists page after page, one ahead of those being read.
func (l *listing) lister(ctx context.Context) error {
	query, next := l.sc.query, l.sc.next
	restarts := 0
	var round circle
	for query < len(l.queries) {
		q := l.queries[query]
		q.Next = next
		p := &listedPage{ticket: l.x.newRead(Key{})}
		got, err := l.listPage(ctx, q)
		if err != nil && next != "" && restarts < maxRestarts && reader.ClassOf(err) == reader.Invalid {
			// The token of an earlier try may have ended: the list begins anew.
			restarts++
			next, round = "", circle{}
			continue
		}
		if err != nil {
			return err
		}
		if next = got.Next; next == "" {
			query, round = query+1, circle{}
		} else if round.closes(next) {
			return fmt.Errorf("the list of %s does not end: page %q comes again", l.sc.ScopeKey, next)
		}
		p.resources, p.query, p.next = got.Resources, query, next
		select {
		case l.pages <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// circle tells when the tokens of pages go round in a circle of whatever length, by Brent's
// algorithm: it keeps one token, and another after twice as many.
type circle struct {
	kept        string
	since, most int
}

// closes takes the next token, and reports whether it came before.
func (c *circle) closes(token string) bool {
	if token == c.kept {
		return true
	}
	if c.since++; c.since > c.most {
		c.kept, c.since, c.most = token, 0, 2*c.most+1
	}
	return false
}

// listPage lists one page, several times if it must.
func (l *listing) listPage(ctx context.Context, q reader.ListQuery) (page reader.Page, err error) {
	err = l.try(ctx, func(ctx context.Context) error {
		page, err = l.x.o.Reader.List(ctx, l.readerScope(), q)
		return err
	})
	return page, err
}

// try calls f until it does not fail, or in a way that another try would not mend, or
// often enough.
func (r *scopeRun) try(ctx context.Context, f func(ctx context.Context) error) error {
	pause := r.x.sync.retryPause
	for tries := 1; ; tries++ {
		once, cancel := context.WithTimeout(ctx, readTime)
		err := f(once)
		cancel()
		class := reader.ClassOf(err)
		if err == nil || ctx.Err() != nil || tries == readTries || class != reader.Failed && class != reader.Throttled {
			return err
		}
		sleep(ctx, pause)
		pause *= 2
	}
}

func (r *scopeRun) readerScope() reader.Scope {
	return reader.Scope{Account: r.sc.Account, Region: r.sc.Region, Kind: r.sc.Kind}
}

// feed hands the resources of pages on: those that were listed whole to be stored,
// the others to be read.
func (l *listing) feed(ctx context.Context) error {
	for p := range l.pages {
		l.mu.Lock()
		p.left = len(p.resources)
		p.counts.Listed = int64(len(p.resources))
		l.open = append(l.open, p)
		l.mu.Unlock()
		for _, res := range p.resources {
			var err error
			if res.Properties == nil {
				err = send(ctx, l.todo, listedItem{p, res.Identifier})
			} else {
				read := p.ticket
				read.Key, read.Found, read.Properties = l.key(res.Identifier), true, res.Properties
				err = send(ctx, l.ready, readItem{p, read})
			}
			if err != nil {
				return err
			}
		}
		p.resources = nil
		if err := l.settle(ctx); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func send[T any](ctx context.Context, into chan<- T, v T) error {
	select {
	case into <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// getAll reads listed resources, as many at once as the scope is wide.
func (l *listing) getAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	ended := make(chan struct{}, maxGets)
	getting := 0
	for {
		var item listedItem
		select {
		case next, more := <-l.todo:
			if !more {
				return g.Wait()
			}
			item = next
		case <-ctx.Done():
			return g.Wait()
		}
		for ; getting >= l.getsAtOnce(); getting-- {
			<-ended
		}
		getting++
		g.Go(func() error {
			defer func() { ended <- struct{}{} }()
			return l.getListed(ctx, item)
		})
	}
}

// getListed reads a listed resource.
func (l *listing) getListed(ctx context.Context, item listedItem) error {
	read, err := l.get(ctx, item.identifier)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return l.noteFailure(ctx, item, err)
	case read.Found:
		return send(ctx, l.ready, readItem{item.page, read})
	}
	// Gone since it was listed. If it was known, the next stage looks again.
	return l.stored(ctx, item.page, func(*listedPage) {})
}

// get reads one resource; one that is not there is no error.
func (r *scopeRun) get(ctx context.Context, identifier string) (read Read, err error) {
	release, err := r.gets.acquire(ctx, r.sc.Account)
	if err != nil {
		return Read{}, err
	}
	defer release()
	err = r.try(ctx, func(ctx context.Context) error {
		read = r.x.newRead(r.key(identifier))
		ctx, held := cloud.HeldBack(ctx)
		began := time.Now()
		got, err := r.x.o.Reader.Get(ctx, r.readerScope(), identifier)
		r.width.took(time.Since(began)-held(), held())
		if err == nil {
			read.Identifier, read.Found, read.Properties = got.Identifier, true, got.Properties
		}
		if reader.ClassOf(err) == reader.NotFound {
			return nil
		}
		return err
	})
	return read, err
}

// noteFailure counts a listed resource that could not be read.
func (l *listing) noteFailure(ctx context.Context, item listedItem, err error) error {
	if nerr := l.note(ctx, l.change(item.identifier, "failed", err.Error())); nerr != nil {
		return nerr
	}
	l.blame(err)
	return l.stored(ctx, item.page, func(p *listedPage) { p.counts.Failed++ })
}

// blame keeps the first error about a resource as the scope's.
func (r *scopeRun) blame(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sc.Error == "" {
		r.sc.Error = firstLine(err.Error())
	}
}

func (r *scopeRun) change(identifier, change, why string) SyncChange {
	return SyncChange{Key: r.key(identifier), Change: change, Why: firstLine(why), At: r.x.now()}
}

// note keeps changes that come with no transaction of their own.
func (r *scopeRun) note(ctx context.Context, list ...SyncChange) error {
	err := r.x.db.Update(ctx, func(tx *store.Tx) error { return r.noteIn(ctx, tx, list) })
	if err != nil {
		return fmt.Errorf("note changes of %s: %w", r.sc.ScopeKey, err)
	}
	return nil
}

// noteIn keeps changes while the scope has room for them. One that is tried again takes
// its room twice: how many are kept is not promised.
func (r *scopeRun) noteIn(ctx context.Context, tx *store.Tx, list []SyncChange) error {
	r.mu.Lock()
	n := min(len(list), max(maxNoted-r.noted, 0))
	r.noted += n
	r.mu.Unlock()
	return noteChanges(ctx, tx, r.sc, list[:n])
}

// applier stores what was read, in batches.
func (l *listing) applier(ctx context.Context) error {
	for {
		batch, more := l.batch(ctx)
		if len(batch) > 0 {
			if err := l.store(ctx, batch); err != nil {
				return err
			}
		}
		if !more {
			return ctx.Err()
		}
	}
}

// batch collects reads until there are enough, or none came for a while; more is
// false after the last.
func (l *listing) batch(ctx context.Context) (batch []readItem, more bool) {
	select {
	case item, ok := <-l.ready:
		if !ok {
			return nil, false
		}
		batch = append(batch, item)
	case <-ctx.Done():
		return nil, false
	}
	linger := time.NewTimer(applyLinger)
	defer linger.Stop()
	for len(batch) < maxWrite {
		select {
		case item, ok := <-l.ready:
			if !ok {
				return batch, false
			}
			batch = append(batch, item)
		case <-linger.C:
			return batch, true
		case <-ctx.Done():
			return nil, false
		}
	}
	return batch, true
}

func (l *listing) store(ctx context.Context, batch []readItem) error {
	reads := make([]Read, len(batch))
	for i := range batch {
		reads[i] = batch[i].read
	}
	done, err := l.apply(ctx, reads, true)
	if err != nil {
		return err
	}
	for i := range done {
		a := &done[i]
		err := l.stored(ctx, batch[i].page, func(p *listedPage) {
			switch {
			case a.Outcome == Failed:
				p.counts.Failed++
			case len(a.Removed) > 0:
				p.spared++
			case a.Outcome == Unchanged || a.Outcome == Stale || a.Outcome == Ignored || a.Outcome == Deselected || a.Outcome == Absent:
				p.counts.Unchanged++
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stored counts a resource of a page as dealt with, and writes down how far the
// scope has come once in a while.
func (l *listing) stored(ctx context.Context, p *listedPage, count func(p *listedPage)) error {
	l.mu.Lock()
	p.left--
	count(p)
	l.mu.Unlock()
	return l.settle(ctx)
}

// settle moves the scope's mark past the pages that are stored wholly, those before them
// included, and writes it down once in a while.
func (l *listing) settle(ctx context.Context) error {
	l.mu.Lock()
	for len(l.open) > 0 && l.open[0].left == 0 {
		p := l.open[0]
		l.sc.query, l.sc.next = p.query, p.next
		l.sc.Counts.add(&p.counts)
		l.sc.spared += p.spared
		l.open = slices.Delete(l.open, 0, 1)
	}
	due := l.x.now().Sub(l.savedAt) >= saveEvery
	if due {
		l.savedAt = l.x.now()
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	return l.checkpoint(ctx)
}
