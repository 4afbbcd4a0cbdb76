package topic

import (
	"context"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/event"
)

// What AWS answers in place of the ARN of a subscription that is not confirmed: to
// Subscribe, and in lists.
const (
	answeredPending = "pending confirmation"
	listedPending   = "PendingConfirmation"
)

// Subscribe subscribes an endpoint to a topic for the caller's account.
func (t *Topics) Subscribe(ctx context.Context, in *sns.SubscribeInput) (*sns.SubscribeOutput, error) {
	protocol, endpoint := *in.Protocol, text(in.Endpoint)
	have, err := t.openFor(ctx, "TopicArn", text(in.TopicArn), "Subscribe", map[string][]string{
		"sns:Protocol": {protocol}, "sns:Endpoint": {endpoint},
	})
	if err != nil {
		return nil, err
	}
	answer := func(s *Subscription) *sns.SubscribeOutput {
		arn := s.ARN()
		if s.state == statePending && (in.ReturnSubscriptionArn == nil || !*in.ReturnSubscriptionArn) {
			arn = answeredPending
		}
		return &sns.SubscribeOutput{SubscriptionArn: &arn}
	}
	s, err := t.AddSubscription(awsapi.AnswersWith(ctx, answer), have, awsapi.CallerFrom(ctx).Account, protocol, endpoint, in.Attributes)
	if err != nil {
		return nil, err
	}
	return answer(s), nil
}

// ConfirmSubscription confirms a subscription by the token that its endpoint was sent.
func (t *Topics) ConfirmSubscription(ctx context.Context, in *sns.ConfirmSubscriptionInput) (*sns.ConfirmSubscriptionOutput, error) {
	r, err := parseARN("TopicArn", *in.TopicArn)
	if err != nil {
		return nil, err
	}
	guard, err := parseGuard(text(in.AuthenticateOnUnsubscribe))
	if err != nil {
		return nil, err
	}
	if _, err := t.Find(ctx, r); err != nil {
		return nil, err
	}
	answer := func(s *Subscription) *sns.ConfirmSubscriptionOutput {
		return &sns.ConfirmSubscriptionOutput{SubscriptionArn: new(s.ARN())}
	}
	s, err := t.Confirm(awsapi.AnswersWith(ctx, answer), r, *in.Token, true, guard)
	if err != nil {
		return nil, err
	}
	return answer(s), nil
}

func parseGuard(v string) (bool, error) {
	switch strings.ToLower(v) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, errParameter("AuthenticateOnUnsubscribe", "It must be true or false")
}

// Unsubscribe removes a subscription.
func (t *Topics) Unsubscribe(ctx context.Context, in *sns.UnsubscribeInput) (*sns.UnsubscribeOutput, error) {
	r, id, err := parseSubscriptionARN(*in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	return &sns.UnsubscribeOutput{}, t.RemoveSubscription(ctx, r, id, awsapi.CallerFrom(ctx).Account)
}

// GetSubscriptionAttributes returns all attributes of a subscription.
func (t *Topics) GetSubscriptionAttributes(ctx context.Context, in *sns.GetSubscriptionAttributesInput) (*sns.GetSubscriptionAttributesOutput, error) {
	r, id, err := parseSubscriptionARN(*in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	s, err := t.subscription(ctx, t.db, r, id, ownerOf(ctx, "GetSubscriptionAttributes"))
	if err != nil {
		return nil, err
	}
	return &sns.GetSubscriptionAttributesOutput{Attributes: s.attributes()}, nil
}

// SetSubscriptionAttributes changes one attribute.
func (t *Topics) SetSubscriptionAttributes(ctx context.Context, in *sns.SetSubscriptionAttributesInput) (*sns.SetSubscriptionAttributesOutput, error) {
	r, id, err := parseSubscriptionARN(*in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	return &sns.SetSubscriptionAttributesOutput{}, t.SetSubscriptionAttribute(ctx, r, id, *in.AttributeName, text(in.AttributeValue),
		ownerOf(ctx, "SetSubscriptionAttributes"))
}

// ownerOf lets the owners of a subscription and of its topic do the action.
func ownerOf(ctx context.Context, action string) func(*Subscription) error {
	account := awsapi.CallerFrom(ctx).Account
	return func(s *Subscription) error {
		if account == s.Owner || account == s.Topic.Account {
			return nil
		}
		return errDenied("arn:"+event.Partition(s.Topic.Region)+":iam::"+account+":root", "SNS:"+action, s.ARN(),
			"because no resource-based policy allows the SNS:"+action+" action")
	}
}

// ListSubscriptions lists the subscriptions of the caller's account.
func (t *Topics) ListSubscriptions(ctx context.Context, in *sns.ListSubscriptionsInput) (*sns.ListSubscriptionsOutput, error) {
	after, err := readNumberToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	c := awsapi.CallerFrom(ctx)
	list, err := listByOwner(ctx, t.db, c.Account, c.Region, after, maxListed+1)
	if err != nil {
		return nil, err
	}
	page, next := subscriptionPage(list)
	return &sns.ListSubscriptionsOutput{Subscriptions: page, NextToken: next}, nil
}

// ListSubscriptionsByTopic lists the subscriptions of a topic.
func (t *Topics) ListSubscriptionsByTopic(ctx context.Context, in *sns.ListSubscriptionsByTopicInput) (*sns.ListSubscriptionsByTopicOutput, error) {
	have, err := t.open(ctx, in.TopicArn, "ListSubscriptionsByTopic")
	if err != nil {
		return nil, err
	}
	after, err := readNumberToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	list, err := listByTopic(ctx, t.db, have.id, after, maxListed+1)
	if err != nil {
		return nil, err
	}
	page, next := subscriptionPage(list)
	return &sns.ListSubscriptionsByTopicOutput{Subscriptions: page, NextToken: next}, nil
}

// subscriptionPage is one page of a list that was read one longer.
func subscriptionPage(list []*Subscription) (page []sns.Subscription, next *string) {
	page = []sns.Subscription{}
	if len(list) > maxListed {
		list = list[:maxListed]
		next = newPage(strconv.FormatInt(list[maxListed-1].id, 10))
	}
	for _, s := range list {
		arn := s.ARN()
		if s.state == statePending {
			arn = listedPending
		}
		page = append(page, sns.Subscription{
			SubscriptionArn: &arn, Owner: &s.Owner, Protocol: &s.Protocol, Endpoint: &s.Endpoint, TopicArn: new(s.Topic.ARN()),
		})
	}
	return page, next
}
