package queue

import (
	"errors"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// inputs are calls of all operations on the queues q, d and f.fifo, with every
// text that a caller can give.
var inputs = map[string]string{
	"AddPermission":                `{"QueueUrl":"URL/q","Label":"l","AWSAccountIds":["444455556666"],"Actions":["SendMessage"]}`,
	"CancelMessageMoveTask":        `{"TaskHandle":"aGFuZGxl"}`,
	"ChangeMessageVisibility":      `{"QueueUrl":"URL/q","ReceiptHandle":"HANDLE","VisibilityTimeout":1}`,
	"ChangeMessageVisibilityBatch": `{"QueueUrl":"URL/q","Entries":[{"Id":"a","ReceiptHandle":"HANDLE","VisibilityTimeout":1}]}`,
	"CreateQueue":                  `{"QueueName":"new","Attributes":{"Policy":"POLICY","RedrivePolicy":"REDRIVE","RedriveAllowPolicy":"ALLOW","DelaySeconds":"1"},"tags":{"k":"v"}}`,
	"DeleteMessage":                `{"QueueUrl":"URL/q","ReceiptHandle":"HANDLE"}`,
	"DeleteMessageBatch":           `{"QueueUrl":"URL/q","Entries":[{"Id":"a","ReceiptHandle":"HANDLE"}]}`,
	"DeleteQueue":                  `{"QueueUrl":"URL/gone"}`,
	"GetQueueAttributes":           `{"QueueUrl":"URL/q","AttributeNames":["All"]}`,
	"GetQueueUrl":                  `{"QueueName":"q","QueueOwnerAWSAccountId":"111122223333"}`,
	"ListDeadLetterSourceQueues":   `{"QueueUrl":"URL/d","MaxResults":1,"NextToken":"cQ"}`,
	"ListMessageMoveTasks":         `{"SourceArn":"arn:aws:sqs:eu-west-1:111122223333:d"}`,
	"ListQueueTags":                `{"QueueUrl":"URL/q"}`,
	"ListQueues":                   `{"QueueNamePrefix":"q","MaxResults":1,"NextToken":"cQ"}`,
	"PurgeQueue":                   `{"QueueUrl":"URL/q"}`,
	"ReceiveMessage":               `{"QueueUrl":"URL/f.fifo","AttributeNames":["All"],"MessageSystemAttributeNames":["All"],"MessageAttributeNames":["All"],"ReceiveRequestAttemptId":"once"}`,
	"RemovePermission":             `{"QueueUrl":"URL/q","Label":"l"}`,
	"SendMessage":                  `{"QueueUrl":"URL/f.fifo","MessageBody":"b","MessageGroupId":"g","MessageDeduplicationId":"d","MessageAttributes":{"a":{"DataType":"String","StringValue":"v"}},"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"v"}}}`,
	"SendMessageBatch":             `{"QueueUrl":"URL/f.fifo","Entries":[{"Id":"a","MessageBody":"b","MessageGroupId":"g","MessageDeduplicationId":"d","MessageAttributes":{"a":{"DataType":"String","StringValue":"v"}},"MessageSystemAttributes":{"AWSTraceHeader":{"DataType":"String","StringValue":"v"}}}]}`,
	"SetQueueAttributes":           `{"QueueUrl":"URL/q","Attributes":{"Policy":"POLICY","RedrivePolicy":"REDRIVE","RedriveAllowPolicy":"ALLOW","DelaySeconds":"1"}}`,
	"StartMessageMoveTask":         `{"SourceArn":"arn:aws:sqs:eu-west-1:111122223333:d","DestinationArn":"arn:aws:sqs:eu-west-1:111122223333:q"}`,
	"TagQueue":                     `{"QueueUrl":"URL/q","Tags":{"k":"v"}}`,
	"UntagQueue":                   `{"QueueUrl":"URL/q","TagKeys":["k"]}`,
}

// PostgreSQL keeps neither the character U+0000 nor what is not UTF-8, which URLs
// can hold.
func TestNoTextFailsTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		h := awsapi.New(awsapi.Config{Keys: noKeys{}})
		h.Register(sqs.Bind(q.Queues))
		url := q.create("q", nil)
		q.create("d", nil)
		q.create("f.fifo", nil)
		q.send(url, "body")
		write := strings.NewReplacer(
			"URL", "http://127.0.0.1:7425/"+account, "HANDLE", *q.receive(url)[0].ReceiptHandle,
			"POLICY", `{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"s\",\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"sqs:*\",\"Resource\":\"*\"}]}`,
			"REDRIVE", `{\"deadLetterTargetArn\":\"arn:aws:sqs:eu-west-1:111122223333:d\",\"maxReceiveCount\":3}`,
			"ALLOW", `{\"redrivePermission\":\"byQueue\",\"sourceQueueArns\":[\"arn:aws:sqs:eu-west-1:111122223333:q\"]}`)
		for _, op := range sqs.API.Operations {
			input, ok := inputs[op.Name]
			if !ok {
				t.Errorf("no input for %s", op.Name)
			}
			for _, spoil := range []string{"\x00", "%00", "%ff"} {
				for what, in := range awsapitest.Spoiled(t, op, write.Replace(input), spoil) {
					_, err := h.Invoke(t.Context(), awsapi.Caller{Account: account, Region: region, Role: "admin"}, "sqs", op.Name, in)
					if refusal, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || refusal.Fault) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
		}
	})
}
