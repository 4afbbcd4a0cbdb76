package inventory

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// callersDoing reports whether an error is of the caller's making, and may be told.
func callersDoing(err error) bool {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*httpapi.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[*refusal](err)
	return ok
}

// toAPIError maps a refusal of this package to its status and code; other errors
// pass as they are.
func toAPIError(err error) error {
	ref, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	e := &httpapi.Error{Status: http.StatusBadRequest, Code: httpapi.CodeInvalidRequest, Message: ref.text}
	switch {
	case errors.Is(ref.kind, ErrNotFound):
		e.Status, e.Code = http.StatusNotFound, httpapi.CodeNotFound
	case errors.Is(ref.kind, ErrExists):
		e.Status, e.Code = http.StatusConflict, httpapi.CodeAlreadyExists
	case errors.Is(ref.kind, ErrForeignAccount), errors.Is(ref.kind, ErrForbidden):
		e.Status, e.Code = http.StatusForbidden, httpapi.CodeForbidden
	case errors.Is(ref.kind, ErrRevoked):
		e.Status, e.Code = http.StatusUnauthorized, httpapi.CodeServerRevoked
	case errors.Is(ref.kind, ErrCredential):
		e.Status, e.Code = http.StatusUnauthorized, httpapi.CodeAuthenticationError
	}
	return e
}

type handler func(w http.ResponseWriter, r *http.Request) error

func serve(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			httpapi.WriteError(w, r, toAPIError(err))
		}
	}
}

// Register adds the inventory's routes to mux. The webhooks and the agents' routes,
// /v1/webhooks/ and /v1/agent/, authenticate by themselves: by the tokens of
// real-time credentials and by the agents' keys. The REST API, under
// /v1/teams/{team}/, expects the caller's principal in the context.
func (v *Inventory) Register(mux *http.ServeMux) {
	mux.HandleFunc(WebhookPath, v.webhook)
	mux.HandleFunc("GET /v1/webhooks/{id}", v.tellURL)
	mux.HandleFunc("POST "+enrollPath, serve(v.serveEnroll))
	mux.HandleFunc("POST "+heartbeatPath, serve(v.serveHeartbeat))
	rest := func(pattern string, p auth.Permission, h handler) {
		mux.HandleFunc(pattern, auth.Require(p, serve(func(w http.ResponseWriter, r *http.Request) error {
			if err := auth.CheckTeam(r); err != nil {
				return err
			}
			return h(w, r)
		})))
	}
	v.registerProjects(rest)
	v.registerAccounts(rest)
	v.registerServers(rest)
}

// register adds one route of the REST API.
type register func(pattern string, p auth.Permission, h handler)

const (
	pathTeam     = "/v1/teams/{team}"
	pathProjects = pathTeam + "/projects"
	pathProject  = pathProjects + "/{project}"
	pathAccounts = pathProject + "/cloud_accounts"
	pathAccount  = pathAccounts + "/{account}"
	pathTokens   = pathProject + "/server_enrollment_tokens"
)

// listJSON is every list of the API.
type listJSON[T any] struct {
	List []T `json:"list"`
}

func writeList[F, T any](w http.ResponseWriter, list []F, convert func(*F) T) {
	out := listJSON[T]{List: make([]T, len(list))}
	for i := range list {
		out.List[i] = convert(&list[i])
	}
	httpapi.JSON(w, http.StatusOK, out)
}

func keyID(r *http.Request) string {
	who, _ := auth.PrincipalFrom(r.Context())
	return who.KeyID
}

// durationJSON is a length of time such as "48h" or "5m".
type durationJSON time.Duration

// MarshalJSON writes the form that UnmarshalJSON reads.
func (d durationJSON) MarshalJSON() ([]byte, error) {
	return json.Marshal(time.Duration(d).String())
}

// UnmarshalJSON reads Go's form of a duration.
func (d *durationJSON) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New(`a length of time is a string such as "48h" or "5m"`)
	}
	parsed, err := time.ParseDuration(s)
	if err != nil {
		return errors.New(s + ` is not a length of time such as "48h" or "5m"`)
	}
	*d = durationJSON(parsed)
	return nil
}

// hasBody reports whether a request carries a body; where all fields are
// optional, none stands for an empty object.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 }

func decodeOptional(w http.ResponseWriter, r *http.Request, into any) error {
	if !hasBody(r) {
		return nil
	}
	return httpapi.Decode(w, r, into, 0)
}
