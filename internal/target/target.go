// Package target invokes the targets of rules: one file for each kind, and the
// guarded HTTP client through which every call to a user's address goes. It
// makes one attempt and says how it failed.
//
// It does not retry, queue or dead-letter: package delivery does, by what the
// Failure says.
package target

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// Timeout is how long one attempt may take. AWS: 5 seconds for API
// destinations.
const Timeout = 5 * time.Second

// Attempt is one try to hand one event to one target.
type Attempt struct {
	Subscription *bus.Subscription
	Record       *event.Record
	// Body is what the target gets: the event, or what its input makes of it.
	Body []byte
	// Status, if set, is where the HTTP status goes that an API destination answers.
	Status *int
}

// Buses is what targets need of the bus: connections and forwarding.
type Buses interface {
	// Invocation returns where and how to call an API destination, with the
	// current credentials.
	Invocation(ctx context.Context, apiDestinationARN string) (*bus.Invocation, error)
	// ConnectionAuthorized and ConnectionFailed note how a token request of a
	// connection went.
	ConnectionAuthorized(ctx context.Context, connectionARN string, version int64) error
	ConnectionFailed(ctx context.Context, connectionARN string, version int64, reason string, rejected bool) error
	// Forward puts the event on another bus.
	Forward(ctx context.Context, rec *event.Record, from *bus.Subscription, to event.BusRef) error
}

// Archives keep events.
type Archives interface {
	// Archive returns nil once the event is durable in the archive that the
	// subscription's managed rule belongs to.
	Archive(ctx context.Context, rec *event.Record, sub *bus.Subscription) error
}

// Options are what New's targets are invoked through. A target of a kind whose
// service is nil fails for good, and its failure says so.
type Options struct {
	// Queues, Topics, LogGroups and Functions are the box's services.
	Queues    sqs.Service
	Topics    sns.Service
	LogGroups logs.Service
	Functions Functions
	Buses     Buses
	Archives  Archives
	// HTTP is the guarded client.
	HTTP HTTP
	// Real reaches real accounts; nil: the box serves all.
	Real   Real
	Logger *slog.Logger
}

// Targets invokes targets of every kind. Use New.
type Targets struct {
	box      Services
	real     Real
	buses    Buses
	archives Archives
	http     HTTP
	tokens   *tokens
	limits   limits
	logger   *slog.Logger
}

// New returns the invoker of all kinds of targets.
func New(o Options) *Targets {
	return &Targets{
		box:  Services{Queues: o.Queues, Topics: o.Topics, LogGroups: o.LogGroups, Functions: o.Functions},
		real: o.Real, buses: o.Buses, archives: o.Archives, http: o.HTTP, logger: o.Logger,
		tokens: newTokens(o.HTTP, o.Buses, o.Logger), limits: limits{byARN: make(map[string]*rate.Limiter)},
	}
}

// notServed is the failure of a target whose kind this server does not serve.
func notServed(kind bus.TargetKind, arn string) *Failure {
	return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("Target %s cannot be invoked: this server does not serve targets of kind %v.", arn, kind)}
}

// Invoke makes one attempt and returns nil when the target took the event. Any
// error is a *Failure, or the context's own when that ended first.
func (t *Targets) Invoke(ctx context.Context, a Attempt) error {
	ctx, cancel := context.WithTimeout(ctx, Timeout)
	defer cancel()
	kind := a.Subscription.Target.Kind
	switch {
	case kind == bus.KindQueue:
		return t.sendToQueue(ctx, a)
	case kind == bus.KindFunction:
		return t.invokeFunction(ctx, a)
	case kind == bus.KindLogGroup:
		return t.putLogEvent(ctx, a)
	case kind == bus.KindAPIDestination && t.buses != nil && t.http != nil:
		return t.callAPIDestination(ctx, a)
	case kind == bus.KindBus && t.buses != nil:
		return t.forward(ctx, a)
	case kind == bus.KindTopic:
		return t.publish(ctx, a)
	case kind == bus.KindArchive && t.archives != nil:
		return t.archive(ctx, a)
	}
	return notServed(kind, a.Subscription.Target.ARN)
}

// Failure says why an attempt failed and whether another may help.
type Failure struct {
	// Code is one of AWS's ERROR_CODE values.
	Code string
	// Message is for people; AWS: it quotes the target's own answer.
	Message string
	// Retryable says that a later attempt may succeed.
	Retryable bool
	// RetryAfter is how long the target asked to be left alone; zero if it did
	// not ask.
	RetryAfter time.Duration
	// Status is the HTTP status of the target's answer, 0 without one.
	Status int
}

// Error returns the code and the message.
func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// AWS's values of ERROR_CODE that Rialto gives.
const (
	CodeConnectionFailure    = "CONNECTION_FAILURE"
	CodeCrossAccountFailed   = "CROSS_ACCOUNT_INGESTION_FAILED"
	CodeErrorFromTarget      = "ERROR_FROM_TARGET"
	CodeInternalError        = "INTERNAL_ERROR"
	CodeInvalidParameter     = "INVALID_PARAMETER"
	CodeNoPermissions        = "NO_PERMISSIONS"
	CodeNoResource           = "NO_RESOURCE"
	CodeSDKClientError       = "SDK_CLIENT_ERROR"
	CodeThrottling           = "THROTTLING"
	CodeTimeout              = "TIMEOUT"
	CodeThirdAccountHop      = "THIRD_ACCOUNT_HOP_DETECTED"
	CodeThirdRegionHop       = "THIRD_REGION_HOP_DETECTED"
	CodeTransientAssumeRole  = "TRANSIENT_ASSUME_ROLE"
	CodeUnknown              = "UNKNOWN"
	CodeFailedToAssumeRole   = "FAILED_TO_ASSUME_ROLE"
	CodeResourceLimit        = "RESOURCE_LIMIT_EXCEEDED"
	CodeCrossRegionFailed    = "CROSS_REGION_INGESTION_FAILED"
	CodeInvalidJSON          = "INVALID_JSON"
	CodeRequestRejected      = "EVENTS_IN_BATCH_REQUEST_REJECTED"
	CodeResourceExists       = "RESOURCE_ALREADY_EXISTS"
	CodeModificationConflict = "RESOURCE_MODIFICATION_COLLISION"
)

// AsFailure returns err as a *Failure: a failure we have no word for is
// retryable, since an event must not be lost to our own fault.
func AsFailure(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Failure{Code: CodeTimeout, Message: fmt.Sprintf("The target did not answer within %s.", Timeout), Retryable: true}
	}
	return &Failure{Code: CodeInternalError, Message: err.Error(), Retryable: true}
}
