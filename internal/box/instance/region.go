package instance

import (
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
)

// Region is a region as DescribeRegions tells of it.
type Region struct {
	Name, Endpoint string
	// OptIn is opt-in-not-required, opted-in or not-opted-in.
	OptIn string
}

// AWS's regions by partition. The first list of each is enabled in every
// account, the second has to be opted into.
var regions = map[string][2][]string{
	"aws": {
		{"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2", "ca-central-1",
			"eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2"},
		{"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
			"ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1", "mx-central-1"},
	},
	"aws-cn":     {{"cn-north-1", "cn-northwest-1"}, nil},
	"aws-us-gov": {{"us-gov-east-1", "us-gov-west-1"}, nil},
}

// listRegions returns the regions of the caller's partition in order of name. The
// caller's own counts as opted into: it is being used.
func listRegions(current string) []Region {
	partition := event.Partition(current)
	byName := map[string]string{}
	for _, name := range regions[partition][0] {
		byName[name] = "opt-in-not-required"
	}
	for _, name := range regions[partition][1] {
		byName[name] = "not-opted-in"
	}
	if byName[current] != "opt-in-not-required" {
		byName[current] = "opted-in"
	}
	var list []Region
	for name, optIn := range byName {
		endpoint := "ec2." + name + ".amazonaws.com"
		if partition == "aws-cn" {
			endpoint += ".cn"
		}
		list = append(list, Region{name, endpoint, optIn})
	}
	slices.SortFunc(list, func(a, b Region) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// describeRegions picks regions by name, or all that are enabled, or with all
// every one, and of these those that pass the filters.
func describeRegions(current string, names []string, filters []Filter, all bool) ([]Region, error) {
	matches, err := compile(filters, regionFilter)
	if err != nil {
		return nil, err
	}
	list := listRegions(current)
	var unknown []string
	for _, name := range names {
		if !slices.ContainsFunc(list, func(r Region) bool { return r.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	if len(unknown) > 0 {
		return nil, errValue("Invalid region names: [%s]", strings.Join(unknown, ", "))
	}
	return slices.DeleteFunc(list, func(r Region) bool {
		if len(names) > 0 && !slices.Contains(names, r.Name) {
			return true
		}
		return len(names) == 0 && !all && r.OptIn == "not-opted-in" || !keepsAll(matches, r)
	}), nil
}

func regionFilter(name string) func(Region) []string {
	switch name {
	case "region-name":
		return func(r Region) []string { return []string{r.Name} }
	case "endpoint":
		return func(r Region) []string { return []string{r.Endpoint} }
	case "opt-in-status":
		return func(r Region) []string { return []string{r.OptIn} }
	}
	return nil
}
