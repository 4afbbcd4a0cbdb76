package instance

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/store"
)

// network is the default VPC of a place. It is computed, not stored: ids and
// addresses follow from account and region, so they are the same for good.
type network struct {
	place   Place
	VPC     string
	Group   string // the VPC's security group named default
	subnets []subnet
}

type subnet struct {
	ID, Zone string
	prefix   netip.Prefix
}

const (
	defaultGroup = "default"
	subnetBits   = 18
	// reservedHosts are what AWS keeps of a subnet: its first four addresses and the last.
	firstHost     = 4
	reservedHosts = 5
	hostsInSubnet = 1<<(32-subnetBits) - reservedHosts
)

// stableID derives a resource id from what it belongs to.
func stableID(prefix string, parts ...string) string {
	sum := sha256.Sum256([]byte(prefix + "\x00" + strings.Join(parts, "\x00")))
	return prefix + "-0" + hex.EncodeToString(sum[:8])
}

// networkOf returns the default VPC 10.x.0.0/16 with a subnet in each of the
// zones a, b and c.
func networkOf(p Place) network {
	n := network{
		place: p,
		VPC:   stableID("vpc", p.Account, p.Region),
		Group: stableID("sg", p.Account, p.Region),
	}
	sum := sha256.Sum256([]byte(p.Account + "\x00" + p.Region))
	for i, letter := range []string{"a", "b", "c"} {
		zone := p.Region + letter
		base := netip.AddrFrom4([4]byte{10, sum[0], byte(i << 6), 0})
		n.subnets = append(n.subnets, subnet{stableID("subnet", p.Account, zone), zone, netip.PrefixFrom(base, subnetBits)})
	}
	return n
}

// choose returns the subnet that a launch asks for; the first one when it
// leaves the choice.
func (n network) choose(subnetID, zone string) (subnet, error) {
	for _, s := range n.subnets {
		if (subnetID == "" || s.ID == subnetID) && (zone == "" || s.Zone == zone) {
			return s, nil
		}
	}
	if subnetID == "" {
		return subnet{}, errValue("Invalid availability zone: [%s]", zone)
	}
	for _, s := range n.subnets {
		if s.ID == subnetID {
			return subnet{}, errCombination("The availability zone '%s' is not that of the subnet '%s'.", zone, subnetID)
		}
	}
	return subnet{}, awsapi.Errorf("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", subnetID)
}

// inZone returns the subnet of an instance.
func (n network) inZone(zone string) subnet {
	for _, s := range n.subnets {
		if s.Zone == zone {
			return s
		}
	}
	return n.subnets[0]
}

// host returns the subnet's k-th address, counted around.
func (s subnet) host(k int64) string {
	b := s.prefix.Addr().As4()
	h := firstHost + k%hostsInSubnet
	b[2] |= byte(h >> 8)
	b[3] = byte(h)
	return netip.AddrFrom4(b).String()
}

// privateIPs finds n free addresses in the subnet.
func privateIPs(ctx context.Context, tx *store.Tx, p Place, s subnet, n int) ([]string, error) {
	var free []string
	for tried := 0; len(free) < n; {
		want := n - len(free)
		if tried += want; tried > 2*hostsInSubnet {
			return nil, awsapi.Errorf("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", s.ID)
		}
		first, err := nextHosts(ctx, tx, s.ID, want)
		if err != nil {
			return nil, err
		}
		var candidates []string
		for k := range want {
			candidates = append(candidates, s.host(first+int64(k)))
		}
		used, err := usedPrivateIPs(ctx, tx, p, candidates)
		if err != nil {
			return nil, err
		}
		for _, ip := range candidates {
			if !used[ip] {
				free = append(free, ip)
			}
		}
	}
	return free, nil
}

// givenIP checks an address that a launch asks for.
func givenIP(ctx context.Context, tx *store.Tx, p Place, s subnet, text string) error {
	ip, err := netip.ParseAddr(text)
	if err != nil || !ip.Is4() {
		return errValue("Value (%s) for parameter privateIpAddress is invalid. Must be an IPv4 address.", text)
	}
	if !s.prefix.Contains(ip) || !s.usable(ip) {
		return errValue("Address %s does not fall within the subnet's address range", text)
	}
	used, err := usedPrivateIPs(ctx, tx, p, []string{text})
	if err != nil {
		return err
	}
	if used[text] {
		return awsapi.Errorf("InvalidIPAddress.InUse", "Address %s is in use.", text)
	}
	return nil
}

// usable says whether AWS leaves the address to instances.
func (s subnet) usable(ip netip.Addr) bool {
	base, b := s.prefix.Addr().As4(), ip.As4()
	h := int(b[2]-base[2])<<8 | int(b[3])
	return h >= firstHost && h < firstHost+hostsInSubnet
}

// publicIPs finds n free public addresses. They are from 198.18.0.0/15, which is
// set aside for benchmarks: nobody on the Internet has them.
func publicIPs(ctx context.Context, tx *store.Tx, n int) ([]string, error) {
	var free []string
	taken := map[string]bool{}
	for range 20 {
		var candidates []string
		for range n - len(free) {
			ip := fmt.Sprintf("198.%d.%d.%d", 18+rand.IntN(2), rand.IntN(256), 1+rand.IntN(254))
			if !taken[ip] {
				taken[ip] = true
				candidates = append(candidates, ip)
			}
		}
		used, err := usedPublicIPs(ctx, tx, candidates)
		if err != nil {
			return nil, err
		}
		for _, ip := range candidates {
			if !used[ip] {
				free = append(free, ip)
			}
		}
		if len(free) == n {
			return free, nil
		}
	}
	return nil, awsapi.Errorf("InsufficientAddressCapacity", "There are not enough free public addresses for %d instances.", n)
}

// privateDNS is the instance's name inside its VPC. AWS: us-east-1 has a
// domain of its own.
func (i *Instance) privateDNS() string {
	if i.PrivateIP == "" {
		return ""
	}
	domain := i.Region + ".compute.internal"
	if i.Region == "us-east-1" {
		domain = "ec2.internal"
	}
	return "ip-" + strings.ReplaceAll(i.PrivateIP, ".", "-") + "." + domain
}

// publicDNS is the name of the public address.
func (i *Instance) publicDNS() string {
	if i.PublicIP == "" {
		return ""
	}
	domain := i.Region + ".compute.amazonaws.com"
	switch {
	case i.Region == "us-east-1":
		domain = "compute-1.amazonaws.com"
	case strings.HasPrefix(i.Region, "cn-"):
		domain += ".cn"
	}
	return "ec2-" + strings.ReplaceAll(i.PublicIP, ".", "-") + "." + domain
}
