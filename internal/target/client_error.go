package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
)

// CallErrorKind says at which point a call failed.
type CallErrorKind uint8

// The kinds of failure of a call.
const (
	Refused     CallErrorKind = iota + 1 // we do not call that URL or address
	NoSuchHost                           // the name does not exist
	DNSFailed                            // the name could not be resolved now
	Unreachable                          // no connection
	TLSFailed                            // no secure connection: the certificate, mostly
	TimedOut                             // no answer in time
	BadAnswer                            // the answer is not HTTP, too large, or broke off
)

// CallError is why a call of the guarded client got no answer.
type CallError struct {
	Kind    CallErrorKind
	Host    string         // host and port of the URL
	Addr    netip.AddrPort // that was refused; the zero value if it was not an address
	Message string         // for people: what happened, and what to do
	Err     error          // what the network said; may be nil
}

// Error returns the host and the message.
func (e *CallError) Error() string { return "call " + e.Host + ": " + e.Message }

// Unwrap returns what the network said.
func (e *CallError) Unwrap() error { return e.Err }

func refusedURL(u *url.URL, why string) *CallError {
	return &CallError{Kind: Refused, Host: u.Host, Message: "the URL is refused: " + why}
}

func refusedAddress(host string, addr netip.AddrPort, special string) *CallError {
	return &CallError{
		Kind: Refused, Host: host, Addr: addr,
		Message: fmt.Sprintf("%s is %s, to which calls are refused. "+
			"To allow them, start the server with --allow-outbound %s/%d or --allow-outbound %s",
			addr.Addr(), special, addr.Addr(), addr.Addr().BitLen(), net.JoinHostPort(host, fmt.Sprint(addr.Port()))),
	}
}

func refusedPlain(host, port string) *CallError {
	return &CallError{
		Kind: Refused, Host: host,
		Message: "calls by http:// are refused, as everybody on the way could read them. " +
			"Use https://, or start the server with --allow-outbound " + net.JoinHostPort(host, port),
	}
}

// classify turns what the network said into a CallError. Caller is the context of
// whoever called: its end is theirs, and not a failure of the call.
func classify(err error, caller context.Context, host string, handshake bool) error {
	if refused, ok := errors.AsType[*CallError](err); ok {
		return refused
	}
	if errors.Is(caller.Err(), context.Canceled) {
		return fmt.Errorf("call %s: %w", host, caller.Err())
	}
	e := &CallError{Kind: BadAnswer, Host: host, Err: err, Message: "the answer could not be read: " + err.Error()}
	dns, isDNS := errors.AsType[*net.DNSError](err)
	op, isOp := errors.AsType[*net.OpError](err)
	timeout, isTimeout := errors.AsType[net.Error](err)
	switch {
	case isDNS && dns.IsNotFound || isOp && isAddrError(op.Err):
		e.Kind, e.Message = NoSuchHost, "the host name does not exist"
	case isDNS:
		e.Kind, e.Message = DNSFailed, "the host name could not be resolved: "+dns.Err
	case errors.Is(err, context.DeadlineExceeded) || isTimeout && timeout.Timeout():
		e.Kind, e.Message = TimedOut, "there was no answer in time"
	case handshake:
		e.Kind, e.Message = TLSFailed, "there is no secure connection: "+err.Error()
	case isOp && op.Op == "dial":
		e.Kind, e.Message = Unreachable, "there is no connection: "+op.Err.Error()
	}
	return e
}

// isAddrError reports whether a name exists and has no address.
func isAddrError(err error) bool {
	_, ok := errors.AsType[*net.AddrError](err)
	return ok
}

// callFailure says what a failed call means for the delivery. AWS: an address that
// cannot be called and a name that does not exist are final; trouble with the
// network passes.
func callFailure(err error) *Failure {
	e, ok := errors.AsType[*CallError](err)
	if !ok {
		return AsFailure(err)
	}
	f := &Failure{Code: CodeConnectionFailure, Message: e.Error(), Retryable: true}
	switch e.Kind {
	case Refused, NoSuchHost:
		f.Retryable = false
	case TimedOut:
		f.Code = CodeTimeout
	}
	return f
}
