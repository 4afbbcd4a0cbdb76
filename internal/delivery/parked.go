package delivery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
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
	// jobTimeGuess is how long a parked delivery takes, before one was seen.
	jobTimeGuess = 100 * time.Millisecond
	// minPutOff bounds how soon a job that found no slot comes again, putOffBase how
	// late the first time.
	minPutOff  = time.Millisecond
	putOffBase = 2 * time.Second
	// rateWait is how long a job waits for its target's rate limit.
	rateWait = time.Second
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
	Spells          []spell           `json:"spells,omitempty"`
	Body            []byte            `json:"body,omitempty"`
	Redrive         *redrive          `json:"redrive,omitempty"`
}

// maxBody is how much of a body a job carries, in bytes: with the largest event and
// its subscription it fits work.MaxPayload. A larger body is made again, of the same
// event by the same revision of the target.
const maxBody = 256 << 10

// jobPrefix begins the keys of a subscription's jobs.
func jobPrefix(subscription int64) string { return strconv.FormatInt(subscription, 10) + "/" }

// jobKey is the key of a delivery's job; that of a redriven one continues it.
func jobKey(subscription int64, seq uint64, index int) string {
	return jobPrefix(subscription) + strconv.FormatUint(seq, 10) + "/" + strconv.Itoa(index)
}

func (p *pair) jobKey() string {
	key := jobKey(p.sub.ID, p.seq, p.index)
	if p.redrive != nil {
		key += "/redrive/" + p.redrive.Nonce
	}
	return key
}

// job is the pair as a job to run after the wait.
func (p *pair) job(wait time.Duration) (work.NewJob, error) {
	past := p.history()
	if len(past.body) > maxBody {
		past.body = nil
	}
	payload, err := json.Marshal(parkedPair{
		Sequence: p.seq, Index: p.index, Record: p.rec.Append(nil), Subscription: p.sub,
		Tries: past.tries, DeadLetterTries: past.deadLetterTries, Failure: past.failure, Spells: past.spells, Body: past.body, Redrive: p.redrive,
	})
	if err != nil {
		return work.NewJob{}, fmt.Errorf("encode the parked delivery of event %s: %w", p.rec.ID, err)
	}
	return work.NewJob{Queue: jobQueue, Key: p.jobKey(), RunAt: time.Now().Add(wait), Payload: payload}, nil
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
		seq: parked.Sequence, index: parked.Index, rec: rec, sub: parked.Subscription, state: attempting, redrive: parked.Redrive,
		past: past{
			tries: parked.Tries, deadLetterTries: parked.DeadLetterTries, failure: parked.Failure, spells: parked.Spells, body: parked.Body,
		},
	}, nil
}

// park stores the pair as a job to run after the wait, and settles it. While the
// store refuses, it tries again: until then the log keeps the event.
func (d *Delivery) park(ctx context.Context, p *pair, wait time.Duration) {
	for tries := 1; ; tries++ {
		err := d.storeJob(ctx, p, wait)
		if err == nil {
			d.counters.parked.Add(1)
			d.traceParked(p, wait)
			p.end(parked)
			return
		}
		if ctx.Err() == nil {
			d.Logger.Error("a delivery was not parked; trying again", "event", p.rec.ID, "error", err)
		}
		if !sleep(ctx, work.Backoff(tries, 100*time.Millisecond, 10*time.Second, nil)) {
			p.giveBack()
			return
		}
	}
}

// storeJob stores the pair's job in the place of one that the hold may have made.
func (d *Delivery) storeJob(ctx context.Context, p *pair, wait time.Duration) error {
	job, err := p.job(wait)
	if err != nil {
		return err
	}
	job.Replace = true
	return d.DB.Update(ctx, func(tx *store.Tx) error { return d.Work.Enqueue(ctx, tx, job) })
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
// acknowledged. It ends at the first error; what is left stays held.
func (d *Delivery) parkOverdue(ctx context.Context, due []*held) error {
	var overdue []*pair
	for _, h := range due {
		overdue = append(overdue, h.unsettled()...)
	}
	for len(overdue) > 0 {
		n := min(len(overdue), jobChunk)
		if err := d.parkChunk(ctx, overdue[:n]); err != nil {
			return err
		}
		overdue = overdue[n:]
	}
	return nil
}

// claim is a pair that is being parked.
type claim struct {
	pair *pair
	mine bool // taken from its lane; otherwise a worker is attempting it
}

// parkChunk parks pairs in one transaction.
func (d *Delivery) parkChunk(ctx context.Context, pairs []*pair) error {
	claims, jobs, err := claimJobs(pairs)
	if err == nil && len(jobs) > 0 {
		err = d.DB.Update(ctx, func(tx *store.Tx) error { return d.Work.Enqueue(ctx, tx, jobs...) })
	}
	if err != nil {
		for _, c := range claims {
			if c.mine {
				c.pair.giveBack()
			}
		}
		return fmt.Errorf("park %d deliveries: %w", len(claims), err)
	}
	d.counters.parked.Add(int64(len(jobs)))
	d.noteJobs(ctx, claims)
	return nil
}

// noteJobs settles what jobs were stored for. An attempt may have ended meanwhile:
// its job goes if it was the last, and is its own if it parked the pair.
func (d *Delivery) noteJobs(ctx context.Context, claims []claim) {
	for _, c := range claims {
		if c.mine {
			d.traceParked(c.pair, 0)
			c.pair.end(parked)
		} else if c.pair.noteJob() {
			d.dropJob(ctx, c.pair)
		}
	}
}

// claimJobs takes the pairs from their lanes and makes their jobs. Those that are
// being attempted get jobs that run if the attempt leaves them; those that leave
// with their lane get none.
func claimJobs(pairs []*pair) (claims []claim, jobs []work.NewJob, err error) {
	for _, p := range pairs {
		c, wait := claim{p, p.begin()}, time.Duration(0)
		if !c.mine {
			if !p.is(attempting) {
				continue
			}
			wait = afterAttempt
		}
		claims = append(claims, c)
		job, err := p.job(wait)
		if err != nil {
			return claims, nil, err
		}
		jobs = append(jobs, job)
	}
	return claims, jobs, nil
}

// runJob is the next step of a parked delivery.
func (d *Delivery) runJob(ctx context.Context, job work.Job) work.Outcome {
	id, ok := jobSubscription(job.Key)
	if !ok {
		return work.Fail("the key names no subscription")
	}
	current, err := d.Buses.Subscription(ctx, id)
	if errors.Is(err, bus.ErrNoSubscription) {
		d.counters.cancelled.Add(1)
		d.traceCancelledJob(job)
		return work.Done()
	}
	if err != nil {
		return work.Retry(err.Error())
	}
	l := d.lane(current)
	if at, ok := l.takeJobSlot(job.Attempt); !ok {
		return work.RetryAt(at, "other deliveries to the target are under way")
	}
	began := time.Now()
	defer func() { l.freeJobSlot(time.Since(began)) }()
	p, err := unpark(job.Payload)
	if err != nil {
		return work.Fail(err.Error())
	}
	if err := d.waitForRate(ctx, p.sub); err != nil {
		if ctx.Err() != nil {
			return work.Retry("the process is stopping")
		}
		began = began.Add(-jobsPerLane * rateWait) // one in rateWait is enough, for all slots
		return work.RetryAt(l.putOff(job.Attempt), "the target's rate limit is reached")
	}
	switch v := d.try(ctx, l, p); v.kind {
	case verdictDone:
		return work.Done()
	case verdictLater:
		return d.parkAgain(ctx, job, p, v.wait)
	default:
		return work.Retry("the process is stopping")
	}
}

// jobSubscription reads the subscription from a job's key.
func jobSubscription(key string) (int64, bool) {
	text, _, ok := strings.Cut(key, "/")
	id, err := strconv.ParseInt(text, 10, 64)
	return id, ok && err == nil
}

// waitForRate waits for the target's rate limit, but no longer than rateWait: a
// job that waits keeps those of other targets from running.
func (d *Delivery) waitForRate(ctx context.Context, sub *bus.Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, rateWait)
	defer cancel()
	return d.Targets.Wait(ctx, sub)
}

// parkAgain puts the job's next step in its place.
func (d *Delivery) parkAgain(ctx context.Context, job work.Job, p *pair, wait time.Duration) work.Outcome {
	next, err := p.job(wait)
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
	d.traceParked(p, wait)
	return work.Completed()
}

// jobTurns has the parked deliveries of a lane that find no slot come again one
// after another, each for as long as one takes: thousands that ask again and again
// would keep the writer busy that the lane's neighbours need.
type jobTurns struct {
	next time.Time     // of the last that found no slot
	took time.Duration // by one attempt, about
}

// give returns when to ask again a job that was put off so many times. That bounds
// how long it waits: after a short trouble it comes soon.
func (t *jobTurns) give(now time.Time, slots, times int) time.Time {
	bound := now.Add(work.Backoff(times, putOffBase, backoffMax, nil))
	if t.next.Before(now) {
		t.next = now
	}
	at := t.next.Add(max(t.took/time.Duration(slots), minPutOff))
	if at.After(bound) {
		return bound
	}
	t.next = at
	return at
}

// learn notes how long an attempt took.
func (t *jobTurns) learn(took time.Duration) { t.took += (took - t.took) / 8 }

// takeJobSlot claims the right to attempt a parked delivery: a few at once for
// a target that works, one for a target that fails. Without a slot it returns
// when to ask again.
func (l *lane) takeJobSlot(times int) (at time.Time, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if slots := l.jobSlots(); l.jobs >= slots {
		return l.turns.give(time.Now(), slots, times), false
	}
	l.jobs++
	return at, true
}

// jobSlots is how many parked deliveries may be under way. Callers hold mu.
func (l *lane) jobSlots() int {
	if l.failing() {
		return 1
	}
	return jobsPerLane
}

// freeJobSlot ends what takeJobSlot began.
func (l *lane) freeJobSlot(took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs--
	l.turns.learn(took)
}

// putOff returns when to ask again for a slot that could not be used.
func (l *lane) putOff(times int) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turns.give(time.Now(), l.jobSlots(), times)
}
