package topic

import (
	"context"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

// refusedCall is a call that is refused, and how.
type refusedCall struct {
	name    string
	in      any
	code    string // as the API names it
	message string
}

const (
	invalid  = sns.CodeInvalidParameterException
	notFound = sns.CodeNotFoundException
	absentID = "00000000-0000-4000-8000-000000000000"
)

// Every operation refuses what it cannot honour by AWS's name for it, and
// changes nothing.
func TestBadInputIsRefusedByName(t *testing.T) {
	f := newSQLite(t, func(o *Options) { o.Functions = &functions{} })
	h := awsapi.New(awsapi.Config{Keys: noKeys{}})
	h.Register(sns.Bind(f.Topics))
	topic := f.topic("t", nil)
	e := newEndpoint(t)
	subscription := f.subscribe(topic, "sqs", f.queue("q"), map[string]string{"FilterPolicy": `{"a":["1"]}`})
	pending := f.subscribe(topic, "http", e.URL, nil)
	missing := topic + "-missing"
	long := strings.Repeat("x", 257)

	create := func(name string, attrs map[string]string, tags ...sns.Tag) *sns.CreateTopicInput {
		return &sns.CreateTopicInput{Name: &name, Attributes: attrs, Tags: tags}
	}
	tag := func(k, v string) sns.Tag { return sns.Tag{Key: &k, Value: &v} }
	set := func(name, value string) *sns.SetTopicAttributesInput {
		return &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: &name, AttributeValue: &value}
	}
	subscribe := func(protocol, endpoint string, attrs map[string]string) *sns.SubscribeInput {
		return &sns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: attrs}
	}
	setSub := func(name, value string) *sns.SetSubscriptionAttributesInput {
		return &sns.SetSubscriptionAttributesInput{SubscriptionArn: &subscription, AttributeName: &name, AttributeValue: &value}
	}
	publish := func(change func(*sns.PublishInput)) *sns.PublishInput {
		in := &sns.PublishInput{TopicArn: &topic, Message: new("m")}
		change(in)
		return in
	}
	attribute := func(name, kind, text string, data []byte) *sns.PublishInput {
		return publish(func(in *sns.PublishInput) {
			v := sns.MessageAttributeValue{DataType: &kind, BinaryValue: data}
			if text != "" {
				v.StringValue = &text
			}
			in.MessageAttributes = map[string]sns.MessageAttributeValue{name: v}
		})
	}
	batch := func(ids ...string) *sns.PublishBatchInput {
		in := &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []sns.PublishBatchRequestEntry{}}
		for _, id := range ids {
			in.PublishBatchRequestEntries = append(in.PublishBatchRequestEntries, sns.PublishBatchRequestEntry{Id: &id, Message: new("m")})
		}
		return in
	}
	tooLong := batch("a", "b")
	for i := range tooLong.PublishBatchRequestEntries {
		tooLong.PublishBatchRequestEntries[i].Message = new(strings.Repeat("文", 50_000))
	}
	queueARN := queueRef("other").ARN()

	for operation, calls := range map[string][]refusedCall{
		"CreateTopic": {
			{"no name", &sns.CreateTopicInput{}, "ValidationError", "Value null at 'name'"},
			{"an empty name", create("", nil), invalid, "Invalid parameter: Topic Name"},
			{"a long name", create(long, nil), invalid, "Invalid parameter: Topic Name"},
			{"a name with other characters", create("订单", nil), invalid, "Invalid parameter: Topic Name"},
			{"a FIFO topic", create("t.fifo", map[string]string{"FifoTopic": "true"}), invalid, "FIFO topics are not available here"},
			{"FIFO by attribute", create("u", map[string]string{"FifoTopic": "TRUE"}), invalid, "FIFO topics are not available here"},
			{"a KMS key", create("u", map[string]string{"KmsMasterKeyId": "alias/aws/sns"}), invalid, "Invalid parameter: KmsMasterKeyId Reason: This attribute is not available here"},
			{"an archive", create("u", map[string]string{"ArchivePolicy": `{"MessageRetentionPeriod":"30"}`}), invalid, "ArchivePolicy"},
			{"an unknown attribute", create("u", map[string]string{"Colour": "red"}), invalid, "Invalid parameter: AttributeName"},
			{"data protection", &sns.CreateTopicInput{Name: new("u"), DataProtectionPolicy: new("{}")}, invalid, "DataProtectionPolicy"},
			{"a reserved tag", create("u", nil, tag("AWS:x", "1")), invalid, "aws:"},
			{"a tag twice", create("u", nil, tag("a", "1"), tag("a", "2")), invalid, "Duplicated keys"},
			{"an empty tag", create("u", nil, tag("", "1")), "ValidationError", "tags.1.member.key"},
			{"too many tags", create("u", nil, manyTags(51)...), sns.CodeTagLimitExceededException, "tag quota"},
		},
		"DeleteTopic": {
			{"no ARN", &sns.DeleteTopicInput{}, "ValidationError", "topicArn"},
			{"a name for an ARN", &sns.DeleteTopicInput{TopicArn: new("t")}, invalid, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"},
			{"a queue's ARN", &sns.DeleteTopicInput{TopicArn: &queueARN}, invalid, "Invalid parameter: TopicArn"},
			{"another region's topic", &sns.DeleteTopicInput{TopicArn: new("arn:aws:sns:us-east-1:111122223333:t")}, invalid, "Invalid parameter: TopicArn"},
		},
		"GetTopicAttributes": {
			{"a topic that is missing", &sns.GetTopicAttributesInput{TopicArn: &missing}, notFound, "Topic does not exist"},
			{"a wrong ARN", &sns.GetTopicAttributesInput{TopicArn: new("a:b:c:d:e")}, invalid, "not 5"},
		},
		"SetTopicAttributes": {
			{"a topic that is missing", &sns.SetTopicAttributesInput{TopicArn: &missing, AttributeName: new("DisplayName")}, notFound, "Topic does not exist"},
			{"an unknown attribute", set("Owner", account), invalid, "Invalid parameter: AttributeName"},
			{"a long display name", set("DisplayName", strings.Repeat("名", 101)), invalid, "Invalid parameter: DisplayName"},
			{"a display name of two lines", set("DisplayName", "a\nb"), invalid, "Invalid parameter: DisplayName"},
			{"a signature version", set("SignatureVersion", "3"), invalid, "1 or 2"},
			{"active tracing", set("TracingConfig", "Active"), invalid, "Active tracing is not available here"},
			{"other tracing", set("TracingConfig", "Passive"), invalid, "PassThrough"},
			{"status logging", set("SQSSuccessFeedbackRoleArn", "arn:aws:iam::111122223333:role/r"), invalid, "Delivery status logging is not available here"},
			{"no policy", set("Policy", ""), invalid, "Policy is empty"},
			{"a policy that is not JSON", set("Policy", "{"), invalid, "not valid JSON"},
			{"a policy of another service", set("Policy", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"sqs:SendMessage","Resource":"*"}}`), invalid, "Policy statement action out of service scope!"},
			{"a large policy", set("Policy", `{"Version":"2012-10-17","Id":"`+strings.Repeat("x", 31<<10)+`"}`), invalid, "more than the 30720 allowed"},
			{"a delivery policy that is not JSON", set("DeliveryPolicy", "{"), invalid, "DeliveryPolicy: failed to parse JSON"},
			{"a member that is not known", set("DeliveryPolicy", `{"http":{"defaultHealthyRetryPolicy":{"numRetry":1}}}`), invalid, `unknown field "numRetry"`},
			{"a delivery policy for others", set("DeliveryPolicy", `{"sqs":{}}`), invalid, `unknown field "sqs"`},
			{"an empty delivery policy", set("DeliveryPolicy", `{}`), invalid, "http is missing"},
			{"a sickly policy", set("DeliveryPolicy", `{"http":{"defaultSicklyRetryPolicy":{"numRetries":1}}}`), invalid, "defaultSicklyRetryPolicy is not available"},
			{"retries for too long", set("DeliveryPolicy", `{"http":{"defaultHealthyRetryPolicy":{"numRetries":100,"minDelayTarget":60,"maxDelayTarget":60}}}`), invalid, "3600 seconds"},
			{"a content type", set("DeliveryPolicy", `{"http":{"defaultRequestPolicy":{"headerContentType":"image/png"}}}`), invalid, `http.defaultRequestPolicy.headerContentType "image/png"`},
		},
		"ListTopics":               {{"a wrong token", &sns.ListTopicsInput{NextToken: new("???")}, invalid, "Invalid parameter: NextToken"}},
		"ListSubscriptions":        {{"a wrong token", &sns.ListSubscriptionsInput{NextToken: newPage("name")}, invalid, "Invalid parameter: NextToken"}},
		"ListSubscriptionsByTopic": {{"a topic that is missing", &sns.ListSubscriptionsByTopicInput{TopicArn: &missing}, notFound, "Topic does not exist"}},
		"Subscribe": {
			{"no protocol", &sns.SubscribeInput{TopicArn: &topic}, "ValidationError", "protocol"},
			{"a topic that is missing", &sns.SubscribeInput{TopicArn: &missing, Protocol: new("sqs")}, notFound, "Topic does not exist"},
			{"an unknown protocol", subscribe("pigeon", "x", nil), invalid, "Invalid parameter: Amazon SNS does not support this protocol string: pigeon"},
			{"sms", subscribe("sms", "+491234567", nil), invalid, "The protocol sms is not available here"},
			{"application", subscribe("application", "arn:x", nil), invalid, "The protocol application is not available here"},
			{"firehose", subscribe("firehose", "arn:x", nil), invalid, "The protocol firehose is not available here"},
			{"e-mail without a server", subscribe("email", "a@example.com", nil), invalid, "--smtp"},
			{"a queue's URL", subscribe("sqs", "https://sqs.eu-west-1.amazonaws.com/111122223333/q", nil), invalid, "Invalid parameter: SQS endpoint ARN"},
			{"another account's queue behind an own name", subscribe("sqs", queueRef("444455556666/q").ARN(), nil), invalid, "SQS endpoint ARN"},
			{"a queue's name with a query", subscribe("sqs", queueRef("q?x").ARN(), nil), invalid, "SQS endpoint ARN"},
			{"a dead-letter queue with NUL", subscribe("sqs", queueRef("r").ARN(), map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + queueRef(`d\u0000`).ARN() + `"}`}), invalid, "deadLetterTargetArn is an invalid arn"},
			{"a FIFO queue", subscribe("sqs", queueRef("q.fifo").ARN(), nil), invalid, "FIFO SQS Queues can not be subscribed to standard SNS topics"},
			{"no endpoint", &sns.SubscribeInput{TopicArn: &topic, Protocol: new("sqs")}, invalid, "SQS endpoint ARN"},
			{"https by http", subscribe("http", "https://example.com", nil), invalid, "Endpoint must match the specified protocol"},
			{"no host", subscribe("https", "https:///x", nil), invalid, "Endpoint Reason"},
			{"a password in the URL", subscribe("https", "https://a:b@example.com", nil), invalid, "password"},
			{"a closed address", subscribe("http", "http://metadata.internal", nil), invalid, "the address is closed"},
			{"a long endpoint", subscribe("https", "https://example.com/"+strings.Repeat("x", 2100), nil), invalid, "at most 2048 bytes"},
			{"a function's name", subscribe("lambda", "resize", nil), invalid, "Invalid parameter: Lambda endpoint ARN"},
			{"somebody else's function", subscribe("lambda", "arn:aws:lambda:eu-west-1:444455556666:function:f", nil), invalid, "by its own account"},
			{"other attributes than before", subscribe("sqs", queueRef("q").ARN(), map[string]string{"RawMessageDelivery": "true"}), invalid, "Subscription already exists with different attributes"},
			{"an unknown attribute", subscribe("sqs", queueARN, map[string]string{"Colour": "red"}), invalid, "Invalid parameter: Attributes Reason: AttributeName"},
			{"raw functions", subscribe("lambda", "arn:aws:lambda:eu-west-1:111122223333:function:f", map[string]string{"RawMessageDelivery": "true"}), invalid, "Delivery protocol [lambda] does not support raw message delivery."},
			{"raw perhaps", subscribe("sqs", queueARN, map[string]string{"RawMessageDelivery": "maybe"}), invalid, "RawMessageDelivery: Invalid value [maybe]. Must be true or false."},
			{"a delivery policy for a queue", subscribe("sqs", queueARN, map[string]string{"DeliveryPolicy": `{"healthyRetryPolicy":{"numRetries":1}}`}), invalid, "does not support delivery policies"},
			{"a role", subscribe("sqs", queueARN, map[string]string{"SubscriptionRoleArn": "arn"}), invalid, "SubscriptionRoleArn: This attribute is not available here"},
			{"a replay", subscribe("sqs", queueARN, map[string]string{"ReplayPolicy": "{}"}), invalid, "ReplayPolicy: This attribute is not available here"},
			{"a dead-letter topic", subscribe("sqs", queueARN, map[string]string{"RedrivePolicy": redriveTo(topic)}), invalid, "deadLetterTargetArn is an invalid arn"},
			{"a dead-letter queue elsewhere", subscribe("sqs", queueARN, map[string]string{"RedrivePolicy": redriveTo("arn:aws:sqs:us-east-1:111122223333:d")}), invalid, "same account and region"},
			{"a FIFO dead-letter queue", subscribe("sqs", queueARN, map[string]string{"RedrivePolicy": redriveTo(queueRef("d.fifo").ARN())}), invalid, "a standard topic needs a standard queue"},
			{"more than a dead-letter queue", subscribe("sqs", queueARN, map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"a","maxReceiveCount":3}`}), invalid, `unknown field "maxReceiveCount"`},
			{"a wrong filter", subscribe("sqs", queueARN, map[string]string{"FilterPolicy": `{"a":"1"}`}), invalid, `Invalid parameter: Attributes Reason: FilterPolicy: "a" must be an object or an array`},
		},
		"ConfirmSubscription": {
			{"no token", &sns.ConfirmSubscriptionInput{TopicArn: &topic}, "ValidationError", "token"},
			{"a wrong token", &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: new("abc")}, invalid, "Invalid parameter: Token"},
			{"a region with NUL", &sns.ConfirmSubscriptionInput{TopicArn: new("arn:aws:sns:eu\x00:111122223333:t"), Token: new("abc")}, invalid, "Invalid parameter: TopicArn"},
			{"a topic that is missing", &sns.ConfirmSubscriptionInput{TopicArn: &missing, Token: new("abc")}, notFound, "Topic does not exist"},
			{"perhaps guarded", &sns.ConfirmSubscriptionInput{TopicArn: &topic, Token: new("abc"), AuthenticateOnUnsubscribe: new("maybe")}, invalid, "AuthenticateOnUnsubscribe"},
		},
		"Unsubscribe": {
			{"a topic's ARN", &sns.UnsubscribeInput{SubscriptionArn: &topic}, invalid, "Invalid parameter: SubscriptionArn"},
			{"what lists show", &sns.UnsubscribeInput{SubscriptionArn: new("PendingConfirmation")}, invalid, "An ARN must have at least 6 elements, not 1"},
			{"a topic's name with NUL", &sns.UnsubscribeInput{SubscriptionArn: new(topic + "\x00:" + absentID)}, invalid, "Invalid parameter: SubscriptionArn"},
			{"a region with NUL", &sns.UnsubscribeInput{SubscriptionArn: new("arn:aws:sns:eu\x00:111122223333:t:" + absentID)}, invalid, "Invalid parameter: SubscriptionArn"},
			{"before it is confirmed", &sns.UnsubscribeInput{SubscriptionArn: &pending}, invalid, "pending confirmation"},
		},
		"GetSubscriptionAttributes": {
			{"one that is missing", &sns.GetSubscriptionAttributesInput{SubscriptionArn: new(topic + ":" + absentID)}, notFound, "Subscription does not exist"},
			{"a wrong ARN", &sns.GetSubscriptionAttributesInput{SubscriptionArn: new(topic + ":x")}, invalid, "Invalid parameter: SubscriptionArn"},
		},
		"SetSubscriptionAttributes": {
			{"one that is missing", &sns.SetSubscriptionAttributesInput{SubscriptionArn: new(topic + ":" + absentID), AttributeName: new("FilterPolicy")}, notFound, "Subscription does not exist"},
			{"an unknown attribute", setSub("Endpoint", "x"), invalid, "Invalid parameter: AttributeName"},
			{"a filter that is not JSON", setSub("FilterPolicy", `{"a":`), invalid, "Invalid parameter: FilterPolicy: failed to parse JSON"},
			{"a nested filter of attributes", setSub("FilterPolicy", `{"a":{"b":["c"]}}`), invalid, "does not support nested filter policy"},
			{"another scope", setSub("FilterPolicyScope", "Subject"), invalid, "FilterPolicyScope: Invalid value [Subject]. Please use either MessageBody or MessageAttributes"},
		},
		"Publish": {
			{"no message", &sns.PublishInput{TopicArn: &topic}, "ValidationError", "message"},
			{"an empty message", publish(func(in *sns.PublishInput) { in.Message = new("") }), invalid, "Invalid parameter: Empty message"},
			{"a long message", publish(func(in *sns.PublishInput) { in.Message = new(strings.Repeat("x", 256<<10+1)) }), invalid, "Invalid parameter: Message too long"},
			{"a topic that is missing", publish(func(in *sns.PublishInput) { in.TopicArn = &missing }), notFound, "Topic does not exist"},
			{"no topic", publish(func(in *sns.PublishInput) { in.TopicArn = nil }), invalid, "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"},
			{"two topics", publish(func(in *sns.PublishInput) { in.TargetArn = &topic }), invalid, "Only one of"},
			{"a phone", publish(func(in *sns.PublishInput) { in.TopicArn, in.PhoneNumber = nil, new("+491234567") }), invalid, "SMS"},
			{"a mobile endpoint", publish(func(in *sns.PublishInput) {
				in.TopicArn, in.TargetArn = nil, new("arn:aws:sns:eu-west-1:111122223333:endpoint/GCM/a/b")
			}), invalid, "Invalid parameter: TargetArn"},
			{"an empty subject", publish(func(in *sns.PublishInput) { in.Subject = new("") }), invalid, "Invalid parameter: Subject"},
			{"a subject of two lines", publish(func(in *sns.PublishInput) { in.Subject = new("a\r\nBcc: x@example.com") }), invalid, "Invalid parameter: Subject"},
			{"a long subject", publish(func(in *sns.PublishInput) { in.Subject = new(strings.Repeat("题", 101)) }), invalid, "Invalid parameter: Subject"},
			{"deduplication", publish(func(in *sns.PublishInput) { in.MessageDeduplicationId = new("1") }), invalid, "MessageDeduplicationId"},
			{"an empty group", publish(func(in *sns.PublishInput) { in.MessageGroupId = new("") }), invalid, "MessageGroupId"},
			{"a group with spaces", publish(func(in *sns.PublishInput) { in.MessageGroupId = new("a b") }), invalid, "MessageGroupId"},
			{"another structure", publish(func(in *sns.PublishInput) { in.MessageStructure = new("xml") }), invalid, "MessageStructure"},
			{"a structure that is not JSON", publish(func(in *sns.PublishInput) { in.MessageStructure = new("json") }), invalid, "Message Structure - JSON message body failed to parse"},
			{"a structure without default", publish(func(in *sns.PublishInput) { in.MessageStructure, in.Message = new("json"), new(`{"sqs":"x"}`) }), invalid, "Message Structure - No default entry in JSON message body"},
			{"an attribute without type", attribute("a", "", "x", nil), sns.CodeInvalidParameterValueException, "must contain non-empty message attribute type"},
			{"an attribute of another type", attribute("a", "Bool", "x", nil), sns.CodeInvalidParameterValueException, "has an invalid message attribute type"},
			{"an attribute without value", attribute("a", "String", "", nil), sns.CodeInvalidParameterValueException, "must contain non-empty message attribute value for message attribute type 'String'"},
			{"a number in words", attribute("a", "Number", "one", nil), sns.CodeInvalidParameterValueException, "Could not cast message attribute 'a' value to number."},
			{"bytes for text", attribute("a", "String", "", []byte("x")), sns.CodeInvalidParameterValueException, "must use field 'String'"},
			{"text for bytes", attribute("a", "Binary", "x", nil), sns.CodeInvalidParameterValueException, "must use field 'Binary'"},
			{"a reserved name", attribute("AWS.x", "String", "x", nil), sns.CodeInvalidParameterValueException, "reserved"},
			{"a name with dots", attribute("a..b", "String", "x", nil), sns.CodeInvalidParameterValueException, "several in a row"},
			{"a name with spaces", attribute("a b", "String", "x", nil), sns.CodeInvalidParameterValueException, "Invalid characters"},
			{"no name", attribute("", "String", "x", nil), sns.CodeInvalidParameterValueException, "non-empty message attribute names"},
			{"a long name", attribute(long, "String", "x", nil), sns.CodeInvalidParameterValueException, "less than 256"},
			{"attributes that count", attribute("a", "String", strings.Repeat("x", 256<<10), nil), invalid, "Message too long"},
		},
		"PublishBatch": {
			{"no entries", batch(), sns.CodeEmptyBatchRequestException, "The batch request doesn't contain any entries."},
			{"eleven entries", batch(strings.Split("a,b,c,d,e,f,g,h,i,j,k", ",")...), sns.CodeTooManyEntriesInBatchRequestException, "more entries than permissible"},
			{"an id twice", batch("a", "a"), sns.CodeBatchEntryIdsNotDistinctException, "same Id"},
			{"a wrong id", batch("a b"), sns.CodeInvalidBatchEntryIdException, "abide"},
			{"too much", tooLong, sns.CodeBatchRequestTooLongException, "more than the limit"},
			{"an entry without message", &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []sns.PublishBatchRequestEntry{{Id: new("a")}}}, "ValidationError", "message"},
			{"a topic that is missing", &sns.PublishBatchInput{TopicArn: &missing, PublishBatchRequestEntries: batch("a").PublishBatchRequestEntries}, notFound, "Topic does not exist"},
		},
		"TagResource": {
			{"a topic that is missing", &sns.TagResourceInput{ResourceArn: &missing, Tags: []sns.Tag{tag("a", "b")}}, sns.CodeResourceNotFoundException, "Resource does not exist"},
			{"too many", &sns.TagResourceInput{ResourceArn: &topic, Tags: manyTags(51)}, sns.CodeTagLimitExceededException, "tag quota"},
			{"a long value", &sns.TagResourceInput{ResourceArn: &topic, Tags: []sns.Tag{tag("a", long)}}, "ValidationError", "tags.1.member.value"},
		},
		"UntagResource": {
			{"a topic that is missing", &sns.UntagResourceInput{ResourceArn: &missing, TagKeys: []string{"a"}}, sns.CodeResourceNotFoundException, "Resource does not exist"},
			{"no keys", &sns.UntagResourceInput{ResourceArn: &topic}, "ValidationError", "tagKeys"},
		},
		"ListTagsForResource": {{"a wrong ARN", &sns.ListTagsForResourceInput{ResourceArn: new("t")}, invalid, "Invalid parameter: ResourceArn"}},
	} {
		t.Run(operation, func(t *testing.T) {
			for _, call := range calls {
				t.Run(call.name, func(t *testing.T) {
					_, err := h.Invoke(t.Context(), awsapi.Caller{Account: account, Region: region, Role: "admin"}, "sns", operation, call.in)
					refused(t, err, call.code, call.message)
				})
			}
		})
	}
	if n := len(sns.API.Operations); n != 17 {
		t.Errorf("SNS has %d operations, this table 17", n)
	}
	out, err := f.ListTopics(f.ctx, &sns.ListTopicsInput{})
	if err != nil || len(out.Topics) != 1 {
		t.Errorf("topics %+v, %v", out, err)
	}
	list, err := f.ListSubscriptions(f.ctx, &sns.ListSubscriptionsInput{})
	if err != nil || len(list.Subscriptions) != 2 {
		t.Errorf("subscriptions %+v, %v", list, err)
	}
	e.next() // the confirmation
	f.quiet()
	if got, err := f.queues.Receive(f.ctx, queueRef("q"), receiveNow); err != nil || len(got) != 0 {
		t.Errorf("the queue got %+v, %v", got, err)
	}
}

func manyTags(n int) []sns.Tag {
	var list []sns.Tag
	for i := range n {
		list = append(list, sns.Tag{Key: new("k" + strings.Repeat("x", i)), Value: new("v")})
	}
	return list
}

// A reader may look, a publisher may publish, and neither may more.
func TestRolesOfTheOperations(t *testing.T) {
	f := newSQLite(t)
	h := awsapi.New(awsapi.Config{Keys: noKeys{}})
	h.Register(sns.Bind(f.Topics))
	topic := f.topic("t", nil)
	for role, allowed := range map[string]map[string]bool{
		"reader":    {"GetTopicAttributes": true, "Publish": false, "SetTopicAttributes": false},
		"publisher": {"GetTopicAttributes": false, "Publish": true, "SetTopicAttributes": false},
		"operator":  {"GetTopicAttributes": true, "Publish": true, "SetTopicAttributes": true},
	} {
		for operation, ok := range allowed {
			in := map[string]any{
				"GetTopicAttributes": &sns.GetTopicAttributesInput{TopicArn: &topic}, "Publish": &sns.PublishInput{TopicArn: &topic, Message: new("m")},
				"SetTopicAttributes": &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: new("DisplayName"), AttributeValue: new("x")},
			}[operation]
			_, err := h.Invoke(t.Context(), awsapi.Caller{Account: account, Region: region, Role: role}, "sns", operation, in)
			if (err == nil) != ok {
				t.Errorf("%s by a %s: %v", operation, role, err)
			}
		}
	}
}
