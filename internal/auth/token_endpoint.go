package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// maxTokenRequest bounds the body of a token request.
	maxTokenRequest = 64 << 10
	// usedEvery is how exactly the last use of a secret is kept.
	usedEvery = time.Minute
)

// tokenError is a failure in the shape of RFC 6749, section 5.2, which allows
// neither quotes nor anything but ASCII in the description: it repeats nothing
// of the request.
type tokenError struct {
	status      int
	code        string
	description string
}

// Error returns the code and the description.
func (e *tokenError) Error() string { return e.code + ": " + e.description }

func invalidTokenRequest(format string, args ...any) *tokenError {
	return &tokenError{http.StatusBadRequest, "invalid_request", fmt.Sprintf(format, args...)}
}

var errInvalidClient = &tokenError{
	http.StatusUnauthorized, "invalid_client",
	"The client id or the client secret is wrong, or the secret was revoked or has expired.",
}

// TokenHandler serves httpapi.TokenPath: OAuth 2 client credentials (RFC 6749,
// section 4.4). Parameters come as a form, as a JSON object or in the query;
// client id and secret there too, or as HTTP Basic. POST is the method; PUT and
// GET are taken because an EventBridge connection may be set to them.
func (a *Auth) TokenHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Pragma", "no-cache")
		switch r.Method {
		case http.MethodPost, http.MethodPut, http.MethodGet:
		default:
			h.Set("Allow", "POST, PUT, GET")
			writeTokenError(w, &tokenError{http.StatusMethodNotAllowed, "invalid_request", "Use POST."})
			return
		}
		answer, err := a.grant(w, r)
		if err != nil {
			a.writeGrantError(w, r, err)
			return
		}
		httpapi.JSON(w, http.StatusOK, answer)
	})
}

// tokenAnswer is a token in the shape of RFC 6749, section 5.1.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   int    `json:"expires_in"` // seconds
}

func (a *Auth) grant(w http.ResponseWriter, r *http.Request) (tokenAnswer, error) {
	params, err := tokenParams(w, r)
	if err != nil {
		return tokenAnswer{}, err
	}
	clientID, secret, err := clientCredentials(r, params)
	if err != nil {
		return tokenAnswer{}, err
	}
	// Who asks comes first: nobody else learns what the endpoint thinks of the rest.
	s, audience, found, err := a.Clients().authenticate(r.Context(), clientID, secret)
	if err != nil {
		return tokenAnswer{}, err
	}
	if !found {
		return tokenAnswer{}, errInvalidClient
	}
	if err := checkGrant(params); err != nil {
		return tokenAnswer{}, err
	}
	token, life, err := a.issueToken(s, audience)
	if err != nil {
		return tokenAnswer{}, err
	}
	if now := a.now(); now.Sub(s.LastUsedAt) >= usedEvery {
		// A token whose use could not be noted down is a token all the same.
		if err := markSecretUsed(r.Context(), a.db, s.ID, now); err != nil {
			a.log.WarnContext(r.Context(), "note the use of a client secret", "client", clientID, "secret", s.ID, "error", err)
		}
	}
	return tokenAnswer{AccessToken: token, TokenType: "Bearer", ExpiresIn: int(life / time.Second)}, nil
}

func checkGrant(params map[string]string) error {
	switch params["grant_type"] {
	case "client_credentials":
	case "":
		return invalidTokenRequest("grant_type is missing: send grant_type=client_credentials " +
			"(in an EventBridge connection: an OAuth HTTP parameter of type body).")
	default:
		return &tokenError{
			http.StatusBadRequest, "unsupported_grant_type",
			"This grant_type is not supported: send grant_type=client_credentials.",
		}
	}
	if params["scope"] != "" {
		return &tokenError{http.StatusBadRequest, "invalid_scope", "There are no scopes here: leave scope out."}
	}
	return nil
}

// tokenParams reads the parameters of the query and the body. One that is given
// twice must say the same both times.
func tokenParams(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, invalidTokenRequest("The query string is malformed.")
	}
	params, err := flattenForm(query)
	if err != nil {
		return nil, err
	}
	body, err := tokenBody(w, r)
	if err != nil {
		return nil, err
	}
	for name, value := range body {
		if given, ok := params[name]; ok && given != value {
			return nil, invalidTokenRequest("A parameter is in the query and in the body, with different values.")
		}
	}
	maps.Copy(params, body)
	return params, nil
}

func tokenBody(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTokenRequest))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, &tokenError{http.StatusRequestEntityTooLarge, "invalid_request", "The request body is too large."}
	}
	if err != nil {
		return nil, invalidTokenRequest("The request body could not be read.")
	}
	if len(body) == 0 {
		return nil, nil
	}
	if !utf8.Valid(body) {
		return nil, invalidTokenRequest("The request body is not valid UTF-8.")
	}
	if httpapi.IsJSON(r.Header.Get("Content-Type")) {
		return jsonParams(body)
	}
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType != "application/x-www-form-urlencoded" {
		return nil, invalidTokenRequest("Content-Type must be application/x-www-form-urlencoded or application/json.")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalidTokenRequest("The form in the request body is malformed.")
	}
	return flattenForm(form)
}

func flattenForm(form url.Values) (map[string]string, error) {
	params := make(map[string]string, len(form))
	for name, values := range form {
		if len(values) > 1 { // RFC 6749, section 3.2
			return nil, invalidTokenRequest("A parameter is given more than once.")
		}
		params[name] = values[0]
	}
	return params, nil
}

func jsonParams(body []byte) (map[string]string, error) {
	if err := httpapi.CheckJSON(body); err != nil {
		return nil, invalidTokenRequest("The request body is not valid JSON, or names a member twice.")
	}
	var values map[string]any
	if err := json.Unmarshal(body, &values); err != nil {
		return nil, invalidTokenRequest("The request body must be a JSON object.")
	}
	params := make(map[string]string, len(values))
	for name, v := range values {
		s, ok := v.(string)
		if !ok {
			switch name {
			case "grant_type", "client_id", "client_secret", "scope":
				return nil, invalidTokenRequest("Parameter %s must be a string.", name)
			}
			continue // RFC 6749, section 3.2: parameters that are not known are ignored
		}
		params[name] = s
	}
	return params, nil
}

// clientCredentials finds who asks: by HTTP Basic, by parameters, or by both if
// they agree.
func clientCredentials(r *http.Request, params map[string]string) (id, secret string, err error) {
	id, secret = params["client_id"], params["client_secret"]
	if basicID, basicSecret, ok := basicCredentials(r); ok {
		if id != "" && id != basicID || secret != "" && secret != basicSecret {
			return "", "", invalidTokenRequest("The client credentials in the Authorization header differ from those in the parameters.")
		}
		id, secret = basicID, basicSecret
	} else if r.Header.Get("Authorization") != "" {
		return "", "", &tokenError{http.StatusUnauthorized, "invalid_client", "The Authorization header is not HTTP Basic."}
	}
	if id == "" || secret == "" {
		return "", "", &tokenError{http.StatusUnauthorized, "invalid_client", "The request has no client id and secret."}
	}
	if len(id) > maxClientSecret || len(secret) > maxClientSecret {
		return "", "", errInvalidClient
	}
	return id, secret, nil
}

// basicCredentials undoes the form encoding of RFC 6749, section 2.3.1. Clients
// that leave it out are understood as well: ours need none.
func basicCredentials(r *http.Request) (id, secret string, ok bool) {
	id, secret, ok = r.BasicAuth()
	if !ok || !utf8.ValidString(id) || !utf8.ValidString(secret) {
		return "", "", false
	}
	if decoded, err := url.QueryUnescape(id); err == nil {
		id = decoded
	}
	if decoded, err := url.QueryUnescape(secret); err == nil {
		secret = decoded
	}
	return id, secret, true
}

func (a *Auth) writeGrantError(w http.ResponseWriter, r *http.Request, err error) {
	if e, ok := errors.AsType[*tokenError](err); ok {
		writeTokenError(w, e)
		return
	}
	if r.Context().Err() == nil {
		a.log.ErrorContext(r.Context(), "token request failed", "request_id", httpapi.RequestIDFrom(r.Context()), "error", err)
	}
	w.Header().Set("Retry-After", "1")
	writeTokenError(w, &tokenError{http.StatusServiceUnavailable, "temporarily_unavailable", "The server cannot answer now. Try again."})
}

func writeTokenError(w http.ResponseWriter, e *tokenError) {
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="rialto", charset="UTF-8"`)
	}
	httpapi.JSON(w, e.status, map[string]string{"error": e.code, "error_description": e.description})
}
