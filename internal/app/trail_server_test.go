package app

import (
	"encoding/json"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// recordedCall is what a rule's target gets of a call.
type recordedCall struct {
	EventName, EventSource, ErrorCode, SourceIPAddress, UserAgent string
	UserIdentity                                                  struct{ Arn, UserName, AccountID string }
	RequestParameters                                             map[string]any
	ReadOnly                                                      bool
}

// nextCall takes the next event of a call off a queue.
func (c *caller) nextCall(url string) (arrivedEvent, recordedCall) {
	c.t.Helper()
	e := c.nextEvent(url)
	var d recordedCall
	if err := json.Unmarshal(e.Detail, &d); err != nil {
		c.t.Fatal(err)
	}
	return e, d
}

// Whoever calls, and whatever their key may do: what they tried is told to their account, as the
// user that GetCallerIdentity says they are.
func TestCallsOfRestrictedKeysAreTold(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	admin := s.key(t, "", testAccount, "admin")
	bearer := s.login(t, admin.ID, admin.Secret)
	first := s.key(t, bearer, "111122223333", "admin")
	owner := s.withKey("111122223333", "eu-west-1", first.ID, first.Secret)
	url := owner.ruleToQueue("calls", `{"detail-type":["AWS API Call via CloudTrail"],"detail":{"eventSource":["ec2.amazonaws.com"]}}`)
	for _, tt := range []struct{ role, code string }{
		{"reader", "Client.UnauthorizedOperation"}, {"publisher", "Client.UnauthorizedOperation"},
		{"operator", "Client.InvalidInstanceID.NotFound"}, {"admin", "Client.InvalidInstanceID.NotFound"},
	} {
		key := s.key(t, bearer, "111122223333", tt.role)
		c := s.withKey("111122223333", "eu-west-1", key.ID, key.Secret)
		_, err := c.ec2().CreateTags(t.Context(), &ec2.CreateTagsInput{
			Resources: []string{"i-0abcd1234ef567890"}, Tags: []ec2types.Tag{{Key: aws.String("Name"), Value: aws.String("名")}},
		})
		if err == nil {
			t.Fatalf("a %s tagged what is not there", tt.role)
		}
		e, d := owner.nextCall(url)
		if e.Source != "aws.ec2" || e.Account != "111122223333" || e.Region != "eu-west-1" || d.EventName != "CreateTags" || d.ErrorCode != tt.code {
			t.Errorf("a %s's call is told as %+v of %+v", tt.role, d, e)
		}
		if d.UserIdentity.UserName != key.ID || d.UserIdentity.AccountID != "111122223333" || d.SourceIPAddress != "127.0.0.1" || d.UserAgent == "" {
			t.Errorf("a %s is told as %+v", tt.role, d)
		}
		if who, err := c.sts().GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil || *who.Arn != d.UserIdentity.Arn {
			t.Errorf("a %s is %v to themselves, and %s in the trail: %v", tt.role, who, d.UserIdentity.Arn, err)
		}
	}

	// A key that does not exist is nobody's, and another account's calls are its own.
	if _, err := s.withKey("111122223333", "eu-west-1", "AKIDNOBODY", "x").ec2().CreateTags(t.Context(), &ec2.CreateTagsInput{
		Resources: []string{"i-0"}, Tags: []ec2types.Tag{{Key: aws.String("a")}},
	}); err == nil {
		t.Error("a key that does not exist is taken")
	}
	other := s.key(t, bearer, "444455556666", "admin")
	if _, err := s.withKey("444455556666", "eu-west-1", other.ID, other.Secret).ec2().TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{
		InstanceIds: []string{"i-0abcd1234ef567890"},
	}); err == nil {
		t.Error("what is not there is terminated")
	}
	if _, err := owner.ec2().StopInstances(t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{"i-0abcd1234ef567890"}}); err == nil {
		t.Error("what is not there is stopped")
	}
	if _, d := owner.nextCall(url); d.EventName != "StopInstances" {
		t.Errorf("between two calls of the account came %+v", d)
	}
}

// What is called at one node is told by the rules that were put at another.
func TestCallsAtEveryNodeAreTold(t *testing.T) {
	t.Parallel()
	nats, database := startNATS(t), storetest.PostgresURL(t)
	node := func() *testServer {
		return startServer(t, func(c *Config) {
			c.Database, c.NATS, c.EventLogReplicas = database, nats, 1
			c.SecretKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
		})
	}
	one, two := node(), node()
	atOne, atTwo := one.caller(testAccount, testRegion), two.caller(testAccount, testRegion)
	url := atOne.queue("calls")
	_, err := atOne.events().PutRule(t.Context(), &eventbridge.PutRuleInput{
		Name: aws.String("calls"), State: ebtypes.RuleStateEnabledWithAllCloudtrailManagementEvents,
		EventPattern: aws.String(`{"detail-type":["AWS API Call via CloudTrail"],"detail":{"requestParameters":{"queueName":["orders"]}}}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := atOne.events().PutTargets(t.Context(), &eventbridge.PutTargetsInput{Rule: aws.String("calls"), Targets: []ebtypes.Target{
		{Id: aws.String("calls"), Arn: aws.String(atOne.queueARN("calls"))},
	}}); err != nil || out.FailedEntryCount != 0 {
		t.Fatal(out, err)
	}
	atTwo.queue("orders")
	if e, d := atOne.nextCall(url); d.EventName != "CreateQueue" || e.Source != "aws.sqs" || d.RequestParameters["queueName"] != "orders" {
		t.Errorf("a change at the other node is told as %+v", d)
	}
	eventually(t, "the other node to know that reads are wanted", func() bool { return two.buses.WantsReads(testAccount, testRegion) })
	if _, err := atTwo.queues().GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("orders")}); err != nil {
		t.Fatal(err)
	}
	if _, d := atTwo.nextCall(url); d.EventName != "GetQueueUrl" || !d.ReadOnly {
		t.Errorf("a read at the other node is told as %+v", d)
	}
}
