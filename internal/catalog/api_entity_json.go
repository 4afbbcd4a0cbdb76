package catalog

import (
	"strings"
)

// entityJSON is an entity as the API shows it. A relation to many is always a list, as
// team is; an entity without a title shows its identifier.
func entityJSON(e *Entity) map[string]any {
	properties, relations := e.Properties, e.Relations
	if properties == nil {
		properties = map[string]any{}
	}
	if relations == nil {
		relations = map[string]any{}
	}
	out := map[string]any{
		"identifier": e.Identifier, "title": e.Identifier, "icon": nil, "blueprint": e.Blueprint,
		"team": append([]string{}, e.Team...), "properties": properties, "relations": relations, "scorecards": map[string]any{},
		"createdAt": stamp(e.CreatedAt), "createdBy": e.CreatedBy, "updatedAt": stamp(e.UpdatedAt), "updatedBy": e.UpdatedBy,
	}
	if e.Title != nil && *e.Title != "" {
		out["title"] = *e.Title
	}
	if e.Icon != nil {
		out["icon"] = *e.Icon
	}
	return out
}

// view is which parts of entities an answer has: of include those alone, if there are
// any, and none of exclude. A part is a member such as title, or one of a map such
// as properties.arn. Port names meta properties with a '$' in searches: $title is
// title.
type view struct {
	include, exclude []string
	excludeComputed  bool
	titles           bool // attach_title_to_relation
	warnings         []string
	strikes          *strikes // of the calculations in all pages of the answer
}

// needsComputed reports whether properties are shown that are computed when read.
func (v view) needsComputed() bool {
	if v.excludeComputed {
		return false
	}
	if len(v.include) == 0 {
		return !contains(v.exclude, "properties")
	}
	for _, name := range v.include {
		if name == "properties" || strings.HasPrefix(name, "properties.") {
			return true
		}
	}
	return false
}

func contains(list []string, name string) bool {
	for _, s := range list {
		if strings.TrimPrefix(s, "$") == name {
			return true
		}
	}
	return false
}

// of shows an entity's parts.
func (v view) of(e *Entity) map[string]any {
	all := entityJSON(e)
	if len(v.include) > 0 {
		all = picked(all, v.include)
	}
	for _, name := range v.exclude {
		drop(all, strings.TrimPrefix(name, "$"))
	}
	return all
}

func picked(all map[string]any, names []string) map[string]any {
	out := map[string]any{}
	for _, name := range names {
		name = strings.TrimPrefix(name, "$")
		if value, ok := all[name]; ok {
			out[name] = value
			continue
		}
		parent, key, ok := strings.Cut(name, ".")
		if !ok {
			continue
		}
		from, _ := all[parent].(map[string]any)
		value, found := from[key]
		if !found {
			continue
		}
		into, _ := out[parent].(map[string]any)
		if into == nil {
			into = map[string]any{}
			out[parent] = into
		} else if len(into) == len(from) {
			continue // the whole was asked for, too
		}
		into[key] = value
	}
	return out
}

func drop(all map[string]any, name string) {
	if _, ok := all[name]; ok {
		delete(all, name)
		return
	}
	parent, key, ok := strings.Cut(name, ".")
	if !ok {
		return
	}
	from, _ := all[parent].(map[string]any)
	if _, found := from[key]; !found {
		return
	}
	kept := make(map[string]any, len(from)) // the entity's own map is not ours to change
	for k, value := range from {
		if k != key {
			kept[k] = value
		}
	}
	all[parent] = kept
}
