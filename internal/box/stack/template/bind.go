package template

import (
	"slices"
	"sort"
)

// Input is what a stack operation gives to a template.
type Input struct {
	// Parameters are the values by name, those kept from before (UsePreviousValue) included. Defaults apply to what is missing.
	Parameters map[string]string
	Pseudo     Pseudo
}

// Pseudo holds the values of the pseudo parameters: Ref of AWS::AccountId, AWS::Region and so on.
type Pseudo struct {
	AccountID, Region, Partition, URLSuffix, StackID, StackName string
	NotificationARNs                                            []string
}

// Resolver knows what exists: resources that were made, and exports of other stacks. Values are JSON values: string, bool,
// json.Number (or any Go number), []any, map[string]any. An error from it is returned from the evaluation
// wrapped, with the place, so that errors.Is and errors.As find it.
type Resolver interface {
	// Ref returns the value of Ref for a resource of this template that is not switched off.
	Ref(logicalID string) (any, error)
	// GetAtt returns an attribute of it; nested ones have dots: "Endpoint.Address".
	GetAtt(logicalID, attribute string) (any, error)
	// Import returns the value of an export of this account and region.
	Import(name string) (string, error)
}

// Bound is a template with its parameters: conditions are evaluated and what they switch off is gone.
// It does not change, and its methods may be called from many goroutines.
type Bound struct {
	scope      *scope
	parameters []BoundParameter
	resources  []*Resource
	outputs    []*Output
	imports    []string
}

// BoundParameter is a parameter of a stack with the value in use.
type BoundParameter struct {
	Name, Type string
	// Value is as given, or the default.
	Value string
	// Shown is what may be shown of Value: "****" for NoEcho.
	Shown   string
	Default bool // nothing was given, the default applies
	NoEcho  bool
}

// Bind gives the template its parameters. It checks their values, evaluates rules and conditions, leaves out what conditions
// switch off, puts the resources in order and looks for every mistake that can be found before a resource exists: names that are
// switched off, mappings without the key, indexes out of range. The error is an *Error; no text of it holds the
// value of a parameter with NoEcho.
func (t *Template) Bind(in Input) (*Bound, error) {
	parameters, err := t.bindParameters(in.Parameters)
	if err != nil {
		return nil, err
	}
	b := &Bound{parameters: parameters, scope: &scope{
		t: t, pseudo: in.Pseudo,
		parameters: map[string]any{}, conditions: map[string]bool{}, kept: map[string]bool{},
	}}
	for _, p := range parameters {
		b.scope.parameters[p.Name] = t.parameterNamed[p.Name].value(p.Value)
		if p.NoEcho && p.Value != "" {
			b.scope.secrets = append(b.scope.secrets, p.Value)
		}
	}
	e := b.evaluator(nil)
	if err := e.checkRules(); err != nil {
		return nil, err
	}
	if err := e.evaluateConditions(); err != nil {
		return nil, err
	}
	if err := b.bindResources(); err != nil {
		return nil, err
	}
	if err := b.bindOutputs(); err != nil {
		return nil, err
	}
	return b, b.tryOut()
}

// value returns what Ref of the parameter yields.
func (p *parameter) value(text string) any {
	if p.form.list {
		return fromJSON(p.values(text))
	}
	return text
}

func (b *Bound) evaluator(res Resolver) *evaluator {
	return &evaluator{scope: b.scope, res: res, left: MaxEvaluated, steps: MaxSteps}
}

// object evaluates an object; nil is an empty one.
func (b *Bound) object(n *node, res Resolver) (map[string]any, error) {
	if n == nil {
		return map[string]any{}, nil
	}
	v, err := b.evaluator(res).eval(n)
	if err != nil {
		return nil, err
	}
	return plain(v).(map[string]any), nil
}

// branch says which branch of a Fn::If is taken.
func (s *scope) branch(condition string) int {
	if s.conditions[condition] {
		return 1
	}
	return 2
}

func (s *scope) holds(condition *node) bool { return condition == nil || s.conditions[condition.text] }

func (b *Bound) bindResources() error {
	t := b.scope.t
	for _, r := range t.resources {
		b.scope.kept[r.name] = b.scope.holds(r.condition)
	}
	sorted, err := t.sortResources(func(r *resource) bool { return b.scope.kept[r.name] }, b.scope.branch)
	if err != nil {
		return err
	}
	position := make(map[string]int, len(sorted))
	for i, r := range sorted {
		position[r.name] = i
		bound := &Resource{LogicalID: r.name, Type: r.kind, Line: r.at.line, Column: r.at.column, bound: b, declared: r}
		bound.references = b.references(r)
		bound.DependsOn = b.dependencies(r, bound.references, position)
		if bound.DeletionPolicy, err = b.policy(r.deletionPolicy); err != nil {
			return err
		}
		if bound.UpdateReplacePolicy, err = b.policy(r.updateReplacement); err != nil {
			return err
		}
		b.resources = append(b.resources, bound)
	}
	return nil
}

// references returns what a resource refers to in the branches that are taken.
func (b *Bound) references(r *resource) []Reference {
	var found []Reference
	seen := map[Reference]bool{}
	add := func(property string, n *node) {
		uses(n, b.scope.branch, func(u use) {
			ref := Reference{Property: property, Kind: ParameterReference, Name: u.name, Attribute: u.attribute}
			switch {
			case u.attribute != "":
				ref.Kind = ResourceAttribute
			case b.scope.t.resourceNamed[u.name] != nil:
				ref.Kind = ResourceReference
			case b.scope.t.parameterNamed[u.name] == nil:
				return // a pseudo parameter
			}
			if !seen[ref] {
				seen[ref] = true
				found = append(found, ref)
			}
		})
	}
	if r.properties != nil {
		for i, k := range r.properties.keys {
			add(k.name, r.properties.items[i])
		}
	}
	if r.metadata != nil {
		add("", r.metadata)
	}
	return found
}

// dependencies returns the names of the resources that r needs, in creation order. What is switched off is not needed: DependsOn
// of such a resource counts for nothing, as in AWS.
func (b *Bound) dependencies(r *resource, references []Reference, position map[string]int) []string {
	var needed []string
	add := func(name string) {
		if b.scope.kept[name] && !slices.Contains(needed, name) {
			needed = append(needed, name)
		}
	}
	for _, d := range r.dependsOn {
		add(d.text)
	}
	for _, ref := range references {
		if ref.Kind != ParameterReference {
			add(ref.Name)
		}
	}
	sort.Slice(needed, func(i, j int) bool { return position[needed[i]] < position[needed[j]] })
	return needed
}

func (b *Bound) policy(n *node) (DeletionPolicy, error) {
	if n == nil {
		return Delete, nil
	}
	v, err := b.evaluator(nil).eval(n)
	if err != nil {
		return "", err
	}
	if v == (any)(noValue{}) {
		return Delete, nil
	}
	s, ok := v.(string)
	if !ok {
		return "", n.errorf("Template format error: Every %s member must be a string.", n.parent.nameOf(n))
	}
	return n.policy(s)
}

func (b *Bound) bindOutputs() error {
	named := map[string]string{}
	for _, o := range b.scope.t.outputs {
		if !b.scope.holds(o.condition) {
			continue
		}
		bound := &Output{Name: o.name, Description: o.description, bound: b, declared: o}
		if o.export != nil {
			v, err := b.evaluator(nil).eval(o.export)
			if err != nil {
				return err
			}
			name, ok := asText(v)
			if !ok || name == "" || len(name) > MaxNameLength {
				return o.export.errorf("Template format error: the name of the export of output %s must be a string of 1 to %d characters.", o.name, MaxNameLength)
			}
			if other, taken := named[name]; taken {
				return o.export.errorf("Template format error: outputs %s and %s have the same export name %s.", other, o.name, b.evaluator(nil).show(name))
			}
			named[name] = o.name
			bound.Export = name
		}
		b.outputs = append(b.outputs, bound)
	}
	return nil
}

// tryOut evaluates everything as far as it does not depend on resources, and collects the names of imports.
func (b *Bound) tryOut() error {
	names := map[string]bool{}
	e := b.evaluator(nil) // one for all, which may take MaxSteps together
	try := func(n *node) error {
		e.left = MaxEvaluated
		if _, err := e.eval(n); err != nil {
			return err
		}
		return e.imports(n, names)
	}
	for _, r := range b.resources {
		for _, n := range r.declared.evaluated() {
			if err := try(n); err != nil {
				return err
			}
		}
	}
	for _, o := range b.outputs {
		if err := try(o.declared.value); err != nil {
			return err
		}
		v, err := e.eval(o.declared.value)
		if err != nil {
			return err
		}
		if _, ok := asText(v); !ok && !isUnknown(v) {
			return o.declared.value.notAString(v)
		}
	}
	for name := range names {
		b.imports = append(b.imports, name)
	}
	sort.Strings(b.imports)
	return nil
}

// imports collects the names of exports that n uses in the branches that are taken.
func (e *evaluator) imports(n *node, names map[string]bool) error {
	if n.kind == call && n.text == fnIf {
		return e.imports(n.items[0].items[e.branch(n.items[0].items[0].text)], names)
	}
	if n.kind == call && n.text == fnImportValue {
		v, err := e.eval(n.items[0])
		if err != nil {
			return err
		}
		if name, ok := asText(v); ok {
			names[name] = true
		}
		return nil
	}
	for _, item := range n.items {
		if err := e.imports(item, names); err != nil {
			return err
		}
	}
	return nil
}

// Parameters returns the template's parameters in their order there.
func (b *Bound) Parameters() []BoundParameter { return b.parameters }

// Resources returns the stack's resources in an order in which they can be made one after another; the reverse is an order in which they
// can be deleted. The order depends on the template alone: theirs, except that each comes after those it needs.
// Resources whose DependsOn do not lead to one another may be made at the same time.
func (b *Bound) Resources() []*Resource { return b.resources }

// Outputs returns the stack's outputs in their order in the template.
func (b *Bound) Outputs() []*Output { return b.outputs }

// Imports returns the names of the exports that the stack uses, sorted, each once. They never depend on resources: AWS
// refuses that, and so does Parse.
func (b *Bound) Imports() []string { return b.imports }
