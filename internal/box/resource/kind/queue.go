package kind

import (
	"context"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// queue is AWS::SQS::Queue, by its URL.
type queue struct{ api }

// queueAttributes are the properties that are attributes of the same name, with what AWS has for those
// that are not given.
var queueAttributes = resource.Model{
	"ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
	"DelaySeconds": "0", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600",
	"ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30", "SqsManagedSseEnabled": "true",
	"RedrivePolicy": "", "RedriveAllowPolicy": "", "KmsMasterKeyId": "", "KmsDataKeyReusePeriodSeconds": "300",
}

// attribute is a property as the text of an attribute.
func attribute(v any) string {
	if s, ok := scalar(v); ok {
		return s
	}
	return document(v)
}

// Create makes the queue with its attributes and tags. The API would take a queue with the same attributes
// for the one asked for.
func (h queue) Create(ctx context.Context, r resource.Request) (resource.Model, error) {
	fifo := text(r.Desired["FifoQueue"]) == "true"
	name := nameOf(r, "QueueName", "Queue")
	if fifo && r.Desired["QueueName"] == nil {
		name += ".fifo"
	}
	tags, err := tagsOf(r.Desired)
	if err != nil {
		return nil, err
	}
	found, err := call[sqs.GetQueueUrlOutput](ctx, h.api, r, "sqs", "GetQueueUrl", &sqs.GetQueueUrlInput{QueueName: &name})
	if err == nil {
		return h.adopt(ctx, r, *found.QueueUrl)
	}
	if !is(err, resource.NotFound) {
		return nil, err
	}
	in := &sqs.CreateQueueInput{QueueName: &name, Attributes: map[string]string{}, Tags: tags}
	if fifo {
		in.Attributes["FifoQueue"] = "true"
	}
	for property := range queueAttributes {
		if v := r.Desired[property]; v != nil {
			in.Attributes[property] = attribute(v)
		}
	}
	out, err := call[sqs.CreateQueueOutput](ctx, h.api, r, "sqs", "CreateQueue", in)
	if err != nil {
		return nil, err
	}
	return h.read(ctx, r, *out.QueueUrl)
}

// adopt returns the queue if it is what a create that was cut off left.
func (h queue) adopt(ctx context.Context, r resource.Request, url string) (resource.Model, error) {
	if !r.Again {
		return nil, exists("AWS::SQS::Queue", url)
	}
	have, err := h.read(ctx, r, url)
	if err != nil {
		return nil, err
	}
	defaults := resource.Model{"FifoQueue": "false"}
	properties := []string{"FifoQueue", "Tags"}
	for p, v := range queueAttributes {
		defaults[p] = v
		properties = append(properties, p)
	}
	if !ours(r.Desired, have, defaults, properties, nil) {
		return nil, exists("AWS::SQS::Queue", url)
	}
	return have, nil
}

// Read returns the queue's attributes and tags.
func (h queue) Read(ctx context.Context, r resource.Request) (resource.Model, error) {
	return h.read(ctx, r, r.Identifier)
}

func (h queue) attributes(ctx context.Context, r resource.Request, url string) (map[string]string, error) {
	in := &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []string{sqs.QueueAttributeNameAll}}
	out, err := call[sqs.GetQueueAttributesOutput](ctx, h.api, r, "sqs", "GetQueueAttributes", in)
	if err != nil {
		return nil, err
	}
	return out.Attributes, nil
}

// read gives the URL as it is the identifier: it names the queue whatever address the server has now.
func (h queue) read(ctx context.Context, r resource.Request, url string) (resource.Model, error) {
	attrs, err := h.attributes(ctx, r, url)
	if err != nil {
		return nil, err
	}
	tags, err := h.tags(ctx, r, url)
	if err != nil {
		return nil, err
	}
	m := resource.Model{"QueueUrl": url, "QueueName": lastPart(attrs["QueueArn"], ":"), "Arn": attrs["QueueArn"]}
	for property := range queueAttributes {
		if v, ok := attrs[property]; ok && v != "" {
			m[property] = object(v) // numbers and booleans are JSON, too
		}
	}
	if attrs["FifoQueue"] == "true" {
		m["FifoQueue"] = true
	}
	put(m, "Tags", tagList(tags))
	return m, nil
}

func (h queue) tags(ctx context.Context, r resource.Request, url string) (map[string]string, error) {
	out, err := call[sqs.ListQueueTagsOutput](ctx, h.api, r, "sqs", "ListQueueTags", &sqs.ListQueueTagsInput{QueueUrl: &url})
	if err != nil {
		return nil, err
	}
	return out.Tags, nil
}

// Update sets the attributes that change, in one call, and then the tags. What the model no longer has is as AWS has it
// where nothing is said.
func (h queue) Update(ctx context.Context, r resource.Request) (resource.Model, error) {
	url := r.Identifier
	if err := h.setAttributes(ctx, r, url); err != nil {
		return nil, err
	}
	var undo undo
	undo.add(func(ctx context.Context) error { return h.setAttributes(ctx, back(r), url) })
	if err := h.retag(ctx, r, url); err != nil {
		return nil, undo.after(ctx, err)
	}
	return h.read(ctx, r, url)
}

func (h queue) setAttributes(ctx context.Context, r resource.Request, url string) error {
	attrs := map[string]string{}
	for property, initial := range queueAttributes {
		switch {
		case !changed(r, property):
		case r.Desired[property] == nil:
			attrs[property] = initial.(string)
		default:
			attrs[property] = attribute(r.Desired[property])
		}
	}
	if len(attrs) == 0 {
		return nil
	}
	in := &sqs.SetQueueAttributesInput{QueueUrl: &url, Attributes: attrs}
	_, err := call[sqs.SetQueueAttributesOutput](ctx, h.api, r, "sqs", "SetQueueAttributes", in)
	return err
}

func (h queue) retag(ctx context.Context, r resource.Request, url string) error {
	return retag(ctx, r, tagOperations{
		have: func(ctx context.Context) (map[string]string, error) { return h.tags(ctx, r, url) },
		untag: func(ctx context.Context, keys []string) error {
			_, err := call[sqs.UntagQueueOutput](ctx, h.api, r, "sqs", "UntagQueue", &sqs.UntagQueueInput{QueueUrl: &url, TagKeys: keys})
			return err
		},
		tag: func(ctx context.Context, tags map[string]string) error {
			_, err := call[sqs.TagQueueOutput](ctx, h.api, r, "sqs", "TagQueue", &sqs.TagQueueInput{QueueUrl: &url, Tags: tags})
			return err
		},
	})
}

// Delete deletes the queue.
func (h queue) Delete(ctx context.Context, r resource.Request) error {
	_, err := call[sqs.DeleteQueueOutput](ctx, h.api, r, "sqs", "DeleteQueue", &sqs.DeleteQueueInput{QueueUrl: &r.Identifier})
	return gone(r, err)
}

// maxQueues is the largest page of queues. AWS: 1000.
const maxQueues = 1000

// List lists the queues by name.
func (h queue) List(ctx context.Context, r resource.Request) ([]resource.Model, string, error) {
	urls, next, err := h.urls(ctx, r)
	if err != nil {
		return nil, "", err
	}
	var models []resource.Model
	for _, url := range urls {
		models = append(models, resource.Model{"QueueUrl": url})
	}
	return models, next, nil
}

func (a api) urls(ctx context.Context, r resource.Request) (urls []string, next string, err error) {
	in := &sqs.ListQueuesInput{MaxResults: pageSize(r, maxQueues), NextToken: pageToken(r)}
	out, err := call[sqs.ListQueuesOutput](ctx, a, r, "sqs", "ListQueues", in)
	if err != nil {
		return nil, "", err
	}
	return out.QueueUrls, str(out.NextToken), nil
}

// queueName is the name in a queue's URL.
func queueName(url string) string { return lastPart(strings.TrimSuffix(url, "/"), "/") }
