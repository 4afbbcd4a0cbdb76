package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
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
	services, err := t.servicesFor(ctx, a, arn{region: to.Region, account: to.Account})
	if err != nil {
		return err
	}
	if services.Buses != nil {
		return t.putOnRealBus(ctx, a, services.Buses, to)
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

// putOnRealBus puts the event on a bus of a real account with PutEvents: it gets a
// new id there, and the account is that of the credentials. AWS does not let
// anybody put events of its own services.
func (t *Targets) putOnRealBus(ctx context.Context, a Attempt, buses events.Service, to event.BusRef) error {
	if err := checkHops(a, to); err != nil {
		return err
	}
	ev, err := event.Parse(a.Record.JSON)
	if err != nil {
		return &Failure{Code: CodeInvalidParameter, Message: err.Error()}
	}
	requestID := uuid.NewString()
	if strings.HasPrefix(ev.Source, "aws.") {
		refused := serviceAnswer{
			code: "NotAuthorizedForSourceException", status: http.StatusBadRequest, requestID: requestID,
			message: fmt.Sprintf("Events of AWS services, such as this one of %s, cannot be put on the event bus of a real account.", ev.Source),
		}
		return refused.failure(serviceBuses)
	}
	entry := events.PutEventsRequestEntry{
		EventBusName: new(to.ARN()), Source: &ev.Source, DetailType: &ev.DetailType, Detail: new(string(ev.Detail)), Time: &ev.Time, Resources: ev.Resources,
	}
	if a.Record.Trace != "" {
		entry.TraceHeader = &a.Record.Trace
	}
	out, err := buses.PutEvents(ctx, &events.PutEventsInput{Entries: []events.PutEventsRequestEntry{entry}})
	if err != nil {
		return t.serviceFailure(ctx, serviceBuses, err, requestID)
	}
	return entryFailure(out, requestID)
}

// checkHops refuses an event that came from another bus, as the box does between
// its own.
func checkHops(a Attempt, to event.BusRef) error {
	from := a.Subscription.Bus
	f := &Failure{Message: fmt.Sprintf("Event %s came to %s from another event bus and cannot go on to a third, %s.", a.Record.ID, from.ARN(), to.ARN())}
	switch {
	case from.Region == to.Region && a.Record.AccountHops > 0:
		f.Code = CodeThirdAccountHop
	case from.Region != to.Region && a.Record.RegionHops > 0:
		f.Code = CodeThirdRegionHop
	default:
		return nil
	}
	return f
}

// entryFailure is the failure of an event that PutEvents did not take, which it
// reports within its answer.
func entryFailure(out *events.PutEventsOutput, requestID string) error {
	for _, e := range out.Entries {
		if e.ErrorCode == nil {
			continue
		}
		refused := serviceAnswer{code: *e.ErrorCode, status: http.StatusBadRequest, requestID: requestID}
		if e.ErrorMessage != nil {
			refused.message = *e.ErrorMessage
		}
		refused.fault = strings.HasPrefix(refused.code, "Internal")
		f := refused.failure(serviceBuses)
		if f.Code == CodeInvalidParameter {
			f.Code = CodeRequestRejected
		}
		return f
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
