package auth

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// CheckExposure refuses to serve what others can reach while nobody has a key to
// it: addresses beyond loopback, or a public URL, and no valid admin key. Without
// a port, or with names, an address is taken as net.Listen takes it.
func (a *Auth) CheckExposure(ctx context.Context, listen []string, publicURL *url.URL) error {
	reach := ""
	for _, addr := range listen {
		if !isLoopback(addr) {
			reach = "listening on " + addr
			break
		}
	}
	if publicURL != nil && !isLoopback(publicURL.Host) {
		reach = "the public URL " + publicURL.Redacted()
	}
	if reach == "" {
		return nil
	}
	found, err := validAdminKey(ctx, a.db, a.now())
	if err != nil {
		return fmt.Errorf("look for an admin key: %w", err)
	}
	if !found {
		return fmt.Errorf("%s would let everyone who reaches it do anything, as there is no admin key: "+
			"make one first with `rialto keys create --role admin --data-dir DIR`, or listen on 127.0.0.1", reach)
	}
	return nil
}

// isLoopback reports whether only this machine reaches an address to listen on.
// A name counts only if it is localhost: what others resolve to can change.
func isLoopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost"
}
