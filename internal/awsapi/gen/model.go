package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// model is a service-2.json file, as far as it is used.
type model struct {
	Metadata struct {
		APIVersion   string          `json:"apiVersion"`
		Protocol     string          `json:"protocol"`
		JSONVersion  string          `json:"jsonVersion"`
		TargetPrefix string          `json:"targetPrefix"`
		ServiceID    string          `json:"serviceId"`
		XMLNamespace string          `json:"xmlNamespace"`
		QueryErrors  json.RawMessage `json:"awsQueryCompatible"`
	} `json:"metadata"`
	Operations map[string]*operation `json:"operations"`
	Shapes     map[string]*shape     `json:"shapes"`
}

type operation struct {
	Name string `json:"name"`
	HTTP struct {
		Method string `json:"method"`
		URI    string `json:"requestUri"`
		Status int    `json:"responseCode"`
	} `json:"http"`
	Input  shapeRef `json:"input"`
	Output shapeRef `json:"output"`
}

type shapeRef struct {
	Shape         string `json:"shape"`
	LocationName  string `json:"locationName"`
	QueryName     string `json:"queryName"`
	ResultWrapper string `json:"resultWrapper"`
	Flattened     bool   `json:"flattened"`
	// Location is where a rest-json member goes, if not into the body.
	Location string `json:"location"`
}

type shape struct {
	Type string `json:"type"`
	// LocationName is of members that have none of their own.
	LocationName string `json:"locationName"`

	Members   map[string]shapeRef `json:"members"`
	Payload   string              `json:"payload"`
	Required  []string            `json:"required"`
	Member    *shapeRef           `json:"member"`
	Key       *shapeRef           `json:"key"`
	Value     *shapeRef           `json:"value"`
	Enum      []string            `json:"enum"`
	Min       *float64            `json:"min"`
	Max       *float64            `json:"max"`
	Pattern   string              `json:"pattern"`
	Sensitive bool                `json:"sensitive"`
	Flattened bool                `json:"flattened"`
	Exception bool                `json:"exception"`
	Fault     bool                `json:"fault"`
	Error     struct {
		Code   string `json:"code"`
		Status int    `json:"httpStatusCode"`
		Fault  bool   `json:"fault"`
	} `json:"error"`

	order []string // of the members, if not by name
}

// sortedMembers lists a structure's members in the order that generated fields,
// tables and answers have: that of facts.go, or by name.
func (s *shape) sortedMembers() []string {
	if s.order != nil {
		return s.order
	}
	names := make([]string, 0, len(s.Members))
	for name := range s.Members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func readModel(dir, stem string) (*model, error) {
	data, err := os.ReadFile(filepath.Join(dir, stem+".json"))
	if err != nil {
		return nil, err
	}
	m := new(model)
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s.json: %w", stem, err)
	}
	return m, nil
}

// load reads a service's model, and lays the query protocol's names over it
// where it has a second one.
func load(dir string, s service) (*pkg, error) {
	m, err := readModel(dir, s.pkg)
	if err != nil {
		return nil, err
	}
	p := &pkg{service: s, model: m, protocols: []string{m.Metadata.Protocol}}
	if s.queryModel != "" {
		q, err := readModel(dir, s.queryModel)
		if err != nil {
			return nil, err
		}
		m.overlay(q)
		p.protocols = append(p.protocols, "query")
	}
	for name, order := range s.enums {
		enum := m.Shapes[name]
		if enum == nil || !sameValues(enum.Enum, order) {
			return nil, fmt.Errorf("shape %s: its enum's values are not those of facts.go", name)
		}
		enum.Enum = order
	}
	for name, order := range s.members {
		ordered := m.Shapes[name]
		if ordered == nil || !sameValues(ordered.sortedMembers(), order) {
			return nil, fmt.Errorf("shape %s: its members are not those of facts.go", name)
		}
		ordered.order = order
	}
	for name, pattern := range s.patterns {
		if m.Shapes[name] == nil {
			return nil, fmt.Errorf("shape %s of facts.go is not in the model", name)
		}
		m.Shapes[name].Pattern = pattern
	}
	for name, length := range s.lengths {
		if m.Shapes[name] == nil {
			return nil, fmt.Errorf("shape %s of facts.go is not in the model", name)
		}
		m.Shapes[name].Max = new(float64(length))
	}
	for name, code := range s.errors {
		unmodelled := &shape{Type: "structure", Exception: true}
		unmodelled.Error.Code = code
		m.Shapes[name] = unmodelled
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

func sameValues(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// overlay takes wire names, wrappers and error codes from the query protocol's
// older model of the same service. What only the newer model has gets the names
// that the older one would give it.
func (m *model) overlay(q *model) {
	m.Metadata.XMLNamespace = q.Metadata.XMLNamespace
	for name, op := range m.Operations {
		if op.Output.Shape != "" {
			op.Output.ResultWrapper = name + "Result"
		}
		if old := q.Operations[name]; old != nil && old.Output.ResultWrapper != "" {
			op.Output.ResultWrapper = old.Output.ResultWrapper
		}
	}
	for name, s := range m.Shapes {
		old := q.Shapes[name]
		if old == nil {
			s.nameLikeOldModels()
			continue
		}
		s.Flattened, s.LocationName = old.Flattened, old.LocationName
		s.Error = old.Error
		if s.Member != nil && old.Member != nil {
			s.Member.LocationName = old.Member.LocationName
		}
		if s.Key != nil && old.Key != nil {
			s.Key.LocationName, s.Value.LocationName = old.Key.LocationName, old.Value.LocationName
		}
		for member, ref := range s.Members {
			if oldRef, ok := old.Members[member]; ok {
				ref.LocationName, ref.Flattened = oldRef.LocationName, oldRef.Flattened
				s.Members[member] = ref
			}
		}
	}
}

func (s *shape) nameLikeOldModels() {
	if s.Type == "list" && s.Member.LocationName == "" && s.Member.Shape != "String" {
		s.Member.LocationName = s.Member.Shape
	}
}

// check refuses models that the generated code could not hold.
func (p *pkg) check() error {
	for _, proto := range p.protocols {
		if !slices.Contains([]string{"json", "query", "ec2", "rest-json"}, proto) {
			return fmt.Errorf("protocol %s is not one of json, query, ec2 and rest-json", proto)
		}
	}
	for name, s := range p.model.Shapes {
		if err := p.checkAcyclic(name, nil); err != nil {
			return err
		}
		if err := compiles(s.Pattern); err != nil {
			return fmt.Errorf("shape %s: %w", name, err)
		}
	}
	return nil
}

func (p *pkg) checkAcyclic(name string, path []string) error {
	if slices.Contains(path, name) {
		return fmt.Errorf("shape %s contains itself: %s", name, strings.Join(append(path, name), " > "))
	}
	s := p.model.Shapes[name]
	if s == nil {
		return fmt.Errorf("shape %s is used and not defined", name)
	}
	for _, ref := range s.refs() {
		if err := p.checkAcyclic(ref.Shape, append(slices.Clone(path), name)); err != nil {
			return err
		}
	}
	return nil
}

// refs lists the shapes that s is made of.
func (s *shape) refs() []shapeRef {
	var refs []shapeRef
	for _, name := range s.sortedMembers() {
		refs = append(refs, s.Members[name])
	}
	for _, ref := range []*shapeRef{s.Member, s.Key, s.Value} {
		if ref != nil {
			refs = append(refs, *ref)
		}
	}
	return refs
}
