package app

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
)

// sourcesTopic is the topic of notices that sources changed.
const sourcesTopic = "sources"

// tellSources tells the other nodes that a source changed. A node that misses it
// finds out when it next looks.
func (a *App) tellSources() {
	if a.config.NATS == "" {
		return
	}
	if err := a.log.Notify(sourcesTopic, nil); err != nil {
		a.logger.Warn("other nodes were not told of a changed source and find out later", "error", err)
	}
}

// runIntake takes events in, and follows the sources that other nodes change,
// until ctx ends.
func (a *App) runIntake(ctx context.Context) error {
	stop, err := a.log.Notices(sourcesTopic, func([]byte) { a.intake.Refresh() })
	if err != nil {
		return err
	}
	defer stop()
	return a.intake.Run(ctx)
}

// busExists reports whether there is an event bus.
func (a *App) busExists(ctx context.Context, ref event.BusRef) (bool, error) {
	_, err := a.buses.Bus(ctx, ref)
	if awsapi.HasCode(err, events.CodeResourceNotFoundException) {
		return false, nil
	}
	return err == nil, err
}
