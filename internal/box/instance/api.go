package instance

import (
	"context"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
)

var _ ec2.Service = (*Instances)(nil)

func placeOf(ctx context.Context) Place {
	c := awsapi.CallerFrom(ctx)
	return Place{Account: c.Account, Region: c.Region}
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func yes(b *bool) bool { return b != nil && *b }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// RunInstances launches instances.
func (s *Instances) RunInstances(ctx context.Context, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	p := placeOf(ctx)
	r, err := launchOf(p, in)
	if err != nil {
		return nil, err
	}
	if yes(in.DryRun) {
		if err := r.check(); err != nil {
			return nil, err
		}
		if _, err := networkOf(p).choose(r.SubnetID, r.Zone); err != nil {
			return nil, err
		}
		return nil, errDryRun()
	}
	list, err := s.Run(awsapi.AnswersWith(ctx, launchOut), p, r)
	if err != nil {
		return nil, err
	}
	return launchOut(list), nil
}

func launchOut(list []*Instance) *ec2.RunInstancesOutput {
	res := reservations(list)[0]
	return &ec2.RunInstancesOutput{Instances: res.Instances, OwnerId: res.OwnerId, ReservationId: res.ReservationId, Groups: res.Groups}
}

// DescribeInstances lists instances by reservation.
func (s *Instances) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	filters := filtersOf(in.Filters)
	if yes(in.DryRun) {
		return nil, errDryRun()
	}
	if len(in.InstanceIds) > maxIDs {
		return nil, errValue("The number of instance ids, %d, exceeds the maximum of %d.", len(in.InstanceIds), maxIDs)
	}
	if len(in.InstanceIds) > 0 {
		if in.MaxResults != nil {
			return nil, errCombination("The parameter instancesSet cannot be used with the parameter maxResults")
		}
		list, err := s.Get(ctx, placeOf(ctx), in.InstanceIds, filters)
		if err != nil {
			return nil, err
		}
		return &ec2.DescribeInstancesOutput{Reservations: reservations(list)}, nil
	}
	limit, err := limitOf(in.MaxResults)
	if err != nil {
		return nil, err
	}
	list, next, err := s.Describe(ctx, placeOf(ctx), filters, limit, text(in.NextToken))
	if err != nil {
		return nil, err
	}
	return &ec2.DescribeInstancesOutput{Reservations: reservations(list), NextToken: optional(next)}, nil
}

// limitOf reads MaxResults; 0 without one. AWS: 5 to 1000.
func limitOf(maxResults *int32) (int, error) {
	if maxResults == nil {
		return 0, nil
	}
	if *maxResults < 5 || *maxResults > 1000 {
		return 0, errValue("Value ( %d ) for parameter maxResults is invalid. Expecting a value between 5 and 1000.", *maxResults)
	}
	return int(*maxResults), nil
}

func filtersOf(list []ec2.Filter) []Filter {
	var filters []Filter
	for _, f := range list {
		filters = append(filters, Filter{Name: text(f.Name), Values: f.Values})
	}
	return filters
}

// StartInstances starts stopped instances.
func (s *Instances) StartInstances(ctx context.Context, in *ec2.StartInstancesInput) (*ec2.StartInstancesOutput, error) {
	if in.AdditionalInfo != nil {
		return nil, errUnsupported("AdditionalInfo", "AWS reserves it")
	}
	answer := func(list []Change) *ec2.StartInstancesOutput {
		return &ec2.StartInstancesOutput{StartingInstances: changesOut(list)}
	}
	list, err := s.change(awsapi.AnswersWith(ctx, answer), in.InstanceIds, in.DryRun, s.Start)
	return answer(list), err
}

// StopInstances stops running instances. Force and SkipOsShutdown only hurry
// a machine's operating system, which there is none of.
func (s *Instances) StopInstances(ctx context.Context, in *ec2.StopInstancesInput) (*ec2.StopInstancesOutput, error) {
	if yes(in.Hibernate) {
		return nil, errUnsupported("Hibernate", "instances have no memory to keep")
	}
	answer := func(list []Change) *ec2.StopInstancesOutput {
		return &ec2.StopInstancesOutput{StoppingInstances: changesOut(list)}
	}
	list, err := s.change(awsapi.AnswersWith(ctx, answer), in.InstanceIds, in.DryRun, s.Stop)
	return answer(list), err
}

// TerminateInstances ends instances. Force and SkipOsShutdown are as for StopInstances.
func (s *Instances) TerminateInstances(ctx context.Context, in *ec2.TerminateInstancesInput) (*ec2.TerminateInstancesOutput, error) {
	answer := func(list []Change) *ec2.TerminateInstancesOutput {
		return &ec2.TerminateInstancesOutput{TerminatingInstances: changesOut(list)}
	}
	list, err := s.change(awsapi.AnswersWith(ctx, answer), in.InstanceIds, in.DryRun, s.Terminate)
	return answer(list), err
}

// RebootInstances checks that the instances run: nothing of a reboot can be seen.
func (s *Instances) RebootInstances(ctx context.Context, in *ec2.RebootInstancesInput) (*ec2.RebootInstancesOutput, error) {
	_, err := s.change(ctx, in.InstanceIds, in.DryRun, func(ctx context.Context, p Place, ids []string) ([]Change, error) {
		return nil, s.Reboot(ctx, p, ids)
	})
	return &ec2.RebootInstancesOutput{}, err
}

// maxIDs is AWS's number of instances in one call.
const maxIDs = 1000

// change runs an operation on instances, or with dryRun checks only that they exist.
func (s *Instances) change(ctx context.Context, ids []string, dryRun *bool, do func(context.Context, Place, []string) ([]Change, error)) ([]Change, error) {
	p := placeOf(ctx)
	if len(ids) > maxIDs {
		return nil, errValue("The number of instance ids, %d, exceeds the maximum of %d.", len(ids), maxIDs)
	}
	if yes(dryRun) {
		if _, err := find(ctx, s.db, p, ids, ""); err != nil {
			return nil, err
		}
		return nil, errDryRun()
	}
	return do(ctx, p, ids)
}

func changesOut(list []Change) []ec2.InstanceStateChange {
	var out []ec2.InstanceStateChange
	for _, c := range list {
		out = append(out, ec2.InstanceStateChange{InstanceId: new(c.ID), CurrentState: wireState(c.Current), PreviousState: wireState(c.Previous)})
	}
	return out
}

// CreateTags adds tags to instances.
func (s *Instances) CreateTags(ctx context.Context, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	if err := s.checkTagged(ctx, in.Resources, in.DryRun); err != nil {
		return nil, err
	}
	tags, err := tagsOf(in.Tags)
	if err != nil {
		return nil, err
	}
	return &ec2.CreateTagsOutput{}, s.Tag(ctx, placeOf(ctx), in.Resources, tags)
}

// DeleteTags removes tags from instances.
func (s *Instances) DeleteTags(ctx context.Context, in *ec2.DeleteTagsInput) (*ec2.DeleteTagsOutput, error) {
	if err := s.checkTagged(ctx, in.Resources, in.DryRun); err != nil {
		return nil, err
	}
	var keys []TagKey
	for _, t := range in.Tags {
		keys = append(keys, TagKey{Key: text(t.Key), Value: t.Value})
	}
	return &ec2.DeleteTagsOutput{}, s.Untag(ctx, placeOf(ctx), in.Resources, keys)
}

// checkTagged checks what is to be tagged: instances, the only resources here
// that have tags.
func (s *Instances) checkTagged(ctx context.Context, ids []string, dryRun *bool) error {
	for _, id := range ids {
		if !strings.HasPrefix(id, "i-") {
			return awsapi.Errorf("InvalidID", "The ID '%s' is not valid: only instances have tags here", id)
		}
	}
	if !yes(dryRun) {
		return nil
	}
	if _, err := find(ctx, s.db, placeOf(ctx), ids, ""); err != nil {
		return err
	}
	return errDryRun()
}

// tagsOf reads tags; a missing value is an empty one.
func tagsOf(list []ec2.Tag) (map[string]string, error) {
	tags := map[string]string{}
	for _, t := range list {
		key := text(t.Key)
		if _, twice := tags[key]; twice {
			return nil, errValue("Duplicate tag key '%s' specified.", key)
		}
		tags[key] = text(t.Value)
	}
	return tags, nil
}

// DescribeTags lists tags of instances.
func (s *Instances) DescribeTags(ctx context.Context, in *ec2.DescribeTagsInput) (*ec2.DescribeTagsOutput, error) {
	if yes(in.DryRun) {
		return nil, errDryRun()
	}
	limit, err := limitOf(in.MaxResults)
	if err != nil {
		return nil, err
	}
	list, next, err := s.tags(ctx, placeOf(ctx), filtersOf(in.Filters), limit, text(in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeTagsOutput{Tags: []ec2.TagDescription{}, NextToken: optional(next)}
	for _, t := range list {
		out.Tags = append(out.Tags, ec2.TagDescription{Key: new(t.key), Value: new(t.value), ResourceId: new(t.id), ResourceType: new("instance")})
	}
	return out, nil
}

// DescribeRegions lists regions of the caller's partition.
func (s *Instances) DescribeRegions(ctx context.Context, in *ec2.DescribeRegionsInput) (*ec2.DescribeRegionsOutput, error) {
	if yes(in.DryRun) {
		return nil, errDryRun()
	}
	list, err := describeRegions(placeOf(ctx).Region, in.RegionNames, filtersOf(in.Filters), yes(in.AllRegions))
	if err != nil {
		return nil, err
	}
	out := &ec2.DescribeRegionsOutput{Regions: []ec2.Region{}}
	for _, r := range list {
		out.Regions = append(out.Regions, ec2.Region{RegionName: new(r.Name), Endpoint: new(r.Endpoint), OptInStatus: new(r.OptIn)})
	}
	return out, nil
}
