package inventory

import (
	"fmt"
	"time"
)

// The times by which a read is believed. AWS: an instance may not be found by
// DescribeInstances for minutes after it was launched.
const (
	// createGrace: within this time of a create, not finding it means nothing.
	createGrace = 5 * time.Minute
	// confirmFor is how long an instance that an event told of is looked for.
	confirmFor = 10 * time.Minute
	// contradictions is how often a read that says "alive" is repeated when an
	// event says "terminated".
	contradictions = 4
	// deniedAfter is how many failed reads it takes before a terminated event is
	// acted upon without one.
	deniedAfter = 5
	// agentAlive is how recent a heartbeat must be to outweigh a read that does
	// not find the instance.
	agentAlive = 15 * time.Minute
)

// retryDelay is the wait before the next read: 2 s doubling up to 2 min.
func retryDelay(attempt int) time.Duration {
	if attempt > 6 {
		return 2 * time.Minute
	}
	return min(2*time.Second<<max(attempt-1, 0), 2*time.Minute)
}

// outcome is how a read of the cloud went.
type outcome int

const (
	// readFound: the instance is there, in some state.
	readFound outcome = iota
	// readNotFound: the cloud says that there is no such instance.
	readNotFound
	// readFailed: the cloud could not be asked this time.
	readFailed
	// readImpossible: the cloud cannot be asked at all (no credentials, not
	// allowed, or told not to), so events are taken at their word.
	readImpossible
)

// reading is one read of an instance. It says how things stood at Started.
type reading struct {
	started  time.Time
	outcome  outcome
	instance Instance
	err      error
}

// stateEvent is what one event said about an instance.
type stateEvent struct {
	EventID  string
	State    string
	Time     time.Time
	Received time.Time
}

// known is what the inventory holds about an instance.
type known struct {
	// serverID is empty when there is no row.
	serverID string
	state    string
	// toldAt is when the instance was first heard of.
	toldAt time.Time
	// confirmedAt is the start of the read that the row comes from; zero for a
	// row that no read has confirmed.
	confirmedAt time.Time
	notFound    int
	// lastSeen is the agent's last heartbeat.
	lastSeen time.Time
	tomb     *tombstone
}

// tombstone remembers that an instance was removed and why.
type tombstone struct {
	at     time.Time
	reason string
	// final: the cloud itself said that the instance is terminated.
	final bool
	// ignored: an admin does not want it back.
	ignored bool
}

// The reasons for which a server is removed.
const (
	reasonTerminated = "terminated"
	reasonNotFound   = "not_found"
	reasonAbsent     = "absent"
	reasonManual     = "manual"
	reasonExcluded   = "excluded"
)

// situation is everything that a decision about one instance rests on.
type situation struct {
	now   time.Time
	known known
	// events are all events about the instance that are still held, fresh the
	// ones among them that no decision has settled.
	events, fresh []stateEvent
	read          reading
	// attempt counts the reads for these fresh events, from 1.
	attempt int
	// bySync: the read is part of a full sync.
	bySync bool
	// missedTwice: this is the second read in a row of a sync that did not find it.
	missedTwice bool
	// excluded: the account's tag selectors leave this instance out.
	excluded bool
}

type action int

const (
	// doNothing settles the events without a change.
	doNothing action = iota
	doAdd
	doUpdate
	doRemove
	// doBury writes a tombstone where there is no row.
	doBury
	// doRetry leaves the events unsettled and reads again.
	doRetry
)

type decision struct {
	do     action
	why    string
	after  time.Duration // doRetry
	reason string        // doRemove, doBury
	final  bool          // doRemove, doBury
	// trusted: no read backs this; state is what the events say.
	trusted bool
	state   string
	// anomaly: the cloud and the events contradict each other.
	anomaly bool
	// missed: this read did not find the instance, which counts.
	missed bool
}

// decide applies the rules: an event is a hint and the cloud is the truth; the
// read that started later wins; terminated is final, as AWS never reuses an
// instance id. It has no side effects and does not look at a clock.
func decide(s situation) decision {
	switch s.read.outcome {
	case readFound:
		return s.found()
	case readNotFound:
		return s.notFound()
	case readFailed:
		return s.failed()
	default:
		return s.trust()
	}
}

func (s situation) found() decision {
	state := s.read.instance.State
	told := toldTerminated(s.fresh)
	switch {
	case state == stateTerminated, state == stateShuttingDown && (told || s.known.tomb != nil):
		return s.gone(true, "the cloud says "+state)
	case state == stateShuttingDown && s.known.serverID == "":
		return decision{why: "shutting down, and not in the inventory"}
	}
	if s.known.tomb != nil {
		return s.foundRemoved()
	}
	if s.read.started.Before(s.known.confirmedAt) {
		return decision{why: "a later read was applied already"}
	}
	if told && s.attempt < contradictions {
		return decision{do: doRetry, after: retryDelay(s.attempt), why: "the event says terminated, the cloud says " + state}
	}
	switch {
	case s.excluded && s.known.serverID != "":
		return decision{do: doRemove, reason: reasonExcluded, why: "left out by the account's tag selectors"}
	case s.excluded:
		return decision{why: "left out by the account's tag selectors"}
	case s.known.serverID == "":
		return decision{do: doAdd, state: state, anomaly: told, why: "found " + state}
	}
	return decision{do: doUpdate, state: state, anomaly: told, why: "found " + state}
}

// foundRemoved: a live instance whose row was removed.
func (s situation) foundRemoved() decision {
	t := s.known.tomb
	switch {
	case t.final:
		return decision{why: "removed: the cloud said that it is terminated, which is final"}
	case t.ignored:
		return decision{why: "removed, and set to be ignored"}
	case t.reason == reasonManual && !s.bySync:
		return decision{why: "removed by hand; only a full sync brings it back"}
	case !s.read.started.After(t.at):
		return decision{why: "removed after this read began"}
	case s.excluded:
		return decision{why: "left out by the account's tag selectors"}
	}
	return decision{do: doAdd, state: s.read.instance.State, anomaly: t.reason == reasonTerminated,
		why: fmt.Sprintf("found %s although removed before (%s)", s.read.instance.State, t.reason)}
}

func (s situation) notFound() decision {
	if toldTerminated(s.events) {
		return s.gone(true, "the event says terminated and the cloud does not know it")
	}
	if s.known.tomb != nil {
		return decision{why: "removed before"}
	}
	if s.known.serverID == "" {
		if s.now.Sub(firstReceived(s.fresh)) < confirmFor {
			return decision{do: doRetry, after: retryDelay(s.attempt), why: "the cloud does not know it yet"}
		}
		return decision{why: "the cloud does not know it"}
	}
	switch {
	case s.read.started.Before(s.known.confirmedAt):
		return decision{why: "a later read was applied already"}
	case s.now.Sub(s.known.toldAt) < createGrace:
		return decision{do: doRetry, after: retryDelay(s.attempt), why: "not found, but created a moment ago"}
	case s.now.Sub(s.known.lastSeen) < agentAlive:
		return decision{why: "not found, but its agent is alive"}
	case s.known.notFound < 1 && !s.missedTwice:
		return decision{do: doRetry, after: retryDelay(s.attempt), missed: true, why: "not found once"}
	}
	return decision{do: doRemove, reason: reasonNotFound, why: "not found twice"}
}

func (s situation) failed() decision {
	switch {
	case toldTerminated(s.fresh) && s.attempt >= deniedAfter:
		return s.gone(false, "the event says terminated and the cloud cannot be asked")
	case len(s.fresh) > 0 && s.now.Sub(firstReceived(s.fresh)) >= confirmFor:
		return s.trust()
	}
	return decision{do: doRetry, after: retryDelay(s.attempt), why: "the cloud cannot be asked: " + s.read.err.Error()}
}

// trust takes the events at their word. It looks at all that are held, not only
// at the fresh ones, so that the order of their arrival does not matter.
func (s situation) trust() decision {
	if toldTerminated(s.events) {
		return s.gone(false, "the event says terminated")
	}
	if s.known.tomb != nil {
		return decision{why: "removed before"}
	}
	last, created := latest(s.events)
	switch {
	case s.known.serverID == "" && !created:
		return decision{why: "nothing says that it lives"}
	case s.known.serverID == "":
		return decision{do: doAdd, trusted: true, state: last.State, why: "the event says " + last.State}
	case last.State == "" || last.State == s.known.state:
		return decision{why: "no change"}
	case last.Time.Before(s.known.confirmedAt):
		return decision{why: "older than what a read said"}
	}
	return decision{do: doUpdate, trusted: true, state: last.State, why: "the event says " + last.State}
}

func (s situation) gone(final bool, why string) decision {
	d := decision{reason: reasonTerminated, final: final, why: why, state: stateTerminated}
	switch {
	case s.known.serverID != "":
		d.do = doRemove
	case s.known.tomb == nil, final && !s.known.tomb.final:
		d.do = doBury
	default:
		d.why = "removed before"
	}
	return d
}

func toldTerminated(events []stateEvent) bool {
	for _, e := range events {
		if e.State == stateTerminated {
			return true
		}
	}
	return false
}

// latest returns the event that is last by time, ties going to the later state,
// and whether any event says that the instance lives or lived.
func latest(events []stateEvent) (last stateEvent, created bool) {
	for _, e := range events {
		created = created || isLive(e.State)
		switch e.Time.Compare(last.Time) {
		case 1:
			last = e
		case 0:
			if stateRank(e.State) > stateRank(last.State) {
				last = e
			}
		}
	}
	return last, created
}

func firstReceived(events []stateEvent) time.Time {
	var first time.Time
	for _, e := range events {
		if first.IsZero() || e.Received.Before(first) {
			first = e.Received
		}
	}
	return first
}
