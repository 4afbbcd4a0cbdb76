package exporter

import (
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/exporter/config"
)

// globalServices are those whose resources have no region: they are read in one
// region of each partition, once for an account. AWS: "Global services" in the
// partitions' endpoints. Buckets are not among them: each is in a region.
var globalServices = map[string]bool{
	"AWS::IAM":               true,
	"AWS::CloudFront":        true,
	"AWS::Route53":           true,
	"AWS::Organizations":     true,
	"AWS::GlobalAccelerator": true,
	"AWS::WAF":               true,
	"AWS::Shield":            true,
	"AWS::FMS":               true,
	"AWS::CE":                true,
	"AWS::Budgets":           true,
	"AWS::NetworkManager":    true,
}

// globalAt are global services that answer elsewhere than most. AWS: Global
// Accelerator and Network Manager are in us-west-2.
var globalAt = map[string]string{"AWS::GlobalAccelerator": "us-west-2", "AWS::NetworkManager": "us-west-2"}

// globalKind reports whether a kind's resources have no region.
func globalKind(kind string) bool {
	service, _ := serviceOf(kind)
	return globalServices[service]
}

func serviceOf(kind string) (service, name string) {
	i := strings.LastIndex(kind, "::")
	if i < 0 {
		return kind, ""
	}
	return kind[:i], kind[i+2:]
}

// keyRegion is the region in the keys of a kind's resources: the one given, or for
// a global kind the one of the partition, so that a resource is one wherever its
// events come from.
func keyRegion(kind, region string) string {
	if !globalKind(kind) {
		return region
	}
	switch event.Partition(region) {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	service, _ := serviceOf(kind)
	if at := globalAt[service]; at != "" {
		return at
	}
	return "us-east-1"
}

// selects reports whether a pass exports what is in the region that keys have. A
// global kind is selected by any region.
func selects(r *config.Resource, account, region, home string) bool {
	switch {
	case !globalKind(r.Kind):
		return r.Selects(account, region, home)
	case r.Regions == nil:
		return r.Selects(account, home, home)
	}
	return slices.ContainsFunc(r.Regions, func(named string) bool { return r.Selects(account, named, home) })
}
