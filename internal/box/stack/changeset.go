package stack

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/store"
)

// ChangeSet is a change of a stack that was worked out and can be executed. It is never changed.
type ChangeSet struct {
	Name, UUID  string
	Kind        string // CREATE or UPDATE
	Status      string // CREATE_COMPLETE or FAILED
	Reason      string
	Execution   string // see below
	Description string
	OnFailure   string // of the creation: ROLLBACK, DO_NOTHING or DELETE; empty: ROLLBACK
	Config      Config
	Changes     []Change
	Created     int64 // unix milliseconds

	id, stackID   int64
	token, digest string
}

// How far the execution of a change set is.
const (
	executable        = cloudformation.ExecutionStatusAvailable
	notExecutable     = cloudformation.ExecutionStatusUnavailable
	executeInProgress = cloudformation.ExecutionStatusExecuteInProgress
	executeComplete   = cloudformation.ExecutionStatusExecuteComplete
	executeFailed     = cloudformation.ExecutionStatusExecuteFailed
)

// ARN returns the change set's id. AWS: arn:aws:cloudformation:REGION:ACCOUNT:changeSet/NAME/UUID.
func (cs *ChangeSet) ARN(r Ref) string { return arnPrefix(r, "changeSet") + cs.Name + "/" + cs.UUID }

// changeSetRequest asks for a change set.
type changeSetRequest struct {
	name, description, onFailure string
	kind                         string
	stack                        string
	change                       change
	token, digest                string
	// answered is told of the change set in the transaction that makes it.
	answered func(*Stack, *ChangeSet)
}

// noChanges is AWS's reason of a change set that would do nothing.
const noChanges = "The submitted information didn't contain changes. Submit different information to create a change set."

// createChangeSet works out what a change would do, and keeps it. AWS: a stack that is not there yet comes to be, with nothing
// in it, in the status REVIEW_IN_PROGRESS.
func (s *Stacks) createChangeSet(ctx context.Context, q changeSetRequest) (err error) {
	for range attempts {
		if err = s.tryChangeSet(ctx, q); !errors.Is(err, errChanged) {
			break
		}
	}
	return err
}

func (s *Stacks) tryChangeSet(ctx context.Context, q changeSetRequest) error {
	c := awsapi.CallerFrom(ctx)
	st, err := s.find(ctx, s.db, c, q.stack)
	if errors.Is(err, errGone) || err == nil && st.Status == DeleteComplete {
		st, err = nil, nil
	}
	if err != nil {
		return err
	}
	if st != nil {
		again, err := s.askedForChangeSet(ctx, st, q)
		if again || err != nil {
			return err
		}
	}
	if err := checkChangeSet(st, q); err != nil {
		return err
	}
	cs, p, err := s.newChangeSet(ctx, c, st, q)
	if err != nil {
		return err
	}
	err = s.db.Update(ctx, func(tx *store.Tx) error { return s.addChangeSet(ctx, tx, st, p, cs, q) })
	if store.IsUnique(err) { // it, or its stack, was made meanwhile
		return errChanged
	}
	return err
}

// askedForChangeSet answers a request that was made before.
func (s *Stacks) askedForChangeSet(ctx context.Context, st *Stack, q changeSetRequest) (bool, error) {
	cs, found, err := s.selectChangeSet(ctx, s.db, st.id, q.name)
	if err != nil || !found {
		return false, err
	}
	if q.token == "" || cs.token != q.token || cs.digest != q.digest {
		return false, errChangeSetExists(q.name)
	}
	q.answered(st, cs)
	return true, nil
}

// checkChangeSet says why a stack cannot have a change set of the kind.
func checkChangeSet(st *Stack, q changeSetRequest) error {
	switch {
	case q.kind == cloudformation.ChangeSetTypeCreate && st == nil:
		if !validName.MatchString(q.stack) {
			return errStackName(q.stack)
		}
	case st == nil:
		return errStackMissing(q.stack)
	case q.kind == cloudformation.ChangeSetTypeCreate && st.Status != ReviewInProgress:
		return invalid("Stack [%s] already exists and cannot be created again with the changeSet [%s].", st.Name, q.name)
	case q.kind == cloudformation.ChangeSetTypeUpdate && !st.Status.updatable():
		return errNotUpdatable(st)
	}
	return nil
}

func (s *Stacks) newChangeSet(ctx context.Context, c awsapi.Caller, st *Stack, q changeSetRequest) (*ChangeSet, *prepared, error) {
	p, err := s.prepare(ctx, c, q.stack, st, q.change)
	if err != nil {
		return nil, nil, err
	}
	cs := &ChangeSet{
		Name: q.name, UUID: uuid.NewString(), Kind: q.kind, Status: cloudformation.ChangeSetStatusCreateComplete, Execution: executable,
		Description: q.description, OnFailure: q.onFailure, Config: p.config, Created: s.now(), token: q.token, digest: q.digest,
	}
	before := st
	if q.kind == cloudformation.ChangeSetTypeCreate {
		before = nil
	}
	changes, work, err := s.plan(ctx, before, p)
	switch missing, isMissing := errors.AsType[missingImport](err); {
	case isMissing:
		cs.fail(missing.Error())
	case err != nil:
		return nil, nil, err
	case !work:
		cs.fail(noChanges)
	default:
		cs.Changes = changes
	}
	return cs, p, nil
}

// fail makes it one that cannot be executed.
func (cs *ChangeSet) fail(reason string) {
	cs.Status, cs.Reason, cs.Execution = cloudformation.ChangeSetStatusFailed, reason, notExecutable
}

// addChangeSet stores a change set, and the stack that it is of if that is new.
func (s *Stacks) addChangeSet(ctx context.Context, tx *store.Tx, st *Stack, p *prepared, cs *ChangeSet, q changeSetRequest) error {
	if st == nil {
		made, err := s.review(ctx, tx, p)
		if err != nil {
			return err
		}
		st = made
	} else {
		now, err := s.again(ctx, tx, st)
		if err != nil {
			return err
		}
		if now.operation != st.operation || now.Status != st.Status {
			return errChanged
		}
	}
	n, err := countChangeSets(ctx, tx, st.id)
	if err != nil {
		return err
	}
	if n >= maxChangeSets {
		return cloudformation.ErrLimitExceededException("ChangeSet limit exceeded for stack %s: it has %d. Delete some.", st.Name, n)
	}
	row := *cs
	row.stackID = st.id
	q.answered(st, &row)
	return s.insertChangeSet(ctx, tx, &row)
}

// review makes the stack of a change set that is to create it.
func (s *Stacks) review(ctx context.Context, tx *store.Tx, p *prepared) (*Stack, error) {
	if err := s.checkRoom(ctx, tx, p.ref); err != nil {
		return nil, err
	}
	st := p.stack(s.now())
	st.Status, st.Reason, st.Config, st.Description = ReviewInProgress, "User Initiated", Config{}, ""
	if err := s.insertStack(ctx, tx, st); err != nil {
		return nil, err
	}
	return st, s.tell(ctx, tx, st, stackEvent(st, st.Status, st.Reason, ""))
}

// findChangeSet returns a change set by its ARN, or by its name and its stack's, with its stack.
func (s *Stacks) findChangeSet(ctx context.Context, q store.Querier, c awsapi.Caller, id, stack string) (*Stack, *ChangeSet, error) {
	r := Ref{Account: c.Account, Region: c.Region}
	if rest, isARN := strings.CutPrefix(id, arnPrefix(r, "changeSet")); isARN {
		name, uuid, _ := strings.Cut(rest, "/")
		cs, found, err := s.selectChangeSetByUUID(ctx, q, name, uuid)
		if err != nil {
			return nil, nil, err
		}
		if !found {
			return nil, nil, errNoChangeSet(id)
		}
		st, _, err := s.selectStackByNumber(ctx, q, cs.stackID)
		if err == nil && (st.Account != r.Account || st.Region != r.Region) {
			err = errNoChangeSet(id)
		}
		return st, cs, err
	}
	if stack == "" {
		return nil, nil, invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
	}
	st, err := s.find(ctx, q, c, stack)
	if errors.Is(err, errGone) {
		return nil, nil, errStackMissing(stack)
	}
	if err != nil {
		return nil, nil, err
	}
	cs, found, err := s.selectChangeSet(ctx, q, st.id, id)
	if err == nil && !found {
		err = errNoChangeSet(id)
	}
	return st, cs, err
}

// execute begins the operation that a change set has worked out. AWS: the other change sets of the stack are deleted.
func (s *Stacks) execute(ctx context.Context, id, stack string, disableRollback *bool, retainExceptOnCreate bool, token, digest string) error {
	c := awsapi.CallerFrom(ctx)
	return s.db.Update(ctx, func(tx *store.Tx) error {
		st, cs, err := s.findChangeSet(ctx, tx, c, id, stack)
		if err != nil {
			return err
		}
		q := request{token: token, digest: digest, options: options{OnFailure: cs.OnFailure, DeleteNew: retainExceptOnCreate, ChangeSet: cs.id}}
		k := kind(cs.Kind)
		if same, err := s.asked(ctx, tx, st, k, q); same || err != nil {
			return err
		}
		if err := checkExecute(st, cs); err != nil {
			return err
		}
		if err := deleteChangeSets(ctx, tx, st.id, cs.id); err != nil {
			return err
		}
		if err := updateExecution(ctx, tx, cs.id, executeInProgress); err != nil {
			return err
		}
		next := *st
		next.Config, next.ChangeSet = cs.Config, cs.ARN(st.Ref)
		if next.Description, err = descriptionOf(cs.Config.Template); err != nil {
			return err
		}
		next.Config.RetainExceptOnCreate = retainExceptOnCreate
		if disableRollback != nil {
			next.Config.DisableRollback = *disableRollback
		}
		if next.Config.DisableRollback {
			q.options.OnFailure = doNothing
		}
		var previous *Config
		if k == update {
			previous = &st.Config
		}
		return s.begin(ctx, tx, &next, k, previous, q)
	})
}

// checkExecute says why a change set cannot be executed.
func checkExecute(st *Stack, cs *ChangeSet) error {
	switch {
	case cs.Status != cloudformation.ChangeSetStatusCreateComplete:
		return cloudformation.ErrInvalidChangeSetStatusException("ChangeSet [%s] cannot be executed in its current status of [%s]", cs.ARN(st.Ref), cs.Status)
	case cs.Execution != executable:
		return cloudformation.ErrInvalidChangeSetStatusException("ChangeSet [%s] cannot be executed in its current execution status of [%s]", cs.ARN(st.Ref), cs.Execution)
	case kind(cs.Kind) == create && st.Status != ReviewInProgress, kind(cs.Kind) == update && !st.Status.updatable():
		return errNotUpdatable(st)
	}
	return nil
}

// dropChangeSet deletes a change set. Deleting what is not there is no error.
func (s *Stacks) dropChangeSet(ctx context.Context, id, stack string) error {
	return s.db.Update(ctx, func(tx *store.Tx) error {
		st, cs, err := s.findChangeSet(ctx, tx, awsapi.CallerFrom(ctx), id, stack)
		if awsapi.HasCode(err, cloudformation.CodeChangeSetNotFoundException) {
			return nil
		}
		if err != nil {
			return err
		}
		if cs.Execution == executeInProgress {
			return cloudformation.ErrInvalidChangeSetStatusException("ChangeSet [%s] cannot be deleted in its current execution status of [%s]", cs.ARN(st.Ref), cs.Execution)
		}
		return deleteChangeSet(ctx, tx, cs.id)
	})
}
