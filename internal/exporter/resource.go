package exporter

import (
	"context"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// Resource is what is known of a resource of the cloud.
type Resource struct {
	Key
	// Present: it exists, as far as is known. One that does not is remembered for a while,
	// so that what was read or told before cannot bring it back.
	Present bool
	// Ticket is of the read that this rests on.
	Ticket int64
	// Hash is of the properties; empty while it is not present.
	Hash string
	// FirstAt is when it was first found, since it was last gone.
	FirstAt time.Time
	// ReadAt is when the read began that this rests on; zero if it rests on an event
	// alone, as the cloud could not be read.
	ReadAt time.Time
	// ChangedAt is when its properties last changed, or it came or went.
	ChangedAt time.Time
	// UpsertAt and DeleteAt are the times of the latest events that said it lives, or was
	// deleted; zero without one.
	UpsertAt, DeleteAt time.Time
	// RecheckAt is when it is read again although no event asks for that; zero for not.
	RecheckAt  time.Time
	Rechecks   int
	RecheckWhy string
	// Error is why it could not be mapped or an entity was refused; empty if all is well.
	Error string
	// Cause is that of the last change.
	Cause catalog.Cause
	// UpdatedAt is when this row was last written.
	UpdatedAt time.Time
	// Entities are those made of it.
	Entities []catalog.EntityRef

	id int64
}

// ResourceFilter says which resources are meant; empty fields mean all.
type ResourceFilter struct {
	Account, Region, Kind, Identifier string
	// Entity: those of which this entity is made.
	Entity catalog.EntityRef
	// Failed: those with an Error alone. Gone: also those that do not exist any more.
	Failed, Gone bool
}

// Resources lists what is known of resources, in an order that stays, from after the
// one with an id, 0 for the first; at most limit. Entities are those made of each.
func (x *Exporter) Resources(ctx context.Context, f ResourceFilter, after int64, limit int) ([]*Resource, error) {
	list, err := listResources(ctx, x.db, f, after, limit)
	if err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	return list, nil
}
