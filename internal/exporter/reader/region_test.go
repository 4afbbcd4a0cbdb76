package reader

import "testing"

func TestGlobalKindsHaveOneRegionOfThePartition(t *testing.T) {
	for _, c := range []struct{ kind, region, want string }{
		{"AWS::Lambda::Function", "eu-west-1", "eu-west-1"},
		{"AWS::S3::Bucket", "eu-west-1", "eu-west-1"},
		{"AWS::IAM::Role", "eu-west-1", "us-east-1"},
		{"AWS::CloudFront::Distribution", "us-east-1", "us-east-1"},
		{"AWS::IAM::Role", "cn-northwest-1", "cn-north-1"},
		{"AWS::Route53::HostedZone", "us-gov-east-1", "us-gov-west-1"},
		{"AWS::IAM::Role", "eusc-de-east-1", "eusc-de-east-1"},
		{"AWS::GlobalAccelerator::Accelerator", "eu-west-1", "us-west-2"},
		{"AWS::Route53Resolver::ResolverRule", "eu-west-1", "eu-west-1"},
	} {
		if got := Region(c.kind, c.region); got != c.want {
			t.Errorf("%s in %s: read in %s, want %s", c.kind, c.region, got, c.want)
		}
	}
}
