package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/event"
)

// hooks are what tests and benchmarks change about a server.
type hooks struct {
	now func() time.Time
	// noSync keeps the engines from syncing, so that durability tests can be shown
	// to fail. Only this package's tests set it.
	noSync bool
	// handedOver and delivered, if set, are told of each event that reaches a lane
	// and of each that its target took.
	handedOver func(rec *event.Record)
	delivered  func(rec *event.Record, sub *bus.Subscription)
}

// Observer is told where events are on their way. Its functions may be called
// from several goroutines and must be quick.
type Observer struct {
	// HandedOver is told of each event that was handed to the lanes of the
	// subscriptions that it matched.
	HandedOver func(rec *event.Record)
	// Delivered is told of each delivery that its target took.
	Delivered func(rec *event.Record, sub *bus.Subscription)
}

// StartObserved is Start with an observer, for benchmarks.
func StartObserved(ctx context.Context, c Config, logger *slog.Logger, o Observer) (*App, error) {
	return start(ctx, c, logger, hooks{now: time.Now, handedOver: o.HandedOver, delivered: o.Delivered})
}

// durability says how the running engines store what is acknowledged, one line
// for each, as they themselves report it.
func (a *App) durability(ctx context.Context) string {
	log := "as its servers are configured"
	if always, known := a.log.SyncAlways(); known {
		log = "not synced"
		if always {
			log = "synced before every acknowledgement"
		}
	}
	database, err := a.db.SyncSetting(ctx)
	if err != nil {
		database = "unknown"
	}
	return fmt.Sprintf("event log: %s\ndatabase: %s\n", log, database)
}
