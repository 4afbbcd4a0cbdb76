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
	p.render()
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
	if p.tries > 1 {
		d.counters.retried.Add(1)
	}
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
	p.attemptFailed(began, target.AsFailure(err))
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
	a := p.attempt()
	p.status, a.Status = 0, &p.status
	return d.Targets.Invoke(ctx, a)
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
	body := p.body
	if body == nil {
		body = p.rec.JSON
	}
	return target.Attempt{Subscription: p.sub, Record: &p.rec, Body: body}
}

// giveUp sends the pair to the target's dead-letter queue. Where it has none, or that
// queue cannot be written now or for as long as an event may live, the built-in store
// keeps it. AWS, and we without that store, drop it then.
func (d *Delivery) giveUp(ctx context.Context, p *pair, exhausted string) verdict {
	reason := p.reason(exhausted)
	if p.sub.Target.DeadLetterARN == "" {
		if d.keeps() {
			return d.keep(ctx, p, reason, nil)
		}
		d.drop(p, reason, "an event was given up; the target has no dead-letter queue", nil)
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
	failure, tooLate := target.AsFailure(err), d.Now().Sub(p.since()) > p.sub.Target.RetryPolicy.MaximumEventAge+bus.DefaultMaximumEventAge
	switch {
	case d.keeps() && (tooLate || !failure.Retryable):
		return d.keep(ctx, p, reason, failure)
	case tooLate:
		d.drop(p, reason, "an event was lost: its dead-letter queue could not be written", err)
		return verdict{kind: verdictDone}
	case p.deadLetterTries == 1: // once for each event, not for each try
		d.Logger.Warn("a dead-letter queue could not be written; it will be tried again",
			"event", p.rec.ID, "rule", p.sub.RuleARN, "target", p.sub.Target.ARN, "queue", p.sub.Target.DeadLetterARN, "error", err)
	}
	return verdict{kind: verdictLater, wait: work.Backoff(p.deadLetterTries, backoffBase, backoffMax, nil)}
}

// drop says that the pair is lost.
func (d *Delivery) drop(p *pair, reason target.DeadLetterReason, what string, err error) {
	d.traceEnd(p, StepDropped, "", reason)
	d.counters.dropped.Add(1)
	d.Logger.Warn(what, "event", p.rec.ID, "rule", p.sub.RuleARN, "target", p.sub.Target.ARN,
		"code", reason.Code, "message", reason.Message, "queue", p.sub.Target.DeadLetterARN, "error", err)
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
