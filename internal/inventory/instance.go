package inventory

import (
	"regexp"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// InstanceKey names one EC2 instance within one project. AWS: instance ids are
// never reused, and the partition follows from the region.
type InstanceKey struct {
	ProjectID string
	// AccountID is the 12-digit AWS account that owns the instance.
	AccountID  string
	Region     string
	InstanceID string
}

// Instance is what one read of EC2 says about an instance.
type Instance struct {
	ID               string
	State            string
	AvailabilityZone string
	Type             string
	ImageID          string
	VPCID            string
	SubnetID         string
	PrivateIP        string
	PublicIP         string
	PrivateDNS       string
	PublicDNS        string
	// Windows is true where EC2 reports the platform as Windows.
	Windows bool
	// Spot is true for an instance with a spot lifecycle.
	Spot       bool
	LaunchTime time.Time
	Tags       map[string]string
}

// The states of an EC2 instance.
const (
	statePending      = "pending"
	stateRunning      = "running"
	stateStopping     = "stopping"
	stateStopped      = "stopped"
	stateShuttingDown = "shutting-down"
	stateTerminated   = "terminated"
)

// stateRank orders the states an instance can pass through within one second,
// the resolution of an event's time. It is 0 for what is not a state.
func stateRank(state string) int {
	switch state {
	case statePending:
		return 1
	case stateRunning:
		return 2
	case stateStopping:
		return 3
	case stateStopped:
		return 4
	case stateShuttingDown:
		return 5
	case stateTerminated:
		return 6
	}
	return 0
}

func isLive(state string) bool {
	r := stateRank(state)
	return r >= 1 && r <= 4
}

// liveStates are those that a full listing asks for.
var liveStates = []string{statePending, stateRunning, stateStopping, stateStopped}

var (
	instanceIDForm = regexp.MustCompile(`^i-[0-9a-f]{8,32}$`)
	accountForm    = regexp.MustCompile(`^[0-9]{12}$`)
)

func fromEC2(in types.Instance) Instance {
	i := Instance{
		ID:         aws.ToString(in.InstanceId),
		Type:       string(in.InstanceType),
		ImageID:    aws.ToString(in.ImageId),
		VPCID:      aws.ToString(in.VpcId),
		SubnetID:   aws.ToString(in.SubnetId),
		PrivateIP:  aws.ToString(in.PrivateIpAddress),
		PublicIP:   aws.ToString(in.PublicIpAddress),
		PrivateDNS: aws.ToString(in.PrivateDnsName),
		PublicDNS:  aws.ToString(in.PublicDnsName),
		Windows:    in.Platform == types.PlatformValuesWindows,
		Spot:       in.InstanceLifecycle == types.InstanceLifecycleTypeSpot,
		LaunchTime: aws.ToTime(in.LaunchTime).UTC(),
	}
	if in.State != nil {
		i.State = string(in.State.Name)
	}
	if in.Placement != nil {
		i.AvailabilityZone = aws.ToString(in.Placement.AvailabilityZone)
	}
	for _, t := range in.Tags {
		if i.Tags == nil {
			i.Tags = make(map[string]string, len(in.Tags))
		}
		i.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return i
}
