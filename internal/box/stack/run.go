package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/box/stack/template"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// run is one process's work on an operation.
type run struct {
	s     *Stacks
	op    *operation
	bound *template.Bound // nil for a deletion

	mu        sync.Mutex
	stack     *Stack
	resources []*Resource // none is changed: a changed one takes its place
}

// carryOut is the job that takes a stack's operation to its end.
func (s *Stacks) carryOut(ctx context.Context, j work.Job) work.Outcome {
	id, err := strconv.ParseInt(j.Key, 10, 64)
	if err != nil {
		return work.Fail(err.Error())
	}
	r, err := s.takeUp(ctx, id)
	if err == nil && r != nil {
		err = r.goOn(ctx)
	}
	switch {
	case err == nil, errors.Is(err, errSuperseded):
		return work.Done()
	case ctx.Err() == nil:
		s.opt.Logger.Warn("an operation on a stack waits", "stack", id, "error", err)
	}
	return work.Retry(err.Error())
}

// takeUp makes an operation this process's, from where it is. It returns nil if there is nothing to do.
func (s *Stacks) takeUp(ctx context.Context, stackID int64) (r *run, err error) {
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		r = nil
		st, found, err := s.selectStackByNumber(ctx, tx, stackID)
		if err != nil || !found || st.operation == 0 {
			return err
		}
		op, err := s.selectOperation(ctx, tx, st.operation)
		if err != nil || op.phase == ended {
			return err
		}
		op.run = rand.Text()
		if err := updateRun(ctx, tx, op); err != nil {
			return err
		}
		all, err := s.selectResources(ctx, tx, st.id)
		if err != nil {
			return err
		}
		r = &run{s: s, op: op, stack: st, resources: all}
		return nil
	})
	if err != nil || r == nil {
		return nil, err
	}
	for _, res := range r.resources {
		res.again = res.action != noAction
	}
	return r, nil
}

// goOn goes through the phases that are left.
func (r *run) goOn(ctx context.Context) error {
	for r.op.phase != ended {
		var err error
		switch r.op.phase {
		case applying:
			err = r.apply(ctx)
		case cleaning:
			err = r.clean(ctx)
		case restoringAll:
			err = r.restore(ctx)
		case discarding:
			err = r.discard(ctx)
		case deletingAll:
			err = r.deleteAll(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s, phase %s: %w", r.op.label(r.stack), r.op.phase, err)
		}
	}
	return nil
}

// write changes the state of the operation, if it is still this run's.
func (r *run) write(ctx context.Context, fn func(ctx context.Context, tx *store.Tx) error) error {
	if err := r.reach("before a write"); err != nil {
		return err
	}
	// What was done must be known even if the process is to stop now.
	ctx = context.WithoutCancel(ctx)
	err := r.s.db.Update(ctx, func(tx *store.Tx) error {
		ours, err := holdsRun(ctx, tx, r.op)
		if err != nil {
			return err
		}
		if !ours {
			return errSuperseded
		}
		return fn(ctx, tx)
	})
	if err != nil {
		return err
	}
	return r.reach("after a write")
}

// reach tells a test where the run is.
func (r *run) reach(where string) error {
	if r.s.step == nil {
		return nil
	}
	return r.s.step(where)
}

// save writes a changed resource with events about it, and then puts it in its place.
func (r *run) save(ctx context.Context, next *Resource, events ...Event) error {
	return r.saveAll(ctx, []*Resource{next}, events)
}

func (r *run) saveAll(ctx context.Context, changed []*Resource, events []Event) error {
	numbers := make([]int64, len(changed))
	for i, next := range changed {
		numbers[i] = next.id
	}
	err := r.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		for i, next := range changed {
			next.id = numbers[i] // what an attempt that was undone has set is no row
			if err := r.s.putResource(ctx, tx, next); err != nil {
				return err
			}
		}
		return r.s.tell(ctx, tx, r.stack, events...)
	})
	if err == nil {
		r.replace(changed...)
	}
	return err
}

// replace puts changed resources in the place of what they were. Those that no longer have a row are dropped.
func (r *run) replace(changed ...*Resource) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, next := range changed {
		i := slices.IndexFunc(r.resources, func(old *Resource) bool { return old.id == next.id })
		switch {
		case i < 0:
			r.resources = append(r.resources, next)
		case next.forgotten():
			r.resources = slices.Delete(r.resources, i, i+1)
		default:
			r.resources[i] = next
		}
	}
}

// forgotten says whether nothing is kept of a resource: one that the stack no longer has and that is gone.
func (res *Resource) forgotten() bool { return res.gone && res.droppedBy != 0 }

// all returns the stack's resources as they are now.
func (r *run) all() []*Resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.resources)
}

// live returns the resource that a logical id stands for, nil without one.
func (r *run) live(logicalID string) *Resource {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, res := range r.resources {
		if res.LogicalID == logicalID && res.droppedBy == 0 && !res.gone {
			return res
		}
	}
	return nil
}

// enter takes the stack to a status and the operation to a phase, together with what fn, if any, changes.
func (r *run) enter(ctx context.Context, p phase, status Status, reason string, fn func(ctx context.Context, tx *store.Tx, next *Stack) error) error {
	var next *Stack
	var op operation
	err := r.write(ctx, func(ctx context.Context, tx *store.Tx) error {
		stack := *r.stack
		next, op = &stack, *r.op
		next.Status, next.Reason, op.phase = status, reason, p
		if p == ended {
			op.done = r.s.now()
		}
		if fn != nil {
			if err := fn(ctx, tx, next); err != nil {
				return err
			}
		}
		if err := r.s.updateStack(ctx, tx, next); err != nil {
			return err
		}
		if err := updatePhase(ctx, tx, &op); err != nil {
			return err
		}
		if p == ended && op.options.ChangeSet != 0 {
			if err := updateExecution(ctx, tx, op.options.ChangeSet, executionAfter(status)); err != nil {
				return err
			}
		}
		return r.s.tell(ctx, tx, next, stackEvent(next, status, reason, op.token))
	})
	if err != nil {
		return err
	}
	r.stack = next
	r.op = &op
	return nil
}

// executionAfter is the execution status of a change set whose operation ended so.
func executionAfter(status Status) string {
	if status == CreateComplete || status == UpdateComplete {
		return executeComplete
	}
	return executeFailed
}

// outcome sorts the errors of steps: stop is the one for which the run cannot go on, if any, failed the names of those whose
// resources failed, in order.
func outcome(ctx context.Context, errs map[string]error) (failed []string, stop error) {
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		if errors.As(errs[name], new(stepError)) {
			failed = append(failed, name)
			continue
		}
		if stop == nil || errors.Is(errs[name], errSuperseded) {
			stop = errs[name]
		}
	}
	if stop == nil {
		stop = ctx.Err()
	}
	return failed, stop
}

// stepError says that a resource failed, which its row tells already.
type stepError struct{ reason string }

// Error returns the reason.
func (e stepError) Error() string { return e.reason }

// list writes names as AWS's reasons have them: [A, B].
func list(names []string) string { return "[" + strings.Join(names, ", ") + "]" }

// deadline bounds a creation by its timeout.
func (r *run) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.op.options.Deadline == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, time.UnixMilli(r.op.options.Deadline))
}
