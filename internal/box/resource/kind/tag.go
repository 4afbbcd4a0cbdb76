package kind

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

// tagsOf reads the list of tags of a model; nil without any. A key must not be there twice.
func tagsOf(m resource.Model) (map[string]string, error) {
	list, ok := m["Tags"].([]any)
	if !ok && m["Tags"] != nil {
		return nil, invalid("Tags", "must be a list.")
	}
	if len(list) == 0 {
		return nil, nil
	}
	tags := map[string]string{}
	for _, item := range list {
		tag, _ := item.(map[string]any)
		key, ok := scalar(tag["Key"])
		if !ok {
			return nil, invalid("Tags", "holds what is no tag: each has a Key and a Value.")
		}
		if _, twice := tags[key]; twice {
			return nil, invalid("Tags", "holds the key %s twice.", key)
		}
		tags[key] = text(tag["Value"])
	}
	return tags, nil
}

// tagList is the tags as a property, by key; nil without any.
func tagList(tags map[string]string) any {
	if len(tags) == 0 {
		return nil
	}
	var list []any
	for _, k := range sortedKeys(tags) {
		list = append(list, map[string]any{"Key": k, "Value": tags[k]})
	}
	return list
}

// tagOperations change the tags of a resource.
type tagOperations struct {
	have  func(context.Context) (map[string]string, error)
	untag func(ctx context.Context, keys []string) error
	tag   func(ctx context.Context, tags map[string]string) error
}

// retag makes the tags of a resource those that an update asks for. Tags that the model before did not have are
// somebody else's and stay. Some are removed before others are set, as there is a limit; they are put back if
// the others are refused.
func retag(ctx context.Context, r resource.Request, o tagOperations) error {
	if !changed(r, "Tags") {
		return nil
	}
	have, err := o.have(ctx)
	if err != nil {
		return err
	}
	set, remove, err := tagChanges(r, have)
	if err != nil {
		return err
	}
	var undo undo
	if len(remove) > 0 {
		if err := o.untag(ctx, remove); err != nil {
			return err
		}
		removed := map[string]string{}
		for _, k := range remove {
			removed[k] = have[k]
		}
		undo.add(func(ctx context.Context) error { return o.tag(ctx, removed) })
	}
	if len(set) > 0 {
		return undo.after(ctx, o.tag(ctx, set))
	}
	return nil
}

// tagChanges compares the tags that are asked for with those that there are.
func tagChanges(r resource.Request, have map[string]string) (set map[string]string, remove []string, err error) {
	want, err := tagsOf(r.Desired)
	if err != nil {
		return nil, nil, err
	}
	before, err := tagsOf(r.Previous)
	if err != nil {
		return nil, nil, err
	}
	set = map[string]string{}
	for k, v := range want {
		if now, ok := have[k]; !ok || now != v {
			set[k] = v
		}
	}
	for _, k := range sortedKeys(before) {
		_, wanted := want[k]
		if _, there := have[k]; there && !wanted {
			remove = append(remove, k)
		}
	}
	return set, remove, nil
}

// tagged says whether a list is one of tags.
func tagged(list []any) bool {
	return !slices.ContainsFunc(list, func(item any) bool {
		tag, ok := item.(map[string]any)
		_, hasKey := tag["Key"].(string)
		return !ok || !hasKey
	})
}

func sortedTags(list []any) []any {
	return slices.SortedStableFunc(slices.Values(list), func(a, b any) int {
		return strings.Compare(text(a.(map[string]any)["Key"]), text(b.(map[string]any)["Key"]))
	})
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
