package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	engineStartTimeout = 30 * time.Second
	engineMemory       = 64 << 20
	// engineStore is the engine's own storage limit. The log has its MaxBytes and the disk its reserve; this one only has
	// to be out of their way.
	engineStore = 1 << 50
)

// engine is the NATS server inside this process. It hands out in-process connections, also across a restart, so that the
// client's ordinary reconnecting finds the new server.
type engine struct {
	opts Options
	lock *os.File

	mu      sync.Mutex
	ns      *server.Server
	stopped bool
}

func startEngine(o Options) (*engine, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("event log: make its directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &engine{opts: o, lock: lock}
	e.ns, err = e.start()
	if err != nil {
		unlockDir(lock)
		return nil, err
	}
	return e, nil
}

func (e *engine) start() (*server.Server, error) {
	ns, err := server.NewServer(&server.Options{
		ServerName:         serverName(e.opts.Name),
		DontListen:         true,
		NoSigs:             true,
		JetStream:          true,
		StoreDir:           filepath.Join(e.opts.Dir, "events"),
		SyncAlways:         !e.opts.UnsafeNoSync,
		JetStreamMaxMemory: engineMemory,
		JetStreamMaxStore:  engineStore,
		JetStreamLimits:    server.JSLimitOpts{DefaultMaxConsumers: -1},
		MaxPayload:         embeddedPayload,
	})
	if err != nil {
		return nil, fmt.Errorf("event log: configure the engine: %w", err)
	}
	log := &engineLogger{log: e.opts.Logger}
	ns.SetLoggerV2(log, false, false, false)
	ns.Start() // returns once started, as there is no listener
	if log.fatal != "" || !ns.JetStreamEnabled() || !ns.ReadyForConnections(engineStartTimeout) {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("event log: the engine did not start on %s: %s", e.opts.Dir, log.fatal)
	}
	return ns, nil
}

// serverName makes a node's name fit for the engine, which takes no spaces.
func serverName(name string) string {
	if name == "" {
		return "rialto"
	}
	return strings.ReplaceAll(name, " ", "_")
}

// InProcessConn implements nats.InProcessConnProvider.
func (e *engine) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ns.InProcessConn()
}

func (e *engine) syncAlways() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	cfg := e.ns.JetStreamConfig()
	return cfg != nil && cfg.SyncAlways
}

// fault is why the store cannot take writes, nil while it can. After a failed write the engine refuses all later ones,
// without an answer, until it is restarted.
func (e *engine) fault() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	health := e.ns.Healthz(nil)
	if health.Error == "" {
		return nil
	}
	return errors.New(health.Error)
}

// restart replaces the server by a new one on the same store.
func (e *engine) restart() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		return ErrClosed
	}
	e.ns.Shutdown()
	e.ns.WaitForShutdown()
	ns, err := e.start()
	if err != nil {
		return err
	}
	e.ns = ns
	return nil
}

func (e *engine) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	e.ns.Shutdown()
	e.ns.WaitForShutdown()
	unlockDir(e.lock)
}

// engineLogger passes the server's messages on. Its notices are details to everyone else.
type engineLogger struct {
	log   *slog.Logger
	fatal string // why it could not start; written only during Start
}

// Noticef logs what concerns developers only.
func (l *engineLogger) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Warnf logs a warning.
func (l *engineLogger) Warnf(format string, v ...any) { l.write(slog.LevelWarn, format, v) }

// Errorf logs an error.
func (l *engineLogger) Errorf(format string, v ...any) { l.write(slog.LevelError, format, v) }

// Debugf logs what concerns developers only.
func (l *engineLogger) Debugf(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Tracef logs what concerns developers only.
func (l *engineLogger) Tracef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }

// Fatalf is how the server says that it could not start.
func (l *engineLogger) Fatalf(format string, v ...any) {
	l.fatal = fmt.Sprintf(format, v...)
	l.write(slog.LevelError, format, v)
}

func (l *engineLogger) write(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "event log engine: "+fmt.Sprintf(format, v...))
	}
}
