// Package exporter keeps the entities of a catalog true to the resources of cloud
// accounts. Event rules put records of what happened on a queue; each record
// schedules a read of the resource that it names, the read is mapped to entities, and
// these are written together with the state of the resource. Full syncs find what the
// events missed.
//
// An event is a hint and the cloud is the truth. Every read takes a ticket before
// the cloud is asked, and of two reads of a resource the one with the higher ticket
// wins, however they are delayed; decide.go holds the rules. The exporter runs on the
// node that has its lease, and what an earlier holder still writes is refused.
//
// Where things are: config.go, account.go and queue.go hold what is set; ticket.go and
// read.go read; decide.go, plan.go, outcome.go, apply.go and sink.go write; poll.go,
// message.go, record.go and pipe.go take records in; recheck.go reads again without an
// event; dead.go keeps records that were given up; resource.go tells what is known of a
// resource; sync*.go, drift.go and freshness.go are full syncs and what they show;
// install.go deploys queues. The package config reads configurations and maps, the package
// reader asks the cloud; this one does neither.
package exporter

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"golang.org/x/sync/errgroup"

	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// leaseName is the lease that the exporter's node holds.
const leaseName = "exporter"

// Cloud reaches the queues of cloud accounts; *cloud.Accounts is one.
type Cloud interface {
	// SQS returns a client for the queues of a 12-digit account in a region.
	SQS(ctx context.Context, account, region string) (*sqs.Client, error)
	// Real reports whether the account is a real one, not served by the box.
	Real(ctx context.Context, account string) (bool, error)
}

// Reader reads resources of cloud accounts; *reader.Reader is one.
type Reader interface {
	// Get reads one resource whole. The identifier may be an alias where the cloud
	// takes one; that of the answer is the resource's own.
	Get(ctx context.Context, s reader.Scope, identifier string) (reader.Resource, error)
	// List reads a page of the resources of a scope.
	List(ctx context.Context, s reader.Scope, q reader.ListQuery) (reader.Page, error)
}

// Options are what New needs.
type Options struct {
	DB *store.DB
	// Sink is where entities go: CatalogSink, or real Port.
	Sink  Sink
	Cloud Cloud
	// Stacks deploys the queues of event records.
	Stacks Stacks
	Reader Reader
	JQ     *jq.Evaluator
	// Jobs runs the jobs. New registers the exporter's handlers with it, so it must not
	// run yet.
	Jobs *work.Runner
	// Node names this node in the lease.
	Node string
	// Now is the clock; nil stands for time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Exporter is the service. Its methods are safe for concurrent use, on any node.
// Errors that are a caller's doing are *httpapi.Error.
type Exporter struct {
	o   Options
	db  *store.DB
	log *slog.Logger

	// mapTime is the constant of that name, but in tests.
	mapTime time.Duration

	tickets tickets
	reads   reads
	configs configs
	locks   locks
	waiting waiting
	sync    syncs

	// loops run while this node has the lease, until their context ends.
	loops []func(ctx context.Context) error
	// followers are told of every record that was settled. They must be quick.
	followers []func(settled)

	mu      sync.Mutex    // guards what follows
	changed chan struct{} // closed, and replaced, when accounts or queues change

	recheck chan struct{} // has an element when a resource is to be read again
}

// New returns the exporter whose state is in o.DB, and registers its jobs with o.Jobs.
func New(o Options) *Exporter {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Exporter{o: o, db: o.DB, log: o.Logger, mapTime: mapTime, changed: make(chan struct{}), recheck: make(chan struct{}, 1), sync: newSyncs()}
	x.loops = []func(ctx context.Context) error{x.pollQueues, x.runRechecks, x.sweep, x.runSyncs, x.runFreshness}
	x.followers = []func(settled){x.followRecord}
	return x
}

// Run exports while this node has the lease, until ctx ends, and returns ctx's
// error.
func (x *Exporter) Run(ctx context.Context) error {
	return x.db.RunLeased(ctx, leaseName, x.o.Node, x.lead)
}

// lead does what the holder of the lease does.
func (x *Exporter) lead(ctx context.Context) error {
	if err := x.takeOver(ctx); err != nil {
		return err
	}
	x.reads.begin()
	defer x.reads.end()
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range x.loops {
		g.Go(func() error { return loop(ctx) })
	}
	return g.Wait()
}

// Register adds the exporter's REST API to mux, which expects the caller's principal
// in the context: a key of auth.HomeAccount. R marks what a reader may do, W what
// takes an operator, and the rest is for admins.
//
//	GET    /v1/exporter/config                            R  {revision, created_at, created_by, warnings, config}
//	PUT    /v1/exporter/config                            W  {config, base_revision}: puts a config.json in force; its warnings also tell what the sink lacks, dropped: [{account, region, kind}] what it selects no longer
//	GET    /v1/exporter/config/revisions                  R  {list: [{revision, created_at, created_by}]}, the newest first
//	GET    /v1/exporter/config/revisions/{revision}       R  as config
//	GET    /v1/exporter/accounts                          R  {list: [account with queues]}
//	GET    /v1/exporter/accounts/{account}                R  account
//	PUT    /v1/exporter/accounts/{account}                   {description, home_region, enabled}
//	DELETE /v1/exporter/accounts/{account}                   204; what was exported stays until a full sync
//	PUT    /v1/exporter/accounts/{account}/queues            {queue, stack}: reads a queue, by ARN or URL
//	DELETE /v1/exporter/accounts/{account}/queues/{queue}    204, by ARN
//	GET    /v1/exporter/accounts/{account}/install           ?region&stack_name&stack_id: how far the queue's stack is
//	POST   /v1/exporter/accounts/{account}/install           {region, stack_name, stack_id, queue}: 202 while it is deployed, again until 200
//	DELETE /v1/exporter/accounts/{account}/install           ?region&stack_name&stack_id&discard: 202 while it is deleted, again until 200
//	GET    /v1/exporter/records                           R  ?queue&account&region&kind&identifier; {list: [dead record]}
//	GET    /v1/exporter/records/{record}                  R  dead record
//	POST   /v1/exporter/records/{record}/redrive          W  204: back on its queue
//	DELETE /v1/exporter/records/{record}                  W  204
//	POST   /v1/exporter/records/redrive                   W  {queue, account, region, kind, identifier, after, until}; {done, failed, error, after, until}
//	POST   /v1/exporter/records/delete                    W  the same
//	GET    /v1/exporter/resources                         R  ?account&region&kind&identifier&blueprint&entity&failed&gone; {list: [resource]}
//	GET    /v1/exporter/sync_runs                         R  {list: [run]}, the last first
//	POST   /v1/exporter/sync_runs                         W  {accounts, regions, kinds, dry_run, grace_seconds}: 202 run
//	GET    /v1/exporter/sync_runs/{run}                   R  run, with its kinds
//	POST   /v1/exporter/sync_runs/{run}/confirm           W  202 run: the scopes that were held, with the removals
//	POST   /v1/exporter/sync_runs/{run}/cancel            W  202 run
//	GET    /v1/exporter/sync_runs/{run}/scopes            R  ?account&region&kind&status; {list: [scope]}
//	GET    /v1/exporter/sync_runs/{run}/changes           R  ?account&region&kind&change; {list: [change]}
//	GET    /v1/exporter/sync_settings                     R  {interval, removal_count, removal_percent, updated_at}
//	PUT    /v1/exporter/sync_settings                     W  those of them that change
//	GET    /v1/exporter/drift                             R  ?run&account&region&kind&missed&pending; {list: [drift]}, the last first
//	GET    /v1/exporter/freshness                         R  ?account&region&kind&status; {list: [freshness]}
func (x *Exporter) Register(mux *http.ServeMux) {
	rest := routes(mux)
	x.registerConfig(rest)
	x.registerRecords(rest)
	x.registerSync(rest)
	x.registerInstall(rest)
}

// now is the time in the resolution that the database keeps.
func (x *Exporter) now() time.Time { return x.o.Now().UTC().Truncate(time.Millisecond) }
