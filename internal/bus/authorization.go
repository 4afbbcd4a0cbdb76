package bus

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Authorizer fetches a connection's token and notes the outcome by
// Buses.ConnectionAuthorized or ConnectionFailed.
type Authorizer interface {
	Authorize(ctx context.Context, c Credentials) error
}

// authorizationQueue holds a job for each OAuth connection that waits for its
// first token, under the connection's ID.
const authorizationQueue = "connection-authorization"

func (b *Buses) askForToken(ctx context.Context, tx *store.Tx, c Connection) error {
	if c.State != ConnectionAuthorizing {
		return nil
	}
	return b.jobs.Enqueue(ctx, tx, work.NewJob{Queue: authorizationQueue, Key: c.ID, Replace: true})
}

// HandleAuthorization has a fetch the first tokens of connections. To be called
// once, before the jobs run.
func (b *Buses) HandleAuthorization(a Authorizer) {
	b.jobs.Handle(authorizationQueue, work.QueueOptions{}, func(ctx context.Context, j work.Job) work.Outcome {
		c, ok, err := selectConnectionByID(ctx, b.db, j.Key)
		if err != nil {
			return work.Retry(err.Error())
		}
		if !ok || c.State != ConnectionAuthorizing {
			return work.Done()
		}
		credentials, err := b.credentials(c)
		if err != nil {
			return work.Fail(err.Error())
		}
		if err := a.Authorize(ctx, credentials); err != nil {
			return work.Retry(err.Error())
		}
		return work.Done()
	})
}

// ConnectionAuthorized notes that a token was fetched with that version of the
// connection's credentials. A newer version or a missing connection is left alone.
func (b *Buses) ConnectionAuthorized(ctx context.Context, connectionARN string, version int64) error {
	return b.noteConnection(ctx, connectionARN, version, func(c *Connection) {
		c.State, c.StateReason, c.AuthorizedAt = ConnectionAuthorized, "", b.now().UTC()
	})
}

// maxStateReason is AWS's limit, in characters.
const maxStateReason = 512

// ConnectionFailed notes that no token could be fetched with that version of the
// connection's credentials, and why. Rejected says that they were refused, and
// not that the endpoint could not be asked.
func (b *Buses) ConnectionFailed(ctx context.Context, connectionARN string, version int64, reason string, rejected bool) error {
	state := ConnectionAuthorizing
	if rejected {
		state = ConnectionDeauthorized
	}
	if r := []rune(reason); len(r) > maxStateReason {
		reason = string(r[:maxStateReason])
	}
	return b.noteConnection(ctx, connectionARN, version, func(c *Connection) {
		c.State, c.StateReason = state, reason
	})
}

// noteConnection changes the state if it is still about that version. It writes
// only what differs, as it may be called for every attempt.
func (b *Buses) noteConnection(ctx context.Context, connectionARN string, version int64, note func(*Connection)) error {
	id := lastPart(connectionARN)
	c, ok, err := selectConnectionByID(ctx, b.db, id)
	if err != nil {
		return fmt.Errorf("note state of connection %s: %w", connectionARN, err)
	}
	before := c
	note(&c)
	if !ok || c.sealed == nil || c.Version != version ||
		c.State == before.State && c.StateReason == before.StateReason && c.AuthorizedAt.Equal(before.AuthorizedAt) {
		return nil
	}
	err = b.db.Update(ctx, func(tx *store.Tx) error {
		changed, err := updateConnectionState(ctx, tx, c)
		if err != nil || !changed || c.State == before.State {
			return err
		}
		return b.askForToken(ctx, tx, c) // a token could not be renewed
	})
	if err != nil {
		return fmt.Errorf("note state of connection %s: %w", connectionARN, err)
	}
	return nil
}
