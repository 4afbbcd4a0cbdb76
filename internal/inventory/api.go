package inventory

import (
	"errors"
	"net/http"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// callersDoing reports whether an error is of the caller's making, and may be told.
func callersDoing(err error) bool {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*refusal](err); ok {
		return true
	}
	return false
}

// toAPIError maps a refusal of this package to its status and code; other errors
// pass as they are.
func toAPIError(err error) error {
	ref, ok := errors.AsType[*refusal](err)
	if !ok {
		return err
	}
	e := &httpapi.Error{Status: http.StatusBadRequest, Code: httpapi.CodeInvalidRequest, Message: ref.text}
	switch ref.kind {
	case ErrNotFound:
		e.Status, e.Code = http.StatusNotFound, httpapi.CodeNotFound
	case ErrExists:
		e.Status, e.Code = http.StatusConflict, httpapi.CodeAlreadyExists
	case ErrForeignAccount, ErrForbidden:
		e.Status, e.Code = http.StatusForbidden, httpapi.CodeForbidden
	case ErrRevoked:
		e.Status, e.Code = http.StatusUnauthorized, httpapi.CodeServerRevoked
	case ErrCredential:
		e.Status, e.Code = http.StatusUnauthorized, httpapi.CodeAuthenticationError
	}
	return e
}

// Register adds the inventory's routes to mux: the webhooks and the agents', which
// authenticate by themselves, and the REST API, which expects the caller's
// principal in the context (auth.WithPrincipal).
func (v *Inventory) Register(mux *http.ServeMux) {
	mux.HandleFunc(WebhookPath, v.webhook)
}

// Handler serves what Register adds.
func (v *Inventory) Handler() http.Handler {
	mux := http.NewServeMux()
	v.Register(mux)
	return mux
}

// permit checks that the caller of a REST call may do it.
func permit(r *http.Request, p auth.Permission) (auth.Principal, error) {
	who, ok := auth.PrincipalFrom(r.Context())
	if !ok {
		return who, httpapi.Unauthenticated("The request carries no valid token.")
	}
	if !who.Role.Has(p) {
		return who, httpapi.Forbidden("Key %s has the role %s, which may not do this.", who.KeyID, who.Role)
	}
	return who, nil
}
