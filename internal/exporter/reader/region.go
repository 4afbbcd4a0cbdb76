package reader

import "strings"

// optIn are the regions that an account must enable before they answer. AWS:
// Account Management, "Specify which regions your account can use".
var optIn = map[string]bool{
	"af-south-1": true, "ap-east-1": true, "ap-east-2": true, "ap-south-2": true, "ap-southeast-3": true, "ap-southeast-4": true,
	"ap-southeast-5": true, "ap-southeast-6": true, "ap-southeast-7": true, "ca-west-1": true, "eu-central-2": true, "eu-south-1": true,
	"eu-south-2": true, "il-central-1": true, "me-central-1": true, "me-south-1": true, "mx-central-1": true,
}

// global are the services, or single kinds, whose resources belong to no region,
// with the region in which they answer in the aws partition.
var global = map[string]string{
	"AWS::IAM": "us-east-1", "AWS::CloudFront": "us-east-1", "AWS::Route53": "us-east-1", "AWS::Organizations": "us-east-1",
	"AWS::Shield": "us-east-1", "AWS::Budgets": "us-east-1", "AWS::CE": "us-east-1", "AWS::CUR": "us-east-1",
	"AWS::BillingConductor": "us-east-1", "AWS::BCMDataExports": "us-east-1", "AWS::Chatbot": "us-east-1",
	"AWS::ECR::PublicRepository": "us-east-1", "AWS::GlobalAccelerator": "us-west-2", "AWS::NetworkManager": "us-west-2",
	"AWS::Route53RecoveryControl": "us-west-2", "AWS::Route53RecoveryReadiness": "us-west-2",
}

// Global reports whether a kind's resources belong to an account and to no region
// of it, so that one region tells of all.
func Global(kind string) bool { return globalHome(kind) != "" }

func globalHome(kind string) string {
	if home := global[kind]; home != "" {
		return home
	}
	service := kind
	if i := strings.LastIndex(kind, "::"); i >= 0 {
		service = kind[:i]
	}
	return global[service]
}

// Region returns the region in which a kind is read: for a global one that of its
// service's endpoint in the partition that region is of, else region itself.
func Region(kind, region string) string {
	home := globalHome(kind)
	switch {
	case home == "":
		return region
	case strings.HasPrefix(region, "cn-"):
		return "cn-northwest-1"
	case strings.HasPrefix(region, "us-gov-"):
		return "us-gov-west-1"
	}
	return home
}
