package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rialto-bus/rialto/internal/app"
)

func newServe(s *streams) *cobra.Command {
	defaults := app.NewConfig()
	flags := defaults
	var file string
	var functions bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server",
		Long: `Run the server: the event bus, the account in a box and the records, on one
port. Each flag is also an environment variable, RIALTO_LISTEN for --listen, and
a key of the YAML file named by --config. Flags win over the environment, the
environment over the file.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags.Functions = &functions
			config, err := serveConfig(cmd, flags, file)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), s, config)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", envOr("RIALTO_CONFIG", ""), "YAML file with settings")
	f.StringVar(&flags.Listen, "listen", defaults.Listen, "address to serve on; port 0 picks a free one")
	f.StringVar(&flags.DataDir, "data-dir", defaults.DataDir, "directory of the event log, the database and the key file")
	f.StringVar(&flags.PublicURL, "public-url", "", "URL where others reach this server")
	f.StringSliceVar(&flags.Hosts, "host", nil, "further host names to answer to (hosts in the file, RIALTO_HOSTS)")
	f.StringVar(&flags.TLSCert, "tls-cert", "", "certificate to serve HTTPS with (PEM)")
	f.StringVar(&flags.TLSKey, "tls-key", "", "key of the certificate (PEM)")
	f.StringVar(&flags.NATS, "nats", "", "URL of an external NATS cluster instead of the embedded one")
	f.StringVar(&flags.NATSSystem, "nats-system", "", "the same URL with its system account's user: checks that the cluster syncs every write")
	f.StringVar(&flags.Database, "database", "", "postgres:// URL instead of SQLite in the data directory")
	f.Int64Var(&flags.EventLogBytes, "event-log-bytes", defaults.EventLogBytes, "most bytes of undelivered events before PutEvents is throttled")
	f.DurationVar(&flags.EventLogKeep, "event-log-keep", defaults.EventLogKeep, "how long delivered events stay readable, space allowing")
	f.Int64Var(&flags.TraceBytes, "trace-bytes", defaults.TraceBytes, "most bytes of records of what became of events; 0 records nothing")
	f.IntVar(&flags.EventLogReplicas, "event-log-replicas", defaults.EventLogReplicas, "NATS nodes that hold each event (with --nats)")
	f.DurationVar(&flags.DeadLetterAge, "dead-letter-age", defaults.DeadLetterAge, "how long built-in dead letters are kept")
	f.Int64Var(&flags.DeadLetterBytes, "dead-letter-bytes", defaults.DeadLetterBytes, "most bytes of built-in dead letters, the oldest are dropped beyond; 0 turns them off")
	f.IntVar(&flags.MaxPutEventsBytes, "max-put-events-bytes", defaults.MaxPutEventsBytes, "most bytes in the entries of one PutEvents call")
	f.StringSliceVar(&flags.AllowOutbound, "allow-outbound", nil, "private CIDR or host:port that rules may call; may be repeated")
	f.StringVar(&flags.SMTP, "smtp", "", "HOST:PORT of the SMTP server that topics send e-mail by")
	f.StringVar(&flags.SMTPFrom, "smtp-from", "", "address that topics send e-mail from (with --smtp)")
	f.StringVar(&flags.PortBaseURL, "port-base-url", "", "URL of Port's API, for an exporter that writes to Port instead of the catalog in here")
	f.StringVar(&flags.Organization, "organization", "", "AWS organization of all accounts here, for bus policies with aws:PrincipalOrgID")
	f.DurationVar(&flags.InstanceTransition, "instance-transition", defaults.InstanceTransition, "how long instances of the box stay pending, stopping or shutting down")
	f.DurationSliceVar(&flags.FunctionRetryWaits, "function-retry-waits", defaults.FunctionRetryWaits, "pauses before the retries of asynchronous invocations that functions failed")
	f.BoolVar(&functions, "functions", false, "run functions, which is users' code, without a sandbox (default: only on loopback)")
	f.StringVar(&flags.LogLevel, "log-level", defaults.LogLevel, "debug, info, warn or error")
	f.StringVar(&flags.LogFormat, "log-format", defaults.LogFormat, "text or json")
	return cmd
}

// serveConfig puts the sources together: defaults, file, environment, flags.
func serveConfig(cmd *cobra.Command, flags app.Config, file string) (app.Config, error) {
	c := app.NewConfig()
	if file != "" {
		if err := c.ReadFile(file); err != nil {
			return c, usageError{err}
		}
	}
	if err := c.ReadEnvironment(); err != nil {
		return c, usageError{err}
	}
	for name, set := range map[string]func(){
		"listen":               func() { c.Listen = flags.Listen },
		"data-dir":             func() { c.DataDir = flags.DataDir },
		"public-url":           func() { c.PublicURL = flags.PublicURL },
		"host":                 func() { c.Hosts = flags.Hosts },
		"tls-cert":             func() { c.TLSCert = flags.TLSCert },
		"tls-key":              func() { c.TLSKey = flags.TLSKey },
		"nats":                 func() { c.NATS = flags.NATS },
		"nats-system":          func() { c.NATSSystem = flags.NATSSystem },
		"database":             func() { c.Database = flags.Database },
		"event-log-bytes":      func() { c.EventLogBytes = flags.EventLogBytes },
		"event-log-keep":       func() { c.EventLogKeep = flags.EventLogKeep },
		"trace-bytes":          func() { c.TraceBytes = flags.TraceBytes },
		"event-log-replicas":   func() { c.EventLogReplicas = flags.EventLogReplicas },
		"dead-letter-age":      func() { c.DeadLetterAge = flags.DeadLetterAge },
		"dead-letter-bytes":    func() { c.DeadLetterBytes = flags.DeadLetterBytes },
		"max-put-events-bytes": func() { c.MaxPutEventsBytes = flags.MaxPutEventsBytes },
		"allow-outbound":       func() { c.AllowOutbound = flags.AllowOutbound },
		"smtp":                 func() { c.SMTP = flags.SMTP },
		"smtp-from":            func() { c.SMTPFrom = flags.SMTPFrom },
		"port-base-url":        func() { c.PortBaseURL = flags.PortBaseURL },
		"organization":         func() { c.Organization = flags.Organization },
		"instance-transition":  func() { c.InstanceTransition = flags.InstanceTransition },
		"functions":            func() { c.Functions = flags.Functions },
		"function-retry-waits": func() { c.FunctionRetryWaits = flags.FunctionRetryWaits },
		"log-level":            func() { c.LogLevel = flags.LogLevel },
		"log-format":           func() { c.LogFormat = flags.LogFormat },
	} {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
	if err := c.Validate(); err != nil {
		return c, usageError{err}
	}
	return c, nil
}

func serve(ctx context.Context, s *streams, config app.Config) error {
	logger, err := app.NewLogger(config, s.err)
	if err != nil {
		return err
	}
	server, err := app.Start(ctx, config, logger)
	if err != nil {
		return err
	}
	printWelcome(s.out, server)
	err = server.Wait(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// printWelcome says what a newcomer needs next.
func printWelcome(w io.Writer, server *app.App) {
	url := server.URL()
	fmt.Fprintf(w, "Rialto serves at %s (data in %s)\n\n", url, server.DataDir())
	key := "AWS_ACCESS_KEY_ID=RLTO… AWS_SECRET_ACCESS_KEY=…"
	if server.DevMode() {
		key = "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test"
		fmt.Fprint(w, "Dev mode: no admin key exists, so any credentials are accepted, from this machine only.\n"+
			"Close it with: rialto keys create --role admin\n\n")
	} else {
		fmt.Fprint(w, "Every call needs an access key of this server. An admin makes one with: rialto keys create\n\n")
	}
	fmt.Fprintf(w, "In another terminal:\n\n"+
		"  export AWS_ENDPOINT_URL=%s %s AWS_DEFAULT_REGION=us-east-1\n", url, key)
	if !strings.HasSuffix(url, "127.0.0.1:7425") {
		fmt.Fprintf(w, "  export RIALTO_SERVER=%s\n", url)
	}
	fmt.Fprint(w, "  aws events list-event-buses\n"+
		"  rialto inventory project create web\n"+
		"  rialto tail\n\n")
}
