package exporter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// scopesAtOnce is how many scopes are worked on at once: many, as most wait for
	// their account's budget.
	scopesAtOnce = 16
	// getsPerAccount bounds the reads under way of a run in one account, which its scopes share:
	// one that is slow to answer holds up none but itself.
	getsPerAccount = 64
	// appliesAtOnce bounds how many batches are mapped, compared and stored at once.
	appliesAtOnce = 3
	// saveEvery is how often a scope writes down how far it has come.
	saveEvery = time.Second
	// cancelPoll is how often a run looks whether it was cancelled.
	cancelPoll = time.Second
	// maxNoted bounds the changes that a run keeps of each scope.
	maxNoted = 100
)

// syncing is a run in progress.
type syncing struct {
	x        *Exporter
	run      *SyncRun
	cfg      *config.Config
	accounts map[string]Account
	settings SyncSettings
	// queued is since when an account has a queue of event records.
	queued map[string]time.Time

	gets    accountLimits
	applies *semaphore.Weighted
	pace    *pace

	mu sync.Mutex // guards run.Error while scopes are worked on
}

// accountLimits bound how many reads are under way in each account.
type accountLimits struct {
	mu sync.Mutex
	of map[string]*accountLimit
}

type accountLimit struct {
	gets   *semaphore.Weighted
	scopes int // that are being worked on
}

// account is the limit of an account. It is called with mu held.
func (l *accountLimits) account(id string) *accountLimit {
	if l.of == nil {
		l.of = map[string]*accountLimit{}
	}
	if l.of[id] == nil {
		l.of[id] = &accountLimit{gets: semaphore.NewWeighted(getsPerAccount)}
	}
	return l.of[id]
}

// begin counts a scope of an account among those that share its reads, until end is called.
func (l *accountLimits) begin(id string) (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(id)
	a.scopes++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.scopes--
	}
}

// share is how many reads may be under way in a scope, such that all of an account have as many.
func (l *accountLimits) share(id string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return getsPerAccount / max(l.account(id).scopes, 1)
}

// acquire waits until a resource of an account may be read. The function that it returns is
// to be called once it was.
func (l *accountLimits) acquire(ctx context.Context, id string) (release func(), err error) {
	l.mu.Lock()
	gets := l.account(id).gets
	l.mu.Unlock()
	if err := gets.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return func() { gets.Release(1) }, nil
}

// errCancelled: somebody stopped the run.
var errCancelled = errors.New("it was cancelled")

// runSync takes a run as far as it goes. An error leaves it open, to go on later or
// on another node; what the run itself could not do stands in it.
func (x *Exporter) runSync(ctx context.Context, run *SyncRun) error {
	ctx = store.Bulk(ctx)
	s := &syncing{x: x, run: run, applies: semaphore.NewWeighted(appliesAtOnce), pace: newPace(x.db.Dialect(), x.o.Sink)}
	if run.StartedAt.IsZero() {
		run.StartedAt = x.now()
		x.sync.counters.runs.Add(1)
	}
	run.Status, run.epoch = SyncRunning, x.tickets.epoch()
	if err := s.save(ctx); err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		x.watchCancel(work, run.ID, cancel)
	}()
	err := s.work(work)
	cancelled := errors.Is(context.Cause(work), errCancelled)
	cancel(nil)
	<-watched
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case cancelled:
		err = errCancelled
	case errors.Is(err, errDeposed), errors.Is(err, errSuperseded):
		return err
	case err != nil && !errors.Is(err, errNothing):
		s.say(ctx, firstLine("it will be tried again: "+err.Error()))
		return err
	}
	return s.finish(ctx, err)
}

// say has the run say why it does not go on; nothing once it does. Where that cannot be stored, the
// run says what it said.
func (s *syncing) say(ctx context.Context, why string) {
	s.mu.Lock()
	before := s.run.Error
	s.run.Error = why
	s.mu.Unlock()
	if why == before || s.save(ctx) == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run.Error == why {
		s.run.Error = before
	}
}

// goesOn is called when something was done.
func (s *syncing) goesOn(ctx context.Context) { s.say(ctx, "") }

// watchCancel ends a run's work once somebody has cancelled it.
func (x *Exporter) watchCancel(ctx context.Context, id string, cancel context.CancelCauseFunc) {
	look := time.NewTicker(cancelPoll)
	defer look.Stop()
	for {
		run, found, err := loadRun(ctx, x.db, id)
		if err == nil && found && run.cancelled {
			cancel(errCancelled)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-x.sync.wakeup:
		case <-look.C:
		}
	}
}

func (s *syncing) work(ctx context.Context) error {
	if err := s.load(ctx); err != nil {
		return err
	}
	if !s.run.planned {
		if err := s.plan(ctx); err != nil {
			return err
		}
	}
	return s.scopes(ctx)
}

// load reads what the run goes by.
func (s *syncing) load(ctx context.Context) error {
	cfg, err := s.x.Config(ctx)
	if err != nil {
		return err
	}
	s.cfg = cfg.Parsed()
	if !s.run.planned {
		s.run.ConfigRevision = cfg.Revision
	}
	accounts, err := s.x.Accounts(ctx)
	if err != nil {
		return err
	}
	s.accounts = map[string]Account{}
	for _, a := range accounts {
		s.accounts[a.Account] = a
	}
	queues, err := s.x.Queues(ctx)
	if err != nil {
		return err
	}
	s.queued = map[string]time.Time{}
	for _, q := range queues {
		if at, ok := s.queued[q.Account]; !ok || q.CreatedAt.Before(at) {
			s.queued[q.Account] = q.CreatedAt
		}
	}
	s.settings, err = s.x.SyncSettings(ctx)
	return err
}

// enabled are the accounts that are synced.
func (s *syncing) enabled() (list []Account) {
	for _, a := range s.accounts {
		if a.Enabled {
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b Account) int { return strings.Compare(a.Account, b.Account) })
	return list
}

// save writes how far the run has come, unless another node has it.
func (s *syncing) save(ctx context.Context) error {
	return s.x.db.Update(ctx, func(tx *store.Tx) error { return s.saveIn(ctx, tx) })
}

func (s *syncing) saveIn(ctx context.Context, tx *store.Tx) error {
	if err := s.x.guard(ctx, tx); err != nil {
		return err
	}
	s.mu.Lock()
	run := *s.run
	s.mu.Unlock()
	ours, err := saveRun(ctx, tx, run)
	if err == nil && !ours {
		err = errSuperseded
	}
	if err != nil {
		return fmt.Errorf("save full sync %s: %w", s.run.ID, err)
	}
	return nil
}

// scopes works on the run's open scopes, several at once, and then on the sink's own.
func (s *syncing) scopes(ctx context.Context) error {
	shares, err := s.x.shareScopes(ctx, s.run.ID)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	slots := semaphore.NewWeighted(scopesAtOnce)
	for slots.Acquire(gctx, 1) == nil {
		sc, ended, err := shares.next(gctx)
		if err != nil || sc == nil {
			g.Go(func() error { return err }) // so that the others end, too
			break
		}
		g.Go(func() error {
			defer slots.Release(1)
			defer ended()
			return s.scope(gctx, sc)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// The sink's own, once all is known that is to be remembered.
	last, err := pendingScopes(ctx, s.x.db, s.run.ID, unrememberedScope.Account, 0, 1)
	if err != nil || len(last) == 0 {
		return err
	}
	return s.unremembered(ctx, &last[0])
}

// scopeRun is a scope that is being worked on.
type scopeRun struct {
	*syncing
	sc    *SyncScope
	width width

	saving sync.Mutex // held while the scope is written down

	mu      sync.Mutex // guards sc and what follows
	savedAt time.Time
	noted   int

	// syncedAt is when the scope was last synced completely with the configuration in
	// force, and eventsSince since when events should tell of its changes, if ever. Both are
	// for drift.
	syncedAt, eventsSince time.Time
	hasEvents             bool
}

// scope takes one scope from the stage it is in to its end. What goes wrong in the
// scope stands in it and touches no other; an error is of the run.
func (s *syncing) scope(ctx context.Context, sc *SyncScope) error {
	r := &scopeRun{syncing: s, sc: sc}
	defer s.gets.begin(sc.Account)()
	if err := r.recall(ctx); err != nil {
		return err
	}
	for sc.Stage != stageDone {
		var err error
		switch sc.Stage {
		case stageWaiting:
			err = r.begin(ctx)
		case stageListing:
			err = r.list(ctx)
		case stageChecking:
			err = r.check(ctx)
		case stageRemoving:
			err = r.remove(ctx)
		default:
			err = fmt.Errorf("scope %s of full sync %s is in an unknown stage %q", sc.ScopeKey, s.run.ID, sc.Stage)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recall looks up what drift is judged by.
func (r *scopeRun) recall(ctx context.Context) error {
	f, _, err := loadFreshness(ctx, r.x.db, r.sc.ScopeKey)
	if err != nil {
		return fmt.Errorf("load the freshness of %s: %w", r.sc.ScopeKey, err)
	}
	if f.revision == r.run.ConfigRevision {
		r.syncedAt = f.LastSyncAt
	}
	r.eventsSince, r.hasEvents = r.queued[r.sc.Account]
	r.hasEvents = r.hasEvents || f.Events > 0
	return nil
}

func (r *scopeRun) begin(ctx context.Context) error {
	sc := r.sc
	sc.StartedAt, sc.ticket = r.x.now(), r.x.tickets.next()
	sc.Stage = stageListing
	if sc.Source == sourceUnconfigured {
		sc.Stage = stageChecking
	}
	return r.checkpoint(ctx)
}

// checkpoint writes the scope down as it is; once it is done, its freshness too.
func (r *scopeRun) checkpoint(ctx context.Context) error {
	r.saving.Lock()
	defer r.saving.Unlock()
	r.mu.Lock()
	sc := *r.sc
	r.savedAt = r.x.now()
	r.mu.Unlock()
	err := r.x.db.Update(ctx, func(tx *store.Tx) error {
		if err := r.x.guard(ctx, tx); err != nil {
			return err
		}
		if err := foldBatches(ctx, tx, &sc); err != nil {
			return err
		}
		if sc.Stage == stageDone && !r.run.DryRun && sc.Source == sourceConfigured {
			if err := noteSync(ctx, tx, &sc, r.run.ConfigRevision); err != nil {
				return err
			}
		}
		return saveScope(ctx, tx, &sc)
	})
	if err != nil {
		return fmt.Errorf("save %s of full sync %s: %w", sc.ScopeKey, r.run.ID, err)
	}
	return nil
}

// done ends the scope.
func (r *scopeRun) done(ctx context.Context, status string) error {
	r.mu.Lock()
	r.sc.Stage, r.sc.Status, r.sc.FinishedAt = stageDone, status, r.x.now()
	r.mu.Unlock()
	if err := r.checkpoint(ctx); err != nil {
		return err
	}
	r.goesOn(ctx)
	return nil
}

// failed ends a scope that was not listed to its end, so that nothing is removed.
func (r *scopeRun) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	r.sc.Error = firstLine(err.Error())
	r.mu.Unlock()
	return r.done(ctx, scopeFailed)
}

func (r *scopeRun) key(identifier string) Key {
	return Key{Account: r.sc.Account, Region: r.sc.Region, Kind: r.sc.Kind, Identifier: identifier}
}

func (r *scopeRun) cause() catalog.Cause {
	return catalog.Cause{Origin: "exporter-sync", RunID: r.run.ID}
}

// finish ends the run: its status says how its scopes fared.
func (s *syncing) finish(ctx context.Context, err error) error {
	run := s.run
	// Where the grace is over already, what was found is drift now: whoever sees that the run is over
	// sees that too.
	if err := s.x.settleDrift(ctx); err != nil {
		return err
	}
	totals, terr := runTotals(ctx, s.x.db, run.ID)
	if terr != nil {
		return fmt.Errorf("count full sync %s: %w", run.ID, terr)
	}
	run.Totals = totals
	complete := totals.ScopesDone - totals.ScopesFailed - totals.ScopesSkipped
	switch {
	case errors.Is(err, errCancelled):
		run.Status, run.Error = SyncCancelled, ""
	case err != nil:
		run.Status, run.Error = SyncFailed, firstLine(err.Error())
	case complete == 0:
		run.Status = SyncFailed
	case totals.ScopesHeld > 0:
		run.Status = SyncHeld
	case totals.ScopesFailed > 0 || totals.Failed > 0 || totals.Unread > 0:
		run.Status = SyncPartial
	default:
		run.Status = SyncSucceeded
	}
	if err == nil {
		run.Error = summary(&totals)
	}
	run.FinishedAt = s.x.now()
	if err := s.x.deleteRunRows(ctx, run.ID, "exporter_sync_listed"); err != nil {
		return err
	}
	if err := s.save(ctx); err != nil {
		return err
	}
	if run.Status == SyncFailed {
		s.x.sync.counters.failures.Add(1)
	}
	if !run.DryRun {
		s.x.sync.counters.count(&totals)
	}
	if err := s.tidy(ctx, errors.Is(err, errNothing)); err != nil && ctx.Err() == nil {
		s.x.log.Warn("what a full sync leaves behind could not be tidied up; the next one will", "run", run.ID, "error", err)
	}
	return nil
}

// tidy is done when the run is over; nothing says that there was nothing to sync.
func (s *syncing) tidy(ctx context.Context, nothing bool) error {
	var err error
	if s.ofAll() && (nothing || s.run.Status != SyncFailed) {
		err = s.x.forgetUnconfigured(ctx, s.run.StartedAt)
	}
	return errors.Join(err, s.x.deleteOldRuns(ctx))
}

// ofAll reports whether the run was to go through all that is configured, and was no dry run.
func (s *syncing) ofAll() bool {
	run := s.run
	return run.Selection.all() && run.Confirms == "" && !run.DryRun && run.Status != SyncCancelled
}

// summary says in words what a run could not do.
func summary(t *SyncTotals) string {
	var parts []string
	add := func(n int64, one, several string) {
		switch {
		case n == 1:
			parts = append(parts, "1 "+one)
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, several))
		}
	}
	add(t.ScopesFailed, "scope was not listed, and is as it was", "scopes were not listed, and are as they were")
	add(t.Failed, "resource could not be read or stored", "resources could not be read or stored")
	add(t.Unread, "missing resource could not be looked for, and is as it was", "missing resources could not be looked for, and are as they were")
	wouldGo := fmt.Sprintf("held: up to %d resources would go, more than may unasked; look at them, then confirm the run", t.Held)
	add(t.ScopesHeld, "scope is "+wouldGo, "scopes are "+wouldGo)
	return strings.Join(parts, "; ")
}

const deleteChunk = 500

// deleteRunRows deletes what a table has of a run, a little at a time.
func (x *Exporter) deleteRunRows(ctx context.Context, id, table string) error {
	for more := true; more; {
		err := x.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
			if err := x.guard(ctx, tx); err != nil {
				return err // the rows may be of a plan that another node has made since
			}
			more, err = deleteRunRows(ctx, tx, table, id, deleteChunk)
			return err
		})
		if err != nil {
			return fmt.Errorf("delete rows of full sync %s: %w", id, err)
		}
	}
	return nil
}

// deleteOldRuns deletes all but the last runs.
func (x *Exporter) deleteOldRuns(ctx context.Context) error {
	for {
		id, found, err := oldRun(ctx, x.db, keepRuns)
		if err != nil || !found {
			return err
		}
		for _, table := range runTables {
			if err := x.deleteRunRows(ctx, id, table); err != nil {
				return err
			}
		}
		if err := x.db.Update(ctx, func(tx *store.Tx) error { return deleteRun(ctx, tx, id) }); err != nil {
			return fmt.Errorf("delete full sync %s: %w", id, err)
		}
	}
}
