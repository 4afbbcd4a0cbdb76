package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// Team is the name of the one team that an installation is.
	Team = "default"
	// LoginPattern is where LoginHandler is to be registered.
	LoginPattern = "POST /v1/teams/{team}/service_token"

	restAudience = "rest"
	maxLogin     = 4 << 10
)

// errBadLogin is the same for a key that is not there and for a wrong secret.
var errBadLogin = httpapi.Unauthenticated("The key id or the key secret is wrong, or the key was revoked or has expired.")

// Login checks an access key and returns a bearer token for the REST API, valid
// for TokenLife at most and only as long as the key is. In dev mode any key will
// do: one of 12 digits stands for that account. The error is an *httpapi.Error
// if the credentials are wrong.
func (a *Auth) Login(ctx context.Context, keyID, secret string) (token string, expires time.Time, err error) {
	k, err := a.checkKey(ctx, keyID, secret)
	if err != nil {
		return "", time.Time{}, err
	}
	now := a.now()
	expires = now.Add(TokenLife)
	if !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(expires) {
		expires = k.ExpiresAt
	}
	token, err = signToken(a.restToken, registered(k.ID, restAudience, now, expires))
	return token, expires.UTC().Truncate(time.Second), err
}

// checkKey finds the key whose id and secret were presented; compared in constant
// time. In dev mode an unknown id has a key of no account. Wrong credentials are
// errBadLogin.
func (a *Auth) checkKey(ctx context.Context, keyID, secret string) (storedKey, error) {
	k, err := a.lookup(ctx, keyID)
	unknown := errors.Is(err, ErrNoKey) || errors.Is(err, ErrKeyEnded)
	switch {
	case unknown && a.DevMode(ctx):
		return storedKey{Key: Key{ID: keyID}}, nil
	case unknown:
		return storedKey{}, errBadLogin
	case err != nil:
		return storedKey{}, fmt.Errorf("log in with key %s: %w", keyID, err)
	case subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) != 1:
		return storedKey{}, errBadLogin
	}
	return k, nil
}

// LoginHandler answers POST /v1/teams/{team}/service_token: {key_id, key_secret}
// gives {bearer_token, expires_at, team_name}.
func (a *Auth) LoginHandler() http.Handler {
	type login struct {
		KeyID     string `json:"key_id"`
		KeySecret string `json:"key_secret"`
	}
	type answer struct {
		BearerToken string    `json:"bearer_token"`
		ExpiresAt   time.Time `json:"expires_at"`
		TeamName    string    `json:"team_name"`
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := CheckTeam(r); err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		var in login
		if err := httpapi.Decode(w, r, &in, maxLogin); err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		if in.KeyID == "" || len(in.KeyID) > 128 {
			httpapi.WriteError(w, r, httpapi.Invalid("Field %q must be an access key id, 1 to 128 characters.", "key_id"))
			return
		}
		token, expires, err := a.Login(r.Context(), in.KeyID, in.KeySecret)
		if err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		httpapi.JSON(w, http.StatusOK, answer{token, expires, Team})
	})
}

// CheckTeam refuses a path whose {team} is not Team.
func CheckTeam(r *http.Request) error {
	if team := r.PathValue("team"); team != Team {
		return httpapi.NotFound("Team %q does not exist; this installation is team %q.", team, Team)
	}
	return nil
}

// Authenticate finds who makes a REST request, by the bearer token in its
// Authorization header. In dev mode everyone is an admin: of the account that a
// bearer token of 12 digits names, of the token's key where there is one, and of
// DefaultAccount otherwise. The error is an *httpapi.Error if the caller is at
// fault.
func (a *Auth) Authenticate(r *http.Request) (Principal, error) {
	ctx := r.Context()
	token := BearerToken(r.Header.Get("Authorization"))
	p, err := a.verifyLogin(ctx, token)
	switch {
	case err == nil:
		return p, nil
	case !errors.Is(err, ErrToken):
		return Principal{}, fmt.Errorf("authenticate: %w", err)
	case a.DevMode(ctx):
		if p.KeyID == "" {
			p.KeyID = token
		}
		return devPrincipal(p.KeyID), nil
	case token == "":
		return Principal{}, httpapi.Unauthenticated("The request needs the header Authorization: Bearer TOKEN; "+
			"get a token with POST /v1/teams/%s/service_token.", Team)
	}
	return Principal{}, httpapi.Unauthenticated("The bearer token is not valid, or its key was revoked or has expired; get a new token.")
}

func devPrincipal(keyID string) Principal {
	if IsAccount(keyID) {
		return Principal{KeyID: keyID, Account: keyID, Role: Admin, dev: true}
	}
	return Principal{KeyID: "dev", Account: DefaultAccount, Role: Admin, dev: true}
}

// verifyLogin returns the principal of a login token. With ErrToken it names the
// key of a token that was issued here, if nothing else.
func (a *Auth) verifyLogin(ctx context.Context, token string) (Principal, error) {
	if token == "" {
		return Principal{}, ErrToken
	}
	var c jwt.RegisteredClaims
	if err := a.parseToken(token, a.restToken, &c); err != nil {
		return Principal{}, err
	}
	k, err := a.lookup(ctx, c.Subject)
	if errors.Is(err, ErrNoKey) || errors.Is(err, ErrKeyEnded) {
		return Principal{KeyID: c.Subject}, ErrToken
	}
	if err != nil {
		return Principal{}, err
	}
	return Principal{KeyID: k.ID, Account: k.Account, Role: k.Role}, nil
}

// Middleware lets only authenticated callers of the REST API through to next,
// which finds them with PrincipalFrom.
func (a *Auth) Middleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.Authenticate(r)
		if err != nil {
			if _, theirs := errors.AsType[*httpapi.Error](err); theirs {
				w.Header().Set("WWW-Authenticate", `Bearer realm="rialto"`)
			}
			httpapi.WriteError(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), p)))
	})
}

// BasicMiddleware is Middleware for callers that cannot log in, such as
// Prometheus: it takes an access key as HTTP Basic credentials too.
func (a *Auth) BasicMiddleware(next http.Handler) http.Handler {
	inner := a.Middleware(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id, secret, ok := r.BasicAuth(); ok {
			token, _, err := a.Login(r.Context(), id, secret)
			if err != nil {
				httpapi.WriteError(w, r, err)
				return
			}
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+token)
		}
		inner.ServeHTTP(w, r)
	})
}

// streamCheck is how often the key behind a stream is looked at.
const streamCheck = 2 * time.Second

// WhileAllowed is for answers that go on for long: it ends the request's context
// within seconds of the end of the caller's key, or of dev mode where that was all
// there was. Next must be behind Middleware.
func (a *Auth) WhileAllowed(next http.HandlerFunc) http.HandlerFunc {
	return a.whileAllowed(next, streamCheck)
}

func (a *Auth) whileAllowed(next http.HandlerFunc, every time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			defer cancel()
			p, _ := PrincipalFrom(ctx)
			tick := time.NewTicker(every)
			defer tick.Stop()
			for a.allowed(ctx, p) {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		})
		defer wg.Wait()
		defer cancel()
		next(w, r.WithContext(ctx))
	}
}

// allowed reports whether who was authenticated may still call. Where the
// database cannot be asked they may.
func (a *Auth) allowed(ctx context.Context, p Principal) bool {
	if p.dev {
		return a.DevMode(ctx)
	}
	_, err := a.lookup(ctx, p.KeyID)
	return !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrKeyEnded)
}

// Require lets only callers whose role has the permission through to next.
func Require(p Permission, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := Check(r.Context(), p); err != nil {
			httpapi.WriteError(w, r, err)
			return
		}
		next(w, r)
	}
}

// Check returns an *httpapi.Error unless the caller in ctx has the permission.
func Check(ctx context.Context, p Permission) error {
	who, ok := PrincipalFrom(ctx)
	if !ok {
		return httpapi.Unauthenticated("The request was not authenticated.")
	}
	if !who.Role.Has(p) {
		return httpapi.Forbidden("Key %s has the role %s, which may not %s here.", who.KeyID, who.Role, p)
	}
	return nil
}

// CheckAccount returns an *httpapi.Error unless the caller's account in ctx has a say in
// what belongs to the account. What the caller's role allows is Check's to say.
func CheckAccount(ctx context.Context, account string) error {
	who, ok := PrincipalFrom(ctx)
	if !ok {
		return httpapi.Unauthenticated("The request was not authenticated.")
	}
	if !who.Governs(account) {
		return httpapi.Forbidden("Key %s is of account %s; this takes a key of account %s. "+
			"An admin of that account makes one with `rialto keys create`; without one, `rialto keys create --role admin --data-dir DIR` does on a stopped server.", who.KeyID, who.Account, governors(account))
	}
	return nil
}

func governors(account string) string {
	if account == HomeAccount {
		return account
	}
	return account + " or of the installation's own, " + HomeAccount
}
