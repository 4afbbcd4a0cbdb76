package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
)

const (
	// maxAnswer bounds the answer that is read of a call, in bytes. AWS asks for as
	// much of it (Range: bytes=0-1048575).
	maxAnswer       = 1 << 20
	maxAnswerHeader = 64 << 10
	idleConnections = 8 // for each host
	idleTimeout     = 30 * time.Second
)

// ownPaths are the paths of this server that a user's configuration may call,
// although the server is on loopback or in a private network.
var ownPaths = []string{httpapi.TokenPath, "/v1/webhooks/", "/v1/intakes/"}

// ClientOptions say what the guarded client may reach beyond the public internet.
type ClientOptions struct {
	// Allow are the rules of --allow-outbound.
	Allow []OutboundRule
	// AllowLoopback, asked at each connection, opens loopback: in dev mode. Nil: it
	// stays closed.
	AllowLoopback func() bool
	// Own returns the URLs of this server: where it listens, and the public URL. Its
	// token endpoint, webhooks and intakes may be called. It is asked at each call, as
	// the port may be chosen at start. Nil: none.
	Own func() []string
	// RootCAs are the certificate authorities that are trusted. Nil: the system's.
	RootCAs *x509.CertPool
	// Timeout bounds one call with its answer. Zero: Timeout.
	Timeout time.Duration
}

// Client makes the calls that users configure: API destinations and token
// requests. Addresses are checked when connecting, after names were resolved, so that
// no name can lead to what is closed: loopback, private, link-local, metadata and
// other special addresses. It follows no redirects, uses no proxy, and bounds time
// and size. Its methods are safe for concurrent use.
type Client struct {
	options  ClientOptions
	resolver *net.Resolver // nil: the system's

	// Connections are kept apart by what was checked when they were made: a kept
	// one must not serve a call that would not have got it.
	allowed *http.Transport // to what is allowed by name, unchecked
	secure  *http.Transport // https
	plain   *http.Transport // http: allowed addresses only
}

// NewClient returns a client. Close it at the end.
func NewClient(o ClientOptions) *Client {
	if o.Timeout == 0 {
		o.Timeout = Timeout
	}
	c := &Client{options: o}
	c.allowed = c.transport(func(string, netip.AddrPort) error { return nil })
	c.secure = c.transport(c.checkSecure)
	c.plain = c.transport(c.checkPlain)
	return c
}

// Close closes the connections that are kept for further calls.
func (c *Client) Close() {
	for _, t := range []*http.Transport{c.allowed, c.secure, c.plain} {
		t.CloseIdleConnections()
	}
}

// check decides whether host may be called at an address that it resolved to.
type check func(host string, addr netip.AddrPort) error

func (c *Client) transport(allow check) *http.Transport {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.dial(ctx, network, address, allow)
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.options.RootCAs},
		DisableCompression:     true, // a compressed answer would get past the size limit
		MaxResponseHeaderBytes: maxAnswerHeader,
		MaxIdleConnsPerHost:    idleConnections,
		IdleConnTimeout:        idleTimeout,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true) // AWS calls API destinations with HTTP/1.1
	return t
}

func (c *Client) dial(ctx context.Context, network, address string, allow check) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{
		Resolver: c.resolver,
		Control: func(_, resolved string, _ syscall.RawConn) error {
			addr, err := netip.ParseAddrPort(resolved)
			if err != nil {
				return err
			}
			return allow(host, netip.AddrPortFrom(plainAddr(addr.Addr()), addr.Port()))
		},
	}
	return dialer.DialContext(ctx, network, address)
}

// checkSecure lets https through to the public internet and to what is open.
func (c *Client) checkSecure(host string, addr netip.AddrPort) error {
	special := specialAddress(addr.Addr())
	if special == "" || c.open(addr) {
		return nil
	}
	return refusedAddress(host, addr, special)
}

// checkPlain lets http through only to what is open: on the public internet it
// would show credentials to everybody on the way.
func (c *Client) checkPlain(host string, addr netip.AddrPort) error {
	if c.open(addr) {
		return nil
	}
	if special := specialAddress(addr.Addr()); special != "" {
		return refusedAddress(host, addr, special)
	}
	return refusedPlain(host, strconv.Itoa(int(addr.Port())))
}

// open reports whether an address was opened by a rule or is open in dev mode.
func (c *Client) open(addr netip.AddrPort) bool {
	for _, rule := range c.options.Allow {
		if rule.matchesAddr(addr) {
			return true
		}
	}
	return addr.Addr().IsLoopback() && c.options.AllowLoopback != nil && c.options.AllowLoopback()
}

// Do makes one call. An answer of any status is no error; its body is cut off with
// a *CallError after 1 MiB or when the time is up, and must be closed. The error is
// a *CallError, or wraps the context's where that was cancelled.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	transport, err := c.route(req.URL)
	if err != nil {
		return nil, err
	}
	var handshake atomic.Bool
	ctx, cancel := context.WithTimeout(req.Context(), c.options.Timeout)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { handshake.Store(err != nil) },
	})
	resp, err := transport.RoundTrip(req.WithContext(traced))
	if err != nil {
		cancel()
		return nil, classify(err, req.Context(), req.URL.Host, handshake.Load())
	}
	resp.Body = &answerBody{body: resp.Body, left: maxAnswer, host: req.URL.Host, ctx: req.Context(), cancel: cancel}
	return resp, nil
}

// CheckURL refuses a URL that a call would be refused for whatever its name
// resolves to, so that a user hears of it when they configure it. The error says
// why and what to do.
func (c *Client) CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return fmt.Errorf("%q is not a URL", text)
	}
	transport, err := c.route(u)
	if err != nil || transport == c.allowed {
		return err
	}
	host, port := hostPort(u)
	if addr, err := netip.ParseAddr(host); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return refusedURL(u, "its port is none")
		}
		return c.checkLiteral(u.Scheme, netip.AddrPortFrom(plainAddr(addr), uint16(n)))
	}
	if transport == c.plain && !c.mayOpen(host) {
		return refusedPlain(host, port)
	}
	return nil
}

func (c *Client) checkLiteral(scheme string, addr netip.AddrPort) error {
	if scheme == "https" {
		return c.checkSecure(addr.Addr().String(), addr)
	}
	return c.checkPlain(addr.Addr().String(), addr)
}

// mayOpen reports whether a name may resolve to an address that is open.
func (c *Client) mayOpen(host string) bool {
	for _, rule := range c.options.Allow {
		if rule.prefix.IsValid() || rule.isAddr() {
			return true
		}
	}
	return isLoopbackHost(host) && c.options.AllowLoopback != nil && c.options.AllowLoopback()
}

// route finds the transport for a URL.
func (c *Client) route(u *url.URL) (*http.Transport, error) {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, refusedURL(u, "only https:// and http:// are supported")
	case u.Hostname() == "":
		return nil, refusedURL(u, "it has no host")
	case u.User != nil:
		return nil, refusedURL(u, "it contains credentials; put them into the connection")
	case c.isOwn(u) || c.allowedByName(u):
		return c.allowed, nil
	case u.Scheme == "https":
		return c.secure, nil
	}
	return c.plain, nil
}

func (c *Client) allowedByName(u *url.URL) bool {
	host, port := hostPort(u)
	for _, rule := range c.options.Allow {
		if rule.matchesHost(host, port) {
			return true
		}
	}
	return false
}

// isOwn reports whether the URL is one of this server's that users may call.
func (c *Client) isOwn(u *url.URL) bool {
	if c.options.Own == nil || !isOwnPath(u.Path) {
		return false
	}
	host, port := hostPort(u)
	for _, text := range c.options.Own() {
		own, err := url.Parse(text)
		if err != nil {
			continue // it leads nowhere
		}
		ownHost, ownPort := hostPort(own)
		if own.Scheme == u.Scheme && ownPort == port && (ownHost == host || isLoopbackHost(ownHost) && isLoopbackHost(host)) {
			return true
		}
	}
	return false
}

func isOwnPath(p string) bool {
	if path.Clean(p) != strings.TrimSuffix(p, "/") {
		return false // "/v1/webhooks/../keys" is not under /v1/webhooks
	}
	for _, own := range ownPaths {
		if p == own || strings.HasSuffix(own, "/") && strings.HasPrefix(p, own) {
			return true
		}
	}
	return false
}

// isLoopbackHost reports whether a host is this machine, as others write it.
func isLoopbackHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	return host == "localhost"
}

// hostPort is the URL's host in one spelling, and its port.
func hostPort(u *url.URL) (host, port string) {
	host, port = normalHost(u.Hostname()), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return host, port
}

// answerBody bounds the size of an answer, and ends its time when it is closed.
type answerBody struct {
	body   io.ReadCloser
	left   int64
	host   string
	ctx    context.Context // of the caller; the body lives no longer than the call
	cancel context.CancelFunc
}

// Read returns what the size and the time allow.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// One more byte tells an answer that ends here from one that is too large.
		var one [1]byte
		if n, err := b.body.Read(one[:]); n == 0 {
			return 0, b.wrap(err)
		}
		return 0, &CallError{Kind: BadAnswer, Host: b.host, Message: "the answer is larger than 1 MiB"}
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.body.Read(p)
	b.left -= int64(n)
	return n, b.wrap(err)
}

func (b *answerBody) wrap(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	return classify(err, b.ctx, b.host, false)
}

// Close ends the call.
func (b *answerBody) Close() error {
	defer b.cancel()
	return b.body.Close()
}
