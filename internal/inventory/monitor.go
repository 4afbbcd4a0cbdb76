package inventory

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// DefaultOverlap is how long the old secrets of a real-time credential stay
// valid after a rotation. ASA: 48 hours.
const DefaultOverlap = 48 * time.Hour

// Monitor is the real-time credential of a cloud account: what an EventBridge
// connection and API destination are set up with.
type Monitor struct {
	Account CloudAccount
	// ClientSecret is set only by the call that made it.
	ClientSecret string
	// WebhookURL is the API destination's endpoint, TokenURL the connection's
	// authorization endpoint.
	WebhookURL string
	TokenURL   string
	Secrets    []auth.ClientSecret
	// Notes say what keeps events from arriving or from being confirmed.
	Notes []string
}

func (v *Inventory) webhookURL(webhookID string) string {
	return v.o.PublicURL() + "/v1/webhooks/" + webhookID
}

func webhookAudience(webhookID string) string { return "webhook:" + webhookID }

// StartMonitor makes a cloud account's real-time credential and webhook. The
// secret is returned here and never again. It returns ErrExists where there is
// one already.
func (v *Inventory) StartMonitor(ctx context.Context, project, id string) (Monitor, error) {
	webhookID := uuid.NewString()
	var a CloudAccount
	var secret string
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if a, err = accountIn(ctx, tx, project, id); err != nil {
			return err
		}
		if a.ClientID != "" {
			return refuse(ErrExists, "Cloud account %s is monitored already; rotate its secret to get a new one.", a.AccountID)
		}
		a.ClientID, secret, err = v.o.Auth.Clients().CreateClient(ctx, tx, webhookAudience(webhookID))
		if err != nil {
			return err
		}
		a.WebhookID, a.MonitoredAt = webhookID, v.now()
		if err := saveAccount(ctx, tx, a); err != nil {
			return err
		}
		return v.announce(ctx, tx, a, "realtime_credential.created", map[string]any{"client_id": a.ClientID})
	})
	if err != nil {
		return Monitor{}, fmt.Errorf("monitor account %s: %w", id, err)
	}
	m, err := v.monitorOf(ctx, a)
	m.ClientSecret = secret
	return m, err
}

// Monitor returns a cloud account's real-time credential without its secret, or
// ErrNotFound.
func (v *Inventory) Monitor(ctx context.Context, project, id string) (Monitor, error) {
	a, err := v.monitored(ctx, v.db, project, id)
	if err != nil {
		return Monitor{}, err
	}
	return v.monitorOf(ctx, a)
}

func (v *Inventory) monitored(ctx context.Context, q store.Querier, project, id string) (CloudAccount, error) {
	a, err := accountIn(ctx, q, project, id)
	if err == nil && a.ClientID == "" {
		err = notFound("Cloud account %s is not monitored.", a.AccountID)
	}
	return a, err
}

func (v *Inventory) monitorOf(ctx context.Context, a CloudAccount) (Monitor, error) {
	secrets, err := v.o.Auth.Clients().ListSecrets(ctx, v.db, a.ClientID)
	if err != nil {
		return Monitor{}, err
	}
	public := v.o.PublicURL()
	m := Monitor{
		Account: a, Secrets: secrets,
		WebhookURL: v.webhookURL(a.WebhookID), TokenURL: public + httpapi.TokenPath,
	}
	if isLoopback(public) {
		m.Notes = append(m.Notes, "AWS cannot reach "+public+": start the server with --public-url https://… to receive events from AWS. Events of the account in the box arrive.")
	}
	real, err := v.o.Cloud.Real(ctx, a.AccountID)
	if err != nil {
		return Monitor{}, err
	}
	switch {
	case a.Options.TrustEvents:
		m.Notes = append(m.Notes, "Events are taken at their word (trust_events): no read of the account confirms them.")
	case !real:
		m.Notes = append(m.Notes, "Account "+a.AccountID+" is not configured as a real AWS account, so its events are confirmed against the account in the box.")
	case !a.UnreadAt.IsZero():
		m.Notes = append(m.Notes, "The account could not be read at "+a.UnreadAt.Format(time.RFC3339)+", so events were taken at their word: "+a.UnreadWhy)
	}
	return m, nil
}

func isLoopback(publicURL string) bool {
	u, err := url.Parse(publicURL)
	if err != nil {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// RotateMonitor makes a new secret for a real-time credential; the old ones end
// after overlap.
func (v *Inventory) RotateMonitor(ctx context.Context, project, id string, overlap time.Duration) (Monitor, error) {
	if overlap < 0 || overlap > auth.MaxOverlap {
		return Monitor{}, invalid("overlap must be from 0s to %s, not %s.", auth.MaxOverlap, overlap)
	}
	var a CloudAccount
	var secret string
	err := v.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if a, err = v.monitored(ctx, tx, project, id); err != nil {
			return err
		}
		if secret, err = v.o.Auth.Clients().RotateSecret(ctx, tx, a.ClientID, overlap); err != nil {
			if errors.Is(err, auth.ErrTooManySecrets) {
				err = invalid("Cloud account %s has too many valid secrets; revoke some, or rotate with a shorter overlap.", a.AccountID)
			}
			return err
		}
		return v.announce(ctx, tx, a, "realtime_credential.rotated", map[string]any{"client_id": a.ClientID, "overlap": overlap.String()})
	})
	if err != nil {
		return Monitor{}, fmt.Errorf("rotate the secret of account %s: %w", id, err)
	}
	m, err := v.monitorOf(ctx, a)
	m.ClientSecret = secret
	return m, err
}

// RevokeMonitorSecret ends one secret of a real-time credential at once, and the
// tokens that were issued for it.
func (v *Inventory) RevokeMonitorSecret(ctx context.Context, project, id, secretID string) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		a, err := v.monitored(ctx, tx, project, id)
		if err != nil {
			return err
		}
		err = v.o.Auth.Clients().RevokeSecret(ctx, tx, a.ClientID, secretID)
		if errors.Is(err, auth.ErrNoSecret) {
			return notFound("The real-time credential of account %s has no secret %s.", a.AccountID, secretID)
		}
		if err != nil {
			return err
		}
		return v.announce(ctx, tx, a, "realtime_credential.revoked", map[string]any{"client_id": a.ClientID, "secret_id": secretID})
	})
}

// StopMonitor ends a cloud account's real-time credential and its webhook.
func (v *Inventory) StopMonitor(ctx context.Context, project, id string) error {
	return v.db.Update(ctx, func(tx *store.Tx) error {
		a, err := v.monitored(ctx, tx, project, id)
		if err != nil {
			return err
		}
		if err := v.stopMonitor(ctx, tx, &a); err != nil {
			return err
		}
		return saveAccount(ctx, tx, a)
	})
}

func (v *Inventory) stopMonitor(ctx context.Context, tx *store.Tx, a *CloudAccount) error {
	if a.ClientID == "" {
		return nil
	}
	if err := v.o.Auth.Clients().DeleteClient(ctx, tx, a.ClientID); err != nil && !errors.Is(err, auth.ErrNoClient) {
		return err
	}
	if err := v.announce(ctx, tx, *a, "realtime_credential.revoked", map[string]any{"client_id": a.ClientID}); err != nil {
		return err
	}
	a.WebhookID, a.ClientID, a.MonitoredAt = "", "", time.Time{}
	return nil
}
