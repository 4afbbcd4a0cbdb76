package exporter

import "time"

// settled is an event record that was dealt with: its change is stored, or it was given
// up.
type settled struct {
	Key
	// EventAt is when the event happened, ReceivedAt when its record came here, and StoredAt
	// when its change was stored.
	EventAt, ReceivedAt, StoredAt time.Time
	Outcome                       Outcome
	// Err says why it was given up; nil if it was not.
	Err error
}
