package kind

import (
	"context"
	"maps"
	"slices"
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

// sharedPolicy is AWS::SQS::QueuePolicy and AWS::SNS::TopicPolicy: one policy for several owners. No service knows
// such a thing, so its id tells whose policy it is: "QueuePolicy-4MZ7Q…/orders,orders-dead". A policy that is
// set has the first part of the id as its own Id, unless it came with one; so that deleting the resource leaves alone
// what another has put in its place.
type sharedPolicy struct{ policies }

// maxIdentifier is how long an identifier can be. AWS: 1024 characters.
const maxIdentifier = 1024

// mark is the Id of the policies of the resource with that id.
func mark(id string) string {
	mark, _, _ := strings.Cut(id, "/")
	return mark
}

// marked is the policy as it is set for the resource. A policy that came with an Id keeps it.
func marked(policy any, id string) string {
	members, ok := object(document(policy)).(map[string]any)
	if !ok || members["Id"] != nil {
		return document(policy)
	}
	with := map[string]any{"Id": mark(id)}
	maps.Copy(with, members)
	return document(with)
}

// unmarked is a policy as it was asked for.
func unmarked(policy, id string) any {
	members, ok := object(policy).(map[string]any)
	if !ok {
		return policy
	}
	if members["Id"] == mark(id) {
		delete(members, "Id")
	}
	return members
}

// mine says whether the policy that an owner has now can be that of the resource: it bears its mark, or none of
// ours.
func (h sharedPolicy) mine(policy, id string) bool {
	if policy == "" {
		return false
	}
	have := text(readPolicy(policy).members["Id"])
	return have == mark(id) || !strings.HasPrefix(have, h.prefix()+"-")
}

func (h sharedPolicy) prefix() string { return strings.Split(h.typeName("Policy"), "::")[2] }

// ownersOf returns the owners that the id names, those that are missing left out.
func (h sharedPolicy) ownersOf(ctx context.Context, r resource.Request, id string) ([]string, error) {
	_, names, ok := strings.Cut(id, "/")
	if !ok || !strings.HasPrefix(id, h.prefix()+"-") {
		return nil, missing(h.typeName("Policy"), id)
	}
	var owners []string
	for name := range strings.SplitSeq(names, ",") {
		owner, err := h.named(ctx, r, name)
		if is(err, resource.NotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		owners = append(owners, owner)
	}
	return owners, nil
}

// Create sets the policy of all owners, in place of what they have. AWS: the last policy that is set holds.
func (h sharedPolicy) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	_, property := h.property()
	var owners []string
	if err := shape(property, r.Desired[property], &owners); err != nil {
		return nil, err
	}
	var names []string
	for _, owner := range owners {
		names = append(names, h.name(owner))
	}
	if len(names) == 0 {
		return nil, invalid(property, "must name at least one.")
	}
	slices.Sort(names)
	id := h.prefix() + "-" + random(r.Token, h.prefix()) + "/" + strings.Join(slices.Compact(names), ",")
	if len(id) > maxIdentifier {
		return nil, invalid(property, "names too many: the names of all must have at most %d characters together.", maxIdentifier-len(mark(id)))
	}
	if err := h.set(ctx, r, id, owners); err != nil {
		return nil, err
	}
	return h.read(ctx, r, id)
}

// set sets the policy of the owners, or leaves all as they are.
func (h sharedPolicy) set(ctx context.Context, r resource.Request, id string, owners []string) error {
	var undo undo
	for _, owner := range owners {
		before, err := h.policy(ctx, r, owner)
		if err != nil {
			return undo.after(ctx, err)
		}
		if err := h.setPolicy(ctx, r, owner, marked(r.Desired["PolicyDocument"], id)); err != nil {
			return undo.after(ctx, err)
		}
		undo.add(func(ctx context.Context) error { return h.setPolicy(ctx, r, owner, before) })
	}
	return nil
}

// Read returns the policy of the owners that have it.
func (h sharedPolicy) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h sharedPolicy) read(ctx context.Context, r resource.Request, id string) (resource.Model, error) {
	all, err := h.ownersOf(ctx, r, id)
	if err != nil {
		return nil, err
	}
	_, property := h.property()
	m := resource.Model{"Id": id}
	var owners []any
	for _, owner := range all {
		policy, err := h.policy(ctx, r, owner)
		if err != nil && !is(err, resource.NotFound) {
			return nil, err
		}
		if !h.mine(policy, id) {
			continue
		}
		owners = append(owners, owner)
		m["PolicyDocument"] = unmarked(policy, id)
	}
	if len(owners) == 0 {
		return nil, missing(h.typeName("Policy"), id)
	}
	m[property] = owners
	return m, nil
}

// Update replaces the policy.
func (h sharedPolicy) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	if _, err := h.read(ctx, r, r.Identifier); err != nil {
		return nil, err
	}
	owners, err := h.ownersOf(ctx, r, r.Identifier)
	if err != nil {
		return nil, err
	}
	if err := h.set(ctx, r, r.Identifier, owners); err != nil {
		return nil, err
	}
	return h.read(ctx, r, r.Identifier)
}

// Delete removes the policy from the owners that have it.
func (h sharedPolicy) Delete(ctx context.Context, r resource.Request) error {
	have, err := h.read(ctx, r, r.Identifier)
	if err != nil {
		return gone(r, err)
	}
	_, property := h.property()
	for _, owner := range have[property].([]any) {
		if err := h.setPolicy(ctx, r, owner.(string), ""); err != nil && !is(err, resource.NotFound) {
			return err
		}
	}
	return nil
}

// List finds nothing: a service knows policies by what they are of. AWS: these types have no list.
func (h sharedPolicy) List(context.Context, resource.Request) ([]resource.Model, string, error) {
	return nil, "", resource.Errorf(resource.InvalidRequest, "Resources of type %s cannot be listed: queues and topics know their policies, and not whose they are.", h.typeName("Policy"))
}
