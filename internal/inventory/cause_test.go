package inventory

import (
	"testing"
	"time"
)

// A read that follows up on an earlier event has that event as its cause, and
// does not count as the lag of it.
func TestAFollowUpNamesTheEventThatItFollows(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := []stateEvent{
		{EventID: "e-2", State: stateTerminated, Time: at.Add(time.Second)},
		{EventID: "e-1", State: statePending, Time: at},
	}
	webhooks := map[string]string{"e-1": "w-1", "e-2": "w-2"}
	for name, tt := range map[string]struct {
		fresh []stateEvent
		event string
		at    time.Time
	}{
		"a fresh event": {all[1:], "e-1", at},
		"two at once":   {all, "e-2", at.Add(time.Second)},
		"a follow-up":   {nil, "e-2", time.Time{}},
	} {
		got := eventCause(all, tt.fresh, webhooks)
		want := Cause{Kind: causeEvent, EventID: tt.event, WebhookID: webhooks[tt.event], eventTime: tt.at}
		if got != want {
			t.Errorf("%s: cause %+v, want %+v", name, got, want)
		}
	}
}
