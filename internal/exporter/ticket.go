package exporter

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/rialto-bus/rialto/internal/store"
)

// errDeposed says that another node has taken the exporter's lease since: what this
// one has read may be old, and must not be written.
var errDeposed = errors.New("another node has taken the exporter over")

// tickets gives numbers that grow, over nodes and whatever the clocks do: the epoch,
// which is raised when the lease is taken, and a counter below it.
type tickets struct{ last atomic.Int64 }

const epochBits = 32

func (t *tickets) begin(epoch int64) { t.last.Store(epoch << epochBits) }

// next takes a ticket, higher than all before.
func (t *tickets) next() int64 { return t.last.Add(1) }

// mark returns the last ticket taken: one that is higher was taken after this call.
func (t *tickets) mark() int64 { return t.last.Load() }

func (t *tickets) epoch() int64 { return t.last.Load() >> epochBits }

// newRead takes a ticket for a read of a resource: it must be called before the cloud
// is asked.
func (x *Exporter) newRead(key Key) Read {
	return Read{Key: key, Ticket: x.tickets.next(), At: x.now()}
}

// takeOver raises the epoch, so that whatever an earlier holder of the lease still
// writes is refused, and tickets are higher than all of its own.
func (x *Exporter) takeOver(ctx context.Context) error {
	var epoch int64
	err := x.db.Update(ctx, func(tx *store.Tx) (err error) {
		epoch, err = raiseEpoch(ctx, tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("take the exporter over: %w", err)
	}
	x.tickets.begin(epoch)
	return nil
}

// guard returns errDeposed, within a transaction, if the lease was taken by another
// node; until the transaction ends none can take it without being seen.
func (x *Exporter) guard(ctx context.Context, tx *store.Tx) error {
	_, err := x.holdOurs(ctx, tx)
	return err
}

// holdOurs is guard, and returns the state that it has seen.
func (x *Exporter) holdOurs(ctx context.Context, tx *store.Tx) (state, error) {
	s, err := holdState(ctx, tx)
	if err == nil && s.epoch != x.tickets.epoch() {
		err = errDeposed
	}
	return s, err
}
