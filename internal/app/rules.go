package app

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
)

// rulesTopic is the topic of notices that a bus's rules changed.
const rulesTopic = "rules"

// rulesNotice says that a bus's rules are at a version now.
type rulesNotice struct {
	Bus     event.BusRef `json:"bus"`
	Version uint64       `json:"version"`
}

// refreshTime is how often a node that shares its database looks for rules of
// which no notice reached it.
const refreshTime = 10 * time.Second

// tellRules tells the other nodes that a bus changed. A node that misses it
// finds out when an event comes that was accepted under newer rules, and at the
// latest when it next looks.
func (a *App) tellRules(ref event.BusRef, version uint64) {
	if a.config.NATS == "" {
		return
	}
	data, err := json.Marshal(rulesNotice{ref, version})
	if err == nil {
		err = a.log.Notify(rulesTopic, data)
	}
	if err != nil {
		a.logger.Warn("other nodes were not told of new rules and find out later", "bus", ref.ARN(), "error", err)
	}
}

// followRules reads the rules that other nodes change, until ctx ends: at their
// notice, and now and then, since a notice may be lost.
func (a *App) followRules(ctx context.Context) error {
	stop, err := a.log.Notices(rulesTopic, func(data []byte) {
		var n rulesNotice
		if err := json.Unmarshal(data, &n); err != nil {
			a.logger.Warn("a notice of new rules cannot be read", "error", err)
			return
		}
		if err := a.buses.WaitVersion(ctx, n.Bus, n.Version); err != nil && ctx.Err() == nil {
			a.logger.Warn("rules that another node changed cannot be read", "bus", n.Bus.ARN(), "error", err)
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	if a.config.NATS == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(refreshTime)
	defer tick.Stop()
	for {
		if err := a.buses.Refresh(ctx); err != nil && ctx.Err() == nil {
			a.logger.Warn("rules that other nodes may have changed cannot be read", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
