package stack

import (
	"context"
	"crypto/rand"
	"slices"
	"strconv"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
	"github.com/rialto-bus/rialto/internal/store"
)

// clean deletes what the stack no longer wants, and ends an update or its rollback. What cannot be deleted is tried again by the
// next operation.
func (r *run) clean(ctx context.Context) error {
	_, err := r.removeAll(ctx, func(res *Resource) bool { return res.droppedBy != 0 })
	if err != nil {
		return err
	}
	if r.stack.Status == UpdateRollbackCompleteCleanupInProgress {
		return r.enter(ctx, ended, UpdateRollbackComplete, "", nil)
	}
	return r.enter(ctx, ended, UpdateComplete, "", nil)
}

// discard deletes what a failed creation made.
func (r *run) discard(ctx context.Context) error {
	failed, err := r.removeAll(ctx, func(*Resource) bool { return true })
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		return r.enter(ctx, ended, RollbackFailed, "The following resource(s) failed to delete: "+list(failed)+". ", nil)
	}
	return r.enter(ctx, ended, RollbackComplete, "", func(ctx context.Context, tx *store.Tx, next *Stack) error {
		return setImports(ctx, tx, next, nil)
	})
}

// deleteAll deletes the stack's resources, and then the stack.
func (r *run) deleteAll(ctx context.Context) error {
	failed, err := r.removeAll(ctx, func(*Resource) bool { return true })
	if err != nil {
		return err
	}
	if len(failed) > 0 {
		return r.enter(ctx, ended, DeleteFailed, "The following resource(s) failed to delete: "+list(failed)+". ", nil)
	}
	return r.enter(ctx, ended, DeleteComplete, "", func(ctx context.Context, tx *store.Tx, next *Stack) error {
		next.Deleted = r.s.now()
		if err := deleteChangeSets(ctx, tx, next.id, 0); err != nil {
			return err
		}
		if err := deleteExports(ctx, tx, next.id); err != nil {
			return err
		}
		return setImports(ctx, tx, next, nil)
	})
}

// removeAll deletes resources, each before those that it depends on, and returns the logical ids of those it could not.
func (r *run) removeAll(ctx context.Context, which func(*Resource) bool) (failed []string, err error) {
	var list []*Resource
	for _, res := range r.all() {
		if !res.gone && which(res) {
			list = append(list, res)
		}
	}
	slices.Reverse(list) // what was made last goes first, where nothing else decides
	o := order{limit: maxParallel, goOn: true}
	names := map[string]string{}
	for _, res := range list {
		name := strconv.FormatInt(res.id, 10)
		names[name] = res.LogicalID
		o.steps = append(o.steps, step{name: name, after: dependents(res, list), do: func(ctx context.Context) error { return r.remove(ctx, res) }})
	}
	steps, stop := outcome(ctx, o.run(ctx))
	if stop != nil {
		return nil, stop
	}
	for _, name := range steps {
		failed = append(failed, names[name])
	}
	slices.Sort(failed)
	return slices.Compact(failed), nil
}

// dependents are those of a list that depend on a resource, or may still do so as their change failed.
func dependents(res *Resource, list []*Resource) (names []string) {
	for _, other := range list {
		on := slices.Contains(other.details.DependsOn, res.LogicalID)
		if !on && other.prior != nil && other.Status.failed() {
			on = slices.Contains(other.prior.DependsOn, res.LogicalID)
		}
		if on {
			names = append(names, strconv.FormatInt(other.id, 10))
		}
	}
	return names
}

// remove deletes a resource, or leaves it alone as its policy says.
func (r *run) remove(ctx context.Context, res *Resource) error {
	if r.retained(res) {
		return r.removed(ctx, res, DeleteSkipped, "")
	}
	if res.action == creating {
		settled, err := r.settle(ctx, res)
		if stop := cannotTell(ctx, err); stop != nil {
			return stop
		}
		if err != nil {
			return r.notRemoved(ctx, res, err)
		}
		res = settled
	}
	if res.identifier == "" {
		return r.removed(ctx, res, DeleteComplete, "")
	}
	if res.action != deleting {
		next := *res
		next.action, next.token, next.again = deleting, rand.Text(), false
		next.Status, next.Reason, next.Updated = DeleteInProgress, "", r.s.now()
		if err := r.save(ctx, &next, r.event(&next, "")); err != nil {
			return err
		}
		res = &next
	}
	_, err := r.call(ctx, func(ctx context.Context) (resource.Model, error) {
		return nil, r.s.opt.Registry.Delete(ctx, res.Type, resource.Request{
			Caller: r.op.caller, Identifier: res.identifier, Previous: res.details.whole(), Token: res.token, Again: res.again,
		})
	})
	if stop := cannotTell(ctx, err); stop != nil {
		return stop
	}
	if err == nil || resource.CodeOf(err) == resource.NotFound {
		return r.removed(ctx, res, DeleteComplete, "")
	}
	if r.op.options.Force {
		return r.removed(ctx, res, DeleteSkipped, r.reason(res, err))
	}
	return r.notRemoved(ctx, res, err)
}

// removed stores that a resource is no longer the stack's.
func (r *run) removed(ctx context.Context, res *Resource, status Status, reason string) error {
	next := *res
	next.gone, next.action, next.again = true, noAction, false
	next.Status, next.Reason, next.Updated = status, reason, r.s.now()
	return r.save(ctx, &next, r.event(&next, reason))
}

func (r *run) notRemoved(ctx context.Context, res *Resource, err error) error {
	next := *res
	if next.action == deleting {
		next.action, next.again = noAction, false
	}
	next.Status, next.Reason, next.Updated = DeleteFailed, r.reason(res, err), r.s.now()
	if err := r.save(ctx, &next, r.event(&next, next.Reason)); err != nil {
		return err
	}
	return stepError{next.Reason}
}

// settle finds out what became of a creation that was cut off, by asking for it again: what there is then can be deleted or
// changed. An error says that nobody knows.
func (r *run) settle(ctx context.Context, res *Resource) (*Resource, error) {
	next := *res
	next.Updated = r.s.now()
	model, err := r.call(ctx, func(ctx context.Context) (resource.Model, error) {
		return r.s.opt.Registry.Create(ctx, res.Type, resource.Request{
			Caller: r.op.caller, Desired: res.details.Properties, Token: res.token, Again: true,
		})
	})
	if stop := cannotTell(ctx, err); stop != nil {
		return nil, stop
	}
	if err == nil {
		err = r.adopt(ctx, &next, model, true)
	}
	if err != nil && uncertain(ctx, err) && !r.op.options.Force {
		return nil, err
	}
	next.action, next.again = noAction, false
	if err := r.save(ctx, &next); err != nil {
		return nil, err
	}
	return &next, nil
}

// retained says whether a resource that leaves its stack stays in the account.
func (r *run) retained(res *Resource) bool {
	if r.op.kind == remove {
		return slices.Contains(r.op.options.Retain, res.LogicalID) || keeps(res.details.DeletionPolicy)
	}
	// What a failed operation made itself goes, unless it is to be retained even then.
	if res.madeBy == r.op.id {
		return res.identifier != "" && !r.op.options.DeleteNew && res.details.DeletionPolicy == template.Retain
	}
	if next := r.live(res.LogicalID); next != nil { // what replaces it says so: the change may have brought the policy
		return keeps(next.details.UpdateReplacePolicy)
	}
	return keeps(res.details.DeletionPolicy)
}

// keeps says whether a policy leaves what its stack no longer has in the account.
func keeps(p template.DeletionPolicy) bool {
	return p == template.Retain || p == template.RetainExceptOnCreate
}
