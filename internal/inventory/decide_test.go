package inventory

import (
	"errors"
	"testing"
	"time"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	ev := func(state string, at time.Time) []stateEvent {
		return []stateEvent{{EventID: "e", State: state, Time: at, Received: at}}
	}
	found := func(state string, started time.Time) reading {
		return reading{started: started, outcome: readFound, instance: Instance{ID: "i-1", State: state}}
	}
	missing := reading{started: now, outcome: readNotFound}
	failing := reading{started: now, outcome: readFailed, err: errors.New("throttled")}
	blind := reading{started: now, outcome: readImpossible}
	row := known{serverID: "s", state: stateRunning, toldAt: ago(time.Hour), confirmedAt: ago(time.Minute)}
	dead := func(reason string, final bool) known {
		return known{tomb: &tombstone{at: ago(time.Minute), reason: reason, final: final}}
	}

	tests := []struct {
		name string
		s    situation
		do   action
		want func(decision) bool
	}{
		{"pending and found adds", situation{events: ev(statePending, now), read: found(statePending, now)}, doAdd, nil},
		{"running of an unknown instance that is found adds", situation{events: ev(stateRunning, now), read: found(stateRunning, now)}, doAdd, nil},
		{"pending not found yet is looked for again", situation{events: ev(statePending, now), read: missing}, doRetry,
			func(d decision) bool { return d.after == 2*time.Second }},
		{"pending not found for ten minutes is dropped", situation{events: ev(statePending, ago(confirmFor)), read: missing, attempt: 9}, doNothing, nil},
		{"a start of a stopped instance keeps its row", situation{known: row, events: ev(statePending, now), read: found(statePending, now)}, doUpdate, nil},
		{"a read older than the row changes nothing", situation{known: row, events: ev(statePending, now), read: found(statePending, ago(time.Hour))}, doNothing, nil},
		{"terminated and read terminated removes for good", situation{known: row, events: ev(stateTerminated, now), read: found(stateTerminated, now)}, doRemove,
			func(d decision) bool { return d.final && d.reason == reasonTerminated }},
		{"terminated and read shutting-down removes for good", situation{known: row, events: ev(stateTerminated, now), read: found(stateShuttingDown, now)}, doRemove,
			func(d decision) bool { return d.final }},
		{"terminated and not found removes", situation{known: row, events: ev(stateTerminated, now), read: missing}, doRemove, nil},
		{"terminated of an unknown instance is remembered", situation{events: ev(stateTerminated, now), read: missing}, doBury, nil},
		{"terminated but found alive is read again", situation{known: row, events: ev(stateTerminated, now), read: found(stateRunning, now)}, doRetry, nil},
		{"terminated but found alive again and again keeps the server", situation{known: row, events: ev(stateTerminated, now), read: found(stateRunning, now), attempt: contradictions},
			doUpdate, func(d decision) bool { return d.anomaly }},
		{"terminated with failing reads is acted upon in the end", situation{known: row, events: ev(stateTerminated, now), read: failing, attempt: deniedAfter}, doRemove,
			func(d decision) bool { return !d.final }},
		{"terminated with a failing read waits", situation{known: row, events: ev(stateTerminated, now), read: failing}, doRetry, nil},
		{"pending with failing reads is trusted after ten minutes", situation{events: ev(statePending, ago(confirmFor)), read: failing, attempt: 7}, doAdd,
			func(d decision) bool { return d.trusted }},
		{"a late pending after terminated is ignored", situation{known: dead(reasonTerminated, true), events: ev(statePending, now), read: found(statePending, now)}, doNothing, nil},
		{"a wrong terminated is undone by a later read", situation{known: dead(reasonTerminated, false), read: found(stateRunning, now)}, doAdd,
			func(d decision) bool { return d.anomaly }},
		{"a read from before the removal undoes nothing", situation{known: dead(reasonTerminated, false), read: found(stateRunning, ago(time.Hour))}, doNothing, nil},
		{"removed by hand is not brought back by an event", situation{known: dead(reasonManual, false), events: ev(statePending, now), read: found(stateRunning, now)}, doNothing, nil},
		{"removed by hand is brought back by a sync", situation{known: dead(reasonManual, false), read: found(stateRunning, now), bySync: true}, doAdd, nil},
		{"ignored is not brought back by a sync", situation{known: known{tomb: &tombstone{at: ago(time.Hour), reason: reasonManual, ignored: true}}, read: found(stateRunning, now), bySync: true}, doNothing, nil},
		{"an excluded instance is not added", situation{events: ev(statePending, now), read: found(stateRunning, now), excluded: true}, doNothing, nil},
		{"a server that comes to be excluded is removed", situation{known: row, read: found(stateRunning, now), excluded: true}, doRemove,
			func(d decision) bool { return d.reason == reasonExcluded }},
		{"shutting-down marks the row", situation{known: row, events: ev(stateShuttingDown, now), read: found(stateShuttingDown, now)}, doUpdate,
			func(d decision) bool { return d.state == stateShuttingDown }},
		{"shutting-down of an unknown instance is nothing", situation{events: ev(stateShuttingDown, now), read: found(stateShuttingDown, now)}, doNothing, nil},
		{"not found once is counted, not believed", situation{known: row, events: ev(stateStopped, now), read: missing}, doRetry,
			func(d decision) bool { return d.missed }},
		{"not found twice removes", situation{known: known{serverID: "s", toldAt: ago(time.Hour), notFound: 1}, events: ev(stateStopped, now), read: missing}, doRemove,
			func(d decision) bool { return d.reason == reasonNotFound && !d.final }},
		{"not found within five minutes of the create is read again", situation{known: known{serverID: "s", toldAt: ago(time.Minute), notFound: 1}, events: ev(stateRunning, now), read: missing}, doRetry,
			func(d decision) bool { return !d.missed }},
		{"not found while its agent lives keeps the row", situation{known: known{serverID: "s", toldAt: ago(time.Hour), notFound: 1, lastSeen: ago(time.Minute)}, events: ev(stateRunning, now), read: missing}, doNothing, nil},

		{"trusted pending adds", situation{events: ev(statePending, now), read: blind}, doAdd, func(d decision) bool { return d.trusted }},
		{"trusted terminated removes, but not for good", situation{known: row, events: ev(stateTerminated, ago(time.Hour)), read: blind}, doRemove, func(d decision) bool { return !d.final }},
		{"trusted pending after terminated is ignored", situation{known: dead(reasonTerminated, false), events: append(ev(stateTerminated, ago(time.Minute)), ev(statePending, now)...), read: blind}, doNothing, nil},
		{"trusted: an event older than the last read changes nothing", situation{known: row, events: ev(stateStopped, ago(time.Hour)), read: blind}, doNothing, nil},
		{"trusted: a later event changes the state", situation{known: row, events: ev(stateStopped, now), read: blind}, doUpdate, func(d decision) bool { return d.state == stateStopped }},
		{"trusted: on one second the later state wins", situation{events: append(ev(stateRunning, now), ev(statePending, now)...), read: blind}, doAdd, func(d decision) bool { return d.state == stateRunning }},
		{"trusted: shutting-down alone adds nothing", situation{events: ev(stateShuttingDown, now), read: blind}, doNothing, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.s
			s.now, s.fresh, s.attempt = now, s.events, max(s.attempt, 1)
			d := decide(s)
			if d.do != tt.do || (tt.want != nil && !tt.want(d)) {
				t.Errorf("decided %+v, want action %d", d, tt.do)
			}
		})
	}
}

func TestRetryDelay(t *testing.T) {
	for attempt, want := range map[int]time.Duration{1: 2 * time.Second, 2: 4 * time.Second, 6: 64 * time.Second, 7: 2 * time.Minute, 60: 2 * time.Minute} {
		if got := retryDelay(attempt); got != want {
			t.Errorf("attempt %d: %v, want %v", attempt, got, want)
		}
	}
}
