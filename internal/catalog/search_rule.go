package catalog

import (
	"context"

	"github.com/rialto-bus/rialto/internal/store"
)

// resolve returns the identifiers of those entities of a blueprint that a rule in a write
// stands for, in order, maxTargets and one more at most: {"combinator": …, "rules":
// [{"property": …, "operator": "=", "value": …}]}, with the operators =, in, contains and
// containsAny. Its *Error names the place in the rule. Within a transaction it sees what was
// changed there, and it refuses a rule whose entities no index finds.
func (c *Catalog) resolve(ctx context.Context, q store.Querier, blueprint string, rule map[string]any) ([]string, error) {
	query, err := parseQuery(rule)
	if err == nil {
		err = query.root.small()
	}
	if err != nil {
		return nil, err
	}
	m, err := c.model(ctx, q)
	if err != nil {
		return nil, err
	}
	b, err := m.blueprint(blueprint)
	if err != nil {
		return nil, err
	}
	s := c.newSearch(q, m, SearchOptions{Blueprint: blueprint})
	s.scans = c.plan.inUpdate
	cond, err := s.conditionFor(ctx, query.root, b)
	if err != nil {
		return nil, err
	}
	if cond.uses(ofCalculation) {
		return nil, queryError("rules", "ask for a calculation property, which a write's rules cannot")
	}
	found, err := s.find(ctx, b, cond, "", maxTargets+1)
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, len(found))
	for _, e := range found {
		list = append(list, e.Identifier)
	}
	return list, nil
}

// small refuses what the language of rules in writes does not have.
func (r *rule) small() error {
	if r.combinator != "" {
		if len(r.rules) == 0 {
			return queryError(at(r.path, "rules"), "is empty: a rule is needed at least")
		}
		for _, child := range r.rules {
			if err := child.small(); err != nil {
				return err
			}
		}
		return nil
	}
	if r.related != nil || r.match != nil || r.property == "" {
		return queryError(r.path, "must have a property, an operator and a value; a write's rules have nothing else")
	}
	switch r.op {
	case opEqual, opIn, opContains, opContainsAny:
		return nil
	}
	return queryError(at(r.path, "operator"), "is %q; a write's rules have =, in, contains and containsAny", string(r.op))
}
