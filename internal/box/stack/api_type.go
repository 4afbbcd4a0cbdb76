package stack

import (
	"context"
	"errors"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// Types registers and describes resource types; a *resource.Registry.
type Types interface {
	Register(ctx context.Context, account, region, typeName, clientToken string, schema []byte) (token string, err error)
	Describe(ctx context.Context, account, region, name string) (*resource.Description, error)
	Types(ctx context.Context, account, region string, f resource.TypeFilter) (list []resource.Description, more bool, err error)
}

// checkTypeKind refuses the kinds of extensions that there are not.
func checkTypeKind(kind *string) error {
	if kind != nil && *kind != cloudformation.RegistryTypeResource {
		return refused("Type "+*kind, "only resource types can be registered")
	}
	return nil
}

// RegisterType registers a resource type, whose resources are documents.
func (s *Stacks) RegisterType(ctx context.Context, in *cloudformation.RegisterTypeInput) (*cloudformation.RegisterTypeOutput, error) {
	if err := checkTypeKind(in.Type); err != nil {
		return nil, err
	}
	if in.LoggingConfig != nil || text(in.ExecutionRoleArn) != "" {
		return nil, refused("LoggingConfig or ExecutionRoleArn", "registered types have no handlers to run")
	}
	schema, err := resource.ReadPackage(text(in.SchemaHandlerPackage))
	if err != nil {
		return nil, cloudformation.ErrCFNRegistryException("%v", err)
	}
	c := awsapi.CallerFrom(ctx)
	answer := func(token string) *cloudformation.RegisterTypeOutput {
		return &cloudformation.RegisterTypeOutput{RegistrationToken: &token}
	}
	token, err := s.opt.Types.Register(awsapi.AnswersWith(ctx, answer), c.Account, c.Region, text(in.TypeName), text(in.ClientRequestToken), schema)
	if broken, ok := errors.AsType[*resource.SchemaError](err); ok {
		return nil, cloudformation.ErrCFNRegistryException("%v", broken)
	}
	if errors.Is(err, resource.ErrTypeConflict) {
		return nil, cloudformation.ErrCFNRegistryException("%v", err)
	}
	if err != nil {
		return nil, err
	}
	return answer(token), nil
}

// DescribeType describes a resource type, its schema included.
func (s *Stacks) DescribeType(ctx context.Context, in *cloudformation.DescribeTypeInput) (*cloudformation.DescribeTypeOutput, error) {
	if err := checkTypeKind(in.Type); err != nil {
		return nil, err
	}
	if text(in.PublicVersionNumber) != "" {
		return nil, refused("PublicVersionNumber", "public types have one version")
	}
	name, version := text(in.TypeName), text(in.VersionId)
	if text(in.Arn) != "" {
		var ok bool
		if name, version, ok = resource.ParseTypeARN(*in.Arn); !ok {
			return nil, cloudformation.ErrTypeNotFoundException("The type '%s' cannot be found.", *in.Arn)
		}
	}
	if name == "" {
		return nil, invalid("Either the type name and type, or the arn must be specified.")
	}
	c := awsapi.CallerFrom(ctx)
	d, err := s.opt.Types.Describe(ctx, c.Account, c.Region, name)
	if errors.Is(err, resource.ErrNoType) || err == nil && version != "" && version != d.Version {
		return nil, cloudformation.ErrTypeNotFoundException("The type '%s' cannot be found.", name)
	}
	if err != nil {
		return nil, err
	}
	out := &cloudformation.DescribeTypeOutput{
		Arn: new(d.ARN), TypeName: new(d.TypeName), Type: new(cloudformation.RegistryTypeResource), Description: optional(d.Description), Schema: new(d.Schema),
		ProvisioningType: new(d.Provisioning), Visibility: new(cloudformation.VisibilityPrivate), DeprecatedStatus: new(cloudformation.DeprecatedStatusLive),
		DefaultVersionId: optional(d.Version),
	}
	if d.Public {
		out.Visibility, out.IsActivated = new(cloudformation.VisibilityPublic), new(true)
		return out, nil
	}
	out.IsDefaultVersion, out.LastUpdated, out.TimeCreated = new(true), new(d.Updated), new(d.Created)
	return out, nil
}

// ListTypes lists the types registered in the account and region, or those that are built in.
func (s *Stacks) ListTypes(ctx context.Context, in *cloudformation.ListTypesInput) (*cloudformation.ListTypesOutput, error) {
	if err := checkTypeKind(in.Type); err != nil {
		return nil, err
	}
	after, err := readPageToken("types", in.NextToken)
	if err != nil {
		return nil, err
	}
	f := resource.TypeFilter{Public: text(in.Visibility) == cloudformation.VisibilityPublic, After: after, Limit: pageSize}
	if n := value(in.MaxResults); n > 0 {
		f.Limit = min(f.Limit, int(n))
	}
	out := &cloudformation.ListTypesOutput{TypeSummaries: []cloudformation.TypeSummary{}}
	if in.Filters != nil {
		f.Prefix = text(in.Filters.TypeNamePrefix)
		switch text(in.Filters.Category) {
		case cloudformation.CategoryAwsTypes:
			f.Public = true
		case cloudformation.CategoryThirdParty, cloudformation.CategoryActivated:
			return out, nil
		}
	}
	// Nothing here is deprecated.
	if text(in.DeprecatedStatus) == cloudformation.DeprecatedStatusDeprecated {
		return out, nil
	}
	c := awsapi.CallerFrom(ctx)
	list, more, err := s.opt.Types.Types(ctx, c.Account, c.Region, f)
	if err != nil {
		return nil, err
	}
	if more {
		out.NextToken = pageToken("types", list[len(list)-1].TypeName)
	}
	for _, d := range list {
		if in.ProvisioningType != nil && d.Provisioning != "" && d.Provisioning != *in.ProvisioningType {
			continue
		}
		summary := cloudformation.TypeSummary{
			TypeArn: new(d.ARN), TypeName: new(d.TypeName), Type: new(cloudformation.RegistryTypeResource), Description: optional(d.Description), DefaultVersionId: optional(d.Version),
		}
		if d.Public {
			summary.IsActivated = new(true)
		} else {
			summary.LastUpdated = new(d.Updated)
		}
		out.TypeSummaries = append(out.TypeSummaries, summary)
	}
	return out, nil
}
