package exporter

import (
	"testing"

	"github.com/rialto-bus/rialto/internal/exporter/config"
)

func TestGlobalKindsAreSelectedByAnyRegion(t *testing.T) {
	t.Parallel()
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
