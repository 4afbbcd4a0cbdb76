package httpapi

import (
	"net/http"
	"strconv"
	"time"
)

// PortError is a failure in the shape of Port's API, which clients of a software
// catalog read: {"ok":false,"error","message"[,"details"]}. Error is a code such as
// not_found.
type PortError struct {
	OK      bool   `json:"ok"` // always false
	Error   string `json:"error"`
	Message string `json:"message"`
	Details any    `json:"details,omitempty"`
}

// portCodes are Port's words for our codes; others are the same.
var portCodes = map[string]string{
	CodeAuthenticationError:    "unauthorized",
	CodeForbidden:              "forbidden",
	CodeNotFound:               "not_found",
	CodeAlreadyExists:          "identifier_taken",
	CodeUnsupportedContentType: "unsupported_media_type",
	CodeUnknown:                "internal_error",
	CodeServiceOffline:         "service_unavailable",
}

// WritePortError answers r with err as WriteError does, in the shape of Port's API.
func WritePortError(w http.ResponseWriter, r *http.Request, err error) {
	e := public(r, err)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	code, ok := portCodes[e.Code]
	switch {
	case e.Status == http.StatusRequestEntityTooLarge:
		code = "too_large"
	case !ok:
		code = e.Code
	}
	JSON(w, e.Status, PortError{Error: code, Message: e.Message})
}

// PortNotFound answers a request for what Port's API does not have here: 404 not_found.
func PortNotFound(w http.ResponseWriter, r *http.Request) {
	WritePortError(w, r, NotFound("There is nothing at %s.", r.URL.Path))
}
