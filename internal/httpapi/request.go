package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/google/uuid"
)

// RequestIDHeader carries the id of a request in its answer, and in the request
// where a proxy has given it one.
const RequestIDHeader = "X-Request-Id"

type requestKey struct{}

type request struct {
	id     string
	logger *slog.Logger
}

// Requests gives every request an id, which is in the answer's X-Request-Id, in
// error bodies and in the log. A well-formed id that the caller sent (1 to 128
// of letters, digits, '-', '_', '.') is kept. Failures are logged to logger.
func Requests(next http.Handler, logger *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(RequestIDHeader)
		if !validRequestID(id) {
			id = uuid.NewString()
		}
		w.Header().Set(RequestIDHeader, id)
		ctx := context.WithValue(r.Context(), requestKey{}, request{id: id, logger: logger})
		r = r.WithContext(ctx)
		defer logPanic(r)
		next.ServeHTTP(w, r)
	})
}

// logPanic logs what made a handler panic under the request's id; the connection
// is then closed without an answer.
func logPanic(r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		loggerFrom(r.Context()).ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path,
			"request_id", RequestIDFrom(r.Context()), "panic", p, "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

// RequestIDFrom returns the id of the request that ctx belongs to; empty where
// there is none.
func RequestIDFrom(ctx context.Context) string {
	req, _ := ctx.Value(requestKey{}).(request)
	return req.id
}

func loggerFrom(ctx context.Context) *slog.Logger {
	if req, ok := ctx.Value(requestKey{}).(request); ok && req.logger != nil {
		return req.logger
	}
	return slog.Default()
}

func validRequestID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
