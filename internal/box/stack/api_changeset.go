package stack

import (
	"context"
	"errors"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
)

// CreateChangeSet works out what a change of a stack would do.
func (s *Stacks) CreateChangeSet(ctx context.Context, in *cloudformation.CreateChangeSetInput) (*cloudformation.CreateChangeSetOutput, error) {
	q, err := s.changeSetRequest(awsapi.CallerFrom(ctx), in)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.CreateChangeSetOutput{}
	awsapi.Answers(ctx, out)
	q.answered = func(st *Stack, cs *ChangeSet) { out.Id, out.StackId = new(cs.ARN(st.Ref)), new(st.ARN()) }
	if err := s.createChangeSet(ctx, q); err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Stacks) changeSetRequest(c awsapi.Caller, in *cloudformation.CreateChangeSetInput) (q changeSetRequest, err error) {
	ch, err := newChange(c, change{
		template: text(in.TemplateBody), usePrevious: value(in.UsePreviousTemplate), resourceTypes: in.ResourceTypes, capabilities: in.Capabilities,
		topics: in.NotificationARNs, roleARN: text(in.RoleARN), expanded: true,
	}, in.Parameters, in.Tags)
	if err != nil {
		return q, err
	}
	q = changeSetRequest{
		name: text(in.ChangeSetName), description: text(in.Description), onFailure: text(in.OnStackFailure), kind: text(in.ChangeSetType), stack: text(in.StackName),
		change: ch, token: text(in.ClientToken), digest: digest(in),
	}
	if q.kind == "" {
		q.kind = cloudformation.ChangeSetTypeUpdate
	}
	if q.kind == cloudformation.ChangeSetTypeImport || len(in.ResourcesToImport) > 0 {
		return q, refused("IMPORT", "resources cannot be imported into stacks")
	}
	if value(in.ImportExistingResources) {
		return q, refused("ImportExistingResources", "resources cannot be imported into stacks")
	}
	if in.DeploymentMode != nil {
		return q, refused("DeploymentMode", "drift is not looked for")
	}
	if q.kind == cloudformation.ChangeSetTypeUpdate && q.onFailure != "" && q.onFailure != rollBack {
		return q, invalid("OnStackFailure %s is for change sets that create a stack.", q.onFailure)
	}
	err = errors.Join(s.checkTopics(ch.topics), checkTemplate(in.TemplateBody, in.TemplateURL, ch.usePrevious), checkMonitoring(in.RollbackConfiguration))
	if err != nil {
		return q, first(err)
	}
	return q, nil
}

// DescribeChangeSet returns a change set with a page of its changes.
func (s *Stacks) DescribeChangeSet(ctx context.Context, in *cloudformation.DescribeChangeSetInput) (*cloudformation.DescribeChangeSetOutput, error) {
	if value(in.IncludePropertyValues) {
		return nil, refused("IncludePropertyValues", "change sets here name the properties that change, without their values")
	}
	st, cs, err := s.findChangeSet(ctx, s.db, awsapi.CallerFrom(ctx), text(in.ChangeSetName), text(in.StackName))
	if err != nil {
		return nil, err
	}
	from, err := readNumberToken("changes", in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeChangeSetOutput{
		ChangeSetId: new(cs.ARN(st.Ref)), ChangeSetName: new(cs.Name), StackId: new(st.ARN()), StackName: new(st.Name), Description: optional(cs.Description),
		CreationTime: timeOf(cs.Created), Status: new(cs.Status), StatusReason: optional(cs.Reason), ExecutionStatus: new(cs.Execution),
		Capabilities: cs.Config.Capabilities, NotificationARNs: cs.Config.Topics, Tags: describeTags(cs.Config.Tags), Parameters: describeParameters(cs.Config.Parameters),
		IncludeNestedStacks: new(false), OnStackFailure: optional(cs.OnFailure), RollbackConfiguration: &cloudformation.RollbackConfiguration{},
		Changes: []cloudformation.Change{},
	}
	changes := cs.Changes[min(int(from), len(cs.Changes)):]
	if len(changes) > pageSize {
		changes = changes[:pageSize]
		out.NextToken = numberToken("changes", from+pageSize)
	}
	for i := range changes {
		out.Changes = append(out.Changes, cloudformation.Change{Type: new(cloudformation.ChangeTypeResource), ResourceChange: describeChange(&changes[i])})
	}
	return out, nil
}

func describeChange(c *Change) *cloudformation.ResourceChange {
	rc := &cloudformation.ResourceChange{
		Action: new(c.Action), LogicalResourceId: new(c.LogicalID), PhysicalResourceId: optional(c.PhysicalID), ResourceType: new(c.Type),
		Replacement: optional(c.Replacement), PolicyAction: optional(c.PolicyAction), Scope: append([]string{}, c.Scope...), Details: []cloudformation.ResourceChangeDetail{},
	}
	for _, d := range c.Details {
		rc.Details = append(rc.Details, cloudformation.ResourceChangeDetail{
			Evaluation: new(d.Evaluation), ChangeSource: new(d.Source), CausingEntity: optional(d.Cause),
			Target: &cloudformation.ResourceTargetDefinition{Attribute: new(d.Attribute), Name: optional(d.Name), RequiresRecreation: new(d.Recreation)},
		})
	}
	return rc
}

// ExecuteChangeSet begins what a change set has worked out.
func (s *Stacks) ExecuteChangeSet(ctx context.Context, in *cloudformation.ExecuteChangeSetInput) (*cloudformation.ExecuteChangeSetOutput, error) {
	out := &cloudformation.ExecuteChangeSetOutput{}
	awsapi.Answers(ctx, out)
	err := s.execute(ctx, text(in.ChangeSetName), text(in.StackName), in.DisableRollback, value(in.RetainExceptOnCreate), text(in.ClientRequestToken), digest(in))
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteChangeSet deletes a change set.
func (s *Stacks) DeleteChangeSet(ctx context.Context, in *cloudformation.DeleteChangeSetInput) (*cloudformation.DeleteChangeSetOutput, error) {
	out := &cloudformation.DeleteChangeSetOutput{}
	awsapi.Answers(ctx, out)
	if err := s.dropChangeSet(ctx, text(in.ChangeSetName), text(in.StackName)); err != nil {
		return nil, err
	}
	return out, nil
}

// ListChangeSets lists the change sets of a stack, newest first.
func (s *Stacks) ListChangeSets(ctx context.Context, in *cloudformation.ListChangeSetsInput) (*cloudformation.ListChangeSetsOutput, error) {
	st, err := s.found(ctx, in.StackName)
	if err != nil {
		return nil, bracketed(err, text(in.StackName))
	}
	before, err := readNumberToken("changesets", in.NextToken)
	if err != nil {
		return nil, err
	}
	list, err := s.selectChangeSets(ctx, s.db, st.id, before, pageSize+1)
	if err != nil {
		return nil, err
	}
	out := &cloudformation.ListChangeSetsOutput{Summaries: []cloudformation.ChangeSetSummary{}}
	if len(list) > pageSize {
		list = list[:pageSize]
		out.NextToken = numberToken("changesets", list[pageSize-1].id)
	}
	for _, cs := range list {
		out.Summaries = append(out.Summaries, cloudformation.ChangeSetSummary{
			ChangeSetId: new(cs.ARN(st.Ref)), ChangeSetName: new(cs.Name), StackId: new(st.ARN()), StackName: new(st.Name), Description: optional(cs.Description),
			CreationTime: timeOf(cs.Created), Status: new(cs.Status), StatusReason: optional(cs.Reason), ExecutionStatus: new(cs.Execution), IncludeNestedStacks: new(false),
		})
	}
	return out, nil
}
