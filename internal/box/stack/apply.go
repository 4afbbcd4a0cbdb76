package stack

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
	"github.com/rialto-bus/rialto/internal/store"
)

// apply makes and changes resources as the template says, and then decides how the operation goes on.
func (r *run) apply(ctx context.Context) error {
	failure, err := r.applyTemplate(ctx)
	if err != nil {
		return err
	}
	if failure == nil {
		failure, err = r.commit(ctx)
	}
	if err != nil || failure == nil {
		return err
	}
	return r.giveUp(ctx, failure)
}

// failure is why an operation does not succeed.
type failure struct {
	reason string
	// creating and updating are the resources that failed.
	creating, updating []string
	timedOut           bool
}

// text is the reason as AWS gives it.
func (f *failure) text() string {
	text := f.reason
	if len(f.creating) > 0 {
		text += "The following resource(s) failed to create: " + list(f.creating) + ". "
	}
	if len(f.updating) > 0 {
		text += "The following resource(s) failed to update: " + list(f.updating) + ". "
	}
	if f.timedOut {
		text = "Stack creation time exceeded the specified timeout. "
	}
	return text
}

// applyTemplate takes every resource of the template to what it says.
func (r *run) applyTemplate(ctx context.Context) (*failure, error) {
	bound, err := rebind(r.stack)
	if err != nil {
		return &failure{reason: err.Error() + " "}, nil
	}
	r.bound = bound
	if missing, err := r.useExports(ctx); missing != "" || err != nil {
		return &failure{reason: "No export named " + missing + " found. "}, err
	}
	bounded, cancel := r.deadline(ctx)
	defer cancel()
	o := order{limit: maxParallel}
	for _, tr := range bound.Resources() {
		o.steps = append(o.steps, step{name: tr.LogicalID, after: tr.DependsOn, do: func(ctx context.Context) error { return r.applyOne(ctx, tr) }})
	}
	failed, stop := outcome(ctx, o.run(bounded))
	if stop != nil {
		return nil, stop
	}
	if bounded.Err() == nil && len(failed) == 0 {
		return nil, nil
	}
	f := &failure{timedOut: bounded.Err() != nil}
	for _, id := range failed {
		if res := r.live(id); res != nil && res.Status == CreateFailed {
			f.creating = append(f.creating, id)
		} else {
			f.updating = append(f.updating, id)
		}
	}
	return f, nil
}

// applyOne makes a resource, changes it, replaces it or leaves it, from wherever an earlier run has left it.
func (r *run) applyOne(ctx context.Context, tr *template.Resource) error {
	res := r.live(tr.LogicalID)
	switch {
	case res == nil:
		return r.make(ctx, tr, nil)
	case res.madeBy != r.op.id && res.changedBy != r.op.id:
		return r.change(ctx, tr, res)
	case res.Status.failed():
		return stepError{res.Reason}
	case res.action == creating:
		return r.finishMake(ctx, res)
	case res.action == updating:
		return r.finishChange(ctx, tr, res)
	}
	return nil // done by an earlier run
}

// wanted is what a resource is to be, from the template and what exists by now.
func (r *run) wanted(ctx context.Context, tr *template.Resource, old *Resource) (*resource.Type, details, error) {
	typ, err := r.s.opt.Registry.Lookup(ctx, r.stack.Account, r.stack.Region, tr.Type)
	if err != nil {
		return nil, details{}, err
	}
	known := &resolver{ctx: ctx, r: r}
	properties, err := tr.Properties(known)
	if err != nil {
		return nil, details{}, err
	}
	d, err := describe(tr, known)
	if err != nil {
		return nil, details{}, err
	}
	if d.Properties, err = complete(typ, properties, r.stack.Config.Tags); err != nil {
		return nil, details{}, err
	}
	d.chooseName(typ, r.stack.Name, tr.LogicalID, old)
	err = typ.Schema.CheckDesired(d.Properties)
	if problems, ok := errors.AsType[resource.Problems](err); ok {
		err = fmt.Errorf("Properties validation failed for resource %s with message:\n%w", tr.LogicalID, problems) //nolint:revive // AWS's text
	}
	return typ, d, err
}

// describe is what the template says of a resource beside its properties.
func describe(tr *template.Resource, known template.Resolver) (details, error) {
	metadata, err := tr.Metadata(known)
	return details{
		DependsOn: tr.DependsOn, DeletionPolicy: tr.DeletionPolicy, UpdateReplacePolicy: tr.UpdateReplacePolicy, Metadata: metadata,
	}, err
}

// make makes a resource that the stack does not have, or one in the place of another.
func (r *run) make(ctx context.Context, tr *template.Resource, old *Resource) error {
	_, d, err := r.wanted(ctx, tr, nil)
	next := &Resource{
		stackID: r.stack.id, LogicalID: tr.LogicalID, Type: tr.Type, Status: CreateInProgress, details: d,
		madeBy: r.op.id, action: creating, token: rand.Text(), Updated: r.s.now(),
	}
	if err != nil && old != nil {
		return r.noted(ctx, old, err)
	}
	if err != nil {
		return r.noted(ctx, next, err)
	}
	changed, events := []*Resource{next}, []Event{r.event(next, "")}
	if old != nil {
		dropped := *old
		dropped.droppedBy = r.op.id
		next.Status = UpdateInProgress
		changed = append(changed, &dropped)
		replaced := r.event(next, "Requested update requires the creation of a new physical resource; hence creating one.")
		replaced.PhysicalID = old.PhysicalID
		events = []Event{replaced}
	}
	if err := r.saveAll(ctx, changed, events); err != nil {
		return err
	}
	return r.finishMake(ctx, next)
}

// noted stores that a resource failed before anything was done about it.
func (r *run) noted(ctx context.Context, res *Resource, err error) error {
	if stop := cannotTell(ctx, err); stop != nil {
		return stop
	}
	next := *res
	next.action, next.Status = noAction, CreateFailed
	if next.madeBy != r.op.id {
		next.Status, next.changedBy, next.prior = UpdateFailed, r.op.id, new(next.details)
	}
	next.Reason, next.Updated = r.reason(&next, err), r.s.now()
	if err := r.save(ctx, &next, r.event(&next, next.Reason)); err != nil {
		return err
	}
	return stepError{next.Reason}
}

// cannotTell is the error for which the run ends, because it is none of the resource's: the process stops, or the database fails.
func cannotTell(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errSuperseded) || errors.Is(err, store.ErrClosed) || errors.Is(err, errKilled) {
		return err
	}
	if ctx.Err() != nil && !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return ctx.Err()
	}
	return nil
}

// errKilled is what tests end a run with, as if its process had been killed.
var errKilled = errors.New("killed")

// finishMake has the resource made, for the first time or again.
func (r *run) finishMake(ctx context.Context, res *Resource) error {
	model, err := r.call(ctx, func(ctx context.Context) (resource.Model, error) {
		return r.s.opt.Registry.Create(ctx, res.Type, resource.Request{
			Caller: r.op.caller, Desired: res.details.Properties, Token: res.token, Again: res.again,
		})
	})
	if stop := cannotTell(ctx, err); stop != nil {
		return stop
	}
	next := *res
	next.again, next.action, next.Updated = false, noAction, r.s.now()
	failedAs, doneAs := CreateFailed, CreateComplete
	if res.Status == UpdateInProgress {
		failedAs, doneAs = UpdateFailed, UpdateComplete
	}
	old := r.replacedBy(res)
	if err == nil {
		err = r.adopt(ctx, &next, model, res.again)
	}
	if old != nil && (resource.CodeOf(err) == resource.AlreadyExists || err == nil && next.identifier == old.identifier) {
		next.identifier, next.PhysicalID = "", ""
		err = errNamed(old)
	}
	if err != nil {
		next.Status, next.Reason = failedAs, r.reason(&next, err)
		if uncertain(ctx, err) { // what deletes it finds out whether it was made
			next.action, next.again = creating, true
		}
		if ctx.Err() != nil {
			next.Reason = "Resource creation cancelled"
		}
		if err := r.save(ctx, &next, r.event(&next, next.Reason)); err != nil {
			return err
		}
		return stepError{next.Reason}
	}
	begun := r.event(&next, "Resource creation Initiated")
	begun.Status = res.Status
	next.Status, next.Reason = doneAs, ""
	return r.save(ctx, &next, begun, r.event(&next, ""))
}

// replacedBy is the resource in whose place the operation puts another one, nil without one.
func (r *run) replacedBy(res *Resource) *Resource {
	for _, old := range r.all() {
		if old.LogicalID == res.LogicalID && old.droppedBy == r.op.id && !old.gone && old.identifier != "" {
			return old
		}
	}
	return nil
}

// uncertain says whether a call that failed may have done what it was to do. What did not become stable has been
// taken back by its type.
func uncertain(ctx context.Context, err error) bool {
	switch resource.CodeOf(err) {
	case resource.InternalFailure, resource.ServiceInternalError, resource.ServiceTimeout, resource.NetworkFailure:
		return true
	}
	return ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
}

// call calls a resource type. A panic there is an error of that resource.
func (r *run) call(ctx context.Context, fn func(ctx context.Context) (resource.Model, error)) (m resource.Model, err error) {
	if err := r.reach("before a call"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			r.s.opt.Logger.Error("a resource type panicked", "panic", v)
			err = resource.Errorf(resource.InternalFailure, "the resource type failed unexpectedly")
		}
	}()
	m, err = fn(ctx)
	if stop := r.reach("after a call"); stop != nil {
		return nil, stop
	}
	if err != nil && resource.CodeOf(err) == "" && ctx.Err() == nil {
		r.s.opt.Logger.Error("a resource of a stack failed", "stack", r.stack.ARN(), "error", err)
		err = resource.Errorf(resource.InternalFailure, "it failed unexpectedly; the server's log tells more")
	}
	return m, err
}

// name takes over what a handler told of a resource.
func (r *run) name(ctx context.Context, next *Resource, model resource.Model) error {
	typ, err := r.s.opt.Registry.Lookup(ctx, r.stack.Account, r.stack.Region, next.Type)
	if err != nil {
		return err
	}
	identifier, err := typ.Identifier(model)
	if err != nil {
		return fmt.Errorf("the resource was made and is not known by its identifier: %w", err)
	}
	ref, err := typ.RefValue(model)
	if err != nil {
		return err
	}
	next.identifier, next.PhysicalID, next.details.Model = identifier, ref, model
	return nil
}

// adopt takes over what a creation told of a resource. What a repeat found may be alike and another's, of this stack or of
// another one: AlreadyExists.
func (r *run) adopt(ctx context.Context, next *Resource, model resource.Model, again bool) error {
	found, taken := *next, false
	err := r.name(ctx, &found, model)
	if err == nil && again {
		taken, err = selectTaken(ctx, r.s.db, r.stack.Ref, &found)
	}
	switch {
	case err != nil: // it is there: a repeat takes it over
		return resource.Errorf(resource.InternalFailure, "it was made and could not be taken over: %v", err)
	case taken:
		return resource.Errorf(resource.AlreadyExists, "Resource of type '%s' with identifier '%s' already exists.", found.Type, found.identifier)
	}
	*next = found
	return nil
}

// change takes a resource from before the operation to what the template says.
func (r *run) change(ctx context.Context, tr *template.Resource, res *Resource) error {
	if res.action == creating { // an earlier operation could not tell whether it made it
		settled, err := r.settle(ctx, res)
		if err != nil {
			return r.unsettled(ctx, res, err)
		}
		res = settled
	}
	if res.identifier == "" { // an earlier operation failed to make it
		next := *res
		next.gone, next.droppedBy = true, r.op.id
		if err := r.save(ctx, &next); err != nil {
			return err
		}
		return r.make(ctx, tr, nil)
	}
	typ, d, err := r.wanted(ctx, tr, res)
	if err != nil {
		return r.noted(ctx, res, err)
	}
	d.Model = res.details.Model
	changes, err := typ.Schema.Changes(res.details.Properties, d.Properties)
	if err != nil {
		return r.noted(ctx, res, err)
	}
	switch {
	case len(changes) == 0 && !res.Status.failed() && d.sameAttributes(&res.details):
		return nil
	case len(changes) == 0 && !res.Status.failed():
		return r.save(ctx, r.changing(res, d))
	case replaces(changes), !typ.Schema.Has("update"):
		return r.make(ctx, tr, res)
	}
	next := r.changing(res, d)
	next.action, next.token, next.Status, next.Reason = updating, rand.Text(), UpdateInProgress, ""
	if err := r.save(ctx, next, r.event(next, "")); err != nil {
		return err
	}
	return r.finishChange(ctx, tr, next)
}

// unsettled stores that it is still not known whether an earlier operation made a resource.
func (r *run) unsettled(ctx context.Context, res *Resource, err error) error {
	if stop := cannotTell(ctx, err); stop != nil {
		return stop
	}
	next := *res
	next.Status, next.Reason, next.Updated = UpdateFailed, r.reason(res, err), r.s.now()
	if err := r.save(ctx, &next, r.event(&next, next.Reason)); err != nil {
		return err
	}
	return stepError{next.Reason}
}

// changing is a resource with other details, its own kept for a rollback.
func (r *run) changing(res *Resource, d details) *Resource {
	next := *res
	next.prior, next.details = new(res.details), d
	next.changedBy, next.Updated = r.op.id, r.s.now()
	return &next
}

// finishChange has the resource changed in place, for the first time or again.
func (r *run) finishChange(ctx context.Context, tr *template.Resource, res *Resource) error {
	model, err := r.call(ctx, func(ctx context.Context) (resource.Model, error) {
		return r.s.opt.Registry.Update(ctx, res.Type, resource.Request{
			Caller: r.op.caller, Identifier: res.identifier, Desired: res.details.Properties, Previous: res.prior.Properties,
			Token: res.token, Again: res.again,
		})
	})
	if stop := cannotTell(ctx, err); stop != nil {
		return stop
	}
	if resource.CodeOf(err) == resource.NotUpdatable {
		return r.replaceInstead(ctx, tr, res)
	}
	next := *res
	next.again, next.action, next.Updated = false, noAction, r.s.now()
	if err == nil {
		err = r.name(ctx, &next, model)
	}
	if err != nil {
		next.Status, next.Reason, next.details.Refused = UpdateFailed, r.reason(&next, err), !uncertain(ctx, err)
		if err := r.save(ctx, &next, r.event(&next, next.Reason)); err != nil {
			return err
		}
		return stepError{next.Reason}
	}
	next.Status, next.Reason = UpdateComplete, ""
	return r.save(ctx, &next, r.event(&next, ""))
}

// replaceInstead replaces a resource that its type would not change in place.
func (r *run) replaceInstead(ctx context.Context, tr *template.Resource, res *Resource) error {
	back := *res
	back.details, back.prior, back.changedBy, back.action, back.again = *res.prior, nil, 0, noAction, false
	back.Status = UpdateComplete
	if err := r.save(ctx, &back); err != nil {
		return err
	}
	return r.make(ctx, tr, &back)
}

// replaces says whether changes need another resource. What is create-only under conditions is tried in place: the
// handler knows.
func replaces(changes []resource.Change) bool {
	return slices.ContainsFunc(changes, func(c resource.Change) bool { return c.Replacement })
}

// event is an event about a resource as it is.
func (r *run) event(res *Resource, reason string) Event {
	return Event{
		LogicalID: res.LogicalID, PhysicalID: res.PhysicalID, Type: res.Type, Status: res.Status, Reason: reason,
		Properties: masked(res.details.Properties, r.stack.Config.Parameters), Token: r.op.token,
	}
}

// reason is what an event says of a failure, without secrets. AWS: a handler's error with its code.
func (r *run) reason(res *Resource, err error) string {
	text := reasonOf(res, err)
	if secrets := secretsOf(r.stack.Config.Parameters); secrets != nil {
		text = secrets.Replace(text)
	}
	return text
}

func reasonOf(res *Resource, err error) string {
	if e, ok := errors.AsType[*resource.Error](err); ok {
		return fmt.Sprintf("Resource handler returned message: %q (RequestToken: %s, HandlerErrorCode: %s)", e.Message, res.token, e.Code)
	}
	return err.Error()
}

// commit ends the part of an operation that can fail: what the stack gives to others is set with its status.
func (r *run) commit(ctx context.Context) (*failure, error) {
	outputs, err := r.outputs(ctx)
	if err != nil {
		if stop := cannotTell(ctx, err); stop != nil {
			return nil, stop
		}
		return &failure{reason: err.Error() + " "}, nil
	}
	p, status := ended, CreateComplete
	if r.op.kind == update {
		p, status = cleaning, UpdateCompleteCleanupInProgress
	}
	unwanted := r.unwanted()
	err = r.enter(ctx, p, status, "", func(ctx context.Context, tx *store.Tx, next *Stack) error {
		next.Outputs = outputs
		if err := setExports(ctx, tx, next); err != nil {
			return err
		}
		if err := setImports(ctx, tx, next, r.bound.Imports()); err != nil {
			return err
		}
		return dropResources(ctx, tx, unwanted, r.op.id)
	})
	if conflict, ok := errors.AsType[exportConflict](err); ok {
		return &failure{reason: conflict.Error() + ". "}, nil
	}
	if err != nil {
		return nil, err
	}
	r.drop(unwanted)
	return nil, nil
}

// unwanted are the resources that the template no longer has.
func (r *run) unwanted() (ids []int64) {
	for _, res := range r.all() {
		inTemplate := func(tr *template.Resource) bool { return tr.LogicalID == res.LogicalID }
		if res.droppedBy == 0 && !res.gone && !slices.ContainsFunc(r.bound.Resources(), inTemplate) {
			ids = append(ids, res.id)
		}
	}
	return ids
}

// drop notes that the operation no longer wants resources, once their rows say so.
func (r *run) drop(ids []int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, res := range r.resources {
		if slices.Contains(ids, res.id) {
			next := *res
			next.droppedBy = r.op.id
			r.resources[i] = &next
		}
	}
}

// outputs evaluates the template's outputs.
func (r *run) outputs(ctx context.Context) ([]Output, error) {
	return evaluateOutputs(r.bound, &resolver{ctx: ctx, r: r})
}

func evaluateOutputs(b *template.Bound, res template.Resolver) ([]Output, error) {
	var outputs []Output
	for _, o := range b.Outputs() {
		value, err := o.Value(res)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, Output{Key: o.Name, Value: value, Description: o.Description, Export: o.Export})
	}
	return outputs, nil
}

// giveUp takes an operation that failed to what is done about it.
func (r *run) giveUp(ctx context.Context, f *failure) error {
	reason := f.text()
	if r.op.kind == update {
		if r.stack.Config.DisableRollback {
			return r.enter(ctx, ended, UpdateFailed, reason, nil)
		}
		return r.enter(ctx, restoringAll, UpdateRollbackInProgress, reason, nil)
	}
	switch r.op.options.OnFailure {
	case doNothing:
		return r.enter(ctx, ended, CreateFailed, reason, nil)
	case deleteAll:
		return r.enter(ctx, deletingAll, DeleteInProgress, reason+"Delete requested by user.", nil)
	}
	return r.enter(ctx, discarding, RollbackInProgress, reason+"Rollback requested by user.", nil)
}
