package instance

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestFilters(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		web := s.run(1, func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("instance"), Tags: []ec2.Tag{{Key: new("Name"), Value: new("web-1")}, {Key: new("empty"), Value: new("")}}}}
		})[0]
		db := s.run(1, func(in *ec2.RunInstancesInput) {
			in.InstanceType = new("m5.large")
			in.Placement = &ec2.Placement{AvailabilityZone: new("eu-west-1c")}
			in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("instance"), Tags: []ec2.Tag{{Key: new("Name"), Value: new("db*1")}}}}
		})[0]
		s.wait("running", web, db)
		gone := s.run(1)[0]
		s.wait("running", gone)
		if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{gone}}); err != nil {
			t.Fatal(err)
		}
		s.wait("terminated", gone)
		ip := *s.describe(web)[0].PrivateIpAddress
		tests := []struct {
			name   string
			values []string
			want   []string
		}{
			{"instance-state-name", []string{"pending", "running", "stopping", "stopped"}, []string{web, db}},
			{"instance-state-name", []string{"terminated"}, []string{gone}},
			{"instance-id", []string{db}, []string{db}},
			{"instance-type", []string{"m5.*"}, []string{db}},
			{"instance-type", []string{"M5.*"}, nil},
			{"availability-zone", []string{"eu-west-1?"}, []string{web, db, gone}},
			{"vpc-id", []string{networkOf(place).VPC}, []string{web, db}},
			{"private-ip-address", []string{ip}, []string{web}},
			{"image-id", []string{image}, []string{web, db, gone}},
			{"tag:Name", []string{"web-?", "nothing"}, []string{web}},
			{"tag:Name", []string{`db\*1`}, []string{db}},
			{"tag:empty", []string{""}, []string{web}},
			{"tag-key", []string{"Name"}, []string{web, db}},
			{"platform", []string{"windows"}, nil},
		}
		for _, tt := range tests {
			out, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{Filters: []ec2.Filter{{Name: &tt.name, Values: tt.values}}})
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			var got []string
			for _, r := range out.Reservations {
				got = append(got, *r.Instances[0].InstanceId)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s=%v finds %v, want %v", tt.name, tt.values, got, tt.want)
			}
		}
		_, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{Filters: []ec2.Filter{{Name: new("colour"), Values: []string{"blue"}}}})
		wantError(t, err, "InvalidParameterValue", "The filter 'colour' is invalid")
	})
}

// SDKs that read XML tell an empty list from a missing one: boto3 programs go
// through the first and stop at the second.
func TestListsThatAreEmptyAreAnswered(t *testing.T) {
	s := newFixture(t, storetest.SQLite(t))
	none := []ec2.Filter{{Name: new("tag:none"), Values: []string{"x"}}}
	instances, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{Filters: none})
	if err != nil || instances.Reservations == nil {
		t.Errorf("no instances: %#v, %v; want an empty list", instances, err)
	}
	tags, err := s.DescribeTags(s.ctx, &ec2.DescribeTagsInput{Filters: []ec2.Filter{{Name: new("key"), Values: []string{"none"}}}})
	if err != nil || tags.Tags == nil {
		t.Errorf("no tags: %#v, %v; want an empty list", tags, err)
	}
	ids := s.run(1)
	if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
		t.Fatal(err)
	}
	s.wait("terminated", ids...)
	instances, err = s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		t.Fatal(err)
	}
	r := instances.Reservations[0]
	if i := r.Instances[0]; r.Groups == nil || i.SecurityGroups == nil || i.NetworkInterfaces == nil || i.BlockDeviceMappings == nil || i.ProductCodes == nil {
		t.Errorf("a terminated instance lacks a list: %#v", i)
	}
}

func TestPages(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(12, func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("instance"), Tags: []ec2.Tag{{Key: new("a")}, {Key: new("b")}}}}
		})
		slices.Sort(ids)
		var got []string
		var sizes []int
		var token *string
		for {
			out, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{MaxResults: new(int32(5)), NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, len(out.Reservations[0].Instances))
			for _, i := range out.Reservations[0].Instances {
				got = append(got, *i.InstanceId)
			}
			if token = out.NextToken; token == nil {
				break
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, ids) || !slices.Equal(sizes, []int{5, 5, 2}) {
			t.Errorf("pages of %v hold %v, want %v", sizes, got, ids)
		}
		tags, pages := 0, 0
		for token = nil; pages == 0 || token != nil; pages++ {
			out, err := s.DescribeTags(s.ctx, &ec2.DescribeTagsInput{MaxResults: new(int32(7)), NextToken: token})
			if err != nil {
				t.Fatal(err)
			}
			tags += len(out.Tags)
			token = out.NextToken
		}
		if tags != 24 || pages != 4 {
			t.Errorf("%d tags on %d pages, want 24 on 4", tags, pages)
		}
		_, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{MaxResults: new(int32(4))})
		wantError(t, err, "InvalidParameterValue", "between 5 and 1000")
		_, err = s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{NextToken: new("?")})
		wantError(t, err, "InvalidParameterValue", "token")
	})
}

func TestTagChangesAreTold(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(1)
		s.wait("running", ids...)
		create := func(tags ...ec2.Tag) error {
			_, err := s.CreateTags(s.ctx, &ec2.CreateTagsInput{Resources: ids, Tags: tags})
			return err
		}
		if err := create(ec2.Tag{Key: new("Name"), Value: new("web")}, ec2.Tag{Key: new("team"), Value: new("金")}); err != nil {
			t.Fatal(err)
		}
		if err := create(ec2.Tag{Key: new("Name"), Value: new("web")}); err != nil { // changes nothing
			t.Fatal(err)
		}
		del := &ec2.DeleteTagsInput{Resources: ids, Tags: []ec2.Tag{{Key: new("Name"), Value: new("other")}, {Key: new("team")}}}
		if _, err := s.DeleteTags(s.ctx, del); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{
			`{"changed-tag-keys":["Name","team"],"service":"ec2","resource-type":"instance","version":1,"tags":{"Name":"web","team":"金"}}`,
			`{"changed-tag-keys":["team"],"service":"ec2","resource-type":"instance","version":2,"tags":{"Name":"web"}}`,
		} {
			if e := <-s.events; e.Source != "aws.tag" || e.DetailType != "Tag Change on Resource" || string(e.Detail) != want {
				t.Errorf("event %+v\n%s\nwant %s", e, e.Detail, want)
			}
		}
		wantError(t, create(ec2.Tag{Key: new("aws:x")}), "InvalidParameterValue", "reserved")
		_, err := s.CreateTags(s.ctx, &ec2.CreateTagsInput{Resources: []string{"vol-1"}, Tags: []ec2.Tag{{Key: new("a")}}})
		wantError(t, err, "InvalidID", "vol-1")
		var many []ec2.Tag
		for k := range 50 {
			many = append(many, ec2.Tag{Key: new(fmt.Sprint(k))})
		}
		wantError(t, create(many...), "TagLimitExceeded", "50")
	})
}

func TestRegions(t *testing.T) {
	names := func(list []Region) (all []string) {
		for _, r := range list {
			all = append(all, r.Name)
		}
		return all
	}
	enabled, err := describeRegions("eu-west-1", nil, nil, false)
	if err != nil || len(enabled) != 17 || enabled[0].OptIn != "opt-in-not-required" {
		t.Errorf("%d regions, %v", len(enabled), err)
	}
	all, _ := describeRegions("eu-west-1", nil, nil, true)
	if len(all) <= len(enabled) {
		t.Errorf("%d regions in all", len(all))
	}
	used, _ := describeRegions("eu-south-1", nil, []Filter{{"opt-in-status", []string{"opted-in"}}}, false)
	if !slices.Equal(names(used), []string{"eu-south-1"}) {
		t.Errorf("opted in are %v", names(used))
	}
	china, _ := describeRegions("cn-north-1", nil, nil, false)
	if !slices.Equal(names(china), []string{"cn-north-1", "cn-northwest-1"}) || china[0].Endpoint != "ec2.cn-north-1.amazonaws.com.cn" {
		t.Errorf("China has %v", china)
	}
	_, err = describeRegions("eu-west-1", []string{"mars-1"}, nil, false)
	wantError(t, err, "InvalidParameterValue", "Invalid region names: [mars-1]")
}

func TestArchitecture(t *testing.T) {
	for instanceType, want := range map[string]string{
		"t3.micro": "x86_64", "t4g.nano": "arm64", "m7g.large": "arm64", "c7gn.large": "arm64", "g4dn.xlarge": "x86_64", "g5g.xlarge": "arm64",
		"a1.medium": "arm64", "im4gn.large": "arm64", "mac1.metal": "x86_64_mac", "mac2-m2.metal": "arm64_mac", "u-6tb1.metal": "x86_64", "hpc7g.4xlarge": "arm64",
	} {
		if got := architecture(instanceType); got != want {
			t.Errorf("%s is %s, want %s", instanceType, got, want)
		}
	}
}

func FuzzWildcard(f *testing.F) {
	for _, seed := range [][2]string{{"web-*", "web-1"}, {`db\*1`, "db*1"}, {"?", "网"}, {`\`, ""}, {"**", "x\n"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		match := wildcard(pattern)(s)
		if wildcard(regexp.MustCompile(`[*?\\]`).ReplaceAllString(s, `\$0`))(s) != true {
			t.Errorf("%q does not match itself when escaped", s)
		}
		if pattern == "*" && !match {
			t.Errorf("* does not match %q", s)
		}
	})
}
