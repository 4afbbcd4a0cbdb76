package kind

import (
	"context"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// subscription is AWS::SNS::Subscription, by its ARN. It is of the topic's region, whatever the request's.
type subscription struct{ api }

// subscriptionDefaults are the properties that are attributes of the same name, with what AWS has for
// those that are not given.
var subscriptionDefaults = resource.Model{
	"FilterPolicyScope": "MessageAttributes", "FilterPolicy": "", "RawMessageDelivery": "false", "DeliveryPolicy": "",
	"RedrivePolicy": "", "ReplayPolicy": "", "SubscriptionRoleArn": "",
}

// at returns the request for the region of an ARN.
func at(r resource.Request, arn string) resource.Request {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && parts[3] != "" {
		r.Caller.Region = parts[3]
	}
	return r
}

func subscriptionAttributes(m resource.Model) map[string]string {
	attrs := map[string]string{}
	for property := range subscriptionDefaults {
		if v := m[property]; v != nil {
			attrs[property] = attribute(v)
		}
	}
	return attrs
}

// Create subscribes the endpoint. The API would take a subscription with the same attributes for the one asked
// for. One that its endpoint has to confirm is left pending, as in AWS.
func (h subscription) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	if region := text(r.Desired["Region"]); region != "" {
		r.Caller.Region = region
	}
	topicARN, protocol, address := text(r.Desired["TopicArn"]), text(r.Desired["Protocol"]), text(r.Desired["Endpoint"])
	all, err := h.subscriptions(ctx, r, topicARN)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if *s.Protocol != protocol || *s.Endpoint != address {
			continue
		}
		if !r.Again {
			return nil, exists("AWS::SNS::Subscription", *s.SubscriptionArn)
		}
		if strings.HasPrefix(*s.SubscriptionArn, "arn:") {
			return h.adopt(ctx, r, *s.SubscriptionArn)
		}
	}
	in := &sns.SubscribeInput{
		TopicArn: &topicARN, Protocol: &protocol, Endpoint: given(r.Desired["Endpoint"]),
		Attributes: subscriptionAttributes(r.Desired), ReturnSubscriptionArn: new(true),
	}
	out, err := call[sns.SubscribeOutput](ctx, h.api, r, "sns", "Subscribe", in)
	if err != nil {
		return nil, err
	}
	return h.read(ctx, r, *out.SubscriptionArn)
}

// adopt returns the subscription if it is what a create that was cut off left.
func (h subscription) adopt(ctx context.Context, r resource.Request, arn string) (resource.Model, error) {
	have, err := h.read(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	var properties []string
	for p := range subscriptionDefaults {
		properties = append(properties, p)
	}
	if !ours(r.Desired, have, subscriptionDefaults, properties, nil) {
		return nil, exists("AWS::SNS::Subscription", arn)
	}
	return have, nil
}

func (h subscription) attributes(ctx context.Context, r resource.Request, arn string) (map[string]string, error) {
	in := &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn}
	out, err := call[sns.GetSubscriptionAttributesOutput](ctx, h.api, at(r, arn), "sns", "GetSubscriptionAttributes", in)
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// Read returns the subscription's attributes.
func (h subscription) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h subscription) read(ctx context.Context, r resource.Request, arn string) (resource.Model, error) {
	attrs, err := h.attributes(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	m := resource.Model{"Arn": arn, "TopicArn": attrs["TopicArn"], "Protocol": attrs["Protocol"]}
	put(m, "Endpoint", attrs["Endpoint"])
	for _, p := range []string{"FilterPolicyScope", "SubscriptionRoleArn"} {
		put(m, p, attrs[p])
	}
	for _, p := range []string{"FilterPolicy", "DeliveryPolicy", "RedrivePolicy", "ReplayPolicy"} {
		putDocument(m, p, new(attrs[p]))
	}
	if v := attrs["RawMessageDelivery"]; v != "" {
		m["RawMessageDelivery"] = v == "true"
	}
	return m, nil
}

// attributeOrder is the order in which attributes are set. A filter policy has to suit its scope at each
// step: one for MessageBody may be nested.
func attributeOrder(r resource.Request) []string {
	order := []string{"FilterPolicyScope", "FilterPolicy"}
	if text(r.Desired["FilterPolicyScope"]) != "MessageBody" {
		order = []string{"FilterPolicy", "FilterPolicyScope"}
	}
	return append(order, "RawMessageDelivery", "DeliveryPolicy", "RedrivePolicy", "ReplayPolicy", "SubscriptionRoleArn")
}

// Update sets the attributes that change, one after the other. What was done before a refusal is taken back.
func (h subscription) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	arn := r.Identifier
	before, err := h.attributes(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	wanted := subscriptionAttributes(r.Desired)
	var undo undo
	for _, name := range attributeOrder(r) {
		if !changed(r, name) {
			continue
		}
		if err := h.set(ctx, r, arn, name, wanted[name]); err != nil {
			return nil, undo.after(ctx, err)
		}
		undo.add(func(ctx context.Context) error { return h.set(ctx, r, arn, name, before[name]) })
	}
	return h.read(ctx, r, arn)
}

func (h subscription) set(ctx context.Context, r resource.Request, arn, name, v string) error {
	if v == "" {
		v = text(subscriptionDefaults[name])
	}
	in := &sns.SetSubscriptionAttributesInput{SubscriptionArn: &arn, AttributeName: &name, AttributeValue: &v}
	_, err := call[sns.SetSubscriptionAttributesOutput](ctx, h.api, at(r, arn), "sns", "SetSubscriptionAttributes", in)
	return err
}

// Delete unsubscribes the endpoint. The service takes a subscription that is missing for deleted. AWS: one that is
// pending cannot be unsubscribed; it gets no messages and goes by itself.
func (h subscription) Delete(ctx context.Context, r resource.Request) error {
	attrs, err := h.attributes(ctx, r, r.Identifier)
	if err != nil {
		return gone(r, err)
	}
	if attrs["PendingConfirmation"] == "true" {
		return nil
	}
	in := &sns.UnsubscribeInput{SubscriptionArn: &r.Identifier}
	_, err = call[sns.UnsubscribeOutput](ctx, h.api, at(r, r.Identifier), "sns", "Unsubscribe", in)
	return err
}

// List lists the subscriptions that are confirmed. AWS: others have no ARN in lists. SNS gives
// pages of its own size.
func (h subscription) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	out, err := call[sns.ListSubscriptionsOutput](ctx, h.api, r, "sns", "ListSubscriptions", &sns.ListSubscriptionsInput{NextToken: pageToken(r)})
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, s := range out.Subscriptions {
		if strings.HasPrefix(*s.SubscriptionArn, "arn:") {
			models = append(models, resource.Model{"Arn": *s.SubscriptionArn, "TopicArn": *s.TopicArn, "Protocol": *s.Protocol, "Endpoint": *s.Endpoint})
		}
	}
	return models, str(out.NextToken), nil
}
