package awsapi_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

func TestQueryParameters(t *testing.T) {
	tests := []struct {
		name      string
		protocol  awsapi.Protocol
		api       *awsapi.API
		operation string
		form      string
		want      any
	}{
		{"flattened map under another name", awsapi.Query, sqs.API, "CreateQueue",
			"QueueName=q&Attribute.1.Name=DelaySeconds&Attribute.1.Value=5&Attribute.2.Name=VisibilityTimeout&Attribute.2.Value=&Tag.1.Key=k&Tag.1.Value=你好",
			&sqs.CreateQueueInput{QueueName: new("q"), Attributes: map[string]string{"DelaySeconds": "5", "VisibilityTimeout": ""}, Tags: map[string]string{"k": "你好"}}},
		{"flattened map under the name of its shape", awsapi.Query, sqs.API, "TagQueue", "QueueUrl=u&Tag.1.Key=k&Tag.1.Value=你好",
			&sqs.TagQueueInput{QueueUrl: new("u"), Tags: map[string]string{"k": "你好"}}},
		{"map entry without a number", awsapi.Query, sqs.API, "SetQueueAttributes", "QueueUrl=u&Attribute.Name=DelaySeconds&Attribute.Value=5",
			&sqs.SetQueueAttributesInput{QueueUrl: new("u"), Attributes: map[string]string{"DelaySeconds": "5"}}},
		{"map of structures inside a list", awsapi.Query, sqs.API, "SendMessageBatch",
			"QueueUrl=u&SendMessageBatchRequestEntry.2.Id=b&SendMessageBatchRequestEntry.1.Id=a&SendMessageBatchRequestEntry.1.DelaySeconds=7" +
				"&SendMessageBatchRequestEntry.1.MessageAttribute.1.Name=n&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.DataType=Binary&SendMessageBatchRequestEntry.1.MessageAttribute.1.Value.BinaryValue=AQI%3D",
			&sqs.SendMessageBatchInput{QueueUrl: new("u"), Entries: []sqs.SendMessageBatchRequestEntry{
				{Id: new("a"), DelaySeconds: new(int32(7)), MessageAttributes: map[string]sqs.MessageAttributeValue{"n": {DataType: new("Binary"), BinaryValue: []byte{1, 2}}}},
				{Id: new("b")},
			}}},
		{"list item without a number", awsapi.Query, sqs.API, "ReceiveMessage", "QueueUrl=u&AttributeName=All", &sqs.ReceiveMessageInput{QueueUrl: new("u"), AttributeNames: []string{"All"}}},
		{"ten items in their order", awsapi.Query, sqs.API, "UntagQueue",
			"TagKey.10=j&TagKey.2=b&TagKey.1=a", &sqs.UntagQueueInput{TagKeys: []string{"a", "b", "j"}}},
		{"list in its own element", awsapi.Query, sts.API, "AssumeRole", "Tags.member.1.Key=a&Tags.member.1.Value=b&DurationSeconds=900",
			&sts.AssumeRoleInput{Tags: []sts.Tag{{Key: new("a"), Value: new("b")}}, DurationSeconds: new(int32(900))}},
		{"empty list", awsapi.Query, sts.API, "AssumeRole", "TransitiveTagKeys=", &sts.AssumeRoleInput{TransitiveTagKeys: []string{}}},
		{"empty flattened list, as SDKs write it", awsapi.Query, sqs.API, "SendMessageBatch", "QueueUrl=u&Entries=",
			&sqs.SendMessageBatchInput{QueueUrl: new("u"), Entries: []sqs.SendMessageBatchRequestEntry{}}},
		{"flattened list under another name", awsapi.Query, sqs.API, "SendMessageBatch", "QueueUrl=u&Entries=a&Entries.1.Id=b", &sqs.SendMessageBatchInput{QueueUrl: new("u")}},
		{"empty string", awsapi.Query, sqs.API, "GetQueueUrl", "QueueName=", &sqs.GetQueueUrlInput{QueueName: new("")}},
		{"unknown parameters", awsapi.Query, sqs.API, "GetQueueUrl", "QueueName=q&Color=red&QueueName.Length=1", &sqs.GetQueueUrlInput{QueueName: new("q")}},
		{"old signature parameters", awsapi.EC2, ec2.API, "RebootInstances", "InstanceId.1=i-1&AWSAccessKeyId=a&Timestamp=t&SignatureVersion=2&SignatureMethod=m&Signature=s&X-Amz-Date=d&Action=a&Version=v",
			&ec2.RebootInstancesInput{InstanceIds: []string{"i-1"}}},
		{"ec2 names and nested lists", awsapi.EC2, ec2.API, "DescribeInstances", "Filter.1.Name=tag:x&Filter.1.Value.1=a&Filter.1.Value.2=b&MaxResults=5&DryRun=true",
			&ec2.DescribeInstancesInput{Filters: []ec2.Filter{{Name: new("tag:x"), Values: []string{"a", "b"}}}, MaxResults: new(int32(5)), DryRun: new(true)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			op := operation(test.api, test.operation)
			in := op.New()
			if err := awsapi.DecodeQuery(test.protocol, op.Input, parse(t, test.form), in); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, in); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestQueryParametersThatAreRefused(t *testing.T) {
	tests := []struct {
		name      string
		protocol  awsapi.Protocol
		api       *awsapi.API
		operation string
		form      string
		want      string
	}{
		{"not a number", awsapi.Query, sqs.API, "ReceiveMessage", "MaxNumberOfMessages=ten", "InvalidParameterValue: Value ten for parameter MaxNumberOfMessages is invalid. Reason: Must be an integer."},
		{"a number too large", awsapi.Query, sqs.API, "ReceiveMessage", "MaxNumberOfMessages=3000000000", "InvalidParameterValue: Value 3000000000 for parameter MaxNumberOfMessages is invalid. Reason: Must be an integer."},
		{"not base64", awsapi.Query, sqs.API, "SendMessage", "MessageAttribute.1.Name=n&MessageAttribute.1.Value.BinaryValue=!", "InvalidParameterValue: Value ! for parameter MessageAttribute.1.Value.BinaryValue is invalid. Reason: Must be base64."},
		{"a map entry without a key", awsapi.Query, sqs.API, "SetQueueAttributes", "Attribute.1.Value=v", "MissingParameter: The request must contain the parameter Attribute.1.Name."},
		{"not a boolean", awsapi.EC2, ec2.API, "DescribeInstances", "DryRun=maybe", "InvalidParameterValue: Invalid value 'maybe' for DryRun. Expecting true or false."},
		{"ec2 parameter that is not known", awsapi.EC2, ec2.API, "DescribeInstances", "Filter.1.Nam=x", "UnknownParameter: The parameter Filter.1.Nam is not recognized"},
		{"ec2 value where a list is", awsapi.EC2, ec2.API, "DescribeInstances", "Filter.1=x", "UnknownParameter: The parameter Filter.1 is not recognized"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			op := operation(test.api, test.operation)
			err := awsapi.DecodeQuery(test.protocol, op.Input, parse(t, test.form), op.New())
			if err == nil || err.Error() != test.want {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func parse(t *testing.T, form string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(form)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestTimesInEveryProtocol(t *testing.T) {
	shape := &awsapi.Shape{Kind: awsapi.Structure, Members: []awsapi.Member{{Name: "T", Shape: &awsapi.Shape{Kind: awsapi.Timestamp}}}}
	type holder struct{ T *time.Time }
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	millis := at.Add(678 * time.Millisecond)
	for body, want := range map[string]time.Time{
		`{"T":1767323045}`: at, `{"T":1767323045.678}`: millis, `{"T":1.767323045678E9}`: millis, `{"T":-1}`: time.Unix(-1, 0).UTC(), `{"T":1767323045.6784}`: millis,
	} {
		var in holder
		if err := awsapi.DecodeJSON(shape, []byte(body), &in); err != nil || !in.T.Equal(want) {
			t.Errorf("%s: got %v, %v", body, in.T, err)
		}
	}
	for _, text := range []string{"2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02T03:04:05.000Z"} {
		var in holder
		if err := awsapi.DecodeQuery(awsapi.Query, shape, url.Values{"T": {text}}, &in); err != nil || !in.T.Equal(at) {
			t.Errorf("%s: got %v, %v", text, in.T, err)
		}
	}
	for want, at := range map[string]time.Time{`{"T":1767323045}`: at, `{"T":1767323045.678}`: millis, `{"T":-0.5}`: time.UnixMilli(-500)} {
		if got := string(awsapi.EncodeJSON(shape, &holder{&at})); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
