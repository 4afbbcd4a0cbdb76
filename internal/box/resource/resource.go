// Package resource is the registry of resource types, and Cloud Control API over it:
// a type has a schema, which says what a resource of it looks like, and a handler, which
// makes, reads, changes, deletes and lists resources. Stacks use the registry too.
//
// It knows what no type means. Types of services that the box has are backed by those
// services (package kind); types without a handler are documents: what was asked for is
// stored, checked against the schema, with the properties that only the service sets
// filled in. Anybody may register a schema of theirs in their account and region,
// and has documents of that type.
//
// A registered schema is untrusted: it is bounded in size, depth and what it takes to
// check a model against it, its patterns are RE2's, and it refers to nothing outside itself.
package resource

import (
	"context"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

// Model is the properties of a resource as JSON values. In what handlers get, numbers are
// json.Number; in what they return, anything that encoding/json can write will do.
type Model = map[string]any

// Request is what a handler is asked for.
type Request struct {
	// Caller is on whose behalf: account, region and role; InvokedBy names the service that
	// acts for them, if one does.
	Caller awsapi.Caller
	// Identifier is the primary identifier, its parts joined by |. Create and List have none.
	Identifier string
	// Desired is the whole model asked for, without read-only properties. For List it holds
	// the properties that narrow it, if any.
	Desired Model
	// Previous is the whole model before an Update, write-only properties included as far as
	// they are known.
	Previous Model
	// Token names the operation: it is the same at every try of one.
	Token string
	// Again says that an earlier try with this token may have been cut off anywhere. Create
	// must then find what it made and not make a second; Update and Delete must do
	// what is left to do.
	Again bool
	// Next and Max are for List: where a page begins, empty for the first, and how many
	// resources it has at most; 0 leaves that to the handler.
	Next string
	Max  int
}

// Handler does the work of a type. Its methods may block until the resource is
// stable; ctx bounds them. What callers are to be told is an *Error, or an
// *awsapi.Error of the service behind, which becomes one.
type Handler interface {
	// Create makes the resource and returns its whole model as Read gives it, the primary
	// identifier included.
	Create(ctx context.Context, r Request) (Model, error)
	// Read returns the whole model but for write-only properties.
	Read(ctx context.Context, r Request) (Model, error)
	// Update changes it in place: changes of create-only properties never get here. It returns
	// what Read does.
	Update(ctx context.Context, r Request) (Model, error)
	Delete(ctx context.Context, r Request) error
	// List returns models that have the primary identifier at least, and where the next page
	// begins; empty after the last.
	List(ctx context.Context, r Request) (models []Model, next string, err error)
}

// ErrorCode says what kind of failure a handler's was.
type ErrorCode string

// The error codes of handlers. AWS: HandlerErrorCode.
const (
	NotUpdatable           ErrorCode = "NotUpdatable"
	InvalidRequest         ErrorCode = "InvalidRequest"
	AccessDenied           ErrorCode = "AccessDenied"
	InvalidCredentials     ErrorCode = "InvalidCredentials"
	AlreadyExists          ErrorCode = "AlreadyExists"
	NotFound               ErrorCode = "NotFound"
	ResourceConflict       ErrorCode = "ResourceConflict"
	Throttling             ErrorCode = "Throttling"
	ServiceLimitExceeded   ErrorCode = "ServiceLimitExceeded"
	NotStabilized          ErrorCode = "NotStabilized"
	GeneralService         ErrorCode = "GeneralServiceException"
	ServiceInternalError   ErrorCode = "ServiceInternalError"
	ServiceTimeout         ErrorCode = "ServiceTimeout"
	NetworkFailure         ErrorCode = "NetworkFailure"
	InternalFailure        ErrorCode = "InternalFailure"
	UnauthorizedTaggingOps ErrorCode = "UnauthorizedTaggingOperation"
)

// Error is a failure that the caller of an operation is told.
type Error struct {
	Code    ErrorCode
	Message string
}

// Error returns the message and the code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%s)", e.Message, e.Code) }

// Errorf returns an Error.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the Error that err is or wraps; empty without one.
func CodeOf(err error) ErrorCode {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

// Dispatcher calls an operation of a service as the caller: *awsapi.Handler.
type Dispatcher interface {
	Invoke(ctx context.Context, c awsapi.Caller, service, operation string, in any) (any, error)
}

// Type is a resource type.
type Type struct {
	Name   string // AWS::SQS::Queue
	Schema *Schema
	// Handler is nil for a document type.
	Handler Handler
	// Ref is what Ref in a template stands for; nil: the primary identifier.
	Ref func(Model) string
}

// Identifier is the primary identifier of a resource, its parts joined by |. It returns
// an error that names the part the model lacks.
func (t *Type) Identifier(m Model) (string, error) { return t.Schema.Identifier(m) }

// RefValue is what Ref in a template stands for.
func (t *Type) RefValue(m Model) (string, error) {
	if t.Ref != nil {
		return t.Ref(m), nil
	}
	return t.Identifier(m)
}
