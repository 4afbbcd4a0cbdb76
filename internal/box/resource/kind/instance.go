package kind

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// instance is AWS::EC2::Instance, by its id.
type instance struct{ api }

// The states of an instance.
const (
	stateRunning = "running"

	stateTerminated = "terminated"
	statePending    = "pending"
)

// instanceUnserved are properties whose shapes are not EC2's, and which EC2 has nothing for here.
var instanceUnserved = unserved{
	{"BlockDeviceMappings", "instances have no volumes"},
	{"Volumes", "instances have no volumes"},
	{"PropagateTagsToVolumeOnCreation", "instances have no volumes"},
	{"NetworkInterfaces", "instances have one network interface in the default VPC, with IPv4"},
	{"Ipv6AddressCount", "instances have one network interface in the default VPC, with IPv4"},
	{"Ipv6Addresses", "instances have one network interface in the default VPC, with IPv4"},
	{"PrivateDnsNameOptions", "instances have one network interface in the default VPC, with IPv4"},
	{"CpuOptions", "no machine runs behind an instance"},
	{"CreditSpecification", "no machine runs behind an instance"},
	{"ElasticGpuSpecifications", "no machine runs behind an instance"},
	{"ElasticInferenceAccelerators", "no machine runs behind an instance"},
	{"SsmAssociations", "no machine runs behind an instance"},
	{"LaunchTemplate", "there is no such resource"},
	{"LicenseSpecifications", "there is no such resource"},
}

// launchProperties are what EC2 calls by the same names.
var launchProperties = []string{
	"ImageId", "InstanceType", "KeyName", "SubnetId", "PrivateIpAddress", "SecurityGroupIds", "SecurityGroups", "EbsOptimized", "MetadataOptions",
	"UserData", "AdditionalInfo", "KernelId", "RamdiskId", "EnclaveOptions", "HibernationOptions", "DisableApiTermination", "InstanceInitiatedShutdownBehavior",
}

// launchIn is the launch that a model asks for.
func launchIn(r resource.Request) (*ec2.RunInstancesInput, error) {
	if err := instanceUnserved.refuse(r.Desired); err != nil {
		return nil, err
	}
	if v := r.Desired["SourceDestCheck"]; v != nil && text(v) != "true" {
		return nil, invalid("SourceDestCheck", "must be true or left out: instances route nothing.")
	}
	in := &ec2.RunInstancesInput{MinCount: new(int32(1)), MaxCount: new(int32(1)), ClientToken: clientToken(r)}
	if err := shape("", pick(r.Desired, launchProperties...), in); err != nil {
		return nil, err
	}
	if v := r.Desired["Monitoring"]; v != nil {
		in.Monitoring = &ec2.RunInstancesMonitoringEnabled{Enabled: new(text(v) == "true")}
	}
	if v := given(r.Desired["IamInstanceProfile"]); v != nil {
		in.IamInstanceProfile = &ec2.IamInstanceProfileSpecification{Name: v}
	}
	place := ec2.Placement{
		AvailabilityZone: given(r.Desired["AvailabilityZone"]), Tenancy: given(r.Desired["Tenancy"]), Affinity: given(r.Desired["Affinity"]),
		HostId: given(r.Desired["HostId"]), HostResourceGroupArn: given(r.Desired["HostResourceGroupArn"]), GroupName: given(r.Desired["PlacementGroupName"]),
	}
	if place != (ec2.Placement{}) {
		in.Placement = &place
	}
	tags, err := tagsOf(r.Desired)
	if len(tags) > 0 {
		in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("instance"), Tags: instanceTags(tags)}}
	}
	return in, err
}

// clientToken makes a launch that is repeated return what it launched; nil without a token of the request.
func clientToken(r resource.Request) *string {
	if r.Token == "" {
		return nil
	}
	hash := sha256.Sum256([]byte("instance\x00" + r.Token))
	return new(hex.EncodeToString(hash[:]))
}

func instanceTags(tags map[string]string) []ec2.Tag {
	var list []ec2.Tag
	for _, k := range sortedKeys(tags) {
		list = append(list, ec2.Tag{Key: &k, Value: new(tags[k])})
	}
	return list
}

// Create launches the instance and waits until it runs.
func (h instance) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	in, err := launchIn(r)
	if err != nil {
		return nil, err
	}
	out, err := call[ec2.RunInstancesOutput](ctx, h.api, r, "ec2", "RunInstances", in)
	if err != nil {
		return nil, err
	}
	id := *out.Instances[0].InstanceId
	var undo undo
	undo.add(func(ctx context.Context) error { return h.terminate(ctx, r, id) })
	if err := h.running(ctx, r, id); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, id)
}

func (h instance) running(ctx context.Context, r resource.Request, id string) error {
	return until(ctx, func() (bool, string, error) {
		have, err := h.describe(ctx, r, id)
		if err != nil {
			return false, "", err
		}
		state := str(have.State.Name)
		if state != statePending && state != stateRunning {
			return false, "", resource.Errorf(resource.NotStabilized, "The instance %s is %s.", id, state)
		}
		return state == stateRunning, "The instance " + id + " is " + state + ".", nil
	})
}

func (h instance) describe(ctx context.Context, r resource.Request, id string) (*ec2.Instance, error) {
	out, err := call[ec2.DescribeInstancesOutput](ctx, h.api, r, "ec2", "DescribeInstances", &ec2.DescribeInstancesInput{InstanceIds: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(out.Reservations) == 0 || len(out.Reservations[0].Instances) == 0 {
		return nil, missing("AWS::EC2::Instance", id)
	}
	return &out.Reservations[0].Instances[0], nil
}

// Read describes the instance. One that is terminated is no more.
func (h instance) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h instance) read(ctx context.Context, r resource.Request, id string) (resource.Model, error) {
	have, err := h.describe(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if str(have.State.Name) == stateTerminated {
		return nil, missing("AWS::EC2::Instance", id)
	}
	return instanceOut(have), nil
}

func instanceOut(have *ec2.Instance) resource.Model {
	m := resource.Model{"State": map[string]any{"Code": strconv.Itoa(int(*have.State.Code)), "Name": *have.State.Name}}
	put(m, "InstanceId", have.InstanceId)
	put(m, "ImageId", have.ImageId)
	put(m, "InstanceType", have.InstanceType)
	put(m, "KeyName", have.KeyName)
	put(m, "SubnetId", have.SubnetId)
	put(m, "VpcId", have.VpcId)
	put(m, "PrivateIp", have.PrivateIpAddress)
	put(m, "PrivateIpAddress", have.PrivateIpAddress)
	put(m, "PrivateDnsName", have.PrivateDnsName)
	put(m, "PublicIp", have.PublicIpAddress)
	put(m, "PublicDnsName", have.PublicDnsName)
	put(m, "EbsOptimized", have.EbsOptimized)
	put(m, "SourceDestCheck", have.SourceDestCheck)
	if have.Placement != nil {
		put(m, "AvailabilityZone", have.Placement.AvailabilityZone)
		put(m, "Tenancy", have.Placement.Tenancy)
	}
	if have.Monitoring != nil {
		m["Monitoring"] = str(have.Monitoring.State) == "enabled"
	}
	if have.IamInstanceProfile != nil {
		put(m, "IamInstanceProfile", lastPart(str(have.IamInstanceProfile.Arn), "/"))
	}
	if o := have.MetadataOptions; o != nil {
		m["MetadataOptions"] = value(ec2.InstanceMetadataOptionsRequest{
			HttpTokens: o.HttpTokens, HttpEndpoint: o.HttpEndpoint, HttpProtocolIpv6: o.HttpProtocolIpv6,
			InstanceMetadataTags: o.InstanceMetadataTags, HttpPutResponseHopLimit: o.HttpPutResponseHopLimit,
		})
	}
	var ids, names []any
	for _, g := range have.SecurityGroups {
		ids, names = append(ids, *g.GroupId), append(names, *g.GroupName)
	}
	put(m, "SecurityGroupIds", ids)
	put(m, "SecurityGroups", names)
	put(m, "Tags", tagList(tagsOfInstance(have)))
	return m
}

func tagsOfInstance(have *ec2.Instance) map[string]string {
	tags := map[string]string{}
	for _, t := range have.Tags {
		tags[*t.Key] = str(t.Value)
	}
	return tags
}

// Update changes the tags: there is no operation here that changes anything else of an instance.
func (h instance) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	have, err := h.describe(ctx, r, r.Identifier)
	if err != nil {
		return nil, err
	}
	if str(have.State.Name) == stateTerminated {
		return nil, missing("AWS::EC2::Instance", r.Identifier)
	}
	for _, p := range []string{"DisableApiTermination", "InstanceInitiatedShutdownBehavior", "SourceDestCheck", "CreditSpecification", "SsmAssociations", "Volumes"} {
		if changed(r, p) {
			return nil, resource.Errorf(resource.NotUpdatable, "Property %s cannot be changed: there is no operation here that would.", p)
		}
	}
	if err := h.retag(ctx, r, tagsOfInstance(have)); err != nil {
		return nil, err
	}
	return h.read(ctx, r, r.Identifier)
}

func (h instance) retag(ctx context.Context, r resource.Request, have map[string]string) error {
	ids := []string{r.Identifier}
	return retag(ctx, r, tagOperations{
		have: func(context.Context) (map[string]string, error) { return have, nil },
		untag: func(ctx context.Context, keys []string) error {
			in := &ec2.DeleteTagsInput{Resources: ids}
			for _, k := range keys {
				in.Tags = append(in.Tags, ec2.Tag{Key: &k})
			}
			_, err := call[ec2.DeleteTagsOutput](ctx, h.api, r, "ec2", "DeleteTags", in)
			return err
		},
		tag: func(ctx context.Context, tags map[string]string) error {
			_, err := call[ec2.CreateTagsOutput](ctx, h.api, r, "ec2", "CreateTags", &ec2.CreateTagsInput{Resources: ids, Tags: instanceTags(tags)})
			return err
		},
	})
}

// Delete terminates the instance and waits until it is terminated.
func (h instance) Delete(ctx context.Context, r resource.Request) error {
	have, err := h.describe(ctx, r, r.Identifier)
	if err == nil && str(have.State.Name) == stateTerminated {
		err = missing("AWS::EC2::Instance", r.Identifier)
	}
	if err != nil {
		return gone(r, err)
	}
	return h.terminate(ctx, r, r.Identifier)
}

func (h instance) terminate(ctx context.Context, r resource.Request, id string) error {
	in := &ec2.TerminateInstancesInput{InstanceIds: []string{id}}
	if _, err := call[ec2.TerminateInstancesOutput](ctx, h.api, r, "ec2", "TerminateInstances", in); err != nil {
		return err
	}
	return until(ctx, func() (bool, string, error) {
		have, err := h.describe(ctx, r, id)
		if is(err, resource.NotFound) {
			return true, "", nil
		}
		if err != nil {
			return false, "", err
		}
		state := str(have.State.Name)
		return state == stateTerminated, "The instance " + id + " is " + state + ".", nil
	})
}

// The sizes of a page of instances. AWS: 5 to 1000.
const minInstances, maxInstances = 5, 1000

// List lists the instances that are not terminated or about to be.
func (h instance) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &ec2.DescribeInstancesInput{
		MaxResults: new(max(*pageSize(r, maxInstances), minInstances)), NextToken: pageToken(r),
		Filters: []ec2.Filter{{Name: new("instance-state-name"), Values: []string{statePending, stateRunning, "stopping", "stopped"}}},
	}
	out, err := call[ec2.DescribeInstancesOutput](ctx, h.api, r, "ec2", "DescribeInstances", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, reservation := range out.Reservations {
		for _, have := range reservation.Instances {
			models = append(models, resource.Model{"InstanceId": *have.InstanceId})
		}
	}
	return models, str(out.NextToken), nil
}
