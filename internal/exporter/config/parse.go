package config

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/jq"
)

// The limits of a configuration.
const (
	maxResources = 1000 // passes
	maxMappings  = 100  // of a pass
	maxFields    = 500  // properties, and relations, of a mapping
	maxRegions   = 100  // of a pass
	maxAccounts  = 1000 // of a pass
	maxModels    = 1000 // of a region
	maxProblems  = 100  // that are told
)

var (
	// AWS CloudFormation: the pattern of TypeName.
	kindPattern    = regexp.MustCompile(`^[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}::[A-Za-z0-9]{2,64}(::MODULE)?$`)
	accountPattern = regexp.MustCompile(`^[0-9]{12}$`)
	// Port: the identifiers of blueprints, and the keys of properties and relations.
	blueprintPattern = regexp.MustCompile(`^[\p{L}0-9@_.+:\\/-]{1,100}$`)
	keyPattern       = regexp.MustCompile(`^[A-Za-z0-9@_=\\-]{1,100}$`)
)

// Parse reads the text of a config.json. The error is an *Errors that names
// everything that is wrong; nothing is evaluated yet. Keys that are not known
// are warnings, because Port's exporter lets them be.
func Parse(text []byte) (*Config, error) {
	doc, problems := readDocument(text)
	if len(problems) > 0 {
		return nil, &Errors{Problems: problems}
	}
	p := &parser{lines: doc.lines}
	c := p.config(doc.value)
	if len(p.problems) > 0 {
		return nil, &Errors{Problems: p.problems}
	}
	c.Warnings = p.warnings
	return c, nil
}

// parser collects what is wrong on the way through a document.
type parser struct {
	lines    map[string]int
	problems []Problem
	warnings []Problem
}

func (p *parser) failf(path, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{Path: path, Line: p.line(path), Message: fmt.Sprintf(format, args...)})
	}
}

func (p *parser) warnf(path, format string, args ...any) {
	if len(p.warnings) < maxProblems {
		p.warnings = append(p.warnings, Problem{Path: path, Line: p.line(path), Message: fmt.Sprintf(format, args...), Warning: true})
	}
}

// line is where the path is in the file, or the nearest thing around it that is.
func (p *parser) line(path string) int {
	for {
		if n, ok := p.lines[path]; ok {
			return n
		}
		i := strings.LastIndexAny(path, ".[")
		if i < 0 {
			return p.lines[""]
		}
		path = path[:i]
	}
}

func (p *parser) config(v any) *Config {
	top, ok := v.(map[string]any)
	if !ok {
		p.failf("", "config.json must be an object with resources, not %s", kindOf(v))
		return nil
	}
	c := &Config{}
	for _, key := range keysOf(top) {
		switch key {
		case "resources":
		case "port_api_url":
			c.PortAPIURL = p.apiURL(key, top[key])
		case "skip_delete":
			c.SkipDelete = p.boolean(key, top[key])
		case "aws_entities":
			p.warnf(key, "is a checkpoint of Port's exporter and is not used: checkpoints are kept in the database")
		case "deleteDependentEntities", "createMissingRelatedEntities", "enableMergeEntity":
			p.warnf(key, "is a setting of Port Ocean and is not used: entities are merged, and deleted with their dependents")
		default:
			p.unknown(key)
		}
	}
	resources, ok := top["resources"].([]any)
	switch {
	case !ok && top["resources"] == nil:
		p.failf("resources", "is missing: it lists the kinds that are exported")
	case !ok:
		p.failf("resources", "must be an array, not %s", kindOf(top["resources"]))
	case len(resources) > maxResources:
		p.failf("resources", "has %d elements, at most %d are possible", len(resources), maxResources)
	default:
		for i, r := range resources {
			c.Resources = append(c.Resources, p.resource(i, r))
		}
	}
	return c
}

func (p *parser) resource(i int, v any) Resource {
	path := fmt.Sprintf("resources[%d]", i)
	r := Resource{Index: i}
	object, ok := p.object(path, v)
	if !ok {
		return r
	}
	for _, key := range keysOf(object) {
		switch key {
		case "kind":
		case "selector":
			p.selector(path+".selector", object[key], &r)
		case "port":
			r.Mappings = p.port(path+".port", object[key])
		default:
			p.unknown(path + "." + key)
		}
	}
	r.Kind, r.KindLine = p.kind(path+".kind", object["kind"]), p.line(path+".kind")
	if _, has := object["port"]; !has {
		p.failf(path+".port", "is missing: port.entity.mappings says what becomes of the resources")
	}
	return r
}

func (p *parser) kind(path string, v any) string {
	s, ok := p.text(path, v, "the type of the resources, as AWS::Lambda::Function")
	if ok && !kindPattern.MatchString(s) {
		p.failf(path, "%q is not a resource type, as AWS::Lambda::Function", s)
	}
	return s
}

func (p *parser) selector(path string, v any, r *Resource) {
	if v == nil {
		return
	}
	object, ok := p.object(path, v)
	if !ok {
		return
	}
	for _, key := range keysOf(object) {
		switch key {
		case "query":
			r.Query = p.program(path+".query", object[key])
		case "aws":
			p.aws(path+".aws", object[key], r)
		default:
			p.unknown(path + "." + key)
		}
	}
}

func (p *parser) aws(path string, v any, r *Resource) {
	object, ok := p.object(path, v)
	if !ok {
		return
	}
	for _, key := range keysOf(object) {
		at := path + "." + key
		switch key {
		case "regions":
			r.Regions = p.list(at, object[key], maxRegions, event.IsRegion, "a region, as us-east-1")
			p.doubtRegions(at, object[key])
		case "accounts":
			r.Accounts = p.list(at, object[key], maxAccounts, accountPattern.MatchString, "an account id of twelve digits, as text")
		case "regions_config":
			r.Models = p.regionsConfig(at, object[key])
		case "list_parameters":
			r.ListParameters, _ = p.object(at, object[key])
		case "next_token":
			p.warnf(at, "is a checkpoint of Port's exporter and is not used: checkpoints are kept in the database")
		default:
			p.unknown(at)
		}
	}
	for region := range r.Models {
		if r.Regions != nil && !slices.Contains(r.Regions, region) {
			p.warnf(path+".regions_config."+region, "is not used: selector.aws.regions does not name %s", region)
		}
	}
}

// doubtRegions warns of what has the form of a region and is none.
func (p *parser) doubtRegions(path string, v any) {
	items, _ := v.([]any)
	for i, item := range items {
		if s, ok := item.(string); ok && event.IsRegion(s) {
			p.doubtRegion(fmt.Sprintf("%s[%d]", path, i), s)
		}
	}
}

func (p *parser) doubtRegion(path, region string) {
	if doubt := DoubtRegion(region); doubt != "" {
		p.warnf(path, "%s", doubt)
	}
}

func (p *parser) regionsConfig(path string, v any) map[string][]string {
	object, ok := p.object(path, v)
	if !ok {
		return nil
	}
	models := map[string][]string{}
	for _, region := range keysOf(object) {
		at := path + "." + region
		if !event.IsRegion(region) {
			p.failf(at, "%q is not a region, as us-east-1", region)
			continue
		}
		p.doubtRegion(at, region)
		settings, ok := p.object(at, object[region])
		if !ok {
			continue
		}
		for _, key := range keysOf(settings) {
			if key != "resources_models" {
				p.unknown(at + "." + key)
				continue
			}
			models[region] = p.models(at+".resources_models", settings[key])
		}
	}
	return models
}

func (p *parser) models(path string, v any) []string {
	list, ok := v.([]any)
	if !ok || len(list) > maxModels {
		p.failf(path, "must be an array of at most %d resource models, each a JSON object written as text", maxModels)
		return nil
	}
	var models []string
	for i, m := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		s, ok := m.(string)
		var object map[string]any
		if !ok || json.Unmarshal([]byte(s), &object) != nil || object == nil {
			p.failf(at, `must be a JSON object written as text, as "{\"LoadBalancerArn\":\"arn:…\"}"`)
			continue
		}
		models = append(models, s)
	}
	return models
}

func (p *parser) port(path string, v any) []Mapping {
	object, ok := p.object(path, v)
	if !ok {
		return nil
	}
	p.onlyKnown(path, object, "entity")
	path += ".entity"
	entity, ok := p.object(path, object["entity"])
	if !ok {
		return nil
	}
	p.onlyKnown(path, entity, "mappings")
	path += ".mappings"
	list, ok := entity["mappings"].([]any)
	if !ok || len(list) == 0 || len(list) > maxMappings {
		p.failf(path, "must be an array of 1 to %d mappings", maxMappings)
		return nil
	}
	mappings := make([]Mapping, 0, len(list))
	for i, m := range list {
		mappings = append(mappings, p.mapping(fmt.Sprintf("%s[%d]", path, i), m))
	}
	return mappings
}

func (p *parser) mapping(path string, v any) Mapping {
	m := Mapping{Path: path}
	object, ok := p.object(path, v)
	if !ok {
		return m
	}
	for _, key := range keysOf(object) {
		at := path + "." + key
		switch key {
		case "identifier", "blueprint":
		case "title":
			m.Title = p.optional(at, object[key])
		case "icon":
			m.Icon = p.optional(at, object[key])
		case "team":
			m.Team = p.optional(at, object[key])
		case "itemsToParse":
			m.Items = p.optional(at, object[key])
		case "properties":
			m.Properties = p.fields(at, object[key])
		case "relations":
			m.Relations = p.fields(at, object[key])
		default:
			p.unknown(at)
		}
	}
	m.Identifier = p.program(path+".identifier", object["identifier"])
	m.Blueprint = p.blueprint(path+".blueprint", object["blueprint"])
	return m
}

// blueprint reads a fixed text. Port's exporter: a pair of quotes around it, which
// makes it look like jq, is taken off.
func (p *parser) blueprint(path string, v any) string {
	s, ok := p.text(path, v, "the blueprint's identifier, which is not jq")
	if !ok {
		return ""
	}
	if len(s) >= 2 && strings.HasPrefix(s, `"`) && strings.HasSuffix(s, `"`) {
		s = s[1 : len(s)-1]
	}
	if !blueprintPattern.MatchString(s) || s == "." || s == ".." {
		p.failf(path, "%q is not the identifier of a blueprint; it is a fixed text, not jq", s)
	}
	return s
}

func (p *parser) fields(path string, v any) []Field {
	if v == nil {
		return nil
	}
	object, ok := p.object(path, v)
	if !ok {
		return nil
	}
	if len(object) > maxFields {
		p.failf(path, "has %d keys, at most %d are possible", len(object), maxFields)
		return nil
	}
	fields := make([]Field, 0, len(object))
	for _, key := range keysOf(object) {
		at := path + "." + key
		if !keyPattern.MatchString(key) {
			p.failf(at, "%q is not a key: letters, digits and @_=\\- are possible, at most 100", key)
		}
		fields = append(fields, Field{Key: key, Value: p.program(at, object[key])})
	}
	return fields
}

// optional reads an expression that may be null.
func (p *parser) optional(path string, v any) *jq.Program {
	if v == nil {
		return nil
	}
	return p.program(path, v)
}

func (p *parser) program(path string, v any) *jq.Program {
	s, ok := p.text(path, v, "a jq expression, as text")
	if !ok {
		return nil
	}
	program, err := jq.Compile(s)
	if err != nil {
		p.failf(path, "is not jq: %v (in %s)", err, shorten(s))
	}
	return program
}

func (p *parser) apiURL(path string, v any) string {
	s, ok := p.text(path, v, "the URL of Port's API, as https://api.getport.io/v1")
	if !ok {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		p.failf(path, "%q is not a URL, as https://api.getport.io/v1", s)
	} else if strings.TrimRight(u.Path, "/") != "/v1" {
		p.failf(path, "%q must end with /v1, as https://api.getport.io/v1", s)
	}
	return strings.TrimRight(s, "/")
}

// list reads an array of texts of a pattern. It is nil only where v is null.
func (p *parser) list(path string, v any, limit int, is func(string) bool, what string) []string {
	if v == nil {
		return nil
	}
	items, ok := v.([]any)
	if !ok || len(items) > limit {
		p.failf(path, "must be an array of at most %d, each %s", limit, what)
		return nil
	}
	texts := make([]string, 0, len(items))
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		s, ok := item.(string)
		if !ok || !is(s) {
			p.failf(at, "must be %s", what)
			continue
		}
		if slices.Contains(texts, s) {
			p.warnf(at, "%s is named twice", s)
			continue
		}
		texts = append(texts, s)
	}
	return texts
}

func (p *parser) text(path string, v any, what string) (string, bool) {
	s, ok := v.(string)
	switch {
	case v == nil:
		p.failf(path, "is missing: it must be %s", what)
	case !ok:
		p.failf(path, "must be %s, not %s", what, kindOf(v))
	case strings.TrimSpace(s) == "":
		p.failf(path, "is empty: it must be %s", what)
	default:
		return s, true
	}
	return "", false
}

func (p *parser) boolean(path string, v any) bool {
	b, ok := v.(bool)
	if !ok {
		p.failf(path, "must be true or false, not %s", kindOf(v))
	}
	return b
}

func (p *parser) object(path string, v any) (map[string]any, bool) {
	object, ok := v.(map[string]any)
	if v == nil {
		p.failf(path, "is missing: it must be an object")
	} else if !ok {
		p.failf(path, "must be an object, not %s", kindOf(v))
	}
	return object, ok
}

func (p *parser) onlyKnown(path string, object map[string]any, known string) {
	for _, key := range keysOf(object) {
		if key != known {
			p.unknown(path + "." + key)
		}
	}
}

func (p *parser) unknown(path string) {
	p.warnf(path, "is not a key that is known, and not used")
}
