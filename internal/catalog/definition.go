package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/jq"
)

// Limits of a blueprint.
const (
	maxDefinition   = 512 << 10 // bytes of JSON
	maxProperties   = 500       // of all kinds together
	maxRelations    = 100
	maxTitle        = 100
	maxDescription  = 200
	maxIcon         = 200
	maxMirrorSteps  = 10
	maxDefinitionIn = 32 // depth of its JSON
	maxProblems     = 20 // told of one blueprint or entity
)

// definition reads the JSON of a blueprint and collects what is wrong with it.
type definition struct{ problems []Problem }

func (d *definition) wrongf(path, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, Problem{path, fmt.Sprintf(format, args...)})
	}
}

// err is what is wrong, of the thing named, or nil.
func (d *definition) err(what string) error {
	if len(d.problems) == 0 {
		return nil
	}
	texts := make([]string, len(d.problems))
	for i, p := range d.problems {
		texts[i] = p.Path + " " + p.Message
	}
	return &Error{
		Status: http.StatusUnprocessableEntity, Code: CodeValidation,
		Message: what + " is not valid: " + strings.Join(texts, "; ") + ".",
		Details: map[string]any{"problems": d.problems},
	}
}

// serverKeys are set by the server: what a writer says of them counts for nothing.
var serverKeys = []string{"createdAt", "createdBy", "updatedAt", "updatedBy"}

// parseBlueprint reads and checks a blueprint's definition, but for what other
// blueprints must have. What is wrong is an *Error that names each place.
func parseBlueprint(raw json.RawMessage) (*Blueprint, error) {
	if len(raw) > maxDefinition {
		return nil, &Error{
			Status: http.StatusRequestEntityTooLarge, Code: CodeTooLarge,
			Message: fmt.Sprintf("The blueprint has %d bytes; at most %d are allowed.", len(raw), maxDefinition),
		}
	}
	var top map[string]any
	if err := json.Unmarshal(raw, &top); err != nil || top == nil {
		return nil, invalid("The blueprint is not a JSON object.")
	}
	if depth(top) > maxDefinitionIn {
		return nil, invalid("The blueprint is nested deeper than %d levels.", maxDefinitionIn)
	}
	d := &definition{}
	b := &Blueprint{Raw: raw}
	b.Identifier = d.text(top, "", "identifier", 0, true)
	if b.Identifier != "" {
		if what := checkBlueprintIdentifier(b.Identifier); what != "" {
			d.wrongf("identifier", "%s", what)
		}
	}
	b.Title = d.text(top, "", "title", maxTitle, true)
	b.Description = d.text(top, "", "description", maxDescription, false)
	b.Icon = d.text(top, "", "icon", maxIcon, false)
	d.schema(b, top)
	d.relations(b, top)
	d.mirrors(b, top)
	d.calculations(b, top)
	d.aggregations(b, top)
	d.ownership(b, top)
	d.changelog(top)
	if v, there := top["includeInGlobalSearch"]; there && v != nil {
		if _, ok := v.(bool); !ok {
			d.wrongf("includeInGlobalSearch", "must be true or false")
		}
	}
	d.distinct(b)
	name := "The blueprint"
	if b.Identifier != "" {
		name = fmt.Sprintf("Blueprint %q", shorten(b.Identifier))
	}
	if err := d.err(name); err != nil {
		return nil, err
	}
	b.schema = &schema{properties: b.Properties}
	return b, nil
}

// text reads a string of at most so many characters, 0 for any number.
func (d *definition) text(o map[string]any, at, key string, most int, required bool) string {
	v, there := o[key]
	if !there || v == nil {
		if required {
			d.wrongf(at+key, "must be given")
		}
		return ""
	}
	s, ok := v.(string)
	switch {
	case !ok:
		d.wrongf(at+key, "must be a string")
	case s == "" && required:
		d.wrongf(at+key, "must not be empty")
	case most > 0 && utf8.RuneCountInString(s) > most:
		d.wrongf(at+key, "has %d characters; at most %d are allowed", utf8.RuneCountInString(s), most)
	case strings.ContainsRune(s, 0):
		d.wrongf(at+key, "contains the character U+0000")
	default:
		return s
	}
	return ""
}

// flag reads a boolean.
func (d *definition) flag(o map[string]any, at, key string) bool {
	v, there := o[key]
	if !there || v == nil {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		d.wrongf(at+key, "must be true or false")
	}
	return b
}

// object reads an object; absent and null are nil.
func (d *definition) object(o map[string]any, at, key string) map[string]any {
	v, there := o[key]
	if !there || v == nil {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		d.wrongf(at+key, "must be an object")
	}
	return m
}

// objects yields the members of an object of objects whose keys are of the form of
// keys, in their order.
func (d *definition) objects(o map[string]any, at, key string, yield func(key, at string, v map[string]any)) {
	m := d.object(o, at, key)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		path := at + key + "." + shorten(k)
		if what := checkKey(k); what != "" {
			d.wrongf(path, "%s", what)
			continue
		}
		v, ok := m[k].(map[string]any)
		if !ok {
			d.wrongf(path, "must be an object")
			continue
		}
		yield(k, path+".", v)
	}
}

// oneOf reads a string out of a list of words.
func (d *definition) oneOf(o map[string]any, at, key string, required bool, words []string) string {
	s := d.text(o, at, key, 0, required)
	if s != "" && !slices.Contains(words, s) {
		d.wrongf(at+key, "is %q; it must be one of %s", shorten(s), strings.Join(words, ", "))
		return ""
	}
	return s
}

func (d *definition) schema(b *Blueprint, top map[string]any) {
	b.Properties = map[string]Property{}
	schema := d.object(top, "", "schema")
	if schema == nil {
		d.wrongf("schema", "must be given, as in {\"properties\": {}, \"required\": []}")
		return
	}
	d.objects(schema, "schema.", "properties", func(key, at string, v map[string]any) {
		b.Properties[key] = d.property(at, v)
	})
	switch list := schema["required"].(type) {
	case nil:
	case []any:
		for i, v := range list {
			s, _ := v.(string)
			if _, known := b.Properties[s]; !known {
				d.wrongf(fmt.Sprintf("schema.required[%d]", i), "is not one of the properties")
				continue
			}
			if !slices.Contains(b.Required, s) {
				b.Required = append(b.Required, s)
			}
		}
	default:
		d.wrongf("schema.required", "must be a list of keys of properties")
	}
}

func (d *definition) relations(b *Blueprint, top map[string]any) {
	b.Relations = map[string]Relation{}
	d.objects(top, "", "relations", func(key, at string, v map[string]any) {
		b.Relations[key] = Relation{
			Target:   d.text(v, at, "target", 0, true),
			Required: d.flag(v, at, "required"),
			Many:     d.flag(v, at, "many"),
			Title:    d.text(v, at, "title", maxTitle, false),
		}
	})
	if len(b.Relations) > maxRelations {
		d.wrongf("relations", "has %d relations; at most %d are allowed", len(b.Relations), maxRelations)
	}
}

func (d *definition) mirrors(b *Blueprint, top map[string]any) {
	b.Mirrors = map[string]Mirror{}
	d.objects(top, "", "mirrorProperties", func(key, at string, v map[string]any) {
		m := Mirror{Title: d.text(v, at, "title", maxTitle, false), Path: d.text(v, at, "path", 0, true)}
		steps := strings.Split(m.Path, ".")
		if m.Path != "" && (len(steps) < 2 || slices.Contains(steps, "")) {
			d.wrongf(at+"path", "is %q; it must be relations and a property, as in service.domain.title", shorten(m.Path))
		}
		if len(steps) > maxMirrorSteps {
			d.wrongf(at+"path", "has %d steps; at most %d are allowed", len(steps), maxMirrorSteps)
		}
		b.Mirrors[key] = m
	})
}

func (d *definition) calculations(b *Blueprint, top map[string]any) {
	b.Calculations = map[string]Calculation{}
	d.objects(top, "", "calculationProperties", func(key, at string, v map[string]any) {
		calc := Calculation{
			Title:       d.text(v, at, "title", maxTitle, false),
			Calculation: d.text(v, at, "calculation", 0, true),
			Type:        d.oneOf(v, at, "type", true, propertyTypes),
			Format:      d.text(v, at, "format", 0, false),
		}
		if calc.Calculation != "" {
			if _, err := jq.Compile(calc.Calculation); err != nil {
				d.wrongf(at+"calculation", "is no jq that can be run: %v", err)
			}
		}
		d.format(at, calc.Type, calc.Format)
		d.colours(v, at, "colors")
		b.Calculations[key] = calc
	})
}

var (
	aggregationFuncs  = []string{"count", "average", "sum", "min", "max", "median"}
	aggregationTimes  = []string{"hour", "day", "week", "month", "total"}
	aggregationBasics = []string{"entities", "property"}
)

func (d *definition) aggregations(b *Blueprint, top map[string]any) {
	b.Aggregations = map[string]Aggregation{}
	d.objects(top, "", "aggregationProperties", func(key, at string, v map[string]any) {
		a := Aggregation{
			Title:  d.text(v, at, "title", maxTitle, true),
			Target: d.text(v, at, "target", 0, true),
		}
		spec := d.object(v, at, "calculationSpec")
		if spec == nil {
			d.wrongf(at+"calculationSpec", "must be given, as in {\"func\": \"count\", \"calculationBy\": \"entities\"}")
			return
		}
		d.aggregation(&a, at+"calculationSpec.", spec)
		if query := d.object(v, at, "query"); query != nil {
			text, err := encode(query)
			if err == nil {
				_, err = ParseQuery(text)
			}
			if err != nil {
				d.wrongf(at+"query", "cannot be used: %v", err)
			}
			a.Query = text
		}
		d.pathFilter(&a, at, v)
		b.Aggregations[key] = a
	})
}

func (d *definition) aggregation(a *Aggregation, at string, spec map[string]any) {
	a.Func = d.oneOf(spec, at, "func", true, aggregationFuncs)
	a.By = d.oneOf(spec, at, "calculationBy", true, aggregationBasics)
	a.Property = d.text(spec, at, "property", maxKey, a.By == "property")
	a.AverageOf = d.oneOf(spec, at, "averageOf", a.Func == "average", aggregationTimes)
	a.MeasureTimeBy = d.text(spec, at, "measureTimeBy", maxKey, false)
	switch {
	case a.By == "entities" && a.Func != "" && a.Func != "count" && a.Func != "average":
		d.wrongf(at+"func", "is %s, which is calculated by property, not by entities", a.Func)
	case a.By == "property" && a.Func == "count":
		d.wrongf(at+"func", "is count, which is calculated by entities, not by property")
	}
}

func (d *definition) pathFilter(a *Aggregation, at string, v map[string]any) {
	raw, there := v["pathFilter"]
	if !there || raw == nil {
		return
	}
	list, ok := raw.([]any)
	if !ok || len(list) > 1 {
		d.wrongf(at+"pathFilter", "must be a list of at most one path")
		return
	}
	for i, item := range list {
		at := fmt.Sprintf("%spathFilter[%d]", at, i)
		o, ok := item.(map[string]any)
		if !ok {
			d.wrongf(at, "must be an object")
			continue
		}
		f := PathFilter{FromBlueprint: d.text(o, at+".", "fromBlueprint", 0, false)}
		steps, ok := o["path"].([]any)
		if !ok || len(steps) == 0 || len(steps) > maxMirrorSteps {
			d.wrongf(at+".path", "must be a list of 1 to %d relations", maxMirrorSteps)
			continue
		}
		for j, step := range steps {
			s, _ := step.(string)
			if what := checkKey(s); what != "" {
				d.wrongf(fmt.Sprintf("%s.path[%d]", at, j), "%s", what)
			}
			f.Path = append(f.Path, s)
		}
		a.PathFilter = append(a.PathFilter, f)
	}
}

func (d *definition) ownership(b *Blueprint, top map[string]any) {
	if o := d.object(top, "", "ownership"); o != nil {
		w := &Ownership{
			Type:  d.oneOf(o, "ownership.", "type", true, []string{"Direct", "Inherited"}),
			Title: d.text(o, "ownership.", "title", maxTitle, false),
		}
		w.Path = d.text(o, "ownership.", "path", 0, w.Type == "Inherited")
		b.Ownership = w
		return
	}
	// The older way to say so.
	if o := d.object(top, "", "teamInheritance"); o != nil {
		b.Ownership = &Ownership{Type: "Inherited", Path: d.text(o, "teamInheritance.", "path", 0, true)}
	}
}

func (d *definition) changelog(top map[string]any) {
	o := d.object(top, "", "changelogDestination")
	if o == nil {
		return
	}
	if d.oneOf(o, "changelogDestination.", "type", true, []string{"WEBHOOK", "KAFKA"}) == "WEBHOOK" {
		d.text(o, "changelogDestination.", "url", 2048, true)
		d.flag(o, "changelogDestination.", "agent")
	}
}

// distinct checks that no two properties of an entity have one key, whatever their kind, and
// that there are not too many.
func (d *definition) distinct(b *Blueprint) {
	seen := map[string]string{}
	note := func(kind string, keys []string) {
		for _, k := range keys {
			if other, twice := seen[k]; twice {
				d.wrongf(kind+"."+k, "has the key of another property in %s", other)
			}
			seen[k] = kind
		}
	}
	note("schema.properties", slices.Sorted(maps.Keys(b.Properties)))
	note("mirrorProperties", slices.Sorted(maps.Keys(b.Mirrors)))
	note("calculationProperties", slices.Sorted(maps.Keys(b.Calculations)))
	note("aggregationProperties", slices.Sorted(maps.Keys(b.Aggregations)))
	if len(seen) > maxProperties {
		d.wrongf("schema.properties", "and the other properties are %d; at most %d are allowed", len(seen), maxProperties)
	}
}

// encode writes a value as JSON, with < and > as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// depth is how many levels of objects and lists a value has.
func depth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	case []any:
		for _, e := range v {
			deepest = max(deepest, depth(e))
		}
	default:
		return 0
	}
	return deepest + 1
}
