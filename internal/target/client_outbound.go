package target

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// OutboundRule is one rule of --allow-outbound: what the guarded client may call
// beyond the public internet, by http as well.
type OutboundRule struct {
	prefix netip.Prefix // of a rule that is a CIDR block
	host   string       // of a rule that is host:port, in one spelling
	port   string
}

// ParseOutboundRule reads a CIDR block (10.0.0.0/8, fd00::/8), a single address, or
// host:port (catalog.internal:8080, [::1]:9000).
func ParseOutboundRule(s string) (OutboundRule, error) {
	fail := func(why string) (OutboundRule, error) {
		return OutboundRule{}, fmt.Errorf("%q: %s; want a CIDR block such as 10.0.0.0/8, or host:port such as catalog.internal:8080", s, why)
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.WithZone("").Unmap()
		return OutboundRule{prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
	}
	if strings.Contains(s, "/") {
		prefix, err := netip.ParsePrefix(s)
		if err != nil || prefix.Addr().Is4In6() {
			return fail("not a CIDR block")
		}
		return OutboundRule{prefix: prefix.Masked()}, nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return fail("no port")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return fail("not a port")
	}
	host = normalHost(host)
	if !plainHost(host) {
		return fail("not a host name (write other than ASCII in punycode; wildcards are not supported)")
	}
	return OutboundRule{host: host, port: port}, nil
}

// ParseAllow reads the rules of --allow-outbound.
func ParseAllow(texts []string) ([]OutboundRule, error) {
	rules := make([]OutboundRule, len(texts))
	for i, text := range texts {
		rule, err := ParseOutboundRule(text)
		if err != nil {
			return nil, err
		}
		rules[i] = rule
	}
	return rules, nil
}

// plainHost accepts addresses and names whose labels are letters, digits, '-' and '_'.
func plainHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Zone() == ""
	}
	if strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return false
	}
	for _, c := range []byte(host) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return host != "" && len(host) <= 253
}

// String is the rule as --allow-outbound takes it.
func (r OutboundRule) String() string {
	if r.prefix.IsValid() {
		return r.prefix.String()
	}
	return net.JoinHostPort(r.host, r.port)
}

// matchesHost reports whether the rule names the host, whatever it resolves to.
func (r OutboundRule) matchesHost(host, port string) bool {
	return r.host != "" && r.host == host && r.port == port
}

// isAddr reports whether the rule is an address and a port.
func (r OutboundRule) isAddr() bool {
	_, err := netip.ParseAddr(r.host)
	return err == nil
}

// matchesAddr reports whether the rule opens an address.
func (r OutboundRule) matchesAddr(addr netip.AddrPort) bool {
	if r.prefix.IsValid() {
		return r.prefix.Contains(addr.Addr())
	}
	return r.matchesHost(addr.Addr().String(), strconv.Itoa(int(addr.Port())))
}

// normalHost is a host in one spelling: lower case, no final dot, addresses as
// netip writes them.
func normalHost(host string) string {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().String()
	}
	return host
}
