package runtime

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	crand "crypto/rand"
)

// The Runtime API, as AWS describes it for custom runtimes. Each process has one for
// itself, on a port of its own.
const (
	apiPrefix       = "/2018-06-01/runtime/"
	headerErrorType = "Lambda-Runtime-Function-Error-Type"
	headerErrorBody = "Lambda-Runtime-Function-Error-Body" // a trailer of answers that are streamed
	// maxHeader is enough for a client's headers, errors' causes for X-Ray among them.
	maxHeader = 2 << 20
)

func (s *process) newServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+apiPrefix+"invocation/next", s.next)
	mux.HandleFunc("POST "+apiPrefix+"invocation/{id}/response", s.response)
	mux.HandleFunc("POST "+apiPrefix+"invocation/{id}/error", s.invocationError)
	mux.HandleFunc("POST "+apiPrefix+"init/error", s.initFailed)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "InvalidRequest", r.Method+" "+r.URL.Path+" is not in the Runtime API")
	})
	return &http.Server{
		Handler: s.ownOnly(mux), ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.pool.opt.Logger.Handler(), slog.LevelDebug),
	}
}

// ownOnly refuses browsers: a web page must not be able to take a function's
// invocations by asking each port of the machine.
func (s *process) ownOnly(next http.Handler) http.Handler {
	address := s.listener.Addr().String()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != address || r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
			refuse(w, http.StatusForbidden, "InvalidRequest", "only the function's own process is served here")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func refuse(w http.ResponseWriter, status int, kind, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(errorPayload(kind, message)) //nolint:gosec // JSON, for a function's process
}

func accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`+"\n")
}

// next waits for an invocation and hands it to the process.
func (s *process) next(w http.ResponseWriter, r *http.Request) {
	s.askedYet.Do(func() { close(s.asked) })
	for {
		if s.busy() {
			refuse(w, http.StatusForbidden, "InvalidStateTransition", "the invocation under way has no response yet")
			return
		}
		select {
		case c := <-s.calls:
			if c == nil {
				continue
			}
			s.deliver(w, c)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func (s *process) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current != nil
}

func (s *process) deliver(w http.ResponseWriter, c *call) {
	s.mu.Lock()
	s.current, s.last = c, c
	s.mu.Unlock()
	if !c.logged {
		s.pipe.then(func() { s.out.begin(c, s.fn) })
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(c.Payload)))
	h.Set("Lambda-Runtime-Aws-Request-Id", c.RequestID)
	h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(c.deadline().UnixMilli(), 10))
	h.Set("Lambda-Runtime-Invoked-Function-Arn", c.FunctionARN)
	h.Set("Lambda-Runtime-Trace-Id", c.TraceHeader)
	if c.ClientContext != "" {
		h.Set("Lambda-Runtime-Client-Context", headerJSON(c.ClientContext))
	}
	_, _ = w.Write(c.Payload) // a process that does not read it ends or runs out of time
}

// response takes the answer to the current invocation.
func (s *process) response(w http.ResponseWriter, r *http.Request) {
	c := s.currentIs(w, r)
	if c == nil {
		return
	}
	body, err := readBody(r, MaxResponse)
	switch {
	case errors.Is(err, errTooLarge):
		s.answer(c, answer{failed: true, kind: kindTooLarge, payload: errorPayload(kindTooLarge,
			fmt.Sprintf("Response payload size exceeded maximum allowed payload size (%d bytes).", MaxResponse))})
		refuse(w, http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", MaxResponse))
		return
	case err != nil:
		refuse(w, http.StatusBadRequest, "InvalidRequest", "the response could not be read: "+err.Error())
		return
	}
	if kind := r.Trailer.Get(headerErrorType); kind != "" { // an error in the middle of a stream
		s.answer(c, streamError(kind, r.Trailer.Get(headerErrorBody)))
	} else {
		s.answer(c, answer{payload: body})
	}
	accept(w)
}

const kindTooLarge = "Function.ResponseSizeTooLarge"

func streamError(kind, encoded string) answer {
	body, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(body) == 0 {
		body = errorPayload(kind, "")
	}
	return answer{failed: true, kind: kind, payload: body}
}

// invocationError takes the news that the current invocation has failed.
func (s *process) invocationError(w http.ResponseWriter, r *http.Request) {
	c := s.currentIs(w, r)
	if c == nil {
		return
	}
	kind, body := readError(r)
	s.answer(c, answer{failed: true, kind: kind, payload: body})
	accept(w)
}

// initFailed takes the news that the function cannot be initialized. The process ends
// after that by itself, or is ended.
func (s *process) initFailed(w http.ResponseWriter, r *http.Request) {
	kind, body := readError(r)
	s.mu.Lock()
	late := s.last != nil
	if !late && s.initError == nil {
		s.initError = &failure{kind: kind, body: body, message: kind}
		close(s.gaveUp)
	}
	s.mu.Unlock()
	if late {
		refuse(w, http.StatusForbidden, "InvalidStateTransition", "the function is initialized already")
		return
	}
	accept(w)
}

// readError returns an error's type, which stands in a header or else in the body, and
// the body.
func readError(r *http.Request) (kind string, body []byte) {
	kind = r.Header.Get(headerErrorType)
	body, err := readBody(r, MaxResponse)
	if err != nil || !json.Valid(body) {
		body = errorPayload(orUnknown(kind), "The function's error could not be read")
	}
	if kind == "" {
		var e struct {
			Type string `json:"errorType"`
		}
		if json.Unmarshal(body, &e) == nil {
			kind = e.Type
		}
	}
	return orUnknown(kind), body
}

func orUnknown(kind string) string {
	if kind == "" {
		return "Runtime.Unknown"
	}
	return kind
}

var errTooLarge = errors.New("too large")

func readBody(r *http.Request, limit int) ([]byte, error) {
	if r.ContentLength > int64(limit) {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4*int64(limit))) // so that the process can read the answer
		return nil, errTooLarge
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(r.Body, int64(limit)+1))
	if err == nil && n > int64(limit) {
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 4*int64(limit)))
		err = errTooLarge
	}
	return b.Bytes(), err
}

// currentIs returns the invocation that the process works on, if the request names it.
func (s *process) currentIs(w http.ResponseWriter, r *http.Request) *call {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil || s.current.RequestID != r.PathValue("id") {
		refuse(w, http.StatusBadRequest, "InvalidRequestID", "Invalid request ID")
		return nil
	}
	return s.current
}

// answer ends the invocation that the process works on.
func (s *process) answer(c *call, a answer) {
	s.mu.Lock()
	if s.current != c {
		s.mu.Unlock()
		return // answered already
	}
	s.current = nil
	s.mu.Unlock()
	c.answered <- a
}

// headerJSON writes JSON so that it can stand in a header.
func headerJSON(text string) string {
	var compact bytes.Buffer
	if json.Compact(&compact, []byte(text)) != nil {
		compact.Reset()
		compact.WriteString(strings.Map(func(r rune) rune {
			if r < ' ' {
				return ' '
			}
			return r
		}, text))
	}
	var b strings.Builder
	for _, r := range compact.String() {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// newTraceHeader makes the trace that Lambda gives an invocation that comes without one.
func newTraceHeader(now time.Time) string {
	var b [20]byte
	_, _ = crand.Read(b[:]) // never fails
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", now.Unix(), hex.EncodeToString(b[:12]), hex.EncodeToString(b[12:]))
}
