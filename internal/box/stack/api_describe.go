package stack

import (
	"context"
	"errors"
	"slices"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
)

// pageSize is how many items a page of a list has. AWS: pages end at 1 MB.
const pageSize = 100

// found returns the stack that a caller names, deleted ones by their id alone.
func (s *Stacks) found(ctx context.Context, id *string) (*Stack, error) {
	st, err := s.find(ctx, s.db, awsapi.CallerFrom(ctx), text(id))
	if errors.Is(err, errGone) {
		return nil, errNoStack(text(id))
	}
	return st, err
}

// bracketed is the error of a stack that is not there as some operations word it.
func bracketed(err error, id string) error {
	if awsapi.HasCode(err, "ValidationError") {
		return errStackMissing(id)
	}
	return err
}

// DescribeStacks returns one stack, or all.
func (s *Stacks) DescribeStacks(ctx context.Context, in *cloudformation.DescribeStacksInput) (*cloudformation.DescribeStacksOutput, error) {
	if text(in.StackName) != "" {
		st, err := s.found(ctx, in.StackName)
		if err != nil {
			return nil, err
		}
		return &cloudformation.DescribeStacksOutput{Stacks: []cloudformation.Stack{describeStack(st)}}, nil
	}
	list, next, err := s.page(ctx, "stacks", nil, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeStacksOutput{Stacks: []cloudformation.Stack{}, NextToken: next}
	for _, st := range list {
		out.Stacks = append(out.Stacks, describeStack(st))
	}
	return out, nil
}

// page returns a page of the caller's stacks.
func (s *Stacks) page(ctx context.Context, name string, statuses []string, token *string) ([]*Stack, *string, error) {
	before, err := readNumberToken(name, token)
	if err != nil {
		return nil, nil, err
	}
	c := awsapi.CallerFrom(ctx)
	list, err := s.selectStacks(ctx, s.db, c.Account, c.Region, statuses, before, pageSize+1)
	if err != nil || len(list) <= pageSize {
		return list, nil, err
	}
	list = list[:pageSize]
	return list, numberToken(name, list[pageSize-1].id), nil
}

func describeStack(st *Stack) cloudformation.Stack {
	c := &st.Config
	d := cloudformation.Stack{
		StackId: new(st.ARN()), StackName: new(st.Name), StackStatus: new(string(st.Status)), StackStatusReason: optional(st.Reason),
		Description: optional(st.Description), CreationTime: timeOf(st.Created), LastUpdatedTime: timeOf(st.Updated), DeletionTime: timeOf(st.Deleted),
		ChangeSetId: optional(st.ChangeSet), RoleARN: optional(c.RoleARN), TimeoutInMinutes: optional(c.TimeoutMinutes),
		DisableRollback: new(c.DisableRollback), RetainExceptOnCreate: optional(c.RetainExceptOnCreate), EnableTerminationProtection: new(false),
		NotificationARNs: slices.Concat([]string{}, c.Topics), Capabilities: c.Capabilities, RollbackConfiguration: &cloudformation.RollbackConfiguration{},
		DriftInformation: &cloudformation.StackDriftInformation{StackDriftStatus: new(cloudformation.StackDriftStatusNotChecked)},
		Tags:             describeTags(c.Tags), Parameters: describeParameters(c.Parameters),
	}
	if st.Status == DeleteComplete {
		return d
	}
	for _, o := range st.Outputs {
		d.Outputs = append(d.Outputs, cloudformation.Output{
			OutputKey: new(o.Key), OutputValue: new(o.Value), Description: optional(o.Description), ExportName: optional(o.Export),
		})
	}
	return d
}

func describeTags(tags []Tag) []cloudformation.Tag {
	list := []cloudformation.Tag{}
	for _, t := range tags {
		list = append(list, cloudformation.Tag{Key: new(t.Key), Value: new(t.Value)})
	}
	return list
}

func describeParameters(parameters []Parameter) (list []cloudformation.Parameter) {
	for _, p := range parameters {
		list = append(list, cloudformation.Parameter{ParameterKey: new(p.Key), ParameterValue: new(p.Shown)})
	}
	return list
}

// ListStacks lists stacks, deleted ones too, by status.
func (s *Stacks) ListStacks(ctx context.Context, in *cloudformation.ListStacksInput) (*cloudformation.ListStacksOutput, error) {
	statuses := in.StackStatusFilter
	if len(statuses) == 0 {
		statuses = everyStatus
	}
	list, next, err := s.page(ctx, "summaries", statuses, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.ListStacksOutput{StackSummaries: []cloudformation.StackSummary{}, NextToken: next}
	for _, st := range list {
		out.StackSummaries = append(out.StackSummaries, cloudformation.StackSummary{
			StackId: new(st.ARN()), StackName: new(st.Name), StackStatus: new(string(st.Status)), StackStatusReason: optional(st.Reason),
			TemplateDescription: optional(st.Description), CreationTime: timeOf(st.Created), LastUpdatedTime: timeOf(st.Updated), DeletionTime: timeOf(st.Deleted),
			DriftInformation: &cloudformation.StackDriftInformationSummary{StackDriftStatus: new(cloudformation.StackDriftStatusNotChecked)},
		})
	}
	return out, nil
}

// everyStatus are the statuses that stacks here come to have.
var everyStatus = []string{
	string(ReviewInProgress), string(CreateInProgress), string(CreateComplete), string(CreateFailed), string(RollbackInProgress), string(RollbackComplete),
	string(RollbackFailed), string(UpdateInProgress), string(UpdateCompleteCleanupInProgress), string(UpdateComplete), string(UpdateFailed),
	string(UpdateRollbackInProgress), string(UpdateRollbackCompleteCleanupInProgress), string(UpdateRollbackComplete), string(UpdateRollbackFailed),
	string(DeleteInProgress), string(DeleteComplete), string(DeleteFailed),
}

// DescribeStackEvents returns a stack's events, newest first.
func (s *Stacks) DescribeStackEvents(ctx context.Context, in *cloudformation.DescribeStackEventsInput) (*cloudformation.DescribeStackEventsOutput, error) {
	st, err := s.found(ctx, in.StackName)
	if err != nil {
		return nil, bracketed(err, text(in.StackName))
	}
	before, err := readNumberToken("events", in.NextToken)
	if err != nil {
		return nil, err
	}
	list, err := s.selectEvents(ctx, s.db, st.id, before, pageSize+1)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeStackEventsOutput{StackEvents: []cloudformation.StackEvent{}}
	if len(list) > pageSize {
		list = list[:pageSize]
		out.NextToken = numberToken("events", list[pageSize-1].id)
	}
	for _, e := range list {
		out.StackEvents = append(out.StackEvents, cloudformation.StackEvent{
			StackId: new(st.ARN()), StackName: new(st.Name), EventId: new(e.ID), LogicalResourceId: new(e.LogicalID), PhysicalResourceId: new(e.PhysicalID),
			ResourceType: new(e.Type), Timestamp: timeOf(e.At), ResourceStatus: new(string(e.Status)), ResourceStatusReason: optional(e.Reason),
			ResourceProperties: optional(e.Properties), ClientRequestToken: optional(e.Token),
		})
	}
	return out, nil
}

// shown are the resources that a stack is said to have: those that it wants, and those that it had and lost with its deletion or the rollback of its
// creation, by logical id.
func (s *Stacks) shown(ctx context.Context, st *Stack) ([]*Resource, error) {
	all, err := s.selectResources(ctx, s.db, st.id)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r *Resource) bool { return r.droppedBy != 0 })
	slices.SortFunc(all, func(a, b *Resource) int {
		if a.LogicalID < b.LogicalID {
			return -1
		}
		return 1
	})
	return all, nil
}

// DescribeStackResource returns one resource of a stack.
func (s *Stacks) DescribeStackResource(ctx context.Context, in *cloudformation.DescribeStackResourceInput) (*cloudformation.DescribeStackResourceOutput, error) {
	st, err := s.found(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	all, err := s.shown(ctx, st)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(r *Resource) bool { return r.LogicalID == text(in.LogicalResourceId) })
	if i < 0 {
		return nil, errNoResource(st, text(in.LogicalResourceId))
	}
	r := all[i]
	var metadata *string
	if r.details.Metadata != nil {
		metadata = new(encode(r.details.Metadata))
	}
	return &cloudformation.DescribeStackResourceOutput{StackResourceDetail: &cloudformation.StackResourceDetail{
		StackId: new(st.ARN()), StackName: new(st.Name), LogicalResourceId: new(r.LogicalID), PhysicalResourceId: optional(r.PhysicalID), ResourceType: new(r.Type),
		ResourceStatus: new(string(r.Status)), ResourceStatusReason: optional(r.Reason), LastUpdatedTimestamp: timeOf(r.Updated), Metadata: metadata, DriftInformation: notChecked(),
	}}, nil
}

func notChecked() *cloudformation.StackResourceDriftInformation {
	return &cloudformation.StackResourceDriftInformation{StackResourceDriftStatus: new(cloudformation.StackResourceDriftStatusNotChecked)}
}

// DescribeStackResources returns the resources of a stack, or of the stack that has one with a physical id.
func (s *Stacks) DescribeStackResources(ctx context.Context, in *cloudformation.DescribeStackResourcesInput) (*cloudformation.DescribeStackResourcesOutput, error) {
	st, err := s.stackOf(ctx, in)
	if err != nil {
		return nil, err
	}
	all, err := s.shown(ctx, st)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeStackResourcesOutput{StackResources: []cloudformation.StackResource{}}
	// AWS: at most 100 are returned; ListStackResources has them all.
	for _, r := range all[:min(len(all), pageSize)] {
		if in.LogicalResourceId != nil && *in.LogicalResourceId != r.LogicalID {
			continue
		}
		out.StackResources = append(out.StackResources, cloudformation.StackResource{
			StackId: new(st.ARN()), StackName: new(st.Name), LogicalResourceId: new(r.LogicalID), PhysicalResourceId: optional(r.PhysicalID), ResourceType: new(r.Type),
			ResourceStatus: new(string(r.Status)), ResourceStatusReason: optional(r.Reason), Timestamp: timeOf(r.Updated), DriftInformation: notChecked(),
		})
	}
	if in.LogicalResourceId != nil && len(out.StackResources) == 0 {
		return nil, errNoResource(st, *in.LogicalResourceId)
	}
	return out, nil
}

func (s *Stacks) stackOf(ctx context.Context, in *cloudformation.DescribeStackResourcesInput) (*Stack, error) {
	physical := text(in.PhysicalResourceId)
	switch {
	case text(in.StackName) != "" && physical != "":
		return nil, invalid("Specify either StackName or PhysicalResourceId, not both.")
	case text(in.StackName) != "":
		return s.found(ctx, in.StackName)
	case physical == "":
		return nil, invalid("At least one of StackName or PhysicalResourceId must be specified.")
	}
	c := awsapi.CallerFrom(ctx)
	id, err := selectOwner(ctx, s.db, c.Account, c.Region, physical)
	if err != nil {
		return nil, err
	}
	st, found, err := s.selectStackByNumber(ctx, s.db, id)
	if err == nil && !found {
		err = invalid("Stack for %s does not exist", physical)
	}
	return st, err
}

// ListStackResources lists the resources of a stack.
func (s *Stacks) ListStackResources(ctx context.Context, in *cloudformation.ListStackResourcesInput) (*cloudformation.ListStackResourcesOutput, error) {
	st, err := s.found(ctx, in.StackName)
	if err != nil {
		return nil, err
	}
	after, err := readPageToken("resources", in.NextToken)
	if err != nil {
		return nil, err
	}
	all, err := s.shown(ctx, st)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r *Resource) bool { return r.LogicalID <= after })
	out := &cloudformation.ListStackResourcesOutput{StackResourceSummaries: []cloudformation.StackResourceSummary{}}
	if len(all) > pageSize {
		all = all[:pageSize]
		out.NextToken = pageToken("resources", all[pageSize-1].LogicalID)
	}
	for _, r := range all {
		out.StackResourceSummaries = append(out.StackResourceSummaries, cloudformation.StackResourceSummary{
			LogicalResourceId: new(r.LogicalID), PhysicalResourceId: optional(r.PhysicalID), ResourceType: new(r.Type), ResourceStatus: new(string(r.Status)),
			ResourceStatusReason: optional(r.Reason), LastUpdatedTimestamp: timeOf(r.Updated),
			DriftInformation: &cloudformation.StackResourceDriftInformationSummary{StackResourceDriftStatus: new(cloudformation.StackResourceDriftStatusNotChecked)},
		})
	}
	return out, nil
}

// ListExports lists what the stacks of the account and region export.
func (s *Stacks) ListExports(ctx context.Context, in *cloudformation.ListExportsInput) (*cloudformation.ListExportsOutput, error) {
	after, err := readPageToken("exports", in.NextToken)
	if err != nil {
		return nil, err
	}
	c := awsapi.CallerFrom(ctx)
	list, err := selectExports(ctx, s.db, c.Account, c.Region, after, pageSize+1)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.ListExportsOutput{Exports: []cloudformation.Export{}}
	if len(list) > pageSize {
		list = list[:pageSize]
		out.NextToken = pageToken("exports", list[pageSize-1].name)
	}
	for _, e := range list {
		out.Exports = append(out.Exports, cloudformation.Export{Name: new(e.name), Value: new(e.value), ExportingStackId: new(stackARN(e.stack, e.uuid))})
	}
	return out, nil
}

// ListImports lists the stacks that import an export.
func (s *Stacks) ListImports(ctx context.Context, in *cloudformation.ListImportsInput) (*cloudformation.ListImportsOutput, error) {
	after, err := readPageToken("imports", in.NextToken)
	if err != nil {
		return nil, err
	}
	c := awsapi.CallerFrom(ctx)
	list, err := selectImporters(ctx, s.db, Ref{Account: c.Account, Region: c.Region}, text(in.ExportName), after, pageSize+1)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && after == "" {
		return nil, invalid("Export '%s' is not imported by any stack.", text(in.ExportName))
	}
	out := &cloudformation.ListImportsOutput{Imports: list}
	if len(list) > pageSize {
		out.Imports = list[:pageSize]
		out.NextToken = pageToken("imports", list[pageSize-1])
	}
	return out, nil
}
