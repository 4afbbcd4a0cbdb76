package topic

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
)

const maxTags = 50

// checkTags checks tags that are to be added to those that a topic has.
func checkTags(have, added map[string]string) error {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	for k, v := range added {
		if k == "" || utf8.RuneCountInString(k) > 128 || utf8.RuneCountInString(v) > 256 {
			return errParameter("Tags", "Tag keys must be 1 to 128 and values at most 256 characters in length.")
		}
		if strings.HasPrefix(strings.ToLower(k), "aws:") {
			return errParameter("Tags", "Tag keys must not begin with aws:, which is reserved.")
		}
		if !validText(k) || !validText(v) {
			return errParameter("Tags", "The tag %q contains invalid characters.", k)
		}
		all[k] = v
	}
	if len(all) > maxTags {
		return sns.ErrTagLimitExceededException("Could not complete request: tag quota of per resource exceeded")
	}
	return nil
}

// Tag adds tags to the topic or replaces their values.
func (t *Topics) Tag(ctx context.Context, r Ref, tags map[string]string) error {
	return t.change(ctx, r, func(tx *store.Tx, have *Topic) error {
		if err := checkTags(have.Tags, tags); err != nil {
			return err
		}
		next := maps.Clone(have.Tags)
		maps.Copy(next, tags)
		return updateTopicTags(ctx, tx, have.id, next)
	})
}

// Untag removes tags; keys that there are none of are passed over.
func (t *Topics) Untag(ctx context.Context, r Ref, keys []string) error {
	return t.change(ctx, r, func(tx *store.Tx, have *Topic) error {
		next := maps.Clone(have.Tags)
		for _, k := range keys {
			delete(next, k)
		}
		return updateTopicTags(ctx, tx, have.id, next)
	})
}
