package inventory

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	// absentFor is how long an instance that listings lack stays in the inventory
	// when nothing more certain can be learned. ASA: 96 hours.
	absentFor = 96 * time.Hour
	// driftGrace is how old a change must be before a sync that finds it calls it
	// missed: its event may be on the way.
	driftGrace = 2 * time.Minute
	// recheckAfter is the pause between the two reads that must both not find an
	// instance.
	recheckAfter = 5 * time.Second

	syncRegionsAtOnce = 8
	// applyChunk is how many instances are applied in one transaction, and
	// confirmChunk how many unchanged ones are confirmed.
	applyChunk   = 10
	confirmChunk = 200
	describeIDs  = 100
	listPage     = 1000
	loadChunk    = 500
)

// syncing is a run in progress.
type syncing struct {
	v   *Inventory
	a   CloudAccount
	run *SyncRun

	mu      sync.Mutex
	missing []missing
}

// missing is a server whose instance a complete listing did not have.
type missing struct {
	server  Server
	started time.Time
	result  *RegionResult
}

// runSync lists every region and makes the inventory agree with those that were
// listed completely. What it could not do stands in the run.
func (v *Inventory) runSync(ctx context.Context, a CloudAccount, run *SyncRun) {
	v.counters.syncRuns.Add(1)
	run.Status, run.StartedAt, run.Error = SyncRunning, v.now(), ""
	run.Regions = nil
	s := &syncing{v: v, a: a, run: run}
	err := v.db.Update(ctx, func(tx *store.Tx) error { return saveRun(ctx, tx, *run) })
	if err == nil {
		err = s.regions(ctx)
	}
	if err == nil {
		err = s.settleMissing(ctx)
	}
	s.finish(ctx, err)
}

func (s *syncing) regions(ctx context.Context) error {
	regions := s.a.Regions
	if len(regions) == 0 {
		var err error
		if regions, err = s.v.o.Cloud.Regions(ctx, s.a.AccountID); err != nil {
			return err
		}
	}
	s.run.Regions = make([]RegionResult, len(regions))
	var g errgroup.Group
	g.SetLimit(syncRegionsAtOnce)
	for i, region := range regions {
		r := &s.run.Regions[i]
		r.Region = region
		g.Go(func() error {
			err := s.region(ctx, r)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				r.Error = err.Error()
			}
			return nil
		})
	}
	return g.Wait()
}

// region lists one region and applies what it finds. An error leaves the region
// as it was: an error is never taken for an empty region.
func (s *syncing) region(ctx context.Context, r *RegionResult) error {
	started := s.v.now()
	client, err := s.v.o.Cloud.EC2(ctx, s.a.AccountID, r.Region)
	if err != nil {
		return err
	}
	found, err := describeAll(ctx, client, []types.Filter{{Name: aws.String("instance-state-name"), Values: liveStates}})
	if err != nil {
		return err
	}
	rows, err := s.load(ctx, r.Region)
	if err != nil {
		return err
	}
	r.Listed = len(found)
	if err := s.applyFound(ctx, r, started, found, rows); err != nil {
		return err
	}
	r.Complete = true
	listed := make(map[string]bool, len(found))
	for _, i := range found {
		listed[i.ID] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, row := range rows {
		// What came to be known after the listing began cannot be missing from it.
		if !listed[id] && row.ConfirmedAt.Before(started) && row.RegisteredAt.Before(started) {
			s.missing = append(s.missing, missing{server: row, started: started, result: r})
		}
	}
	return nil
}

func describeAll(ctx context.Context, client *ec2.Client, filters []types.Filter) ([]Instance, error) {
	var list []Instance
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(listPage)})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, res := range out.Reservations {
			for _, in := range res.Instances {
				list = append(list, fromEC2(in))
			}
		}
	}
	return list, nil
}

func (s *syncing) load(ctx context.Context, region string) (map[string]Server, error) {
	rows := map[string]Server{}
	after := ""
	for {
		list, err := serversInRegion(ctx, s.v.db, s.a, region, after, loadChunk)
		if err != nil {
			return nil, err
		}
		for _, row := range list {
			rows[row.InstanceID] = row
			after = row.InstanceID
		}
		if len(list) < loadChunk {
			return rows, nil
		}
	}
}

// applyFound confirms the servers that are as they were in bulk, and applies the
// rules to the others.
func (s *syncing) applyFound(ctx context.Context, r *RegionResult, started time.Time, found []Instance, rows map[string]Server) error {
	var same []string
	var changed []Instance
	for _, i := range found {
		if row, ok := rows[i.ID]; ok && s.unchanged(row, i) {
			same = append(same, row.ID)
			continue
		}
		changed = append(changed, i)
	}
	for len(same) > 0 && !s.run.DryRun {
		n := min(confirmChunk, len(same))
		if err := s.v.db.Update(ctx, func(tx *store.Tx) error { return confirmServers(ctx, tx, same[:n], started) }); err != nil {
			return err
		}
		same = same[n:]
	}
	for len(changed) > 0 {
		n := min(applyChunk, len(changed))
		reads := make([]reading, n)
		for i, in := range changed[:n] {
			reads[i] = reading{started: started, outcome: readFound, instance: in}
		}
		if err := s.applyReads(ctx, r, reads, false); err != nil {
			return err
		}
		changed = changed[n:]
	}
	return nil
}

func (s *syncing) unchanged(row Server, i Instance) bool {
	if row.EC2State != i.State || row.Facts.EC2 == nil || s.a.Options.excludes(i.Tags) || !reflect.DeepEqual(*row.Facts.EC2, i) {
		return false
	}
	derived := row
	derived.derive(s.a.Options)
	return derived.Hostname == row.Hostname && derived.CanonicalName == row.CanonicalName && derived.AccessAddress == row.AccessAddress
}

// errDryRun undoes what a dry run has tried.
var errDryRun = errors.New("dry run")

// applyReads applies the rules to some instances in one transaction, and notes
// what came of it.
func (s *syncing) applyReads(ctx context.Context, r *RegionResult, reads []reading, missedTwice bool) error {
	type done struct {
		id    string
		d     decision
		drift bool
	}
	var all []done
	err := s.v.db.Update(ctx, func(tx *store.Tx) error {
		all = all[:0]
		if _, err := connected(ctx, tx, s.a.ID); err != nil {
			return err
		}
		for _, read := range reads {
			k := InstanceKey{ProjectID: s.a.ProjectID, AccountID: s.a.AccountID, Region: r.Region, InstanceID: read.instance.ID}
			told, fresh, _, err := instanceEvents(ctx, tx, s.a.ID, r.Region, k.InstanceID)
			if err != nil {
				return err
			}
			if len(fresh) > 0 {
				// Events wait for a read of their own, which will start after this one.
				continue
			}
			before, _, err := serverOf(ctx, tx, k)
			if err != nil {
				return err
			}
			st := situation{events: told, read: read, attempt: 1, bySync: true, missedTwice: missedTwice}
			d, err := s.v.apply(ctx, tx, s.a, k, st, Cause{Kind: causeSync, RunID: s.run.ID})
			if err != nil {
				return err
			}
			all = append(all, done{k.InstanceID, d, s.shouldHaveBeenTold(d, read, before, told)})
		}
		if s.run.DryRun {
			return errDryRun
		}
		return nil
	})
	if err != nil && !errors.Is(err, errDryRun) {
		return err
	}
	for _, x := range all {
		if change := x.d.change(); change != "" {
			r.note(x.id, change, x.d.why, x.drift)
		}
	}
	return nil
}

func (d decision) change() string {
	switch d.do {
	case doAdd:
		return changeAdded
	case doUpdate:
		return changeUpdated
	case doRemove:
		return changeRemoved
	}
	return ""
}

// shouldHaveBeenTold reports whether an event should have told of a change that a
// sync found: it happened while the account was monitored, a while ago, and no
// event about the instance says so. Only launches and terminations count, as
// rules need not ask for more.
func (s *syncing) shouldHaveBeenTold(d decision, read reading, before Server, told []stateEvent) bool {
	if s.a.MonitoredAt.IsZero() {
		return false
	}
	switch d.do {
	case doAdd:
		launched := read.instance.LaunchTime
		return len(told) == 0 && launched.After(s.a.MonitoredAt) && read.started.Sub(launched) > driftGrace
	case doRemove:
		return d.reason != reasonExcluded && !toldTerminated(told) && before.ConfirmedAt.After(s.a.MonitoredAt)
	}
	return false
}

// settleMissing looks for the servers that listings lacked by their ids, twice,
// and removes those that are terminated or not there.
func (s *syncing) settleMissing(ctx context.Context) error {
	if len(s.missing) == 0 {
		return nil
	}
	lost, unread, err := s.look(ctx, s.missing)
	if err != nil {
		return err
	}
	if err := s.markAbsent(ctx, unread); err != nil {
		return err
	}
	overdue := s.overdue(unread)
	if len(lost)+len(overdue) == 0 {
		return nil
	}
	for _, m := range lost {
		m.result.Missing++
	}
	total, err := countServers(ctx, s.v.db, s.a)
	if err != nil {
		return err
	}
	if !s.run.Confirmed && (len(lost)+len(overdue))*100 > total*s.a.Options.RemovalThreshold {
		return s.hold(ctx, append(lost, overdue...), total)
	}
	if err := s.expireAbsent(ctx, overdue); err != nil || len(lost) == 0 {
		return err
	}
	pause := time.NewTimer(s.v.recheck)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if lost, _, err = s.look(ctx, lost); err != nil {
		return err
	}
	return s.removeLost(ctx, lost)
}

// hold leaves the missing servers as they are until the removal is confirmed.
func (s *syncing) hold(ctx context.Context, lost []missing, total int) error {
	s.run.Held = len(lost)
	s.run.Error = fmt.Sprintf("%d of %d servers are missing, more than the %d %% that may be removed without confirmation; look at the account's role and regions, then confirm the run",
		len(lost), total, s.a.Options.RemovalThreshold)
	for _, m := range lost {
		m.result.note(m.server.InstanceID, "held", "not in the listing of its region", false)
	}
	return s.markAbsent(ctx, lost)
}

// look reads missing servers by id. Those that are found, alive or terminated,
// are applied; it returns those that are not found, and those that could not be
// read, of which the absence alone counts, after absentFor.
func (s *syncing) look(ctx context.Context, list []missing) (lost, unread []missing, err error) {
	byRegion := map[*RegionResult][]missing{}
	for _, m := range list {
		byRegion[m.result] = append(byRegion[m.result], m)
	}
	for r, in := range byRegion {
		for len(in) > 0 {
			n := min(describeIDs, len(in))
			some, readable, err := s.lookIn(ctx, r, in[:n])
			if err != nil {
				return nil, nil, err
			}
			lost = append(lost, some...)
			if !readable {
				unread = append(unread, in[:n]...)
			}
			in = in[n:]
		}
	}
	return lost, unread, nil
}

func (s *syncing) lookIn(ctx context.Context, r *RegionResult, list []missing) (lost []missing, readable bool, err error) {
	ids := make([]string, len(list))
	for i, m := range list {
		ids[i] = m.server.InstanceID
	}
	started := s.v.now()
	client, err := s.v.o.Cloud.EC2(ctx, s.a.AccountID, r.Region)
	if err != nil {
		return nil, false, err
	}
	found, err := describeAll(ctx, client, []types.Filter{{Name: aws.String("instance-id"), Values: ids}})
	if ctx.Err() != nil {
		return nil, false, ctx.Err()
	}
	if err != nil {
		r.Error = "look for missing instances by id: " + err.Error()
		return nil, false, nil //nolint:nilerr // the region's result tells it, and nothing is removed
	}
	there := map[string]bool{}
	for _, i := range found {
		there[i.ID] = true
		if err := s.applyReads(ctx, r, []reading{{started: started, outcome: readFound, instance: i}}, false); err != nil {
			return nil, false, err
		}
	}
	for _, m := range list {
		if !there[m.server.InstanceID] {
			m.started = started
			lost = append(lost, m)
		}
	}
	return lost, true, nil
}

func (s *syncing) removeLost(ctx context.Context, lost []missing) error {
	for _, m := range lost {
		read := reading{started: m.started, outcome: readNotFound, instance: Instance{ID: m.server.InstanceID}}
		if err := s.applyReads(ctx, m.result, []reading{read}, true); err != nil {
			return err
		}
	}
	return s.markAbsent(ctx, lost)
}

// overdue picks what has been absent for long enough to be removed.
func (s *syncing) overdue(list []missing) (over []missing) {
	for _, m := range list {
		if !m.server.AbsentSince.IsZero() && s.v.now().Sub(m.server.AbsentSince) >= absentFor {
			over = append(over, m)
		}
	}
	return over
}

// expireAbsent removes what has been absent for long enough.
func (s *syncing) expireAbsent(ctx context.Context, list []missing) error {
	if s.run.DryRun {
		return nil
	}
	for _, m := range list {
		err := s.v.db.Update(ctx, func(tx *store.Tx) error {
			row, found, err := loadServer(ctx, tx, m.server.ID)
			if err != nil || !found || !row.DeletedAt.IsZero() || row.AbsentSince.IsZero() || s.v.now().Sub(row.LastSeen) < agentAlive {
				return err
			}
			return s.v.removeServer(ctx, tx, row, tombstone{at: s.v.now(), reason: reasonAbsent},
				Cause{Kind: causeSync, RunID: s.run.ID, Reason: reasonAbsent, Why: "absent from every listing since " + row.AbsentSince.Format(time.RFC3339)})
		})
		if err != nil {
			return err
		}
		m.result.note(m.server.InstanceID, changeRemoved, "absent for 96 hours", false)
	}
	return nil
}

func (s *syncing) markAbsent(ctx context.Context, list []missing) error {
	if s.run.DryRun {
		return nil
	}
	for len(list) > 0 {
		n := min(confirmChunk, len(list))
		ids := make([]string, n)
		for i, m := range list[:n] {
			ids[i] = m.server.ID
		}
		if err := s.v.db.Update(ctx, func(tx *store.Tx) error { return markAbsent(ctx, tx, ids, s.run.StartedAt) }); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// finish sums the regions up, and notes in each region's health how it fared.
func (s *syncing) finish(ctx context.Context, err error) {
	run := s.run
	run.Added, run.Updated, run.Removed, run.Drift = 0, 0, 0, 0
	complete, failures := 0, []string(nil)
	for _, r := range run.Regions {
		run.Added, run.Updated, run.Removed = run.Added+r.Added, run.Updated+r.Updated, run.Removed+r.Removed
		if r.Complete {
			complete++
		}
		if r.Error != "" {
			failures = append(failures, r.Region+": "+r.Error)
		}
	}
	run.FinishedAt = s.v.now()
	if run.Error == "" {
		run.Error = strings.Join(failures, "; ")
	}
	switch {
	case err != nil:
		run.Status, run.Error = SyncFailed, err.Error()
	case complete == 0:
		run.Status = SyncFailed
	case run.Held > 0:
		run.Status = SyncHeld
	case complete < len(run.Regions):
		run.Status = SyncPartial
	default:
		run.Status = SyncSucceeded
	}
	if run.Status == SyncFailed {
		s.v.counters.syncFailures.Add(1)
	}
	if run.DryRun || ctx.Err() != nil {
		return
	}
	if err := s.noteHealth(ctx); err != nil && ctx.Err() == nil {
		run.Status, run.Error = SyncFailed, "note the regions' health: "+err.Error()
	}
	s.v.counters.drift.Add(int64(run.Drift))
}

// noteHealth counts as the run's drift only what was missed in regions whose
// event path has worked before; elsewhere the rule is missing, which the region's
// health shows.
func (s *syncing) noteHealth(ctx context.Context) error {
	return s.v.db.Update(ctx, func(tx *store.Tx) error {
		s.run.Drift = 0
		for _, r := range s.run.Regions {
			events, err := countSync(ctx, tx, s.a.ID, r, s.run.FinishedAt)
			if err != nil {
				return err
			}
			if events > 0 {
				s.run.Drift += r.Drift
			}
		}
		return nil
	})
}
