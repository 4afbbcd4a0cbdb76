package stack

import (
	"context"
	"crypto/rand"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
	"github.com/rialto-bus/rialto/internal/store"
)

// restore brings what a failed update changed back to what it was. What it made and what it replaced change places: the
// one is deleted by clean, the other is the stack's again.
func (r *run) restore(ctx context.Context) error {
	o := order{limit: maxParallel, goOn: true}
	for _, res := range r.all() {
		if res.changedBy != r.op.id || res.gone {
			continue
		}
		o.steps = append(o.steps, step{name: res.LogicalID, after: res.prior.DependsOn, do: func(ctx context.Context) error { return r.restoreOne(ctx, res) }})
	}
	failed, stop := outcome(ctx, o.run(ctx))
	if stop != nil {
		return stop
	}
	if len(failed) > 0 {
		return r.enter(ctx, ended, UpdateRollbackFailed, "The following resource(s) failed to update: "+list(failed)+". ", nil)
	}
	return r.takeBack(ctx)
}

// restoreOne brings a resource back to what it was before the operation.
func (r *run) restoreOne(ctx context.Context, res *Resource) error {
	if res.action != restoring {
		next := *res
		next.Updated, next.Reason = r.s.now(), ""
		if same(res.details.Properties, res.prior.Properties) {
			next.details, next.prior, next.changedBy, next.action = *res.prior, nil, 0, noAction
			if !res.Status.failed() {
				return r.save(ctx, &next)
			}
			next.Status = UpdateComplete
			return r.save(ctx, &next, r.event(&next, ""))
		}
		next.action, next.token, next.again, next.Status = restoring, rand.Text(), false, UpdateInProgress
		if err := r.save(ctx, &next, r.event(&next, "")); err != nil {
			return err
		}
		res = &next
	}
	model, err := r.call(ctx, func(ctx context.Context) (resource.Model, error) {
		return r.s.opt.Registry.Update(ctx, res.Type, resource.Request{
			Caller: r.op.caller, Identifier: res.identifier, Desired: res.prior.Properties, Previous: res.details.Properties,
			Token: res.token, Again: res.again,
		})
	})
	if stop := cannotTell(ctx, err); stop != nil {
		return stop
	}
	next := *res
	next.action, next.again, next.Updated = noAction, false, r.s.now()
	switch {
	case err == nil:
		next.details = *res.prior
		err = r.name(ctx, &next, model)
	case r.untouched(ctx, res, err):
		next.details, err = *res.prior, nil
	}
	if err != nil {
		next.details = res.details
		next.Status, next.Reason = UpdateFailed, r.reason(res, err)
		if err := r.save(ctx, &next, r.event(&next, next.Reason)); err != nil {
			return err
		}
		return stepError{next.Reason}
	}
	next.prior, next.changedBy, next.Status, next.Reason = nil, 0, UpdateComplete, ""
	return r.save(ctx, &next, r.event(&next, ""))
}

// untouched says whether a resource that could not be changed, and not be changed back either, is as it was before: who may not change it
// has not changed it, and what was gone before is gone.
func (r *run) untouched(ctx context.Context, res *Resource, err error) bool {
	if !res.details.Refused {
		return false
	}
	if resource.CodeOf(err) == resource.NotFound {
		return true
	}
	model, err := r.call(ctx, func(ctx context.Context) (resource.Model, error) {
		return r.s.opt.Registry.Read(ctx, res.Type, resource.Request{Caller: r.op.caller, Identifier: res.identifier})
	})
	return err == nil && same(model, res.prior.Model)
}

// takeBack gives the stack the config from before the operation, and the resources that the operation replaced.
func (r *run) takeBack(ctx context.Context) error {
	t, err := template.Parse([]byte(r.op.previous.Template))
	if err != nil {
		return err
	}
	bound, err := bind(t, r.stack.Ref, r.stack.UUID, r.op.previous.Topics, r.op.previous.parameters())
	if err != nil {
		return err
	}
	dropped, wanted, events := r.swapped()
	err = r.enter(ctx, cleaning, UpdateRollbackCompleteCleanupInProgress, "", func(ctx context.Context, tx *store.Tx, next *Stack) error {
		next.Config, next.Description = *r.op.previous, t.Summary().Description
		if err := dropResources(ctx, tx, dropped, r.op.id); err != nil {
			return err
		}
		for _, res := range wanted {
			if err := r.s.putResource(ctx, tx, res); err != nil {
				return err
			}
		}
		if err := r.s.tell(ctx, tx, next, events...); err != nil {
			return err
		}
		return setImports(ctx, tx, next, bound.Imports())
	})
	if err == nil {
		r.drop(dropped)
		r.replace(wanted...)
	}
	return err
}

// swapped are the resources that the operation made, no longer wanted, and those that it replaced, wanted again.
func (r *run) swapped() (dropped []int64, wanted []*Resource, events []Event) {
	for _, res := range r.all() {
		switch {
		case res.gone:
		case res.madeBy == r.op.id:
			dropped = append(dropped, res.id)
		case res.droppedBy == r.op.id:
			next := *res
			next.droppedBy, next.Status, next.Reason = 0, UpdateComplete, ""
			wanted = append(wanted, &next)
			events = append(events, r.event(&next, ""))
		}
	}
	return dropped, wanted, events
}
