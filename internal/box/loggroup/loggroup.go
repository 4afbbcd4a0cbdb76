// Package loggroup is the box's CloudWatch Logs: log groups, their streams and
// events, kept in SQL, with AWS's rules for putting events and its filter
// patterns for finding them.
//
// It knows nothing of buses, targets or HTTP, and has no metric filters,
// subscriptions or queries. Groups implements the generated logs.Service.
//
// Where AWS leaves a choice, or its choice serves only its own scale, this
// package decides as follows:
//   - What was put can be read at once, and what is past its retention cannot, also before
//     it is removed; AWS takes some time for either.
//   - A group's storedBytes are up to date and count what events were billed by on the way
//     in: the bytes of the message and 26 for each.
//   - A deleted group's or stream's name may be used again at once.
package loggroup

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Ref names a log group.
type Ref struct {
	Account, Region, Name string
}

// ARN returns the group's ARN. AWS: arn:aws:logs:REGION:ACCOUNT:log-group:NAME.
func (r Ref) ARN() string {
	return "arn:" + event.Partition(r.Region) + ":logs:" + r.Region + ":" + r.Account + ":log-group:" + r.Name
}

// Options configure Groups.
type Options struct {
	// Node is this process's name among those that share the database; one at a
	// time removes old events. Required for Run.
	Node string
	// Logger takes what goes wrong in the background. Nil discards it.
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Groups are all log groups of this installation. Its methods are safe for
// concurrent use.
type Groups struct {
	db  *store.DB
	opt Options
}

// New returns the log groups kept in db. Whoever calls it also runs [Groups.Run].
func New(db *store.DB, opt Options) *Groups {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	return &Groups{db: db, opt: opt}
}

// now is the clock in unix milliseconds, as tables and AWS's API hold times.
func (g *Groups) now() int64 { return g.opt.Now().UnixMilli() }

// group is a log group as it was read.
type group struct {
	Ref
	id            int64
	retentionDays int64 // 0: events are kept for ever
	createdAt     int64
	storedBytes   int64
}

const dayMillis = 24 * 60 * 60 * 1000

// keptFrom returns the oldest timestamp that the group's retention keeps.
func (have *group) keptFrom(now int64) int64 {
	if have.retentionDays == 0 {
		return 0
	}
	return now - have.retentionDays*dayMillis
}

// find returns the group, or ResourceNotFoundException.
func (g *Groups) find(ctx context.Context, q store.Querier, r Ref) (*group, error) {
	have, found, err := findGroup(ctx, q, r)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, errNoGroup()
	}
	return &have, nil
}

// create makes the group; ResourceAlreadyExistsException if there is one. AWS: names
// that begin with aws/ are its own.
func (g *Groups) create(ctx context.Context, r Ref) error {
	if strings.HasPrefix(r.Name, "aws/") {
		return errParameter("Log groups starting with AWS/ are reserved for AWS.")
	}
	return g.db.Update(ctx, func(tx *store.Tx) error {
		made, err := insertGroup(ctx, tx, r, g.now())
		if err == nil && !made {
			err = errGroupExists()
		}
		return err
	})
}

// remove takes the group away at once; its streams and events are swept later.
func (g *Groups) remove(ctx context.Context, r Ref) error {
	return g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := g.find(ctx, tx, r)
		if err != nil {
			return err
		}
		return dropGroup(ctx, tx, have.id, g.now())
	})
}

// retentions are the days that AWS lets events be kept for.
var retentions = []int64{1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653}

// setRetention has the group keep its events for that many days.
func (g *Groups) setRetention(ctx context.Context, r Ref, days int64) error {
	if !slices.Contains(retentions, days) {
		return errRetention()
	}
	return g.db.Update(ctx, func(tx *store.Tx) error {
		have, err := g.find(ctx, tx, r)
		if err != nil {
			return err
		}
		return updateRetention(ctx, tx, have.id, days)
	})
}

// groupQuery says which groups to list, by name.
type groupQuery struct {
	account, region string
	prefix          string
	contains        string
	names           []string // nil: all
	after           string   // names after this one
	limit           int
}

// listChunk is how many rows are read at a time where some are passed over.
const listChunk = 200

// list returns up to limit groups.
func (g *Groups) list(ctx context.Context, q groupQuery) ([]group, error) {
	var out []group
	for {
		list, err := listGroups(ctx, g.db, q, listChunk)
		if err != nil {
			return nil, err
		}
		for _, have := range list {
			q.after = have.Name
			if !strings.Contains(have.Name, q.contains) || q.names != nil && !slices.Contains(q.names, have.Name) {
				continue
			}
			if out = append(out, have); len(out) == q.limit {
				return out, nil
			}
		}
		if len(list) < listChunk {
			return out, nil
		}
	}
}
