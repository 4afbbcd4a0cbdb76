package eventpattern

import (
	"net/netip"
	"strconv"
	"strings"
)

// parseIP reads an IPv4 or IPv6 address the way AWS does (that is, as Java does): leading zeros are decimal, an IPv6 group may
// have any number of them, and neither a zone nor an embedded dotted IPv4 address is allowed.
// looksLike says whether the text has the form of an address even if it is none, such as 10.0.0.256.
func parseIP[T string | []byte](text T) (addr netip.Addr, looksLike, ok bool) {
	dots, colons := 0, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '.':
			dots++
		case c == ':':
			colons++
		case hexDigit(c) < 0:
			return addr, false, false
		}
	}
	switch {
	case colons > 0 && dots == 0:
		addr, ok = parseIPv6(text)
		return addr, true, ok
	case dots == 3 && colons == 0:
		return parseIPv4(text)
	}
	return addr, false, false
}

func parseIPv4[T string | []byte](text T) (addr netip.Addr, looksLike, ok bool) {
	var octets [4]byte
	ok = len(text) <= len("255.255.255.255")
	n, value, digits := 0, 0, 0
	for i := range len(text) {
		c := text[i]
		if c == '.' {
			if digits == 0 {
				return addr, false, false
			}
			octets[n] = byte(value)
			n, value, digits = n+1, 0, 0
			continue
		}
		if !isDigit(c) {
			return addr, false, false
		}
		digits++
		if value = value*10 + int(c-'0'); value > 255 {
			ok = false
			value = 255
		}
	}
	if digits == 0 {
		return addr, false, false
	}
	octets[3] = byte(value)
	return netip.AddrFrom4(octets), true, ok
}

func parseIPv6[T string | []byte](text T) (netip.Addr, bool) {
	var bytes [16]byte
	if len(text) < 2 || text[0] == ':' && text[1] != ':' {
		return netip.Addr{}, false
	}
	n, gap := 0, -1
	value, digits := 0, 0
	i := 0
	if text[0] == ':' {
		i = 1
	}
	for ; i < len(text); i++ {
		if c := text[i]; c != ':' {
			digits++
			if value = value<<4 | hexDigit(c); value > 0xffff {
				return netip.Addr{}, false
			}
			continue
		}
		if digits == 0 {
			if gap >= 0 {
				return netip.Addr{}, false
			}
			gap = n
			continue
		}
		if i == len(text)-1 || n+2 > len(bytes) {
			return netip.Addr{}, false
		}
		bytes[n], bytes[n+1] = byte(value>>8), byte(value)
		n, value, digits = n+2, 0, 0
	}
	if digits > 0 {
		if n+2 > len(bytes) {
			return netip.Addr{}, false
		}
		bytes[n], bytes[n+1] = byte(value>>8), byte(value)
		n += 2
	}
	if gap >= 0 {
		if n == len(bytes) {
			return netip.Addr{}, false
		}
		moved := copy(bytes[len(bytes)-(n-gap):], bytes[gap:n])
		clear(bytes[gap : len(bytes)-moved])
		n = len(bytes)
	}
	if n != len(bytes) {
		return netip.Addr{}, false
	}
	return netip.AddrFrom16(bytes).Unmap(), true
}

// parseCIDR reads an address range; the reason for refusing it is AWS's.
func parseCIDR(text string) (block netip.Prefix, reason string) {
	ip, mask, ok := splitCIDR(text)
	if !ok {
		return block, "Malformed CIDR, one '/' required"
	}
	bits, err := strconv.ParseInt(mask, 10, 32)
	if err != nil {
		return block, "Malformed CIDR, mask bits must be an integer"
	}
	if bits < 0 {
		return block, "Malformed CIDR, mask bits must not be negative"
	}
	addr, looksLike, ok := parseIP(ip)
	if !looksLike {
		return block, "Nonstandard IP address: " + ip
	}
	if !ok {
		return block, "Invalid IP address: " + ip
	}
	if addr.Is4() && bits > 31 {
		return block, "IPv4 mask bits must be < 32"
	}
	if bits > 127 {
		return block, "IPv6 mask bits must be < 128"
	}
	return netip.PrefixFrom(addr, int(bits)).Masked(), ""
}

// splitCIDR splits at the one slash; slashes at the very end are not seen (Java's String.split drops empty trailing parts).
func splitCIDR(text string) (ip, mask string, ok bool) {
	ip, mask, ok = strings.Cut(strings.TrimRight(text, "/"), "/")
	return ip, mask, ok && !strings.Contains(mask, "/")
}
