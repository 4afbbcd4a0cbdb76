package kind

import (
	"context"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// policies are the resource policies of a service's queues or topics. An owner is the URL of a queue or the ARN of a
// topic.
type policies interface {
	// property is what the types call one owner, list what they call several.
	property() (one, list string)
	typeName(suffix string) string
	// policy returns the owner's policy, empty without one of its own.
	policy(ctx context.Context, r resource.Request, owner string) (string, error)
	// setPolicy sets it; empty removes it.
	setPolicy(ctx context.Context, r resource.Request, owner, policy string) error
	owners(ctx context.Context, r resource.Request) (owners []string, next string, err error)
	// name is the owner's name, named the owner of a name.
	name(owner string) string
	named(ctx context.Context, r resource.Request, name string) (owner string, err error)
}

type queuePolicies struct{ api }

func (queuePolicies) property() (one, list string)  { return "Queue", "Queues" }
func (queuePolicies) typeName(suffix string) string { return "AWS::SQS::Queue" + suffix }
func (queuePolicies) name(url string) string        { return queueName(url) }

func (p queuePolicies) policy(ctx context.Context, r resource.Request, url string) (string, error) {
	in := &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []string{sqs.QueueAttributeNamePolicy}}
	out, err := call[sqs.GetQueueAttributesOutput](ctx, p.api, r, "sqs", "GetQueueAttributes", in)
	if err != nil {
		return "", err
	}
	return out.Attributes[sqs.QueueAttributeNamePolicy], nil
}

func (p queuePolicies) setPolicy(ctx context.Context, r resource.Request, url, policy string) error {
	in := &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: map[string]string{sqs.QueueAttributeNamePolicy: policy}}
	_, err := call[sqs.SetQueueAttributesOutput](ctx, p.api, r, "sqs", "SetQueueAttributes", in)
	return err
}

func (p queuePolicies) owners(ctx context.Context, r resource.Request) ([]string, string, error) {
	return p.urls(ctx, r)
}

func (p queuePolicies) named(ctx context.Context, r resource.Request, name string) (string, error) {
	out, err := call[sqs.GetQueueUrlOutput](ctx, p.api, r, "sqs", "GetQueueUrl", &sqs.GetQueueUrlInput{QueueName: &name})
	if err != nil {
		return "", err
	}
	return *out.QueueUrl, nil
}

type topicPolicies struct{ api }

func (topicPolicies) property() (one, list string)  { return "TopicArn", "Topics" }
func (topicPolicies) typeName(suffix string) string { return "AWS::SNS::Topic" + suffix }
func (topicPolicies) name(arn string) string        { return lastPart(arn, ":") }

// policy leaves out the policy that SNS reports of a topic without one.
func (p topicPolicies) policy(ctx context.Context, r resource.Request, arn string) (string, error) {
	attrs, err := p.topicAttributes(ctx, r, arn)
	if err != nil {
		return "", err
	}
	if same(object(attrs["Policy"]), object(defaultTopicPolicy(arn))) {
		return "", nil
	}
	return attrs["Policy"], nil
}

// setPolicy puts SNS's own policy in place of none: a topic always has one. AWS: that is how these types
// remove theirs.
func (p topicPolicies) setPolicy(ctx context.Context, r resource.Request, arn, policy string) error {
	if policy == "" {
		policy = defaultTopicPolicy(arn)
	}
	in := &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: new("Policy"), AttributeValue: &policy}
	_, err := call[sns.SetTopicAttributesOutput](ctx, p.api, r, "sns", "SetTopicAttributes", in)
	return err
}

func defaultTopicPolicy(arn string) string {
	account := strings.Split(arn, ":")[4]
	return `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow",` +
		`"Principal":{"AWS":"*"},"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission",` +
		`"SNS:DeleteTopic","SNS:Subscribe","SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"` + arn + `",` +
		`"Condition":{"StringEquals":{"AWS:SourceOwner":"` + account + `"}}}]}`
}

func (p topicPolicies) owners(ctx context.Context, r resource.Request) ([]string, string, error) {
	return p.topics(ctx, r)
}

func (p topicPolicies) named(_ context.Context, r resource.Request, name string) (string, error) {
	return ownARN(r, "sns", name), nil
}

// inlinePolicy is AWS::SQS::QueueInlinePolicy and AWS::SNS::TopicInlinePolicy: the policy of one owner, by
// the owner.
type inlinePolicy struct{ policies }

// Create sets the policy of an owner that has none.
func (h inlinePolicy) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	property, _ := h.property()
	owner := text(r.Desired[property])
	have, err := h.policy(ctx, r, owner)
	if err != nil {
		return nil, err
	}
	if have != "" && !(r.Again && same(r.Desired["PolicyDocument"], object(have))) {
		return nil, exists(h.typeName("InlinePolicy"), owner)
	}
	if err := h.setPolicy(ctx, r, owner, document(r.Desired["PolicyDocument"])); err != nil {
		return nil, err
	}
	return h.read(ctx, r, owner)
}

// Read returns the owner's policy.
func (h inlinePolicy) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h inlinePolicy) read(ctx context.Context, r resource.Request, owner string) (resource.Model, error) {
	policy, err := h.policy(ctx, r, owner)
	if err != nil {
		return nil, err
	}
	if policy == "" {
		return nil, missing(h.typeName("InlinePolicy"), owner)
	}
	property, _ := h.property()
	return resource.Model{property: owner, "PolicyDocument": object(policy)}, nil
}

// Update replaces the policy.
func (h inlinePolicy) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	if _, err := h.read(ctx, r, r.Identifier); err != nil {
		return nil, err
	}
	if err := h.setPolicy(ctx, r, r.Identifier, document(r.Desired["PolicyDocument"])); err != nil {
		return nil, err
	}
	return h.read(ctx, r, r.Identifier)
}

// Delete removes the policy.
func (h inlinePolicy) Delete(ctx context.Context, r resource.Request) error {
	if _, err := h.read(ctx, r, r.Identifier); err != nil {
		return gone(r, err)
	}
	return gone(r, h.setPolicy(ctx, r, r.Identifier, ""))
}

// List lists the owners of a page that have a policy.
func (h inlinePolicy) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	owners, next, err := h.owners(ctx, r)
	if err != nil {
		return nil, "", err
	}
	property, _ := h.property()
	var models []resource.Model
	for _, owner := range owners {
		policy, err := h.policy(ctx, r, owner)
		if err != nil && !is(err, resource.NotFound) {
			return nil, "", err
		}
		if policy != "" {
			models = append(models, resource.Model{property: owner})
		}
	}
	return models, next, nil
}
