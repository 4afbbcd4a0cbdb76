package awsapi_test

import (
	"errors"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	awssts "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// sdkConfig is an SDK configuration for our server.
func sdkConfig(url, key, secret string) aws.Config {
	return aws.Config{
		Region: "eu-west-1", BaseEndpoint: &url, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	}
}

// signedConfigs are the SDK in dev mode and with verified signatures.
func eachMode(t *testing.T, test func(t *testing.T, cfg aws.Config, r *recorder)) {
	t.Run("dev mode", func(t *testing.T) {
		url, r := serve(t, awsapi.Config{DevMode: dev})
		test(t, sdkConfig(url, "123456789012", "anything"), r)
	})
	t.Run("verified", func(t *testing.T) {
		keys := keyring{"AKIDEXAMPLE": {Secret: "s3cr3t", Principal: awsapi.Principal{KeyID: "AKIDEXAMPLE", Account: "123456789012", Role: awsapi.RoleAdmin}}}
		url, r := serve(t, awsapi.Config{Keys: keys})
		test(t, sdkConfig(url, "AKIDEXAMPLE", "s3cr3t"), r)
	})
}

func wantCode(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Fatalf("got %v, want an API error %s", err, code)
	}
	if api.ErrorCode() != code || api.ErrorMessage() != message {
		t.Errorf("got %s: %s\nwant %s: %s", api.ErrorCode(), api.ErrorMessage(), code, message)
	}
}

func TestEventBridgeClient(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg aws.Config, r *recorder) {
		ctx := t.Context()
		client := eventbridge.NewFromConfig(cfg)

		at := time.Date(2026, 5, 6, 7, 8, 9, 250_000_000, time.UTC)
		put, err := client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
			{Source: new("my.app"), DetailType: new("类型 🚌"), Detail: new(`{"a":"\"quoted\" 你好"}`), Resources: []string{"r1", "r2"}, Time: &at},
			{Source: new("my.app"), Resources: []string{}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if len(put.Entries) != 2 || *put.Entries[1].EventId != "id-1" {
			t.Errorf("got %+v", put.Entries)
		}
		want := &events.PutEventsInput{Entries: []events.PutEventsRequestEntry{
			{Source: new("my.app"), DetailType: new("类型 🚌"), Detail: new(`{"a":"\"quoted\" 你好"}`), Resources: []string{"r1", "r2"}, Time: &at},
			{Source: new("my.app"), Resources: []string{}},
		}}
		if diff := cmp.Diff(want, r.in); diff != "" {
			t.Error(diff)
		}
		if r.caller.Account != "123456789012" || r.caller.Region != "eu-west-1" || r.caller.Service != "events" ||
			r.caller.Operation != "PutEvents" || r.caller.Role != awsapi.RoleAdmin || r.caller.RequestID == "" || r.caller.SourceIP != "127.0.0.1" {
			t.Errorf("caller is %+v", r.caller)
		}

		bus, err := client.DescribeEventBus(ctx, &eventbridge.DescribeEventBusInput{})
		if err != nil {
			t.Fatal(err)
		}
		if *bus.Name != "默认 🚌 <default>" || !bus.CreationTime.Equal(testTime) {
			t.Errorf("got %s %s", *bus.Name, bus.CreationTime)
		}
		if _, err := client.DeleteRule(ctx, &eventbridge.DeleteRuleInput{Name: new("r")}); err != nil {
			t.Error(err)
		}
		_, err = client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: new("r")})
		var notFound *ebtypes.ResourceNotFoundException
		if !errors.As(err, &notFound) || notFound.ErrorMessage() != "Rule r does not exist on EventBus default." {
			t.Errorf("got %v", err)
		}
		_, err = client.DescribeRule(ctx, &eventbridge.DescribeRuleInput{Name: new("broken")})
		wantCode(t, err, "InternalException", "The request processing has failed because of an unknown error, exception or failure.")
		_, err = client.ListArchives(ctx, &eventbridge.ListArchivesInput{})
		wantCode(t, err, "UnknownOperationException", "The operation ListArchives of events is not available here.")
		_, err = client.PutRule(ctx, &eventbridge.PutRuleInput{Name: new("!")})
		wantCode(t, err, "ValidationException", `1 validation error detected: Value '!' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+`)
	})
}

func TestSQSClient(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg aws.Config, r *recorder) {
		ctx := t.Context()
		client := awssqs.NewFromConfig(cfg, func(o *awssqs.Options) { o.DisableMessageChecksumValidation = true })
		queue := *cfg.BaseEndpoint + "/123456789012/q"

		_, err := client.SendMessage(ctx, &awssqs.SendMessageInput{
			QueueUrl: &queue, MessageBody: new("你好 🚌"), DelaySeconds: 5,
			MessageAttributes: map[string]sqstypes.MessageAttributeValue{"a.b": {DataType: new("String"), StringValue: new("v")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := &sqs.SendMessageInput{
			QueueUrl: &queue, MessageBody: new("你好 🚌"), DelaySeconds: new(int32(5)),
			MessageAttributes: map[string]sqs.MessageAttributeValue{"a.b": {DataType: new("String"), StringValue: new("v")}},
		}
		if diff := cmp.Diff(want, r.in); diff != "" {
			t.Error(diff)
		}
		got, err := client.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{QueueUrl: &queue})
		if err != nil {
			t.Fatal(err)
		}
		if m := got.Messages[0]; *m.Body != "<b>& 你好 🚌" || string(m.MessageAttributes["n"].BinaryValue) != "\x01\x02\x03" {
			t.Errorf("got %+v", m)
		}
		_, err = client.GetQueueUrl(ctx, &awssqs.GetQueueUrlInput{QueueName: new("none")})
		var missing *sqstypes.QueueDoesNotExist
		if !errors.As(err, &missing) {
			t.Fatalf("got %v", err)
		}
		if missing.ErrorCode() != "AWS.SimpleQueueService.NonExistentQueue" {
			t.Errorf("the query protocol's code is lost: %s", missing.ErrorCode())
		}
		if _, err := client.DeleteQueue(ctx, &awssqs.DeleteQueueInput{QueueUrl: &queue}); err != nil {
			t.Error(err)
		}
		_, err = client.PurgeQueue(ctx, &awssqs.PurgeQueueInput{QueueUrl: &queue})
		wantCode(t, err, "InvalidAction", "The operation PurgeQueue of sqs is not available here.")
	})
}

func TestEC2Client(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg aws.Config, r *recorder) {
		ctx := t.Context()
		client := awsec2.NewFromConfig(cfg)

		run, err := client.RunInstances(ctx, &awsec2.RunInstancesInput{
			MinCount: new(int32(1)), MaxCount: new(int32(2)), ImageId: new("ami-1"), ClientToken: new("token"),
			SecurityGroupIds: []string{"sg-1", "sg-2"}, InstanceType: ec2types.InstanceTypeT3Micro,
			TagSpecifications: []ec2types.TagSpecification{{ResourceType: ec2types.ResourceTypeInstance, Tags: []ec2types.Tag{{Key: new("Name"), Value: new("你好")}}}},
			NetworkInterfaces: []ec2types.InstanceNetworkInterfaceSpecification{{DeviceIndex: new(int32(0)), Groups: []string{"sg-3"}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := &ec2.RunInstancesInput{
			MinCount: new(int32(1)), MaxCount: new(int32(2)), ImageId: new("ami-1"), ClientToken: new("token"),
			SecurityGroupIds: []string{"sg-1", "sg-2"}, InstanceType: new("t3.micro"),
			TagSpecifications: []ec2.TagSpecification{{ResourceType: new("instance"), Tags: []ec2.Tag{{Key: new("Name"), Value: new("你好")}}}},
			NetworkInterfaces: []ec2.InstanceNetworkInterfaceSpecification{{DeviceIndex: new(int32(0)), Groups: []string{"sg-3"}}},
		}
		if diff := cmp.Diff(want, r.in); diff != "" {
			t.Error(diff)
		}
		i := run.Instances[0]
		if *i.InstanceId != "i-1" || i.State.Name != ec2types.InstanceStateNamePending || !i.LaunchTime.Equal(testTime) || *i.Tags[0].Value != "a&b" {
			t.Errorf("got %+v", i)
		}
		list, err := client.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{
			Filters: []ec2types.Filter{{Name: new("tag:Name"), Values: []string{"a", "b"}}}, MaxResults: new(int32(50)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Reservations) != 1 || len(list.Reservations[0].Instances) != 2 || *list.Reservations[0].Instances[0].PublicDnsName != "h" {
			t.Errorf("got %+v", list.Reservations)
		}
		wantIn := &ec2.DescribeInstancesInput{Filters: []ec2.Filter{{Name: new("tag:Name"), Values: []string{"a", "b"}}}, MaxResults: new(int32(50))}
		if diff := cmp.Diff(wantIn, r.in); diff != "" {
			t.Error(diff)
		}
		if _, err := client.CreateTags(ctx, &awsec2.CreateTagsInput{Resources: []string{"i-1"}, Tags: []ec2types.Tag{{Key: new("k"), Value: new("")}}}); err != nil {
			t.Error(err)
		}
		_, err = client.DescribeInstances(ctx, &awsec2.DescribeInstancesInput{InstanceIds: []string{"i-9"}})
		wantCode(t, err, "InvalidInstanceID.NotFound", "The instance ID 'i-9' does not exist")
		_, err = client.DescribeVpcs(ctx, &awsec2.DescribeVpcsInput{})
		wantCode(t, err, "InvalidAction", "The operation DescribeVpcs of ec2 is not available here.")
		_, err = client.RunInstances(ctx, &awsec2.RunInstancesInput{MinCount: new(int32(1)), MaxCount: new(int32(1)), InstanceType: "t99.nano"})
		wantCode(t, err, "InvalidParameterValue", "Invalid value 't99.nano' for InstanceType.")
	})
}

func TestSTSClient(t *testing.T) {
	eachMode(t, func(t *testing.T, cfg aws.Config, _ *recorder) {
		client := awssts.NewFromConfig(cfg)
		got, err := client.GetCallerIdentity(t.Context(), &awssts.GetCallerIdentityInput{})
		if err != nil {
			t.Fatal(err)
		}
		if *got.Account != "123456789012" {
			t.Errorf("account is %s", *got.Account)
		}
		_, err = client.AssumeRole(t.Context(), &awssts.AssumeRoleInput{RoleArn: new("short"), RoleSessionName: new("a b")})
		wantCode(t, err, "ValidationError", "2 validation errors detected: Value 'short' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20; "+
			`Value 'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	})
}
