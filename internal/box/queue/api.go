package queue

import (
	"context"
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

var _ sqs.Service = (*Queues)(nil)

// open finds the queue of a URL and checks that the caller may do the action on it.
func (q *Queues) open(ctx context.Context, queueURL *string, action string) (*Queue, error) {
	r, err := refOf(ctx, queueURL)
	if err != nil {
		return nil, err
	}
	have, err := q.Find(ctx, r)
	if err != nil {
		return nil, err
	}
	return have, authorize(ctx, have, action)
}

// refOf reads account and name from a queue's URL, whatever host it names; the
// region is that of the caller's credentials.
func refOf(ctx context.Context, queueURL *string) (Ref, error) {
	u, err := url.Parse(*queueURL)
	if err != nil {
		return Ref{}, errAddress(*queueURL)
	}
	path := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(path) < 2 || !validAccount.MatchString(path[len(path)-2]) {
		return Ref{}, errAddress(*queueURL)
	}
	return Ref{Account: path[len(path)-2], Region: awsapi.CallerFrom(ctx).Region, Name: path[len(path)-1]}, nil
}

func errAddress(u string) error {
	return sqs.ErrInvalidAddress("The address %s is not valid for this endpoint.", u)
}

// CreateQueue makes a queue in the caller's account and region.
func (q *Queues) CreateQueue(ctx context.Context, in *sqs.CreateQueueInput) (*sqs.CreateQueueOutput, error) {
	c := awsapi.CallerFrom(ctx)
	r := Ref{Account: c.Account, Region: c.Region, Name: *in.QueueName}
	out := &sqs.CreateQueueOutput{QueueUrl: new(q.URL(r))}
	awsapi.Answers(ctx, out)
	return out, q.Create(ctx, r, in.Attributes, in.Tags)
}

// GetQueueUrl returns the URL of a queue, of another account's too if its policy allows.
func (q *Queues) GetQueueUrl(ctx context.Context, in *sqs.GetQueueUrlInput) (*sqs.GetQueueUrlOutput, error) {
	c := awsapi.CallerFrom(ctx)
	r := Ref{Account: c.Account, Region: c.Region, Name: *in.QueueName}
	if in.QueueOwnerAWSAccountId != nil {
		r.Account = *in.QueueOwnerAWSAccountId
	}
	have, err := q.Find(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := authorize(ctx, have, "GetQueueUrl"); err != nil {
		return nil, err
	}
	return &sqs.GetQueueUrlOutput{QueueUrl: new(q.URL(r))}, nil
}

// DeleteQueue deletes a queue and its messages.
func (q *Queues) DeleteQueue(ctx context.Context, in *sqs.DeleteQueueInput) (*sqs.DeleteQueueOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "DeleteQueue")
	if err != nil {
		return nil, err
	}
	return &sqs.DeleteQueueOutput{}, q.Delete(ctx, have.Ref)
}

// PurgeQueue deletes a queue's messages.
func (q *Queues) PurgeQueue(ctx context.Context, in *sqs.PurgeQueueInput) (*sqs.PurgeQueueOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "PurgeQueue")
	if err != nil {
		return nil, err
	}
	return &sqs.PurgeQueueOutput{}, q.Purge(ctx, have.Ref)
}

// maxListed is AWS's page size of queues, and what it returns without MaxResults.
const maxListed = 1000

// ListQueues lists the caller's queues. AWS: without MaxResults there is one page.
func (q *Queues) ListQueues(ctx context.Context, in *sqs.ListQueuesInput) (*sqs.ListQueuesOutput, error) {
	limit, after, err := page(in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if in.QueueNamePrefix != nil {
		prefix = *in.QueueNamePrefix
	}
	c := awsapi.CallerFrom(ctx)
	refs, err := q.List(ctx, c.Account, c.Region, prefix, after, limit+1)
	if err != nil {
		return nil, err
	}
	urls, next := q.urls(refs, limit, in.MaxResults != nil)
	return &sqs.ListQueuesOutput{QueueUrls: urls, NextToken: next}, nil
}

// ListDeadLetterSourceQueues lists the queues that use this one for their dead letters.
func (q *Queues) ListDeadLetterSourceQueues(ctx context.Context, in *sqs.ListDeadLetterSourceQueuesInput) (*sqs.ListDeadLetterSourceQueuesOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "ListDeadLetterSourceQueues")
	if err != nil {
		return nil, err
	}
	limit, after, err := page(in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	refs, err := q.DeadLetterSources(ctx, have.Ref, after, limit+1)
	if err != nil {
		return nil, err
	}
	urls, next := q.urls(refs, limit, in.MaxResults != nil)
	if urls == nil {
		urls = []string{}
	}
	return &sqs.ListDeadLetterSourceQueuesOutput{QueueUrls: urls, NextToken: next}, nil
}

// page reads what a list operation is asked for. The token is the last name of
// the page before.
func page(maxResults *int32, token *string) (limit int, after string, err error) {
	limit = maxListed
	if maxResults != nil {
		limit = int(*maxResults)
		if limit < 1 || limit > maxListed {
			return 0, "", errParameter("MaxResults", limit, "MaxResults must be an integer between 1 and %d.", maxListed)
		}
	}
	if token == nil || *token == "" {
		return limit, "", nil
	}
	name, err := base64.RawURLEncoding.DecodeString(*token)
	if err != nil || !validName.Match(name) {
		return 0, "", errInvalid("Invalid or expired next token.")
	}
	if maxResults == nil {
		return 0, "", errInvalid("MaxResults must be set in order to use NextToken.")
	}
	return limit, string(name), nil
}

func (q *Queues) urls(refs []Ref, limit int, paged bool) (urls []string, next *string) {
	if len(refs) > limit {
		refs = refs[:limit]
		if paged {
			next = new(base64.RawURLEncoding.EncodeToString([]byte(refs[limit-1].Name)))
		}
	}
	for _, r := range refs {
		urls = append(urls, q.URL(r))
	}
	return urls, next
}

// GetQueueAttributes returns the attributes asked for, those without a value left out.
func (q *Queues) GetQueueAttributes(ctx context.Context, in *sqs.GetQueueAttributesInput) (*sqs.GetQueueAttributesOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "GetQueueAttributes")
	if err != nil {
		return nil, err
	}
	if len(in.AttributeNames) == 0 {
		return &sqs.GetQueueAttributesOutput{}, nil
	}
	wanted := map[string]bool{}
	for _, name := range in.AttributeNames {
		if !knownAttribute(name) {
			return nil, errAttributeName(name)
		}
		wanted[name] = true
	}
	all := have.Attributes()
	if wanted["All"] || wanted[attrVisible] || wanted[attrInFlight] || wanted[attrDelayed] {
		c, err := countMessages(ctx, q.db, have, q.now())
		if err != nil {
			return nil, err
		}
		all[attrVisible] = strconv.FormatInt(c.visible, 10)
		all[attrInFlight] = strconv.FormatInt(c.inFlight, 10)
		all[attrDelayed] = strconv.FormatInt(c.delayed, 10)
	}
	for name := range all {
		if !wanted["All"] && !wanted[name] {
			delete(all, name)
		}
	}
	return &sqs.GetQueueAttributesOutput{Attributes: all}, nil
}

// SetQueueAttributes changes attributes.
func (q *Queues) SetQueueAttributes(ctx context.Context, in *sqs.SetQueueAttributesInput) (*sqs.SetQueueAttributesOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "SetQueueAttributes")
	if err != nil {
		return nil, err
	}
	return &sqs.SetQueueAttributesOutput{}, q.SetAttributes(ctx, have.Ref, in.Attributes)
}

// AddPermission adds a statement to a queue's policy.
func (q *Queues) AddPermission(ctx context.Context, in *sqs.AddPermissionInput) (*sqs.AddPermissionOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "AddPermission")
	if err != nil {
		return nil, err
	}
	return &sqs.AddPermissionOutput{}, q.Allow(ctx, have.Ref, *in.Label, in.AWSAccountIds, in.Actions)
}

// RemovePermission removes a statement from a queue's policy.
func (q *Queues) RemovePermission(ctx context.Context, in *sqs.RemovePermissionInput) (*sqs.RemovePermissionOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "RemovePermission")
	if err != nil {
		return nil, err
	}
	return &sqs.RemovePermissionOutput{}, q.Disallow(ctx, have.Ref, *in.Label)
}

// ListQueueTags returns a queue's tags.
func (q *Queues) ListQueueTags(ctx context.Context, in *sqs.ListQueueTagsInput) (*sqs.ListQueueTagsOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "ListQueueTags")
	if err != nil {
		return nil, err
	}
	return &sqs.ListQueueTagsOutput{Tags: have.Tags}, nil
}

// TagQueue adds tags to a queue.
func (q *Queues) TagQueue(ctx context.Context, in *sqs.TagQueueInput) (*sqs.TagQueueOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "TagQueue")
	if err != nil {
		return nil, err
	}
	return &sqs.TagQueueOutput{}, q.Tag(ctx, have.Ref, in.Tags)
}

// UntagQueue removes tags from a queue.
func (q *Queues) UntagQueue(ctx context.Context, in *sqs.UntagQueueInput) (*sqs.UntagQueueOutput, error) {
	have, err := q.open(ctx, in.QueueUrl, "UntagQueue")
	if err != nil {
		return nil, err
	}
	return &sqs.UntagQueueOutput{}, q.Untag(ctx, have.Ref, in.TagKeys)
}
