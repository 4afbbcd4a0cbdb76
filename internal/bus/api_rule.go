package bus

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/event"
)

// PutRule creates or replaces a rule.
func (s *service) PutRule(ctx context.Context, in *events.PutRuleInput) (*events.PutRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "PutRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	if in.ScheduleExpression != nil && ref.Name != event.DefaultBus {
		return nil, awsapi.ValidationException("ScheduleExpression is supported only on the default event bus.")
	}
	if err := refuseGiven(parameter{"ScheduleExpression", str(in.ScheduleExpression) != ""}); err != nil {
		return nil, err
	}
	r := Rule{
		Bus: ref, Name: str(in.Name), Pattern: str(in.EventPattern), Description: in.Description,
		RoleARN: str(in.RoleArn), State: RuleState(str(in.State)), CreatedBy: callerFrom(ctx).Account,
	}
	arn, err := s.buses.PutRule(ctx, r, tagsIn(in.Tags))
	if err != nil {
		return nil, err
	}
	return &events.PutRuleOutput{RuleArn: &arn}, nil
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
		Name: &r.Name, Arn: new(r.ARN()), EventPattern: given(r.Pattern), State: new(string(r.State)), Description: r.Description,
		RoleArn: given(r.RoleARN), EventBusName: &r.Bus.Name, CreatedBy: &r.CreatedBy,
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
			Name: &r.Name, Arn: new(r.ARN()), EventPattern: given(r.Pattern), State: new(string(r.State)), Description: r.Description,
			RoleArn: given(r.RoleARN), EventBusName: &r.Bus.Name,
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

// DeleteRule deletes a rule without targets. Force is for rules that AWS
// services manage, of which there are none here.
func (s *service) DeleteRule(ctx context.Context, in *events.DeleteRuleInput) (*events.DeleteRuleOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "DeleteRule", str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.DeleteRuleOutput{}, s.buses.DeleteRule(ctx, ref, str(in.Name))
}

// PutTargets adds or replaces targets of a rule.
func (s *service) PutTargets(ctx context.Context, in *events.PutTargetsInput) (*events.PutTargetsOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "PutTargets", str(in.Rule))
	if err != nil {
		return nil, err
	}
	targets := make([]RuleTarget, len(in.Targets))
	for i := range in.Targets {
		if targets[i], err = targetIn(&in.Targets[i]); err != nil {
			return nil, err
		}
	}
	if err := s.buses.PutTargets(ctx, ref, str(in.Rule), targets); err != nil {
		return nil, err
	}
	return &events.PutTargetsOutput{FailedEntryCount: new(int32), FailedEntries: []events.PutTargetsResultEntry{}}, nil
}

func targetIn(t *events.Target) (RuleTarget, error) {
	if err := refuseInput(t); err != nil {
		return RuleTarget{}, err
	}
	out := RuleTarget{ID: str(t.Id), ARN: str(t.Arn), RoleARN: str(t.RoleArn)}
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
	return out, nil
}

// refuseInput refuses the members of a target that are not honoured.
func refuseInput(t *events.Target) error {
	modes := 0
	for _, has := range []bool{t.Input != nil, t.InputPath != nil, t.InputTransformer != nil} {
		if has {
			modes++
		}
	}
	if modes > 1 {
		return awsapi.ValidationException("Only one of Input, InputPath, or InputTransformer must be provided for target %s.", str(t.Id))
	}
	for _, p := range []parameter{
		{"Input", t.Input != nil}, {"InputPath", t.InputPath != nil}, {"InputTransformer", t.InputTransformer != nil},
		{"KinesisParameters", t.KinesisParameters != nil}, {"EcsParameters", t.EcsParameters != nil},
		{"BatchParameters", t.BatchParameters != nil}, {"RunCommandParameters", t.RunCommandParameters != nil},
		{"RedshiftDataParameters", t.RedshiftDataParameters != nil},
		{"SageMakerPipelineParameters", t.SageMakerPipelineParameters != nil}, {"AppSyncParameters", t.AppSyncParameters != nil},
	} {
		if p.given {
			return notServed(p.name, str(t.Id))
		}
	}
	return nil
}

// RemoveTargets removes targets of a rule.
func (s *service) RemoveTargets(ctx context.Context, in *events.RemoveTargetsInput) (*events.RemoveTargetsOutput, error) {
	ref, err := s.busFor(ctx, in.EventBusName, "RemoveTargets", str(in.Rule))
	if err != nil {
		return nil, err
	}
	if err := s.buses.RemoveTargets(ctx, ref, str(in.Rule), in.Ids); err != nil {
		return nil, err
	}
	return &events.RemoveTargetsOutput{FailedEntryCount: new(int32), FailedEntries: []events.RemoveTargetsResultEntry{}}, nil
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
	out := events.Target{Id: &t.ID, Arn: &t.ARN, RoleArn: given(t.RoleARN)}
	if p := t.HTTPParameters; p != nil {
		out.HttpParameters = &events.HttpParameters{PathParameterValues: p.Path, HeaderParameters: p.Headers, QueryStringParameters: p.Query}
	}
	if t.MessageGroupID != "" {
		out.SqsParameters = &events.SqsParameters{MessageGroupId: &t.MessageGroupID}
	}
	if t.HasRetryPolicy {
		out.RetryPolicy = &events.RetryPolicy{MaximumRetryAttempts: t.MaximumRetryAttempts, MaximumEventAgeInSeconds: t.MaximumEventAgeSeconds}
	}
	if t.DeadLetterARN != "" {
		out.DeadLetterConfig = &events.DeadLetterConfig{Arn: &t.DeadLetterARN}
	}
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
