package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// operationQueue holds a job for each stack with an operation, under its number.
const operationQueue = "stack"

// kind is what an operation does.
type kind string

const (
	create kind = "CREATE"
	update kind = "UPDATE"
	remove kind = "DELETE"
)

// phase is how far an operation is.
type phase string

const (
	// applying makes and changes resources as the template says.
	applying phase = "apply"
	// cleaning deletes what the stack no longer wants, after an update or its rollback.
	cleaning phase = "cleanup"
	// restoringAll brings what an update changed back to what it was.
	restoringAll phase = "restore"
	// discarding deletes what a failed creation made.
	discarding phase = "discard"
	// deletingAll deletes the stack's resources.
	deletingAll phase = "delete"
	ended       phase = "ended"
)

// The values of OnFailure.
const (
	rollBack  = "ROLLBACK"
	doNothing = "DO_NOTHING"
	deleteAll = "DELETE"
)

// operation is an operation on a stack as it was read.
type operation struct {
	id, stackID int64
	kind        kind
	phase       phase
	// token is the caller's ClientRequestToken and digest that of what was asked for.
	token, digest string
	caller        awsapi.Caller
	options       options
	previous      *Config // the stack's before; nil for none
	run           string
	started, done int64 // unix milliseconds
}

// options are an operation's, as they are stored.
type options struct {
	// OnFailure is rollBack, doNothing or deleteAll.
	OnFailure string `json:",omitempty"`
	// DeleteNew: what is made is deleted at a rollback whatever its DeletionPolicy.
	DeleteNew bool `json:",omitempty"`
	// Retain are the logical ids of resources that a deletion leaves alone.
	Retain []string `json:",omitempty"`
	// Force: what cannot be deleted is left alone.
	Force bool `json:",omitempty"`
	// Deadline is when a creation has taken too long, in unix milliseconds; 0: never.
	Deadline int64 `json:",omitempty"`
	// ChangeSet is the number of the change set that is executed, 0 for none.
	ChangeSet int64 `json:",omitempty"`
}

// request is what a caller asks of a stack, beside its config.
type request struct {
	token, digest string
	options       options
}

var (
	// errChanged is of a stack that is not what it was when an operation was prepared: prepare it anew.
	errChanged = errors.New("the stack has changed meanwhile")
	// errSuperseded is of an operation that another process, or another operation, has taken over.
	errSuperseded = errors.New("the operation is no longer this run's")
)

// begin stores an operation on a stack and its first event, and has it carried out. st is the stack as it is in the
// transaction; its config is what the operation applies.
func (s *Stacks) begin(ctx context.Context, tx *store.Tx, st *Stack, k kind, previous *Config, q request) error {
	op := &operation{
		stackID: st.id, kind: k, phase: applying, token: q.token, digest: q.digest,
		caller: onBehalf(awsapi.CallerFrom(ctx)), options: q.options, previous: previous, started: s.now(),
	}
	next := *st
	switch k {
	case create:
		next.Status = CreateInProgress
		if st.Config.TimeoutMinutes > 0 {
			op.options.Deadline = s.opt.Now().Add(time.Duration(st.Config.TimeoutMinutes) * time.Minute).UnixMilli()
		}
	case update:
		next.Status, next.Updated = UpdateInProgress, s.now()
	case remove:
		next.Status, op.phase = DeleteInProgress, deletingAll
	}
	next.Reason = "User Initiated"
	if err := s.insertOperation(ctx, tx, op); err != nil {
		return err
	}
	if err := deleteOldOperations(ctx, tx, st.id, maxRemembered); err != nil {
		return err
	}
	next.operation = op.id
	if err := s.updateStack(ctx, tx, &next); err != nil {
		return err
	}
	if err := s.tell(ctx, tx, &next, stackEvent(&next, next.Status, next.Reason, op.token)); err != nil {
		return err
	}
	return s.jobs.Enqueue(ctx, tx, work.NewJob{Queue: operationQueue, Key: strconv.FormatInt(st.id, 10), Replace: true})
}

// onBehalf is the caller as an operation's own calls have it.
func onBehalf(c awsapi.Caller) awsapi.Caller {
	return awsapi.Caller{
		AccessKeyID: c.AccessKeyID, Account: c.Account, Region: c.Region, Role: c.Role,
		SourceIP: invokedBy, UserAgent: invokedBy, InvokedBy: invokedBy,
	}
}

// invokedBy is the service that calls on behalf of who asked for an operation.
const invokedBy = "cloudformation.amazonaws.com"

// asked looks for an operation that the stack had already been asked for with the token. It returns true for the same request,
// and an error for another one. AWS: "operations that are initiated with the same client request token".
func (s *Stacks) asked(ctx context.Context, tx *store.Tx, st *Stack, k kind, q request) (bool, error) {
	if q.token == "" {
		return false, nil
	}
	digest, was, found, err := selectToken(ctx, tx, st.id, q.token)
	if err != nil || !found {
		return false, err
	}
	if was == k && digest == q.digest {
		return true, nil
	}
	return false, errTokenUsed(q.token)
}

// create makes a stack from what was prepared. AWS: AlreadyExistsException, LimitExceededException.
func (s *Stacks) create(ctx context.Context, p *prepared, q request) (st *Stack, err error) {
	err = s.db.Update(ctx, func(tx *store.Tx) error {
		st = p.stack(s.now())
		have, found, err := s.selectStack(ctx, tx, st.Ref, "")
		if err != nil {
			return err
		}
		if found && have.operation != 0 {
			same, err := s.asked(ctx, tx, have, create, q)
			if same {
				st = have
				return p.answer(st)
			}
			if err != nil {
				return err
			}
		}
		if found {
			return errExists(st.Name)
		}
		if err := s.checkRoom(ctx, tx, st.Ref); err != nil {
			return err
		}
		if err := s.insertStack(ctx, tx, st); err != nil {
			return err
		}
		if err := p.answer(st); err != nil {
			return err
		}
		return s.begin(ctx, tx, st, create, nil, q)
	})
	if store.IsUnique(err) {
		err = errExists(p.ref.Name) // another node made it meanwhile
	}
	return st, err
}

func (s *Stacks) checkRoom(ctx context.Context, tx *store.Tx, r Ref) error {
	n, err := countStacks(ctx, tx, r.Account, r.Region)
	if err == nil && n >= maxStacks {
		err = errTooManyStacks(r.Account)
	}
	return err
}

// update changes a stack. st is the stack that prepared was made for. It returns errChanged when it is no longer.
func (s *Stacks) update(ctx context.Context, st *Stack, p *prepared, q request) error {
	return s.db.Update(ctx, func(tx *store.Tx) error {
		now, err := s.again(ctx, tx, st)
		if err != nil {
			return err
		}
		same, err := s.asked(ctx, tx, now, update, q)
		if same || err != nil {
			return errors.Join(err, p.answer(now))
		}
		if !now.Status.updatable() {
			return errNotUpdatable(now)
		}
		if now.operation != st.operation {
			return errChanged
		}
		if err := deleteChangeSets(ctx, tx, now.id, 0); err != nil {
			return err
		}
		next := *now
		next.Config, next.Description = p.config, p.description
		if err := p.answer(&next); err != nil {
			return err
		}
		return s.begin(ctx, tx, &next, update, &now.Config, q)
	})
}

// again reads a stack as it is in the transaction.
func (s *Stacks) again(ctx context.Context, tx *store.Tx, st *Stack) (*Stack, error) {
	now, found, err := s.selectStack(ctx, tx, st.Ref, st.UUID)
	if err == nil && (!found || now.Status == DeleteComplete) {
		err = errNoStack(st.Name)
	}
	return now, err
}

// delete deletes a stack with its resources. Deleting what is gone, or is being deleted, is no error.
func (s *Stacks) delete(ctx context.Context, c awsapi.Caller, id string, q request) error {
	return s.db.Update(ctx, func(tx *store.Tx) error {
		st, err := s.find(ctx, tx, c, id)
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil || st.Status == DeleteComplete || st.Status == DeleteInProgress {
			return err
		}
		same, err := s.asked(ctx, tx, st, remove, q)
		if same || err != nil {
			return err
		}
		if err := s.checkDelete(ctx, tx, st, q.options); err != nil {
			return err
		}
		if err := deleteExports(ctx, tx, st.id); err != nil {
			return err
		}
		if err := deleteChangeSets(ctx, tx, st.id, 0); err != nil {
			return err
		}
		return s.begin(ctx, tx, st, remove, nil, q)
	})
}

// checkDelete says why a stack cannot be deleted now.
func (s *Stacks) checkDelete(ctx context.Context, tx *store.Tx, st *Stack, o options) error {
	// AWS: a creation can be given up by deleting the stack; nothing else is stopped on the way.
	if st.Status.Busy() && st.Status != CreateInProgress {
		return errNotDeletable(st)
	}
	if (len(o.Retain) > 0 || o.Force) && st.Status != DeleteFailed {
		return errOnlyAfterFailure(st)
	}
	all, err := s.selectResources(ctx, tx, st.id)
	if err != nil {
		return err
	}
	for _, id := range o.Retain {
		if !slices.ContainsFunc(all, func(r *Resource) bool { return r.LogicalID == id && !r.gone }) {
			return errNothingToRetain(st, id)
		}
	}
	name, users, err := firstImported(ctx, tx, st, nil)
	if err == nil && name != "" {
		err = errExportUsed("deleted", name, users)
	}
	return err
}

// label names an operation in errors and logs.
func (op *operation) label(st *Stack) string {
	return fmt.Sprintf("%s of stack %s", op.kind, st.ARN())
}
