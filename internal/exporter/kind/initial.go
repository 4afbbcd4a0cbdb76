package kind

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// File is a file to begin with.
type File struct {
	// Name is its path, with slashes.
	Name string
	Text []byte
}

// blueprint is a blueprint as the catalog's API takes one.
type blueprint struct {
	Identifier string `json:"identifier"`
	Title      string `json:"title"`
	Icon       string `json:"icon"`
	Schema     struct {
		Properties map[string]schemaProperty `json:"properties"`
		Required   []string                  `json:"required"`
	} `json:"schema"`
	Relations map[string]schemaRelation `json:"relations"`
}

type schemaProperty struct {
	Title  string   `json:"title"`
	Type   string   `json:"type"`
	Format string   `json:"format,omitempty"`
	Enum   []string `json:"enum,omitempty"`
}

type schemaRelation struct {
	Title    string `json:"title"`
	Target   string `json:"target"`
	Required bool   `json:"required"`
	Many     bool   `json:"many"`
}

// configuration is a config.json.
type configuration struct {
	Resources []configResource `json:"resources"`
}

type configResource struct {
	Kind     string         `json:"kind"`
	Selector configSelector `json:"selector"`
	Port     struct {
		Entity struct {
			Mappings []configMapping `json:"mappings"`
		} `json:"entity"`
	} `json:"port"`
}

type configSelector struct {
	Query string     `json:"query"`
	AWS   *configAWS `json:"aws,omitempty"`
}

type configAWS struct {
	Regions []string `json:"regions"`
}

type configMapping struct {
	Identifier string            `json:"identifier"`
	Title      string            `json:"title"`
	Blueprint  string            `json:"blueprint"`
	Properties map[string]string `json:"properties"`
	Relations  map[string]string `json:"relations,omitempty"`
}

// tagExpressions make an object of tags, by how a resource has them.
var tagExpressions = map[string]string{
	"list": "[.Tags[]? | {key: .Key, value: .Value}] | from_entries",
	"map":  ".Tags // {}",
}

// The names of the files of Initial.
const (
	BlueprintsFile = "blueprints.json"
	ConfigFile     = "config.json"
)

// Initial writes the files to begin with: the list of a blueprint for each kind, and a
// configuration that maps the resources, in regions, or in the account's home region if
// none are given. Blueprints have relations to those of the other kinds only, and come
// after those.
func Initial(kinds []*Kind, regions []string) ([]File, error) {
	if len(kinds) == 0 {
		return nil, errors.New("name at least one kind")
	}
	included := func(name string) bool {
		return slices.ContainsFunc(kinds, func(k *Kind) bool { return k.Name == name })
	}
	var (
		blueprints []blueprint
		conf       configuration
	)
	for _, k := range inOrder(kinds) {
		blueprints = append(blueprints, k.blueprint(included))
		conf.Resources = append(conf.Resources, k.config(included, regions))
	}
	list, err := indented(blueprints)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", BlueprintsFile, err)
	}
	text, err := indented(conf)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", ConfigFile, err)
	}
	return []File{{BlueprintsFile, list}, {ConfigFile, text}}, nil
}

// inOrder are the kinds, each once, those first that others have relations to.
func inOrder(kinds []*Kind) []*Kind {
	var list []*Kind
	for len(list) < len(kinds) {
		before := len(list)
		for _, k := range kinds {
			if slices.Contains(list, k) {
				continue
			}
			waits := false
			for _, r := range k.Entity.Relations {
				t, _ := Find(r.Target)
				waits = waits || slices.Contains(kinds, t) && !slices.Contains(list, t)
			}
			if !waits {
				list = append(list, k)
			}
		}
		if len(list) == before {
			break // the rest are there twice
		}
	}
	return list
}

func (k *Kind) blueprint(included func(name string) bool) blueprint {
	e := &k.Entity
	b := blueprint{Identifier: e.Blueprint, Title: e.Title, Icon: e.Icon, Relations: map[string]schemaRelation{}}
	b.Schema.Properties, b.Schema.Required = map[string]schemaProperty{}, []string{}
	for name, p := range e.Properties {
		b.Schema.Properties[name] = schemaProperty{p.Title, p.Type, p.Format, p.Enum}
	}
	if tagExpressions[e.Tags] != "" {
		b.Schema.Properties["tags"] = schemaProperty{Title: "Tags", Type: "object"}
	}
	for name, r := range e.Relations {
		if target, ok := Find(r.Target); ok && included(r.Target) {
			b.Relations[name] = schemaRelation{Title: r.Title, Target: target.Entity.Blueprint, Many: r.Many}
		}
	}
	return b
}

func (k *Kind) config(included func(name string) bool, regions []string) configResource {
	e := &k.Entity
	m := configMapping{Identifier: e.Identifier, Title: e.Name, Blueprint: e.Blueprint, Properties: map[string]string{}}
	for name, p := range e.Properties {
		m.Properties[name] = p.From
	}
	if tags := tagExpressions[e.Tags]; tags != "" {
		m.Properties["tags"] = tags
	}
	for name, r := range e.Relations {
		if !included(r.Target) {
			continue
		}
		if m.Relations == nil {
			m.Relations = map[string]string{}
		}
		m.Relations[name] = r.From
	}
	c := configResource{Kind: k.Name, Selector: configSelector{Query: "true"}}
	if len(regions) > 0 {
		c.Selector.AWS = &configAWS{regions}
	}
	c.Port.Entity.Mappings = []configMapping{m}
	return c
}

func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}
