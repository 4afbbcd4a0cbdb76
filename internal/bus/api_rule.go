package bus

import (
	"context"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
)

// PutRule creates or replaces a rule.
func (s *service) PutRule(ctx context.Context, in *events.PutRuleInput) (*events.PutRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "PutRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	r := Rule{
		Bus: ref, Name: str(in.Name), Pattern: str(in.EventPattern), Schedule: str(in.ScheduleExpression), Description: in.Description,
		RoleARN: str(in.RoleArn), State: RuleState(str(in.State)), CreatedBy: callerFrom(ctx).Account,
		blankPattern: blank(in.EventPattern), blankSchedule: blank(in.ScheduleExpression),
	}
	out := &events.PutRuleOutput{RuleArn: new(r.ARN())}
	awsapi.Answers(ctx, out)
	_, err = s.buses.PutRule(ctx, r, tagsIn(in.Tags))
	return out, err
}

// DescribeRule describes a rule.
func (s *service) DescribeRule(ctx context.Context, in *events.DescribeRuleInput) (*events.DescribeRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "DescribeRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	r, err := s.buses.Rule(ctx, ref, str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.DescribeRuleOutput{
		Name: &r.Name, Arn: new(r.ARN()), EventPattern: givenOr(r.Pattern, r.blankPattern), ScheduleExpression: givenOr(r.Schedule, r.blankSchedule),
		State: new(string(r.State)), Description: r.Description, RoleArn: given(r.RoleARN), ManagedBy: given(r.ManagedBy),
		EventBusName: &r.Bus.Name, CreatedBy: &r.CreatedBy,
	}, nil
}

// ListRules lists the rules of a bus by name.
func (s *service) ListRules(ctx context.Context, in *events.ListRulesInput) (*events.ListRulesOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "ListRules", "")
	if err != nil {
		return nil, err
	}
	found, next, err := s.buses.ListRules(ctx, ref, str(in.NamePrefix), pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListRulesOutput{Rules: make([]events.Rule, len(found)), NextToken: given(next)}
	for i, r := range found {
		out.Rules[i] = events.Rule{
			Name: &r.Name, Arn: new(r.ARN()), EventPattern: givenOr(r.Pattern, r.blankPattern), ScheduleExpression: givenOr(r.Schedule, r.blankSchedule),
			State: new(string(r.State)), Description: r.Description, RoleArn: given(r.RoleARN), ManagedBy: given(r.ManagedBy),
			EventBusName: &r.Bus.Name,
		}
	}
	return out, nil
}

// ListRuleNamesByTarget lists the rules of a bus that have a target.
func (s *service) ListRuleNamesByTarget(ctx context.Context, in *events.ListRuleNamesByTargetInput) (*events.ListRuleNamesByTargetOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "ListRuleNamesByTarget", "")
	if err != nil {
		return nil, err
	}
	names, next, err := s.buses.ListRuleNamesByTarget(ctx, ref, str(in.TargetArn), pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	return &events.ListRuleNamesByTargetOutput{RuleNames: append([]string{}, names...), NextToken: given(next)}, nil
}

// EnableRule lets a rule match events.
func (s *service) EnableRule(ctx context.Context, in *events.EnableRuleInput) (*events.EnableRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "EnableRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.EnableRuleOutput{}, s.buses.SetRuleState(ctx, ref, str(in.Name), RuleEnabled)
}

// DisableRule keeps a rule from matching events.
func (s *service) DisableRule(ctx context.Context, in *events.DisableRuleInput) (*events.DisableRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "DisableRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.DisableRuleOutput{}, s.buses.SetRuleState(ctx, ref, str(in.Name), RuleDisabled)
}

// DeleteRule deletes a rule without targets.
func (s *service) DeleteRule(ctx context.Context, in *events.DeleteRuleInput) (*events.DeleteRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "DeleteRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.DeleteRuleOutput{}, s.buses.DeleteRule(ctx, ref, str(in.Name), isTrue(in.Force))
}

// PutTargets adds or replaces targets of a rule.
func (s *service) PutTargets(ctx context.Context, in *events.PutTargetsInput) (*events.PutTargetsOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "PutTargets", str(in.Rule))
	if err != nil {
		return nil, err
	}
	targets := make([]RuleTarget, len(in.Targets))
	for i := range in.Targets {
		targets[i] = targetIn(&in.Targets[i])
	}
	out := &events.PutTargetsOutput{FailedEntryCount: new(int32), FailedEntries: []events.PutTargetsResultEntry{}}
	awsapi.Answers(ctx, out)
	return out, s.buses.PutTargets(ctx, ref, str(in.Rule), targets)
}

func targetIn(t *events.Target) RuleTarget {
	out := RuleTarget{ID: str(t.Id), ARN: str(t.Arn), RoleARN: str(t.RoleArn), Input: inputIn(t), foreign: foreignParameter(t)}
	if p := t.HttpParameters; p != nil {
		out.HTTPParameters = &HTTPParameters{Path: p.PathParameterValues, Headers: p.HeaderParameters, Query: p.QueryStringParameters}
	}
	if t.SqsParameters != nil {
		out.MessageGroupID = str(t.SqsParameters.MessageGroupId)
	}
	if p := t.RetryPolicy; p != nil {
		out.HasRetryPolicy, out.MaximumRetryAttempts, out.MaximumEventAgeSeconds = true, p.MaximumRetryAttempts, p.MaximumEventAgeInSeconds
	}
	if t.DeadLetterConfig != nil {
		out.DeadLetterARN = str(t.DeadLetterConfig.Arn)
	}
	return out
}

func inputIn(t *events.Target) inputtransform.Input {
	in := inputtransform.Input{Text: t.Input, Path: t.InputPath}
	if p := t.InputTransformer; p != nil {
		in.Template = &inputtransform.Template{Paths: p.InputPathsMap, Text: str(p.InputTemplate)}
	}
	return in
}

// foreignParameter names the first parameter for a kind of target that is not
// served; empty if there is none.
func foreignParameter(t *events.Target) string {
	for _, p := range []parameter{
		{"KinesisParameters", t.KinesisParameters != nil}, {"EcsParameters", t.EcsParameters != nil},
		{"BatchParameters", t.BatchParameters != nil}, {"RunCommandParameters", t.RunCommandParameters != nil},
		{"RedshiftDataParameters", t.RedshiftDataParameters != nil},
		{"SageMakerPipelineParameters", t.SageMakerPipelineParameters != nil}, {"AppSyncParameters", t.AppSyncParameters != nil},
	} {
		if p.given {
			return p.name
		}
	}
	return ""
}

// RemoveTargets removes targets of a rule.
func (s *service) RemoveTargets(ctx context.Context, in *events.RemoveTargetsInput) (*events.RemoveTargetsOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "RemoveTargets", str(in.Rule))
	if err != nil {
		return nil, err
	}
	out := &events.RemoveTargetsOutput{FailedEntryCount: new(int32), FailedEntries: []events.RemoveTargetsResultEntry{}}
	awsapi.Answers(ctx, out)
	return out, s.buses.removeTargets(ctx, ref, str(in.Rule), in.Ids, isTrue(in.Force))
}

// ListTargetsByRule lists the targets of a rule as they were put.
func (s *service) ListTargetsByRule(ctx context.Context, in *events.ListTargetsByRuleInput) (*events.ListTargetsByRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "ListTargetsByRule", str(in.Rule))
	if err != nil {
		return nil, err
	}
	found, next, err := s.buses.ListTargets(ctx, ref, str(in.Rule), pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListTargetsByRuleOutput{Targets: make([]events.Target, len(found)), NextToken: given(next)}
	for i, t := range found {
		out.Targets[i] = targetOut(t)
	}
	return out, nil
}

func targetOut(t RuleTarget) events.Target {
	out := events.Target{Id: &t.ID, Arn: &t.ARN, RoleArn: given(t.RoleARN), Input: t.Input.Text, InputPath: t.Input.Path}
	if p := t.Input.Template; p != nil {
		out.InputTransformer = &events.InputTransformer{InputPathsMap: p.Paths, InputTemplate: &p.Text}
	}
	if p := t.HTTPParameters; p != nil {
		out.HttpParameters = &events.HttpParameters{PathParameterValues: p.Path, HeaderParameters: p.Headers, QueryStringParameters: p.Query}
	}
	if t.MessageGroupID != "" {
		out.SqsParameters = &events.SqsParameters{MessageGroupId: &t.MessageGroupID}
	}
	if t.HasRetryPolicy {
		out.RetryPolicy = &events.RetryPolicy{MaximumRetryAttempts: t.MaximumRetryAttempts, MaximumEventAgeInSeconds: t.MaximumEventAgeSeconds}
	}
	out.DeadLetterConfig = deadLettersOut(t.DeadLetterARN)
	return out
}

// TestEventPattern says whether an event matches a pattern.
func (s *service) TestEventPattern(_ context.Context, in *events.TestEventPatternInput) (*events.TestEventPatternOutput, error) {
	pattern, err := compilePattern(str(in.EventPattern))
	if err != nil {
		return nil, err
	}
	if !testable(str(in.Event)) {
		return nil, awsapi.ValidationException("Parameter Event is not valid.")
	}
	matched, err := pattern.Match([]byte(str(in.Event)))
	if err != nil {
		return nil, awsapi.ValidationException("Parameter Event is not valid.")
	}
	return &events.TestEventPatternOutput{Result: &matched}, nil
}
