package bus

import (
	"context"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// Tag is a key and a value that a user hangs on a bus or a rule.
type Tag struct {
	Key, Value string
}

// maxTags is AWS's limit for one resource.
const maxTags = 50

func checkTags(tags []Tag) error {
	seen := make(map[string]bool, len(tags))
	for _, t := range tags {
		if seen[t.Key] {
			return awsapi.ValidationException("Invalid parameter: Duplicated keys are not allowed.")
		}
		seen[t.Key] = true
		if strings.HasPrefix(strings.ToLower(t.Key), "aws:") { // AWS keeps these for itself
			return awsapi.ValidationException("Invalid parameter: the tag key %s begins with aws:, which is reserved.", t.Key)
		}
		if err := checkText("Tags", new(t.Key+t.Value)); err != nil {
			return err
		}
	}
	if len(tags) > maxTags {
		return tooManyTags()
	}
	return nil
}

func tooManyTags() error {
	return awsapi.ValidationException("Invalid parameter: a resource can have at most %d tags.", maxTags)
}

// TagResource adds tags to a bus or a rule, replacing values of keys it has.
func (b *Buses) TagResource(ctx context.Context, caller Caller, arn string, tags []Tag) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	return b.changeTags(ctx, caller, arn, func(tx *store.Tx) error {
		if err := putTags(ctx, tx, arn, tags); err != nil {
			return err
		}
		n, err := countTags(ctx, tx, arn)
		if err == nil && n > maxTags {
			return tooManyTags()
		}
		return err
	})
}

// UntagResource removes tags from a bus or a rule; keys it lacks are ignored.
func (b *Buses) UntagResource(ctx context.Context, caller Caller, arn string, keys []string) error {
	for _, key := range keys {
		if err := checkText("TagKeys", &key); err != nil {
			return err
		}
	}
	return b.changeTags(ctx, caller, arn, func(tx *store.Tx) error {
		for _, key := range keys {
			if err := deleteTag(ctx, tx, arn, key); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *Buses) changeTags(ctx context.Context, caller Caller, arn string, fn func(tx *store.Tx) error) error {
	err := b.db.Update(ctx, func(tx *store.Tx) error {
		r, err := b.taggable(ctx, tx, caller, arn)
		if err != nil {
			return err
		}
		if err := r.changeable(false); err != nil {
			return err
		}
		return fn(tx)
	})
	if err != nil {
		return fmt.Errorf("change tags of %s: %w", arn, err)
	}
	return nil
}

// Tags returns the tags of a bus or a rule in the order in which they were added.
func (b *Buses) Tags(ctx context.Context, caller Caller, arn string) ([]Tag, error) {
	if _, err := b.taggable(ctx, b.db, caller, arn); err != nil {
		return nil, err
	}
	tags, err := selectTags(ctx, b.db, arn)
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", arn, err)
	}
	return tags, nil
}

// taggable checks that the ARN names a bus or a rule of the caller that exists,
// and returns the rule, the zero one for a bus.
func (b *Buses) taggable(ctx context.Context, q store.Querier, caller Caller, arn string) (Rule, error) {
	ref, rule, ok := parseResourceARN(arn)
	if !ok {
		return Rule{}, awsapi.ValidationException("Parameter ResourceARN is not valid. Reason: Provided Arn is not in correct format.")
	}
	if ref.Account != caller.Account || ref.Region != caller.Region {
		return Rule{}, awsapi.ValidationException("Parameter ResourceARN is not valid. Reason: the resource is not of account %s in %s.", caller.Account, caller.Region)
	}
	if rule == "" {
		_, err := b.bus(ctx, q, ref)
		return Rule{}, err
	}
	return b.rule(ctx, q, ref, rule)
}

// parseResourceARN reads the ARN of a bus, or of a rule and its bus. Tags are kept
// by ARN, so that only the one form of it will do that AWS gives.
func parseResourceARN(arn string) (ref event.BusRef, rule string, ok bool) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || strings.IndexByte(arn, 0) >= 0 || parts[0] != "arn" || parts[2] != "events" || parts[1] != event.Partition(parts[3]) {
		return event.BusRef{}, "", false
	}
	ref = event.BusRef{Region: parts[3], Account: parts[4], Name: event.DefaultBus}
	kind, name, _ := strings.Cut(parts[5], "/")
	if name == "" {
		return event.BusRef{}, "", false
	}
	switch kind {
	case "event-bus":
		ref.Name = name
		return ref, "", true
	case "rule":
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			ref.Name, name = name[:i], name[i+1:]
		}
		return ref, name, name != "" && ruleARN(ref, name) == arn
	}
	return event.BusRef{}, "", false
}
