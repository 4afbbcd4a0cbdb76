package template

import (
	"math/big"
	"net/netip"
	"strconv"
)

// cidr evaluates Fn::Cidr: [block, count, bits] yields the first count subnets of the block that have bits
// host bits each. AWS: count is 1 to 256.
func (e *evaluator) cidr(n, arg *node) (any, error) {
	var texts [3]string
	for i := range texts {
		v, err := e.withText(arg.items[i], func(s string) (any, error) { return s, nil })
		if err != nil || isUnknown(v) {
			return v, err
		}
		texts[i] = v.(string)
	}
	block, err := netip.ParsePrefix(texts[0])
	if err != nil {
		return nil, arg.items[0].errorf("Template error: Fn::Cidr needs an IP block such as 10.0.0.0/16 here.")
	}
	block = block.Masked()
	count, err := strconv.Atoi(texts[1])
	if err != nil || count < 1 || count > 256 {
		return nil, arg.items[1].errorf("Template error: Fn::Cidr can make 1 to 256 subnets.")
	}
	all := block.Addr().BitLen()
	bits, err := strconv.Atoi(texts[2])
	if err != nil || bits < 1 || bits > all-block.Bits() {
		return nil, arg.items[2].errorf("Template error: Fn::Cidr needs a number of subnet bits from 1 to %d for this block.", all-block.Bits())
	}
	if room := all - block.Bits() - bits; room < 8 && count > 1<<room {
		return nil, n.errorf("Template error: Fn::Cidr cannot make %d subnets of %d bits in this block; it has room for %d.", count, bits, 1<<room)
	}
	subnets := make([]any, count)
	for i := range subnets {
		subnets[i] = netip.PrefixFrom(offset(block.Addr(), i, bits), all-bits).String()
	}
	return subnets, nil
}

// offset returns base + i<<bits.
func offset(base netip.Addr, i, bits int) netip.Addr {
	sum := new(big.Int).SetBytes(base.AsSlice())
	sum.Add(sum, new(big.Int).Lsh(big.NewInt(int64(i)), uint(bits)))
	bytes := make([]byte, base.BitLen()/8)
	addr, _ := netip.AddrFromSlice(sum.FillBytes(bytes))
	return addr
}
