package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/caarlos0/env/v11"
	"go.yaml.in/yaml/v3"

	"github.com/rialto-bus/rialto/internal/target"
	"github.com/rialto-bus/rialto/internal/trace"
)

// Config is all that `rialto serve` can be told. Flags win over environment
// variables, those over the file, and the file over NewConfig.
type Config struct {
	// Listen is the address to serve on; port 0 picks a free one.
	Listen string `yaml:"listen" env:"RIALTO_LISTEN"`
	// DataDir holds the event log, the SQLite database and the key file.
	DataDir string `yaml:"data-dir" env:"RIALTO_DATA_DIR"`
	// PublicURL is where others reach this server; empty for the address
	// listened on.
	PublicURL string `yaml:"public-url" env:"RIALTO_PUBLIC_URL"`
	// Hosts are further values of the Host header to answer to.
	Hosts []string `yaml:"hosts" env:"RIALTO_HOSTS"`
	// TLSCert and TLSKey are PEM files; both or neither.
	TLSCert string `yaml:"tls-cert" env:"RIALTO_TLS_CERT"`
	TLSKey  string `yaml:"tls-key" env:"RIALTO_TLS_KEY"`

	// NATS is the URL of an external NATS cluster; empty for the embedded one.
	NATS string `yaml:"nats" env:"RIALTO_NATS"`
	// NATSSystem is the same NATS as its system account's user reaches it; with it
	// the start checks that the cluster syncs every write.
	NATSSystem string `yaml:"nats-system" env:"RIALTO_NATS_SYSTEM"`
	// Database is a postgres:// URL; empty for SQLite in DataDir.
	Database string `yaml:"database" env:"RIALTO_DATABASE"`
	// SecretKey is 32 bytes in base64 or hex under which secrets are kept; empty
	// for the key file in DataDir.
	SecretKey string `yaml:"-" env:"RIALTO_SECRET_KEY"`

	// EventLogBytes is the most that undelivered events may take; beyond it
	// PutEvents is throttled.
	EventLogBytes int64 `yaml:"event-log-bytes" env:"RIALTO_EVENT_LOG_BYTES"`
	// EventLogKeep is how long delivered events stay readable, space allowing.
	EventLogKeep time.Duration `yaml:"event-log-keep" env:"RIALTO_EVENT_LOG_KEEP"`
	// TraceBytes is the most that this node's records of what became of events may
	// take; 0 switches them off.
	TraceBytes int64 `yaml:"trace-bytes" env:"RIALTO_TRACE_BYTES"`
	// EventLogReplicas is how many NATS nodes hold each event; external only.
	EventLogReplicas int `yaml:"event-log-replicas" env:"RIALTO_EVENT_LOG_REPLICAS"`
	// DeadLetterAge is how long the built-in dead letters are kept, DeadLetterBytes how
	// much they may take; 0 bytes turn them off.
	DeadLetterAge   time.Duration `yaml:"dead-letter-age" env:"RIALTO_DEAD_LETTER_AGE"`
	DeadLetterBytes int64         `yaml:"dead-letter-bytes" env:"RIALTO_DEAD_LETTER_BYTES"`
	// MaxPutEventsBytes is the most that the entries of one PutEvents call may
	// hold. AWS: 1 MiB, 256 KiB before 2026.
	MaxPutEventsBytes int `yaml:"max-put-events-bytes" env:"RIALTO_MAX_PUT_EVENTS_BYTES"`

	// AllowOutbound are CIDRs and host:port pairs that rules may call though they
	// are private.
	AllowOutbound []string `yaml:"allow-outbound" env:"RIALTO_ALLOW_OUTBOUND"`
	// Organization is the AWS organization that all accounts here belong to, such
	// as o-a1b2c3d4e5, for event bus policies with aws:PrincipalOrgID; empty: none.
	Organization string `yaml:"organization" env:"RIALTO_ORGANIZATION"`
	// SMTP is the HOST:PORT of the server that topics send e-mail by, from the address
	// SMTPFrom; empty: they send none. SMTPTLS is starttls to require it, tls to
	// speak it from the start, or empty to use STARTTLS where it is offered.
	SMTP         string `yaml:"smtp" env:"RIALTO_SMTP"`
	SMTPFrom     string `yaml:"smtp-from" env:"RIALTO_SMTP_FROM"`
	SMTPTLS      string `yaml:"smtp-tls" env:"RIALTO_SMTP_TLS"`
	SMTPUsername string `yaml:"smtp-username" env:"RIALTO_SMTP_USERNAME"`
	SMTPPassword string `yaml:"-" env:"RIALTO_SMTP_PASSWORD"`
	// PortBaseURL is where Port's API is, such as https://api.getport.io, for an exporter
	// that keeps Port's catalog true instead of the one in here; empty: the one in here.
	// PortClientID and PortClientSecret are Port's for it. The names of the variables are
	// those that Port's other clients read.
	PortBaseURL      string `yaml:"port-base-url" env:"PORT_BASE_URL"`
	PortClientID     string `yaml:"port-client-id" env:"PORT_CLIENT_ID"`
	PortClientSecret string `yaml:"-" env:"PORT_CLIENT_SECRET"`
	// InstanceTransition is how long an instance of the box stays pending,
	// stopping or shutting down.
	InstanceTransition time.Duration `yaml:"instance-transition" env:"RIALTO_INSTANCE_TRANSITION"`

	// Functions says whether functions may be created and run, which is to run users' code as the
	// server's own user; nil: only where the server is reached from this machine alone.
	Functions *bool `yaml:"functions" env:"RIALTO_FUNCTIONS"`
	// FunctionRetryWaits are the pauses after which an asynchronous invocation that its function
	// failed is tried again, one a try. AWS: one minute, then two.
	FunctionRetryWaits []time.Duration `yaml:"function-retry-waits" env:"RIALTO_FUNCTION_RETRY_WAITS"`

	// LogLevel is debug, info, warn or error; LogFormat text or json.
	LogLevel  string `yaml:"log-level" env:"RIALTO_LOG_LEVEL"`
	LogFormat string `yaml:"log-format" env:"RIALTO_LOG_FORMAT"`
}

// NewConfig returns the defaults.
func NewConfig() Config {
	return Config{
		Listen:             "127.0.0.1:7425",
		DataDir:            "rialto-data",
		EventLogBytes:      8 << 30,
		EventLogKeep:       6 * time.Hour,
		TraceBytes:         256 << 20,
		EventLogReplicas:   3,
		DeadLetterAge:      14 * 24 * time.Hour,
		DeadLetterBytes:    1 << 30,
		MaxPutEventsBytes:  1 << 20,
		InstanceTransition: 20 * time.Millisecond,
		FunctionRetryWaits: []time.Duration{time.Minute, 2 * time.Minute},
		LogLevel:           "info",
		LogFormat:          "text",
	}
}

// ReadFile reads settings from a YAML file. A key that does not exist is an
// error.
func (c *Config) ReadFile(path string) error {
	b, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	return nil
}

// ReadEnvironment reads settings from RIALTO_… variables.
func (c *Config) ReadEnvironment() error {
	if err := env.Parse(c); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	return nil
}

// organizationForm is AWS's for the ids of organizations.
var organizationForm = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)

// maxReplicas is the most that a JetStream stream can have.
const maxReplicas = 5

// Validate reports the first setting that cannot be served with.
func (c *Config) Validate() error {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		return fmt.Errorf("--listen %q is not HOST:PORT, such as 127.0.0.1:7425", c.Listen)
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("--tls-cert and --tls-key go together; one is missing")
	}
	if c.PublicURL != "" {
		u, err := url.Parse(c.PublicURL)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("--public-url %q is not a URL such as https://rialto.example.com", c.PublicURL)
		}
	}
	if c.NATS != "" && c.Database == "" {
		return errors.New("--nats needs --database postgres://…: several nodes cannot share one SQLite file")
	}
	if c.NATSSystem != "" && c.NATS == "" {
		return errors.New("--nats-system goes with --nats")
	}
	if c.DataDir == "" {
		return errors.New("--data-dir is empty")
	}
	if c.EventLogBytes < 16<<20 {
		return fmt.Errorf("--event-log-bytes %d is less than the 16 MiB that the log needs", c.EventLogBytes)
	}
	if c.EventLogKeep < 0 {
		return fmt.Errorf("--event-log-keep %s is negative", c.EventLogKeep)
	}
	if c.TraceBytes != 0 && (c.TraceBytes < trace.MinBytes || c.TraceBytes > trace.MaxBytes) {
		return fmt.Errorf("--trace-bytes %d is neither 0 nor between %d and %d", c.TraceBytes, trace.MinBytes, int64(trace.MaxBytes))
	}
	if c.EventLogReplicas < 1 || c.EventLogReplicas > maxReplicas {
		return fmt.Errorf("--event-log-replicas %d is not between 1 and %d", c.EventLogReplicas, maxReplicas)
	}
	if c.DeadLetterAge < time.Minute {
		return fmt.Errorf("--dead-letter-age %s is less than 1m", c.DeadLetterAge)
	}
	if c.DeadLetterBytes != 0 && c.DeadLetterBytes < 16<<20 {
		return fmt.Errorf("--dead-letter-bytes %d is neither 0, which turns them off, nor at least 16 MiB", c.DeadLetterBytes)
	}
	if c.MaxPutEventsBytes < 1024 || c.MaxPutEventsBytes > 1<<20 {
		return fmt.Errorf("--max-put-events-bytes %d is not between 1024 and %d", c.MaxPutEventsBytes, 1<<20)
	}
	if c.Organization != "" && !organizationForm.MatchString(c.Organization) {
		return fmt.Errorf("--organization %q is not an organization such as o-a1b2c3d4e5", c.Organization)
	}
	if c.InstanceTransition < 0 || c.InstanceTransition > time.Hour {
		return fmt.Errorf("--instance-transition %s is not between 0 and 1h", c.InstanceTransition)
	}
	if err := c.validateRetryWaits(); err != nil {
		return err
	}
	if err := c.validateMail(); err != nil {
		return err
	}
	if err := c.validatePort(); err != nil {
		return err
	}
	if _, err := target.ParseAllow(c.AllowOutbound); err != nil {
		return fmt.Errorf("--allow-outbound %w", err)
	}
	if _, err := parseLevel(c.LogLevel); err != nil {
		return err
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("--log-format %q is neither text nor json", c.LogFormat)
	}
	return nil
}

// maxRetryWait is for how long an asynchronous invocation is tried, and maxRetryWaits how often at most.
const (
	maxRetryWait  = 6 * time.Hour
	maxRetryWaits = 20
)

func (c *Config) validateRetryWaits() error {
	if n := len(c.FunctionRetryWaits); n > maxRetryWaits {
		return fmt.Errorf("--function-retry-waits has %d pauses, more than %d", n, maxRetryWaits)
	}
	for _, d := range c.FunctionRetryWaits {
		if d < 0 || d > maxRetryWait {
			return fmt.Errorf("--function-retry-waits %s is not between 0 and %s", d, maxRetryWait)
		}
	}
	return nil
}
