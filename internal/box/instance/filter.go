package instance

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Filter keeps what has one of the values under the name. Values may hold the
// wildcards * and ?.
type Filter struct {
	Name   string
	Values []string
}

// maxFilterValues is AWS's number of values in one request.
const maxFilterValues = 200

// maxFilterValue is more bytes than anything that filters look at has.
const maxFilterValue = 2048

// match is a filter ready for use: what holds none of its values is left out.
type match[T any] struct {
	of     func(T) []string
	values []func(string) bool
}

func (m match[T]) keeps(v T) bool {
	for _, have := range m.of(v) {
		for _, ok := range m.values {
			if ok(have) {
				return true
			}
		}
	}
	return false
}

func keepsAll[T any](all []match[T], v T) bool {
	for _, m := range all {
		if !m.keeps(v) {
			return false
		}
	}
	return true
}

// compile makes filters ready. known returns how to read the values under a
// name, nil for names that AWS does not have.
func compile[T any](filters []Filter, known func(name string) func(T) []string) ([]match[T], error) {
	var all []match[T]
	total := 0
	for _, f := range filters {
		of := known(f.Name)
		if of == nil {
			return nil, errValue("The filter '%s' is invalid", f.Name)
		}
		if len(f.Values) == 0 {
			return nil, errValue("The filter '%s' must have at least one value.", f.Name)
		}
		if total += len(f.Values); total > maxFilterValues {
			return nil, errValue("The maximum number of filter values specified on a single call is %d", maxFilterValues)
		}
		m := match[T]{of: of}
		for _, v := range f.Values {
			if len(v) > maxFilterValue {
				return nil, errValue("A value of the filter '%s' is longer than %d bytes.", f.Name, maxFilterValue)
			}
			m.values = append(m.values, wildcard(v))
		}
		all = append(all, m)
	}
	return all, nil
}

// wildcard compiles a filter's value. AWS: * is any text, ? one character, and
// a backslash takes their meaning away; case counts.
func wildcard(v string) func(string) bool {
	if !strings.ContainsAny(v, `*?\`) {
		return func(s string) bool { return s == v }
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	escaped := false
	for _, c := range v {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(c)))
			escaped = false
		case c == '\\':
			escaped = true
		case c == '*':
			b.WriteString(`.*`)
		case c == '?':
			b.WriteByte('.')
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String()).MatchString
}

// one is a value that is absent when empty.
func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// while returns the value of instances that are not terminated.
func while(value func(*Instance) string) func(*Instance) []string {
	return func(i *Instance) []string {
		if !i.live() {
			return nil
		}
		return one(value(i))
	}
}

func fixed(value string) func(*Instance) []string {
	return func(*Instance) []string { return []string{value} }
}

// never is for what no instance here has.
func never(*Instance) []string { return nil }

// instanceFilter is DescribeInstances' filters by name.
func instanceFilter(name string) func(*Instance) []string {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return func(i *Instance) []string {
			if v, ok := i.Tags[key]; ok {
				return []string{v}
			}
			return nil
		}
	}
	return instanceFilters[name]
}

var instanceFilters = map[string]func(*Instance) []string{
	"architecture":                           func(i *Instance) []string { return one(architecture(i.Launch.Type)) },
	"availability-zone":                      func(i *Instance) []string { return one(i.Launch.Zone) },
	"client-token":                           func(i *Instance) []string { return one(i.clientToken) },
	"dns-name":                               func(i *Instance) []string { return one(i.publicDNS()) },
	"hypervisor":                             fixed("xen"),
	"iam-instance-profile.arn":               func(i *Instance) []string { return one(i.profileARN()) },
	"iam-instance-profile.name":              func(i *Instance) []string { return one(i.Launch.Profile) },
	"image-id":                               func(i *Instance) []string { return one(i.Launch.ImageID) },
	"instance-id":                            func(i *Instance) []string { return one(i.ID) },
	"instance-lifecycle":                     func(i *Instance) []string { return one(i.lifecycle()) },
	"instance-state-code":                    func(i *Instance) []string { return one(strconv.Itoa(int(i.State.Code()))) },
	"instance-state-name":                    func(i *Instance) []string { return one(string(i.State)) },
	"instance-type":                          func(i *Instance) []string { return one(i.Launch.Type) },
	"ip-address":                             func(i *Instance) []string { return one(i.PublicIP) },
	"key-name":                               func(i *Instance) []string { return one(i.Launch.KeyName) },
	"launch-index":                           func(i *Instance) []string { return one(strconv.Itoa(i.Launch.Index)) },
	"launch-time":                            func(i *Instance) []string { return one(isoMillis(i.Launched)) },
	"metadata-options.http-tokens":           func(i *Instance) []string { return one(i.Launch.Metadata.Tokens) },
	"monitoring-state":                       func(i *Instance) []string { return one(i.monitoring()) },
	"network-interface.network-interface-id": while(func(i *Instance) string { return i.Launch.InterfaceID }),
	"network-interface.addresses.private-ip-address": while(func(i *Instance) string { return i.PrivateIP }),
	"network-interface.subnet-id":                    while(func(i *Instance) string { return networkOf(i.Place).inZone(i.Launch.Zone).ID }),
	"network-interface.vpc-id":                       while(func(i *Instance) string { return networkOf(i.Place).VPC }),
	"owner-id":                                       func(i *Instance) []string { return one(i.Account) },
	"platform":                                       never, // AWS: set on Windows only
	"platform-details":                               fixed(platformDetails),
	"private-dns-name":                               func(i *Instance) []string { return one(i.privateDNS()) },
	"private-ip-address":                             func(i *Instance) []string { return one(i.PrivateIP) },
	"reason":                                         func(i *Instance) []string { return one(i.TransitionReason) },
	"reservation-id":                                 func(i *Instance) []string { return one(i.ReservationID) },
	"root-device-name":                               fixed(rootDevice),
	"root-device-type":                               fixed("ebs"),
	"spot-instance-request-id":                       func(i *Instance) []string { return one(i.Launch.SpotRequest) },
	"state-reason-code":                              func(i *Instance) []string { return one(i.ReasonCode) },
	"state-reason-message":                           func(i *Instance) []string { return one(i.ReasonMessage) },
	"subnet-id":                                      while(func(i *Instance) string { return networkOf(i.Place).inZone(i.Launch.Zone).ID }),
	"tag-key":                                        tagKeys,
	"tenancy":                                        fixed("default"),
	"virtualization-type":                            fixed("hvm"),
	"vpc-id":                                         while(func(i *Instance) string { return networkOf(i.Place).VPC }),
	"instance.group-id":                              while(func(i *Instance) string { return networkOf(i.Place).Group }),
	"instance.group-name":                            while(func(*Instance) string { return defaultGroup }),
	"group-id":                                       while(func(i *Instance) string { return networkOf(i.Place).Group }),
	"group-name":                                     while(func(*Instance) string { return defaultGroup }),

	"affinity": never, "block-device-mapping.volume-id": never, "capacity-reservation-id": never, "host-id": never,
	"ipv6-address": never, "kernel-id": never, "network-interface.ipv6-addresses.ipv6-address": never,
	"outpost-arn": never, "placement-group-name": never, "placement-partition-number": never,
	"product-code": never, "product-code.type": never, "ramdisk-id": never, "requester-id": never,
}

func tagKeys(i *Instance) []string {
	var keys []string
	for k := range i.Tags {
		keys = append(keys, k)
	}
	return keys
}

func isoMillis(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// taggedValue is one tag of one instance, for DescribeTags.
type taggedValue struct{ id, key, value string }

// tagFilter is DescribeTags' filters by name.
func tagFilter(name string) func(taggedValue) []string {
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		return func(t taggedValue) []string {
			if t.key != key {
				return nil
			}
			return []string{t.value}
		}
	}
	switch name {
	case "key":
		return func(t taggedValue) []string { return []string{t.key} }
	case "value":
		return func(t taggedValue) []string { return []string{t.value} }
	case "resource-id":
		return func(t taggedValue) []string { return []string{t.id} }
	case "resource-type":
		return func(taggedValue) []string { return []string{"instance"} }
	}
	return nil
}
