package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// The codes of errors that a caller of the REST API is told of.
const (
	CodeInvalidRequest         = "invalid_request"
	CodeAuthenticationError    = "authentication_error"
	CodeServerRevoked          = "server_authorization_revoked"
	CodeForbidden              = "forbidden_error"
	CodeQuotaExceeded          = "quota_exceeded"
	CodeNotFound               = "resource_does_not_exist"
	CodeAlreadyExists          = "resource_already_exists"
	CodeUnsupportedContentType = "unsupported_content_type"
	CodeTooManyRequests        = "too_many_requests"
	CodeUnknown                = "unknown_error"
	CodeServiceOffline         = "service_offline"
	CodeGatewayTimeout         = "gateway_timeout"
)

// Error is a failure that a caller of the REST API is told of. A handler
// returns or writes one, wrapped or not; any other error becomes unknown_error.
type Error struct {
	Status  int    // HTTP status
	Code    string // one of the Code constants
	Message string // what happened, to which thing, and what to do
	// RetryAfter, when positive, is sent as the Retry-After header in whole seconds.
	RetryAfter time.Duration
}

// Error returns the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Invalid is the error of a request that breaks a rule: 400 invalid_request.
func Invalid(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Code: CodeInvalidRequest, Message: fmt.Sprintf(format, args...)}
}

// Unauthenticated is the error of a caller who did not prove who they are: 401
// authentication_error.
func Unauthenticated(format string, args ...any) *Error {
	return &Error{Status: http.StatusUnauthorized, Code: CodeAuthenticationError, Message: fmt.Sprintf(format, args...)}
}

// Forbidden is the error of a caller who may not do that: 403 forbidden_error.
func Forbidden(format string, args ...any) *Error {
	return &Error{Status: http.StatusForbidden, Code: CodeForbidden, Message: fmt.Sprintf(format, args...)}
}

// NotFound is the error of a thing that is not there: 404 resource_does_not_exist.
func NotFound(format string, args ...any) *Error {
	return &Error{Status: http.StatusNotFound, Code: CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

// Unavailable is the error of a server that cannot answer now: 503
// service_offline with a Retry-After.
func Unavailable(retryAfter time.Duration, format string, args ...any) *Error {
	return &Error{
		Status: http.StatusServiceUnavailable, Code: CodeServiceOffline,
		Message: fmt.Sprintf(format, args...), RetryAfter: retryAfter,
	}
}

// KnownRoutes is mux with answers in the REST API's shape to what it has no route
// for: 404, or 405 where it has one for another method.
func KnownRoutes(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		other, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		e := NotFound("There is nothing at %s.", r.URL.Path)
		said := &discarded{header: http.Header{}}
		if other.ServeHTTP(said, r); said.status == http.StatusMethodNotAllowed {
			w.Header()["Allow"] = said.header["Allow"]
			e = Invalid("%s is not known at %s; use %s.", r.Method, r.URL.Path, said.header.Get("Allow"))
			e.Status = said.status
		}
		WriteError(w, r, e)
	})
}

// discarded is an answer of which only status and header count.
type discarded struct {
	header http.Header
	status int
}

// Header holds what is never sent.
func (d *discarded) Header() http.Header { return d.header }

// Write drops the body.
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader keeps the status.
func (d *discarded) WriteHeader(status int) { d.status = status }

// errorBody is an error on the wire.
type errorBody struct {
	Error     errorDetail `json:"error"`
	RequestID string      `json:"request_id,omitempty"`
}

type errorDetail struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// WriteError answers r with err: {"error":{"code","message"},"request_id"}. An
// err that is or wraps an *Error is told to the caller. Any other is logged, and
// the caller is told only the request id, by which the log line can be found.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := public(r, err)
	if e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	JSON(w, e.Status, errorBody{
		Error:     errorDetail{Code: e.Code, Message: e.Message},
		RequestID: RequestIDFrom(r.Context()),
	})
}

// diskPause is how long callers are told to wait for space.
const diskPause = 10 * time.Second

// public is what the caller may know of err; what they may not is logged here.
func public(r *http.Request, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &Error{
			Status: http.StatusRequestEntityTooLarge, Code: CodeInvalidRequest,
			Message: fmt.Sprintf("The request body is larger than the %d bytes allowed.", tooLarge.Limit),
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Status: http.StatusGatewayTimeout, Code: CodeGatewayTimeout, Message: "The request took too long. Try again."}
	}
	if r.Context().Err() == nil {
		loggerFrom(r.Context()).ErrorContext(r.Context(), "request failed",
			"method", r.Method, "path", r.URL.Path, "request_id", RequestIDFrom(r.Context()), "error", err)
	}
	if store.IsFull(err) {
		return Unavailable(diskPause, "The server's disk is full: nothing of the request was stored. Try again once there is space.")
	}
	return &Error{
		Status: http.StatusInternalServerError, Code: CodeUnknown,
		Message: "The server failed to answer; its log says why under this request id.",
	}
}
