package catalog

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// naive is a catalog in memory that is searched by looking at everything, with no code of the
// search: what its answers are compared with.
type naive struct {
	now      time.Time
	entities map[string]*worldEntity // by blueprint/identifier
}

// The blueprints that it knows, beside what its entities say.
var (
	naiveProperties = map[string][]string{"a": {"s", "n", "f", "l", "d", "t"}, "b": {"s", "n"}}
	naiveMirrors    = map[string]map[string][2]string{"a": {"m": {"one", "s"}, "mt": {"one", "$title"}}}
	naiveTargets    = map[string]map[string]string{"a": {"one": "b", "many": "a"}, "b": {"up": "b"}}
)

func (w *naive) search(query map[string]any) []string {
	found := []string{}
	for name, e := range w.entities {
		if w.holds(query, e) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

func (w *naive) holds(r map[string]any, e *worldEntity) bool {
	if c, ok := r["combinator"]; ok {
		rules := r["rules"].([]any)
		n := 0
		for _, child := range rules {
			if w.holds(child.(map[string]any), e) {
				n++
			}
		}
		return c == "and" && n == len(rules) || c == "or" && n > 0
	}
	op := r["operator"].(string)
	switch op {
	case "relatedTo":
		return w.related(r, e)
	case "matchAny":
		return w.matches(r, e)
	}
	for _, negative := range [][2]string{{"!=", "="}, {"doesNotContains", "contains"}, {"doesNotBeginsWith", "beginsWith"}, {"doesNotEndsWith", "endsWith"}, {"notIn", "in"}, {"notBetween", "between"}, {"isNotEmpty", "isEmpty"}} {
		if op == negative[0] {
			values, there := w.values(r, e)
			return there && !slices.ContainsFunc(values, func(v any) bool { return w.compare(negative[1], v, r["value"]) })
		}
	}
	values, there := w.values(r, e)
	return there && slices.ContainsFunc(values, func(v any) bool { return w.compare(op, v, r["value"]) })
}

// values are what a rule is about; false if the entity's blueprint has no such thing.
func (w *naive) values(r map[string]any, e *worldEntity) ([]any, bool) {
	if _, ok := r["propertySchema"]; ok { // of strings without a format
		return []any{e.Properties["s"]}, true
	}
	name := r["property"].(string)
	if strings.HasSuffix(r["operator"].(string), "Expired") && name != "t" {
		return nil, false // not a timer
	}
	if strings.HasPrefix(name, "$") {
		return []any{meta(e, name)}, true
	}
	if m, ok := naiveMirrors[e.Blueprint][name]; ok {
		target, _ := e.Relations[m[0]].(string)
		far := w.entities["b/"+target]
		switch {
		case far == nil:
			return []any{nil}, true
		case m[1] == "$title":
			return []any{meta(far, "$title")}, true
		}
		return []any{far.Properties[m[1]]}, true
	}
	if slices.Contains(naiveProperties[e.Blueprint], name) {
		return []any{e.Properties[name]}, true
	}
	return nil, false
}

func meta(e *worldEntity, name string) any {
	switch name {
	case "$identifier":
		return e.Identifier
	case "$blueprint":
		return e.Blueprint
	case "$title":
		if e.Title == nil {
			return e.Identifier
		}
		return *e.Title
	case "$team":
		var list []any
		for _, t := range e.Team {
			list = append(list, t)
		}
		return append([]any{}, list...)
	case "$datasource":
		return e.Datasource
	case "$createdAt":
		return e.At.Format("2006-01-02T15:04:05.000Z")
	}
	panic(name)
}

func (w *naive) compare(op string, v, want any) bool {
	list, isList := v.([]any)
	switch op {
	case "isEmpty":
		return v == nil || isList && len(list) == 0
	case "in", "containsAny":
		if v == nil {
			return slices.Contains(want.([]any), nil)
		}
	case "=":
		if wanted, ok := want.([]any); ok {
			return isList && fmt.Sprint(list...) == fmt.Sprint(wanted...) && len(list) == len(wanted)
		}
		if want == nil {
			return v == nil
		}
	}
	if isList && op == "contains" {
		op = "="
	}
	if isList {
		return slices.ContainsFunc(list, func(item any) bool { return w.compare(op, item, want) })
	}
	text, isText := v.(string)
	wanted, _ := want.(string)
	t, err := time.Parse(time.RFC3339, text)
	isTime := isText && err == nil
	switch op {
	case "=":
		if span, ok := want.(map[string]any); ok {
			return isTime && !t.Before(moment(span["from"])) && !t.After(moment(span["to"]))
		}
		if other, err := time.Parse(time.RFC3339, wanted); err == nil && isTime {
			return other.Equal(t)
		}
		return v == want
	case "between":
		return w.compare("=", v, want)
	case "in", "containsAny":
		return slices.ContainsFunc(want.([]any), func(one any) bool { return one != nil && w.compare("=", v, one) })
	case "contains":
		if wanted == "" {
			return v == want
		}
		return isText && strings.Contains(text, wanted)
	case "beginsWith":
		return isText && strings.HasPrefix(text, wanted)
	case "endsWith":
		return isText && strings.HasSuffix(text, wanted)
	case "isExpired":
		return isTime && !t.After(w.now)
	case "isNotExpired":
		return isTime && t.After(w.now)
	}
	return w.ordered(op, v, want)
}

func (w *naive) ordered(op string, v, want any) bool {
	var less, more bool
	if n, ok := want.(float64); ok {
		f, ok := v.(float64)
		if !ok {
			return false
		}
		less, more = f < n, f > n
	} else {
		text, _ := v.(string)
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return false
		}
		less, more = t.Before(moment(want)), t.After(moment(want))
	}
	switch op {
	case ">":
		return more
	case ">=":
		return !less
	case "<":
		return less
	}
	return !more
}

func moment(v any) time.Time {
	t, err := time.Parse(time.RFC3339, v.(string))
	if err != nil {
		panic(err)
	}
	return t
}

// targets are the names of what an entity's relation points to.
func (w *naive) targets(e *worldEntity, relation string) []string {
	to, ok := naiveTargets[e.Blueprint][relation]
	if !ok {
		return nil
	}
	var list []string
	switch v := e.Relations[relation].(type) {
	case string:
		list = append(list, to+"/"+v)
	case []any:
		for _, id := range v {
			list = append(list, to+"/"+id.(string))
		}
	}
	return list
}

func (w *naive) related(r map[string]any, e *worldEntity) bool {
	direction, _ := r["direction"].(string)
	me := e.Blueprint + "/" + e.Identifier
	for _, id := range identifiersIn(r["value"]) {
		from := r["blueprint"].(string) + "/" + id
		if w.entities[from] == nil {
			continue
		}
		if direction != "downstream" && w.leads(from, me) || direction != "upstream" && w.leads(me, from) {
			return true
		}
	}
	return false
}

// leads: there is a way of one relation or more.
func (w *naive) leads(from, to string) bool {
	seen := map[string]bool{}
	for todo := []string{from}; len(todo) > 0; todo = todo[1:] {
		e := w.entities[todo[0]]
		for relation := range naiveTargets[e.Blueprint] {
			for _, next := range w.targets(e, relation) {
				if next == to {
					return true
				}
				if !seen[next] {
					seen[next] = true
					todo = append(todo, next)
				}
			}
		}
	}
	return false
}

func (w *naive) matches(r map[string]any, e *worldEntity) bool {
	property := r["property"].(map[string]any)
	path := property["path"].([]any)
	me := e.Blueprint + "/" + e.Identifier
	from, backwards := property["fromBlueprint"].(string)
	for _, id := range identifiersIn(r["value"]) {
		if backwards {
			if start := from + "/" + id; w.entities[start] != nil && slices.Contains(w.ends(start, path), me) {
				return true
			}
			continue
		}
		for _, end := range w.ends(me, path) {
			if _, name, _ := strings.Cut(end, "/"); name == id {
				return true
			}
		}
	}
	return false
}

// ends are the names of what a path leads to.
func (w *naive) ends(from string, path []any) []string {
	if len(path) == 0 {
		return []string{from}
	}
	relation, hops := path[0], 1
	if hop, ok := path[0].(map[string]any); ok {
		relation, hops = hop["relation"], int(hop["maxHops"].(float64))
	}
	var all []string
	at := []string{from}
	for range hops {
		var next []string
		for _, name := range at {
			next = append(next, w.targets(w.entities[name], relation.(string))...)
		}
		for _, name := range next {
			all = append(all, w.ends(name, path[1:])...)
		}
		at = next
	}
	return all
}

func identifiersIn(v any) []string {
	if id, ok := v.(string); ok {
		return []string{id}
	}
	var ids []string
	for _, id := range v.([]any) {
		ids = append(ids, id.(string))
	}
	return ids
}
