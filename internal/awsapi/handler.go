package awsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/store"
)

// Config is what a Handler needs from outside.
type Config struct {
	// Keys holds the access keys that signatures are checked against; required.
	Keys Keys
	// DevMode, if any, is asked at each request whether any signature is accepted.
	// There must be one even so. A key that Keys does not have is then an admin of
	// the account whose number the access key id is, else of DefaultAccount.
	DevMode func(ctx context.Context) bool
	// Middleware, if any, surrounds every call that is authenticated and decoded.
	Middleware Middleware
	// Trail, if any, is told of every call by a known caller.
	Trail  *Trail
	Now    func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: slog.Default
}

// DefaultAccount is the account of access keys that name none, in dev mode.
const DefaultAccount = "000000000000"

// Call is a decoded call by a known caller on its way to its Service.
type Call struct {
	Caller    Caller
	API       *API
	Operation *Operation
	Input     any // such as *PutRuleInput; not yet validated

	connection connection
}

// Middleware surrounds a call. next checks the caller's role, validates the
// input and calls the Service; what the middleware returns is what the caller
// gets. Refused calls pass through it too.
type Middleware func(ctx context.Context, call *Call, next func(context.Context) (any, error)) (any, error)

// Handler serves every registered service on one address.
type Handler struct {
	cfg      Config
	byName   map[string]*Binding // by signing name
	byTarget map[string]*Binding // by the prefix of X-Amz-Target
}

// New returns a handler without services. It panics when cfg has no keys.
func New(cfg Config) *Handler {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Keys == nil {
		panic("awsapi: a Handler needs Keys")
	}
	return &Handler{cfg: cfg, byName: map[string]*Binding{}, byTarget: map[string]*Binding{}}
}

// Register adds services, such as events.Bind(impl). It must not be called once
// the handler serves, and panics when a service is there already.
func (h *Handler) Register(bindings ...Binding) {
	for _, b := range bindings {
		if h.byName[b.API.Name] != nil {
			panic("awsapi: " + b.API.Name + " is registered twice")
		}
		h.byName[b.API.Name] = &b
		if b.API.TargetPrefix != "" {
			h.byTarget[b.API.TargetPrefix] = &b
		}
	}
}

// APIs are the services that are registered, in the order of their signing names.
func (h *Handler) APIs() []*API {
	apis := make([]*API, 0, len(h.byName))
	for _, name := range slices.Sorted(maps.Keys(h.byName)) {
		apis = append(apis, h.byName[name].API)
	}
	return apis
}

// Invoke calls an operation from inside the process as the caller: its role is
// checked, in is validated, and the middleware sees the call. service is the
// signing name. Errors that the caller may be told of are *Error.
func (h *Handler) Invoke(ctx context.Context, c Caller, service, operation string, in any) (any, error) {
	b := h.byName[service]
	if b == nil {
		return nil, UnknownOperation(service, operation)
	}
	op := b.API.operation(operation)
	if op == nil {
		return nil, UnknownOperation(service, operation)
	}
	c.Service, c.Operation = service, operation
	if c.RequestID == "" {
		c.RequestID = uuid.NewString()
	}
	return h.call(ctx, b, b.API.Protocols[0], &Call{Caller: c, API: b.API, Operation: op, Input: in})
}

// call makes a decoded call and records it.
func (h *Handler) call(ctx context.Context, b *Binding, protocol Protocol, call *Call) (any, error) {
	ctx = WithCaller(ctx, call.Caller)
	if !h.cfg.Trail.wants(call) {
		return h.dispatch(unrecorded(ctx), b, protocol, call)
	}
	return h.cfg.Trail.record(ctx, call, func(ctx context.Context) (any, error) {
		return h.dispatch(ctx, b, protocol, call)
	})
}

// dispatch takes a call through the middleware to its Service.
func (h *Handler) dispatch(ctx context.Context, b *Binding, protocol Protocol, call *Call) (any, error) {
	next := func(ctx context.Context) (any, error) {
		if err := authorize(call.API, call.Operation, call.Caller); err != nil {
			return nil, err
		}
		if err := call.API.Validate(protocol, call.Operation.Input, call.Input); err != nil {
			return nil, err
		}
		return call.Operation.Invoke(ctx, b.impl, call.Input)
	}
	if h.cfg.Middleware == nil {
		return next(ctx)
	}
	return h.cfg.Middleware(ctx, call, next)
}

// ServeHTTP answers one AWS request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{h: h, w: w, r: r, requestID: uuid.NewString()}
	out, err := x.serve()
	if err != nil {
		x.fail(x.told(err))
		return
	}
	x.answer(out)
}

// exchange is one request and what is known of it so far.
type exchange struct {
	h         *Handler
	w         http.ResponseWriter
	r         *http.Request
	requestID string

	protocol Protocol
	binding  *Binding // nil until the service is known
	op       *Operation
	body     []byte

	sig        *signature
	dev        bool // signatures are not checked
	known      bool // Keys has the key that sig names
	credential Credential
}

func (x *exchange) serve() (out any, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	decode, err := x.receive()
	if err != nil {
		return nil, err
	}
	caller, err := x.authenticate()
	if err != nil {
		return nil, err
	}
	call := &Call{Caller: caller, API: x.binding.API, Operation: x.op, connection: connection{x.r.TLS, x.r.Host}}
	if call.Input, err = decode(); err != nil {
		call.Input = nil
		x.h.cfg.Trail.refused(x.r.Context(), call, err)
		return nil, err
	}
	x.setPathMember(call.Input)
	if x.op.MaxSeconds > 0 {
		// That a writer has no deadline to move is no reason to refuse.
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(time.Duration(x.op.MaxSeconds) * time.Second))
	}
	return x.h.call(x.r.Context(), x.binding, x.protocol, call)
}

// told is the error that the caller gets. What is not meant for callers is
// logged under the request's id and told as an internal failure.
func (x *exchange) told(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	attrs := []any{"request_id", x.requestID, "error", err}
	api := (*API)(nil)
	if x.binding != nil {
		api = x.binding.API
		attrs = append(attrs, "service", api.Name)
	}
	if x.op != nil {
		attrs = append(attrs, "operation", x.op.Name)
	}
	level := slog.LevelError
	if x.r.Context().Err() != nil {
		level = slog.LevelInfo // the caller went away
	}
	x.h.cfg.Logger.Log(x.r.Context(), level, "AWS call failed", attrs...)
	return toldAs(api, err)
}

// toldAs is what a caller is told of an error; api is nil where the service is not known.
func toldAs(api *API, err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if store.IsFull(err) {
		return &Error{
			Code: "ThrottlingException", Status: http.StatusServiceUnavailable,
			Message: "The server's disk is full: nothing of the request was stored. Try again once there is space.",
		}
	}
	code := "InternalFailure"
	if api != nil {
		for _, own := range []string{"InternalException", "ServiceException"} {
			if modelled, ok := api.Errors[own]; ok && modelled.Fault {
				code = own
			}
		}
	}
	return &Error{
		Code: code, Status: http.StatusInternalServerError, Fault: true,
		Message: "The request processing has failed because of an unknown error, exception or failure.",
	}
}

var (
	regionForm = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	keyForm    = regexp.MustCompile(`^[\w.+=@-]{1,128}$`)
	digits12   = regexp.MustCompile(`^[0-9]{12}$`)
)

// identify reads the signature and finds its key. It comes before the body is
// read, so that only holders of keys can make the server hold large bodies.
func (x *exchange) identify() error {
	if x.sig == nil {
		sig, err := parseSignature(x.r)
		if err != nil {
			return err
		}
		x.sig = sig
	}
	if !regionForm.MatchString(x.sig.region) {
		return authError(codeBadSignature, "Credential should be scoped to a valid region.")
	}
	if !keyForm.MatchString(x.sig.keyID) {
		return authError(codeUnknownKey, "The security token included in the request is invalid.")
	}
	ctx := x.r.Context()
	x.dev = x.h.cfg.DevMode != nil && x.h.cfg.DevMode(ctx)
	credential, err := x.h.cfg.Keys.Lookup(ctx, x.sig.keyID)
	if err != nil && !errors.Is(err, ErrUnknownKey) {
		return fmt.Errorf("look up access key %s: %w", x.sig.keyID, err)
	}
	x.known, x.credential = err == nil, credential
	switch {
	case x.dev:
		return nil
	case !x.known:
		return authError(codeUnknownKey, "The security token included in the request is invalid.")
	}
	return x.sig.checkTime(x.h.cfg.Now())
}

// authenticate finds out who calls, once the body is there.
func (x *exchange) authenticate() (Caller, error) {
	who, err := x.principal()
	if err != nil {
		return Caller{}, err
	}
	ip, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		ip = x.r.RemoteAddr
	}
	return Caller{
		AccessKeyID: x.sig.keyID, Account: who.Account, Role: who.Role, Region: x.sig.region,
		Service: x.binding.API.Name, Operation: x.op.Name, RequestID: x.requestID,
		SourceIP: ip, UserAgent: x.r.UserAgent(), TraceHeader: x.r.Header.Get("X-Amzn-Trace-Id"),
	}, nil
}

// principal is whom the request's key stands for.
func (x *exchange) principal() (Principal, error) {
	if x.dev {
		return x.devPrincipal(x.known, x.credential.Principal)
	}
	if name := x.binding.API.Name; x.sig.service != name {
		return Principal{}, authError(codeBadSignature, "Credential should be scoped to correct service: '%s'. ", name)
	}
	if err := x.sig.verify(x.r, x.body, x.credential); err != nil {
		return Principal{}, err
	}
	return x.credential.Principal, nil
}

// devPrincipal is the caller where signatures are not checked. A web page can
// make a browser send a presigned request, and no Authorization header; so a
// presigned one may only look.
func (x *exchange) devPrincipal(known bool, who Principal) (Principal, error) {
	if x.sig.presigned && x.op.Access != Read && x.op.Access != Identity {
		return Principal{}, &Error{
			Code: "AccessDeniedException", Status: http.StatusForbidden,
			Message: "Presigned requests cannot change anything while signatures are not checked. Sign with an Authorization header, or create an access key.",
		}
	}
	if known {
		return who, nil
	}
	who = Principal{KeyID: x.sig.keyID, Account: DefaultAccount, Role: RoleAdmin}
	if digits12.MatchString(x.sig.keyID) {
		who.Account = x.sig.keyID
	}
	return who, nil
}
