package queue

import (
	"context"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

// client is the SDK's own, over HTTP. It checks the digests of what it sends
// and receives.
func client(t *testing.T, q *fixture) *awssqs.Client {
	t.Helper()
	h := awsapi.New(awsapi.Config{Keys: noKeys{}, DevMode: func(context.Context) bool { return true }})
	h.Register(sqs.Bind(q.Queues))
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	q.opt.BaseURL = func() string { return srv.URL }
	return awssqs.NewFromConfig(aws.Config{
		Region: region, BaseEndpoint: &srv.URL, RetryMaxAttempts: 1, HTTPClient: srv.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(account, "any", ""),
	})
}

func TestSDK(t *testing.T) {
	q := newFixture(t, storetest.SQLite(t))
	c, ctx := client(t, q), t.Context()
	queue, err := c.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: aws.String("orders"), Attributes: map[string]string{"VisibilityTimeout": "60"}})
	if err != nil {
		t.Fatal(err)
	}
	attributes := map[string]types.MessageAttributeValue{
		"city":  {DataType: aws.String("String"), StringValue: aws.String("上海 🏙")},
		"count": {DataType: aws.String("Number.int"), StringValue: aws.String("-12")},
		"photo": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255, 10}},
	}
	if _, err := c.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: queue.QueueUrl, MessageBody: aws.String("订单"), MessageAttributes: attributes}); err != nil {
		t.Fatal(err)
	}
	_, err = c.SendMessageBatch(ctx, &awssqs.SendMessageBatchInput{QueueUrl: queue.QueueUrl, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("a"), MessageBody: aws.String("two"), MessageAttributes: attributes},
		{Id: aws.String("b"), MessageBody: aws.String("three")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{
		QueueUrl: queue.QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Messages) != 3 || *got.Messages[0].Body != "订单" || *got.Messages[0].MessageAttributes["city"].StringValue != "上海 🏙" ||
		string(got.Messages[1].MessageAttributes["photo"].BinaryValue) != "\x00\xff\n" {
		t.Errorf("received %+v", got.Messages)
	}
	for _, m := range got.Messages {
		if _, err := c.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: queue.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
			t.Error(err)
		}
	}
	a, err := c.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: queue.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
	if err != nil || a.Attributes["ApproximateNumberOfMessages"] != "0" || a.Attributes["VisibilityTimeout"] != "60" {
		t.Errorf("attributes %v, %v", a, err)
	}
}
