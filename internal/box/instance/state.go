package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	transitionQueue = "instance.transition"
	purgeQueue      = "instance.purge"
	// keepTerminated is how long terminated instances stay visible. AWS: "usually about one hour".
	keepTerminated = time.Hour
	// chunk is how many instances change in one transaction of a job.
	chunk = 50
)

// next is the state that follows of itself, empty for those that last.
func (s State) next() State {
	switch s {
	case Pending:
		return Running
	case Stopping:
		return Stopped
	case ShuttingDown:
		return Terminated
	}
	return ""
}

// enter changes an instance's state. Its row and its event are saved by save.
func (i *Instance) enter(state State, code, message, transition string) {
	i.State = state
	i.ReasonCode, i.ReasonMessage, i.TransitionReason = code, message, transition
	switch state {
	case Stopped:
		i.PublicIP = ""
	case Terminated:
		i.PublicIP, i.PrivateIP = "", ""
	}
}

// save writes changed instances, publishes the event of each one's new state
// and enqueues what follows of itself, all in the caller's transaction.
func (s *Instances) save(ctx context.Context, tx *store.Tx, list []*Instance) error {
	if len(list) == 0 {
		return nil
	}
	records := make([]event.Record, len(list))
	follow := map[State][]string{}
	for k, i := range list {
		if err := updateInstance(ctx, tx, i); err != nil {
			return err
		}
		records[k] = s.stateEvent(i)
		follow[i.State] = append(follow[i.State], i.ID)
	}
	if err := tx.Publish(ctx, records...); err != nil {
		return err
	}
	return s.follow(ctx, tx, follow)
}

// follow enqueues the jobs that continue what instances have entered.
func (s *Instances) follow(ctx context.Context, tx *store.Tx, entered map[State][]string) error {
	for state, ids := range entered {
		queue, at := transitionQueue, time.Now().Add(s.opt.Transition)
		if state == Terminated {
			queue, at = purgeQueue, time.Now().Add(keepTerminated)
		} else if state.next() == "" {
			continue
		}
		payload, err := json.Marshal(stay{IDs: ids, State: state})
		if err != nil {
			return err
		}
		// Without a key: a state that is entered again needs a job of its own.
		if err := s.jobs.Enqueue(ctx, tx, work.NewJob{Queue: queue, Payload: payload, RunAt: at}); err != nil {
			return err
		}
	}
	return nil
}

// stay is a job's payload: instances that have been in a state for long enough.
type stay struct {
	IDs   []string `json:"ids"`
	State State    `json:"state"`
}

// stateEvent is the event that tells of an instance's state. AWS: detail has
// exactly these two members.
func (s *Instances) stateEvent(i *Instance) event.Record {
	detail, _ := json.Marshal(struct { // of plain strings
		ID    string `json:"instance-id"`
		State State  `json:"state"`
	}{i.ID, i.State})
	return s.record(i, "aws.ec2", "EC2 Instance State-change Notification", detail)
}

// record is an event about an instance for its account's and region's default bus.
func (s *Instances) record(i *Instance, source, detailType string, detail []byte) event.Record {
	e := event.Event{
		ID: event.NewID(), DetailType: detailType, Source: source,
		Account: i.Account, Region: i.Region, Time: s.opt.Now().Truncate(time.Second), Resources: []string{i.ARN()}, Detail: detail,
	}
	return event.Record{
		Bus: event.BusRef{Account: i.Account, Region: i.Region, Name: event.DefaultBus},
		ID:  e.ID, Origin: event.OriginService + " instance", JSON: e.AppendJSON(nil),
	}
}

// transition is the job that takes instances from a passing state to the next.
func (s *Instances) transition(ctx context.Context, j work.Job) work.Outcome {
	return s.inChunks(j, func(ids []string, from State) error {
		return s.db.Update(ctx, func(tx *store.Tx) error {
			list, err := selectIDs(ctx, tx, ids, tx.Dialect().ForUpdate())
			if err != nil {
				return err
			}
			var moved []*Instance
			for _, i := range list {
				if i.State != from {
					continue // terminated meanwhile, or an earlier attempt did it
				}
				i.settle()
				moved = append(moved, i)
			}
			return s.save(ctx, tx, moved)
		})
	})
}

// settle lets an instance enter the state that follows of itself.
func (i *Instance) settle() {
	if i.State == Pending {
		i.enter(Running, "", "", "")
		return
	}
	i.enter(i.State.next(), i.ReasonCode, i.ReasonMessage, i.TransitionReason)
}

// purge is the job that forgets terminated instances.
func (s *Instances) purge(ctx context.Context, j work.Job) work.Outcome {
	return s.inChunks(j, func(ids []string, _ State) error {
		return s.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return deleteTerminated(ctx, tx, ids) })
	})
}

// inChunks runs a job over its instances, a transaction at a time. Repeating
// what an attempt before has done changes nothing.
func (s *Instances) inChunks(j work.Job, do func(ids []string, state State) error) work.Outcome {
	var p stay
	if err := json.Unmarshal(j.Payload, &p); err != nil {
		return work.Fail(fmt.Sprintf("read the job: %v", err))
	}
	for len(p.IDs) > 0 {
		n := min(len(p.IDs), chunk)
		if err := do(p.IDs[:n], p.State); err != nil {
			s.opt.Logger.Warn("instances will change their state later", "state", p.State, "error", err)
			return work.Retry(err.Error())
		}
		p.IDs = p.IDs[n:]
	}
	return work.Done()
}

// Change is what an operation did to an instance's state.
type Change struct {
	ID       string
	Previous State
	Current  State
}

// Reasons of a state that a user asked for.
const (
	shutdownCode    = "Client.UserInitiatedShutdown"
	shutdownMessage = "Client.UserInitiatedShutdown: User initiated shutdown"
)

// initiated is AWS's text of when a user asked for a state.
func (s *Instances) initiated() string {
	return "User initiated (" + s.opt.Now().UTC().Format("2006-01-02 15:04:05") + " GMT)"
}

// Start starts stopped instances. Those that run or are about to stay as they are.
func (s *Instances) Start(ctx context.Context, p Place, ids []string) ([]Change, error) {
	may := func(i *Instance) error {
		switch i.State {
		case Stopping, ShuttingDown, Terminated:
			return errState(i.ID, "started")
		}
		return nil
	}
	return s.act(ctx, p, ids, may, func(tx *store.Tx, list []*Instance) error {
		var stopped []*Instance
		for _, i := range list {
			if i.State == Stopped {
				stopped = append(stopped, i)
			}
		}
		ips, err := publicIPs(ctx, tx, len(stopped))
		if err != nil {
			return err
		}
		for k, i := range stopped {
			i.enter(Pending, "pending", "pending", "")
			i.PublicIP = ips[k]
			i.Launched = s.opt.Now()
		}
		return nil
	})
}

// Stop stops running instances. Those that have stopped or are about to stay as they are.
func (s *Instances) Stop(ctx context.Context, p Place, ids []string) ([]Change, error) {
	may := func(i *Instance) error {
		switch {
		case i.State == Running && i.Launch.SpotRequest != "":
			return awsapi.Errorf("UnsupportedOperation", "You can't stop the Spot Instance '%s' because it is associated with a one-time Spot Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.", i.ID)
		case i.State == Pending || i.State == ShuttingDown || i.State == Terminated:
			return errState(i.ID, "stopped")
		}
		return nil
	}
	return s.act(ctx, p, ids, may, func(_ *store.Tx, list []*Instance) error {
		for _, i := range list {
			if i.State == Running {
				i.enter(Stopping, shutdownCode, shutdownMessage, s.initiated())
			}
		}
		return nil
	})
}

// Terminate ends instances for good, whatever their state.
func (s *Instances) Terminate(ctx context.Context, p Place, ids []string) ([]Change, error) {
	may := func(*Instance) error { return nil }
	return s.act(ctx, p, ids, may, func(_ *store.Tx, list []*Instance) error {
		for _, i := range list {
			if i.State != ShuttingDown && i.State != Terminated {
				i.enter(ShuttingDown, shutdownCode, shutdownMessage, s.initiated())
			}
		}
		return nil
	})
}

// Reboot checks that the instances run. AWS: a reboot changes no state and
// makes no event.
func (s *Instances) Reboot(ctx context.Context, p Place, ids []string) error {
	may := func(i *Instance) error {
		if i.State != Running {
			return errState(i.ID, "rebooted")
		}
		return nil
	}
	_, err := s.act(ctx, p, ids, may, func(*store.Tx, []*Instance) error { return nil })
	return err
}

// action is what is done to instances that may take it, in a transaction.
type action func(tx *store.Tx, list []*Instance) error

// act changes all of the instances, or none and returns AWS's error. More than
// maxLaunch are changed in several transactions, once all have been found and may be changed.
func (s *Instances) act(ctx context.Context, p Place, ids []string, may func(*Instance) error, do action) ([]Change, error) {
	if len(ids) > maxLaunch {
		list, err := find(ctx, s.db, p, ids, "")
		if err != nil {
			return nil, err
		}
		if err := each(list, may); err != nil {
			return nil, err
		}
	}
	var all []Change
	for len(ids) > 0 {
		n, ctx := min(len(ids), maxLaunch), ctx
		if n < len(ids) {
			ctx = awsapi.Untrailed(ctx) // the last one tells of all
		}
		changes, err := s.actOn(ctx, p, ids[:n], all, may, do)
		if err != nil {
			return nil, err
		}
		all, ids = append(all, changes...), ids[n:]
	}
	return all, nil
}

func each(list []*Instance, may func(*Instance) error) error {
	for _, i := range list {
		if err := may(i); err != nil {
			return err
		}
	}
	return nil
}

// actOn changes instances in one transaction; before is what the ones before it changed.
func (s *Instances) actOn(ctx context.Context, p Place, ids []string, before []Change, may func(*Instance) error, do action) ([]Change, error) {
	var changes []Change
	err := s.db.Update(ctx, func(tx *store.Tx) error {
		list, err := find(ctx, tx, p, ids, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		if err := each(list, may); err != nil {
			return err
		}
		changes = make([]Change, len(list))
		for k, i := range list {
			changes[k] = Change{ID: i.ID, Previous: i.State}
		}
		if err := do(tx, list); err != nil {
			return err
		}
		var changed []*Instance
		for k, i := range list {
			if changes[k].Current = i.State; i.State != changes[k].Previous {
				changed = append(changed, i)
			}
		}
		awsapi.Made(ctx, slices.Concat(before, changes))
		return s.save(ctx, tx, changed)
	})
	return changes, err
}
