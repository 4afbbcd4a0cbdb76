package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// Errors of service clients.
var (
	// ErrNoClient says that there is no service client of that id.
	ErrNoClient = errors.New("service client does not exist")
	// ErrNoSecret says that the client has no secret of that id.
	ErrNoSecret = errors.New("client secret does not exist")
	// ErrTooManySecrets says that a client has MaxSecrets valid secrets.
	ErrTooManySecrets = errors.New("too many valid client secrets")
)

const (
	// MaxSecrets is how many valid secrets a client may have.
	MaxSecrets = 10
	// keepEnded is how long a secret that has ended stays in the list.
	keepEnded = 90 * 24 * time.Hour

	maxAudience     = 256
	maxClientSecret = 512 // what EventBridge lets a connection hold
	clientPrefix    = "rlc-"
	secretPrefix    = "rls-"
)

// Clients are the OAuth 2 service clients: each may ask for tokens for one
// audience, with any of its valid secrets. What changes them takes the
// transaction of the caller, who makes the thing that the audience names in it.
type Clients struct{ auth *Auth }

// Clients returns the installation's service clients.
func (a *Auth) Clients() *Clients { return &Clients{auth: a} }

// ClientSecret describes a secret of a client; the secret itself is not kept.
type ClientSecret struct {
	ID         string // not secret
	LastFour   string // its last four characters
	CreatedAt  time.Time
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: not revoked
	LastUsedAt time.Time // zero: never; kept to the minute
}

// Valid reports whether the secret may be used at that time.
func (s *ClientSecret) Valid(at time.Time) bool { return stillValid(s.ExpiresAt, s.RevokedAt, at) }

// storedSecret is a client secret as stored.
type storedSecret struct {
	ClientSecret
	clientID string
	salt     []byte
	hash     []byte
}

// CreateClient makes a client whose tokens are for audience, such as
// "webhook:<uuid>", 1 to 256 bytes. The secret is returned here and never again.
func (c *Clients) CreateClient(ctx context.Context, tx *store.Tx, audience string) (clientID, secret string, err error) {
	if audience == "" || len(audience) > maxAudience {
		return "", "", fmt.Errorf("create service client: audience of %d bytes, want 1 to %d", len(audience), maxAudience)
	}
	clientID = clientPrefix + randomToken(15)
	if err := insertClient(ctx, tx, clientID, audience, c.auth.now()); err != nil {
		return "", "", fmt.Errorf("create service client: %w", err)
	}
	secret, err = c.addSecret(ctx, tx, clientID)
	if err != nil {
		return "", "", fmt.Errorf("create service client: %w", err)
	}
	return clientID, secret, nil
}

// RotateSecret makes a new secret and lets every other end after overlap, 0 to
// MaxOverlap, or when it was to end before that. Tokens end with the secret that
// they were asked for with.
func (c *Clients) RotateSecret(ctx context.Context, tx *store.Tx, clientID string, overlap time.Duration) (secret string, err error) {
	secret, err = c.rotate(ctx, tx, clientID, overlap)
	if err != nil {
		return "", fmt.Errorf("rotate secret of client %s: %w", clientID, err)
	}
	return secret, nil
}

func (c *Clients) rotate(ctx context.Context, tx *store.Tx, clientID string, overlap time.Duration) (string, error) {
	if overlap < 0 || overlap > MaxOverlap {
		return "", fmt.Errorf("overlap %v: want 0 to %v", overlap, MaxOverlap)
	}
	now := c.auth.now()
	if _, err := selectAudience(ctx, tx, clientID); err != nil {
		return "", err
	}
	if err := expireSecrets(ctx, tx, clientID, now.Add(overlap)); err != nil {
		return "", err
	}
	if err := deleteEndedSecrets(ctx, tx, clientID, now.Add(-keepEnded)); err != nil {
		return "", err
	}
	tx.OnCommit(c.auth.secrets.changed)
	return c.addSecret(ctx, tx, clientID)
}

func (c *Clients) addSecret(ctx context.Context, tx *store.Tx, clientID string) (secret string, err error) {
	now := c.auth.now()
	n, err := countSecrets(ctx, tx, clientID, now)
	if err != nil {
		return "", err
	}
	if n >= MaxSecrets {
		return "", fmt.Errorf("%w: %d; revoke some, or rotate with a shorter overlap", ErrTooManySecrets, n)
	}
	secret = secretPrefix + randomToken(30)
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	return secret, insertSecret(ctx, tx, &storedSecret{
		ClientSecret: ClientSecret{ID: randomID(), LastFour: secret[len(secret)-4:], CreatedAt: now},
		clientID:     clientID, salt: salt, hash: c.auth.hashSecret(salt, secret),
	})
}

// hashSecret is enough for secrets that we make ourselves: 240 random bits cannot
// be guessed, so a slow hash would only slow the token endpoint.
func (a *Auth) hashSecret(salt []byte, secret string) []byte {
	mac := hmac.New(sha256.New, a.secretKey)
	mac.Write(salt)
	mac.Write([]byte(secret))
	return mac.Sum(nil)
}

// randomToken is n random bytes in letters, digits, '-' and '_', which need no
// escaping in forms, URLs and Basic credentials.
func randomToken(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

// RevokeSecret ends one secret at once, and the tokens asked for with it. One that
// has been revoked is left as it is.
func (c *Clients) RevokeSecret(ctx context.Context, tx *store.Tx, clientID, secretID string) error {
	found, err := revokeSecret(ctx, tx, clientID, secretID, c.auth.now())
	if err == nil && !found {
		err = ErrNoSecret
	}
	if err != nil {
		return fmt.Errorf("revoke secret %s of client %s: %w", secretID, clientID, err)
	}
	tx.OnCommit(c.auth.secrets.changed)
	return nil
}

// ListSecrets returns a client's secrets, the oldest first; those that ended in
// the last 90 days too. q is a transaction or the database.
func (c *Clients) ListSecrets(ctx context.Context, q store.Querier, clientID string) ([]ClientSecret, error) {
	if _, err := selectAudience(ctx, q, clientID); err != nil {
		return nil, fmt.Errorf("list secrets of client %s: %w", clientID, err)
	}
	stored, err := selectSecrets(ctx, q, clientID)
	if err != nil {
		return nil, fmt.Errorf("list secrets of client %s: %w", clientID, err)
	}
	list := make([]ClientSecret, len(stored))
	for i, s := range stored {
		list[i] = s.ClientSecret
	}
	return list, nil
}

// DeleteClient ends a client with all its secrets and tokens. A client that is not
// there is ErrNoClient.
func (c *Clients) DeleteClient(ctx context.Context, tx *store.Tx, clientID string) error {
	found, err := deleteClient(ctx, tx, clientID)
	if err == nil && !found {
		err = ErrNoClient
	}
	if err != nil {
		return fmt.Errorf("delete service client %s: %w", clientID, err)
	}
	tx.OnCommit(c.auth.secrets.changed)
	return nil
}

// authenticate finds the valid secret that was presented. found is
// false for a wrong secret as for a client that is not there; what is compared is
// compared in constant time.
func (c *Clients) authenticate(ctx context.Context, clientID, secret string) (s storedSecret, audience string, found bool, err error) {
	audience, err = selectAudience(ctx, c.auth.db, clientID)
	if err != nil && !errors.Is(err, ErrNoClient) {
		return s, "", false, err
	}
	var candidates []storedSecret
	if err == nil {
		if candidates, err = selectSecrets(ctx, c.auth.db, clientID); err != nil {
			return s, "", false, err
		}
	}
	now := c.auth.now()
	for _, candidate := range candidates {
		same := hmac.Equal(candidate.hash, c.auth.hashSecret(candidate.salt, secret))
		if same && candidate.Valid(now) {
			s, found = candidate, true
		}
	}
	return s, audience, found, nil
}
