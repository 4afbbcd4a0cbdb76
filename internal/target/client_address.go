package target

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// azureWireServer answers for Azure's machines at an address that is public by form.
var azureWireServer = netip.MustParseAddr("168.63.129.16")

// plainAddr is the address in the form in which rules are compared: an IPv4
// address that is written as IPv6 is that IPv4 address, and so is one behind NAT64.
func plainAddr(addr netip.Addr) netip.Addr {
	addr = addr.WithZone("").Unmap()
	if ssrf.IPv6NAT64Prefix.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// specialAddress says what kind of address it is that a user's configuration must
// not lead to; empty for an address of the public internet. The ranges are IANA's
// special-purpose registries.
func specialAddress(addr netip.Addr) string {
	addr = plainAddr(addr)
	switch {
	case addr.IsLoopback():
		return "a loopback address"
	case addr.IsUnspecified():
		return "an unspecified address"
	case addr.IsPrivate():
		return "a private address"
	case addr.IsLinkLocalUnicast():
		return "a link-local or metadata address"
	case addr.IsMulticast():
		return "a multicast address"
	case addr == azureWireServer:
		return "a metadata address"
	}
	denied := ssrf.IPv4DeniedPrefixes
	if addr.Is6() {
		if !ssrf.IPv6GlobalUnicast.Contains(addr) {
			return "a reserved address"
		}
		denied = ssrf.IPv6DeniedPrefixes
	}
	for _, prefix := range denied {
		if prefix.Contains(addr) {
			return "a reserved or shared address"
		}
	}
	return ""
}
