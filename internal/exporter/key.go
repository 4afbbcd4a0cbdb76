package exporter

import (
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// Key names a resource of the cloud.
type Key struct {
	Account string // 12 digits
	Region  string
	Kind    string // AWS::Service::Type
	// Identifier is the primary identifier, that of Cloud Control: composite ones are
	// joined with |.
	Identifier string
}

// String returns the key on one line, for people.
func (k Key) String() string {
	return k.Kind + " " + k.Identifier + " (" + k.Account + " " + k.Region + ")"
}

// Read is what the cloud said about a resource.
type Read struct {
	Key
	// Ticket orders the reads of a resource: it was taken before the cloud was asked.
	Ticket int64
	// At is when the read began.
	At time.Time
	// Found: the resource exists, and Properties are its own; otherwise the cloud says
	// that it does not.
	Found      bool
	Properties map[string]any
	// Unread says why the cloud cannot be asked, now or later, as it does not let us; nil
	// where it could. Found says nothing then.
	Unread error
	// UpsertAt and DeleteAt are the times of the latest events that this read answers
	// and that said the resource lives, or was deleted; zero without such.
	UpsertAt, DeleteAt time.Time
	// ByName: an event called the resource by another name than its identifier, which may
	// be that of another one that is not known yet.
	ByName bool
	// Cause is what led to the read; the zero value stands for that given to apply.
	Cause catalog.Cause
}

// Outcome is what came of a read.
type Outcome string

// The outcomes.
const (
	// Created: the resource had no entities and has now.
	Created Outcome = "created"
	// Updated: an entity of the resource changed.
	Updated Outcome = "updated"
	// Unchanged: nothing differs from what is stored.
	Unchanged Outcome = "unchanged"
	// Deleted: the resource is gone, and was known.
	Deleted Outcome = "deleted"
	// Absent: the resource is not there, and was not known.
	Absent Outcome = "absent"
	// Deselected: the resource exists, and no pass of the configuration selects it.
	Deselected Outcome = "deselected"
	// Ignored: the kind, region or account is not configured; its entities are left to
	// the full sync.
	Ignored Outcome = "ignored"
	// Pending: it was not found, so soon after it was made that this does not count yet; it
	// is read again without being asked for.
	Pending Outcome = "pending"
	// Stale: what a read that began later said is stored already.
	Stale Outcome = "stale"
	// Failed: the resource could not be mapped, or an entity was refused.
	Failed Outcome = "failed"
)

// Applied is what came of one of the reads given to apply.
type Applied struct {
	Key
	Ticket  int64
	Outcome Outcome
	// Changed: the resource's properties differ from those that were stored, or it came
	// or went.
	Changed bool
	// Before is what was known of the resource; nil for nothing.
	Before *Resource
	// Entities are those of the resource now; Removed those that went, or would have
	// without HoldRemovals.
	Entities, Removed []catalog.EntityRef
	// Err says why it failed. Retry: trying again may help.
	Err   error
	Retry bool

	// superseded: the resource is to be read again before anything can be said. unwritten:
	// it was superseded, and that did not come about, so that all is as it was.
	superseded, unwritten bool
}

// shortName is the part of an identifier by which people, and records, name a resource:
// what follows the last slash or colon of its first part.
//
// AWS: a stack's ARN ends in stack/NAME/UUID, a load balancer's in
// loadbalancer/app/NAME/ID.
func shortName(identifier string) string {
	first, _, _ := strings.Cut(identifier, "|")
	if strings.HasPrefix(first, "arn:") {
		if _, rest, ok := strings.Cut(first, ":stack/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			return name
		}
		if _, rest, ok := strings.Cut(first, ":loadbalancer/"); ok {
			if parts := strings.Split(rest, "/"); len(parts) == 3 {
				return parts[1]
			}
		}
	}
	if i := strings.LastIndexAny(first, "/:"); i >= 0 && i < len(first)-1 {
		return first[i+1:]
	}
	return first
}
