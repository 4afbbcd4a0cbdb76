package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	readHeaderTimeout = 10 * time.Second
	// readTimeout leaves time for the largest body over a slow line; writeTimeout
	// for SQS long polls of 20 seconds. Streams set their own.
	readTimeout    = 60 * time.Second
	writeTimeout   = 90 * time.Second
	idleTimeout    = 120 * time.Second
	maxHeaderBytes = 64 << 10
)

func (a *App) makeServer(public *url.URL) error {
	handler, err := httpapi.Guard(a.routes(), httpapi.GuardOptions{PublicURL: public, Hosts: a.config.Hosts, Open: a.auth.DevMode, WriteError: writeRefusal, Page: isLink})
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           httpapi.Requests(handler, a.logger),
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		// Strangers cause most of it: failed handshakes, connections cut off.
		ErrorLog: slog.NewLogLogger(a.logger.Handler(), slog.LevelDebug),
	}
	if a.config.TLSCert == "" {
		a.server = server
		return nil
	}
	cert, err := tls.LoadX509KeyPair(a.config.TLSCert, a.config.TLSKey)
	if err != nil {
		return fmt.Errorf("read --tls-cert and --tls-key: %w", err)
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	a.server = server
	return nil
}

// routes tells what the one port serves apart: our REST API under /v1, health
// and metrics, and AWS requests everywhere else.
func (a *App) routes() http.Handler {
	rest := http.NewServeMux()
	a.buses.Register(rest)
	a.delivery.Register(rest)
	rest.HandleFunc("GET /v1/events/stream", a.auth.WhileAllowed(a.buses.StreamHandler(a.log, a.stopping)))
	a.auth.RegisterKeys(rest)
	a.accounts.Register(rest)
	a.inventory.Register(rest)
	a.traces.Register(rest)
	a.intake.Register(rest)
	a.exporter.Register(rest)

	mux := http.NewServeMux()
	mux.Handle(httpapi.TokenPath, a.auth.TokenHandler())
	mux.Handle(auth.LoginPattern, a.auth.LoginHandler())
	// Webhooks, intakes and agents authenticate by tokens of their own.
	known := httpapi.KnownRoutes(rest)
	mux.Handle("/v1/webhooks/", known)
	mux.Handle("/v1/intake/", known)
	mux.Handle("/v1/agent/", known)
	mux.Handle("/v1/", ownOrPorts(rest, a.auth.Middleware(known), a.auth.PortMiddleware(http.HandlerFunc(httpapi.PortNotFound))))
	a.routeCatalog(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.serveReady)
	metrics := promhttp.HandlerFor(a.metrics(), promhttp.HandlerOpts{})
	mux.Handle("GET /metrics", a.auth.BasicMiddleware(auth.Require(auth.Read, metrics.ServeHTTP)))
	mux.HandleFunc("/", a.serveRoot)
	return a.unclean(mux)
}

// ownRoots are the first segments of our own REST API's paths. What else there is under
// /v1 is Port's.
var ownRoots = []string{
	"agent", "cloud", "dead-letters", "events", "exporter", "intake", "keys", "replays", "sources", "teams", "webhooks",
}

// isOwn reports whether a path under /v1 is of our own API.
func isOwn(path string) bool {
	root, _, _ := strings.Cut(strings.TrimPrefix(path, "/v1/"), "/")
	return path == httpapi.TokenPath || slices.Contains(ownRoots, root)
}

// ownOrPorts sends a request to own where rest has a route for it or its path is of our
// own API, and to ports otherwise: each says in its own shape what is not there.
func ownOrPorts(rest *http.ServeMux, own, ports http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := rest.Handler(r); pattern != "" || isOwn(r.URL.Path) {
			own.ServeHTTP(w, r)
			return
		}
		ports.ServeHTTP(w, r)
	})
}

// unclean answers AWS requests whose paths have empty or dotted segments, as of a function
// with an empty name: the mux would send their clients elsewhere, with a signature that is not
// for there.
func (a *App) unclean(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if (strings.Contains(path, "//") || strings.Contains(path, "/.")) && !strings.HasPrefix(path, "/v1/") && awsapi.IsAWSRequest(r) {
			a.aws.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// serveRoot answers AWS requests, which may have any path, and greets others.
func (a *App) serveRoot(w http.ResponseWriter, r *http.Request) {
	if isLink(r) {
		a.serveLink(w, r)
		return
	}
	if awsapi.IsAWSRequest(r) {
		a.aws.ServeHTTP(w, r)
		return
	}
	if r.Method == http.MethodGet && r.URL.Path == "/" {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "Rialto serves here. Point the AWS CLI at it with AWS_ENDPOINT_URL=%s; 'rialto --help' lists what else there is.\n", a.url)
		return
	}
	httpapi.WriteError(w, r, httpapi.NotFound("There is nothing at %s %s. AWS requests need a SigV4 Authorization header.", r.Method, r.URL.Path))
}

// serveReady says whether events can be taken: the database answers and so does
// the log.
func (a *App) serveReady(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	var one int
	if err := a.db.QueryRow(ctx, `SELECT 1`).Scan(&one); err != nil {
		httpapi.WriteError(w, r, httpapi.Unavailable(time.Second, "The database does not answer."))
		return
	}
	if _, err := a.log.Stats(ctx); err != nil {
		httpapi.WriteError(w, r, httpapi.Unavailable(time.Second, "The event log does not answer."))
		return
	}
	fmt.Fprintf(w, "ready\n%s", a.durability(ctx))
}

// pollTime is how long calls may go on waiting, for a queue's messages for
// example, once the server is to stop.
const pollTime = time.Second

// startServer serves until its part is stopped: then streams end at once, long
// polls after pollTime, and other calls have stopTime to end.
func (a *App) startServer(ctx context.Context) {
	base, cancelBase := context.WithCancel(ctx)
	a.server.BaseContext = func(net.Listener) context.Context { return base }
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var err error
		if a.server.TLSConfig != nil {
			err = a.server.ServeTLS(a.listener, "", "")
		} else {
			err = a.server.Serve(a.listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			a.fail(fmt.Errorf("serve on %s: %w", a.config.Listen, err))
		}
	}()
	a.parts = append(a.parts, part{"http", func() {
		close(a.stopping)
		stop, cancel := context.WithTimeout(ctx, stopTime)
		defer cancel()
		defer time.AfterFunc(pollTime, cancelBase).Stop()
		if err := a.server.Shutdown(stop); err != nil {
			a.logger.Warn("calls were still being answered and are cut off", "error", err)
			_ = a.server.Close()
		}
		<-ended
	}})
}
