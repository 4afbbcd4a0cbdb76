package function

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// mappingQueue has a job for each mapping that is polled or on the way to another
	// state: whoever has it is the only one who polls.
	mappingQueue = "function.mapping"
	// maxPolled is how many mappings one node polls.
	maxPolled = 10_000
	// startBatches is how many batches of a mapping run at once to begin with, maxBatches what
	// that may grow to where no ScalingConfig says otherwise. AWS: 5 and 1,000.
	startBatches, maxBatches = 5, 10
	// The pause after a problem doubles from problemBase to problemCap.
	problemBase, problemCap = time.Second, 15 * time.Second
	// stopGrace is how long what came of functions that run is waited for once the server is to stop. It is
	// longer than package runtime gives these.
	stopGrace = 10 * time.Second
	// versionEvery is how often a node looks for changes that another one made.
	versionEvery = time.Second
)

// The results that AWS reports of a mapping's batches.
const (
	resultOK        = "OK"
	resultNone      = "No records processed"
	resultProblem   = "PROBLEM: "
	functionFailed  = "Function call failed"
	resultThrottled = "Function call was throttled"
)

// problem is why nothing can be polled, as LastProcessingResult says it.
type problem string

// Error returns the text.
func (p problem) Error() string { return string(p) }

// queueProblem is what AWS says of an error of SQS; refused is false for errors that are not
// answers of the queue.
func queueProblem(err error) (text string, refused bool) {
	e, ok := errors.AsType[*awsapi.Error](err)
	if !ok || e.Fault {
		return "", false
	}
	if e.Code == "AccessDenied" {
		return "The function execution role does not have permissions to call ReceiveMessage on SQS. " + e.Message, true
	}
	code := e.Code
	if modelled := sqs.API.Errors[code]; modelled.QueryCode != "" {
		code = modelled.QueryCode
	}
	return "Error occurred while ReceiveMessage. SQS Error Code: " + code + ". SQS Error Message: " + e.Message, true
}

// poller polls the queue of one mapping. One of them runs for a mapping, on one node.
type poller struct {
	f     *Functions
	uuid  string
	slots *slots
	rung  <-chan struct{}

	mu     sync.Mutex
	result string
}

// runMapping follows a mapping until it is disabled or deleted, or the job is another's.
func (f *Functions) runMapping(ctx context.Context, j work.Job) work.Outcome {
	rung, leave := f.bells.join(j.Key)
	defer leave()
	running, cut := outlive(ctx, stopGrace)
	defer cut()
	p := &poller{f: f, uuid: j.Key, slots: newSlots(), rung: rung}
	p.run(ctx, running)
	p.slots.idle(context.WithoutCancel(ctx)) // they end with their context at the latest
	if ctx.Err() != nil {
		return work.Retry(ctx.Err().Error())
	}
	return work.Done()
}

// outlive returns a context that ends a while after ctx, or when cut is called.
func outlive(ctx context.Context, d time.Duration) (longer context.Context, cut func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(d, cancel)
		context.AfterFunc(longer, func() { t.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// run polls under ctx; batches run under a context that outlives it for a while. Trouble
// with the database is waited out here: batches may be running that count.
func (p *poller) run(ctx, running context.Context) {
	for ctx.Err() == nil {
		over, err := p.followOnce(ctx, running)
		if over {
			return
		}
		if err != nil && ctx.Err() == nil {
			p.f.o.Logger.Warn("an event source mapping cannot be followed", "mapping", p.uuid, "error", err)
			pause(ctx, problemBase)
		}
	}
}

// followOnce follows the mapping as it is now, until it changes. Over says that there is nothing
// left to do.
func (p *poller) followOnce(ctx, running context.Context) (over bool, err error) {
	m, err := mappingByUUID(ctx, p.f.db, p.uuid)
	if err != nil || m == nil {
		return m == nil && err == nil, err
	}
	p.setResult(m.Result)
	unchanged, unwatch := p.watch(ctx, m)
	defer unwatch()
	over, err = p.follow(unchanged, running, m)
	if unchanged.Err() != nil {
		return false, nil // what failed may have been for that
	}
	return over && err == nil, err
}

// watch returns a context that ends when the mapping has changed.
func (p *poller) watch(ctx context.Context, m *Mapping) (unchanged context.Context, unwatch func()) {
	unchanged, cancel := context.WithCancel(ctx)
	every := versionEvery
	if p.f.db.Dialect() == store.SQLite {
		every = time.Minute // nobody else can change it, and the bell tells
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-unchanged.Done():
				return
			case <-p.rung:
			case <-tick.C:
			}
			if version, err := mappingVersion(unchanged, p.f.db, m.id); err == nil && version != m.version {
				cancel()
				return
			}
		}
	})
	return unchanged, func() {
		cancel()
		wg.Wait()
	}
}

// follow does what the mapping's state asks for until it changes, and ends its
// transition. Over says that nothing is left to do.
func (p *poller) follow(unchanged, running context.Context, m *Mapping) (over bool, err error) {
	if m.Enabled && m.State != stateDeleting {
		if err := p.settle(unchanged, m, stateEnabled); err != nil {
			return false, err
		}
		return false, p.poll(unchanged, running, m)
	}
	if !p.slots.idle(unchanged) {
		return false, nil
	}
	if m.State == stateDeleting {
		return true, p.f.db.Update(unchanged, func(tx *store.Tx) error { return removeMapping(unchanged, tx, m.id) })
	}
	return true, p.settle(unchanged, m, stateDisabled)
}

func (p *poller) settle(ctx context.Context, m *Mapping, state string) error {
	if m.State == state {
		return nil
	}
	return p.f.db.Update(ctx, func(tx *store.Tx) error { return settleMapping(ctx, tx, m, state) })
}

// poll feeds the function until the mapping changes. Problems are noted and waited out.
func (p *poller) poll(unchanged, running context.Context, m *Mapping) error {
	filter, err := compileFilter(m.settings.Filters)
	if err != nil {
		return err // it was compiled when it was set
	}
	most := m.settings.Concurrency
	if most == 0 {
		most = maxBatches
	}
	p.slots.allow(most)
	// The first call does not wait: it shows whether the queue may be read. So does that
	// after a problem.
	wait := time.Duration(0)
	for attempt := 1; unchanged.Err() == nil; attempt++ {
		err := p.feed(unchanged, running, m, filter, wait)
		if err == nil {
			attempt, wait = 0, pollWait
			continue
		}
		wait = 0
		p.noteProblem(unchanged, m, err)
		pause(unchanged, work.Backoff(attempt, problemBase, problemCap, nil))
	}
	return nil
}

// pause returns after d or when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// feed collects a batch and has it run once there is room for it.
func (p *poller) feed(unchanged, running context.Context, m *Mapping, f filter, wait time.Duration) error {
	if !p.slots.acquire(unchanged) {
		return nil
	}
	b, err := p.newBatch(unchanged, m)
	if err == nil {
		err = b.collect(unchanged, f, wait)
	}
	if err != nil || len(b.records) == 0 {
		p.slots.release()
		if err == nil {
			p.noteIdle(unchanged, m)
		}
		return err
	}
	// What was received is processed even if the mapping has changed: it would come back
	// with a receive used up.
	go func() {
		defer p.slots.release()
		b.run(running, unchanged)
	}()
	return nil
}

// newBatch returns an empty batch, once it has seen that there are the function and the queue, so
// that nothing is received in vain.
func (p *poller) newBatch(ctx context.Context, m *Mapping) (*batch, error) {
	if e, off := errors.AsType[*awsapi.Error](p.f.available()); off {
		return nil, problem(e.Message)
	}
	fn, err := p.f.find(ctx, m.Function)
	if awsapi.HasCode(err, lambda.CodeResourceNotFoundException) {
		return nil, problem("Function not found: " + m.functionARN())
	}
	if err != nil {
		return nil, err
	}
	visibility, err := p.f.queueVisibility(ctx, m)
	if err != nil {
		return nil, err
	}
	// It may have been shortened since the mapping was made: nobody else should get a
	// message while the function has it.
	visibility = max(visibility, fn.timeout())
	return &batch{p: p, m: m, visibility: visibility, hidden: max(visibility, leastHidden)}, nil
}

func (p *poller) setResult(result string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.result = result
}

// noteProblem notes why nothing is polled. Once ctx has ended that is no problem.
func (p *poller) noteProblem(ctx context.Context, m *Mapping, err error) {
	if ctx.Err() != nil {
		return
	}
	text, known := queueProblem(err)
	if why, ok := errors.AsType[problem](err); ok {
		text, known = string(why), true
	}
	if !known {
		text = "An internal error occurred"
		p.f.o.Logger.Warn("an event source mapping cannot be polled", "mapping", m.UUID, "queue", m.Source.String(), "error", err)
	}
	p.note(ctx, m, resultProblem+text)
}

// noteIdle notes that there was nothing to process where nothing was ever processed, or
// could be until now.
func (p *poller) noteIdle(ctx context.Context, m *Mapping) {
	p.mu.Lock()
	last := p.result
	p.mu.Unlock()
	if last != resultOK && !strings.HasPrefix(last, resultProblem+functionFailed) {
		p.note(ctx, m, resultNone)
	}
}

// note stores the result of the last attempt if it is another than before.
func (p *poller) note(ctx context.Context, m *Mapping, result string) {
	result = printable(result)
	p.mu.Lock()
	same := p.result == result
	p.result = result
	p.mu.Unlock()
	if same {
		return
	}
	err := p.f.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error { return updateMappingResult(ctx, tx, m.id, result) })
	if err != nil {
		p.setResult("") // so that it is written the next time
		if ctx.Err() == nil {
			p.f.o.Logger.Warn("could not note how an event source mapping fares", "mapping", m.UUID, "error", err)
		}
	}
}
