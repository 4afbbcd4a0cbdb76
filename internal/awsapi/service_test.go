package awsapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

// recorder keeps what a Service was called with, for the tests to look at.
type recorder struct {
	caller awsapi.Caller
	in     any
}

func (r *recorder) record(ctx context.Context, in any) {
	r.caller, r.in = awsapi.CallerFrom(ctx), in
}

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

type eventsService struct {
	events.Unimplemented
	*recorder
}

func (s eventsService) PutEvents(ctx context.Context, in *events.PutEventsInput) (*events.PutEventsOutput, error) {
	s.record(ctx, in)
	out := &events.PutEventsOutput{FailedEntryCount: new(int32(0))}
	for i := range in.Entries {
		out.Entries = append(out.Entries, events.PutEventsResultEntry{EventId: new(fmt.Sprintf("id-%d", i))})
	}
	return out, nil
}

func (s eventsService) PutRule(ctx context.Context, in *events.PutRuleInput) (*events.PutRuleOutput, error) {
	s.record(ctx, in)
	c := awsapi.CallerFrom(ctx)
	return &events.PutRuleOutput{RuleArn: new("arn:aws:events:" + c.Region + ":" + c.Account + ":rule/" + *in.Name)}, nil
}

func (s eventsService) DescribeRule(ctx context.Context, in *events.DescribeRuleInput) (*events.DescribeRuleOutput, error) {
	switch *in.Name {
	case "broken":
		return nil, errors.New("disk 7 is on fire")
	case "panics":
		panic("unexpected")
	}
	return nil, fmt.Errorf("describe rule: %w", events.ErrResourceNotFoundException("Rule %s does not exist on EventBus %s.", *in.Name, "default"))
}

func (s eventsService) DeleteRule(ctx context.Context, in *events.DeleteRuleInput) (*events.DeleteRuleOutput, error) {
	s.record(ctx, in)
	return nil, nil
}

func (s eventsService) PutTargets(ctx context.Context, in *events.PutTargetsInput) (*events.PutTargetsOutput, error) {
	s.record(ctx, in)
	return &events.PutTargetsOutput{FailedEntryCount: new(int32(0)), FailedEntries: []events.PutTargetsResultEntry{}}, nil
}

func (s eventsService) DescribeEventBus(ctx context.Context, in *events.DescribeEventBusInput) (*events.DescribeEventBusOutput, error) {
	s.record(ctx, in)
	return &events.DescribeEventBusOutput{Name: new("默认 🚌 <default>"), CreationTime: &testTime}, nil
}

type sqsService struct {
	sqs.Unimplemented
	*recorder
}

func (s sqsService) CreateQueue(ctx context.Context, in *sqs.CreateQueueInput) (*sqs.CreateQueueOutput, error) {
	s.record(ctx, in)
	return &sqs.CreateQueueOutput{QueueUrl: new("http://localhost/000000000000/" + *in.QueueName)}, nil
}

func (s sqsService) GetQueueUrl(context.Context, *sqs.GetQueueUrlInput) (*sqs.GetQueueUrlOutput, error) {
	return nil, sqs.ErrQueueDoesNotExist("The specified queue does not exist.")
}

func (s sqsService) GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput) (*sqs.GetQueueAttributesOutput, error) {
	s.record(ctx, in)
	return &sqs.GetQueueAttributesOutput{Attributes: map[string]string{"VisibilityTimeout": "30", "DelaySeconds": "0"}}, nil
}

func (s sqsService) SendMessage(ctx context.Context, in *sqs.SendMessageInput) (*sqs.SendMessageOutput, error) {
	s.record(ctx, in)
	return &sqs.SendMessageOutput{MessageId: new("m-1")}, nil
}

func (s sqsService) SendMessageBatch(ctx context.Context, in *sqs.SendMessageBatchInput) (*sqs.SendMessageBatchOutput, error) {
	s.record(ctx, in)
	out := &sqs.SendMessageBatchOutput{Failed: []sqs.BatchResultErrorEntry{}}
	for _, e := range in.Entries {
		out.Successful = append(out.Successful, sqs.SendMessageBatchResultEntry{Id: e.Id, MessageId: new("m-" + *e.Id), MD5OfMessageBody: new("")})
	}
	return out, nil
}

func (s sqsService) ReceiveMessage(ctx context.Context, in *sqs.ReceiveMessageInput) (*sqs.ReceiveMessageOutput, error) {
	s.record(ctx, in)
	return &sqs.ReceiveMessageOutput{Messages: []sqs.Message{{
		MessageId: new("m-1"), Body: new("<b>& 你好 🚌"), Attributes: map[string]string{"SentTimestamp": "1"},
		MessageAttributes: map[string]sqs.MessageAttributeValue{
			"n": {DataType: new("Binary"), BinaryValue: []byte{1, 2, 3}},
		},
	}}}, nil
}

func (s sqsService) DeleteQueue(ctx context.Context, in *sqs.DeleteQueueInput) (*sqs.DeleteQueueOutput, error) {
	if strings.HasSuffix(*in.QueueUrl, "/busy") {
		return nil, sqs.ErrOverLimit("Slow down.")
	}
	s.record(ctx, in)
	return &sqs.DeleteQueueOutput{}, nil
}

type ec2Service struct {
	ec2.Unimplemented
	*recorder
}

func (s ec2Service) RunInstances(ctx context.Context, in *ec2.RunInstancesInput) (*ec2.RunInstancesOutput, error) {
	s.record(ctx, in)
	return &ec2.RunInstancesOutput{ReservationId: new("r-1"), Instances: []ec2.Instance{{
		InstanceId: new("i-1"), State: &ec2.InstanceState{Code: new(int32(0)), Name: new(ec2.InstanceStateNamePending)}, LaunchTime: &testTime,
		Tags: []ec2.Tag{{Key: new("Name"), Value: new("a&b")}},
	}}}, nil
}

func (s ec2Service) DescribeInstances(ctx context.Context, in *ec2.DescribeInstancesInput) (*ec2.DescribeInstancesOutput, error) {
	s.record(ctx, in)
	if len(in.InstanceIds) > 0 {
		return nil, awsapi.Errorf("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", in.InstanceIds[0])
	}
	return &ec2.DescribeInstancesOutput{Reservations: []ec2.Reservation{{
		ReservationId: new("r-1"), Instances: []ec2.Instance{{InstanceId: new("i-1"), PublicDnsName: new("h")}, {InstanceId: new("i-2")}},
	}}}, nil
}

func (s ec2Service) CreateTags(ctx context.Context, in *ec2.CreateTagsInput) (*ec2.CreateTagsOutput, error) {
	s.record(ctx, in)
	return &ec2.CreateTagsOutput{}, nil
}

type stsService struct {
	sts.Unimplemented
	*recorder
}

func (s stsService) GetCallerIdentity(ctx context.Context, in *sts.GetCallerIdentityInput) (*sts.GetCallerIdentityOutput, error) {
	s.record(ctx, in)
	c := awsapi.CallerFrom(ctx)
	return &sts.GetCallerIdentityOutput{Account: &c.Account, Arn: new("arn:aws:iam::" + c.Account + ":user/" + c.AccessKeyID), UserId: &c.AccessKeyID}, nil
}

// keyring is a Keys for tests.
type keyring map[string]awsapi.Credential

func (k keyring) Lookup(_ context.Context, id string) (awsapi.Credential, error) {
	c, ok := k[id]
	if !ok {
		return awsapi.Credential{}, fmt.Errorf("key %s: %w", id, awsapi.ErrUnknownKey)
	}
	return c, nil
}

func dev(context.Context) bool { return true }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// newHandler registers the test services; what they are called with is in the
// recorder.
func newHandler(cfg awsapi.Config) (*awsapi.Handler, *recorder) {
	if cfg.Keys == nil {
		cfg.Keys = keyring{}
	}
	if cfg.Logger == nil {
		cfg.Logger = quiet()
	}
	r := &recorder{}
	h := awsapi.New(cfg)
	h.Register(
		events.Bind(eventsService{recorder: r}), sqs.Bind(sqsService{recorder: r}),
		ec2.Bind(ec2Service{recorder: r}), sts.Bind(stsService{recorder: r}), lambda.Bind(lambdaService{recorder: r}),
	)
	return h, r
}

// serve runs the test services in dev mode, or as cfg says.
func serve(t *testing.T, cfg awsapi.Config) (url string, r *recorder) {
	t.Helper()
	h, r := newHandler(cfg)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !awsapi.IsAWSRequest(req) {
			t.Errorf("%s %s of an AWS client is not taken for an AWS request", req.Method, req.URL)
		}
		h.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL, r
}
