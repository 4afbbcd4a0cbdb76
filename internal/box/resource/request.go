package resource

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

const (
	// keepRequests is how long a request is told about after its end. AWS: seven days.
	keepRequests = 7 * 24 * time.Hour
	// clientTokenTime is how long a client token stands for a request. AWS: 36 hours.
	clientTokenTime = 36 * time.Hour
	// maxRunning is how many operations of an account and region may be under way.
	maxRunning = 1000
	// invokedBy is what CloudTrail has for calls that a request leads to.
	invokedBy = "cloudcontrolapi.amazonaws.com"
)

// Sealer encrypts what is asked for while it waits: it may hold passwords.
type Sealer interface {
	Seal(purpose string, plain []byte) []byte
	Open(purpose string, sealed []byte) ([]byte, error)
}

// operation is one request of Cloud Control: what is to be done with a resource, and how far it is.
type operation struct {
	Token           string
	Account, Region string
	Operation       string // CREATE, UPDATE or DELETE
	TypeName        string
	Identifier      string // empty while it is not known
	Status          string
	ErrorCode       ErrorCode
	Message         string
	Model           string // JSON; empty while there is none to tell
	// Created, Updated and RetryAt are in unix milliseconds; RetryAt is 0 where no try is to come.
	Created, Updated, RetryAt int64

	id          int64
	clientToken string
	fingerprint string
	caller      storedCaller
	tries       int
}

// input is what an operation was asked for.
type input struct {
	Desired, Previous Model `json:",omitempty"`
}

// ended says whether the status is final.
func (o *operation) ended() bool {
	switch o.Status {
	case cloudcontrol.OperationStatusSuccess, cloudcontrol.OperationStatusFailed, cloudcontrol.OperationStatusCancelComplete:
		return true
	}
	return false
}

// begin stores an operation and the job that carries it out, or finds the one that the same client
// token stands for. answer is called in the transaction with what the caller is to be told.
func (g *Registry) begin(ctx context.Context, o operation, in input, answer func(*operation)) error {
	text, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("input of a request: %w", err)
	}
	o.Token, o.Status = uuid.NewString(), cloudcontrol.OperationStatusPending
	o.Created = g.now()
	o.Updated = o.Created
	sealed := g.opt.Sealer.Seal(sealPurpose(o.Token), text)
	return g.db.Update(ctx, func(tx *store.Tx) error {
		if have, err := g.repeated(ctx, tx, &o); err != nil || have != nil {
			if have != nil {
				answer(have)
			}
			return err
		}
		if err := admit(ctx, tx, &o); err != nil {
			return err
		}
		answer(&o)
		if err := insertRequest(ctx, tx, &o, sealed); err != nil {
			return err
		}
		return g.jobs.Enqueue(ctx, tx, work.NewJob{Queue: requestQueue, Key: o.Token})
	})
}

// repeated finds the request that the client token of another one stands for already.
func (g *Registry) repeated(ctx context.Context, db store.Querier, o *operation) (*operation, error) {
	if o.clientToken == "" {
		return nil, nil
	}
	have, err := findRepeated(ctx, db, o.Account, o.Region, o.clientToken, g.opt.Now().Add(-clientTokenTime).UnixMilli())
	if err == nil && have != nil && have.fingerprint != o.fingerprint {
		return nil, cloudcontrol.ErrClientTokenConflictException("The client token %s was used for another request before", o.clientToken)
	}
	return have, err
}

// admit checks that the resource is free and that there are not too many operations.
func admit(ctx context.Context, tx *store.Tx, o *operation) error {
	if o.Identifier != "" {
		busy, err := isBusy(ctx, tx, o.Account, o.Region, o.TypeName, o.Identifier)
		if err != nil {
			return err
		}
		if busy {
			return errBusy(o.TypeName, o.Identifier)
		}
	}
	n, err := countRunning(ctx, tx, o.Account, o.Region)
	if err == nil && n >= maxRunning {
		err = cloudcontrol.ErrThrottlingException("%d operations are under way in this account and region", n)
	}
	return err
}

func errBusy(typeName, identifier string) error {
	return cloudcontrol.ErrConcurrentOperationException("Another operation on the resource of type '%s' with identifier '%s' has not ended yet", typeName, shorten(identifier))
}

func sealPurpose(token string) string { return "resource request " + token }

// fingerprint tells requests apart that have the same client token.
func fingerprint(parts ...string) string {
	sum := sha256.Sum256([]byte(encode(parts)))
	return hex.EncodeToString(sum[:])
}

// cancel asks for the end of a request. answer is called in the transaction with what the
// caller is to be told.
func (g *Registry) cancel(ctx context.Context, c awsapi.Caller, token string, answer func(*operation)) error {
	err := g.db.Update(ctx, func(tx *store.Tx) error {
		o, err := findRequest(ctx, tx, c.Account, c.Region, token)
		switch {
		case err != nil:
			return err
		case o == nil:
			return errNoRequest(token)
		case o.ended() || o.Status == cloudcontrol.OperationStatusCancelInProgress:
			return awsapi.ValidationException("Request %s cannot be canceled: its status is %s, and only PENDING and IN_PROGRESS requests can be", token, o.Status)
		}
		o.Updated, o.RetryAt = g.now(), 0
		if o.Status == cloudcontrol.OperationStatusPending {
			o.Status = cloudcontrol.OperationStatusCancelComplete
			if _, err := g.jobs.Cancel(ctx, tx, requestQueue, token); err != nil {
				return err
			}
		} else {
			o.Status = cloudcontrol.OperationStatusCancelInProgress
			// Between tries nothing runs that could see it.
			if err := g.jobs.Enqueue(ctx, tx, work.NewJob{Queue: requestQueue, Key: token, Replace: true}); err != nil {
				return err
			}
		}
		answer(o)
		return saveProgress(ctx, tx, o)
	})
	if err == nil {
		g.interrupt(token)
	}
	return err
}

// interrupt ends the handler of a request that runs in this process.
func (g *Registry) interrupt(token string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if cancel := g.running[token]; cancel != nil {
		cancel(errCancelled)
	}
}

// errNoRequest is of a token that names no request of the caller's account and region.
func errNoRequest(token string) error {
	return cloudcontrol.ErrRequestTokenNotFoundException("Request with token %s was not found", token)
}

// clean is a message as it is stored: bounded, and text that PostgreSQL takes.
func clean(message string) string {
	const most = 1024 // AWS: 2048 characters at most
	if len(message) > most {
		message = message[:most] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(message, ""), "\x00", "")
}
