package function

import (
	"context"
	"encoding/base64"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
)

// maxMappingsListed is AWS's page size of ListEventSourceMappings.
const maxMappingsListed = 100

// reasonUser is AWS's StateTransitionReason of what a caller asked for.
const reasonUser = "USER_INITIATED"

// CreateEventSourceMapping has a function get the messages of a queue.
func (f *Functions) CreateEventSourceMapping(ctx context.Context, in *lambda.CreateEventSourceMappingInput) (*lambda.CreateEventSourceMappingOutput, error) {
	source, err := newSource(in)
	if err != nil {
		return nil, err
	}
	m := &Mapping{Source: source, Enabled: in.Enabled == nil || *in.Enabled}
	if err := f.nameFunction(ctx, m, *in.FunctionName, "lambda:CreateEventSourceMapping"); err != nil {
		return nil, err
	}
	if m.Tags, err = addTags(nil, in.Tags); err != nil {
		return nil, err
	}
	m.settings.Batch = defaultBatch
	m.settings.change(settingsChange{in.BatchSize, in.MaximumBatchingWindowInSeconds, in.ScalingConfig, in.FilterCriteria, in.FunctionResponseTypes})
	out := &lambda.CreateEventSourceMappingOutput{}
	awsapi.Answers(ctx, out)
	err = f.createMapping(ctx, m, func(m *Mapping) { *out = lambda.CreateEventSourceMappingOutput(m.describe()) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// newSource is the queue that a new mapping is of. What is no queue is refused before what only goes with
// it: whoever names a stream is not to hear of its starting position.
func newSource(in *lambda.CreateEventSourceMappingInput) (source queueARN, err error) {
	if in.EventSourceArn != nil {
		if source, err = parseSource(*in.EventSourceArn); err != nil {
			return source, err
		}
	}
	if err := refuseInNewMapping(in); err != nil {
		return source, err
	}
	if in.EventSourceArn == nil {
		return source, errParameter("EventSourceArn is required: an event source is an SQS queue.")
	}
	return source, nil
}

// nameFunction sets the function that a mapping is for, as the request names it.
func (f *Functions) nameFunction(ctx context.Context, m *Mapping, name, action string) (err error) {
	if m.Function, m.Qualifier, err = parseName(ctx, name, ""); err != nil {
		return err
	}
	if m.Function.Account != awsapi.CallerFrom(ctx).Account {
		return f.authorize(ctx, &Function{Ref: m.Function}, action) // AWS: functions of others are not told of
	}
	return nil
}

// settingsChange is what a request says of a mapping's settings; nil leaves what there is.
type settingsChange struct {
	batch, window *int32
	scaling       *lambda.ScalingConfig
	filters       *lambda.FilterCriteria
	responses     []string
}

// change makes the settings what the request says. Empty values take away.
func (s *mappingSettings) change(c settingsChange) {
	if c.batch != nil {
		s.Batch = int(*c.batch)
	}
	if c.window != nil {
		s.Window = int(*c.window)
	}
	if c.scaling != nil {
		s.Concurrency = 0
		if c.scaling.MaximumConcurrency != nil {
			s.Concurrency = int(*c.scaling.MaximumConcurrency)
		}
	}
	if c.filters != nil {
		s.Filters = nil
		for _, filter := range c.filters.Filters {
			s.Filters = append(s.Filters, text(filter.Pattern))
		}
	}
	if c.responses != nil {
		s.ReportFailures = slices.Contains(c.responses, lambda.FunctionResponseTypeReportBatchItemFailures)
	}
}

// GetEventSourceMapping describes a mapping.
func (f *Functions) GetEventSourceMapping(ctx context.Context, in *lambda.GetEventSourceMappingInput) (*lambda.GetEventSourceMappingOutput, error) {
	c := awsapi.CallerFrom(ctx)
	m, err := f.findMapping(ctx, f.db, c.Account, c.Region, *in.UUID)
	if err != nil {
		return nil, err
	}
	return new(lambda.GetEventSourceMappingOutput(m.describe())), nil
}

// UpdateEventSourceMapping changes what the request mentions of a mapping.
func (f *Functions) UpdateEventSourceMapping(ctx context.Context, in *lambda.UpdateEventSourceMappingInput) (*lambda.UpdateEventSourceMappingOutput, error) {
	if err := refuseInMapping(in); err != nil {
		return nil, err
	}
	out := &lambda.UpdateEventSourceMappingOutput{}
	awsapi.Answers(ctx, out)
	c := awsapi.CallerFrom(ctx)
	err := f.updateMapping(ctx, c.Account, c.Region, *in.UUID, func(m *Mapping) error {
		if in.FunctionName != nil {
			if err := f.nameFunction(ctx, m, *in.FunctionName, "lambda:UpdateEventSourceMapping"); err != nil {
				return err
			}
		}
		if in.Enabled != nil {
			m.Enabled = *in.Enabled
		}
		m.settings.change(settingsChange{in.BatchSize, in.MaximumBatchingWindowInSeconds, in.ScalingConfig, in.FilterCriteria, in.FunctionResponseTypes})
		return nil
	}, func(m *Mapping) { *out = lambda.UpdateEventSourceMappingOutput(m.describe()) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteEventSourceMapping deletes a mapping, which it is once batches that run have ended.
func (f *Functions) DeleteEventSourceMapping(ctx context.Context, in *lambda.DeleteEventSourceMappingInput) (*lambda.DeleteEventSourceMappingOutput, error) {
	out := &lambda.DeleteEventSourceMappingOutput{}
	awsapi.Answers(ctx, out)
	c := awsapi.CallerFrom(ctx)
	err := f.deleteMapping(ctx, c.Account, c.Region, *in.UUID, func(m *Mapping) { *out = lambda.DeleteEventSourceMappingOutput(m.describe()) })
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListEventSourceMappings lists the caller's mappings, of a function or a queue if one is named.
func (f *Functions) ListEventSourceMappings(ctx context.Context, in *lambda.ListEventSourceMappingsInput) (*lambda.ListEventSourceMappingsOutput, error) {
	c := awsapi.CallerFrom(ctx)
	out := &lambda.ListEventSourceMappingsOutput{EventSourceMappings: []lambda.EventSourceMappingConfiguration{}}
	after, err := readMappingMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	var function, source string
	if in.FunctionName != nil {
		r, _, err := parseName(ctx, *in.FunctionName, "")
		if err != nil {
			return nil, err
		}
		if r.Account != c.Account {
			return out, nil
		}
		function = r.Name
	}
	if text(in.EventSourceArn) != "" {
		q, ok := parseQueueARN(*in.EventSourceArn)
		if !ok {
			return out, nil // nothing else can be a source
		}
		source = q.String()
	}
	size := maxMappingsListed
	if in.MaxItems != nil {
		size = min(size, int(*in.MaxItems))
	}
	list, err := listMappings(ctx, f.db, c.Account, c.Region, function, source, after, size+1)
	if err != nil {
		return nil, err
	}
	if len(list) > size {
		list = list[:size]
		out.NextMarker = newMarker(list[size-1].UUID)
	}
	for _, m := range list {
		out.EventSourceMappings = append(out.EventSourceMappings, m.describe())
	}
	return out, nil
}

func readMappingMarker(marker *string) (after string, err error) {
	if text(marker) == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(*marker)
	if err != nil || uuid.Validate(string(raw)) != nil {
		return "", errParameter("The marker %q is not one that an earlier page has given.", *marker)
	}
	return string(raw), nil
}

// describe is the mapping as AWS's API has it.
func (m *Mapping) describe() lambda.EventSourceMappingConfiguration {
	s := &m.settings
	out := lambda.EventSourceMappingConfiguration{
		UUID: &m.UUID, EventSourceMappingArn: new(m.ARN()), EventSourceArn: new(m.Source.String()), FunctionArn: new(m.functionARN()),
		BatchSize: new(int32(s.Batch)), MaximumBatchingWindowInSeconds: new(int32(s.Window)), FunctionResponseTypes: []string{},
		State: &m.State, StateTransitionReason: new(reasonUser), LastModified: new(time.UnixMilli(m.Modified).UTC()),
	}
	if s.ReportFailures {
		out.FunctionResponseTypes = []string{lambda.FunctionResponseTypeReportBatchItemFailures}
	}
	if s.Concurrency > 0 {
		out.ScalingConfig = &lambda.ScalingConfig{MaximumConcurrency: new(int32(s.Concurrency))}
	}
	if len(s.Filters) > 0 {
		out.FilterCriteria = &lambda.FilterCriteria{}
		for _, pattern := range s.Filters {
			out.FilterCriteria.Filters = append(out.FilterCriteria.Filters, lambda.Filter{Pattern: &pattern})
		}
	}
	if m.Result != "" {
		out.LastProcessingResult = &m.Result
	}
	return out
}

const forStreams = "it is for streams and not for queues. Leave it out."

// refuseInNewMapping refuses by name what belongs to other sources than queues.
func refuseInNewMapping(in *lambda.CreateEventSourceMappingInput) error {
	return refuse(
		unsupported{"StartingPosition", in.StartingPosition != nil, forStreams},
		unsupported{"StartingPositionTimestamp", in.StartingPositionTimestamp != nil, forStreams},
		unsupported{"Topics", len(in.Topics) > 0, "it is for Kafka and not for SQS queues. Leave it out."},
		unsupported{"Queues", len(in.Queues) > 0, "it is for message brokers: an SQS queue is named by EventSourceArn."},
		unsupported{"SelfManagedEventSource", in.SelfManagedEventSource != nil, "an event source is an SQS queue."},
		unsupportedKafka("AmazonManagedKafkaEventSourceConfig", in.AmazonManagedKafkaEventSourceConfig != nil),
		unsupportedKafka("SelfManagedKafkaEventSourceConfig", in.SelfManagedKafkaEventSourceConfig != nil),
		unsupported{"DocumentDBEventSourceConfig", in.DocumentDBEventSourceConfig != nil, "an event source is an SQS queue."},
		unsupported{"SourceAccessConfigurations", len(in.SourceAccessConfigurations) > 0, "an SQS queue needs none. Leave it out."},
		unsupported{"BisectBatchOnFunctionError", in.BisectBatchOnFunctionError != nil && *in.BisectBatchOnFunctionError, forStreams},
		unsupported{"MaximumRecordAgeInSeconds", in.MaximumRecordAgeInSeconds != nil, forStreams},
		unsupported{"MaximumRetryAttempts", in.MaximumRetryAttempts != nil, "the queue's redrive policy says how often a message is tried. Leave it out."},
		unsupported{"ParallelizationFactor", in.ParallelizationFactor != nil, forStreams},
		unsupported{"TumblingWindowInSeconds", in.TumblingWindowInSeconds != nil && *in.TumblingWindowInSeconds != 0, forStreams},
		unsupportedDestination(in.DestinationConfig), unsupportedMappingKey(in.KMSKeyArn), unsupportedPoller(in.ProvisionedPollerConfig),
		unsupportedMetrics(in.MetricsConfig), unsupportedMappingLogs(in.LoggingConfig),
	)
}

func refuseInMapping(in *lambda.UpdateEventSourceMappingInput) error {
	return refuseInNewMapping(&lambda.CreateEventSourceMappingInput{
		AmazonManagedKafkaEventSourceConfig: in.AmazonManagedKafkaEventSourceConfig, BisectBatchOnFunctionError: in.BisectBatchOnFunctionError,
		DestinationConfig: in.DestinationConfig, DocumentDBEventSourceConfig: in.DocumentDBEventSourceConfig, KMSKeyArn: in.KMSKeyArn,
		LoggingConfig: in.LoggingConfig, MaximumRecordAgeInSeconds: in.MaximumRecordAgeInSeconds, MaximumRetryAttempts: in.MaximumRetryAttempts,
		MetricsConfig: in.MetricsConfig, ParallelizationFactor: in.ParallelizationFactor, ProvisionedPollerConfig: in.ProvisionedPollerConfig,
		SelfManagedKafkaEventSourceConfig: in.SelfManagedKafkaEventSourceConfig, SourceAccessConfigurations: in.SourceAccessConfigurations,
		TumblingWindowInSeconds: in.TumblingWindowInSeconds,
	})
}

func unsupportedKafka(parameter string, asked bool) unsupported {
	return unsupported{parameter, asked, "it is for Kafka and not for SQS queues. Leave it out."}
}

func unsupportedDestination(c *lambda.DestinationConfig) unsupported {
	asked := c != nil && (c.OnFailure != nil && text(c.OnFailure.Destination) != "" || c.OnSuccess != nil && text(c.OnSuccess.Destination) != "")
	return unsupported{"DestinationConfig", asked, "what fails goes where the queue's redrive policy says. Leave it out."}
}

func unsupportedMappingKey(arn *string) unsupported {
	return unsupported{"KMSKeyArn", text(arn) != "", "there are no KMS keys here. Leave it out."}
}

func unsupportedPoller(c *lambda.ProvisionedPollerConfig) unsupported {
	asked := c != nil && (c.MinimumPollers != nil || c.MaximumPollers != nil || text(c.PollerGroupName) != "")
	return unsupported{"ProvisionedPollerConfig", asked, "pollers are not provisioned; ScalingConfig bounds how many batches run at once."}
}

func unsupportedMetrics(c *lambda.EventSourceMappingMetricsConfig) unsupported {
	return unsupported{"MetricsConfig", c != nil && len(c.Metrics) > 0, "the server's metrics are at /metrics. Leave it out."}
}

func unsupportedMappingLogs(c *lambda.EventSourceMappingLoggingConfig) unsupported {
	return unsupported{"LoggingConfig", c != nil, "mappings have no log of their own; LastProcessingResult says how they fare."}
}
