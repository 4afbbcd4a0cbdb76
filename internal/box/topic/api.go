package topic

import (
	"context"
	"encoding/base64"
	"strconv"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
)

var _ sns.Service = (*Topics)(nil)

// maxListed is AWS's page size of every list.
const maxListed = 100

// maxTopics is AWS's limit of an account in a region.
const maxTopics = 100_000

// open finds a topic and checks that the caller may do the action on it.
func (t *Topics) open(ctx context.Context, arn *string, action string) (*Topic, error) {
	return t.openFor(ctx, "TopicArn", text(arn), action, nil)
}

func (t *Topics) openFor(ctx context.Context, parameter, arn, action string, about map[string][]string) (*Topic, error) {
	r, err := parseARN(parameter, arn)
	if err != nil {
		return nil, err
	}
	if r.Region != awsapi.CallerFrom(ctx).Region {
		return nil, errInvalid(parameter) // AWS: each region knows its own topics
	}
	have, err := t.Find(ctx, r)
	if err != nil {
		return nil, err
	}
	return have, authorize(ctx, have, action, about)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// CreateTopic makes a topic in the caller's account and region.
func (t *Topics) CreateTopic(ctx context.Context, in *sns.CreateTopicInput) (*sns.CreateTopicOutput, error) {
	if text(in.DataProtectionPolicy) != "" {
		return nil, errParameter("DataProtectionPolicy", "Data protection is not available here. Leave it out.")
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	c := awsapi.CallerFrom(ctx)
	r := Ref{Account: c.Account, Region: c.Region, Name: *in.Name}
	n, err := countTopics(ctx, t.db, r.Account, r.Region)
	if err != nil {
		return nil, err
	}
	if n >= maxTopics {
		return nil, sns.ErrTopicLimitExceededException("Topic limit of %d for account %s exceeded", maxTopics, r.Account)
	}
	out := &sns.CreateTopicOutput{TopicArn: new(r.ARN())}
	awsapi.Answers(ctx, out)
	return out, t.Create(ctx, r, in.Attributes, tags)
}

// tagMap reads a list of tags. AWS: no key twice.
func tagMap(list []sns.Tag) (map[string]string, error) {
	tags := map[string]string{}
	for _, tag := range list {
		if _, twice := tags[*tag.Key]; twice {
			return nil, errParameter("Tags", "Duplicated keys are not allowed.")
		}
		tags[*tag.Key] = *tag.Value
	}
	return tags, nil
}

// DeleteTopic deletes a topic with its subscriptions. AWS: one that does not exist is no error.
func (t *Topics) DeleteTopic(ctx context.Context, in *sns.DeleteTopicInput) (*sns.DeleteTopicOutput, error) {
	have, err := t.open(ctx, in.TopicArn, "DeleteTopic")
	if awsapi.HasCode(err, sns.CodeNotFoundException) {
		return &sns.DeleteTopicOutput{}, nil
	}
	if err != nil {
		return nil, err
	}
	return &sns.DeleteTopicOutput{}, t.Delete(ctx, have)
}

// GetTopicAttributes returns all attributes of a topic.
func (t *Topics) GetTopicAttributes(ctx context.Context, in *sns.GetTopicAttributesInput) (*sns.GetTopicAttributesOutput, error) {
	have, err := t.open(ctx, in.TopicArn, "GetTopicAttributes")
	if err != nil {
		return nil, err
	}
	n, err := countByState(ctx, t.db, have.id)
	if err != nil {
		return nil, err
	}
	return &sns.GetTopicAttributesOutput{Attributes: have.attributes(n)}, nil
}

// SetTopicAttributes changes one attribute.
func (t *Topics) SetTopicAttributes(ctx context.Context, in *sns.SetTopicAttributesInput) (*sns.SetTopicAttributesOutput, error) {
	have, err := t.open(ctx, in.TopicArn, "SetTopicAttributes")
	if err != nil {
		return nil, err
	}
	return &sns.SetTopicAttributesOutput{}, t.SetAttribute(ctx, have.Ref, *in.AttributeName, text(in.AttributeValue))
}

// ListTopics lists the caller's topics.
func (t *Topics) ListTopics(ctx context.Context, in *sns.ListTopicsInput) (*sns.ListTopicsOutput, error) {
	after, err := readToken(in.NextToken)
	if err != nil {
		return nil, err
	}
	c := awsapi.CallerFrom(ctx)
	names, err := listTopics(ctx, t.db, c.Account, c.Region, after, maxListed+1)
	if err != nil {
		return nil, err
	}
	out := &sns.ListTopicsOutput{Topics: []sns.Topic{}}
	if len(names) > maxListed {
		names = names[:maxListed]
		out.NextToken = newPage(names[maxListed-1])
	}
	for _, name := range names {
		out.Topics = append(out.Topics, sns.Topic{TopicArn: new(Ref{c.Account, c.Region, name}.ARN())})
	}
	return out, nil
}

// newPage is the token of the page after a name or number.
func newPage(last string) *string {
	return new(base64.RawURLEncoding.EncodeToString([]byte(last)))
}

func readToken(token *string) (after string, err error) {
	if text(token) == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil || !validName.Match(raw) {
		return "", errInvalid("NextToken")
	}
	return string(raw), nil
}

func readNumberToken(token *string) (after int64, err error) {
	name, err := readToken(token)
	if err != nil || name == "" {
		return 0, err
	}
	after, err = strconv.ParseInt(name, 10, 64)
	if err != nil {
		return 0, errInvalid("NextToken")
	}
	return after, nil
}

// openTagged finds the topic whose tags are asked for.
func (t *Topics) openTagged(ctx context.Context, arn *string, action string) (*Topic, error) {
	have, err := t.openFor(ctx, "ResourceArn", text(arn), action, nil)
	if awsapi.HasCode(err, sns.CodeNotFoundException) {
		return nil, errNoResource()
	}
	return have, err
}

// ListTagsForResource returns a topic's tags.
func (t *Topics) ListTagsForResource(ctx context.Context, in *sns.ListTagsForResourceInput) (*sns.ListTagsForResourceOutput, error) {
	have, err := t.openTagged(ctx, in.ResourceArn, "ListTagsForResource")
	if err != nil {
		return nil, err
	}
	out := &sns.ListTagsForResourceOutput{Tags: []sns.Tag{}}
	for _, k := range sortedKeys(have.Tags) {
		out.Tags = append(out.Tags, sns.Tag{Key: &k, Value: new(have.Tags[k])})
	}
	return out, nil
}

// TagResource adds tags to a topic.
func (t *Topics) TagResource(ctx context.Context, in *sns.TagResourceInput) (*sns.TagResourceOutput, error) {
	have, err := t.openTagged(ctx, in.ResourceArn, "TagResource")
	if err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &sns.TagResourceOutput{}, t.Tag(ctx, have.Ref, tags)
}

// UntagResource removes tags from a topic.
func (t *Topics) UntagResource(ctx context.Context, in *sns.UntagResourceInput) (*sns.UntagResourceOutput, error) {
	have, err := t.openTagged(ctx, in.ResourceArn, "UntagResource")
	if err != nil {
		return nil, err
	}
	return &sns.UntagResourceOutput{}, t.Untag(ctx, have.Ref, in.TagKeys)
}
