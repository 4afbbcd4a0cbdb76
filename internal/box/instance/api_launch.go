package instance

import (
	"regexp"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/event"
)

// defaultType is AWS's instance type of a launch that names none.
const defaultType = "m1.small"

// launchOf reads RunInstances' input and refuses by name what would not be honoured.
func launchOf(p Place, in *ec2.RunInstancesInput) (LaunchRequest, error) {
	r := LaunchRequest{
		Min: int(*in.MinCount), Max: int(*in.MaxCount),
		Token: text(in.ClientToken), SubnetID: text(in.SubnetId), PrivateIP: text(in.PrivateIpAddress),
		Launch: Launch{
			ImageID: text(in.ImageId), Type: defaultType, KeyName: text(in.KeyName),
			EbsOptimized: yes(in.EbsOptimized),
		},
	}
	if in.InstanceType != nil {
		r.Launch.Type = *in.InstanceType
	}
	if in.Monitoring != nil {
		r.Launch.Monitoring = yes(in.Monitoring.Enabled)
	}
	if err := refuse(in); err != nil {
		return r, err
	}
	var err error
	if r.Zone, err = zoneOf(in.Placement); err != nil {
		return r, err
	}
	if err = checkGroups(p, in); err != nil {
		return r, err
	}
	if r.Launch.Profile, err = profileOf(p, in.IamInstanceProfile); err != nil {
		return r, err
	}
	if r.Launch.Metadata, err = metadataOf(in.MetadataOptions); err != nil {
		return r, err
	}
	if r.Spot, err = spotOf(in.InstanceMarketOptions); err != nil {
		return r, err
	}
	if len(r.Launch.KeyName) > 255 || strings.ContainsRune(r.Launch.KeyName, 0) {
		return r, awsapi.Errorf("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", r.Launch.KeyName)
	}
	r.Tags, err = launchTags(in.TagSpecifications)
	return r, err
}

// refuse names the first parameter that needs what is not here.
func refuse(in *ec2.RunInstancesInput) error {
	const (
		noMachine = "no machine runs behind an instance"
		noDisk    = "instances have no volumes"
		noNetwork = "instances have one network interface in the default VPC, with IPv4"
		noChange  = "there is no operation that would take it back"
		noStock   = "there is no such resource"
	)
	for _, p := range []struct {
		given     bool
		name, why string
	}{
		{in.AdditionalInfo != nil, "AdditionalInfo", "AWS reserves it"},
		{in.UserData != nil, "UserData", noMachine},
		{in.CpuOptions != nil, "CpuOptions", noMachine},
		{in.CreditSpecification != nil, "CreditSpecification", noMachine},
		{in.MaintenanceOptions != nil, "MaintenanceOptions", noMachine},
		{in.NetworkPerformanceOptions != nil, "NetworkPerformanceOptions", noMachine},
		{in.KernelId != nil, "KernelId", noMachine},
		{in.RamdiskId != nil, "RamdiskId", noMachine},
		{in.HibernationOptions != nil && yes(in.HibernationOptions.Configured), "HibernationOptions", noMachine},
		{in.EnclaveOptions != nil && yes(in.EnclaveOptions.Enabled), "EnclaveOptions", noMachine},
		{len(in.ElasticGpuSpecification) > 0, "ElasticGpuSpecification", noMachine},
		{len(in.ElasticInferenceAccelerators) > 0, "ElasticInferenceAccelerators", noMachine},
		{text(in.InstanceInitiatedShutdownBehavior) == ec2.ShutdownBehaviorTerminate, "InstanceInitiatedShutdownBehavior", noMachine},
		{len(in.BlockDeviceMappings) > 0, "BlockDeviceMappings", noDisk},
		{len(in.NetworkInterfaces) > 0, "NetworkInterfaces", noNetwork},
		{len(in.SecondaryInterfaces) > 0, "SecondaryInterfaces", noNetwork},
		{in.Ipv6AddressCount != nil, "Ipv6AddressCount", noNetwork},
		{len(in.Ipv6Addresses) > 0, "Ipv6Addresses", noNetwork},
		{yes(in.EnablePrimaryIpv6), "EnablePrimaryIpv6", noNetwork},
		{in.PrivateDnsNameOptions != nil, "PrivateDnsNameOptions", noNetwork},
		{yes(in.DisableApiTermination), "DisableApiTermination", noChange},
		{yes(in.DisableApiStop), "DisableApiStop", noChange},
		{in.CapacityReservationSpecification != nil, "CapacityReservationSpecification", noStock},
		{in.LaunchTemplate != nil, "LaunchTemplate", noStock},
		{len(in.LicenseSpecifications) > 0, "LicenseSpecifications", noStock},
		{in.Operator != nil, "Operator", noStock},
	} {
		if p.given {
			return errUnsupported(p.name, p.why)
		}
	}
	return nil
}

func zoneOf(in *ec2.Placement) (string, error) {
	if in == nil {
		return "", nil
	}
	for _, p := range []struct {
		given bool
		name  string
	}{
		{in.Affinity != nil, "Affinity"},
		{in.AvailabilityZoneId != nil, "AvailabilityZoneId"},
		{in.GroupId != nil, "GroupId"},
		{text(in.GroupName) != "", "GroupName"},
		{in.HostId != nil, "HostId"},
		{in.HostResourceGroupArn != nil, "HostResourceGroupArn"},
		{in.PartitionNumber != nil, "PartitionNumber"},
		{in.SpreadDomain != nil, "SpreadDomain"},
		{in.Tenancy != nil && *in.Tenancy != "default", "Tenancy"},
	} {
		if p.given {
			return "", errUnsupported("Placement."+p.name, "instances are placed by availability zone only")
		}
	}
	return text(in.AvailabilityZone), nil
}

// checkGroups takes the default security group and no other.
func checkGroups(p Place, in *ec2.RunInstancesInput) error {
	n := networkOf(p)
	for _, id := range in.SecurityGroupIds {
		if id != n.Group {
			return awsapi.Errorf("InvalidGroup.NotFound", "The security group '%s' does not exist in VPC '%s'", id, n.VPC)
		}
	}
	for _, name := range in.SecurityGroups {
		if name != defaultGroup {
			return awsapi.Errorf("InvalidGroup.NotFound", "The security group '%s' does not exist in default VPC '%s'", name, n.VPC)
		}
	}
	return nil
}

var validProfile = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{1,128}$`)

// profileOf returns the name of the instance profile.
func profileOf(p Place, in *ec2.IamInstanceProfileSpecification) (string, error) {
	if in == nil {
		return "", nil
	}
	name, arn := text(in.Name), text(in.Arn)
	if arn != "" {
		prefix := "arn:" + event.Partition(p.Region) + ":iam::" + p.Account + ":instance-profile/"
		rest, ok := strings.CutPrefix(arn, prefix)
		if !ok || name != "" {
			return "", errValue("Value (%s) for parameter iamInstanceProfile.arn is invalid. Invalid IAM Instance Profile ARN", arn)
		}
		name = rest
	}
	if !validProfile.MatchString(name) {
		return "", errValue("Value (%s) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name", name)
	}
	return name, nil
}

// metadataOf fills up the options of the metadata service, which are told and
// not used: there is no machine that could ask it.
func metadataOf(in *ec2.InstanceMetadataOptionsRequest) (Metadata, error) {
	m := Metadata{Tokens: "optional", Endpoint: "enabled", IPv6: "disabled", Tags: "disabled", HopLimit: 1}
	if in == nil {
		return m, nil
	}
	for _, o := range []struct {
		given *string
		to    *string
	}{
		{in.HttpTokens, &m.Tokens}, {in.HttpEndpoint, &m.Endpoint}, {in.HttpProtocolIpv6, &m.IPv6}, {in.InstanceMetadataTags, &m.Tags},
	} {
		if o.given != nil {
			*o.to = *o.given
		}
	}
	if in.HttpPutResponseHopLimit != nil {
		m.HopLimit = *in.HttpPutResponseHopLimit
		if m.HopLimit < 1 || m.HopLimit > 64 {
			return m, errValue("Value (%d) for parameter HttpPutResponseHopLimit is invalid. It must be between 1 and 64.", m.HopLimit)
		}
	}
	return m, nil
}

func spotOf(in *ec2.InstanceMarketOptionsRequest) (bool, error) {
	if in == nil || in.MarketType == nil {
		return false, nil
	}
	if *in.MarketType != "spot" {
		return false, errUnsupported("InstanceMarketOptions.MarketType", "choose spot")
	}
	o := in.SpotOptions
	if o == nil {
		return true, nil
	}
	if o.BlockDurationMinutes != nil || o.MaxPrice != nil || o.ValidUntil != nil ||
		o.SpotInstanceType != nil && *o.SpotInstanceType != "one-time" ||
		o.InstanceInterruptionBehavior != nil && *o.InstanceInterruptionBehavior != "terminate" {
		return false, errUnsupported("InstanceMarketOptions.SpotOptions", "Spot Instances are one-time requests that nothing interrupts")
	}
	return true, nil
}

// launchTags returns the tags that a launch gives its instances.
func launchTags(specs []ec2.TagSpecification) (map[string]string, error) {
	var tags map[string]string
	for _, s := range specs {
		if text(s.ResourceType) != "instance" {
			return nil, errUnsupported("TagSpecification", "only tags of resource type instance are kept, not of '"+text(s.ResourceType)+"'")
		}
		if tags != nil {
			return nil, errValue("Duplicate resource type 'instance' in tag specifications.")
		}
		var err error
		if tags, err = tagsOf(s.Tags); err != nil {
			return nil, err
		}
	}
	return tags, nil
}
