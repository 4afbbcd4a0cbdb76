package httpapi

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// TokenPath is where OAuth 2 clients ask for tokens. It is the one path under
// /v1 that takes forms: AWS sends them there.
const TokenPath = "/v1/oauth_token"

// GuardOptions say under which names the server is known.
type GuardOptions struct {
	// PublicURL is the URL at which others reach the server; its host is accepted.
	// Nil where there is none.
	PublicURL *url.URL
	// Hosts are further names that a Host header may carry, without port: a
	// container's name, for example.
	Hosts []string
	// Open reports whether nobody is asked for credentials, as only this machine
	// reaches the server. Nil: everybody is asked.
	Open func(context.Context) bool
	// WriteError answers what is refused; nil: the package's WriteError.
	WriteError func(w http.ResponseWriter, r *http.Request, err error)
	// Page reports whether a request is for a page that a link on another site
	// may open. Nil: none is.
	Page func(*http.Request) bool
}

// Guard stands before everything the server answers, so that no web page can
// drive it through a visitor's browser:
//
//   - Host must be a loopback name, an IP address, the public URL's host or one of
//     Hosts. Anything else is a name that someone else controls and has pointed here.
//   - A request that a browser says another site made (Sec-Fetch-Site, or an Origin
//     that is neither ours nor the public URL's) is refused, reads as well.
//   - POST, PUT and PATCH under /v1 need a content type of JSON or JSON lines,
//     which a page of another site cannot send unasked; the token endpoint is
//     excepted, and a request without a body that has a bearer token.
//   - While the server is Open, what a proxy has passed on is refused: others
//     reach the proxy.
//
// SDKs, curl and EventBridge send no such headers and pass. Every answer carries
// headers against framing, sniffing and leaking referrers.
func Guard(next http.Handler, o GuardOptions) (http.Handler, error) {
	g := &guard{next: next, page: o.Page, open: o.Open, hosts: map[string]bool{"localhost": true}}
	if g.refuse = o.WriteError; g.refuse == nil {
		g.refuse = WriteError
	}
	for _, h := range o.Hosts {
		name := strings.ToLower(strings.TrimSuffix(strings.TrimSpace(h), "."))
		if name == "" || strings.ContainsAny(name, "/:*@ ") {
			return nil, fmt.Errorf("accepted host %q: give a plain host name without scheme and port", h)
		}
		g.hosts[name] = true
	}
	if o.PublicURL != nil {
		g.hosts[strings.ToLower(strings.TrimSuffix(o.PublicURL.Hostname(), "."))] = true
		if err := g.cross.AddTrustedOrigin(originOf(o.PublicURL)); err != nil {
			return nil, fmt.Errorf("public URL %s: %w", o.PublicURL.Redacted(), err)
		}
	}
	return g, nil
}

// originOf is the URL's origin as browsers write it: without the default port.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch {
	case u.Scheme == "https":
		host = strings.TrimSuffix(host, ":443")
	case u.Scheme == "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
}

type guard struct {
	next  http.Handler
	hosts map[string]bool
	cross http.CrossOriginProtection
	page  func(*http.Request) bool
	open  func(context.Context) bool
	// refuse answers with an error.
	refuse func(w http.ResponseWriter, r *http.Request, err error)
}

// proxyHeaders are how proxies say for whom they call.
var proxyHeaders = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"}

func throughProxy(r *http.Request) bool {
	for _, name := range proxyHeaders {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// ServeHTTP refuses what is not for this server, and hands on the rest.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if err := g.check(r); err != nil {
		g.refuse(w, r, err)
		return
	}
	g.next.ServeHTTP(w, r)
}

func (g *guard) check(r *http.Request) error {
	if !g.knownHost(r.Host) {
		return Forbidden("The Host %q is not one of this server's names. Use localhost or its address; "+
			"to serve this name, start it with --public-url, or accept the name with --host.", r.Host)
	}
	if g.foreign(r) && !g.opensPage(r) {
		return Forbidden("The request was made by a page of another site; it is refused.")
	}
	if kind := r.Header.Get("Content-Type"); wantsJSON(r) && !IsJSON(kind) && !IsJSONLines(kind) {
		return unsupportedContentType(kind)
	}
	if throughProxy(r) && g.open != nil && g.open(r.Context()) {
		return Forbidden("The request came through a proxy, and without an admin key everyone may do everything here. " +
			"Make one first with `rialto keys create --role admin`.")
	}
	return nil
}

// knownHost accepts the names that cannot be pointed here by a stranger's DNS.
func (g *guard) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	// RFC 6761: every name under localhost is loopback; browsers hold to it.
	return g.hosts[host] || strings.HasSuffix(host, ".localhost")
}

// foreign reports whether a browser says that another site made the request.
func (g *guard) foreign(r *http.Request) bool {
	// The standard library lets safe methods pass, since they should change nothing.
	// Ours do not either, but AWS's query protocol takes any operation by GET.
	unsafe := *r
	unsafe.Method = http.MethodPost
	return g.cross.Check(&unsafe) != nil
}

// opensPage reports whether a request is a visitor who follows a link.
func (g *guard) opensPage(r *http.Request) bool {
	return g.page != nil && r.Method == http.MethodGet &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		g.page(r)
}

func wantsJSON(r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/v1/") || r.URL.Path == TokenPath {
		return false
	}
	// No body has no type; a page cannot send a token to another site unasked.
	if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); r.ContentLength == 0 && strings.EqualFold(scheme, "Bearer") {
		return false
	}
	switch r.Method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		return true
	}
	return false
}
