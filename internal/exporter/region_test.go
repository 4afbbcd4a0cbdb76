package exporter

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

func TestKeysOfGlobalKindsHaveOneRegionOfThePartition(t *testing.T) {
	for _, c := range []struct{ kind, region, want string }{
		{"AWS::Lambda::Function", "eu-west-1", "eu-west-1"},
		{"AWS::S3::Bucket", "eu-west-1", "eu-west-1"},
		{"AWS::IAM::Role", "eu-west-1", "us-east-1"},
		{"AWS::CloudFront::Distribution", "us-east-1", "us-east-1"},
		{"AWS::IAM::Role", "cn-northwest-1", "cn-north-1"},
		{"AWS::Route53::HostedZone", "us-gov-east-1", "us-gov-west-1"},
		{"AWS::GlobalAccelerator::Accelerator", "eu-west-1", "us-west-2"},
		{"AWS::Route53Resolver::ResolverRule", "eu-west-1", "eu-west-1"},
	} {
		if got := keyRegion(c.kind, c.region); got != c.want {
			t.Errorf("%s in %s: keys have region %s, want %s", c.kind, c.region, got, c.want)
		}
	}
}

func TestGlobalKindsAreSelectedByAnyRegion(t *testing.T) {
	const account, home = "111122223333", "eu-west-1"
	for _, c := range []struct {
		name   string
		r      config.Resource
		region string
		want   bool
	}{
		{"regional at home", config.Resource{Kind: "AWS::SQS::Queue"}, home, true},
		{"regional elsewhere", config.Resource{Kind: "AWS::SQS::Queue"}, "us-east-1", false},
		{"global without regions", config.Resource{Kind: "AWS::IAM::Role"}, "us-east-1", true},
		{"global with another region", config.Resource{Kind: "AWS::IAM::Role", Regions: []string{"ap-south-1"}}, "us-east-1", true},
		{"global with no region", config.Resource{Kind: "AWS::IAM::Role", Regions: []string{}}, "us-east-1", false},
		{"global of another account", config.Resource{Kind: "AWS::IAM::Role", Accounts: []string{"999999999999"}}, "us-east-1", false},
	} {
		if got := selects(&c.r, account, c.region, home); got != c.want {
			t.Errorf("%s: selected %v, want %v", c.name, got, c.want)
		}
	}
}
