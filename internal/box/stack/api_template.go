package stack

import (
	"context"
	"errors"
	"slices"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
)

// GetTemplate returns the template of a stack or a change set. What is processed is what was given: there are no transforms.
func (s *Stacks) GetTemplate(ctx context.Context, in *cloudformation.GetTemplateInput) (*cloudformation.GetTemplateOutput, error) {
	var body string
	switch {
	case text(in.ChangeSetName) != "":
		_, cs, err := s.findChangeSet(ctx, s.db, awsapi.CallerFrom(ctx), *in.ChangeSetName, text(in.StackName))
		if err != nil {
			return nil, err
		}
		body = cs.Config.Template
	case text(in.StackName) != "":
		st, err := s.found(ctx, in.StackName)
		if err != nil {
			return nil, err
		}
		body = st.Config.Template
	default:
		return nil, invalid("StackName is required if ChangeSetName is not specified.")
	}
	return &cloudformation.GetTemplateOutput{
		TemplateBody: &body, StagesAvailable: []string{cloudformation.TemplateStageOriginal, cloudformation.TemplateStageProcessed},
	}, nil
}

// ValidateTemplate reads a template and tells what it declares. AWS: types are not looked at.
func (s *Stacks) ValidateTemplate(_ context.Context, in *cloudformation.ValidateTemplateInput) (*cloudformation.ValidateTemplateOutput, error) {
	if err := checkTemplate(in.TemplateBody, in.TemplateURL, false); err != nil {
		return nil, err
	}
	t, err := template.Parse([]byte(*in.TemplateBody))
	if err != nil {
		return nil, templateError(err)
	}
	sum := t.Summary()
	out := &cloudformation.ValidateTemplateOutput{
		Description: optional(sum.Description), Capabilities: sum.Capabilities, CapabilitiesReason: optional(sum.CapabilitiesReason),
		DeclaredTransforms: sum.DeclaredTransforms, Parameters: []cloudformation.TemplateParameter{},
	}
	for _, p := range sum.Parameters {
		out.Parameters = append(out.Parameters, cloudformation.TemplateParameter{
			ParameterKey: new(p.Name), DefaultValue: p.Default, NoEcho: new(p.NoEcho), Description: optional(p.Description),
		})
	}
	return out, nil
}

// GetTemplateSummary tells what a template, or that of a stack, declares.
func (s *Stacks) GetTemplateSummary(ctx context.Context, in *cloudformation.GetTemplateSummaryInput) (*cloudformation.GetTemplateSummaryOutput, error) {
	body, err := s.summarized(ctx, in)
	if err != nil {
		return nil, err
	}
	t, err := template.Parse([]byte(body))
	if err != nil {
		return nil, templateError(err)
	}
	sum := t.Summary()
	out := &cloudformation.GetTemplateSummaryOutput{
		Description: optional(sum.Description), Version: optional(sum.Version), Metadata: optional(sum.Metadata), Capabilities: sum.Capabilities,
		CapabilitiesReason: optional(sum.CapabilitiesReason), DeclaredTransforms: sum.DeclaredTransforms, ResourceTypes: slices.Concat([]string{}, sum.ResourceTypes),
		Parameters: []cloudformation.ParameterDeclaration{},
	}
	for _, p := range sum.Parameters {
		d := cloudformation.ParameterDeclaration{
			ParameterKey: new(p.Name), ParameterType: new(p.Type), DefaultValue: p.Default, NoEcho: new(p.NoEcho), Description: optional(p.Description),
			ParameterConstraints: &cloudformation.ParameterConstraints{AllowedValues: p.AllowedValues},
		}
		out.Parameters = append(out.Parameters, d)
	}
	c := awsapi.CallerFrom(ctx)
	unknown, err := s.unknownTypes(ctx, Ref{Account: c.Account, Region: c.Region}, sum.ResourceTypes)
	if err != nil {
		return nil, err
	}
	if len(unknown) > 0 && (in.TemplateSummaryConfig == nil || !value(in.TemplateSummaryConfig.TreatUnrecognizedResourceTypesAsWarnings)) {
		return nil, errUnknownTypes(unknown)
	}
	if len(unknown) > 0 {
		out.Warnings = &cloudformation.Warnings{UnrecognizedResourceTypes: unknown}
	}
	return out, s.addIdentifiers(ctx, c, sum, out)
}

// summarized is the template that is asked about.
func (s *Stacks) summarized(ctx context.Context, in *cloudformation.GetTemplateSummaryInput) (string, error) {
	given := 0
	for _, v := range []*string{in.StackName, in.StackSetName, in.TemplateBody, in.TemplateURL} {
		if text(v) != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return "", invalid("Specify exactly one of StackName, TemplateBody and TemplateURL.")
	case text(in.StackSetName) != "":
		return "", cloudformation.ErrStackSetNotFoundException("StackSet %s not found: there are no stack sets here.", *in.StackSetName)
	case text(in.CallAs) != "" && *in.CallAs != cloudformation.CallAsSelf:
		return "", refused("CallAs", "there are no delegated administrators")
	case text(in.StackName) != "":
		st, err := s.found(ctx, in.StackName)
		if err != nil {
			return "", err
		}
		return st.Config.Template, nil
	}
	return text(in.TemplateBody), checkTemplate(in.TemplateBody, in.TemplateURL, false)
}

// addIdentifiers names the primary identifiers of the template's types.
func (s *Stacks) addIdentifiers(ctx context.Context, c awsapi.Caller, sum template.Summary, out *cloudformation.GetTemplateSummaryOutput) error {
	for _, name := range sum.ResourceTypes {
		typ, err := s.opt.Registry.Lookup(ctx, c.Account, c.Region, name)
		if err != nil {
			if slices.Contains(value(out.Warnings).UnrecognizedResourceTypes, name) {
				continue
			}
			return errors.Join(err)
		}
		r := cloudformation.ResourceIdentifierSummary{ResourceType: new(name), LogicalResourceIds: sum.Resources[name]}
		for _, p := range typ.Schema.PrimaryIdentifier {
			r.ResourceIdentifiers = append(r.ResourceIdentifiers, p[len(p)-1])
		}
		out.ResourceIdentifierSummaries = append(out.ResourceIdentifierSummaries, r)
	}
	return nil
}
