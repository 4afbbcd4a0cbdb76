package inventory

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// RegionHealth says whether a region's events arrive.
type RegionHealth struct {
	Region string
	Status RegionStatus
	// Events counts those that were stored.
	Events int64
	// LastEventAt is the time of the last event, LastReceivedAt when it came.
	LastEventAt    time.Time
	LastReceivedAt time.Time
	LastSyncAt     time.Time
	LastSyncError  string
	// Drift counts what syncs found since the last event that events should have
	// told of.
	Drift       int
	LastDriftAt time.Time
	// InScope: full syncs list the region.
	InScope bool
}

// RegionStatus sums a region's health up.
type RegionStatus string

// The statuses of a region.
const (
	// RegionNotMonitored: the cloud account has no real-time credential.
	RegionNotMonitored RegionStatus = "not_monitored"
	// RegionNeverSeen: no event has come, and none was missed.
	RegionNeverSeen RegionStatus = "never_seen"
	// RegionLive: events come.
	RegionLive RegionStatus = "live"
	// RegionSilent: syncs find changes of which no event told; the rule is missing
	// or broken.
	RegionSilent RegionStatus = "silent"
)

// AccountHealth is the health of a cloud account's event path.
type AccountHealth struct {
	Regions    []RegionHealth
	Rejections []Rejection
	// UnreadAt and UnreadWhy say when and why events were last taken at their word.
	UnreadAt  time.Time
	UnreadWhy string
}

// Health returns the health of a cloud account's regions: those that it syncs
// and those that events came from.
func (v *Inventory) Health(ctx context.Context, project, id string) (AccountHealth, error) {
	a, err := accountIn(ctx, v.db, project, id)
	if err != nil {
		return AccountHealth{}, err
	}
	h := AccountHealth{UnreadAt: a.UnreadAt, UnreadWhy: a.UnreadWhy}
	if h.Regions, err = listRegions(ctx, v.db, a.ID); err == nil {
		h.Rejections, err = listRejections(ctx, v.db, a.ID)
	}
	if err != nil {
		return AccountHealth{}, fmt.Errorf("health of account %s: %w", a.AccountID, err)
	}
	for _, region := range a.Regions {
		if !slices.ContainsFunc(h.Regions, func(r RegionHealth) bool { return r.Region == region }) {
			h.Regions = append(h.Regions, RegionHealth{Region: region})
		}
	}
	slices.SortFunc(h.Regions, func(a, b RegionHealth) int { return strings.Compare(a.Region, b.Region) })
	for i := range h.Regions {
		r := &h.Regions[i]
		r.InScope = slices.Contains(a.Regions, r.Region) || len(a.Regions) == 0 && !r.LastSyncAt.IsZero()
		r.Status = regionStatus(a, *r)
	}
	return h, nil
}

func regionStatus(a CloudAccount, r RegionHealth) RegionStatus {
	switch {
	case a.WebhookID == "":
		return RegionNotMonitored
	case r.Drift > 0:
		return RegionSilent
	case r.Events == 0:
		return RegionNeverSeen
	}
	return RegionLive
}

const (
	// keepTombstones is how long events and tombstones are kept. An event that
	// comes later still has to be confirmed by a read.
	keepTombstones = 60 * 24 * time.Hour
	// keepHistory is how long changes are kept, and servers that were removed: for
	// a yearly audit and a month more.
	keepHistory = 400 * 24 * time.Hour
	purgeChunk  = 200
	purgeEvery  = 6 * time.Hour
)

// purgeJob deletes what is old, a little at a time, and runs again
// after purgeEvery. It is there since the first account was connected.
func (v *Inventory) purgeJob(ctx context.Context, j work.Job) work.Outcome {
	for {
		var more bool
		err := v.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
			var err error
			now := v.now()
			more, err = deleteOld(ctx, tx, now.Add(-keepTombstones), now.Add(-keepHistory), purgeChunk)
			return err
		})
		if err != nil {
			return work.Retry(err.Error())
		}
		if !more {
			return work.RetryAt(v.o.Now().Add(purgeEvery), "runs again every "+purgeEvery.String())
		}
	}
}
