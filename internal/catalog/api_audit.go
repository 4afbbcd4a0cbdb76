package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// auditMembers are what an entry of the audit log has; includes picks of them.
var auditMembers = []string{
	"identifier", "action", "resourceType", "status", "trigger", "context", "diff", "additionalData", "message",
}

// serveAudits answers with changes of entities and blueprints, the last first. Port's
// audit log pages by from and to; before, the next of an earlier answer, goes on
// exactly where that one ended.
func (c *Catalog) serveAudits(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	f, err := auditFilter(q)
	if err != nil {
		return err
	}
	includes, err := auditIncludes(q)
	if err != nil {
		return err
	}
	if f == nil {
		return answer(w, http.StatusOK, map[string]any{"audits": []any{}, "next": nil})
	}
	list, err := c.audits(r.Context(), *f)
	if err != nil {
		return err
	}
	audits := make([]map[string]any, 0, len(list))
	for i := range list {
		one, err := auditJSON(&list[i])
		if err != nil {
			return err
		}
		if len(includes) > 0 {
			one = picked(one, includes)
		}
		audits = append(audits, one)
	}
	var next any
	if len(list) == f.Limit {
		next = strconv.FormatInt(list[len(list)-1].ID, 10)
	}
	return answer(w, http.StatusOK, map[string]any{"audits": audits, "next": next})
}

// audits goes by the index of an entity's history where that is all that is asked for.
func (c *Catalog) audits(ctx context.Context, f ChangeFilter) ([]Change, error) {
	of := ChangeFilter{Blueprint: f.Blueprint, Identifier: f.Identifier, Before: f.Before, Limit: f.Limit}
	if f != of || f.Blueprint == "" || f.Identifier == "" {
		return c.Audits(ctx, f)
	}
	list, err := c.History(ctx, f.Blueprint, f.Identifier, f.Before, f.Limit)
	if notThere(err) { // the blueprint may have been deleted since, or renamed
		return c.Audits(ctx, f)
	}
	return list, err
}

// lists reads a parameter that may be repeated, joined with commas or named with [].
func lists(q url.Values, name string) []string {
	return append(paramList(q, name), paramList(q, name+"[]")...)
}

func auditIncludes(q url.Values) ([]string, error) {
	includes := lists(q, "includes")
	for _, name := range includes {
		if !slices.Contains(auditMembers, name) {
			return nil, invalid("Query parameter includes names %q; an entry has %s.", shorten(name), strings.Join(auditMembers, ", "))
		}
	}
	return includes, nil
}

// auditFilter reads which entries are asked for; nil stands for none of them.
func auditFilter(q url.Values) (*ChangeFilter, error) {
	f := &ChangeFilter{Blueprint: q.Get("blueprint"), Identifier: q.Get("entity"), RunID: q.Get("run_id"), Limit: defaultChanges}
	for _, name := range []string{"webhookId", "InstallationId", "webhook_event_id"} {
		if q.Get(name) != "" {
			return nil, invalid("Query parameter %s is not kept here: ask by origin, blueprint, entity, run_id or time.", name)
		}
	}
	if id := q.Get("identifier"); id != "" {
		if f.Identifier != "" && f.Identifier != id {
			return nil, nil //nolint:nilnil // no entry is of two entities
		}
		f.Identifier = id
	}
	for name, v := range map[string]string{"blueprint": f.Blueprint, "entity": f.Identifier, "run_id": f.RunID} {
		if len(v) > 4000 || checkPlain("", v) != nil {
			return nil, invalid("Query parameter %s is no such thing.", name)
		}
	}
	origins := lists(q, "origin")
	for _, o := range origins {
		if checkPlain("", o) != nil || len(o) > 100 {
			return nil, invalid("Query parameter origin is no such thing.")
		}
	}
	f.Origin = strings.ToLower(strings.Join(origins, ","))
	switch f.Action = q.Get("action"); f.Action {
	case "", ActionCreate, ActionUpdate, ActionDelete:
	default:
		return nil, invalid("Query parameter action must be CREATE, UPDATE or DELETE, not %q.", shorten(f.Action))
	}
	switch status := q.Get("status"); status {
	case "", "SUCCESS":
	case "FAILURE":
		return nil, nil //nolint:nilnil // what is refused leaves no trace
	default:
		return nil, invalid("Query parameter status must be SUCCESS or FAILURE, not %q.", shorten(status))
	}
	return auditBounds(q, f)
}

func auditBounds(q url.Values, f *ChangeFilter) (*ChangeFilter, error) {
	for name, into := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		s := q.Get(name)
		if s == "" {
			continue
		}
		at, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return nil, invalid("Query parameter %s must be a time such as 2026-11-21T09:30:00Z, not %q.", name, shorten(s))
		}
		*into = at
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > mostChanges {
			return nil, invalid("Query parameter limit must be a whole number from 1 to %d, not %q.", mostChanges, shorten(s))
		}
		f.Limit = n
	}
	if s := q.Get("before"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n < 1 {
			return nil, invalid("Query parameter before must be the next of an earlier answer, not %q.", shorten(s))
		}
		f.Before = n
	}
	resources := lists(q, "resources")
	entities, blueprints := slices.Contains(resources, ResourceEntity), slices.Contains(resources, ResourceBlueprint)
	switch {
	case len(resources) == 0 || entities && blueprints:
	case entities:
		f.Resource = ResourceEntity
	case blueprints:
		f.Resource = ResourceBlueprint
	default:
		return nil, nil //nolint:nilnil // there are no others here
	}
	return f, nil
}

// auditJSON is a change as an entry of the audit log: diff has what changed, before
// and after, in the places where an entity has it.
func auditJSON(c *Change) (map[string]any, error) {
	before, after := map[string]any{}, map[string]any{}
	for name, change := range c.Fields {
		if err := putField(before, c.Resource, name, change.Before); err != nil {
			return nil, fmt.Errorf("change %d: %s: %w", c.ID, name, err)
		}
		if err := putField(after, c.Resource, name, change.After); err != nil {
			return nil, fmt.Errorf("change %d: %s: %w", c.ID, name, err)
		}
	}
	diff := map[string]any{"before": before, "after": after}
	switch c.Action {
	case ActionCreate:
		diff["before"] = nil
	case ActionDelete:
		diff["after"] = nil
	}
	of := map[string]any{"blueprint": c.Blueprint}
	if c.Resource == ResourceEntity {
		of["entity"] = c.Identifier
	}
	if c.Cause.RunID != "" {
		of["runId"] = c.Cause.RunID
	}
	origin := c.Cause.Origin
	if origin == "" {
		origin = "api"
	}
	return map[string]any{
		"identifier": "audit_" + strconv.FormatInt(c.ID, 10), "action": c.Action, "resourceType": c.Resource, "status": "SUCCESS",
		"trigger": map[string]any{"by": map[string]any{"orgId": organizationID, "userId": c.By}, "origin": origin, "at": stamp(c.At)},
		"context": of, "diff": diff, "message": "",
		"additionalData": map[string]any{"cause": c.Cause, "fields": c.Fields, "datasource": c.Datasource},
	}, nil
}

// putField puts a field such as properties.arn where an entity has it. A value that is
// not there stays away.
func putField(into map[string]any, resource, name string, value json.RawMessage) error {
	if len(value) == 0 || string(value) == "null" {
		return nil
	}
	var v any
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	for {
		parent, rest, nested := strings.Cut(name, ".")
		if !nested {
			into[name] = v
			return nil
		}
		inner, ok := into[parent].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[parent] = inner
		}
		into, name = inner, rest
		if resource == ResourceEntity { // the keys of entities have no dots, and are not cut further
			into[name] = v
			return nil
		}
	}
}
