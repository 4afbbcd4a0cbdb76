package trace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/eventlog"
)

// deliveries fills in what became of the event at each subscription.
func (a *assembly) deliveries(ctx context.Context, e *Event, h *history, backlog eventlog.Backlog) error {
	byID := map[int64]*Delivery{}
	of := func(s Subscription) *Delivery {
		d := byID[s.ID]
		if d == nil {
			d = &Delivery{}
			byID[s.ID] = d
		}
		d.Subscription = s
		return d
	}
	for _, r := range h.routed {
		for _, s := range r.Matched {
			of(s)
		}
	}
	for _, s := range h.steps {
		d := of(s.Subscription)
		d.Steps = append(d.Steps, s)
	}
	for _, d := range byID {
		if err := a.judge(ctx, e, d, backlog); err != nil {
			return err
		}
		e.Deliveries = append(e.Deliveries, *d)
	}
	slices.SortFunc(e.Deliveries, func(a, b Delivery) int {
		return cmp.Or(cmp.Compare(a.Subscription.RuleName, b.Subscription.RuleName),
			cmp.Compare(a.Subscription.TargetID, b.Subscription.TargetID), cmp.Compare(a.Subscription.ID, b.Subscription.ID))
	})
	return nil
}

// judge finds out how far a delivery is: by its steps if they end it, and otherwise by
// where it waits.
func (a *assembly) judge(ctx context.Context, e *Event, d *Delivery, backlog eventlog.Backlog) error {
	if status, ended := endOf(d.Steps); ended {
		d.Status = status
		return nil
	}
	w, err := a.t.Deliveries.Waits(ctx, d.Subscription.ID, e.Sequence, e.Index)
	switch {
	case err != nil:
		return err
	case w.Running:
		d.Status = DeliveryUnderWay
	case w.Parked:
		d.Status, d.Due = DeliveryWaiting, w.Due
	case w.InLog:
		d.Status, d.InLog, d.Behind = DeliveryWaiting, true, e.Sequence-w.ReaderAt
	default:
		return a.judgeLost(ctx, e, d, backlog)
	}
	return nil
}

// judgeLost finds out about a delivery that is put aside nowhere.
func (a *assembly) judgeLost(ctx context.Context, e *Event, d *Delivery, backlog eventlog.Backlog) error {
	_, err := a.t.Rules.Subscription(ctx, d.Subscription.ID)
	switch {
	case errors.Is(err, bus.ErrNoSubscription):
		d.Status = DeliveryCancelled
	case err != nil:
		return fmt.Errorf("look for the rule of a delivery: %w", err)
	case e.Sequence > backlog.AckFloor:
		d.Status = DeliveryUnderWay
	default:
		d.Status = DeliveryUnknown
	}
	return nil
}

// endOf returns how the steps of a delivery end it. What was redriven begins anew; a
// delivery that the target took is over, whatever a repetition of it does.
func endOf(steps []Entry) (status DeliveryStatus, ended bool) {
	for _, s := range steps {
		switch s.Step {
		case delivery.StepRedriven:
			status, ended = "", false
		case delivery.StepAttempt:
			if !s.Failed {
				status, ended = DeliveryDelivered, true
			}
		case delivery.StepDeadLettered, delivery.StepKept:
			status, ended = orDelivered(status, DeliveryDeadLettered), true
		case delivery.StepDropped:
			status, ended = orDelivered(status, DeliveryDropped), true
		case delivery.StepCancelled:
			status, ended = orDelivered(status, DeliveryCancelled), true
		}
	}
	return status, ended
}

func orDelivered(was, now DeliveryStatus) DeliveryStatus {
	if was == DeliveryDelivered {
		return was
	}
	return now
}

// began is when an attempt began.
func (e *Entry) began() time.Time { return e.At.Add(-e.Took) }
