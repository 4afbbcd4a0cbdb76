package bus

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
)

// CreateApiDestination creates an API destination.
func (s *service) CreateApiDestination(ctx context.Context, in *events.CreateApiDestinationInput) (*events.CreateApiDestinationOutput, error) {
	answer := func(d APIDestination) *events.CreateApiDestinationOutput {
		return &events.CreateApiDestinationOutput{
			ApiDestinationArn: new(d.ARN()), ApiDestinationState: stateOut(d),
			CreationTime: seconds(d.CreatedAt), LastModifiedTime: seconds(d.ChangedAt),
		}
	}
	d, err := s.buses.CreateAPIDestination(awsapi.AnswersWith(ctx, answer), callerFrom(ctx), str(in.Name), APIDestinationChange{
		Description: in.Description, ConnectionARN: in.ConnectionArn, Endpoint: in.InvocationEndpoint, Method: in.HttpMethod,
		RateLimit: in.InvocationRateLimitPerSecond,
	})
	if err != nil {
		return nil, err
	}
	return answer(d), nil
}

// DescribeApiDestination describes an API destination.
func (s *service) DescribeApiDestination(ctx context.Context, in *events.DescribeApiDestinationInput) (*events.DescribeApiDestinationOutput, error) {
	d, err := s.buses.APIDestination(ctx, callerFrom(ctx), str(in.Name))
	if err != nil {
		return nil, err
	}
	return &events.DescribeApiDestinationOutput{
		ApiDestinationArn: new(d.ARN()), Name: &d.Name, Description: d.Description, ApiDestinationState: stateOut(d),
		ConnectionArn: &d.ConnectionARN, InvocationEndpoint: &d.Endpoint, HttpMethod: &d.Method,
		InvocationRateLimitPerSecond: new(int32(d.RateLimit)),
		CreationTime:                 seconds(d.CreatedAt), LastModifiedTime: seconds(d.ChangedAt),
	}, nil
}

// ListApiDestinations lists the caller's API destinations by name.
func (s *service) ListApiDestinations(ctx context.Context, in *events.ListApiDestinationsInput) (*events.ListApiDestinationsOutput, error) {
	found, next, err := s.buses.ListAPIDestinations(ctx, callerFrom(ctx), str(in.NamePrefix), str(in.ConnectionArn), pageOf(in.Limit, in.NextToken))
	if err != nil {
		return nil, err
	}
	out := &events.ListApiDestinationsOutput{ApiDestinations: make([]events.ApiDestination, len(found)), NextToken: given(next)}
	for i, d := range found {
		out.ApiDestinations[i] = events.ApiDestination{
			ApiDestinationArn: new(d.ARN()), Name: &d.Name, ApiDestinationState: stateOut(d), ConnectionArn: &d.ConnectionARN,
			InvocationEndpoint: &d.Endpoint, HttpMethod: &d.Method, InvocationRateLimitPerSecond: new(int32(d.RateLimit)),
			CreationTime: seconds(d.CreatedAt), LastModifiedTime: seconds(d.ChangedAt),
		}
	}
	return out, nil
}

// UpdateApiDestination changes an API destination.
func (s *service) UpdateApiDestination(ctx context.Context, in *events.UpdateApiDestinationInput) (*events.UpdateApiDestinationOutput, error) {
	answer := func(d APIDestination) *events.UpdateApiDestinationOutput {
		return &events.UpdateApiDestinationOutput{
			ApiDestinationArn: new(d.ARN()), ApiDestinationState: stateOut(d),
			CreationTime: seconds(d.CreatedAt), LastModifiedTime: seconds(d.ChangedAt),
		}
	}
	d, err := s.buses.UpdateAPIDestination(awsapi.AnswersWith(ctx, answer), callerFrom(ctx), str(in.Name), APIDestinationChange{
		Description: in.Description, ConnectionARN: in.ConnectionArn, Endpoint: in.InvocationEndpoint, Method: in.HttpMethod,
		RateLimit: in.InvocationRateLimitPerSecond,
	})
	if err != nil {
		return nil, err
	}
	return answer(d), nil
}

// DeleteApiDestination deletes an API destination.
func (s *service) DeleteApiDestination(ctx context.Context, in *events.DeleteApiDestinationInput) (*events.DeleteApiDestinationOutput, error) {
	return &events.DeleteApiDestinationOutput{}, s.buses.DeleteAPIDestination(ctx, callerFrom(ctx), str(in.Name))
}

func stateOut(d APIDestination) *string {
	if d.Active {
		return new(events.ApiDestinationStateActive)
	}
	return new(events.ApiDestinationStateInactive)
}
