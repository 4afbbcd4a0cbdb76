package queue

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/store"
)

const maxTags = 50

// checkTags checks tags that are to be added to those that a queue has.
func checkTags(have, added map[string]string) error {
	all := maps.Clone(have)
	if all == nil {
		all = map[string]string{}
	}
	for k, v := range added {
		if k == "" || utf8.RuneCountInString(k) > 128 || strings.HasPrefix(strings.ToLower(k), "aws:") {
			return errParameter("TagKey", k, "Tag keys must be 1 to 128 characters in length and must not begin with aws:.")
		}
		if utf8.RuneCountInString(v) > 256 {
			return errParameter("TagValue", v, "Tag values must be at most 256 characters in length.")
		}
		if !validText(k) || !validText(v) {
			return errInvalid("The tag %q contains invalid characters.", k)
		}
		all[k] = v
	}
	if len(all) > maxTags {
		return errInvalid("Too many tags added for queue: a queue can have at most %d.", maxTags)
	}
	return nil
}

// Tag adds tags or replaces their values.
func (q *Queues) Tag(ctx context.Context, r Ref, tags map[string]string) error {
	return q.change(ctx, r, func(tx *store.Tx, have *Queue) error {
		if err := checkTags(have.Tags, tags); err != nil {
			return err
		}
		next := maps.Clone(have.Tags)
		maps.Copy(next, tags)
		return updateTags(ctx, tx, have.id, next)
	})
}

// Untag removes tags; keys that there are none of are passed over.
func (q *Queues) Untag(ctx context.Context, r Ref, keys []string) error {
	return q.change(ctx, r, func(tx *store.Tx, have *Queue) error {
		next := maps.Clone(have.Tags)
		for _, k := range keys {
			delete(next, k)
		}
		return updateTags(ctx, tx, have.id, next)
	})
}
