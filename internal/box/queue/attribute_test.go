package queue

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

func TestCreateQueueChecksNamesAndAttributes(t *testing.T) {
	tests := []struct {
		name          string
		attrs         map[string]string
		code, message string
	}{
		{"orders-1_A", nil, "", ""},
		{"orders.fifo", map[string]string{"FifoQueue": "true"}, "", ""},
		{strings.Repeat("a", 80), nil, "", ""},
		{strings.Repeat("a", 81), nil, "InvalidParameterValue", "1 to 80 in length"},
		{"", nil, "InvalidParameterValue", "1 to 80 in length"},
		{"a/b", nil, "InvalidParameterValue", "Can only include alphanumeric characters"},
		{"订单", nil, "InvalidParameterValue", "Can only include alphanumeric characters"},
		{"orders.fifo", nil, "InvalidParameterValue", "Can only include alphanumeric characters"},
		{"orders", map[string]string{"FifoQueue": "true"}, "InvalidParameterValue", "must end with .fifo suffix"},
		{"orders", map[string]string{"FifoQueue": "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."},
		{"orders", map[string]string{"Colour": "blue"}, "InvalidAttributeName", "Unknown Attribute Colour."},
		{"orders", map[string]string{"QueueArn": "x"}, "InvalidAttributeName", "Unknown Attribute QueueArn."},
		{"orders", map[string]string{"ContentBasedDeduplication": "true"}, "InvalidAttributeName", "ContentBasedDeduplication"},
		{"orders", map[string]string{"DelaySeconds": "901"}, "InvalidAttributeValue", "Invalid value for the parameter DelaySeconds."},
		{"orders", map[string]string{"DelaySeconds": "-1"}, "InvalidAttributeValue", "DelaySeconds"},
		{"orders", map[string]string{"MaximumMessageSize": "1023"}, "InvalidAttributeValue", "MaximumMessageSize"},
		{"orders", map[string]string{"MaximumMessageSize": "1048577"}, "InvalidAttributeValue", "MaximumMessageSize"},
		{"orders", map[string]string{"MessageRetentionPeriod": "59"}, "InvalidAttributeValue", "MessageRetentionPeriod"},
		{"orders", map[string]string{"MessageRetentionPeriod": "1209601"}, "InvalidAttributeValue", "MessageRetentionPeriod"},
		{"orders", map[string]string{"ReceiveMessageWaitTimeSeconds": "21"}, "InvalidAttributeValue", "ReceiveMessageWaitTimeSeconds"},
		{"orders", map[string]string{"VisibilityTimeout": "43201"}, "InvalidAttributeValue", "VisibilityTimeout"},
		{"orders", map[string]string{"VisibilityTimeout": "soon"}, "InvalidAttributeValue", "VisibilityTimeout"},
		{"orders", map[string]string{"VisibilityTimeout": ""}, "InvalidAttributeValue", "VisibilityTimeout"},
		{"orders", map[string]string{"SqsManagedSseEnabled": "perhaps"}, "InvalidAttributeValue", "SqsManagedSseEnabled"},
		{"orders", map[string]string{"KmsMasterKeyId": "alias/aws/sqs"}, "UnsupportedOperation", "KmsMasterKeyId"},
		{"orders", map[string]string{"KmsDataKeyReusePeriodSeconds": "300"}, "UnsupportedOperation", "KmsDataKeyReusePeriodSeconds"},
		{"orders", map[string]string{"Policy": "{}"}, "InvalidAttributeValue", "Invalid value for the parameter Policy"},
		{"orders", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"byQueue"}`}, "InvalidParameterValue", "1 to 10 ARNs"},
		{"orders", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"some"}`}, "InvalidParameterValue", "allowAll, denyAll and byQueue"},
		{"o.fifo", map[string]string{"FifoQueue": "true", "FifoThroughputLimit": "perMessageGroupId"}, "InvalidParameterValue", "only when DeduplicationScope is set to messageGroup"},
		{"o.fifo", map[string]string{"FifoQueue": "true", "DeduplicationScope": "galaxy"}, "InvalidAttributeValue", "DeduplicationScope"},
	}
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, tt := range tests {
			t.Run(fmt.Sprint(tt.name, tt.attrs), func(t *testing.T) {
				_, err := q.CreateQueue(q.ctx, &sqs.CreateQueueInput{QueueName: &tt.name, Attributes: tt.attrs})
				if tt.code == "" {
					if err != nil {
						t.Fatal(err)
					}
					return
				}
				wantError(t, err, tt.code, tt.message)
			})
		}
	})
}

func TestCreateQueueAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		create := func(attrs map[string]string) error {
			_, err := q.CreateQueue(q.ctx, &sqs.CreateQueueInput{QueueName: new("orders"), Attributes: attrs})
			return err
		}
		for _, attrs := range []map[string]string{
			{"VisibilityTimeout": "60", "DelaySeconds": "5"},
			{"VisibilityTimeout": "60"},
			{"MessageRetentionPeriod": "345600"}, // the default
			nil,
		} {
			if err := create(attrs); err != nil {
				t.Errorf("%v: %v", attrs, err)
			}
		}
		wantError(t, create(map[string]string{"VisibilityTimeout": "61"}), "QueueNameExists", "A queue already exists with the same name and a different value for attribute VisibilityTimeout")
		wantError(t, create(map[string]string{"ReceiveMessageWaitTimeSeconds": "1"}), "QueueNameExists", "ReceiveMessageWaitTimeSeconds")
	})
}

func TestAttributesHaveTheirDefaults(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		want := map[string]string{
			"QueueArn":         "arn:aws:sqs:eu-west-1:111122223333:orders",
			"CreatedTimestamp": "1777636800", "LastModifiedTimestamp": "1777636800",
			"VisibilityTimeout": "30", "DelaySeconds": "0", "MaximumMessageSize": "1048576",
			"MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": "true",
			"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
		}
		if got := q.attributes(url); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("attributes %v\nwant %v", got, want)
		}
		fifo := q.attributes(q.create("orders.fifo", nil))
		for name, v := range map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue"} {
			if fifo[name] != v {
				t.Errorf("%s is %q, want %q", name, fifo[name], v)
			}
		}
		some, err := q.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []string{"QueueArn", "Policy"}})
		if err != nil || len(some.Attributes) != 1 {
			t.Errorf("attributes %v, %v", some, err)
		}
		none, err := q.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url})
		if err != nil || len(none.Attributes) != 0 {
			t.Errorf("attributes %v, %v", none, err)
		}
		_, err = q.GetQueueAttributes(q.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []string{"Colour"}})
		wantError(t, err, "InvalidAttributeName", "Unknown Attribute Colour.")
	})
}

func TestSetAttributesHoldsAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		set := func(attrs map[string]string) error {
			_, err := q.SetQueueAttributes(q.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: attrs})
			return err
		}
		if err := set(map[string]string{"MaximumMessageSize": "1024"}); err != nil {
			t.Fatal(err)
		}
		_, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new(strings.Repeat("x", 1025))})
		wantError(t, err, "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes.")
		wantError(t, set(map[string]string{"DelaySeconds": "1", "VisibilityTimeout": "99999"}), "InvalidAttributeValue", "VisibilityTimeout")
		if a := q.attributes(url); a["DelaySeconds"] != "0" {
			t.Errorf("half of a change remained: %v", a)
		}
		wantError(t, set(map[string]string{"FifoQueue": "true"}), "InvalidAttributeName", "FifoQueue")
	})
}

func TestListQueues(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		for _, name := range []string{"b", "a-2", "a-1", "A", "c"} {
			q.create(name, nil)
		}
		if _, err := q.CreateQueue(as(t.Context(), other), &sqs.CreateQueueInput{QueueName: new("theirs")}); err != nil {
			t.Fatal(err)
		}
		names := func(in *sqs.ListQueuesInput) (all []string, next *string) {
			out, err := q.ListQueues(q.ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range out.QueueUrls {
				all = append(all, u[strings.LastIndexByte(u, '/')+1:])
			}
			return all, out.NextToken
		}
		if got, _ := names(&sqs.ListQueuesInput{}); !slices.Equal(got, []string{"A", "a-1", "a-2", "b", "c"}) {
			t.Errorf("queues %v", got)
		}
		if got, _ := names(&sqs.ListQueuesInput{QueueNamePrefix: new("a-")}); !slices.Equal(got, []string{"a-1", "a-2"}) {
			t.Errorf("queues with prefix %v", got)
		}
		first, next := names(&sqs.ListQueuesInput{MaxResults: new(int32(3))})
		if next == nil {
			t.Fatal("there is no second page")
		}
		second, end := names(&sqs.ListQueuesInput{MaxResults: new(int32(3)), NextToken: next})
		if !slices.Equal(append(first, second...), []string{"A", "a-1", "a-2", "b", "c"}) || end != nil {
			t.Errorf("pages %v and %v", first, second)
		}
		_, err := q.ListQueues(q.ctx, &sqs.ListQueuesInput{MaxResults: new(int32(1001))})
		wantError(t, err, "InvalidParameterValue", "MaxResults")
		_, err = q.ListQueues(q.ctx, &sqs.ListQueuesInput{MaxResults: new(int32(3)), NextToken: new("!")})
		wantError(t, err, "InvalidParameterValue", "token")
	})
}

func TestQueueURL(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		out, err := q.GetQueueUrl(q.ctx, &sqs.GetQueueUrlInput{QueueName: new("orders")})
		if err != nil || *out.QueueUrl != url {
			t.Errorf("URL %v, %v", out, err)
		}
		_, err = q.GetQueueUrl(q.ctx, &sqs.GetQueueUrlInput{QueueName: new("nothing")})
		wantError(t, err, "QueueDoesNotExist", "The specified queue does not exist")
		_, err = q.GetQueueUrl(as(t.Context(), other), &sqs.GetQueueUrlInput{QueueName: new("orders"), QueueOwnerAWSAccountId: new(account)})
		wantError(t, err, "AccessDenied", "not authorized to perform: sqs:getqueueurl")
		for _, u := range []string{"https://sqs.eu-west-1.amazonaws.com/111122223333/orders", "http://x/queue/111122223333/orders/"} {
			q.send(u, "any host will do")
		}
		for _, u := range []string{"orders", "http://127.0.0.1/orders", "http://127.0.0.1/1234/orders", "%zz"} {
			_, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &u, MessageBody: new("a")})
			wantError(t, err, "InvalidAddress", u)
		}
	})
}

func TestTags(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		out, err := q.CreateQueue(q.ctx, &sqs.CreateQueueInput{QueueName: new("orders"), Tags: map[string]string{"team": "金"}})
		if err != nil {
			t.Fatal(err)
		}
		url := out.QueueUrl
		if _, err := q.TagQueue(q.ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: map[string]string{"stage": "prod", "team": "🚀"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := q.UntagQueue(q.ctx, &sqs.UntagQueueInput{QueueUrl: url, TagKeys: []string{"stage", "nothing"}}); err != nil {
			t.Fatal(err)
		}
		tags, err := q.ListQueueTags(q.ctx, &sqs.ListQueueTagsInput{QueueUrl: url})
		if err != nil || fmt.Sprint(tags.Tags) != "map[team:🚀]" {
			t.Errorf("tags %v, %v", tags, err)
		}
		many := map[string]string{}
		for k := range 50 {
			many[fmt.Sprint(k)] = ""
		}
		_, err = q.TagQueue(q.ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: many})
		wantError(t, err, "InvalidParameterValue", "at most 50")
		_, err = q.TagQueue(q.ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: map[string]string{"aws:x": ""}})
		wantError(t, err, "InvalidParameterValue", "aws:")
	})
}

func TestPermissions(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", nil)
		add := func(label string, actions ...string) error {
			_, err := q.AddPermission(q.ctx, &sqs.AddPermissionInput{QueueUrl: &url, Label: &label, AWSAccountIds: []string{other}, Actions: actions})
			return err
		}
		send := func() error {
			_, err := q.SendMessage(as(t.Context(), other), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("a")})
			return err
		}
		if err := add("theirs", "SendMessage", "GetQueueUrl"); err != nil {
			t.Fatal(err)
		}
		want := `{"Version":"2012-10-17","Id":"arn:aws:sqs:eu-west-1:111122223333:orders/SQSDefaultPolicy","Statement":[` +
			`{"Sid":"theirs","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},` +
			`"Action":["SQS:SendMessage","SQS:GetQueueUrl"],"Resource":"arn:aws:sqs:eu-west-1:111122223333:orders"}]}`
		if got := q.attributes(url)["Policy"]; got != want {
			t.Errorf("policy %s\nwant %s", got, want)
		}
		if err := send(); err != nil {
			t.Error(err)
		}
		wantError(t, add("theirs", "SendMessage"), "InvalidParameterValue", "Value theirs for parameter Label is invalid. Reason: Already exists.")
		wantError(t, add("all", "DeleteQueue"), "InvalidParameterValue", "Value SQS:DeleteQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.")
		remove := func() error {
			_, err := q.RemovePermission(q.ctx, &sqs.RemovePermissionInput{QueueUrl: &url, Label: new("theirs")})
			return err
		}
		if err := remove(); err != nil {
			t.Fatal(err)
		}
		wantError(t, remove(), "InvalidParameterValue", "can't find label.")
		wantError(t, send(), "AccessDenied", "no resource-based policy")
		if p, ok := q.attributes(url)["Policy"]; ok {
			t.Errorf("the policy remains: %s", p)
		}
	})
}

func TestPolicyCannotGrantWhatIsTheOwners(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", map[string]string{"Policy": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"*"}}`})
		for _, ctx := range []struct {
			name string
			try  func() error
		}{
			{"delete", func() error {
				_, err := q.DeleteQueue(as(t.Context(), other), &sqs.DeleteQueueInput{QueueUrl: &url})
				return err
			}},
			{"set attributes", func() error {
				_, err := q.SetQueueAttributes(as(t.Context(), other), &sqs.SetQueueAttributesInput{QueueUrl: &url})
				return err
			}},
			{"tag as a service", func() error {
				_, err := q.TagQueue(auth.WithSource(q.ctx, auth.Source{Service: "events.amazonaws.com", Account: account}), &sqs.TagQueueInput{QueueUrl: &url})
				return err
			}},
		} {
			wantError(t, ctx.try(), "AccessDenied", "is not authorized to perform")
		}
		if _, err := q.PurgeQueue(as(t.Context(), other), &sqs.PurgeQueueInput{QueueUrl: &url}); err != nil {
			t.Errorf("purge: %v", err)
		}
	})
}

func TestOwnerCanTakeBackAPolicyThatDeniesEverything(t *testing.T) {
	onBoth(t, func(t *testing.T, q *fixture) {
		url := q.create("orders", map[string]string{"Policy": `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"}}`})
		_, err := q.SendMessage(q.ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: new("a")})
		wantError(t, err, "AccessDenied", "explicit deny")
		if _, err := q.SetQueueAttributes(q.ctx, &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{"Policy": ""}}); err != nil {
			t.Fatal(err)
		}
		q.send(url, "a")
	})
}
