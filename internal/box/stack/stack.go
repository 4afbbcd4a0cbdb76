// Package stack is the box's CloudFormation: stacks of resources that are made, changed and
// deleted as their templates say, change sets, exports and stack events.
//
// It knows no resource types: those are the registry's (package resource), which it calls as whoever asked for
// the operation; and it does not read templates, which package template does. Stacks implements the
// generated cloudformation.Service.
//
// An operation on a stack is a durable job. Each step of it is stored twice, what is about to be done before
// it is done and what came of it afterwards, so that an operation whose process was killed is
// taken up again where it was: with a step that may have been made or not, which the
// registry is told (resource.Request.Again).
//
// Where AWS leaves a choice, or its choice serves only its own scale, this package decides as follows:
//   - Change sets are computed before they are answered for.
//   - A resource that is being made or changed when another one fails is let finish; AWS cancels it.
//   - A stack whose rollback of an update failed can be deleted, and nothing else.
//   - The exports of a stack are gone once its deletion has begun.
package stack

import (
	"context"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Limits. AWS's where it has one.
const (
	maxStacks     = 2000 // of an account in a region
	maxChangeSets = 100  // of a stack
	maxTags       = 50   // of a stack
	maxTopics     = 5    // notified of a stack's events
	// maxEvents is how many of a stack's events are kept, the newest.
	maxEvents = 5000
	// maxRemembered is how many operations of a stack are remembered, with their tokens.
	maxRemembered = 100
	// keepDeleted is how long deleted stacks, and all events, are kept. AWS: 90 days.
	keepDeleted = 90 * 24 * time.Hour
	// maxParallel is how many resources of a stack are made, changed or deleted at the same time.
	maxParallel = 8
	// maxOperations is how many operations a process carries out at the same time.
	maxOperations = 8
	// callTimeout bounds what a resource type may take for one resource. AWS: two hours.
	callTimeout = 2 * time.Hour
)

// Status is a stack's, as AWS names it.
type Status string

// The statuses of stacks.
const (
	ReviewInProgress                        Status = "REVIEW_IN_PROGRESS"
	CreateInProgress                        Status = "CREATE_IN_PROGRESS"
	CreateComplete                          Status = "CREATE_COMPLETE"
	CreateFailed                            Status = "CREATE_FAILED"
	RollbackInProgress                      Status = "ROLLBACK_IN_PROGRESS"
	RollbackComplete                        Status = "ROLLBACK_COMPLETE"
	RollbackFailed                          Status = "ROLLBACK_FAILED"
	UpdateInProgress                        Status = "UPDATE_IN_PROGRESS"
	UpdateCompleteCleanupInProgress         Status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
	UpdateComplete                          Status = "UPDATE_COMPLETE"
	UpdateFailed                            Status = "UPDATE_FAILED"
	UpdateRollbackInProgress                Status = "UPDATE_ROLLBACK_IN_PROGRESS"
	UpdateRollbackCompleteCleanupInProgress Status = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
	UpdateRollbackComplete                  Status = "UPDATE_ROLLBACK_COMPLETE"
	UpdateRollbackFailed                    Status = "UPDATE_ROLLBACK_FAILED"
	DeleteInProgress                        Status = "DELETE_IN_PROGRESS"
	DeleteComplete                          Status = "DELETE_COMPLETE"
	DeleteFailed                            Status = "DELETE_FAILED"

	// DeleteSkipped is of resources only: one that left its stack and was retained.
	DeleteSkipped Status = "DELETE_SKIPPED"
)

// Busy says whether an operation is being carried out.
func (s Status) Busy() bool {
	return s != ReviewInProgress && strings.HasSuffix(string(s), "_IN_PROGRESS")
}

// failed says whether a step on a resource ended badly.
func (s Status) failed() bool { return strings.HasSuffix(string(s), "_FAILED") }

// updatable says whether a stack in this status can be updated. AWS: those that failed with their resources
// preserved, too.
func (s Status) updatable() bool {
	switch s {
	case CreateComplete, UpdateComplete, UpdateRollbackComplete, CreateFailed, UpdateFailed:
		return true
	}
	return false
}

// Ref names a stack.
type Ref struct {
	Account, Region, Name string
}

// Stack is a stack as it was read. It is never changed.
type Stack struct {
	Ref
	UUID   string
	Status Status
	// Reason says why it has the status; empty if nothing is to be said.
	Reason      string
	Description string // of its template
	// Config is what it was last applied with, or is being applied with.
	Config  Config
	Outputs []Output
	// ChangeSet is the ARN of the change set executed last; empty without one.
	ChangeSet string
	// Created, Updated and Deleted are in unix milliseconds; 0 for never.
	Created, Updated, Deleted int64

	id, operation int64
}

// ARN returns the stack's id. AWS: arn:aws:cloudformation:REGION:ACCOUNT:stack/NAME/UUID.
func (s *Stack) ARN() string { return stackARN(s.Ref, s.UUID) }

func stackARN(r Ref, uuid string) string { return arnPrefix(r, "stack") + r.Name + "/" + uuid }

func arnPrefix(r Ref, kind string) string {
	return "arn:" + event.Partition(r.Region) + ":cloudformation:" + r.Region + ":" + r.Account + ":" + kind + "/"
}

// Config is what a stack is made from.
type Config struct {
	Template   string
	Parameters []Parameter
	Tags       []Tag
	// Capabilities are those that the caller acknowledged.
	Capabilities []string
	// Topics are the ARNs of the SNS topics that are told of the stack's events.
	Topics  []string
	RoleARN string
	// TimeoutMinutes bounds its creation; 0: no limit.
	TimeoutMinutes       int32
	DisableRollback      bool
	RetainExceptOnCreate bool
}

// Parameter is a parameter with its value in use, given or the default.
type Parameter struct {
	Key, Value string
	// Shown is what may be shown of the value.
	Shown string
}

// Tag is a tag of a stack, and of those of its resources that can have tags.
type Tag struct {
	Key, Value string
}

// Output is an output of a stack.
type Output struct {
	Key, Value, Description string
	// Export is the name that other stacks know it by; empty if they do not.
	Export string
}

// parameters returns the values by name, as templates take them.
func (c *Config) parameters() map[string]string {
	values := make(map[string]string, len(c.Parameters))
	for _, p := range c.Parameters {
		values[p.Key] = p.Value
	}
	return values
}

// Registry is what stacks need of the registry of resource types; a *resource.Registry.
type Registry interface {
	// Lookup returns a type; without one the error wraps resource.ErrNoType.
	Lookup(ctx context.Context, account, region, name string) (*resource.Type, error)
	// Create, Update and Delete check the request against the type's schema and make it.
	Create(ctx context.Context, typeName string, r resource.Request) (resource.Model, error)
	Read(ctx context.Context, typeName string, r resource.Request) (resource.Model, error)
	Update(ctx context.Context, typeName string, r resource.Request) (resource.Model, error)
	Delete(ctx context.Context, typeName string, r resource.Request) error
}

// Sealer encrypts what may hold secrets.
type Sealer interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// Dispatcher calls an operation of a service as the caller: *awsapi.Handler.
type Dispatcher interface {
	Invoke(ctx context.Context, c awsapi.Caller, service, operation string, in any) (any, error)
}

// Options configure Stacks.
type Options struct {
	// Registry, Types and Sealer are required.
	Registry Registry
	Types    Types
	Sealer   Sealer
	// Services is called to notify topics; nil refuses NotificationARNs.
	Services Dispatcher
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Stacks are all stacks of this installation. Its methods are safe for concurrent use.
type Stacks struct {
	db   *store.DB
	jobs *work.Runner
	opt  Options

	// step, if set, is called around each step of an operation: tests end the process there.
	step func(where string) error
}

// New returns the stacks kept in db. It registers its job queues with jobs, whose Run carries out operations and
// must not have begun. Whoever calls it also runs [Stacks.Run].
func New(db *store.DB, jobs *work.Runner, opt Options) *Stacks {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := &Stacks{db: db, jobs: jobs, opt: opt}
	jobs.Handle(operationQueue, work.QueueOptions{Concurrency: maxOperations, BackoffCap: time.Minute}, s.carryOut)
	jobs.Handle(notifyQueue, work.QueueOptions{MaxAge: notifyFor, OnGiveUp: s.notNotified}, s.notify)
	return s
}

// now is the clock in unix milliseconds, as the tables hold times.
func (s *Stacks) now() int64 { return s.opt.Now().UnixMilli() }

var (
	// validName is AWS's form of a stack's name.
	validName = regexp.MustCompile(`^[a-zA-Z][-a-zA-Z0-9]{0,127}$`)
	validUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// parseID reads what a caller names a stack by: its name, or its ARN, of the caller's account and region.
// uuid is empty for a name. ok is false for what cannot be a stack's.
func parseID(c awsapi.Caller, id string) (r Ref, uuid string, ok bool) {
	r = Ref{Account: c.Account, Region: c.Region, Name: id}
	rest, isARN := strings.CutPrefix(id, arnPrefix(r, "stack"))
	if !isARN {
		return r, "", validName.MatchString(id)
	}
	r.Name, uuid, _ = strings.Cut(rest, "/")
	return r, uuid, validName.MatchString(r.Name) && validUUID.MatchString(uuid)
}

// errGone is that of a stack that is not there.
var errGone = errors.New("no such stack")

// find returns the stack with the name, or the id; deleted ones are found by id. It returns errGone without one.
func (s *Stacks) find(ctx context.Context, q store.Querier, c awsapi.Caller, id string) (*Stack, error) {
	r, uuid, ok := parseID(c, id)
	if !ok {
		return nil, errGone
	}
	st, found, err := s.selectStack(ctx, q, r, uuid)
	if err == nil && !found {
		err = errGone
	}
	return st, err
}
