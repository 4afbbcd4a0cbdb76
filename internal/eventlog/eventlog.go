// Package eventlog is the durable event log: an append-only sequence of batches over NATS JetStream, run inside this
// process by default or on an external NATS cluster, with the same code for both.
//
// Append returns after the batch that holds its entries is on stable storage; entries of many concurrent callers share one
// batch, and so one fsync. Consume hands every batch to the router at least once, Read follows the log from any sequence,
// and the trimmer removes what has been delivered and is no longer kept.
//
// The log knows bytes and sequences. It knows nothing of events, event buses, rules or targets, and it is not a queue:
// state of single items (retries, delays, dead letters) belongs in SQL.
package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrFull says that the log has no room: its size limit is filled with batches that are not delivered yet, or the disk
	// is nearly full. Nothing of the refused call was stored. Throttle the sender and try again.
	ErrFull = errors.New("event log is full")
	// ErrTooLarge says that one call brought more than a batch may carry. Trying again cannot help.
	ErrTooLarge = errors.New("entries are too large for one batch of the event log")
	// ErrUnavailable says that the engine did not confirm a write or did not answer. After Append, the entries may or may
	// not be stored; sending them again may store them twice.
	ErrUnavailable = errors.New("event log is unavailable")
	// ErrTrimmed says that the batch asked for has been removed from the log.
	ErrTrimmed = errors.New("batch is no longer in the event log")
	// ErrNotStored says that the sequence asked for is beyond the end of the log.
	ErrNotStored = errors.New("batch is not in the event log yet")
	// ErrClosed says that the log is closing or closed.
	ErrClosed = errors.New("event log is closed")
	// ErrInUse says that another process has the data directory open.
	ErrInUse = errors.New("event log directory is in use by another process")
)

const (
	streamName   = "RIALTO_EVENTS"
	subject      = "rialto.events"
	consumerName = "router"

	minMaxBytes      = 8 << 20
	defaultMaxBytes  = 8 << 30
	defaultKeep      = 6 * time.Hour
	defaultInFlight  = 64 << 20
	defaultReserve   = 64 << 20
	minPayload       = 2 << 20
	embeddedPayload  = 8 << 20
	payloadOverhead  = 4 << 10 // protocol headers beside the record
	defaultAckWait   = 5 * time.Second
	requestTimeout   = 5 * time.Second
	commitTimeout    = 10 * time.Second
	externalReplicas = 3
)

// Options configures Open. The zero value of a field selects the default named there.
type Options struct {
	// Dir is the directory of the embedded server's store, made when missing. Not used with URL.
	Dir string
	// URL is the external NATS to use, as nats.go takes it (several, separated by commas). Empty: an embedded server.
	URL string
	// SystemURL is the same NATS with the credentials of its system account. With it Open reads the servers' own settings
	// and refuses those that do not sync every write. Without it nobody can check that from outside.
	SystemURL string
	// Name is this node's name, unique among the nodes of one log. It shows in the engine's connection lists.
	Name string
	// MaxBytes limits the size of the log, at least 8 MiB. Default 8 GiB. Once this much is waiting to be delivered,
	// Append fails with ErrFull.
	MaxBytes int64
	// Keep is how long delivered batches stay for tail and trace. Default 6 hours.
	Keep time.Duration
	// KeepBytes is the size above which the trimmer removes delivered batches even when they are younger than Keep.
	// Default half of MaxBytes, at most three quarters of it.
	KeepBytes int64
	// InFlightBytes bounds the batches that the consumer's handler has been given and has not acked. Default 64 MiB.
	InFlightBytes int64
	// ReserveBytes is the free space on the disk of Dir below which Append fails with ErrFull, so that the engine can
	// still write its own state. Default 64 MiB; not used with URL.
	ReserveBytes int64
	// Replicas is the number of copies an external cluster keeps. Default 3 with URL; always 1 without.
	Replicas int
	// Logger receives the engine's messages. Default: slog.Default().
	Logger *slog.Logger

	// UnsafeNoSync turns the embedded engine's fsync off. Acknowledged entries are then lost with the machine's power.
	// It exists so that a durability test can be shown to fail; nothing else may set it.
	UnsafeNoSync bool

	ackWait   time.Duration
	readAhead int
}

func (o Options) withDefaults() (Options, error) {
	if o.URL == "" && o.Dir == "" {
		return o, errors.New("event log: neither a directory nor a NATS URL is set")
	}
	if o.URL != "" && o.UnsafeNoSync {
		return o, errors.New("event log: syncing of an external NATS is set in its own configuration")
	}
	if o.URL == "" && o.SystemURL != "" {
		return o, errors.New("event log: a system account's URL is set, but no NATS URL")
	}
	if o.URL == "" && o.Replicas > 1 {
		return o, fmt.Errorf("event log: %d replicas need an external NATS cluster", o.Replicas)
	}
	o.MaxBytes = orDefault(o.MaxBytes, defaultMaxBytes)
	if o.MaxBytes < minMaxBytes {
		return o, fmt.Errorf("event log: size limit %d is below the minimum of %d bytes", o.MaxBytes, minMaxBytes)
	}
	o.Keep = orDefault(o.Keep, defaultKeep)
	o.KeepBytes = min(orDefault(o.KeepBytes, o.MaxBytes/2), o.MaxBytes/4*3)
	o.InFlightBytes = orDefault(o.InFlightBytes, defaultInFlight)
	o.ReserveBytes = orDefault(o.ReserveBytes, defaultReserve)
	o.ackWait = orDefault(o.ackWait, defaultAckWait)
	if o.readAhead == 0 {
		o.readAhead = defaultReadAhead
	}
	if o.Keep < 0 || o.KeepBytes < 0 || o.InFlightBytes < 0 || o.ReserveBytes < 0 || o.Replicas < 0 {
		return o, errors.New("event log: sizes, times and replicas cannot be negative")
	}
	if o.Replicas == 0 {
		o.Replicas = 1
		if o.URL != "" {
			o.Replicas = externalReplicas
		}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

func orDefault[T ~int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// Log is an open event log. Its methods may be called from many goroutines.
type Log struct {
	opts   Options
	engine *engine // nil with an external NATS
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	router jetstream.Consumer

	synced bool // an external NATS has shown that it syncs every write

	committer committer
	inFlight  inFlight
	trimmer   trimmer

	closeOnce sync.Once
	closeErr  error
}

// Open starts the engine or connects to it, makes the log when there is none, and checks that the engine is fit to hold it.
// ctx bounds the opening only. Errors: ErrInUse; otherwise what is wrong and with which setting.
func Open(ctx context.Context, o Options) (*Log, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	l := &Log{opts: o}
	if err := l.connect(); err != nil {
		l.disconnect()
		return nil, err
	}
	if err := l.prepare(ctx); err != nil {
		l.disconnect()
		return nil, err
	}
	l.inFlight.init(o.InFlightBytes)
	l.trimmer.init()
	l.startCommitter()
	return l, nil
}

func (l *Log) connect() error {
	opts := []nats.Option{
		nats.Name("rialto " + l.opts.Name),
		nats.MaxReconnects(-1),
		nats.Timeout(requestTimeout),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			level := slog.LevelWarn
			if errors.Is(err, nats.ErrSlowConsumer) {
				level = slog.LevelDebug // a reader that is held up for long: it notices what it missed and reads it again
			}
			l.opts.Logger.Log(context.Background(), level, "event log connection", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				l.opts.Logger.Warn("event log connection lost, reconnecting", "error", err)
			}
		}),
	}
	if l.opts.URL == "" {
		engine, err := startEngine(l.opts)
		if err != nil {
			return err
		}
		l.engine = engine
		opts = append(opts, nats.InProcessServer(engine), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	}
	nc, err := nats.Connect(l.opts.URL, opts...)
	if err != nil {
		return fmt.Errorf("event log: connect to NATS %s: %w", withoutSecrets(l.opts.URL), withoutURL(err))
	}
	l.nc = nc
	l.js, err = jetstream.New(nc, jetstream.WithPublishAsyncTimeout(commitTimeout), jetstream.WithDefaultTimeout(requestTimeout))
	if err != nil {
		return fmt.Errorf("event log: %w", err)
	}
	return nil
}

func (l *Log) disconnect() {
	if l.nc != nil {
		l.nc.Close()
	}
	if l.engine != nil {
		l.engine.stop()
	}
}

// prepare makes the stream and the router's consumer, or brings those that exist up to the options.
func (l *Log) prepare(ctx context.Context) error {
	if l.opts.URL != "" {
		if err := l.checkExternal(ctx); err != nil {
			return err
		}
	}
	var err error
	l.stream, err = l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        streamName,
		Description: "Rialto's event log",
		Subjects:    []string{subject},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    l.opts.MaxBytes,
		MaxMsgSize:  -1,
		Replicas:    l.opts.Replicas,
		AllowDirect: true,
		// The log never relies on the engine's de-duplication: it knows messages, not entries.
		Duplicates: 100 * time.Millisecond,
	})
	if err != nil {
		return fmt.Errorf("event log: create the stream with %d replicas: %w", l.opts.Replicas, err)
	}
	l.router, err = l.stream.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       consumerName,
		Description:   "Rialto's router, shared by all nodes",
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       l.opts.ackWait,
		MaxDeliver:    -1,
		MaxAckPending: -1, // bounded in bytes, by inFlight
	})
	if err != nil {
		return fmt.Errorf("event log: create the router's consumer: %w", err)
	}
	if l.engine == nil {
		return nil
	}
	// Nobody else consumes an embedded log: what a crashed process had in flight need not wait for its ack deadline.
	if info := l.router.CachedInfo(); info.NumAckPending > 0 {
		if _, err := l.stream.ResetConsumer(ctx, consumerName); err != nil {
			return fmt.Errorf("event log: hand out again what was in flight: %w", err)
		}
	}
	return nil
}

// SyncAlways reads back from the running engine whether every write is fsynced before it is confirmed. known is false for
// an external NATS without Options.SystemURL.
func (l *Log) SyncAlways() (always, known bool) {
	if l.engine == nil {
		return l.synced, l.synced
	}
	return l.engine.syncAlways(), true
}

// Close refuses new entries, waits until those already accepted are stored, hands back batches that were not acked, and
// stops the engine. Cancel the contexts of Consume, Read and RunTrimmer and wait for them first.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.stopCommitter()
		l.inFlight.giveBack()
		l.closeErr = l.nc.FlushTimeout(requestTimeout)
		l.disconnect()
	})
	if l.closeErr != nil {
		return fmt.Errorf("close event log: %w", l.closeErr)
	}
	return nil
}
