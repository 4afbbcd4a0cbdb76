package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// jobQueue is the queue of parked deliveries.
	jobQueue = "delivery"
	// jobChunk is how many deliveries one transaction parks: short enough for
	// the writer that all share.
	jobChunk = 64
	// jobsPerLane is how many parked deliveries of one subscription are under
	// way at once, so that a target that hangs leaves room for the others.
	jobsPerLane = 8
	// afterAttempt is when the job of a delivery that is being attempted may run
	// at the soonest: the attempt and its dead letter have ended by then.
	afterAttempt = 2*target.Timeout + 5*time.Second
)

// parkedPair is a delivery as its job carries it.
type parkedPair struct {
	Sequence        uint64            `json:"sequence"`
	Index           int               `json:"index"`
	Record          []byte            `json:"record"`
	Subscription    *bus.Subscription `json:"subscription"`
	Tries           int               `json:"tries"`
	DeadLetterTries int               `json:"dead_letter_tries,omitempty"`
	Failure         *target.Failure   `json:"failure,omitempty"`
}

// jobPrefix begins the keys of a subscription's jobs.
func jobPrefix(subscription int64) string { return strconv.FormatInt(subscription, 10) + "/" }

func (p *pair) jobKey() string {
	return jobPrefix(p.sub.ID) + strconv.FormatUint(p.seq, 10) + "/" + strconv.Itoa(p.index)
}

func (p *pair) job(at time.Time) (work.NewJob, error) {
	payload, err := json.Marshal(parkedPair{
		Sequence: p.seq, Index: p.index, Record: p.rec.Append(nil), Subscription: p.sub,
		Tries: p.tries, DeadLetterTries: p.deadLetterTries, Failure: p.failure,
	})
	if err != nil {
		return work.NewJob{}, fmt.Errorf("encode the parked delivery of event %s: %w", p.rec.ID, err)
	}
	return work.NewJob{Queue: jobQueue, Key: p.jobKey(), RunAt: at, Payload: payload}, nil
}

func unpark(payload []byte) (*pair, error) {
	var parked parkedPair
	if err := json.Unmarshal(payload, &parked); err != nil {
		return nil, fmt.Errorf("read a parked delivery: %w", err)
	}
	rec, err := event.DecodeRecord(parked.Record)
	if err != nil {
		return nil, fmt.Errorf("read a parked delivery: %w", err)
	}
	return &pair{
		seq: parked.Sequence, index: parked.Index, rec: rec, sub: parked.Subscription, state: attempting,
		tries: parked.Tries, deadLetterTries: parked.DeadLetterTries, failure: parked.Failure,
	}, nil
}

// park stores the pair as a job to run at a time, and settles it. While the
// store refuses, it tries again: until then the log keeps the event.
func (d *Delivery) park(ctx context.Context, p *pair, at time.Time) {
	job, err := p.job(at)
	if err != nil {
		d.Logger.Error("a delivery cannot be parked", "error", err)
		return
	}
	for tries := 1; ; tries++ {
		job.Replace = true
		err := d.DB.Update(ctx, func(tx *store.Tx) error { return d.Work.Enqueue(ctx, tx, job) })
		if err == nil {
			d.counters.parked.Add(1)
			p.settle()
			return
		}
		if ctx.Err() != nil {
			return
		}
		d.Logger.Error("a delivery was not parked; trying again", "event", p.rec.ID, "error", err)
		if !sleep(ctx, work.Backoff(tries, 100*time.Millisecond, 10*time.Second, nil)) {
			return
		}
	}
}

// sleep returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// parkOverdue parks what the batches still wait for, so that they can be
// acknowledged. What fails stays held and is parked by the next call.
func (d *Delivery) parkOverdue(ctx context.Context, due []*held) {
	var overdue []*pair
	for _, h := range due {
		overdue = append(overdue, h.unsettled()...)
	}
	for len(overdue) > 0 {
		n := min(len(overdue), jobChunk)
		d.parkChunk(ctx, overdue[:n])
		overdue = overdue[n:]
	}
}

func (d *Delivery) parkChunk(ctx context.Context, pairs []*pair) {
	now := d.Now()
	type claim struct {
		pair *pair
		mine bool // taken from its lane; otherwise a worker is attempting it
	}
	var claims []claim
	var jobs []work.NewJob
	for _, p := range pairs {
		c := claim{p, p.begin()}
		at := now
		if !c.mine {
			at = now.Add(afterAttempt)
			if !p.isAttempting() {
				continue
			}
		}
		job, err := p.job(at)
		if err != nil {
			d.Logger.Error("a delivery cannot be parked", "error", err)
			continue
		}
		claims, jobs = append(claims, c), append(jobs, job)
	}
	err := d.DB.Update(ctx, func(tx *store.Tx) error { return d.Work.Enqueue(ctx, tx, jobs...) })
	if err != nil {
		d.Logger.Error("overdue deliveries were not parked; trying again", "count", len(jobs), "error", err)
		for _, c := range claims {
			if c.mine {
				c.pair.giveBack()
			}
		}
		return
	}
	d.counters.parked.Add(int64(len(jobs)))
	for _, c := range claims {
		if c.mine {
			c.pair.settle()
		} else if c.pair.markJobbed() {
			continue
		} else {
			d.conclude(ctx, c.pair.withJob())
		}
	}
}

func (p *pair) isAttempting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == attempting
}

func (p *pair) giveBack() {
	p.mu.Lock()
	p.state = waiting
	p.mu.Unlock()
}

// markJobbed notes that a job stands for the pair while it is being attempted,
// and settles its part in the batch; false if the attempt ended meanwhile.
func (p *pair) markJobbed() bool {
	p.mu.Lock()
	if p.state == settled {
		p.mu.Unlock()
		return false
	}
	p.jobbed = true
	p.mu.Unlock()
	p.held.settle()
	return true
}

// withJob notes that a job exists for a pair that is settled.
func (p *pair) withJob() *pair {
	p.mu.Lock()
	p.jobbed = true
	p.mu.Unlock()
	return p
}

// runJob is the next step of a parked delivery.
func (d *Delivery) runJob(ctx context.Context, job work.Job) work.Outcome {
	p, err := unpark(job.Payload)
	if err != nil {
		return work.Fail(err.Error())
	}
	current, err := d.Buses.Subscription(ctx, p.sub.ID)
	if errors.Is(err, bus.ErrNoSubscription) {
		d.counters.cancelled.Add(1)
		return work.Done()
	}
	if err != nil {
		return work.Retry(err.Error())
	}
	l := d.lane(current)
	if !l.takeJobSlot() {
		return work.RetryAt(time.Now().Add(l.jobPause()), "other deliveries to the target are under way")
	}
	defer l.freeJobSlot()
	if err := d.Targets.Wait(ctx, p.sub); err != nil {
		return work.Retry(err.Error())
	}
	switch v := d.try(ctx, l, p); v.kind {
	case verdictDone:
		return work.Done()
	case verdictLater:
		return d.parkAgain(ctx, job, p, v.at)
	default:
		return work.Retry("the process is stopping")
	}
}

// parkAgain puts the job's next step in its place.
func (d *Delivery) parkAgain(ctx context.Context, job work.Job, p *pair, at time.Time) work.Outcome {
	next, err := p.job(at)
	if err != nil {
		return work.Fail(err.Error())
	}
	err = d.DB.Update(ctx, func(tx *store.Tx) error {
		if err := d.Work.Complete(ctx, tx, job); err != nil {
			return err
		}
		return d.Work.Enqueue(ctx, tx, next)
	})
	if err != nil {
		return work.Retry(err.Error())
	}
	return work.Completed()
}

// takeJobSlot claims the right to attempt a parked delivery: a few at once for
// a target that works, one for a target that fails.
func (l *lane) takeJobSlot() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := jobsPerLane
	if l.failures >= failuresToDivert {
		limit = 1
	}
	if l.jobs >= limit {
		return false
	}
	l.jobs++
	return true
}

func (l *lane) freeJobSlot() {
	l.mu.Lock()
	l.jobs--
	l.mu.Unlock()
}

// jobPause spreads the jobs that find no slot.
func (l *lane) jobPause() time.Duration {
	return max(l.pause(), 100*time.Millisecond+rand.N(400*time.Millisecond)) //nolint:gosec // jitter, not a secret
}
