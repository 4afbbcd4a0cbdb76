package kind

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// callDetailType is the detail-type of CloudTrail's records of calls.
const callDetailType = "AWS API Call via CloudTrail"

// pattern is a rule's event pattern as JSON. Calls that failed are not in it.
func (r *Rule) pattern() map[string]any {
	if r.Service == "" {
		p := map[string]any{"source": []any{r.Source}, "detail-type": []any{r.DetailType}}
		if len(r.Detail) > 0 {
			p["detail"] = r.Detail
		}
		return p
	}
	detail := map[string]any{
		"eventSource": []any{r.Service + ".amazonaws.com"},
		"errorCode":   []any{map[string]any{"exists": false}},
	}
	groups := r.groups()
	if len(groups) == 1 {
		maps.Copy(detail, groups[0])
	} else {
		detail["$or"] = groups
	}
	return map[string]any{"source": []any{"aws." + r.Service}, "detail-type": []any{callDetailType}, "detail": detail}
}

// groups are the conditions on calls of which one must hold: those without conditions
// of their own are one.
func (r *Rule) groups() []map[string]any {
	var groups []map[string]any
	var plain []any
	for _, c := range r.Calls {
		names := r.matches(c.Names)
		if len(c.Where) == 0 {
			plain = append(plain, names...)
			continue
		}
		g := maps.Clone(c.Where)
		g["eventName"] = names
		groups = append(groups, g)
	}
	if len(plain) > 0 {
		groups = slices.Insert(groups, 0, map[string]any{"eventName": plain})
	}
	return groups
}

// century is what the dates begin with that CloudTrail appends to names.
const century = "20"

// matches are the matchers of calls' names: exact, but for the date.
func (r *Rule) matches(names []string) []any {
	var list []any
	for _, name := range names {
		prefix, open := strings.CutSuffix(name, "*")
		switch {
		case open:
			list = append(list, map[string]any{"prefix": prefix})
		case r.Dated:
			list = append(list, name, map[string]any{"prefix": name + century})
		default:
			list = append(list, name)
		}
	}
	return list
}

// action is the jq that tells deletions from other changes.
func (r *Rule) action() string {
	var conditions []string
	if r.Delete != "" {
		conditions = append(conditions, r.Delete)
	}
	for _, c := range r.Calls {
		if !c.Deletes {
			continue
		}
		for _, name := range c.Names {
			conditions = append(conditions, ".eventName == "+quoted(name))
			if r.Dated {
				conditions = append(conditions, "(.eventName | startswith("+quoted(name+century)+"))")
			}
		}
	}
	if len(conditions) == 0 {
		return `"upsert"`
	}
	return "if " + strings.Join(conditions, " or ") + ` then "delete" else "upsert" end`
}

// paths are the input transformer's paths, by the record's keys.
func (r *Rule) paths() map[string]string {
	paths := map[string]string{
		"account": "$.account", "eventId": "$.id",
		"awsRegion": "$.region", "eventName": "$.detail-type", "eventTime": "$.time",
	}
	if r.Service != "" {
		paths["awsRegion"], paths["eventName"], paths["eventTime"] = "$.detail.awsRegion", "$.detail.eventName", "$.detail.eventTime"
	}
	for _, m := range []map[string]string{r.Values, r.Lists} {
		for name, path := range m {
			if !strings.HasPrefix(path, "$") {
				path = "$.detail." + path
			}
			paths[name] = path
		}
	}
	return paths
}

// template is the input transformer's template. What is of the event stands in keys of
// its own: text of others never becomes part of a program.
func (r *Rule) template(kind string) string {
	var b strings.Builder
	b.WriteString("{")
	line := func(key, value string) {
		if b.Len() > 1 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n  %s: %s", quoted(key), value)
	}
	line("resource_type", quoted(kind))
	line("region", quoted(".awsRegion"))
	line("identifier", quoted(strings.TrimSpace(r.Identifier)))
	line("action", quoted(r.action()))
	for _, key := range []string{"awsRegion", "account", "eventName", "eventId", "eventTime"} {
		line(key, `"<`+key+`>"`)
	}
	line("rule_arn", `"<aws.events.rule-arn>"`)
	for _, key := range slices.Sorted(maps.Keys(r.Values)) {
		line(key, `"<`+key+`>"`)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Lists)) {
		line(key, "<"+key+">")
	}
	b.WriteString("\n}")
	return b.String()
}

// Pattern is the rule's event pattern, JSON.
func (r *Rule) Pattern() []byte { return compact(r.pattern()) }

// Transformer is the rule's input transformer for records of a kind: the paths by name, and
// the template.
func (r *Rule) Transformer(kind string) (paths map[string]string, template string) {
	return r.paths(), r.template(kind)
}

// FullName is the rule's name in AWS.
func (r *Rule) FullName() string { return "exporter-" + r.Name }

// compact is v as JSON; v is of maps, lists and texts.
func compact(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // the table has nothing that JSON has not
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func quoted(s string) string { return string(compact(s)) }
