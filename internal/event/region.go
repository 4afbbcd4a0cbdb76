package event

import (
	"regexp"
	"strings"
)

// partition is a part of AWS that shares nothing with the others. AWS: SDK, the partitions of its
// endpoints.
type partition struct {
	id string
	// prefix is that of its regions, dnsSuffix that of its hosts.
	prefix, dnsSuffix string
	// global is the region in which services answer that have none.
	global string
}

// partitions ends with the one of all other regions.
var partitions = []partition{
	{"aws-cn", "cn-", "amazonaws.com.cn", "cn-north-1"},
	{"aws-us-gov", "us-gov-", "amazonaws.com", "us-gov-west-1"},
	{"aws-eusc", "eusc-", "amazonaws.eu", "eusc-de-east-1"},
	{"aws-iso", "us-iso-", "c2s.ic.gov", "us-iso-east-1"},
	{"aws-iso-b", "us-isob-", "sc2s.sgov.gov", "us-isob-east-1"},
	{"aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", "eu-isoe-west-1"},
	{"aws-iso-f", "us-isof-", "csp.hci.ic.gov", "us-isof-south-1"},
	{"aws", "", "amazonaws.com", "us-east-1"},
}

func partitionOf(region string) *partition {
	i := 0
	for !strings.HasPrefix(region, partitions[i].prefix) {
		i++
	}
	return &partitions[i]
}

// Partition returns the AWS partition of a region, such as aws or aws-cn.
func Partition(region string) string { return partitionOf(region).id }

// DNSSuffix returns what the hosts of AWS's services in a region end with, such as amazonaws.com.
func DNSSuffix(region string) string { return partitionOf(region).dnsSuffix }

// GlobalRegion returns the region of a partition in which services answer that belong to no
// region; us-east-1 for a partition that is not known.
func GlobalRegion(partition string) string {
	i := 0
	for partitions[i].id != partition && i < len(partitions)-1 {
		i++
	}
	return partitions[i].global
}

var regionForm = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)

// maxRegion is how many bytes the code of a region may have.
const maxRegion = 32

// IsRegion reports whether a text has the form of a region's code, such as us-east-1, whether AWS
// has such a region or not.
func IsRegion(text string) bool { return len(text) <= maxRegion && regionForm.MatchString(text) }
