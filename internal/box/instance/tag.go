package instance

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

const (
	maxTags        = 50
	maxTaggedAtOne = 1000
)

// checkTags checks tags that are to be added to those that an instance has.
func checkTags(have, added map[string]string) error {
	n := len(have)
	for k, v := range added {
		switch {
		case k == "":
			return errValue("Tag keys must not be empty.")
		case strings.HasPrefix(k, "aws:"):
			return errValue("Tag keys starting with 'aws:' are reserved for internal use")
		case utf8.RuneCountInString(k) > 128:
			return errValue("Tag key exceeds the maximum length of 128 characters")
		case utf8.RuneCountInString(v) > 256:
			return errValue("Tag value exceeds the maximum length of 256 characters")
		case !utf8.ValidString(k) || !utf8.ValidString(v) || strings.ContainsRune(k, 0) || strings.ContainsRune(v, 0):
			return errValue("The tag %q contains invalid characters.", k)
		}
		if _, ok := have[k]; !ok {
			n++
		}
	}
	if n > maxTags {
		return awsapi.Errorf("TagLimitExceeded", "More than %d tags specified", maxTags)
	}
	return nil
}

// Tag adds tags to instances or replaces their values.
func (s *Instances) Tag(ctx context.Context, p Place, ids []string, tags map[string]string) error {
	return s.retag(ctx, p, ids, func(i *Instance) error {
		if err := checkTags(i.Tags, tags); err != nil {
			return err
		}
		maps.Copy(i.Tags, tags)
		return nil
	})
}

// TagKey is a tag to be removed: with any value, or with the one given.
type TagKey struct {
	Key   string
	Value *string
}

// Untag removes tags from instances; without keys, all of them.
func (s *Instances) Untag(ctx context.Context, p Place, ids []string, keys []TagKey) error {
	return s.retag(ctx, p, ids, func(i *Instance) error {
		if len(keys) == 0 {
			clear(i.Tags)
		}
		for _, k := range keys {
			if v, ok := i.Tags[k.Key]; ok && (k.Value == nil || *k.Value == v) {
				delete(i.Tags, k.Key)
			}
		}
		return nil
	})
}

// retag changes the tags of all of the instances, or none and returns the
// error; of more than maxLaunch in several transactions, once all have been found
// and edited on trial.
func (s *Instances) retag(ctx context.Context, p Place, ids []string, edit func(*Instance) error) error {
	if len(ids) > maxTaggedAtOne {
		return errValue("The number of resources, %d, exceeds the maximum of %d.", len(ids), maxTaggedAtOne)
	}
	if len(ids) > maxLaunch {
		list, err := find(ctx, s.db, p, ids, "")
		if err != nil {
			return err
		}
		if err := each(list, edit); err != nil {
			return err
		}
	}
	for len(ids) > 0 {
		n, ctx := min(len(ids), maxLaunch), ctx
		if n < len(ids) {
			ctx = awsapi.Untrailed(ctx) // the last one tells of all
		}
		if err := s.retagSome(ctx, p, ids[:n], edit); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (s *Instances) retagSome(ctx context.Context, p Place, ids []string, edit func(*Instance) error) error {
	return s.db.Update(ctx, func(tx *store.Tx) error {
		list, err := find(ctx, tx, p, ids, tx.Dialect().ForUpdate())
		if err != nil {
			return err
		}
		var records []event.Record
		for _, i := range list {
			before := maps.Clone(i.Tags)
			if err := edit(i); err != nil {
				return err
			}
			if maps.Equal(before, i.Tags) {
				continue
			}
			i.tagVersion++
			if err := updateTags(ctx, tx, i); err != nil {
				return err
			}
			records = append(records, s.tagEvent(i, before))
		}
		return tx.Publish(ctx, records...)
	})
}

// tagEvent tells of changed tags. AWS: "Tag Change on Resource", version grows
// with each change of the resource's tags.
func (s *Instances) tagEvent(i *Instance, before map[string]string) event.Record {
	changed := []string{}
	for k, v := range i.Tags {
		if was, ok := before[k]; !ok || was != v {
			changed = append(changed, k)
		}
	}
	for k := range before {
		if _, ok := i.Tags[k]; !ok {
			changed = append(changed, k)
		}
	}
	slices.Sort(changed)
	detail, _ := json.Marshal(struct { // of plain strings
		Changed  []string          `json:"changed-tag-keys"`
		Service  string            `json:"service"`
		Resource string            `json:"resource-type"`
		Version  int64             `json:"version"`
		Tags     map[string]string `json:"tags"`
	}{changed, "ec2", "instance", i.tagVersion, i.Tags})
	return s.record(i, "aws.tag", "Tag Change on Resource", detail)
}
