package cloud

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	logstypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// Services are the services of a real account in one region that targets of
// rules belong to, with the operations that deliveries need; others answer as
// unknown. Each call is one attempt. Errors are the SDK's, and those of EC2.
type Services struct {
	Queues    sqs.Service
	Topics    sns.Service
	LogGroups logs.Service
	Buses     events.Service
	Functions Functions
}

// Services returns the services of an account in a region, or nil for an account
// that is not configured as real. The error is about the account's settings
// (ErrRegion).
func (a *Accounts) Services(ctx context.Context, account, region string) (*Services, error) {
	s, found, err := a.settings(ctx, account)
	if err != nil || !found {
		return nil, err
	}
	if err := s.checkRegion(region); err != nil {
		return nil, err
	}
	c, err := a.realConfig(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("configure account %s: %w", account, err)
	}
	return c.servicesIn(region), nil
}

// SQS returns a client for the queues of an account in a region: AWS's own where
// the account is configured as real, and that of the box where not. Ask again for
// each call: the settings may have changed. Errors are those of EC2.
func (a *Accounts) SQS(ctx context.Context, account, region string) (*awssqs.Client, error) {
	cfg, c, err := a.config(ctx, account, region)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return awssqs.NewFromConfig(cfg), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sqs[region] == nil {
		if len(c.sqs) == maxRegions {
			clear(c.sqs)
		}
		// Kept, since a client remembers how far our clock is off.
		c.sqs[region] = awssqs.NewFromConfig(cfg)
	}
	return c.sqs[region], nil
}

// servicesIn returns the account's services in a region, the same for as long as
// not too many regions are asked for.
func (c *accountConfig) servicesIn(region string) *Services {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.services[region]; s != nil {
		return s
	}
	cfg := c.base.Copy()
	cfg.Region = region
	cfg.Retryer = func() aws.Retryer { return aws.NopRetryer{} }
	s := &Services{
		Queues:    &queues{client: awssqs.NewFromConfig(cfg)},
		Topics:    &topics{client: awssns.NewFromConfig(cfg)},
		LogGroups: &logGroups{client: cloudwatchlogs.NewFromConfig(cfg)},
		Buses:     &buses{client: eventbridge.NewFromConfig(cfg)},
		Functions: Functions{client: lambda.NewFromConfig(cfg)},
	}
	if len(c.services) == maxRegions { // whoever makes targets chooses regions
		clear(c.services)
	}
	c.services[region] = s
	return s
}

type queues struct {
	sqs.Unimplemented
	client *awssqs.Client
}

// SendMessage sends a message whose attributes are texts.
func (q *queues) SendMessage(ctx context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	req := &awssqs.SendMessageInput{
		QueueUrl: in.QueueUrl, MessageBody: in.MessageBody, MessageGroupId: in.MessageGroupId, MessageDeduplicationId: in.MessageDeduplicationId,
		MessageAttributes: map[string]sqstypes.MessageAttributeValue{}, MessageSystemAttributes: map[string]sqstypes.MessageSystemAttributeValue{},
	}
	for name, v := range in.MessageAttributes {
		req.MessageAttributes[name] = sqstypes.MessageAttributeValue{DataType: v.DataType, StringValue: v.StringValue}
	}
	for name, v := range in.MessageSystemAttributes {
		req.MessageSystemAttributes[name] = sqstypes.MessageSystemAttributeValue{DataType: v.DataType, StringValue: v.StringValue}
	}
	out, err := q.client.SendMessage(ctx, req)
	if err != nil {
		return nil, err
	}
	return &sqs.SendMessageOutput{MessageId: out.MessageId, SequenceNumber: out.SequenceNumber}, nil
}

type topics struct {
	sns.Unimplemented
	client *awssns.Client
}

// Publish publishes a message with its subject, without attributes.
func (t *topics) Publish(ctx context.Context, in *sns.PublishInput) (*sns.PublishOutput, error) {
	out, err := t.client.Publish(ctx, &awssns.PublishInput{TopicArn: in.TopicArn, Message: in.Message, Subject: in.Subject})
	if err != nil {
		return nil, err
	}
	return &sns.PublishOutput{MessageId: out.MessageId}, nil
}

type logGroups struct {
	logs.Unimplemented
	client *cloudwatchlogs.Client
}

// CreateLogStream makes a stream.
func (g *logGroups) CreateLogStream(ctx context.Context, in *logs.CreateLogStreamInput) (*logs.CreateLogStreamOutput, error) {
	_, err := g.client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: in.LogGroupName, LogStreamName: in.LogStreamName})
	if err != nil {
		return nil, err
	}
	return &logs.CreateLogStreamOutput{}, nil
}

// PutLogEvents writes events to a stream.
func (g *logGroups) PutLogEvents(ctx context.Context, in *logs.PutLogEventsInput) (*logs.PutLogEventsOutput, error) {
	req := &cloudwatchlogs.PutLogEventsInput{LogGroupName: in.LogGroupName, LogStreamName: in.LogStreamName}
	for _, e := range in.LogEvents {
		req.LogEvents = append(req.LogEvents, logstypes.InputLogEvent{Timestamp: e.Timestamp, Message: e.Message})
	}
	out, err := g.client.PutLogEvents(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := &logs.PutLogEventsOutput{}
	if r := out.RejectedLogEventsInfo; r != nil {
		answer.RejectedLogEventsInfo = &logs.RejectedLogEventsInfo{
			ExpiredLogEventEndIndex: r.ExpiredLogEventEndIndex, TooOldLogEventEndIndex: r.TooOldLogEventEndIndex, TooNewLogEventStartIndex: r.TooNewLogEventStartIndex,
		}
	}
	return answer, nil
}

type buses struct {
	events.Unimplemented
	client *eventbridge.Client
}

// PutEvents puts events on the buses that their entries name.
func (b *buses) PutEvents(ctx context.Context, in *events.PutEventsInput) (*events.PutEventsOutput, error) {
	req := &eventbridge.PutEventsInput{}
	for _, e := range in.Entries {
		req.Entries = append(req.Entries, ebtypes.PutEventsRequestEntry{
			EventBusName: e.EventBusName, Source: e.Source, DetailType: e.DetailType, Detail: e.Detail, Resources: e.Resources, Time: e.Time, TraceHeader: e.TraceHeader,
		})
	}
	out, err := b.client.PutEvents(ctx, req)
	if err != nil {
		return nil, err
	}
	answer := &events.PutEventsOutput{FailedEntryCount: &out.FailedEntryCount}
	for _, e := range out.Entries {
		answer.Entries = append(answer.Entries, events.PutEventsResultEntry{EventId: e.EventId, ErrorCode: e.ErrorCode, ErrorMessage: e.ErrorMessage})
	}
	return answer, nil
}

// Functions are the Lambda functions of an account in a region.
type Functions struct{ client *lambda.Client }

// Invoke hands the event to a function, named by an ARN that may end with a
// version or an alias, and returns nil once Lambda has accepted it.
func (f Functions) Invoke(ctx context.Context, functionARN string, event []byte) error {
	out, err := f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &functionARN, InvocationType: lambdatypes.InvocationTypeEvent, Payload: event})
	if err != nil {
		return err
	}
	if out.StatusCode != http.StatusAccepted {
		return &smithy.DeserializationError{Err: fmt.Errorf("lambda answered an asynchronous invocation with status %d", out.StatusCode)}
	}
	return nil
}
