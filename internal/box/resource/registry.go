package resource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// ErrNoType says that a resource type is not in the registry.
var ErrNoType = errors.New("there is no such resource type")

// Options configure a Registry.
type Options struct {
	// Sealer is required.
	Sealer Sealer
	// OperationTime bounds one operation of Cloud Control; 0 stands for DefaultOperationTime.
	OperationTime time.Duration
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// DefaultOperationTime is how long an operation may take. AWS: a handler has two hours by
// default, which the box's services never need.
const DefaultOperationTime = 15 * time.Minute

// Registry is all resource types: those that are built in, and those that were registered
// in an account and region. Its methods are safe for concurrent use once Add was called for
// the last time.
type Registry struct {
	db    *store.DB
	jobs  *work.Runner
	opt   Options
	built map[string]*Type

	mu     sync.Mutex
	parsed map[string]*Type // registered types by their row and version
	// running has the operations of Cloud Control that run in this process.
	running map[string]context.CancelCauseFunc
}

// New returns a registry with the document types that are built in. It registers its job
// queue with jobs, whose Run carries out Cloud Control's operations and must not have begun.
func New(db *store.DB, jobs *work.Runner, o Options) *Registry {
	if o.OperationTime <= 0 {
		o.OperationTime = DefaultOperationTime
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	g := &Registry{db: db, jobs: jobs, opt: o, built: map[string]*Type{}, parsed: map[string]*Type{}, running: map[string]context.CancelCauseFunc{}}
	g.Add(g.documentTypes()...)
	jobs.Handle(requestQueue, work.QueueOptions{Concurrency: maxOperations}, g.operate)
	return g
}

// Add adds types to those that are built in. It panics when a name is there
// already or is not the schema's.
func (g *Registry) Add(types ...Type) {
	for _, t := range types {
		if g.built[t.Name] != nil || t.Schema == nil || t.Schema.TypeName != t.Name {
			panic("resource: the type " + t.Name + " is added twice, or with a schema of another name")
		}
		g.built[t.Name] = &t
	}
}

// now is the clock in unix milliseconds, as the tables hold times.
func (g *Registry) now() int64 { return g.opt.Now().UnixMilli() }

// Lookup finds a type: a built-in one, or one registered in the account and region. Without one
// the error wraps ErrNoType and names it.
func (g *Registry) Lookup(ctx context.Context, account, region, name string) (*Type, error) {
	if t := g.built[name]; t != nil {
		return t, nil
	}
	t, err := g.registered(ctx, account, region, name)
	if err == nil && t == nil {
		err = noType(name)
	}
	return t, err
}

// noType says which type is not there.
func noType(name string) error { return fmt.Errorf("%s: %w", name, ErrNoType) }

// find looks up the type of a request and its handler, and checks that it has the operation.
func (g *Registry) find(ctx context.Context, name string, r Request, operation string) (*Type, Handler, error) {
	t, err := g.Lookup(ctx, r.Caller.Account, r.Caller.Region, name)
	if err != nil {
		return nil, nil, err
	}
	if !t.Schema.Has(operation) {
		return nil, nil, Errorf(InvalidRequest, "Resource type %s does not support %s action", name, operation)
	}
	return t, t.Handler, nil
}

// Create makes a resource and returns its whole model but for write-only properties.
// r.Desired is coerced and checked against the schema first. What callers are to be told is an *Error;
// a type that is not there wraps ErrNoType.
func (g *Registry) Create(ctx context.Context, typeName string, r Request) (Model, error) {
	t, h, err := g.find(ctx, typeName, r, "create")
	if err != nil {
		return nil, err
	}
	if r.Desired, err = t.desired(r.Desired); err != nil {
		return nil, err
	}
	m, err := h.Create(ctx, r)
	if err != nil {
		return nil, failure(typeName, "create", err)
	}
	if m, err = t.returned(m); err != nil {
		return nil, err
	}
	if _, err := t.Identifier(m); err != nil {
		return nil, fmt.Errorf("create %s: %w", typeName, err)
	}
	return m, nil
}

// Read returns the model of the resource that r.Identifier names, without write-only
// properties. An *Error with NotFound says that there is none.
func (g *Registry) Read(ctx context.Context, typeName string, r Request) (Model, error) {
	t, h, err := g.find(ctx, typeName, r, "read")
	if err != nil {
		return nil, err
	}
	m, err := h.Read(ctx, r)
	if err != nil {
		return nil, failure(typeName, "read", err)
	}
	return t.returned(m)
}

// Update changes a resource from r.Previous to r.Desired, whole models without read-only
// properties, and returns what Read does. Create-only properties that differ are an *Error with
// NotUpdatable.
func (g *Registry) Update(ctx context.Context, typeName string, r Request) (Model, error) {
	t, h, err := g.find(ctx, typeName, r, "update")
	if err != nil {
		return nil, err
	}
	if r.Desired, err = t.desired(r.Desired); err != nil {
		return nil, err
	}
	previous, err := t.Schema.Coerce(r.Previous)
	if err != nil {
		return nil, Errorf(InvalidRequest, "%v", err)
	}
	r.Previous = Without(previous, t.Schema.ReadOnly)
	if named := changedPaths(t.Schema.CreateOnly, r.Previous, r.Desired); len(named) > 0 {
		return nil, notUpdatable(named)
	}
	m, err := h.Update(ctx, r)
	if err != nil {
		return nil, failure(typeName, "update", err)
	}
	return t.returned(m)
}

// Delete removes the resource that r.Identifier names. An *Error with NotFound says that there is
// none, unless r.Again.
func (g *Registry) Delete(ctx context.Context, typeName string, r Request) error {
	_, h, err := g.find(ctx, typeName, r, "delete")
	if err != nil {
		return err
	}
	err = failure(typeName, "delete", h.Delete(ctx, r))
	if r.Again && CodeOf(err) == NotFound {
		return nil // the earlier try came this far
	}
	return err
}

// List returns a page of models that have the primary identifier at least, and where the next
// page begins.
func (g *Registry) List(ctx context.Context, typeName string, r Request) ([]Model, string, error) {
	t, h, err := g.find(ctx, typeName, r, "list")
	if err != nil {
		return nil, "", err
	}
	models, next, err := h.List(ctx, r)
	if err != nil {
		return nil, "", failure(typeName, "list", err)
	}
	models = slices.Clone(models)
	for i := range models {
		if models[i], err = t.returned(models[i]); err != nil {
			return nil, "", err
		}
	}
	return models, next, nil
}

// desired is a model as handlers get it, or why it cannot be asked for.
func (t *Type) desired(m Model) (Model, error) {
	m, err := t.Schema.Coerce(m)
	if err != nil {
		return nil, Errorf(InvalidRequest, "%v", err)
	}
	err = t.Schema.CheckDesired(m)
	if problems, ok := errors.AsType[Problems](err); ok {
		return nil, Errorf(InvalidRequest, "%s", invalidModel(problems))
	}
	return m, err
}

// returned is a model as callers get it.
func (t *Type) returned(m Model) (Model, error) {
	m, err := normalize(m)
	if err != nil {
		return nil, fmt.Errorf("model of %s: %w", t.Name, err)
	}
	return Without(m, t.Schema.WriteOnly), nil
}

// notUpdatable is AWS's error of properties that only a new resource can have.
func notUpdatable(named []string) *Error {
	return Errorf(NotUpdatable, "Invalid patch update: createOnlyProperties %s cannot be updated", commaList(named))
}
