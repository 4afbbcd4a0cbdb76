package target

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// Services are those through which the targets of an account are invoked: the
// box's, or AWS's own. A kind whose service is nil is not served there.
type Services struct {
	Queues    sqs.Service
	Topics    sns.Service
	LogGroups logs.Service
	Functions Functions
	// Buses takes the events for the buses of a real account. The box's are reached
	// through Options.Buses.
	Buses events.Service
}

// Functions invokes functions.
type Functions interface {
	// Invoke hands the event to the function, which may be named with a version or
	// an alias, to be run later. It returns nil once that is accepted. The box
	// finds in ctx who calls, and the rule as the auth.Source.
	Invoke(ctx context.Context, functionARN string, event []byte) error
}

// Real reaches the AWS accounts that are configured as real. It is asked at each
// attempt and must be quick.
type Real interface {
	// Services returns the services of the account in the region, or nil for an
	// account that is not configured as real: the box serves it. Their errors are
	// those of the SDK.
	Services(ctx context.Context, account, region string) (*Services, error)
	// AccountFailure says what an error of Services or of one of the services means
	// if it came before AWS was asked: from the account's settings or its
	// credentials. It returns nil for any other.
	AccountFailure(err error) *Failure
}

// servicesFor decides, for each target and dead-letter queue alike, whether the
// box or a real account has it. AWS sees our credentials and not the rule, so that
// a resource policy there cannot decide: a real account is open to rules of its
// own, and to those of the installation's own account.
func (t *Targets) servicesFor(ctx context.Context, a Attempt, at arn) (*Services, error) {
	if t.real == nil {
		return &t.box, nil
	}
	services, err := t.real.Services(ctx, at.account, at.region)
	if err != nil {
		if f := t.real.AccountFailure(err); f != nil {
			return nil, f
		}
		return nil, AsFailure(fmt.Errorf("reach account %s: %w", at.account, err))
	}
	if services == nil {
		return &t.box, nil
	}
	if from := a.Subscription.Bus.Account; from != at.account && from != auth.HomeAccount {
		return nil, &Failure{Code: CodeNoPermissions, Message: fmt.Sprintf(
			"Rules of account %s cannot reach the real account %s: its own rules can, and those of account %s.", from, at.account, auth.HomeAccount)}
	}
	return services, nil
}

// serviceFailure is what an error of one of Services means.
func (t *Targets) serviceFailure(ctx context.Context, service awsService, err error, requestID string) *Failure {
	if t.real != nil {
		if f := t.real.AccountFailure(err); f != nil {
			return f
		}
	}
	return serviceFailure(ctx, service, err, requestID)
}

// servicePrincipal is the principal under which rules reach their targets.
const servicePrincipal = "events.amazonaws.com"

// asRule returns the context of a call that the box gets from a rule, made as
// the account, and the call's request id.
func asRule(ctx context.Context, a Attempt, account, region, service, operation string) (context.Context, string) {
	requestID := uuid.NewString()
	ctx = awsapi.WithCaller(ctx, awsapi.Caller{
		Account: account, Region: region, Role: string(auth.Operator),
		Service: service, Operation: operation, RequestID: requestID, TraceHeader: a.Record.Trace,
	})
	return auth.WithSource(ctx, auth.Source{
		Service: servicePrincipal, ARN: a.Subscription.RuleARN, Account: a.Subscription.Bus.Account,
	}), requestID
}

// arn is the ARN of a target: arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE.
type arn struct{ region, account, resource string }

// parseARN reads an ARN of the service; the error is a *Failure.
func parseARN(text, service string) (arn, error) {
	parts := strings.SplitN(text, ":", 6)
	if len(parts) != 6 || parts[2] != service || parts[3] == "" || parts[4] == "" || parts[5] == "" {
		return arn{}, &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("%q is not the ARN of a target in service %s.", text, service)}
	}
	return arn{region: parts[3], account: parts[4], resource: parts[5]}, nil
}
