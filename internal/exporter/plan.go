package exporter

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

// intentFor is how long after entities began to be written their resources are read
// again if it is not known how that went.
const intentFor = 2 * time.Minute

// snapshot is what is known that a plan is made from.
type snapshot struct {
	resources map[Key]*Resource
	// owners are the resources of which an entity is made.
	owners map[catalog.EntityRef][]Key
	// named are what is gone under a name of a resource that was found.
	named []tombstone
}

// snapshot reads what a plan is made from.
func (x *Exporter) snapshot(ctx context.Context, q store.Querier, p *plan) (*snapshot, error) {
	var keys []Key
	refs := map[catalog.EntityRef]bool{}
	names := map[Key][]string{}
	for i := range p.reads {
		r := &p.reads[i]
		keys = append(keys, r.Key)
		list := p.mapped[i].refs()
		for _, ref := range list {
			refs[ref] = true
		}
		if r.Found {
			names[r.Key] = namesOf(r.Key, list)
		}
	}
	s := &snapshot{}
	var err error
	if s.resources, err = loadResources(ctx, q, keys); err != nil {
		return nil, err
	}
	for _, r := range s.resources {
		for _, ref := range r.Entities {
			refs[ref] = true
		}
	}
	all := make([]catalog.EntityRef, 0, len(refs))
	for ref := range refs {
		all = append(all, ref)
	}
	if s.owners, err = loadOwners(ctx, q, all); err != nil {
		return nil, err
	}
	s.named, err = loadTombstones(ctx, q, names)
	return s, err
}

// namesOf are the short names by which a record may call a resource.
func namesOf(k Key, refs []catalog.EntityRef) []string {
	list := []string{shortName(k.Identifier)}
	for _, ref := range refs {
		if name := shortName(ref.Identifier); !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	return list
}

// plan is what is to be written for some reads.
type plan struct {
	x        *Exporter
	reads    []Read
	mapped   []mapped
	o        applyOptions
	revision int64

	snap *snapshot
	// named are what reads of this very plan say is gone under a name.
	named   []tombstone
	steps   []*step // in the order of reads
	changes []catalog.EntityChange
	// left are resources with an entity that was another's too, which is gone.
	left []Key

	out []Applied
	due time.Time
}

// writer is who makes the changes; the reads are all of one account and region.
func (p *plan) writer() catalog.Writer {
	of := &p.reads[0]
	return catalog.Writer{By: writer, Datasource: Datasource(of.Account, of.Region)}
}

// step is what one read comes to.
type step struct {
	read   *Read
	mapped *mapped
	before *Resource
	d      decision
	out    Applied
	// after is what is known then; nil if nothing new.
	after *Resource
	// intent is the row stored before the entities are written, where that is done.
	intent *Resource
	// wanted are the entities that the resource is to have, dropped those it is to lose.
	wanted, dropped []catalog.EntityRef
	// changes are the indices of its changes in the plan's, a dropped entity that is kept
	// for others has none.
	changes []int
}

// make decides about each read and works out the changes.
func (p *plan) make(snap *snapshot) {
	p.snap = snap
	now := p.x.now()
	p.steps = make([]*step, len(p.reads))
	newest := map[Key]int{}
	for i := range p.reads {
		if n, ok := newest[p.reads[i].Key]; !ok || p.reads[i].Ticket > p.reads[n].Ticket {
			newest[p.reads[i].Key] = i
		}
	}
	for i := range p.reads {
		// What the others answer, the newest of a resource answers too.
		n := &p.reads[newest[p.reads[i].Key]]
		n.UpsertAt, n.DeleteAt = latest(n.UpsertAt, p.reads[i].UpsertAt), latest(n.DeleteAt, p.reads[i].DeleteAt)
		n.ByName = n.ByName || p.reads[i].ByName
	}
	p.named = nil
	for i := range p.reads {
		if r := &p.reads[i]; !r.Found && !r.DeleteAt.IsZero() {
			p.named = append(p.named, tombstone{key: r.Key, name: shortName(r.Identifier), ticket: r.Ticket, deleteAt: r.DeleteAt})
		}
	}
	for i := range p.reads {
		r := &p.reads[i]
		s := &step{read: r, mapped: &p.mapped[i], before: snap.resources[r.Key]}
		s.out = Applied{Key: r.Key, Ticket: r.Ticket, Before: s.before}
		p.steps[i] = s
		ticket, named := p.goneByName(s)
		switch {
		case newest[r.Key] != i:
			s.out.Outcome = Stale
		case ticket > r.Ticket:
			// It was read before a record said, by another of its names, that it was deleted.
			s.out.Outcome, s.out.superseded = Stale, true
		case p.unlisted(s):
			s.out.Outcome, s.out.superseded = Stale, true
		default:
			s.decide(named, now, p.o)
		}
	}
	p.plan()
}

// goneByName returns what records said of something that is gone by another name of a resource
// that was found: the last ticket, and the time of the latest event.
func (p *plan) goneByName(s *step) (ticket int64, deleteAt time.Time) {
	if !s.read.Found || s.read.Unread != nil {
		return 0, time.Time{}
	}
	names := namesOf(s.read.Key, s.mapped.refs())
	for _, t := range slices.Concat(p.snap.named, p.named) {
		if t.key != s.read.Key && slices.Equal(t.key.scope(), s.read.scope()) && slices.Contains(names, t.name) {
			ticket, deleteAt = max(ticket, t.ticket), latest(deleteAt, t.deleteAt)
		}
	}
	return ticket, deleteAt
}

// unlisted: nothing was known of a resource that was found, and a full sync that began after
// that has listed its scope: had it still been there, it would be known.
func (p *plan) unlisted(s *step) bool {
	k := s.read.Key
	return s.read.Found && s.read.Unread == nil && (s.before == nil || !s.before.Present) &&
		p.x.sync.listed.last(ScopeKey{k.Account, k.Region, k.Kind}) > s.read.Ticket
}

// decide sets what is known after the read and which entities there are to be.
func (s *step) decide(named, now time.Time, o applyOptions) {
	s.d = decide(s.before, *s.read, named, now)
	if o.Certain && s.d.verdict == undecided {
		s.d = decision{verdict: gone}
	}
	if s.d.verdict == stale {
		s.stale(now)
		return
	}
	r := &Resource{Key: s.read.Key}
	var had []catalog.EntityRef
	if s.before != nil {
		*r = *s.before
		had = s.before.Entities
	}
	s.after, s.wanted = r, had
	r.UpsertAt, r.DeleteAt, r.UpdatedAt = latest(r.UpsertAt, s.read.UpsertAt), latest(r.DeleteAt, s.read.DeleteAt), now
	if removed := without(had, s.mapped.refs()); o.HoldRemovals && len(removed) > 0 && s.replaces() {
		s.hold(removed)
		return
	}
	switch s.d.verdict {
	case found:
		s.found(now)
	case gone:
		s.gone(now)
	case undecided:
		s.out.Outcome = Pending
		r.Ticket = s.read.Ticket
	case unread:
		s.out.Outcome, s.out.Err, s.out.Retry = Failed, s.read.Unread, true
	case unmoved:
		s.out.Outcome = Unchanged
	}
	s.recheck(now, s.d.after, s.d.why)
}

// stale keeps what the events said that the read answers: the later one did not know
// it, and is made once more.
func (s *step) stale(now time.Time) {
	s.out.Outcome = Stale
	r := *s.before
	r.UpsertAt, r.DeleteAt = latest(r.UpsertAt, s.read.UpsertAt), latest(r.DeleteAt, s.read.DeleteAt)
	if r.UpsertAt.Equal(s.before.UpsertAt) && r.DeleteAt.Equal(s.before.DeleteAt) {
		return
	}
	r.RecheckAt, r.Rechecks, r.RecheckWhy = now, 0, "an event told of it while it was being read"
	s.after, s.wanted = &r, r.Entities
}

// recheck sets when the resource is read again.
func (s *step) recheck(now time.Time, after time.Duration, why string) {
	if after == 0 {
		s.after.RecheckAt, s.after.Rechecks, s.after.RecheckWhy = time.Time{}, 0, ""
		return
	}
	n := s.after.Rechecks
	if !s.read.UpsertAt.IsZero() || !s.read.DeleteAt.IsZero() {
		n = 0
	}
	s.after.RecheckAt, s.after.Rechecks, s.after.RecheckWhy = now.Add(after), n+1, why
}

// replaces: the read says which entities the resource is to have, and no others.
func (s *step) replaces() bool {
	return s.d.verdict == found && !s.mapped.ignored && s.mapped.err == nil
}

// hold leaves all as it is.
func (s *step) hold(removed []catalog.EntityRef) {
	s.out.Outcome, s.out.Removed, s.out.Entities = Updated, removed, s.wanted
	if !s.mapped.selected {
		s.out.Outcome = Deselected
	}
	s.out.Changed = !s.after.Present || s.after.Hash != s.mapped.hash
	s.after, s.wanted = nil, nil
}

func (s *step) found(now time.Time) {
	r, m := s.after, s.mapped
	s.out.Changed = !r.Present || r.Hash != m.hash
	if !r.Present {
		r.FirstAt = s.read.At
	}
	if s.out.Changed {
		r.ChangedAt = now
	}
	r.Present, r.Ticket, r.Hash, r.ReadAt, r.Error = true, s.read.Ticket, m.hash, s.read.At, m.problem
	switch {
	case m.ignored:
		s.out.Outcome = Ignored
		r.Error = ""
	case m.err != nil:
		// What can be said is written; what cannot be leaves what was.
		s.wanted = union(s.wanted, m.refs())
		s.fail(m.err, m.retry)
	default:
		s.dropped = without(s.wanted, m.refs())
		s.wanted = m.refs()
	}
}

func (s *step) gone(now time.Time) {
	r := s.after
	s.out.Outcome = Absent
	if r.Present || len(s.wanted) > 0 {
		s.out.Outcome, s.out.Changed = Deleted, true
	}
	if r.Present || s.before == nil {
		r.ChangedAt = now
	}
	r.Present, r.Ticket, r.Hash, r.FirstAt, r.ReadAt, r.Error = false, s.read.Ticket, "", time.Time{}, s.read.At, ""
	if s.read.Unread != nil {
		r.ReadAt = time.Time{}
	}
	s.dropped, s.wanted = s.wanted, nil
}

// fail notes why a resource is not as it should be.
func (s *step) fail(err error, retry bool) {
	s.out.Outcome, s.out.Retry = Failed, s.out.Retry || retry
	s.out.Err = errors.Join(s.out.Err, err)
	s.after.Error = clip(s.out.Err.Error())
}

// plan works out the changes: all that is to be there first, in the order in which it was
// read, so that what depends on an entity that goes can let go of it.
func (p *plan) plan() {
	owners := map[catalog.EntityRef]map[Key]bool{}
	for ref, keys := range p.snap.owners {
		owners[ref] = map[Key]bool{}
		for _, k := range keys {
			owners[ref][k] = true
		}
	}
	for _, s := range p.ordered() {
		for _, ref := range s.dropped {
			if !slices.Contains(s.wanted, ref) {
				delete(owners[ref], s.read.Key)
			}
		}
		for _, ref := range s.wanted {
			if owners[ref] == nil {
				owners[ref] = map[Key]bool{}
			}
			owners[ref][s.read.Key] = true
		}
		if s.d.verdict != found {
			continue
		}
		for i := range s.mapped.entities {
			s.changes = append(s.changes, len(p.changes))
			p.changes = append(p.changes, toChange(&s.mapped.entities[i], &s.read.Cause))
		}
	}
	deleted := map[catalog.EntityRef]bool{}
	for _, s := range p.ordered() {
		for _, ref := range s.dropped {
			switch {
			case slices.Contains(s.wanted, ref), deleted[ref]:
			case len(owners[ref]) > 0:
				for k := range owners[ref] {
					p.left = append(p.left, k)
				}
			default:
				deleted[ref] = true
				s.changes = append(s.changes, len(p.changes))
				p.changes = append(p.changes, catalog.EntityChange{
					Delete: true, Blueprint: ref.Blueprint, Identifier: ref.Identifier, DeleteDependents: true, Cause: &s.read.Cause,
				})
			}
		}
	}
}

// ordered are the steps that change something, by their tickets.
func (p *plan) ordered() []*step {
	var list []*step
	for _, s := range p.steps {
		if s.after != nil {
			list = append(list, s)
		}
	}
	slices.SortStableFunc(list, func(a, b *step) int { return int(min(max(a.read.Ticket-b.read.Ticket, -1), 1)) })
	return list
}

// names are what must not be written by others meanwhile.
func (p *plan) names() map[string]bool {
	names := map[string]bool{}
	for _, s := range p.steps {
		names["r\x00"+s.read.Account+"\x00"+s.read.Region+"\x00"+s.read.Kind+"\x00"+s.read.Identifier] = true
	}
	for _, s := range p.steps {
		for _, ref := range union(s.wanted, s.dropped) {
			names["e\x00"+ref.Blueprint+"\x00"+ref.Identifier] = true
		}
	}
	return names
}

func without(list, others []catalog.EntityRef) []catalog.EntityRef {
	var out []catalog.EntityRef
	for _, ref := range list {
		if !slices.Contains(others, ref) {
			out = append(out, ref)
		}
	}
	return out
}

func union(list, others []catalog.EntityRef) []catalog.EntityRef {
	return append(slices.Clone(list), without(others, list)...)
}

// ambiguous: a change that failed so may have been made for all that.
func ambiguous(err error) bool {
	e, ok := errors.AsType[*catalog.Error](err)
	return !ok || e.Status >= http.StatusInternalServerError
}

// passing: a change that was refused so may be taken another time.
func passing(err error) bool {
	e, ok := errors.AsType[*catalog.Error](err)
	return !ok || e.Status == http.StatusNotFound || e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError
}
