package eventlog

import (
	"context"
	"fmt"
)

// checkExternal refuses a NATS that cannot hold the log.
func (l *Log) checkExternal(ctx context.Context) error {
	if got := l.nc.MaxPayload(); got < minPayload {
		return fmt.Errorf("event log: NATS %s takes messages of at most %d bytes: set max_payload to %d or more", l.opts.URL, got, minPayload)
	}
	if _, err := l.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("event log: NATS %s has no JetStream for this account: %w", l.opts.URL, err)
	}
	l.opts.Logger.Info("event log: an external NATS must run with JetStream sync_interval always; a client cannot check it", "url", l.nc.ConnectedUrlRedacted())
	return nil
}
