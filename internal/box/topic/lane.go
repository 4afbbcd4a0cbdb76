package topic

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// Lanes to endpoints outside, which may take their time to answer, are apart from
	// those to queues and functions: many that hang hold up no queue.
	laneQueue    = "topic.lane"
	outsideQueue = "topic.lane.outside"
	// maxLanes is how many subscriptions of either are delivered to at once.
	maxLanes = 256
	// maxMaking is how many deliveries to one endpoint are made at once, as long as
	// their messages have no more than maxMakingBytes in all: lanes are many.
	maxMaking      = 16
	maxMakingBytes = 1 << 20
	// lookAgain is how often a lane looks for what has come while attempts take their time.
	lookAgain = time.Second
	// turn is how long a lane starts deliveries before others that wait have theirs.
	turn = 10 * time.Second
	// deadLetterPause is the pause before a dead-letter queue is tried again.
	deadLetterPause = 20 * time.Second
	dropChunk       = 100
)

// laneOf is the queue of the lane to an endpoint.
func laneOf(protocol string) string {
	if protocol == protocolSQS || protocol == protocolLambda {
		return laneQueue
	}
	return outsideQueue
}

// lane is one run of the job that delivers to one subscription.
type lane struct {
	t      *Topics
	id     int64
	making map[int64]int // sizes of what is being delivered, by the delivery's id
	ended  chan int64

	mu      sync.Mutex
	silent  bool // the last attempt got no answer
	failing error
}

// runLane makes the deliveries of one subscription that are due, several at a time.
func (t *Topics) runLane(ctx context.Context, j work.Job) work.Outcome {
	id, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail(err.Error())
	}
	l := &lane{t: t, id: id, making: map[int64]int{}, ended: make(chan int64)}
	err = l.run(ctx)
	if err != nil {
		return work.Retry(err.Error())
	}
	at, some, err := nextDue(ctx, t.db, id)
	if err != nil {
		return work.Retry(err.Error())
	}
	if !some {
		return work.Done()
	}
	return work.RetryAt(time.Now().Add(time.Duration(at-t.now())*time.Millisecond), "deliveries wait for their time")
}

// run returns when nothing is due, the turn is over, or something failed that is
// not the endpoint's fault.
func (l *lane) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	again := time.NewTicker(lookAgain)
	defer again.Stop()
	end := time.Now().Add(turn)
	for {
		more := ctx.Err() == nil && l.failure() == nil && time.Now().Before(end) && len(l.making) <= maxMaking/2
		if more {
			if err := l.startDue(ctx, &wg); err != nil {
				l.fail(err)
			}
		}
		if len(l.making) == 0 {
			return l.failure()
		}
		select {
		case id := <-l.ended:
			delete(l.making, id)
		case <-again.C: // one attempt that hangs holds up no others
		}
	}
}

func (l *lane) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failing == nil {
		l.failing = err
	}
}

func (l *lane) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failing
}

// startDue starts the deliveries that are due, as far as there is room. The
// subscription is read each time, so that what it is changed to holds at once, and after
// the deliveries: a message that came with a new state is not judged by the one before.
func (l *lane) startDue(ctx context.Context, wg *sync.WaitGroup) error {
	list, messages, err := l.due(ctx)
	if err != nil {
		return err
	}
	s, err := subscriptionByID(ctx, l.t.db, l.id)
	if err != nil {
		return err
	}
	if s == nil {
		l.t.pace.forget(l.id)
		return l.t.dropAll(ctx, l.id)
	}
	for _, d := range list {
		m := messages[d.message]
		if m == nil {
			continue // another lane of the same subscription was faster
		}
		l.making[d.id] = d.size
		wg.Go(func() {
			if err := l.make(ctx, s, &dueDelivery{d, m}); err != nil {
				l.fail(err)
			}
			l.ended <- d.id
		})
	}
	return nil
}

// dueDelivery is a delivery with its message.
type dueDelivery struct {
	delivery
	content *storedMessage
}

// due returns deliveries that are due with their messages, as many as there is room for.
func (l *lane) due(ctx context.Context) ([]delivery, map[int64]*storedMessage, error) {
	making := slices.Collect(maps.Keys(l.making))
	list, err := dueDeliveries(ctx, l.t.db, l.id, l.t.now(), making, maxMaking-len(making))
	if err != nil || len(list) == 0 {
		return nil, nil, err
	}
	size := 0
	for _, n := range l.making {
		size += n
	}
	var fit []delivery
	var ids []int64
	for _, d := range list {
		if size += d.size; size > maxMakingBytes && len(making)+len(fit) > 0 {
			break
		}
		fit, ids = append(fit, d), append(ids, d.message)
	}
	if len(fit) == 0 {
		return nil, nil, nil
	}
	messages, err := messagesByID(ctx, l.t.db, ids)
	return fit, messages, err
}

// dropAll deletes what still waits for a subscription that is gone.
func (t *Topics) dropAll(ctx context.Context, subscription int64) error {
	for {
		var n int
		err := t.db.UpdateReadCommitted(ctx, func(tx *store.Tx) (err error) {
			n, err = dropDeliveries(ctx, tx, subscription, dropChunk)
			return err
		})
		if err != nil || n < dropChunk {
			return err
		}
	}
}

// make makes one attempt and writes down how it went. Its error is of our own making.
func (l *lane) make(ctx context.Context, s *Subscription, d *dueDelivery) error {
	if d.failure != nil {
		return l.bury(ctx, s, d)
	}
	if !expects(s, d.content.kind) {
		return l.settle(ctx, &d.delivery, deleteDelivery)
	}
	retries, failed := l.attempt(ctx, s, d)
	if ctx.Err() != nil {
		return ctx.Err() // what ended is us
	}
	l.t.counts.attempts.Add(1)
	if failed == nil {
		l.t.counts.delivered.Add(1)
		return l.settle(ctx, &d.delivery, deleteDelivery)
	}
	d.attempt++
	pause, again := retries.delay(d.attempt)
	if failed.Retryable && again && !l.tooOld(s, d) {
		d.dueAt = l.t.now() + jittered(pause).Milliseconds()
		return l.settle(ctx, &d.delivery, postponeDelivery)
	}
	return l.giveUp(ctx, s, d, failed)
}

// expects says whether a subscription is in the state that a kind of message is for.
func expects(s *Subscription, kind string) bool {
	switch kind {
	case kindConfirmation:
		return s.state == statePending
	case kindUnsubscribed:
		return s.state == stateRemoved
	}
	return s.state == stateConfirmed
}

func (l *lane) settle(ctx context.Context, d *delivery, how func(context.Context, *store.Tx, *delivery) error) error {
	return l.t.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return how(ctx, tx, d) })
}

// tooOld says that a message has been retried, or has waited, for as long as retries to
// an endpoint of the web may take.
func (l *lane) tooOld(s *Subscription, d *dueDelivery) bool {
	return s.overHTTP() && l.t.now()-d.content.publishedAt > maxRetryTime.Milliseconds()
}

// giveUp ends a delivery that failed for good: for the dead-letter queue, if there is one.
func (l *lane) giveUp(ctx context.Context, s *Subscription, d *dueDelivery, failed *failure) error {
	l.t.counts.failed.Add(1)
	if s.deadLetterARN() != "" && d.content.kind == kindNotification {
		d.failure, d.attempt, d.dueAt = failed, 0, l.t.now()
		return l.settle(ctx, &d.delivery, postponeDelivery)
	}
	l.t.counts.dropped.Add(1)
	l.t.opt.Logger.Warn("a message could not be delivered and is dropped", "subscription", s.ARN(), "kind", d.content.kind,
		"message", d.content.messageID, "attempts", d.attempt, "code", failed.Code, "reason", failed.Message)
	return l.settle(ctx, &d.delivery, deleteDelivery)
}

// bury sends a message that could not be delivered to the dead-letter queue.
func (l *lane) bury(ctx context.Context, s *Subscription, d *dueDelivery) error {
	arn := s.deadLetterARN()
	if arn == "" { // it was taken away meanwhile
		return l.settle(ctx, &d.delivery, deleteDelivery)
	}
	failed := l.t.sendDeadLetter(ctx, s, d.content, arn, d.failure)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if failed == nil {
		l.t.counts.deadLettered.Add(1)
		return l.settle(ctx, &d.delivery, deleteDelivery)
	}
	d.attempt++
	if failed.Retryable && d.attempt < managedRetry.retries {
		d.dueAt = l.t.now() + deadLetterPause.Milliseconds()
		return l.settle(ctx, &d.delivery, postponeDelivery)
	}
	l.t.counts.dropped.Add(1)
	l.t.opt.Logger.Warn("a message could not be delivered nor put into the dead-letter queue, and is dropped", "subscription", s.ARN(),
		"message", d.content.messageID, "queue", arn, "code", failed.Code, "reason", failed.Message)
	return l.settle(ctx, &d.delivery, deleteDelivery)
}

// failure is why an attempt failed.
type failure struct {
	// Code is the endpoint's code, an HTTP status or a word of ours.
	Code    string `json:"code"`
	Message string `json:"message"`
	// RequestID is the id of the attempt's request.
	RequestID string `json:"request,omitempty"`
	// Retryable says that a later attempt may succeed.
	Retryable bool `json:"-"`
	silent    bool // the endpoint did not answer at all
}

// attempt sends a message to the endpoint and returns when to retry, should it fail.
func (l *lane) attempt(ctx context.Context, s *Subscription, d *dueDelivery) (retryPolicy, *failure) {
	switch {
	case s.overHTTP():
		policy := s.delivery()
		if l.isSilent() && l.tooOld(s, d) {
			// One attempt at each of its waiting messages would take the lane days.
			return policy.Retry, &failure{Code: "Timeout", Message: "The endpoint has not answered for longer than messages are kept for it."}
		}
		if err := l.t.pace.wait(ctx, l.id, policy.PerSecond); err != nil {
			return policy.Retry, nil // ctx ended
		}
		failed := l.t.callEndpoint(ctx, s, d.content, policy)
		l.setSilent(failed != nil && failed.silent)
		return policy.Retry, failed
	case s.byMail():
		return mailRetry, l.t.sendMail(ctx, s, d.content)
	case s.Protocol == protocolLambda:
		return managedRetry, l.t.invokeFunction(ctx, s, d.content)
	}
	return managedRetry, l.t.sendToQueue(ctx, s, d.content)
}

func (l *lane) isSilent() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

func (l *lane) setSilent(silent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.silent = silent
}

// paces hold the rates of subscriptions that are throttled.
type paces struct {
	mu   sync.Mutex
	byID map[int64]*rate.Limiter
}

// wait returns when the subscription may be called. Zero sets no limit.
func (p *paces) wait(ctx context.Context, id int64, perSecond int) error {
	if perSecond == 0 {
		return nil
	}
	p.mu.Lock()
	limiter := p.byID[id]
	if limiter == nil {
		if p.byID == nil {
			p.byID = map[int64]*rate.Limiter{}
		}
		limiter = rate.NewLimiter(rate.Limit(perSecond), 1)
		p.byID[id] = limiter
	}
	if limiter.Limit() != rate.Limit(perSecond) {
		limiter.SetLimit(rate.Limit(perSecond))
	}
	p.mu.Unlock()
	return limiter.Wait(ctx)
}

func (p *paces) forget(id int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}
