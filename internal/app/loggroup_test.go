package app

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

func (c *caller) logs() *cloudwatchlogs.Client {
	return cloudwatchlogs.New(cloudwatchlogs.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

func (c *caller) logGroup(name string) (arn string) {
	c.t.Helper()
	if _, err := c.logs().CreateLogGroup(c.t.Context(), &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &name}); err != nil {
		c.t.Fatal(err)
	}
	return "arn:aws:logs:" + c.region + ":" + c.account + ":log-group:" + name
}

// logged waits until a log group has so many events, and returns their messages
// by stream.
func (c *caller) logged(group string, n int) map[string][]string {
	c.t.Helper()
	var found map[string][]string
	eventually(c.t, "the events of a log group", func() bool {
		out, err := c.logs().FilterLogEvents(c.t.Context(), &cloudwatchlogs.FilterLogEventsInput{LogGroupName: &group})
		if err != nil {
			c.t.Fatal(err)
		}
		found = map[string][]string{}
		for _, e := range out.Events {
			found[*e.LogStreamName] = append(found[*e.LogStreamName], *e.Message)
		}
		return len(out.Events) >= n
	})
	return found
}

// A log group gets whole events, or what a transformer makes of them, each rule's
// in a stream of its own.
func TestRulesWriteToLogGroups(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("111122223333", "us-east-1")
	dead := c.queue("dead")
	group := c.logGroup("/aws/events/orders")
	c.putRule("", "whole", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(group + ":*")})
	c.putRule("", "made", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: &group, InputTransformer: &ebtypes.InputTransformer{
		InputPathsMap: map[string]string{"at": "$.time", "what": "$.detail.what"},
		InputTemplate: aws.String(`{"timestamp":<at>,"message":<what>}`),
	}})
	c.putRule("", "missing", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(group + "/none"), DeadLetterConfig: c.deadLetters("dead")})
	id := c.put("shop", "order", `{"what":"订单 🛒"}`)[0]
	c.deadLetter(dead, id, map[string]string{
		"RULE_ARN": ruleARN(c, "missing"), "TARGET_ARN": group + "/none", "ERROR_CODE": "NO_RESOURCE",
		"ERROR_MESSAGE": "The specified log group does not exist. (Service: AWSLogs; Status Code: 400; Error Code: ResourceNotFoundException; Request ID: ",
	})
	got := c.logged("/aws/events/orders", 2)
	if len(got["default/made"]) != 1 || got["default/made"][0] != "订单 🛒" {
		t.Errorf("the transformer's stream has %q", got["default/made"])
	}
	whole := got["default/whole"]
	if len(whole) != 1 {
		t.Fatalf("the log group has %q", got)
	}
	found, err := c.logs().FilterLogEvents(t.Context(), &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: aws.String("/aws/events/orders"), FilterPattern: aws.String(`{ $.id = "` + id + `" && $.detail.what = "订单*" }`),
	})
	if err != nil || len(found.Events) != 1 || *found.Events[0].Message != whole[0] {
		t.Errorf("the pattern finds %+v, %v", found, err)
	}
}

func TestAFunctionOfTheBoxIsMissing(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("111122223333", "us-east-1")
	dead := c.queue("dead")
	arn := "arn:aws:lambda:us-east-1:111122223333:function:resize"
	c.putRule("", "fn", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: &arn, DeadLetterConfig: c.deadLetters("dead")})
	c.deadLetter(dead, c.put("shop", "order", `{}`)[0], map[string]string{
		"RULE_ARN": ruleARN(c, "fn"), "TARGET_ARN": arn, "ERROR_CODE": "NO_RESOURCE", "ERROR_MESSAGE": "Function not found: " + arn + " (Service: AWSLambda; Status Code: 404",
	})
}
