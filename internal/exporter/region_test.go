package exporter

import (
	"slices"
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

func TestWhatAConfigurationSelectsNoLongerIsDropped(t *testing.T) {
	t.Parallel()
	const first, second, off = "111122223333", "222233334444", "333344445555"
	accounts := []Account{{Account: first, HomeRegion: "eu-west-1", Enabled: true}, {Account: second, HomeRegion: "us-east-1", Enabled: true}, {Account: off, HomeRegion: "sa-east-1"}}
	of := func(kind string, regions, accounts []string) config.Resource {
		return config.Resource{Kind: kind, Regions: regions, Accounts: accounts}
	}
	const queue, role = "AWS::SQS::Queue", "AWS::IAM::Role"
	both := []string{"eu-west-1", "us-east-1"}
	for _, c := range []struct {
		name         string
		before, next []config.Resource
		want         []ScopeKey
	}{
		{"nothing", []config.Resource{of(queue, both, nil)}, []config.Resource{of(queue, both, nil)}, nil},
		{"a region more", []config.Resource{of(queue, both[:1], nil)}, []config.Resource{of(queue, both, nil)}, nil},
		{"a region", []config.Resource{of(queue, both, nil)}, []config.Resource{of(queue, both[:1], nil)}, []ScopeKey{{first, "us-east-1", queue}, {second, "us-east-1", queue}}},
		{"the regions, for those at home", []config.Resource{of(queue, both, nil)}, []config.Resource{of(queue, nil, nil)}, []ScopeKey{{second, "eu-west-1", queue}, {first, "us-east-1", queue}}},
		{"the home regions", []config.Resource{of(queue, nil, nil)}, []config.Resource{of(queue, []string{"us-east-1"}, nil)}, []ScopeKey{{first, "eu-west-1", queue}}},
		{"an account", []config.Resource{of(queue, nil, nil)}, []config.Resource{of(queue, nil, []string{second})}, []ScopeKey{{first, "eu-west-1", queue}}},
		{"all regions", []config.Resource{of(queue, both[:1], nil)}, []config.Resource{of(queue, []string{}, nil)}, []ScopeKey{{first, "eu-west-1", queue}, {second, "eu-west-1", queue}}},
		{"one pass of two, and the other has it", []config.Resource{of(queue, both, nil), of(queue, both[:1], nil)}, []config.Resource{of(queue, both, nil)}, nil},
		{"a kind, which is told by itself", []config.Resource{of(queue, both, nil)}, nil, nil},
		{"a region of a global kind", []config.Resource{of(role, both, nil)}, []config.Resource{of(role, both[:1], nil)}, nil},
	} {
		have := droppedScopes(&config.Config{Resources: c.before}, &config.Config{Resources: c.next}, accounts)
		if !slices.Equal(have, c.want) {
			t.Errorf("%s: %v, want %v", c.name, have, c.want)
		}
	}
}
