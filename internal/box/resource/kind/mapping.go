package kind

import (
	"context"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// mapping is AWS::Lambda::EventSourceMapping, by its UUID.
type mapping struct{ api }

// mappingUpdatable are the properties that can be changed, by the names that Lambda has for them, too.
var mappingUpdatable = []string{
	"FunctionName", "Enabled", "BatchSize", "MaximumBatchingWindowInSeconds", "FilterCriteria", "FunctionResponseTypes", "ScalingConfig",
	"MaximumRetryAttempts", "MaximumRecordAgeInSeconds", "BisectBatchOnFunctionError", "DestinationConfig", "ParallelizationFactor",
	"TumblingWindowInSeconds", "SourceAccessConfigurations", "DocumentDBEventSourceConfig", "MetricsConfig", "LoggingConfig",
	"ProvisionedPollerConfig", "AmazonManagedKafkaEventSourceConfig", "SelfManagedKafkaEventSourceConfig",
}

// mappingFixed are the others.
var mappingFixed = []string{"EventSourceArn", "StartingPosition", "StartingPositionTimestamp", "Topics", "Queues", "SelfManagedEventSource"}

// mappingDefaults are what AWS has where nothing is said.
var mappingDefaults = resource.Model{"Enabled": true, "BatchSize": "10", "MaximumBatchingWindowInSeconds": "0"}

// Create makes the mapping and waits until it is what it is to be. A function has a source once.
func (h mapping) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	in := &lambda.CreateEventSourceMappingInput{}
	if err := shape("", pick(r.Desired, slices.Concat(mappingUpdatable, mappingFixed)...), in); err != nil {
		return nil, err
	}
	in.KMSKeyArn = given(r.Desired["KmsKeyArn"])
	var err error
	if in.Tags, err = tagsOf(r.Desired); err != nil {
		return nil, err
	}
	if r.Again {
		have, err := h.find(ctx, r)
		if have != nil || err != nil {
			return have, err
		}
	}
	out, err := call[lambda.CreateEventSourceMappingOutput](ctx, h.api, r, "lambda", "CreateEventSourceMapping", in)
	if err != nil {
		return nil, asExisting(err)
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, *out.UUID) })
	if err := h.settled(ctx, r, *out.UUID); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, *out.UUID)
}

// find returns the mapping that a create that was cut off left; nil if there is none.
func (h mapping) find(ctx context.Context, r resource.Request) (resource.Model, error) {
	in := &lambda.ListEventSourceMappingsInput{FunctionName: given(r.Desired["FunctionName"]), EventSourceArn: given(r.Desired["EventSourceArn"])}
	out, err := call[lambda.ListEventSourceMappingsOutput](ctx, h.api, r, "lambda", "ListEventSourceMappings", in)
	if is(err, resource.NotFound) {
		return nil, nil
	}
	if err != nil || len(out.EventSourceMappings) == 0 {
		return nil, err
	}
	id := *out.EventSourceMappings[0].UUID
	if err := h.settled(ctx, r, id); err != nil {
		return nil, err
	}
	have, err := h.read(ctx, r, id)
	if err != nil {
		return nil, err
	}
	properties := slices.Concat([]string{"EventSourceArn", "Tags"}, mappingUpdatable[1:])
	if !ours(r.Desired, have, mappingDefaults, properties, nil) {
		return nil, exists("AWS::Lambda::EventSourceMapping", id)
	}
	return have, nil
}

func (h mapping) get(ctx context.Context, r resource.Request, id string) (*lambda.GetEventSourceMappingOutput, error) {
	return call[lambda.GetEventSourceMappingOutput](ctx, h.api, r, "lambda", "GetEventSourceMapping", &lambda.GetEventSourceMappingInput{UUID: &id})
}

// passing are the states of a mapping that another one follows.
var passing = map[string]bool{"Creating": true, "Enabling": true, "Disabling": true, "Updating": true, "Deleting": true}

// settled waits until the mapping stays as it is.
func (h mapping) settled(ctx context.Context, r resource.Request, id string) error {
	return until(ctx, func() (bool, string, error) {
		have, err := h.get(ctx, r, id)
		if err != nil {
			return false, "", err
		}
		return !passing[str(have.State)], "The mapping " + id + " is " + str(have.State) + ". " + str(have.StateTransitionReason), nil
	})
}

// Read returns the mapping with its tags.
func (h mapping) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h mapping) read(ctx context.Context, r resource.Request, id string) (resource.Model, error) {
	have, err := h.get(ctx, r, id)
	if err != nil {
		return nil, err
	}
	all, _ := value(have).(map[string]any)
	m := pick(all, slices.Concat(mappingUpdatable[1:], mappingFixed)...)
	for name, v := range m {
		if none(v) {
			delete(m, name)
		}
	}
	put(m, "Id", have.UUID)
	put(m, "EventSourceMappingArn", have.EventSourceMappingArn)
	put(m, "KmsKeyArn", have.KMSKeyArn)
	put(m, "FunctionName", functionNamed(r, str(have.FunctionArn)))
	m["Enabled"] = str(have.State) != "Disabled" && str(have.State) != "Disabling"
	tags, err := h.lambdaTags(ctx, r, *have.EventSourceMappingArn)
	if err != nil {
		return nil, err
	}
	put(m, "Tags", tagList(tags))
	return m, nil
}

// functionNamed is the name of a function of the caller's account and region, what Ref gives for it; the ARN of
// others.
func functionNamed(r resource.Request, arn string) string {
	return strings.TrimPrefix(arn, ownARN(r, "lambda", "function:"))
}

// Update changes what is asked for and waits until the mapping is what it is to be. What the model no longer has gets
// AWS's default.
func (h mapping) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	id := r.Identifier
	have, err := h.get(ctx, r, id)
	if err != nil {
		return nil, err
	}
	var undo undo
	if changed(r, "KmsKeyArn") || anyChanged(r, mappingUpdatable...) {
		if err := h.update(ctx, r, id); err != nil {
			return nil, err
		}
		undo.add(func(ctx context.Context) error { return h.update(ctx, back(r), id) })
	}
	if err := h.retagLambda(ctx, r, *have.EventSourceMappingArn); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, id)
}

func (h mapping) update(ctx context.Context, r resource.Request, id string) error {
	if err := h.settled(ctx, r, id); err != nil {
		return err
	}
	in := &lambda.UpdateEventSourceMappingInput{}
	wanted := map[string]any{}
	for _, p := range mappingUpdatable {
		switch {
		case !changed(r, p):
		case r.Desired[p] != nil:
			wanted[p] = r.Desired[p]
		case p == "FilterCriteria":
			wanted[p] = map[string]any{"Filters": []any{}}
		case p == "FunctionResponseTypes":
			wanted[p] = []any{}
		case p == "ScalingConfig":
			wanted[p] = map[string]any{}
		case mappingDefaults[p] != nil:
			wanted[p] = mappingDefaults[p]
		}
	}
	if err := shape("", wanted, in); err != nil {
		return err
	}
	in.UUID, in.KMSKeyArn = &id, given(r.Desired["KmsKeyArn"])
	if _, err := call[lambda.UpdateEventSourceMappingOutput](ctx, h.api, r, "lambda", "UpdateEventSourceMapping", in); err != nil {
		return err
	}
	return h.settled(ctx, r, id)
}

// Delete deletes the mapping and waits until it is gone.
func (h mapping) Delete(ctx context.Context, r resource.Request) error {
	return gone(r, h.remove(ctx, r, r.Identifier))
}

func (h mapping) remove(ctx context.Context, r resource.Request, id string) error {
	if _, err := h.get(ctx, r, id); err != nil {
		return err
	}
	in := &lambda.DeleteEventSourceMappingInput{UUID: &id}
	_, err := call[lambda.DeleteEventSourceMappingOutput](ctx, h.api, r, "lambda", "DeleteEventSourceMapping", in)
	if err != nil && !is(err, resource.ResourceConflict) { // an earlier try may have begun
		return err
	}
	return until(ctx, func() (bool, string, error) {
		have, err := h.get(ctx, r, id)
		if is(err, resource.NotFound) {
			return true, "", nil
		}
		if err != nil {
			return false, "", err
		}
		return false, "The mapping " + id + " is " + str(have.State) + ".", nil
	})
}

// List lists the mappings.
func (h mapping) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	in := &lambda.ListEventSourceMappingsInput{MaxItems: pageSize(r, maxPage), Marker: pageToken(r)}
	out, err := call[lambda.ListEventSourceMappingsOutput](ctx, h.api, r, "lambda", "ListEventSourceMappings", in)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, have := range out.EventSourceMappings {
		models = append(models, resource.Model{"Id": *have.UUID})
	}
	return models, str(out.NextMarker), nil
}
