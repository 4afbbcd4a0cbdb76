package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Limits of one query.
const (
	maxQueryDepth  = 10    // groups within groups
	maxQueryRules  = 200   // rules, groups included
	maxQueryValues = 1_000 // elements of one rule's array
	maxQueryText   = 4_096 // bytes of one rule's text
	maxPathHops    = 15    // relations of a matchAny path, and its maxHops
)

// Query is a search in Port's rule language, read and checked: a group of rules joined by
// "and" or "or". Values that depend on the caller or the clock are bound when it runs.
type Query struct{ root *rule }

// The two combinators of a group.
const (
	combineAnd = "and"
	combineOr  = "or"
)

// rule is a group when it has a combinator, and otherwise one condition on a property, on
// properties of a schema, on a relation, or on the graph around an entity.
type rule struct {
	path string // where it stands, such as "rules[1].rules[0]"; empty for the whole

	combinator string
	rules      []*rule

	op       operator
	property string          // "$meta" or a key of the blueprint
	schema   *propertySchema // instead of a property: any that has this schema
	relation string          // instead of a property: identifiers of what it points to
	value    operand
	related  *relatedTo
	match    *matchAny
}

// propertySchema selects properties by what their schemas say; an empty field says nothing.
type propertySchema struct{ Type, Format, Items string }

// relatedTo selects the entities that can be reached from others, over any number of relations.
type relatedTo struct {
	blueprint            string
	identifiers          []string
	upstream, downstream bool
	required             *bool // nil: whatever the relation says
}

// matchAny selects the entities that a path of relations joins to others.
type matchAny struct {
	path          []pathHop
	fromBlueprint string // when set, the path starts there and ends at what is searched
	identifiers   []string
}

// pathHop is one relation of a path, followed 1 to maxHops times.
type pathHop struct {
	relation string
	maxHops  int
}

// ParseQuery reads a query. Its error is an *Error that names the place in it, such as
// rules[1].rules[0].operator.
func ParseQuery(text []byte) (*Query, error) {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, queryError("query", "is not JSON: %v", err)
	}
	return parseQuery(v)
}

func parseQuery(v any) (*Query, error) {
	p := &queryParser{}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, queryError("query", "must be an object with combinator and rules, not %s", jsonKind(v))
	}
	root, err := p.group("", object, 1)
	if err != nil {
		return nil, err
	}
	return &Query{root: root}, nil
}

// queryError is a refusal of the query for what stands at a path.
func queryError(path, format string, args ...any) *Error {
	return &Error{Status: http.StatusUnprocessableEntity, Code: CodeInvalidRequest, Message: path + " " + fmt.Sprintf(format, args...)}
}

type queryParser struct{ rules int }

func at(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func (p *queryParser) group(path string, object map[string]any, depth int) (*rule, error) {
	if depth > maxQueryDepth {
		return nil, queryError(path, "is nested deeper than %d groups", maxQueryDepth)
	}
	if err := onlyKeys(path, object, "combinator", "rules"); err != nil {
		return nil, err
	}
	g := &rule{path: path}
	var err error
	if g.combinator, err = textOf(at(path, "combinator"), object["combinator"]); err != nil {
		return nil, err
	}
	if g.combinator != combineAnd && g.combinator != combineOr {
		return nil, queryError(at(path, "combinator"), `is %q; it must be "and" or "or"`, g.combinator)
	}
	rules, ok := object["rules"].([]any)
	if !ok {
		return nil, queryError(at(path, "rules"), "must be an array of rules, not %s", jsonKind(object["rules"]))
	}
	if len(rules) == 0 && (g.combinator == combineOr || depth > 1) {
		return nil, queryError(at(path, "rules"), "is empty: a group needs a rule at least")
	}
	for i, r := range rules {
		child, err := p.rule(fmt.Sprintf("%s[%d]", at(path, "rules"), i), r, depth)
		if err != nil {
			return nil, err
		}
		g.rules = append(g.rules, child)
	}
	return g, nil
}

func (p *queryParser) rule(path string, v any, depth int) (*rule, error) {
	if p.rules++; p.rules > maxQueryRules {
		return nil, queryError(path, "is one rule too many: a query has at most %d", maxQueryRules)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, queryError(path, "must be an object, not %s", jsonKind(v))
	}
	for _, key := range []string{"scorecard", "scorecardRule"} {
		if _, has := object[key]; has {
			return nil, queryError(at(path, key), "cannot be searched by: this catalog keeps no scorecards")
		}
	}
	_, combined := object["combinator"]
	_, grouped := object["rules"]
	if combined || grouped {
		return p.group(path, object, depth+1)
	}
	name, err := textOf(at(path, "operator"), object["operator"])
	if err != nil {
		return nil, err
	}
	switch name {
	case "relatedTo":
		return parseRelatedTo(path, object)
	case "matchAny":
		return parseMatchAny(path, object)
	}
	return parseCondition(path, name, object)
}

// parseCondition reads a rule on a property, a property schema or a relation.
func parseCondition(path, name string, object map[string]any) (*rule, error) {
	r := &rule{path: path, op: operator(name)}
	shape, known := operators[r.op]
	if !known {
		return nil, queryError(at(path, "operator"), "%q is not an operator; use one of %s", name, operatorNames())
	}
	if err := r.readSubject(object); err != nil {
		return nil, err
	}
	value, has := object["value"]
	if !has && shape.operand == operandNone {
		return r, nil
	}
	if !has {
		return nil, queryError(at(path, "value"), "is missing; %s needs it", name)
	}
	if shape.operand == operandNone {
		return r, nil // clients send null
	}
	var err error
	r.value, err = parseOperand(at(path, "value"), r.op, value)
	return r, err
}

func (r *rule) readSubject(object map[string]any) error {
	if err := onlyKeys(r.path, object, "property", "propertySchema", "relation", "operator", "value"); err != nil {
		return err
	}
	given := slices.DeleteFunc([]string{"property", "propertySchema", "relation"}, func(k string) bool {
		_, has := object[k]
		return !has
	})
	if len(given) != 1 {
		return queryError(r.path, "must name one of property, propertySchema and relation")
	}
	switch given[0] {
	case "propertySchema":
		return r.readSchema(object["propertySchema"])
	case "relation":
		name, err := keyOf(at(r.path, "relation"), object["relation"])
		r.relation = name
		return err
	}
	name, err := keyOf(at(r.path, "property"), object["property"])
	r.property = name
	if err == nil && strings.HasPrefix(name, "$") && !slices.Contains(metaProperties, name) {
		return queryError(at(r.path, "property"), "%q is not a meta property; there are %s", name, strings.Join(metaProperties, ", "))
	}
	return err
}

func (r *rule) readSchema(v any) error {
	path := at(r.path, "propertySchema")
	object, ok := v.(map[string]any)
	if !ok {
		return queryError(path, "must be an object, not %s", jsonKind(v))
	}
	if err := onlyKeys(path, object, "type", "format", "items"); err != nil {
		return err
	}
	switch r.op {
	case opEqual, opNotEqual, opContains:
	default:
		return queryError(at(r.path, "operator"), "%q does not go with propertySchema; use =, != or contains", string(r.op))
	}
	s := &propertySchema{}
	var err error
	if s.Type, err = textOf(at(path, "type"), object["type"]); err != nil {
		return err
	}
	if f, has := object["format"]; has {
		if s.Format, err = textOf(at(path, "format"), f); err != nil {
			return err
		}
	}
	if items, has := object["items"]; has {
		if s.Items, err = itemsOf(at(path, "items"), items); err != nil {
			return err
		}
	}
	r.schema = s
	return nil
}

// itemsOf reads {"type": "string"}.
func itemsOf(path string, v any) (string, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return "", queryError(path, "must be an object, not %s", jsonKind(v))
	}
	if err := onlyKeys(path, object, "type"); err != nil {
		return "", err
	}
	return textOf(at(path, "type"), object["type"])
}

func parseRelatedTo(path string, object map[string]any) (*rule, error) {
	if err := onlyKeys(path, object, "operator", "blueprint", "value", "direction", "required"); err != nil {
		return nil, err
	}
	g := &relatedTo{upstream: true, downstream: true}
	var err error
	if g.blueprint, err = keyOf(at(path, "blueprint"), object["blueprint"]); err != nil {
		return nil, err
	}
	if g.identifiers, err = identifiersOf(at(path, "value"), object["value"]); err != nil {
		return nil, err
	}
	switch d := object["direction"]; d {
	case nil:
	case "upstream":
		g.downstream = false
	case "downstream":
		g.upstream = false
	default:
		return nil, queryError(at(path, "direction"), `is %s; it must be "upstream" or "downstream", or be left out for both`, inBrief(d))
	}
	// Clients send it as text, too.
	switch d := object["required"]; d {
	case nil:
	case true, "true":
		g.required = new(true)
	case false, "false":
		g.required = new(false)
	default:
		return nil, queryError(at(path, "required"), "is %s; it must be true or false", inBrief(d))
	}
	return &rule{path: path, related: g}, nil
}

func parseMatchAny(path string, object map[string]any) (*rule, error) {
	if err := onlyKeys(path, object, "operator", "property", "value"); err != nil {
		return nil, err
	}
	where := at(path, "property")
	property, ok := object["property"].(map[string]any)
	if !ok {
		return nil, queryError(where, "must be an object with the path, not %s", jsonKind(object["property"]))
	}
	if err := onlyKeys(where, property, "path", "fromBlueprint"); err != nil {
		return nil, err
	}
	m := &matchAny{}
	var err error
	if from, has := property["fromBlueprint"]; has {
		if m.fromBlueprint, err = keyOf(at(where, "fromBlueprint"), from); err != nil {
			return nil, err
		}
	}
	if m.path, err = hopsOf(at(where, "path"), property["path"]); err != nil {
		return nil, err
	}
	if m.identifiers, err = identifiersOf(at(path, "value"), object["value"]); err != nil {
		return nil, err
	}
	return &rule{path: path, match: m}, nil
}

func hopsOf(path string, v any) ([]pathHop, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, queryError(path, "must be an array of relations, with one at least")
	}
	if len(list) > maxPathHops {
		return nil, queryError(path, "has %d relations, more than the %d allowed", len(list), maxPathHops)
	}
	var hops []pathHop
	repeated := false
	for i, v := range list {
		hop, repeats, err := hopOf(fmt.Sprintf("%s[%d]", path, i), v)
		if err != nil {
			return nil, err
		}
		if repeats && repeated {
			return nil, queryError(fmt.Sprintf("%s[%d].maxHops", path, i), "is given twice: one relation of a path may repeat")
		}
		repeated = repeated || repeats
		hops = append(hops, hop)
	}
	return hops, nil
}

func hopOf(path string, v any) (hop pathHop, repeats bool, err error) {
	object, ok := v.(map[string]any)
	if !ok {
		name, err := keyOf(path, v)
		return pathHop{relation: name, maxHops: 1}, false, err
	}
	if err := onlyKeys(path, object, "relation", "maxHops"); err != nil {
		return hop, false, err
	}
	if hop.relation, err = keyOf(at(path, "relation"), object["relation"]); err != nil {
		return hop, false, err
	}
	n, given := object["maxHops"]
	if !given {
		hop.maxHops = 1
		return hop, false, nil
	}
	f, ok := n.(float64)
	if !ok || f != float64(int(f)) || f < 1 || f > maxPathHops {
		return hop, false, queryError(at(path, "maxHops"), "is %s; it must be a whole number from 1 to %d", inBrief(n), maxPathHops)
	}
	hop.maxHops = int(f)
	return hop, true, nil
}

// identifiersOf reads an identifier or an array of them.
func identifiersOf(path string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		id, err := textOf(path, v)
		if err != nil || id == "" {
			return nil, queryError(path, "must be an entity's identifier or an array of them")
		}
		return []string{id}, nil
	}
	if len(list) == 0 || len(list) > maxQueryValues {
		return nil, queryError(path, "has %d identifiers; it takes 1 to %d", len(list), maxQueryValues)
	}
	ids := make([]string, 0, len(list))
	for i, v := range list {
		id, err := textOf(fmt.Sprintf("%s[%d]", path, i), v)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// keyOf reads the name of a property, relation or blueprint.
func keyOf(path string, v any) (string, error) {
	s, err := textOf(path, v)
	if err == nil && s == "" {
		return "", queryError(path, "is empty")
	}
	return s, err
}

func textOf(path string, v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", queryError(path, "must be text, not %s", jsonKind(v))
	}
	return s, checkText(path, s)
}

// checkText refuses what no database holds, so that it can be asked for.
func checkText(path, s string) error {
	if len(s) > maxQueryText {
		return queryError(path, "has %d bytes, more than the %d allowed", len(s), maxQueryText)
	}
	if strings.ContainsRune(s, 0) {
		return queryError(path, "has the character U+0000, which no text in the catalog has")
	}
	return nil
}

func onlyKeys(path string, object map[string]any, known ...string) error {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if !slices.Contains(known, key) {
			return queryError(at(path, shorten(key)), "is not known here; a rule of this kind has %s", strings.Join(known, ", "))
		}
	}
	return nil
}

// jsonKind names the kind of a JSON value in an error.
func jsonKind(v any) string {
	switch v.(type) {
	case nil:
		return "null or missing"
	case bool:
		return "a boolean"
	case float64, json.Number:
		return "a number"
	case string:
		return "text"
	case []any:
		return "an array"
	}
	return "an object"
}

// inBrief shows a value in an error.
func inBrief(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return jsonKind(v)
	}
	return shorten(string(b))
}
