package exporter

import "time"

// The times by which a read is believed. AWS: a resource may not be found for minutes
// after it was made, and is found while it is being deleted.
const (
	// createGrace: within this time of a sign that the resource was made, not finding it
	// means nothing yet.
	createGrace = 5 * time.Minute
	// lingerFor is how long a resource is looked at that is said to be deleted and is
	// still found.
	lingerFor = time.Hour
	// sameSecond is when a resource is looked at once more that was made and deleted
	// within the same second, as far as the events say: their order is not known.
	sameSecond = 30 * time.Second
	// maxRechecks bounds how often a resource is read again without an event.
	maxRechecks = 30
)

// recheckDelay is the wait before the next read without an event: 2 s doubling up
// to 5 min.
func recheckDelay(rechecks int) time.Duration {
	if rechecks > 7 {
		return createGrace
	}
	return min(2*time.Second<<max(rechecks, 0), createGrace)
}

// verdict is what a read means for what is known of a resource.
type verdict int

const (
	// stale: something later is known.
	stale verdict = iota
	// found: the resource is as the read says.
	found
	// gone: it does not exist.
	gone
	// undecided: it was not found, which does not count yet.
	undecided
	// unread: the cloud cannot be asked, and the events do not settle it.
	unread
	// unmoved: the cloud cannot be asked, and the events say nothing new.
	unmoved
)

// decision is a verdict and what follows from it.
type decision struct {
	verdict
	// after is when to read again without an event; 0 for not at all.
	after time.Duration
	why   string
}

// decide applies the rules: an event is a hint and the cloud is the truth; the read
// that started later wins. Where the cloud cannot be asked, the latest event does.
// before is what is known; nil for nothing. named is when an event last said that something
// by one of the resource's other names was deleted. It has no side effects.
func decide(before *Resource, r Read, named, now time.Time) decision {
	s := situation{read: r, named: named, now: now}
	if before != nil {
		s.known = *before
	}
	s.upsertAt, s.deleteAt = latest(s.known.UpsertAt, r.UpsertAt), latest(s.known.DeleteAt, r.DeleteAt)
	if s.known.Ticket > r.Ticket {
		return decision{verdict: stale}
	}
	d := s.judge()
	if s.rechecks() >= maxRechecks {
		d.after = 0
	}
	return d
}

// situation is what a decision rests on.
type situation struct {
	read  Read
	known Resource
	named time.Time
	now   time.Time
	// upsertAt and deleteAt are the latest of all events.
	upsertAt, deleteAt time.Time
}

func (s *situation) judge() decision {
	switch {
	case s.read.Unread != nil:
		return s.trust()
	case s.read.Found:
		return s.found()
	}
	return s.notFound()
}

// rechecks counts the reads without an event since the last event.
func (s *situation) rechecks() int {
	if !s.read.UpsertAt.IsZero() || !s.read.DeleteAt.IsZero() {
		return 0
	}
	return s.known.Rechecks
}

// toldGone: the latest event says that the resource was deleted, after whatever says that it
// lived at a time. AWS: events have whole seconds.
func (s *situation) toldGone(lived time.Time) bool {
	return !s.deleteAt.IsZero() && !s.deleteAt.Before(lived.Truncate(time.Second))
}

func (s *situation) found() decision {
	d := decision{verdict: found}
	told := latest(s.deleteAt, s.named)
	if !told.IsZero() && !told.Before(s.upsertAt.Truncate(time.Second)) && s.now.Sub(told) < lingerFor {
		d.after, d.why = recheckDelay(s.rechecks()), "an event says that it was deleted, and it is still found"
	}
	return d
}

func (s *situation) notFound() decision {
	lived := s.upsertAt
	if s.known.Present {
		lived = latest(lived, s.known.FirstAt)
	}
	if s.toldGone(lived) {
		d := decision{verdict: gone}
		first := s.known.Present || s.rechecks() == 0
		switch {
		case s.unconfirmed(lived):
			d.after, d.why = sameSecond, "a record that says it was deleted may have meant another resource"
		case !lived.IsZero() && !s.deleteAt.After(lived) && first:
			d.after, d.why = sameSecond, "it was made and deleted within a second"
		}
		return d
	}
	grace := createGrace - s.now.Sub(lived)
	if lived.IsZero() || grace <= 0 || s.rechecks() >= maxRechecks {
		return decision{verdict: gone}
	}
	return decision{verdict: undecided, after: min(grace, recheckDelay(s.rechecks())), why: "it was made a moment ago, and is not found"}
}

// unconfirmed: whether it was this resource that was deleted is not sure. The record that said
// so, now or before, may have called it by a name that another has too, and what was made a
// moment ago may be found by one read and not by the next.
func (s *situation) unconfirmed(lived time.Time) bool {
	byIdentifier := !s.read.ByName && !s.read.DeleteAt.IsZero() && !s.read.DeleteAt.Before(lived.Truncate(time.Second))
	answersEvent := !s.read.UpsertAt.IsZero() || !s.read.DeleteAt.IsZero()
	return !byIdentifier && (s.known.Present || answersEvent)
}

// trust takes the events at their word.
func (s *situation) trust() decision {
	known := s.upsertAt
	if s.known.Present {
		known = latest(known, s.known.ReadAt)
	}
	switch {
	case s.toldGone(known):
		return decision{verdict: gone}
	case s.read.UpsertAt.IsZero(), s.toldGone(s.read.UpsertAt):
		return decision{verdict: unmoved}
	}
	return decision{verdict: unread}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
