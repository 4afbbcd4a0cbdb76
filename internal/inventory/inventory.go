// Package inventory keeps a record of the servers that run in AWS accounts, true
// within seconds: webhooks take EC2's events in, each event schedules a read of
// the instance, full syncs find what events missed, and agents enroll from the
// servers themselves. Every change keeps its cause and is published as an event.
//
// An event is a hint and the cloud is the truth; decide.go holds the rules. This
// package does not deliver events, authenticate people or know other records
// than servers.
package inventory

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Cloud reaches AWS accounts; *cloud.Accounts is one.
type Cloud interface {
	// EC2 returns a client for a 12-digit account in a region.
	EC2(ctx context.Context, account, region string) (*ec2.Client, error)
	// Regions returns the regions of an account that may be read.
	Regions(ctx context.Context, account string) ([]string, error)
	// Real reports whether the account is a real one, not served by the box.
	Real(ctx context.Context, account string) (bool, error)
}

// Options are what New needs.
type Options struct {
	DB    *store.DB
	Cloud Cloud
	// Auth keeps the real-time credentials and checks their tokens.
	Auth *auth.Auth
	// Work runs the jobs. New registers the inventory's handlers with it, so it
	// must not run yet.
	Work *work.Runner
	// PublicURL returns the URL under which AWS and agents reach this server,
	// without a trailing slash.
	PublicURL func() string
	// HomeAccount and HomeRegion are where changes of servers are published that
	// belong to no AWS account; 000000000000 and us-east-1 by default.
	HomeAccount, HomeRegion string
	// Now is the clock; nil stands for time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Inventory is the service. Its methods are safe for concurrent use. Errors that
// are a caller's doing wrap one of the Err variables of this package.
type Inventory struct {
	o        Options
	db       *store.DB
	log      *slog.Logger
	counters counters
	intake   chan struct{} // one element per webhook call being stored
	recheck  time.Duration
}

// The queues of this package's jobs.
const (
	queueApply = "inventory.apply" // key: cloud account/region/instance
	queueSync  = "inventory.sync"  // key: cloud account
	queuePurge = "inventory.purge"
)

// New returns the inventory kept in o.DB, and registers its jobs with o.Work.
func New(o Options) *Inventory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HomeAccount == "" {
		o.HomeAccount = auth.DefaultAccount
	}
	if o.HomeRegion == "" {
		o.HomeRegion = "us-east-1"
	}
	v := &Inventory{o: o, db: o.DB, log: o.Logger, intake: make(chan struct{}, maxIntake), recheck: recheckAfter}
	o.Work.Handle(queueApply, work.QueueOptions{Concurrency: 32, LeaseFor: time.Minute, BackoffCap: 2 * time.Minute}, v.applyJob)
	o.Work.Handle(queueSync, work.QueueOptions{Concurrency: 4, LeaseFor: time.Minute}, v.syncJob)
	o.Work.Handle(queuePurge, work.QueueOptions{Concurrency: 1}, v.purgeJob)
	return v
}

// now is the time in the resolution that the database keeps.
func (v *Inventory) now() time.Time { return v.o.Now().UTC().Truncate(time.Millisecond) }
