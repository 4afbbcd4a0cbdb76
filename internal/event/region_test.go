package event

import (
	"strings"
	"testing"
)

func TestARegionIsOfOnePartition(t *testing.T) {
	for _, c := range []struct{ region, partition, suffix, global string }{
		{"eu-west-1", "aws", "amazonaws.com", "us-east-1"},
		{"us-east-1", "aws", "amazonaws.com", "us-east-1"},
		{"cn-northwest-1", "aws-cn", "amazonaws.com.cn", "cn-north-1"},
		{"us-gov-east-1", "aws-us-gov", "amazonaws.com", "us-gov-west-1"},
		{"eusc-de-east-1", "aws-eusc", "amazonaws.eu", "eusc-de-east-1"},
		{"us-iso-west-1", "aws-iso", "c2s.ic.gov", "us-iso-east-1"},
		{"us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov", "us-isob-east-1"},
		{"eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk", "eu-isoe-west-1"},
		{"us-isof-east-1", "aws-iso-f", "csp.hci.ic.gov", "us-isof-south-1"},
		{"", "aws", "amazonaws.com", "us-east-1"},
	} {
		if p, s, g := Partition(c.region), DNSSuffix(c.region), GlobalRegion(Partition(c.region)); p != c.partition || s != c.suffix || g != c.global {
			t.Errorf("%s is of %s, %s, %s; want %s, %s, %s", c.region, p, s, g, c.partition, c.suffix, c.global)
		}
	}
	if got := GlobalRegion("aws-moon"); got != "us-east-1" {
		t.Errorf("an unknown partition answers in %s", got)
	}
}

func TestFormOfARegion(t *testing.T) {
	for _, region := range []string{"us-east-1", "us-gov-west-1", "eusc-de-east-1", "us-isob-east-1", "ap-northeast-12"} {
		if !IsRegion(region) {
			t.Errorf("%s is no region", region)
		}
	}
	for _, text := range []string{"", "us", "us-east", "us-east-", "us-east-1a", "US-EAST-1", "us east 1", "u-east-1", "us--1", "us-east-1\n", "us-" + strings.Repeat("a", 40) + "-1"} {
		if IsRegion(text) {
			t.Errorf("%q is a region", text)
		}
	}
}
