package awsapi_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/logs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sts"
)

// validate checks an input as the operation of its type would be.
func validate(t *testing.T, api *awsapi.API, operation string, in any) string {
	t.Helper()
	for _, op := range api.Operations {
		if op.Name != operation {
			continue
		}
		err := api.Validate(api.Protocols[0], op.Input, in)
		if err == nil {
			return ""
		}
		var e *awsapi.Error
		if !errors.As(err, &e) {
			t.Fatalf("got %T", err)
		}
		return e.Code + ": " + e.Message
	}
	t.Fatalf("no operation %s", operation)
	return ""
}

func target(change func(*events.Target)) *events.PutTargetsInput {
	target := events.Target{Id: new("1"), Arn: new("arn:aws:sqs:eu-west-1:000000000000:q")}
	change(&target)
	return &events.PutTargetsInput{Rule: new("r"), Targets: []events.Target{target}}
}

func TestValidationMessages(t *testing.T) {
	const one = "ValidationException: 1 validation error detected: "
	const name = `Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+`
	long := strings.Repeat("a", 65)
	entry := events.PutEventsRequestEntry{
		Source: new("s"), DetailType: new("t"), Detail: new("{}"), Resources: []string{"a", "b"}, Time: new(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
	}
	const printed = "PutEventsRequestEntry(time=Fri Jan 02 03:04:05 UTC 2026, source=s, resources=[a, b], detailType=t, detail={}, eventBusName=null, traceHeader=null, kmsKeyIdentifier=null, internalMetadata=null)"

	tests := []struct {
		name      string
		api       *awsapi.API
		operation string
		in        any
		want      string
	}{
		{"valid", events.API, "PutRule", &events.PutRuleInput{Name: new("r")}, ""},
		{
			"a service whose error has another code", logs.API, "CreateLogGroup", &logs.CreateLogGroupInput{LogGroupName: new("a b")},
			`InvalidParameterException: 1 validation error detected: Value 'a b' at 'logGroupName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+`,
		},
		{"required member", events.API, "PutRule", &events.PutRuleInput{}, one + "Value null at 'name' failed to satisfy constraint: Member must not be null"},
		{"pattern", events.API, "PutRule", &events.PutRuleInput{Name: new("你好")}, one + "Value '你好' at 'name' failed to satisfy constraint: " + name},
		{"length counts characters", events.API, "PutRule", &events.PutRuleInput{Name: new("r"), Description: new(strings.Repeat("🚌", 512))}, ""},
		{"too long", events.API, "PutRule", &events.PutRuleInput{Name: &long}, one + "Value '" + long + "' at 'name' failed to satisfy constraint: Member must have length less than or equal to 64"},
		{"pattern before length", events.API, "PutRule", &events.PutRuleInput{Name: new("")},
			"ValidationException: 2 validation errors detected: Value '' at 'name' failed to satisfy constraint: " + name + "; Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"enum", events.API, "PutRule", &events.PutRuleInput{Name: new("r"), State: new("ON")},
			one + "Value 'ON' at 'state' failed to satisfy constraint: Member must satisfy enum value set: [ENABLED, DISABLED, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS]"},
		{"enum that AWS lists in another order than its model", events.API, "CreateApiDestination",
			&events.CreateApiDestinationInput{Name: new("d"), ConnectionArn: new("arn:aws:events:us-east-1:111122223333:connection/c/1"), InvocationEndpoint: new("https://shop.example"), HttpMethod: new("post")},
			one + "Value 'post' at 'httpMethod' failed to satisfy constraint: Member must satisfy enum value set: [HEAD, POST, PATCH, DELETE, PUT, GET, OPTIONS]"},
		{"enums after the rest", events.API, "CreateConnection",
			&events.CreateConnectionInput{Name: new(""), AuthorizationType: new("KEY"), AuthParameters: &events.CreateConnectionAuthRequestParameters{}},
			"ValidationException: 3 validation errors detected: Value '' at 'name' failed to satisfy constraint: " + name + "; Value '' at 'name' failed to satisfy constraint: Member must have length greater than or equal to 1" +
				"; Value 'KEY' at 'authorizationType' failed to satisfy constraint: Member must satisfy enum value set: [BASIC, OAUTH_CLIENT_CREDENTIALS, API_KEY]"},
		{"number too small", events.API, "ListRules", &events.ListRulesInput{Limit: new(int32(0))}, one + "Value '0' at 'limit' failed to satisfy constraint: Member must have value greater than or equal to 1"},
		{"number too large", events.API, "ListRules", &events.ListRulesInput{Limit: new(int32(101))}, one + "Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100"},
		{"member of a list's item", events.API, "PutTargets", target(func(x *events.Target) { x.Id = new("!@#") }), one + "Value '!@#' at 'targets.1.member.id' failed to satisfy constraint: " + name},
		{"member of a structure in an item", events.API, "PutTargets", target(func(x *events.Target) { x.RetryPolicy = &events.RetryPolicy{MaximumEventAgeInSeconds: new(int32(1))} }),
			one + "Value '1' at 'targets.1.member.retryPolicy.maximumEventAgeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60"},
		{"map keys", events.API, "PutTargets", target(func(x *events.Target) {
			x.InputTransformer = &events.InputTransformer{InputTemplate: new("t"), InputPathsMap: map[string]string{"a b": "$.x", "c": "$.y"}}
		}), one + `Value '{a b=$.x, c=$.y}' at 'targets.1.member.inputTransformer.inputPathsMap' failed to satisfy constraint: ` +
			`Map keys must satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [A-Za-z0-9\_\-]+]`},
		{"map values", events.API, "PutTargets", target(func(x *events.Target) {
			x.InputTransformer = &events.InputTransformer{InputTemplate: new("t"), InputPathsMap: map[string]string{"a": strings.Repeat("x", 257)}}
		}), one + "Value '{a=" + strings.Repeat("x", 257) + "}' at 'targets.1.member.inputTransformer.inputPathsMap' failed to satisfy constraint: " +
			"Map value must satisfy constraint: [Member must have length less than or equal to 256]"},
		{"plain items of a list", events.API, "RemoveTargets", &events.RemoveTargetsInput{Rule: new("r"), Ids: []string{"ok", "not ok", "n o"}},
			one + "Value '[ok, not ok, n o]' at 'ids' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 64, Member must have length greater than or equal to 1, " + name + "]"},
		{"empty list", events.API, "RemoveTargets", &events.RemoveTargetsInput{Rule: new("r"), Ids: []string{}}, one + "Value '[]' at 'ids' failed to satisfy constraint: Member must have length greater than or equal to 1"},
		{"more than ten entries", events.API, "PutEvents", &events.PutEventsInput{Entries: []events.PutEventsRequestEntry{entry, entry, entry, entry, entry, entry, entry, entry, entry, entry, entry}},
			one + "Value '[" + printed + strings.Repeat(", "+printed, 10) + "]' at 'entries' failed to satisfy constraint: Member must have length less than or equal to 10"},
		{"secrets are not repeated", events.API, "CreateConnection", &events.CreateConnectionInput{
			Name: new("c"), AuthorizationType: new("BASIC"), AuthParameters: &events.CreateConnectionAuthRequestParameters{
				BasicAuthParameters: &events.CreateConnectionBasicAuthRequestParameters{Username: new("u"), Password: new("\x00secret")},
			},
		}, one + `Value '***Sensitive Data Redacted***' at 'authParameters.basicAuthParameters.password' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[ \t]*[^\x00-\x1F:\x7F]+([ \t]+[^\x00-\x1F:\x7F]+)*[ \t]*$`},
		{"lookahead in a pattern", events.API, "PutTargets", target(func(x *events.Target) { x.HttpParameters = &events.HttpParameters{PathParameterValues: []string{" "}} }),
			one + `Value '[ ]' at 'targets.1.member.httpParameters.pathParameterValues' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy regular expression pattern: ^(?!\s*$).+]`},
		{"sts", sts.API, "AssumeRole", &sts.AssumeRoleInput{RoleArn: new("arn:aws:iam::000000000000:role/r")},
			"ValidationError: 1 validation error detected: Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null"},
		{"sqs reports the first missing parameter", sqs.API, "SendMessage", &sqs.SendMessageInput{}, "MissingRequiredParameterException: The request must contain the parameter MessageBody."},
		{"sqs leaves values to the service", sqs.API, "GetQueueAttributes", &sqs.GetQueueAttributesInput{QueueUrl: new("u"), AttributeNames: []string{"Nonsense"}}, ""},
		{"ec2 missing parameter has its wire name", ec2.API, "TerminateInstances", &ec2.TerminateInstancesInput{}, "MissingParameter: The request must contain the parameter InstanceId"},
		{"ec2 enum", ec2.API, "RunInstances", &ec2.RunInstancesInput{MinCount: new(int32(1)), MaxCount: new(int32(1)), InstanceType: new("huge")},
			"InvalidParameterValue: Invalid value 'huge' for InstanceType."},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := validate(t, test.api, test.operation, test.in); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestValidationAnswersAreBounded(t *testing.T) {
	in := &events.PutTargetsInput{Rule: new("r")}
	for range 1000 {
		in.Targets = append(in.Targets, events.Target{Id: new("!"), Arn: new("a"), Input: new(strings.Repeat("x", 8000))})
	}
	got := validate(t, events.API, "PutTargets", in)
	if !strings.HasPrefix(got, "ValidationException: 1001 validation errors detected: Value '[Target(") || len(got) > 200<<10 {
		t.Errorf("%d bytes: %.200s", len(got), got)
	}
}
