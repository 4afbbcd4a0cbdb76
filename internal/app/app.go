// Package app puts the program together: it opens the engines, makes the
// services, serves them on one port and stops them in order. It is the only
// package that knows all others, and it holds no rules of its own.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
	"github.com/rialto-bus/rialto/internal/box/function"
	"github.com/rialto-bus/rialto/internal/box/function/runtime"
	"github.com/rialto-bus/rialto/internal/box/identity"
	"github.com/rialto-bus/rialto/internal/box/instance"
	"github.com/rialto-bus/rialto/internal/box/loggroup"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack"
	"github.com/rialto-bus/rialto/internal/box/topic"
	"github.com/rialto-bus/rialto/internal/bus"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/eventlog"
	"github.com/rialto-bus/rialto/internal/exporter"
	"github.com/rialto-bus/rialto/internal/intake"
	"github.com/rialto-bus/rialto/internal/inventory"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/trace"
	"github.com/rialto-bus/rialto/internal/work"
)

// stopTime bounds how long a stop waits for calls that are being answered.
const stopTime = 10 * time.Second

// App is a running server. Use Start.
type App struct {
	config Config
	logger *slog.Logger
	node   string

	db        *store.DB
	log       *eventlog.Log
	auth      *auth.Auth
	work      *work.Runner
	buses     *bus.Buses
	queues    *queue.Queues
	topics    *topic.Topics
	logGroups *loggroup.Groups
	instances *instance.Instances
	functions *function.Functions
	// functionPool are the processes that functions run in.
	functionPool *runtime.Pool
	resources    *resource.Registry
	stacks       *stack.Stacks
	accounts     *cloud.Accounts
	inventory    *inventory.Inventory
	intake       *intake.Intake
	jq           *jq.Evaluator
	catalog      *catalog.Catalog
	exporter     *exporter.Exporter
	delivery     *delivery.Delivery
	recorder     *trace.Recorder // nil where traces are switched off
	traces       *trace.Traces
	trail        *awsapi.Trail
	aws          *awsapi.Handler
	client       *target.Client
	endpoints    *target.Client // for those of topics

	listener net.Listener
	server   *http.Server
	url      string // what the server is called by others

	// failed gets the first error that ends the server; stopping is closed when
	// it begins to stop.
	failed   chan error
	stopping chan struct{}
	parts    []part // running, in the order in which they stop
}

// Start opens everything, begins to serve and returns. The caller must call
// Wait. Settings must be valid; see Config.Validate.
func Start(ctx context.Context, c Config, logger *slog.Logger) (*App, error) {
	return start(ctx, c, logger, hooks{now: time.Now})
}

func start(ctx context.Context, c Config, logger *slog.Logger, h hooks) (*App, error) {
	a := &App{config: c, logger: logger, failed: make(chan error, 1), stopping: make(chan struct{})}
	if err := a.open(ctx, h); err != nil {
		return nil, errors.Join(err, a.close())
	}
	a.run(ctx)
	return a, nil
}

// URL is where the server is reached: the public URL, or the address listened on.
func (a *App) URL() string { return a.url }

// LocalURL is where this machine reaches the server.
func (a *App) LocalURL() string {
	scheme := "http"
	if a.config.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(a.listener.Addr().String())
	if err != nil {
		return a.url
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// DataDir is the directory that holds the server's data.
func (a *App) DataDir() string { return a.config.DataDir }

// DevMode reports whether any credentials are accepted.
func (a *App) DevMode() bool { return a.auth.DevMode(context.Background()) }

// listenError says what to do where another program has the port.
func listenError(address string, err error) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("listen on %s: %w; choose another address with --listen, such as 127.0.0.1:0 for a free port", address, err)
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}

// open opens the engines and makes the services, each from those before it.
func (a *App) open(ctx context.Context, h hooks) error {
	public, err := publicURL(a.config)
	if err != nil {
		return err
	}
	if a.db, err = openStore(ctx, a.config, a.logger, h.noSync); err != nil {
		return err
	}
	if a.node, err = nodeName(a.config.DataDir); err != nil {
		return err
	}
	if a.auth, err = openAuth(ctx, a.config, a.db, a.logger, h.now); err != nil {
		return err
	}
	if err := a.auth.CheckExposure(ctx, []string{a.config.Listen}, public); err != nil {
		return err
	}
	// The port is taken before anything needs to know the URL.
	if a.listener, err = net.Listen("tcp", a.config.Listen); err != nil {
		return listenError(a.config.Listen, err)
	}
	a.url = a.LocalURL()
	if public != nil {
		a.url = strings.TrimRight(a.config.PublicURL, "/")
	}
	a.log, err = eventlog.Open(ctx, eventlog.Options{
		Dir: filepath.Join(a.config.DataDir, "events"), URL: a.config.NATS, SystemURL: a.config.NATSSystem, Name: a.node,
		MaxBytes: a.config.EventLogBytes, Keep: a.config.EventLogKeep,
		Replicas: replicas(a.config), Logger: a.logger, UnsafeNoSync: h.noSync,
	})
	if err != nil {
		return fmt.Errorf("open the event log: %w", err)
	}
	if err := a.makeServices(ctx, h); err != nil {
		return err
	}
	return a.makeServer(public)
}

func (a *App) makeServices(ctx context.Context, h hooks) (err error) {
	a.work = work.New(a.db, a.node, a.logger)
	client, err := a.outbound(target.Timeout)
	if err != nil {
		return err
	}
	a.client = client
	a.buses, err = bus.Open(ctx, bus.Options{
		DB: a.db, Log: a.log, Secrets: a.auth.Sealer(), Jobs: a.work, CheckEndpoint: client.CheckURL, Changed: a.tellRules, OrgID: a.config.Organization,
		Progress: a.log, Lagging: a.lagging, Logger: a.logger, Now: h.now, Limits: bus.Limits{PutEventsBytes: a.config.MaxPutEventsBytes},
	})
	if err != nil {
		return err
	}
	a.queues = queue.New(a.db, queue.Options{BaseURL: a.URL, Logger: a.logger, Now: h.now})
	if err := a.makeTopics(h); err != nil {
		return err
	}
	a.logGroups = loggroup.New(a.db, loggroup.Options{Node: a.node, Logger: a.logger, Now: h.now})
	if err := a.makeFunctions(h); err != nil {
		return err
	}
	a.instances = instance.New(a.db, a.work, instance.Options{Transition: a.config.InstanceTransition, Logger: a.logger, Now: h.now})
	a.accounts = cloud.Open(a.db, cloud.Options{
		BoxEndpoint: a.LocalURL, BoxCredentials: a.auth.InternalCredentials, Sealer: a.auth.Sealer(), Now: h.now,
	})
	a.inventory = inventory.New(inventory.Options{
		DB: a.db, Cloud: a.accounts, Auth: a.auth, Work: a.work, PublicURL: a.URL, Now: h.now, Logger: a.logger,
	})
	a.intake = intake.New(a.node, intake.Options{
		DB: a.db, Cloud: a.accounts, Auth: a.auth, BusExists: a.busExists, PublicURL: a.URL, Changed: a.tellSources, Now: h.now, Logger: a.logger,
	})
	targets := target.New(target.Options{Queues: a.queues, Topics: a.topics, LogGroups: a.logGroups, Functions: a.functions.Invoker(), Buses: a.buses, Archives: a.buses, HTTP: client, Real: realAccounts{a.accounts}, Logger: a.logger})
	a.buses.HandleAuthorization(targets)
	if err := a.openRecorder(h); err != nil {
		return err
	}
	a.delivery = delivery.New(delivery.Options{
		DB: a.db, Log: a.log, Buses: a.buses, Targets: targets, Work: a.work, Node: a.node, Logger: a.logger, Now: h.now,
		DeadLetters: delivery.DeadLetterLimits{Age: a.config.DeadLetterAge, Bytes: a.config.DeadLetterBytes}, Trace: a.tracer(), Observe: h.handedOver, ObserveDelivered: h.delivered,
	})
	a.makeTraces(h)
	a.trail = awsapi.NewTrail(awsapi.TrailOptions{DB: a.db, Reads: a.buses.WantsReads, Now: h.now, Logger: a.logger})
	a.aws = awsapi.New(awsapi.Config{Keys: a.auth, DevMode: a.auth.DevMode, Trail: a.trail, Now: h.now, Logger: a.logger})
	a.aws.Register(
		events.Bind(a.buses.AWS()), sqs.Bind(a.queues), sns.Bind(a.topics), logs.Bind(a.logGroups), ec2.Bind(a.instances), lambda.Bind(a.functions), sts.Bind(identity.Identity{}))
	if err := a.makeResources(h); err != nil {
		return err
	}
	a.makeStacks(h)
	return a.makeCatalog(h)
}

// lagging is asked of the delivery, which is made from the buses.
func (a *App) lagging(ctx context.Context, subscriptions []int64) (bool, error) {
	return a.delivery.Lagging(ctx, subscriptions)
}

// outbound makes the guarded client for calls to addresses that users configure.
func (a *App) outbound(timeout time.Duration) (*target.Client, error) {
	allow, err := target.ParseAllow(a.config.AllowOutbound)
	if err != nil {
		return nil, fmt.Errorf("--allow-outbound: %w", err)
	}
	return target.NewClient(target.ClientOptions{
		Allow: allow, Timeout: timeout,
		AllowLoopback: a.DevMode,
		// Rules may call our own token endpoint, webhooks and intakes.
		Own: func() []string { return []string{a.LocalURL(), a.url} },
	}), nil
}

func openStore(ctx context.Context, c Config, logger *slog.Logger, noSync bool) (*store.DB, error) {
	return store.Open(ctx, store.Options{DataDir: c.DataDir, URL: c.Database, Logger: logger, UnsafeNoSync: noSync})
}

func openAuth(ctx context.Context, c Config, db *store.DB, logger *slog.Logger, now func() time.Time) (*auth.Auth, error) {
	o := auth.Options{KeyFile: filepath.Join(c.DataDir, auth.KeyFileName), Logger: logger, Now: now}
	if c.SecretKey != "" {
		key, err := auth.ParseMasterKey(c.SecretKey)
		if err != nil {
			return nil, fmt.Errorf("RIALTO_SECRET_KEY: %w", err)
		}
		o.MasterKey = key
	}
	return auth.Open(ctx, db, o)
}

func publicURL(c Config) (*url.URL, error) {
	if c.PublicURL == "" {
		return nil, nil
	}
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		return nil, fmt.Errorf("--public-url: %w", err)
	}
	return u, nil
}

func replicas(c Config) int {
	if c.NATS == "" {
		return 1
	}
	return c.EventLogReplicas
}

// part is something that runs until it is stopped.
type part struct {
	name string
	stop func() // returns once it has ended
}

// run starts what runs in the background. Wait stops it in the reverse order.
func (a *App) run(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	a.start(ctx, "trimmer", func(ctx context.Context) error { return a.log.RunTrimmer(ctx, a.delivery.KeepFrom) })
	a.runTraces(ctx)
	a.start(ctx, "queues", a.queues.Run)
	a.start(ctx, "topics", a.topics.Run)
	a.start(ctx, "log groups", a.logGroups.Run)
	a.start(ctx, "function processes", a.runFunctionPool)
	a.start(ctx, "functions", a.functions.Run)
	a.start(ctx, "resources", a.resources.Run)
	a.start(ctx, "stacks", a.stacks.Run)
	a.start(ctx, "catalog", a.catalog.Run)
	a.start(ctx, "exporter", a.exporter.Run)
	a.start(ctx, "archives", func(ctx context.Context) error { return a.buses.RunArchives(ctx, a.node) })
	a.start(ctx, "rules", a.followRules)
	a.start(ctx, "schedules", func(ctx context.Context) error { return a.buses.RunSchedules(ctx, a.node) })
	a.startServer(ctx)
	a.start(ctx, "outbox", func(ctx context.Context) error { return a.db.RunOutbox(ctx, a.putOutbox) })
	a.start(ctx, "jobs", a.runJobs)
	a.start(ctx, "delivery", a.delivery.Run)
	a.start(ctx, "intake", a.runIntake)
}

// start runs fn under its own context. An end that nobody asked for ends the
// server.
func (a *App) start(ctx context.Context, name string, fn func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := fn(ctx)
		if ctx.Err() == nil {
			a.fail(errors.Join(fmt.Errorf("%s ended by itself", name), err))
		}
	})
	a.parts = append(a.parts, part{name, func() { cancel(); wg.Wait() }})
}

func (a *App) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// outboxPart bounds what of the outbox goes to the log in one write, in bytes.
const outboxPart = 512 << 10

// putOutbox puts the outbox's events on their buses, in writes that the log
// takes.
func (a *App) putOutbox(ctx context.Context, recs []event.Record) error {
	for len(recs) > 0 {
		n, size := 0, 0
		for n < len(recs) && (n == 0 || size+len(recs[n].JSON) <= outboxPart) {
			size += len(recs[n].JSON)
			n++
		}
		if err := a.buses.Put(ctx, recs[:n]); err != nil {
			return err
		}
		recs = recs[n:]
	}
	return nil
}

// Wait serves until ctx ends or a part of the server fails, then stops
// everything and returns the failure, if any.
func (a *App) Wait(ctx context.Context) error {
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-a.failed:
	}
	a.logger.Info("stopping")
	for _, p := range slices.Backward(a.parts) {
		a.logger.Debug("stopping", "part", p.name)
		p.stop()
	}
	return errors.Join(failure, a.close())
}

// close closes what open opened, as far as it came.
func (a *App) close() error {
	var errs []error
	for _, client := range []*target.Client{a.client, a.endpoints} {
		if client != nil {
			client.Close()
		}
	}
	if a.accounts != nil {
		a.accounts.Close()
	}
	if a.jq != nil {
		errs = append(errs, a.jq.Close())
	}
	if a.functions != nil {
		errs = append(errs, a.functions.Close())
	}
	if a.listener != nil && a.server == nil {
		errs = append(errs, a.listener.Close())
	}
	if a.log != nil {
		errs = append(errs, a.log.Close())
	}
	if a.db != nil {
		errs = append(errs, a.db.Close())
	}
	return errors.Join(errs...)
}

// CreateKey makes an access key in the data of a stopped server.
func CreateKey(ctx context.Context, c Config, account, role, description string) (id, secret string, err error) {
	logger := slog.New(slog.DiscardHandler)
	parsed, err := auth.ParseRole(role)
	if err != nil {
		return "", "", err
	}
	db, err := openStore(ctx, c, logger, false)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	a, err := openAuth(ctx, c, db, logger, time.Now)
	if err != nil {
		return "", "", err
	}
	key, secret, err := a.CreateKey(ctx, auth.NewKey{Account: account, Role: parsed, Description: description})
	return key.ID, secret, err
}
