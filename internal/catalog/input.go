package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Limits of an entity.
const (
	maxEntityBytes = 1 << 20 // of the JSON of its properties
	maxEntityTitle = 1000    // characters
	maxTeams       = 100
	maxTeamName    = 200
	// maxTargets is to how many entities one relation points.
	maxTargets = 1000
	// maxStubs is how many entities are made for the relations of one to point to.
	maxStubs = 1000
)

// UnmarshalJSON reads the members that an entity has; what else there is counts for nothing.
func (in *EntityInput) UnmarshalJSON(body []byte) error {
	var top map[string]any
	if err := json.Unmarshal(body, &top); err != nil || top == nil {
		return invalid("The entity is not a JSON object.")
	}
	read, err := entityInput(top)
	if err != nil {
		return err
	}
	*in = read
	return nil
}

func entityInput(top map[string]any) (in EntityInput, err error) {
	for key, into := range map[string]*Optional{"identifier": &in.Identifier, "title": &in.Title, "icon": &in.Icon, "team": &in.Team} {
		if v, there := top[key]; there {
			*into = Given(v)
		}
	}
	for key, into := range map[string]*map[string]any{"properties": &in.Properties, "relations": &in.Relations} {
		v, there := top[key]
		if !there || v == nil {
			continue
		}
		m, ok := v.(map[string]any)
		if !ok {
			return in, invalid("The entity's %s must be an object.", key)
		}
		*into = m
	}
	return in, nil
}

// request is an EntityChange whose values were checked by themselves, before anything was read.
type request struct {
	EntityChange
	blueprint  *Blueprint
	identifier string // of the input; empty: none, or by rule
	idRule     map[string]any
	title      *string // where given
	icon       *string
	team       []string
	teamRule   map[string]any
	properties map[string]any // of those the blueprint has
	relations  map[string]relationValue
	warnings   []string
	err        error
}

// relationValue is what a writer says of one relation.
type relationValue struct {
	targets []string
	rule    map[string]any
}

// read checks a change by itself. What is wrong is in err, an *Error.
func (m *model) read(ch EntityChange) *request {
	r := &request{EntityChange: ch}
	if r.blueprint, r.err = m.blueprint(ch.Blueprint); r.err != nil {
		return r
	}
	d := &definition{}
	if ch.Identifier != "" {
		what := checkIdentifier(ch.Identifier)
		if what != "" && ch.Delete {
			r.err = noEntity(ch.Identifier, ch.Blueprint)
			return r
		}
		if what != "" {
			d.wrongf("identifier", "%s", what)
		}
	}
	r.readIdentifier(d)
	if ch.Delete {
		if r.key() == "" && r.idRule == nil && len(d.problems) == 0 {
			d.wrongf("identifier", "must be given")
		}
		r.err = d.err(r.name())
		return r
	}
	r.title = r.text(d, "title", ch.Entity.Title, maxEntityTitle)
	r.icon = r.text(d, "icon", ch.Entity.Icon, maxIcon)
	r.readTeam(d)
	r.readProperties(d)
	r.readRelations(d)
	r.err = d.err(r.name())
	return r
}

// key is the identifier of the entity that is changed; empty for one to be made or found.
func (r *request) key() string {
	if r.Identifier != "" {
		return r.Identifier
	}
	return r.identifier
}

// hasRule says whether there is a search rule in it.
func (r *request) hasRule() bool {
	for _, v := range r.relations {
		if v.rule != nil {
			return true
		}
	}
	return r.idRule != nil || r.teamRule != nil
}

// name is what an error calls the entity.
func (r *request) name() string {
	if key := r.key(); key != "" {
		return fmt.Sprintf("Entity %q of blueprint %q", shorten(key), r.EntityChange.Blueprint)
	}
	return fmt.Sprintf("The entity of blueprint %q", r.EntityChange.Blueprint)
}

func (r *request) readIdentifier(d *definition) {
	switch v := r.Entity.Identifier.Value.(type) {
	case nil:
	case string:
		// An empty one is none: Terraform's provider sends it.
		if v == "" {
			return
		}
		if what := checkIdentifier(v); what != "" {
			d.wrongf("identifier", "%s", what)
			return
		}
		r.identifier = v
	case map[string]any:
		if r.Identifier != "" {
			d.wrongf("identifier", "must be a string, as the path names the entity")
			return
		}
		r.idRule = v
	default:
		d.wrongf("identifier", "must be a string or a search rule")
	}
}

// text reads a string; null and the empty one are none.
func (r *request) text(d *definition, name string, o Optional, most int) *string {
	v, err := normalize(o.Value, 0)
	s, ok := v.(string)
	switch {
	case err != nil:
		d.wrongf(name, "%v", err)
	case v == nil:
	case !ok:
		d.wrongf(name, "must be a string")
	case utf8.RuneCountInString(s) > most:
		d.wrongf(name, "has %d characters; at most %d are allowed", utf8.RuneCountInString(s), most)
	case s != "":
		return &s
	}
	return nil
}

func (r *request) readTeam(d *definition) {
	v, err := normalize(r.Entity.Team.Value, 0)
	if err != nil {
		d.wrongf("team", "%v", err)
		return
	}
	switch v := v.(type) {
	case nil:
	case string:
		if v != "" {
			r.addTeam(d, "team", v)
		}
	case []any:
		if len(v) > maxTeams {
			d.wrongf("team", "has %d teams; at most %d are allowed", len(v), maxTeams)
			return
		}
		for i, t := range v {
			s, ok := t.(string)
			at := fmt.Sprintf("team[%d]", i)
			if !ok {
				d.wrongf(at, "must be a string")
				continue
			}
			r.addTeam(d, at, s)
		}
	case map[string]any:
		r.teamRule = v
	default:
		d.wrongf("team", "must be a string, a list of strings or a search rule")
	}
}

func (r *request) addTeam(d *definition, at, team string) {
	if utf8.RuneCountInString(team) > maxTeamName || !teamForm.MatchString(team) {
		d.wrongf(at, "is %q, which is no name of a team: 1 to %d characters without ; # / ? and without space around", shorten(team), maxTeamName)
		return
	}
	if !slices.Contains(r.team, team) {
		r.team = append(r.team, team)
	}
}

func (r *request) readProperties(d *definition) {
	if r.Entity.Properties == nil {
		return
	}
	r.properties = make(map[string]any, len(r.Entity.Properties))
	for _, key := range sortedKeys(r.Entity.Properties) {
		if _, known := r.blueprint.Properties[key]; !known {
			r.warnUnknown(key)
			continue
		}
		v, err := normalize(r.Entity.Properties[key], 0)
		if err != nil {
			d.wrongf("properties."+key, "%v", err)
			continue
		}
		r.properties[key] = v
	}
	problems, err := r.blueprint.schema.validate(r.properties)
	if err != nil {
		d.wrongf("properties", "%v", err)
	}
	for _, p := range problems {
		d.wrongf(p.Path, "%s", p.Message)
	}
}

const maxWarnings = 20

func (r *request) warnUnknown(key string) {
	if len(r.warnings) >= maxWarnings {
		return
	}
	why := "the blueprint has no such property"
	if r.blueprint.hasProperty(key) {
		why = "it is computed"
	}
	r.warnings = append(r.warnings, fmt.Sprintf("properties.%s was left out: %s", shorten(key), why))
}

func (r *request) readRelations(d *definition) {
	if r.Entity.Relations == nil {
		return
	}
	r.relations = make(map[string]relationValue, len(r.Entity.Relations))
	for _, key := range sortedKeys(r.Entity.Relations) {
		rel, known := r.blueprint.Relations[key]
		at := "relations." + shorten(key)
		if !known {
			d.wrongf(at, "is no relation of blueprint %q", r.blueprint.Identifier)
			continue
		}
		r.relations[key] = readRelation(d, at, rel, r.Entity.Relations[key])
	}
}

// readRelation reads the value of a relation: null, an identifier, a list of them where
// the relation is to many, or a search rule.
func readRelation(d *definition, at string, rel Relation, v any) (value relationValue) {
	var items []any
	switch v := v.(type) {
	case nil:
		return value
	case string:
		items = []any{v}
	case map[string]any:
		value.rule = v
		return value
	case []string:
		for _, s := range v {
			items = append(items, s)
		}
	case []any:
		items = v
	default:
		d.wrongf(at, "must be a string, a list of strings, a search rule or null")
		return value
	}
	if _, one := v.(string); !one && !rel.Many {
		d.wrongf(at, "is a list; the relation is to one entity")
		return value
	}
	if len(items) > maxTargets {
		d.wrongf(at, "has %d entities; at most %d are allowed", len(items), maxTargets)
		return value
	}
	seen := make(map[string]bool, len(items))
	for i, item := range items {
		s, ok := item.(string)
		if !ok {
			d.wrongf(fmt.Sprintf("%s[%d]", at, i), "must be a string")
			continue
		}
		if what := checkIdentifier(s); what != "" {
			d.wrongf(at, "%s", what)
			continue
		}
		if !seen[s] {
			seen[s] = true
			value.targets = append(value.targets, s)
		}
	}
	return value
}
