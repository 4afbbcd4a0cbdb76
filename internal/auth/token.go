package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Errors of VerifyToken.
var (
	// ErrToken says that there is no valid token: it is missing, malformed, expired,
	// or the secret behind it was revoked or rotated away. Answer 401: it is what
	// makes EventBridge fetch a new one.
	ErrToken = errors.New("the token is not valid")
	// ErrAudience says that the token is valid, for something else. Answer 403.
	ErrAudience = errors.New("the token is for something else")
)

const (
	// TokenLife is how long a token is valid at most.
	TokenLife = time.Hour
	issuer    = "rialto"
	// maxToken bounds a bearer token in bytes; ours are far smaller.
	maxToken = 4 << 10
)

// TokenClaims are what a verified token of a service client says.
type TokenClaims struct {
	ClientID  string
	SecretID  string // of the secret that the token was asked for with
	Audience  string
	IssuedAt  time.Time
	ExpiresAt time.Time
}

// clientClaims are a client token's claims on the wire.
type clientClaims struct {
	jwt.RegisteredClaims
	SecretID string `json:"sid"`
}

// secretState is what decides about the tokens of a secret.
type secretState struct {
	clientID string
	audience string
	expires  time.Time
	revoked  time.Time
}

// issueToken makes a token that lives for an hour, but not longer than its secret.
func (a *Auth) issueToken(s storedSecret, audience string) (token string, life time.Duration, err error) {
	now := a.now()
	expires := now.Add(TokenLife)
	if !s.ExpiresAt.IsZero() && s.ExpiresAt.Before(expires) {
		expires = s.ExpiresAt
	}
	token, err = signToken(a.clientToken, clientClaims{
		RegisteredClaims: registered(s.clientID, audience, now, expires), SecretID: s.ID,
	})
	if err != nil {
		return "", 0, fmt.Errorf("issue token: %w", err)
	}
	return token, max(expires.Sub(now), time.Second), nil
}

func registered(subject, audience string, now, expires time.Time) jwt.RegisteredClaims {
	return jwt.RegisteredClaims{
		Issuer: issuer, Subject: subject, Audience: jwt.ClaimStrings{audience},
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
		ID: randomToken(12),
	}
}

func signToken(key []byte, claims jwt.Claims) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(key)
}

// parseToken checks form, signature, issuer and times.
func (a *Auth) parseToken(token string, key []byte, claims jwt.Claims) error {
	if len(token) > maxToken {
		return fmt.Errorf("%w: it is too long", ErrToken)
	}
	_, err := jwt.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer),
		jwt.WithExpirationRequired(), jwt.WithStrictDecoding(), jwt.WithTimeFunc(a.now))
	if errors.Is(err, jwt.ErrTokenExpired) {
		return fmt.Errorf("%w: it has expired", ErrToken)
	}
	if err != nil {
		return fmt.Errorf("%w: it was not issued here", ErrToken)
	}
	return nil
}

// BearerToken takes the token out of an Authorization header; empty if there is none.
func BearerToken(header string) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(header), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// VerifyToken checks a service client's token, the bare value, for an audience.
// It fails with ErrToken or ErrAudience, wrapped with the reason, or with what kept
// the server from deciding. A token dies with the secret that it was asked for with.
func (a *Auth) VerifyToken(ctx context.Context, bearer, audience string) (TokenClaims, error) {
	if bearer == "" {
		return TokenClaims{}, fmt.Errorf("%w: there is none", ErrToken)
	}
	var c clientClaims
	if err := a.parseToken(bearer, a.clientToken, &c); err != nil {
		return TokenClaims{}, err
	}
	state, err := a.secrets.get(c.SecretID, func() (secretState, error) { return selectSecretState(ctx, a.db, c.SecretID) })
	if errors.Is(err, ErrNoSecret) {
		return TokenClaims{}, fmt.Errorf("%w: its client or secret was deleted", ErrToken)
	}
	if err != nil {
		return TokenClaims{}, fmt.Errorf("verify token: %w", err)
	}
	switch {
	case state.clientID != c.Subject:
		return TokenClaims{}, fmt.Errorf("%w: it was not issued here", ErrToken)
	case !stillValid(state.expires, state.revoked, a.now()):
		return TokenClaims{}, fmt.Errorf("%w: its secret was revoked or replaced", ErrToken)
	case len(c.Audience) != 1 || c.Audience[0] != state.audience || state.audience != audience:
		return TokenClaims{}, ErrAudience
	}
	return TokenClaims{
		ClientID: c.Subject, SecretID: c.SecretID, Audience: audience,
		IssuedAt: c.IssuedAt.Time, ExpiresAt: c.ExpiresAt.Time,
	}, nil
}
