package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/store"
)

// resolver knows what an operation has made so far.
type resolver struct {
	ctx context.Context
	r   *run
}

// Ref returns the physical id of a resource.
func (v *resolver) Ref(logicalID string) (any, error) {
	res := v.r.live(logicalID)
	if res == nil {
		return nil, errNoResource(v.r.stack, logicalID)
	}
	return res.PhysicalID, nil
}

// GetAtt returns an attribute of a resource.
func (v *resolver) GetAtt(logicalID, attribute string) (any, error) {
	res := v.r.live(logicalID)
	if res == nil {
		return nil, errNoResource(v.r.stack, logicalID)
	}
	return attributeOf(res, attribute)
}

// Import returns the value of an export.
func (v *resolver) Import(name string) (string, error) {
	return importValue(v.ctx, v.r.s.db, v.r.stack.Ref, name)
}

func importValue(ctx context.Context, q store.Querier, r Ref, name string) (string, error) {
	value, found, err := selectExport(ctx, q, r.Account, r.Region, name)
	if err == nil && !found {
		err = fmt.Errorf("No export named %s found.", name) //nolint:revive // AWS's text
	}
	return value, err
}

// attributeOf reads an attribute by its path: Arn, Endpoint.Address.
func attributeOf(res *Resource, attribute string) (any, error) {
	path := resource.Path(strings.Split(attribute, "."))
	v, ok := path.Get(res.details.Model)
	if !ok {
		v, ok = path.Get(res.details.Properties)
	}
	if !ok {
		return nil, fmt.Errorf("Requested attribute %s does not exist in schema for %s", attribute, res.Type) //nolint:revive // AWS's text
	}
	return v, nil
}

// attributes finds the uses of attributes that types do not have, before anything is made.
type attributes struct {
	types map[string]string // of the resources
	has   map[string]map[string]json.RawMessage
	wrong error // the first
}

// checkAttributes refuses a template with Fn::GetAtt of what a type does not have.
func (s *Stacks) checkAttributes(ctx context.Context, p *prepared) error {
	a := &attributes{types: map[string]string{}, has: map[string]map[string]json.RawMessage{}}
	for _, tr := range p.bound.Resources() {
		a.types[tr.LogicalID] = tr.Type
		if a.has[tr.Type] != nil {
			continue
		}
		typ, err := s.opt.Registry.Lookup(ctx, p.ref.Account, p.ref.Region, tr.Type)
		if err != nil {
			return err
		}
		var schema struct {
			Properties map[string]json.RawMessage `json:"properties"`
		}
		if err := json.Unmarshal([]byte(typ.Schema.Text), &schema); err != nil {
			return fmt.Errorf("schema of %s: %w", tr.Type, err)
		}
		a.has[tr.Type] = schema.Properties
	}
	// Values are made up, so what else is wrong with them says nothing.
	for _, tr := range p.bound.Resources() {
		for _, name := range tr.PropertyNames() {
			_, _, _ = tr.Property(name, a)
		}
	}
	for _, o := range p.bound.Outputs() {
		_, _ = o.Value(a)
	}
	return a.wrong
}

// Ref makes up a value.
func (a *attributes) Ref(string) (any, error) { return "", nil }

// Import makes up a value.
func (a *attributes) Import(string) (string, error) { return "", nil }

// GetAtt makes up a value of an attribute that there is. AWS: it refuses others.
func (a *attributes) GetAtt(logicalID, attribute string) (any, error) {
	top, _, _ := strings.Cut(attribute, ".")
	if _, ok := a.has[a.types[logicalID]][top]; !ok && a.wrong == nil {
		a.wrong = invalid("Template error: resource %s does not support attribute type %s in Fn::GetAtt", logicalID, attribute)
	}
	return "", nil
}
