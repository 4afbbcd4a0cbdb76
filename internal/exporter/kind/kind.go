// Package kind knows the kinds of AWS resources that the exporter has event rules,
// blueprints and mappings for. What it knows is data: one file a kind in table/.
// From it come the event rules, as CloudFormation or Terraform, and the first
// blueprints and configuration that a user edits.
//
// It reads no resources and speaks to no account: a kind that is not here is synced
// like any other, only that a user writes its rules, blueprint and mapping.
package kind

import (
	"bytes"
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Kind is a kind of AWS resource.
type Kind struct {
	// Name is the type's name, as AWS::Lambda::Function.
	Name string `yaml:"kind"`
	// Region is where the events of a global service's kind come: us-east-1 in the
	// partition aws. Empty: the region of the resource.
	Region string `yaml:"region"`
	// Rules are the event rules, at least one.
	Rules []Rule `yaml:"rules"`
	// Entity is what a resource is in the catalog.
	Entity Entity `yaml:"entity"`
}

// Rule is an event rule: the events that tell of a resource, and the record that is made
// of each. It is of calls (Service and Calls), or of events that the service itself
// sends (Source and DetailType).
type Rule struct {
	// Name is the rule's name after "exporter-".
	Name string `yaml:"name"`
	// About is the rule's description.
	About string `yaml:"about"`

	// Service is the part of CloudTrail's eventSource before .amazonaws.com.
	Service string `yaml:"service"`
	Calls   []Call `yaml:"calls"`
	// Dated: CloudTrail appends the date of the API to the names of calls, as
	// CreateFunction20150331 and UpdateFunctionCode20150331v2.
	Dated bool `yaml:"dated"`

	// Source and DetailType are those of events of the service itself; Detail is what
	// their detail must match besides.
	Source     string         `yaml:"source"`
	DetailType string         `yaml:"detailType"`
	Detail     map[string]any `yaml:"detail"`
	// Delete is a condition in jq over the record of an event of the service itself: the
	// resource is gone.
	Delete string `yaml:"delete"`

	// Values are keys of the record that texts of the event's detail are put at, by path
	// below it; a path that begins with $ is of the event. What the event lacks is "".
	Values map[string]string `yaml:"values"`
	// Lists are the same for lists and objects, which become JSON in the record.
	Lists map[string]string `yaml:"lists"`
	// Identifier is jq over the record: the resource's primary identifier as Cloud Control
	// has it, or a list of them.
	Identifier string `yaml:"identifier"`
}

// Call names calls of an API that tell of a resource in one way.
type Call struct {
	// Names are the calls' names; one that ends in * stands for all that begin so.
	Names []string `yaml:"names"`
	// Deletes: after these calls the resource is gone.
	Deletes bool `yaml:"deletes"`
	// Where is what the event's detail must match besides, as an event pattern.
	Where map[string]any `yaml:"where"`
}

// Entity is what a resource of a kind is in the catalog: its blueprint and how it is
// mapped. All mappings are jq over the resource's properties.
type Entity struct {
	// Blueprint is the blueprint's identifier, Title and Icon are its own.
	Blueprint string `yaml:"blueprint"`
	Title     string `yaml:"title"`
	Icon      string `yaml:"icon"`
	// Identifier and Name are the entity's identifier and title.
	Identifier string `yaml:"identifier"`
	Name       string `yaml:"name"`
	// Tags says how the resource has its tags: list (of Key and Value), map, or none.
	Tags       string               `yaml:"tags"`
	Properties map[string]*Property `yaml:"properties"`
	// Relations are to kinds that are in the table.
	Relations map[string]*Relation `yaml:"relations"`
}

// Property is a property of a blueprint and where it comes from.
type Property struct {
	Title  string   `yaml:"title"`
	Type   string   `yaml:"type"`
	Format string   `yaml:"format"`
	Enum   []string `yaml:"enum"`
	From   string   `yaml:"from"`
}

// Relation is a relation of a blueprint and where it comes from.
type Relation struct {
	Title string `yaml:"title"`
	// Target is the kind at the other end.
	Target string `yaml:"target"`
	Many   bool   `yaml:"many"`
	From   string `yaml:"from"`
}

//go:embed table/*.yaml
var tableFiles embed.FS

var table = sync.OnceValue(func() []*Kind {
	list, err := readTable()
	if err != nil {
		panic(err) // the table is part of the program, and a test reads it
	}
	return list
})

func readTable() ([]*Kind, error) {
	entries, err := tableFiles.ReadDir("table")
	if err != nil {
		return nil, fmt.Errorf("read the table of kinds: %w", err)
	}
	list := make([]*Kind, 0, len(entries))
	for _, entry := range entries {
		text, err := tableFiles.ReadFile("table/" + entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read the table of kinds: %w", err)
		}
		k := &Kind{}
		dec := yaml.NewDecoder(bytes.NewReader(text))
		dec.KnownFields(true)
		if err := dec.Decode(k); err != nil {
			return nil, fmt.Errorf("read kind %s: %w", entry.Name(), err)
		}
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b *Kind) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// All are the kinds of the table, by name. They are not to be changed.
func All() []*Kind { return slices.Clone(table()) }

// Find returns a kind by its name, AWS::Lambda::Function, whatever the case of letters.
func Find(name string) (*Kind, bool) {
	i := slices.IndexFunc(table(), func(k *Kind) bool { return strings.EqualFold(k.Name, name) })
	if i < 0 {
		return nil, false
	}
	return table()[i], true
}

// Near are names of kinds that may have been meant by one that is not there: those of
// which it is a part, as Function or dynamodb, and those that it is a misspelling of.
func Near(name string) []string {
	want := plain(name)
	var near []string
	for _, k := range table() {
		have := plain(k.Name)
		if want != "" && (strings.Contains(have, want) || strings.Contains(want, have)) {
			near = append(near, k.Name)
		}
	}
	for _, k := range Misspelt(name) {
		if !slices.Contains(near, k) {
			near = append(near, k)
		}
	}
	return near
}

func plain(name string) string {
	return strings.TrimSuffix(strings.NewReplacer(":", "", "-", "", "_", "", "aws", "").Replace(strings.ToLower(name)), "s")
}

// Slug is the kind's name as files and labels have it: aws-lambda-function.
func (k *Kind) Slug() string {
	return strings.ToLower(strings.ReplaceAll(k.Name, "::", "-"))
}
