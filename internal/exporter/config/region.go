package config

import (
	"slices"
	"strings"
)

// regions are those of AWS's partitions, as the partitions of its SDK have them. AWS makes
// new ones, so that a name that is not here is suspicious and no more.
var regions = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2",
	"ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2",
	"eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
	"cn-north-1", "cn-northwest-1",
	"us-gov-east-1", "us-gov-west-1",
	"eusc-de-east-1",
	"us-iso-east-1", "us-iso-west-1", "us-isob-east-1", "us-isob-west-1", "eu-isoe-west-1", "us-isof-east-1", "us-isof-south-1",
}

// maxTypos is how many letters of a name may be other than they were meant.
const maxTypos = 2

// DoubtRegion says what is suspicious about a text that has the form of a region's code:
// it is none that is known. It is "" for one that is.
func DoubtRegion(name string) string {
	if slices.Contains(regions, name) {
		return ""
	}
	doubt := shorten(name) + " is none of the regions of AWS that Rialto knows"
	if near := nearRegions(name); len(near) > 0 {
		doubt += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return doubt
}

// nearRegions are the regions that are nearest to a name, and not far.
func nearRegions(name string) []string {
	var near []string
	least := maxTypos
	for _, region := range regions {
		if len(name) > len(region)+maxTypos {
			continue
		}
		switch d := Typos(name, region); {
		case d < least:
			least, near = d, []string{region}
		case d == least:
			near = append(near, region)
		}
	}
	return near
}

// Typos is how many letters lie between two names of ASCII: put in, left out, other ones, or
// two that changed places.
func Typos(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			other := 1
			if a[i-1] == b[j-1] {
				other = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+other)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
