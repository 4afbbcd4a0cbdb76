package stack

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudformation"
	"github.com/rialto-bus/rialto/internal/box/resource"
	"github.com/rialto-bus/rialto/internal/box/stack/template"
)

// Change is what an operation would do with a resource.
type Change struct {
	Action                string // Add, Modify or Remove
	LogicalID, PhysicalID string
	Type                  string
	// Replacement is True, False or Conditional; empty unless Action is Modify.
	Replacement string
	// PolicyAction is what becomes of the resource that is there: Delete, Retain, ReplaceAndDelete or ReplaceAndRetain;
	// empty if it stays.
	PolicyAction string
	// Scope are the attributes that change: Properties, Tags, Metadata, DeletionPolicy, UpdateReplacePolicy.
	Scope   []string
	Details []Detail
}

// Detail is one cause of a change.
type Detail struct {
	Attribute string // as in Scope
	Name      string // of the property; empty for other attributes
	// Recreation is Never, Conditionally or Always: whether the property's change needs another resource.
	Recreation string
	// Evaluation is Static where the value is known before the operation, else Dynamic.
	Evaluation string
	Source     string // DirectModification, ParameterReference, ResourceReference or ResourceAttribute
	Cause      string // the parameter, resource or attribute; empty for DirectModification
}

// planner works out what an operation would do.
type planner struct {
	ctx     context.Context
	s       *Stacks
	stack   *Stack // nil for a new one
	next    *prepared
	have    map[string]*Resource
	changes map[string]*Change // so far
}

// errUnknown is of a value that is known once the operation has come to it.
var errUnknown = errors.New("known after the operation")

// plan works out what becomes of a stack, and whether there is work to do.
func (s *Stacks) plan(ctx context.Context, st *Stack, p *prepared) (changes []Change, work bool, err error) {
	pl := &planner{ctx: ctx, s: s, stack: st, next: p, changes: map[string]*Change{}}
	if st != nil {
		all, err := s.selectResources(ctx, s.db, st.id)
		if err != nil {
			return nil, false, err
		}
		pl.have = live(all)
	}
	if err := pl.checkTypes(); err != nil {
		return nil, false, err
	}
	for _, tr := range p.bound.Resources() {
		c, err := pl.resource(tr)
		if err != nil {
			return nil, false, err
		}
		if c != nil {
			pl.changes[tr.LogicalID] = c
			changes = append(changes, *c)
		}
	}
	changes = append(changes, pl.removals()...)
	if len(changes) > 0 || st == nil || st.Status.failed() {
		return changes, true, nil
	}
	work, err = pl.otherwiseChanged()
	return nil, work, err
}

// checkTypes refuses other types for the resources that are there.
func (pl *planner) checkTypes() error {
	var ids []string
	for _, tr := range pl.next.bound.Resources() {
		if res := pl.have[tr.LogicalID]; res != nil && res.made() && res.Type != tr.Type {
			ids = append(ids, tr.LogicalID)
		}
	}
	if len(ids) > 0 {
		return errTypeChanged(ids)
	}
	return nil
}

// otherwiseChanged says whether an operation has something to do without any change of a resource.
func (pl *planner) otherwiseChanged() (bool, error) {
	before, after := &pl.stack.Config, &pl.next.config
	if !slices.Equal(before.Tags, after.Tags) || !slices.Equal(before.Topics, after.Topics) || before.RoleARN != after.RoleARN {
		return true, nil
	}
	outputs, err := evaluateOutputs(pl.next.bound, pl)
	if err != nil {
		return false, templateError(err)
	}
	return !slices.Equal(outputs, pl.stack.Outputs), nil
}

// resource returns what becomes of a resource, nil if nothing does.
func (pl *planner) resource(tr *template.Resource) (*Change, error) {
	res := pl.have[tr.LogicalID]
	if res == nil || res.identifier == "" {
		// What it is made of is looked at here, too: what cannot be evaluated is told before anything is done.
		if _, _, err := pl.properties(tr); err != nil {
			return nil, err
		}
		return &Change{Action: cloudformation.ChangeActionAdd, LogicalID: tr.LogicalID, Type: tr.Type}, nil
	}
	c := &Change{
		Action: cloudformation.ChangeActionModify, LogicalID: tr.LogicalID, PhysicalID: res.PhysicalID, Type: tr.Type,
		Replacement: cloudformation.ReplacementFalse,
	}
	if err := pl.compareProperties(c, tr, res); err != nil {
		return nil, err
	}
	if err := pl.compareAttributes(c, tr, res); err != nil {
		return nil, err
	}
	if len(c.Details) == 0 && !res.Status.failed() {
		return nil, nil
	}
	for _, d := range c.Details {
		if !slices.Contains(c.Scope, d.Attribute) {
			c.Scope = append(c.Scope, d.Attribute)
		}
	}
	if c.Replacement != cloudformation.ReplacementFalse {
		c.PolicyAction = cloudformation.PolicyActionReplaceAndDelete
		if keeps(tr.UpdateReplacePolicy) {
			c.PolicyAction = cloudformation.PolicyActionReplaceAndRetain
		}
	}
	return c, nil
}

// properties evaluates what is known of a resource's properties, and names those that are not.
func (pl *planner) properties(tr *template.Resource) (known resource.Model, unknown []string, err error) {
	known = resource.Model{}
	for _, name := range tr.PropertyNames() {
		v, ok, err := tr.Property(name, pl)
		switch {
		case errors.Is(err, errUnknown):
			unknown = append(unknown, name)
		case err != nil:
			return nil, nil, templateError(err)
		case ok:
			known[name] = v
		}
	}
	return known, unknown, nil
}

func (pl *planner) compareProperties(c *Change, tr *template.Resource, res *Resource) error {
	typ, err := pl.s.opt.Registry.Lookup(pl.ctx, pl.next.ref.Account, pl.next.ref.Region, tr.Type)
	if err != nil {
		return err
	}
	known, unknown, err := pl.properties(tr)
	if err != nil {
		return err
	}
	d := details{}
	if d.Properties, err = complete(typ, known, pl.next.config.Tags); err != nil {
		return err
	}
	before := resource.Model{}
	for name, v := range res.details.Properties {
		if !slices.Contains(unknown, name) {
			before[name] = v
		}
	}
	if name := nameProperty(typ.Schema); !slices.Contains(unknown, name) {
		d.chooseName(typ, pl.next.ref.Name, tr.LogicalID, res)
	}
	changes, err := typ.Schema.Changes(before, d.Properties)
	if err != nil {
		return err
	}
	for _, change := range changes {
		pl.addChange(c, tr, typ, change, cloudformation.EvaluationTypeStatic)
	}
	for _, name := range unknown {
		pl.addChange(c, tr, typ, ifChanged(typ.Schema, name), cloudformation.EvaluationTypeDynamic)
	}
	return nil
}

// ifChanged is the change of a property whose value is not known yet.
func ifChanged(schema *resource.Schema, name string) resource.Change {
	at := func(p resource.Path) bool { return p[0] == name }
	return resource.Change{
		Property: name, Replacement: slices.ContainsFunc(schema.CreateOnly, at), Conditional: slices.ContainsFunc(schema.ConditionalCreateOnly, at),
	}
}

// addChange adds the change of a property with its causes.
func (pl *planner) addChange(c *Change, tr *template.Resource, typ *resource.Type, change resource.Change, evaluation string) {
	d := Detail{
		Attribute: cloudformation.ResourceAttributeProperties, Name: change.Property, Evaluation: evaluation,
		Recreation: cloudformation.RequiresRecreationNever, Source: cloudformation.ChangeSourceDirectModification,
	}
	if typ.Schema.Taggable && len(typ.Schema.TagProperty) == 1 && typ.Schema.TagProperty[0] == change.Property {
		d.Attribute, d.Name = cloudformation.ResourceAttributeTags, ""
	}
	change.Replacement = change.Replacement || !typ.Schema.Has("update")
	switch {
	case change.Replacement:
		d.Recreation = cloudformation.RequiresRecreationAlways
		if evaluation == cloudformation.EvaluationTypeStatic {
			c.Replacement = cloudformation.ReplacementTrue
		}
	case change.Conditional:
		d.Recreation = cloudformation.RequiresRecreationConditionally
	}
	if (change.Replacement || change.Conditional) && c.Replacement == cloudformation.ReplacementFalse {
		c.Replacement = cloudformation.ReplacementConditional
	}
	causes := pl.causes(tr, change.Property)
	if len(causes) == 0 {
		c.Details = append(c.Details, d)
	}
	for _, ref := range causes {
		d.Source, d.Cause = string(ref.Kind), ref.Name
		if ref.Kind == template.ResourceAttribute {
			d.Cause += "." + ref.Attribute
		}
		c.Details = append(c.Details, d)
	}
}

// causes are the references of a property to what changes.
func (pl *planner) causes(tr *template.Resource, property string) (causes []template.Reference) {
	for _, ref := range tr.References() {
		if ref.Property != property {
			continue
		}
		if pl.changing(ref) {
			causes = append(causes, ref)
		}
	}
	return causes
}

// changing says whether what a reference stands for may change.
func (pl *planner) changing(ref template.Reference) bool {
	c := pl.changes[ref.Name]
	switch {
	case ref.Kind == template.ParameterReference:
		return pl.stack.Config.parameters()[ref.Name] != pl.next.config.parameters()[ref.Name]
	case c == nil:
		return false
	case c.Action == cloudformation.ChangeActionAdd || c.Replacement != cloudformation.ReplacementFalse:
		return true
	}
	return ref.Kind == template.ResourceAttribute && !pl.fixed(pl.have[ref.Name], ref.Attribute)
}

// compareAttributes adds the changes of what is not a property.
func (pl *planner) compareAttributes(c *Change, tr *template.Resource, res *Resource) error {
	add := func(attribute string) {
		c.Details = append(c.Details, Detail{
			Attribute: attribute, Recreation: cloudformation.RequiresRecreationNever, Evaluation: cloudformation.EvaluationTypeStatic,
			Source: cloudformation.ChangeSourceDirectModification,
		})
	}
	d, err := describe(tr, pl)
	if err != nil && !errors.Is(err, errUnknown) {
		return templateError(err)
	}
	if err == nil && !same(d.Metadata, res.details.Metadata) {
		add(cloudformation.ResourceAttributeMetadata)
	}
	if d.DeletionPolicy != res.details.DeletionPolicy {
		add(cloudformation.ResourceAttributeDeletionPolicy)
	}
	if d.UpdateReplacePolicy != res.details.UpdateReplacePolicy {
		add(cloudformation.ResourceAttributeUpdateReplacePolicy)
	}
	return nil
}

// removals are the resources that the template no longer has.
func (pl *planner) removals() (changes []Change) {
	for id, res := range pl.have {
		if slices.ContainsFunc(pl.next.bound.Resources(), func(tr *template.Resource) bool { return tr.LogicalID == id }) {
			continue
		}
		c := Change{
			Action: cloudformation.ChangeActionRemove, LogicalID: id, PhysicalID: res.PhysicalID, Type: res.Type,
			PolicyAction: cloudformation.PolicyActionDelete,
		}
		if keeps(res.details.DeletionPolicy) {
			c.PolicyAction = cloudformation.PolicyActionRetain
		}
		changes = append(changes, c)
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.LogicalID, b.LogicalID) })
	return changes
}

// Ref returns the physical id of a resource that stays.
func (pl *planner) Ref(logicalID string) (any, error) {
	c, res := pl.changes[logicalID], pl.have[logicalID]
	if res == nil || res.identifier == "" || c != nil && c.Replacement != cloudformation.ReplacementFalse {
		return nil, errUnknown
	}
	return res.PhysicalID, nil
}

// GetAtt returns an attribute that stays: of a resource that does not change, or one that cannot change.
func (pl *planner) GetAtt(logicalID, attribute string) (any, error) {
	c, res := pl.changes[logicalID], pl.have[logicalID]
	if res == nil || res.identifier == "" || c != nil && c.Replacement != cloudformation.ReplacementFalse {
		return nil, errUnknown
	}
	if c != nil && !pl.fixed(res, attribute) {
		return nil, errUnknown
	}
	return attributeOf(res, attribute)
}

// fixed says whether an attribute is one that no change in place changes.
func (pl *planner) fixed(res *Resource, attribute string) bool {
	typ, err := pl.s.opt.Registry.Lookup(pl.ctx, pl.next.ref.Account, pl.next.ref.Region, res.Type)
	if err != nil {
		return false
	}
	at := func(p resource.Path) bool { return strings.Join(p, ".") == attribute }
	return slices.ContainsFunc(typ.Schema.PrimaryIdentifier, at) || slices.ContainsFunc(typ.Schema.CreateOnly, at)
}

// Import returns the value of an export.
func (pl *planner) Import(name string) (string, error) {
	value, err := importValue(pl.ctx, pl.s.db, pl.next.ref, name)
	if err != nil {
		return "", missingImport{err}
	}
	return value, nil
}

// missingImport is of an export that is not there.
type missingImport struct{ error }
