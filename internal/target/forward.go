package target

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// forward puts the event on another bus: in this or another region, of this or
// another account.
func (t *Targets) forward(ctx context.Context, a Attempt) error {
	to, err := busOf(a.Subscription.Target.ARN)
	if err != nil {
		return &Failure{Code: CodeInvalidParameter, Message: err.Error()}
	}
	err = t.buses.Forward(ctx, a.Record, a.Subscription, to)
	if refused, ok := errors.AsType[*bus.ForwardError](err); ok {
		return &Failure{Code: refused.Code, Message: refused.Message}
	}
	switch {
	case errors.Is(err, bus.ErrThrottled):
		return &Failure{Code: CodeThrottling, Message: fmt.Sprintf("Event bus %s takes no events now.", to.ARN()), Retryable: true}
	case errors.Is(err, bus.ErrTooLarge):
		return &Failure{Code: CodeInvalidParameter, Message: fmt.Sprintf("The event is too large for event bus %s.", to.ARN())}
	case err != nil:
		return AsFailure(fmt.Errorf("put the event on %s: %w", to.ARN(), err))
	}
	return nil
}

// busOf reads arn:aws:events:REGION:ACCOUNT:event-bus/NAME.
func busOf(arn string) (event.BusRef, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) == 6 {
		if name, ok := strings.CutPrefix(parts[5], "event-bus/"); ok {
			return event.BusRef{Account: parts[4], Region: parts[3], Name: name}, nil
		}
	}
	return event.BusRef{}, fmt.Errorf("%q is not the ARN of an event bus", arn)
}
