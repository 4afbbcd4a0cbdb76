package app

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
)

// trailNotServed are the mutating operations of the models that are not served: calls of them
// are refused, and leave that.
var trailNotServed = []string{
	"events ActivateEventSource", "events CreateEndpoint", "events CreatePartnerEventSource", "events DeactivateEventSource",
	"events DeleteEndpoint", "events DeletePartnerEventSource", "events UpdateEndpoint", "sts AssumeRole",
}

// trailSteps are calls of all mutating operations, in an order in which each finds what it needs.
func trailSteps() []trailStep {
	return slices.Concat(eventsSteps(), sqsSteps(), snsSteps(), logsSteps(), ec2Steps())
}

func eventsSteps() []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "events", operation: operation, input: input}
	}
	const rule = "arn:aws:events:us-east-1:000000000000:rule/r"
	return []trailStep{
		step("CreateEventBus", `{"Name":"shop","Description":"订单 🛒","Tags":[{"Key":"team","Value":"a"}]}`),
		step("UpdateEventBus", `{"Name":"shop","Description":"other"}`),
		step("PutPermission", `{"EventBusName":"shop","StatementId":"s","Action":"events:PutEvents","Principal":"111122223333"}`),
		step("RemovePermission", `{"EventBusName":"shop","StatementId":"s"}`),
		step("PutRule", `{"Name":"r","EventPattern":"{\"source\":[\"shop\"]}"}`),
		step("PutTargets", `{"Rule":"r","Targets":[{"Id":"q","Arn":"arn:aws:sqs:us-east-1:000000000000:q"}]}`),
		step("DisableRule", `{"Name":"r"}`),
		step("EnableRule", `{"Name":"r"}`),
		step("TagResource", `{"ResourceARN":"`+rule+`","Tags":[{"Key":"k","Value":"v"}]}`),
		step("UntagResource", `{"ResourceARN":"`+rule+`","TagKeys":["k"]}`),
		step("CreateArchive", `{"ArchiveName":"a","EventSourceArn":"arn:aws:events:us-east-1:000000000000:event-bus/default"}`),
		step("UpdateArchive", `{"ArchiveName":"a","RetentionDays":7}`),
		step("StartReplay", `{"ReplayName":"p","EventSourceArn":"${CreateArchive.ArchiveArn}","EventStartTime":0,"EventEndTime":1700000000,`+
			`"Destination":{"Arn":"arn:aws:events:us-east-1:000000000000:event-bus/default"}}`),
		step("CancelReplay", `{"ReplayName":"p"}`),
		step("DeleteArchive", `{"ArchiveName":"a"}`),
		step("CreateConnection", `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":{"ApiKeyAuthParameters":{"ApiKeyName":"k","ApiKeyValue":"v"}}}`),
		step("UpdateConnection", `{"Name":"c","Description":"other"}`),
		step("CreateApiDestination", `{"Name":"d","ConnectionArn":"${CreateConnection.ConnectionArn}","InvocationEndpoint":"https://example.com/","HttpMethod":"POST"}`),
		step("UpdateApiDestination", `{"Name":"d","HttpMethod":"PUT"}`),
		step("DeleteApiDestination", `{"Name":"d"}`),
		step("DeauthorizeConnection", `{"Name":"c"}`),
		step("DeleteConnection", `{"Name":"c"}`),
		step("RemoveTargets", `{"Rule":"r","Ids":["q"]}`),
		step("DeleteRule", `{"Name":"r"}`),
		{service: "events", operation: "DeleteRule", input: `{"Name":"r"}`, idle: true},
		step("DeleteEventBus", `{"Name":"shop"}`),
		{service: "events", operation: "DeleteEventBus", input: `{"Name":"shop"}`, idle: true},
	}
}

func sqsSteps() []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "sqs", operation: operation, input: input}
	}
	const url, dead = `"QueueUrl":"http://x/000000000000/orders"`, "arn:aws:sqs:us-east-1:000000000000:dead"
	return []trailStep{
		step("CreateQueue", `{"QueueName":"dead"}`),
		step("CreateQueue", `{"QueueName":"orders","Attributes":{"RedrivePolicy":"{\"deadLetterTargetArn\":\"`+dead+`\",\"maxReceiveCount\":1}"},"tags":{"team":"a"}}`),
		step("SetQueueAttributes", `{`+url+`,"Attributes":{"VisibilityTimeout":"5"}}`),
		step("AddPermission", `{`+url+`,"Label":"l","AWSAccountIds":["111122223333"],"Actions":["SendMessage"]}`),
		step("RemovePermission", `{`+url+`,"Label":"l"}`),
		step("TagQueue", `{`+url+`,"Tags":{"k":"v"}}`),
		step("UntagQueue", `{`+url+`,"TagKeys":["k"]}`),
		step("StartMessageMoveTask", `{"SourceArn":"`+dead+`"}`),
		step("CancelMessageMoveTask", `{"TaskHandle":"${StartMessageMoveTask.TaskHandle}"}`),
		step("PurgeQueue", `{`+url+`}`),
		step("DeleteQueue", `{`+url+`}`),
	}
}

func snsSteps() []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "sns", operation: operation, input: input}
	}
	const topic = `"arn:aws:sns:us-east-1:000000000000:t"`
	// The token of a confirmation goes to the endpoint only: one that is known takes its place.
	const token = "known"
	confirm := step("ConfirmSubscription", `{"TopicArn":`+topic+`,"Token":"`+token+`"}`)
	confirm.prepare = func(t *testing.T, x *trailed) {
		sum := sha256.Sum256([]byte(token))
		x.exec(t, `UPDATE topic_subscription SET token = $1 WHERE protocol = 'https'`, hex.EncodeToString(sum[:]))
	}
	return []trailStep{
		step("CreateTopic", `{"Name":"t","Tags":[{"Key":"team","Value":"a"}]}`),
		step("SetTopicAttributes", `{"TopicArn":`+topic+`,"AttributeName":"DisplayName","AttributeValue":"订单"}`),
		step("TagResource", `{"ResourceArn":`+topic+`,"Tags":[{"Key":"k","Value":"v"}]}`),
		step("UntagResource", `{"ResourceArn":`+topic+`,"TagKeys":["k"]}`),
		step("Subscribe", `{"TopicArn":`+topic+`,"Protocol":"https","Endpoint":"https://example.com/"}`),
		confirm,
		step("Subscribe", `{"TopicArn":`+topic+`,"Protocol":"sqs","Endpoint":"arn:aws:sqs:us-east-1:000000000000:q"}`),
		step("SetSubscriptionAttributes", `{"SubscriptionArn":"${Subscribe.SubscriptionArn}","AttributeName":"RawMessageDelivery","AttributeValue":"true"}`),
		step("Unsubscribe", `{"SubscriptionArn":"${Subscribe.SubscriptionArn}"}`),
		step("DeleteTopic", `{"TopicArn":`+topic+`}`),
		{service: "sns", operation: "DeleteTopic", input: `{"TopicArn":` + topic + `}`, idle: true},
	}
}

func logsSteps() []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "logs", operation: operation, input: input}
	}
	return []trailStep{
		step("CreateLogGroup", `{"logGroupName":"g"}`),
		step("PutRetentionPolicy", `{"logGroupName":"g","retentionInDays":7}`),
		step("CreateLogStream", `{"logGroupName":"g","logStreamName":"s"}`),
		step("DeleteLogStream", `{"logGroupName":"g","logStreamName":"s"}`),
		step("DeleteLogGroup", `{"logGroupName":"g"}`),
	}
}

func ec2Steps() []trailStep {
	instances := func(operation, state, members string) trailStep {
		s := trailStep{service: "ec2", operation: operation}
		s.prepare = func(t *testing.T, x *trailed) {
			if state != "" { // nothing runs that would bring it there
				x.exec(t, `UPDATE instance SET state = $1`, state)
			}
			x.exec(t, `UPDATE instance SET id = 'i-0abcd1234ef567890'`)
		}
		s.input = `{` + members + `}`
		return s
	}
	const ids, resources = `"InstanceIds":["i-0abcd1234ef567890"]`, `"Resources":["i-0abcd1234ef567890"]`
	return []trailStep{
		{service: "ec2", operation: "RunInstances", input: `{"ImageId":"ami-0abcdef1234567890","MinCount":1,"MaxCount":1,"ClientToken":"t"}`},
		instances("CreateTags", "", resources+`,"Tags":[{"Key":"Name","Value":"web"}]`),
		instances("DeleteTags", "", resources+`,"Tags":[{"Key":"Name"}]`),
		instances("StopInstances", "running", ids),
		instances("StartInstances", "stopped", ids),
		func() trailStep { s := instances("RebootInstances", "running", ids); s.still = true; return s }(),
		instances("TerminateInstances", "", ids),
	}
}
