package delivery

import (
	"context"
	"runtime/debug"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

// AWS names the two ways in which retries run out so.
const (
	exhaustedAttempts = "MaximumRetryAttempts"
	exhaustedAge      = "MaximumEventAgeInSeconds"
)

const (
	backoffBase = time.Second
	// backoffMax makes AWS's default of 185 retries last about a day.
	backoffMax = 8 * time.Minute
)

// attempt makes one attempt at a pair that a worker took from its lane, and
// does what follows from how it went.
func (d *Delivery) attempt(ctx context.Context, l *lane, p *pair) {
	verdict := d.try(ctx, l, p)
	switch verdict.kind {
	case verdictDone:
		d.conclude(ctx, p)
	case verdictLater:
		d.park(ctx, p, verdict.wait)
	case verdictStopped:
		p.giveBack()
	}
}

// conclude settles a pair that is over and removes the job that the hold may
// have made for it.
func (d *Delivery) conclude(ctx context.Context, p *pair) {
	if p.end(done) {
		d.dropJob(ctx, p)
	}
}

func (d *Delivery) dropJob(ctx context.Context, p *pair) {
	err := d.DB.Update(ctx, func(tx *store.Tx) error {
		_, err := d.Work.Cancel(ctx, tx, jobQueue, p.jobKey())
		return err
	})
	if err != nil && ctx.Err() == nil {
		d.Logger.Warn("a finished delivery's job remains; the event will be delivered twice", "event", p.rec.ID, "error", err)
	}
}

type verdictKind uint8

const (
	verdictDone    verdictKind = iota // delivered, dead-lettered, dropped or cancelled
	verdictLater                      // to be tried again after a wait
	verdictStopped                    // the process is stopping: nothing is known
)

type verdict struct {
	kind verdictKind
	wait time.Duration
}

// try makes one attempt, or the next step after the last.
func (d *Delivery) try(ctx context.Context, l *lane, p *pair) verdict {
	if p.failure != nil && !p.failure.Retryable {
		return d.giveUp(ctx, p, "")
	}
	if p.exhausted() {
		return d.giveUp(ctx, p, exhaustedAttempts)
	}
	if d.expired(p) {
		return d.giveUp(ctx, p, exhaustedAge)
	}
	p.attempted()
	d.counters.attempts.Add(1)
	began := d.Now()
	err := d.invoke(ctx, p)
	if err == nil {
		d.traceAttempt(p, began, nil)
		l.succeeded()
		d.counters.delivered.Add(1)
		if d.ObserveDelivered != nil {
			d.ObserveDelivered(&p.rec, p.sub)
		}
		return verdict{kind: verdictDone}
	}
	if ctx.Err() != nil {
		p.uncounted()
		return verdict{kind: verdictStopped}
	}
	d.counters.failed.Add(1)
	p.failed(target.AsFailure(err))
	d.traceAttempt(p, began, p.failure)
	if !p.failure.Retryable {
		return d.giveUp(ctx, p, "")
	}
	l.failed()
	if p.exhausted() {
		return d.giveUp(ctx, p, exhaustedAttempts)
	}
	wait := max(work.Backoff(p.tries, backoffBase, backoffMax, nil), p.failure.RetryAfter)
	return verdict{kind: verdictLater, wait: min(wait, d.timeLeft(p))}
}

// invoke makes the attempt. One that panics has failed: it must not take all other
// deliveries with it.
func (d *Delivery) invoke(ctx context.Context, p *pair) (err error) {
	defer func() {
		if v := recover(); v != nil {
			d.Logger.Error("an attempt panicked", "event", p.rec.ID, "target", p.sub.Target.ARN, "panic", v, "stack", string(debug.Stack()))
			err = &target.Failure{Code: target.CodeInternalError, Message: "The attempt failed within Rialto.", Retryable: true}
		}
	}()
	return d.Targets.Invoke(ctx, p.attempt())
}

// timeLeft is how long the event may still be attempted, expired that it is too
// old.
func (d *Delivery) timeLeft(p *pair) time.Duration { return max(p.deadline().Sub(d.Now()), 0) }
func (d *Delivery) expired(p *pair) bool           { return d.timeLeft(p) == 0 }

// exhausted reports whether the attempts are used up: the first is no retry.
func (p *pair) exhausted() bool {
	return p.tries > p.sub.Target.RetryPolicy.MaximumRetryAttempts
}

func (p *pair) attempt() target.Attempt {
	return target.Attempt{Subscription: p.sub, Record: &p.rec, Body: p.rec.JSON}
}

// giveUp sends the pair to its dead-letter queue. AWS: without one the event is
// dropped; and so it is once a dead-letter queue could not be written for as
// long as an event may live, since nobody can read what is kept longer.
func (d *Delivery) giveUp(ctx context.Context, p *pair, exhausted string) verdict {
	reason := p.reason(exhausted)
	log := d.Logger.With("event", p.rec.ID, "rule", p.sub.RuleARN, "target", p.sub.Target.ARN, "code", reason.Code, "message", reason.Message)
	if p.sub.Target.DeadLetterARN == "" {
		d.traceEnd(p, StepDropped, "", reason)
		d.counters.dropped.Add(1)
		log.Warn("an event was given up; the target has no dead-letter queue")
		return verdict{kind: verdictDone}
	}
	err := d.Targets.DeadLetter(ctx, p.attempt(), reason)
	if err == nil {
		d.traceEnd(p, StepDeadLettered, p.sub.Target.DeadLetterARN, reason)
		d.counters.deadLettered.Add(1)
		return verdict{kind: verdictDone}
	}
	if ctx.Err() != nil {
		return verdict{kind: verdictStopped}
	}
	d.counters.deadLetterFailed.Add(1)
	p.deadLetterFailed()
	d.traceDeadLetterFailed(p, err)
	if d.Now().Sub(p.rec.Accepted) > p.sub.Target.RetryPolicy.MaximumEventAge+bus.DefaultMaximumEventAge {
		d.traceEnd(p, StepDropped, "", reason)
		d.counters.dropped.Add(1)
		log.Error("an event was lost: its dead-letter queue could not be written", "queue", p.sub.Target.DeadLetterARN, "error", err)
		return verdict{kind: verdictDone}
	}
	if p.deadLetterTries == 1 { // once for each event, not for each try
		log.Warn("a dead-letter queue could not be written; it will be tried again", "queue", p.sub.Target.DeadLetterARN, "error", err)
	}
	return verdict{kind: verdictLater, wait: work.Backoff(p.deadLetterTries, backoffBase, backoffMax, nil)}
}

// reason is what the dead letter says. AWS: the retry attributes are there only
// when retries ran out.
func (p *pair) reason(exhausted string) target.DeadLetterReason {
	r := target.DeadLetterReason{
		Code:      target.CodeUnknown,
		Message:   "The event reached its maximum age before it could be delivered.",
		Exhausted: exhausted,
	}
	if p.failure != nil {
		r.Code, r.Message = p.failure.Code, p.failure.Message
	}
	if exhausted != "" {
		r.RetryAttempts = max(p.tries-1, 0)
	}
	return r
}
