package reader

import (
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
)

// optIn are the regions that an account must enable before they answer. AWS:
// Account Management, "Specify which regions your account can use".
var optIn = map[string]bool{
	"af-south-1": true, "ap-east-1": true, "ap-east-2": true, "ap-south-2": true, "ap-southeast-3": true, "ap-southeast-4": true,
	"ap-southeast-5": true, "ap-southeast-6": true, "ap-southeast-7": true, "ca-west-1": true, "eu-central-2": true, "eu-south-1": true,
	"eu-south-2": true, "il-central-1": true, "me-central-1": true, "me-south-1": true, "mx-central-1": true,
}

// global are the services whose resources belong to an account and to no region of
// it, with the region in which they answer in the aws partition. AWS: endpoints of
// global services. Buckets are not among them: each is in a region.
var global = map[string]string{
	"AWS::IAM": "us-east-1", "AWS::CloudFront": "us-east-1", "AWS::Route53": "us-east-1", "AWS::Organizations": "us-east-1",
	"AWS::WAF": "us-east-1", "AWS::Shield": "us-east-1", "AWS::FMS": "us-east-1", "AWS::CE": "us-east-1", "AWS::Budgets": "us-east-1",
	"AWS::GlobalAccelerator": "us-west-2", "AWS::NetworkManager": "us-west-2",
}

// Global reports whether a kind's resources belong to no region, so that one region
// tells of all.
func Global(kind string) bool { return global[serviceOf(kind)] != "" }

// serviceOf is a kind's AWS::Service.
func serviceOf(kind string) string {
	if i := strings.LastIndex(kind, "::"); i >= 0 {
		return kind[:i]
	}
	return kind
}

// Region returns the region in which a kind is read: for a global one its service's
// in the partition that region is of, else region itself.
func Region(kind, region string) string {
	partition := event.Partition(region)
	switch {
	case !Global(kind):
		return region
	case partition != "aws":
		return event.GlobalRegion(partition)
	}
	return global[serviceOf(kind)]
}
