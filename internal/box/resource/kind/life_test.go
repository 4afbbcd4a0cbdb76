package kind

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// life is the life of a resource: made, changed a few times and deleted.
type life struct {
	typeName string
	// before makes what the resource rests on.
	before func(x *fixture)
	create string
	// ref is what Ref gives; empty: the identifier. made are properties beyond those asked for.
	ref  string
	made map[string]any
	// hidden are properties that are not read: they are write-only.
	hidden []string
	// updates are the models that are asked for one after the other.
	updates []update
	// token, if the identifier follows from it: then a resource with it is made once, and never exists already.
	token bool
	// unlisted types have no list.
	unlisted bool
	// fixed types cannot be changed.
	fixed bool
	// others are how many resources of the type there are besides.
	others int
	// named, if the identifier begins otherwise in a list.
	named string
}

type update struct {
	to   string
	want map[string]any // beyond what is asked for
}

const queueURL = baseURL + "/" + account + "/"

func needQueue(names ...string) func(*fixture) {
	return func(x *fixture) {
		for _, name := range names {
			x.must("AWS::SQS::Queue", `{"QueueName":"`+name+`"}`)
		}
	}
}

func needTopic(x *fixture) { x.must("AWS::SNS::Topic", `{"TopicName":"news"}`) }

func needBus(x *fixture) { x.must("AWS::Events::EventBus", `{"Name":"orders"}`) }

func needFunctions(x *fixture) {
	for _, name := range []string{"f", "g"} {
		x.must("AWS::Lambda::Function", `{"FunctionName":"`+name+`","Role":"arn:aws:iam::111122223333:role/r","Runtime":"python3.13","Handler":"index.handler","Code":{"ZipFile":"def handler(e, c): pass"}}`)
	}
}

const apiKey = `{"ApiKeyAuthParameters":{"ApiKeyName":"X-Key","ApiKeyValue":"hush"}}`

const allowPut = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"events:PutEvents","Resource":"arn:aws:events:eu-west-1:111122223333:event-bus/orders"}`

func queueStatement(effect string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":{"Service":"events.amazonaws.com"},"Action":"sqs:SendMessage",` +
		`"Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":"arn:aws:events:eu-west-1:111122223333:rule/订单"}}}]}`
}

func topicStatement(effect string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"s","Effect":"` + effect + `","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish",` +
		`"Resource":"arn:aws:sns:eu-west-1:111122223333:news"}]}`
}

var lives = map[string]life{
	"event bus": {
		typeName: "AWS::Events::EventBus", before: needQueue("dead"), others: 1,
		create: `{"Name":"orders","Description":"订单 📦","Tags":[{"Key":"team","Value":"shop"}],
			"Policy":{"Version":"2012-10-17","Statement":[` + strings.Replace(allowPut, "{", `{"Sid":"other",`, 1) + `]}}`,
		made: map[string]any{"Arn": "arn:aws:events:eu-west-1:111122223333:event-bus/orders"},
		updates: []update{
			{to: `{"Name":"orders","Description":"other","DeadLetterConfig":{"Arn":"arn:aws:sqs:eu-west-1:111122223333:dead"},"LogConfig":{"Level":"INFO","IncludeDetail":"FULL"},
				"Tags":[{"Key":"stage","Value":"test"}]}`, want: map[string]any{"Policy": nil}},
			{to: `{"Name":"orders","Policy":{"Version":"2012-10-17","Statement":[` + strings.Replace(allowPut, "{", `{"Sid":"new",`, 1) + `]}}`,
				want: map[string]any{"Description": nil, "DeadLetterConfig": nil, "LogConfig": nil, "Tags": nil}},
		},
	},
	"statement of a bus": {
		typeName: "AWS::Events::EventBusPolicy", before: needBus, ref: "orders|other",
		create: `{"EventBusName":"orders","StatementId":"other","Statement":` + allowPut + `}`,
		hidden: []string{"Statement"},
		updates: []update{{
			to:   `{"EventBusName":"orders","StatementId":"other","Statement":` + strings.ReplaceAll(allowPut, "444455556666", "777788889999") + `}`,
			want: map[string]any{"Statement": strings.Replace(strings.ReplaceAll(allowPut, "444455556666", "777788889999"), "{", `{"Sid":"other",`, 1)},
		}},
	},
	"short statement of the default bus": {
		typeName: "AWS::Events::EventBusPolicy", ref: "default|short",
		create: `{"StatementId":"short","Action":"events:PutEvents","Principal":"444455556666"}`,
		hidden: []string{"Action", "Principal", "Condition"},
		updates: []update{{
			to: `{"StatementId":"short","Action":"events:PutEvents","Principal":"*","Condition":{"Type":"StringEquals","Key":"aws:PrincipalOrgID","Value":"o-abcdefghij"}}`,
			want: map[string]any{"Statement": `{"Sid":"short","Effect":"Allow","Principal":"*","Action":"events:PutEvents","Resource":"arn:aws:events:eu-west-1:111122223333:event-bus/default",
				"Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abcdefghij"}}}`},
		}},
		made: map[string]any{"EventBusName": "default", "Statement": `{"Sid":"short","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},
			"Action":"events:PutEvents","Resource":"arn:aws:events:eu-west-1:111122223333:event-bus/default"}`},
	},
	"rule of the default bus": {
		typeName: "AWS::Events::Rule", before: needQueue("q", "r", "dead"), ref: "rule",
		create: `{"Name":"rule","EventPattern":{"source":["shop"],"detail":{"状态":["已付款"],"price":[{"numeric":[">",1e2]}]}},
			"Targets":[{"Id":"q","Arn":"arn:aws:sqs:eu-west-1:111122223333:q"}]}`,
		made: map[string]any{"Arn": "arn:aws:events:eu-west-1:111122223333:rule/rule", "EventBusName": "default", "State": "ENABLED"},
		updates: []update{
			{to: `{"Name":"rule","EventPattern":{"source":["shop","till"]},"State":"DISABLED","Description":"d","RoleArn":"arn:aws:iam::111122223333:role/r",
				"Tags":[{"Key":"a","Value":"1"}],"Targets":[
				{"Id":"c","Arn":"arn:aws:sqs:eu-west-1:111122223333:q","Input":"{ \"a\":  1 }"},
				{"Id":"r","Arn":"arn:aws:sqs:eu-west-1:111122223333:r","InputTransformer":{"InputPathsMap":{"s":"$.source"},"InputTemplate":"{\"s\": <s>}"},
				 "RetryPolicy":{"MaximumRetryAttempts":"3","MaximumEventAgeInSeconds":60},"DeadLetterConfig":{"Arn":"arn:aws:sqs:eu-west-1:111122223333:dead"}}]}`},
			{to: `{"Name":"rule","EventPattern":"{\"source\": [ \"shop\" ]}","ScheduleExpression":"rate(5 minutes)",
				"Targets":[{"Id":"r","Arn":"arn:aws:sqs:eu-west-1:111122223333:q","InputPath":"$.detail"}]}`,
				want: map[string]any{"State": "ENABLED", "Description": nil, "RoleArn": nil, "Tags": nil}},
			{to: `{"Name":"rule","ScheduleExpression":"cron(0 12 * * ? *)"}`, want: map[string]any{"EventPattern": nil, "Targets": nil}},
		},
	},
	"rule of another bus": {
		typeName: "AWS::Events::Rule", before: func(x *fixture) { needBus(x); needQueue("q")(x) }, ref: "orders|rule",
		create: `{"Name":"rule","EventBusName":"orders","EventPattern":{"source":["shop"]},"Targets":[{"Id":"q","Arn":"arn:aws:sqs:eu-west-1:111122223333:q"}]}`,
		made:   map[string]any{"Arn": "arn:aws:events:eu-west-1:111122223333:rule/orders/rule"},
		updates: []update{{to: `{"Name":"rule","EventBusName":"orders","EventPattern":{"source":["shop"]},"State":"ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"}`,
			want: map[string]any{"Targets": nil}}},
	},
	"connection with an API key": {
		typeName: "AWS::Events::Connection",
		create:   `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":` + apiKey + `,"Description":"d"}`,
		hidden:   []string{"AuthParameters"},
		updates: []update{
			{to: `{"Name":"c","AuthorizationType":"BASIC","AuthParameters":{"BasicAuthParameters":{"Username":"u","Password":"p"},
				"InvocationHttpParameters":{"HeaderParameters":[{"Key":"X-A","Value":"1"}]}}}`, want: map[string]any{"Description": nil}},
			{to: `{"Name":"c","AuthorizationType":"OAUTH_CLIENT_CREDENTIALS","Description":"other","AuthParameters":{"OAuthParameters":{"AuthorizationEndpoint":"https://example.com/token",
				"HttpMethod":"POST","ClientParameters":{"ClientID":"i","ClientSecret":"s"}}}}`},
		},
	},
	"connection with OAuth": {
		typeName: "AWS::Events::Connection",
		create: `{"Name":"c","AuthorizationType":"OAUTH_CLIENT_CREDENTIALS","AuthParameters":{"OAuthParameters":{"AuthorizationEndpoint":"https://example.com/token",
			"HttpMethod":"POST","ClientParameters":{"ClientID":"i","ClientSecret":"s"},"OAuthHttpParameters":{"BodyParameters":[{"Key":"scope","Value":"a","IsValueSecret":false}]}}}}`,
		hidden: []string{"AuthParameters"},
	},
	"API destination": {
		typeName: "AWS::Events::ApiDestination",
		before: func(x *fixture) {
			for _, name := range []string{"c", "d"} {
				x.must("AWS::Events::Connection", `{"Name":"`+name+`","AuthorizationType":"API_KEY","AuthParameters":`+apiKey+`}`)
			}
		},
		create: `{"Name":"hook","ConnectionArn":"CONNECTION c","InvocationEndpoint":"https://example.com/a/*","HttpMethod":"POST"}`,
		made:   map[string]any{"InvocationRateLimitPerSecond": "300", "ArnForPolicy": "arn:aws:events:eu-west-1:111122223333:api-destination/hook"},
		updates: []update{
			{to: `{"Name":"hook","ConnectionArn":"CONNECTION d","InvocationEndpoint":"https://example.com/b","HttpMethod":"PUT","InvocationRateLimitPerSecond":"7","Description":"说明"}`},
			{to: `{"Name":"hook","ConnectionArn":"CONNECTION d","InvocationEndpoint":"https://example.com/b","HttpMethod":"PUT"}`,
				want: map[string]any{"InvocationRateLimitPerSecond": "300", "Description": nil}},
		},
	},
	"archive": {
		typeName: "AWS::Events::Archive", before: needBus,
		create: `{"ArchiveName":"a","SourceArn":"arn:aws:events:eu-west-1:111122223333:event-bus/orders","EventPattern":{"source":["shop"]},"RetentionDays":"10"}`,
		made:   map[string]any{"Arn": "arn:aws:events:eu-west-1:111122223333:archive/a"},
		updates: []update{
			{to: `{"ArchiveName":"a","SourceArn":"arn:aws:events:eu-west-1:111122223333:event-bus/orders","EventPattern":"{\"source\":[\"till\"]}","Description":"d"}`,
				want: map[string]any{"RetentionDays": "0"}},
			{to: `{"ArchiveName":"a","SourceArn":"arn:aws:events:eu-west-1:111122223333:event-bus/orders","RetentionDays":3}`,
				want: map[string]any{"EventPattern": nil, "Description": nil}},
		},
	},
	"queue": {
		typeName: "AWS::SQS::Queue", before: needQueue("dead"), others: 1,
		create: `{"QueueName":"q","VisibilityTimeout":"60","DelaySeconds":5,"Tags":[{"Key":"team","Value":"shop"}],
			"RedrivePolicy":{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead","maxReceiveCount":"4"}}`,
		ref:    queueURL + "q",
		hidden: []string{"RedrivePolicy"}, // its number becomes one
		made: map[string]any{"Arn": "arn:aws:sqs:eu-west-1:111122223333:q", "QueueUrl": queueURL + "q", "MessageRetentionPeriod": "345600",
			"RedrivePolicy": `{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead","maxReceiveCount":4}`},
		updates: []update{
			{to: `{"QueueName":"q","MaximumMessageSize":2048,"MessageRetentionPeriod":"60","ReceiveMessageWaitTimeSeconds":20,"SqsManagedSseEnabled":"false","DelaySeconds":5,
				"RedriveAllowPolicy":{"redrivePermission":"denyAll"},"Tags":[{"Key":"team","Value":"other"},{"Key":"阶段","Value":"测试"}]}`,
				want: map[string]any{"VisibilityTimeout": "30", "RedrivePolicy": nil}},
			{to: `{"QueueName":"q"}`, want: map[string]any{"DelaySeconds": "0", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600", "RedriveAllowPolicy": nil,
				"ReceiveMessageWaitTimeSeconds": "0", "SqsManagedSseEnabled": true, "Tags": nil}},
		},
	},
	"FIFO queue": {
		typeName: "AWS::SQS::Queue", ref: queueURL + "q.fifo",
		create: `{"QueueName":"q.fifo","FifoQueue":true,"ContentBasedDeduplication":"true"}`,
		updates: []update{{to: `{"QueueName":"q.fifo","FifoQueue":true,"DeduplicationScope":"messageGroup","FifoThroughputLimit":"perMessageGroupId"}`,
			want: map[string]any{"ContentBasedDeduplication": false}}},
	},
	"queue policy": {
		typeName: "AWS::SQS::QueuePolicy", before: needQueue("a", "b", "c"), token: true, unlisted: true,
		create: `{"Queues":["` + queueURL + `a","` + queueURL + `b"],"PolicyDocument":` + queueStatement("Allow") + `}`,
		updates: []update{
			{to: `{"Queues":["` + queueURL + `a","` + queueURL + `b"],"PolicyDocument":` + queueStatement("Deny") + `}`},
			{to: `{"Queues":["` + queueURL + `b","` + queueURL + `c"],"PolicyDocument":` + queueStatement("Allow") + `}`},
			{to: `{"Queues":["` + queueURL + `b"],"PolicyDocument":` + queueStatement("Deny") + `}`},
		},
	},
	"inline queue policy": {
		typeName: "AWS::SQS::QueueInlinePolicy", before: needQueue("a", "b"), ref: queueURL + "a",
		create:  `{"Queue":"` + queueURL + `a","PolicyDocument":` + queueStatement("Allow") + `}`,
		updates: []update{{to: `{"Queue":"` + queueURL + `a","PolicyDocument":` + queueStatement("Deny") + `}`}},
	},
	"topic": {
		typeName: "AWS::SNS::Topic", before: needQueue("a", "b", "c"), ref: "arn:aws:sns:eu-west-1:111122223333:t",
		create: `{"TopicName":"t","DisplayName":"新闻","Tags":[{"Key":"team","Value":"shop"}],"Subscription":[
			{"Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:a"},{"Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:b"}]}`,
		updates: []update{
			{to: `{"TopicName":"t","SignatureVersion":2,"TracingConfig":"PassThrough","Tags":[{"Key":"team","Value":"x"}],
				"Subscription":[{"Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:b"},{"Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:c"}]}`,
				want: map[string]any{"DisplayName": nil}},
			{to: `{"TopicName":"t"}`, want: map[string]any{"SignatureVersion": "1", "Subscription": nil, "Tags": nil}},
		},
	},
	"topic policy": {
		typeName: "AWS::SNS::TopicPolicy", before: needTopic, token: true, unlisted: true,
		create:  `{"Topics":["arn:aws:sns:eu-west-1:111122223333:news"],"PolicyDocument":` + topicStatement("Allow") + `}`,
		updates: []update{{to: `{"Topics":["arn:aws:sns:eu-west-1:111122223333:news"],"PolicyDocument":` + topicStatement("Deny") + `}`}},
	},
	"inline topic policy": {
		typeName: "AWS::SNS::TopicInlinePolicy", before: needTopic, ref: "arn:aws:sns:eu-west-1:111122223333:news",
		create:  `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","PolicyDocument":` + topicStatement("Allow") + `}`,
		updates: []update{{to: `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","PolicyDocument":` + topicStatement("Deny") + `}`}},
	},
	"subscription": {
		typeName: "AWS::SNS::Subscription", before: func(x *fixture) { needTopic(x); needQueue("a", "dead")(x) },
		create: `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:a","FilterPolicy":{"kind":["a"]}}`,
		made:   map[string]any{"RawMessageDelivery": false},
		updates: []update{
			{to: `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:a","RawMessageDelivery":"true",
				"FilterPolicyScope":"MessageBody","FilterPolicy":{"order":{"状态":["已付款"]}},"RedrivePolicy":{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead"}}`},
			{to: `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:a","FilterPolicyScope":"MessageAttributes","FilterPolicy":{"kind":["b"]}}`,
				want: map[string]any{"RawMessageDelivery": false, "RedrivePolicy": nil}},
			{to: `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:a"}`, want: map[string]any{"FilterPolicy": nil}},
		},
	},
	"function": {
		typeName: "AWS::Lambda::Function", before: needQueue("dead"),
		create: `{"FunctionName":"f","Role":"arn:aws:iam::111122223333:role/r","Runtime":"nodejs22.x","Handler":"index.handler","Code":{"ZipFile":"exports.handler = async () => '你好';"},
			"Environment":{"Variables":{"AA":"1","BB":2}},"Timeout":"10","Tags":[{"Key":"team","Value":"shop"}],"LoggingConfig":{"LogFormat":"JSON"}}`,
		hidden: []string{"Code", "LoggingConfig"},
		made: map[string]any{"Arn": "arn:aws:lambda:eu-west-1:111122223333:function:f", "MemorySize": "128", "PackageType": "Zip",
			"LoggingConfig": `{"LogFormat":"JSON","LogGroup":"/aws/lambda/f","ApplicationLogLevel":"INFO","SystemLogLevel":"INFO"}`},
		updates: []update{
			{to: `{"FunctionName":"f","Role":"arn:aws:iam::111122223333:role/s","Runtime":"nodejs22.x","Handler":"index.other","Code":{"ZipFile":"exports.other = 1"},"MemorySize":256,
				"Description":"说明","DeadLetterConfig":{"TargetArn":"arn:aws:sqs:eu-west-1:111122223333:dead"},"EphemeralStorage":{"Size":"1024"},"Tags":[{"Key":"team","Value":"x"}]}`,
				want: map[string]any{"Timeout": "3", "Environment": nil, "LoggingConfig": `{"LogFormat":"Text","LogGroup":"/aws/lambda/f"}`}},
			{to: `{"FunctionName":"f","Role":"arn:aws:iam::111122223333:role/s","Runtime":"python3.13","Handler":"index.handler","Code":{"ZipFile":"exports.other = 1"}}`,
				want: map[string]any{"MemorySize": "128", "Description": nil, "DeadLetterConfig": nil, "EphemeralStorage": `{"Size":512}`, "Tags": nil}},
		},
	},
	"event source mapping": {
		typeName: "AWS::Lambda::EventSourceMapping", before: func(x *fixture) { needFunctions(x); needQueue("q")(x) },
		create: `{"FunctionName":"f","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:q","BatchSize":"5","Tags":[{"Key":"team","Value":"shop"}]}`,
		made:   map[string]any{"Enabled": true, "MaximumBatchingWindowInSeconds": "0"},
		updates: []update{
			{to: `{"FunctionName":"g","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:q","BatchSize":20,"MaximumBatchingWindowInSeconds":"1","Enabled":"false",
				"FilterCriteria":{"Filters":[{"Pattern":"{\"body\":{\"状态\":[\"已付款\"]}}"}]},"FunctionResponseTypes":["ReportBatchItemFailures"],"ScalingConfig":{"MaximumConcurrency":2}}`,
				want: map[string]any{"Tags": nil}},
			{to: `{"FunctionName":"f","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:q","Tags":[{"Key":"a","Value":"b"}]}`,
				want: map[string]any{"BatchSize": "10", "MaximumBatchingWindowInSeconds": "0", "Enabled": true, "FilterCriteria": nil, "FunctionResponseTypes": nil, "ScalingConfig": nil}},
		},
	},
	"permission": {
		typeName: "AWS::Lambda::Permission", before: needFunctions, token: true, fixed: true,
		create: `{"FunctionName":"f","Action":"lambda:InvokeFunction","Principal":"events.amazonaws.com","SourceArn":"arn:aws:events:eu-west-1:111122223333:rule/r","SourceAccount":"111122223333"}`,
	},
	"permission of an account": {
		typeName: "AWS::Lambda::Permission", before: needFunctions, token: true, fixed: true,
		create: `{"FunctionName":"arn:aws:lambda:eu-west-1:111122223333:function:f","Action":"lambda:InvokeFunction","Principal":"444455556666"}`, named: "f",
	},
	"log group": {
		typeName: "AWS::Logs::LogGroup", before: func(x *fixture) { x.must("AWS::Logs::LogGroup", `{"LogGroupName":"/a/bb"}`) }, others: 1,
		create:  `{"LogGroupName":"/a/b","RetentionInDays":"7"}`,
		made:    map[string]any{"Arn": "arn:aws:logs:eu-west-1:111122223333:log-group:/a/b:*", "LogGroupClass": "STANDARD"},
		updates: []update{{to: `{"LogGroupName":"/a/b","RetentionInDays":30}`}},
	},
	"instance": {
		typeName: "AWS::EC2::Instance", token: true,
		create: `{"ImageId":"ami-0abcdef1234567890","InstanceType":"t3.micro","Monitoring":"true","AvailabilityZone":"eu-west-1b","IamInstanceProfile":"web",
			"MetadataOptions":{"HttpTokens":"required","HttpPutResponseHopLimit":"2"},"Tags":[{"Key":"Name","Value":"web-1"}]}`,
		hidden: []string{"MetadataOptions"}, // filled up
		made: map[string]any{"State": map[string]any{"Code": "16", "Name": "running"}, "MetadataOptions": map[string]any{
			"HttpTokens": "required", "HttpPutResponseHopLimit": "2", "HttpEndpoint": "enabled", "HttpProtocolIpv6": "disabled", "InstanceMetadataTags": "disabled"}},
		updates: []update{{to: `{"ImageId":"ami-0abcdef1234567890","InstanceType":"t3.micro","Monitoring":"true","AvailabilityZone":"eu-west-1b","IamInstanceProfile":"web",
			"MetadataOptions":{"HttpTokens":"required","HttpPutResponseHopLimit":"2"},"Tags":[{"Key":"Name","Value":"网站"},{"Key":"team","Value":"shop"}]}`}},
	},
}

// start makes what a life rests on and fills in what is known only then.
func (l life) start(x *fixture) life {
	if l.before != nil {
		l.before(x)
	}
	fill := func(text string) string {
		for _, name := range []string{"c", "d"} {
			if !strings.Contains(text, "CONNECTION "+name) {
				continue
			}
			have, err := x.read("AWS::Events::Connection", name)
			if err != nil {
				x.t.Fatal(err)
			}
			text = strings.ReplaceAll(text, "CONNECTION "+name, have["Arn"].(string))
		}
		return text
	}
	l.create = fill(l.create)
	l.updates = slices.Clone(l.updates)
	for i := range l.updates {
		l.updates[i].to = fill(l.updates[i].to)
	}
	return l
}

// asked are the properties that reading shows as they were asked for.
func (l life) asked(x *fixture, text string) map[string]any {
	want := maps.Clone(x.desired(l.typeName, text))
	for _, p := range l.hidden {
		delete(want, p)
	}
	return want
}

func TestLifeOfResources(t *testing.T) {
	onBoth(t, func(t *testing.T, x *fixture) {
		x.each(t, func(t *testing.T, l life) {
			x.nextAccount()
			l.start(x).live(t, x)
		})
	})
}

// each runs a test with each life, all with this fixture.
func (x *fixture) each(t *testing.T, f func(t *testing.T, l life)) {
	for name, l := range lives {
		t.Run(name, func(t *testing.T) {
			outer := x.t
			defer func() { x.t = outer }()
			x.t = t
			f(t, l)
		})
	}
}

// eachUpdate is each, with each of the first changes that a life could make.
func (x *fixture) eachUpdate(t *testing.T, f func(t *testing.T, l life)) {
	x.each(t, func(t *testing.T, l life) {
		for _, u := range l.updates {
			one := l
			one.updates = []update{u}
			f(t, one)
		}
	})
}

func (l life) live(t *testing.T, x *fixture) {
	r := x.request()
	r.Desired = x.desired(l.typeName, l.create)
	have, err := x.createAs(l.typeName, r)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	id := x.identifier(l.typeName, have)
	wants(x, have, l.asked(x, l.create))
	wants(x, have, l.made)
	if ref, err := new(x.types[l.typeName]).RefValue(have); err != nil || l.ref != "" && ref != x.here(l.ref) {
		t.Errorf("Ref gives %q, %v", ref, err)
	}
	if problems := x.types[l.typeName].Schema.Validate(have); len(problems) > 0 {
		t.Errorf("the schema does not allow what was made, %s: %v", shown(have), problems)
	}
	l.reads(t, x, id, have)
	if !l.unlisted {
		ids, listed := x.list(l.typeName), id
		if l.named != "" {
			_, rest, _ := strings.Cut(id, "|")
			listed = l.named + "|" + rest
		}
		if !slices.Contains(ids, listed) || len(ids) != 1+l.others {
			t.Errorf("listed: %q", ids)
		}
	}
	l.isThere(t, x, r, have)
	from := l.create
	for i, u := range l.updates {
		have, err := x.update(l.typeName, id, from, u.to)
		if err != nil {
			t.Fatalf("update %d: %v", i, err)
		}
		wants(x, have, l.asked(x, u.to))
		wants(x, have, u.want)
		l.reads(t, x, id, have)
		from = u.to
	}
	l.ends(t, x, id)
}

// reads checks that reading gives what an operation returned.
func (l life) reads(t *testing.T, x *fixture, id string, want resource.Model) {
	t.Helper()
	have, err := x.read(l.typeName, id)
	if err != nil || shown(have) != shown(want) {
		t.Errorf("read %s, not %s: %v", shown(have), shown(want), err)
	}
	for _, p := range x.types[l.typeName].Schema.WriteOnly {
		if _, there := have[p[0]]; there && len(p) == 1 {
			t.Errorf("read shows %s, which is write-only", p)
		}
	}
}

// isThere checks that the resource is not made a second time.
func (l life) isThere(t *testing.T, x *fixture, r resource.Request, want resource.Model) {
	t.Helper()
	again := r
	again.Again = true
	if have, err := x.createAs(l.typeName, again); err != nil || shown(have) != shown(want) {
		t.Errorf("a repeat made %s, not %s: %v", shown(have), shown(want), err)
	}
	if l.token {
		return
	}
	if have, err := x.create(l.typeName, l.create); !is(err, resource.AlreadyExists) {
		t.Errorf("made twice: %s, %v", shown(have), err)
	}
}

// ends checks that the resource is deleted once and for all.
func (l life) ends(t *testing.T, x *fixture, id string) {
	t.Helper()
	if err := x.delete(l.typeName, id, false); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if have, err := x.read(l.typeName, id); !is(err, resource.NotFound) {
		t.Errorf("read after delete: %s, %v", shown(have), err)
	}
	if _, err := x.update(l.typeName, id, l.create, l.create); !is(err, resource.NotFound) && !(l.fixed && is(err, resource.NotUpdatable)) {
		t.Errorf("update after delete: %v", err)
	}
	if err := x.delete(l.typeName, id, false); !is(err, resource.NotFound) {
		t.Errorf("delete after delete: %v", err)
	}
	if err := x.delete(l.typeName, id, true); err != nil {
		t.Errorf("repeated delete after delete: %v", err)
	}
	if !l.unlisted {
		if ids := x.list(l.typeName); len(ids) != l.others {
			t.Errorf("listed after delete: %q", ids)
		}
	}
}

// everyCut calls f for each call at which an operation can be cut off, before it is made and after, in an
// account of its own; f says whether the operation came that far.
func (x *fixture) everyCut(t *testing.T, l life, f func(l life, n int, answerLost bool) bool) {
	for _, answerLost := range []bool{false, true} {
		for n := 1; ; n++ {
			x.nextAccount()
			if !f(l.start(x), n, answerLost) {
				if n == 1 {
					t.Error("the operation made no call")
				}
				break
			}
			if n > 60 {
				t.Fatal("the operation does not end")
			}
		}
	}
}

func TestCreatesThatAreCutOffAreFinishedByTheirRepeat(t *testing.T) {
	x := newSQLite(t)
	x.each(t, func(t *testing.T, l life) {
		x.everyCut(t, l, func(l life, n int, answerLost bool) bool {
			r := x.request()
			r.Desired = x.desired(l.typeName, l.create)
			h := x.types[l.typeName].Handler
			if !x.cutOff(n, answerLost, func(ctx context.Context) error { _, err := h.Create(ctx, r); return err }) {
				return false
			}
			r.Again = true
			have, err := x.createAs(l.typeName, r)
			if err != nil {
				t.Errorf("cut at %d, %v: the repeat failed: %v", n, answerLost, err)
				return true
			}
			wants(x, have, l.asked(x, l.create))
			if !l.unlisted {
				if ids := x.list(l.typeName); len(ids) != 1+l.others {
					t.Errorf("cut at %d, %v: listed %q", n, answerLost, ids)
				}
			}
			return true
		})
	})
}

func TestUpdatesThatAreCutOffAreFinishedByTheirRepeat(t *testing.T) {
	x := newSQLite(t)
	x.eachUpdate(t, func(t *testing.T, l life) {
		x.everyCut(t, l, func(l life, n int, answerLost bool) bool {
			r := x.request()
			r.Identifier = x.identifier(l.typeName, x.must(l.typeName, l.create))
			r.Previous, r.Desired = x.desired(l.typeName, l.create), x.desired(l.typeName, l.updates[0].to)
			h := x.types[l.typeName].Handler
			if !x.cutOff(n, answerLost, func(ctx context.Context) error { _, err := h.Update(ctx, r); return err }) {
				return false
			}
			r.Again = true
			have, err := h.Update(t.Context(), r)
			if err != nil {
				t.Errorf("cut at %d, %v: the repeat failed: %v", n, answerLost, err)
				return true
			}
			wants(x, have, l.asked(x, l.updates[0].to))
			return true
		})
	})
}

func TestDeletesThatAreCutOffAreFinishedByTheirRepeat(t *testing.T) {
	x := newSQLite(t)
	x.each(t, func(t *testing.T, l life) {
		x.everyCut(t, l, func(l life, n int, answerLost bool) bool {
			r := x.request()
			r.Identifier = x.identifier(l.typeName, x.must(l.typeName, l.create))
			h := x.types[l.typeName].Handler
			if !x.cutOff(n, answerLost, func(ctx context.Context) error { return h.Delete(ctx, r) }) {
				return false
			}
			r.Again = true
			if err := h.Delete(t.Context(), r); err != nil {
				t.Errorf("cut at %d, %v: the repeat failed: %v", n, answerLost, err)
			}
			if have, err := x.read(l.typeName, r.Identifier); !is(err, resource.NotFound) {
				t.Errorf("cut at %d, %v: read %s, %v", n, answerLost, shown(have), err)
			}
			return true
		})
	})
}

func TestCreatesThatAreRefusedLeaveNothing(t *testing.T) {
	x := newSQLite(t)
	x.each(t, func(t *testing.T, l life) {
		for n := 1; ; n++ {
			x.nextAccount()
			l := l.start(x)
			r := x.request()
			r.Desired = x.desired(l.typeName, l.create)
			h := x.types[l.typeName].Handler
			if !x.refused(n, func(ctx context.Context) error { _, err := h.Create(ctx, r); return err }) {
				break
			}
			if !l.unlisted {
				if ids := x.list(l.typeName); len(ids) != l.others {
					t.Errorf("refused at %d: listed %q", n, ids)
				}
			}
			if _, err := x.createAs(l.typeName, r); err != nil {
				t.Errorf("refused at %d: another try: %v", n, err)
			}
		}
	})
}

// TestUpdatesThatAreRefusedChangeNothing leaves out what cannot be taken back: secrets.
func TestUpdatesThatAreRefusedChangeNothing(t *testing.T) {
	x := newSQLite(t)
	x.eachUpdate(t, func(t *testing.T, l life) {
		if l.typeName == "AWS::Events::Connection" {
			return
		}
		for n := 1; ; n++ {
			x.nextAccount()
			l := l.start(x)
			before := x.must(l.typeName, l.create)
			r := x.request()
			r.Identifier = x.identifier(l.typeName, before)
			r.Previous, r.Desired = x.desired(l.typeName, l.create), x.desired(l.typeName, l.updates[0].to)
			h := x.types[l.typeName].Handler
			if !x.refused(n, func(ctx context.Context) error { _, err := h.Update(ctx, r); return err }) {
				break
			}
			have, err := x.read(l.typeName, r.Identifier)
			if err != nil {
				t.Fatal(err)
			}
			wants(x, have, plain(t, before))
		}
	})
}
