package resource

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	requestQueue = "resource.request"
	// maxOperations is how many operations run at once in this process.
	maxOperations = 16
	// A failed try that may go better is made again after a pause that grows.
	retryBase, retryCap = 500 * time.Millisecond, 30 * time.Second
	// lookForCancel is how often a running operation looks whether another node was asked to cancel it.
	lookForCancel = time.Second
)

var errCancelled = errors.New("the request was cancelled")

// operate carries out one request, or goes on with it where another process was cut off.
func (g *Registry) operate(ctx context.Context, j work.Job) work.Outcome {
	o, in, err := g.start(ctx, j.Key)
	if err != nil {
		return work.Retry(err.Error())
	}
	if o == nil || o.ended() {
		return work.Done()
	}
	deadline := time.UnixMilli(o.Created).Add(g.opt.OperationTime)
	if g.opt.Now().After(deadline) {
		o.fail(ServiceTimeout, fmt.Sprintf("The operation did not end within %s", g.opt.OperationTime))
		return g.finish(ctx, o)
	}
	m, err := g.attempt(ctx, o, in, deadline)
	switch {
	case err == nil:
		o.succeed(m)
	case ctx.Err() != nil:
		return work.Retry("the server stopped") // and goes on when it starts again
	case errors.Is(err, errCancelled):
		o.Status, o.ErrorCode, o.Message = cloudcontrol.OperationStatusCancelComplete, "", ""
	case g.opt.Now().Before(deadline) && transient(err):
		return g.retry(ctx, o, err)
	default:
		g.failed(o, err)
	}
	return g.finish(ctx, o)
}

// start reads a request and notes that a try begins. A request that is gone is nil.
func (g *Registry) start(ctx context.Context, token string) (o *operation, in input, err error) {
	err = g.db.Update(ctx, func(tx *store.Tx) error {
		in = input{}
		if o, err = requestByToken(ctx, tx, token); err != nil || o == nil || o.ended() {
			return err
		}
		if o.Status == cloudcontrol.OperationStatusCancelInProgress {
			// Its handler was cut off, or is between two tries.
			o.Status, o.Updated = cloudcontrol.OperationStatusCancelComplete, g.now()
			return saveProgress(ctx, tx, o)
		}
		sealed, err := sealedInput(ctx, tx, token)
		if err != nil {
			return err
		}
		text, err := g.opt.Sealer.Open(sealPurpose(token), sealed)
		if err != nil {
			return fmt.Errorf("input of request %s: %w", token, err)
		}
		if err := decodeInput(text, &in); err != nil {
			return fmt.Errorf("input of request %s: %w", token, err)
		}
		o.Status, o.RetryAt, o.Updated = cloudcontrol.OperationStatusInProgress, 0, g.now()
		o.ErrorCode, o.Message = "", ""
		o.tries++
		return saveProgress(ctx, tx, o)
	})
	return o, in, err
}

func decodeInput(text []byte, in *input) error {
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	return dec.Decode(in)
}

// attempt has the handler do what is asked for, until the deadline, the end of ctx or a cancel.
func (g *Registry) attempt(ctx context.Context, o *operation, in input, deadline time.Time) (Model, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx, stop := context.WithTimeoutCause(ctx, deadline.Sub(g.opt.Now()), context.DeadlineExceeded)
	defer stop()
	g.mu.Lock()
	g.running[o.Token] = cancel
	g.mu.Unlock()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		g.watch(ctx, o.Token, cancel)
	}()
	defer func() {
		cancel(nil)
		<-watched
		g.mu.Lock()
		delete(g.running, o.Token)
		g.mu.Unlock()
	}()
	m, err := g.handle(ctx, o, in)
	if err != nil && errors.Is(context.Cause(ctx), errCancelled) {
		return nil, errCancelled
	}
	return m, err
}

// watch cancels a running operation when its row says so.
func (g *Registry) watch(ctx context.Context, token string, cancel context.CancelCauseFunc) {
	t := time.NewTicker(lookForCancel)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		status, err := requestStatus(ctx, g.db, token)
		if err == nil && (status == "" || status == cloudcontrol.OperationStatusCancelInProgress) {
			cancel(errCancelled)
			return
		}
	}
}

// handle calls the registry as a stack would.
func (g *Registry) handle(ctx context.Context, o *operation, in input) (Model, error) {
	r := Request{
		Caller: o.caller.caller(), Identifier: o.Identifier, Desired: in.Desired, Previous: in.Previous,
		Token: o.Token, Again: o.tries > 1,
	}
	switch o.Operation {
	case cloudcontrol.OperationCreate:
		r.Identifier = ""
		m, err := g.Create(ctx, o.TypeName, r)
		if err != nil {
			return nil, err
		}
		t, err := g.Lookup(ctx, o.Account, o.Region, o.TypeName)
		if err != nil {
			return nil, err
		}
		o.Identifier, err = t.Identifier(m)
		return m, err
	case cloudcontrol.OperationUpdate:
		return g.Update(ctx, o.TypeName, r)
	default:
		return nil, g.Delete(ctx, o.TypeName, r)
	}
}

// transient says whether another try may go better: what the caller did wrong stays wrong.
func transient(err error) bool {
	switch CodeOf(err) {
	case "":
		return !errors.Is(err, ErrNoType) && !errors.Is(err, context.DeadlineExceeded)
	case Throttling, ServiceInternalError, NetworkFailure:
		return true
	}
	return false
}

// succeed notes that the operation was carried out.
func (o *operation) succeed(m Model) {
	o.Status, o.ErrorCode, o.Message, o.Model = cloudcontrol.OperationStatusSuccess, "", "", ""
	if m != nil {
		o.Model = EncodeModel(m)
	}
}

// fail notes why the operation was not carried out.
func (o *operation) fail(code ErrorCode, message string) {
	o.Status, o.ErrorCode, o.Message, o.Model = cloudcontrol.OperationStatusFailed, code, clean(message), ""
}

// failed notes a final error. What callers are not to be told is logged.
func (g *Registry) failed(o *operation, err error) {
	e, told := errors.AsType[*Error](err)
	switch {
	case told:
		o.fail(e.Code, e.Message)
	case errors.Is(err, ErrNoType):
		o.fail(InvalidRequest, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		o.fail(NotStabilized, fmt.Sprintf("The resource was not stable within %s", g.opt.OperationTime))
	default:
		g.opt.Logger.Error("operation on a resource failed", "request", o.Token, "type", o.TypeName, "operation", o.Operation, "error", err)
		o.fail(InternalFailure, "Internal Failure")
	}
}

// retry notes that the operation is tried again, and when.
func (g *Registry) retry(ctx context.Context, o *operation, cause error) work.Outcome {
	at := g.opt.Now().Add(work.Backoff(o.tries, retryBase, retryCap, nil))
	if CodeOf(cause) == "" {
		g.opt.Logger.Warn("operation on a resource is tried again", "request", o.Token, "type", o.TypeName, "operation", o.Operation, "error", cause)
	}
	err := g.db.Update(ctx, func(tx *store.Tx) error {
		status, err := requestStatus(ctx, tx, o.Token)
		if err != nil {
			return err
		}
		if status == cloudcontrol.OperationStatusCancelInProgress {
			return nil // the next try sees it
		}
		o.RetryAt, o.Updated = at.UnixMilli(), g.now()
		return saveProgress(ctx, tx, o)
	})
	if err != nil {
		g.opt.Logger.Warn("could not note that an operation is tried again", "request", o.Token, "error", err)
	}
	return work.RetryAt(at, cause.Error())
}

// finish stores how the operation ended.
func (g *Registry) finish(ctx context.Context, o *operation) work.Outcome {
	err := g.db.Update(ctx, func(tx *store.Tx) error {
		o.Updated, o.RetryAt = g.now(), 0
		return saveProgress(ctx, tx, o)
	})
	if err != nil {
		// The next try finds what this one did.
		return work.Retry(err.Error())
	}
	return work.Done()
}
