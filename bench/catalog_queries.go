package main

import (
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

// hostQuery is a kind of search for hosts, and the SQL for it.
type hostQuery struct {
	what      string
	blueprint string // the only one searched; empty for all
	// search makes the query for the number of a host, and the arguments of bare.
	search func(i int) (*catalog.Query, []any)
	// bare selects id, identifier and properties; empty where no index can answer.
	bare string
}

func (h *hosts) queries() []hostQuery {
	const (
		byValue = `SELECT e.id, e.identifier, e.properties FROM catalog_values v JOIN catalog_entities e ON e.id = v.entity_id
			WHERE v.key_id = (SELECT k.id FROM catalog_value_keys k JOIN catalog_blueprints b ON b.id = k.blueprint_id WHERE b.identifier = 'host' AND k.property = $1)
			AND v.value >= $2 AND v.value <= $3 ORDER BY e.identifier LIMIT 200`
		byName = `SELECT e.id, e.identifier, e.properties FROM catalog_entities e
			WHERE e.blueprint_id = (SELECT id FROM catalog_blueprints WHERE identifier = 'host') AND e.identifier = $1`
		byCluster = `SELECT e.id, e.identifier, e.properties FROM catalog_entities c JOIN catalog_relations r ON r.target_id = c.id JOIN catalog_entities e ON e.id = r.source_id
			WHERE c.blueprint_id = (SELECT id FROM catalog_blueprints WHERE identifier = 'cluster') AND c.identifier = $1 ORDER BY e.identifier LIMIT 200`
		// The order is of an expression, lest SQLite reads all hosts in it.
		byWriter = `SELECT e.id, e.identifier, e.properties FROM catalog_entities e WHERE e.blueprint_id = (SELECT id FROM catalog_blueprints WHERE identifier = 'host')
			AND e.datasource_id = (SELECT id FROM catalog_datasources WHERE datasource LIKE '%accountid/123456789012%') ORDER BY e.identifier || '' LIMIT 200`
		byOwnerAndTier = `SELECT e.id, e.identifier, e.properties FROM catalog_values v JOIN catalog_entities e ON e.id = v.entity_id
			JOIN catalog_values t ON t.entity_id = e.id AND t.value = $3
			AND t.key_id = (SELECT k.id FROM catalog_value_keys k JOIN catalog_blueprints b ON b.id = k.blueprint_id WHERE b.identifier = 'host' AND k.property = 'tier')
			WHERE v.key_id = (SELECT k.id FROM catalog_value_keys k JOIN catalog_blueprints b ON b.id = k.blueprint_id WHERE b.identifier = 'host' AND k.property = $1)
			AND v.value = $2 ORDER BY e.identifier LIMIT 200`
	)
	owner := func(i int) string { return fmt.Sprintf("user-%d@example.com", i%10_000) }
	name := func(i int) string { return fmt.Sprintf("host-%05d", min(i, h.count-100)/100) }
	launched := func(i int) time.Time { return firstLaunch.Add(time.Duration(i) * time.Minute) }
	number := func(f float64) string { return fmt.Sprintf("n%016x", math.Float64bits(f)|1<<63) }
	stamp := func(t time.Time) string { return "d" + t.Format("2006-01-02T15:04:05.000") }
	return []hostQuery{
		{"by = on a property", "", func(i int) (*catalog.Query, []any) {
			return and(rule("owner", "=", owner(i))), []any{"owner", "s" + owner(i), "s" + owner(i)}
		}, byValue},
		{"by a range of numbers", "", func(i int) (*catalog.Query, []any) {
			lo, hi := float64(i)/8, float64(i+80)/8
			return and(rule("cost", ">=", lo), rule("cost", "<=", hi)), []any{"cost", number(lo), number(hi)}
		}, byValue},
		{"by a range of times", "host", func(i int) (*catalog.Query, []any) {
			lo, hi := launched(i), launched(i+80)
			return and(rule("launched", "between", map[string]any{"from": lo.Format(time.RFC3339), "to": hi.Format(time.RFC3339)})), []any{"launched", stamp(lo), stamp(hi)}
		}, byValue},
		{"by beginsWith on a property", "host", func(i int) (*catalog.Query, []any) {
			return and(rule("name", "beginsWith", name(i))), []any{"name", "s" + name(i), "s" + name(i) + "~"}
		}, byValue},
		{"by $identifier", "", func(i int) (*catalog.Query, []any) {
			return and(rule("$identifier", "=", hostName(i))), []any{hostName(i)}
		}, byName},
		{"by $title", "host", func(i int) (*catalog.Query, []any) {
			return and(rule("$title", "=", hostName(i))), []any{"$title", "s" + hostName(i), "s" + hostName(i)}
		}, byValue},
		{"by a relation to an entity", "host", func(i int) (*catalog.Query, []any) {
			return and(map[string]any{"relation": "cluster", "operator": "=", "value": h.cluster(i)}), []any{h.cluster(i)}
		}, byCluster},
		{"by relatedTo downstream of an entity", "host", func(i int) (*catalog.Query, []any) {
			return and(map[string]any{"operator": "relatedTo", "blueprint": "cluster", "value": h.cluster(i), "direction": "downstream"}), []any{h.cluster(i)}
		}, byCluster},
		{"by $datasource contains", "host", func(int) (*catalog.Query, []any) {
			return and(rule("$datasource", "contains", "port-aws-exporter"), rule("$datasource", "contains", "accountid/123456789012 region/eu-west-1")), nil
		}, byWriter},
		{"by a selective and an unselective rule", "host", func(i int) (*catalog.Query, []any) {
			return and(rule("tier", "=", "gold"), rule("owner", "=", owner(i))), []any{"owner", "s" + owner(i), "sgold"}
		}, byOwnerAndTier},
		{"by two unselective rules, first page", "host", func(int) (*catalog.Query, []any) {
			return and(rule("tier", "=", "gold"), rule("public", "=", true)), nil
		}, ""},
		{"by contains on a text (reads an index through)", "host", func(i int) (*catalog.Query, []any) {
			return and(rule("name", "contains", fmt.Sprintf("%06d.example", i/10))), nil
		}, ""},
		{"by what no index has (reads all hosts)", "host", func(i int) (*catalog.Query, []any) {
			return and(rule("$createdBy", "!=", "bench"), rule("tier", "!=", "gold")), nil
		}, ""},
	}
}

// and joins rules. They are ours, so that they parse.
func and(rules ...map[string]any) *catalog.Query {
	text, err := json.Marshal(map[string]any{"combinator": "and", "rules": rules})
	if err != nil {
		panic(err)
	}
	q, err := catalog.ParseQuery(text)
	if err != nil {
		panic(err)
	}
	return q
}

func rule(property, operator string, value any) map[string]any {
	return map[string]any{"property": property, "operator": operator, "value": value}
}
