package cli

import (
	"context"
	"maps"
	"net/http"
	"reflect"
	"slices"
)

// pointing are the members of a blueprint that name other blueprints, or relations to
// them.
var pointing = []string{"relations", "mirrorProperties", "aggregationProperties", "ownership"}

// applyBlueprints applies each blueprint after those that it points to. Of some that
// point to one another in a circle, one is made without what points, first.
func (a *applier) applyBlueprints(ctx context.Context) error {
	waiting := slices.Clone(a.blueprints)
	for len(waiting) > 0 {
		i := slices.IndexFunc(waiting, func(b *applied) bool { return !a.waits(b, waiting) })
		circle := i < 0
		if circle {
			i = slices.IndexFunc(waiting, func(b *applied) bool { return a.existing[b.Blueprint] == nil })
		}
		b := waiting[i]
		body := b.body
		if circle || a.dryRun && a.waits(b, a.blueprints) {
			body = maps.Clone(body)
			for _, name := range pointing {
				delete(body, name)
			}
		}
		if err := a.applyBlueprint(ctx, b, body); err != nil {
			return err
		}
		if circle && !a.dryRun && b.Result != appliedFailed {
			continue // it is there now, and the circle open: the whole of it comes next
		}
		waiting = slices.Delete(waiting, i, i+1)
	}
	return nil
}

// waits reports whether a blueprint points to one that is still to be made.
func (a *applier) waits(b *applied, waiting []*applied) bool {
	relations, _ := b.body["relations"].(map[string]any)
	aggregations, _ := b.body["aggregationProperties"].(map[string]any)
	for _, members := range []map[string]any{relations, aggregations} {
		for _, v := range members {
			member, _ := v.(map[string]any)
			target, _ := member["target"].(string)
			if target == b.Blueprint || a.existing[target] != nil {
				continue
			}
			if slices.ContainsFunc(waiting, func(w *applied) bool { return w.Blueprint == target }) {
				return true
			}
		}
	}
	return false
}

func (a *applier) applyBlueprint(ctx context.Context, b *applied, body map[string]any) error {
	there := a.existing[b.Blueprint]
	method, path, result := http.MethodPost, catalogPath("blueprints"), appliedCreated
	if there != nil {
		method, path, result = http.MethodPut, catalogPath("blueprints", b.Blueprint), appliedUpdated
	}
	if a.dryRun {
		path += "?validation_only=true"
	}
	var answer struct {
		Blueprint map[string]any `json:"blueprint"`
	}
	if err := a.c.do(ctx, method, path, withoutServers(body), &answer); err != nil {
		if ends(err) {
			return err
		}
		b.fail(err)
		return nil
	}
	if a.dryRun {
		would := answer.Blueprint // as the server would show it
		if len(body) < len(b.body) {
			would = b.body
		}
		b.Result = wouldBe(there, would)
		return nil
	}
	a.existing[b.Blueprint] = answer.Blueprint
	switch {
	case b.Result == appliedCreated: // in two steps
	case there != nil && there["updatedAt"] == answer.Blueprint["updatedAt"]:
		b.Result = appliedUnchanged
	default:
		b.Result = result
	}
	return nil
}

// servers are the members of a blueprint that the server writes.
var servers = []string{"createdAt", "createdBy", "updatedAt", "updatedBy"}

// withoutServers is a blueprint that may have been read from a server.
func withoutServers(body map[string]any) map[string]any {
	body = maps.Clone(body)
	for _, name := range servers {
		delete(body, name)
	}
	return body
}

// wouldBe tells what applying a blueprint would do.
func wouldBe(there, body map[string]any) string {
	if there == nil {
		return appliedCreated
	}
	given, stored := withoutServers(body), withoutServers(there)
	for _, members := range []map[string]any{given, stored} {
		for name, v := range members {
			if object, ok := v.(map[string]any); v == nil || ok && len(object) == 0 {
				delete(members, name) // the server shows what is empty
			}
		}
	}
	if reflect.DeepEqual(given, stored) {
		return appliedUnchanged
	}
	return appliedUpdated
}
