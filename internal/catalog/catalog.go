// Package catalog is a software catalog with Port's data model: blueprints say what
// kinds of entities there are, entities hold properties and relations, and every
// change of either keeps its cause and is published as an event. Its wire shapes
// and search language are Port's, so that Port's clients work with it.
//
// Where things are: blueprint.go and model.go hold the blueprints, apply.go makes
// changes of entities, change.go is their history, search.go the search language,
// computed.go the properties that are computed when read. This package does not
// know where entities come from; the exporter does.
package catalog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// Options are what New needs.
type Options struct {
	DB *store.DB
	// Jobs runs the catalog's jobs. New registers their handlers with it, so it must
	// not run yet.
	Jobs *work.Runner
	// JQ evaluates calculation properties.
	JQ *jq.Evaluator
	// HomeAccount and HomeRegion are where changes are published: on the default bus
	// of 000000000000 and us-east-1 if empty.
	HomeAccount, HomeRegion string
	// PublicURL is where others reach the server; "" where there is no such place.
	PublicURL string
	// KeepChanges is how long history is kept; 0 stands for a year.
	KeepChanges time.Duration
	// Now is the clock; nil stands for time.Now.
	Now    func() time.Time
	Logger *slog.Logger
}

// Catalog is the service. Its methods are safe for concurrent use. What is a
// caller's doing is an *Error; any other error is the server's own trouble.
type Catalog struct {
	o   Options
	db  *store.DB
	log *slog.Logger

	mu    sync.Mutex // guards known
	known *model     // the newest blueprints read so far

	keys  keyCache      // of the index of values
	scans chan struct{} // one element per search that reads through blueprints
	plan  searchPlan

	calculators calculators
	agents      agents
}

// New returns the catalog kept in o.DB, and registers its jobs with o.Jobs.
func New(o Options) *Catalog {
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
	if o.KeepChanges == 0 {
		o.KeepChanges = 365 * 24 * time.Hour
	}
	c := &Catalog{o: o, db: o.DB, log: o.Logger, scans: make(chan struct{}, maxScans), plan: defaultPlan, agents: agents{most: maxAgents}}
	o.Jobs.Handle(queueRefit, work.QueueOptions{Concurrency: 1}, c.refitJob)
	c.handleMigrations()
	return c
}

// Run does what the catalog does in the background until ctx ends, and returns
// ctx's error.
func (c *Catalog) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, loop := range []func(context.Context){
		c.sweepHourly, c.sweepChanges, c.aggregateInTurns,
	} {
		wg.Go(func() { loop(ctx) })
	}
	wg.Wait()
	return ctx.Err()
}

// now is the time in the resolution that the database keeps.
func (c *Catalog) now() time.Time { return c.o.Now().UTC().Truncate(time.Millisecond) }
