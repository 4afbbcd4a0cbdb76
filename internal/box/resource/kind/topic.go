package kind

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// topic is AWS::SNS::Topic, by its ARN.
type topic struct{ api }

// topicDefaults are the properties that are attributes of the same name, with what AWS has for those
// that are not given.
var topicDefaults = resource.Model{
	"DisplayName": "", "SignatureVersion": "1", "TracingConfig": "PassThrough", "KmsMasterKeyId": "",
	"ContentBasedDeduplication": "false", "FifoThroughputScope": "", "ArchivePolicy": "{}",
}

// statusPrefix is what the attributes begin with that log the deliveries of a protocol.
var statusPrefix = map[string]string{"http/s": "HTTP", "sqs": "SQS", "lambda": "Lambda", "firehose": "Firehose", "application": "Application"}

// attributesIn are the attributes that a model asks for.
func attributesIn(m resource.Model) map[string]string {
	attrs := map[string]string{}
	for property := range topicDefaults {
		if v := m[property]; v != nil {
			attrs[property] = attribute(v)
		}
	}
	logging, _ := m["DeliveryStatusLogging"].([]any)
	for _, item := range logging {
		config, _ := item.(map[string]any)
		for name, v := range config {
			if name != "Protocol" {
				attrs[statusPrefix[text(config["Protocol"])]+name] = attribute(v)
			}
		}
	}
	return attrs
}

// endpoint is an endpoint that is subscribed with its topic.
type endpoint struct{ protocol, address string }

func endpointsIn(m resource.Model) ([]endpoint, error) {
	var list []sns.Subscription
	if err := shape("Subscription", m["Subscription"], &list); err != nil {
		return nil, err
	}
	var endpoints []endpoint
	for _, s := range list {
		endpoints = append(endpoints, endpoint{str(s.Protocol), str(s.Endpoint)})
	}
	return endpoints, nil
}

// Create makes the topic with its attributes and tags, then subscribes its endpoints. The API would take a topic with
// the same attributes for the one asked for.
func (h topic) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	name := nameOf(r, "TopicName", "Topic")
	tags, err := tagsOf(r.Desired)
	if err != nil {
		return nil, err
	}
	endpoints, err := endpointsIn(r.Desired)
	if err != nil {
		return nil, err
	}
	arn := ownARN(r, "sns", name)
	_, err = h.topicAttributes(ctx, r, arn)
	switch {
	case err == nil:
		err = h.adopt(ctx, r, arn)
	case is(err, resource.NotFound), is(err, resource.InvalidRequest): // of a name, CreateTopic says what is wrong
		in := &sns.CreateTopicInput{
			Name: &name, Attributes: attributesIn(r.Desired), Tags: snsTags(tags), DataProtectionPolicy: givenDocument(r.Desired["DataProtectionPolicy"]),
		}
		if fifo := text(r.Desired["FifoTopic"]); fifo == "true" {
			in.Attributes["FifoTopic"] = fifo
		}
		_, err = call[sns.CreateTopicOutput](ctx, h.api, r, "sns", "CreateTopic", in)
	}
	if err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.remove(ctx, r, arn) })
	for _, e := range endpoints {
		if _, err := h.subscribe(ctx, r, arn, e); err != nil {
			return nil, undo.after(ctx, err)
		}
	}
	return h.read(ctx, r, arn)
}

// subscribe returns the ARN of the subscription; of one that is not confirmed it is no ARN.
func (h topic) subscribe(ctx context.Context, r resource.Request, arn string, e endpoint) (string, error) {
	in := &sns.SubscribeInput{TopicArn: &arn, Protocol: &e.protocol, Endpoint: &e.address}
	out, err := call[sns.SubscribeOutput](ctx, h.api, r, "sns", "Subscribe", in)
	if err != nil {
		return "", err
	}
	return str(out.SubscriptionArn), nil
}

// unsubscribe leaves alone what is not confirmed. AWS: it cannot be unsubscribed, and goes by itself.
func (h topic) unsubscribe(ctx context.Context, r resource.Request, subscription string) error {
	if !strings.HasPrefix(subscription, "arn:") {
		return nil
	}
	_, err := call[sns.UnsubscribeOutput](ctx, h.api, r, "sns", "Unsubscribe", &sns.UnsubscribeInput{SubscriptionArn: &subscription})
	return err
}

// adopt returns nil if the topic is what a create that was cut off left.
func (h topic) adopt(ctx context.Context, r resource.Request, arn string) error {
	if !r.Again {
		return exists("AWS::SNS::Topic", arn)
	}
	have, err := h.read(ctx, r, arn)
	if err != nil {
		return err
	}
	properties := []string{"Tags"}
	for p := range topicDefaults {
		properties = append(properties, p)
	}
	if !ours(r.Desired, have, topicDefaults, properties, nil) || !within(have["Subscription"], r.Desired["Subscription"]) {
		return exists("AWS::SNS::Topic", arn)
	}
	return nil
}

func snsTags(tags map[string]string) []sns.Tag {
	var list []sns.Tag
	for _, k := range sortedKeys(tags) {
		list = append(list, sns.Tag{Key: &k, Value: new(tags[k])})
	}
	return list
}

func (a api) topicAttributes(ctx context.Context, r resource.Request, arn string) (map[string]string, error) {
	out, err := call[sns.GetTopicAttributesOutput](ctx, a, r, "sns", "GetTopicAttributes", &sns.GetTopicAttributesInput{TopicArn: &arn})
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// subscriptions returns the subscriptions of a topic. AWS: those that are not confirmed have no ARN there.
func (a api) subscriptions(ctx context.Context, r resource.Request, topicARN string) ([]sns.Subscription, error) {
	in := &sns.ListSubscriptionsByTopicInput{TopicArn: &topicARN}
	var all []sns.Subscription
	for {
		out, err := call[sns.ListSubscriptionsByTopicOutput](ctx, a, r, "sns", "ListSubscriptionsByTopic", in)
		if err != nil {
			return nil, err
		}
		all = append(all, out.Subscriptions...)
		if in.NextToken = out.NextToken; in.NextToken == nil {
			return all, nil
		}
	}
}

// Read returns the topic's attributes, subscriptions and tags.
func (h topic) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h topic) read(ctx context.Context, r resource.Request, arn string) (resource.Model, error) {
	attrs, err := h.topicAttributes(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	subscriptions, err := h.subscriptions(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	tags, err := h.tags(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	m := resource.Model{"TopicArn": arn, "TopicName": lastPart(arn, ":")}
	for property := range topicDefaults {
		put(m, property, attrs[property])
	}
	slices.SortFunc(subscriptions, func(a, b sns.Subscription) int {
		return cmp.Or(strings.Compare(*a.Protocol, *b.Protocol), strings.Compare(*a.Endpoint, *b.Endpoint))
	})
	var endpoints []any
	for _, s := range subscriptions {
		endpoints = append(endpoints, map[string]any{"Protocol": *s.Protocol, "Endpoint": *s.Endpoint})
	}
	put(m, "Subscription", endpoints)
	put(m, "Tags", tagList(tags))
	return m, nil
}

func (h topic) tags(ctx context.Context, r resource.Request, arn string) (map[string]string, error) {
	out, err := call[sns.ListTagsForResourceOutput](ctx, h.api, r, "sns", "ListTagsForResource", &sns.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return nil, err
	}
	tags := map[string]string{}
	for _, t := range out.Tags {
		tags[*t.Key] = *t.Value
	}
	return tags, nil
}

// Update sets the attributes that change, one after the other, then subscribes and unsubscribes endpoints. What was done
// before a refusal is taken back.
func (h topic) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	arn := r.Identifier
	attrs, err := h.topicAttributes(ctx, r, arn)
	if err != nil {
		return nil, err
	}
	if err := (unserved{{"DataProtectionPolicy", "topics have no data protection"}}).refuse(r.Desired); err != nil {
		return nil, err
	}
	wanted, before := attributesIn(r.Desired), attributesIn(r.Previous)
	var undo undo
	for _, name := range sortedKeys(union(wanted, before)) {
		if wanted[name] == before[name] {
			continue
		}
		v, ok := wanted[name]
		if !ok {
			v = text(topicDefaults[name])
		}
		if err := h.set(ctx, r, arn, name, v); err != nil {
			return nil, undo.after(ctx, err)
		}
		undo.add(func(ctx context.Context) error { return h.set(ctx, r, arn, name, attrs[name]) })
	}
	if err := h.resubscribe(ctx, r, arn, &undo); err != nil {
		return nil, undo.after(ctx, err)
	}
	if err := h.retag(ctx, r, arn); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, arn)
}

func union(a, b map[string]string) map[string]string {
	all := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k := range m {
			all[k] = ""
		}
	}
	return all
}

func (h topic) set(ctx context.Context, r resource.Request, arn, name, v string) error {
	if v == "" {
		v = text(topicDefaults[name])
	}
	in := &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: &name, AttributeValue: &v}
	_, err := call[sns.SetTopicAttributesOutput](ctx, h.api, r, "sns", "SetTopicAttributes", in)
	return err
}

// resubscribe subscribes endpoints that the model has now and unsubscribes those that it had. Other
// subscriptions of the topic stay.
func (h topic) resubscribe(ctx context.Context, r resource.Request, arn string, undo *undo) error {
	if !changed(r, "Subscription") {
		return nil
	}
	wanted, err := endpointsIn(r.Desired)
	if err != nil {
		return err
	}
	before, err := endpointsIn(r.Previous)
	if err != nil {
		return err
	}
	have, err := h.subscriptions(ctx, r, arn)
	if err != nil {
		return err
	}
	arns := map[endpoint]string{}
	for _, s := range have {
		arns[endpoint{*s.Protocol, *s.Endpoint}] = *s.SubscriptionArn
	}
	for _, e := range wanted {
		if _, there := arns[e]; there {
			delete(arns, e)
			continue
		}
		made, err := h.subscribe(ctx, r, arn, e)
		if err != nil {
			return err
		}
		undo.add(func(ctx context.Context) error { return h.unsubscribe(ctx, r, made) })
	}
	for _, e := range before {
		old, there := arns[e]
		if !there {
			continue
		}
		delete(arns, e)
		if err := h.unsubscribe(ctx, r, old); err != nil {
			return err
		}
		undo.add(func(ctx context.Context) error {
			_, err := h.subscribe(ctx, r, arn, e)
			return err
		})
	}
	return nil
}

func (h topic) retag(ctx context.Context, r resource.Request, arn string) error {
	return retag(ctx, r, tagOperations{
		have: func(ctx context.Context) (map[string]string, error) { return h.tags(ctx, r, arn) },
		untag: func(ctx context.Context, keys []string) error {
			_, err := call[sns.UntagResourceOutput](ctx, h.api, r, "sns", "UntagResource", &sns.UntagResourceInput{ResourceArn: &arn, TagKeys: keys})
			return err
		},
		tag: func(ctx context.Context, tags map[string]string) error {
			_, err := call[sns.TagResourceOutput](ctx, h.api, r, "sns", "TagResource", &sns.TagResourceInput{ResourceArn: &arn, Tags: snsTags(tags)})
			return err
		},
	})
}

// Delete deletes the topic with its subscriptions. The service takes one that is missing for deleted.
func (h topic) Delete(ctx context.Context, r resource.Request) error {
	if _, err := h.topicAttributes(ctx, r, r.Identifier); err != nil {
		return gone(r, err)
	}
	return h.remove(ctx, r, r.Identifier)
}

func (h topic) remove(ctx context.Context, r resource.Request, arn string) error {
	_, err := call[sns.DeleteTopicOutput](ctx, h.api, r, "sns", "DeleteTopic", &sns.DeleteTopicInput{TopicArn: &arn})
	return err
}

// List lists the topics by name. SNS gives pages of its own size.
func (h topic) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	arns, next, err := h.topics(ctx, r)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, arn := range arns {
		models = append(models, resource.Model{"TopicArn": arn})
	}
	return models, next, nil
}

func (a api) topics(ctx context.Context, r resource.Request) (arns []string, next string, err error) {
	out, err := call[sns.ListTopicsOutput](ctx, a, r, "sns", "ListTopics", &sns.ListTopicsInput{NextToken: pageToken(r)})
	if err != nil {
		return nil, "", err
	}
	for _, t := range out.Topics {
		arns = append(arns, *t.TopicArn)
	}
	return arns, str(out.NextToken), nil
}
