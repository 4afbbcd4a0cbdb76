package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
)

// ForwardError says that an event may not go to another bus, now or later.
type ForwardError struct {
	// Code is one of AWS's ERROR_CODE values.
	Code    string
	Message string
}

// Error returns the code and the message.
func (e *ForwardError) Error() string { return e.Code + ": " + e.Message }

// The codes of ForwardError.
const (
	CodeThirdAccountHop = "THIRD_ACCOUNT_HOP_DETECTED"
	CodeThirdRegionHop  = "THIRD_REGION_HOP_DETECTED"
	CodeNoPermissions   = "NO_PERMISSIONS"
	CodeInvalidEvent    = "INVALID_JSON"
)

// Forward puts the record's event on another bus as the target of from. AWS: it
// keeps id and time within a region and gets new ones in another; it crosses one
// bus within a region and one between regions, no more; a bus that would allow it
// but does not exist takes it and drops it. Final refusals are a *ForwardError;
// with any other error it may be tried again.
func (b *Buses) Forward(ctx context.Context, rec *event.Record, from *Subscription, to event.BusRef) error {
	ev, err := event.Parse(rec.JSON)
	if err != nil {
		return &ForwardError{Code: CodeInvalidEvent, Message: err.Error()}
	}
	next, err := hop(rec, ev, from, to)
	if err != nil {
		return err
	}
	bus, err := b.lookup(ctx, to)
	if err != nil {
		return err
	}
	denial := b.denial(bus, to, auth.PolicyRequest{
		Principal: from.Target.RoleARN, Action: ActionPutEvents,
		Context: map[string][]string{
			"events:source": {ev.Source}, "events:detail-type": {ev.DetailType}, "events:eventBusInvocation": {"true"},
		},
	})
	if denial != "" {
		return &ForwardError{Code: CodeNoPermissions, Message: denial}
	}
	if bus == nil {
		return nil
	}
	if next.ID != rec.ID {
		ev.ID, ev.Time = next.ID, b.now().Truncate(time.Second)
		next.JSON = ev.AppendJSON(nil)
	}
	return b.Put(ctx, []event.Record{next})
}

// hop returns the record as it goes on to the other bus, without its new time.
func hop(rec *event.Record, ev *event.Event, from *Subscription, to event.BusRef) (event.Record, error) {
	next := event.Record{
		Bus: to, ID: rec.ID, Trace: rec.Trace, JSON: rec.JSON,
		AccountHops: rec.AccountHops, RegionHops: rec.RegionHops, Origin: event.OriginRule + " " + from.RuleARN,
	}
	if from.Bus.Region == to.Region {
		if rec.AccountHops > 0 {
			return next, &ForwardError{Code: CodeThirdAccountHop, Message: fmt.Sprintf(
				"Event %s came to %s from another event bus of its region and cannot go on to a third, %s.", ev.ID, from.Bus.ARN(), to.ARN())}
		}
		next.AccountHops++
		return next, nil
	}
	if rec.RegionHops > 0 {
		return next, &ForwardError{Code: CodeThirdRegionHop, Message: fmt.Sprintf(
			"Event %s came to %s from another region and cannot go on to a third, %s.", ev.ID, from.Bus.ARN(), to.ARN())}
	}
	next.RegionHops++
	// The same for each attempt, so that a repeated one can be told.
	next.ID = uuid.NewSHA1(uuid.NameSpaceURL, []byte(rec.ID+"\n"+from.RuleARN+"\n"+to.ARN())).String()
	next.Origin += " " + rec.ID
	return next, nil
}
