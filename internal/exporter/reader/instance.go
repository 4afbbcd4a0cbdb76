package reader

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/rialto-bus/rialto/internal/cloud"
)

// An instance is what DescribeInstances says. One that is terminated is gone. AWS:
// it is described for about an hour more.
var instance = special{
	canonical: lastPart, valid: instanceID.MatchString, get: getInstance, getMany: getInstances, many: 100, list: listInstances,
	input: func() any { return &ec2.DescribeInstancesInput{} },
}

var instanceID = regexp.MustCompile(`^i-[0-9a-f]{8,32}$`)

// lastPart is what follows the last slash or colon of an ARN, or the identifier.
func lastPart(identifier string) string {
	if !strings.HasPrefix(identifier, "arn:") {
		return identifier
	}
	return identifier[strings.LastIndexAny(identifier, "/:")+1:]
}

func getInstance(ctx context.Context, c *cloud.Clients, identifier string) (Resource, error) {
	out, err := c.EC2.DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{identifier}})
	if err != nil {
		return Resource{}, err
	}
	if list := instances(out); len(list) == 1 {
		return list[0], nil
	}
	return Resource{}, notFound("the instance %s is not there, or terminated", identifier)
}

// instances are those of an answer that are not terminated.
func instances(out *ec2.DescribeInstancesOutput) (list []Resource) {
	for _, reservation := range out.Reservations {
		for _, i := range reservation.Instances {
			if i.State == nil || i.State.Name != types.InstanceStateNameTerminated {
				list = append(list, Resource{aws.ToString(i.InstanceId), shape(i)})
			}
		}
	}
	return list
}

// getInstances asks by a filter. AWS: ids that are asked for by name all have to be
// there.
func getInstances(ctx context.Context, c *cloud.Clients, identifiers []string) (map[string]Answer, error) {
	in := &ec2.DescribeInstancesInput{Filters: []types.Filter{{Name: aws.String("instance-id"), Values: identifiers}}}
	found := map[string]Answer{}
	for pages := ec2.NewDescribeInstancesPaginator(c.EC2, in); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return found, err
		}
		for _, r := range instances(out) {
			found[r.Identifier] = Answer{Resource: r}
		}
	}
	return found, nil
}

// liveInstanceStates are all but terminated.
var liveInstanceStates = []string{"pending", "running", "shutting-down", "stopping", "stopped"}

func listInstances(ctx context.Context, c *cloud.Clients, q ListQuery) (Page, error) {
	in := &ec2.DescribeInstancesInput{NextToken: optional(q.Next)}
	if err := setParameters(in, q.Parameters); err != nil {
		return Page{}, err
	}
	byState := slices.ContainsFunc(in.Filters, func(f types.Filter) bool { return aws.ToString(f.Name) == "instance-state-name" })
	if !byState && len(in.InstanceIds) == 0 {
		in.Filters = append(in.Filters, types.Filter{Name: aws.String("instance-state-name"), Values: liveInstanceStates})
	}
	if in.MaxResults == nil && len(in.InstanceIds) == 0 {
		in.MaxResults = aws.Int32(instancesPerPage)
	}
	out, err := c.EC2.DescribeInstances(ctx, in)
	if err != nil {
		return Page{}, err
	}
	return Page{Resources: instances(out), Whole: true, Next: aws.ToString(out.NextToken)}, nil
}

// instancesPerPage keeps a page's size in bounds. AWS: without it an answer has all
// instances.
const instancesPerPage = 200
