package eventlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// serverAnswers is how long the servers of a cluster have to tell their settings, after the one before.
const serverAnswers = 500 * time.Millisecond

// checkExternal refuses a NATS that cannot hold the log.
func (l *Log) checkExternal(ctx context.Context) error {
	name := withoutSecrets(l.opts.URL)
	if got := l.nc.MaxPayload(); got < minPayload {
		return fmt.Errorf("event log: NATS %s takes messages of at most %d bytes: set max_payload to %d or more", name, got, minPayload)
	}
	if _, err := l.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("event log: NATS %s has no JetStream for this account: %w", name, err)
	}
	if l.opts.SystemURL == "" {
		l.opts.Logger.Warn("event log: cannot see whether NATS syncs every write; make sure that JetStream runs with sync_interval: always", "url", name)
		return nil
	}
	if err := l.checkSync(); err != nil {
		return err
	}
	l.synced = true
	return nil
}

// checkSync asks every JetStream server, through the system account, whether it syncs every write.
func (l *Log) checkSync() error {
	name := withoutSecrets(l.opts.SystemURL)
	nc, err := nats.Connect(l.opts.SystemURL, nats.Name("rialto "+l.opts.Name), nats.Timeout(requestTimeout))
	if err != nil {
		return fmt.Errorf("event log: connect to NATS %s: %w", name, withoutURL(err))
	}
	defer nc.Close()
	answers, err := nc.SubscribeSync(nc.NewInbox())
	if err != nil {
		return fmt.Errorf("event log: ask NATS %s for its settings: %w", name, err)
	}
	if err := nc.PublishRequest("$SYS.REQ.SERVER.PING.JSZ", answers.Subject, nil); err != nil {
		return fmt.Errorf("event log: ask NATS %s for its settings: %w", name, err)
	}
	for seen := 0; ; seen++ {
		msg, err := answers.NextMsg(serverAnswers)
		if seen > 0 && errors.Is(err, nats.ErrTimeout) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("event log: NATS %s did not tell its settings; is this the system account? %w", name, err)
		}
		if err := syncsEveryWrite(msg.Data); err != nil {
			return err
		}
	}
}

// syncsEveryWrite reads one server's answer.
func syncsEveryWrite(data []byte) error {
	var answer struct {
		Server struct {
			Name string `json:"name"`
		} `json:"server"`
		Data struct {
			Disabled bool `json:"disabled"`
			Config   struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"data"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return fmt.Errorf("event log: read the settings of a NATS server: %w", err)
	}
	if answer.Data.Disabled || answer.Data.Config.SyncAlways {
		return nil
	}
	return fmt.Errorf("event log: NATS server %s confirms writes before they are on disk: set sync_interval: always in its jetstream section", answer.Server.Name)
}

// withoutSecrets is a NATS URL, or several, fit for a message: credentials and tokens stand before the @.
func withoutSecrets(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		u, err := url.Parse(strings.TrimSpace(p))
		if err == nil && u.User == nil {
			continue
		}
		if _, host, ok := strings.Cut(p, "@"); ok {
			parts[i] = "nats://" + host
		}
	}
	return strings.Join(parts, ",")
}

// withoutURL is an error without the URL that it repeats, which may hold secrets.
func withoutURL(err error) error {
	if malformed, ok := errors.AsType[*url.Error](err); ok {
		return malformed.Err
	}
	return err
}
