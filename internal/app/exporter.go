package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/exporter"
	"github.com/rialto-bus/rialto/internal/exporter/port"
	"github.com/rialto-bus/rialto/internal/exporter/reader"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/jq"
)

// portTimeout bounds a call of Port.
const portTimeout = 30 * time.Second

// makeCatalog makes the catalog and the exporter that writes to it, or to Port.
func (a *App) makeCatalog(h hooks) error {
	a.jq = jq.New(jq.Options{})
	a.catalog = catalog.New(catalog.Options{DB: a.db, Jobs: a.work, JQ: a.jq, PublicURL: a.config.PublicURL, Now: h.now, Logger: a.logger})
	sink, err := a.sink(h)
	if err != nil {
		return err
	}
	a.exporter = exporter.New(exporter.Options{
		DB: a.db, Sink: sink, Cloud: a.accounts, Stacks: a.accounts, Reader: reader.New(reader.Options{Cloud: a.accounts}), JQ: a.jq, Jobs: a.work,
		Node: a.node, Now: h.now, Logger: a.logger,
	})
	return nil
}

// sink is where the exporter writes.
func (a *App) sink(h hooks) (exporter.Sink, error) {
	c := &a.config
	if c.PortBaseURL == "" {
		return exporter.CatalogSink(a.catalog), nil
	}
	// The operator names the URL, as the endpoints of cloud accounts: the guard is for
	// what users configure.
	client := &http.Client{
		Timeout:       portTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	sink, err := port.New(port.Options{
		BaseURL: c.PortBaseURL, ClientID: c.PortClientID, ClientSecret: c.PortClientSecret,
		Places: a.places, HTTP: client, Logger: a.logger, Now: h.now,
	})
	if err != nil {
		return nil, fmt.Errorf("--port-base-url: %w", err)
	}
	return sink, nil
}

// places are the accounts and regions whose entities the exporter writes.
func (a *App) places(ctx context.Context) ([]port.Place, error) {
	scopes, err := a.exporter.Places(ctx)
	if err != nil {
		return nil, err
	}
	places := make([]port.Place, len(scopes))
	for i, s := range scopes {
		places[i] = port.Place{Account: s.Account, Region: s.Region}
	}
	return places, nil
}

// routeCatalog serves Port's API, whose errors have a shape of their own.
func (a *App) routeCatalog(mux *http.ServeMux) {
	api := http.NewServeMux()
	a.catalog.Register(api)
	served := a.auth.PortMiddleware(api)
	for _, path := range catalog.Paths() {
		mux.Handle(path, served)
	}
	mux.Handle(auth.PortTokenPath, a.auth.PortTokenHandler())
}

func (c *Config) validatePort() error {
	if c.PortBaseURL == "" {
		return nil // the variables of the client may be there for others
	}
	u, err := url.Parse(c.PortBaseURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--port-base-url %q is not a URL such as https://api.getport.io", c.PortBaseURL)
	}
	if c.PortClientID == "" || c.PortClientSecret == "" {
		return errors.New("--port-base-url needs PORT_CLIENT_ID and PORT_CLIENT_SECRET; leave all three out to write to the catalog in here")
	}
	return nil
}

// writeRefusal answers what the guard refuses, in the shape of the API that was called.
func writeRefusal(w http.ResponseWriter, r *http.Request, err error) {
	// /v1/teams and /v1/webhooks are Port's, and what is below them our own.
	if strings.HasPrefix(r.URL.Path, "/v1/") && !isOwn(r.URL.Path) || slices.Contains(catalog.Paths(), r.URL.Path) {
		httpapi.WritePortError(w, r, err)
		return
	}
	httpapi.WriteError(w, r, err)
}
