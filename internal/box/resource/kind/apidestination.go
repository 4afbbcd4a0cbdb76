package kind

import (
	"context"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// apiDestination is AWS::Events::ApiDestination, by its name.
type apiDestination struct{ api }

// destinationProperties are what the API calls by the same names.
var destinationProperties = []string{"Description", "ConnectionArn", "InvocationEndpoint", "HttpMethod", "InvocationRateLimitPerSecond"}

// defaultRate is the rate limit of an API destination that is given none. AWS: 300.
const defaultRate = 300

// Create makes the API destination.
func (h apiDestination) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := nameOf(r, "Name", "ApiDestination")
	in := &events.CreateApiDestinationInput{}
	if err := shape("", pick(r.Desired, destinationProperties...), in); err != nil {
		return nil, err
	}
	in.Name = &name
	_, err := call[events.CreateApiDestinationOutput](ctx, h.api, r, "events", "CreateApiDestination", in)
	if err != nil && !(r.Again && is(err, resource.AlreadyExists)) {
		return nil, err
	}
	have, errRead := h.read(ctx, r, name)
	if errRead != nil {
		return nil, errRead
	}
	defaults := resource.Model{"InvocationRateLimitPerSecond": defaultRate}
	if err != nil && !ours(r.Desired, have, defaults, destinationProperties, nil) {
		return nil, err
	}
	return have, nil
}

// Read describes the API destination.
func (h apiDestination) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h apiDestination) read(ctx context.Context, r resource.Request, name string) (resource.Model, error) {
	have, err := call[events.DescribeApiDestinationOutput](ctx, h.api, r, "events", "DescribeApiDestination", &events.DescribeApiDestinationInput{Name: &name})
	if err != nil {
		return nil, err
	}
	m := resource.Model{"ArnForPolicy": forPolicy(*have.ApiDestinationArn)}
	put(m, "Name", have.Name)
	put(m, "Arn", have.ApiDestinationArn)
	put(m, "Description", have.Description)
	put(m, "ConnectionArn", have.ConnectionArn)
	put(m, "InvocationEndpoint", have.InvocationEndpoint)
	put(m, "HttpMethod", have.HttpMethod)
	put(m, "InvocationRateLimitPerSecond", have.InvocationRateLimitPerSecond)
	return m, nil
}

// Update changes the API destination.
func (h apiDestination) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	in := &events.UpdateApiDestinationInput{}
	if err := shape("", pick(r.Desired, destinationProperties...), in); err != nil {
		return nil, err
	}
	in.Name = &r.Identifier
	if removed(r, "Description") {
		in.Description = new("")
	}
	if removed(r, "InvocationRateLimitPerSecond") {
		in.InvocationRateLimitPerSecond = new(int32(defaultRate))
	}
	if _, err := call[events.UpdateApiDestinationOutput](ctx, h.api, r, "events", "UpdateApiDestination", in); err != nil {
		return nil, err
	}
	return h.read(ctx, r, r.Identifier)
}

// Delete deletes the API destination.
func (h apiDestination) Delete(ctx context.Context, r resource.Request) error {
	_, err := call[events.DeleteApiDestinationOutput](ctx, h.api, r, "events", "DeleteApiDestination", &events.DeleteApiDestinationInput{Name: &r.Identifier})
	return gone(r, err)
}

// List lists the API destinations by name.
func (h apiDestination) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &events.ListApiDestinationsInput{Limit: pageSize(r, maxPage), NextToken: pageToken(r)}
	out, err := call[events.ListApiDestinationsOutput](ctx, h.api, r, "events", "ListApiDestinations", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, have := range out.ApiDestinations {
		models = append(models, resource.Model{"Name": *have.Name, "Arn": *have.ApiDestinationArn})
	}
	return models, str(out.NextToken), nil
}
