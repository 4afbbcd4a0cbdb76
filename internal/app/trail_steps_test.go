package app

import (
	"crypto/sha256"
	"encoding/base64"
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
func trailSteps(t *testing.T) []trailStep {
	return slices.Concat(eventsSteps(), sqsSteps(), snsSteps(), logsSteps(), ec2Steps(), lambdaSteps(t), cloudControlSteps(), cloudFormationSteps())
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

func lambdaSteps(t *testing.T) []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "lambda", operation: operation, input: input}
	}
	// The package is stored before the function that is to have it.
	withCode := func(s trailStep) trailStep {
		s.prepared = []string{"function_code", "function_code_chunk"}
		return s
	}
	bootstrap := func(script string) string {
		return base64.StdEncoding.EncodeToString(zipped(t, map[string][]byte{"bootstrap": []byte(script)}))
	}
	const function = "arn:aws:lambda:us-east-1:000000000000:function:f"
	return []trailStep{
		withCode(step("CreateFunction", `{"FunctionName":"f","Runtime":"provided.al2023","Handler":"bootstrap","Role":"arn:aws:iam::000000000000:role/f",`+
			`"Code":{"ZipFile":"`+bootstrap("#!/bin/sh\n")+`"},"Environment":{"Variables":{"PASSWORD":"s3cr3t"}},"Tags":{"team":"a"}}`)),
		withCode(step("UpdateFunctionCode", `{"FunctionName":"f","ZipFile":"`+bootstrap("#!/bin/sh\nexit\n")+`"}`)),
		step("UpdateFunctionConfiguration", `{"FunctionName":"f","Timeout":5}`),
		step("AddPermission", `{"FunctionName":"f","StatementId":"s","Action":"lambda:InvokeFunction","Principal":"events.amazonaws.com"}`),
		step("RemovePermission", `{"FunctionName":"f","StatementId":"s"}`),
		step("TagResource", `{"Resource":"`+function+`","Tags":{"k":"v"}}`),
		step("UntagResource", `{"Resource":"`+function+`","TagKeys":["k"]}`),
		{service: "sqs", operation: "CreateQueue", input: `{"QueueName":"mapped"}`},
		step("CreateEventSourceMapping", `{"FunctionName":"f","EventSourceArn":"arn:aws:sqs:us-east-1:000000000000:mapped","Enabled":false}`),
		step("UpdateEventSourceMapping", `{"UUID":"${CreateEventSourceMapping.UUID}","BatchSize":5}`),
		step("DeleteEventSourceMapping", `{"UUID":"${CreateEventSourceMapping.UUID}"}`),
		step("DeleteFunction", `{"FunctionName":"f"}`),
	}
}

func cloudControlSteps() []trailStep {
	step := func(operation, input string) trailStep {
		return trailStep{service: "cloudcontrolapi", operation: operation, input: input}
	}
	return []trailStep{
		{service: "sqs", operation: "CreateQueue", input: `{"QueueName":"model"}`},
		step("UpdateResource", `{"TypeName":"AWS::SQS::Queue","Identifier":"${CreateQueue.QueueUrl}","PatchDocument":"[{\"op\":\"add\",\"path\":\"/DelaySeconds\",\"value\":5}]"}`),
		step("CancelResourceRequest", `{"RequestToken":"${UpdateResource.ProgressEvent.RequestToken}"}`),
		step("CreateResource", `{"TypeName":"AWS::SQS::Queue","DesiredState":"{\"QueueName\":\"new\"}"}`),
		step("DeleteResource", `{"TypeName":"AWS::SQS::Queue","Identifier":"${CreateQueue.QueueUrl}"}`),
	}
}
