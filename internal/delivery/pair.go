package delivery

import (
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/target"
)

// pair is one delivery: one event on its way to one subscription.
type pair struct {
	seq   uint64
	index int
	rec   event.Record
	sub   *bus.Subscription // as it was when it matched
	held  *held
	// redrive is what a delivery has that was a dead letter; nil for all others.
	redrive *redrive

	mu     sync.Mutex
	state  pairState
	jobbed bool // a job was stored while it was being attempted; its batch no longer waits for it
	queued time.Time
	status int // HTTP status that the last attempt was answered with; of whoever attempts the pair
	past
}

// past is what has been tried. Whoever attempts the pair changes it, under mu.
type past struct {
	tries           int             // attempts made
	deadLetterTries int             // failed tries to dead-letter it
	failure         *target.Failure // of the last attempt
	spells          []spell         // how the attempts failed; a change makes a new slice
	// body is what the target gets, made at the first attempt; nil while there was
	// none, and where it is the event itself.
	body []byte
}

type pairState uint8

const (
	waiting    pairState = iota // in its lane
	attempting                  // a worker has it, or it is being parked
	leaving                     // its lane leaves the shared path; the row that says so is being stored
	parked                      // a job stands for it
	done                        // delivered, dead-lettered, dropped, cancelled, or behind a stored cursor
)

// begin takes the pair for an attempt or for parking; false if somebody else
// has it or it is over.
func (p *pair) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != waiting {
		return false
	}
	p.state = attempting
	return true
}

// giveBack undoes begin. Nobody attempts the pair then unless it is still in its
// lane; its batch has it parked in the end.
func (p *pair) giveBack() { p.become(attempting, waiting) }

// stay undoes the leaving of a pair whose lane did not come to leave.
func (p *pair) stay() { p.become(leaving, waiting) }

// leave marks a pair that its lane leaves to the reader; false if somebody has it
// or it is over.
func (p *pair) leave() bool { return p.become(waiting, leaving) }

func (p *pair) become(from, to pairState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != from {
		return false
	}
	p.state = to
	return true
}

func (p *pair) is(state pairState) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == state
}

// isSettled reports whether its batch no longer waits for it.
func (p *pair) isSettled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state >= parked || p.jobbed
}

// end settles the pair as parked or done. It reports whether a job is left that
// the pair, being done, no longer needs. A pair that is over stays as it is.
func (p *pair) end(state pairState) (leftover bool) {
	p.mu.Lock()
	over, jobbed := p.state >= parked, p.jobbed
	if !over {
		p.state = state
	}
	p.mu.Unlock()
	if over {
		return false
	}
	if !jobbed && p.held != nil {
		p.held.settle()
	}
	return jobbed && state == done
}

// noteJob notes that a job was stored for the pair while it was being attempted,
// and settles its part in the batch. It reports whether the attempt has made the
// job needless meanwhile. One that parked the pair has not: the job is its own.
func (p *pair) noteJob() (needless bool) {
	p.mu.Lock()
	state, already := p.state, p.jobbed
	if state < parked {
		p.jobbed = true
	}
	p.mu.Unlock()
	if state >= parked {
		return state == done
	}
	if !already && p.held != nil {
		p.held.settle()
	}
	return false
}

// attempted counts an attempt, uncounted takes it back.
func (p *pair) attempted() { p.change(func(past *past) { past.tries++ }) }
func (p *pair) uncounted() { p.change(func(past *past) { past.tries-- }) }

func (p *pair) failed(f *target.Failure) { p.change(func(past *past) { past.failure = f }) }
func (p *pair) deadLetterFailed()        { p.change(func(past *past) { past.deadLetterTries++ }) }

// attemptFailed notes how an attempt failed that was made at the time.
func (p *pair) attemptFailed(at time.Time, f *target.Failure) {
	p.change(func(past *past) { past.failure, past.spells = f, withAttempt(past.spells, at, f) })
}

func (p *pair) change(fn func(*past)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.past)
}

// history returns what has been tried, to whoever does not attempt the pair.
func (p *pair) history() past {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.past
}

// since is when the event's age begins. AWS: with its acceptance by the bus. Ours: with
// its redrive.
func (p *pair) since() time.Time {
	if p.redrive != nil {
		return p.redrive.At
	}
	return p.rec.Accepted
}

// deadline is when the event is too old to be attempted.
func (p *pair) deadline() time.Time {
	return p.since().Add(p.sub.Target.RetryPolicy.MaximumEventAge)
}
