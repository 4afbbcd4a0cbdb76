package intake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// DefaultOverlap is how long the old secrets of an endpoint stay valid after a
// rotation.
const DefaultOverlap = 48 * time.Hour

// audience is what the tokens of an endpoint are for.
func audience(sourceID string) string { return "intake:" + sourceID }

// endpointURL is where an API destination sends a source's events.
func (i *Intake) endpointURL(sourceID string) string {
	return i.o.PublicURL() + "/v1/intake/" + sourceID
}

// Secrets lists the client secrets of an endpoint; a queue has none.
func (i *Intake) Secrets(ctx context.Context, s Source) ([]auth.ClientSecret, error) {
	if s.ClientID == "" {
		return nil, nil
	}
	return i.o.Auth.Clients().ListSecrets(ctx, i.db, s.ClientID)
}

// RotateSecret makes a new client secret for an endpoint, returned here and
// never again; the old ones end after overlap.
func (i *Intake) RotateSecret(ctx context.Context, nameOrID string, overlap time.Duration) (s Source, secret string, err error) {
	if overlap < 0 || overlap > auth.MaxOverlap {
		return Source{}, "", httpapi.Invalid("overlap must be from 0s to %s, not %s.", auth.MaxOverlap, overlap)
	}
	err = i.db.Update(ctx, func(tx *store.Tx) error {
		var err error
		if s, err = endpointNamed(ctx, tx, nameOrID); err != nil {
			return err
		}
		secret, err = i.o.Auth.Clients().RotateSecret(ctx, tx, s.ClientID, overlap)
		if errors.Is(err, auth.ErrTooManySecrets) {
			err = httpapi.Invalid("Source %s has too many valid secrets; revoke some, or rotate with a shorter overlap.", s.Name)
		}
		return err
	})
	if err != nil {
		return Source{}, "", fmt.Errorf("rotate the secret of source %s: %w", nameOrID, err)
	}
	return s, secret, nil
}

// RevokeSecret ends one client secret of an endpoint at once, and the tokens that
// were issued for it.
func (i *Intake) RevokeSecret(ctx context.Context, nameOrID, secretID string) error {
	return i.db.Update(ctx, func(tx *store.Tx) error {
		s, err := endpointNamed(ctx, tx, nameOrID)
		if err != nil {
			return err
		}
		err = i.o.Auth.Clients().RevokeSecret(ctx, tx, s.ClientID, secretID)
		if errors.Is(err, auth.ErrNoSecret) {
			err = httpapi.NotFound("Source %s has no secret %q.", s.Name, secretID)
		}
		return err
	})
}

func endpointNamed(ctx context.Context, q store.Querier, nameOrID string) (Source, error) {
	s, err := sourceNamed(ctx, q, nameOrID)
	if err == nil && s.Kind != KindEndpoint {
		err = httpapi.Invalid("Source %s is a queue; only endpoints have secrets.", s.Name)
	}
	return s, err
}
