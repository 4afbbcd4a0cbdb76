package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// PortTokenPath is where PortTokenHandler is to be registered.
	PortTokenPath = "/v1/auth/access_token"
	// PortTokenLife is how long a token of PortLogin is valid at most. Port: 3 hours.
	PortTokenLife = 3 * time.Hour
)

// portClaims are the claims of a token for clients of Port's API. Some of them
// look, unverified, for what kind of caller it names.
type portClaims struct {
	jwt.RegisteredClaims
	IsMachine     bool `json:"isMachine"`
	PersonalToken bool `json:"personalToken"`
}

// PortLogin is Login for clients of Port's API: an access key's id and secret are
// their client id and secret. The token is a bearer token like Login's, valid for
// life, PortTokenLife at most, and ends with the key. The error is an
// *httpapi.Error if the credentials are wrong.
func (a *Auth) PortLogin(ctx context.Context, clientID, clientSecret string) (token string, life time.Duration, err error) {
	k, err := a.checkKey(ctx, clientID, clientSecret)
	if err != nil {
		return "", 0, err
	}
	now := a.now()
	expires := now.Add(PortTokenLife)
	if !k.ExpiresAt.IsZero() && k.ExpiresAt.Before(expires) {
		expires = k.ExpiresAt
	}
	token, err = signToken(a.restToken, portClaims{RegisteredClaims: registered(k.ID, restAudience, now, expires), IsMachine: true})
	if err != nil {
		return "", 0, fmt.Errorf("sign a token for %s: %w", k.ID, err)
	}
	return token, max(expires.Sub(now), time.Second), nil
}

// PortTokenHandler serves PortTokenPath as Port does: POST {clientId, clientSecret}
// gives {ok, accessToken, expiresIn, tokenType}; expiresIn is in seconds. Its errors
// have Port's shape.
func (a *Auth) PortTokenHandler() http.Handler {
	type answer struct {
		OK          bool   `json:"ok"`
		AccessToken string `json:"accessToken"`
		ExpiresIn   int    `json:"expiresIn"`
		TokenType   string `json:"tokenType"`
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, err := portCredentials(w, r)
		if err != nil {
			httpapi.WritePortError(w, r, err)
			return
		}
		token, life, err := a.PortLogin(r.Context(), id, secret)
		if err != nil {
			httpapi.WritePortError(w, r, err)
			return
		}
		httpapi.JSON(w, http.StatusOK, answer{true, token, int(life / time.Second), "Bearer"})
	})
}

// portCredentials reads the body of a token request; what else is in it does not
// matter.
func portCredentials(w http.ResponseWriter, r *http.Request) (id, secret string, err error) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		e := httpapi.Invalid("%s is not known at %s; use POST.", r.Method, PortTokenPath)
		e.Status = http.StatusMethodNotAllowed
		return "", "", e
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogin))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return "", "", err
	}
	if err != nil {
		return "", "", httpapi.Invalid("The request body could not be read: %v.", err)
	}
	if err := httpapi.CheckJSON(body); err != nil {
		return "", "", httpapi.Invalid("The request body is not valid JSON: %v.", err)
	}
	var in struct {
		ClientID     *string `json:"clientId"`
		ClientSecret *string `json:"clientSecret"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.ClientID == nil || in.ClientSecret == nil {
		return "", "", unprocessable("The body must be an object with the strings clientId and clientSecret.")
	}
	if *in.ClientID == "" || len(*in.ClientID) > maxID {
		return "", "", unprocessable("clientId must be an access key id, 1 to %d characters.", maxID)
	}
	return *in.ClientID, *in.ClientSecret, nil
}

func unprocessable(format string, args ...any) *httpapi.Error {
	e := httpapi.Invalid(format, args...)
	e.Status = http.StatusUnprocessableEntity
	return e
}

// PortMiddleware is Middleware for the routes of Port's API: it takes every bearer
// token that Middleware takes, an access key as HTTP Basic credentials too, and
// its errors have Port's shape.
func (a *Auth) PortMiddleware(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := a.portPrincipal(r)
		if err != nil {
			if _, theirs := errors.AsType[*httpapi.Error](err); theirs {
				w.Header().Set("WWW-Authenticate", `Bearer realm="rialto"`)
			}
			httpapi.WritePortError(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(WithPrincipal(r.Context(), p)))
	})
}

func (a *Auth) portPrincipal(r *http.Request) (Principal, error) {
	id, secret, basic := r.BasicAuth()
	if !basic && r.Header.Get("Authorization") == "" && !a.DevMode(r.Context()) {
		return Principal{}, httpapi.Unauthenticated(
			"The request needs the header Authorization: Bearer TOKEN; get a token with POST %s.", PortTokenPath)
	}
	if !basic {
		return a.Authenticate(r)
	}
	k, err := a.checkKey(r.Context(), id, secret)
	if err != nil {
		return Principal{}, err
	}
	if k.Account == "" { // dev mode, where nobody was looked up
		return devPrincipal(k.ID), nil
	}
	return Principal{KeyID: k.ID, Account: k.Account, Role: k.Role}, nil
}
