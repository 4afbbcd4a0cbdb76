package instance

import (
	"maps"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
)

func wireState(s State) *ec2.InstanceState {
	return &ec2.InstanceState{Code: new(s.Code()), Name: new(string(s))}
}

// reservations groups instances as AWS does: by the launch they came from.
func reservations(list []*Instance) []ec2.Reservation {
	all := []ec2.Reservation{}
	at := map[string]int{}
	for _, i := range list {
		k, ok := at[i.ReservationID]
		if !ok {
			k = len(all)
			at[i.ReservationID] = k
			all = append(all, ec2.Reservation{ReservationId: new(i.ReservationID), OwnerId: new(i.Account), Groups: []ec2.GroupIdentifier{}})
		}
		all[k].Instances = append(all[k].Instances, wireInstance(i))
	}
	return all
}

func wireInstance(i *Instance) ec2.Instance {
	l := i.Launch
	w := ec2.Instance{
		InstanceId:     new(i.ID),
		ImageId:        new(l.ImageID),
		InstanceType:   new(l.Type),
		KeyName:        optional(l.KeyName),
		ClientToken:    new(i.clientToken),
		AmiLaunchIndex: new(int32(l.Index)),
		LaunchTime:     i.launchTime(),

		State:                 wireState(i.State),
		StateTransitionReason: new(i.TransitionReason),

		Placement:        &ec2.Placement{AvailabilityZone: new(l.Zone), GroupName: new(""), Tenancy: new("default")},
		Monitoring:       &ec2.Monitoring{State: new(i.monitoring())},
		PrivateIpAddress: optional(i.PrivateIP),
		PrivateDnsName:   new(i.privateDNS()),
		PublicIpAddress:  optional(i.PublicIP),
		PublicDnsName:    new(i.publicDNS()),

		Architecture:       new(architecture(l.Type)),
		Hypervisor:         new("xen"),
		VirtualizationType: new("hvm"),
		RootDeviceName:     new(rootDevice),
		RootDeviceType:     new("ebs"),
		EbsOptimized:       new(l.EbsOptimized),
		EnaSupport:         new(true),
		PlatformDetails:    new(platformDetails),
		UsageOperation:     new("RunInstances"),

		// AWS: these lists are there even when they hold nothing.
		ProductCodes: []ec2.ProductCode{}, BlockDeviceMappings: []ec2.InstanceBlockDeviceMapping{},
		SecurityGroups: []ec2.GroupIdentifier{}, NetworkInterfaces: []ec2.InstanceNetworkInterface{},

		InstanceLifecycle:     optional(i.lifecycle()),
		SpotInstanceRequestId: optional(l.SpotRequest),
		EnclaveOptions:        &ec2.EnclaveOptions{Enabled: new(false)},
		HibernationOptions:    &ec2.HibernationOptions{Configured: new(false)},
		MetadataOptions: &ec2.InstanceMetadataOptionsResponse{
			State: new("applied"), HttpTokens: new(l.Metadata.Tokens), HttpEndpoint: new(l.Metadata.Endpoint),
			HttpProtocolIpv6: new(l.Metadata.IPv6), InstanceMetadataTags: new(l.Metadata.Tags), HttpPutResponseHopLimit: new(l.Metadata.HopLimit),
		},
	}
	if i.ReasonCode != "" {
		w.StateReason = &ec2.StateReason{Code: new(i.ReasonCode), Message: new(i.ReasonMessage)}
	}
	if l.Profile != "" {
		w.IamInstanceProfile = &ec2.IamInstanceProfile{Arn: new(i.profileARN()), Id: new(profileID(i.Account, l.Profile))}
	}
	for _, k := range slices.Sorted(maps.Keys(i.Tags)) {
		w.Tags = append(w.Tags, ec2.Tag{Key: new(k), Value: new(i.Tags[k])})
	}
	if i.live() {
		attachNetwork(&w, i)
	}
	return w
}

// attachNetwork adds what a terminated instance no longer has.
func attachNetwork(w *ec2.Instance, i *Instance) {
	n := networkOf(i.Place)
	groups := []ec2.GroupIdentifier{{GroupId: new(n.Group), GroupName: new(defaultGroup)}}
	sub := new(n.inZone(i.Launch.Zone).ID)
	w.VpcId, w.SubnetId, w.SecurityGroups, w.SourceDestCheck = new(n.VPC), sub, groups, new(true)
	var public *ec2.InstanceNetworkInterfaceAssociation
	if i.PublicIP != "" {
		public = &ec2.InstanceNetworkInterfaceAssociation{IpOwnerId: new("amazon"), PublicIp: new(i.PublicIP), PublicDnsName: new(i.publicDNS())}
	}
	w.NetworkInterfaces = []ec2.InstanceNetworkInterface{{
		NetworkInterfaceId: new(i.Launch.InterfaceID), MacAddress: new(i.Launch.MAC), OwnerId: new(i.Account),
		VpcId: new(n.VPC), SubnetId: sub, Groups: groups, Association: public,
		Description: new(""), InterfaceType: new("interface"), SourceDestCheck: new(true), Status: new("in-use"),
		PrivateIpAddress: new(i.PrivateIP), PrivateDnsName: new(i.privateDNS()),
		PrivateIpAddresses: []ec2.InstancePrivateIpAddress{{
			Primary: new(true), PrivateIpAddress: new(i.PrivateIP), PrivateDnsName: new(i.privateDNS()), Association: public,
		}},
		Attachment: &ec2.InstanceNetworkInterfaceAttachment{
			AttachmentId: new(i.Launch.AttachmentID), AttachTime: i.launchTime(), DeleteOnTermination: new(true),
			DeviceIndex: new(int32(0)), NetworkCardIndex: new(int32(0)), Status: new("attached"),
		},
	}}
}

// profileID derives an instance profile's id: AIPA and 17 letters and digits.
func profileID(account, name string) string {
	_, id, _ := strings.Cut(stableID("AIPA", account, name), "-")
	return "AIPA" + strings.ToUpper(id)
}
