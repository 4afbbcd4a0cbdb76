package app

import (
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSettingsThatCannotBeServedWithAreNamed(t *testing.T) {
	t.Parallel()
	if c := NewConfig(); c.Validate() != nil {
		t.Errorf("the defaults: %v", c.Validate())
	}
	for want, set := range map[string]func(*Config){
		"--listen":                   func(c *Config) { c.Listen = "7425" },
		"--tls-cert":                 func(c *Config) { c.TLSKey = "key.pem" },
		"--public-url":               func(c *Config) { c.PublicURL = "rialto.example.com" },
		"--nats needs":               func(c *Config) { c.NATS = "nats://127.0.0.1:4222" },
		"--nats-system":              func(c *Config) { c.NATSSystem = "nats://127.0.0.1:4222" },
		"--data-dir":                 func(c *Config) { c.DataDir = "" },
		"--event-log-bytes":          func(c *Config) { c.EventLogBytes = 1 << 20 },
		"--event-log-keep":           func(c *Config) { c.EventLogKeep = -time.Hour },
		"--trace-bytes 1":            func(c *Config) { c.TraceBytes = 1 },
		"--trace-bytes -1":           func(c *Config) { c.TraceBytes = -1 },
		"--event-log-replicas 0":     func(c *Config) { c.EventLogReplicas = 0 },
		"--event-log-replicas 6":     func(c *Config) { c.EventLogReplicas = 6 },
		"--dead-letter-age":          func(c *Config) { c.DeadLetterAge = time.Second },
		"--dead-letter-bytes 1":      func(c *Config) { c.DeadLetterBytes = 1 << 20 },
		"--dead-letter-bytes -1":     func(c *Config) { c.DeadLetterBytes = -1 },
		"--max-put-events-bytes":     func(c *Config) { c.MaxPutEventsBytes = 2 << 20 },
		"--function-retry-waits has": func(c *Config) { c.FunctionRetryWaits = make([]time.Duration, 21) },
		"--function-retry-waits -1s": func(c *Config) { c.FunctionRetryWaits = []time.Duration{time.Minute, -time.Second} },
		"--instance-transition":      func(c *Config) { c.InstanceTransition = -time.Second },
		"--allow-outbound":           func(c *Config) { c.AllowOutbound = []string{"10.0.0.0/99"} },
		"--organization":             func(c *Config) { c.Organization = "acme" },
		"HOST:PORT":                  func(c *Config) { c.SMTP, c.SMTPFrom = "mail.example.com", "rialto@example.com" },
		"e-mail address":             func(c *Config) { c.SMTP, c.SMTPFrom = "mail.example.com:25", "Rialto <rialto@example.com>" },
		"--smtp HOST:PORT":           func(c *Config) { c.SMTPFrom = "rialto@example.com" },
		"starttls":                   func(c *Config) { c.SMTP, c.SMTPFrom, c.SMTPTLS = "mail.example.com:25", "r@example.com", "none" },
		"user name and password":     func(c *Config) { c.SMTP, c.SMTPFrom, c.SMTPUsername = "mail.example.com:25", "r@example.com", "u" },
		"--port-base-url \"port\"":   func(c *Config) { c.PortBaseURL, c.PortClientID, c.PortClientSecret = "port", "id", "secret" },
		"PORT_CLIENT_ID":             func(c *Config) { c.PortBaseURL = "https://port.example.com" },
		"--log-level":                func(c *Config) { c.LogLevel = "loud" },
		"--log-format":               func(c *Config) { c.LogFormat = "xml" },
	} {
		c := NewConfig()
		set(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// A start that fails at its last step gives back the port and the data directory.
func TestAStartThatFailsHoldsNothing(t *testing.T) {
	t.Parallel()
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	good := c
	c.TLSCert, c.TLSKey = filepath.Join(c.DataDir, "missing.pem"), filepath.Join(c.DataDir, "missing.key")
	a := &App{config: c, logger: slog.New(slog.DiscardHandler), failed: make(chan error, 1), stopping: make(chan struct{})}
	if err := a.open(t.Context(), hooks{now: time.Now}); err == nil || !strings.Contains(err.Error(), "--tls-cert") {
		t.Fatalf("a start without the certificate: %v", err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	if err := a.listener.(*net.TCPListener).SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the port is still held: %v", err)
	}
	startServerAt(t, good, time.Now).stop()
}
