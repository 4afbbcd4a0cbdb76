package inventory

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// readTime bounds one read of an instance.
const readTime = 15 * time.Second

// applyJob reads one instance and settles the events that were held for it when
// the read began. The queue runs one job per instance at a time, so a key has
// one writer, and events that arrive meanwhile share the next read.
func (v *Inventory) applyJob(ctx context.Context, j work.Job) work.Outcome {
	accountID, region, instanceID, err := splitApplyKey(j.Key)
	if err != nil {
		return work.Fail(err.Error())
	}
	a, found, err := loadAccount(ctx, v.db, accountID)
	if err != nil {
		return work.Retry(err.Error())
	}
	if !found {
		return work.Fail("cloud account " + accountID + " does not exist")
	}
	all, fresh, webhooks, err := instanceEvents(ctx, v.db, accountID, region, instanceID)
	if err != nil {
		return work.Retry(err.Error())
	}
	s := situation{events: all, fresh: fresh, attempt: j.Attempt}
	if !a.DeletedAt.IsZero() {
		return v.discard(ctx, j, a, fresh, errDisconnected.Error())
	}
	s.read = v.readInstance(ctx, a, region, instanceID)
	if ctx.Err() != nil {
		return work.Retry(ctx.Err().Error())
	}
	k := InstanceKey{ProjectID: a.ProjectID, AccountID: a.AccountID, Region: region, InstanceID: instanceID}
	out := work.Completed()
	err = v.db.Update(ctx, func(tx *store.Tx) error {
		a, err := connected(ctx, tx, accountID)
		if err != nil {
			return err
		}
		d, err := v.apply(ctx, tx, a, k, s, eventCause(all, fresh, webhooks))
		if err != nil {
			return err
		}
		if d.do == doRetry {
			out = work.RetryAt(v.o.Now().Add(d.after), d.why)
			return nil
		}
		out = work.Completed()
		return v.finishApply(ctx, tx, j, a, s, d)
	})
	switch {
	case errors.Is(err, work.ErrLost):
		return work.Completed()
	case errors.Is(err, errDisconnected):
		return v.discard(ctx, j, a, fresh, err.Error())
	case err != nil:
		return work.Retry(err.Error())
	}
	return out
}

// finishApply settles the events and, where the instance is between two states,
// schedules another look: the event of the next state may never come.
func (v *Inventory) finishApply(ctx context.Context, tx *store.Tx, j work.Job, a CloudAccount, s situation, d decision) error {
	outcome := d.why
	if d.anomaly && s.read.outcome == readFound && toldTerminated(s.fresh) {
		outcome = outcomeContradicted
	}
	now := v.now()
	if err := settleEvents(ctx, tx, a.ID, s.fresh, now, outcome); err != nil {
		return err
	}
	if err := noteReadable(ctx, tx, a, s.read, now); err != nil {
		return err
	}
	if err := v.o.Work.Complete(ctx, tx, j); err != nil {
		return err
	}
	at := followUp(s.read, d, now)
	if at.IsZero() {
		return nil
	}
	return v.o.Work.Enqueue(ctx, tx, work.NewJob{Queue: queueApply, Key: j.Key, RunAt: at})
}

// noteReadable keeps whether the account can be read, and if not, why.
func noteReadable(ctx context.Context, tx *store.Tx, a CloudAccount, r reading, now time.Time) error {
	switch {
	case r.outcome == readImpossible && r.err != nil && now.Sub(a.UnreadAt) > time.Minute:
		return saveUnread(ctx, tx, a.ID, now, r.err.Error())
	case (r.outcome == readFound || r.outcome == readNotFound) && !a.UnreadAt.IsZero():
		return saveUnread(ctx, tx, a.ID, time.Time{}, "")
	}
	return nil
}

// followUp is when to read an instance again although no event asks for it: soon
// while it changes state, and a minute after its launch, when its tags are there.
func followUp(r reading, d decision, now time.Time) time.Time {
	if r.outcome != readFound || (d.do != doAdd && d.do != doUpdate) {
		return time.Time{}
	}
	age := now.Sub(r.instance.LaunchTime)
	switch r.instance.State {
	case statePending, stateStopping, stateShuttingDown:
		if age < time.Hour {
			return now.Add(5 * time.Second)
		}
		return now.Add(5 * time.Minute)
	case stateRunning:
		if age < time.Minute {
			return r.instance.LaunchTime.Add(time.Minute)
		}
	}
	return time.Time{}
}

func (v *Inventory) discard(ctx context.Context, j work.Job, a CloudAccount, fresh []stateEvent, why string) work.Outcome {
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		if err := settleEvents(ctx, tx, a.ID, fresh, v.now(), why); err != nil {
			return err
		}
		return v.o.Work.Complete(ctx, tx, j)
	})
	if err != nil && !errors.Is(err, work.ErrLost) {
		return work.Retry(err.Error())
	}
	return work.Completed()
}

// eventCause names the last of the events by time as the cause: of the fresh ones,
// or, for a read that follows up on a change, of all.
func eventCause(all, fresh []stateEvent, webhooks map[string]string) Cause {
	last, _ := latest(fresh)
	c := Cause{Kind: causeEvent, eventTime: last.Time}
	if len(fresh) == 0 {
		last, _ = latest(all)
	}
	c.EventID, c.WebhookID = last.EventID, webhooks[last.EventID]
	return c
}

// readInstance asks the cloud about one instance.
func (v *Inventory) readInstance(ctx context.Context, a CloudAccount, region, instanceID string) reading {
	r := reading{started: v.now(), outcome: readImpossible}
	if a.Options.TrustEvents {
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	client, err := v.o.Cloud.EC2(ctx, a.AccountID, region)
	if err != nil {
		return r.failed(err)
	}
	out, err := client.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instanceID}})
	if err != nil {
		return r.failed(err)
	}
	r.outcome = readNotFound
	for _, res := range out.Reservations {
		for _, in := range res.Instances {
			if i := fromEC2(in); i.ID == instanceID {
				r.instance, r.outcome = i, readFound
			}
		}
	}
	return r
}

// failed sorts an error of a read: the instance is not there, reading is not
// possible, or not possible now.
func (r reading) failed(err error) reading {
	r.err, r.outcome = err, readFailed
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed":
			r.outcome = readNotFound
			return r
		}
	}
	if cloud.Unreadable(err) {
		r.outcome = readImpossible
	}
	return r
}

// apply decides about one instance and carries the decision out, within a
// transaction. Events are not settled by it.
func (v *Inventory) apply(ctx context.Context, tx *store.Tx, a CloudAccount, k InstanceKey, s situation, cause Cause) (decision, error) {
	server, found, err := serverOf(ctx, tx, k)
	if err != nil {
		return decision{}, err
	}
	tomb, err := loadTombstone(ctx, tx, k)
	if err != nil {
		return decision{}, err
	}
	s.now = v.now()
	s.known = known{tomb: tomb}
	if found {
		s.known = known{
			serverID: server.ID, state: server.EC2State, toldAt: server.ToldAt,
			confirmedAt: server.ConfirmedAt, notFound: server.NotFound, lastSeen: server.LastSeen,
		}
	}
	if s.read.outcome == readFound {
		s.excluded = a.Options.excludes(s.read.instance.Tags)
	}
	d := decide(s)
	cause.Why, cause.Anomaly = d.why, d.anomaly
	switch d.do {
	case doAdd:
		return d, v.addServer(ctx, tx, a, k, s, d, cause)
	case doUpdate:
		return d, v.refreshServer(ctx, tx, a, server, s, d, cause)
	case doRemove:
		cause.Reason = d.reason
		return d, v.removeServer(ctx, tx, server, tombstone{at: s.now, reason: d.reason, final: d.final}, cause)
	case doBury:
		return d, saveTombstone(ctx, tx, k, "", tombstone{at: s.now, reason: d.reason, final: d.final})
	case doRetry:
		if d.missed && found {
			server.NotFound++
			return d, saveServer(ctx, tx, &server)
		}
	}
	return d, nil
}

func (v *Inventory) addServer(ctx context.Context, tx *store.Tx, a CloudAccount, k InstanceKey, s situation, d decision, cause Cause) error {
	project, err := projectName(ctx, tx, k.ProjectID)
	if err != nil {
		return err
	}
	server := Server{
		ID: uuid.NewString(), ProjectID: k.ProjectID, ProjectName: project, CloudAccountID: a.ID,
		AccountID: k.AccountID, Region: k.Region, InstanceID: k.InstanceID,
		RegisteredAt: s.now, ToldAt: s.now, EC2State: d.state,
		Facts: Facts{DiscoveredBy: cause.Kind},
	}
	if !d.trusted {
		server.ConfirmedAt, server.Facts.EC2 = s.read.started, &s.read.instance
	}
	if err := deleteTombstone(ctx, tx, k); err != nil {
		return err
	}
	return v.saveChange(ctx, tx, changeAdded, a.Options, nil, &server, cause)
}

func (v *Inventory) refreshServer(ctx context.Context, tx *store.Tx, a CloudAccount, server Server, s situation, d decision, cause Cause) error {
	before := server
	server.EC2State = d.state
	if !d.trusted {
		server.ConfirmedAt, server.Facts.EC2 = s.read.started, &s.read.instance
		server.AbsentSince, server.NotFound = time.Time{}, 0
	}
	return v.saveChange(ctx, tx, changeUpdated, a.Options, &before, &server, cause)
}

// removeServer takes a server out of the inventory, revokes its agent, and
// remembers the instance so that a late event does not bring it back.
func (v *Inventory) removeServer(ctx context.Context, tx *store.Tx, server Server, t tombstone, cause Cause) error {
	before := server
	server.DeletedAt = t.at
	if t.reason == reasonTerminated {
		server.EC2State = stateTerminated
	}
	if err := revokeAgents(ctx, tx, server.ID, t.at); err != nil {
		return err
	}
	if server.InstanceID != "" {
		k := InstanceKey{server.ProjectID, server.AccountID, server.Region, server.InstanceID}
		if err := saveTombstone(ctx, tx, k, server.ID, t); err != nil {
			return err
		}
	}
	if err := saveServer(ctx, tx, &server); err != nil {
		return err
	}
	return v.record(ctx, tx, changeRemoved, &before, &server, cause)
}

// saveChange derives a server's fields, gives its address to the newest server
// that reports it, saves and records. before is nil for a new server.
func (v *Inventory) saveChange(ctx context.Context, tx *store.Tx, kind string, o AccountOptions, before, after *Server, cause Cause) error {
	after.derive(o)
	after.Facts.AddressTakenBy = ""
	rivals, err := serversAt(ctx, tx, after.ProjectID, after.AccessAddress, after.ID)
	if err != nil {
		return err
	}
	for _, r := range rivals {
		if r.newerThan(after) {
			after.Facts.AddressTakenBy, after.AccessAddress = r.ID, ""
			continue
		}
		old := r
		r.Facts.AddressTakenBy, r.AccessAddress = after.ID, ""
		if err := saveServer(ctx, tx, &r); err != nil {
			return err
		}
		why := cause
		why.Why = "its address is now that of " + after.Hostname
		if err := v.record(ctx, tx, changeUpdated, &old, &r, why); err != nil {
			return err
		}
	}
	if err := saveServer(ctx, tx, after); err != nil {
		return err
	}
	return v.record(ctx, tx, kind, before, after, cause)
}
