package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/box/topic"
)

// endpointTimeout is how long an endpoint of a topic may take to answer. AWS: 15
// seconds.
const endpointTimeout = 15 * time.Second

// makeTopics makes the topics with a client of their own: endpoints may take
// longer than targets.
func (a *App) makeTopics(h hooks) error {
	client, err := a.outbound(endpointTimeout)
	if err != nil {
		return err
	}
	a.endpoints = client
	a.topics = topic.New(a.db, a.work, topic.Options{
		BaseURL: a.URL, Queues: a.queues, HTTP: client, Sealer: a.auth.Sealer(), Mail: a.config.mail(), Functions: topicFunctions{a}, Logger: a.logger, Now: h.now,
	})
	return nil
}

// topicFunctions are the functions that topics invoke. They are made after topics, which take
// their dead letters.
type topicFunctions struct{ app *App }

// Invoke hands a message to a function.
func (f topicFunctions) Invoke(ctx context.Context, functionARN string, payload []byte) error {
	return f.app.functions.Invoker().Invoke(ctx, functionARN, payload)
}

// mail is the SMTP server that topics send by; nil without one.
func (c *Config) mail() *topic.Mail {
	if c.SMTP == "" {
		return nil
	}
	return &topic.Mail{
		Server: c.SMTP, From: c.SMTPFrom, TLS: topic.MailTLS(c.SMTPTLS), Username: c.SMTPUsername, Password: c.SMTPPassword,
	}
}

func (c *Config) validateMail() error {
	if m := c.mail(); m != nil {
		if err := m.Validate(); err != nil {
			return fmt.Errorf("--smtp, --smtp-from and RIALTO_SMTP_…: %w", err)
		}
		return nil
	}
	if c.SMTPFrom != "" || c.SMTPTLS != "" || c.SMTPUsername != "" || c.SMTPPassword != "" {
		return errors.New("--smtp-from and RIALTO_SMTP_… go with --smtp HOST:PORT, which is missing")
	}
	return nil
}
