package awsapi_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestParametersAndResponsesAreInCloudTrailsCasing(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	at := time.Date(2026, 2, 20, 13, 9, 13, 0, time.UTC)
	for name, tt := range map[string]struct {
		service, op, input string
		out                any
		request, response  string // JSON
	}{
		"first letters are lower, also of acronyms": {
			"sqs", "AddPermission", `{"QueueUrl":"http://x/1/q","Label":"l","AWSAccountIds":["111122223333"],"Actions":["SendMessage"]}`, nil,
			`{"aWSAccountIds":["111122223333"],"actions":["SendMessage"],"label":"l","queueUrl":"http://x/1/q"}`, `null`,
		},
		"keys of maps are as given": {
			"sqs", "CreateQueue", `{"QueueName":"订单","Attributes":{"VisibilityTimeout":"30"},"tags":{"Team 🛒":"A"}}`, &sqs.CreateQueueOutput{QueueUrl: new("http://x/1/q")},
			`{"attributes":{"VisibilityTimeout":"30"},"queueName":"订单","tags":{"Team 🛒":"A"}}`, `{"queueUrl":"http://x/1/q"}`,
		},
		"an answer without members is null": {
			"sns", "TagResource", `{"ResourceArn":"arn:aws:sns:eu-west-1:123456789012:t","Tags":[{"Key":"K","Value":"v"}]}`, &sns.TagResourceOutput{},
			`{"resourceArn":"arn:aws:sns:eu-west-1:123456789012:t","tags":[{"key":"K","value":"v"}]}`, `null`,
		},
		"times are written out": {
			"events", "UpdateArchive", `{"ArchiveName":"a","RetentionDays":3}`, &events.UpdateArchiveOutput{ArchiveArn: new("arn"), CreationTime: &at},
			`{"archiveName":"a","retentionDays":3}`, `{"archiveArn":"arn","creationTime":"Feb 20, 2026, 1:09:13 PM"}`,
		},
		"what a rule matches is text": {
			"events", "PutRule", `{"Name":"r","EventPattern":"{\"source\":[\"shop\"]}","State":"ENABLED"}`, &events.PutRuleOutput{RuleArn: new("arn")},
			`{"eventPattern":"{\"source\":[\"shop\"]}","name":"r","state":"ENABLED"}`, `{"ruleArn":"arn"}`,
		},
		"failed entries are those of the answer": {
			"events", "PutTargets", `{"Rule":"r","Targets":[{"Id":"1","Arn":"a"}]}`, &events.PutTargetsOutput{FailedEntryCount: new(int32(0)), FailedEntries: []events.PutTargetsResultEntry{}},
			`{"rule":"r","targets":[{"arn":"a","id":"1"}]}`, `{"failedEntryCount":0,"failedEntries":[]}`,
		},
		"secrets of a connection are hidden": {
			"events", "CreateConnection", `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":{"ApiKeyAuthParameters":{"ApiKeyName":"X-Key","ApiKeyValue":"s3cr3t"},` +
				`"InvocationHttpParameters":{"HeaderParameters":[{"Key":"h","Value":"s3cr3t","IsValueSecret":true}],"QueryStringParameters":[{"Key":"q","Value":"s3cr3t"}],"BodyParameters":[{"Key":"b","Value":"s3cr3t"}]}}}`,
			&events.CreateConnectionOutput{ConnectionState: new("AUTHORIZED")},
			`{"authParameters":{"apiKeyAuthParameters":{"apiKeyName":"X-Key","apiKeyValue":"HIDDEN_DUE_TO_SECURITY_REASONS"},` +
				`"invocationHttpParameters":{"bodyParameters":[{"key":"b","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}],"headerParameters":[{"isValueSecret":true,"key":"h","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}],` +
				`"queryStringParameters":[{"key":"q","value":"HIDDEN_DUE_TO_SECURITY_REASONS"}]}},"authorizationType":"API_KEY","name":"c"}`,
			`{"connectionState":"AUTHORIZED"}`,
		},
		"a subscription's endpoint is hidden": {
			"sns", "Subscribe", `{"TopicArn":"t","Protocol":"https","Endpoint":"https://me:s3cr3t@example.com"}`, &sns.SubscribeOutput{SubscriptionArn: new("pending confirmation")},
			`{"endpoint":"HIDDEN_DUE_TO_SECURITY_REASONS","protocol":"https","topicArn":"t"}`, `{"subscriptionArn":"pending confirmation"}`,
		},
		"the token of a confirmation is hidden": {
			"sns", "ConfirmSubscription", `{"TopicArn":"t","Token":"s3cr3t"}`, &sns.ConfirmSubscriptionOutput{SubscriptionArn: new("arn")},
			`{"token":"HIDDEN_DUE_TO_SECURITY_REASONS","topicArn":"t"}`, `{"subscriptionArn":"arn"}`,
		},
		"code is left out": {
			"lambda", "UpdateFunctionCode", `{"FunctionName":"f","ZipFile":"czNjcjN0","Publish":false}`, &lambda.UpdateFunctionCodeOutput{CodeSize: new(int64(7))},
			`{"functionName":"f","publish":false}`, `{"codeSize":7}`,
		},
		"variables of an environment are left out": {
			"lambda", "UpdateFunctionConfiguration", `{"FunctionName":"f","Environment":{"Variables":{"PASSWORD":"s3cr3t"}},"KMSKeyArn":""}`,
			&lambda.UpdateFunctionConfigurationOutput{Environment: &lambda.EnvironmentResponse{Variables: map[string]string{"PASSWORD": "s3cr3t"}}},
			`{"environment":{},"functionName":"f","kMSKeyArn":""}`, `{"environment":{}}`,
		},
		"a stack's parameters have no values": {
			"cloudformation", "CreateStack", `{"StackName":"s","TemplateBody":"s3cr3t","Parameters":[{"ParameterKey":"Password","ParameterValue":"s3cr3t"}]}`, &cloudformation.CreateStackOutput{StackId: new("arn")},
			`{"parameters":[{"parameterKey":"Password"}],"stackName":"s"}`, `{"stackId":"arn"}`,
		},
		"a resource's model is hidden": {
			"cloudcontrolapi", "CreateResource", `{"TypeName":"AWS::SQS::Queue","DesiredState":"{\"s3cr3t\":1}"}`,
			&cloudcontrol.CreateResourceOutput{ProgressEvent: &cloudcontrol.ProgressEvent{TypeName: new("AWS::SQS::Queue"), ResourceModel: new("s3cr3t")}},
			`{"desiredState":"HIDDEN_DUE_TO_SECURITY_REASONS","typeName":"AWS::SQS::Queue"}`, `{"progressEvent":{"resourceModel":"HIDDEN_DUE_TO_SECURITY_REASONS","typeName":"AWS::SQS::Queue"}}`,
		},
		"an operation on the path has its members": {
			"lambda", "TagResource", `{"Resource":"arn:aws:lambda:eu-west-1:123456789012:function:f","Tags":{"a":"b"}}`, nil,
			`{"resource":"arn:aws:lambda:eu-west-1:123456789012:function:f","tags":{"a":"b"}}`, `null`,
		},
		"EC2 tags": {
			"ec2", "CreateTags", `{"Resources":["i-1","i-2"],"Tags":[{"Key":"Name","Value":"名"}]}`, nil,
			`{"resourcesSet":{"items":[{"resourceId":"i-1"},{"resourceId":"i-2"}]},"tagSet":{"items":[{"key":"Name","value":"名"}]}}`,
			`{"requestId":"1b2c3d4e-0000-4000-8000-000000000001","_return":true}`,
		},
		"EC2 instances": {
			"ec2", "StopInstances", `{"InstanceIds":["i-1"],"Force":true}`,
			&ec2.StopInstancesOutput{StoppingInstances: []ec2.InstanceStateChange{{InstanceId: new("i-1"), CurrentState: &ec2.InstanceState{Code: new(int32(64)), Name: new("stopping")}}}},
			`{"force":true,"instancesSet":{"items":[{"instanceId":"i-1"}]}}`,
			`{"requestId":"1b2c3d4e-0000-4000-8000-000000000001","instancesSet":{"items":[{"currentState":{"code":64,"name":"stopping"},"instanceId":"i-1"}]}}`,
		},
		"an EC2 launch": {
			"ec2", "RunInstances", `{"ImageId":"ami-1","MinCount":1,"MaxCount":2,"InstanceType":"t3.micro","UserData":"s3cr3t","SecurityGroupIds":["sg-1"],"SecurityGroups":["default"],` +
				`"Placement":{"AvailabilityZone":"eu-west-1a"},"TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"Name","Value":"web"}]}]}`,
			&ec2.RunInstancesOutput{ReservationId: new("r-1"), Instances: []ec2.Instance{{
				InstanceId: new("i-1"), LaunchTime: &at, Tags: []ec2.Tag{{Key: new("Name"), Value: new("web")}},
			}}},
			`{"instanceType":"t3.micro","placement":{"availabilityZone":"eu-west-1a"},"tagSpecificationSet":{"items":[{"resourceType":"instance","tags":[{"key":"Name","value":"web"}]}]},` +
				`"userData":"<sensitiveDataRemoved>","instancesSet":{"items":[{"imageId":"ami-1","maxCount":2,"minCount":1}]},"groupSet":{"items":[{"groupId":"sg-1"},{"groupName":"default"}]}}`,
			`{"requestId":"1b2c3d4e-0000-4000-8000-000000000001","reservationId":"r-1","instancesSet":{"items":[{"instanceId":"i-1","launchTime":1771592953000,"tagSet":{"items":[{"key":"Name","value":"web"}]}}]}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			x.do = func(context.Context, string, any) (any, error) { return tt.out, nil }
			if _, err := x.call(t, trailCaller, tt.service, tt.op, tt.input); err != nil {
				t.Fatal(err)
			}
			rec, d := x.one(t)
			sameJSON(t, "requestParameters", string(d.RequestParameters), tt.request)
			sameJSON(t, "responseElements", string(d.ResponseElements), tt.response)
			if strings.Contains(string(rec.JSON), "s3cr3t") || strings.Contains(string(rec.JSON), "czNjcjN0") {
				t.Errorf("a secret is in the trail: %s", rec.JSON)
			}
		})
	}
}

func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := errors.Join(json.Unmarshal([]byte(got), &g), json.Unmarshal([]byte(want), &w)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// secretFill stands in every place of an input that a model marks as sensitive.
const secretFill = "s3cr3t 秘密"

// fill fills all members of an input: secrets with secretFill.
func fill(v reflect.Value, shape *awsapi.Shape, secret bool) {
	secret = secret || shape.Sensitive
	text := "x"
	if secret {
		text = secretFill
	}
	switch shape.Kind {
	case awsapi.Structure:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		for i, m := range shape.Members {
			if m.Shape != shape && m.Shape.Elem != shape { // some shapes hold themselves
				fill(v.Field(i), m.Shape, secret)
			}
		}
	case awsapi.List:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), shape.Elem, secret)
	case awsapi.Map:
		v.Set(reflect.MakeMap(v.Type()))
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, shape.Elem, secret)
		v.SetMapIndex(reflect.ValueOf(text), value)
	case awsapi.Blob:
		v.SetBytes([]byte(text))
	case awsapi.String:
		if v.Kind() == reflect.Pointer {
			v.Set(reflect.New(v.Type().Elem()))
			v = v.Elem()
		}
		v.SetString(text)
	}
}

// Whatever is marked as sensitive in a model is blanked, in every operation's input and
// wherever it is, and so is what is a secret without being marked.
func TestNothingSensitiveReachesTheTrail(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	secrets := []string{secretFill, base64.StdEncoding.EncodeToString([]byte(secretFill))}
	for _, api := range everyAPI {
		for i := range api.Operations {
			op := &api.Operations[i]
			if op.Data || op.Access != awsapi.Write && op.Access != awsapi.Administer {
				continue
			}
			in := op.New()
			fill(reflect.ValueOf(in).Elem(), op.Input, false)
			_, _ = x.Invoke(t.Context(), trailCaller, api.Name, op.Name, in) // most are refused, for their values
			rec, d := x.one(t)
			if want := op.TrailName; want != "" && d.EventName != want || want == "" && d.EventName != op.Name {
				t.Errorf("%s is recorded as %s", op.Name, d.EventName)
			}
			for _, secret := range secrets {
				if strings.Contains(string(rec.JSON), secret) {
					t.Errorf("%s %s: a secret is in the trail: %s", api.Name, op.Name, rec.JSON)
				}
			}
			if len(op.Input.Members) > 0 && string(d.RequestParameters) == "null" {
				t.Errorf("%s %s has no parameters in the trail", api.Name, op.Name)
			}
		}
	}
}

// What is too large for a record is said to be left out: no call goes without its event.
func TestWhatIsTooLargeIsOmitted(t *testing.T) {
	x := newTrailed(t, storetest.SQLite(t))
	x.do = func(context.Context, string, any) (any, error) {
		return &sqs.CreateQueueOutput{QueueUrl: new(strings.Repeat("x", 300_000))}, nil
	}
	c := trailCaller
	c.UserAgent = strings.Repeat("客", 1000)
	if _, err := x.call(t, c, "sqs", "CreateQueue", `{"QueueName":"`+strings.Repeat("q", 102_400-len(`{"queueName":""}`))+`"}`); err != nil {
		t.Fatal(err)
	}
	rec, d := x.one(t)
	if len(d.RequestParameters) != 102_400 || string(d.ResponseElements) != `{"omitted":true,"originalSize":300015,"reason":"responseElements too large"}` {
		t.Errorf("requestParameters of %d bytes, responseElements %s", len(d.RequestParameters), d.ResponseElements)
	}
	if len(d.UserAgent) != 1023 || len(rec.JSON) > 256<<10 {
		t.Errorf("a user agent of %d bytes in an event of %d", len(d.UserAgent), len(rec.JSON))
	}
	if _, err := x.call(t, c, "sqs", "CreateQueue", `{"QueueName":"`+strings.Repeat("q", 102_401-len(`{"queueName":""}`))+`"}`); err != nil {
		t.Fatal(err)
	}
	if _, d = x.one(t); string(d.RequestParameters) != `{"omitted":true,"originalSize":102401,"reason":"requestParameters too large"}` {
		t.Errorf("requestParameters are %.100s", d.RequestParameters)
	}
}
