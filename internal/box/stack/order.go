package stack

import (
	"context"
	"sync"
)

// step is one piece of work, with the names of those that must be done before it.
type step struct {
	name  string
	after []string
	do    func(ctx context.Context) error
}

// order does steps, each once those before it are done. Names that no step has are passed over, and where steps
// wait for one another, the first of them goes.
type order struct {
	steps []step
	limit int // of steps at the same time
	// goOn: after an error, steps that do not wait for what failed are begun all the same.
	goOn bool

	mu      sync.Mutex
	moved   *sync.Cond
	waiting map[string]int // how many steps of a name are not done
	begun   []bool
	running int
	failed  map[string]error
}

// run does the steps. After the end of ctx no more are begun. It waits for those that were and
// returns the errors by the steps' names, none if all are done.
func (o *order) run(ctx context.Context) map[string]error {
	o.waiting, o.failed, o.begun = map[string]int{}, map[string]error{}, make([]bool, len(o.steps))
	for _, s := range o.steps {
		o.waiting[s.name]++
	}
	o.moved = sync.NewCond(&o.mu)
	var wg sync.WaitGroup
	o.mu.Lock()
	for ctx.Err() == nil && (o.goOn || len(o.failed) == 0) {
		i, ok := o.next()
		if ok && o.running < o.limit {
			o.begun[i] = true
			o.running++
			wg.Go(func() { o.do(ctx, i) })
			continue
		}
		if o.running == 0 {
			break
		}
		o.moved.Wait()
	}
	o.mu.Unlock()
	wg.Wait()
	return o.failed
}

// next is the first step that can begin.
func (o *order) next() (int, bool) {
	stuck := -1
	for i, s := range o.steps {
		if o.begun[i] {
			continue
		}
		if o.ready(s) {
			return i, true
		}
		if stuck < 0 {
			stuck = i
		}
	}
	return stuck, stuck >= 0 && o.running == 0 && len(o.failed) == 0
}

func (o *order) ready(s step) bool {
	for _, name := range s.after {
		if name != s.name && o.waiting[name] > 0 {
			return false
		}
	}
	return true
}

func (o *order) do(ctx context.Context, i int) {
	err := o.steps[i].do(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		o.failed[o.steps[i].name] = err
	} else {
		o.waiting[o.steps[i].name]--
	}
	o.running--
	o.moved.Broadcast()
}
