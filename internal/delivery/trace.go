package delivery

import (
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

// Tracer is told what becomes of events, for their traces; a *trace.Recorder.
// Router and lanes call it: it must not wait. It keeps nothing that it is given.
type Tracer interface {
	// Routed is told of each event that came off the log, at entry index of the batch
	// seq, and of the subscriptions that it goes to, none included. An event that
	// the log brings again is told again.
	Routed(seq uint64, index int, rec *event.Record, matched []*bus.Subscription)
	// Step is told of each step of a delivery.
	Step(s Step)
}

// Step is something that became of one delivery.
type Step struct {
	Kind StepKind
	// At is when it happened; the zero time stands for the present.
	At time.Time
	// Sequence and Index are the event's place in the log, Record the event and
	// Subscription where it goes.
	Sequence     uint64
	Index        int
	Record       *event.Record
	Subscription *bus.Subscription
	// Attempt is the number of attempts made so far, from 1 for the first.
	Attempt int
	// Took is how long the attempt took that ended now.
	Took time.Duration
	// Status is the HTTP status of the answer of a target that took the event; 0 without.
	Status int
	// Failure is how the attempt, or the write to the dead-letter queue, failed; of a
	// delivery given up why. Nil for an attempt that the target took.
	Failure *target.Failure
	// Exhausted is AWS's name of the limit that ended the retries; empty if none did.
	Exhausted string
	// Until is when the next attempt is due.
	Until time.Time
	// To is the ARN of the dead-letter queue, or the id of a dead letter of the
	// built-in store.
	To string
}

// StepKind says what a Step tells. Numbers are stored: none may change.
type StepKind uint8

const (
	// StepAttempt: an attempt ended.
	StepAttempt StepKind = 1
	// StepParked: the delivery waits as a job until Until.
	StepParked StepKind = 2
	// StepLeft: the target is slow or failing, and the delivery was left in the log
	// for the subscription's catch-up reader.
	StepLeft StepKind = 3
	// StepDeadLettered: given up into the target's own dead-letter queue To.
	StepDeadLettered StepKind = 4
	// StepDeadLetterFailed: the dead-letter queue To could not be written.
	StepDeadLetterFailed StepKind = 5
	// StepKept: given up into the built-in store as the dead letter To.
	StepKept StepKind = 6
	// StepDropped: given up and kept nowhere.
	StepDropped StepKind = 7
	// StepCancelled: rule or target was deleted first.
	StepCancelled StepKind = 8
	// StepRedriven: the dead letter To goes to its target once more.
	StepRedriven StepKind = 9
)

// trace tells the tracer, if there is one, of a step of the pair.
func (d *Delivery) trace(p *pair, s Step) {
	if d.Trace == nil {
		return
	}
	s.Sequence, s.Index, s.Record, s.Subscription = p.seq, p.index, &p.rec, p.sub
	d.Trace.Step(s)
}

// traceAttempt tells of an attempt that ended now.
func (d *Delivery) traceAttempt(p *pair, began time.Time, failure *target.Failure) {
	if d.Trace != nil {
		now := d.Now()
		d.trace(p, Step{Kind: StepAttempt, At: now, Attempt: p.tries, Took: now.Sub(began), Status: p.status, Failure: failure})
	}
}

// traceParked tells of a pair that waits as a job.
func (d *Delivery) traceParked(p *pair, wait time.Duration) {
	if d.Trace != nil {
		d.trace(p, Step{Kind: StepParked, Attempt: p.history().tries, Until: d.Now().Add(wait)})
	}
}

// traceEnd tells how a pair was given up, and where it went.
func (d *Delivery) traceEnd(p *pair, kind StepKind, to string, reason target.DeadLetterReason) {
	failure := &target.Failure{Code: reason.Code, Message: reason.Message}
	if p.failure != nil {
		failure.Status = p.failure.Status
	}
	d.trace(p, Step{Kind: kind, Attempt: p.tries, To: to, Failure: failure, Exhausted: reason.Exhausted})
}

// traceDeadLetterFailed tells of a dead-letter queue that could not be written.
func (d *Delivery) traceDeadLetterFailed(p *pair, err error) {
	d.trace(p, Step{Kind: StepDeadLetterFailed, Attempt: p.tries, To: p.sub.Target.DeadLetterARN, Failure: target.AsFailure(err)})
}

// traceCancelledJob tells of a parked delivery whose rule or target is gone.
func (d *Delivery) traceCancelledJob(job work.Job) {
	if d.Trace == nil {
		return
	}
	if p, err := unpark(job.Payload); err == nil {
		d.trace(p, Step{Kind: StepCancelled, Attempt: p.tries})
	}
}
